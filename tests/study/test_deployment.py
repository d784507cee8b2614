"""Bedside values of one new patient: read, and refused in one sentence."""

import json

import pytest

from hepred_lib.cohort.manifest import read_bedside, read_manifest
from hepred_lib.errors import ManifestError, ScanError, StudyError
from hepred_lib.imaging.scans import read_scan
from hepred_lib.study.deployment import FrozenStudy, load_frozen, predict_one


@pytest.fixture
def bedside(tmp_path):
    def write(content):
        path = tmp_path / "patient.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_values_come_back_as_given_and_null_means_missing(bedside):
    values = {"age": 71, "sex": "F", "gcs": 13, "inr": None, "location": "lobar"}
    assert read_bedside(bedside(values)) == values
    assert read_bedside(bedside('\ufeff{"age": 71}')) == {"age": 71}, "a byte order mark is forgiven"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"age": 260}, r"age must be within 18 to 110, got 260\."),
        ({"age": "71"}, r'age must be within 18 to 110, got "71"\. Write 71 without quotation marks'),
        ({"age": -9}, "got -9. Write null where the value is not known"),
        ({"age": "NA"}, 'got "NA". Write null where the value is not known'),
        ({"age": [71]}, r"age must be within 18 to 110, got \[71\]\. Write one number or text"),
        ({"age": {"value": 71}}, "Write one number or text"),
        ({"age": 10**400}, "age must be within 18 to 110, got 1000"),
        ({"gcs": 7.5}, "gcs must be a whole number within 3 to 15, got 7.5"),
        ({"glucose_mmol_l": 130}, "got 130. If this is in mg/dL, multiply by 0.0555"),
        ({"sex": "male"}, 'sex must be F or M, got "male". Write M'),
        ({"sex": 1}, "sex must be F or M, got 1. Write F or M"),
        ({"anticoagulant": True}, "anticoagulant must be 0 or 1, got true. Write 1"),
        ({"anticoagulant": "ja"}, 'anticoagulant must be 0 or 1, got "ja". Write 1 for yes and 0 for no'),
        ({"agee": 70}, r'every name must be a column of the manifest, got "agee" \(closest: age\)'),
        ([1, 2], "must be a JSON object of manifest columns.* got a list"),
        ("{", "got Expecting .* line 1 column"),
        ('{"age": NaN}', "UTF-8, .* got NaN"),
        ('{"age": -Infinity}', "got -Infinity"),
        ('{"age": 60, "age": 70}', 'got the name "age" twice'),
        ("", "got Expecting .* line 1 column"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(bedside, content, message):
    with pytest.raises(ManifestError, match=message) as refusal:
        read_bedside(bedside(content))
    assert "\n" not in str(refusal.value)


def test_columns_of_the_studys_own_are_numbers_or_text(bedside):
    values = {"ldh_u_l": 240, "ward": "north", "apoe": None}
    assert read_bedside(bedside(values), others=[*values, "age"]) == values
    for wrong, message in (({"ldh_u_l": True}, "ldh_u_l must be within"), ({"age": 260}, "age must be within 18")):
        with pytest.raises(ManifestError, match=message):
            read_bedside(bedside(wrong), others=["ldh_u_l", "age"])


def test_a_file_that_is_not_there_is_said_in_plain_words(tmp_path):
    for read, error in ((read_bedside, ManifestError), (read_manifest, ManifestError), (read_scan, ScanError)):
        with pytest.raises(error, match=r"^cannot read .*none: no such file\.$"):
            read(tmp_path / "none")


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_another_encoding_is_refused(tmp_path, encoding):
    path = tmp_path / "patient.json"
    path.write_bytes('{"site": "Zürich"}'.encode(encoding))
    with pytest.raises(ManifestError, match=r"in UTF-8, .* got .* byte 0x"):
        read_bedside(path)


def test_a_folder_without_a_finished_study_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"holds no clinical_model\.json"):
        load_frozen(tmp_path)


def test_a_study_without_networks_says_what_predicts_instead(tmp_path):
    with pytest.raises(StudyError, match=r"without scans.*`hepred external` takes a table"):
        predict_one(FrozenStudy(tmp_path, None, {}), tmp_path / "ct.nii.gz", None, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
