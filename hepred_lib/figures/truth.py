"""The law behind a simulated cohort: what makes the labels, and how well anyone could foresee them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from hepred_lib.figures.layout import OUTCOMES
from hepred_lib.figures.style import GREY, MODELS, VERMILLION

UNIT_TICKS = np.linspace(0, 1, 6)
TITLES = {
    "label": "A  Growth makes the label",
    "parts": "B  Two parts of one logit",
    "roc": "C  The best possible curves",
    "calibration": "D  The oracle keeps its word",
}


def truth(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the label's noise by volume, the two parts of the logit, and the oracles' ROC and calibration.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        Columns `panel` (`label`, `parts`, `roc`, `calibration`), `group`, `x`, `y`, and the interval `low`, `high`
        (NaN where there is none); the parts are `no HE` and `HE`, the oracles begin with a model's name.

    Returns
    -------
    list of Axes
        One a panel that has rows, two in a row.
    """
    drawn = {name: rows for name, rows in table.groupby("panel") if len(rows)}
    names = [name for name in TITLES if name in drawn]
    grid = figure.subplots(-(-len(names) // 2), 2, squeeze=False)
    for spare in grid.flat[len(names) :]:
        spare.set_axis_off()
    axes = dict(zip(names, grid.flat, strict=False))
    for name, place in axes.items():
        PANELS[name](place, drawn[name])
        place.set_title(TITLES[name])
    return list(axes.values())


def _label(axes: Axes, rows: pd.DataFrame) -> None:
    for (group, curve), (color, line) in zip(
        rows.groupby("group", sort=False), ((VERMILLION, "-"), (GREY, "--")), strict=False
    ):
        axes.plot(curve["x"], curve["y"], color=color, linestyle=line, label=f"hematoma {group}")
    axes.set(xscale="log", ylim=(0, 1), yticks=UNIT_TICKS)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="True baseline volume (mL)", ylabel="Probability of the label HE")
    axes.legend(loc="center left")


def _parts(axes: Axes, rows: pd.DataFrame) -> None:
    for look in OUTCOMES.values():
        points = rows[rows["group"] == look.name]
        hollow = {"markerfacecolor": "none", "markeredgewidth": 0.6} if look is OUTCOMES[0] else {"markeredgewidth": 0}
        style = {"marker": look.marker, "color": look.color, "markersize": 2.4, **hollow}
        axes.plot(points["x"], points["y"], linestyle="", alpha=0.8, label=look.name, **style)
    axes.set(xlabel="Image part of the logit", ylabel="Clinical part of the logit")
    axes.legend(loc="lower right", markerscale=1.6, handlelength=1)


def _roc(axes: Axes, rows: pd.DataFrame) -> None:
    for group, curve in rows.groupby("group", sort=False):
        look = MODELS[group.split(":")[0].lower()]
        axes.plot(curve["x"], curve["y"], color=look.color, linestyle=look.line, label=group)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=UNIT_TICKS, yticks=UNIT_TICKS)
    axes.set(xlabel="False-positive rate (1 − specificity)", ylabel="Sensitivity")
    axes.legend(loc="lower right")


def _calibration(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8)
    for group, points in rows.groupby("group", sort=False):
        look, errors = MODELS[group.lower()], [points["y"] - points["low"], points["high"] - points["y"]]
        axes.errorbar(
            points["x"], points["y"], errors, color=look.color, linestyle="", marker=look.marker, linewidth=0.8,
            markersize=3, label=group,
        )  # fmt: skip
    top = min(1.0, float(np.ceil(10 * max(rows["high"].max(), rows["x"].max())) / 10))
    axes.set(xlim=(0, top), ylim=(0, top))
    axes.set(xlabel="Oracle's probability (mean of a tenth)", ylabel="Observed proportion with HE")
    axes.legend(loc="upper left", handlelength=1)


PANELS = {"label": _label, "parts": _parts, "roc": _roc, "calibration": _calibration}
