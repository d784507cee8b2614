"""The numbers of ``results.json``, from the tables that the notebooks wrote.

A number that cannot be computed is null, with the reason in ``notes``: a list of sentences passed from part to part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hepred_lib.scores import SCORES
from hepred_lib.segmentation import volume_agreement
from hepred_lib.stats.discrimination import auc, auc_interval, clustered_auc_interval
from hepred_lib.stats.evaluation import compare_models, evaluate, null_accuracy

MODELS = ("image", "clinical", "integrated")
MIN_TEST_EVENTS = 100


def count_patients(cohort: pd.DataFrame, excluded: pd.DataFrame) -> dict[str, int]:
    """Patients by split and outcome; rows without an outcome are counted as ``blood_free`` only."""
    known = cohort[cohort["he"].notna()]
    parts = {split: known.loc[known["split"] == split, "he"] for split in ("development", "test")}
    return {
        "patients": len(known),
        **{split: len(he) for split, he in parts.items()},
        **{f"he_{split}": int(he.sum()) for split, he in parts.items()},
        "excluded": len(excluded),
        "blood_free": len(cohort) - len(known),
    }


def detection(calls: pd.DataFrame, *, n_resamples: int, rng: np.random.Generator, notes: list[str]) -> dict[str, Any]:
    """AUC of the presence of blood by slice, interval by resampling patients; slices without a true call left out."""
    judged = calls[calls["blood"].notna()]
    found: dict[str, Any] = {"level": "slice", "auc": None, "auc_ci": None, "n_slices": len(judged)}
    if judged["blood"].nunique() < 2:
        notes.append(f"detection: slices with and without blood are needed, got {len(judged)} of one kind.")
        return found
    y, patients = judged["blood"].astype(int), judged["patient_id"].to_numpy()
    estimate = clustered_auc_interval(y, judged["presence"], patients, n_resamples=n_resamples, rng=rng)
    found["auc"] = estimate.auc
    if np.isfinite(estimate.standard_error):
        found["auc_ci"] = [estimate.low, estimate.high]
    else:
        notes.append("detection.auc_ci: the resampled AUCs do not vary.")
    return found


def segmentation(agreement: pd.DataFrame, *, notes: list[str]) -> dict[str, Any]:
    """Agreement of outlines over the patients who have blood (``segmentation.csv``)."""
    names = ("dice_median", "dice_iqr", "hd95_mm_median", "volume_bias_ml", "volume_loa_ml")
    bloody = agreement[agreement["reference_ml"] > 0]
    if bloody.empty:
        notes.append("segmentation: no reference outline with blood.")
        return dict.fromkeys(names)
    if np.isinf(bloody["hd95_mm"]).any():
        notes.append("segmentation.hd95_mm_median: patients of whom nothing was outlined count as infinitely far.")
    found = {
        "dice_median": float(bloody["dice"].median()),
        "dice_iqr": bloody["dice"].quantile([0.25, 0.75]).tolist(),
        "hd95_mm_median": float(bloody["hd95_mm"].median()),
        "volume_bias_ml": None,
        "volume_loa_ml": None,
    }
    if len(bloody) > 1:
        volumes = volume_agreement(bloody["reference_ml"], bloody["predicted_ml"])
        found |= {"volume_bias_ml": volumes.bias, "volume_loa_ml": [volumes.low, volumes.high]}
    return found


def evaluate_models(rows: pd.DataFrame, thresholds: Mapping[str, float], *, notes: list[str]) -> dict[str, Any]:
    """Every model on the same patients (``he``, ``p_<model>``), and the accuracy of calling nobody positive."""
    y = rows["he"].astype(int)
    found = {}
    for name, threshold in thresholds.items():
        found[name] = evaluate(y, rows[f"p_{name}"], threshold)
        notes += [f"models.{name}.{note}" for note in found[name].pop("notes")]
    if y.sum() < MIN_TEST_EVENTS:
        notes.append(f"calibration can hardly be assessed: {int(y.sum())} events, {MIN_TEST_EVENTS} are wanted.")
    return found | {"null": {"accuracy": null_accuracy(y)}}


def compare(rows: pd.DataFrame, models: list[str], *, notes: list[str]) -> list[dict[str, Any]]:
    """Paired DeLong tests between the models."""
    found = compare_models(rows["he"].astype(int), {name: rows[f"p_{name}"] for name in models})
    for pair in found:
        notes += [f"comparisons.{pair['a']}-{pair['b']}.{note}" for note in pair.pop("notes")]
    return found


def bedside_scores(rows: pd.DataFrame, *, notes: list[str]) -> dict[str, Any]:
    """AUC of the published bedside scores in the patients whose columns are complete."""
    found = {}
    for name, score in SCORES.items():
        values = score.function(rows)
        usable = values.notna()
        found[name] = {"auc": None, "auc_ci": None, "n": int(usable.sum())}
        y = rows.loc[usable, "he"].astype(int)
        if y.nunique() < 2:
            notes.append(f"scores.{name}: its columns are complete in {int(usable.sum())} patients of one outcome.")
            continue
        estimate = auc_interval(y, values[usable], method="logit")
        limits = [estimate.low, estimate.high] if np.isfinite(estimate.standard_error) else None
        found[name] |= {"auc": estimate.auc, "auc_ci": limits}
    return found


def oracle_auc(rows: pd.DataFrame, truth: pd.DataFrame | None, *, notes: list[str]) -> dict[str, float] | None:
    """AUC of the simulation's own probabilities in these patients; None where the truth is not known."""
    if truth is None:
        notes.append("oracle: the truth is known for simulated cohorts only.")
        return None
    known = rows[["patient_id", "he"]].merge(truth, on="patient_id", suffixes=("", "_truth"), validate="one_to_one")
    y = known["he"].astype(int)
    if y.nunique() < 2:
        notes.append("oracle: patients with and without expansion are needed.")
        return {f"{name}_auc": None for name in MODELS}
    return {f"{name}_auc": auc(y, known[f"p_{name}"]) for name in MODELS}
