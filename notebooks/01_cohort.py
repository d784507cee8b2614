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
# Reads the manifest and, where the patients are simulated, their truth; writes `cohort.csv` (one row per included
# patient, with split and fold), `excluded.csv` (with reasons), `tables/cohort.csv` and figures.

# %%
import pandas as pd

from hepred_lib.cohort.manifest import assign_folds, split_patients
from hepred_lib.cohort.predictors import (
    CLINICAL_CANDIDATES,
    RADIOLOGICAL_CANDIDATES,
    predictor_frame,
    predictor_quantity,
)
from hepred_lib.intake.check import read_patients
from hepred_lib.stats.baseline import Contrast, baseline_table, cumulative_distribution, standardized_difference
from hepred_lib.stats.sample_size import supported_parameters
from hepred_lib.study import summary
from hepred_lib.study.drawing import Markdown, publish, show
from hepred_lib.study.files import read_table, write_table
from hepred_lib.study.run import open_notebook
from ich_phantom.cohort import portray_truth, within_class_correlation

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
manifest = "data_manifest.csv"  # one row a patient
truth = "cohorts/demo/truth.csv"  # the simulation's truth; empty where patients are real
image_source = "scans"  # scans, column (external_score) or none
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
# give is measured on its mask. With scans, every patient with a first scan is included, and one without an outcome
# serves segmentation and detection alone; without scans an outcome is needed. Who is excluded has a reason, which is a
# fact about the patient.
#
# A row without a hemorrhage (baseline volume and mask empty or 0, nothing else that tells of blood) is not a patient
# without an outcome: the two are counted apart.

# %%
table = read_patients(run.resolve(manifest), definition=definition)
reasons = summary.exclusions(table, image_source=image_source)
cohort = table[reasons.eq("")].copy()
excluded = table.assign(reason=reasons).loc[reasons.ne(""), ["patient_id", "reason", "he", "has_hemorrhage"]]
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
publish(run.folder, "cohort", summary.counts_by_set(cohort))

# %%
known = cohort[cohort["he"].notna()]
development = known[known["split"].eq("development")]
n, events = len(development), int(development["he"].sum())
n_test, test_events = len(known) - n, int(known["he"].sum()) - events
Markdown(
    f"HE in **{events} of {n}** development patients ({events / n:.1%}) and **{test_events} of {n_test}** test patients. "
    + ("With fewer than 100 test events calibration can hardly be assessed. " if test_events < 100 else "")
    + f"{len(excluded)} rows were excluded."
)

# %% [markdown]
# ## Participant flow
#
# From the rows of the manifest to the two sets, with the reasons of exclusion.

# %%
flow = summary.flow_table(table, cohort, excluded, folds=folds)
show(run.folder, "flow", flow.assign(simulated=bool(truth)))

# %% [markdown]
# Why the outcome of a hemorrhage is unknown. These patients are not like the others: who died or was operated on early
# has no second scan. The table is empty where every outcome is known.

# %%
publish(run.folder, "missing_outcomes", summary.missing_outcomes(table))

# %% [markdown]
# ## Table 1
#
# Medians with quartiles, or numbers with percentages of the patients whose value is known. Groups are compared by
# standardized mean differences (SMD), which do not grow with the sample. The sets were drawn at random, so that a p value
# between them could only tell of chance; by outcome, in development patients alone, p values are Mann-Whitney's,
# Fisher's or chi-squared, without correction for their number. Nothing is chosen from this table.

# %%
sets = ("development", "test")
groups = {"All": known["he"].notna()} | {split.capitalize(): known["split"].eq(split) for split in sets}
groups |= {name: groups["Development"] & known["he"].eq(he) for name, he in (("No HE", 0), ("HE", 1))}
offered = [name for name in (*CLINICAL_CANDIDATES, *RADIOLOGICAL_CANDIDATES) if name in known]
offered = [name for name in offered if known[name].notna().any()]
values = predictor_frame(known, offered).assign(he=known["he"])
words = {name: predictor_quantity(name) for name in offered} | {"male": "Male sex", "he": "Hematoma expansion"}
contrasts = [Contrast("Development", "Test"), Contrast("No HE", "HE", tested=True)]
publish(run.folder, "table1", baseline_table(values, groups, contrasts, labels=words))

# %%
apart = {
    (first, second): values.drop(columns="he").apply(
        lambda column, a, b: abs(standardized_difference(column[a], column[b])),
        a=groups[first],
        b=groups[second],
    )
    for first, second in (("Development", "Test"), ("No HE", "HE"))
}
Markdown(
    "; ".join(
        f"{second} against {first}: {(smd > 0.2).sum()} of {len(smd)} variables differ by more than 0.2 SD"
        + (f", most of all {words[smd.idxmax()]} ({smd.max():.2f})" if smd.notna().any() else "")
        for (first, second), smd in apart.items()
    )
    + f". {values.isna().any(axis=1).sum()} of {len(values)} patients lack at least one value."
)

# %% [markdown]
# ## How the patients look
#
# Distributions in development patients with an outcome, by HE, with 95 % intervals value by value. Nothing is chosen
# from this picture.

# %%
shown = ["age", "gcs", "sbp_mmhg", "onset_to_ct_h", "baseline_volume_ml", "inr"]
shown = [name for name in shown if development[name].notna().any()]
curves = [
    cumulative_distribution(values).assign(variable=predictor_quantity(name), he=he)
    for name in shown
    for he, values in development.dropna(subset=[name]).groupby("he")[name]
]
show(run.folder, "cohort", pd.concat(curves).assign(simulated=bool(truth)))

# %% [markdown]
# ## How many predictors can this support?
#
# Riley's criteria for a logistic model: enough patients for a shrinkage of 0.9, a small optimism of the explained
# variation, and a precise intercept.

# %%
candidates = [name for name in CLINICAL_CANDIDATES if name in offered]
supported = supported_parameters(n, events / n, expected_auc)
Markdown(
    f"{n} development patients with {events} events support about **{supported}** candidate parameters at an AUC of "
    f"{expected_auc}; the manifest offers **{len(candidates)}**. "
    + ("Selection among them will be unstable: notebook 05 shows how much." if len(candidates) > supported else "")
)

# %% [markdown]
# ## The truth, where it is known
#
# In a simulated cohort the best possible prediction is known; whoever makes it is called the *oracle*. Each hematoma
# either bleeds on or does not, with
#
# $$\operatorname{logit} P(\text{bleeds on}) = \text{intercept} + \text{clinical part} + \text{image part}.$$
#
# The clinical part holds the values as the hospital prints them (onset-to-CT time, drugs, sex, coma scale, fibrinogen,
# pressure), the image part what the scan shows (volume, density, shape, blood in the ventricles). One that bleeds on
# grows by a log-normal fraction, the others hardly at all; both volumes are read with an error of 5 %, and the label
# follows from the two readings. So the label is not the bleeding (panel A): given the true volume $V$ and the
# probability $\pi$ that it bleeds on,
#
# $$P(\text{HE}) = q_0(V) + \pi\,[\,q_1(V) - q_0(V)\,],$$
#
# where $q_1$ and $q_0$ are the label's probabilities with and without bleeding, integrals over growth and reading error.
# With everything known, $\pi$ is the formula above: that is the *integrated* oracle. The *image* oracle knows the
# image alone and averages $\pi$ over the clinical values that go with it: an older clot looks denser, the coma scale
# falls with volume and ventricular blood, all else is independent of the scan. The *clinical* oracle knows the bedside
# alone and averages over hematomas by Bayes' rule, since a low coma scale tells of a large one. Every conditional
# distribution is written down in the simulation, so each average is a finite sum that is exact to about 0.001. The
# two parts overlap little within an outcome (panel B), which is why a model of both can beat each (panel C); an
# oracle that keeps its word lies on the diagonal (panel D).
#
# No model notebook reads the oracle.

# %%
oracle = read_table(run.resolve(truth)).dropna(subset=["p_integrated"]) if truth else None
known_truth = oracle.merge(table[["patient_id", "he"]], on="patient_id") if truth else None
law = portray_truth(seed=seed).assign(simulated=True) if truth else None
show(run.folder, "truth", law) if truth else Markdown("The patients are real: no oracle.")

# %%
Markdown(
    f"The figure shows 20,000 further simulated patients of hospital A's case mix (in panel B 350 of each outcome). In this cohort the oracle's mean "
    f"probability is {oracle['p_integrated'].mean():.3f}, the observed frequency {table['he'].mean():.3f}; within an "
    f"outcome its image and clinical logits correlate by "
    f"{within_class_correlation(known_truth['he'], known_truth):.2f}. Clinical effects are about twice the "
    "published size: at published size the bedside alone would reach an AUC near 0.75."
    if truth
    else "Real patients have no known truth: what could be foreseen at best stays unknown."
)

# %% [markdown]
# ## Limits
#
# A study of real patients must say how many follow-up scans are missing, and why. A 5 % error of each measured volume makes some labels wrong, more so in
# small hematomas.

# %%
run.record(n_development=n, he_development=events, n_test=n_test, he_test=test_events, supported_parameters=supported)
