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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO, StringIO
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from hepred_lib.cohort.rules import COLUMNS, PATIENT_ID, Problem
from hepred_lib.imaging.nifti import UnreadableError, regular_bytes

# --- sheet: The rows of a table before they are a table, and the fault of a whole file

SAVE_AS = "Save it as a CSV file (UTF-8) or as an Excel workbook (.xlsx)"
LOOK_ALIKES = str.maketrans("аеорсухіјѕАВЕКМНОРСТХІЈЅαορυνΑΒΕΗΙΚΜΝΟΡΤΥΧ", "aeopcyxijsABEKMHOPCTXIJSaopuvABEHIKMNOPTYX")
PATIENT_COLUMN = re.compile(
    r"(dicom|study|hospital|n|no|nr|id|numero|codigo|codice)?(pat|patient|patients|patienten|paciente|paziente)"
    r"(id|nr|no|num|nummer|number|code|identifier|identifiant)?"
    r"|(subject|case|record|study|fall|proband|probanden|participant)(id|nr|no|nummer|number|code)"
    r"|id|pseudonym|mrn|患者编号|患者番号|환자번호"
)


@dataclass(frozen=True)
class Sheet:
    """Rows of stripped text, the header first, and the line of each; ``problems`` name no file yet."""

    lines: list[int]
    rows: list[list[str]]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    delimited: bool = True


class TableError(Exception):
    """Why there is no table to look at: the parts of a problem."""

    def __init__(self, rule: str, value: str, remedy: str = "", line: int = 0, column: str = "", patient: str = ""):
        super().__init__(rule, value)
        self.parts = (line, column or "the table", patient, rule, value, "refuse", remedy)

    def problem(self, file: str) -> Problem:
        """The fault as a problem of a file."""
        return Problem(file, *self.parts)


def one_line(text: str) -> str:
    """A cell's text with a blank for each line break and the blanks around it."""
    return " ".join(part.strip() for part in re.split(r"[\r\n]+", text)) if "\n" in text or "\r" in text else text


def bare_name(name: str) -> str:
    """Letters and digits of a name in lower case; Cyrillic and Greek letters as the Latin ones that they look like."""
    latin = unicodedata.normalize("NFKC", name).translate(LOOK_ALIKES)
    return "".join(filter(str.isalnum, latin)).lower()


def looks_like_patient(name: str) -> bool:
    """Whether a column's name is that of a patient's identifier."""
    return PATIENT_COLUMN.fullmatch(bare_name(name)) is not None


def patient_of(row: Sequence[str], header: Sequence[str]) -> str:
    """The patient of a row, where its identifier certainly is one; else nothing."""
    place = next((k for k, name in enumerate(header) if looks_like_patient(name)), len(row))
    name = row[place].strip() if place < len(row) else ""
    return name if re.fullmatch(PATIENT_ID, name) else ""


# --- invisible: Characters that nobody sees and that make one name two: found, and named

# Controls, formats (zero-width, direction, soft hyphen, byte order mark), blanks other than the plain one, fillers,
# variation selectors, tags, and the sign of a lost character.
INVISIBLE = re.compile(
    "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    "\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffd\U000e0000-\U000e0fff]"
)
DAMAGE = re.compile("[\x00-\x08\x0e-\x1f\ufffd]")  # no program writes these into a table
CONTROLS = {"\x00": "NULL", "\x08": "BACKSPACE", "\x09": "TAB", "\x1a": "SUBSTITUTE", "\x7f": "DELETE"}


def character_names(text: str) -> str:
    r"""The invisible characters of a text by name, each once.

    Examples
    --------
    >>> character_names("age\u200b")
    'ZERO WIDTH SPACE (U+200B)'
    """
    found = dict.fromkeys(INVISIBLE.findall(text))
    names = (unicodedata.name(c, CONTROLS.get(c, "CONTROL CHARACTER")) for c in found)
    return " and ".join(f"{name} (U+{ord(c):04X})" for c, name in zip(found, names, strict=True))


def _blank(match: re.Match[str]) -> str:
    """A plain blank for another kind of blank, nothing for what takes no room."""
    return " " if match.group() == "\t" or unicodedata.category(match.group()) == "Zs" else ""


def visible_header(header: list[str], line: int) -> tuple[list[str], list[Problem]]:
    """The names without invisible characters (other blanks become plain ones), and a problem for each that had one."""
    names, problems = [], []
    for place, name in enumerate(header, start=1):
        seen = INVISIBLE.sub(_blank, name).strip()
        if seen != name:
            rule, value = "have no invisible character", f"{character_names(name)} in column {place}"
            problems.append(Problem("", line, seen or "the header", "", rule, value, remedy="Type the name anew"))
        names.append(seen)
    return names, problems


def invisible_problems(table: pd.DataFrame) -> list[Problem]:
    """Cells with an invisible character: refused where a value or an identifier is read, else one warning a column."""
    problems = []
    for name in table:
        cells = table[name]
        if not INVISIBLE.search("\n".join(cells.tolist())):
            continue
        found = cells[cells.str.contains(INVISIBLE)]
        column = COLUMNS.get(name)
        strict = looks_like_patient(name) if column is None else column.kind != "text"
        strict |= bool(found.str.contains(DAMAGE).any())
        shown = found if strict else found[:1]
        count = "" if strict or len(found) == 1 else f" ({len(found)} rows have one)"
        for line, cell in shown.items():
            value = f"{character_names(cell)} in {INVISIBLE.sub('', cell)[:40]!r}{count}"
            severity = "refuse" if strict else "warn"
            rule = "have no invisible character"
            problems.append(Problem("", int(line), name, "", rule, value, severity, "Type the cell anew"))
    return problems


# --- delimited: The rows of a delimited text file (CSV), whatever program wrote it; quotation marks are taken s

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
BYTE_ORDER_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LINE = re.compile(r"[^\r\n]*(\r\n|\r|\n)")
CLOSE_QUOTE = "Close or remove the quotation mark"


def read_text(content: bytes) -> Sheet:
    """The rows of a CSV file, with the line where each begins."""
    text, notes = _decoded(content)
    text, first, separator, more = _without_preamble(text)
    separator = separator or _separator(text)
    if separator != ",":
        notes.append(f"{SEPARATORS.get(separator, repr(separator))}-separated")
    return _parsed(text, separator, first, [*notes, *more])


def _decoded(content: bytes) -> tuple[str, list[str]]:
    """The text of a file, and a note where it is not UTF-8."""
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), _unmarked(content))
    try:
        return content.decode(encoding).lstrip("\ufeff"), [] if "8" in encoding else [f"{encoding[:6].upper()} text"]
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        got = f"byte 0x{content[error.start]:02x} on line {line}"
        if encoding != "utf-8":
            raise TableError(f"be {encoding[:6].upper().removesuffix('-')} text throughout", got, SAVE_AS) from error
    for number, row in enumerate(content.splitlines(), start=1):  # each line by itself: files are glued together
        if not row.isascii() and row.decode("utf-8", "replace").count("\ufffd") == 0:
            raise TableError("have one encoding", f"UTF-8 on line {number}, but {got}", SAVE_AS)
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise TableError("be UTF-8 text", got, SAVE_AS) from error
    place = re.search(r"[^\x00-\x7f]", text).start()  # there is one, or it were UTF-8
    before = re.search(r"\w*\Z", text[max(place - 15, 0) : place]).group()
    word = before + text[place] + re.match(r"\w*", text[place + 1 : place + 15]).group()
    return text, [f"Windows-1252 text (such as {word!r} on line {content.count(bytes([10]), 0, place) + 1})"]


def _unmarked(content: bytes) -> str:
    """The encoding of a file without a byte order mark: UTF-16 has a NUL in every other byte of a header."""
    start = content[:400]
    even, odd = (start[offset::2].count(0) for offset in (0, 1))
    if max(even, odd) > 0.3 * len(start) / 2 and min(even, odd) < 0.1 * max(even, odd):
        return "utf-16-be" if even > odd else "utf-16-le"
    return "utf-8"


def _without_preamble(text: str) -> tuple[str, int, str, list[str]]:
    """The text from its header on, the header's line, the separator that a ``sep=`` line names, and notes."""
    first, place, separator, comments = 1, 0, "", []
    while line := LINE.match(text, place):
        words = line.group().strip()
        named_separator = re.fullmatch(r'"?sep=(.)"?\1*', line.group().strip("\r\n "), re.IGNORECASE)
        if named_separator and not separator:
            separator = named_separator.group(1)
        elif words.startswith("#") and "patientid" not in bare_name(words):
            comments.append(str(first))
        elif words.strip('",;\t| '):
            break
        place, first = line.end(), first + 1
    shown = ", ".join(comments[:3]) + ", ..." * (len(comments) > 3)
    notes = [f"comment on line {shown} left out"] if comments else []
    return text[place:], first, separator, notes


def _separator(text: str) -> str:
    """The separator by which the header names a patient's identifier, else the one that gives the most even rows."""
    lines = re.split(r"\r\n|\r|\n", text[:100_000])[:20]
    cells = {}
    for candidate in SEPARATORS:
        rows = [row for row in csv.reader(lines[: len(lines) - (len(lines) > 1)], delimiter=candidate) if any(row)]
        cells[candidate] = rows if rows and len(rows[0]) > 1 else []
    for candidate, rows in cells.items():
        if rows and any(looks_like_patient(name) for name in rows[0]):
            return candidate

    def evenness(candidate: str) -> tuple[float, int]:
        rows = cells[candidate]
        return (sum(len(row) == len(rows[0]) for row in rows) / len(rows), len(rows[0])) if rows else (0.0, 0)

    return max(SEPARATORS, key=evenness)


def _parsed(text: str, separator: str, first: int, notes: list[str]) -> Sheet:
    """Stripped cells of every row that has any; quotation marks are taken strictly, so that none swallows a row."""
    limit = csv.field_size_limit(max(len(text), 1))  # else a swallowed table is called a long field
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    lines, rows, problems, begin = [], [], [], first
    try:
        for row in reader:
            end = first + reader.line_num - 1
            if end > begin:
                row, found = _on_one_line(row, rows[0] if rows else row, separator, begin, end)
                problems += found
            cells = [cell.strip() for cell in row]
            if any(cells):
                lines.append(begin)
                rows.append(cells)
            begin = end + 1
    except csv.Error:
        raise _open_quote(text, rows, separator, (first, begin, first + reader.line_num - 1)) from None
    finally:
        csv.field_size_limit(limit)
    return Sheet(lines, rows, problems, notes)


def _on_one_line(
    row: list[str], header: list[str], separator: str, begin: int, end: int
) -> tuple[list[str], list[Problem]]:
    """A row with its line breaks as blanks, and a problem for each cell that has some."""
    problems = []
    for place, cell in enumerate(row):
        breaks = len(re.findall(r"\r\n|\r|\n", cell))
        if not breaks:
            continue
        column = header[place] if header is not row and place < len(header) else "the header"
        if len(header) > 1 and cell.count(separator) >= breaks * (len(header) - 1):
            rule = "have a closing quotation mark in its own row"
            value = f"one that opens on line {begin} and closes on line {end}, which swallows {breaks} patients"
            problems.append(Problem("", begin, column, patient_of(row, header), rule, value, remedy=CLOSE_QUOTE))
        elif column != "the header":
            problems.append(
                Problem(
                    "", begin, column, patient_of(row, header), "be on one line", "a line break in the cell", "warn"
                )
            )
    return [one_line(cell) for cell in row], problems


def _open_quote(text: str, rows: list[list[str]], separator: str, at: tuple[int, int, int]) -> TableError:
    """The fault of a row whose quotation mark is not closed, or not followed by a separator."""
    first, begin, end = at
    lines = re.split(r"\r\n|\r|\n", text)
    start = next(csv.reader([lines[begin - first]], delimiter=separator), [""])
    header = rows[0] if rows else []
    column = header[len(start) - 1] if len(start) <= len(header) else "the table"
    patient = patient_of(start[:-1], header)
    if begin == end and len(lines) - 1 + first > end + 1:
        value = f"one on line {begin} with text after it"
        return TableError("be followed by a separator at every closing quotation mark", value, CLOSE_QUOTE, begin)
    swallowed = sum(bool(line.strip()) for line in lines[begin - first : end - first + 1])
    total = sum(bool(line.strip()) for line in lines) - 1
    value = f"one that opens on line {begin} and swallows {swallowed} of {total} patients (lines {begin} to {end})"
    rule = "close every quotation mark"
    return TableError(rule, value, CLOSE_QUOTE, begin, column if column != "the table" else "", patient)


# --- workbook: The rows of an Excel workbook (.xlsx), as a person sees them in it

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


# --- tables: One reader for every table of patients: the manifest, the clinical table of an import, a hospit

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
