"""A rendered head has the densities of a head, in the right places."""

import numpy as np
import pytest

from hepred_lib.simulation.render import render_scan
from hepred_lib.simulation.scanner import Protocol, acquire, sample_pose, sample_protocol
from hepred_lib.simulation.shapes import SmoothField


@pytest.fixture(scope="module")
def healthy():
    latents = {"blood_free": 1, "age": 60, "sex": "M"}
    return render_scan(latents, frozenset(), site="A", matrix=128, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def bled():
    latents = {"blood_free": 0, "age": 60, "sex": "F", "location": "basal_ganglia"}
    latents |= {"true_baseline_ml": 25.0, "density": 0.0, "shape": 0.0, "ivh": 1}
    return render_scan(latents, frozenset(), site="A", matrix=128, rng=np.random.default_rng(3))


def test_air_is_constant_bone_is_dense_and_brain_lies_between(healthy):
    corner = healthy.hu[:5, :5]
    assert (corner == -1000).all()
    assert (healthy.hu > 700).mean() > 0.02
    brain = healthy.hu[(healthy.hu > 0) & (healthy.hu < 60)]
    assert 24 < np.median(brain) < 36


def test_a_head_without_blood_has_empty_masks(healthy):
    assert not healthy.mask.any()
    assert not healthy.ivh_mask.any()


def test_a_head_is_nearly_symmetric_and_a_hemorrhage_is_not(healthy, bled):
    side = np.nonzero(bled.mask)[0].mean() < 64
    assert side == (np.nonzero(bled.mask)[0] < 64).mean().round()
    columns = (healthy.hu > 300).any(axis=2).sum(axis=1)
    assert columns[:64].sum() == pytest.approx(columns[64:].sum(), rel=0.25)


def test_blood_is_brighter_than_the_brain_around_it(bled):
    assert 52 < bled.hu[bled.mask].mean() < 68
    assert 40 < bled.hu[bled.ivh_mask].mean() < 65
    assert bled.mask.sum() * abs(np.linalg.det(bled.affine)) / 1000 == pytest.approx(25, rel=0.01)


def test_the_same_generator_gives_the_same_scan(healthy):
    latents = {"blood_free": 1, "age": 60, "sex": "M"}
    again = render_scan(latents, frozenset(), site="A", matrix=128, rng=np.random.default_rng(3))
    assert (again.hu == healthy.hu).all()
    assert (again.affine == healthy.affine).all()


def _protocol(**changes):
    settings = {"matrix": 128, "pixel_mm": 1.8, "slice_mm": 5.0, "n_slices": 2, "n_thin": 1, "bottom_mm": 0.0}
    settings |= {"blur_mm": 0.6, "noise_hu": 4.0, "noise_blur_mm": 0.7, "offset_hu": 2.0}
    return Protocol(**settings | changes)


def test_noise_has_the_stated_standard_deviation_and_offset():
    flat = np.full((2, 128, 128), 30.0, dtype=np.float32)
    scan = acquire(flat, _protocol(), np.random.default_rng(0))
    assert scan.std() == pytest.approx(4.0, rel=0.03)
    assert scan.mean() == pytest.approx(32.0, abs=0.1)


def test_neighbouring_pixels_share_noise_and_slices_do_not():
    flat = np.full((2, 128, 128), 30.0, dtype=np.float32)
    scan = acquire(flat, _protocol(pixel_mm=0.9), np.random.default_rng(0)).astype(float)
    assert np.corrcoef(scan[1:, :, 0].ravel(), scan[:-1, :, 0].ravel())[0, 1] > 0.2
    assert abs(np.corrcoef(scan[:, :, 0].ravel(), scan[:, :, 1].ravel())[0, 1]) < 0.03


def test_site_a_scans_five_millimetres_and_site_b_anything():
    thickness = {
        site: {sample_protocol(np.random.default_rng(k), site=site, matrix=256).slice_mm for k in range(40)}
        for site in "AB"
    }
    assert thickness["A"] == {5.0}
    assert min(thickness["B"]) == 2.5
    assert max(thickness["B"]) == 7.0


def test_a_pose_is_a_rotation_that_can_be_undone():
    pose = sample_pose(np.random.default_rng(1))
    point = np.array([10.0, -20.0, 5.0])
    back = pose.rotation @ (pose.to_scanner(point) - pose.shift)
    assert np.linalg.det(pose.rotation) == pytest.approx(1)
    assert back == pytest.approx(point)


def test_a_smooth_field_has_unit_variance_and_no_jumps():
    axis = np.arange(-100, 100, 1.0)
    field = SmoothField(np.random.default_rng(2), (axis, axis, axis), wavelength_mm=25)
    plane = field.at(12.3)
    assert plane.shape == (200, 200)
    assert 0.6 < plane.std() < 1.2
    assert np.abs(np.diff(plane, axis=0)).max() < 0.6
