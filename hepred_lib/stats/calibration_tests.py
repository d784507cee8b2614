"""Tests of calibration, beside the estimates of `calibration`: a p value says little about how far off a model is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import chi2, norm

from hepred_lib.stats import checks


@dataclass(frozen=True)
class SpiegelhalterTest:
    """Spiegelhalter's z (above 0: the Brier score is larger than calibration allows) and its two-sided p."""

    z: float
    p: float


@dataclass(frozen=True)
class HosmerLemeshowTest:
    """Chi-squared over groups of risk, with the groups: `n, events, expected, mean_p`."""

    statistic: float
    df: int
    p: float
    groups: pd.DataFrame


def spiegelhalter_test(y: ArrayLike, p: ArrayLike) -> SpiegelhalterTest:
    """Test of calibration through the Brier score, which needs no groups.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Predicted probabilities in [0, 1].

    Returns
    -------
    SpiegelhalterTest
        NaN where every p is 0, 1/2 or 1: then the Brier score does not vary under calibration.

    Raises
    ------
    ValueError
        If `y` is not 0/1, a `p` is outside [0, 1], or the lengths differ.

    References
    ----------
    Spiegelhalter DJ. Stat Med 1986;5:421-433.
    """
    y, p = checks.outcome_and_probability(y, p, both_classes=False)
    variance = float(np.sum((1 - 2 * p) ** 2 * p * (1 - p)))
    if variance <= 0:
        return SpiegelhalterTest(float("nan"), float("nan"))
    z = float(np.sum((y - p) * (1 - 2 * p)) / np.sqrt(variance))
    return SpiegelhalterTest(z, float(2 * norm.sf(abs(z))))


def hosmer_lemeshow_test(
    y: ArrayLike, p: ArrayLike, *, n_groups: int = 10, fitted_here: bool = False
) -> HosmerLemeshowTest:
    """Hosmer-Lemeshow test over groups of risk. **Not recommended**: given because readers look for it.

    Its verdict depends on the number of groups and on how ties are cut, it has little power in small samples and always
    rejects in large ones, and it says nothing about direction. Prefer slope, calibration-in-the-large and the curve.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Predicted probabilities, strictly between 0 and 1.
    n_groups : int
        At least 3. Groups of equal size by rank; patients with one p are never divided, so that there may be fewer.
    fitted_here : bool
        Whether the model was fitted on these patients: then two degrees of freedom are lost.

    Returns
    -------
    HosmerLemeshowTest
        Statistic and p NaN where fewer than three groups remain.

    Raises
    ------
    ValueError
        If `y` is not 0/1, a `p` is 0, 1 or outside, the lengths differ, or fewer than 3 groups are asked for.

    References
    ----------
    Hosmer DW, Lemeshow S. Commun Stat Theory Methods 1980;9:1043-1069. Against it: Van Calster B et al. BMC Med
    2019;17:230.
    """
    y, p = checks.outcome_and_probability(y, p, both_classes=False)
    extreme = np.flatnonzero((p == 0) | (p == 1))
    if extreme.size:
        raise ValueError(f"p must lie strictly between 0 and 1, got {p[extreme[0]]} at position {extreme[0]}.")
    quantiles = np.arange(1, checks.at_least(n_groups, "n_groups", 3)) / n_groups
    cuts = np.unique(np.quantile(p, quantiles, method="inverted_cdf"))
    frame = pd.DataFrame({"group": np.searchsorted(cuts, p, "left"), "y": y, "p": p})
    groups = frame.groupby("group").agg(
        n=("y", "size"), events=("y", "sum"), expected=("p", "sum"), mean_p=("p", "mean")
    )
    groups = groups.reset_index(drop=True)
    df = len(groups) - (2 if fitted_here else 0)
    if len(groups) < 3:
        return HosmerLemeshowTest(float("nan"), df, float("nan"), groups)
    variance = groups["expected"] * (1 - groups["mean_p"])
    statistic = float(np.sum((groups["events"] - groups["expected"]) ** 2 / variance))
    return HosmerLemeshowTest(statistic, df, float(chi2.sf(statistic, df)), groups)
