"""Every figure of a study by its name: its caption, what it draws from, how large it is, and who draws it.

A study keeps under each name the one table (CSV) or the named arrays (NPZ) that its figure shows, so that any figure
can be drawn again without what computed it. Where a column or key of `MARKS` is true, the caption says so; on a page of
the book the figure itself says, too, that data are simulated.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from string import ascii_lowercase
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from hepred_lib.figures import cohort, images, models, performance, style
from hepred_lib.figures.style import DOUBLE_MM, SINGLE_MM

Data: TypeAlias = pd.DataFrame | Mapping[str, np.ndarray]

PANEL = re.compile(r"\(([a-z])\)")
# What a caption says of data in which a column or key of this name is true.
MARKS = {"cross_fitted": "Development patients (cross-fitted; none was held out).", "simulated": "Simulated data."}
MARKUP = re.compile(r"[<>*`$\\{}\[\]_|&#\n]")  # a column's name in a caption is no markup


@dataclass(frozen=True)
class FigureSpec:
    """One figure: its caption, drawing function, size in mm, and the columns or keys that its data must have."""

    caption: str
    draw: Callable[[FigureBase, Any], list[Axes]]
    width_mm: float | Callable[[Any], float]
    height_mm: float | Callable[[Any], float]
    required: tuple[str, ...]
    says: Callable[[Any], str] | None = None  # what its caption says of these data
    drawn: Callable[[Any], Data] | None = None  # the rows that it draws, if not all
    otherwise: str = "no data"  # what it says where it draws none
    artwork: bool = True  # whether it belongs to the study's own figures, not to the book alone


_MODEL = ("model", "label", "n", "events")
_CT = ("hu", "titles", "pixel_mm", "window")
_FOREST = (
    "model", "split", "group", "n", "events", "auc", "auc_low", "auc_high",
    "in_the_large", "in_the_large_low", "in_the_large_high", "p_auc", "p_in_the_large",
)  # fmt: skip
_ODDS_RATIOS = (
    models.odds_ratios, DOUBLE_MM,
    lambda table: 22 + (4.2 + 2.6 * table["model"].nunique()) * table["name"].nunique(),
    ("model", "name", "label", "odds_ratio", "low", "high", "p"),
)  # fmt: skip

FIGURES: dict[str, FigureSpec] = {
    "power": FigureSpec(
        "Power of DeLong's test for a difference of two AUCs, against the number of test patients with expansion; "
        "bands: 95 % Monte Carlo intervals.",
        performance.power, SINGLE_MM, 88, ("pair", "test_events", "power", "low", "high", "n_simulations"),
        artwork=False,
    ),
    "flow": FigureSpec(
        "Flow of participants, from all assessed to the development and test sets.",
        cohort.flow, DOUBLE_MM, cohort.flow_height_mm, ("step", "text", "n", "events"),
    ),
    "cohort": FigureSpec(
        "Bedside variables in patients with and without expansion: cumulative distributions with pointwise 95 % bands.",
        cohort.cohort, DOUBLE_MM, lambda table: 20 + 44 * ceil(table["variable"].nunique() / 4),
        ("variable", "he", "value", "proportion", "low", "high", "n"),
    ),
    "missing_by_set": FigureSpec(
        "Missing values of each candidate in all patients, by set, and in development patients by outcome.",
        models.missing, DOUBLE_MM, lambda table: 22 + 4.5 * table["variable"].nunique(),
        ("variable", "group", "n", "share"), otherwise="no value is missing",
    ),
    "truth": FigureSpec(
        "The simulated cohort: (a) the label by volume, (b) the parts of the logit in as many patients with as without "
        "HE, (c) ROC curves and (d) calibration of the oracles.",
        performance.truth, DOUBLE_MM, 128, ("panel", "group", "x", "y", "low", "high"),
    ),
    "quality": FigureSpec(
        "Quality of the scans: histograms of (a) slice thickness, (b) noise, (c) intracranial volume, (d) number of "
        "slices.",
        cohort.quality, DOUBLE_MM, 55, (*cohort.QUALITY, "outlier"),
    ),
    "montage": FigureSpec(
        "CT slices as the network sees them, with the outlines of the hematoma and of the brain.",
        images.montage, DOUBLE_MM, images.slices_height_mm, (*_CT, "mask", "brain"), says=images.window_words,
    ),
    "outlines": FigureSpec(
        "CT slices with the reference and the predicted outline of the hematoma, and the part around them enlarged "
        "(scale bar: 10 mm), at the scan's own resolution.",
        images.outlines, DOUBLE_MM, images.outlines_height_mm, (*_CT, "reference", "predicted"),
        says=images.window_words,
    ),
    "overview": FigureSpec(
        "One patient: CT slices with the predicted outline of the hematoma, and the models' predictions.",
        images.overview, DOUBLE_MM, images.overview_height_mm, (*_CT, "mask", "lines"),
    ),
    "activation": FigureSpec(
        "One slice per patient, its part with the activation map of the DL score (shade: what raised the score above "
        "the mean of the hematoma, in percent of the patient's maximum, dotted from half of it; scale bar: 10 mm), and "
        "the share of the hematoma by slice (dark: the slice above).",
        images.activation, DOUBLE_MM, images.activation_height_mm, (*_CT, "predicted", "activation", "shown", "share"),
        says=images.window_words,
    ),
    "learning_curves": FigureSpec(
        "Training losses by epoch, one line per fold: (a) all, and those of (b) segmentation, (c) presence, (d) "
        "descriptors and, where outcomes taught the networks, (e) expansion.",
        images.learning_curves, DOUBLE_MM, 58, ("fold", "epoch", *images.LOSSES),
    ),
    "bland_altman": FigureSpec(
        "Difference of predicted and reference volume against their mean (Bland-Altman plot; cube-root axis), with "
        "bias and 95 % limits of agreement, by regression of cube roots where there are ten patients or more.",
        images.bland_altman, SINGLE_MM, 74, ("reference_ml", "predicted_ml", "bias", "low", "high"),
        says=images.agreement_words,
    ),
    "dl_score": FigureSpec(
        "DL score by outcome, one point per patient over a box (quartiles; whiskers: within 1.5 interquartile ranges), "
        "with Mann-Whitney's p.",
        performance.dl_score, SINGLE_MM, 75, ("he", "dl_score", "split", "p"),
    ),
    "missing": FigureSpec(
        "Missing values of each candidate in the development set, by outcome.",
        models.missing, SINGLE_MM, lambda table: 22 + 4.5 * table["variable"].nunique(),
        ("variable", "group", "n", "share"), otherwise="no value is missing",
    ),
    "correlation": FigureSpec(
        "Rank correlations of the candidates in the development set, in hundredths where 0.20 or stronger.",
        models.correlation, DOUBLE_MM, models.correlation_height_mm,
        ("row", "column", "variable", "other", "correlation"), says=models.correlation_words, drawn=models.worth_a_map,
        otherwise="too few candidates for a map",
    ),
    "odds_ratios_clinical": FigureSpec(
        "Odds ratios of the clinical model before shrinkage, with 95 % Wald intervals; the selection is taken as "
        "given.",
        *_ODDS_RATIOS, says=models.profile_words,
    ),
    "odds_ratios_integrated": FigureSpec(
        "Odds ratios of the clinical and of the integrated model before shrinkage, with 95 % Wald intervals; the "
        "selection is taken as given.",
        *_ODDS_RATIOS, says=models.profile_words,
    ),
    "inclusion_frequency": FigureSpec(
        "How often each candidate is selected in bootstrap resamples, with 95 % Monte Carlo intervals; filled dots are "
        "in the final model; dotted: one half.",
        models.inclusion_frequency, SINGLE_MM, lambda table: 22 + 4.4 * len(table),
        ("label", "frequency", "low", "high", "selected"), says=models.resampled_words,
    ),
    **{
        f"instability_{name}": FigureSpec(
            f"Instability of the {name} model, before shrinkage: (a) each patient's probability in the resamples' "
            "models (95 % range), (b) how often they classify the patient differently, and (c) their calibration in "
            "the development patients; dotted: no difference, and in (b) the threshold.",
            models.instability, DOUBLE_MM, 66,
            ("kind", "p", "low", "high", "changed", "threshold", "curve", "observed", "mape"),
        )
        for name in ("clinical", "integrated")
    },
    "roc": FigureSpec(
        "Empirical ROC curves with AUC (95 % interval) and the operating point of each model; band: 95 % bootstrap "
        "interval of the last model's sensitivity; dotted: chance.",
        performance.roc, SINGLE_MM, lambda table: 86 + 4 * table["model"].nunique(),
        (*_MODEL, "false_positive_rate", "sensitivity", "low", "high", "operating_fpr", "operating_sensitivity"),
    ),
    "calibration": FigureSpec(
        "Calibration: observed against predicted probability, smoothed with a 95 % band (with fewer than 20 events in "
        "groups of equal size, with exact 95 % intervals), over the distribution of the predictions; dotted: ideal.",
        performance.calibration, lambda table: SINGLE_MM if table["model"].nunique() < 2 else DOUBLE_MM,
        lambda table: 100 if table["model"].nunique() < 3 else 96,  # panels are square: three are smaller than two
        (*_MODEL, "kind", "p", "observed", "low", "high", "y"),
    ),
    "decision_curve": FigureSpec(
        "Decision curves: (a) net benefit against the threshold probability, and (b), where there are two models, the "
        "difference between them with its pointwise 95 % band.",
        performance.decision_curve,
        lambda table: DOUBLE_MM if table["model"].eq(performance.DIFFERENCE).any() else SINGLE_MM, 78,
        (*_MODEL, "threshold", "net_benefit", "low", "high"),
    ),
    "nomogram": FigureSpec(
        "Nomogram: the points of each predictor, and the probability that their total gives.",
        models.nomogram, DOUBLE_MM, models.nomogram_height_mm,
        ("axis", "kind", "value", "label", "text", "tick", "points"), says=models.nomogram_reading,
    ),
    "reclassification": FigureSpec(
        "Patients moved between strata of risk by the second model, (a) with and (b) without expansion.",
        performance.reclassification, DOUBLE_MM, 84,
        ("outcome", "old", "new", "old_label", "new_label", "patients", "share", "old_model", "new_model",
         "nri", "nri_low", "nri_high", "nri_events", "nri_non_events", "idi", "idi_low", "idi_high"),
        says=performance.indexes, drawn=performance.moves, otherwise="no moves between strata of risk",
    ),
    "subgroups": FigureSpec(
        "(a) AUC and (b) calibration in the large by subgroup, with 95 % intervals and tests of interaction.",
        performance.subgroups, DOUBLE_MM, performance.subgroups_height_mm, _FOREST, says=performance.left_out,
        drawn=performance.estimable, otherwise="no two subgroups with enough patients of each outcome",
    ),
    "transport": FigureSpec(
        "Does each model hold elsewhere? (a) Observed share of patients with expansion (exact 95 % interval) and mean "
        "predicted probability, and (b) AUC with its 95 % interval (dotted: chance): in the patients in whom the study "
        "judged it, frozen in the new patients, and updated there (cross-validated; without an AUC, since an update "
        "does not change who is ranked above whom).",
        performance.transport, DOUBLE_MM, lambda table: 28 + 5 * len(table),
        ("model", "place", "n", "events", "predicted", "observed", "observed_low", "observed_high",
         "auc", "auc_low", "auc_high"),
    ),
    "internal_external": FigureSpec(
        "The clinical model at each site, developed at the others, and the mean over sites, with 95 % intervals.",
        performance.subgroups, DOUBLE_MM, lambda table: 26 + 4.5 * len(table), _FOREST,
        drawn=performance.estimable, otherwise="too few events at every site",
    ),
    "oracle": FigureSpec(
        "AUC of each model with its 95 % interval (lines), and the best achievable AUC (the oracle's). "
        "By chance a model can exceed it.",
        performance.oracle, SINGLE_MM, 66, (*_MODEL, "auc", "low", "high", "oracle"),
    ),
    "pooled": FigureSpec(
        "Each model by site and over all sites, with 95 % intervals; ticks: lowest and highest seed; grey bars: 95 % "
        "prediction intervals for another site.",
        performance.pooled, DOUBLE_MM, lambda table: 18 + 5.5 * len(table),
        ("model", "site", "n_seeds", "n_sites", "estimate", "low", "high", "seed_low", "seed_high",
         "prediction_low", "prediction_high", "quantity", "reference"),
    ),
}  # fmt: skip


def draw(name: str, data: Data, *, stamp: bool = False, journal: str = "springer") -> Figure:
    """Return a figure of the catalogue, drawn in the style sheet; no global state of matplotlib is touched.

    Parameters
    ----------
    name : str
        One of :data:`FIGURES`.
    data : DataFrame or mapping of str to array
        What the figure shows; the columns or keys stand in the docstring of its drawing function. A table without
        rows gives a figure that says "no data".
    stamp : bool
        Whether "simulated" stands in a corner where the data are: for a page, not for artwork.
    journal : {"springer", "nature", "radiology"}
        Whose widths and size of text it has.

    Returns
    -------
    matplotlib Figure
        Laid out and ready for :func:`hepred_lib.figures.style.render`.

    Raises
    ------
    ValueError
        If the name is unknown, or a required column or key is missing.
    """
    spec, asked = _checked(name, data), style.JOURNALS[journal]
    data = style.printable(data)
    empty = isinstance(data, pd.DataFrame) and shows_nothing(name, data)
    with style.sheet(asked.text_pt):
        # The height grows with the rows or slices where these are listed.
        height_mm = 40 if empty else spec.height_mm(data) if callable(spec.height_mm) else spec.height_mm
        width_mm = spec.width_mm(data) if callable(spec.width_mm) and not empty else spec.width_mm
        figure = style.new_figure(asked.single_mm if width_mm == SINGLE_MM else asked.double_mm, height_mm)
        if stamp and "simulated" in data and np.any(data["simulated"]):
            style.stamp_simulated(figure)
        (style.no_data(figure, spec.otherwise) if empty else spec.draw(figure, data))
        style.as_asked(figure, asked)
        # Laid out once and for all, so that PDF and PNG, and a second rendering, agree to the last point.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure


def caption(name: str, data: Data, *, journal: str = "springer") -> str:
    """Return a figure's caption, which serves as its alternative text too; says where data are simulated or absent.

    Panels are named by the journal's letters.

    Parameters
    ----------
    name : str
        One of :data:`FIGURES`.
    data : DataFrame or mapping of str to array
        What the figure shows; refused where :func:`draw` refuses it.
    """
    letter = style.JOURNALS[journal].letters
    text = PANEL.sub(lambda found: f"({letter[ascii_lowercase.index(found[1])]})", _checked(name, data).caption)
    size = style.sample_size(data) if isinstance(data, pd.DataFrame) and {"n", "events", "model"} <= set(data) else None
    text += f" {size[0].upper() + size[1:]}." if size else ""
    nothing, otherwise = shows_nothing(name, data), FIGURES[name].otherwise
    if (says := FIGURES[name].says) and len(data.get("hu", data)):
        text = f"{text} {MARKUP.sub(' ', says(data))}".rstrip()
    text += "".join(f" {words}" for mark, words in MARKS.items() if mark in data and np.any(data[mark]))
    return text + (f" {otherwise[0].upper()}{otherwise[1:]}." if nothing else "")


def shows_nothing(name: str, data: Data) -> bool:
    """Whether a figure's table has no row that it draws, or its scan no slice."""
    rows = data.get("hu", data)
    drawn = FIGURES[name].drawn
    return len(drawn(rows) if drawn and len(rows) else rows) == 0


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
