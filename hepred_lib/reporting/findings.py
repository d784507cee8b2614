"""Results and discussion: sub-items 20 to 27."""

from __future__ import annotations

from hepred_lib.reporting.analysis import no_other_hospital
from hepred_lib.reporting.entries import Entry, by_origin, claim, said
from hepred_lib.reporting.evidence import AbsentError, Evidence
from hepred_lib.reporting.markdown import counted
from hepred_lib.reporting.performance import needed_patients, printed
from hepred_lib.study.definition import NOTEBOOKS
from hepred_lib.study.summary import MIN_TEST_EVENTS

COHORT, VERDICT = "notebooks/01_cohort.ipynb", "notebooks/07_roc_calibration_figures.ipynb"
NEW = "notebooks/08_new_patients.ipynb"
MODEL_CARD, DATA_CARD, TABLE_1 = "report/model_card.md", "report/data_card.md", "tables/table1.csv"


@claim("figures/flow.png", COHORT)
def _flow(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    events = n["he_development"] + n["he_test"]
    return (
        f"{n['patients']} patients with an outcome, {events} with and {n['patients'] - events} without expansion; "
        f"{n['without_outcome']} hemorrhages without an outcome, {n['blood_free']} rows without a hemorrhage, "
        f"{n['excluded']} excluded."
    )


@claim(DATA_CARD)
def _followed(evidence: Evidence) -> str:
    hours = evidence.table("cohort.csv", "ct_to_followup_h")["ct_to_followup_h"]
    return f"Follow-up scan after a median of {hours.median():.1f} h (range {hours.min():.1f}-{hours.max():.1f})."


@claim(DATA_CARD, TABLE_1, "figures/cohort.png")
def _characteristics(evidence: Evidence) -> str:
    known = evidence.table("cohort.csv", "age", "he").dropna(subset=["he"])
    evidence.section(DATA_CARD, "Characteristics")
    missing = evidence.table("tables/missing.csv", "missing")
    return (
        f"Characteristics of {len(known)} patients, by partition and with missing values, in the data card (mean age "
        f"{known['age'].mean():.0f} years; {counted(int((missing['missing'] > 0).sum()), 'incomplete candidate')})."
    )


@claim(DATA_CARD)
def _groups(evidence: Evidence) -> str:
    known = evidence.table("cohort.csv", "age", "sex", "he").dropna(subset=["he"])
    older = known["age"].dropna().ge(65).map({True: "65 and older", False: "under 65"})
    rates = [f"{name} {rows.mean():.1%}" for by in (known["sex"], older) for name, rows in known["he"].groupby(by)]
    return f"HE by sex and age: {', '.join(rates)}."


@claim(DATA_CARD, TABLE_1)
def _compared(evidence: Evidence) -> str:
    known = evidence.table("cohort.csv", "age", "split").query("he.notna()")
    evidence.section(DATA_CARD, "Characteristics")
    ages = known.groupby("split")["age"].mean()
    return (
        f"Development and test patients side by side in the data card (mean age {ages['development']:.1f} and "
        f"{ages['test']:.1f})."
    )


@claim(COHORT, VERDICT)
def _analyses(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    return (
        f"Development: {n['he_development']} events in {n['development']}; evaluation: {n['he_test']} in "
        f"{n['test']}. No patients were set aside for tuning."
    )


@claim("notebooks/03_multitask_training*.ipynb")
def _trained(evidence: Evidence) -> str:
    if not evidence.reads_scans:
        return ""
    records = [
        f"records/03_multitask_training_fold{fold}.json" for fold in range(evidence.parameter("01_cohort", "folds"))
    ]
    counts = [evidence.value(name, "results", "n_training") for name in records]
    return f"Networks of the folds: {', '.join(map(str, counts))} patients, blood-free ones included."


@claim(MODEL_CARD)
def _specification(evidence: Evidence) -> str:
    terms = [
        f"{name} {evidence.value(f'{name}_model.json', 'logistic', 'intercept'):.3f}"
        + "".join(
            f" {weight:+.4g} {term}"
            for term, weight in evidence.known(f"{name}_model.json", "logistic", "coefficients").items()
        )
        for name in evidence.models
    ]
    evidence.section(MODEL_CARD, "Versions and files")
    return f"logit p: {'; '.join(terms)}. Free to use (MIT licence)."


@claim(MODEL_CARD)
def _weights(evidence: Evidence) -> str:
    if not evidence.reads_scans:
        return ""
    folds = evidence.parameter("01_cohort", "folds")
    files = [evidence.locate(f"folds/{fold}/network.safetensors") for fold in range(folds)]
    return f"Weights of {len(files)} networks, with checksums in the model card."


@claim(VERDICT, "tables/performance.csv")
def _performance(evidence: Evidence) -> str:
    found = {name: printed(evidence.value("results.json", "models", name)) for name in evidence.models}
    return (
        "Test patients: "
        + "; ".join(
            f"{name} AUC {cells['auc']}, sensitivity {cells['sensitivity']} %, specificity {cells['specificity']} %, "
            f"slope {cells['calibration_slope']}"
            for name, cells in found.items()
        )
        + "."
    )


@claim("tables/subgroups.csv")
def _subgroups(evidence: Evidence) -> str:
    table = evidence.table("tables/subgroups.csv", "split").dropna(subset=["split"])
    judged = int(table["auc"].notna().sum())
    return f"{judged} of {len(table)} subgroups have the ten events that an estimate needs."


@claim(NEW)
def _elsewhere(evidence: Evidence) -> str:
    judged = evidence.value("external.json", "models")
    named = [name for name in evidence.models if judged.get(name)]
    if not named:
        raise AbsentError("external.json holds no models")
    cells = {name: printed(judged[name])["auc"] for name in named}
    n = evidence.known("external.json", "n")
    return (
        f"Elsewhere ({n['patients']} patients, {n['he']} with HE): "
        + "; ".join(f"{k} AUC {v}" for k, v in cells.items())
        + "."
    )


@claim(VERDICT)
def _reading(evidence: Evidence) -> str:
    judged = {name: evidence.value("results.json", "models", name, "auc") for name in evidence.models}
    best = max(judged, key=judged.get)
    null = evidence.value("results.json", "models", "null", "accuracy")
    pairs = [pair for pair in evidence.value("results.json", "comparisons") if pair["p"] is not None]
    clear = sum(pair["p"] < 0.05 for pair in pairs)
    compared = f"{clear} of {len(pairs)} differences exceed chance at 5 %" if pairs else "nothing to compare it with"
    return f"Highest AUC: {best}, {judged[best]:.2f}; {compared}. Calling nobody positive is right in {null:.1%}."


@claim("notebooks/00_the_paper.ipynb")
def _earlier(evidence: Evidence) -> str:
    published = evidence.value("paper.json", "auc")
    return (
        "Published: "
        + ", ".join(
            f"{name} {found['auc']:.2f} ({found['low']:.2f}-{found['high']:.2f})" for name, found in published.items()
        )
        + "."
    )


@claim()
def _limits(evidence: Evidence) -> str:
    n, notes = evidence.known("results.json", "n"), evidence.value("results.json", "notes")
    few = f"only {n['he_test']} test events" if n["he_test"] < MIN_TEST_EVENTS else f"{n['he_test']} test events"
    for name in NOTEBOOKS:
        if any(evidence.folder.glob(f"records/{name}*.json")):
            evidence.section(f"notebooks/{name}*.ipynb", "Limits")
    origin = "simulated patients, whose figures say nothing of care; " if evidence.simulated else ""
    return (
        f"Each notebook ends with its limits. Foremost: {origin}{few}; one split; {counted(len(notes), 'note')} in "
        "results.json on what could not be computed or hardly be judged."
    )


@claim(MODEL_CARD)
def _input(evidence: Evidence) -> str:
    names = evidence.value("clinical_model.json", "logistic", "path")
    used = ", ".join(names) or "no variable"
    imputer = evidence.locate("imputation.json")
    evidence.section(MODEL_CARD, "In practice")
    return (
        f"The clinical model reads {used}; one that is missing is imputed by the frozen models of {imputer} and "
        "named in a warning, no bedside value at all gives no probability, and a scan outside the rules is refused "
        "or flagged."
    )


@claim(MODEL_CARD)
def _user(evidence: Evidence) -> str:
    version = evidence.value("provenance.json", "versions", "hepred")
    evidence.section(MODEL_CARD, "In practice")
    return (
        f"One command (hepred {version}) reads a scan and a list of bedside values; the user must know both and must "
        "look at the outline before believing the score."
    )


@claim(MODEL_CARD)
def _next(evidence: Evidence) -> str:
    n = needed_patients(evidence)
    evidence.section(MODEL_CARD, "In practice")
    return (
        f"Real patients, of several hospitals: about {n.development} for development at {n.parameters} candidate "
        f"parameters (Riley), and {n.test} for evaluation, to have {MIN_TEST_EVENTS} events."
    )


ENTRIES = {
    "20a": Entry((_flow, _followed)),
    "20b": Entry(
        (_characteristics, _groups), by_origin(simulated="", real="Treatments and dates are not in the files.")
    ),
    "20c": Entry((_compared,)),
    "21": Entry((_analyses, _trained)),
    "22": Entry((_specification, _weights)),
    "23a": Entry((_performance, _subgroups)),
    "23b": Entry((_elsewhere,), spared=no_other_hospital),
    "24": Entry(spared=said("No model was updated.")),
    "25": Entry((_reading, _earlier), said("What this means for care and for fairness is the author's to argue.")),
    "26": Entry((_limits,)),
    "27a": Entry((_input,)),
    "27b": Entry((_user,)),
    "27c": Entry((_next,)),
}
