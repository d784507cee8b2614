"""Performance in subgroups and by site: estimates with event counts, a test of interaction, silence below ten events.

A difference between subgroups is a matter for the interaction test, never for one subgroup's p or interval alone.

Source: Altman DG, Bland JM. BMJ 2003;326:219.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import chi2, norm, t

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import calibrate, in_the_large, in_the_large_interval
from hepred_lib.stats.development import DevelopmentSettings, cross_fit
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.logistic import fit_logistic, log_likelihood

# Fewer events, or fewer patients without one, and no figure is given.
MIN_EVENTS = 10
# Sites below which a spread between them cannot be spoken of.
MIN_SITES = 3
LIMITS = {"": "estimate", "_low": "low", "_high": "high"}
PREDICTION = {"": "estimate", "_low": "prediction_low", "_high": "prediction_high"}
FURTHER = "a further site"
# The scale on which each is summarized over sites, and the way back.
MEASURES: dict[str, tuple[Any, Any]] = {
    "auc": (logit, expit),
    "slope": (np.asarray, np.asarray),
    "in_the_large": (np.asarray, np.asarray),
}
FIGURES = tuple(f"{name}{end}" for name in MEASURES for end in LIMITS)


def subgroup_performance(y: ArrayLike, p: ArrayLike, group: ArrayLike) -> pd.DataFrame:
    """AUC and calibration in each subgroup.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Predicted probabilities, strictly between 0 and 1.
    group : array_like, shape (n,)
        The subgroup of each patient; missing values form no subgroup and are counted in a row of their own.

    Returns
    -------
    DataFrame
        `group, n, events`, then `auc` with its logit DeLong interval, `slope` and `in_the_large` with their Wald
        intervals, then `note`. Figures are NaN in a subgroup with fewer than ten events or fewer than ten others.

    Raises
    ------
    ValueError
        If `y` is not 0/1, a `p` is 0, 1 or outside, or the lengths differ.
    """
    outcome, risk, labels = _checked(y, p, group)
    rows = []
    for label in [*sorted(labels.dropna().unique(), key=str), *([None] if labels.isna().any() else [])]:
        inside = (labels.isna() if label is None else labels == label).to_numpy(dtype=bool)
        events, n = int(outcome[inside].sum()), int(inside.sum())
        row = {"group": "missing" if label is None else label, "n": n, "events": events, "note": ""}
        if label is None or min(events, n - events) < MIN_EVENTS:
            few = f"{MIN_EVENTS} events and as many others are needed, got {events} and {n - events}"
            why = "the subgroup is not known" if label is None else few
            rows.append(row | dict.fromkeys(FIGURES, np.nan) | {"note": why})
        else:
            rows.append(row | _figures(outcome[inside], risk[inside]))
    return pd.DataFrame(rows, columns=["group", "n", "events", *FIGURES, "note"])


def interaction_test(y: ArrayLike, p: ArrayLike, group: ArrayLike) -> pd.DataFrame:
    """Whether discrimination or calibration of a model differ between subgroups.

    Parameters
    ----------
    y, p, group
        As for `subgroup_performance`; patients without a subgroup are left out, and so are subgroups with fewer than
        ten events or others.

    Returns
    -------
    DataFrame
        Rows "auc" (chi-squared over the subgroups' AUCs), "slope" and "in_the_large" (likelihood-ratio tests of the
        products of subgroup and logit(p), and of the subgroups alone beside logit(p) as an offset of slope 1);
        columns `statistic, df, p, note`. NaN with the reason in `note` where two subgroups do not remain or a fit does
        not exist.

    Raises
    ------
    ValueError
        As `subgroup_performance`.

    References
    ----------
    Altman DG, Bland JM. BMJ 2003;326:219. Van Calster B et al. J Clin Epidemiol 2016;74:167-176.
    """
    outcome, risk, labels = _checked(y, p, group)
    table = subgroup_performance(outcome, risk, labels)
    usable = table.loc[table["note"] == "", "group"]
    kept = labels.isin(usable).to_numpy()
    tests = {"auc": _auc_heterogeneity, "slope": _slope_interaction, "in_the_large": _level_interaction}
    if len(usable) < 2:
        why = f"two subgroups with {MIN_EVENTS} events and as many others are needed, got {len(usable)}"
        found = dict.fromkeys(tests, (np.nan, 0, why))
    else:
        data = outcome[kept], risk[kept], labels[kept].astype(str).reset_index(drop=True)
        found = {name: test(*data) for name, test in tests.items()}
    table = pd.DataFrame(found, index=["statistic", "df", "note"]).T.astype({"statistic": float, "df": int})
    table.insert(2, "p", chi2.sf(table["statistic"], table["df"]))
    return table


def random_effects(effect: ArrayLike, variance: ArrayLike) -> dict[str, float]:
    """Random-effects mean of independent estimates, with the between-study SD and a 95 % prediction interval.

    Parameters
    ----------
    effect, variance : array-like of shape (k,)
        Estimates of independent studies and their sampling variances.

    Returns
    -------
    dict
        `estimate`, `low`, `high` (Hartung-Knapp, whose scale is at least 1 [2]_), `tau` (Paule-Mandel [1]_), and
        `prediction_low`, `prediction_high` (t with k - 2 degrees of freedom; NaN for fewer than three studies). All
        but the estimate are NaN for one study.

    References
    ----------
    .. [1] Paule RC, Mandel J. J Res Natl Bur Stand 1982;87:377-385.
    .. [2] Rover C, Knapp G, Friede T. BMC Med Res Methodol 2015;15:99.

    Examples
    --------
    Equal variances: the mean, and tau squared = 1 - 0.25, the variance of the estimates less that of sampling.

    >>> found = random_effects([0, 1, 2], [0.25, 0.25, 0.25])
    >>> float(found["estimate"]), round(float(found["tau"]) ** 2, 6)
    (1.0, 0.75)
    """
    effect, variance = np.asarray(effect, dtype=float), np.asarray(variance, dtype=float)
    if effect.shape != variance.shape or effect.ndim != 1 or not effect.size:
        raise ValueError(f"effect and variance must be vectors of one length, got {effect.shape}, {variance.shape}.")
    if not (np.isfinite(effect).all() and np.isfinite(variance).all() and (variance > 0).all()):
        raise ValueError("effects must be finite and variances positive.")
    k = len(effect)

    def mean_and_q(tau2: float) -> tuple[float, float, float]:
        weight = 1 / (variance + tau2)
        mean = float(weight @ effect / weight.sum())
        return mean, float(weight @ (effect - mean) ** 2), float(weight.sum())

    if k == 1:
        names = ("low", "high", "tau", "prediction_low", "prediction_high")
        return {"estimate": float(effect[0]), **dict.fromkeys(names, float("nan"))}
    tau2 = 0.0
    if mean_and_q(0.0)[1] > k - 1:
        # Q falls with tau squared, and is below k - 1 once it exceeds the sum of squares.
        tau2 = brentq(lambda value: mean_and_q(value)[1] - (k - 1), 0.0, float(((effect - effect.mean()) ** 2).sum()))
    mean, q, total = mean_and_q(tau2)
    error = np.sqrt(max(1.0, q / (k - 1)) / total)
    half = t.ppf(0.975, k - 1) * error
    ahead = t.ppf(0.975, k - 2) * np.hypot(error, np.sqrt(tau2)) if k > 2 else float("nan")
    limits = {"low": mean - half, "high": mean + half, "tau": float(np.sqrt(tau2))}
    return {"estimate": mean, **limits, "prediction_low": mean - ahead, "prediction_high": mean + ahead}


def internal_external(x: pd.DataFrame, y: ArrayLike, site: pd.Series, settings: DevelopmentSettings) -> pd.DataFrame:
    """A model's procedure judged at each site in turn, developed at the others: internal-external cross-validation.

    Parameters
    ----------
    x, y, settings
        As for `develop`.
    site : Series, shape (n,)
        Patients whose site is missing form a site of their own.

    Returns
    -------
    DataFrame
        The rows of `subgroup_performance` by site; "all sites", the random-effects means (AUC as a logit) with their
        intervals, and in `auc_tau, slope_tau, in_the_large_tau` the between-site SD on that scale; "a further site",
        the means with 95 % prediction intervals. Where fewer than three sites have an interval of a figure, it is NaN
        in these, and `note` says so. No row where fewer than three sites have ten events and as many others.

    References
    ----------
    Steyerberg EW, Harrell FE. J Clin Epidemiol 2016;69:245-247.
    """
    outcome = checks.outcome(y)
    places = site.astype(object).where(site.notna(), "not known").astype(str).to_numpy()
    counts = pd.crosstab(places, outcome).reindex(columns=[0, 1], fill_value=0)
    columns = ["group", "n", "events", *FIGURES, "note", *(f"{name}_tau" for name in MEASURES)]
    if (counts.min(axis=1) >= MIN_EVENTS).sum() < MIN_SITES:
        return pd.DataFrame(columns=columns)
    p = np.clip(cross_fit(x, outcome, places, settings), 1e-9, 1 - 1e-9)
    table = subgroup_performance(outcome, p, places)
    used = table[table["note"].eq("")]
    total = {"group": "all sites", "n": used["n"].sum(), "events": used["events"].sum()}
    ahead, lacking = {"group": FURTHER, "note": ""}, []
    for name, (there, back) in MEASURES.items():
        effect, low, high = (there(used[f"{name}{end}"].to_numpy(dtype=float)) for end in LIMITS)
        error = (high - low) / (2 * norm.ppf(0.975))
        known = np.isfinite(error) & (error > 0)  # one probability for all has no AUC and no slope to speak of
        words = name.replace("_", " ").replace("auc", "AUC")
        lacking += [] if known.all() else [f"{words}: no interval at {(~known).sum()} of {len(known)} sites"]
        if known.sum() < MIN_SITES:
            continue
        found = random_effects(effect[known], error[known] ** 2)
        total[f"{name}_tau"] = found["tau"]
        for row, keys in ((total, LIMITS), (ahead, PREDICTION)):
            row |= {f"{name}{end}": float(back(found[key])) for end, key in keys.items()}
    total["note"] = "; ".join(lacking)
    return pd.concat([table, pd.DataFrame([total, ahead])], ignore_index=True).reindex(columns=columns)


def _checked(y: ArrayLike, p: ArrayLike, group: ArrayLike) -> tuple[NDArray, NDArray, pd.Series]:
    checks.same_patients(y, group, "y and group")
    outcome, risk = checks.outcome_and_risk(y, p, both_classes=False)
    return outcome, risk, pd.Series(np.asarray(group)).astype(object).where(lambda values: values.notna())


def _figures(y: NDArray, p: NDArray) -> dict[str, float]:
    area, fit = auc_interval(y, p, method="logit"), calibrate(y, p)
    slope, level = (fit.slope, fit.slope_low, fit.slope_high), (fit.in_the_large, *in_the_large_interval(y, p))
    values = (area.auc, area.low, area.high, *slope, *level)
    return dict(zip(FIGURES, values, strict=True))


def _auc_heterogeneity(y: NDArray, p: NDArray, part: pd.Series) -> tuple[float, int, str]:
    """Chi-squared, degrees of freedom, and why there is none: of the subgroups' AUCs around their weighted mean."""
    found = [auc_interval(y[part == name], p[part == name]) for name in part.unique()]
    values, errors = (np.array([getattr(one, name) for one in found]) for name in ("auc", "standard_error"))
    if np.isnan(errors).any():
        return np.nan, len(found) - 1, "a subgroup's AUC has no variance"
    weights = errors**-2.0
    return float(np.sum(weights * (values - np.average(values, weights=weights)) ** 2)), len(found) - 1, ""


def _slope_interaction(y: NDArray, p: NDArray, part: pd.Series) -> tuple[float, int, str]:
    """Twice the gain in log-likelihood from the products of subgroup and logit(p)."""
    dummies = pd.get_dummies(part, drop_first=True, dtype=float).add_prefix("group ")
    small = dummies.assign(linear=logit(p))
    large = small.join(dummies.mul(logit(p), axis=0).add_suffix(" x linear"))
    try:
        gain = 2 * (fit_logistic(large, y).log_likelihood - fit_logistic(small, y).log_likelihood)
    except ValueError as reason:
        return np.nan, dummies.shape[1], str(reason)
    return max(gain, 0.0), dummies.shape[1], ""


def _level_interaction(y: NDArray, p: NDArray, part: pd.Series) -> tuple[float, int, str]:
    """Twice the gain in log-likelihood from a shift of logit(p) for each subgroup over one shift for all."""

    def reached(y: NDArray, p: NDArray) -> float:
        return float(log_likelihood(logit(p) + in_the_large(y, logit(p)), y))

    apart = sum(reached(y[part == name], p[part == name]) for name in part.unique())
    return max(2 * (apart - reached(y, p)), 0.0), part.nunique() - 1, ""
