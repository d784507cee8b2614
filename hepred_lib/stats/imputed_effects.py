"""What a developed model says about each predictor over its imputed sets: Wald and profile-likelihood limits.

Rubin's rules take each estimate as normal. Where events are few it is not, and the likelihood itself is asked: each
set's profile becomes a distribution of the coefficient, and their average has the limits (combination of likelihood
profiles, CLIP).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm

from hepred_lib.stats import checks
from hepred_lib.stats.coding import Array, Coding, check_outcome
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.effects import UNITS, odds_ratios
from hepred_lib.stats.imputation import impute_development
from hepred_lib.stats.irls import information_inverse
from hepred_lib.stats.likelihood import FAILED_SEARCH, maximum_given
from hepred_lib.stats.logistic import fit_logistic
from hepred_lib.stats.separation import separating_columns

# A limit further away than 2^12 Wald reaches is called infinite.
_DOUBLINGS = 12


def multivariable_odds_ratios(
    model: DevelopedModel, x: pd.DataFrame, y: ArrayLike, *, units: Mapping[str, float] = UNITS, level: float = 0.95
) -> pd.DataFrame:
    """Odds ratios of the unshrunk model with Rubin's Wald limits and pooled profile-likelihood limits side by side.

    Parameters
    ----------
    model : DevelopedModel
    x, y
        Its development data: the imputed sets are drawn again from its seed.
    units : mapping of str to float
        Step of a column, > 0; 1 where it is not named.
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    DataFrame
        The columns of :func:`hepred_lib.stats.effects.odds_ratios`, then `profile_low, profile_high` (0 and infinity
        where the likelihood never falls that far, NaN where the search for a limit fails), and `method`: "maximum
        likelihood" or "firth", where the predictors separate the outcome in a set. Both kinds of limits take the
        selection as given.

    Raises
    ------
    ValueError
        As `develop`, and for a level outside (0, 1).

    References
    ----------
    Heinze G, Ploner M, Beyea J. Stat Med 2013;32:5062-5076. Rubin. Multiple imputation for nonresponse in surveys.
    Wiley 1987.
    """
    table = odds_ratios(model.names, model.unshrunk_coefficients, model.standard_errors, units=units, level=level)
    outcome = check_outcome(x, y)
    if not model.names:
        return table.assign(profile_low=np.nan, profile_high=np.nan, method="")
    designs, scale = _designs(model, x)
    separated = any(separating_columns(design[:, 1:], outcome, model.names) for design in designs)
    start = np.concatenate([[0.0], model.unshrunk_coefficients * scale])  # the intercept is found from there
    limits = [
        pooled_profile_limits(designs, outcome, start, column, level=level, penalized=separated)
        for column in range(1, len(model.names) + 1)
    ]
    low, high = np.array(limits).reshape(-1, 2).T / scale * table["step"].to_numpy(dtype=float)
    method = "firth" if separated else "maximum likelihood"
    with np.errstate(over="ignore"):
        return table.assign(profile_low=np.exp(low), profile_high=np.exp(high), method=method)


def pooled_profile_limits(
    designs: list[Array], y: Array, start: Array, column: int, *, level: float, penalized: bool
) -> tuple[float, float]:
    """Limits of one coefficient from the average of its distributions in several imputed sets (CLIP).

    In each set the distribution at a value is the normal one of the signed root of the profile likelihood ratio there.
    With one set, or equal ones, these are the profile-likelihood limits.

    Parameters
    ----------
    designs : list of m ndarrays, shape (n, q)
        Of full rank, the intercept included, columns roughly standardized.
    y : ndarray, shape (n,)
    start : ndarray, shape (q,)
        Near the maxima.
    column : int
    level : float
        Coverage, between 0 and 1.
    penalized : bool
        Firth's penalized likelihood instead of the likelihood.

    Returns
    -------
    (float, float)
        Infinite where the distribution never comes to the limit; NaN where a limit cannot be found.

    References
    ----------
    Heinze G, Ploner M, Beyea J. Stat Med 2013;32:5062-5076.
    """
    tail = (1 - checks.between(level, "level", 0, 1)) / 2
    every = np.ones(start.size, dtype=bool)
    try:
        tops = [maximum_given(design, y, start, every, penalized=penalized) for design in designs]
    except FAILED_SEARCH:
        return np.nan, np.nan
    free = every.copy()
    free[column] = False

    def distribution(value: float) -> float:
        roots = []
        for design, (best, top) in zip(designs, tops, strict=True):
            held = best.copy()
            held[column] = value
            drop = top - maximum_given(design, y, held, free, penalized=penalized)[1]
            roots.append(np.sign(value - best[column]) * np.sqrt(2 * max(drop, 0.0)))
        return float(norm.cdf(roots).mean())

    center = float(np.mean([best[column] for best, _ in tops]))
    widest = max(
        information_inverse(design, best)[column, column] for design, (best, _) in zip(designs, tops, strict=True)
    )
    reach = -norm.ppf(tail) * np.sqrt(widest)
    return (
        _quantile(distribution, tail, center=center, reach=-reach),
        _quantile(distribution, 1 - tail, center=center, reach=reach),
    )


def univariable_odds_ratios(
    x: pd.DataFrame, y: ArrayLike, *, units: Mapping[str, float] = UNITS, level: float = 0.95
) -> pd.DataFrame:
    """Odds ratio of each predictor alone, in the patients who have a value of it.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Numbers, 0/1 and categories; NaN where missing.
    y : array_like of 0 and 1, shape (n,)
    units, level
        As for `odds_ratios`.

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
            found = odds_ratios(fit.names[1:], fit.coefficients[1:], fit.standard_errors[1:], units=units, level=level)
        else:
            names = Coding.of(x[[name]]).names or (name,)
            found = pd.DataFrame({"name": names, "step": [units.get(one, 1.0) for one in names]})
        parts.append(found.assign(**size))
    columns = ["name", "predictor", "n", "events", "step", "odds_ratio", "low", "high", "p"]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns) if parts else pd.DataFrame(columns=columns)


def _designs(model: DevelopedModel, x: pd.DataFrame) -> tuple[list[Array], Array]:
    """The imputed sets that the model was fitted on, as standardized designs, and the scale of their columns."""
    settings = model.settings
    rng = np.random.default_rng(settings.seed)
    columns = x[list(settings.columns)]
    imputer, completed = impute_development(columns, n_imputations=settings.n_imputations, rng=rng, observed=False)
    used = [imputer.coding.names.index(name) for name in model.names]
    values = np.stack(completed)[:, :, used]
    center, scale = values[0].mean(axis=0), values[0].std(axis=0)
    ones = np.ones((values.shape[1], 1))
    return [np.hstack([ones, (one - center) / scale]) for one in values], scale


def _quantile(distribution: Callable[[float], float], tail: float, *, center: float, reach: float) -> float:
    """Where the distribution reaches `tail`, sought from a center outwards; infinite where it does not, NaN if lost."""
    inner, outer = center, center + reach
    for _ in range(_DOUBLINGS):
        try:
            if (distribution(outer) - tail) * reach >= 0:
                return float(brentq(lambda value: distribution(value) - tail, inner, outer, xtol=1e-7))
        except FAILED_SEARCH:
            return np.nan
        inner, outer = outer, center + 2 * (outer - center)
    return float(np.inf * np.sign(reach))
