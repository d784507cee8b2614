"""The procedure that develops a model, in terms of design rows: select, then fit, in many data sets at once."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hepred_lib.stats import checks
from hepred_lib.stats.coding import Array, Coding
from hepred_lib.stats.forward import Plan, Rule, group_columns, select_paths
from hepred_lib.stats.irls import fit_rows, independent_rows, varying_rows
from hepred_lib.stats.separation import firth, separating_columns

# Log odds beyond which a fit is examined for separation.
_EXTREME = 10.0


@dataclass(frozen=True)
class DevelopmentSettings:
    """How one model is developed.

    Attributes
    ----------
    candidates : tuple of str
        Columns that forward selection may choose; categorical columns enter as a whole.
    added : tuple of str
        Columns that join after the selection and take no part in it, such as a DL score; never missing.
    forced : tuple of str
        Candidates that are in the model from the start.
    criterion : {"lr", "aic", "bic"}
    alpha : float
        Entry limit of "lr".
    n_imputations, n_resamples, seed : int
    """

    candidates: tuple[str, ...]
    added: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()
    criterion: str = "lr"
    alpha: float = 0.05
    n_imputations: int = 5
    n_resamples: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        columns = self.columns
        if not columns or len(set(columns)) < len(columns):
            raise ValueError(f"candidates and added must name at least one column, each once, got {columns}.")
        if not set(self.forced) <= set(self.candidates):
            raise ValueError(f"forced must be among the candidates {self.candidates}, got {self.forced}.")
        checks.at_least(self.n_imputations, "n_imputations", 1)
        checks.at_least(self.n_resamples, "n_resamples", 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the model may use."""
        return (*self.candidates, *self.added)


@dataclass(frozen=True)
class Procedure:
    """The settings in terms of design rows (0 is the intercept), and the scale of the design.

    Attributes
    ----------
    names : tuple of str
        The design's rows.
    plan : Plan
        Candidates, in the order of the settings, and forced rows.
    added : int array
        Rows that join after the selection.
    rule : Rule
    center, scale : ndarray, shape (q,)
        Taken out of each coded column: a fixed change of units, without influence on any result.
    """

    names: tuple[str, ...]
    plan: Plan
    added: NDArray[np.intp]
    rule: Rule
    center: Array
    scale: Array

    @classmethod
    def of(
        cls, coding: Coding, settings: DevelopmentSettings, values: Array, *, left_out: Collection[str] = ()
    ) -> Procedure:
        """Procedure for complete coded values, shape (n, q); candidates that are left out only serve the imputation."""
        whole = Plan.of(coding, group_columns(settings.columns), settings.forced)
        n = len(settings.candidates)
        offered = tuple(i for i in whole.candidates if i < n and settings.candidates[i] not in left_out)
        plan = replace(whole, blocks=whole.blocks[:n], candidates=offered)
        added = np.concatenate([[], *whole.blocks[n:]]).astype(np.intp)
        spread = values.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        rule = Rule(settings.criterion, settings.alpha)
        return cls(("intercept", *coding.names), plan, added, rule, values.mean(axis=0), scale)

    def design(self, values: Array) -> Array:
        """Standardized rows of complete coded values, the intercept first, shape (q + 1, n)."""
        return np.vstack([np.ones(len(values)), ((values - self.center) / self.scale).T])

    def rows(self, path: list[int]) -> NDArray[np.intp]:
        """Design rows of a model but the intercept: forced, path, added."""
        return np.concatenate([self.plan.forced[1:], *(self.plan.blocks[block] for block in path), self.added])

    def select(self, designs: Array, y: Array, weights: Array) -> list[list[int]]:
        """Forward selection in each data set: positions of the candidates in their order of entry."""
        return select_paths(designs, y, weights, plan=self.plan, rule=self.rule)

    def members(self, designs: Array, weights: Array, paths: list[list[int]]) -> NDArray[np.bool_]:
        """Design rows of each path's model that vary and do not follow from those before, shape (b, q + 1)."""
        member = np.zeros((len(paths), len(self.names)), dtype=bool)
        member[:, 0] = True
        for one, path in zip(member, paths, strict=True):
            one[self.rows(path)] = True
        return independent_rows(designs, weights, member & varying_rows(designs, weights))


def fit_robustly(
    designs: Array, y: Array, weights: Array, member: NDArray[np.bool_]
) -> tuple[Array, NDArray[np.bool_]]:
    """Maximum likelihood, or Firth's estimate where a model's rows separate the classes.

    Parameters
    ----------
    designs : ndarray, shape (b, q + 1, n)
    y : ndarray, shape (n,)
    weights : ndarray, shape (b, n)
    member : ndarray of bool, shape (b, q + 1)

    Returns
    -------
    coefficients, shape (b, q + 1), and whether each was separated, shape (b,)
        Where Firth's estimate does not converge, the finite end of the search for the maximum is kept.
    """
    coefficients = fit_rows(designs, y, weights, member=member).coefficients
    reach = np.abs((coefficients[:, None] @ designs)[:, 0]) * (weights > 0)
    separated = np.zeros(len(weights), dtype=bool)
    for b in np.flatnonzero(reach.max(axis=1) > _EXTREME):
        rows, used = np.flatnonzero(member[b]), weights[b] > 0
        design = designs[b][np.ix_(rows, used)].T
        if separating_columns(design[:, 1:], y[used], tuple(map(str, rows[1:]))):
            separated[b] = True
            with contextlib.suppress(ValueError):
                coefficients[b, rows] = firth(design, y[used], weights[b, used])
    return coefficients, separated
