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

# Li Q et al. Stroke 2015;46:2119: two parts of clearly different density, at least 18 HU apart.
BLEND_HU = 18.0
# Li Q et al. Stroke 2016;47:1777: a dark part enclosed by the clot, at least 28 HU below it.
BLACK_HOLE_HU = 28.0
# Boulouis G et al. JAMA Neurol 2016;73:961: any dark part within the clot; the size of the drop is not published.
HYPODENSITY_HU = 12.0
# Selariu E et al. Acta Radiol 2012;53:844; Ng D et al. J Clin Neurosci 2018;51:30: dark on two neighbouring slices.
SWIRL_SLICES = 2
# Li Q et al. Stroke 2017;48:3019: three or more islands apart from the clot.
ISLANDS = 3
# Shimoda Y et al. Stroke 2017;48:3299 (satellite): one, at most 10 mm across and at most 20 mm away.
SATELLITE_DIAMETER_MM, SATELLITE_DISTANCE_MM = 10.0, 20.0
# Barras CD et al. Stroke 2009;40:1325: shape categories 3 to 5; here a margin 35 % longer than its convex-smooth form.
IRREGULARITY = 1.22
FLUID_HU, FLUID_ALIGNMENT = 20.0, 0.9
SMOOTH_MM = 1.0
LEAST_PART_ML = 0.05


@dataclass(frozen=True)
class Markers:
    """What is measured on one hematoma; the signs are 0 or 1.

    Attributes
    ----------
    volume_ml, surface_irregularity
        Volume; surface area over that of the ball of the same volume, measured alike (1 for a ball, about).
    mean_hu, sd_hu, skewness_hu, cv_hu
        Moments of the smoothed HU inside the mask; cv is SD over mean.
    hypodense_fraction
        Share of the mask at least `HYPODENSITY_HU` below the dense clot.
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
        """Name to value."""
        return asdict(self)


def measure_markers(hu: ArrayLike, mask: ArrayLike, spacing_mm: tuple[float, float, float]) -> Markers:
    """Signs and descriptors of the hematoma in `mask`.

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
        If the shapes differ, the mask is empty, or a spacing is not positive.
    """
    image, inside, spacing = _checked(hu, mask, spacing_mm)
    voxel_ml = float(np.prod(spacing)) / 1000
    image, inside = _cropped(image, inside)
    smooth = _smoothed(image, inside, spacing)
    values = smooth[inside]
    # The dense clot: the upper half of the hematoma, above its own 40th percentile.
    dense_hu = float(np.mean(values[values >= np.quantile(values, 0.4)]))
    parts, sizes, touches = _dark_parts(smooth, inside, dense_hu - HYPODENSITY_HU, voxel_ml)
    pieces = _pieces(inside, spacing)
    irregularity = surface_irregularity(inside, spacing)
    mean, sd = float(values.mean()), float(values.std())
    return Markers(
        volume_ml=float(inside.sum() * voxel_ml),
        surface_irregularity=irregularity,
        mean_hu=mean,
        sd_hu=sd,
        skewness_hu=float(((values - mean) ** 3).mean() / sd**3) if sd > 0 else 0.0,
        cv_hu=sd / mean if mean > 0 else 0.0,
        hypodense_fraction=float((values < dense_hu - HYPODENSITY_HU).mean()),
        n_components=len(pieces),
        blend=_blend(smooth, parts, sizes, touches, dense_hu=dense_hu),
        black_hole=_black_hole(smooth, inside, dense_hu, voxel_ml),
        swirl=int(any(np.any(parts == k, axis=(0, 1)).sum() >= SWIRL_SLICES for k in sizes)),
        any_hypodensity=int(bool(sizes)),
        irregular=int(irregularity >= IRREGULARITY),
        island=int(len(pieces) - 1 >= ISLANDS),
        satellite=_satellite(pieces),
        fluid_level=_fluid_level(smooth, inside),
    )
