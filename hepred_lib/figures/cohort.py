"""Who is in the study: the flow of participants, their variables, and the quality of their scans."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from hepred_lib.figures.layout import OUTCOMES, finite, legend_below, panels, quantity, say_no_data
from hepred_lib.figures.style import GREY, VERMILLION

PAGE_MM, LINE_MM, MARGIN_MM, GAP_MM, EDGE_MM = 174, 3.4, 4, 7, 2
LEVELS = (("assessed",), ("blood_free", "excluded"), ("included",), ("development", "test"))
CENTRES_MM = {"assessed": 87, "blood_free": 30, "excluded": 144, "included": 87, "development": 46, "test": 128}
BOX_MM, LINE_LENGTH = 54, 34

QUALITY = {
    "thickness_mm": "Slice thickness (mm)",
    "noise_hu": "Noise (HU)",
    "brain_ml": "Brain volume (mL)",
    "n_slices": "Slices with brain",
}


def flow(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the flow of participants, from all assessed to the development and test sets.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a box: `step` (`assessed`, `blood_free`, `excluded`, `included`, `development`, `test`), `text`, `n` and
        `events` (patients with expansion; NaN where nobody's outcome is known). Rows with the step `reason` are the
        lines of the box of the excluded. A step without a row has no box.

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
    """Draw the cumulative distribution of each variable in patients with and without expansion.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a patient and variable: `variable`, `unit` (may be empty), `value`, `he` 0/1. Rows without a value or
        an outcome are left out; the numbers above each panel are those drawn.

    Returns
    -------
    list of Axes
        One pair a variable, in the order of the table.
    """
    variables = table["variable"].unique()
    grid = panels(figure, len(variables), columns=4, sharey=True)
    for axes, variable in zip(grid, variables, strict=True):
        rows = table[table["variable"] == variable]
        counts = {}
        for outcome, style in OUTCOMES.items():
            values = finite(rows.loc[rows["he"] == outcome, "value"])
            counts[style.name] = len(values)
            if len(values):
                axes.ecdf(values, color=style.color, linestyle=style.line)
        if not any(counts.values()):
            say_no_data(axes)
        axes.set_xlabel(quantity(variable, rows["unit"].iloc[0]))
        axes.set_title(", ".join(f"{count} {name}" for name, count in reversed(counts.items())), color=GREY)
    for axes in grid[::4]:
        axes.set_ylabel("Cumulative proportion")
    legend_below(
        figure, [Line2D([], [], color=s.color, linestyle=s.line, label=s.name) for s in OUTCOMES.values()], columns=2
    )
    return grid


def quality(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw how thickness, noise, brain volume and number of slices vary between scans.

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
    look = {"linestyle": "", "marker": "^", "color": VERMILLION}
    for axes, (column, label) in zip(grid, QUALITY.items(), strict=True):
        values = finite(table[column])
        if len(values):
            axes.hist(values, bins=_whole(values) if column == "n_slices" else 20, color="0.7")
        else:
            say_no_data(axes)
        marked = finite(table.loc[outlying, column])
        if len(marked):
            axes.plot(marked, np.zeros(len(marked)), zorder=3, clip_on=False, **look)
        axes.set_xlabel(label)
    grid[0].set_ylabel("Scans")
    mark = Line2D([], [], label=f"outlying scan ({outlying.sum()} of {len(table)})", **look)
    legend_below(figure, [mark])
    return grid


def _whole(values: np.ndarray) -> np.ndarray:
    """Return the edges of bins that hold one whole number each."""
    return np.arange(values.min() - 0.5, values.max() + 1)


def _boxes(table: pd.DataFrame) -> dict[str, str]:
    """Return the wrapped text of each box that the table has."""
    boxes = {}
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
        for x, y, _ in (places[step] for step in ("blood_free", "excluded") if step in places):
            point((middle, y), (x + np.sign(middle - x) * BOX_MM / 2, y))
    if "included" in places:
        middle, y, tall = places["included"]
        start, elbow = y - tall / 2, y - tall / 2 - GAP_MM / 2
        for x, y, tall in (places[step] for step in ("development", "test") if step in places):
            axes.plot([middle, middle, x], [start, elbow, elbow], color="black", linewidth=0.7)
            point((x, elbow), (x, y + tall / 2))
