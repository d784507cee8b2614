"""Every figure of a study by its name: its caption, what it draws from, how large it is, and who draws it.

A study keeps under each name the one table (CSV) or the named arrays (NPZ) that its figure shows, so that any figure
can be drawn again without what computed it. A column or key `simulated` that is true prints "simulated" in a corner.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from hepred_lib.figures import cohort, images, models, performance, style

Data = pd.DataFrame | Mapping[str, np.ndarray]

SINGLE_MM, DOUBLE_MM = 84, 174


@dataclass(frozen=True)
class FigureSpec:
    """One figure: its caption, drawing function, size in mm, and the columns or keys that its data must have."""

    caption: str
    draw: Callable[[FigureBase, Data], list[Axes]]
    width_mm: float
    height_mm: float | Callable[[Data], float]
    required: tuple[str, ...]


def _figure(caption: str, draw: Callable, width_mm: float, height_mm: float | Callable, *required: str) -> FigureSpec:
    return FigureSpec(caption, draw, width_mm, height_mm, required)


_MODEL = ("model", "label", "n", "events")
_CT = ("hu", "titles", "pixel_mm", "window")

_ODDS_RATIOS = (
    models.odds_ratios, DOUBLE_MM, lambda table: 16 + 5 * (len(table) + table["model"].nunique()),
    "model", "name", "label", "unit", "odds_ratio", "low", "high",
)  # fmt: skip

FIGURES: dict[str, FigureSpec] = {
    "power": _figure(
        "Power of DeLong's test for a difference of two AUCs, against the number of test patients with expansion.",
        performance.power, SINGLE_MM, 88, "pair", "test_events", "power", "low", "high", "n_simulations",
    ),
    "flow": _figure(
        "Flow of participants, from all assessed to the development and test sets.",
        cohort.flow, DOUBLE_MM, cohort.flow_height_mm, "step", "text", "n", "events",
    ),
    "cohort": _figure(
        "Bedside variables in patients with and without expansion: cumulative distributions with 95 % bands.",
        cohort.cohort, DOUBLE_MM, lambda table: 20 + 44 * ceil(table["variable"].nunique() / 4),
        "variable", "he", "value", "proportion", "low", "high", "n",
    ),
    "missing_by_set": _figure(
        "Missing values of each candidate in all patients, by set, and in development patients by outcome.",
        models.missing, DOUBLE_MM, lambda table: 22 + 4.5 * table["variable"].nunique(),
        "variable", "group", "n", "share",
    ),
    "truth": _figure(
        "The simulated cohort: label by volume, the parts of the logit, ROC and calibration of the oracles.",
        performance.truth, DOUBLE_MM, 128, "panel", "group", "x", "y", "low", "high",
    ),
    "quality": _figure(
        "Quality of the scans: histograms of slice thickness, noise, brain volume and number of slices.",
        cohort.quality, DOUBLE_MM, 55, *cohort.QUALITY, "outlier",
    ),
    "montage": _figure(
        "CT slices as the network sees them, with the outlines of the hematoma and of the brain.",
        images.montage, DOUBLE_MM, images.slices_height_mm, *_CT, "mask", "brain",
    ),
    "outlines": _figure(
        "CT slices with the reference and the predicted outline of the hematoma.",
        images.outlines, DOUBLE_MM, images.slices_height_mm, *_CT, "reference", "predicted",
    ),
    "overview": _figure(
        "One patient: CT slices with the predicted outline of the hematoma, and the models' predictions.",
        images.overview, DOUBLE_MM, images.overview_height_mm, *_CT, "mask", "lines",
    ),
    "activation": _figure(
        "Activation map of the DL score in one slice per patient, and the share of the hematoma by slice below it.",
        images.activation, DOUBLE_MM, images.activation_height_mm, *_CT, "predicted", "activation", "shown", "share",
    ),
    "learning_curves": _figure(
        "Training losses by epoch, one line per fold.",
        images.learning_curves, DOUBLE_MM, 58, "fold", "epoch", *images.LOSSES,
    ),
    "bland_altman": _figure(
        "Predicted against reference volumes (Bland-Altman plot), with bias and 95 % limits of agreement.",
        images.bland_altman, SINGLE_MM, 78, "reference_ml", "predicted_ml", "bias", "low", "high",
    ),
    "dl_score": _figure(
        "DL score by outcome, one point per patient over a box (quartiles).",
        performance.dl_score, SINGLE_MM, 75, "he", "dl_score", "split", "p",
    ),
    "missing": _figure(
        "Missing values of each candidate in the development set, by outcome.",
        models.missing, SINGLE_MM, lambda table: 22 + 4.5 * table["variable"].nunique(),
        "variable", "group", "n", "share",
    ),
    "correlation": _figure(
        "Rank correlations of the candidates in the development set, in hundredths where 0.20 or stronger.",
        models.correlation, DOUBLE_MM, lambda table: 45 + 4.6 * table["row"].max(),
        "row", "column", "variable", "other", "correlation",
    ),
    "odds_ratios_clinical": _figure(
        "Odds ratios of the clinical model before shrinkage, with 95 % intervals.", *_ODDS_RATIOS,
    ),
    "odds_ratios_integrated": _figure(
        "Odds ratios of the integrated model before shrinkage, with 95 % intervals.", *_ODDS_RATIOS,
    ),
    "inclusion_frequency": _figure(
        "How often each candidate is selected in bootstrap resamples; filled bars are in the final model.",
        models.inclusion_frequency, SINGLE_MM, lambda table: 22 + 4.2 * len(table), "label", "frequency", "selected",
    ),
    **{
        f"instability_{name}": _figure(
            f"Instability of the {name} model: each patient's probability in the resamples' models (95 % range), how "
            "often they classify the patient otherwise, and their calibration in the development patients.",
            models.instability, DOUBLE_MM, 66,
            "kind", "p", "low", "high", "changed", "threshold", "curve", "observed", "mape",
        )
        for name in ("clinical", "integrated")
    },
    "roc": _figure(
        "ROC curves with 95 % bands and the models' operating points.",
        performance.roc, SINGLE_MM, 107, *_MODEL, "false_positive_rate", "sensitivity", "low", "high",
        "operating_fpr", "operating_sensitivity",
    ),
    "calibration": _figure(
        "Calibration curves with 95 % bands, over the distributions of the predictions.",
        performance.calibration, DOUBLE_MM, 102, *_MODEL, "kind", "p", "observed", "low", "high", "y",
    ),
    "decision_curve": _figure(
        "Net benefit with 95 % bands against the threshold probability (decision curves).",
        performance.decision_curve, SINGLE_MM, 90, *_MODEL, "threshold", "net_benefit", "low", "high",
    ),
    "nomogram": _figure(
        "Nomogram: the points of each predictor, and the probability that their total gives.",
        models.nomogram, DOUBLE_MM, lambda table: models.ROW_MM * (table["axis"].nunique() + 1) + 6,
        "axis", "kind", "value", "label", "text", "tick", "points",
    ),
    "reclassification": _figure(
        "Patients moved between strata of risk by the second model, with and without expansion.",
        performance.reclassification, DOUBLE_MM, 84,
        "outcome", "old", "new", "old_label", "new_label", "patients", "share", "old_model", "new_model",
        *("nri", "nri_low", "nri_high", "nri_events", "nri_non_events", "idi", "idi_low", "idi_high"),
    ),
    "subgroups": _figure(
        "AUC and calibration in the large by subgroup, with 95 % intervals and tests of interaction.",
        performance.subgroups, DOUBLE_MM,
        lambda table: 22 + 4.5 * (len(table) + table["split"].fillna("").nunique()),
        "model", "split", "group", "n", "events",
        *("auc", "auc_low", "auc_high", "in_the_large", "in_the_large_low", "in_the_large_high"),
        "p_auc", "p_in_the_large",
    ),
    "internal_external": _figure(
        "The clinical model at each site, developed at the others, and the mean over sites, with 95 % intervals.",
        performance.subgroups, DOUBLE_MM, lambda table: 26 + 4.5 * len(table),
        "model", "split", "group", "n", "events",
        *("auc", "auc_low", "auc_high", "in_the_large", "in_the_large_low", "in_the_large_high"),
        "p_auc", "p_in_the_large",
    ),
    "oracle": _figure(
        "AUC of each model with its 95 % interval, and the best achievable AUC (the oracle's).",
        performance.oracle, SINGLE_MM, 66, *_MODEL, "auc", "low", "high", "oracle",
    ),
    "pooled": _figure(
        "Each model by site and over all sites, with 95 % intervals; ticks: lowest and highest seed; grey bars: 95 % "
        "prediction intervals for another site.",
        performance.pooled, DOUBLE_MM, lambda table: 18 + 5.5 * len(table),
        *("model", "site", "n_seeds", "n_sites", "estimate", "low", "high", "seed_low", "seed_high"),
        *("prediction_low", "prediction_high", "quantity", "reference"),
    ),
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
    data = style.printable(data)
    empty = isinstance(data, pd.DataFrame) and data.empty
    with style.sheet():
        # The height grows with the rows or slices where these are listed.
        height_mm = 40 if empty else spec.height_mm(data) if callable(spec.height_mm) else spec.height_mm
        figure = style.new_figure(spec.width_mm, height_mm)
        if "simulated" in data and np.any(data["simulated"]):
            style.stamp_simulated(figure)
        (style.no_data(figure) if empty else spec.draw(figure, data))
        # Laid out once and for all, so that PDF and PNG, and a second rendering, agree to the last point.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure


def caption(name: str, data: Data) -> str:
    """Return a figure's caption, which serves as its alternative text too; says where data are simulated or absent.

    Parameters
    ----------
    name : str
        One of :data:`FIGURES`.
    data : DataFrame or mapping of str to array
        What the figure shows; refused where :func:`draw` refuses it.
    """
    text = _checked(name, data).caption
    simulated = " Simulated data." if "simulated" in data and np.any(data["simulated"]) else ""
    return text + simulated + (" No data." if shows_nothing(data) else "")


def shows_nothing(data: Data) -> bool:
    """Whether a figure's table has no row, or its scan no slice."""
    return len(data.get("hu", data)) == 0


def _checked(name: str, data: Data) -> FigureSpec:
    """Return the entry of a figure whose data are complete."""
    if name not in FIGURES:
        raise ValueError(f"name must be a figure of the catalogue ({', '.join(FIGURES)}), got {name!r}.")
    spec = FIGURES[name]
    missing = [column for column in spec.required if column not in data]
    kind = "The table" if isinstance(data, pd.DataFrame) else "The arrays"
    if missing and not (kind == "The table" and len(data) == 0):
        raise ValueError(f"{kind} of figure {name!r} must have {', '.join(missing)}; got {', '.join(data)}.")
    return spec
