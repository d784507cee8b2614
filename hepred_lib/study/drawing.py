"""What the book's figures draw, and how a notebook shows them: what it shows is what ``hepred figures`` draws again.

The data of a figure are one table, or named arrays, and are kept as they are under ``figure_data/``. Where a study has
nothing to draw (no image model, no known truth, no other hospital), they are empty and the page says "no data".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Image
from IPython.display import Markdown as Formatted
from scipy.special import expit, logit

from hepred_lib.cohort.predictors import predictor_label, predictor_quantity
from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.errors import InputError
from hepred_lib.figures.catalogue import FIGURES, caption, draw, shows_nothing
from hepred_lib.figures.style import png, render
from hepred_lib.imaging.slices import stacked
from hepred_lib.literal import without_html
from hepred_lib.stats.calibration import calibration_curve
from hepred_lib.stats.decision import (
    decision_curve,
    integrated_discrimination,
    net_benefit_difference,
    net_reclassification,
    reclassification_table,
)
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.discrimination import roc_band, roc_points
from hepred_lib.stats.logistic import Coding
from hepred_lib.stats.nomogram import PROBABILITY, TOTAL, Nomogram, build_nomogram, nomogram_axes
from hepred_lib.stats.operating_point import confusion, exact_interval, wilson_interval
from hepred_lib.stats.validation import calibration_instability, mean_absolute_prediction_error, patient_instability
from hepred_lib.study.files import read_figure_data, read_table, write_bytes, write_figure_data
from hepred_lib.study.run import renew_records
from hepred_lib.study.tables import coded_label, odds_ratio_table, save_table, two_digits, with_interval

GRID = np.linspace(0.0, 1.0, 101)
PRINT_DPI, SCREEN_DPI = 600, 200
FEWEST_EVENTS = 20  # for a smooth calibration curve
CSS_PIXELS_PER_INCH = 96
pd.set_option("display.max_colwidth", None)  # on a page, a cell of text is shown whole


def missing_table(x: pd.DataFrame, y: pd.Series) -> pd.DataFrame:
    """What the figure of missing values draws: the share of each incomplete candidate, most first, by outcome."""
    groups = {"All": y.notna(), "No HE": y.eq(0), "HE": y.eq(1)}
    share = x.isna().mean().sort_values(ascending=False, kind="stable")
    cells = [(name, group, x.loc[rows, name]) for name in share.index[share.gt(0)] for group, rows in groups.items()]
    records = [(predictor_label(name), group, len(values), values.isna().mean()) for name, group, values in cells]
    return pd.DataFrame(records, columns=["variable", "group", "n", "share"])


def correlation_table(x: pd.DataFrame) -> pd.DataFrame:
    """What the figure of correlations draws: Spearman's, of each pair of coded columns, where both are known."""
    coded = Coding.of(x).matrix(x)
    rank, words = coded.corr("spearman").to_numpy(), [coded_label(name) for name in coded]
    pairs = [(i, j, words[i], words[j], rank[i, j]) for i in range(len(words)) for j in range(i)]
    return pd.DataFrame(pairs, columns=["row", "column", "variable", "other", "correlation"])


def instability_table(model: DevelopedModel, x: pd.DataFrame, y: pd.Series, threshold: float) -> pd.DataFrame:
    """What the figure of instability draws: a row a patient, then the curves of the resamples' models.

    These are models before shrinkage, and so is the threshold that is drawn: where the deployed model, which is
    shrunk, reaches ``threshold``.
    """
    assert model.resampled is not None, "a model read from its file has no resamples"
    p, apart = model.predict(x, shrunk=False), logit(threshold) - model.intercept
    reached = expit(model.unshrunk_intercept + apart / model.shrinkage) if model.shrinkage > 0 else float(apart > 0)
    patients = patient_instability(p, model.resampled, reached).assign(kind="patient", threshold=reached)
    curves = calibration_instability(y, model.resampled, GRID)
    parts = [pd.DataFrame({"kind": "curve", "curve": k, "p": GRID, "observed": one}) for k, one in enumerate(curves)]
    mape = mean_absolute_prediction_error(p, model.resampled)
    table = pd.concat([pd.DataFrame(columns=["curve", "observed"]), patients, *parts], ignore_index=True)
    return table.astype({"curve": float, "observed": float}).assign(mape=mape)


def odds_data(
    model: DevelopedModel, name: str, limits: pd.DataFrame, y: pd.Series, *, beside: Path | None = None
) -> pd.DataFrame:
    """What the figure of odds ratios draws: Wald and profile-likelihood limits, and the patients.

    Parameters
    ----------
    model, name
        As for :func:`hepred_lib.study.tables.odds_ratio_table`.
    limits : DataFrame
        Its :func:`hepred_lib.stats.effects.multivariable_odds_ratios`.
    y : Series
        Outcomes of its development patients.
    beside : Path, optional
        Run in which chapter 05 kept the same of the clinical model: its rows come first.
    """
    kept = beside / "figure_data" / "odds_ratios_clinical.csv" if beside else None
    first = [read_table(kept)] if kept and kept.is_file() else []
    known = limits[["name", "profile_low", "profile_high"]]
    table = odds_ratio_table(model, name).merge(known, on="name", how="left", validate="one_to_one")
    return pd.concat([*first, table.assign(n=len(y), events=int(y.sum()))], ignore_index=True)


def inclusion_table(model: DevelopedModel) -> pd.DataFrame:
    """What the figure of inclusion frequencies draws: how often the resamples chose each candidate, most first."""
    frequency, draws = model.inclusion_frequency.sort_values(ascending=False), model.settings.n_resamples
    low, high = wilson_interval((frequency.to_numpy() * draws).round(), draws)
    words = {"name": frequency.index, "label": frequency.index.map(predictor_label)}
    found = {"frequency": frequency.to_numpy(), "low": low, "high": high, "n_resamples": draws}
    return pd.DataFrame(words | found | {"selected": frequency.index.isin(model.path)})


def roc_table(
    rows: pd.DataFrame, models: Mapping[str, Any], *, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """What the ROC figure draws: the vertices of each model's curve, its band and its operating point.

    Each model is drawn on the patients who have its probability; one whose patients have a single outcome has no curve.
    """
    parts = [pd.DataFrame()]
    for found, y, p, shared in _judged(rows, models):
        limits = roc_band(y, p, GRID, n_resamples=n_resamples, rng=rng).assign(sensitivity=np.nan)
        found_at = roc_points(y, p)
        vertices = {"false_positive_rate": found_at.false_positive_rate, "sensitivity": found_at.true_positive_rate}
        curve = pd.concat([pd.DataFrame(vertices | {"low": np.nan, "high": np.nan}), limits], ignore_index=True)
        point = confusion(y, p, found["threshold"])
        label = f"{shared['model'].capitalize()}: AUC {with_interval(found['auc'], found['auc_ci'])}"
        operating = {"operating_fpr": 1.0 - point.specificity, "operating_sensitivity": point.sensitivity}
        parts.append(curve.assign(**shared | {"label": label}, **operating))
    return pd.concat(parts, ignore_index=True)


def calibration_table(
    rows: pd.DataFrame, models: Mapping[str, Any], *, n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """What the calibration figure draws: a smooth curve with its band, and the patients' probabilities.

    With fewer than 20 events a curve would be drawn from nothing: groups of patients take its place. The patients are
    those of :func:`roc_table`.
    """
    parts = [pd.DataFrame()]
    for found, y, p, shared in _judged(rows, models):
        curve = calibration_curve(y, p, GRID, n_resamples=n_resamples, rng=rng).rename(columns={"grid": "p"})
        shown = curve.assign(kind="curve") if y.sum() >= FEWEST_EVENTS else calibration_groups(y, p)
        slope = with_interval(found["calibration_slope"], found["calibration_slope_ci"])
        large, ici = two_digits(found["calibration_in_the_large"]), two_digits(found["ici"])
        label = f"{shared['model'].capitalize()}\nslope {slope}\nin the large {large}, ICI {ici}"
        patients = pd.DataFrame({"p": p.to_numpy(), "y": y.to_numpy(), "kind": "patient"})
        both = pd.concat([shown, patients], ignore_index=True)
        parts.append(both.assign(**shared | {"label": label}))
    return pd.concat(parts, ignore_index=True)


def calibration_groups(y: pd.Series, p: pd.Series) -> pd.DataFrame:
    """Observed shares of four groups of equal size by predicted probability, with exact 95 % intervals."""
    quarters = np.array_split(np.argsort(p.to_numpy(), kind="stable"), min(4, len(p)))
    records = []
    for members in quarters:
        events = int(y.iloc[members].sum())
        interval = exact_interval(events, len(members))
        records.append(("group", p.iloc[members].mean(), events / len(members), *interval))
    return pd.DataFrame(records, columns=["kind", "p", "observed", "low", "high"])


def decision_table(rows: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """What the decision-curve figure draws: net benefit of the models, of treating all and of treating none.

    Where there are at least two models, the last minus the one before it too.
    """
    y = rows["he"].astype(int)
    if y.nunique() < 2:
        return pd.DataFrame()
    thresholds = np.arange(0.01, 0.51, 0.01)
    curves = decision_curve(y, {name: rows[f"p_{name}"] for name in models}, thresholds)
    curves["model"] = curves["model"].replace({"all": "treat_all", "none": "treat_none"})
    labels = {"treat_all": "Treat all", "treat_none": "Treat none"} | {name: name.capitalize() for name in models}
    if len(models := list(models)) > 1:
        other, main = models[-2:]
        apart = net_benefit_difference(y, rows[f"p_{main}"], rows[f"p_{other}"], thresholds)
        apart = apart.rename(columns={"difference": "net_benefit"}).assign(model="difference")
        curves, labels = pd.concat([curves, apart], ignore_index=True), labels | {"difference": f"{main} − {other}"}
    return curves.assign(label=curves["model"].map(labels), n=len(y), events=int(y.sum()))


def oracle_table(
    rows: pd.DataFrame, models: Mapping[str, Any], oracle: Mapping[str, float | None] | None
) -> pd.DataFrame:
    """What the oracle figure draws: each model's AUC and interval, and the best achievable; empty without a truth."""
    if not oracle:
        return pd.DataFrame()
    y, records = rows["he"].astype(int), []
    for name, found in models.items():
        (low, high), best = found["auc_ci"] or (np.nan, np.nan), oracle[f"{name}_auc"]
        label = f"{name.capitalize()}: AUC {with_interval(found['auc'], found['auc_ci'])}, oracle {two_digits(best)}"
        records.append({"auc": found["auc"], "low": low, "high": high, "oracle": best, "model": name, "label": label})
    return pd.DataFrame(records).assign(n=len(y), events=int(y.sum())) if records else pd.DataFrame()


def describe_nomogram(model: DevelopedModel, x: pd.DataFrame) -> dict[str, Any] | None:
    """The model's nomogram over the values of development patients, within what the manifest allows.

    As it is kept in the model's file; None where no predictor has an effect.
    """
    limits = {name: (column.low, column.high) for name, column in COLUMNS.items()}
    found = build_nomogram(model, x, limits=limits)
    return found.to_json() if found else None


def nomogram_table(described: Mapping[str, Any] | None) -> pd.DataFrame:
    """What the nomogram draws, from a model's file: its axes with their words; empty where none has an effect."""
    columns = ["axis", "label", "kind", "value", "level", "text", "points", "tick"]
    if described is None:
        return pd.DataFrame(columns=columns)
    nomogram = Nomogram.from_json(described)
    table = nomogram_axes(nomogram)
    labels = {name: predictor_quantity(name) for name in nomogram.axes}
    labels |= {"dl_score": "DL score (SD)", TOTAL: "Total points", PROBABILITY: "Probability of HE"}
    text = [_mark_text(row.axis, row.value, row.level) for row in table.itertuples()]
    return table.assign(label=table["axis"].map(labels), text=text)[columns]


def reclassification_data(
    rows: pd.DataFrame, old: str, new: str, *, strata: Sequence[float], n_resamples: int, rng: np.random.Generator
) -> pd.DataFrame:
    """What the reclassification figure draws: moves between risk strata, with the categorical NRI and the IDI.

    Empty where the study lacks one of the two models.
    """
    y, p_old, p_new = rows["he"].astype(int), rows[f"p_{old}"], rows[f"p_{new}"]
    if p_old.isna().all() or p_new.isna().all():
        return pd.DataFrame(columns=FIGURES["reclassification"].required)
    table = reclassification_table(y, p_old, p_new, strata)
    nri = net_reclassification(y, p_old, p_new, thresholds=strata, n_resamples=n_resamples, rng=rng)
    idi = integrated_discrimination(y, p_old, p_new, n_resamples=n_resamples, rng=rng)
    ends = {"": "value", "_low": "low", "_high": "high", "_events": "events", "_non_events": "non_events"}
    indexes = {f"nri{end}": nri[part] for end, part in ends.items()}
    indexes |= {"idi": idi["value"], "idi_low": idi["low"], "idi_high": idi["high"]}
    names = stratum_names(strata)
    words = {f"{side}_label": table[side].map(names.__getitem__) for side in ("old", "new")}
    return table.assign(old_model=old, new_model=new, **words, **indexes)


def outline_examples(
    pictures: Mapping[str, Mapping[str, np.ndarray]], agreement: pd.DataFrame
) -> dict[str, np.ndarray]:
    """What the figure of segmentations draws: the two best, median and worst patients by Dice, best first.

    Parameters
    ----------
    pictures : mapping of str to mapping
        By patient, what :func:`hepred_lib.multitask.prediction.picture` gives.
    agreement : DataFrame
        `patient_id, dice, reference_ml, predicted_ml`; patients without blood in the reference are left out.
    """
    bloody = agreement[agreement["reference_ml"] > 0].sort_values("dice", ascending=False).set_index("patient_id")
    middle, names = len(bloody) // 2, list(bloody.index)
    places = dict.fromkeys(names[-2:], "Worst") | dict.fromkeys(names[max(middle - 1, 0) : middle + 1], "Median")
    places |= dict.fromkeys(names[:2], "Best")
    chosen = sorted(places, key=names.index)
    titles = [
        f"{places[name]}: Dice {bloody['dice'][name]:.2f}, {slice_words(pictures[name])}\n"
        f"{bloody['reference_ml'][name]:.1f} mL, predicted {bloody['predicted_ml'][name]:.1f} mL"
        for name in chosen
    ]
    shown = stacked([pictures[name] for name in chosen], ("hu", "reference", "predicted", "pixel_mm"))
    return shown | {"titles": np.array(titles, dtype=str), "window": np.array([40.0, 80.0])}


def slice_words(picture: Mapping[str, np.ndarray]) -> str:
    """Which slice of how many, counted from below.

    Examples
    --------
    >>> slice_words({"slice": np.array(17), "n_slices": np.array(29)})
    'slice 18 of 29'
    """
    return f"slice {int(picture['slice']) + 1} of {int(picture['n_slices'])}"


def stratum_names(strata: Sequence[float]) -> list[str]:
    """Words for the risk strata between boundaries, the lowest first.

    Examples
    --------
    >>> stratum_names([0.1, 0.3])
    ['below 10 %', '10 to 30 %', '30 % or more']
    """
    limits = [f"{100 * limit:g}" for limit in sorted(strata)]
    between = [f"{low} to {high} %" for low, high in pairwise(limits)]
    return [f"below {limits[0]} %", *between, f"{limits[-1]} % or more"]


def _mark_text(name: str, value: float, level: str) -> str:
    """Words at a mark; empty where the number itself is printed."""
    if level:
        return level.replace("_", " ")
    if name == "male":
        return "male" if value else "female"
    if name in COLUMNS and COLUMNS[name].kind == "binary":
        return "yes" if value else "no"
    return ""


def _judged(
    rows: pd.DataFrame, models: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], pd.Series, pd.Series, dict[str, Any]]]:
    """Of each model its figures, outcome and probability of its patients, and what each row of its curve repeats.

    A model whose patients have a single outcome is left out.
    """
    for name, found in models.items():
        known = rows[rows[f"p_{name}"].notna()]
        y = known["he"].astype(int)
        if y.nunique() == 2:
            yield found, y, known[f"p_{name}"], {"model": name, "label": "", "n": len(y), "events": int(y.sum())}


class Markdown(Formatted):
    """Sentences of a notebook, in Markdown; a name in them that looks like HTML stays text."""

    def __init__(self, text: str) -> None:
        super().__init__(without_html(text))


def show(folder: Path, name: str, data: pd.DataFrame | Mapping[str, np.ndarray]) -> Image:
    """Keep a figure's data in ``figure_data/``, draw it, save it in ``figures/`` and return it for the notebook.

    Parameters
    ----------
    folder : Path
        The run's folder.
    name : str
        An entry of :data:`hepred_lib.figures.catalogue.FIGURES`.
    data : DataFrame or mapping of arrays
        All that the figure draws.

    Returns
    -------
    IPython Image
        The figure in its printed size; the output's metadata hold its name (``figure``) and its caption (``alt``).
        Where there is nothing to draw, one that says "no data", and nothing is kept or saved.
    """
    kept = not shows_nothing(name, data)
    if kept:
        write_figure_data(folder / "figure_data", name, data)
    if kept and FIGURES[name].artwork:
        save(folder, name, data)
    figure = draw(name, data, stamp=True)
    width, metadata = round(figure.get_size_inches()[0] * CSS_PIXELS_PER_INCH), {"figure": name} if kept else {}
    content = png(figure, dpi=SCREEN_DPI)
    return Image(content, format="png", width=width, alt=caption(name, data), metadata=metadata)


def save(
    folder: Path,
    name: str,
    data: pd.DataFrame | Mapping[str, np.ndarray],
    *,
    journal: str = "springer",
    formats: Sequence[str] = ("pdf", "png"),
) -> list[Path]:
    """Draw a figure from its data and save it in each format under ``figures/``, and its caption beside them.

    The figure itself says nothing that the caption says: neither sizes of samples nor that patients are simulated.
    """
    figure = draw(name, data, journal=journal)
    made = [folder / "figures" / f"{name}.{ending}" for ending in formats]
    for path, content in zip(made, render(figure, png_dpi=PRINT_DPI, formats=formats).values(), strict=True):
        write_bytes(path, content)
    write_bytes(folder / "figures" / f"{name}.caption.md", f"{caption(name, data, journal=journal)}\n".encode())
    return made


def publish(folder: Path, name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Save a table that is shown as it is; return it for the notebook, in words."""
    return save_table(folder, name, table, printed=table)


def artwork(
    folder: Path, out: Path, *, journal: str = "springer", formats: Sequence[str] = ("pdf",), only: Sequence[str] = ()
) -> list[Path]:
    """Draw figures of a finished study as a journal wants them, from their saved data alone.

    Parameters
    ----------
    folder : Path
        The run's folder.
    out : Path
        Where ``figures/`` is written, and ``external/figures/``.
    journal : str
        One of :data:`hepred_lib.figures.style.JOURNALS`.
    formats : sequence of {"pdf", "svg", "tiff", "png"}
    only : sequence of str
        Names of figures; all by default.

    Returns
    -------
    list of Path

    Raises
    ------
    InputError
        For a figure that the study does not have.
    """
    kept = {part: read_figure_data(folder / part / "figure_data") for part in (".", "external")}
    known = [name for name, spec in FIGURES.items() if spec.artwork and any(name in data for data in kept.values())]
    if unknown := [name for name in only if name not in known]:
        raise InputError(f"--only must name figures of this study, got {unknown[0]!r}; it has {', '.join(known)}.")
    return [
        path
        for part, data in kept.items()
        for name in (only or known)
        if name in data
        for path in save(out / part, name, data[name], journal=journal, formats=formats)
    ]


def redraw(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw every figure of a finished study again from its saved data, those of ``external/`` too.

    Parameters
    ----------
    folder : Path
        The run's folder.
    out : Path, optional
        Write there instead of into the run, which is then only read.

    Returns
    -------
    list of Path
        The PDF of each figure.
    """
    made = artwork(folder, out or folder, formats=("pdf", "png"))
    if out is None:
        renew_records(folder)
    return [path for path in made if path.suffix == ".pdf"]
