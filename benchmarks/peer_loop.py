"""A training loop as a tutorial would write it: files of slices, MONAI's transforms, a DataLoader, float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from timing import seconds_now
from torch import nn

from hepred_lib.imaging.slices import BLOOD
from hepred_lib.multitask.data import (
    BLUR_PIXELS,
    NOISE_HU,
    OFFSET_HU,
    SCALE,
    SHEAR_DEG,
    SHIFT,
    TURN_DEG,
    WINDOW_HU,
    Batch,
    Patient,
    draw_slices,
    epoch_steps,
    stored_to_hu,
    with_neighbours,
)
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings
from hepred_lib.multitask.training import TrainingSettings, joint_loss


class PlainNetwork(nn.Module):
    """The same network as it is customarily called: float32, contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.module = MultitaskNetwork(NetworkSettings())

    def forward(self, slices: torch.Tensor):
        with torch.autocast("cpu", enabled=False):
            return self.module(slices.float().clone(memory_format=torch.contiguous_format))


class PeerLoop:
    """Epochs over the patients that our loop takes, in the same steps, with the same slices and the same loss."""

    def __init__(self, patients: list[Patient], settings: TrainingSettings, folder: Path, *, workers: int) -> None:
        from monai.data import DataLoader, Dataset

        self.patients, self.settings, self.epoch = patients, settings, 0
        self.network = PlainNetwork().train()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=settings.learning_rate)
        self.steps: list[tuple[np.ndarray, list[np.ndarray]]] = []
        self.first = np.cumsum([0, *(len(patient.planes) for patient in patients)])
        files = [item for patient in patients for item in write_slices(patient, folder)]
        self.loader = DataLoader(
            Dataset(files, slice_transforms(patients[0].planes.shape[-1])),
            batch_sampler=self,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        """Numbers of the files of each step: what the loader takes as its sampler."""
        for numbers, drawn in self.steps:
            yield [int(self.first[k] + z) for k, own in zip(numbers, drawn, strict=True) for z in own]

    def run(self) -> np.ndarray:
        """Seconds of one epoch, on the wall and of the processor."""
        self._draw_epoch()
        start = seconds_now()
        for (numbers, drawn), data in zip(self.steps, self.loader, strict=True):
            batch = self._batch(data, numbers, drawn)
            self.optimizer.zero_grad()
            joint_loss(self.network, batch, self.settings.weights)[0].backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimizer.step()
        return seconds_now() - start

    def _draw_epoch(self) -> None:
        key = (self.settings.seed, self.settings.fold, self.epoch)
        self.epoch += 1
        self.steps = []
        for numbers in epoch_steps(len(self.patients), self.settings.patients_per_step, key):
            rngs = [np.random.default_rng([*key, int(k)]) for k in numbers]
            drawn = [
                draw_slices(self.patients[k], self.settings.slices_per_patient, rng)
                for k, rng in zip(numbers, rngs, strict=True)
            ]
            self.steps.append((numbers, drawn))

    def _batch(self, data: dict, numbers: np.ndarray, drawn: list[np.ndarray]) -> Batch:
        chosen, counts = [self.patients[k] for k in numbers], [len(own) for own in drawn]
        labels = np.concatenate([patient.labels[own] for patient, own in zip(chosen, drawn, strict=True)])
        voxel_ml = np.repeat([patient.voxel_ml for patient in chosen], counts)
        return Batch(
            hu=data["image"],
            blood=data["label"],
            presence=torch.tensor(labels, dtype=torch.float32),
            bag=torch.tensor(np.repeat(np.arange(len(chosen)), counts)),
            voxel_ml=torch.tensor(voxel_ml, dtype=torch.float32),
            he=torch.tensor([patient.he for patient in chosen], dtype=torch.float32),
            descriptors=torch.tensor([patient.descriptors for patient in chosen], dtype=torch.float32),
            patient_ids=tuple(patient.patient_id for patient in chosen),
            number=tuple(int(k) for k in numbers),
        )


def write_slices(patient: Patient, folder: Path) -> list[dict[str, str]]:
    """One file a slice for the scan with its neighbours as channels, and one for the outline; the whole field."""
    n, _, *field = patient.planes.shape
    seen = torch.from_numpy(with_neighbours(patient.planes, np.arange(n), tuple(field)))
    stacks = {"image": stored_to_hu(seen).numpy(), "label": patient.planes[:, [BLOOD]] / np.float32(255.0)}
    items: list[dict[str, str]] = [{} for _ in range(n)]
    for key, stack in stacks.items():
        for z, plane in enumerate(stack):
            items[z][key] = str(folder / f"{patient.patient_id}_{z:02d}_{key}.npy")
            np.save(items[z][key], plane, allow_pickle=False)
    return items


def slice_transforms(matrix: int):
    """Slice by slice, what our augmentation does to a batch."""
    from monai import transforms as t

    both, low, high = ("image", "label"), *WINDOW_HU
    moves = {
        "rotate_range": np.deg2rad(TURN_DEG),
        "shear_range": (np.deg2rad(SHEAR_DEG),) * 2,
        "translate_range": (SHIFT * matrix,) * 2,
        "scale_range": (SCALE, SCALE),
    }
    grid = {"spatial_size": (matrix, matrix), "padding_mode": "zeros", "cache_grid": True}
    blur = (0.5 * BLUR_PIXELS, BLUR_PIXELS)
    return t.Compose(
        [
            t.LoadImaged(both, image_only=True),
            t.EnsureChannelFirstd(both, channel_dim=0),
            t.ScaleIntensityRanged("image", low, high, low, high, clip=True),
            t.RandAffined(both, prob=1.0, mode=("bilinear", "nearest"), **moves, **grid),
            t.RandGaussianNoised("image", prob=1.0, std=NOISE_HU),
            t.RandGaussianSmoothd("image", prob=0.5, sigma_x=blur, sigma_y=blur),
            t.RandShiftIntensityd("image", prob=1.0, offsets=OFFSET_HU),
            t.ToTensord(both, track_meta=False),
        ]
    )
