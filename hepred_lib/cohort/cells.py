"""One reader for every table of patients: the manifest, the clinical table of an import, a hospital's spreadsheet.

A table is read only where each cell certainly belongs to its column. Encodings, separators, decimal commas and Excel
workbooks are understood, and said in ``notes``; what could move or swallow a patient is a problem with its line.
"""

from __future__ import annotations

import codecs
import csv
import datetime
import os
import re
import unicodedata
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from hepred_lib.cohort.rules import COLUMNS, PATIENT_ID, Problem, count_of, located
from hepred_lib.disk import regular_bytes
from hepred_lib.errors import ManifestError

LARGEST_MB = 200  # of a file, and of a workbook when it is unpacked
MOST_COLUMNS, MOST_ROWS = 4000, 1_048_576  # the rows of an Excel worksheet
TITLE_ROWS = 10  # within which a header is looked for
SAVE_AS = "Save it as a CSV file (UTF-8) or as an Excel workbook (.xlsx)"
FORM = "be a CSV file or an Excel workbook (.xlsx)"
FULL = "have a header and one row per patient"
OTHER_FILES = {
    b"\xd0\xcf\x11\xe0": "an old or a protected Excel workbook (.xls)",
    b"%pdf": "a PDF",
    b"\x1f\x8b": "a gzip file",
    b"par1": "a Parquet file",
    b"$fl2": "an SPSS file",
    b"<stata": "a Stata file",
    b"{\\rtf": "an RTF document",
    b"<?xml": "an XML file",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a Git LFS pointer: the file itself was not downloaded",
    b"{": "a JSON file",
}
# Cyrillic and Greek letters as the Latin ones that they look like.
LOOK_ALIKES = str.maketrans("аеорсухіјѕАВЕКМНОРСТХІЈЅαορυνΑΒΕΗΙΚΜΝΟΡΤΥΧ", "aeopcyxijsABEKMHOPCTXIJSaopuvABEHIKMNOPTYX")
PATIENT_COLUMN = re.compile(
    r"(dicom|study|hospital|n|no|nr|id|numero|codigo|codice)?(pat|patient|patients|patienten|paciente|paziente)"
    r"(id|nr|no|num|nummer|number|code|identifier|identifiant)?"
    r"|(subject|case|record|study|fall|proband|probanden|participant)(id|nr|no|nummer|number|code)"
    r"|id|pseudonym|mrn|患者编号|患者番号|환자번호"
)
# Controls, formats (zero-width, direction, soft hyphen, byte order mark), blanks other than the plain one, fillers,
# variation selectors, tags, and the sign of a lost character.
INVISIBLE = re.compile(
    "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    "\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffd\U000e0000-\U000e0fff]"
)
NO_INVISIBLE = "have no invisible character"
DAMAGE = re.compile("[\x00-\x08\x0e-\x1f\ufffd]")  # no program writes these into a table
CONTROLS = {"\x00": "NULL", "\x08": "BACKSPACE", "\x09": "TAB", "\x1a": "SUBSTITUTE", "\x7f": "DELETE"}
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


@dataclass
class _Sheet:
    """Rows of stripped text, the header first, and the line of each; problems and notes are added as they are found."""

    lines: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    delimited: bool = True

    @property
    def header(self) -> list[str]:
        """Names of the columns, none before the header is read."""
        return self.rows[0] if self.rows else []


class _TableError(Exception):
    """Why there is no table to look at."""

    def __init__(self, rule: str, value: str, remedy: str = "", line: int = 0, column: str = "", patient: str = ""):
        self.problem = Problem(column or "the table", rule, value, remedy, line=line, patient_id=patient)


def read_cells(path: str | os.PathLike) -> Cells:
    """Read a table of patients, whatever program wrote it: CSV of any separator and usual encoding, or .xlsx.

    Nothing that the file contains raises: what is wrong is in ``problems``. ``patient_id`` is not required here, since
    a hospital's table may name it otherwise.

    Raises
    ------
    ManifestError
        There is no such file.
    """
    path = Path(path)
    try:
        content = _content(path)
        sheet = _read_workbook(content) if content[:2] == b"PK" else _read_text(content)
        table = _with_points(_framed(sheet), sheet)
    except _TableError as fault:
        return Cells(path, None, located([fault.problem], path.name))
    identifier = next((name for name in table if looks_like_patient(name)), None)
    problems = located(sheet.problems, path.name, None if identifier is None else table[identifier])
    of_all = f" in {len(sheet.rows) - 1} rows" * (len(table) < len(sheet.rows) - 1)
    return Cells(path, table, problems, [*sheet.notes, count_of(len(table), "patient") + of_all], sheet.lines[0])


def looks_like_patient(name: str) -> bool:
    """Whether a column's name is that of a patient's identifier."""
    return PATIENT_COLUMN.fullmatch(_bare_name(name)) is not None


def near_names(header: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Names of a header that differ from a known one only by case, blanks, hyphens or camel case, to the known one.

    Examples
    --------
    >>> near_names(["PatientID", "age", "Onset to CT (h)"], ["patient_id", "age", "onset_to_ct_h"])
    {'PatientID': 'patient_id', 'Onset to CT (h)': 'onset_to_ct_h'}
    """
    targets = {_bare_name(name): name for name in known}
    return {name: targets[_bare_name(name)] for name in header if name != targets.get(_bare_name(name), name)}


def _bare_name(name: str) -> str:
    """Letters and digits of a name in lower case."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).translate(LOOK_ALIKES))).lower()


def _patient_of(row: Sequence[str], header: Sequence[str]) -> str:
    """The patient of a row, where its identifier certainly is one; else nothing."""
    name = next((cell.strip() for cell, column in zip(row, header, strict=False) if looks_like_patient(column)), "")
    return name if re.fullmatch(PATIENT_ID, name) else ""


def _content(path: Path) -> bytes:
    """The bytes of a regular file of a size that a table can have."""
    try:
        content = regular_bytes(path, LARGEST_MB * 1_000_000)
    except FileNotFoundError as error:
        raise ManifestError(f"cannot read {path}: no such file.") from error
    except OSError as error:
        raise _TableError("be a readable file", f"{error.strerror} at {path}") from error
    start = content[:200].lstrip().lower()
    kind = next((kind for signature, kind in OTHER_FILES.items() if start.startswith(signature)), "")
    if kind:
        raise _TableError(FORM, kind, SAVE_AS)
    return content


# --- a delimited text file (CSV), whatever program wrote it; quotation marks are taken strictly

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
BYTE_ORDER_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LINE = re.compile(r"[^\r\n]*(\r\n|\r|\n)")
BREAK = re.compile(r"\r\n|\r|\n")
CLOSE_QUOTE = "Close or remove the quotation mark"


def _read_text(content: bytes) -> _Sheet:
    """The rows of a CSV file, with the line where each begins."""
    sheet = _Sheet()
    text = _decoded(content, sheet.notes)
    first, place, separator, comments = 1, 0, "", []
    while line := LINE.match(text, place):  # what comes before the header
        words = line.group().strip()
        named = re.fullmatch(r'"?sep=(.)"?\1*', line.group().strip("\r\n "), re.IGNORECASE)
        if named and not separator:
            separator = named.group(1)
        elif words.startswith("#") and "patientid" not in _bare_name(words):
            comments.append(str(first))
        elif words.strip('",;\t| '):
            break
        place, first = line.end(), first + 1
    text = text[place:]
    separator = separator or max(SEPARATORS, key=lambda candidate: _fit(candidate, text))
    if separator != ",":
        sheet.notes.append(f"{SEPARATORS.get(separator, repr(separator))}-separated")
    if comments:
        sheet.notes.append(f"comment on line {', '.join(comments[:3])}{', ...' * (len(comments) > 3)} left out")
    _parse(text, separator, first, sheet)
    return sheet


def _decoded(content: bytes, notes: list[str]) -> str:
    """The text of a file; noted where it is not UTF-8."""
    even, odd = (content[:400][offset::2].count(0) for offset in (0, 1))
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    # Without a mark: UTF-16 has a NUL in every other byte of a header.
    if encoding == "utf-8" and max(even, odd) > 0.15 * len(content[:400]) and min(even, odd) < 0.1 * max(even, odd):
        encoding = "utf-16-be" if even > odd else "utf-16-le"
    if "8" in encoding and len(DAMAGE.findall(content[:1000].decode("latin-1"))) > 0.05 * len(content[:1000]):
        raise _TableError(FORM, "a binary file of another program", SAVE_AS)
    try:
        text = content.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        got = f"byte 0x{content[error.start]:02x} on line {content.count(10, 0, error.start) + 1}"
        if encoding != "utf-8":
            rule = f"be {encoding[:6].upper().removesuffix('-')} text throughout"
            raise _TableError(rule, got, SAVE_AS) from error
        return _windows_text(content, got, notes)
    if "8" not in encoding:
        notes.append(f"{encoding[:6].upper()} text")
    return text


def _windows_text(content: bytes, got: str, notes: list[str]) -> str:
    """The text of a file that is not UTF-8, with a word in the notes by which a person can check it."""
    for number, row in enumerate(content.splitlines(), start=1):  # each line by itself: files are glued together
        if not row.isascii() and "\ufffd" not in row.decode("utf-8", "replace"):
            raise _TableError("have one encoding", f"UTF-8 on line {number}, but {got}", SAVE_AS)
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise _TableError("be UTF-8 text", got, SAVE_AS) from error
    place = next(re.finditer(r"[^\x00-\x7f]", text)).start()  # there is one, or it were UTF-8
    word = re.findall(r"\w*[^\x00-\x7f]\w*", text[max(place - 15, 0) : place + 15])[0]
    notes.append(f"Windows-1252 text (such as {word!r} on line {content.count(10, 0, place) + 1})")
    return text


def _fit(separator: str, text: str) -> tuple:
    """How well a separator suits: its header names a patient's identifier, else how even and wide the rows become."""
    lines = BREAK.split(text[:100_000])[:20]
    rows = [row for row in csv.reader(lines[: len(lines) - (len(lines) > 1)], delimiter=separator) if any(row)]
    if not rows or len(rows[0]) < 2:
        return False, 0.0, 0
    if any(map(looks_like_patient, rows[0])):
        return True, 0.0, 0
    return False, sum(len(row) == len(rows[0]) for row in rows) / len(rows), len(rows[0])


def _parse(text: str, separator: str, first: int, sheet: _Sheet) -> None:
    """Stripped cells of every row that has any; quotation marks are taken strictly, so that none swallows a row."""
    limit = csv.field_size_limit(max(len(text), 1))  # else a swallowed table is called a long field
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    begin = first
    try:
        for row in reader:
            end = first + reader.line_num - 1
            if end > begin:
                _note_line_breaks(row, separator, begin, end, sheet)
            cells = [_on_one_line(cell) for cell in row]
            if any(cells):
                sheet.lines.append(begin)
                sheet.rows.append(cells)
            begin = end + 1
    except csv.Error:
        raise _open_quote(text, sheet.header, separator, first, begin, first + reader.line_num - 1) from None
    finally:
        csv.field_size_limit(limit)


def _on_one_line(text: str) -> str:
    """A cell's text without the blanks around it, and with a blank for each line break."""
    return " ".join(map(str.strip, re.split(r"[\r\n]+", text.strip())))


def _note_line_breaks(row: list[str], separator: str, begin: int, end: int, sheet: _Sheet) -> None:
    """A problem for each cell with line breaks: a refusal where they look like rows that a quotation mark swallows."""
    header = sheet.header or row
    for place, cell in enumerate(row):
        breaks = len(BREAK.findall(cell))
        column = sheet.header[place] if place < len(sheet.header) else "the header"
        if breaks and len(header) > 1 and cell.count(separator) >= breaks * (len(header) - 1):
            rule = "have a closing quotation mark in its own row"
            value = f"one that opens on line {begin} and closes on line {end}, which swallows {breaks} patients"
            patient = _patient_of(row, header)
            sheet.problems.append(Problem(column, rule, value, CLOSE_QUOTE, line=begin, patient_id=patient))
        elif breaks and column != "the header":
            sheet.problems.append(Problem(column, "be on one line", "a line break in the cell", "", "warn", begin))


def _open_quote(text: str, header: list[str], separator: str, first: int, begin: int, end: int) -> _TableError:
    """The fault of a row whose quotation mark is not closed, or not followed by a separator."""
    lines = BREAK.split(text)
    if begin == end and len(lines) - 1 + first > end + 1:
        value = f"one on line {begin} with text after it"
        return _TableError("be followed by a separator at every closing quotation mark", value, CLOSE_QUOTE, begin)
    start = next(csv.reader([lines[begin - first]], delimiter=separator), [""])
    column = header[len(start) - 1] if len(start) <= len(header) else ""
    filled = [bool(line.strip()) for line in lines]
    swallowed, total = sum(filled[begin - first : end - first + 1]), sum(filled) - 1
    value = f"one that opens on line {begin} and swallows {swallowed} of {total} patients (lines {begin} to {end})"
    return _TableError("close every quotation mark", value, CLOSE_QUOTE, begin, column, _patient_of(start[:-1], header))


# --- an Excel workbook (.xlsx), as a person sees it

MOST_TIMES = 100  # worksheets are packed 5 to 40 times smaller; more is a file made to fill the memory
HEADER_WITHIN = 20
UNSAVED_FORMULA = re.compile(
    rb'<c r="([A-Z]{1,3})(\d{1,7})"(?:(?! t="str")[^>])*>\s*<f(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(?:<v\s*/>|<v></v>)?\s*</c>'
)


def _read_workbook(content: bytes) -> _Sheet:
    """Rows of the first worksheet that names a patient's identifier, or of the first one that has a header.

    Values are text: numbers with the 15 digits that Excel shows, dates as 2024-03-01, and results of formulas as saved.
    """
    sheet = _Sheet(delimited=False)
    try:
        archive = zipfile.ZipFile(BytesIO(content))
        _check_archive(archive)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions that openpyxl leaves out
            import openpyxl

            book = openpyxl.load_workbook(BytesIO(content), read_only=True, data_only=True, keep_links=False)
            worksheet = _chosen(book, sheet)
            sheet.lines, sheet.rows = _rows(worksheet)
            raw = archive.read(worksheet._worksheet_path.lstrip("/"))
    except _TableError:
        raise
    except Exception as error:  # openpyxl and zipfile raise whatever a damaged file leads them to
        value = f"a damaged workbook ({type(error).__name__})"
        raise _TableError(FORM, value, "Open it in Excel and save it anew") from error
    _require_plain_cells(raw, sheet)
    return sheet


def _check_archive(archive: zipfile.ZipFile) -> None:
    """Refuse a zip file that is no workbook, or one that is made to fill the memory."""
    names = archive.namelist()
    if "xl/workbook.xml" not in names:
        others = {"xl/workbook.bin": "a binary workbook (.xlsb)", "word/document.xml": "a Word document"}
        others["mimetype"] = "an OpenDocument file (.ods)"
        found = next((words for name, words in others.items() if name in names), "a zip file that is no workbook")
        raise _TableError(FORM, found, SAVE_AS)
    size, packed = (sum(getattr(entry, key) for entry in archive.infolist()) for key in ("file_size", "compress_size"))
    if size > LARGEST_MB * 2**20 or (size > 10 * 2**20 and size > MOST_TIMES * packed):
        rule = f"unpack to at most {LARGEST_MB} MB and {MOST_TIMES} times its size"
        raise _TableError(rule, f"{size / 2**20:.0f} MB from {packed / 2**20:.2f} MB", SAVE_AS)


def _chosen(book: Any, sheet: _Sheet) -> Any:
    """The worksheet to read, a visible one where there is any; a warning where another one has patients too."""
    worksheets = sorted(book.worksheets, key=lambda each: each.sheet_state != "visible")
    headers = {each.title: next(iter(_rows(each, HEADER_WITHIN)[1]), []) for each in worksheets}
    filled = [title for title, header in headers.items() if header]
    if not filled:
        raise _TableError(FULL, "a workbook without any cell")
    fitting = [title for title in filled if any(map(looks_like_patient, headers[title]))]
    title, *others = fitting or filled[:1]
    sheet.notes.append("Excel workbook" if len(headers) == 1 else f"worksheet {title!r} of {len(headers)}")
    for other in others:
        hidden = "" if book[other].sheet_state == "visible" else "hidden "
        value = f"another {hidden}one, {other!r}"
        remedy = f"Only {title!r} is read; put the patients of {other!r} into it if they belong to the study"
        sheet.problems.append(Problem("the workbook", "have one worksheet of patients", value, remedy, "warn"))
    return book[title]


def _rows(worksheet: Any, most: int = MOST_ROWS) -> tuple[list[int], list[list[str]]]:
    """Rows with any cell, by their number, filled up to the header's width."""
    lines: list[int] = []
    rows: list[list[str]] = []
    worksheet.reset_dimensions()  # what the file says of its extent may be wrong
    for number, row in enumerate(islice(worksheet.iter_rows(), most + 1), start=1):
        if number > MOST_ROWS:  # a damaged number of a row would give billions of empty ones
            raise _TableError(f"have at most {MOST_ROWS} rows", "more", SAVE_AS)
        cells = list(map(_written, row))
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            lines.append(number)
            rows.append(cells + [""] * (len(rows[0]) - len(cells) if rows else 0))
    return lines, rows


def _written(cell: Any) -> str:
    """A cell as text."""
    value = cell.value
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
    return "" if value is None else _on_one_line(str(value))


def _require_plain_cells(raw: bytes, sheet: _Sheet) -> None:
    """Refuse merged cells, which have one value for several patients, and formulas whose result was never saved."""
    from openpyxl.utils import column_index_from_string

    merged = [name.decode() for name in re.findall(rb'<(?:\w+:)?mergeCell [^>]*ref="([A-Z0-9:]+)"', raw)]
    if merged:
        value = f"{len(merged)} ({', '.join(merged[:3])}{' ...' * (len(merged) > 3)})"
        line = int((re.findall(r"\d+", merged[0].partition(":")[0]) or [0])[0])
        remedy = "Unmerge them, fill every cell, and delete lines above the header"
        raise _TableError("have no merged cells", value, remedy, line)
    hidden = len(re.findall(rb'<row [^>]*hidden="(?:1|true)"', raw))
    if hidden:
        sheet.notes.append(f"hidden rows are read too: {hidden}")
    remedy = "Open the workbook in Excel or LibreOffice and save it, so that the results are stored"
    for letters, number in dict.fromkeys(UNSAVED_FORMULA.findall(raw)):
        name, line = letters.decode(), int(number)
        known = len(name) < 3 or name <= "XFD"  # the last column of a worksheet
        column = "".join(sheet.header[column_index_from_string(name) - 1 :][:1]) if known else ""
        if line in sheet.lines:
            value = "a formula without its result"
            sheet.problems.append(Problem(column or f"column {name}", "have a value", value, remedy, line=line))


# --- from rows to a table: names checked, cells counted, invisible characters found, decimal commas made points


def _framed(sheet: _Sheet) -> pd.DataFrame:
    """The table of a sheet."""
    if not sheet.rows:
        raise _TableError(FULL, "an empty file")
    lines, rows = sheet.lines[1:], sheet.rows[1:]
    if len(sheet.header) > MOST_COLUMNS:
        raise _TableError(f"have at most {MOST_COLUMNS} columns", str(len(sheet.header)), "", sheet.lines[0])
    header = [_visible(name, place, sheet) for place, name in enumerate(sheet.header, start=1)]
    first = sheet.header[0].split()
    if len(header) == 1 < len(first) and looks_like_patient(first[0]):
        value = "columns separated by blanks"
        raise _TableError("have a separator between its columns", value, SAVE_AS, sheet.lines[0])
    named = any(map(looks_like_patient, sheet.header))
    if not (named and all(sheet.header)):
        filled = sum(map(bool, sheet.header)) if named else 1
        for line, row in zip(lines[: TITLE_ROWS - 1], rows, strict=False):
            if sum(map(bool, row)) > filled and any(map(looks_like_patient, row)):
                value = f"{sheet.header[0][:60]!r} above one on line {line}"
                raise _TableError("have its header first", value, f"Delete the lines above line {line}", line)
    kept = _counted(header, lines, rows, sheet)
    table = pd.DataFrame(kept.values(), pd.Index(list(kept), dtype="int64"), range(len(header)), "string")
    table = _named_columns(table, header, sheet.notes)
    if not rows:
        raise _TableError("have one row per patient", "a header alone")
    for name in table:
        sheet.problems += _invisible_problems(table[name])
    return table


def character_names(text: str) -> str:
    r"""The invisible characters of a text by name, each once.

    Examples
    --------
    >>> character_names("age\u200b")
    'ZERO WIDTH SPACE (U+200B)'
    """
    found = dict.fromkeys(INVISIBLE.findall(text))
    return " and ".join(f"{unicodedata.name(c, CONTROLS.get(c, 'CONTROL CHARACTER'))} (U+{ord(c):04X})" for c in found)


def _visible(name: str, place: int, sheet: _Sheet) -> str:
    """A column's name without invisible characters (other blanks become plain ones); a problem where it had one."""
    seen = INVISIBLE.sub(lambda c: " " if c[0] == "\t" or unicodedata.category(c[0]) == "Zs" else "", name).strip()
    if seen != name:
        value = f"{character_names(name)} in column {place}"
        problem = Problem(seen or "the header", NO_INVISIBLE, value, "Type the name anew", line=sheet.lines[0])
        sheet.problems.append(problem)
    return seen


def _invisible_problems(cells: pd.Series) -> list[Problem]:
    """Cells with an invisible character: refused where a value or an identifier is read, else one warning a column."""
    if not INVISIBLE.search("\n".join(cells.tolist())):
        return []
    found, column = cells[cells.str.contains(INVISIBLE)], COLUMNS.get(cells.name)
    strict = looks_like_patient(cells.name) if column is None else column.kind != "text"
    strict |= bool(found.str.contains(DAMAGE).any())
    count = "" if strict or len(found) == 1 else f" ({len(found)} rows have one)"
    problems = []
    for line, cell in (found if strict else found[:1]).items():
        value = f"{character_names(cell)} in {INVISIBLE.sub('', cell)[:40]!r}{count}"
        severity = "refuse" if strict else "warn"
        problems.append(Problem(cells.name, NO_INVISIBLE, value, "Type the cell anew", severity, int(line)))
    return problems


def _counted(header: list[str], lines: list[int], rows: list[list[str]], sheet: _Sheet) -> dict[int, list[str]]:
    """Rows by line, without those that have more or fewer cells than the header; the header loses its empty end."""
    named_width = max((k for k, name in enumerate(header, start=1) if name), default=0)
    lengths = {len(row) for row in rows}
    if named_width < len(header) and len(header) not in lengths and named_width in lengths:
        del header[named_width:]
    wrong = {line: row for line, row in zip(lines, rows, strict=True) if len(row) != len(header)}
    all_alike = len(wrong) == len(rows) > 1 and len(lengths) == 1
    for line, row in list(wrong.items())[: 1 if all_alike else None]:
        value = f"{len(row)} in each of the {len(rows)} rows" if all_alike else str(len(row))
        rule, remedy = f"have {len(header)} cells, as the header", _row_remedy(row, header, sheet.delimited)
        patient = "" if all_alike else _patient_of(row, header)
        sheet.problems.append(Problem("the row", rule, value, remedy, line=line, patient_id=patient))
    again = [line for line, row in zip(lines, rows, strict=True) if row == header]
    remedy = "Delete the line; where tables were joined, look whether their columns are in the same order"
    sheet.problems += [Problem("the row", "be of a patient", "the header again", remedy, line=line) for line in again]
    refused = {*wrong, *again}
    return {line: row for line, row in zip(lines, rows, strict=True) if line not in refused}


def _row_remedy(row: list[str], header: list[str], delimited: bool) -> str:
    """What usually makes a row longer or shorter than its header."""
    if not delimited:
        return "Give every column a name, and empty the cells beside the table"
    if len(row) < len(header):
        return "Add the missing separators; an empty cell needs its separator too"
    if not any(row[len(header) :]):
        return "Remove the separators at the end of the row, once it is certain that no cell has moved"
    pairs = [
        f"{a},{b}"
        for place, (a, b) in enumerate(pairwise(row))
        if re.fullmatch(r"-?\d+", a) and b.isdigit() and not looks_like_patient(header[min(place, len(header) - 1)])
    ]
    if pairs:
        return f"Write a decimal point, or put the cell in quotation marks, if {' or '.join(pairs[:3])} is one number"
    return "Put a cell that contains a separator in quotation marks"


def _named_columns(table: pd.DataFrame, header: list[str], notes: list[str]) -> pd.DataFrame:
    """The columns by name: one without a name is left out where it is empty or only counts the rows."""
    kept: dict[str, int] = {}
    empty = 0
    for place, name in enumerate(header):
        cells = table[place].tolist()
        if name in kept:
            value = f"{name} for columns {kept[name] + 1} and {place + 1}"
            raise _TableError("have a different name for every column", value, "Rename or remove one of them")
        if name:
            kept[name] = place
        elif not any(cells):
            empty += 1
        elif place == 0 and cells in ([str(k + start) for k in range(len(cells))] for start in (0, 1)):
            notes.append("a first column without a name, which numbers the rows, left out")
        else:
            raise _TableError("have a name for every column", f"none for column {place + 1}, which is not empty")
    if empty:
        notes.append(f"{count_of(empty, 'empty column')} without a name left out")
    return table[list(kept.values())].set_axis(list(kept), axis=1)


def _with_points(table: pd.DataFrame, sheet: _Sheet) -> pd.DataFrame:
    """Decimal commas as points; a comma or point that may separate thousands instead is a problem."""
    columns = [name for name in table if not looks_like_patient(name)]
    joined = {name: "\n".join(table[name].tolist()) for name in columns}
    found = [cell for name in columns if "," in joined[name] for cell in table[name] if DECIMAL_COMMA.fullmatch(cell)]
    if not found:
        return table
    certain = not all(map(THOUSANDS.fullmatch, found))
    points = any(re.search(r"^[+-]?\d+\.\d+$", text, re.MULTILINE) for text in joined.values())
    changed = {}
    for name in columns:
        cells = table[name]
        thousands = cells.str.fullmatch(THOUSANDS)
        unclear = thousands & cells.str.contains(",") if points or not certain else thousands & False
        unclear |= cells.str.fullmatch(r"[+-]?[1-9]\d{0,2}(\.\d{3})+") & certain
        for line, cell in cells[unclear].items():
            remedy = f"Write {re.sub('[.,]', '', cell)} or {cell.replace(',', '.')}, without a separator of thousands"
            rule = "show whether its comma or point separates decimals or thousands"
            sheet.problems.append(Problem(name, rule, cell, remedy, line=int(line)))
        commas = cells.str.fullmatch(DECIMAL_COMMA) & ~unclear
        if commas.any():
            changed[name] = cells.where(~commas, cells.str.replace(",", "."))
    if changed:
        first, *others = changed
        rest = f" and {count_of(len(others), 'more column')}" if others else ""
        sheet.notes.append(f"decimal commas ({first}{rest})")
    return table.assign(**changed)
