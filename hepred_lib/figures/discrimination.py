"""How well the models, and the DL score alone, tell patients with expansion from those without."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from hepred_lib.figures.layout import (
    OUTCOMES,
    band,
    by_model,
    finite,
    legend_below,
    legend_title,
    model_label,
    sample_size,
)
from hepred_lib.figures.style import BLUE, GREY, MODELS, VERMILLION, LineStyle

POWER_LOOKS = [
    LineStyle("", color, line, marker)
    for color, line, marker in (("black", "-", "o"), (BLUE, "--", "s"), (VERMILLION, "-.", "^"))
]
UNIT_TICKS = np.linspace(0, 1, 6)


def roc(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw ROC curves with their 95 % bands, the chance diagonal and each model's operating point.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a point of a curve: `model`, `label`, `n`, `events`, `false_positive_rate`, `sensitivity`, and the band
        `low`, `high` (NaN where there is none). `operating_fpr` and `operating_sensitivity` repeat within a
        model (NaN: no point).

    Returns
    -------
    list of Axes
        One pair of axes, both from 0 to 1.
    """
    axes = figure.subplots()
    common_size = sample_size(table)
    handles = []
    for style, rows in by_model(table):
        x, first = rows["false_positive_rate"], rows.iloc[0]
        axes.plot(x, rows["sensitivity"], color=style.color, linestyle=style.line)
        look = {"color": style.color, "marker": style.marker, "markerfacecolor": "white"}
        if pd.notna(first["operating_fpr"]):
            point = first["operating_fpr"], first["operating_sensitivity"]
            axes.plot(*point, linestyle="", zorder=3, clip_on=False, **look)
        band(axes, x, rows, style)
        handles.append(Line2D([], [], linestyle=style.line, label=model_label(rows, common_size=common_size), **look))
    chance = axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8, label="chance", zorder=1)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", anchor="N", xticks=UNIT_TICKS, yticks=UNIT_TICKS)
    axes.set(xlabel="False-positive rate (1 − specificity)", ylabel="Sensitivity")
    legend_below(figure, [*handles, *chance], title=legend_title(table, interval="bands"))
    return [axes]


def oracle(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw each model's AUC and interval beside the AUC of the oracle that knows the simulated truth.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a model: `model`, `label`, `n`, `events`, `auc`, `low`, `high` and `oracle`, all AUCs in [0, 1].

    Returns
    -------
    list of Axes
        One pair of axes.
    """
    axes = figure.subplots()
    common_size, handles, names = sample_size(table), [], []
    for row, (style, rows) in enumerate(by_model(table)):
        first = rows.iloc[0]
        axes.plot(first[["low", "high"]].to_numpy(dtype=float), [row, row], color=style.color)
        axes.plot(first["oracle"], row, marker="D", color=GREY, markerfacecolor="none", markersize=6)
        (point,) = axes.plot(first["auc"], row, marker=style.marker, color=style.color)
        point.set(linestyle="-", label=model_label(rows, common_size=common_size))
        handles.append(point)
        names.append(style.name)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="AUC")
    axes.set_xlim(np.nanmin([0.5, *finite(table["low"]), *finite(table["oracle"])]) - 0.02, 1)
    label = f"{MODELS['oracle'].name}: the simulated truth itself"
    handles.append(Line2D([], [], linestyle="", marker="D", color=GREY, markerfacecolor="white", label=label))
    legend_below(figure, handles, title=legend_title(table, interval="lines"))
    return [axes]


def power(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw how often a difference of two AUCs would be found, against the number of test patients with expansion.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a size: `pair`, `test_events`, `power` in [0, 1] and its Monte Carlo interval `low`, `high`;
        `n_simulations` repeats in every row.

    Returns
    -------
    list of Axes
        One pair of axes.
    """
    axes = figure.subplots()
    for (pair, rows), look in zip(table.groupby("pair", sort=False), POWER_LOOKS, strict=False):
        line = {"color": look.color, "linestyle": look.line, "marker": look.marker, "clip_on": False}
        axes.plot(rows["test_events"], rows["power"], label=pair.replace(" - ", " against "), **line)
        band(axes, rows["test_events"], rows, look)
    axes.axhline(0.8, color=GREY, linestyle=":", linewidth=0.8, label="four in five")
    axes.set(ylim=(0, 1), yticks=UNIT_TICKS, xlabel="Test patients with HE", ylabel="Power of DeLong's test")
    title = f"{table['n_simulations'].iloc[0]} simulated test sets a point; bands: 95 % CI"
    legend_below(figure, axes.get_legend_handles_labels()[0], title=title)
    return [axes]


def dl_score(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the DL score by outcome, one point a patient over a box (quartiles; whiskers within 1.5 of their distance).

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a patient: `he` 0/1 (rows without an outcome are left out), `dl_score` in SD, `split`, and `p`, the p
        value of the two outcomes' difference, repeated within a split (NaN: nothing is printed).

    Returns
    -------
    list of Axes
        One pair of axes.
    """
    axes = figure.subplots()
    ticks, names = [], []
    for group, (split, rows) in enumerate(table.groupby("split", sort=True)):
        for outcome in OUTCOMES:
            scores, place = finite(rows.loc[rows["he"] == outcome, "dl_score"]), 2.4 * group + outcome
            if len(scores):
                _box_and_points(axes, scores, place=place, outcome=outcome)
                ticks.append(place)
                names.append(f"{OUTCOMES[outcome].name}\nn = {len(scores)}")
        heading = "\n".join(filter(None, (str(split).capitalize(), _p_text(rows["p"].iloc[0]))))
        axes.text(2.4 * group + 0.5, 1.02, heading, transform=axes.get_xaxis_transform(), ha="center", va="bottom")
    axes.set_xticks(ticks, names)
    axes.set_xlim(-0.7, 2.4 * group + 1.7)
    axes.set_ylabel("DL score (SD of the development set)")
    return [axes]


def _box_and_points(axes: Axes, scores: np.ndarray, *, place: float, outcome: int) -> None:
    """Draw one group; points are spread sideways by the golden ratio: evenly, and the same in every run."""
    style = OUTCOMES[outcome]
    spread = (np.arange(len(scores)) * 0.618034) % 1 - 0.5
    points = {"linestyle": "", "marker": style.marker, "markersize": 2.6, "markeredgewidth": 0, "color": style.color}
    axes.plot(place + 0.5 * spread, scores, alpha=0.6, **points)
    line = {"color": "black", "linewidth": 0.9}
    axes.boxplot(
        [scores], positions=[place], widths=0.7, showfliers=False, manage_ticks=False,
        boxprops=line, whiskerprops=line, capprops=line, medianprops=line | {"linewidth": 1.6},
    )  # fmt: skip


def _p_text(p: float) -> str:
    """Return "p = 0.012", "p < 0.001", or nothing for a missing p."""
    if pd.isna(p):
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
