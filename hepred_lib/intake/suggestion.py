"""A first mapping from a hospital's own table: names in several languages, units, codes, what seems to mean missing."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import pandas as pd
import yaml

from hepred_lib.intake.spreadsheet import HOSPITAL_NUMBER, read_factor
from hepred_lib.manifest import COLUMNS, Cells, ManifestError
from hepred_lib.manifest.plausibility import MISSING_CODES, factor_text, likely_unit, missing_codes
from hepred_lib.manifest.remedies import MISSING_WORDS, WORDS

_TOLD = yaml.load(Path(__file__).with_name("synonyms.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
NUMBER = ("number", "integer")
LEFT_OUT = {"date", "datum", "fecha", "data", "time", "uhrzeit", "zeitpunkt", "mrs", "death", "tod", "90d", "discharge"}
CODES_OF_SEX = {"1": "M", "2": "F", "0": "F"}
CODES_OF_YES = {"1": "1", "2": "0"}  # as SPSS files have them
LONGEST_NAME = 300  # signs; more are no name
FEWEST_LETTERS = 4
DONE = "Confirm each line; a line that ends in ? was guessed"


@dataclass(frozen=True)
class _Guess:
    """What a column seems to be; ``sure`` where its name is a known one and its unit is written or its own."""

    name: str
    target: str
    sure: bool
    unit: str = ""
    factor: float = 1.0
    values: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    said: str = ""


def suggest_mapping(cells: Cells) -> str:
    """The text of a first mapping, with a comment on everything that a person must confirm.

    Raises
    ------
    ManifestError
        If the file is no table that could be mapped.
    """
    if cells.table is None:
        raise ManifestError("\n".join(map(str, cells.problems)))
    guesses = _guesses(cells.table)
    guesses, common = _split_missing(guesses, cells.table)
    lines = [f"# {cells.path.name}: {len(cells.table)} patients. {DONE}."]
    lines += [_line(guess) for guess in guesses]
    if HOSPITAL_NUMBER not in [guess.target for guess in guesses] and "patient_id" in [g.target for g in guesses]:
        lines.insert(1, "# patient_id must be a pseudonym: the hospital's own number may not stay in a manifest.")
    if common:
        lines.append(f"missing: [{', '.join(map(_scalar, common))}]  # seen in the cells; in all columns")
    rest = [name for name in cells.table if name not in {guess.name for guess in guesses}]
    if rest:
        lines.append("ignore:  # left out; map what is meant for the manifest, or list it under keep")
        lines += [f"  - {_scalar(name)}" for name in rest]
    return "\n".join(lines) + "\n"


def _guesses(table: pd.DataFrame) -> list[_Guess]:
    """One guess for every target at most, the sure ones first served, in the order of the table's columns."""
    found = {}
    for name in table:
        guess = _named(name)
        if guess is not None and (guess.target not in found or (guess.sure and not found[guess.target].sure)):
            found[guess.target] = guess
    chosen = {guess.name: guess for guess in found.values()}
    return [_valued(chosen[name], table[name]) for name in table if name in chosen]


def _folded(name: str) -> str:
    """Letters and digits without accents, in lower case."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).replace("µ", "u").replace("μ", "u"))
    return "".join(c for c in plain.casefold() if c.isalnum())


SYNONYMS = {_folded(word): target for target, words in _TOLD["columns"].items() for word in [target, *words]}
UNITS = {
    target: {_folded(unit): (unit, read_factor(factor)) for unit, factor in units.items()}
    for target, units in _TOLD["units"].items()
}
LOCATIONS = {_folded(word): code for code, words in _TOLD["locations"].items() for word in [code, *words]}


def _named(name: str) -> _Guess | None:
    """The target of a column's name: the name itself, without its unit, or a known name within it."""
    if len(name) > LONGEST_NAME:
        return None
    if _folded(name) in SYNONYMS:
        return _Guess(name, SYNONYMS[_folded(name)], sure=True)
    for base, unit in _without_unit(name):
        target = SYNONYMS.get(_folded(base))
        if target is not None:
            return _with_unit(_Guess(name, target, sure=True), unit)
    base, unit = next(iter(_without_unit(name)), (name, ""))
    parts = set(re.split(r"[\W_]+", base.casefold()))
    if parts & LEFT_OUT:
        return None
    close = get_close_matches(_folded(base), SYNONYMS, n=1, cutoff=0.88) if len(_folded(base)) > FEWEST_LETTERS else []
    within = [word for word in SYNONYMS if (len(word) > FEWEST_LETTERS and word in _folded(base)) or word in parts]
    word = close[0] if close else max(within, key=len, default=None)
    return None if word is None else _with_unit(_Guess(name, SYNONYMS[word], sure=False), unit)


def _without_unit(name: str) -> list[tuple[str, str]]:
    """Ways to take a unit off the end of a name: in brackets, or the last one to four words."""
    brackets = re.fullmatch(r"(.+?)[\s_]*[(\[]([^)\]]+)[)\]]\s*", name)
    if brackets:
        return [(brackets.group(1), brackets.group(2))]
    words = re.split(r"[\s_,]+", name.strip())
    ways = [(" ".join(words[:-count]), " ".join(words[-count:])) for count in range(1, min(5, len(words)))]
    return [(re.sub(r"\s(in|en|em|w)$", "", base), unit) for base, unit in ways]


def _with_unit(guess: _Guess, unit: str) -> _Guess:
    """A guess with the factor of the unit in its header; an unknown unit leaves a doubt."""
    written, factor = UNITS.get(guess.target, {}).get(_folded(unit), ("", 1.0))
    if written:
        return replace(guess, unit=written, factor=factor, said=f"{written}, by the header")
    known = not unit or _folded(unit) == _folded(COLUMNS[guess.target].unit if guess.target in COLUMNS else "")
    return replace(guess, sure=guess.sure and known, said="" if known else f"{unit} is not known here")


def _valued(guess: _Guess, cells: pd.Series) -> _Guess:
    """A guess with what its cells tell: a unit by the median, codes, what means missing."""
    column = COLUMNS.get(guess.target)
    present = cells[cells != ""]
    words = tuple(dict.fromkeys(cell for cell in present if cell.casefold() in MISSING_WORDS))
    if column is None or column.kind in ("id", "path"):
        return guess
    present = present[~present.isin(words)]
    if column.kind in NUMBER:
        return _measured(guess, present, words)
    if column.kind == "text" or present.empty or present.isin(column.allowed).all():
        return replace(guess, missing=words)
    values, sure, codes = _codes(guess.target, list(dict.fromkeys(present)))
    unknown = [value for value, code in values.items() if code == "?"]
    taken = ", ".join(f"{value} is {code}" for value, code in values.items())
    said = "" if sure else f"write the code of {', '.join(unknown)}" if unknown else taken
    return replace(guess, values=values, sure=guess.sure and sure, missing=(*words, *codes), said=said)


def _measured(guess: _Guess, present: pd.Series, words: tuple[str, ...]) -> _Guess:
    """A column of numbers: codes for missing, and another unit where the header names none."""
    numbers = pd.to_numeric(present.astype(object), errors="coerce").dropna()
    column = COLUMNS[guess.target]
    odd = [
        code for code in MISSING_CODES if (numbers == code).any() and guess.factor == 1 and not _within(column, code)
    ]
    codes = dict.fromkeys([*odd, *missing_codes(column, numbers)])
    values = numbers[~numbers.isin(list(codes))]
    guess = replace(guess, missing=(*words, *(f"{code:g}" for code in codes)))
    unit = likely_unit(guess.target, values) if not guess.unit else None
    median = f"median {values.median():g}" if len(values) else "no number"
    if unit is None:
        return replace(guess, said=", ".join(filter(None, [guess.said, median])))
    said = f"{median}, as in {unit.name}"
    return replace(guess, sure=False, factor=unit.factor or 1.0, unit=unit.name, said=said)


def _within(column: object, value: float) -> bool:
    return (column.low is None or value >= column.low) and (column.high is None or value <= column.high)


def _codes(target: str, found: list[str]) -> tuple[dict[str, str], bool, list[str]]:
    """The code of each value, whether all are certain, and numbers among them that mean missing."""
    missing = [value for value in found if re.fullmatch(r"-?9+|-1", value)]
    found = sorted(value for value in found if value not in missing)
    values, sure = {}, True
    for value in found:
        word = value.casefold()
        if target == "sex":
            code = "M" if word in WORDS["male"] else "F" if word in WORDS["female"] else CODES_OF_SEX.get(value)
            code = "M" if value == "1" and "0" in found else code
            sure &= not value.isdigit()
        elif target == "location":
            code = LOCATIONS.get(_folded(value))
        elif {"1", "2"} >= set(found):
            code, sure = CODES_OF_YES.get(value), False
        else:
            code = (
                value if value in ("0", "1") else "1" if word in WORDS["yes"] else "0" if word in WORDS["no"] else None
            )
        values[value] = code or "?"
        sure &= code is not None
    return values, sure, missing


def _split_missing(guesses: list[_Guess], table: pd.DataFrame) -> tuple[list[_Guess], list[str]]:
    """Codes for missing that no other column has as a value become common to all; others stay with their column."""
    numbers = {
        guess.name: pd.to_numeric(table[guess.name].astype(object), errors="coerce")
        for guess in guesses
        if guess.target in COLUMNS and COLUMNS[guess.target].kind not in ("id", "path", "text")
    }

    def possible(code: str, guess: _Guess) -> bool:
        values = numbers.get(guess.name, pd.Series(dtype=float)).dropna()
        code_number = pd.to_numeric(code, errors="coerce")
        values = values[values != code_number]
        is_value = guess.name in numbers and (numbers[guess.name] == code_number).any()
        return code not in guess.missing and bool(is_value) and len(values) > 0 and not pd.isna(code_number)

    every = dict.fromkeys(code for guess in guesses for code in guess.missing)
    common = [code for code in every if not any(possible(code, guess) for guess in guesses)]
    own = [replace(g, missing=tuple(code for code in g.missing if code not in common)) for g in guesses]
    return own, common


def _line(guess: _Guess) -> str:
    """One line of the mapping with its comment."""
    parts = {"column": guess.target}
    if guess.values:
        parts["values"] = (
            "{" + ", ".join(f"{_scalar(value)}: {_scalar(code)}" for value, code in guess.values.items()) + "}"
        )
    if guess.factor != 1:
        parts["factor"] = factor_text(guess.factor)
    if guess.missing:
        parts["missing"] = f"[{', '.join(map(_scalar, guess.missing))}]"
    told = "{" + ", ".join(f"{key}: {value}" for key, value in parts.items()) + "}" if len(parts) > 1 else guess.target
    said = f"{guess.said}{'' if guess.sure else '?'}" if guess.said or not guess.sure else ""
    return f"{_scalar(guess.name)}: {told}" + (f"  # {' '.join(said.split())}" if said else "")


def _scalar(text: str) -> str:
    """A text as YAML reads it again."""
    plain = (
        re.fullmatch(r"[\w.-]+( [\w.-]+)*", text)
        and not text.startswith(("-", "."))
        and text not in ("missing", "keep", "ignore", "columns")
    )
    return text if plain or re.fullmatch(r"-\d+(\.\d+)?", text) else json.dumps(text, ensure_ascii=False)
