"""The numbers of ``results.json``, from the tables that the notebooks wrote.

A number that cannot be computed is null, with the reason in ``notes``: a list of sentences passed from part to part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hepred_lib.scores import SCORES
from hepred_lib.segmentation import volume_agreement
from hepred_lib.stats.discrimination import auc, auc_interval, clustered_auc_interval
from hepred_lib.stats.evaluation import COMPARED, compare_models, evaluate, null_accuracy

MODELS = ("image", "clinical", "integrated")
MIN_TEST_EVENTS = 100


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
    """Every model on the patients who have its probability, and the accuracy of classifying all patients as negative.

    Parameters
    ----------
    rows : DataFrame
        Patients with an outcome: `he`, and `p_<model>`, missing where a patient lacks the model's input.
    thresholds : mapping of str to float
    notes : list of str
        Reasons for what is null are appended.

    Returns
    -------
    dict
        By model, what :func:`hepred_lib.stats.evaluation.evaluate` gives after `n` and `n_events`, or None where no
        patient has its input; and `null`. Empty where no outcome is known.
    """
    if rows.empty:
        notes.append("models: no outcomes.")
        return {}
    found: dict[str, Any] = {}
    for name, threshold in thresholds.items():
        judged = rows[rows[f"p_{name}"].notna()]
        if judged.empty:
            found[name] = None
            notes.append(f"models.{name}: no patient with an outcome has its input.")
            continue
        y = judged["he"].astype(int)
        found[name] = {"n": len(y), "n_events": int(y.sum())} | evaluate(y, judged[f"p_{name}"], threshold)
        notes += [f"models.{name}.{note}" for note in found[name].pop("notes")]
    fewest = min((model["n_events"] for model in found.values() if model), default=MIN_TEST_EVENTS)
    if fewest < MIN_TEST_EVENTS:
        notes.append(f"calibration can hardly be assessed: {fewest} events, {MIN_TEST_EVENTS} are wanted.")
    return found | {"null": {"accuracy": null_accuracy(rows["he"].astype(int))}}


def compare(rows: pd.DataFrame, models: Sequence[str], *, notes: list[str]) -> list[dict[str, Any]]:
    """Paired DeLong tests between the models, each on the patients who have both probabilities: `n`, `n_events`."""
    found = []
    for pair in COMPARED:
        columns = [f"p_{name}" for name in pair]
        if not set(pair) <= set(models):
            continue
        common = rows[rows[columns].notna().all(axis=1)]
        if common.empty:
            notes.append(f"comparisons.{'-'.join(pair)}: no patient has both probabilities.")
            continue
        y = common["he"].astype(int)
        (test,) = compare_models(y, {name: common[f"p_{name}"] for name in pair})
        notes += [f"comparisons.{'-'.join(pair)}.{note}" for note in test.pop("notes")]
        found.append(test | {"n": len(y), "n_events": int(y.sum())})
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
