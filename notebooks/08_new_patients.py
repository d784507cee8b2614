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
# `external.json`, `external/predictions.csv` and figures. The frozen models are not refitted, rescaled or given other
# thresholds; with a folder of its own (`out`) nothing is written into the study's.

# %% [markdown]
# A model is only as good as it is elsewhere. Another hospital differs in scanners, in who is referred, in what is measured
# and in when the second scan is made, and a model meets all of these at once. This chapter applies the study as it is, so
# that a drop in performance is seen and not repaired. What repairing it with local outcomes would do is shown after that,
# beside the frozen model: an updated model is another model.

# %%
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hepred_lib.stats.operating_point import likelihood_ratios
from hepred_lib.study import drawing, summary, tables
from hepred_lib.study.deployment import (
    imputed_predictors,
    input_notes,
    load_frozen,
    local_updates,
    new_patients,
    predict_cohort,
    read_scans,
    write_updates,
)
from hepred_lib.study.drawing import Markdown, publish, show
from hepred_lib.study.files import read_json, read_results, read_table, write_json, write_table
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
update = False  # write the updated models, too (hepred external --update)
seed = 7  # of the resamples and of the folds of the update

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
simulated = run.simulated(table["patient_id"])
assert table["patient_id"].is_unique, "every new patient must have one row"

# %% [markdown]
# How many can be judged. With few events every figure below is uncertain; how many patients would be needed is worked out
# further down.

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
# integrated model, any value of the selected predictors for the clinical and the integrated model; `reason` says which.
# Where the study's score comes from the manifest (`image_source: column`), the new patients' own score is standardized by
# the constants that the study stored. A mean score far from 0, or an SD far from 1, says that scans or patients differ from
# those of the study before any outcome is known.

# %%
patients = predict_cohort(frozen, table, readings)
columns = ["patient_id", "site", "he", "has_hemorrhage", "dl_score", "dl_score_spread", "hematoma_detected"]
columns += ["predicted_volume_ml", "predicted_ivh_ml", "flags", *(f"p_{name}" for name in summary.MODELS), "reason"]
assert len(patients) == len(table), "every new patient must be listed"
write_table(folder / "predictions.csv", patients[columns])
patients[columns].describe().T.round(2)

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
publish(folder, "segmentation", agreement).round(2)

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
examples = drawing.outline_examples(readings.pictures, agreement)
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
# ### Does it hold here?
#
# The answer in one sentence, for the last of the models; in the table for all: how many patients expanded against how many
# were predicted to, the AUC in the study's own patients and here with intervals, and what the update that the closed test
# chooses (see below) would do. An update ranks patients as the frozen model does; its cross-validated AUC in the table may
# be lower, since it compares probabilities of several updates.

# %%
own = read_results(source.path("results.json"))["models"] if source.path("results.json").is_file() else {}
updating = local_updates(known, judged, notes=notes, seed=seed)
transport = tables.transport_table(own, judged, updating)
Markdown(tables.transport_words(transport))

# %%
tables.save_table(folder, "transport", transport)

# %% [markdown]
# The same as a figure. Intervals that overlap widely say that these patients cannot tell whether the model holds, not that
# it does.

# %%
show(folder, "transport", transport.assign(simulated=simulated))

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

# %% [markdown]
# What the intervals allow to say of each model, in the terms of notebook 07.

# %%
tables.save_table(folder, "calibration_figures", tables.calibration_figures(judged))

# %% [markdown]
# Likelihood ratios of the frozen calls, with Koopman's intervals (notebook 07 explains them).

# %%
cells = {name: {count: found[count] for count in ("tp", "fp", "fn", "tn")} for name, found in judged.items()}
ratios = pd.DataFrame({name: likelihood_ratios(**counts) for name, counts in cells.items()}).T
tables.save_table(folder, "likelihood_ratios", ratios.rename_axis("model").reset_index())

# %% [markdown]
# Net benefit in the patients who have the input of every model. A model that is miscalibrated here loses most of its
# benefit at thresholds far from the frequency of expansion, where updating gains most.

# %%
common = known.dropna(subset=[f"p_{name}" for name in judged])
benefit = drawing.decision_table(common, judged)
show(folder, "decision_curve", benefit.assign(simulated=simulated))

# %% [markdown]
# Subgroups of the last of the models, as in notebook 07.

# %%
development = read_table(source.path("cohort.csv")).query("split == 'development' and he.notna()")
used = {name: frozen.models[name].logistic.path for name in judged}
everyone = "All patients of this site" if table["site"].nunique() < 2 else "All new patients"
subgroups = summary.subgroups_of_last(known, development, used, everyone=everyone)
tables.save_table(folder, "subgroups", subgroups.drop(columns="model"))
show(folder, "subgroups", subgroups.assign(simulated=simulated))

# %% [markdown]
# Two models are compared on the patients who have the input of both (paired DeLong tests).

# %%
comparisons = summary.compare(known, list(judged), notes=notes, data="external")
tables.save_table(folder, "comparisons", tables.comparison_table(comparisons))

# %% [markdown]
# ## Would an update help?
#
# Three versions of each model, from no change to the largest: *frozen*; *intercept*, which moves the level of all
# predictions; *intercept and slope*, which also stretches or shrinks them. The closed test chooses the smallest change that
# is not significantly worse than the largest (Vergouwe et al. 2017), so that with few events the frozen model usually stands,
# even where it is wrong. `intercept` and the slope of the line turn frozen log odds into updated ones. Discrimination is
# not changed by a line.
#
# The updated rows are cross-validated here: each patient's probability comes from an update fitted on the others. They say
# what the updated model would achieve in further patients of *this* hospital, and nothing about a third one.

# %%
tables.save_table(folder, "updating", tables.updating_table(judged, updating))

# %% [markdown]
# With `hepred external --update` the updated models are written as files of their own, with the frozen model inside;
# `hepred predict --updated` uses them.

# %%
written = write_updates(frozen, updating, folder / "updated") if update else []
pd.DataFrame({"updated model": written})

# %% [markdown]
# ## How many patients would be needed?
#
# Riley's criteria for an external evaluation: patients at which the 95 % intervals of observed over expected, of the
# calibration slope and of the standardized net benefit at the frozen threshold are 0.2 wide, and that of the AUC 0.1, if
# the model is calibrated here (Riley et al. 2021). The slope usually asks for most; where these patients resemble one
# another, their log odds vary little, and it asks for thousands.

# %%
sizes = {name: summary.needed_here(known, name, found) for name, found in judged.items()}
tables.save_table(folder, "needed_patients", pd.DataFrame(sizes).T.rename_axis("model").reset_index())

# %% [markdown]
# ## Published bedside scores
#
# In the patients whose columns are complete; they too were made elsewhere, and are the fair comparison. Blend sign and
# hypodensity, where no reader gave them, are measured in the reference segmentation, and in the predicted one where there
# is none.

# %%
seen = known[["blend_seen", "hypodensity_seen"]].set_axis(["blend_sign", "any_hypodensity"], axis=1)
scores = summary.bedside_scores(known.fillna(seen), notes=notes)
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
    "image_source": frozen.image_source,
    "manifest": Path(manifest).name,
    "he_definition": read_json(source.path("clinical_model.json"))["definition"],
    "auc_ci_method": "logit",
    "n": n,
    "detection": detection,
    "segmentation": segmentation,
    "models": models,
    "updating": updating,
    "comparisons": comparisons,
    "scores": scores,
    "notes": notes,
}
write_json(run.path("external.json"), content)
_ = run.record(manifest=Path(manifest).name, dice_median=segmentation["dice_median"])
