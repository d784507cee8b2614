"""The rules of the manifest: one row of ``COLUMNS`` for every column that the library knows, and what breaks them.

A ``Problem`` is one fault or doubt, wherever it was found: in a table's form, in a cell, in a scan, in the cohort.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from hepred_lib.literal import shown

PATIENT_ID = r"[A-Za-z0-9_-]{1,64}"
LONGEST_LINE = 480  # signs of a printed problem, however long its names and values are
SPLITS = ("development", "test")
LOCATIONS = ("basal_ganglia", "thalamus", "lobar", "brainstem", "cerebellum")
OLD_NAMES = {"dl_score": "external_score"}  # of columns, still read
# Columns that a study adds to its patients: one of the manifest by such a name would be lost, or stop a chapter.
OWN_NAMES = (
    *("fold", "reason", "has_hemorrhage", "outside_window", "outcome_weight", "dl_score", "dl_score_spread"),
    *("network_score", "hematoma_detected", "predicted_volume_ml", "predicted_ivh_ml", "flags", "unread", "unmasked"),
    *("unmeasured", "blend_seen", "hypodensity_seen", "p_image", "p_clinical", "p_integrated"),
)


@dataclass(frozen=True)
class Column:
    """The rule of one column; kind is ``id``, ``text``, ``code``, ``path``, ``number``, ``integer`` or ``binary``."""

    name: str
    kind: str
    unit: str = ""
    low: float = -np.inf
    high: float = np.inf
    allowed: tuple[str, ...] = ()
    meaning: str = ""

    @property
    def is_number(self) -> bool:
        """Whether its cells are numbers."""
        return self.kind in ("number", "integer", "binary")

    @property
    def requirement(self) -> str:
        """What a cell must be, as the words after "must"."""
        if self.allowed:
            return f"be {' or '.join(self.allowed)}"
        if self.is_number:
            return f"be {'a whole number ' * (self.kind == 'integer')}within {self.low:g} to {self.high:g}"
        words = {"id": "be 1 to 64 letters, digits, _ or -", "path": "name a file that exists"}
        return words.get(self.kind, "be any text")

    def follows(self, numbers: pd.Series) -> pd.Series:
        """Whether numbers are finite, in range, and whole where the column asks for it."""
        good = numbers.between(self.low, self.high)
        return good & (numbers == numbers.round()) if self.kind != "number" else good


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
        Column("external_score", "number", "", -10000, 10000, meaning="image score made elsewhere"),
    )
}
PATHS = [name for name, column in COLUMNS.items() if column.kind == "path"]


@dataclass(frozen=True)
class Problem:
    """One fault; ``rule`` stands after the word "must". A fault of the whole file has line 0.

    Attributes
    ----------
    remedy : str
        What to do about it, as a sentence, which ends the printed line; may be empty.
    severity : str
        ``refuse`` where the manifest cannot be used, ``warn`` where a person should look.
    """

    column: str
    rule: str
    value: str
    remedy: str = ""
    severity: str = "refuse"
    line: int = 0
    patient_id: str = ""
    file: str = ""

    def __str__(self) -> str:
        where = f"{self.file} line {self.line}" if self.line else self.file
        patient = f"patient {shown(self.patient_id, 64)}, " if self.patient_id else ""
        sentence = f"{shown(self.column, 60)} must {shown(self.rule, 160)}, got {shown(self.value, 160)}"
        remedy = f" {self.remedy.rstrip('.')}." if self.remedy else ""
        return shown(f"{sentence} ({patient}{where}).{remedy}", LONGEST_LINE)


def located(problems: Iterable[Problem], file: str, patients: pd.Series | None = None) -> list[Problem]:
    """Problems with the name of their file and, given the identifiers by line, the patient of their line."""

    def patient(problem: Problem) -> str:
        name = problem.patient_id or ("" if patients is None else str(patients.get(problem.line, "")))
        return name if re.fullmatch(PATIENT_ID, name) else ""  # anything else may be a name

    return [replace(problem, file=problem.file or file, patient_id=patient(problem)) for problem in problems]


def rules_table() -> pd.DataFrame:
    """The rule of every known column, one row each."""
    rows = [(c.name, c.unit, c.requirement.removeprefix("be "), c.meaning) for c in COLUMNS.values()]
    return pd.DataFrame(rows, columns=["column", "unit", "rule", "meaning"])


def without_look(name: str) -> str:
    """An identifier without case, separators and leading zeros, which spreadsheets and people change.

    Examples
    --------
    >>> without_look("MRN_0077"), without_look("1-11")
    ('mrn-77', '1-11')
    """
    return "-".join(part.lstrip("0") or "0" for part in re.findall(r"[a-z]+|[0-9]+", name.lower()))


def count_of(count: int, noun: str) -> str:
    """A count with its noun, in the plural where it is not one.

    Examples
    --------
    >>> count_of(1, "refusal"), count_of(3, "warning")
    ('1 refusal', '3 warnings')
    """
    return f"{count} {noun}{'s' * (count != 1)}"


# --- plausibility: values that follow their rule, or all break it, and yet mean a code for missing or another unit

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


_CUBIC_MM = ("mm³", 0.001, 300, 300_000)
_VOLUME = (_CUBIC_MM, ("L", 1000, 0.0005, 0.1))
_TIMES = (("minutes", 1 / 60, 40, 6000), ("seconds", 1 / 3600, 6000, 36_000), ("days", 24, 0.001, 0.25))
_AGES = (("months", 1 / 12, 216, 1320), ("years of birth", None, 1880, 2015), ("days", 1 / 365.25, 6570, 40_000))
_PER_UL = (("per µL", 0.001, 20_000, 1_500_000), ("10⁴ per µL", 10, 6, 60), ("10⁵ per µL", 100, 0.5, 6))
_UNITS: dict[str, tuple[tuple[str, float | None, float, float], ...]] = {
    "age": _AGES,
    "onset_to_ct_h": _TIMES,
    "ct_to_followup_h": (("minutes", 1 / 60, 150, 10_000), ("days", 24, 0.2, 3)),
    "baseline_volume_ml": _VOLUME,
    "followup_volume_ml": _VOLUME,
    "baseline_ivh_ml": (_CUBIC_MM,),
    "followup_ivh_ml": (_CUBIC_MM,),
    "sbp_mmhg": (("cmHg", 10, 9, 18.5), ("kPa", 7.50062, 18.5, 40)),
    "dbp_mmhg": (("cmHg", 10, 5, 10.8), ("kPa", 7.50062, 10.8, 20)),
    "inr": (("seconds (a prothrombin time)", None, 8, 20), ("percent (a Quick value)", None, 20, 150)),
    "platelets_10e9_l": _PER_UL,
    "glucose_mmol_l": (("mg/dL", 0.0555, 60, 600),),
    "fibrinogen_g_l": (("mg/dL", 0.01, 50, 1500), ("µmol/L", 0.34, 7, 15)),
    "hemoglobin_g_dl": (("g/L", 0.1, 50, 250), ("mmol/L", 1.6114, 4, 9.6)),
    "creatinine_umol_l": (("mg/dL", 88.4, 0.3, 10), ("mmol/L", 1000, 0.02, 0.3)),
    "wbc_10e9_l": (("per µL", 0.001, 1000, 100_000), ("10² per µL", 0.1, 35, 500)),
}
UNITS = {name: tuple(Unit(*row) for row in rows) for name, rows in _UNITS.items()}


def likely_unit(name: str, values: pd.Series | float) -> Unit | None:
    """The other unit that a number, or the median of a column's values, suggests."""
    if isinstance(values, pd.Series):
        values = float(values.clip(-1e12, 1e12).median())  # the mean of two huge numbers is none
    return next((unit for unit in UNITS.get(name, ()) if unit.low <= values <= unit.high), None)


def factor_text(factor: float) -> str:
    """A factor as a mapping writes it; one that no short decimal gives, as a fraction.

    Examples
    --------
    >>> factor_text(0.0555), factor_text(1 / 60)
    ('0.0555', '1/60')
    """
    short = f"{factor:.6g}"
    return short if float(short) == factor else f"1/{1 / factor:.6g}"


def column_problems(column: Column, numbers: pd.Series) -> Iterator[Problem]:
    """What the numbers of a column, taken together, show: another unit or dates throughout, or codes for missing.

    Parameters
    ----------
    column : Column
    numbers : Series
        The column's numbers by line; NaN where there is none.
    """
    follows = column.follows(numbers)
    values = numbers[numbers.notna() & ~numbers.isin(MISSING_CODES)]
    wrong = values[~follows[values.index]]
    if len(wrong) >= FEWEST_VALUES and 2 * len(wrong) >= len(values):  # one problem instead of one for every row
        unit = likely_unit(column.name, values)
        told = unit and (f"as in {unit.name}", _unit_remedy(column.name, unit))
        if values.between(*EXCEL_DATES).all():
            told = "dates as Excel counts days", "Give the value of the rule"
        if told:
            value = f"{wrong.min():g} to {wrong.max():g} in {len(wrong)} of {len(values)} rows ({told[0]})"
            yield Problem(column.name, column.requirement, value, told[1], line=int(wrong.index[0]))
            return
    present = numbers[follows]
    codes = missing_codes(column, present)
    for code in codes:
        lines = list(present.index[present == code])
        value = f"{code:g} in {len(lines)} rows (lines {', '.join(map(str, lines[:5]))}{', ...' * (len(lines) > 5)})"
        remedy = f"If {code:g} means missing, leave the cells empty or name {code:g} under missing in a mapping"
        yield Problem(column.name, "be a measured value, not a code", value, remedy, "warn", lines[0])
    values = present[~present.isin(codes)]
    unit = likely_unit(column.name, values) if len(values) >= FEWEST_VALUES else None
    if unit is not None:
        value = f"a median of {values.median():g}, as in {unit.name}"
        rule, remedy = f"be in {column.unit}" if column.unit else "be a ratio", _unit_remedy(column.name, unit)
        yield Problem(column.name, rule, value, remedy, "warn", int(values.index[0]))


def _unit_remedy(name: str, unit: Unit) -> str:
    if unit.factor is None:
        return f"{name} cannot be computed from {unit.name}: leave the column out, or give the values of the rule"
    factor = factor_text(unit.factor)
    return f"Multiply by {factor}, or map it: {name}: {{column: {name}, factor: {factor}}}"


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


# --- remedies: what to do about a cell that breaks its rule, in words

# BaseLoader leaves yes, no and null as the words that they are.
_LISTS = yaml.load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
WORDS = {kind: frozenset(words) for kind, words in _LISTS.items()}
MISSING_WORDS = WORDS["missing"]
MONTHS = "jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]"
_WRITTEN = rf"(?i:\d{{1,2}}[-. ]+({MONTHS})|({MONTHS})\w*[-. ]+\d)"  # 14-Mar, Mar-14
_DATE = rf"(\d{{4}}-\d\d-\d\d|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}|{_WRITTEN}).*"
_ALMOST_NUMBERS = {
    "[\u2212\u2013].*": "Write a plain minus sign",
    r"[+-]?\d+,\d+": "Write a decimal point",
    "[<>≤≥~].*": "Write the number alone, or leave the cell empty",
    r"\d{1,3}:\d\d(:\d\d)?": "Write a decimal number, such as 2.5 for 2:30",
    _DATE: "Write the {value}, not a date",
    r"\d{1,3}([.,]\d{3})+[.,]\d+": "Write a decimal point, and no separator of thousands",
    r"[+-]?\d[\d.]*\s*[^\d\s].*|'.*": "Write one number alone{unit}",
}


def remedy_for(column: Column, value: str) -> str:
    """What to do about a value that breaks the rule of its column; empty where nothing but the rule can be said.

    Examples
    --------
    >>> remedy_for(COLUMNS["sex"], "female")
    'Write F, or map the codes: sex: {female: F}'
    """
    word = value.casefold()
    if word in MISSING_WORDS and column.kind != "id":
        return f"Leave the cell empty where the value is not known, or name {value} under missing in a mapping"
    if column.kind == "id":
        spoilt = re.fullmatch(r"\d+[.,]\d*(e\+?\d+)?|['\"=]+\w+\"?", value, re.IGNORECASE)
        changed = "A spreadsheet has changed it: format the column as text, and enter the pseudonyms again"
        return changed if spoilt else "Use a pseudonym, not a name; delete a line that is of no patient"
    if column.kind == "path":
        how = "Write the path with / and" if "\\" in value else "Write the path" if value.startswith("/") else ""
        return f"{how} relative to the folder of the manifest" if how else "Paths start from the folder of the manifest"
    if column.name == "sex":
        sex = "M" if word in WORDS["male"] else "F" if word in WORDS["female"] else ""
        return f"Write {sex or 'F or M'}, or map the codes: sex: {{{f'{value}: {sex}' if sex else '1: M, 2: F'}}}"
    if column.kind == "code":
        close = get_close_matches(re.sub(r"\W+", "_", word), column.allowed, n=1, cutoff=0.5)
        words = f"Map the words to these codes: {column.name}: {{...}}"
        return f"Write {close[0]} if that is meant" if close else words
    if column.kind == "binary" and word in WORDS["yes"] | WORDS["no"]:
        code = int(word in WORDS["yes"])
        return f"Write 1 for yes and 0 for no, or map the words: {column.name}: {{{value}: {code}}}"
    try:
        number = float(value)
    except ValueError:
        remedy = next((words for form, words in _ALMOST_NUMBERS.items() if re.fullmatch(form, value, re.DOTALL)), "")
        wanted = {"h": "number of hours", "y": "age in years"}.get(column.unit, "value itself")
        written = {"y": ", in years", "0/1": "", "": ""}.get(column.unit, f", in {column.unit}")
        return remedy.format(value=wanted, unit=written)
    if number in MISSING_CODES:
        return f"If {value} means missing, leave the cell empty or name {value} under missing in a mapping"
    unit = likely_unit(column.name, number)
    if unit is not None and unit.factor:
        return f"If this is in {unit.name}, multiply by {factor_text(unit.factor)}"
    dates = "This may be a date as Excel counts days: give the value of the rule"
    return f"This may be in {unit.name}" if unit else dates * (EXCEL_DATES[0] <= number <= EXCEL_DATES[1])
