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

# %% [markdown]
# A model is only as good as it is elsewhere. Another hospital differs in scanners, in who is referred, in what is measured
# and in when the second scan is made, and a model meets all of these at once. This chapter applies the study as it is, so
# that a drop in performance is seen and not repaired. Repairing it (updating the intercept or the slope with local data) is
# a separate step, and its result would be another model.

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
from hepred_lib.study.drawing import publish, show
from hepred_lib.study.files import read_json, write_json, write_table
from hepred_lib.study.run import open_notebook, versions

# %% [markdown]
# ## Parameters
#
# The manifest of the new patients must have the columns of the study's own (`hepred check --rules` lists them); any of
# them may be empty.

# %% tags=["parameters"]
study = "demo"  # the frozen study: folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "cohorts/demo_site_b/manifest.csv"  # the new patients
out = ""  # folder for what is written; empty: external/ in the study's own, and external.json beside results.json
device = "auto"  # where the networks read: auto, cpu, cuda, cuda:1 or mps
n_resamples = 200  # bootstrap resamples of the bands and of the detection interval
seed = 7  # of the resamples

# %% [markdown]
# `source` is the frozen study and is only read; `run` and `folder` are where this chapter writes. `notes` collects every
# reason for a missing or doubtful number.

# %%
source = open_notebook("08_new_patients", globals())
run = replace(source, folder=Path(out or source.folder))
folder = Path(out or source.folder / "external")
torch.set_num_threads(run.threads)
rng, notes = np.random.default_rng(seed), []

# %% [markdown]
# ## The new patients
#
# Outcomes follow from the volumes by the study's own definition. Hemorrhages whose follow-up is missing, and rows without a
# hemorrhage, are predicted but not judged. A patient of the study itself is refused: patients in
# whom a model was developed cannot test it.

# %%
frozen = load_frozen(source.folder, device=device)
table = new_patients(frozen, run.resolve(manifest))
simulated = bool(table["patient_id"].str.startswith("SIM-").all())
assert table["patient_id"].is_unique, "every new patient must have one row"

# %% [markdown]
# How many can be judged. With few events every figure below is uncertain: about 100 events and 100 patients without are
# wanted for an external validation.

# %%
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
# Every patient is listed. A probability is null where the patient lacks the model's input: a score for the image and the
# integrated model, any bedside value for the clinical and the integrated model; `reason` says which. Where the study's
# score comes from the manifest (`image_source: column`), the new patients' own score is standardized by the constants that
# the study stored. A mean score far from 0, or an SD far from 1, says that scans or patients differ from those of the study
# before any outcome is known.

# %%
patients = predict_cohort(frozen, table, readings)
columns = ["patient_id", "site", "he", "has_hemorrhage", "dl_score", "dl_score_spread", "hematoma_detected"]
columns += ["predicted_volume_ml", "predicted_ivh_ml", "flags", *(f"p_{name}" for name in summary.MODELS), "reason"]
assert len(patients) == len(table), "every new patient must be listed"
write_table(folder / "predictions.csv", patients[columns])
patients[columns].describe().T

# %% [markdown]
# A missing predictor is imputed by the frozen models from the patient's other values. One that this hospital never measured
# (`measured` is False) is imputed in every patient: the model then rests on its other predictors alone, and its performance
# here is not that of the model as it was developed.

# %%
notes += input_notes(frozen, patients)
publish(folder, "imputed", imputed_predictors(frozen, patients))

# %% [markdown]
# ## Segmentation and detection
#
# Where there are reference masks: Dice, distance and volumes per patient. A segmentation that fails elsewhere makes the
# score of that patient doubtful, however high the AUC is. The table has no row where no mask was given.

# %%
agreement = readings.agreement
segmentation = summary.segmentation(agreement, notes=notes) | {"per_patient": agreement.to_dict("records")}
publish(folder, "segmentation", agreement)

# %% [markdown]
# The presence of blood by slice, and false alarms: the share of blood-free slices with at least 20 mm² of segmented blood.

# %%
detection = summary.detection(readings.slices, n_resamples=n_resamples, rng=rng, notes=notes)
clean = readings.slices.loc[readings.slices["blood"].eq(0.0), "predicted_mm2"]
detection["false_alarm_slices"] = float((clean >= 20.0).mean())
pd.Series({**detection, **segmentation}, name="value").drop("per_patient").to_frame()

# %% [markdown]
# The two best, median and worst patients by Dice, in the slice with the most blood. Look at the worst ones first: a
# hemorrhage that was missed altogether has another cause than an outline that is a little too small.

# %%
pixel_mm = frozen.reader.options["field_mm"] / frozen.reader.options["matrix"] if frozen.reader else np.nan
examples = drawing.outline_examples(readings.pictures, agreement, pixel_mm=pixel_mm)
show(folder, "outlines", examples | {"simulated": np.array(simulated)})

# %% [markdown]
# ## Performance, where outcomes are known
#
# Each model is judged on the patients who have its input, so that `n` may differ between models. Thresholds are the study's
# own. If sensitivity and specificity have moved in opposite directions while the AUC is unchanged, the level of the
# predictions does not fit here; if the AUC has dropped, the ranking itself does not travel, or these patients are more alike
# than those of the study and harder to rank.

# %%
known = patients[patients["he"].notna()].reset_index(drop=True)
models = summary.evaluate_models(known, frozen.thresholds, notes=notes)
judged = {name: models[name] for name in frozen.models if models.get(name)}
tables.save_table(folder, "performance", tables.performance_table(judged))

# %% [markdown]
# Discrimination.

# %%
curves = drawing.roc_table(known, judged, n_resamples=n_resamples, rng=rng)
show(folder, "roc", curves.assign(simulated=simulated))

# %% [markdown]
# Calibration, which is where models usually fail first. A curve that runs parallel to the diagonal points to another
# frequency of expansion; one that crosses it, to a slope that has changed.

# %%
shapes = drawing.calibration_table(known, judged, n_resamples=n_resamples, rng=rng)
show(folder, "calibration", shapes.assign(simulated=simulated))

# %%
tables.save_table(folder, "calibration_figures", tables.calibration_figures(judged))

# %% [markdown]
# Two models are compared on the patients who have the input of both (paired DeLong tests).

# %%
comparisons = summary.compare(known, list(judged), notes=notes)
tables.save_table(folder, "comparisons", tables.comparison_table(comparisons))

# %% [markdown]
# ## Published bedside scores
#
# In the patients whose columns are complete; they too were made elsewhere, and are the fair comparison.

# %%
scores = summary.bedside_scores(known, notes=notes)
tables.save_table(folder, "bedside_scores", tables.bedside_table(scores))

# %% [markdown]
# ## Notes
#
# Every figure that is null, every model without a probability for some patients, and every imputed predictor.

# %%
pd.DataFrame({"note": notes})

# %% [markdown]
# ## Limits
#
# A drop against the study's own test patients is the rule. Few events make every figure here uncertain: read the intervals.
# One other hospital is one sample of hospitals; that the models hold here does not say that they hold everywhere, and that
# they fail here does not say why.

# %%
content = {
    "schema": 2,
    "version": versions()["hepred"],
    "study": study,
    "manifest": Path(manifest).name,
    "he_definition": read_json(source.path("clinical_model.json"))["definition"],
    "auc_ci_method": "logit",
    "n": n,
    "detection": detection,
    "segmentation": segmentation,
    "models": models,
    "comparisons": comparisons,
    "scores": scores,
    "notes": notes,
}
write_json(run.path("external.json"), content)
_ = run.record(manifest=Path(manifest).name, dice_median=segmentation["dice_median"])
