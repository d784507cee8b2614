import numpy as np
import pytest
from scipy.stats import norm

from hepred_lib.stats.discrimination import (
    binormal_separation,
    combination_correlation,
    compare_auc,
    delong_power,
    implied_correlation,
    likelihood_ratio_p,
    mcnemar_exact,
)


def power(aucs, correlation, *, seed=0, n_positive=21, n_negative=86, n_simulations=4000):
    rng = np.random.default_rng(seed)
    sizes = {"n_positive": n_positive, "n_negative": n_negative, "n_simulations": n_simulations}
    return delong_power(aucs, correlation, **sizes, rng=rng)


def test_three_disagreements_on_one_side_have_p_one_quarter():
    assert mcnemar_exact([1, 1, 0, 0, 0], [1, 1, 1, 1, 1]) == 0.25


def test_mcnemar_is_symmetric_and_reads_booleans():
    a, b = np.array([True, True, True, False, True]), np.array([False, False, True, True, False])
    assert mcnemar_exact(a, b) == mcnemar_exact(b.astype(int), a.astype(int)) == 0.625


def test_rules_that_never_disagree_have_p_one():
    assert mcnemar_exact([0, 1], [0, 1]) == 1.0


def test_calls_that_are_no_calls_are_refused():
    with pytest.raises(ValueError, match="b must be one-dimensional and hold 0 and 1 only"):
        mcnemar_exact([0, 1], [0, 2])


def test_calls_on_different_patients_are_refused():
    with pytest.raises(ValueError, match="a and b must have one length"):
        mcnemar_exact([0, 1], [0, 1, 1])


def test_mcnemar_equals_r(reference):
    a, b = np.arange(86) < 55, np.arange(86) < 71
    assert mcnemar_exact(a, b) == pytest.approx(reference("counts.json")["mcnemar_exact_55_71"], rel=1e-10)


def test_likelihood_ratio_equals_r(reference):
    assert likelihood_ratio_p(-44.9, -40.1) == pytest.approx(reference("counts.json")["lr_test"], abs=1e-12)


def test_equal_fits_have_p_one():
    assert likelihood_ratio_p(-10.0, -10.0, 3) == 1.0


def test_a_larger_model_that_fits_worse_is_refused():
    with pytest.raises(ValueError, match="log_likelihood_large must be at least log_likelihood_small"):
        likelihood_ratio_p(-10.0, -11.0)


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
