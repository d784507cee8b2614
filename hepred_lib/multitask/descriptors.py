"""What can be measured of a hematoma without a reader, as targets beside the outcome.

A hundred events teach little about what to look at. Density, heterogeneity and margin can be measured on every
patient's reference outline; a network that has to tell them keeps features in which expansion can be read, and its
read-out of expansion rests on them and on the volume alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hepred_lib.markers import measure_markers

DESCRIPTORS = (
    *("mean_hu", "sd_hu", "hypodense_fraction", "blend_hu", "black_hole_hu", "hypodensity_hu"),
    *("margin_roughness_mm", "concavity", "surface_irregularity", "n_components"),
)
_SCALES_WITH_HU = [name.endswith("_hu") for name in DESCRIPTORS]
_MOVES_WITH_HU = [name == "mean_hu" for name in DESCRIPTORS]
_SCALES_WITH_LENGTH = [name.endswith("_mm") for name in DESCRIPTORS]


def descriptor_scale(descriptors: ArrayLike) -> tuple[Tensor, Tensor]:
    """Mean and SD of each descriptor over patients (n, k), float32 (k,); NaN rows are left out, a constant has SD 1."""
    values = np.asarray(descriptors, dtype=float).reshape(-1, len(DESCRIPTORS))
    known = values[~np.isnan(values).any(axis=1)]
    if len(known) == 0:
        known = np.zeros((1, len(DESCRIPTORS)))
    sd = known.std(axis=0)
    return tuple(
        torch.tensor(numbers, dtype=torch.float32) for numbers in (known.mean(axis=0), np.where(sd > 0, sd, 1))
    )


def measured_descriptors(hu: np.ndarray, outline: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Descriptors of the outlined hematoma, float32 (k,); NaN where nothing is outlined.

    ``hu`` and ``outline`` are (x, y, z).
    """
    if not outline.any():
        return np.full(len(DESCRIPTORS), np.nan, dtype=np.float32)
    markers = measure_markers(hu, outline, spacing_mm).as_dict()
    return np.array([markers[name] for name in DESCRIPTORS], dtype=np.float32)


def changed_descriptors(descriptors: Tensor, *, gain: Tensor, offset_hu: Tensor, zoom: Tensor) -> Tensor:
    """Descriptors (b, k) of the same hematomas read by another scanner: HU times gain plus offset, lengths times zoom.

    ``gain, offset_hu, zoom`` have shape (b,).
    """
    scale_hu, move_hu, scale_mm = (
        torch.tensor(flags, device=descriptors.device)
        for flags in (_SCALES_WITH_HU, _MOVES_WITH_HU, _SCALES_WITH_LENGTH)
    )
    scaled = descriptors * torch.where(scale_hu, gain[:, None], 1.0) * torch.where(scale_mm, zoom[:, None], 1.0)
    return scaled + torch.where(move_hu, offset_hu[:, None], 0.0)
