"""Permutation test of a score that was cross-fitted in the very patients in whom it is tested.

What a network measures in the scans (its values) is tied to other patients' outcomes and bedside variables, which keep
together; then the read-out, the linear layer that makes the score of these values, is fitted again without each fold,
and tested. Repeated often, this shows the test statistic of a score that has nothing to tell, cross-fitting included.

Sources: Höfling H, Tibshirani R. Ann Appl Stat 2008;2:643-664.
Böhning D, Lindsay BG. Ann Inst Stat Math 1988;40:641-663.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from hepred_lib.stats import checks
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.logistic import Array, fit_robustly

# Of the read-out's weights, on the scale on which the penalty is even.
_CONVERGED, _MAX_STEPS = 1e-6, 2000


@dataclass(frozen=True)
class CrossFittedReadout:
    """A ridge logistic regression that is fitted without each fold and makes the scores of that fold.

    Attributes
    ----------
    values : ndarray, shape (k, n, q)
        Of all n patients as the network of each fold measures them, on the scale on which the penalty is even.
    penalties : ndarray, shape (k,)
        Half of each times the squared weights is taken from the log-likelihood; the intercept is free.
    fold : int array, shape (n,)
        0 to k - 1.
    """

    values: Array
    penalties: Array
    fold: NDArray[np.int64]

    def __post_init__(self) -> None:
        k, n, _ = self.values.shape
        if not np.isfinite(self.values).all():
            raise ValueError("values must be finite: every patient needs those of every network.")
        if self.penalties.shape != (k,) or not (self.penalties > 0).all():
            raise ValueError(f"penalties must be {k} numbers above 0, one for each fold, got {self.penalties}.")
        if checks.fold_numbers(self.fold, n).max() + 1 != k:
            raise ValueError(f"fold must name {k} folds, got {np.unique(self.fold).tolist()}.")

    def scores(self, y: Array) -> Array:
        """Score of every patient for each labelling, shape (b, n): mean 0 and SD 1 in each fold, 0 if they are equal.

        Parameters
        ----------
        y : ndarray of 0 and 1, shape (b, n)
        """
        found = np.zeros(y.shape)
        for number, (values, penalty) in enumerate(zip(self.values, self.penalties, strict=True)):
            held = self.fold == number
            raw = _ridge_slopes(values[~held], y[:, ~held], penalty) @ values[held].T
            centred, spread = raw - raw.mean(axis=1, keepdims=True), raw.std(axis=1, keepdims=True)
            found[:, held] = np.where(spread > 1e-12, centred / np.where(spread > 1e-12, spread, 1.0), 0.0)
        return found


@dataclass(frozen=True)
class PermutationTest:
    """Rao's statistic of the score over the bedside predictors, and the share of permutations that reach it."""

    statistic: float
    p: float
    n_permutations: int


def permutation_test(
    designs: Array, y: ArrayLike, readout: CrossFittedReadout, *, n_permutations: int = 999, rng: np.random.Generator
) -> PermutationTest:
    """Test whether a cross-fitted score adds to the other predictors of a model.

    Permuted are the values within each fold, all networks' together, against outcome and bedside variables; the
    read-out is fitted again each time with the penalties that the true labels chose. The networks are not trained again
    and the bedside predictors not selected again: both are taken as given.

    Parameters
    ----------
    designs : ndarray, shape (m, q + 1, n)
        The other predictors, as `bedside_designs` gives them.
    y : array_like of 0 and 1, shape (n,)
    readout : CrossFittedReadout
        Of the same patients in the same order.
    n_permutations : int
    rng : numpy.random.Generator

    Returns
    -------
    PermutationTest
        `statistic` is that of the true labels, the mean over the imputed sets; `p` counts it among the permuted ones.

    Raises
    ------
    ValueError
        If designs, y and the read-out are not of the same patients, or y holds one class.

    References
    ----------
    Höfling H, Tibshirani R. Ann Appl Stat 2008;2:643-664. Phipson B, Smyth GK. Stat Appl Genet Mol Biol 2010;9:39.
    """
    outcome, draws = checks.outcome(y).astype(float), checks.at_least(n_permutations, "n_permutations", 1)
    if not len(readout.fold) == outcome.size == designs.shape[2]:
        sizes = f"{designs.shape[2]}, {outcome.size} and {len(readout.fold)}"
        raise ValueError(f"designs, y and readout must hold the same patients, got {sizes}.")
    orders = np.tile(np.arange(outcome.size), (draws + 1, 1))  # the first is the true one
    for number in range(len(readout.values)):
        held = np.flatnonzero(readout.fold == number)
        orders[1:, held] = checks.generator(rng).permuted(orders[1:, held], axis=1)
    # Row i of the values is tied to patient orders[i]; their score is that patient's.
    scores = np.empty(orders.shape)
    np.put_along_axis(scores, orders, readout.scores(outcome[orders]), axis=1)
    statistics = score_statistics(designs, outcome, scores)
    reached = statistics[1:] >= statistics[0] * (1 - 1e-9)
    return PermutationTest(float(statistics[0]), float((1 + reached.sum()) / (1 + draws)), draws)


def added_score_tests(
    model: DevelopedModel, permuted: PermutationTest | None, *, cross_fitted: bool
) -> dict[str, float | None]:
    """All p values of the added score, as one row.

    Parameters
    ----------
    model : DevelopedModel
    permuted : PermutationTest or None
    cross_fitted : bool
        False for a score that was trained elsewhere, of which `p` alone is valid.

    Returns
    -------
    dict
        `statistic, df, p` of the likelihood-ratio test; `p_cross_fitted`, from half the statistic; `p_permuted` and
        `n_permutations`. None where a test is not made; empty where the score has no coefficient.
    """
    if (found := model.added_test) is None:
        return {}
    row: dict[str, float | None] = {"statistic": found.statistic, "df": found.df, "p": found.p}
    row["p_cross_fitted"] = found.cross_fitted_p if cross_fitted else None
    row["p_permuted"] = permuted.p if permuted else None
    return row | {"n_permutations": permuted.n_permutations if permuted else None}


def bedside_designs(model: DevelopedModel, x: pd.DataFrame) -> Array:
    """The model's standardized columns but the added ones, after an intercept: shape (m, q + 1, n).

    Imputed as for new patients, without the outcome.
    """
    columns, basis = x[list(model.settings.columns)], model.basis
    used = [basis.names.index(name) for name in model.names if name not in model.settings.added]
    designs = []
    for filled in model.imputer.impute(columns):
        values = basis.expand(filled.to_numpy())[:, used]
        spread = values.std(axis=0)
        scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        designs.append(np.vstack([np.ones(len(values)), scaled.T]))
    return np.stack(designs)


def score_statistics(designs: Array, y: Array, scores: Array) -> Array:
    """Rao's statistic of each score over each design, the mean over the designs: shape (b,).

    Parameters
    ----------
    designs : ndarray, shape (m, q + 1, n)
    y : ndarray of 0 and 1, shape (n,)
    scores : ndarray, shape (b, n)
    """
    ones, found = np.ones((len(designs), y.size)), []
    coefficients, _ = fit_robustly(designs, y, ones, np.ones(designs.shape[:2], dtype=bool))
    for design, estimate in zip(designs, coefficients, strict=True):
        p = expit(estimate @ design)
        weight = p * (1 - p)
        crossed = (scores * weight) @ design.T
        explained = np.einsum("bi,ij,bj->b", crossed, np.linalg.pinv((design * weight) @ design.T), crossed)
        information = (scores**2) @ weight - explained
        known = information > 1e-9 * weight.sum()
        found.append(np.where(known, (scores @ (y - p)) ** 2 / np.where(known, information, 1.0), 0.0))
    return np.mean(found, axis=0)


def _ridge_slopes(values: Array, y: Array, penalty: float) -> Array:
    """Slopes for each labelling, shape (b, q): one bound of the curvature serves all (Böhning and Lindsay 1988)."""
    design = np.column_stack([np.ones(len(values)), values])
    ridge = penalty * np.eye(design.shape[1])
    ridge[0, 0] = 0.0
    step = np.linalg.inv(design.T @ design / 4 + ridge)
    found = np.zeros((len(y), design.shape[1]))
    found[:, 0] = logit(np.clip(y.mean(axis=1), 0.5 / len(values), 1 - 0.5 / len(values)))
    running = np.arange(len(y))
    for _ in range(_MAX_STEPS):
        now = found[running]
        move = ((y[running] - expit(now @ design.T)) @ design - now @ ridge) @ step
        found[running] = now + move
        running = running[np.abs(move).max(axis=1) > _CONVERGED]
        if not running.size:
            break
    return found[:, 1:]
