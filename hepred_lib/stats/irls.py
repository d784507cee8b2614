"""Thousands of weighted logistic regressions at once, by Newton's method (iteratively reweighted least squares)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hepred_lib.stats.coding import Array

# Newton's decrement below which one more step changes the log-likelihood by less than rounding.
_CONVERGED = 1e-10
_MAX_STEPS = 50
# Damping of Newton's matrix, per unit of case weight: keeps it invertible, leaves the maximum where it is.
DAMPING = 1e-10
# Variance or information of a standardized column, below which it adds nothing.
NEGLIGIBLE = 1e-8
# Fits solved together: their designs should stay in the processor's cache.
_CHUNK = 64


@dataclass(frozen=True)
class BatchedFit:
    """Many logistic fits: coefficients, shape (b, q), and maximized log-likelihoods, shape (b,)."""

    coefficients: Array
    log_likelihood: Array


def batched_irls(designs: Array, y: Array, weights: Array, *, start: Array | None = None) -> BatchedFit:
    """Fit many weighted logistic regressions at once by Newton's method with step halving.

    Columns are expected roughly standardized, the intercept among them. A column of zeros keeps the coefficient 0
    (so designs of different width can be padded). Where the data separate, the log-likelihood still converges
    to its supremum while coefficients stay finite but have no meaning.

    Parameters
    ----------
    designs : ndarray, shape (b, q, n) or (q, n)
        Columns first, so that each is contiguous.
    y : ndarray, shape (n,)
    weights : ndarray, shape (b, n)
        Case weights, such as the counts of a bootstrap resample.
    start : ndarray, shape (b, q), optional

    Returns
    -------
    BatchedFit
    """
    y = np.asarray(y, dtype=float)
    n_fits, width = len(weights), designs.shape[-2]
    designs = np.broadcast_to(designs, (n_fits, *designs.shape[-2:]))
    coefficients = np.zeros((n_fits, width)) if start is None else start.copy()
    likelihood = np.empty(n_fits)
    for first in range(0, n_fits, _CHUNK):
        part = slice(first, first + _CHUNK)
        likelihood[part] = _newton(designs[part], y, weights[part], coefficients[part])
    return BatchedFit(coefficients, likelihood)


def fit_rows(
    designs: Array,
    y: Array,
    weights: Array,
    *,
    member: NDArray[np.bool_],
    owner: NDArray[np.intp] | None = None,
    start: Array | None = None,
) -> BatchedFit:
    """Fit models that use some rows of a design each.

    Parameters
    ----------
    designs : ndarray, shape (p + 1, n) or (b, p + 1, n)
    y : ndarray, shape (n,)
    weights : ndarray, shape (b, n)
    member : ndarray of bool, shape (f, p + 1)
        The rows in each of the f models.
    owner : ndarray of int, shape (f,), optional
        The resample each model belongs to; without it f = b, one model a resample.
    start : ndarray, shape (f, p + 1), optional

    Returns
    -------
    BatchedFit
        Coefficients, shape (f, p + 1), are 0 outside the model.
    """
    owner = np.arange(len(weights)) if owner is None else owner
    width = int(member.sum(axis=1).max())
    rows = np.argsort(~member, axis=1, kind="stable")[:, :width]
    used = np.take_along_axis(member, rows, axis=1)
    narrow = designs[rows] if designs.ndim == 2 else designs[owner[:, None], rows]
    narrow[~used] = 0.0
    guess = None if start is None else np.where(used, np.take_along_axis(start, rows, axis=1), 0.0)
    fit = batched_irls(narrow, y, weights[owner], start=guess)
    coefficients = np.zeros(member.shape)
    np.put_along_axis(coefficients, rows, fit.coefficients, axis=1)
    return BatchedFit(coefficients, fit.log_likelihood)


def varying_rows(designs: Array, weights: Array) -> NDArray[np.bool_]:
    """Which design rows vary within each resample, shape (b, p + 1); the intercept counts as varying."""
    share = (weights / weights.sum(axis=1, keepdims=True))[:, :, None]
    mean, square = designs @ share, designs**2 @ share
    varying = (square - mean**2)[:, :, 0] > NEGLIGIBLE
    varying[:, 0] = True
    return varying


def independent_rows(designs: Array, weights: Array, member: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those rows of each model that do not follow from the rows before them, shape (b, p + 1).

    Parameters
    ----------
    designs : ndarray, shape (b, p + 1, n) or (p + 1, n)
        Columns roughly standardized, the intercept first.
    weights : ndarray, shape (b, n)
    member : ndarray of bool, shape (b, p + 1)

    Returns
    -------
    ndarray of bool, shape (b, p + 1)
        A row is left out where its variance that the rows before it leave unexplained is negligible.
    """
    share = (weights / weights.sum(axis=1, keepdims=True))[:, None, :]
    left = (designs * share) @ np.swapaxes(designs, -1, -2)
    left = np.where(member[:, :, None] & member[:, None, :], left, 0.0)
    kept = member.copy()
    for row in range(member.shape[1]):
        size = left[:, row, row]
        kept[:, row] &= size > NEGLIGIBLE
        # Gaussian elimination: what this row explains is taken out of those after it.
        scaled = np.where(kept[:, row], 1.0 / np.where(kept[:, row], size, 1.0), 0.0)
        left = left - left[:, :, [row]] * left[:, [row], :] * scaled[:, None, None]
    return kept


def information_inverse(design: Array, coefficients: Array, weights: Array | None = None) -> Array:
    """Inverse of X'WX at the coefficients, shape (q, q): the covariance of the maximum-likelihood estimate."""
    p = expit(design @ coefficients)
    w = p * (1 - p) if weights is None else weights * p * (1 - p)
    return np.linalg.pinv(design.T @ (design * w[:, None]), rtol=1e-12, hermitian=True)


def log_likelihood(linear_predictor: Array, y: Array, weights: Array | float = 1.0) -> Array:
    """Binomial log-likelihood, summed over the last axis."""
    # ln(1 + e^t) = max(t, 0) + ln(1 + e^-|t|): never overflows, and faster than logaddexp.
    tail = np.log1p(np.exp(-np.abs(linear_predictor)))
    return np.sum(weights * (y * linear_predictor - np.maximum(linear_predictor, 0) - tail), axis=-1)


def _newton(designs: Array, y: Array, weights: Array, coefficients: Array) -> Array:
    """Maximize in place; returns the log-likelihoods, shape (b,)."""
    eta = np.einsum("bqn,bq->bn", designs, coefficients)
    likelihood = log_likelihood(eta, y, weights)
    damping = DAMPING * weights.sum(axis=1)[:, None, None] * np.eye(designs.shape[1])
    active = np.arange(len(weights))
    for _ in range(_MAX_STEPS):
        x, w = (designs, weights) if active.size == len(weights) else (designs[active], weights[active])
        p = expit(eta[active])
        gradient = x @ (w * (y - p))[:, :, None]
        information = (x * (w * p * (1 - p))[:, None, :]) @ x.swapaxes(1, 2) + damping[active]
        step = np.linalg.solve(information, gradient)
        decrement = np.sum(gradient * step, axis=(1, 2))
        _move(x, y, w, step[:, :, 0], (coefficients, eta, likelihood, active))
        active = active[decrement > _CONVERGED]
        if not active.size:
            break
    return likelihood


def _move(x: Array, y: Array, w: Array, step: Array, state: tuple[Array, Array, Array, NDArray[np.intp]]) -> None:
    """Take Newton's step, halved where it would lower the log-likelihood."""
    coefficients, eta, likelihood, active = state
    change = np.einsum("bqn,bq->bn", x, step)
    worse, fraction = np.ones(len(step), dtype=bool), np.full(len(step), 2.0)
    for _ in range(20):
        fraction[worse] /= 2
        trial = eta[active] + fraction[:, None] * change
        reached = log_likelihood(trial, y, w)
        worse = reached < likelihood[active] - 1e-9
        if not worse.any():
            break
    coefficients[active] += fraction[:, None] * step
    eta[active] = trial
    likelihood[active] = reached
