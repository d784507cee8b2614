"""Bootstrap resamples of patients, and the percentile interval of what they give.

A *resample* holds as many patients as the data, drawn with replacement; *stratified*, as many of each outcome. It is
given as row numbers, or as *counts*: how often each patient was drawn, which serve as case weights.

Source: Efron B, Tibshirani RJ. An introduction to the bootstrap. Chapman & Hall 1993.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepred_lib.stats import checks


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


def percentile_interval(draws: ArrayLike) -> tuple[Any, Any]:
    """95 % percentile interval of bootstrap draws (linear interpolation between order statistics).

    Parameters
    ----------
    draws : array, shape (n_resamples,) or (n_resamples, k)
        Without NaN: a resample that gives no number must be decided on by the caller.

    Returns
    -------
    (float, float), or two ndarrays of shape (k,)

    Raises
    ------
    ValueError
        Without draws, or for a draw that is not finite.

    References
    ----------
    Efron, Tibshirani. An introduction to the bootstrap, chapter 13. Chapman & Hall 1993.

    Examples
    --------
    >>> [round(limit, 2) for limit in percentile_interval(range(41))]
    [1.0, 39.0]
    """
    values = np.asarray(draws, dtype=float)
    if values.ndim not in (1, 2) or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"draws must be a list of finite numbers, got shape {values.shape} with NaN or infinity.")
    tail = (1 - 0.95) / 2
    low, high = np.quantile(values, (tail, 1 - tail), axis=0)
    return (low, high) if values.ndim > 1 else (float(low), float(high))
