import numpy as np
import pytest

from hepred_lib.stats.operating_point import (
    RATES,
    confusion,
    confusion_from_counts,
    exact_interval,
    sensitivity_threshold,
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


def test_sensitivity_threshold_is_the_highest_that_finds_enough():
    y, p = [0, 1, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert sensitivity_threshold(y, p) == pytest.approx(0.35)
    assert sensitivity_threshold(y, p, minimum=1.0) == pytest.approx(0.15)


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


@pytest.mark.parametrize("y", [[1, 1, 1], [0, 1, 2], [0, 1]])
def test_an_outcome_that_is_no_outcome_is_refused(y):
    for function in (youden_threshold, sensitivity_threshold, lambda y, p: confusion(y, p, 0.5)):
        with pytest.raises(ValueError, match="y "):
            function(y, [0.1, 0.2, 0.3])


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="threshold must be a number, got nan"):
        confusion([0, 1], [0.1, 0.2], np.nan)


@pytest.mark.parametrize("minimum", [0, 1.1, np.nan])
def test_an_impossible_sensitivity_is_refused(minimum):
    with pytest.raises(ValueError, match=r"minimum must lie in \(0, 1\]"):
        sensitivity_threshold([0, 1], [0.1, 0.2], minimum)


def test_more_successes_than_trials_are_refused():
    with pytest.raises(ValueError, match="trials must be a whole number >= 4, got 3"):
        exact_interval(4, 3)


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="fn must be a whole number >= 0, got -1"):
        confusion_from_counts(tp=1, fp=1, fn=-1, tn=1)


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
