"""Sensitivity analyses: penalties in place of selection, complete cases, a selection taken as given, a leaked score.

Each function repeats the development of a model with one thing changed. *Complete cases* are the patients without any
missing predictor. *Penalties* are ridge and lasso, their strength chosen by cross-validation within the data.

Sources: White IR, Carlin JB. Stat Med 2010;29:2920-2931. Steyerberg EW et al. J Clin Epidemiol 2001;54:774-781. Van
Calster B et al. Stat Methods Med Res 2020;29:3166-3178.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.development import WITHIN, DevelopedModel, DevelopmentSettings, develop
from hepred_lib.stats.diagnostics import collinear_predictors
from hepred_lib.stats.discrimination import auc, auc_interval, compare_auc
from hepred_lib.stats.effects import model_effects, odds_ratios
from hepred_lib.stats.imputation import Imputer, impute_development
from hepred_lib.stats.logistic import Array, check_outcome

# Share of L1 in each penalty, and a solver that leaves the intercept unpenalized.
PENALTIES = {"ridge": (0.0, "newton-cholesky"), "lasso": (1.0, "saga")}
STRENGTHS = np.logspace(-3, 1.5, 19)
# Fewer patients of either outcome, and neither complete cases nor penalties are fitted.
MIN_PATIENTS = 10


def naive_optimism(x: pd.DataFrame, y: ArrayLike, model: DevelopedModel) -> dict[str, float | int]:
    """Optimism as it looks when the selection is taken as given and only imputation and fit are repeated.

    Too small: beside `model.optimism` it shows what forgetting the selection hides.

    Parameters
    ----------
    x, y
        The development data of the model.
    model : DevelopedModel

    Returns
    -------
    dict
        The keys of `DevelopedModel.optimism`.

    Raises
    ------
    ValueError
        As `develop`; for a model without predictors.

    References
    ----------
    Steyerberg EW et al. J Clin Epidemiol 2001;54:774-781.
    """
    if not model.predictors:
        raise ValueError("model must hold at least one predictor, got an intercept alone.")
    chosen = (*model.settings.forced, *model.path)
    return develop(x, y, replace(model.settings, candidates=chosen, forced=chosen)).optimism


def curved_models(x: pd.DataFrame, y: ArrayLike, model: DevelopedModel, columns: Sequence[str]) -> pd.DataFrame:
    """What a spline in place of one straight line would change, all other terms of the model kept.

    Parameters
    ----------
    x, y
        The development data of the model.
    model : DevelopedModel
    columns : sequence of str
        Numbers among the model's own terms.

    Returns
    -------
    DataFrame
        `model` ("as selected", then the name of each spline), `auc, brier, slope` corrected for optimism with the terms
        taken as given, and `median_change, largest_change` of the development patients' probabilities. A number with
        too few different values for a spline has no row, and a model of no term no table.
    """
    chosen = (*model.settings.forced, *model.path)
    if not chosen:
        return pd.DataFrame(columns=["model", "auc", "brier", "slope", "median_change", "largest_change"])
    settings = replace(model.settings, candidates=chosen, forced=chosen)
    straight = develop(x, y, settings)
    models = {"as selected": straight}
    for name in columns:
        terms = tuple(f"spline({name})" if term == name else term for term in chosen)
        with contextlib.suppress(ValueError):
            models[f"spline({name})"] = develop(x, y, replace(settings, candidates=terms, forced=terms))
    p, rows = straight.predict(x), []
    for name, other in models.items():
        figures = {figure: other.optimism[f"{figure}_corrected"] for figure in ("auc", "brier", "slope")}
        change = np.abs(other.predict(x) - p)
        rows.append({"model": name} | figures | {"median_change": np.median(change), "largest_change": change.max()})
    return pd.DataFrame(rows)


def complete_case_odds_ratios(x: pd.DataFrame, y: ArrayLike, model: DevelopedModel) -> pd.DataFrame:
    """The developed model beside the same predictors fitted on the patients who have all of them.

    Parameters
    ----------
    x, y
        The development data of the model.
    model : DevelopedModel

    Returns
    -------
    DataFrame
        `name, step`; `imputed, imputed_low, imputed_high`, the pooled odds ratio with Wald limits; `complete...`, that
        of complete cases (NaN for a column that does not vary there); `n, events` of the complete cases. No row without
        a predictor, or where complete cases hold fewer than ten patients of an outcome.

    References
    ----------
    White IR, Carlin JB. Stat Med 2010;29:2920-2931.
    """
    outcome, used = check_outcome(x, y).astype(int), list(model.predictors)
    complete = x[used].notna().all(axis=1).to_numpy()
    events, n = int(outcome[complete].sum()), int(complete.sum())
    if not model.names or min(events, n - events) < MIN_PATIENTS:
        figures = [f"{kind}{end}" for kind in ("imputed", "complete") for end in ("", "_low", "_high")]
        return pd.DataFrame(columns=["name", "step", *figures, "n", "events"])
    chosen = (*model.settings.forced, *model.path)
    settings = replace(model.settings, candidates=chosen, forced=chosen, n_imputations=1, n_resamples=1)
    other = develop(x.loc[complete, used], outcome[complete], settings)
    tables = {"imputed": model_effects(model).odds_ratios(), "complete": model_effects(other).odds_ratios()}
    found = tables["imputed"][["name", "step"]]
    for kind, table in tables.items():
        names = {"odds_ratio": kind, "low": f"{kind}_low", "high": f"{kind}_high"}
        found = found.merge(table.rename(columns=names)[["name", *names.values()]], on="name", how="left")
    return found.assign(n=n, events=events)


def leak_demonstration(
    x: pd.DataFrame,
    y: ArrayLike,
    settings: DevelopmentSettings,
    *,
    in_sample: ArrayLike,
    test: tuple[pd.DataFrame, ArrayLike] | None = None,
) -> pd.DataFrame:
    """Effect of entering a score with its in-sample values: its odds ratio does not hold in new patients.

    Parameters
    ----------
    x : DataFrame
        Development patients; the added column holds the out-of-fold score.
    y : array_like of 0 and 1, shape (n,)
    settings : DevelopmentSettings
        With the score as its only added column.
    in_sample : array_like, shape (n,)
        The same score from networks that have seen the patient's outcome.
    test : (DataFrame, array_like of 0 and 1), optional
        Patients whom no network has seen, and their outcome, to show what either model is worth there; nothing is
        chosen by them.

    Returns
    -------
    DataFrame
        Rows "out_of_fold" and "in_sample"; columns `odds_ratio, low, high` of one SD of the out-of-fold score (Wald,
        before shrinkage), `statistic, df, p` of the likelihood-ratio test over the clinical variables,
        `auc_apparent`, and `test_auc`, `test_slope` of the unshrunk model with `_low` and `_high` (NaN without test
        patients of both outcomes).

    Raises
    ------
    ValueError
        As `develop`; if the settings do not add exactly one column, or the in-sample score is not finite.
    """
    if len(settings.added) != 1:
        raise ValueError(f"settings must add exactly one score, got {settings.added}.")
    (name,) = settings.added
    checks.same_patients(x.index, in_sample, "x and in_sample")
    leaked = checks.scores(np.asarray(in_sample), "in_sample")
    step, found = float(x[name].std()), {}
    for kind, table in {"out_of_fold": x, "in_sample": x.assign(**{name: leaked})}.items():
        model = develop(table, y, settings)
        found[kind] = _score_row(model, step) | _test_row(model, test)
    return pd.DataFrame(found).T


def compare_penalties(x: pd.DataFrame, y: ArrayLike, fold: ArrayLike, p: ArrayLike, *, seed: int = 0) -> pd.DataFrame:
    """Lasso and ridge, cross-fitted, against a model's cross-fitted probabilities.

    Parameters
    ----------
    x, y, fold, seed
        As for `cross_fit_penalized`.
    p : array_like, shape (n,)
        Cross-fitted probabilities of the model over the same folds.

    Returns
    -------
    DataFrame
        `penalty, auc, slope`, then `difference, low, high, p`: the AUC minus that of the model (paired DeLong, which
        takes the probabilities as given). No row where the rarer class has fewer than ten patients. Columns that follow
        from others are left out.

    Raises
    ------
    ValueError
        As `cross_fit_penalized`; for probabilities outside [0, 1].
    """
    outcome, model = checks.outcome_and_probability(y, p)
    x = x.drop(columns=list(collinear_predictors(x)))
    rows = []
    for penalty in ("lasso", "ridge") if _rarer(outcome) >= MIN_PATIENTS else ():
        other = cross_fit_penalized(x, y, fold, penalty=penalty, seed=seed).clip(*WITHIN)
        gain, slope = compare_auc(outcome, other, model), calibrate(outcome, other).slope
        rows.append((penalty, auc(outcome, other), slope, gain.difference, gain.low, gain.high, gain.p))
    return pd.DataFrame(rows, columns=["penalty", "auc", "slope", "difference", "low", "high", "p"])


@dataclass(frozen=True)
class PenalizedModel:
    """A penalized logistic model of one imputed set.

    Attributes
    ----------
    imputer : Imputer
    fit : scikit-learn pipeline
        Standardization, then :class:`sklearn.linear_model.LogisticRegressionCV`, of the coded columns.
    """

    imputer: Imputer
    fit: Pipeline

    def predict(self, x: pd.DataFrame) -> Array:
        """Probability of each row, shape (n,)."""
        (coded,) = self.imputer.impute(x)
        return self.fit.predict_proba(coded.to_numpy())[:, 1]


def fit_penalized(
    x: pd.DataFrame, y: ArrayLike, *, penalty: str = "lasso", n_folds: int = 10, seed: int = 0
) -> PenalizedModel:
    """Penalized logistic regression on imputed development data.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        All candidates; NaN where missing. Columns without spread keep the coefficient 0.
    y : array_like of 0 and 1, shape (n,)
    penalty : {"lasso", "ridge"}
    n_folds : int
        Folds of the inner cross-validation, stratified by outcome; each class needs as many patients.
    seed : int
        Of imputation and folds.

    Returns
    -------
    PenalizedModel

    Raises
    ------
    ValueError
        For an unknown penalty, a predictor without values, one class, or a class smaller than the number of folds.

    References
    ----------
    Tibshirani R. J R Stat Soc B 1996;58:267-288. Le Cessie S, Van Houwelingen JC. Appl Stat 1992;41:191-201. Their
    limits in small samples: Van Calster B et al. Stat Methods Med Res 2020;29:3166-3178.
    """
    if penalty not in PENALTIES:
        raise ValueError(f"penalty must be one of {list(PENALTIES)}, got {penalty!r}.")
    outcome = check_outcome(x, y)
    if checks.at_least(n_folds, "n_folds", 2) > (rarer := _rarer(outcome)):
        raise ValueError(f"n_folds must be at most the {rarer} patients of the rarer class, got {n_folds}.")
    rng = np.random.default_rng(seed)
    imputer, (completed,) = impute_development(x, outcome, n_imputations=1, rng=rng)
    folds = list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(outcome, outcome))
    share, solver = PENALTIES[penalty]
    how = {"tol": 1e-4, "max_iter": 20_000, "random_state": 0, "use_legacy_attributes": False}
    cross = LogisticRegressionCV(
        Cs=STRENGTHS, l1_ratios=(share,), cv=folds, solver=solver, scoring="neg_log_loss", **how
    )
    return PenalizedModel(imputer, make_pipeline(StandardScaler(), cross).fit(completed, outcome))


def cross_fit_penalized(
    x: pd.DataFrame, y: ArrayLike, fold: ArrayLike, *, penalty: str = "lasso", seed: int = 0
) -> Array:
    """Probabilities of development patients from penalized models that have not seen them.

    Parameters
    ----------
    x, y, penalty, seed
        As for `fit_penalized`, all of which is repeated without each fold, on the columns that have values there; the
        inner cross-validation has ten folds, or as many as the rarer class has patients.
    fold : array_like, shape (n,)

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    ValueError
        As `fit_penalized`; with fewer than two folds.
    """
    number = checks.fold_numbers(fold, len(x))
    outcome, p = check_outcome(x, y), np.empty(len(x))
    for k in range(number.max() + 1):
        rest = number != k
        known, n_folds = x.loc[rest, x[rest].notna().any() | x.isna().all()], max(2, min(10, _rarer(outcome[rest])))
        p[~rest] = outcome[rest].mean()
        if known.shape[1]:
            model = fit_penalized(known, outcome[rest], penalty=penalty, n_folds=n_folds, seed=seed + k)
            p[~rest] = model.predict(x[~rest])
    return p


def _rarer(outcome: Array) -> int:
    """Patients of the rarer class."""
    return int(min(outcome.sum(), (1 - outcome).sum()))


def _test_row(model: DevelopedModel, test: tuple[pd.DataFrame, ArrayLike] | None) -> dict[str, float]:
    """AUC and slope of the unshrunk model in test patients."""
    figures = [f"test_{name}{end}" for name in ("auc", "slope") for end in ("", "_low", "_high")]
    if test is None or np.unique(outcome := checks.outcome(test[1], both_classes=False)).size < 2:
        return dict.fromkeys(figures, np.nan)
    p = np.clip(model.predict(test[0], shrunk=False), 1e-9, 1 - 1e-9)
    area, fit = auc_interval(outcome, p, method="logit"), calibrate(outcome, p)
    values = (area.auc, area.low, area.high, fit.slope, fit.slope_low, fit.slope_high)
    return dict(zip(figures, values, strict=True))


def _score_row(model: DevelopedModel, step: float) -> dict[str, float]:
    """Odds ratio and test of the added score; NaN where the score is constant."""
    names = ("odds_ratio", "low", "high", "statistic", "df", "p")
    row = dict.fromkeys(names, np.nan) | {"auc_apparent": model.optimism["auc_apparent"]}
    if model.added_test is None:
        return row
    last = (model.names[-1:], model.unshrunk_coefficients[-1:], model.standard_errors[-1:])
    odds = odds_ratios(*last, units={model.names[-1]: step}).iloc[0]
    return row | odds[["odds_ratio", "low", "high"]].to_dict() | asdict(model.added_test)
