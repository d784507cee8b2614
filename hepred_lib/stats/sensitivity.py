"""What would have come out otherwise: complete cases, a selection that is not repeated, a score that has leaked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.coding import check_outcome
from hepred_lib.stats.development import DevelopedModel, develop
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.effects import UNITS, odds_ratios
from hepred_lib.stats.procedure import DevelopmentSettings

# Fewer patients of either outcome, and complete cases are not fitted.
MIN_PATIENTS = 10


@dataclass(frozen=True)
class CompleteCases:
    """A model developed on the patients without any missing candidate, and how many those are."""

    model: DevelopedModel
    n: int
    events: int
    n_dropped: int
    events_dropped: int


def develop_complete_cases(x: pd.DataFrame, y: ArrayLike, settings: DevelopmentSettings) -> CompleteCases:
    """Develop the model again on complete cases only, everything else unchanged.

    Unbiased only where values are missing regardless of the outcome given the predictors, and always wasteful.

    Parameters
    ----------
    x, y, settings
        As for `develop`.

    Returns
    -------
    CompleteCases

    Raises
    ------
    ValueError
        As `develop`; where no complete patient with each outcome is left.

    References
    ----------
    White IR, Carlin JB. Stat Med 2010;29:2920-2931.
    """
    outcome = check_outcome(x, y).astype(int)
    absent = [name for name in settings.columns if name not in x.columns]
    if absent:
        raise ValueError(f"x must have the columns of the settings; {absent} are absent from {list(x.columns)}.")
    complete = x[list(settings.columns)].notna().all(axis=1).to_numpy()
    events = int(outcome[complete].sum())
    n = int(complete.sum())
    if min(events, n - events) < 1:
        raise ValueError(f"Complete cases must hold both outcomes, got {events} events in {n} of {len(x)} patients.")
    model = develop(x[complete], outcome[complete], replace(settings, n_imputations=1))
    dropped = ~complete
    return CompleteCases(model, n, events, int(dropped.sum()), int(outcome[dropped].sum()))


def complete_case_odds_ratios(
    x: pd.DataFrame, y: ArrayLike, model: DevelopedModel, *, units: Mapping[str, float] = UNITS
) -> pd.DataFrame | None:
    """The developed model beside the same predictors fitted on the patients who have all of them.

    Parameters
    ----------
    x, y
        The development data of the model.
    model : DevelopedModel
    units : mapping of str to float
        Step of a column; 1 where it is not named.

    Returns
    -------
    DataFrame or None
        `name, step`; `imputed, imputed_low, imputed_high`, the pooled odds ratio with Wald limits; `complete...`, that
        of complete cases (NaN for a column that does not vary there); `n, events` of the complete cases. None without a
        predictor, or where complete cases hold fewer than ten patients of an outcome.

    References
    ----------
    White IR, Carlin JB. Stat Med 2010;29:2920-2931.
    """
    outcome, used = check_outcome(x, y).astype(int), list(model.predictors)
    complete = x[used].notna().all(axis=1).to_numpy()
    events, n = int(outcome[complete].sum()), int(complete.sum())
    if not model.names or min(events, n - events) < MIN_PATIENTS:
        return None
    chosen = (*model.settings.forced, *model.path)
    settings = replace(model.settings, candidates=chosen, forced=chosen, n_imputations=1, n_resamples=1)
    other = develop(x.loc[complete, used], outcome[complete], settings)
    tables = {
        "imputed": odds_ratios(model.names, model.unshrunk_coefficients, model.standard_errors, units=units),
        "complete": odds_ratios(other.names, other.unshrunk_coefficients, other.standard_errors, units=units),
    }
    found = tables["imputed"][["name", "step"]]
    for kind, table in tables.items():
        names = {"odds_ratio": kind, "low": f"{kind}_low", "high": f"{kind}_high"}
        found = found.merge(table.rename(columns=names)[["name", *names.values()]], on="name", how="left")
    return found.assign(n=n, events=events)


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


def leak_demonstration(
    x: pd.DataFrame,
    y: ArrayLike,
    settings: DevelopmentSettings,
    *,
    in_sample: ArrayLike,
    test: tuple[pd.DataFrame, ArrayLike] | None = None,
) -> pd.DataFrame:
    """What a regression makes of a score that was in-sample: an odds ratio that no new patient will honour.

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
    rows = {"out_of_fold": x, "in_sample": x.assign(**{name: leaked})}
    step, found = float(x[name].std()), {}
    for kind, table in rows.items():
        model = develop(table, y, settings)
        found[kind] = _score_row(model, step) | _test_row(model, test)
    return pd.DataFrame(found).T


def _test_row(model: DevelopedModel, test: tuple[pd.DataFrame, ArrayLike] | None) -> dict[str, float]:
    """AUC and slope of the unshrunk model in test patients."""
    figures = [f"test_{name}{end}" for name in ("auc", "slope") for end in ("", "_low", "_high")]
    outcome = np.array([]) if test is None else checks.outcome(test[1], both_classes=False)
    if np.unique(outcome).size < 2:
        return dict.fromkeys(figures, np.nan)
    p = np.clip(model.predict(test[0], shrunk=False), 1e-9, 1 - 1e-9)
    area, fit = auc_interval(outcome, p, method="logit"), calibrate(outcome, p)
    values = (area.auc, area.low, area.high, fit.slope, fit.slope_low, fit.slope_high)
    return dict(zip(figures, values, strict=True))


def _score_row(model: DevelopedModel, step: float) -> dict[str, float]:
    """Odds ratio and test of the added score; NaN where the score is constant."""
    figures = {"auc_apparent": model.optimism["auc_apparent"]}
    names = ("odds_ratio", "low", "high", "statistic", "df", "p")
    if model.added_test is None:
        return dict.fromkeys(names, np.nan) | figures
    middle, reach = model.unshrunk_coefficients[-1], norm.ppf(0.975) * model.standard_errors[-1]
    odds = np.exp(step * np.array([middle, middle - reach, middle + reach]))
    test = model.added_test
    return dict(zip(names, (*odds.tolist(), test.statistic, test.df, test.p), strict=True)) | figures
