"""Internal validation of a development beside its optimism: repeated cross-validation, and instability.

*Cross-validation* is for studies in which no patients are held out. In each repeat the patients are divided anew,
imputation, selection and fit are repeated in every training part, and the models, before shrinkage, are judged on all
held-out patients together: the same quantity that the optimism-corrected figures estimate, reached without a resample
in which patients stand twice.

*Instability* is how much a patient's probability would change with another sample of the same size. The models are
those of the bootstrap resamples, each made by the whole procedure (imputation, selection, fit), before shrinkage; all
are applied to the development patients. What varies between them is what the sample decided by chance.

Sources: Steyerberg EW et al. J Clin Epidemiol 2001;54:774-781. Riley RD, Collins GS. Biom J 2023;65:2200302.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.model_selection import StratifiedKFold

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import brier_score, calibrate, read_curve
from hepred_lib.stats.curves import split_term
from hepred_lib.stats.development import WITHIN, DevelopedModel, Procedure, fit_parts
from hepred_lib.stats.diagnostics import collinear_predictors
from hepred_lib.stats.discrimination import auc
from hepred_lib.stats.logistic import Array, check_outcome

FIGURES = {"auc": "AUC", "brier": "Brier", "slope": "slope"}


def judge_held_out(y: ArrayLike, p: ArrayLike) -> dict[str, float]:
    """AUC, Brier score and calibration slope; the slope is NaN where all probabilities are equal.

    Examples
    --------
    >>> judge_held_out([0, 1, 0, 1], [0.25] * 4)
    {'auc': 0.5, 'brier': 0.3125, 'slope': nan}
    """
    given, flat = np.asarray(p, dtype=float), np.ptp(np.asarray(p, dtype=float)) < 1e-9
    slope = np.nan if flat else calibrate(y, given).slope
    return {"auc": float(auc(y, given)), "brier": float(brier_score(y, given)), "slope": float(slope)}


def cross_validate(
    model: DevelopedModel, x: pd.DataFrame, y: ArrayLike, *, n_folds: int = 10, n_repeats: int = 10
) -> pd.DataFrame:
    """Figures of the model before shrinkage in patients whose outcome it has not seen, one row a repeat.

    As in the bootstrap, each training part is imputed once, given the outcome, from its own rows, and held-out patients
    have their values imputed as for new patients.

    Parameters
    ----------
    model : DevelopedModel
        Its settings are repeated; an added score is taken as it stands.
    x, y
        Its development data.
    n_folds : int
        Stratified by outcome; at most the number of patients of the rarer outcome.
    n_repeats : int
        0 for none.

    Returns
    -------
    DataFrame
        `auc, brier, slope`, the probabilities of a repeat judged together. No row with fewer than three patients of an
        outcome. A column without a value in some training part is left out of all. Where a part chooses nothing, its
        patients have the frequency of all: that of their own training part is low where theirs is high.

    Raises
    ------
    ValueError
        If x and y are not of the same patients, or a number of folds or repeats is too small.

    References
    ----------
    Steyerberg EW et al. J Clin Epidemiol 2001;54:774-781.
    """
    outcome, repeats = check_outcome(x, y), checks.at_least(n_repeats, "n_repeats", 0)
    rarer = int(min(outcome.sum(), (1 - outcome).sum()))
    parts, rows = min(checks.at_least(n_folds, "n_folds", 2), rarer), []
    for number in range(repeats if rarer > 2 else 0):
        rng = np.random.default_rng([model.settings.seed, number])
        split = StratifiedKFold(parts, shuffle=True, random_state=int(rng.integers(2**32 - 1)))
        divided = list(split.split(outcome, outcome))
        rows.append(judge_held_out(outcome.astype(int), _held_out(model, x, outcome, divided, rng)))
    return pd.DataFrame(rows, columns=list(FIGURES))


def _held_out(
    model: DevelopedModel, x: pd.DataFrame, y: Array, divided: Sequence[tuple[Any, Any]], rng: np.random.Generator
) -> Array:
    """Probability of each patient by the model of the other parts, shape (n,)."""
    columns, basis = x[list(model.settings.columns)], model.basis
    values = model.imputer.coding.matrix(columns).to_numpy()
    known: NDArray[np.bool_] = np.all([~np.isnan(values[rows]).all(axis=0) for rows, _ in divided], axis=0)
    lost = {name.partition("[")[0] for name, each in zip(model.imputer.coding.names, known, strict=True) if not each}
    values = np.where(known, values, 0.0)
    free = [name for name in model.settings.candidates if name not in model.settings.forced and name in columns]
    left_out = {term for term in model.settings.candidates if split_term(term)[1] in lost}
    left_out |= set(collinear_predictors(columns[free]))
    completed = [np.where(known, table.to_numpy(), 0.0) for table in model.imputer.impute(columns)]
    procedure = Procedure.of(basis, model.settings, completed[0], left_out=left_out)
    counts = np.zeros((len(divided), len(y)))
    for part, (rows, _) in zip(counts, divided, strict=True):
        part[rows] = 1.0
    training = [rows for rows, _ in divided]
    coefficients, _, _ = fit_parts(procedure, (values, y), training, counts, rng=rng)
    p = np.full(len(y), y.mean())
    applied = np.stack([procedure.design(table) for table in completed])
    for estimate, (_, held) in zip(coefficients, divided, strict=True):
        if estimate[1:].any():
            p[held] = expit(estimate @ applied[:, :, held]).mean(axis=0)
    return p.clip(*WITHIN)


def validation_table(model: DevelopedModel, repeats: pd.DataFrame, y: ArrayLike, p: ArrayLike) -> pd.DataFrame:
    """Internal validation in three ways.

    Parameters
    ----------
    model : DevelopedModel
    repeats : DataFrame
        As `cross_validate` gives them.
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Cross-fitted probabilities of the model after shrinkage.

    Returns
    -------
    DataFrame
        `figure`; `apparent` and `corrected`, by bootstrap, of the model before shrinkage; `cross_validated`, the mean
        over the repeats, and `repeats_sd`, by how much they differ (no standard error); `cross_fitted`, after
        shrinkage. No row without repeats.
    """
    crossed = judge_held_out(y, p)
    rows = [
        {
            "figure": words,
            "apparent": model.optimism.get(f"{name}_apparent", 1.0),
            "corrected": model.optimism[f"{name}_corrected"],
            "cross_validated": repeats[name].mean(),
            "repeats_sd": repeats[name].std(),
            "cross_fitted": crossed[name],
        }
        for name, words in FIGURES.items()
    ]
    columns = ["figure", "apparent", "corrected", "cross_validated", "repeats_sd", "cross_fitted"]
    return pd.DataFrame(rows if len(repeats) else [], columns=columns)


def validation_figures(repeats: pd.DataFrame) -> dict[str, float | int | None] | None:
    """Mean and SD over the repeats, as results.json holds them; None without repeats."""
    if repeats.empty:
        return None
    found: dict[str, Any] = {}
    for name in FIGURES:
        found |= {name: repeats[name].mean(), f"{name}_sd": repeats[name].std()}
    return {name: None if np.isnan(value) else float(value) for name, value in found.items()} | {
        "n_repeats": len(repeats)
    }


def patient_instability(p: ArrayLike, resampled: ArrayLike, threshold: float) -> pd.DataFrame:
    """Each patient's probability beside those of the resamples' models.

    Parameters
    ----------
    p : array_like, shape (n,)
        Of the model itself, before shrinkage.
    resampled : array_like, shape (b, n)
        Of the resamples' models, in the same patients.
    threshold : float
        Positive when p >= threshold.

    Returns
    -------
    DataFrame
        `p`; `low, high`, the 2.5th and 97.5th percentiles over the resamples; `error`, the mean absolute difference;
        `changed`, the share of the resamples that classify the patient otherwise.

    Raises
    ------
    ValueError
        If a probability is no number in [0, 1], the shapes do not fit, or the threshold is NaN.

    References
    ----------
    Riley RD, Collins GS. Biom J 2023;65:2200302.

    Examples
    --------
    >>> patient_instability([0.3], [[0.2], [0.6]], 0.5)[["error", "changed"]].round(2).values.tolist()
    [[0.2, 0.5]]
    """
    own, others = _checked(p, resampled)
    if np.isnan(threshold):
        raise ValueError("threshold must be a number, got NaN.")
    low, high = np.quantile(others, (0.025, 0.975), axis=0)
    changed = ((others >= threshold) != (own >= threshold)).mean(axis=0)
    error = np.abs(others - own).mean(axis=0)
    return pd.DataFrame({"p": own, "low": low, "high": high, "error": error, "changed": changed})


def mean_absolute_prediction_error(p: ArrayLike, resampled: ArrayLike) -> float:
    """MAPE: the mean over patients and resamples of the absolute difference of the probabilities.

    Parameters
    ----------
    p, resampled
        As for `patient_instability`.

    Examples
    --------
    >>> mean_absolute_prediction_error([0.25, 0.5], [[0.5, 0.5], [0.25, 0.25]])
    0.125
    """
    own, others = _checked(p, resampled)
    return float(np.abs(others - own).mean())


def calibration_instability(y: ArrayLike, resampled: ArrayLike, grid: ArrayLike) -> list[NDArray[np.float64]]:
    """Smooth calibration curves of the first 50 resamples' models in the development patients.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    resampled : array_like, shape (b, n)
    grid : array_like, shape (g,)
        Probabilities at which the curves are read.

    Returns
    -------
    list of ndarray, shape (g,)
        Observed frequency by predicted probability, NaN outside the range of the predictions; a model with one
        probability for most patients has no curve and is left out.
    """
    curves, outcome, places = [], checks.outcome(y), np.asarray(grid, dtype=float)
    for one in np.asarray(resampled, dtype=float)[:50]:
        found = read_curve(outcome, np.clip(one, 1e-9, 1 - 1e-9), places)
        curves += [found] if np.isfinite(found).any() else []
    return curves


def _checked(p: ArrayLike, resampled: ArrayLike) -> tuple[NDArray, NDArray]:
    own, others = np.asarray(p, dtype=float), np.asarray(resampled, dtype=float)
    if own.ndim != 1 or others.ndim != 2 or not others.size or others.shape[1] != own.size:
        raise ValueError(f"resampled must hold a row of {own.size} probabilities a model, got shape {others.shape}.")
    for name, values in (("p", own), ("resampled", others)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} must hold probabilities from 0 to 1.")
    return own, others
