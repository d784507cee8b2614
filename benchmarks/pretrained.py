"""Make the weights that come with the library: a network taught on simulated heads, without any outcome.

The heads are `ich_phantom`'s, of seeds that no demonstration, benchmark or test uses: an ordinary cohort, and a second
one of large hemorrhages with a pale part, which are rare among the others and else outlined by a quarter too small. The
network learns the outlines of hematoma and ventricular blood, their presence by slice, and the descriptors measured
inside the reference outline. Growth and outcomes are taken out before anything is trained, so that no study on
simulated patients starts from an answer. A second run on the same machine gives the same bytes; a killed run goes on.

make pretrained
.venv/bin/python benchmarks/pretrained.py --out FOLDER [--patients 800] [--pale 320] [--epochs 12] [--seed 9001]
    [--cores 2]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from skill_cohort import CohortSettings, make_cohort, read_cohort, timed

from hepred_lib.multitask.data import Patient, load_patients
from hepred_lib.multitask.network import NetworkSettings, save_network
from hepred_lib.multitask.prediction import predict_cohort
from hepred_lib.multitask.readout import fit_presence
from hepred_lib.multitask.training import TrainingSettings, train_fold
from hepred_lib.pretrained import SHIPPED
from hepred_lib.study.files import file_sha256

FRESH = 20  # heads that nothing is taught on, to look at
LAST_EPOCHS, LAST_RATE = 3, 5e-4


def untold_heads(folder: Path, settings: CohortSettings, *, cores: int) -> list[Patient]:
    """The hemorrhages and blood-free heads of a cohort's development set, made where they are not; without outcomes."""
    make_cohort(folder, settings, cores=cores)
    tables = read_cohort(folder)
    development = tables["cohort"][tables["cohort"]["split"].eq("development")]
    patients = load_patients(folder, development, tables["quality"])
    return [
        replace(patient, he=float("nan"), patient_id=f"{folder.name}/{patient.patient_id}")
        for patient in patients
        if patient.has_mask
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of cohort and checkpoint, kept")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="file to write")
    parser.add_argument("--patients", type=int, default=800)
    parser.add_argument("--pale", type=int, default=320, help="large hemorrhages with a pale part beside them")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=9001)
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    cohorts = [CohortSettings(options.seed, options.patients, test=FRESH)]
    cohorts.append(CohortSettings(options.seed + 1, options.pale, test=0, pale=1))
    ordinary, pale = (untold_heads(options.out / str(cohort.seed), cohort, cores=options.cores) for cohort in cohorts)
    settings = TrainingSettings(epochs=options.epochs, seed=options.seed)
    first = options.out / "first.safetensors"
    with timed(f"{len(ordinary) + len(pale)} heads, {options.epochs} epochs"):
        network, _ = train_fold(
            ordinary + pale, NetworkSettings(), settings=settings, checkpoint=options.out / "checkpoint.safetensors"
        )
        save_network(network, first)
    # As rare as they are, pale parts come last: the ends of all hematomas are else drawn too far.
    last = replace(settings, epochs=LAST_EPOCHS, learning_rate=LAST_RATE, pretrained=str(first))
    with timed(f"{len(ordinary)} heads, {LAST_EPOCHS} epochs"):
        network, history = train_fold(
            ordinary, NetworkSettings(), settings=last, checkpoint=options.out / "last.safetensors"
        )
    _, slices = predict_cohort(network, ordinary)
    fit_presence(network.context, slices)
    save_network(network, options.weights, dtype=torch.float16)
    print(history.round(4).tail(1).to_string(index=False))
    print(f"{options.weights}: {options.weights.stat().st_size / 1e6:.1f} MB, sha256 {file_sha256(options.weights)}")


if __name__ == "__main__":
    main()
