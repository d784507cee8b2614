"""Agreement of outlines: by hand, empty masks, refusals."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from hepred_lib.imaging.segmentation import (
    abc2_ml,
    agreement_by_group,
    at_half_height,
    bland_altman_table,
    dice,
    hd95_mm,
    volume_agreement,
    volume_thirds,
    without_distant_specks,
)


def box(*corner: int, size: int = 3, shape: tuple[int, ...] = (12, 12, 12)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(start, start + size) for start in corner)] = True
    return mask


def test_dice_of_half_overlapping_boxes_is_one_half():
    assert dice(box(0, 0, 0, size=4), np.roll(box(0, 0, 0, size=4), 2, axis=0)) == 0.5


def blurred_disc(radius_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """HU of a disc of 60 HU in tissue of 30, blurred by 0.6 mm, three slices of 0.5 mm pixels; distance to its axis."""
    away_mm = np.hypot(*(np.indices((120, 120)) - 59.5)) * 0.5
    hu = ndimage.gaussian_filter(np.where(away_mm < radius_mm, 60.0, 30.0), 1.2)
    return np.repeat(hu[:, :, None], 3, axis=2), np.repeat(away_mm[:, :, None], 3, axis=2)


@pytest.mark.parametrize("drawn_mm", [9.0, 11.0])
def test_an_outline_drawn_too_wide_or_too_narrow_moves_to_half_of_the_step(drawn_mm):
    hu, away_mm = blurred_disc(10.0)
    found = at_half_height(away_mm < drawn_mm, hu, (0.5, 0.5, 5.0), ventricles=np.zeros(hu.shape, bool))
    assert dice(away_mm < 10.0, away_mm < drawn_mm) < 0.92
    assert dice(away_mm < 10.0, found) > 0.985


def test_an_outline_too_narrow_to_have_an_inside_stays_and_ventricles_are_not_entered():
    hu, away_mm = blurred_disc(10.0)
    narrow, nowhere = away_mm < 1.5, np.zeros(hu.shape, bool)
    np.testing.assert_array_equal(at_half_height(narrow, hu, (0.5, 0.5, 5.0), ventricles=nowhere), narrow)
    assert not at_half_height(nowhere, hu, (0.5, 0.5, 5.0), ventricles=nowhere).any()
    ventricles = away_mm >= 9.0
    assert not (at_half_height(away_mm < 9.0, hu, (0.5, 0.5, 5.0), ventricles=ventricles) & ventricles).any()


def test_only_parts_that_are_both_small_and_far_are_left_out():
    mask = np.zeros((100, 40, 20), dtype=bool)
    mask[:20, :20, :10] = True  # 4 mL
    mask[30:35, :5, :5] = True  # 0.1 mL, 11 mm away
    mask[90:, :, 10:] = True  # 4 mL, far
    expected = mask.copy()
    mask[60:65, :5, :5] = True  # 0.1 mL, 41 mm from the first and 26 mm from the last
    np.testing.assert_array_equal(without_distant_specks(mask, (1.0, 1.0, 1.0)), expected)
    assert not without_distant_specks(np.zeros_like(mask), (1.0, 1.0, 1.0)).any()


def test_the_abc2_rule_is_near_the_volume_of_an_ellipsoid_in_thick_slices_and_turns_with_it():
    x, y, z = ((k - (k.max() / 2)) * mm for k, mm in zip(np.indices((90, 90, 6)), (1.0, 1.0, 5.0), strict=True))
    volumes = []
    for turn in (0.0, 0.6):
        u, v = np.cos(turn) * x + np.sin(turn) * y, -np.sin(turn) * x + np.cos(turn) * y
        volumes.append(abc2_ml((u / 30) ** 2 + (v / 18) ** 2 + (z / 15) ** 2 < 1, (1.0, 1.0, 5.0)))
    assert volumes[0] == pytest.approx(60 * 36 * 25 / 2000, rel=0.05)  # four slices in full, two by half
    assert volumes[1] == pytest.approx(volumes[0], rel=0.05)
    assert abc2_ml(np.zeros((4, 4, 4), bool), (1.0, 1.0, 1.0)) == 0.0
    mask = np.zeros((6, 6, 4), bool)
    mask[:4, :4, 0] = mask[:4, :3, 1] = mask[:4, :1, 2] = mask[:3, :1, 3] = True  # 100, 75, 25, 19 % of the largest
    assert abc2_ml(mask, (1.0, 1.0, 5.0)) == pytest.approx(2.5 * abc2_ml(mask[:, :, :1], (1.0, 1.0, 5.0)))
    assert abc2_ml(box(1, 1, 1, size=1), (1.0, 1.0, 1.0)) == pytest.approx(0.001), "a single voxel has a volume"


def test_bias_limits_and_their_bands_by_hand():
    found = volume_agreement([10.0, 20.0, 30.0], [11.0, 23.0, 35.0])  # differences 1, 3, 5: SD 2
    student = 4.302652729911275  # t, 2 degrees of freedom, 97.5 %
    assert (found["bias"], found["high"]) == (3.0, pytest.approx(3.0 + 1.96 * 2))
    assert found["bias_high"] - found["bias"] == pytest.approx(student * 2 / np.sqrt(3))
    assert found["low"] - found["low_low"] == pytest.approx(student * 2 * np.sqrt(1 / 3 + 1.96**2 / 4))
    assert found["high_high"] - found["high"] == pytest.approx(found["high"] - found["high_low"])


def test_two_empty_outlines_agree_and_one_empty_outline_fails():
    empty = np.zeros((12, 12, 12), dtype=bool)
    assert (dice(empty, empty), hd95_mm(empty, empty, (1, 1, 1))) == (1.0, 0.0)
    assert (dice(box(1, 1, 1), empty), hd95_mm(empty, box(1, 1, 1), (1, 1, 1))) == (0.0, np.inf)


def test_outlines_on_different_grids_and_a_single_pair_of_volumes_are_refused():
    with pytest.raises(ValueError, match="must have one shape"):
        dice(box(0, 0, 0), box(0, 0, 0, shape=(12, 12, 11)))
    with pytest.raises(ValueError, match="at least two volumes"):
        volume_agreement([1.0], [1.0])


def test_hd95_equals_a_slow_search_over_all_pairs():
    rng = np.random.default_rng(0)
    a, b = box(1, 2, 1, size=4) & (rng.random((12, 12, 12)) > 0.1), box(3, 2, 2, size=5)
    spacing = np.array([0.5, 0.7, 5.0])
    cross = ndimage.generate_binary_structure(3, 1).astype(int)
    full = [ndimage.convolve(mask.astype(int), cross, mode="constant") == 7 for mask in (a, b)]
    points = [np.argwhere(mask & ~inner) * spacing for mask, inner in zip((a, b), full, strict=True)]
    gaps = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
    slow = np.percentile(np.concatenate([gaps.min(axis=1), gaps.min(axis=0)]), 95)
    assert hd95_mm(a, b, tuple(spacing)) == hd95_mm(b, a, tuple(spacing)) == pytest.approx(slow)


def test_groups_have_their_own_medians_and_limits():
    names = ["dice", "hd95_mm", "reference_ml", "predicted_ml"]
    table = pd.DataFrame([(0.9, 1.0, 10.0, 11.0), (0.8, 3.0, 20.0, 19.0), (0.5, 9.0, 5.0, 7.0)], columns=names)
    found = agreement_by_group(table, {"location": pd.Series(["lobar", "lobar", "thalamus"])})
    assert found["group"].tolist() == ["lobar", "thalamus"]
    assert found["dice_median"].tolist() == pytest.approx([0.85, 0.5])
    assert found["bias_ml"].iloc[0] == pytest.approx(0.0)
    assert np.isnan(found["bias_ml"].iloc[1]), "one patient has no limits of agreement"
    assert agreement_by_group(table.iloc[:0], {}).columns[:3].tolist() == ["by", "group", "n"]


def test_the_bland_altman_table_repeats_bias_and_limits_and_is_empty_without_two_patients():
    agreement = pd.DataFrame({"reference_ml": [10.0, 20.0], "predicted_ml": [12.0, 20.0]})
    table = bland_altman_table(agreement)
    assert table["bias"].tolist() == [1.0, 1.0]
    assert (table["bias_low"] < table["bias"]).all()
    assert len(bland_altman_table(agreement.iloc[:1])) == 0


def test_an_edge_that_is_misplaced_alike_everywhere_is_bias_at_every_volume():
    roots = np.arange(1.0, 13.0)
    table = bland_altman_table(pd.DataFrame({"reference_ml": roots**3, "predicted_ml": (roots - 0.2) ** 3}))
    for name in ("line", "line_low", "line_high"):
        assert table[name].to_numpy() == pytest.approx((roots - 0.2) ** 3 - roots**3, rel=1e-3)


def test_limits_of_small_hematomas_are_smaller_than_these_and_one_may_be_missed():
    rng = np.random.default_rng(1)
    reference = rng.lognormal(2.3, 1.1, 400)
    predicted = (np.cbrt(reference) + rng.normal(-0.05, 0.1, 400)) ** 3
    table = bland_altman_table(pd.DataFrame({"reference_ml": reference, "predicted_ml": predicted}))
    difference = predicted - reference
    inside = (difference > table["line_low"]) & (difference < table["line_high"])
    for third in volume_thirds(table["reference_ml"]).cat.categories:
        assert 0.9 < inside[volume_thirds(table["reference_ml"]).eq(third)].mean() < 1
    at = table[["line_low", "line_high"]].abs().max(axis=1)
    assert at[reference < 2].max() < 1.5 < 3 < table["high"].iloc[0], "limits of one width exceed a small hematoma"
    assert bland_altman_table(table.iloc[:9])["line"].isna().all(), "too few patients"
    missed = bland_altman_table(table.assign(predicted_ml=predicted * (np.arange(400) > 0)))
    assert np.isfinite(missed[["line", "line_low", "line_high"]]).all(axis=None)


def test_thirds_of_the_volume_need_six_patients():
    assert volume_thirds(pd.Series(np.arange(6.0))).tolist() == ["small"] * 2 + ["middle"] * 2 + ["large"] * 2
    assert volume_thirds(pd.Series(np.arange(5.0))).isna().all()
