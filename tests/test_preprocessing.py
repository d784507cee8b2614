"""From a scan to canonical slices: volumes are kept, masks come back, the brain is found."""

import numpy as np
import pytest

from hepred_lib.preprocessing import (
    SliceGrid,
    area_weights,
    bone_threshold,
    brain_mask,
    grid_from_record,
    grid_record,
    linear_weights,
    prepare,
)


def head(n: int = 96, slices: int = 8, pixel_mm: float = 2.0, *, ceiling: float = 1200.0) -> np.ndarray:
    """A skull (ellipse of bone), brain inside, skin outside, air around, a table below; (x, y, z) in HU."""
    x, y = (np.indices((n, n)) - (n - 1) / 2) * pixel_mm
    radius = np.hypot(x / 68.0, y / 84.0)
    plane = np.full((n, n), -1000.0)
    plane[radius < 1.12] = 20.0
    plane[radius < 1.06] = ceiling
    plane[radius < 1.0] = 34.0
    plane[np.hypot(x, y) < 12.0] = 6.0
    plane[2:-2, 3:5] = min(200.0, ceiling)
    return np.repeat(np.maximum(plane, -1000.0 if ceiling > 200 else -20.0)[:, :, None], slices, axis=2)


def test_area_weights_of_halved_resolution_average_two_voxels():
    np.testing.assert_array_equal(area_weights(4, 1.0, 0.0, 2.0, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])


def test_every_canonical_pixel_is_an_average():
    np.testing.assert_allclose(area_weights(37, 0.7, -3.1, 1.9, 20).sum(axis=1), 1.0, rtol=1e-6)


def test_resampling_keeps_the_volume_of_a_mask_inside_the_field():
    mask = np.zeros((200, 180, 9), dtype=np.float32)
    mask[71:103, 60:97, 2:7] = 1.0
    grid = SliceGrid(mask.shape, (0.47, 0.53, 2.5), (2.2, 3.3), 80.0, 64, 2)
    native_ml = mask.sum() * 0.47 * 0.53 * 2.5 / 1000.0
    last_group_ml = 0.0  # nine slices in groups of two: the mask does not reach the odd last one
    assert grid.to_slices(mask).sum() * grid.voxel_ml == pytest.approx(native_ml + last_group_ml, rel=1e-5)


def test_a_plane_survives_the_way_to_slices_and_back():
    x = np.arange(120, dtype=np.float32)
    volume = np.broadcast_to(x[:, None, None], (120, 110, 4)).copy()
    grid = SliceGrid(volume.shape, (0.5, 0.5, 5.0), (0.0, 0.0), 55.0, 50, 1)
    back = grid.to_scan(grid.to_slices(volume))
    np.testing.assert_allclose(back[2:106, 2:106], volume[2:106, 2:106], atol=0.05)  # a voxel is flat, a plane is not


def test_linear_weights_outside_the_field_are_zero():
    assert linear_weights(10, 1.0, 20.0, 1.0, 5).sum() == 0.0


def test_the_brain_is_found_and_skin_and_table_are_not():
    hu = head()
    brain = brain_mask(hu, 2.0)
    inside = (hu == 34.0) | (hu == 6.0)
    assert (brain & inside).sum() / inside.sum() > 0.97
    assert (brain & ~inside).sum() / inside.sum() < 0.03


def test_the_brain_is_found_where_hounsfield_units_were_clipped_at_100():
    hu = head(ceiling=100.0)
    inside = (hu == 34.0) | (hu == 6.0)
    brain = brain_mask(hu, 2.0, bone_hu=bone_threshold(hu))
    assert (brain & inside).sum() / inside.sum() > 0.97


def test_a_gap_in_the_skull_does_not_lose_the_brain():
    hu = head()
    hu[44:50, 84:, :][hu[44:50, 84:, :] == 1200.0] = 20.0
    inside = (hu == 34.0) | (hu == 6.0)
    assert (brain_mask(hu, 2.0) & inside).sum() / inside.sum() > 0.95


def test_dense_blood_and_a_calcification_stay_inside_the_brain():
    hu = head()
    hu[30:36, 50:56, 3:5] = 75.0
    hu[60, 50, 4] = 400.0
    assert brain_mask(hu, 2.0)[30:36, 50:56, 3:5].all()
    assert brain_mask(hu, 2.0)[60, 50, 4]


def test_turning_the_head_by_a_quarter_turns_its_brain_mask():
    hu = head()
    np.testing.assert_array_equal(np.rot90(brain_mask(hu, 2.0)), brain_mask(np.rot90(hu), 2.0))


def test_a_scan_without_skull_has_an_empty_brain_mask():
    assert not brain_mask(np.full((40, 40, 3), -1000.0), 2.0).any()


def test_prepare_centres_the_field_on_the_brain():
    hu = np.roll(head(n=128), (9, -7), axis=(0, 1))
    prepared = prepare(hu, (2.0, 2.0, 5.0), matrix=64, field_mm=200.0)
    middle = [np.flatnonzero(prepared.brain.any(axis=axes)).mean() for axes in ((1, 2), (0, 2))]
    np.testing.assert_allclose(middle, 31.5, atol=1.0)


def test_thin_slices_are_averaged_in_groups_that_come_near_five_millimetres():
    prepared = prepare(head(slices=9), (2.0, 2.0, 1.25), matrix=32)
    assert (prepared.grid.group, prepared.hu.shape[2], prepared.grid.thickness_mm) == (4, 3, 5.0)


def test_a_grid_comes_back_from_its_record():
    grid = SliceGrid((512, 512, 31), (0.45, 0.45, 5.0), (11.5, -3.0), 200.0, 128, 1)
    assert grid_from_record(grid_record(grid)) == grid
