"""Who is in the study: the flow of participants, their variables, and the quality of their scans."""

import textwrap
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from hepred_lib.figures.style import (
    GREY,
    OUTCOMES,
    VERMILLION,
    LineStyle,
    finite,
    legend_below,
    letters,
    panels,
    say_no_data,
)

PAGE_MM, LINE_MM, MARGIN_MM, GAP_MM, EDGE_MM = 174, 3.4, 4, 7, 2
SIDES = ("blood_free", "without_outcome", "excluded")
LEVELS = (("assessed",), ("blood_free", "excluded"), ("without_outcome",), ("included",), ("development", "test"))
CENTRES_MM = {"blood_free": 30.0, "without_outcome": 30.0, "excluded": 144.0, "development": 46.0, "test": 128.0}
CENTRES_MM |= {"assessed": 87.0, "included": 87.0}
BOX_MM, LINE_LENGTH = 54, 34
BINS = 21  # odd, so that a single value stands in the middle of its bar

QUALITY = {
    "thickness_mm": "Slice thickness (mm)",
    "noise_hu": "Noise (HU)",
    "brain_ml": "Intracranial volume (mL)",
    "n_slices": "Slices with brain",
}


def flow(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the flow of participants, from all assessed to the development and test sets.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a box: `step` (`assessed`, `blood_free`, `without_outcome`, `excluded`, `included`, `development`,
        `test`), `text`, `n` and `events` (patients with expansion; NaN where nobody's outcome is known). Rows with the
        step `reason` are the lines of the box of the excluded. A step without a row has no box.

    Returns
    -------
    list of Axes
        One pair of axes in millimetres.
    """
    boxes, height_mm = _boxes(table), flow_height_mm(table)
    axes = figure.subplots()
    axes.set(xlim=(0, PAGE_MM), ylim=(0, height_mm))
    axes.set_axis_off()
    places, top = {}, height_mm - EDGE_MM
    for level in LEVELS:
        for step in filter(boxes.get, level):
            tall = _box_mm(boxes[step])
            places[step] = (CENTRES_MM[step], top - tall / 2, tall)
        top -= _level_mm(boxes, level) + (GAP_MM if any(map(boxes.get, level)) else 0)
    _arrows(axes, places)
    for step, (x, y, tall) in places.items():
        axes.add_patch(Rectangle((x - BOX_MM / 2, y - tall / 2), BOX_MM, tall, facecolor="white", edgecolor="black"))
        axes.text(x - BOX_MM / 2 + 2, y, boxes[step], va="center", ha="left", linespacing=1.25)
    return [axes]


def flow_height_mm(table: pd.DataFrame) -> float:
    """Return the height in mm that the boxes of a flow need."""
    boxes = _boxes(table)
    levels = [_level_mm(boxes, level) for level in LEVELS if any(map(boxes.get, level))]
    return sum(levels) + GAP_MM * (len(levels) - 1) + 2 * EDGE_MM


def cohort(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the cumulative distribution of each variable, with 95 % bands, in patients with and without expansion.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a step of a curve: `variable` (with its unit), `he` 0/1, `value`, the `proportion` of patients at or
        below it, its band `low`, `high`, and `n`, the patients of the curve.

    Returns
    -------
    list of Axes
        One pair a variable, in the order of the table.
    """
    variables = table["variable"].unique()
    # At most four panels in a row, and rows as even as they can be.
    columns = ceil(len(variables) / ceil(len(variables) / 4))
    grid = panels(figure, len(variables), columns=columns, sharey=True)
    for axes, variable in zip(grid, variables, strict=True):
        rows, counts = table[table["variable"] == variable], {}
        for outcome, style in OUTCOMES.items():
            curve = rows[rows["he"] == outcome]
            counts[style.name] = int(curve["n"].max()) if len(curve) else 0
            if len(curve):
                _steps(axes, curve, style)
        axes.set_xlabel(variable)
        axes.set_title(", ".join(f"{count} {name}" for name, count in reversed(counts.items())), color=GREY)
    grid[0].set(ylim=(0, 1.02))
    for axes in grid[::columns]:
        axes.set_ylabel("Cumulative proportion")
    letters(grid)
    handles = [Line2D([], [], color=s.color, linestyle=s.line, label=s.name) for s in OUTCOMES.values()]
    legend_below(figure, handles, columns=2)
    return grid


def _steps(axes: Axes, curve: pd.DataFrame, style: LineStyle) -> None:
    """Draw a curve that begins at 0 and climbs at each value."""
    x = curve["value"].to_numpy()
    heights = {name: curve[name].to_numpy() for name in ("proportion", "low", "high")}
    axes.fill_between(x, heights["low"], heights["high"], step="post", color=style.color, alpha=0.15, linewidth=0)
    line = np.concatenate([[0.0], heights["proportion"]])
    axes.step(np.concatenate([x[:1], x]), line, where="post", color=style.color, linestyle=style.line)


def quality(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw how thickness, noise, intracranial volume and number of slices vary between scans.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a scan: `thickness_mm`, `noise_hu`, `brain_ml`, `n_slices`, and `outlier` (bool): the scans to look at,
        marked under the bars of every panel.

    Returns
    -------
    list of Axes
        One pair a quantity.
    """
    grid = panels(figure, len(QUALITY), columns=len(QUALITY))
    outlying = table["outlier"].eq(True)
    look: dict[str, Any] = {"linestyle": "", "marker": "^", "color": VERMILLION}
    for axes, (column, label) in zip(grid, QUALITY.items(), strict=True):
        values = finite(table[column])
        if len(values):
            bins = {"discrete": True} if column == "n_slices" else {"bins": BINS}
            seaborn.histplot(x=values, ax=axes, color="0.7", edgecolor="white", linewidth=0.3, alpha=1, **bins)
        else:
            say_no_data(axes)
        marked = finite(table.loc[outlying, column])
        if len(marked):
            axes.plot(marked, np.zeros(len(marked)), zorder=3, clip_on=False, **look)
        axes.set(xlabel=label, ylabel="")
        axes.locator_params("y", integer=True)
    grid[0].set_ylabel("Scans")
    letters(grid)
    mark = Line2D([], [], label=f"flagged scan ({outlying.sum()} of {len(table)})", **look)
    legend_below(figure, [mark])
    return grid


def _boxes(table: pd.DataFrame) -> dict[str, str]:
    """Return the wrapped text of each box that the table has."""
    boxes: dict[str, str] = {}
    for row in table.itertuples():
        size = f"n = {row.n:.0f}" + ("" if pd.isna(row.events) else f", {row.events:.0f} with HE")
        if row.step == "reason":
            line = textwrap.fill(f"• {row.text}: {row.n:.0f}", LINE_LENGTH, subsequent_indent="   ")
            boxes["excluded"] = "\n".join(filter(None, (boxes.get("excluded"), line)))
        else:
            boxes[row.step] = f"{textwrap.fill(row.text, LINE_LENGTH)}\n{size}"
    return boxes


def _box_mm(text: str) -> float:
    return LINE_MM * (text.count("\n") + 1) + MARGIN_MM


def _level_mm(boxes: dict[str, str], level: tuple[str, ...]) -> float:
    return max((_box_mm(boxes[step]) for step in level if step in boxes), default=0)


def _arrows(axes: Axes, places: dict[str, tuple[float, float, float]]) -> None:
    """Join the boxes that exist: down the middle, out to the sides, and from the included to both sets."""
    arrow = {"arrowstyle": "-|>", "linewidth": 0.7, "color": "black", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}

    def point(start: tuple[float, float], end: tuple[float, float]) -> None:
        axes.annotate("", xy=end, xytext=start, arrowprops=arrow)

    if "assessed" in places:
        middle, y, tall = places["assessed"]
        if "included" in places:
            point((middle, y - tall / 2), (middle, places["included"][1] + places["included"][2] / 2))
        for x, y, _ in (places[step] for step in SIDES if step in places):
            point((middle, y), (x + np.sign(middle - x) * BOX_MM / 2, y))
    if "included" in places:
        middle, y, tall = places["included"]
        start, elbow = y - tall / 2, y - tall / 2 - GAP_MM / 2
        for x, y, tall in (places[step] for step in ("development", "test") if step in places):
            axes.plot([middle, middle, x], [start, elbow, elbow], color="black", linewidth=0.7)
            point((x, elbow), (x, y + tall / 2))
