"""One threshold: how it is chosen, what the four counts at it say, with exact intervals, and two rules compared.

A patient is called positive when the value is *at least* the threshold. A chosen threshold lies midway between two
neighbouring values, so that rounding a printed probability does not move a patient across it. The counts are `tp`,
`fp`, `fn`, `tn` (true and false positives, false and true negatives).

Sources: Clopper CJ, Pearson ES. Biometrika 1934;26:404-413. Wilson EB. J Am Stat Assoc 1927;22:209-212. Koopman PAR.
Biometrics 1984;40:513-517. McNemar Q. Psychometrika 1947;12:153-157.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import beta, binomtest, chi2

from hepred_lib.errors import InputError
from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import bootstrap_indices, percentile_interval
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
    return _below(value, np.flatnonzero(gain == gain.max())[-1])


def choose_threshold(y: ArrayLike, p: ArrayLike, rule: str = "youden") -> float:
    """The threshold by a rule that was fixed before the data were looked at.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Probabilities.
    rule : str
        "youden"; "sensitivity 0.80", the highest threshold at which so many patients with the outcome are positive; or
        a probability, such as "0.2".

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `youden_threshold`; for another rule, or a number outside (0, 1).

    Examples
    --------
    >>> choose_threshold([0, 0, 1, 1], [0.25, 0.75, 0.5, 1.0], "sensitivity 1.0")
    0.375
    """
    value, positives, _ = counts_by_value(*checks.outcome_and_score(y, p, "p"))
    if rule == "youden":
        return youden_threshold(y, p)
    name, _, number = rule.strip().rpartition(" ")
    try:
        wanted = float(number)
    except ValueError:
        wanted = np.nan
    if name not in ("", "sensitivity") or not 0 < wanted <= 1 or (wanted == 1 and not name):
        raise InputError(
            f"threshold_rule must be 'youden', 'sensitivity' and a number such as 0.80, or a probability, got {rule!r}."
        )
    if not name:
        return wanted
    reached = np.cumsum(positives) >= wanted * positives.sum() - 1e-9
    return _below(value, np.flatnonzero(reached)[0])


def threshold_interval(
    y: ArrayLike, p: ArrayLike, rule: str, *, n_resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """How far a threshold moves from sample to sample: 95 % percentile interval over resamples, stratified by outcome.

    A given probability does not move.

    Raises
    ------
    ValueError
        As `choose_threshold`.
    """
    outcome, risk = checks.outcome_and_score(y, p, "p")
    drawn = bootstrap_indices(outcome, n_resamples, rng)
    return percentile_interval([choose_threshold(outcome[rows], risk[rows], rule) for rows in drawn])


def _below(value: NDArray, last: int) -> float:
    """The threshold that has the values up to this one, the largest first, at or above it: midway to the next."""
    if last + 1 == value.size:
        return float(value[last])
    upper, lower = value[last], value[last + 1]
    midpoint = lower + (upper - lower) / 2
    return float(midpoint if midpoint > lower else upper)


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
    rates: dict[str, Any] = {}
    for name, (k, n) in zip(RATES, parts, strict=True):
        rates[name] = k / n if n else float("nan")
        rates[f"{name}_low"], rates[f"{name}_high"] = exact_interval(k, n)
    return Confusion(**given, **rates)


def counts(y: NDArray, p: NDArray, threshold: float) -> dict[str, int]:
    """Return `tp, fp, fn, tn` of the rule "positive when p >= threshold", for checked arrays."""
    called = p >= checks.number(threshold, "threshold")
    tp, fp = int(np.sum(called & (y == 1))), int(np.sum(called & (y == 0)))
    return {"tp": tp, "fp": fp, "fn": int(np.sum(y == 1)) - tp, "tn": int(np.sum(y == 0)) - fp}


def likelihood_ratios(*, tp: int, fp: int, fn: int, tn: int) -> dict[str, float]:
    """Likelihood ratios of a call from four counts, with Koopman's 95 % score intervals, which bear empty cells.

    A positive call multiplies the odds of the outcome by the positive ratio, a negative one by the negative ratio.

    Parameters
    ----------
    tp, fp, fn, tn : int
        True and false positives, false and true negatives; both classes present.

    Returns
    -------
    dict
        `positive` and `negative`, each with `_low` and `_high`: infinite where no patient without the outcome has the
        call, NaN where nobody has it.

    Raises
    ------
    ValueError
        If a count is negative or not whole, or a class is empty.

    References
    ----------
    Koopman PAR. Biometrics 1984;40:513-517.

    Examples
    --------
    >>> round(likelihood_ratios(tp=8, fp=2, fn=2, tn=8)["positive"], 2)
    4.0
    """
    given = {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    tp, fp, fn, tn = (checks.at_least(value, name, 0) for name, value in given.items())
    events, others = checks.at_least(tp + fn, "tp + fn", 1), checks.at_least(fp + tn, "fp + tn", 1)
    allowed = float(chi2.ppf(0.95, 1))
    ratios: dict[str, float] = {}
    for name, event, other in (("positive", tp, fp), ("negative", fn, tn)):
        found = _ratio((event, events), (other, others), allowed)
        ratios |= {f"{name}{end}": value for end, value in zip(("", "_low", "_high"), found, strict=True)}
    return ratios


def compare_calls(y: ArrayLike, called_a: ArrayLike, called_b: ArrayLike) -> pd.DataFrame:
    """Sensitivity, specificity and accuracy of two rules on the same patients, with exact McNemar tests.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    called_a, called_b : array_like of bool or 0 and 1, shape (n,)
        Whether each rule calls the patient positive.

    Returns
    -------
    DataFrame
        Rows sensitivity, specificity, accuracy; columns `n, a, b, difference, low, high, p`. The 95 % interval of the
        difference is Wald's after half a patient is added to each cell of the paired table (Agresti and Min).

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, a call is not 0 or 1, or the lengths differ.

    References
    ----------
    McNemar Q. Psychometrika 1947;12:153-157. Agresti A, Min Y. Stat Med 2005;24:729-740.
    """
    reach = checks.normal_quantile(0.95)
    outcome = checks.outcome(y)
    a, b = (_calls(called, name) for called, name in ((called_a, "called_a"), (called_b, "called_b")))
    for calls, name in ((a, "called_a"), (b, "called_b")):
        checks.same_patients(outcome, calls, f"y and {name}")
    parts = {"sensitivity": outcome == 1, "specificity": outcome == 0, "accuracy": np.ones(outcome.size, bool)}
    rows = {}
    for name, patients in parts.items():
        right_a, right_b = (a == outcome)[patients], (b == outcome)[patients]
        n, only_a, only_b = patients.sum(), np.sum(right_a & ~right_b), np.sum(right_b & ~right_a)
        middle = (only_a - only_b) / (n + 2)
        spread = reach * np.sqrt((only_a + only_b + 1) / (n + 2) - middle**2) / np.sqrt(n + 2)
        low, high = np.clip([middle - spread, middle + spread], -1, 1)
        rows[name] = {"n": n, "a": right_a.mean(), "b": right_b.mean(), "difference": (only_a - only_b) / n}
        rows[name] |= {"low": low, "high": high, "p": mcnemar_exact(right_a, right_b)}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"n": int})


def mcnemar_exact(a: ArrayLike, b: ArrayLike) -> float:
    """Exact two-sided p of McNemar's test that two rules are right (or positive) equally often on the same patients.

    Only patients on whom the rules disagree count; without any, p is 1.

    Parameters
    ----------
    a, b : array_like of bool or 0 and 1, shape (n,)
        For each patient, whether the rule was right.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a value is not 0 or 1, or the lengths differ.

    References
    ----------
    McNemar Q. Psychometrika 1947;12:153-157.

    Examples
    --------
    >>> mcnemar_exact([1, 1, 0, 0, 0], [1, 1, 1, 1, 1])
    0.25
    """
    checks.same_patients(a, b, "a and b")
    a, b = _calls(a, "a"), _calls(b, "b")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def exact_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % Clopper-Pearson interval of a proportion; NaN without trials.

    Parameters
    ----------
    successes, trials : int

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
    tail = (1 - 0.95) / 2
    k = checks.at_least(successes, "successes", 0)
    n = checks.at_least(trials, "trials", k)
    if n == 0:
        return float("nan"), float("nan")
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return low, high


def wilson_interval(counts: ArrayLike, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's 95 % score interval of proportions.

    Parameters
    ----------
    counts : array_like
        Patients counted, each between 0 and n.
    n : int
        Patients in all.

    Returns
    -------
    (ndarray, ndarray)
        Lower and upper limits, in the shape of the counts.

    Raises
    ------
    ValueError
        If a count is outside 0 to n, or n is below 1.

    References
    ----------
    Wilson EB. J Am Stat Assoc 1927;22:209-212.

    Examples
    --------
    >>> low, high = wilson_interval([0, 10], 10)
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.0, 0.722], [0.278, 1.0])
    """
    z = checks.normal_quantile(0.95)
    n, k = checks.at_least(n, "n", 1), np.asarray(counts, dtype=float)
    if not ((k >= 0) & (k <= n)).all():
        raise ValueError(f"counts must lie between 0 and n = {n}, got {k.ravel()[:5].tolist()}.")
    q = k / n
    center, reach = q + z**2 / (2 * n), z * np.sqrt(q * (1 - q) / n + z**2 / (4 * n**2))
    low, high = ((center + sign * reach) / (1 + z**2 / n) for sign in (-1, 1))
    return np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)


def combination_interval(
    counts: ArrayLike, coefficients: ArrayLike, n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Linear combination of the proportions of exclusive cells of one sample, with its 95 % interval.

    Parameters
    ----------
    counts : array_like, shape (k, t)
        Patients in each of k cells, in each of t settings; a patient is in one cell at most.
    coefficients : array_like, shape (k, t)
    n : int
        Patients in all.

    Returns
    -------
    (ndarray, ndarray, ndarray), shape (t,)
        Estimate, lower and upper limit.

    Raises
    ------
    ValueError
        If shapes differ, a coefficient is not finite, the cells hold more than n patients, or as `wilson_interval`.

    References
    ----------
    Zou GY, Huang W, Zhang X. Comput Stat Data Anal 2009;53:1080-1085. Newcombe RG. Stat Med 1998;17:2635-2650.

    Examples
    --------
    Two exclusive cells that together hold everybody: the interval is that of one proportion, doubled and shifted.

    >>> estimate, low, high = combination_interval([[8], [2]], [[1], [-1]], 10)
    >>> [round(float(value[0]), 3) for value in (estimate, low, high)]
    [0.6, -0.02, 0.887]
    """
    k, c = np.asarray(counts, dtype=float), np.asarray(coefficients, dtype=float)
    if k.ndim != 2 or k.shape != c.shape or not np.isfinite(c).all():
        raise ValueError(f"coefficients must be finite, one for each count, got shapes {k.shape} and {c.shape}.")
    low, high = wilson_interval(k, n)
    if (k.sum(axis=0) > n).any():
        raise ValueError(f"counts must be of exclusive cells, n = {n} at most together, got {k.sum(axis=0).max():g}.")
    q = k / n
    estimate = np.sum(c * q, axis=0)
    # Cells of one sample are correlated by minus the root of the product of their odds.
    root_odds = np.sign(c) * np.sqrt(q / np.where(q < 1, 1 - q, 1.0))
    down = _reach(np.where(c > 0, c * (q - low), -c * (high - q)), root_odds)
    up = _reach(np.where(c > 0, c * (high - q), -c * (q - low)), root_odds)
    return estimate, estimate - down, estimate + up


def _calls(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be one-dimensional and hold 0 and 1 only, got {array[:5].tolist()}.")
    return array.astype(bool)


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


def _reach(distance: NDArray, root_odds: NDArray) -> NDArray[np.float64]:
    shared = root_odds * distance
    cross = np.sum(shared, axis=0) ** 2 - np.sum(shared**2, axis=0)
    return np.sqrt(np.maximum(np.sum(distance**2, axis=0) - cross, 0.0))
