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
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit

from hepred_lib.stats import checks
from hepred_lib.stats.added_test import AddedTest, likelihood_ratio_of_added
from hepred_lib.stats.coding import Array, check_outcome, unscale
from hepred_lib.stats.diagnostics import collinear_predictors
from hepred_lib.stats.imputation import Imputer, impute_development
from hepred_lib.stats.irls import information_inverse, varying_rows
from hepred_lib.stats.optimism import Optimism, judge
from hepred_lib.stats.procedure import DevelopmentSettings, Procedure, fit_robustly
from hepred_lib.stats.resampling import Pooled, rubin_pool

# A patient far outside the others has a probability that rounds to 0 or 1, without a logit: moved in by a trace.
WITHIN = 1e-12, 1 - 1e-12


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

    def unknown_patient(self) -> pd.DataFrame:
        """One patient of whom nothing is known but the added scores, which are 0: every model must have an answer."""
        columns: dict[str, Any] = {
            name: [np.nan] if levels is None else pd.Categorical([None], categories=list(levels))
            for name, levels in self.imputer.coding.levels.items()
        }
        return pd.DataFrame(columns | {name: [0.0] for name in self.settings.added})

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
        imputer = Imputer.from_json(imputation)
        imputer.check()
        names = list(model["coefficients"])
        for key in ("unshrunk_coefficients", "standard_errors"):
            if list(model[key]) != names:
                raise ValueError(f"{key} must name {names}, got {list(model[key])}")
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
            imputer=imputer,
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
    # Imputed apart, a copy of a column seems to be another predictor where values are missing.
    copies = collinear_predictors(columns[[name for name in settings.candidates if name not in settings.forced]])
    procedure = Procedure.of(imputer.coding, settings, completed[0], left_out=copies)
    designs = np.stack([procedure.design(values) for values in completed])
    applied = np.stack([procedure.design(table.to_numpy()) for table in imputer.impute(columns)])
    fitted = _fit_pooled(procedure, designs, outcome)
    judged = judge(
        procedure,
        imputer.coding.matrix(columns).to_numpy(),
        (designs, applied, outcome),
        coding=imputer.coding,
        n_resamples=settings.n_resamples,
        rng=rng,
    )
    shrinkage = judged.shrinkage if fitted.names else 1.0
    draft = DevelopedModel(
        names=fitted.names,
        intercept=0.0,
        coefficients=fitted.pooled.estimate[1:] * shrinkage,
        unshrunk_intercept=float(fitted.pooled.estimate[0]),
        unshrunk_coefficients=fitted.pooled.estimate[1:],
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
    )
    intercept = _intercept(draft.linear_predictors(columns), outcome.mean())
    optimism = judged.corrected(outcome, draft.predict(columns, shrunk=False), empty=not fitted.names)
    return replace(draft, intercept=intercept, optimism=optimism)


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
        lost = {name for name in settings.candidates if rest[name].isna().all() and x[name].notna().any()}
        known = tuple(name for name in settings.candidates if name not in lost)
        if not (known or settings.added):
            p[:, number == k] = y_rest.mean()
            continue
        forced = tuple(name for name in settings.forced if name in known)
        model = develop(rest, y_rest, replace(settings, candidates=known, forced=forced, seed=seed))
        p[:, number == k] = expit(model.linear_predictors(x[number == k])).clip(*WITHIN)
    return p


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
    member = procedure.members(designs, ones, [path] * len(designs)).all(axis=0)
    varying = varying_rows(designs, ones).all(axis=0)
    members = np.tile(member, (len(designs), 1))
    coefficients, separated = fit_robustly(designs, y, ones, members)
    rows = np.array([row for row in procedure.rows(path) if member[row]], dtype=np.intp)
    center, scale, used = procedure.center[rows - 1], procedure.scale[rows - 1], np.concatenate([[0], rows])
    fits = [
        unscale(estimate[used], information_inverse(design[used].T, estimate[used]), center, scale)
        for design, estimate in zip(designs, coefficients, strict=True)
    ]
    pooled = rubin_pool(np.stack([fit[0] for fit in fits]), np.stack([fit[1] for fit in fits]))
    names = tuple(procedure.names[row] for row in rows)
    redundant = tuple(procedure.names[row] for row in procedure.rows(path) if varying[row] and not member[row])
    added = likelihood_ratio_of_added(procedure, designs, y, members)
    return _Fitted(path, names, pooled, bool(separated.any()), added, redundant)


def _majority(paths: list[list[int]], last: int) -> list[int]:
    """Blocks chosen in more than half of the sets, by mean rank of entry (not chosen ranks last), then position."""
    ranks = np.array([[path.index(block) if block in path else last for path in paths] for block in range(last)])
    kept = [block for block in range(last) if np.mean(ranks[block] < last) > 0.5]
    return sorted(kept, key=lambda block: (ranks[block].mean(), block))


def _intercept(linear_predictors: Array, prevalence: float) -> float:
    """The intercept that makes the mean probability equal to the prevalence."""
    reach = np.abs(linear_predictors).max() + 40
    return float(brentq(lambda a: expit(a + linear_predictors).mean() - prevalence, -reach, reach, xtol=1e-13))


def _notes(fitted: _Fitted, judged: Optimism, columns: pd.DataFrame, copies: tuple[str, ...]) -> tuple[str, ...]:
    constant = [str(name) for name, column in columns.items() if column.nunique() < 2]
    empty, size = int(np.isnan(judged.slopes).sum()), judged.slopes.size
    notes = {
        "No predictor was selected: the model is the intercept alone, which has no optimism.": not fitted.names,
        "The predictors separate the outcome: estimated with Firth's penalty.": fitted.separated,
        f"Constant in development, so never selected: {', '.join(constant)}.": bool(constant),
        f"Collinear with candidates before them, so never selected: {', '.join(copies)}.": copies,
        f"Without coefficient, since collinear with those before: {', '.join(fitted.redundant)}.": fitted.redundant,
        f"{empty} of {size} resamples selected nothing and do not enter the shrinkage.": empty > 0,
        f"{judged.separated} of {size} resamples separate the outcome: estimated with Firth's penalty.": (
            judged.separated > 0
        ),
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
