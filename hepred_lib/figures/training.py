"""What training left behind: the losses by epoch, and the volumes that the network's outlines give."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from hepred_lib.figures.layout import decimal, legend_below, panels
from hepred_lib.figures.style import BLUE, GREY, PURPLE, VERMILLION

LOSSES = {
    "loss": "Total loss",
    "loss_segmentation": "Segmentation loss",
    "loss_presence": "Presence loss",
    "loss_expansion": "Expansion loss",
}
FOLD_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
FOLD_COLORS = ("black", BLUE, VERMILLION, GREY, PURPLE)


def learning_curves(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the training losses by epoch, one line a fold.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row an epoch of a fold: `fold`, `epoch`, `loss`, `loss_segmentation`, `loss_presence`, `loss_expansion`.

    Returns
    -------
    list of Axes
        One pair a loss.
    """
    grid = panels(figure, len(LOSSES), columns=len(LOSSES))
    for axes, (column, name) in zip(grid, LOSSES.items(), strict=True):
        handles = []
        for place, (fold, rows) in enumerate(table.groupby("fold")):
            look = {
                "linestyle": FOLD_LINES[place % 5],
                "color": FOLD_COLORS[place % 5],
                "marker": "o",
                "markersize": 1.5,
            }
            handles += axes.plot(rows["epoch"], rows[column], label=f"fold {fold}", **look)
        axes.set(xlabel="Epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
    legend_below(figure, handles, columns=5)
    return grid


def bland_altman(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the difference of two volumes against their mean, with the bias and the 95 % limits of agreement.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a patient: `reference_ml`, `predicted_ml`; `bias`, `low`, `high` (mL) repeat in every row
        (NaN limits: none are drawn). So may their 95 % intervals: `bias_low`, `bias_high`, `low_low`, `low_high`,
        `high_low`, `high_high`.

    Returns
    -------
    list of Axes
        One pair of axes, in mL.
    """
    axes = figure.subplots()
    mean_ml = (table["reference_ml"] + table["predicted_ml"]) / 2
    look = {"color": BLUE, "markersize": 3, "alpha": 0.5, "markeredgewidth": 0}
    axes.plot(mean_ml, table["predicted_ml"] - table["reference_ml"], "o", **look)
    axes.axhline(0, color=GREY, linewidth=0.6)
    bias, low, high = table[["bias", "low", "high"]].iloc[0]
    bands = [name for name in ("bias", "low", "high") if f"{name}_low" in table]
    for name in bands:
        axes.axhspan(*table[[f"{name}_low", f"{name}_high"]].iloc[0], color=VERMILLION, alpha=0.15, linewidth=0)
    handles = [axes.axhline(bias, color=VERMILLION, label=f"bias {decimal(bias)} mL")]
    if np.isfinite([low, high]).all():
        label = f"95 % limits of agreement {decimal(low)} to {decimal(high)} mL"
        axes.axhline(low, color=VERMILLION, linestyle="--")
        handles.append(axes.axhline(high, color=VERMILLION, linestyle="--", label=label))
    axes.set(xlabel="Mean of predicted and reference volume (mL)", ylabel="Predicted − reference volume (mL)")
    legend_below(figure, handles, title=f"n = {len(table)}" + "; bands: 95 % CI" * bool(bands))
    return [axes]
