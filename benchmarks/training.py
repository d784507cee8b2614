"""Training beside a MONAI loop around the same network and loss; where a step's time goes.

.venv/bin/python -m pip install --constraint constraints.txt --editable '.[bench]'
.venv/bin/python benchmarks/training.py [--rounds 3] [--steps 18] [--workers 2]
.venv/bin/python benchmarks/training.py --device cuda [--matrix 256] [--patients-per-step 6]
                                                   our loop alone, on this device; needs no MONAI
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from measuring import markdown, median_with_range, seconds_now
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from hepred_lib.imaging.preprocessing import SliceGrid, grid_record
from hepred_lib.imaging.slices import BLOOD, BRAIN, HU, HU_OFFSET, IVH, stored_path
from hepred_lib.multitask import data, training
from hepred_lib.multitask.data import (
    BLUR_MM,
    DESCRIPTORS,
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
    load_patients,
    step_batches,
    stored_to_hu,
    with_neighbours,
)
from hepred_lib.multitask.device import PRECISIONS, device_words, pick_device, pick_precision
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings
from hepred_lib.multitask.training import TrainingSettings, joint_loss, train_fold

N_SLICES, FIELD_MM, THICKNESS_MM = 31, 200.0, 5.0
WARM_UP, PROFILED = 4, 4  # steps; the third of a shape is the first that is replayed


def made_up_planes(number: int, matrix: int) -> np.ndarray:
    """Planes of one patient, uint8 (31, 4, matrix, matrix): a brain with noise and a bleeding in a third of it."""
    rng = np.random.default_rng(number)
    z, y, x = np.ogrid[-1 : 1 : N_SLICES * 1j, -1 : 1 : matrix * 1j, -1 : 1 : matrix * 1j]
    brain = (x / 0.65) ** 2 + (y / 0.8) ** 2 + (z / 1.05) ** 2 < 1
    blood = ((x - 0.25) / 0.2) ** 2 + ((y - rng.uniform(-0.2, 0.2)) / 0.22) ** 2 + (z / 0.35) ** 2 < 1
    planes = np.zeros((N_SLICES, 4, matrix, matrix), dtype=np.uint8)
    hu = np.where(blood, 60.0, 33.0) + rng.normal(0, 3, brain.shape)
    planes[:, HU] = np.where(brain, np.rint(hu) + HU_OFFSET, 0)
    planes[:, BLOOD], planes[:, BRAIN] = 255 * blood, 255 * brain
    return planes


def write_store(folder: Path, n_patients: int, *, matrix: int, n_distinct: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A store of ``n_patients``, of which ``n_distinct`` lie on the disk and the rest are hard links to them.

    Returns
    -------
    cohort, quality : DataFrame
        As :func:`hepred_lib.multitask.data.load_patients` takes them; every fifth patient expands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"P{number:05d}" for number in range(n_patients)]
    for number, name in enumerate(names):
        if number < n_distinct:
            np.save(stored_path(folder, name), made_up_planes(number, matrix), allow_pickle=False)
        else:
            os.link(stored_path(folder, names[number % n_distinct]), stored_path(folder, name))
    spacing = FIELD_MM / matrix
    grid = SliceGrid((matrix, matrix, N_SLICES), (spacing, spacing, THICKNESS_MM), (0.0, 0.0), FIELD_MM, matrix, 1)
    quality = pd.DataFrame({"patient_id": names, "has_mask": 1, "has_ivh_mask": 1, **grid_record(grid)}).set_index(
        "patient_id"
    )
    measured = np.random.default_rng(n_patients).normal(size=(n_patients, len(DESCRIPTORS)))
    quality[list(DESCRIPTORS)] = measured
    return pd.DataFrame({"patient_id": names, "he": [float(number % 5 == 0) for number in range(n_patients)]}), quality


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
        for (numbers, drawn), part in zip(self.steps, self.loader, strict=True):
            batch = self._batch(part, numbers, drawn)
            self.optimizer.zero_grad()
            joint_loss(self.network, batch, self.settings)[0].backward()
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
            ivh_known=torch.ones(len(chosen)),
            pixel_mm=chosen[0].pixel_mm,
            changes=torch.empty(len(chosen), 0),  # its transforms have changed the slices
            patient_ids=tuple(patient.patient_id for patient in chosen),
            noise_seed=0,
        )


def write_slices(patient: Patient, folder: Path) -> list[dict[str, str]]:
    """One file a slice for the scan with its neighbours as channels, and one for the outline; the whole field."""
    n, _, *field = patient.planes.shape
    seen = torch.from_numpy(with_neighbours(patient.planes, np.arange(n), tuple(field)))
    stacks = {"image": stored_to_hu(seen).numpy(), "label": patient.planes[:, BLOOD : IVH + 1] / np.float32(255.0)}
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
    width = BLUR_MM / FIELD_MM * matrix
    blur = (0.5 * width, width)
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


# As notebooks are run: threads that wait must not keep a busy machine's cores from those that work. Before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


CPU, MATRIX, DISTINCT = torch.device("cpu"), 128, 48
SETTINGS = TrainingSettings(epochs=1)
PARTS = {  # what is timed inside a training, and where its modules find it
    "draw": (data, "draw_batch"),
    "augment": (training, "augment"),
    "forward and loss": (training, "joint_loss"),
    "backward": (torch.Tensor, "backward"),
    "clip": (nn.utils, "clip_grad_norm_"),
    "optimizer": (torch.optim.AdamW, "step"),
    "average of the weights": (training, "_update_average"),
}
BESIDE = {
    "network": (training, "_new_state"),
    "checkpoint": (training, "save_state"),
    "its mark": (training, "_fingerprint"),
}


@contextmanager
def timers() -> Iterator[dict[str, np.ndarray]]:
    """Seconds spent in each part while a training runs, on the wall and of the processor."""
    spent: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    with ExitStack() as stack:
        for name, (place, attribute) in (PARTS | BESIDE).items():
            stack.enter_context(patch.object(place, attribute, _timed(getattr(place, attribute), spent, name)))
        yield spent


def our_epoch(
    patients: list[Patient], folder: Path, device: torch.device = CPU
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Seconds of one epoch's steps in :func:`train_fold`, and by part; what is done once is told apart."""
    with tempfile.TemporaryDirectory(dir=folder) as state, timers() as spent:
        start = _now()
        train_fold(patients, NetworkSettings(), settings=SETTINGS, checkpoint=Path(state, "state"), device=device)
        whole = _now() - start
    return whole - sum(spent[name] for name in BESIDE), dict(spent)


def compare(patients: list[Patient], folder: Path, *, rounds: int, workers: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Slices/s of both loops in turns with the ratio round by round, and our time by part (last round)."""
    peer = PeerLoop(patients, SETTINGS, folder, workers=workers)
    n_slices = len(patients) * SETTINGS.slices_per_patient
    our_epoch(patients, folder), peer.run()
    taken = []
    for _ in range(rounds):
        ours, spent = our_epoch(patients, folder)
        taken.append((peer.run(), ours))
    seconds = np.array(taken)  # (round, loop, clock)
    ratio = seconds[:, 0] / seconds[:, 1]
    table = pd.DataFrame({"loop": [f"MONAI transforms, DataLoader of {workers} workers, float32", "ours"]})
    for k, clock in enumerate(("second", "processor second")):
        table[f"slices a {clock}"] = [median_with_range(n_slices / seconds[:, loop, k]) for loop in (0, 1)]
        table[f"ratio by {clock}s"] = ["1", median_with_range(ratio[:, k], 2)]
    return table, _by_part({name: part[0] for name, part in spent.items()}, seconds[-1, 1, 0], n_slices)


class Steps:
    """Steps of a training on one device, without checkpoints: what :func:`on_device` measures."""

    def __init__(
        self, patients: list[Patient], settings: TrainingSettings, device: torch.device, *, replay: bool
    ) -> None:
        self.settings = settings
        self.state = training._new_state(patients, NetworkSettings(), settings, device)
        self.stack = data.Stack(patients, device)
        self.compute = training.gradients_of(self.state, self.state.network, settings, device)
        self.compute._record &= replay
        self.order = epoch_steps(len(patients), settings.patients_per_step, (1, 2))

    def run(self, number: int) -> float:
        """Seconds of so many steps, from an idle device to an idle one."""
        _wait(self.stack.device)
        start = time.perf_counter()
        for step in range(number):
            numbers = self.order[step % len(self.order)]
            batches = step_batches(
                self.stack, numbers, slices_per_patient=self.settings.slices_per_patient, seed=(1, step)
            )
            training._train_step(self.state, self.state.network, batches, self.settings, self.compute, [])
        _wait(self.stack.device)
        return time.perf_counter() - start


def on_device(patients: list[Patient], settings: TrainingSettings, device: torch.device, *, steps: int) -> pd.DataFrame:
    """Steps of our loop on one device: speed, launches, waits, busy share, arithmetic, memory.

    On a GPU replayed and launched one by one, with the repeatable kernels of a training and with the fastest.
    """
    rows, on_gpu = [], device.type == "cuda"
    for patient in patients:
        patient.labels  # noqa: B018 - made once in a training
    rate = matrix_rate(device)
    for kernels, replay in (("repeatable", True), ("repeatable", False), ("fastest", True))[: 3 if on_gpu else 1]:
        with training.deterministic(device) if kernels == "repeatable" else nullcontext():
            if on_gpu:
                torch.cuda.reset_peak_memory_stats(device)
            loop = Steps(patients, settings, device, replay=replay)
            loop.run(WARM_UP)
            seconds = loop.run(steps) / steps
            with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as seen:
                loop.run(PROFILED)
            loop.compute._record = False
            with FlopCounterMode(display=False) as counted:
                loop.run(1)
        events = seen.key_averages()
        calls = {part: sum(e.count for e in events if part in e.key) for part in ("Launch", "StreamSynchronize")}
        # Of the kernels themselves: an operator that launched one lists its time once more.
        kernels_us = [event.self_device_time_total for event in events if event.device_type == DeviceType.CUDA]
        computing_s = sum(kernels_us) / 1e6 / PROFILED
        rows.append(
            {
                "device": device_words(device),
                "kernels": kernels + (", replayed" if replay and on_gpu else ""),
                "ms a step": f"{1e3 * seconds:.1f}",
                "slices a second": f"{settings.patients_per_step * settings.slices_per_patient / seconds:.0f}",
                "launches a step": f"{calls['Launch'] / PROFILED:.0f}",
                "waits a step": f"{calls['StreamSynchronize'] / PROFILED:.1f}",
                "busy": f"{computing_s / seconds:.0%}" if on_gpu else "",
                "of the matrix rate": f"{counted.get_total_flops() / seconds / rate:.1%}",
                "peak GB": f"{torch.cuda.max_memory_reserved(device) / 1e9:.1f}" if on_gpu else "",
            }
        )
    return pd.DataFrame(rows)


def matrix_rate(device: torch.device, size: int = 4096) -> float:
    """Operations a second of a product of two random matrices, in the precision of a training."""
    a, b = torch.randn(2, size, size, device=device).to(PRECISIONS[pick_precision(device)]).unbind()
    times = []
    for _ in range(5):
        _wait(device)
        start = time.perf_counter()
        for _ in range(8):
            a @ b
        _wait(device)
        times.append(time.perf_counter() - start)
    return 8 * 2 * size**3 / min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _by_part(spent: dict[str, float], steps_s: float, slices: int) -> pd.DataFrame:
    inside = {name: spent[name] for name in PARTS}
    inside["the rest"] = steps_s - sum(inside.values())
    rows = [(name, seconds, f"{seconds / steps_s:.1%}") for name, seconds in inside.items()]
    rows += [(f"once: {name}", spent[name], "") for name in BESIDE]
    cells = [(name, f"{1e3 * seconds / slices:.2f}", share) for name, seconds, share in rows]
    return pd.DataFrame(cells, columns=["part", "ms a slice", "share"])


def _now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def _timed(work: Callable, spent: dict[str, np.ndarray], name: str) -> Callable:
    def timed(*args, **kwargs):
        start = _now()
        try:
            return work(*args, **kwargs)
        finally:
            spent[name] += _now() - start

    return timed


def main() -> None:
    """Two tables: both loops, and our time by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=18, help="of the default size, in each round")
    parser.add_argument("--device", help="measure our loop on this device (cuda, cpu), without the peer")
    parser.add_argument("--matrix", type=int, default=MATRIX)
    parser.add_argument("--patients-per-step", type=int, default=SETTINGS.patients_per_step)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the peer's DataLoader")
    options = parser.parse_args()
    settings = replace(SETTINGS, patients_per_step=options.patients_per_step)
    warnings.simplefilter("ignore")  # MONAI's own about its dependencies
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_patients = options.steps * settings.patients_per_step
        store = write_store(folder / "store", n_patients, matrix=options.matrix, n_distinct=min(n_patients, DISTINCT))
        patients = load_patients(folder / "store", *store)
        print(f"{torch.get_num_threads()} threads; load before the start: {os.getloadavg()[0]:.1f}\n")
        if options.device:
            print(markdown(on_device(patients, settings, pick_device(options.device), steps=options.steps)))
            return
        tables = compare(patients, folder, rounds=options.rounds, workers=options.workers)
        print("\n\n".join(map(markdown, tables)))


if __name__ == "__main__":
    main()
