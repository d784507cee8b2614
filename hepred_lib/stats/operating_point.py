"""One threshold: how it is chosen, and what the four counts at it say, with exact intervals.

A patient is called positive when the value is *at least* the threshold. A chosen threshold lies midway between two
neighbouring values, so that rounding a printed probability does not move a patient across it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from hepred_lib.stats import checks
from hepred_lib.stats.discrimination import counts_by_value

RATES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")


@dataclass(frozen=True)
class Confusion:
    """Four counts, and five rates with their exact (Clopper-Pearson) intervals; NaN where a rate has no denominator."""

    tp: int
    fp: int
    fn: int
    tn: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    sensitivity: float
    sensitivity_low: float
    sensitivity_high: float
    specificity: float
    specificity_low: float
    specificity_high: float
    ppv: float
    ppv_low: float
    ppv_high: float
    npv: float
    npv_low: float
    npv_high: float


def youden_threshold(y: ArrayLike, p: ArrayLike) -> float:
    """Threshold that maximizes sensitivity + specificity - 1; among equals, the one with the highest sensitivity.

    Where calling everybody positive is among the best, the threshold is the smallest value.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Probabilities or any score.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, a value is not finite, or the lengths differ.

    References
    ----------
    Youden WJ. Cancer 1950;3:32-35.

    Examples
    --------
    >>> youden_threshold([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9])
    0.30000000000000004
    """
    value, positives, negatives = counts_by_value(*checks.outcome_and_score(y, p, "p"))
    # In whole numbers, so that equal indexes are equal: J times both group sizes.
    gain = np.cumsum(positives) * negatives.sum() - np.cumsum(negatives) * positives.sum()
    return _threshold_below(value, np.flatnonzero(gain == gain.max())[-1])


def sensitivity_threshold(y: ArrayLike, p: ArrayLike, minimum: float = 0.80) -> float:
    """Highest threshold whose sensitivity is at least `minimum`.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Probabilities or any score.
    minimum : float
        Sensitivity asked for, in (0, 1].

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `youden_threshold`, and for a minimum outside (0, 1].
    """
    if not 0 < minimum <= 1:
        raise ValueError(f"minimum must lie in (0, 1], got {minimum}.")
    value, positives, _ = counts_by_value(*checks.outcome_and_score(y, p, "p"))
    found = np.cumsum(positives)
    return _threshold_below(value, np.argmax(found >= minimum * found[-1] - 1e-9))


def confusion(y: ArrayLike, p: ArrayLike, threshold: float) -> Confusion:
    """Counts and rates of the rule "positive when p >= threshold", with exact 95 % intervals.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Probabilities or any score.
    threshold : float
        Any number; +inf calls nobody positive.

    Returns
    -------
    Confusion

    Raises
    ------
    ValueError
        As `youden_threshold`, and for a threshold that is NaN.

    Examples
    --------
    >>> table = confusion([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9], 0.5)
    >>> table.tp, table.fp, table.fn, table.tn, table.accuracy
    (2, 1, 0, 1, 0.75)
    """
    return confusion_from_counts(**counts(*checks.outcome_and_score(y, p, "p"), threshold))


def counts(y: NDArray, p: NDArray, threshold: float) -> dict[str, int]:
    """Return `tp, fp, fn, tn` of the rule "positive when p >= threshold", for checked arrays."""
    called = p >= checks.number(threshold, "threshold")
    tp, fp = int(np.sum(called & (y == 1))), int(np.sum(called & (y == 0)))
    return {"tp": tp, "fp": fp, "fn": int(np.sum(y == 1)) - tp, "tn": int(np.sum(y == 0)) - fp}


def confusion_from_counts(*, tp: int, fp: int, fn: int, tn: int) -> Confusion:
    """Rates with exact 95 % intervals from four counts, as a paper prints them.

    Parameters
    ----------
    tp, fp, fn, tn : int
        True and false positives, false and true negatives.

    Returns
    -------
    Confusion

    Raises
    ------
    ValueError
        If a count is negative or not whole.
    """
    given = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    given = {name: checks.at_least(value, name, 0) for name, value in given.items()}
    parts = ((tp + tn, tp + fp + fn + tn), (tp, tp + fn), (tn, tn + fp), (tp, tp + fp), (tn, tn + fn))
    rates: dict[str, float] = {}
    for name, (k, n) in zip(RATES, parts, strict=True):
        rates[name] = k / n if n else float("nan")
        rates[f"{name}_low"], rates[f"{name}_high"] = exact_interval(k, n)
    return Confusion(**given, **rates)


def exact_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion; NaN without trials.

    Parameters
    ----------
    successes, trials : int
    level : float
        Coverage at least this, between 0 and 1.

    Returns
    -------
    (float, float)

    Raises
    ------
    ValueError
        If the counts are not whole numbers with 0 <= successes <= trials.

    References
    ----------
    Clopper CJ, Pearson ES. Biometrika 1934;26:404-413.
    """
    tail = (1 - checks.between(level, "level", 0, 1)) / 2
    k = checks.at_least(successes, "successes", 0)
    n = checks.at_least(trials, "trials", k)
    if n == 0:
        return float("nan"), float("nan")
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return low, high


def _threshold_below(value: NDArray, last_positive: int) -> float:
    """Midpoint between the lowest value called positive and the next one down, `value` falling."""
    upper = value[last_positive]
    if last_positive + 1 == value.size:
        return float(upper)
    lower = value[last_positive + 1]
    midpoint = lower + (upper - lower) / 2
    return float(midpoint if midpoint > lower else upper)
