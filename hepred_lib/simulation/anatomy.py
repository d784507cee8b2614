"""The inside of the head: brain, ventricles, cisterns, cerebellum, brainstem and cord."""

from dataclasses import dataclass

import numpy as np

from hepred_lib.simulation.dura import Dura, paint_dura, sample_dura, tentorium_height
from hepred_lib.simulation.lesions import Lesion, sample_calcifications, sample_lesions
from hepred_lib.simulation.shapes import (
    Array,
    Plane,
    capsule_level,
    ellipsoid_level,
    paint_capsule,
    paint_ellipsoid,
    sigmoid,
)
from hepred_lib.simulation.skull import Skull

CSF_HU = 7.0

# Rods of a right lateral ventricle: ends in mm, radii in mm, and how much taller than wide.
LATERAL_VENTRICLE = (
    (((13, 33, 5), (6, 15, 9)), (2.8, 4.0), 1.5),
    (((6, 15, 9), (8, -10, 20)), (4.2, 4.0), 1.2),
    (((8, -10, 20), (20, -34, 14)), (4.0, 5.5), 1.2),
    (((20, -34, 14), (25, -60, 8)), (5.0, 2.0), 1.4),
    (((22, -36, 10), (31, -22, -10)), (4.0, 2.2), 1.0),
    (((31, -22, -10), (30, 2, -20)), (2.0, 1.4), 1.0),
)
BRAINSTEM = (
    (((0, -15, -11), (0, -20, -32)), (13.5, 15.0)),
    (((0, -20, -32), (0, -37, -66)), (15.0, 7.0)),
    (((0, -37, -66), (0, -44, -130)), (7.0, 5.5)),
)


@dataclass(frozen=True)
class Brain:
    """One brain.

    Attributes
    ----------
    white_hu, gray_hu : float
        Means of the tissues.
    atrophy : float
        0 young, 1 old: width of sulci and fissures.
    ventricle : float
        Factor on the ventricles' radii.
    leukoaraiosis : float
        Darkening of the white matter about the ventricles, 0 none.
    rim_hu, rim_mm : float
        Excess brightness at the bone, where beams are hardened and edges blurred; the depth at which a third is left.
    base_hu : float
        Excess brightness of all that lies low in the head.
    lesions, calcifications : tuple of Lesion
        Painted in this order; dura and vessels come between.
    dura : Dura
    """

    white_hu: float
    gray_hu: float
    atrophy: float
    ventricle: float
    leukoaraiosis: float
    rim_hu: float
    rim_mm: float
    base_hu: float
    lesions: tuple[Lesion, ...]
    calcifications: tuple[Lesion, ...]
    dura: Dura


def sample_brain(rng: np.random.Generator, *, age: float, mimic: bool = False) -> Brain:
    """One brain at an age in years; a `mimic` holds what is mistaken for blood, or for a stroke."""
    atrophy = float(np.clip((age - 35) / 50 + rng.normal(0, 0.22), 0, 1.2))
    white = float(rng.normal(25.7, 1.6))
    return Brain(
        white_hu=white,
        gray_hu=white + float(rng.normal(7.5, 0.9)),
        atrophy=atrophy,
        ventricle=float((0.70 + 0.55 * atrophy) * np.exp(rng.normal(0, 0.14))),
        leukoaraiosis=float(max(0.0, rng.normal(0.6 * atrophy, 0.3))),
        rim_hu=float(rng.uniform(5, 16)),
        rim_mm=float(rng.uniform(1.6, 2.6)),
        base_hu=float(rng.normal(3.5, 1.2)),
        lesions=sample_lesions(rng, atrophy=atrophy, mimic=mimic),
        calcifications=sample_calcifications(rng, atrophy=atrophy, mimic=mimic),
        dura=sample_dura(rng),
    )


def paint_brain(plane: Plane, skull: Skull, brain: Brain, *, cavity: Array, folds: Array, grain: Array) -> Array:
    """Paint everything inside the cavity of one plane; return the level of the ventricles in mm.

    Parameters
    ----------
    plane : Plane
        In the coordinates of the (displaced) brain.
    cavity : ndarray, shape of the plane
        Level of the cavity in mm.
    folds, grain : ndarray, shape of the plane
        Smooth noise whose zero lines are the sulci, and fine noise.
    """
    head = plane.hu
    plane.hu = np.full_like(head, CSF_HU)
    _paint_mantle(plane, brain, cavity=cavity, folds=folds, grain=grain)
    _paint_deep_gray(plane, brain)
    _paint_cisterns(plane, brain)
    _paint_hindbrain(plane, brain, cavity=cavity, folds=folds)
    ventricles = ventricle_level(plane, brain)
    _paint_ventricles(plane, brain, ventricles)
    for lesion in brain.lesions:
        lesion.paint(plane)
    paint_dura(plane, brain.dura, cavity=cavity, torcula_mm=8 - 0.97 * skull.inner_mm[1] - 16)
    for lesion in brain.calcifications:
        lesion.paint(plane)
    _harden(plane, brain, cavity=cavity)
    head += plane.occupancy(cavity) * (plane.hu - head)
    plane.hu = head
    return ventricles


def _harden(plane: Plane, brain: Brain, *, cavity: Array) -> None:
    """Brighten what lies beside bone, most at the base and under the vertex, where bone is thick and oblique."""
    rim = np.float32(brain.rim_hu) * np.exp(np.clip(cavity, 0, 40) * np.float32(-1 / brain.rim_mm))
    low, high = np.clip(plane.z * np.float32(-1 / 25) - 0.2, 0, 1), np.clip(plane.z * np.float32(1 / 20) - 2, 0, 1)
    plane.hu += rim * (1 + 1.2 * low + 1.5 * high)
    plane.hu += np.float32(brain.base_hu) * np.clip(0.7 - plane.z * np.float32(1 / 40), 0, 1)


def _paint_mantle(plane: Plane, brain: Brain, *, cavity: Array, folds: Array, grain: Array) -> None:
    """White matter, cortical ribbon and sulci: the ribbon follows the surface and the zero lines of `folds`."""
    depth = cavity - np.float32(0.6 + 2.0 * brain.atrophy)
    ridge = np.abs(folds)
    sulcal = np.float32(0.05 + 0.22 * brain.atrophy) * np.clip(1.3 - depth * np.float32(1 / 16), 0, 1)
    ribbon = sigmoid(np.float32(0.70) - ridge, 0.2) * sigmoid(20 - depth, 7)
    gray = np.maximum(ribbon, sigmoid(3.5 - depth, 1.5))
    tissue = np.float32(brain.white_hu) + np.float32(brain.gray_hu - brain.white_hu) * gray + np.float32(0.5) * grain
    share = plane.occupancy(depth) * np.clip((ridge - sulcal) * np.float32(4.0) + np.float32(0.5), 0, 1)
    # The cleft between the hemispheres: open in front, behind and above, closed by the corpus callosum.
    width = np.float32(0.3 + 1.1 * brain.atrophy) * (1 + np.float32(0.8) * folds)
    beyond = np.maximum(plane.z - 26, np.abs(plane.y + 5) - 45)
    share *= 1 - sigmoid(beyond, 4) * (1 - plane.occupancy(np.abs(plane.x) - width))
    if plane.z.min() < -45:
        share *= sigmoid(plane.z + 53, 2)
    plane.paint(tissue, share)


def _paint_deep_gray(plane: Plane, brain: Brain) -> None:
    for side in (-1, 1):
        paint_ellipsoid(plane, (side * 13, 21, 9), (5, 9, 9), brain.gray_hu, softness=2)
        paint_ellipsoid(plane, (side * 25, 3, 2), (6.5, 16, 10), brain.gray_hu - 0.5, softness=2)
        paint_ellipsoid(plane, (side * 10.5, -14, 7), (8, 14, 9), brain.gray_hu - 0.5, softness=2)
        paint_ellipsoid(plane, (side * 37, 2, 2), (2.5, 22, 14), brain.gray_hu, softness=2)


def _paint_cisterns(plane: Plane, brain: Brain) -> None:
    wide = 0.45 + 0.9 * brain.atrophy
    for side in (-1, 1):
        paint_ellipsoid(plane, (side * 40.5, 2, 2), (1.5 * wide, 20, 13), CSF_HU, softness=2)
        paint_ellipsoid(plane, (side * 53, 12, -3), (13, 1.8 * wide, 10), CSF_HU, softness=2)
        paint_ellipsoid(plane, (side * 20, 13, -19), (18, 2.3 * wide, 4), CSF_HU)
    paint_ellipsoid(plane, (0, 5, -22), (9 + 4 * wide, 7, 6), CSF_HU)
    paint_ellipsoid(plane, (0, -38, 3), (7 + 4 * wide, 3.5, 5), CSF_HU)


def _paint_hindbrain(plane: Plane, brain: Brain, *, cavity: Array, folds: Array) -> None:
    """Cerebellum under the tentorium; midbrain, pons and medulla with CSF in front of them; third ventricle's floor."""
    if plane.z.min() > 20:
        return
    below = sigmoid(tentorium_height(plane) - plane.z, 1) * sigmoid(-12 - plane.y - 0.35 * np.abs(plane.x), 3)
    leaf = np.float32(0.6 * brain.white_hu + 0.4 * brain.gray_hu) + 2 * np.sin(folds * 4)
    # The tonsils end at the foramen magnum; the hemispheres are parted behind and below.
    cleft = np.abs(plane.x) + np.float32(0.6) * folds - np.float32(0.08) * (-36 - plane.z - 0.5 * (plane.y + 66))
    below *= sigmoid(plane.z + 61, 2) * plane.occupancy(cleft)
    plane.paint(leaf, below * plane.occupancy(cavity - np.float32(1 + 2 * brain.atrophy)))
    ahead = 1.5 + 1.5 * brain.atrophy
    stem = 0.6 * brain.white_hu + 0.4 * brain.gray_hu
    for (top, bottom), radii in BRAINSTEM:
        moved = tuple((x, y + ahead, z) for x, y, z in (top, bottom))
        paint_capsule(plane, moved, tuple(r + 0.7 for r in radii), CSF_HU)
        paint_capsule(plane, (top, bottom), radii, stem)


def ventricle_level(plane: Plane, brain: Brain) -> Array:
    """Signed distance in mm to the wall of the nearest ventricle, positive inside, at least -60."""
    level = np.full(plane.x.shape, -60, dtype=np.float32)
    for side in (-1, 1):
        for ends, radii, flat in LATERAL_VENTRICLE:
            mirrored = tuple((side * x, y, z) for x, y, z in ends)
            scaled = tuple(r * brain.ventricle for r in radii)
            where = plane.window(mirrored, max(scaled) * max(flat, 1.0))
            if where is not None:
                rod = capsule_level(plane, where, ends=mirrored, radii=scaled, flat=flat)
                np.maximum(level[where], rod, out=level[where])
    for centre, radii in (
        ((0, -5, -1), (2.0 * brain.ventricle, 13, 9)),
        ((0, -46, -32), (6, 4.5 * brain.ventricle, 9)),
    ):
        where = plane.window(centre, max(radii))
        if where is not None:
            ball = ellipsoid_level(plane, where, centre=centre, radii=radii)
            np.maximum(level[where], ball, out=level[where])
    return level


def _paint_ventricles(plane: Plane, brain: Brain, level: Array) -> None:
    if level.max() < -20:
        return
    dark = np.float32(brain.leukoaraiosis * 6) * sigmoid(level + 5, 4)
    plane.hu -= np.where(plane.hu > brain.white_hu - 8, dark, 0)
    plane.paint(CSF_HU - 1, plane.occupancy(level))
