"""Several AUCs at once on the same patients, and two AUCs on different patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from hepred_lib.stats import checks
from hepred_lib.stats.discrimination import AucDifference, auc_interval, placements, wald_difference


@dataclass(frozen=True)
class AucContrast:
    """Test that several AUCs on the same patients are equal.

    Attributes
    ----------
    names : tuple of str
    aucs : ndarray, shape (k,)
    covariance : ndarray, shape (k, k)
        DeLong's.
    statistic, df, p
        Wald's chi-squared; df is the number of contrasts that vary. Scores that all order the patients alike have
        statistic 0, df 0 and p 1; without a variance all three are NaN.
    """

    names: tuple[str, ...]
    aucs: NDArray[np.float64]
    covariance: NDArray[np.float64]
    statistic: float
    df: float
    p: float


def delong_covariance(y: ArrayLike, scores: Mapping[str, ArrayLike]) -> tuple[NDArray, NDArray]:
    """AUCs of several scores on the same patients and their covariance.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    scores : mapping of str to array_like, shape (n,)

    Returns
    -------
    ndarray, shape (k,), and ndarray, shape (k, k)
        The covariance is NaN with one patient in a class.

    Raises
    ------
    ValueError
        As `auc`, the score at fault named.

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.
    """
    if not scores:
        raise ValueError("scores must name at least one score, got none.")
    parts = []
    for name, score in scores.items():
        outcome, values = checks.outcome_and_score(y, score, name)
        parts.append(placements(values[outcome == 1], values[outcome == 0]))
    above, below = (np.stack(part) for part in zip(*parts, strict=True))
    if min(above.shape[1], below.shape[1]) < 2:
        return above.mean(axis=1), np.full((len(parts), len(parts)), np.nan)
    covariance = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    return above.mean(axis=1), covariance.reshape(len(parts), len(parts))


def compare_aucs(y: ArrayLike, scores: Mapping[str, ArrayLike]) -> AucContrast:
    """One test that two or more AUCs on the same patients are equal, before any pair is looked at.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    scores : mapping of str to array_like, shape (n,)
        At least two.

    Returns
    -------
    AucContrast

    Raises
    ------
    ValueError
        As `auc`; with fewer than two scores.

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.
    """
    if len(scores) < 2:
        raise ValueError(f"scores must name at least two scores, got {list(scores)}.")
    aucs, covariance = delong_covariance(y, scores)
    names = tuple(scores)
    if np.isnan(covariance).any():
        return AucContrast(names, aucs, covariance, np.nan, np.nan, np.nan)
    contrast = np.eye(len(aucs))[1:] - np.eye(len(aucs))[0]
    spread, difference = contrast @ covariance @ contrast.T, contrast @ aucs
    size, axes = np.linalg.eigh(spread)
    varies = size > 1e-12 * max(size.max(), 1e-12)
    along = axes.T @ difference
    if np.abs(along[~varies]).max(initial=0.0) > 1e-9:  # a certain difference is no test
        return AucContrast(names, aucs, covariance, np.nan, np.nan, np.nan)
    statistic, df = float(np.sum(along[varies] ** 2 / size[varies])), int(varies.sum())
    return AucContrast(names, aucs, covariance, statistic, df, float(chi2.sf(statistic, df)) if df else 1.0)


def compare_unpaired(
    group_a: tuple[ArrayLike, ArrayLike], group_b: tuple[ArrayLike, ArrayLike], level: float = 0.95
) -> AucDifference:
    """AUC in group a minus AUC in group b, of different patients: two hospitals, or men and women.

    Parameters
    ----------
    group_a, group_b : (y, score)
        Outcome and score of the patients of each group; no patient in both.
    level : float

    Returns
    -------
    AucDifference
        All but the difference NaN where one of the AUCs has no standard error.

    Raises
    ------
    ValueError
        As `auc`.

    References
    ----------
    Hanley JA, McNeil BJ. Radiology 1982;143:29-36.
    """
    a, b = auc_interval(*group_a), auc_interval(*group_b)
    return wald_difference(a.auc - b.auc, float(np.hypot(a.standard_error, b.standard_error)), level)
