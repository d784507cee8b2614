"""Signs of expansion and descriptors of a hematoma, measured on a non-contrast head CT from HU and a mask.

The signs were defined for a reader's eye. What is written here is one reading of the published definitions, with every
number of it a named constant: it makes the signs reproducible, not right. HU are averaged in plane over about 2 mm
first, so that noise of 4 HU cannot make a sign. A sign needs room: a part below `LEAST_PART_ML` is never one.

References
----------
Morotti A et al. Standards for detecting, interpreting, and reporting noncontrast CT markers of intracerebral hemorrhage
expansion. Ann Neurol 2019;86:480-492.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

# Li Q et al. Stroke 2015;46:2119: two adjoining parts of clearly different density, at least 18 HU apart.
BLEND_HU, BLEND_SHARE = 18.0, 0.08
# Li Q et al. Stroke 2016;47:1777: a dark part enclosed by dense clot, at least 28 HU below it.
BLACK_HOLE_HU = 28.0
# Boulouis G et al. JAMA Neurol 2016;73:961: any dark part within the clot; the size of the drop is a choice made here.
HYPODENSITY_HU = 16.0
# Selariu E et al. Acta Radiol 2012;53:844: dark parts within the clot, here on two neighbouring slices.
SWIRL_SLICES = 2
# Li Q et al. Stroke 2017;48:3019: three or more small hematomas apart from the main one.
ISLANDS = 3
# Shimoda Y et al. Stroke 2017 (satellite sign): a small hematoma at most 10 mm across, at most 20 mm away.
SATELLITE_DIAMETER_MM, SATELLITE_DISTANCE_MM = 10.0, 20.0
# Barras CD et al. Stroke 2009;40:1325 rate margins by eye; the cut on the surface is a choice made here.
IRREGULARITY = 1.15
# Zhang K et al. Neurocrit Care 2025, doi 10.1007/s12028-025-02218-z rate it by eye; both numbers are choices made here.
FLUID_HU, FLUID_SHARE = 18.0, 0.55

SMOOTH_MM, RIM_MM = 1.0, 1.5
LEAST_PART_ML = 0.05


@dataclass(frozen=True)
class Markers:
    """What is measured on one hematoma; the signs are 0 or 1.

    Attributes
    ----------
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
    """

    volume_ml: float
    surface_irregularity: float
    mean_hu: float
    sd_hu: float
    skewness_hu: float
    cv_hu: float
    hypodense_fraction: float
    n_components: int
    blend: int
    black_hole: int
    swirl: int
    any_hypodensity: int
    irregular: int
    island: int
    satellite: int
    fluid_level: int

    def as_dict(self) -> dict[str, float | int]:
        """Names and values, in the order above."""
        return asdict(self)


def measure_markers(hu: ArrayLike, mask: ArrayLike, spacing_mm: tuple[float, float, float]) -> Markers:
    """Signs and descriptors of the hematoma in `mask`.

    Dark parts are looked for in the core, `RIM_MM` inside the margin, where partial volume with brain ends. Dense clot
    is the mean of the core above its 40th percentile.

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
    Markers

    Raises
    ------
    ValueError
        If the shapes differ, the mask is empty or not 0/1, or a spacing is not positive.
    """
    image, inside, spacing = _checked(hu, mask, spacing_mm)
    smooth = _smoothed(image, inside, spacing)
    core = _core(inside, spacing)
    values, voxel_ml = smooth[inside], float(np.prod(spacing)) / 1000
    dense_hu = float(np.mean(smooth[core & (smooth >= np.quantile(smooth[core], 0.4))]))
    least = max(2.0, LEAST_PART_ML / voxel_ml)
    dark = _parts(core & (smooth < dense_hu - HYPODENSITY_HU), least)
    return Markers(
        **_descriptors(values, smooth[core], dense_hu),
        **_form(inside, spacing, least),
        volume_ml=float(inside.sum() * voxel_ml),
        blend=int(any(_is_blend(part, smooth, core, dense_hu) for part in dark)),
        black_hole=int(any(_is_enclosed(p, core) for p in _parts(core & (smooth < dense_hu - BLACK_HOLE_HU), least))),
        swirl=int(any(np.count_nonzero(part.any(axis=(0, 1))) >= SWIRL_SLICES for part in dark)),
        any_hypodensity=int(bool(dark)),
        fluid_level=_fluid_level(smooth, core),
    )


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
        raise ValueError("mask must hold at least one voxel of blood, got none.")
    margin = [int(np.ceil(6 / s)) for s in spacing_mm]
    inside, image = np.pad(inside, [(m, m) for m in margin]), np.pad(image, [(m, m) for m in margin], mode="edge")
    box = tuple(
        slice(b.start - m, b.stop + m) for b, m in zip(ndimage.find_objects(inside.astype(int))[0], margin, strict=True)
    )
    return image[box].astype(np.float64), inside[box], tuple(float(s) for s in spacing_mm)


def _smoothed(image: NDArray, inside: NDArray, spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """In-plane average over the hematoma alone, so that brain does not dilute its margin; brain elsewhere."""
    sigma = (SMOOTH_MM / spacing[0], SMOOTH_MM / spacing[1], 0)
    weight = ndimage.gaussian_filter(inside.astype(float), sigma)
    total = ndimage.gaussian_filter(np.where(inside, image, 0.0), sigma)
    return np.where(inside, total / np.maximum(weight, 1e-9), image)


def _core(inside: NDArray, spacing: tuple[float, ...]) -> NDArray[np.bool_]:
    """Voxels deeper than `RIM_MM` within their slice; the whole hematoma if that leaves nothing."""
    depth = np.stack([ndimage.distance_transform_edt(s, sampling=spacing[:2]) for s in np.moveaxis(inside, 2, 0)], 2)
    core = depth > RIM_MM
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
    irregularity = surface_irregularity(inside, spacing)
    pieces = _parts(inside, least_voxels) or [inside]
    away = ndimage.distance_transform_edt(~pieces[0], sampling=spacing) if len(pieces) > 1 else None
    return {
        "surface_irregularity": irregularity,
        "n_components": len(pieces),
        "irregular": int(irregularity >= IRREGULARITY),
        "island": int(len(pieces) - 1 >= ISLANDS),
        "satellite": int(any(_is_satellite(piece, away, spacing) for piece in pieces[1:])),
    }


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
    return max(extent) <= SATELLITE_DIAMETER_MM and float(away_mm[piece].min()) <= SATELLITE_DISTANCE_MM


def _is_enclosed(part: NDArray, core: NDArray) -> bool:
    """Whether dense core surrounds the part within every slice it is on."""
    ring = ndimage.binary_dilation(part, np.ones((3, 3, 1))) & ~part
    return bool((core | ~ring).all())


def _is_blend(part: NDArray, smooth: NDArray, core: NDArray, dense_hu: float) -> bool:
    """A large dark part that is not enclosed."""
    large = part.sum() >= BLEND_SHARE * core.sum()
    return bool(large and not _is_enclosed(part, core) and dense_hu - smooth[part].mean() >= BLEND_HU)


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
