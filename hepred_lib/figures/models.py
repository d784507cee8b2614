"""The clinical and integrated models: nomogram, candidates, odds ratios, selection stability."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from hepred_lib.figures.style import (
    BLUE,
    GUIDE,
    ORANGE,
    PURPLE,
    by_model,
    decimal,
    finite,
    forest_row,
    legend_below,
    letters,
    p_text,
    ratio_text,
    say_right,
)

# Nomogram: points for each value, their sum, and the probability

LABEL_MM, MARGIN_MM, ROW_MM, PAGE_MM = 40, 6, 10, 174
SCALE_MM = PAGE_MM - LABEL_MM - MARGIN_MM
LETTER_MM, CLEARANCE_MM = 1.6, 1.2  # width of a digit at 8 points; free space between two numbers
TICK_MM, TEXT_MM = 1.2, 1.8
WIDEST = 100  # points of the longest axis
FEWEST_POINTS = 2  # an axis that gives less is not drawn


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
    blocks = list(_worth_drawing(table).groupby("axis", sort=False))
    height_mm = ROW_MM * (len(blocks) + 1)
    axes.set(xlim=(-LABEL_MM, SCALE_MM + MARGIN_MM), ylim=(height_mm, 0))
    axes.set_axis_off()
    marks = np.arange(0, WIDEST + 1, 10)
    texts = [f"{mark}" for mark in marks]
    _axis(axes, ROW_MM / 2, marks / WIDEST * SCALE_MM, texts, label="Points", both_sides=False, movable=False)
    for mark in marks:
        x = mark / WIDEST * SCALE_MM
        axes.plot([x, x], [ROW_MM / 2, height_mm - 2.5 * ROW_MM], color="0.9", linewidth=0.5, zorder=0)
    most = table.loc[table["kind"] == "total", "points"].max()
    for row, (_, rows) in enumerate(blocks, start=1):
        length = WIDEST if rows["kind"].isin(["number", "level"]).all() else most
        _block(axes, (row + 0.5) * ROW_MM, rows, mm_per_point=SCALE_MM / length)
    return [axes]


def nomogram_height_mm(table: pd.DataFrame) -> float:
    """Return the height in mm."""
    return ROW_MM * (_worth_drawing(table)["axis"].nunique() + 1) + 6


def nomogram_reading(table: pd.DataFrame) -> str:
    """Say how it is read, by one patient in the middle of every axis, and which predictors are not drawn."""
    parts, total = [], 0.0
    for _, rows in table[table["kind"].isin(["number", "level"])].groupby("axis", sort=False):
        marks = rows[rows["tick"].eq(True)]
        row = marks.iloc[len(marks) // 2]
        total += row["points"]
        value = row["text"] if isinstance(row["text"], str) and row["text"] else f"{row['value']:g}".replace("-", "−")
        parts.append(f"{row['label']} {value} ({row['points']:.0f} points)")
    risks = table[table["kind"].eq("probability")]
    p = np.interp(total, risks["points"], risks["value"])
    example = f"Example: {', '.join(parts)}: together {total:.0f} points, a probability of {p:.2f}."
    small = table[~table["axis"].isin(_worth_drawing(table)["axis"])]["label"].unique()
    return example + (f" Not drawn, worth less than {FEWEST_POINTS} points: {', '.join(small)}." if len(small) else "")


def _worth_drawing(table: pd.DataFrame) -> pd.DataFrame:
    """The axes that give at least two points somewhere."""
    return table[table.groupby("axis")["points"].transform("max") >= FEWEST_POINTS]


def _block(axes: Axes, y: float, rows: pd.DataFrame, *, mm_per_point: float) -> None:
    """Draw one axis over the points that it spans, with its marks."""
    way = np.sign(rows["points"].diff()).bfill()  # a spline turns once at most: its marks beyond the turn stand below
    turned = way.ne(way.iloc[0]) & rows["kind"].eq("number")
    shown = rows.assign(turned=turned)[rows["tick"].eq(True)].sort_values("points", kind="stable")
    ends = rows["points"].min() * mm_per_point, rows["points"].max() * mm_per_point
    axes.plot(ends, [y, y], color="black", linewidth=0.8, solid_capstyle="butt")
    worded = shown["text"].notna() & shown["text"].ne("")
    texts = shown["text"].where(worded, shown["value"].map("{:g}".format)).tolist()
    x = shown["points"].to_numpy() * mm_per_point
    below = {int(mark) for mark in np.flatnonzero(shown["turned"])}
    both_sides = bool(worded.any() or rows["kind"].eq("probability").all())
    _axis(
        axes, y, x, texts, label=rows["label"].iloc[0], both_sides=both_sides, movable=bool(worded.any()), below=below
    )


def _axis(
    axes: Axes,
    y: float,
    x: np.ndarray,
    texts: list,
    *,
    label: str,
    both_sides: bool,
    movable: bool,
    below: Collection[int] = (),
) -> None:
    """Draw marks with what they stand for above the line, and the axis' own words at the left.

    What would touch its neighbour goes below the line where both sides are allowed; there a movable text (a word) is
    pushed aside until it is free, a number is left out. Marks named in `below` stand below the line from the start.
    """
    axes.plot([x.min(), x.max()], [y, y], color="black", linewidth=0.8, solid_capstyle="butt")
    axes.text(-LABEL_MM, y, label, va="center_baseline", ha="left")
    taken = {-1: -np.inf, 1: -np.inf}  # where the last text ends, above and below the line
    for mark, (center, text) in enumerate(zip(x, texts, strict=True)):
        direction = 1 if mark in below else -1
        axes.plot([center, center], [y, y + direction * TICK_MM], color="black", linewidth=0.6)
        half = (len(text) * LETTER_MM + CLEARANCE_MM) / 2
        side = direction if mark in below or center - half >= taken[-1] else 1
        fits = center - half >= taken[side]
        if side == 1 and not ((both_sides or mark in below) and (fits or movable)):
            continue
        place = center if fits else taken[side] + half
        taken[side] = place + half
        axes.text(place, y + side * TEXT_MM, text.replace("-", "−"), ha="center", va="bottom" if side < 0 else "top")


# Candidates, odds ratios and selection stability

WIDEST_MODELS = (1 / 16, 16.0)  # an interval that reaches beyond ends in an arrow
RATIO_TICKS = (
    (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 4, 5, 7, 10, 15),
    (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15),
    (0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16),
)
MOST_TICKS = 9
PROFILE: dict[str, Any] = {"marker": "|", "markersize": 8, "markeredgewidth": 1.2, "clip_on": False}
APART = 1.05  # limits whose ratio is smaller are the same in print
FEWEST_CELLS = 7  # along a side of the map of correlations, drawn or not
MOST_PAIRS = 3  # that are said, not drawn
PRINTED_FROM = 0.2  # weaker correlations are colour alone
KINDS = {"predictor": ("true predictor", BLUE), "proxy": ("proxy", ORANGE), "unrelated": ("unrelated", PURPLE)}


def odds_ratios(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw odds ratios with 95 % intervals on a logarithmic axis, the models beside each other at each term.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a term of a model: `model`, `name`, `label` with its step, `odds_ratio`, `low`, `high`, `p`; where they
        are known, `profile_low`, `profile_high`: limits that differ are marked by ticks.

    Returns
    -------
    list of Axes
        One pair of axes; the numbers stand at its right.
    """
    axes = figure.subplots()
    lows, highs = (
        np.concatenate([finite(table[name]) for name in (end, f"profile_{end}") if name in table])
        for end in ("low", "high")
    )
    limits = np.clip([*lows / 1.2, *highs * 1.2, 0.8, 1.25], *WIDEST_MODELS)
    axes.set_xscale("log", base=2)
    axes.set_xlim(limits.min(), limits.max())
    axes.axvline(1, **GUIDE)
    shown = list(by_model(table))
    terms = list(dict.fromkeys(table.iloc[::-1]["name"]))[::-1]  # in the order of the last, widest model
    labels = table.drop_duplicates("name").set_index("name")["label"]
    apart = 0.34 if len(shown) > 1 else 0.0
    for number, (style, rows) in enumerate(shown):
        look = {"color": style.color, "marker": style.marker}
        for row in rows.itertuples():
            limits = row.odds_ratio, row.low, row.high
            first, *ends = map(ratio_text, limits)
            text = first if np.isnan(limits).any() else f"{first} ({'–'.join(ends)})"
            beside = (table["name"] == row.name).sum() > 1
            place = terms.index(row.name) + apart * beside * (number - (len(shown) - 1) / 2)
            forest_row(axes, place, limits, x=1.03, look=look, text=text, clip_on=True)
            if differs(row):
                marks = np.array([end for end in (row.profile_low, row.profile_high) if np.isfinite(end)])
                marks = np.clip(marks, *axes.get_xlim())
                axes.plot(marks, np.full(len(marks), place), linestyle="", color=style.color, **PROFILE)
            _say_further(axes, place, p_text(row.p))
    say_right(axes, -0.85, "OR (95 % CI)", x=1.03, weight="bold")
    _say_further(axes, -0.85, "p", weight="bold")
    axes.set_yticks(range(len(terms)), labels[terms])
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(terms) - 0.5, -0.6), xlabel="Odds ratio of HE")
    _say_sides(axes, -0.85)
    handles = [Line2D([], [], label=style.name, color=style.color, marker=style.marker) for style, _ in shown]
    if any(map(differs, table.itertuples())):
        handles.append(Line2D([], [], linestyle="", color="black", label="profile-likelihood limit", **PROFILE))
    legend_below(figure, handles, columns=len(handles))
    axes.xaxis.set_major_formatter("{x:g}")
    # Round ratios within the limits: finer ones where the axis is short.
    low, high = axes.get_xlim()
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in RATIO_TICKS]
    ticks = next((ticks for ticks in inside if len(ticks) <= MOST_TICKS), inside[-1])
    axes.set_xticks(ticks)
    axes.minorticks_off()
    return [axes]


def differs(row: tuple) -> bool:
    """Whether a term's profile-likelihood limits are known and lie elsewhere than Wald's, by a twentieth or more."""
    pairs = [(getattr(row, f"profile_{end}", np.nan), getattr(row, end)) for end in ("low", "high")]
    if np.isnan(pairs).any():
        return False
    with np.errstate(divide="ignore"):
        return bool(np.abs(np.subtract(*np.log(pairs).T)).max() >= np.log(APART))


def profile_words(table: pd.DataFrame) -> str:
    """Say where profile-likelihood limits differ from Wald's, and which they are; nothing where they are not known."""
    if "profile_low" not in table or table["profile_low"].isna().all():
        return ""
    several = table["model"].nunique() > 1
    rows = [row for row in table.itertuples() if differs(row)]
    said = [
        f"{row.label}{f' ({row.model})' * several} {ratio_text(row.profile_low)} to {ratio_text(row.profile_high)}"
        for row in rows
    ]
    if not said:
        return "Profile-likelihood limits lie within 5 % of Wald's."
    return f"Ticks: profile-likelihood limits, where they differ by 5 % or more: {'; '.join(said)}."


def _say_sides(axes: Axes, place: float) -> None:
    """Say over each side of 1 what it means, where the side has room for the words."""
    low, high = np.log(axes.get_xlim())
    one = -low / (high - low)
    for words, left, right in (("lower risk", 0.0, one), ("higher risk", one, 1.0)):
        if right - left > 0.2:
            axes.text((left + right) / 2, place, words, transform=axes.get_yaxis_transform(), ha="center", va="center")


def _say_further(axes: Axes, place: float, text: str, **look: Any) -> None:
    """Write a second column of words at the right of the axes."""
    where: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "xytext": (82, 0), "textcoords": "offset points"}
    axes.annotate(text, (1.03, place), va="center_baseline", annotation_clip=False, **where, **look)


def instability(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw how much the resamples' models disagree about the same patients.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        Rows of kind `patient` with `p`, `low`, `high`, `changed`, `threshold`, and of kind `curve` with `curve`, `p`,
        `observed`; `mape` in all.

    Returns
    -------
    list of Axes
        Probabilities, classification, calibration.
    """
    axes = figure.subplots(1, 3)
    patients, curves = (table[table["kind"].eq(kind)] for kind in ("patient", "curve"))
    patients = patients.sort_values("p", kind="stable")
    axes[0].vlines(patients["p"], patients["low"], patients["high"], color=BLUE, alpha=0.35, linewidth=0.6)
    axes[0].set_ylabel("Probability by the resamples' models")
    axes[0].set_title(f"Mean absolute prediction error {patients['mape'].iloc[0]:.2f}")
    axes[1].scatter(patients["p"], 100 * patients["changed"], s=4, color=BLUE, linewidth=0)
    axes[1].axvline(patients["threshold"].iloc[0], **GUIDE)
    axes[1].set(
        ylabel="Classified differently, % of resamples", ylim=(-2, 102), title="Classification at the threshold"
    )
    for _, curve in curves.groupby("curve"):
        axes[2].plot(curve["p"], curve["observed"], color=BLUE, alpha=0.25, linewidth=0.5)
    axes[2].set(ylabel="Observed proportion with HE", title="Calibration, apparent")
    for panel in (axes[0], axes[2]):
        panel.plot([0, 1], [0, 1], **GUIDE)
        panel.set_ylim(0, 1)
    for panel, models in zip(axes, ("the model", "the model", "the resamples' models"), strict=True):
        panel.set(xlim=(0, 1), xlabel=f"Probability by {models}")
    letters(axes)
    return list(axes)


def inclusion_frequency(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw how often each candidate is selected in resamples, beside one half; selected ones are filled.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a candidate, drawn from the top: `label`, `frequency` in [0, 1] with its 95 % Monte Carlo interval
        `low`, `high`, `selected` (bool, in the final model). Where the truth is simulated, `kind` says `predictor`,
        `proxy` or `unrelated`.

    Returns
    -------
    list of Axes
        One pair of axes.
    """
    axes = figure.subplots()
    for place, row in enumerate(table.itertuples()):
        name, color = KINDS.get(getattr(row, "kind", ""), ("", "black"))
        axes.plot([row.low, row.high], [place, place], color=color, linewidth=0.9)
        face = color if row.selected else "white"
        axes.plot(row.frequency, place, "o", color=color, markerfacecolor=face, clip_on=False)
        say_right(axes, place, name, x=1.03)
    axes.axvline(0.5, **GUIDE)
    handles = [
        Line2D([], [], linestyle="", marker="o", color="black", markerfacecolor=face, label=label)
        for face, label in (("black", "in the final model"), ("white", "not in it"))
    ]
    axes.set_yticks(range(len(table)), table["label"])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1), ylim=(len(table) - 0.4, -0.6), xlabel="Proportion of resamples that select it")
    legend_below(figure, handles, columns=2)
    return [axes]


def resampled_words(table: pd.DataFrame) -> str:
    """Say the number of resamples; nothing where it is not known."""
    return f"B = {table['n_resamples'].iloc[0]:.0f} resamples." if "n_resamples" in table else ""


def missing(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the share of missing values of each candidate, by outcome, as a heat map with its percentages.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a cell, drawn from the top: `variable`, `group` (all patients, then each outcome), `n` patients of the
        group, `share` in [0, 1].

    Returns
    -------
    list of Axes
        One pair of axes.
    """
    axes = figure.subplots()
    groups = table.drop_duplicates("group")
    shares = 100 * table["share"].to_numpy(dtype=float).reshape(-1, len(groups))
    look = {"cmap": "Blues", "vmin": 0, "vmax": max(50, shares.max()), "cbar": False, "linewidths": 0.5}
    seaborn.heatmap(shares, ax=axes, annot=True, fmt=".0f", annot_kws={"size": 7}, **look)
    heads = [f"{row.group}\nn = {row.n:.0f}" for row in groups.itertuples()]
    axes.set_xticks(np.arange(len(groups)) + 0.5, heads, rotation=0)
    axes.set_yticks(np.arange(len(shares)) + 0.5, table["variable"][:: len(groups)], rotation=0)
    axes.tick_params(length=0)
    axes.set_xlabel("Missing values (%)")
    return [axes]


def correlation(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the rank correlations of the candidates as a heat map; strong ones are printed, in hundredths.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a pair: places `row` > `column` from 0, their names `variable` and `other`, and `correlation` in
        [-1, 1] (NaN where it is not known).

    Returns
    -------
    list of Axes
        The heat map and its colour bar.
    """
    axes = figure.subplots()
    size = int(table["row"].max()) + 1
    grid = np.full((size, size), np.nan)
    grid[table["row"], table["column"]] = table["correlation"]
    strong = np.abs(grid) >= PRINTED_FROM
    hundredths = np.char.replace(np.char.mod("%.0f", 100 * np.where(strong, grid, 0.0)), "-", "−")
    look = {"cmap": "vlag", "vmin": -1, "vmax": 1, "linewidths": 0.5, "square": True, "annot_kws": {"size": 7}}
    bar = {"label": "Spearman's correlation\n(cells: × 100)", "shrink": 0.6, "ticks": [-1, -0.5, 0, 0.5, 1]}
    shown = np.where(strong, hundredths, "")
    seaborn.heatmap(grid[1:, :-1], ax=axes, annot=shown[1:, :-1], fmt="", cbar_kws=bar, **look)
    names = table.drop_duplicates("row")["variable"], table.drop_duplicates("column")["other"]
    axes.set_yticks(np.arange(size - 1) + 0.5, names[0], rotation=0)
    axes.set_xticks(np.arange(size - 1) + 0.5, names[1], rotation=90)
    axes.tick_params(length=0)
    room = max(size - 1, FEWEST_CELLS)  # cells of few candidates stay small, at the lower left
    axes.set(xlim=(0, room), ylim=(size - 1, size - 1 - room))
    return [axes, axes.collections[0].colorbar.ax]


def worth_a_map(table: pd.DataFrame) -> pd.DataFrame:
    """The pairs, where there are more than a sentence holds."""
    return table if len(table) > MOST_PAIRS else table.iloc[:0]


def correlation_words(table: pd.DataFrame) -> str:
    """Say the correlations of which no map is drawn."""
    rows = table.iloc[: 0 if len(worth_a_map(table)) else None].dropna(subset="correlation").itertuples()
    said = "; ".join(f"{row.variable} and {row.other} {decimal(row.correlation, 2)}" for row in rows)
    return f"{said}." if said else ""


def correlation_height_mm(table: pd.DataFrame) -> float:
    """Return the height in mm of the cells and of the words below them."""
    return 34 + 4.6 * max(int(table["row"].max()), FEWEST_CELLS)
