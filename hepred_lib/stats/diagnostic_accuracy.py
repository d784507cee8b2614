"""Yes or no at a threshold: likelihood ratios, and two rules compared on the same patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from hepred_lib.stats import checks
from hepred_lib.stats.comparison import mcnemar_exact


@dataclass(frozen=True)
class LikelihoodRatios:
    """Likelihood ratios of a positive and of a negative call with their intervals; NaN for 0 / 0."""

    positive: float
    positive_low: float
    positive_high: float
    negative: float
    negative_low: float
    negative_high: float


def likelihood_ratios(*, tp: int, fp: int, fn: int, tn: int, level: float = 0.95) -> LikelihoodRatios:
    """Likelihood ratios of a call from four counts, with Koopman's score intervals, which bear empty cells.

    A positive call multiplies the odds of the outcome by the positive ratio, a negative one by the negative ratio.

    Parameters
    ----------
    tp, fp, fn, tn : int
        True and false positives, false and true negatives; both classes present.
    level : float

    Returns
    -------
    LikelihoodRatios
        Infinite where no patient without the outcome has the call.

    Raises
    ------
    ValueError
        If a count is negative or not whole, or a class is empty.

    References
    ----------
    Koopman PAR. Biometrics 1984;40:513-517.

    Examples
    --------
    >>> round(likelihood_ratios(tp=8, fp=2, fn=2, tn=8).positive, 2)
    4.0
    """
    given = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    tp, fp, fn, tn = (checks.at_least(value, name, 0) for name, value in given.items())
    events, others = checks.at_least(tp + fn, "tp + fn", 1), checks.at_least(fp + tn, "fp + tn", 1)
    allowed = float(chi2.ppf(checks.between(level, "level", 0, 1), 1))
    return LikelihoodRatios(
        *_ratio((tp, events), (fp, others), allowed),
        *_ratio((fn, events), (tn, others), allowed),
    )


def compare_calls(y: ArrayLike, called_a: ArrayLike, called_b: ArrayLike, level: float = 0.95) -> pd.DataFrame:
    """Sensitivity, specificity and accuracy of two rules on the same patients, with exact McNemar tests.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    called_a, called_b : array_like of bool or 0 and 1, shape (n,)
        Whether each rule calls the patient positive.
    level : float

    Returns
    -------
    DataFrame
        Rows sensitivity, specificity, accuracy; columns `n, a, b, difference, low, high, p`. The interval of the
        difference is Wald's after half a patient is added to each cell of the paired table (Agresti and Min).

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, a call is not 0 or 1, or the lengths differ.

    References
    ----------
    McNemar Q. Psychometrika 1947;12:153-157. Agresti A, Min Y. Stat Med 2005;24:729-740.
    """
    reach = float(norm.ppf((1 + checks.between(level, "level", 0, 1)) / 2))
    outcome = checks.outcome(y)
    right = {}
    for name, called in (("called_a", called_a), ("called_b", called_b)):
        checks.same_patients(y, called, f"y and {name}")
        values = np.asarray(called)
        if values.ndim != 1 or values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} must be one-dimensional and hold 0 and 1 only, got {values[:5].tolist()}.")
        right[name] = values.astype(int) == outcome
    parts = {"sensitivity": outcome == 1, "specificity": outcome == 0, "accuracy": np.ones(outcome.size, bool)}
    rows = {
        name: _paired(right["called_a"][patients], right["called_b"][patients], reach)
        for name, patients in parts.items()
    }
    return pd.DataFrame(rows.values(), index=list(rows))


def _paired(a: NDArray, b: NDArray, reach: float) -> dict[str, float]:
    only_a, only_b, n = int(np.sum(a & ~b)), int(np.sum(b & ~a)), a.size
    middle = (only_a - only_b) / (n + 2)
    spread = np.sqrt((only_a + only_b + 1) / (n + 2) - middle**2) / np.sqrt(n + 2)
    low, high = np.clip([middle - reach * spread, middle + reach * spread], -1, 1)
    figures = {"n": n, "a": a.mean(), "b": b.mean(), "difference": (only_a - only_b) / n}
    return figures | {"low": float(low), "high": float(high), "p": mcnemar_exact(a, b)}


def _ratio(event: tuple[int, int], other: tuple[int, int], allowed: float) -> tuple[float, float, float]:
    """Ratio of two independent proportions (calls, patients) with its score interval."""
    (x1, n1), (x0, n0) = event, other
    if x1 == x0 == 0:
        return (float("nan"),) * 3
    estimate = float("inf") if x0 == 0 else (x1 / n1) / (x0 / n0)

    def excess(log_ratio: float) -> float:
        return _score(x1, n1, x0, n0, float(np.exp(log_ratio))) - allowed

    # Inside, the statistic is 0 at the estimate; an empty cell puts the estimate at an end of the scale.
    center = float(np.clip(np.log(estimate), -30, 30)) if estimate > 0 else -30.0
    low = float(np.exp(brentq(excess, -30, center))) if x1 > 0 and excess(-30) > 0 > excess(center) else 0.0
    high = float(np.exp(brentq(excess, center, 30))) if x0 > 0 and excess(30) > 0 > excess(center) else float("inf")
    return estimate, low, high


def _score(x1: int, n1: int, x0: int, n0: int, ratio: float) -> float:
    """Koopman's chi-squared of a ratio p1 / p0, the nuisance parameter at its constrained maximum."""
    n = n1 + n0
    # The constrained maximum solves a quadratic; this root is the proportion of the second group.
    a, b, c = n * ratio, -(n1 * ratio + x1 + n0 + x0 * ratio), x1 + x0
    p0 = (-b - np.sqrt(max(b * b - 4 * a * c, 0.0))) / (2 * a)
    p1 = ratio * p0
    p1, p0 = np.clip([p1, p0], 1e-15, 1 - 1e-15)
    return float((x1 - n1 * p1) ** 2 / (n1 * p1 * (1 - p1)) + (x0 - n0 * p0) ** 2 / (n0 * p0 * (1 - p0)))
