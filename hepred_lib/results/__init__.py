"""From the notebooks' tables to ``results.json``, to what the figures draw, and to what a paper prints."""

from hepred_lib.results.drawn import (
    calibration_table,
    decision_table,
    nomogram_of,
    nomogram_table,
    oracle_table,
    reclassification_data,
    roc_table,
)
from hepred_lib.results.numbers import (
    MIN_TEST_EVENTS,
    MODELS,
    bedside_scores,
    compare,
    count_patients,
    detection,
    evaluate_models,
    oracle_auc,
    segmentation,
)
from hepred_lib.results.printed import (
    bedside_table,
    comparison_table,
    complete_cases_printed,
    model_formula,
    odds_ratio_table,
    odds_ratios_beside,
    odds_ratios_page,
    paper_comparison,
    performance_table,
    printed_comparison,
)
from hepred_lib.results.saved import as_printed, save_table
from hepred_lib.results.subgroups import subgroup_splits, subgroup_table
from hepred_lib.results.wording import listed, p_value, p_words, with_interval

__all__ = [
    "MIN_TEST_EVENTS",
    "MODELS",
    "as_printed",
    "bedside_scores",
    "bedside_table",
    "calibration_table",
    "compare",
    "comparison_table",
    "complete_cases_printed",
    "count_patients",
    "decision_table",
    "detection",
    "evaluate_models",
    "listed",
    "model_formula",
    "nomogram_of",
    "nomogram_table",
    "odds_ratio_table",
    "odds_ratios_beside",
    "odds_ratios_page",
    "oracle_auc",
    "oracle_table",
    "p_value",
    "p_words",
    "paper_comparison",
    "performance_table",
    "printed_comparison",
    "reclassification_data",
    "roc_table",
    "save_table",
    "segmentation",
    "subgroup_splits",
    "subgroup_table",
    "with_interval",
]
