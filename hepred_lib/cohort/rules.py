"""The rules of the manifest: one row of ``COLUMNS`` for every column that the library knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from hepred_lib.errors import InputError
from hepred_lib.literal import shown

# --- rules: The rules of the manifest: one row of ``COLUMNS`` for every column that the library knows

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


class ManifestError(InputError):
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


# --- plausibility: Values that follow their rule, or all break it, and yet mean something else: codes for missing,

MISSING_CODES = (9.0, 99.0, 999.0, 9999.0, 99.9, 999.9, 888.0, 8888.0, 777.0, -1.0, -9.0, -99.0, -999.0, -9999.0)
FEWEST_VALUES = 5
SEVERAL = 3
EXCEL_DATES = (36_526, 62_000)  # days since 1899-12-30: the years 2000 to 2069


@dataclass(frozen=True)
class Unit:
    """Another unit of a column: what it is multiplied by, and the medians (in it) that suggest it."""

    name: str
    factor: float | None
    low: float
    high: float


UNITS: dict[str, tuple[Unit, ...]] = {
    "age": (
        Unit("months", 1 / 12, 216, 1320),
        Unit("years of birth", None, 1880, 2015),
        Unit("days", 1 / 365.25, 6570, 40_000),
    ),
    "onset_to_ct_h": (
        Unit("minutes", 1 / 60, 40, 6000),
        Unit("seconds", 1 / 3600, 6000, 36_000),
        Unit("days", 24, 0.001, 0.25),
    ),
    "ct_to_followup_h": (Unit("minutes", 1 / 60, 150, 10_000), Unit("days", 24, 0.2, 3)),
    "baseline_volume_ml": (Unit("mm³", 0.001, 300, 300_000), Unit("L", 1000, 0.0005, 0.1)),
    "followup_volume_ml": (Unit("mm³", 0.001, 300, 300_000), Unit("L", 1000, 0.0005, 0.1)),
    "baseline_ivh_ml": (Unit("mm³", 0.001, 300, 300_000),),
    "followup_ivh_ml": (Unit("mm³", 0.001, 300, 300_000),),
    "sbp_mmhg": (Unit("cmHg", 10, 9, 18.5), Unit("kPa", 7.50062, 18.5, 40)),
    "dbp_mmhg": (Unit("cmHg", 10, 5, 10.8), Unit("kPa", 7.50062, 10.8, 20)),
    "inr": (Unit("seconds (a prothrombin time)", None, 8, 20), Unit("percent (a Quick value)", None, 20, 150)),
    "platelets_10e9_l": (
        Unit("per µL", 0.001, 20_000, 1_500_000),
        Unit("10⁴ per µL", 10, 6, 60),
        Unit("10⁵ per µL", 100, 0.5, 6),
    ),
    "glucose_mmol_l": (Unit("mg/dL", 0.0555, 60, 600),),
    "fibrinogen_g_l": (Unit("mg/dL", 0.01, 50, 1500), Unit("µmol/L", 0.34, 7, 15)),
    "hemoglobin_g_dl": (Unit("g/L", 0.1, 50, 250), Unit("mmol/L", 1.6114, 4, 9.6)),
    "creatinine_umol_l": (Unit("mg/dL", 88.4, 0.3, 10), Unit("mmol/L", 1000, 0.02, 0.3)),
    "wbc_10e9_l": (Unit("per µL", 0.001, 1000, 100_000), Unit("10² per µL", 0.1, 35, 500)),
}


def likely_unit(name: str, values: pd.Series) -> Unit | None:
    """The other unit that the median of a column's values suggests."""
    if values.empty:
        return None
    median = float(values.clip(-1e12, 1e12).median())  # the mean of two huge numbers is none
    return next((unit for unit in UNITS.get(name, ()) if unit.low <= median <= unit.high), None)


def unit_remedy(name: str, unit: Unit) -> str:
    """How a column in another unit is mended, by hand or by a mapping."""
    if unit.factor is None:
        return f"{name} cannot be computed from {unit.name}: leave the column out, or give the values of the rule"
    factor = factor_text(unit.factor)
    return f"Multiply by {factor}, or map it: {name}: {{column: {name}, factor: {factor}}}"


def factor_text(factor: float) -> str:
    """A factor as a mapping writes it; one that no short decimal gives, as a fraction.

    Examples
    --------
    >>> factor_text(0.0555), factor_text(1 / 60)
    ('0.0555', '1/60')
    """
    short = f"{factor:.6g}"
    return short if float(short) == factor else f"1/{1 / factor:.6g}"


def wrong_throughout(column: Column, numbers: pd.Series, follows: pd.Series) -> Problem | None:
    """One problem for a column whose values, taken together, are in another unit, instead of one for every row.

    Parameters
    ----------
    column : Column
    numbers : Series
        The column's numbers by line; NaN where there is none.
    follows : Series of bool
        Whether each follows the rule.
    """
    values = numbers[numbers.notna() & ~numbers.isin(MISSING_CODES)]
    wrong = values[~follows[values.index]]
    if len(wrong) < FEWEST_VALUES or 2 * len(wrong) < len(values):
        return None
    unit = likely_unit(column.name, values)
    dates = bool(values.between(*EXCEL_DATES).all())
    if unit is None and not dates:
        return None
    kind = "dates as Excel counts days" if dates else f"as in {unit.name}"
    value = f"{wrong.min():g} to {wrong.max():g} in {len(wrong)} of {len(values)} rows ({kind})"
    remedy = "Give the value of the rule" if dates else unit_remedy(column.name, unit)
    return Problem("", int(wrong.index[0]), column.name, "", column.requirement, value, remedy=remedy)


def doubtful(column: Column, numbers: pd.Series) -> Iterator[Problem]:
    """Warnings for values that follow the rule: codes for missing in several rows, a median of another unit."""
    present = numbers.dropna()
    codes = missing_codes(column, present)
    for code in codes:
        lines = list(present.index[present == code])
        shown = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
        value = f"{code:g} in {len(lines)} rows (lines {shown})"
        remedy = f"If {code:g} means missing, leave the cells empty or name {code:g} under missing in a mapping"
        yield Problem("", lines[0], column.name, "", "be a measured value, not a code", value, "warn", remedy)
    values = present[~present.isin(codes)]
    unit = likely_unit(column.name, values) if len(values) >= FEWEST_VALUES else None
    if unit is not None:
        value = f"a median of {values.median():g}, as in {unit.name}"
        unit_words = f"be in {column.unit}" if column.unit else "be a ratio"
        remedy = unit_remedy(column.name, unit)
        yield Problem("", int(values.index[0]), column.name, "", unit_words, value, "warn", remedy)


def missing_codes(column: Column, present: pd.Series) -> list[float]:
    """Codes for missing that are in several rows of a column and cannot well be values of it."""
    return [code for code in MISSING_CODES if _stands_out(column, present, code)]


def _stands_out(column: Column, present: pd.Series, code: float) -> bool:
    """Whether a code is in several rows and apart from the other values, or far more frequent than those near it."""
    count = int((present == code).sum())
    if count < SEVERAL or column.kind == "binary" or (code == 9 and column.kind == "integer"):
        return False
    others = present[~present.isin([other for other in MISSING_CODES if abs(other) >= abs(code)])]
    if others.empty:
        return True
    if code < 0:
        return others.min() >= 0
    if column.name == "age":  # the oldest may be 99
        return count > SEVERAL + 1 + 3 * ((others > code - 6) & (others <= code)).sum()
    if code > (2.0 if code == 9 else 1.3) * others.max():
        return True
    if code == 9:  # amid values of one decimal, whole numbers come often
        return False
    near = others[(others > code / 1.25) & (others < code * 1.25) & (others == np.round(others))]
    return count >= FEWEST_VALUES and count > 4 * near.value_counts().max() if len(near) else count >= 8


# --- remedies: What to do about a cell that breaks its rule, in words

# BaseLoader leaves yes, no and null as the words that they are.
_LISTS = yaml.load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
WORDS = {kind: frozenset(words) for kind, words in _LISTS.items()}
MISSING_WORDS = WORDS["missing"]


def remedy_for(column: Column, value: str) -> str:
    """What to do about a value that breaks the rule of its column; empty where nothing but the rule can be said.

    Examples
    --------
    >>> from hepred_lib.cohort.rules import COLUMNS
    >>> remedy_for(COLUMNS["sex"], "female")
    'Write F, or map the codes: sex: {female: F}'
    """
    word = value.casefold()
    if word in MISSING_WORDS and column.kind != "id":
        return f"Leave the cell empty where the value is not known, or name {value} under missing in a mapping"
    if column.kind == "id":
        return "Use a pseudonym, not a name"
    if column.kind == "path":
        return _path_remedy(value)
    if column.kind == "code":
        return _code_remedy(column, value)
    if column.kind == "binary" and word in WORDS["yes"] | WORDS["no"]:
        code = int(word in WORDS["yes"])
        return f"Write 1 for yes and 0 for no, or map the words: {column.name}: {{{value}: {code}}}"
    try:
        return _value_remedy(column, value, float(value))
    except ValueError:
        return _number_remedy(column, value)


def _code_remedy(column: Column, value: str) -> str:
    """The code that a word means, where it means one."""
    word = value.casefold()
    if column.name == "sex":
        code = "M" if word in WORDS["male"] else "F" if word in WORDS["female"] else ""
        return f"Write {code or 'F or M'}, or map the codes: sex: {{{f'{value}: {code}' if code else '1: M, 2: F'}}}"
    close = get_close_matches(re.sub(r"\W+", "_", word), column.allowed, n=1, cutoff=0.5)
    return f"Write {close[0]} if that is meant" if close else f"Map the words to these codes: {column.name}: {{...}}"


def _path_remedy(value: str) -> str:
    if "\\" in value:
        return "Write the path with / and relative to the folder of the manifest"
    if value.startswith("/"):
        return "Write the path relative to the folder of the manifest"
    return "Paths start from the folder of the manifest"


def _number_remedy(column: Column, value: str) -> str:
    """What to do about a text that is almost a number."""
    if value.startswith(("\u2212", "\u2013")):
        return "Write a plain minus sign"
    if re.fullmatch(r"[+-]?\d+,\d+", value):
        return "Write a decimal point"
    if re.match(r"[<>≤≥~]", value):
        return "Write the number alone, or leave the cell empty"
    if re.fullmatch(r"\d{1,3}:\d\d(:\d\d)?", value):
        return "Write a decimal number, such as 2.5 for 2:30"
    if re.match(r"\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}", value):
        wanted = {"h": "the number of hours", "y": "the age in years"}.get(column.unit, "the value itself")
        return f"Write {wanted}, not a date"
    if re.match(r"[+-]?\d[\d.]*\s*[^\W\d]", value):
        return f"Write the number alone{f', in {column.unit}' if column.unit and column.unit != '0/1' else ''}"
    return ""


def _value_remedy(column: Column, value: str, number: float) -> str:
    """What to do about one number that breaks its rule, where another unit or a code for missing explains it."""
    if number in MISSING_CODES:
        return f"If {value} means missing, leave the cell empty or name {value} under missing in a mapping"
    unit = next((unit for unit in UNITS.get(column.name, ()) if unit.low <= number <= unit.high), None)
    if unit is not None and unit.factor is None:
        return f"This may be in {unit.name}"
    if unit is not None:
        return f"If this is in {unit.name}, multiply by {factor_text(unit.factor)}"
    if EXCEL_DATES[0] <= number <= EXCEL_DATES[1]:
        return "This may be a date as Excel counts days: give the value of the rule"
    return ""
