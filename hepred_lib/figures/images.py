"""CT slices, explanations of the network, and what its training and segmentations look like."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import FigureBase
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, MultipleLocator
from scipy import ndimage

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
    letters,
    no_data,
    panels,
)

# CT slices: window stated, patient's right on the left, a scale bar

HEMATOMA = LineStyle("hematoma", ORANGE, "-", "")
BRAIN = LineStyle("brain", SKY, ":", "")
REFERENCE = LineStyle("reference outline", SKY, "-", "")
PREDICTED = LineStyle("predicted outline", YELLOW, (0, (1.8, 1.8)), "")

PAGE_MM, COLUMNS, WIDE_COLUMNS, LINE_LENGTH = 174, 5, 3, 112
NOT_AIR_HU, EDGE_MM = -500, 6  # around the head, and around the outlines in an enlarged part
SIDE = 0.62  # of the head's frame: the place of the enlarged part
SMALLEST_PART_MM, PART_BAR_MM = 26.0, 10
FINER, ROUNDING = 4, 0.4  # points per voxel of an outline, and how far its corners are rounded, in voxels
THIN: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.5}
BAR_LENGTHS_MM = (50, 20, 10, 5, 2, 1)
DISCLAIMER = "Research use only, not for clinical decisions."

LINE_POINTS, RIM_POINTS = 0.9, 1.9  # black under a line: without it a line on bright blood is lost in grey print

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
        One pair a slice, in millimetres, with the part around the outlines enlarged.
    """
    return _slices(figure, arrays, {"reference": REFERENCE, "predicted": PREDICTED}, enlarged=True)


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
    ratios = [outlines_height_mm(arrays), _lines_mm(arrays)]
    (upper,), (lower,) = figure.subfigures(2, 1, squeeze=False, height_ratios=ratios)
    slices = _slices(upper, arrays, {"mask": PREDICTED}, enlarged=True)
    axes = lower.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    text = "\n".join(_wrapped(arrays["lines"]))
    axes.text(0.02, 0.98, text, va="top", linespacing=1.3, fontsize=8)
    axes.text(0.02, 0.02, DISCLAIMER, va="bottom", weight="bold", fontsize=8)
    return [*slices, axes]


def slices_height_mm(arrays: Arrays, *, enlarged: bool = False) -> float:
    """Return the height in mm of a page of slices, 174 mm wide, with titles and legend."""
    count, (width, height) = len(arrays["hu"]), _head_mm(arrays)
    columns = _columns(count, enlarged)
    lines = max((str(title).count("\n") + 1 for title in arrays["titles"]), default=1)
    widest = min(PAGE_MM / columns - 2, 60 * (1 + SIDE * enlarged))
    panel_mm = widest * height / (width * (1 + SIDE * enlarged))
    return max(1, -(-count // columns)) * (panel_mm + 1.5 + 3.5 * lines) + 12


def outlines_height_mm(arrays: Arrays) -> float:
    """Return the height in mm of slices with an enlarged part beside each."""
    return slices_height_mm(arrays, enlarged=True)


def overview_height_mm(arrays: Arrays) -> float:
    """Return the height in mm of an overview, 174 mm wide."""
    return outlines_height_mm(arrays) + _lines_mm(arrays)


def _columns(count: int, enlarged: bool) -> int:
    """Return how many slices stand in a row, so that the rows are as even as they can be."""
    rows = max(1, -(-count // (WIDE_COLUMNS if enlarged else COLUMNS)))
    return max(1, -(-count // rows))


def _heads(arrays: Arrays) -> np.ndarray:
    """Return left, right, bottom and top in mm of what is not air in each slice, the patient's right on the left."""
    pixels, limits = np.broadcast_to(arrays["pixel_mm"], len(arrays["hu"])), []
    for hu, pixel_mm in zip(arrays["hu"], pixels, strict=True):
        seen = hu[:, ::-1] > NOT_AIR_HU
        seen = seen if seen.any() else np.ones_like(seen)
        (left, right), (bottom, top) = (np.flatnonzero(seen.any(axis=axis))[[0, -1]] for axis in (0, 1))
        limits.append(np.array([left, right + 1, bottom, top + 1]) * pixel_mm)
    return np.array(limits).reshape(-1, 4)


def _head_mm(arrays: Arrays) -> tuple[float, float]:
    """Return width and height in mm of the frame that holds the head of every slice."""
    heads = _heads(arrays)
    if not len(heads):
        return 1.0, 1.0
    return float(np.ptp(heads[:, :2], axis=1).max()) + EDGE_MM, float(np.ptp(heads[:, 2:], axis=1).max()) + EDGE_MM


def _frames(arrays: Arrays) -> list[tuple[float, ...]]:
    """Return each slice's frame (left, right, bottom, top; mm): of one size, its head in the middle."""
    half, heads = np.array(_head_mm(arrays)) / 2, _heads(arrays)
    middles = zip(heads[:, :2].mean(axis=1), heads[:, 2:].mean(axis=1), strict=True)
    return [(x - half[0], x + half[0], y - half[1], y + half[1]) for x, y in middles]


def _slices(figure: FigureBase, arrays: Arrays, styles: dict[str, LineStyle], *, enlarged: bool = False) -> list[Axes]:
    """Draw every slice with the outlines of the masks that `styles` names, and beside it a part of it enlarged."""
    count = len(arrays["hu"])
    if not count:
        return no_data(figure)
    grid = panels(figure, count, columns=_columns(count, enlarged))
    pixels_mm, bar_mm = np.broadcast_to(arrays["pixel_mm"], count), _bar_mm(arrays)
    for i, (axes, pixel_mm, frame) in enumerate(zip(grid, pixels_mm, _frames(arrays), strict=True)):
        hu, look = arrays["hu"][i], {"pixel_mm": pixel_mm, "window": arrays["window"]}
        show_slice(axes, hu, frame=frame, bar_mm=bar_mm, **look)
        axes.set_title(str(arrays["titles"][i]), loc="center", pad=2)
        masks = [(arrays[name][i], style) for name, style in styles.items()]
        outline(axes, masks, pixel_mm=pixel_mm, points=0.6 if enlarged else LINE_POINTS)
        if enlarged:
            right = frame[1] + SIDE * (frame[1] - frame[0])
            axes.add_patch(Rectangle((frame[1], frame[2]), right - frame[1], frame[3] - frame[2], color="black"))
            axes.set_xlim(frame[0], right)
            _enlarge(axes, hu, masks, frame=frame, **look)
    legend_below(figure, list(map(_handle, styles.values())), columns=len(styles))
    letters(grid, inside=True)
    return grid


def _handle(style: LineStyle) -> Line2D:
    """Return the legend's line for an outline: on a black rim, but for the brain's."""
    rim = [withStroke(linewidth=RIM_POINTS, foreground="black")] * (style is not BRAIN)
    look: dict[str, Any] = {"color": style.color, "linestyle": style.line, "linewidth": 0.9, "path_effects": rim}
    return Line2D([], [], label=style.name, **look)


def _enlarge(
    axes: Axes,
    hu: np.ndarray,
    masks: Sequence[tuple[np.ndarray, LineStyle]],
    *,
    pixel_mm: float,
    window: np.ndarray,
    frame: tuple[float, ...],
) -> None:
    """Draw what lies around the outlines once more, as large as the place beside the slice allows."""
    part = part_of_interest([mask for mask, _ in masks], pixel_mm, frame)
    if part is None:
        return
    side, gap = SIDE * (frame[1] - frame[0]), 0.02 * (frame[1] - frame[0])
    inset = axes.inset_axes((frame[1], frame[2] + gap, side - gap, side - gap), transform=axes.transData)
    show_part(inset, hu, part, pixel_mm=pixel_mm, window=window)
    outline(inset, masks, pixel_mm=pixel_mm)
    axes.add_patch(Rectangle((part[0], part[2]), part[1] - part[0], part[3] - part[2], fill=False, **THIN))


def part_of_interest(
    masks: Sequence[np.ndarray], pixel_mm: float, frame: tuple[float, ...]
) -> tuple[float, ...] | None:
    """Return left, right, bottom and top in mm of a square around masks [y, x], within `frame`; None without any."""
    seen = np.any([mask >= 0.5 for mask in masks], axis=0)[:, ::-1]
    if not seen.any():
        return None
    ends = [(np.flatnonzero(seen.any(axis=axis))[[0, -1]] + (0, 1)) * pixel_mm for axis in (0, 1)]
    widest = min(np.ptp(frame[:2]), np.ptp(frame[2:]))
    half = min(max(SMALLEST_PART_MM, *(np.ptp(pair) + 2 * EDGE_MM for pair in ends)), widest) / 2
    limits = zip(frame[::2], frame[1::2], strict=True)
    middles = [np.clip(np.mean(pair), low + half, high - half) for pair, (low, high) in zip(ends, limits, strict=True)]
    return tuple(float(end) for middle in middles for end in (middle - half, middle + half))


def show_part(axes: Axes, hu: np.ndarray, part: tuple[float, ...], *, pixel_mm: float, window: np.ndarray) -> None:
    """Draw a part of a slice in a thin frame, with a scale bar of 10 mm."""
    _image(axes, hu, pixel_mm=pixel_mm, window=window)
    axes.set(xlim=part[:2], ylim=part[2:], xticks=[], yticks=[], facecolor="black")
    for spine in axes.spines.values():
        spine.set(visible=True, color="white", linewidth=0.6)
    _bar(axes, part, PART_BAR_MM)


def show_slice(
    axes: Axes,
    hu: np.ndarray,
    *,
    pixel_mm: float,
    window: tuple[float, float],
    bar_mm: float,
    frame: tuple[float, ...] | None = None,
) -> None:
    """Draw one slice [y, x] in its window (level, width; HU), with R, L and a scale bar; axes in mm, cut to `frame`."""
    frame = frame or (0.0, hu.shape[1] * pixel_mm, 0.0, hu.shape[0] * pixel_mm)
    left, right, bottom, top = frame
    axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, color="black", zorder=-1))
    _image(axes, hu, pixel_mm=pixel_mm, window=window)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_axis_off()
    text: dict[str, Any] = {"color": "white", "va": "top"}
    axes.text(left + 0.03 * (right - left), top - 0.03 * (top - bottom), "R", **text)
    axes.text(right - 0.03 * (right - left), top - 0.03 * (top - bottom), "L", ha="right", **text)
    _bar(axes, frame, bar_mm)


def _image(
    axes: Axes, values: np.ndarray, *, pixel_mm: float, window: Sequence[float] | np.ndarray, **look: Any
) -> AxesImage:
    height_mm, width_mm = np.array(values.shape) * pixel_mm
    look |= {"vmin": window[0] - window[1] / 2, "vmax": window[0] + window[1] / 2, "interpolation": "bilinear"}
    return axes.imshow(values[:, ::-1], origin="lower", extent=(0, width_mm, 0, height_mm), **look)


def _bar(axes: Axes, frame: tuple[float, ...], bar_mm: float) -> None:
    left, right, bottom, top = frame
    end, height = right - 0.04 * (right - left), bottom + 0.04 * (top - bottom)
    for color, thickness in (("black", 3.5), ("white", 1.5)):  # the black rim keeps the bar visible on bone
        axes.plot([end - bar_mm, end], [height, height], color=color, linewidth=thickness, solid_capstyle="butt")


def outline(
    axes: Axes, masks: Sequence[tuple[np.ndarray, LineStyle]], *, pixel_mm: float, points: float = LINE_POINTS
) -> None:
    """Draw outlines of masks [y, x], half-way between the voxels inside and outside; an empty mask draws none.

    All rims lie under all lines, so that no outline hides another; the brain's has none, it must not draw the eye.
    """
    drawn = [(mask, style) for mask, style in masks if np.any(mask >= 0.5)]
    for mask, style in drawn:
        if style is not BRAIN:
            _contour(axes, mask, pixel_mm, colors="black", linewidths=points + RIM_POINTS - LINE_POINTS)
    for mask, style in drawn:
        _contour(axes, mask, pixel_mm, colors=style.color, linestyles=[style.line], linewidths=points)


def _contour(axes: Axes, mask: np.ndarray, pixel_mm: float, **look: Any) -> None:
    """Draw where a mask is one half: of one that is only 0 and 1, the stairs of its voxels are rounded."""
    shares = np.pad(mask[:, ::-1].astype(float), 2)  # closes outlines that touch the edge
    rows, columns = (np.flatnonzero((shares >= 0.5).any(axis=axis)) for axis in (1, 0))
    top, left = rows[0] - 2, columns[0] - 2
    shares = shares[top : rows[-1] + 3, left : columns[-1] + 3]
    fine = FINER if np.isin(shares, (0.0, 1.0)).all() else 1
    if fine > 1:
        shares = ndimage.gaussian_filter(np.kron(shares, np.ones((fine, fine))), ROUNDING * fine)
    # Places of the pixels' centres; two were added in front.
    y_mm, x_mm = (
        (start - 2 + (np.arange(size) + 0.5) / fine) * pixel_mm
        for start, size in zip((top, left), shares.shape, strict=True)
    )
    axes.contour(x_mm, y_mm, shares, levels=[0.5], **look)


def _wrapped(lines: np.ndarray) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(str(line), LINE_LENGTH) or [""]]


def _lines_mm(arrays: Arrays) -> float:
    return 4.2 * len(_wrapped(arrays["lines"])) + 10


# Activation map over the hematoma, and its share by slice

# From clear to vermillion: where nothing was active the scan shows through.
HEAT = LinearSegmentedColormap.from_list(
    "heat", [(0.0, (0.94, 0.86, 0.2, 0.0)), (0.35, (0.94, 0.7, 0.1, 0.65)), (1.0, (0.8, 0.25, 0.0, 0.9))]
)
HALF = LineStyle("half of the highest activation", "white", (0, (0.8, 1.2)), "")
BARS_MM, TITLE_MM, COLOUR_BAR_MM, SCALE_MM = 24, 8, 12, 14


def activation(figure: FigureBase, arrays: Arrays) -> list[Axes]:
    """Draw one column a patient: a slice, its part with the activation map, and the hematoma's share by slice.

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
        Three a patient: the slice in mm, its part, and the bars.
    """
    count = len(arrays["hu"])
    if not count:
        return no_data(figure)
    slice_mm, part_mm = _activation_mm(arrays)
    grid = figure.subplots(3, count, squeeze=False, height_ratios=[slice_mm, part_mm, BARS_MM], sharey=False)
    pixels_mm, bar_mm = np.broadcast_to(arrays["pixel_mm"], count), _bar_mm(arrays)
    for i, (frame, (upper, middle, lower)) in enumerate(zip(_frames(arrays), grid.T, strict=True)):
        hu, predicted, active = (arrays[name][i] for name in ("hu", "predicted", "activation"))
        look = {"pixel_mm": pixels_mm[i], "window": arrays["window"]}
        show_slice(upper, hu, frame=frame, bar_mm=bar_mm, **look)
        outline(upper, [(predicted, PREDICTED)], pixel_mm=pixels_mm[i], points=0.6)
        upper.set_title(str(arrays["titles"][i]), loc="center", pad=2)
        part = part_of_interest([predicted, active], pixels_mm[i], frame) or _square(frame)
        show_part(middle, hu, part, **look)
        shade = _image(middle, active, pixel_mm=pixels_mm[i], window=(0.5, 1.0), cmap=HEAT)
        middle.set(xlim=part[:2], ylim=part[2:])  # an image widens the axes to all of it
        outline(middle, [(predicted, PREDICTED), (active, HALF)], pixel_mm=pixels_mm[i])
        upper.add_patch(Rectangle((part[0], part[2]), part[1] - part[0], part[3] - part[2], fill=False, **THIN))
        _bars(lower, arrays["share"][i], shown=int(arrays["shown"][i]))
    bar = figure.colorbar(shade, ax=list(grid[1]), shrink=0.9, pad=0.01, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["0", "50", "100"])
    bar.set_label("Activation (% of maximum)")
    grid[2, 0].set_ylabel("Share of\nhematoma")
    highest = max((axes.get_ylim()[1] for axes in grid[2]), default=1.0)
    for axes in grid[2]:
        # A fixed number of ticks: others, chosen once the axes have their size, would push the label off the page.
        axes.set_ylim(0, highest)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_locator(MultipleLocator(10))
        axes.tick_params(labelleft=axes is grid[2, 0])
    legend_below(figure, [_handle(PREDICTED)])
    letters(grid[0], inside=True)
    return list(grid.T.flat)


def activation_height_mm(arrays: Arrays) -> float:
    """Return the height in mm, 174 mm wide."""
    return sum(_activation_mm(arrays)) + BARS_MM + TITLE_MM + 16 if len(arrays["hu"]) else 40


def _activation_mm(arrays: Arrays) -> tuple[float, float]:
    """Return the heights in mm of a slice and of its enlarged part."""
    width, height = _head_mm(arrays)
    column_mm = min((PAGE_MM - COLOUR_BAR_MM - SCALE_MM) / len(arrays["hu"]) - 2, 60)
    return column_mm * height / width, column_mm


def _square(frame: tuple[float, ...]) -> tuple[float, ...]:
    """Return the middle of a frame as a square."""
    left, right, bottom, top = frame
    half = min(right - left, top - bottom) / 2
    return (left + right) / 2 - half, (left + right) / 2 + half, (bottom + top) / 2 - half, (bottom + top) / 2 + half


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
    "loss_descriptors": "Descriptor loss",
}
FOLD_LINES = ("", (4, 1.5), (3, 1.25, 1.5, 1.25), (1, 1), (5, 1, 1, 1, 1, 1))
FOLD_COLORS = ("black", BLUE, VERMILLION, GREY, PURPLE)


def learning_curves(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the training losses by epoch, one line a fold.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row an epoch of a fold: `fold`, `epoch`, `loss`, `loss_segmentation`, `loss_presence`, `loss_descriptors`,
        and `loss_expansion` where the outcomes taught the networks.

    Returns
    -------
    list of Axes
        One pair a loss.
    """
    drawn = LOSSES | ({"loss_expansion": "Expansion loss"} if "loss_expansion" in table else {})
    grid = panels(figure, len(drawn), columns=len(drawn))
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
    for axes, (column, name) in zip(grid, drawn.items(), strict=True):
        seaborn.lineplot(table, x="epoch", y=column, ax=axes, marker="o", markersize=2, markeredgewidth=0, **by_fold)
        axes.set(xlabel="Epoch", ylabel=name)
        axes.locator_params("x", integer=True)
    letters(grid)
    for line, name in zip(axes.lines, names, strict=True):
        line.set_label(name)
    legend_below(figure, list(axes.lines), columns=5)
    return grid


LINES = ("line", "line_low", "line_high")
VOLUME_TICKS_ML = (0, 1, 5, 20, 50, 100, 150, 200, 300)


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
    return next((length for length in BAR_LENGTHS_MM if length <= 0.35 * _head_mm(arrays)[0]), BAR_LENGTHS_MM[-1])


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
        One pair of axes, in mL; the volumes on a cube-root scale, so that small hematomas are seen.
    """
    axes = figure.subplots()
    mean_ml = (table["reference_ml"] + table["predicted_ml"]) / 2
    difference_ml = table["predicted_ml"] - table["reference_ml"]
    axes.plot(mean_ml, difference_ml, "o", color=BLUE, markersize=3, alpha=0.5, markeredgewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.6)
    drawn = table.assign(mean_ml=mean_ml).sort_values("mean_ml")
    straight = "line" not in table or table["line"].isna().any()
    for name, line in zip(("bias", "low", "high") if straight else LINES, ("-", "--", "--"), strict=True):
        axes.plot(drawn["mean_ml"], drawn[name], color=VERMILLION, linestyle=line)
    axes.set_xscale("function", functions=(np.cbrt, lambda root: root**3))
    axes.set(xlim=(0, 1.1 * mean_ml.max()), xticks=[tick for tick in VOLUME_TICKS_ML if tick <= 1.1 * mean_ml.max()])
    axes.set(xlabel="Mean of predicted and reference volume (mL)", ylabel="Predicted − reference volume (mL)")
    handles = [Line2D([], [], color=VERMILLION, label="bias")]
    handles += [Line2D([], [], color=VERMILLION, linestyle="--", label="95 % limits of agreement")]
    legend_below(figure, handles, columns=2)
    return [axes]
