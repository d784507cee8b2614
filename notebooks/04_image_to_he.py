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
# # 04 Image-to-HE
#
# **From slice features to one normalized DL score per patient: how well does the image alone predict expansion?**
#
# The networks of notebook 03 give raw logits, each network on a scale of its own. This page makes one score of them, turns
# the score into a probability, and evaluates what the networks segment and detect. The question whether the score adds
# anything to the bedside variables comes later (notebook 06); final performance is assessed in the test set (notebook 07).
#
# Reads `cohort.csv`, the folds' networks, predictions and learning curves, `records/01_cohort.json`,
# `records/02_preprocessing.json`, and the scans of test patients; writes `image.csv`, `image_model.json`,
# `segmentation.csv` and `detection.csv` of the test patients, the slices of a few cases in `cases/`, tables and
# figures.

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy.stats import mannwhitneyu

from hepred_lib.cohort.manifest import read_manifest
from hepred_lib.imaging.segmentation import agreement_by_group, bland_altman_table, volume_thirds
from hepred_lib.multitask.device import pick_device
from hepred_lib.multitask.explanation import confident_calls, explained_pictures
from hepred_lib.multitask.prediction import (
    load_reader,
    normalized_scores,
    raw_scores,
    read_cohort,
    read_with,
    score_scales,
)
from hepred_lib.multitask.readout import ablation_scores, ablation_table
from hepred_lib.multitask.training import read_histories
from hepred_lib.stats.development import DevelopmentSettings, cross_fit, develop
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.operating_point import choose_threshold, threshold_interval
from hepred_lib.study.cases import keep_cases
from hepred_lib.study.drawing import outline_examples, publish, show
from hepred_lib.study.files import read_json, read_table, write_json, write_table
from hepred_lib.study.run import open_notebook, versions
from hepred_lib.study.tables import units, with_interval

# %% [markdown]
# ## Parameters
#
# `image_source` decides where the score comes from: from the networks of notebook 03 (`scans`), or from a column of the
# manifest that was made elsewhere (`column`). In the second case no network reads a scan, and the sections on learning,
# segmentation and explanation show empty tables and figures.

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # names the scans
truth = "cohorts/demo/truth.csv"  # only to label simulated figures; empty where it is not known
image_source = "scans"  # scans, or column: take external_score from the manifest
folds = 3  # networks of notebook 03, where the score is theirs
device = "auto"  # where the networks read: auto, cpu, cuda, cuda:1 or mps
threshold_rule = "youden"  # of the call: youden, "sensitivity 0.80" (the highest that reaches it), or a probability
n_resamples = 50  # bootstrap resamples for shrinkage and optimism
cases = 30  # kept for the website: a third of low Dice, a third wrong calls, a third typical; 0 keeps none
seed = 7  # of the resamples

# %% [markdown]
# Scans are read with the preprocessing that the networks were trained with: its parameters come from the record of
# notebook 02, not from this page, so that the two cannot differ.

# %%
run = open_notebook("04_image_to_he", globals())
torch.set_num_threads(run.threads)
networks, options = [], {}
if image_source == "scans":
    prepared = read_json(run.path("records", "02_preprocessing.json"))["parameters"]
    networks, options = list(range(folds)), {name: prepared[name] for name in ("matrix", "field_mm", "thickness_mm")}

# %% [markdown]
# ## One scale for all networks
#
# Logits of two networks cannot be compared: one may be larger throughout. Each network is standardized by the mean and
# the standard deviation (SD) of its own *held-out* fold. Patients it was trained on would give a wider scale than new
# patients have. Labels play no part; the mean and SD are the only quantities taken from held-out patients.

# %%
cohort = read_table(run.path("cohort.csv"))
simulated = run.simulated(cohort["patient_id"])
raw = raw_scores(run.folder, cohort, networks)
hemorrhages = cohort.loc[cohort["he"].notna(), "patient_id"]
assert set(hemorrhages) <= set(raw["patient_id"]), "every patient with an outcome must have a raw score"
scales = score_scales(raw[raw["patient_id"].isin(hemorrhages)])
scales.round(2)

# %% [markdown]
# Read the table by rows: one per network. Standard deviations that differ by a factor of two or more mean that the networks
# have learned differently confident scores, which the standardization corrects. A score from elsewhere has one row.

# %% [markdown]
# ## One score per patient
#
# A development patient keeps the score of the one network that has not seen them. A test patient gets the mean over all
# networks, as any new patient will.

# %%
scores = normalized_scores(raw, scales)
image = cohort[["patient_id", "split", "fold", "he"]].merge(scores, left_on="patient_id", right_index=True)
assert len(image) == len(cohort), "every patient of the cohort must have a score"
assert image["dl_score"].notna().all(), "no score may be missing"

# %% [markdown]
# The table describes the score by set, in patients with an outcome: its SD, the mean SD between the networks within a
# patient, and the scans in which a hematoma was detected (elsewhere the score rests on the slices that come closest).
#
# In development patients the SD is about 1 by construction. In test patients it is usually smaller, because a mean of
# networks varies less than one network. A probability that was fitted on the wider score is then somewhat too cautious;
# the ratio is stored with the model. A spread between networks that is as large as the SD between patients means that
# the score mostly reflects on which patients each network was trained.

# %%
described = {
    "patients": ("dl_score", "size"), "sd": ("dl_score", "std"), "between_networks": ("dl_score_spread", "mean"),
    "detected": ("hematoma_detected", "sum"),
}  # fmt: skip
spread = image[image["he"].notna()].groupby("split").agg(**described)
spread.round(2)

# %% [markdown]
# ## From the score to a probability
#
# Logistic regression of HE on the out-of-fold score of development patients, with one coefficient. It is shrunk by the
# bootstrap, since even one coefficient is estimated too large on average. The threshold that separates positive from
# negative is chosen by `threshold_rule` on cross-fitted probabilities of development patients and then frozen. Youden's
# rule (sensitivity plus specificity is largest) weighs a missed expansion like a false alarm, which is a convention and no
# clinical choice.

# %%
known = image["he"].notna()
fitted = image[known & (image["split"] == "development")]
y, x = fitted["he"].astype(int), fitted[["dl_score"]]
settings = DevelopmentSettings(candidates=(), added=("dl_score",), n_imputations=1, n_resamples=n_resamples, seed=seed)
model = develop(x, y, settings)
p_cross = cross_fit(x, y, fitted["fold"], settings)

# %% [markdown]
# How far the threshold moves over 200 resamples of these probabilities (95 %). A Youden threshold is the place of a maximum,
# which jumps from sample to sample; a wide interval says that another study would have frozen another one.

# %%
threshold = choose_threshold(y, p_cross, threshold_rule)
moved = threshold_interval(y, p_cross, threshold_rule, n_resamples=200, rng=np.random.default_rng(seed))
pd.DataFrame([{"rule": threshold_rule, "threshold": threshold, "low": moved[0], "high": moved[1]}]).round(3)

# %% [markdown]
# Two probabilities are kept. `p_image_apparent` is the final model's own; it is what test and new patients get.
# `p_image` of a development patient is cross-fitted: predicted by a regression that was fitted without the patient's fold.

# %%
image["p_image"] = image["p_image_apparent"] = model.predict(image[["dl_score"]])
image.loc[fitted.index, "p_image"] = p_cross
assert image["p_image"].between(0, 1).all(), "probabilities must lie between 0 and 1"

# %% [markdown]
# How well does the score discriminate in development patients? The interval is DeLong's on the logit scale.

# %%
out_of_fold = auc_interval(y, fitted["dl_score"], method="logit")
area = with_interval(out_of_fold.auc, [out_of_fold.low, out_of_fold.high])
Markdown(f"Out-of-fold AUC of the score in {len(fitted)} development patients, with 95 % interval: **{area}**.")

# %% [markdown]
# This AUC compares scores of different networks with each other, so that it also suffers from what the standardization left
# of their differences. Its interval treats the scores as given and leaves out that other training runs would give other
# networks. Where the model could not be estimated as usual, the reasons are listed here; no row means no reason.

# %%
pd.DataFrame({"note": list(model.notes)})

# %% [markdown]
# ### The score by outcome
#
# One point per patient, over a box with the quartiles. The farther the boxes are apart, the better the score
# discriminates; points of the wrong kind far inside the other box are the confident errors, and worth a look at their
# scans. The p value (Mann-Whitney) tests whether the score discriminates at all, not how well, nor whether a simpler
# measure such as the volume would do the same. Among the patients in whom the score was trained it is too small
# (notebook 06).

# %%
by_outcome = {
    split: [rows.loc[rows["he"] == he, "dl_score"] for he in (1, 0)] for split, rows in image[known].groupby("split")
}
p_values = image["split"].map({split: mannwhitneyu(*pair).pvalue for split, pair in by_outcome.items()})
show(run.folder, "dl_score", image.loc[known, ["he", "dl_score", "split"]].assign(p=p_values, simulated=simulated))

# %% [markdown]
# ## What the score is made of
#
# A network's expansion logit is a weighted sum of the values that `readout` of notebook 03 names. The networks have
# kept all of them for each patient, so that the weights can be fitted again on other values, in the same patients,
# without training: `volume` is the volume of the predicted segmentation alone; `findings` adds ventricular blood, what is
# measured in this segmentation (radiomics), and what the network predicts of the same; `deep` are the two volumes and
# pooled features of the decoder, which have no names; `both` are findings and deep features.

# %%
kept = ablation_scores(raw, image.set_index("patient_id")["he"], seed=seed)
ablation_table(kept, image).round(3)

# %% [markdown]
# AUC in test patients (out-of-fold in development patients where none are held out), with DeLong's interval, and the
# correlation (Spearman) with the score that this study uses. Read the intervals first: with a hundred test patients,
# all differences between rows may be chance. Where `deep` is no better than `volume`, the network has learned no more
# about expansion than the size. The table chooses nothing: `readout` was set before. Where the truth is simulated,
# notebook 07 says how much of what can be known from the image each read-out finds.

# %% [markdown]
# ## How the networks learned
#
# Loss of the training patients by epoch, all folds. The folds share most of their patients, so their curves should run
# close together; a fold that stands apart has hard patients, or a training that went wrong. There is no curve of held-out
# patients, since nothing was stopped or chosen by one.

# %%
history = read_histories(run.folder, networks)
show(run.folder, "learning_curves", history.assign(simulated=simulated))

# %% [markdown]
# ## Segmentation and detection in test patients
#
# The mean of the networks reads each test scan as it would read a new one. The segmentation is evaluated on the scan's own
# grid, where the reference was drawn; on the resampled grid the agreement would look better. It is where the probability
# exceeds 0.5, with its edge moved by at most a network's pixel to where the HU are half way between hematoma and tissue,
# and without parts below 1 mL that lie more than 20 mm from the largest. In a study without test patients each development
# patient is read by the one network that has not seen them, and "test" below means these.

# %%
judged_set = "test" if cohort["split"].eq("test").any() else "development"
marks = {"simulated": np.array(simulated), "cross_fitted": np.array(judged_set == "development")}  # for captions
reader = load_reader(run.folder, scales.loc[networks], options, device=pick_device(device))
test = cohort.loc[cohort["split"].eq(judged_set), "patient_id"]
rows = read_manifest(run.resolve(manifest)).set_index("patient_id", drop=False).loc[test]
readings = read_cohort(reader, rows, cohort.set_index("patient_id")["fold"])
segmentation, detection = readings.agreement, readings.slices
assert set(segmentation["patient_id"]) <= set(test), "segmentations are evaluated in unseen patients only"

# %% [markdown]
# Dice is the overlap with the reference (1 is perfect), HD95 the 95th percentile of the distance between the two surfaces.
# Patients with blood are described. Where nothing was segmented, Dice is 0 and the distance infinite; such patients are
# left out of the column `hd95_mm`, whose `count` is then smaller, but not out of the results of notebook 07. Agreement
# between two readers is not perfect either, and lower in small hematomas, whose surface is large for their volume: compare
# with readers, not with 1.

# %%
bloody = segmentation[segmentation["reference_ml"] > 0]
bloody.replace(np.inf, np.nan)[["dice", "hd95_mm", "reference_ml", "predicted_ml"]].describe().round(2)

# %% [markdown]
# Blood in the ventricles is a class of its own. Patients whose reference shows it, and patients whose reference shows
# none: Dice where there is blood, and what was found in ventricles that are free of it. Who has no such reference is in
# neither column; a column of nobody is left out.

# %%
referenced = segmentation.dropna(subset="reference_ivh_ml")
ventricles = referenced["reference_ivh_ml"].gt(0).map({True: "with blood", False: "without"}).rename("ventricles")
referenced.groupby(ventricles)[["ivh_dice", "reference_ivh_ml", "predicted_ivh_ml"]].describe().T.round(2)

# %% [markdown]
# ### Best, middle and worst
#
# The solid line is the reference, the dashed one the prediction. The worst cases tell most: is a second hematoma missed, a
# calcification included, or only the margin of a faint one placed differently? The best cases show that scan and mask
# belong together. The order is by Dice, so that small hematomas are often among the worst.

# %%
outlines = outline_examples(readings.pictures, segmentation)
show(run.folder, "outlines", outlines | marks)

# %% [markdown]
# ### Volumes
#
# Bland-Altman plot: the difference between predicted and reference volume against their mean. The bias is a systematic
# error; 95 % of the differences are expected between the limits of agreement. Errors grow with the volume. With ten
# patients or more, bias and limits are therefore lines fitted to the differences between the cube roots of the volumes
# and to their absolute residuals, drawn back in mL (Bland and Altman 1999; Parner 2025): an edge misplaced by a
# millimetre changes the cube root alike in small and in large hematomas. Compare the limits with the growth that
# defines expansion.

# %%
show(run.folder, "bland_altman", bland_altman_table(bloody).assign(**marks))

# %% [markdown]
# ### By location and size
#
# A median over all patients can hide that small or infratentorial hematomas are segmented poorly. The table gives the same
# figures by location and by thirds of the reference volume. Groups of a few patients say little: read `n` first.

# %%
described = bloody.merge(cohort[["patient_id", "location"]], on="patient_id", validate="one_to_one")
assert len(described) == len(bloody), "each segmentation must belong to a patient of the cohort"
groups = {"location": described["location"], "volume": volume_thirds(described["reference_ml"])}
publish(run.folder, "outlines", agreement_by_group(described, groups)).round(2)

# %% [markdown]
# ### Slices with blood
#
# Calls by slice, where there is a reference: slices with at least 20 mm² of blood, and slices without any. Slices in between,
# or with ventricular blood only, are left out, since neither call would be wrong. The AUC follows in notebook 07. The
# columns show the distribution of the predicted probability; overlap of the two rows is what detection cannot separate.

# %%
detection.astype({"presence": float}).groupby("blood")["presence"].describe().round(3)

# %% [markdown]
# ## Activation maps
#
# One test patient of each kind of call at the frozen threshold: the one classified with the most confidence. The shade
# (Grad-CAM on the finest decoder level, mean over the networks) marks where features raised the score more than the rest of
# the hematoma did, in the slice that contains most of it among those with at least 1 % of the hematoma. Each map is scaled
# to its own maximum: shades of two patients cannot be compared. Bars show the share of the hematoma in each slice, which is
# its weight in the deep features.

# %%
judged = image[image["split"].eq(judged_set) & known & image["patient_id"].isin(readings.patients)]
extreme = confident_calls(judged, threshold)
again = [read_with(reader, rows.loc[name].to_dict())[0] for name in extreme["patient_id"]]
explained = explained_pictures(reader.networks, again) | {"window": np.array([40.0, 80.0])}
slice_of = [f"slice {i + 1:.0f} of {n:.0f}" for i, n in zip(explained["shown"], explained["n_slices"], strict=True)]
risks = [f"{call.kind.capitalize()}, risk {100 * call.p_image:.0f} %" for call in extreme.itertuples()]
explained["titles"] = np.array([f"{risk}\n{place}" for risk, place in zip(risks, slice_of, strict=True)], dtype=str)
show(run.folder, "activation", explained | marks)

# %% [markdown]
# A map shows which parts of the image raised the score, not why a hematoma grows, and it is no evidence that a sign
# exists. What is measured inside the segmentation (volume, density, margin) changes the score too and is in no map.
# Four patients, chosen because they are extreme, say nothing about the others.

# %% [markdown]
# ## Cases to look at
#
# A summary cannot say why a network fails; a look at the scans often can. The slices of a few patients are kept with the
# reference and the predicted segmentation, read by networks that have not seen the patient: those with the lowest Dice
# (of development patients, whose Dice was not measured above, the largest that the two volumes allow), the most confident
# wrong calls, and, for comparison, typical ones. The page "Cases" of the website (`hepred site`) shows them slice by
# slice. Chosen for their failures, they say nothing about how often these occur.

# %%
kept_cases = keep_cases(run.folder, reader, image, segmentation, threshold=threshold, number=cases)
by_reason = kept_cases.groupby("reason", sort=False)[["dice", "reference_ml", "predicted_ml"]]
by_reason.agg(["min", "median", "max"]).round(2)

# %% [markdown]
# Compare the volumes of the wrong calls: where missed expansions are small and false alarms large, the score mostly
# follows the volume. Low Dice in small hematomas may be a matter of a few voxels; in large ones it is not.

# %% [markdown]
# ## Limits
#
# The score of a development patient comes from a read-out that has seen the outcomes of the other folds: a model stacked on
# it is slightly optimistic in development, which cross-fitting cannot remove. The test patients are untouched. Reference
# segmentations are taken as true, although readers differ. Agreement in test patients of one hospital says little about
# scanners that the networks have never seen (notebook 08).
#
# `image_model.json` holds all that is needed to recompute a probability: scales, coefficients, threshold, preprocessing.

# %%
both = spread.reindex(["development", "test"]).assign(ratio=lambda rows: rows["sd"] / rows.loc["development", "sd"])
between, ratio = (
    float(value) if np.isfinite(value) else None for value in both.loc["test", ["between_networks", "ratio"]]
)
content = {
    "model": "image",
    "image_source": image_source,
    "definition": read_json(run.path("records", "01_cohort.json"))["parameters"]["definition"],
    "threshold": threshold,
    "threshold_rule": f"{threshold_rule}, cross-fitted development probabilities",
    "threshold_ci": list(moved),
    "scales": scales.reset_index().to_dict("records"),
    "between_network_sd": between,
    "test_to_development_sd": ratio,
    "preprocessing": options,
    "logistic": model.to_json(),
    "imputation": model.imputer.to_json(),
    "units": units(model),
    "versions": versions(commit=False),
}

# %% [markdown]
# The tables keep one row per patient (`image.csv`, `segmentation.csv`) or slice (`detection.csv`).

# %%
columns = ["patient_id", "split", "fold", "he", "dl_score_raw", "dl_score", "dl_score_spread"]
columns += ["hematoma_detected", "predicted_volume_ml", "p_image", "p_image_apparent"]
readouts = kept.add_prefix("score_").reindex(image["patient_id"]).set_axis(image.index)
for name, table in {
    "image.csv": image[columns].join(readouts),
    "segmentation.csv": segmentation,
    "detection.csv": detection,
}.items():
    write_table(run.path(name), table)
write_json(run.path("image_model.json"), content)
run.record(auc_out_of_fold=out_of_fold.auc, dice_median=bloody["dice"].median(), threshold=threshold)
