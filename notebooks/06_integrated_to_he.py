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
# Reads `cohort.csv`, `image.csv`, `image_model.json`, `clinical.csv`, `clinical_model.json` and the folds'
# `folds/<k>/predictions.csv`; writes `integrated.csv`, `integrated_model.json`, `integrated_imputation.json`, tables
# and figures.

# %%
import pandas as pd

from hepred_lib.cohort.predictors import predictor_frame
from hepred_lib.literal import for_markdown
from hepred_lib.stats.development import DevelopmentSettings, cross_fit_sets, develop
from hepred_lib.stats.discrimination import auc_interval, compare_auc
from hepred_lib.stats.effects import multivariable_odds_ratios, univariable_odds_ratios
from hepred_lib.stats.imputation import pool_auc, pool_slope
from hepred_lib.stats.operating_point import youden_threshold
from hepred_lib.stats.sensitivity import compare_penalties, complete_case_odds_ratios, leak_demonstration
from hepred_lib.study import drawing, tables
from hepred_lib.study.drawing import Markdown, show
from hepred_lib.study.files import read_json, read_table, write_json, write_printed, write_table
from hepred_lib.study.run import open_notebook

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
truth = "cohorts/demo/truth.csv"  # only to label simulated figures; empty where patients are real
image_source = "scans"  # scans, or column: the score comes from the manifest
folds = 3  # networks of notebook 03, where the score is theirs
n_imputations = 5  # imputed data sets
n_resamples = 50  # bootstrap resamples, the whole procedure in each
seed = 7  # of imputation and resamples

# %%
run = open_notebook("06_integrated_to_he", globals())
clinical_model = read_json(run.path("clinical_model.json"))
cohort = read_table(run.path("cohort.csv"))
cohort = cohort[cohort["he"].notna()]  # the normalized one comes from notebook 04
image = read_table(run.path("image.csv"))[["patient_id", "dl_score"]]
patients = cohort.merge(image, on="patient_id", validate="one_to_one").reset_index(drop=True)
assert len(patients) == len(cohort), "every patient with an outcome must have a DL score"

# %% [markdown]
# ## The model: clinical variables and the out-of-fold score
#
# The clinical variables are chosen by the procedure of notebook 05, then the score joins. The score has no say in the
# choice, but helps to impute what is missing, so that another variable may be chosen than there. In development
# patients it is the score of the network that has *not* seen them: with the in-sample score the regression would trust
# it far too much.

# %%
offered = [name for name in clinical_model["candidates"] if name != "dl_score"]  # which joins in any case
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

# %% [markdown]
# ## Odds ratios
#
# Of each candidate alone, and in the model beside the others, pooled over the imputed data sets before shrinkage: Wald
# limits by Rubin's rules, and profile-likelihood limits averaged over the sets (Heinze, Ploner and Beyea 2013). Both
# ignore that the bedside variables were selected.

# %%
odds = tables.odds_ratio_table(model, "integrated").assign(simulated=bool(truth))
tables.save_table(run.folder, "odds_ratios_integrated", odds.drop(columns=["simulated"]))
show(run.folder, "odds_ratios_integrated", odds) if len(odds) else Markdown(
    "Neither the score nor a variable: no odds ratio."
)

# %%
steps = multivariable_odds_ratios(model, x[rows], y)
both = tables.odds_ratios_beside(univariable_odds_ratios(x[rows], y), steps)
tables.save_table(run.folder, "univariable_multivariable_integrated", both, printed=tables.odds_ratios_page(both))

# %%
score = both.set_index("name").loc["dl_score"]
Markdown(
    f"One standard deviation of the DL score multiplies the odds of expansion by **{tables.two_digits(score['wald'])}** "
    f"(Wald {tables.limits_words(score['wald_low'], score['wald_high'])}, profile "
    f"{tables.limits_words(score['profile_low'], score['profile_high'])}) at equal bedside variables, by {tables.two_digits(score['univariable'])} alone. Shrinkage factor {model.shrinkage:.2f}. "
    f"Likelihood-ratio test of the score over the bedside variables: {tables.p_words(model.added_test.p)}; each "
    "patient's score has seen the others' outcomes, so the statistic is up to twice too large for a score of noise, and "
    f"from half of it **{tables.p_words(model.added_test.cross_fitted_p)}**. Optimism of the AUC with everything "
    f"repeated but the network: {model.optimism['auc_apparent']:.2f} apparent, {model.optimism['auc_corrected']:.2f} "
    "corrected."
    if model.added_test
    else f"The DL score adds nothing that can be estimated. {' '.join(map(for_markdown, model.notes))}"
)

# %% [markdown]
# ### As a formula
#
# After shrinkage, in the predictors' own units.

# %%
Markdown(tables.model_words(model))

# %% [markdown]
# ### Complete cases beside imputation
#
# The same predictors, fitted on the development patients who have them all.

# %%
beside = complete_case_odds_ratios(x[rows], y, model)
shown = tables.complete_cases_printed(beside) if beside is not None else pd.DataFrame({"label": []})
write_table(run.path("tables", "complete_cases_integrated.csv"), beside if beside is not None else shown)
write_printed(run.folder, "complete_cases_integrated", shown)
shown if beside is not None else Markdown("No predictor, or too few complete cases: nothing to set beside imputation.")

# %%
estimable = beside is not None and beside["name"].eq("dl_score").any()
moved = beside.set_index("name").loc["dl_score"] if estimable else None
Markdown(
    "No value of the model's predictors is missing: complete cases are all patients."
    if estimable and moved["n"] == len(y)
    else f"In {moved['n']:.0f} of {len(y)} patients ({moved['events']:.0f} with HE) the score's odds ratio is "
    f"{tables.with_interval(moved['complete'], [moved['complete_low'], moved['complete_high']])}, after imputation "
    f"{tables.with_interval(moved['imputed'], [moved['imputed_low'], moved['imputed_high']])}."
    if estimable
    else "Complete cases cannot be judged here."
)

# %% [markdown]
# ## The leak, demonstrated
#
# The same regression with the *in-sample* scores of development patients, which nobody should do: the networks had
# seen their labels. What the larger coefficient costs is seen in test patients, whom no network has seen: a slope below 1
# says that the probabilities are too extreme. Nothing is chosen by these patients.

# %%
paths = [run.path("folds", str(fold), "predictions.csv") for fold in range(folds)] if image_source == "scans" else []
read = (
    pd.concat([read_table(path) for path in paths])
    if paths
    else pd.DataFrame(columns=["role", "patient_id", "dl_logit"])
)
scales = pd.DataFrame(read_json(run.path("image_model.json"))["scales"]).set_index("fold")
leaked = read[read["role"] == "in_fold"].copy()
leaked["dl_score"] = (
    (leaked["dl_logit"] - leaked["fold"].map(scales["mean"])) / leaked["fold"].map(scales["sd"]) if paths else []
)
in_sample = patients.loc[rows, "patient_id"].map(leaked.groupby("patient_id")["dl_score"].mean())
held = patients["split"].eq("test")
unseen = (x[held], patients.loc[held, "he"].astype(int))
leak = leak_demonstration(x[rows], y, settings, in_sample=in_sample, test=unseen) if paths else pd.DataFrame()
tables.save_table(run.folder, "leak", leak.rename_axis("score").reset_index()) if paths else None

# %%
cells = tables.as_printed(leak.rename_axis("score").reset_index()) if paths else pd.DataFrame()
Markdown(
    "One SD of the score, before shrinkage: "
    + "; ".join(
        f"{row.score.replace('_', '-')}, odds ratio **{row.odds_ratio}**, apparent AUC {row.auc_apparent}, and in "
        f"{len(unseen[1])} test patients slope **{row.test_slope}**, AUC {row.test_auc}"
        for row in cells.itertuples()
    )
    + "."
    if paths
    else "The score was made elsewhere: whether it is out-of-fold cannot be seen here."
)

# %% [markdown]
# ## Probabilities

# %%
p_sets = cross_fit_sets(x[rows], y, patients.loc[rows, "fold"], settings)
p_cross = p_sets.mean(axis=0)
threshold = youden_threshold(y, p_cross)
integrated = patients[["patient_id", "split", "fold", "he"]].copy()
integrated["p_integrated"] = integrated["p_integrated_apparent"] = model.predict(x)
integrated.loc[rows, "p_integrated"] = p_cross
assert integrated["p_integrated"].notna().all(), "every patient has a probability"

# %%
clinical = read_table(run.path("clinical.csv")).set_index("patient_id")["p_clinical"]
p_clinical = patients.loc[rows, "patient_id"].map(clinical)
cross, gain = auc_interval(y, p_cross, method="logit"), compare_auc(y, p_cross, p_clinical)
pooled = {"AUC": pool_auc(y, p_sets), "slope": pool_slope(y, p_sets)}
said = {name: tables.with_interval(found.estimate, [found.low, found.high]) for name, found in pooled.items()}
Markdown(
    f"Cross-fitted AUC in development: **{tables.with_interval(cross.auc, [cross.low, cross.high])}**, "
    f"{gain.difference:+.2f} ({gain.low:+.2f} to {gain.high:+.2f}) against the clinical model. Judged in each imputed set "
    f"and pooled by Rubin's rules: AUC {said['AUC']}, calibration slope {said['slope']}. Threshold (Youden): "
    f"{threshold:.3f}."
)

# %% [markdown]
# ## Would a penalty have come out otherwise?
#
# Lasso and ridge over all candidates and the score, instead of selection and uniform shrinkage; cross-fitted over the
# same folds, the strength chosen inside the development data.

# %%
penalized = compare_penalties(x[rows], y, patients.loc[rows, "fold"], p_cross, seed=seed)
tables.save_table(run.folder, "penalized_integrated", penalized)

# %%
Markdown(tables.penalties_words(penalized))

# %% [markdown]
# ## Limits
#
# The networks behind the out-of-fold scores have seen the labels of the other folds; cross-fitted probabilities of the
# integrated model are therefore slightly optimistic. The verdict belongs to the test patients.

# %%
scale = drawing.nomogram_of(model, x[rows])
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
_ = run.record(path=list(model.path), auc_cross_fitted=cross.auc, shrinkage=model.shrinkage, optimism=model.optimism)
