import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.stats.bootstrap import bootstrap_indices
from hepred_lib.stats.development import DevelopmentSettings, Optimism, Procedure, judge
from hepred_lib.stats.discrimination import auc
from hepred_lib.stats.logistic import Coding, fit_logistic

NAMES = ("a", "b", "c")


def cohort(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 3)), columns=list(NAMES))
    return x, (rng.random(n) < expit(x["a"] - 1)).to_numpy(dtype=float)


def judged(x, y, settings, n_resamples=6, seed=1):
    coding, values = Coding.of(x), x.to_numpy()
    procedure = Procedure.of(coding, settings, np.nan_to_num(values))
    designs = procedure.design(np.nan_to_num(values))[None]
    rng = np.random.default_rng(seed)
    return judge(procedure, values, (designs, designs, y), coding=coding, n_resamples=n_resamples, rng=rng)


def test_corrected_figures_by_hand():
    optimism = Optimism(np.array([0.8, np.nan, 1.0]), np.array([0.1, 0.0, 0.2]), np.full(3, -0.01), np.zeros(2))
    figures = optimism.corrected(np.array([0, 1]), np.array([0.2, 0.8]))
    assert figures["auc_corrected"] == pytest.approx(0.9)
    assert figures["brier_corrected"] == pytest.approx(0.04 + 0.01)
    assert figures["slope_corrected"] == optimism.shrinkage == pytest.approx(0.9)


def test_a_slope_above_one_does_not_stretch_the_model():
    assert Optimism(np.array([1.3]), np.zeros(1), np.zeros(1), np.zeros(1)).shrinkage == 1.0


def test_a_resample_that_loses_a_column_is_drawn_again():
    x, y = cohort()
    x["c"] = x["c"].where(x.index == 0)
    optimism = judged(x, y, DevelopmentSettings(NAMES), n_resamples=8)
    assert np.isfinite(optimism.auc_optimism).all()


def test_each_resample_equals_a_plain_fit_on_its_rows():
    x, y = cohort()
    optimism = judged(x, y, DevelopmentSettings(NAMES, forced=NAMES))
    for b, rows in enumerate(bootstrap_indices(y, 6, np.random.default_rng(1))):
        table = x.iloc[rows].reset_index(drop=True)
        model = fit_logistic(table, y[rows])
        outside = pd.DataFrame({"log_odds": model.linear_predictor(x)})
        assert optimism.slopes[b] == pytest.approx(fit_logistic(outside, y).coefficients[1], abs=1e-6)
        flattered = auc(y[rows], model.predict(table)) - auc(y, model.predict(x))
        assert optimism.auc_optimism[b] == pytest.approx(flattered, abs=1e-9)


def test_columns_too_rarely_observed_to_resample_are_refused_not_drawn_for_ever():
    x, y = cohort()
    x = pd.DataFrame(np.where(np.eye(150, 60, dtype=bool), 1.0, np.nan), columns=[f"x{k}" for k in range(60)])
    with pytest.raises(ValueError, match="observed often enough to resample, got 1 of 150 values in x0"):
        judged(x, y, DevelopmentSettings(tuple(x.columns)))
