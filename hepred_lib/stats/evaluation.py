"""One model on one set of patients, as results.json prints it: plain numbers, or null with a reason.

The AUC's interval is DeLong's on the logit scale, rates carry exact (Clopper-Pearson) intervals, models are compared by
paired DeLong tests. See `discrimination`, `operating_point` and `calibration` for definitions and sources.
"""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import (
    brier_interval,
    brier_score,
    calibrate,
    ici_interval,
    in_the_large_interval,
    observed_expected,
)
from hepred_lib.stats.discrimination import auc_interval, compare_auc
from hepred_lib.stats.operating_point import RATES, confusion_from_counts, counts

CALIBRATION = (
    *("brier", "brier_ci", "brier_scaled", "calibration_slope", "calibration_slope_ci", "calibration_in_the_large"),
    *("calibration_in_the_large_ci", "observed_expected", "observed_expected_ci", "ici", "ici_ci", "e90"),
)
# A slope's interval that holds 1 and reaches one of these leaves the spread of the predictions open.
UNASSESSED = 0.6, 1.6
NOT_ASSESSABLE = "the spread of the predictions cannot be assessed"


def evaluate(y: ArrayLike, p: ArrayLike, threshold: float) -> dict[str, Any]:
    """Discrimination, operating point and calibration of one model, ready for JSON.

    The AUC's interval is DeLong's on the logit scale; rates carry exact intervals. Degenerate samples (one class, one
    event, separated outcomes) are not an error: figures that do not exist are None.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
        One class alone is allowed.
    p : array_like, shape (n,)
        Predicted probabilities in [0, 1].
    threshold : float
        Positive when p >= threshold; chosen elsewhere, on other patients.

    Returns
    -------
    dict
        The keys of a model in results.json, and "notes": a list of reasons for the None.

    Raises
    ------
    ValueError
        If `y` is not 0/1, a `p` is NaN or outside [0, 1], the lengths differ, or the threshold is NaN.
    """
    y, p = checks.outcome_and_probability(y, p, both_classes=False)
    table = asdict(confusion_from_counts(**counts(y, p, threshold)))
    notes: list[str] = []
    area = _discrimination(y, p, notes)
    rates = {key: part for name in RATES for key, part in _rate(table, name, notes).items()}
    rates |= {name: table[name] for name in ("tp", "fp", "fn", "tn")}
    return area | {"threshold": _number(threshold)} | rates | _calibration(y, p, notes) | {"notes": notes}


def calibration_reading(figures: Mapping[str, Any]) -> str:
    """What the intervals of a model's calibration say, in words; the number of events alone says nothing.

    Parameters
    ----------
    figures : mapping
        As `evaluate` gives them.

    Returns
    -------
    str
        An interval in the large that excludes 0, and a slope's that excludes 1, are findings. A slope's interval with 1
        that reaches 0.6 or 1.6 leaves the spread of the predictions unassessed.

    Examples
    --------
    >>> calibration_reading({"calibration_slope_ci": [0.4, 0.8], "calibration_in_the_large_ci": [-1.2, -0.3]})
    'the outcome is less frequent than predicted; predictions are too extreme'
    """
    slope, large = figures.get("calibration_slope_ci"), figures.get("calibration_in_the_large_ci")
    if slope is None or large is None:
        return "cannot be estimated"
    found = {
        "the outcome is more frequent than predicted": large[0] > 0,
        "the outcome is less frequent than predicted": large[1] < 0,
        "predictions are too extreme": slope[1] < 1,
        "predictions are not extreme enough": slope[0] > 1,
        NOT_ASSESSABLE: slope[0] <= 1 <= slope[1] and (slope[0] <= UNASSESSED[0] or slope[1] >= UNASSESSED[1]),
    }
    return "; ".join(words for words, holds in found.items() if holds) or "no deviation found"


def compare_pair(y: ArrayLike, p_a: ArrayLike, p_b: ArrayLike) -> dict[str, Any]:
    """Paired DeLong test of two models, ready for JSON: AUC of the first minus that of the second.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
        One class alone is allowed.
    p_a, p_b : array_like, shape (n,)
        Predicted probabilities.

    Returns
    -------
    dict
        `difference, ci, p`, None where they do not exist, and `notes`: the reasons.

    Raises
    ------
    ValueError
        If `y` is not 0/1, a probability is NaN or outside [0, 1], or the lengths differ.
    """
    for name, p in (("p_a", p_a), ("p_b", p_b)):
        outcome, _ = checks.outcome_and_probability(y, p, name, both_classes=False)
    if outcome.min() == outcome.max():
        return {"difference": None, "ci": None, "p": None, "notes": [f"difference: {_one_class(outcome)}"]}
    found = compare_auc(y, p_a, p_b)
    notes = [f"ci, p: {_no_variance(outcome)}"] if np.isnan(found.p) else []
    interval = _interval(found.low, found.high)
    return {"difference": found.difference, "ci": interval, "p": _number(found.p), "notes": notes}


def null_accuracy(y: ArrayLike) -> float:
    """Accuracy of calling nobody positive.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `y` is not 0/1.

    Examples
    --------
    >>> null_accuracy([0, 0, 0, 1])
    0.75
    """
    return float(1 - checks.outcome(y, both_classes=False).mean())


def _discrimination(y: NDArray, p: NDArray, notes: list[str]) -> dict[str, Any]:
    if y.min() == y.max():
        notes.append(f"auc: {_one_class(y)}")
        return {"auc": None, "auc_ci": None}
    estimate = auc_interval(y, p, method="logit")
    if np.isnan(estimate.standard_error):
        notes.append(f"auc_ci: {_no_variance(y)}")
    return {"auc": estimate.auc, "auc_ci": _interval(estimate.low, estimate.high)}


def _rate(table: Mapping[str, float], name: str, notes: list[str]) -> dict[str, Any]:
    value = _number(table[name])
    if value is None:
        notes.append(f"{name}: no patient to count it on at this threshold")
    return {name: value, f"{name}_ci": _interval(table[f"{name}_low"], table[f"{name}_high"])}


def _calibration(y: NDArray, p: NDArray, notes: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = dict.fromkeys(CALIBRATION)
    result |= {"brier": brier_score(y, p), "brier_ci": _interval(*brier_interval(y, p))}
    if p.any():
        ratio, low, high = observed_expected(y, p)
        result |= {"observed_expected": ratio, "observed_expected_ci": _interval(low, high)}
    if y.min() == y.max():
        notes.append(f"calibration: {_one_class(y)}")
        return result
    result["brier_scaled"] = 1 - result["brier"] / float(y.var())
    if ((p == 0) | (p == 1)).any():
        notes.append("calibration: a predicted probability is exactly 0 or 1, its logit infinite")
        return result
    figures = calibrate(y, p)
    if np.isnan(figures.slope):
        notes.append("calibration_slope: the probabilities separate the outcomes or are all equal, no finite estimate")
    if np.isnan(figures.ici):
        notes.append("ici, e90: two thirds of the probabilities are equal, no smooth curve")
    return result | {
        "calibration_slope": _number(figures.slope),
        "calibration_slope_ci": _interval(figures.slope_low, figures.slope_high),
        "calibration_in_the_large": _number(figures.in_the_large),
        "calibration_in_the_large_ci": _interval(*in_the_large_interval(y, p)),
        "ici": _number(figures.ici),
        "ici_ci": _interval(*ici_interval(y, p)),
        "e90": _number(figures.e90),
    }


def _one_class(y: NDArray) -> str:
    return f"all {y.size} patients have outcome {int(y[0])}"


def _no_variance(y: NDArray) -> str:
    events = int(y.sum())
    if min(events, y.size - events) < 2:
        return f"{events} of {y.size} patients have the outcome, DeLong's variance needs two in each class"
    return "DeLong's variance is zero (outcomes separated, or one value for all)"


def _number(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _interval(low: float, high: float) -> list[float] | None:
    return [float(low), float(high)] if isfinite(low) and isfinite(high) else None
