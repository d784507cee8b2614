"""The numbers of ``results.json``, from the tables that the notebooks wrote.

A number that cannot be computed is null, with the reason in ``notes``: a list of sentences passed from part to part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hepred_lib.manifest import predictor_label, predictor_unit
from hepred_lib.scores import SCORES
from hepred_lib.segmentation import volume_agreement
from hepred_lib.stats.calibration import calibration_curve
from hepred_lib.stats.decision import decision_curve
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.discrimination import auc, auc_interval, clustered_auc_interval, roc_band
from hepred_lib.stats.evaluation import compare_models, evaluate, null_accuracy
from hepred_lib.stats.operating_point import confusion

MODELS = ("image", "clinical", "integrated")
MIN_TEST_EVENTS = 100
GRID = np.linspace(0.0, 1.0, 101)


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


def roc_table(
    rows: pd.DataFrame, models: Mapping[str, Any], *, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """What the ROC figure draws: a curve with its band and the operating point for each model."""
    y, parts = rows["he"].astype(int), []
    for name, found in models.items():
        p = rows[f"p_{name}"]
        curve = roc_band(y, p, GRID, n_resamples=n_resamples, rng=rng)
        point = confusion(y, p, found["threshold"])
        label = f"{name.capitalize()}: AUC {_with_interval(found['auc'], found['auc_ci'])}"
        operating = {"operating_fpr": 1.0 - point.specificity, "operating_sensitivity": point.sensitivity}
        parts.append(_labelled(curve, name, label, y).assign(**operating))
    return pd.concat(parts, ignore_index=True)


def calibration_table(
    rows: pd.DataFrame, models: Mapping[str, Any], *, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """What the calibration figure draws: a smooth curve with its band, and the patients' probabilities."""
    y, parts = rows["he"].astype(int), []
    for name, found in models.items():
        p = rows[f"p_{name}"]
        curve = calibration_curve(y, p, GRID, n_resamples=n_resamples, rng=rng).rename(columns={"grid": "p"})
        slope = _with_interval(found["calibration_slope"], found["calibration_slope_ci"])
        large, ici = _two_digits(found["calibration_in_the_large"]), _two_digits(found["ici"])
        label = f"{name.capitalize()}\nslope {slope}\nin the large {large}, ICI {ici}"
        patients = pd.DataFrame({"p": p.to_numpy(), "y": y.to_numpy(), "kind": "patient"})
        both = pd.concat([curve.assign(kind="curve"), patients], ignore_index=True)
        parts.append(_labelled(both, name, label, y))
    return pd.concat(parts, ignore_index=True)


def decision_table(
    rows: pd.DataFrame, models: Mapping[str, Any], *, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """What the decision-curve figure draws: net benefit of the models, of treating all and of treating none."""
    y = rows["he"].astype(int)
    thresholds = np.arange(0.01, 0.51, 0.01)
    predictions = {name: rows[f"p_{name}"] for name in models}
    curves = decision_curve(y, predictions, thresholds, n_resamples=n_resamples, rng=rng)
    curves["model"] = curves["model"].replace({"all": "treat_all", "none": "treat_none"})
    labels = {"treat_all": "Treat all", "treat_none": "Treat none"} | {name: name.capitalize() for name in models}
    return curves.assign(label=curves["model"].map(labels), n=len(y), events=int(y.sum()))


def oracle_table(rows: pd.DataFrame, models: Mapping[str, Any], oracle: Mapping[str, float]) -> pd.DataFrame:
    """What the oracle figure draws: each model's AUC and interval beside the best possible one."""
    y, records = rows["he"].astype(int), []
    for name, found in models.items():
        low, high = found["auc_ci"] or (np.nan, np.nan)
        auc_words = _with_interval(found["auc"], found["auc_ci"])
        label = f"{name.capitalize()}: AUC {auc_words}, oracle {_two_digits(oracle[f'{name}_auc'])}"
        record = {"auc": found["auc"], "low": low, "high": high, "oracle": oracle[f"{name}_auc"]}
        records.append(record | {"model": name, "label": label, "n": len(y), "events": int(y.sum())})
    return pd.DataFrame(records)


def odds_ratio_table(model: DevelopedModel, name: str) -> pd.DataFrame:
    """Odds ratios per unit of the unshrunk model with Wald intervals, one row a coefficient."""
    half = 1.959963984540054 * model.standard_errors
    middle = model.unshrunk_coefficients
    columns = {"odds_ratio": np.exp(middle), "low": np.exp(middle - half), "high": np.exp(middle + half)}
    words = {"label": map(predictor_label, model.names), "unit": map(predictor_unit, model.names)}
    return pd.DataFrame({"model": name, "name": model.names, **words, **columns})


def performance_table(models: Mapping[str, Any]) -> pd.DataFrame:
    """The models' table as a paper prints it: estimates with 95 % intervals, rates in per cent."""
    rates = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
    records = []
    for name, found in models.items():
        cells = {rate: _with_interval(found[rate], found[f"{rate}_ci"], scale=100.0, digits=1) for rate in rates}
        slope = _with_interval(found["calibration_slope"], found["calibration_slope_ci"])
        auc_cell = _with_interval(found["auc"], found["auc_ci"])
        records.append({"model": name, **cells, "auc": auc_cell, "calibration_slope": slope})
    return pd.DataFrame(records)


def _labelled(table: pd.DataFrame, name: str, label: str, y: pd.Series) -> pd.DataFrame:
    return table.assign(model=name, label=label, n=len(y), events=int(y.sum()))


def _with_interval(value: float | None, interval: list[float] | None, *, scale: float = 1.0, digits: int = 2) -> str:
    if value is None:
        return "not estimable"
    limits = f" ({'-'.join(f'{scale * limit:.{digits}f}' for limit in interval)})" if interval else ""
    return f"{scale * value:.{digits}f}{limits}"


def _two_digits(value: float | None) -> str:
    return "not estimable" if value is None else f"{value:.2f}"
