"""Faults planted in scans and masks, one test each: found, named and explained; what is only unusual is read."""

import gzip
import re
import struct

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from hepred_lib.errors import ScanError
from hepred_lib.imaging.preprocessing import MOST_JUMPS, find_head, jumps
from hepred_lib.imaging.scans import mask_faults, read_mask, read_scan
from hepred_lib.multitask.prediction import Reader
from hepred_lib.study.deployment import FrozenStudy, predict_one

SHAPE, SPACING = (48, 56, 30), (4.0, 4.0, 5.0)
AFFINE = np.diag([*SPACING, 1.0])
AFFINE[:3, 3] = [-(n - 1) / 2 * mm for n, mm in zip(SHAPE, SPACING, strict=True)]


def ellipsoid(center, half_axes):
    """Voxels of an ellipsoid, both in mm from the middle of the grid."""
    places = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(SHAPE, SPACING, strict=True)), indexing="ij"
    )
    return sum(((p - c) / a) ** 2 for p, c, a in zip(places, center, half_axes, strict=True)) < 1


def head():
    """Scalp, skull, brain, ventricles and a hematoma of about 17 mL on the right; HU and mask."""
    blood, brain = ellipsoid((32, 18, 8), (16, 18, 14)), ellipsoid((0, 0, 0), (68, 84, 70))
    hu = np.full(SHAPE, -1000.0)
    hu[ellipsoid((0, 0, 0), (84, 100, 84))] = 40.0
    hu[ellipsoid((0, 0, 0), (78, 94, 78))] = 1000.0
    hu[brain] = 32.0
    hu[ellipsoid((0, 0, 5), (12, 28, 12))] = 6.0
    hu[blood] = 64.0
    noise = np.random.default_rng(0).normal(0, 3, SHAPE)
    return np.rint(hu + np.where(hu > -900, noise, 0)), blood


HU, BLOOD = head()
BRAIN = ellipsoid((0, 0, 0), (68, 84, 70))


def image(array, affine=AFFINE, dtype=np.int16, qform=1, sform=1, slope=None, intercept=0.0):
    """An image's bytes; the voxels are written as they are beside slope and intercept."""
    nifti = nib.Nifti1Image(np.asarray(array).astype(dtype), affine)
    nifti.set_qform(affine, code=qform)
    nifti.set_sform(affine, code=sform)
    data = bytearray(nifti.to_bytes())
    if slope is not None:
        data[112:120] = struct.pack("<2f", slope, intercept)
    return bytes(data)


def edited(data, place, form, *values):
    """Bytes with numbers written over the header."""
    changed = bytearray(data)
    changed[place : place + struct.calcsize(form)] = struct.pack(form, *values)
    return bytes(changed)


def scaled(*factors):
    """The head's affine with other voxel sizes."""
    return AFFINE @ np.diag([*factors, 1.0])


def refusal(path):
    """Why a scan is refused, by its header, its HU or what it shows."""
    try:
        scan = read_scan(path)
        find_head(scan.hu, scan.spacing_mm, name=str(path))
    except ScanError as error:
        return str(error)
    return ""


WHOLE = image(HU)
PACKED = gzip.compress(WHOLE, 1, mtime=0)
RGB = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])

FILES = {
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer.*git lfs pull"),
    "login page, zipped": (gzip.compress(b"\n<html>" + bytes(600), mtime=0), "an HTML page"),
    "DICOM": (bytes(128) + b"DICM" + bytes(600), "a DICOM file: use hepred import-dicom"),
    "DICOM without preamble": (b"\x08\x00\x05\x00CS\n\x00ISO_IR 100" + bytes(600), "a DICOM file"),
    "NRRD": (b"NRRD0004\ntype: short\n\n" + bytes(500), "an NRRD file: convert it"),
    "MetaImage": (b"ObjectType = Image\nNDims = 3\n" + bytes(500), "a MetaImage file"),
    "MGH": (struct.pack(">7i", 1, 48, 56, 30, 1, 4, 0) + bytes(600), "a FreeSurfer MGH file"),
    "bzip2": (b"BZh9" + bytes(600), "an archive .zip, bzip2.*: unpack it"),
    "compressed twice": (gzip.compress(PACKED, 1, mtime=0), "compressed twice with gzip"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(600), "a picture .PNG, JPEG.*, which has no Hounsfield units"),
    "table": (b"patient_id,age\nHE-1,71\n" * 40, "a text file"),
    "zero bytes": (b"", "got 0 bytes"),
    "only zeros": (bytes(4000), "begins with zeros only"),
    "cut": (WHOLE[:-1000], "a file that ends too early"),
    "cut, zipped": (PACKED[:-200], "a compressed file that ends too early"),
    "wrong checksum": (PACKED[:-8] + b"\1\2\3\4" + PACKED[-4:], "damaged file .its checksum is wrong"),
    "damaged inside": (PACKED[:4000] + bytes(60) + PACKED[4060:], "damaged file"),
    "header of a pair": (edited(WHOLE, 344, "4s", b"ni1\0"), "the header half of a .hdr/.img pair"),
    "Analyze": (edited(WHOLE, 344, "4s", b"\0\0\0\0"), "an Analyze 7.5 header"),
    "colour picture": (nib.Nifti1Image(RGB, AFFINE).to_bytes(), "a colour picture .RGB."),
    "complex": (image(HU, dtype=np.complex64), r"complex numbers \(complex64\)"),
    "two frames": (image(np.stack([HU, HU], -1)), "48 x 56 x 30 x 2 .several frames"),
    "a single slice": (image(HU[:, :, 15]), "48 x 56 .a single slice"),
    "a shape of 32767": (edited(WHOLE, 42, "<3h", 32767, 32767, 32767), "32767 x 32767 x 32767 .*GB"),
    "a shape of -1": (edited(WHOLE, 42, "<h", -5), "must"),
    "first voxel at 1e20": (edited(WHOLE, 108, "<f", 1e20), "first voxel at byte 1e.20"),
}
HEADERS = {
    "no place": (image(HU, qform=0, sform=0), "qform or sform code above 0.*codes 0 and 0"),
    "sform of zeros": (edited(WHOLE, 280, "<12f", *[0.0] * 12), "finite affine that can be inverted"),
    "sform of NaN": (edited(WHOLE, 280, "<f", np.nan), "finite affine that can be inverted"),
    "pixels of 0.05 mm": (image(HU, np.diag([0.05, 5, 5, 1])), r"voxels of 0\.1 to 15\.0 mm, got 0\.05 x 5 x 5 mm"),
    "slices 20 mm apart": (image(HU, np.diag([5, 5, 20, 1])), r"voxels of 0\.1 to 15\.0 mm, got 5 x 5 x 20 mm"),
    "tilted": (edited(WHOLE, 300, "<5f", 4.0, 1.545, 0, 0, 4.755), "right angles, got .* degrees of shear"),
    "two sizes": (edited(WHOLE, 320, "<f", 6.0), "one voxel size, got 4 x 4 x 5 mm beside an affine of 4 x 4 x 6 mm"),
    "contradicting": (edited(WHOLE, 268, "<f", AFFINE[0, 3] + 8), "sform that agree within 1.0 mm, got 8 mm"),
    "broken quaternion, no sform": (
        edited(edited(WHOLE, 256, "<3f", 0.9, 0.9, 0.9), 254, "<h", 0),
        "a broken quaternion in its qform, and no sform",
    ),
    "metres": (image(HU, scaled(1e-3, 1e-3, 1e-3)), "0.004 x 0.004 x 0.005 mm: is it in metres"),
    "micrometres": (image(HU, scaled(1e3, 1e3, 1e3)), "is it in micrometres"),
    "centimetres": (image(HU, scaled(0.1, 0.1, 0.1)), r"a head of \d+ x 20 x 15 mm: the voxel size"),
    "one side of the pixels": (
        image(HU, scaled(1 / 2, 1, 1)),
        r"a brain of 6\d x 1\d\d mm in the slice: the pixel size",
    ),
    "pixels of 4 mm read as 8": (image(HU, scaled(2, 2, 1)), "a brain 3.. mm long in the slice"),
    "slices 5 mm apart read as 1": (image(HU, scaled(1, 1, 1 / 5)), r"x 30 mm: the distance between slices"),
    "slices 5 mm apart read as 15": (image(HU, scaled(1, 1, 3)), "the distance between slices is wrong"),
}
INTENSITIES = {
    "intercept lost": (HU + 1024, np.int16, "intercept .often -1024. was not applied"),
    "intercept twice": (HU - 1024, np.int16, "intercept .often -1024. was applied twice"),
    "unsigned": (np.where(HU < -900, 64536, HU), np.uint16, "stored as unsigned integers"),
    "window 0-80 of 8 bits": (np.clip(HU / 80 * 255, 0, 255), np.uint8, "a display window"),
    "window 0-1": (np.clip(HU / 80, 0, 1), np.float32, "scaled to 0-1"),
    "z-scores": ((np.clip(HU, -100, 100) - 10) / 40, np.float32, "standardized .z-scores."),
    "an MR": (np.clip(HU, -100, 100) * 3 + 300, np.int16, "from 0 to 600: this is no CT"),
    "attenuation": ((HU + 1000) / 1000 * 0.02, np.float32, "attenuation"),
    "ten times": (HU * 10, np.int16, "brain between 0 and 100"),
    "NaN outside": (np.where(HU < -900, np.nan, HU), np.float32, "must be finite, got .* voxels that are not"),
    "infinite": (np.where(BLOOD, -np.inf, HU), np.float32, "must be finite"),
    "intercept lost inside": (np.where(HU < 0, -976, HU + 1024), np.int16, "in the middle of the head: the rescale"),
    "one slice": (HU[..., :1], np.int16, "must have at least 2 slices, got 1"),
    "constant": (HU * 0 - 1024, np.int16, "must show a head, got -1024 in every voxel"),
    "extracted, 0 outside": (np.where(BRAIN, HU, 0), np.int16, "or the brain was extracted"),
    "extracted, 0 outside, cold CSF": (np.where(BRAIN, HU - 12, 0), np.int16, "was the brain extracted"),
    "extracted, -1024 outside": (np.where(BRAIN, HU, -1024), np.int16, "skull, got no brain inside a skull"),
    "extracted, clipped": (np.clip(np.where(BRAIN, HU, -1024), -20, 100), np.int16, "skull, got no brain inside"),
    "a phantom without bone": (np.where(HU > -900, 30, -1000), np.int16, "must show a head with its skull"),
}


REFUSED = (
    FILES
    | HEADERS
    | {name: (image(array, dtype=dtype), expected) for name, (array, dtype, expected) in INTENSITIES.items()}
)


def write(folder, data):
    path = folder / "ct.nii.gz"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_a_scan_that_cannot_be_used_is_refused_with_what_it_is_and_its_numbers(tmp_path, name):
    data, expected = REFUSED[name]
    path = write(tmp_path, data)
    words = refusal(path)
    assert words.startswith(str(path))
    assert "\n" not in words
    assert words.endswith(".")
    assert words.count(", got ") == 1
    assert re.search(expected, words), words


FIELD = np.hypot(*(np.indices(SHAPE)[:2] - np.array([[[[23.5]]], [[[27.5]]]]))) > 26
UNUSUAL = {
    "as it is": WHOLE,
    "zeros after the end": PACKED + bytes(512),
    "bytes after the voxels": WHOLE + bytes(1000),
    "big-endian": nib.Nifti1Image(HU.astype(">i2"), AFFINE, nib.Nifti1Header(endianness=">")).to_bytes(),
    "64-bit integers": image(HU, dtype=np.float64),
    "frame axis of length 1": image(HU[..., None]),
    "qform alone": image(HU, sform=0),
    "sform alone": image(HU, qform=0),
    "broken quaternion": edited(WHOLE, 256, "<3f", 0.9, 0.9, 0.9),
    "quaternion rounded up, no sform": edited(image(HU, sform=0), 256, "<3f", 0.0, 0.0, 1.0001),
    "qfac 0": edited(WHOLE, 76, "<f", 0.0),
    "padding of -32768": image(np.where(FIELD, -32768, HU)),
    "tenths of a HU": image(HU * 10, slope=0.1),
    "clipped to -15-100": image(np.clip(HU, -15, 100)),
    "clipped above 80": image(np.clip(HU, -1000, 80)),
    "without blood": image(np.where(BLOOD, 32, HU)),
    "upside down": image(HU[:, :, ::-1]),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_only_unusual_is_read(tmp_path, name):
    assert refusal(write(tmp_path, UNUSUAL[name])) == ""


def test_neither_two_bright_voxels_nor_the_overshoot_of_a_cubic_spline_make_a_clipped_scan_a_whole_one():
    clipped = np.clip(HU, -20, 100)
    marked = clipped.copy()
    marked[24, 28, 15:17] = 3071
    linear, spline = (ndimage.shift(clipped, (0.4, 0.3, 0), order=order, mode="nearest") for order in (1, 3))
    assert spline.max() > 105
    for plain, bright in ((clipped, marked), (linear, spline)):
        brains = [find_head(hu.astype(np.float32), SPACING).brain.sum() for hu in (plain, bright)]
        assert brains[1] == pytest.approx(brains[0], rel=0.05)


def test_slices_that_are_sorted_as_text_or_blank_make_the_section_jump():
    as_text = sorted(range(SHAPE[2]), key=lambda z: str(z + 1))
    blank = np.where(np.indices(SHAPE)[2] == 15, -1024, HU)
    assert jumps(HU) == pytest.approx(1, abs=0.05)
    assert min(jumps(HU[:, :, as_text]), jumps(blank)) > MOST_JUMPS


def test_a_prediction_without_a_head_is_null_with_its_reason(tmp_path):
    frozen = FrozenStudy(tmp_path, Reader((), pd.DataFrame(), {}), {})
    (tmp_path / "hematoma.nii.gz").write_bytes(b"of an earlier scan")
    path = write(tmp_path, image(np.where(BRAIN, HU, -1024)))
    answer = predict_one(frozen, path, None, out=tmp_path)
    assert {answer[name] for name in answer if name != "warnings"} == {None}
    assert answer["warnings"][0].startswith("the scan cannot be used: ct.nii.gz must show a head with its skull")
    assert not (tmp_path / "hematoma.nii.gz").exists()


U8 = BLOOD.astype(np.uint8)
MASK_FILES = {
    "0 and 255": (U8 * 255, "values 0, 255: write 255 as 1"),
    "label 2": (U8 * 2, "values 0, 2: write 2 as 1"),
    "labels 1 to 3": (U8 * (1 + np.indices(SHAPE)[2] % 3), "values 0, 1, 2, 3: keep only the label"),
    "soft edges": (ndimage.gaussian_filter(U8.astype(float), 1), r"values from .*write the hematoma as 1"),
    "NaN outside": (np.where(np.indices(SHAPE)[0] == 0, np.nan, U8), "not finite: set them to 0"),
}
SHIFTED = AFFINE.copy()
SHIFTED[:3, 3] += 0.5
LPS = np.diag([-1, -1, 1, 1]) @ (AFFINE + np.eye(4, k=3) * 7)
GRIDS = {
    "cropped": (U8[4:-4], AFFINE, "48 x 56 x 30 voxels, got 40 x 56 x 30: resample it"),
    "shifted by half a mm": (U8, SHIFTED, "within 1% of a voxel at the corners, got 0.866 mm"),
    "no affine": (U8, np.eye(4), "within 1% of a voxel at the corners"),
    "LPS written as RAS": (U8, LPS, "x and y with the opposite sign: its header mixes LPS and RAS"),
}
OUTLINES = {
    "mirrored top-bottom": (U8[:, :, ::-1], "mirrored top-bottom"),
    "all ones": (U8 * 0 + 1, "1 in every voxel"),
    "inverted": (1 - U8, "the mask is inverted"),
    "the whole brain": (BRAIN, "mL: Mark the hematoma only"),
    "brain of the other side": (ellipsoid((-32, -50, -30), (12, 12, 12)), "denser than brain"),
    "outlines that are not filled": (
        U8 - ndimage.binary_erosion(U8, ndimage.generate_binary_structure(2, 1)[..., None]),
        "be filled",
    ),
    "every second slice": (U8 * (np.indices(SHAPE)[2] % 2), "have no slice left out, got 1 empty between 2 drawn"),
}


@pytest.fixture
def scan(tmp_path):
    return read_scan(write(tmp_path, WHOLE))


def fault_words(mask, scan):
    head = find_head(scan.hu, scan.spacing_mm)
    faults = mask_faults(mask, scan.hu, scan.spacing_mm, brain_hu=head.brain_hu, bone_hu=head.bone_hu)
    return " ".join(f"must {fault.rule}, got {fault.value}: {fault.remedy}" for fault in faults)


@pytest.mark.parametrize("name", MASK_FILES)
def test_a_mask_of_other_values_is_refused_with_the_values_named(tmp_path, scan, name):
    array, expected = MASK_FILES[name]
    (tmp_path / "mask.nii").write_bytes(image(array, dtype=np.float32))
    with pytest.raises(ScanError, match=rf"mask\.nii must hold only 0 and 1, got .*{expected}"):
        read_mask(tmp_path / "mask.nii", scan)


@pytest.mark.parametrize("name", GRIDS)
def test_a_mask_on_another_grid_is_refused(tmp_path, name):
    array, affine, expected = GRIDS[name]
    scan = read_scan(write(tmp_path, image(HU, AFFINE + (np.eye(4, k=3) * 7 if "LPS" in name else 0))))
    (tmp_path / "mask.nii").write_bytes(image(array, affine, np.uint8))
    with pytest.raises(ScanError, match=rf"mask\.nii must .*{expected}"):
        read_mask(tmp_path / "mask.nii", scan)


@pytest.mark.parametrize("name", OUTLINES)
def test_a_mask_that_does_not_cover_blood_is_refused_with_the_cause(tmp_path, scan, name):
    array, expected = OUTLINES[name]
    (tmp_path / "mask.nii").write_bytes(image(array, dtype=np.uint8))
    assert expected in fault_words(read_mask(tmp_path / "mask.nii", scan), scan)


ROUNDED = {
    "empty": (U8 * 0, np.float32, None, 0.0, AFFINE),
    "0.99999": (U8.astype(int) * 32767, np.int16, 1 / 32767, 0.0, AFFINE),
    "int16 as nibabel stores 0 and 1": (U8.astype(int) * 65534 - 32767, np.int16, 1 / 65534, 0.5, AFFINE),
    "-1e-8": (U8 - 1e-8, np.float64, None, 0.0, AFFINE),
    "an origin rounded by 1 % of a voxel": (U8, np.uint8, None, 0.0, AFFINE + np.eye(4, k=3) * 0.04),
    "a spacing of 5.001": (U8, np.uint8, None, 0.0, AFFINE + np.diag([0, 0, 1e-3, 0])),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_a_mask_that_was_rounded_is_read(tmp_path, scan, name):
    array, dtype, slope, intercept, affine = ROUNDED[name]
    (tmp_path / "mask.nii").write_bytes(image(array, affine, dtype, slope=slope, intercept=intercept))
    mask = read_mask(tmp_path / "mask.nii", scan)
    np.testing.assert_array_equal(mask, BLOOD & (name != "empty"))
    assert fault_words(mask, scan) == ""
