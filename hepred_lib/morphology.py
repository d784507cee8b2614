"""Dilation, erosion and filling of a stack of slices by disks, each slice by itself, all slices together.

A disk is a pile of runs: the mask is widened along x by the runs' lengths, and what was widened is moved along y. That
is a few passes over the whole stack where a structuring element asks about every pixel's neighbourhood.

Masks are bool (x, y, z), fastest in C order, where a move is one long run of memory; what lies outside the array is not
in the mask.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

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
