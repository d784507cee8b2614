"""What would have come out otherwise: complete cases, a selection that is not repeated, a score that has leaked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from hepred_lib.stats import checks
from hepred_lib.stats.coding import check_outcome
from hepred_lib.stats.development import DevelopedModel, develop
from hepred_lib.stats.procedure import DevelopmentSettings


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
    x: pd.DataFrame, y: ArrayLike, settings: DevelopmentSettings, *, in_sample: ArrayLike
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

    Returns
    -------
    DataFrame
        Rows "out_of_fold" and "in_sample"; columns `odds_ratio, low, high` of one SD of the out-of-fold score (Wald,
        before shrinkage), `statistic, df, p` of the likelihood-ratio test over the clinical variables, and
        `auc_apparent`.

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
    step = float(x[name].std())
    return pd.DataFrame({kind: _score_row(develop(table, y, settings), step) for kind, table in rows.items()}).T


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
