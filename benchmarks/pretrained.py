"""Make the weights that come with the library: a network taught on simulated heads, without any outcome.

The heads are `ich_phantom`'s, of a seed that no demonstration, benchmark or test uses. The network learns the outlines
of hematoma and ventricular blood, their presence by slice, and the descriptors measured inside the reference outline.
Growth and outcomes are taken out before anything is trained, so that no study on simulated patients starts from an
answer. A second run on the same machine gives the same bytes; a killed run goes on.

make pretrained
.venv/bin/python benchmarks/pretrained.py --out FOLDER [--patients 800] [--epochs 12] [--seed 9001] [--cores 2]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from skill_cohort import CohortSettings, make_cohort, read_cohort, timed

from hepred_lib.multitask.data import load_patients
from hepred_lib.multitask.network import NetworkSettings, save_network
from hepred_lib.multitask.prediction import predict_cohort
from hepred_lib.multitask.readout import fit_presence
from hepred_lib.multitask.training import TrainingSettings, train_fold
from hepred_lib.pretrained import SHIPPED
from hepred_lib.study.files import file_sha256

FRESH = 20  # heads that nothing is taught on, to look at


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of cohort and checkpoint, kept")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="file to write")
    parser.add_argument("--patients", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=9001)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    make_cohort(options.out, CohortSettings(options.seed, options.patients, test=FRESH), cores=options.cores)
    tables = read_cohort(options.out)
    development = tables["cohort"][tables["cohort"]["split"].eq("development")]
    patients = load_patients(options.out, development, tables["quality"])
    untold = [replace(patient, he=float("nan")) for patient in patients if patient.has_mask]
    settings = TrainingSettings(epochs=options.epochs, expansion_weight=0.0, seed=options.seed)
    with timed(f"{len(untold)} heads, {options.epochs} epochs"):
        network, history = train_fold(
            untold, NetworkSettings(), settings=settings, checkpoint=options.out / "checkpoint.safetensors"
        )
    _, slices = predict_cohort(network, untold)
    fit_presence(network.context, slices)
    save_network(network, options.weights, dtype=torch.float16)
    print(history.round(4).tail(1).to_string(index=False))
    print(f"{options.weights}: {options.weights.stat().st_size / 1e6:.1f} MB, sha256 {file_sha256(options.weights)}")


if __name__ == "__main__":
    main()
