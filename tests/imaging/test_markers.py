"""Markers on spheres of blood whose parts are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from hepred_lib.imaging.markers import MARKERS, measure_markers, surface_irregularity

SPACING = (1.0, 1.0, 2.0)


def measure(*given):
    return SimpleNamespace(**measure_markers(*given))


SHAPE = (72, 72, 36)
PLACES = [(place - (n - 1) / 2) * s for place, n, s in zip(np.indices(SHAPE), SHAPE, SPACING, strict=True)]


def ball(radius_mm=15.0, centre=(0.0, 0.0, 0.0)):
    """Boolean ball on a grid of 72 x 72 x 72 mm."""
    return sum((place - c) ** 2 for place, c in zip(PLACES, centre, strict=True)) <= radius_mm**2


def test_a_uniform_ball_has_its_volume_no_sign_and_an_irregularity_of_one():
    mask = ball()
    markers = measure(np.where(mask, 60.0, 30.0), mask, SPACING)
    assert markers.volume_ml == mask.sum() * 0.002
    assert (markers.mean_hu, markers.sd_hu, markers.hypodense_fraction) == (pytest.approx(60), pytest.approx(0), 0)
    assert markers.surface_irregularity == pytest.approx(1, abs=0.05)
    signs = ("blend", "black_hole", "swirl", "any_hypodensity", "irregular", "island", "satellite", "fluid_level")
    assert not any(getattr(markers, sign) for sign in signs)


def half(value, axis=0, start=44):
    """Clot of 64 HU with one side of another value."""
    hu = np.full(SHAPE, 64.0)
    hu[(slice(None),) * axis + (slice(start, None),)] = value
    return hu


def ends(value):
    """Clot of 64 HU whose first and last slice are half full of blood."""
    hu = np.full(SHAPE, 64.0)
    hu[:, :, np.flatnonzero(ball().any(axis=(0, 1)))[[0, -1]]] = value
    return hu


def dark(value, radius_mm=6.0, slices=slice(None)):
    """Clot of 64 HU with a ball of another value, or some of its slices, in the middle."""
    hu, part = np.full(SHAPE, 64.0), ball(radius_mm)
    hu[:, :, slices][part[:, :, slices]] = value
    return hu


NOISE = 60 + 4 * np.random.default_rng(1).standard_normal(SHAPE)
SIGNS = {
    "a dark ball enclosed by clot": (
        np.where(ball(4, (3, 0, 0)), 28.0, 62.0),
        {"black_hole": 1, "any_hypodensity": 1, "swirl": 1, "blend": 0},
    ),
    "its drop": (
        np.where(ball(6, (3, 0, 0)), 30.0, 64.0),
        {"black_hole_hu": pytest.approx(33, abs=1), "hypodensity_hu": 33, "blend_hu": 0},
    ),
    "a dark side that reaches the margin": (
        half(40.0),
        {"blend": 1, "black_hole": 0, "black_hole_hu": 0, "blend_hu": pytest.approx(23, abs=1)},
    ),
    "slices half full of blood": (ends(44.0), {"any_hypodensity": 0, "blend": 0, "hypodense_fraction": 0}),
    "a dark side of 18 HU": (half(45.9, start=38), {"blend": 1, "blend_hu": 18}),
    "a dark side of 17 HU": (half(46.9, start=38), {"blend": 0, "blend_hu": 17}),
    "a dark ball of 28 HU": (dark(35.9), {"black_hole": 1, "black_hole_hu": 28}),
    "a dark ball of 27 HU": (dark(36.9), {"black_hole": 0, "black_hole_hu": 27}),
    "a dark ball of 16 HU": (dark(47.9), {"any_hypodensity": 1, "hypodensity_hu": 16}),
    "a dark ball of 15 HU": (dark(48.9), {"any_hypodensity": 0, "hypodensity_hu": 15}),
    "a dark disc in one slice": (dark(50.0, slices=slice(18, 19)), {"swirl": 0}),
    "a dark disc in two slices": (dark(50.0, slices=slice(17, 19)), {"swirl": 1}),
    "a dark part below the definition": (np.where(ball(6), 42.0, 64.0), {"black_hole": 0, "any_hypodensity": 1}),
    "serum over settled cells": (half(36.0, axis=1, start=36), {"fluid_level": 1}),
    "serum below settled cells": (half(36.0, axis=1, start=36)[:, ::-1], {"fluid_level": 0}),
    "serum, and more that goes sideways": (half(-20.0, axis=1, start=36) + half(-109.0, start=36), {"fluid_level": 0}),
    "noise of four HU": (NOISE, {"black_hole": 0, "any_hypodensity": 0, "blend": 0, "swirl": 0}),
}


@pytest.mark.parametrize("name", SIGNS)
def test_a_sign_is_that_of_its_definition_and_its_drop_the_one_drawn(name):
    hu, expected = SIGNS[name]
    markers = measure_markers(hu, ball(), SPACING)
    assert {sign: markers[sign] for sign in expected} == expected


def test_moments_are_those_of_two_values_mixed():
    mask, hu = ball(), half(40.0)
    share = (hu[mask] == 40).mean()
    spread = np.sqrt(share * (1 - share))
    expected = 64 - 24 * share, 24 * spread, (2 * share - 1) / spread, 24 * spread / (64 - 24 * share)
    found = measure(hu, mask, SPACING)
    assert (found.mean_hu, found.sd_hu, found.skewness_hu, found.cv_hu) == pytest.approx(expected, rel=0.1)


def test_the_first_and_last_slice_of_a_small_clot_are_not_searched_either():
    mask, hu = ball(8), np.full(SHAPE, 64.0)
    hu[:, :, np.flatnonzero(mask.any(axis=(0, 1)))[[0, -1]]] = 44.0
    assert measure(hu, mask, SPACING).hypodense_fraction == 0


def test_three_small_bleeds_apart_are_an_island_sign_and_one_is_a_satellite():
    one = ball() | ball(3, (22, 0, 0))
    three = one | ball(3, (-22, 0, 0)) | ball(3, (0, 22, 0))
    hu = np.full(one.shape, 60.0)
    assert (measure(hu, one, SPACING).island, measure(hu, one, SPACING).satellite) == (0, 1)
    assert (measure(hu, three, SPACING).island, measure(hu, three, SPACING).n_components) == (1, 4)


def test_an_elongated_smooth_clot_is_not_irregular_and_a_ragged_one_is():
    distance = np.sqrt(sum((x / r) ** 2 for x, r in zip(PLACES, (25, 12, 12), strict=True)))
    angle = np.arctan2(PLACES[0], PLACES[1])
    smooth, ragged = (
        measure(np.full(SHAPE, 60.0), distance <= 1 + wave * np.sin(14 * angle), SPACING) for wave in (0, 0.15)
    )
    assert (smooth.irregular, ragged.irregular) == (0, 1)
    assert smooth.concavity < 0.02 < ragged.concavity
    assert smooth.margin_roughness_mm < 0.15 < ragged.margin_roughness_mm


def test_the_concavity_of_an_l_is_as_counted_by_hand():
    mask = np.zeros((36, 36, 1), dtype=bool)
    mask[:30, :30] = True
    mask[12:, 12:] = False
    # 900 - 18 x 18 of blood; the hull adds half of the missing square. Rounded corners take a little.
    markers = measure(np.full(mask.shape, 60.0), mask, (1, 1, 5))
    assert markers.concavity == pytest.approx(162 / 738, abs=0.015)


def test_roughness_hardly_depends_on_the_size_of_the_pixels():
    def roughness(pixel_mm):
        n = int(60 / pixel_mm)
        x, y = (np.indices((n, n, 1))[:2] - (n - 1) / 2) * pixel_mm
        ragged = np.hypot(x, y) <= 18 * (1 + 0.12 * np.sin(12 * np.arctan2(x, y)))
        return measure(np.full(ragged.shape, 60.0), ragged, (pixel_mm, pixel_mm, 5.0)).margin_roughness_mm

    coarse, fine = roughness(1.0), roughness(0.5)
    assert fine > 0.4
    assert coarse == pytest.approx(fine, rel=0.25)


def test_the_place_in_the_volume_does_not_matter():
    mask = ball(8)
    hu = np.where(mask, 58.0, 30.0)
    moved = [np.roll(a, (20, -15, 9), axis=(0, 1, 2)) for a in (hu, mask)]
    assert measure(*moved, SPACING) == measure(hu, mask, SPACING)


def test_an_empty_mask_has_no_markers():
    empty = measure_markers(np.zeros((4, 4, 4)), np.zeros((4, 4, 4)), SPACING)
    assert tuple(empty) == MARKERS
    assert np.isnan(list(empty.values())).all()


@pytest.mark.parametrize(
    ("hu", "mask", "spacing", "message"),
    [
        (np.zeros((4, 4, 4)), np.ones((4, 4, 3)), SPACING, r"one shape, got \(4, 4, 4\) and \(4, 4, 3\)"),
        (np.zeros((4, 4, 4)), np.full((4, 4, 4), 2), SPACING, "0 and 1 only"),
        (np.zeros((4, 4, 4)), np.ones((4, 4, 4)), (1, 0, 1), "three positive numbers"),
    ],
)
def test_what_cannot_be_measured_is_refused(hu, mask, spacing, message):
    with pytest.raises(ValueError, match=message):
        measure(hu, mask, spacing)


def test_the_surface_of_a_long_ellipsoid_is_that_of_the_textbook():
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in (80, 40, 40)], indexing="ij")
    mask = sum((x / r) ** 2 for x, r in zip(axes, (30, 12, 12), strict=True)) <= 1
    # Prolate spheroid: 2 pi b^2 (1 + a / (b e) asin e).
    e = np.sqrt(1 - (12 / 30) ** 2)
    surface = 2 * np.pi * 144 * (1 + 30 / (12 * e) * np.arcsin(e))
    expected = surface / (np.pi ** (1 / 3) * (6 * 4 / 3 * np.pi * 30 * 144) ** (2 / 3))
    assert surface_irregularity(mask, (1, 1, 1)) == pytest.approx(expected, rel=0.03)
    places = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * mm for n, mm in ((60, 1), (60, 1), (16, 5))], indexing="ij")
    assert surface_irregularity(sum(x**2 for x in places) <= 400, (1, 1, 5)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("step", [3, 40])
def test_specks_and_a_single_voxel_are_measured_without_a_smooth_outline(step):
    mask = np.zeros((40, 40, 5), dtype=bool)
    mask[::step, ::step, 2] = True
    markers = measure(np.full(mask.shape, 60.0), mask, SPACING)
    assert (markers.mean_hu, markers.n_components, markers.any_hypodensity) == (pytest.approx(60), 1, 0)
    assert (markers.margin_roughness_mm, markers.concavity, markers.irregular) == (0, 0, 0)


def test_adding_a_constant_moves_the_mean_alone():
    first, second = (measure(NOISE + shift, ball(), SPACING) for shift in (0, 5))
    assert second.mean_hu == pytest.approx(first.mean_hu + 5)
    assert (second.sd_hu, second.skewness_hu) == (pytest.approx(first.sd_hu), pytest.approx(first.skewness_hu))
