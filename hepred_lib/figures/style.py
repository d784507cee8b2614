"""One style sheet: sizes in millimetres, colours, and bytes that do not change between runs.

The sheet is applied as a context, over matplotlib's own defaults, so that neither a user's ``matplotlibrc`` nor an
earlier figure can change a line; the global state is left as it was. Colours are those of Okabe and Ito [1]_, and every
model also has a line style and a marker of its own: a figure printed in grey says the same.

References
----------
.. [1] Okabe M, Ito K. Color Universal Design: how to make figures and presentations that are friendly to colorblind
   people. 2002. https://jfly.uni-koeln.de/color/
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from math import ceil
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.text import Text

from hepred_lib.literal import shortened

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "0.45"

MM_PER_INCH = 25.4

# What would differ from day to day is left out.
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"Creator": "hepred", "Producer": "hepred", "CreationDate": None},
    "svg": {"Creator": "hepred", "Date": None},
    "tiff": {},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Journal:
    """What a journal asks of its artwork: widths of one and two columns in mm, size of the text, letters of panels."""

    single_mm: float
    double_mm: float
    text_pt: float
    letters: str


JOURNALS = {
    "springer": Journal(84, 174, 8, ascii_lowercase),  # Neuroradiology
    "nature": Journal(89, 183, 7, ascii_lowercase),
    "radiology": Journal(84, 178, 8, ascii_uppercase),
}
PRINT_PT = JOURNALS["springer"].text_pt
SINGLE_MM, DOUBLE_MM = JOURNALS["springer"].single_mm, JOURNALS["springer"].double_mm

# As wide as Helvetica and Arial, which journals ask for, and free; it comes with the library, so that every machine has
# the same glyphs. In front of all others: a system may have another version of it.
FAMILY = "Liberation Sans"
for _font in sorted((Path(__file__).parent / "fonts").glob("*.ttf")):
    fontManager.addfont(_font)
    fontManager.ttflist.insert(0, fontManager.ttflist.pop())

SHEET: dict[str, Any] = {
    "font.family": [FAMILY, "DejaVu Sans"],  # the second, which matplotlib brings along, for rare signs
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "hepred",
    "text.parse_math": False,  # a dollar sign in the name of a site is no formula
    "text.hinting": "none",  # letters as wide in the PNG as in the PDF, at any resolution
    "pdf.fonttype": 42,  # text stays text: searchable, and editable by a journal's typesetter
    **dict.fromkeys(
        ("font.size", "xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), PRINT_PT
    ),
    **dict.fromkeys(("axes.labelsize", "axes.titlesize"), PRINT_PT),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width", "patch.linewidth"), 0.6),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "axes.formatter.useoffset", "legend.frameon"), False),
    **{"figure.dpi": 300, "axes.titlelocation": "left", "axes.axisbelow": True, "legend.handlelength": 2.6},
    **{"lines.linewidth": 1.2, "lines.markersize": 4, "hatch.linewidth": 0.5},
    **{"image.cmap": "gray", "image.interpolation": "nearest"},
}


@dataclass(frozen=True)
class LineStyle:
    """How one model is drawn: its name for a reader, and its colour, line and marker."""

    name: str
    color: str
    line: Any  # as matplotlib names or dashes it
    marker: str


MODELS = {
    "image": LineStyle("Image", BLUE, "--", "s"),
    "clinical": LineStyle("Clinical", ORANGE, (0, (4, 1, 1, 1)), "^"),
    "integrated": LineStyle("Integrated", GREEN, "-", "o"),
    "oracle": LineStyle("Oracle", GREY, ":", "D"),
    "treat_all": LineStyle("Treat all", "black", (0, (1, 2)), ""),
    "treat_none": LineStyle("Treat none", GREY, "-", ""),
}

GUIDE: dict[str, Any] = {"color": GREY, "linestyle": ":", "linewidth": 0.8}  # chance, no effect, the ideal

_OTHERS = ((PURPLE, (0, (6, 2)), "v"), (SKY, (0, (3, 1, 1, 1, 1, 1)), "P"), (VERMILLION, (0, (2, 1)), "X"))


def sheet(text_pt: float = PRINT_PT) -> AbstractContextManager[None]:
    """Return the style sheet as a context, its text in the given size: ``with sheet(): ...``."""
    sizes = {name: text_pt for name, value in SHEET.items() if value == PRINT_PT and "size" in name}
    return matplotlib.style.context(SHEET | sizes, after_reset=True)


def line_styles(models: Iterable[str]) -> dict[str, LineStyle]:
    """Return the style of each model, in the order in which models are always named.

    Parameters
    ----------
    models : iterable of str
        The models present, repeated or not. Absent models are simply absent from the result; a model without a style
        of its own (a published score, say) follows the known ones under its own name.

    Examples
    --------
    >>> list(line_styles(["brain", "integrated", "clinical", "clinical"]))
    ['clinical', 'integrated', 'brain']
    """
    present = list(dict.fromkeys(models))
    others = [LineStyle(name, *look) for name, look in zip((m for m in present if m not in MODELS), cycle(_OTHERS))]
    return {m: style for m, style in MODELS.items() if m in present} | {style.name: style for style in others}


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """Return an empty figure of the given size that lays out its axes, legends and labels without overlap."""
    return Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), layout="constrained")


def stamp_simulated(figure: Figure) -> None:
    """Print "simulated" in the upper right corner, in a strip of 4 mm that the layout then leaves free."""
    width_mm, height_mm = (figure.get_size_inches() * MM_PER_INCH).tolist()
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - 4 / height_mm))
    figure.text(1 - 1.5 / width_mm, 1 - 1 / height_mm, "simulated", color=GREY, ha="right", va="top", style="italic")


def render(figure: Figure, *, png_dpi: int = 300, formats: Iterable[str] = ("pdf", "png")) -> dict[str, bytes]:
    """Return the figure as PDF and PNG, or in other formats, the same bytes whenever the same figure is rendered.

    Parameters
    ----------
    figure : matplotlib Figure
        As :func:`hepred_lib.figures.catalogue.draw` returns it.
    png_dpi : int
        Dots per inch of the PNG and TIFF, and of the CT images inside the PDF: 300 for the screen, 600 for print.
    formats : iterable of {"pdf", "svg", "tiff", "png"}

    Returns
    -------
    dict
        ``{"pdf": bytes, "png": bytes}``. Dates and version numbers are left out.
    """
    return {extension: png(figure, dpi=png_dpi, extension=extension) for extension in formats}


def png(figure: Figure, *, dpi: int, extension: str = "png") -> bytes:
    """Return the figure as PNG alone, for a page on the screen."""
    buffer = io.BytesIO()
    with sheet():
        packed: dict[str, Any] = {"pil_kwargs": {"compression": "tiff_lzw"}} if extension == "tiff" else {}
        figure.savefig(buffer, format=extension, dpi=dpi, metadata=METADATA[extension] or None, **packed)
    return buffer.getvalue()


OUTCOMES = {
    0: LineStyle("no HE", "#3A8FC4", "--", "o"),  # sky blue, darkened until a thin line stands out on white
    1: LineStyle("HE", VERMILLION, "-", "^"),
}


# Signs a line of what is drawn: names of predictors and places must leave room for the figure.
LONGEST = {"group": 36, "split": 36, "label": 64, "unit": 36, "text": 200, "variable": 36, "other": 36}
NO_GLYPH = "□"


def printable(data: pd.DataFrame | Mapping[str, np.ndarray]) -> pd.DataFrame | Mapping[str, np.ndarray]:
    """Return a figure's data with text that the font has and the page holds; everything else is as it was."""
    if isinstance(data, pd.DataFrame):
        worded = [name for name in data if pd.api.types.infer_dtype(data[name], skipna=True) == "string"]
        words = {name: data[name].map(_drawn(LONGEST.get(name, 200)), na_action="ignore") for name in worded}
        return data.assign(**words) if words else data
    arrays = {key: np.asarray(values) for key, values in data.items()}
    texts = {key: values for key, values in arrays.items() if values.dtype.kind == "U" and values.size}
    drawn = {key: np.array(list(map(_drawn(200), texts[key].ravel().tolist()))) for key in texts}
    return arrays | {key: values.reshape(texts[key].shape) for key, values in drawn.items()}


def panels(figure: FigureBase, count: int, *, columns: int, sharey: bool = False) -> list[Axes]:
    """Return `count` axes in rows of at most `columns`; places left over in the last row stay empty."""
    width = min(columns, count)
    grid = figure.subplots(ceil(count / width), width, squeeze=False, sharey=sharey)
    for spare in grid.flat[count:]:
        spare.set_axis_off()
    return list(grid.flat[:count])


def no_data(figure: FigureBase, words: str = "no data") -> list[Axes]:
    """Return one pair of axes that says why it is empty."""
    axes = figure.subplots()
    say_no_data(axes, words)
    axes.set_yticks([])
    return [axes]


def say_no_data(axes: Axes, words: str = "no data") -> None:
    """Write "no data" where a curve would be."""
    axes.set_xticks([])
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=GREY)


def by_model(table: pd.DataFrame) -> Iterator[tuple[LineStyle, pd.DataFrame]]:
    """Yield each model's style and rows, in the fixed order of the models."""
    for model, style in line_styles(table["model"]).items():
        yield style, table[table["model"] == model]


def sample_size(table: pd.DataFrame) -> str | None:
    """Return "n = 60, 12 with HE" where all rows agree on `n` and `events`, otherwise None."""
    sizes = table[["n", "events"]].dropna().drop_duplicates()
    return "n = {:.0f}, {:.0f} with HE".format(*sizes.iloc[0]) if len(sizes) == 1 else None


LETTER = "panel letter"  # by which it is found again


def letters(grid: Iterable[Axes], *, inside: bool = False) -> None:
    """Name the panels of a figure a, b, c at their upper left corners; one alone has no name.

    The letter stands left of the axes, or above their corner where they have no marks (`inside`).
    """
    panels = list(grid)
    for axes, letter in zip(panels if len(panels) > 1 else [], ascii_lowercase, strict=False):
        offset, side = ((0, 2), "left") if inside else ((-4, 5), "right")
        where: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
        text = axes.annotate(letter, (0, 1), offset, ha=side, va="bottom", weight="bold", **where)
        text.set_gid(LETTER)


def as_asked(figure: Figure, journal: Journal) -> None:
    """Put the letters of all panels into the journal's form."""
    lettered = (text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_gid() == LETTER)
    for text in lettered:
        text.set_text(journal.letters[ascii_lowercase.index(text.get_text())])


def model_label(rows: pd.DataFrame, *, common_size: str | None) -> str:
    """Return a model's label; its own sample size is added where the models do not share one."""
    label, own_size = typeset(str(rows["label"].iloc[0])), sample_size(rows)
    between = "\n" if "\n" in label else "; "
    return label if common_size or not own_size else f"{label}{between}{own_size}"


def band(axes: Axes, x: pd.Series, rows: pd.DataFrame, style: LineStyle) -> None:
    """Shade between `low` and `high`; thin edges in the model's own line keep overlapping bands apart in grey."""
    if rows["low"].isna().all():
        return
    axes.fill_between(x, rows["low"], rows["high"], color=style.color, alpha=0.13, linewidth=0)
    for edge in ("low", "high"):
        axes.plot(x, rows[edge], color=style.color, linestyle=style.line, linewidth=0.4, alpha=0.8)


def forest_row(
    axes: Axes, place: float, limits: tuple[float, ...], *, x: float, look: Mapping[str, Any], text: str, clip_on: bool
) -> None:
    """Draw an estimate with its interval, arrows at the ends that lie outside the axis, and words at the right."""
    (value, low, high), (left, right) = limits, axes.get_xlim()
    axes.plot(np.clip([low, high], left, right), [place, place], color=look["color"])
    for end, arrow in ((left, "<"), (right, ">")):
        if low < end == left or high > end == right:
            axes.plot(end, place, marker=arrow, color=look["color"], clip_on=False)
    if clip_on or left <= value <= right:
        axes.plot(value, place, clip_on=clip_on, **look)
    say_right(axes, place, text, x=x)


def say_right(axes: Axes, place: float, text: str, *, x: float, **look: Any) -> None:
    """Write at the right of the axes, at the height of a line of a forest."""
    axes.text(x, place, text, transform=axes.get_yaxis_transform(), va="center_baseline", **look)


def typeset(text: str) -> str:
    """Return text with typographic ranges and minus signs.

    Examples
    --------
    >>> typeset("AUC 0.73 (0.54-0.86), in the large -0.16")
    'AUC 0.73 (0.54–0.86), in the large −0.16'
    """
    return re.sub(r"(?<![\w.])-(?=\d)", "−", re.sub(r"(?<=\d)-(?=[\d.−-])", "–", text))


def legend_below(figure: FigureBase, handles: Sequence[Artist], *, columns: int = 1) -> None:
    """Put one legend under the axes, where it can hide no curve."""
    figure.legend(handles=list(handles), ncols=columns, loc="outside lower center")


def decimal(value: float, digits: int = 1) -> str:
    """Return a number with a typographic minus sign, as the axes print it; zero has none."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def estimate_text(value: float, low: float, high: float) -> str:
    """Return an estimate with its limits, where both are known.

    Examples
    --------
    >>> estimate_text(0.7, 0.61, 0.8), estimate_text(-0.001, -0.5, 0.5), estimate_text(0.7, np.nan, 0.8)
    ('0.70 (0.61–0.80)', '0.00 (−0.50 to 0.50)', '0.70')
    """
    ends = (" to " if low < 0 else "–").join(decimal(end, 2) for end in (low, high))
    return decimal(value, 2) + (f" ({ends})" if np.isfinite([low, high]).all() else "")


def p_text(p: float) -> str:
    """Return a p value with two significant digits; nothing where it is not known.

    Examples
    --------
    >>> p_text(0.00002), p_text(0.0312), p_text(0.317)
    ('<0.001', '0.031', '0.32')
    """
    return "" if np.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def ratio_text(value: float) -> str:
    """Return a ratio with two decimals below 10, one below 100, none above.

    Examples
    --------
    >>> ratio_text(0.004), ratio_text(0.125), ratio_text(82.66)
    ('<0.01', '0.12', '82.7')
    """
    return "<0.01" if value < 0.005 else f"{value:.{2 - (value >= 10) - (value >= 100)}f}"


def finite(values: pd.Series) -> np.ndarray:
    """Return the finite values as an array of float."""
    array = values.to_numpy(dtype=float)
    return array[np.isfinite(array)]


def _drawn(longest: int) -> Callable[[str], str]:
    """Return what makes a text printable: visible signs of the font, in lines that are not too long."""

    def plain(text: str) -> str:
        known, spaced = _glyphs(), re.sub(r"[^\S\n]", " ", text)
        signs = (sign for sign in spaced if sign == "\n" or sign.isprintable())
        return shortened("".join(sign if sign in " \n" or ord(sign) in known else NO_GLYPH for sign in signs), longest)

    return plain


@cache
def _glyphs() -> frozenset[int]:
    """Return the numbers of all signs that the figures' fonts have."""
    return frozenset(sign for family in SHEET["font.family"] for sign in get_font(findfont(family)).get_charmap())
