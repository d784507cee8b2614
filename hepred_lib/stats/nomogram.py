"""A logistic model as a nomogram: every value of a predictor is worth points, and their sum is read as a probability.

The predictor with the largest reach over its axis spans 0 to 100 points; all others are on the same scale. Points are
therefore log odds in other units, and the nomogram gives the model's own probability where all values are known.

Sources: Kattan MW, Marasco J. Semin Oncol 2010;37:23-26. Harrell FE. Regression modeling strategies, 2nd ed., 5.3.
Springer 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from hepred_lib.stats.curves import LOG, bend, split_term
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.logistic import Array

WIDEST = 100.0
TOTAL, PROBABILITY = "total_points", "probability"
COLUMNS = ("axis", "kind", "value", "level", "points", "tick")
# A mark of a curve that is nearer than this to another one, in points, is left out.
_CLOSE = 1.5
# Part of the observed range by which an axis is longer at either end, so that later patients find their value on it.
_MARGIN = 0.1
_PROBABILITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


@dataclass(frozen=True)
class NumberAxis:
    """Points of a number: per unit, counted from the value that is worth none, over the axis from low to high.

    Where development has whole numbers only, ``whole`` is true and no mark stands between two of them.
    """

    points_per_unit: float
    zero_at: float
    low: float
    high: float
    whole: bool = False

    def points(self, value: float) -> float:
        """Points of one value; beyond the ends the axis goes on as a straight line."""
        return self.points_per_unit * (float(value) - self.zero_at)

    @property
    def most(self) -> float:
        """The most points that the axis gives."""
        return max(self.points(self.low), self.points(self.high))


@dataclass(frozen=True)
class CurveAxis:
    """Points of a curved number: its term, column by column times its worth, less the lowest sum from low to high.

    The term and its curve are those of :class:`hepred_lib.stats.curves.Basis`. Where the curve turns, two values of the
    predictor are worth the same.
    """

    term: str
    curve: tuple[float, ...]
    worth: tuple[float, ...]
    low: float
    high: float
    whole: bool = False

    def points(self, value: float) -> float:
        """Points of one value, also beyond the ends of the axis."""
        return self.raw(value) - self.least

    def raw(self, value: float) -> float:
        """What a value adds to the log odds, in points."""
        return float(bend(self.term, self.curve, [value])[0] @ self.worth)

    @property
    def grid(self) -> Array:
        """Values along the axis: the curve is straight or monotone between two of them."""
        spaced = np.geomspace if split_term(self.term)[0] == LOG else np.linspace
        return spaced(self.low, self.high, 201)

    @cached_property
    def least(self) -> float:
        """The lowest sum on the axis."""
        return min(map(self.raw, self.grid))

    @cached_property
    def most(self) -> float:
        """The most points that the axis gives."""
        return max(map(self.points, self.grid))


@dataclass(frozen=True)
class LevelAxis:
    """Points of each level of a category; the lowest is worth none."""

    levels: Mapping[Any, float]

    @property
    def most(self) -> float:
        """The most points that the axis gives."""
        return max(self.levels.values())


Axis = NumberAxis | CurveAxis | LevelAxis


@dataclass(frozen=True)
class Nomogram:
    """A logistic model in points.

    Attributes
    ----------
    points_per_logit : float
        Points that one unit of log odds is worth.
    logit_at_zero : float
        Log odds of a patient with 0 points.
    axes : dict of str to NumberAxis, CurveAxis or LevelAxis
        By term, in the order of the model.
    """

    points_per_logit: float
    logit_at_zero: float
    axes: Mapping[str, Axis]

    @property
    def most(self) -> float:
        """Total of the highest points on each axis."""
        return sum(axis.most for axis in self.axes.values())

    def probability(self, total: float) -> float:
        """Probability of a patient with these total points."""
        return float(expit(self.logit_at_zero + total / self.points_per_logit))

    def to_json(self) -> dict[str, Any]:
        """The scale as numbers and lists: what a page needs to add points up."""
        return {
            "definition": "points of a number = points_per_unit x (value - zero_at), of a level as listed, of a curved "
            "term the sum of worth x column, less the least of it between low and high; "
            "p = 1 / (1 + exp(-(logit_at_zero + total points / points_per_logit))); all values must be known",
            "points_per_logit": self.points_per_logit,
            "logit_at_zero": self.logit_at_zero,
            "order": list(self.axes),
            "numbers": {name: asdict(axis) for name, axis in self.axes.items() if isinstance(axis, NumberAxis)},
            "levels": {name: dict(axis.levels) for name, axis in self.axes.items() if isinstance(axis, LevelAxis)},
            "curves": {
                name: asdict(axis) | {"least": axis.least}
                for name, axis in self.axes.items()
                if isinstance(axis, CurveAxis)
            },
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Nomogram:
        """Rebuild what `to_json` wrote."""
        axes: dict[str, Axis] = {name: NumberAxis(**axis) for name, axis in stored["numbers"].items()}
        axes |= {name: LevelAxis(levels) for name, levels in stored["levels"].items()}
        for name, axis in stored.get("curves", {}).items():
            lists = {key: tuple(axis[key]) for key in ("curve", "worth")}
            axes[name] = CurveAxis(**{key: value for key, value in axis.items() if key != "least"} | lists)
        return cls(stored["points_per_logit"], stored["logit_at_zero"], {name: axes[name] for name in stored["order"]})


def build_nomogram(
    model: DevelopedModel, x: pd.DataFrame, *, limits: Mapping[str, tuple[float | None, float | None]] | None = None
) -> Nomogram | None:
    """Nomogram of the shrunk model, its axes drawn over the values of development patients.

    Parameters
    ----------
    model : DevelopedModel
    x : DataFrame, shape (n, p)
        Predictors of the development patients: they set how long an axis is, a tenth of the range more at each end,
        and nothing else.
    limits : mapping of str to (lowest, highest), optional
        Possible values of a predictor, where an axis ends; None where it has no end.

    Returns
    -------
    Nomogram or None
        None where no predictor has an effect: every patient then has the same probability.

    References
    ----------
    Kattan MW, Marasco J. Semin Oncol 2010;37:23-26. Harrell FE. Regression modeling strategies, 2nd ed., 5.3. Springer
    2015.
    """
    effects = dict(zip(model.names, model.coefficients.tolist(), strict=True))
    blocks, levels = model.basis.blocks, model.imputer.coding.levels
    used = [name for name in model.terms if any(effects.get(coded, 0.0) != 0 for coded in blocks[name])]
    if not used:
        return None
    axes: dict[str, Axis] = {}
    logit_at_zero = model.intercept
    for name in used:
        column = split_term(name)[1]
        if name in model.curves:
            low, high = _ends(x[column], *(limits or {}).get(column, (None, None)))
            low = max(low, model.curves[name][0]) if split_term(name)[0] == LOG else low
            worth = tuple(effects.get(coded, 0.0) for coded in blocks[name])
            whole = bool((x[column].dropna() % 1 == 0).all())
            axes[name] = axis = CurveAxis(name, tuple(model.curves[name]), worth, low, high, whole)
            logit_at_zero += axis.least
        elif (named := levels[name]) is None:
            low, high = _ends(x[name], *(limits or {}).get(name, (None, None)))
            zero_at, whole = low if effects[name] > 0 else high, bool((x[name].dropna() % 1 == 0).all())
            axes[name] = NumberAxis(effects[name], zero_at, low, high, whole)
            logit_at_zero += effects[name] * zero_at
        else:
            # The reference level, and a level that development never saw, have no coefficient.
            steps = np.array([0.0, *(effects.get(coded, 0.0) for coded in blocks[name])])
            axes[name] = LevelAxis(dict(zip(named, (steps - steps.min()).tolist(), strict=True)))
            logit_at_zero += steps.min()
    scale = WIDEST / max(axis.most for axis in axes.values())
    return Nomogram(scale, float(logit_at_zero), {name: _scaled(axis, scale) for name, axis in axes.items()})


def nomogram_axes(nomogram: Nomogram) -> pd.DataFrame:
    """Every axis of a nomogram as a table, precise enough to be read instead of the drawing.

    Parameters
    ----------
    nomogram : Nomogram

    Returns
    -------
    DataFrame
        `axis` (a predictor, "total_points" or "probability"), `kind` ("number", "level", "total", "probability"),
        `value` (NaN for a level), `level` (empty for a number), `points`, and `tick`: whether the drawing has a mark
        there. Points are a straight line of the value on all axes but that of the probability and of a curved term,
        whose rows are so close together that a straight line between them errs by less than 0.0001 of the probability
        or a thousandth of the term's points.

    Examples
    --------
    >>> axes = nomogram_axes(Nomogram(50.0, -2.0, {"ivh": NumberAxis(100.0, 0.0, 0.0, 1.0, whole=True)}))
    >>> axes.loc[axes["axis"] == "ivh", ["value", "points"]].to_numpy().tolist()
    [[0.0, 0.0], [1.0, 100.0]]
    """
    parts = []
    for name, axis in nomogram.axes.items():
        if isinstance(axis, LevelAxis):
            parts += [(name, "level", np.nan, str(level), points, True) for level, points in axis.levels.items()]
        else:
            marks = _marks(axis.low, axis.high, whole=axis.whole)
            if isinstance(axis, CurveAxis):
                marks = _curve_marks(axis, marks)
            parts += [(name, "number", value, "", axis.points(value) + 0.0, tick) for value, tick in marks]
    marks = _marks(0.0, nomogram.most)
    parts += [(TOTAL, "total", value, "", value, tick and value.is_integer()) for value, tick in marks]
    grid = np.arange(nomogram.logit_at_zero, nomogram.logit_at_zero + nomogram.most / nomogram.points_per_logit, 0.05)
    end = nomogram.probability(nomogram.most)
    shown = [p for p in _PROBABILITIES if nomogram.probability(0.0) < p < end]
    for p in sorted({*expit(grid).tolist(), end, *shown}):
        points = float(logit(p) - nomogram.logit_at_zero) * nomogram.points_per_logit
        parts.append((PROBABILITY, "probability", p, "", points, p in shown))
    return pd.DataFrame(parts, columns=list(COLUMNS))


def _scaled(axis: Axis, scale: float) -> Axis:
    if isinstance(axis, LevelAxis):
        return LevelAxis({level: worth * scale for level, worth in axis.levels.items()})
    if isinstance(axis, CurveAxis):
        return replace(axis, worth=tuple(worth * scale for worth in axis.worth))
    return replace(axis, points_per_unit=axis.points_per_unit * scale)


def _ends(values: pd.Series, lowest: float | None, highest: float | None) -> tuple[float, float]:
    """Ends of an axis: the observed range and a margin, rounded outwards to whole steps, inside what is possible."""
    observed = values.dropna().to_numpy(dtype=float)
    if np.isin(observed, (0.0, 1.0)).all():
        return 0.0, 1.0
    margin = _MARGIN * np.ptp(observed)
    step = _step(np.ptp(observed) + 2 * margin)
    low = step * np.floor((observed.min() - margin) / step)
    high = step * np.ceil((observed.max() + margin) / step)
    lowest, highest = -np.inf if lowest is None else lowest, np.inf if highest is None else highest
    return float(max(low, lowest)), float(min(high, highest))


def _marks(low: float, high: float, *, whole: bool = False) -> list[tuple[float, bool]]:
    """Values of an axis and whether they carry a mark: whole steps, and the ends (marked if far from a step)."""
    step = max(1.0, _step(high - low)) if whole else _step(high - low)
    inside: Array = step * np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1)
    marks = {float(f"{value:.12g}") + 0.0: True for value in inside}  # 0.0, not -0.0
    for end in (low, high):
        if np.abs(inside - end).min() > 1e-9 * step:
            marks[end] = bool(np.abs(inside - end).min() > 0.6 * step)
    return sorted(marks.items())


def _curve_marks(axis: CurveAxis, marks: list[tuple[float, bool]]) -> list[tuple[float, bool]]:
    """The marks of a curve, of a logarithm at 1, 2 and 5 times powers of ten, and the grid between them, unmarked."""
    if split_term(axis.term)[0] == LOG:
        powers = 10.0 ** np.arange(np.floor(np.log10(axis.low)), np.ceil(np.log10(axis.high)))
        marks = [(value, True) for value in np.outer(powers, (1, 2, 5)).ravel().tolist()]
    shown, last = dict.fromkeys(axis.grid.tolist(), False), -np.inf
    for value, tick in marks:
        if tick and axis.low <= value <= axis.high and abs(axis.points(value) - last) >= _CLOSE:
            shown[value], last = True, axis.points(value)
    return sorted(shown.items())


def _step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides the span into about ten parts."""
    part = span / 10
    power = 10.0 ** np.floor(np.log10(part))
    return float(power * min((1, 2, 5, 10), key=lambda times: abs(np.log(times * power / part))))
