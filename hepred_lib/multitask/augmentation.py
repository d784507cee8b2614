"""Augmentation of a bag: one draw in space for scan and outline together, one draw in HU for the scan.

All slices of a patient are moved in the same way, as one head would be. Geometry comes from torchvision's transforms,
which give several images of one call the same draw; intensities are changed in HU, before the window cuts them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from hepred_lib.multitask.bags import WINDOW_HU, Batch, mixed_seed

GAIN = 0.06
OFFSET_HU = 3.0
NOISE_HU = 2.5


def make_geometry() -> v2.Transform:
    """Flip left and right, rotate, shift, scale and shear: heads as differently placed as scanners see them."""
    affine = v2.RandomAffine(
        degrees=20.0,
        translate=(0.06, 0.06),
        scale=(0.85, 1.15),
        shear=(-6.0, 6.0, -6.0, 6.0),
        interpolation=v2.InterpolationMode.BILINEAR,
        fill=WINDOW_HU[0],
    )
    return v2.Compose([v2.RandomHorizontalFlip(), affine])


def augment(batch: Batch, *, seed: Sequence[int]) -> Batch:
    """A batch with each patient's slices moved and their HU changed; reproducible by ``seed`` alone.

    The global random state of torch is left as it was.
    """
    geometry = make_geometry()
    blur = v2.GaussianBlur(kernel_size=5, sigma=(0.3, 1.0))
    scans, bloods = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed(seed))
        for patient in range(len(batch.patient_ids)):
            inside = batch.bag == patient
            scan, blood = geometry(tv_tensors.Image(batch.hu[inside]), tv_tensors.Image(batch.blood[inside]))
            scans.append(change_hu(scan.as_subclass(Tensor), blur))
            bloods.append(blood.as_subclass(Tensor))
    hu, blood = torch.cat(scans), torch.cat(bloods)
    return Batch(hu, blood, batch.presence, batch.bag, batch.voxel_ml, batch.he, batch.patient_ids)


def change_hu(hu: Tensor, blur: v2.Transform) -> Tensor:
    """Another scanner: gain and offset of the scale, a softer kernel half of the time, more noise."""
    gain = 1.0 + GAIN * (2.0 * torch.rand(()) - 1.0)
    offset = OFFSET_HU * (2.0 * torch.rand(()) - 1.0)
    if torch.rand(()) < 0.5:
        hu = blur(hu)
    noise = NOISE_HU * torch.rand(()) * torch.randn_like(hu)
    inside = hu != WINDOW_HU[0]
    return torch.where(inside, hu * gain + offset + noise, hu)
