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
# # 00 The paper
#
# **What do the published figures imply, and what can 107 test patients show?**
#
# *Predicting hematoma expansion in acute spontaneous intracerebral hemorrhage: integrating clinical factors with a
# multitask deep learning model for non-contrast head CT* (Neuroradiology 2024, doi 10.1007/s00234-024-03298-y) reports
# three models on one test set: one that reads the scan, one that uses bedside variables, and one that uses both. The
# abstract gives accuracy, sensitivity, specificity and the area under the ROC curve (AUC), without intervals.
#
# Everything on this page follows from these figures; no patient is read. The aim is not to criticize one study, but to
# learn what a test set of this size can show, because the following notebooks have to answer the same question.
#
# Reads nothing; writes `paper.json`.

# %%
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pandas as pd
from IPython.display import Markdown

from hepred_lib.stats.decision import net_benefit_from_counts
from hepred_lib.stats.discrimination import combination_correlation, delong_power, implied_correlation
from hepred_lib.stats.operating_point import RATES, confusion_from_counts, wilson_interval
from hepred_lib.stats.published import (
    AUCS,
    PERCENTAGES,
    consistent_test_sets,
    critical_correlation,
    difference_p,
    hanley_mcneil_interval,
)
from hepred_lib.stats.sample_size import cox_snell_r2_from_auc, riley_minimum, supported_parameters
from hepred_lib.study.drawing import publish, show
from hepred_lib.study.files import write_json
from hepred_lib.study.run import open_notebook

# %% [markdown]
# ## Parameters
#
# The total sample is printed in the publication; the other values steer the simulation of power and the sample-size
# criteria. None of them comes from the patients of this study.

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
patients = 572  # in the publication, development and test together
n_simulations = 2000  # a power; Monte Carlo error at most 1.1 percentage points
largest_events = 200  # test patients with expansion up to which power is followed
shrinkage = 0.9  # smallest shrinkage factor that Riley's criteria accept
lower_auc = 0.75  # a cautious anticipation for a clinical model, near the bedside scores' own
seed = 7  # of the simulated power

# %% [markdown]
# Tables and figures go to the run's folder. All random numbers of this page come from one generator.

# %%
run = open_notebook("00_the_paper", globals())
rng = np.random.default_rng(seed)

# %% [markdown]
# ## The published figures
#
# Three percentages and one AUC per model, as printed. Accuracy is a mean of sensitivity and specificity, weighted by how
# many patients have the outcome: the three percentages are not independent, and this is what the next section uses.

# %%
published, aucs = PERCENTAGES, AUCS
pd.DataFrame(published, index=["accuracy %", "sensitivity %", "specificity %"]).T.assign(auc=aucs)

# %% [markdown]
# ## Which test sets are consistent with these figures?
#
# The abstract does not say how many test patients had expansion. Each percentage is a count divided by a group size and
# rounded to one decimal, so that only certain sizes can give it. Every pair of group sizes up to the whole sample is
# tried, and for each pair every count; a pair is kept if all nine percentages can be reproduced.
#
# Two assumptions enter: all models were evaluated in the same patients, and the percentages were rounded, not truncated.

# %%
solutions = consistent_test_sets(published, n_max=patients)
sizes = solutions[["n_positive", "n_negative"]].drop_duplicates(ignore_index=True)
sizes = sizes.assign(n_test=sizes.sum(axis=1), share_of_sample=sizes.sum(axis=1) / patients)
assert len(solutions) == len(sizes) * len(published), "each test set must fix the counts of each model"
sizes

# %% [markdown]
# How to read the table: each row is a possible test set, and its last column shows which share of the whole sample it
# would be. Multiples of a solution are solutions too, since they give the same percentages. A hold-out is usually a fifth
# to a third of the sample; the smallest solution is taken from here on. The figures are consistent with it; they do not
# prove it. If the models had been evaluated in different patients, the search would not apply.

# %%
n_positive, n_negative, n_test = (int(size) for size in sizes.iloc[0][["n_positive", "n_negative", "n_test"]])
Markdown(f"Smallest consistent test set: **{n_test} patients**, {n_positive} of them with expansion.")

# %% [markdown]
# ## The counts and their uncertainty
#
# With the group sizes, each percentage becomes a count: true and false positives (`tp`, `fp`), false and true negatives
# (`fn`, `tn`). The intervals are exact (Clopper-Pearson, 95 %): they assume independent patients and nothing else.

# %%
smallest = solutions[solutions["n_positive"] == n_positive].set_index("model")[["tp", "fp", "fn", "tn"]]
tables = {model: confusion_from_counts(**row.to_dict()) for model, row in smallest.iterrows()}
cells = {model: asdict(table) for model, table in tables.items()}
assert all(table.tp + table.fn == n_positive for table in tables.values()), "every model must have the same events"

# %% [markdown]
# Each cell of the table below is a rate of one model in percent, with its interval. Read across a row for one model, and
# down a column to compare the models; the columns `tp` to `tn` are the counts from which the rates follow.

# %%
shown = {
    rate: [f"{100 * t[rate]:.1f} ({100 * t[f'{rate}_low']:.1f}-{100 * t[f'{rate}_high']:.1f})" for t in cells.values()]
    for rate in RATES
}
publish(run.folder, "paper_counts", smallest.assign(**shown).reset_index())

# %% [markdown]
# A sensitivity rests on the patients with the outcome alone. Where these are few, its interval spans tens of percentage
# points, however large the rest of the test set is. Positive and negative predictive values (`ppv`, `npv`) depend on the
# frequency of expansion in this test set as well, and cannot be carried to a hospital where it differs.

# %% [markdown]
# ### Accuracy needs a comparator
#
# Where few patients have the outcome, classifying every patient as negative is often correct. The table compares each
# model with this rule, which needs no scan and no blood pressure. An accuracy near it says nothing about usefulness, and
# a model below it can still be useful, because a missed expansion and a false alarm do not weigh the same.

# %%
accuracy_of_nobody = n_negative / n_test
correct = smallest["tp"] + smallest["tn"]
correct["all negative"] = n_negative
correct.to_frame("correct").assign(accuracy=(correct / n_test).round(3))

# %% [markdown]
# ## The precision of the AUCs
#
# The standard error of Hanley and McNeil needs only the AUC and the two group sizes. It assumes a certain shape of the
# score distributions, but comes close to DeLong's for most scores. Two models whose intervals overlap widely can still
# differ, since both were measured in the same patients; the overlap alone decides nothing.

# %%
intervals = {model: hanley_mcneil_interval(value, n_positive, n_negative) for model, value in aucs.items()}
precision = pd.DataFrame([{"model": model} | asdict(found) for model, found in intervals.items()])
publish(run.folder, "paper_auc", precision.round(3))

# %% [markdown]
# ## Could two of them differ significantly?
#
# The more two models agree on who is at risk, the more their AUC estimates move together from one test set to the next,
# and the smaller the standard error of their difference. How strongly they correlate is not printed. The p value is
# therefore computed over a range of correlations.

# %%
assumed, pairs = (0.0, 0.5, 0.7, 0.8, 0.9), list(combinations(aucs, 2))
p_values = {
    f"{a} - {b}": {f"p at r = {r}": difference_p(intervals[a], intervals[b], r) for r in assumed} for a, b in pairs
}
for a, b in pairs:
    p_values[f"{a} - {b}"]["r needed for p < 0.05"] = critical_correlation(intervals[a], intervals[b])
publish(run.folder, "paper_differences", pd.DataFrame(p_values).T.round(3).rename_axis("difference").reset_index())

# %% [markdown]
# The last column gives the correlation above which p falls below 0.05. Two models that share some information often
# correlate at 0.3 to 0.7; where one contains the other, 0.9 can be exceeded. A needed correlation near 1 means that the
# difference can hardly be called significant under any plausible assumption; absence of significance is not evidence of
# no difference.

# %% [markdown]
# ## How often would such a study find the difference?
#
# Suppose that the published AUCs are the true ones. What is the probability (power) that a test set of a given size gives
# p < 0.05? Two assumptions make the question answerable: scores are normal within each class, and the integrated model is
# the best linear combination of the other two. The AUCs then also fix how the scores correlate within a class.

# %%
correlation = {
    ("image", "clinical"): implied_correlation(*aucs.values()),
    ("image", "integrated"): combination_correlation(aucs["image"], aucs["integrated"]),
    ("clinical", "integrated"): combination_correlation(aucs["clinical"], aucs["integrated"]),
}

# %% [markdown]
# Test sets are drawn from these distributions and evaluated with DeLong's paired test. The share of patients with
# expansion stays as in the publication, while the number of patients grows.

# %%
events = np.unique(np.geomspace(n_positive, largest_events, 6).round().astype(int)).tolist()
others = [round(n * n_negative / n_positive) for n in events]
options = {"n_simulations": n_simulations, "rng": rng}
power = pd.DataFrame(index=pd.Index(events, name="patients with expansion"))
for a, b in pairs:
    scores = (aucs[a], aucs[b]), correlation[a, b]
    power[f"{a} - {b}"] = [
        delong_power(*scores, n_positive=n, n_negative=m, **options) for n, m in zip(events, others, strict=True)
    ]
publish(run.folder, "paper_power", power.round(2).reset_index())

# %% [markdown]
# The first row is the published test set itself. A study is usually planned for a power of 80 %; where the curves below
# cross that line, a test set would be large enough for the difference in question. Bands are the Monte Carlo error of the
# simulation, not the uncertainty of the AUCs: if the true difference is smaller than the published one, as is usual after
# a model was chosen for its result, the power is smaller too.

# %%
curves = power.melt(var_name="pair", value_name="power", ignore_index=False).rename_axis("test_events").reset_index()
low, high = wilson_interval((curves["power"] * n_simulations).round(), n_simulations)
show(run.folder, "power", curves.assign(low=low, high=high, n_simulations=n_simulations))

# %% [markdown]
# ## Net benefit
#
# Which errors matter depends on what would be done. Net benefit counts true positives and subtracts false positives,
# weighted by the odds of the threshold probability at which one would treat. The published operating points are compared
# as they are, since their thresholds are not printed. `all` is the policy of treating every patient; a model is of use at
# a threshold only where it exceeds both `all` and zero.

# %%
thresholds = np.array([0.05, 0.10, 0.15, 0.20, 0.30])
benefit = {m: net_benefit_from_counts(t.tp, t.fp, n=n_test, thresholds=thresholds) for m, t in tables.items()}
benefit["all"] = net_benefit_from_counts(n_positive, n_negative, n=n_test, thresholds=thresholds)
publish(run.folder, "paper_net_benefit", pd.DataFrame({"threshold": thresholds} | benefit).round(3))

# %% [markdown]
# Compared with the clinical model, the integrated one avoids false positives at the price of missed expansions. The
# threshold at which the two balance follows from these counts alone: above it the integrated model has the larger net
# benefit, below it the clinical one. The last column is the number of unnecessary treatments per treated expansion that
# one would have to accept at that threshold.

# %%
lost = tables["clinical"].tp - tables["integrated"].tp
spared = tables["clinical"].fp - tables["integrated"].fp
crossing = lost / (lost + spared)
pd.DataFrame(
    [{"expansions missed": lost, "false positives avoided": spared, "threshold": crossing, "accepted": spared / lost}]
)

# %% [markdown]
# ## How many candidate variables can the development set support?
#
# Riley's criteria ask for the smallest sample in which a logistic model needs little shrinkage, is optimistic by at
# most 0.05 in Nagelkerke's R², and estimates the overall risk to within 0.05. The anticipated R² follows from an
# anticipated AUC; a smaller one demands more patients. Candidate parameters are counted before any selection: a
# variable that was offered and rejected has cost as much as one that was kept.

# %%
n_development, prevalence = patients - n_test, n_positive / n_test
anticipated, offered = (lower_auc, aucs["clinical"]), pd.Index((5, 10, 20, 30), name="candidate parameters")
r2 = {auc: cox_snell_r2_from_auc(auc, prevalence) for auc in anticipated}
needed = {
    f"patients needed at AUC {a}": [riley_minimum(k, prevalence, r2[a], shrinkage).n for k in offered] for a in r2
}
publish(run.folder, "paper_sample_size", pd.DataFrame(needed, index=offered).reset_index())

# %% [markdown]
# The same criteria, solved for the number of parameters that the published development set supports. They are necessary
# conditions for a stable model, not sufficient ones: variable selection, missing values and a score that was itself
# trained on the same patients all ask for more.

# %%
supported = {auc: supported_parameters(n_development, prevalence, auc) for auc in anticipated}
pd.DataFrame(
    {"development patients": n_development, "supported parameters": pd.Series(supported, name="AUC")}
).rename_axis("AUC")

# %% [markdown]
# ## Limits
#
# The test set is inferred from rounded percentages. The power rests on normal scores and on an integrated model that is
# the best combination of the other two; the net benefit on thresholds that the publication does not print. Nothing here
# says that the models are poor. It says what a test set of this size can and cannot show, and therefore what the
# following notebooks report with every number: the interval, the number of events, and the comparator.

# %%
results = {
    "test_sets": sizes[["n_positive", "n_negative"]].values.tolist(),
    "counts": cells,
    "accuracy_of_nobody": accuracy_of_nobody,
    "auc": {model: asdict(interval) for model, interval in intervals.items()},
    "p_by_correlation": p_values,
    "score_correlation": {f"{a} - {b}": correlation[a, b] for a, b in pairs},
    "power": {pair: {str(n): value for n, value in column.items()} for pair, column in power.items()},
    "net_benefit_crossing": crossing,
    "n_development": n_development,
    "supported_parameters": {str(auc): count for auc, count in supported.items()},
}

# %% [markdown]
# `paper.json` keeps every digit; the tables above are rounded.

# %%
write_json(run.path("paper.json"), results)
found = {"accuracy_of_nobody": accuracy_of_nobody, "net_benefit_crossing": crossing}
run.record(n_test=n_test, **found, supported_parameters=supported[aucs["clinical"]])
