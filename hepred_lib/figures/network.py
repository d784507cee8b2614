"""The network as a diagram: encoder down the left, decoder up the middle, read-outs at the right.

Everything follows from the table of its blocks: rows from the order in the encoder and the resolution in the decoder,
arrows from what works on what. Axes are in millimetres, y grows downwards.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle

from hepred_lib.figures.style import GREY

LINE_MM, PAD_MM, GAP_MM, EDGE_MM, FOOT_MM, CHARACTER_MM = 3.1, 1.3, 5.5, 6, 8, 1.32
LEFT_MM = {"encoder": 2, "decoder": 61, "head": 121}
WIDE_MM = {"encoder": 50, "decoder": 48, "head": 47}
HEADINGS = {"encoder": "Encoder", "decoder": "Decoder", "head": "Read-outs"}
FILL = {"input": "white", "encoder": "#E1EEF6", "decoder": "#DDF1EA"}
HEAD_FILL = "#FBEBD3"
LANE_MM, MARGIN_MM = 1.8, 1.0


@dataclass(frozen=True)
class Box:
    """A block's place: its column, left and upper edge, width and height in mm, its name and its lines of text."""

    column: str
    left: float
    top: float
    wide: float
    tall: float
    title: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return self.left + self.wide / 2, self.top + self.tall / 2


def network(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the blocks of a network as boxes, and arrows from each to those that work on its result.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a block, in the order of work: `part` (`input`, `encoder`, `decoder`; any other is a read-out), `block`,
        `operation`, `channels`, `height`, `width` (pixels; missing for a vector), `parameters`, and `inputs`, the
        blocks that it works on, joined by semicolons.

    Returns
    -------
    list of Axes
        One pair of axes in millimetres.
    """
    axes, height_mm = figure.subplots(), network_height_mm(table)
    axes.set(xlim=(0, 174), ylim=(height_mm, 0))
    axes.set_axis_off()
    boxes = _places(table)
    for column in {box.column: None for box in boxes.values()}:
        axes.text(LEFT_MM[column], EDGE_MM - 2.2, HEADINGS[column], va="center_baseline", fontsize=7.5)
    for row in table.itertuples():
        _draw_box(axes, boxes[row.block], FILL.get(row.part, HEAD_FILL))
    for path in _arrows(table, boxes):
        _draw_arrow(axes, np.array(path))
    total = f"{table['parameters'].sum():,} parameters in all"
    note = f"Sizes: channels × height × width of the result, in pixels; / 2 halves height and width. {total}."
    axes.text(LEFT_MM["encoder"], height_mm - 2, note, va="bottom")
    return [axes]


def network_height_mm(table: pd.DataFrame) -> float:
    """Return the height in mm, 174 mm wide."""
    return max(box.top + box.tall for box in _places(table).values()) + FOOT_MM


def _places(table: pd.DataFrame) -> dict[str, Box]:
    """Return the box of every block; encoder and read-outs are spread over the same height."""
    down = [[row] for row in table[table["part"].isin(["input", "encoder"])].itertuples()]
    heads = table[~table["part"].isin(["input", "encoder", "decoder"])]
    levels = _head_levels(heads, list(table["block"]))
    needed = max(_needed_mm(down, "encoder"), _needed_mm(levels, "head"))
    boxes = _column(down, "encoder", needed)
    for row in table[table["part"] == "decoder"].itertuples():
        box = _box(row, "decoder", top=EDGE_MM, wide=WIDE_MM["decoder"])
        level = [other for name, other in boxes.items() if _size(table, name) == row.height]
        center = level[0 if level[0].column == "decoder" else -1].middle[1] if level else EDGE_MM
        boxes[row.block] = replace(box, top=max(EDGE_MM, center - box.tall / 2))
    return boxes | _column(levels, "head", needed)


def _column(levels: list[list], column: str, needed: float) -> dict[str, Box]:
    """Return the boxes of a column, levels spread over the height needed, blocks of a level side by side."""
    gap = GAP_MM + (needed - _needed_mm(levels, column)) / max(1, len(levels) - 1)
    boxes, top = {}, EDGE_MM
    for level in levels:
        wide, tall = _wide(level, column), _tall(level, column)
        for place, row in enumerate(level):
            box = _box(row, column, top=top, wide=wide)
            boxes[row.block] = replace(box, left=box.left + place * (wide + 2), tall=tall)
        top += tall + gap
    return boxes


def _needed_mm(levels: list[list], column: str) -> float:
    return sum(_tall(level, column) for level in levels) + GAP_MM * max(0, len(levels) - 1)


def _wide(level: list, column: str) -> float:
    return (WIDE_MM[column] - 2 * (len(level) - 1)) / len(level)


def _tall(level: list, column: str) -> float:
    return max(_box(row, column, top=0, wide=_wide(level, column)).tall for row in level)


def _head_levels(rows: pd.DataFrame, order: list[str]) -> list[list]:
    """Return the read-outs' blocks by level, those that work on late blocks alone first.

    A level holds the blocks of one read-out with the same rank: one more than the highest rank that they work on. Those
    that work on none of their own read-out stand below each other, or an arrow from outside would cross the first.
    """
    earliest = {
        part: min(order.index(name) for name in group["inputs"].iloc[0].split(";") if name not in set(rows["block"]))
        for part, group in rows.groupby("part", sort=False)
    }
    levels = []
    for part in sorted(earliest, key=earliest.get, reverse=True):
        rank = {}
        for row in rows[rows["part"] == part].itertuples():
            rank[row.block] = 1 + max((rank[name] for name in row.inputs.split(";") if name in rank), default=-1)
        levels += [[row] for row in rows.itertuples() if rank.get(row.block) == 0]
        for level in range(1, max(rank.values()) + 1):
            levels.append([row for row in rows.itertuples() if rank.get(row.block) == level])
    return levels


def _box(row: tuple, column: str, *, top: float, wide: float) -> Box:
    """Return a block's box with its name, the size of its result, what it does, and its parameters."""
    room = int((wide - 2 * PAD_MM) / CHARACTER_MM)
    if pd.isna(row.height):
        size = f"{row.channels} number" + "s" * (row.channels != 1)
    else:
        size = f"{row.channels} × {row.height:.0f} × {row.width:.0f}"
    operation = "" if pd.isna(row.operation) else row.operation
    weights = [f"{row.parameters:,} parameters"] if row.parameters else []
    title = tuple(textwrap.wrap(_title(row.block), room))
    lines = (size, *textwrap.wrap(operation, room), *weights)
    tall = LINE_MM * (len(title) + len(lines)) + 2 * PAD_MM
    return Box(column, LEFT_MM[column], top, wide, tall, title, lines)


def _title(block: str) -> str:
    """Return a block's name for a reader.

    Examples
    --------
    >>> _title("stages.0"), _title("expansion.attention_gate")
    ('Stage 1', 'Expansion: attention gate')
    """
    head, _, rest = block.replace("_", " ").partition(".")
    head = head.capitalize()
    if rest.isdigit():
        return f"{head.removesuffix('s')} {int(rest) + 1}"
    return f"{head}: {rest}" if rest else head


def _size(table: pd.DataFrame, block: str) -> float:
    return table.loc[table["block"] == block, "height"].iloc[0]


def _arrows(table: pd.DataFrame, boxes: dict[str, Box]) -> Iterator[list[tuple[float, float]]]:
    """Yield the corners of every arrow; lines to and from different read-outs have lanes of their own."""
    entries: dict[str, float] = {}
    lanes: dict[str, float] = {}
    outside = [row.block for row in table.itertuples() if _from_outside(row, boxes)]
    lane_mm = (LEFT_MM["head"] - LEFT_MM["decoder"] - WIDE_MM["decoder"] - 3 - MARGIN_MM) / max(1, len(outside) - 1)
    for row in table.itertuples():
        sources = _inputs(row)
        for place, name in enumerate(sources):
            start, end = boxes[name], boxes[row.block]
            if end.column != "head":
                yield _towards_decoder(start, end)
            elif start.column != "head":
                entry = entries.setdefault(row.block, LEFT_MM["head"] - 3 - min(LANE_MM, lane_mm) * len(entries))
                yield _towards_head(start, end, entry)
            else:
                share = (place + 1) / (len(sources) + 1)
                yield _within_heads(name, start, end, boxes=boxes, lanes=lanes, share=share)


def _inputs(row: tuple) -> list[str]:
    return [] if pd.isna(row.inputs) or not row.inputs else row.inputs.split(";")


def _from_outside(row: tuple, boxes: dict[str, Box]) -> bool:
    return boxes[row.block].column == "head" and any(boxes[name].column != "head" for name in _inputs(row))


def _towards_decoder(start: Box, end: Box) -> list[tuple[float, float]]:
    (start_x, start_y), (end_x, end_y) = start.middle, end.middle
    below, right = end.top + end.tall * (start_y > end_y), start.left + start.wide
    if start.column == end.column:
        return [(start_x, start.top + start.tall * (start_y < end_y)), (end_x, below)]
    if abs(start_y - end_y) < 1:
        return [(right, start_y), (end.left, end_y)]
    return [(right, start_y), (end_x, start_y), (end_x, below)]


def _towards_head(start: Box, end: Box, entry: float) -> list[tuple[float, float]]:
    start_y, end_y = start.middle[1], end.middle[1]
    return [(start.left + start.wide, start_y), (entry, start_y), (entry, end_y), (end.left, end_y)]


def _within_heads(
    name: str, start: Box, end: Box, *, boxes: dict[str, Box], lanes: dict[str, float], share: float
) -> list[tuple[float, float]]:
    """Straight down to the next row; around the boxes between, in a lane of the source's own, to a lower one."""
    entry, bottom = end.left + end.wide * share, start.top + start.tall
    between = [box for box in boxes.values() if box.column == "head" and bottom < box.top < end.top]
    if not between:
        elbow = bottom + 1.2
        return [(start.middle[0], bottom), (start.middle[0], elbow), (entry, elbow), (entry, end.top)]
    lane = lanes.setdefault(name, LEFT_MM["head"] + WIDE_MM["head"] + LANE_MM * (len(lanes) + 1))
    elbow = end.top - 2.2 - 0.8 * list(lanes).index(name)
    return [(start.left + start.wide, start.middle[1]), (lane, start.middle[1]), (lane, elbow), (entry, elbow),
            (entry, end.top)]  # fmt: skip


def _draw_box(axes: Axes, box: Box, fill: str) -> None:
    axes.add_patch(Rectangle((box.left, box.top), box.wide, box.tall, facecolor=fill, edgecolor="black"))
    for place, line in enumerate(box.title + box.lines):
        y, weight = box.top + PAD_MM + LINE_MM * (place + 0.5), "bold" if place < len(box.title) else "normal"
        axes.text(box.left + PAD_MM, y, line, va="center_baseline", weight=weight)


def _draw_arrow(axes: Axes, path: np.ndarray) -> None:
    axes.plot(*path[:-1].T, color=GREY, linewidth=0.8, solid_joinstyle="miter")
    look = {"arrowstyle": "-|>", "linewidth": 0.8, "color": GREY, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6}
    axes.annotate("", xy=path[-1], xytext=path[-2], arrowprops=look)
