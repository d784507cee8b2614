"""Ridge and lasso in place of selection and uniform shrinkage: a sensitivity analysis of the developed model.

The strength of the penalty is chosen by cross-validated log-likelihood inside the development data, in each imputed
set; predictors are standardized, the intercept is not penalized.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.coding import Array, check_outcome
from hepred_lib.stats.development import WITHIN
from hepred_lib.stats.diagnostics import collinear_predictors
from hepred_lib.stats.discrimination import auc, compare_auc
from hepred_lib.stats.imputation import Imputer, impute_development

SHARE_OF_L1 = {"ridge": 0.0, "lasso": 1.0}
STRENGTHS = np.logspace(-3, 1.5, 19)
_RARER = 10  # patients of the rarer class without which no strength is chosen


@dataclass(frozen=True)
class PenalizedModel:
    """A penalized logistic model, one fit for each imputed set.

    Attributes
    ----------
    names : tuple of str
        Coded columns.
    intercepts, coefficients : ndarray, shape (m,) and (m, q)
        Per unit of each column.
    strengths : ndarray, shape (m,)
        The inverse penalty that was chosen.
    imputer : Imputer
    """

    names: tuple[str, ...]
    intercepts: Array
    coefficients: Array
    strengths: Array
    imputer: Imputer

    @property
    def kept(self) -> tuple[str, ...]:
        """Coded columns whose coefficient is not 0 in more than half of the sets."""
        share = (self.coefficients != 0).mean(axis=0)
        return tuple(name for name, often in zip(self.names, share, strict=True) if often > 0.5)

    def predict(self, x: pd.DataFrame) -> Array:
        """Probability of each row, shape (n,): the mean over the imputed sets."""
        completed = np.stack([table.to_numpy() for table in self.imputer.impute(x)])
        linear = np.einsum("mnq,mq->mn", completed, self.coefficients) + self.intercepts[:, None]
        return expit(linear).mean(axis=0)


def fit_penalized(
    x: pd.DataFrame, y: ArrayLike, *, penalty: str = "lasso", n_imputations: int = 5, n_folds: int = 10, seed: int = 0
) -> PenalizedModel:
    """Penalized logistic regression on imputed development data.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        All candidates; NaN where missing. Columns without spread keep the coefficient 0.
    y : array_like of 0 and 1, shape (n,)
    penalty : {"lasso", "ridge"}
    n_imputations : int
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
    if penalty not in SHARE_OF_L1:
        raise ValueError(f"penalty must be one of {list(SHARE_OF_L1)}, got {penalty!r}.")
    outcome = check_outcome(x, y)
    rarer = int(min(outcome.sum(), outcome.size - outcome.sum()))
    if not checks.at_least(n_folds, "n_folds", 2) <= rarer:
        raise ValueError(f"n_folds must be at most the {rarer} patients of the rarer class, got {n_folds}.")
    rng = np.random.default_rng(seed)
    imputer, completed = impute_development(x, n_imputations=n_imputations, rng=rng, observed=False)
    folds = list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(outcome, outcome))
    fits = [_fit(values, outcome, SHARE_OF_L1[penalty], folds) for values in completed]
    intercepts, coefficients, strengths = (np.stack(part) for part in zip(*fits, strict=True))
    return PenalizedModel(imputer.coding.names, intercepts, coefficients, strengths, imputer)


def cross_fit_penalized(
    x: pd.DataFrame, y: ArrayLike, fold: ArrayLike, *, penalty: str = "lasso", n_imputations: int = 5, seed: int = 0
) -> Array:
    """Probabilities of development patients from penalized models that have not seen them.

    Parameters
    ----------
    x, y, penalty, n_imputations, seed
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
        rarer = int(min(outcome[rest].sum(), (1 - outcome[rest]).sum()))
        how = {"penalty": penalty, "n_imputations": n_imputations, "n_folds": max(2, min(10, rarer)), "seed": seed + k}
        known = x.loc[rest, x[rest].notna().any() | x.isna().all()]
        p[~rest] = outcome[rest].mean()
        if known.shape[1]:
            p[~rest] = fit_penalized(known, outcome[rest], **how).predict(x[~rest])
    return p


def compare_penalties(x: pd.DataFrame, y: ArrayLike, fold: ArrayLike, p: ArrayLike, *, seed: int = 0) -> pd.DataFrame:
    """Lasso and ridge, cross-fitted with one imputation, against a model's cross-fitted probabilities.

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
    for penalty in ("lasso", "ridge") if min(outcome.sum(), (1 - outcome).sum()) >= _RARER else ():
        other = cross_fit_penalized(x, y, fold, penalty=penalty, n_imputations=1, seed=seed).clip(*WITHIN)
        gain, slope = compare_auc(outcome, other, model), calibrate(outcome, other).slope
        rows.append((penalty, auc(outcome, other), slope, gain.difference, gain.low, gain.high, gain.p))
    return pd.DataFrame(rows, columns=["penalty", "auc", "slope", "difference", "low", "high", "p"])


def _fit(values: Array, y: Array, l1: float, folds: list) -> tuple[Array, Array, Array]:
    """Intercept, coefficients and strength on one completed set."""
    center, spread = values.mean(axis=0), values.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    model = LogisticRegressionCV(
        Cs=STRENGTHS,
        l1_ratios=(l1,),
        cv=folds,
        solver="saga" if l1 else "newton-cholesky",  # both leave the intercept unpenalized
        scoring="neg_log_loss",
        tol=1e-5,
        max_iter=20_000,
        random_state=0,
        use_legacy_attributes=False,
    ).fit((values - center) / scale, y)
    slopes = model.coef_[0] / scale
    return np.asarray(model.intercept_[0] - center @ slopes), slopes, np.asarray(float(model.C_))
