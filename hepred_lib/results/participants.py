"""Who is in a study and who is missing: hemorrhages, outcomes, reasons of exclusion, and their counts."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Each is evidence of blood where it is above 0; so is a location, or an outcome that the hospital itself states.
BLOOD = ("baseline_volume_ml", "baseline_ivh_ml", "followup_volume_ml", "ivh")
DESCRIBED = ("baseline_volume_ml", "baseline_mask")
NO_HEMORRHAGE, NO_SCAN, NO_SCORE = "no hemorrhage", "no baseline CT", "no DL score"
NO_FOLLOWUP, NO_SECOND_VOLUME = "no follow-up CT", "no follow-up volume and no mask"
NO_FIRST_VOLUME, NO_VENTRICLES = "no baseline volume and no mask", "no volume of ventricular blood and no mask"


def mark_hemorrhages(table: pd.DataFrame, stated: pd.Series) -> pd.DataFrame:
    """The table with ``has_hemorrhage`` (1 or 0) and without an outcome where there is no hemorrhage.

    A row is without a hemorrhage where its baseline volume and mask are empty or 0 and nothing else tells of blood: no
    location, no ventricular blood, no follow-up volume above 0, no stated outcome. Where no row of the table has a
    volume or a mask, their absence tells nothing, and every row is taken for a hemorrhage.

    Parameters
    ----------
    table : DataFrame
        Manifest columns, empty volumes measured on the masks, ``he`` derived.
    stated : Series
        ``he`` as the manifest states it, before any was derived (two volumes of 0 mL make no patient without
        expansion).
    """
    blood = table[[name for name in BLOOD if name in table]].gt(0).any(axis=1) | stated.notna()
    blood |= table["location"].notna() if "location" in table else False
    described = table[[name for name in DESCRIBED if name in table]].notna().any(axis=None)
    has = blood if described else pd.Series(True, index=table.index)
    return table.assign(has_hemorrhage=has.astype(int), he=table["he"].where(has))


def outcome_reasons(table: pd.DataFrame) -> pd.Series:
    """Why a row has no outcome, as a fact about the patient; empty text where it has one.

    Parameters
    ----------
    table : DataFrame
        As :func:`mark_hemorrhages` gives it.
    """
    known = {name: _known(table, name) for name in ("followup_ct", "ct_to_followup_h", "followup_volume_ml")}
    conditions = {
        "": table["he"].notna(),
        NO_HEMORRHAGE: table["has_hemorrhage"].eq(0),
        NO_FIRST_VOLUME: known["followup_volume_ml"] & ~_known(table, "baseline_volume_ml"),
        NO_VENTRICLES: known["followup_volume_ml"],  # both volumes are known, and still no outcome
        NO_SECOND_VOLUME: known["followup_ct"] | known["ct_to_followup_h"],
    }
    return pd.Series(np.select(list(conditions.values()), list(conditions), NO_FOLLOWUP), table.index, dtype=object)


def exclusions(table: pd.DataFrame, *, image_source: str) -> pd.Series:
    """Why a row cannot be in the study, as a fact about the patient; empty text where it is included.

    With scans a first CT is needed: a row without an outcome serves segmentation and detection. Without scans an
    outcome is needed, and for ``column`` a score.
    """
    if image_source == "scans":
        return pd.Series(np.where(_known(table, "baseline_ct"), "", NO_SCAN), table.index, dtype=object)
    reasons = outcome_reasons(table)
    unscored = reasons.eq("") & ~_known(table, "dl_score") & (image_source == "column")
    return reasons.mask(unscored, NO_SCORE)


def count_patients(cohort: pd.DataFrame, excluded: pd.DataFrame) -> dict[str, int]:
    """Patients with an outcome by split; rows of the manifest without a hemorrhage, and hemorrhages without an outcome.

    The last two are counted over included and excluded rows, so that a study of tables alone, which excludes both,
    counts them too.
    """
    known = cohort[cohort["he"].notna()]
    parts = {split: known.loc[known["split"] == split, "he"] for split in ("development", "test")}
    return {
        "patients": len(known),
        **{split: len(he) for split, he in parts.items()},
        **{f"he_{split}": int(he.sum()) for split, he in parts.items()},
        "excluded": len(excluded),
        **count_missing(cohort, excluded),
    }


def count_missing(*tables: pd.DataFrame) -> dict[str, int]:
    """Rows without a hemorrhage (``blood_free``), and hemorrhages ``without_outcome``, over all the tables."""
    return {
        "blood_free": sum(int(rows["has_hemorrhage"].eq(0).sum()) for rows in tables),
        "without_outcome": sum(int((rows["has_hemorrhage"].eq(1) & rows["he"].isna()).sum()) for rows in tables),
    }


def counts_by_set(cohort: pd.DataFrame) -> pd.DataFrame:
    """The included patients of each set: with an outcome, with expansion, without an outcome, without a hemorrhage."""
    rows = []
    for split, part in cohort.groupby("split"):
        missing = count_missing(part)
        known = {"with outcome": int(part["he"].count()), "with HE": int(part["he"].sum())}
        lacking = {"without outcome": missing["without_outcome"], "without hemorrhage": missing["blood_free"]}
        rows.append({"set": split, **known, **lacking})
    return pd.DataFrame(rows)


def missing_outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Hemorrhages without an outcome by reason: `reason`, `patients`; no row where every outcome is known."""
    lacking = table[table["has_hemorrhage"].eq(1) & table["he"].isna()]
    counts = outcome_reasons(lacking).value_counts()
    return pd.DataFrame({"reason": counts.index, "patients": counts.to_numpy()})


def flow_table(table: pd.DataFrame, cohort: pd.DataFrame, excluded: pd.DataFrame, *, folds: int) -> pd.DataFrame:
    """What the flow of participants draws: one row a box, from the rows of the manifest to both sets."""
    known, missing = cohort[cohort["he"].notna()], count_missing(cohort)
    steps = [("assessed", "Assessed: rows of the manifest", len(table), table["he"].sum())]
    steps += [("excluded", "Excluded", len(excluded), np.nan)]
    steps += [("reason", reason, count, np.nan) for reason, count in excluded["reason"].value_counts().items()]
    words = {
        "blood_free": "No hemorrhage: serve the detection of blood alone",
        "without_outcome": "Hemorrhage without outcome: serve segmentation and detection alone",
    }
    steps += [(step, words[step], count, np.nan) for step, count in missing.items() if count]
    steps += [("included", "Included, with outcome", len(known), known["he"].sum())]
    sets = {"development": f"Development, {folds} cross-fitting folds", "test": "Test, untouched until the end"}
    parts = {split: known.loc[known["split"] == split, "he"] for split in sets}
    steps += [(split, sets[split], len(he), he.sum()) for split, he in parts.items()]
    return pd.DataFrame(steps, columns=["step", "text", "n", "events"])


def _known(table: pd.DataFrame, name: str) -> pd.Series:
    """Whether each row has a value in a column, which may be absent."""
    return table[name].notna() if name in table else pd.Series(False, index=table.index)
