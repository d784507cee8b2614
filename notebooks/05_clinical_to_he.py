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
# # 05 Clinical-to-HE
#
# **Which bedside variables predict hematoma expansion, and how reliably were they chosen?**
#
# Reads `cohort.csv` and `records/01_cohort.json`; writes `clinical.csv`, `clinical_model.json`, `imputation.json`,
# tables and figures.

# %% [markdown]
# The clinical model is the yardstick of this book: an image score is worth its cost only if it adds to what is known at
# the bedside. The chapter looks at the candidates and their gaps, asks how many of them the sample can support, follows
# one forward selection step by step, and only then hands the whole procedure (imputation, selection, fit, shrinkage) to
# one function that can repeat it in every bootstrap resample. The second half asks how far the result can be trusted.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from IPython.display import display

from hepred_lib.cohort.predictors import candidate_terms, predictor_frame, predictor_label, predictor_terms
from hepred_lib.literal import for_markdown
from hepred_lib.stats.curves import Basis, split_term
from hepred_lib.stats.development import DevelopmentSettings, cross_fit_sets, develop
from hepred_lib.stats.diagnostics import (
    candidate_parameters,
    collinear_predictors,
    events_per_parameter,
    linearity_tests,
    variance_inflation,
)
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.effects import multivariable_odds_ratios, univariable_odds_ratios, weighted_odds_ratios
from hepred_lib.stats.imputation import impute_development, pool_auc, pool_slope
from hepred_lib.stats.operating_point import choose_threshold, threshold_interval
from hepred_lib.stats.published import AUCS
from hepred_lib.stats.sample_size import cox_snell_r2_from_auc, riley_minimum, supported_parameters
from hepred_lib.stats.selection import Rule, forward_select, selection_stability
from hepred_lib.stats.sensitivity import (
    compare_penalties,
    complete_case_odds_ratios,
    curved_models,
    naive_optimism,
)
from hepred_lib.stats.subgroups import internal_external
from hepred_lib.stats.validation import cross_validate, validation_figures, validation_table
from hepred_lib.study import drawing, tables
from hepred_lib.study.drawing import Markdown, show
from hepred_lib.study.files import read_json, read_table, write_json, write_table
from hepred_lib.study.run import open_notebook, versions

# %% [markdown]
# ## Parameters
#
# What a study file may change. The number of imputed sets and of resamples sets the run time and the noise of all that is
# repeated: with 50 resamples a frequency of one half is known to within 14 percentage points, with 500 to within 4.

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
truth = "cohorts/demo/truth.csv"  # only to label simulated figures; empty where it is not known
candidates = ""  # names joined by blanks, also log(name) or spline(name); empty: every bedside and laboratory variable
radiological = False  # offer volume, location and ventricular blood as read by a person, too
criterion = "lr"  # lr (likelihood ratio), aic or bic
alpha = 0.05  # a variable enters while its likelihood-ratio p is below
threshold_rule = "youden"  # of the call: youden, "sensitivity 0.80" (the highest that reaches it), or a probability
n_imputations = 5  # imputed data sets
n_resamples = 50  # bootstrap resamples, the whole procedure in each
n_repeats = 10  # of the cross-validation, where no test patients are held out
seed = 7  # of imputation and resamples

# %% [markdown]
# ## Candidates
#
# Only development patients with a known outcome are used. Test patients are not used for scaling, imputation, selection or
# the choice of a threshold; at the end of the chapter they receive a probability, and nothing else is done with them.

# %%
run = open_notebook("05_clinical_to_he", globals())
cohort = read_table(run.path("cohort.csv")).dropna(subset="he").reset_index(drop=True)
simulated = run.simulated(cohort["patient_id"])
development, test = (cohort[cohort["split"].eq(split)] for split in ("development", "test"))
assert not set(development["patient_id"]) & set(test["patient_id"]), "no test patient may be in the development set"

# %% [markdown]
# A candidate must be known at the time of the first CT, and it must have been named before the data were looked at: here
# by the study file, or as the list of all bedside and laboratory variables that this manifest has. Volume, location and
# ventricular blood read by a person are offered only on request, since they would compete with the image score.
#
# A number enters as a straight line in the log odds. Where that is not plausible beforehand, a study offers
# `log(baseline_volume_ml)`, or `spline(age)`, a restricted cubic spline with three knots at the 10th, 50th and 90th
# percentile, which counts two parameters and enters as a whole (Harrell 2015). Values are imputed before they are
# transformed.

# %%
known = [name for name in development if development[name].notna().any()]
offered = candidate_terms(candidates, known, radiological=radiological)
x, y, terms = predictor_frame(development, offered), development["he"].astype(int), predictor_terms(offered)
assert x.index.equals(y.index), "predictors and outcome must be of the same patients"

# %% [markdown]
# ### Missing values
#
# Missing values are imputed twice, for two purposes. Where variables are selected and coefficients estimated, the outcome
# takes part: values filled in without it carry no association with expansion, and odds ratios would shrink towards 1, the
# more so the more values are missing (Moons et al. 2006; Sterne et al. 2009). Where the model is used, on test patients and
# later ones, the outcome is unknown: a second imputation model knows the predictors alone, and every figure of performance,
# the optimism included, is judged on values filled in by that one.
#
# Read the figure by rows: a laboratory value that is missing much more often in patients with expansion than in those
# without was not ordered at random, and its odds ratio should be read with that in mind. Candidates without a missing value
# are not shown; if all are complete, the figure says so and imputation changes nothing.

# %%
missing = pd.DataFrame({"n": x.notna().sum(), "missing": x.isna().mean()}).sort_values("missing", ascending=False)
tables.save_table(run.folder, "missing", missing.rename_axis("predictor").reset_index())
show(run.folder, "missing", drawing.missing_table(x, y).assign(simulated=simulated))

# %% [markdown]
# ### Correlation
#
# Spearman's rank correlation of each pair, in the patients who have both values. Two candidates that measure the same
# thing (a coma scale and a stroke scale, two blood pressures) compete for one place in the model, and which of them
# wins is then close to a coin toss. A dark cell suggests an unstable choice below; it does not say which of the two
# matters. An empty cell is a pair whose correlation is not known, because one of the two does not vary.

# %%
show(run.folder, "correlation", drawing.correlation_table(x).assign(simulated=simulated))

# %% [markdown]
# ## Sample size
#
# Riley's criteria give the smallest development sample for which a model of these candidates is expected to shrink by no
# more than a tenth, to be optimistic by no more than 0.05 in Nagelkerke's R², and to estimate the overall risk to within
# 0.05. They need an anticipated performance: here the AUC that the publication reports for its clinical model. Parameters
# are counted before selection, and a category counts once for each level but its first, because a variable that was
# considered and dropped has used up information all the same.

# %%
n_parameters = candidate_parameters(x, terms)
needed = riley_minimum(n_parameters, y.mean(), cox_snell_r2_from_auc(AUCS["clinical"], y.mean()))
reasons = {"shrinkage": needed.n_shrinkage, "optimism": needed.n_optimism, "overall risk": needed.n_overall_risk}
pd.Series(reasons | {"all three": needed.n, "available": len(y)}, name="patients").to_frame()

# %% [markdown]
# If fewer patients are available than are needed, expect an unstable choice, and probabilities that are too extreme
# before shrinkage. Shrinkage repairs the second in part and the first not at all; fewer candidates, named beforehand, or
# more patients repair both. If the sample suffices, the criteria still say nothing about how stable the selection is. The
# number of events per parameter is given because readers ask for it; it is a rule of thumb without a firm basis.

# %%
supported = supported_parameters(len(y), y.mean(), AUCS["clinical"])
counted = {"considered": n_parameters, "supported by this sample": supported}
counted |= {"events per parameter considered": events_per_parameter(y, n_parameters)}
pd.Series(counted, name="parameters").round(1).to_frame()

# %% [markdown]
# ## Forward selection, step by step
#
# First one selection by hand, in the first imputed data set. Constant columns, and columns that follow exactly from those
# before them, cannot be chosen and are left out.

# %%
imputer, sets = impute_development(x, y, n_imputations=n_imputations, rng=np.random.default_rng(seed))
basis = Basis.fit(imputer.coding, terms, imputer.coding.matrix(x).to_numpy())
completed = pd.DataFrame(basis.expand(sets[0]), columns=list(basis.names), index=x.index).loc[
    :, lambda t: t.nunique() > 1
]
first = completed.drop(columns=list(collinear_predictors(completed)))
levels = {name: [coded for coded in columns if coded in first] for name, columns in basis.blocks.items()}
blocks = {name: columns for name, columns in levels.items() if columns}

# %% [markdown]
# Each step tries every candidate that is not yet in the model and takes the one with the smallest likelihood-ratio p (or
# the largest drop of `aic` or `bic`); it stops when none is good enough. In the table, `statistic` is twice the gain in log
# likelihood over the step before. The p of the first step is the smallest of many and would look impressive in pure noise:
# these p values order the candidates, they do not test them. A second variable of a correlated pair often does not enter
# at all, although alone it would predict as well as the first.

# %%
by_hand = forward_select(first, y, criterion=criterion, alpha=alpha, blocks=blocks, separation="firth")
tables.save_table(run.folder, "selection_steps", by_hand.steps)

# %% [markdown]
# ## The whole procedure
#
# In each imputed data set variables enter as above; kept are those that more than half of the sets choose. The model is
# fitted in every set and pooled by Rubin's rules. Everything, imputation and selection included, is then repeated in each
# bootstrap resample. The mean calibration slope of the resamples' models in the development data is the shrinkage factor
# by which all coefficients are multiplied.

# %%
how = {"criterion": criterion, "alpha": alpha, "n_imputations": n_imputations, "n_resamples": n_resamples, "seed": seed}
settings = DevelopmentSettings(candidates=terms, **how)
model = develop(x, y, settings)
chosen = ", ".join(for_markdown(predictor_label(name)) for name in model.path) or "nothing"
Markdown(f"Selected from {len(terms)} candidates: **{chosen}**. {' '.join(map(for_markdown, model.notes))}")

# %% [markdown]
# ### Odds ratios
#
# The model before shrinkage, per step that a clinician would call one (a logarithm per doubling, a spline for its upper
# against its lower outer knot), with Wald intervals pooled over the imputed sets; ticks mark profile-likelihood limits (see
# below) where these lie elsewhere. An interval that excludes 1 confirms
# nothing here: selection by significance makes it so. The intervals ignore that the variables were selected and are
# therefore too narrow.

# %%
odds = tables.odds_ratio_table(model, "clinical")
tables.save_table(run.folder, "odds_ratios_clinical", odds)
limits = multivariable_odds_ratios(model, x, y)
drawn = drawing.odds_data(model, "clinical", limits, y)
show(run.folder, "odds_ratios_clinical", drawn.assign(simulated=simulated))

# %% [markdown]
# The table below is the one that a paper prints: every candidate alone, in the patients who have its value, and those in
# the model together with the others, per the same steps. Wald limits take the estimate as normal; profile
# limits ask the likelihood itself, each imputed set's profile turned into a distribution and the distributions averaged
# (Heinze, Ploner and Beyea 2013). Where the two disagree, the sample is too small for the normal approximation, and the
# profile limits are the better ones. A variable that matters alone but is not in the model was redundant in this sample,
# which is no evidence that it does not matter.

# %%
both = tables.odds_ratios_beside(univariable_odds_ratios(x, y), limits, model.curves)
tables.save_table(run.folder, "univariable_multivariable_clinical", both)

# %% [markdown]
# ### The formula
#
# After shrinkage, in the predictors' own units, so that a probability can be recomputed by hand. Where a value is missing,
# the probability is the mean over the imputed sets, which no hand calculation gives.

# %%
Markdown(tables.model_formula(model))

# %% [markdown]
# What each term is counted in; the bend of a spline is written out in `clinical_model.json`. The coefficients in the
# formula are those before shrinkage times one common factor; the intercept is estimated again, so that the mean
# probability equals the observed frequency.

# %%
tables.coefficient_table(model)

# %% [markdown]
# ## Linearity and collinearity
#
# The model takes each number as linear in the log odds. The test compares the straight line with a restricted cubic spline
# of four knots, the other selected variables held linear, in the first imputed data set. A small p calls for a curved
# term, a large one does not prove a straight line: with few events the test has little power. Where a test is not
# possible, `note` gives the reason; numbers of ten values or fewer, and variables that were not selected, are not tested.

# %%
single = [name for name in model.path if basis.blocks[name] == (name,)]
numbers = [name for name in single if name in completed and completed[name].nunique() > 10]
others = completed.reindex(columns=[name for name in model.names if name in completed])
tables.save_table(run.folder, "linearity", linearity_tests(others, y, numbers))

# %% [markdown]
# What a curve would change: the model again with a spline in place of one straight line, the other terms kept. If AUC,
# Brier score and slope stay where they are and hardly a probability moves, the line is good enough, whatever the p above.
# They are corrected for the optimism of the fit alone, the terms taken as given (the column `naive` further down), and
# serve to compare the rows, not to judge the model. If probabilities move by more than a few points, name the curve as a
# candidate *in the next study*; to put it into this model because of this table would be one more selection that no
# resample repeats.

# %%
straight = [name for name in numbers if not split_term(name)[0]]
tables.save_table(run.folder, "curved_clinical", curved_models(x, y, model, straight))

# %% [markdown]
# The generalized variance inflation factor (`gvif`) says how many times the other candidates inflate the variance of
# each coefficient if all are in one model. Values of 5 and more are usually called a concern; for a candidate of
# several columns its power 1/(2 df), in the last column, is compared with √5. It is infinite for a candidate that is a
# sum of others; no model needs all of those.

# %%
columns = ["predictor", "df", "gvif", "per_df"]
inflation = variance_inflation(completed) if completed.shape[1] else pd.DataFrame(columns=columns)
tables.save_table(run.folder, "variance_inflation", inflation.sort_values("gvif", ascending=False))

# %% [markdown]
# ## Stability of the selection
#
# How often each candidate was chosen over the resamples. A variable near one half would have been dropped in a second
# sample from the same hospital as easily as kept. A dot above one half that is not filled, or a filled one below it,
# shows that the final choice depends on a few patients.

# %%
inclusion = drawing.inclusion_table(model)
tables.save_table(run.folder, "inclusion_frequency", inclusion)
show(run.folder, "inclusion_frequency", inclusion.assign(simulated=simulated))

# %% [markdown]
# Which sets of variables were chosen together: the ten most frequent. This table and the next one resample the first
# imputed data set alone, so that their frequencies differ from those above. If the most frequent set was chosen in a
# minority of the resamples, there is no such thing as *the* selected model: several are equally compatible with these
# patients, and they may give different probabilities to the same patient.

# %%
rng, draws = np.random.default_rng(seed), max(n_resamples, 100)
stability = selection_stability(completed, y, n_resamples=draws, rng=rng, rule=Rule(criterion, alpha))
tables.save_table(run.folder, "model_frequency", stability.models).head(10)

# %% [markdown]
# What selection does to the size of an effect: the coefficient with all candidates in the model, then its median and
# spread over the resamples (0 where not chosen). The relative bias compares the estimates where chosen with the
# coefficient of all candidates: weak effects enter only in the samples that happen to overestimate them (where that
# coefficient is near 0 the percentage means nothing). The RMSD ratio is the root mean squared difference of the resamples'
# estimates from that coefficient over its standard error; where it exceeds 1, selection makes the estimate worse than no
# selection (Heinze, Wallisch and Dunkler 2018).

# %%
steady = stability.coefficients.rename_axis("name").reset_index()
steady.insert(1, "inclusion", stability.inclusion.reindex(steady["name"]).to_numpy())
steady = steady.sort_values("inclusion", ascending=False)
tables.save_table(run.folder, "coefficient_stability", steady, printed=tables.as_printed(steady, digits=3))

# %% [markdown]
# ## Optimism
#
# By how much does performance in the development data exceed what new patients would show? `apparent` is not corrected;
# `naive` is corrected as if the selected variables had been fixed beforehand; `corrected` repeats imputation and selection
# in every resample and is the column to believe. The difference between the last two is what ignoring the selection hides.
# The corrected slope is the shrinkage factor of the formula above. A model without predictors has no optimism. With few
# resamples the corrections themselves move in the second digit.

# %%
naive = naive_optimism(x, y, model) if model.predictors else model.optimism
optimism = pd.DataFrame({"figure": ["AUC", "Brier", "slope"]})
optimism["apparent"] = [model.optimism["auc_apparent"], model.optimism["brier_apparent"], 1.0]
for column, found in (("naive", naive), ("corrected", model.optimism)):
    optimism[column] = [found[f"{name}_corrected"] for name in ("auc", "brier", "slope")]
tables.save_table(run.folder, "optimism_clinical", optimism)

# %% [markdown]
# ## Probabilities
#
# Development rows are cross-fitted: for each fold, imputation, selection, fit and shrinkage are repeated without its
# patients. Test rows come from the final model. The threshold follows from `threshold_rule` on the cross-fitted
# probabilities (by default Youden's index is largest) and is frozen here.

# %%
p_sets = cross_fit_sets(x, y, development["fold"], settings)
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
clinical = cohort[["patient_id", "split", "fold", "he"]].copy()
clinical["p_clinical"] = clinical["p_clinical_apparent"] = model.predict(predictor_frame(cohort, offered))
clinical.loc[development.index, "p_clinical"] = p_cross
assert clinical["p_clinical"].notna().all(), "every patient must have a probability"

# %% [markdown]
# The AUC of each patient's mean probability, then AUC and calibration slope judged in each imputed set and pooled by
# Rubin's rules: the first is what the deployed model does, the others show what is lost to missing values. A slope
# below 1 means that probabilities are too extreme even after shrinkage, one above 1 that they were shrunk too much. All
# of this is internal validation: patients of the same cohort.

# %%
cross = auc_interval(y, p_cross, method="logit")
figures = {"AUC, mean probability": cross, "AUC, pooled": pool_auc(y, p_sets), "slope, pooled": pool_slope(y, p_sets)}
values = [(getattr(f, "estimate", cross.auc), f.low, f.high) for f in figures.values()]
crossed = pd.DataFrame(values, columns=["estimate", "low", "high"])
crossed.insert(0, "figure", list(figures))
tables.save_table(run.folder, "cross_fitted_clinical", crossed)

# %% [markdown]
# ### Cross-validation, repeated
#
# In a cohort without test patients, internal validation is all there is, and a second method should agree with the first.
# Tenfold cross-validation divides the patients anew in each repeat and repeats imputation, selection and fit in every
# training part. *Corrected* (bootstrap) and *Cross validated* estimate the same: the model before shrinkage in new
# patients. Their slopes are two estimates of the shrinkage factor; where they disagree by more than a tenth or two, the
# cohort is too small to know how much to shrink. *SD over repeats* shows what the division alone does; it is no standard
# error. *Cross fitted* is the model after shrinkage over the folds of the study: they are fewer, so that each model has
# seen fewer patients. The table is empty where a test set is held out.

# %%
repeats = cross_validate(model, x, y, n_repeats=n_repeats if test.empty else 0)
tables.save_table(run.folder, "cross_validation_clinical", validation_table(model, repeats, y, p_cross))

# %% [markdown]
# ### Site by site
#
# Where at least three sites of the manifest have ten patients of each outcome, the whole procedure is repeated without each
# site and judged there (internal-external cross-validation): the nearest thing to a new hospital that one study can show. "All sites" is a
# random-effects mean with the between-site SD (of the AUC on the logit scale); the last row is where a further hospital of
# this kind would lie (95 % prediction interval), which with few sites is hardly known. With fewer sites the table is empty.

# %%
by_site = internal_external(x, y, development["site"].reindex(x.index), settings)
tables.save_table(run.folder, "internal_external", by_site)

# %%
if len(by_site):
    forest = by_site[by_site["n"].notna()].assign(
        model="clinical", split="Site left out", p_auc=np.nan, p_in_the_large=np.nan
    )
    display(show(run.folder, "internal_external", forest.assign(simulated=simulated)))

# %% [markdown]
# ## Stability of the predictions
#
# Would another sample of the same size have given the same patients the same probabilities? Each resample's model, made
# by the whole procedure, is applied to the development patients and compared with the model of this page, both before
# shrinkage (Riley and Collins 2023). In the first panel a line spans the middle 95 % of a patient's probabilities:
# where the lines are long, the model gives a probability that the data do not determine, however well it discriminates
# on average. The second panel shows how often a resample's model classifies the patient differently at the threshold
# (the probability before shrinkage at which the shrunk model reaches the threshold that was chosen above); patients near
# it often change, patients far from it should not. The third shows the resamples' calibration curves.

# %%
instability = drawing.instability_table(model, x, y, threshold)
show(run.folder, "instability_clinical", instability.assign(simulated=simulated))

# %% [markdown]
# The same in numbers: the mean absolute prediction error (MAPE), and the share of the patients whom more than one
# resample in ten classifies differently.

# %%
unstable = tables.instability_summary(instability)
tables.save_table(run.folder, "instability_clinical", unstable)

# %% [markdown]
# ## Sensitivity analyses
#
# None of these replaces the model; they show which conclusions depend on a choice of method.
#
# ### Complete cases
#
# The same predictors, fitted on the patients who have all of them. A shift that is small compared with the width of the
# interval is what less data brings; a large one points to values that are not missing at random. The table is empty where
# fewer than ten complete patients of an outcome are left.

# %%
beside = complete_case_odds_ratios(x, y, model)
tables.save_table(run.folder, "complete_cases", beside)

# %% [markdown]
# And the selection repeated among the patients with every candidate known. A different choice is to be expected where many
# patients are lost; it shows how much the choice depends on who is looked at.

# %%
whole = x.notna().all(axis=1)
enough = min(y[whole].sum(), (1 - y[whole]).sum()) >= 10
once = replace(settings, n_imputations=1, n_resamples=1)
again = develop(x[whole], y[whole], once).path if enough else ["too few patients"]
anew = {"patients": [len(y), whole.sum()], "with HE": [y.sum(), y[whole].sum()]}
anew["selected"] = [", ".join(map(predictor_label, path)) or "nothing" for path in (model.path, again)]
pd.DataFrame(anew, index=["imputed", "complete cases"])

# %% [markdown]
# ### Patients without an outcome
#
# The selected predictors again, each patient weighted by the inverse probability of having an outcome (notebook 01). Where
# the two columns agree, the loss of patients has hardly changed the effects, as far as the recorded variables can tell. The
# columns are equal where there are no weights.

# %%
reweighted = weighted_odds_ratios(model, x, y, development["outcome_weight"])
tables.save_table(run.folder, "weighted_clinical", reweighted)

# %% [markdown]
# ### Penalties instead of selection
#
# Lasso and ridge over all candidates, their strength chosen by cross-validation inside the development data, cross-fitted
# over the same folds. The difference is their AUC minus that of the model. If it lies around 0, selection has cost
# nothing in discrimination and has bought a shorter formula; if ridge is clearly better, many weak predictors matter
# together. The table is empty where there are too few events for a penalty.

# %%
penalized = compare_penalties(x, y, development["fold"], p_cross, seed=seed)
tables.save_table(run.folder, "penalized_clinical", penalized)

# %% [markdown]
# ## Limits
#
# Values may be missing *because* a patient was sicker; imputation from recorded values corrects that only in part.
# Selection makes the p values and intervals of the final model too optimistic; the frequencies above show by how much
# the choice itself varies. Nothing in this chapter is causal: a drug with an odds ratio above 1 marks the patients who
# take it.

# %%
definition = read_json(run.path("records", "01_cohort.json"))["parameters"]["definition"]
rule = {"threshold": threshold, "threshold_ci": list(moved)}
rule |= {"threshold_rule": f"{threshold_rule}, cross-fitted development probabilities"}
described = {"model": "clinical", "definition": definition} | rule | {"candidates": offered, "criterion": criterion}
described |= {"logistic": model.to_json(), "nomogram": drawing.describe_nomogram(model, x)}
described |= {"units": tables.units(model), "versions": versions(commit=False)}
write_table(run.path("clinical.csv"), clinical)
write_json(run.path("imputation.json"), model.imputer.to_json())
write_json(run.path("clinical_model.json"), described)
told = {"auc_cross_fitted": cross.auc, "shrinkage": model.shrinkage, "optimism": model.optimism}
_ = run.record(path=list(model.path), cross_validation=validation_figures(repeats), **told)
