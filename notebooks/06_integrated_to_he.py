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
# # 06 Integrated-to-HE
#
# **What does the DL score add to the bedside variables?**
#
# Reads `cohort.csv`, `image.csv`, `image_model.json`, `clinical.csv`, `clinical_model.json`, `imputation.json` and the
# folds' `folds/<k>/predictions.csv`; writes `integrated.csv`, `integrated_model.json`, `integrated_imputation.json`,
# tables and figures.

# %% [markdown]
# An image score that predicts expansion is of use only if it adds information to the bedside variables. The integrated
# model is the clinical model of notebook 05 plus one number per patient. What can go wrong is the origin of that
# number: a score that comes from networks which were trained on the same patients looks far better than it is. The
# middle of this chapter shows by how much.

# %%
import numpy as np
import pandas as pd

from hepred_lib.cohort.predictors import predictor_frame, predictor_terms
from hepred_lib.multitask.prediction import raw_scores
from hepred_lib.multitask.readout import cross_fitted_readout
from hepred_lib.stats.development import DevelopmentSettings, cross_fit_sets, develop
from hepred_lib.stats.discrimination import auc_interval, compare_auc
from hepred_lib.stats.effects import multivariable_odds_ratios, univariable_odds_ratios, weighted_odds_ratios
from hepred_lib.stats.imputation import pool_auc, pool_slope
from hepred_lib.stats.operating_point import choose_threshold, threshold_interval
from hepred_lib.stats.permutation import added_score_tests, bedside_designs, permutation_test
from hepred_lib.stats.sensitivity import compare_penalties, complete_case_odds_ratios, leak_demonstration
from hepred_lib.stats.subgroups import internal_external
from hepred_lib.stats.validation import cross_validate, validation_figures, validation_table
from hepred_lib.study import drawing, tables
from hepred_lib.study.drawing import Markdown, show
from hepred_lib.study.files import read_json, read_table, write_json, write_table
from hepred_lib.study.run import open_notebook, versions

# %% [markdown]
# ## Parameters
#
# What a study file may change. Criterion, entry limit and candidates are those of notebook 05.

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
truth = "cohorts/demo/truth.csv"  # only to label simulated figures; empty where it is not known
image_source = "scans"  # scans, or column: the score comes from the manifest
folds = 3  # networks of notebook 03, where the score is theirs
threshold_rule = "youden"  # of the call: youden, "sensitivity 0.80" (the highest that reaches it), or a probability
n_imputations = 5  # imputed data sets
n_resamples = 50  # bootstrap resamples, the whole procedure in each
n_repeats = 10  # of the cross-validation, where no test patients are held out
n_permutations = 999  # of the test of the added score
seed = 7  # of imputation and resamples

# %% [markdown]
# ## Patients and scores
#
# One row per patient with an outcome. The score is the normalized one of notebook 04: in development patients it comes from
# the network that has not seen them (out-of-fold), in test patients it is the mean over the networks.

# %%
run = open_notebook("06_integrated_to_he", globals())
cohort = read_table(run.path("cohort.csv")).dropna(subset="he")
simulated = run.simulated(cohort["patient_id"])
image = read_table(run.path("image.csv"))[["patient_id", "dl_score"]]
patients = cohort.merge(image, on="patient_id", validate="one_to_one").reset_index(drop=True)
assert len(patients) == len(cohort), "every patient with an outcome must have a DL score"

# %% [markdown]
# Development patients serve to develop the model. Test patients are used on this page only to show what the leak costs;
# nothing is chosen by them.

# %%
rows, held = patients["split"].eq("development"), patients["split"].eq("test")
clinical_model = read_json(run.path("clinical_model.json"))
offered = [name for name in clinical_model["candidates"] if name != "dl_score"]
x = pd.concat([predictor_frame(patients, offered), patients["dl_score"]], axis=1)
y, fold = patients.loc[rows, "he"].astype(int), patients.loc[rows, "fold"]
assert len(x) == len(patients), "predictors and patients must be the same rows"

# %% [markdown]
# ## The model
#
# The bedside variables are chosen by the procedure of notebook 05, then the score is added. The score is not a
# candidate in the selection, but it helps to impute what is missing; a variable may therefore be chosen here that was
# not chosen there, or the other way round. As before, imputation and selection are repeated in every resample. The
# score is not: its networks and read-outs are taken as they are, so the optimism below covers everything but them.

# %%
how = {name: clinical_model["logistic"]["settings"][name] for name in ("criterion", "alpha")}
how |= {"n_imputations": n_imputations, "n_resamples": n_resamples, "seed": seed}
settings = DevelopmentSettings(candidates=predictor_terms(offered), added=("dl_score",), **how)
model = develop(x[rows], y, settings)

# %% [markdown]
# ### Odds ratios
#
# The model before shrinkage, in the figure beside the clinical model. The score counts per standard deviation, so that
# its odds ratio can be compared with those of other studies independently of the network's scale. It is the odds ratio
# at equal bedside variables: if it is much smaller than that of the score alone (in the table below), the network has
# largely learned what the bedside shows, for instance the volume that goes with a low coma scale.

# %%
odds = tables.odds_ratio_table(model, "integrated")
tables.save_table(run.folder, "odds_ratios_integrated", odds)
limits = multivariable_odds_ratios(model, x[rows], y)
both = drawing.odds_data(model, "integrated", limits, y, beside=run.folder)
show(run.folder, "odds_ratios_integrated", both.assign(simulated=simulated))

# %% [markdown]
# Each candidate alone and in the model, per clinical step: Wald limits by Rubin's rules, and profile-likelihood limits
# averaged over the imputed sets. Both ignore that the bedside variables were selected, and both take the score as a fixed
# measurement.

# %%
both = tables.odds_ratios_beside(univariable_odds_ratios(x[rows], y), limits, model.curves)
tables.save_table(run.folder, "univariable_multivariable_integrated", both)

# %% [markdown]
# ### The test of the added score
#
# `p` is that of the likelihood-ratio test of the score over the bedside variables. For a score that was trained
# elsewhere, and has never seen these outcomes, it is valid, and the only one given. For a score that was made from
# these same patients it is too small: each patient's score has seen the others' outcomes, so that for a score of pure
# noise the statistic is up to twice too large. Two corrected values are given with it. One halves the statistic, which
# is the worst case; the other, by permutations, measures what cross-fitting does in these patients (Höfling and
# Tibshirani 2008): what the networks measured in the scans is tied to other patients of the same fold, outcome and
# bedside variables staying together; the read-out, the linear layer that makes the score of these values, is fitted
# again without each fold; and the share of the permutations whose score adds at least as much is the p value, which
# cannot fall below 1 / (`n_permutations` + 1).
#
# The networks are not trained again for each permutation. With an `expansion_weight` of 0 in notebook 03 they need not be:
# no outcome has taught them. With another weight the test assumes that what they measure is hardly tied to the outcomes
# of their training, which is likely for volume, density and shape and less so for deep features; where the two values
# differ, the larger is then the safer one.

# %%
numbers = [number for number in range(folds) if image_source == "scans"]
raw, labels = raw_scores(run.folder, cohort, numbers), y.set_axis(patients.loc[rows, "patient_id"])
trained = run.records().get("03_multitask_training_fold0", {"parameters": {"readout": "findings"}})["parameters"]
readout = cross_fitted_readout(raw, labels, readout=trained["readout"], seed=seed)
drawn = {"n_permutations": n_permutations, "rng": np.random.default_rng(seed)}
permuted = permutation_test(bedside_designs(model, x[rows]), y, readout, **drawn) if readout else None

# %% [markdown]
# The table is empty where the score has no coefficient, and a column is absent where its test cannot be made: without
# networks, or with fewer than five patients of an outcome to fit a read-out on. A small p says that the score adds
# something; whether it adds enough to matter is a question for the change of discrimination and net benefit in test
# patients.

# %%
added = added_score_tests(model, permuted, cross_fitted=bool(numbers))
test = pd.DataFrame([row for row in [added] if row]).dropna(axis=1, how="all")
tables.save_table(run.folder, "added_score", test)

# %% [markdown]
# Optimism of the model: apparent performance, and corrected with imputation, selection and fit repeated in each resample.
# The corrected slope is the shrinkage factor of the formula below.

# %%
optimism = pd.DataFrame({"figure": ["AUC", "Brier", "slope"]})
optimism["apparent"] = [model.optimism["auc_apparent"], model.optimism["brier_apparent"], 1.0]
optimism["corrected"] = [model.optimism[f"{name}_corrected"] for name in ("auc", "brier", "slope")]
tables.save_table(run.folder, "optimism_integrated", optimism)

# %% [markdown]
# ### The formula
#
# After shrinkage, in the predictors' own units.

# %%
Markdown(tables.model_formula(model))

# %% [markdown]
# What each term is counted in, before and after shrinkage. The score is standardized by the constants in
# `image_model.json`; without them the formula cannot be used on a new scan.

# %%
tables.coefficient_table(model)

# %% [markdown]
# ### Complete cases
#
# The same predictors, fitted on the development patients who have them all. If the score's odds ratio moves by much more
# than its interval allows, the imputation of the bedside variables drives it. The table is empty where fewer than ten
# complete patients of an outcome are left.

# %%
beside = complete_case_odds_ratios(x[rows], y, model)
tables.save_table(run.folder, "complete_cases_integrated", beside)

# %% [markdown]
# ### Patients without an outcome
#
# The same predictors with each patient weighted by the inverse probability of having an outcome, as in notebook 05.

# %%
reweighted = weighted_odds_ratios(model, x[rows], y, patients.loc[rows, "outcome_weight"])
tables.save_table(run.folder, "weighted_integrated", reweighted)

# %% [markdown]
# ## The leak, demonstrated
#
# Now the same regression with the *in-sample* scores of the development patients: the mean over the networks that had
# been trained on them. This is how a leak arises in models that are stacked on a network. Each network's score is
# standardized by the constants of its fold, as in notebook 04.
#
# A score from the manifest (`image_source: column`) was made elsewhere; whether it is out-of-fold cannot be seen from its
# values, there is nothing to demonstrate, and the table is empty.

# %%
scales = {scale["fold"]: scale for scale in read_json(run.path("image_model.json"))["scales"]}
parts = [pd.Series(dtype=float)]
for number in numbers:
    read = read_table(run.path("folds", str(number), "predictions.csv")).set_index("patient_id")
    logits = read.loc[read["role"].eq("in_fold"), "dl_logit"]
    parts.append((logits - scales[number]["mean"]) / scales[number]["sd"])
in_sample = patients.loc[rows, "patient_id"].map(pd.concat(parts).groupby(level=0).mean())
assert in_sample.notna().all() or not numbers, "every development patient must have an in-sample score"

# %% [markdown]
# Compare the two rows, both before shrinkage. Their odds ratios are per standard deviation of the out-of-fold score in
# these patients, which is not exactly 1: that of the first row differs a little from the one further up. The in-sample
# score usually has the larger odds ratio and the larger apparent AUC, because read-outs, and networks that were trained
# with an expansion loss, remember outcomes. The cost shows in the test patients, whom none has seen: a lower calibration
# slope, that is, probabilities which are more extreme than they should be, from a regression that trusts the score too
# much. If the rows hardly differ, little was memorized, which is usual for a read-out with a strong penalty.

# %%
unseen = (x[held], patients.loc[held, "he"].astype(int))
leak = leak_demonstration(x[rows], y, settings, in_sample=in_sample, test=unseen) if numbers else pd.DataFrame()
tables.save_table(
    run.folder, "leak", leak.rename(lambda name: name.replace("_", "-")).rename_axis("score").reset_index()
)

# %% [markdown]
# ## Probabilities
#
# Development rows are cross-fitted over the same folds as the networks; test rows come from the final model. The threshold
# is chosen by `threshold_rule` on the cross-fitted probabilities and frozen here.

# %%
p_sets = cross_fit_sets(x[rows], y, fold, settings)
p_cross = p_sets.mean(axis=0)

# %% [markdown]
# How far the threshold moves over 200 resamples of these probabilities (95 %). A Youden threshold is the place of a maximum,
# which jumps from sample to sample; a wide interval says that another study would have frozen another one.

# %%
threshold = choose_threshold(y, p_cross, threshold_rule)
moved = threshold_interval(y, p_cross, threshold_rule, n_resamples=200, rng=np.random.default_rng(seed))
pd.DataFrame([{"rule": threshold_rule, "threshold": threshold, "low": moved[0], "high": moved[1]}]).round(3)

# %% [markdown]
# One row per patient. The `apparent` probabilities of development patients are those of the final model, which has seen
# them; they serve to recompute the formula, not to judge it.

# %%
integrated = patients[["patient_id", "split", "fold", "he"]].copy()
integrated["p_integrated"] = integrated["p_integrated_apparent"] = model.predict(x)
integrated.loc[rows, "p_integrated"] = p_cross
assert integrated["p_integrated"].notna().all(), "every patient must have a probability"

# %% [markdown]
# AUC of the mean probability, AUC and slope pooled over the imputed sets by Rubin's rules, and the difference of the
# AUC from that of the clinical model in the same patients (paired DeLong interval). Two AUCs whose own intervals
# overlap widely can still differ clearly, since they come from the same patients; but where the score was trained in
# these patients, the interval of the difference is too narrow, as the p value above is too small.

# %%
clinical = read_table(run.path("clinical.csv")).set_index("patient_id")["p_clinical"]
gain = compare_auc(y, p_cross, patients.loc[rows, "patient_id"].map(clinical))
cross = auc_interval(y, p_cross, method="logit")
pooled = {"AUC, pooled": pool_auc(y, p_sets), "slope, pooled": pool_slope(y, p_sets)}

# %%
crossed = [("AUC, mean probability", cross.auc, cross.low, cross.high)]
crossed += [(name, found.estimate, found.low, found.high) for name, found in pooled.items()]
crossed += [("AUC minus clinical AUC", gain.difference, gain.low, gain.high)]
crossed = pd.DataFrame(crossed, columns=["figure", "estimate", "low", "high"])
tables.save_table(run.folder, "cross_fitted_integrated", crossed)

# %% [markdown]
# ### Cross-validation, repeated
#
# As in notebook 05, where no test set is held out; otherwise the table is empty. The score is taken as it stands: patients of
# a training part have scores that were learned from held-out patients' outcomes, too, so that these figures, like all
# of this chapter, are slightly optimistic.

# %%
repeats = cross_validate(model, x[rows], y, n_repeats=0 if held.any() else n_repeats)
tables.save_table(run.folder, "cross_validation_integrated", validation_table(model, repeats, y, p_cross))

# %% [markdown]
# ## Stability of the predictions
#
# As in notebook 05: the resamples' models, applied to the same patients. The networks were not trained again, so that the
# score is taken as given, and the true instability is larger. A model that is steadier than the clinical one owes it to the
# score, which enters every resample's model.

# %%
instability = drawing.instability_table(model, x[rows], y, threshold)
show(run.folder, "instability_integrated", instability.assign(simulated=simulated))

# %% [markdown]
# The same in numbers, to be compared with those of the clinical model.

# %%
tables.save_table(run.folder, "instability_integrated", tables.instability_summary(instability))

# %% [markdown]
# ## Site by site
#
# As in notebook 05, where at least three sites have enough patients: the procedure repeated without each site and judged there.
# The score is taken as it stands; where its networks were trained on patients of these sites, that part of the model is not
# new to the site that is left out, and its performance in the table is too good.

# %%
by_site = internal_external(x[rows], y, patients.loc[rows, "site"], settings)
tables.save_table(run.folder, "internal_external_integrated", by_site)

# %% [markdown]
# ## Penalties instead of selection
#
# Lasso and ridge over all candidates and the score, cross-fitted over the same folds, their strength chosen inside the
# development data. The difference is their AUC minus that of the model. The table is empty where there are too few events.

# %%
penalized = compare_penalties(x[rows], y, fold, p_cross, seed=seed)
tables.save_table(run.folder, "penalized_integrated", penalized)

# %% [markdown]
# ## Limits
#
# The read-outs behind the out-of-fold scores have seen the outcomes of the other folds; cross-fitted probabilities of the
# integrated model are therefore slightly optimistic, and no correction here removes that. Final performance is assessed
# in the test set. A gain over the clinical model is a gain over *these* bedside variables: where the baseline volume is
# not among them (`radiological` in notebook 05), it contains what measuring the volume by hand would give.

# %%
rule = {"threshold": threshold, "threshold_ci": list(moved)}
rule |= {"threshold_rule": f"{threshold_rule}, cross-fitted development probabilities"}
described = {"model": "integrated", "definition": clinical_model["definition"]} | rule | {"candidates": offered}
described |= {"logistic": model.to_json(), "nomogram": drawing.describe_nomogram(model, x[rows])}
described |= {"units": tables.units(model), "versions": versions(commit=False)}
write_table(run.path("integrated.csv"), integrated)
write_json(run.path("integrated_imputation.json"), model.imputer.to_json())
write_json(run.path("integrated_model.json"), described)
told = {"auc_cross_fitted": cross.auc, "shrinkage": model.shrinkage, "optimism": model.optimism}
told |= {"cross_validation": validation_figures(repeats)}
_ = run.record(path=list(model.path), added_score=added or None, **told)
