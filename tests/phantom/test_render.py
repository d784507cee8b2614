"""A rendered scan: densities in the right places, the scanner's noise, and signs seen where they were drawn."""

import numpy as np
import pytest

from hepred_lib.imaging.markers import measure_markers
from ich_phantom.render import Protocol, acquire, render_scan, sample_protocol


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
    middle = healthy.hu[44:84, 44:84, 14:24]
    brain = middle[(middle > 0) & (middle < 60)]
    assert 20 < np.median(brain) < 36
    assert not np.any([healthy.mask, healthy.ivh_mask])


def test_blood_is_brighter_than_the_brain_around_it(bled):
    assert 52 < bled.hu[bled.mask].mean() < 68
    assert 40 < bled.hu[bled.ivh_mask].mean() < 65
    assert bled.mask.sum() * abs(np.linalg.det(bled.affine)) / 1000 == pytest.approx(25, rel=0.01)


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


def test_streaks_grow_with_their_factor_and_come_from_petrous_bones_or_in_a_restless_patient_from_any():
    def spread(streaks, bone_hu):
        slices = np.full((2, 128, 128), 30.0, dtype=np.float32)
        slices[:, 40:50, 60:64] = slices[:, 78:88, 60:64] = bone_hu
        scan = acquire(slices, _protocol(noise_hu=0.01, streaks=streaks), np.random.default_rng(0))
        return scan[54:74].std()

    assert spread(1.0, 1250.0) < 0.5
    assert 1 < spread(1.0, 1700.0) < 12
    assert spread(4.0, 1250.0) > spread(1.0, 1700.0) > spread(0.5, 1700.0)
    assert spread(4.0, 200.0) < 0.5


def test_the_lowest_slices_show_the_canal_and_the_highest_only_air_or_vault(healthy):
    inside = ((healthy.hu > 0) & (healthy.hu < 48)).sum(axis=(0, 1))
    assert inside[0] < 0.7 * inside.max()
    assert inside[-1] < 0.2 * inside.max()


# Signs drawn together, what must then be measured of the four, and what must not.
DRAWN = {
    (): (set(), {"blend", "black_hole", "any_hypodensity", "irregular"}),
    ("blend", "irregular"): ({"blend", "irregular"}, set()),
    ("black_hole",): ({"black_hole", "any_hypodensity"}, {"blend", "irregular"}),
    ("hypodensity", "irregular"): ({"any_hypodensity", "irregular"}, {"blend", "black_hole"}),
}


def _markers(signs: tuple[str, ...], seed: int) -> dict[str, float]:
    latents = {"blood_free": 0, "age": 60, "sex": "M", "location": "basal_ganglia", "ivh": 0}
    latents |= {"true_baseline_ml": 22.0, "density": -0.3, "shape": -0.3}
    scan = render_scan(latents, frozenset(signs), site="A", matrix=128, rng=np.random.default_rng(seed))
    return measure_markers(scan.hu, scan.mask, np.sqrt((scan.affine[:3, :3] ** 2).sum(axis=0)))


def test_a_sign_is_seen_where_it_was_drawn_and_only_there_and_its_grade_is_highest():
    measured = {signs: _markers(signs, seed=1) for signs in DRAWN}
    for signs, (present, absent) in DRAWN.items():
        assert {name for name in present | absent if measured[signs][name]} == present, signs
    for name, signs, others in (
        ("blend_hu", ("blend", "irregular"), [(), ("black_hole",), ("hypodensity", "irregular")]),
        ("black_hole_hu", ("black_hole",), [(), ("hypodensity", "irregular")]),
    ):
        assert measured[signs][name] > max(measured[other][name] for other in others) + 4, name
