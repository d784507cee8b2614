import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from hepred_lib.stats.logistic import firth, separating_columns


def penalized(coefficients, design, y, weights):
    eta = design @ coefficients
    w = weights * expit(eta) * expit(-eta)
    fit = np.sum(weights * (y * eta - np.logaddexp(0, eta)))
    return fit + 0.5 * np.linalg.slogdet(design.T @ (design * w[:, None]))[1]


def test_firths_intercept_adds_half_an_event_and_half_a_non_event():
    y = np.array([1.0, 0, 0, 0])
    assert firth(np.ones((4, 1)), y)[0] == pytest.approx(np.log(1.5 / 3.5))


def test_firths_estimate_is_finite_where_no_patient_has_an_event():
    assert firth(np.ones((9, 1)), np.zeros(9))[0] == pytest.approx(np.log(0.5 / 9.5))


def test_complete_separation_names_its_column():
    x = np.column_stack([[-2.0, -1, 1, 2], [1.0, -1, 1, -1]])
    assert separating_columns(x, np.array([0, 0, 1, 1]), ("volume", "age")) == ("volume",)


def test_a_rare_sign_that_only_events_show_separates_quasi_completely():
    sign = np.array([0.0, 0, 0, 0, 1, 1])
    assert separating_columns(sign[:, None], np.array([0, 1, 0, 1, 1, 1]), ("sign",)) == ("sign",)


def test_two_columns_that_separate_only_together_are_named_together():
    x = np.array([[0.0, 1], [1, 2], [2, 3], [1, 0], [2, 1], [3, 2]])
    assert separating_columns(x, np.array([1, 1, 1, 0, 0, 0]), ("a", "b")) == ("a", "b")


def test_overlapping_classes_do_not_separate():
    assert separating_columns(np.array([[-1.0], [2], [-2], [1]]), np.array([0, 0, 1, 1]), ("x",)) == ()


def test_one_patient_on_the_wrong_side_ends_separation_in_a_large_cohort():
    x = np.random.default_rng(0).normal(size=(4000, 4))
    y = (x[:, 0] + x[:, 1] > 1).astype(int)
    assert {"a", "b"} <= set(separating_columns(x, y, tuple("abcd")))
    y[np.argmin(x[:, 0] + x[:, 1])] = 1
    assert separating_columns(x, y, tuple("abcd")) == ()


def test_firths_weights_act_as_repeated_rows():
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(20), rng.normal(size=20)])
    y, rows = (design[:, 1] > 0).astype(float), rng.integers(20, size=20)
    counts = np.bincount(rows, minlength=20).astype(float)
    assert firth(design, y, counts) == pytest.approx(firth(design[rows], y[rows]), abs=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_firths_estimate_is_where_a_general_optimizer_finds_it(seed):
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(40), rng.normal(size=(40, 3))])
    y, weights = (design[:, 1] + 0.3 * rng.normal(size=40) > 0.5).astype(float), rng.integers(1, 4, 40).astype(float)
    slow = minimize(lambda b: -penalized(b, design, y, weights), np.zeros(4), method="BFGS", options={"gtol": 1e-6})
    assert firth(design, y, weights) == pytest.approx(slow.x, abs=1e-3)


def test_separation_of_one_column_agrees_with_trying_every_threshold():
    x = np.array([-1.0, 0.0, 0.0, 1.0])
    for y in itertools.product((0, 1), repeat=4):
        y = np.array(y)
        if 0 < y.sum() < 4:
            up, down = x[y == 1].min() >= x[y == 0].max(), x[y == 1].max() <= x[y == 0].min()
            assert bool(separating_columns(x[:, None], y, ("x",))) == (up or down)
