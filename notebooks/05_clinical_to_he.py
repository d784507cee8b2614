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
# Reads `cohort.csv` and `records/01_cohort.json`; writes `clinical.csv`, `clinical_model.json`, `imputation.json`,
# tables and figures.

# %%
import numpy as np
import pandas as pd

from hepred_lib.cohort.predictors import CLINICAL_CANDIDATES, RADIOLOGICAL_CANDIDATES, predictor_frame, predictor_label
from hepred_lib.literal import for_markdown
from hepred_lib.stats.development import DevelopmentSettings, cross_fit_sets, develop
from hepred_lib.stats.diagnostics import collinear_predictors, events_per_parameter, linearity_tests, variance_inflation
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.effects import multivariable_odds_ratios, univariable_odds_ratios
from hepred_lib.stats.imputation import pool_auc, pool_slope
from hepred_lib.stats.logistic import Coding
from hepred_lib.stats.operating_point import youden_threshold
from hepred_lib.stats.published import AUCS
from hepred_lib.stats.sample_size import cox_snell_r2_from_auc, riley_minimum, supported_parameters
from hepred_lib.stats.selection import Rule
from hepred_lib.stats.sensitivity import (
    compare_penalties,
    complete_case_odds_ratios,
    develop_complete_cases,
    naive_optimism,
    selection_stability,
)
from hepred_lib.study import drawing, tables
from hepred_lib.study.drawing import Markdown, show
from hepred_lib.study.files import read_json, read_table, write_json, write_printed, write_table
from hepred_lib.study.run import open_notebook

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
known = [name for name in development if development[name].notna().any()]
offered = candidates.split() or [name for name in CLINICAL_CANDIDATES if name in known]
offered += [name for name in RADIOLOGICAL_CANDIDATES if radiological and name in known]
x, y = predictor_frame(development, offered), development["he"].astype(int)
missing = x.isna().mean().sort_values(ascending=False)
tables.save_table(run.folder, "missing", missing.rename("missing").rename_axis("predictor").reset_index())

# %%
incomplete = missing[missing > 0]
Markdown(
    f"{len(y)} development patients, {y.sum()} with HE. "
    + (
        f"{len(incomplete)} of {x.shape[1]} candidates have missing values, most often {for_markdown(incomplete.index[0])} "
        f"({incomplete.iloc[0]:.0%}); {x.notna().all(axis=1).sum()} patients have them all."
        if len(incomplete)
        else f"All {x.shape[1]} candidates are complete: imputation changes nothing here."
    )
)

# %% [markdown]
# ## Are there enough patients?
#
# Riley's criteria: the smallest sample at which a model of these candidates shrinks by no more than a tenth, is
# optimistic by no more than 0.05 in R², and knows the overall risk to within 0.05, if its AUC is the publication's.
# Parameters count before selection; a category counts once for each level but its first.

# %%
n_parameters, anticipated = len(Coding.of(x).names), AUCS["clinical"]
needed = riley_minimum(n_parameters, y.mean(), cox_snell_r2_from_auc(anticipated, y.mean()))
supported = supported_parameters(len(y), y.mean(), anticipated)
Markdown(
    f"{n_parameters} candidate parameter{'s' * (n_parameters != 1)}, {events_per_parameter(y, n_parameters):.1f} events each. "
    f"At an AUC of {anticipated} they ask for **{needed.n} patients** ({needed.n_shrinkage} for the shrinkage, "
    f"{needed.n_optimism} for the optimism, {needed.n_overall_risk} for the overall risk); there are {len(y)}, who support "
    f"{supported} parameter{'s' * (supported != 1)}. "
    + (
        f"**Too few patients: {needed.n - len(y)} short.** Expect an unstable choice, and probabilities that are too extreme "
        "before shrinkage; shrinkage repairs the second in part, the first not at all."
        if needed.n > len(y)
        else "The sample is large enough by these criteria, which say nothing of how stable the choice is."
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
    f"Selected: **{', '.join(map(tables.predictor_words, model.path)) or 'nothing'}**. Shrinkage factor {model.shrinkage:.2f}; AUC apparent "
    f"{model.optimism['auc_apparent']:.2f}, corrected for optimism {model.optimism['auc_corrected']:.2f} "
    f"({n_resamples} resamples). {' '.join(map(for_markdown, model.notes))}"
)

# %% [markdown]
# ## The model
#
# Odds ratios: of each candidate alone (patients who have the value), and in the model, pooled over the imputed data sets
# before shrinkage. Wald limits follow from Rubin's rules and take the estimate as normal; profile limits ask the
# likelihood itself, each set's profile turned into a distribution and the distributions averaged (Heinze, Ploner and
# Beyea 2013). Both ignore that the variables were selected: they are too narrow.

# %%
odds = tables.odds_ratio_table(model, "clinical").assign(simulated=bool(truth))
tables.save_table(run.folder, "odds_ratios_clinical", odds.drop(columns=["simulated"]))
show(run.folder, "odds_ratios_clinical", odds) if len(odds) else Markdown(
    "Nothing was selected: no odds ratio to draw."
)

# %%
steps = multivariable_odds_ratios(model, x, y)
both = tables.odds_ratios_beside(univariable_odds_ratios(x, y), steps)
tables.save_table(run.folder, "univariable_multivariable_clinical", both, printed=tables.odds_ratios_page(both))

# %%
limits = np.log(steps[["low", "high", "profile_low", "profile_high"]].astype(float).replace(0.0, np.nan))
wider = ((limits["profile_high"] - limits["profile_low"]) / (limits["high"] - limits["low"])).replace(np.inf, np.nan)
lost = [for_markdown(name) for name in steps.loc[steps[["profile_low", "profile_high"]].isna().any(axis=1), "name"]]
Markdown(
    "In the model: "
    + "; ".join(
        f"{for_markdown(row.label)} {tables.two_digits(row.wald)} (Wald "
        f"{tables.limits_words(row.wald_low, row.wald_high)}, profile "
        f"{tables.limits_words(row.profile_low, row.profile_high)})"
        for row in both.dropna(subset=["wald"]).itertuples(index=False)
    )
    + f". {(steps['low'].gt(1) | steps['high'].lt(1)).sum()} of {len(steps)} Wald intervals exclude 1, as selection by "
    "significance makes them do: that is no confirmation. "
    + (f"No profile limit was found for {tables.listed(lost)}. " if lost else "")
    + f"On the log scale the profile intervals are {tables.two_digits(wider.median())} times as wide in the median"
    + (", by Firth's penalty, since predictors separate the outcome." if steps["method"].eq("firth").any() else ".")
    if len(steps)
    else "No predictor was selected; alone, "
    + f"{both['p_univariable'].lt(0.05).sum()} of {len(both)} candidates differ from 1 at the 5 % level."
)

# %% [markdown]
# ### As a formula
#
# After shrinkage, in the predictors' own units, so that a probability can be recomputed by hand.

# %%
Markdown(tables.model_words(model))

# %% [markdown]
# ## Do straight lines do, and do the candidates repeat each other?
#
# On the first imputed data set: each number's departure from linearity (restricted cubic splines, four knots) beside
# the other selected variables, and how much the other candidates inflate each one's variance.

# %%
completed = model.imputer.impute(x)[0].loc[:, lambda table: table.nunique() > 1]
numbers = [name for name in model.path if name in completed and completed[name].nunique() > 10]
straight = linearity_tests(completed.reindex(columns=[n for n in model.names if n in completed]), y, numbers)
tables.save_table(run.folder, "linearity", straight)
columns = ["predictor", "df", "gvif", "per_df"]
inflation = variance_inflation(completed) if completed.shape[1] else pd.DataFrame(columns=columns)
inflation = inflation.sort_values("gvif", ascending=False)
tables.save_table(run.folder, "variance_inflation", inflation)
follow = [
    f"{tables.predictor_words(name)} from {tables.listed(list(map(tables.predictor_words, others)))}"
    for name, others in collinear_predictors(x).items()
]
bent = straight.loc[straight["p"] < 0.05, "column"].map(tables.predictor_words)
Markdown(
    (
        f"Of {len(straight)} selected number{'s' * (len(straight) != 1)} {len(bent)} depart{'s' * (len(bent) == 1)} from a "
        f"straight line at the 5 % level ({tables.listed(list(bent), empty='none')}). "
        if len(straight)
        else "No selected variable takes more than ten values: there is no line to test. "
    )
    + (
        f"Highest variance inflation: {for_markdown(inflation['predictor'].iloc[0])}, "
        f"{tables.with_interval(inflation['gvif'].iloc[0], None, digits=1)}"
        + (
            " (below 5: no concern)."
            if inflation["gvif"].iloc[0] < 5
            else " (5 or more: these share their information)."
        )
        if len(inflation) > 1
        else "A single candidate cannot repeat another."
    )
    + (
        f" Collinear, so that no model needs them all: {'; '.join(follow)} (in the patients whose values are all known)."
        if follow
        else ""
    )
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
tables.save_table(run.folder, "inclusion_frequency", table)
show(run.folder, "inclusion_frequency", table.assign(simulated=bool(truth)))

# %%
unsure = frequency[frequency.index.isin(model.path) & (frequency < 0.5)]
Markdown(
    (
        f"Chosen here, but in fewer than half of the resamples: {tables.listed(list(map(tables.predictor_words, unsure.index)))}. "
        if len(unsure)
        else f"{'Nothing was chosen' if not model.path else 'All that was chosen was chosen in at least half of the resamples'}. "
    )
    + "Most often: "
    + tables.listed([f"{tables.predictor_words(name)} ({share:.0%})" for name, share in frequency.head(5).items()])
    + f". With {n_resamples} resamples a frequency of one half is known to within {98 / np.sqrt(n_resamples):.0f} points."
)

# %%
rng, draws = np.random.default_rng(seed), max(n_resamples, 100)
stability = selection_stability(completed, y, n_resamples=draws, rng=rng, rule=Rule(criterion, alpha))
tables.save_table(run.folder, "model_frequency", stability.models)
steadiness = stability.coefficients.rename_axis("name").reset_index()
steadiness.insert(1, "inclusion", stability.inclusion.reindex(steadiness["name"]).to_numpy())
steadiness = steadiness.sort_values("inclusion", ascending=False)
tables.save_table(run.folder, "coefficient_stability", steadiness, printed=tables.as_printed(steadiness, digits=3))

# %%
top, often = (
    stability.models.iloc[0],
    steadiness[steadiness["inclusion"].ge(0.1) & steadiness["relative_bias_pct"].notna()],
)
Markdown(
    f"{len(stability.models)} different model{'s were' if len(stability.models) != 1 else ' was'} chosen in {draws} resamples "
    f"of the first imputed data set, the most frequent one ({for_markdown(top['predictors'])}) in {top['frequency']:.0%}: "
    + ("there is no such thing as *the* selected model. " if top["frequency"] < 0.5 else "one model prevails. ")
    + (
        f"Where a variable was chosen (in at least a tenth of the resamples), its coefficient differs from that of the model "
        f"with all candidates by {often['relative_bias_pct'].median():+.0f} % in the median: what selection adds to an effect."
        if len(often)
        else "No variable was chosen in a tenth of the resamples."
    )
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
tables.save_table(run.folder, "optimism_clinical", optimism.rename_axis("figure").reset_index())

# %%
Markdown(
    f"The AUC flatters itself by {model.optimism['auc_apparent'] - model.optimism['auc_corrected']:.3f}; who forgets the "
    f"selection sees {model.optimism['auc_apparent'] - naive['auc_corrected']:.3f} of it ({n_resamples} resamples; with few "
    "of them these corrections themselves move in the second digit)."
    if model.predictors
    else "A model without predictors has an AUC of one half and cannot flatter itself; what the resamples chose was noise."
)

# %% [markdown]
# ## Probabilities
#
# Development rows are cross-fitted: within the folds imputation, selection, fit and shrinkage are done again without
# the patient. The threshold (Youden) is chosen on them and frozen. Test rows come from the final model.

# %%
p_sets = cross_fit_sets(x, y, development["fold"], settings)
p_cross = p_sets.mean(axis=0)
threshold = youden_threshold(y, p_cross)
clinical = cohort[["patient_id", "split", "fold", "he"]].copy()
clinical["p_clinical"] = clinical["p_clinical_apparent"] = model.predict(predictor_frame(cohort, offered))
clinical.loc[development.index, "p_clinical"] = p_cross
assert clinical["p_clinical"].notna().all(), "every patient has a probability"
cross = auc_interval(y, p_cross, method="logit")

# %%
pooled = {"AUC": pool_auc(y, p_sets), "slope": pool_slope(y, p_sets)}
said = {name: tables.with_interval(found.estimate, [found.low, found.high]) for name, found in pooled.items()}
share = pooled["AUC"].missing_information
Markdown(
    f"Cross-fitted in development, each patient's probability averaged over the imputed sets: AUC "
    f"**{tables.with_interval(cross.auc, [cross.low, cross.high])}**. Judged in each set and pooled by Rubin's rules instead: AUC {said['AUC']}, "
    f"calibration slope {said['slope']}"
    + (f"; {share:.0%} of the AUC's variance comes from what is missing. " if share >= 0.005 else ". ")
    + f"Threshold (Youden): {threshold:.3f}."
)

# %% [markdown]
# ## Would another way have come out otherwise?
#
# Sensitivity analyses, none of which replaces the model. First complete cases instead of imputation: the same predictors
# fitted on the patients who have them all.

# %%
beside = complete_case_odds_ratios(x, y, model)
shown = tables.complete_cases_printed(beside) if beside is not None else pd.DataFrame({"label": []})
write_table(run.path("tables", "complete_cases.csv"), beside if beside is not None else shown)
write_printed(run.folder, "complete_cases", shown)
shown if beside is not None else Markdown("No predictor, or too few complete cases: nothing to set beside imputation.")

# %%
whole = x.notna().all(axis=1)
enough = min(y[whole].sum(), (~y[whole].astype(bool)).sum()) >= 10
cases = develop_complete_cases(x, y, settings) if enough and not whole.all() else None
differ = (
    (
        np.log(beside["complete"] / beside["imputed"]).abs() / np.log(beside["imputed_high"] / beside["imputed_low"])
    ).max()
    if beside is not None
    else 0
)
Markdown(
    "No value is missing: complete cases are all patients."
    if whole.all()
    else (
        f"The model's predictors are complete in {beside['n'].iloc[0]} of {len(y)} patients ({beside['events'].iloc[0]} with "
        f"HE). The largest shift of an estimate is {tables.with_interval(100 * differ, None, digits=0)} % of its Wald "
        "interval's width. "
        if beside is not None
        else ""
    )
    + (
        f"Selected anew among the {cases.n} patients with every candidate known ({cases.n_dropped} dropped, "
        f"{cases.events_dropped} of them with HE): {tables.listed(list(map(tables.predictor_words, cases.model.path)))}."
        if cases
        else f"Every candidate is known in {whole.sum()} patients, too few events to select anew."
    )
)

# %% [markdown]
# Then penalties over all candidates instead of selection and uniform shrinkage (strength chosen by cross-validation
# inside the development data), cross-fitted over the same folds.

# %%
penalized = compare_penalties(x, y, development["fold"], p_cross, seed=seed)
tables.save_table(run.folder, "penalized_clinical", penalized)

# %%
Markdown(tables.penalties_words(penalized))

# %% [markdown]
# ## Limits
#
# Values may be missing *because* a patient was sicker; imputation from the other predictors repairs that in part only.
# Selection makes p values and intervals of the final model too optimistic; the frequencies above show how much.

# %%
described, scale = model.to_json(), drawing.nomogram_of(model, x)
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
_ = run.record(path=list(model.path), auc_cross_fitted=cross.auc, shrinkage=model.shrinkage, optimism=model.optimism)
