"""The inside of the head: brain, ventricles, cisterns, dura, vessels, calcifications and old lesions."""

from dataclasses import dataclass

import numpy as np

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

CSF_HU, DURA_HU, BLOODSTREAM_HU = 7.0, 45.0, 44.0

# Rods of a right lateral ventricle: ends in mm, radii in mm, and how much taller than wide.
LATERAL_VENTRICLE = (
    (((13, 33, 5), (6, 15, 9)), (2.8, 4.0), 1.5),
    (((6, 15, 9), (8, -10, 20)), (4.2, 4.0), 1.2),
    (((8, -10, 20), (20, -34, 14)), (4.0, 5.5), 1.2),
    (((20, -34, 14), (25, -60, 8)), (5.0, 2.0), 1.4),
    (((22, -36, 10), (31, -22, -10)), (4.0, 2.2), 1.0),
    (((31, -22, -10), (30, 2, -20)), (2.0, 1.4), 1.0),
)
BRAINSTEM = ((((0, -15, -11), (0, -20, -32)), (13.5, 15.0)), (((0, -20, -32), (0, -30, -78)), (15.0, 7.5)))


@dataclass(frozen=True)
class Lesion:
    """An old infarct (dark), a calcification or a thrombosed vessel (bright): an ellipsoid in head coordinates."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    hu: float
    softness: float


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
    pineal_hu, plexus_hu, pallidum_hu, vessel_hu : float
        Brightness of what may be calcified, and of flowing blood.
    leukoaraiosis : float
        Darkening of the white matter about the ventricles, 0 none.
    lesions : tuple of Lesion
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
    lesions: tuple[Lesion, ...]


def sample_brain(rng: np.random.Generator, *, age: float, mimic: bool = False) -> Brain:
    """One brain at an age in years; a `mimic` holds what is mistaken for blood, or for a stroke."""
    atrophy = float(np.clip((age - 35) / 50 + rng.normal(0, 0.22), 0, 1.2))
    white = float(rng.normal(26.0, 2.0))
    return Brain(
        white_hu=white,
        gray_hu=white + float(rng.normal(7.5, 0.9)),
        atrophy=atrophy,
        ventricle=float((0.70 + 0.55 * atrophy) * np.exp(rng.normal(0, 0.14))),
        pineal_hu=float(rng.uniform(70, 220) if rng.random() < 0.65 else 40),
        plexus_hu=float(rng.uniform(60, 250) if rng.random() < 0.2 + 0.5 * atrophy else 25),
        pallidum_hu=float(rng.uniform(42, 100) if rng.random() < 0.05 + 0.12 * atrophy + 0.2 * mimic else 0),
        vessel_hu=float(rng.normal(BLOODSTREAM_HU, 4)),
        leukoaraiosis=float(max(0.0, rng.normal(0.6 * atrophy, 0.3))),
        lesions=_sample_lesions(rng, atrophy=atrophy, mimic=mimic),
    )


def _sample_lesions(rng: np.random.Generator, *, atrophy: float, mimic: bool) -> tuple[Lesion, ...]:
    lesions = [_infarct(rng, rng.uniform(2, 5)) for _ in range(rng.poisson(0.2 + 0.7 * atrophy))]
    if mimic and rng.random() < 0.6:
        lesions.append(_infarct(rng, rng.uniform(7, 20)))
    if mimic and rng.random() < 0.5:
        lesions.append(_spot(rng, hu=rng.uniform(90, 300), radius=rng.uniform(1.5, 5)))
    if mimic and rng.random() < 0.5:
        side = rng.choice([-1.0, 1.0])
        lesions.append(Lesion((side * 19, 12, -17), (11, 1.8, 1.8), float(rng.uniform(55, 75)), 1.0))
    if rng.random() < 0.10:
        lesions.append(_spot(rng, hu=rng.uniform(60, 150), radius=rng.uniform(1, 3)))
    return tuple(lesions)


def _infarct(rng: np.random.Generator, radius: float) -> Lesion:
    side = rng.choice([-1.0, 1.0])
    seat = (side * rng.uniform(12, 45), rng.uniform(-55, 40), rng.uniform(-5, 40))
    radii = tuple(radius * np.exp(rng.normal(0, 0.25, 3)))
    return Lesion(seat, radii, float(rng.uniform(6, 18)), float(rng.uniform(2, 5)))


def _spot(rng: np.random.Generator, *, hu: float, radius: float) -> Lesion:
    side = rng.choice([-1.0, 1.0])
    seat = (side * rng.uniform(0, 40), rng.uniform(-60, 45), rng.uniform(-10, 45))
    return Lesion(seat, tuple(radius * np.exp(rng.normal(0, 0.2, 3))), float(hu), 1.5)


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
        paint_ellipsoid(plane, lesion.centre_mm, lesion.radii_mm, lesion.hu, softness=lesion.softness)
    _paint_dura(plane, skull, brain, cavity=cavity)
    _paint_calcifications(plane, brain)
    # Beams through the skull are hardened: a rim a few HU too bright.
    plane.hu += 3 * np.exp(-np.clip(cavity, 0, 40) * np.float32(1 / 4))
    head += plane.occupancy(cavity) * (plane.hu - head)
    plane.hu = head
    return ventricles


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
    paint_ellipsoid(plane, (0, -78, -64), (14, 7 * wide, 8), CSF_HU)


def _paint_hindbrain(plane: Plane, brain: Brain, *, cavity: Array, folds: Array) -> None:
    """Cerebellum under the tentorium; midbrain, pons and medulla with CSF in front of them; third ventricle's floor."""
    if plane.z.min() > 20:
        return
    below = sigmoid(tentorium_height(plane) - plane.z, 1) * sigmoid(-12 - plane.y - 0.35 * np.abs(plane.x), 3)
    leaf = np.float32(0.5 * (brain.white_hu + brain.gray_hu)) + 2 * np.sin(folds * 4)
    plane.paint(leaf, below * plane.occupancy(cavity - np.float32(1 + 2 * brain.atrophy)))
    ahead = 1.5 + 1.5 * brain.atrophy
    stem = 0.6 * brain.white_hu + 0.4 * brain.gray_hu
    for (top, bottom), radii in BRAINSTEM:
        moved = tuple((x, y + ahead, z) for x, y, z in (top, bottom))
        paint_capsule(plane, moved, tuple(r + 0.7 for r in radii), CSF_HU)
        paint_capsule(plane, (top, bottom), radii, stem)


def tentorium_height(plane: Plane) -> Array:
    """Height of the tentorium in mm: a tent, highest at its notch, falling backwards and to the sides."""
    behind = np.clip(plane.y + np.float32(44), -60, 0)
    return 14 - np.float32(0.55) * np.abs(plane.x) + np.float32(0.40) * behind


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


def _paint_dura(plane: Plane, skull: Skull, brain: Brain, *, cavity: Array) -> None:
    """Falx, tentorium, venous sinuses and large arteries: a little brighter than cortex."""
    roof = tentorium_height(plane)
    beyond = np.maximum(plane.z - 30, np.abs(plane.y + 4) - 48)
    falx = np.minimum(np.minimum(0.7 - np.abs(plane.x), beyond), plane.z - roof + 2)
    plane.paint(DURA_HU, plane.occupancy(falx))
    sagittal = np.minimum(3.5 - np.abs(plane.x), 5.0 - cavity - np.abs(plane.x))
    behind = np.maximum(plane.z - 20, -plane.y - 60)
    plane.paint(brain.vessel_hu + 6, plane.occupancy(np.minimum(sagittal, behind)))
    if plane.z.min() > 25:
        return
    notch = np.maximum(np.abs(plane.x) - 15, -42 - plane.y)
    sheet = np.minimum(0.5 - 0.6 * np.abs(plane.z - roof), np.minimum(notch, -16 - plane.y - 0.3 * np.abs(plane.x)))
    plane.paint(DURA_HU, plane.occupancy(sheet))
    _paint_vessels(plane, skull, brain.vessel_hu)


def _paint_vessels(plane: Plane, skull: Skull, hu: float) -> None:
    back = 8 - 0.97 * skull.inner_mm[1] - 16
    paint_capsule(plane, ((0, -44, 12), (0, back + 3, 2)), (1.2, 2.0), hu + 6)
    for side in (-1, 1):
        paint_capsule(plane, ((0, back, 0), (side * 46, -58, -17)), (3.2, 2.6), hu + 6)
        paint_capsule(plane, ((side * 52, -50, -20), (side * 42, -33, -54)), (3.0, 3.8), hu + 6)
        paint_capsule(plane, ((side * 5, 8, -21), (side * 30, 12, -18)), (1.2, 1.0), hu)
        paint_capsule(plane, ((side * 34, 13, -14), (side * 40, -12, 8)), (0.9, 0.8), hu)
        paint_capsule(plane, ((side * 12, 8, -26), (side * 10, 7, -20)), (1.8, 1.6), hu)
    paint_capsule(plane, ((0, -2, -24), (0, -9, -50)), (1.5, 1.5), hu)


def _paint_calcifications(plane: Plane, brain: Brain) -> None:
    paint_ellipsoid(plane, (0, -31, 4), (2.2, 3, 2.5), brain.pineal_hu)
    for side in (-1, 1):
        paint_ellipsoid(plane, (side * 21, -38, 12), (2.2, 4, 3), brain.plexus_hu)
        if brain.pallidum_hu:
            paint_ellipsoid(plane, (side * 19, 3, 0), (3, 6, 4), brain.pallidum_hu, softness=3)
