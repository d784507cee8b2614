"""Assumptions of a logistic model: events per parameter, collinearity, and linearity of each number's effect.

A predictor is *collinear* where it follows from others, and its variance inflated in proportion. *Linearity* is tested
by the non-linear terms of a restricted cubic spline, which is linear outside its outer knots.

Sources: Harrell FE. Regression modeling strategies, 2nd ed. Springer 2015. Fox J, Monette G. J Am Stat Assoc
1992;87:178-183.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from hepred_lib.stats import checks
from hepred_lib.stats.curves import Basis, spline_basis, spline_knots
from hepred_lib.stats.logistic import NEGLIGIBLE, Coding, check_outcome, fit_logistic, standardize


def candidate_parameters(x: pd.DataFrame, terms: Sequence[str]) -> int:
    """Coefficients among which a selection chooses: of a category one for each level but its first, of a spline two.

    Parameters
    ----------
    x : DataFrame
        The columns that the terms are made of.
    terms : sequence of str

    Examples
    --------
    >>> candidate_parameters(pd.DataFrame({"a": range(9), "b": range(9)}), ("a", "spline(b)"))
    3
    """
    coding = Coding.of(x)
    return len(Basis.fit(coding, tuple(terms), coding.matrix(x).to_numpy()).names)


def events_per_parameter(y: ArrayLike, n_parameters: int) -> float:
    """Patients of the rarer outcome for each candidate coefficient.

    A rule of thumb only: `sample_size.riley_minimum` asks what really matters.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    n_parameters : int
        Coefficients considered, before any selection, without the intercept.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `y` is not 0/1 with both present, or the number is below 1.

    References
    ----------
    Van Smeden M et al. BMC Med Res Methodol 2016;16:163.

    Examples
    --------
    >>> events_per_parameter([1, 0, 0, 1, 0], 4)
    0.5
    """
    y = checks.outcome(y)
    return float(min(y.sum(), y.size - y.sum()) / checks.at_least(n_parameters, "n_parameters", 1))


def variance_inflation(x: pd.DataFrame) -> pd.DataFrame:
    """How much the other predictors inflate the variance of each: the generalized factor of Fox and Monette.

    For a number it is the usual factor 1 / (1 - R2). For a category it is that of the whole block, and
    `per_df = gvif ** (1 / (2 df))` compares with the square root of the usual one.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Complete.

    Returns
    -------
    DataFrame
        `predictor, df, gvif, per_df`; infinite for a predictor that follows from the others.

    Raises
    ------
    ValueError
        If a value is missing, a column does not vary, or there is none.

    References
    ----------
    Fox J, Monette G. J Am Stat Assoc 1992;87:178-183.

    Examples
    --------
    Two columns with a correlation of one half: 1 / (1 - 1/4).

    >>> x = pd.DataFrame({"a": [1, 1, 0, 0, 0, 1], "b": [1, 1, 0, 0, 1, 0]})
    >>> variance_inflation(x)["gvif"].round(4).tolist()  # their correlation is 1/3
    [1.125, 1.125]
    """
    coding = Coding.of(x)
    if not coding.names:
        raise ValueError("x must have at least one column, got none.")
    rows, _, _ = standardize(coding.matrix(x))
    correlation = np.corrcoef(rows[1:]).reshape(len(rows) - 1, -1)
    found = []
    for name, block in coding.blocks.items():
        factor = _generalized_factor(correlation, np.isin(coding.names, block))
        found.append((name, len(block), factor, factor ** (1 / (2 * max(len(block), 1)))))
    return pd.DataFrame(found, columns=["predictor", "df", "gvif", "per_df"])


def collinear_predictors(x: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Predictors that follow from those before them, in the patients whose values are all known.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Numbers, 0/1 and categories; NaN where missing.

    Returns
    -------
    dict of str to tuple of str
        Each predictor whose coded columns are all sums of others, and those others. Predictors that are known too
        seldom are left out, until there are five complete patients for each coded column: with fewer everything
        follows from everything.

    Examples
    --------
    >>> x = pd.DataFrame({"gcs": [3.0, 9, 15, 4, 7] * 4, "nihss": [30.0, 12, 0, 22, 1] * 4})
    >>> collinear_predictors(x.assign(total=x["gcs"] + x["nihss"]))
    {'total': ('gcs', 'nihss')}
    """
    coding = Coding.of(x)
    coded = coding.matrix(x)
    owner = {column: name for name, block in coding.blocks.items() for column in block}
    for column in coded.notna().sum().sort_values(kind="stable").index:  # the least known first
        if coded.notna().all(axis=1).sum() >= 5 * coded.shape[1]:
            break
        coded = coded.drop(columns=column)
    coded = coded.dropna()
    coded = coded.loc[:, coded.nunique() > 1]
    if coded.empty:
        return {}
    rows, _, _ = standardize(coded)
    found: dict[str, set[str]] = {}
    free: list[int] = []
    for row in range(1, len(rows)):
        weights = np.linalg.lstsq(rows[free].T, rows[row], rcond=None)[0] if free else np.empty(0)
        if np.mean((rows[row] - weights @ rows[free]) ** 2) > NEGLIGIBLE:
            free.append(row)
            continue
        used = {owner[coded.columns[free[k] - 1]] for k in np.flatnonzero(np.abs(weights) > 1e-4)}
        found.setdefault(owner[coded.columns[row - 1]], set()).update(used)
    kept = {owner[coded.columns[row - 1]] for row in free}
    whole = {name: others for name, others in found.items() if name not in kept}
    return {name: tuple(one for one in x.columns if one in others) for name, others in whole.items()}


def linearity_tests(x: pd.DataFrame, y: ArrayLike, columns: Sequence[str]) -> pd.DataFrame:
    """Likelihood-ratio test of the two bends of each number's spline with four knots, all other predictors linear.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        All predictors of the model, complete.
    y : array_like of 0 and 1, shape (n,)
    columns : sequence of str
        The numbers to test.

    Returns
    -------
    DataFrame
        `column, df, statistic, p, note`; without figures, and with the reason in `note`, where a number has too few
        different values for the knots or a model cannot be fitted (separated classes, collinear columns).

    Raises
    ------
    ValueError
        Missing values, one class, constant columns; for a column that is absent or a category.

    References
    ----------
    Harrell FE. Regression modeling strategies, 2nd ed., chapter 2. Springer 2015.
    """
    coding = Coding.of(x)
    standardize(coding.matrix(x))
    outcome = check_outcome(x, y)
    wrong = [name for name in columns if coding.levels.get(name, ()) is not None]
    if wrong:
        raise ValueError(f"columns must name numbers of x, got {wrong}.")
    rows = []
    for name in columns:
        row = {"column": name, "df": 2, "statistic": np.nan, "p": np.nan, "note": ""}
        try:
            terms = spline_basis(x[name], spline_knots(x[name]))
            curved = x.assign(**{f"{name} spline {k}": term for k, term in enumerate(terms.T, 1)})
            gain = 2 * (fit_logistic(curved, outcome).log_likelihood - fit_logistic(x, outcome).log_likelihood)
        except ValueError as reason:
            rows.append(row | {"note": str(reason)})
            continue
        rows.append(row | {"statistic": max(gain, 0.0), "p": float(chi2.sf(max(gain, 0.0), 2))})
    return pd.DataFrame(rows, columns=["column", "df", "statistic", "p", "note"])


def _generalized_factor(correlation: NDArray, inside: NDArray[np.bool_]) -> float:
    """Determinant of a block's correlations over that of what the other columns leave unexplained."""
    own, across = correlation[np.ix_(inside, inside)], correlation[np.ix_(inside, ~inside)]
    others = np.linalg.pinv(correlation[np.ix_(~inside, ~inside)], rtol=1e-10, hermitian=True)
    unexplained = np.linalg.det(own - across @ others @ across.T)
    return float(np.linalg.det(own) / unexplained) if unexplained > 1e-12 else float("inf")
