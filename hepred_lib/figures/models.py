"""What is inside the clinical and integrated models: odds ratios, and how reliably a predictor is chosen."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from hepred_lib.figures.layout import by_model, finite, legend_below, ratio_text
from hepred_lib.figures.style import BLUE, GREY, ORANGE, PURPLE

WIDEST = (1 / 16, 16.0)  # an interval that reaches beyond ends in an arrow
RATIO_TICKS = (
    (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 4, 5, 7, 10, 15),
    (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15),
    (0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16),
)
MOST_TICKS = 9
KINDS = {"predictor": ("true predictor", BLUE), "proxy": ("proxy", ORANGE), "unrelated": ("unrelated", PURPLE)}


def odds_ratios(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw odds ratios with 95 % intervals on a logarithmic axis, one block a model.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a term: `model`, `name`, `label`, `unit` ("per 10 years"; may be empty), `odds_ratio`, `low`, `high`.

    Returns
    -------
    list of Axes
        One pair of axes; the numbers stand at its right.
    """
    axes = figure.subplots()
    limits = np.clip([*finite(table["low"]) / 1.2, *finite(table["high"]) * 1.2, 0.8, 1.25], *WIDEST)
    axes.set_xscale("log", base=2)
    axes.set_xlim(limits.min(), limits.max())
    axes.axvline(1, color=GREY, linestyle=":", linewidth=0.8)
    names, headings = [], []
    for style, rows in by_model(table):
        headings.append(len(names))
        names.append(f"{style.name} model")
        for row in rows.itertuples():
            _interval(axes, row, place=len(names), color=style.color, marker=style.marker)
            names.append(row.label if pd.isna(row.unit) or not row.unit else f"{row.label}, {row.unit}")
    axes.set_yticks(range(len(names)), names)
    for heading in headings:
        axes.get_yticklabels()[heading].set_weight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel="Odds ratio of HE (95 % CI)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(FixedLocator(_ratio_ticks(*axes.get_xlim())))
    axes.xaxis.set_minor_locator(NullLocator())
    return [axes]


def _ratio_ticks(low: float, high: float) -> list[float]:
    """Return round ratios within the limits: finer ones where the axis is short."""
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in RATIO_TICKS]
    return next((ticks for ticks in inside if len(ticks) <= MOST_TICKS), inside[-1])


def _interval(axes: Axes, row: tuple, *, place: int, color: str, marker: str) -> None:
    """Draw one odds ratio, an arrow at each end that lies outside the axis, and the numbers at the right."""
    left, right = axes.get_xlim()
    low, high = np.clip([row.low, row.high], left, right)
    axes.plot([low, high], [place, place], color=color)
    for end, arrow in ((left, "<"), (right, ">")):
        if row.low < end == left or row.high > end == right:
            axes.plot(end, place, marker=arrow, color=color, clip_on=False)
    axes.plot(row.odds_ratio, place, marker=marker, color=color)
    interval = "" if np.isnan([row.low, row.high]).any() else f" ({ratio_text(row.low)}–{ratio_text(row.high)})"
    text = f"{ratio_text(row.odds_ratio)}{interval}"
    axes.text(1.03, place, text, transform=axes.get_yaxis_transform(), va="center_baseline")


def inclusion_frequency(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw how often each candidate is selected in resamples, beside one half; selected ones are filled.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a candidate, drawn from the top: `label`, `frequency` in [0, 1], `selected` (bool, in the final model).
        Where the truth is simulated, `kind` says `predictor`, `proxy` or `unrelated`.

    Returns
    -------
    list of Axes
        One pair of axes.
    """
    axes = figure.subplots()
    kinds = table["kind"] if "kind" in table else pd.Series("", index=table.index)
    for place, (row, kind) in enumerate(zip(table.itertuples(), kinds, strict=True)):
        name, color = KINDS.get(kind, ("", "0.4"))
        look = {"facecolor": color} if row.selected else {"facecolor": "white", "hatch": "////"}
        axes.barh(place, row.frequency, height=0.7, edgecolor=color, **look)
        axes.text(1.03, place, name, transform=axes.get_yaxis_transform(), va="center_baseline")
    handles = [
        Patch(facecolor="0.6", edgecolor="0.3", label="in the final model"),
        Patch(facecolor="white", edgecolor="0.3", hatch="////", label="not in it"),
        axes.axvline(0.5, color="black", linestyle=":", linewidth=0.8, label="one half"),
    ]
    axes.set_yticks(range(len(table)), table["label"])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1), ylim=(len(table) - 0.4, -0.6), xlabel="Proportion of resamples that select it")
    legend_below(figure, handles, columns=3)
    return [axes]
