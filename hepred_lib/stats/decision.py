"""What acting on a model is worth: net benefit, and how a second model reclassifies the patients.

At a threshold probability t a patient is treated when p >= t. Whoever picks t weighs one false positive as t / (1 - t)
of a true positive; *net benefit* counts true positives per patient after paying for the false ones in that currency.

Net reclassification (NRI) and integrated discrimination improvement (IDI) are reported because reviewers ask.
**Caution.** Both can be positive for a useless predictor when the larger model is miscalibrated, and neither is a
proper score: a difference of AUC, of Brier score or of net benefit, and the likelihood-ratio test, should carry the
argument. Their usual standard errors are wrong when a model was fitted on the same patients; use them on test patients
only.

Sources: Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-574. Vickers AJ, Cronin AM, Elkin EB, Gonen M. BMC Med
Inform Decis Mak 2008;8:53. Pencina MJ et al. Stat Med 2011;30:11-21.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import bootstrap_indices, percentile_interval
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


def decision_curve(y: ArrayLike, predictions: Mapping[str, ArrayLike], thresholds: ArrayLike) -> pd.DataFrame:
    """Net benefit of several models, of treating all and of treating none, with pointwise 95 % bands.

    The bands combine the Wilson intervals of true and false positives; they cover about 95 % with twenty events, where
    the bootstrap's percentiles cover 92-94 % (benchmarks/coverage.py).

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    predictions : mapping of str to array_like, shape (n,)
        Predicted probabilities by model.
    thresholds : array_like, shape (t,)
        Strictly between 0 and 1.

    Returns
    -------
    DataFrame
        `model, threshold, net_benefit, low, high`; the models in their order, then "all" and "none" (certainly 0).

    Raises
    ------
    ValueError
        As `net_benefit`; for a model named "all" or "none".

    References
    ----------
    Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-574. Band: `operating_point.combination_interval`.
    """
    if reserved := {"all", "none"} & set(predictions):
        raise ValueError(
            f"predictions must not name a model {' or '.join(sorted(reserved))}: that is a reference line."
        )
    thresholds = checks.strictly_inside(thresholds, "thresholds")
    checked = {name: checks.outcome_and_probability(y, p, name)[1] for name, p in predictions.items()}
    outcome = checks.outcome(y)
    # Treating everybody is a model that is always sure, treating nobody one that never reaches a threshold.
    checked |= {"all": np.ones(outcome.size), "none": np.zeros(outcome.size)}
    nobody = np.zeros((outcome.size, thresholds.size), dtype=bool)
    curves = []
    for name, p in checked.items():
        value, low, high = _difference(outcome, p[:, None] >= thresholds, nobody, thresholds)
        if name == "none":
            low, high = value, value
        columns = {"threshold": thresholds, "net_benefit": value, "low": low, "high": high}
        curves.append(pd.DataFrame({"model": name} | columns))
    return pd.concat(curves, ignore_index=True)


def net_benefit_difference(y: ArrayLike, p_a: ArrayLike, p_b: ArrayLike, thresholds: ArrayLike) -> pd.DataFrame:
    """Net benefit of model a minus that of model b on the same patients, with a pointwise 95 % band.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p_a, p_b : array_like, shape (n,)
        Predicted probabilities.
    thresholds : array_like, shape (t,)
        Strictly between 0 and 1.

    Returns
    -------
    DataFrame
        `threshold, difference, low, high`; all 0 for identical probabilities.

    Raises
    ------
    ValueError
        As `net_benefit`.

    References
    ----------
    Vickers AJ, Cronin AM, Elkin EB, Gonen M. BMC Med Inform Decis Mak 2008;8:53.
    """
    thresholds = checks.strictly_inside(thresholds, "thresholds")
    outcome, a = checks.outcome_and_probability(y, p_a, "p_a")
    _, b = checks.outcome_and_probability(y, p_b, "p_b")
    value, low, high = _difference(outcome, a[:, None] >= thresholds, b[:, None] >= thresholds, thresholds)
    if np.array_equal(a, b):
        low, high = value, value
    return pd.DataFrame({"threshold": thresholds, "difference": value, "low": low, "high": high})


def net_reclassification(
    y: ArrayLike,
    p_old: ArrayLike,
    p_new: ArrayLike,
    *,
    thresholds: ArrayLike,
    n_resamples: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Net reclassification improvement of new over old probabilities; read the module's caution first.

    A patient moves when the risk category changes.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p_old, p_new : array_like, shape (n,)
        Predicted probabilities of the same patients.
    thresholds : array_like
        Boundaries between risk categories, strictly between 0 and 1; a patient at one belongs above.
    n_resamples : int
        Stratified by outcome; for the 95 % percentile interval.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        `value`, between -2 and 2, with its interval `low, high`, and its two parts: the gain in `events` and in
        `non_events`.

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, a probability is outside [0, 1], a threshold outside (0, 1), or lengths
        differ.

    References
    ----------
    Pencina MJ et al. Stat Med 2011;30:11-21. Caution: Pepe MS et al. Stat Biosci 2015;7:282-295; Hilden J, Gerds TA.
    Stat Med 2014;33:3405-3414.
    """
    outcome, old, new = _checked(y, p_old, p_new)
    limits = np.unique(checks.strictly_inside(thresholds, "thresholds"))
    move = np.sign(np.searchsorted(limits, new, "right") - np.searchsorted(limits, old, "right"))
    return _bootstrap(outcome, move, n_resamples=n_resamples, rng=rng)


def reclassification_table(y: ArrayLike, p_old: ArrayLike, p_new: ArrayLike, thresholds: ArrayLike) -> pd.DataFrame:
    """How many patients move between risk strata, events and non-events apart.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p_old, p_new : array_like, shape (n,)
    thresholds : array_like, shape (k - 1,)
        Boundaries between the k strata, strictly between 0 and 1; a patient at one belongs above.

    Returns
    -------
    DataFrame
        `outcome, old, new, patients, share`: one row for each outcome and pair of strata (0 is the lowest), the share
        of the patients with that outcome.

    Raises
    ------
    ValueError
        As `net_reclassification`.

    Examples
    --------
    >>> reclassification_table([0, 1], [0.1, 0.1], [0.1, 0.9], [0.5])["patients"].tolist()
    [1, 0, 0, 0, 0, 1, 0, 0]
    """
    outcome, old, new = _checked(y, p_old, p_new)
    limits = np.unique(checks.strictly_inside(thresholds, "thresholds"))
    before, after = (np.searchsorted(limits, p, "right") for p in (old, new))
    k, rows = limits.size + 1, []
    for label in (0, 1):
        moved = np.zeros((k, k), dtype=int)
        np.add.at(moved, (before[outcome == label], after[outcome == label]), 1)
        rows += [(label, i, j, int(moved[i, j]), moved[i, j] / moved.sum()) for i in range(k) for j in range(k)]
    return pd.DataFrame(rows, columns=["outcome", "old", "new", "patients", "share"])


def integrated_discrimination(
    y: ArrayLike, p_old: ArrayLike, p_new: ArrayLike, *, n_resamples: int, rng: np.random.Generator
) -> dict[str, float]:
    """Integrated discrimination improvement of new over old probabilities; read the module's caution first.

    The mean change of the probability in events minus that in non-events.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    p_old, p_new : array_like, shape (n,)
    n_resamples, rng
        As for `net_reclassification`.

    Returns
    -------
    dict
        As `net_reclassification`, between -2 (from right everywhere to wrong everywhere) and 2.

    Raises
    ------
    ValueError
        As `net_reclassification`.

    References
    ----------
    Pencina MJ et al. Stat Med 2008;27:157-172. Caution: Hilden J, Gerds TA. Stat Med 2014;33:3405-3414.
    """
    outcome, old, new = _checked(y, p_old, p_new)
    return _bootstrap(outcome, new - old, n_resamples=n_resamples, rng=rng)


def _difference(y: NDArray, first: NDArray, second: NDArray, thresholds: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Net benefit of the first rule minus that of the second, with limits, each of shape (t,)."""
    event, odds = y[:, None] == 1, _odds(thresholds)
    cells = (first & ~second & event, first & ~second & ~event, second & ~first & event, second & ~first & ~event)
    one = np.ones(thresholds.size)
    used = 4 if second.any() else 2  # a rule that treats nobody has no cells of its own
    counts = np.stack([cell.sum(axis=0) for cell in cells[:used]])
    return combination_interval(counts, np.stack([one, -odds, -one, odds][:used]), y.size)


def _odds(thresholds: NDArray) -> NDArray[np.float64]:
    return thresholds / (1 - thresholds)


def _checked(y: ArrayLike, p_old: ArrayLike, p_new: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    outcome, old = checks.outcome_and_probability(y, p_old, "p_old")
    return outcome, old, checks.outcome_and_probability(y, p_new, "p_new")[1]


def _bootstrap(y: NDArray, change: NDArray, *, n_resamples: int, rng: np.random.Generator) -> dict[str, float]:
    """Mean upward change in events, mean downward change in non-events, and their sum with its interval."""
    checks.at_least(n_resamples, "n_resamples", 1)
    gain = np.where(y == 1, change / y.sum(), -change / (1 - y).sum())
    low, high = percentile_interval(gain[bootstrap_indices(y, n_resamples, rng)].sum(axis=1))
    events, non_events = (float(gain[y == label].sum()) for label in (1, 0))
    return {"value": events + non_events, "low": low, "high": high, "events": events, "non_events": non_events}
