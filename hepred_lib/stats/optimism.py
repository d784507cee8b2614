"""How much a model flatters itself: the whole procedure repeated in resamples and judged on the development data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from hepred_lib.stats.coding import Array, Coding
from hepred_lib.stats.discrimination import auc
from hepred_lib.stats.imputation import describe, draw_once
from hepred_lib.stats.irls import batched_irls
from hepred_lib.stats.procedure import Procedure, fit_robustly
from hepred_lib.stats.resampling import bootstrap_indices, resample_counts

# Resamples handled together.
_CHUNK = 50
# Draws of a resample before giving up: a column observed once is in 63 % of them.
_MAX_DRAWS = 200
# Calibration slopes are winsorized at these before they are averaged.
_SLOPES = (0.0, 2.0)


@dataclass(frozen=True)
class Optimism:
    """What the resamples say.

    Attributes
    ----------
    slopes : ndarray, shape (b,)
        Calibration slope of each resample's model on the development data; NaN where it is an intercept only.
    auc_optimism, brier_optimism : ndarray, shape (b,)
        Figure on the resample minus figure on the development data.
    inclusion : ndarray, shape (candidates,)
        Share of the resamples that chose each candidate.
    separated : int
        Resamples whose model separates the outcome.
    """

    slopes: Array
    auc_optimism: Array
    brier_optimism: Array
    inclusion: Array
    separated: int = 0

    @property
    def shrinkage(self) -> float:
        """Mean slope, kept in [0, 1]; 1 where no resample chose anything (there is nothing to shrink)."""
        slope = self.slope
        return 1.0 if np.isnan(slope) else float(np.clip(slope, 0.0, 1.0))

    @property
    def slope(self) -> float:
        """Mean slope over the resamples whose model is more than an intercept, each kept within 0 and 2.

        A resample that separates the outcome, or is fitted to noise, would otherwise outweigh all others.
        """
        known = self.slopes[~np.isnan(self.slopes)]
        return float(np.clip(known, *_SLOPES).mean()) if known.size else np.nan

    def corrected(self, y: Array, p: Array, *, empty: bool = False) -> dict[str, float | int]:
        """Apparent and optimism-corrected figures of probabilities p; an empty model has no optimism and no slope."""
        apparent, brier = float(auc(y, p)), float(np.mean((y - p) ** 2))
        return {
            "auc_apparent": apparent,
            "auc_corrected": apparent - (0.0 if empty else float(self.auc_optimism.mean())),
            "brier_apparent": brier,
            "brier_corrected": brier - (0.0 if empty else float(self.brier_optimism.mean())),
            "slope_corrected": np.nan if empty else self.slope,
            "n_resamples": int(self.slopes.size),
        }


def judge(
    procedure: Procedure,
    values: Array,
    completed: tuple[Array, Array, Array],
    *,
    coding: Coding,
    n_resamples: int,
    rng: np.random.Generator,
) -> Optimism:
    """Repeat imputation (one stochastic set), selection and fit in resamples, and judge each model.

    Parameters
    ----------
    procedure : Procedure
    values : ndarray, shape (n, q)
        Coded columns, NaN where missing: each resample is imputed from its own rows.
    completed : two arrays of designs, shape (m, q + 1, n), and y, shape (n,)
        The development data as drawn for fitting (AUC and Brier score of resample b are judged on set b modulo m,
        as drawn as its own) and as imputed for new patients (slopes are judged on p averaged over these sets).
    coding : Coding
    n_resamples : int
    rng : numpy.random.Generator

    References
    ----------
    Van Houwelingen, Le Cessie. Stat Med 1990;9:1303-1325. Harrell, Lee, Mark. Stat Med 1996;15:361-387.
    """
    designs, applied, y = completed
    parts, chosen, separated = [], np.zeros(len(procedure.plan.blocks)), 0
    for first in range(0, n_resamples, _CHUNK):
        drawn = _usable_resamples(values, y, min(_CHUNK, n_resamples - first), rng, coding.names)
        counts = resample_counts(drawn)
        training = _resampled_designs(procedure, values, coding, (drawn, counts), rng)
        paths = procedure.select(training, y, counts)
        coefficients, apart = fit_robustly(training, y, counts, procedure.members(training, counts, paths))
        original = designs[np.arange(first, first + len(drawn)) % len(designs)]
        slopes = _slopes(coefficients, applied, y)
        parts.append(np.vstack([slopes, _measure(coefficients, (training, original), y, drawn)]))
        chosen += np.bincount([block for path in paths for block in path], minlength=chosen.size)
        separated += int(apart.sum())
    return Optimism(*np.concatenate(parts, axis=1), chosen / n_resamples, separated)


def _usable_resamples(
    values: Array, y: Array, n_resamples: int, rng: np.random.Generator, names: tuple[str, ...]
) -> NDArray[np.intp]:
    """Resamples with the observed number of events; one that leaves a column without any value is drawn again."""
    observed = ~np.isnan(values)
    drawn = bootstrap_indices(y, n_resamples, rng)
    for _ in range(_MAX_DRAWS):
        empty = [b for b, rows in enumerate(drawn) if not observed[rows].any(axis=0).all()]
        if not empty:
            return drawn
        drawn[empty] = bootstrap_indices(y, len(empty), rng)
    counts = observed.sum(axis=0)
    rarest = int(counts.argmin())
    raise ValueError(
        f"Predictors must be observed often enough to resample, got {counts[rarest]} of {len(y)} values in "
        f"{names[rarest]}; leave it out of the candidates."
    )


def _resampled_designs(
    procedure: Procedure,
    values: Array,
    coding: Coding,
    resamples: tuple[NDArray[np.intp], Array],
    rng: np.random.Generator,
) -> Array:
    """Designs of the resamples, shape (b, q + 1, n): imputed from each resample's own rows."""
    drawn, counts = resamples
    if not np.isnan(values).any():
        return np.broadcast_to(procedure.design(values), (len(drawn), len(procedure.names), len(values)))
    designs = []
    for rows, weights in zip(drawn, counts, strict=True):
        knots = describe(values[rows], coding)
        designs.append(procedure.design(draw_once(values, coding, knots, weights=weights, rng=rng)[0]))
    return np.stack(designs)


def _measure(coefficients: Array, designs: tuple[Array, Array], y: Array, drawn: NDArray[np.intp]) -> Array:
    """Optimism of AUC and of Brier score, shape (2, b)."""
    inside, outside = ((coefficients[:, None] @ design)[:, 0] for design in designs)
    squares = (y - expit(outside)) ** 2
    figures = [
        (
            auc(y[rows], inside[b, rows]) - auc(y, outside[b]),
            np.mean((y[rows] - expit(inside[b, rows])) ** 2) - squares[b].mean(),
        )
        for b, rows in enumerate(drawn)
    ]
    return np.array(figures).T


def _slopes(coefficients: Array, applied: Array, y: Array) -> Array:
    """Calibration slopes on the development data, p averaged over the imputed sets; NaN for an intercept alone."""
    outside = logit(np.clip(expit(coefficients @ applied).mean(axis=0), 1e-12, 1 - 1e-12))
    spread = outside.std(axis=1, keepdims=True)
    flat = spread < 1e-9
    scaled = (outside - outside.mean(axis=1, keepdims=True)) / np.where(flat, 1.0, spread)
    pairs = np.stack([np.ones_like(scaled), scaled], axis=1)
    fitted = batched_irls(pairs, y, np.ones_like(scaled)).coefficients[:, 1]
    return np.where(flat[:, 0], np.nan, fitted / np.where(flat, 1.0, spread)[:, 0])
