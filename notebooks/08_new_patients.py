# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 New patients
#
# **Does the frozen study hold for patients it has never seen: another hospital, or one scan?**
#
# Reads a manifest and the frozen study (`cohort.csv` for its identifiers, `image_model.json`, `clinical_model.json`,
# `integrated_model.json`, `imputation.json`, `integrated_imputation.json`, `folds/<k>/network.safetensors`); writes
# `external.json`, `external/predictions.csv` and figures. Nothing is fitted, scaled, chosen or re-thresholded here.

# %%
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from hepred_lib import results
from hepred_lib.book import publish, show
from hepred_lib.deployment import load_frozen, predict_table
from hepred_lib.intake.check import fill_volumes
from hepred_lib.manifest import derive_labels, read_manifest
from hepred_lib.multitask.reading import outline_agreement, picture, read_with, slice_calls
from hepred_lib.progress import progress
from hepred_lib.study import open_notebook, read_json, write_json, write_table

# %% tags=["parameters"]
study = "demo"  # the frozen study: folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "cohorts/demo_site_b/manifest.csv"  # the new patients
out = ""  # folder for what is written; empty: external/ in the study's own, and external.json beside results.json
n_resamples = 200  # bootstrap resamples of the bands and of the detection interval
seed = 7  # of the resamples

# %%
run = open_notebook("08_new_patients", globals())
torch.set_num_threads(run.threads)
folder = Path(out) if out else run.folder / "external"
answer = folder / "external.json" if out else run.folder / "external.json"
rng, notes = np.random.default_rng(seed), []

# %% [markdown]
# ## The new patients
#
# Labels follow from the volumes by the study's own definition. No patient may be one of the study's.

# %%
frozen = load_frozen(run.folder)
definition = read_json(run.path("clinical_model.json"))["definition"]
table = derive_labels(fill_volumes(read_manifest(run.resolve(manifest))), definition=definition)
own = pd.read_csv(run.path("cohort.csv"), dtype={"patient_id": "string"})["patient_id"]
assert not set(table["patient_id"]) & set(own), "a new patient carries the identifier of one of the study's patients"
simulated = table["patient_id"].str.startswith("SIM-").all()
Markdown(
    f"{len(table)} patients, {int(table['baseline_ct'].notna().sum())} with a scan, {int(table['he'].notna().sum())} with an outcome."
)

# %% [markdown]
# ## Reading the scans

# %%
rows = table[table["baseline_ct"].notna()].to_dict("records") if frozen.reader else []
readings, agreement, calls, pictures = [], [], [], {}
for row in progress(rows, desc="read scans", unit="scan"):
    reading, reference = read_with(frozen.reader, row)
    readings.append(
        {
            "patient_id": row["patient_id"],
            "dl_score": reading.dl_score,
            "dl_score_spread": reading.dl_score_spread,
            "hematoma_detected": int(reading.prediction.detected),
            "predicted_volume_ml": reading.volume_ml,
            "flags": reading.flags,
        }
    )
    calls += [slice_calls(reading)] if reference is not None else []
    agreement += [outline_agreement(reading, reference)] if reference is not None else []
    pictures[row["patient_id"]] = picture(reading, reference)

# %% [markdown]
# ## Probabilities
#
# Null where an input is missing: without bedside values there is no clinical probability.

# %%
columns = ["patient_id", "dl_score", "dl_score_spread", "hematoma_detected", "predicted_volume_ml", "flags"]
read = pd.DataFrame(readings, columns=columns)
patients = table.drop(columns=["dl_score"]).merge(read, on="patient_id", how="left", validate="one_to_one")
bedside = patients.dropna(axis="columns", how="all")
patients = patients.join(predict_table(frozen, bedside))
shown = ["patient_id", "site", "he", *columns[1:], "p_image", "p_clinical", "p_integrated"]
write_table(folder / "predictions.csv", patients[shown])
patients[shown].describe().T

# %% [markdown]
# ## Outlines

# %%
segmentation_table = pd.DataFrame(agreement, columns=["patient_id", "dice", "hd95_mm", "reference_ml", "predicted_ml"])
segmentation = results.segmentation(segmentation_table, notes=notes) | {
    "per_patient": segmentation_table.to_dict("records")
}
found = pd.concat(calls) if calls else pd.DataFrame(columns=["patient_id", "presence", "blood"])
detection = results.detection(found, n_resamples=n_resamples, rng=rng, notes=notes)
clean = found[found["blood"].eq(0.0)]
false_alarms = float((clean["predicted_mm2"] >= 20.0).mean()) if len(clean) else np.nan
bloody = segmentation_table[segmentation_table["reference_ml"] > 0].sort_values("dice", ascending=False)
Markdown(
    f"Median Dice **{bloody['dice'].median():.3f}** (range {bloody['dice'].min():.2f}-{bloody['dice'].max():.2f}) in "
    f"{len(bloody)} patients; at least 20 mm2 of blood outlined on {false_alarms:.1%} of {len(clean)} blood-free slices."
    if len(bloody)
    else "No reference outlines: nothing to compare."
)

# %%
publish(folder, "segmentation", segmentation_table)

# %%
middle = len(bloody) // 2
ranked = bloody["patient_id"].tolist()
places = dict.fromkeys(ranked[-2:], "worst") | dict.fromkeys(ranked[max(middle - 1, 0) : middle + 1], "median")
places |= dict.fromkeys(ranked[:2], "best")
chosen = sorted(places, key=ranked.index)
dice_of = bloody.set_index("patient_id")["dice"]
outlines = {key: np.array([pictures[name][key] for name in chosen]) for key in ("hu", "reference", "predicted")} | {
    "titles": np.array([f"{places[name]}: {name}, Dice {dice_of[name]:.2f}" for name in chosen]),
    "pixel_mm": np.array(
        frozen.reader.options["field_mm"] / frozen.reader.options["matrix"] if frozen.reader else np.nan
    ),
    "window": np.array([40.0, 80.0]),
    "simulated": np.array(simulated),
}
show(folder, "outlines", outlines) if chosen else Markdown("No outlines to show.")

# %% [markdown]
# ## The models, where outcomes are known

# %%
known = patients[patients["he"].notna()].reset_index(drop=True)
thresholds = {
    name: value for name, value in frozen.thresholds.items() if len(known) and known[f"p_{name}"].notna().all()
}
notes += [
    f"models.{name}: the input of some patients is missing."
    for name in frozen.models
    if len(known) and name not in thresholds
]
notes += [] if len(known) else ["models: no outcomes."]
models = results.evaluate_models(known, thresholds, notes=notes) if thresholds else {}
judged = {name: models[name] for name in thresholds}
performance = results.performance_table(judged) if judged else None
publish(folder, "performance", performance) if judged else Markdown(
    "No outcomes, or no complete inputs: no model is judged."
)

# %%
both = known["he"].nunique() == 2
curves = results.roc_table(known, judged, n_resamples=n_resamples, rng=rng) if judged and both else None
show(folder, "roc", curves.assign(simulated=simulated)) if curves is not None else Markdown("No ROC curve.")

# %%
shapes = results.calibration_table(known, judged, n_resamples=n_resamples, rng=rng) if judged and both else None
show(folder, "calibration", shapes.assign(simulated=simulated)) if shapes is not None else Markdown(
    "No calibration curve."
)

# %% [markdown]
# ## Limits
#
# Another hospital differs in scanners, case mix and follow-up; a drop against the study's own test patients is the
# rule. Few events make every figure here uncertain: read the intervals.

# %%
content = {
    "study": study,
    "manifest": Path(manifest).name,
    "he_definition": definition,
    "auc_ci_method": "logit",
    "n": {
        "patients": len(known),
        "he": int(known["he"].sum()),
        "without_outcome": len(patients) - len(known),
        "with_scan": len(readings),
    },
    "detection": detection | {"false_alarm_slices": false_alarms},
    "segmentation": segmentation,
    "models": models,
    "comparisons": results.compare(known, list(judged), notes=notes) if judged else [],
    "scores": results.bedside_scores(known, notes=notes) if len(known) else {},
    "notes": notes,
}
write_json(answer, content)
run.record(manifest=Path(manifest).name, dice_median=segmentation["dice_median"])
