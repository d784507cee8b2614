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
# # 01 Cohort
#
# **Who is in the study, how often does the hematoma expand, and how many predictors can that support?**
#
# Reads the manifest; writes `cohort.csv` (one row an included patient, with split and fold) and `excluded.csv`.

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from hepred_lib.book import show
from hepred_lib.checking import fill_volumes
from hepred_lib.manifest import (
    CLINICAL_CANDIDATES,
    assign_folds,
    derive_labels,
    predictor_label,
    read_manifest,
    split_patients,
)
from hepred_lib.stats.sample_size import supported_parameters
from hepred_lib.study import open_notebook, read_table, write_table

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # one row a patient
truth = "cohorts/demo/truth.csv"  # the simulation's truth; empty where patients are real
image_source = "scans"  # scans, column (dl_score) or none
definition = "6ml_or_33pct"  # growth > 6 mL or > 33 % of the baseline volume
test_fraction = 0.25  # of the patients; the published study held out 107 of 572
folds = 3  # cross-fitting folds in the development set
seed = 7  # of split and folds
expected_auc = 0.81  # for the sample-size criteria: the published clinical model

# %%
run = open_notebook("01_cohort", globals())

# %% [markdown]
# ## The patients and their outcome
#
# Hematoma expansion (HE) follows from the two volumes by the study's definition; a volume that the manifest does not
# give is measured on its mask. A row without an outcome
# stays in the study for the outline of the hematoma only; a row that lacks what the study needs is excluded, with
# the reason.

# %%
table = derive_labels(fill_volumes(read_manifest(run.resolve(manifest))), definition=definition)
lacking = table["baseline_ct"].isna() if image_source == "scans" else table["he"].isna()
lacking |= table["dl_score"].isna() if image_source == "column" else False
excluded = table.loc[lacking, ["patient_id"]].assign(reason=f"lacks what image_source {image_source} needs")
cohort = table[~lacking].copy()
assert len(cohort) + len(excluded) == len(table), "included and excluded patients must add up to the manifest"

# %% [markdown]
# ## The split, before anything is looked at
#
# Patients are split, not slices; the draw is stratified on HE and depends on the seed and the identifiers only.

# %%
cohort["split"] = split_patients(cohort, seed=seed, test_fraction=test_fraction)
cohort["fold"] = assign_folds(cohort, folds=folds, seed=seed)
assert cohort["patient_id"].is_unique, "no patient may stand in the cohort twice"
assert (cohort["fold"].eq(-1) == cohort["split"].eq("test")).all(), "test patients belong to no fold"
write_table(run.path("cohort.csv"), cohort.drop(columns=[name for name in cohort if name.endswith(("_ct", "_mask"))]))
write_table(run.path("excluded.csv"), excluded)

# %%
counts = cohort.groupby("split")["he"].agg(patients="count", he="sum", without_outcome=lambda he: he.isna().sum())
write_table(run.path("tables", "cohort.csv"), counts, index=True)
counts

# %%
development = cohort[(cohort["split"] == "development") & cohort["he"].notna()]
n, events = len(development), int(development["he"].sum())
n_test, test_events = counts.loc["test", "patients"], int(counts.loc["test", "he"])
Markdown(
    f"HE in **{events} of {n}** development patients ({events / n:.1%}) and **{test_events} of {n_test}** test patients. "
    + ("With fewer than 100 test events calibration can hardly be assessed. " if test_events < 100 else "")
    + f"{len(excluded)} rows were excluded."
)

# %% [markdown]
# ## What flows where

# %%
known, reasons = cohort[cohort["he"].notna()], excluded["reason"].value_counts()
steps = [("assessed", "Rows of the manifest", len(table), table["he"].sum())]
steps += [("excluded", "Excluded", len(excluded), np.nan)] if len(excluded) else []
steps += [("reason", reason, count, np.nan) for reason, count in reasons.items()]
steps += [("blood_free", "Without outcome: outline only", len(cohort) - len(known), np.nan)]
steps += [("included", "With outcome", len(known), known["he"].sum())]
parts = {split: known.loc[known["split"] == split, "he"] for split in ("development", "test")}
steps += [(split, split.capitalize(), len(he), he.sum()) for split, he in parts.items()]
flow = pd.DataFrame(steps, columns=["step", "text", "n", "events"]).assign(simulated=bool(truth))
show(run.folder, "flow", flow)

# %% [markdown]
# ## How the patients look
#
# Distributions in development patients with an outcome, by HE. Nothing is chosen from this picture.

# %%
shown = {
    "age": "years",
    "gcs": "points",
    "sbp_mmhg": "mmHg",
    "onset_to_ct_h": "h",
    "baseline_volume_ml": "mL",
    "inr": "ratio",
}
shown = {name: unit for name, unit in shown.items() if development[name].notna().any()}
long = development.melt(id_vars=["patient_id", "he"], value_vars=list(shown), var_name="name").dropna(subset=["value"])
long = long.assign(variable=long["name"].map(predictor_label), unit=long["name"].map(shown), simulated=bool(truth))
show(run.folder, "cohort", long)

# %% [markdown]
# ## How many predictors can this support?
#
# Riley's criteria for a logistic model: enough patients for a shrinkage of 0.9, a small optimism of the explained
# variation, and a precise intercept.

# %%
candidates = [name for name in CLINICAL_CANDIDATES if name in cohort]
supported = supported_parameters(n, events / n, expected_auc)
Markdown(
    f"{n} development patients with {events} events support about **{supported}** candidate parameters at an AUC of "
    f"{expected_auc}; the manifest offers **{len(candidates)}**. "
    + ("Selection among them will be unstable: notebook 05 shows how much." if len(candidates) > supported else "")
)

# %% [markdown]
# ## The truth, where it is known
#
# In a simulated cohort the best possible AUC is known: that of the probability from which each outcome was drawn,
# given the image, the bedside variables, or both (the *oracle*). No model notebook reads it.

# %%
oracle = read_table(run.resolve(truth)).dropna(subset=["p_integrated"]) if truth else None
Markdown(
    f"Simulated cohort: the oracle's mean probability is {oracle['p_integrated'].mean():.3f}, the observed frequency "
    f"{table['he'].mean():.3f}."
    if truth
    else "The patients are real: no oracle."
)

# %% [markdown]
# ## Limits
#
# Follow-up scans are missing for patients who died or were operated on early; a study of real patients must say how
# many, since they are not like the others. A 5 % error of each measured volume makes some labels wrong, more so in
# small hematomas.

# %%
run.record(
    n_development=n, he_development=events, n_test=int(n_test), he_test=test_events, supported_parameters=supported
)
