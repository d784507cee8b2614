"""Volumes in mL: by hand, whatever way a grid lies in space, and refused where there is none."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hepred_lib.imaging.volume import mask_volume_ml, voxel_volume_ml

AFFINE = np.diag([0.5, 0.5, 5.0, 1.0])
BALL = ((np.indices((60, 60, 60)) - 29.5) ** 2).sum(axis=0) <= 25**2


def test_a_cube_a_voxel_a_ball_and_nothing_have_their_volumes():
    assert mask_volume_ml(np.ones((10, 10, 10), dtype=bool), np.eye(4)) == pytest.approx(1.0)
    assert voxel_volume_ml(AFFINE) == pytest.approx(0.00125)
    assert mask_volume_ml(BALL, np.eye(4)) == pytest.approx(4 / 3 * np.pi * 25**3 / 1000, rel=0.005)
    assert mask_volume_ml(np.zeros((3, 3, 3)), np.eye(4)) == 0.0


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, -1)])
@pytest.mark.parametrize("degrees", [0, 15, 45])
def test_a_flipped_or_rotated_phantom_keeps_its_volume(signs, degrees):
    turned = AFFINE.copy()
    turned[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix() @ AFFINE[:3, :3] * signs
    assert mask_volume_ml(BALL, turned) == pytest.approx(mask_volume_ml(BALL, AFFINE), rel=1e-12)


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
