"""The model card of a study: what the models are, for whom, how well they did, and where they must not be trusted."""

from __future__ import annotations

import pandas as pd

from hepred_lib.literal import for_markdown, shortened
from hepred_lib.reporting.evidence import AbsentError, Evidence
from hepred_lib.reporting.markdown import counted, document, link, section, table
from hepred_lib.reporting.performance import needed_patients, printed
from hepred_lib.study.files import file_sha256
from hepred_lib.study.summary import MIN_TEST_EVENTS
from hepred_lib.study.tables import performance_table, with_interval

KINDS = {
    "image": ("a head CT", "multitask network, then logistic regression on its normalized DL score"),
    "clinical": ("bedside and laboratory values", "logistic regression after forward selection"),
    "integrated": ("both", "logistic regression on the selected values and the DL score"),
}


def model_card(evidence: Evidence) -> str:
    """The card as a page of Markdown."""
    study = evidence.value("results.json", "study")
    parts = (_models, _use, _training, _factors, _performance, _calibration, _elsewhere, _limits, _ethics, _practice)
    return document(
        f"Model card: hematoma expansion after intracerebral hemorrhage, study {study}",
        f"**For research only.** {_origin(evidence)}No medical device; nothing here may guide the care of a patient.",
        section("In short", _summary(evidence)),
        *(part(evidence) for part in parts),
        _versions(evidence),
    )


def _origin(evidence: Evidence) -> str:
    if not evidence.simulated:
        return ""
    return (
        "The patients are simulated: every figure says that code and method work, and nothing of clinical performance. "
    )


def _summary(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    found = "; ".join(
        f"{name} {printed(evidence.value('results.json', 'models', name))['auc']}" for name in evidence.models
    )
    origin = "simulated" if evidence.simulated else "real"
    return "\n".join(
        [
            f"- **Objective**: to develop and evaluate {counted(len(evidence.models), 'model')} of expansion "
            f"({evidence.value('results.json', 'he_definition')}) of a spontaneous intracerebral hemorrhage.",
            f"- **Data**: {n['patients']} {origin} patients; {n['development']} for development "
            f"({n['he_development']} with expansion), {n['test']} for evaluation ({n['he_test']}).",
            f"- **Results**: AUC in test patients (95 % interval): {found}.",
            f"- **Conclusion**: {_conclusion(evidence)}",
        ]
    )


def _conclusion(evidence: Evidence) -> str:
    pairs = [pair for pair in evidence.value("results.json", "comparisons") if pair["p"] is not None]
    clear = [f"{pair['a']} against {pair['b']}" for pair in pairs if pair["p"] < 0.05]
    words = (
        f"differences that exceed chance at 5 %: {', '.join(clear)}" if clear else "no difference exceeds chance at 5 %"
    )
    events = evidence.value("results.json", "n", "he_test")
    few = f"; with {events} test events calibration can hardly be assessed" if events < MIN_TEST_EVENTS else ""
    return f"{words if pairs else 'one model, nothing to compare'}{few}."


def _models(evidence: Evidence) -> str:
    rows = []
    for name in evidence.models:
        needs, form = KINDS[name]
        threshold = evidence.value(f"{name}_model.json", "threshold")
        rows.append((name, needs, form, f"{threshold:.3f}", link(f"{name}_model.json")))
    shown = pd.DataFrame(rows, columns=["model", "needs", "form", "threshold", "file"])
    rule = evidence.value(f"{evidence.models[-1]}_model.json", "threshold_rule")
    terms = pd.DataFrame(
        [(name, term, f"{weight:.4g}") for name in evidence.models for term, weight in _terms(evidence, name).items()],
        columns=["model", "term", "coefficient (shrunk, on the logit)"],
    )
    return section(
        "Models",
        table(shown),
        f"A patient is called positive from the threshold on ({rule}; frozen before evaluation).",
        table(terms),
    )


def _terms(evidence: Evidence, name: str) -> dict[str, float]:
    intercept = evidence.value(f"{name}_model.json", "logistic", "intercept")
    return {"intercept": intercept, **evidence.known(f"{name}_model.json", "logistic", "coefficients")}


def _use(_: Evidence) -> str:
    return section(
        "Intended use",
        "Research and teaching: to study how an image score and bedside variables foretell expansion, to test methods, "
        "to be evaluated on other patients. Users are researchers who can read a head CT and a logistic model.",
        "Not for diagnosis, triage or treatment; not for traumatic or secondary hemorrhage, children, scans with "
        "contrast or after surgery; not for hospitals where the frozen study has not been evaluated.",
    )


def _training(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    folds = evidence.parameter("01_cohort", "folds")
    return section(
        "Training data",
        f"{n['development']} development patients, {n['he_development']} with expansion, in {folds} folds; see the "
        f"{link('report/data_card.md')}. Selected bedside variables: "
        f"{', '.join(map(for_markdown, evidence.value('clinical_model.json', 'logistic', 'path'))) or 'none'}, of "
        f"{len(evidence.value('clinical_model.json', 'candidates'))} candidates; uniform shrinkage "
        f"{evidence.value('clinical_model.json', 'logistic', 'shrinkage'):.2f}.",
    )


def _factors(evidence: Evidence) -> str:
    try:
        found = evidence.table("tables/subgroups.csv", "split")
    except AbsentError:
        return section("Factors and subgroups", "No subgroup was looked at.")
    rows = pd.DataFrame(
        {
            "by": found["split"].fillna(""),
            "group": [_group(value) for value in found["group"]],
            "patients": found["n"],
            "events": found["events"],
            "AUC (95 % interval)": [_estimate(row) for row in found.itertuples()],
        }
    )
    judged = evidence.models[-1]
    return section(
        "Factors and subgroups",
        f"Test patients, {judged} model; no estimate below ten events. A difference between groups is a matter for the "
        "interaction tests of [notebook 07](../notebooks/07_roc_calibration_figures.ipynb), not for these intervals.",
        table(rows),
    )


def _estimate(row: tuple) -> str:
    return with_interval(row.auc, [row.auc_low, row.auc_high]) if pd.notna(row.auc) else "-"


def _group(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else for_markdown(shortened(str(value).removesuffix(".0"), 80))


def _performance(evidence: Evidence) -> str:
    judged = evidence.value("results.json", "models")
    oracle = evidence.value("results.json").get("oracle")
    shown = performance_table({name: judged[name] for name in evidence.models}).drop(columns=["calibration_slope"])
    if oracle:
        best = [oracle[f"{name}_auc"] for name in evidence.models]
        shown["best possible AUC"] = ["-" if value is None else f"{value:.2f}" for value in best]
    pairs = [
        (
            f"{pair['a']} - {pair['b']}",
            f"{pair['difference']:+.2f} ({pair['ci'][0]:+.2f} to {pair['ci'][1]:+.2f})",
            f"{pair['p']:.2g}",
        )
        for pair in evidence.value("results.json", "comparisons")
        if pair["ci"] and pair["p"] is not None
    ]
    compared = pd.DataFrame(pairs, columns=["models", "difference of AUC (95 % interval)", "p (paired DeLong)"])
    return section(
        "Performance in test patients",
        table(shown.rename(columns={"auc": "AUC"})),
        "Rates in per cent with exact 95 % intervals, AUC with DeLong's on the logit scale. Calling nobody positive "
        f"is right in {evidence.value('results.json', 'models', 'null', 'accuracy'):.1%}.",
        table(compared) if pairs else "",
        _outlines(evidence),
    )


def _outlines(evidence: Evidence) -> str:
    found, drawn = evidence.value("results.json", "detection"), evidence.value("results.json", "segmentation")
    words = []
    if found["auc"] is not None:
        interval = f" ({'-'.join(f'{limit:.3f}' for limit in found['auc_ci'])})" if found["auc_ci"] else ""
        words.append(f"Blood by slice: AUC {found['auc']:.3f}{interval}, {found['n_slices']} slices.")
    if drawn["dice_median"] is not None and drawn["dice_iqr"]:
        low, high = drawn["dice_iqr"]
        words.append(f"Outlines: median Dice {drawn['dice_median']:.2f} (quartiles {low:.2f}-{high:.2f}).")
    if drawn.get("volume_bias_ml") is not None:
        low, high = drawn["volume_loa_ml"]
        words.append(
            f"Volume, outlined minus reference: {drawn['volume_bias_ml']:+.1f} mL (limits {low:+.1f} to {high:+.1f})."
        )
    return " ".join(words)


def _calibration(evidence: Evidence) -> str:
    rows = []
    for name in evidence.models:
        model = evidence.value("results.json", "models", name)
        numbers = ("calibration_in_the_large", "ici", "e90", "brier")
        rows.append((name, printed(model)["calibration_slope"], *(_two(model[key]) for key in numbers)))
    events = evidence.value("results.json", "n", "he_test")
    few = f"With {events} events these figures can hardly be judged ({MIN_TEST_EVENTS} are wanted). "
    return section(
        "Calibration in test patients",
        table(pd.DataFrame(rows, columns=["model", "slope", "in the large", "ICI", "E90", "Brier score"])),
        (few if events < MIN_TEST_EVENTS else "") + f"Curves: {link('figures/calibration.png')}.",
    )


def _two(value: float | None) -> str:
    return "not estimable" if value is None else f"{value:.2f}"


def _elsewhere(evidence: Evidence) -> str:
    try:
        n, judged = evidence.known("external.json", "n"), evidence.value("external.json", "models")
    except AbsentError:
        return section("At another hospital", "Not evaluated.")
    shown = performance_table({name: judged[name] for name in evidence.models if judged.get(name)})
    return section(
        "At another hospital",
        f"The frozen study on {n['patients']} patients with an outcome, {n['he']} with expansion, of another "
        f"{'simulated site' if evidence.simulated else 'manifest'} ({evidence.value('external.json', 'manifest')}).",
        table(shown.rename(columns={"auc": "AUC", "calibration_slope": "slope"}))
        if len(shown)
        else "No model was judged.",
    )


def _limits(evidence: Evidence) -> str:
    notes = evidence.value("results.json", "notes")
    limits = [
        "One split of one cohort: another seed moves every number within its interval.",
        "A development patient's score comes from a network that has seen the labels of the other folds.",
        "Forward selection is unstable; the inclusion frequencies stand in notebook 05.",
        *(["Simulated heads lack much of what real scans hold; see the data card."] if evidence.simulated else []),
        *map(for_markdown, notes),
    ]
    return section("Limits", "\n".join(f"- {limit}" for limit in limits))


def _ethics(evidence: Evidence) -> str:
    origin = (
        "No person's data are in the study."
        if evidence.simulated
        else "Approval, consent and protection of the data are the matter of whoever runs the study."
    )
    return section(
        "Ethical considerations",
        f"{origin} A low probability may not keep care from a patient, nor a high one justify a treatment: neither has "
        "been tried. Groups with few events are not known to be served as well as others.",
    )


def _practice(evidence: Evidence) -> str:
    needed = needed_patients(evidence)
    return section(
        "In practice",
        "`hepred predict RUN --ct SCAN --clinical FILE.json` for one patient. A missing bedside value is imputed "
        "and named in the warnings; without any there is no clinical probability; a scan that breaks a rule is "
        "refused, a doubtful one flagged. Look at the outline before the score: where it is wrong, the score is.",
        f"Next: real patients of several hospitals, about {needed.development} for development (Riley's criteria, "
        f"{needed.parameters} candidate parameters, AUC {needed.auc:g}) and {needed.test} for evaluation "
        f"({MIN_TEST_EVENTS} events).",
    )


def _versions(evidence: Evidence) -> str:
    versions = evidence.value("provenance.json", "versions")
    names = [f"{name}_model.json" for name in evidence.models]
    names += [
        path.relative_to(evidence.folder).as_posix() for path in sorted(evidence.folder.glob("folds/*/network.*"))
    ]
    rows = [
        (link(name), (evidence.folder / name).stat().st_size, file_sha256(evidence.folder / name)) for name in names
    ]
    device = ", ".join(evidence.value("provenance.json", "device")) or "no network"
    return section(
        "Versions and files",
        ", ".join(f"{name} {version or 'not recorded'}" for name, version in versions.items())
        + f"; trained on {device}.",
        table(pd.DataFrame(rows, columns=["file", "bytes", "SHA-256"])),
        f"Parameters, seeds and checksums: {link('provenance.json')}. Code and weights: MIT licence.",
    )
