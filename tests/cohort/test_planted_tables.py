"""Faults planted in a clean table of 40 patients, one each: found, named (column, line, patient), explained."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.cohort.manifest import manifest_problems, read_manifest
from hepred_lib.cohort.rules import COLUMNS

LINE = 12  # of the patient at fault
PATIENT = "HE-010"


def clean_table(n):
    """Patients without any fault, as text."""
    rng = np.random.default_rng(0)
    baseline = rng.uniform(3, 60, n).round(1)
    grown = (baseline * rng.uniform(0.95, 1.6, n)).round(1)
    return pd.DataFrame(
        {
            "patient_id": [f"HE-{k:03d}" for k in range(n)],
            "site": rng.choice(["A", "B"], n),
            "onset_to_ct_h": rng.uniform(0.5, 20, n).round(1),
            "ct_to_followup_h": rng.uniform(18, 30, n).round(1),
            "baseline_volume_ml": baseline,
            "followup_volume_ml": grown,
            "location": rng.choice(["lobar", "thalamus"], n),
            "age": rng.integers(45, 90, n),
            "sex": rng.choice(["F", "M"], n),
            "gcs": rng.integers(5, 16, n),
            "nihss": rng.integers(0, 25, n),
            "sbp_mmhg": rng.integers(130, 220, n),
            "hypertension": rng.integers(0, 2, n),
            "inr": rng.uniform(0.9, 1.3, n).round(2),
            "platelets_10e9_l": rng.integers(140, 350, n),
            "glucose_mmol_l": rng.uniform(5, 11, n).round(1),
            "hemoglobin_g_dl": rng.uniform(11, 16, n).round(1),
            "creatinine_umol_l": rng.integers(50, 130, n),
            "fibrinogen_g_l": rng.uniform(2, 5, n).round(1),
            "wbc_10e9_l": rng.uniform(4, 14, n).round(1),
        }
    ).astype(str)


@pytest.fixture(scope="module")
def clean():
    return clean_table(40)


@pytest.fixture
def check(tmp_path):
    """The problems of a table."""

    def problems(table):
        table.to_csv(tmp_path / "manifest.csv", index=False)
        return manifest_problems(tmp_path / "manifest.csv")

    return problems


def planted(table, column, value):
    """A copy with one cell of one patient changed."""
    changed = table.copy()
    changed.loc[changed["patient_id"] == PATIENT, column] = value
    return changed


def test_neither_the_clean_table_nor_empty_cells_are_a_problem(clean, check):
    assert check(clean) == []
    columns = [name for name in clean if name != "patient_id"]
    assert check(clean.assign(**{name: clean[name].mask(clean.index % 3 == 0, "") for name in columns})) == []


@pytest.mark.parametrize(
    ("column", "value", "explained"),
    [
        ("age", "999", "If 999 means missing, leave the cell empty or name 999 under missing in a mapping"),
        ("age", "1951", "This may be in years of birth"),
        ("age", "66 years", "Write one number alone, in years"),
        ("age", "６６", "must be within 18 to 110"),
        ("onset_to_ct_h", "NA", "Leave the cell empty where the value is not known, or name NA under missing"),
        ("onset_to_ct_h", "210", "If this is in minutes, multiply by 1/60"),
        ("onset_to_ct_h", "45231", "This may be a date as Excel counts days"),
        ("onset_to_ct_h", "2024-03-01 14:05", "Write the number of hours, not a date"),
        ("onset_to_ct_h", "2:30", "Write a decimal number, such as 2.5 for 2:30"),
        ("onset_to_ct_h", "<3", "Write the number alone, or leave the cell empty"),
        ("onset_to_ct_h", "−3", "Write a plain minus sign"),
        ("baseline_volume_ml", "14200", "If this is in mm³, multiply by 0.001"),
        ("baseline_volume_ml", "14 mL", "Write one number alone, in mL"),
        ("sex", "male", "Write M, or map the codes: sex: {male: M}"),
        ("sex", "1", "map the codes: sex: {1: M, 2: F}"),
        ("location", "Lobar", "Write lobar if that is meant"),
        ("location", "putamen", "Map the words to these codes"),
        ("gcs", "16", "must be a whole number within 3 to 15"),
        ("gcs", "14-Mar", "Write the value itself, not a date"),
        ("gcs", "14/15", "Write one number alone"),
        ("glucose_mmol_l", "7.1 %", "Write one number alone, in mmol/L"),
        ("baseline_volume_ml", "1.014,2", "Write a decimal point, and no separator of thousands"),
        ("hypertension", "yes", "Write 1 for yes and 0 for no, or map the words: hypertension: {yes: 1}"),
        ("hypertension", "nein", "map the words: hypertension: {nein: 0}"),
        ("hypertension", "2", "must be 0 or 1"),
        ("glucose_mmol_l", "130", "If this is in mg/dL, multiply by 0.0555"),
        ("sbp_mmhg", "18", "If this is in cmHg, multiply by 10"),
        ("inr", "#DIV/0!", "Leave the cell empty where the value is not known"),
    ],
)
def test_a_wrong_value_is_found_named_and_explained(clean, check, column, value, explained):
    (problem,) = check(planted(clean, column, value))
    assert (problem.column, problem.line, problem.patient_id) == (column, LINE, PATIENT)
    assert (problem.severity, problem.value) == ("refuse", value)
    assert explained in str(problem)


@pytest.mark.parametrize(
    ("column", "factor", "unit", "remedy"),
    [
        ("glucose_mmol_l", 18, "mg/dL", "glucose_mmol_l: {column: glucose_mmol_l, factor: 0.0555}"),
        ("hemoglobin_g_dl", 10, "g/L", "factor: 0.1}"),
        ("creatinine_umol_l", 1 / 88.4, "mg/dL", "factor: 88.4}"),
        ("platelets_10e9_l", 1000, "per µL", "factor: 0.001}"),
        ("wbc_10e9_l", 1000, "per µL", "factor: 0.001}"),
        ("fibrinogen_g_l", 100, "mg/dL", "factor: 0.01}"),
        ("age", 12, "months", "factor: 1/12}"),
        ("age", 365.25, "days", "factor: 1/365.25}"),
        ("ct_to_followup_h", 60, "minutes", "factor: 1/60}"),
        ("baseline_volume_ml", 1000, "mm³", "factor: 0.001}"),
        ("sbp_mmhg", 1 / 7.5, "kPa", "factor: 7.50062}"),
    ],
)
def test_a_column_in_another_unit_is_said_once_with_the_line_that_mends_it(clean, check, column, factor, unit, remedy):
    (problem,) = check(planted_column(clean, column, factor))
    assert (problem.column, problem.severity) == (column, "refuse")
    assert f"as in {unit}" in problem.value
    assert "rows (as in" in problem.value
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("column", "factor", "unit"),
    [
        ("onset_to_ct_h", 10, "minutes"),
        ("onset_to_ct_h", 1 / 100, "days"),
        ("ct_to_followup_h", 1 / 24, "days"),
        ("hemoglobin_g_dl", 1 / 1.6114, "mmol/L"),
        ("platelets_10e9_l", 1 / 10, "10⁴ per µL"),
        ("fibrinogen_g_l", 2.94, "µmol/L"),
        ("inr", 11, "seconds"),
        ("baseline_volume_ml", 1 / 1000, "L"),
    ],
)
def test_a_median_that_fits_another_unit_is_a_warning(clean, check, column, factor, unit):
    table = planted_column(clean, column, factor)
    (problem,) = [problem for problem in check(table) if problem.severity == "warn"]
    assert problem.column == column
    assert f"as in {unit}" in problem.value


def planted_column(table, column, factor):
    """A copy with one column in another unit."""
    decimals = 4 if factor < 1 else 0 if column in ("age", "glucose_mmol_l") else 1
    return table.assign(**{column: (table[column].astype(float) * factor).round(decimals).map("{:g}".format)})


def test_days_of_excel_in_a_whole_column_are_said_once(clean, check):
    (problem,) = check(clean.assign(onset_to_ct_h=[str(45_000 + k) for k in range(40)]))
    assert "in 40 of 40 rows (dates as Excel counts days)" in problem.value


@pytest.mark.parametrize(
    ("column", "code", "rows"),
    [
        ("age", "99", 5),
        ("creatinine_umol_l", "999", 3),
        ("creatinine_umol_l", "888", 5),
        ("inr", "9", 3),
        ("onset_to_ct_h", "99", 3),
        ("ct_to_followup_h", "99", 6),
        ("followup_volume_ml", "99.9", 0),
        ("wbc_10e9_l", "99", 4),
    ],
)
def test_a_code_for_missing_in_several_rows_is_a_warning(clean, check, column, code, rows):
    table = clean.copy()
    table.loc[table.index[:rows], column] = code
    problems = check(table)
    assert len(problems) == (rows > 0)
    for problem in problems:
        assert (problem.column, problem.severity, problem.line) == (column, "warn", 2)
        assert problem.value.startswith(f"{code} in {rows} rows (lines 2, 3, 4")
        assert f"If {code} means missing" in problem.remedy


@pytest.mark.parametrize(("column", "value"), [("nihss", "9"), ("gcs", "9"), ("sbp_mmhg", "188"), ("age", "77")])
def test_a_frequent_value_amid_others_is_no_code(clean, check, column, value):
    table = clean.copy()
    table.loc[table.index[:4], column] = value
    assert check(table) == []


def renamed(column, name):
    return lambda table: table.rename(columns={column: name})


def one(column, value, **added):
    """One cell of one patient, in a table with a column more."""
    return lambda table: planted(table.assign(**added), column, value)


@pytest.mark.parametrize(
    ("edit", "column", "line", "explained"),
    [
        (renamed("age", "Age"), "the header", 1, "spell age, got Age"),
        (renamed("patient_id", "PatientID"), "the header", 1, "spell patient_id, got PatientID"),
        (renamed("patient_id", "Pat-Nr"), "the table", 0, "map it: Pat-Nr: patient_id"),
        (renamed("age", "age\u200b"), "age", 1, "ZERO WIDTH SPACE (U+200B)"),
        (renamed("glucose_mmol_l", "glucos_mmol_l"), "the header", 1, "Rename it to glucose_mmol_l"),
        (one("patient_id", "HE-009"), "patient_id", LINE, "be unique, got it on line 11 too"),
        (one("patient_id", ""), "patient_id", LINE, "be 1 to 64 letters, digits"),
        (one("patient_id", "Jane Doe"), "patient_id", LINE, "Use a pseudonym, not a name"),
        (one("patient_id", "2024-03-01"), "patient_id", LINE, "A spreadsheet may have changed it"),
        (one("patient_id", "1.23457E+11"), "patient_id", LINE, "A spreadsheet has changed it: format the column"),
        (one("baseline_ct", "..", baseline_ct=""), "baseline_ct", LINE, "It is a folder: name the NIfTI file in it"),
        (lambda t: t[:2].assign(patient_id=["age", "sex"], age="70"), "the table", 0, "rows called age and sex"),
        (one("patient_id", "Mean"), "patient_id", LINE, "Delete the row"),
        (one("patient_id", "unknown"), "patient_id", LINE, "Give the patient a pseudonym"),
        (lambda t: pd.concat([t[:10], t.columns.to_frame().T, t[11:]]), "the row", LINE, "got the header again"),
        (one("site", "NA"), "site", LINE, "Leave the cell empty"),
        (one("split", "", split="test"), "split", LINE, "be given for all patients or for none"),
        (one("baseline_ct", "C:\\a.nii", baseline_ct=""), "baseline_ct", LINE, "with / and relative"),
        (one("apoe", "N/A", apoe="2"), "apoe", LINE, "Leave the cell empty"),
    ],
)
def test_a_fault_of_names_is_found_named_and_explained(clean, check, edit, column, line, explained):
    problems = check(edit(clean))
    found = [problem for problem in problems if (problem.column, problem.line) == (column, line)]
    assert len(found) == len(problems) == 1
    assert explained in str(found[0])


def test_a_warning_does_not_stop_a_study(clean, tmp_path):
    planted(clean, "site", "NA").to_csv(tmp_path / "manifest.csv", index=False)
    assert len(read_manifest(tmp_path / "manifest.csv")) == 40


def test_every_column_of_numbers_has_limits():
    numbers = [column for column in COLUMNS.values() if column.kind in ("number", "integer", "binary")]
    assert np.isfinite([(column.low, column.high) for column in numbers]).all()
