"""Memory and speed of reading a slice store and training from it, in memory and left on disk.

.venv/bin/python benchmarks/memory.py [--patients 572 5000] [--seconds 40] [--folder DIR]

The store is made up: 300 patients lie on the disk (0.6 GB), the others are hard links to them, so that the page cache
serves what a real store would read from the disk. A network of the default size trains for some seconds of one epoch;
each case has a process of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest.mock import patch

# As notebooks are run: threads that wait must not keep a busy machine's cores from those that work. Before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pandas as pd
import psutil
import torch
from stores import write_store
from tables import markdown

from hepred_lib.imaging.slices import read_quality
from hepred_lib.multitask import data, training
from hepred_lib.multitask.data import load_patients
from hepred_lib.multitask.network import NetworkSettings
from hepred_lib.multitask.training import TrainingSettings, train_fold
from hepred_lib.study.files import read_json, read_table, write_json, write_table

CPU, MATRIX = torch.device("cpu"), 128
GIB = 1 << 30


class Enough(Exception):  # noqa: N818 - no error
    """The time is over."""


class Watch(threading.Thread):
    """The process's largest memory of its own: what is resident and belongs to no file."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.process = 0, psutil.Process()

    def run(self) -> None:
        while True:
            memory = self.process.memory_info()
            self.peak = max(self.peak, memory.rss - getattr(memory, "shared", 0))
            time.sleep(0.1)


def measure(folder: Path, n_patients: int, place: str, seconds: float) -> dict[str, str]:
    """Read the first patients of a store, train for some seconds, tell what it took."""
    watch = Watch()
    watch.start()
    cohort, quality = read_table(folder / "cohort.csv")[:n_patients], read_quality(folder)
    start = time.perf_counter()
    with patch.object(data, "MEMORY_SHARE", 1.0 if place == "memory" else 0.0):
        patients = load_patients(folder, cohort, quality)
    reading = time.perf_counter() - start
    first, slices, last = train_for(patients, folder / f"state-{place}", seconds)
    stored = sum(patient.planes.nbytes for patient in patients)
    return {
        "patients": f"{n_patients:,}",
        "store, GB": f"{stored / 1e9:.1f}",
        "planes are": "in memory" if place == "memory" else "memory-mapped",
        "reading, s": f"{reading:.1f}",
        "to the first step, s": f"{first:.1f}",
        "slices/s": f"{slices / last:.1f}",
        "peak of its own, GiB": f"{watch.peak / GIB:.2f}",
        "peak with mapped files, GiB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB:.2f}",
    }


def train_for(patients: list, checkpoint: Path, seconds: float) -> tuple[float, int, float]:
    """Seconds to the first step, slices learned from after it, and the seconds these took."""
    begun, times, counts = time.perf_counter(), [], []
    augment = training.augment

    def counted(batch, **options):
        times.append(time.perf_counter())
        if times[-1] > times[0] + seconds:
            raise Enough
        counts.append(len(batch.hu))
        return augment(batch, **options)

    settings = TrainingSettings(epochs=1)
    with patch.object(training, "augment", counted):
        try:
            train_fold(
                patients, NetworkSettings(), settings=settings, checkpoint=checkpoint, device=torch.device("cpu")
            )
            times.append(time.perf_counter())
        except Enough:
            pass
    # The first step warms up.
    return times[0] - begun, sum(counts[1:]), times[-1] - times[1]


def main() -> None:
    """One row a case; called by itself for each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs=2, default=(572, 5000), help="in memory, left on disk")
    parser.add_argument("--distinct", type=int, default=300, help="patients whose files are no links")
    parser.add_argument("--seconds", type=float, default=40.0, help="of training, in each case")
    parser.add_argument("--folder", type=Path, help="where the store is written and removed again; not in memory")
    parser.add_argument("--case", nargs=3, metavar=("STORE", "PATIENTS", "PLACE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        store, n_patients, place = options.case
        row = measure(Path(store), int(n_patients), place, options.seconds)
        write_json(Path(store, f"row-{place}.json"), row)
        return
    cases = tuple(zip(options.patients, ("memory", "disk"), strict=True))
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, most = Path(name), max(options.patients)
        cohort, quality = write_store(folder, most, matrix=MATRIX, n_distinct=min(most, options.distinct))
        write_table(folder / "cohort.csv", cohort)
        write_table(folder / "quality.csv", quality.reset_index())
        for n_patients, place in cases:
            call = [sys.executable, __file__, "--seconds", str(options.seconds), "--case", name, str(n_patients), place]
            subprocess.run(call, check=True)
        print(f"{torch.get_num_threads()} threads; load at the end: {os.getloadavg()[0]:.1f}\n")
        print(markdown(pd.DataFrame([read_json(folder / f"row-{place}.json") for _, place in cases])))


if __name__ == "__main__":
    main()
