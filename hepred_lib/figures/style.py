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
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import cycle

import matplotlib.style
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "0.45"

MM_PER_INCH = 25.4

METADATA = {
    "pdf": {"Creator": "hepred", "Producer": "hepred", "CreationDate": None},
    "png": {"Software": None},
}

SHEET = {
    "font.family": "DejaVu Sans",  # matplotlib brings it along: the same glyphs on every machine
    "font.size": 7,
    "text.parse_math": False,  # a dollar sign in the name of a site is no formula
    "text.hinting": "none",  # letters as wide in the PNG as in the PDF, at any resolution
    "figure.dpi": 300,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "patch.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "pdf.fonttype": 42,  # text stays text: searchable, and editable by a journal's typesetter
}


@dataclass(frozen=True)
class LineStyle:
    """How one model is drawn: its name for a reader, and its colour, line and marker."""

    name: str
    color: str
    line: str | tuple
    marker: str


MODELS = {
    "image": LineStyle("Image", BLUE, "--", "s"),
    "clinical": LineStyle("Clinical", ORANGE, (0, (4, 1, 1, 1)), "^"),
    "integrated": LineStyle("Integrated", GREEN, "-", "o"),
    "oracle": LineStyle("Oracle", GREY, ":", "D"),
    "treat_all": LineStyle("Treat all", "black", (0, (1, 1)), ""),
    "treat_none": LineStyle("Treat none", GREY, "-", ""),
}

_OTHERS = ((PURPLE, (0, (6, 2)), "v"), (SKY, (0, (3, 1, 1, 1, 1, 1)), "P"), (VERMILLION, (0, (2, 1)), "X"))


def sheet() -> AbstractContextManager[None]:
    """Return the style sheet as a context: ``with sheet(): ...``."""
    return matplotlib.style.context(SHEET, after_reset=True)


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


def freeze(figure: Figure) -> Figure:
    """Lay the figure out once and for all, so that PDF and PNG, and a second rendering, agree to the last point."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def stamp_simulated(figure: Figure) -> None:
    """Print "simulated" in the upper right corner, in a strip of 4 mm that the layout then leaves free."""
    width_mm, height_mm = (figure.get_size_inches() * MM_PER_INCH).tolist()
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 4 / height_mm))
    figure.text(1 - 1.5 / width_mm, 1 - 1 / height_mm, "simulated", color=GREY, ha="right", va="top", style="italic")


def render(figure: Figure, *, png_dpi: int = 300) -> dict[str, bytes]:
    """Return the figure as PDF and PNG, the same bytes whenever the same figure is rendered.

    Parameters
    ----------
    figure : matplotlib Figure
        As :func:`hepred_lib.figures.catalogue.draw` returns it.
    png_dpi : int
        Dots per inch of the PNG, and of the CT images inside the PDF: 300 for the screen, 600 for print.

    Returns
    -------
    dict
        ``{"pdf": bytes, "png": bytes}``. Dates and version numbers are left out of both.
    """
    return {extension: _rendered(figure, extension, png_dpi) for extension in METADATA}


def png(figure: Figure, *, dpi: int) -> bytes:
    """Return the figure as PNG alone, for a page on the screen."""
    return _rendered(figure, "png", dpi)


def _rendered(figure: Figure, extension: str, dpi: int) -> bytes:
    buffer = io.BytesIO()
    with sheet():
        figure.savefig(buffer, format=extension, dpi=dpi, metadata=METADATA[extension])
    return buffer.getvalue()
