"""The hemorrhage: its location, form and density, the displaced tissue, and blood in the ventricles.

The form is the level set of a ball, its lobes and a smooth random field, in units of the radius of the ball of the same
volume. Its threshold is moved until the mask, on the scan's own slices, has the latent volume. Islands and satellites
are small separate balls.

Vocabulary
----------
The *density* latent is high where the clot is heterogeneous, the *shape* latent where it is irregular; both act on the
outcome (see `growth`). A *sign* is what a reader would note (see `patients.SIGNS`); each present sign is drawn as one
part of the clot, deeper than the clot's own mottle, so that it is seen only where it is present.

Sources
-------
Definitions of the signs: Morotti A et al. Ann Neurol 2019;86:480-492. Locations, densities and edema are rounded
typical values; they were not fitted to scans.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ich_phantom.shapes import Array, Pose, sigmoid

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
CLOT_HU, SERUM_HU, MEAN_DROP_HU = 70.0, 34.0, 6.0
# Dense clot left around a part that is enclosed.
SHELL_MM = 2.6
# How far borders within the clot wander, in radii.
WAVE = 0.07


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
    sign can be distinguished from the latent behind it.

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
    return slice_sums(share, n_thin) >= n_thin / 2


def slice_sums(planes: Array, n_thin: int) -> Array:
    """Sums of each slice's thin planes."""
    total = planes[::n_thin].copy()
    for k in range(1, n_thin):
        total += planes[k::n_thin]
    return total


def clot_hu(
    hematoma: Hematoma, level: Array, head: tuple, *, voxel_mm: tuple, up: Array, rng: np.random.Generator
) -> Array:
    """HU of the clot on thin voxels.

    A dense core, a paler rim, a mottle whose depth grows with the density latent, and one dark part for each sign. The
    mottle stays shallower than any sign, so that it is not taken for one.

    Parameters
    ----------
    level : ndarray, shape (planes, rows, columns)
        0 at the edge, in units of the radius.
    head : tuple of ndarray
        Head coordinates.
    voxel_mm : tuple of float
    up : ndarray, shape of the level
        Height above the centre against gravity, in mm: cells sink, serum floats.
    """
    mean = CLOT_HU - 2.5 * hematoma.density + rng.normal(0, 0.8)
    hu = np.float32(mean - 3) + np.float32(4) * np.clip(level * 2, 0, 1)
    dark = _with_signs(_mottle(hematoma, level.shape, voxel_mm, rng), hematoma, level, head, rng)
    hu -= dark
    # What is dark in one part is mostly made up for by denser cells in the rest.
    inside = level > 0
    if inside.any():
        hu += np.float32(0.7 * (mean - MEAN_DROP_HU - hu[inside].mean()))
    if "fluid_level" in hematoma.signs:
        serum = sigmoid(up - np.float32(0.1 * hematoma.radius_mm), 0.6) * sigmoid(level - 0.04, 0.03)
        hu += 8 + serum * (np.float32(SERUM_HU - 8) - hu)
    return hu


def _mottle(hematoma: Hematoma, shape: tuple, voxel_mm: tuple, rng: np.random.Generator) -> Array:
    """Clouds in the clot, deeper with density; held within 1.2 times their scale, so that none is a sign."""
    grain = float(np.clip(0.16 * hematoma.radius_mm, 1.6, 3.0))
    density = float(np.clip(hematoma.density, -2.5, 2.5)) + 0.4 * ("heterogeneous" in hematoma.signs)
    cloud = np.tanh(roughness(shape, grain, voxel_mm, rng))
    return np.float32(1.2 * 4.0 * np.exp(0.36 * min(density, 2.2))) * cloud


def _with_signs(mottle: Array, hematoma: Hematoma, level: Array, head: tuple, rng: np.random.Generator) -> Array:
    """The mottle, and in it the drop of each sign; enclosed parts keep a dense shell and lie away from pale sides."""
    place = _bent(hematoma, level, head, rng)
    depth = np.zeros_like(mottle)
    if "blend" in hematoma.signs:
        side = rng.normal(size=3) * [1, 1, 0.3]
        side /= np.linalg.norm(side)
        depth = np.float32(rng.uniform(24, 30)) * _half(place, side)
        place = [p + np.float32(0.3 * s) for p, s in zip(place, side, strict=True)]
    if "fluid_level" in hematoma.signs:
        place[1] = place[1] + np.float32(0.4)
    shell = sigmoid(level - np.float32(SHELL_MM / hematoma.radius_mm), 0.05)
    for sign, part in ENCLOSED_PARTS.items():
        if sign in hematoma.signs:
            drop, share = part(hematoma.radius_mm, place, rng)
            depth = np.maximum(depth, np.float32(drop) * share * shell)
    return mottle * (1 - np.float32(0.5) * np.minimum(depth * np.float32(1 / 12), 1)) + depth


def _bent(hematoma: Hematoma, level: Array, head: tuple, rng: np.random.Generator) -> list[Array]:
    """Coordinates in radii from the middle of the blood, which skull and ventricles may have moved; a little wavy.

    The waves bend every straight border and round part that is drawn in these coordinates.
    """
    inside = level > 0
    x, y, z = (
        o * np.float32(1 / (r * hematoma.radius_mm))
        for o, r in zip(hematoma.offsets_mm(head), hematoma.axes, strict=True)
    )
    if inside.any():
        x, y, z = (p - p[inside].mean() for p in (x, y, z))
    phases = rng.uniform(0, 2 * np.pi, 2).astype(np.float32)
    wave = np.float32(WAVE)
    return [x + wave * np.sin(5 * y + 2 * z + phases[0]), y + wave * np.sin(5 * x - 2 * z + phases[1]), z]


def _half(place: list[Array], side: NDArray) -> Array:
    """One side of the clot, sharply bordered, reaching its margin."""
    x, y, z = (p * np.float32(s) for p, s in zip(place, side, strict=True))
    return sigmoid(x + y + z - 0.25, 0.04)


def _black_hole(radius_mm: float, place: list[Array], rng: np.random.Generator) -> tuple[float, Array]:
    """A small, very dark, well-defined round part."""
    return rng.uniform(44, 52), sigmoid(_ball(radius_mm, place, rng, jitter=0.10, size=np.full(3, 0.33)), 0.06)


def _hypodensity(radius_mm: float, place: list[Array], rng: np.random.Generator) -> tuple[float, Array]:
    """A dark patch of any form with a soft border."""
    return rng.uniform(21, 26), sigmoid(_ball(radius_mm, place, rng, jitter=0.15, size=rng.uniform(0.34, 0.5, 3)), 0.10)


def _swirl(radius_mm: float, place: list[Array], rng: np.random.Generator) -> tuple[float, Array]:
    """A curved band, little denser than brain."""
    angle, phase = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2)
    u = np.float32(np.cos(angle)) * place[0] + np.float32(np.sin(angle)) * place[1]
    v = np.float32(np.cos(angle)) * place[1] - np.float32(np.sin(angle)) * place[0]
    band = max(0.13, 1.7 / radius_mm) - np.abs(u - phase - np.float32(0.45) * np.sin(3 * v))
    return rng.uniform(13, 17), sigmoid(np.minimum(band, 0.75 - np.abs(v)), 0.05)


def _ball(radius_mm: float, place: list[Array], rng: np.random.Generator, *, jitter: float, size: NDArray) -> Array:
    """Level of an ellipsoid near the middle, no smaller than a slice can show as long as the clot has room for it."""
    least = np.minimum([3.2 / radius_mm, 3.2 / radius_mm, 5.0 / radius_mm], [0.42, 0.42, 0.6])
    return ball_level(place, rng.normal(0, jitter, 3), np.maximum(size, least))


ENCLOSED_PARTS = {"black_hole": _black_hole, "hypodensity": _hypodensity, "swirl": _swirl}


def ventricular_share(
    hematoma: Hematoma, ventricle: Array, *, depth_mm: Array, away_mm: Array, rng: np.random.Generator
) -> Array:
    """Share of each thin voxel that is blood in a ventricle: near the hemorrhage, and where it has settled.

    Parameters
    ----------
    ventricle : ndarray, shape (planes, rows, columns)
        Share of each voxel inside the ventricles.
    depth_mm : ndarray, broadcastable
        Depth in the direction of gravity; a patient lies on the back.
    away_mm : ndarray, shape of `ventricle`
        Distance from the centre of the hemorrhage.
    """
    inside = ventricle > 0.5
    if not inside.any():
        return np.zeros_like(ventricle)
    order = depth_mm * np.float32(1 / 22) - away_mm * np.float32(1 / 25)
    filled = float(np.clip(np.exp(rng.normal(-1.5, 0.7) + 0.25 * np.log(hematoma.volume_ml / 11.5)), 0.06, 0.9))
    return ventricle * sigmoid(order - np.float32(np.quantile(order[inside], 1 - filled)), 0.06)
