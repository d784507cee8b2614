"""What can be measured of a hematoma without a reader, as targets beside the outcome.

A hundred events teach little about what to look at. Density, heterogeneity and margin can be measured on every
patient's reference outline; a network that has to tell them keeps features in which expansion can be read, and its
read-out of expansion rests on them and on the volume alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

DESCRIPTORS = (
    *("mean_hu", "sd_hu", "hypodense_fraction", "blend_hu", "black_hole_hu", "hypodensity_hu"),
    *("margin_roughness_mm", "concavity", "surface_irregularity", "n_components"),
)
_SCALES_WITH_HU = [name.endswith("_hu") for name in DESCRIPTORS]
_MOVES_WITH_HU = [name == "mean_hu" for name in DESCRIPTORS]
_SCALES_WITH_LENGTH = [name.endswith("_mm") for name in DESCRIPTORS]


class DescriptorScale(NamedTuple):
    """Mean and standard deviation of each descriptor over the training patients, float32 (k,)."""

    mean: Tensor
    sd: Tensor

    def standardize(self, descriptors: Tensor) -> Tensor:
        """In standard deviations from the mean; what lies beyond three is drawn in to three, NaN stays NaN."""
        return ((descriptors - self.mean) / self.sd).clamp(-3, 3)


def descriptor_scale(descriptors: ArrayLike, device: torch.device | None = None) -> DescriptorScale:
    """The scale of these patients' descriptors (n, k); NaN rows are left out, a constant has SD 1."""
    values = np.asarray(descriptors, dtype=float).reshape(-1, len(DESCRIPTORS))
    known = values[~np.isnan(values).any(axis=1)]
    if len(known) == 0:
        known = np.zeros((1, len(DESCRIPTORS)))
    sd = known.std(axis=0)
    numbers = known.mean(axis=0), np.where(sd > 0, sd, 1.0)
    return DescriptorScale(*(torch.tensor(n, dtype=torch.float32, device=device) for n in numbers))


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
