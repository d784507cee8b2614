"""Forward selection of predictors in logistic regression, and how often resamples would choose the same.

A *predictor* is a column, a category or a named block of columns, and enters as a whole. Each step adds the predictor
of the greatest *merit* (lowest likelihood-ratio p value, or largest drop of AIC or BIC) and stops when none is good
enough. All resamples take their steps together, as case weights over shared designs; of the candidates only those are
fitted whose merit could still be the greatest: a score statistic bounds it.

Sources: Hosmer DW, Lemeshow S, Sturdivant RX. Applied logistic regression, 3rd ed., chapter 4. Wiley 2013. Heinze G,
Wallisch C, Dunkler D. Biom J 2018;60:431-449.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, expit, gammaln

from hepred_lib.errors import InputError
from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import bootstrap_indices, resample_counts
from hepred_lib.stats.curves import Basis
from hepred_lib.stats.logistic import (
    DAMPING,
    NEGLIGIBLE,
    Array,
    BatchedFit,
    Coding,
    LogisticModel,
    batched_irls,
    check_outcome,
    fit_logistic,
    fit_robustly,
    independent_rows,
    information_inverse,
    standardize,
)


@dataclass(frozen=True)
class ForwardSelection:
    """The result of a forward selection.

    Attributes
    ----------
    path : tuple of str
        Predictors (columns, categories, blocks) in their order of entry, without the forced ones.
    steps : DataFrame
        One row a step: step, variable, df, statistic (likelihood ratio against the step before), p,
        log_likelihood, aic, bic of the model after the step.
    model : LogisticModel
        The final model: forced predictors, then the path.
    """

    path: tuple[str, ...]
    steps: pd.DataFrame
    model: LogisticModel


def forward_select(
    x: pd.DataFrame,
    y: ArrayLike,
    *,
    criterion: str = "lr",
    alpha: float = 0.05,
    blocks: Mapping[str, Sequence[str]] | None = None,
    forced: Sequence[str] = (),
    separation: str = "refuse",
) -> ForwardSelection:
    """Forward selection of predictors for a logistic model.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Candidates; a categorical column is one block under its own name.
    y : array, shape (n,)
        Outcome, 0 or 1.
    criterion : {"lr", "aic", "bic"}
        "lr" adds the lowest likelihood-ratio p value while it is below alpha; the others add the largest drop of the
        criterion while there is one. Ties go to the first column.
    alpha : float
        Entry limit of "lr".
    blocks : dict of name to columns, optional
        Further columns that enter together, under the block's name.
    forced : names, optional
        Predictors that are in from the start; not part of the path.
    separation : {"refuse", "firth"}
        As for `fit_logistic`, of the final model.

    Returns
    -------
    ForwardSelection
        Its standard errors and p values take the model as given beforehand: they are too small after a selection.

    Raises
    ------
    ValueError
        Missing values, one class, constant columns, unknown names; separation by the chosen columns unless answered.

    References
    ----------
    Hosmer, Lemeshow, Sturdivant. Applied logistic regression, 3rd ed., chapter 4. Wiley 2013.
    """
    task = _Task.of(x, y, blocks, forced)
    every = np.ones((1, len(x)))
    chosen = select_paths(task.design, task.y, every, plan=task.plan, rule=Rule(criterion, alpha))[0]
    entered = [list(task.predictors)[i] for i in chosen]
    member = task.plan.members([chosen[:step] for step in range(len(chosen) + 1)], len(task.design))
    first = np.zeros(len(member), dtype=np.intp)
    reached = batched_irls(task.design, task.y, every, member=member, owner=first).log_likelihood
    size = member.sum(axis=1)
    columns = {"step": np.arange(1, len(member)), "variable": entered, "df": np.diff(size)}
    columns["statistic"] = 2 * np.diff(reached)
    columns["p"] = chdtrc(columns["df"], columns["statistic"])
    columns["log_likelihood"] = reached[1:]
    columns["aic"] = -2 * reached[1:] + 2 * size[1:]
    columns["bic"] = -2 * reached[1:] + np.log(len(x)) * size[1:]
    used = [column for name in (*forced, *entered) for column in task.predictors[name]]
    return ForwardSelection(tuple(entered), pd.DataFrame(columns), fit_logistic(x[used], y, separation=separation))


def inclusion_frequency(
    x: pd.DataFrame,
    y: ArrayLike,
    *,
    n_resamples: int,
    rng: np.random.Generator,
    criterion: str = "lr",
    alpha: float = 0.05,
    blocks: Mapping[str, Sequence[str]] | None = None,
) -> pd.Series:
    """How often forward selection chooses each predictor in bootstrap resamples, each with the observed events.

    Parameters
    ----------
    x, y, criterion, alpha, blocks
        As for `forward_select`.
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    Series of float in [0, 1], by predictor, in the order of x

    Raises
    ------
    ValueError
        As `forward_select`; for no resample.

    References
    ----------
    Sauerbrei, Schumacher. Stat Med 1992;11:2093-2109. Heinze, Wallisch, Dunkler. Biom J 2018;60:431-449.
    """
    task = _Task.of(x, y, blocks, ())
    _, paths = task.resampled(n_resamples, rng, Rule(criterion, alpha))
    return pd.Series(task.chosen(paths).mean(axis=0), index=list(task.predictors), name="inclusion_frequency")


@dataclass(frozen=True)
class Stability:
    """What the resamples say about a selection.

    Attributes
    ----------
    inclusion : Series
        Share of the resamples that chose each predictor, by name.
    models : DataFrame
        `predictors, n_predictors, frequency`: each different set that was chosen, the most frequent first.
    coefficients : DataFrame
        By coded column, per unit: `full`, the estimate with all candidates in the model (NaN for one that follows from
        those before it); `median, low, high`, the 2.5,
        50 and 97.5 % points of the resamples' estimates, 0 where not chosen; `relative_bias_pct` of the estimates
        *where chosen*, against `full`: what selection adds to the size of an effect; `rmsd_ratio`, the root mean
        squared difference from `full` over the standard error of `full`: above 1, selection makes the estimate worse.
    """

    inclusion: pd.Series
    models: pd.DataFrame
    coefficients: pd.DataFrame


def selection_stability(
    x: pd.DataFrame, y: ArrayLike, *, n_resamples: int, rng: np.random.Generator, rule: Rule | None = None
) -> Stability:
    """Repeat forward selection in bootstrap resamples and describe what it chose and estimated.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Candidates, complete.
    y : array_like of 0 and 1, shape (n,)
    n_resamples : int
        Each holds the observed number of events.
    rng : numpy.random.Generator
    rule : Rule, optional
        Criterion and entry limit; the likelihood ratio at 5 % by default.

    Returns
    -------
    Stability
        Where predictors separate the classes, Firth's penalty gives the estimate.

    Raises
    ------
    ValueError
        Missing values, one class, constant columns, no resample.

    References
    ----------
    Heinze G, Wallisch C, Dunkler D. Biom J 2018;60:431-449.
    """
    task = _Task.of(x, y, None, ())
    counts, paths = task.resampled(n_resamples, rng, rule or Rule())
    chosen = task.chosen(paths)
    member = task.plan.members(paths, len(task.design))
    designs = np.broadcast_to(task.design, (n_resamples, *task.design.shape))
    drawn, _ = fit_robustly(designs, task.y, counts, independent_rows(designs, counts, member))
    every = np.ones((1, len(x)))
    used = independent_rows(task.design, every, np.ones((1, len(task.design)), dtype=bool))
    full, _ = fit_robustly(task.design[None], task.y, every, used)
    error = np.full(len(task.design), np.nan)
    error[used[0]] = np.sqrt(np.diag(information_inverse(task.design[used[0]].T, full[0, used[0]])))
    full = np.where(used, full, np.nan)[0, 1:] / task.scale
    table = _described(drawn[:, 1:] / task.scale, full, error[1:] / task.scale, list(task.coding.names))
    inclusion = pd.Series(chosen.mean(axis=0), index=list(task.predictors), name="inclusion_frequency")
    return Stability(inclusion, _models(chosen, list(task.predictors)), table)


@dataclass(frozen=True)
class Rule:
    """When a candidate is better than another, and when it is good enough.

    Attributes
    ----------
    criterion : {"lr", "aic", "bic"}
    alpha : float
        Entry limit of "lr"; the others ignore it.
    """

    criterion: str = "lr"
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if self.criterion not in ("lr", "aic", "bic"):
            raise InputError(f"criterion must be 'lr', 'aic' or 'bic', got {self.criterion!r}.")
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha must lie in (0, 1), got {self.alpha}.")

    @property
    def limit(self) -> float:
        """The merit that a candidate must exceed, by more than rounding."""
        return -np.log(self.alpha) if self.criterion == "lr" else 0.0

    def merit(self, statistic: Array, df: NDArray[np.intp], n: Array) -> Array:
        """Minus log p for "lr", the drop of the criterion otherwise; minus infinity where df is 0."""
        if self.criterion == "lr":
            merit = _minus_log_p(statistic, df)
        else:
            merit = statistic - df * (2.0 if self.criterion == "aic" else np.log(n))
        return np.where(df > 0, merit, -np.inf)


@dataclass(frozen=True)
class Plan:
    """Which rows of a design belong together.

    Attributes
    ----------
    blocks : tuple of int arrays
        Design rows of each predictor; row 0 is the intercept.
    forced : int array
        Design rows that are always in the model, the intercept among them.
    candidates : tuple of int
        Positions in `blocks` that may be chosen.
    """

    blocks: tuple[NDArray[np.intp], ...]
    forced: NDArray[np.intp]
    candidates: tuple[int, ...]

    @classmethod
    def of(cls, coding: Coding | Basis, predictors: Mapping[str, Sequence[str]], forced: Sequence[str]) -> Plan:
        """Plan for predictors (name to columns of the table, or terms) under a coding or a basis."""
        unknown = [name for name in forced if name not in predictors]
        if unknown:
            raise ValueError(f"forced must name predictors among {list(predictors)}, got {unknown}.")
        row = {name: position + 1 for position, name in enumerate(coding.names)}
        blocks = tuple(
            np.array([row[coded] for column in columns for coded in coding.blocks[column]], dtype=np.intp)
            for columns in predictors.values()
        )
        held = [i for i, name in enumerate(predictors) if name in forced]
        rows = np.concatenate([[0], *(blocks[i] for i in held)]).astype(np.intp)
        return cls(blocks, rows, tuple(i for i in range(len(blocks)) if i not in held))

    def members(self, paths: Sequence[Sequence[int]], width: int) -> NDArray[np.bool_]:
        """Design rows of the model at the end of each path, forced ones included, shape (b, width)."""
        member = np.zeros((len(paths), width), dtype=bool)
        member[:, self.forced] = True
        for one, path in zip(member, paths, strict=True):
            one[[row for block in path for row in self.blocks[block]]] = True
        return member


def group_columns(
    columns: Sequence[str], blocks: Mapping[str, Sequence[str]] | None = None
) -> dict[str, tuple[str, ...]]:
    """Predictors and their columns: each block where its first column stands, other columns by themselves."""
    owner: dict[str, str] = {}
    for name, members in (blocks or {}).items():
        wrong = [member for member in members if member not in columns or member in owner]
        if wrong or not members or (name in columns and name not in members):
            raise ValueError(f"blocks must name each column of x at most once; block {name} has {list(members)}.")
        owner |= dict.fromkeys(members, name)
    names = dict.fromkeys(owner.get(column, column) for column in columns)
    return {name: tuple(c for c in columns if owner.get(c, c) == name) for name in names}


def select_paths(designs: Array, y: Array, weights: Array, *, plan: Plan, rule: Rule) -> list[list[int]]:
    """Forward selection in every resample at once.

    Parameters
    ----------
    designs : ndarray, shape (p + 1, n) or (b, p + 1, n)
        Standardized columns as rows, the intercept first; one design for all resamples or one for each.
    y : ndarray, shape (n,)
    weights : ndarray, shape (b, n)
        Case weights: the counts of each resample, or ones.
    plan : Plan
    rule : Rule

    Returns
    -------
    list of b paths, positions in plan.blocks in their order of entry
    """
    paths: list[list[int]] = []
    for first in range(0, len(weights), _CHUNK):
        part = slice(first, first + _CHUNK)
        paths += _select_chunk(_of(designs, part), y, weights[part], plan, rule)
    return paths


class _Task(NamedTuple):
    """A table and an outcome, ready for selection: predictors by name, standardized design, its scale, and the plan."""

    coding: Coding
    predictors: dict[str, tuple[str, ...]]
    design: Array
    scale: Array
    y: Array
    plan: Plan

    @classmethod
    def of(
        cls, x: pd.DataFrame, y: ArrayLike, blocks: Mapping[str, Sequence[str]] | None, forced: Sequence[str]
    ) -> _Task:
        """Code and check the table and the outcome."""
        coding, predictors = Coding.of(x), group_columns(tuple(x.columns), blocks)
        design, _, scale = standardize(coding.matrix(x))
        return cls(coding, predictors, design, scale, check_outcome(x, y), Plan.of(coding, predictors, forced))

    def resampled(self, n_resamples: int, rng: np.random.Generator, rule: Rule) -> tuple[Array, list[list[int]]]:
        """Counts of bootstrap resamples, shape (b, n), and the path of each."""
        checks.at_least(n_resamples, "n_resamples", 1)
        counts = resample_counts(bootstrap_indices(self.y, n_resamples, rng))
        return counts, select_paths(self.design, self.y, counts, plan=self.plan, rule=rule)

    def chosen(self, paths: list[list[int]]) -> NDArray[np.bool_]:
        """Predictors on each path, shape (b, predictors)."""
        return np.array([np.isin(np.arange(len(self.predictors)), path) for path in paths])


# Merits closer than this are ties, and the first column wins.
_TIE = 1e-9
# Resamples that take their steps together: their tables should stay in the processor's cache.
_CHUNK = 50


def _select_chunk(designs: Array, y: Array, weights: Array, plan: Plan, rule: Rule) -> list[list[int]]:
    paths: list[list[int]] = [[] for _ in weights]
    member = independent_rows(designs, weights, plan.members(paths, designs.shape[-2]))
    coefficients, likelihood = batched_irls(designs, y, weights, member=member)
    active = np.arange(len(weights) if plan.candidates else 0)
    while active.size:
        here = (_of(designs, active), y, weights[active])
        model = BatchedFit(coefficients[active], likelihood[active])
        winner, fit = _enter(here, member[active], model, plan, rule)
        entered = winner >= 0
        active = active[entered]
        coefficients[active], likelihood[active] = fit.coefficients[entered], fit.log_likelihood[entered]
        for resample, block in zip(active, winner[entered], strict=True):
            paths[resample].append(int(block))
            member[resample, plan.blocks[block]] = True
        if max(map(len, plan.blocks)) > 1:  # of a category, levels can be absent or follow from what is in already
            member[active] = independent_rows(_of(designs, active), weights[active], member[active])
    return paths


def _enter(
    data: tuple[Array, Array, Array], member: NDArray[np.bool_], model: BatchedFit, plan: Plan, rule: Rule
) -> tuple[NDArray[np.intp], BatchedFit]:
    """The block that enters each resample's model (-1: none) and the model with it."""
    score, df, bound, steps = _screen(data, member, model, plan)
    n = data[2].sum(axis=1, keepdims=True)
    most = rule.merit(bound, df, n)
    fits = BatchedFit(np.zeros_like(steps), np.full(most.shape, -np.inf))
    # First the most promising candidate alone, then those whose bound exceeds what it reached.
    promise = np.where(most > rule.limit, rule.merit(score, df, n), -np.inf)
    pending = (most > rule.limit) & (promise.argmax(axis=1)[:, None] == np.arange(most.shape[1]))
    for _ in range(2):
        owner, column = np.nonzero(pending)
        grown = member[owner]
        for one, j in zip(grown, column, strict=True):
            one[plan.blocks[plan.candidates[j]]] = True
        if owner.size:
            start = model.coefficients[owner] + steps[owner, column]
            fit = batched_irls(*data, member=grown, owner=owner, start=start)
            fits.coefficients[owner, column], fits.log_likelihood[owner, column] = fit
        merit = rule.merit(2 * (fits.log_likelihood - model.log_likelihood[:, None]), df, n)
        best = merit.max(axis=1)
        pending = np.isneginf(fits.log_likelihood) & (most > np.maximum(best, rule.limit)[:, None] - _TIE)
    column = np.argmax(merit >= best[:, None] - _TIE, axis=1)
    winner = np.where(best > rule.limit + _TIE, np.array(plan.candidates)[column], -1)
    every = np.arange(len(column))
    return winner, BatchedFit(fits.coefficients[every, column], fits.log_likelihood[every, column])


def _screen(
    data: tuple[Array, Array, Array], member: NDArray[np.bool_], model: BatchedFit, plan: Plan
) -> tuple[Array, NDArray[np.intp], Array, Array]:
    """One Newton step from the current model towards each candidate, from shared moments: no fit.

    Score statistic, degrees of freedom and bound of the likelihood ratio, shape (b, j); the steps, shape (b, j, q).
    """
    designs, y, weights = data
    p = expit((model.coefficients[:, None] @ designs)[:, 0])
    w = weights * p * (1 - p)
    gradient = (designs @ (weights * (y - p))[:, :, None])[:, :, 0]
    information = (designs * w[:, None]) @ np.swapaxes(designs, -1, -2)
    known = np.where(member[:, :, None], information, 0.0)
    # The damping matters only where a model separates its resample, so that no information is left.
    damping = np.where(member, DAMPING * weights.sum(axis=1)[:, None], 1.0)
    inside = np.where(member[:, None, :], known, 0.0) + np.eye(member.shape[1]) * damping[:, None, :]
    projection = np.linalg.solve(inside, known)
    residual = information - known.swapaxes(1, 2) @ projection
    negligible = NEGLIGIBLE * w.sum(axis=1)[:, None]
    parts = []
    for block in plan.candidates:
        rows = plan.blocks[block]
        size, axes = np.linalg.eigh(residual[:, rows][:, :, rows])
        usable = (size > negligible) & ~member[:, rows].any(axis=1, keepdims=True)
        slope = (gradient[:, None, rows] @ axes)[:, 0]
        inner = np.where(usable, slope / np.where(usable, size, 1.0), 0.0)
        move = axes @ inner[:, :, None]
        step = -(projection[:, :, rows] @ move)[:, :, 0]
        step[:, rows] = move[:, :, 0]
        parts.append((np.sum(inner * slope, axis=1), usable.sum(axis=1), step))
    score, df, steps = (np.stack(part, axis=1) for part in zip(*parts, strict=True))
    reach = np.max(np.abs(steps @ designs) * (weights > 0)[:, None], axis=2)
    most = -2 * model.log_likelihood[:, None]
    bound = np.where(reach < 1, np.minimum(score / np.maximum(1 - reach, 1e-12), most), most)
    return score, df, bound, steps


def _minus_log_p(statistic: Array, df: NDArray[np.intp]) -> Array:
    """Minus log of the chi-squared tail, also where the tail itself underflows."""
    half, k = np.maximum(statistic, 0.0) / 2, np.maximum(df, 1) / 2
    p = chdtrc(2 * k, 2 * half)
    far = half - (k - 1) * np.log(np.maximum(half, 1.0)) + gammaln(k)
    return np.where(p > 1e-300, -np.log(np.maximum(p, 1e-300)), far)


def _of(designs: Array, resamples: slice | NDArray[np.intp]) -> Array:
    """The designs of some resamples; one shared by all stays itself."""
    return designs if designs.ndim == 2 else designs[resamples]


def _described(drawn: Array, full: Array, error: Array, names: list[str]) -> pd.DataFrame:
    """The resamples' estimates, shape (b, q), against those with all candidates and their standard errors."""
    low, median, high = np.quantile(drawn, (0.025, 0.5, 0.975), axis=0)
    taken = drawn != 0
    mean = np.sum(drawn, axis=0) / np.maximum(taken.sum(axis=0), 1)
    known = taken.any(axis=0) & (full != 0) & np.isfinite(full)
    bias = np.where(known, 100 * (mean / np.where(known, full, 1.0) - 1), np.nan)
    columns = {"full": full, "median": median, "low": low, "high": high, "relative_bias_pct": bias}
    columns["rmsd_ratio"] = np.sqrt(np.mean((drawn - full) ** 2, axis=0)) / error
    return pd.DataFrame(columns, index=names)


def _models(chosen: NDArray[np.bool_], names: list[str]) -> pd.DataFrame:
    """Each different set of predictors, the most frequent first."""
    sets, counts = np.unique(chosen, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    words = [" + ".join(np.array(names)[row]) or "none" for row in sets[order]]
    columns = {"predictors": words, "n_predictors": sets[order].sum(axis=1), "frequency": counts[order] / len(chosen)}
    return pd.DataFrame(columns)
