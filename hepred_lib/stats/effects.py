"""What a logistic model says about each predictor: odds ratios per sensible unit, their intervals, and a test a term.

Wald intervals are symmetric on the log scale and fail with few events. Profile-likelihood intervals follow the
likelihood itself; where the classes separate both rest on Firth's penalized likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import chi2, norm

from hepred_lib.stats import checks
from hepred_lib.stats.coding import Array, check_outcome, standardize
from hepred_lib.stats.forward import group_columns
from hepred_lib.stats.likelihood import maximum_given, profile_limits
from hepred_lib.stats.logistic import LogisticModel, fit_logistic

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


def odds_ratios(
    names: Sequence[str],
    coefficients: ArrayLike,
    standard_errors: ArrayLike,
    *,
    units: Mapping[str, float] = UNITS,
    level: float = 0.95,
) -> pd.DataFrame:
    """Odds ratio of each predictor for a step of its unit, with Wald interval and p.

    Parameters
    ----------
    names : sequence of str, length q
        Coded columns, without the intercept.
    coefficients, standard_errors : array_like, shape (q,)
        Log odds ratios per 1, fitted or pooled over imputed sets.
    units : mapping of str to float
        Step of a column, > 0; 1 where it is not named.
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    DataFrame
        `name, step, odds_ratio, low, high, p`, one row a column.

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
    reach = norm.ppf((1 + checks.between(level, "level", 0, 1)) / 2)
    step = np.array([units.get(name, 1.0) for name in names], dtype=float)
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


def profile_odds_ratios(
    x: pd.DataFrame,
    y: ArrayLike,
    *,
    units: Mapping[str, float] = UNITS,
    level: float = 0.95,
    separation: str = "refuse",
) -> pd.DataFrame:
    """Odds ratios with Wald and with profile-likelihood intervals, side by side.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
    y : array_like of 0 and 1, shape (n,)
    units, level
        As for `odds_ratios`.
    separation : {"refuse", "firth"}
        As for `fit_logistic`; under Firth's penalty the profile is that of the penalized likelihood.

    Returns
    -------
    DataFrame
        The columns of `odds_ratios`, then `profile_low, profile_high`.

    Raises
    ------
    ValueError
        As `fit_logistic` and `odds_ratios`.

    References
    ----------
    Venzon, Moolgavkar. Appl Stat 1988;37:87-94. Heinze, Schemper. Stat Med 2002;21:2409-2419.
    """
    model = fit_logistic(x, y, separation=separation)
    names = model.names[1:]
    table = odds_ratios(names, model.coefficients[1:], model.standard_errors[1:], units=units, level=level)
    design, scale, estimate = _standardized(model, x)
    outcome, penalized = check_outcome(x, y), model.method == "firth"
    limits = [
        profile_limits(design, outcome, estimate, column, level=level, penalized=penalized)
        for column in range(1, estimate.size)
    ]
    low, high = np.array(limits).reshape(-1, 2).T / scale * table["step"].to_numpy(dtype=float)
    with np.errstate(over="ignore"):
        return table.assign(profile_low=np.exp(low), profile_high=np.exp(high))


def term_tests(
    x: pd.DataFrame,
    y: ArrayLike,
    *,
    blocks: Mapping[str, Sequence[str]] | None = None,
    separation: str = "refuse",
) -> pd.DataFrame:
    """Likelihood-ratio test of each term, given all others: one row a number, a category or a named block.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
    y : array_like of 0 and 1, shape (n,)
    blocks : mapping of name to columns, optional
        Columns that are tested together.
    separation : {"refuse", "firth"}
        As for `fit_logistic`; under Firth's penalty the test is that of the penalized likelihood.

    Returns
    -------
    DataFrame
        `term, df, statistic, p`.

    Raises
    ------
    ValueError
        As `fit_logistic`; for blocks that name unknown columns.

    References
    ----------
    Hosmer, Lemeshow, Sturdivant. Applied logistic regression, 3rd ed. Wiley 2013. Heinze, Schemper. Stat Med
    2002;21:2409-2419.
    """
    model = fit_logistic(x, y, separation=separation)
    design, _, estimate = _standardized(model, x)
    outcome, penalized = check_outcome(x, y), model.method == "firth"
    every = np.ones(estimate.size, dtype=bool)
    _, top = maximum_given(design, outcome, estimate, every, penalized=penalized)
    rows = []
    for term, columns in group_columns(tuple(x.columns), blocks).items():
        held = np.isin(model.names, [coded for column in columns for coded in model.coding.blocks[column]])
        start = np.where(held, 0.0, estimate)
        _, without = maximum_given(design, outcome, start, ~held, penalized=penalized)
        statistic, df = max(2 * (top - without), 0.0), int(held.sum())
        rows.append({"term": term, "df": df, "statistic": statistic, "p": float(chi2.sf(statistic, df))})
    return pd.DataFrame(rows, columns=["term", "df", "statistic", "p"])


def _standardized(model: LogisticModel, x: pd.DataFrame) -> tuple[Array, Array, Array]:
    """Design with standardized columns, shape (n, q), their scales, and the model's coefficients on it."""
    rows, center, scale = standardize(model.coding.matrix(x))
    slopes = model.coefficients[1:]
    return rows.T, scale, np.concatenate([[model.coefficients[0] + center @ slopes], slopes * scale])
