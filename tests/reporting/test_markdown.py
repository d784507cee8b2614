"""Pieces of pages: tables that hold together, links that lead somewhere and carry no patient along."""

import pandas as pd
import pytest

from hepred_lib.reporting import for_site, write_report
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
        ("records/05_clinical_to_he.json", "[record 05](../records/05_clinical_to_he.json)"),
        ("results.json", "[results.json](../results.json)"),
        ("cohort.csv", "`cohort.csv`"),
        ("folds/0/network.safetensors", "`folds/0/network.safetensors`"),
    ],
)
def test_files_are_linked_but_for_weights_and_patients(name, shown):
    assert md.link(name) == shown


def test_a_site_links_its_notebooks_and_names_what_it_lacks():
    page = "[00_x](../notebooks/00_x.ipynb) [09_y](../notebooks/09_y.ipynb) [a](../tables/a.csv) [card](data_card.md)"
    assert for_site(page, ["00_x"]) == "[00_x](../00_x.ipynb) 09_y a [card](data_card.md)"


def test_a_whole_report_keeps_no_link_that_a_site_cannot_follow(run):
    write_report(run)
    documents = [path.stem for path in (run / "notebooks").glob("*.ipynb")]
    page = for_site((run / "report" / "tripod_ai.md").read_text(), documents)
    assert "](../notebooks/" not in page
    assert "](../01_cohort.ipynb)" in page
    assert "](../figures" not in page
    assert ", figure roc," in page
