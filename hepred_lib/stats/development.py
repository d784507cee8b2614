"""One logistic model developed as it will be used, and judged with the whole procedure repeated in every resample.

The procedure: impute the predictors m times; select forward among the candidates in each completed set and keep what
more than half of the sets chose; fit the kept and the added predictors in each set and pool by Rubin's rules; repeat
imputation, selection and fit in bootstrap resamples; shrink all coefficients by the mean calibration slope that the
resamples' models have on the development data, and re-estimate the intercept.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import chi2, f

from hepred_lib.stats import checks
from hepred_lib.stats.discrimination import auc
from hepred_lib.stats.imputation import Imputer, describe, draw_once, impute_development
from hepred_lib.stats.logistic import (
    Array,
    BatchedFit,
    Coding,
    batched_irls,
    check_outcome,
    firth,
    information_inverse,
    separating_columns,
    unscale,
)
from hepred_lib.stats.resampling import Pooled, bootstrap_indices, resample_counts, rubin_pool
from hepred_lib.stats.selection import Plan, Rule, fit_rows, group_columns, select_paths, varying_rows

# Log odds beyond which a fit is examined for separation.
_EXTREME = 10.0
# Resamples handled together.
_CHUNK = 50


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
class AddedTest:
    """Likelihood-ratio test of the added predictors over the others, pooled over the imputed sets.

    With complete data the statistic is the likelihood ratio over df and p comes from chi-squared; otherwise the
    statistics are pooled by the D2 rule. The selection is taken as given.

    References
    ----------
    Li, Meng, Raghunathan, Rubin. Stat Sinica 1991;1:65-92.
    """

    statistic: float
    df: int
    p: float


@dataclass(frozen=True)
class DevelopedModel:
    """A logistic model with its imputer, its shrinkage and its optimism.

    Attributes
    ----------
    names : tuple of str
        Coded columns: forced, selected in the order of the path, added. A level that never occurred in development
        has no column and counts as the reference level.
    intercept, coefficients : float and ndarray, shape (q,)
        Shrunk; the intercept makes the mean probability on the development data equal to the prevalence.
    unshrunk_intercept, unshrunk_coefficients : float and ndarray, shape (q,)
        Pooled by Rubin's rules.
    standard_errors : ndarray, shape (q,)
        Of the unshrunk coefficients, the selection taken as given: too small after a selection.
    covariance : ndarray, shape (q + 1, q + 1)
        Of the unshrunk intercept and coefficients.
    path : tuple of str
        Predictors chosen in more than half of the imputed sets, by their mean rank of entry.
    shrinkage : float in [0, 1]
        Mean calibration slope of the resamples' models on the development data.
    optimism : dict
        auc_apparent, auc_corrected, brier_apparent, brier_corrected, slope_corrected (of the unshrunk model) and
        n_resamples.
    inclusion_frequency : Series
        Share of the resamples that chose each candidate, by name.
    added_test : AddedTest or None
    imputer : Imputer
    settings : DevelopmentSettings
    notes : tuple of str
        What a reader must know: nothing selected, separation, constant candidates.

    References
    ----------
    Van Houwelingen, Le Cessie. Stat Med 1990;9:1303-1325. Harrell, Lee, Mark. Stat Med 1996;15:361-387.
    """

    names: tuple[str, ...]
    intercept: float
    coefficients: Array
    unshrunk_intercept: float
    unshrunk_coefficients: Array
    standard_errors: Array
    covariance: Array
    path: tuple[str, ...]
    shrinkage: float
    optimism: dict[str, float | int]
    inclusion_frequency: pd.Series
    added_test: AddedTest | None
    imputer: Imputer
    settings: DevelopmentSettings
    notes: tuple[str, ...]

    @property
    def predictors(self) -> tuple[str, ...]:
        """Columns of the table that the model uses: forced, selected, added."""
        return (*self.settings.forced, *self.path, *self.settings.added)

    def linear_predictors(self, x: pd.DataFrame, *, shrunk: bool = True) -> Array:
        """Log odds in each imputed set, shape (m, n)."""
        coefficients = self.coefficients if shrunk else self.unshrunk_coefficients
        completed = self.imputer.impute(self._table(x))
        values = np.stack([coded[list(self.names)].to_numpy() for coded in completed])
        return (self.intercept if shrunk else self.unshrunk_intercept) + values @ coefficients

    def predict(self, x: pd.DataFrame, *, shrunk: bool = True) -> Array:
        """Probability of each row, shape (n,): the mean over the imputed sets.

        Every predictor of the model must be a column of x; all but the added ones may be missing. Columns that only
        serve the imputation may be absent.
        """
        return expit(self.linear_predictors(x, shrunk=shrunk)).mean(axis=0)

    def missing(self, x: pd.DataFrame) -> pd.DataFrame:
        """Which of the model's predictors have to be imputed in each row, as booleans."""
        return x[list(self.predictors)].isna()

    def to_json(self) -> dict[str, Any]:
        """The model as numbers and lists; the imputer is stored apart (`imputer.to_json()`)."""
        return {
            "definition": "p = 1 / (1 + exp(-(intercept + sum of coefficient x value))), values in their own units, "
            "no centring; column[level] is 1 where the column has that level, else 0; "
            "with missing values, p is the mean over the imputed sets",
            "intercept": self.intercept,
            "coefficients": _by_name(self.names, self.coefficients),
            "unshrunk_intercept": self.unshrunk_intercept,
            "unshrunk_coefficients": _by_name(self.names, self.unshrunk_coefficients),
            "standard_errors": _by_name(self.names, self.standard_errors),
            "covariance": self.covariance.tolist(),
            "shrinkage": self.shrinkage,
            "path": list(self.path),
            "inclusion_frequency": {name: float(share) for name, share in self.inclusion_frequency.items()},
            "optimism": {name: None if np.isnan(value) else value for name, value in self.optimism.items()},
            "added_test": None if self.added_test is None else asdict(self.added_test),
            "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.settings).items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, model: dict[str, Any], imputation: dict[str, Any]) -> DevelopedModel:
        """Rebuild a model from what `to_json` and `imputer.to_json` wrote."""
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in model["settings"].items()}
        return cls(
            names=tuple(model["coefficients"]),
            intercept=model["intercept"],
            coefficients=np.array(list(model["coefficients"].values())),
            unshrunk_intercept=model["unshrunk_intercept"],
            unshrunk_coefficients=np.array(list(model["unshrunk_coefficients"].values())),
            standard_errors=np.array(list(model["standard_errors"].values())),
            covariance=np.array(model["covariance"]),
            path=tuple(model["path"]),
            shrinkage=model["shrinkage"],
            optimism={name: np.nan if value is None else value for name, value in model["optimism"].items()},
            inclusion_frequency=pd.Series(model["inclusion_frequency"], name="inclusion_frequency", dtype=float),
            added_test=None if model["added_test"] is None else AddedTest(**model["added_test"]),
            imputer=Imputer.from_json(imputation),
            settings=DevelopmentSettings(**settings),
            notes=tuple(model["notes"]),
        )

    def _table(self, x: pd.DataFrame) -> pd.DataFrame:
        absent = [name for name in self.predictors if name not in x.columns]
        if absent:
            raise ValueError(f"Predictors {absent} are required, got columns {list(x.columns)}.")
        _refuse_missing_added(x, self.settings.added)
        others = [name for name in self.imputer.coding.levels if name not in x.columns]
        return x.assign(**dict.fromkeys(others, np.nan))


def develop(x: pd.DataFrame, y: ArrayLike, settings: DevelopmentSettings) -> DevelopedModel:
    """Develop one model on development patients.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        At least the columns of the settings; numbers, 0/1, categories; NaN where missing, but not in `added`.
    y : array, shape (n,)
        Outcome, 0 or 1.
    settings : DevelopmentSettings

    Returns
    -------
    DevelopedModel
        Where nothing is selected, added or forced, it holds the intercept only, and says so in `notes`. Where the
        chosen predictors separate the classes, Firth's penalty gives the estimate (in resamples too).
    """
    columns = _columns(x, settings)
    outcome = check_outcome(columns, y)
    rng = np.random.default_rng(settings.seed)
    imputer, completed = impute_development(columns, n_imputations=settings.n_imputations, rng=rng, observed=False)
    task = _Task.of(imputer.coding, settings, completed[0])
    designs = np.stack([task.design(values) for values in completed])
    ones = np.ones((len(designs), outcome.size))
    path = _majority(select_paths(designs, outcome, ones, plan=task.plan, rule=task.rule), task)
    member = task.members([path] * len(designs)) & varying_rows(designs, ones).all(axis=0)
    rows = task.order(path)
    rows = rows[member[0, rows]]
    fit, separated = _fit(designs, outcome, ones, member)
    pooled = _pool(task, designs, fit, rows)
    values = imputer.coding.matrix(columns).to_numpy()
    judged = _judge(task, imputer.coding, values, (designs, outcome), rng)
    names = tuple(task.names[row] for row in rows)
    draft = DevelopedModel(
        names=names,
        intercept=0.0,
        coefficients=pooled.estimate[1:] * judged.shrinkage,
        unshrunk_intercept=float(pooled.estimate[0]),
        unshrunk_coefficients=pooled.estimate[1:],
        standard_errors=pooled.standard_error[1:],
        covariance=pooled.total_variance,
        path=tuple(settings.candidates[block] for block in path),
        shrinkage=judged.shrinkage,
        optimism={},
        inclusion_frequency=pd.Series(judged.inclusion, index=list(settings.candidates), name="inclusion_frequency"),
        added_test=_test_added(task, designs, outcome, member),
        imputer=imputer,
        settings=settings,
        notes=_notes(names, separated, judged, columns),
    )
    intercept = _intercept(draft.linear_predictors(columns), outcome.mean())
    p = draft.predict(columns, shrunk=False)
    return replace(draft, intercept=intercept, optimism=judged.corrected(outcome, p))


def cross_fit(x: pd.DataFrame, y: ArrayLike, fold: ArrayLike, settings: DevelopmentSettings) -> Array:
    """Probabilities of development patients from models that have not seen them.

    For each fold the whole of `develop` is repeated on the other folds, with a seed of its own.

    Parameters
    ----------
    x, y, settings
        As for `develop`.
    fold : array, shape (n,)
        Label of each patient's fold.

    Returns
    -------
    ndarray, shape (n,)
    """
    labels, number = np.unique(np.asarray(fold), return_inverse=True)
    if number.shape != (len(x),) or labels.size < 2:
        raise ValueError(f"fold must hold at least 2 labels, one for each of the {len(x)} rows, got {labels.tolist()}.")
    outcome = np.asarray(y)
    p = np.empty(len(x))
    for k in range(labels.size):
        seed = int(np.random.SeedSequence([settings.seed, k]).generate_state(1)[0])
        model = develop(x[number != k], outcome[number != k], replace(settings, seed=seed))
        p[number == k] = model.predict(x[number == k])
    return p


@dataclass(frozen=True)
class _Task:
    """The settings in terms of design rows (0 is the intercept), and the scale of the design."""

    names: tuple[str, ...]
    plan: Plan
    added: NDArray[np.intp]
    rule: Rule
    center: Array
    scale: Array
    n_resamples: int

    @classmethod
    def of(cls, coding: Coding, settings: DevelopmentSettings, values: Array) -> _Task:
        whole = Plan.of(coding, group_columns(settings.columns), settings.forced)
        n = len(settings.candidates)
        plan = replace(whole, blocks=whole.blocks[:n], candidates=tuple(i for i in whole.candidates if i < n))
        added = np.concatenate([[], *whole.blocks[n:]]).astype(np.intp)
        spread = values.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        rule = Rule(settings.criterion, settings.alpha)
        return cls(("intercept", *coding.names), plan, added, rule, values.mean(axis=0), scale, settings.n_resamples)

    def design(self, values: Array) -> Array:
        """Standardized rows, the intercept first, shape (q + 1, n)."""
        return np.vstack([np.ones(len(values)), ((values - self.center) / self.scale).T])

    def order(self, path: list[int]) -> NDArray[np.intp]:
        """Design rows of a model but the intercept: forced, path, added."""
        return np.concatenate([self.plan.forced[1:], *(self.plan.blocks[block] for block in path), self.added])

    def members(self, paths: list[list[int]]) -> NDArray[np.bool_]:
        """Design rows of each model as booleans, shape (models, q + 1)."""
        member = np.zeros((len(paths), len(self.names)), dtype=bool)
        member[:, 0] = True
        for one, path in zip(member, paths, strict=True):
            one[self.order(path)] = True
        return member


@dataclass(frozen=True)
class _Judgement:
    """What the resamples say: each model's slope on the development data, and its optimism."""

    slopes: Array
    auc_optimism: Array
    brier_optimism: Array
    inclusion: Array

    @property
    def shrinkage(self) -> float:
        """Mean slope, kept in [0, 1]; 1 where no resample chose anything (there is nothing to shrink)."""
        slope = self.slope
        return 1.0 if np.isnan(slope) else float(np.clip(slope, 0.0, 1.0))

    @property
    def slope(self) -> float:
        """Mean slope over the resamples whose model is more than an intercept."""
        known = self.slopes[~np.isnan(self.slopes)]
        return float(known.mean()) if known.size else np.nan

    def corrected(self, y: Array, p: Array) -> dict[str, float | int]:
        """Apparent and optimism-corrected figures of probabilities p."""
        apparent, brier = float(auc(y, p)), float(np.mean((y - p) ** 2))
        return {
            "auc_apparent": apparent,
            "auc_corrected": apparent - float(self.auc_optimism.mean()),
            "brier_apparent": brier,
            "brier_corrected": brier - float(self.brier_optimism.mean()),
            "slope_corrected": self.slope,
            "n_resamples": int(self.slopes.size),
        }


def _judge(
    task: _Task, coding: Coding, values: Array, data: tuple[Array, Array], rng: np.random.Generator
) -> _Judgement:
    """Repeat imputation (one stochastic set), selection and fit in resamples, and judge each model."""
    designs, y = data
    n_resamples, parts, chosen = task.n_resamples, [], np.zeros(len(task.plan.blocks))
    for first in range(0, n_resamples, _CHUNK):
        drawn = _usable_resamples(values, y, min(_CHUNK, n_resamples - first), rng)
        counts = resample_counts(drawn)
        training = _resampled_designs(task, coding, values, (drawn, counts), rng)
        paths = select_paths(training, y, counts, plan=task.plan, rule=task.rule)
        member = task.members(paths) & varying_rows(training, counts)
        fit, _ = _fit(training, y, counts, member)
        original = designs[np.arange(first, first + len(drawn)) % len(designs)]
        parts.append(_measure(fit.coefficients, (training, original), y, drawn))
        chosen += np.bincount([block for path in paths for block in path], minlength=chosen.size)
    return _Judgement(*np.concatenate(parts, axis=1), chosen / n_resamples)


def _usable_resamples(values: Array, y: Array, n_resamples: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Resamples with the observed number of events; one that leaves a column without any value is drawn again."""
    observed = ~np.isnan(values)
    drawn = bootstrap_indices(y, n_resamples, rng)
    while empty := [b for b, rows in enumerate(drawn) if not observed[rows].any(axis=0).all()]:
        drawn[empty] = bootstrap_indices(y, len(empty), rng)
    return drawn


def _resampled_designs(
    task: _Task, coding: Coding, values: Array, resamples: tuple[NDArray[np.intp], Array], rng: np.random.Generator
) -> Array:
    """Designs of the resamples, shape (b, q + 1, n): imputed from each resample's own rows."""
    drawn, counts = resamples
    if not np.isnan(values).any():
        return np.broadcast_to(task.design(values), (len(drawn), len(task.names), len(values)))
    designs = []
    for rows, weights in zip(drawn, counts, strict=True):
        knots = describe(values[rows], coding)
        designs.append(task.design(draw_once(values, coding, knots, weights=weights, rng=rng)[0]))
    return np.stack(designs)


def _measure(coefficients: Array, designs: tuple[Array, Array], y: Array, drawn: NDArray[np.intp]) -> Array:
    """Slope on the development data, optimism of AUC and of Brier score, shape (3, b)."""
    inside, outside = ((coefficients[:, None] @ design)[:, 0] for design in designs)
    spread = outside.std(axis=1)
    flat = spread < 1e-9
    scaled = (outside - outside.mean(axis=1, keepdims=True)) / np.where(flat, 1.0, spread)[:, None]
    pairs = np.stack([np.ones_like(scaled), scaled], axis=1)
    slopes = batched_irls(pairs, y, np.ones_like(scaled)).coefficients[:, 1] / np.where(flat, 1.0, spread)
    squares = (y - expit(outside)) ** 2
    figures = [
        (
            np.nan if flat[b] else slopes[b],
            auc(y[rows], inside[b, rows]) - auc(y, outside[b]),
            np.mean((y[rows] - expit(inside[b, rows])) ** 2) - squares[b].mean(),
        )
        for b, rows in enumerate(drawn)
    ]
    return np.array(figures).T


def _fit(designs: Array, y: Array, weights: Array, member: NDArray[np.bool_]) -> tuple[BatchedFit, bool]:
    """Maximum likelihood, or Firth's estimate where a model's predictors separate the classes."""
    fit = fit_rows(designs, y, weights, member=member)
    reach = np.abs((fit.coefficients[:, None] @ designs)[:, 0]) * (weights > 0)
    separated = False
    for b in np.flatnonzero(reach.max(axis=1) > _EXTREME):
        rows, used = np.flatnonzero(member[b]), weights[b] > 0
        design = designs[b][np.ix_(rows, used)].T
        if separating_columns(design[:, 1:], y[used], tuple(map(str, rows[1:]))):
            fit.coefficients[b, rows] = firth(design, y[used], weights[b, used])
            separated = True
    return fit, separated


def _majority(paths: list[list[int]], task: _Task) -> list[int]:
    """Blocks chosen in more than half of the sets, by mean rank of entry (not chosen ranks last), then position."""
    last = len(task.plan.blocks)
    ranks = np.array([[path.index(block) if block in path else last for path in paths] for block in range(last)])
    kept = [block for block in range(last) if np.mean(ranks[block] < last) > 0.5]
    return sorted(kept, key=lambda block: (ranks[block].mean(), block))


def _pool(task: _Task, designs: Array, fit: BatchedFit, rows: NDArray[np.intp]) -> Pooled:
    """Rubin's rules over the sets, in the columns' own units, intercept first."""
    used = np.concatenate([[0], rows])
    estimates, covariances = [], []
    for design, coefficients in zip(designs, fit.coefficients[:, used], strict=True):
        inverse = information_inverse(design[used].T, coefficients)
        estimate, covariance = unscale(coefficients, inverse, task.center[rows - 1], task.scale[rows - 1])
        estimates.append(estimate)
        covariances.append(covariance)
    return rubin_pool(np.stack(estimates), np.stack(covariances))


def _test_added(task: _Task, designs: Array, y: Array, member: NDArray[np.bool_]) -> AddedTest | None:
    """Likelihood-ratio statistics of the added rows in each set, pooled by the D2 rule."""
    df = int(member[0, task.added].sum())
    if df == 0:
        return None
    without = member.copy()
    without[:, task.added] = False
    ones = np.ones((len(designs), y.size))
    full, reduced = (fit_rows(designs, y, ones, member=rows).log_likelihood for rows in (member, without))
    statistics, m = 2 * np.maximum(full - reduced, 0.0), len(designs)
    increase = (1 + 1 / m) * np.var(np.sqrt(statistics), ddof=1) if m > 1 else 0.0
    if increase < 1e-12:
        return AddedTest(float(statistics.mean() / df), df, float(chi2.sf(statistics.mean(), df)))
    pooled = max(0.0, (statistics.mean() / df - (m + 1) / (m - 1) * increase) / (1 + increase))
    freedom = df ** (-3 / m) * (m - 1) * (1 + 1 / increase) ** 2
    return AddedTest(float(pooled), df, float(f.sf(pooled, df, freedom)))


def _intercept(linear_predictors: Array, prevalence: float) -> float:
    """The intercept that makes the mean probability equal to the prevalence."""
    reach = np.abs(linear_predictors).max() + 40
    return float(brentq(lambda a: expit(a + linear_predictors).mean() - prevalence, -reach, reach, xtol=1e-13))


def _notes(names: tuple[str, ...], separated: bool, judged: _Judgement, columns: pd.DataFrame) -> tuple[str, ...]:
    constant = [str(name) for name, column in columns.items() if column.nunique() < 2]
    empty = int(np.isnan(judged.slopes).sum())
    notes = {
        "No predictor was selected: the model is the intercept alone.": not names,
        "The predictors separate the outcome: estimated with Firth's penalty.": separated,
        f"Constant in development, so never selected: {', '.join(constant)}.": bool(constant),
        f"{empty} of {judged.slopes.size} resamples selected nothing and do not enter the shrinkage.": empty > 0,
    }
    return tuple(note for note, holds in notes.items() if holds)


def _columns(x: pd.DataFrame, settings: DevelopmentSettings) -> pd.DataFrame:
    absent = [name for name in settings.columns if name not in x.columns]
    if absent:
        raise ValueError(f"x must have the columns of the settings; {absent} are absent from {list(x.columns)}.")
    _refuse_missing_added(x, settings.added)
    return x[list(settings.columns)]


def _refuse_missing_added(x: pd.DataFrame, added: tuple[str, ...]) -> None:
    for name in added:
        if x[name].isna().any():
            raise ValueError(f"{name} must not be missing, got {int(x[name].isna().sum())} empty of {len(x)} rows.")


def _by_name(names: tuple[str, ...], values: Array) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))
