"""Agreement of two outlines of a hematoma: overlap, distance of surfaces, agreement of volumes.

An empty outline is never passed over: two empty outlines agree perfectly (Dice 1, distance 0); one empty outline has
Dice 0 and an infinite distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.stats import t


@dataclass(frozen=True)
class VolumeAgreement:
    """Mean difference of two readings (mL) and its 95 % limits of agreement (Bland and Altman 1986)."""

    bias: float
    low: float
    high: float
    n: int


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """A mask (x, y, z) with what it encloses within a slice: a black hole belongs to the hematoma around it.

    Examples
    --------
    >>> ring = np.ones((3, 3, 1), bool)
    >>> ring[1, 1] = False
    >>> int(fill_holes(ring).sum())
    9
    """
    filled = np.array(mask, dtype=bool)
    for z in np.flatnonzero(filled.any(axis=(0, 1))):
        filled[:, :, z] = ndimage.binary_fill_holes(filled[:, :, z])
    return filled


def dice(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Dice coefficient: twice the common voxels over the sum of both; 1 where both are empty.

    References
    ----------
    Dice LR. Ecology 1945;26:297-302.

    Examples
    --------
    >>> dice(np.array([1, 1, 0, 0]), np.array([0, 1, 0, 0]))
    0.6666666666666666
    """
    reference, predicted = _masks(reference, predicted)
    total = int(reference.sum()) + int(predicted.sum())
    return 2.0 * float((reference & predicted).sum()) / total if total else 1.0


def abc2_ml(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Volume of a hematoma by the ABC/2 rule, as a reader takes it from the slices; 0 for an empty mask.

    A is the largest diameter in the slice of the largest area, B the extent at right angles to it, C the slices' total
    thickness: a slice counts in full from 75 % of the largest area, half from 25 %, not at all below. Slices lie along
    the last axis.

    References
    ----------
    Kothari RU et al. Stroke 1996;27:1304-1305.

    Examples
    --------
    >>> round(abc2_ml(np.ones((40, 20, 4), bool), (1.0, 1.0, 5.0)), 1)
    16.0
    """
    areas = np.asarray(mask, dtype=bool).sum(axis=(0, 1))
    if not areas.any():
        return 0.0
    weight = np.select([areas >= 0.75 * areas.max(), areas >= 0.25 * areas.max()], [1.0, 0.5])
    points = np.argwhere(mask[:, :, int(areas.argmax())]) * np.array(spacing_mm[:2])
    # Of a pixel the corners belong to it as well as the middle: the farthest two are of the outline's hull.
    half = np.array(spacing_mm[:2]) / 2
    corners = np.concatenate([points + half * sign for sign in ((1, 1), (1, -1), (-1, 1), (-1, -1))])
    hull = corners[ConvexHull(corners).vertices]
    across = hull[:, None] - hull[None, :]
    far = np.unravel_index((across**2).sum(axis=2).argmax(), across.shape[:2])
    a_mm = float(np.hypot(*across[far]))
    b_mm = float(np.ptp(hull @ (across[far][::-1] * [-1, 1]) / a_mm))
    return a_mm * b_mm * float(weight.sum()) * spacing_mm[2] / 2000.0


def hd95_mm(reference: np.ndarray, predicted: np.ndarray, spacing_mm: tuple[float, ...]) -> float:
    """95th percentile of the distances between the two surfaces, both ways pooled, in mm.

    Surfaces are voxels of a mask with a face neighbour outside of it. 0 where both are empty, infinity where one is.

    References
    ----------
    Huttenlocher DP et al. IEEE TPAMI 1993;15:850-863, with the maximum replaced by the 95th percentile.
    """
    reference, predicted = _masks(reference, predicted)
    if not reference.any() or not predicted.any():
        return 0.0 if reference.any() == predicted.any() else float("inf")
    box = tuple(
        slice(max(0, int(where.min()) - 1), int(where.max()) + 2) for where in np.nonzero(reference | predicted)
    )
    surfaces = [_surface(mask[box]) for mask in (reference, predicted)]
    distances = [ndimage.distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    both = np.concatenate([distances[1][surfaces[0]], distances[0][surfaces[1]]])
    return float(np.percentile(both, 95))


def volume_agreement(reference_ml: np.ndarray, predicted_ml: np.ndarray) -> VolumeAgreement:
    """Bias (predicted minus reference) and limits of agreement: mean difference -/+ 1.96 standard deviations.

    Raises
    ------
    ValueError
        Unequal lengths, fewer than two pairs, or a value that is not finite.

    References
    ----------
    Bland JM, Altman DG. Lancet 1986;327:307-310.
    """
    reference_ml, predicted_ml = np.asarray(reference_ml, float), np.asarray(predicted_ml, float)
    if reference_ml.shape != predicted_ml.shape or reference_ml.size < 2:
        raise ValueError(
            f"reference_ml and predicted_ml must be two equally long lists of at least two volumes, "
            f"got {reference_ml.shape} and {predicted_ml.shape}."
        )
    difference = predicted_ml - reference_ml
    if not np.isfinite(difference).all():
        raise ValueError(f"volumes must be finite, got {difference[~np.isfinite(difference)][0]}.")
    bias, spread = float(difference.mean()), 1.96 * float(difference.std(ddof=1))
    return VolumeAgreement(bias, bias - spread, bias + spread, difference.size)


def agreement_bands(found: VolumeAgreement) -> dict[str, float]:
    """95 % intervals of a bias and of its limits of agreement, in mL: `bias_low`, `bias_high`, `low_low`, and so on.

    By Student's distribution, for differences that are normal; a limit's standard error is about 1.7 times the bias's.

    References
    ----------
    Bland JM, Altman DG. Lancet 1986;327:307-310.

    Examples
    --------
    >>> bands = agreement_bands(VolumeAgreement(bias=0.0, low=-1.96, high=1.96, n=100))
    >>> round(bands["bias_high"], 3), round(bands["high_low"], 3)
    (0.198, 1.62)
    """
    spread = (found.high - found.low) / (2 * 1.96)
    quantile = float(t.ppf(0.975, found.n - 1))
    half = {"bias": quantile * spread / np.sqrt(found.n)}
    half["low"] = half["high"] = quantile * spread * np.sqrt(1 / found.n + 1.96**2 / (2 * (found.n - 1)))
    return {
        f"{name}_{end}": float(getattr(found, name) + sign * reach)
        for name, reach in half.items()
        for end, sign in (("low", -1), ("high", 1))
    }


def bland_altman_table(agreement: pd.DataFrame) -> pd.DataFrame:
    """What the Bland-Altman figure draws of patients with blood; no row where there are fewer than two of them.

    Returns
    -------
    DataFrame
        `reference_ml, predicted_ml`, and in every row `bias, low, high` with their intervals (:func:`agreement_bands`).
    """
    volumes = agreement[["reference_ml", "predicted_ml"]]
    if len(volumes) < 2:
        return volumes.iloc[:0].assign(bias=np.nan, low=np.nan, high=np.nan)
    found = volume_agreement(volumes["reference_ml"], volumes["predicted_ml"])
    return volumes.assign(bias=found.bias, low=found.low, high=found.high, **agreement_bands(found))


def volume_thirds(volume_ml: pd.Series) -> pd.Series:
    """The third of the patients in which each volume is: small, middle, large; missing with fewer than six patients."""
    if len(volume_ml) < 6:
        return pd.Series(np.nan, index=volume_ml.index)
    return pd.qcut(volume_ml, 3, labels=["small", "middle", "large"])


def agreement_by_group(agreement: pd.DataFrame, groups: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Agreement of outlines within groups of patients.

    Parameters
    ----------
    agreement : DataFrame
        One row per patient with blood: ``dice, hd95_mm, reference_ml, predicted_ml``.
    groups : mapping of str to Series
        Under each name the group of every patient, on the index of ``agreement``; missing values are left out.

    Returns
    -------
    DataFrame
        ``by, group, n``, medians of Dice and HD95, the quartiles of Dice, and bias and limits of the volumes in mL (NaN
        with fewer than two patients).
    """
    rows = [
        {"by": name, "group": label, **_summary(part)}
        for name, labels in groups.items()
        for label, part in agreement.groupby(labels, observed=True)
    ]
    return pd.DataFrame(rows, columns=["by", "group", *_summary(agreement.iloc[:0])])


def _summary(part: pd.DataFrame) -> dict[str, float]:
    volumes = volume_agreement(part["reference_ml"], part["predicted_ml"]) if len(part) > 1 else None
    return {
        "n": len(part),
        "dice_median": part["dice"].median(),
        "dice_q1": part["dice"].quantile(0.25),
        "dice_q3": part["dice"].quantile(0.75),
        "hd95_mm_median": part["hd95_mm"].median(),
        "bias_ml": volumes.bias if volumes else np.nan,
        "low_ml": volumes.low if volumes else np.nan,
        "high_ml": volumes.high if volumes else np.nan,
    }


def _masks(reference: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reference, predicted = np.asarray(reference, bool), np.asarray(predicted, bool)
    if reference.shape != predicted.shape:
        raise ValueError(f"the outlines must have one shape, got {reference.shape} and {predicted.shape}.")
    return reference, predicted


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)
