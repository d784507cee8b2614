"""A hospital's table in the manifest's columns: by a mapping, and by one that is suggested."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.cohort.cells import read_cells
from hepred_lib.cohort.manifest import manifest_problems, read_manifest
from hepred_lib.errors import ManifestError
from hepred_lib.intake.spreadsheet import apply_mapping, load_mapping, suggest_mapping, write_manifest

HOSPITAL = "patient_id,age_years,glucose_mg_dl,sex,ward\nHE-1,66,130,1,north\nHE-2,-9,999,2,NA\nHE-3,71,90,1,\n"
MAPPING = """
age_years: age
glucose_mg_dl: {column: glucose_mmol_l, factor: 0.0555}
sex: {1: M, 2: F}
missing: [999, -9, NA]
"""


@pytest.fixture
def load(tmp_path):
    """Load a mapping of this text."""

    def load_text(text):
        path = tmp_path / "map.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_mapping(path)

    return load_text


@pytest.fixture
def mapped(tmp_path, load):
    """A table of this text, read through a mapping of that text."""

    def read(table, mapping):
        (tmp_path / "hospital.csv").write_text(table, encoding="utf-8")
        return apply_mapping(read_cells(tmp_path / "hospital.csv"), load(mapping))

    return read


@pytest.mark.parametrize(
    "mapping",
    [
        MAPPING,
        "columns:" + MAPPING.replace("\n", "\n  ").replace("  missing", "missing"),
        MAPPING.replace(": {", ":\n  {"),
    ],
)
def test_names_units_codes_and_missing_values_are_mapped(mapped, mapping):
    cells = mapped(HOSPITAL, mapping)
    assert cells.problems == []
    assert cells.table.to_dict("list") == {
        "patient_id": ["HE-1", "HE-2", "HE-3"],
        "age": ["66", "", "71"],
        "glucose_mmol_l": ["7.215", "", "4.995"],
        "sex": ["M", "F", "M"],
    }
    assert cells.table.index.tolist() == [2, 3, 4]
    assert manifest_problems(cells) == []


def test_what_was_emptied_and_left_out_is_said_and_a_column_is_kept_where_the_mapping_says_so(mapped):
    notes = mapped(HOSPITAL, MAPPING).notes
    assert "missing: -9 in 1 cells, 999 in 1 cells" in notes
    assert "left out (not in the mapping): ward" in notes
    assert mapped(HOSPITAL, MAPPING + "keep: [ward]\n").table["ward"].tolist() == ["north", "", ""]


def test_words_that_yaml_takes_for_truth_values_are_texts(mapped):
    cells = mapped("patient_id,dm\na,yes\nb,No\nc,\n", "dm: {column: diabetes, values: {yes: 1, no: 0}}")
    assert cells.table["diabetes"].tolist() == ["1", "0", ""]


def test_numbers_are_the_same_however_they_are_written(mapped):
    cells = mapped("patient_id,sex,age\na,1.0,999.00\nb,02,70\n", "sex: {1: M, 2: F}\nmissing: [999]")
    assert cells.table[["sex", "age"]].to_numpy().tolist() == [["M", ""], ["F", "70"]]


def test_an_identifier_is_never_a_missing_code(mapped):
    assert mapped("patient_id,age\n999,70\n", "missing: [999]").table["patient_id"].tolist() == ["999"]


def test_a_missing_code_that_is_a_value_of_another_column_is_a_warning(mapped):
    table = "patient_id,nihss,age\n" + "".join(f"p{k},{k},{60 + k}\n" for k in range(20))
    cells = mapped(table, "age: {column: age, missing: [70]}\nmissing: [9]")
    (problem,) = cells.problems
    assert (problem.severity, problem.column) == ("warn", "nihss")
    assert problem.value == "9 in 1 rows, amid values from 0 to 19"


def test_a_name_that_is_spelt_otherwise_is_not_left_out_silently(mapped):
    (problem,) = manifest_problems(mapped("patient_id,Age\na,70\n", "missing: [999]"))
    assert "the header must spell age, got Age" in str(problem)


@pytest.mark.parametrize(
    ("table", "mapping", "message"),
    [
        (
            HOSPITAL,
            "age_year: age",
            "age_year must be a column of hospital.csv, got none of that name (closest: age_years",
        ),
        (HOSPITAL, "keep: [wards]", "wards must be a column of hospital.csv (keep and ignore), got none"),
        ("patient_id,gcs\na,9\n", "nihss: gcs", "Write it the other way round: gcs: nihss."),
        ("patient_id,age,y\na,70,71\n", "y: age", "age must come from one column, got y too (map.yaml). Name y under"),
        (
            "patient_id,sex\na,1\nb,3\n",
            "sex: {1: M, 2: F}",
            "sex must be one of the values of map.yaml (1, 2), got 3 (patient b, hospital.csv line 3). Add its code to",
        ),
    ],
)
def test_a_table_that_is_not_as_the_mapping_says_is_a_problem_with_its_remedy(mapped, table, mapping, message):
    (problem,) = mapped(table, mapping).problems
    assert message in str(problem)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age_years: agee", r"age_years must lead to a column of the manifest .*, got agee \(closest: age\)"),
        ("age: age_years", r"got age_years \(the other way round: age_years: age\)"),
        ("a: age\nb: age", "b must be the only one for age, got a too"),
        ("a: age\na: sex", "every key must be a text of its own, got a again on line 2"),
        ("a: {column: age, factr: 2}", r"a must have no other parts than .*, got factr \(closest: factor\)"),
        ("a: {column: age, factor: '0,5'}", "a must have a factor > 0, such as 0.0555 or 1/60, got 0,5"),
        ("a: {column: age, factor: -1}", "a must have a factor > 0"),
        ("a: {column: age, factor: 1/0}", "a must have a factor > 0"),
        ("a: {column: sex, factor: 2}", "a must have a factor only for a number, got one for sex"),
        ("a: {column: age, factor: 2, values: {1: 2}}", "a must have values or a factor, got both"),
        ("sex: {1: male, 2: F}", "sex must give F or M for each value of sex, got 1: male"),
        ("dm: {column: diabetes, values: {ja: '?'}}", "dm must give 0 or 1 for each value of diabetes"),
        ("a: {column: age, values: [1]}", "a must have values of the form"),
        ("a: [age]", "a must be a name, or .*, got a list"),
        ("a: {column: age, missing: {1: 2}}", "missing must be|a must be a list such as"),
        ("a:", "a must lead to a column of the manifest .*, got nothing"),
        ("", "must be YAML of the form their_column: our_column, got none"),
        ("- age", "must be YAML of the form their_column: our_column, got none"),
        ("a: {column: age", "must be YAML of the form .* on line 1"),
        ("a: {b: {c: {d: {e: f}}}}", "must have at most three levels"),
        ("a: \x00", "must be YAML of the form"),
        (b"a: \xff\xfe", "must be UTF-8 text, got byte 0xff"),
    ],
)
def test_a_mapping_with_a_fault_is_refused_in_one_line(load, text, message):
    with pytest.raises(ManifestError, match=message) as caught:
        load(text)
    assert "\n" not in str(caught.value)
    assert "map.yaml" in str(caught.value)


def test_the_written_manifest_has_paths_from_its_own_folder_and_no_hospital_number(tmp_path, mapped):
    (tmp_path / "scan.nii.gz").touch()
    cells = mapped("PID,dicom_patient_id,ct\na,4711,scan.nii.gz\n", "PID: patient_id\nct: baseline_ct")
    write_manifest(cells, tmp_path / "study" / "manifest.csv")
    assert "4711" not in (tmp_path / "study" / "manifest.csv").read_text()
    assert manifest_problems(tmp_path / "study" / "manifest.csv") == []
    assert read_manifest(tmp_path / "study" / "manifest.csv")["baseline_ct"][0] == str(tmp_path / "scan.nii.gz")


# Names of seven columns, yes and no, man and woman.
HOSPITALS = {
    "German": "Pat-Nr|Alter (Jahre)|Geschlecht|RR syst|Blutzucker [mg/dl]|Hämatomvolumen|Hypertonie|ja|nein|m|w",
    "French": "N° patient|Âge|Sexe|PAS|Glycémie (mg/dL)|Volume hématome (ml)|HTA|oui|non|homme|femme",
    "Spanish": "ID paciente|Edad|Sexo|Presión sistólica|Glucemia mg/dl|Volumen hematoma|HTA|sí|no|hombre|mujer",
    "Chinese": "患者编号|年龄|性别|收缩压|血糖(mg/dl)|血肿体积|高血压|是|否|男|女",
    "English": "Patient ID|Age|Gender|Systolic BP (mmHg)|Glucose, mg/dL|ICH volume (cc)|HTN|Yes|No|1|2",
    "plain": "patient_id|age_years|sex|sbp|glucose_mg_dl|volume_ml|hypertension|Yes|No|1|2",
}


def hospital(language, n=40):
    """A hospital's own table: its names, units and codes in one of several languages."""
    rng = np.random.default_rng(1)
    *names, yes, no, man, woman = HOSPITALS[language].split("|")
    columns = [
        [f"{k:04d}" for k in range(n)],
        rng.integers(40, 90, n).astype(str),
        rng.choice([man, woman], n),
        rng.integers(120, 220, n).astype(str),
        rng.integers(80, 300, n).astype(str),
        rng.uniform(3, 60, n).round(1).astype(str),
        rng.choice([yes, no], n),
    ]
    table = pd.DataFrame(dict(zip(names, columns, strict=True)))
    table["Name"] = "Mustermann"
    table.iloc[[3, 5, 8], 3] = "999"
    table.iloc[[2, 4], 6] = "NA"
    return table


@pytest.mark.parametrize("language", HOSPITALS)
def test_a_suggested_mapping_gives_a_clean_manifest(tmp_path, language):
    table = hospital(language)
    table.to_csv(tmp_path / "hospital.csv", index=False)
    cells = read_cells(tmp_path / "hospital.csv")
    (tmp_path / "map.yaml").write_text(suggest_mapping(cells), encoding="utf-8")
    mapped = apply_mapping(cells, load_mapping(tmp_path / "map.yaml"))
    assert manifest_problems(mapped) == []
    names = "patient_id age sex sbp_mmhg glucose_mmol_l baseline_volume_ml hypertension"
    assert list(mapped.table) == names.split()
    assert set(mapped.table["sex"]) == {"M", "F"}
    assert (mapped.table["sbp_mmhg"] == "").sum() == 3
    assert pd.to_numeric(mapped.table["glucose_mmol_l"]).between(4, 17).all()


@pytest.mark.parametrize(
    ("header", "row", "line"),
    [
        ("Hb", lambda k: 130 + k, "Hb: {column: hemoglobin_g_dl, factor: 0.1}  # median 139.5, as in g/L?"),
        ("Creatinine", lambda k: 0.8 + k / 100, "Creatinine: {column: creatinine_umol_l, factor: 88.4}"),
        # A code for missing that another column has as a value stays with its own.
        ("nihss,inr", lambda k: f"{k},{'9' if k in (3, 4, 5) else '1.1'}", "inr: {column: inr, missing: [9]}"),
        ("Diabetes", lambda k: "AB"[k % 2], "# write the code of A, B?"),
    ],
)
def test_what_the_cells_tell_is_suggested_for_a_person_to_confirm(tmp_path, load, header, row, line):
    rows = "".join(f"p{k},{row(k)}\n" for k in range(20))
    (tmp_path / "t.csv").write_text(f"patient_id,{header}\n{rows}")
    text = suggest_mapping(read_cells(tmp_path / "t.csv"))
    assert line in text
    assert "\nmissing:" not in text
    if header == "Diabetes":
        with pytest.raises(ManifestError, match="must give 0 or 1 for each value of diabetes"):
            load(text)


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("Known hypertension", "hypertension"),
        ("art. Hypertonie", "hypertension"),
        ("Admission GCS", "gcs"),
        ("Patient sex", "sex"),
        ("Serum creatinine mg/dl", "creatinine_umol_l"),
        ("GCS discharge", None),
        ("Age of death", None),
    ],
)
def test_the_last_word_of_a_header_may_be_its_unit_or_its_name(tmp_path, header, column):
    (tmp_path / "t.csv").write_text(f"patient_id,{header}\np1,1\np2,1\n")
    line = next(line for line in suggest_mapping(read_cells(tmp_path / "t.csv")).splitlines() if header in line)
    assert line.startswith("  - ") if column is None else (f" {column}" in line and line.endswith("?"))


def test_no_mapping_is_suggested_for_what_is_no_table(tmp_path):
    (tmp_path / "t.csv").touch()
    with pytest.raises(ManifestError, match="got an empty file"):
        suggest_mapping(read_cells(tmp_path / "t.csv"))
