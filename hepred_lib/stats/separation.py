"""Separation: where the classes can be told apart without error, no finite maximum of the likelihood exists.

Found exactly by a linear programme, answered by Firth's penalty.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit

from hepred_lib.stats.coding import Array
from hepred_lib.stats.irls import information_inverse, log_likelihood


def separating_columns(x: Array, y: Array, names: tuple[str, ...]) -> tuple[str, ...]:
    """Columns of a direction that separates the classes, completely or quasi-completely; empty if there is none.

    Solved exactly, as a linear programme: is there a direction along which no event lies below and no non-event
    above the same hyperplane, and at least one lies off it? One column that does so alone is named alone.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Standardized, without intercept.
    y : ndarray, shape (n,)
    names : tuple of str, length p

    References
    ----------
    Albert, Anderson. Biometrika 1984;71:1-10. Konis. DPhil thesis, University of Oxford 2007.
    """
    if x.shape[1] == 0:
        return ()
    events, others = x[y == 1], x[y == 0]
    alone = (events.min(axis=0) >= others.max(axis=0)) | (events.max(axis=0) <= others.min(axis=0))
    if alone.any():
        return tuple(np.array(names)[alone].tolist())
    signed = (2 * y - 1)[:, None] * np.column_stack([np.ones(len(y)), x])
    answer = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(y)), bounds=(-1, 1), method="highs")
    # Separating directions form a cone, so the best one reaches a bound; less is the solver's tolerance.
    if answer.x is None or -answer.fun < 1e-6 or np.abs(answer.x).max() < 0.5:
        return ()
    return tuple(name for name, weight in zip(names, answer.x[1:], strict=True) if abs(weight) > 1e-6)


def firth(design: Array, y: Array, weights: Array | None = None) -> Array:
    """Coefficients that maximize the likelihood times the square root of the information's determinant.

    Newton steps, none longer than 2 in any coefficient and halved where they lead down, on the modified score
    X'[w (y - p + h (1/2 - p))], h the leverages: finite for every data set.

    Parameters
    ----------
    design : ndarray, shape (n, q)
        Of full rank, the intercept included, columns roughly standardized.
    y : ndarray, shape (n,)
    weights : ndarray, shape (n,), optional

    Returns
    -------
    ndarray, shape (q,)

    References
    ----------
    Firth. Biometrika 1993;80:27-38. Heinze, Schemper. Stat Med 2002;21:2409-2419.
    """
    weights = np.ones(len(y)) if weights is None else weights
    coefficients = np.zeros(design.shape[1])
    for _ in range(100):
        step = _firth_step(design, y, weights, coefficients)
        reached = _penalized(design, y, weights, coefficients)
        while np.abs(step).max() > 1e-8 and _penalized(design, y, weights, coefficients + step) < reached:
            step /= 2
        coefficients += step
        if np.abs(step).max() <= 1e-8:
            return coefficients
    raise ValueError("Firth's penalized likelihood did not converge in 100 steps.")


def penalized_score(design: Array, y: Array, coefficients: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Firth's modified score, shape (q,), its negative slope and the inverse information, both of shape (q, q)."""
    p = expit(design @ coefficients)
    v = p * (1 - p)
    skew = v * (1 - 2 * p)
    inverse = information_inverse(design, coefficients, weights)
    quadratic = np.einsum("ij,jk,ik->i", design, inverse, design)
    leverage = v * quadratic
    score = design.T @ (weights * (y - p + leverage * (0.5 - p)))
    third = np.einsum("i,ij,ik,il->jkl", weights * skew, design, design, design, optimize=True)
    pulled = np.einsum("ik,jkl,il->ij", design, inverse @ third @ inverse, design, optimize=True)
    leverage_slope = (skew * quadratic)[:, None] * design - v[:, None] * pulled
    curvature = design.T @ (design * (weights * v * (1 + leverage))[:, None])
    curvature -= design.T @ (leverage_slope * (weights * (0.5 - p))[:, None])
    return score, curvature, inverse


def _firth_step(design: Array, y: Array, weights: Array, coefficients: Array) -> Array:
    """Newton's step on the modified score, or a scoring step where Newton's would lead down; at most 2 long."""
    score, curvature, inverse = penalized_score(design, y, coefficients, weights)
    step = np.linalg.pinv(curvature, rtol=1e-12) @ score
    if step @ score <= 0:
        step = inverse @ score
    return step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))


def _penalized(design: Array, y: Array, weights: Array, coefficients: Array) -> float:
    """Log-likelihood plus half the log determinant of the information (Jeffreys' prior)."""
    eta = design @ coefficients
    w = weights * expit(eta) * expit(-eta)
    return float(log_likelihood(eta, y, weights) + np.linalg.slogdet(design.T @ (design * w[:, None]))[1] / 2)
