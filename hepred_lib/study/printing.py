"""The tables of a paper: LaTeX for each, and one Word document of them all, from their CSV files.

What is printed, its titles, heads and notes are in ``tables.yaml``. A table without a row is not printed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from hepred_lib.figures.style import typeset
from hepred_lib.literal import for_latex, visible
from hepred_lib.study.files import read_json, read_printed, write_bytes
from hepred_lib.study.run import are_simulated, renew_records
from hepred_lib.study.tables import PAGES, PRINTED, as_page, as_printed

WHO = {"test": "test patients", "development": "development patients (cross-fitted; none was held out)"}
NEW = "new patients"
WORD_FILE = "report/tables.docx"
# Width of a line in digits, in an A4 article at 10 points (345 pt), at sizes that can be read.
SIZES = {r"\footnotesize": 345 / 4.25, r"\scriptsize": 345 / 3.99}
GAP = 1.4  # between two columns, in digits
LONGEST_WORD = 18  # signs; longer ones, such as the names of files, may be broken anywhere
WORD_LINE_MM, WORD_DIGIT_MM = 170, 1.6  # Arial at 8 points


@dataclass(frozen=True)
class Page:
    """A table as text, with its heads in words, its title and its notes."""

    name: str
    label: str
    title: str
    cells: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def rows(self) -> list[list[str]]:
        """The heads, then the cells, with signs as they are set: − before a number, – between two."""
        words = self.cells.astype(str).to_numpy().tolist()
        body = [[row[0], *(typeset(cell).replace("< 0", "<0") for cell in row[1:])] for row in words]
        return [[_breakable(cell) for cell in row] for row in [list(self.cells), *body]]


def print_tables(folder: Path, out: Path | None = None) -> list[Path]:
    """Write ``tables/NAME.tex`` of every printed table of a run, those of ``external/`` too, and `WORD_FILE`.

    Parameters
    ----------
    folder : Path
        A finished run, or what ``hepred external`` wrote.
    out : Path, optional
        Write there instead, and only read the folder.

    Returns
    -------
    list of Path
        The files, the Word document last.
    """
    target = Path(out or folder)
    pages: list[Page] = []
    made: list[Path] = []
    for part in (".", "external"):
        found = {page.name: page for page in _pages(Path(folder), target, part)}
        for name in PRINTED:
            path = target / part / "tables" / f"{name}.tex"
            if name in found:
                write_bytes(path, latex(found[name]).encode())
                made.append(path)
            else:
                path.unlink(missing_ok=True)  # of an earlier run, which had something to print
        pages += found.values()
    write_bytes(target / WORD_FILE, word(pages))
    if out is None:
        renew_records(Path(folder))
    return [*made, target / WORD_FILE]


def _pages(folder: Path, target: Path, part: str) -> Iterator[Page]:
    """The printed tables of a run, or of its patients from elsewhere, that have a row; the report may be elsewhere."""
    results, patients = folder / "results.json", folder / part / "predictions.csv"
    own = part == "." and results.exists()
    who = WHO[read_json(results).get("judged", "test")] if own else NEW
    simulated = patients.exists() and are_simulated(read_printed(patients)["patient_id"])
    for name, how in PRINTED.items():
        paths = [root / part / "tables" / f"{name}.csv" for root in (target, folder)]
        path = next((path for path in paths if path.exists()), None)
        numbers = read_printed(path, numbers="text" not in how) if path else pd.DataFrame()
        if not len(numbers):
            continue
        plain = numbers if "text" in how else as_printed(numbers)
        cells = as_page(name, PAGES[name](numbers) if name in PAGES else plain)
        values, label = {"who": who} | dict(plain.iloc[0]), f"tab:{'new-' * (who == NEW)}{name.replace('_', '-')}"
        told = [text for column, text in how.get("notes_on", {}).items() if how["columns"][column] in cells]
        title, *notes = (text.format_map(values) for text in (how["title"], *how["notes"], *told))
        if cells.shape[1] > 1:
            yield Page(
                name, label, f"{title}.{' Simulated patients.' * bool(simulated)}", cells, tuple(map(typeset, notes))
            )


def _breakable(cell: str) -> str:
    """A cell that may be broken between two words and in long ones, at a file's seams, and not before a %."""

    def broken(found: re.Match) -> str:
        return re.sub(rf"([_./]|[^\u200b_./]{{{LONGEST_WORD}}})(?=.)", "\\1\u200b", found[0])

    cell = re.sub(r"(?<=[a-z]{4}/)(?=[a-z]{4})", "\u200b", cell)  # TeX hyphenates no word beyond a slash
    return re.sub(rf"\S{{{LONGEST_WORD + 1},}}", broken, cell).replace(" %", "\u00a0%")


def _width(text: str) -> float:
    """About how wide text is set, in digits."""
    wide, narrow = "mwMW%<>≥≤−", " iljt.,:;()'"
    return 0.5 * text.count("W") + sum(
        1.8 if sign in wide else 1.4 if sign.isupper() else 0.6 if sign in narrow else 1 for sign in text
    )


def _least(cell: str) -> float:
    """Width of the longest part of a cell that is not broken; words of letters can be hyphenated."""
    parts = re.split(r"[ \n\u200b]+", cell)
    return max(min(_width(part), 11.5) if re.sub(r"\W", "", part).isalpha() else _width(part) for part in parts)


def column_shares(rows: Sequence[Sequence[str]], line: float) -> tuple[list[float], bool]:
    """The share of a line for each column, and whether the line has room for every longest word.

    Parameters
    ----------
    rows : sequence of sequence of str
    line : float
        Width of the line in digits.

    Examples
    --------
    >>> column_shares([["a", "1"], ["a b c d e f", "2"]], 10)[1], column_shares([["a"], ["1234567890"]], 5)[1]
    (True, False)
    """
    columns = list(zip(*rows, strict=True))
    least = [max(map(_least, column)) + GAP for column in columns]
    # Heads and long text are wrapped: beyond half a line more width would only be taken from the others.
    wanted = [min(max(map(_width, column[1:])), line / 2) + GAP for column in columns]
    more = [max(most - low, 0.0) for most, low in zip(wanted, least, strict=True)]
    spare = max(line - sum(least), 0.0)
    # Words at the head of a row are wrapped before its numbers.
    more[0] = min(more[0], max(more[0] / 3, spare - sum(more[1:])))
    filled = min(1.0, spare / max(sum(more), 1.0))
    widths = [low + filled * wider for low, wider in zip(least, more, strict=True)]
    return [width / max(sum(widths), line) for width in widths], sum(least) <= line


def latex(page: Page) -> str:
    r"""A table as a longtable that fits the line (booktabs): caption, heads on every page, notes below.

    Special characters are escaped, signs beyond Latin letters become commands: any LaTeX with UTF-8 input can set it.
    """
    rows = page.rows
    fitting = [size for size, line in SIZES.items() if column_shares(rows, line)[1]]
    size = fitting[0] if fitting else list(SIZES)[-1]
    if not fitting:  # then numbers, too, are broken at their seams
        rows = [[re.sub(r"([–/])(?=.)", "\\1\u200b", cell) for cell in row] for row in rows]
    shares, _ = column_shares(rows, SIZES[size])
    form = r">{\raggedright\arraybackslash\hspace{0pt}}p{\dimexpr %.4f\linewidth-2\tabcolsep\relax}"
    # A line that begins with a bracket or a star would be read as an option of the line break before.
    head, *body = (" & ".join("{}" * cell.startswith(("[", "*")) + for_latex(cell) for cell in row) for row in rows)
    return "\n".join([
        r"% Needs \usepackage{array,booktabs,longtable}",
        rf"\begingroup{size}\setlength{{\tabcolsep}}{{2.5pt}}\setlength{{\LTcapwidth}}{{\linewidth}}\setlength{{\LTpost}}{{2pt}}",
        rf"\begin{{longtable}}{{@{{}}{''.join(form % share for share in shares)}@{{}}}}",
        rf"\caption{{{for_latex(page.title)}}}\label{{{page.label}}}\\",
        *(r"\toprule", rf"{head} \\", r"\midrule", r"\endfirsthead"),
        *(r"\toprule", rf"{head} \\", r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"),
        *(rf"{row} \\" for row in body),
        r"\end{longtable}",
        *(rf"\noindent {for_latex(note)}\par" for note in page.notes),
        *(r"\endgroup", ""),
    ])  # fmt: skip


def word(pages: Sequence[Page]) -> bytes:
    """All tables as one Word document, a table a page, heads repeated where it goes on; the same bytes every time."""
    from docx import Document  # takes a while to load
    from docx.shared import Mm, Pt, RGBColor

    document = Document()
    document.core_properties.author, document.core_properties.title = "", "Tables"
    section, normal = document.sections[0], document.styles["Normal"]
    section.page_width, section.page_height = Mm(210), Mm(297)
    for side in ("left", "right", "top", "bottom"):
        setattr(section, f"{side}_margin", Mm((210 - WORD_LINE_MM) / 2))
    normal.font.name, normal.font.size, normal.paragraph_format.space_after = "Arial", Pt(8), Pt(0)
    document.styles["Caption"].font.color.rgb = RGBColor(0, 0, 0)
    for number, page in enumerate(pages, 1):
        caption = document.add_paragraph(style="Caption")
        caption.paragraph_format.keep_with_next, caption.paragraph_format.page_break_before = True, number > 1
        caption.add_run(f"Table {number}. {visible(page.title)}")
        _add_table(document, page.rows)
        for note in page.notes:
            document.add_paragraph(visible(note))
    stream = BytesIO()
    document.save(stream)
    return _undated(stream)


def _add_table(document: Any, rows: Sequence[Sequence[str]]) -> None:
    """One table with rules above, below and under its heads, which are repeated on every page."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn
    from docx.shared import Mm

    table = document.add_table(len(rows), len(rows[0]), style="Light Shading")
    table.autofit = False
    look = table._tbl.tblPr.find(qn("w:tblLook"))
    for name, value in {"val": "0620", "firstColumn": "0", "noHBand": "1", "noVBand": "1"}.items():
        look.set(qn(f"w:{name}"), value)
    margins = OxmlElement("w:tblCellMar")
    for side in ("left", "right"):
        margins.append(OxmlElement(f"w:{side}", {qn("w:w"): "40", qn("w:type"): "dxa"}))  # 0.7 mm
    look.addprevious(margins)
    shares, _ = column_shares(rows, WORD_LINE_MM / WORD_DIGIT_MM)
    for column, share in zip(table.columns, shares, strict=True):
        column.width = Mm(share * WORD_LINE_MM)
    for words, line in zip(rows, table.rows, strict=True):
        for text, cell, share in zip(words, line.cells, shares, strict=True):
            cell.text, cell.width = visible(text), Mm(share * WORD_LINE_MM)
        line._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
    table.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))


def _undated(stream: BytesIO) -> bytes:
    """A zip file again, its entries without the time of writing."""
    plain = BytesIO()
    with zipfile.ZipFile(stream) as dated, zipfile.ZipFile(plain, "w", zipfile.ZIP_DEFLATED) as undated:
        for name in dated.namelist():
            undated.writestr(zipfile.ZipInfo(name), dated.read(name), zipfile.ZIP_DEFLATED)
    return plain.getvalue()
