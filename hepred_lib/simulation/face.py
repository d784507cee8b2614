"""Below the brain: air spaces of the skull base, orbits, jaws, muscles, throat, and the upper neck.

Muscle has the density of blood, and where slices or masks cut the base unluckily it lies beside the brain.
"""

import numpy as np

from hepred_lib.simulation.shapes import (
    EVERYWHERE,
    Array,
    Plane,
    capsule_level,
    ellipsoid_level,
    paint_capsule,
    paint_ellipsoid,
)

AIR_HU, BACKGROUND_HU, CORTICAL_HU, PETROUS_HU = -1000.0, -70.0, 1250.0, 1700.0
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
    """A muscle in its coat of fat, which parts it from its neighbours."""
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
