"""Scans and masks: read, refused, written back."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from hepred_lib.errors import ScanError
from hepred_lib.imaging.scans import read_mask, read_scan, write_like, write_nifti


@pytest.mark.parametrize(
    ("kind", "name", "slope", "intercept"),
    [
        (nib.Nifti1Image, "ct.nii", 1.0, 0.0),
        (nib.Nifti1Image, "ct.nii.gz", 2.0, -1024.0),
        (nib.Nifti2Image, "ct.nii.gz", 1.0, 0.0),
    ],
)
def test_both_versions_of_nifti_are_read_with_slope_and_intercept_applied_once(
    tmp_path, phantom, kind, name, slope, intercept
):
    image = kind(((phantom[0] - intercept) / slope).astype(">i2"), phantom[2])
    image.header.set_slope_inter(slope, intercept)
    nib.save(image, tmp_path / name)
    np.testing.assert_allclose(read_scan(tmp_path / name).hu, phantom[0], atol=slope - 1)


def test_a_gzip_file_of_several_members_is_read_whole(cohort_folder, phantom):
    path = cohort_folder / "HE-1_ct.nii.gz"
    data = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]))
    np.testing.assert_array_equal(read_scan(path).hu, phantom[0] + 1)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAI", "SRP", "PSL"])
def test_flipped_and_permuted_files_show_the_same_head_and_are_written_back_on_their_own_grid(tmp_path, phantom, axes):
    hu, drawn, affine = phantom
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(axes)))
    stored, mask = (nib.Nifti1Image(array.astype(np.int16), affine).as_reoriented(turn) for array in (hu, drawn))
    nib.save(stored, tmp_path / "ct.nii.gz")
    nib.save(mask, tmp_path / "mask.nii.gz")
    scan = read_scan(tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(scan.hu, hu)
    np.testing.assert_allclose(scan.affine, affine, atol=1e-5)
    assert (scan.hu.dtype, scan.spacing_mm) == (np.float32, (5.0, 5.0, 5.0))
    read = read_mask(tmp_path / "mask.nii.gz", scan)
    assert read.dtype == bool
    np.testing.assert_array_equal(read, drawn)
    for array, image, dtype in ((scan.hu, stored, np.int16), (read, mask, np.uint8)):
        write_like(tmp_path / "back.nii.gz", array, scan, dtype=dtype)
        written = nib.load(tmp_path / "back.nii.gz")
        np.testing.assert_array_equal(written.dataobj, image.dataobj)
        np.testing.assert_allclose(written.affine, image.affine, atol=1e-5)


def test_a_rotated_head_keeps_its_spacing(tmp_path, phantom):
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    write_nifti(tmp_path / "ct.nii.gz", phantom[0], turn @ phantom[2], dtype=np.int16)
    assert read_scan(tmp_path / "ct.nii.gz").spacing_mm == pytest.approx((5.0, 5.0, 5.0))


def test_the_same_array_gives_the_same_bytes_in_mm_at_one_place_and_no_other_file(tmp_path, phantom):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, phantom[0] + 0.4, phantom[2], dtype=np.int16)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]
    image = nib.load(tmp_path / "a.nii.gz")
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(image.dataobj, phantom[0])


def test_an_sform_beside_a_broken_quaternion_is_used_and_noted(tmp_path, phantom):
    write_nifti(tmp_path / "ct.nii", phantom[0], phantom[2], dtype=np.int16)
    data = bytearray((tmp_path / "ct.nii").read_bytes())
    data[256:268] = struct.pack("<3f", 0.9, 0.9, 0.9)
    (tmp_path / "ct.nii").write_bytes(data)
    scan = read_scan(tmp_path / "ct.nii")
    np.testing.assert_allclose(scan.affine, phantom[2])
    assert scan.notes == ("the quaternion of the qform is broken; the sform was used",)


def test_arrays_of_another_grid_or_beyond_the_type_are_not_written(tmp_path, cohort_folder, phantom):
    scan = read_scan(cohort_folder / "HE-1_ct.nii.gz")
    with pytest.raises(ScanError, match=r"must have the shape of HE-1_ct\.nii\.gz, 32 x 28 x 16, got 2 x 28 x 16"):
        write_like(tmp_path / "mask.nii.gz", phantom[0][:2], scan)
    with pytest.raises(ScanError, match="must lie within 0 to 255 for uint8"):
        write_nifti(tmp_path / "mask.nii.gz", phantom[0], phantom[2], dtype=np.uint8)
    with pytest.raises(ScanError, match="dtype must be int16 or uint8, got float32"):
        write_nifti(tmp_path / "ct.nii.gz", phantom[0], phantom[2], dtype=np.float32)
