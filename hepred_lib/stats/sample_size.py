"""Sample sizes for a binary outcome: to develop a model, and to evaluate one on patients it has never seen.

"Parameters" are all coefficients *considered*, before any selection: a category of five levels counts four.

Sources: Riley RD et al. Stat Med 2019;38:1276-1296. Riley RD et al. BMJ 2020;368:m441. Riley RD et al. Stat Med
2021;40:4230-4251.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, logit

from hepred_lib.stats import checks
from hepred_lib.stats.discrimination import binormal_separation

OPTIMISM_IN_R2 = 0.05
RISK_HALF_WIDTH = 0.05


@dataclass(frozen=True)
class RileyMinimum:
    """Smallest development sample: patients and events in all, and patients by each criterion."""

    n: int
    events: int
    n_shrinkage: int
    n_optimism: int
    n_overall_risk: int


def riley_minimum(n_parameters: int, prevalence: float, cox_snell_r2: float, shrinkage: float = 0.9) -> RileyMinimum:
    """Smallest sample that meets three criteria at once.

    (i) a uniform shrinkage factor of at least `shrinkage`; (ii) an optimism of at most 0.05 in Nagelkerke's R2; (iii)
    the overall risk within 0.05 (95 % interval).

    Parameters
    ----------
    n_parameters : int
        Candidate coefficients, without the intercept.
    prevalence : float
        Share of patients with the outcome, between 0 and 1.
    cox_snell_r2 : float
        Anticipated R2 of Cox and Snell, between 0 and its maximum at this prevalence.
    shrinkage : float
        Between the R2 and 1.

    Returns
    -------
    RileyMinimum

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Riley RD et al. Stat Med 2019;38:1276-1296. Riley RD et al. BMJ 2020;368:m441.
    """
    k = checks.at_least(n_parameters, "n_parameters", 1)
    checks.between(prevalence, "prevalence", 0, 1)
    largest = float(-np.expm1(2 * _null_log_likelihood(prevalence)))
    r2 = checks.between(cox_snell_r2, "cox_snell_r2", 0, largest)
    checks.between(shrinkage, "shrinkage", r2, 1)
    by_criterion = (
        _n_for_shrinkage(k, r2, shrinkage),
        _n_for_shrinkage(k, r2, r2 / (r2 + OPTIMISM_IN_R2 * largest)),
        _whole((1.96 / RISK_HALF_WIDTH) ** 2 * prevalence * (1 - prevalence)),
    )
    n = max(by_criterion)
    return RileyMinimum(n, _whole(n * prevalence), *by_criterion)


def cox_snell_r2_from_auc(auc: float, prevalence: float) -> float:
    """R2 of Cox and Snell of a model of which only the AUC is published.

    The linear predictor is taken as normal in both classes with one SD, so that the logistic model is exact and R2 an
    integral: by Gauss-Hermite quadrature, where the reference simulates.

    Parameters
    ----------
    auc : float
        At least 0.5, below 1.
    prevalence : float
        Between 0 and 1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Riley RD, Van Calster B, Collins GS. Stat Med 2021;40:859-864.

    Examples
    --------
    >>> round(cox_snell_r2_from_auc(0.81, 21 / 107), 2)
    0.19
    """
    if not 0.5 <= auc < 1:
        raise ValueError(f"auc must lie in [0.5, 1), got {auc}.")
    checks.between(prevalence, "prevalence", 0, 1)
    log_odds, weight = _binormal_log_odds(prevalence, auc)
    others = log_odds.size // 2
    fitted = weight @ np.r_[log_expit(-log_odds[:others]), log_expit(log_odds[others:])]
    return float(1 - np.exp(-2 * (fitted - _null_log_likelihood(prevalence))))


def supported_parameters(n: int, prevalence: float, auc: float) -> int:
    """Number of candidate parameters that a development sample of `n` patients can carry by `riley_minimum`.

    Parameters
    ----------
    n : int
        Development patients with an outcome.
    prevalence : float
        Share of them with the outcome.
    auc : float
        Anticipated, above 0.5 and below 1.

    Returns
    -------
    int
        0 where not even one is supported.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    n = checks.at_least(n, "n", 1)
    r2 = cox_snell_r2_from_auc(checks.between(auc, "auc", 0.5, 1), prevalence)
    # The minimum rises with the parameters, by more than one patient for each.
    return bisect_left(range(1, n + 1), True, key=lambda k: riley_minimum(k, prevalence, r2).n > n)


@dataclass(frozen=True)
class ExternalMinimum:
    """Smallest evaluation sample: patients and events in all, and patients by each criterion (None: not asked)."""

    n: int
    events: int
    n_observed_expected: int
    n_slope: int
    n_auc: int
    n_net_benefit: int | None


def external_minimum(
    prevalence: float,
    auc: float,
    linear_predictor: ArrayLike | None = None,
    *,
    operating_point: tuple[float, float, float] | None = None,
    width: float = 0.2,
    auc_width: float = 0.1,
) -> ExternalMinimum:
    """Smallest sample in which a calibrated model's performance is estimated precisely enough.

    Parameters
    ----------
    prevalence, auc : float
        Anticipated in the new patients; the AUC above 0.5 and below 1.
    linear_predictor : array_like, shape (n,), optional
        The model's log odds in patients like those to come; without it, those of a calibrated model of this AUC whose
        log odds are normal within each outcome.
    operating_point : (sensitivity, specificity, threshold), optional
        For the standardized net benefit at this threshold.
    width : float
        Of the 95 % intervals of observed over expected, calibration slope and standardized net benefit.
    auc_width : float
        Of the AUC's.

    Returns
    -------
    ExternalMinimum

    Raises
    ------
    ValueError
        If an argument is out of range, or the log odds are all equal.

    Notes
    -----
    Standard errors of the ratio are taken to four decimals, as the authors' program does.

    References
    ----------
    Riley RD et al. Stat Med 2021;40:4230-4251. AUC: Newcombe RG. Stat Med 2006;25:559-573.

    Examples
    --------
    >>> external_minimum(0.2, 0.8).n_observed_expected
    1538
    """
    checks.between(prevalence, "prevalence", 0, 1)
    checks.between(auc, "auc", 0.5, 1)
    if linear_predictor is None:
        score, weight = _binormal_log_odds(prevalence, auc)
    else:
        score = checks.scores(linear_predictor, "linear_predictor")
        weight = np.full(score.size, 1 / score.size)
    information = expit(score) * expit(-score) * weight
    level, cross, square = (float(np.sum(information * score**power)) for power in (0, 1, 2))
    if not level * square - cross**2 > 1e-12:
        raise ValueError("linear_predictor must vary, got equal values.")
    z = checks.normal_quantile(0.95)
    ratio_error = np.ceil(np.arcsinh(width / 2) / z * 1e4) / 1e4
    sizes: dict[str, Any] = {
        "n_observed_expected": _whole((1 - prevalence) / (prevalence * ratio_error**2)),
        "n_slope": _whole(level / (level * square - cross**2) / (width / (2 * z)) ** 2),
        "n_auc": _n_for_auc(prevalence, auc, auc_width / (2 * z)),
        "n_net_benefit": None,
    }
    if operating_point is not None:
        sensitivity, specificity, threshold = operating_point
        cost = (1 - prevalence) / prevalence * threshold / (1 - checks.between(threshold, "threshold", 0, 1))
        variance = sensitivity * (1 - sensitivity) / prevalence + cost**2 * (1 - specificity) * (
            specificity / (1 - prevalence) + (1 - specificity) / (prevalence * (1 - prevalence))
        )
        sizes["n_net_benefit"] = _whole(variance / (width / (2 * z)) ** 2)
    n = max(size for size in sizes.values() if size is not None)
    return ExternalMinimum(n, _whole(n * prevalence), **sizes)


def _binormal_log_odds(prevalence: float, auc: float) -> tuple[NDArray, NDArray]:
    """Log odds of a calibrated model, normal within each outcome (those without it first), and their weights."""
    # Bayes: logit P(event | x) = logit(prevalence) + distance * x - distance^2 / 2, x ~ N(0, 1) or N(distance, 1).
    distance = binormal_separation(auc)
    node, weight = np.polynomial.hermite_e.hermegauss(101)
    others = logit(prevalence) + distance * node - distance**2 / 2
    weight = weight / weight.sum()
    return np.r_[others, others + distance**2], np.r_[(1 - prevalence) * weight, prevalence * weight]


def _n_for_auc(prevalence: float, auc: float, error: float) -> int:
    """Smallest n at which Newcombe's standard error of the AUC is as small as this."""

    def standard_error(n: int) -> float:
        half = n / 2 - 1
        spread = 1 + half * (1 - auc) / (2 - auc) + half * auc / (1 + auc)
        return float(np.sqrt(auc * (1 - auc) * spread / (n**2 * prevalence * (1 - prevalence))))

    return 2 + bisect_left(range(2, 2**62), True, key=lambda n: standard_error(n) <= error)


def _n_for_shrinkage(k: int, r2: float, shrinkage: float) -> int:
    return _whole(k / ((shrinkage - 1) * np.log1p(-r2 / shrinkage)))


def _null_log_likelihood(prevalence: float) -> float:
    """Log-likelihood per patient of a model that knows the prevalence alone."""
    return float(prevalence * np.log(prevalence) + (1 - prevalence) * np.log1p(-prevalence))


def _whole(value: float) -> int:
    return int(np.ceil(value - 1e-9))
