import numpy as np
import pytest
from scipy.stats import chi2

from hepred_lib.stats.discrimination import mcnemar_exact
from hepred_lib.stats.operating_point import compare_calls, likelihood_ratios


def test_the_papers_integrated_counts():
    found = likelihood_ratios(tp=16, fp=15, fn=5, tn=71)
    assert found.positive == pytest.approx((16 / 21) / (15 / 86))
    assert found.negative == pytest.approx((5 / 21) / (71 / 86))
    assert found.positive_low < found.positive < found.positive_high


def test_the_score_interval_is_near_the_logarithmic_one_in_large_samples():
    found = likelihood_ratios(tp=8000, fp=3000, fn=2000, tn=7000)
    reach = 1.959963984540054 * np.sqrt(1 / 8000 - 1 / 10000 + 1 / 3000 - 1 / 10000)
    assert found.positive_low == pytest.approx(8 / 3 * np.exp(-reach), rel=1e-3)
    assert found.positive_high == pytest.approx(8 / 3 * np.exp(reach), rel=1e-3)


def test_the_limits_solve_the_score_equation_maximized_on_a_grid():
    found = likelihood_ratios(tp=17, fp=31, fn=4, tn=55)
    grid = np.linspace(1e-6, 1 - 1e-6, 400_001)
    for ratio in (found.positive_low, found.positive_high):
        p0 = grid[ratio * grid < 1]
        p1 = ratio * p0
        fit = 17 * np.log(p1) + 4 * np.log1p(-p1) + 31 * np.log(p0) + 55 * np.log1p(-p0)
        p1, p0 = p1[fit.argmax()], p0[fit.argmax()]
        score = (17 - 21 * p1) ** 2 / (21 * p1 * (1 - p1)) + (31 - 86 * p0) ** 2 / (86 * p0 * (1 - p0))
        assert score == pytest.approx(chi2.ppf(0.95, 1), rel=1e-3)


def test_without_false_positives_the_ratio_is_infinite_with_a_finite_lower_limit():
    found = likelihood_ratios(tp=5, fp=0, fn=5, tn=20)
    assert found.positive == found.positive_high == np.inf
    assert 1 < found.positive_low < np.inf


def test_without_true_positives_the_ratio_is_zero_with_a_finite_upper_limit():
    found = likelihood_ratios(tp=0, fp=6, fn=8, tn=20)
    assert found.positive == found.positive_low == 0
    assert 0 < found.positive_high < np.inf


def test_a_call_that_nobody_gets_has_no_ratio():
    found = likelihood_ratios(tp=0, fp=0, fn=3, tn=4)
    assert np.isnan([found.positive, found.positive_low, found.positive_high]).all()
    assert found.negative == 1.0


@pytest.mark.parametrize("counts", [(-1, 1, 1, 1), (0, 1, 0, 1), (1, 0, 1, 0), (1.5, 1, 1, 1)])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(ValueError, match="must be a whole number"):
        likelihood_ratios(**dict(zip(("tp", "fp", "fn", "tn"), counts, strict=True)))


def calls(seed=0, n=107):
    rng = np.random.default_rng(seed)
    y = np.repeat([1, 0], [21, n - 21])
    return y, rng.random(n) < 0.2 + 0.6 * y, rng.random(n) < 0.3 + 0.4 * y


def test_sensitivity_and_specificity_are_tested_in_their_own_patients():
    y, a, b = calls()
    table = compare_calls(y, a, b)
    assert table.loc["sensitivity", ["n", "a", "b"]].tolist() == pytest.approx([21, a[:21].mean(), b[:21].mean()])
    assert table.loc["sensitivity", "p"] == mcnemar_exact(a[:21], b[:21])
    assert table.loc["specificity", "p"] == mcnemar_exact(~a[21:], ~b[21:])


def test_the_papers_specificities_differ():
    y = np.zeros(86, int)
    y = np.r_[y, 1]
    table = compare_calls(y, np.r_[np.arange(86) >= 55, True], np.r_[np.arange(86) >= 71, True])
    assert table.loc["specificity", "p"] == pytest.approx(2**-15)
    assert table.loc["specificity", "difference"] == pytest.approx(-16 / 86)


def test_rules_that_agree_differ_by_nothing_with_an_interval_around_it():
    y, a, _ = calls()
    row = compare_calls(y, a, a).loc["specificity"]
    assert (row["difference"], row["p"]) == (0.0, 1.0)
    assert row["low"] < 0 < row["high"]


def test_swapping_the_rules_turns_the_difference():
    y, a, b = calls()
    forward, backward = compare_calls(y, a, b), compare_calls(y, b, a)
    assert (forward["low"] == -backward["high"]).all()


@pytest.mark.parametrize("called", [[0, 2], ["a", "b"], [0, np.nan]])
def test_calls_that_are_no_calls_are_refused(called):
    with pytest.raises(ValueError, match="called_b must be one-dimensional and hold 0 and 1 only"):
        compare_calls([0, 1], [0, 1], called)
