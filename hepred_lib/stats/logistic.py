"""One careful logistic regression: what cannot be estimated is refused, and named.

The intercept is named ``intercept`` and comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import ArrayLike
from scipy.special import expit

from hepred_lib.stats.coding import Array, Coding, check_outcome, refuse_missing, standardize, unscale
from hepred_lib.stats.irls import information_inverse, log_likelihood
from hepred_lib.stats.separation import firth, separating_columns


@dataclass(frozen=True)
class LogisticModel:
    """A fitted logistic regression.

    Attributes
    ----------
    names : tuple of str
        ``intercept``, then the coded columns; coefficients, standard errors and covariance follow this order.
    coefficients, standard_errors : ndarray, shape (q,)
        Log odds ratios per unit of each column; standard errors from the unpenalized information.
    log_likelihood, aic, bic : float
        Of the coefficients above, without penalty; bic uses the number of rows.
    covariance : ndarray, shape (q, q)
    method : str
        ``maximum likelihood`` or ``firth``.
    coding : Coding
    """

    names: tuple[str, ...]
    coefficients: Array
    standard_errors: Array
    log_likelihood: float
    aic: float
    bic: float
    covariance: Array
    method: str
    coding: Coding

    def linear_predictor(self, x: pd.DataFrame) -> Array:
        """Log odds of each row, shape (n,); missing values and unknown levels are refused."""
        coded = self.coding.matrix(x)
        refuse_missing(coded)
        return self.coefficients[0] + coded.to_numpy() @ self.coefficients[1:]

    def predict(self, x: pd.DataFrame) -> Array:
        """Probability of each row, shape (n,)."""
        return expit(self.linear_predictor(x))


def fit_logistic(x: pd.DataFrame, y: ArrayLike, *, separation: str = "refuse") -> LogisticModel:
    """Maximum-likelihood logistic regression with an intercept.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Numeric columns in their own units; categorical columns are coded against their first observed level.
    y : array, shape (n,)
        Outcome, 0 or 1, both present.
    separation : {"refuse", "firth"}
        What to do where no finite maximum exists: refuse, naming the columns, or maximize Firth's penalized
        likelihood instead. Data that do not separate are fitted by maximum likelihood in both cases.

    Returns
    -------
    LogisticModel

    Raises
    ------
    ValueError
        Missing values, one class, constant or collinear columns; separation unless it is answered.

    References
    ----------
    Albert, Anderson. Biometrika 1984;71:1-10 (when the maximum exists).
    Firth. Biometrika 1993;80:27-38. Heinze, Schemper. Stat Med 2002;21:2409-2419.

    Examples
    --------
    Three of four events where x = 1, one of four where x = 0: the log odds ratio is ln 9.

    >>> x = pd.DataFrame({"x": [1, 1, 1, 1, 0, 0, 0, 0]})
    >>> round(float(fit_logistic(x, [1, 1, 1, 0, 1, 0, 0, 0]).coefficients[1]), 6)
    2.197225
    """
    if separation not in ("refuse", "firth"):
        raise ValueError(f"separation must be 'refuse' or 'firth', got {separation!r}.")
    coding = Coding.of(x)
    coded = coding.matrix(x)
    outcome = check_outcome(x, y)
    rows, center, scale = standardize(coded)
    design = rows.T
    _refuse_collinear(design, coding.names)
    separating = separating_columns(design[:, 1:], outcome, coding.names)
    if separating and separation == "refuse":
        raise ValueError(
            f"No finite estimate exists: {', '.join(separating)} separate(s) y = 0 from y = 1; "
            "use separation='firth' or leave the column out."
        )
    scaled = firth(design, outcome) if separating else _maximum_likelihood(design, outcome)
    coefficients, covariance = unscale(scaled, information_inverse(design, scaled), center, scale)
    likelihood = float(log_likelihood(design @ scaled, outcome))
    return LogisticModel(
        names=("intercept", *coding.names),
        coefficients=coefficients,
        standard_errors=np.sqrt(np.diag(covariance)),
        log_likelihood=likelihood,
        aic=-2 * likelihood + 2 * scaled.size,
        bic=-2 * likelihood + np.log(outcome.size) * scaled.size,
        covariance=covariance,
        method="firth" if separating else "maximum likelihood",
        coding=coding,
    )


def _refuse_collinear(design: Array, names: tuple[str, ...]) -> None:
    tolerance = 1e-7 * len(design) ** 0.5
    ranks = [np.linalg.matrix_rank(design[:, :width], tol=tolerance) for width in range(1, design.shape[1] + 1)]
    dependent = [name for name, gained in zip(names, np.diff(ranks), strict=True) if not gained]
    if dependent:
        raise ValueError(f"Columns of x must not be collinear: {', '.join(dependent)} follow(s) from those before.")


def _maximum_likelihood(design: Array, y: Array) -> Array:
    result = sm.Logit(y, design).fit(method="newton", maxiter=100, tol=1e-12, disp=False, warn_convergence=False)
    return np.asarray(result.params)
