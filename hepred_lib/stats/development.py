"""One logistic model developed as it will be used, and judged with the whole procedure repeated in every resample.

The procedure: impute the predictors m times, given the outcome; select forward among the candidates in each completed
set and keep what more than half of the sets chose; fit the kept and the added predictors in each set and pool by
Rubin's rules; repeat imputation, selection and fit in bootstrap resamples; shrink all coefficients by the mean
calibration slope that the resamples' models have on the development data, and re-estimate the intercept.

*Optimism* is by how much a figure is better on the resample that a model comes from than on the development data.

Sources: Van Houwelingen JC, Le Cessie S. Stat Med 1990;9:1303-1325. Harrell FE, Lee KL, Mark DB. Stat Med
1996;15:361-387. Li KH, Meng XL, Raghunathan TE, Rubin DB. Stat Sinica 1991;1:65-92.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import chi2, f

from hepred_lib.errors import InputError
from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import bootstrap_indices, resample_counts
from hepred_lib.stats.curves import Basis, columns_of, split_term
from hepred_lib.stats.diagnostics import collinear_predictors
from hepred_lib.stats.discrimination import auc
from hepred_lib.stats.imputation import Imputer, Pooled, describe, draw_once, impute_development, rubin_pool
from hepred_lib.stats.logistic import (
    NEGLIGIBLE,
    Array,
    batched_irls,
    check_outcome,
    fit_robustly,
    independent_rows,
    information_inverse,
    unscale,
)
from hepred_lib.stats.selection import Plan, Rule, group_columns, select_paths

# A patient far outside the others has a probability that rounds to 0 or 1, without a logit: moved in by a trace.
WITHIN = 1e-12, 1 - 1e-12
# Of each part or resample, the rows that are in it.
Rows = Sequence[NDArray[np.intp]] | NDArray[np.intp]


@dataclass(frozen=True)
class DevelopmentSettings:
    """How one model is developed.

    Attributes
    ----------
    candidates : tuple of str
        Terms that forward selection may choose: columns, their logarithms (``log(column)``) or splines
        (``spline(column)``); a category or a spline enters as a whole.
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
        if not self.terms or len(set(self.terms)) < len(self.terms):
            raise InputError(f"candidates and added must name at least one column, each once, got {self.terms}.")
        if not set(self.forced) <= set(self.candidates):
            raise ValueError(f"forced must be among the candidates {self.candidates}, got {self.forced}.")
        checks.at_least(self.n_imputations, "n_imputations", 1)
        checks.at_least(self.n_resamples, "n_resamples", 1)

    @property
    def terms(self) -> tuple[str, ...]:
        """All terms that the model may use."""
        return (*self.candidates, *self.added)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that they are made of."""
        return columns_of(self.terms)

    def table(self, x: pd.DataFrame) -> pd.DataFrame:
        """The columns of the settings; absent ones are refused."""
        if absent := [name for name in self.columns if name not in x.columns]:
            raise ValueError(f"x must have the columns of the settings; {absent} are absent from {list(x.columns)}.")
        return x[list(self.columns)]


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

    Raises
    ------
    ValueError
        Absent columns, missing added scores, a column without values or with too few to resample, one class; a curve of
        a category, a logarithm without a value above 0, a spline of too few different values.
    """
    columns = settings.table(x)
    _refuse_missing_added(columns, settings.added)
    outcome = check_outcome(columns, y)
    rng = np.random.default_rng(settings.seed)
    imputer, completed = impute_development(columns, outcome, n_imputations=settings.n_imputations, rng=rng)
    # Imputed apart, a copy of a column seems to be another predictor where values are missing.
    free = [name for name in settings.candidates if name not in settings.forced and name in columns]
    copies = collinear_predictors(columns[free])
    values = imputer.coding.matrix(columns).to_numpy()
    basis = Basis.fit(imputer.coding, settings.terms, values)
    procedure = Procedure.of(basis, settings, completed[0], left_out=copies)
    designs = np.stack([procedure.design(filled) for filled in completed])
    applied = np.stack([procedure.design(table.to_numpy()) for table in imputer.impute(columns)])
    fitted = _fit_pooled(procedure, designs, outcome)
    judged = judge(procedure, values, (applied, outcome), n_resamples=settings.n_resamples, rng=rng)
    shrinkage = judged.shrinkage if fitted.names else 1.0
    intercept, coefficients = float(fitted.pooled.estimate[0]), fitted.pooled.estimate[1:]
    draft = DevelopedModel(
        names=fitted.names,
        intercept=0.0,
        coefficients=coefficients * shrinkage,
        unshrunk_intercept=intercept,
        unshrunk_coefficients=coefficients,
        standard_errors=fitted.pooled.standard_error[1:],
        covariance=fitted.pooled.total_variance,
        path=tuple(settings.candidates[block] for block in fitted.path),
        shrinkage=shrinkage,
        optimism={},
        inclusion_frequency=pd.Series(judged.inclusion, index=list(settings.candidates), name="inclusion_frequency"),
        added_test=fitted.added_test,
        imputer=imputer,
        settings=settings,
        notes=_notes(fitted, judged, columns, tuple(copies)),
        curves=basis.curves,
        resampled=judged.probabilities,
    )
    linear = draft.linear_predictors(columns)
    reach = np.abs(linear).max() + 40
    # The intercept that makes the mean probability equal to the prevalence.
    moved = brentq(lambda a: expit(a + linear).mean() - outcome.mean(), -reach, reach, xtol=1e-13)
    optimism = judged.corrected(outcome, draft.predict(columns, shrunk=False), empty=not fitted.names)
    return replace(draft, intercept=float(moved), optimism=optimism)


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
        Mean calibration slope of the resamples' models on the development data; 1 for an intercept alone.
    optimism : dict
        auc_apparent, auc_corrected, brier_apparent, brier_corrected, slope_corrected (of the unshrunk model) and
        n_resamples; an intercept alone has no optimism, and no slope (NaN).
    inclusion_frequency : Series
        Share of the resamples that chose each candidate, by name.
    added_test : AddedTest or None
    imputer : Imputer
    settings : DevelopmentSettings
    notes : tuple of str
        What a reader must know: nothing selected, separation, constant and collinear columns.
    curves : mapping of str to tuple of float
        Of each curved term what `Basis` needs, such as its knots: placed by the development patients' known values and
        kept in the resamples.
    resampled : ndarray, shape (n_resamples, n), or None
        Probabilities that the resamples' models, before shrinkage, give the development patients; not stored.

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
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    resampled: Array | None = None

    @property
    def basis(self) -> Basis:
        """How the coded columns of a table become the terms that were offered."""
        return Basis(self.imputer.coding, self.settings.terms, self.curves)

    @property
    def terms(self) -> tuple[str, ...]:
        """Terms of the model: forced, selected, added."""
        return (*self.settings.forced, *self.path, *self.settings.added)

    @property
    def predictors(self) -> tuple[str, ...]:
        """Columns of the table that the model uses."""
        return columns_of(self.terms)

    def linear_predictors(self, x: pd.DataFrame, *, shrunk: bool = True) -> Array:
        """Log odds in each imputed set, shape (m, n)."""
        coefficients = self.coefficients if shrunk else self.unshrunk_coefficients
        completed, basis = self.imputer.impute(self._table(x)), self.basis
        used = [basis.names.index(name) for name in self.names]
        values = np.stack([basis.expand(coded.to_numpy())[:, used] for coded in completed])
        return (self.intercept if shrunk else self.unshrunk_intercept) + values @ coefficients

    def predict(self, x: pd.DataFrame, *, shrunk: bool = True) -> Array:
        """Probability of each row, shape (n,): the mean over the imputed sets.

        Every predictor of the model must be a column of x; all but the added ones may be missing. Columns that only
        serve the imputation may be absent.
        """
        return expit(self.linear_predictors(x, shrunk=shrunk)).mean(axis=0)

    def unknown_patient(self) -> pd.DataFrame:
        """One patient of whom nothing is known but the added scores, which are 0: every model must have an answer."""
        columns: dict[str, Any] = {
            name: [np.nan] if levels is None else pd.Categorical([None], categories=list(levels))
            for name, levels in self.imputer.coding.levels.items()
        }
        return pd.DataFrame(columns | {name: [0.0] for name in self.settings.added})

    def to_json(self) -> dict[str, Any]:
        """The model as numbers and lists; the imputer is stored apart (`imputer.to_json()`)."""
        by_name = {
            key: dict(zip(self.names, getattr(self, key).tolist(), strict=True))
            for key in ("coefficients", "unshrunk_coefficients", "standard_errors")
        }
        return {
            "definition": "p = 1 / (1 + exp(-(intercept + sum of coefficient x value))), values in their own units, "
            "no centring; column[level] is 1 where the column has that level, else 0; log(column) is the natural "
            "logarithm, not below that of the number in curves; spline(column) is the value itself and spline(column)' "
            "the bend of the restricted cubic spline with the three knots t in curves, "
            "((v - t1)+^3 - (v - t2)+^3 (t3 - t1) / (t3 - t2) + (v - t3)+^3 (t2 - t1) / (t3 - t2)) / (t3 - t1)^2; "
            "with missing values, p is the mean over the imputed sets",
            "intercept": self.intercept,
            "coefficients": by_name["coefficients"],
            "unshrunk_intercept": self.unshrunk_intercept,
            "unshrunk_coefficients": by_name["unshrunk_coefficients"],
            "standard_errors": by_name["standard_errors"],
            "covariance": self.covariance.tolist(),
            "shrinkage": self.shrinkage,
            "path": list(self.path),
            "curves": {term: list(curve) for term, curve in self.curves.items()},
            "inclusion_frequency": {name: float(share) for name, share in self.inclusion_frequency.items()},
            "optimism": {name: None if np.isnan(value) else value for name, value in self.optimism.items()},
            "added_test": None if self.added_test is None else asdict(self.added_test),
            "settings": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.settings).items()},
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, model: dict[str, Any], imputation: dict[str, Any]) -> DevelopedModel:
        """Rebuild a model from what `to_json` and `imputer.to_json` wrote."""
        names = tuple(model["coefficients"])
        parts: dict[str, Any] = {key: model[key] for key in ("intercept", "unshrunk_intercept", "shrinkage")}
        for key in ("coefficients", "unshrunk_coefficients", "standard_errors"):
            if tuple(model[key]) != names:
                raise ValueError(f"{key} must name {list(names)}, got {list(model[key])}")
            parts[key] = np.array(list(model[key].values()))
        settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in model["settings"].items()}
        return cls(
            names=names,
            **parts,
            path=tuple(model["path"]),
            curves={term: tuple(curve) for term, curve in model.get("curves", {}).items()},
            notes=tuple(model["notes"]),
            covariance=np.array(model["covariance"]),
            optimism={name: np.nan if value is None else value for name, value in model["optimism"].items()},
            inclusion_frequency=pd.Series(model["inclusion_frequency"], name="inclusion_frequency", dtype=float),
            added_test=None if model["added_test"] is None else AddedTest(**model["added_test"]),
            imputer=Imputer.from_json(imputation),
            settings=DevelopmentSettings(**settings),
        )

    def _table(self, x: pd.DataFrame) -> pd.DataFrame:
        absent = [name for name in self.predictors if name not in x.columns]
        if absent:
            raise ValueError(f"Predictors {absent} are required, got columns {list(x.columns)}.")
        _refuse_missing_added(x, self.settings.added)
        others = [name for name in self.imputer.coding.levels if name not in x.columns]
        return x.assign(**dict.fromkeys(others, np.nan))


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

    @property
    def cross_fitted_p(self) -> float:
        """P for an added score that was cross-fitted on these same patients, from half the chi-squared statistic.

        Patient i's score has seen j's outcome and j's score i's, so that each pair counts twice: for a score of noise
        the variance of the score's sum is up to double (Cauchy and Schwarz), and `p` is below 5 % in 15 % of tables.
        """
        return float(chi2.sf(chi2.isf(self.p, self.df) / 2, self.df))


def cross_fit(x: pd.DataFrame, y: ArrayLike, fold: ArrayLike, settings: DevelopmentSettings) -> Array:
    """Probabilities of development patients from models that have not seen them.

    For each fold the whole of `develop` is repeated on the other folds, with a seed of its own; a candidate of which
    the others hold no value cannot be chosen there.

    Parameters
    ----------
    x, y, settings
        As for `develop`.
    fold : array, shape (n,)
        Label of each patient's fold.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    ValueError
        As `develop`; with fewer than two folds or a fold that is missing; where one class is absent without a fold.
    """
    return cross_fit_sets(x, y, fold, settings).mean(axis=0)


def cross_fit_sets(x: pd.DataFrame, y: ArrayLike, fold: ArrayLike, settings: DevelopmentSettings) -> Array:
    """As `cross_fit`, with the probabilities in each imputed set apart: shape (m, n), to be pooled by Rubin's rules."""
    number = checks.fold_numbers(fold, len(x))
    outcome = check_outcome(x, y)
    p = np.empty((settings.n_imputations, len(x)))
    for k in range(number.max() + 1):
        seed = int(np.random.SeedSequence([settings.seed, k]).generate_state(1)[0])
        rest, y_rest = x[number != k], outcome[number != k]
        lost = {name for name in settings.columns if rest[name].isna().all() and x[name].notna().any()}
        known = tuple(term for term in settings.candidates if split_term(term)[1] not in lost)
        if not (known or settings.added):
            p[:, number == k] = y_rest.mean()
            continue
        forced = tuple(name for name in settings.forced if name in known)
        model = develop(rest, y_rest, replace(settings, candidates=known, forced=forced, seed=seed))
        p[:, number == k] = expit(model.linear_predictors(x[number == k])).clip(*WITHIN)
    return p


@dataclass(frozen=True)
class Procedure:
    """The settings in terms of design rows (0 is the intercept), and the scale of the design.

    Attributes
    ----------
    basis : Basis
    plan : Plan
        Candidates, in the order of the settings, and forced rows.
    added : int array
        Rows that join after the selection.
    rule : Rule
    center, scale : ndarray, shape (q,)
        Taken out of each coded column: a fixed change of units, without influence on any result.
    """

    basis: Basis
    plan: Plan
    added: NDArray[np.intp]
    rule: Rule
    center: Array
    scale: Array

    @classmethod
    def of(
        cls, basis: Basis, settings: DevelopmentSettings, values: Array, *, left_out: Collection[str] = ()
    ) -> Procedure:
        """Procedure for complete coded values, shape (n, q); candidates that are left out only serve the imputation."""
        whole = Plan.of(basis, group_columns(settings.terms), settings.forced)
        n = len(settings.candidates)
        offered = tuple(i for i in whole.candidates if i < n and settings.candidates[i] not in left_out)
        plan = replace(whole, blocks=whole.blocks[:n], candidates=offered)
        added = np.concatenate([[], *whole.blocks[n:]]).astype(np.intp)
        columns = basis.expand(values)
        spread = columns.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        return cls(basis, plan, added, Rule(settings.criterion, settings.alpha), columns.mean(axis=0), scale)

    def design(self, values: Array) -> Array:
        """Standardized rows of complete coded values, the intercept first, shape (q + 1, n)."""
        columns = self.basis.expand(values)
        return np.vstack([np.ones(len(columns)), ((columns - self.center) / self.scale).T])

    def rows(self, path: list[int]) -> NDArray[np.intp]:
        """Design rows of a model but the intercept: forced, path, added."""
        return np.concatenate([self.plan.forced[1:], *(self.plan.blocks[block] for block in path), self.added])

    def select(self, designs: Array, y: Array, weights: Array) -> list[list[int]]:
        """Forward selection in each data set: positions of the candidates in their order of entry."""
        return select_paths(designs, y, weights, plan=self.plan, rule=self.rule)

    def members(self, designs: Array, weights: Array, paths: list[list[int]]) -> NDArray[np.bool_]:
        """Design rows of each path's model that vary and do not follow from those before, shape (b, q + 1)."""
        member = self.plan.members(paths, designs.shape[-2])
        member[:, self.added] = True
        return independent_rows(designs, weights, member)


def likelihood_ratio_of_added(
    procedure: Procedure, designs: Array, y: Array, member: NDArray[np.bool_]
) -> AddedTest | None:
    """Likelihood-ratio statistics of the added rows in each imputed set, pooled by the D2 rule.

    Parameters
    ----------
    procedure : Procedure
        Names the added rows.
    designs : ndarray, shape (m, q + 1, n)
    y : ndarray, shape (n,)
    member : ndarray of bool, shape (m, q + 1)
        Design rows of the whole model.

    Returns
    -------
    AddedTest or None
        None where nothing is added, or what is added does not vary.

    References
    ----------
    Li, Meng, Raghunathan, Rubin. Stat Sinica 1991;1:65-92.
    """
    df = int(member[0, procedure.added].sum())
    if df == 0:
        return None
    without = member.copy()
    without[:, procedure.added] = False
    ones = np.ones((len(designs), y.size))
    full, reduced = (batched_irls(designs, y, ones, member=rows).log_likelihood for rows in (member, without))
    statistics, m = 2 * np.maximum(full - reduced, 0.0), len(designs)
    increase = (1 + 1 / m) * np.var(np.sqrt(statistics), ddof=1) if m > 1 else 0.0
    if increase < 1e-12:
        return AddedTest(float(statistics.mean() / df), df, float(chi2.sf(statistics.mean(), df)))
    pooled = max(0.0, (statistics.mean() / df - (m + 1) / (m - 1) * increase) / (1 + increase))
    freedom = df ** (-3 / m) * (m - 1) * (1 + 1 / increase) ** 2
    return AddedTest(float(pooled), df, float(f.sf(pooled, df, freedom)))


@dataclass(frozen=True)
class Optimism:
    """What the resamples say.

    Attributes
    ----------
    slopes : ndarray, shape (b,)
        Calibration slope of each resample's model on the development data; NaN where it is an intercept only.
    auc_optimism, brier_optimism : ndarray, shape (b,)
        Figure on the resample minus figure on the development data.
    inclusion : ndarray, shape (candidates,)
        Share of the resamples that chose each candidate.
    separated : int
        Resamples whose model separates the outcome.
    probabilities : ndarray, shape (b, n), or None
        Of the development patients by each resample's model.
    """

    slopes: Array
    auc_optimism: Array
    brier_optimism: Array
    inclusion: Array
    separated: int = 0
    probabilities: Array | None = None

    @property
    def shrinkage(self) -> float:
        """Mean slope, kept in [0, 1]; 1 where no resample chose anything (there is nothing to shrink)."""
        slope = self.slope
        return 1.0 if np.isnan(slope) else float(np.clip(slope, 0.0, 1.0))

    @property
    def slope(self) -> float:
        """Mean slope over the resamples whose model is more than an intercept, each kept within 0 and 2.

        A resample that separates the outcome, or is fitted to noise, would otherwise outweigh all others.
        """
        known = self.slopes[~np.isnan(self.slopes)]
        return float(np.clip(known, *_SLOPES).mean()) if known.size else np.nan

    def corrected(self, y: Array, p: Array, *, empty: bool = False) -> dict[str, float | int]:
        """Apparent and optimism-corrected figures of probabilities p; an empty model has no optimism and no slope."""
        apparent, brier = _figures(y, p).tolist()
        return {
            "auc_apparent": apparent,
            "auc_corrected": apparent - (0.0 if empty else float(self.auc_optimism.mean())),
            "brier_apparent": brier,
            "brier_corrected": brier - (0.0 if empty else float(self.brier_optimism.mean())),
            "slope_corrected": np.nan if empty else self.slope,
            "n_resamples": int(self.slopes.size),
        }


def judge(
    procedure: Procedure,
    values: Array,
    completed: tuple[Array, Array],
    *,
    n_resamples: int,
    rng: np.random.Generator,
) -> Optimism:
    """Repeat imputation (one stochastic set), selection and fit in resamples, and judge each model as it would be used.

    Parameters
    ----------
    procedure : Procedure
    values : ndarray, shape (n, q)
        Coded columns, NaN where missing: each resample is imputed from its own rows.
    completed : array of designs, shape (m, q + 1, n), and y, shape (n,)
        The development data as imputed for new patients, without the outcome: probabilities are averaged over these
        sets. (On values drawn with the outcome, every figure would be flattered.)
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    Optimism

    Raises
    ------
    ValueError
        Where 200 draws still leave a resample with a column without values.

    References
    ----------
    Van Houwelingen, Le Cessie. Stat Med 1990;9:1303-1325. Harrell, Lee, Mark. Stat Med 1996;15:361-387.
    """
    applied, y = completed
    parts, chosen, separated, given = [], np.zeros(len(procedure.plan.blocks)), 0, []
    for first in range(0, n_resamples, _CHUNK):
        drawn = _usable_resamples(values, y, min(_CHUNK, n_resamples - first), rng, procedure.basis.coding.names)
        counts = resample_counts(drawn)
        coefficients, paths, apart = fit_parts(procedure, (values, y), drawn, counts, rng=rng)
        p = expit(coefficients @ applied).mean(axis=0)
        figures = [_figures(y[rows], one[rows]) - _figures(y, one) for rows, one in zip(drawn, p, strict=True)]
        parts.append(np.vstack([_slopes(p, y), np.array(figures).T]))
        given.append(p.astype(np.float32))
        chosen += np.bincount([block for path in paths for block in path], minlength=chosen.size)
        separated += int(apart.sum())
    slopes, auc_optimism, brier_optimism = np.concatenate(parts, axis=1)
    inclusion = chosen / n_resamples
    return Optimism(slopes, auc_optimism, brier_optimism, inclusion, separated, np.concatenate(given))


def fit_parts(
    procedure: Procedure, data: tuple[Array, Array], drawn: Rows, counts: Array, *, rng: np.random.Generator
) -> tuple[Array, list[list[int]], NDArray[np.bool_]]:
    """Impute (one stochastic set), select and fit in parts of the development data, each from its own rows.

    Parameters
    ----------
    procedure : Procedure
    data : coded values, shape (n, q), NaN where missing, and y, shape (n,)
    drawn : sequence of b int arrays
        Rows of each part; every column has a value in each.
    counts : ndarray, shape (b, n)
        How often each row is in each part.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (b, q + 1), lists of int, and bool array, shape (b,)
        Coefficients of the design's rows, paths, and where the classes are separated.
    """
    training, y = _resampled_designs(procedure, data, drawn, counts, rng), data[1]
    paths = procedure.select(training, y, counts)
    coefficients, apart = fit_robustly(training, y, counts, procedure.members(training, counts, paths))
    return coefficients, paths, apart


@dataclass(frozen=True)
class _Fitted:
    """The model of the development data: chosen candidates, coded columns, pooled estimate."""

    path: list[int]
    names: tuple[str, ...]
    pooled: Pooled
    separated: bool
    added_test: AddedTest | None
    redundant: tuple[str, ...]


def _fit_pooled(procedure: Procedure, designs: Array, y: Array) -> _Fitted:
    """Select and fit in each imputed set, pool by Rubin's rules in the columns' own units."""
    ones = np.ones((len(designs), y.size))
    path = _majority(procedure.select(designs, y, ones), len(procedure.plan.blocks))
    member = procedure.members(designs, ones, [path] * len(designs)).min(axis=0)
    members = np.tile(member, (len(designs), 1))
    coefficients, separated = fit_robustly(designs, y, ones, members)
    asked, coded = procedure.rows(path), np.array(["intercept", *procedure.basis.names], dtype=object)
    rows = asked[member[asked]]
    center, scale, used = procedure.center[rows - 1], procedure.scale[rows - 1], np.concatenate([[0], rows])
    fits = [
        unscale(estimate[used], information_inverse(design[used].T, estimate[used]), center, scale)
        for design, estimate in zip(designs, coefficients, strict=True)
    ]
    pooled = rubin_pool(*(np.stack(part) for part in zip(*fits, strict=True)))
    varying = designs.var(axis=2).min(axis=0) > NEGLIGIBLE
    redundant = asked[varying[asked] & ~member[asked]]
    added = likelihood_ratio_of_added(procedure, designs, y, members)
    return _Fitted(path, tuple(coded[rows]), pooled, bool(separated.any()), added, tuple(coded[redundant]))


def _majority(paths: list[list[int]], last: int) -> list[int]:
    """Blocks chosen in more than half of the sets, by mean rank of entry (not chosen ranks last), then position."""
    ranks = np.array([[path.index(block) if block in path else last for path in paths] for block in range(last)])
    kept = [block for block in range(last) if np.mean(ranks[block] < last) > 0.5]
    return sorted(kept, key=lambda block: (ranks[block].mean(), block))


def _notes(fitted: _Fitted, judged: Optimism, columns: pd.DataFrame, copies: tuple[str, ...]) -> tuple[str, ...]:
    constant = [str(name) for name, column in columns.items() if column.nunique() < 2]
    categories = {name.partition("[")[0] for name in fitted.names if "[" in name}
    unseen = [f"{name} {one}" for name in columns for one in _unseen(columns[name]) if name in categories]
    empty, size = int(np.isnan(judged.slopes).sum()), judged.slopes.size
    notes = {
        "No predictor was selected: the model is the intercept alone, which has no optimism.": not fitted.names,
        "The predictors separate the outcome: estimated with Firth's penalty.": fitted.separated,
        f"Constant in development, so never selected: {', '.join(constant)}.": bool(constant),
        f"Collinear with candidates before them, so never selected: {', '.join(copies)}.": copies,
        f"Without coefficient, since collinear with those before: {', '.join(fitted.redundant)}.": fitted.redundant,
        f"Without a patient in development, so counted as the first level: {', '.join(unseen)}.": unseen,
        f"{empty} of {size} resamples selected nothing and do not enter the shrinkage.": empty > 0,
        f"{judged.separated} of {size} resamples separate the outcome: estimated with Firth's penalty.": (
            judged.separated > 0
        ),
    }
    return tuple(note for note, holds in notes.items() if holds)


def _unseen(column: pd.Series) -> list[str]:
    """Levels that the type of a category declares and no patient has."""
    levels = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else ()
    return [str(level) for level in levels if not column.eq(level).any()]


# Resamples handled together.
_CHUNK = 50
# Draws of a resample before giving up: a column observed once is in 63 % of them.
_MAX_DRAWS = 200
# Calibration slopes are winsorized at these before they are averaged.
_SLOPES = (0.0, 2.0)


def _usable_resamples(
    values: Array, y: Array, n_resamples: int, rng: np.random.Generator, names: tuple[str, ...]
) -> NDArray[np.intp]:
    """Resamples with the observed number of events; one that leaves a column without any value is drawn again."""
    observed = ~np.isnan(values)
    drawn = bootstrap_indices(y, n_resamples, rng)
    for _ in range(_MAX_DRAWS):
        empty = [b for b, rows in enumerate(drawn) if not observed[rows].any(axis=0).all()]
        if not empty:
            return drawn
        drawn[empty] = bootstrap_indices(y, len(empty), rng)
    counts = observed.sum(axis=0)
    rarest = int(counts.argmin())
    raise InputError(
        f"Predictors must be observed often enough to resample, got {counts[rarest]} of {len(y)} values in "
        f"{names[rarest]}; leave it out of the candidates."
    )


def _resampled_designs(
    procedure: Procedure, data: tuple[Array, Array], drawn: Rows, counts: Array, rng: np.random.Generator
) -> Array:
    """Designs of the resamples, shape (b, q + 1, n): imputed from each resample's own rows, the outcome among them."""
    values, y = data
    if not np.isnan(values).any():
        design = procedure.design(values)
        return np.broadcast_to(design, (len(drawn), *design.shape))
    designs, coding = [], procedure.basis.coding
    for rows, weights in zip(drawn, counts, strict=True):
        knots = describe(values[rows], coding)
        filled, _, _ = draw_once(values, coding, knots, weights=weights, rng=rng, y=y)
        designs.append(procedure.design(filled))
    return np.stack(designs)


def _figures(y: Array, p: Array) -> Array:
    """AUC and Brier score."""
    return np.array([auc(y, p), np.mean((y - p) ** 2)])


def _slopes(p: Array, y: Array) -> Array:
    """Calibration slopes of probabilities, shape (b, n); NaN for an intercept alone."""
    outside = logit(np.clip(p, *WITHIN))
    spread = outside.std(axis=1, keepdims=True)
    flat = spread < 1e-9
    scaled = (outside - outside.mean(axis=1, keepdims=True)) / np.where(flat, 1.0, spread)
    pairs = np.stack([np.ones_like(scaled), scaled], axis=1)
    fitted = batched_irls(pairs, y, np.ones_like(scaled)).coefficients[:, 1]
    return np.where(flat[:, 0], np.nan, fitted / np.where(flat, 1.0, spread)[:, 0])


def _refuse_missing_added(x: pd.DataFrame, added: tuple[str, ...]) -> None:
    for name in added:
        if x[name].isna().any():
            raise ValueError(f"{name} must not be missing, got {int(x[name].isna().sum())} empty of {len(x)} rows.")
