"""Where figures and tables meet files: what a notebook shows is what ``hepred figures`` makes again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Image
from IPython.display import Markdown as Formatted
from matplotlib.figure import Figure

from hepred_lib.figures.catalogue import FIGURES, describe, draw
from hepred_lib.figures.style import png, render
from hepred_lib.literal import without_html
from hepred_lib.study import (
    read_figure_data,
    read_printed,
    write_bytes,
    write_figure_data,
    write_latex,
    write_printed,
    write_table,
)
from hepred_lib.study.identity import renew_records

PRINT_DPI, SCREEN_DPI = 600, 200
CSS_PIXELS_PER_INCH = 96


class Markdown(Formatted):
    """Sentences of a notebook, in Markdown; a name in them that looks like HTML stays text."""

    def __init__(self, text: str) -> None:
        super().__init__(without_html(text))


def show(folder: Path, name: str, data: pd.DataFrame | Mapping[str, np.ndarray]) -> Image:
    """Keep a figure's data in ``figure_data/``, draw it, save it in ``figures/`` and return it for the notebook.

    Parameters
    ----------
    folder : Path
        The run's folder.
    name : str
        An entry of :data:`hepred_lib.figures.catalogue.FIGURES`.
    data : DataFrame or mapping of arrays
        All that the figure draws.

    Returns
    -------
    IPython Image
        The figure in its printed size, with its sentence as alternative text (``alt`` in the output's metadata).
    """
    write_figure_data(folder / "figure_data", name, data)
    figure = save(folder, name, data)
    width = round(figure.get_size_inches()[0] * CSS_PIXELS_PER_INCH)
    return Image(png(figure, dpi=SCREEN_DPI), format="png", width=width, alt=describe(name, data))


def save(folder: Path, name: str, data: pd.DataFrame | Mapping[str, np.ndarray]) -> Figure:
    """Draw a figure from its data and save it as PDF and PNG, and its alternative text beside them."""
    figure = draw(name, data)
    for ending, content in render(figure, png_dpi=PRINT_DPI).items():
        write_bytes(folder / "figures" / f"{name}.{ending}", content)
    write_bytes(folder / "figures" / f"{name}.txt", f"{describe(name, data)}\n".encode())
    return figure


def publish(folder: Path, name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Save a table in ``tables/`` as CSV and, as a paper prints it, as LaTeX; return it for the notebook."""
    write_table(folder / "tables" / f"{name}.csv", table)
    write_printed(folder, name, table)
    return table


def redraw(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw every figure of a finished study again from its saved data, and set every table again from what it prints.

    The figures and tables of its patients from elsewhere (``external/``) are made again too.

    Parameters
    ----------
    folder : Path
        The run's folder.
    out : Path, optional
        Write there instead of into the run, which is then only read.

    Returns
    -------
    list of Path
        The PDF of each figure and the LaTeX file of each table.
    """
    made = []
    for part in (".", "external"):
        source, target = folder / part, (out or folder) / part
        data = read_figure_data(source / "figure_data")
        for name in (name for name in FIGURES if name in data):
            save(target, name, data[name])
            made.append(target / "figures" / f"{name}.pdf")
        made += [_typeset(path, target) for path in sorted((source / "tables").glob("*.csv"))]
    if out is None:
        renew_records(folder)
    return made


def _typeset(path: Path, target: Path) -> Path:
    """Write a table's LaTeX file, from the table as printed; from its CSV where nobody printed it."""
    printed = path.parents[1] / "table_data" / path.name
    set_in = target / "tables" / path.with_suffix(".tex").name
    write_latex(set_in, read_printed(printed if printed.exists() else path))
    return set_in
