"""Disks, holes and pieces of a stack are those of scipy, slice by slice."""

import numpy as np
import pytest
from scipy import ndimage

from hepred_lib.imaging.head import components, dilated, eroded, filled, opened, overlapping


def disk(radius: int) -> np.ndarray:
    span = np.arange(-radius, radius + 1)
    return span[:, None] ** 2 + span[None, :] ** 2 <= radius**2


def slice_by_slice(operation, mask: np.ndarray, **options) -> np.ndarray:
    return np.stack([operation(mask[:, :, z], **options) for z in range(mask.shape[2])], axis=2)


@pytest.fixture(params=["C", "F"])
def stack(request) -> np.ndarray:
    """Five slices from sparse to dense, the last one full, that touch their borders."""
    drawn = np.random.default_rng(3).random((29, 23, 5)) < np.array([0.02, 0.2, 0.6, 0.9, 1.0])
    return np.asarray(drawn, order=request.param)


def test_a_point_becomes_a_disk():
    point = np.zeros((9, 9, 1), dtype=bool)
    point[4, 4] = True
    np.testing.assert_array_equal(dilated(point, 3)[1:-1, 1:-1, 0], disk(3))


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 12, 40])
def test_dilation_erosion_and_opening_are_those_of_a_structuring_element(stack, radius):
    np.testing.assert_array_equal(
        dilated(stack, radius), slice_by_slice(ndimage.binary_dilation, stack, structure=disk(radius))
    )
    np.testing.assert_array_equal(
        eroded(stack, radius), slice_by_slice(ndimage.binary_erosion, stack, structure=disk(radius))
    )
    np.testing.assert_array_equal(
        opened(stack, radius), slice_by_slice(ndimage.binary_opening, stack, structure=disk(radius))
    )


def test_holes_are_filled_slice_by_slice(stack):
    np.testing.assert_array_equal(filled(stack), slice_by_slice(ndimage.binary_fill_holes, stack))


def test_no_slice_joins_the_pieces_of_another():
    two = np.zeros((6, 6, 2), dtype=bool)
    two[0:2, 0:3] = True
    two[4, 4, 1] = True
    labels, sizes = components(two)
    assert sorted(sizes[1:]) == [1, 6, 6]
    assert labels[0, 0, 0] != labels[0, 0, 1]


def test_a_piece_is_kept_from_half_of_its_pixels_on():
    mask, near = np.zeros((8, 8, 1), dtype=bool), np.zeros((8, 8, 1), dtype=bool)
    mask[1, 0:4] = mask[5, 0:4] = True
    near[1, 2:4] = near[5, 3] = True
    kept = overlapping(*components(mask), near)
    assert kept[1, 0:4].all()
    assert not kept[5].any()


def test_of_an_empty_mask_nothing_is_kept():
    empty = np.zeros((4, 5, 2), dtype=bool)
    assert not overlapping(*components(empty), ~empty).any()
    assert not opened(empty, 2).any()
