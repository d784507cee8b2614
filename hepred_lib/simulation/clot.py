"""The density of a hemorrhage, and the blood in the ventricles."""

import numpy as np

from hepred_lib.simulation.hematoma import Hematoma, ball_level, roughness
from hepred_lib.simulation.shapes import Array, sigmoid

CLOT_HU, SERUM_HU, MEAN_DROP_HU = 70.0, 38.0, 6.0


def clot_hu(
    hematoma: Hematoma, level: Array, head: tuple, *, voxel_mm: tuple, up: Array, rng: np.random.Generator
) -> Array:
    """HU of the clot on thin voxels.

    A dense core, a paler rim, a mottle whose depth grows with the density latent, and one dark part for each sign.

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
    mean = CLOT_HU - 2.0 * hematoma.density + rng.normal(0, 1.2)
    hu = np.float32(mean - 3) + np.float32(4) * np.clip(level * 2, 0, 1)
    dark = _mottle(hematoma, level.shape, voxel_mm, rng)
    place = [
        o * np.float32(1 / (r * hematoma.radius_mm))
        for o, r in zip(hematoma.offsets_mm(head), hematoma.axes, strict=True)
    ]
    for sign, part in SIGN_PARTS.items():
        if sign in hematoma.signs:
            drop, share = part(hematoma, place, voxel_mm, rng)
            dark = np.maximum(dark, np.float32(drop) * share)
    hu -= dark
    if "fluid_level" in hematoma.signs:
        serum = sigmoid(up - np.float32(0.1 * hematoma.radius_mm), 0.6) * sigmoid(level - 0.04, 0.03)
        cells = hu + np.float32(0.7) * dark + 4
        hu = cells + serum * (np.float32(SERUM_HU) - cells)
    # What is dark in one part is mostly made up for by denser cells in the rest.
    inside = level > 0
    return hu + np.float32(0.7 * (mean - MEAN_DROP_HU - hu[inside].mean())) if inside.any() else hu


def _mottle(hematoma: Hematoma, shape: tuple, voxel_mm: tuple, rng: np.random.Generator) -> Array:
    """Dark clouds in the clot, more and darker with density: on average a fifth of it, 10 HU down."""
    grain = float(np.clip(0.28 * hematoma.radius_mm, 1.5, 5.0))
    cloud = roughness(shape, grain, voxel_mm, rng)
    density = float(np.clip(hematoma.density, -2.5, 2.5)) + 0.4 * ("heterogeneous" in hematoma.signs)
    spread = 1.2 * np.exp(0.35 * density)
    drop, rarity = 7.5 * np.exp(0.28 * density), 1.15 - 0.35 * density
    return np.float32(spread) * cloud + np.float32(drop) * sigmoid(cloud - np.float32(rarity), 0.4)


def _blend(hematoma: Hematoma, place: list[Array], voxel_mm: tuple, rng: np.random.Generator) -> tuple[float, Array]:
    """One side of the clot, sharply bordered, reaching its margin."""
    direction = rng.normal(size=3) * [1, 1, 0.3]
    direction /= np.linalg.norm(direction)
    along = sum(p * np.float32(d) for p, d in zip(place, direction, strict=True))
    return rng.uniform(22, 29), sigmoid(along - 0.28, 0.05)


def _black_hole(
    hematoma: Hematoma, place: list[Array], voxel_mm: tuple, rng: np.random.Generator
) -> tuple[float, Array]:
    """A dark ball enclosed by dense clot."""
    return rng.uniform(40, 48), sigmoid(ball_level(place, rng.normal(0, 0.10, 3), np.full(3, 0.34)), 0.05)


def _swirl(hematoma: Hematoma, place: list[Array], voxel_mm: tuple, rng: np.random.Generator) -> tuple[float, Array]:
    """A curved dark band."""
    angle, phase = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2)
    u = np.float32(np.cos(angle)) * place[0] + np.float32(np.sin(angle)) * place[1]
    v = np.float32(np.cos(angle)) * place[1] - np.float32(np.sin(angle)) * place[0]
    band = 0.14 - np.abs(u - phase - np.float32(0.45) * np.sin(3 * v))
    return rng.uniform(18, 25), sigmoid(np.minimum(band, 0.75 - np.abs(v)), 0.05)


def _hypodensity(
    hematoma: Hematoma, place: list[Array], voxel_mm: tuple, rng: np.random.Generator
) -> tuple[float, Array]:
    """One dark patch of any form."""
    patch = ball_level(place, rng.normal(0, 0.28, 3), rng.uniform(0.25, 0.5, 3))
    return rng.uniform(18, 26), sigmoid(patch, 0.12)


SIGN_PARTS = {"blend": _blend, "black_hole": _black_hole, "swirl": _swirl, "hypodensity": _hypodensity}


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
