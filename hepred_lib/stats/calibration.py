"""Calibration: whether a predicted 20 % means 20 in 100, and the update of a frozen model where it does not.

*Slope* and *intercept* come from a logistic regression of the outcome on logit(p); 1 and 0 are ideal, a slope below 1
means predictions that are too extreme. *Calibration-in-the-large* is another number, the intercept with the slope held
at 1: above 0, predictions are too low on the whole. ICI, E50, E90 and Emax are the mean, median, 90th percentile and
maximum of ``|p - observed|``, with the observed frequency from lowess.

*Updating* with outcomes of another hospital is a line on the log odds: updated log odds = intercept + slope x frozen
log odds. *Frozen* is 0 and 1; *intercept* moves the level and keeps the slope 1; *intercept and slope* is Cox's
recalibration. The closed test asks for the smallest change that is not significantly worse than the largest, so that
few local patients leave the model as it is. An updated model is another model: what it achieves in the patients it was
fitted on is told from cross-validation.

Sources: Cox DR. Biometrika 1958;45:562-565. Van Calster B et al. J Clin Epidemiol 2016;74:167-176. Austin PC,
Steyerberg EW. Stat Med 2019;38:4051-4065. Vergouwe Y et al. Stat Med 2017;36:4529-4539. Steyerberg EW et al. Stat Med
2004;23:2567-2586.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import chi2, norm
from sklearn.model_selection import StratifiedKFold
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.nonparametric.smoothers_lowess import lowess

from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import bootstrap_indices, percentile_interval
from hepred_lib.stats.logistic import log_likelihood

SPAN = 2 / 3  # share of the patients in each local regression, R's default
METHODS = ("frozen", "intercept", "intercept and slope")  # of updating


@dataclass(frozen=True)
class Calibration:
    """Calibration figures of one model; NaN where an estimate does not exist."""

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    in_the_large: float
    brier: float
    brier_scaled: float
    ici: float
    e50: float
    e90: float
    emax: float


def calibrate(y: ArrayLike, p: ArrayLike) -> Calibration:
    """Calibration of predicted probabilities on patients the model has not seen.

    Slope, its 95 % Wald interval and intercept are NaN where p separates the outcomes or takes one value; the lowess
    figures are NaN where two thirds of the p are equal.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Predicted probabilities, strictly between 0 and 1.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, a `p` is NaN, 0, 1 or outside, or the lengths differ.

    References
    ----------
    Slope: Cox DR. Biometrika 1958;45:562-565. Hierarchy: Van Calster B et al. J Clin Epidemiol 2016;74:167-176.
    ICI: Austin PC, Steyerberg EW. Stat Med 2019;38:4051-4065.
    """
    y, p = checks.outcome_and_risk(y, p)
    error = np.abs(_smooth(y, p) - p)
    brier = brier_score(y, p)
    return Calibration(
        *_slope(y, logit(p)),
        in_the_large=in_the_large(y, logit(p)),
        brier=brier,
        brier_scaled=1 - brier / float(y.var()),
        ici=float(error.mean()),
        e50=float(np.median(error)),
        e90=float(np.quantile(error, 0.9)),
        emax=float(error.max()),
    )


def in_the_large_interval(y: ArrayLike, p: ArrayLike) -> tuple[float, float]:
    """95 % Wald interval of calibration in the large: the intercept of a logistic regression with logit(p) as offset.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Predicted probabilities, strictly between 0 and 1.

    Returns
    -------
    (float, float)

    Raises
    ------
    ValueError
        As `calibrate`.

    References
    ----------
    Van Calster B et al. J Clin Epidemiol 2016;74:167-176.

    Examples
    --------
    One event in two at p = 0.5, four patients: the information is 4 x 0.25 = 1, the limits are -1.96 and 1.96.

    >>> [round(limit, 2) for limit in in_the_large_interval([0, 1, 0, 1], [0.5] * 4)]
    [-1.96, 1.96]
    """
    y, p = checks.outcome_and_risk(y, p)
    shift = in_the_large(y, logit(p))
    expected = expit(logit(p) + shift)
    reach = checks.normal_quantile(0.95) / np.sqrt(np.sum(expected * (1 - expected)))
    return float(shift - reach), float(shift + reach)


def observed_expected(y: ArrayLike, p: ArrayLike) -> tuple[float, float, float]:
    """Observed over expected number of events, with the 95 % interval of its logarithm's delta method.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Predicted probabilities in [0, 1], not all 0.

    Returns
    -------
    (float, float, float)
        Ratio, low, high; the limits are NaN where no patient, or every patient, has the outcome.

    Raises
    ------
    ValueError
        If `y` is not 0/1, a `p` is NaN or outside [0, 1], all p are 0, or the lengths differ.

    References
    ----------
    Debray TPA et al. BMJ 2017;356:i6460.

    Examples
    --------
    >>> observed_expected([0, 1, 0, 1], [0.25] * 4)[0]
    2.0
    """
    y, p = checks.outcome_and_probability(y, p, both_classes=False)
    if not p.sum() > 0:
        raise ValueError("p must expect an event: all probabilities are 0.")
    ratio, observed = float(y.sum() / p.sum()), float(y.mean())
    if observed in (0, 1):
        return ratio, float("nan"), float("nan")
    reach = checks.normal_quantile(0.95) * np.sqrt((1 - observed) / (observed * y.size))
    return ratio, float(ratio * np.exp(-reach)), float(ratio * np.exp(reach))


def brier_interval(y: ArrayLike, p: ArrayLike) -> tuple[float, float]:
    """95 % normal interval of the Brier score, a mean of squared distances; NaN for one patient.

    Raises
    ------
    ValueError
        As `brier_score`.
    """
    y, p = checks.outcome_and_probability(y, p, both_classes=False)
    squared = (y - p) ** 2
    reach = checks.normal_quantile(0.95) * (squared.std(ddof=1) / np.sqrt(y.size) if y.size > 1 else np.nan)
    return float(max(squared.mean() - reach, 0.0)), float(squared.mean() + reach)


def ici_interval(y: ArrayLike, p: ArrayLike) -> tuple[float, float]:
    """95 % percentile interval of the ICI over 200 bootstrap resamples of patients, stratified by outcome.

    They are the same in every call. A distance cannot be negative, so that the interval of a calibrated model does not
    reach 0, and in small samples lies above the ICI that a large one would show.

    Raises
    ------
    ValueError
        As `calibrate`.
    """
    y, p = checks.outcome_and_risk(y, p)
    drawn = bootstrap_indices(y, 200, np.random.default_rng(0))
    found = np.array([np.abs(_smooth(y[rows], p[rows]) - p[rows]).mean() for rows in drawn])
    return percentile_interval(found) if np.isfinite(found).all() else (float("nan"), float("nan"))


def brier_score(y: ArrayLike, p: ArrayLike) -> float:
    """Mean squared distance between outcome and probability; defined for any p in [0, 1], and for one class alone.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `y` is not 0/1, a `p` is outside [0, 1], or the lengths differ.

    References
    ----------
    Brier GW. Mon Weather Rev 1950;78:1-3.

    Examples
    --------
    >>> brier_score([0, 1], [0.5, 0.5])
    0.25
    """
    y, p = checks.outcome_and_probability(y, p, both_classes=False)
    return float(np.mean((y - p) ** 2))


def spiegelhalter_test(y: ArrayLike, p: ArrayLike) -> tuple[float, float]:
    """Test of calibration through the Brier score, which needs no groups.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Predicted probabilities in [0, 1].

    Returns
    -------
    (float, float)
        Spiegelhalter's z (above 0: the Brier score is larger than calibration allows) and its two-sided p; NaN where
        every p is 0, 1/2 or 1: then the Brier score does not vary under calibration.

    Raises
    ------
    ValueError
        If `y` is not 0/1, a `p` is outside [0, 1], or the lengths differ.

    References
    ----------
    Spiegelhalter DJ. Stat Med 1986;5:421-433.
    """
    y, p = checks.outcome_and_probability(y, p, both_classes=False)
    variance = float(np.sum((1 - 2 * p) ** 2 * p * (1 - p)))
    if variance <= 0:
        return float("nan"), float("nan")
    z = float(np.sum((y - p) * (1 - 2 * p)) / np.sqrt(variance))
    return z, float(2 * norm.sf(abs(z)))


def calibration_curve(
    y: ArrayLike, p: ArrayLike, grid: ArrayLike, *, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Observed frequency against predicted probability, by lowess, with a pointwise 95 % bootstrap band.

    The curve is the one behind the ICI, kept within [0, 1]. It stops where the predictions stop: grid points outside
    their range are NaN. At the ends the band rests on those resamples that reach there.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Predicted probabilities.
    grid : array_like, shape (g,)
        Probabilities at which to read the curve.
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    DataFrame
        `grid, observed, low, high`, g rows.

    Raises
    ------
    ValueError
        As `calibrate`, save that p of 0 and 1 is allowed; and for a grid outside [0, 1].

    References
    ----------
    Austin PC, Steyerberg EW. Stat Med 2014;33:517-535.
    """
    y, p = checks.outcome_and_probability(y, p)
    grid = checks.probabilities(grid, "grid")
    curves = np.array([read_curve(y[drawn], p[drawn], grid) for drawn in bootstrap_indices(y.size, n_resamples, rng)])
    observed = read_curve(y, p, grid)
    low, high = np.full((2, grid.size), np.nan)
    reached = np.isfinite(observed) & np.isfinite(curves).any(axis=0)
    if reached.any():
        low[reached], high[reached] = np.nanquantile(curves[:, reached], (0.025, 0.975), axis=0)
    return pd.DataFrame({"grid": grid, "observed": observed, "low": low, "high": high})


@dataclass(frozen=True)
class Update:
    """A line on a frozen model's log odds, and the tests that chose it.

    Attributes
    ----------
    method : {"frozen", "intercept", "intercept and slope"}
    intercept, slope : float
    p_any : float
        Likelihood-ratio test of both parameters against the frozen model, 2 degrees of freedom.
    p_slope : float
        Of the slope, given the intercept, 1 degree of freedom. NaN, as `p_any`, where the predictions separate the
        outcomes or are all equal.
    n, events : int
        Patients it was fitted on.
    """

    method: str
    intercept: float
    slope: float
    p_any: float
    p_slope: float
    n: int
    events: int

    def apply(self, p: ArrayLike) -> NDArray[np.float64]:
        """Updated probabilities of frozen ones; 0 and 1 stay what they are."""
        with np.errstate(divide="ignore"):
            return expit(self.intercept + self.slope * logit(np.asarray(p, dtype=float)))


def recalibrations(y: ArrayLike, p: ArrayLike) -> dict[str, tuple[float, float]]:
    """Intercept and slope of every method, by name; NaN where the slope has no finite estimate.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        The frozen model's probabilities, strictly between 0 and 1.

    Raises
    ------
    ValueError
        As `calibrate`: one class, a p of 0 or 1, unequal lengths.
    """
    found = calibrate(y, p)
    return dict(zip(METHODS, ((0.0, 1.0), (found.in_the_large, 1.0), (found.intercept, found.slope)), strict=True))


def closed_test(y: ArrayLike, p: ArrayLike) -> Update:
    """Choose among the frozen model, its intercept and its intercept and slope, by two tests at the 5 % level.

    Testing in this order keeps the chance of any needless change at 5 %.

    Parameters
    ----------
    y, p
        As for `recalibrations`.

    Returns
    -------
    Update
        The frozen model where the slope has no finite estimate, or would turn the ranking round.

    Raises
    ------
    ValueError
        As `recalibrations`.

    References
    ----------
    Vergouwe Y et al. Stat Med 2017;36:4529-4539.
    """
    outcome, risk = checks.outcome_and_risk(y, p)
    lines = recalibrations(outcome, risk)
    fitted = {name: float(log_likelihood(a + b * logit(risk), outcome)) for name, (a, b) in lines.items()}
    frozen, level, both = (fitted[name] for name in METHODS)
    p_any, p_slope = (float(chi2.sf(max(2 * gain, 0.0), df)) for gain, df in ((both - frozen, 2), (both - level, 1)))
    if not lines[METHODS[2]][1] > 0:  # also NaN
        p_any = p_slope = float("nan")
    method = METHODS[2] if p_slope < 0.05 else METHODS[1]
    method = method if p_any < 0.05 else METHODS[0]
    return Update(method, *lines[method], p_any, p_slope, outcome.size, int(outcome.sum()))


def cross_validated_update(y: ArrayLike, p: ArrayLike, *, n_folds: int = 10, seed: int = 0) -> NDArray[np.float64]:
    """Probabilities of each patient, updated by the closed test of the others.

    Parameters
    ----------
    y, p
        As for `closed_test`.
    n_folds : int
        Stratified by outcome; as many as the rarer class has patients where those are fewer, at least two.
    seed : int

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    ValueError
        As `closed_test`; where a class has one patient only.
    """
    outcome, risk = checks.outcome_and_risk(y, p)
    rarer = int(min(outcome.sum(), (1 - outcome).sum()))
    if rarer < 2:
        raise ValueError(f"y must hold two patients of each class to cross-validate, got {rarer}.")
    folds = StratifiedKFold(min(n_folds, rarer), shuffle=True, random_state=seed)
    updated = np.empty(outcome.size)
    for rest, own in folds.split(risk, outcome):
        updated[own] = closed_test(outcome[rest], risk[rest]).apply(risk[own])
    return updated


def _slope(y: NDArray, linear_predictor: NDArray) -> tuple[float, float, float, float]:
    """Slope, its Wald limits and the intercept; NaN where the maximum of the likelihood is at infinity."""
    events, others = linear_predictor[y == 1], linear_predictor[y == 0]
    if events.min() >= others.max() or events.max() <= others.min():
        return (float("nan"),) * 4
    design = np.column_stack([np.ones(y.size), linear_predictor])
    fit = GLM(y, design, family=Binomial()).fit(tol=1e-12)
    reach = norm.ppf(0.975) * fit.bse[1]
    intercept, slope = (float(value) for value in fit.params)
    return slope, float(slope - reach), float(slope + reach), intercept


def in_the_large(y: NDArray, linear_predictor: NDArray, weights: NDArray | None = None) -> float:
    """Shift of the linear predictor that makes the (weighted) expected number of events the observed one."""
    target = logit(np.average(y, weights=weights))
    low, high = target - linear_predictor.max(), target - linear_predictor.min()

    def excess(shift: float) -> float:
        return float(np.average(expit(linear_predictor + shift) - y, weights=weights))

    return float(brentq(excess, low - 1, high + 1, xtol=1e-13))


def _smooth(y: NDArray, p: NDArray) -> NDArray[np.float64]:
    """Lowess of the outcome on p at each patient, as R's `lowess(p, y, iter = 0)`."""
    if np.unique(p, return_counts=True)[1].max() >= int(SPAN * p.size):
        return np.full(p.size, np.nan)  # a neighbourhood without width has no regression
    return lowess(y, p, frac=SPAN, it=0, delta=0.01 * np.ptp(p), return_sorted=False)


def read_curve(y: NDArray, p: NDArray, grid: NDArray) -> NDArray[np.float64]:
    """The smooth curve at a grid of probabilities; NaN outside the range of the predictions."""
    value, first = np.unique(p, return_index=True)
    return np.clip(np.interp(grid, value, _smooth(y, p)[first], left=np.nan, right=np.nan), 0, 1)
