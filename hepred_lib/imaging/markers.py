"""Signs of expansion and descriptors of a hematoma, measured on a non-contrast head CT from HU and a mask.

The signs were defined for a reader's eye. What is written here is one reading of the published definitions, with every
number of it a named constant: it makes the signs reproducible, not right. HU are averaged in plane over about 2 mm
first, so that noise of 4 HU cannot make a sign. A sign needs room: a part below `LEAST_PART_ML` is never one.

References
----------
Morotti A et al. Standards for detecting, interpreting, and reporting noncontrast CT markers of intracerebral hemorrhage
expansion. Ann Neurol 2019;86:480-492.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from hepred_lib.imaging.preprocessing import bounding_box

# Li Q et al. Stroke 2015;46:2119: two adjoining parts with a well-defined border, at least 18 HU apart, the pale one
# not enclosed. Its least share of the core is a choice made here.
BLEND_HU, BLEND_SHARE = 18.0, 0.08
# Li Q et al. Stroke 2016;47:1777: a dark part enclosed by dense clot, not touching brain, at least 28 HU below it.
BLACK_HOLE_HU = 28.0
# Boulouis G et al. JAMA Neurol 2016;73:961: any dark part within the clot, isolated from brain. No drop is stated; the
# number is a choice made here, as is the share of its border that must be clot before a part counts as enclosed.
HYPODENSITY_HU, ENCLOSED_SHARE = 16.0, 0.85
# Swirl: Ng D et al. AJNR 2018;39:232, after Selariu E et al. BMC Neurol 2012;12:109: iso- or hypodense within dense
# clot on two neighbouring slices. The drop is a choice made here.
SWIRL_HU, SWIRL_SLICES = 10.0, 2
# Li Q et al. Stroke 2017;48:3019: three or more small hematomas apart from the main one; buds, the other half of the
# definition, are not looked for.
ISLANDS = 3
# Shimoda Y et al. Cerebrovasc Dis 2017;44:105: a small bleed apart from the main one. How small and how near are
# choices made here.
SATELLITE_DIAMETER_MM, SATELLITE_DISTANCE_MM = 10.0, 20.0
# Barras CD et al. Stroke 2009;40:1325 rate margins by eye, from smooth to lobed and ragged; both cuts are choices made
# here, as is the smooth outline that roughness is measured from.
ROUGHNESS_MM, CONCAVITY, OUTLINE_MM, PIXEL_MM = 0.24, 0.20, 2.0, 0.5
# Zhang K et al. Neurocrit Care 2025, doi 10.1007/s12028-025-02218-z rate it by eye; both numbers are choices made here.
FLUID_HU, FLUID_SHARE = 18.0, 0.45

SMOOTH_MM, RIM_MM = 1.0, 1.5
LEAST_PART_ML, LEAST_CORE_ML = 0.05, 0.3
# Drops below this are mottle and noise, and are not searched.
SHALLOW_HU = 6.0


# What is measured on one hematoma, in this order; the last eight are signs, 0 or 1.
MARKERS = (
    *("volume_ml", "surface_irregularity", "mean_hu", "sd_hu", "skewness_hu", "cv_hu", "hypodense_fraction"),
    *("n_components", "black_hole_hu", "blend_hu", "hypodensity_hu", "margin_roughness_mm", "concavity"),
    *("blend", "black_hole", "swirl", "any_hypodensity", "irregular", "island", "satellite", "fluid_level"),
)


def measure_markers(hu: ArrayLike, mask: ArrayLike, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Signs and descriptors of the hematoma in `mask`.

    Dark parts are looked for in the core, `RIM_MM` inside the margin, where partial volume with brain ends. Dense clot
    is the core's upper quartile.

    Parameters
    ----------
    hu : array_like, shape (x, y, z)
        Hounsfield units; the second axis points forwards (RAS+), which only the fluid level uses.
    mask : array_like, shape (x, y, z)
        Hematoma, boolean or 0/1.
    spacing_mm : tuple of float
        Voxel size along x, y, z.

    Returns
    -------
    dict of the names in `MARKERS`; NaN where the mask is empty
        volume_ml
            Volume of the mask.
        surface_irregularity
            Surface over that of the ball of the same volume: about 1 for a ball.
        mean_hu, sd_hu, skewness_hu, cv_hu
            Moments of the smoothed HU inside the mask; cv is SD over mean.
        hypodense_fraction
            Share of the mask's core at least `HYPODENSITY_HU` below dense clot.
        n_components
            Connected parts of at least `LEAST_PART_ML`.
        black_hole_hu
            Largest drop below dense clot at which a part is still enclosed by clot, in whole HU; 0 without any.
        blend_hu
            Largest drop at which a part of `BLEND_SHARE` of the core is not enclosed.
        hypodensity_hu
            As `black_hole_hu` after an average over twice the width, which spares streaks and specks.
        margin_roughness_mm
            Mean distance of the outline from a smooth one of the same area, over the slices of the main body.
        concavity
            Share of the slices' convex hulls that the main body leaves empty: 0 for a smooth ellipse.

    Raises
    ------
    ValueError
        If the shapes differ, the mask is not 0/1, or a spacing is not positive.
    """
    image, inside, spacing = _checked(hu, mask, spacing_mm)
    if not inside.any():
        return dict.fromkeys(MARKERS, np.nan)
    smooth, broad = (_smoothed(image, inside, spacing, width_mm=w) for w in (SMOOTH_MM, 1.5 * SMOOTH_MM))
    core = _core(inside, spacing)
    values, voxel_ml = smooth[inside], float(np.prod(spacing)) / 1000
    dense_hu = float(np.quantile(smooth[core], 0.75))
    least = max(2.0, LEAST_PART_ML / voxel_ml)
    found = {
        **_descriptors(values, smooth[core], dense_hu),
        **_form(inside, spacing, least),
        **_dark_signs(dense_hu - smooth, dense_hu - broad, core, least),
        "volume_ml": float(inside.sum() * voxel_ml),
        "fluid_level": _fluid_level(smooth, core),
    }
    return {name: found[name] for name in MARKERS}


def _checked(hu: ArrayLike, mask: ArrayLike, spacing_mm: tuple) -> tuple[NDArray, NDArray, tuple[float, ...]]:
    """Arrays cut to the mask with a margin of 6 mm, as floats and booleans."""
    image, inside = np.asarray(hu), np.asarray(mask)
    if image.ndim != 3 or image.shape != inside.shape:
        raise ValueError(f"hu and mask must be 3-D and of one shape, got {image.shape} and {inside.shape}.")
    if len(spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise ValueError(f"spacing_mm must be three positive numbers, got {tuple(spacing_mm)}.")
    if inside.dtype != bool and not np.isin(inside, (0, 1)).all():
        raise ValueError("mask must hold 0 and 1 only.")
    inside = inside.astype(bool)
    if not inside.any():
        return image, inside, tuple(spacing_mm)
    margin = [int(np.ceil(6 / s)) for s in spacing_mm]
    box = bounding_box(inside, margin)
    sides = zip(bounding_box(inside), margin, inside.shape, strict=True)
    lacking = [(max(0, m - side.start), max(0, side.stop + m - n)) for side, m, n in sides]
    image, inside = np.pad(image[box], lacking, mode="edge"), np.pad(inside[box], lacking)
    return image.astype(np.float64), inside, tuple(map(float, spacing_mm))


def _smoothed(image: NDArray, inside: NDArray, spacing: tuple[float, ...], *, width_mm: float) -> NDArray[np.float64]:
    """In-plane average over the hematoma alone, so that brain does not dilute its margin; brain elsewhere."""
    sigma = (width_mm / spacing[0], width_mm / spacing[1], 0)
    weight = ndimage.gaussian_filter(inside.astype(float), sigma)
    total = ndimage.gaussian_filter(np.where(inside, image, 0.0), sigma)
    return np.where(inside, total / np.maximum(weight, 1e-9), image)


def _core(inside: NDArray, spacing: tuple[float, ...]) -> NDArray[np.bool_]:
    """Voxels deeper than `RIM_MM` within their slice, with blood above and below them.

    A small clot does without the second, or both, rather than be left with nothing.
    """
    depth = np.stack([ndimage.distance_transform_edt(s, sampling=spacing[:2]) for s in np.moveaxis(inside, 2, 0)], 2)
    core = depth > RIM_MM
    between = core & ndimage.binary_erosion(inside, np.ones((1, 1, 3)))
    if between.sum() * np.prod(spacing) >= 1000 * LEAST_CORE_ML:
        return between
    return core if core.any() else inside


def _parts(region: NDArray, least_voxels: float) -> list[NDArray[np.bool_]]:
    """Connected parts of at least a number of voxels, largest first."""
    labels, n = ndimage.label(region)
    sizes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    return [labels == k + 1 for k in np.argsort(-sizes, kind="stable") if sizes[k] >= least_voxels]


def _descriptors(values: NDArray, core_values: NDArray, dense_hu: float) -> dict[str, float]:
    mean, sd = float(values.mean()), float(values.std())
    return {
        "mean_hu": mean,
        "sd_hu": sd,
        "skewness_hu": float(((values - mean) ** 3).mean() / sd**3) if sd > 1e-9 else 0.0,
        "cv_hu": sd / mean if mean > 0 else 0.0,
        "hypodense_fraction": float((core_values < dense_hu - HYPODENSITY_HU).mean()),
    }


def _form(inside: NDArray, spacing: tuple[float, ...], least_voxels: float) -> dict[str, float | int]:
    pieces = _parts(inside, least_voxels) or [inside]
    away = ndimage.distance_transform_edt(~pieces[0], sampling=spacing) if len(pieces) > 1 else None
    roughness, empty = _outline(pieces[0], spacing)
    return {
        "surface_irregularity": surface_irregularity(inside, spacing),
        "margin_roughness_mm": roughness,
        "concavity": empty,
        "n_components": len(pieces),
        "irregular": int(roughness >= ROUGHNESS_MM or empty >= CONCAVITY),
        "island": int(len(pieces) - 1 >= ISLANDS),
        "satellite": int(any(_is_satellite(piece, away, spacing) for piece in pieces[1:])),
    }


def _outline(body: NDArray, spacing: tuple[float, ...]) -> tuple[float, float]:
    """Roughness of the outline in mm and share of the convex hull left empty, over slices of ten voxels or more.

    The area between outline and smooth outline is divided by the circumference of the circle of the slice's area.
    """
    pixel = float(np.sqrt(spacing[0] * spacing[1]))
    finer = max(1, round(pixel / PIXEL_MM))
    pixel /= finer
    between = circumference = blood = hull = 0.0
    for plane in np.moveaxis(body, 2, 0):
        if np.count_nonzero(plane) < 10:
            continue
        plane = _without_steps(plane, finer)
        if not (n := np.count_nonzero(plane)):  # specks alone: no outline is left of them
            continue
        soft = ndimage.gaussian_filter(plane.astype(np.float32), OUTLINE_MM / pixel, mode="constant", truncate=3)
        smooth = soft >= np.partition(soft.ravel(), -n)[-n]
        between += np.count_nonzero(smooth ^ plane) * pixel
        circumference += 2 * np.sqrt(np.pi * n)
        blood, hull = blood + n, hull + _hull_voxels(plane)
    return (between / circumference, 1 - blood / hull) if hull else (0.0, 0.0)


def _without_steps(plane: NDArray, finer: int) -> NDArray[np.bool_]:
    """A slice of the mask on finer pixels, so that roughness does not follow from the size of the coarse ones."""
    soft = np.pad(plane[bounding_box(plane)], 6).astype(np.float32)
    if finer == 1:
        return soft > 0.5
    soft = ndimage.gaussian_filter(soft, 0.6)
    return ndimage.zoom(soft, finer, order=1, mode="grid-constant", grid_mode=True) >= 0.5


def _hull_voxels(plane: NDArray[np.bool_]) -> float:
    """Grid points in the convex hull of a slice's voxels, by Pick's theorem: the steps of the grid do not count."""
    rows = np.flatnonzero(plane.any(axis=1))
    ends = plane[rows].argmax(axis=1), plane.shape[1] - 1 - plane[rows, ::-1].argmax(axis=1)
    points = np.concatenate([np.column_stack([rows, end]) for end in ends])
    if np.linalg.matrix_rank(points - points[0]) < 2:
        return float(np.count_nonzero(plane))
    hull = ConvexHull(points)
    corners = points[hull.vertices]
    edges = np.abs(corners - np.roll(corners, 1, axis=0))
    return float(hull.volume + np.gcd(*edges.T).sum() / 2 + 1)


def surface_irregularity(inside: NDArray, spacing_mm: tuple[float, ...]) -> float:
    """Surface area over that of the ball of the same volume.

    The area is the integral of the gradient of the mask smoothed over 1 mm: nearly free of the voxels' steps, where a
    count of faces finds half as much again on a ball.
    """
    volume = inside.sum() * float(np.prod(spacing_mm))
    soft = ndimage.gaussian_filter(inside.astype(float), [1.0 / s for s in spacing_mm], mode="constant")
    slope = np.sqrt(sum(g * g for g in np.gradient(soft, *spacing_mm)))
    return float(slope.sum() * np.prod(spacing_mm) / (np.pi ** (1 / 3) * (6 * volume) ** (2 / 3)))


def _is_satellite(piece: NDArray, away_mm: NDArray, spacing: tuple[float, ...]) -> bool:
    extent = [np.ptp(axis) * s + s for axis, s in zip(np.nonzero(piece)[:2], spacing, strict=False)]
    return bool(max(extent) <= SATELLITE_DIAMETER_MM and away_mm[piece].min() <= SATELLITE_DISTANCE_MM)


def _dark_signs(drop: NDArray, broad_drop: NDArray, core: NDArray, least: float) -> dict[str, float | int]:
    around = bounding_box(core, (1, 1, 0))  # a part's border lies one voxel beyond
    drop, broad_drop, core = drop[around], broad_drop[around], core[around]
    large = max(least, BLEND_SHARE * core.sum())
    hole, blend = _deepest(drop, core, least, large)
    hypodensity, _ = _deepest(broad_drop, core, least, large)
    swirls = _parts(core & (drop >= SWIRL_HU), least)
    return {
        "black_hole_hu": hole,
        "blend_hu": blend,
        "hypodensity_hu": hypodensity,
        "blend": int(blend >= BLEND_HU),
        "black_hole": int(hole >= BLACK_HOLE_HU),
        "any_hypodensity": int(hypodensity >= HYPODENSITY_HU),
        "swirl": int(any(np.count_nonzero(part.any(axis=(0, 1))) >= SWIRL_SLICES for part in swirls)),
    }


def _deepest(drop: NDArray, core: NDArray, least: float, large: float) -> tuple[float, float]:
    """Largest whole drop at which a part is enclosed by clot, and at which a large part is not; 0 for none.

    A speck inside a very pale half passes for enclosed: its border is asked to be clot, not to be dense.
    """
    enclosed = opened = 0.0
    for level in np.arange(np.floor(drop[core].max()), SHALLOW_HU - 1, -1):
        region = core & (drop >= level)
        if np.count_nonzero(region) < least:
            continue
        sizes, border = _borders(region, core)
        in_clot = border >= ENCLOSED_SHARE
        enclosed = max(enclosed, level * (in_clot & (sizes >= least)).any())
        opened = max(opened, level * (~in_clot & (sizes >= large)).any())
        if enclosed and opened:
            break
    return float(enclosed), float(opened)


def _borders(region: NDArray, core: NDArray) -> tuple[NDArray, NDArray]:
    """Voxels of each connected part, and the share of its border within slices that is core."""
    labels, n = ndimage.label(region)
    around = ndimage.maximum_filter(labels, size=(3, 3, 1))
    around[region] = 0
    sizes, border, in_core = (np.bincount(a.ravel(), minlength=n + 1)[1:] for a in (labels, around, around[core]))
    return sizes, in_core / np.maximum(border, 1)


def _fluid_level(smooth: NDArray, core: NDArray) -> int:
    """Whether one horizontal border explains most of the variance, with the dense part below (behind)."""
    values, height = smooth[core], np.nonzero(core)[1]
    count = np.bincount(height, minlength=core.shape[1]).cumsum()
    total = np.bincount(height, weights=values, minlength=core.shape[1]).cumsum()
    rest, n = total[-1] - total, count[-1] - count
    fits = (count >= 0.15 * count[-1]) & (n >= 0.15 * count[-1])
    if not fits.any() or values.std() < 1e-9:
        return 0
    drop = np.where(fits, total / np.maximum(count, 1) - rest / np.maximum(n, 1), 0)
    explained = count * n / count[-1] ** 2 * drop**2 / values.var()
    return int(((drop >= FLUID_HU) & (explained >= FLUID_SHARE)).any())
