"""Whether a scan shows a whole head: a brain of possible size inside a skull.

Judged on coarse arrays (x, y, z) in RAS+: the brain mask and the bone of :mod:`hepred_lib.imaging.preprocessing`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

FIELD_MM = (120.0, 1000.0)  # longer side of a slice; a head is 180 to 210 mm long
LENGTH_MM = (100.0, 230.0)  # of an adult brain in the slice: 145 to 195 mm
HEIGHT_MM = 170.0  # 95 to 125 mm
HEIGHT_SHARE = (0.36, 1.1)  # height over length: 0.5 to 0.75
CUT_SHARE = 0.2  # height over length of a part of the head that has the vertex or the base
WIDTH_SHARE = 0.55  # shorter over longer side in the slice: 0.75 or more
LARGE_SLICE = 0.25  # of the largest area of the brain: such slices count for its height
LEAST_BONE = 0.1  # bone over brain, by area: 0.23 or more; 0.07 where 3 mm around an extracted brain were left
ENCLOSED = 0.4  # of the brain's edge lies near bone: 0.96 or more of a head's, under 0.15 without skull
NEAR_BONE_MM = 8.0
MEDIAN_HU = (10.0, 60.0)
CUT_BASE, CUT_VERTEX = 0.5, 0.3  # area of the brain in the scan's first and last slice over its largest

SKULL = "show a head with its skull"
SIZE = "show a head of possible size"


def field_fault(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[str, str] | None:
    """Why no head has this size, by the field of view alone: the words after "must" and those after "got".

    Parameters
    ----------
    hu : ndarray of shape (x, y, z)
        The scan on its own grid.
    spacing_mm : tuple of float
        Voxel size.
    """
    field = max(n * mm for n, mm in zip(hu.shape[:2], spacing_mm[:2], strict=True))
    if FIELD_MM[0] <= field <= FIELD_MM[1]:
        return None
    voxel = " x ".join(f"{mm:.4g}" for mm in spacing_mm)
    return SIZE, f"a head of {_head_size(hu, spacing_mm)} mm: the voxel size ({voxel} mm) is wrong"


def head_fault(
    hu: np.ndarray, brain: np.ndarray, bone: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[str, str] | None:
    """Why this is no head in which a volume can be measured: the words after "must" and those after "got".

    Parameters
    ----------
    hu : ndarray of shape (x, y, z)
        Coarse slices.
    brain, bone : ndarray of bool, of the same shape
    spacing_mm : tuple of float
        Voxel size of these arrays.
    """
    if not brain.any():
        return SKULL, "no brain inside a skull (was it extracted?): use the original scan"
    areas = brain.sum(axis=(0, 1))
    large = areas >= LARGE_SLICE * areas.max()
    inside, around = brain[:, :, large], bone[:, :, large]
    share = around.sum() / inside.sum()
    if share < LEAST_BONE:
        return SKULL, f"bone of {share:.1%} of the brain's area (was it extracted?): use the original scan"
    fault = _size_fault(hu, brain, float(large.sum()) * spacing_mm[2], spacing_mm)
    if fault:
        return fault
    enclosed = _enclosed_share(inside, around, spacing_mm[0])
    if enclosed < ENCLOSED:
        return SKULL, f"bone around {enclosed:.0%} of the brain (was it extracted?): use the original scan"
    median = float(np.median(hu[brain]))
    if not MEDIAN_HU[0] <= median <= MEDIAN_HU[1]:
        return f"show a brain of {MEDIAN_HU[0]:g} to {MEDIAN_HU[1]:g} HU", f"a median of {median:.0f} HU"
    return None


def cut_ends(brain: np.ndarray) -> tuple[bool, bool]:
    """Whether the scan begins within the brain (the skull base is missing), and whether it ends in it (the vertex is).

    Examples
    --------
    >>> brain = np.zeros((4, 4, 3), dtype=bool)
    >>> brain[:, :, 1:] = True
    >>> cut_ends(brain)
    (False, True)
    """
    areas = brain.sum(axis=(0, 1))
    return bool(areas[0] > CUT_BASE * areas.max()), bool(areas[-1] > CUT_VERTEX * areas.max())


def _size_fault(
    hu: np.ndarray, brain: np.ndarray, height_mm: float, spacing_mm: tuple[float, float, float]
) -> tuple[str, str] | None:
    sides = [np.flatnonzero(brain.any(axis=axes)) for axes in ((1, 2), (0, 2))]
    width_mm, length_mm = sorted((side[-1] - side[0] + 1) * mm for side, mm in zip(sides, spacing_mm[:2], strict=True))
    if width_mm < WIDTH_SHARE * length_mm:
        return SIZE, f"a brain of {width_mm:.0f} x {length_mm:.0f} mm in the slice: the pixel size is wrong"
    if not LENGTH_MM[0] <= length_mm <= LENGTH_MM[1]:
        return SIZE, f"a brain {length_mm:.0f} mm long in the slice: the pixel size is wrong, or this is no head"
    # A scan of a part of the head is short as well, but it ends within the brain.
    share = height_mm / length_mm
    short = share < (HEIGHT_SHARE[0], CUT_SHARE, 0.0)[sum(cut_ends(brain))]
    if short or share > HEIGHT_SHARE[1] or height_mm > HEIGHT_MM:
        return SIZE, f"a head of {_head_size(hu, spacing_mm)} mm: the distance between slices is wrong"
    return None


def _enclosed_share(brain: np.ndarray, bone: np.ndarray, pixel_mm: float) -> float:
    """Share of the brain's edge, slice by slice, that lies near bone."""
    edge = brain & ~eroded(brain, 1)
    near = dilated(np.ascontiguousarray(bone), round(NEAR_BONE_MM / pixel_mm))
    return float((edge & near).sum() / max(1, edge.sum()))


def _head_size(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> str:
    """Sides in mm of the box around everything but air."""
    shown = hu > -15.0
    sides = [np.flatnonzero(shown.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    lengths = [(side[-1] - side[0] + 1) * mm if side.size else 0.0 for side, mm in zip(sides, spacing_mm, strict=True)]
    return " x ".join(f"{length:.0f}" for length in lengths)


# Disks, holes and pieces, slice by slice over a whole stack at once

_IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
_IN_PLANE[1, 1, :] = _IN_PLANE[1, :, 1] = True  # neighbours that share an edge within a slice, (z, y, x)


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """Every pixel of a slice that lies at most ``radius`` pixels, centre to centre, from the mask.

    Examples
    --------
    >>> dilated(np.array([[[False], [False], [True], [False]]]), 1)[0, :, 0]
    array([False,  True,  True,  True])
    """
    found, wide, half = np.zeros_like(mask), mask.copy(), 0
    # From the disk's ends to its middle, where the runs are longest: each run continues the last one.
    for dy in range(radius, -1, -1):
        while (half + 1) ** 2 + dy**2 <= radius**2:
            half += 1
            _add_moved(wide, mask, half)
        _add_moved(found.swapaxes(0, 1), wide.swapaxes(0, 1), dy)
    return found


def eroded(mask: np.ndarray, radius: int) -> np.ndarray:
    """Every pixel of a slice that lies more than ``radius`` pixels from all that is not in the mask."""
    padded = np.pad(mask, ((radius, radius), (radius, radius), (0, 0)))
    inside = slice(radius, -radius or None)
    return ~dilated(~padded, radius)[inside, inside]


def opened(mask: np.ndarray, radius: int) -> np.ndarray:
    """The mask without what no disk of this radius fits into."""
    return dilated(eroded(mask, radius), radius)


def filled(mask: np.ndarray) -> np.ndarray:
    """The mask with its holes: what cannot reach the slice's border over shared edges."""
    padded = np.pad(mask, ((1, 1), (1, 1), (0, 0)))
    labels, n = _label(~padded)
    outside = np.zeros(n + 1, dtype=bool)
    outside[labels[0, 0]] = True
    return np.ascontiguousarray(~outside[labels][1:-1, 1:-1])


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each slice's pieces, numbered over the whole stack from 1, and their sizes in pixels; 0 is the rest."""
    labels, n = _label(mask)
    sizes = np.bincount(labels.ravel(order="K"), minlength=n + 1)
    sizes[0] = 0
    return labels, sizes


def overlapping(labels: np.ndarray, sizes: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The pieces of which at least half lies in ``near``; of ``labels``, any part that holds pieces whole."""
    shared = np.bincount(labels[near], minlength=len(sizes))
    return ((2 * shared >= sizes) & (sizes > 0))[labels]


def _label(mask: np.ndarray) -> tuple[np.ndarray, int]:
    # Slice by slice in memory: as labels are searched, and as slices are taken from them.
    labels, n = ndimage.label(np.ascontiguousarray(mask.T), structure=_IN_PLANE)
    return labels.T, n


def _add_moved(target: np.ndarray, source: np.ndarray, step: int) -> None:
    """Add ``source``, moved by ``step`` pixels either way along the first axis, to ``target``."""
    if step < len(source):
        target[: len(source) - step] |= source[step:]
        target[step:] |= source[: len(source) - step]
