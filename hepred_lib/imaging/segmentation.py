"""Agreement of two outlines of a hematoma: overlap, distance of surfaces, agreement of volumes.

An empty outline is never passed over: two empty outlines agree perfectly (Dice 1, distance 0); one empty outline has
Dice 0 and an infinite distance.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.stats import t

from hepred_lib.imaging.preprocessing import bounding_box, dilated, eroded, filled

EDGE_MM = 200 / 128  # a network's pixel: closer to its edge an outline is not known
KERNEL_MM = EDGE_MM / 2
AROUND_MM = (2.5, 8.0)
NEAR_MM, LEAST_WEIGHT = 4.0, 0.005
AROUND_HU = (5.0, 50.0)  # neither fat nor bone nor blood
SPECK_ML, FAR_MM = 1.0, 20.0


def at_half_height(
    outline: np.ndarray, hu: np.ndarray, spacing_mm: tuple[float, float, float], *, ventricles: np.ndarray
) -> np.ndarray:
    """An outline with its edge where HU are half way from the hematoma to the tissue around it.

    A scanner blurs an edge to both sides alike. Both HU are weighted means of what lies near the edge, since parts of
    a hematoma can be pale. Voxels further than a network's pixel from the edge stay as they are, and so does the edge
    of a part that is too narrow to have such voxels inside.

    Parameters
    ----------
    outline, hu : ndarray of shape (x, y, z)
    spacing_mm : tuple of float
    ventricles : ndarray
        Voxels that do not become hematoma.
    """
    edge, close, far = (max(1, round(mm / spacing_mm[0])) for mm in (EDGE_MM, *AROUND_MM))
    if not outline.any():
        return outline
    box = bounding_box(outline, (far, far, 0))
    drawn, hu = outline[box], hu[box].astype(np.float32)

    def blurred(values: np.ndarray, sigma_mm: float) -> np.ndarray:
        return ndimage.gaussian_filter(values.astype(np.float32), [sigma_mm / mm for mm in spacing_mm])

    inside, near = eroded(drawn, edge), dilated(drawn, edge) & (drawn | ~ventricles[box])
    tissue = dilated(drawn, far) & ~dilated(drawn, close) & (hu > AROUND_HU[0]) & (hu < AROUND_HU[1])
    weights = [blurred(part, NEAR_MM) for part in (inside, tissue)]
    levels = [
        blurred(hu * part, NEAR_MM) / np.maximum(weight, LEAST_WEIGHT)
        for part, weight in zip((inside, tissue), weights, strict=True)
    ]
    known = np.minimum(*weights) > LEAST_WEIGHT
    moved = np.where(known, blurred(hu, KERNEL_MM) >= np.mean(levels, axis=0), drawn)
    found = np.zeros_like(outline)
    found[box] = filled(inside | (near & moved))
    return found


def without_distant_specks(outline: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """An outline without parts of less than 1 mL that lie more than 20 mm from its largest part."""
    if not outline.any():
        return outline
    box = bounding_box(outline)
    labels, n = ndimage.label(outline[box], np.ones((3, 3, 3)))
    volumes_ml = np.bincount(labels.ravel(), minlength=n + 1)[1:] * float(np.prod(spacing_mm)) / 1000.0
    away_mm = ndimage.distance_transform_edt(labels != 1 + volumes_ml.argmax(), sampling=spacing_mm)
    nearest_mm = ndimage.minimum(away_mm, labels, np.arange(1, n + 1))
    found = np.zeros_like(outline)
    found[box] = np.concatenate([[False], (volumes_ml >= SPECK_ML) | (nearest_mm <= FAR_MM)])[labels]
    return found


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
    box = bounding_box(reference | predicted, (1,) * reference.ndim)
    surfaces = [mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (reference, predicted)]
    distances = [ndimage.distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    both = np.concatenate([distances[1][surfaces[0]], distances[0][surfaces[1]]])
    return float(np.percentile(both, 95))


def volume_agreement(reference_ml: ArrayLike, predicted_ml: ArrayLike) -> dict[str, float]:
    """Mean difference (predicted minus reference, mL) and limits of agreement, -/+ 1.96 standard deviations.

    Returns
    -------
    dict
        `bias, low, high`, and the 95 % interval of each: `bias_low`, `bias_high`, `low_low`, and so on. By Student's
        distribution, for differences that are normal; a limit's standard error is about 1.7 times the bias's.

    Raises
    ------
    ValueError
        Unequal lengths, fewer than two pairs, or a value that is not finite.

    References
    ----------
    Bland JM, Altman DG. Lancet 1986;327:307-310.

    Examples
    --------
    >>> found = volume_agreement([10.0, 20.0, 30.0], [11.0, 23.0, 35.0])
    >>> found["bias"], round(found["high"], 2), round(found["bias_high"], 2)
    (3.0, 6.92, 7.97)
    """
    reference_ml, predicted_ml = np.asarray(reference_ml, float), np.asarray(predicted_ml, float)
    if reference_ml.shape != predicted_ml.shape or reference_ml.size < 2:
        raise ValueError(
            f"reference_ml and predicted_ml must be two equally long lists of at least two volumes, "
            f"got {reference_ml.shape} and {predicted_ml.shape}."
        )
    difference, n = predicted_ml - reference_ml, reference_ml.size
    if not np.isfinite(difference).all():
        raise ValueError(f"volumes must be finite, got {difference[~np.isfinite(difference)][0]}.")
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    found, quantile = {"bias": bias, "low": bias - 1.96 * sd, "high": bias + 1.96 * sd}, float(t.ppf(0.975, n - 1))
    limit = quantile * sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    for name, reach in (("bias", quantile * sd / np.sqrt(n)), ("low", limit), ("high", limit)):
        found |= {f"{name}_low": float(found[name] - reach), f"{name}_high": float(found[name] + reach)}
    return found


LEAST_FOR_LINES = 10  # patients


def bland_altman_table(agreement: pd.DataFrame) -> pd.DataFrame:
    """What the Bland-Altman figure draws of patients with blood; no row where there are fewer than two of them.

    Returns
    -------
    DataFrame
        `reference_ml, predicted_ml`, and in every row what :func:`volume_agreement` gives; `line, line_low, line_high`:
        bias and limits of agreement at the patient's mean of both volumes, by regression of the difference and of its
        absolute residual on the mean, between cube roots and drawn back (NaN with fewer than ten patients). Errors grow
        with the volume: limits of one width, or linear in it, would be impossible for a small hematoma. An edge that is
        misplaced by a millimetre changes the cube root alike in small and large ones, and of a missed hematoma it is 0.

    References
    ----------
    Bland JM, Altman DG. Measuring agreement in method comparison studies. Stat Methods Med Res 1999;8:135-160. Parner
    ET. Limits of agreement based on transformed measurements. Stats 2025;8:17.
    """
    volumes = agreement[["reference_ml", "predicted_ml"]]
    lines: dict[str, ArrayLike] = dict.fromkeys(("line", "line_low", "line_high"), np.nan)
    if len(volumes) < 2:
        return volumes.iloc[:0].assign(bias=np.nan, low=np.nan, high=np.nan, **lines)
    if len(volumes) >= LEAST_FOR_LINES:
        lines |= zip(lines, _limits_by_volume(*volumes.to_numpy(float).T), strict=True)
    return volumes.assign(**volume_agreement(volumes["reference_ml"], volumes["predicted_ml"]), **lines)


def _limits_by_volume(reference_ml: np.ndarray, predicted_ml: np.ndarray) -> list[np.ndarray]:
    """Bias, lower and upper limit of agreement in mL at each mean of both volumes."""
    roots, mean_ml = (np.cbrt(reference_ml), np.cbrt(predicted_ml)), (reference_ml + predicted_ml) / 2
    middle, difference = (roots[0] + roots[1]) / 2, roots[1] - roots[0]
    line = np.polynomial.Polynomial.fit(middle, difference, 1)
    spread = np.polynomial.Polynomial.fit(middle, np.abs(difference - line(middle)), 1)
    grid = np.linspace(0, np.cbrt(mean_ml.max()), 1000)
    # Of a normal error the SD is the mean absolute one times this root.
    reach = 1.96 * np.sqrt(np.pi / 2) * np.maximum(spread(grid), 0)
    found = []
    for apart in (line(grid), line(grid) - reach, line(grid) + reach):
        half = np.clip(apart / 2, -grid, grid)  # neither volume is below 0
        lower, upper = (grid - half) ** 3, (grid + half) ** 3
        found.append(np.interp(mean_ml, (lower + upper) / 2, upper - lower))
    return found


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
    volumes = volume_agreement(part["reference_ml"], part["predicted_ml"]) if len(part) > 1 else {}
    return {
        "n": len(part),
        "dice_median": part["dice"].median(),
        "dice_q1": part["dice"].quantile(0.25),
        "dice_q3": part["dice"].quantile(0.75),
        "hd95_mm_median": part["hd95_mm"].median(),
        **{f"{name}_ml": volumes.get(name, np.nan) for name in ("bias", "low", "high")},
    }


def _masks(reference: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reference, predicted = np.asarray(reference, bool), np.asarray(predicted, bool)
    if reference.shape != predicted.shape:
        raise ValueError(f"the outlines must have one shape, got {reference.shape} and {predicted.shape}.")
    return reference, predicted
