"""Title, abstract, introduction: sub-items 1 to 4."""

from __future__ import annotations

from hepred_lib.reporting.entries import Entry, by_origin, claim, said
from hepred_lib.reporting.evidence import Evidence
from hepred_lib.reporting.markdown import counted

MODEL_CARD = "report/model_card.md"


@claim(MODEL_CARD)
def _title(evidence: Evidence) -> str:
    n = evidence.value("results.json", "n", "patients")
    return (
        f"Development and evaluation of {counted(len(evidence.models), 'model')} ({', '.join(evidence.models)}) in "
        f"{n} patients "
        "with spontaneous intracerebral hemorrhage; outcome: hematoma expansion."
    )


@claim(MODEL_CARD)
def _summary(evidence: Evidence) -> str:
    study = evidence.value("results.json", "study")
    evidence.section(MODEL_CARD, "In short")
    return f"The model card of study {study} begins with a structured summary."


@claim("notebooks/00_the_paper.ipynb")
def _rationale(evidence: Evidence) -> str:
    patients = evidence.parameter("00_the_paper", "patients")
    n_test = evidence.result("00_the_paper", "n_test")
    return f"A published study of three such models ({patients} patients) is re-examined: its test set held {n_test}."


@claim("notebooks/07_roc_calibration_figures.ipynb")
def _existing(evidence: Evidence) -> str:
    scores = evidence.value("results.json", "scores")
    return f"Existing bedside scores are judged on the same patients: {', '.join(name.upper() for name in scores)}."


@claim(MODEL_CARD)
def _purpose(evidence: Evidence) -> str:
    he = evidence.value("results.json", "he_definition")
    evidence.section(MODEL_CARD, "Intended use")
    return (
        "Adults with spontaneous intracerebral hemorrhage at their first head CT; prognosis of expansion "
        f"({he}) on the next one. For research and teaching, by people who can read the scan; not for care."
    )


@claim("notebooks/01_cohort.ipynb", "notebooks/07_roc_calibration_figures.ipynb")
def _objectives(evidence: Evidence) -> str:
    n = evidence.known("results.json", "n")
    return (
        f"Each notebook opens with its question. The study does both: models are developed in {n['development']} "
        f"patients and evaluated, frozen, in {n['test']} others."
    )


ENTRIES = {
    "1": Entry((_title,)),
    "2": Entry((_summary,), said("A paper's abstract (TRIPOD+AI for Abstracts) remains to be written.")),
    "3a": Entry((_rationale, _existing), said("The context of care is the author's to describe.")),
    "3b": Entry((_purpose,)),
    "3c": Entry(
        (),
        by_origin(
            simulated="Simulated patients know no inequality but what the simulation put in by sex and age.",
            real="The study's files do not tell; to be described by the author.",
        ),
    ),
    "4": Entry((_objectives,)),
}
