"""Discrimination: the area under the ROC curve (AUC), its interval, and comparisons of several.

The AUC is the probability that a patient with the outcome scores above one without it, ties counting one half. A
patient's *placement* is the share of the other class that it beats; DeLong's variances are those of placements. A
patient is called positive when the score is *at least* the threshold. Where DeLong's variance is zero or does not exist
(AUC 0 or 1, one patient in a class, a constant score), the standard error and the interval are NaN.

Sources: DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845. Hanley JA, McNeil BJ. Radiology
1982;143:29-36.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import chi2, norm, rankdata

from hepred_lib.stats import checks
from hepred_lib.stats.bootstrap import bootstrap_indices, percentile_interval, resample_counts


@dataclass(frozen=True)
class AucInterval:
    """An AUC with its interval and standard error."""

    auc: float
    low: float
    high: float
    standard_error: float


@dataclass(frozen=True)
class AucDifference:
    """AUC of a minus AUC of b, its interval, DeLong's z and the two-sided p."""

    difference: float
    low: float
    high: float
    z: float
    p: float


@dataclass(frozen=True)
class RocPoints:
    """The ROC curve's corners, by falling threshold; the first threshold is +inf (nobody positive)."""

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    threshold: NDArray[np.float64]


@dataclass(frozen=True)
class AucContrast:
    """Test that several AUCs on the same patients are equal.

    Attributes
    ----------
    covariance : ndarray, shape (k, k)
        DeLong's.
    statistic, df, p
        Wald's chi-squared; df is the number of contrasts that vary. Scores that all order the patients alike have
        statistic 0, df 0 and p 1; without a variance all three are NaN.
    """

    covariance: NDArray[np.float64]
    statistic: float = np.nan
    df: float = np.nan
    p: float = np.nan


def auc(y: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve, ties counting one half.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score : array_like, shape (n,)
        Higher for those expected to have the outcome.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, a score is not finite, or the lengths differ.

    References
    ----------
    Hanley JA, McNeil BJ. Radiology 1982;143:29-36.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    above, _ = _placements_of(y, score)
    return float(above.mean())


def expected_auc(score: ArrayLike, p: ArrayLike) -> float:
    """AUC of a score over all outcomes that patients with these probabilities could have had, ties counting one half.

    In a simulation the probability of the outcome is known. Given what it is conditioned on, outcome and score are
    independent, so that weighing each pair of patients by the probability that the first has the outcome and the second
    has not leaves the luck of one draw of outcomes out of a comparison.

    Parameters
    ----------
    score : array_like, shape (n,)
    p : array_like, shape (n,)
        Probability of the outcome given at least all that acts on both outcome and score. For a score of the image,
        that given the image: whatever else acts on the outcome then averages out as well.

    Examples
    --------
    >>> expected_auc([1, 2], [0.0, 1.0]), expected_auc([2, 1], [0.0, 1.0]), expected_auc([1, 1], [0.3, 0.6])
    (1.0, 0.0, 0.5)
    """
    p = np.asarray(p, dtype=float)
    _, place = np.unique(np.asarray(score, dtype=float), return_inverse=True)
    without = np.bincount(place, weights=1 - p)
    beaten = np.cumsum(without) - without / 2
    with_themselves = (p * (1 - p)).sum()
    return float(((p * beaten[place]).sum() - with_themselves / 2) / (p.sum() * (1 - p).sum() - with_themselves))


def auc_interval(y: ArrayLike, score: ArrayLike, level: float = 0.95, method: str = "wald") -> AucInterval:
    """AUC with DeLong's standard error and interval.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score : array_like, shape (n,)
    level : float
        Coverage, between 0 and 1.
    method : {"wald", "logit"}
        "wald" is symmetric, clipped to [0, 1]; "logit" is symmetric on the logit scale, stays inside (0, 1) and covers
        better with few events.

    Returns
    -------
    AucInterval

    Raises
    ------
    ValueError
        As `auc`; also for an unknown method or a level outside (0, 1).

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845. Mid-ranks: Sun X, Xu W. IEEE Signal Process
    Lett 2014;21:1389-1393. Logit interval: Pepe MS. The statistical evaluation of medical tests. Oxford 2003.
    """
    above, below = _placements_of(y, score)
    if method not in ("wald", "logit"):
        raise ValueError(f"method must be 'wald' or 'logit', got {method!r}.")
    estimate, error = float(above.mean()), _positive_or_nan(float(np.sqrt(delong_variance(above, below))))
    reach = checks.normal_quantile(level) * error
    if np.isnan(reach):
        return AucInterval(estimate, np.nan, np.nan, np.nan)
    if method == "wald":
        low, high = np.clip([estimate - reach, estimate + reach], 0, 1)
    else:
        low, high = expit(logit(estimate) + np.array([-reach, reach]) / (estimate * (1 - estimate)))
    return AucInterval(estimate, float(low), float(high), error)


def compare_auc(y: ArrayLike, score_a: ArrayLike, score_b: ArrayLike) -> AucDifference:
    """Paired DeLong test: AUC of `score_a` minus AUC of `score_b` on the same patients, with its 95 % interval.

    Scores that order the patients alike differ by 0 with p 1. Where the variance does not exist although the AUCs
    differ (one of them 1 and the other constant, one patient in a class) all but the difference are NaN.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score_a, score_b : array_like, shape (n,)

    Returns
    -------
    AucDifference

    Raises
    ------
    ValueError
        As `auc`.

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.
    """
    above_a, below_a = _placements_of(y, score_a, "score_a")
    above_b, below_b = _placements_of(y, score_b, "score_b")
    if np.array_equal(above_a, above_b) and np.array_equal(below_a, below_b):
        return AucDifference(0.0, 0.0, 0.0, 0.0, 1.0)
    difference = float(above_a.mean() - above_b.mean())
    error = _positive_or_nan(float(np.sqrt(delong_variance(above_a - above_b, below_a - below_b))))
    reach, z = checks.normal_quantile(0.95) * error, difference / error
    return AucDifference(difference, difference - reach, difference + reach, z, float(2 * norm.sf(abs(z))))


def compare_aucs(y: ArrayLike, scores: Mapping[str, ArrayLike]) -> AucContrast:
    """One test that two or more AUCs on the same patients are equal, before any pair is looked at.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    scores : mapping of str to array_like, shape (n,)
        At least two.

    Returns
    -------
    AucContrast
        The covariance is NaN with one patient in a class.

    Raises
    ------
    ValueError
        As `auc`, the score at fault named; with fewer than two scores.

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.
    """
    if len(scores) < 2:
        raise ValueError(f"scores must name at least two scores, got {list(scores)}.")
    parts = [_placements_of(y, score, name) for name, score in scores.items()]
    above, below = (np.stack(part) for part in zip(*parts, strict=True))
    aucs = above.mean(axis=1)
    if min(above.shape[1], below.shape[1]) < 2:
        return AucContrast(np.full((len(aucs), len(aucs)), np.nan))
    covariance = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    contrast = np.eye(len(aucs))[1:] - np.eye(len(aucs))[0]
    size, axes = np.linalg.eigh(contrast @ covariance @ contrast.T)
    varies, along = size > 1e-12 * max(size.max(), 1e-12), axes.T @ contrast @ aucs
    if np.abs(along[~varies]).max(initial=0.0) > 1e-9:  # a certain difference is no test
        return AucContrast(covariance)
    statistic, df = float(np.sum(along[varies] ** 2 / size[varies])), int(varies.sum())
    return AucContrast(covariance, statistic, df, float(chi2.sf(statistic, df)) if df else 1.0)


def roc_points(y: ArrayLike, score: ArrayLike) -> RocPoints:
    """ROC curve: one point for each distinct score, from nobody positive (threshold +inf) to everybody.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score : array_like, shape (n,)

    Returns
    -------
    RocPoints
        Three arrays of one length, at most n + 1.

    Raises
    ------
    ValueError
        As `auc`.
    """
    threshold, positives, negatives = counts_by_value(*checks.outcome_and_score(y, score))
    return RocPoints(_rising_share(negatives), _rising_share(positives), np.r_[np.inf, threshold])


def roc_band(
    y: ArrayLike, score: ArrayLike, false_positive_rate: ArrayLike, *, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Pointwise 95 % bootstrap band of sensitivity over a grid of false positive rates.

    Patients are resampled within each class; between its corners a curve is straight.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score : array_like, shape (n,)
    false_positive_rate : array_like, shape (g,)
        The grid, in [0, 1].
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    DataFrame
        `false_positive_rate, sensitivity, low, high`, g rows.

    Raises
    ------
    ValueError
        As `auc`, and for a grid outside [0, 1].
    """
    grid = checks.probabilities(false_positive_rate, "false_positive_rate")
    checks.at_least(n_resamples, "n_resamples", 1)
    checks.generator(rng)
    _, positives, negatives = counts_by_value(*checks.outcome_and_score(y, score))
    # Drawing patients with replacement is drawing counts of the distinct scores: no curve has to be sorted again.
    events, others = positives.sum(), negatives.sum()
    curves = [
        np.interp(
            grid,
            _rising_share(rng.multinomial(others, negatives / others)),
            _rising_share(rng.multinomial(events, positives / events)),
        )
        for _ in range(n_resamples)
    ]
    low, high = percentile_interval(curves)
    sensitivity = np.interp(grid, _rising_share(negatives), _rising_share(positives))
    return pd.DataFrame({"false_positive_rate": grid, "sensitivity": sensitivity, "low": low, "high": high})


def clustered_auc_interval(
    y: ArrayLike, score: ArrayLike, cluster: ArrayLike, *, n_resamples: int, rng: np.random.Generator
) -> AucInterval:
    """AUC over slices with a 95 % percentile interval from resampling whole patients.

    Slices of one head are alike, so that an interval which takes them for independent is too narrow. Resamples in which
    one class is absent have no AUC and are left out.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score : array_like, shape (n,)
    cluster : array_like, shape (n,)
        The patient of each slice.
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    AucInterval
        The standard error is the resamples' SD.

    Raises
    ------
    ValueError
        As `auc`, and for a slice without a patient.

    References
    ----------
    Rutter CM. Acad Radiol 2000;7:413-419.
    """
    y, score = checks.outcome_and_score(y, score)
    checks.at_least(n_resamples, "n_resamples", 2)
    checks.generator(rng)
    checks.same_patients(y, cluster, "y and cluster")
    code, names = pd.factorize(np.asarray(cluster))
    if (code < 0).any():
        raise ValueError(f"cluster must name a patient for every slice, got none at position {np.argmin(code)}.")
    wins = _wins_between_clusters(y, score, code)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_resamples).astype(float)
    pairs = (drawn @ np.bincount(code, y, len(names))) * (drawn @ np.bincount(code, 1 - y, len(names)))
    resampled = (((drawn @ wins) * drawn).sum(axis=1)[pairs > 0]) / pairs[pairs > 0]
    estimate = float(wins.sum() / (y.sum() * (1 - y).sum()))
    if resampled.size < 2 or np.ptp(resampled) == 0:
        return AucInterval(estimate, np.nan, np.nan, np.nan)
    return AucInterval(estimate, *percentile_interval(resampled), float(resampled.std(ddof=1)))


def bootstrap_auc_interval(
    y: ArrayLike, score: ArrayLike, *, n_resamples: int, rng: np.random.Generator
) -> AucInterval:
    """AUC with a 95 % percentile interval from a bootstrap stratified by outcome.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score : array_like, shape (n,)
    n_resamples : int
        At least 2.
    rng : numpy.random.Generator

    Returns
    -------
    AucInterval
        The standard error is the resamples' SD. Without DeLong's variance (AUC 0 or 1, one patient in a class) the
        resamples would pretend certainty: standard error and interval are NaN.

    Raises
    ------
    ValueError
        As `auc`; for a number of resamples below 2.

    References
    ----------
    Carpenter J, Bithell J. Stat Med 2000;19:1141-1164.
    """
    draws = resampled_aucs(y, [score], n_resamples=n_resamples, rng=rng)[0]
    delong = auc_interval(y, score)
    if np.isnan(delong.standard_error):
        return delong
    return AucInterval(delong.auc, *percentile_interval(draws), float(draws.std(ddof=1)))


def bootstrap_auc_difference(
    y: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, *, n_resamples: int, rng: np.random.Generator
) -> AucDifference:
    """AUC of `score_a` minus AUC of `score_b` on the same patients, resampled together within each class.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score_a, score_b : array_like, shape (n,)
    n_resamples, rng
        As for `bootstrap_auc_interval`.

    Returns
    -------
    AucDifference
        A 95 % percentile interval; z is the difference over the resamples' SD and p two-sided from the share of
        resamples on the other side of 0, at least 2 / (n_resamples + 1). Scores that order the patients alike have
        difference 0 and p 1.

    Raises
    ------
    ValueError
        As `bootstrap_auc_interval`.

    References
    ----------
    Davison, Hinkley. Bootstrap methods and their application, chapter 4. Cambridge 1997.
    """
    draws = np.subtract(*resampled_aucs(y, [score_a, score_b], n_resamples=n_resamples, rng=rng))
    low, high = percentile_interval(draws)
    difference = auc(y, score_a) - auc(y, score_b)
    if np.ptp(draws) < 1e-12:
        same = abs(difference) < 1e-12
        return AucDifference(difference, *((0.0, 0.0, 0.0, 1.0) if same else (np.nan,) * 4))
    tail = min(np.sum(draws <= 0), np.sum(draws >= 0))
    p = min(1.0, 2 * (tail + 1) / (draws.size + 1))
    return AucDifference(difference, low, high, float(difference / draws.std(ddof=1)), float(p))


def resampled_aucs(
    y: ArrayLike, scores: list[ArrayLike], *, n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """AUC of each score in stratified bootstrap resamples that all scores share.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    scores : list of k array_likes, shape (n,)
    n_resamples : int
        At least 2.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (k, n_resamples)

    Raises
    ------
    ValueError
        As `auc`; for a number of resamples below 2.
    """
    checks.generator(rng)
    checks.at_least(n_resamples, "n_resamples", 2)
    checked = [checks.outcome_and_score(y, score) for score in scores]
    outcome = checked[0][0]
    positive, negative = np.flatnonzero(outcome == 1), np.flatnonzero(outcome == 0)
    ladders = [_ladder(score[positive], score[negative]) for _, score in checked]
    size = max(1, _BLOCK // outcome.size)
    blocks = []
    for first in range(0, n_resamples, size):
        b = min(size, n_resamples - first)
        events, others = (resample_counts(bootstrap_indices(part.size, b, rng)) for part in (positive, negative))
        blocks.append([_weighted_auc(events, others, *ladder) for ladder in ladders])
    return np.concatenate(blocks, axis=1)


def placements(positive: NDArray, negative: NDArray) -> tuple[NDArray, NDArray]:
    """Share of the other class that each patient beats, for scores of shape (..., n_positive) and (..., n_negative)."""
    m, n = positive.shape[-1], negative.shape[-1]
    ranks = rankdata(np.concatenate([positive, negative], axis=-1), axis=-1)
    above = (ranks[..., :m] - rankdata(positive, axis=-1)) / n
    below = 1 - (ranks[..., m:] - rankdata(negative, axis=-1)) / m
    return above, below


def delong_variance(above: NDArray, below: NDArray) -> NDArray[np.float64] | float:
    """DeLong's variance of an AUC from its placements, or of a difference from the placements' differences."""
    m, n = above.shape[-1], below.shape[-1]
    if min(m, n) < 2:
        return np.nan
    return above.var(axis=-1, ddof=1) / m + below.var(axis=-1, ddof=1) / n


def counts_by_value(y: NDArray, score: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Distinct scores, falling, with the number of positives and of negatives at each."""
    value, code = np.unique(-score, return_inverse=True)
    positives = np.bincount(code, y, value.size).astype(np.int64)
    return -value, positives, np.bincount(code, minlength=value.size) - positives


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


# Numbers of a block of resamples: it should stay in the processor's cache.
_BLOCK = 500_000


def _placements_of(y: ArrayLike, score: ArrayLike, name: str = "score") -> tuple[NDArray, NDArray]:
    y, score = checks.outcome_and_score(y, score, name)
    return placements(score[y == 1], score[y == 0])


def _positive_or_nan(standard_error: float) -> float:
    return float(standard_error) if standard_error > 0 else float("nan")


def _rising_share(counts: NDArray) -> NDArray[np.float64]:
    return np.r_[0, np.cumsum(counts)] / counts.sum()


def _wins_between_clusters(y: NDArray, score: NDArray, code: NDArray) -> NDArray[np.float64]:
    """Pairs that the positives of cluster i win against the negatives of cluster j, ties one half: shape (i, j)."""
    n_clusters = code.max() + 1
    positive, owner = score[y == 1], code[y == 1]
    wins = np.zeros((n_clusters, n_clusters))
    for j in range(n_clusters):
        rival = np.sort(score[(y == 0) & (code == j)])
        beaten = (np.searchsorted(rival, positive, "left") + np.searchsorted(rival, positive, "right")) / 2
        wins[:, j] = np.bincount(owner, beaten, n_clusters)
    return wins


def _ladder(positive: NDArray, negative: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Order of the negatives, and how many of them lie below and not above each positive."""
    order = np.argsort(negative, kind="stable")
    rungs = negative[order]
    return order, np.searchsorted(rungs, positive, "left"), np.searchsorted(rungs, positive, "right")


def _weighted_auc(events: NDArray, others: NDArray, order: NDArray, below: NDArray, upto: NDArray) -> NDArray:
    cumulative = np.zeros((len(others), others.shape[1] + 1))
    np.cumsum(others[:, order], axis=1, out=cumulative[:, 1:])
    wins = cumulative[:, below] + cumulative[:, upto]
    return np.einsum("bi,bi->b", events, wins) / (2 * events.shape[1] * others.shape[1])


def _correlated_normals(n_simulations: int, size: int, correlation: float, rng: np.random.Generator) -> NDArray:
    """Standard normal pairs, shape (n_simulations, 2, size)."""
    noise = rng.standard_normal((n_simulations, 2, size))
    noise[:, 1] = correlation * noise[:, 0] + np.sqrt(1 - correlation**2) * noise[:, 1]
    return noise
