import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from hepred_lib.stats.discrimination import (
    auc,
    auc_interval,
    binormal_separation,
    bootstrap_auc_difference,
    bootstrap_auc_interval,
    clustered_auc_interval,
    combination_correlation,
    compare_auc,
    compare_aucs,
    compare_unpaired,
    delong_power,
    implied_correlation,
    resampled_aucs,
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


R = Path(__file__).resolve().parents[1] / "data" / "r"


def auc_tests_sample(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    a = y + rng.normal(size=n)
    return y, {"a": a, "b": a + rng.normal(size=n), "c": rng.normal(size=n)}


def test_two_curves_give_the_square_of_delongs_z():
    y, scores = auc_tests_sample()
    found = compare_aucs(y, {"a": scores["a"], "b": scores["b"]})
    pair = compare_auc(y, scores["a"], scores["b"])
    assert (found.statistic, found.df, found.p) == pytest.approx((pair.z**2, 1, pair.p))


def test_the_order_of_three_curves_does_not_matter():
    y, scores = auc_tests_sample()
    turned = compare_aucs(y, {name: scores[name] for name in "cab"})
    assert (turned.statistic, turned.df) == pytest.approx((compare_aucs(y, scores).statistic, 2))


def test_a_copy_adds_no_degree_of_freedom():
    y, scores = auc_tests_sample()
    twice = compare_aucs(y, {"a": scores["a"], "again": 2 * scores["a"], "b": scores["b"]})
    assert (twice.statistic, twice.df) == pytest.approx((compare_auc(y, scores["a"], scores["b"]).z ** 2, 1))


def test_identical_curves_have_p_one():
    y, scores = auc_tests_sample()
    found = compare_aucs(y, {"a": scores["a"], "b": scores["a"], "c": scores["a"]})
    assert (found.statistic, found.df, found.p) == (0.0, 0, 1.0)


@pytest.mark.parametrize("y", [[0, 0, 1, 1], [0, 0, 0, 1]])
def test_without_variance_there_is_no_test(y):
    found = compare_aucs(y, {"perfect": [1, 2, 3, 4], "constant": [1, 1, 1, 1]})
    assert np.isnan(found.p)


def test_equal_aucs_are_rejected_five_times_in_a_hundred():
    rng, rejected = np.random.default_rng(1), 0
    y = np.repeat([1, 0], [60, 140])
    for _ in range(400):
        shared = y + rng.normal(size=200)
        rejected += compare_aucs(y, {k: shared + rng.normal(size=200) for k in "abc"}).p < 0.05
    assert 0.02 < rejected / 400 < 0.09


def test_one_score_is_refused():
    with pytest.raises(ValueError, match="at least two scores"):
        compare_aucs([0, 1], {"a": [0, 1]})


def test_the_score_at_fault_is_named_auc_tests():
    with pytest.raises(ValueError, match="b must be finite"):
        compare_aucs([0, 1], {"a": [0, 1], "b": [0, np.nan]})


def test_the_covariance_equals_proc(reference):
    table, expected = reference("roc.csv"), reference("roc.json")
    names = list(expected["auc"])
    covariance = compare_aucs(table["y"], {name: table[name] for name in names}).covariance
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert covariance[i, j] == pytest.approx(expected["delong"][f"{names[i]}-{names[j]}"]["covariance"], abs=1e-12)
    variances = [expected["auc"][name]["variance"] for name in names]
    assert np.diag(covariance) == pytest.approx(variances, abs=1e-12)


def test_unpaired_by_hand():
    (y, a), (z, b) = ((auc_tests_sample(seed=s)[0], auc_tests_sample(seed=s)[1]["a"]) for s in (0, 1))
    found = compare_unpaired((y, a), (z, b))
    error = np.hypot(auc_interval(y, a).standard_error, auc_interval(z, b).standard_error)
    assert (found.difference, found.z) == pytest.approx((auc(y, a) - auc(z, b), (auc(y, a) - auc(z, b)) / error))
    assert found.high - found.low == pytest.approx(2 * 1.959963984540054 * error)


def test_unpaired_equals_proc():
    table, expected = pd.read_csv(R / "roc.csv"), json.loads((R / "roc.json").read_text())["unpaired_volume"]
    a, b = (table[table["site"] == site] for site in "AB")
    found = compare_unpaired((a["y"], a["volume"]), (b["y"], b["volume"]))
    assert (found.difference, found.z) == pytest.approx((expected["difference"], expected["z"]), abs=1e-12)


def test_a_group_without_variance_gives_the_difference_alone():
    y, scores = auc_tests_sample()
    found = compare_unpaired((y, scores["a"]), ([0, 0, 1, 1], [1, 2, 3, 4]))
    assert np.isfinite(found.difference)
    assert np.isnan(astuple(found)[1:]).all()


def rng(seed=0):
    return np.random.default_rng(seed)


def bootstrap_sample(n=107, events=21, seed=0, decimals=1):
    draw = rng(seed)
    y = draw.permutation(np.repeat([1, 0], [events, n - events]))
    a = np.round(y + draw.normal(size=n), decimals)
    return y, a, np.round(0.5 * a + draw.normal(size=n), decimals)


def test_each_resample_is_the_auc_of_the_patients_drawn():
    y, a, b = bootstrap_sample(40, 10)
    found = resampled_aucs(y, [a, b], n_resamples=5, rng=rng(3))
    positive, negative, draw = np.flatnonzero(y == 1), np.flatnonzero(y == 0), rng(3)
    events, others = (part[draw.integers(0, part.size, size=(5, part.size))] for part in (positive, negative))
    rows = np.hstack([events, others])
    expected = [[auc(y[index], score[index]) for index in rows] for score in (a, b)]
    assert found == pytest.approx(np.array(expected), abs=1e-12)


def test_blocks_do_not_change_the_shape():
    y, a, _ = bootstrap_sample(2000, 300)
    assert resampled_aucs(y, [a], n_resamples=600, rng=rng()).shape == (1, 600)


def test_its_standard_error_is_near_delongs():
    y, a, _ = bootstrap_sample(600, 150)
    found = bootstrap_auc_interval(y, a, n_resamples=2000, rng=rng())
    assert found.auc == auc(y, a)
    assert found.standard_error == pytest.approx(auc_interval(y, a).standard_error, rel=0.06)


def test_the_difference_agrees_with_delong():
    y, a, b = bootstrap_sample(600, 150)
    found, delong = bootstrap_auc_difference(y, a, b, n_resamples=2000, rng=rng()), compare_auc(y, a, b)
    assert astuple(found)[:3] == pytest.approx(astuple(delong)[:3], abs=0.01)
    assert found.z == pytest.approx(delong.z, rel=0.08)


def test_scores_that_order_alike_differ_by_nothing():
    y, a, _ = bootstrap_sample()
    assert astuple(bootstrap_auc_difference(y, a, 2 * a, n_resamples=50, rng=rng())) == (0, 0, 0, 0, 1)


def test_p_is_never_zero():
    y, a, _ = bootstrap_sample(200, 60)
    assert bootstrap_auc_difference(y, a + 9 * y, -a, n_resamples=99, rng=rng()).p == pytest.approx(0.02)


@pytest.mark.parametrize("score", [[1, 2, 3, 4], [1, 1, 1, 1]])
def test_without_variance_there_is_no_interval_bootstrap(score):
    assert np.isnan(astuple(bootstrap_auc_interval([0, 0, 1, 1], score, n_resamples=9, rng=rng()))[1:]).all()


def test_a_perfect_against_a_constant_score_has_no_p():
    result = bootstrap_auc_difference([0, 0, 1, 1], [1, 2, 3, 4], [1, 1, 1, 1], n_resamples=9, rng=rng())
    assert result.difference == 0.5
    assert np.isnan(result.p)


def test_one_resample_is_refused():
    with pytest.raises(ValueError, match="n_resamples must be a whole number >= 2"):
        bootstrap_auc_interval([0, 1, 1], [1, 2, 1], n_resamples=1, rng=rng())


def power(aucs, correlation, *, seed=0, n_positive=21, n_negative=86, n_simulations=4000):
    rng = np.random.default_rng(seed)
    sizes = {"n_positive": n_positive, "n_negative": n_negative, "n_simulations": n_simulations}
    return delong_power(aucs, correlation, **sizes, rng=rng)


def test_separation_gives_the_auc_back():
    rng = np.random.default_rng(0)
    assert np.mean(rng.normal(binormal_separation(0.8), 1, 200_000) > rng.normal(size=200_000)) == pytest.approx(
        0.8, abs=0.005
    )


def test_the_published_aucs_imply_that_the_scores_share_information():
    assert implied_correlation(0.76, 0.81, 0.83) == pytest.approx(0.42, abs=0.005)


def test_independent_scores_add_their_squared_separations():
    combined = norm.cdf(np.hypot(binormal_separation(0.7), binormal_separation(0.8)) / np.sqrt(2))
    assert implied_correlation(0.7, 0.8, combined) == pytest.approx(0, abs=1e-12)


def test_a_combination_worse_than_its_part_is_refused():
    with pytest.raises(ValueError, match=r"auc_part must lie between 0.5 and auc_combined 0.8, got 0.81"):
        implied_correlation(0.76, 0.81, 0.8)


def test_correlations_equal_those_of_the_best_combination_written_out():
    rho, means = 0.3, np.array([binormal_separation(0.7), binormal_separation(0.8)])
    covariance = np.array([[1, rho], [rho, 1]])
    weights = np.linalg.solve(covariance, means)
    separation = np.sqrt(weights @ means)
    combined = norm.cdf(separation / np.sqrt(2))
    assert implied_correlation(0.7, 0.8, combined) == pytest.approx(rho)
    assert combination_correlation(0.7, combined) == pytest.approx((covariance @ weights)[0] / separation)


def test_power_at_the_published_figures():
    found = (
        power((0.76, 0.81), implied_correlation(0.76, 0.81, 0.83)),
        power((0.81, 0.83), combination_correlation(0.81, 0.83)),
        power((0.76, 0.83), combination_correlation(0.76, 0.83)),
    )
    assert found == pytest.approx((0.13, 0.12, 0.37), abs=0.03)


def test_without_a_difference_power_is_the_level_of_the_test():
    assert power((0.8, 0.8), 0.5) == pytest.approx(0.05, abs=0.015)


def test_power_grows_with_patients():
    assert power((0.76, 0.83), 0.7, n_positive=100, n_negative=400, n_simulations=500) > 0.9


def test_power_needs_two_patients_a_class():
    with pytest.raises(ValueError, match="n_positive must be a whole number >= 2, got 1"):
        power((0.7, 0.8), 0.5, n_positive=1)


def test_power_equals_a_loop_over_the_paired_test():
    rng, y = np.random.default_rng(8), np.repeat([1, 0], [15, 40])
    d_a, d_b = binormal_separation(0.65), binormal_separation(0.85)
    significant = []
    for _ in range(600):
        a, b = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], y.size).T
        significant.append(compare_auc(y, a + d_a * y, b + d_b * y).p < 0.05)
    assert power((0.65, 0.85), 0.5, n_positive=15, n_negative=40) == pytest.approx(np.mean(significant), abs=0.06)
