"""The README's results table is what the script makes of the numbers beside the documentation, and of a run's."""

import importlib.util

import pytest

from hepred_lib.study.definition import PROJECT
from hepred_lib.study.files import read_json


@pytest.fixture(scope="module")
def script():
    """``benchmarks/readme_results.py`` as a module."""
    spec = importlib.util.spec_from_file_location("readme_results", PROJECT / "benchmarks" / "readme_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def numbers(script):
    return read_json(script.NUMBERS)


def block(script) -> str:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert readme.count(script.BEGIN) == readme.count(script.END) == 1
    return readme.split(script.BEGIN)[1].split(script.END)[0].strip()


def test_the_table_in_the_readme_is_the_one_of_the_committed_numbers(script, numbers):
    assert block(script) == script.section(numbers).strip()
    numbers["models"]["integrated"]["auc"] = 0.1234
    assert "0.12 (" in script.section(numbers)


def test_the_committed_numbers_are_of_the_demo_study_and_no_more_than_shown(script, numbers):
    assert numbers["study"] == "demo"
    assert script.shown_numbers(numbers) == numbers


def test_the_text_around_the_marks_stays(script):
    readme = f"before\n{script.BEGIN}\nold\n{script.END}\nafter\n"
    assert script.with_section(readme, "new") == f"before\n{script.BEGIN}\nnew\n{script.END}\nafter\n"


def test_numbers_that_are_null_are_left_out_of_the_words(script, numbers):
    numbers["detection"] = {"auc": None, "auc_ci": None}
    numbers["segmentation"] = {"dice_median": None, "dice_iqr": None}
    numbers["oracle"] = None
    text = script.section(numbers)
    assert "Blood is found" not in text
    assert "Simulated" not in text
    assert "oracle" not in text
