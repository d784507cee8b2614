"""The rows of a delimited text file (CSV), whatever program wrote it; quotation marks are taken strictly."""

from __future__ import annotations

import codecs
import csv
import re
from io import StringIO

from hepred_lib.manifest.rules import Problem
from hepred_lib.manifest.sheet import SAVE_AS, Sheet, TableError, bare_name, looks_like_patient, one_line, patient_of

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
