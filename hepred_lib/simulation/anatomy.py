"""The inside of the head: brain, ventricles, cisterns, dura, vessels, calcifications."""

from dataclasses import dataclass

import numpy as np

from hepred_lib.simulation.shapes import (
    Array,
    Plane,
    SmoothField,
    capsule_level,
    capsule_window,
    ellipsoid_level,
    paint_capsule,
    paint_ellipsoid,
    sigmoid,
)
from hepred_lib.simulation.skull import EVERYWHERE, Skull

CSF_HU, DURA_HU, BLOODSTREAM_HU = 7.0, 52.0, 47.0

# Rods of the ventricles: right side, ends in mm, radii in mm, and how much taller than wide.
LATERAL = (
    (((14, 33, 4), (6, 15, 9)), (3.5, 4.5), 1.4),
    (((6, 15, 9), (8, -10, 20)), (4.5, 4.5), 1.2),
    (((8, -10, 20), (20, -34, 14)), (4.5, 6.5), 1.2),
    (((20, -34, 14), (25, -60, 8)), (6.0, 3.0), 1.3),
    (((22, -36, 10), (31, -22, -10)), (5.0, 3.0), 1.0),
    (((31, -22, -10), (30, 2, -20)), (3.0, 2.0), 1.0),
)


@dataclass(frozen=True)
class Brain:
    """One brain.

    Attributes
    ----------
    white_hu, gray_hu : float
        Means of the tissues.
    atrophy : float
        0 young, 1 old: width of the ventricles, sulci and fissures.
    ventricle : float
        Factor on the ventricles' radii.
    """

    white_hu: float
    gray_hu: float
    atrophy: float
    ventricle: float
    pineal_hu: float
    plexus_hu: float
    pallidum_hu: float
    vessel_hu: float
    leukoaraiosis: float


def sample_brain(rng: np.random.Generator, *, age: float) -> Brain:
    """One brain at an age in years."""
    atrophy = float(np.clip((age - 35) / 50 + rng.normal(0, 0.2), 0, 1.2))
    white = rng.normal(27.5, 1.8)
    return Brain(
        white_hu=float(white),
        gray_hu=float(white + rng.normal(7.0, 0.8)),
        atrophy=atrophy,
        ventricle=float((0.68 + 0.6 * atrophy) * np.exp(rng.normal(0, 0.12))),
        pineal_hu=float(rng.uniform(80, 220) if rng.random() < 0.65 else 40),
        plexus_hu=float(rng.uniform(70, 250) if rng.random() < 0.2 + 0.5 * atrophy else 30),
        pallidum_hu=float(rng.uniform(45, 110) if rng.random() < 0.05 + 0.12 * atrophy else 0),
        vessel_hu=float(rng.normal(BLOODSTREAM_HU, 4)),
        leukoaraiosis=float(max(0.0, rng.normal(0.6 * atrophy, 0.3))),
    )


def paint_brain(plane: Plane, skull: Skull, brain: Brain, *, cavity: Array, folds: Array, texture: Array) -> None:
    """Everything inside the cavity of one plane; leaves the level of the ventricles in `plane.levels`."""
    inside = plane.occupancy(cavity)
    image = plane.hu
    plane.hu = np.full_like(image, CSF_HU)
    _paint_mantle(plane, brain, cavity=cavity, folds=folds, texture=texture)
    _paint_deep_gray(plane, brain)
    _paint_cisterns(plane, brain)
    _paint_hindbrain(plane, brain, folds, cavity)
    plane.levels["ventricle"] = ventricle_level(plane, brain)
    _paint_ventricles(plane, brain)
    _paint_dura(plane, skull, brain, cavity)
    _paint_calcifications(plane, brain)
    # Close to bone the beam is hardened: a rim a few HU too bright.
    plane.hu += 4.0 * np.exp(-np.clip(cavity, 0, 40) * np.float32(1 / 5))
    image += inside * (plane.hu - image)
    plane.hu = image


def _paint_mantle(plane: Plane, brain: Brain, *, cavity: Array, folds: Array, texture: Array) -> None:
    """White matter, cortical ribbon and sulci: the ribbon follows the surface and the zero lines of a smooth field."""
    gap = 0.8 + 2.2 * brain.atrophy
    depth = cavity - np.float32(gap)
    ridge = np.abs(folds)
    sulcal = np.float32(0.08 + 0.20 * brain.atrophy) * np.clip(1.25 - depth * np.float32(1 / 15), 0, 1)
    ribbon = sigmoid(np.float32(0.75) - ridge, 0.25) * sigmoid(22 - depth, 8)
    gray = np.maximum(ribbon, sigmoid(4 - depth, 1.5))
    tissue = brain.white_hu + np.float32(brain.gray_hu - brain.white_hu) * gray + 0.8 * texture
    share = plane.occupancy(depth) * np.clip((ridge - sulcal) * np.float32(4.0) + np.float32(0.5), 0, 1)
    # Between the hemispheres.
    cleft = np.abs(plane.x) - np.float32(0.4 + 1.3 * brain.atrophy) * sigmoid(np.abs(plane.y + 5) - 30, 12) - 0.3
    below = sigmoid(np.maximum(plane.z - 26, np.abs(plane.y + 5) - 45), 4)
    share = share * (1 - below * (1 - plane.occupancy(cleft)))
    plane.paint(tissue, share)


def _paint_deep_gray(plane: Plane, brain: Brain) -> None:
    for side in (-1, 1):
        paint_ellipsoid(plane, (side * 14, 20, 8), (5, 10, 9), brain.gray_hu, softness=2)
        paint_ellipsoid(plane, (side * 25, 3, 2), (7, 16, 10), brain.gray_hu - 1, softness=2)
        paint_ellipsoid(plane, (side * 11, -14, 7), (8, 14, 9), brain.gray_hu - 0.5, softness=2)
        paint_ellipsoid(plane, (side * 36.5, 2, 2), (2.5, 22, 14), brain.gray_hu, softness=2)


def _paint_cisterns(plane: Plane, brain: Brain) -> None:
    wide = 0.7 + 0.9 * brain.atrophy
    for side in (-1, 1):
        paint_ellipsoid(plane, (side * 40, 2, 2), (1.6 * wide, 21, 14), CSF_HU)
        paint_ellipsoid(plane, (side * 52, 12, -2), (15, 1.9 * wide, 11), CSF_HU)
        paint_ellipsoid(plane, (side * 20, 13, -18), (19, 2.5 * wide, 4), CSF_HU)
    paint_ellipsoid(plane, (0, 6, -22), (11 * wide, 8, 6), CSF_HU)
    paint_ellipsoid(plane, (0, -38, 3), (11 * wide, 4, 5), CSF_HU)
    paint_ellipsoid(plane, (0, -76, -62), (15, 7 * wide, 9), CSF_HU)


def _paint_hindbrain(plane: Plane, brain: Brain, folds: Array, cavity: Array) -> None:
    """Midbrain, pons and medulla in their ring of CSF, and the cerebellum under the tentorium."""
    if plane.z.min() > 20:
        return
    roof = tentorium_height(plane)
    below = sigmoid(roof - plane.z, 1) * sigmoid(-12 - plane.y - 0.35 * np.abs(plane.x), 3)
    leaf = brain.gray_hu - 2 + 1.2 * np.sin(folds * 9)
    plane.paint(leaf, below * plane.occupancy(cavity - np.float32(1.5 + 2 * brain.atrophy)))
    stem = (((0, -14, -2), (0, -20, -32)), (0, -20, -32), (0, -30, -78))
    ring = 1.8 + 1.5 * brain.atrophy
    for ends, radii in ((stem[0], (14.5, 15.0)), ((stem[1], stem[2]), (15.0, 7.5))):
        paint_capsule(plane, ends, tuple(r + ring for r in radii), CSF_HU)
        paint_capsule(plane, ends, radii, 0.6 * brain.white_hu + 0.4 * brain.gray_hu)
    paint_ellipsoid(plane, (0, -4, -4), (2.2, 13, 8), CSF_HU)


def tentorium_height(plane: Plane) -> Array:
    """Height of the tentorium in mm: high in the middle, down to the petrous ridges at the sides."""
    side = plane.x * np.float32(1 / 55)
    return np.float32(8) - 30 * side * side + np.clip((plane.y + 45) * np.float32(0.12), -6, 3)


def ventricle_level(plane: Plane, brain: Brain) -> Array:
    """Signed distance in mm to the wall of the nearest ventricle, positive inside, at least -60."""
    level = np.full(plane.x.shape, -60, dtype=np.float32)
    for side in (-1, 1):
        for ends, radii, flat in LATERAL:
            mirrored = tuple((side * x, y, z) for x, y, z in ends)
            _join(plane, level, mirrored, tuple(r * brain.ventricle for r in radii), flat)
    for centre, radii in (((0, -5, -1), (2.2 * brain.ventricle, 13, 9)), ((0, -46, -32), (7, 5 * brain.ventricle, 9))):
        where = plane.window(np.asarray(centre), max(radii))
        if where is not None:
            np.maximum(level[where], ellipsoid_level(plane, where, centre=centre, radii=radii), out=level[where])
    return level


def _join(plane: Plane, level: Array, ends: tuple, radii: tuple, flat: float) -> None:
    where = capsule_window(plane, ends, radii, flat)
    if where is not None:
        np.maximum(level[where], capsule_level(plane, where, ends=ends, radii=radii, flat=flat), out=level[where])


def _paint_ventricles(plane: Plane, brain: Brain) -> None:
    level = plane.levels["ventricle"]
    if level.max() < -20:
        return
    cap = brain.leukoaraiosis * 6 * sigmoid(level + 5, 4)
    plane.hu -= np.where(plane.hu > brain.white_hu - 8, cap, 0)
    plane.paint(CSF_HU - 1, plane.occupancy(level))


def _paint_dura(plane: Plane, skull: Skull, brain: Brain, cavity: Array) -> None:
    """Falx, tentorium and the venous sinuses: a little brighter than cortex."""
    above = tentorium_height(plane)
    middle = np.float32(0.9) - np.abs(plane.x)
    beyond = np.maximum(plane.z - 30, np.abs(plane.y + 4) - 48)
    plane.paint(DURA_HU - 6, plane.occupancy(np.minimum(np.minimum(middle, beyond), plane.z - above + 2)))
    width, length, height = skull.inner_mm
    sagittal = np.minimum(4.0 - np.abs(plane.x), 6.0 - cavity - 1.2 * np.abs(plane.x))
    plane.paint(brain.vessel_hu + 8, plane.occupancy(np.minimum(sagittal, np.maximum(plane.z - 20, -plane.y - 60))))
    if plane.z.min() > 25:
        return
    sheet = np.float32(1.0) - np.abs(plane.z - above) * np.float32(0.8)
    hole = np.maximum(np.abs(plane.x) - 15, -42 - plane.y)
    sheet = np.minimum(np.minimum(sheet, hole), -16 - plane.y - 0.3 * np.abs(plane.x))
    plane.paint(DURA_HU, plane.occupancy(sheet))
    paint_capsule(plane, ((0, -44, 10), (0, -length - 2, -2)), (2.0, 3.0), brain.vessel_hu + 8)
    for side in (-1, 1):
        paint_capsule(plane, ((0, -length - 4, -4), (side * 50, -52, -18)), (4.5, 3.5), brain.vessel_hu + 8)
        paint_capsule(plane, ((side * 52, -50, -20), (side * 44, -32, -52)), (4.0, 4.5), brain.vessel_hu + 8)
        paint_capsule(plane, ((side * 4, 8, -22), (side * 30, 12, -18)), (1.3, 1.2), brain.vessel_hu)
    paint_capsule(plane, ((0, -3, -24), (0, -10, -50)), (1.6, 1.6), brain.vessel_hu)


def _paint_calcifications(plane: Plane, brain: Brain) -> None:
    paint_ellipsoid(plane, (0, -31, 4), (2.5, 3, 2.5), brain.pineal_hu)
    for side in (-1, 1):
        paint_ellipsoid(plane, (side * 21, -37, 12), (2.5, 4, 3), brain.plexus_hu)
        if brain.pallidum_hu:
            paint_ellipsoid(plane, (side * 19, 3, 0), (3, 6, 4), brain.pallidum_hu, softness=3)
