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
# three models on one test set, without intervals. Everything below follows from its abstract: no patient is read.
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

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
patients = 572  # in the publication, development and test together
n_simulations = 2000  # a power; Monte Carlo error at most 1.1 percentage points
largest_events = 200  # test patients with expansion up to which power is followed
shrinkage = 0.9  # smallest shrinkage factor that Riley's criteria accept
lower_auc = 0.75  # a cautious anticipation for a clinical model, near the bedside scores' own
seed = 7  # of the simulated power

# %%
run = open_notebook("00_the_paper", globals())
rng = np.random.default_rng(seed)

# %% [markdown]
# ## The nine figures and the AUCs
#
# Accuracy, sensitivity and specificity in percent, as printed, and the area under the ROC curve (AUC).

# %%
published, aucs = PERCENTAGES, AUCS
pd.DataFrame(published, index=["accuracy %", "sensitivity %", "specificity %"]).T.assign(auc=aucs)

# %% [markdown]
# ## Which test sets give these figures?
#
# Nine rounded percentages are nine equations. Every pair of group sizes up to the whole sample is tried, and for each
# pair every count.

# %%
solutions = consistent_test_sets(published, n_max=patients)
sizes = solutions[["n_positive", "n_negative"]].drop_duplicates(ignore_index=True)
sizes = sizes.assign(n_test=sizes.sum(axis=1), share_of_sample=sizes.sum(axis=1) / patients)
assert len(solutions) == len(sizes) * len(published), "each test set must fix the counts of each model"
sizes

# %%
n_positive, n_negative, n_test = (int(size) for size in sizes.iloc[0][["n_positive", "n_negative", "n_test"]])
Markdown(
    f"Exactly **{len(sizes)}** test sets fit, all of them multiples of {n_positive} patients with and {n_negative} "
    f"without expansion. **{n_test} patients**, {n_test / patients:.1%} of {patients}, is the only one that looks like a "
    "hold-out. The figures are consistent with it; they do not prove it."
)

# %% [markdown]
# ## What do the counts say, with their uncertainty?
#
# The four counts of each model, and exact (Clopper-Pearson) 95 % intervals.

# %%
smallest = solutions[solutions["n_positive"] == n_positive].set_index("model")[["tp", "fp", "fn", "tn"]]
tables = {model: confusion_from_counts(**row.to_dict()) for model, row in smallest.iterrows()}
shown = {
    rate: [f"{t[rate]:.1%} ({t[f'{rate}_low']:.1%} to {t[f'{rate}_high']:.1%})" for t in map(asdict, tables.values())]
    for rate in RATES
}
publish(run.folder, "paper_counts", smallest.assign(**shown).reset_index())

# %%
accuracy_of_nobody = n_negative / n_test
margin = int(tables["integrated"].tp + tables["integrated"].tn - n_negative)
Markdown(
    f"Calling **nobody** positive is right in **{accuracy_of_nobody:.1%}** of these patients: the integrated model is "
    f"right in {margin} patient{'s' * (margin != 1)} more, the other two in fewer. Accuracy cannot be the headline where "
    f"{1 - accuracy_of_nobody:.1%} have the outcome. A sensitivity that rests on {n_positive} patients spans "
    f"{tables['image'].sensitivity_low:.0%} to {tables['image'].sensitivity_high:.0%}."
)

# %% [markdown]
# ## How precise are the three AUCs?
#
# Hanley and McNeil's standard error needs nothing but the AUC and the two group sizes.

# %%
intervals = {model: hanley_mcneil_interval(value, n_positive, n_negative) for model, value in aucs.items()}
publish(
    run.folder,
    "paper_auc",
    pd.DataFrame([{"model": model} | asdict(found) for model, found in intervals.items()]).round(3),
)

# %% [markdown]
# ## Could any two of them differ significantly?
#
# Both models are measured on the same patients, so that the two estimates move together; how closely is not printed.
# The p value is shown for a range of correlations, with the correlation above which it falls below 0.05.

# %%
pairs = list(combinations(aucs, 2))
assumed = (0.0, 0.5, 0.7, 0.8, 0.9)
p_values = {
    f"{a} - {b}": {f"p at r = {r}": difference_p(intervals[a], intervals[b], r) for r in assumed}
    | {"r needed for p < 0.05": critical_correlation(intervals[a], intervals[b])}
    for a, b in pairs
}
publish(run.folder, "paper_differences", pd.DataFrame(p_values).T.round(3).rename_axis("difference").reset_index())

# %%
easiest = min(p_values, key=lambda pair: p_values[pair]["r needed for p < 0.05"])
Markdown(
    f"No difference is significant unless the estimates correlate above "
    f"**{p_values[easiest]['r needed for p < 0.05']:.2f}**, and that only for {easiest}."
)

# %% [markdown]
# ## How often would such a study find the difference?
#
# Suppose the published AUCs are true, the scores normal within each class, and the integrated model the best
# combination of the other two. Then the AUCs also fix how the scores correlate, and the power of DeLong's test follows
# by simulation, for this test set and for larger ones with the same share of expansion.

# %%
correlation = {
    ("image", "clinical"): implied_correlation(*aucs.values()),
    ("image", "integrated"): combination_correlation(aucs["image"], aucs["integrated"]),
    ("clinical", "integrated"): combination_correlation(aucs["clinical"], aucs["integrated"]),
}
events = np.unique(np.geomspace(n_positive, largest_events, 6).round().astype(int))
power = pd.DataFrame(index=pd.Index(events, name="patients with expansion"))
for a, b in pairs:
    power[f"{a} - {b}"] = [
        delong_power(
            (aucs[a], aucs[b]),
            correlation[a, b],
            n_positive=int(n),
            n_negative=round(int(n) * n_negative / n_positive),
            n_simulations=n_simulations,
            rng=rng,
        )
        for n in events
    ]
publish(run.folder, "paper_power", power.round(2).reset_index())

# %%
curves = power.melt(var_name="pair", value_name="power", ignore_index=False).rename_axis("test_events").reset_index()
low, high = wilson_interval((curves["power"] * n_simulations).round(), n_simulations)
show(run.folder, "power", curves.assign(low=low, high=high, n_simulations=n_simulations))

# %%
here = power.loc[n_positive]
Markdown(
    f"With {n_positive} expansions the power is {', '.join(f'{value:.0%} ({pair})' for pair, value in here.items())}: "
    "a study of this size is expected to miss every one of these differences. What it could not show is not thereby absent."
)

# %% [markdown]
# ## When is the integrated model worth more at the bedside?
#
# Net benefit weighs a false positive by the odds of the threshold probability at which one would act. The published
# operating points are compared as they stand.

# %%
thresholds = np.array([0.05, 0.10, 0.15, 0.20, 0.30])
benefit = {m: net_benefit_from_counts(t.tp, t.fp, n=n_test, thresholds=thresholds) for m, t in tables.items()}
benefit["all"] = net_benefit_from_counts(n_positive, n_negative, n=n_test, thresholds=thresholds)
publish(run.folder, "paper_net_benefit", pd.DataFrame({"threshold": thresholds} | benefit).round(3))

# %%
lost = tables["clinical"].tp - tables["integrated"].tp
spared = tables["clinical"].fp - tables["integrated"].fp
crossing = lost / (lost + spared)
Markdown(
    f"Against the clinical model the integrated one spares {spared} false alarms and loses {lost} expansion: it has the "
    f"larger net benefit only above a threshold of **{crossing:.3f}**, that is for whoever would treat at most "
    f"{spared / lost:.0f} patients in vain to reach one."
)

# %% [markdown]
# ## How many candidate variables can the development set carry?
#
# Riley's criteria ask for the smallest sample at which a model shrinks by no more than a given factor, is optimistic by
# no more than 0.05 in R², and knows the overall risk to within 0.05. R² follows from an anticipated AUC.

# %%
n_development, prevalence = patients - n_test, n_positive / n_test
needed = pd.DataFrame(
    {
        auc: [
            riley_minimum(k, prevalence, cox_snell_r2_from_auc(auc, prevalence), shrinkage).n for k in (5, 10, 20, 30)
        ]
        for auc in (lower_auc, aucs["clinical"])
    },
    index=pd.Index((5, 10, 20, 30), name="candidate parameters"),
).rename(columns="patients needed at AUC {}".format)
publish(run.folder, "paper_sample_size", needed.reset_index())

# %%
supported = {auc: supported_parameters(n_development, prevalence, auc) for auc in (lower_auc, aucs["clinical"])}
Markdown(
    f"{n_development} development patients, about {n_development * prevalence:.0f} with expansion, carry "
    f"**{supported[aucs['clinical']]}** candidate parameters at the published AUC of {aucs['clinical']}, and "
    f"{supported[lower_auc]} at {lower_auc}. Candidates count before selection, not after it."
)

# %% [markdown]
# ## Limits
#
# The test set is inferred from rounded percentages. The power rests on normal scores and on an integrated model that is
# the best combination; the net benefit on thresholds that the paper does not print. Nothing here says that the models
# are poor: it says what a test set of this size can and cannot show, and therefore what the following notebooks report
# with every number.

# %%
results = {
    "test_sets": sizes[["n_positive", "n_negative"]].values.tolist(),
    "counts": {model: asdict(table) for model, table in tables.items()},
    "accuracy_of_nobody": accuracy_of_nobody,
    "auc": {model: asdict(interval) for model, interval in intervals.items()},
    "p_by_correlation": p_values,
    "score_correlation": {f"{a} - {b}": correlation[a, b] for a, b in pairs},
    "power": {pair: {str(n): value for n, value in column.items()} for pair, column in power.items()},
    "net_benefit_crossing": crossing,
    "n_development": n_development,
    "supported_parameters": {str(auc): count for auc, count in supported.items()},
}
write_json(run.path("paper.json"), results)
run.record(
    n_test=n_test,
    accuracy_of_nobody=accuracy_of_nobody,
    net_benefit_crossing=crossing,
    supported_parameters=supported[aucs["clinical"]],
)
