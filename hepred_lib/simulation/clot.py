"""The density of a hemorrhage, and the blood in the ventricles."""

import numpy as np
from numpy.typing import NDArray

from hepred_lib.simulation.hematoma import Hematoma, ball_level, roughness
from hepred_lib.simulation.shapes import Array, sigmoid

CLOT_HU, SERUM_HU, MEAN_DROP_HU = 70.0, 34.0, 6.0
# Dense clot left around a part that is enclosed.
SHELL_MM = 2.6
# How far borders within the clot wander, in radii.
WAVE = 0.07


def clot_hu(
    hematoma: Hematoma, level: Array, head: tuple, *, voxel_mm: tuple, up: Array, rng: np.random.Generator
) -> Array:
    """HU of the clot on thin voxels.

    A dense core, a paler rim, a mottle whose depth grows with the density latent, and one dark part for each sign. The
    mottle stays shallower than any sign, so that a sign is the sign's alone.

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
    along = sum(p * np.float32(s) for p, s in zip(place, side, strict=True))
    return sigmoid(along - 0.25, 0.04)


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
