"""The volume is what the headers say, whatever the order, the numbering and the encoding of the files."""

import copy
import dataclasses

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, RLELossless

from hepred_lib.errors import ScanError
from hepred_lib.imaging.scans import read_scan
from hepred_lib.intake import conversion
from hepred_lib.intake.conversion import convert_series
from hepred_lib.intake.series import find_series
from tests.intake.conftest import BLEED_MM, PIXEL_MM, SIZE, change, head_hu, write_series


def converted(source, tmp_path):
    """The scan of the only series below a folder."""
    ((series,), *_) = find_series(source)
    (tmp_path / "work").mkdir(exist_ok=True)
    convert_series(series, tmp_path / "scan.nii.gz", workplace=tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
    return read_scan(tmp_path / "scan.nii.gz")


def true_hu(scan):
    """What the head has where the scan has its voxels."""
    voxels = np.moveaxis(np.indices(scan.hu.shape), 0, -1)
    return head_hu(np.round(nib.affines.apply_affine(scan.affine, voxels) * [-1, -1, 1], 3))


def shuffle(k, image):
    image.InstanceNumber = int(np.random.default_rng(1).permutation(33)[k]) + 1


def restart(k, image):
    image.InstanceNumber, image.AcquisitionNumber = k % 12 + 1, k // 12 + 1


@pytest.mark.parametrize(
    "edit",
    [
        shuffle,
        restart,
        lambda k, image: setattr(image, "InstanceNumber", 1),
        lambda k, image: image.pop("InstanceNumber"),
        lambda k, image: setattr(image, "InstanceNumber", 33 - k),
        lambda k, image: setattr(image, "SeriesNumber", 2 + k // 12),
        lambda k, image: setattr(image, "Exposure", 100 + k),
        lambda k, image: setattr(image, "GantryDetectorTilt", 0 if k < 12 else 10),
        lambda k, image: setattr(image, "PhotometricInterpretation", "MONOCHROME1"),
    ],
)
def test_numbers_and_names_of_files_do_not_matter(tmp_path, edit):
    folder = change(write_series(tmp_path / "s"), edit)
    order = np.random.default_rng(0).permutation(33)
    for k, path in enumerate(sorted(folder.iterdir())):
        path.rename(path.with_name(f"x{order[k]:02d}"))
    scan = converted(folder, tmp_path)
    assert scan.spacing_mm == pytest.approx((3.0, 3.0, 5.0))
    np.testing.assert_array_equal(scan.hu, true_hu(scan))


def hu_of(image):
    return np.frombuffer(image.PixelData, "<u2").astype(float) * image.RescaleSlope + image.RescaleIntercept


def signed(k, image):
    if k % 2:
        image.PixelData = hu_of(image).astype("<i2").tobytes()
        image.RescaleIntercept, image.PixelRepresentation, image.BitsStored, image.HighBit = 0, 1, 16, 15


def other_intercept(k, image):
    if k >= 12:
        image.PixelData, image.RescaleIntercept = (hu_of(image) + 1000).astype("<u2").tobytes(), -1000


def other_slope(k, image):
    slope = (1, 2, 0.5)[k % 3]
    image.PixelData, image.RescaleSlope = np.rint((hu_of(image) + 1024) / slope).astype("<u2").tobytes(), slope


def overlay(k, image):
    image.PixelData = (np.frombuffer(image.PixelData, "<u2") | 0x8000).tobytes()


@pytest.mark.parametrize("edit", [signed, other_intercept, other_slope, overlay])
def test_hounsfield_units_are_each_images_own(tmp_path, edit):
    scan = converted(change(write_series(tmp_path / "s"), edit), tmp_path)
    np.testing.assert_allclose(scan.hu, true_hu(scan), atol=1.0)


@pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian])
def test_transfer_syntaxes(tmp_path, syntax):
    def write_as(_, image):
        if syntax.is_encapsulated:
            image.compress(syntax, generate_instance_uid=False)
        image.file_meta.TransferSyntaxUID = UID(syntax)

    scan = converted(change(write_series(tmp_path / "s"), write_as), tmp_path)
    np.testing.assert_array_equal(scan.hu, true_hu(scan))


def turned(image, row, column, corner):
    """An image of the head in another plane."""
    step = np.arange(SIZE) * PIXEL_MM
    places = corner + step[:, None, None] * column + step[None, :, None] * row
    image.ImageOrientationPatient = [f"{v:.9f}" for v in (*row, *column)]
    image.ImagePositionPatient = [f"{v:.6f}" for v in corner]
    image.PixelData = (head_hu(places) + 1024).astype("<u2").tobytes()


def plane(kind, angle=0.0):
    x, c, s = np.array([1.0, 0, 0]), np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return {
        "head first": (x, np.array([0, c, s])),
        "feet first": (x, np.array([0, -c, -s])),
        "mirrored": (-x, np.array([0, c, s])),
        "prone": (-x, np.array([0, -c, -s])),
        "turned": (np.array([c, s, 0]), np.array([-s, c, 0])),
    }[kind]


def in_plane(tmp_path, kind, angle, gap_mm):
    """The scan of a head whose slices lie above each other and are turned."""
    row, column = plane(kind, angle)
    start = -(SIZE - 1) / 2 * PIXEL_MM * (row + column)

    def turn(k, image):
        del image.InstanceNumber
        turned(image, row, column, start + np.array([0, 0, -80 + gap_mm * k]))

    return converted(change(write_series(tmp_path / "s", gap_mm=gap_mm), turn), tmp_path)


@pytest.mark.parametrize(("kind", "angle"), [("feet first", 0), ("mirrored", 0), ("prone", 0), ("turned", 10)])
def test_every_orientation_of_the_slices_keeps_the_sides(tmp_path, kind, angle):
    scan = in_plane(tmp_path, kind, angle, 5.0)
    blood = nib.affines.apply_affine(scan.affine, np.argwhere(scan.hu == 65).mean(axis=0))
    np.testing.assert_allclose(blood * [-1, -1, 1], BLEED_MM, atol=1.0)


@pytest.mark.parametrize("kind", ["head first", "prone", "mirrored"])
@pytest.mark.parametrize("angle", [18.0, -18.0])
def test_a_tilted_gantry_is_corrected_in_every_orientation(tmp_path, kind, angle):
    scan = in_plane(tmp_path, kind, angle, 4.0)
    head = nib.affines.apply_affine(scan.affine, np.argwhere(scan.hu > -400))
    blood = nib.affines.apply_affine(scan.affine, np.argwhere((scan.hu > 50) & (scan.hu < 80))) - head.mean(axis=0)
    blood = blood[np.linalg.norm(blood, axis=1) < 60]  # bone fades into brain where slices were moved
    np.testing.assert_allclose(np.ptp(head, axis=0), 161, atol=6.0)
    np.testing.assert_allclose(blood.mean(axis=0), BLEED_MM * [-1, -1, 1], atol=1.5)


def test_slices_that_lean_without_a_tilt_of_the_gantry_are_refused(tmp_path):
    def jump(k, image):
        image.ImagePositionPatient = [-94.5 + 6 * (k > 15), *image.ImagePositionPatient[1:]]

    with pytest.raises(ScanError, match=r"must have slices above each other within 2 mm.* got 6.* mm beside"):
        converted(change(write_series(tmp_path / "s"), jump), tmp_path)
    assert not (tmp_path / "scan.nii.gz").exists()


def test_jitter_of_the_table_leaves_the_spacing(tmp_path):
    def jitter(k, image):
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y, z + 0.04 * (-1) ** k]

    assert converted(change(write_series(tmp_path / "s"), jitter), tmp_path).spacing_mm[2] == pytest.approx(5, rel=5e-3)


def test_uneven_slices_are_resampled_to_the_thin_ones(tmp_path):
    write_series(tmp_path / "s" / "thin", gap_mm=2.5, leave_out=tuple(range(24, 65)))
    write_series(tmp_path / "s" / "thick", uid="1.2.3.1.1", leave_out=tuple(range(12)))
    scan = converted(tmp_path / "s", tmp_path)
    assert scan.spacing_mm == pytest.approx((3.0, 3.0, 2.5))
    assert scan.hu.shape == (64, 64, 65)
    slices = [*range(24), *range(24, 65, 2)]
    np.testing.assert_array_equal(scan.hu[..., slices], true_hu(scan)[..., slices])
    np.testing.assert_array_equal(scan.hu[..., 25], np.rint(scan.hu[..., [24, 26]].mean(axis=-1)))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda image: image.pop("PixelData"), "2 of 33 files that cannot be used: pixel data are missing"),
        (lambda image: setattr(image, "PixelData", image.PixelData[:1000]), "2 of 33 files.*short, 1000 of 8192 bytes"),
        (lambda image: image.pop("RescaleIntercept"), "RescaleIntercept in every image, got none in 2 of 33"),
        (lambda image: setattr(image, "SamplesPerPixel", 3), "2 of 33 files.*3 values a pixel"),
        (lambda image: setattr(image, "HighBit", 15), "2 of 33 files.*12 bits is said to be bit 15"),
        (lambda image: setattr(image, "RescaleSlope", 0), "RescaleSlope must be above 0 and at most 1000, got 0"),
        (lambda image: setattr(image, "RescaleSlope", "1e300"), "RescaleSlope must be above 0 and at most 1000"),
    ],
)
def test_a_series_of_which_some_images_cannot_be_used_is_refused_whole(tmp_path, edit, message):
    change(write_series(tmp_path / "s"), lambda k, image: edit(image) if k in (10, 20) else None)
    with pytest.raises(ScanError, match=message):
        converted(tmp_path / "s", tmp_path)
    assert not (tmp_path / "scan.nii.gz").exists()


def enhanced(folder, order, kernels=None):
    """One file of many frames, in any order, each with its own spacing, place and rescale."""
    paths = sorted(write_series(folder / "single").iterdir())
    images = [pydicom.dcmread(paths[k]) for k in order]
    whole = copy.deepcopy(images[0])
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(whole, name)
    orientation = group("PlaneOrientation", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    whole.SharedFunctionalGroupsSequence = Sequence([orientation])
    frames, pixels = [], []
    for k, image in enumerate(images):
        slope = (1, 2)[k % 2]
        frame = group("PlanePosition", ImagePositionPatient=image.ImagePositionPatient)
        frame.update(group("PixelMeasures", PixelSpacing=[PIXEL_MM, PIXEL_MM], SliceThickness=5))
        frame.update(group("PixelValueTransformation", RescaleSlope=slope, RescaleIntercept=-1024))
        if kernels:
            frame.update(group("CTReconstruction", ConvolutionKernel=kernels[k]))
        frames.append(frame)
        pixels.append(np.frombuffer(image.PixelData, "<u2") // slope + (kernels is not None and kernels[k] == "H70h"))
    whole.PerFrameFunctionalGroupsSequence, whole.NumberOfFrames = Sequence(frames), len(frames)
    whole.PixelData = np.array(pixels, "<u2").tobytes()
    for path in paths:
        path.unlink()
    whole.save_as(folder / "enhanced.dcm", enforce_file_format=True)
    return folder


def group(name, **values):
    item, outer = Dataset(), Dataset()
    for key, value in values.items():
        setattr(item, key, value)
    setattr(outer, f"{name}Sequence", Sequence([item]))
    return outer


def test_frames_of_an_enhanced_file_are_ordered_by_position(tmp_path):
    scan = converted(enhanced(tmp_path / "s", np.random.default_rng(0).permutation(33)), tmp_path)
    assert scan.spacing_mm == pytest.approx((3.0, 3.0, 5.0))
    np.testing.assert_allclose(scan.hu, true_hu(scan), atol=1.0)


def test_two_kernels_in_one_enhanced_file_are_two_series(tmp_path):
    enhanced(tmp_path / "s", [*range(33), *range(33)], ["H70h"] * 33 + ["H31s"] * 33)
    assert [(s.kernel, len(s.slices)) for s in find_series(tmp_path / "s").series] == [("H31s", 33), ("H70h", 33)]


@pytest.mark.parametrize("measured", [(), (0, 2, 4)])
def test_an_enhanced_file_without_spacing_in_every_frame_is_refused(tmp_path, measured):
    path = enhanced(tmp_path / "s", range(33)) / "enhanced.dcm"
    whole = pydicom.dcmread(path)
    for k, frame in enumerate(whole.PerFrameFunctionalGroupsSequence):
        if k not in measured:
            del frame.PixelMeasuresSequence
    whole.save_as(path)
    with pytest.raises(ScanError, match=f"PixelSpacing is missing in {33 - len(measured)} of 33 images"):
        converted(tmp_path / "s", tmp_path)


def wrong(scan_of):
    """What the conversion would write were it wrong: a stand-in for _written."""

    def write(stack, place):
        path = right(stack, place)
        image = nib.load(path)
        voxels, affine = scan_of(np.asarray(image.dataobj), image.affine)
        nib.save(nib.Nifti1Image(voxels.astype(np.int16), affine), path)
        return path

    right = conversion._written
    return write


@pytest.mark.parametrize(
    ("scan_of", "message"),
    [
        (lambda v, a: (v[..., :21], a), "must reach over 160.0 mm as its headers say, got 100.0 mm"),
        (lambda v, a: (v, a @ np.diag([1 / 3, 1 / 3, 1, 1])), "spacing of its headers, 3 x 3 x 5 mm, got 1 x 1 x 5 mm"),
        (lambda v, a: (v[::-1], a), "must have the HU of its images"),
        (lambda v, a: (v[:, :, ::-1], a), "must have the HU of its images"),
        (lambda v, a: (v + 24, a), "must have the HU of its images, -1000 in slice 1 .row 1, column 1., got -976"),
        (
            lambda v, a: (v, a + np.outer(np.eye(4)[2], 5 * np.eye(4)[3])),
            "begin where its first image does, got 5.0",
        ),
    ],
)
def test_a_volume_that_is_not_as_the_headers_say_is_refused_with_both_numbers(tmp_path, monkeypatch, scan_of, message):
    write_series(tmp_path / "s")
    monkeypatch.setattr(conversion, "_written", wrong(scan_of))
    with pytest.raises(ScanError, match=message):
        converted(tmp_path / "s", tmp_path)


def test_a_tilt_that_was_not_corrected_is_refused(tmp_path, monkeypatch):
    write_series(tmp_path / "s", tilt=18.0, gap_mm=4.0)
    monkeypatch.setattr(conversion, "_corrected", conversion._written)
    with pytest.raises(ScanError, match=r"corrected for a tilt of -?18.0 degrees, got slices \d+.\d mm beside"):
        converted(tmp_path / "s", tmp_path)


def test_copies_for_dcm2niix_hold_nothing_of_the_patient(tmp_path, monkeypatch):
    def look(images, count):
        content = b"".join(path.read_bytes() for path in images.iterdir())
        assert count == len(list(images.iterdir())) == 41
        for word in (b"Doe", b"Jane", b"MRN", b"2024", b"1.2.3", b"Head"):
            assert word not in content
        raise ScanError("seen")

    write_series(tmp_path / "s", tilt=18.0, gap_mm=4.0)
    monkeypatch.setattr(conversion, "_dcm2niix", look)
    with pytest.raises(ScanError, match="seen"):
        converted(tmp_path / "s", tmp_path)


def test_a_converter_that_never_ends_is_stopped(tmp_path, monkeypatch):
    write_series(tmp_path / "s", tilt=18.0, gap_mm=4.0)
    monkeypatch.setattr(conversion, "LONGEST_S", 0.001)
    with pytest.raises(ScanError, match=r"within 0\.001 s"):
        converted(tmp_path / "s", tmp_path)


def test_slices_of_unknown_size_are_refused_even_where_no_fault_was_noted(tmp_path):
    write_series(tmp_path / "dicom")
    ((series,), *_) = find_series(tmp_path / "dicom")
    unknown = dataclasses.replace(series.slices[0], pixel_mm=None)
    series = dataclasses.replace(series, slices=(unknown, *series.slices[1:]), fault="")
    with pytest.raises(ScanError, match="must say where each slice lies and how large it is"):
        convert_series(series, tmp_path / "scan.nii.gz", workplace=tmp_path)
