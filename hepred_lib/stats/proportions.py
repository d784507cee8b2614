"""Intervals of proportions and of their linear combinations, from counts of patients in exclusive cells.

A combination such as net benefit (true positives minus odds times false positives) takes its interval from those of its
parts: each Wilson limit tells how far the part may lie off, and the distances add like standard errors, with the
correlation of the cells (the method of variance estimates recovery). It needs no resampling, stays asymmetric where the
parts are, and does not pretend certainty at a count of 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from hepred_lib.stats import checks


def wilson_interval(counts: ArrayLike, n: int, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval of proportions.

    Parameters
    ----------
    counts : array_like
        Patients counted, each between 0 and n.
    n : int
        Patients in all.
    level : float

    Returns
    -------
    (ndarray, ndarray)
        Lower and upper limits, in the shape of the counts.

    Raises
    ------
    ValueError
        If a count is outside 0 to n, n is below 1, or the level is outside (0, 1).

    References
    ----------
    Wilson EB. J Am Stat Assoc 1927;22:209-212.

    Examples
    --------
    >>> low, high = wilson_interval([0, 10], 10)
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.0, 0.722], [0.278, 1.0])
    """
    z = norm.ppf((1 + checks.between(level, "level", 0, 1)) / 2)
    n, k = checks.at_least(n, "n", 1), np.asarray(counts, dtype=float)
    if not ((k >= 0) & (k <= n)).all():
        raise ValueError(f"counts must lie between 0 and n = {n}, got {k.ravel()[:5].tolist()}.")
    q = k / n
    center, reach = q + z**2 / (2 * n), z * np.sqrt(q * (1 - q) / n + z**2 / (4 * n**2))
    low, high = ((center + sign * reach) / (1 + z**2 / n) for sign in (-1, 1))
    return np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)


def combination_interval(
    counts: ArrayLike, coefficients: ArrayLike, n: int, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Linear combination of the proportions of exclusive cells of one sample, with its interval.

    Parameters
    ----------
    counts : array_like, shape (k, t)
        Patients in each of k cells, in each of t settings; a patient is in one cell at most.
    coefficients : array_like, shape (k, t)
    n : int
        Patients in all.
    level : float

    Returns
    -------
    (ndarray, ndarray, ndarray), shape (t,)
        Estimate, lower and upper limit.

    Raises
    ------
    ValueError
        If shapes differ, a coefficient is not finite, the cells hold more than n patients, or as `wilson_interval`.

    References
    ----------
    Zou GY, Huang W, Zhang X. Comput Stat Data Anal 2009;53:1080-1085. Newcombe RG. Stat Med 1998;17:2635-2650.

    Examples
    --------
    Two exclusive cells that together hold everybody: the interval is that of one proportion, doubled and shifted.

    >>> estimate, low, high = combination_interval([[8], [2]], [[1], [-1]], 10)
    >>> [round(float(value[0]), 3) for value in (estimate, low, high)]
    [0.6, -0.02, 0.887]
    """
    k, c = np.asarray(counts, dtype=float), np.asarray(coefficients, dtype=float)
    if k.ndim != 2 or k.shape != c.shape or not np.isfinite(c).all():
        raise ValueError(f"coefficients must be finite, one for each count, got shapes {k.shape} and {c.shape}.")
    low, high = wilson_interval(k, n, level)
    if (k.sum(axis=0) > n).any():
        raise ValueError(f"counts must be of exclusive cells, n = {n} at most together, got {k.sum(axis=0).max():g}.")
    q = k / n
    estimate = np.sum(c * q, axis=0)
    # Cells of one sample are correlated by minus the root of the product of their odds.
    root_odds = np.sign(c) * np.sqrt(q / np.where(q < 1, 1 - q, 1.0))
    down = _reach(np.where(c > 0, c * (q - low), -c * (high - q)), root_odds)
    up = _reach(np.where(c > 0, c * (high - q), -c * (q - low)), root_odds)
    return estimate, estimate - down, estimate + up


def _reach(distance: NDArray, root_odds: NDArray) -> NDArray[np.float64]:
    shared = root_odds * distance
    cross = np.sum(shared, axis=0) ** 2 - np.sum(shared**2, axis=0)
    return np.sqrt(np.maximum(np.sum(distance**2, axis=0) - cross, 0.0))
