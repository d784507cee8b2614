"""Series are told from headers, whatever the files are called."""

import shutil
from datetime import datetime

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hepred_lib.intake.choice import choose
from hepred_lib.intake.series import _age, _moment, _places, _planes, find_series
from tests.intake.conftest import write_series


def test_series_of_an_export(export):
    found, foreign = find_series(export)
    assert [(s.patient, s.uid) for s in found] == [
        ("MRN-12", "1.2.4.1"),
        *(("MRN-77", uid) for uid in ("1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3", "1.2.3.2.1")),
    ]
    assert foreign == 1
    first = found[1]
    assert len(first.files) == len(first.places_mm) == 33
    assert (first.upright, first.extent_mm, first.thickness_mm) == (1.0, 160.0, 5.0)
    assert first.taken_at == datetime(2024, 1, 3, 8, 15)
    assert (first.age, first.sex, first.kernel) == (67.0, "F", "H31s")


def test_copies_hidden_files_and_directories_are_passed_over(tmp_path):
    write_series(tmp_path / "s")
    shutil.copy(tmp_path / "s" / "IM0000", tmp_path / "s" / "IM0000 copy")
    shutil.copy(tmp_path / "s" / "IM0001", tmp_path / "s" / ".IM0001")
    (tmp_path / "DICOMDIR").write_bytes(b"whatever")
    ((series,), foreign) = find_series(tmp_path)
    assert len(series.files) == 33
    assert foreign == 0


def test_without_a_patient_id_the_first_folder_is_the_patient(tmp_path):
    write_series(tmp_path / "case 9" / "ct", PatientID="")
    ((series,), _) = find_series(tmp_path)
    assert series.patient == "case 9"


def test_a_truncated_file_is_no_image_and_stops_nothing(tmp_path):
    write_series(tmp_path / "s")
    whole = (tmp_path / "s" / "IM0000").read_bytes()
    (tmp_path / "s" / "IM0000").write_bytes(whole[:200])
    ((series,), foreign) = find_series(tmp_path)
    assert len(series.files) == 32
    assert foreign == 1


def test_a_damaged_header_stops_nothing(tmp_path):
    write_series(tmp_path / "s")
    whole = (tmp_path / "s" / "IM0003").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(128, 1500, rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "s" / f"damaged{number:03d}").write_bytes(damaged)
    found, foreign = find_series(tmp_path)
    assert foreign > 0
    assert max(len(series.places_mm) for series in found) >= 33
    assert all(choice.reason for choice in choose(found))


def test_places_of_a_file_of_many_frames():
    frames = []
    for z in (0.0, 5.0, 10.0):
        place, frame = Dataset(), Dataset()
        place.ImagePositionPatient = [0.0, 0.0, z]
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    turn, shared, header = Dataset(), Dataset(), Dataset()
    turn.ImageOrientationPatient = [1.0, 0, 0, 0, 1.0, 0]
    shared.PlaneOrientationSequence = Sequence([turn])
    header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = (
        Sequence([shared]),
        Sequence(frames),
    )
    assert _places(list(_planes(header))) == (1.0, (0.0, 5.0, 10.0))


def test_a_header_without_places_has_none(tmp_path):
    header = dcmread(write_series(tmp_path / "s") / "IM0000")
    del header.ImagePositionPatient
    upright, places = _places(list(_planes(header)))
    assert np.isnan(upright)
    assert places == ()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"AcquisitionDateTime": "20240103081530.250+0100"}, datetime(2024, 1, 3, 8, 15, 30)),
        ({"SeriesDate": "20240103", "SeriesTime": "0815"}, datetime(2024, 1, 3, 8, 15)),
        ({"StudyDate": "20240103"}, None),
        ({"AcquisitionDate": "20240103", "AcquisitionTime": "996100"}, None),
        ({"StudyDate": "20240103", "StudyTime": "09"}, None),
        ({}, None),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of values against the standard
def test_moment(tags, expected):
    header = Dataset()
    for name, value in tags.items():
        setattr(header, name, value)
    assert _moment(header) == expected


@pytest.mark.parametrize(("text", "years"), [("067Y", 67), ("030M", 2), ("010D", 0), ("", np.nan), ("old", np.nan)])
def test_age(text, years):
    assert _age(text) == pytest.approx(years, nan_ok=True)
