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
# **How well do the three models predict expansion in patients that none of them has seen?**
#
# Reads `cohort.csv`, `excluded.csv`, the models' `image.csv`, `clinical.csv`, `integrated.csv` with their frozen
# thresholds (`image_model.json`, `clinical_model.json`, `integrated_model.json`), `imputation.json`, `slices/quality.csv`,
# `segmentation.csv`, `detection.csv`, the records of the earlier notebooks and, where it is known, the truth; writes
# `predictions.csv`, `results.json`, `provenance.json`, tables (foremost `tables/performance.csv`) and figures.

# %% [markdown]
# No model was fitted, chosen or tuned in test patients; notebooks 04 and 06 showed the segmentation, other read-outs
# and the leak in them. Here the frozen models are evaluated in these patients. The order of the sections is an order of
# questions: can the model rank patients (discrimination), are its probabilities true (calibration), would acting on
# them do good (net benefit), and does all this hold in every kind of patient (subgroups)? A model can do well on the
# first and fail on the rest.
#
# A study without an image score (`image_source: none`) has the clinical model alone. Comparisons then have nothing to
# compare: their tables say so, and their figures say "no data".

# %%
import numpy as np
import pandas as pd

from hepred_lib.cohort.manifest import read_manifest
from hepred_lib.stats.calibration import spiegelhalter_test
from hepred_lib.stats.decision import net_benefit_difference
from hepred_lib.stats.discrimination import compare_aucs
from hepred_lib.stats.operating_point import compare_calls, likelihood_ratios
from hepred_lib.study import drawing, summary, tables
from hepred_lib.study.drawing import Markdown, show
from hepred_lib.study.files import file_sha256, read_json, read_table, scan_checksums, write_json, write_table
from hepred_lib.study.run import open_notebook, versions

# %% [markdown]
# ## Parameters
#
# What a study file may change. None of them can change a model.

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # only for its checksum and those of its scans
truth = "cohorts/demo/truth.csv"  # the simulation's truth; empty where patients are real
image_source = "scans"  # scans, column or none
n_resamples = 500  # bootstrap resamples of the bands and of the detection interval
strata = "0.1 0.3"  # risks between which the strata of the reclassification table lie
seed = 7  # of the resamples

# %% [markdown]
# `notes` collects the reason for every number that cannot be computed; they are listed at the end and kept in
# `results.json`.

# %%
run = open_notebook("07_roc_calibration_figures", globals())
names = [name for name in summary.MODELS if image_source != "none" or name == "clinical"]
rng, notes = np.random.default_rng(seed), []

# %% [markdown]
# ## One table of predictions
#
# Development rows are out-of-fold and cross-fitted; test rows come from the frozen models. Identifier, split, fold and
# outcome must agree in every file that is merged here: a label can never meet the prediction of another patient.

# %%
keys = ["patient_id", "split", "fold", "he"]
cohort, excluded = read_table(run.path("cohort.csv")), read_table(run.path("excluded.csv"))
simulated = run.simulated(cohort["patient_id"])
predictions = cohort.loc[cohort["he"].notna(), keys]
for name in names:
    predictions = predictions.merge(read_table(run.path(f"{name}.csv")), on=keys, how="left", validate="one_to_one")
assert predictions[[f"p_{name}" for name in names]].notna().all(axis=None), "every patient must have every probability"

# %% [markdown]
# From here on only the test patients are used, except where the text says otherwise. A study without test patients
# (`test_fraction: 0`) is judged on its development patients, each by models that have not seen them: "test" below then
# means these cross-fitted rows, every table and figure rests on them, and `judged` in `results.json` says so. Their
# thresholds were chosen on the same rows, so that sensitivity and specificity are too high. Intervals take the
# probabilities as given: that other patients would have led to other models (the instability of notebooks 05 and 06) is
# not in them.

# %%
readouts = predictions[["patient_id"]].join(predictions.filter(regex="^score_"))
columns = ["dl_score_raw", "dl_score", *(f"p_{name}" for name in summary.MODELS)]
predictions = predictions.reindex(columns=[*keys, *columns, *(f"p_{name}_apparent" for name in names)])
write_table(run.path("predictions.csv"), predictions)
judged_set = "test" if predictions["split"].eq("test").any() else "development"
marks = {"simulated": simulated, "cross_fitted": judged_set == "development"}  # for captions
test = predictions[predictions["split"].eq(judged_set)].reset_index(drop=True)
develop_rows = cohort[cohort["split"].eq("development") & cohort["he"].notna()]
shared = set(test["patient_id"]) & set(develop_rows["patient_id"])
assert judged_set == "development" or not shared, "no test patient may be in the development set"

# %% [markdown]
# Outcome, probabilities and thresholds of the frozen models, by name.

# %%
y_test, p = test["he"].astype(int), {name: test[f"p_{name}"] for name in names}
described = {name: read_json(run.path(f"{name}_model.json")) for name in names}
thresholds = {name: described[name]["threshold"] for name in names}
notes += [f"{name} model: {note}" for name in names for note in described[name]["logistic"]["notes"]]

# %% [markdown]
# ## Performance
#
# The models' table as a paper prints it. Thresholds were chosen on development patients. Intervals are 95 %: DeLong's on
# the logit scale for the AUC, exact (Clopper-Pearson) for the rates. Accuracy, PPV and NPV depend on how often the outcome
# occurs: classifying every patient as negative reaches an accuracy of one minus the prevalence, which many published models
# do not exceed. Read the intervals before the estimates; the interval of one AUC from a test set of common size spans about
# 0.2, so that most differences between published models are within the noise of one of them.

# %%
models = summary.evaluate_models(test, thresholds, notes=notes)
judged = {name: models[name] for name in names}
performance = tables.performance_table(judged)
tables.save_table(run.folder, "performance", performance)

# %% [markdown]
# The headline, with the accuracy of classifying every patient as negative.

# %%
areas = "; ".join(f"{row.model} {row.auc}" for row in performance.itertuples())
kind = {"test": "test patients", "development": "development patients (cross-fitted, none held out)"}[judged_set]
patients = f"{len(test)} {'simulated ' * simulated}{kind}, {y_test.sum()} with HE"
Markdown(
    f"{patients}. AUC: **{areas}**. Accuracy with every patient negative: {100 * models['null']['accuracy']:.1f} %."
)

# %% [markdown]
# ### Comparison with the publication
#
# The publication's figures, with the intervals that its counts imply (notebook 00; it prints none), and this study's. Where
# these patients are simulated the columns are not two measurements of one thing: the simulation decides how much can be
# predicted, and agreement neither confirms nor refutes the publication. Where they are real, an estimate inside the other
# study's interval is agreement as far as both can tell, which with intervals this wide is not far.

# %%
paper = tables.paper_comparison(judged, n=len(test), events=int(y_test.sum()), simulated=simulated)
tables.save_table(run.folder, "paper_comparison", paper, printed=tables.printed_comparison(paper))

# %% [markdown]
# ### Likelihood ratios
#
# Post-test odds = pre-test odds × likelihood ratio, of a positive and of a negative call at the frozen threshold.
# Unlike predictive values they do not depend on the prevalence, though still on the case mix. A ratio between 0.5 and 2
# changes little; one above 10 or below 0.1 can settle a question. The interval is Koopman's.

# %%
counts = {name: {count: models[name][count] for count in ("tp", "fp", "fn", "tn")} for name in names}
ratios = pd.DataFrame({name: likelihood_ratios(**counts[name]) for name in names}).T
tables.save_table(run.folder, "likelihood_ratios", ratios.rename_axis("model").reset_index())

# %% [markdown]
# ## Discrimination
#
# The AUC is the probability that a patient with expansion gets the higher prediction of a random pair. The curve shows
# at which false-positive rate the sensitivity is gained; the marker is the model at its frozen threshold. With Youden's
# rule, a marker far from the upper left end of its own curve says that the threshold from the development set does not
# fit these patients. The curves are the empirical ones: the area under each is the printed AUC. The band is that of the
# last model alone and pointwise: the true curve may leave it somewhere.

# %%
curves = drawing.roc_table(test, judged, n_resamples=n_resamples, rng=rng)
show(run.folder, "roc", curves.assign(**marks))

# %% [markdown]
# ### Differences between models
#
# First all curves at once: DeLong's chi-squared test that no model differs from any other. Where it does not reject, no pair
# should be declared different.

# %%
together = [compare_aucs(y_test, p)] if len(names) > 1 else []
contrast = [(len(names), found.statistic, found.df, found.p) for found in together]
tables.save_table(run.folder, "all_curves", pd.DataFrame(contrast, columns=["models", "statistic", "df", "p"]))

# %% [markdown]
# Then the pairs, which were fixed beforehand, by paired DeLong tests. The p of the closed test is the larger of the
# pair's own and that of all curves: with it, the chance of any false difference among the three stays at 5 %. Absence of
# significance is not evidence of no difference: the interval says which differences remain possible, and with few events
# these include large ones.

# %%
comparisons = summary.compare(test, names, notes=notes, data=judged_set)
tables.save_table(run.folder, "comparisons", tables.comparison_table(comparisons))

# %% [markdown]
# Two models may have the same AUC and still differ at the thresholds at which they would be used. The table compares
# sensitivity, specificity and accuracy of the frozen calls, patient by patient, with exact McNemar tests; the intervals
# (Agresti and Min 2005) are approximate, and can exclude 0 where p is a little above 0.05. A higher sensitivity bought
# with a lower specificity is no improvement in itself; that trade is what net benefit weighs.

# %%
pairs = [(pair["a"], pair["b"]) for pair in comparisons]
calls = {name: p[name] >= thresholds[name] for name in names}
rates = {(a, b): compare_calls(y_test, calls[a], calls[b]).rename_axis("rate").reset_index() for a, b in pairs}
tables.save_table(run.folder, "operating_points", tables.stacked(rates))

# %% [markdown]
# ## Calibration
#
# Among patients with a predicted probability of 30 %, do 30 % expand? The slope is 1 where the spread of the
# predictions is right, below 1 where they are too extreme, and above 1 where they are not extreme enough; calibration in
# the large is 0 where their level is right, above 0 where expansion is more frequent than predicted. The integrated
# calibration index (ICI) is the mean distance between the smooth curve and the diagonal; with fewer than 20 events, too
# few for a curve, four groups of patients are shown instead. Test patients only, nothing refitted. What can be said
# follows from the intervals: one that excludes 1 (slope) or 0 (in the large) is a finding; one that includes both 1 and,
# say, 0.6 or 1.6 leaves the spread of the predictions unassessed. With fewer than 100 events that is the usual case.

# %%
curves = drawing.calibration_table(test, judged, n_resamples=n_resamples, rng=rng)
show(run.folder, "calibration", curves.assign(**marks))

# %% [markdown]
# The same in numbers. Observed over expected events is the ratio of the level; the last row says what the intervals
# allow to say, and no more. The ICI's interval comes from resampled patients; a distance cannot be negative, so that even
# a calibrated model's interval stays above 0.

# %%
tables.save_table(run.folder, "calibration_figures", tables.calibration_figures(judged))

# %% [markdown]
# Spiegelhalter's test of calibration. A small p says that the probabilities as a whole are wrong, not in which direction; a
# large one is no proof of calibration.

# %%
found = [(name, *spiegelhalter_test(y_test, p[name])) for name in names]
tables.save_table(run.folder, "spiegelhalter", pd.DataFrame(found, columns=["model", "z", "p"]))

# %% [markdown]
# ## Net benefit
#
# Would treatment guided by a model do more good than treating every patient, or none? At a threshold of 20 % a
# clinician accepts four unnecessary treatments per patient with expansion who is treated. A model is useful at the
# thresholds where its curve lies above both references, and only thresholds that somebody would choose are of interest.
# The second panel is the difference of the last two models: where its band includes 0, nothing is decided. The true
# benefit of treatment, its harm and its cost are not in this figure.

# %%
benefit = drawing.decision_table(test, judged)
show(run.folder, "decision_curve", benefit.assign(**marks))

# %% [markdown]
# The integrated model minus each of the others at three thresholds, in true positives per patient. An interval that
# includes 0 decides nothing.

# %%
rivals = [(a, b) for a, b in pairs if a == "integrated"]
gains = {(a, b): net_benefit_difference(y_test, p[a], p[b], np.array([0.1, 0.2, 0.3])) for a, b in rivals}
gain = tables.stacked(gains)
tables.save_table(run.folder, "net_benefit", gain, printed=tables.as_printed(gain, digits=3))

# %% [markdown]
# ## Reclassification
#
# From the clinical to the integrated model, patients with and without expansion apart. The net reclassification
# improvement (NRI) and the integrated discrimination improvement (IDI) are given because readers expect them. Both can
# lie above 0 for a useless predictor where the larger model is miscalibrated, and the NRI counts every move across a
# boundary alike, whatever follows from it; no conclusion in this book rests on them. The grid itself is the useful
# part: it shows how many patients would be treated differently.

# %%
limits = [float(limit) for limit in strata.split()]
how = {"strata": limits, "n_resamples": n_resamples, "rng": rng}
moves = drawing.reclassification_data(test, "clinical", "integrated", **how)
tables.save_table(run.folder, "reclassification", moves)
show(run.folder, "reclassification", moves.assign(**marks))

# %% [markdown]
# ## Subgroups
#
# The last of the models (the integrated one where there is an image score) by sex, age, location, ventricular blood,
# volume, site and missing values. Tertiles of the volume are those of development patients. Where a subgroup has fewer
# than ten events, or fewer than ten patients without, nothing is estimated. Whether subgroups differ is asked by one
# interaction test, not by comparing their intervals: that one subgroup's interval includes 0.5 and another's does not
# says nothing about a difference. Of twenty such tests one is expected below 0.05 by chance.

# %%
judge = names[-1]
who = test[["patient_id"]].merge(cohort, on="patient_id", how="left", validate="one_to_one")
splits = summary.subgroup_splits(who, develop_rows, described[judge]["logistic"]["path"])
everyone = {"test": "All test patients", "development": "All patients"}[judged_set]
subgroups = summary.subgroup_table(y_test, p[judge], splits, model=judge, everyone=everyone)
tables.save_table(run.folder, "subgroups", subgroups.drop(columns="model"))
show(run.folder, "subgroups", subgroups.assign(**marks))

# %% [markdown]
# ## Patients without an outcome
#
# Would the results differ if every hemorrhage had its second scan? All patients with an outcome, development rows
# cross-fitted, as they are and weighted by the inverse probability of having an outcome (notebook 01), with bootstrap
# intervals that take the weights as given. The table is empty where there are no weights.

# %%
everybody = predictions.merge(cohort[["patient_id", "outcome_weight", "ct_to_followup_h"]], on="patient_id")
weighted = run.records()["01_cohort"]["results"]["weighting"]["weighted"]
again = summary.weighted_models(everybody, names if weighted else [], n_resamples=n_resamples, rng=rng)
tables.save_table(run.folder, "weighted_performance", again)

# %% [markdown]
# Two extremes, for the clinical model: the frequency of expansion and the AUC if none, and if all, of the patients
# without an outcome had expanded. The true frequency lies between the two; the AUC need not, since it depends on who
# expanded. The wider apart, the more rests on the assumption that the recorded variables explain who was scanned twice.

# %%
lost = pd.concat([cohort, excluded]).query("has_hemorrhage == 1 and he.isna()")
bounds = summary.bounds_of_missing(everybody, lost, described["clinical"], read_json(run.path("imputation.json")))
tables.save_table(run.folder, "outcome_bounds", bounds)

# %% [markdown]
# And by the time of the second CT, for the last of the models: expansion that is looked for later is another outcome.

# %%
tables.save_table(run.folder, "followup_time", summary.by_followup(everybody, judge))

# %% [markdown]
# ## The model on one page
#
# The same model as a nomogram: each value is worth points, their sum is a probability. The longest line belongs to the
# predictor with the largest range of effects, not to the most certain one: the drawing hides all uncertainty, which is in
# the odds ratios of the model's own chapter. It needs every value; with a missing one the nomogram cannot be used, while
# the model imputes. Without any predictor there is nothing to draw.

# %%
axes = drawing.nomogram_table(described[judge]["nomogram"])
show(run.folder, "nomogram", axes.assign(simulated=simulated))

# %% [markdown]
# ## Published bedside scores
#
# The same patients, judged by scores that were made for other hospitals and need no network; none was refitted. Blend
# sign and hypodensity, where no reader gave them, are measured in the reference segmentation. Each score is judged in
# the patients whose columns are complete, so that the AUCs are of different patients and can be compared only roughly.
# A model that does not beat them clearly is hard to justify.

# %%
signs = ["patient_id", "blend_sign", "any_hypodensity"]
measured = read_table(run.path("slices", "quality.csv")) if image_source == "scans" else cohort
bedside = cohort[cohort["patient_id"].isin(test["patient_id"])].set_index("patient_id")
bedside = bedside.fillna(measured[signs].set_index("patient_id").reindex(bedside.index))
scores = summary.bedside_scores(bedside, notes=notes)
tables.save_table(run.folder, "bedside_scores", tables.bedside_table(scores))

# %% [markdown]
# ## The best achievable AUC
#
# In simulated patients the true probabilities are known, and with them the best AUC that any model of the same information
# can reach on average (notebook 01). A model above the oracle was lucky; the distance below it, judged by the interval, is
# what better training or more patients could still gain. Real patients have no oracle, and the figure has no data.

# %%
known = read_table(run.resolve(truth)) if truth else None
oracle = summary.oracle_auc(test, known, notes=notes)
show(run.folder, "oracle", drawing.oracle_table(test, judged, oracle).assign(**marks))

# %% [markdown]
# With few events an AUC depends largely on chance, which averages out where the simulation's probabilities replace the
# outcomes: the *expected AUC*. The *expected skill* is the part of what can be known that a score finds, 0 for chance
# and 1 for the best that its information allows: for the image and its read-outs (notebook 04), the bedside variables,
# or both. The probabilities are those given this information; what else acts on growth is averaged over.

# %%
summary.expected_skill(test.merge(readouts, on="patient_id", validate="one_to_one"), known).round(3)

# %% [markdown]
# ## Segmentation and detection
#
# The other tasks of the network, in test patients with a reference. Detection is the AUC of the presence of blood by
# slice, with whole patients resampled, since slices of one patient resemble each other. Dice, distance (HD95) and volume
# agreement are over patients with blood. A good Dice does not make a good prediction of growth, and a poor one does not
# rule it out. Without scans there is nothing to judge.

# %%
paths = [run.path("detection.csv"), run.path("segmentation.csv")]
read = [read_table(path) for path in paths] if image_source == "scans" else [summary.NO_SLICES, summary.NO_MASKS]
detection = summary.detection(read[0], n_resamples=n_resamples, rng=rng, notes=notes)
segmentation = summary.segmentation(read[1], notes=notes)
pd.Series({**detection, **segmentation}, name="value").to_frame()

# %% [markdown]
# ## All numbers in one file
#
# Every reason why a number is missing or to be read with care.

# %%
added_score = summary.added_score(run.records(), image_source, notes=notes)
pd.DataFrame({"note": notes})

# %% [markdown]
# `results.json` holds what this chapter computed, with the selection, the optimism and the test of the added score
# of the earlier ones.

# %%
records = run.records()
clinical = described["clinical"]
logistic = {name: clinical["logistic"][name] for name in ("path", "inclusion_frequency")}
chapters = {"clinical": "05_clinical_to_he", "integrated": "06_integrated_to_he"}
optimism = {name: records[key]["results"]["optimism"] for name, key in chapters.items() if name in names}
repeated = {name: records[key]["results"]["cross_validation"] for name, key in chapters.items() if name in names}
devices = {record["results"]["device"] for name, record in records.items() if name.startswith("03_")}

# %% [markdown]
# Its keys stay the same from study to study; what cannot be computed is null, with its reason in `notes`.

# %%
content = {
    "schema": 2,
    "version": versions()["hepred"],
    "study": study,
    "image_source": image_source,
    "he_definition": clinical["definition"],
    "auc_ci_method": "logit",
    "judged": judged_set,
    "n": summary.count_patients(cohort, excluded),
    "detection": detection,
    "segmentation": segmentation,
    "models": {**{name: models.get(name) for name in summary.MODELS}, "null": models["null"]},
    "scores": scores,
    "comparisons": comparisons,
    "selection": {"criterion": clinical["criterion"], **logistic},
    "optimism": optimism,
    "cross_validation": repeated,
    "added_score": added_score,
    "oracle": oracle,
    "notes": notes,
}
assert content["n"]["development"] + content["n"]["test"] == content["n"]["patients"], "counts must add up"

# %% [markdown]
# ## Limits
#
# One division of one cohort: another would give other models and other numbers. The interval of a difference between
# models is what counts, not the order of their AUCs. Test patients mostly come from the hospitals and the period of the
# development patients; how the models travel is the question of notebook 08. No number here says what a treatment would
# achieve.

# %%
provenance = {
    "versions": versions(),
    "device": sorted(devices),
    "manifest_sha256": file_sha256(run.resolve(manifest)),
    "scans_sha256": scan_checksums(read_manifest(run.resolve(manifest))["baseline_ct"].dropna()),
    "notebooks": {**records, run.notebook: {"parameters": dict(run.parameters)}},
}
write_json(run.path("results.json"), content)
write_json(run.path("provenance.json"), provenance)
_ = run.record(auc={name: models[name]["auc"] for name in names})
