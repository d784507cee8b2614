"""One network of one fold of a finished study, with settings of your own: what does a change of the network give?

Trains on the fold's patients, judges on all others (held-out and test): outlines at the resolution of the slices,
presence of blood by slice, and how much of the simulation's own image logit the findings hold. The truth judges;
nothing is fitted with it but the ridge regression of the last figure, cross-validated. Simulated patients.

.venv/bin/python benchmarks/network.py RUN TRUTH [--fold 2] [--training epochs=8 learning_rate=0.001]
.venv/bin/python benchmarks/network.py runs/demo cohorts/demo/truth.csv
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import markdown

from hepred_lib.imaging.segmentation import dice, fill_holes
from hepred_lib.imaging.slices import BLOOD, POSITIVE_SLICE_MM2, from_torch, read_quality
from hepred_lib.multitask.data import Patient, fold_roles, load_patients, training_patients
from hepred_lib.multitask.network import EVIDENCE, FINDINGS, MultitaskNetwork, NetworkSettings, fit_presence
from hepred_lib.multitask.prediction import Prediction, fit_readout, predict_patient, read_out
from hepred_lib.multitask.training import TrainingSettings, train_fold
from hepred_lib.stats.discrimination import auc
from hepred_lib.study.files import read_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--fold", type=int, default=2)
    parser.add_argument("--training", nargs="*", default=[], metavar="NAME=VALUE", help="of TrainingSettings")
    given = parser.parse_args()
    cohort = read_table(given.run / "cohort.csv")
    patients = load_patients(given.run / "slices", cohort, read_quality(given.run / "slices"))
    role = fold_roles(cohort, given.fold)
    options = {name: json.loads(value) for name, value in (pair.split("=") for pair in given.training)}
    settings, chosen = TrainingSettings(fold=given.fold, **options), training_patients(patients, role)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        network, _ = train_fold(chosen, NetworkSettings(), settings=settings, checkpoint=Path(folder) / "state")
    seconds = time.perf_counter() - start
    readings = {patient.patient_id: predict_patient(network, patient) for patient in patients}
    own = pd.DataFrame([reading.findings for reading in readings.values()], index=list(readings), columns=FINDINGS)
    inside = [slice_rows(patient, readings) for patient in patients if role[patient.patient_id] == "in_fold"]
    fit_presence(network.context, pd.concat(inside, ignore_index=True))
    figures = outline_figures(network, patients, readings, role) | score_figures(
        network, own, patients, role, given.truth
    )
    row = {"patients": len(chosen), "settings": " ".join(given.training), **figures, "training, s": seconds}
    print(markdown(pd.DataFrame([row]).round(3)))


def slice_rows(patient: Patient, readings: dict[str, Prediction]) -> pd.DataFrame:
    """The evidence of a patient's slices, and whether they hold blood."""
    return pd.DataFrame(readings[patient.patient_id].evidence, columns=list(EVIDENCE)).assign(blood=patient.labels)


def outline_figures(
    network: MultitaskNetwork, patients: list[Patient], readings: dict[str, Prediction], role: pd.Series
) -> dict[str, float]:
    """Dice of hemorrhages, and presence and false outlines by slice, in patients who did not train."""
    agreement, calls = {}, []
    for patient in patients:
        if role[patient.patient_id] == "in_fold":
            continue
        reading = readings[patient.patient_id]
        reference = patient.planes[:, BLOOD] > 127
        outline = fill_holes(from_torch(reading.probability >= 0.5))
        area_mm2 = outline.sum(axis=(0, 1)) * patient.pixel_mm**2
        presence = network.context(torch.from_numpy(reading.evidence)).numpy()
        calls.append(np.column_stack([patient.labels, presence, reading.evidence[:, 0], area_mm2]))
        if reference.any():
            agreement[reference.sum() * patient.voxel_ml, patient.patient_id] = dice(from_torch(reference), outline)
    judged = np.concatenate(calls)
    label, presence, alone, area_mm2 = judged[~np.isnan(judged[:, 0])].T
    by_volume = [agreement[key] for key in sorted(agreement)]
    return {
        "Dice": float(np.median(by_volume)),
        "Dice, smallest third": float(np.median(by_volume[: len(by_volume) // 3])),
        "presence, AUC": auc(label, presence),
        "of the slice alone": auc(label, alone),
        "outlined blood-free slices, %": 100 * float((area_mm2[label == 0] >= POSITIVE_SLICE_MM2).mean()),
    }


def score_figures(
    network: MultitaskNetwork, findings: pd.DataFrame, patients: list[Patient], role: pd.Series, truth: Path
) -> dict[str, float]:
    """What the findings hold of the simulation's image logit (R2, ridge), and how the read-out's logit follows it."""
    he = pd.Series({patient.patient_id: patient.he for patient in patients}).dropna()
    latent = read_table(truth).set_index("patient_id").loc[he.index, "logit_image"]
    known, inside = findings.loc[he.index], role[he.index] == "in_fold"
    fit_readout(network, known[inside], he[inside], seed=0)
    measured = pd.DataFrame([patient.descriptors for patient in patients], index=findings.index).loc[he.index]
    volume = pd.Series({p.patient_id: np.log(p.planes[:, BLOOD].sum() * p.voxel_ml) for p in patients if p.he >= 0})
    logits = read_out(network, known[~inside])
    return {
        "R2 of findings": held(known, latent),
        "R2 of reference volume": held(volume.to_frame(), latent),
        "R2 of reference markers": held(measured.assign(volume=volume), latent),
        "r of the logit": float(np.corrcoef(logits, latent[~inside])[0, 1]),
        "AUC for HE": auc(he[~inside].astype(int), logits),
    }


def held(features: pd.DataFrame, latent: pd.Series) -> float:
    """Share of the latent's variance that ridge regression on the features finds, in ten folds."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 3, 12)))
    fit = cross_val_predict(model, features.to_numpy(), latent.to_numpy(), cv=10)
    return 1 - float(((latent - fit) ** 2).sum() / ((latent - latent.mean()) ** 2).sum())


if __name__ == "__main__":
    main()
