"""A manifest from its file: every problem in it, or a clean table."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.manifest.labels import label_conflicts
from hepred_lib.manifest.rules import COLUMNS, PATIENT_ID, Column, ManifestError, Problem

SHOWN_PROBLEMS = 20


def manifest_problems(path: str | os.PathLike, *, definition: str = "6ml_or_33pct") -> list[Problem]:
    """Everything wrong in a manifest itself, in the order of its lines; the named files need only exist.

    Raises
    ------
    ValueError
        If the definition of expansion is unknown.
    """
    path = Path(path)
    cells, problems = _read_cells(path)
    if cells is None:
        return problems
    problems += _table_problems(cells, path)
    for line, expected in label_conflicts(_typed(cells, path.parent), definition).items():
        rule = f"be {expected} by the printed volumes and {definition}"
        problems.append(Problem(path.name, line, "he", cells.at[line, "patient_id"], rule, str(1 - expected)))
    return sorted(problems, key=lambda problem: problem.line)


def read_manifest(path: str | os.PathLike) -> pd.DataFrame:
    """A manifest as clean columns, every known column present, in the order of the file's rows.

    ``patient_id``, codes, text and paths are strings or missing (paths absolute, from the manifest's own folder); all
    else is float. A column that the rules do not know is float where all its values are numbers.

    Raises
    ------
    ManifestError
        With the problems, one a line: the first 20 and their count.
    """
    path = Path(path)
    cells, problems = _read_cells(path)
    if cells is not None:
        problems += _table_problems(cells, path)
    if problems:
        raise ManifestError(_listed(sorted(problems, key=lambda problem: problem.line)))
    return _typed(cells, path.parent).reset_index(drop=True)


def read_valid_cells(path: str | os.PathLike) -> pd.DataFrame:
    """What can be read of a manifest with faults, indexed by line: a cell that breaks its rule is missing."""
    cells, _ = _read_cells(Path(path))
    return _typed(pd.DataFrame(columns=["patient_id"], dtype="string") if cells is None else cells, Path(path).parent)


def _read_cells(path: Path) -> tuple[pd.DataFrame | None, list[Problem]]:
    """The cells as stripped text, indexed by line; None where the file has no table to look at."""

    def whole_file(rule: str, value: str) -> tuple[None, list[Problem]]:
        return None, [Problem(path.name, 0, "the manifest", "", rule, value)]

    try:
        rows = _rows(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return whole_file("be UTF-8 text", f"byte 0x{error.object[error.start]:02x} on line {line}")
    except csv.Error as error:
        return whole_file("be a comma-separated table", str(error))
    except OSError as error:
        return whole_file("be a readable file", f"{error.strerror} at {path}")
    header = rows.pop(next(iter(rows))) if rows else []
    if not header:
        return whole_file("have a header and one row a patient", "an empty file")
    if "patient_id" not in header:
        return whole_file("have a patient_id column", f"the header {','.join(header)[:80]}")
    if len(set(header)) < len(header) or "" in header:
        return whole_file("have a different name for every column", f"the header {','.join(header)}")
    if not rows:
        return whole_file("have one row a patient", "a header alone")
    problems = _misspelt(header, path.name)
    for line in [line for line, row in rows.items() if len(row) != len(header)]:
        got = str(len(rows.pop(line)))
        problems.append(Problem(path.name, line, "the row", "", f"have {len(header)} cells, as the header", got))
    return pd.DataFrame.from_dict(rows, orient="index", columns=header, dtype="string"), problems


def _rows(text: str) -> dict[int, list[str]]:
    """Stripped cells by line number, without empty lines."""
    reader = csv.reader(StringIO(text, newline=""))
    rows = {}
    for row in reader:
        if any(row):
            rows[reader.line_num] = [cell.strip() for cell in row]
    return rows


def _table_problems(cells: pd.DataFrame, path: Path) -> list[Problem]:
    """Broken rules of single columns, then of identifiers and splits."""
    known = [COLUMNS[name] for name in cells.columns if name in COLUMNS]
    single = [problem for column in known for problem in _cell_problems(cells, column, path)]
    return single + _identity_problems(cells, path.name)


def _misspelt(header: list[str], file: str) -> list[Problem]:
    """Columns that differ from a known one only by case, blanks or hyphens would silently be ignored."""
    spelt = {name: name.lower().replace(" ", "_").replace("-", "_") for name in header}
    return [
        Problem(file, 1, "the header", "", f"spell {known}", name)
        for name, known in spelt.items()
        if known in COLUMNS and name != known
    ]


def _cell_problems(cells: pd.DataFrame, column: Column, path: Path) -> Iterator[Problem]:
    """Cells of one column that break its rule."""
    text = cells[column.name]
    present = text != ""
    if column.kind == "id":
        wrong = ~text.str.fullmatch(PATIENT_ID)
    elif column.kind == "path":
        wrong = present & ~text.map(lambda name: os.path.isfile(path.parent / name)).astype(bool)
    elif column.kind == "code":
        wrong = present & ~text.isin(column.allowed)
    elif column.kind == "text":
        return
    else:
        wrong = present & ~_follows(_numbers(text), column)
    for line, value in text[wrong].items():
        patient = "" if column.kind == "id" else str(cells.at[line, "patient_id"])
        yield Problem(path.name, int(line), column.name, patient, column.requirement, value[:80] or "nothing")


def _follows(numbers: pd.Series, column: Column) -> pd.Series:
    """Whether numbers are finite, in range, and whole where the column asks for it."""
    good = pd.Series(np.isfinite(numbers), index=numbers.index)
    if column.low is not None:
        good &= numbers >= column.low
    if column.high is not None:
        good &= numbers <= column.high
    return good & (numbers == numbers.round()) if column.kind in ("integer", "binary") else good


def _identity_problems(cells: pd.DataFrame, file: str) -> list[Problem]:
    """Patients that stand twice, in both splits, or outside a split that others have."""
    problems = []
    twice = cells["patient_id"].duplicated(keep=False) & (cells["patient_id"] != "")
    for patient, rows in cells[twice].groupby("patient_id"):
        first, *again = rows.index
        problems += [Problem(file, k, "patient_id", patient, "be unique", f"it on line {first} too") for k in again]
        splits = sorted(set(rows.get("split", "")) - {""})
        if len(splits) > 1:
            problems.append(Problem(file, again[0], "split", patient, "be one for a patient", " and ".join(splits)))
    if "split" in cells and (cells["split"] != "").any():
        empty = cells.index[cells["split"] == ""]
        rule = "be given for all patients or for none"
        problems += [Problem(file, k, "split", cells.at[k, "patient_id"], rule, "nothing") for k in empty]
    return problems


def _typed(cells: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Text cells as numbers, absolute paths and strings; cells that break their rule become missing."""
    columns = {}
    for name in [*COLUMNS, *(name for name in cells.columns if name not in COLUMNS)]:
        text = cells[name] if name in cells else pd.Series("", index=cells.index, dtype="string")
        text = text.mask(text == "")
        kind = COLUMNS[name].kind if name in COLUMNS else "extra"
        numbers = _numbers(text) if kind in ("number", "integer", "binary", "extra") else None
        if kind == "path":
            columns[name] = text.map(lambda value: os.path.abspath(folder / value), na_action="ignore").astype("string")
        elif numbers is None or (kind == "extra" and not numbers.notna().equals(text.notna())):
            columns[name] = text
        else:
            columns[name] = numbers.where(_follows(numbers, COLUMNS[name])) if name in COLUMNS else numbers
    return pd.DataFrame(columns, index=cells.index)


def _numbers(text: pd.Series) -> pd.Series:
    return pd.to_numeric(text.astype(object), errors="coerce").astype(float)


def _listed(problems: list[Problem]) -> str:
    shown = [str(problem) for problem in problems[:SHOWN_PROBLEMS]]
    rest = len(problems) - len(shown)
    return "\n".join([*shown, *([f"... and {rest} more, {len(problems)} in all."] if rest else [])])
