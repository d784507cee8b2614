"""Pieces of pages: tables that hold together, links that lead somewhere and carry no patient along."""

import pandas as pd
import pytest

from hepred_lib.reporting import markdown as md


def test_a_bar_in_a_cell_does_not_open_a_column():
    assert md.table(pd.DataFrame({"rule": ["F | M"], "n": [2]})).splitlines()[-1] == r"| F \| M | 2 |"


def test_a_page_leaves_empty_sections_out():
    assert md.document("Title", md.section("Empty", ""), md.section("Full", "text")) == "# Title\n\n## Full\n\ntext\n"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("notebooks/01_cohort.ipynb", "[notebook 01](../notebooks/01_cohort.ipynb)"),
        ("report/data_card.md", "[data card](data_card.md)"),
        ("figures/roc.png", "[figure roc](../figures/roc.png)"),
        (
            "notebooks/03_multitask_training_fold1.ipynb",
            "[notebook 03 (fold 1)](../notebooks/03_multitask_training_fold1.ipynb)",
        ),
        ("records/05_clinical_to_he.json", "record 05"),
        ("results.json", "[results.json](../results.json)"),
        ("cohort.csv", "`cohort.csv`"),
        ("folds/0/network.safetensors", "`folds/0/network.safetensors`"),
    ],
)
def test_files_are_linked_but_for_weights_and_patients(name, shown):
    assert md.link(name) == shown
