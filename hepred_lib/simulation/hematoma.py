"""The hemorrhage: where, what shape, how dense, and what it does to the tissue around it.

The shape is a level set of a sum of lobes and a smooth random field; its threshold is moved until the mask, on the
scan's own slices, has the latent volume. The density inside comes from the latent `density` and from the signs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hepred_lib.simulation.shapes import Array, Pose

# Centre for the right side in head coordinates (mm), its spread, and the relative axes.
SEATS = {
    "basal_ganglia": ((27, 1, 5), (2, 5, 4), (0.75, 1.30, 1.03)),
    "thalamus": ((13, -14, 8), (2, 3, 3), (0.90, 1.10, 1.0)),
    "brainstem": ((0, -19, -26), (2, 2, 5), (1.1, 0.9, 1.0)),
    "cerebellum": ((20, -58, -36), (6, 6, 5), (1.0, 1.0, 0.9)),
}
LOBES = (((30, 42, 24), (6, 8, 10)), ((32, -34, 36), (7, 8, 8)), ((45, -8, -10), (4, 8, 5)), ((26, -66, 12), (5, 6, 8)))
EDEMA_PER_VOLUME = 0.42


@dataclass(frozen=True)
class Hematoma:
    """What is drawn of one hemorrhage.

    Attributes
    ----------
    centre_mm, axes : ndarray, shape (3,)
        Head coordinates and relative half axes.
    volume_ml : float
        Latent parenchymal volume.
    density, shape : float
        Latents: heterogeneity and irregularity.
    signs : frozenset of str
        Names of the signs present.
    mean_hu : float
        Of dense clot.
    ventricular : bool
    """

    centre_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    volume_ml: float
    density: float
    shape: float
    signs: frozenset[str]
    mean_hu: float
    edema_hu: float
    ventricular: bool

    @property
    def radius_mm(self) -> float:
        """Of the ball of the same volume."""
        return float((3000 * self.volume_ml / (4 * np.pi)) ** (1 / 3))


def sample_hematoma(rng: np.random.Generator, latents: dict, signs: frozenset[str]) -> Hematoma:
    """The hemorrhage of one patient from the latent variables of the table.

    Parameters
    ----------
    rng : Generator
    latents : dict
        `location`, `true_baseline_ml`, `density`, `shape`, `ivh`.
    signs : frozenset of str
    """
    side = rng.choice([-1.0, 1.0])
    if latents["location"] == "lobar":
        middle, spread = LOBES[rng.integers(len(LOBES))]
        axes = np.exp(rng.normal(0, 0.15, 3))
    else:
        middle, spread, ratio = SEATS[latents["location"]]
        axes = np.array(ratio) * np.exp(rng.normal(0, 0.10, 3))
    centre = np.array(middle) * [side, 1, 1] + rng.normal(0, spread)
    return Hematoma(
        centre_mm=centre,
        axes=axes / np.prod(axes) ** (1 / 3),
        volume_ml=float(latents["true_baseline_ml"]),
        density=float(latents["density"]),
        shape=float(latents["shape"]),
        signs=signs,
        mean_hu=float(64.5 - 2.0 * latents["density"] + rng.normal(0, 1.5)),
        edema_hu=float(rng.normal(-5, 1.5)),
        ventricular=bool(latents["ivh"]),
    )


def displacement(hematoma: Hematoma, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """Shift in mm from a place in the scan to the tissue that was pushed there: outwards, as around a growing ball."""
    offsets = [c - np.float32(m) for c, m in zip((x, y, z), hematoma.centre_mm, strict=True)]
    distance = np.sqrt(sum(o * o for o in offsets)) + np.float32(1e-3)
    pushed = distance**3 - np.float32(1.2 * hematoma.radius_mm**3)
    shrink = np.cbrt(np.maximum(pushed, 0)) / distance - 1
    return tuple(o * shrink for o in offsets)


@dataclass(frozen=True)
class Bleed:
    """Blood on thin planes inside a box: share of each voxel, HU, edema share, and the box itself."""

    box: tuple[slice, slice, slice]
    share: Array
    hu: Array
    edema: Array


def box_around(hematoma: Hematoma, pose: Pose, axis_mm: NDArray, heights_mm: NDArray) -> tuple[slice, slice, slice]:
    """Planes, rows and columns that the hemorrhage and its edema can reach."""
    place = pose.to_scanner(hematoma.centre_mm)
    reach = 1.9 * hematoma.radius_mm * hematoma.axes.max() + 8
    edges = [(heights_mm, place[2]), (axis_mm, place[0]), (axis_mm, place[1])]
    return tuple(slice(*np.searchsorted(axis, [middle - reach, middle + reach])) for axis, middle in edges)


def form_level(hematoma: Hematoma, head: tuple[Array, Array, Array], rng: np.random.Generator) -> Array:
    """The unthresholded form: lobes joined smoothly, roughened by a random field; about 1 in the middle, 0 at the edge."""
    offsets = [(c - np.float32(m)) for c, m in zip(head, hematoma.centre_mm, strict=True)]
    radii = hematoma.radius_mm * hematoma.axes
    level = _lobe(offsets, np.zeros(3), radii)
    n_lobes = int(np.clip(np.round(1.2 + 1.3 * hematoma.shape + rng.normal(0, 0.4)), 0, 5))
    for _ in range(n_lobes):
        towards = rng.normal(size=3) * [1, 1, 0.7]
        place = 0.75 * radii * towards / np.linalg.norm(towards)
        level = np.maximum(level, _lobe(offsets, place, radii * rng.uniform(0.45, 0.65)) * np.float32(0.6))
    return level


def _lobe(offsets: list[Array], place: NDArray, radii: NDArray) -> Array:
    squared = sum(((o - np.float32(p)) * np.float32(1 / r)) ** 2 for o, p, r in zip(offsets, place, radii, strict=True))
    return 1 - np.sqrt(squared)


def roughness(shape: tuple[int, ...], sigma: tuple[float, float, float], rng: np.random.Generator) -> Array:
    """A smooth random field of unit variance on the box."""
    rough = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="reflect", truncate=3.0)
    return rough / (rough.std() + np.float32(1e-6))


def threshold_for_volume(level: Array, n_thin: int, *, voxels: int, width: float) -> float:
    """The threshold at which the mask on slices, averaged from thin planes, holds a number of voxels, as nearly as can be."""
    low, high = float(level.min()), float(level.max())
    for _ in range(22):
        middle = (low + high) / 2
        count = np.count_nonzero(mask_of(share_above(level, middle, width), n_thin))
        low, high = (middle, high) if count > voxels else (low, middle)
    return (low + high) / 2


def share_above(level: Array, threshold: float, width: float) -> Array:
    """Share of each thin voxel inside the level set; `width` is the change of level across a voxel."""
    return np.clip((level - np.float32(threshold)) * np.float32(1 / width) + np.float32(0.5), 0, 1)


def mask_of(share: Array, n_thin: int) -> NDArray[np.bool_]:
    """Slices' voxels that are at least half blood."""
    return share.reshape(-1, n_thin, *share.shape[1:]).mean(axis=1) >= 0.5


def bleed(hematoma: Hematoma, *, head: tuple[Array, Array, Array], allowed: Array, n_thin: int, rng: np.random.Generator, voxel_mm: tuple[float, float, float]) -> tuple[Array, Array, Array]:
    """Blood share, blood HU and edema share on the thin planes of the box.

    Parameters
    ----------
    head : tuple of ndarray, each shape (planes, rows, columns)
        Head coordinates.
    allowed : ndarray, same shape
        Level in mm of where parenchymal blood may be.
    """
    level = form_level(hematoma, head, rng)
    grain = np.clip(0.35 * hematoma.radius_mm, 2.0, 5.0)
    amplitude = 0.05 + 0.09 * np.exp(0.6 * np.clip(hematoma.shape, -2.5, 2.5))
    level += np.float32(amplitude) * roughness(level.shape, tuple(grain / np.array(voxel_mm)), rng)
    level = np.minimum(level, allowed * np.float32(0.5 / hematoma.radius_mm))
    width = 1.2 * voxel_mm[1] / hematoma.radius_mm
    voxel_ml = np.prod(voxel_mm) * n_thin / 1000
    cut = threshold_for_volume(level, n_thin, voxels=round(hematoma.volume_ml / voxel_ml), width=width)
    share = share_above(level, cut, width)
    outer = threshold_for_volume(level, n_thin, voxels=round((1 + EDEMA_PER_VOLUME) * hematoma.volume_ml / voxel_ml), width=width)
    edema = share_above(level, outer, 3 * width)
    return share, clot_hu(hematoma, level - np.float32(cut), head, rng, voxel_mm), edema


def clot_hu(hematoma: Hematoma, depth: Array, head: tuple, rng: np.random.Generator, voxel_mm: tuple) -> Array:
    """HU of the clot: denser inside, mottled and with dark parts as the density latent grows."""
    grain = np.clip(0.30 * hematoma.radius_mm, 1.5, 5.0)
    mottle = roughness(depth.shape, tuple(grain / np.array(voxel_mm)), rng)
    spread = 2.0 + 2.2 * np.exp(0.5 * np.clip(hematoma.density, -2.5, 2.5))
    hu = np.float32(hematoma.mean_hu) + np.float32(spread) * mottle + np.float32(5) * np.clip(depth * 2, 0, 1) - 3
    return hu.astype(np.float32)
