"""One reader for every table of patients: the manifest, the clinical table of an import, a hospital's spreadsheet.

A table is read only where each cell certainly belongs to its column. Encodings, separators, decimal commas and Excel
workbooks are understood, and said in ``notes``; what could move or swallow a patient is a problem with its line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pandas as pd

from hepred_lib.manifest.delimited import read_text
from hepred_lib.manifest.invisible import invisible_problems, visible_header
from hepred_lib.manifest.rules import Problem
from hepred_lib.manifest.sheet import SAVE_AS, Sheet, TableError, bare_name, looks_like_patient, patient_of
from hepred_lib.manifest.workbook import read_workbook
from hepred_lib.regular_file import UnreadableError, regular_bytes

LARGEST_MB = 200
OTHER_FILES = (
    (b"\xd0\xcf\x11\xe0", "an old or a protected Excel workbook (.xls)"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PAR1", "a Parquet file"),
    (b"$FL2", "an SPSS file"),
    (b"<stata", "a Stata file"),
    (b"{\\rtf", "an RTF document"),
    (b"<?xml", "an XML file"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not downloaded"),
    (b"{", "a JSON file"),
)
TITLE_ROWS = 10
MOST_COLUMNS = 4000
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:[.,]\d{3})+")  # 1,250 or 1.250: a thousand and more, or one and a quarter


@dataclass(frozen=True)
class Cells:
    """What a file of patients contains, as text.

    Attributes
    ----------
    path : Path
        The file; paths in its cells start from its folder.
    table : DataFrame or None
        Stripped text (dtype string, empty where nothing was written), indexed by the line of the file (the row of a
        worksheet); None where there is nothing to look at.
    problems : list of Problem
        Faults of the form: encoding, quotation marks, rows, header.
    notes : list of str
        What was understood and should be known, such as "264 patients" or "semicolon-separated".
    header_line : int
        The line of the header.
    """

    path: Path
    table: pd.DataFrame | None
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    header_line: int = 1


def read_cells(path: str | os.PathLike) -> Cells:
    """Read a table of patients, whatever program wrote it: CSV of any separator and usual encoding, or .xlsx.

    Nothing that the file contains raises: what is wrong is in ``problems``. ``patient_id`` is not required here, since
    a hospital's table may name it otherwise.
    """
    path = Path(path)
    try:
        content = _content(path)
        sheet = read_workbook(content) if content[:2] == b"PK" else read_text(content)
        problems, notes = list(sheet.problems), list(sheet.notes)
        table, header_problems = _framed(sheet, notes)
        problems += header_problems + invisible_problems(table)
        table, comma_problems = _with_points(table, notes)
    except TableError as fault:
        return Cells(path, None, [fault.problem(path.name)])
    identifier = next((name for name in table if looks_like_patient(name)), None)
    problems = [_placed(problem, path.name, table, identifier) for problem in [*problems, *comma_problems]]
    of_all = "" if len(table) == len(sheet.rows) - 1 else f" in {len(sheet.rows) - 1} rows"
    return Cells(
        path, table, problems, [*notes, f"{len(table)} patient{'s'[: len(table) != 1]}{of_all}"], sheet.lines[0]
    )


def near_names(header: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Names of a header that differ from a known one only by case, blanks, hyphens or camel case, to the known one.

    Examples
    --------
    >>> near_names(["PatientID", "age", "Onset to CT (h)"], ["patient_id", "age", "onset_to_ct_h"])
    {'PatientID': 'patient_id', 'Onset to CT (h)': 'onset_to_ct_h'}
    """
    targets = {bare_name(name): name for name in known}
    return {name: targets[bare_name(name)] for name in header if name != targets.get(bare_name(name), name)}


def _content(path: Path) -> bytes:
    """The bytes of a regular file of a size that a table can have."""
    try:
        content = regular_bytes(path, LARGEST_MB * 1_000_000)
    except FileNotFoundError as error:
        raise TableError("be a readable file", f"{error.strerror} at {path}") from error
    except UnreadableError as error:
        raise TableError("be a readable file", f"{error} at {path}") from error
    start = content[:200].lstrip().lower()
    for signature, kind in OTHER_FILES:
        if start.startswith(signature.lower()):
            raise TableError("be a CSV file or an Excel workbook (.xlsx)", kind, SAVE_AS)
    return content


def _framed(sheet: Sheet, notes: list[str]) -> tuple[pd.DataFrame, list[Problem]]:
    """The table of a sheet: names checked, cells counted."""
    if not sheet.rows:
        raise TableError("have a header and one row per patient", "an empty file")
    header, lines, rows = sheet.rows[0], sheet.lines[1:], sheet.rows[1:]
    if len(header) > MOST_COLUMNS:
        raise TableError(f"have at most {MOST_COLUMNS} columns", str(len(header)), "", sheet.lines[0])
    header, problems = visible_header(header, sheet.lines[0])
    _require_header_first(sheet)
    kept, problems_of_rows = _counted(header, lines, rows, sheet.delimited)
    problems += problems_of_rows
    columns = list(zip(*kept.values(), strict=True)) if kept else [()] * len(header)
    places = _named_columns(header, columns, notes)
    if not rows:
        raise TableError("have one row per patient", "a header alone")
    table = {header[place]: pd.array(list(columns[place]), dtype="string") for place in places}
    return pd.DataFrame(table, index=pd.Index(list(kept), dtype="int64")), problems


def _require_header_first(sheet: Sheet) -> None:
    """Titles above the header would be taken for it."""
    if any(looks_like_patient(name) for name in sheet.rows[0]):
        return
    for line, row in zip(sheet.lines[1:TITLE_ROWS], sheet.rows[1:TITLE_ROWS], strict=False):
        if sum(map(bool, row)) > 1 and any(looks_like_patient(name) for name in row):
            value = f"{sheet.rows[0][0][:60]!r} above one on line {line}"
            raise TableError("have its header first", value, f"Delete the lines above line {line}", line)


def _counted(
    header: list[str], lines: list[int], rows: list[list[str]], delimited: bool
) -> tuple[dict[int, list[str]], list[Problem]]:
    """Rows by line, without those that have more or fewer cells than the header; the header loses its empty end."""
    named_width = max((k for k, name in enumerate(header, start=1) if name), default=0)
    lengths = {len(row) for row in rows}
    if named_width < len(header) and len(header) not in lengths and named_width in lengths:
        del header[named_width:]
    wrong = [(line, row) for line, row in zip(lines, rows, strict=True) if len(row) != len(header)]
    rule, problems = f"have {len(header)} cells, as the header", []
    if len(wrong) == len(rows) > 1 and len(lengths) == 1:
        value = f"{len(rows[0])} in each of the {len(rows)} rows"
        problems = [Problem("", lines[0], "the row", "", rule, value, remedy=_row_remedy(rows[0], header, delimited))]
    else:
        for line, row in wrong:
            patient, remedy = patient_of(row, header), _row_remedy(row, header, delimited)
            problems.append(Problem("", line, "the row", patient, rule, str(len(row)), remedy=remedy))
    again = [line for line, row in zip(lines, rows, strict=True) if row == header]
    remedy = "Delete the line; where tables were joined, look whether their columns are in the same order"
    problems += [
        Problem("", line, "the row", "", "be of a patient", "the header again", remedy=remedy) for line in again
    ]
    refused = {line for line, _ in wrong} | set(again)
    return {line: row for line, row in zip(lines, rows, strict=True) if line not in refused}, problems


def _row_remedy(row: list[str], header: list[str], delimited: bool) -> str:
    """What usually makes a row longer or shorter than its header."""
    if not delimited:
        return "Give every column a name, and empty the cells beside the table"
    if len(row) < len(header):
        return "Add the missing separators; an empty cell needs its separator too"
    pairs = [
        (a, b)
        for place, (a, b) in enumerate(pairwise(row))
        if re.fullmatch(r"-?\d+", a) and b.isdigit() and not looks_like_patient(header[min(place, len(header) - 1)])
    ]
    if not any(row[len(header) :]):
        return "Remove the separators at the end of the row, once it is certain that no cell has moved"
    if pairs:
        numbers = " or ".join(map(",".join, pairs[:3]))
        return f"Write a decimal point, or put the cell in quotation marks, if {numbers} is one number"
    return "Put a cell that contains a separator in quotation marks"


def _named_columns(header: list[str], columns: list[tuple[str, ...]], notes: list[str]) -> list[int]:
    """Places of the columns to keep: one without a name is left out where it is empty or only counts the rows."""
    kept, empty = [], 0
    for place, name in enumerate(header):
        cells = columns[place]
        if name:
            kept.append(place)
        elif not any(cells):
            empty += 1
        elif place == 0 and list(cells) in ([str(k + start) for k in range(len(cells))] for start in (0, 1)):
            notes.append("a first column without a name, which numbers the rows, left out")
        else:
            raise TableError("have a name for every column", f"none for column {place + 1}, which is not empty")
    if empty:
        notes.append(f"{empty} empty column{'s'[: empty != 1]} without a name left out")
    for place in kept:
        if header.index(header[place]) != place:
            value = f"{header[place]} for columns {header.index(header[place]) + 1} and {place + 1}"
            raise TableError("have a different name for every column", value, "Rename or remove one of them")
    return kept


def _with_points(table: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, list[Problem]]:
    """Decimal commas as points; a comma or point that may separate thousands instead is a problem."""
    columns = [name for name in table if not looks_like_patient(name)]
    with_commas = {name: [] for name in columns}
    for name in columns:
        if "," in "\n".join(table[name].tolist()):
            with_commas[name] = [cell for cell in table[name].tolist() if DECIMAL_COMMA.fullmatch(cell)]
    found = [cell for cells in with_commas.values() for cell in cells]
    if not found:
        return table, []
    certain = any(not THOUSANDS.fullmatch(cell) for cell in found)
    points = any(re.fullmatch(r"[+-]?\d+\.\d+", cell) for name in columns for cell in table[name].tolist())
    problems, changed = [], {}
    for name in columns:
        cells = table[name]
        unclear = cells.str.fullmatch(THOUSANDS) & (cells.str.contains(",") & (points or not certain))
        unclear |= cells.str.fullmatch(r"[+-]?[1-9]\d{0,2}(\.\d{3})+") & certain
        for line, cell in cells[unclear].items():
            remedy = f"Write {re.sub('[.,]', '', cell)} or {cell.replace(',', '.')}, without a separator of thousands"
            rule = "show whether its comma or point separates decimals or thousands"
            problems.append(Problem("", int(line), name, "", rule, cell, remedy=remedy))
        commas = cells.str.fullmatch(DECIMAL_COMMA) & ~unclear
        if commas.any():
            changed[name] = cells.where(~commas, cells.str.replace(",", "."))
    if changed:
        first, *others = changed
        rest = f" and {len(others)} more column{'s'[: len(others) != 1]}" if others else ""
        notes.append(f"decimal commas ({first}{rest})")
    return table.assign(**changed), problems


def _placed(problem: Problem, file: str, table: pd.DataFrame, identifier: str | None) -> Problem:
    """A problem with its file, and with the patient of its line."""
    known = problem.patient_id or identifier is None or problem.line not in table.index
    patient = problem.patient_id if known else patient_of([table.at[problem.line, identifier]], [identifier])
    return replace(problem, file=file, patient_id=patient)
