import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.instability import (
    calibration_instability,
    mean_absolute_prediction_error,
    patient_instability,
)


def sample(n=80, b=30, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.1, 0.6, n)
    return p, np.clip(p + rng.normal(0, 0.1, (b, n)), 0, 1)


def test_figures_are_those_of_loops_over_patients_and_resamples():
    p, others = sample()
    found = patient_instability(p, others, 0.3)
    for i in range(len(p)):
        errors = [abs(others[b, i] - p[i]) for b in range(len(others))]
        changed = [(others[b, i] >= 0.3) != (p[i] >= 0.3) for b in range(len(others))]
        assert found.loc[i, ["error", "changed"]].tolist() == pytest.approx([np.mean(errors), np.mean(changed)])
        assert found.loc[i, "low"] == pytest.approx(np.percentile(others[:, i], 2.5))
    assert mean_absolute_prediction_error(p, others) == pytest.approx(found["error"].mean())


def test_a_model_of_many_patients_is_steadier_than_one_of_few():
    def mape(n):
        rng = np.random.default_rng(1)
        x = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
        y = (rng.random(n) < expit(x["a"] - 1)).astype(int)
        model = develop(x, y, DevelopmentSettings(tuple(x), n_imputations=1, n_resamples=20))
        assert model.resampled.shape == (20, n)
        return mean_absolute_prediction_error(model.predict(x, shrunk=False), model.resampled)

    assert mape(1000) < 0.6 * mape(150)


def test_curves_are_left_out_where_a_model_gives_one_probability():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.6, 200)
    y = (rng.random(200) < p).astype(int)
    curves = calibration_instability(y, np.stack([p, np.full(200, 0.3), p**2]), np.linspace(0, 1, 11))
    assert len(curves) == 2
    assert abs(np.nanmean(curves[0] - np.linspace(0, 1, 11))) < 0.1


def test_what_does_not_fit_is_refused():
    p, others = sample()
    for given, words in (((p, others[:, 1:], 0.3), "a row of 80"), ((p, others + 1, 0.3), "from 0 to 1")):
        with pytest.raises(ValueError, match=words):
            patient_instability(*given)
    with pytest.raises(ValueError, match="threshold"):
        patient_instability(p, others, np.nan)
