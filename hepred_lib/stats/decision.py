"""Decision curves: the net benefit of acting on a model, against acting on everybody or on nobody.

At a threshold probability t a patient is treated when p >= t. Whoever picks t weighs one false positive as t / (1 - t)
of a true positive; net benefit counts true positives per patient after paying for the false ones in that currency.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepred_lib.stats import checks


def net_benefit(y: ArrayLike, p: ArrayLike, thresholds: ArrayLike) -> NDArray[np.float64]:
    """Net benefit of treating patients with p >= threshold, in true positives per patient.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p : array_like, shape (n,)
        Predicted probabilities.
    thresholds : array_like, shape (t,)
        Strictly between 0 and 1.

    Returns
    -------
    ndarray, shape (t,)

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, a `p` is outside [0, 1], a threshold is outside (0, 1), or lengths differ.

    References
    ----------
    Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-574.

    Examples
    --------
    >>> net_benefit([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9], [0.5])
    array([0.25])
    """
    y, p = checks.outcome_and_probability(y, p)
    return _benefit_of_each(y, p, _thresholds(thresholds)).mean(axis=0)


def net_benefit_all(y: ArrayLike, thresholds: ArrayLike) -> NDArray[np.float64]:
    """Net benefit of treating everybody; that of treating nobody is 0.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    thresholds : array_like, shape (t,)
        Strictly between 0 and 1.

    Returns
    -------
    ndarray, shape (t,)

    Raises
    ------
    ValueError
        As `net_benefit`.
    """
    y = checks.outcome(y)
    return net_benefit_from_counts(int(y.sum()), int((1 - y).sum()), n=y.size, thresholds=thresholds)


def net_benefit_from_counts(tp: int, fp: int, *, n: int, thresholds: ArrayLike) -> NDArray[np.float64]:
    """Net benefit at published counts, as if the model's operating point were used at each threshold.

    Parameters
    ----------
    tp, fp : int
        True and false positives.
    n : int
        Patients in all.
    thresholds : array_like, shape (t,)
        Strictly between 0 and 1.

    Returns
    -------
    ndarray, shape (t,)

    Raises
    ------
    ValueError
        If a count is negative, n is smaller than the positives, or a threshold is outside (0, 1).
    """
    tp, fp = checks.at_least(tp, "tp", 0), checks.at_least(fp, "fp", 0)
    n = checks.at_least(n, "n", max(tp + fp, 1))
    return (tp - fp * _odds(_thresholds(thresholds))) / n


def decision_curve(
    y: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    thresholds: ArrayLike,
    *,
    n_resamples: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Net benefit of several models, of treating all and of treating none, with pointwise 95 % bootstrap bands.

    All models see the same resampled patients.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    predictions : mapping of str to array_like, shape (n,)
        Predicted probabilities by model.
    thresholds : array_like, shape (t,)
        Strictly between 0 and 1.
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    DataFrame
        `model, threshold, net_benefit, low, high`; the models in their order, then "all" and "none".

    Raises
    ------
    ValueError
        As `net_benefit`, and for a model named "all" or "none".
    """
    if reserved := {"all", "none"} & set(predictions):
        raise ValueError(
            f"predictions must not name a model {' or '.join(sorted(reserved))}: that is a reference line."
        )
    thresholds = _thresholds(thresholds)
    checks.at_least(n_resamples, "n_resamples", 1)
    checked = {name: checks.outcome_and_probability(y, p, name) for name, p in predictions.items()}
    outcome = checks.outcome(y)
    # Treating everybody is a model that is always sure, treating nobody one that never reaches a threshold.
    checked |= {"all": (outcome, np.ones(outcome.size)), "none": (outcome, np.zeros(outcome.size))}
    weights = rng.multinomial(outcome.size, np.full(outcome.size, 1 / outcome.size), size=n_resamples) / outcome.size
    curves = [_curve(name, _benefit_of_each(*pair, thresholds), thresholds, weights) for name, pair in checked.items()]
    return pd.concat(curves, ignore_index=True)


def _curve(name: str, benefit: NDArray, thresholds: NDArray, weights: NDArray) -> pd.DataFrame:
    low, high = np.quantile(weights @ benefit, (0.025, 0.975), axis=0)
    columns = {"threshold": thresholds, "net_benefit": benefit.mean(axis=0), "low": low, "high": high}
    return pd.DataFrame({"model": name} | columns)


def _benefit_of_each(y: NDArray, p: NDArray, thresholds: NDArray) -> NDArray[np.float64]:
    """Contribution of each patient at each threshold, shape (n, t): 1, minus the odds, or 0 if not treated."""
    worth = np.where(y[:, None] == 1, 1.0, -_odds(thresholds))
    return np.where(p[:, None] >= thresholds, worth, 0.0)


def _odds(thresholds: NDArray) -> NDArray[np.float64]:
    return thresholds / (1 - thresholds)


def _thresholds(thresholds: ArrayLike) -> NDArray[np.float64]:
    values = checks.scores(thresholds, "thresholds")
    if (wrong := (values <= 0) | (values >= 1)).any():
        raise ValueError(f"thresholds must lie strictly between 0 and 1, got {values[wrong][0]}.")
    return values
