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


def test_a_weight_of_two_is_a_patient_counted_twice():
    rng = np.random.default_rng(0)
    y, score = rng.integers(0, 2, 60), rng.integers(0, 8, 60) / 8
    counts = rng.integers(1, 4, 60)
    assert weighted_auc(y, score, np.ones(60)) == pytest.approx(auc(y, score))
    assert weighted_auc(y, score, counts) == pytest.approx(auc(np.repeat(y, counts), np.repeat(score, counts)))
    found = weighted_performance(y, 0.05 + 0.9 * score, counts, n_resamples=5, rng=rng)
    x, how = logit(0.05 + 0.9 * score), {"family": sm.families.Binomial(), "freq_weights": counts}
    fit = sm.GLM(y, sm.add_constant(x), **how).fit(tol=1e-12)
    level = sm.GLM(y, np.ones(60), offset=x, **how).fit(tol=1e-12)
    assert found["weighted_slope"] == pytest.approx(fit.params[1], abs=1e-6)
    assert found["weighted_in_the_large"] == pytest.approx(level.params[0], abs=1e-6)


def test_weights_bring_back_the_patients_who_are_missing():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"x": rng.normal(size=1500), "age": rng.normal(65, 12, 1500)})
    seen = rng.random(1500) < expit(2.0 + 2.4 * x["x"])  # the sicker (low x) lack an outcome more often
    found = outcome_weights(x[seen], x[~seen], x[seen])
    assert found.weights.mean() == pytest.approx(1)
    assert abs(np.average(x.loc[seen, "x"], weights=found.weights) - x["x"].mean()) < 0.4 * abs(
        x.loc[seen, "x"].mean() - x["x"].mean()
    )
    assert found.truncated == int(np.ceil(0.01 * seen.sum()))
    assert found.largest > found.weights.max()


def test_bounds_by_hand():
    bounds = outcome_bounds([0, 1], [0.2, 0.6], [0.4])
    assert bounds["as known"] == {"patients": 2, "frequency": 0.5, "auc": 1.0}
    assert bounds["none of them"] == {"patients": 3, "frequency": pytest.approx(1 / 3), "auc": 1.0}
    assert bounds["all of them"] == {"patients": 3, "frequency": pytest.approx(2 / 3), "auc": 1.0}


def test_what_cannot_be_weighted_is_refused():
    x = pd.DataFrame({"x": np.arange(40.0)})
    flat = x.assign(x=1.0)
    cases = {
        "at least 10 patients": lambda: outcome_weights(x, x[:9], x),
        "a column that varies": lambda: outcome_weights(flat, flat[:12], x),
        "share must lie above 0": lambda: outcome_weights(x, x[:12], x, share=0),
        "numbers above 0": lambda: weighted_auc([0, 1], [1, 2], [1, 0]),
    }
    for words, call in cases.items():
        with pytest.raises(ValueError, match=words):
            call()


def test_a_patient_who_would_stand_for_all_the_lost_is_cut_and_the_size_of_the_weight_said():
    rng = np.random.default_rng(1)
    known, lost = pd.DataFrame({"x": rng.normal(2, 0.5, 200)}), pd.DataFrame({"x": rng.normal(-2, 0.5, 40)})
    known.loc[0, "x"] = -3.0
    found = outcome_weights(known, lost, known)
    assert found.largest > 50
    assert found.truncated == 2
    assert found.weights.max() < 2
    assert found.weights.mean() == pytest.approx(1)
