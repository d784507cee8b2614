"""Augmentation of a batch on its own device: one draw in space for scan and outline together, one in HU for the scan.

All slices of a patient are moved in the same way, as one head would be, and read by the same scanner: intensities are
changed in HU, before the window cuts them. A patient's draw depends on the seed and the patient alone, whatever batch
they are in; only the noise is drawn for the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from hepred_lib.multitask.bags import Batch, mixed_seed
from hepred_lib.multitask.descriptors import changed_descriptors
from hepred_lib.multitask.window import WINDOW_HU

TURN_DEG, SHEAR_DEG, SHIFT, SCALE = 20.0, 6.0, 0.06, 0.15
GAIN, OFFSET_HU, NOISE_HU, BLUR_PIXELS = 0.06, 3.0, 2.5, 1.0


@dataclass(frozen=True)
class Draw:
    """One patient's draw: affine map from output to input in units of half a square image, and a scanner's changes."""

    affine: np.ndarray
    zoom: float
    gain: float
    offset_hu: float
    blur: float
    noise_hu: float


def draw_changes(rng: np.random.Generator) -> Draw:
    """Flip, rotation, shear, scale and shift; gain, offset, half of the time a softer kernel, and noise."""
    turn, across, along = np.deg2rad(rng.uniform(-1, 1, 3) * [TURN_DEG, SHEAR_DEG, SHEAR_DEG])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shear = np.array([[1.0, np.tan(across)], [np.tan(along), 1.0]])
    flip = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    zoom = 1 + SCALE * rng.uniform(-1, 1)
    linear = rotation @ shear @ flip / zoom
    shift = 2 * SHIFT * rng.uniform(-1, 1, 2)
    return Draw(
        affine=np.column_stack([linear, shift]),
        zoom=zoom,
        gain=1 + GAIN * rng.uniform(-1, 1),
        offset_hu=OFFSET_HU * rng.uniform(-1, 1),
        blur=max(0.0, rng.uniform(-1, 1)),
        noise_hu=NOISE_HU * rng.uniform(),
    )


def augment(batch: Batch, *, seed: Sequence[int]) -> Batch:
    """The batch with each patient's slices moved, their HU and with them the descriptors changed.

    Reproducible by ``seed`` on the same device.
    """
    draws = [draw_changes(np.random.default_rng([*seed, number, 1])) for number in batch.number]
    moved = move(torch.cat([batch.hu - WINDOW_HU[0], batch.blood], dim=1), _by_slice(batch, [d.affine for d in draws]))
    hu, blood = moved[:, :-1] + WINDOW_HU[0], moved[:, -1:]
    changes = _by_slice(batch, [[d.gain, d.offset_hu, d.blur, d.noise_hu] for d in draws])
    generator = torch.Generator(hu.device).manual_seed(mixed_seed([*seed, *batch.number]))
    noise = torch.randn(hu.shape, generator=generator, device=hu.device)
    gain, offset_hu, zoom = torch.tensor(
        [[d.gain, d.offset_hu, d.zoom] for d in draws], dtype=torch.float32, device=hu.device
    ).unbind(dim=1)
    descriptors = changed_descriptors(batch.descriptors, gain=gain, offset_hu=offset_hu, zoom=zoom)
    return replace(batch, hu=change_hu(hu, changes, noise), blood=blood, descriptors=descriptors)


def move(images: Tensor, affine: Tensor) -> Tensor:
    """Images (n, c, h, w), each resampled bilinearly through its own map (n, 2, 3); 0 comes in from outside.

    Maps are in units of half the longer side, so that a turn stays a turn where images are not square.
    """
    height, width = images.shape[-2:]
    unit = torch.tensor([width, height], dtype=affine.dtype, device=affine.device) / max(height, width)
    affine = affine * torch.cat([unit, unit.new_ones(1)]) / unit[:, None]
    grid = nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def change_hu(hu: Tensor, changes: Tensor, noise: Tensor) -> Tensor:
    """Another scanner: ``changes`` (n, 4) are gain, offset, share of a softer kernel and noise of each slice.

    What lies at the window's floor, outside the brain, stays there.
    """
    gain, offset, blur, sd = changes[:, :, None, None].unbind(dim=1)
    gain, offset, blur, sd = (value[:, None] for value in (gain, offset, blur, sd))
    softer = transforms.gaussian_blur(hu, kernel_size=[5, 5], sigma=[BLUR_PIXELS, BLUR_PIXELS])
    changed = (hu + blur * (softer - hu)) * gain + offset + sd * noise
    return torch.where(hu > WINDOW_HU[0], changed, hu)


def _by_slice(batch: Batch, values: list) -> Tensor:
    table = torch.tensor(np.array(values), dtype=torch.float32, device=batch.bag.device)
    return table[batch.bag]
