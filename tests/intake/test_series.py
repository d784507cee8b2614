"""Series are told from headers, whatever the files are called."""

import shutil
from datetime import datetime

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hepred_lib.intake.choice import choose
from hepred_lib.intake.series import _age, _moment, find_series, hole_mm
from tests.intake.conftest import SIZE, change, write_series


def found(source):
    """Number of slices and fault of each series below a folder."""
    return [(len(series.slices), series.fault) for series in find_series(source).series]


def test_series_of_an_export(export):
    found, foreign, damaged = find_series(export)
    assert [(s.patient, s.uid) for s in found] == [
        ("MRN-12", "1.2.4.1"),
        *(("MRN-77", uid) for uid in ("1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3", "1.2.3.2.1")),
    ]
    assert (foreign, damaged) == (1, ())
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
    ((series,), foreign, damaged) = find_series(tmp_path)
    assert len(series.files) == 33
    assert (foreign, damaged) == (0, ())


def test_files_without_preamble_and_meta_information_are_read(tmp_path):
    for path in write_series(tmp_path / "s").iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[144 + int.from_bytes(whole[140:144], "little") :])
    ((series,), foreign, damaged) = find_series(tmp_path)
    assert (len(series.slices), foreign, damaged) == (33, 0, ())


def test_without_a_patient_id_the_first_folder_or_the_source_is_the_patient(tmp_path):
    write_series(tmp_path / "case 9" / "ct", PatientID="")
    assert find_series(tmp_path).series[0].patient == "case 9"
    shutil.rmtree(tmp_path / "case 9")
    write_series(tmp_path, PatientID="")
    ((series,), *_) = find_series(tmp_path)
    assert (series.patient, series.has_patient_id, len(series.files)) == (tmp_path.name, False, 33)


def test_damaged_files_are_told_from_foreign_ones(tmp_path):
    folder = write_series(tmp_path / "s")
    whole = (folder / "IM0032").read_bytes()
    (folder / "IM0032").write_bytes(whole[:200])
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "note.txt").write_text("exported on Monday")
    ((series,), foreign, damaged) = find_series(tmp_path)
    assert len(series.files) == 32
    assert foreign == 1
    assert [path.name for path in damaged] == ["IM0032", "empty.dcm"]


def test_a_header_without_places_has_none(tmp_path):
    change(write_series(tmp_path / "s"), lambda _, image: image.pop("ImagePositionPatient"))
    ((series,), *_) = find_series(tmp_path)
    assert np.isnan(series.upright)
    assert series.places_mm == ()


def setter(name, of):
    """An edit that gives each image the value of its number; None takes the tag away, "" leaves it."""

    def edit(k, image):
        value = of(k)
        if value is None:
            del image[name]
        elif value != "":
            setattr(image, name, value)

    return edit


def fewer_rows(k, image):
    if k >= 28:
        image.Rows, image.PixelData = 32, image.PixelData[: 32 * SIZE * 2]


TURNED = [1, 0, 0, 0, np.cos(0.2), round(np.sin(0.2), 6)]
MISSING = "PixelSpacing is missing in %d of 33 images"


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (setter("PixelSpacing", lambda k: None), MISSING % 33),
        (setter("PixelSpacing", lambda k: "" if k % 3 else None), MISSING % 11),
        (setter("PixelSpacing", lambda k: [0, 0]), MISSING % 33),
        (
            setter("PixelSpacing", lambda k: [3, 2] if k > 15 else ""),
            "PixelSpacing changes within the series, 3 x",
        ),
        (fewer_rows, "the matrix changes within the series, 64 x 64 and 32 x 64"),
        (
            setter("ImageOrientationPatient", lambda k: TURNED if k < 14 else ""),
            "ImageOrientationPatient changes",
        ),
        (setter("ImagePositionPatient", lambda k: "" if k % 4 else None), "ImagePositionPatient is missing in 9 of 33"),
    ],
)
def test_what_changes_within_a_head_is_a_fault_and_no_half_is_left(tmp_path, edit, fault):
    change(write_series(tmp_path / "s", ImagerPixelSpacing=[3.0, 3.0]), edit)
    ((series,), *_) = find_series(tmp_path)
    assert series.fault.startswith(fault)
    assert choose([series])[0].reason == series.fault


def from_the_twelfth(below, above):
    return [below] * 12 + [above] * 21


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ConvolutionKernel", from_the_twelfth("H31s", "H40s")),
        *(("ConvolutionKernel", kernels * 17) for kernels in (["H31s", ""], ["", "H31s"])),  # told by some images only
        ("AcquisitionNumber", from_the_twelfth(1, 2)),
        ("SeriesNumber", from_the_twelfth(2, 3)),
        ("AcquisitionTime", from_the_twelfth("081500", "081530")),
        ("ImageType", from_the_twelfth(["ORIGINAL", "PRIMARY", "AXIAL"], ["ORIGINAL", "PRIMARY", "AXIAL", "ADD"])),
        ("FrameOfReferenceUID", from_the_twelfth("1.2.1", "1.2.2")),
        ("SliceThickness", from_the_twelfth(5.0, 4.9)),
        ("SOPInstanceUID", ["1.2.3"] * 33),
    ],
)
def test_what_changes_on_the_way_up_or_never_leaves_one_stack(tmp_path, name, values):
    change(write_series(tmp_path / "s"), lambda k, image: setattr(image, name, values[k]))
    assert found(tmp_path) == [(33, "")]


def test_of_two_copies_the_whole_one_is_used(tmp_path):
    def cut(k, image):
        if k in (5, 6, 20):
            image.PixelData = image.PixelData[:3000]

    change(write_series(tmp_path / "a"), cut)
    change(write_series(tmp_path / "b"), lambda k, image: setattr(image, "SOPInstanceUID", f"1.9.{k}"))
    ((series,), *_) = find_series(tmp_path)
    assert [k for k, path in enumerate(series.files) if path.parent.name == "b"] == [5, 6, 20]


def bleached(k, image):
    """As another kernel shows it: other values, and a number of its own."""
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.9.{k}"
    pixels = np.frombuffer(image.PixelData, "<u2").copy()
    pixels[pixels == 1024 + 65] = 1024 + 200
    image.PixelData = pixels.tobytes()


def test_two_kernels_under_one_uid_are_two_series_and_the_soft_one_is_chosen(tmp_path):
    write_series(tmp_path / "b")
    change(write_series(tmp_path / "a", ConvolutionKernel="H70h"), bleached)
    series, other = find_series(tmp_path).series
    assert [(s.uid, s.kernel, len(s.files)) for s in (series, other)] == [
        ("1.2.3.1.1", "H31s", 33),
        ("1.2.3.1.1#2", "H70h", 33),
    ]
    assert [choice.use for choice in choose([series, other])] == ["baseline", "none"]


def test_frames_of_reference_that_an_anonymizer_made_up_mix_no_kernels(tmp_path):
    write_series(tmp_path / "b")
    change(write_series(tmp_path / "a", ConvolutionKernel="H70h"), bleached)
    for folder in ("a", "b"):
        change(tmp_path / folder, lambda k, image, f=folder: setattr(image, "FrameOfReferenceUID", f"1.{ord(f)}.{k}"))
    assert [len({path.parent for path in series.files}) for series in find_series(tmp_path).series] == [1, 1]


def test_different_images_at_one_place_that_nothing_tells_apart_are_a_fault(tmp_path):
    write_series(tmp_path / "b")
    change(write_series(tmp_path / "a"), bleached)
    ((_, fault),) = found(tmp_path)
    assert "places with several images that differ" in fault


@pytest.mark.parametrize(
    "edit",
    [
        lambda k, image: setattr(image, "AcquisitionNumber", 2),
        lambda k, image: setattr(image, "AcquisitionTime", "082000"),
        lambda k, image: setattr(image, "InstanceNumber", 101 + k),  # another kernel, which the header does not tell
    ],
)
def test_two_passes_over_the_same_places_are_two_series(tmp_path, edit):
    write_series(tmp_path / "a", AcquisitionNumber=1)
    change(write_series(tmp_path / "b", AcquisitionNumber=1), lambda k, image: (bleached(k, image), edit(k, image)))
    assert [len({path.parent for path in series.files}) for series in find_series(tmp_path).series] == [1, 1]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((-80, 80.1, 10), (-75, 80, 10), [33]),  # between each other: one even stack
        ((-80, 80.1, 5), (-78.7, 80, 5), [33, 32]),  # the table 1.3 mm further: two
        ((-80, 0.1, 5), (-2.5, 80.1, 5), [34]),  # below and above
        ((-80, 0.1, 5), (-5, 80.1, 5), [33]),  # two places in both
    ],
)
def test_two_passes(tmp_path, first, second, expected):
    for number, ends in enumerate((first, second)):
        places_mm = np.arange(*ends)
        folder = write_series(tmp_path / str(number), AcquisitionNumber=number + 1, gap_mm=160 / (len(places_mm) - 1))
        change(folder, lambda k, image, z=places_mm: move(image, z[k]))
    assert [count for count, _ in found(tmp_path)] == expected


def move(image, z):
    image.ImagePositionPatient = [*image.ImagePositionPatient[:2], round(float(z), 4)]
    image.SliceThickness = 5.0
    image.PixelData = (np.frombuffer(image.PixelData, "<u2") + np.uint16(image.AcquisitionNumber)).tobytes()


def test_thick_and_thin_slices_under_one_uid_are_two_series(tmp_path):
    write_series(tmp_path / "thick")
    change(write_series(tmp_path / "thin", gap_mm=1.0), lambda k, image: bleached(k + 100, image))
    assert sorted(count for count, _ in found(tmp_path)) == [33, 161]


def scout(k, image):
    image.ImageType, image.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], [0, 1, 0, 0, 0, -1]
    image.ImagePositionPatient = [0.0, -94.5, 94.5]


def monitor(k, image):
    image.ImagePositionPatient = [-94.5, -94.5, -220.0]
    image.AcquisitionNumber, image.SliceThickness = 9, 10


def coarse(k, image):
    image.Rows = image.Columns = 32
    image.PixelSpacing, image.PixelData = [6.0, 6.0], image.PixelData[: 32 * 32 * 2]


@pytest.mark.parametrize("edit", [scout, monitor, coarse])
@pytest.mark.parametrize("folder", ["a", "z"])  # before or behind the head
def test_an_overview_or_one_odd_image_is_set_apart(tmp_path, edit, folder):
    write_series(tmp_path / "s")
    change(write_series(tmp_path / folder, leave_out=tuple(range(1, 33))), edit)
    assert found(tmp_path) == [(33, ""), (1, "")]
    assert choose(find_series(tmp_path).series)[0].use == "baseline"


def test_coronal_slices_under_the_same_uid_are_a_series_of_their_own(tmp_path):
    write_series(tmp_path / "b")
    change(
        write_series(tmp_path / "a"), lambda k, image: setattr(image, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1])
    )
    assert find_series(tmp_path).series[0].upright == 1.0


@pytest.mark.parametrize(
    ("places_mm", "hole"),
    [
        (np.arange(0, 150, 5.0), 0.0),
        ([*np.arange(0, 60, 2.5), *np.arange(60, 160, 5.0)], 0.0),  # thin below, thick above
        ([*np.arange(0, 60, 5.0), *np.arange(57.5, 160, 5.0)], 0.0),  # two passes that meet
        (np.delete(np.arange(0, 150, 5.0), 12), 10.0),
        (np.delete(np.arange(0, 150, 5.0), [12, 14]), 10.0),
        (np.delete(np.arange(0, 150, 5.0), slice(12, 15)), 20.0),
        (np.delete(np.arange(0, 150, 5.0), -2), 10.0),
        (np.delete([*np.arange(0, 60, 2.5), *np.arange(60, 160, 5.0)], 6), 5.0),
        ([], 0.0),
        ([3.0], 0.0),
    ],
)
def test_missing_slices(places_mm, hole):
    assert hole_mm(places_mm) == pytest.approx(hole)


def acquired(day):
    return {"AcquisitionDate": day, "AcquisitionTime": "081530"}


NINE = datetime(2024, 1, 3, 9)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"AcquisitionDateTime": "20240103081530.250+0100"}, datetime(2024, 1, 3, 8, 15, 30)),
        ({"SeriesDate": "20240103", "SeriesTime": "0815"}, datetime(2024, 1, 3, 8, 15)),
        ({"StudyDate": "20240103"}, None),
        ({"AcquisitionDate": "20240103", "AcquisitionTime": "996100"}, None),
        ({"StudyDate": "20240103", "StudyTime": "09"}, None),
        ({"StudyDate": "20240103", "StudyTime": "0900", "AcquisitionDateTime": "20210607081530"}, NINE),
        ({"StudyDate": "20240103", "StudyTime": "0900", "ContentDate": "20240105", "ContentTime": "0700"}, NINE),
        ({"StudyDate": "20240103", "StudyTime": "2359", **acquired("20240104")}, datetime(2024, 1, 4, 8, 15, 30)),
        ({"StudyDate": "20240103", **acquired("20210607")}, None),
        ({"StudyDate": "19000101", "StudyTime": "0900", **acquired("20240104")}, datetime(2024, 1, 4, 8, 15, 30)),
        ({"StudyDate": "20240103", "StudyTime": "0900", **acquired("20000101")}, NINE),
        ({"StudyDate": "20240103", "StudyTime": "000000"}, None),
        *(({"StudyDate": day, "StudyTime": "0900"}, None) for day in ("19000101", "19700101", "20000101", "99991231")),
        ({}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")  # pydicom's, of what a header may not hold
def test_moment(tags, expected):
    header = Dataset()
    for name, value in tags.items():
        setattr(header, name, value)
    assert _moment(header) == expected


@pytest.mark.parametrize(("text", "years"), [("067Y", 67), ("030M", 2), ("010D", 0), ("", np.nan), ("old", np.nan)])
def test_age(text, years):
    assert _age(text) == pytest.approx(years, nan_ok=True)
