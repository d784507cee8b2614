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

from hepred_lib.cohort.manifest import read_manifest
from hepred_lib.stats.calibration import spiegelhalter_test
from hepred_lib.stats.decision import net_benefit_difference
from hepred_lib.stats.discrimination import compare_aucs
from hepred_lib.stats.nomogram import Nomogram
from hepred_lib.stats.operating_point import compare_calls, likelihood_ratios
from hepred_lib.study import drawing, summary, tables
from hepred_lib.study.drawing import Markdown, show
from hepred_lib.study.files import file_sha256, read_json, read_table, scan_checksums, write_json, write_table
from hepred_lib.study.run import open_notebook, versions

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # only for its checksum and those of its scans
truth = "cohorts/demo/truth.csv"  # the simulation's truth; empty where patients are real
image_source = "scans"  # scans, column or none
n_resamples = 500  # bootstrap resamples of the bands and of the detection interval
strata = "0.1 0.3"  # risks between which the strata of the reclassification table lie
seed = 7  # of the resamples

# %%
run = open_notebook("07_roc_calibration_figures", globals())
names = [name for name in summary.MODELS if image_source != "none" or name == "clinical"]
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
    *(f"p_{name}" for name in summary.MODELS),
    *(f"p_{name}_apparent" for name in names),
]
predictions = predictions.reindex(columns=[*keys, *columns])
write_table(run.path("predictions.csv"), predictions)
test = predictions[predictions["split"].eq("test")].reset_index(drop=True)
assert not set(test["patient_id"]) & set(predictions.loc[predictions["split"].eq("development"), "patient_id"])
assert test[[f"p_{name}" for name in names]].notna().all(axis=None), "every test patient has every probability"

# %% [markdown]
# ## The three models in the test patients
#
# Thresholds were chosen on development patients. Intervals: DeLong on the logit scale for the AUC, exact for rates.
# Accuracy stands beside that of calling nobody positive.

# %%
described = {name: read_json(run.path(f"{name}_model.json")) for name in names}
thresholds = {name: described[name]["threshold"] for name in names}
notes += [f"{name} model: {note}" for name in names for note in described[name]["logistic"]["notes"]]
models = summary.evaluate_models(test, thresholds, notes=notes)
null = models["null"]["accuracy"]
judged = {name: models[name] for name in names}
performance = tables.performance_table(judged)
tables.save_table(run.folder, "performance", performance)

# %%
best = max(names, key=lambda name: models[name]["auc"] or 0.0)
Markdown(
    f"{'Simulated patients. ' if simulated else ''}{len(test)} test patients, {int(test['he'].sum())} with HE. Highest AUC: "
    f"**{best}**, {performance.set_index('model').loc[best, 'auc']}. Calling nobody positive is right in {null:.1%}; "
    + "; ".join(f"{name} in {models[name]['accuracy']:.1%}" for name in names)
    + "."
)

# %% [markdown]
# ## Beside the publication
#
# The publication's own figures, with the intervals that its counts imply (notebook 00; it prints none), and this
# study's. Where these patients are simulated the two columns are not two measurements of one thing: the simulation
# decides how much can be foreseen.

# %%
here = {"n": len(test), "events": int(test["he"].sum()), "simulated": simulated}
paper = tables.paper_comparison(judged, **here)
beside = tables.save_table(run.folder, "paper_comparison", paper, printed=tables.printed_comparison(paper))
beside

# %%
areas = paper[paper["figure"].eq("auc")]
inside = areas[areas["ours"].between(areas["published_low"], areas["published_high"])]["model"]
width = {side: (areas[f"{side}_high"] - areas[f"{side}_low"]).mean() for side in ("published", "ours")}
Markdown(
    f"Of {len(areas)} AUC{'s' * (len(areas) != 1)} here, {len(inside)} lie{'s' * (len(inside) == 1)} inside the interval "
    f"of the published one ({tables.listed(list(inside), empty='none')}). The intervals are on average "
    f"{width['published']:.2f} wide in the publication ({areas['published_n'].iloc[0]} patients, "
    f"{areas['published_events'].iloc[0]} with HE)"
    + (f" and {width['ours']:.2f} here" if np.isfinite(width["ours"]) else "")
    + f": {'the simulated patients neither confirm nor refute the publication' if simulated else 'with intervals this wide neither agreement nor the lack of it says much'}."
)

# %%
both = test["he"].nunique() == 2
counts = {name: {count: models[name][count] for count in ("tp", "fp", "fn", "tn")} for name in names}
ratios = pd.DataFrame({name: vars(likelihood_ratios(**counts[name])) for name in names if both}).T
tables.save_table(run.folder, "likelihood_ratios", ratios.rename_axis("model").reset_index())
Markdown(
    "; ".join(
        f"{row.Index}: likelihood ratio of a positive call "
        f"{tables.with_interval(row.positive, [row.positive_low, row.positive_high], digits=1)}, of a negative one "
        f"{tables.with_interval(row.negative, [row.negative_low, row.negative_high])}"
        for row in ratios.itertuples()
    )
    + ": by so much a call multiplies the odds of expansion."
    if both
    else "Likelihood ratios need patients with and without expansion."
)

# %% [markdown]
# ## Discrimination

# %%
show(run.folder, "roc", drawing.roc_table(test, judged, n_resamples=n_resamples, rng=rng).assign(simulated=simulated))

# %%
comparisons = summary.compare(test, names, notes=notes)
described = tables.comparison_table(comparisons)
printed = tables.save_table(run.folder, "comparisons", described)
printed if comparisons else Markdown("With one model there is nothing to compare.")

# %%
tested = [pair for pair in comparisons if pair["p"] is not None]
Markdown(
    "Paired DeLong tests in test patients: "
    + "; ".join(
        f"{pair['a']} minus {pair['b']} {pair['difference']:+.2f} ({pair['ci'][0]:+.2f} to {pair['ci'][1]:+.2f}), "
        f"{tables.p_words(pair['p'])}"
        for pair in tested
    )
    + f". {sum(pair['p'] < 0.05 for pair in tested)} of {len(tested)} differences exceed chance at the 5 % level; one that "
    "does not is not thereby absent."
    if tested
    else "No difference of AUC can be tested."
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
together_rates = pd.concat(operating, ignore_index=True) if operating else pd.DataFrame({"rate": []})
tables.save_table(run.folder, "operating_points", together_rates)
Markdown(
    f"All {len(names)} curves at once: chi-squared {together.statistic:.2f} on {together.df} degrees of freedom, "
    f"{tables.p_words(together.p)}. At the frozen thresholds, "
    + "; ".join(
        f"{row.rate} of {row.first} minus {row.second} {100 * row.difference:+.0f} points ({100 * row.low:+.0f} to "
        f"{100 * row.high:+.0f}, exact McNemar {tables.p_words(row.p)})"
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
curves = drawing.calibration_table(test, judged, n_resamples=n_resamples, rng=rng)
show(run.folder, "calibration", curves.assign(simulated=simulated))

# %%
Markdown(
    "; ".join(f"{name}: slope {cell}" for name, cell in performance[["model", "calibration_slope"]].to_numpy())
    + f". With {int(test['he'].sum())} events "
    + (
        "calibration can hardly be assessed."
        if test["he"].sum() < summary.MIN_TEST_EVENTS
        else "these slopes are informative."
    )
    + " Spiegelhalter's test of calibration: "
    + "; ".join(f"{name} {tables.p_words(spiegelhalter_test(y_test, test[f'p_{name}']).p)}" for name in names)
    + "; a large p is no proof of calibration."
)

# %% [markdown]
# ## Net benefit
#
# Of acting on a model against treating everybody or nobody, at thresholds a clinician might choose.

# %%
benefit = drawing.decision_table(test, judged)
show(run.folder, "decision_curve", benefit.assign(simulated=simulated))

# %%
at = np.array([0.1, 0.2, 0.3])
rivals = [("integrated", "clinical"), ("integrated", "image")] if several and "integrated" in names else []
gains = {pair: net_benefit_difference(y_test, *(test[f"p_{name}"] for name in pair), at) for pair in rivals}
beyond = sum((gain["low"].gt(0) | gain["high"].lt(0)).sum() for gain in gains.values())
Markdown(
    "; ".join(
        f"net benefit of {a} minus {b} per 100 patients: "
        + ", ".join(
            f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f}) at {row.threshold:g}"
            for row in gain.itertuples()
        )
        for (a, b), gain in gains.items()
    )
    + f". {beyond} of {len(at) * len(rivals)} intervals exclude 0; one that holds 0 decides nothing."
    if rivals
    else "With one model there is no difference of net benefit to read."
)

# %% [markdown]
# ## Who is moved to another stratum of risk?
#
# From the clinical to the integrated model, patients with and without expansion apart. The net reclassification
# improvement (NRI) and the integrated discrimination improvement (IDI) are given because readers expect them: both can
# lie above 0 for a useless predictor where the larger model is miscalibrated, and carry no argument here.

# %%
limits = [float(limit) for limit in strata.split()]
moved = (
    drawing.reclassification_data(test, "clinical", "integrated", strata=limits, n_resamples=n_resamples, rng=rng)
    if several and "integrated" in names
    else None
)
show(run.folder, "reclassification", moved.assign(simulated=simulated)) if moved is not None else Markdown(
    "One model, or one outcome: nobody is moved."
)

# %%
tables.save_table(run.folder, "reclassification", moved) if moved is not None else None
shift = moved[moved["old"] != moved["new"]] if moved is not None else pd.DataFrame()
index = moved.iloc[0] if moved is not None else None
Markdown(
    f"{shift['patients'].sum()} of {len(test)} patients change their stratum: of those with HE "
    f"{shift.query('outcome == 1 and new > old')['patients'].sum()} up and "
    f"{shift.query('outcome == 1 and new < old')['patients'].sum()} down, of those without "
    f"{shift.query('outcome == 0 and new > old')['patients'].sum()} up and "
    f"{shift.query('outcome == 0 and new < old')['patients'].sum()} down. NRI {index['nri']:+.2f} ({index['nri_low']:+.2f} "
    f"to {index['nri_high']:+.2f}; events {index['nri_events']:+.2f}, non-events {index['nri_non_events']:+.2f}), IDI "
    f"{index['idi']:+.3f} ({index['idi_low']:+.3f} to {index['idi_high']:+.3f}; bootstrap)."
    if moved is not None
    else "Reclassification needs the integrated model and both outcomes."
)

# %% [markdown]
# ## Subgroups
#
# Of the model with most to say. Where a subgroup has fewer than ten events nothing is claimed; whether subgroups differ
# is asked by one interaction test, not by comparing their intervals. Tertiles of the volume are those of development
# patients.

# %%
judge = "integrated" if "integrated" in names else "clinical"
described_model = read_json(run.path(f"{judge}_model.json"))
known = test[["patient_id"]].merge(cohort, on="patient_id", how="left")
develop_rows = cohort[cohort["split"].eq("development") & cohort["he"].notna()]
splits = summary.subgroup_splits(known, develop_rows, described_model["logistic"]["path"])
subgroups = summary.subgroup_table(y_test, test[f"p_{judge}"], splits, model=judge)
tables.save_table(run.folder, "subgroups", subgroups.drop(columns="model"))
show(run.folder, "subgroups", subgroups.assign(simulated=simulated))

# %%
parts = subgroups[subgroups["split"].ne("")]
questions = parts.drop_duplicates("split").dropna(subset=["p_auc", "p_in_the_large"], how="all")
Markdown(
    f"{parts['auc'].notna().sum()} of {len(parts)} subgroups have the ten events, and as many others, that a figure needs. "
    + "; ".join(
        f"{row.split}: interaction {tables.p_words(row.p_auc)} (AUC), {tables.p_words(row.p_in_the_large)} (calibration)"
        for row in questions.itertuples()
    )
    + (
        f". Of {2 * len(questions)} tests {0.05 * 2 * len(questions):.1f} would fall below 0.05 by chance alone."
        if len(questions)
        else "No interaction can be tested."
    )
    if len(parts)
    else "No characteristic divides these patients into subgroups."
)

# %% [markdown]
# ## The model on one page
#
# Each value is worth points, their sum is a probability: the same arithmetic as the model's, drawn. It needs every
# value; where one is missing the model imputes and averages, which no ruler can.

# %%
scale = described_model["nomogram"]
axes = drawing.nomogram_table(Nomogram.from_json(scale) if scale else None)
show(run.folder, "nomogram", axes.assign(simulated=simulated)) if scale else Markdown(
    "No predictor has an effect: there is nothing to add up."
)

# %%
widest = axes[axes["kind"].isin(["number", "level"])].groupby("label", sort=False)["points"].max().sort_values()[::-1]
chance = axes[axes["kind"].eq("probability")]["value"]
Markdown(
    f"Most points can come from {widest.index[0]} ({widest.iloc[0]:.0f})"
    + (
        f", then {tables.listed([f'{name} ({most:.0f})' for name, most in widest[1:].items()])}"
        if len(widest) > 1
        else ""
    )
    + f"; the totals reach from a probability of {chance.min():.2g} to {chance.max():.3g}. The drawing hides all "
    "uncertainty: the coefficients' intervals stand in the model's own chapter."
    if scale
    else f"Every patient has the same probability, {test[f'p_{judge}'].mean():.2f}."
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
scores = summary.bedside_scores(bedside, notes=notes)
tables.save_table(run.folder, "bedside_scores", tables.bedside_table(scores))

# %%
Markdown(
    "; ".join(
        f"{row.score} {row.auc:.2f} ({row.auc_low:.2f}-{row.auc_high:.2f}, {row.n} patients)"
        if np.isfinite(row.auc_low)
        else f"{row.score} cannot be judged ({row.n} patients)"
        for row in tables.bedside_table(scores).itertuples()
    )
    + ". These scores were made for other hospitals; none was refitted."
)

# %% [markdown]
# ## Against the best possible
#
# Where patients are simulated the oracle's AUC is known; no model can beat it but by luck.

# %%
oracle = summary.oracle_auc(test, read_table(run.resolve(truth)) if truth else None, notes=notes)
best_possible = drawing.oracle_table(test, judged, oracle).assign(simulated=True) if oracle else None
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
detection = summary.detection(calls, n_resamples=n_resamples, rng=rng, notes=notes)
segmentation = summary.segmentation(agreement, notes=notes)
shown = pd.Series({**detection, **segmentation}, name="value").to_frame()
shown if image_source == "scans" else Markdown("No scan was read: there are no outlines and no calls of blood.")

# %%
Markdown(
    (
        f"Blood is found by slice with an AUC of {detection['auc']:.3f} ({detection['auc_ci'][0]:.3f}-"
        f"{detection['auc_ci'][1]:.3f}, {detection['n_slices']} slices, whole patients resampled). "
        if detection["auc_ci"]
        else "Detection of blood cannot be judged here. "
    )
    + (
        f"The median Dice of the outline is {segmentation['dice_median']:.2f} (quartiles {segmentation['dice_iqr'][0]:.2f}-"
        f"{segmentation['dice_iqr'][1]:.2f})."
        if segmentation["dice_median"] is not None
        else "There is no reference outline to compare with."
    )
)

# %% [markdown]
# ## All numbers in one file

# %%
records = run.records()
clinical = read_json(run.path("clinical_model.json"))
optimism = {
    name: records[key]["results"]["optimism"]
    for name, key in (("clinical", "05_clinical_to_he"), ("integrated", "06_integrated_to_he"))
    if name in names
}
content = {
    "schema": 2,
    "version": versions()["hepred"],
    "study": study,
    "image_source": image_source,
    "he_definition": clinical["definition"],
    "auc_ci_method": "logit",
    "n": summary.count_patients(cohort, excluded),
    "detection": detection,
    "segmentation": segmentation,
    "models": {**{name: models.get(name) for name in summary.MODELS}, "null": models["null"]},
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
run.record(auc={name: models[name]["auc"] for name in names})
