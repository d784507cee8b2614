import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from hepred_lib.stats.discrimination import auc
from hepred_lib.stats.missing_outcome import (
    outcome_bounds,
    outcome_weights,
    weighted_auc,
    weighted_performance,
)


def ward(n=1500, seed=0, missing=0.8):
    """Patients of whom the sicker (low x) lack an outcome more often, and what a model predicts."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"x": rng.normal(size=n), "age": rng.normal(65, 12, n)})
    p = expit(-1.2 - x["x"].to_numpy())
    y = (rng.random(n) < p).astype(int)
    return x, y, p, rng.random(n) < expit(2.0 + 3 * missing * x["x"])


def test_a_weight_of_two_is_a_patient_counted_twice():
    rng = np.random.default_rng(0)
    y, score = rng.integers(0, 2, 60), rng.integers(0, 8, 60) / 8
    counts = rng.integers(1, 4, 60)
    assert weighted_auc(y, score, np.ones(60)) == pytest.approx(auc(y, score))
    assert weighted_auc(y, score, counts) == pytest.approx(auc(np.repeat(y, counts), np.repeat(score, counts)))
    found = weighted_performance(y, 0.05 + 0.9 * score, counts, n_resamples=5, rng=rng)
    x = sm.add_constant(logit(0.05 + 0.9 * score))
    fit = sm.GLM(y, x, family=sm.families.Binomial(), freq_weights=counts).fit(tol=1e-12)
    level = sm.GLM(
        y, np.ones(60), family=sm.families.Binomial(), freq_weights=counts, offset=logit(0.05 + 0.9 * score)
    ).fit(tol=1e-12)
    assert found["weighted_slope"] == pytest.approx(fit.params[1], abs=1e-6)
    assert found["weighted_in_the_large"] == pytest.approx(level.params[0], abs=1e-6)


def test_weights_bring_back_the_patients_who_are_missing():
    x, _, _, seen = ward()
    found = outcome_weights(x[seen], x[~seen], x[seen])
    assert found.weights.mean() == pytest.approx(1)
    assert abs(np.average(x.loc[seen, "x"], weights=found.weights) - x["x"].mean()) < 0.4 * abs(
        x.loc[seen, "x"].mean() - x["x"].mean()
    )
    assert found.truncated == int(np.ceil(0.01 * seen.sum()))
    assert found.largest > found.weights.max()


def test_weighted_figures_are_nearer_to_those_of_all_patients():
    gains = []
    for seed in range(12):
        x, y, p, seen = ward(seed=seed)
        q = expit(1.4 * logit(p) + 0.3 * x["age"].sub(65) / 12)  # a model that is miscalibrated, by age too
        weights = outcome_weights(x[seen], x[~seen], x[seen]).weights
        told = weighted_performance(y[seen], q[seen], weights, n_resamples=5, rng=np.random.default_rng(0))
        whole = auc(y, q)
        gains.append(abs(told["auc"] - whole) - abs(told["weighted_auc"] - whole))
    assert np.mean(gains) > 0


def test_bounds_by_hand():
    bounds = outcome_bounds([0, 1], [0.2, 0.6], [0.4])
    assert bounds["as known"] == {"patients": 2, "frequency": 0.5, "auc": 1.0}
    assert bounds["none of them"] == {"patients": 3, "frequency": pytest.approx(1 / 3), "auc": 1.0}
    assert bounds["all of them"] == {"patients": 3, "frequency": pytest.approx(2 / 3), "auc": 1.0}


def test_what_cannot_be_weighted_is_refused():
    x = pd.DataFrame({"x": np.arange(40.0)})
    cases = {
        "at least 10 patients": (x, x[:9], x),
        "a column that varies": (x.assign(x=1.0), x[:12].assign(x=1.0), x),
    }
    for words, given in cases.items():
        with pytest.raises(ValueError, match=words):
            outcome_weights(*given)
    with pytest.raises(ValueError, match="share must lie above 0"):
        outcome_weights(x, x[:12], x, share=0)
    with pytest.raises(ValueError, match="numbers above 0"):
        weighted_auc([0, 1], [1, 2], [1, 0])


def test_a_patient_who_would_stand_for_all_the_lost_is_cut_and_the_size_of_the_weight_said():
    rng = np.random.default_rng(1)
    known, lost = pd.DataFrame({"x": rng.normal(2, 0.5, 200)}), pd.DataFrame({"x": rng.normal(-2, 0.5, 40)})
    known.loc[0, "x"] = -3.0
    found = outcome_weights(known, lost, known)
    assert found.largest > 50
    assert found.truncated == 2
    assert found.weights.max() < 2
    assert found.weights.mean() == pytest.approx(1)
