"""Candidate predictors, in the form that models use."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import pandas as pd

from hepred_lib.manifest.rules import LOCATIONS, ManifestError

CLINICAL_CANDIDATES = (
    "age",
    "sex",
    "onset_to_ct_h",
    "gcs",
    "nihss",
    "sbp_mmhg",
    "dbp_mmhg",
    "hypertension",
    "diabetes",
    "smoking",
    "alcohol",
    "prior_stroke",
    "antiplatelet",
    "anticoagulant",
    "inr",
    "platelets_10e9_l",
    "glucose_mmol_l",
    "fibrinogen_g_l",
    "hemoglobin_g_dl",
    "creatinine_umol_l",
    "wbc_10e9_l",
)
RADIOLOGICAL_CANDIDATES = ("baseline_volume_ml", "location", "ivh")
NO_PREDICTORS = ("he", "ct_to_followup_h", "followup_volume_ml", "followup_ivh_ml")  # known only afterwards


def predictor_frame(table: pd.DataFrame, names: Iterable[str], *, allow_empty: bool = False) -> pd.DataFrame:
    """Predictors as models use them: floats, ``sex`` as ``male`` (1 = M), ``location`` as a category of all five codes.

    Parameters
    ----------
    table : DataFrame
        Columns as :func:`read_manifest` gives them.
    names : iterable of str
        Columns of the table; ``male`` may stand for ``sex``.
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
    for name in names:
        column = "sex" if name == "male" and "sex" in table else name
        if column not in table:
            close = get_close_matches(column, [*table.columns, "male"], n=1)
            hint = f" (closest: {close[0]})" if close else ""
            raise ManifestError(f"a predictor must be a column of the manifest, got {name!r}{hint}.")
        if column in NO_PREDICTORS:
            raise ManifestError(f"a predictor must be known at the first scan, got {name!r}.")
        if table[column].isna().all() and not allow_empty:
            raise ManifestError(f"{name} must have a value in at least one patient to be a predictor, got none.")
        columns["male" if column == "sex" else column] = _predictor(table[column])
    return pd.DataFrame(columns, index=table.index)


def _predictor(values: pd.Series) -> pd.Series:
    if values.name == "sex":
        return values.map({"F": 0.0, "M": 1.0}).astype(float)
    if values.name == "location":
        return values.astype(pd.CategoricalDtype(LOCATIONS))
    if not pd.api.types.is_numeric_dtype(values) and values.notna().any():
        raise ManifestError(f"a predictor must be numeric, got the text column {values.name!r}.")
    return values.astype(float)
