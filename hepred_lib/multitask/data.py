"""Patients as bags of slices: which slices the network sees, in which order, as tensors.

Vocabulary
----------
planes
    a patient's stored slices, uint8 (n, 4, h, w): see :mod:`hepred_lib.imaging.slices`
frame
    the central rows and columns, multiples of 16, that hold a patient's brain
bag
    a handful of one patient's slices, mostly of the hematoma, drawn anew each epoch
batch
    the bags of several patients, stacked
number
    a patient's place in the cohort, from which random draws are seeded
stack
    all slices of the patients of one training in one tensor on a GPU, where they fit
descriptor
    a property of the hematoma that can be measured inside an outline; a target beside the outcome

What is drawn of a patient depends on a seed, the epoch and the patient alone (the noise of its pixels on the others in
its batch too): a training can be interrupted and resumed, or shared among several devices, without any state of a
sampler.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from hepred_lib.errors import StudyError
from hepred_lib.imaging.markers import measure_markers
from hepred_lib.imaging.slices import (
    BLOOD,
    BRAIN,
    HU,
    HU_OFFSET,
    IVH,
    open_patient,
    slice_labels,
    stored_grid,
    stored_path,
)

WINDOW_HU, DENSE_HU = (0.0, 80.0), (80.0, 200.0)
NEIGHBOURS = 2  # below, and as many above
N_CHANNELS = 2 * NEIGHBOURS + 2
OUTSIDE = HU_OFFSET + int(WINDOW_HU[0])  # what is stored where there is no brain
FRAME_STEP = 16  # the network halves its input four times
DESCRIPTORS = (
    *("mean_hu", "sd_hu", "hypodense_fraction", "blend_hu", "black_hole_hu", "hypodensity_hu"),
    *("margin_roughness_mm", "concavity", "surface_irregularity", "n_components"),
)
STACK_SHARE = 0.25  # of the memory that a GPU has left
TURN_DEG, SHEAR_DEG, SHIFT, SCALE = 20.0, 6.0, 0.06, 0.15
GAIN, OFFSET_HU, NOISE_HU, BLUR_MM = 0.06, 3.0, 2.5, 200 / 128
# Blood that has not clotted, or has begun to dissolve, is hardly denser than brain.
PALE_SHARE, PALE_HU, PALE_PATCHES = 0.25, 38.0, 4
MIXED_SHARE, MIXED = 0.25, 0.25  # a scan that was resampled along z: each slice holds a part of its neighbours
# A row of changes: an affine map from output to input in units of half the longer side, as six numbers, and then these.
# ``pale`` is how far a part of the hematoma fades, from 0 to 1; ``mixed`` the share of each neighbour in a slice.
CHANGES = ("zoom", "gain", "offset_hu", "blur", "noise_hu", "pale", "mixed")
GAIN_AT, PALE_AT = (6 + CHANGES.index(name) for name in ("gain", "pale"))
Images = TypeVar("Images", np.ndarray, Tensor)


@dataclass(frozen=True)
class Patient:
    """One patient's stored slices, uint8 (n, 4, h, w), and what training needs to know.

    ``he`` and ``descriptors`` (as measured, in the order of :data:`DESCRIPTORS`) are NaN where unknown. ``ivh_known``
    says whether the stored ventricular blood is a reference; without a mask for it, none is stored.
    """

    patient_id: str
    planes: np.ndarray
    pixel_mm: float
    voxel_ml: float
    he: float
    has_mask: bool
    path: Path | None = None
    descriptors: tuple[float, ...] = (np.nan,) * len(DESCRIPTORS)
    ivh_known: bool = True

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
    """Slices of several patients: scan in HU with neighbours (n, 5, h, w), and the share of blood (n, 2, h, w).

    The channels of ``blood`` are hematoma and ventricles. ``presence, bag, voxel_ml`` have a row a slice, ``he``,
    ``descriptors`` (of the images as they are in the batch), ``ivh_known`` and ``changes`` (what :func:`augment` does,
    as :func:`draw_changes` draws it) one row per patient. All have ``pixel_mm``; ``noise_seed`` is the pixels'.
    """

    hu: Tensor
    blood: Tensor
    presence: Tensor
    bag: Tensor
    voxel_ml: Tensor
    he: Tensor
    descriptors: Tensor
    ivh_known: Tensor
    changes: Tensor
    pixel_mm: float
    patient_ids: tuple[str, ...]
    noise_seed: int


def load_patients(store: Path, cohort: pd.DataFrame, quality: pd.DataFrame) -> list[Patient]:
    """The patients of a cohort table (``patient_id``, ``he``) from the slice store, in the table's order.

    Their planes stay on disk, memory-mapped: what is read once stays in the system's memory, for all folds together.
    """
    patients = []
    free = cohort["ivh"].eq(0) if "ivh" in cohort else pd.Series(False, index=cohort.index)
    for patient_id, he, ivh_free in zip(cohort["patient_id"], cohort["he"].astype(float), free, strict=True):
        grid, planes = stored_grid(quality, patient_id), open_patient(store, patient_id)
        patients.append(
            Patient(
                patient_id,
                planes,
                grid.pixel_mm,
                grid.voxel_ml,
                he,
                bool(quality.loc[patient_id, "has_mask"]),
                stored_path(store, patient_id),
                tuple(quality.loc[patient_id, list(DESCRIPTORS)].astype(float)),
                bool(ivh_free or quality.loc[patient_id, "has_ivh_mask"]),
            )
        )
    return patients


def fold_roles(cohort: pd.DataFrame, fold: int) -> pd.Series:
    """What each patient is to one fold's network: ``in_fold`` (trains it), ``held_out`` or ``test``; by patient."""
    role = np.where(cohort["fold"] == fold, "held_out", "in_fold")
    return pd.Series(np.where(cohort["split"] == "test", "test", role), index=cohort["patient_id"], name="role")


def epoch_steps(n_patients: int, patients_per_step: int, seed: Sequence[int]) -> list[np.ndarray]:
    """One pass over all patients in random order: the patients' numbers in each step, steps of nearly equal size."""
    order = np.random.default_rng(list(seed)).permutation(n_patients)
    return np.array_split(order, -(-n_patients // patients_per_step))


def step_parts(numbers: np.ndarray, n_parts: int) -> list[np.ndarray]:
    """A step's patients dealt out to devices and partial steps; every part has at least one patient.

    Raises
    ------
    StudyError
        If there are fewer patients than parts.
    """
    if len(numbers) < n_parts:
        raise StudyError(
            f"patients_per_step must give each of the {n_parts} parts of a step (devices x accumulation) a patient, "
            f"got a step of {len(numbers)}."
        )
    return [numbers[part::n_parts] for part in range(n_parts)]


class Stack:
    """All slices of a training in one tensor on its GPU, where they fit; of others the host sends what a step takes.

    Attributes
    ----------
    device : torch.device
    frame : (int, int), optional
        On a GPU every batch has the one frame that holds every brain: a step of the same shape can be recorded.
    """

    def __init__(self, patients: Sequence[Patient], device: torch.device) -> None:
        if len({patient.pixel_mm for patient in patients}) > 1:
            raise ValueError("all patients of a training must have pixels of one size.")
        self.patients, self.device = patients, device
        on_host = device.type == "cpu"
        self.frame = None if on_host else largest_frame(patients)
        self._first = np.cumsum([0, *(len(patient.planes) for patient in patients)])
        size = sum(patient.planes.nbytes for patient in patients)
        self._planes: Tensor | None = None
        if not on_host and size <= STACK_SHARE * free_bytes(device):
            shape = (int(self._first[-1]), *patients[0].planes.shape[1:])
            self._planes = torch.empty(shape, dtype=torch.uint8, device=device)
            for patient, first in zip(patients, self._first[:-1], strict=True):
                planes = torch.from_numpy(np.array(patient.planes))
                self._planes[first : first + len(planes)].copy_(planes)

    def take(self, numbers: Sequence[int], slices: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Slices of the patients of these numbers on the device: scans with their neighbours, and outlines, as bytes.

        Returns
        -------
        seen, blood : Tensor
            uint8 (n, 5, h, w) and (n, 2, h, w), in the stack's frame, or the smallest that holds these brains.
        """
        frame = self.frame or largest_frame([self.patients[k] for k in numbers])
        pairs = [(self.patients[k].planes, index) for k, index in zip(numbers, slices, strict=True)]
        if self._planes is None:
            seen = [with_neighbours(planes, index, frame) for planes, index in pairs]
            blood = [cut(planes[index, BLOOD : IVH + 1], frame) for planes, index in pairs]
            there = [to_device(torch.from_numpy(np.concatenate(parts)), self.device) for parts in (seen, blood)]
            return there[0], there[1]
        rows = np.concatenate(
            [self._first[k] + neighbours(index, len(planes)) for k, (planes, index) in zip(numbers, pairs, strict=True)]
        )
        chosen = to_device(torch.from_numpy(rows), self.device)
        field = cut(self._planes, frame)
        scans = torch.where(field[:, BRAIN][chosen] > 0, field[:, HU][chosen], OUTSIDE)
        return scans, field[:, BLOOD : IVH + 1][chosen[:, NEIGHBOURS]]


def free_bytes(device: torch.device) -> int:
    """Memory of a GPU that no process holds; 0 of a device that does not say."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A host's tensor on a device; a GPU fetches it while the host goes on."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def largest_frame(patients: Sequence[Patient]) -> tuple[int, int]:
    """The smallest frame that holds the brain of every patient."""
    rows, columns = zip(*(patient.frame for patient in patients), strict=True)
    return max(rows), max(columns)


def draw_batch(
    stack: Stack, numbers: Sequence[int], *, slices_per_patient: int, seed: Sequence[int], fading: bool = True
) -> Batch:
    """The patients of these numbers, a handful of slices of each, drawn from (seed, patient's number)."""
    drawn = [
        draw_slices(stack.patients[k], slices_per_patient, np.random.default_rng([*seed, int(k)])) for k in numbers
    ]
    return make_batch(stack, numbers, slices=drawn, seed=seed, fading=fading)


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
    stack: Stack,
    numbers: Sequence[int],
    *,
    slices: Sequence[np.ndarray],
    seed: Sequence[int] = (0,),
    fading: bool = True,
) -> Batch:
    """The named slices of the patients of these numbers, and what will be changed in them.

    All numbers travel to the device at once. With ``fading`` a part of some hematomas will fade.
    """
    chosen = [stack.patients[k] for k in numbers]
    seen, blood = stack.take(numbers, slices)
    counts = [len(index) for index in slices]
    changes = np.stack([draw_changes(np.random.default_rng([*seed, int(k), 1])) for k in numbers])
    columns: dict[str, ArrayLike] = {
        "presence": np.concatenate([patient.labels[index] for patient, index in zip(chosen, slices, strict=True)]),
        "bag": np.repeat(np.arange(len(chosen)), counts),
        "voxel_ml": np.repeat([patient.voxel_ml for patient in chosen], counts),
        "he": [patient.he for patient in chosen],
        "descriptors": [patient.descriptors for patient in chosen],
        "ivh_known": [patient.ivh_known for patient in chosen],
        "changes": changes * np.where(np.arange(changes.shape[1]) == PALE_AT, float(fading), 1.0),
    }
    tensors = sent(columns, stack.device)
    tensors["bag"] = tensors["bag"].long()
    return Batch(
        hu=stored_to_hu(seen),
        blood=blood.float() / 255.0,
        **tensors,
        pixel_mm=chosen[0].pixel_mm,
        patient_ids=tuple(patient.patient_id for patient in chosen),
        noise_seed=mixed_seed([*seed, *map(int, numbers)]),
    )


def sent(columns: Mapping[str, ArrayLike], device: torch.device) -> dict[str, Tensor]:
    """Arrays of numbers as float32 tensors on a device, by name, copied there in one piece."""
    arrays = [np.asarray(column, dtype=np.float32) for column in columns.values()]
    whole = to_device(torch.from_numpy(np.concatenate([array.ravel() for array in arrays])), device)
    parts = zip(columns, arrays, whole.split([array.size for array in arrays]), strict=True)
    return {name: part.view(array.shape) for name, array, part in parts}


def step_batches(
    stack: Stack,
    numbers: np.ndarray,
    *,
    slices_per_patient: int,
    seed: Sequence[int],
    fading: bool = True,
    parts: tuple[int, int, int] = (0, 1, 1),
) -> Iterator[Batch]:
    """The batches of one step that one device works on; ``parts`` is its rank, the devices, the partial steps."""
    rank, n_devices, accumulation = parts
    for own in step_parts(numbers, n_devices * accumulation)[rank * accumulation : (rank + 1) * accumulation]:
        yield draw_batch(stack, own.tolist(), slices_per_patient=slices_per_patient, seed=seed, fading=fading)


def brain_frame(planes: np.ndarray) -> tuple[int, int]:
    """Rows and columns, multiples of 16, of the smallest central frame that holds a patient's brain; the whole if none.

    ``planes`` are stored slices, uint8 (n, 4, h, w).
    """
    brain = planes[:, BRAIN].max(axis=0) > 0
    if not brain.any():
        return brain.shape
    return _frame_side(brain.any(axis=1)), _frame_side(brain.any(axis=0))


def _frame_side(profile: np.ndarray) -> int:
    filled, middle = np.flatnonzero(profile), len(profile) // 2
    half = max(middle - filled[0], filled[-1] + 1 - middle)
    return min(len(profile), -(-2 * half // FRAME_STEP) * FRAME_STEP)


def cut(images: Images, frame: tuple[int, int]) -> Images:
    """The central frame of images (..., h, w)."""
    top, left = ((size - side) // 2 for size, side in zip(images.shape[-2:], frame, strict=True))
    return images[..., top : top + frame[0], left : left + frame[1]]


def uncut(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Images (n, h, w) put back into the middle of larger ones; 0 around."""
    margins = [(whole - side) // 2 for whole, side in zip(shape, images.shape[1:], strict=True)]
    pads = [(m, whole - side - m) for m, whole, side in zip(margins, shape, images.shape[1:], strict=True)]
    return np.pad(images, [(0, 0), *pads])


def with_neighbours(planes: np.ndarray, index: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """Stored HU of the slices at ``index`` and of their neighbours, uint8 ``(k, 5, *frame)``; 0 HU outside the brain.

    The lowest and the highest slice of the scan stand in for neighbours that are lacking.
    """
    rows = neighbours(index, len(planes))
    found, place = np.unique(rows, return_inverse=True)
    chosen = cut(planes[found], frame)
    seen = np.where(chosen[:, BRAIN] > 0, chosen[:, HU], np.uint8(OUTSIDE))
    return seen[place.reshape(rows.shape)]


def neighbours(index: np.ndarray, n_slices: int) -> np.ndarray:
    """Numbers of the slices at ``index`` and of their neighbours, (k, 5); an end slice stands in for those it lacks."""
    return np.clip(np.asarray(index)[:, None] + np.arange(-NEIGHBOURS, NEIGHBOURS + 1), 0, n_slices - 1)


def stored_to_hu(seen: Tensor) -> Tensor:
    """Stored bytes as HU, float32."""
    return seen.float() - HU_OFFSET


def normalize(hu: Tensor) -> Tensor:
    """What the network is given, from slices with their neighbours in HU (n, 5, h, w): (n, 6, h, w), from -1 to 1.

    All five in the brain window (W80 L40), and the slice itself from 80 to 200 HU: blood is not that dense, calcium is.
    """
    seen, dense = (
        (part.clamp(low, high) - low) / (high - low) * 2.0 - 1.0
        for part, (low, high) in ((hu, WINDOW_HU), (hu[:, NEIGHBOURS : NEIGHBOURS + 1], DENSE_HU))
    )
    return torch.cat([seen, dense], dim=1)


def network_input(planes: np.ndarray, index: np.ndarray, frame: tuple[int, int], device: torch.device) -> Tensor:
    """A patient's slices at ``index`` as the network takes them, ``(k, 6, *frame)``, in channels-last order."""
    seen = torch.from_numpy(with_neighbours(planes, index, frame)).to(device)
    return normalize(stored_to_hu(seen)).contiguous(memory_format=torch.channels_last)


def draw_changes(rng: np.random.Generator) -> np.ndarray:
    """Flip, rotation, shear, scale and shift; gain, offset, half of the time a softer kernel, and noise.

    One row: the six numbers of the map, then :data:`CHANGES`.
    """
    turn, across, along = np.deg2rad(rng.uniform(-1, 1, 3) * [TURN_DEG, SHEAR_DEG, SHEAR_DEG])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shear = np.array([[1.0, np.tan(across)], [np.tan(along), 1.0]])
    flip = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    zoom = 1 + SCALE * rng.uniform(-1, 1)
    linear = rotation @ shear @ flip / zoom
    shift = 2 * SHIFT * rng.uniform(-1, 1, 2)
    gain, offset_hu = 1 + GAIN * rng.uniform(-1, 1), OFFSET_HU * rng.uniform(-1, 1)
    blur, noise_hu = max(0.0, rng.uniform(-1, 1)), NOISE_HU * rng.uniform()
    pale = rng.uniform(0.2, 0.6) * (rng.uniform() < PALE_SHARE)
    mixed = MIXED * rng.uniform() * (rng.uniform() < MIXED_SHARE)
    return np.array([*np.column_stack([linear, shift]).flat, zoom, gain, offset_hu, blur, noise_hu, pale, mixed])


def augment(batch: Batch, generator: torch.Generator | None = None) -> Batch:
    """The batch with each patient's slices moved, their HU and with them the descriptors changed.

    The descriptors of a hematoma of which a part fades are no longer known. Reproducible on the same device: noise
    comes from the batch's seed, or from a generator of the device that was given that seed.
    """
    if generator is None:
        generator = torch.Generator(batch.hu.device).manual_seed(batch.noise_seed)
    changes = batch.changes[batch.bag]
    moved = move(torch.cat([batch.hu - WINDOW_HU[0], batch.blood], dim=1), changes[:, :6].unflatten(1, (2, 3)))
    hu, blood = moved[:, :-2] + WINDOW_HU[0], moved[:, -2:]
    noise = torch.randn(hu.shape, generator=generator, device=hu.device)
    patches = torch.rand((len(hu), 1, PALE_PATCHES, PALE_PATCHES), generator=generator, device=hu.device)
    pale, mixed = changes[:, PALE_AT:, None, None, None].unbind(dim=1)
    hu = mix_slices(fade(hu, blood[:, :1], patches, pale), mixed)
    zoom, gain, offset_hu, _, _, faded, _ = batch.changes[:, 6:].unbind(dim=1)
    descriptors = changed_descriptors(batch.descriptors, gain=gain, offset_hu=offset_hu, zoom=zoom)
    descriptors = torch.where(faded[:, None] > 0, torch.nan, descriptors)
    hu = change_hu(hu, changes[:, GAIN_AT:PALE_AT], noise, batch.pixel_mm)
    return replace(batch, hu=hu, blood=blood, descriptors=descriptors)


def fade(hu: Tensor, blood: Tensor, patches: Tensor, pale: Tensor) -> Tensor:
    """Slices (n, c, h, w) in which parts of the blood (n, 1, h, w) lose the share ``pale`` of what is above brain's HU.

    ``patches`` (n, 1, k, k), random numbers from 0 to 1, are enlarged to smooth fields; half of a field fades.
    """
    field = nn.functional.interpolate(patches, size=hu.shape[-2:], mode="bilinear", align_corners=False)
    share = blood * pale * torch.sigmoid(20.0 * (field - 0.5))
    return hu - share * (hu - PALE_HU).clamp_min(0.0)


def mix_slices(hu: Tensor, mixed: Tensor) -> Tensor:
    """Slices (n, c, h, w) that hold the share ``mixed`` of each neighbour, as a scan resampled along z does."""
    beside = torch.cat([hu[:, :1], hu, hu[:, -1:]], dim=1)
    return hu + mixed * (beside[:, :-2] + beside[:, 2:] - 2.0 * hu)


def move(images: Tensor, affine: Tensor) -> Tensor:
    """Images (n, c, h, w), each resampled bilinearly through its own map (n, 2, 3); 0 comes in from outside.

    Maps are in units of half the longer side, so that a turn stays a turn where images are not square.
    """
    height, width = images.shape[-2:]
    unit = torch.cat([affine.new_full((1,), side / max(height, width)) for side in (width, height)])
    affine = affine * torch.cat([unit, unit.new_ones(1)]) / unit[:, None]
    grid = nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def change_hu(hu: Tensor, changes: Tensor, noise: Tensor, pixel_mm: float) -> Tensor:
    """Another scanner: ``changes`` (n, 4) are gain, offset, share of a softer kernel and noise of each slice.

    What lies at the window's floor, outside the brain, stays there.
    """
    from torchvision.transforms.v2 import functional as transforms  # slow to import: only where a network is trained

    gain, offset, blur, sd = changes[:, :, None, None].unbind(dim=1)
    gain, offset, blur, sd = (value[:, None] for value in (gain, offset, blur, sd))
    width = BLUR_MM / pixel_mm
    softer = transforms.gaussian_blur(hu, kernel_size=2 * [2 * math.ceil(2 * width) + 1], sigma=2 * [width])
    changed = (hu + blur * (softer - hu)) * gain + offset + sd * noise
    return torch.where(hu > WINDOW_HU[0], changed, hu)


def descriptor_scale(descriptors: ArrayLike) -> tuple[Tensor, Tensor]:
    """Mean and SD of each descriptor over patients (n, k), float32 (k,); NaN rows are left out, a constant has SD 1."""
    values = np.asarray(descriptors, dtype=float).reshape(-1, len(DESCRIPTORS))
    known = values[~np.isnan(values).any(axis=1)]
    if len(known) == 0:
        known = np.zeros((1, len(DESCRIPTORS)))
    sd = known.std(axis=0)
    numbers = known.mean(axis=0), np.where(sd > 0, sd, 1)
    mean, scale = (torch.tensor(each, dtype=torch.float32) for each in numbers)
    return mean, scale


def measured_descriptors(hu: np.ndarray, outline: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Descriptors of the outlined hematoma, float32 (k,); NaN where nothing is outlined.

    ``hu`` and ``outline`` are (x, y, z).
    """
    markers = measure_markers(hu, outline, spacing_mm)
    return np.array([markers[name] for name in DESCRIPTORS], dtype=np.float32)


def changed_descriptors(descriptors: Tensor, *, gain: Tensor, offset_hu: Tensor, zoom: Tensor) -> Tensor:
    """Descriptors (b, k) of the same hematomas read by another scanner: HU times gain plus offset, lengths times zoom.

    ``gain, offset_hu, zoom`` have shape (b,).
    """
    columns = []
    for name, values in zip(DESCRIPTORS, descriptors.unbind(dim=1), strict=True):
        values = values * gain if name.endswith("_hu") else values
        values = values * zoom if name.endswith("_mm") else values
        columns.append(values + offset_hu if name == "mean_hu" else values)
    return torch.stack(columns, dim=1)


def mixed_seed(seed: Sequence[int]) -> int:
    """One well-mixed seed from several whole numbers, such as study, fold, epoch and step."""
    return int(np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0] >> np.uint64(2))
