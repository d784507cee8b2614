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
# **Who is in the study, who is missing, how often does the hematoma expand, and how many predictors can that support?**
#
# A prediction model can be no better than the patients it was made from. This page decides who is included, divides them
# into development and test patients before anything is looked at, and describes both. It fits no model, and nothing is
# chosen from its tables or figures.
#
# Reads the manifest (one row per patient) and, where the patients are simulated, their truth; writes `cohort.csv` (the
# included patients with split and fold), `excluded.csv` (the others with reasons), tables and figures.

# %%
import pandas as pd
from IPython.display import display

from hepred_lib.cohort.manifest import assign_folds, split_patients
from hepred_lib.cohort.predictors import (
    CLINICAL_CANDIDATES,
    RADIOLOGICAL_CANDIDATES,
    candidate_terms,
    predictor_frame,
    predictor_label,
    predictor_quantity,
    predictor_terms,
)
from hepred_lib.cohort.rules import PATHS
from hepred_lib.intake.check import read_patients
from hepred_lib.stats.baseline import Contrast, baseline_table, cumulative_distribution
from hepred_lib.stats.diagnostics import candidate_parameters
from hepred_lib.stats.sample_size import cox_snell_r2_from_auc, riley_minimum, supported_parameters
from hepred_lib.study import summary, tables
from hepred_lib.study.drawing import Markdown, publish, show
from hepred_lib.study.files import read_table, write_table
from hepred_lib.study.run import open_notebook
from ich_phantom.cohort import portray_truth, within_class_correlation

# %% [markdown]
# ## Parameters
#
# The study file sets these values; the ones below are those of the demonstration. Definition, split and folds are fixed
# here for all following notebooks.

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # one row per patient
truth = "cohorts/demo/truth.csv"  # the simulation's truth; empty where patients are real
image_source = "scans"  # scans, column (external_score) or none
definition = "6ml_or_33pct"  # growth > 6 mL or > 33 % of the baseline volume
test_fraction = 0.25  # of the patients; the published study held out 107 of 572; 0: all develop, none is held out
followup_window_h = 0.0  # a second CT later than this gives no outcome; 0: no window
folds = 3  # cross-fitting folds in the development set
seed = 7  # of split and folds
expected_auc = 0.81  # for the sample-size criteria: the published clinical model
candidates = ""  # those of notebook 05, to be described and counted here; a study names them there

# %%
run = open_notebook("01_cohort", globals())

# %% [markdown]
# ## The outcome
#
# Hematoma expansion (HE) is defined by the two volumes and the study's definition; a volume that the manifest does not
# give is measured on its mask. Two kinds of row have no outcome, and they are counted apart: a row *without a hemorrhage*
# (baseline volume and mask empty or 0, and nothing else that indicates blood), and a hemorrhage whose follow-up is
# missing. Where `followup_window_h` is set, a second CT that came later gives no outcome either.

# %%
table = summary.within_window(read_patients(run.resolve(manifest), definition=definition), followup_window_h)
simulated = run.simulated(table["patient_id"])
assert table["he"].isin([0, 1]).sum() == table["he"].count(), "the outcome must be 0, 1 or missing"

# %% [markdown]
# ## Who is included
#
# In a study with scans, every patient with a baseline scan is included; a patient without an outcome helps to train
# segmentation and detection, and is left out of every model of expansion. In a study without scans an outcome is needed.
# Every exclusion has a reason, and the reason is a fact about the patient ("no baseline CT"), not about the software.

# %%
reasons = summary.exclusions(table, image_source=image_source)
cohort = table[reasons.eq("")].copy()
excluded = table[reasons.ne("")].drop(columns=PATHS)
excluded.insert(1, "reason", reasons[reasons.ne("")])
assert len(cohort) + len(excluded) == len(table), "included and excluded patients must add up to the manifest"

# %% [markdown]
# ## Split and folds
#
# Patients are split, not slices: two slices of one head are not independent. The draw is stratified on the outcome and
# depends on the seed and the identifiers only, so that it stays the same when rows are sorted in another way. A manifest
# may also prescribe the split. Test patients are not used for fitting, scaling, imputation or threshold selection.
#
# In a small cohort a test set wastes patients and still shows little: with `test_fraction: 0` every patient develops, and
# performance is that of cross-fitted probabilities, beside the bootstrap's correction (decided before looking, not after).
#
# Development patients are divided into folds. Whatever is predicted for a development patient later comes from a model
# that was fitted on the other folds (cross-fitting).

# %%
cohort["split"] = split_patients(cohort, seed=seed, test_fraction=test_fraction)
cohort["fold"] = assign_folds(cohort, folds=folds, seed=seed)
assert cohort["patient_id"].is_unique, "no patient may be in the cohort twice"
assert (cohort["fold"].eq(-1) == cohort["split"].eq("test")).all(), "test patients belong to no fold"

# %% [markdown]
# The table counts the included patients of each set. Performance is assessed in the patients *with outcome*; their number
# *with HE* is the effective sample size. Below about 100 test patients with HE the intervals of calibration are wide, and a
# difference between two models is likely to be missed (notebook 00).

# %%
publish(run.folder, "cohort", summary.counts_by_set(cohort))

# %%
known = cohort[cohort["he"].notna()]
development = known[known["split"].eq("development")]
n, events = len(development), int(development["he"].sum())
n_test, test_events = len(known) - n, int(known["he"].sum()) - events
held_out = f"**{test_events} of {n_test}** test patients" if n_test else "no patient is held out for testing"
Markdown(f"Expansion in **{events} of {n}** development patients; {held_out}.")

# %% [markdown]
# ## Participant flow
#
# The diagram follows the rows of the manifest down to the two sets. Boxes at the side leave the flow or serve part of the
# study only. Look for large boxes at the side: the model applies to the patients who remain, not to those who left.

# %%
flow = summary.flow_table(table, cohort, excluded, folds=folds)
show(run.folder, "flow", flow.assign(simulated=simulated))

# %% [markdown]
# ### Why outcomes are missing
#
# Hemorrhages without an outcome, by reason; the table is empty where every outcome is known. These patients differ from
# the others: who died or was operated on early has no second scan. If expansion is frequent among them, its frequency is
# underestimated here, and no method that uses the included patients alone can correct it. Further down the included
# patients are weighted by the probability of having an outcome, which helps only as far as the recorded variables explain
# it.

# %%
publish(run.folder, "missing_outcomes", summary.missing_outcomes(table))

# %% [markdown]
# ## The predictors
#
# All bedside, laboratory and radiological variables that the manifest gives, and whatever else the study offers to selection
# in notebook 05, in patients with an outcome. Five groups are described: all patients, the two sets, and development
# patients without and with expansion. Test patients are not divided by outcome.

# %%
offered = [
    name for name in (*CLINICAL_CANDIDATES, *RADIOLOGICAL_CANDIDATES) if name in known and known[name].notna().any()
]
terms = candidate_terms(candidates, [name for name in known if known[name].notna().any()])
values = predictor_frame(known, [*offered, *terms])
words = {name: predictor_quantity(name) for name in values} | {"male": "Male sex", "he": "Hematoma expansion"}
assert len(values) == len(known), "every patient with an outcome must have a row of predictors"

# %%
groups = {"All": known["he"].notna()} | {name.capitalize(): known["split"].eq(name) for name in ("development", "test")}
groups["No HE"] = groups["Development"] & known["he"].eq(0)
groups["HE"] = groups["Development"] & known["he"].eq(1)

# %% [markdown]
# ### Missing values
#
# The heat map shows the percentage of missing values of each predictor in each group. It answers two questions. How much
# will be imputed? A variable that is missing in half of the patients contributes little that was measured. And is missing
# related to the outcome? A difference between the last two columns means that complete patients are a selected group, and
# that an analysis of them alone is biased. Imputation assumes that the *recorded* variables explain who has a value; the
# figure cannot show whether that is so. Predictors that are complete in every group are not shown.

# %%
gaps = {name: values[members].isna().mean() for name, members in groups.items()}
shares = pd.DataFrame(gaps).rename_axis("variable").reset_index().melt("variable", var_name="group", value_name="share")
shares = shares.assign(n=shares["group"].map({name: members.sum() for name, members in groups.items()}))
cells = shares.sort_values("variable", key=lambda names: names.map(list(values).index), kind="stable")
cells = cells[cells.groupby("variable")["share"].transform("max").gt(0)]
show(run.folder, "missing_by_set", cells.assign(variable=cells["variable"].map(predictor_label), simulated=simulated))

# %% [markdown]
# ### Table 1
#
# Medians with quartiles, or numbers of the patients whose value is known, with percentages. A set without patients has no
# column; the column of all patients is in `tables/table1.csv`. Groups are compared by standardized mean differences (SMD),
# which do not grow with the sample; 0.1 is usually called negligible, and above 0.2 the groups differ visibly.
#
# Between sets that were drawn at random a p value would only test the random numbers, and none is given. By outcome, in
# development patients alone, p values are Mann-Whitney's, Fisher's or chi-squared, without correction for their number:
# among twenty variables without any effect, one is expected below 0.05.

# %%
contrasts = [Contrast("Development", "Test"), Contrast("No HE", "HE", tested=True)]
first = baseline_table(values.assign(he=known["he"]), groups, contrasts, labels=words)
tables.save_table(run.folder, "table1", first)

# %% [markdown]
# A large SMD between sets that were drawn is chance, more likely in a small study; between sets that the manifest
# prescribes it is a difference of patients. It shifts the case mix, and with it the calibration, between development
# and test. A large SMD by outcome suggests a predictor, but it is not adjusted: a variable can differ because it goes
# along with another, as ventricular blood does with volume. Selection on the basis of this table would make every later
# p value too small.

# %% [markdown]
# ### Patients without an outcome
#
# Hemorrhages with and without an outcome, side by side, and the time to the second CT of those who had one. A large SMD
# says that the patients of this study are not those of the emergency room; without such patients the table is empty.

# %%
bled = table[table["has_hemorrhage"].eq(1)]
described = predictor_frame(bled, [*offered, *terms], allow_empty=True).assign(
    ct_to_followup_h=bled["ct_to_followup_h"]
)
sides = {"Outcome known": bled["he"].notna(), "Outcome missing": bled["he"].isna()}
contrast = [Contrast("Outcome known", "Outcome missing")]
words |= {"ct_to_followup_h": "First to second CT, h"}
compared = baseline_table(described, sides, contrast, labels=words)
publish(run.folder, "outcome_missing", compared[: len(compared) * int(sides["Outcome missing"].any())])

# %% [markdown]
# Each patient with an outcome gets a weight: the inverse of the probability of having one, from a ridge logistic regression
# on these variables among development patients and those without an outcome (weights above the 99th percentile are cut
# there). Notebooks 05 to 07 repeat their main figures with these weights, as a sensitivity analysis. With fewer than ten
# patients without an outcome every weight is 1.

# %%
cohort["outcome_weight"], weighting = summary.weigh_outcomes(cohort, table, offered, seed=seed)
pd.DataFrame([weighting])

# %% [markdown]
# ### Distributions by outcome
#
# Cumulative distributions in development patients with an outcome, with 95 % bands value by value. At each value the curve
# gives the proportion of patients at or below it. Where the dashed and the solid curve separate, the variable
# discriminates; where they cross, its effect changes sign or its spread differs. A step is a value that many patients
# share. A median alone would hide both. Bands that overlap do not exclude a difference.

# %%
shown = ["age", "gcs", "sbp_mmhg", "onset_to_ct_h", "baseline_volume_ml", "inr"]
shown = [name for name in shown if development[name].notna().any()]
curves = [
    cumulative_distribution(rows).assign(variable=predictor_quantity(name), he=he)
    for name in shown
    for he, rows in development.dropna(subset=[name]).groupby("he")[name]
]
show(run.folder, "cohort", pd.concat(curves).assign(simulated=simulated))

# %% [markdown]
# ## How many predictors can this support?
#
# Riley's criteria for a logistic model: a shrinkage factor of at least 0.9, an optimism of at most 0.05 in Nagelkerke's
# R², and an overall risk known to within 0.05. They depend on the number of patients, the frequency of the outcome and
# the AUC that one expects; a more optimistic expectation supports more parameters, so the expectation should come from
# earlier studies and not from this one.
#
# What counts are the parameters of all candidates that the study offers in notebook 05, whatever is selected later: one for
# a number or a yes-or-no, one less than its levels for a category, two for a spline.

# %%
supported = supported_parameters(n, events / n, expected_auc)
considered = candidate_parameters(predictor_frame(development, terms), predictor_terms(terms))
needed = riley_minimum(considered, events / n, cox_snell_r2_from_auc(expected_auc, events / n)).n
sample = {"development patients": n, "with HE": events, "supported parameters": supported}
sample |= {"candidates": len(terms), "candidate parameters": considered, "patients needed for these": needed}
pd.DataFrame([sample])

# %% [markdown]
# Where more parameters are considered than supported, selection among them will be unstable: another sample of the same
# patients would choose other variables. Notebook 05 measures how much, and shrinks the coefficients. More patients, or
# fewer candidates chosen from the literature, are the only cures. Zero supported parameters mean that some criterion, often
# that of the overall risk, asks for more patients than there are even for a single one.

# %% [markdown]
# ## The truth of a simulated cohort
#
# This section applies to simulated patients. For real patients the two cells below stay empty: the best achievable
# prediction is unknown.
#
# In a simulated cohort the probability of expansion is known; a model that uses it is called the *oracle*, and its AUC is
# the best achievable one. Each hematoma either continues to bleed or does not, with
#
# $$\operatorname{logit} P(\text{continues to bleed}) = \text{intercept} + \text{clinical part} + \text{image part}.$$
#
# The clinical part contains the values as the hospital prints them (onset-to-CT time, drugs, sex, coma scale, fibrinogen,
# pressure), the image part what the scan shows (volume, density, shape, blood in the ventricles). A hematoma that
# continues to bleed grows by a log-normal fraction, the others hardly at all; both volumes are measured with an error of
# 5 %, and the label follows from the two measurements.

# %% [markdown]
# The label is therefore not the bleeding (panel A): given the true volume $V$ and the probability $\pi$ of continued
# bleeding,
#
# $$P(\text{HE}) = q_0(V) + \pi\,[\,q_1(V) - q_0(V)\,],$$
#
# where $q_1$ and $q_0$ are the label's probabilities with and without continued bleeding, integrals over growth and
# measurement error. With everything known, $\pi$ is the formula above: the *integrated* oracle. The *image* oracle knows
# the image alone and averages $\pi$ over the clinical values that go with it. The *clinical* oracle knows the bedside
# alone and averages over hematomas by Bayes' rule, since a low coma scale makes a large one more likely. Every conditional
# distribution is part of the simulation, so that each average is a finite sum, exact to about 0.001.
#
# The two parts overlap little within an outcome (panel B, as many patients with as without expansion), which is why a
# model of both can exceed each (panel C); the oracle is calibrated by construction (panel D). The figure shows further
# simulated patients of the same case mix.

# %%
if truth:
    display(show(run.folder, "truth", portray_truth(seed=seed).assign(simulated=True)))

# %% [markdown]
# In this cohort, the oracle's mean probability should be close to the observed frequency; they differ by chance alone. The
# correlation of the oracle's image and clinical logits within an outcome says how far the two sources repeat each other.
# Clinical effects are simulated at about twice the published size: at published size, bedside variables alone would reach
# an AUC near 0.75. No notebook that fits a model reads the oracle.

# %%
if truth:
    oracle = (
        read_table(run.resolve(truth))
        .dropna(subset=["p_integrated"])
        .merge(table[["patient_id", "he"]], on="patient_id")
    )
    figures = {"oracle's mean probability": oracle["p_integrated"].mean(), "observed frequency": table["he"].mean()}
    figures |= {"correlation of the parts": within_class_correlation(oracle["he"], oracle)}
    display(pd.DataFrame([figures]).round(2))

# %% [markdown]
# ## Limits
#
# Nothing on this page shows whether the included patients represent those in whom a model would be used; that depends
# on how the hospital recruited them. A study of real patients must report how many follow-up scans are missing, and
# why, and how patients were treated between the scans: blood-pressure lowering, reversal of anticoagulation or surgery
# changes who expands, and the models predict the risk under that treatment. Expansion is a threshold on two measured
# volumes: an error of 5 % of each makes some labels wrong, most often in large hematomas, of which a few millilitres
# are a small part, and no model can predict these labels.
#
# What this page leaves for the others: the included patients with split and fold, and the excluded ones with reasons.

# %%
write_table(run.path("cohort.csv"), cohort.drop(columns=PATHS))
write_table(run.path("excluded.csv"), excluded)
run.record(
    weighting=weighting,
    n_development=n,
    he_development=events,
    n_test=n_test,
    he_test=test_events,
    supported_parameters=supported,
)
