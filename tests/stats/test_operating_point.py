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
from tests.stats.conftest import of_r


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


def test_a_threshold_equals_trying_every_one_and_moves_from_sample_to_sample():
    y, p = sample()

    def index(threshold):
        table = confusion(y, p, threshold)
        return round(table.sensitivity + table.specificity, 12), table.sensitivity

    youden = youden_threshold(y, p)
    assert index(youden) == max(index(value) for value in np.unique(p))
    for wanted in (0.5, 0.8, 1.0):
        found = choose_threshold(y, p, f"sensitivity {wanted}")
        assert (p[y == 1] >= found).mean() >= wanted
        assert (p[y == 1] >= p[p >= found].min() + 1e-9).mean() < wanted, "the highest that reaches it"
    drawn = {"n_resamples": 100, "rng": np.random.default_rng(0)}
    low, high = threshold_interval(y, p, "youden", **drawn)
    assert low < youden < high
    assert threshold_interval(y, p, "0.2", **drawn) == (0.2, 0.2)
    neighbours = [0.5, np.nextafter(0.5, 1)]
    assert confusion([0, 1], neighbours, youden_threshold([0, 1], neighbours)).accuracy == 1.0


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
    expected = of_r("counts.json")["wilson"]
    low, high = wilson_interval([17], 21)
    assert (low[0], high[0]) == pytest.approx(expected, abs=1e-12)
    for limit in (low[0], high[0]):
        assert abs(17 / 21 - limit) / np.sqrt(limit * (1 - limit) / 21) == pytest.approx(1.959963984540054)
    low, high = wilson_interval([0, 10], 10)
    assert (low[0], high[1]) == (0.0, 1.0)
    assert 0 < high[0] < low[1] < 1


def test_two_cells_that_hold_everybody_are_one_proportion_and_one_is_wilsons_times_its_coefficient():
    below, above = (limit[0] for limit in wilson_interval([8], 10))
    _, low, high = combination_interval([[8], [2]], [[1.0], [-1.0]], 10)
    assert (low[0], high[0]) == pytest.approx((2 * below - 1, 2 * above - 1))
    estimate, low, high = combination_interval([[8]], [[-2.0]], 10)
    assert (estimate[0], low[0], high[0]) == pytest.approx((-1.6, -2 * above, -2 * below))


def test_the_limits_solve_the_score_equation_maximized_on_a_grid():
    found = likelihood_ratios(tp=17, fp=31, fn=4, tn=55)
    assert (found["positive"], found["negative"]) == pytest.approx(((17 / 21) / (31 / 86), (4 / 21) / (55 / 86)))
    grid = np.linspace(1e-6, 1 - 1e-6, 400_001)
    for ratio in (found["positive_low"], found["positive_high"]):
        p0 = grid[ratio * grid < 1]
        p1 = ratio * p0
        fit = 17 * np.log(p1) + 4 * np.log1p(-p1) + 31 * np.log(p0) + 55 * np.log1p(-p0)
        p1, p0 = p1[fit.argmax()], p0[fit.argmax()]
        score = (17 - 21 * p1) ** 2 / (21 * p1 * (1 - p1)) + (31 - 86 * p0) ** 2 / (86 * p0 * (1 - p0))
        assert score == pytest.approx(chi2.ppf(0.95, 1), rel=1e-3)


def test_an_empty_cell_leaves_one_limit_finite_and_a_call_that_nobody_gets_has_no_ratio_and_no_predictive_value():
    found = likelihood_ratios(tp=5, fp=0, fn=5, tn=20)
    assert found["positive"] == found["positive_high"] == np.inf > found["positive_low"] > 0
    found = likelihood_ratios(tp=0, fp=6, fn=8, tn=20)
    assert found["positive"] == found["positive_low"] == 0 < found["positive_high"] < np.inf
    positive, negative = np.split(np.array(list(likelihood_ratios(tp=0, fp=0, fn=3, tn=4).values())), 2)
    assert np.isnan(positive).all()
    assert negative[0] == 1.0
    table = confusion([0, 1], [0.2, 0.3], np.inf)
    assert np.isnan([table.ppv, table.ppv_low, table.ppv_high]).all()
    assert table.npv == 0.5


def test_two_rules_are_compared_in_the_patients_of_each_rate_and_agreeing_ones_differ_by_nothing():
    y, (a, b) = np.repeat([1, 0], [21, 86]), (sample(107, seed)[1] > 0.4 for seed in (1, 2))
    table = compare_calls(y, a, b)
    assert table.loc["sensitivity", ["n", "a", "b"]].tolist() == pytest.approx([21, a[:21].mean(), b[:21].mean()])
    assert table.loc["sensitivity", "p"] == mcnemar_exact(a[:21], b[:21])
    assert table.loc["specificity", "p"] == mcnemar_exact(~a[21:], ~b[21:])
    assert (table["low"] == -compare_calls(y, b, a)["high"]).all()
    same = compare_calls(y, a, a).loc["specificity"]
    assert (same["difference"], same["p"]) == (0.0, 1.0)
    assert same["low"] < 0 < same["high"]


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
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
    (lambda: compare_calls([0, 0], [0, 1], [0, 1]), "y must hold both 0 and 1"),
    (lambda: mcnemar_exact([0, 1], [0, 2]), "b must be one-dimensional and hold 0 and 1 only"),
    (lambda: mcnemar_exact([0, 1], [0, 1, 1]), "a and b must have one length"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_is_no_count_call_or_threshold_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rules_of_a_threshold():
    y, p = [0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9]
    assert choose_threshold(y, p) == youden_threshold(y, p)
    assert choose_threshold(y, p, "0.15") == 0.15
    for rule in ("best", "sensitivity", "sensitivity 80", "1", "specificity 0.9", "-0.1"):
        with pytest.raises(ValueError, match="threshold_rule must be"):
            choose_threshold(y, p, rule)


def test_in_large_samples_it_is_the_multinomials_standard_error():
    q, c, n = np.array([0.15, 0.2]), np.array([1.0, -0.25]), 1_000_000
    _, low, high = combination_interval((q * n)[:, None], c[:, None], n)
    variance = (np.sum(c**2 * q) - np.sum(c * q) ** 2) / n
    assert (high - low)[0] == pytest.approx(2 * 1.959963984540054 * np.sqrt(variance), rel=1e-3)
