"""Checks shared by the statistics: outcomes, scores and probabilities as they come from a user.

Each function returns a one-dimensional numpy array or raises a `ValueError` that says which argument is at fault, what
is required and what came. The outcome `y` is 0 or 1; booleans, {1, 2} and text are refused, since a guess at their
meaning could invert the model.
"""

import math
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm


def outcome(y: ArrayLike, *, both_classes: bool = True) -> NDArray[np.int64]:
    """Return the outcome as integers 0 and 1, both present unless `both_classes` is false."""
    values = _vector(y, "y")
    _require(np.isin(values, (0, 1)), values, "y must hold 0 and 1 only")
    if both_classes and values.min() == values.max():
        raise ValueError(f"y must hold both 0 and 1, got {int(values[0])} for all {values.size} patients.")
    return values.astype(np.int64)


def scores(score: ArrayLike, name: str = "score") -> NDArray[np.float64]:
    """Return any finite numbers as floats."""
    values = _vector(score, name).astype(np.float64)
    return _require(np.isfinite(values), values, f"{name} must be finite")


def probabilities(p: ArrayLike, name: str = "p") -> NDArray[np.float64]:
    """Return probabilities in [0, 1] as floats."""
    values = scores(p, name)
    return _require((values >= 0) & (values <= 1), values, f"{name} must lie in [0, 1]")


def strictly_inside(p: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return numbers strictly between 0 and 1, which have a logit."""
    values = scores(p, name)
    return _require((values > 0) & (values < 1), values, f"{name} must lie strictly between 0 and 1")


def outcome_and_score(y: ArrayLike, score: ArrayLike, name: str = "score") -> tuple[NDArray, NDArray]:
    """Return a matching outcome (both classes) and score."""
    same_patients(y, score, f"y and {name}")
    return outcome(y), scores(score, name)


def outcome_and_probability(
    y: ArrayLike, p: ArrayLike, name: str = "p", *, both_classes: bool = True
) -> tuple[NDArray, NDArray]:
    """Return a matching outcome and probability."""
    same_patients(y, p, f"y and {name}")
    return outcome(y, both_classes=both_classes), probabilities(p, name)


def outcome_and_risk(y: ArrayLike, p: ArrayLike, *, both_classes: bool = True) -> tuple[NDArray, NDArray]:
    """Return a matching outcome and probability strictly between 0 and 1, so that it has a logit."""
    y, p = outcome_and_probability(y, p, both_classes=both_classes)
    return y, strictly_inside(p, "p")


def same_patients(a: ArrayLike, b: ArrayLike, names: str) -> None:
    """Refuse two columns of different length, or two Series whose indexes name different patients."""
    if len(np.atleast_1d(a)) != len(np.atleast_1d(b)):
        raise ValueError(f"{names} must have one length, got {len(np.atleast_1d(a))} and {len(np.atleast_1d(b))}.")
    if isinstance(a, pd.Series) and isinstance(b, pd.Series) and not a.index.equals(b.index):
        raise ValueError(f"{names} must share one index: join the two columns by patient first.")


def between(value: float, name: str, low: float, high: float) -> float:
    """Return one number strictly between two bounds."""
    if not isinstance(value, Real) or not low < value < high:
        raise ValueError(f"{name} must lie between {low:g} and {high:g}, got {value}.")
    return float(value)


def normal_quantile(level: float) -> float:
    """Return the standard normal quantile of a two-sided interval of this coverage: 1.96 for 0.95."""
    return float(norm.ppf((1 + between(level, "level", 0, 1)) / 2))


def number(value: float, name: str) -> float:
    """Return one number, which may be infinite; text, None and NaN are refused."""
    if not isinstance(value, Real) or np.isnan(value):
        raise ValueError(f"{name} must be a number, got {value}.")
    return float(value)


def at_least(value: Any, name: str, minimum: int) -> int:
    """Return a whole number that is large enough."""
    whole = isinstance(value, Real) and math.isfinite(value) and value % 1 == 0
    if not whole or value < minimum:
        raise ValueError(f"{name} must be a whole number >= {minimum}, got {value}.")
    return int(value)


def generator(rng: object) -> np.random.Generator:
    """Return the random generator; a seed or None is refused, since a hidden one cannot be repeated."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a random generator, such as numpy.random.default_rng(7), got {rng!r}.")
    return rng


def fold_numbers(fold: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return the folds of n patients as 0, 1, ...: at least two, none missing."""
    values = np.asarray(fold)
    if values.shape != (n,):
        raise ValueError(f"fold must hold one label for each of the {n} rows, got shape {values.shape}.")
    position, labels = pd.factorize(values, sort=True)
    if (position < 0).any():
        raise ValueError(f"fold must be known for every patient, got none at position {int(np.argmin(position))}.")
    if len(labels) < 2:
        raise ValueError(f"fold must hold at least 2 labels, got {labels.tolist()} for all {n} rows.")
    return position


def _require(fits: NDArray[np.bool_], values: NDArray, words: str) -> NDArray:
    """Return the values; refuse them in these words, with the first that does not fit."""
    if not fits.all():
        at = int(np.argmin(fits))
        raise ValueError(f"{words}, got {values[at]} at position {at}.")
    return values


def _vector(values: ArrayLike, name: str) -> NDArray:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be one-dimensional and not empty, got shape {array.shape}.")
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} must hold numbers without missing values, got {array.dtype}: {array[:3].tolist()}.")
    return array
