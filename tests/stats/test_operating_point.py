import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from hepred_lib.stats.operating_point import (
    RATES,
    combination_interval,
    compare_calls,
    confusion,
    confusion_from_counts,
    exact_interval,
    likelihood_ratios,
    mcnemar_exact,
    wilson_interval,
    youden_threshold,
)


def sample(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    return y, np.round(1 / (1 + np.exp(1 - y - rng.normal(size=n))), 2)


def test_youden_threshold_is_halfway_to_the_next_value():
    assert youden_threshold([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9]) == pytest.approx(0.3)


def test_among_equal_indexes_the_most_sensitive_threshold_wins():
    assert youden_threshold([0, 1, 0, 1], [0.1, 0.3, 0.5, 0.7]) == pytest.approx(0.2)


def test_a_value_at_the_threshold_is_positive():
    table = confusion([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9], 0.5)
    assert (table.tp, table.fp, table.fn, table.tn) == (2, 1, 0, 1)


def test_rates_by_hand():
    table = confusion_from_counts(tp=16, fp=15, fn=5, tn=71)
    found = [getattr(table, name) for name in RATES]
    assert found == pytest.approx([87 / 107, 16 / 21, 71 / 86, 16 / 31, 71 / 76])


def test_order_of_patients_does_not_matter():
    y, p = sample()
    order = np.random.default_rng(1).permutation(y.size)
    assert youden_threshold(y[order], p[order]) == youden_threshold(y, p)


def test_the_youden_point_of_the_reversed_score_mirrors_that_of_the_score():
    y, p = sample()
    forward, mirrored = confusion(y, p, youden_threshold(y, p)), confusion(1 - y, -p, youden_threshold(1 - y, -p))
    assert forward.sensitivity + forward.specificity == pytest.approx(mirrored.sensitivity + mirrored.specificity)


def test_a_useless_score_calls_everybody_positive():
    assert youden_threshold([0, 1, 1], [0.4, 0.4, 0.4]) == 0.4


def test_two_neighbouring_floats_are_still_told_apart():
    lower, upper = 0.5, np.nextafter(0.5, 1)
    assert confusion([0, 1], [lower, upper], youden_threshold([0, 1], [lower, upper])).accuracy == 1.0


def test_a_rate_without_patients_is_nan_with_a_nan_interval():
    table = confusion([0, 1], [0.2, 0.3], np.inf)
    assert np.isnan([table.ppv, table.ppv_low, table.ppv_high]).all()
    assert table.npv == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_youden_threshold_equals_trying_every_threshold(seed):
    y, p = sample(seed=seed)

    def index(threshold):
        table = confusion(y, p, threshold)
        return round(table.sensitivity + table.specificity, 12), table.sensitivity

    assert index(youden_threshold(y, p)) == max(index(value) for value in np.unique(p))


@pytest.mark.parametrize(
    ("name", "k", "n"),
    [("sensitivity", 17, 21), ("specificity", 55, 86), ("accuracy", 72, 107), ("zero", 0, 21), ("all", 21, 21)],
)
def test_exact_interval_equals_r(reference, name, k, n):
    assert exact_interval(k, n) == pytest.approx(reference("counts.json")[name], abs=1e-12)


def test_youden_point_equals_proc(reference):
    table, figures = reference("roc.csv"), reference("roc.json")
    ((name, expected),) = ((key[7:], value) for key, value in figures.items() if key.startswith("youden_"))
    threshold = youden_threshold(table["y"], table[name])
    found = confusion(table["y"], table[name], threshold)
    assert threshold == pytest.approx(expected["threshold"], abs=1e-12)
    assert (found.sensitivity, found.specificity) == pytest.approx((expected["sensitivity"], expected["specificity"]))


R = Path(__file__).resolve().parents[1] / "data" / "r"


def test_wilson_equals_prop_test():
    expected = json.loads((R / "counts.json").read_text())["wilson"]
    assert np.array(wilson_interval([17], 21)).ravel() == pytest.approx(expected, abs=1e-12)


def test_wilsons_interval_by_hand():
    # 5 of 10: centre 1/2, reach z / sqrt(n + z^2) / 2.
    low, high = wilson_interval([5], 10)
    z = 1.959963984540054
    assert (low[0], high[0]) == pytest.approx((0.5 - z / np.sqrt(10 + z**2) / 2, 0.5 + z / np.sqrt(10 + z**2) / 2))


def test_wilsons_limits_solve_the_score_equation():
    low, high = wilson_interval([3], 40)
    for limit in (low[0], high[0]):
        assert abs(3 / 40 - limit) / np.sqrt(limit * (1 - limit) / 40) == pytest.approx(1.959963984540054)


def test_nobody_and_everybody_reach_the_ends():
    low, high = wilson_interval([0, 9], 9)
    assert (low[0], high[1]) == (0.0, 1.0)
    assert 0 < low[1] < high[1]


def test_one_cell_is_wilsons_interval_times_its_coefficient():
    estimate, low, high = combination_interval([[7]], [[-2.0]], 30)
    below, above = wilson_interval([7], 30)
    assert (estimate[0], low[0], high[0]) == pytest.approx((-14 / 30, -2 * above[0], -2 * below[0]))


def test_two_cells_that_hold_everybody_are_one_proportion():
    _, low, high = combination_interval([[8], [2]], [[1.0], [-1.0]], 10)
    below, above = wilson_interval([8], 10)
    assert (low[0], high[0]) == pytest.approx((2 * below[0] - 1, 2 * above[0] - 1))


def test_in_large_samples_it_is_the_multinomials_standard_error():
    q, c, n = np.array([0.15, 0.2]), np.array([1.0, -0.25]), 1_000_000
    _, low, high = combination_interval((q * n)[:, None], c[:, None], n)
    variance = (np.sum(c**2 * q) - np.sum(c * q) ** 2) / n
    assert (high - low)[0] == pytest.approx(2 * 1.959963984540054 * np.sqrt(variance), rel=1e-3)


def test_settings_do_not_touch_each_other():
    together = combination_interval([[3, 8], [2, 1]], [[1, 1], [-1, -0.5]], 20)
    alone = combination_interval([[8], [1]], [[1], [-0.5]], 20)
    assert [part[1] for part in together] == pytest.approx([part[0] for part in alone])


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


def test_three_disagreements_on_one_side_have_p_one_quarter():
    assert mcnemar_exact([1, 1, 0, 0, 0], [1, 1, 1, 1, 1]) == 0.25


def test_mcnemar_is_symmetric_and_reads_booleans():
    a, b = np.array([True, True, True, False, True]), np.array([False, False, True, True, False])
    assert mcnemar_exact(a, b) == mcnemar_exact(b.astype(int), a.astype(int)) == 0.625


def test_rules_that_never_disagree_have_p_one():
    assert mcnemar_exact([0, 1], [0, 1]) == 1.0


def test_mcnemar_equals_r(reference):
    a, b = np.arange(86) < 55, np.arange(86) < 71
    assert mcnemar_exact(a, b) == pytest.approx(reference("counts.json")["mcnemar_exact_55_71"], rel=1e-10)


REFUSED = {
    "no threshold": (lambda: confusion([0, 1], [0.1, 0.2], np.nan), "threshold must be a number, got nan"),
    "more successes than trials": (lambda: exact_interval(4, 3), "trials must be a whole number >= 4, got 3"),
    "a negative count": (lambda: confusion_from_counts(tp=-1, fp=0, fn=0, tn=0), "tp must be a whole number >= 0"),
    "a proportion below 0": (lambda: wilson_interval([-1], 5), "counts must lie"),
    "a proportion above 1": (lambda: wilson_interval([6], 5), "counts must lie"),
    "no patients": (lambda: wilson_interval([0], 0), "n must be"),
    "a missing count": (lambda: wilson_interval([np.nan], 5), "counts must lie"),
    "cells that overlap": (lambda: combination_interval([[6], [6]], [[1], [1]], 10), "exclusive"),
    "coefficients that do not fit": (lambda: combination_interval([[1]], [[1, 2]], 10), "one for each count"),
    "a coefficient that is none": (lambda: combination_interval([[1]], [[np.nan]], 10), "finite"),
    "a negative cell": (lambda: likelihood_ratios(tp=-1, fp=1, fn=1, tn=1), "must be a whole number"),
    "half a patient": (lambda: likelihood_ratios(tp=1.5, fp=1, fn=1, tn=1), "must be a whole number"),
    "no events": (lambda: likelihood_ratios(tp=0, fp=1, fn=0, tn=1), "must be a whole number"),
    "no others": (lambda: likelihood_ratios(tp=1, fp=0, fn=1, tn=0), "must be a whole number"),
    "a call of 2": (lambda: compare_calls([0, 1], [0, 1], [0, 2]), "called_b must be one-dimensional and hold 0 and 1"),
    "a call in words": (lambda: compare_calls([0, 1], [0, 1], ["a", "b"]), "called_b must be one-dimensional and hold"),
    "a missing call": (lambda: compare_calls([0, 1], [0, 1], [0, np.nan]), "called_b must be one-dimensional and hold"),
    "a rule right twice": (lambda: mcnemar_exact([0, 1], [0, 2]), "b must be one-dimensional and hold 0 and 1 only"),
    "rules on different patients": (lambda: mcnemar_exact([0, 1], [0, 1, 1]), "a and b must have one length"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
