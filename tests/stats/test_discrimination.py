from dataclasses import astuple

import numpy as np
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
    delong_power,
    implied_correlation,
    placements,
    resampled_aucs,
    roc_band,
    roc_points,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def drawn(n=50, seed=0):
    return {"n_resamples": n, "rng": rng(seed)}


def sample(n=200, seed=0, decimals=1):
    """Outcome, two correlated scores with many ties, and noise."""
    draw = rng(seed)
    y = (draw.random(n) < 0.3).astype(int)
    a = np.round(y + draw.normal(size=n), decimals)
    return y, a, np.round(a + draw.normal(size=n), decimals), draw.normal(size=n)


def wins(y, score):
    """Every pair of a positive and a negative: 1 won, 0.5 tied, 0 lost."""
    positive, negative = score[y == 1][:, None], score[y == 0][None, :]
    return (positive > negative) + 0.5 * (positive == negative)


def power(aucs, correlation, *, n_positive=21, n_negative=86, n_simulations=4000):
    sizes = {"n_positive": n_positive, "n_negative": n_negative, "n_simulations": n_simulations}
    return delong_power(aucs, correlation, **sizes, rng=rng())


def test_roc_starts_with_nobody_positive_and_ends_with_everybody():
    roc = roc_points([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
    assert roc.threshold.tolist() == [np.inf, 0.8, 0.4, 0.1]
    assert roc.true_positive_rate.tolist() == [0, 0.5, 1, 1]
    assert roc.false_positive_rate.tolist() == [0, 0, 0.5, 1]


def test_scores_that_order_alike_differ_by_nothing_with_p_one():
    y, score, *_ = sample()
    assert astuple(compare_auc(y, score, 2 * score + 1)) == (0, 0, 0, 0, 1)
    assert astuple(bootstrap_auc_difference(y, score, 2 * score, **drawn())) == (0, 0, 0, 0, 1)
    found = compare_aucs(y, dict.fromkeys("abc", score))
    assert (found.statistic, found.df, found.p) == (0.0, 0, 1.0)


@pytest.mark.parametrize(
    ("y", "score"),
    [([0, 0, 1, 1], [1, 2, 3, 4]), ([0, 0, 1, 1], [1] * 4), ([0, 0, 0, 1], [1, 3, 2, 2]), ([1, 1, 1, 0], [1, 3, 2, 2])],
)
def test_without_variance_there_is_an_auc_and_no_interval(y, score):
    methods = (
        auc_interval(y, score),
        auc_interval(y, score, method="logit"),
        bootstrap_auc_interval(y, score, **drawn(9)),
    )
    for found in methods:
        assert np.isfinite(found.auc)
        assert np.isnan(astuple(found)[1:]).all()


def test_equal_aucs_of_scores_that_order_the_negatives_otherwise_have_an_interval():
    found = compare_auc([0, 0, 1, 1], [1, 3, 2, 4], [3, 1, 2, 4])
    assert (found.difference, found.p) == (0, 1)
    assert found.low == -found.high < 0


def test_a_perfect_against_a_constant_score_has_a_difference_and_no_p():
    perfect, constant = [1, 2, 3, 4], [1, 1, 1, 1]
    for compare, how in ((compare_auc, {}), (bootstrap_auc_difference, drawn(9))):
        found = compare([0, 0, 1, 1], perfect, constant, **how)
        assert found.difference == 0.5
        assert np.isnan(astuple(found)[1:]).all()
    for y in ([0, 0, 1, 1], [0, 0, 0, 1]):
        assert np.isnan(compare_aucs(y, {"perfect": perfect, "constant": constant}).p)


def test_wald_interval_is_clipped_and_logit_interval_stays_inside():
    y, score = [0] * 9 + [1] * 3, [1, 2, 3, 4, 5, 6, 7, 8, 10, 9, 11, 12]
    assert auc_interval(y, score).high == 1.0
    assert auc_interval(y, score, method="logit").high < 1.0


def test_auc_and_delong_test_equal_the_sum_over_all_pairs_and_turn_with_the_scores():
    y, a, b, _ = sample(60)
    gain = wins(y, a) - wins(y, b)
    variance = gain.mean(axis=1).var(ddof=1) / len(gain) + gain.mean(axis=0).var(ddof=1) / len(gain.T)
    found, turned = compare_auc(y, a, b), compare_auc(y, b, a)
    assert auc(y, a) == pytest.approx(wins(y, a).mean(), abs=1e-14)
    for axis, shares in zip((1, 0), placements(a[y == 1], a[y == 0]), strict=True):
        assert shares == pytest.approx(wins(y, a).mean(axis=axis))
    assert found.z == pytest.approx(gain.mean() / np.sqrt(variance), rel=1e-10)
    assert (found.difference, found.low, found.p) == pytest.approx((-turned.difference, -turned.high, turned.p))


def test_of_several_curves_two_give_the_square_of_delongs_z_and_a_copy_adds_no_degree_of_freedom():
    y, a, b, c = sample()
    pair = compare_auc(y, a, b)
    for scores in ({"a": a, "b": b}, {"a": a, "again": 2 * a, "b": b}):
        found = compare_aucs(y, scores)
        assert (found.statistic, found.df, found.p) == pytest.approx((pair.z**2, 1, pair.p))
    few = [0, 0, 0, 1, 1], [1, 3, 2, 2.5, 4], [3, 1, 2, 1.5, 4]
    assert compare_aucs(few[0], dict(zip("ab", few[1:], strict=True))).p == pytest.approx(compare_auc(*few).p)
    found, turned = compare_aucs(y, {"a": a, "b": b, "c": c}), compare_aucs(y, {"c": c, "b": b, "a": a})
    assert (turned.statistic, turned.df) == pytest.approx((found.statistic, 2))


def test_auc_variance_and_interval_equal_proc(reference):
    table, figures = reference("roc.csv"), reference("roc.json")["auc"]
    for name, expected in figures.items():
        result = auc_interval(table["y"], table[name])
        found = (result.auc, result.low, result.high, result.standard_error**2)
        assert found == pytest.approx([expected[key] for key in ("auc", "low", "high", "variance")], abs=1e-12), name


def test_delong_test_and_covariance_equal_proc(reference):
    table, figures = reference("roc.csv"), reference("roc.json")
    names = list(figures["auc"])
    covariance = compare_aucs(table["y"], {name: table[name] for name in names}).covariance
    for pair, expected in figures["delong"].items():
        result = compare_auc(table["y"], *(table[name] for name in pair.split("-")))
        found = (result.z, result.p, result.low, result.high)
        assert found == pytest.approx([expected[key] for key in ("z", "p", "low", "high")], abs=1e-10), pair
        i, j = map(names.index, pair.split("-"))
        assert covariance[i, j] == pytest.approx(expected["covariance"], abs=1e-12)
    assert np.diag(covariance) == pytest.approx([figures["auc"][name]["variance"] for name in names], abs=1e-12)


def test_roc_band_equals_resampling_patients_one_by_one():
    y, score, *_ = sample(150)
    draw, grid, curves = rng(5), np.array([0.1, 0.3, 0.6]), []
    for _ in range(1500):
        both = np.r_[draw.choice(score[y == 1], (y == 1).sum()), draw.choice(score[y == 0], (y == 0).sum())]
        roc = roc_points(np.sort(y)[::-1], both)
        curves.append(np.interp(grid, roc.false_positive_rate, roc.true_positive_rate))
    band = roc_band(y, score, grid, **drawn(1500, 6))
    np.testing.assert_allclose(band[["low", "high"]].T, np.quantile(curves, (0.025, 0.975), axis=0), atol=0.03)


def clustered_sample(n_clusters=30, size=20):
    draw = rng()
    cluster = np.repeat([f"HE-{k}" for k in range(n_clusters)], size)
    y = (draw.random(cluster.size) < 0.3).astype(int)
    return y, np.round(y + np.repeat(draw.normal(size=n_clusters), size) + draw.normal(size=y.size), 1), cluster


def test_clustered_interval_equals_resampling_whole_patients_one_by_one_and_perfect_detection_has_none():
    y, score, cluster = clustered_sample(n_clusters=12)
    draw, rows = rng(1), [np.flatnonzero(cluster == name) for name in np.unique(cluster)]
    picked = [np.concatenate([rows[k] for k in draw.integers(0, 12, 12)]) for _ in range(1500)]
    expected = np.std([auc(y[index], score[index]) for index in picked], ddof=1)
    found = clustered_auc_interval(y, score, cluster, **drawn(1500, 2))
    assert (found.auc, found.standard_error) == (pytest.approx(auc(y, score)), pytest.approx(expected, rel=0.08))
    assert astuple(clustered_auc_interval(y, y, cluster, **drawn())) == pytest.approx((1.0, *[np.nan] * 3), nan_ok=True)


def test_each_resample_is_the_auc_of_the_patients_drawn():
    y, a, b, _ = sample(40)
    positive, negative, draw = np.flatnonzero(y == 1), np.flatnonzero(y == 0), rng(3)
    rows = np.hstack([part[draw.integers(0, part.size, size=(5, part.size))] for part in (positive, negative)])
    expected = np.array([[auc(y[index], score[index]) for index in rows] for score in (a, b)])
    assert resampled_aucs(y, [a, b], **drawn(5, 3)) == pytest.approx(expected, abs=1e-12)
    found, difference = bootstrap_auc_interval(y, a, **drawn(99)), bootstrap_auc_difference(y, a, b, **drawn(99))
    one, other = resampled_aucs(y, [a, b], **drawn(99))
    assert found.standard_error == pytest.approx(np.std(one, ddof=1))
    assert difference.z == pytest.approx((auc(y, a) - auc(y, b)) / np.std(one - other, ddof=1))
    assert bootstrap_auc_difference(y, a + 9 * y, -a, **drawn(99)).p == pytest.approx(0.02), "never 0"


def test_correlations_equal_those_of_the_best_combination_written_out():
    rho, means = 0.3, np.array([binormal_separation(0.7), binormal_separation(0.8)])
    covariance = np.array([[1, rho], [rho, 1]])
    weights = np.linalg.solve(covariance, means)
    separation = np.sqrt(weights @ means)
    combined = norm.cdf(separation / np.sqrt(2))
    assert implied_correlation(0.7, 0.8, combined) == pytest.approx(rho)
    assert implied_correlation(0.76, 0.81, 0.83) == pytest.approx(0.42, abs=0.005), "of the published AUCs"
    assert combination_correlation(0.7, combined) == pytest.approx((covariance @ weights)[0] / separation)


def test_power_at_the_published_figures():
    found = (
        power((0.76, 0.81), implied_correlation(0.76, 0.81, 0.83)),
        power((0.81, 0.83), combination_correlation(0.81, 0.83)),
        power((0.76, 0.83), combination_correlation(0.76, 0.83)),
    )
    assert found == pytest.approx((0.13, 0.12, 0.37), abs=0.03)


REFUSED = {
    "score_b must be finite, got nan at position 1": lambda: compare_auc([0, 1], [1, 2], [1, np.nan]),
    "method must be 'wald' or 'logit', got 'wilson'": lambda: auc_interval([0, 0, 1], [1, 3, 2], method="wilson"),
    "level must lie between 0 and 1, got 95": lambda: auc_interval([0, 0, 1, 1], [1, 3, 2, 4], 95),
    r"false_positive_rate must lie in \[0, 1\]": lambda: roc_band([0, 1], [0, 1], [2.0], **drawn()),
    "cluster must name a patient for every slice, got none at position 1": lambda: clustered_auc_interval(
        [0, 1], [0, 1], ["HE-1", None], **drawn()
    ),
    "scores must name at least two scores": lambda: compare_aucs([0, 1], {"a": [0, 1]}),
    "b must be finite": lambda: compare_aucs([0, 1], {"a": [0, 1], "b": [0, np.nan]}),
    "n_resamples must be a whole number >= 2": lambda: bootstrap_auc_interval([0, 1, 1], [1, 2, 1], **drawn(1)),
    "auc_part must lie between 0.5 and auc_combined 0.8, got 0.81": lambda: implied_correlation(0.76, 0.81, 0.8),
    "n_positive must be a whole number >= 2, got 1": lambda: power((0.7, 0.8), 0.5, n_positive=1),
}


@pytest.mark.parametrize("message", REFUSED)
def test_unusable_arguments_are_refused(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()
