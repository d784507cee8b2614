"""Figures of performance in words, and the patients that a next study needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from hepred_lib.reporting.evidence import AbsentError, Evidence
from hepred_lib.stats.sample_size import cox_snell_r2_from_auc, riley_minimum
from hepred_lib.study.summary import MIN_TEST_EVENTS
from hepred_lib.study.tables import performance_table


class NeededPatients(NamedTuple):
    """Patients for development at a number of candidate parameters, and for evaluation."""

    development: int
    test: int
    parameters: int
    auc: float


def printed(model: Mapping[str, Any]) -> pd.Series:
    """The cells of one model as the performance table prints them."""
    return performance_table({"": model}).iloc[0]


def needed_patients(evidence: Evidence) -> NeededPatients:
    """What Riley's criteria and the wish for 100 test events ask of a next study at this one's share of expansion.

    Raises
    ------
    AbsentError
        Every patient, or none, had expansion.
    """
    n = evidence.known("results.json", "n")
    share = (n["he_development"] + n["he_test"]) / n["patients"]
    if not 0 < share < 1:
        raise AbsentError("results.json holds no patients of both outcomes")
    parameters = len(evidence.value("clinical_model.json", "candidates"))
    anticipated = evidence.parameter("01_cohort", "expected_auc")
    development = riley_minimum(parameters, share, cox_snell_r2_from_auc(anticipated, share)).n
    return NeededPatients(development, math.ceil(MIN_TEST_EVENTS / share), parameters, anticipated)
