from dataclasses import astuple

import numpy as np
import pytest

from hepred_lib.stats.discrimination import (
    auc,
    auc_interval,
    clustered_auc_interval,
    compare_auc,
    roc_band,
    roc_points,
)


def sample(n=200, seed=0, decimals=1):
    """Outcome and two correlated scores with many ties."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    score_a = np.round(y + rng.normal(size=n), decimals)
    return y, score_a, np.round(score_a + rng.normal(size=n), decimals)


def wins(y, score):
    """Every pair of a positive and a negative: 1 won, 0.5 tied, 0 lost."""
    positive, negative = score[y == 1][:, None], score[y == 0][None, :]
    return (positive > negative) + 0.5 * (positive == negative)


def test_auc_by_hand():
    assert auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75


def test_a_tie_counts_one_half():
    assert auc([0, 1], [0.3, 0.3]) == 0.5


def test_auc_ignores_any_rising_transformation():
    y, score, _ = sample()
    assert auc(y, np.exp(score)) == auc(y, score)


def test_reversed_scores_give_the_complement():
    y, score, _ = sample()
    assert auc(y, -score) == pytest.approx(1 - auc(y, score), abs=1e-15)


def test_order_of_patients_does_not_matter():
    y, score, _ = sample()
    order = np.random.default_rng(1).permutation(y.size)
    np.testing.assert_allclose(
        astuple(auc_interval(y[order], score[order])), astuple(auc_interval(y, score)), rtol=1e-12
    )


def test_swapping_the_scores_turns_the_difference():
    y, a, b = sample()
    forward, backward = compare_auc(y, a, b), compare_auc(y, b, a)
    assert (forward.difference, forward.low, forward.p) == pytest.approx(
        (-backward.difference, -backward.high, backward.p)
    )


def test_roc_starts_with_nobody_positive_and_ends_with_everybody():
    roc = roc_points([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
    assert roc.threshold.tolist() == [np.inf, 0.8, 0.4, 0.1]
    assert roc.true_positive_rate.tolist() == [0, 0.5, 1, 1]
    assert roc.false_positive_rate.tolist() == [0, 0, 0.5, 1]


def test_area_under_the_roc_points_is_the_auc():
    y, score, _ = sample()
    roc = roc_points(y, score)
    assert np.trapezoid(roc.true_positive_rate, roc.false_positive_rate) == pytest.approx(auc(y, score), abs=1e-14)


def test_identical_scores_differ_by_nothing_with_p_one():
    y, score, _ = sample()
    assert astuple(compare_auc(y, score, 2 * score + 1)) == (0, 0, 0, 0, 1)


@pytest.mark.parametrize("method", ["wald", "logit"])
@pytest.mark.parametrize("score", [[1, 2, 3, 4], [4, 3, 2, 1], [1, 1, 1, 1]])
def test_without_variance_there_is_no_interval(score, method):
    assert np.isnan(astuple(auc_interval([0, 0, 1, 1], score, method=method))[1:]).all()


@pytest.mark.parametrize("y", [[0, 0, 0, 1], [1, 1, 1, 0]])
def test_with_one_patient_in_a_class_there_is_no_interval(y):
    result = auc_interval(y, [1, 3, 2, 2])
    assert np.isfinite(result.auc)
    assert np.isnan([result.low, result.high, result.standard_error]).all()


def test_a_perfect_against_a_constant_score_has_a_difference_and_no_p():
    result = compare_auc([0, 0, 1, 1], [1, 2, 3, 4], [1, 1, 1, 1])
    assert result.difference == 0.5
    assert np.isnan([result.low, result.high, result.z, result.p]).all()


def test_wald_interval_is_clipped_and_logit_interval_stays_inside():
    y, score = [0] * 9 + [1] * 3, [1, 2, 3, 4, 5, 6, 7, 8, 10, 9, 11, 12]
    assert auc_interval(y, score).high == 1.0
    assert auc_interval(y, score, method="logit").high < 1.0


@pytest.mark.parametrize("y", [[1, 2, 1], [0, 0, 0], [0, 1, np.nan], [0, 1]])
def test_an_outcome_that_is_no_outcome_is_refused(y):
    for function in (auc, auc_interval, roc_points):
        with pytest.raises(ValueError, match="y "):
            function(y, [0.1, 0.2, 0.3])


def test_the_score_at_fault_is_named():
    with pytest.raises(ValueError, match="score_b must be finite, got nan at position 1"):
        compare_auc([0, 1], [0.1, 0.2], [0.1, np.nan])


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method must be 'wald' or 'logit', got 'bootstrap'"):
        auc_interval([0, 0, 1, 1], [1, 3, 2, 4], method="bootstrap")


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_that_is_no_level_is_refused(level):
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        auc_interval([0, 0, 1, 1], [1, 3, 2, 4], level)


@pytest.mark.parametrize("seed", range(5))
def test_auc_equals_the_share_of_pairs_won(seed):
    y, score, _ = sample(seed=seed)
    assert auc(y, score) == pytest.approx(wins(y, score).mean(), abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_delong_test_equals_the_sum_over_all_pairs(seed):
    y, a, b = sample(60, seed=seed)
    gain = wins(y, a) - wins(y, b)
    variance = gain.mean(axis=1).var(ddof=1) / len(gain) + gain.mean(axis=0).var(ddof=1) / len(gain.T)
    assert compare_auc(y, a, b).z == pytest.approx(gain.mean() / np.sqrt(variance), rel=1e-10)


def test_auc_variance_and_interval_equal_proc(reference):
    table, figures = reference("roc.csv"), reference("roc.json")["auc"]
    for name, expected in figures.items():
        result = auc_interval(table["y"], table[name])
        found = (result.auc, result.low, result.high, result.standard_error**2)
        assert found == pytest.approx([expected[key] for key in ("auc", "low", "high", "variance")], abs=1e-12), name


def test_delong_test_equals_proc(reference):
    table, figures = reference("roc.csv"), reference("roc.json")["delong"]
    for pair, expected in figures.items():
        result = compare_auc(table["y"], *(table[name] for name in pair.split("-")))
        found = (result.z, result.p, result.low, result.high)
        assert found == pytest.approx([expected[key] for key in ("z", "p", "low", "high")], abs=1e-10), pair


def test_logit_interval_covers_better_than_wald_with_few_events():
    rng = np.random.default_rng(3)
    y, truth = np.repeat([0, 1], [60, 12]), 0.8555778168267576  # Phi(1.5 / sqrt(2))
    covered = {"wald": 0, "logit": 0}
    for _ in range(400):
        score = 1.5 * y + rng.normal(size=y.size)
        for method in covered:
            interval = auc_interval(y, score, method=method)
            covered[method] += interval.low <= truth <= interval.high
    assert covered["logit"] / 400 > 0.92
    assert covered["logit"] > covered["wald"]


def test_roc_band_holds_the_curve_and_narrows_with_patients():
    widths = []
    for n in (100, 2000):
        y, score, _ = sample(n, decimals=6)
        band = roc_band(y, score, [0.1, 0.3, 0.5], n_resamples=300, rng=np.random.default_rng(0))
        assert ((band["low"] <= band["sensitivity"]) & (band["sensitivity"] <= band["high"])).all()
        widths.append((band["high"] - band["low"]).mean())
    assert widths[1] < widths[0] / 3


def test_roc_band_equals_resampling_patients_one_by_one():
    y, score, _ = sample(150)
    rng, grid = np.random.default_rng(5), np.array([0.1, 0.3, 0.6])
    curves = []
    for _ in range(1500):
        drawn = np.r_[rng.choice(score[y == 1], (y == 1).sum()), rng.choice(score[y == 0], (y == 0).sum())]
        roc = roc_points(np.sort(y)[::-1], drawn)
        curves.append(np.interp(grid, roc.false_positive_rate, roc.true_positive_rate))
    band = roc_band(y, score, grid, n_resamples=1500, rng=np.random.default_rng(6))
    np.testing.assert_allclose(band[["low", "high"]].T, np.quantile(curves, (0.025, 0.975), axis=0), atol=0.03)


def test_roc_band_refuses_a_grid_outside_the_unit_interval():
    with pytest.raises(ValueError, match=r"false_positive_rate must lie in \[0, 1\]"):
        roc_band([0, 1], [0, 1], [2.0], n_resamples=10, rng=np.random.default_rng(0))


def clustered_sample(seed=0, n_clusters=30, size=20):
    rng = np.random.default_rng(seed)
    cluster = np.repeat([f"HE-{k}" for k in range(n_clusters)], size)
    y = (rng.random(cluster.size) < 0.3).astype(int)
    return y, np.round(y + np.repeat(rng.normal(size=n_clusters), size) + rng.normal(size=y.size), 1), cluster


def test_clustered_interval_is_around_the_same_auc_and_wider_than_delongs():
    y, score, cluster = clustered_sample()
    shared = score + 2 * np.repeat(np.random.default_rng(9).normal(size=30), 20)
    y = np.repeat(np.arange(30) % 3 == 0, 20).astype(int)
    result = clustered_auc_interval(y, shared, cluster, n_resamples=500, rng=np.random.default_rng(0))
    assert result.auc == pytest.approx(auc(y, shared), abs=1e-14)
    assert result.standard_error > 2 * auc_interval(y, shared).standard_error


def test_clustered_interval_equals_resampling_whole_patients_one_by_one():
    y, score, cluster = clustered_sample(n_clusters=12)
    rng, rows = np.random.default_rng(1), [np.flatnonzero(cluster == name) for name in np.unique(cluster)]
    drawn = [np.concatenate([rows[k] for k in rng.integers(0, 12, 12)]) for _ in range(1500)]
    expected = np.std([auc(y[index], score[index]) for index in drawn], ddof=1)
    result = clustered_auc_interval(y, score, cluster, n_resamples=1500, rng=np.random.default_rng(2))
    assert result.standard_error == pytest.approx(expected, rel=0.08)


def test_perfect_detection_has_no_interval():
    y, _, cluster = clustered_sample()
    result = clustered_auc_interval(y, y, cluster, n_resamples=50, rng=np.random.default_rng(0))
    assert result.auc == 1.0
    assert np.isnan([result.low, result.high, result.standard_error]).all()


def test_a_slice_without_a_patient_is_refused():
    with pytest.raises(ValueError, match="cluster must name a patient for every slice, got none at position 1"):
        clustered_auc_interval([0, 1], [0, 1], ["HE-1", None], n_resamples=10, rng=np.random.default_rng(0))
