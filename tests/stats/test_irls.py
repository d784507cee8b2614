import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit

from hepred_lib.stats.logistic import batched_irls, fit_rows, log_likelihood, varying_rows


def sample(n=120, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = (rng.random(n) < expit(x[:, 0] - 1)).astype(float)
    return np.vstack([np.ones(n), x.T]), y, rng


def test_an_intercept_alone_is_the_log_odds():
    fit = batched_irls(np.ones((1, 4)), np.array([1.0, 0, 0, 0]), np.ones((1, 4)))
    assert fit.coefficients[0, 0] == pytest.approx(np.log(1 / 3))
    assert fit.log_likelihood[0] == pytest.approx(np.log(1 / 4) + 3 * np.log(3 / 4))


def test_the_log_likelihood_does_not_overflow():
    assert log_likelihood(np.array([800.0, -800.0]), np.array([0.0, 0.0])) == -800.0


def test_weights_act_as_repeated_rows():
    design, y, rng = sample()
    rows = rng.integers(y.size, size=y.size)
    counts = np.bincount(rows, minlength=y.size)[None].astype(float)
    repeated = batched_irls(design[:, rows], y[rows], np.ones((1, y.size)))
    assert batched_irls(design, y, counts).coefficients == pytest.approx(repeated.coefficients, abs=1e-9)


def test_a_column_of_zeros_keeps_the_coefficient_zero():
    design, y, _ = sample()
    padded = np.vstack([design, np.zeros(y.size)])
    fit = batched_irls(padded, y, np.ones((1, y.size)))
    assert fit.coefficients[0, -1] == 0
    assert fit.coefficients[0, :-1] == pytest.approx(batched_irls(design, y, np.ones((1, y.size))).coefficients[0])


def test_the_start_does_not_change_the_maximum():
    design, y, _ = sample()
    far = batched_irls(design, y, np.ones((1, y.size)), start=np.array([[4.0, -5.0, 3.0, 2.0]]))
    assert far.coefficients == pytest.approx(batched_irls(design, y, np.ones((1, y.size))).coefficients, abs=1e-8)


def test_separated_data_reach_the_supremum_of_the_likelihood():
    design = np.vstack([np.ones(6), [-3, -2, -1, 1, 2, 3]])
    fit = batched_irls(design, np.array([0.0, 0, 0, 1, 1, 1]), np.ones((1, 6)))
    assert fit.log_likelihood[0] == pytest.approx(0, abs=1e-6)
    assert np.isfinite(fit.coefficients).all()


def test_rows_outside_a_model_have_the_coefficient_zero():
    design, y, _ = sample()
    member = np.array([[True, False, True, False], [True, True, False, False]])
    fit = fit_rows(design, y, np.ones((1, y.size)), member=member, owner=np.array([0, 0]))
    alone = batched_irls(design[[0, 2]], y, np.ones((1, y.size)))
    assert fit.coefficients[0, [1, 3]].tolist() == [0, 0]
    assert fit.coefficients[0, [0, 2]] == pytest.approx(alone.coefficients[0])


def test_a_row_that_a_resample_leaves_constant_is_found():
    design, y, _ = sample()
    rare = np.zeros(y.size)
    rare[0] = 1
    weights = np.ones((2, y.size))
    weights[1, 0] = 0
    assert varying_rows(np.vstack([design, rare]), weights)[:, -1].tolist() == [True, False]


def test_many_weighted_fits_equal_statsmodels_one_by_one():
    design, y, rng = sample()
    weights = rng.integers(1, 4, size=(150, y.size)).astype(float)
    batch = batched_irls(design, y, weights)
    for b in (0, 70, 149):
        slow = sm.GLM(y, design.T, family=sm.families.Binomial(), freq_weights=weights[b]).fit(tol=1e-12)
        assert batch.coefficients[b] == pytest.approx(slow.params, abs=1e-8)
        assert batch.log_likelihood[b] == pytest.approx(slow.llf, abs=1e-8)
