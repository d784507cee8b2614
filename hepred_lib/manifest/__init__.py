"""The manifest, one row per patient: read, checked, labelled, split.

A manifest is a table with a header (CSV or .xlsx); an empty cell is a missing value. ``COLUMNS`` is the one
table of rules that reading, checking and ``hepred check --rules`` share. Every draw (split, folds) sorts the patients
by identifier first, so that the order of the rows never matters.
"""

from hepred_lib.manifest.labels import assign_folds, derive_labels, split_patients
from hepred_lib.manifest.predictors import (
    CLINICAL_CANDIDATES,
    RADIOLOGICAL_CANDIDATES,
    predictor_frame,
    predictor_label,
    predictor_quantity,
    predictor_unit,
)
from hepred_lib.manifest.reading import cells_problems, manifest_problems, read_manifest, read_valid_cells, valid_cells
from hepred_lib.manifest.rules import COLUMNS, PATIENT_ID, Column, ManifestError, Problem, rules_table
from hepred_lib.manifest.tables import Cells, near_names, read_cells

__all__ = [
    "CLINICAL_CANDIDATES",
    "COLUMNS",
    "PATIENT_ID",
    "RADIOLOGICAL_CANDIDATES",
    "Cells",
    "Column",
    "ManifestError",
    "Problem",
    "assign_folds",
    "cells_problems",
    "derive_labels",
    "manifest_problems",
    "near_names",
    "predictor_frame",
    "predictor_label",
    "predictor_quantity",
    "predictor_unit",
    "read_cells",
    "read_manifest",
    "read_valid_cells",
    "rules_table",
    "split_patients",
    "valid_cells",
]
