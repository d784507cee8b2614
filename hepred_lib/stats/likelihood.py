"""Maxima of the logistic likelihood with some coefficients held fixed: the ground of profile intervals and tests.

The penalized likelihood is Firth's: the log-likelihood plus half the log determinant of the *whole* information, also
where coefficients are held, so that both are comparable.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import chi2

from hepred_lib.stats.coding import Array
from hepred_lib.stats.irls import information_inverse, log_likelihood
from hepred_lib.stats.separation import penalized_score

_STEPS = 200
# Gain of a step, and its share of the log-likelihood (rounding in a sum over many patients), below which none is left.
_LEAST_GAIN, _ROUNDING = 1e-13, 1e-15
# What makes one search for a limit fail: no maximum there, or no crossing between its ends.
FAILED_SEARCH = (ValueError, RuntimeError, FloatingPointError)


def maximum_given(
    design: Array, y: Array, start: Array, free: NDArray[np.bool_], *, penalized: bool = False
) -> tuple[Array, float]:
    """Maximize over the free coefficients, the others held at their starting values.

    Parameters
    ----------
    design : ndarray, shape (n, q)
        Of full rank, the intercept included, columns roughly standardized.
    y : ndarray, shape (n,)
    start : ndarray, shape (q,)
    free : ndarray of bool, shape (q,)
    penalized : bool
        Firth's penalized likelihood instead of the likelihood.

    Returns
    -------
    ndarray, shape (q,), and the (penalized) log-likelihood

    Raises
    ------
    ValueError
        Where no maximum is reached in 200 steps: the classes are separated and the likelihood is not penalized.

    References
    ----------
    Heinze, Schemper. Stat Med 2002;21:2409-2419.
    """
    coefficients, reached = start.astype(float), _objective(design, y, start, penalized)
    for _ in range(_STEPS if free.any() else 0):
        step, gain = _step(design, y, coefficients, free, penalized=penalized)
        if gain < max(_LEAST_GAIN, _ROUNDING * abs(reached)):
            break
        for halved in range(40):
            trial = _objective(design, y, coefficients + step, penalized)
            if trial > reached or (trial == reached and not halved):
                break
            step /= 2
        else:
            break  # no step leads up: the maximum to rounding
        coefficients, before, reached = coefficients + step, reached, trial
        if reached == before:
            break  # the likelihood is flat to rounding: a further step would only wander
    else:
        if free.any():
            raise ValueError(f"The likelihood has no maximum that {_STEPS} steps reach: the classes are separated.")
    return coefficients, reached


def profile_limits(
    design: Array, y: Array, estimate: Array, column: int, *, level: float, penalized: bool
) -> tuple[float, float]:
    """Values of one coefficient at which the profile likelihood-ratio statistic reaches its chi-squared quantile.

    Parameters
    ----------
    design, y, penalized
        As for `maximum_given`.
    estimate : ndarray, shape (q,)
        Near the maximum, which is sought again from there.
    column : int
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    (float, float)
        Infinite where the likelihood never falls that far; NaN where a limit cannot be found.

    References
    ----------
    Venzon, Moolgavkar. Appl Stat 1988;37:87-94.
    """
    every = np.ones(estimate.size, dtype=bool)
    try:
        best, top = maximum_given(design, y, estimate, every, penalized=penalized)
    except FAILED_SEARCH:
        return np.nan, np.nan
    allowed = chi2.ppf(level, 1) / 2
    free = every.copy()
    free[column] = False

    def drop(value: float) -> float:
        start = best.copy()
        start[column] = value
        return top - allowed - maximum_given(design, y, start, free, penalized=penalized)[1]

    reach = np.sqrt(2 * allowed * information_inverse(design, best)[column, column])
    low, high = (_crossing(drop, best[column], sign * reach) for sign in (-1, 1))
    return low, high


def _crossing(drop: Callable[[float], float], center: float, reach: float) -> float:
    """Where `drop` turns positive on one side of the centre; infinite if it does not within 2^12 of the Wald reach."""
    inner, outer = center, center + reach
    for _ in range(12):
        try:
            if drop(outer) >= 0:
                return float(brentq(drop, inner, outer, xtol=1e-9))
        except FAILED_SEARCH:
            return np.nan
        inner, outer = outer, center + 2 * (outer - center)
    return float(np.inf * np.sign(reach))


def _step(
    design: Array, y: Array, coefficients: Array, free: NDArray[np.bool_], *, penalized: bool
) -> tuple[Array, float]:
    """Newton's step of the free coefficients, none longer than 2, and the gain that it promises."""
    p = expit(design @ coefficients)
    information = design.T @ (design * (p * (1 - p))[:, None])
    score, curvature = design.T @ (y - p), information
    if penalized:
        score, curvature, _ = penalized_score(design, y, coefficients, np.ones(y.size))
    inside = np.ix_(free, free)
    move = np.linalg.pinv(curvature[inside], rtol=1e-12) @ score[free]
    if penalized:  # where the penalized likelihood curves upwards Newton's step leads to a saddle: turn it round
        size, axes = np.linalg.eigh(curvature[inside])
        if size.min(initial=1.0) < 0:
            move = axes @ (axes.T @ score[free] / np.maximum(np.abs(size), 1e-12 * np.abs(size).max()))
    if score[free] @ move < 0:
        move = np.linalg.pinv(information[inside], rtol=1e-12, hermitian=True) @ score[free]
    step = np.zeros(coefficients.size)
    step[free] = move * min(1.0, 2.0 / max(np.abs(move).max(), 1e-300))
    return step, float(score[free] @ move)


def _objective(design: Array, y: Array, coefficients: Array, penalized: bool) -> float:
    eta = design @ coefficients
    reached = float(log_likelihood(eta, y))
    if not penalized:
        return reached
    v = expit(eta) * expit(-eta)
    return reached + float(np.linalg.slogdet(design.T @ (design * v[:, None]))[1]) / 2
