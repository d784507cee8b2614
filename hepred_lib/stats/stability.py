"""How stable a selected model is: which models resamples choose, and what selection does to the coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit

from hepred_lib.stats import checks
from hepred_lib.stats.coding import Array, Coding, check_outcome, standardize
from hepred_lib.stats.forward import Plan, Rule, group_columns, select_paths
from hepred_lib.stats.irls import independent_rows, varying_rows
from hepred_lib.stats.procedure import fit_robustly
from hepred_lib.stats.resampling import bootstrap_indices, resample_counts


@dataclass(frozen=True)
class Stability:
    """What the resamples say about a selection.

    Attributes
    ----------
    inclusion : Series
        Share of the resamples that chose each predictor, by name; 1 for a forced one.
    models : DataFrame
        `predictors, n_predictors, frequency`: each different set that was chosen, the most frequent first.
    coefficients : DataFrame
        By coded column, per unit: `full`, the estimate with all candidates in the model (NaN for one that follows from
        those before it); `median, low, high`, the 2.5,
        50 and 97.5 % points of the resamples' estimates, 0 where not chosen; `relative_bias_pct` of the estimates
        *where chosen*, against `full`: what selection adds to the size of an effect; `rmsd_ratio`, the root mean
        squared difference from `full` over the standard error of `full`: above 1, selection makes the estimate worse.
    """

    inclusion: pd.Series
    models: pd.DataFrame
    coefficients: pd.DataFrame


def selection_stability(
    x: pd.DataFrame,
    y: ArrayLike,
    *,
    n_resamples: int,
    rng: np.random.Generator,
    rule: Rule | None = None,
    blocks: Mapping[str, Sequence[str]] | None = None,
    forced: Sequence[str] = (),
) -> Stability:
    """Repeat forward selection in bootstrap resamples and describe what it chose and estimated.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Candidates, complete.
    y : array_like of 0 and 1, shape (n,)
    n_resamples : int
        Each holds the observed number of events.
    rng : numpy.random.Generator
    rule : Rule, optional
        Criterion and entry limit; the likelihood ratio at 5 % by default.
    blocks, forced
        As for `forward_select`.

    Returns
    -------
    Stability
        Where predictors separate the classes, Firth's penalty gives the estimate.

    Raises
    ------
    ValueError
        Missing values, one class, constant columns, unknown names, no resample.

    References
    ----------
    Heinze G, Wallisch C, Dunkler D. Biom J 2018;60:431-449.
    """
    checks.at_least(n_resamples, "n_resamples", 1)
    coding, predictors = Coding.of(x), group_columns(tuple(x.columns), blocks)
    design, _, scale = standardize(coding.matrix(x))
    outcome = check_outcome(x, y)
    plan = Plan.of(coding, predictors, forced)
    counts = resample_counts(bootstrap_indices(outcome, n_resamples, rng))
    paths = select_paths(design, outcome, counts, plan=plan, rule=rule or Rule())
    chosen = np.zeros((n_resamples, len(predictors)), dtype=bool)
    for resample, path in zip(chosen, paths, strict=True):
        resample[path] = True
    chosen[:, [i for i in range(len(predictors)) if i not in plan.candidates]] = True
    drawn, full = _estimates(design, outcome, counts, _members(chosen, plan, len(design)))
    table = _describe(drawn / scale, full[0] / scale, full[1] / scale)
    inclusion = pd.Series(chosen.mean(axis=0), index=list(predictors), name="inclusion_frequency")
    return Stability(inclusion, _models(chosen, list(predictors)), table.set_axis(list(coding.names)))


def _members(chosen: Array, plan: Plan, width: int) -> Array:
    member = np.zeros((len(chosen), width), dtype=bool)
    member[:, 0] = True
    for position, rows in enumerate(plan.blocks):
        member[:, rows] |= chosen[:, [position]]
    return member


def _estimates(design: Array, y: Array, counts: Array, member: Array) -> tuple[Array, tuple[Array, Array]]:
    """Slopes of the resamples, shape (b, q); slopes and standard errors with all candidates."""
    shared = np.broadcast_to(design, (len(counts), *design.shape))
    usable = independent_rows(design, counts, member & varying_rows(design, counts))
    drawn, _ = fit_robustly(shared, y, counts, usable)
    ones = np.ones((1, y.size))
    every = independent_rows(design, ones, varying_rows(design, ones))
    full, _ = fit_robustly(design[None], y, ones, every)
    used = design[every[0]]
    p = expit(full[0] @ design)
    covariance = np.linalg.pinv((used * p * (1 - p)) @ used.T, rtol=1e-12, hermitian=True)
    error = np.full(len(design), np.nan)
    error[every[0]] = np.sqrt(np.diag(covariance))
    return drawn[:, 1:], (np.where(every, full, np.nan)[0, 1:], error[1:])


def _describe(drawn: Array, full: Array, error: Array) -> pd.DataFrame:
    low, median, high = np.quantile(drawn, (0.025, 0.5, 0.975), axis=0)
    taken = drawn != 0
    mean = np.sum(drawn, axis=0) / np.maximum(taken.sum(axis=0), 1)
    known = taken.any(axis=0) & (full != 0) & np.isfinite(full)
    bias = np.where(known, 100 * (mean / np.where(known, full, 1.0) - 1), np.nan)
    ratio = np.sqrt(np.mean((drawn - full) ** 2, axis=0)) / error
    columns = {"full": full, "median": median, "low": low, "high": high}
    return pd.DataFrame(columns | {"relative_bias_pct": bias, "rmsd_ratio": ratio})


def _models(chosen: Array, names: list[str]) -> pd.DataFrame:
    sets, counts = np.unique(chosen, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    words = [" + ".join(np.array(names)[row]) or "none" for row in sets[order]]
    columns = {"predictors": words, "n_predictors": sets[order].sum(axis=1), "frequency": counts[order] / len(chosen)}
    return pd.DataFrame(columns)
