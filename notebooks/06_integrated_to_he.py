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
# **What does the DL score add to the bedside?**
#
# Reads `image.csv`, `clinical.csv`, `cohort.csv`; writes `integrated.csv`, `integrated_model.json`,
# `integrated_imputation.json`.

# %%
import pandas as pd
from IPython.display import Markdown

from hepred_lib.book import show
from hepred_lib.manifest import predictor_frame
from hepred_lib.results import nomogram_of, odds_ratio_table
from hepred_lib.stats.development import DevelopmentSettings, cross_fit, develop
from hepred_lib.stats.discrimination import auc_interval, compare_auc
from hepred_lib.stats.operating_point import youden_threshold
from hepred_lib.stats.sensitivity import leak_demonstration
from hepred_lib.study import open_notebook, read_json, read_table, write_json, write_table

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
truth = "cohorts/demo/truth.csv"  # only to label simulated figures; empty where patients are real
n_imputations = 5  # imputed data sets
n_resamples = 50  # bootstrap resamples, the whole procedure in each
seed = 7  # of imputation and resamples

# %%
run = open_notebook("06_integrated_to_he", globals())
clinical_model = read_json(run.path("clinical_model.json"))
cohort = read_table(run.path("cohort.csv"))
cohort = cohort[cohort["he"].notna()].drop(columns=["dl_score"])  # the normalized one comes from notebook 04
image = read_table(run.path("image.csv"))[["patient_id", "dl_score"]]
patients = cohort.merge(image, on="patient_id", validate="one_to_one").reset_index(drop=True)
assert len(patients) == len(cohort), "every patient with an outcome must have a DL score"

# %% [markdown]
# ## The model: clinical variables and the out-of-fold score
#
# The clinical variables are chosen as in notebook 05, without the score; then the score joins. In development patients
# it is the score of the network that has *not* seen them: with the in-sample score the regression would trust it far
# too much.

# %%
offered = clinical_model["candidates"]
x = pd.concat([predictor_frame(patients, offered), patients["dl_score"]], axis=1)
rows = patients["split"].eq("development")
y = patients.loc[rows, "he"].astype(int)
settings = DevelopmentSettings(
    candidates=tuple(name for name in x.columns if name != "dl_score"),
    added=("dl_score",),
    criterion=clinical_model["criterion"],
    alpha=clinical_model["logistic"]["settings"]["alpha"],
    n_imputations=n_imputations,
    n_resamples=n_resamples,
    seed=seed,
)
model = develop(x[rows], y, settings)

# %%
odds = odds_ratio_table(model, "integrated").assign(simulated=bool(truth))
score = odds.set_index("name").loc["dl_score"]
write_table(run.path("tables", "odds_ratios_integrated.csv"), odds.drop(columns=["simulated"]))
show(run.folder, "odds_ratios_integrated", odds)

# %%
Markdown(
    f"One standard deviation of the DL score multiplies the odds of expansion by **{score['odds_ratio']:.2f}** (95 % "
    f"interval {score['low']:.2f}-{score['high']:.2f}) at equal bedside variables. Shrinkage factor {model.shrinkage:.2f}. "
    f"Likelihood-ratio test of the score over the bedside variables: p = {model.added_test.p:.2g}; each patient's score has "
    "seen the others' outcomes, so the statistic is up to twice too large for a score of noise, and from half of it "
    f"**p = {model.added_test.cross_fitted_p:.2g}**. Optimism of the AUC with everything repeated but the network: "
    f"{model.optimism['auc_apparent']:.2f} apparent, {model.optimism['auc_corrected']:.2f} corrected."
    if model.added_test
    else "The DL score does not vary: nothing can be said of it."
)

# %% [markdown]
# ## The leak, demonstrated
#
# The same regression with the *in-sample* scores of development patients, which nobody should do: the networks had
# seen their labels. A coefficient several times as large is what a test patient would pay for.

# %%
paths = sorted(run.folder.glob("folds/*/predictions.csv"))
folds = (
    pd.concat([read_table(path) for path in paths])
    if paths
    else pd.DataFrame(columns=["role", "patient_id", "dl_logit"])
)
scales = pd.DataFrame(read_json(run.path("image_model.json"))["scales"]).set_index("fold")
leaked = folds[folds["role"] == "in_fold"].copy()
leaked["dl_score"] = (
    (leaked["dl_logit"] - leaked["fold"].map(scales["mean"])) / leaked["fold"].map(scales["sd"]) if paths else []
)
in_sample = patients.loc[rows, "patient_id"].map(leaked.groupby("patient_id")["dl_score"].mean())
leak = leak_demonstration(x[rows], y, settings, in_sample=in_sample) if paths else None
leak

# %%
Markdown(
    f"Odds ratio of one SD of the score: out-of-fold {leak.loc['out_of_fold', 'odds_ratio']:.2f} "
    f"({leak.loc['out_of_fold', 'low']:.2f}-{leak.loc['out_of_fold', 'high']:.2f}), in-sample "
    f"**{leak.loc['in_sample', 'odds_ratio']:.2f}** ({leak.loc['in_sample', 'low']:.2f}-"
    f"{leak.loc['in_sample', 'high']:.2f}); apparent AUC {leak.loc['out_of_fold', 'auc_apparent']:.2f} and "
    f"{leak.loc['in_sample', 'auc_apparent']:.2f}."
    if paths
    else "The score was made elsewhere: whether it is out-of-fold cannot be seen here."
)

# %% [markdown]
# ## Probabilities

# %%
p_cross = cross_fit(x[rows], y, patients.loc[rows, "fold"], settings)
threshold = youden_threshold(y, p_cross)
integrated = patients[["patient_id", "split", "fold", "he"]].copy()
integrated["p_integrated"] = integrated["p_integrated_apparent"] = model.predict(x)
integrated.loc[rows, "p_integrated"] = p_cross
assert integrated["p_integrated"].notna().all(), "every patient has a probability"

# %%
clinical = read_table(run.path("clinical.csv")).set_index("patient_id")["p_clinical"]
p_clinical = patients.loc[rows, "patient_id"].map(clinical)
cross, gain = auc_interval(y, p_cross, method="logit"), compare_auc(y, p_cross, p_clinical)
Markdown(
    f"Cross-fitted AUC in development: **{cross.auc:.2f}** ({cross.low:.2f}-{cross.high:.2f}), "
    f"{gain.difference:+.2f} ({gain.low:+.2f} to {gain.high:+.2f}) against the clinical model. Threshold {threshold:.3f}."
)

# %% [markdown]
# ## Limits
#
# The networks behind the out-of-fold scores have seen the labels of the other folds; cross-fitted probabilities of the
# integrated model are therefore slightly optimistic. The verdict belongs to the test patients.

# %%
scale = nomogram_of(model, x[rows])
write_table(run.path("integrated.csv"), integrated)
write_json(run.path("integrated_imputation.json"), model.imputer.to_json())
write_json(
    run.path("integrated_model.json"),
    {
        "model": "integrated",
        "definition": clinical_model["definition"],
        "threshold": threshold,
        "threshold_rule": "youden, cross-fitted development probabilities",
        "candidates": offered,
        "logistic": model.to_json(),
        "nomogram": scale.to_json() if scale else None,
    },
)
run.record(path=list(model.path), auc_cross_fitted=cross.auc, shrinkage=model.shrinkage, optimism=model.optimism)
