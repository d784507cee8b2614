"""The head outside the brain: scalp, skull, skull base, face."""

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

EVERYWHERE = (slice(None), slice(None))
SCALP_HU, FAT_HU, MUSCLE_HU, AIR_HU = 25.0, -95.0, 55.0, -1000.0
CORTICAL_HU, DIPLOE_HU, PETROUS_HU = 1250.0, 650.0, 1700.0
CAVITY_CENTRE_Y = -8.0


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
    """

    inner_mm: tuple[float, float, float]
    vault_mm: float
    base_mm: float
    scalp_mm: float
    taper: float
    skew: float
    sinus: float


def sample_skull(rng: np.random.Generator, *, male: bool) -> Skull:
    """One skull; men's are larger by 3 %."""
    size = (1.015 if male else 0.985) * rng.normal(1, 0.03)
    width, length, height = size * rng.normal([65.0, 79.0, 71.0], [2.2, 3.0, 2.5])
    return Skull(
        inner_mm=(float(width), float(length), float(height)),
        vault_mm=float(np.clip(rng.normal(6.0, 1.3), 3.5, 11)),
        base_mm=float(rng.uniform(3.5, 6)),
        scalp_mm=float(rng.uniform(3, 6.5)),
        taper=float(rng.uniform(0.0010, 0.0026)),
        skew=float(rng.normal(0, 1.5)),
        sinus=float(rng.uniform(0.5, 1.25)),
    )


@dataclass(frozen=True)
class Walls:
    """Levels in mm on one plane, positive inside: the vault alone, the skull base (height above it), the cavity."""

    vault: Array
    base: Array | None
    cavity: Array


def walls_of(plane: Plane, skull: Skull) -> Walls:
    """The inner surface of the skull on one plane; distances are about right near the surface."""
    width, length, height = skull.inner_mm
    y = plane.y - np.float32(CAVITY_CENTRE_Y)
    across = (plane.x + np.float32(skull.skew / 100) * y) * (
        np.float32(1 / width) + np.float32(skull.taper / width) * np.clip(y, -60, 60)
    )
    below = np.float32(1 / 82.0)
    tall = plane.z * np.where(plane.z > 0, np.float32(1 / height), below)
    # A super-ellipsoid of order 2.2: temples and forehead are flatter than an ellipse's.
    radius = _power(across, 1.1) + _power(y * np.float32(1 / length), 1.1) + _power(tall, 1.1)
    vault = (1 - radius ** np.float32(1 / 2.2)) * np.float32(0.33 * (width + length + height))
    if plane.z.min() > 12:
        return Walls(vault, None, vault)
    height = base_height(plane.x, plane.y)
    # Beside a steep ridge the height above the base is larger than the distance to it.
    steep = np.gradient(height, float(plane.rows_mm[1] - plane.rows_mm[0]))
    base = (plane.z - height) / np.sqrt(1 + np.clip(_square(steep[0]) + _square(steep[1]), 0, 16))
    return Walls(vault, base, np.minimum(vault, base))


def _power(value: Array, half_order: float) -> Array:
    return (value * value) ** np.float32(half_order)


def base_height(x: Array, y: Array) -> Array:
    """Height in mm of the inner skull base at head coordinates x, y.

    Front to back: anterior fossa over the orbits, sella, middle fossae, petrous ridges, clivus, posterior fossa.
    """
    side = np.abs(x)
    front = -22 + 10 * _bump(side, 26, 15) * _bump(y, 46, 24) - 3 * _bump(side, 0, 6)
    sella = np.float32(-27)
    middle = np.minimum(-44 + 14 * _square((side - 38) / 26) + 12 * _square((y - 4) / 42), -14)
    ridge_y = -5 - 0.55 * side
    ridge = 17 * _bump(y - ridge_y, 0, 7) * sigmoid(side - 14, 3)
    back = np.maximum(-74 + 12 * _square(side / 45), -25 + 2.3 * np.clip(y + 5, -40, 0))
    behind = sigmoid(ridge_y - 1.5 - y, 3)
    temporal = sella + sigmoid(side - 15, 3) * (middle - sella)
    rear = temporal + behind * (back - temporal) + ridge
    ahead = sigmoid(y - (22 + 0.22 * side), 2.5)
    return rear + ahead * (front - rear)


def _bump(value: Array, middle: float, width: float) -> Array:
    return np.exp(-_square((value - np.float32(middle)) * np.float32(1 / width)))


def _square(value: Array) -> Array:
    return value * value


def paint_head(plane: Plane, skull: Skull, walls: Walls, *, grain: Array, folds: Array) -> None:
    """Scalp, face, bone and its air spaces on one plane.

    Parameters
    ----------
    grain : ndarray, shape of the plane
        White noise of 2 mm grain: marrow, bony cells.
    folds : ndarray, shape of the plane
        Smooth noise: where fat runs between muscles.
    """
    low = walls.base is not None and plane.z.min() < -5
    shell = np.float32(skull.vault_mm)
    if low:
        shell = shell + sigmoid(-12 - plane.z, 4) * np.float32(skull.base_mm - skull.vault_mm)
    temple = _temporal_muscle(plane, bone=walls.vault + shell)
    outline = np.maximum(walls.vault + shell + np.float32(skull.scalp_mm), temple + 3)
    if low:
        face = _face_level(plane)
        outline = np.maximum(outline - 25 * sigmoid(-48 - plane.z, 8), face)
    plane.paint(SCALP_HU, plane.occupancy(outline))
    plane.paint(FAT_HU, plane.occupancy(outline - 1.8) * plane.occupancy(1.2 + skull.scalp_mm - outline))
    plane.paint(MUSCLE_HU, plane.occupancy(temple))
    if low:
        flesh = np.where(np.abs(folds) < 0.30, np.float32(FAT_HU), np.float32(MUSCLE_HU))
        plane.paint(flesh, plane.occupancy(face - 5) * sigmoid(-16 - plane.z, 4))
    _paint_bone(plane, skull, walls, shell=shell, grain=grain)
    if low:
        _paint_base(plane, skull, grain)
        _paint_face(plane, skull, grain)


def _temporal_muscle(plane: Plane, *, bone: Array) -> Array:
    """Level of the muscle that fills the temple, from the level of the bone it lies on."""
    if plane.z.min() > 25 or plane.z.max() < -60:
        return np.full_like(bone, -60)
    thickness = 9 * _bump(plane.y, 24, 26) * _bump(plane.z, -20, 28) * sigmoid(np.abs(plane.x) - 38, 5)
    return bone + thickness - 1


def _face_level(plane: Plane) -> Array:
    jaw = capsule_level(plane, EVERYWHERE, ends=((0, 30, -38), (0, 22, -120)), radii=(58, 50))
    neck = capsule_level(plane, EVERYWHERE, ends=((0, -44, -62), (0, -40, -130)), radii=(50, 56))
    return np.maximum(jaw, neck)


def _paint_bone(plane: Plane, skull: Skull, walls: Walls, *, shell: Array, grain: Array) -> None:
    """The vault with its marrow and sutures; below the brain, solid bone that `_paint_base` and the face hollow out."""
    bone = walls.vault + shell
    if walls.base is not None:
        # Petrous and occipital bone is thick, the roof of the orbits thin.
        bone = np.minimum(bone, walls.base + skull.base_mm + 10 * sigmoid(16 - plane.y, 6))
    plane.paint(CORTICAL_HU, plane.occupancy(bone))
    marrow = np.minimum(bone, -walls.cavity) - np.float32(0.28 * skull.vault_mm)
    plane.paint(DIPLOE_HU + 130 * grain, plane.occupancy(marrow))
    suture = 0.6 - np.minimum(np.abs(plane.y - 12 - 0.1 * plane.z), np.abs(plane.y + 62 + 0.5 * np.abs(plane.x)))
    open_bone = np.minimum(np.minimum(bone, -walls.cavity), np.minimum(suture + 0.3 * grain, plane.z - 15))
    plane.paint(350.0, plane.occupancy(open_bone))


def _paint_base(plane: Plane, skull: Skull, grain: Array) -> None:
    """Petrous pyramids, canals, mastoid cells, sphenoid and frontal sinus, jugular foramina."""
    for side in (-1, 1):
        paint_capsule(plane, ((side * 18, -14, -35), (side * 50, -32, -37)), (4, 7), PETROUS_HU)
        paint_capsule(plane, ((side * 24, -22, -33), (side * 36, -22, -33)), (1.8, 1.5), 10)
        paint_cells(plane, ((side * 55, -36, -46), (5 + 5 * skull.sinus, 13, 19)), grain, threshold=0.5)
        paint_capsule(plane, ((side * 42, -22, -40), (side * 76, -20, -42)), (2.5, 4), AIR_HU)
        paint_capsule(plane, ((side * 24, -34, -44), (side * 28, -34, -66)), (4.5, 5), 48)
    paint_ellipsoid(plane, (0, 12, -38), (14 * skull.sinus, 13, 10), AIR_HU)
    front = (0, skull.inner_mm[1] + CAVITY_CENTRE_Y + 0.5 * skull.vault_mm - 1, -14)
    wide, high = 20 * skull.sinus, 13 * skull.sinus
    paint_ellipsoid(plane, front, (wide + 3, 5.5, high + 3), CORTICAL_HU)
    paint_ellipsoid(plane, front, (wide, 3.0, high), AIR_HU)


def _paint_face(plane: Plane, skull: Skull, grain: Array) -> None:
    """Cheek bones and jaws, orbits, maxillary and ethmoid sinuses, throat."""
    for side in (-1, 1):
        paint_capsule(plane, ((side * 46, 56, -44), (side * 64, -2, -46)), (3.5, 2.5), CORTICAL_HU)
        paint_capsule(plane, ((side * 50, 0, -52), (side * 46, 10, -95)), (4, 5), CORTICAL_HU)
        paint_ellipsoid(plane, (side * 27, 48, -64), (17 * skull.sinus + 2, 20, 17), CORTICAL_HU)
        paint_ellipsoid(plane, (side * 27, 48, -64), (17 * skull.sinus, 18.5, 15.5), AIR_HU)
        _paint_orbit(plane, side)
    paint_ellipsoid(plane, (0, 55, -50), (14, 30, 22), 700)
    paint_cells(plane, ((0, 55, -50), (12.5, 28, 22)), grain, threshold=0.9)
    paint_ellipsoid(plane, (0, 2, -78), (15, 12, 24), AIR_HU)
    paint_ellipsoid(plane, (0, -34, -98), (16, 10, 22), CORTICAL_HU)


def _paint_orbit(plane: Plane, side: int) -> None:
    """A bony cone with fat, muscles, nerve, globe and lens."""
    back = (side * 13, 24, -33)
    paint_capsule(plane, ((side * 31, 60, -36), back), (20, 5), CORTICAL_HU)
    paint_capsule(plane, ((side * 31, 74, -36), back), (19, 3), FAT_HU)
    for swing, lift in ((0, -11), (0, 11), (-12, 0), (12, 0)):
        paint_capsule(plane, ((side * 31 + swing, 60, -36 + lift), back), (2.0, 2.0), MUSCLE_HU)
    paint_capsule(plane, ((side * 30, 56, -36), back), (2.0, 2.0), 35)
    paint_ellipsoid(plane, (side * 31, 68, -36), (12.2, 12.2, 12.2), 45)
    paint_ellipsoid(plane, (side * 31, 68, -36), (11, 11, 11), 12)
    paint_ellipsoid(plane, (side * 31, 76.5, -36), (4.5, 2.2, 4.5), 85)


def paint_cells(plane: Plane, ellipsoid: tuple[tuple, tuple], grain: Array, *, threshold: float) -> None:
    """A honeycomb of air and thin bone in an ellipsoid given by centre and radii."""
    centre, radii = ellipsoid
    where = plane.window(centre, max(radii))
    if where is not None:
        share = plane.occupancy(ellipsoid_level(plane, where, centre=centre, radii=radii))
        wall = np.where(grain[where] > threshold, np.float32(600), np.float32(AIR_HU))
        plane.paint(wall, share, where)
