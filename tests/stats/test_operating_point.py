import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from hepred_lib.stats.operating_point import (
    RATES,
    choose_threshold,
    combination_interval,
    compare_calls,
    confusion,
    confusion_from_counts,
    exact_interval,
    likelihood_ratios,
    mcnemar_exact,
    threshold_interval,
    wilson_interval,
    youden_threshold,
)


def sample(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    return y, np.round(1 / (1 + np.exp(1 - y - rng.normal(size=n))), 2)


@pytest.mark.parametrize(
    ("y", "p", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9], 0.3),  # halfway to the next value
        ([0, 1, 0, 1], [0.1, 0.3, 0.5, 0.7], 0.2),  # of equal indexes the most sensitive
        ([0, 1, 1], [0.4, 0.4, 0.4], 0.4),  # a useless score: everybody
    ],
)
def test_youden_threshold_by_hand(y, p, expected):
    assert youden_threshold(y, p) == pytest.approx(expected)


def test_rates_by_hand():
    table = confusion_from_counts(tp=16, fp=15, fn=5, tn=71)
    found = [getattr(table, name) for name in RATES]
    assert found == pytest.approx([87 / 107, 16 / 21, 71 / 86, 16 / 31, 71 / 76])


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


def test_wilson_equals_prop_test_and_solves_the_score_equation():
    expected = json.loads((Path(__file__).resolve().parents[1] / "data" / "r" / "counts.json").read_text())["wilson"]
    low, high = wilson_interval([17], 21)
    assert (low[0], high[0]) == pytest.approx(expected, abs=1e-12)
    for limit in (low[0], high[0]):
        assert abs(17 / 21 - limit) / np.sqrt(limit * (1 - limit) / 21) == pytest.approx(1.959963984540054)


def test_wilsons_interval_by_hand():
    # 5 of 10: centre 1/2, reach z / sqrt(n + z^2) / 2; nobody and everybody reach the ends.
    low, high = wilson_interval([5, 0, 10], 10)
    reach = 1.959963984540054 / np.sqrt(10 + 1.959963984540054**2) / 2
    assert (low[0], high[0]) == pytest.approx((0.5 - reach, 0.5 + reach))
    assert (low[1], high[2]) == (0.0, 1.0)
    assert 0 < high[1] < low[2] < 1


def test_two_cells_that_hold_everybody_are_one_proportion_and_one_is_wilsons_times_its_coefficient():
    below, above = (limit[0] for limit in wilson_interval([8], 10))
    _, low, high = combination_interval([[8], [2]], [[1.0], [-1.0]], 10)
    assert (low[0], high[0]) == pytest.approx((2 * below - 1, 2 * above - 1))
    estimate, low, high = combination_interval([[8]], [[-2.0]], 10)
    assert (estimate[0], low[0], high[0]) == pytest.approx((-1.6, -2 * above, -2 * below))


def test_settings_do_not_touch_each_other():
    together = combination_interval([[3, 8], [2, 1]], [[1, 1], [-1, -0.5]], 20)
    alone = combination_interval([[8], [1]], [[1], [-0.5]], 20)
    assert [part[1] for part in together] == pytest.approx([part[0] for part in alone])


def test_the_limits_solve_the_score_equation_maximized_on_a_grid():
    found = likelihood_ratios(tp=17, fp=31, fn=4, tn=55)
    assert (found.positive, found.negative) == pytest.approx(((17 / 21) / (31 / 86), (4 / 21) / (55 / 86)))
    grid = np.linspace(1e-6, 1 - 1e-6, 400_001)
    for ratio in (found.positive_low, found.positive_high):
        p0 = grid[ratio * grid < 1]
        p1 = ratio * p0
        fit = 17 * np.log(p1) + 4 * np.log1p(-p1) + 31 * np.log(p0) + 55 * np.log1p(-p0)
        p1, p0 = p1[fit.argmax()], p0[fit.argmax()]
        score = (17 - 21 * p1) ** 2 / (21 * p1 * (1 - p1)) + (31 - 86 * p0) ** 2 / (86 * p0 * (1 - p0))
        assert score == pytest.approx(chi2.ppf(0.95, 1), rel=1e-3)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"tp": 5, "fp": 0, "fn": 5, "tn": 20}, (np.inf, np.inf)),
        ({"tp": 0, "fp": 6, "fn": 8, "tn": 20}, (0, 0)),
    ],
)
def test_an_empty_cell_leaves_one_limit_finite(counts, expected):
    found = likelihood_ratios(**counts)
    low, high = found.positive_low, found.positive_high
    assert (found.positive, high if expected[0] else low) == expected
    assert 0 < (low if expected[0] else high) < np.inf


def test_a_call_that_nobody_gets_has_no_ratio_and_no_predictive_value():
    found = likelihood_ratios(tp=0, fp=0, fn=3, tn=4)
    assert np.isnan([found.positive, found.positive_low, found.positive_high]).all()
    assert found.negative == 1.0
    table = confusion([0, 1], [0.2, 0.3], np.inf)
    assert np.isnan([table.ppv, table.ppv_low, table.ppv_high]).all()
    assert table.npv == 0.5


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


def test_rules_that_agree_differ_by_nothing_and_swapping_them_turns_the_difference():
    y, a, b = calls()
    row = compare_calls(y, a, a).loc["specificity"]
    assert (row["difference"], row["p"]) == (0.0, 1.0)
    assert row["low"] < 0 < row["high"]
    assert (compare_calls(y, a, b)["low"] == -compare_calls(y, b, a)["high"]).all()


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
        ([1, 1, 0, 0, 0], [1, 1, 1, 1, 1], 0.25),
        ([True, True, True, False, True], [False, False, True, True, False], 0.625),
        ([0, 1], [0, 1], 1.0),
        (np.arange(86) < 55, np.arange(86) < 71, pytest.approx(2**-15)),  # of the paper; R says so too
    ],
)
def test_mcnemar_by_hand_and_symmetric(a, b, p):
    assert mcnemar_exact(a, b) == mcnemar_exact(np.array(b, int), np.array(a, int)) == p


REFUSED = [
    (lambda: confusion([0, 1], [0.1, 0.2], np.nan), "threshold must be a number, got nan"),
    (lambda: exact_interval(4, 3), "trials must be a whole number >= 4, got 3"),
    (lambda: confusion_from_counts(tp=-1, fp=0, fn=0, tn=0), "tp must be a whole number >= 0"),
    *((lambda k=k: wilson_interval([k], 5), "counts must lie between 0 and n = 5") for k in (-1, 6, np.nan)),
    (lambda: wilson_interval([0], 0), "n must be a whole number >= 1"),
    (lambda: combination_interval([[6], [6]], [[1], [1]], 10), "exclusive"),
    (lambda: combination_interval([[1]], [[1, 2]], 10), "one for each count"),
    (lambda: combination_interval([[1]], [[np.nan]], 10), "finite"),
    *(
        (lambda c=c: likelihood_ratios(tp=c[0], fp=c[1], fn=c[2], tn=c[3]), "must be a whole number")
        for c in ((-1, 1, 1, 1), (1.5, 1, 1, 1), (0, 1, 0, 1), (1, 0, 1, 0))
    ),
    *(
        (lambda c=c: compare_calls([0, 1], [0, 1], c), "called_b must be .* 0 and 1")
        for c in ([0, 2], ["a"], [0, None])
    ),
    (lambda: mcnemar_exact([0, 1], [0, 2]), "b must be one-dimensional and hold 0 and 1 only"),
    (lambda: mcnemar_exact([0, 1], [0, 1, 1]), "a and b must have one length"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_is_no_count_call_or_threshold_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_threshold_for_a_sensitivity_is_the_highest_that_reaches_it():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 80), rng.integers(1, 20, 80) / 20
    for wanted in (0.5, 0.8, 1.0):
        found = choose_threshold(y, p, f"sensitivity {wanted}")
        assert (p[y == 1] >= found).mean() >= wanted
        higher = p[p >= found].min() + 1e-9
        assert (p[y == 1] >= higher).mean() < wanted


def test_rules_of_a_threshold():
    y, p = [0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9]
    assert choose_threshold(y, p) == youden_threshold(y, p)
    assert choose_threshold(y, p, "0.15") == 0.15
    for rule in ("best", "sensitivity", "sensitivity 80", "1", "specificity 0.9", "-0.1"):
        with pytest.raises(ValueError, match="threshold_rule must be"):
            choose_threshold(y, p, rule)


def test_a_given_probability_does_not_move_and_youden_does():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 120)
    p = np.clip(0.4 + 0.1 * y + rng.normal(0, 0.15, 120), 0.01, 0.99)
    assert threshold_interval(y, p, "0.2", n_resamples=20, rng=rng) == (0.2, 0.2)
    low, high = threshold_interval(y, p, "youden", n_resamples=100, rng=rng)
    assert low < youden_threshold(y, p) < high


def test_two_neighbouring_floats_are_still_told_apart():
    lower, upper = 0.5, np.nextafter(0.5, 1)
    assert confusion([0, 1], [lower, upper], youden_threshold([0, 1], [lower, upper])).accuracy == 1.0


def test_in_large_samples_it_is_the_multinomials_standard_error():
    q, c, n = np.array([0.15, 0.2]), np.array([1.0, -0.25]), 1_000_000
    _, low, high = combination_interval((q * n)[:, None], c[:, None], n)
    variance = (np.sum(c**2 * q) - np.sum(c * q) ** 2) / n
    assert (high - low)[0] == pytest.approx(2 * 1.959963984540054 * np.sqrt(variance), rel=1e-3)
