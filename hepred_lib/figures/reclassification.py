"""Who is moved to another risk stratum by the larger model: events and non-events apart."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch, Rectangle

from hepred_lib.figures.layout import OUTCOMES, decimal, legend_below
from hepred_lib.figures.style import BLUE, ORANGE, line_styles

CAUTION = "Both can lie above 0 for a useless predictor where the larger model is miscalibrated."
RIGHT, WRONG, SAME = (BLUE, ""), (ORANGE, "////"), ("white", "")  # grey print: the wrong way is hatched


def reclassification(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the moves between risk strata as one grid for patients with expansion and one for those without.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a cell: `outcome` 0/1, `old`, `new` (strata, 0 is the lowest), `old_label`, `new_label`, `patients`,
        `share` of the patients of that outcome, `old_model`, `new_model`; repeated: `nri`, `nri_low`, `nri_high`,
        `nri_events`, `nri_non_events`, `idi`, `idi_low`, `idi_high`.

    Returns
    -------
    list of Axes
        Patients with expansion, then those without. The indexes stand above, in the grids' titles and the legend.
    """
    grid, first = list(figure.subplots(1, 2, sharey=True)), table.iloc[0]
    names = {name: style.name.lower() for name, style in line_styles([first["old_model"], first["new_model"]]).items()}
    for axes, (outcome, part) in zip(grid, ((1, "nri_events"), (0, "nri_non_events")), strict=True):
        rows = table[table["outcome"] == outcome]
        for row in rows.itertuples():
            _cell(axes, row)
        k = int(rows["old"].max()) + 1
        marks = (rows.drop_duplicates(side)[f"{side}_label"].tolist() for side in ("old", "new"))
        axes.set_yticks(range(k), next(marks))
        axes.set_xticks(range(k), next(marks))
        axes.set(xlim=(-0.5, k - 0.5), ylim=(-0.5, k - 0.5), xlabel=f"Risk by the {names[first['new_model']]} model")
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        net = f"net improvement {decimal(100 * first[part], 0)} in 100"
        axes.set_title(f"{OUTCOMES[outcome].name}, n = {rows['patients'].sum():.0f}: {net}")
    grid[0].set_ylabel(f"Risk by the {names[first['old_model']]} model")
    handles = [
        Patch(facecolor=color, alpha=0.35, hatch=hatch, edgecolor="0.3", label=label)
        for (color, hatch), label in ((RIGHT, "moved the right way"), (WRONG, "moved the wrong way"))
    ]
    legend_below(figure, handles, title=f"{_index(first, 'nri')}; {_index(first, 'idi')}\n{CAUTION}", columns=2)
    return grid


def _cell(axes: Axes, row: tuple) -> None:
    """Draw one cell, the stronger coloured the more of its outcome's patients it holds."""
    up = np.sign(row.new - row.old)
    color, hatch = SAME if up == 0 else RIGHT if (up > 0) == (row.outcome == 1) else WRONG
    corner = row.new - 0.5, row.old - 0.5
    axes.add_patch(Rectangle(corner, 1, 1, facecolor="none", edgecolor="0.6", linewidth=0.5))
    if row.patients and up:
        strength = 0.15 + 0.5 * min(row.share / 0.3, 1)
        axes.add_patch(
            Rectangle(corner, 1, 1, facecolor=color, alpha=strength, hatch=hatch, edgecolor="0.3", linewidth=0)
        )
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0} if hatch and row.patients else None
    axes.text(row.new, row.old, f"{row.patients:.0f}\n{100 * row.share:.0f} %", ha="center", va="center", bbox=box)


def _index(row: pd.Series, name: str) -> str:
    low, high = (decimal(row[f"{name}_{end}"], 2) for end in ("low", "high"))
    return f"{name.upper()} {decimal(row[name], 2)} ({low} to {high})"
