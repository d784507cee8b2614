"""What the network is given of a patient: slices with their neighbours, cut to the brain, in the brain window.

A slice comes with two slices below and two above it as channels, so that a calcified falx, a vessel or the skull base,
which go on through many slices, can be told from a small bleed. The field of view is centred on the brain: a central
frame that just holds it is two thirds of the field, and all that is computed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hepred_lib.slices import BRAIN, HU, HU_OFFSET

WINDOW_HU = (0.0, 80.0)
NEIGHBOURS = 2  # below, and as many above
N_CHANNELS = 2 * NEIGHBOURS + 1
FRAME_STEP = 16  # the network halves its input four times


def brain_frame(planes: np.ndarray) -> tuple[int, int]:
    """Rows and columns, multiples of 16, of the smallest central frame that holds a patient's brain; the whole if none.

    ``planes`` are stored slices, uint8 (n, 4, h, w).
    """
    brain = planes[:, BRAIN].max(axis=0) > 0
    if not brain.any():
        return brain.shape
    return tuple(_frame_side(brain.any(axis=1 - axis)) for axis in (0, 1))


def _frame_side(profile: np.ndarray) -> int:
    filled, middle = np.flatnonzero(profile), len(profile) // 2
    half = max(middle - filled[0], filled[-1] + 1 - middle)
    return min(len(profile), -(-2 * half // FRAME_STEP) * FRAME_STEP)


def cut(images: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """The central frame of images (..., h, w)."""
    top, left = ((size - side) // 2 for size, side in zip(images.shape[-2:], frame, strict=True))
    return images[..., top : top + frame[0], left : left + frame[1]]


def uncut(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Images (n, h, w) put back into the middle of larger ones; 0 around."""
    margins = [(whole - side) // 2 for whole, side in zip(shape, images.shape[1:], strict=True)]
    pads = [(m, whole - side - m) for m, whole, side in zip(margins, shape, images.shape[1:], strict=True)]
    return np.pad(images, [(0, 0), *pads])


def with_neighbours(planes: np.ndarray, index: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Stored HU of the slices at ``index`` and of their neighbours, uint8 (k, 5, *frame); 0 HU outside the brain.

    The lowest and the highest slice of the scan stand in for neighbours that are lacking.
    """
    rows = np.clip(np.asarray(index)[:, None] + np.arange(-NEIGHBOURS, NEIGHBOURS + 1), 0, len(planes) - 1)
    found, place = np.unique(rows, return_inverse=True)
    chosen = cut(planes[found], frame)
    seen = np.where(chosen[:, BRAIN] > 0, chosen[:, HU], np.uint8(HU_OFFSET + WINDOW_HU[0]))
    return seen[place.reshape(rows.shape)]


def stored_to_hu(seen: Tensor) -> Tensor:
    """Stored bytes as HU, float32."""
    return seen.float() - HU_OFFSET


def normalize(hu: Tensor) -> Tensor:
    """Clip to the brain window (W80 L40) and scale to about -1 to 1: what the network is given."""
    low, high = WINDOW_HU
    return (hu.clamp(low, high) - low) / (high - low) * 2.0 - 1.0


def network_input(planes: np.ndarray, index: np.ndarray, frame: tuple[int, int], device: torch.device) -> Tensor:
    """A patient's slices at ``index`` as the network takes them, (k, 5, *frame), in channels-last order."""
    seen = torch.from_numpy(with_neighbours(planes, index, frame)).to(device)
    return normalize(stored_to_hu(seen)).contiguous(memory_format=torch.channels_last)
