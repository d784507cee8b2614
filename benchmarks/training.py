"""Training beside a MONAI loop around the same network and loss; where a step's time goes, and the least it could take.

.venv/bin/python -m pip install --constraint constraints.txt --editable '.[bench]'
.venv/bin/python benchmarks/training.py [--rounds 3] [--steps 18] [--workers 2] [--compile]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

# As notebooks are run: threads that wait must not keep a busy machine's cores from those that work. Before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pandas as pd
import torch
from peer_loop import PeerLoop
from stores import write_store
from tables import markdown
from timing import best_of, median_with_range
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from hepred_lib.multitask import data, training
from hepred_lib.multitask.data import Patient, augment, draw_batch, load_patients
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings
from hepred_lib.multitask.training import TrainingSettings, half_precision_pays, joint_loss, train_fold

CPU, MATRIX = torch.device("cpu"), 128
SETTINGS = TrainingSettings(epochs=1)
DEMO_STEPS = TrainingSettings().epochs * 134 // SETTINGS.patients_per_step  # of one fold, about 134 patients
PARTS = {  # what is timed inside a training, and where its modules find it
    "draw": (data, "draw_batch"),
    "augment": (training, "augment"),
    "forward and loss": (training, "joint_loss"),
    "backward": (torch.Tensor, "backward"),
    "clip": (nn.utils, "clip_grad_norm_"),
    "optimizer": (torch.optim.AdamW, "step"),
    "average of the weights": (training, "_update_average"),
}
BESIDE = {"network": (training, "_new_state"), "checkpoint": (training, "save_state")}


@contextmanager
def timers() -> Iterator[dict[str, np.ndarray]]:
    """Seconds spent in each part while a training runs, on the wall and of the processor."""
    spent: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    with ExitStack() as stack:
        for name, (place, attribute) in (PARTS | BESIDE).items():
            stack.enter_context(patch.object(place, attribute, _timed(getattr(place, attribute), spent, name)))
        yield spent


def our_epoch(patients: list[Patient], folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Seconds of one epoch's steps in :func:`train_fold`, and by part; what is done once is told apart."""
    with tempfile.TemporaryDirectory(dir=folder) as state, timers() as spent:
        start = _now()
        train_fold(patients, NetworkSettings(), settings=SETTINGS, checkpoint=Path(state, "state"), device=CPU)
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


def floor(patients: list[Patient]) -> pd.DataFrame:
    """Work of one step's forward and backward pass, the machine's rates, and the share of them that is reached."""
    network = MultitaskNetwork(NetworkSettings()).to(memory_format=torch.channels_last).train()
    step = _one_step(patients)
    with FlopCounterMode(display=False) as flops:
        step(network)
    with ByteCounter() as traffic:
        step(network)
    taken = best_of(lambda: step(network), 4)
    half = half_precision_pays(CPU)
    rates = {dtype: _matmul_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    rate, bandwidth = rates[torch.bfloat16 if half else torch.float32], _copy_rate()
    work = flops.get_total_flops()
    rows = {
        "arithmetic, GFLOP": f"{work / 1e9:.1f}",
        "read and written by the operators one by one, GB": f"{traffic.total / 1e9:.2f}",
        "matrix product here, float32, GFLOP/s": f"{rates[torch.float32] / 1e9:.0f}",
        "matrix product here, bfloat16, GFLOP/s": f"{rates[torch.bfloat16] / 1e9:.0f}",
        "copy here, GB/s": f"{bandwidth / 1e9:.1f}",
        f"arithmetic alone at the rate of {'bfloat16' if half else 'float32'}, s": f"{work / rate:.3f}",
        "traffic alone at the rate of a copy, s": f"{traffic.total / bandwidth:.3f}",
        "taken, s": f"{taken:.3f}",
        "share of the matrix rate": f"{work / rate / taken:.0%}",
        "share of the two floors together": f"{(work / rate + traffic.total / bandwidth) / taken:.0%}",
    }
    return pd.DataFrame({"one step, forward and backward": rows.keys(), "value": rows.values()})


def compiled(patients: list[Patient]) -> pd.DataFrame:
    """A step with and without torch.compile, and after how many steps the compiling would be paid back."""
    network = MultitaskNetwork(NetworkSettings()).to(memory_format=torch.channels_last).train()
    step, fast = _one_step(patients), torch.compile(network)
    start = time.perf_counter()
    step(fast)
    once = time.perf_counter() - start
    step(network)
    pairs = [(best_of(lambda: step(network), 1), best_of(lambda: step(fast), 1)) for _ in range(4)]
    eager, later = (min(column) for column in zip(*pairs, strict=True))
    paid = f"{once / (eager - later):.0f}" if later < eager else "never"
    rows = {
        "step, s": f"{eager:.3f}",
        "step compiled, s": f"{later:.3f}",
        "compiling, s": f"{once:.0f}",
        f"steps until paid back (a demo fold has {DEMO_STEPS})": paid,
    }
    return pd.DataFrame({"torch.compile": rows.keys(), "value": rows.values()})


class ByteCounter(TorchDispatchMode):
    """Bytes of all tensors that operators read and write, each operator by itself; views cost nothing."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            touched = torch.utils._pytree.tree_leaves((args, kwargs, result))
            self.total += sum(item.nbytes for item in touched if isinstance(item, torch.Tensor))
        return result


def _one_step(patients: list[Patient]) -> Callable[[nn.Module], None]:
    numbers = range(SETTINGS.patients_per_step)
    drawn = draw_batch(patients, numbers, slices_per_patient=SETTINGS.slices_per_patient, seed=(7,), device=CPU)
    batch = augment(drawn, seed=(7,))

    def step(network: nn.Module) -> None:
        network.zero_grad(set_to_none=True)
        joint_loss(network, batch, SETTINGS.weights)[0].backward()

    return step


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


def _matmul_rate(dtype: torch.dtype, n: int = 1536) -> float:
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    return 2 * n**3 / best_of(lambda: a @ b, 8)


def _copy_rate(n: int = 64 << 20) -> float:
    source, target = torch.zeros(n), torch.zeros(n)
    return 2 * 4 * n / best_of(lambda: target.copy_(source), 4)


def main() -> None:
    """Tables, in this order: the two loops, our time by part, the floor; with --compile a fourth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=18, help="of the default size, in each round")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the peer's DataLoader")
    parser.add_argument("--compile", action="store_true", help="ask whether torch.compile pays, instead")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # MONAI's own about its dependencies
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_patients = options.steps * SETTINGS.patients_per_step
        store = write_store(folder / "store", n_patients, matrix=MATRIX, n_distinct=n_patients)
        patients = load_patients(folder / "store", *store)
        print(f"{torch.get_num_threads()} threads; load before the start: {os.getloadavg()[0]:.1f}\n")
        if options.compile:
            tables = (compiled(patients),)
        else:
            tables = (*compare(patients, folder, rounds=options.rounds, workers=options.workers), floor(patients))
        print("\n\n".join(map(markdown, tables)))


if __name__ == "__main__":
    main()
