"""Comparisons beside the paired DeLong test of `discrimination`: paired calls, nested fits, the power of that test."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, chi2, norm

from hepred_lib.stats import checks
from hepred_lib.stats.discrimination import delong_variance, placements


def mcnemar_exact(a: ArrayLike, b: ArrayLike) -> float:
    """Exact two-sided p of McNemar's test that two rules are right (or positive) equally often on the same patients.

    Only patients on whom the rules disagree count; without any, p is 1.

    Parameters
    ----------
    a, b : array_like of bool or 0 and 1, shape (n,)
        For each patient, whether the rule was right.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a value is not 0 or 1, or the lengths differ.

    References
    ----------
    McNemar Q. Psychometrika 1947;12:153-157.

    Examples
    --------
    >>> mcnemar_exact([1, 1, 0, 0, 0], [1, 1, 1, 1, 1])
    0.25
    """
    checks.same_patients(a, b, "a and b")
    a, b = _calls(a, "a"), _calls(b, "b")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def likelihood_ratio_p(log_likelihood_small: float, log_likelihood_large: float, degrees_of_freedom: int = 1) -> float:
    """P value of the likelihood-ratio test of a model within a larger one.

    Parameters
    ----------
    log_likelihood_small, log_likelihood_large : float
        Of the nested and of the larger model, fitted to the same patients.
    degrees_of_freedom : int
        Coefficients that only the larger model has.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the larger model fits worse than the nested one, which a maximum cannot.

    References
    ----------
    Wilks SS. Ann Math Stat 1938;9:60-62.
    """
    df = checks.at_least(degrees_of_freedom, "degrees_of_freedom", 1)
    statistic = 2 * (log_likelihood_large - log_likelihood_small)
    if not statistic >= -1e-6:
        raise ValueError(
            "log_likelihood_large must be at least log_likelihood_small, "
            f"got {log_likelihood_large} and {log_likelihood_small}."
        )
    return float(chi2.sf(max(statistic, 0.0), df))


def binormal_separation(auc: float) -> float:
    """Distance between the class means, in within-class SDs, of two normal classes with this AUC.

    Parameters
    ----------
    auc : float
        Between 0 and 1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the AUC is outside (0, 1).

    Examples
    --------
    >>> binormal_separation(0.5)
    0.0
    """
    return float(np.sqrt(2) * norm.ppf(checks.between(auc, "auc", 0, 1)))


def combination_correlation(auc_part: float, auc_combined: float) -> float:
    """Within-class correlation of a normal score with the best linear combination that it is part of.

    Parameters
    ----------
    auc_part, auc_combined : float
        Of the part and, not smaller, of the combination; between 0.5 and 1.

    Returns
    -------
    float
        The ratio of the two separations.

    Raises
    ------
    ValueError
        If the AUCs are out of range or order.

    References
    ----------
    Su JQ, Liu JS. J Am Stat Assoc 1993;88:1350-1355.
    """
    checks.between(auc_combined, "auc_combined", 0.5, 1)
    if not 0.5 <= auc_part <= auc_combined:
        raise ValueError(f"auc_part must lie between 0.5 and auc_combined {auc_combined}, got {auc_part}.")
    return binormal_separation(auc_part) / binormal_separation(auc_combined)


def implied_correlation(auc_a: float, auc_b: float, auc_combined: float) -> float:
    """Within-class correlation of two normal scores whose best linear combination has this AUC.

    The more two scores share, the less their combination gains. Of the two solutions this is the lower one, in which
    both scores carry a positive weight.

    Parameters
    ----------
    auc_a, auc_b, auc_combined : float
        Of the two scores and, larger than both, of their combination; between 0.5 and 1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the AUCs are out of range or order.

    References
    ----------
    Su JQ, Liu JS. J Am Stat Assoc 1993;88:1350-1355.
    """
    a, b = combination_correlation(auc_a, auc_combined), combination_correlation(auc_b, auc_combined)
    return float(a * b - np.sqrt((1 - a**2) * (1 - b**2)))


def delong_power(
    aucs: tuple[float, float],
    correlation: float,
    *,
    n_positive: int,
    n_negative: int,
    n_simulations: int,
    rng: np.random.Generator,
) -> float:
    """Power of the paired DeLong test at the 5 % level, by simulation of binormal scores.

    Parameters
    ----------
    aucs : (float, float)
        True AUCs of the two scores.
    correlation : float
        Of the two scores within each class, in (-1, 1).
    n_positive, n_negative : int
        Patients with and without the outcome, at least 2 each.
    n_simulations : int
        The Monte Carlo error is at most 0.5 / sqrt(n_simulations).
    rng : numpy.random.Generator

    Returns
    -------
    float
        Share of simulated samples with p < 0.05.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.
    """
    checks.between(correlation, "correlation", -1, 1)
    sizes = checks.at_least(n_positive, "n_positive", 2), checks.at_least(n_negative, "n_negative", 2)
    means = np.array([[binormal_separation(value)] for value in aucs])
    n_simulations = checks.at_least(n_simulations, "n_simulations", 1)
    positive, negative = (_correlated_normals(n_simulations, size, correlation, rng) for size in sizes)
    above, below = placements(positive + means, negative)
    above, below = above[:, 0] - above[:, 1], below[:, 0] - below[:, 1]
    standard_error = np.sqrt(delong_variance(above, below))
    # Two samples ordered alike have no difference and no variance: not significant.
    return float(np.mean(np.abs(above.mean(axis=-1)) > norm.ppf(0.975) * standard_error))


def _correlated_normals(n_simulations: int, size: int, correlation: float, rng: np.random.Generator) -> NDArray:
    """Standard normal pairs, shape (n_simulations, 2, size)."""
    noise = rng.standard_normal((n_simulations, 2, size))
    noise[:, 1] = correlation * noise[:, 0] + np.sqrt(1 - correlation**2) * noise[:, 1]
    return noise


def _calls(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be one-dimensional and hold 0 and 1 only, got {array[:5].tolist()}.")
    return array.astype(bool)
