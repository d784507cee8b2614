"""Patients without an outcome: what those who have one would show if they stood for all.

A patient who died or was operated on early has no second scan, and sicker patients differ in what is predicted.
*Weighting*: a ridge logistic regression on baseline variables gives each patient's probability of having an outcome;
patients with one count by its inverse. It repairs what the baseline variables explain, and nothing else. *Bounds*: the
figures if every patient without an outcome had expanded, and if none had.

These are sensitivity analyses. The regression knows who has an outcome, never which one, and no test patient is among
those it is fitted on.

Sources: Seaman SR, White IR. Stat Methods Med Res 2013;22:278-295. Cole SR, Hernán MA. Am J Epidemiol
2008;168:656-664.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import bootstrap_indices, percentile_interval
from hepred_lib.stats.calibration import in_the_large
from hepred_lib.stats.imputation import impute_development
from hepred_lib.stats.logistic import batched_irls

# Fewer patients without an outcome, and no regression can say who they are.
MIN_LOST = 10
# Weights above this share of them are cut there: a single patient must not stand for a ward.
TRUNCATED_AT = 0.99


@dataclass(frozen=True)
class OutcomeWeights:
    """Weights of the patients with an outcome, mean 1, and how many were cut.

    Attributes
    ----------
    weights : ndarray, shape (n,)
    truncated : int
        Patients whose weight was brought down to the 99th percentile.
    largest : float
        The largest weight before that.
    """

    weights: NDArray[np.float64]
    truncated: int
    largest: float


def outcome_weights(
    known: pd.DataFrame, lost: pd.DataFrame, patients: pd.DataFrame, *, share: float = 1.0, seed: int = 0
) -> OutcomeWeights:
    """Inverse probabilities of having an outcome.

    Parameters
    ----------
    known, lost : DataFrame, shape (n, p), (k, p)
        Baseline variables of development patients with an outcome, and of patients without: numbers, 0/1, categories;
        NaN where missing. A column without any value in either is left out.
    patients : DataFrame, shape (m, p)
        Those to be weighted, all with an outcome.
    share : float
        What one patient without an outcome counts: the share of the patients with an outcome that `known` holds, where
        the patients without one were never divided into sets.
    seed : int
        Of the imputation.

    Returns
    -------
    OutcomeWeights

    Raises
    ------
    ValueError
        Fewer than ten patients without an outcome, no column, or a share outside (0, 1].

    References
    ----------
    Seaman SR, White IR. Stat Methods Med Res 2013;22:278-295.
    """
    if len(lost) < MIN_LOST:
        raise ValueError(f"lost must hold at least {MIN_LOST} patients without an outcome, got {len(lost)}.")
    if not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and be at most 1, got {share}.")
    both = pd.concat([known, lost], ignore_index=True)
    both = both.loc[:, both.nunique() > 1]
    if both.shape[1] == 0:
        raise ValueError("known and lost must have a column that varies, got none.")
    observed = np.r_[np.ones(len(known)), np.zeros(len(lost))]
    rng = np.random.default_rng(seed)
    imputer, (completed,) = impute_development(both, observed, n_imputations=1, rng=rng)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    counts = np.where(observed == 1, 1.0, share)
    model.fit(completed, observed, logisticregression__sample_weight=counts)
    (table,) = imputer.impute(patients[list(both.columns)])
    weights = 1 / model.predict_proba(table.to_numpy())[:, 1]
    limit = np.quantile(weights, TRUNCATED_AT)
    cut = np.minimum(weights, limit)
    return OutcomeWeights(cut / cut.mean(), int((weights > limit).sum()), float(weights.max() / weights.mean()))


def weighted_auc(y: ArrayLike, score: ArrayLike, weights: ArrayLike) -> float:
    """AUC in which each pair of patients counts by the product of their weights; ties count one half.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score : array_like, shape (n,)
    weights : array_like, shape (n,)
        Above 0.

    Raises
    ------
    ValueError
        As `auc`; for a weight that is not above 0.

    Examples
    --------
    >>> weighted_auc([0, 0, 1], [1.0, 3.0, 2.0], [3.0, 1.0, 1.0])
    0.75
    """
    outcome, values = checks.outcome_and_score(y, score)
    counted = checks.scores(weights, "weights")
    if counted.size != outcome.size or (counted <= 0).any():
        raise ValueError(f"weights must be {outcome.size} numbers above 0, got {counted.size}.")
    order = np.argsort(values, kind="stable")
    _, first = np.unique(values[order], return_index=True)
    events = np.add.reduceat(np.where(outcome == 1, counted, 0.0)[order], first)
    others = np.add.reduceat(np.where(outcome == 0, counted, 0.0)[order], first)
    below = np.cumsum(others) - others
    return float(events @ (below + others / 2) / (events.sum() * others.sum()))


def weighted_performance(
    y: ArrayLike, p: ArrayLike, weights: ArrayLike, *, n_resamples: int = 200, rng: np.random.Generator
) -> dict[str, float]:
    """AUC, calibration slope and in the large as they are and weighted, each with a bootstrap interval.

    Parameters
    ----------
    y, p : array_like, shape (n,)
        Outcome, and probabilities strictly between 0 and 1.
    weights : array_like, shape (n,)
    n_resamples : int
        Resamples of patients with their weights; those of one outcome alone are left out.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        `auc, slope, in_the_large` and the same with `weighted_`, each with `_low` and `_high`.
    """
    outcome, risk = checks.outcome_and_risk(y, p)
    counted = np.asarray(weights, dtype=float)
    found: dict[str, float] = {}
    drawn = [rows for rows in bootstrap_indices(outcome.size, n_resamples, rng) if 0 < outcome[rows].mean() < 1]
    for prefix, w in (("", np.ones_like(counted)), ("weighted_", counted)):
        whole = _figures(outcome, risk, w)
        spread = np.array([list(_figures(outcome[rows], risk[rows], w[rows]).values()) for rows in drawn])
        low, high = percentile_interval(spread)
        for k, (name, value) in enumerate(whole.items()):
            found |= {prefix + name: value, f"{prefix}{name}_low": low[k], f"{prefix}{name}_high": high[k]}
    return found


def outcome_bounds(y: ArrayLike, p: ArrayLike, p_lost: ArrayLike) -> Mapping[str, dict[str, float]]:
    """Frequency and AUC if none, and if all, of the patients without an outcome had expanded.

    Parameters
    ----------
    y, p : array_like, shape (n,)
    p_lost : array_like, shape (k,)
        Probabilities of the patients without an outcome.

    Returns
    -------
    dict
        By case ("as known", "none of them", "all of them"): `patients, frequency, auc`.
    """
    outcome, risk = checks.outcome_and_probability(y, p)
    lost = np.asarray(p_lost, dtype=float)
    cases = {"as known": (outcome, risk)}
    for words, value in (("none of them", 0), ("all of them", 1)):
        cases[words] = np.r_[outcome, np.full(lost.size, value)], np.r_[risk, lost]
    found = {}
    for words, (labels, q) in cases.items():
        area = weighted_auc(labels, q, np.ones(q.size))
        found[words] = {"patients": labels.size, "frequency": float(labels.mean()), "auc": area}
    return found


def _figures(y: NDArray, p: NDArray, weights: NDArray) -> dict[str, float]:
    """Weighted AUC, slope and in the large."""
    log_odds = logit(p)
    slope = batched_irls(np.stack([np.ones_like(log_odds), log_odds])[None], y, weights[None]).coefficients[0, 1]
    level = in_the_large(y, log_odds, weights)
    return {"auc": weighted_auc(y, p, weights), "slope": float(slope), "in_the_large": level}
