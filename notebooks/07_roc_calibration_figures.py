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
# Reads `cohort.csv`, `excluded.csv`, the models' `image.csv`, `clinical.csv`, `integrated.csv` with their frozen
# thresholds (`image_model.json`, `clinical_model.json`, `integrated_model.json`), `slices/quality.csv`,
# `segmentation.csv`, `detection.csv`, the records of the earlier notebooks and, where it is known, the truth; writes
# `predictions.csv`, `results.json`, `provenance.json`, tables (foremost `tables/performance.csv`) and figures.

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from hepred_lib import results
from hepred_lib.book import show
from hepred_lib.manifest import read_manifest
from hepred_lib.stats.auc_tests import compare_aucs
from hepred_lib.stats.calibration_tests import spiegelhalter_test
from hepred_lib.stats.decision import net_benefit_difference
from hepred_lib.stats.diagnostic_accuracy import compare_calls, likelihood_ratios
from hepred_lib.stats.reclassification import integrated_discrimination
from hepred_lib.stats.subgroups import interaction_test, subgroup_performance
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

# %%
both = test["he"].nunique() == 2
counts = {name: {count: models[name][count] for count in ("tp", "fp", "fn", "tn")} for name in names}
ratios = pd.DataFrame({name: vars(likelihood_ratios(**counts[name])) for name in names if both}).T
write_table(run.path("tables", "likelihood_ratios.csv"), ratios.rename_axis("model").reset_index())
Markdown(
    "A positive call multiplies the odds of expansion by "
    + "; ".join(
        f"{row.Index} {row.positive:.1f} ({row.positive_low:.1f}-{row.positive_high:.1f})"
        for row in ratios.itertuples()
    )
    + ", a negative one by "
    + "; ".join(
        f"{row.Index} {row.negative:.2f} ({row.negative_low:.2f}-{row.negative_high:.2f})"
        for row in ratios.itertuples()
    )
    + "."
    if both
    else "Likelihood ratios need patients with and without expansion."
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

# %%
y_test, several = test["he"].astype(int), both and len(names) > 1
together = compare_aucs(y_test, {name: test[f"p_{name}"] for name in names}) if several else None
pairs = [(pair["a"], pair["b"]) for pair in comparisons if both]
calls = {name: test[f"p_{name}"] >= thresholds[name] for name in names}
operating = [
    compare_calls(y_test, calls[a], calls[b]).rename_axis("rate").reset_index().assign(first=a, second=b)
    for a, b in pairs
]
write_table(run.path("tables", "operating_points.csv"), pd.concat(operating) if pairs else pd.DataFrame({"rate": []}))
Markdown(
    f"All {len(names)} curves at once: chi-squared {together.statistic:.2f} on {together.df} degrees of freedom, "
    f"p = {together.p:.2g}. At the frozen thresholds, "
    + "; ".join(
        f"{row.rate} of {row.first} minus {row.second} {100 * row.difference:+.0f} points ({100 * row.low:+.0f} to "
        f"{100 * row.high:+.0f}, exact McNemar p = {row.p:.2g})"
        for table in operating
        for row in table.itertuples()
        if row.rate != "accuracy"
    )
    + "."
    if several
    else "One model, or one outcome: nothing to compare."
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
    + " Spiegelhalter's test of calibration: "
    + "; ".join(f"{name} p = {spiegelhalter_test(y_test, test[f'p_{name}']).p:.2g}" for name in names)
    + "; a large p is no proof of calibration."
)

# %% [markdown]
# ## Net benefit
#
# Of acting on a model against treating everybody or nobody, at thresholds a clinician might choose.

# %%
benefit = results.decision_table(test, judged, n_resamples=n_resamples, rng=rng)
show(run.folder, "decision_curve", benefit.assign(simulated=simulated))

# %%
at = np.array([0.1, 0.2, 0.3])
rivals = [("integrated", "clinical"), ("integrated", "image")] if several and "integrated" in names else []
gains = {pair: net_benefit_difference(y_test, *(test[f"p_{name}"] for name in pair), at) for pair in rivals}
idi = {
    pair: integrated_discrimination(
        y_test, *(test[f"p_{name}"] for name in pair[::-1]), n_resamples=n_resamples, rng=rng
    )
    for pair in rivals
}
Markdown(
    "; ".join(
        f"net benefit of {a} minus {b} per 100 patients: "
        + ", ".join(
            f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f}) at {row.threshold:g}"
            for row in gain.itertuples()
        )
        for (a, b), gain in gains.items()
    )
    + ". An interval that holds 0 decides nothing. For readers who expect it, the integrated discrimination improvement: "
    + "; ".join(f"over {b} {found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})" for (a, b), found in idi.items())
    + " (it rewards miscalibration, so it carries no argument here)."
    if rivals
    else "With one model there is no difference of net benefit to read."
)

# %% [markdown]
# ## Subgroups
#
# Of the model with most to say. Where a subgroup has fewer than ten events nothing is claimed; whether subgroups differ
# is asked by one interaction test, not by comparing their intervals.

# %%
judge = "integrated" if "integrated" in names else "clinical"
known = test[["patient_id"]].merge(cohort, on="patient_id", how="left")
splits = {name: known[name] for name in ("sex", "location", "ivh") if name in known and known[name].notna().any()}
p_judge = test[f"p_{judge}"].clip(1e-9, 1 - 1e-9)
parts = {name: subgroup_performance(y_test, p_judge, values) for name, values in splits.items()}
subgroups = pd.concat([table.assign(split=name) for name, table in parts.items()], ignore_index=True)
write_table(run.path("tables", "subgroups.csv"), subgroups)
subgroups.round(2)

# %%
interactions = {name: interaction_test(y_test, p_judge, values) for name, values in splits.items()}
Markdown(
    f"{subgroups['auc'].notna().sum()} of {len(subgroups)} subgroups have the ten events that a figure needs. "
    + "; ".join(
        f"{name}: interaction p = {table.loc['auc', 'p']:.2g} (AUC), {table.loc['in_the_large', 'p']:.2g} (calibration)"
        if np.isfinite(table.loc["auc", "p"])
        else f"{name}: {table.loc['auc', 'note']}"
        for name, table in interactions.items()
    )
    + ". Where several tests are made, one small p among them is expected."
)

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

# %%
Markdown(
    "; ".join(
        f"{name} {found['auc']:.2f} ({found['auc_ci'][0]:.2f}-{found['auc_ci'][1]:.2f}, {found['n']} patients)"
        if found["auc_ci"]
        else f"{name} cannot be judged ({found['n']} patients)"
        for name, found in scores.items()
    )
    + ". These scores were made for other hospitals; none was refitted."
)

# %% [markdown]
# ## Against the best possible
#
# Where patients are simulated the oracle's AUC is known; no model can beat it but by luck.

# %%
oracle = results.oracle_auc(test, read_table(run.resolve(truth)) if truth else None, notes=notes)
best_possible = results.oracle_table(test, judged, oracle).assign(simulated=True) if oracle else None
show(run.folder, "oracle", best_possible) if oracle else Markdown("The patients are real: no oracle.")

# %%
Markdown(
    "; ".join(
        f"{name}: AUC {models[name]['auc']:.2f}, the best possible {oracle[f'{name}_auc']:.2f}"
        for name in names
        if oracle and models[name]["auc"] is not None and oracle[f"{name}_auc"] is not None
    )
    + (". The interval of each AUC says how much of the distance is chance." if oracle else "No oracle, no distance.")
)

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

# %%
Markdown(
    f"Blood is found by slice with an AUC of {detection['auc']:.3f} ({detection['auc_ci'][0]:.3f}-"
    f"{detection['auc_ci'][1]:.3f}, {detection['n_slices']} slices, whole patients resampled). "
    if detection["auc_ci"]
    else "Detection of blood cannot be judged here."
)

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
