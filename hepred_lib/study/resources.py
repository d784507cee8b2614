"""What each step asks a cluster's scheduler for: memory, time and cards, from the size of the study.

A laptop ignores all of it but the cards. Figures are measured where they could be (``benchmarks/README.md``, "Memory
and time of the steps"); a study asks for ``ROOM`` times as much, and for once more of it at every further attempt. A
profile or ``--set-resources`` overrides them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from hepred_lib.study.definition import DEFAULT_THREADS, TRAINING, Study, notebook_defaults

ROOM = {"mem_mb": 1.5, "runtime": 6.0}  # a cluster's cores may be slow, its file system slower
SHORTEST_MIN = 15  # of a step, in minutes: a queue's granularity, and the start of Python on a cold file system
UNKNOWN_PATIENTS = 1000  # where the manifest is not there yet, or cannot be read
MATRIX = 128  # at which everything here was measured
SCAN_MATRIX = 256  # of a simulated scan
RATIOS = ("epochs", "patients_per_step", "slices_per_patient", "n_imputations", "n_resamples")
# Of a card: twice what a training of two patients a step takes of it, and twice what each further two add.
CARD_GB, CARD_GB_PER_STEP = 3.0, 0.75
ENCODERS = {"resnet18": 1.0, "resnet34": 1.5, "resnet50": 3.0}


@dataclass(frozen=True)
class Cost:
    """Memory and time of a step at the settings that were measured.

    A constant (libraries, and 400 MB for the two processes of Snakemake that a job consists of), what is worked on at
    once, and so much for each thousand patients.
    """

    mb: float
    mb_at_once: float
    mb_per_1000: float
    minutes: float
    minutes_per_1000: float


# Constants and what is worked on at once: measured with eight steps of the study `demo` (240 patients, 40 in 08; matrix
# 128, the notebooks' own parameters) on two cores. What each thousand patients add is an assumption.
COSTS = {
    "simulate": Cost(700, 1000, 0, 0.2, 9.0),
    "00_the_paper": Cost(900, 0, 0, 0.2, 0.0),
    "01_cohort": Cost(1200, 0, 200, 0.2, 0.2),
    "02_preprocessing": Cost(900, 300, 500, 0.2, 4.0),
    TRAINING: Cost(1500, 1000, 2000, 0.3, 5.0),
    "04_image_to_he": Cost(1300, 500, 2500, 0.3, 4.0),
    "05_clinical_to_he": Cost(1300, 0, 400, 0.3, 1.0),
    "06_integrated_to_he": Cost(900, 0, 400, 0.2, 0.5),
    "07_roc_calibration_figures": Cost(900, 0, 400, 0.2, 0.3),
    "08_new_patients": Cost(1300, 500, 2500, 0.4, 10.0),
}


def _cohort(study: Study, rule: str) -> Mapping[str, Any]:
    """What the study says of the patients that a rule works on: ``manifest``, and ``simulate`` where they are."""
    external = study.external if rule in ("08_new_patients", "simulate_external") else None
    return external or {"manifest": study.manifest, "simulate": study.simulate}


def count_patients(study: Study, rule: str) -> int:
    """Patients that a rule works on: rows of the study's manifest, or of its external one."""
    part = _cohort(study, rule)
    if part.get("simulate"):
        return int(part["simulate"]["patients"])
    try:
        with open(study.root / part["manifest"], "rb") as lines:
            return max(1, sum(1 for _ in lines) - 1)
    except OSError:
        return UNKNOWN_PATIENTS


def needs(study: Study, rule: str, *, gpus: int | None = None) -> dict[str, Any]:
    """What one rule of the workflow asks for.

    Parameters
    ----------
    study : Study
    rule : str
        A notebook, ``simulate`` or ``simulate_external``.
    gpus : int, optional
        0: trainings ask for no card.

    Returns
    -------
    dict
        ``mem_mb`` and ``runtime`` (minutes) as functions of the attempt, as Snakemake takes them, and ``gpu``.
    """
    thousands = count_patients(study, rule) / 1000
    cost = COSTS["simulate" if rule == "simulate_external" else rule]
    pixels, at_once, time = _factors(study, rule)
    mb = (cost.mb + cost.mb_at_once * at_once + cost.mb_per_1000 * thousands * pixels) * ROOM["mem_mb"]
    minutes = (cost.minutes + cost.minutes_per_1000 * thousands * time) * ROOM["runtime"]
    cards = cards_of(study) if rule == TRAINING and gpus != 0 else 0
    return {
        "mem_mb": _more_each_attempt(ceil(mb / 500) * 500),
        "runtime": _more_each_attempt(max(SHORTEST_MIN, ceil(minutes))),
        "gpu": cards,
    }


def cards_of(study: Study) -> int:
    """How many cards a training of this study may hold: none where the study names another device, or one by number."""
    own = _of(study, TRAINING)
    return own["devices"] if own["device"] in ("auto", "cuda") else 0


def training_gb(study: Study) -> float:
    """Memory of a card that is set aside for one training."""
    return CARD_GB + CARD_GB_PER_STEP * _factors(study, TRAINING)[1]


def _factors(study: Study, rule: str) -> tuple[float, float, float]:
    """How many times more a step handles than at the settings measured: of a patient, at once, and of work for each."""
    if rule.startswith("simulate"):
        simulated = _cohort(study, rule).get("simulate") or {}
        pixels = (simulated.get("matrix", SCAN_MATRIX) / SCAN_MATRIX) ** 2
        return pixels, pixels, max(0.25, pixels)
    own, default = _of(study, rule), notebook_defaults(rule)
    pixels = max(1.0, (_of(study, "02_preprocessing")["matrix"] / MATRIX) ** 2)
    ratio = {name: own[name] / default[name] for name in RATIOS if name in own}
    if rule == TRAINING:
        depth = ENCODERS.get(own["encoder"], max(ENCODERS.values()))
        step = ratio["patients_per_step"] * ratio["slices_per_patient"] / own["accumulation"]
        return pixels, step * pixels * depth, ratio["epochs"] * ratio["slices_per_patient"] * pixels * depth
    if rule[:2] in ("02", "04", "08"):
        return pixels, study.notebook_threads(rule) / DEFAULT_THREADS[rule] * pixels, pixels
    # Resamples of all imputed data are worked on together.
    return 1.0, 1.0, max(1.0, *ratio.values(), 1.0)


def _of(study: Study, notebook: str) -> dict[str, Any]:
    """A notebook's parameters in a study."""
    return notebook_defaults(notebook) | dict(study.parameters.get(notebook, {}))


def _more_each_attempt(amount: int) -> Callable[..., int]:
    return lambda wildcards, attempt: amount * attempt
