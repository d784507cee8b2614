"""Multiple imputation of predictors: with the outcome where effects are estimated, without it where a model is used.

Two models of one form. The *deployment* model knows the predictors alone, because the outcome is unknown when a model
is used; it completes new patients, and development patients wherever performance is judged. The *development* sets, on
which predictors are selected and coefficients estimated, are drawn from the joint model with the outcome as one more
column, which is then dropped: without it the values filled in carry no association with the outcome, and odds ratios
shrink towards 1.

Numbers are mapped to normal scores through their observed distribution, 0/1 columns and categories stay as they are,
and all follow a joint normal model. On the development data a chain of data augmentation draws missing values and
parameters in turn (numbers from a normal, 0/1 values and levels from their clipped linear probabilities), one chain an
imputed set. What remains for later patients is the mean and covariance at the end of each chain: a missing number is
drawn given all that is known of that patient, by normal scores that are fixed for each set and column; a missing 0/1
value is replaced by its probability. So a patient's values depend on no other patient, and no value leaves the
observed range.

What is estimated in each set is pooled by Rubin's rules, an AUC on the logit scale.

Sources: Schafer JL. Analysis of incomplete multivariate data, chapter 5. Chapman & Hall 1997. Rubin DB. Multiple
imputation for nonresponse in surveys. Wiley 1987. Moons KGM et al. J Clin Epidemiol 2006;59:1092-1101. Sterne JAC et
al. BMJ 2009;338:b2393. D'Agostino McGowan L, Lotspeich SC, Hepler SA. arXiv:2310.17434. Marshall
A et al. BMC Med Res Methodol 2009;9:57.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import norm, t

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.logistic import Array, Coding, check_outcome

Knots = tuple[Array, Array] | None


def impute_development(
    x: pd.DataFrame, y: ArrayLike, *, n_imputations: int, rng: np.random.Generator
) -> tuple[Imputer, list[Array]]:
    """Fit the imputer of later patients, and draw the completed development data on which models are fitted.

    The imputer knows the predictors alone. The completed sets are drawn given the outcome too; patients are drawn
    independently and 0/1 values are drawn as 0 or 1.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Numbers, 0/1 columns and categories, coded by all levels that their type declares; NaN where missing. The
        outcome must not be among them.
    y : array_like of 0 and 1, shape (n,)
        The outcome, known of every patient.
    n_imputations : int
        Number m of completed sets.
    rng : numpy.random.Generator

    Returns
    -------
    Imputer and list of m ndarrays, shape (n, q)

    Raises
    ------
    ValueError
        A column without any observed value, no column, a number below 1, or `rng` is no generator.
    """
    checks.generator(rng)
    checks.at_least(n_imputations, "n_imputations", 1)
    outcome = check_outcome(x, y)
    coding = Coding.of(x, observed=False)
    if not coding.names:
        raise ValueError("x must have at least one column to impute, got none.")
    values = coding.matrix(x).to_numpy()
    if empty := [name for name in coding.levels if x[name].isna().all()]:
        raise ValueError(f"Each predictor needs observed values to impute from, got none in {', '.join(empty)}.")
    knots, weights = describe(values, coding), np.ones(len(values))
    chains = [draw_once(values, coding, knots, weights=weights, rng=rng) for _ in range(n_imputations)]
    completed, means, covariances = zip(*chains, strict=True)
    if np.isnan(values).any():
        drawn = (draw_once(values, coding, knots, weights=weights, rng=rng, y=outcome) for _ in range(n_imputations))
        completed = tuple(filled for filled, _, _ in drawn)
    # Normal scores of m equally likely points, shuffled for each column: mean 0, variance 1.
    points = ndtri((np.arange(n_imputations) + 0.5) / n_imputations)
    points /= max(np.sqrt(np.mean(points**2)), 1e-12)
    scores = rng.permuted(np.tile(points[:, None], (1, values.shape[1])), axis=0)
    return Imputer(coding, knots, np.stack(means), np.stack(covariances), scores), list(completed)


@dataclass(frozen=True)
class Imputer:
    """What is needed to impute a new patient m times.

    Attributes
    ----------
    coding : Coding
        The columns it knows; further columns of a table are ignored.
    knots : tuple, one for each coded column
        Observed values and their normal scores, both increasing; None for a 0/1 column.
    means : ndarray, shape (m, q)
        Mean of the coded columns in the joint normal model, as drawn at the end of each chain.
    covariances : ndarray, shape (m, q, q)
    scores : ndarray, shape (m, q)
        Normal scores used for every patient; each column's have mean 0 and variance 1 over the m sets.

    References
    ----------
    Schafer. Analysis of incomplete multivariate data, chapter 5. Chapman & Hall 1997.
    """

    coding: Coding
    knots: tuple[Knots, ...]
    means: Array
    covariances: Array
    scores: Array

    def impute(self, x: pd.DataFrame) -> list[pd.DataFrame]:
        """Complete a table m times.

        Parameters
        ----------
        x : DataFrame, shape (n, p)

        Returns
        -------
        list of m DataFrames, shape (n, q)
            Coded columns (categories as 0/1 columns). What was observed is returned as it came; a missing number is
            drawn, a missing 0/1 value is a probability. Always the same for the same patient.
        """
        coded = self.coding.matrix(x)
        values = coded.to_numpy()
        latent = _to_latent(values, self.knots)
        units = _units(self.coding)
        completed = []
        for mean, covariance, score in zip(self.means, self.covariances, self.scores, strict=True):
            drawn = _complete(latent, units, (mean, covariance), (self.knots, score))
            filled = np.where(np.isnan(values), _from_latent(drawn, self.knots), values)
            completed.append(pd.DataFrame(filled, index=coded.index, columns=coded.columns))
        return completed

    def to_json(self) -> dict[str, Any]:
        """Everything, as numbers and lists."""
        return {
            "method": "joint normal model of normal scores and 0/1 columns; predictors only",
            "levels": {name: None if levels is None else list(levels) for name, levels in self.coding.levels.items()},
            "knots": {
                name: None if knots is None else {"values": knots[0].tolist(), "scores": knots[1].tolist()}
                for name, knots in zip(self.coding.names, self.knots, strict=True)
            },
            "means": self.means.tolist(),
            "covariances": self.covariances.tolist(),
            "scores": self.scores.tolist(),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Imputer:
        """Rebuild what `to_json` wrote.

        Raises
        ------
        ValueError
            As in a file edited by hand: arrays of other shapes than the columns ask for, covariances that are none, or
            knots out of order.
        """
        levels = {name: None if v is None else tuple(v) for name, v in stored["levels"].items()}
        knots = tuple(
            None if k is None else (np.array(k["values"]), np.array(k["scores"])) for k in stored["knots"].values()
        )
        imputer = cls(Coding(levels), knots, *(np.array(stored[key]) for key in ("means", "covariances", "scores")))
        m, q = len(imputer.means), len(imputer.coding.names)
        shapes = {"means": (m, q), "covariances": (m, q, q), "scores": (m, q)}
        wrong = [name for name, shape in shapes.items() if getattr(imputer, name).shape != shape or m < 1]
        if wrong or len(knots) != q:
            raise ValueError(f"{(wrong or ['knots'])[0]} must have the shape of {q} columns in {m} imputed sets")
        for pair in filter(None, knots):
            if len(pair[0]) != len(pair[1]) or any(not (np.diff(part) >= 0).all() for part in pair):
                raise ValueError("knots must be two increasing lists of one length")
        turned = np.swapaxes(imputer.covariances, 1, 2)
        if q and not (np.allclose(imputer.covariances, turned) and np.linalg.eigvalsh(turned).min() >= -1e-6):
            raise ValueError("covariances must be symmetric and positive")
        return imputer


def draw_once(
    values: Array,
    coding: Coding,
    knots: tuple[Knots, ...],
    *,
    weights: Array,
    rng: np.random.Generator,
    y: Array | None = None,
) -> tuple[Array, Array, NDArray[np.floating]]:
    """One chain of data augmentation: completed coded values, mean and covariance.

    Parameters
    ----------
    values : ndarray, shape (n, q)
        Coded columns, NaN where missing.
    coding : Coding
    knots : tuple of length q
        From `describe`, on the rows that count.
    weights : ndarray, shape (n,)
        Case weights, such as the counts of a bootstrap resample; rows of weight 0 are completed without a say.
    rng : numpy.random.Generator
    y : ndarray of 0 and 1, shape (n,), optional
        The outcome: then one more column of the model, as a normal variable of which only the sign is known. (As a 0/1
        column its association with a normal predictor would come out too weak: a tenth, where the AUC is 0.85.)

    Returns
    -------
    ndarray (n, q), ndarray (q,), ndarray (q, q)
        With an outcome, mean and covariance have one entry more.

    References
    ----------
    Albert JH, Chib S. J Am Stat Assoc 1993;88:669-679.
    """
    latent = _to_latent(values, knots)
    missing = np.isnan(latent)
    present = np.where(missing, 0.0, weights[:, None])
    mean = np.sum(np.where(missing, 0.0, latent) * present, axis=0) / present.sum(axis=0)
    latent = np.where(missing, mean, latent)
    pending = [(rows, unit, knots[unit[0]]) for unit in _units(coding) if (rows := missing[:, unit[0]]).any()]
    if y is not None:
        latent = np.column_stack([latent, np.where(y == 1, 1.0, -1.0)])
    for _ in range(_SWEEPS if pending else 0):
        mean, precision = _draw_parameters(latent, weights, rng)
        if y is not None:
            latent[:, -1] = _draw_propensity(latent, y, mean, precision, rng)
        for rows, unit, known in pending:
            expected = _expected(latent[rows], unit, mean, precision)
            latent[np.ix_(rows, unit)] = _draw(expected, precision[unit[0], unit[0]], known, rng)
    mean, precision = _draw_parameters(latent, weights, rng)
    filled = _from_latent(latent[:, : values.shape[1]], knots)
    return np.where(missing, filled, values), mean, np.linalg.inv(precision)


def describe(values: Array, coding: Coding) -> tuple[Knots, ...]:
    """Observed distribution of each coded column: at most 33 values with their normal scores; None for 0/1 columns."""
    return tuple(
        _knots(column) if coding.levels.get(name, ()) is None else None
        for name, column in zip(coding.names, values.T, strict=True)
    )


class Pooled(NamedTuple):
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


class PooledFigure(NamedTuple):
    """A figure pooled over imputed sets, on its own scale; its limits are NaN where no variance exists."""

    estimate: float
    low: float
    high: float


def rubin_interval(estimates: ArrayLike, variances: ArrayLike, *, complete_df: float = np.inf) -> PooledFigure:
    """Pooled estimate of one normal figure with its 95 % interval from Student's distribution.

    Parameters
    ----------
    estimates, variances : array_like, shape (m,)
        From each imputed set; variances above 0.
    complete_df : float
        Degrees of freedom that complete data would have, such as n minus the number of coefficients.

    Returns
    -------
    PooledFigure

    Raises
    ------
    ValueError
        If the lengths differ, a number is not finite, or a variance is not above 0.

    References
    ----------
    Rubin. Multiple imputation for nonresponse in surveys. Wiley 1987. Barnard, Rubin. Biometrika 1999;86:948-955.

    Examples
    --------
    >>> rubin_interval([1.0, 3.0], [4.0, 4.0]).estimate
    2.0
    """
    checks.same_patients(estimates, variances, "estimates and variances")
    values, within = checks.scores(estimates, "estimates"), checks.scores(variances, "variances")
    if (within <= 0).any() or not complete_df > 0:
        raise ValueError(f"variances and complete_df must be above 0, got {within.tolist()} and {complete_df}.")
    estimate, error, total = (float(part) for part in rubin_pool(values, within))
    share, df = (total - float(within.mean())) / total, float(complete_df)
    if values.size > 1 and share >= 1e-12:
        few = 0.0 if np.isinf(df) else (df + 3) / ((df + 1) * df * (1 - share))  # of few patients: Barnard and Rubin
        df = float(1 / (share**2 / (values.size - 1) + few))
    reach = float(t.ppf(0.975, df) if np.isfinite(df) else norm.ppf(0.975)) * error
    return PooledFigure(estimate, estimate - reach, estimate + reach)


def pool_auc(y: ArrayLike, scores: Sequence[ArrayLike]) -> PooledFigure:
    """AUC over imputed sets, pooled on the logit scale.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    scores : sequence of m array_likes, shape (n,)
        One prediction from each imputed set.

    Returns
    -------
    PooledFigure
        Where a set has no variance (an AUC of 0 or 1, one patient in a class) the mean AUC, without interval.

    Raises
    ------
    ValueError
        As `auc`; without any set.

    References
    ----------
    Marshall A et al. BMC Med Res Methodol 2009;9:57.
    """
    found = [auc_interval(y, score) for score in scores]
    values, errors = (np.array([getattr(one, name) for one in found]) for name in ("auc", "standard_error"))
    if np.isnan(errors).any():
        return PooledFigure(float(values.mean()), np.nan, np.nan)
    variances = (errors / (values * (1 - values))) ** 2
    pooled = rubin_interval(logit(values), variances, complete_df=len(np.asarray(y)) - 1)
    return PooledFigure(*(float(expit(end)) for end in pooled))


def pool_slope(y: ArrayLike, p: Sequence[ArrayLike]) -> PooledFigure:
    """Calibration slope over imputed sets.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : sequence of m array_likes, shape (n,)
        One column of predicted probabilities, strictly between 0 and 1, from each imputed set.

    Returns
    -------
    PooledFigure
        All NaN where a set has no slope.

    Raises
    ------
    ValueError
        As `calibrate`; without any set.

    References
    ----------
    Marshall A et al. BMC Med Res Methodol 2009;9:57.
    """
    found = [calibrate(y, one) for one in p]
    slopes = np.array([one.slope for one in found])
    if np.isnan(slopes).any():
        return PooledFigure(np.nan, np.nan, np.nan)
    errors = np.array([one.slope_high - one.slope_low for one in found]) / (2 * norm.ppf(0.975))
    return rubin_interval(slopes, errors**2, complete_df=len(np.asarray(y)) - 2)


_SWEEPS = 15
# Points that describe a number's observed distribution.
_KNOTS = 33


def _knots(column: Array) -> Knots:
    observed, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    if np.isin(observed, (0, 1)).all():
        return None
    score = ndtri((np.cumsum(counts) - counts / 2) / counts.sum())
    kept = np.unique(np.linspace(0, observed.size - 1, _KNOTS).round().astype(int))
    return observed[kept], score[kept]


def _units(coding: Coding) -> list[NDArray[np.intp]]:
    """Positions of the coded columns of each predictor."""
    ends = np.cumsum([len(block) for block in coding.blocks.values()])
    blocks = np.split(np.arange(ends[-1]), ends[:-1])
    return [block for block in blocks if block.size]


def _to_latent(values: Array, knots: tuple[Knots, ...]) -> Array:
    columns = [c if k is None else np.interp(c, *k) for c, k in zip(values.T, knots, strict=True)]
    # interp fills gaps where a column has a single knot.
    return np.where(np.isnan(values), np.nan, np.column_stack(columns))


def _from_latent(latent: Array, knots: tuple[Knots, ...]) -> Array:
    columns = [c if k is None else np.interp(c, k[1], k[0]) for c, k in zip(latent.T, knots, strict=True)]
    return np.column_stack(columns)


def _draw_parameters(latent: Array, weights: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Mean and precision from their posterior given complete data; the prior counts as one patient, uncorrelated."""
    n, width = weights.sum(), latent.shape[1]
    center = weights @ latent / n
    deviations = latent - center
    scatter = deviations.T @ (deviations * weights[:, None])
    scatter += np.diag(np.maximum(np.diag(scatter) / n, 1e-4))
    root = np.linalg.cholesky(np.linalg.inv(scatter))
    bartlett = np.tril(rng.standard_normal((width, width)), -1)
    bartlett[np.diag_indices(width)] = np.sqrt(rng.chisquare(max(n, width + 2.0) - np.arange(width)))
    factor = root @ bartlett
    mean = center + np.linalg.solve(factor.T, rng.standard_normal(width)) / np.sqrt(n)
    return mean, factor @ factor.T


def _expected(latent: Array, unit: NDArray[np.intp], mean: Array, precision: NDArray[np.floating]) -> Array:
    """Mean of a unit's columns given all other columns of each row, shape (rows, columns of the unit)."""
    own = precision[np.ix_(unit, unit)]
    pull = (latent - mean) @ precision[:, unit] - (latent[:, unit] - mean[unit]) @ own
    return mean[unit] - np.linalg.solve(own, pull.T).T


def _draw_propensity(latent: Array, y: Array, mean: Array, precision: Array, rng: np.random.Generator) -> Array:
    """The normal variable behind the outcome, given all other columns: above 0 where the outcome occurred."""
    last = np.array([latent.shape[1] - 1])
    expected, spread = _expected(latent, last, mean, precision)[:, 0], 1 / np.sqrt(precision[-1, -1])
    below = ndtr(-expected / spread)  # chance of no outcome
    chance = rng.random(len(y))
    drawn = np.where(y == 1, below + chance * (1 - below), chance * below)
    found = expected + spread * ndtri(np.clip(drawn, 1e-12, 1 - 1e-12))
    return found / found.std()  # only its sign is known, so its scale is free


def _draw(expected: Array, precision: float, knots: Knots, rng: np.random.Generator) -> Array:
    """A number from its normal, inside the observed range; a level from its probabilities."""
    if knots is not None:
        noise = rng.standard_normal(expected.shape) / np.sqrt(precision)
        return np.clip(expected + noise, knots[1][0], knots[1][-1])
    below = np.cumsum(_probabilities(expected), axis=1)
    chance = rng.random((len(expected), 1))
    return ((chance < below) & (chance >= below - _probabilities(expected))).astype(float)


def _probabilities(expected: Array) -> Array:
    """Probabilities of the levels but the first: linear predictions, clipped and brought to a sum of at most 1."""
    clipped = np.clip(expected, 0.0, 1.0)
    return clipped / np.maximum(clipped.sum(axis=1, keepdims=True), 1.0)


def _complete(
    latent: Array, units: list[NDArray[np.intp]], model: tuple[Array, Array], fixed: tuple[tuple[Knots, ...], Array]
) -> Array:
    """Fill each row from what is known of it, one unit after the other; rows with the same gaps are done together."""
    mean, covariance = model
    knots, score = fixed
    filled = latent.copy()
    patterns, member = np.unique(np.isnan(latent), axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(member.ravel() == number)
        known = ~pattern
        for unit in (unit for unit in units if pattern[unit[0]]):
            known[unit] = True
            precision = np.linalg.inv(covariance[np.ix_(known, known)])
            place = np.searchsorted(np.flatnonzero(known), unit)
            current = filled[np.ix_(rows, np.flatnonzero(known))]
            current[:, place] = mean[unit]
            expected = _expected(current, place, mean[known], precision)
            if knots[unit[0]] is None:
                filled[np.ix_(rows, unit)] = _probabilities(expected)
            else:
                filled[np.ix_(rows, unit)] = expected + score[unit] / np.sqrt(precision[place, place])
    return filled
