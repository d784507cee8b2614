"""Dura and flowing blood: falx, tentorium, venous sinuses and large arteries, all a little brighter than cortex."""

from dataclasses import dataclass

import numpy as np

from hepred_lib.simulation.shapes import Array, Plane, paint_capsule


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
