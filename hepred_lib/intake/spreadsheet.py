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

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import pandas as pd
import yaml

from hepred_lib.literal import shown
from hepred_lib.manifest import COLUMNS, Cells, ManifestError, Problem, near_names
from hepred_lib.plain_yaml import AliasError, require_plain
from hepred_lib.regular_file import UnreadableError, regular_bytes
from hepred_lib.study import write_table

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
