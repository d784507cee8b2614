"""The inside of the head: brain, ventricles and cisterns, dura and vessels, old infarcts and calcifications.

Vocabulary
----------
*Atrophy* runs from 0 (young) to 1 (old) and widens sulci, fissures and ventricles. *Dura*: falx, tentorium and the
venous sinuses, all brighter than cortex. *Leukoaraiosis*: darker white matter about the ventricles. A *mimic* is a
patient without hemorrhage whose brain holds what is mistaken for one (calcium, a thrombosed artery) or a large infarct.

A calcification smaller than a slice is thick is averaged down to the density of blood.

Sources
-------
Dimensions, densities and frequencies are rounded adult values; they were not fitted to scans.
"""

from dataclasses import dataclass

import numpy as np

from ich_phantom.shapes import Array, Plane, capsule_level, ellipsoid_level, paint_capsule, paint_ellipsoid, sigmoid
from ich_phantom.skull import Skull

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
# Where calcium is found: middle on the right (mm), radii (mm), whether on both sides, share at 35 and at 85 years.
CALCIFIED = {
    "pineal": ((0, -31, 4), (2.2, 3.0, 2.5), False, (0.55, 0.75)),
    "habenula": ((2, -26, 5), (1.0, 1.5, 1.2), False, (0.10, 0.20)),
    "plexus": ((22, -40, 10), (2.4, 4.0, 3.2), True, (0.25, 0.75)),
    "fourth ventricle": ((7, -46, -36), (1.5, 1.5, 1.5), True, (0.03, 0.10)),
    "pallidum": ((19, 3, 0), (2.6, 5.0, 3.5), True, (0.04, 0.20)),
    "dentate": ((14, -50, -36), (3.0, 5.0, 3.0), True, (0.01, 0.05)),
    "falx": ((0, 38, 44), (1.4, 9.0, 6.0), False, (0.08, 0.25)),
    "posterior falx": ((0, -48, 46), (1.2, 8.0, 6.0), False, (0.04, 0.12)),
    "tentorium": ((17, -36, 4), (1.2, 6.0, 1.5), True, (0.04, 0.15)),
    "petroclinoid": ((14, -6, -22), (1.2, 5.0, 1.2), True, (0.06, 0.25)),
    "siphon": ((11, 6, -25), (1.6, 3.0, 1.5), True, (0.05, 0.75)),
    "vertebral": ((8, -26, -64), (1.3, 1.5, 3.0), True, (0.03, 0.35)),
}


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid in head coordinates, darker or brighter than what it lies in."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    hu: float
    softness: float

    def paint(self, plane: Plane) -> None:
        """Paint it if it meets the plane."""
        paint_ellipsoid(plane, self.centre_mm, self.radii_mm, self.hu, softness=self.softness)


def sample_lesions(rng: np.random.Generator, *, atrophy: float, mimic: bool) -> tuple[Lesion, ...]:
    """Old infarcts; a `mimic` may also hold a large one, a bright spot, or a dense middle cerebral artery."""
    lesions = [_infarct(rng, rng.uniform(2, 5)) for _ in range(rng.poisson(0.2 + 0.7 * atrophy))]
    if mimic and rng.random() < 0.6:
        lesions.append(_infarct(rng, rng.uniform(7, 20)))
    if mimic and rng.random() < 0.5:
        lesions.append(_spot(rng, hu=rng.uniform(90, 300), radius=rng.uniform(1.5, 5)))
    if rng.random() < (0.5 if mimic else 0.04):
        side = rng.choice([-1.0, 1.0])
        lesions.append(Lesion((side * 19, 12, -17), (11, 1.8, 1.8), float(rng.uniform(55, 75)), 1.0))
    return tuple(lesions)


def sample_calcifications(rng: np.random.Generator, *, atrophy: float, mimic: bool) -> tuple[Lesion, ...]:
    """Calcium at its usual places, each its own size and density, and a spot or two anywhere.

    Parameters
    ----------
    rng : Generator
    atrophy : float
        0 young, 1 old.
    mimic : bool
        Three times as many in the basal ganglia.
    """
    found = []
    for name, (middle, radii, paired, (young, old)) in CALCIFIED.items():
        share = (young + (old - young) * min(atrophy, 1.0)) * (3 if mimic and name == "pallidum" else 1)
        if rng.random() < share:
            found += _calcium(rng, middle, radii, sides=_sides(rng) if paired else (1.0,))
    found += [_spot(rng, hu=rng.uniform(55, 250), radius=rng.uniform(1, 3)) for _ in range(rng.poisson(0.2))]
    return tuple(found)


def _sides(rng: np.random.Generator) -> tuple[float, ...]:
    """Both, or in a fourth of the heads one."""
    return (-1.0, 1.0) if rng.random() < 0.75 else (float(rng.choice([-1.0, 1.0])),)


def _calcium(rng: np.random.Generator, middle: tuple, radii: tuple, *, sides: tuple[float, ...]) -> list[Lesion]:
    """One deposit a side: like in place, size and density, but not the same."""
    size, density = np.exp(rng.normal(-0.1, 0.3)), rng.uniform(np.log(55), np.log(400))
    deposits = []
    for side in sides:
        x, y, z = np.asarray(middle) + rng.normal(0, [0.3 if middle[0] == 0 else 1.0, 2.0, 1.5])
        own = size * np.exp(rng.normal(0, 0.2, 3)) * radii
        hu = float(np.exp(density + rng.normal(0, 0.2)))
        deposits.append(Lesion((side * x, y, z), tuple(own.tolist()), hu, float(rng.uniform(1, 2.5))))
    return deposits


def _infarct(rng: np.random.Generator, radius: float) -> Lesion:
    side = rng.choice([-1.0, 1.0])
    seat = (side * rng.uniform(12, 45), rng.uniform(-55, 40), rng.uniform(-5, 40))
    radii = tuple(radius * np.exp(rng.normal(0, 0.25, 3)))
    return Lesion(seat, radii, float(rng.uniform(6, 18)), float(rng.uniform(2, 5)))


def _spot(rng: np.random.Generator, *, hu: float, radius: float) -> Lesion:
    side = rng.choice([-1.0, 1.0])
    seat = (side * rng.uniform(0, 40), rng.uniform(-60, 45), rng.uniform(-10, 45))
    return Lesion(seat, tuple(radius * np.exp(rng.normal(0, 0.2, 3))), float(hu), 1.5)


@dataclass(frozen=True)
class Dura:
    """The dura and the vessels of one head.

    Attributes
    ----------
    sheet_hu, sheet_mm : float
        Density of falx and tentorium, and half their thickness.
    artery_hu, artery_mm : float
        Density of arterial blood, and a factor on the arteries' radii.
    sinus_hu, sinus_mm : float
        Density of venous blood, and radius of the superior sagittal sinus.
    drainage : tuple of float
        Factors on the radii of the left and the right transverse sinus; one side usually leads.
    """

    sheet_hu: float
    sheet_mm: float
    artery_hu: float
    artery_mm: float
    sinus_hu: float
    sinus_mm: float
    drainage: tuple[float, float]


def sample_dura(rng: np.random.Generator) -> Dura:
    """Blood's density follows the hematocrit, hence arteries and sinuses are bright together."""
    blood = float(rng.normal(45, 4))
    lead = float(np.clip(rng.normal(0.15, 0.3), -0.6, 0.6))
    return Dura(
        sheet_hu=float(rng.uniform(42, 58)),
        sheet_mm=float(rng.uniform(0.4, 0.9)),
        artery_hu=blood,
        artery_mm=float(rng.uniform(0.8, 1.35)),
        sinus_hu=blood + float(rng.uniform(1, 12)),
        sinus_mm=float(rng.uniform(2.5, 5)),
        drainage=(1 - lead, 1 + lead),
    )


def tentorium_height(plane: Plane) -> Array:
    """Height of the tentorium in mm: a tent, highest at its notch, falling backwards and to the sides."""
    behind = np.clip(plane.y + np.float32(44), -60, 0)
    return 14 - np.float32(0.55) * np.abs(plane.x) + np.float32(0.40) * behind


def paint_dura(plane: Plane, dura: Dura, *, cavity: Array, torcula_mm: float) -> None:
    """Paint falx, tentorium, sinuses and arteries of one plane.

    Parameters
    ----------
    cavity : ndarray, shape of the plane
        Level of the cavity in mm.
    torcula_mm : float
        y of the confluence of the sinuses, at the inner table.
    """
    roof = tentorium_height(plane)
    side = np.abs(plane.x)
    beyond = np.maximum(plane.z - 30, np.abs(plane.y + 4) - 48)
    falx = np.minimum(np.minimum(dura.sheet_mm - side, beyond), plane.z - roof + 2)
    plane.paint(dura.sheet_hu, plane.occupancy(falx))
    sagittal = np.minimum(dura.sinus_mm - side, 1.5 + dura.sinus_mm - cavity - side)
    behind = np.maximum(plane.z - 20, -plane.y - 60)
    plane.paint(dura.sinus_hu, plane.occupancy(np.minimum(np.minimum(sagittal, behind), plane.z + 25)))
    if plane.z.min() > 25:
        return
    notch = np.maximum(side - 15, -42 - plane.y)
    sheet = np.minimum(dura.sheet_mm - 0.6 * np.abs(plane.z - roof), np.minimum(notch, -16 - plane.y - 0.3 * side))
    plane.paint(dura.sheet_hu, plane.occupancy(sheet))
    _paint_sinuses(plane, dura, torcula_mm)
    _paint_arteries(plane, dura)


def _paint_sinuses(plane: Plane, dura: Dura, torcula_mm: float) -> None:
    """Straight sinus, torcula, and on each side transverse and sigmoid sinus; great vein of Galen."""
    paint_capsule(plane, ((0, -44, 12), (0, torcula_mm + 3, 2)), (1.6, 2.2), dura.sinus_hu)
    for side, wide in zip((-1, 1), dura.drainage, strict=True):
        corner, bend, foot = (side * 53, -56, -17), (side * 53, -46, -24), (side * 36, -36, -54)
        paint_capsule(plane, ((0, torcula_mm, 0), (side * 30, torcula_mm + 8, -9)), (3.4, 3.0 * wide), dura.sinus_hu)
        paint_capsule(plane, ((side * 30, torcula_mm + 8, -9), corner), (3.0 * wide, 2.8 * wide), dura.sinus_hu)
        paint_capsule(plane, (corner, bend), (2.8 * wide, 3.4 * wide), dura.sinus_hu)
        paint_capsule(plane, (bend, foot), (3.4 * wide, 4.0 * wide), dura.sinus_hu)


def _paint_arteries(plane: Plane, dura: Dura) -> None:
    """Carotid, middle cerebral with a branch, basilar and vertebral arteries."""
    hu, wide = dura.artery_hu, dura.artery_mm
    for side in (-1, 1):
        paint_capsule(plane, ((side * 5, 8, -21), (side * 30, 12, -18)), (1.3 * wide, 1.1 * wide), hu)
        paint_capsule(plane, ((side * 34, 13, -14), (side * 40, -12, 8)), (1.0 * wide, 0.8 * wide), hu)
        paint_capsule(plane, ((side * 12, 8, -27), (side * 10, 7, -20)), (2.0 * wide, 1.8 * wide), hu)
        paint_capsule(plane, ((side * 9, -24, -68), (0, -9, -48)), (1.6 * wide, 1.5 * wide), hu)
    paint_capsule(plane, ((0, -2, -24), (0, -9, -48)), (1.7 * wide, 1.7 * wide), hu)


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
    # The tonsils end at the foramen magnum; the hemispheres are separated behind and below.
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
    for centre, halves in (
        ((0, -5, -1), (2.0 * brain.ventricle, 13, 9)),
        ((0, -46, -32), (6, 4.5 * brain.ventricle, 9)),
    ):
        where = plane.window(centre, max(halves))
        if where is not None:
            ball = ellipsoid_level(plane, where, centre=centre, radii=halves)
            np.maximum(level[where], ball, out=level[where])
    return level


def _paint_ventricles(plane: Plane, brain: Brain, level: Array) -> None:
    if level.max() < -20:
        return
    dark = np.float32(brain.leukoaraiosis * 6) * sigmoid(level + 5, 4)
    plane.hu -= np.where(plane.hu > brain.white_hu - 8, dark, 0)
    plane.paint(CSF_HU - 1, plane.occupancy(level))
