"""Repeated cross-validation of a whole development, beside the bootstrap, where no patients are held out.

In each repeat the patients are divided anew, imputation, selection and fit are repeated in every training part, and the
models, before shrinkage, are judged on all held-out patients together: the same quantity that the optimism-corrected
figures estimate, reached without a resample in which patients stand twice.

Source: Steyerberg EW et al. J Clin Epidemiol 2001;54:774-781.
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
from hepred_lib.stats.calibration import brier_score, calibrate
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
