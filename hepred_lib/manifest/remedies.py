"""What to do about a cell that breaks its rule, in words."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

import yaml

from hepred_lib.manifest.plausibility import EXCEL_DATES, MISSING_CODES, UNITS, factor_text
from hepred_lib.manifest.rules import Column

# BaseLoader leaves yes, no and null as the words that they are.
_LISTS = yaml.load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
WORDS = {kind: frozenset(words) for kind, words in _LISTS.items()}
MISSING_WORDS = WORDS["missing"]


def remedy_for(column: Column, value: str) -> str:
    """What to do about a value that breaks the rule of its column; empty where nothing but the rule can be said.

    Examples
    --------
    >>> from hepred_lib.manifest.rules import COLUMNS
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
