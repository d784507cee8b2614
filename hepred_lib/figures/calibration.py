"""Do predicted probabilities come true? One panel a model, drawn only on patients the model has not seen."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hepred_lib.figures.layout import OUTCOMES, by_model, finite, legend_below, legend_title, model_label, sample_size
from hepred_lib.figures.style import GREY, LineStyle

BINS = np.linspace(0, 1, 41)


def calibration(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw smoothed calibration curves with 95 % bands over the distribution of the predictions.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        `model`, `label` (several lines: slope, in the large, ICI), `n`, `events`, `kind` and `p`. Rows of kind `curve`
        give `observed`, `low`, `high` at `p`; rows of kind `patient` give the outcome `y` 0/1 at `p`.

    Returns
    -------
    list of Axes
        Two a model: the curve, and below it the predictions of patients with expansion (up) and without (down).
    """
    models = list(by_model(table))
    columns = max(3, len(models))  # a single panel keeps the size it has beside the others
    grid = figure.subplots(2, columns, height_ratios=[4, 1], squeeze=False, sharex="col", sharey="row")
    for spare in grid[:, len(models) :].flat:
        spare.set_axis_off()
    grid = grid[:, : len(models)]
    common_size = sample_size(table)
    for (style, rows), (upper, lower) in zip(models, grid.T, strict=True):
        _curve(upper, rows[rows["kind"] == "curve"], style=style)
        _distribution(lower, rows[rows["kind"] == "patient"])
        upper.set_title(model_label(rows, common_size=common_size))
    grid[0, 0].set_ylabel("Observed proportion with HE")
    grid[1, 0].set_ylabel("Patients")
    handles = [
        Line2D([], [], color=GREY, linestyle=":", linewidth=0.8, label="ideal"),
        *(
            Patch(color=OUTCOMES[he].color, label=f"{OUTCOMES[he].name} ({way})")
            for he, way in ((1, "up"), (0, "down"))
        ),
    ]
    legend_below(figure, handles, title=legend_title(table, interval="bands"), columns=3)
    return list(grid.T.flat)


def _curve(axes: Axes, rows: pd.DataFrame, *, style: LineStyle) -> None:
    rows = rows.sort_values("p")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8)
    axes.fill_between(rows["p"], rows["low"], rows["high"], color=style.color, alpha=0.2, linewidth=0)
    axes.plot(rows["p"], rows["observed"], color=style.color, linestyle=style.line)
    ticks = np.linspace(0, 1, 6)
    axes.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1, anchor="S", xticks=ticks, yticks=ticks)


def _distribution(axes: Axes, rows: pd.DataFrame) -> None:
    """Count patients in 40 bins of the predicted probability."""
    for outcome, sign in ((1, 1), (0, -1)):
        p = finite(rows.loc[rows["y"] == outcome, "p"])
        axes.hist(p, bins=BINS, weights=np.full(len(p), sign), color=OUTCOMES[outcome].color)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set(box_aspect=0.25, anchor="N")
    axes.yaxis.set_major_formatter(lambda count, _: f"{abs(count):g}")
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    axes.set_xlabel("Predicted probability of HE")
