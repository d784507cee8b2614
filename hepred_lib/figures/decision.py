"""Net benefit: would acting on a model do more good than treating everybody, or nobody."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from hepred_lib.figures.layout import band, by_model, finite, legend_below, legend_title, model_label, sample_size

REFERENCES = ("treat_all", "treat_none")


def decision_curve(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw net benefit against the threshold probability, with the models' 95 % bands.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a threshold: `model` (`treat_all` and `treat_none` are the references), `label`, `n`, `events`,
        `threshold`, `net_benefit`, `low`, `high` (NaN where there is no band).

    Returns
    -------
    list of Axes
        One pair of axes. The net benefit of treating all falls without end: it is cut where the models' ends.
    """
    axes = figure.subplots()
    common_size, handles = sample_size(table), []
    for style, rows in by_model(table):
        x, label = rows["threshold"], model_label(rows, common_size=common_size)
        look = {"color": style.color, "linestyle": style.line}
        if rows["model"].isin(REFERENCES).all():
            look["linewidth"] = 0.8
        else:
            band(axes, x, rows, style)
        handles += axes.plot(x, rows["net_benefit"], label=label, **look)
    axes.set(xlabel="Threshold probability", ylabel="Net benefit (true positives per patient)")
    axes.set_ylim(*_limits(table))
    axes.set_xlim(0, table["threshold"].max())
    legend_below(figure, handles, title=legend_title(table, interval="bands"))
    return [axes]


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return limits that show all of the models' curves and their bands' upper edge."""
    models = table[~table["model"].isin(REFERENCES)]
    top = np.max([0.05, *finite(table["net_benefit"]), *finite(models["high"])])
    bottom = np.min([-0.2 * top, *finite(models["net_benefit"])])
    return 1.05 * max(bottom, -top), 1.05 * top
