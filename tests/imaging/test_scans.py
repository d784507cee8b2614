"""Scans and masks: read, refused, written back."""

import gzip
import os
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from hepred_lib.errors import ScanError
from hepred_lib.imaging.scans import (
    read_mask,
    read_scan,
    write_like,
    write_nifti,
)


def save(path, array, affine, **codes):
    """Write with nibabel alone, as other programs do."""
    image = nib.Nifti1Image(array, affine)
    for name, code in codes.items():
        getattr(image, f"set_{name}")(affine, code=code)
    nib.save(image, path)
    return path


def reoriented(array, affine, axes):
    """The same head, stored along other axes."""
    image = nib.Nifti1Image(array, affine)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(axes))
    )
    return image.as_reoriented(turn)


@pytest.fixture
def scan_file(tmp_path, phantom):
    hu, _, affine = phantom
    return save(tmp_path / "ct.nii.gz", hu.astype(np.int16), affine)


def test_hounsfield_units_affine_and_spacing_are_those_of_the_file(scan_file, phantom):
    scan = read_scan(scan_file)
    assert scan.hu.dtype == np.float32
    np.testing.assert_array_equal(scan.hu, phantom[0])
    np.testing.assert_allclose(scan.affine, phantom[2])
    assert scan.spacing_mm == (5.0, 5.0, 5.0)


def test_slope_and_intercept_are_applied_once(tmp_path, phantom):
    image = nib.Nifti1Image(((phantom[0] + 1024) / 2).astype(np.int16), phantom[2])
    image.header.set_slope_inter(2.0, -1024.0)
    nib.save(image, tmp_path / "ct.nii")
    np.testing.assert_allclose(read_scan(tmp_path / "ct.nii").hu, phantom[0], atol=1.0)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_both_versions_of_nifti_are_read_compressed_or_not(tmp_path, phantom, kind, name):
    nib.save(kind(phantom[0].astype(">i2"), phantom[2]), tmp_path / name)
    np.testing.assert_array_equal(read_scan(tmp_path / name).hu, phantom[0])


def test_a_gzip_file_of_several_members_is_read_whole(scan_file, phantom):
    data = gzip.decompress(scan_file.read_bytes())
    scan_file.write_bytes(gzip.compress(data[:5000]) + gzip.compress(data[5000:]))
    np.testing.assert_array_equal(read_scan(scan_file).hu, phantom[0])


@pytest.mark.parametrize("axes", ["LPS", "LAI", "SRP", "PSL"])
def test_flipped_and_permuted_files_show_the_same_head(tmp_path, phantom, axes):
    image = reoriented(phantom[0].astype(np.int16), phantom[2], axes)
    nib.save(image, tmp_path / "ct.nii.gz")
    scan = read_scan(tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(scan.hu, phantom[0])
    np.testing.assert_allclose(scan.affine, phantom[2], atol=1e-5)
    write_like(tmp_path / "back.nii", scan.hu, scan, dtype=np.int16)
    np.testing.assert_array_equal(nib.load(tmp_path / "back.nii").dataobj, image.dataobj)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SRP"])
def test_what_is_written_like_a_scan_lies_on_its_own_grid(tmp_path, phantom, axes):
    image = reoriented(phantom[0].astype(np.int16), phantom[2], axes)
    nib.save(image, tmp_path / "ct.nii.gz")
    scan = read_scan(tmp_path / "ct.nii.gz")
    write_like(tmp_path / "mask.nii.gz", phantom[1], scan)
    written = nib.load(tmp_path / "mask.nii.gz")
    assert written.shape == image.shape
    np.testing.assert_allclose(written.affine, image.affine, atol=1e-5)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii.gz", scan), phantom[1])


def test_a_mask_stored_along_other_axes_fits_its_scan(tmp_path, scan_file, phantom):
    nib.save(reoriented(phantom[1].astype(np.uint8), phantom[2], "LPS"), tmp_path / "mask.nii.gz")
    mask = read_mask(tmp_path / "mask.nii.gz", read_scan(scan_file))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, phantom[1])


def test_a_rotated_head_keeps_its_spacing(tmp_path, phantom):
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    path = save(tmp_path / "ct.nii.gz", phantom[0].astype(np.int16), turn @ phantom[2])
    assert read_scan(path).spacing_mm == pytest.approx((5.0, 5.0, 5.0))


@pytest.mark.parametrize("background", [-20, -1024, -1500, -3024])
def test_padded_and_clipped_scans_are_hounsfield_units(tmp_path, phantom, background):
    hu = np.where(phantom[0] < 0, background, phantom[0]).astype(np.int16)
    assert read_scan(save(tmp_path / "ct.nii.gz", hu, phantom[2])).hu.min() == background


def test_a_trailing_axis_of_length_one_is_dropped(tmp_path, phantom):
    path = save(tmp_path / "ct.nii.gz", phantom[0][..., None].astype(np.int16), phantom[2])
    assert read_scan(path).hu.shape == phantom[0].shape


def test_an_empty_mask_is_read(tmp_path, scan_file, phantom):
    path = save(tmp_path / "mask.nii.gz", np.zeros(phantom[1].shape, np.float32), phantom[2])
    assert not read_mask(path, read_scan(scan_file)).any()


def test_the_same_array_gives_the_same_bytes_and_no_other_file(tmp_path, phantom):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, phantom[0], phantom[2], dtype=np.int16)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_the_written_header_says_mm_and_one_place(tmp_path, phantom):
    write_nifti(tmp_path / "ct.nii.gz", phantom[0] + 0.4, phantom[2], dtype=np.int16)
    image = nib.load(tmp_path / "ct.nii.gz")
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(np.asarray(image.dataobj), phantom[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hu: hu[..., :1], "must have at least 2 slices, got 1"),
        (lambda hu: np.stack([hu, hu], axis=3), "must be a three-dimensional scan, got shape 32 x 28 x 16 x 2"),
        (lambda hu: hu[..., 0], "must be a three-dimensional scan, got shape 32 x 28"),
        (lambda hu: np.where(hu == 60, np.nan, hu), "must be finite, got 144 voxels that are not"),
        (lambda hu: np.where(hu == 60, -np.inf, hu), "must be finite, got 144 voxels that are not"),
        (np.zeros_like, "must show a head, got 0 in every voxel"),
        (lambda hu: (hu + 1000) / 1060, "Hounsfield units with air below -10, got values from 0 to 1"),
        (lambda hu: np.clip(hu, 0, 80) * 255 / 80, "Hounsfield units with air below -10, got values from 0 to 255"),
        (lambda hu: hu + 1024, "Hounsfield units with air below -10, got values from 24 to 2024"),
        (lambda hu: np.where(hu < 0, -976, hu + 1024), "got 1059 in the middle of the head: the rescale intercept"),
        (lambda hu: hu - 1024, "with brain between 0 and 100 in 1% of the voxels, got values from -2024 to -24"),
    ],
)
def test_arrays_that_are_no_head_ct_are_refused(tmp_path, phantom, change, message):
    path = save(tmp_path / "ct.nii.gz", change(phantom[0]).astype(np.float32), phantom[2])
    with pytest.raises(ScanError, match=rf"ct\.nii\.gz .*{message}"):
        read_scan(path)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0, 0, 0], [0, 5, 0], [0, 0, 5]], "must have a finite affine that can be inverted"),
        ([[np.nan, 0, 0], [0, 5, 0], [0, 0, 5]], "must have a finite affine that can be inverted"),
        ([[0.05, 0, 0], [0, 5, 0], [0, 0, 5]], r"voxels of 0\.1 to 15\.0 mm, got 0\.05 x 5 x 5 mm"),
        ([[5, 0, 0], [0, 5, 0], [0, 0, 20]], r"voxels of 0\.1 to 15\.0 mm, got 5 x 5 x 20 mm"),
        ([[5, 0, 0], [0, 5, 1.545], [0, 0, 4.755]], r"right angles, got 18\.0 degrees of shear"),
        ([[5, 0, 0], [0, 5, 0], [0, 0, 6]], "one voxel size, got 5 x 5 x 5 mm beside an affine of 5 x 5 x 6 mm"),
    ],
)
def test_affines_that_give_a_wrong_volume_are_refused(tmp_path, phantom, matrix, message):
    data = bytearray(nib.Nifti1Image(phantom[0].astype(np.int16), phantom[2]).to_bytes())
    data[280:328] = np.hstack([matrix, [[-70], [-65], [-40]]]).astype("<f4").tobytes()
    (tmp_path / "ct.nii").write_bytes(data)
    with pytest.raises(ScanError, match=message):
        read_scan(tmp_path / "ct.nii")


def test_two_affines_that_disagree_are_refused(tmp_path, phantom):
    image = nib.Nifti1Image(phantom[0].astype(np.int16), phantom[2])
    image.set_qform(phantom[2] + np.eye(4, k=3) * 8.0, code=1)
    nib.save(image, tmp_path / "ct.nii.gz")
    with pytest.raises(ScanError, match=r"qform and an sform that agree within 1\.0 mm, got 8 mm"):
        read_scan(tmp_path / "ct.nii.gz")


def test_a_header_without_a_place_is_refused(tmp_path, phantom):
    path = save(tmp_path / "ct.nii.gz", phantom[0].astype(np.int16), phantom[2], sform=0, qform=0)
    with pytest.raises(ScanError, match=r"must say where its voxels lie .* got codes 0 and 0"):
        read_scan(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must be a NIfTI image, got 0 bytes"),
        (b"patient_id,age\n", "must be a NIfTI image, got a text file"),
        (b"\x1f\x8b\x08\x00", "must be a whole, readable NIfTI image"),
    ],
)
def test_files_that_are_no_image_are_refused(tmp_path, data, message):
    (tmp_path / "ct.nii.gz").write_bytes(data)
    with pytest.raises(ScanError, match=rf"ct\.nii\.gz {message}"):
        read_scan(tmp_path / "ct.nii.gz")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(scan_file, share):
    data = scan_file.read_bytes()
    scan_file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ScanError, match="must be a whole, readable NIfTI image"):
        read_scan(scan_file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ScanError, match=r"ct\.nii must be a NIfTI image, got no such file"):
        read_scan(tmp_path / "ct.nii")


def test_an_sform_beside_a_broken_quaternion_is_used_and_noted(tmp_path, phantom):
    image = nib.Nifti1Image(phantom[0].astype(np.int16), phantom[2])
    image.set_qform(phantom[2], code=1)
    data = bytearray(image.to_bytes())
    data[256:268] = struct.pack("<3f", 0.9, 0.9, 0.9)
    (tmp_path / "ct.nii").write_bytes(data)
    scan = read_scan(tmp_path / "ct.nii")
    np.testing.assert_allclose(scan.affine, phantom[2])
    assert scan.notes == ("the quaternion of the qform is broken; the sform was used",)


def measured(call):
    """Largest memory in MB that Python's allocator and numpy held during a refusal, and its message."""
    tracemalloc.start()
    with pytest.raises(ScanError) as refused:
        call()
    megabytes = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return megabytes, str(refused.value)


def test_a_gzip_bomb_is_bounded_by_the_shape_of_its_header(tmp_path, phantom):
    data = nib.Nifti1Image(phantom[0].astype(np.int16) * 0, phantom[2]).to_bytes()
    with gzip.open(tmp_path / "ct.nii.gz", "wb", compresslevel=1) as file:
        file.write(data)
        for _ in range(200):
            file.write(bytes(1_000_000))
    megabytes, message = measured(lambda: read_scan(tmp_path / "ct.nii.gz"))
    assert "must show a head" in message
    assert megabytes < 100


@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (4000, 4000, 100), (512, 512, 2000)])
def test_a_header_that_asks_for_more_than_a_head_is_refused_before_any_voxel_is_read(tmp_path, phantom, shape):
    data = bytearray(nib.Nifti1Image(phantom[0].astype(np.int16), phantom[2]).to_bytes())
    data[42:48] = struct.pack("<3h", *shape)
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(bytes(data) + bytes(5_000_000)))
    megabytes, message = measured(lambda: read_scan(tmp_path / "ct.nii.gz"))
    assert f"got {shape[0]} x {shape[1]} x {shape[2]} voxels of int16" in message
    assert megabytes < 15


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a pipe"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path, make, kind):
    make(tmp_path / "ct.nii")
    with pytest.raises(ScanError, match=rf"ct\.nii must be a NIfTI image, got {kind}"):
        read_scan(tmp_path / "ct.nii")


def test_the_image_half_of_a_pair_is_named(tmp_path, phantom):
    nib.save(nib.Nifti1Pair(phantom[0].astype(np.int16), phantom[2]), tmp_path / "ct.hdr")
    for half in ("hdr", "img"):
        with pytest.raises(ScanError, match=r"half of a \.hdr/\.img pair: save both as one"):
            read_scan(tmp_path / f"ct.{half}")


def test_a_colour_picture_is_refused(tmp_path, phantom):
    colour = np.zeros(phantom[0].shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(ScanError, match="must hold one plain number per voxel"):
        read_scan(save(tmp_path / "ct.nii.gz", colour, phantom[2]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask, affine: (mask[:-1], affine), "32 x 28 x 16 voxels, got 31 x 28 x 16"),
        (lambda mask, affine: (mask, affine + np.eye(4, k=3)), r"within 1% of a voxel at the corners, got 1 mm"),
        (lambda mask, affine: (mask * 255, affine), "must hold only 0 and 1, got values 0, 255: write 255 as 1"),
        (lambda mask, affine: (mask * 0.5, affine), r"must hold only 0 and 1, got values 0, 0\.5"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path, scan_file, phantom, change, message):
    array, affine = change(phantom[1].astype(np.float32), phantom[2])
    save(tmp_path / "mask.nii.gz", array, affine)
    with pytest.raises(ScanError, match=rf"mask\.nii\.gz .*{message}"):
        read_mask(tmp_path / "mask.nii.gz", read_scan(scan_file))


def test_arrays_of_another_grid_or_beyond_the_type_are_not_written(tmp_path, scan_file, phantom):
    with pytest.raises(ScanError, match=r"must have the shape of ct\.nii\.gz, 32 x 28 x 16, got 2 x 28 x 16"):
        write_like(tmp_path / "mask.nii.gz", phantom[0][:2], read_scan(scan_file))
    with pytest.raises(ScanError, match="must lie within 0 to 255 for uint8"):
        write_nifti(tmp_path / "mask.nii.gz", phantom[0], phantom[2], dtype=np.uint8)
    with pytest.raises(ScanError, match="dtype must be int16 or uint8, got float32"):
        write_nifti(tmp_path / "ct.nii.gz", phantom[0], phantom[2], dtype=np.float32)
