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
# **Which bedside variables foresee expansion, and how reliably were they chosen?**
#
# Reads `cohort.csv`; writes `clinical.csv`, `clinical_model.json` and `imputation.json`.

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from hepred_lib.book import show
from hepred_lib.manifest import CLINICAL_CANDIDATES, RADIOLOGICAL_CANDIDATES, predictor_frame, predictor_label
from hepred_lib.results import nomogram_of, odds_ratio_table
from hepred_lib.stats.development import DevelopmentSettings, cross_fit, develop
from hepred_lib.stats.diagnostics import events_per_parameter, linearity_tests, variance_inflation
from hepred_lib.stats.discrimination import auc_interval, compare_auc
from hepred_lib.stats.effects import odds_ratios
from hepred_lib.stats.operating_point import youden_threshold
from hepred_lib.stats.penalized import cross_fit_penalized
from hepred_lib.stats.sample_size import supported_parameters
from hepred_lib.stats.sensitivity import develop_complete_cases, naive_optimism
from hepred_lib.stats.stability import selection_stability
from hepred_lib.study import open_notebook, read_json, read_table, write_json, write_table

# %% tags=["parameters"]
study = "demo"  # folder under runs/
runs_dir = ""  # empty: the project's own runs/
truth = "cohorts/demo/truth.csv"  # only to label simulated figures; empty where patients are real
candidates = ""  # names joined by blanks; empty: every bedside and laboratory variable of the manifest
radiological = False  # offer volume, location and ventricular blood as read by a person, too
criterion = "lr"  # lr (likelihood ratio), aic or bic
alpha = 0.05  # a variable enters while its likelihood-ratio p is below
n_imputations = 5  # imputed data sets
n_resamples = 50  # bootstrap resamples, the whole procedure in each
seed = 7  # of imputation and resamples

# %%
run = open_notebook("05_clinical_to_he", globals())
cohort = read_table(run.path("cohort.csv"))
cohort = cohort[cohort["he"].notna()].reset_index(drop=True)
development = cohort[cohort["split"].eq("development")]
assert not set(development["patient_id"]) & set(cohort.loc[cohort["split"].eq("test"), "patient_id"])

# %% [markdown]
# ## What is offered, and what is missing
#
# Only development patients are looked at. Missing values are imputed from the other predictors, never from the
# outcome, since the outcome is not known when the model is used.

# %%
offered = candidates.split() or [name for name in CLINICAL_CANDIDATES if cohort.get(name, pd.Series()).notna().any()]
offered += [name for name in RADIOLOGICAL_CANDIDATES if radiological and cohort.get(name, pd.Series()).notna().any()]
x, y = predictor_frame(development, offered), development["he"].astype(int)
missing = x.isna().mean().sort_values(ascending=False)
write_table(run.path("tables", "missing.csv"), missing.rename("missing").rename_axis("predictor").reset_index())
supported = supported_parameters(len(y), y.mean(), 0.81)
Markdown(
    f"{x.shape[1]} candidates, {len(y)} patients, {y.sum()} events ({events_per_parameter(y, x.shape[1]):.1f} events per candidate). "
    f"Most often missing: {missing.index[0]} ({missing.iloc[0]:.0%}). "
    + (
        f"**Sample size:** these data support about {supported} candidate parameters (Riley), {x.shape[1] - supported} "
        "fewer than offered; expect an unstable choice and overconfident probabilities before shrinkage."
        if x.shape[1] > supported
        else f"These data support about {supported} candidate parameters (Riley)."
    )
)

# %% [markdown]
# ## Forward selection
#
# In each imputed data set variables enter one by one; kept are those chosen in more than half of the sets. Everything,
# imputation and selection included, is repeated in every bootstrap resample: from there come the optimism and the
# uniform shrinkage factor.

# %%
settings = DevelopmentSettings(
    candidates=tuple(x.columns),
    criterion=criterion,
    alpha=alpha,
    n_imputations=n_imputations,
    n_resamples=n_resamples,
    seed=seed,
)
model = develop(x, y, settings)
Markdown(
    f"Selected: **{', '.join(map(predictor_label, model.path)) or 'nothing'}**. Shrinkage factor {model.shrinkage:.2f}; AUC apparent "
    f"{model.optimism['auc_apparent']:.2f}, corrected for optimism {model.optimism['auc_corrected']:.2f} "
    f"({n_resamples} resamples)."
)

# %% [markdown]
# ## The model
#
# Odds ratios per unit, pooled over the imputed data sets (Rubin), before shrinkage. The intervals ignore that the
# variables were selected: they are too narrow.

# %%
odds = odds_ratio_table(model, "clinical").assign(simulated=bool(truth))
write_table(run.path("tables", "odds_ratios_clinical.csv"), odds.drop(columns=["simulated"]))
show(run.folder, "odds_ratios_clinical", odds)

# %%
steps = odds_ratios(model.names, model.unshrunk_coefficients, model.standard_errors)
write_table(run.path("tables", "odds_ratios_clinical_by_step.csv"), steps)
Markdown(
    "; ".join(
        f"{predictor_label(row.name)} (per {row.step:g}) {row.odds_ratio:.2f} ({row.low:.2f}-{row.high:.2f})"
        for row in steps.itertuples(index=False)
    )
    + f". {(steps['low'].gt(1) | steps['high'].lt(1)).sum()} of {len(steps)} intervals exclude 1, as selection by "
    "significance makes them do: that is no confirmation."
    if len(steps)
    else "Without a predictor there is no odds ratio."
)

# %% [markdown]
# ## Do straight lines do, and do the candidates repeat each other?
#
# On the first imputed data set: each number's departure from linearity (restricted cubic splines, four knots) beside
# the other selected variables, and how much the other candidates inflate each one's variance.

# %%
completed = model.imputer.impute(x)[0].loc[:, lambda table: table.nunique() > 1]
numbers = [name for name in model.path if name in completed and completed[name].nunique() > 10]
straight = linearity_tests(completed.reindex(columns=[n for n in model.names if n in completed]), y, numbers)
write_table(run.path("tables", "linearity.csv"), straight)
inflation = variance_inflation(completed).sort_values("gvif", ascending=False)
bent = straight.loc[straight["p"] < 0.05, "column"].map(predictor_label)
Markdown(
    f"Of {len(straight)} selected numbers {len(bent)} depart from a straight line at the 5 % level"
    + (f" ({', '.join(bent)}). " if len(bent) else ". ")
    + f"Highest variance inflation: {inflation['predictor'].iloc[0]}, {inflation['gvif'].iloc[0]:.1f}"
    + (" (below 5: no concern)." if inflation["gvif"].iloc[0] < 5 else " (5 or more: these share their information).")
)

# %% [markdown]
# ## How reliable is the choice?
#
# How often each candidate was chosen over the bootstrap resamples. A variable near one half would have been dropped
# by another hospital with the same patients.

# %%
frequency = model.inclusion_frequency.sort_values(ascending=False)
table = pd.DataFrame(
    {
        "name": frequency.index,
        "label": frequency.index.map(predictor_label),
        "frequency": frequency.to_numpy(),
        "selected": frequency.index.isin(model.path),
    }
)
write_table(run.path("tables", "inclusion_frequency.csv"), table)
show(run.folder, "inclusion_frequency", table.assign(simulated=bool(truth)))

# %%
unsure = frequency[frequency.index.isin(model.path) & (frequency < 0.5)]
Markdown(
    (f"Chosen here, but in fewer than half of the resamples: {', '.join(unsure.index)}. " if len(unsure) else "")
    + f"Most often chosen: {', '.join(f'{name} ({share:.0%})' for name, share in frequency.head(5).items())}."
)

# %%
rng = np.random.default_rng(seed)
stability = selection_stability(completed, y, n_resamples=max(n_resamples, 100), rng=rng)
write_table(run.path("tables", "model_frequency.csv"), stability.models)
write_table(run.path("tables", "coefficient_stability.csv"), stability.coefficients.rename_axis("name").reset_index())
top = stability.models.iloc[0]
Markdown(
    f"{len(stability.models)} different models were chosen in {max(n_resamples, 100)} resamples of the first imputed data "
    f"set; the most frequent one ({top['predictors']}) in {top['frequency']:.0%}. There is no such thing as *the* selected "
    "model; coefficients of chosen variables are exaggerated by "
    f"{stability.coefficients.loc[stability.inclusion.ge(0.1).reindex(stability.coefficients.index, fill_value=False), 'relative_bias_pct'].median():.0f} % "
    "in the median (variables chosen in at least a tenth of the resamples)."
)

# %% [markdown]
# ## How much does it flatter itself?
#
# Optimism three ways: not corrected; corrected as if the selected variables had been fixed beforehand (*naive*); and
# with imputation and selection repeated in every resample, which is the one to believe.

# %%
naive = naive_optimism(x, y, model) if model.predictors else model.optimism
optimism = pd.DataFrame(
    {
        "apparent": {"AUC": model.optimism["auc_apparent"], "Brier": model.optimism["brier_apparent"], "slope": 1.0},
        "naive": {"AUC": naive["auc_corrected"], "Brier": naive["brier_corrected"], "slope": naive["slope_corrected"]},
        "corrected": {
            "AUC": model.optimism["auc_corrected"],
            "Brier": model.optimism["brier_corrected"],
            "slope": model.optimism["slope_corrected"],
        },
    }
)
write_table(run.path("tables", "optimism_clinical.csv"), optimism.rename_axis("figure").reset_index())
optimism.round(3)

# %%
Markdown(
    f"The AUC flatters itself by {model.optimism['auc_apparent'] - model.optimism['auc_corrected']:.3f}; who forgets the "
    f"selection sees {model.optimism['auc_apparent'] - naive['auc_corrected']:.3f} of it ({n_resamples} resamples; with few "
    "of them these corrections themselves move in the second digit)."
)

# %% [markdown]
# ## Probabilities
#
# Development rows are cross-fitted: within the folds imputation, selection, fit and shrinkage are done again without
# the patient. The threshold (Youden) is chosen on them and frozen. Test rows come from the final model.

# %%
p_cross = cross_fit(x, y, development["fold"], settings)
threshold = youden_threshold(y, p_cross)
clinical = cohort[["patient_id", "split", "fold", "he"]].copy()
clinical["p_clinical"] = clinical["p_clinical_apparent"] = model.predict(predictor_frame(cohort, offered))
clinical.loc[development.index, "p_clinical"] = p_cross
assert clinical["p_clinical"].notna().all(), "every patient has a probability"
cross = auc_interval(y, p_cross, method="logit")
Markdown(
    f"Cross-fitted AUC in development: **{cross.auc:.2f}** ({cross.low:.2f}-{cross.high:.2f}); threshold {threshold:.3f}."
)

# %% [markdown]
# ## Would another way have come out otherwise?
#
# Two sensitivity analyses, neither of which replaces the model: complete cases instead of imputation, and a lasso over
# all candidates instead of selection and uniform shrinkage (its penalty chosen by cross-validation inside the
# development data, cross-fitted over the same folds).

# %%
whole = x.notna().all(axis=1)
enough = min(y[whole].sum(), (~y[whole].astype(bool)).sum()) >= 10
cases = develop_complete_cases(x, y, settings) if enough else None
many = min(y.sum(), len(y) - y.sum()) >= 10
p_lasso = cross_fit_penalized(x, y, development["fold"], n_imputations=1, seed=seed) if many else p_cross
lasso = compare_auc(y, p_lasso, p_cross)
Markdown(
    (
        f"Complete cases: {cases.n} patients with {cases.events} events ({cases.n_dropped} dropped), selected "
        f"{', '.join(map(predictor_label, cases.model.path)) or 'nothing'}. "
        if enough
        else f"Complete cases: {whole.sum()} patients, too few events to develop a model. "
    )
    + (
        f"Lasso against the model, difference of cross-fitted AUC: {lasso.difference:+.3f} ({lasso.low:+.3f} to "
        f"{lasso.high:+.3f})."
        if many
        else "Too few events for a lasso."
    )
)

# %% [markdown]
# ## Limits
#
# Values may be missing *because* a patient was sicker; imputation from the other predictors repairs that in part only.
# Selection makes p values and intervals of the final model too optimistic; the frequencies above show how much.

# %%
described, scale = model.to_json(), nomogram_of(model, x)
write_table(run.path("clinical.csv"), clinical)
write_json(run.path("imputation.json"), model.imputer.to_json())
write_json(
    run.path("clinical_model.json"),
    {
        "model": "clinical",
        "definition": read_json(run.path("records", "01_cohort.json"))["parameters"]["definition"],
        "threshold": threshold,
        "threshold_rule": "youden, cross-fitted development probabilities",
        "candidates": offered,
        "criterion": criterion,
        "logistic": described,
        "nomogram": scale.to_json() if scale else None,
    },
)
run.record(path=list(model.path), auc_cross_fitted=cross.auc, shrinkage=model.shrinkage, optimism=model.optimism)
