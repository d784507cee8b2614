"""The front page says what the results say, and calls simulated what is."""

import pandas as pd
import pytest

from hepred_lib.site.chapters import read_chapters
from hepred_lib.site.front import figures_page, front_page, markdown_table

TEMPLATE = "# Title\n$status\n$results\n$chapters\n$contents\n"


@pytest.fixture
def page(results_of, by_hand):
    def write(*, simulated: bool = True, without: str = "") -> str:
        results = results_of("demo", simulated=simulated)
        results["models"] = {name: model for name, model in results["models"].items() if name != without}
        return front_page(
            TEMPLATE, results, read_chapters(by_hand), {"The book": ["05_clinical_to_he"], "Reporting": []}
        )

    return write


def test_the_auc_of_every_model_is_printed_with_its_interval(page, results_of):
    model = results_of("demo", simulated=True)["models"]["integrated"]
    low, high = model["auc_ci"]
    assert f"{model['auc']:.2f} ({low:.2f}-{high:.2f})" in page()


def test_simulated_patients_are_called_simulated_and_real_ones_are_not(page):
    assert "Simulated patients, for research only" in page()
    assert "60 simulated test patients" in page()
    assert "imulated" not in page(simulated=False)
    assert "For research only" in page(simulated=False)


def test_a_model_that_the_study_has_not_is_named_as_absent(page):
    text = page(without="integrated")
    assert "Not part of this study: the integrated model." in text
    assert "| Measure | Image | Clinical |" in text


def test_an_empty_part_is_no_part_of_the_contents(page):
    assert ":caption: The book" in page()
    assert "Reporting" not in page()


def test_every_chapter_is_listed_with_its_question(page):
    assert "- [05 Clinical](05_clinical_to_he.ipynb): Which variables?" in page()


def test_the_list_of_figures_refers_to_each_by_number(by_hand):
    text = figures_page(read_chapters(by_hand))
    assert text.count("{numref}") == 2
    assert "{numref}`fig-roc`" in text


def test_a_table_in_markdown_has_a_rule_below_its_head():
    assert markdown_table(pd.DataFrame({"a": [1], "b": ["x"]})) == "| a | b |\n| :--- | :--- |\n| 1 | x |"
