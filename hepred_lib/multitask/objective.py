"""What training minimizes: outline, presence of blood, expansion, and the hematoma's measured descriptors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hepred_lib.multitask.bags import Batch, normalize
from hepred_lib.multitask.devices import half_precision_pays

LOSSES = ("loss", "loss_segmentation", "loss_presence", "loss_expansion", "loss_descriptors")


class LossWeights(NamedTuple):
    """Weights of the losses that are added to that of the outline."""

    presence: float
    expansion: float
    descriptors: float


def joint_loss(model: nn.Module, batch: Batch, descriptors: Tensor, weights: LossWeights) -> Tensor:
    """The weighted sum of the losses and its parts, shape (5,), in the order of :data:`LOSSES`.

    Parameters
    ----------
    model : MultitaskNetwork, or the same shared among processes
    batch : Batch
    descriptors : Tensor
        Standardized descriptors of the batch's patients (b, k); NaN where unknown.
    weights : LossWeights
    """
    network = getattr(model, "module", model)
    slices = normalize(batch.hu).contiguous(memory_format=torch.channels_last)
    half = half_precision_pays(batch.hu.device)
    with torch.autocast(batch.hu.device.type, dtype=torch.bfloat16, enabled=half):
        output = model(slices)
    features = tuple(level.float() for level in output.features)
    bags = network.expand(features, batch.blood, batch.bag, batch.voxel_ml)
    outline = outline_loss(output.outline.float(), batch.blood)
    presence = _masked_bce(output.presence.float(), batch.presence, torch.isfinite(batch.presence))
    expansion = _masked_bce(bags.expansion, batch.he, torch.isfinite(batch.he))
    description = _masked_smooth_l1(bags.descriptors, descriptors)
    total = outline + weights.presence * presence + weights.expansion * expansion + weights.descriptors * description
    return torch.stack([total, outline, presence, expansion, description])


def outline_loss(logits: Tensor, blood: Tensor) -> Tensor:
    """Soft Dice over the whole batch plus pixel-wise cross-entropy; targets are shares of a pixel in [0, 1].

    One Dice for the batch rather than one a slice: slices without blood then count through their false positives.
    """
    probability = torch.sigmoid(logits)
    overlap = 2.0 * (probability * blood).sum() + 1.0
    dice = overlap / ((probability**2).sum() + (blood**2).sum() + 1.0)
    # Blood is about one pixel in a hundred: a plain mean would drown it.
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, blood, reduction="mean")
    return 1.0 - dice + 5.0 * cross_entropy


def _masked_bce(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    if not known.any():
        return logits.sum() * 0.0
    return nn.functional.binary_cross_entropy_with_logits(logits[known], target[known])


def _masked_smooth_l1(value: Tensor, target: Tensor) -> Tensor:
    known = torch.isfinite(target).all(dim=1)
    if not known.any():
        return value.sum() * 0.0
    return nn.functional.smooth_l1_loss(value[known], target[known])
