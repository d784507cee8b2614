"""Logistic regression: one model fitted with care, its likelihood with and without Firth's penalty, thousands at once.

Vocabulary. A *table* (DataFrame) of predictors is *coded*: numbers stay, a category becomes a 0/1 column
``name[level]`` for each level but the first. A *design* holds the standardized coded columns and the intercept, which
comes first: as columns, shape (n, q), where one model is fitted, and as rows, shape (q, n), where many are.
*Separation* means that a linear combination of the columns separates the classes without error: the likelihood then
has no finite maximum; Firth's penalized likelihood always has one.

Sources: Hosmer DW, Lemeshow S, Sturdivant RX. Applied logistic regression, 3rd ed. Wiley 2013. Firth D. Biometrika
1993;80:27-38. Heinze G, Schemper M. Stat Med 2002;21:2409-2419.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, linprog
from scipy.special import expit
from scipy.stats import norm

from hepred_lib.stats import checks

Array = NDArray[np.float64]

# Variance or information of a standardized column, below which it adds nothing.
NEGLIGIBLE = 1e-8
# Damping of the batched Newton matrix, per unit of case weight: keeps it invertible, leaves the maximum where it is.
DAMPING = 1e-10


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
        refuse_missing(coded)
        return self.coefficients[0] + coded.to_numpy() @ self.coefficients[1:]

    def predict(self, x: pd.DataFrame) -> Array:
        """Probability of each row, shape (n,)."""
        return expit(self.linear_predictor(x))


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
    coding, outcome = Coding.of(x), check_outcome(x, y)
    rows, center, scale = standardize(coding.matrix(x))
    design = rows.T
    _refuse_collinear(design, coding.names)
    separating = separating_columns(design[:, 1:], outcome, coding.names)
    if separating and separation == "refuse":
        raise ValueError(
            f"No finite estimate exists: {', '.join(separating)} separate(s) y = 0 from y = 1; "
            "use separation='firth' or leave the column out."
        )
    scaled, _ = maximize(design, outcome, penalized=bool(separating))
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
        if not isinstance(x, pd.DataFrame):
            raise ValueError(f"x must be a table with named columns, a DataFrame, got {type(x).__name__}.")
        if wrong := [name for name in x.columns if not isinstance(name, str)]:
            raise ValueError(f"Column names of x must be text, got {wrong[:5]}.")
        if not x.columns.is_unique:
            raise ValueError(f"Column names must be unique, got {list(x.columns)}.")
        levels: dict[str, tuple[Any, ...] | None] = {}
        for name, column in x.items():
            if isinstance(column.dtype, pd.CategoricalDtype):
                used = column.cat.remove_unused_categories() if observed else column
                levels[name] = tuple(used.cat.categories.tolist())
            elif pd.api.types.is_numeric_dtype(column.dtype):
                levels[name] = None
            else:
                raise ValueError(f"Column {name} must be numeric, 0/1 or categorical, got {column.dtype}.")
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
        if absent := [name for name in self.levels if name not in x.columns]:
            raise ValueError(f"Columns {absent} are required, got {list(x.columns)}.")
        parts = [_code_column(x[name], levels) for name, levels in self.levels.items()]
        values = np.column_stack(parts) if parts else np.empty((len(x), 0))
        return pd.DataFrame(values, index=x.index, columns=list(self.names))


def standardize(coded: pd.DataFrame) -> tuple[Array, Array, Array]:
    """Design as rows (intercept first), shape (p + 1, n), and the mean and SD that were taken out of each column.

    Missing values and constant columns are refused.
    """
    refuse_missing(coded)
    values = coded.to_numpy()
    if constant := [name for name, column in coded.items() if column.min() == column.max()]:
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


def refuse_missing(coded: pd.DataFrame) -> None:
    """Refuse a coded table with missing values, naming the columns."""
    counts = (~np.isfinite(coded)).sum()
    if counts.any():
        named = ", ".join(f"{name} ({count})" for name, count in counts.items() if count)
        raise ValueError(f"x must be complete; missing values in {named}.")


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


def maximize(
    design: Array,
    y: Array,
    start: Array | None = None,
    *,
    free: NDArray[np.bool_] | None = None,
    weights: Array | None = None,
    penalized: bool = False,
) -> tuple[Array, float]:
    """Maximize the likelihood, or Firth's penalized likelihood, by Newton's method over all or some coefficients.

    Firth's is the likelihood times the square root of the information's determinant. Its score is
    X'[w (y - p + h (1/2 - p))], h the leverages; its maximum is finite for every data set, and no step towards it is
    longer than 2 in any coefficient. A step that leads down is halved.

    Parameters
    ----------
    design : ndarray, shape (n, q)
        Of full rank, the intercept included, columns roughly standardized.
    y : ndarray, shape (n,)
    start : ndarray, shape (q,), optional
        0 everywhere by default.
    free : ndarray of bool, shape (q,), optional
        The coefficients to be found; the others are held at their starting values.
    weights : ndarray, shape (n,), optional
        Case weights.
    penalized : bool

    Returns
    -------
    ndarray, shape (q,), and the (penalized) log-likelihood

    Raises
    ------
    ValueError
        Where no maximum is reached in 200 steps: the classes are separated and the likelihood is not penalized.

    References
    ----------
    Firth. Biometrika 1993;80:27-38. Heinze, Schemper. Stat Med 2002;21:2409-2419.

    Examples
    --------
    One event in four patients, half an event and half a non-event added by the penalty: log odds ln(1.5 / 3.5).

    >>> round(float(maximize(np.ones((4, 1)), np.array([1.0, 0, 0, 0]), penalized=True)[0][0]), 4)
    -0.8473
    """
    weights = np.ones(len(y)) if weights is None else weights
    free = np.ones(design.shape[1], dtype=bool) if free is None else free
    coefficients = np.zeros(design.shape[1]) if start is None else start.astype(float)
    reached = _objective(design, y, weights, coefficients, penalized)
    if not free.any():
        return coefficients, reached
    for _ in range(_STEPS):
        step, gain = _step(design, y, weights, coefficients, free, penalized)
        if gain < max(_LEAST_GAIN, _ROUNDING * abs(reached)):
            return coefficients + step, reached
        trial = _objective(design, y, weights, coefficients + step, penalized)
        while trial <= reached and gain > _SURE_GAIN:
            step, gain = step / 2, gain / 2
            trial = _objective(design, y, weights, coefficients + step, penalized)
        coefficients, reached = coefficients + step, trial
    raise ValueError(f"The likelihood has no maximum that {_STEPS} steps reach: the classes are separated.")


def profile_limits(
    designs: list[Array], y: Array, start: Array, column: int, *, penalized: bool
) -> tuple[float, float]:
    """95 % profile-likelihood limits of one coefficient, from one data set or averaged over imputed ones (CLIP).

    In each set the distribution at a value is the normal one of the signed root of the profile likelihood ratio there;
    a limit is where the average of these reaches its tail. With one set, or equal ones, the limits are where the
    likelihood-ratio statistic reaches its chi-squared quantile.

    Parameters
    ----------
    designs : list of m ndarrays, shape (n, q)
        Of full rank, the intercept included, columns roughly standardized.
    y : ndarray, shape (n,)
    start : ndarray, shape (q,)
        Near the maxima, which are sought again from there.
    column : int
    penalized : bool
        Firth's penalized likelihood instead of the likelihood.

    Returns
    -------
    (float, float)
        Infinite where the distribution never comes to the limit; NaN where a limit cannot be found.

    References
    ----------
    Venzon, Moolgavkar. Appl Stat 1988;37:87-94. Heinze G, Ploner M, Beyea J. Stat Med 2013;32:5062-5076.
    """
    tail = (1 - 0.95) / 2
    free = np.arange(start.size) != column
    try:
        tops = [maximize(design, y, start, penalized=penalized) for design in designs]
    except _FAILED_SEARCH:
        return np.nan, np.nan

    def distribution(value: float) -> float:
        roots = []
        for design, (best, top) in zip(designs, tops, strict=True):
            held = np.where(free, best, value)
            drop = top - maximize(design, y, held, free=free, penalized=penalized)[1]
            roots.append(np.sign(value - best[column]) * np.sqrt(2 * max(drop, 0.0)))
        return float(norm.cdf(roots).mean())

    def limit(reach: float, share: float) -> float:
        inner, outer = center, center + reach
        for _ in range(_DOUBLINGS):
            try:
                if (distribution(outer) - share) * reach >= 0:
                    return float(brentq(lambda value: distribution(value) - share, inner, outer, xtol=1e-7))
            except _FAILED_SEARCH:
                return np.nan
            inner, outer = outer, center + 2 * (outer - center)
        return float(np.inf * np.sign(reach))

    center = float(np.mean([best[column] for best, _ in tops]))
    widest = max(information_inverse(one, best)[column, column] for one, (best, _) in zip(designs, tops, strict=True))
    reach = -norm.ppf(tail) * np.sqrt(widest)
    return limit(-reach, tail), limit(reach, 1 - tail)


def information_inverse(design: Array, coefficients: Array) -> Array:
    """Inverse of X'WX at the coefficients, shape (q, q): the covariance of the maximum-likelihood estimate."""
    p = expit(design @ coefficients)
    return np.linalg.pinv(design.T @ (design * (p * (1 - p))[:, None]), rtol=1e-12, hermitian=True)


def log_likelihood(linear_predictor: Array, y: Array, weights: Array | float = 1.0) -> Array:
    """Binomial log-likelihood, summed over the last axis."""
    # ln(1 + e^t) = max(t, 0) + ln(1 + e^-|t|): never overflows, and faster than logaddexp.
    tail = np.log1p(np.exp(-np.abs(linear_predictor)))
    return np.sum(weights * (y * linear_predictor - np.maximum(linear_predictor, 0) - tail), axis=-1)


class BatchedFit(NamedTuple):
    """Many logistic fits: coefficients, shape (b, q), and maximized log-likelihoods, shape (b,)."""

    coefficients: Array
    log_likelihood: Array


def batched_irls(
    designs: Array,
    y: Array,
    weights: Array,
    *,
    member: NDArray[np.bool_] | None = None,
    owner: NDArray[np.intp] | None = None,
    start: Array | None = None,
) -> BatchedFit:
    """Fit many weighted logistic regressions at once by Newton's method with step halving.

    A row of zeros keeps the coefficient 0 (so models of different width are padded). Where the data separate, the
    log-likelihood still converges to its supremum while coefficients stay finite but have no meaning.

    Parameters
    ----------
    designs : ndarray, shape (b, q, n) or (q, n)
        Columns of the design as rows, so that each is contiguous; roughly standardized, the intercept among them.
    y : ndarray, shape (n,)
    weights : ndarray, shape (b, n)
        Case weights, such as the counts of a bootstrap resample.
    member : ndarray of bool, shape (f, q), optional
        The rows in each of f models; all rows by default.
    owner : ndarray of int, shape (f,), optional
        The resample each of the f models belongs to; without it f = b, one model a resample.
    start : ndarray, shape (f, q), optional

    Returns
    -------
    BatchedFit
        f fits; coefficients are 0 outside the model.
    """
    if member is not None:
        owner = np.arange(len(weights)) if owner is None else owner
        rows = np.argsort(~member, axis=1, kind="stable")[:, : int(member.sum(axis=1).max())]
        used = np.take_along_axis(member, rows, axis=1)
        narrow = designs[rows] if designs.ndim == 2 else designs[owner[:, None], rows]
        narrow[~used] = 0.0
        start = None if start is None else np.where(used, np.take_along_axis(start, rows, axis=1), 0.0)
        fit = batched_irls(narrow, y, weights[owner], start=start)
        coefficients = np.zeros(member.shape)
        np.put_along_axis(coefficients, rows, fit.coefficients, axis=1)
        return BatchedFit(coefficients, fit.log_likelihood)
    designs = np.broadcast_to(designs, (len(weights), *designs.shape[-2:]))
    coefficients = np.zeros(designs.shape[:2]) if start is None else start.copy()
    likelihood = np.empty(len(weights))
    for first in range(0, len(weights), _CHUNK):
        part = slice(first, first + _CHUNK)
        likelihood[part] = _newton(designs[part], y, weights[part], coefficients[part])
    return BatchedFit(coefficients, likelihood)


def fit_robustly(
    designs: Array, y: Array, weights: Array, member: NDArray[np.bool_]
) -> tuple[Array, NDArray[np.bool_]]:
    """Maximum likelihood, or Firth's estimate where a model's rows separate the classes.

    Parameters
    ----------
    designs : ndarray, shape (b, q + 1, n)
    y : ndarray, shape (n,)
    weights : ndarray, shape (b, n)
    member : ndarray of bool, shape (b, q + 1)

    Returns
    -------
    coefficients, shape (b, q + 1), and whether each was separated, shape (b,)
        Where Firth's estimate does not converge, the finite end of the search for the maximum is kept.
    """
    coefficients = batched_irls(designs, y, weights, member=member).coefficients
    reach = np.abs((coefficients[:, None] @ designs)[:, 0]) * (weights > 0)
    separated = np.zeros(len(weights), dtype=bool)
    for b in np.flatnonzero(reach.max(axis=1) > _EXTREME):
        rows, used = np.flatnonzero(member[b]), weights[b] > 0
        design = designs[b][np.ix_(rows, used)].T
        if separating_columns(design[:, 1:], y[used], tuple(map(str, rows[1:]))):
            separated[b] = True
            with contextlib.suppress(ValueError):
                coefficients[b, rows], _ = maximize(design, y[used], weights=weights[b, used], penalized=True)
    return coefficients, separated


def independent_rows(designs: Array, weights: Array, member: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those rows of each model that vary and do not follow from the rows before them, shape (b, p + 1).

    Parameters
    ----------
    designs : ndarray, shape (b, p + 1, n) or (p + 1, n)
        Columns roughly standardized, the intercept first.
    weights : ndarray, shape (b, n)
    member : ndarray of bool, shape (b, p + 1)
        With the intercept, from which a constant row follows.

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


def _code_column(column: pd.Series, levels: tuple[Any, ...] | None) -> Array:
    if levels is None:
        return _numbers(column)[:, None]
    values, missing = column.to_numpy(dtype=object), column.isna().to_numpy()
    if unknown := sorted({str(value) for value in values[~missing] if value not in levels}):
        raise ValueError(f"Column {column.name} must hold one of {list(levels)}, got {unknown}.")
    coded = (values[:, None] == np.array(levels[1:], dtype=object)).astype(float)
    coded[missing] = np.nan
    return coded


def _numbers(column: pd.Series) -> Array:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = np.flatnonzero((np.isnan(numbers) & column.notna().to_numpy()) | np.isinf(numbers))
    if wrong.size:
        raise ValueError(f"Column {column.name} must hold finite numbers, got {column.iloc[wrong[0]]!r}.")
    return numbers


def _refuse_collinear(design: Array, names: tuple[str, ...]) -> None:
    tolerance = 1e-7 * len(design) ** 0.5
    ranks = [np.linalg.matrix_rank(design[:, :width], tol=tolerance) for width in range(1, design.shape[1] + 1)]
    dependent = [name for name, gained in zip(names, np.diff(ranks), strict=True) if not gained]
    if dependent:
        raise ValueError(f"Columns of x must not be collinear: {', '.join(dependent)} follow(s) from those before.")


_STEPS = 200
# Gain of a step, and its share of the log-likelihood (rounding in a sum over many patients), below which none is left.
_LEAST_GAIN, _ROUNDING = 1e-13, 1e-15
# Gain below which a step is not doubted: the likelihood is a parabola there, and rounding could hide the gain.
_SURE_GAIN = 1e-9
# What makes one search for a limit fail: no maximum there, or no crossing between its ends.
_FAILED_SEARCH = (ValueError, RuntimeError, FloatingPointError)
# A limit further away than 2^12 Wald reaches is called infinite.
_DOUBLINGS = 12


def _objective(design: Array, y: Array, weights: Array, coefficients: Array, penalized: bool) -> float:
    """Log-likelihood, plus half the log determinant of the information (Jeffreys' prior) where it is penalized."""
    eta = design @ coefficients
    reached = float(log_likelihood(eta, y, weights))
    if not penalized:
        return reached
    information = design.T @ (design * (weights * expit(eta) * expit(-eta))[:, None])
    return reached + float(np.linalg.slogdet(information)[1]) / 2


def _step(
    design: Array, y: Array, weights: Array, coefficients: Array, free: NDArray[np.bool_], penalized: bool
) -> tuple[Array, float]:
    """Newton's step of the free coefficients, under the penalty none longer than 2, and the gain that it promises."""
    p = expit(design @ coefficients)
    information = design.T @ (design * (weights * p * (1 - p))[:, None])
    score, curvature = design.T @ (weights * (y - p)), information
    if penalized:
        score, curvature = _firths_score(design, y, weights, p, information)
    score, curvature, information = score[free], curvature[np.ix_(free, free)], information[np.ix_(free, free)]
    move = np.linalg.pinv(curvature, rtol=1e-12) @ score
    if penalized:  # where the penalized likelihood curves upwards Newton's step leads to a saddle: turn it round
        size, axes = np.linalg.eigh(curvature)
        if size.min() < 0:
            move = axes @ (axes.T @ score / np.maximum(np.abs(size), 1e-12 * np.abs(size).max()))
    if score @ move < 0:
        move = np.linalg.pinv(information, rtol=1e-12, hermitian=True) @ score
    step = np.zeros(coefficients.size)
    # The likelihood alone is concave: of nearly collinear columns its maximum may lie hundreds away, in full steps.
    step[free] = move * min(1.0, 2.0 / max(np.abs(move).max(), 1e-300)) if penalized else move
    return step, float(score @ move)


def _firths_score(design: Array, y: Array, weights: Array, p: Array, information: Array) -> tuple[Array, Array]:
    """Firth's modified score, shape (q,), and its negative slope, shape (q, q)."""
    v = p * (1 - p)
    skew = v * (1 - 2 * p)
    inverse = np.linalg.pinv(information, rtol=1e-12, hermitian=True)
    quadratic = np.einsum("ij,jk,ik->i", design, inverse, design)
    leverage = v * quadratic
    score = design.T @ (weights * (y - p + leverage * (0.5 - p)))
    third = np.einsum("i,ij,ik,il->jkl", weights * skew, design, design, design, optimize=True)
    pulled = np.einsum("ik,jkl,il->ij", design, inverse @ third @ inverse, design, optimize=True)
    leverage_slope = (skew * quadratic)[:, None] * design - v[:, None] * pulled
    curvature = design.T @ (design * (weights * v * (1 + leverage))[:, None])
    return score, curvature - design.T @ (leverage_slope * (weights * (0.5 - p))[:, None])


# Newton's decrement below which one more step changes the log-likelihood by less than rounding.
_CONVERGED = 1e-10
_BATCHED_STEPS = 50
# Fits solved together: their designs should stay in the processor's cache.
_CHUNK = 64
# Log odds beyond which a fit is examined for separation.
_EXTREME = 10.0


def _newton(designs: Array, y: Array, weights: Array, coefficients: Array) -> Array:
    """Maximize in place; returns the log-likelihoods, shape (b,)."""
    eta = np.einsum("bqn,bq->bn", designs, coefficients)
    likelihood = log_likelihood(eta, y, weights)
    damping = DAMPING * weights.sum(axis=1)[:, None, None] * np.eye(designs.shape[1])
    active = np.arange(len(weights))
    for _ in range(_BATCHED_STEPS):
        x, w = (designs, weights) if active.size == len(weights) else (designs[active], weights[active])
        p = expit(eta[active])
        gradient = x @ (w * (y - p))[:, :, None]
        information = (x * (w * p * (1 - p))[:, None, :]) @ x.swapaxes(1, 2) + damping[active]
        step = np.linalg.solve(information, gradient)
        decrement = np.sum(gradient * step, axis=(1, 2))
        change = (step.swapaxes(1, 2) @ x)[:, 0]
        worse, fraction = np.ones(active.size, dtype=bool), np.full(active.size, 2.0)
        for _ in range(20):  # a step that would lower the log-likelihood is halved
            fraction[worse] /= 2
            trial = eta[active] + fraction[:, None] * change
            reached = log_likelihood(trial, y, w)
            worse = reached < likelihood[active] - 1e-9
            if not worse.any():
                break
        coefficients[active] += fraction[:, None] * step[:, :, 0]
        eta[active], likelihood[active] = trial, reached
        active = active[decrement > _CONVERGED]
        if not active.size:
            break
    return likelihood
