"""What the expansion score looked at: an activation map over the hematoma, and attention by slice."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import FigureBase

from hepred_lib.figures.imaging import BAR_LENGTHS_MM, PAGE_MM, PREDICTED, Arrays, outline, show_slice
from hepred_lib.figures.layout import no_data
from hepred_lib.figures.style import GREY, ORANGE, VERMILLION, LineStyle

# From clear to vermillion: where nothing was active the scan shows through.
HEAT = LinearSegmentedColormap.from_list("heat", [(*c, a) for c, a in (((0.9, 0.6, 0), 0), ((0.84, 0.37, 0), 0.75))])
HALF = LineStyle("half of the highest activation", "white", (0, (0.8, 1.2)), "")
BARS_MM = 26


def attention(figure: FigureBase, arrays: Arrays) -> list[Axes]:
    """Draw one column a patient: the slice with most of the activation map, under it, and attention by slice.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    arrays : mapping of str to array
        `hu`, `predicted`, `activation` (n, h, w), the last from 0 to 1; `shown` (n,), the slice's number; `attention`
        (n, s), NaN beyond a patient's own slices; `titles` (n,) text; `pixel_mm`, one length or (n,); `window` (2,).
        Indexed [slice, y, x] in RAS+.

    Returns
    -------
    list of Axes
        Two a patient: the slice in mm, and the bars.
    """
    count = len(arrays["hu"])
    if not count:
        return no_data(figure)
    grid = figure.subplots(2, count, squeeze=False, height_ratios=[_slice_mm(arrays), BARS_MM], sharey="row")
    pixels_mm = np.broadcast_to(arrays["pixel_mm"], count)
    bar_mm = next(b for b in BAR_LENGTHS_MM if b <= max(1, 0.35 * arrays["hu"].shape[2] * pixels_mm.min()))
    for i, (upper, lower) in enumerate(grid.T):
        show_slice(upper, arrays["hu"][i], pixel_mm=pixels_mm[i], window=arrays["window"], bar_mm=bar_mm)
        _overlay(upper, arrays["activation"][i], pixel_mm=pixels_mm[i])
        high = arrays["activation"][i] >= 0.5
        outline(upper, [(arrays["predicted"][i], PREDICTED), (high, HALF)], pixel_mm=pixels_mm[i])
        upper.set_title(str(arrays["titles"][i]), loc="center", pad=2)
        _bars(lower, arrays["attention"][i], shown=int(arrays["shown"][i]))
    grid[1, 0].set_ylabel("Attention")
    level, width = arrays["window"]
    figure.supxlabel(
        f"Window: level {level:g} HU, width {width:g} HU. Scale bar: {bar_mm} mm. R, L: the patient's right and left.\n"
        "Shade: what raised the score above the hematoma's mean, dotted from half of the maximum; dashed: outline.\n"
        "Dark bar: the slice above.",
        fontsize=7,
    )
    return list(grid.T.flat)


def attention_height_mm(arrays: Arrays) -> float:
    """Return the height in mm, 174 mm wide."""
    return _slice_mm(arrays) + BARS_MM + 29 if len(arrays["hu"]) else 40


def _slice_mm(arrays: Arrays) -> float:
    count, height, width = arrays["hu"].shape
    return min(PAGE_MM / count - 4, 60) * height / max(1, width)


def _overlay(axes: Axes, activation: np.ndarray, *, pixel_mm: float) -> None:
    height_mm, width_mm = np.array(activation.shape) * pixel_mm
    axes.imshow(activation[:, ::-1], origin="lower", extent=(0, width_mm, 0, height_mm), cmap=HEAT, vmin=0, vmax=1)


def _bars(axes: Axes, weights: np.ndarray, *, shown: int) -> None:
    weights = weights[np.isfinite(weights)]
    colors = [VERMILLION if k == shown else ORANGE for k in range(len(weights))]
    axes.bar(np.arange(1, len(weights) + 1), weights, color=colors, width=0.8)
    axes.set_xlabel("Slice, from below")
    axes.axhline(0, color=GREY, linewidth=0.6)
