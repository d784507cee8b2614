"""Logistic regression: one careful fit, Firth's answer to separation, and thousands of fits at once.

A *coded* column is a column of the numeric design: a number as it stands, or one 0/1 column for each level of a
category but its first. The intercept is named ``intercept`` and comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.special import expit

from hepred_lib.stats import checks

Array = NDArray[np.float64]

# Newton's decrement below which one more step changes the log-likelihood by less than rounding.
_CONVERGED = 1e-10
_MAX_STEPS = 50
# Damping of Newton's matrix, per unit of case weight: keeps it invertible, leaves the maximum where it is.
_DAMPING = 1e-10
# Fits solved together: their designs should stay in the processor's cache.
_CHUNK = 64


@dataclass(frozen=True)
class Coding:
    """How a table of predictors becomes a numeric design.

    Attributes
    ----------
    levels : dict
        Column name to None (a number) or the levels of a category, the reference level first.
    """

    levels: dict[str, tuple[Any, ...] | None]

    @classmethod
    def of(cls, x: pd.DataFrame, *, observed: bool = True) -> Coding:
        """Coding of a table: categorical columns become levels, everything else must be numeric.

        With ``observed`` only levels that occur are kept; otherwise all that the column's type declares.
        """
        levels: dict[str, tuple[Any, ...] | None] = {}
        for name, column in x.items():
            if isinstance(column.dtype, pd.CategoricalDtype):
                used = column.cat.remove_unused_categories() if observed else column
                levels[str(name)] = tuple(used.cat.categories.tolist())
            elif pd.api.types.is_numeric_dtype(column.dtype):
                levels[str(name)] = None
            else:
                raise ValueError(f"Column {name} must be numeric, 0/1 or categorical, got {column.dtype}.")
        if len(levels) != x.shape[1]:
            raise ValueError(f"Column names must be unique, got {list(x.columns)}.")
        return cls(levels)

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        """Coded column names of each predictor."""
        return {
            name: (name,) if levels is None else tuple(f"{name}[{level}]" for level in levels[1:])
            for name, levels in self.levels.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """All coded column names, in order."""
        return tuple(coded for block in self.blocks.values() for coded in block)

    def matrix(self, x: pd.DataFrame) -> pd.DataFrame:
        """Code a table: shape (n, number of coded columns), NaN where a value is missing."""
        absent = [name for name in self.levels if name not in x.columns]
        if absent:
            raise ValueError(f"Columns {absent} are required, got {list(x.columns)}.")
        parts = [_code_column(x[name], levels) for name, levels in self.levels.items()]
        values = np.column_stack(parts) if parts else np.empty((len(x), 0))
        return pd.DataFrame(values, index=x.index, columns=list(self.names))


@dataclass(frozen=True)
class LogisticModel:
    """A fitted logistic regression.

    Attributes
    ----------
    names : tuple of str
        ``intercept``, then the coded columns; coefficients, standard errors and covariance follow this order.
    coefficients, standard_errors : ndarray, shape (q,)
        Log odds ratios per unit of each column; standard errors from the unpenalized information.
    log_likelihood, aic, bic : float
        Of the coefficients above, without penalty; bic uses the number of rows.
    covariance : ndarray, shape (q, q)
    method : str
        ``maximum likelihood`` or ``firth``.
    coding : Coding
    """

    names: tuple[str, ...]
    coefficients: Array
    standard_errors: Array
    log_likelihood: float
    aic: float
    bic: float
    covariance: Array
    method: str
    coding: Coding

    def linear_predictor(self, x: pd.DataFrame) -> Array:
        """Log odds of each row, shape (n,); missing values and unknown levels are refused."""
        coded = self.coding.matrix(x)
        _refuse_missing(coded)
        return self.coefficients[0] + coded.to_numpy() @ self.coefficients[1:]

    def predict(self, x: pd.DataFrame) -> Array:
        """Probability of each row, shape (n,)."""
        return expit(self.linear_predictor(x))


@dataclass(frozen=True)
class BatchedFit:
    """Many logistic fits: coefficients, shape (b, q), and maximized log-likelihoods, shape (b,)."""

    coefficients: Array
    log_likelihood: Array


def fit_logistic(x: pd.DataFrame, y: ArrayLike, *, separation: str = "refuse") -> LogisticModel:
    """Maximum-likelihood logistic regression with an intercept.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Numeric columns in their own units; categorical columns are coded against their first observed level.
    y : array, shape (n,)
        Outcome, 0 or 1, both present.
    separation : {"refuse", "firth"}
        What to do where no finite maximum exists: refuse, naming the columns, or maximize Firth's penalized
        likelihood instead. Data that do not separate are fitted by maximum likelihood in both cases.

    Returns
    -------
    LogisticModel

    Raises
    ------
    ValueError
        Missing values, one class, constant or collinear columns; separation unless it is answered.

    References
    ----------
    Albert, Anderson. Biometrika 1984;71:1-10 (when the maximum exists).
    Firth. Biometrika 1993;80:27-38. Heinze, Schemper. Stat Med 2002;21:2409-2419.

    Examples
    --------
    Three of four events where x = 1, one of four where x = 0: the log odds ratio is ln 9.

    >>> x = pd.DataFrame({"x": [1, 1, 1, 1, 0, 0, 0, 0]})
    >>> round(float(fit_logistic(x, [1, 1, 1, 0, 1, 0, 0, 0]).coefficients[1]), 6)
    2.197225
    """
    if separation not in ("refuse", "firth"):
        raise ValueError(f"separation must be 'refuse' or 'firth', got {separation!r}.")
    coding = Coding.of(x)
    coded = coding.matrix(x)
    outcome = check_outcome(x, y)
    rows, center, scale = standardize(coded)
    design = rows.T
    _refuse_collinear(design, coding.names)
    separating = separating_columns(design[:, 1:], outcome, coding.names)
    if separating and separation == "refuse":
        raise ValueError(
            f"No finite estimate exists: {', '.join(separating)} separate(s) y = 0 from y = 1; "
            "use separation='firth' or leave the column out."
        )
    scaled = firth(design, outcome) if separating else _maximum_likelihood(design, outcome)
    coefficients, covariance = unscale(scaled, information_inverse(design, scaled), center, scale)
    likelihood = float(log_likelihood(design @ scaled, outcome))
    return LogisticModel(
        names=("intercept", *coding.names),
        coefficients=coefficients,
        standard_errors=np.sqrt(np.diag(covariance)),
        log_likelihood=likelihood,
        aic=-2 * likelihood + 2 * scaled.size,
        bic=-2 * likelihood + np.log(outcome.size) * scaled.size,
        covariance=covariance,
        method="firth" if separating else "maximum likelihood",
        coding=coding,
    )


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
    n_fits, width = len(weights), designs.shape[-2]
    designs = np.broadcast_to(designs, (n_fits, *designs.shape[-2:]))
    coefficients = np.zeros((n_fits, width)) if start is None else start.copy()
    likelihood = np.empty(n_fits)
    for first in range(0, n_fits, _CHUNK):
        part = slice(first, first + _CHUNK)
        likelihood[part] = _newton(designs[part], y, weights[part], coefficients[part])
    return BatchedFit(coefficients, likelihood)


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
    for _ in range(200):
        p = expit(design @ coefficients)
        inverse = information_inverse(design, coefficients, weights)
        leverage = p * (1 - p) * np.einsum("ij,jk,ik->i", design, inverse, design)
        step = inverse @ (design.T @ (weights * (y - p + leverage * (0.5 - p))))
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
        reached = _penalized(design, y, weights, coefficients)
        while np.abs(step).max() > 1e-8 and _penalized(design, y, weights, coefficients + step) < reached:
            step /= 2
        coefficients += step
        if np.abs(step).max() < 1e-8:
            return coefficients
    raise ValueError("Firth's penalized likelihood did not converge in 200 steps.")


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
    if -answer.fun < 1e-6:
        return ()
    return tuple(name for name, weight in zip(names, answer.x[1:], strict=True) if abs(weight) > 1e-6)


def information_inverse(design: Array, coefficients: Array, weights: Array | None = None) -> Array:
    """Inverse of X'WX at the coefficients, shape (q, q): the covariance of the maximum-likelihood estimate."""
    p = expit(design @ coefficients)
    w = p * (1 - p) if weights is None else weights * p * (1 - p)
    return np.linalg.pinv(design.T @ (design * w[:, None]), rcond=1e-12, hermitian=True)


def log_likelihood(linear_predictor: Array, y: Array, weights: Array | float = 1.0) -> Array:
    """Binomial log-likelihood, summed over the last axis."""
    # ln(1 + e^t) = max(t, 0) + ln(1 + e^-|t|): never overflows, and faster than logaddexp.
    tail = np.log1p(np.exp(-np.abs(linear_predictor)))
    return np.sum(weights * (y * linear_predictor - np.maximum(linear_predictor, 0) - tail), axis=-1)


def standardize(coded: pd.DataFrame) -> tuple[Array, Array, Array]:
    """Design as rows (intercept first), shape (p + 1, n), and the mean and SD that were taken out of each column.

    Missing values and constant columns are refused.
    """
    _refuse_missing(coded)
    values = coded.to_numpy()
    constant = [name for name, column in coded.items() if column.min() == column.max()]
    if constant:
        raise ValueError(f"Each column of x must vary, got a constant in {', '.join(constant)}.")
    center, scale = values.mean(axis=0), values.std(axis=0)
    return np.vstack([np.ones(len(values)), ((values - center) / scale).T]), center, scale


def unscale(coefficients: Array, covariance: Array, center: Array, scale: Array) -> tuple[Array, Array]:
    """Coefficients and covariance per unit of (z * scale + center), from those per unit of z; intercept first."""
    back = np.diag(np.concatenate([[1.0], 1 / scale]))
    back[0, 1:] = -center / scale
    return back @ coefficients, back @ covariance @ back.T


def check_outcome(x: pd.DataFrame, y: ArrayLike) -> Array:
    """Return y as floats: 0 and 1, both present, one value for each row of x, under the same index if it has one."""
    checks.same_patients(x.index.to_series() if isinstance(y, pd.Series) else x.index, y, "x and y")
    return checks.outcome(y).astype(float)


def _code_column(column: pd.Series, levels: tuple[Any, ...] | None) -> Array:
    if levels is None:
        return column.to_numpy(dtype=float, na_value=np.nan)[:, None]
    missing = column.isna().to_numpy()
    values = column.to_numpy(dtype=object)
    unknown = sorted({str(value) for value in values[~missing] if value not in levels})
    if unknown:
        raise ValueError(f"Column {column.name} must hold one of {list(levels)}, got {unknown}.")
    coded = (values[:, None] == np.array(levels[1:], dtype=object)).astype(float)
    coded[missing] = np.nan
    return coded


def _refuse_missing(coded: pd.DataFrame) -> None:
    counts = (~np.isfinite(coded.to_numpy())).sum(axis=0)
    if counts.any():
        named = ", ".join(f"{name} ({count})" for name, count in zip(coded.columns, counts, strict=True) if count)
        raise ValueError(f"x must hold finite numbers only; missing or infinite values in {named}.")


def _refuse_collinear(design: Array, names: tuple[str, ...]) -> None:
    tolerance = 1e-7 * len(design) ** 0.5
    ranks = [np.linalg.matrix_rank(design[:, :width], tol=tolerance) for width in range(1, design.shape[1] + 1)]
    dependent = [name for name, gained in zip(names, np.diff(ranks), strict=True) if not gained]
    if dependent:
        raise ValueError(f"Columns of x must not be collinear: {', '.join(dependent)} follow(s) from those before.")


def _maximum_likelihood(design: Array, y: Array) -> Array:
    result = sm.Logit(y, design).fit(method="newton", maxiter=100, tol=1e-12, disp=False, warn_convergence=False)
    return np.asarray(result.params)


def _penalized(design: Array, y: Array, weights: Array, coefficients: Array) -> float:
    """Log-likelihood plus half the log determinant of the information (Jeffreys' prior)."""
    eta = design @ coefficients
    w = weights * expit(eta) * expit(-eta)
    return float(log_likelihood(eta, y, weights) + np.linalg.slogdet(design.T @ (design * w[:, None]))[1] / 2)


def _newton(designs: Array, y: Array, weights: Array, coefficients: Array) -> Array:
    """Maximize in place; returns the log-likelihoods, shape (b,)."""
    eta = np.einsum("bqn,bq->bn", designs, coefficients)
    likelihood = log_likelihood(eta, y, weights)
    damping = _DAMPING * weights.sum(axis=1)[:, None, None] * np.eye(designs.shape[1])
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
    fraction = np.ones(len(step))
    for _ in range(20):
        trial = eta[active] + fraction[:, None] * change
        reached = log_likelihood(trial, y, w)
        worse = reached < likelihood[active] - 1e-9
        if not worse.any():
            break
        fraction[worse] /= 2
    coefficients[active] += fraction[:, None] * step
    eta[active] = trial
    likelihood[active] = reached
