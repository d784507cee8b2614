"""Stratified bootstrap of AUCs: patients are drawn within each class, thousands of resamples at once.

A resample is a count for each patient, so that no curve has to be sorted twice: with the scores of the negatives in
order, a positive's wins are a cumulative sum of their counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepred_lib.stats import checks
from hepred_lib.stats.discrimination import AucDifference, AucInterval, auc, auc_interval

# --- resampling: Resampling and pooling: bootstrap draws, percentile intervals, Rubin's rules


@dataclass(frozen=True)
class Pooled:
    """Estimates pooled over imputed data sets.

    Attributes
    ----------
    estimate : ndarray, shape (q,), or float
        The mean over the data sets.
    standard_error : ndarray, shape (q,), or float
        Square root of the total variance.
    total_variance : ndarray, shape (q,) or (q, q), or float
        Within plus (1 + 1/m) times between.
    """

    estimate: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    total_variance: NDArray[np.float64]


def bootstrap_indices(n_or_strata: int | ArrayLike, n_resamples: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Row numbers of bootstrap resamples, drawn with replacement.

    Parameters
    ----------
    n_or_strata : int or array, shape (n,)
        The number of rows, or a label a row: then each resample holds as many rows of each label as the data.
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (n_resamples, n)

    Raises
    ------
    ValueError
        If a number is not whole and at least 1, there is no label, or `rng` is no generator.

    References
    ----------
    Efron, Tibshirani. An introduction to the bootstrap. Chapman & Hall 1993.

    Examples
    --------
    >>> draw = bootstrap_indices([0, 0, 1], 1, np.random.default_rng(0))
    >>> int((draw == 2).sum())  # the only row of its stratum is always drawn once
    1
    """
    checks.generator(rng)
    checks.at_least(n_resamples, "n_resamples", 1)
    one = np.isscalar(n_or_strata)
    strata = np.zeros(checks.at_least(n_or_strata, "n_or_strata", 1), int) if one else np.asarray(n_or_strata)
    if strata.ndim != 1 or strata.size == 0:
        raise ValueError(f"n_or_strata must be a positive number or a list of labels, got shape {strata.shape}.")
    drawn = np.empty((n_resamples, strata.size), dtype=np.intp)
    for label in np.unique(strata):
        rows = np.flatnonzero(strata == label)
        drawn[:, rows] = rows[rng.integers(rows.size, size=(n_resamples, rows.size))]
    return drawn


def resample_counts(indices: NDArray[np.intp]) -> NDArray[np.float64]:
    """How often each row was drawn: the resamples as case weights.

    Parameters
    ----------
    indices : ndarray of int, shape (n_resamples, n)

    Returns
    -------
    ndarray, shape (n_resamples, n)

    Examples
    --------
    >>> resample_counts(np.array([[0, 2, 2]])).tolist()
    [[1.0, 0.0, 2.0]]
    """
    n_resamples, n = indices.shape
    flat = indices + n * np.arange(n_resamples)[:, None]
    return np.bincount(flat.ravel(), minlength=n_resamples * n).reshape(n_resamples, n).astype(float)


def percentile_interval(draws: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws (linear interpolation between order statistics).

    Parameters
    ----------
    draws : array, shape (n_resamples,)
        Without NaN: a resample that gives no number must be decided on by the caller.
    level : float in (0, 1)

    References
    ----------
    Efron, Tibshirani. An introduction to the bootstrap, chapter 13. Chapman & Hall 1993.

    Examples
    --------
    >>> percentile_interval(range(5), level=0.5)
    (1.0, 3.0)
    """
    values = np.asarray(draws, dtype=float)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"draws must be a list of finite numbers, got shape {values.shape} with NaN or infinity.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}.")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def rubin_pool(estimates: ArrayLike, variances: ArrayLike) -> Pooled:
    """Pool estimates over m imputed data sets by Rubin's rules.

    Parameters
    ----------
    estimates : array, shape (m,) or (m, q)
    variances : array, shape (m,), (m, q), or (m, q, q) for covariance matrices
        Squared standard errors within each data set.

    Returns
    -------
    Pooled
        With m = 1 the between-variance is unknown and taken as zero.

    Raises
    ------
    ValueError
        Without any set, for a number that is not finite, or where the shapes do not fit.

    References
    ----------
    Rubin. Multiple imputation for nonresponse in surveys. Wiley 1987.

    Examples
    --------
    >>> round(float(rubin_pool([1.0, 3.0], [4.0, 4.0]).total_variance), 6)  # 4 + (1 + 1/2) * 2
    7.0
    """
    values, within = np.asarray(estimates, dtype=float), np.asarray(variances, dtype=float)
    if values.ndim not in (1, 2) or not len(values) or not (np.isfinite(values).all() and np.isfinite(within).all()):
        raise ValueError(f"estimates and variances must be finite, of at least one set, got {values.tolist()}.")
    m = values.shape[0]
    if within.shape not in (values.shape, values.shape + values.shape[1:]):
        raise ValueError(f"variances must fit estimates of shape {values.shape}, got shape {within.shape}.")
    deviations = values - values.mean(axis=0)
    matrices = within.ndim > values.ndim
    squares = deviations[:, :, None] * deviations[:, None, :] if matrices else deviations**2
    total = within.mean(axis=0) + (1 + 1 / m) * squares.sum(axis=0) / max(m - 1, 1)
    diagonal = np.diagonal(total) if matrices else total
    return Pooled(values.mean(axis=0), np.sqrt(diagonal), total)


# --- bootstrap: Stratified bootstrap of AUCs: patients are drawn within each class, thousands of resamples at o

# Numbers of a block of resamples: it should stay in the processor's cache.
_BLOCK = 500_000


def bootstrap_auc_interval(
    y: ArrayLike, score: ArrayLike, *, n_resamples: int, rng: np.random.Generator, level: float = 0.95
) -> AucInterval:
    """AUC with a percentile interval from a bootstrap stratified by outcome.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score : array_like, shape (n,)
    n_resamples : int
        At least 2.
    rng : numpy.random.Generator
    level : float

    Returns
    -------
    AucInterval
        The standard error is the resamples' SD. Without DeLong's variance (AUC 0 or 1, one patient in a class) the
        resamples would pretend certainty: standard error and interval are NaN.

    Raises
    ------
    ValueError
        As `auc`; for a number of resamples below 2 or a level outside (0, 1).

    References
    ----------
    Carpenter J, Bithell J. Stat Med 2000;19:1141-1164.
    """
    draws = resampled_aucs(y, [score], n_resamples=n_resamples, rng=rng)[0]
    low, high = percentile_interval(draws, level)
    estimate = auc(y, score)
    if np.isnan(auc_interval(y, score).standard_error):
        return AucInterval(estimate, np.nan, np.nan, np.nan)
    return AucInterval(estimate, low, high, float(draws.std(ddof=1)))


def bootstrap_auc_difference(
    y: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    *,
    n_resamples: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> AucDifference:
    """AUC of `score_a` minus AUC of `score_b` on the same patients, resampled together within each class.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score_a, score_b : array_like, shape (n,)
    n_resamples, rng, level
        As for `bootstrap_auc_interval`.

    Returns
    -------
    AucDifference
        A percentile interval; z is the difference over the resamples' SD and p two-sided from the share of resamples
        on the other side of 0, at least 2 / (n_resamples + 1). Scores that order the patients alike have difference 0
        and p 1.

    Raises
    ------
    ValueError
        As `bootstrap_auc_interval`.

    References
    ----------
    Davison, Hinkley. Bootstrap methods and their application, chapter 4. Cambridge 1997.
    """
    draws = np.subtract(*resampled_aucs(y, [score_a, score_b], n_resamples=n_resamples, rng=rng))
    low, high = percentile_interval(draws, level)
    difference = auc(y, score_a) - auc(y, score_b)
    if np.ptp(draws) < 1e-12:
        same = abs(difference) < 1e-12
        return AucDifference(difference, *((0.0, 0.0, 0.0, 1.0) if same else (np.nan,) * 4))
    tail = min(np.sum(draws <= 0), np.sum(draws >= 0))
    p = min(1.0, 2 * (tail + 1) / (draws.size + 1))
    return AucDifference(difference, low, high, float(difference / draws.std(ddof=1)), float(p))


def resampled_aucs(
    y: ArrayLike, scores: list[ArrayLike], *, n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """AUC of each score in stratified bootstrap resamples that all scores share.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    scores : list of k array_likes, shape (n,)
    n_resamples : int
        At least 2.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (k, n_resamples)

    Raises
    ------
    ValueError
        As `auc`; for a number of resamples below 2.
    """
    checks.generator(rng)
    checks.at_least(n_resamples, "n_resamples", 2)
    checked = [checks.outcome_and_score(y, score) for score in scores]
    outcome = checked[0][0]
    positive, negative = np.flatnonzero(outcome == 1), np.flatnonzero(outcome == 0)
    ladders = [_ladder(score[positive], score[negative]) for _, score in checked]
    size = max(1, _BLOCK // outcome.size)
    blocks = []
    for first in range(0, n_resamples, size):
        b = min(size, n_resamples - first)
        events, others = (_counts(part.size, b, rng) for part in (positive, negative))
        blocks.append([_weighted_auc(events, others, *ladder) for ladder in ladders])
    return np.concatenate(blocks, axis=1)


def _counts(n: int, n_resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each of n patients is drawn in each resample, shape (b, n)."""
    drawn = rng.integers(0, n, size=(n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=n * n_resamples).reshape(n_resamples, n).astype(float)


def _ladder(positive: NDArray, negative: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Order of the negatives, and how many of them lie below and not above each positive."""
    order = np.argsort(negative, kind="stable")
    rungs = negative[order]
    return order, np.searchsorted(rungs, positive, "left"), np.searchsorted(rungs, positive, "right")


def _weighted_auc(events: NDArray, others: NDArray, order: NDArray, below: NDArray, upto: NDArray) -> NDArray:
    cumulative = np.zeros((len(others), others.shape[1] + 1))
    np.cumsum(others[:, order], axis=1, out=cumulative[:, 1:])
    wins = cumulative[:, below] + cumulative[:, upto]
    return np.einsum("bi,bi->b", events, wins) / (2 * events.shape[1] * others.shape[1])
