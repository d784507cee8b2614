"""Rubin's rules for figures that are not normal on their own scale: pooled where they are, and brought back.

An AUC is pooled on the logit scale, a calibration slope on its own. The interval uses Rubin's degrees of freedom in
their form for small samples (Barnard and Rubin).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import norm, t

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.resampling import rubin_pool


@dataclass(frozen=True)
class PooledFigure:
    """A figure pooled over imputed sets; interval and missing information are NaN where no variance exists.

    Attributes
    ----------
    estimate, low, high : float
        On the figure's own scale.
    degrees_of_freedom : float
    missing_information : float
        Share of the total variance that comes from the differences between the sets.
    """

    estimate: float
    low: float
    high: float
    degrees_of_freedom: float
    missing_information: float


def rubin_interval(
    estimates: ArrayLike, variances: ArrayLike, *, complete_df: float = np.inf, level: float = 0.95
) -> PooledFigure:
    """Pooled estimate of one normal figure with its interval from Student's distribution.

    Parameters
    ----------
    estimates, variances : array_like, shape (m,)
        From each imputed set; variances above 0.
    complete_df : float
        Degrees of freedom that complete data would have, such as n minus the number of coefficients.
    level : float

    Returns
    -------
    PooledFigure

    Raises
    ------
    ValueError
        If the lengths differ, a number is not finite, a variance is not above 0, or the level is no level.

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
    pooled = rubin_pool(values, within)
    total = float(pooled.total_variance)
    share = (total - float(within.mean())) / total
    df = _degrees_of_freedom(values.size, share, complete_df)
    tail = (1 + checks.between(level, "level", 0, 1)) / 2
    reach = float((t.ppf(tail, df) if np.isfinite(df) else norm.ppf(tail)) * np.sqrt(total))
    return PooledFigure(
        float(pooled.estimate), float(pooled.estimate) - reach, float(pooled.estimate) + reach, df, share
    )


def pool_auc(y: ArrayLike, scores: Sequence[ArrayLike], *, level: float = 0.95) -> PooledFigure:
    """AUC over imputed sets, pooled on the logit scale.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    scores : sequence of m array_likes, shape (n,)
        One prediction from each imputed set.
    level : float

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
    found = [auc_interval(y, score) for score in _sets(scores, "scores")]
    values, errors = (np.array([getattr(one, name) for one in found]) for name in ("auc", "standard_error"))
    if np.isnan(errors).any():
        return _without_interval(values)
    variances = (errors / (values * (1 - values))) ** 2
    pooled = rubin_interval(logit(values), variances, complete_df=len(np.asarray(y)) - 1, level=level)
    limits = (float(expit(value)) for value in (pooled.estimate, pooled.low, pooled.high))
    return PooledFigure(*limits, pooled.degrees_of_freedom, pooled.missing_information)


def pool_slope(y: ArrayLike, p: Sequence[ArrayLike], *, level: float = 0.95) -> PooledFigure:
    """Calibration slope over imputed sets.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : sequence of m array_likes, shape (n,)
        One column of predicted probabilities, strictly between 0 and 1, from each imputed set.
    level : float

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
    found = [calibrate(y, one) for one in _sets(p, "p")]
    slopes = np.array([one.slope for one in found])
    if np.isnan(slopes).any():
        return _without_interval(slopes)
    errors = np.array([(one.slope_high - one.slope_low) for one in found]) / (2 * norm.ppf(0.975))
    return rubin_interval(slopes, errors**2, complete_df=len(np.asarray(y)) - 2, level=level)


def _degrees_of_freedom(m: int, share: float, complete_df: float) -> float:
    if m == 1 or share < 1e-12:
        return float(complete_df)
    rubin = (m - 1) / share**2
    if np.isinf(complete_df):
        return float(rubin)
    observed = (complete_df + 1) / (complete_df + 3) * complete_df * (1 - share)
    return float(1 / (1 / rubin + 1 / observed))


def _without_interval(values: np.ndarray) -> PooledFigure:
    return PooledFigure(float(values.mean()), np.nan, np.nan, np.nan, np.nan)


def _sets(columns: Sequence[ArrayLike], name: str) -> Sequence[ArrayLike]:
    if not len(columns):
        raise ValueError(f"{name} must hold the predictions of at least one imputed set, got none.")
    return columns
