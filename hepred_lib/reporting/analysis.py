"""Methods of analysis: sub-items 12 to 16."""

from __future__ import annotations

from hepred_lib.reporting.entries import Entry, claim, said
from hepred_lib.reporting.evidence import AbsentError, Evidence
from hepred_lib.reporting.markdown import counted
from hepred_lib.study.files import read_table

COHORT, CLINICAL = "notebooks/01_cohort.ipynb", "notebooks/05_clinical_to_he.ipynb"
TRAINING, IMAGE = "notebooks/03_multitask_training*.ipynb", "notebooks/04_image_to_he.ipynb"
INTEGRATED, VERDICT = "notebooks/06_integrated_to_he.ipynb", "notebooks/07_roc_calibration_figures.ipynb"
NEW = "notebooks/08_new_patients.ipynb"
RULES = {"lr": "likelihood-ratio test", "aic": "Akaike's criterion", "bic": "Schwarz's criterion"}


@claim(COHORT)
def _partition(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    share, folds = evidence.parameter("01_cohort", "test_fraction"), evidence.parameter("01_cohort", "folds")
    rows = evidence.table("cohort.csv", "split", "fold")
    if rows.loc[rows["split"].eq("test"), "fold"].ne(-1).any():
        raise AbsentError("cohort.csv holds a test patient in a fold, so that no clean partition")
    return (
        f"Patients, not slices, are split once, stratified on the outcome (test share {share:g}, seed "
        f"{evidence.parameter('01_cohort', 'seed')}): {n['development']} for development in {folds} folds, {n['test']} "
        "for evaluation, whom nothing is fitted, scaled, imputed or thresholded with."
    )


@claim(CLINICAL)
def _form(evidence: Evidence) -> str:
    words = evidence.value("clinical_model.json", "logistic", "definition")
    path = evidence.value("clinical_model.json", "logistic", "path")
    # Short scales are not tested: the table may rightly be empty.
    tested = read_table(evidence.folder / evidence.locate("tables/linearity.csv"))["p"].notna().sum()
    return (
        f"Bedside predictors enter in their own units: {words} ({counted(len(path), 'selected variable')}, "
        f"{tested} of them tested for curvature)."
    )


@claim(IMAGE)
def _score_form(evidence: Evidence) -> str:
    if "image" not in evidence.models:
        return ""
    pairs = [f"{row['mean']:.2f}/{row['sd']:.2f}" for row in evidence.value("image_model.json", "scales")]
    return (
        "The DL score is each network's logit standardized by the mean and SD of its own held-out fold "
        f"({', '.join(pairs)}); test patients get the mean."
    )


@claim(CLINICAL)
def _building(evidence: Evidence) -> str:
    settings = evidence.known("clinical_model.json", "logistic", "settings")
    shrinkage = evidence.value("clinical_model.json", "logistic", "shrinkage")
    rule = RULES[evidence.value("clinical_model.json", "criterion")]
    return (
        f"Clinical model: logistic regression, forward selection ({rule}, alpha {settings['alpha']:g}), uniform "
        f"shrinkage {shrinkage:.2f} from {settings['n_resamples']} bootstrap resamples that repeat imputation and "
        "selection."
    )


@claim(TRAINING)
def _network(evidence: Evidence) -> str:
    if not evidence.reads_scans:
        return ""
    names = (
        "encoder",
        "epochs",
        "patients_per_step",
        "learning_rate",
        "seed",
        "expansion_weight",
        "presence_weight",
        "dropout",
    )
    chosen = {name: evidence.parameter("03_multitask_training", name) for name in names}
    return (
        f"Image model: one multitask network a fold "
        f"({', '.join(f'{name} {value}' for name, value in chosen.items())}), "
        "a fixed schedule without early stopping, nothing tuned on held-out patients; logistic regression on its "
        "out-of-fold score."
    )


@claim(INTEGRATED)
def _integration(evidence: Evidence) -> str:
    if "integrated" not in evidence.models:
        return ""
    added = ", ".join(evidence.value("integrated_model.json", "logistic", "settings", "added"))
    return f"Integrated model: the clinical procedure with {added} added, out-of-fold in development patients."


@claim("tables/optimism_clinical.csv")
def _internal_validation(evidence: Evidence) -> str:
    keys = ("n_resamples", "auc_apparent", "auc_corrected")
    n, apparent, corrected = (evidence.value("results.json", "optimism", "clinical", key) for key in keys)
    return (
        f"Internal validation by {n} resamples: AUC of the clinical model {apparent:.2f} apparent, {corrected:.2f} "
        "corrected."
    )


def no_other_hospital(evidence: Evidence) -> str:
    """Why heterogeneity across hospitals is no matter of this study; empty where another one was evaluated."""
    return "" if (evidence.folder / "external.json").is_file() else "No other hospital was evaluated."


@claim(NEW)
def _clusters(evidence: Evidence) -> str:
    n = evidence.value("external.json", "n", "patients")
    manifest = evidence.value("external.json", "manifest")
    return f"Performance is quantified apart in {n} patients of another hospital ({manifest})."


@claim(VERDICT, "figures/roc.png", "figures/calibration.png", "figures/decision_curve.png")
def _measures(evidence: Evidence) -> str:
    method = evidence.value("results.json", "auc_ci_method")
    pairs = evidence.value("results.json", "comparisons")
    tests = counted(len(pairs), "paired DeLong test") if pairs else "no comparison"
    return (
        f"AUC with DeLong's interval ({method} scale); accuracy, sensitivity, specificity, PPV, NPV with exact "
        f"intervals; calibration slope, in the large, ICI, E90, Brier score; net benefit; {tests}; ROC, calibration "
        "and decision curves."
    )


@claim(VERDICT)
def _calculated(evidence: Evidence) -> str:
    files = [evidence.locate(f"{name}_model.json") for name in evidence.models]
    intercept = evidence.value("clinical_model.json", "logistic", "intercept")
    return (
        f"From the coefficients in {', '.join(files)} (clinical intercept {intercept:.3f}), by the library or by hand; "
        "`hepred predict` for one patient, `hepred external` for a table."
    )


@claim(CLINICAL)
def _imbalance(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    threshold = evidence.value("clinical_model.json", "threshold")
    return (
        f"With HE in {n['he_development'] / n['development']:.1%} no patient was resampled or weighted, in the "
        f"networks or in the regressions; the imbalance is met by the threshold (clinical {threshold:.3f}), so that "
        "no recalibration is needed after it."
    )


@claim(VERDICT, "tables/subgroups.csv")
def _fairness(evidence: Evidence) -> str:
    table = evidence.table("tables/subgroups.csv", "split")
    return (
        f"Performance is looked at by {', '.join(dict.fromkeys(table['split'].dropna()))}, with a test of "
        "interaction for each."
    )


@claim(VERDICT)
def _output(evidence: Evidence) -> str:
    chosen = [f"{name} {evidence.value(f'{name}_model.json', 'threshold'):.3f}" for name in evidence.models]
    rule = evidence.value(f"{evidence.models[-1]}_model.json", "threshold_rule")
    return f"A probability; called positive from a threshold ({', '.join(chosen)}; {rule}), frozen before evaluation."


@claim(COHORT)
def _same_source(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    return (
        "Development and test patients come from one cohort, with one definition of outcome and predictors: HE in "
        f"{n['he_development'] / n['development']:.1%} and {n['he_test'] / n['test']:.1%}."
    )


@claim()
def _other_setting(evidence: Evidence) -> str:
    if no_other_hospital(evidence):
        return ""
    evidence.locate(NEW)
    own, other = (evidence.value(name, "he_definition") for name in ("results.json", "external.json"))
    n = evidence.known("external.json", "n")
    share = f"{n['he'] / n['patients']:.1%}" if n["patients"] else "no known outcome"
    return f"The other hospital's {n['patients']} patients: HE in {share}; definition {other} (the study's: {own})."


ENTRIES = {
    "12a": Entry((_partition,)),
    "12b": Entry((_form, _score_form)),
    "12c": Entry((_building, _network, _integration, _internal_validation)),
    "12d": Entry(
        (_clusters,),
        said("The models' parameters were not allowed to differ between hospitals."),
        no_other_hospital,
    ),
    "12e": Entry((_measures,)),
    "12f": Entry(spared=said("No model was updated: thresholds and coefficients stay frozen.")),
    "12g": Entry((_calculated,)),
    "13": Entry((_imbalance,)),
    "14": Entry((_fairness,), said("Nothing was done in training to make the models fairer.")),
    "15": Entry((_output,)),
    "16": Entry((_same_source, _other_setting)),
}
