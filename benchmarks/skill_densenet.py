"""The peer: MONAI's DenseNet121 in 3D on a crop around the hematoma, trained on the patient's label alone.

As published work on expansion does it: window 0-80 HU, a box around the outline's centre, cross-entropy with class
weights, flips and small affine moves. It is given the *reference* outline's centre, and the pixels and folds of
Image-to-HE; nothing is stopped or chosen by held-out patients.

Needs the optional dependency monai (``pip install hepred[bench]``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from skill_cohort import kept_table, timed
from torch import Tensor, nn

from hepred_lib.imaging.slices import BLOOD, open_patient
from hepred_lib.multitask.data import NEIGHBOURS, mixed_seed, network_input
from hepred_lib.multitask.device import autocast, pick_device
from hepred_lib.multitask.prediction import normalized_scores, score_scales
from hepred_lib.progress import progress

CROP = (32, 64, 64)  # slices, rows, columns: 160 x 100 x 100 mm at 128 pixels; halved five times, hence 32 at least
BATCH, LEARNING_RATE, WEIGHT_DECAY = 8, 1e-4, 1e-4


def densenet_scores(store: Path, out: Path, cohort: pd.DataFrame, *, epochs: int, seed: int) -> pd.Series:
    """A score a patient: out-of-fold in development, the mean of the folds' standardized logits in test patients."""
    patients = cohort[cohort["he"].notna()].reset_index(drop=True)
    crops, folds = None, []
    for fold in sorted(set(patients["fold"]) - {-1}):
        settings = {"epochs": epochs, "seed": seed, "crop": list(CROP), "fold_of": patients["fold"].tolist()}

        def make(fold: int = fold) -> pd.DataFrame:
            nonlocal crops
            crops = hematoma_crops(store, patients["patient_id"]) if crops is None else crops
            with timed(f"densenet, fold {fold}, {epochs} epochs"):
                return fold_logits(crops, patients, fold, epochs=epochs, seed=seed)

        folds.append(kept_table(out / f"densenet_{fold}.csv", settings, make))
    table = pd.concat(folds, ignore_index=True).assign(hematoma_detected=1, predicted_volume_ml=np.nan)
    return normalized_scores(table, score_scales(table))["dl_score"]


def fold_logits(crops: Tensor, patients: pd.DataFrame, fold: int, *, epochs: int, seed: int) -> pd.DataFrame:
    """Logits of the held-out fold and of the test patients from a network that has seen neither."""
    held_out, test = patients["fold"].eq(fold), patients["fold"].eq(-1)
    rows = np.flatnonzero(~held_out & ~test)
    labels = torch.tensor(patients["he"].to_numpy(dtype=np.float32)[rows])
    network = train_densenet(crops[rows], labels, epochs=epochs, seed=(seed, fold))
    judged = np.flatnonzero(held_out | test)
    return pd.DataFrame(
        {
            "patient_id": patients["patient_id"].iloc[judged],
            "fold": fold,
            "role": np.where(test.iloc[judged], "test", "held_out"),
            "dl_logit": predict_densenet(network, crops[judged]),
        }
    )


def hematoma_crops(store: Path, names: pd.Series) -> Tensor:
    """A box around the centre of each reference outline, scaled to -1 to 1: float16 (n, 1, slices, rows, columns)."""
    crops = [crop_around(*_planes(store, name)) for name in names]
    return torch.stack(crops).unsqueeze(1).half()


def crop_around(scan: np.ndarray, blood: np.ndarray, size: tuple[int, int, int] = CROP) -> Tensor:
    """A box of fixed size about the centre of mass of the blood; what lies beyond the scan has its lowest value."""
    total = blood.sum(dtype=np.float64)
    centre = [
        float((blood.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64) * np.arange(length)).sum() / total)
        for axis, length in enumerate(blood.shape)
    ]
    padded = np.pad(scan, [(n, n) for n in size], constant_values=scan.min())
    start = [round(c) + n - n // 2 for c, n in zip(centre, size, strict=True)]
    return torch.from_numpy(padded[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))].copy())


def train_densenet(crops: Tensor, labels: Tensor, *, epochs: int, seed: tuple[int, int]) -> nn.Module:
    """A fixed schedule: AdamW, cosine from the peak to zero, positives weighted by their rarity."""
    from monai.networks.nets import DenseNet121

    device, rng = pick_device(), np.random.default_rng(list(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed(seed))
        network = DenseNet121(spatial_dims=3, in_channels=1, out_channels=1)
    # Channels last: 1.6 times the speed in single precision on a CPU, the same loss and gradients.
    network = network.to(device, memory_format=torch.channels_last_3d).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    augment = _augmentation(mixed_seed((*seed, 1)))
    loss = nn.BCEWithLogitsLoss(pos_weight=((1 - labels).sum() / labels.sum()).to(device))
    # Batches of nearly equal size: a batch of one has no spread for batch normalization.
    n_steps = -(-len(crops) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * n_steps)
    for _ in progress(range(epochs), desc="densenet", unit="epoch"):
        for rows in np.array_split(rng.permutation(len(crops)), n_steps):
            batch = torch.stack([augment(crops[row].float()).as_tensor() for row in rows])
            batch = batch.to(device, memory_format=torch.channels_last_3d)
            optimizer.zero_grad(set_to_none=True)
            # On a CPU, gradients of 3D convolutions in bfloat16 are not finite (torch 2.15): single precision there.
            with autocast(device, "float32" if device.type == "cpu" else "auto"):
                logits = network(batch).squeeze(1)
            value = loss(logits.float(), labels[rows].to(device))
            if not torch.isfinite(value):
                raise FloatingPointError(f"the DenseNet's loss is not finite in fold {seed[1]}, got {value.item()}.")
            value.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def predict_densenet(network: nn.Module, crops: Tensor) -> np.ndarray:
    """One logit a patient."""
    device = next(network.parameters()).device
    parts = [network(part.float().to(device)).squeeze(1).cpu() for part in crops.split(2 * BATCH)]
    return torch.cat(parts).double().numpy()


def _augmentation(seed: int) -> nn.Module:
    from monai.transforms import Compose, RandAffine, RandFlip, RandShiftIntensity

    moves: Mapping = {"rotate_range": (0.2, 0, 0), "translate_range": (2, 4, 4), "scale_range": (0.1, 0.1, 0.1)}
    augment = Compose(
        [
            RandFlip(prob=0.5, spatial_axis=2),  # left to right
            RandAffine(prob=0.8, mode="bilinear", padding_mode="border", **moves),
            RandShiftIntensity(offsets=0.1, prob=0.5),
        ]
    )
    augment.set_random_state(seed=seed % 2**32)
    return augment


def _planes(store: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The scan as the networks are given it and the reference, (slices, rows, columns)."""
    planes = np.array(open_patient(store, name))
    whole = network_input(planes, np.arange(len(planes)), planes.shape[-2:], torch.device("cpu"))
    return whole[:, NEIGHBOURS].numpy(), planes[:, BLOOD]
