"""Bedside values of one new patient: read, and refused in one sentence."""

import json

import pytest

from hepred_lib.deployment import load_frozen, read_bedside
from hepred_lib.manifest import ManifestError
from hepred_lib.study import StudyError


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"age": 260}, "age must be within 18 to 110, got 260"),
        ({"gcs": 7.5}, "gcs must be a whole number within 3 to 15, got 7.5"),
        ({"sex": "male"}, "sex must be F or M, got 'male'"),
        ({"anticoagulant": True}, "anticoagulant must be 0 or 1, got True"),
        ({"agee": 70}, "'agee' is no column of the manifest"),
        ([1, 2], "must be a JSON object of manifest columns, got list"),
        ("{", "must be a readable JSON object"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(bedside, content, message):
    with pytest.raises(ManifestError, match=message) as refusal:
        read_bedside(bedside(content))
    assert "\n" not in str(refusal.value)


def test_a_folder_without_a_finished_study_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"holds no clinical_model\.json"):
        load_frozen(tmp_path)
