"""Performance of the models: discrimination, calibration, net benefit, reclassification, subgroups."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from hepred_lib.figures.style import (
    BLUE,
    GREY,
    GUIDE,
    MODELS,
    ORANGE,
    OUTCOMES,
    VERMILLION,
    LineStyle,
    band,
    by_model,
    decimal,
    estimate_text,
    finite,
    forest_row,
    legend_below,
    letters,
    line_styles,
    model_label,
    p_text,
    panels,
    sample_size,
    say_right,
)

# Discrimination: ROC curves, distributions of predictions, power

POWER_LOOKS = [LineStyle("", *look) for look in (("black", "-", "o"), (BLUE, "--", "s"), (VERMILLION, "-.", "^"))]
UNIT_TICKS = np.linspace(0, 1, 6)
NEAR = 0.015  # of two operating points that cannot be told apart


def roc(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw empirical ROC curves, the last model's 95 % band, the chance diagonal and each model's operating point.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a vertex of a curve, from (0, 0) to (1, 1): `model`, `label`, `n`, `events`, `false_positive_rate`,
        `sensitivity`; or one of its band, with `low`, `high` and without sensitivity. `operating_fpr` and
        `operating_sensitivity` repeat within a model (NaN: no point).

    Returns
    -------
    list of Axes
        One pair of axes, both from 0 to 1.
    """
    axes = figure.subplots()
    common_size = sample_size(table)
    handles = []
    points = table.drop_duplicates("model").set_index("model")[["operating_fpr", "operating_sensitivity"]]
    for style, rows in by_model(table):
        curve, limits, first = rows[rows["sensitivity"].notna()], rows[rows["low"].notna()], rows.iloc[0]
        axes.plot(curve["false_positive_rate"], curve["sensitivity"], color=style.color, linestyle=style.line)
        look: dict[str, Any] = {"color": style.color, "marker": style.marker, "markerfacecolor": "white"}
        if pd.notna(first["operating_fpr"]):
            point = points.loc[first["model"]]
            after = points.loc[first["model"] :].iloc[1:]
            hidden = (after - point).abs().lt(NEAR).all(axis=1).sum()  # a point under others is larger than they are
            size = rcParams["lines.markersize"] * (1 + 0.7 * hidden)
            axes.plot(*point, linestyle="", zorder=3, clip_on=False, markersize=size, **look)
        handles.append(Line2D([], [], linestyle=style.line, label=model_label(rows, common_size=common_size), **look))
    band(axes, limits["false_positive_rate"], limits, style)  # of the last: more than one could not be told apart
    axes.plot([0, 1], [0, 1], zorder=1, **GUIDE)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", anchor="N", xticks=UNIT_TICKS, yticks=UNIT_TICKS)
    axes.set(xlabel="1 − specificity", ylabel="Sensitivity")
    legend_below(figure, handles)
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
    label = f"{MODELS['oracle'].name}: true simulated probabilities"
    handles.append(Line2D([], [], linestyle="", marker="D", color=GREY, markerfacecolor="white", label=label))
    legend_below(figure, handles)
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
        (line,) = axes.plot(rows["test_events"], rows["power"], label=pair.replace(" - ", " against "), clip_on=False)
        line.set(color=look.color, linestyle=look.line, marker=look.marker)
        band(axes, rows["test_events"], rows, look)
    axes.axhline(0.8, label="four in five", **GUIDE)
    axes.set(ylim=(0, 1), yticks=UNIT_TICKS, xlabel="Test patients with HE", ylabel="Power of DeLong's test")
    legend_below(figure, axes.get_legend_handles_labels()[0])
    return [axes]


def dl_score(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the DL score by outcome, one point a patient over a box (quartiles; whiskers within 1.5 of their distance).

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row per patient: `he` 0/1 (rows without an outcome are left out), `dl_score` in SD, `split`, and `p`, the p
        value of the two outcomes' difference, repeated within a split (NaN: nothing is printed).

    Returns
    -------
    list of Axes
        One pair of axes.
    """
    axes = figure.subplots()
    ticks, names, (low, high) = [], [], _inner_limits(finite(table["dl_score"]))
    axes.set_ylim(low, high)
    for group, (split, rows) in enumerate(table.groupby("split", sort=True)):
        for outcome in OUTCOMES:
            scores, place = finite(rows.loc[rows["he"] == outcome, "dl_score"]), 2.4 * group + outcome
            if len(scores):
                _box_and_points(axes, scores, place=place, outcome=outcome)
                _say_outside(axes, scores, place=place)
                ticks.append(place)
                names.append(f"{OUTCOMES[outcome].name}\nn = {len(scores)}")
        p = rows["p"].iloc[0]
        said = "" if pd.isna(p) else "\np < 0.001" if p < 0.001 else f"\np = {p_text(p)}"
        heading = f"{str(split).capitalize()}{said}"
        axes.text(2.4 * group + 0.5, 1.02, heading, transform=axes.get_xaxis_transform(), ha="center", va="bottom")
    axes.set_xticks(ticks, names)
    axes.set_xlim(-0.7, 2.4 * group + 1.7)
    axes.set_ylabel("DL score (SD of the development set)")
    return [axes]


def _inner_limits(scores: np.ndarray) -> tuple[float, float]:
    """Return limits that a value far outside cannot stretch: three times the quartiles' distance beyond them."""
    if not scores.size:
        return -1.0, 1.0
    first, last = np.quantile(scores, [0.25, 0.75])
    reach = 3 * max(last - first, 1e-6)
    inside = scores[(scores >= first - reach) & (scores <= last + reach)]
    room = 0.1 * reach  # for words at an end
    return inside.min() - room, inside.max() + room


def _say_outside(axes: Axes, scores: np.ndarray, *, place: float) -> None:
    """Write the scores beyond the axis at its end: how many, and the outermost."""
    low, high = axes.get_ylim()
    for outside, end, outermost in ((scores[scores < low], low, np.min), (scores[scores > high], high, np.max)):
        if outside.size:
            many = f"{outside.size} value{'s' * (outside.size > 1)}, {'to ' * (outside.size > 1)}"
            words = many + decimal(float(outermost(outside)))
            axes.text(place, end, words, ha="center", va="bottom" if end == low else "top", color=GREY)


def _box_and_points(axes: Axes, scores: np.ndarray, *, place: float, outcome: int) -> None:
    """Draw one group; points are spread sideways by the golden ratio: evenly, and the same in every run."""
    style = OUTCOMES[outcome]
    spread = (np.arange(len(scores)) * 0.618034) % 1 - 0.5
    points: dict[str, Any] = {"marker": style.marker, "markersize": 2.6, "markeredgewidth": 0, "color": style.color}
    axes.plot(place + 0.5 * spread, scores, linestyle="", alpha=0.6, **points)
    line = {"color": "black", "linewidth": 0.9}
    axes.boxplot(
        [scores], positions=[place], widths=0.7, showfliers=False, manage_ticks=False,
        boxprops=line, whiskerprops=line, capprops=line, medianprops=line | {"linewidth": 1.6},
    )  # fmt: skip


# Calibration, one panel per model

BINS = np.linspace(0, 1, 41).tolist()


def calibration(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw calibration with 95 % intervals over the distribution of the predictions: a smooth curve, or groups.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        `model`, `label` (several lines: slope, in the large, ICI), `n`, `events`, `kind` and `p`. Rows of kind `curve`
        give `observed`, `low`, `high` at `p`, as rows of kind `group` do where there are too few events for a curve;
        rows of kind `patient` give the outcome `y` 0/1 at `p`.

    Returns
    -------
    list of Axes
        Two a model: the curve, and below it the predictions of patients with expansion (up) and without (down).
    """
    models = list(by_model(table))
    grid = figure.subplots(2, len(models), height_ratios=[4, 1], squeeze=False, sharex="col", sharey="row")
    common_size = sample_size(table)
    for (style, rows), (upper, lower) in zip(models, grid.T, strict=True):
        _curve(upper, rows[rows["kind"] == "curve"], style=style)
        _groups(upper, rows[rows["kind"] == "group"], style=style)
        _distribution(lower, rows[rows["kind"] == "patient"])
        upper.set_title(model_label(rows, common_size=common_size))
    grid[0, 0].set_ylabel("Observed proportion with HE")
    grid[1, 0].set_ylabel("Patients")
    ways = {1: "up", 0: "down"}
    bars = [Patch(color=OUTCOMES[he].color, label=f"{OUTCOMES[he].name} ({way})") for he, way in ways.items()]
    legend_below(figure, [Line2D([], [], label="ideal", **GUIDE), *bars], columns=3)
    letters(grid[0])
    return list(grid.T.flat)


def _curve(axes: Axes, rows: pd.DataFrame, *, style: LineStyle) -> None:
    rows = rows.sort_values("p")
    axes.plot([0, 1], [0, 1], **GUIDE)
    axes.fill_between(rows["p"], rows["low"], rows["high"], color=style.color, alpha=0.2, linewidth=0)
    axes.plot(rows["p"], rows["observed"], color=style.color, linestyle=style.line)
    axes.set(xlim=(0, 1), ylim=(0, 1), box_aspect=1, anchor="S", xticks=UNIT_TICKS, yticks=UNIT_TICKS)


def _groups(axes: Axes, rows: pd.DataFrame, *, style: LineStyle) -> None:
    axes.vlines(rows["p"], rows["low"], rows["high"], color=style.color)
    if len(rows):  # a marker that lies on an edge is not cut
        axes.plot(rows["p"], rows["observed"], linestyle="", marker=style.marker, color=style.color, clip_on=False)


def _distribution(axes: Axes, rows: pd.DataFrame) -> None:
    """Count patients in 40 bins of the predicted probability."""
    for outcome, sign in ((1, 1), (0, -1)):
        p = finite(rows.loc[rows["y"] == outcome, "p"])
        axes.hist(p, bins=BINS, weights=np.full(len(p), sign), color=OUTCOMES[outcome].color)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set(box_aspect=0.25, anchor="N")
    axes.yaxis.set_major_formatter(lambda count, _: f"{abs(count):g}")
    axes.locator_params("y", integer=True, nbins=3)
    axes.set_xlabel("Predicted probability of HE")


# Net benefit

REFERENCES, DIFFERENCE = ("treat_all", "treat_none"), "difference"


def decision_curve(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw net benefit per 100 patients against the threshold probability, and a difference with its 95 % band.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a threshold: `model` (`treat_all` and `treat_none` are the references), `label`, `n`, `events`,
        `threshold`, `net_benefit`, `low`, `high`, per patient. Rows of the model `difference` stand in a panel of their
        own; without them the only model shows its band.

    Returns
    -------
    list of Axes
        One pair of axes, or two. The net benefit of treating all falls without end: it is cut where the models' ends.
    """
    compared = table[table["model"] == DIFFERENCE]
    curves = table[table["model"] != DIFFERENCE]
    grid = figure.subplots(1, 1 + bool(len(compared)), squeeze=False)[0]
    common_size, handles = sample_size(curves), []
    for style, rows in by_model(curves):
        label = model_label(rows, common_size=common_size)
        look: dict[str, Any] = {"color": style.color, "linestyle": style.line}
        if rows["model"].isin(REFERENCES).all():
            look["linewidth"] = 0.8
        elif not len(compared):
            _per_hundred(grid[0], rows, style)
        handles += grid[0].plot(rows["threshold"], 100 * rows["net_benefit"], label=label, **look)
    grid[0].set_ylabel("Net benefit (true positives per 100 patients)")
    grid[0].set_ylim(*(100 * limit for limit in _limits(curves, "net_benefit" if len(compared) else "high")))
    if len(compared):
        _per_hundred(grid[1], compared, LineStyle("", "black", "-", ""))
        grid[1].plot(compared["threshold"], 100 * compared["net_benefit"], color="black")
        grid[1].axhline(0, **GUIDE)
        grid[1].set_ylabel(f"Difference per 100 patients\n({compared['label'].iloc[0]})")
    for axes in grid:
        axes.set(xlabel="Threshold probability", xlim=(0, table["threshold"].max()))
    letters(grid)
    legend_below(figure, handles, columns=len(handles) if len(compared) else 2)
    return list(grid)


def _per_hundred(axes: Axes, rows: pd.DataFrame, style: LineStyle) -> None:
    """Shade a band of net benefit, counted per 100 patients."""
    band(axes, rows["threshold"], rows.assign(low=100 * rows["low"], high=100 * rows["high"]), style)


def _limits(table: pd.DataFrame, upper: str) -> tuple[float, float]:
    """Return limits that show all of the models' curves and, as `upper`, the upper edge of a band that is drawn."""
    models = table[~table["model"].isin(REFERENCES)]
    top = np.max([0.05, *finite(table["net_benefit"]), *finite(models[upper])])
    bottom = np.min([-0.2 * top, *finite(models["net_benefit"])])
    return 1.05 * max(bottom, -top), 1.05 * top


# Reclassification between risk strata, events and non-events apart

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
    letters(grid)
    legend_below(figure, handles, columns=2)
    return grid


def moves(table: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of a reclassification, none where nobody moves."""
    return table if table.loc[table["old"] != table["new"], "patients"].gt(0).any() else table.iloc[:0]


def indexes(table: pd.DataFrame) -> str:
    """Say net reclassification and integrated discrimination improvement, and what they are worth."""
    return f"{_index(table.iloc[0], 'nri')}; {_index(table.iloc[0], 'idi')}. {CAUTION}"


def _cell(axes: Axes, row: Any) -> None:
    """Draw one cell, the stronger coloured the more of its outcome's patients it holds."""
    up = np.sign(row.new - row.old)
    color, hatch = SAME if up == 0 else RIGHT if (up > 0) == (row.outcome == 1) else WRONG
    corner = row.new - 0.5, row.old - 0.5
    axes.add_patch(Rectangle(corner, 1, 1, facecolor="none", edgecolor="0.6", linewidth=0.5))
    if row.patients and up:
        strength = 0.15 + 0.5 * min(row.share / 0.3, 1)
        look = {"facecolor": color, "alpha": strength, "hatch": hatch, "edgecolor": "0.3"}
        axes.add_patch(Rectangle(corner, 1, 1, linewidth=0, **look))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0} if hatch and row.patients else None
    axes.text(row.new, row.old, f"{row.patients:.0f}\n{100 * row.share:.0f} %", ha="center", va="center", bbox=box)


def _index(row: pd.Series, name: str) -> str:
    low, high = (decimal(row[f"{name}_{end}"], 2) for end in ("low", "high"))
    return f"{name.upper()} {decimal(row[name], 2)} ({low} to {high})"


# Forest of AUC and calibration in the large by subgroup

PANELS = {"auc": "AUC (95 % CI)", "in_the_large": "Calibration in the large (95 % CI)"}
WIDEST = 3.0  # an interval of calibration in the large that reaches beyond ends in an arrow


def subgroups(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw one model's AUC and calibration in the large in each subgroup, with 95 % intervals and interaction tests.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row a subgroup, drawn from the top: `model`, `split` (empty for all patients), `group`, `n`, `events`,
        `auc`, `in_the_large` and their `_low` and `_high` (NaN where a subgroup has too few events: it is left out, and
        with it the only other one of its split), and `p_auc`, `p_in_the_large`, repeated within a split.

    Returns
    -------
    list of Axes
        Two pairs beside each other; the sizes of the subgroups stand at the left.
    """
    grid, table = list(figure.subplots(1, 2, sharey=True)), estimable(table)
    style = next(iter(line_styles(table["model"]).values()))
    places, names, headings = _lines(table)
    for axes, (name, label) in zip(grid, PANELS.items(), strict=True):
        _reference(axes, table, name)
        for place, row in zip(places, table.itertuples(), strict=True):
            _estimate(axes, row, name, place=place, look={"color": style.color, "marker": style.marker})
        for place, split in headings.items():
            p = table.loc[table["split"] == split, f"p_{name}"].iloc[0]
            if pd.notna(p):
                words = f"interaction p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}"
                say_right(axes, place, words, x=1.02, color=GREY)
        axes.set_xlabel(label)
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks(range(len(names)), names)
    for place in (*headings, 0):
        grid[0].get_yticklabels()[place].set_weight("bold")
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    grid[0].set_title(f"{style.name} model", color=GREY)
    letters(grid)
    return grid


def estimable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that have an AUC, in a split where another has one to compare with; none where no subgroup is left."""
    known = table[table["auc"].notna()]
    split = known["split"].fillna("")
    shown = known[split.eq("") | split.duplicated(keep=False)]
    return shown if len(shown) > 1 else shown.iloc[:0]


def subgroups_height_mm(table: pd.DataFrame) -> float:
    """Return the height in mm of the rows that are drawn."""
    shown = estimable(table)
    return 22 + 4.5 * (len(shown) + shown["split"].fillna("").nunique())


def left_out(table: pd.DataFrame) -> str:
    """Say how many subgroups are not drawn."""
    named, drawn = (rows["split"].fillna("").ne("").sum() for rows in (table, estimable(table)))
    hidden, why = named - drawn, "for too few patients of an outcome or none to compare with"
    return f"Subgroups not drawn, {why}: {hidden}." if hidden else ""


def _lines(table: pd.DataFrame) -> tuple[list[int], list[str], dict[int, str]]:
    """Return the place of each row, the words of all lines, and the places of the headings."""
    places: list[int] = []
    names: list[str] = []
    headings, last = {}, ""
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
        mean = table["group"].eq("all sites")  # of sites left out, it is the last row
        reference = table.loc[mean if mean.any() else table.index[:1], "auc"].iloc[0]
    else:
        limits = finite(pd.concat([table[f"{name}_low"], table[f"{name}_high"]]))
        reach = min(max([1.0, *(1.05 * np.abs(limits))]), WIDEST)
        axes.set_xlim(-reach, reach)
        reference = 0.0
    axes.axvline(reference, zorder=0, **GUIDE)


def _estimate(axes: Axes, row: Any, name: str, *, place: int, look: dict[str, str]) -> None:
    limits = tuple(getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
    if np.isnan(limits[0]):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # over the line of reference
        middle = sum(axes.get_xlim()) / 2
        axes.text(middle, place, "too few events", color=GREY, ha="center", va="center_baseline", bbox=box)
        return
    forest_row(axes, place, limits, x=1.02, look=look, text=estimate_text(*limits), clip_on=False)


# Whether frozen models hold elsewhere

PLACES = {"study": "study patients", "here": "new patients", "updated": "new patients, updated"}


def transport(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw predicted against observed risk, and the AUC, of each model in its study, elsewhere, and updated there.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row per model and `place` (`study`, `here`, `updated`): `n`, `events`, `predicted` and `observed` in [0, 1],
        `observed_low`, `observed_high`, `auc`, `auc_low`, `auc_high`. The AUC of an update is not drawn: a line through
        the log odds does not change who is ranked above whom.

    Returns
    -------
    list of Axes
        Risks in percent, and AUCs.
    """
    grid = list(figure.subplots(1, 2, sharey=True))
    risks, areas = grid
    names: list[str] = []
    highest = 100 * np.nanmax(table[["predicted", "observed_high"]].to_numpy(dtype=float))
    risks.set_xlim(0, 5 * np.ceil(1.04 * highest / 5))
    areas.set_xlim(min([0.45, *finite(table["auc_low"])]), 1)
    for style, rows in by_model(table):
        for row in rows.itertuples():
            place = len(names)
            names.append(f"{style.name}, {PLACES[row.place]}")
            look = {"color": style.color, "marker": style.marker}
            observed = tuple(100 * value for value in (row.observed, row.observed_low, row.observed_high))
            words = f"{observed[0]:.0f} / {100 * row.predicted:.0f}" if np.isfinite(row.predicted) else ""
            forest_row(risks, place, observed, x=1.02, look=look, text=words, clip_on=False)
            risks.plot(100 * row.predicted, place, **PREDICTED_MEAN)
            if row.place != "updated" and np.isfinite(row.auc):
                limits = row.auc, row.auc_low, row.auc_high
                forest_row(areas, place, limits, x=1.02, look=look, text=estimate_text(*limits), clip_on=False)
    areas.axvline(0.5, zorder=0, **GUIDE)
    risks.set_yticks(range(len(names)), names)
    risks.set(ylim=(len(names) - 0.5, -0.7), xlabel="Patients with HE (%)")
    areas.set_xlabel("AUC (95 % CI)")
    say_right(risks, -0.9, "obs. / pred.", x=1.02, color=GREY)
    for axes in grid:
        axes.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], color="black", marker="o", label="observed, 95 % CI"),
        Line2D([], [], linestyle="", label="predicted, mean", **PREDICTED_MEAN),
    ]
    letters(grid)
    legend_below(figure, handles, columns=2)
    return grid


# Around the observed share where they agree, not over it.
PREDICTED_MEAN: dict[str, Any] = {"marker": "D", "markersize": 7, "markerfacecolor": "none", "color": "black"}


# The true model of a simulated cohort


def truth(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw the label's noise by volume, the two parts of the logit, and the oracles' ROC and calibration.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        Columns `panel` (`label`, `parts`, `roc`, `calibration`), `group`, `x`, `y`, and the interval `low`, `high`
        (NaN where there is none); the parts are `no HE` and `HE`, the oracles begin with a model's name.

    Returns
    -------
    list of Axes
        One a panel that has rows, two in a row.
    """
    names = [name for name in TRUTH_PANELS if name in set(table["panel"])]
    grid = panels(figure, len(names), columns=2)
    for axes, name in zip(grid, names, strict=True):
        title, drawn = TRUTH_PANELS[name]
        drawn(axes, table[table["panel"] == name])
        axes.set_title(title)
    letters(grid)
    return grid


def _label(axes: Axes, rows: pd.DataFrame) -> None:
    looks = (VERMILLION, "-"), (GREY, "--")
    for (group, curve), (color, line) in zip(rows.groupby("group", sort=False), looks, strict=False):
        axes.plot(curve["x"], curve["y"], label=f"hematoma {group}", color=color, linestyle=line)
    axes.set(xscale="log", ylim=(0, 1), yticks=UNIT_TICKS)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="True baseline volume (mL)", ylabel="Probability of the label HE")
    axes.legend(loc="center left")


def _parts(axes: Axes, rows: pd.DataFrame) -> None:
    for look in OUTCOMES.values():
        points = rows[rows["group"] == look.name]
        hollow = {"markerfacecolor": "none", "markeredgewidth": 0.6} if look is OUTCOMES[0] else {"markeredgewidth": 0}
        style: dict[str, Any] = {"marker": look.marker, "color": look.color, "markersize": 2.4, **hollow}
        axes.plot(points["x"], points["y"], linestyle="", alpha=0.8, label=look.name, **style)
    axes.set(xlabel="Image part of the logit", ylabel="Clinical part of the logit")
    axes.legend(loc="lower right", markerscale=1.6, handlelength=1)


def _roc(axes: Axes, rows: pd.DataFrame) -> None:
    for group, curve in rows.groupby("group", sort=False):
        look = MODELS[group.split(":")[0].lower()]
        axes.plot(curve["x"], curve["y"], color=look.color, linestyle=look.line, label=group)
    axes.plot([0, 1], [0, 1], **GUIDE)
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=UNIT_TICKS, yticks=UNIT_TICKS)
    axes.set(xlabel="1 − specificity", ylabel="Sensitivity")
    axes.legend(loc="lower right")


def _calibration(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], **GUIDE)
    for group, points in rows.groupby("group", sort=False):
        look, errors = MODELS[group.lower()], [points["y"] - points["low"], points["high"] - points["y"]]
        axes.errorbar(
            points["x"], points["y"], errors, color=look.color, linestyle="", marker=look.marker, linewidth=0.8,
            markersize=3, label=group,
        )  # fmt: skip
    top = min(1.0, float(np.ceil(10 * max(rows["high"].max(), rows["x"].max())) / 10))
    axes.set(xlim=(0, top), ylim=(0, top))
    axes.set(xlabel="Oracle's probability (mean of each tenth)", ylabel="Observed proportion with HE")
    axes.legend(loc="upper left", handlelength=1)


TRUTH_PANELS = {
    "label": ("Label and growth", _label),
    "parts": ("Parts of the logit", _parts),
    "roc": ("Best achievable ROC curves", _roc),
    "calibration": ("Calibration of the oracles", _calibration),
}


# Forest of pooled runs: sites, and their summary


def pooled(figure: FigureBase, table: pd.DataFrame) -> list[Axes]:
    """Draw one measure of each model at each site, and the summary of the sites.

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    table : DataFrame
        One row per site of a model, the row of all sites last: `model`, `site`, `n_seeds`, `n_sites` (NaN but in the
        summary), `estimate`, `low`, `high`, `seed_low`, `seed_high`, `prediction_low`, `prediction_high`, `quantity`
        and `reference`, which are the same in all rows.

    Returns
    -------
    list of Axes
        One. Points and lines are estimates with 95 % intervals, diamonds the summaries; ticks are the lowest and the
        highest seed, grey lines the intervals of prediction for another site.
    """
    axes, names, place = figure.subplots(), [], 0
    ends = finite(table[["low", "high", "seed_low", "seed_high", "estimate"]].stack())
    reference, quantity = table["reference"].iloc[0], table["quantity"].iloc[0]
    reach = [min(ends, default=0), max(ends, default=1), reference]
    # Two sites have a summary without end: estimates and usual intervals of sites fill the axis, arrows show the rest.
    points, single = [*finite(table["estimate"]), reference], table[table["n_sites"].isna()]
    halves = finite((single["high"] - single["low"]) / 2)
    width = max(max(points) - min(points), 0.1, float(np.median(halves)) if len(halves) else 0.0)
    axes.set_xlim(max(min(reach), min(points) - 2 * width) - 0.02, min(max(reach), max(points) + 2 * width) + 0.02)
    axes.axvline(reference, zorder=0, **GUIDE)
    for model, rows in table.groupby("model", sort=False):
        look = MODELS.get(model, LineStyle(model, "black", "-", "o"))
        for row in rows.itertuples():
            total = np.isfinite(row.n_sites)
            unit, count = ("site", row.n_sites) if total else ("seed", row.n_seeds)
            names.append(f"{look.name}: {row.site}, {count:.0f} {unit}{'s' * (count != 1)}")
            axes.plot(
                np.clip([row.prediction_low, row.prediction_high], *axes.get_xlim()), [place] * 2, color="0.8", lw=4
            )
            axes.plot([row.seed_low, row.seed_high], [place] * 2, "|", color=look.color, markersize=7)
            marker = {"color": look.color, "marker": "D" if total else look.marker, "markersize": 6 if total else 4}
            if np.isnan(row.estimate):
                say_right(axes, place, "no estimate", x=1.02, color=GREY)
            else:
                limits = row.estimate, row.low, row.high
                forest_row(axes, place, limits, x=1.02, look=marker, text=estimate_text(*limits), clip_on=True)
            place += 1
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"{quantity} (95 % CI)")
    return [axes]
