"""The integrated model as a drawing to be read with a ruler: points for each value, their sum, and its probability."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

LABEL_MM, MARGIN_MM, ROW_MM, PAGE_MM = 40, 6, 10, 174
SCALE_MM = PAGE_MM - LABEL_MM - MARGIN_MM
LETTER_MM, CLEARANCE_MM = 1.45, 1.2  # width of a digit at 7 points; free space between two numbers
TICK_MM, TEXT_MM = 1.2, 1.8
WIDEST = 100  # points of the longest axis


def nomogram(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw a model as a nomogram.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        Rows of :func:`hepred_lib.stats.nomogram.nomogram_axes` with `label`, the words for an axis, and `text`, what
        stands at a mark: `axis`, `kind`, `value`, `points`, `tick`. The axis of points on top is drawn by itself.

    Returns
    -------
    list of Axes
        One pair of axes in millimetres, the longest predictor's 100 points and all total points drawn to one length.
    """
    axes = figure.subplots()
    blocks = list(table.groupby("axis", sort=False))
    height_mm = ROW_MM * (len(blocks) + 1)
    axes.set(xlim=(-LABEL_MM, SCALE_MM + MARGIN_MM), ylim=(height_mm, 0))
    axes.set_axis_off()
    marks = np.arange(0, WIDEST + 1, 10)
    _axis(axes, ROW_MM / 2, marks / WIDEST * SCALE_MM, [f"{mark}" for mark in marks], label="Points")
    for mark in marks:
        x = mark / WIDEST * SCALE_MM
        axes.plot([x, x], [ROW_MM / 2, height_mm - 2.5 * ROW_MM], color="0.9", linewidth=0.5, zorder=0)
    most = table.loc[table["kind"] == "total", "points"].max()
    for row, (_, rows) in enumerate(blocks, start=1):
        length = WIDEST if rows["kind"].isin(["number", "level"]).all() else most
        _block(axes, (row + 0.5) * ROW_MM, rows, mm_per_point=SCALE_MM / length)
    return [axes]


def nomogram_height_mm(table: pd.DataFrame) -> float:
    """Return the height in mm that the axes of a nomogram need."""
    return ROW_MM * (table["axis"].nunique() + 1) + 6


def _block(axes: Axes, y: float, rows: pd.DataFrame, *, mm_per_point: float) -> None:
    """Draw one axis over the points that it spans, with its marks."""
    shown = rows[rows["tick"].eq(True)].sort_values("points", kind="stable")
    ends = rows["points"].min() * mm_per_point, rows["points"].max() * mm_per_point
    axes.plot(ends, [y, y], color="black", linewidth=0.8, solid_capstyle="butt")
    worded = shown["text"].notna() & shown["text"].ne("")
    texts = [
        text if word else f"{value:g}" for text, word, value in zip(shown["text"], worded, shown["value"], strict=True)
    ]
    x = shown["points"].to_numpy() * mm_per_point
    both_sides = bool(worded.any() or rows["kind"].eq("probability").all())
    _axis(axes, y, x, texts, label=rows["label"].iloc[0], both_sides=both_sides, movable=bool(worded.any()))


def _axis(
    axes: Axes,
    y: float,
    x: np.ndarray,
    texts: list[str],
    *,
    label: str,
    both_sides: bool = False,
    movable: bool = False,
) -> None:
    """Draw marks with what they stand for above the line, and the axis' own words at the left.

    What would touch its neighbour goes below the line where both sides are allowed; there a movable text (a word) is
    pushed aside until it is free, a number is left out.
    """
    axes.plot([x.min(), x.max()], [y, y], color="black", linewidth=0.8, solid_capstyle="butt")
    axes.text(-LABEL_MM, y, label, va="center_baseline", ha="left")
    taken = {-1: -np.inf, 1: -np.inf}  # where the last text ends, above and below the line
    for center, text in zip(x, texts, strict=True):
        axes.plot([center, center], [y, y - TICK_MM], color="black", linewidth=0.6)
        half = (len(text) * LETTER_MM + CLEARANCE_MM) / 2
        side = -1 if center - half >= taken[-1] else 1
        fits = center - half >= taken[side]
        if side == 1 and not (both_sides and (fits or movable)):
            continue
        place = center if fits else taken[side] + half
        taken[side] = place + half
        axes.text(place, y + side * TEXT_MM, text.replace("-", "−"), ha="center", va="bottom" if side < 0 else "top")
