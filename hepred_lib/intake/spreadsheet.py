"""A hospital's table in the manifest's columns: a small YAML says which column is which, in which unit and code.

=====================================================  ================================================================
``age_years: age``                                     a column under the name of the manifest
``glucose: {column: glucose_mmol_l, factor: 0.0555}``  in another unit: every value is multiplied
``sex: {1: M, 2: F}``                                  other codes, in a column that keeps its name
``m_w: {column: sex, values: {m: M, w: F}}``           both; ``missing: [9]`` is possible here too, for this column
``missing: [999, -9, NA]``                             what means missing, in all columns but the identifiers
``keep: [ward]``                                       columns that the rules do not know and the manifest shall have
``ignore: [age_at_death]``                             columns to leave out without a note
=====================================================  ================================================================

The lines may be under ``columns:`` too, where a column of the table is called missing, keep or ignore. Columns that
neither the mapping nor the rules name are left out, so that no name or hospital number passes unseen.
"""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import pandas as pd
import yaml

from hepred_lib.cohort.cells import Cells, near_names
from hepred_lib.cohort.rules import (
    COLUMNS,
    MISSING_CODES,
    MISSING_WORDS,
    WORDS,
    ManifestError,
    Problem,
    factor_text,
    likely_unit,
    missing_codes,
)
from hepred_lib.imaging.nifti import UnreadableError, regular_bytes
from hepred_lib.literal import shown
from hepred_lib.study.definition import AliasError, require_plain
from hepred_lib.study.files import write_table

# --- spreadsheet: A hospital's table in the manifest's columns: a small YAML says which column is which, in which

LARGEST_BYTES = 200_000
HOSPITAL_NUMBER = "dicom_patient_id"  # of the clinical table of an import; never in a manifest
IDENTIFIERS = ("patient_id", HOSPITAL_NUMBER)
TARGETS = (*COLUMNS, HOSPITAL_NUMBER)
LISTS = ("missing", "keep", "ignore")
FORM = "be YAML of the form their_column: our_column"
PARTS = ("column", "factor", "values", "missing")


@dataclass(frozen=True)
class Source:
    """What becomes of one column of the table."""

    name: str
    target: str
    factor: float | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnMapping:
    """A mapping as it was read; ``file`` is the name of its file, for messages."""

    file: str
    sources: tuple[Source, ...] = ()
    missing: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


def load_mapping(path: str | os.PathLike) -> ColumnMapping:
    """Read a mapping.

    Raises
    ------
    ManifestError
        If the file is no such mapping: the line, the key and what is required, in one line.
    """
    path = Path(path)
    lines = _top(path)
    lists = {name: _texts(path, name, lines.pop(name)) for name in LISTS if name in lines and _is_list(lines[name])}
    if "columns" in lines and isinstance(lines["columns"], dict):
        lines |= lines.pop("columns")
    sources = tuple(_source(path, name, told) for name, told in lines.items())
    by_target: dict[str, str] = {}
    for source in sources:
        twin = by_target.setdefault(source.target, source.name)
        if twin != source.name:
            raise _error(path, source.name, f"be the only one for {source.target}", f"{twin} too")
    return ColumnMapping(path.name, sources, **lists)


def apply_mapping(cells: Cells, mapping: ColumnMapping) -> Cells:
    """The table in the manifest's columns; what does not fit the mapping is a problem with its line.

    Columns that the mapping does not name pass where the rules know them, and are left out (and noted) otherwise.
    """
    if cells.table is None:
        return cells
    known = {source.name: source for source in mapping.sources}
    problems = _unknown_columns(cells, mapping)
    columns: dict[str, pd.Series] = {}
    emptied: dict[str, int] = {}
    near = near_names(cells.table, TARGETS)  # they pass, to be refused by their spelling instead of being left out
    for name in cells.table:
        passing = name in TARGETS or name in near or name in mapping.keep
        source = known.get(name) or (Source(name, name) if passing and name not in mapping.ignore else None)
        if source is not None and source.target in columns:
            remedy = f"Name {name} under ignore if it is the wrong one"
            problems.append(_fault(mapping, source.target, "come from one column", f"{name} too", remedy))
        elif source is not None:
            columns[source.target], found = _column(cells, source, mapping, emptied)
            problems += found
    used = {*known, *columns, *mapping.ignore}
    left_out = [name for name in cells.table if name not in used]
    notes = [f"mapped by {mapping.file}"]
    if emptied:
        notes.append(f"missing: {', '.join(f'{code} in {count} cells' for code, count in emptied.items())}")
    if left_out:
        notes.append(f"left out (not in the mapping): {', '.join(left_out)}")
    return replace(
        cells,
        table=pd.DataFrame(columns, index=cells.table.index),
        problems=[*cells.problems, *problems],
        notes=[*cells.notes, *notes],
    )


def write_manifest(cells: Cells, path: str | os.PathLike) -> None:
    """Write cells as a manifest: UTF-8, commas, paths from its own folder, without the hospital's numbers.

    Raises
    ------
    ManifestError
        If it would replace the table that it is made of, or cannot be written.
    """
    path = Path(path)
    if path.resolve() == cells.path.resolve():
        raise ManifestError(f"the mapped manifest must be another file than the table, got {path}.")
    table = cells.table.drop(columns=HOSPITAL_NUMBER, errors="ignore")
    for name in [name for name in table if name in COLUMNS and COLUMNS[name].kind == "path"]:
        table[name] = [_relative(cell, cells.path.parent, path.parent) for cell in table[name]]
    try:
        write_table(path, table)
    except OSError as error:
        raise ManifestError(f"{path} must be a file that can be written, got {error.strerror}.") from error


def _relative(cell: str, old: Path, new: Path) -> str:
    """A path of a cell as seen from another folder; an absolute one stays."""
    return cell if not cell or os.path.isabs(cell) else os.path.relpath(old.resolve() / cell, new.resolve())


def _top(path: Path) -> dict:
    """The mapping's keys and values as text."""
    try:
        content = regular_bytes(path, LARGEST_BYTES)
        text = content.decode("utf-8-sig")
        require_plain(text, yaml.BaseLoader)
        told = _plain(path, yaml.compose(text, Loader=yaml.BaseLoader), 0)
    except FileNotFoundError as error:
        raise ManifestError(f"cannot read the mapping {path}: {error.strerror}.") from error
    except UnreadableError as error:
        raise ManifestError(f"{path.name} must be a small mapping, got {error}.") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path.name} must be UTF-8 text, got byte 0x{content[error.start]:02x}.") from error
    except AliasError as error:
        raise ManifestError(f"{path.name} must say everything in full, got an alias (*).") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" on line {mark.line + 1}" if mark else ""
        words = getattr(error, "problem", None) or getattr(error, "reason", None) or "a structure that is too deep"
        raise ManifestError(f"{path.name} must {FORM}, got {words}{where}.") from error
    if not isinstance(told, dict) or not told:
        raise ManifestError(f"{path.name} must {FORM}, got none.")
    return told


def _plain(path: Path, node: yaml.Node | None, depth: int) -> dict | list | str:
    """A YAML node as dicts, lists and texts; a key that is there twice is refused, since YAML would drop the first."""
    if depth > 4:
        raise ManifestError(f"{path.name} must have at most three levels, got more on line {node.start_mark.line + 1}.")
    if isinstance(node, yaml.SequenceNode):
        return [_plain(path, item, depth + 1) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return "" if node is None else node.value.strip()
    told: dict = {}
    for key, value in node.value:
        name = key.value.strip() if isinstance(key, yaml.ScalarNode) else "a list"
        if not isinstance(key, yaml.ScalarNode) or name in told:
            line = key.start_mark.line + 1
            got = f"{shown(name)} again on line {line}"
            raise ManifestError(f"{path.name}: every key must be a text of its own, got {got}.")
        told[name] = _plain(path, value, depth + 1)
    return told


def _is_list(told: object) -> bool:
    return isinstance(told, list) or (isinstance(told, str) and told not in TARGETS)


def _texts(path: Path, key: str, told: object) -> tuple[str, ...]:
    items = [told] if isinstance(told, str) else told
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _error(path, key, "be a list such as [999, NA]", str(told)[:60])
    return tuple(items)


def _source(path: Path, name: str, told: dict | list | str) -> Source:
    """One line of the mapping."""
    if isinstance(told, list):
        raise _error(path, name, "be a name, or {column: ..., factor: ...}", "a list")
    if isinstance(told, str):
        told = {"column": told}
    elif not set(told) & set(PARTS):
        told = {"column": name, "values": told}
    strange = [part for part in told if part not in PARTS]
    if strange:
        got = f"{strange[0]}{_closest(strange[0], PARTS)}"
        raise _error(path, name, f"have no other parts than {', '.join(PARTS)}", got)
    target = told.get("column", name)
    if target not in TARGETS:
        turned = f" (the other way round: {target}: {name})" if name in TARGETS and target else ""
        got = f"{target or 'nothing'}{turned or _closest(str(target), TARGETS)}"
        raise _error(path, name, "lead to a column of the manifest (or be under keep)", got)
    values, factor = told.get("values", {}), told.get("factor")
    if not isinstance(values, dict) or any(not isinstance(code, str) for code in values.values()):
        raise _error(path, name, "have values of the form {1: M, 2: F}", str(values)[:60])
    if values and factor is not None:
        raise _error(path, name, "have values or a factor", "both")
    _require_codes(path, name, target, values)
    missing = _texts(path, name, told.get("missing", []))
    return Source(name, target, None if factor is None else _factor(path, name, target, factor), values, missing)


def read_factor(told: str) -> float:
    """A positive factor: a decimal number or a fraction such as 1/60; NaN for anything else.

    Examples
    --------
    >>> read_factor("0.0555"), read_factor("1/4"), read_factor("0,5")
    (0.0555, 0.25, nan)
    """
    parts = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(?:/(\d{1,9}(?:\.\d{1,9})?))?", told)
    divisor = float(parts.group(2) or 1) if parts else 0.0
    return (float(parts.group(1)) / divisor or math.nan) if divisor else math.nan


def _factor(path: Path, name: str, target: str, told: object) -> float:
    factor = read_factor(told) if isinstance(told, str) else math.nan
    if math.isnan(factor):
        raise _error(path, name, "have a factor > 0, such as 0.0555 or 1/60", str(told)[:40])
    if target not in COLUMNS or COLUMNS[target].kind not in ("number", "integer"):
        raise _error(path, name, "have a factor only for a number", f"one for {target}")
    return factor


def _require_codes(path: Path, name: str, target: str, values: Mapping[str, str]) -> None:
    """The codes that a mapping gives must be those of the rules; an empty one means missing."""
    allowed = COLUMNS[target].allowed if target in COLUMNS else ()
    for told, code in values.items():
        if allowed and code not in (*allowed, ""):
            rule = f"give {' or '.join(allowed)} for each value of {target}"
            raise _error(path, name, rule, f"{told}: {code}{_closest(code, allowed)}")


def _closest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" (closest: {close[0]})" if close and close[0] != name else ""


def _error(path: Path, key: str, rule: str, got: str) -> ManifestError:
    return ManifestError(f"{path.name}: {shown(key)} must {rule}, got {shown(got, 160)}.")


def _fault(mapping: ColumnMapping, key: str, rule: str, got: str, remedy: str = "") -> Problem:
    """A line of the mapping that the table does not fit."""
    return Problem(mapping.file, 0, key, "", rule, got, remedy=remedy)


def _unknown_columns(cells: Cells, mapping: ColumnMapping) -> list[Problem]:
    """Names of the mapping that are no column of the table; the usual cause is a name that is written otherwise."""
    header, problems = list(cells.table), []
    for source in mapping.sources:
        if source.name in header:
            continue
        remedy = f"Its columns are {', '.join(header)[:200]}"
        if source.name in TARGETS and source.target in header:
            remedy = f"Write it the other way round: {source.target}: {source.name}"
        rule = f"be a column of {cells.path.name}"
        problems.append(_fault(mapping, source.name, rule, f"none of that name{_closest(source.name, header)}", remedy))
    for name in (*mapping.keep, *mapping.ignore):
        if name not in header:
            rule = f"be a column of {cells.path.name} (keep and ignore)"
            problems.append(_fault(mapping, name, rule, f"none of that name{_closest(name, header)}"))
    return problems


def _column(
    cells: Cells, source: Source, mapping: ColumnMapping, emptied: dict[str, int]
) -> tuple[pd.Series, list[Problem]]:
    """One column in the manifest's unit and codes; ``emptied`` counts the cells of each code for missing."""
    text = cells.table[source.name]
    problems = []
    if source.target not in IDENTIFIERS:
        for code in dict.fromkeys((*source.missing, *mapping.missing)):
            same = text.map(lambda cell, code=code: _same(cell, code)).astype(bool)
            if same.any():
                if code not in source.missing:
                    problems += _plausible_code(cells, source, mapping, text, same)
                emptied[code] = emptied.get(code, 0) + int(same.sum())
                text = text.mask(same, "")
    if source.values:
        coded = text.map(lambda cell: _coded(cell, source.values))
        for line, cell in text[coded.isna()].items():
            rule = f"be one of the values of {mapping.file} ({', '.join(source.values)})"
            remedy = f"Add its code to the mapping: {source.name}: {{..., {cell}: ...}}"
            at = (cells.path.name, int(line), source.name, _patient(cells, line))
            problems.append(Problem(*at, rule, cell, remedy=remedy))
        text = coded.fillna("").astype("string")
    if source.factor is not None:
        text = text.map(lambda cell: _times(cell, source.factor)).astype("string")
    return text, problems


def _plausible_code(
    cells: Cells, source: Source, mapping: ColumnMapping, text: pd.Series, same: pd.Series
) -> list[Problem]:
    """A warning where a code for missing of all columns lies amid the values of this one, such as 9 in a score."""
    code = pd.to_numeric(text[same].iloc[0], errors="coerce")
    others = pd.to_numeric(text[~same].astype(object), errors="coerce").dropna()
    if pd.isna(code) or others.empty or not others.min() < code < others.max():
        return []
    line = int(text.index[same][0])
    value = f"{text[same].iloc[0]} in {int(same.sum())} rows, amid values from {others.min():g} to {others.max():g}"
    remedy = f"Name it under missing of the other columns alone: their_column: {{column: ..., missing: [{code:g}]}}"
    rule = f"have no possible value among the missing of {mapping.file}"
    return [Problem(cells.path.name, line, source.name, "", rule, value, "warn", remedy)]


def _same(cell: str, code: str) -> bool:
    """Whether a cell is a code: the same text but for case, or the same number (999 is 999.0)."""
    if cell.casefold() == code.casefold():
        return True
    try:
        return float(cell) == float(code)
    except ValueError:
        return False


def _coded(cell: str, values: Mapping[str, str]) -> str | None:
    """The code of a cell; None where the mapping has none."""
    if not cell or cell in values:
        return values.get(cell, "")
    return next((code for value, code in values.items() if _same(cell, value)), None)


def _times(cell: str, factor: float) -> str:
    """A number times a factor; what is no number stays, and breaks the rule of its column."""
    try:
        return f"{float(cell) * factor:.10g}"
    except ValueError:
        return cell


def _patient(cells: Cells, line: int) -> str:
    return str(cells.table.at[line, "patient_id"]) if "patient_id" in cells.table else ""


# --- suggestion: A first mapping from a hospital's own table: names in several languages, units, codes, what see

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
