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
    OLD_NAMES,
    PATHS,
    WORDS,
    Problem,
    factor_text,
    likely_unit,
    located,
    missing_codes,
)
from hepred_lib.disk import regular_bytes
from hepred_lib.errors import ManifestError
from hepred_lib.literal import shown
from hepred_lib.study.definition import AliasError, require_plain
from hepred_lib.study.files import write_table

LARGEST_BYTES = 200_000
HOSPITAL_NUMBER = "dicom_patient_id"  # of the clinical table of an import; never in a manifest
IDENTIFIERS = ("patient_id", HOSPITAL_NUMBER)
TARGETS = (*COLUMNS, HOSPITAL_NUMBER, *OLD_NAMES)
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


def plain_yaml(path: Path, form: str) -> dict | list | str:
    """A small YAML file as dicts, lists and texts: words such as yes and no, and numbers, stay as they are written.

    Parameters
    ----------
    path : Path
    form : str
        What it must be, for messages: the words after "must".

    Raises
    ------
    ManifestError
        The file cannot be read, is no such YAML, is nested deeply, uses aliases, or has a key twice.
    """
    try:
        content = regular_bytes(path, LARGEST_BYTES)
        text = content.decode("utf-8-sig")
        require_plain(text, yaml.BaseLoader)
        return _plain(path, yaml.compose(text, Loader=yaml.BaseLoader), 0)
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path.name} must be UTF-8 text, got byte 0x{content[error.start]:02x}.") from error
    except AliasError as error:
        raise ManifestError(f"{path.name} must say everything in full, got an alias (*).") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        words = getattr(error, "problem", None) or getattr(error, "reason", None) or "a structure that is too deep"
        raise ManifestError(
            f"{path.name} must {form}, got {words}{f' on line {mark.line + 1}' if mark else ''}."
        ) from error


def _plain(path: Path, node: yaml.Node | None, depth: int) -> dict | list | str:
    """A YAML node; a key that is there twice is refused, since YAML would drop the first."""
    if node is None:
        return ""
    if depth > 4:
        raise ManifestError(f"{path.name} must have at most three levels, got more on line {node.start_mark.line + 1}.")
    if isinstance(node, yaml.SequenceNode):
        return [_plain(path, item, depth + 1) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return node.value.strip()
    told: dict = {}
    for key, value in node.value:
        name = key.value.strip() if isinstance(key, yaml.ScalarNode) else None
        if name is None or name in told:
            got = f"{shown(name or 'a list')} again on line {key.start_mark.line + 1}"
            raise ManifestError(f"{path.name}: every key must be a text of its own, got {got}.")
        told[name] = _plain(path, value, depth + 1)
    return told


def load_mapping(path: str | os.PathLike) -> ColumnMapping:
    """Read a mapping.

    Raises
    ------
    ManifestError
        If the file is no such mapping: the line, the key and what is required, in one line.
    """
    path = Path(path)
    lines = plain_yaml(path, FORM)
    if not isinstance(lines, dict) or not lines:
        raise ManifestError(f"{path.name} must {FORM}, got none.")
    # A column of the table may be called missing, keep or ignore too: then its target follows.
    listed = [
        name for name in LISTS if name in lines and not isinstance(lines[name], dict) and lines[name] not in TARGETS
    ]
    lists = {name: _texts(path, name, lines.pop(name)) for name in listed}
    if isinstance(lines.get("columns"), dict):
        lines |= lines.pop("columns")
    sources: dict[str, Source] = {}
    for name, told in lines.items():
        source = _source(path, name, told)
        twin = sources.setdefault(source.target, source)
        if twin is not source:
            raise _error(path, name, f"be the only one for {source.target}", f"{twin.name} too")
    return ColumnMapping(path.name, tuple(sources.values()), **lists)


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
    for part in [part for part in told if part not in PARTS]:
        raise _error(path, name, f"have no other parts than {', '.join(PARTS)}", f"{part}{_closest(part, PARTS)}")
    target = told.get("column", name)
    if target not in TARGETS:
        turned = f" (the other way round: {target}: {name})" if name in TARGETS and target else ""
        got = f"{target or 'nothing'}{turned or _closest(str(target), TARGETS)}"
        raise _error(path, name, "lead to a column of the manifest (or be under keep)", got)
    target = OLD_NAMES.get(target, target)
    values, column = told.get("values", {}), COLUMNS.get(target)
    if not isinstance(values, dict) or any(not isinstance(code, str) for code in values.values()):
        raise _error(path, name, "have values of the form {1: M, 2: F}", str(values)[:60])
    for value, code in values.items():
        if column and column.allowed and code not in (*column.allowed, ""):
            rule = f"give {' or '.join(column.allowed)} for each value of {target}"
            raise _error(path, name, rule, f"{value}: {code}{_closest(code, column.allowed)}")
    missing = _texts(path, name, told.get("missing", []))
    return Source(name, target, _factor(path, name, target, told) if "factor" in told else None, values, missing)


def _factor(path: Path, name: str, target: str, told: Mapping[str, object]) -> float:
    factor = read_factor(told["factor"]) if isinstance(told["factor"], str) else math.nan
    if told.get("values"):
        raise _error(path, name, "have values or a factor", "both")
    if math.isnan(factor):
        raise _error(path, name, "have a factor > 0, such as 0.0555 or 1/60", str(told["factor"])[:40])
    if target not in COLUMNS or COLUMNS[target].kind not in ("number", "integer"):
        raise _error(path, name, "have a factor only for a number", f"one for {target}")
    return factor


def read_factor(told: str) -> float:
    """A positive factor: a decimal number or a fraction such as 1/60; NaN for anything else.

    Examples
    --------
    >>> read_factor("0.0555"), read_factor("1/4"), read_factor("0,5")
    (0.0555, 0.25, nan)
    """
    parts = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(?:/(\d{1,9}(?:\.\d{1,9})?))?", told)
    divisor = float(parts[2] or 1) if parts else 0.0
    return (float(parts[1]) / divisor or math.nan) if parts and divisor else math.nan


def _closest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" (closest: {close[0]})" if close and close[0] != name else ""


def _error(path: Path, key: str, rule: str, got: str) -> ManifestError:
    return ManifestError(f"{path.name}: {shown(key)} must {rule}, got {shown(got, 160)}.")


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
            problem = Problem(source.target, "come from one column", f"{name} too", remedy, file=mapping.file)
            problems.append(problem)
        elif source is not None:
            columns[source.target], found = _column(cells.table[name], source, mapping, emptied)
            problems += located(found, cells.path.name, cells.table.get("patient_id"))
    left_out = [name for name in cells.table if name not in {*known, *columns, *mapping.ignore}]
    notes = [*cells.notes, f"mapped by {mapping.file}"]
    if emptied:
        notes.append(f"missing: {', '.join(f'{code} in {count} cells' for code, count in emptied.items())}")
    if left_out:
        notes.append(f"left out (not in the mapping): {', '.join(left_out)}")
    table = pd.DataFrame(columns, index=cells.table.index)
    return replace(cells, table=table, problems=[*cells.problems, *problems], notes=notes)


def _unknown_columns(cells: Cells, mapping: ColumnMapping) -> list[Problem]:
    """Names of the mapping that are no column of the table; the usual cause is a name that is written otherwise."""
    header, problems = list(cells.table), []
    for name in [*(source.name for source in mapping.sources), *mapping.keep, *mapping.ignore]:
        if name in header:
            continue
        target = next((source.target for source in mapping.sources if source.name == name), None)
        rule = f"be a column of {cells.path.name}{' (keep and ignore)' * (target is None)}"
        remedy = f"Its columns are {', '.join(header)[:200]}"
        if name in TARGETS and target in header:
            remedy = f"Write it the other way round: {target}: {name}"
        got = f"none of that name{_closest(name, header)}"
        problems.append(Problem(name, rule, got, remedy, file=mapping.file))
    return problems


def _column(
    text: pd.Series, source: Source, mapping: ColumnMapping, emptied: dict[str, int]
) -> tuple[pd.Series, list[Problem]]:
    """One column in the manifest's unit and codes; ``emptied`` counts the cells of each code for missing."""
    problems = []
    for code in dict.fromkeys((*source.missing, *mapping.missing)) if source.target not in IDENTIFIERS else ():
        same = text.map(lambda cell, code=code: _same(cell, code)).astype(bool)
        if same.any():
            if code not in source.missing:
                problems += _plausible_code(text, same, source, mapping)
            emptied[code] = emptied.get(code, 0) + int(same.sum())
            text = text.mask(same, "")
    if source.values:
        coded = text.map(lambda cell: _coded(cell, source.values))
        for line, cell in text[coded.isna()].items():
            rule = f"be one of the values of {mapping.file} ({', '.join(source.values)})"
            remedy = f"Add its code to the mapping: {source.name}: {{..., {cell}: ...}}"
            problems.append(Problem(source.name, rule, cell, remedy, line=int(line)))
        text = coded.fillna("").astype("string")
    if source.factor is not None:
        text = text.map(lambda cell: _times(cell, source.factor)).astype("string")
    return text, problems


def _plausible_code(text: pd.Series, same: pd.Series, source: Source, mapping: ColumnMapping) -> list[Problem]:
    """A warning where a code for missing of all columns lies amid the values of this one, such as 9 in a score."""
    code = pd.to_numeric(text[same].iloc[0], errors="coerce")
    others = pd.to_numeric(text[~same].astype(object), errors="coerce").dropna()
    if pd.isna(code) or others.empty or not others.min() < code < others.max():
        return []
    value = f"{text[same].iloc[0]} in {int(same.sum())} rows, amid values from {others.min():g} to {others.max():g}"
    remedy = f"Name it under missing of the other columns alone: their_column: {{column: ..., missing: [{code:g}]}}"
    rule = f"have no possible value among the missing of {mapping.file}"
    return [Problem(source.name, rule, value, remedy, "warn", int(text.index[same][0]))]


def _same(cell: str, code: str) -> bool:
    """Whether a cell is a code: the same text but for case, or the same number (999 is 999.0)."""
    try:
        return cell.casefold() == code.casefold() or float(cell) == float(code)
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
    old, new = cells.path.parent.resolve(), path.parent.resolve()
    table = cells.table.drop(columns=HOSPITAL_NUMBER, errors="ignore")
    for name in table.columns.intersection(PATHS):
        moved = table[name].map(lambda cell: cell if os.path.isabs(cell) else os.path.relpath(old / cell, new))
        table[name] = moved.where(table[name] != "", "")
    try:
        write_table(path, table)
    except OSError as error:
        raise ManifestError(f"{path} must be a file that can be written, got {error.strerror}.") from error


# --- a first mapping from a hospital's own table: names in several languages, units, codes, what seems to be missing


def _folded(name: str) -> str:
    """Letters and digits without accents, in lower case."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).replace("µ", "u").replace("μ", "u"))
    return "".join(filter(str.isalnum, plain.casefold()))


_TOLD = yaml.load(Path(__file__).with_name("synonyms.yaml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
SYNONYMS = {_folded(word): target for target, words in _TOLD["columns"].items() for word in [target, *words]}
LOCATIONS = {_folded(word): code for code, words in _TOLD["locations"].items() for word in [code, *words]}
UNITS = {
    target: {_folded(unit): (unit, read_factor(factor)) for unit, factor in units.items()}
    for target, units in _TOLD["units"].items()
}
IDENTIFYING = frozenset(_TOLD["identifying"])
LEFT_OUT = {"date", "datum", "fecha", "data", "time", "uhrzeit", "zeitpunkt", "mrs", "death", "tod", "90d", "discharge"}
LONGEST_NAME = 300  # signs; more are no name
FEWEST_LETTERS = 4


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
    table = cells.table
    if table is None:
        raise ManifestError("\n".join(map(str, cells.problems)))
    found: dict[str, _Guess] = {}  # one for every target at most, the sure ones first served
    for guess in filter(None, map(_named, table)):
        if guess.target not in found or (guess.sure and not found[guess.target].sure):
            found[guess.target] = guess
    named = {guess.name: guess for guess in found.values()}
    lines = [f"# {cells.path.name}: {len(table)} patients. Confirm each line; a line that ends in ? was guessed."]
    if "patient_id" in found and HOSPITAL_NUMBER not in found:
        lines.append("# patient_id must be a pseudonym: the hospital's own number may not stay in a manifest.")
    guesses = [_valued(named[name], table[name]) for name in table if name in named]
    # A word is missing in every column; a number may be a value of another.
    words = dict.fromkeys(code for guess in guesses for code in guess.missing if code.casefold() in MISSING_WORDS)
    lines += [_line(replace(guess, missing=tuple(c for c in guess.missing if c not in words))) for guess in guesses]
    if words:
        lines.append(f"missing: [{', '.join(map(_scalar, words))}]  # seen in the cells; in all columns")
    rest = [name for name in table if name not in named]
    if rest:
        lines.append("ignore:  # left out; map what is meant for the manifest, or list it under keep")
        lines += [f"  - {_scalar(name)}" for name in rest]
    return "\n".join(lines) + "\n"


def _named(name: str) -> _Guess | None:
    """The target of a column's name: the name itself, without its unit, or a known name within it."""
    if len(name) > LONGEST_NAME:
        return None
    ways = [
        (base, unit)
        for base, unit in _without_unit(name)
        if _folded(unit) not in SYNONYMS and not _words_of(unit) & LEFT_OUT
    ]
    for base, unit in [(name, ""), *ways]:
        if _folded(base) in SYNONYMS:
            return _with_unit(_Guess(name, SYNONYMS[_folded(base)], sure=True), unit)
    # The last word is a unit or, as in "known hypertension", the name itself.
    for base, unit in [*ways[:1], (name, "")]:
        if word := _word_within(base):
            return _with_unit(_Guess(name, SYNONYMS[word], sure=False), unit)
    return None


def _word_within(base: str) -> str:
    """The known name that another one is nearly, or contains; one of a patient's identifier after all others."""
    parts, letters = _words_of(base), _folded(base)
    if parts & LEFT_OUT:
        return ""
    near = get_close_matches(letters, SYNONYMS, n=1, cutoff=0.88) if len(letters) > FEWEST_LETTERS else []
    within = [word for word in SYNONYMS if (len(word) > FEWEST_LETTERS and word in letters) or word in parts]
    return (near or [*sorted(within, key=lambda word: (SYNONYMS[word] in IDENTIFIERS, -len(word))), ""])[0]


def _words_of(text: str) -> set[str]:
    return set(re.split(r"[\W_]+", text.casefold()))


def _without_unit(name: str) -> list[tuple[str, str]]:
    """Ways to take a unit off the end of a name: in brackets, or the last one to four words."""
    brackets = re.fullmatch(r"(.+?)[\s_]*[(\[]([^)\]]+)[)\]]\s*", name)
    if brackets:
        return [(brackets[1], brackets[2])]
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
    column, present = COLUMNS.get(guess.target), cells[cells != ""]
    if column is None or column.kind in ("id", "path"):
        return guess
    words = tuple(dict.fromkeys(cell for cell in present if cell.casefold() in MISSING_WORDS))
    present = present[~present.isin(words)]
    if column.kind in ("number", "integer"):
        return _measured(guess, present, words)
    if column.kind == "text" or present.empty or present.isin(column.allowed).all():
        return replace(guess, missing=words)
    codes = [value for value in dict.fromkeys(present) if re.fullmatch(r"-?9+|-1", value)]
    values, sure = _codes(guess.target, sorted(set(present) - set(codes)))
    unknown = ", ".join(value for value, code in values.items() if code == "?")
    taken = ", ".join(f"{value} is {code}" for value, code in values.items())
    said = "" if sure else f"write the code of {unknown}" if unknown else taken
    return replace(guess, values=values, sure=guess.sure and sure, missing=(*words, *codes), said=said)


def _measured(guess: _Guess, present: pd.Series, words: tuple[str, ...]) -> _Guess:
    """A column of numbers: codes for missing, and another unit where the header names none."""
    numbers = pd.to_numeric(present.astype(object), errors="coerce").dropna()
    column = COLUMNS[guess.target]
    odd = [code for code in MISSING_CODES if (numbers == code).any() and not column.low <= code <= column.high]
    codes = dict.fromkeys([*(odd if guess.factor == 1 else []), *missing_codes(column, numbers)])
    values = numbers[~numbers.isin(list(codes))]
    guess = replace(guess, missing=(*words, *(f"{code:g}" for code in codes)))
    unit = likely_unit(guess.target, values) if not guess.unit else None
    median = f"median {values.median():g}" if len(values) else "no number"
    if unit is None:
        return replace(guess, said=", ".join(filter(None, [guess.said, median])))
    said = f"{median}, as in {unit.name}"
    return replace(guess, sure=False, factor=unit.factor or 1.0, unit=unit.name, said=said)


def _codes(target: str, found: list[str]) -> tuple[dict[str, str], bool]:
    """The code of each value (``?`` where none is known), and whether all are certain."""
    if target == "location":
        values = {value: LOCATIONS.get(_folded(value), "?") for value in found}
        return values, "?" not in values.values()
    first, other = ("M", "F") if target == "sex" else ("1", "0")
    words = {"M": WORDS["male"], "F": WORDS["female"], "1": {"1", *WORDS["yes"]}, "0": {"0", *WORDS["no"]}}
    digits = target == "sex" or set(found) <= {"1", "2"}  # as SPSS files have them
    meant = {"1": first, "2": other, "0": other} if digits else {}
    values = {
        v: next((code for code in (first, other) if v.casefold() in words[code]), meant.get(v, "?")) for v in found
    }
    return values, "?" not in values.values() and not (digits and any(map(str.isdigit, found)))


def _line(guess: _Guess) -> str:
    """One line of the mapping with its comment."""
    values = ", ".join(f"{_scalar(value)}: {_scalar(code)}" for value, code in guess.values.items())
    parts = {
        "column": guess.target,
        "values": f"{{{values}}}" if values else "",
        "factor": factor_text(guess.factor) if guess.factor != 1 else "",
        "missing": f"[{', '.join(map(_scalar, guess.missing))}]" if guess.missing else "",
    }
    told = ", ".join(f"{key}: {value}" for key, value in parts.items() if value)
    told = guess.target if told == f"column: {guess.target}" else f"{{{told}}}"
    said = " ".join(f"{guess.said}{'?' * (not guess.sure)}".split())
    return f"{_scalar(guess.name)}: {told}" + (f"  # {said}" if said else "")


def _scalar(text: str) -> str:
    """A text as YAML reads it again."""
    plain = re.fullmatch(r"(?![-.])[\w.-]+( [\w.-]+)*|-\d+(\.\d+)?", text) and text not in (*LISTS, "columns")
    return text if plain else json.dumps(text, ensure_ascii=False)
