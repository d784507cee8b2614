"""Candidate predictors, in the form that models use."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import pandas as pd

from hepred_lib.cohort.rules import COLUMNS, LOCATIONS
from hepred_lib.errors import ManifestError
from hepred_lib.stats.curves import LOG, columns_of, split_term

CLINICAL_CANDIDATES = (
    *("age", "sex", "onset_to_ct_h", "gcs", "nihss", "sbp_mmhg", "dbp_mmhg"),
    *("hypertension", "diabetes", "smoking", "alcohol", "prior_stroke", "antiplatelet", "anticoagulant"),
    *("inr", "platelets_10e9_l", "glucose_mmol_l", "fibrinogen_g_l"),
    *("hemoglobin_g_dl", "creatinine_umol_l", "wbc_10e9_l"),
)
RADIOLOGICAL = "+radiological"
RADIOLOGICAL_CANDIDATES = ("baseline_volume_ml", "location", "ivh")
LABELS = {
    "male": "Male sex",
    "onset_to_ct_h": "Onset to CT",
    "gcs": "GCS",
    "nihss": "NIHSS",
    "sbp_mmhg": "Systolic pressure",
    "dbp_mmhg": "Diastolic pressure",
    "inr": "INR",
    "platelets_10e9_l": "Platelets",
    "glucose_mmol_l": "Glucose",
    "fibrinogen_g_l": "Fibrinogen",
    "hemoglobin_g_dl": "Hemoglobin",
    "creatinine_umol_l": "Creatinine",
    "wbc_10e9_l": "White blood cells",
    "baseline_volume_ml": "Baseline volume",
    "ivh": "Ventricular blood",
    "dl_score": "DL score",
}
PRINTED_UNITS = {"y": "years", "umol/L": "µmol/L", "10^9/L": "10⁹/L"}
NO_PREDICTORS = ("he", "ct_to_followup_h", "followup_volume_ml", "followup_ivh_ml")  # known only afterwards


def candidate_terms(named: str, known: Iterable[str], *, radiological: bool = False) -> list[str]:
    """Terms that a study offers to selection, in their order.

    Parameters
    ----------
    named : str
        Names joined by blanks, as a study file gives them; a last word ``+radiological`` is that option. Empty: every
        bedside and laboratory variable.
    known : iterable of str
        Columns with a value; only what the study did not name itself is left out where it is none of them.
    radiological : bool
        Offer volume, location and ventricular blood as read by a person, too.

    Examples
    --------
    >>> candidate_terms("", ["age", "gcs", "ivh"]), candidate_terms("log(age) +radiological", ["age", "ivh"])
    (['age', 'gcs'], ['log(age)', 'ivh'])
    """
    words, columns = named.split(), set(known)
    extra = radiological or words[-1:] == [RADIOLOGICAL]
    own = words[:-1] if words[-1:] == [RADIOLOGICAL] else words
    terms = own or [name for name in CLINICAL_CANDIDATES if name in columns]
    return terms + [name for name in RADIOLOGICAL_CANDIDATES if extra and name in columns]


def predictor_frame(table: pd.DataFrame, names: Iterable[str], *, allow_empty: bool = False) -> pd.DataFrame:
    """Predictors as models use them: floats, ``sex`` as ``male`` (1 = M), ``location`` as a category of all five codes.

    Parameters
    ----------
    table : DataFrame
        Columns as :func:`read_manifest` gives them.
    names : iterable of str
        Columns of the table; ``male`` may stand for ``sex``. Of a curved term, ``log(column)`` or ``spline(column)``,
        the column.
    allow_empty : bool
        Pass a column without any value, as a new patient may have; nothing can be fitted on it.

    Returns
    -------
    DataFrame
        One column a name, in their order, on the table's index.

    Raises
    ------
    ManifestError
        For a name that is no column (the closest one is suggested), that holds text or no value at all, or that is
        known only after the outcome.
    """
    columns = {}
    for name in columns_of(tuple(names)):
        column = "sex" if name == "male" and "sex" in table else name
        if column not in table:
            close = get_close_matches(column, [*table.columns, "male"], n=1)
            hint = f" (closest: {close[0]})" if close else ""
            raise ManifestError(f"a predictor must be a column of the manifest, got {name!r}{hint}.")
        if column in NO_PREDICTORS:
            raise ManifestError(f"a predictor must be known at the first scan, got {name!r}.")
        values = table[column]
        if values.isna().all() and not allow_empty:
            where = f"none in these {len(table)}; leave it out of the candidates"
            raise ManifestError(f"{name} must have a value in at least one patient to be a predictor, got {where}.")
        if column == "location":
            values = values.astype(pd.CategoricalDtype(LOCATIONS))
        elif column == "sex":
            values = values.map({"F": 0.0, "M": 1.0}).astype(float)
        elif not pd.api.types.is_numeric_dtype(values) and values.notna().any():
            raise ManifestError(f"a predictor must be numeric, got the text column {column!r}.")
        else:
            values = values.astype(float)
        columns["male" if column == "sex" else column] = values
    return pd.DataFrame(columns, index=table.index)


def predictor_terms(names: Iterable[str]) -> tuple[str, ...]:
    """Candidates as the terms of a model: ``sex`` as ``male``; ``log(column)`` and ``spline(column)`` as they are."""
    return tuple("male" if name == "sex" else name for name in names)


def predictor_label(name: str) -> str:
    """The words for a predictor in figures and tables; of a curved one, with its form.

    Examples
    --------
    >>> predictor_label("prior_stroke"), predictor_label("gcs"), predictor_label("log(inr)")
    ('Prior stroke', 'GCS', 'INR (log)')
    """
    form, column = split_term(name)
    if form:
        return f"{predictor_label(column)} ({form})"
    return LABELS.get(name, name.replace("_", " ").capitalize())


def predictor_quantity(name: str) -> str:
    """The words for a predictor with its unit, as a table's line or an axis names it.

    Examples
    --------
    >>> predictor_quantity("sbp_mmhg"), predictor_quantity("diabetes")
    ('Systolic pressure (mmHg)', 'Diabetes')
    """
    name = split_term(name)[1]
    column = COLUMNS.get(name)
    printed = "" if column is None or column.kind == "binary" else PRINTED_UNITS.get(column.unit, column.unit)
    return f"{predictor_label(name)} ({printed})" if printed else predictor_label(name)


def predictor_unit(name: str) -> str:
    """What one step of a predictor is: "per mmHg", "per point"; empty for what is present or absent.

    Examples
    --------
    >>> predictor_unit("sbp_mmhg"), predictor_unit("diabetes")
    ('per mmHg', '')
    """
    if name == "dl_score":
        return "per SD"
    if split_term(name)[0] == LOG:
        return "per doubling"
    column = COLUMNS.get(name)
    if column is None or column.kind == "binary":
        return ""
    unit = column.unit if column.unit == "y" else PRINTED_UNITS.get(column.unit, column.unit)
    return f"per {unit or ('point' if column.kind == 'integer' else 'unit')}"
