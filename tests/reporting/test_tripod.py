"""The TRIPOD+AI table: complete, and answered only while the files behind an answer hold the value."""

import numpy as np
import pytest

from hepred_lib.reporting.checklist import ITEMS
from hepred_lib.reporting.entries import ANSWERED, NOT_ANSWERED, NOT_APPLICABLE, PARTLY, STATUSES, resolve
from hepred_lib.reporting.evidence import Evidence
from hepred_lib.reporting.report import write_report
from hepred_lib.reporting.tripod import ENTRIES, tripod_table
from hepred_lib.study.files import read_json, read_table, write_json, write_table


@pytest.fixture
def reported(run):
    """The small study with its report."""
    write_report(run)
    return run


def rows(folder):
    return tripod_table(Evidence(folder)).set_index("item")


def made_real(folder):
    """The same study, as if its patients were real."""
    record = read_json(folder / "records" / "01_cohort.json")
    record["parameters"]["truth"] = ""
    write_json(folder / "records" / "01_cohort.json", record)
    write_report(folder)


def test_the_checklist_has_27_items_and_52_sub_items_each_with_an_entry():
    numbers = [item.number for item in ITEMS]
    assert len(numbers) == len(set(numbers)) == 52
    assert {int(number.rstrip("abcdefg")) for number in numbers} == set(range(1, 28))
    assert set(ENTRIES) == set(numbers)


def test_every_sub_item_has_a_status_and_words_for_it(reported):
    table = rows(reported)
    assert set(table["status"]) == set(STATUSES)
    assert (table["answer"] != "").all()
    assert table.loc[table["status"].isin([ANSWERED, PARTLY]), "where"].ne("").all()


def test_an_answer_holds_the_studys_own_numbers(reported):
    answers = rows(reported)["answer"]
    results = read_json(reported / "results.json")
    n = results["n"]
    assert f"{n['development']} for development" in answers["12a"]
    assert f"{n['he_test']} in {n['test']}" in answers["21"]
    assert f"{results['models']['integrated']['auc']:.2f} (" in answers["23a"]
    assert "growth of more than 6 mL or more than 33 %" in answers["8a"]


def test_a_changed_number_changes_its_answer(reported):
    results = read_json(reported / "results.json")
    results["models"]["image"]["auc"] = 0.4321
    write_json(reported / "results.json", results)
    assert "0.43" in rows(reported)["answer"]["23a"]


ANSWERED_BY = [
    ("7", "slices/quality.csv"),
    ("7", "figures/montage.png"),
    ("8a", "notebooks/01_cohort.ipynb"),
    ("11", "tables/missing.csv"),
    ("11", "imputation.json"),
    ("12b", "image_model.json"),
    ("12c", "tables/optimism_clinical.csv"),
    ("12e", "figures/decision_curve.png"),
    ("15", "integrated_model.json"),
    ("18f", "provenance.json"),
    ("20a", "figures/flow.png"),
    ("20b", "report/data_card.md"),
    ("22", "folds/1/network.safetensors"),
    ("23a", "tables/subgroups.csv"),
    ("23b", "external.json"),
    ("26", "notebooks/06_integrated_to_he.ipynb"),
    ("27b", "report/model_card.md"),
]


@pytest.mark.parametrize(("item", "artifact"), ANSWERED_BY)
def test_without_the_file_that_answers_it_a_sub_item_is_answered_no_more(reported, item, artifact):
    before = rows(reported).loc[item]
    assert before["status"] == ANSWERED
    assert artifact in before["where"].split()
    (reported / artifact).unlink()
    assert rows(reported).loc[item, "status"] != ANSWERED


def test_no_answered_row_outlives_any_file_it_names(reported):
    table = rows(reported)
    kept = table[table["status"].eq(ANSWERED)]
    required = {"results.json", "records/01_cohort.json"}  # without them there is no finished study to report on
    for name in sorted({name for names in kept["where"] for name in names.split()} - required):
        content = (reported / name).read_bytes()
        (reported / name).unlink()
        after = rows(reported)
        (reported / name).write_bytes(content)
        for item in kept.index[[name in names.split() for names in kept["where"]]]:
            # Another fold's files say the same; a study without another hospital has its own two data sets to compare.
            replaced = "_fold0." in name or (item, name) == ("16", "external.json")
            if replaced:
                assert name not in after.loc[item, "where"].split()
            else:
                assert after.loc[item, "status"] != ANSWERED, (item, name)


@pytest.mark.parametrize(
    ("item", "keys"),
    [
        ("5a", ("n",)),
        ("8a", ("he_definition",)),
        ("12e", ("auc_ci_method",)),
        ("12c", ("optimism", "clinical")),
        ("25", ("models", "image", "auc")),
    ],
)
def test_a_null_is_no_answer(reported, item, keys):
    results = read_json(reported / "results.json")
    inner = results
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = None
    write_json(reported / "results.json", results)
    with_null = resolve(ENTRIES[item], Evidence(reported))
    assert with_null.status != ANSWERED
    assert f"results.json holds no {'.'.join(keys)}" in with_null.text


@pytest.mark.parametrize(
    "key", ["patients", "development", "test", "he_development", "he_test", "excluded", "blood_free", "without_outcome"]
)
def test_a_count_that_is_null_takes_its_answers_away_and_breaks_nothing(reported, key):
    results = read_json(reported / "results.json")
    results["n"][key] = None
    write_json(reported / "results.json", results)
    table = rows(reported)
    assert len(table) == 52
    assert f"results.json holds no n.{key}" in " ".join(table["answer"])


def test_a_card_that_lost_its_section_answers_nothing(reported):
    card = reported / "report" / "model_card.md"
    card.write_text(card.read_text().replace("## In practice", "## Elsewhere"))
    assert "has no section 'In practice'" in rows(reported).loc["27a", "answer"]
    assert rows(reported).loc["27a", "status"] == NOT_ANSWERED


def test_an_empty_column_is_no_answer(reported):
    cohort = read_table(reported / "cohort.csv")
    write_table(reported / "cohort.csv", cohort.assign(ct_to_followup_h=np.nan))
    assert rows(reported).loc["8a", "status"] == PARTLY


def test_simulated_patients_have_no_assessor_and_real_ones_have_one_to_be_named(reported):
    assert rows(reported).loc["8b", "status"] == NOT_APPLICABLE
    made_real(reported)
    table = rows(reported)
    assert table.loc["8b", "status"] == NOT_ANSWERED
    assert "to be added by the author" in table.loc["8b", "answer"]


@pytest.mark.parametrize("item", ["5b", "17", "18a", "18b", "18c", "18d", "19"])
def test_what_only_authors_know_is_never_answered(reported, item):
    assert rows(reported).loc[item, "status"] == NOT_ANSWERED
    made_real(reported)
    assert rows(reported).loc[item, "status"] == NOT_ANSWERED


def test_without_another_hospital_its_sub_items_do_not_apply(reported):
    (reported / "external.json").unlink()
    table = rows(reported)
    assert set(table.loc[["12d", "23b"], "status"]) == {NOT_APPLICABLE}
    assert table.loc["16", "status"] == ANSWERED


def test_a_test_patient_in_a_fold_takes_the_clean_partition_away(reported):
    cohort = read_table(reported / "cohort.csv")
    write_table(reported / "cohort.csv", cohort.assign(fold=0))
    assert rows(reported).loc["12a", "status"] == NOT_ANSWERED
