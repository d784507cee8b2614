"""Where figures meet files: what a notebook shows is what ``hepred figures`` redraws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hepred_lib.figures.catalogue import FIGURES, draw
from hepred_lib.figures.style import render
from hepred_lib.study import read_figure_data, write_bytes, write_figure_data


def show(folder: Path, name: str, data: pd.DataFrame | Mapping[str, np.ndarray]) -> Figure:
    """Keep a figure's data in ``figure_data/``, draw it, save it in ``figures/`` and return it for the notebook.

    Parameters
    ----------
    folder : Path
        The run's folder.
    name : str
        An entry of :data:`hepred_lib.figures.catalogue.FIGURES`.
    data : DataFrame or mapping of arrays
        All that the figure draws.
    """
    write_figure_data(folder / "figure_data", name, data)
    return save(folder, name, data)


def save(folder: Path, name: str, data: pd.DataFrame | Mapping[str, np.ndarray]) -> Figure:
    """Draw a figure from its data and save it as PDF and PNG."""
    figure = draw(name, data)
    for ending, content in render(figure).items():
        write_bytes(folder / "figures" / f"{name}.{ending}", content)
    return figure


def redraw(folder: Path) -> list[str]:
    """Draw every figure of a finished study again from its saved data; returns their names."""
    data = read_figure_data(folder / "figure_data")
    names = [name for name in FIGURES if name in data]
    for name in names:
        save(folder, name, data[name])
    return names
