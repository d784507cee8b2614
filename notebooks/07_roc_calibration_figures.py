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
# # 07 ROC, calibration, net benefit
#
# **How well do the three models foresee expansion in patients that none of them has seen?**
#
# Reads `image.csv`, `clinical.csv`, `integrated.csv` and the models' frozen thresholds; writes `predictions.csv`,
# `results.json`, `figures/`, `tables/`, `provenance.json`.

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from hepred_lib import results
from hepred_lib.book import show
from hepred_lib.manifest import read_manifest
from hepred_lib.study import (
    file_sha256,
    open_notebook,
    read_json,
    read_table,
    scan_checksums,
    versions,
    write_json,
    write_latex,
    write_table,
)

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # only for its checksum and those of its scans
truth = "cohorts/demo/truth.csv"  # the simulation's truth; empty where patients are real
image_source = "scans"  # scans, column or none
n_resamples = 500  # bootstrap resamples of the bands and of the detection interval
seed = 7  # of the resamples

# %%
run = open_notebook("07_roc_calibration_figures", globals())
names = [name for name in results.MODELS if image_source != "none" or name == "clinical"]
simulated = bool(truth)
rng = np.random.default_rng(seed)
notes = []

# %% [markdown]
# ## One table of predictions
#
# Development rows are out-of-fold and cross-fitted; test rows come from the frozen models.

# %%
keys = ["patient_id", "split", "fold", "he"]
cohort, excluded = read_table(run.path("cohort.csv")), read_table(run.path("excluded.csv"))
predictions = cohort.loc[cohort["he"].notna(), keys]
for name in names:
    predictions = predictions.merge(read_table(run.path(f"{name}.csv")), on=keys, how="left", validate="one_to_one")
columns = [
    "dl_score_raw",
    "dl_score",
    *(f"p_{name}" for name in results.MODELS),
    *(f"p_{name}_apparent" for name in names),
]
predictions = predictions.reindex(columns=[*keys, *columns])
test = predictions[predictions["split"].eq("test")].reset_index(drop=True)
assert not set(test["patient_id"]) & set(predictions.loc[predictions["split"].eq("development"), "patient_id"])
assert test[[f"p_{name}" for name in names]].notna().all(axis=None), "every test patient has every probability"
write_table(run.path("predictions.csv"), predictions)

# %% [markdown]
# ## The three models in the test patients
#
# Thresholds were chosen on development patients. Intervals: DeLong on the logit scale for the AUC, exact for rates.
# Accuracy stands beside that of calling nobody positive.

# %%
thresholds = {name: read_json(run.path(f"{name}_model.json"))["threshold"] for name in names}
models = results.evaluate_models(test, thresholds, notes=notes)
null = models["null"]["accuracy"]
judged = {name: models[name] for name in names}
performance = results.performance_table(judged)
write_table(run.path("tables", "performance.csv"), performance)
write_latex(run.path("tables", "performance.tex"), performance)
performance

# %%
best = max(names, key=lambda name: models[name]["auc"] or 0.0)
Markdown(
    f"{'Simulated patients. ' if simulated else ''}{len(test)} test patients, {int(test['he'].sum())} with HE. Highest AUC: "
    f"**{best}**, {performance.set_index('model').loc[best, 'auc']}. Calling nobody positive is right in {null:.1%}; "
    + "; ".join(f"{name} in {models[name]['accuracy']:.1%}" for name in names)
    + "."
)

# %% [markdown]
# ## Discrimination

# %%
show(run.folder, "roc", results.roc_table(test, judged, n_resamples=n_resamples, rng=rng).assign(simulated=simulated))

# %%
comparisons = results.compare(test, names, notes=notes)
described = pd.DataFrame(comparisons, columns=["a", "b", "data", "test", "difference", "ci", "p"])
write_table(run.path("tables", "comparisons.csv"), described)
described

# %%
significant = [pair for pair in comparisons if pair["p"] is not None and pair["p"] < 0.05]
Markdown(
    "Paired DeLong tests in test patients: "
    + "; ".join(f"{pair['a']} against {pair['b']} p = {pair['p']:.2g}" for pair in comparisons if pair["p"] is not None)
    + (". " if comparisons else "none can be made with one model. ")
    + (f"{len(significant)} of {len(comparisons)} differences exceed chance at the 5 % level." if comparisons else "")
)

# %% [markdown]
# ## Calibration
#
# A slope below 1 says that the probabilities are too extreme, calibration in the large (0 is ideal) whether they are
# too low or too high on the whole. Drawn on test patients only, with nothing refitted.

# %%
curves = results.calibration_table(test, judged, n_resamples=n_resamples, rng=rng)
show(run.folder, "calibration", curves.assign(simulated=simulated))

# %%
Markdown(
    "; ".join(f"{name}: slope {cell}" for name, cell in performance[["model", "calibration_slope"]].to_numpy())
    + f". With {int(test['he'].sum())} events "
    + (
        "calibration can hardly be assessed."
        if test["he"].sum() < results.MIN_TEST_EVENTS
        else "these slopes are informative."
    )
)

# %% [markdown]
# ## Net benefit
#
# Of acting on a model against treating everybody or nobody, at thresholds a clinician might choose.

# %%
benefit = results.decision_table(test, judged, n_resamples=n_resamples, rng=rng)
show(run.folder, "decision_curve", benefit.assign(simulated=simulated))

# %% [markdown]
# ## Published bedside scores on the same patients
#
# Blend sign and hypodensity, where no reader gave them, are measured on the reference outline.

# %%
signs = ["patient_id", "blend_sign", "any_hypodensity"]
measured = read_table(run.path("slices", "quality.csv"))[signs] if image_source == "scans" else cohort[signs]
bedside = cohort[cohort["patient_id"].isin(test["patient_id"])].set_index("patient_id")
bedside = bedside.fillna(measured.set_index("patient_id").reindex(bedside.index))
scores = results.bedside_scores(bedside, notes=notes)
pd.DataFrame(scores).T

# %% [markdown]
# ## Against the best possible
#
# Where patients are simulated the oracle's AUC is known; no model can beat it but by luck.

# %%
oracle = results.oracle_auc(test, read_table(run.resolve(truth)) if truth else None, notes=notes)
best_possible = results.oracle_table(test, judged, oracle).assign(simulated=True) if oracle else None
show(run.folder, "oracle", best_possible) if oracle else Markdown("The patients are real: no oracle.")

# %% [markdown]
# ## Outlines and detection

# %%
calls = (
    read_table(run.path("detection.csv")) if image_source == "scans" else pd.DataFrame(columns=["patient_id", "blood"])
)
agreement = read_table(run.path("segmentation.csv")) if image_source == "scans" else pd.DataFrame({"reference_ml": []})
detection = results.detection(calls, n_resamples=n_resamples, rng=rng, notes=notes)
segmentation = results.segmentation(agreement, notes=notes)
{"detection": detection, "segmentation": segmentation}

# %% [markdown]
# ## All numbers in one file

# %%
records = {path.stem: read_json(path) for path in sorted(run.folder.glob("records/*.json"))}
clinical = read_json(run.path("clinical_model.json"))
optimism = {
    name: records[key]["results"]["optimism"]
    for name, key in (("clinical", "05_clinical_to_he"), ("integrated", "06_integrated_to_he"))
    if name in names
}
content = {
    "study": study,
    "image_source": image_source,
    "he_definition": clinical["definition"],
    "auc_ci_method": "logit",
    "n": results.count_patients(cohort, excluded),
    "detection": detection,
    "segmentation": segmentation,
    "models": {**{name: models.get(name) for name in results.MODELS}, "null": models["null"]},
    "scores": scores,
    "comparisons": comparisons,
    "selection": {
        "criterion": clinical["criterion"],
        "path": clinical["logistic"]["path"],
        "inclusion_frequency": clinical["logistic"]["inclusion_frequency"],
    },
    "optimism": optimism,
    "oracle": oracle,
    "notes": notes,
}
assert content["n"]["development"] + content["n"]["test"] == content["n"]["patients"], "counts must add up"

# %% [markdown]
# ## Limits
#
# One split of one cohort: another seed moves every number within its interval. The interval of a difference between
# models is what counts, not the order of their AUCs.

# %%
write_json(run.path("results.json"), content)
run.record(auc={name: models[name]["auc"] for name in names})
write_json(
    run.path("provenance.json"),
    {
        "versions": versions(),
        "device": sorted({record["results"]["device"] for name, record in records.items() if name.startswith("03_")}),
        "manifest_sha256": file_sha256(run.resolve(manifest)),
        "scans_sha256": scan_checksums(read_manifest(run.resolve(manifest))["baseline_ct"].dropna()),
        "notebooks": {**records, run.notebook: {"parameters": dict(run.parameters)}},
    },
)
