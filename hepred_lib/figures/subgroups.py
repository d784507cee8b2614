"""Does the model do as well in every kind of patient: a forest of AUCs and of calibration in the large."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from hepred_lib.figures.layout import finite
from hepred_lib.figures.style import GREY, line_styles

PANELS = {"auc": "AUC (95 % CI)", "in_the_large": "Calibration in the large (95 % CI)"}
WIDEST = 3.0  # an interval of calibration in the large that reaches beyond ends in an arrow


def subgroups(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw one model's AUC and calibration in the large in each subgroup, with 95 % intervals and interaction tests.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a subgroup, drawn from the top: `model`, `split` (empty for all patients), `group`, `n`, `events`,
        `auc`, `in_the_large` and their `_low` and `_high` (NaN where a subgroup has too few events), and `p_auc`,
        `p_in_the_large`, repeated within a split.

    Returns
    -------
    list of Axes
        Two pairs beside each other; the sizes of the subgroups stand at the left.
    """
    grid = list(figure.subplots(1, 2, sharey=True))
    style = next(iter(line_styles(table["model"]).values()))
    places, names, headings = _lines(table)
    for axes, (name, label) in zip(grid, PANELS.items(), strict=True):
        _reference(axes, table, name)
        for place, row in zip(places, table.itertuples(), strict=True):
            _estimate(axes, row, name, place=place, look={"color": style.color, "marker": style.marker})
        for place, split in headings.items():
            _interaction(axes, table.loc[table["split"] == split, f"p_{name}"].iloc[0], place=place)
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks(range(len(names)), names)
    for place in (*headings, 0):
        grid[0].get_yticklabels()[place].set_weight("bold")
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    grid[0].set_title(f"{style.name} model", color=GREY)
    return grid


def subgroups_height_mm(table: pd.DataFrame) -> float:
    """Return the height in mm that the lines of the forest need."""
    return 22 + 4.5 * (len(table) + table["split"].fillna("").nunique())


def _lines(table: pd.DataFrame) -> tuple[list[int], list[str], dict[int, str]]:
    """Return the place of each row, the words of all lines, and the places of the headings."""
    places, names, headings, last = [], [], {}, ""
    for row in table.itertuples():
        split = "" if pd.isna(row.split) else str(row.split)
        if split != last:
            headings[len(names)] = last = split
            names.append(split)
        places.append(len(names))
        names.append(f"{row.group}: n = {row.n:.0f}, {row.events:.0f} HE")
    return places, names, headings


def _reference(axes: Axes, table: pd.DataFrame, name: str) -> None:
    """Draw the line to compare with, and set limits that show every estimate."""
    if name == "auc":
        axes.set_xlim(min([0.45, *finite(table["auc_low"])]), 1)
        reference = table["auc"].iloc[0]
    else:
        limits = finite(pd.concat([table[f"{name}_low"], table[f"{name}_high"]]))
        reach = min(max([1.0, *(1.05 * np.abs(limits))]), WIDEST)
        axes.set_xlim(-reach, reach)
        reference = 0.0
    if np.isfinite(reference):
        axes.axvline(reference, color=GREY, linestyle=":", linewidth=0.8, zorder=0)


def _estimate(axes: Axes, row: tuple, name: str, *, place: int, look: dict[str, str]) -> None:
    value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    left, right = axes.get_xlim()
    if np.isnan(value):
        words = "group not known" if row.group == "missing" else "too few events"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # over the line of reference
        axes.text((left + right) / 2, place, words, color=GREY, ha="center", va="center_baseline", bbox=box)
        return
    axes.plot(np.clip([low, high], left, right), [place, place], color=look["color"])
    for end, arrow in ((left, "<"), (right, ">")):
        if name != "auc" and (low < end == left or high > end == right):
            axes.plot(end, place, marker=arrow, color=look["color"], clip_on=False)
    if left <= value <= right:
        axes.plot(value, place, clip_on=False, **look)
    interval = "" if np.isnan([low, high]).any() else f" ({low:.2f} to {high:.2f})"
    text = f"{value:.2f}{interval}".replace("-", "−")
    axes.text(1.02, place, text, transform=axes.get_yaxis_transform(), va="center_baseline")


def _interaction(axes: Axes, p: float, *, place: int) -> None:
    if pd.notna(p):
        words = f"interaction p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}"
        axes.text(1.02, place, words, transform=axes.get_yaxis_transform(), va="center_baseline", color=GREY)
