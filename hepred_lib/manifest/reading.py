"""A manifest from its file: every problem in it, or a clean table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.manifest.labels import label_conflicts
from hepred_lib.manifest.plausibility import doubtful, wrong_throughout
from hepred_lib.manifest.remedies import MISSING_WORDS, WORDS, remedy_for
from hepred_lib.manifest.rules import COLUMNS, PATIENT_ID, Column, ManifestError, Problem
from hepred_lib.manifest.sheet import looks_like_patient
from hepred_lib.manifest.tables import Cells, near_names, read_cells

SHOWN_PROBLEMS = 20
SPOILT_ID = re.compile(
    r"\d{4}-\d\d-\d\d|\d{1,2}-(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])|\d+E\d{2,}", re.I
)
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def manifest_problems(path: str | os.PathLike, *, definition: str = "6ml_or_33pct") -> list[Problem]:
    """Everything wrong in a manifest itself, in the order of its lines; the named files need only exist.

    Raises
    ------
    ValueError
        If the definition of expansion is unknown.
    """
    return cells_problems(read_cells(path), definition=definition)


def cells_problems(cells: Cells, *, definition: str = "6ml_or_33pct") -> list[Problem]:
    """Everything wrong in a manifest of which the cells were read, those of its form included.

    Problems of severity ``warn`` name what follows the rules and yet looks like a code for missing or another unit.

    Raises
    ------
    ValueError
        If the definition of expansion is unknown.
    """
    table, problems = _known_names(cells)
    if table is None:
        return problems
    found = _table_problems(table, cells.path)
    for line, expected in label_conflicts(_typed(table, cells.path.parent), definition).items():
        rule = f"be {expected} by the printed volumes and {definition}"
        remedy = "Correct the label or the volumes; leave he empty to have it computed"
        found.append(Problem("", line, "he", table.at[line, "patient_id"], rule, str(1 - expected), remedy=remedy))
    reported = {(problem.line, problem.column) for problem in problems if problem.severity == "refuse"}
    found = [replace(p, file=cells.path.name) for p in found if (p.line, p.column) not in reported]
    return sorted([*problems, *found], key=lambda problem: problem.line)


def read_manifest(path: str | os.PathLike) -> pd.DataFrame:
    """A manifest as clean columns, every known column present, in the order of the file's rows.

    ``patient_id``, codes, text and paths are strings or missing (paths absolute, from the manifest's own folder); all
    else is float. A column that the rules do not know is float where all its values are numbers.

    Raises
    ------
    ManifestError
        With the problems that forbid its use, one a line: the first 20 and their count.
    """
    cells = read_cells(path)
    table, problems = _known_names(cells)
    if table is not None:
        problems = [*problems, *(replace(p, file=cells.path.name) for p in _table_problems(table, cells.path))]
    refused = [problem for problem in problems if problem.severity == "refuse"]
    if refused:
        raise ManifestError(_listed(sorted(refused, key=lambda problem: problem.line)))
    return _typed(table, cells.path.parent).reset_index(drop=True)


def read_valid_cells(path: str | os.PathLike) -> pd.DataFrame:
    """What can be read of a manifest with faults, indexed by line: a cell that breaks its rule is missing."""
    return valid_cells(read_cells(path))


def valid_cells(cells: Cells) -> pd.DataFrame:
    """What can be read of these cells, indexed by line: one that breaks its rule is missing."""
    table, _ = _known_names(cells)
    empty = pd.DataFrame(columns=["patient_id"], dtype="string")
    return _typed(empty if table is None else table, cells.path.parent)


def _known_names(cells: Cells) -> tuple[pd.DataFrame | None, list[Problem]]:
    """The table under the manifest's own names, and the problems so far with those of the names; None without one."""
    if cells.table is None:
        return None, list(cells.problems)
    file, header, line = cells.path.name, list(cells.table), cells.header_line
    near = {got: known for got, known in near_names(header, COLUMNS).items() if known not in header}
    near = {got: known for got, known in near.items() if list(near.values()).count(known) == 1}
    problems = [
        Problem(
            file, 1, "the header", "", f"spell {known}", got, remedy=f"Rename the column, or map it: {got}: {known}"
        )
        for got, known in near_names(header, COLUMNS).items()
    ]
    for got in header:
        close = get_close_matches(got, COLUMNS, n=1, cutoff=0.9)
        if close and got not in COLUMNS and got not in near and close[0] not in header:
            rule = "have the rules' names, or others that resemble none"
            remedy = f"Rename it to {close[0]} if it is meant"
            problems.append(Problem(file, line, "the header", "", rule, f"{got}, close to {close[0]}", "warn", remedy))
    table = cells.table.rename(columns=near)
    if "patient_id" not in table:
        return None, [*cells.problems, _without_identifier(cells)]
    return table, [*cells.problems, *problems]


def _without_identifier(cells: Cells) -> Problem:
    """The fault of a table without patient_id, with the column that may be meant."""
    header = list(cells.table)
    remedy = (
        "Name the column of the pseudonyms patient_id, or start a mapping by hepred check FILE --suggest-mapping MAP"
    )
    meant = [name for name in header if looks_like_patient(name)]
    if meant:
        remedy = f"Rename {meant[0]}, if it is the pseudonym, or map it: {meant[0]}: patient_id"
    value = f"the header {','.join(header)[:80]}"
    return Problem(cells.path.name, 0, "the table", "", "have a patient_id column", value, remedy=remedy)


def _table_problems(table: pd.DataFrame, path: Path) -> list[Problem]:
    """Broken rules and doubtful values of single columns, then identifiers and splits."""
    problems = []
    for name in table:
        column = COLUMNS.get(name)
        if column is None or column.kind == "text":
            problems += _words_for_missing(table[name], column is not None)
        elif column.kind in ("number", "integer", "binary"):
            problems += _number_problems(table, column)
        else:
            problems += _text_problems(table, column, path)
    return problems + _identity_problems(table)


def _number_problems(table: pd.DataFrame, column: Column) -> Iterator[Problem]:
    """Numbers of one column that break its rule or look like something else."""
    text = table[column.name]
    numbers = _numbers(text)
    follows = _follows(numbers, column)
    throughout = wrong_throughout(column, numbers, follows)
    if throughout is not None:
        yield throughout
    for line in text.index[(text != "") & ~follows]:
        if throughout is None or np.isnan(numbers[line]):
            value = text[line][:80]
            remedy = remedy_for(column, value)
            patient = str(table.at[line, "patient_id"])
            yield Problem("", int(line), column.name, patient, column.requirement, value, remedy=remedy)
    if throughout is None:
        yield from doubtful(column, numbers.where(follows))


def _text_problems(table: pd.DataFrame, column: Column, path: Path) -> Iterator[Problem]:
    """Identifiers, codes and paths of one column that break its rule."""
    text = table[column.name]
    if column.kind == "id":
        wrong = ~text.str.fullmatch(PATIENT_ID)
    elif column.kind == "path":
        wrong = pd.Series([cell != "" and not os.path.isfile(path.parent / cell) for cell in text.tolist()], text.index)
    else:
        wrong = (text != "") & ~text.isin(column.allowed)
    for line, value in text[wrong].items():
        patient = "" if column.kind == "id" else str(table.at[line, "patient_id"])
        remedy = remedy_for(column, value) if value else ""
        value = value[:80] or "nothing"
        yield Problem("", int(line), column.name, patient, column.requirement, value, remedy=remedy)


def _words_for_missing(text: pd.Series, known: bool) -> Iterator[Problem]:
    """Words for missing in a text column, which make one more group, or make text of a column of numbers."""
    words = text[text.str.casefold().isin(MISSING_WORDS)]
    rest = text[(text != "") & ~text.index.isin(words.index)]
    if words.empty or not (known or _numbers(rest).notna().all()):
        return
    value = f"{words.iloc[0]} in {len(words)} row{'s'[: len(words) != 1]}"
    remedy = "Leave the cell empty where the value is not known"
    yield Problem("", int(words.index[0]), str(text.name), "", "name no word for missing", value, "warn", remedy)


def _follows(numbers: pd.Series, column: Column) -> pd.Series:
    """Whether numbers are finite, in range, and whole where the column asks for it."""
    good = pd.Series(np.isfinite(numbers), index=numbers.index)
    if column.low is not None:
        good &= numbers >= column.low
    if column.high is not None:
        good &= numbers <= column.high
    return good & (numbers == numbers.round()) if column.kind in ("integer", "binary") else good


def _doubtful_names(names: pd.Series) -> Iterator[Problem]:
    """Identifiers that a spreadsheet has changed, and rows that are of no patient."""
    words = names.str.casefold()
    for line in names.index[names.str.fullmatch(SPOILT_ID) | words.isin(WORDS["summary"] | MISSING_WORDS)]:
        name = names[line]
        rule, severity, remedy = "be a pseudonym", "warn", "Give the patient a pseudonym"
        value = f"{name}, a word for missing"
        if words[line] in WORDS["summary"]:
            severity, value, remedy = "refuse", f"{name}, as in a row of summaries", "Delete the row"
        elif words[line] not in MISSING_WORDS:
            value = f"{name}, which looks like a date or a long number"
            remedy = "A spreadsheet may have changed it: format the column as text"
        yield Problem("", int(line), "patient_id", name, rule, value, severity, remedy)


def _identity_problems(cells: pd.DataFrame) -> list[Problem]:
    """Patients that are there twice, in both splits, or outside a split that others have."""
    problems = []
    problems += _doubtful_names(cells["patient_id"])
    twice = cells["patient_id"].duplicated(keep=False) & (cells["patient_id"] != "")
    for patient, rows in cells[twice].groupby("patient_id"):
        first, *again = rows.index
        once = "Keep one row per patient, or give two patients two pseudonyms"
        problems += [
            Problem("", k, "patient_id", patient, "be unique", f"it on line {first} too", remedy=once) for k in again
        ]
        splits = sorted(set(rows.get("split", "")) - {""})
        if len(splits) > 1:
            value, remedy = " and ".join(splits), "Keep all rows of a patient in one set"
            problems.append(Problem("", again[0], "split", patient, "be one for a patient", value, remedy=remedy))
    if "split" in cells and (cells["split"] != "").any():
        empty = cells.index[cells["split"] == ""]
        rule, remedy = "be given for all patients or for none", "Fill in development or test, or empty the column"
        patients = cells["patient_id"]
        problems += [Problem("", k, "split", patients[k], rule, "nothing", remedy=remedy) for k in empty]
    return problems


def _typed(cells: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Text cells as numbers, absolute paths and strings; cells that break their rule become missing."""
    columns = {}
    no_text, no_number = (pd.Series(np.nan, cells.index, dtype=dtype) for dtype in ("string", float))
    for name in [*COLUMNS, *(name for name in cells.columns if name not in COLUMNS)]:
        kind = COLUMNS[name].kind if name in COLUMNS else "extra"
        if name not in cells:
            columns[name] = no_number if kind in ("number", "integer", "binary") else no_text
            continue
        text = cells[name].mask(cells[name] == "")
        numbers = _numbers(text) if kind in ("number", "integer", "binary", "extra") else None
        if kind == "path":
            columns[name] = text.map(lambda value: os.path.abspath(folder / value), na_action="ignore").astype("string")
        elif numbers is None or (kind == "extra" and not numbers.notna().equals(text.notna())):
            columns[name] = text
        else:
            columns[name] = numbers.where(_follows(numbers, COLUMNS[name])) if name in COLUMNS else numbers
    return pd.DataFrame(columns, index=cells.index)


def _numbers(text: pd.Series) -> pd.Series:
    """Plain decimal numbers; NaN for whatever else Python would read as one (inf, 1_000, digits of other scripts)."""
    values = [float(cell) if isinstance(cell, str) and NUMBER.fullmatch(cell) else np.nan for cell in text.tolist()]
    return pd.Series(values, index=text.index, dtype=float)


def _listed(problems: list[Problem]) -> str:
    shown = [str(problem) for problem in problems[:SHOWN_PROBLEMS]]
    rest = len(problems) - len(shown)
    return "\n".join([*shown, *([f"... and {rest} more, {len(problems)} in all."] if rest else [])])
