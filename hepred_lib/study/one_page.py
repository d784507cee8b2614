"""One A4 page as PDF: headings with text, one table, pictures in a row, a list of warnings.

The page is set in the largest type at which everything fits; the pictures take the height that the text leaves. Nothing
of the text is read as markup, and equal pages are equal bytes.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from hepred_lib.figures.style import METADATA, MM_PER_INCH, SHEET, printable, sheet

A4_MM, MARGIN_MM, POINTS_PER_INCH = (210.0, 297.0), 14.0, 72.0
WIDTH_MM = A4_MM[0] - 2 * MARGIN_MM  # of what is printed
TYPE_PT = (10.0, 9.75, 9.5, 9.25, 9.0, 8.75, 8.5, 8.25, 8.0, 7.75, 7.5, 7.25, 7.0)
LINE, TITLE = 1.38, 1.55  # of the type: height of a line, size of the title
LEAST_PICTURE_MM, GAP_MM = 66.0, 4.0
UNIT = re.compile(r"(\d) (%|mL)")
MOST_PIXELS = 50_000_000  # of a picture
PRINTED_DPI = 400
INK, SOFT, CAUTION, SIMULATED = "#1c2733", "#c9d2da", "#f0f3f5", "#fdebd0"


@dataclass(frozen=True)
class Part:
    """A heading and its text."""

    heading: str
    text: str


@dataclass(frozen=True)
class OnePage:
    """What the page says, in the order in which it is printed.

    Attributes
    ----------
    title, simulated, foot : str
        ``simulated`` is empty for real patients.
    question, patients, models, external, verdict : Part
        Of the models the text stands below the table.
    table : list of list of str
        The head, then a row for each model.
    pictures : sequence of ndarray
        As `read_picture` gives them.
    cautions : Part
        The heading of the warnings; its text stands where there is none.
    warnings : sequence of str
    """

    title: str
    simulated: str
    question: Part
    patients: Part
    models: Part
    table: Sequence[Sequence[str]]
    pictures: Sequence[np.ndarray]
    external: Part
    cautions: Part
    warnings: Sequence[str]
    verdict: Part
    foot: str


@dataclass(frozen=True)
class _Line:
    """One thing to print at a distance from the top, in millimetres."""

    text: str
    top: float
    size: float
    left: float = 0.0
    bold: bool = False


@dataclass
class _Column:
    """Lines, boxes and rules from the top of the page downwards; ``top`` is where the next one goes."""

    size: float
    top: float = 0.0
    lines: list[_Line] = field(default_factory=list)
    boxes: list[tuple[float, float, str]] = field(default_factory=list)
    rules: list[float] = field(default_factory=list)

    def text(self, words: str, *, scale: float = 1.0, bold: bool = False, indent: float = 0.0) -> None:
        size = scale * self.size
        for line in wrapped(words, size, WIDTH_MM - 2 * indent, bold=bold):
            self.lines.append(_Line(line, self.top, size, indent, bold))
            self.top += _height(size)

    def part(self, part: Part) -> None:
        self.gap(0.55)
        self.text(part.heading, bold=True, scale=1.05)
        self.text(part.text)

    def gap(self, share: float) -> None:
        self.top += share * _height(self.size)


def pdf(page: OnePage) -> bytes:
    """The page as PDF, the same bytes whenever the same page is printed."""
    with sheet():
        above, below, height = _fitted(page)
        figure = Figure(figsize=(A4_MM[0] / MM_PER_INCH, A4_MM[1] / MM_PER_INCH))
        for column, start in ((above, MARGIN_MM), (below, MARGIN_MM + above.top + height + GAP_MM)):
            _print_column(figure, column, start)
        _print_pictures(figure, page, MARGIN_MM + above.top + GAP_MM / 2, height)
        content = io.BytesIO()
        figure.savefig(content, format="pdf", metadata={**METADATA["pdf"], "Title": page.title})
    return content.getvalue()


def printed(words: str) -> str:
    r"""Text with visible signs that the font has, one blank between words, no word longer than a line.

    Examples
    --------
    >>> printed("a  site\u202e of " + "x" * 200)[:20]
    'a site of xxxxxxxxxx'
    """
    return " ".join(printable({"text": np.array(words.split())})["text"])


def read_picture(content: bytes) -> np.ndarray:
    """A PNG as pixels, shape (height, width, 3), 0 to 1.

    Raises
    ------
    ValueError
        It is no PNG, or larger than a page can use; of a damaged one also what the reader of pictures raises.
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        raise ValueError("it is no PNG")
    width, height = struct.unpack(">II", content[16:24])
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"a picture of {width} by {height} pixels cannot be printed")
    pixels = imread(io.BytesIO(content))
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels[:, :, :3]


def wrapped(words: str, size: float, width: float, *, bold: bool = False) -> list[str]:
    """Text in lines that are no wider than so many millimetres in type of this size; a number keeps its unit."""
    lines: list[str] = []
    for word in UNIT.sub("\\1\N{NO-BREAK SPACE}\\2", words).split(" ") if words else ():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, bold=bold) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


@lru_cache(maxsize=20_000)
def text_width(words: str, size: float, *, bold: bool = False) -> float:
    """Width of a line of text in millimetres."""
    font = FontProperties(family=SHEET["font.family"], size=size, weight="bold" if bold else "normal")
    return text_to_path.get_text_width_height_descent(words, font, False)[0] / POINTS_PER_INCH * MM_PER_INCH


def _fitted(page: OnePage) -> tuple[_Column, _Column, float]:
    """What is printed above and below the pictures, and their height: in the largest type that leaves them room."""
    widest = (WIDTH_MM - GAP_MM * (len(page.pictures) - 1)) / sum(map(_slenderness, page.pictures))
    for size in TYPE_PT:
        above, below = _above(page, size), _below(page, size)
        height = A4_MM[1] - 2 * MARGIN_MM - GAP_MM - above.top - below.top
        if height >= min(LEAST_PICTURE_MM, widest):
            break
    return above, below, min(height, widest)


def _above(page: OnePage, size: float) -> _Column:
    column = _Column(size)
    column.text(page.title, scale=TITLE, bold=True)
    if page.simulated:
        column.gap(0.6)
        start = column.top - 0.3 * _height(size)
        column.text(page.simulated, bold=True, indent=2.0)
        column.gap(0.3)
        column.boxes.append((start, column.top, SIMULATED))
    column.part(page.question)
    column.part(page.patients)
    column.part(replace(page.models, text=""))
    _add_table(column, page.table)
    column.gap(0.2)
    column.text(page.models.text, scale=0.92)
    column.gap(0.5)
    return column


def _below(page: OnePage, size: float) -> _Column:
    column = _Column(size)
    column.part(page.external)
    column.gap(0.7)
    start = column.top - 0.3 * _height(size)
    column.text(page.cautions.heading, bold=True, scale=1.05, indent=2.0)
    for words in page.warnings or [page.cautions.text]:
        column.lines.append(_Line("•", column.top, size, 2.0))
        column.text(words, indent=5.0)
    column.gap(0.3)
    column.boxes.append((start, column.top, CAUTION))
    column.part(page.verdict)
    column.gap(0.6)
    column.rules.append(column.top)
    column.gap(0.2)
    column.text(page.foot, bold=True, scale=0.92)
    return column


def _add_table(column: _Column, rows: Sequence[Sequence[str]]) -> None:
    """A table over the whole width, in smaller type where its cells need it."""

    def widths(size: float) -> list[float]:
        return [max(text_width(cell, size, bold=True) for cell in cells) for cells in zip(*rows, strict=True)]

    size = column.size * min(1.0, (WIDTH_MM - GAP_MM * (len(rows[0]) - 1)) / sum(widths(column.size)))
    needed = widths(size)
    between = (WIDTH_MM - sum(needed)) / max(len(needed) - 1, 1)
    for k, row in enumerate(rows):
        column.gap(0.12)
        for cell, left in zip(row, np.cumsum([0.0, *(width + between for width in needed[:-1])]), strict=True):
            column.lines.append(_Line(cell, column.top, size, float(left), bold=k == 0))
        column.gap(1.08)
        column.rules.append(column.top)


def _print_column(figure: Figure, column: _Column, start: float) -> None:
    for top, bottom, colour in column.boxes:
        corner = _place(0.0, start + bottom)
        shape = (WIDTH_MM / A4_MM[0], (bottom - top) / A4_MM[1])
        figure.add_artist(Rectangle(corner, *shape, transform=figure.transFigure, color=colour, linewidth=0, zorder=0))
    for top in column.rules:
        (left, y), (right, _) = _place(0.0, start + top), _place(WIDTH_MM, start + top)
        figure.add_artist(Line2D([left, right], [y, y], transform=figure.transFigure, color=SOFT, linewidth=0.6))
    for line in column.lines:
        baseline = start + line.top + 0.78 * _height(line.size)
        weight = "bold" if line.bold else "normal"
        figure.text(*_place(line.left, baseline), line.text, fontsize=line.size, fontweight=weight, color=INK)


def _print_pictures(figure: Figure, page: OnePage, top: float, height: float) -> None:
    """The pictures side by side, in the middle of the page."""
    widths = [height * _slenderness(picture) for picture in page.pictures]
    left = (WIDTH_MM - sum(widths) - GAP_MM * (len(widths) - 1)) / 2
    for width, picture in zip(widths, page.pictures, strict=True):
        axes = figure.add_axes((*_place(left, top + height), width / A4_MM[0], height / A4_MM[1]))
        axes.set_axis_off()
        axes.imshow(_reduced(picture, height), aspect="auto", interpolation="none")
        left += width + GAP_MM


def _slenderness(picture: np.ndarray) -> float:
    """Width over height."""
    return picture.shape[1] / picture.shape[0]


def _reduced(picture: np.ndarray, height: float) -> np.ndarray:
    """A picture as bytes of RGB, with hardly more pixels than are printed."""
    step = max(int(len(picture) / (height / MM_PER_INCH * PRINTED_DPI)), 1)
    rows, columns = (side // step for side in picture.shape[:2])
    blocks = picture[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    return np.round(255 * blocks.mean(axis=(1, 3))).astype(np.uint8)


def _height(size: float) -> float:
    """Of a line, in millimetres."""
    return LINE * size / POINTS_PER_INCH * MM_PER_INCH


def _place(left: float, top: float) -> tuple[float, float]:
    """A place inside the left margin, in shares of the page from its lower left corner."""
    return (MARGIN_MM + left) / A4_MM[0], 1 - top / A4_MM[1]
