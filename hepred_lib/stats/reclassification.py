"""Net reclassification (NRI) and integrated discrimination improvement (IDI): reported because reviewers ask.

**Caution.** Both can be positive for a useless predictor when the larger model is miscalibrated, and neither is a
proper score: a difference of AUC, of Brier score or of net benefit, and the likelihood-ratio test, should carry the
argument. Their usual standard errors are wrong when a model was fitted on the same patients; use them on test patients
only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import bootstrap_indices, percentile_interval


@dataclass(frozen=True)
class Reclassification:
    """An index with its bootstrap interval, and its two parts: gain in events, gain in non-events."""

    value: float
    low: float
    high: float
    events: float
    non_events: float


def net_reclassification(
    y: ArrayLike,
    p_old: ArrayLike,
    p_new: ArrayLike,
    *,
    thresholds: ArrayLike | None = None,
    n_resamples: int,
    rng: np.random.Generator,
) -> Reclassification:
    """Net reclassification improvement of new over old probabilities; read the module's caution first.

    With thresholds, a patient moves when the risk category changes; without, whenever the probability does.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p_old, p_new : array_like, shape (n,)
        Predicted probabilities of the same patients.
    thresholds : array_like, optional
        Boundaries between risk categories, strictly between 0 and 1; a patient at one belongs above.
    n_resamples : int
        Stratified by outcome; for the 95 % percentile interval.
    rng : numpy.random.Generator

    Returns
    -------
    Reclassification
        Between -2 and 2.

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, a probability is outside [0, 1], a threshold outside (0, 1), or lengths
        differ.

    References
    ----------
    Pencina MJ et al. Stat Med 2011;30:11-21. Caution: Pepe MS et al. Stat Biosci 2015;7:282-295; Hilden J, Gerds TA.
    Stat Med 2014;33:3405-3414.
    """
    outcome, old, new = _checked(y, p_old, p_new)
    if thresholds is None:
        move = np.sign(new - old)
    else:
        limits = np.unique(checks.strictly_inside(thresholds, "thresholds"))
        move = np.sign(np.searchsorted(limits, new, "right") - np.searchsorted(limits, old, "right"))
    return _bootstrap(outcome, move, n_resamples=n_resamples, rng=rng)


def reclassification_table(y: ArrayLike, p_old: ArrayLike, p_new: ArrayLike, thresholds: ArrayLike) -> pd.DataFrame:
    """How many patients move between risk strata, events and non-events apart.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p_old, p_new : array_like, shape (n,)
    thresholds : array_like, shape (k - 1,)
        Boundaries between the k strata, strictly between 0 and 1; a patient at one belongs above.

    Returns
    -------
    DataFrame
        `outcome, old, new, patients, share`: one row for each outcome and pair of strata (0 is the lowest), the share
        of the patients with that outcome.

    Raises
    ------
    ValueError
        As `net_reclassification`.

    Examples
    --------
    >>> reclassification_table([0, 1], [0.1, 0.1], [0.1, 0.9], [0.5])["patients"].tolist()
    [1, 0, 0, 0, 0, 1, 0, 0]
    """
    outcome, old, new = _checked(y, p_old, p_new)
    limits = np.unique(checks.strictly_inside(thresholds, "thresholds"))
    before, after = (np.searchsorted(limits, p, "right") for p in (old, new))
    k, rows = limits.size + 1, []
    for label in (0, 1):
        moved = np.zeros((k, k), dtype=int)
        np.add.at(moved, (before[outcome == label], after[outcome == label]), 1)
        rows += [(label, i, j, int(moved[i, j]), moved[i, j] / moved.sum()) for i in range(k) for j in range(k)]
    return pd.DataFrame(rows, columns=["outcome", "old", "new", "patients", "share"])


def integrated_discrimination(
    y: ArrayLike, p_old: ArrayLike, p_new: ArrayLike, *, n_resamples: int, rng: np.random.Generator
) -> Reclassification:
    """Integrated discrimination improvement of new over old probabilities; read the module's caution first.

    The mean change of the probability in events minus that in non-events.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p_old, p_new : array_like, shape (n,)
    n_resamples, rng
        As for `net_reclassification`.

    Returns
    -------
    Reclassification
        Between -2 (from right everywhere to wrong everywhere) and 2.

    Raises
    ------
    ValueError
        As `net_reclassification`.

    References
    ----------
    Pencina MJ et al. Stat Med 2008;27:157-172. Caution: Hilden J, Gerds TA. Stat Med 2014;33:3405-3414.
    """
    outcome, old, new = _checked(y, p_old, p_new)
    return _bootstrap(outcome, new - old, n_resamples=n_resamples, rng=rng)


def _checked(y: ArrayLike, p_old: ArrayLike, p_new: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    outcome, old = checks.outcome_and_probability(y, p_old, "p_old")
    return outcome, old, checks.outcome_and_probability(y, p_new, "p_new")[1]


def _bootstrap(y: NDArray, change: NDArray, *, n_resamples: int, rng: np.random.Generator) -> Reclassification:
    """Mean upward change in events, mean downward change in non-events, and their sum with its interval."""
    checks.at_least(n_resamples, "n_resamples", 1)
    gain = np.where(y == 1, change / y.sum(), -change / (1 - y).sum())
    low, high = percentile_interval(gain[bootstrap_indices(y, n_resamples, rng)].sum(axis=1))
    events, non_events = (float(gain[y == label].sum()) for label in (1, 0))
    return Reclassification(events + non_events, low, high, events, non_events)
