"""Repeated cross-validation, against a slow twin that selects and fits each training part by itself; instability."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.model_selection import StratifiedKFold

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.logistic import fit_logistic
from hepred_lib.stats.selection import forward_select
from hepred_lib.stats.validation import (
    calibration_instability,
    cross_validate,
    judge_held_out,
    mean_absolute_prediction_error,
    patient_instability,
    validation_figures,
    validation_table,
)

NAMES = ("a", "b", "c", "d")
SETTINGS = DevelopmentSettings(NAMES, n_imputations=2, n_resamples=10, seed=4)


def patients(n: int = 150, *, gaps: float = 0.0, effect: float = 1.0) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(2)
    x = pd.DataFrame(rng.standard_normal((n, len(NAMES))), columns=list(NAMES))
    y = pd.Series((rng.random(n) < expit(-1 + effect * x["a"] + 0.5 * effect * x["b"])).astype(int))
    return x.mask(rng.random(x.shape) < gaps), y


def slow_repeat(x: pd.DataFrame, y: pd.Series, number: int, n_folds: int) -> dict[str, float]:
    rng, p = np.random.default_rng([SETTINGS.seed, number]), np.empty(len(x))
    division = StratifiedKFold(n_folds, shuffle=True, random_state=int(rng.integers(2**32 - 1)))
    for rest, held in division.split(y, y):
        path = list(forward_select(x.iloc[rest], y.iloc[rest]).path)
        p[held] = y.mean()
        if path:
            p[held] = fit_logistic(x.iloc[rest][path], y.iloc[rest]).predict(x.iloc[held][path])
    return judge_held_out(y, p)


def test_each_repeat_is_that_of_selecting_and_fitting_without_each_part():
    x, y = patients()
    found = cross_validate(develop(x, y, SETTINGS), x, y, n_folds=5, n_repeats=3)
    slow = pd.DataFrame([slow_repeat(x, y, number, 5) for number in range(3)])
    pd.testing.assert_frame_equal(found, slow, rtol=1e-6)


def test_bootstrap_and_cross_validation_agree_where_patients_are_many():
    x, y = patients(600, gaps=0.1)
    model = develop(x, y, replace(SETTINGS, n_resamples=50))
    repeats = cross_validate(model, x, y, n_repeats=3)
    table = validation_table(model, repeats, y, model.predict(x)).set_index("figure")
    assert table.loc["AUC", "cross_validated"] == pytest.approx(table.loc["AUC", "corrected"], abs=0.01)
    assert table.loc["slope", "cross_validated"] == pytest.approx(table.loc["slope", "corrected"], abs=0.05)
    assert table.loc["Brier", "apparent"] < table.loc["Brier", "cross_validated"]
    assert table["apparent"].tolist() == [model.optimism["auc_apparent"], model.optimism["brier_apparent"], 1.0]
    assert table["cross_fitted"].tolist() == list(judge_held_out(y, model.predict(x)).values())
    means, sds = repeats.to_numpy().mean(axis=0), repeats.to_numpy().std(axis=0, ddof=1)
    assert table[["cross_validated", "repeats_sd"]].to_numpy() == pytest.approx(np.column_stack([means, sds]))
    figures = validation_figures(repeats)
    assert list(figures.values()) == pytest.approx([*np.column_stack([means, sds]).ravel(), 3])
    assert list(figures) == ["auc", "auc_sd", "brier", "brier_sd", "slope", "slope_sd", "n_repeats"]


def test_a_column_that_a_part_does_not_know_is_chosen_in_none():
    x, y = patients(effect=2.0)
    x["rare"] = np.where(np.arange(len(x)) < 4, y + 0.1 * np.arange(len(x)), np.nan)
    settings = replace(SETTINGS, candidates=(*NAMES, "rare"), n_resamples=3)
    found = cross_validate(develop(x, y, settings), x, y, n_folds=60, n_repeats=1)
    assert found.notna().all(axis=None)


def test_too_few_patients_of_an_outcome_or_no_repeat_give_no_row_and_a_model_of_nothing_no_slope():
    x, y = patients(effect=0.0)
    model = develop(x, y, replace(SETTINGS, alpha=1e-9))
    none = cross_validate(model, x, y, n_repeats=0)
    rare = pd.Series(np.r_[1, 1, np.zeros(len(x) - 2)].astype(int))
    assert none.empty
    assert cross_validate(model, x, rare).empty
    with pytest.raises(ValueError, match="n_folds must be a whole number >= 2"):
        cross_validate(model, x, y, n_folds=1)
    assert validation_table(model, none, y, model.predict(x)).empty
    assert validation_figures(none) is None
    repeats = cross_validate(model, x, y, n_repeats=2)
    figures = validation_figures(repeats)
    assert repeats["slope"].isna().all()
    assert (repeats["auc"] == 0.5).all()
    assert figures["slope"] is None
    assert figures["n_repeats"] == 2
    assert validation_table(model, repeats, y, np.full(len(y), y.mean()))["corrected"].isna().sum() == 1


# Instability


def test_figures_are_those_of_loops_over_patients_and_resamples():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.6, 40)
    others = np.clip(p + rng.normal(0, 0.1, (30, 40)), 0, 1)
    found = patient_instability(p, others, 0.3)
    for i, own in enumerate(p):
        errors, changed = zip(*[(abs(q - own), (q >= 0.3) != (own >= 0.3)) for q in others[:, i]], strict=True)
        assert found.loc[i, ["error", "changed"]].tolist() == pytest.approx([np.mean(errors), np.mean(changed)])
        assert found.loc[i, ["low", "high"]].tolist() == pytest.approx(np.percentile(others[:, i], (2.5, 97.5)))
    assert mean_absolute_prediction_error(p, others) == pytest.approx(found["error"].mean())
    for given, words in (((others[:, 1:], 0.3), "a row of 40"), ((others + 1, 0.3), "from 0 to 1")):
        with pytest.raises(ValueError, match=words):
            patient_instability(p, *given)
    with pytest.raises(ValueError, match="threshold"):
        patient_instability(p, others, np.nan)


def test_a_model_of_many_patients_is_steadier_than_one_of_few():
    def mape(n):
        x, y = patients(n)
        model = develop(x, y, replace(SETTINGS, n_imputations=1))
        assert model.resampled.shape == (10, n)
        return mean_absolute_prediction_error(model.predict(x, shrunk=False), model.resampled)

    assert mape(1000) < 0.6 * mape(150)


def test_curves_are_left_out_where_a_model_gives_one_probability():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.6, 200)
    y = (rng.random(200) < p).astype(int)
    curves = calibration_instability(y, np.stack([p, np.full(200, 0.3), p**2]), np.linspace(0, 1, 11))
    assert len(curves) == 2
    assert abs(np.nanmean(curves[0] - np.linspace(0, 1, 11))) < 0.1
