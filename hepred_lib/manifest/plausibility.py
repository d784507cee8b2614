"""Values that follow their rule, or all break it, and yet mean something else: codes for missing, other units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hepred_lib.manifest.rules import Column, Problem

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
