import numpy as np
import pytest

from hepred_lib.imaging.volume import mask_volume_ml, voxel_volume_ml


def rotated(affine, degrees, axis=0):
    """Tilt an affine about one axis, as a gantry does."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [k for k in range(3) if k != axis]
    tilt = np.eye(4)
    tilt[np.ix_([i, j], [i, j])] = [[c, -s], [s, c]]
    return tilt @ affine


def ball(radius, shape=(60, 60, 60)):
    offset = np.indices(shape) - (np.array(shape) - 1)[:, None, None, None] / 2
    return (offset**2).sum(axis=0) <= radius**2


def test_a_cube_a_voxel_a_ball_and_nothing_have_their_volumes():
    assert mask_volume_ml(np.ones((10, 10, 10), dtype=bool), np.eye(4)) == pytest.approx(1.0)
    assert voxel_volume_ml(np.diag([0.5, 0.5, 5.0, 1.0])) == pytest.approx(0.00125)
    assert mask_volume_ml(ball(25), np.eye(4)) == pytest.approx(4 / 3 * np.pi * 25**3 / 1000, rel=0.005)
    assert mask_volume_ml(np.zeros((3, 3, 3)), np.eye(4)) == 0.0


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_flipping_axes_changes_nothing(axes):
    affine = np.diag([0.5, 0.5, 5.0, 1.0])
    flipped = affine.copy()
    flipped[axes, axes] *= -1
    assert mask_volume_ml(ball(9, (20, 20, 20)), flipped) == mask_volume_ml(ball(9, (20, 20, 20)), affine)


@pytest.mark.parametrize("degrees", [15, 45, 90])
def test_a_rotated_phantom_keeps_its_volume(degrees):
    straight, mask = np.diag([0.5, 0.5, 5.0, 1.0]), ball(9, (20, 20, 20))
    tilted = rotated(straight, degrees)
    assert mask_volume_ml(mask, tilted) == pytest.approx(mask_volume_ml(mask, straight), rel=1e-12)


@pytest.mark.parametrize(
    ("mask", "affine", "message"),
    [
        (np.full((2, 2, 2), 2), np.eye(4), "mask must hold 0 and 1 only, got 2"),
        (np.full((2, 2, 2), np.nan), np.eye(4), "mask must hold 0 and 1 only, got nan"),
        (np.ones((2, 2)), np.eye(4), "mask must be three-dimensional"),
        (np.ones((2, 2, 2)), np.eye(3), "affine must be a finite 4 x 4 matrix"),
        (np.ones((2, 2, 2)), np.full((4, 4), np.nan), "affine must be a finite 4 x 4 matrix"),
        (np.ones((2, 2, 2)), np.diag([1.0, 1.0, 0.0, 1.0]), "affine must span three dimensions"),
    ],
)
def test_what_has_no_volume_is_refused(mask, affine, message):
    with pytest.raises(ValueError, match=message):
        mask_volume_ml(mask, affine)
