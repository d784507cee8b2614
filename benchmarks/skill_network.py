"""Image-to-HE as a study does it: one network a fold, scores on a common scale, outlines on the scan's own grid.

Every patient's reading is kept in a file of its own (``readings/NAME.json``), so that a killed run goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skill_cache import settings_hold, timed
from skill_cohort import open_inside

from hepred_lib.imaging.markers import measure_markers
from hepred_lib.imaging.segmentation import agreement_by_group, dice, fill_holes, hd95_mm
from hepred_lib.imaging.slices import from_torch, stored_grid
from hepred_lib.multitask.data import Patient, fold_roles, load_patients, training_patients
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings, fit_presence
from hepred_lib.multitask.prediction import (
    fit_readout,
    normalized_scores,
    predict_cohort,
    predict_ensemble,
    score_scales,
)
from hepred_lib.multitask.training import TrainingSettings, load_network, pick_device, save_network, train_fold
from hepred_lib.progress import progress
from hepred_lib.study.files import file_sha256, read_json, write_json, write_table


@dataclass(frozen=True)
class ImageSettings:
    """Architecture and schedule; ``training`` is changed by fold."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)


def read_images(store: Path, out: Path, tables: Mapping[str, pd.DataFrame], settings: ImageSettings) -> list[dict]:
    """Train what is not yet trained, read who is not yet read: one record a patient, in the cohort's order.

    A development patient is read by the network that has not seen them, a test patient by all of them together.
    """
    cohort, quality = tables["cohort"], tables["quality"]
    weights = [_trained(store, out / "folds" / str(k), (cohort, quality), settings, k) for k in _folds(cohort)]
    mark = [file_sha256(path) for path in weights]
    records = {name: out / "readings" / f"{name}.json" for name in cohort["patient_id"]}
    todo = [n for n, path in records.items() if not path.exists() or read_json(path)["networks"] != mark]
    if todo:
        networks = [load_network(path).to(pick_device()) for path in weights]
        rows = cohort.set_index("patient_id", drop=False)
        with timed(f"reading {len(todo)} patients"):
            for name in progress(todo, desc="read", unit="patient"):
                (patient,) = load_patients(store, rows.loc[[name]], quality)
                fold = int(rows.loc[name, "fold"])
                chosen = networks if fold < 0 else [networks[fold]]
                reading = read_patient(chosen, patient, store=store, quality=quality)
                write_json(records[name], {"patient_id": name, "fold": fold, "networks": mark, **reading})
    return [read_json(path) for path in records.values()]


def read_patient(
    networks: Sequence[MultitaskNetwork], patient: Patient, *, store: Path, quality: pd.DataFrame
) -> dict[str, Any]:
    """Logits, agreement of the outlines, presence of blood by slice, and what is measured on the predicted outline."""
    prediction, logits = predict_ensemble(networks, patient)
    grid = stored_grid(quality, patient.patient_id)
    outline = fill_holes(grid.to_scan(from_torch(prediction.probability)) >= 0.5)
    hu, reference = open_inside(store, patient.patient_id, grid)
    return {
        "logits": logits,
        "detected": int(prediction.detected),
        "volume_ml": prediction.volume_ml,
        "dice": dice(reference, outline) if reference.any() else np.nan,
        "hd95_mm": hd95_mm(reference, outline, grid.spacing_mm) if reference.any() else np.nan,
        "outlined_ml": float(outline.sum() * np.prod(grid.spacing_mm) / 1000),
        "presence": prediction.presence,
        "blood": patient.labels,
        "markers": measure_markers(hu, outline, grid.spacing_mm).as_dict() if outline.any() else {},
    }


def outline_groups(readings: Sequence[Mapping[str, Any]], cohort: pd.DataFrame, markers: pd.DataFrame) -> pd.DataFrame:
    """Agreement of test patients' outlines by location and by thirds of the reference volume, as in notebook 04."""
    test = pd.DataFrame([reading for reading in readings if reading["fold"] < 0])
    known = {"hd95_mm": np.nan} | {name: test[name] for name in ("hd95_mm", "dice") if name in test}
    table = test[["patient_id"]].assign(**known, predicted_ml=test.get("outlined_ml", test["volume_ml"]))
    reference = markers.set_index("patient_id")["volume_ml"].rename("reference_ml")
    table = table.join(reference, on="patient_id").merge(cohort[["patient_id", "location"]], on="patient_id")
    thirds = pd.qcut(table["reference_ml"], 3, labels=["small", "middle", "large"])
    everybody = pd.Series("all", index=table.index)
    return agreement_by_group(table, {"all": everybody, "location": table["location"], "volume": thirds})


def dl_scores(readings: Sequence[Mapping[str, Any]], hemorrhages: pd.Series) -> pd.Series:
    """The normalized DL score by patient, scaled on the held-out hemorrhages of each fold as in notebook 04."""
    rows = [
        {
            "patient_id": reading["patient_id"],
            "fold": fold,
            "role": "test" if reading["fold"] < 0 else "held_out",
            "dl_logit": logit,
            "hematoma_detected": reading["detected"],
            "predicted_volume_ml": reading["volume_ml"],
        }
        for reading in readings
        for fold, logit in enumerate(reading["logits"], start=max(reading["fold"], 0))
    ]
    folds = pd.DataFrame(rows)
    scales = score_scales(folds[folds["patient_id"].isin(hemorrhages)])
    return normalized_scores(folds, scales)["dl_score"]


def slice_calls(readings: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Presence of blood by slice of test patients, called and true (missing where neither call is wrong)."""
    columns = ("patient_id", "presence", "blood")
    parts = [pd.DataFrame({key: reading[key] for key in columns}) for reading in readings if reading["fold"] < 0]
    return pd.concat(parts, ignore_index=True).astype({"blood": float})


def _trained(
    store: Path, place: Path, tables: tuple[pd.DataFrame, pd.DataFrame], settings: ImageSettings, fold: int
) -> Path:
    """The weights of one fold's network."""
    cohort, quality = tables
    path, training = place / "network.safetensors", replace(settings.training, fold=fold)
    record = {"network": asdict(settings.network), "training": asdict(training), "fold_of": _fold_mark(cohort)}
    if settings_hold(path, record):
        return path
    place.mkdir(parents=True, exist_ok=True)
    own = cohort[cohort["split"].eq("development")]
    chosen = training_patients(load_patients(store, own, quality), fold_roles(own, fold))
    with timed(f"fold {fold}, {len(chosen)} patients, {training.epochs} epochs"):
        network, history = train_fold(
            chosen, settings.network, settings=training, checkpoint=place / "checkpoint.safetensors"
        )
    taught = [patient for patient in chosen if np.isfinite(patient.he)]
    with timed(f"read-out of fold {fold}"):
        findings, slices = predict_cohort(network, chosen)
        told = findings[findings["patient_id"].isin([patient.patient_id for patient in taught])]
        fit_readout(network, told, pd.Series([patient.he for patient in taught], index=told.index), seed=training.seed)
        fit_presence(network.context, slices)
    save_network(network, path)
    write_table(place / "history.csv", history)
    write_json(path.with_suffix(".json"), record)
    (place / "checkpoint.safetensors").unlink()
    return path


def _fold_mark(cohort: pd.DataFrame) -> str:
    """Who is in which fold, as digits."""
    return "".join(cohort.loc[cohort["split"].eq("development"), "fold"].astype(str))


def _folds(cohort: pd.DataFrame) -> list[int]:
    return sorted(set(cohort["fold"]) - {-1})
