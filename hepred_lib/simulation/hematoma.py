"""The form of a hemorrhage: where it lies, which voxels it fills, what it pushes aside.

The form is a level set of a ball, its lobes and a smooth random field, in units of the radius of the ball of the same
volume. Its threshold is moved until the mask, on the scan's own slices, has the latent volume. Islands and satellites
are small balls of their own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hepred_lib.simulation.shapes import Array, Pose

# Centre for the right side in head coordinates (mm), its spread, and the relative half axes.
SEATS = {
    "basal_ganglia": ((27, 1, 5), (2, 5, 4), (0.75, 1.30, 1.03)),
    "thalamus": ((13, -14, 8), (2, 3, 3), (0.90, 1.10, 1.0)),
    "brainstem": ((0, -19, -26), (2, 2, 5), (1.1, 0.9, 1.0)),
    "cerebellum": ((20, -58, -36), (6, 6, 5), (1.0, 1.0, 0.9)),
}
LOBES = (((30, 42, 24), (6, 8, 10)), ((32, -34, 36), (7, 8, 8)), ((44, -8, -12), (4, 8, 5)), ((26, -64, 14), (5, 6, 8)))
EDEMA_PER_VOLUME = 0.42
SOFT_EDGE_MM = 1.8
# Radius of a lobe in radii of the clot; depth and grain of a ragged margin.
LOBE = 0.45
RAGGED_MM, RAGGED_GRAIN_MM = 1.3, 1.8


@dataclass(frozen=True)
class Hematoma:
    """One hemorrhage.

    Attributes
    ----------
    centre_mm, axes : ndarray, shape (3,)
        Head coordinates, and half axes relative to the radius.
    volume_ml : float
        Latent parenchymal volume.
    density, shape : float
        Latents: heterogeneity and irregularity.
    signs : frozenset of str
        Names of the signs present.
    ventricular : bool
        Whether blood has reached the ventricles.
    """

    centre_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    volume_ml: float
    density: float
    shape: float
    signs: frozenset[str]
    ventricular: bool

    @property
    def radius_mm(self) -> float:
        """Of the ball of the same volume."""
        return float((3000 * self.volume_ml / (4 * np.pi)) ** (1 / 3))

    def offsets_mm(self, head: tuple[Array, Array, Array]) -> list[Array]:
        """Head coordinates relative to the centre."""
        return [axis - np.float32(middle) for axis, middle in zip(head, self.centre_mm, strict=True)]


def sample_hematoma(rng: np.random.Generator, latents: dict, signs: frozenset[str]) -> Hematoma:
    """The hemorrhage of one patient from the latent variables of the table.

    Parameters
    ----------
    rng : Generator
    latents : dict
        `location`, `true_baseline_ml`, `density`, `shape`, `ivh`.
    signs : frozenset of str
    """
    if latents["location"] == "lobar":
        middle, spread = LOBES[rng.integers(len(LOBES))]
        axes = np.exp(rng.normal(0, 0.15, 3))
    else:
        middle, spread, ratio = SEATS[latents["location"]]
        axes = np.array(ratio) * np.exp(rng.normal(0, 0.10, 3))
    side = rng.choice([-1.0, 1.0])
    return Hematoma(
        centre_mm=np.array(middle) * [side, 1, 1] + rng.normal(0, spread),
        axes=axes / np.prod(axes) ** (1 / 3),
        volume_ml=float(latents["true_baseline_ml"]),
        density=float(latents["density"]),
        shape=float(latents["shape"]),
        signs=signs,
        ventricular=bool(latents["ivh"]),
    )


def displacement(hematoma: Hematoma, head: tuple[Array, Array, Array]) -> list[Array]:
    """Shift in mm from a place in the scan to the tissue now there: pushed outwards, as around a growing ball."""
    offsets = hematoma.offsets_mm(head)
    squared = sum(o * o for o in offsets) + np.float32(1e-3)
    # Tissue pushed from r0 to r has r^3 = r0^3 + 1.2 R^3: the clot and half its edema.
    kept = np.clip(1 - np.float32(1.2 * hematoma.radius_mm**3) * squared ** np.float32(-1.5), 0, 1)
    shrink = np.cbrt(kept) - 1
    return [o * shrink for o in offsets]


def reach_mm(hematoma: Hematoma) -> float:
    """Distance from the centre that blood and edema can reach."""
    return 1.9 * hematoma.radius_mm * float(hematoma.axes.max()) + 6


def box_around(hematoma: Hematoma, pose: Pose, grid_mm: tuple[NDArray, NDArray, NDArray]) -> tuple[slice, slice, slice]:
    """Planes, rows and columns that the hemorrhage and its edema can reach; `grid_mm` is rows, columns, planes."""
    place, reach = pose.to_scanner(hematoma.centre_mm), reach_mm(hematoma)
    rows, columns, planes = (
        slice(*axis.searchsorted([middle - reach, middle + reach])) for axis, middle in zip(grid_mm, place, strict=True)
    )
    return planes, rows, columns


def roughness(shape: tuple[int, ...], grain_mm: float, voxel_mm: tuple, rng: np.random.Generator) -> Array:
    """A smooth random field of unit variance on thin planes; `grain_mm` is the standard deviation of its kernel."""
    sigma = np.maximum(grain_mm / np.asarray(voxel_mm), 0.3)
    rough = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="reflect", truncate=2.5)
    return rough / (rough.std() + np.float32(1e-6))


def form_level(hematoma: Hematoma, head: tuple, voxel_mm: tuple, rng: np.random.Generator) -> Array:
    """The main body: 1 in the middle, about 0 at the edge.

    Lobes and coarse roughness grow with the shape latent. An irregular margin is ragged on a finer scale, so that the
    sign can be told from the latent behind it.

    Parameters
    ----------
    head : tuple of ndarray, each of shape (planes, rows, columns)
        Head coordinates of thin voxels.
    voxel_mm : tuple of float
        Their size along planes, rows, columns.
    """
    offsets = hematoma.offsets_mm(head)
    radii = hematoma.radius_mm * hematoma.axes
    shape, irregular = float(np.clip(hematoma.shape, -2.5, 2.2)), "irregular" in hematoma.signs
    lobular = float(np.exp(0.55 * shape))
    level = ball_level(offsets, np.zeros(3), radii)
    for direction in _directions(5, rng):
        place = (0.55 + 0.16 * lobular) * radii * direction
        level = np.maximum(level, ball_level(offsets, place, radii * LOBE) * np.float32(LOBE))
    grain = float(np.clip(0.24 * hematoma.radius_mm, 1.6, 4.5))
    level += np.float32((0.11 if irregular else 0.085) * lobular) * roughness(level.shape, grain, voxel_mm, rng)
    if irregular:
        ragged = min(RAGGED_MM * np.exp(0.45 * shape) / hematoma.radius_mm, 0.25)
        level += np.float32(ragged) * roughness(level.shape, RAGGED_GRAIN_MM, voxel_mm, rng)
    return level


def islands_level(hematoma: Hematoma, head: tuple, rng: np.random.Generator) -> Array | None:
    """Small separate bleeds: three for an island sign, one for a satellite; None without either."""
    n = 3 * ("island" in hematoma.signs) + ("satellite" in hematoma.signs)
    if not n:
        return None
    offsets = hematoma.offsets_mm(head)
    radii = hematoma.radius_mm * hematoma.axes
    size = float(np.clip(0.18 * hematoma.radius_mm, 2.6, 4.4))
    levels = []
    for direction in _directions(n, rng):
        place = direction * (radii * 1.30 + size)
        levels.append(ball_level(offsets, place, np.full(3, size)) * np.float32(size / hematoma.radius_mm))
    return np.maximum.reduce(levels)


def _directions(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Unit vectors all round, flatter than isotropic, so that they show within slices and apart from each other."""
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(n) / n + rng.normal(0, 0.15, n)
    towards = np.column_stack([np.cos(angle), np.sin(angle), rng.uniform(-0.6, 0.6, n)])
    return towards / np.linalg.norm(towards, axis=1, keepdims=True)


def ball_level(offsets: list[Array], place: NDArray, radii: NDArray) -> Array:
    """1 in the middle of an ellipsoid, 0 on its surface."""
    squared = sum(((o - np.float32(p)) * np.float32(1 / r)) ** 2 for o, p, r in zip(offsets, place, radii, strict=True))
    return 1 - np.sqrt(squared)


def fill_to_volume(
    level: Array, *, allowed: Array, islands: Array | None, voxels: int, n_thin: int, width: float
) -> Array:
    """Shift the level until its mask on slices holds a number of voxels, as nearly as can be.

    Parameters
    ----------
    level, allowed, islands : ndarray, shape (planes, rows, columns)
        Only the first is shifted: blood stays where it is allowed, islands keep their size.
    voxels : int
        Wanted, on slices.
    n_thin : int
        Thin planes a slice.
    width : float
        Change of level over which a voxel goes from empty to full.

    Returns
    -------
    ndarray, shape (planes, rows, columns)
        The level of the blood, 0 at its edge.
    """
    low, high = float(level.min()) - width, float(level.max()) + width
    # The main body keeps a soft edge and a half away from islands, or they would be lobes.
    moat = None if islands is None else -islands - np.float32(1.5 * width)
    for _ in range(18):
        middle = (low + high) / 2
        blood = level - np.float32(middle)
        if islands is not None:
            blood = np.maximum(np.minimum(blood, moat), islands)
        blood = np.minimum(blood, allowed)
        count = np.count_nonzero(mask_of(share_of(blood, width), n_thin))
        if count == voxels:
            break
        low, high = (middle, high) if count > voxels else (low, middle)
    return blood


def share_of(level: Array, width: float) -> Array:
    """Share of each thin voxel inside the level set."""
    return np.clip(level * np.float32(1 / width) + np.float32(0.5), 0, 1)


def mask_of(share: Array, n_thin: int) -> NDArray[np.bool_]:
    """Slices' voxels that are at least half blood."""
    total = share[0::n_thin].copy()
    for k in range(1, n_thin):
        total += share[k::n_thin]
    return total >= n_thin / 2
