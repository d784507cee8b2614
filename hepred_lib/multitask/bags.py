"""Patients as bags of slices: which slices the network sees, in which order, as tensors.

A *bag* is a handful of one patient's slices. In training a bag holds mostly hematoma slices, drawn anew each epoch,
and some others so that the network learns where no blood is. The draw depends on a seed and the epoch alone: training
can be interrupted and taken up again without any state of a sampler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hepred_lib.slices import BLOOD, BRAIN, HU, HU_OFFSET, open_patient, slice_labels, stored_grid

WINDOW_HU = (0.0, 80.0)


@dataclass(frozen=True)
class Patient:
    """One patient's stored slices, uint8 (n, 4, h, w), and what training needs to know; ``he`` NaN if unknown."""

    patient_id: str
    planes: np.ndarray
    pixel_mm: float
    voxel_ml: float
    he: float
    has_mask: bool

    @property
    def labels(self) -> np.ndarray:
        """Presence of blood by slice: 1, 0, or NaN where left out."""
        if not self.has_mask:
            return np.full(len(self.planes), np.nan)
        return slice_labels(self.planes, self.pixel_mm)


@dataclass(frozen=True)
class Batch:
    """Slices of several patients: scan in HU (n, 1, h, w), blood (n, 1, h, w), and a row for each slice or patient."""

    hu: Tensor
    blood: Tensor
    presence: Tensor
    bag: Tensor
    voxel_ml: Tensor
    he: Tensor
    patient_ids: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        moved = [tensor.to(device) for tensor in (self.hu, self.blood, self.presence, self.bag, self.voxel_ml, self.he)]
        return Batch(*moved, self.patient_ids)


def load_patients(store: Path, cohort: pd.DataFrame, quality: pd.DataFrame) -> list[Patient]:
    """The patients of a cohort table (``patient_id``, ``he``) from the slice store, in the table's order."""
    patients = []
    for patient_id, he in zip(cohort["patient_id"], cohort["he"].astype(float), strict=True):
        grid = stored_grid(quality, patient_id)
        planes = np.array(open_patient(store, patient_id))
        known = bool(quality.loc[patient_id, "has_mask"])
        patients.append(Patient(patient_id, planes, grid.pixel_mm, grid.voxel_ml, he, known))
    return patients


def fold_roles(cohort: pd.DataFrame, fold: int) -> pd.Series:
    """What each patient is to one fold's network: ``in_fold`` (trains it), ``held_out`` or ``test``; by patient."""
    role = np.where(cohort["fold"] == fold, "held_out", "in_fold")
    return pd.Series(np.where(cohort["split"] == "test", "test", role), index=cohort["patient_id"], name="role")


def training_patients(patients: Sequence[Patient], roles: pd.Series) -> list[Patient]:
    """The patients who train a fold's network: in the fold, with a reference outline."""
    return [patient for patient in patients if roles[patient.patient_id] == "in_fold" and patient.has_mask]


def scan_tensor(planes: np.ndarray) -> Tensor:
    """Scan of stored slices in HU, float32 (n, 1, h, w); what lies outside the brain is set to the window's floor."""
    hu = torch.from_numpy(planes[:, HU : HU + 1].astype(np.float32)) - HU_OFFSET
    brain = torch.from_numpy(planes[:, BRAIN : BRAIN + 1] > 0)
    return torch.where(brain, hu, WINDOW_HU[0])


def blood_tensor(planes: np.ndarray) -> Tensor:
    """Share of parenchymal blood in each pixel, float32 (n, 1, h, w)."""
    return torch.from_numpy(planes[:, BLOOD : BLOOD + 1].astype(np.float32)) / 255.0


def normalize(hu: Tensor) -> Tensor:
    """Clip to the brain window (W80 L40) and scale to about -1 to 1: what the network is given."""
    low, high = WINDOW_HU
    return (hu.clamp(low, high) - low) / (high - low) * 2.0 - 1.0


def epoch_batches(
    patients: Sequence[Patient], *, patients_per_step: int, slices_per_patient: int, seed: Sequence[int]
) -> Iterator[Batch]:
    """One pass over all patients in random order, a handful of slices of each.

    Parameters
    ----------
    patients : sequence of Patient
    patients_per_step, slices_per_patient : int
        Bags in a batch and the most slices in a bag.
    seed : sequence of int
        For example (study's seed, fold, epoch).
    """
    rng = np.random.default_rng(list(seed))
    order = rng.permutation(len(patients))
    for start in range(0, len(order), patients_per_step):
        chosen = [patients[index] for index in order[start : start + patients_per_step]]
        yield make_batch(chosen, [draw_slices(patient, slices_per_patient, rng) for patient in chosen])


def mixed_seed(seed: Sequence[int]) -> int:
    """One well-mixed seed from several whole numbers, such as study, fold, epoch and step."""
    return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0] >> np.uint64(2))


def draw_slices(patient: Patient, n_slices: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of the slices of one bag: hematoma slices fill up to three quarters of it, other slices the rest."""
    labels = patient.labels
    bloody = np.flatnonzero(labels == 1.0)
    rest = np.setdiff1d(np.arange(len(labels)), bloody)
    n_bloody = min(len(bloody), max(1, round(0.75 * n_slices)))
    drawn = rng.choice(bloody, n_bloody, replace=False) if n_bloody else bloody
    others = rng.choice(rest, min(len(rest), n_slices - n_bloody), replace=False)
    return np.sort(np.concatenate([drawn, others]).astype(int))


def make_batch(patients: Sequence[Patient], slices: Sequence[np.ndarray]) -> Batch:
    """Stack the named slices of several patients."""
    planes = [patient.planes[index] for patient, index in zip(patients, slices, strict=True)]
    counts = [len(index) for index in slices]
    labels = [patient.labels[index] for patient, index in zip(patients, slices, strict=True)]
    stacked = np.concatenate(planes)
    return Batch(
        hu=scan_tensor(stacked),
        blood=blood_tensor(stacked),
        presence=torch.from_numpy(np.concatenate(labels).astype(np.float32)),
        bag=torch.repeat_interleave(torch.arange(len(patients)), torch.tensor(counts)),
        voxel_ml=torch.repeat_interleave(
            torch.tensor([patient.voxel_ml for patient in patients], dtype=torch.float32), torch.tensor(counts)
        ),
        he=torch.tensor([patient.he for patient in patients], dtype=torch.float32),
        patient_ids=tuple(patient.patient_id for patient in patients),
    )
