"""Does a training that two processes share learn as one alone does, and how fast?

.venv/bin/python benchmarks/processes.py [--epochs 6]

Each step's patients are divided among the processes and gradients averaged (DistributedDataParallel over gloo), as
among GPUs. Batch statistics are each process's own, so that losses agree nearly, not to the last digit. Simulated
patients.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

# As notebooks are run: threads that wait must not keep a busy machine's cores from those that work. Before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pandas as pd
import torch
from stores import write_store
from tables import markdown

from hepred_lib.multitask.data import load_patients
from hepred_lib.multitask.network import NetworkSettings
from hepred_lib.multitask.training import TrainingSettings, train_fold

N_PATIENTS, MATRIX = 16, 128


def main() -> None:
    """Loss by epoch of both, and the seconds of a training: processes start, load and meet within them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6)
    epochs = parser.parse_args().epochs
    losses, seconds = {}, {}
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        cohort, quality = write_store(store, N_PATIENTS, matrix=MATRIX, n_distinct=N_PATIENTS)
        patients = load_patients(store, cohort, quality)
        for processes in (1, 2):
            settings = TrainingSettings(epochs=epochs, patients_per_step=4, devices=processes)
            start = time.perf_counter()
            _, history = train_fold(
                patients, NetworkSettings(), settings=settings, checkpoint=store / f"state{processes}"
            )
            seconds[processes] = time.perf_counter() - start
            losses[processes] = history["loss"].to_numpy()
    apart = np.abs(losses[2] / losses[1] - 1)
    rows = {"epoch": np.arange(epochs) + 1, "one process": losses[1], "two": losses[2], "apart": apart}
    print(f"{torch.get_num_threads()} threads in all; load at the end: {os.getloadavg()[0]:.1f}\n")
    print(markdown(pd.DataFrame(rows).round(3)))
    print(f"\nLargest distance {apart.max():.1%}; {seconds[1]:.1f} s alone, {seconds[2]:.1f} s by two.")


if __name__ == "__main__":
    main()
