"""What training minimizes: outline, presence of blood, expansion, and the hematoma's measured descriptors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hepred_lib.multitask.bags import Batch
from hepred_lib.multitask.devices import half_precision_pays
from hepred_lib.multitask.window import normalize

SMOOTH_PIXELS, CROSS_ENTROPY_WEIGHT, COARSE_WEIGHT = 20.0, 20.0, 0.3
LOSSES = ("loss", "loss_segmentation", "loss_presence", "loss_expansion", "loss_descriptors")


class LossWeights(NamedTuple):
    """Weights of the losses that are added to that of the outline."""

    presence: float
    expansion: float
    descriptors: float


def joint_loss(model: nn.Module, batch: Batch, weights: LossWeights) -> Tensor:
    """The weighted sum of the losses and its parts, shape (5,), in the order of :data:`LOSSES`.

    The sum holds the coarse outlines' losses too; they are not listed.

    Parameters
    ----------
    model : MultitaskNetwork, or the same shared among processes
    batch : Batch
    weights : LossWeights
    """
    network = getattr(model, "module", model)
    slices = normalize(batch.hu).contiguous(memory_format=torch.channels_last)
    half = half_precision_pays(batch.hu.device)
    with torch.autocast(batch.hu.device.type, dtype=torch.bfloat16, enabled=half):
        output = model(slices)
    features = tuple(level.float() for level in output.features)
    bags = network.expand(features, slices, batch.blood, batch.bag, batch.voxel_ml)
    outline = outline_loss(output.outline.float(), batch.blood, batch.bag)
    coarse = sum(outline_loss(level.float(), _shrunk(batch.blood, level), batch.bag) for level in output.coarse)
    presence = _masked_bce(output.presence.float(), batch.presence, torch.isfinite(batch.presence))
    expansion = _masked_bce(bags.expansion, batch.he, torch.isfinite(batch.he))
    description = _masked_smooth_l1(
        bags.findings[:, : batch.descriptors.shape[1]], network.expansion.standardize(batch.descriptors)
    )
    heads = weights.presence * presence + weights.expansion * expansion + weights.descriptors * description
    total = outline + COARSE_WEIGHT * coarse + heads
    return torch.stack([total, outline, presence, expansion, description])


def outline_loss(logits: Tensor, blood: Tensor, bag: Tensor) -> Tensor:
    """Soft Dice by patient plus pixel-wise cross-entropy; targets are shares of a pixel in [0, 1].

    One Dice a patient, as outlines are judged: a small hematoma counts as much as a large one, and a patient without
    blood through the false positives.
    """
    probability = torch.sigmoid(logits)
    sums = torch.stack([2.0 * probability * blood, probability**2 + blood**2]).sum(dim=(2, 3, 4))
    overlap, total = sums.new_zeros(2, int(bag.max()) + 1).index_add(1, bag, sums)
    dice = ((overlap + SMOOTH_PIXELS) / (total + SMOOTH_PIXELS)).mean()
    # Blood is about one pixel in a hundred: a plain mean would drown it, and Dice alone is slow at margins.
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, blood, reduction="mean")
    return 1.0 - dice + CROSS_ENTROPY_WEIGHT * cross_entropy


def _shrunk(blood: Tensor, level: Tensor) -> Tensor:
    """The share of blood in each pixel of a coarser level."""
    return nn.functional.adaptive_avg_pool2d(blood, level.shape[-2:])


def _masked_bce(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    if not known.any():
        return logits.sum() * 0.0
    return nn.functional.binary_cross_entropy_with_logits(logits[known], target[known])


def _masked_smooth_l1(value: Tensor, target: Tensor) -> Tensor:
    known = torch.isfinite(target).all(dim=1)
    if not known.any():
        return value.sum() * 0.0
    return nn.functional.smooth_l1_loss(value[known], target[known])
