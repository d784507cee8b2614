"""From an export to scans and a manifest that the rest of the house can use."""

import pytest

from hepred_lib.errors import ManifestError, ScanError
from hepred_lib.imaging.scans import read_scan
from hepred_lib.intake.check import check_manifest
from hepred_lib.intake.importing import Person, _convert_one, import_dicom, joined, read_clinical
from tests.intake.conftest import table, write_series


@pytest.fixture
def bedside(tmp_path):
    """A clinical table of these lines."""

    def write(*lines):
        (tmp_path / "bedside.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
        return tmp_path / "bedside.csv"

    return write


@pytest.mark.parametrize("second", ["export/c", "second"])  # beside the first export, or alone
def test_imported_again_names_stay_and_nothing_is_converted_twice(export, tmp_path, second):
    out = tmp_path / "out"
    import_dicom(export, out)
    before = {path: path.stat().st_mtime_ns for path in (out / "scans").iterdir()}
    key = table(out / "identifying" / "key.csv")
    write_series(tmp_path / second, patient="MRN-50", study="1.2.5", uid="1.2.5.1")
    imported = import_dicom(tmp_path / second.partition("/")[0], out)
    assert (imported.patients, imported.with_baseline, imported.with_followup, imported.notes) == (3, 3, 1, ())
    assert len(table(out / "identifying" / "series.csv")) == 6
    after = {path: path.stat().st_mtime_ns for path in (out / "scans").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    again = table(out / "identifying" / "key.csv")
    assert again.iloc[:2].equals(key)
    assert again.iloc[2].to_dict() == {"patient_id": "P0003", "dicom_patient_id": "MRN-50"}


def test_a_readers_word_is_heeded_when_imported_again(export, tmp_path):
    out = tmp_path / "out"
    import_dicom(export, out)
    path = out / "identifying" / "series.csv"
    series = table(path)
    series.loc[series["series_uid"] == "1.2.3.1.2", "by_hand"] = "baseline"
    series.loc[series["series_uid"] == "1.2.3.2.1", "by_hand"] = "none"
    series.to_csv(path, index=False)
    imported = import_dicom(export, out)
    assert (imported.with_baseline, imported.with_followup) == (2, 0)
    again = table(path).set_index("series_uid")
    assert again.loc["1.2.3.1.2", ["use", "by_hand"]].to_list() == ["baseline", "baseline"]
    assert not list((out / "scans").glob("*_followup.nii.gz"))
    assert read_scan(out / again.loc["1.2.3.1.2", "scan"]).spacing_mm[2] == pytest.approx(4.0)
    series.loc[0, "by_hand"] = "first"
    series.to_csv(path, index=False)
    with pytest.raises(ManifestError, match="by_hand must be empty or one of baseline, followup, none, got 'first'"):
        import_dicom(export, out)


def test_killed_while_a_scan_is_replaced_the_next_import_takes_none_for_another(export, tmp_path, monkeypatch):
    out = tmp_path / "out"
    import_dicom(export, out)
    path = out / "identifying" / "series.csv"
    first = table(path).set_index("series_uid").loc["1.2.3.1.1", "scan"]
    before = (out / first).read_bytes()
    told = table(path)
    told.loc[told["series_uid"] == "1.2.3.1.2", "by_hand"] = "baseline"
    told.to_csv(path, index=False)

    def convert_and_die(*arguments):
        _convert_one(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("hepred_lib.intake.importing._convert_one", convert_and_die)
        with pytest.raises(KeyboardInterrupt):
            import_dicom(export, out)
    assert (out / first).read_bytes() != before
    table(path).assign(by_hand="").to_csv(path, index=False)
    import_dicom(export, out)
    assert (out / first).read_bytes() == before


def test_the_clinical_table_names_patients_and_wins_over_headers(export, tmp_path, bedside):
    clinical = bedside("patient_id,dicom_patient_id,age,gcs,sex", "HE-1,MRN-77,68,14,", "HE-3,MRN-99,50,9,M")
    imported = import_dicom(export, tmp_path / "out", clinical)
    manifest = table(tmp_path / "out" / "manifest.csv").set_index("patient_id")
    assert set(manifest.index) == {"HE-1", "HE-3", "P0001"}
    assert manifest.loc["HE-1", ["age", "gcs", "sex"]].to_list() == ["68", "14", "F"]
    assert manifest.loc["HE-3", ["baseline_ct", "gcs"]].to_list() == ["", "9"]
    assert imported.notes[-1] == "patient HE-3 has no first scan: no series in SOURCE."
    assert "dicom_patient_id" not in manifest
    assert check_manifest(tmp_path / "out" / "manifest.csv").problems == []


@pytest.mark.parametrize("header", ["patient_id,gcs", "dicom_patient_id,gcs", "patient_id,dicom_patient_id,gcs"])
def test_hospital_numbers_in_the_clinical_table_become_pseudonyms(export, tmp_path, header, bedside):
    clinical = bedside(f"{header}", f"{'MRN-77,' * header.count('_id')}14")
    imported = import_dicom(export, tmp_path / "out", clinical)
    key = table(tmp_path / "out" / "identifying" / "key.csv").set_index("dicom_patient_id")["patient_id"]
    manifest = table(tmp_path / "out" / "manifest.csv").set_index("patient_id")
    name = key["MRN-77"]
    assert name in ("P0001", "P0002")
    assert manifest.loc[name, ["gcs", "baseline_ct"]].to_list() == ["14", f"scans/{name}_baseline.nii.gz"]
    assert "MRN" not in (tmp_path / "out" / "manifest.csv").read_text(encoding="utf-8")
    assert not any("MRN" in note for note in imported.notes)


def test_pseudonyms_of_an_earlier_import_join_a_later_table(export, tmp_path):
    out, clinical = tmp_path / "out", tmp_path / "bedside.csv"
    import_dicom(export, out)
    clinical.write_text("patient_id,gcs\nP0002,9\nP0001,14\nHE-7,3\n", encoding="utf-8")
    import_dicom(export, out, clinical)
    manifest = table(out / "manifest.csv").set_index("patient_id")
    assert manifest["gcs"].to_dict() == {"P0001": "14", "P0002": "9", "HE-7": "3"}
    assert (manifest.loc[["P0001", "P0002"], "baseline_ct"] != "").all()


@pytest.mark.parametrize("column", ["DICOM_Patient_ID", "dicom-patient-id", " dicom_patient_id", "Dicom Patient ID"])
def test_a_near_name_of_the_column_of_patient_ids_joins(column, bedside):
    clinical = joined(read_clinical(bedside(f"patient_id,{column},gcs", "HE-1, MRN-77 ,14")), {"MRN-77": Person()}, {})
    assert (clinical.pseudonyms.to_list(), clinical.ids.to_list()) == (["HE-1"], ["MRN-77"])
    assert list(clinical.table) == ["gcs"]


@pytest.mark.parametrize("number", ["77", "77.0", "000077", "7.7E1", "00 77", "0077.00", "００７７"])
def test_a_number_that_a_spreadsheet_has_changed_is_refused(number, bedside):
    clinical = read_clinical(bedside("patient_id,dicom_patient_id,gcs", f"HE-1,{number},14"))
    with pytest.raises(ManifestError, match=r"must be a PatientID exactly as in the files, .* line 2 of bedside") as e:
        joined(clinical, {"0077": Person()}, {})
    assert "77" not in str(e.value)


def test_a_table_of_nobody_here_is_refused_and_the_column_that_holds_the_numbers_is_named(export, tmp_path, bedside):
    clinical = bedside("patient_id,gcs,mrn", "HE-1,14,MRN-77")
    with pytest.raises(ManifestError, match="the column 'mrn' holds some: call it dicom_patient_id"):
        import_dicom(export, tmp_path / "out", clinical)


def test_rows_without_a_patient_id_are_patients_without_scans(export, tmp_path, bedside):
    clinical = bedside("patient_id,dicom_patient_id,gcs", "HE-1,MRN-77,14", "HE-2,,9", "HE-3,,8")
    imported = import_dicom(export, tmp_path / "out", clinical)
    manifest = table(imported.manifest).set_index("patient_id")
    assert manifest.loc[["HE-2", "HE-3"], "gcs"].to_list() == ["9", "8"]
    assert len(imported.notes) == 4  # two without scans, one without a row, and how the table was read
    assert "without a row in the clinical table: patient P0001 (key.csv says who)." in imported.notes
    assert len(table(tmp_path / "out" / "identifying" / "key.csv")) == 2


def test_archives_are_named_since_they_may_hold_series(export, tmp_path):
    (export / "more.ZIP").touch()
    assert any("Archives in SOURCE are not opened" in note for note in import_dicom(export, tmp_path / "out").notes)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "all.tar.gz").touch()
    with pytest.raises(ScanError, match=r"1 files are not DICOM\. Archives in SOURCE .*: unpack 1\."):
        import_dicom(tmp_path / "packed", tmp_path / "other")


def test_a_row_that_may_be_another_patients_is_named(export, tmp_path, bedside):
    clinical = bedside("patient_id,dicom_patient_id,age,sex", "HE-1,MRN-77,31,M")
    notes = import_dicom(export, tmp_path / "out", clinical).notes
    assert any("patient HE-1: age is 31 in the clinical table and 67 in the DICOM header" in note for note in notes)
    assert any("patient HE-1: sex is M in the clinical table and F in the DICOM header" in note for note in notes)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("HE-1,MRN-77", "patient_id must stay P000[12] .*got HE-1"),
        ("{of_b},MRN-99\n{of_a},MRN-77", "must stand for one PatientID, got P000[12] for two"),
    ],
)
def test_a_pseudonym_once_given_stays_one_patients(export, tmp_path, row, message):
    out, clinical = tmp_path / "out", tmp_path / "bedside.csv"
    import_dicom(export, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    key = table(out / "identifying" / "key.csv").set_index("dicom_patient_id")["patient_id"]
    rows = row.format(of_a=key["MRN-77"], of_b=key["MRN-12"])
    clinical.write_text(f"patient_id,dicom_patient_id\n{rows}\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=message):
        import_dicom(export, out, clinical)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_real_tilted_uneven_scan(tmp_path, shared):
    imported = import_dicom(shared / "data/dcm_qa_ct_ge", tmp_path / "out")
    assert (imported.patients, imported.with_baseline, imported.notes) == (1, 1, ())
    assert check_manifest(imported.manifest).problems == []
    scan = read_scan(tmp_path / "out" / "scans" / "P0001_baseline.nii.gz")
    assert scan.hu.min() == -1500  # padding passes
    assert scan.hu.shape[2] * scan.spacing_mm[2] == pytest.approx(147, abs=5)


@pytest.mark.parametrize("name", ["manifest.csv", "identifying/series.csv", "identifying/key.csv"])
def test_a_table_of_an_earlier_import_that_cannot_be_read_is_not_replaced(export, tmp_path, name):
    out = tmp_path / "out"
    import_dicom(export, out)
    (out / name).write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="of an earlier import must have the column"):
        import_dicom(export, out)
    assert (out / name).read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_a_key_that_has_lost_its_zeros_gives_no_second_pseudonym(tmp_path):
    write_series(tmp_path / "export", patient="0077")
    import_dicom(tmp_path / "export", tmp_path / "out")
    key = tmp_path / "out" / "identifying" / "key.csv"
    key.write_text(key.read_text(encoding="utf-8").replace("0077", "77"), encoding="utf-8")
    with pytest.raises(ManifestError, match="that of P0001 has lost its zeros"):
        import_dicom(tmp_path / "export", tmp_path / "out")


def test_a_mapping_and_words_of_the_hospital(export, tmp_path):
    (tmp_path / "bedside.csv").write_text("Fall;Nr;Alter;m_w\nHE-1;MRN-77;68;w\n", encoding="utf-8")
    (tmp_path / "map.yaml").write_text(
        "Fall: patient_id\nNr: dicom_patient_id\nAlter: age\nm_w: {column: sex, values: {m: M, w: F}}\n",
        encoding="utf-8",
    )
    (tmp_path / "words.yaml").write_text("ours:\n  contrast: [Head 5.0 H31s]\n", encoding="utf-8")
    arguments = (export, tmp_path / "out", tmp_path / "bedside.csv")
    import_dicom(*arguments, mapping=tmp_path / "map.yaml")
    row = table(tmp_path / "out" / "manifest.csv").set_index("patient_id").loc["HE-1"]
    assert row[["age", "sex", "baseline_ct"]].to_list() == ["68", "F", "scans/HE-1_baseline.nii.gz"]
    assert import_dicom(export, tmp_path / "other", words=tmp_path / "words.yaml").with_baseline == 0


@pytest.mark.parametrize("sep", [",", ";"])  # as some spreadsheets save
def test_what_was_filled_in_stays(export, tmp_path, sep):
    out = tmp_path / "out"
    import_dicom(export, out)
    path = out / "identifying" / "series.csv"
    series = table(path)
    series.loc[series["series_uid"] == "1.2.3.2.1", "by_hand"] = "none"
    series.to_csv(path, index=False, sep=sep)
    edited = table(out / "manifest.csv").assign(baseline_mask="", gcs=["13", ""], age=["70", "67"])
    edited.to_csv(out / "manifest.csv", index=False, sep=sep)
    assert import_dicom(export, out).with_followup == 0
    again = table(out / "manifest.csv")
    assert again[["gcs", "age"]].to_numpy().tolist() == [["13", "70"], ["", "67"]]
