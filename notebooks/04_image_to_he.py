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
# **From slice features to one normalized DL score a patient: how well does the image alone foresee expansion?**
#
# Reads `cohort.csv`, the folds' `folds/<k>/network.safetensors`, `folds/<k>/predictions.csv` and
# `folds/<k>/history.csv`, `records/01_cohort.json`, `records/02_preprocessing.json` and the scans of test patients;
# writes `image.csv`, `image_model.json`, in test patients the agreement of outlines (`segmentation.csv`,
# `tables/outlines.csv`) and the presence of blood by slice (`detection.csv`), and figures.

# %%
import numpy as np
import pandas as pd
import torch
from scipy.stats import mannwhitneyu

from hepred_lib.cohort.manifest import read_manifest
from hepred_lib.imaging.segmentation import agreement_bands, agreement_by_group, volume_agreement
from hepred_lib.multitask.explanation import explained_pictures
from hepred_lib.multitask.prediction import (
    column_scores,
    load_reader,
    normalized_scores,
    outline_agreement,
    picture,
    read_with,
    score_scales,
    slice_calls,
)
from hepred_lib.progress import progress
from hepred_lib.stats.development import DevelopmentSettings, cross_fit, develop
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.operating_point import youden_threshold
from hepred_lib.study import tables
from hepred_lib.study.drawing import Markdown, publish, show
from hepred_lib.study.files import read_json, read_table, write_json, write_table
from hepred_lib.study.run import open_notebook

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # names the scans
truth = "cohorts/demo/truth.csv"  # only to label simulated figures; empty where patients are real
image_source = "scans"  # scans, or column: take external_score from the manifest
folds = 3  # networks of notebook 03, where the score is theirs
n_resamples = 50  # bootstrap resamples for shrinkage and optimism
seed = 7  # of the resamples

# %%
run = open_notebook("04_image_to_he", globals())
torch.set_num_threads(run.threads)
cohort = read_table(run.path("cohort.csv"))

# %% [markdown]
# ## The normalized DL score
#
# Each network's raw logits are put on a common scale by the mean and the standard deviation of its *own held-out
# fold*; labels play no part. A development patient keeps the score of the one network that has not seen them, a test
# patient gets the mean over all networks. A score from the manifest (`image_source: column`) is standardized once, by
# development patients.

# %%
paths = [run.path("folds", str(fold), "predictions.csv") for fold in range(folds)] if image_source == "scans" else []
read = pd.concat([read_table(path) for path in paths]) if paths else column_scores(cohort)
hemorrhages = cohort.loc[cohort["he"].notna(), "patient_id"]
scales = score_scales(read[read["patient_id"].isin(hemorrhages)])
scores = normalized_scores(read, scales)
image = cohort[["patient_id", "split", "fold", "he"]].merge(scores, left_on="patient_id", right_index=True)
assert len(image) == len(cohort), "every patient of the cohort must have a score"
assert image["dl_score"].notna().all(), "no score may be missing"
scales

# %%
spread = {split: rows["dl_score"].std(ddof=1) for split, rows in image.groupby("split")}
between = float(image.loc[image["split"] == "test", "dl_score_spread"].mean())
Markdown(
    f"SD of the score: {spread['development']:.2f} in development, {tables.two_digits(spread['test'])} in test patients (ratio "
    f"{tables.two_digits(spread['test'] / spread['development'])}; a mean of networks varies less than one network). "
    f"Spread between networks in a test patient: {tables.two_digits(between)} on average. "
    f"No hematoma was detected in {int((image['hematoma_detected'] == 0).sum())} of {len(image)} scans."
    if paths
    else f"SD of the score: {spread['development']:.2f} in development, {tables.two_digits(spread['test'])} in test patients. It was "
    "made elsewhere: no network of this study reads a scan."
)

# %% [markdown]
# ## From the score to a probability
#
# Logistic regression of HE on the out-of-fold score of development patients, shrunk by the bootstrap. The threshold
# (Youden) is chosen on cross-fitted probabilities of development patients and frozen.

# %%
known = image["he"].notna()
fitted = image[known & (image["split"] == "development")]
settings = DevelopmentSettings(candidates=(), added=("dl_score",), n_imputations=1, n_resamples=n_resamples, seed=seed)
model = develop(fitted[["dl_score"]], fitted["he"].astype(int), settings)
p_cross = cross_fit(fitted[["dl_score"]], fitted["he"].astype(int), fitted["fold"], settings)
threshold = youden_threshold(fitted["he"].astype(int), p_cross)
image["p_image"] = image["p_image_apparent"] = model.predict(image[["dl_score"]])
image.loc[fitted.index, "p_image"] = p_cross

# %%
out_of_fold = auc_interval(fitted["he"].astype(int), fitted["dl_score"], method="logit")
Markdown(
    f"Out-of-fold AUC of the score in {len(fitted)} development patients ({int(fitted['he'].sum())} with HE): "
    f"**{out_of_fold.auc:.2f}** (95 % interval {tables.limits_words(out_of_fold.low, out_of_fold.high)}). "
    + "".join(f"{note} " for note in model.notes)
    + "The verdict belongs to the test patients, in notebook 07."
)

# %%
groups = {
    split: [rows.loc[rows["he"] == he, "dl_score"] for he in (1, 0)] for split, rows in image[known].groupby("split")
}
p_values = {split: mannwhitneyu(*pair).pvalue for split, pair in groups.items()}
shown = image.loc[known, ["he", "dl_score", "split"]].assign(p=image["split"].map(p_values), simulated=bool(truth))
show(run.folder, "dl_score", shown)

# %% [markdown]
# ## How the networks learned
#
# Loss in training patients, all folds. No curve of held-out patients: nothing was stopped or chosen by one.

# %%
curves = [read_table(path.with_name("history.csv")) for path in paths]
columns = ["fold", "epoch", "loss", "loss_segmentation", "loss_presence", "loss_expansion"]
history = pd.concat(curves) if curves else pd.DataFrame(columns=columns)
history = history.assign(simulated=bool(truth))
show(run.folder, "learning_curves", history) if len(history) else Markdown("The scores come from elsewhere: no losses.")

# %% [markdown]
# ## Outlines and presence of blood in test patients
#
# The mean of the networks reads each test scan, on the scan's own grid at a probability of one half.

# %%
options = read_json(run.path("records", "02_preprocessing.json"))["parameters"] if paths else {}
options = {name: options[name] for name in ("matrix", "field_mm", "thickness_mm") if name in options}
reader = load_reader(run.folder, scales, options) if paths else None
test = cohort.loc[cohort["split"].eq("test"), "patient_id"] if paths else []
rows = read_manifest(run.resolve(manifest)).set_index("patient_id", drop=False).loc[list(test)].to_dict("records")
agreement, calls = [], [pd.DataFrame(columns=["patient_id", "slice", "presence", "blood", "predicted_mm2"])]
pictures, readings = {}, {}
for row in progress(rows, desc="read test scans", unit="scan"):
    reading, reference = read_with(reader, row)
    calls.append(slice_calls(reading))
    agreement += [outline_agreement(reading, reference)] if reference is not None else []
    pictures[row["patient_id"]] = picture(reading, reference)
    readings[row["patient_id"]] = reading.patient

# %%
segmentation = pd.DataFrame(agreement, columns=["patient_id", "dice", "hd95_mm", "reference_ml", "predicted_ml"])
detection = pd.concat(calls[1:] or calls)
bloody = segmentation[segmentation["reference_ml"] > 0]
assert not set(segmentation["patient_id"]) - set(test), "outlines are judged in test patients only"
Markdown(
    f"Median Dice **{bloody['dice'].median():.3f}** (quartiles {bloody['dice'].quantile(0.25):.3f}-"
    f"{bloody['dice'].quantile(0.75):.3f}), median HD95 {bloody['hd95_mm'].median():.1f} mm, in {len(bloody)} test "
    "patients with blood."
    if len(bloody)
    else "No reference outlines of test patients: nothing to compare."
)

# %%
ranked = bloody.sort_values("dice", ascending=False)["patient_id"].tolist()
middle = len(ranked) // 2
places = dict.fromkeys(ranked[-2:], "worst") | dict.fromkeys(ranked[max(middle - 1, 0) : middle + 1], "median")
places |= dict.fromkeys(ranked[:2], "best")
chosen = sorted(places, key=ranked.index)
dice_of = bloody.set_index("patient_id")["dice"]
outlines = {key: np.array([pictures[name][key] for name in chosen]) for key in ("hu", "reference", "predicted")} | {
    "titles": np.array([f"{places[name]}, Dice {dice_of[name]:.2f}" for name in chosen]),
    "pixel_mm": np.array(reader.options["field_mm"] / reader.options["matrix"] if reader else np.nan),
    "window": np.array([40.0, 80.0]),
    "simulated": np.array(bool(truth)),
}
show(run.folder, "outlines", outlines) if chosen else Markdown("No outlines to show.")

# %%
volumes = volume_agreement(bloody["reference_ml"], bloody["predicted_ml"]) if len(bloody) > 1 else None
table = bloody[["reference_ml", "predicted_ml"]].assign(simulated=bool(truth))
limits = {"bias": volumes.bias, "low": volumes.low, "high": volumes.high} | agreement_bands(volumes) if volumes else {}
show(run.folder, "bland_altman", table.assign(**limits)) if volumes else Markdown("Fewer than two outlines to compare.")

# %% [markdown]
# ## Where the outlines are good, and where not
#
# By location and by thirds of the reference volume: a median over all patients hides the small and the hidden ones.

# %%
described = bloody.merge(cohort[["patient_id", "location"]], on="patient_id")
thirds = pd.qcut(described["reference_ml"], 3, labels=["small", "middle", "large"]) if len(described) > 5 else None
groups_of = {"location": described["location"], "volume": thirds} if thirds is not None else {}
by_group = agreement_by_group(described, {name: group for name, group in groups_of.items() if group.notna().any()})
publish(run.folder, "outlines", by_group)
by_group.round(2)

# %% [markdown]
# ## What the score looked at
#
# One test patient of each kind of call at the frozen threshold: those called with the most confidence. Shade marks where
# features lie that raised the score more than the rest of the hematoma did (Grad-CAM on the finest decoder level, mean
# over the networks), in the slice that holds most of it; bars the attention that each slice received. What is measured
# inside the outline moves the score too and is in no map. A map shows where a network looked, not why a hematoma grows.

# %%
judged = image[image["split"].eq("test") & known & image["patient_id"].isin(readings)]
judged = judged.assign(call=np.where(judged["p_image"] >= threshold, "positive", "negative"))
judged["kind"] = np.where((judged["call"] == "positive") == (judged["he"] == 1), "true ", "false ") + judged["call"]
ordered = judged.sort_values("p_image", ascending=False)
extreme = pd.concat(
    [rows.iloc[[0 if "positive" in kind else -1]] for kind, rows in ordered.groupby("kind")] or [ordered]
)
titles = [f"{row.kind}\np = {row.p_image:.2f}" for row in extreme.itertuples()]
explained = explained_pictures(reader.networks, [readings[name] for name in extreme["patient_id"]]) if titles else {}
shown = {"titles": np.array(titles), "window": np.array([40.0, 80.0]), "simulated": np.array(bool(truth))}
shown |= {"pixel_mm": np.array(reader.options["field_mm"] / reader.options["matrix"] if reader else np.nan)} | explained
show(run.folder, "attention", shown) if titles else Markdown("No test scans with an outcome: nothing to explain.")

# %%
weights = np.where(explained["attention"] > 0, explained["attention"], np.nan) if titles else np.ones((1, 1))
uneven = np.nanmax(weights, axis=1) / np.nanmean(weights, axis=1)
Markdown(
    f"In these patients the slice with the most attention received {uneven.min():.2f} to {uneven.max():.2f} times an "
    "even share of it. Near 1, the score rests on the mean over the hematoma's slices."
    if titles
    else ""
)

# %% [markdown]
# ## Limits
#
# The score of a development patient comes from a network that has seen the labels of the other folds: a model stacked
# on it is slightly optimistic in development, which cross-fitting cannot remove. The test patients are untouched.

# %%
columns = ["patient_id", "split", "fold", "he", "dl_score_raw", "dl_score", "dl_score_spread"]
columns += ["hematoma_detected", "predicted_volume_ml", "p_image", "p_image_apparent"]
write_table(run.path("image.csv"), image[columns])
write_table(run.path("segmentation.csv"), segmentation)
write_table(run.path("detection.csv"), detection)
write_json(
    run.path("image_model.json"),
    {
        "model": "image",
        "image_source": image_source,
        "definition": read_json(run.path("records", "01_cohort.json"))["parameters"]["definition"],
        "threshold": threshold,
        "threshold_rule": "youden, cross-fitted development probabilities",
        "scales": scales.reset_index().to_dict("records"),
        "between_network_sd": between,
        "test_to_development_sd": spread["test"] / spread["development"],
        "preprocessing": options,
        "logistic": model.to_json(),
        "imputation": model.imputer.to_json(),
    },
)
run.record(auc_out_of_fold=out_of_fold.auc, dice_median=bloody["dice"].median(), threshold=threshold)
