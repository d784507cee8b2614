"""Evidence: values that are there, refusals that name what is not, and a memory of what was read."""

import pytest

from hepred_lib.reporting.evidence import AbsentError, Evidence
from hepred_lib.study.definition import StudyError
from hepred_lib.study.files import write_json, write_table


def test_a_value_is_read_by_its_keys(run):
    assert Evidence(run).value("results.json", "n", "patients") == 120


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("nothing.json", ("n",), "nothing.json is not there"),
        ("results.json", ("n", "nobody"), "results.json holds no n.nobody"),
        ("results.json", ("study", "letter"), "results.json holds no study.letter"),
    ],
)
def test_what_is_missing_is_named(run, name, keys, message):
    with pytest.raises(AbsentError, match=message):
        Evidence(run).value(name, *keys)


def test_zero_is_a_value(run):
    assert Evidence(run).value("results.json", "n", "excluded") == 0


def test_an_empty_table_holds_no_row(run):
    with pytest.raises(AbsentError, match=r"excluded\.csv holds no row"):
        Evidence(run).table("excluded.csv")


def test_a_column_without_a_value_is_named(run):
    table = Evidence(run).table("cohort.csv")
    write_table(run / "cohort.csv", table.assign(site=None))
    with pytest.raises(AbsentError, match=r"cohort\.csv holds no site, speed"):
        Evidence(run).table("cohort.csv", "age", "site", "speed")


def test_a_section_is_found_by_its_heading(run):
    assert Evidence(run).section("notebooks/01_cohort.ipynb", "Limits") == "notebooks/01_cohort.ipynb"
    with pytest.raises(AbsentError, match="has no section 'Luck'"):
        Evidence(run).section("notebooks/01_cohort.ipynb", "Luck")


def test_reading_is_remembered_inside_its_block_only_and_once(run):
    evidence = Evidence(run)
    evidence.value("paper.json")
    with evidence.noting() as read:
        evidence.value("results.json", "n")
        evidence.locate("folds/*/network.safetensors")
        evidence.value("results.json", "study")
    evidence.value("external.json")
    assert read == ["results.json", "folds/0/network.safetensors"]


def test_models_that_a_study_lacks_are_left_out(run):
    evidence = Evidence(run)
    content = evidence.value("results.json")
    write_json(run / "results.json", content | {"models": content["models"] | {"image": None}})
    assert evidence.models == ("clinical", "integrated")


def test_a_folder_without_results_is_no_study(tmp_path):
    with pytest.raises(StudyError, match=r"finished study, but .*results.json is not there"):
        Evidence(tmp_path)
