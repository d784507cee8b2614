"""How much a patient's probability would change with another sample of the same size.

The models are those of the bootstrap resamples, each made by the whole procedure (imputation, selection, fit), before
shrinkage; all are applied to the development patients. What varies between them is what the sample decided by chance.

Source: Riley RD, Collins GS. Biom J 2023;65:2200302.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepred_lib.stats import checks
from hepred_lib.stats.calibration import read_curve


def patient_instability(p: ArrayLike, resampled: ArrayLike, threshold: float) -> pd.DataFrame:
    """Each patient's probability beside those of the resamples' models.

    Parameters
    ----------
    p : array_like, shape (n,)
        Of the model itself, before shrinkage.
    resampled : array_like, shape (b, n)
        Of the resamples' models, in the same patients.
    threshold : float
        Positive when p >= threshold.

    Returns
    -------
    DataFrame
        `p`; `low, high`, the 2.5th and 97.5th percentiles over the resamples; `error`, the mean absolute difference;
        `changed`, the share of the resamples that classify the patient otherwise.

    Raises
    ------
    ValueError
        If a probability is no number in [0, 1], the shapes do not fit, or the threshold is NaN.

    References
    ----------
    Riley RD, Collins GS. Biom J 2023;65:2200302.

    Examples
    --------
    >>> patient_instability([0.3], [[0.2], [0.6]], 0.5)[["error", "changed"]].round(2).values.tolist()
    [[0.2, 0.5]]
    """
    own, others = _checked(p, resampled)
    if np.isnan(threshold):
        raise ValueError("threshold must be a number, got NaN.")
    low, high = np.quantile(others, (0.025, 0.975), axis=0)
    changed = ((others >= threshold) != (own >= threshold)).mean(axis=0)
    error = np.abs(others - own).mean(axis=0)
    return pd.DataFrame({"p": own, "low": low, "high": high, "error": error, "changed": changed})


def mean_absolute_prediction_error(p: ArrayLike, resampled: ArrayLike) -> float:
    """MAPE: the mean over patients and resamples of the absolute difference of the probabilities.

    Parameters
    ----------
    p, resampled
        As for `patient_instability`.

    Examples
    --------
    >>> mean_absolute_prediction_error([0.25, 0.5], [[0.5, 0.5], [0.25, 0.25]])
    0.125
    """
    own, others = _checked(p, resampled)
    return float(np.abs(others - own).mean())


def calibration_instability(
    y: ArrayLike, resampled: ArrayLike, grid: ArrayLike, *, most: int = 50
) -> list[NDArray[np.float64]]:
    """Smooth calibration curves of the resamples' models in the development patients, at most as many as asked.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    resampled : array_like, shape (b, n)
    grid : array_like, shape (g,)
        Probabilities at which the curves are read.
    most : int

    Returns
    -------
    list of ndarray, shape (g,)
        Observed frequency by predicted probability, NaN outside the range of the predictions; a model with one
        probability for most patients has no curve and is left out.
    """
    curves, outcome, places = [], checks.outcome(y), np.asarray(grid, dtype=float)
    for one in np.asarray(resampled, dtype=float)[: checks.at_least(most, "most", 1)]:
        found = read_curve(outcome, np.clip(one, 1e-9, 1 - 1e-9), places)
        curves += [found] if np.isfinite(found).any() else []
    return curves


def _checked(p: ArrayLike, resampled: ArrayLike) -> tuple[NDArray, NDArray]:
    own, others = np.asarray(p, dtype=float), np.asarray(resampled, dtype=float)
    if own.ndim != 1 or others.ndim != 2 or not others.size or others.shape[1] != own.size:
        raise ValueError(f"resampled must hold a row of {own.size} probabilities a model, got shape {others.shape}.")
    for name, values in (("p", own), ("resampled", others)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} must hold probabilities from 0 to 1.")
    return own, others
