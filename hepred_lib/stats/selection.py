"""Forward selection of predictors in logistic regression, and how often resamples would choose the same.

Each step adds the predictor with the lowest likelihood-ratio p value (or the largest drop of AIC or BIC) and stops
when none is good enough. Categories and named blocks enter as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from hepred_lib.stats.coding import Array, Coding, check_outcome, standardize
from hepred_lib.stats.forward import Plan, Rule, group_columns, select_paths
from hepred_lib.stats.irls import fit_rows
from hepred_lib.stats.logistic import LogisticModel, fit_logistic
from hepred_lib.stats.resampling import bootstrap_indices, resample_counts


@dataclass(frozen=True)
class ForwardSelection:
    """The result of a forward selection.

    Attributes
    ----------
    path : tuple of str
        Predictors (columns, categories, blocks) in their order of entry, without the forced ones.
    steps : DataFrame
        One row a step: step, variable, df, statistic (likelihood ratio against the step before), p,
        log_likelihood, aic, bic of the model after the step.
    model : LogisticModel
        The final model: forced predictors, then the path.
    """

    path: tuple[str, ...]
    steps: pd.DataFrame
    model: LogisticModel


def forward_select(
    x: pd.DataFrame,
    y: ArrayLike,
    *,
    criterion: str = "lr",
    alpha: float = 0.05,
    blocks: Mapping[str, Sequence[str]] | None = None,
    forced: Sequence[str] = (),
) -> ForwardSelection:
    """Forward selection of predictors for a logistic model.

    Parameters
    ----------
    x : DataFrame, shape (n, p)
        Candidates; a categorical column is one block under its own name.
    y : array, shape (n,)
        Outcome, 0 or 1.
    criterion : {"lr", "aic", "bic"}
        "lr" adds the lowest likelihood-ratio p value while it is below alpha; the others add the largest drop of the
        criterion while there is one. Ties go to the first column.
    alpha : float
        Entry limit of "lr".
    blocks : dict of name to columns, optional
        Further columns that enter together, under the block's name.
    forced : names, optional
        Predictors that are in from the start; not part of the path.

    Returns
    -------
    ForwardSelection
        Its standard errors and p values take the model as given beforehand: they are too small after a selection.

    Raises
    ------
    ValueError
        Missing values, one class, constant columns, unknown names; separation by the chosen columns.

    References
    ----------
    Hosmer, Lemeshow, Sturdivant. Applied logistic regression, 3rd ed., chapter 4. Wiley 2013.
    """
    rule = Rule(criterion, alpha)
    coding, predictors = Coding.of(x), group_columns(tuple(x.columns), blocks)
    design, _, _ = standardize(coding.matrix(x))
    outcome = check_outcome(x, y)
    plan = Plan.of(coding, predictors, forced)
    chosen = select_paths(design, outcome, np.ones((1, len(x))), plan=plan, rule=rule)[0]
    entered = [list(predictors)[i] for i in chosen]
    held = [column for name in forced for column in predictors[name]]
    columns = held + [column for name in entered for column in predictors[name]]
    steps = _trace(design, outcome, plan, chosen)
    steps.insert(1, "variable", entered)
    return ForwardSelection(tuple(entered), steps, fit_logistic(x[columns], y))


def inclusion_frequency(
    x: pd.DataFrame,
    y: ArrayLike,
    *,
    n_resamples: int,
    rng: np.random.Generator,
    criterion: str = "lr",
    alpha: float = 0.05,
    blocks: Mapping[str, Sequence[str]] | None = None,
) -> pd.Series:
    """How often forward selection chooses each predictor in bootstrap resamples, each with the observed events.

    Parameters
    ----------
    x, y, criterion, alpha, blocks
        As for `forward_select`.
    n_resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    Series of float in [0, 1], by predictor, in the order of x

    References
    ----------
    Sauerbrei, Schumacher. Stat Med 1992;11:2093-2109. Heinze, Wallisch, Dunkler. Biom J 2018;60:431-449.
    """
    coding, predictors = Coding.of(x), group_columns(tuple(x.columns), blocks)
    design, _, _ = standardize(coding.matrix(x))
    outcome = check_outcome(x, y)
    counts = resample_counts(bootstrap_indices(outcome, n_resamples, rng))
    plan = Plan.of(coding, predictors, ())
    paths = select_paths(design, outcome, counts, plan=plan, rule=Rule(criterion, alpha))
    chosen = np.bincount([i for path in paths for i in path], minlength=len(predictors))
    return pd.Series(chosen / n_resamples, index=list(predictors), name="inclusion_frequency")


def _trace(design: Array, y: Array, plan: Plan, chosen: Sequence[int]) -> pd.DataFrame:
    """The table of steps: likelihood ratio, p, AIC and BIC along a path."""
    held = [plan.forced, *(plan.blocks[i] for i in chosen)]
    member = np.zeros((len(held), len(design)), dtype=bool)
    for step, rows in enumerate(held):
        member[step:, rows] = True
    owner = np.zeros(len(held), dtype=np.intp)
    reached = fit_rows(design, y, np.ones((1, y.size)), member=member, owner=owner).log_likelihood
    size = member.sum(axis=1)
    df, statistic = np.diff(size), 2 * np.diff(reached)
    return pd.DataFrame(
        {
            "step": np.arange(1, len(held)),
            "df": df,
            "statistic": statistic,
            "p": chdtrc(df, statistic),
            "log_likelihood": reached[1:],
            "aic": -2 * reached[1:] + 2 * size[1:],
            "bic": -2 * reached[1:] + np.log(y.size) * size[1:],
        }
    )
