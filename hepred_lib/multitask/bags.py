"""Patients as bags of slices: which slices the network sees, in which order, as tensors.

A *bag* is a handful of one patient's slices. In training a bag holds mostly hematoma slices, drawn anew each epoch,
and some others so that the network learns where no blood is. What is drawn of a patient depends on a seed, the epoch
and the patient alone: training can be interrupted and taken up again, or be shared among several devices, without any
state of a sampler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch
from torch import Tensor

from hepred_lib.multitask.descriptors import DESCRIPTORS
from hepred_lib.multitask.window import brain_frame, cut, stored_to_hu, with_neighbours
from hepred_lib.slices import BLOOD, open_patient, slice_labels, stored_grid, stored_path

MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class Patient:
    """One patient's stored slices, uint8 (n, 4, h, w), and what training needs to know.

    ``he`` and ``descriptors`` (as measured, in the order of :data:`DESCRIPTORS`) are NaN where unknown.
    """

    patient_id: str
    planes: np.ndarray
    pixel_mm: float
    voxel_ml: float
    he: float
    has_mask: bool
    path: Path | None = None
    descriptors: tuple[float, ...] = (np.nan,) * len(DESCRIPTORS)

    @cached_property
    def labels(self) -> np.ndarray:
        """Presence of blood by slice: 1, 0, or NaN where left out."""
        if not self.has_mask:
            return np.full(len(self.planes), np.nan)
        return slice_labels(self.planes, self.pixel_mm)

    @cached_property
    def frame(self) -> tuple[int, int]:
        """Rows and columns of the central frame that holds the brain."""
        return brain_frame(self.planes)


@dataclass(frozen=True)
class Batch:
    """Slices of several patients: scan in HU with neighbours (n, 5, h, w), and the share of blood (n, 1, h, w).

    ``presence, bag, voxel_ml`` have a row a slice, ``he`` and ``descriptors`` (of the images as they are in the batch)
    a row a patient. ``number`` is each patient's place in the cohort, from which random draws are seeded.
    """

    hu: Tensor
    blood: Tensor
    presence: Tensor
    bag: Tensor
    voxel_ml: Tensor
    he: Tensor
    descriptors: Tensor
    patient_ids: tuple[str, ...]
    number: tuple[int, ...]


def load_patients(store: Path, cohort: pd.DataFrame, quality: pd.DataFrame) -> list[Patient]:
    """The patients of a cohort table (``patient_id``, ``he``) from the slice store, in the table's order.

    The store is read into memory once; a store larger than half of the free memory stays on disk, memory-mapped.
    """
    size = sum(stored_path(store, name).stat().st_size for name in cohort["patient_id"])
    in_memory = size <= MEMORY_SHARE * psutil.virtual_memory().available
    patients = []
    for patient_id, he in zip(cohort["patient_id"], cohort["he"].astype(float), strict=True):
        grid, planes = stored_grid(quality, patient_id), open_patient(store, patient_id)
        patients.append(
            Patient(
                patient_id,
                np.array(planes) if in_memory else planes,
                grid.pixel_mm,
                grid.voxel_ml,
                he,
                bool(quality.loc[patient_id, "has_mask"]),
                stored_path(store, patient_id),
                tuple(quality.loc[patient_id, list(DESCRIPTORS)].astype(float)),
            )
        )
    return patients


def fold_roles(cohort: pd.DataFrame, fold: int) -> pd.Series:
    """What each patient is to one fold's network: ``in_fold`` (trains it), ``held_out`` or ``test``; by patient."""
    role = np.where(cohort["fold"] == fold, "held_out", "in_fold")
    return pd.Series(np.where(cohort["split"] == "test", "test", role), index=cohort["patient_id"], name="role")


def training_patients(patients: Sequence[Patient], roles: pd.Series) -> list[Patient]:
    """The patients who train a fold's network: in the fold, with a reference outline."""
    return [patient for patient in patients if roles[patient.patient_id] == "in_fold" and patient.has_mask]


def mixed_seed(seed: Sequence[int]) -> int:
    """One well-mixed seed from several whole numbers, such as study, fold, epoch and step."""
    return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0] >> np.uint64(2))


def epoch_steps(n_patients: int, patients_per_step: int, seed: Sequence[int]) -> list[np.ndarray]:
    """One pass over all patients in random order: the patients' numbers in each step, steps of nearly equal size."""
    order = np.random.default_rng(list(seed)).permutation(n_patients)
    return np.array_split(order, -(-n_patients // patients_per_step))


def step_parts(numbers: np.ndarray, n_parts: int) -> list[np.ndarray]:
    """A step's patients dealt out to devices and partial steps; every part has at least one patient.

    Raises
    ------
    ValueError
        If there are fewer patients than parts.
    """
    if len(numbers) < n_parts:
        raise ValueError(
            f"patients_per_step must give each of the {n_parts} parts of a step (devices x accumulation) a patient, "
            f"got a step of {len(numbers)}."
        )
    return [numbers[part::n_parts] for part in range(n_parts)]


def draw_batch(
    patients: Sequence[Patient],
    numbers: Sequence[int],
    *,
    slices_per_patient: int,
    seed: Sequence[int],
    device: torch.device,
) -> Batch:
    """The patients of these numbers, a handful of slices of each, drawn from (seed, patient's number)."""
    drawn = [draw_slices(patients[k], slices_per_patient, np.random.default_rng([*seed, int(k)])) for k in numbers]
    return make_batch(patients, numbers, slices=drawn, device=device)


def draw_slices(patient: Patient, n_slices: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of the slices of one bag: hematoma slices fill up to three quarters of it, other slices the rest."""
    labels = patient.labels
    bloody = np.flatnonzero(labels == 1.0)
    rest = np.setdiff1d(np.arange(len(labels)), bloody)
    n_bloody = min(len(bloody), max(1, round(0.75 * n_slices)))
    drawn = rng.choice(bloody, n_bloody, replace=False) if n_bloody else bloody
    others = rng.choice(rest, min(len(rest), n_slices - n_bloody), replace=False)
    return np.sort(np.concatenate([drawn, others]).astype(int))


def make_batch(
    patients: Sequence[Patient], numbers: Sequence[int], *, slices: Sequence[np.ndarray], device: torch.device
) -> Batch:
    """Stack the named slices of several patients, in the smallest frame that holds every brain.

    Bytes travel to the device, numbers are made there.
    """
    chosen = [patients[k] for k in numbers]
    frame = tuple(max(sides) for sides in zip(*(patient.frame for patient in chosen), strict=True))
    pairs = list(zip(chosen, slices, strict=True))
    seen = np.concatenate([with_neighbours(patient.planes, index, frame) for patient, index in pairs])
    blood = np.concatenate([cut(patient.planes[index, BLOOD], frame) for patient, index in pairs])
    seen, blood = (torch.from_numpy(stored).to(device, non_blocking=True) for stored in (seen, blood[:, None]))
    counts = [len(index) for index in slices]
    labels = np.concatenate([patient.labels[index] for patient, index in pairs])
    voxel_ml = np.repeat([patient.voxel_ml for patient in chosen], counts)
    return Batch(
        hu=stored_to_hu(seen),
        blood=blood.float() / 255.0,
        presence=torch.tensor(labels, dtype=torch.float32, device=device),
        bag=torch.tensor(np.repeat(np.arange(len(chosen)), counts), device=device),
        voxel_ml=torch.tensor(voxel_ml, dtype=torch.float32, device=device),
        he=torch.tensor([patient.he for patient in chosen], dtype=torch.float32, device=device),
        descriptors=torch.tensor([p.descriptors for p in chosen], dtype=torch.float32, device=device),
        patient_ids=tuple(patient.patient_id for patient in chosen),
        number=tuple(int(k) for k in numbers),
    )


def step_batches(
    patients: Sequence[Patient],
    numbers: np.ndarray,
    *,
    slices_per_patient: int,
    seed: Sequence[int],
    device: torch.device,
    parts: tuple[int, int, int] = (0, 1, 1),
) -> Iterator[Batch]:
    """The batches of one step that one device works on; ``parts`` is its rank, the devices, the partial steps."""
    rank, n_devices, accumulation = parts
    for own in step_parts(numbers, n_devices * accumulation)[rank * accumulation : (rank + 1) * accumulation]:
        yield draw_batch(patients, own, slices_per_patient=slices_per_patient, seed=seed, device=device)
