"""The form of a hemorrhage: its volume, its limits, what it pushes."""

import numpy as np
import pytest

from ich_phantom.hematoma import (
    Hematoma,
    clot_hu,
    displacement,
    fill_to_volume,
    form_level,
    islands_level,
    mask_of,
    sample_hematoma,
    share_of,
    ventricular_share,
)

VOXEL_MM = (1.5, 1.0, 1.0)


def hematoma(volume_ml=10.0, *, density=0.0, shape=0.0, signs=()):
    return Hematoma(np.zeros(3), np.ones(3), volume_ml, density, shape, frozenset(signs), False)


def grid():
    """Head coordinates of 32 thin planes of 60 x 60 voxels."""
    z, x, y = ((np.arange(n) - (n - 1) / 2).astype(np.float32) * s for n, s in zip((32, 60, 60), VOXEL_MM, strict=True))
    z, x, y = np.meshgrid(z, x, y, indexing="ij")
    return x, y, z


def filled(blood, seed=0, **limits):
    level = form_level(blood, grid(), VOXEL_MM, np.random.default_rng(seed))
    allowed = np.ones_like(level)
    islands = islands_level(blood, grid(), np.random.default_rng(seed + 1))
    voxels = round(blood.volume_ml / 0.003)
    return fill_to_volume(
        level, allowed=limits.get("allowed", allowed), islands=islands, voxels=voxels, n_thin=2, width=0.1
    )


@pytest.mark.parametrize("signs", [[], ["island"]])
def test_the_mask_has_the_wanted_number_of_voxels_islands_among_them(signs):
    assert mask_of(share_of(filled(hematoma(10.0, signs=signs)), 0.1), 2).sum() * 0.003 == pytest.approx(10.0, rel=0.01)


def test_blood_stays_where_it_is_allowed_and_still_fills_its_volume():
    x, _, _ = grid()
    mask = mask_of(share_of(filled(hematoma(10.0), allowed=x / 10), 0.1), 2)
    assert mask.sum() * 0.003 == pytest.approx(10.0, rel=0.01)
    assert not mask[:, :29].any()


def test_a_mask_is_at_least_half_of_its_thin_planes():
    share = np.array([1.0, 0.0, 0.6, 0.3, 0.5, 0.5]).reshape(6, 1, 1)
    assert mask_of(share, 2).ravel().tolist() == [True, False, True]


def test_tissue_is_pushed_outwards_and_less_so_further_away():
    at = np.array([20.0, 30.0, 60.0], dtype=np.float32)
    zero = np.zeros_like(at)
    shift = -displacement(hematoma(10.0), (at, zero, zero))[0]
    assert (np.diff(shift) < 0).all()
    assert (shift > 0).all()
    # 20^3 = r0^3 + 1.2 R^3 with R^3 = 3000 * 10 / (4 pi).
    assert shift[0] == pytest.approx(20 - (8000 - 1.2 * 30000 / (4 * np.pi)) ** (1 / 3), rel=1e-3)


def test_a_higher_shape_latent_makes_a_rougher_surface():
    smooth, rough = (_surface(filled(hematoma(10.0, shape=s))) for s in (-1.5, 1.5))
    assert rough > 1.1 * smooth


def _surface(level):
    mask = np.pad(mask_of(share_of(level, 0.1), 2), 1).astype(int)
    return sum(np.abs(np.diff(mask, axis=axis)).sum() for axis in range(3))


def test_a_higher_density_latent_and_every_dark_sign_darken_the_clot():
    plain = _clot(hematoma(15.0, density=-1.0))
    assert _clot(hematoma(15.0, density=1.5)).mean() < plain.mean() - 2
    for sign in ("blend", "black_hole", "swirl", "hypodensity", "fluid_level"):
        dark = _clot(hematoma(15.0, density=-1.0, signs=[sign]))
        assert np.percentile(dark, 2) < np.percentile(plain, 2) - 6, sign


def _clot(blood):
    level = filled(blood)
    rng = np.random.default_rng(4)
    return clot_hu(blood, level, grid(), voxel_mm=VOXEL_MM, up=grid()[1], rng=rng)[level > 0]


def test_blood_in_the_ventricles_settles_downwards():
    x, y, z = grid()
    inside = (np.sqrt(x**2 + y**2 + z**2) < 20).astype(np.float32)
    share = ventricular_share(hematoma(), inside, depth_mm=-y, away_mm=np.zeros_like(y), rng=np.random.default_rng(0))
    assert 0 < share.sum() < inside.sum()
    assert share[:, :, :30].sum() > 5 * share[:, :, 30:].sum()


def test_a_hemorrhage_lies_where_the_table_says():
    latents = {"location": "thalamus", "true_baseline_ml": 5.0, "density": 0.0, "shape": 0.0, "ivh": 1}
    places = [sample_hematoma(np.random.default_rng(k), latents, frozenset()).centre_mm for k in range(200)]
    assert np.abs(places).mean(axis=0)[0] == pytest.approx(13, abs=1)
    assert {-1.0, 1.0} == set(np.sign(places)[:, 0])
