"""Every figure of a study by its name: what it draws from, how large it is, and who draws it.

A study keeps under each name the one table (CSV) or the named arrays (NPZ) that its figure shows, so that any figure
can be drawn again without what computed it. A column or key `simulated` that is true prints "simulated" in a corner.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from hepred_lib.figures import (
    calibration,
    cohort,
    decision,
    descriptions,
    discrimination,
    explanation,
    imaging,
    layout,
    models,
    network,
    nomogram,
    reclassification,
    style,
    subgroups,
    training,
    truth,
)

Data = pd.DataFrame | Mapping[str, np.ndarray]

SINGLE_MM, DOUBLE_MM = 84, 174


@dataclass(frozen=True)
class FigureSpec:
    """One figure: its drawing function, its size in mm, and the columns or keys that its data must have."""

    draw: Callable[[FigureBase, Data], list[Axes]]
    width_mm: float
    height_mm: float | Callable[[Data], float]
    kind: Literal["table", "arrays"]
    required: tuple[str, ...]

    def height_for(self, data: Data) -> float:
        """Return the height in mm, which grows with the rows or slices where these are listed."""
        return self.height_mm(data) if callable(self.height_mm) else self.height_mm


def _table(draw: Callable, width_mm: float, height_mm: float | Callable, *required: str) -> FigureSpec:
    return FigureSpec(draw, width_mm, height_mm, "table", required)


def _arrays(draw: Callable, height_mm: Callable, *required: str) -> FigureSpec:
    return FigureSpec(draw, DOUBLE_MM, height_mm, "arrays", required)


_MODEL = ("model", "label", "n", "events")
_CT = ("hu", "titles", "pixel_mm", "window")

_ODDS_RATIOS = _table(
    models.odds_ratios, DOUBLE_MM, lambda table: 16 + 5 * (len(table) + table["model"].nunique()),
    "model", "name", "label", "unit", "odds_ratio", "low", "high",
)  # fmt: skip

FIGURES: dict[str, FigureSpec] = {
    "power": _table(
        discrimination.power, SINGLE_MM, 88, "pair", "test_events", "power", "low", "high", "n_simulations"
    ),
    "flow": _table(cohort.flow, DOUBLE_MM, cohort.flow_height_mm, "step", "text", "n", "events"),
    "cohort": _table(
        cohort.cohort, DOUBLE_MM, cohort.cohort_height_mm, "variable", "he", "value", "proportion", "low", "high", "n"
    ),
    "truth": _table(truth.truth, DOUBLE_MM, 128, "panel", "group", "x", "y", "low", "high"),
    "quality": _table(cohort.quality, DOUBLE_MM, 55, *cohort.QUALITY, "outlier"),
    "network": _table(
        network.network, DOUBLE_MM, network.network_height_mm,
        "part", "block", "operation", "channels", "height", "width", "parameters", "inputs",
    ),
    "montage": _arrays(imaging.montage, imaging.slices_height_mm, *_CT, "mask", "brain"),
    "outlines": _arrays(imaging.outlines, imaging.slices_height_mm, *_CT, "reference", "predicted"),
    "overview": _arrays(imaging.overview, imaging.overview_height_mm, *_CT, "mask", "lines"),
    "attention": _arrays(
        explanation.attention, explanation.attention_height_mm, *_CT, "predicted", "activation", "shown", "attention"
    ),
    "learning_curves": _table(training.learning_curves, DOUBLE_MM, 58, "fold", "epoch", *training.LOSSES),
    "bland_altman": _table(
        training.bland_altman, SINGLE_MM, 78, "reference_ml", "predicted_ml", "bias", "low", "high"
    ),
    "dl_score": _table(discrimination.dl_score, SINGLE_MM, 75, "he", "dl_score", "split", "p"),
    "odds_ratios_clinical": _ODDS_RATIOS,
    "odds_ratios_integrated": _ODDS_RATIOS,
    "inclusion_frequency": _table(
        models.inclusion_frequency, SINGLE_MM, lambda table: 22 + 4.2 * len(table), "label", "frequency", "selected"
    ),
    "roc": _table(
        discrimination.roc, SINGLE_MM, 107, *_MODEL, "false_positive_rate", "sensitivity", "low", "high",
        "operating_fpr", "operating_sensitivity",
    ),
    "calibration": _table(
        calibration.calibration, DOUBLE_MM, 102, *_MODEL, "kind", "p", "observed", "low", "high", "y"
    ),
    "decision_curve": _table(
        decision.decision_curve, SINGLE_MM, 90, *_MODEL, "threshold", "net_benefit", "low", "high"
    ),
    "nomogram": _table(
        nomogram.nomogram, DOUBLE_MM, nomogram.nomogram_height_mm,
        "axis", "kind", "value", "label", "text", "tick", "points",
    ),
    "reclassification": _table(
        reclassification.reclassification, DOUBLE_MM, 84,
        "outcome", "old", "new", "old_label", "new_label", "patients", "share", "old_model", "new_model",
        *("nri", "nri_low", "nri_high", "nri_events", "nri_non_events", "idi", "idi_low", "idi_high"),
    ),
    "subgroups": _table(
        subgroups.subgroups, DOUBLE_MM, subgroups.subgroups_height_mm,
        "model", "split", "group", "n", "events",
        *("auc", "auc_low", "auc_high", "in_the_large", "in_the_large_low", "in_the_large_high"),
        "p_auc", "p_in_the_large",
    ),
    "oracle": _table(discrimination.oracle, SINGLE_MM, 66, *_MODEL, "auc", "low", "high", "oracle"),
}  # fmt: skip


def draw(name: str, data: Data) -> Figure:
    """Return a figure of the catalogue, drawn in the style sheet; no global state of matplotlib is touched.

    Parameters
    ----------
    name : str
        One of :data:`FIGURES`.
    data : DataFrame or mapping of str to array
        What the figure shows; the columns or keys stand in the docstring of its drawing function. A table without
        rows gives a figure that says "no data".

    Returns
    -------
    matplotlib Figure
        Laid out and ready for :func:`hepred_lib.figures.style.render`.

    Raises
    ------
    ValueError
        If the name is unknown, or a required column or key is missing.
    """
    spec = _checked(name, data)
    data = layout.printable(data)
    empty = spec.kind == "table" and not len(data)
    with style.sheet():
        figure = style.new_figure(spec.width_mm, 40 if empty else spec.height_for(data))
        if "simulated" in data and np.any(data["simulated"]):
            style.stamp_simulated(figure)
        (layout.no_data(figure) if empty else spec.draw(figure, data))
        return style.freeze(figure)


def describe(name: str, data: Data) -> str:
    """Return a figure in one sentence of plain text: what is drawn, of how many patients, and what it shows.

    Made from the data that :func:`draw` draws, for the alternative text of the image; refuses what it refuses.

    Parameters
    ----------
    name : str
        One of :data:`FIGURES`.
    data : DataFrame or mapping of str to array
        What the figure shows.
    """
    return descriptions.sentence(name, data, _checked(name, data).draw)


def _checked(name: str, data: Data) -> FigureSpec:
    """Return the entry of a figure whose data are complete."""
    if name not in FIGURES:
        raise ValueError(f"name must be a figure of the catalogue ({', '.join(FIGURES)}), got {name!r}.")
    spec = FIGURES[name]
    missing = [column for column in spec.required if column not in data]
    if missing:
        raise ValueError(f"The {spec.kind} of figure {name!r} must have {', '.join(missing)}; got {', '.join(data)}.")
    return spec
