import numpy as np
import pytest
from scipy.special import expit

from hepred_lib.stats.logistic import batched_irls, firth, maximum_given, profile_limits


def sample(n=80, seed=0):
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    return design, (rng.random(n) < expit(design @ [-0.5, 1, 0])).astype(float)


def test_with_nothing_held_it_is_the_maximum():
    design, y = sample()
    fit = batched_irls(design.T, y, np.ones((1, y.size)))
    found, reached = maximum_given(design, y, np.zeros(3), np.ones(3, bool))
    assert found == pytest.approx(fit.coefficients[0], abs=1e-6)
    assert reached == pytest.approx(fit.log_likelihood[0], abs=1e-10)


def test_with_all_held_it_is_the_start():
    design, y = sample()
    found, reached = maximum_given(design, y, np.zeros(3), np.zeros(3, bool))
    assert (found == 0).all()
    assert reached == pytest.approx(y.size * np.log(0.5))


def test_the_penalized_maximum_is_firths():
    design, y = sample(30)
    found, _ = maximum_given(design, y, np.zeros(3), np.ones(3, bool), penalized=True)
    assert found == pytest.approx(firth(design, y), abs=1e-5)


def test_separated_classes_are_refused():
    design = np.column_stack([np.ones(4), [-1.0, -0.5, 0.5, 1]])
    limits = profile_limits(design, np.array([0.0, 0, 1, 1]), firth(design, np.array([0.0, 0, 1, 1])), 1, level=0.95, penalized=True)  # fmt: skip # noqa: E501
    assert limits[0] < limits[1] < np.inf


def test_a_higher_level_gives_a_wider_interval():
    design, y = sample()
    start = np.zeros(3)
    (low, high), (lower, higher) = (profile_limits(design, y, start, 1, level=v, penalized=False) for v in (0.8, 0.95))
    assert lower < low < high < higher
