"""Sensitivity analyses: penalties, complete cases, a selection taken as given, a leaked score, missing outcomes.

The first repeat the development of a model with one thing changed. *Complete cases* are the patients without any
missing predictor. *Penalties* are ridge and lasso, their strength chosen by cross-validation within the data.

The last say what patients with an outcome would show if they stood for all: a patient who died or was operated on early
has no second scan, and sicker patients differ in what is predicted. *Weighting*: a ridge logistic regression on
baseline variables gives each patient's probability of having an outcome; patients with one count by its inverse. It
repairs what the baseline variables explain, and nothing else. It knows who has an outcome, never which one, and no test
patient is among those it is fitted on. *Bounds*: the figures if every patient without an outcome had expanded, and if
none had.

Sources: White IR, Carlin JB. Stat Med 2010;29:2920-2931. Steyerberg EW et al. J Clin Epidemiol 2001;54:774-781. Van
Calster B et al. Stat Methods Med Res 2020;29:3166-3178. Seaman SR, White IR. Stat Methods Med Res 2013;22:278-295. Cole
SR, Hernán MA. Am J Epidemiol 2008;168:656-664.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import bootstrap_indices, percentile_interval
from hepred_lib.stats.calibration import calibrate, in_the_large
from hepred_lib.stats.development import WITHIN, DevelopedModel, DevelopmentSettings, develop
from hepred_lib.stats.diagnostics import collinear_predictors
from hepred_lib.stats.discrimination import auc, auc_interval, compare_auc
from hepred_lib.stats.effects import model_effects, odds_ratios
from hepred_lib.stats.imputation import Imputer, impute_development
from hepred_lib.stats.logistic import Array, batched_irls, check_outcome

# Share of L1 in each penalty, and a solver that leaves the intercept unpenalized.
PENALTIES = {"ridge": (0.0, "newton-cholesky"), "lasso": (1.0, "saga")}
STRENGTHS = np.logspace(-3, 1.5, 19)
# Fewer patients of either outcome, and neither complete cases nor penalties are fitted.
MIN_PATIENTS = 10
# Fewer patients without an outcome, and no regression can say who they are.
MIN_LOST = 10
# Weights above this share of them are cut there: a single patient must not stand for a ward.
TRUNCATED_AT = 0.99


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


@dataclass(frozen=True)
class OutcomeWeights:
    """Weights of the patients with an outcome, mean 1, and how many were cut.

    Attributes
    ----------
    weights : ndarray, shape (n,)
    truncated : int
        Patients whose weight was brought down to the 99th percentile.
    largest : float
        The largest weight before that.
    """

    weights: NDArray[np.float64]
    truncated: int
    largest: float


def outcome_weights(
    known: pd.DataFrame, lost: pd.DataFrame, patients: pd.DataFrame, *, share: float = 1.0, seed: int = 0
) -> OutcomeWeights:
    """Inverse probabilities of having an outcome.

    Parameters
    ----------
    known, lost : DataFrame, shape (n, p), (k, p)
        Baseline variables of development patients with an outcome, and of patients without: numbers, 0/1, categories;
        NaN where missing. A column without any value in either is left out.
    patients : DataFrame, shape (m, p)
        Those to be weighted, all with an outcome.
    share : float
        What one patient without an outcome counts: the share of the patients with an outcome that `known` holds, where
        the patients without one were never divided into sets.
    seed : int
        Of the imputation.

    Returns
    -------
    OutcomeWeights

    Raises
    ------
    ValueError
        Fewer than ten patients without an outcome, no column, or a share outside (0, 1].

    References
    ----------
    Seaman SR, White IR. Stat Methods Med Res 2013;22:278-295.
    """
    if len(lost) < MIN_LOST:
        raise ValueError(f"lost must hold at least {MIN_LOST} patients without an outcome, got {len(lost)}.")
    if not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and be at most 1, got {share}.")
    both = pd.concat([known, lost], ignore_index=True)
    both = both.loc[:, both.nunique() > 1]
    if both.shape[1] == 0:
        raise ValueError("known and lost must have a column that varies, got none.")
    observed = np.r_[np.ones(len(known)), np.zeros(len(lost))]
    rng = np.random.default_rng(seed)
    imputer, (completed,) = impute_development(both, observed, n_imputations=1, rng=rng)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    counts = np.where(observed == 1, 1.0, share)
    model.fit(completed, observed, logisticregression__sample_weight=counts)
    (table,) = imputer.impute(patients[list(both.columns)])
    weights = 1 / model.predict_proba(table.to_numpy())[:, 1]
    limit = np.quantile(weights, TRUNCATED_AT)
    cut = np.minimum(weights, limit)
    return OutcomeWeights(cut / cut.mean(), int((weights > limit).sum()), float(weights.max() / weights.mean()))


def weighted_auc(y: ArrayLike, score: ArrayLike, weights: ArrayLike) -> float:
    """AUC in which each pair of patients counts by the product of their weights; ties count one half.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score : array_like, shape (n,)
    weights : array_like, shape (n,)
        Above 0.

    Raises
    ------
    ValueError
        As `auc`; for a weight that is not above 0.

    Examples
    --------
    >>> weighted_auc([0, 0, 1], [1.0, 3.0, 2.0], [3.0, 1.0, 1.0])
    0.75
    """
    outcome, values = checks.outcome_and_score(y, score)
    counted = checks.scores(weights, "weights")
    if counted.size != outcome.size or (counted <= 0).any():
        raise ValueError(f"weights must be {outcome.size} numbers above 0, got {counted.size}.")
    order = np.argsort(values, kind="stable")
    _, first = np.unique(values[order], return_index=True)
    events = np.add.reduceat(np.where(outcome == 1, counted, 0.0)[order], first)
    others = np.add.reduceat(np.where(outcome == 0, counted, 0.0)[order], first)
    below = np.cumsum(others) - others
    return float(events @ (below + others / 2) / (events.sum() * others.sum()))


def weighted_performance(
    y: ArrayLike, p: ArrayLike, weights: ArrayLike, *, n_resamples: int = 200, rng: np.random.Generator
) -> dict[str, float]:
    """AUC, calibration slope and in the large as they are and weighted, each with a bootstrap interval.

    Parameters
    ----------
    y, p : array_like, shape (n,)
        Outcome, and probabilities strictly between 0 and 1.
    weights : array_like, shape (n,)
    n_resamples : int
        Resamples of patients with their weights; those of one outcome alone are left out.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        `auc, slope, in_the_large` and the same with `weighted_`, each with `_low` and `_high`.
    """
    outcome, risk = checks.outcome_and_risk(y, p)
    counted = np.asarray(weights, dtype=float)
    found: dict[str, float] = {}
    drawn = [rows for rows in bootstrap_indices(outcome.size, n_resamples, rng) if 0 < outcome[rows].mean() < 1]
    for prefix, w in (("", np.ones_like(counted)), ("weighted_", counted)):
        whole = _figures(outcome, risk, w)
        spread = np.array([list(_figures(outcome[rows], risk[rows], w[rows]).values()) for rows in drawn])
        low, high = percentile_interval(spread)
        for k, (name, value) in enumerate(whole.items()):
            found |= {prefix + name: value, f"{prefix}{name}_low": low[k], f"{prefix}{name}_high": high[k]}
    return found


def outcome_bounds(y: ArrayLike, p: ArrayLike, p_lost: ArrayLike) -> Mapping[str, dict[str, float]]:
    """Frequency and AUC if none, and if all, of the patients without an outcome had expanded.

    Parameters
    ----------
    y, p : array_like, shape (n,)
    p_lost : array_like, shape (k,)
        Probabilities of the patients without an outcome.

    Returns
    -------
    dict
        By case ("as known", "none of them", "all of them"): `patients, frequency, auc`.
    """
    outcome, risk = checks.outcome_and_probability(y, p)
    lost = np.asarray(p_lost, dtype=float)
    cases = {"as known": (outcome, risk)}
    for words, value in (("none of them", 0), ("all of them", 1)):
        cases[words] = np.r_[outcome, np.full(lost.size, value)], np.r_[risk, lost]
    found = {}
    for words, (labels, q) in cases.items():
        area = weighted_auc(labels, q, np.ones(q.size))
        found[words] = {"patients": labels.size, "frequency": float(labels.mean()), "auc": area}
    return found


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


def _figures(y: NDArray, p: NDArray, weights: NDArray) -> dict[str, float]:
    """Weighted AUC, slope and in the large."""
    log_odds = logit(p)
    slope = batched_irls(np.stack([np.ones_like(log_odds), log_odds])[None], y, weights[None]).coefficients[0, 1]
    level = in_the_large(y, log_odds, weights)
    return {"auc": weighted_auc(y, p, weights), "slope": float(slope), "in_the_large": level}
