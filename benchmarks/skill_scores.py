"""Scores of the image and models of the bedside, and what each finds of what can be known.

Skill is (AUC - 0.5) / (oracle's AUC - 0.5) on the same test patients. Everything is developed on development patients;
a development patient's score is out-of-fold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logit
from scipy.stats import norm

from hepred_lib.cohort.predictors import CLINICAL_CANDIDATES, predictor_frame
from hepred_lib.stats.development import DevelopmentSettings, cross_fit, develop
from hepred_lib.stats.discrimination import auc, delong_variance, placements
from hepred_lib.stats.sensitivity import cross_fit_penalized, fit_penalized

INNER_FOLDS = 10


@dataclass(frozen=True)
class Skill:
    """Skill with the 95 % interval of DeLong's covariance; the oracle is measured on the same patients."""

    skill: float
    low: float
    high: float


def skill(y: ArrayLike, score: ArrayLike, oracle: ArrayLike) -> Skill:
    """How much of the oracle's discrimination a score has: 0 for a coin, 1 for the oracle.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score, oracle : array_like, shape (n,)
        Of the same patients, higher for those expected to have the outcome.

    Notes
    -----
    The delta method for a ratio r of two correlated AUCs less one half: the variance of a - r b over b squared, both
    from the same placements.
    """
    y = np.asarray(y).astype(bool)
    own, best = (placements(s[y], s[~y]) for s in (np.asarray(score, float), np.asarray(oracle, float)))
    found, possible = own[0].mean() - 0.5, best[0].mean() - 0.5
    ratio = float(found / possible)
    variance = delong_variance(own[0] - ratio * best[0], own[1] - ratio * best[1])
    reach = norm.ppf(0.975) * float(np.sqrt(variance)) / abs(possible)
    return Skill(ratio, ratio - reach, ratio + reach)


def expected_auc(score: ArrayLike, p: ArrayLike) -> float:
    """AUC of a score over all outcomes that patients with these probabilities could have had, ties counting one half.

    In a simulation P(HE | all that acts on it) is known. Given it, outcome and score are independent, so that weighing
    each pair of patients by the probability that the first has HE and the second has not leaves the luck of one draw of
    outcomes out of the comparison.

    Parameters
    ----------
    score : array_like, shape (n,)
    p : array_like, shape (n,)
        Probability of the outcome given everything: the integrated oracle's.
    """
    s, p = np.asarray(score, dtype=float), np.asarray(p, dtype=float)
    weight = p[:, None] * (1 - p)[None, :]
    np.fill_diagonal(weight, 0.0)
    won = (s[:, None] > s[None, :]) + 0.5 * (s[:, None] == s[None, :])
    return float((weight * won).sum() / weight.sum())


def radiomics_score(markers: pd.DataFrame, cohort: pd.DataFrame, *, seed: int) -> pd.Series:
    """Logit of ridge logistic regression on the measured markers, by patient; out-of-fold in development patients.

    Parameters
    ----------
    markers : DataFrame
        ``patient_id`` and the fields of ``Markers``; a patient of whom nothing was outlined has none, and gets the
        mean of the others by imputation.
    cohort : DataFrame
        Patients with an outcome: ``patient_id, split, fold, he``.
    """
    features = marker_features(markers).reindex(cohort["patient_id"]).reset_index(drop=True)
    own = cohort["split"].eq("development").to_numpy()
    x, y = features[own], cohort.loc[own, "he"].astype(int).to_numpy()
    inner = min(INNER_FOLDS, y.sum(), (1 - y).sum())
    model = fit_penalized(x, y, penalty="ridge", n_imputations=1, n_folds=int(inner), seed=seed)
    p = np.empty(len(cohort))
    p[~own] = model.predict(features[~own])
    p[own] = cross_fit_penalized(x, y, cohort.loc[own, "fold"], penalty="ridge", n_imputations=1, seed=seed)
    return pd.Series(logit(p), index=cohort["patient_id"])


def marker_features(markers: pd.DataFrame) -> pd.DataFrame:
    """Predictors by patient: the volume as its logarithm, all else as measured."""
    table = markers.set_index("patient_id").astype(float)
    return table.assign(volume_ml=np.log(table["volume_ml"])).rename(columns={"volume_ml": "log_volume"})


@dataclass(frozen=True)
class Bedside:
    """How the models with clinical variables are developed, as in notebooks 05 and 06."""

    n_imputations: int = 5
    n_resamples: int = 50
    seed: int = 7


def model_probabilities(cohort: pd.DataFrame, score: pd.Series | None, bedside: Bedside) -> pd.Series:
    """Probability by patient from clinical variables and, where given, a score; cross-fitted in development patients.

    The clinical variables are chosen without the score, which then joins; coefficients are shrunk by the bootstrap.
    """
    x = predictor_frame(cohort, CLINICAL_CANDIDATES)
    candidates, added = tuple(x.columns), ()
    if score is not None:
        x, added = x.assign(score=score.reindex(cohort["patient_id"]).to_numpy()), ("score",)
    settings = DevelopmentSettings(
        candidates,
        added,
        n_imputations=bedside.n_imputations,
        n_resamples=bedside.n_resamples,
        seed=bedside.seed,
    )
    own = cohort["split"].eq("development").to_numpy()
    y = cohort.loc[own, "he"].astype(int)
    p = np.empty(len(cohort))
    p[~own] = develop(x[own], y, settings).predict(x[~own])
    p[own] = cross_fit(x[own], y, cohort.loc[own, "fold"], settings)
    return pd.Series(p, index=cohort["patient_id"])


def development_auc(cohort: pd.DataFrame, score: pd.Series) -> float:
    """AUC of the out-of-fold scores of development patients who have one."""
    own = cohort["split"].eq("development").to_numpy()
    values = score.reindex(cohort["patient_id"]).to_numpy(dtype=float)
    usable = own & np.isfinite(values)
    return auc(cohort.loc[usable, "he"].astype(int), values[usable])
