"""The permutation test of a cross-fitted score, against a slow twin that refits with scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.logistic import fit_logistic
from hepred_lib.stats.permutation import (
    CrossFittedReadout,
    added_score_tests,
    bedside_designs,
    permutation_test,
    score_statistics,
)

N, FOLDS, VALUES = 120, 3, 4


def patients(rng, *, effect: float = 0.0) -> tuple[pd.DataFrame, np.ndarray, CrossFittedReadout]:
    """Two bedside variables with gaps, values of three networks, and the cross-fitted score of the true labels."""
    bedside = rng.standard_normal((N, 2))
    values = rng.standard_normal((N, VALUES)) + 0.1 * rng.standard_normal((FOLDS, N, VALUES))
    y = (rng.random(N) < expit(-0.8 + bedside @ [0.8, 0.0] + effect * values.mean(axis=0)[:, 0])).astype(int)
    readout = CrossFittedReadout(values, np.array([2.0, 5.0, 9.0]), np.arange(N) % FOLDS)
    x = pd.DataFrame(bedside, columns=["a", "b"])
    x["dl_score"] = readout.scores(y[None].astype(float))[0]
    x.loc[rng.random(N) < 0.1, "b"] = np.nan
    return x, y, readout


def assessed(x, y, readout, *, n_permutations: int, seed: int):
    designs, rng = bedside_designs(developed(x, y), x), np.random.default_rng(seed)
    return permutation_test(designs, y, readout, n_permutations=n_permutations, rng=rng)


def developed(x: pd.DataFrame, y: np.ndarray):
    return develop(x, y, DevelopmentSettings(("a", "b"), ("dl_score",), n_imputations=2, n_resamples=2))


def slow_scores(readout: CrossFittedReadout, y: np.ndarray) -> np.ndarray:
    score = np.zeros(N)
    for k in range(FOLDS):
        held = readout.fold == k
        how = {"C": 1 / readout.penalties[k], "solver": "newton-cholesky", "tol": 1e-10}
        raw = readout.values[k] @ LogisticRegression(**how).fit(readout.values[k][~held], y[~held]).coef_[0]
        score[held] = (raw[held] - raw[held].mean()) / raw[held].std()
    return score


def test_scores_are_those_of_scikit_learns_ridge():
    rng = np.random.default_rng(1)
    _, y, readout = patients(rng, effect=2.0)
    labels = np.stack([y, rng.permutation(y)])
    slow = np.stack([slow_scores(readout, one) for one in labels])
    np.testing.assert_allclose(readout.scores(labels.astype(float)), slow, atol=1e-4)


def test_statistic_is_the_squared_derivative_over_its_information():
    rng = np.random.default_rng(2)
    z, score = rng.standard_normal((80, 2)), rng.standard_normal(80)
    y = (rng.random(80) < expit(z[:, 0])).astype(int)
    p = fit_logistic(pd.DataFrame(z, columns=["a", "b"]), y).predict(pd.DataFrame(z, columns=["a", "b"]))
    whole = np.column_stack([np.ones(80), z, score])
    slope = whole.T @ (y - p)
    slow = slope @ np.linalg.solve((whole.T * (p * (1 - p))) @ whole, slope)
    assert score_statistics(whole[:, :3].T[None], y, score[None])[0] == pytest.approx(slow)


def test_p_counts_refitted_permutations_as_a_slow_twin_does():
    x, y, readout = patients(np.random.default_rng(3), effect=0.6)
    found = assessed(x, y, readout, n_permutations=30, seed=4)
    orders, rng = np.tile(np.arange(N), (31, 1)), np.random.default_rng(4)
    for k in range(FOLDS):
        held = np.flatnonzero(readout.fold == k)
        orders[1:, held] = rng.permuted(orders[1:, held], axis=1)
    designs, statistics = bedside_designs(developed(x, y), x), []
    for order in orders:
        permuted = CrossFittedReadout(readout.values[:, np.argsort(order)], readout.penalties, readout.fold)
        statistics.append(score_statistics(designs, y, slow_scores(permuted, y)[None])[0])
    assert found.statistic == pytest.approx(statistics[0], abs=1e-4)
    assert found.p == pytest.approx(np.mean(np.array(statistics) >= statistics[0]))


def test_a_score_that_predicts_is_found_and_values_without_spread_have_nothing_to_tell():
    x, y, readout = patients(np.random.default_rng(5), effect=2.0)
    first, again = (assessed(x, y, readout, n_permutations=199, seed=1) for _ in "ab")
    assert first == again
    assert first.p == pytest.approx(1 / 200)
    flat = CrossFittedReadout(np.ones_like(readout.values), readout.penalties, readout.fold)
    found = assessed(x, y, flat, n_permutations=9, seed=1)
    assert (found.statistic, found.p) == (0.0, 1.0)


def test_the_row_of_a_score_from_elsewhere_holds_the_plain_test_alone():
    x, y, readout = patients(np.random.default_rng(10), effect=2.0)
    model = developed(x, y)
    permuted = assessed(x, y, readout, n_permutations=9, seed=1)
    own = added_score_tests(model, permuted, cross_fitted=True)
    other = added_score_tests(model, None, cross_fitted=False)
    assert own["p"] < own["p_cross_fitted"] == model.added_test.cross_fitted_p
    assert (own["p_permuted"], own["n_permutations"]) == (0.1, 9)
    assert other == own | dict.fromkeys(("p_cross_fitted", "p_permuted", "n_permutations"))
    flat = developed(x.assign(dl_score=0.0), y)
    assert added_score_tests(flat, None, cross_fitted=True) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.full((FOLDS, N, VALUES), np.nan)}, "values must be finite"),
        ({"penalties": np.zeros(FOLDS)}, "above 0"),
        ({"fold": np.arange(N) % 2}, "fold must name 3 folds"),
    ],
)
def test_a_damaged_readout_and_one_of_other_patients_are_refused(change, message):
    x, y, readout = patients(np.random.default_rng(9))
    with pytest.raises(ValueError, match=message):
        CrossFittedReadout(**(vars(readout) | change))
    with pytest.raises(ValueError, match="the same patients, got 120, 119 and 120"):
        permutation_test(bedside_designs(developed(x, y), x), y[1:], readout, rng=np.random.default_rng(1))
