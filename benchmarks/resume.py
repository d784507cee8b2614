"""Kill a training at random moments, take it up again each time, and compare its weights with an undisturbed one's.

.venv/bin/python benchmarks/resume.py [--kills 6] [--epochs 8]

Processes are ended with SIGKILL, which no program can catch: between steps, or in the middle of writing the state.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

# As notebooks are run: threads that wait must not keep a busy machine's cores from those that work. Before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pandas as pd
import torch
from stores import write_store
from tables import markdown

from hepred_lib.imaging.slices import read_quality
from hepred_lib.multitask import training
from hepred_lib.multitask.data import load_patients
from hepred_lib.multitask.network import NetworkSettings
from hepred_lib.multitask.training import TrainingSettings, save_network, train_fold
from hepred_lib.study.files import read_json, read_table, write_json, write_table

MATRIX, N_PATIENTS = 64, 8


def train(store: Path, name: str, epochs: int) -> None:
    """One training from the store, taken up where ``name`` was left; leaves its weights and the seconds it took."""
    patients = load_patients(store, read_table(store / "cohort.csv"), read_quality(store))
    settings = TrainingSettings(epochs=epochs, patients_per_step=2, slices_per_patient=3)
    saving, save_state = [], training.save_state

    def timed_save(*arguments: object) -> None:
        start = time.perf_counter()
        save_state(*arguments)
        saving.append(time.perf_counter() - start)

    (store / f"{name}.begun").touch()
    start = time.perf_counter()
    with patch.object(training, "save_state", timed_save):
        network, _ = train_fold(
            patients, NetworkSettings(), settings=settings, checkpoint=store / name, device=torch.device("cpu")
        )
    whole = time.perf_counter() - start
    save_network(network, store / f"{name}.safetensors")
    write_json(store / f"{name}.json", {"training_s": whole, "saving_s": saving})


def disturbed(call: list[str], store: Path, *, kills: int, most_s: float, rng: np.random.Generator) -> pd.DataFrame:
    """Start, kill after a random time, start again ...; the last one is left to end."""
    rows = []
    for attempt in range(kills + 1):
        (store / "killed.begun").unlink(missing_ok=True)
        process = subprocess.Popen(call)
        while not (store / "killed.begun").exists() and process.poll() is None:
            time.sleep(0.01)
        after = rng.uniform(0, most_s)
        try:
            process.wait(after if attempt < kills else None)
            end = f"exit {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            end = f"SIGKILL after {after:.2f} s"
        rows.append({"start": attempt + 1, "end": end, "unfinished files": len(list(store.glob(".killed.*")))})
        if process.returncode == 0:
            break
    return pd.DataFrame(rows)


def compare(store: Path, epochs: int, kills: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What happened at each start, and whether the weights are the same."""
    call = [sys.executable, __file__, "--epochs", str(epochs), "--train", str(store)]
    subprocess.run([*call, "whole"], check=True)
    whole = read_json(store / "whole.json")
    # Long enough on average for an epoch or two, so that the kills spread over the whole training.
    most = 2 * whole["training_s"] / (kills + 1)
    starts = disturbed([*call, "killed"], store, kills=kills, most_s=most, rng=np.random.default_rng(1))
    digests = {name: hashlib.sha256((store / f"{name}.safetensors").read_bytes()) for name in ("whole", "killed")}
    saving = float(np.median(whole["saving_s"]))
    size = (store / "whole").stat().st_size / 1e6
    same = len({digest.hexdigest() for digest in digests.values()}) == 1
    rows = {
        "weights after the kills, beside the undisturbed ones": "identical, bit by bit" if same else "DIFFERENT",
        "training undisturbed, s": f"{whole['training_s']:.1f}",
        f"keeping the state ({size:.0f} MB) after an epoch, s": f"{saving:.3f}",
        "deterministic kernels": "cost nothing on a CPU: it has no others",
    }
    return starts, pd.DataFrame({"what": rows.keys(), "value": rows.values()})


def main() -> None:
    """Two tables: the starts, the comparison. Exit 1 where the weights differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--train", nargs=2, metavar=("STORE", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(Path(options.train[0]), options.train[1], options.epochs)
        return
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        cohort, quality = write_store(store, N_PATIENTS, matrix=MATRIX, n_distinct=N_PATIENTS)
        write_table(store / "cohort.csv", cohort)
        write_table(store / "quality.csv", quality.reset_index())
        starts, verdict = compare(store, options.epochs, options.kills)
        print(f"{torch.get_num_threads()} threads; load at the end: {os.getloadavg()[0]:.1f}\n")
        print(f"{markdown(starts)}\n\n{markdown(verdict)}")
    sys.exit("DIFFERENT" in verdict.to_string())


if __name__ == "__main__":
    main()
