"""Effects of the predictors of a logistic model: odds ratios per sensible step, with two kinds of intervals.

Wald intervals are symmetric on the log scale and fail with few events. Profile-likelihood intervals follow the
likelihood itself; where the classes separate both rest on Firth's penalized likelihood. Over imputed sets Wald limits
come from Rubin's rules and profile limits from the average of the sets' distributions.

Sources: Venzon DJ, Moolgavkar SH. Appl Stat 1988;37:87-94. Heinze G, Ploner M, Beyea J. Stat Med 2013;32:5062-5076.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from hepred_lib.stats import checks
from hepred_lib.stats.curves import LOG, SPLINE, bend, split_term
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.imputation import impute_development
from hepred_lib.stats.logistic import (
    Array,
    Coding,
    batched_irls,
    check_outcome,
    fit_logistic,
    profile_limits,
    separating_columns,
)

# A change that a clinician would call a step; everything else counts per 1.
UNITS = {
    "age": 10.0,
    "sbp_mmhg": 10.0,
    "dbp_mmhg": 10.0,
    "nihss": 5.0,
    "inr": 0.5,
    "platelets_10e9_l": 50.0,
    "creatinine_umol_l": 20.0,
    "baseline_volume_ml": 10.0,
}


def step_of(name: str, units: Mapping[str, float] = UNITS) -> float:
    """The step that an odds ratio is given for: of a logarithm a doubling, else as in `units`, else 1."""
    return units.get(name, float(np.log(2)) if split_term(name)[0] == LOG else 1.0)


class Effects(NamedTuple):
    """What the coefficients of a model say, one effect each but for a spline, which has one as a whole.

    Attributes
    ----------
    names : tuple of str
        Coded columns; a spline by its term.
    estimates, standard_errors : ndarray, shape (e,)
        Log odds ratios before shrinkage; of a spline that between its outer knots.
    contrast : ndarray, shape (q, q)
        Coefficients are `contrast @ (effects and what is left of the splines)`: a design times this matrix has the
        effects as its coefficients.
    rows : int array, shape (e,)
        Where the effects are among these.
    """

    names: tuple[str, ...]
    estimates: Array
    standard_errors: Array
    contrast: Array
    rows: NDArray[np.intp]

    def odds_ratios(self) -> pd.DataFrame:
        """One row per effect, as :func:`odds_ratios` gives them."""
        return odds_ratios(self.names, self.estimates, self.standard_errors)


def model_effects(model: DevelopedModel) -> Effects:
    """The effects of a developed model, each with its Wald standard error from the pooled covariance."""
    contrast, rows = np.eye(len(model.names)), []
    for row, name in enumerate(model.names):
        if split_term(name)[0] == SPLINE and f"{name}'" in model.names:
            low, _, high = model.curves[name]
            line, bent = np.diff(bend(name, model.curves[name], [low, high]), axis=0)[0]
            contrast[row, row], contrast[row, model.names.index(f"{name}'")] = 1 / line, -bent / line
        if not name.endswith("'") or name[:-1] not in model.curves:
            rows.append(row)
    kept, names = np.array(rows, dtype=np.intp), tuple(model.names[row] for row in rows)
    back = np.linalg.inv(contrast)
    error = np.sqrt(np.diag(back @ model.covariance[1:, 1:] @ back.T))
    return Effects(names, (back @ model.unshrunk_coefficients)[kept], error[kept], contrast, kept)


def odds_ratios(
    names: Sequence[str],
    coefficients: ArrayLike,
    standard_errors: ArrayLike,
    *,
    units: Mapping[str, float] = UNITS,
) -> pd.DataFrame:
    """Odds ratio of each predictor for a step of its unit, with its 95 % Wald interval and p.

    Parameters
    ----------
    names : sequence of str, length q
        Coded columns, without the intercept.
    coefficients, standard_errors : array_like, shape (q,)
        Log odds ratios per 1, fitted or pooled over imputed sets.
    units : mapping of str to float
        Step of a column, > 0; where it is not named a doubling of a logarithm, else 1.

    Returns
    -------
    DataFrame
        `name, step, odds_ratio, low, high, p`, one row per column.

    Raises
    ------
    ValueError
        If lengths differ, a figure is not finite, a standard error is not above 0 or a step is not above 0.

    Examples
    --------
    Ten years at a log odds ratio of 0.0693 a year double the odds.

    >>> float(odds_ratios(["age"], [0.0693], [0.01])["odds_ratio"].round(2)[0])
    2.0
    """
    reach = checks.normal_quantile(0.95)
    step = np.array([step_of(name, units) for name in names], dtype=float)
    if wrong := [name for name, size in zip(names, step, strict=True) if not 0 < size < np.inf]:
        raise ValueError(f"units must be above 0, got {units[wrong[0]]} for {wrong[0]}.")
    if not len(names):
        return pd.DataFrame(columns=["name", "step", "odds_ratio", "low", "high", "p"])
    middle, error = checks.scores(coefficients, "coefficients"), checks.scores(standard_errors, "standard_errors")
    if not len(names) == middle.size == error.size or (error <= 0).any():
        raise ValueError(
            f"coefficients and standard_errors must give one number, errors above 0, for each of {list(names)}, "
            f"got {middle.tolist()} and {error.tolist()}."
        )
    with np.errstate(over="ignore"):  # beyond 1e308 an odds ratio is infinite
        found = {"odds_ratio": np.exp(step * middle)}
        found |= {name: np.exp(step * (middle + sign * reach * error)) for name, sign in (("low", -1), ("high", 1))}
    p = 2 * norm.sf(np.abs(middle) / error)
    return pd.DataFrame({"name": list(names), "step": step, **found, "p": p})


def univariable_odds_ratios(x: pd.DataFrame, y: ArrayLike) -> pd.DataFrame:
    """Odds ratio of each predictor alone, in the patients who have a value of it.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Numbers, 0/1 and categories; NaN where missing.
    y : array_like of 0 and 1, shape (n,)

    Returns
    -------
    DataFrame
        `name` (a coded column), `predictor`, `n`, `events`, `step, odds_ratio, low, high, p` (Wald; Firth's penalty
        where the predictor separates the outcome). NaN where a predictor is constant or one outcome is left.

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, the lengths differ, or a column holds text or an infinite number.
    """
    outcome, parts = check_outcome(x, y), []
    Coding.of(x).matrix(x)  # refuses text and infinite numbers, by name
    for name in x.columns:
        known = x[name].notna().to_numpy()
        alone, labels = x.loc[known, [name]], outcome[known]
        size = {"predictor": name, "n": int(known.sum()), "events": int(labels.sum())}
        if alone[name].nunique() > 1 and 0 < labels.sum() < labels.size:
            fit = fit_logistic(alone, labels, separation="firth")
            found = odds_ratios(fit.names[1:], fit.coefficients[1:], fit.standard_errors[1:])
        else:
            names = Coding.of(x[[name]]).names or (name,)
            found = pd.DataFrame({"name": names, "step": [step_of(one) for one in names]})
        parts.append(found.assign(**size))
    columns = ["name", "predictor", "n", "events", "step", "odds_ratio", "low", "high", "p"]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns) if parts else pd.DataFrame(columns=columns)


def multivariable_odds_ratios(model: DevelopedModel, x: pd.DataFrame, y: ArrayLike) -> pd.DataFrame:
    """Odds ratios of the unshrunk model with Rubin's Wald limits and pooled profile-likelihood limits side by side.

    Parameters
    ----------
    model : DevelopedModel
    x, y
        Its development data: the imputed sets are drawn again from its seed.

    Returns
    -------
    DataFrame
        The columns of :func:`hepred_lib.stats.effects.odds_ratios`, then `profile_low, profile_high` (0 and infinity
        where the likelihood never falls that far, NaN where the search for a limit fails), and `method`: "maximum
        likelihood" or "firth", where the predictors separate the outcome in a set. Both kinds of limits take the
        selection as given. A spline has one row, for its upper outer knot against the lower one.

    Raises
    ------
    ValueError
        As `develop`.

    References
    ----------
    Heinze G, Ploner M, Beyea J. Stat Med 2013;32:5062-5076. Rubin. Multiple imputation for nonresponse in surveys.
    Wiley 1987.
    """
    effects = model_effects(model)
    table, outcome = effects.odds_ratios(), check_outcome(x, y)
    if not model.names:
        return table.assign(profile_low=np.nan, profile_high=np.nan, method="")
    designs, scale = _designs(model, x, outcome, effects.contrast)
    separated = any(separating_columns(design[:, 1:], outcome, model.names) for design in designs)
    coefficients = np.linalg.solve(effects.contrast, model.unshrunk_coefficients)
    start = np.concatenate([[0.0], coefficients * scale])  # the intercept is found from there
    limits = [profile_limits(designs, outcome, start, row + 1, penalized=separated) for row in effects.rows]
    low, high = np.array(limits).T / scale[effects.rows] * table["step"].to_numpy(dtype=float)
    method = "firth" if separated else "maximum likelihood"
    with np.errstate(over="ignore"):
        return table.assign(profile_low=np.exp(low), profile_high=np.exp(high), method=method)


def weighted_odds_ratios(model: DevelopedModel, x: pd.DataFrame, y: ArrayLike, weights: ArrayLike) -> pd.DataFrame:
    """Odds ratios of the unshrunk model beside those of the same predictors with weighted patients.

    Parameters
    ----------
    model : DevelopedModel
    x, y
        Its development data.
    weights : array_like, shape (n,)
        Such as inverse probabilities of having an outcome, mean 1.

    Returns
    -------
    DataFrame
        `name, step, odds_ratio, weighted`, the second pooled over the imputed sets; no row without a predictor.
    """
    outcome, effects = check_outcome(x, y), model_effects(model)
    table = effects.odds_ratios()[["name", "step", "odds_ratio"]]
    if not model.names:
        return table.assign(weighted=[])
    designs, scale = _designs(model, x, outcome, effects.contrast)
    rows = np.stack([design.T for design in designs])
    counts = np.tile(np.asarray(weights, dtype=float), (len(rows), 1))
    found = (batched_irls(rows, outcome, counts).coefficients[:, 1:].mean(axis=0) / scale)[effects.rows]
    return table.assign(weighted=np.exp(table["step"].to_numpy(dtype=float) * found))


def _designs(model: DevelopedModel, x: pd.DataFrame, y: Array, contrast: Array) -> tuple[list[Array], Array]:
    """The imputed sets of the model times a contrast, standardized, and the scale of the columns."""
    settings = model.settings
    rng = np.random.default_rng(settings.seed)
    columns = x[list(settings.columns)]
    imputer, completed = impute_development(columns, y, n_imputations=settings.n_imputations, rng=rng)
    basis = replace(model.basis, coding=imputer.coding)
    used = [basis.names.index(name) for name in model.names]
    values = np.stack([basis.expand(one)[:, used] @ contrast for one in completed])
    center, scale = values[0].mean(axis=0), values[0].std(axis=0)
    ones = np.ones((values.shape[1], 1))
    return [np.hstack([ones, (one - center) / scale]) for one in values], scale
