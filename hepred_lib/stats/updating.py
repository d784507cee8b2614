"""Updating a frozen model with outcomes of another hospital: not at all, its level, or its level and its spread.

The update is a line on the log odds: updated log odds = intercept + slope x frozen log odds. *Frozen* is 0 and 1;
*intercept* moves the level and keeps the slope 1; *intercept and slope* is Cox's recalibration. The closed test asks
for the smallest change that is not significantly worse than the largest, so that few local patients leave the model as
it is. An updated model is another model: what it achieves in the patients it was fitted on is told from cross-
validation.

Sources: Vergouwe Y et al. Stat Med 2017;36:4529-4539. Steyerberg EW et al. Stat Med 2004;23:2567-2586.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import chi2
from sklearn.model_selection import StratifiedKFold

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.logistic import log_likelihood

METHODS = ("frozen", "intercept", "intercept and slope")


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


def closed_test(y: ArrayLike, p: ArrayLike, *, alpha: float = 0.05) -> Update:
    """Choose among the frozen model, its intercept and its intercept and slope.

    Parameters
    ----------
    y, p
        As for `recalibrations`.
    alpha : float
        Of both tests; testing in this order keeps the chance of any needless change at alpha.

    Returns
    -------
    Update
        The frozen model where the slope has no finite estimate, or would turn the ranking round.

    Raises
    ------
    ValueError
        As `recalibrations`; for an alpha outside (0, 1).

    References
    ----------
    Vergouwe Y et al. Stat Med 2017;36:4529-4539.
    """
    checks.between(alpha, "alpha", 0, 1)
    outcome, risk = checks.outcome_and_risk(y, p)
    lines = recalibrations(outcome, risk)
    fitted = {name: float(log_likelihood(a + b * logit(risk), outcome)) for name, (a, b) in lines.items()}
    frozen, level, both = (fitted[name] for name in METHODS)
    p_any, p_slope = (float(chi2.sf(max(2 * gain, 0.0), df)) for gain, df in ((both - frozen, 2), (both - level, 1)))
    if not lines[METHODS[2]][1] > 0:  # also NaN
        p_any = p_slope = float("nan")
    method = METHODS[2] if p_slope < alpha else METHODS[1]
    method = method if p_any < alpha else METHODS[0]
    return Update(method, *lines[method], p_any, p_slope, outcome.size, int(outcome.sum()))


def cross_validated_update(
    y: ArrayLike, p: ArrayLike, *, n_folds: int = 10, alpha: float = 0.05, seed: int = 0
) -> NDArray[np.float64]:
    """Probabilities of each patient, updated by the closed test of the others.

    Parameters
    ----------
    y, p, alpha
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
        updated[own] = closed_test(outcome[rest], risk[rest], alpha=alpha).apply(risk[own])
    return updated
