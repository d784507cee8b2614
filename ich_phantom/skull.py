"""The head outside the brain: bone of vault and base with its air spaces, scalp, face and neck.

Vocabulary
----------
The *vault* is the upper part of the skull, the *base* the floor that the brain rests on, the *cavity* what they enclose
(with the upper spinal canal). *Inner table*: the bone's inner surface. *Diploe*: the marrow between inner and outer
table. *Petrous* bone: the dense pyramids between the ears.

Muscle has the density of blood, and where slices or masks cut the base it lies next to the brain.

Sources
-------
Dimensions and densities are rounded adult values, spread about as much as adults differ; they were not fitted to scans.
"""

from dataclasses import dataclass

import numpy as np

from ich_phantom.shapes import (
    AIR_HU,
    EVERYWHERE,
    Array,
    Plane,
    Pose,
    bump,
    capsule_level,
    ellipsoid_level,
    paint_capsule,
    paint_ellipsoid,
    sigmoid,
    square,
)

SCALP_HU, FAT_HU = 25.0, -95.0
CORTICAL_HU, DIPLOE_HU, PETROUS_HU, BACKGROUND_HU = 1250.0, 650.0, 1700.0, -70.0
CAVITY_CENTRE_Y = -8.0
# The spinal canal below the foramen magnum: ends in mm, radii in mm.
CANAL = (((0, -37, -60), (0, -45, -130)), (15.0, 10.5))
FORAMEN_MM = (-37.0, -62.0)
# Bone, muscle and scalp on the cavity; below this height above the cavity's middle, the face.
SHELL_MM, FACE_TOP_MM = 26.0, 20.0
ORBIT_BACK_MM, GLOBE_MM = (13, 24, -33), (31, 68, -36)
# Right-sided muscles: ends in mm, radii in mm. Chewing, then swallowing and bending, then the nape.
MUSCLES = (
    (((56, 26, -22), (51, 20, -58)), (8.0, 7.0)),
    (((60, 26, -52), (54, 14, -100)), (7.5, 8.0)),
    (((24, 24, -56), (40, 2, -98)), (7.0, 8.0)),
    (((20, 24, -50), (44, 4, -52)), (8.0, 6.0)),
    (((9, -8, -50), (9, -16, -130)), (7.5, 7.5)),
    (((62, -38, -60), (50, -16, -130)), (6.0, 9.0)),
    (((44, -54, -54), (36, -54, -130)), (9.0, 10.0)),
    (((13, -62, -62), (25, -55, -98)), (9.0, 10.0)),
    (((19, -82, -46), (17, -78, -130)), (11.0, 14.0)),
)


@dataclass(frozen=True)
class Skull:
    """One skull and the soft tissue on it.

    Attributes
    ----------
    inner_mm : tuple of float
        Half width, half length and height above the origin of the cavity.
    vault_mm, base_mm, scalp_mm : float
        Thickness of the bone of the vault, of the base, and of the scalp.
    taper : float
        How much narrower the front is than the back, per mm.
    skew : float
        Sideways shear, in percent.
    sinus : float
        Size of the air spaces, 0.5 to 1.25.
    roof_mm, slant_mm : float
        Height of the roofs of the orbits, and how much higher the base lies on the right, 50 mm from the middle.
    relief_mm : float
        Unevenness of the base; the vault's inner table has a third of it.
    muscle_hu : float
        Density of the muscles, about that of blood.
    """

    inner_mm: tuple[float, float, float]
    vault_mm: float
    base_mm: float
    scalp_mm: float
    taper: float
    skew: float
    sinus: float
    roof_mm: float
    slant_mm: float
    relief_mm: float
    muscle_hu: float


def sample_skull(rng: np.random.Generator, *, male: bool) -> Skull:
    """One skull; men's are larger by 3 %."""
    size = (1.015 if male else 0.985) * rng.normal(1, 0.03)
    width, length, height = size * rng.normal([67.5, 79.0, 71.0], [3.2, 3.3, 2.5])
    return Skull(
        inner_mm=(float(width), float(length), float(height)),
        vault_mm=float(np.clip(rng.normal(6.5, 1.4), 3.5, 11)),
        base_mm=float(rng.uniform(3.0, 6)),
        scalp_mm=float(rng.uniform(3, 6.5)),
        taper=float(rng.uniform(0.0010, 0.0026)),
        skew=float(rng.normal(0, 1.5)),
        sinus=float(rng.uniform(0.5, 1.25)),
        roof_mm=float(rng.uniform(4, 10)),
        slant_mm=float(rng.normal(0, 2.0)),
        relief_mm=float(rng.uniform(0.5, 2.2)),
        muscle_hu=float(rng.normal(55, 4)),
    )


@dataclass(frozen=True)
class Walls:
    """Levels in mm on one plane, positive inside: the vault alone, the skull base (height above it), the cavity."""

    vault: Array
    base: Array | None
    cavity: Array


def walls_of(plane: Plane, skull: Skull, *, folds: Array) -> Walls:
    """The inner surface of the skull on one plane; distances are about right near the surface.

    Parameters
    ----------
    plane : Plane
    skull : Skull
    folds : ndarray, shape of the plane
        Smooth noise of unit variance: the unevenness of the bone.
    """
    vault = _vault_level(plane, skull)
    inner = vault - np.float32(0.33 * skull.relief_mm) * folds
    if plane.z.min() > 12:
        return Walls(vault, None, inner)
    base = np.full_like(vault, -60)
    rows, columns = (np.flatnonzero((vault > -20).any(axis=k)) for k in (1, 0))
    if rows.size > 1 and columns.size > 1:
        where = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        base[where] = _base_level(plane.cut(where), skull, folds[where])
    cavity = np.minimum(inner, base)
    if plane.z.min() < -40:
        canal = plane.window(CANAL[0], CANAL[1][0])
        if canal is not None:
            level = capsule_level(plane, canal, ends=CANAL[0], radii=CANAL[1])
            np.maximum(cavity[canal], level, out=cavity[canal])
    return Walls(vault, base, cavity)


def _base_level(plane: Plane, skull: Skull, folds: Array) -> Array:
    """Distance in mm above the skull base; beside a steep ridge the height is larger than the distance."""
    height = base_height(plane.x, plane.y, skull) + np.float32(skull.relief_mm) * folds
    steep = np.gradient(height, float(plane.rows_mm[1] - plane.rows_mm[0]))
    return (plane.z - height) / np.sqrt(1 + np.clip(square(steep[0]) + square(steep[1]), 0, 16))


def _vault_level(plane: Plane, skull: Skull) -> Array:
    """A super-ellipsoid of order 2.2: temples and forehead are flatter than an ellipse's."""
    width, length, height = skull.inner_mm
    y = plane.y - np.float32(CAVITY_CENTRE_Y)
    across = (plane.x + np.float32(skull.skew / 100) * y) * (
        np.float32(1 / width) + np.float32(skull.taper / width) * np.clip(y, -60, 60)
    )
    tall = plane.z * np.where(plane.z > 0, np.float32(1 / height), np.float32(1 / 82.0))
    radius = _power(across) + _power(y * np.float32(1 / length)) + _power(tall)
    return (1 - radius ** np.float32(1 / 2.2)) * np.float32(0.33 * (width + length + height))


def head_box(pose: Pose, skull: Skull, grid_mm: tuple, height_mm: float) -> tuple[slice, slice]:
    """Rows and columns of a plane that can hold the head: all of them low in the head, the vault's own above.

    The vault with its scalp lies in an ellipsoid; what a plane cuts from a turned ellipsoid has a known extent.
    """
    spread = pose.rotation.T @ np.diag(np.square(np.add(skull.inner_mm, SHELL_MM))) @ pose.rotation
    middle = pose.to_scanner([0, CAVITY_CENTRE_Y, 0])
    up = height_mm - middle[2]
    if up < FACE_TOP_MM:
        return EVERYWHERE
    left = max(0.0, 1 - up**2 / spread[2, 2])
    reach = [np.sqrt(left * (spread[k, k] - spread[k, 2] ** 2 / spread[2, 2])) for k in (0, 1)]
    centre = [middle[k] + spread[k, 2] / spread[2, 2] * up for k in (0, 1)]
    rows, columns = (slice(*a.searchsorted([c - r, c + r])) for a, c, r in zip(grid_mm, centre, reach, strict=False))
    return rows, columns


def _power(value: Array) -> Array:
    """Of the order 2.2, also of what is negative."""
    return (value * value) ** np.float32(1.1)


def base_height(x: Array, y: Array, skull: Skull) -> Array:
    """Height in mm of the inner skull base at head coordinates x, y.

    Front to back: anterior fossa over the orbits, sella, middle fossae, petrous ridges, clivus, and the bowl of the
    posterior fossa about the foramen magnum.
    """
    side = np.abs(x)
    front = -22 + np.float32(skull.roof_mm) * bump(side, 26, 15) * bump(y, 46, 24) - 3 * bump(side, 0, 6)
    sella = np.float32(-27)
    middle = np.minimum(-44 + 14 * square((side - 38) / 26) + 12 * square((y - 4) / 42), -14)
    ridge_y = -5 - 0.55 * side
    ridge = 17 * bump(y - ridge_y, 0, 7) * sigmoid(side - 14, 3)
    away = np.clip(np.hypot(x, y - np.float32(FORAMEN_MM[0])) - 15, 0, 45)
    bowl = np.float32(FORAMEN_MM[1]) + np.float32(0.25) * away + np.float32(0.0085) * square(away)
    back = np.maximum(bowl, -25 + 2.3 * np.clip(y + 5, -40, 0))
    behind = sigmoid(ridge_y - 1.5 - y, 3)
    temporal = sella + sigmoid(side - 15, 3) * (middle - sella)
    rear = temporal + behind * (back - temporal) + ridge
    ahead = sigmoid(y - (22 + 0.22 * side), 2.5)
    return rear + ahead * (front - rear) + np.float32(skull.slant_mm / 50) * x


def paint_head(plane: Plane, skull: Skull, walls: Walls, *, grain: Array, folds: Array) -> None:
    """Scalp, face, neck, bone and its air spaces on one plane.

    Parameters
    ----------
    grain : ndarray, shape of the plane
        White noise of 2 mm grain: marrow, bony cells.
    folds : ndarray, shape of the plane
        Smooth noise that divides soft tissue into muscle and fat.
    """
    low = walls.base is not None and plane.z.min() < -5
    shell = np.float32(skull.vault_mm) * (1 + np.float32(0.06) * folds)
    if low:
        shell = shell + sigmoid(-12 - plane.z, 4) * np.float32(skull.base_mm - skull.vault_mm)
    temple = _temporal_muscle(plane, bone=walls.vault + shell)
    outline = np.maximum(walls.vault + shell + np.float32(skull.scalp_mm), temple + 3)
    if low:
        face = face_level(plane)
        outline = np.maximum(outline - 25 * sigmoid(-48 - plane.z, 8), face)
    plane.paint(SCALP_HU, plane.occupancy(outline))
    plane.paint(FAT_HU, plane.occupancy(outline - 1.8) * plane.occupancy(1.2 + skull.scalp_mm - outline))
    plane.paint(skull.muscle_hu, plane.occupancy(temple))
    if low:
        flesh = BACKGROUND_HU + np.float32(skull.muscle_hu - BACKGROUND_HU) * sigmoid(folds + 0.2, 0.12)
        plane.paint(flesh, plane.occupancy(face - 5) * sigmoid(-16 - plane.z, 4))
        paint_face(plane, grain=grain, folds=folds, sinus=skull.sinus, muscle_hu=skull.muscle_hu)
    _paint_bone(plane, skull, walls, shell=shell, grain=grain)
    if low:
        brow = skull.inner_mm[1] + CAVITY_CENTRE_Y + 0.5 * skull.vault_mm - 1
        paint_base(plane, grain=grain, sinus=skull.sinus, brow_mm=brow)


def _temporal_muscle(plane: Plane, *, bone: Array) -> Array:
    """Level of the muscle that fills the temple, from the level of the bone it lies on."""
    if plane.z.min() > 25 or plane.z.max() < -60:
        return np.full_like(bone, -60)
    thickness = 9 * bump(plane.y, 24, 26) * bump(plane.z, -20, 28) * sigmoid(np.abs(plane.x) - 38, 5)
    return bone + thickness - 1


def _paint_bone(plane: Plane, skull: Skull, walls: Walls, *, shell: Array, grain: Array) -> None:
    """The vault with its marrow and sutures, and the base: thin over orbits and cerebellum, thick about the clivus."""
    bone = walls.vault + shell
    if walls.base is not None:
        petrous = sigmoid(-4 - plane.y - 0.45 * np.abs(plane.x), 4) * sigmoid(plane.y + 46, 6)
        thick = skull.base_mm - 1.5 * sigmoid(plane.y - 16, 6) + 9 * petrous
        bone = np.minimum(bone, walls.base + thick)
    plane.paint(CORTICAL_HU, plane.occupancy(bone))
    marrow = np.minimum(bone, -walls.cavity) - np.float32(0.28 * skull.vault_mm)
    plane.paint(DIPLOE_HU + 130 * grain, plane.occupancy(marrow))
    suture = 0.6 - np.minimum(np.abs(plane.y - 12 - 0.1 * plane.z), np.abs(plane.y + 62 + 0.5 * np.abs(plane.x)))
    open_bone = np.minimum(np.minimum(bone, -walls.cavity), np.minimum(suture + 0.3 * grain, plane.z - 15))
    plane.paint(350.0, plane.occupancy(open_bone))


def face_level(plane: Plane) -> Array:
    """Level in mm of the face and the neck."""
    jaw = capsule_level(plane, EVERYWHERE, ends=((0, 30, -38), (0, 22, -120)), radii=(58, 50))
    neck = capsule_level(plane, EVERYWHERE, ends=((0, -44, -62), (0, -40, -130)), radii=(50, 56))
    return np.maximum(jaw, neck)


def paint_face(plane: Plane, *, grain: Array, folds: Array, sinus: float, muscle_hu: float) -> None:
    """Muscles, glands, jaws, throat, air spaces and orbits; the bone of the base comes after them.

    Parameters
    ----------
    grain : ndarray, shape of the plane
        Noise whose crests are the walls of bony cells.
    folds : ndarray, shape of the plane
        Smooth noise that makes the muscles' outlines uneven.
    sinus : float
        Size of the air spaces.
    muscle_hu : float
    """
    _paint_throat(plane, muscle_hu)
    for side in (-1, 1):
        for ends, radii in MUSCLES:
            mirrored = tuple((side * x, y, z) for x, y, z in ends)
            _paint_muscle(plane, mirrored, radii, hu=muscle_hu, folds=folds)
        paint_ellipsoid(plane, (side * 58, -8, -74), (10, 16, 22), 5, softness=3)
        paint_capsule(plane, ((side * 46, 56, -44), (side * 64, -2, -46)), (3.5, 2.5), CORTICAL_HU)
        paint_capsule(plane, ((side * 50, 0, -52), (side * 46, 10, -95)), (4, 5), CORTICAL_HU)
        paint_ellipsoid(plane, (side * 27, 48, -64), (17 * sinus + 2, 20, 17), CORTICAL_HU)
        paint_ellipsoid(plane, (side * 27, 48, -64), (17 * sinus, 18.5, 15.5), AIR_HU)
        _paint_orbit(plane, side)
    paint_ellipsoid(plane, (0, 55, -50), (14, 30, 22), 700)
    paint_cells(plane, ((0, 55, -50), (12.5, 28, 22)), grain, threshold=0.9)
    _paint_spine(plane)


def _paint_muscle(plane: Plane, ends: tuple, radii: tuple, *, hu: float, folds: Array) -> None:
    """A muscle in a layer of fat, which separates it from its neighbours."""
    where = plane.window(ends, max(radii) + 4)
    if where is not None:
        level = capsule_level(plane, where, ends=ends, radii=radii) + np.float32(1.8) * folds[where]
        flesh = np.float32(BACKGROUND_HU) + np.float32(hu - BACKGROUND_HU) * plane.occupancy(level)
        plane.paint(flesh, plane.occupancy(level + 1.3), where)


def _paint_throat(plane: Plane, muscle_hu: float) -> None:
    """Nose, palate, teeth, tongue, and the airway in its muscular wall."""
    paint_ellipsoid(plane, (0, 4, -76), (21, 15, 34), muscle_hu - 8, softness=2)
    paint_ellipsoid(plane, (0, 6, -76), (13, 8, 26), AIR_HU)
    paint_ellipsoid(plane, (0, 40, -94), (33, 36, 13), CORTICAL_HU)
    paint_ellipsoid(plane, (0, 34, -98), (25, 34, 20), muscle_hu, softness=2)
    paint_ellipsoid(plane, (0, 54, -70), (13, 30, 14), AIR_HU)
    paint_capsule(plane, ((0, 34, -66), (0, 80, -66)), (1.2, 1.2), 300, flat=10)
    for side in (-1, 1):
        paint_capsule(plane, ((side * 7, 34, -72), (side * 7, 72, -72)), (3.0, 3.0), 40, flat=1.8)


def _paint_spine(plane: Plane) -> None:
    """The first two vertebrae about the canal, which the brain's painter fills; and the dens."""
    if plane.z.min() > -58:
        return
    for height, reach in ((-72, 24), (-92, 23)):
        paint_ellipsoid(plane, (0, -40, height), (reach, reach - 2, 8.5), CORTICAL_HU)
        for side in (-1, 1):
            paint_ellipsoid(plane, (side * 26, -34, height), (15, 9, 8), CORTICAL_HU - 400)
    paint_capsule(plane, ((0, -22, -70), (0, -24, -130)), (5.5, 9.5), CORTICAL_HU - 500)


def paint_base(plane: Plane, *, grain: Array, sinus: float, brow_mm: float) -> None:
    """Petrous pyramids, canals, mastoid cells, sphenoid and frontal sinus (behind the brow), jugular veins."""
    for side in (-1, 1):
        paint_capsule(plane, ((side * 18, -14, -35), (side * 50, -32, -37)), (4, 7), PETROUS_HU)
        paint_capsule(plane, ((side * 24, -22, -33), (side * 36, -22, -33)), (1.8, 1.5), 10)
        paint_cells(plane, ((side * 57, -34, -46), (6 + 6 * sinus, 14, 19)), grain, threshold=0.5)
        paint_capsule(plane, ((side * 42, -22, -40), (side * 76, -20, -42)), (2.5, 4), AIR_HU)
        paint_capsule(plane, ((side * 24, -34, -44), (side * 28, -34, -66)), (4.5, 5), 48)
    paint_ellipsoid(plane, (0, 14, -39), (18, 17, 14), CORTICAL_HU - 350)
    paint_ellipsoid(plane, (0, 13, -39), (15 * sinus, 13, 10), AIR_HU)
    front, wide, high = (0, brow_mm, -14), 20 * sinus, 13 * sinus
    paint_ellipsoid(plane, front, (wide + 3, 5.5, high + 3), CORTICAL_HU)
    paint_ellipsoid(plane, front, (wide, 3.0, high), AIR_HU)


def _paint_orbit(plane: Plane, side: int) -> None:
    """A bony cone with fat, muscles, nerve, globe and lens."""
    (bx, by, bz), (gx, gy, gz) = ORBIT_BACK_MM, GLOBE_MM
    back, globe = (side * bx, by, bz), (side * gx, gy, gz)
    mouth = (globe[0], 66, gz)
    paint_capsule(plane, (mouth, back), (19, 5.5), CORTICAL_HU)
    paint_capsule(plane, (mouth, back), (17.6, 4.2), -95)
    for swing, lift in ((0, -11), (0, 11), (-12, 0), (12, 0)):
        paint_capsule(plane, ((globe[0] + swing, 60, gz + lift), back), (2.2, 2.2), 50)
    paint_capsule(plane, ((globe[0] - side, 56, gz), back), (2.2, 2.2), 35)
    paint_ellipsoid(plane, globe, (12.2, 12.2, 12.2), 45)
    paint_ellipsoid(plane, globe, (11, 11, 11), 12)
    paint_ellipsoid(plane, (globe[0], gy + 8.5, gz), (4.5, 2.2, 4.5), 85)


def paint_cells(plane: Plane, ellipsoid: tuple[tuple, tuple], grain: Array, *, threshold: float) -> None:
    """A honeycomb of air and thin bone in an ellipsoid given by centre and radii."""
    centre, radii = ellipsoid
    where = plane.window(centre, max(radii))
    if where is not None:
        share = plane.occupancy(ellipsoid_level(plane, where, centre=centre, radii=radii))
        wall = np.where(grain[where] > threshold, np.float32(600), np.float32(AIR_HU))
        plane.paint(wall, share, where)
