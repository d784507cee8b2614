"""A head CT without its face: what lies in front of the brain and below it becomes air.

The face is found by the brain. In the slices up to the one that shows the most brain, every voxel in front of the
brain's middle is removed unless it lies within a margin of the brain: skull and scalp beside the brain stay, the eyes,
the nose, the cheeks and the jaws go. The ears and the back of the head stay. A surface that is drawn from the scan
then shows no face, but a scan without a face is not anonymous by law: who may receive it is for the hospital to decide.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from hepred_lib.preprocessing import BrainSlices, prepare
from hepred_lib.scans import ScanError

AIR_HU, CLIPPED_HU = -1024.0, -900.0
# In the slice: skull and scalp are thinner. Downwards: the roof of the orbits is, and the eyes begin below it.
MARGINS_MM = ((15.0, 5.0), (22.0, 8.0), (30.0, 12.0))
# Share of the brain mask's voxels, tried in this order where no margin leaves it quite as it was: a mask that runs into
# the muscles of the neck shrinks to the brain when the face is gone, and a wide margin around it would keep the face.
MOST_CHANGED = (0.001, 0.05)


def deface(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """The scan with air in place of its face.

    Parameters
    ----------
    hu : ndarray of shape (x, y, z)
        Hounsfield units in RAS+.
    spacing_mm : tuple of float
        Voxel size.

    Returns
    -------
    ndarray
        A copy. Removed voxels are -1024 HU, or the lowest value of a scan that was clipped above that. The brain mask
        of the copy is that of the scan: where the narrowest margin would change it, a wider one is taken. No voxel of
        the brain mask is ever removed.

    Raises
    ------
    ScanError
        The scan shows no brain inside a skull, or every margin changes the brain mask by more than 5 %.
    """
    before = prepare(hu, spacing_mm)
    brain = before.grid.to_scan(before.brain) >= 0.5
    lowest = float(hu.min())
    air, changes = np.asarray(AIR_HU if lowest < CLIPPED_HU else lowest, hu.dtype), {}
    for margins_mm in MARGINS_MM:
        without = np.where(face_region(brain, spacing_mm, margins_mm), air, hu)
        changes[margins_mm] = _changed_share(before, without, spacing_mm)
        if not changes[margins_mm]:
            return without
    for most in MOST_CHANGED:
        for margins_mm, share in changes.items():
            if share <= most:
                return np.where(face_region(brain, spacing_mm, margins_mm), air, hu)
    raise ScanError(
        f"the brain mask must stay the same within {MOST_CHANGED[-1]:.0%} when the face is removed, got a change of "
        f"{min(changes.values()):.0%}: look at the scan, or import this patient without --deface."
    )


def face_region(
    brain: np.ndarray, spacing_mm: tuple[float, float, float], margins_mm: tuple[float, float]
) -> np.ndarray:
    """What lies in front of the brain or below it and outside its margin, bool (x, y, z); ``brain`` is not empty.

    Parameters
    ----------
    brain : ndarray of bool, shape (x, y, z)
        The brain on the scan's grid, in RAS+.
    spacing_mm : tuple of float
        Voxel size.
    margins_mm : tuple of float
        What stays around the brain within a slice, and below it.
    """
    margin_mm, below_mm = margins_mm
    kept = brain.copy()
    for step in range(1, 1 + round(below_mm / spacing_mm[2])):
        kept[:, :, :-step] |= brain[:, :, step:]
    face = np.zeros_like(brain)
    columns = np.flatnonzero(brain.any(axis=(0, 2)))
    front = slice((columns[0] + columns[-1]) // 2, None)
    for z in range(1 + int(brain.sum(axis=(0, 1)).argmax())):
        if kept[:, :, z].any():
            face[:, front, z] = (distance_transform_edt(~kept[:, :, z], spacing_mm[:2]) > margin_mm)[:, front]
        else:
            face[:, front, z] = True
    return face


def _changed_share(before: BrainSlices, without: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Share of the brain mask that the scan without its face lacks or has in addition; 1 where it shows no head."""
    try:
        after = prepare(without, spacing_mm)
    except ScanError:
        return 1.0
    if before.grid != after.grid:
        return 1.0
    return float((before.brain != after.brain).sum() / before.brain.sum())
