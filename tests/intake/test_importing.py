"""From an export to scans and a manifest that the rest of the house can use."""

import pytest

from hepred_lib.errors import ManifestError, ScanError
from hepred_lib.imaging.scans import read_scan
from hepred_lib.intake.check import check_manifest
from hepred_lib.intake.importing import Person, _convert_one, import_dicom, joined, read_clinical
from tests.intake.conftest import table, write_series


@pytest.mark.parametrize("second", ["export/c", "second"])  # beside the first export, or alone
def test_imported_again_names_stay_and_nothing_is_converted_twice(export, imported, tmp_path, second):
    before = {path: path.stat().st_mtime_ns for path in (imported / "scans").iterdir()}
    key = table(imported / "identifying" / "key.csv")
    write_series(tmp_path / second, patient="MRN-50", study="1.2.5", uid="1.2.5.1")
    again = import_dicom(tmp_path / second.partition("/")[0], imported)
    assert (again.patients, again.with_baseline, again.with_followup, again.notes) == (3, 3, 1, ())
    assert len(table(imported / "identifying" / "series.csv")) == 6
    after = {path: path.stat().st_mtime_ns for path in (imported / "scans").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    assert table(imported / "identifying" / "key.csv").to_numpy().tolist() == [
        *key.to_numpy().tolist(),
        ["P0003", "MRN-50"],
    ]


@pytest.mark.parametrize("sep", [",", ";"])  # as some spreadsheets save
def test_a_readers_word_is_heeded_and_what_was_filled_in_stays(export, imported, sep):
    path = imported / "identifying" / "series.csv"
    series = table(path).set_index("series_uid")
    series.loc[["1.2.3.1.2", "1.2.3.2.1"], "by_hand"] = "baseline", "none"
    series.to_csv(path, sep=sep)
    edited = table(imported / "manifest.csv").assign(baseline_mask="", gcs=["13", ""], age=["70", "67"])
    edited.to_csv(imported / "manifest.csv", index=False, sep=sep)
    told = import_dicom(export, imported)
    assert (told.with_baseline, told.with_followup) == (2, 0)
    assert table(imported / "manifest.csv")[["gcs", "age"]].to_numpy().tolist() == [["13", "70"], ["", "67"]]
    again = table(path).set_index("series_uid")
    assert again.loc["1.2.3.1.2", ["use", "by_hand"]].to_list() == ["baseline", "baseline"]
    assert not list((imported / "scans").glob("*_followup.nii.gz"))
    assert read_scan(imported / again.loc["1.2.3.1.2", "scan"]).spacing_mm[2] == pytest.approx(4.0)
    again.assign(by_hand="first").to_csv(path)
    with pytest.raises(ManifestError, match="by_hand must be empty or one of baseline, followup, none, got 'first'"):
        import_dicom(export, imported)


def test_killed_while_a_scan_is_replaced_the_next_import_takes_none_for_another(export, imported, monkeypatch):
    path = imported / "identifying" / "series.csv"
    told = table(path).set_index("series_uid")
    first = imported / told.loc["1.2.3.1.1", "scan"]
    before = first.read_bytes()
    told.loc["1.2.3.1.2", "by_hand"] = "baseline"
    told.to_csv(path)

    def convert_and_die(*arguments):
        _convert_one(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("hepred_lib.intake.importing._convert_one", convert_and_die)
        with pytest.raises(KeyboardInterrupt):
            import_dicom(export, imported)
    assert first.read_bytes() != before
    table(path).assign(by_hand="").to_csv(path, index=False)
    import_dicom(export, imported)
    assert first.read_bytes() == before


def test_the_clinical_table_wins_over_headers_and_who_does_not_fit_is_named(export, tmp_path, bedside):
    write_series(export / "c", patient="MRN-50", study="1.2.5", uid="1.2.5.1", bleed_radius_mm=10.0)
    rows = ("HE-1,MRN-77,31,14,", "HE-2,MRN-12,,9,F", "HE-3,MRN-99,50,9,M", "HE-4,,50,8,M")
    told = import_dicom(export, tmp_path / "out", bedside("patient_id,dicom_patient_id,age,gcs,sex", *rows))
    manifest = table(told.manifest).set_index("patient_id")
    assert manifest[["age", "gcs", "sex"]].agg(",".join, axis=1).to_dict() == {
        **{"HE-1": "31,14,F", "HE-2": "67,9,F", "HE-3": "50,9,M", "HE-4": "50,8,M"},
        "P0001": "67,,F",
    }
    assert manifest.at["HE-1", "baseline_ct"] == "scans/HE-1_baseline.nii.gz"
    assert (manifest["baseline_ct"] == "").to_list() == [False, False, True, True, False]
    assert [*told.notes] == [
        "bedside.csv: 4 patients",
        "patient HE-2: sex is F in the clinical table and M in the DICOM header: is the row another patient's? The "
        "table's is used.",
        "patient HE-1: age is 31 in the clinical table and 67 in the DICOM header: is the row another patient's? The "
        "table's is used.",
        "without a row in the clinical table: patient P0001 (key.csv says who).",
        "patient HE-3 has no first scan: no series in SOURCE.",
        "patient HE-4 has no first scan: no series in SOURCE.",
    ]
    assert "dicom_patient_id" not in manifest
    assert len(table(tmp_path / "out" / "identifying" / "key.csv")) == 4
    assert check_manifest(told.manifest).problems == []


@pytest.mark.parametrize("header", ["patient_id,gcs", "dicom_patient_id,gcs"])
def test_hospital_numbers_in_the_clinical_table_become_pseudonyms(export, imported, header, bedside):
    notes = import_dicom(export, imported, bedside(header, "MRN-77,14")).notes
    name = table(imported / "identifying" / "key.csv").set_index("dicom_patient_id").at["MRN-77", "patient_id"]
    manifest = table(imported / "manifest.csv").set_index("patient_id")
    assert manifest.loc[name, ["gcs", "baseline_ct"]].to_list() == ["14", f"scans/{name}_baseline.nii.gz"]
    assert "MRN" not in (imported / "manifest.csv").read_text(encoding="utf-8")
    assert not any("MRN" in note for note in notes)


def test_pseudonyms_of_an_earlier_import_join_a_later_table(bedside):
    before = {"MRN-12": "P0001", "MRN-77": "P0002"}
    clinical = joined(read_clinical(bedside("patient_id,gcs", "P0002,9", "P0001,14", "HE-7,3")), {}, before)
    assert clinical.ids.to_list() == ["MRN-77", "MRN-12", ""]
    assert clinical.pseudonyms.to_list() == ["P0002", "P0001", "HE-7"]


@pytest.mark.parametrize("column", ["DICOM_Patient_ID", "dicom-patient-id", " dicom_patient_id", "Dicom Patient ID"])
def test_a_near_name_of_the_column_of_patient_ids_joins(column, bedside):
    clinical = joined(read_clinical(bedside(f"patient_id,{column},gcs", "HE-1, MRN-77 ,14")), {"MRN-77": Person()}, {})
    assert (clinical.pseudonyms.to_list(), clinical.ids.to_list()) == (["HE-1"], ["MRN-77"])
    assert list(clinical.table) == ["gcs"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["dicom_patient_id,gcs", "MRN-77,3", "MRN-77,4"], "must be unique, got it more than once: lines 2, 3 of bed"),
        (["dicom_patient_id,gcs", ",3"], "dicom_patient_id must be given, got nothing in line 2 of bedside.csv"),
        (["dicom_patient_id,DICOM Patient ID", "MRN-77,MRN-77"], "must have one column dicom_patient_id, got DICOM P"),
        (["dicom_patient_id,Age", "MRN-77,60"], "the header must spell age, got Age"),
        (["name,gcs", "Doe,3"], "must have a patient_id column, got the header name,gcs: call the column"),
        (["patient_id,dicom_patient_id", "HE-1,"], "dicom_patient_id must be given, got nothing in line 2 of bedside"),
        (
            ["patient_id,dicom_patient_id", "HE 1,MRN-77"],
            "patient_id must be a pseudonym .* got something else in line 2",
        ),
        (["patient_id,dicom_patient_id", "MRN-77,MRN-77", "HE-2,"], "must be given where patient_id is a .* in line 3"),
        (["dicom_patient_id,age", "MRN-77,2024-01-03"], "got a date in line 2 of bedside.csv: dates must not leave"),
    ],
)
def test_a_clinical_table_that_cannot_be_joined_is_refused_by_its_lines(lines, message, bedside):
    with pytest.raises(ManifestError, match=message):
        joined(read_clinical(bedside(*lines)), {"MRN-77": Person()}, {})


@pytest.mark.parametrize("number", ["77", "77.0", "000077", "7.7E1", "00 77", "0077.00", "００７７"])
def test_a_number_that_a_spreadsheet_has_changed_is_refused(number, bedside):
    clinical = read_clinical(bedside("patient_id,dicom_patient_id,gcs", f"HE-1,{number},14"))
    with pytest.raises(ManifestError, match=r"must be a PatientID exactly as in the files, .* line 2 of bedside") as e:
        joined(clinical, {"0077": Person()}, {})
    assert "77" not in str(e.value)


def test_a_table_of_nobody_here_is_refused_and_the_column_that_holds_the_numbers_is_named(bedside):
    clinical = read_clinical(bedside("patient_id,gcs,mrn", "HE-1,14,MRN-77"))
    with pytest.raises(ManifestError, match="the column 'mrn' holds some: call it dicom_patient_id"):
        joined(clinical, {"MRN-77": Person()}, {})


def test_archives_are_named_since_they_may_hold_series(export, tmp_path):
    (export / "more.ZIP").touch()
    assert any("Archives in SOURCE are not opened" in note for note in import_dicom(export, tmp_path / "out").notes)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "all.tar.gz").touch()
    with pytest.raises(ScanError, match=r"1 files are not DICOM\. Archives in SOURCE .*: unpack 1\."):
        import_dicom(tmp_path / "packed", tmp_path / "other")


def test_a_pseudonym_once_given_stays_one_patients(export, imported, bedside):
    before = {path: path.read_bytes() for path in imported.rglob("*") if path.is_file()}
    key = table(imported / "identifying" / "key.csv").set_index("dicom_patient_id")["patient_id"]
    for rows, message in (
        (["HE-1,MRN-77"], "patient_id must stay P000[12] .*got HE-1"),
        ([f"{key['MRN-12']},MRN-99", f"{key['MRN-77']},MRN-77"], "must stand for one PatientID, got P000[12] for two"),
    ):
        with pytest.raises(ManifestError, match=message):
            import_dicom(export, imported, bedside("patient_id,dicom_patient_id", *rows))
    assert before == {path: path.read_bytes() for path in imported.rglob("*") if path.is_file()}


def test_a_real_tilted_uneven_scan(tmp_path, shared):
    imported = import_dicom(shared / "data/dcm_qa_ct_ge", tmp_path / "out")
    assert (imported.patients, imported.with_baseline, imported.notes) == (1, 1, ())
    assert check_manifest(imported.manifest).problems == []
    scan = read_scan(tmp_path / "out" / "scans" / "P0001_baseline.nii.gz")
    assert scan.hu.min() == -1500  # padding passes
    assert scan.hu.shape[2] * scan.spacing_mm[2] == pytest.approx(147, abs=5)


@pytest.mark.parametrize("name", ["manifest.csv", "identifying/series.csv", "identifying/key.csv"])
def test_a_table_of_an_earlier_import_that_cannot_be_read_is_not_replaced(export, imported, name):
    (imported / name).write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="of an earlier import must have the column"):
        import_dicom(export, imported)
    assert (imported / name).read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_a_key_that_has_lost_its_zeros_gives_no_second_pseudonym(export, imported):
    key = imported / "identifying" / "key.csv"
    key.write_text("patient_id,dicom_patient_id\nP0001,77\n", encoding="utf-8")
    write_series(export / "c", patient="0077", study="1.2.5", uid="1.2.5.1")
    with pytest.raises(ManifestError, match="that of P0001 has lost its zeros"):
        import_dicom(export, imported)


def test_a_mapping_and_words_of_the_hospital(export, tmp_path, bedside):
    clinical = bedside("Fall;Nr;Alter;m_w", "HE-1;MRN-77;68;w")
    mapping = "Fall: patient_id\nNr: dicom_patient_id\nAlter: age\nm_w: {column: sex, values: {m: M, w: F}}\n"
    (tmp_path / "map.yaml").write_text(mapping, encoding="utf-8")
    (tmp_path / "words.yaml").write_text("ours:\n  contrast: [Head 5.0 H31s]\n", encoding="utf-8")
    files = {"mapping": tmp_path / "map.yaml", "words": tmp_path / "words.yaml"}
    import_dicom(export, tmp_path / "out", clinical, **files)
    row = table(tmp_path / "out" / "manifest.csv").set_index("patient_id").loc["HE-1"]
    assert row[["age", "sex", "baseline_ct"]].to_list() == ["68", "F", ""]
