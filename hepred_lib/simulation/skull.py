"""The head outside the brain: scalp, the bone of vault and base, and the cavity that they enclose."""

from dataclasses import dataclass

import numpy as np

from hepred_lib.simulation.face import BACKGROUND_HU, face_level, paint_base, paint_face
from hepred_lib.simulation.shapes import EVERYWHERE, Array, Plane, Pose, bump, capsule_level, sigmoid, square

SCALP_HU, FAT_HU = 25.0, -95.0
CORTICAL_HU, DIPLOE_HU = 1250.0, 650.0
CAVITY_CENTRE_Y = -8.0
# The spinal canal below the foramen magnum: ends in mm, radii in mm.
CANAL = (((0, -37, -60), (0, -45, -130)), (15.0, 10.5))
FORAMEN_MM = (-37.0, -62.0)
# Bone, muscle and scalp on the cavity; below this height above the cavity's middle, the face.
SHELL_MM, FACE_TOP_MM = 26.0, 20.0


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
    radius = _power(across, 1.1) + _power(y * np.float32(1 / length), 1.1) + _power(tall, 1.1)
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
    return tuple(slice(*a.searchsorted([c - r, c + r])) for a, c, r in zip(grid_mm, centre, reach, strict=False))


def _power(value: Array, half_order: float) -> Array:
    return (value * value) ** np.float32(half_order)


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
        Smooth noise that parts flesh into muscle and fat.
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
