"""The rows of an Excel workbook (.xlsx), as a person sees them in it."""

from __future__ import annotations

import datetime
import re
import warnings
import zipfile
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Any

from hepred_lib.manifest.rules import Problem
from hepred_lib.manifest.sheet import SAVE_AS, Sheet, TableError, looks_like_patient, one_line

LARGEST_UNPACKED_MB = 200
MOST_TIMES = 100  # worksheets are packed 5 to 40 times smaller; more is a file made to fill the memory
MOST_ROWS = 1_048_576
HEADER_WITHIN = 20
RULE = "be a CSV file or an Excel workbook (.xlsx)"
UNSAVED_FORMULA = re.compile(
    rb'<c r="([A-Z]{1,3})(\d{1,7})"(?:(?! t="str")[^>])*>\s*<f(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(?:<v\s*/>|<v></v>)?\s*</c>'
)


def read_workbook(content: bytes) -> Sheet:
    """Rows of the first worksheet that names a patient's identifier, or of the first one that has a header.

    Values are text: numbers with the 15 digits that Excel shows, dates as 2024-03-01, and results of formulas as saved.
    """
    archive = _archive(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions that openpyxl leaves out
            import openpyxl

            book = openpyxl.load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
            worksheet, problems, notes = _chosen(book)
            lines, rows = _rows(worksheet)
            raw = archive.read(worksheet._worksheet_path.lstrip("/"))
    except TableError:
        raise
    except Exception as error:  # openpyxl and zipfile raise whatever a damaged file leads them to
        raise TableError(
            RULE, f"a damaged workbook ({type(error).__name__})", "Open it in Excel and save it anew"
        ) from error
    _require_plain_cells(raw)
    hidden = len(re.findall(rb'<row [^>]*hidden="(?:1|true)"', raw))
    if hidden:
        notes.append(f"hidden rows are read too: {hidden}")
    return Sheet(lines, rows, [*problems, *_unsaved(raw, rows, lines)], notes, delimited=False)


def _archive(content: bytes) -> zipfile.ZipFile:
    """The zip file of a workbook, if it is one and of a bearable size."""
    try:
        archive = zipfile.ZipFile(BytesIO(content))
        names = set(archive.namelist())
        kind = archive.read("mimetype")[:80].decode("latin-1") if "mimetype" in names else ""
    except Exception as error:  # zipfile raises several kinds for a damaged file
        raise TableError(RULE, "a damaged zip file", SAVE_AS) from error
    if "xl/workbook.xml" not in names:
        others = {"xl/workbook.bin": "a binary workbook (.xlsb)", "word/document.xml": "a Word document"}
        found = next((words for name, words in others.items() if name in names), "a zip file that is no workbook")
        raise TableError(RULE, "an OpenDocument spreadsheet (.ods)" if "spreadsheet" in kind else found, SAVE_AS)
    size, packed = (sum(getattr(entry, key) for entry in archive.infolist()) for key in ("file_size", "compress_size"))
    if size > LARGEST_UNPACKED_MB * 2**20 or (size > 10 * 2**20 and size > MOST_TIMES * packed):
        rule = f"unpack to at most {LARGEST_UNPACKED_MB} MB and {MOST_TIMES} times its size"
        raise TableError(rule, f"{size / 2**20:.0f} MB from {packed / 2**20:.2f} MB", SAVE_AS)
    return archive


def _chosen(book: Any) -> tuple[Any, list[Problem], list[str]]:
    """The worksheet to read, a warning where another one has patients too, and its name where there are several."""
    headers = {sheet.title: _header(sheet) for sheet in book.worksheets}
    filled = [title for title, header in headers.items() if header]
    if not filled:
        raise TableError("have a header and one row per patient", "a workbook without any cell")
    fitting = [title for title in filled if any(looks_like_patient(name) for name in headers[title])]
    title, *others = fitting or filled
    notes = ["Excel workbook" if len(headers) == 1 else f"worksheet {title!r} of {len(headers)}"]
    problems = [
        Problem("", 0, "the workbook", "", "have one worksheet of patients", f"another one, {other!r}", "warn",
                f"Only {title!r} is read; put the patients of {other!r} into it if they belong to the study")
        for other in others
        if fitting
    ]  # fmt: skip
    return book[title], problems, notes


def _header(sheet: Any) -> list[str]:
    """The first row of a worksheet that has any cell."""
    sheet.reset_dimensions()  # what the file says of its extent may be wrong
    for row in islice(sheet.iter_rows(), HEADER_WITHIN):
        names = [_written(cell) for cell in row]
        if any(names):
            return names
    return []


def _rows(sheet: Any) -> tuple[list[int], list[list[str]]]:
    """Rows with any cell, by their number, filled up to the header's width."""
    lines, rows, width = [], [], 0
    for number, row in enumerate(_bounded(sheet.iter_rows()), start=1):
        cells = [_written(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            width = width or len(cells)
            lines.append(number)
            rows.append(cells + [""] * (width - len(cells)))
    return lines, rows


def _bounded(rows: Iterator[Any]) -> Iterator[Any]:
    """Rows up to as many as a worksheet can have; a damaged number of a row would give billions of empty ones."""
    for number, row in enumerate(rows):
        if number >= MOST_ROWS:
            raise TableError(f"have at most {MOST_ROWS} rows", "more", SAVE_AS)
        yield row


def _written(cell: Any) -> str:
    """A cell as text."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        text = f"{value:.15g}" if abs(value) >= 1e15 or value != int(value) else str(int(value))
        leading_zeros = isinstance(value, int) and re.fullmatch("0{2,}", cell.number_format or "")
        return text.zfill(len(cell.number_format)) if leading_zeros else text
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "minutes").removesuffix(" 00:00")
    if isinstance(value, datetime.timedelta):
        minutes, seconds = divmod(int(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    return one_line(str(value).strip())


def _require_plain_cells(raw: bytes) -> None:
    """Merged cells have one value for several patients or columns: nobody can say for which."""
    merged = re.findall(rb'<(?:\w+:)?mergeCell [^>]*ref="([A-Z0-9:]+)"', raw)
    if merged:
        shown = ", ".join(name.decode() for name in merged[:3]) + (" ..." if len(merged) > 3 else "")
        line = int(re.sub(rb"\D.*", b"", re.sub(rb"^[A-Z]+", b"", merged[0])) or 0)
        raise TableError("have no merged cells", f"{len(merged)} ({shown})", "Unmerge them and fill every cell", line)


def _unsaved(raw: bytes, rows: list[list[str]], lines: list[int]) -> Iterator[Problem]:
    """Formulas whose result was never saved would be read as empty cells."""
    header = rows[0] if rows else []
    for letters, line in UNSAVED_FORMULA.findall(raw):
        place = 0
        for letter in letters:
            place = 26 * place + letter - 64
        column = header[place - 1] if place <= len(header) and header[place - 1] else f"column {letters.decode()}"
        remedy = "Open the workbook in Excel or LibreOffice and save it, so that the results are stored"
        if int(line) in lines:
            yield Problem("", int(line), column, "", "have a value", "a formula without its result", remedy=remedy)
