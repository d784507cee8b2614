"""The manifest: every rule, every message, and draws that do not depend on the order of rows."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.cohort.manifest import assign_folds, derive_labels, manifest_problems, read_manifest, split_patients
from hepred_lib.cohort.predictors import (
    CLINICAL_CANDIDATES,
    RADIOLOGICAL_CANDIDATES,
    predictor_frame,
    predictor_quantity,
)
from hepred_lib.cohort.rules import COLUMNS, rules_table
from hepred_lib.errors import ManifestError


@pytest.fixture
def write(tmp_path):
    """Write a manifest of these lines; returns its path."""

    def write_lines(*lines, encoding="utf-8"):
        path = tmp_path / "data_manifest.csv"
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return write_lines


@pytest.fixture
def table():
    """80 patients: 20 with and 48 without expansion, 12 without an outcome."""
    he = np.r_[np.ones(20), np.zeros(48), np.full(12, np.nan)]
    identifiers = [f"HE-{number:04d}" for number in np.random.default_rng(3).permutation(80)]
    return pd.DataFrame({"patient_id": pd.array(identifiers, dtype="string"), "he": he, "split": None})


def test_values_are_read_with_their_types(cohort_folder):
    table = read_manifest(cohort_folder / "manifest.csv")
    assert table["patient_id"].tolist() == ["HE-1", "HE-2"]
    assert table["age"].tolist() == [71.0, 64.0]
    assert table["baseline_ct"][0] == str(cohort_folder / "HE-1_ct.nii.gz")
    assert table["baseline_mask"].notna().all()
    assert table["followup_ct"].isna().all()
    assert set(COLUMNS) <= set(table.columns)


def test_extra_columns_are_kept_as_numbers_where_they_are_numbers(write):
    table = read_manifest(write("patient_id,apoe,ward", "a,2,", "b,,north", "c,1.5,2"))
    np.testing.assert_array_equal(table["apoe"], [2.0, np.nan, 1.5])
    assert table["ward"].fillna("").tolist() == ["", "north", "2"]


def test_a_score_under_its_old_name_is_read_and_the_old_name_never_replaces_the_present_one(write):
    assert read_manifest(write("patient_id,dl_score", "a,0.5"))["external_score"].tolist() == [0.5]
    assert read_manifest(write("patient_id,external_score,dl_score", "a,,0.5"))["external_score"].tolist() == [0.5]
    with pytest.raises(ManifestError, match=r"own columns to it, got dl_score .* line 1\)\. Rename the column"):
        read_manifest(write("patient_id,dl_score,external_score", "a,0.5,0.7"))


@pytest.mark.parametrize("name", ["fold", "reason", "p_clinical"])
def test_a_column_that_a_study_adds_itself_is_refused(write, name):
    with pytest.raises(ManifestError, match=f"the header must leave .* got {name} "):
        read_manifest(write(f"patient_id,{name}", "a,1"))


def test_faults_of_the_header_have_its_line_where_comments_stand_above_it(write):
    problems = manifest_problems(write("# exported", "", "patient_id,Age,glucos_mmol_l,fold", "a,70,5,1"))
    assert [(problem.column, problem.line) for problem in problems] == [("the header", 3)] * 3


def test_blanks_empty_lines_and_a_byte_order_mark_are_forgiven(write):
    table = read_manifest(write("patient_id, age", "", "a , 70", ",", encoding="utf-8-sig"))
    assert (table["patient_id"].tolist(), table["age"].tolist()) == (["a"], [70.0])


def test_a_problem_reads_as_one_sentence(write):
    (problem,) = manifest_problems(write("patient_id,age", "HE-0041,61", "HE-0042,260"))
    assert str(problem) == (
        "age must be within 18 to 110, got 260 (patient HE-0042, data_manifest.csv line 3). "
        "If this is in months, multiply by 1/12."
    )


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        ("patient_id", "x" * 65, "patient_id must be 1 to 64 letters"),
        ("patient_id,inr", "a,inf", "inr must be within 0.5 to 20, got inf"),
        ("patient_id,gcs", "a,13.5", "gcs must be a whole number within 3 to 15, got 13.5"),
        ("patient_id,split", "a,train", "split must be development or test, got train"),
        ("patient_id,baseline_ct", "a," + "x" * 5000, "baseline_ct must name a file that exists, got xxx"),
    ],
)
def test_broken_rules_of_one_cell_are_reported(write, header, cells, message):
    path = write(header, cells)
    assert [message in str(problem) for problem in manifest_problems(path)] == [True]
    with pytest.raises(ManifestError, match="must"):
        read_manifest(path)


def test_a_patient_in_both_splits_is_reported(write):
    message = r"split must be one for a patient, got development and test \(patient HE-1"
    with pytest.raises(ManifestError, match=message):
        read_manifest(write("patient_id,split", "HE-1,development", "HE-1,test"))


def test_a_label_that_contradicts_the_volumes_is_reported_and_refused(write):
    header = "patient_id,baseline_volume_ml,followup_volume_ml,he"
    path = write(header, "HE-1,10,20,0", "HE-2,10,20,1", "HE-3,10,20,")
    (problem,) = map(str, manifest_problems(path))
    assert "he must be 1 by the printed volumes and 6ml_or_33pct, got 0 (patient HE-1" in problem
    with pytest.raises(ManifestError, match=r"by 6ml_or_33pct, .* in 1 rows: HE-1\. Leave he empty"):
        derive_labels(read_manifest(path))


def test_the_definition_decides_what_contradicts(write):
    path = write("patient_id,baseline_volume_ml,followup_volume_ml,he", "HE-1,60,68,1")
    assert manifest_problems(path) == []
    assert len(manifest_problems(path, definition="12.5ml_or_33pct")) == 1
    with pytest.raises(ValueError, match="definition must be one of"):
        manifest_problems(path, definition="7ml")


def test_all_problems_are_found_in_the_order_of_lines(write):
    path = write("patient_id,age,sex,baseline_volume_ml,followup_volume_ml,he", "a,7,M,1,2,0", "b,70,?,,,", "a,70,F,,,")
    assert [problem.line for problem in manifest_problems(path)] == [2, 2, 3, 4]


def test_the_error_lists_twenty_problems_and_their_count(write):
    path = write("patient_id,age", *(f"p{number},1" for number in range(50)))
    with pytest.raises(ManifestError, match=r"\.\.\. and 30 more, 50 in all") as caught:
        read_manifest(path)
    assert str(caught.value).count("\n") == 20


def test_a_file_without_patient_ids_is_refused_in_one_line(write):
    with pytest.raises(ManifestError, match=r"^the table must have a patient_id column, got the header.*$"):
        read_manifest(write("HE-1,70", "HE-2,71"))


def test_every_rule_is_printed(write):
    rules = rules_table().set_index("column")
    assert list(rules.index) == list(COLUMNS)
    assert rules.loc["age", ["unit", "rule"]].tolist() == ["y", "within 18 to 110"]


def test_labels_follow_from_volumes_where_they_are_empty(write):
    table = read_manifest(
        write("patient_id,baseline_volume_ml,followup_volume_ml,he", "a,10,20,", "b,10,11,", "c,10,,", "d,,,1")
    )
    np.testing.assert_array_equal(derive_labels(table)["he"], [1, 0, np.nan, 1])


def test_the_revised_definition_reads_the_ventricles(write):
    header = "patient_id,baseline_volume_ml,followup_volume_ml,baseline_ivh_ml,followup_ivh_ml"
    table = read_manifest(write(header, "a,10,10,0,0.5", "b,10,10,2,2.5", "c,10,10,,"))
    np.testing.assert_array_equal(derive_labels(table, definition="revised")["he"], [1, 0, np.nan])


def test_a_quarter_of_each_stratum_is_test(table):
    split = split_patients(table, seed=7)
    test = table["he"][split == "test"]
    assert ((test == 1).sum(), (test == 0).sum(), test.isna().sum()) == (5, 12, 3)


def test_folds_share_out_patients_with_and_without_expansion(table):
    table["split"] = split_patients(table, seed=7)
    fold = assign_folds(table, folds=3, seed=7)
    assert ((fold == -1) == (table["split"] == "test")).all()
    for he, patients in ((1, 15), (0, 36)):
        assert set(fold[(table["he"] == he) & (fold >= 0)].value_counts()) == {patients // 3}


def test_the_order_of_rows_changes_neither_split_nor_fold(table):
    shuffled = table.sample(frac=1.0, random_state=1)
    table["split"], shuffled["split"] = (split_patients(rows, seed=7) for rows in (table, shuffled))
    pd.testing.assert_series_equal(table["split"], shuffled["split"].sort_index())
    folds = [assign_folds(rows, folds=3, seed=7).sort_index() for rows in (table, shuffled)]
    pd.testing.assert_series_equal(*folds)


def test_another_seed_draws_another_split_rows_without_outcome_do_not_matter_and_a_given_split_is_kept(table):
    split, known = split_patients(table, seed=7), table["he"].notna()
    assert not split.equals(split_patients(table, seed=8))
    pd.testing.assert_series_equal(split[known], split_patients(table[known], seed=7))
    assert split_patients(table.assign(split=split), seed=8).equals(split)


@pytest.mark.parametrize(
    ("he", "message"),
    [
        ([1] * 40, "the development set must hold at least 1 patients without expansion, got 0 of 30"),
        ([1] + [0] * 39, "the test set must hold at least 1 patients with expansion, got 0 of 10"),
        ([np.nan] * 40, "with expansion, got 0 of 0"),
    ],
)
def test_a_split_without_both_classes_is_refused(he, message):
    table = pd.DataFrame({"patient_id": [f"p{k:02d}" for k in range(40)], "he": np.array(he, float), "split": None})
    with pytest.raises(ManifestError, match=message):
        split_patients(table, seed=0)


def test_too_few_events_for_the_folds_are_refused(table):
    table["split"] = split_patients(table, seed=7)
    with pytest.raises(ManifestError, match="for 8 folds, must hold at least 16 patients with expansion, got 15 of 51"):
        assign_folds(table, folds=8, seed=7)
    with pytest.raises(ManifestError, match="folds must be >= 2, got 1"):
        assign_folds(table, folds=1, seed=7)
    with pytest.raises(ManifestError, match="test_fraction must be 0 or lie between 0 and 1, got 25"):
        split_patients(table, seed=7, test_fraction=25)


def test_predictors_are_numbers_and_location_a_category(write):
    table = read_manifest(write("patient_id,sex,age,location,ivh", "a,M,70,lobar,1", "b,F,,thalamus,0", "c,,60,,"))
    frame = predictor_frame(table, ["sex", "age", "location", "ivh"])
    assert list(frame) == ["male", "age", "location", "ivh"]
    np.testing.assert_array_equal(frame["male"], [1.0, 0.0, np.nan])
    assert frame["location"].cat.categories.tolist()[0] == "basal_ganglia"
    assert frame.dtypes[["male", "age", "ivh"]].eq(float).all()
    pd.testing.assert_series_equal(predictor_frame(table, ["male"])["male"], frame["male"])


def test_a_new_patient_may_lack_a_predictor(write):
    table = read_manifest(write("patient_id,age", "a,70"))
    frame = predictor_frame(table, ["age", "sex", "location"], allow_empty=True)
    assert frame.isna().to_numpy().tolist() == [[False, True, True]]
    assert frame["male"].dtype.kind == "f"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sbp_mmgh", r"got 'sbp_mmgh' \(closest: sbp_mmhg\)"),
        ("xyzzy", "must be a column of the manifest, got 'xyzzy'\\."),
        ("he", "must be known at the first scan, got 'he'"),
        ("gcs", "gcs must have a value in at least one patient to be a predictor, got none"),
        ("site", "must be numeric, got the text column 'site'"),
    ],
)
def test_names_that_are_no_predictors_are_refused(write, name, message):
    table = read_manifest(write("patient_id,site,he,followup_volume_ml", "a,north,1,10", "b,south,0,5"))
    with pytest.raises(ManifestError, match=message):
        predictor_frame(table, [name])


def test_candidates_are_columns_known_at_the_first_scan():
    assert set(CLINICAL_CANDIDATES) | set(RADIOLOGICAL_CANDIDATES) <= set(COLUMNS)
    assert not set(CLINICAL_CANDIDATES) & {*RADIOLOGICAL_CANDIDATES, "he", "followup_volume_ml", "external_score"}


def test_the_real_manifest_has_no_problem(shared):
    path = shared / "data/phe_sich/manifest.csv"
    assert manifest_problems(path) == []
    assert read_manifest(path)["patient_id"].is_unique


@pytest.mark.parametrize(
    ("name", "words"),
    [("age", "Age (years)"), ("wbc_10e9_l", "White blood cells (10⁹/L)"), ("gcs", "GCS"), ("stray", "Stray")],
)
def test_a_quantity_is_named_with_its_unit(name, words):
    assert predictor_quantity(name) == words
