import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2

from hepred_lib.stats.logistic import Coding, batched_irls, fit_rows
from hepred_lib.stats.selection import Plan, Rule, _screen, group_columns, select_paths

PLAN = Plan(tuple(np.array([row]) for row in range(1, 5)), np.array([0]), (0, 1, 2, 3))


def heavy_tailed(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(2, size=(4, n)) * [[1.0], [2.0], [0.5], [1.0]]
    y = (rng.random(n) < expit(0.6 * x[0] - 1)).astype(float)
    return np.vstack([np.ones(n), x]), y, rng


def test_the_merit_of_the_likelihood_ratio_is_minus_log_p():
    assert Rule().merit(np.array([3.841458820694124]), np.array([1]), 100) == pytest.approx(-np.log(0.05))


def test_the_merit_goes_on_where_p_underflows():
    merit = Rule().merit(np.array([1370.0, 1400.0, 5000.0]), np.array([1, 1, 1]), 100)
    assert (np.diff(merit) > 10).all()
    assert merit[1] == pytest.approx(-chi2.logsf(1370.0, 1) + 15, abs=0.05)


def test_a_candidate_without_degrees_of_freedom_never_wins():
    assert np.isneginf(Rule("aic").merit(np.array([0.0]), np.array([0]), 100)).all()


def test_columns_are_grouped_where_their_first_member_stands():
    assert group_columns(["a", "b", "c"], {"ends": ["a", "c"]}) == {"ends": ("a", "c"), "b": ("b",)}


def test_forced_predictors_are_no_candidates():
    plan = Plan.of(Coding({"a": None, "b": None}), {"a": ["a"], "b": ["b"]}, ["a"])
    assert plan.candidates == (1,)
    assert plan.forced.tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_likelihood_ratio_never_exceeds_its_bound(seed):
    design, y, rng = heavy_tailed(seed=seed)
    weights = rng.multinomial(y.size, np.full(y.size, 1 / y.size), size=20).astype(float)
    member = np.zeros((20, 5), dtype=bool)
    member[:, 0] = True
    null = fit_rows(design, y, weights, member=member)
    screen = _screen((design, y, weights), member, null, PLAN)
    for candidate in range(4):
        pair = batched_irls(design[[0, candidate + 1]], y, weights)
        ratio = 2 * (pair.log_likelihood - null.log_likelihood)
        assert (ratio <= screen.bound[:, candidate] + 1e-8).all()
    assert (screen.bound < -2 * null.log_likelihood[:, None]).any()


def test_a_design_for_each_resample_gives_the_paths_of_one_design_at_a_time():
    parts = [heavy_tailed(seed=seed) for seed in range(3)]
    designs, y = np.stack([part[0] for part in parts]), parts[0][1]
    together = select_paths(designs, y, np.ones((3, y.size)), plan=PLAN, rule=Rule(alpha=0.5))
    alone = [select_paths(d, y, np.ones((1, y.size)), plan=PLAN, rule=Rule(alpha=0.5))[0] for d in designs]
    assert together == alone


def test_a_resample_that_is_separated_ends_its_path_without_a_crash():
    design, y, _ = heavy_tailed()
    design[2] = 2 * y - 1
    assert select_paths(design, y, np.ones((1, y.size)), plan=PLAN, rule=Rule()) == [[1]]
