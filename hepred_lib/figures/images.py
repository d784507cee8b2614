"""CT slices, explanations of the network, and what its training and segmentations look like."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from hepred_lib.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    LineStyle,
    decimal,
    legend_below,
    no_data,
    panels,
)

# CT slices: window stated, patient's right on the left, a scale bar

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
    bar_mm = _bar_mm(arrays)
    for i, (axes, pixel_mm) in enumerate(zip(grid, pixels_mm, strict=True)):
        show_slice(axes, arrays["hu"][i], pixel_mm=pixel_mm, window=arrays["window"], bar_mm=bar_mm)
        axes.set_title(str(arrays["titles"][i]), loc="center", pad=2)
        masks = [(arrays[name][i], style) for name, style in styles.items()]
        outline(axes, masks, pixel_mm=pixel_mm)
    rim = [withStroke(linewidth=RIM_POINTS, foreground="black")]
    handles = [
        Line2D(
            [], [], color=s.color, linestyle=s.line, label=s.name, linewidth=0.9, path_effects=rim * (s is not BRAIN)
        )
        for s in styles.values()
    ]
    legend_below(figure, handles, columns=len(handles))
    return grid


def show_slice(axes: Axes, hu: np.ndarray, *, pixel_mm: float, window: tuple[float, float], bar_mm: float) -> None:
    """Draw one slice [y, x] in its window (level, width; HU), with R, L and a scale bar; axes in mm."""
    level, width = window
    height_mm, width_mm = np.array(hu.shape) * pixel_mm
    extent, low, high = (0, width_mm, 0, height_mm), level - width / 2, level + width / 2
    axes.imshow(hu[:, ::-1], origin="lower", extent=extent, vmin=low, vmax=high, interpolation="bilinear")
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


# Activation map over the hematoma, and its share by slice

# From clear to vermillion: where nothing was active the scan shows through.
HEAT = LinearSegmentedColormap.from_list("heat", [(*c, a) for c, a in (((0.9, 0.6, 0), 0), ((0.84, 0.37, 0), 0.75))])
HALF = LineStyle("half of the highest activation", "white", (0, (0.8, 1.2)), "")
BARS_MM = 26


def activation(figure: FigureBase, arrays: Arrays) -> list[Axes]:
    """Draw one column a patient: the slice with most of the activation map; under it, the hematoma's share by slice.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    arrays : mapping of str to array
        `hu`, `predicted`, `activation` (n, h, w), the last from 0 to 1; `shown` (n,), the slice's number; `share`
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
    bar_mm = _bar_mm(arrays)
    for i, (upper, lower) in enumerate(grid.T):
        show_slice(upper, arrays["hu"][i], pixel_mm=pixels_mm[i], window=arrays["window"], bar_mm=bar_mm)
        _overlay(upper, arrays["activation"][i], pixel_mm=pixels_mm[i])
        high = arrays["activation"][i] >= 0.5
        outline(upper, [(arrays["predicted"][i], PREDICTED), (high, HALF)], pixel_mm=pixels_mm[i])
        upper.set_title(str(arrays["titles"][i]), loc="center", pad=2)
        _bars(lower, arrays["share"][i], shown=int(arrays["shown"][i]))
    grid[1, 0].set_ylabel("Share by slice")
    # A fixed number of ticks: others, chosen once the axes have their size, would push the label off the page.
    grid[1, 0].yaxis.set_major_locator(MaxNLocator(3))
    return list(grid.T.flat)


def activation_height_mm(arrays: Arrays) -> float:
    """Return the height in mm, 174 mm wide."""
    return _slice_mm(arrays) + BARS_MM + 18 if len(arrays["hu"]) else 40


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


# Losses by epoch, and volumes of the predicted segmentations

LOSSES = {
    "loss": "Total loss",
    "loss_segmentation": "Segmentation loss",
    "loss_presence": "Presence loss",
    "loss_expansion": "Expansion loss",
}
FOLD_LINES = ("", (4, 1.5), (3, 1.25, 1.5, 1.25), (1, 1), (5, 1, 1, 1, 1, 1))
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
    table = table.assign(fold=table["fold"].map("fold {}".format))
    names = table["fold"].unique()
    palette, lines = (dict(zip(names, cycle(looks), strict=False)) for looks in (FOLD_COLORS, FOLD_LINES))
    by_fold = {
        "hue": "fold",
        "style": "fold",
        "hue_order": names,
        "palette": palette,
        "dashes": lines,
        "estimator": None,
        "legend": False,
    }
    for axes, (column, name) in zip(grid, LOSSES.items(), strict=True):
        seaborn.lineplot(table, x="epoch", y=column, ax=axes, marker="o", markersize=2, markeredgewidth=0, **by_fold)
        axes.set(xlabel="Epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for line, name in zip(axes.lines, names, strict=True):
        line.set_label(name)
    legend_below(figure, list(axes.lines), columns=5)
    return grid


LINES = ("line", "line_low", "line_high")


def agreement_words(table: pd.DataFrame) -> str:
    """Say the number of patients, and bias and limits over all of them."""
    bias, low, high = table[["bias", "low", "high"]].iloc[0]
    limits = f", limits {decimal(low)} to {decimal(high)} mL" if np.isfinite([low, high]).all() else ""
    return f"Over all {len(table)} patients: bias {decimal(bias)} mL{limits}."


def window_words(arrays: Arrays) -> str:
    """Say the window, the scale bar and the sides."""
    level, width = arrays["window"]
    return f"Window: level {level:g} HU, width {width:g} HU. Scale bar: {_bar_mm(arrays)} mm. R, L: right and left."


def _bar_mm(arrays: Arrays) -> int:
    narrowest_mm = arrays["hu"].shape[2] * np.broadcast_to(arrays["pixel_mm"], len(arrays["hu"])).min()
    return next((length for length in BAR_LENGTHS_MM if length <= 0.35 * narrowest_mm), BAR_LENGTHS_MM[-1])


def bland_altman(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the difference of two volumes against their mean, with the bias and the 95 % limits of agreement.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row per patient: `reference_ml`, `predicted_ml`; `bias`, `low`, `high` (mL) repeat in every row
        (NaN limits: none are drawn). Where `line`, `line_low`, `line_high` are known, bias and limits follow the
        volume.

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
    drawn = table.assign(mean_ml=mean_ml).sort_values("mean_ml")
    straight = "line" not in table or table["line"].isna().any()
    for name, line in zip(("bias", "low", "high") if straight else LINES, ("-", "--", "--"), strict=True):
        axes.plot(drawn["mean_ml"], drawn[name], color=VERMILLION, linestyle=line)
    axes.set(xlabel="Mean of predicted and reference volume (mL)", ylabel="Predicted − reference volume (mL)")
    handles = [Line2D([], [], color=VERMILLION, label="bias")]
    handles += [Line2D([], [], color=VERMILLION, linestyle="--", label="95 % limits of agreement")]
    legend_below(figure, handles, columns=2)
    return [axes]
