"""From a scan to canonical slices: volumes are kept, masks come back, the brain is found."""

import numpy as np
import pytest
from scipy import ndimage

from hepred_lib.errors import HeadError
from hepred_lib.imaging.preprocessing import (
    SliceGrid,
    bone_threshold,
    brain_mask,
    components,
    cut_ends,
    dilated,
    eroded,
    filled,
    find_head,
    grid_from_record,
    grid_record,
    linear_weights,
    opened,
    overlapping,
    prepare,
)
from hepred_lib.imaging.scans import read_scan

SPACING = (2.0, 2.0, 5.0)


def head(shape=(96, 96, 30), spacing_mm=SPACING):
    """A closed head: brain of 132 x 164 x 132 mm with a ventricle, in a skull of 8 mm, skin, air, and a table below."""
    places = [(k - (n - 1) / 2) * mm for k, n, mm in zip(np.indices(shape), shape, spacing_mm, strict=True)]
    hu = np.full(shape, -1000.0, dtype=np.float32)
    for grow, value in ((14.0, 40.0), (8.0, 1200.0), (0.0, 34.0)):
        hu[sum((p / (half + grow)) ** 2 for p, half in zip(places, (66, 82, 66), strict=True)) < 1] = value
    hu[np.sqrt(sum(p**2 for p in places)) < 20] = 6.0
    hu[2:-2, 1:3] = 200.0
    return hu


SLAB = head()[:, :, 11:19]
INSIDE = (SLAB == 34.0) | (SLAB == 6.0)


@pytest.mark.parametrize(("radius", "order"), [(0, "C"), (1, "C"), (2, "F"), (3, "C"), (5, "F"), (12, "C"), (40, "C")])
def test_disks_and_holes_of_a_stack_are_those_of_scipy_slice_by_slice(radius, order):
    drawn = np.random.default_rng(3).random((29, 23, 5)) < np.array([0.02, 0.2, 0.6, 0.9, 1.0])
    stack, span = np.asarray(drawn, order=order), np.arange(-radius, radius + 1)
    disk = (span[:, None] ** 2 + span[None, :] ** 2 <= radius**2)[:, :, None]
    for ours, theirs in ((dilated, "dilation"), (eroded, "erosion"), (opened, "opening")):
        np.testing.assert_array_equal(ours(stack, radius), getattr(ndimage, f"binary_{theirs}")(stack, disk))
    holes = [ndimage.binary_fill_holes(stack[:, :, z]) for z in range(5)]
    np.testing.assert_array_equal(filled(stack), np.stack(holes, axis=2))


def test_no_slice_joins_the_pieces_of_another_and_a_piece_is_kept_from_half_of_its_pixels_on():
    mask, near = np.zeros((2, 8, 8, 2), dtype=bool)
    mask[0:2, 0:3] = mask[5, 0:4, 1] = True
    near[1, 0:3, 0] = near[5, 3] = True
    assert sorted(components(mask)[1]) == [0, 4, 6, 6]
    kept = overlapping(mask, near)
    assert kept[0:2, 0:3, 0].all()
    assert kept.sum() == 6
    assert not overlapping(np.zeros_like(mask), near).any()


def test_resampling_keeps_the_volume_of_a_mask_inside_the_field():
    mask = np.zeros((200, 180, 9), dtype=np.float32)
    mask[71:103, 60:97, 2:7] = 1.0
    grid = SliceGrid(mask.shape, (0.47, 0.53, 2.5), (2.2, 3.3), 80.0, 64, 2)
    native_ml = mask.sum() * 0.47 * 0.53 * 2.5 / 1000.0
    # Nine slices in groups of two: the mask does not reach the odd last one.
    assert grid.to_slices(mask).sum() * grid.voxel_ml == pytest.approx(native_ml, rel=1e-5)


def test_a_plane_survives_the_way_to_slices_and_back():
    x = np.arange(120, dtype=np.float32)
    volume = np.broadcast_to(x[:, None, None], (120, 110, 4)).copy()
    grid = SliceGrid(volume.shape, (0.5, 0.5, 5.0), (0.0, 0.0), 55.0, 50, 1)
    back = grid.to_scan(grid.to_slices(volume))
    np.testing.assert_allclose(back[2:106, 2:106], volume[2:106, 2:106], atol=0.05)  # a voxel is flat, a plane is not


@pytest.mark.parametrize("ceiling", [1200.0, 100.0])
def test_the_brain_is_found_and_skin_and_table_are_not_even_where_hu_were_clipped(ceiling):
    hu = np.clip(SLAB, -20.0, ceiling)
    brain = brain_mask(hu, 2.0, bone_hu=bone_threshold(hu))
    assert (brain & INSIDE).sum() / INSIDE.sum() > 0.97
    assert (brain & ~INSIDE).sum() / INSIDE.sum() < 0.03


def test_dense_blood_and_a_calcification_stay_inside_the_brain():
    hu = SLAB.copy()
    hu[30:36, 50:56, 3:5] = 75.0
    hu[60, 50, 4] = 400.0
    brain = brain_mask(hu, 2.0)
    assert brain[30:36, 50:56, 3:5].all()
    assert brain[60, 50, 4]


def test_turning_the_head_by_a_quarter_turns_its_brain_mask():
    np.testing.assert_array_equal(np.rot90(brain_mask(SLAB, 2.0)), brain_mask(np.rot90(SLAB), 2.0))


@pytest.mark.parametrize(("ceiling", "expected"), [(1200.0, 150.0), (301.0, 150.0), (100.0, 92.0), (80.0, 73.6)])
def test_bone_begins_at_150_or_below_the_ceiling_of_a_clipped_scan(ceiling, expected):
    assert bone_threshold(np.minimum(SLAB, ceiling)) == pytest.approx(expected, abs=1e-4)


def rim(hu):
    """Brain and what 2 mm around it are, as brain extraction may leave them."""
    near = ndimage.generate_binary_structure(3, 1)[:, :, 1:2]
    return np.where(ndimage.binary_dilation((hu > 0) & (hu < 40), near), hu, -1024.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rim, r"its skull, got bone of \d\.\d% of the brain's area \(was it extracted\?\)"),
        (lambda hu: np.where((np.indices(hu.shape)[1] < 70) & (hu > 100), -1000.0, hu), "its skull, got"),
        (lambda hu: np.where((hu > 0) & (hu < 100), 0.2 * hu, hu), "a brain of 10 to 60 HU, got a median of 7 HU"),
    ],
    ids=["a rim of bone left", "bone on one side only", "another unit"],
)
def test_a_scan_without_skull_or_of_other_hu_is_refused_where_it_would_look_free_of_blood(change, message):
    with pytest.raises(HeadError, match=rf"ct\.nii must show .*{message}"):
        prepare(change(head()), SPACING, name="ct.nii")


def test_a_window_in_the_skull_after_surgery_is_no_lack_of_skull():
    hu, whole = head(), find_head(head(), SPACING).brain.sum()
    hu[60:, 30:66, 12:22][hu[60:, 30:66, 12:22] > 100] = 40.0
    assert find_head(hu, SPACING).brain.sum() == pytest.approx(whole, rel=0.1)


def test_a_field_of_view_of_more_than_a_metre_is_of_no_head():
    with pytest.raises(HeadError, match=r"the voxel size \(15 x 15 x 5 mm\) is wrong"):
        find_head(head(), (15.0, 15.0, 5.0))


def test_a_part_of_a_head_is_no_lost_spacing():
    assert cut_ends(find_head(SLAB, SPACING).brain) == (True, True)
    assert cut_ends(find_head(head(), SPACING).brain) == (False, False)


def test_clipped_bone_that_was_averaged_with_brain_is_no_brain():
    hu = head(shape=(96, 96, 75), spacing_mm=(2.0, 2.0, 2.0))
    whole, clipped = (find_head(np.clip(hu, -20, ceiling), (2.0, 2.0, 2.0)) for ceiling in (1200, 100))
    assert clipped.grid.group > 1
    assert clipped.brain.sum() == pytest.approx(whole.brain.sum(), rel=0.02)


def test_a_real_scan_keeps_its_brain_whatever_a_voxel_or_a_spline_does_and_is_refused_without_its_skull(shared):
    scan = read_scan(shared / "data/phe_sich/0131_ct.nii.gz")
    whole = find_head(scan.hu, scan.spacing_mm)
    bright = scan.hu.copy()
    bright[250, 250, 12] = 400.0
    assert find_head(bright, scan.spacing_mm).brain.sum() == whole.brain.sum()
    spline = ndimage.zoom(scan.hu, (0.5, 0.5, 1.0), order=3, grid_mode=True, mode="nearest")
    assert spline.max() > 105
    resampled = find_head(spline, tuple(np.multiply(scan.spacing_mm, (2.0, 2.0, 1.0))))
    assert resampled.brain.sum() == pytest.approx(whole.brain.sum(), rel=0.05)
    brain = whole.grid.to_scan(whole.brain) >= 0.5
    with pytest.raises(HeadError, match="a head with its skull, got no brain inside a skull"):
        find_head(np.where(brain, scan.hu, -20.0), scan.spacing_mm)


def test_the_field_is_centred_on_the_brain_and_thin_slices_are_averaged_in_groups_of_near_five_millimetres():
    hu = np.roll(head(shape=(128, 128, 30))[:, :, 11:20], (9, -7), axis=(0, 1))
    prepared = prepare(hu, (2.0, 2.0, 1.25), matrix=64, field_mm=200.0)
    middle = [np.flatnonzero(prepared.brain.any(axis=axes)).mean() for axes in ((1, 2), (0, 2))]
    np.testing.assert_allclose(middle, 31.5, atol=1.0)
    assert (prepared.grid.group, prepared.hu.shape[2], prepared.grid.thickness_mm) == (4, 3, 5.0)


def test_a_grid_comes_back_from_its_record():
    grid = SliceGrid((512, 512, 31), (0.45, 0.45, 5.0), (11.5, -3.0), 200.0, 128, 1)
    assert grid_from_record(grid_record(grid)) == grid


def test_linear_weights_outside_the_field_are_zero():
    assert linear_weights(10, 1.0, 20.0, 1.0, 5).sum() == 0.0
