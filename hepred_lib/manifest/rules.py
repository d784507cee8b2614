"""The rules of the manifest: one row of ``COLUMNS`` for every column that the library knows."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hepred_lib.literal import shown

PATIENT_ID = r"[A-Za-z0-9_-]{1,64}"
LONGEST_LINE = 480  # signs of a printed problem, however long its names and values are
SPLITS = ("development", "test")
LOCATIONS = ("basal_ganglia", "thalamus", "lobar", "brainstem", "cerebellum")


@dataclass(frozen=True)
class Column:
    """The rule of one column; kind is ``id``, ``text``, ``code``, ``path``, ``number``, ``integer`` or ``binary``."""

    name: str
    kind: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    meaning: str = ""

    @property
    def requirement(self) -> str:
        """What a cell must be, as the words after "must"."""
        if self.kind == "id":
            return "be 1 to 64 letters, digits, _ or -"
        if self.kind == "path":
            return "name a file that exists"
        if self.allowed:
            return f"be {' or '.join(self.allowed)}"
        if self.low is None:
            return "be a number" if self.kind == "number" else "be any text"
        whole = "a whole number " if self.kind == "integer" else ""
        return f"be {whole}>= {self.low:g}" if self.high is None else f"be {whole}within {self.low:g} to {self.high:g}"


def _binary(name: str, meaning: str) -> Column:
    return Column(name, "binary", "0/1", 0, 1, ("0", "1"), meaning)


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("patient_id", "id", meaning="unique pseudonym, required"),
        Column("site", "text", meaning="hospital or scanner"),
        Column("split", "code", allowed=SPLITS, meaning="for all patients or for none: then drawn by seed"),
        Column("baseline_ct", "path", meaning="first head CT, NIfTI in Hounsfield units"),
        Column("baseline_mask", "path", meaning="parenchymal hematoma on it, 0/1, on its grid"),
        Column("baseline_ivh_mask", "path", meaning="blood in the ventricles on it"),
        Column("followup_ct", "path", meaning="second head CT"),
        Column("followup_mask", "path", meaning="parenchymal hematoma on it"),
        Column("followup_ivh_mask", "path", meaning="blood in the ventricles on it"),
        Column("onset_to_ct_h", "number", "h", 0, 168, meaning="symptom onset to first CT"),
        Column("ct_to_followup_h", "number", "h", 0, 720, meaning="first to second CT"),
        Column("baseline_volume_ml", "number", "mL", 0, 300, meaning="parenchymal hematoma, first CT"),
        Column("followup_volume_ml", "number", "mL", 0, 300, meaning="parenchymal hematoma, second CT"),
        Column("baseline_ivh_ml", "number", "mL", 0, 300, meaning="blood in the ventricles, first CT"),
        Column("followup_ivh_ml", "number", "mL", 0, 300, meaning="blood in the ventricles, second CT"),
        _binary("he", "hematoma expansion; else from the volumes"),
        Column("location", "code", allowed=LOCATIONS, meaning="center of the hematoma"),
        _binary("ivh", "blood in the ventricles, as read"),
        Column("age", "number", "y", 18, 110),
        Column("sex", "code", allowed=("F", "M")),
        Column("gcs", "integer", "", 3, 15, meaning="Glasgow Coma Scale"),
        Column("nihss", "integer", "", 0, 42, meaning="NIH Stroke Scale"),
        Column("sbp_mmhg", "number", "mmHg", 50, 300, meaning="systolic blood pressure"),
        Column("dbp_mmhg", "number", "mmHg", 20, 200, meaning="diastolic blood pressure"),
        _binary("hypertension", "known before"),
        _binary("diabetes", "known before"),
        _binary("smoking", "current"),
        _binary("alcohol", "regular use"),
        _binary("prior_stroke", "ischemic, before"),
        _binary("prior_ich", "hemorrhage, before"),
        _binary("antiplatelet", "taken at onset"),
        _binary("anticoagulant", "taken at onset, warfarin included"),
        Column("inr", "number", "", 0.5, 20, meaning="international normalized ratio"),
        Column("platelets_10e9_l", "number", "10^9/L", 1, 2000),
        Column("glucose_mmol_l", "number", "mmol/L", 0.5, 60, meaning="from mg/dL: / 18.0"),
        Column("fibrinogen_g_l", "number", "g/L", 0.1, 15, meaning="from mg/dL: / 100"),
        Column("hemoglobin_g_dl", "number", "g/dL", 2, 25, meaning="from g/L: / 10"),
        Column("creatinine_umol_l", "number", "umol/L", 10, 2500, meaning="from mg/dL: x 88.4"),
        Column("wbc_10e9_l", "number", "10^9/L", 0.1, 500, meaning="white blood cells"),
        _binary("blend_sign", "as read; else measured on the scan"),
        _binary("any_hypodensity", "as read; else measured on the scan"),
        Column("dl_score", "number", "", -10000, 10000, meaning="image score made elsewhere"),
    )
}


class ManifestError(ValueError):
    """A manifest that cannot be used, and why."""


@dataclass(frozen=True)
class Problem:
    """One fault of a manifest; ``rule`` stands after the word "must". A fault of the whole file has line 0.

    Attributes
    ----------
    severity : str
        ``refuse`` where the manifest cannot be used, ``warn`` where a person should look.
    remedy : str
        What to do about it, as a sentence, which ends the printed line; may be empty.
    """

    file: str
    line: int
    column: str
    patient_id: str
    rule: str
    value: str
    severity: str = "refuse"
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.file} line {self.line}" if self.line else self.file
        patient = f"patient {shown(self.patient_id, 64)}, " if self.patient_id else ""
        sentence = f"{shown(self.column, 60)} must {shown(self.rule, 160)}, got {shown(self.value, 160)}"
        remedy = f" {self.remedy.rstrip('.')}." if self.remedy else ""
        return shown(f"{sentence} ({patient}{where}).{remedy}", LONGEST_LINE)


def rules_table() -> pd.DataFrame:
    """The rule of every known column, one row each."""
    rows = [(c.name, c.unit, c.requirement.removeprefix("be "), c.meaning) for c in COLUMNS.values()]
    return pd.DataFrame(rows, columns=["column", "unit", "rule", "meaning"])
