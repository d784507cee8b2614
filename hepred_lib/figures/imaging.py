"""CT slices as a radiologist reads them: window stated, patient's right on the left, a scale bar.

Arrays are indexed ``[slice, y, x]`` in the axes of RAS+, whose letters name the end *towards which* an index grows: x
grows towards the patient's right, y towards the front (anterior). Radiologists look from the feet, so the patient's
right stands on the left of the image and the front at its top: columns are reversed, and row 0 is drawn lowest.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from hepred_lib.figures.layout import legend_below, no_data, panels
from hepred_lib.figures.style import ORANGE, SKY, YELLOW, LineStyle

HEMATOMA = LineStyle("hematoma", ORANGE, "-", "")
BRAIN = LineStyle("brain", SKY, ":", "")
REFERENCE = LineStyle("reference outline", SKY, "-", "")
PREDICTED = LineStyle("predicted outline", YELLOW, (0, (1.8, 1.8)), "")

PAGE_MM, COLUMNS, LINE_LENGTH = 174, 5, 112
BAR_LENGTHS_MM = (50, 20, 10, 5, 2, 1)
DISCLAIMER = "Research use only, not for clinical decisions."

RIM_POINTS = 1.9  # of black under a line: without it a line on bright blood is lost in grey print

Arrays = Mapping[str, np.ndarray]


def montage(figure: FigureBase, arrays: Arrays) -> list[Axes]:
    """Draw CT slices with the outlines of the hematoma and of the brain.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    arrays : mapping of str to array
        `hu` (n, h, w) in HU; `mask` and `brain` (n, h, w), 0/1; `titles` (n,) text; `pixel_mm`, one length for all
        slices or (n,); `window` (2,), level and width in HU. Indexed [slice, y, x] in RAS+.

    Returns
    -------
    list of Axes
        One pair a slice, in millimetres.
    """
    return _slices(figure, arrays, {"brain": BRAIN, "mask": HEMATOMA})


def outlines(figure: FigureBase, arrays: Arrays) -> list[Axes]:
    """Draw CT slices with the reference and the predicted outline of the hematoma.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    arrays : mapping of str to array
        As in :func:`montage`, with `reference` and `predicted` (n, h, w), 0/1, in place of the masks; the titles say
        whose slice it is and its Dice.

    Returns
    -------
    list of Axes
        One pair a slice, in millimetres.
    """
    return _slices(figure, arrays, {"reference": REFERENCE, "predicted": PREDICTED})


def overview(figure: FigureBase, arrays: Arrays) -> list[Axes]:
    """Draw one patient on one page: slices with the predicted outline, and what the models say in lines of text.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    arrays : mapping of str to array
        `hu`, `mask`, `titles`, `pixel_mm`, `window` as in :func:`montage`, and `lines` (m,) text.

    Returns
    -------
    list of Axes
        One pair a slice, and one for the text.
    """
    upper, lower = figure.subfigures(2, 1, height_ratios=[slices_height_mm(arrays), _lines_mm(arrays)])
    slices = _slices(upper, arrays, {"mask": PREDICTED})
    axes = lower.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    text = "\n".join(_wrapped(arrays["lines"]))
    axes.text(0.02, 0.98, text, va="top", linespacing=1.3, fontsize=8)
    axes.text(0.02, 0.02, DISCLAIMER, va="bottom", weight="bold", fontsize=8)
    return [*slices, axes]


def slices_height_mm(arrays: Arrays) -> float:
    """Return the height in mm of a page of slices, 174 mm wide, with titles and legend."""
    count, height, width = arrays["hu"].shape
    columns = _columns(count)
    panel_mm = min(PAGE_MM / columns - 2, 60) * height / max(1, width)
    return max(1, -(-count // columns)) * (panel_mm + 5) + 14


def overview_height_mm(arrays: Arrays) -> float:
    """Return the height in mm of an overview, 174 mm wide."""
    return slices_height_mm(arrays) + _lines_mm(arrays)


def _columns(count: int) -> int:
    """Return how many slices stand in a row, so that the rows are as even as they can be."""
    rows = max(1, -(-count // COLUMNS))
    return max(1, -(-count // rows))


def _slices(figure: FigureBase, arrays: Arrays, styles: dict[str, LineStyle]) -> list[Axes]:
    """Draw every slice with the outlines of the masks that `styles` names."""
    count = len(arrays["hu"])
    if not count:
        return no_data(figure)
    grid = panels(figure, count, columns=_columns(count))
    pixels_mm = np.broadcast_to(arrays["pixel_mm"], count)
    narrowest_mm = arrays["hu"].shape[2] * pixels_mm.min()
    bar_mm = next((length for length in BAR_LENGTHS_MM if length <= 0.35 * narrowest_mm), BAR_LENGTHS_MM[-1])
    for i, (axes, pixel_mm) in enumerate(zip(grid, pixels_mm, strict=True)):
        show_slice(axes, arrays["hu"][i], pixel_mm=pixel_mm, window=arrays["window"], bar_mm=bar_mm)
        axes.set_title(str(arrays["titles"][i]), loc="center", pad=2)
        masks = [(arrays[name][i], style) for name, style in styles.items()]
        outline(axes, masks, pixel_mm=pixel_mm)
    level, width = arrays["window"]
    reading = f"Scale bar: {bar_mm} mm. R and L: the patient's right and left."
    rim = [withStroke(linewidth=RIM_POINTS, foreground="black")]
    handles = [
        Line2D(
            [], [], color=s.color, linestyle=s.line, label=s.name, linewidth=0.9, path_effects=rim * (s is not BRAIN)
        )
        for s in styles.values()
    ]
    legend_below(
        figure, handles, title=f"Window: level {level:g} HU, width {width:g} HU. {reading}", columns=len(handles)
    )
    return grid


def show_slice(axes: Axes, hu: np.ndarray, *, pixel_mm: float, window: tuple[float, float], bar_mm: float) -> None:
    """Draw one slice [y, x] in its window (level, width; HU), with R, L and a scale bar; axes in mm."""
    level, width = window
    height_mm, width_mm = np.array(hu.shape) * pixel_mm
    extent, low, high = (0, width_mm, 0, height_mm), level - width / 2, level + width / 2
    axes.imshow(hu[:, ::-1], origin="lower", extent=extent, vmin=low, vmax=high)
    axes.set_axis_off()
    text = {"color": "white", "bbox": {"facecolor": "black", "edgecolor": "none", "pad": 0.6}}
    axes.text(0.03, 0.97, "R", transform=axes.transAxes, va="top", **text)
    axes.text(0.97, 0.97, "L", transform=axes.transAxes, va="top", ha="right", **text)
    right, bottom = 0.96 * width_mm, 0.04 * height_mm
    for color, thickness in (("black", 3.5), ("white", 1.5)):  # the black rim keeps the bar visible on bone
        bar = {"color": color, "linewidth": thickness, "solid_capstyle": "butt"}
        axes.plot([right - bar_mm, right], [bottom, bottom], **bar)


def outline(axes: Axes, masks: Sequence[tuple[np.ndarray, LineStyle]], *, pixel_mm: float) -> None:
    """Draw outlines of masks [y, x], half-way between the voxels inside and outside; an empty mask draws none.

    All rims lie under all lines, so that no outline hides another; the brain's has none, it must not draw the eye.
    """
    drawn = [(mask, style) for mask, style in masks if np.any(mask)]
    for mask, style in drawn:
        if style is not BRAIN:
            _contour(axes, mask, pixel_mm, colors="black", linewidths=RIM_POINTS)
    for mask, style in drawn:
        _contour(axes, mask, pixel_mm, colors=style.color, linestyles=[style.line], linewidths=0.9)


def _contour(axes: Axes, mask: np.ndarray, pixel_mm: float, **look: object) -> None:
    padded = np.pad(mask[:, ::-1] > 0, 1).astype(float)  # closes outlines that touch the edge
    y_mm, x_mm = ((np.arange(size) - 0.5) * pixel_mm for size in padded.shape)
    axes.contour(x_mm, y_mm, padded, levels=[0.5], **look)


def _wrapped(lines: np.ndarray) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(str(line), LINE_LENGTH) or [""]]


def _lines_mm(arrays: Arrays) -> float:
    return 4.2 * len(_wrapped(arrays["lines"])) + 10
