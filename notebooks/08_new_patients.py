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
# `external.json`, `external/predictions.csv` and figures. Nothing is fitted, scaled, chosen or re-thresholded here, and
# with a folder of its own (`out`) nothing is written into the study's.

# %%
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hepred_lib.study import drawing, summary, tables
from hepred_lib.study.deployment import (
    imputed_predictors,
    input_notes,
    load_frozen,
    new_patients,
    predict_cohort,
    read_scans,
)
from hepred_lib.study.drawing import Markdown, publish, show
from hepred_lib.study.files import read_json, write_json, write_table
from hepred_lib.study.run import open_notebook, versions

# %% tags=["parameters"]
study = "demo"  # the frozen study: folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "cohorts/demo_site_b/manifest.csv"  # the new patients
out = ""  # folder for what is written; empty: external/ in the study's own, and external.json beside results.json
n_resamples = 200  # bootstrap resamples of the bands and of the detection interval
seed = 7  # of the resamples

# %%
source = open_notebook("08_new_patients", globals())  # the frozen study: it is only read
run = replace(source, folder=Path(out)) if out else source
folder = run.folder if out else run.folder / "external"
torch.set_num_threads(run.threads)
rng, notes = np.random.default_rng(seed), []

# %% [markdown]
# ## The new patients
#
# Outcomes follow from the volumes by the study's own definition. No patient may be one of the study's. Hemorrhages whose
# follow-up is missing, and rows without a hemorrhage, are predicted but not judged.

# %%
frozen = load_frozen(source.folder)
table = new_patients(frozen, run.resolve(manifest))
simulated = table["patient_id"].str.startswith("SIM-").all()
n = {"patients": int(table["he"].count()), "he": int(table["he"].sum()), **summary.count_missing(table)}
n |= {"with_scan": int(table["baseline_ct"].count())}
pd.DataFrame([n])

# %% [markdown]
# ## Reading the scans
#
# The frozen networks read each scan. A scan that cannot be read as a head gives no score, and no probability of a model
# that needs one; the other patients are not affected.

# %%
readings = read_scans(frozen, table)

# %% [markdown]
# ## Probabilities
#
# Every patient is listed. A probability is null where the patient lacks the model's input: a score for the image and
# the integrated model, any bedside value for the clinical and the integrated model; `reason` says which. Where the
# study's score comes from the manifest (`image_source: column`), the new patients' own score is standardized by the
# constants that the study stored.

# %%
patients = predict_cohort(frozen, table, readings)
columns = ["patient_id", "site", "he", "has_hemorrhage", "dl_score", "dl_score_spread", "hematoma_detected"]
columns += ["predicted_volume_ml", "flags", *(f"p_{name}" for name in summary.MODELS), "reason"]
write_table(folder / "predictions.csv", patients[columns])
patients[columns].describe().T

# %% [markdown]
# A missing predictor is imputed by the frozen models, from the patient's other values. One that this hospital never
# measured (`measured` is False) is imputed in everybody: what the model then says rests on its other predictors alone,
# and its performance here is not that of the model as it was developed.

# %%
notes += input_notes(frozen, patients)
publish(folder, "imputed", imputed_predictors(frozen, patients))

# %% [markdown]
# ## Segmentation

# %%
segmentation_table, calls = readings.agreement, readings.slices
segmentation = summary.segmentation(segmentation_table, notes=notes) | {
    "per_patient": segmentation_table.to_dict("records")
}
detection = summary.detection(calls, n_resamples=n_resamples, rng=rng, notes=notes)
clean = calls[calls["blood"].eq(0.0)]
false_alarms = float((clean["predicted_mm2"] >= 20.0).mean()) if len(clean) else np.nan
bloody = segmentation_table[segmentation_table["reference_ml"] > 0].sort_values("dice", ascending=False)
Markdown(
    f"Median Dice **{bloody['dice'].median():.3f}** (range {bloody['dice'].min():.2f}-{bloody['dice'].max():.2f}) in "
    f"{len(bloody)} patients; at least 20 mm2 of blood segmented on {false_alarms:.1%} of {len(clean)} blood-free slices."
    if len(bloody)
    else "No reference segmentations: nothing to compare."
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
pictures = readings.pictures
outlines = {key: np.array([pictures[name][key] for name in chosen]) for key in ("hu", "reference", "predicted")} | {
    "titles": np.array([f"{places[name]}, Dice {dice_of[name]:.2f}" for name in chosen]),
    "pixel_mm": np.array(
        frozen.reader.options["field_mm"] / frozen.reader.options["matrix"] if frozen.reader else np.nan
    ),
    "window": np.array([40.0, 80.0]),
    "simulated": np.array(simulated),
}
show(folder, "outlines", outlines) if chosen else Markdown("No segmentations to show.")

# %% [markdown]
# ## The models, where outcomes are known
#
# Each model is judged on the patients who have its input, so that `n` may differ between models; two models are
# compared on the patients who have the input of both. Thresholds are the study's own.

# %%
known = patients[patients["he"].notna()].reset_index(drop=True)
models = summary.evaluate_models(known, frozen.thresholds, notes=notes)
judged = {name: models[name] for name in frozen.models if models.get(name)}
publish(folder, "performance", tables.performance_table(judged))

# %%
curves = drawing.roc_table(known, judged, n_resamples=n_resamples, rng=rng)
show(folder, "roc", curves.assign(simulated=simulated)) if len(curves) else Markdown("No ROC curve.")

# %%
shapes = drawing.calibration_table(known, judged, n_resamples=n_resamples, rng=rng)
show(folder, "calibration", shapes.assign(simulated=simulated)) if len(shapes) else Markdown("No calibration curve.")

# %%
comparisons = summary.compare(known, list(judged), notes=notes)
tables.save_table(folder, "comparisons", tables.comparison_table(comparisons))

# %% [markdown]
# ## What to know about these figures
#
# Every figure that is null, every model without a probability for some patients, and every imputed predictor.

# %%
scores = summary.bedside_scores(known, notes=notes) if len(known) else {}
Markdown("\n".join(f"- {note}" for note in notes))

# %% [markdown]
# ## Limits
#
# Another hospital differs in scanners, case mix and follow-up; a drop against the study's own test patients is the
# rule. Few events make every figure here uncertain: read the intervals.

# %%
content = {
    "schema": 2,
    "version": versions()["hepred"],
    "study": study,
    "manifest": Path(manifest).name,
    "he_definition": read_json(source.path("clinical_model.json"))["definition"],
    "auc_ci_method": "logit",
    "n": n,
    "detection": detection | {"false_alarm_slices": false_alarms},
    "segmentation": segmentation,
    "models": models,
    "comparisons": comparisons,
    "scores": scores,
    "notes": notes,
}
write_json(run.path("external.json"), content)
run.record(manifest=Path(manifest).name, dice_median=segmentation["dice_median"])
