"""Decision curves: the net benefit of acting on a model, against acting on everybody or on nobody.

At a threshold probability t a patient is treated when p >= t. Whoever picks t weighs one false positive as t / (1 - t)
of a true positive; net benefit counts true positives per patient after paying for the false ones in that currency.

Sources: Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-574. Vickers AJ, Cronin AM, Elkin EB, Gonen M. BMC Med
Inform Decis Mak 2008;8:53.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import percentile_interval
from hepred_lib.stats.operating_point import combination_interval


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
    thresholds = checks.strictly_inside(thresholds, "thresholds")
    worth = np.where(y[:, None] == 1, 1.0, -_odds(thresholds))
    return np.where(p[:, None] >= thresholds, worth, 0.0).mean(axis=0)


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
    return (tp - fp * _odds(checks.strictly_inside(thresholds, "thresholds"))) / n


def decision_curve(
    y: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    thresholds: ArrayLike,
    *,
    band: str = "wilson",
    n_resamples: int = 0,
    rng: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Net benefit of several models, of treating all and of treating none, with pointwise 95 % bands.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    predictions : mapping of str to array_like, shape (n,)
        Predicted probabilities by model.
    thresholds : array_like, shape (t,)
        Strictly between 0 and 1.
    band : {"wilson", "bootstrap"}
        "wilson" combines the Wilson intervals of true and false positives; it covers about 95 % with twenty events,
        where the bootstrap's percentiles cover 92-94 % (benchmarks/coverage.py).
    n_resamples, rng
        For the bootstrap alone; all models see the same resampled patients.

    Returns
    -------
    DataFrame
        `model, threshold, net_benefit, low, high`; the models in their order, then "all" and "none" (certainly 0).

    Raises
    ------
    ValueError
        As `net_benefit`; for a model named "all" or "none", an unknown band, or a bootstrap without resamples.

    References
    ----------
    Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-574. Band: `proportions.combination_interval`.
    """
    if reserved := {"all", "none"} & set(predictions):
        raise ValueError(
            f"predictions must not name a model {' or '.join(sorted(reserved))}: that is a reference line."
        )
    thresholds = checks.strictly_inside(thresholds, "thresholds")
    checked = {name: checks.outcome_and_probability(y, p, name) for name, p in predictions.items()}
    outcome = checks.outcome(y)
    # Treating everybody is a model that is always sure, treating nobody one that never reaches a threshold.
    checked |= {"all": (outcome, np.ones(outcome.size)), "none": (outcome, np.zeros(outcome.size))}
    nobody = np.zeros((outcome.size, thresholds.size), dtype=bool)
    weights = _weights(band, outcome.size, n_resamples, rng)
    curves = []
    for name, (_, p) in checked.items():
        value, low, high = _difference(outcome, (p[:, None] >= thresholds, nobody), thresholds, weights)
        if name == "none":
            low, high = value, value
        columns = {"threshold": thresholds, "net_benefit": value, "low": low, "high": high}
        curves.append(pd.DataFrame({"model": name} | columns))
    return pd.concat(curves, ignore_index=True)


def net_benefit_difference(
    y: ArrayLike,
    p_a: ArrayLike,
    p_b: ArrayLike,
    thresholds: ArrayLike,
    *,
    band: str = "wilson",
    n_resamples: int = 0,
    rng: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Net benefit of model a minus that of model b on the same patients, with a pointwise 95 % band.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p_a, p_b : array_like, shape (n,)
        Predicted probabilities.
    thresholds, band, n_resamples, rng
        As for `decision_curve`.

    Returns
    -------
    DataFrame
        `threshold, difference, low, high`; all 0 for identical probabilities.

    Raises
    ------
    ValueError
        As `decision_curve`.

    References
    ----------
    Vickers AJ, Cronin AM, Elkin EB, Gonen M. BMC Med Inform Decis Mak 2008;8:53.
    """
    thresholds = checks.strictly_inside(thresholds, "thresholds")
    outcome, a = checks.outcome_and_probability(y, p_a, "p_a")
    _, b = checks.outcome_and_probability(y, p_b, "p_b")
    treated = (a[:, None] >= thresholds, b[:, None] >= thresholds)
    weights = _weights(band, outcome.size, n_resamples, rng)
    value, low, high = _difference(outcome, treated, thresholds, weights)
    if np.array_equal(a, b):
        low, high = value, value
    return pd.DataFrame({"threshold": thresholds, "difference": value, "low": low, "high": high})


def _weights(band: str, n: int, n_resamples: int, rng: np.random.Generator | None) -> NDArray | None:
    """Share of each patient in each resample, shape (n_resamples, n); None where no bootstrap is asked for."""
    if band not in ("wilson", "bootstrap"):
        raise ValueError(f"band must be 'wilson' or 'bootstrap', got {band!r}.")
    if band == "wilson":
        return None
    checks.at_least(n_resamples, "n_resamples", 1)
    return checks.generator(rng).multinomial(n, np.full(n, 1 / n), size=n_resamples) / n


def _difference(
    y: NDArray, treated: tuple[NDArray, NDArray], thresholds: NDArray, weights: NDArray | None
) -> tuple[NDArray, NDArray, NDArray]:
    """Net benefit of the first rule minus that of the second, with limits, each of shape (t,)."""
    first, second = treated
    event, odds = y[:, None] == 1, _odds(thresholds)
    if weights is not None:
        gain = (first.astype(float) - second) * np.where(event, 1.0, -odds)
        low, high = percentile_interval(weights @ gain)
        return gain.mean(axis=0), low, high
    cells = (first & ~second & event, first & ~second & ~event, second & ~first & event, second & ~first & ~event)
    one = np.ones(thresholds.size)
    used = 4 if second.any() else 2  # a rule that treats nobody has no cells of its own
    counts = np.stack([cell.sum(axis=0) for cell in cells[:used]])
    return combination_interval(counts, np.stack([one, -odds, -one, odds][:used]), y.size)


def _odds(thresholds: NDArray) -> NDArray[np.float64]:
    return thresholds / (1 - thresholds)
