"""Curved predictors: the logarithm of a number, or its restricted cubic spline, as terms of a logistic model.

A *term* is what a model is offered: a column by its name, ``log(column)``, or ``spline(column)``, a restricted cubic
spline with three knots, which counts two parameters and enters as a whole. Missing values are imputed in the column
itself; the terms are made of it afterwards, so that two terms of one column always agree.

Sources: Stone CJ, Koo CY. Proc Stat Comput Sect ASA 1985:45-48. Harrell FE. Regression modeling strategies, 2nd ed.
Springer 2015.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepred_lib.errors import InputError
from hepred_lib.stats import checks
from hepred_lib.stats.logistic import Array, Coding

LOG, SPLINE = "log", "spline"
_TERM = re.compile(rf"({LOG}|{SPLINE})\((.+)\)")
# Where Harrell puts the knots of a restricted cubic spline, as quantiles: three of a term, four to test linearity.
TERM_KNOTS = (0.10, 0.50, 0.90)
TEST_KNOTS = (0.05, 0.35, 0.65, 0.95)


def split_term(term: str) -> tuple[str, str]:
    """The form of a term ("log", "spline" or empty) and the column that it is made of.

    Examples
    --------
    >>> split_term("log(baseline_volume_ml)"), split_term("age")
    (('log', 'baseline_volume_ml'), ('', 'age'))
    """
    found = _TERM.fullmatch(term)
    return (found[1], found[2]) if found else ("", term)


def columns_of(terms: Sequence[str]) -> tuple[str, ...]:
    """The columns that terms are made of, each once."""
    return tuple(dict.fromkeys(split_term(term)[1] for term in terms))


@dataclass(frozen=True)
class Basis:
    """The terms of a model as columns of its design, made of the coded columns of a table.

    Attributes
    ----------
    coding : Coding
        Of the table.
    terms : tuple of str
    curves : mapping of str to tuple of float
        Of a spline its three knots; of a logarithm the smallest value above 0 in development, which smaller values
        count as.
    """

    coding: Coding
    terms: tuple[str, ...]
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def fit(cls, coding: Coding, terms: Sequence[str], values: Array) -> Basis:
        """Place the knots by the known values of development patients.

        Parameters
        ----------
        coding : Coding
        terms : sequence of str
        values : ndarray, shape (n, q)
            Coded columns, NaN where missing.

        Raises
        ------
        ValueError
            A curve of a category or of an absent column; a logarithm without a value above 0; a spline of too few
            different values, as of a 0/1 column.
        """
        curves = {}
        for term in terms:
            form, column = split_term(term)
            if not form:
                continue
            if coding.levels.get(column, ()) is not None:
                raise InputError(f"{term} must be made of a number among {list(coding.levels)}.")
            known = values[:, coding.names.index(column)]
            curves[term] = _describe(term, form, known[~np.isnan(known)])
        return cls(coding, tuple(terms), curves)

    @cached_property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        """Columns of the design by term: those of the coding; of a spline its line and, with a prime, its bend."""
        bent = {term: (term, f"{term}'") if split_term(term)[0] == SPLINE else (term,) for term in self.curves}
        return {term: bent.get(term) or self.coding.blocks[term] for term in self.terms}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All columns of the design, in order."""
        return tuple(name for block in self.blocks.values() for name in block)

    def expand(self, values: Array) -> Array:
        """Columns of the design, shape (n, p), from coded columns, shape (n, q); NaN stays NaN."""
        if self.names == self.coding.names:
            return values
        place = {name: column for column, name in enumerate(self.coding.names)}
        parts = [np.empty((len(values), 0))]
        for term, block in self.blocks.items():
            if term in self.curves:
                parts.append(bend(term, self.curves[term], values[:, place[split_term(term)[1]]]))
            else:
                parts.append(values[:, [place[name] for name in block]])
        return np.hstack(parts)


def bend(term: str, curve: Sequence[float], values: ArrayLike) -> Array:
    """Columns of a curved term, shape (n, 1) or (n, 2), for values of its column; `curve` as in `Basis`.

    Examples
    --------
    >>> bend("log(x)", [1.0], [0.0, 1.0]).tolist()
    [[0.0], [0.0]]
    >>> bend("spline(x)", [0.0, 1.0, 2.0], [1.0, 3.0]).tolist()
    [[1.0, 0.25], [3.0, 3.0]]
    """
    x = np.asarray(values, dtype=float)
    if split_term(term)[0] == LOG:
        return np.log(np.maximum(x, curve[0]))[:, None]
    return np.column_stack([x, _bends(x, np.asarray(curve, dtype=float))])


def spline_knots(values: ArrayLike) -> NDArray[np.float64]:
    """Four knots of a restricted cubic spline at Harrell's quantiles.

    Parameters
    ----------
    values : array_like, shape (n,)

    Returns
    -------
    ndarray, shape (4,)

    Raises
    ------
    ValueError
        If a value is not finite, or the quantiles coincide.

    References
    ----------
    Harrell FE. Regression modeling strategies, 2nd ed., table 2.3. Springer 2015.
    """
    knots = np.quantile(checks.scores(values, "values"), TEST_KNOTS)
    if np.unique(knots).size < knots.size:
        raise ValueError(f"values must spread enough for {knots.size} different knots, got {knots.tolist()}.")
    return knots


def spline_basis(values: ArrayLike, knots: ArrayLike) -> NDArray[np.float64]:
    """Non-linear terms of a restricted cubic spline, linear outside the outer knots.

    Parameters
    ----------
    values : array_like, shape (n,)
    knots : array_like, shape (k,)
        Rising, k >= 3.

    Returns
    -------
    ndarray, shape (n, k - 2)
        In units of the squared distance between the outer knots; 0 below the first one.

    Raises
    ------
    ValueError
        If a value is not finite, or there are not three rising knots.

    References
    ----------
    Stone CJ, Koo CY. Proc Stat Comput Sect ASA 1985:45-48. Harrell FE. Regression modeling strategies. Springer 2015.
    """
    values, t = checks.scores(values, "values"), checks.scores(knots, "knots")
    if t.size < 3 or (np.diff(t) <= 0).any():
        raise ValueError(f"knots must be at least three, rising, got {t.tolist()}.")
    return _bends(values, t)


def _bends(values: Array, t: Array) -> Array:
    cubes = np.maximum(values[:, None] - t, 0.0) ** 3
    last, before = cubes[:, -1:], cubes[:, -2:-1]
    width = t[-1] - t[-2]
    terms = cubes[:, :-2] - before * (t[-1] - t[:-2]) / width + last * (t[-2] - t[:-2]) / width
    return terms / (t[-1] - t[0]) ** 2


def _describe(term: str, form: str, known: Array) -> tuple[float, ...]:
    if form == SPLINE:
        knots = np.quantile(known, TERM_KNOTS) if known.size else np.empty(0)
        if np.unique(known).size < 4 or np.unique(knots).size < 3:  # of a 0/1 column the bend is a straight line
            raise InputError(f"{term} needs a number with more different values, got knots at {knots.tolist()}.")
        return tuple(knots.tolist())
    if not (known > 0).any():
        raise InputError(f"{term} needs values above 0, got none in {known.size} patients.")
    return (float(known[known > 0].min()),)
