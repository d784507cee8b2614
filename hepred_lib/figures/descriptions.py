"""Every figure in one sentence of plain text, for readers who do not see it: what is drawn, of whom, what it shows.

Written from the figure's own data, so that it is true of any study. Served to a page as the alternative text of the
image.
"""

import inspect
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from hepred_lib.figures.cohort import QUALITY
from hepred_lib.figures.layout import OUTCOMES, by_model, finite, ratio_text, sample_size, typeset
from hepred_lib.figures.models import KINDS

Data = pd.DataFrame | Mapping[str, np.ndarray]


def sentence(name: str, data: Data, drawing: Callable) -> str:
    """Return the sentence of a figure; one that has none of its own is named after its drawing function.

    Parameters
    ----------
    name : str
        The figure's name in the catalogue.
    data : DataFrame or mapping of str to array
        What the figure shows.
    drawing : callable
        Its drawing function, whose docstring begins with "Draw ...".
    """
    subject = inspect.getdoc(drawing).partition("\n")[0].removeprefix("Draw ").rstrip(".")
    subject = subject[0].upper() + subject[1:]
    if not len(data.get("hu", data)):
        text = f"No data: {subject}"
    elif name in SENTENCES:
        text = SENTENCES[name](data)
    else:
        size = sample_size(data) if {"n", "events"} <= set(data) else None
        text = ": ".join(filter(None, (subject, size)))
    simulated = " (simulated data)" if "simulated" in data and np.any(data["simulated"]) else ""
    return " ".join(f"{text}{simulated}.".split())


def _power(table: pd.DataFrame) -> str:
    pairs = [
        f"{pair} {rows['power'].iloc[0]:.0%} with {rows['test_events'].iloc[0]} test patients with HE, "
        f"{rows['power'].iloc[-1]:.0%} with {rows['test_events'].iloc[-1]}"
        for pair, rows in table.groupby("pair", sort=False)
    ]
    return f"Power of DeLong's test by number of test patients with HE, by simulation: {'; '.join(pairs)}"


def _flow(table: pd.DataFrame) -> str:
    steps = [
        f"{row.text} {row.n:.0f}" + ("" if pd.isna(row.events) else f", of them {row.events:.0f} with HE")
        for row in table.itertuples()
        if row.step != "reason"
    ]
    return f"Flow of participants: {'; '.join(steps)}"


def _cohort(table: pd.DataFrame) -> str:
    medians = []
    for variable, rows in table.groupby("variable", sort=False):
        curves = {he: rows[rows["he"] == he] for he in (1, 0)}
        middles = [_median(curve) for curve in curves.values() if len(curve)]
        medians.append(f"{variable} {' and '.join(middles)}")
    groups = " and ".join(f"with {OUTCOMES[he].name}" for he in (1, 0) if table["he"].eq(he).any())
    return f"Cumulative distributions with 95 % bands in patients {groups}; medians: {'; '.join(medians)}"


def _median(curve: pd.DataFrame) -> str:
    return f"{curve.loc[curve['proportion'] >= 0.5 - 1e-9, 'value'].iloc[0]:.3g}"


def _truth(table: pd.DataFrame) -> str:
    curves = table.loc[table["panel"] == "roc", "group"].unique()
    return (
        "The law of the simulated cohort: the probability of the label by true volume, the image and the clinical part "
        f"of the logit by outcome, ROC curves and calibration of the oracles ({'; '.join(curves)})"
    )


def _quality(table: pd.DataFrame) -> str:
    medians = [
        f"{label.partition(' (')[0].lower()} {np.median(finite(table[column])):.4g}{_unit(label)}"
        for column, label in QUALITY.items()
        if len(finite(table[column]))
    ]
    outlying = int(table["outlier"].eq(True).sum())
    return (
        f"Histograms of the quality of {len(table)} scans, {outlying} of them outlying; medians: {', '.join(medians)}"
    )


def _unit(label: str) -> str:
    return f" {label.partition(' (')[2].rstrip(')')}".rstrip()


def _network(table: pd.DataFrame) -> str:
    parts = [
        f"{part} of {_count(len(rows), 'block')} with {rows['parameters'].sum():,} parameters"
        for part, rows in table[table["part"] != "input"].groupby("part", sort=False)
    ]
    return f"Diagram of the network: {'; '.join(parts)}"


def _montage(arrays: Mapping[str, np.ndarray]) -> str:
    return f"{_slices(arrays)} with the outlines of hematoma and brain: {_titles(arrays)}"


def _outlines(arrays: Mapping[str, np.ndarray]) -> str:
    return f"{_slices(arrays)} with the reference and the predicted outline of the hematoma: {_titles(arrays)}"


def _overview(arrays: Mapping[str, np.ndarray]) -> str:
    return (
        f"{_slices(arrays)} with the predicted outline of the hematoma; {' '.join(map(str, arrays['lines']))}".rstrip(
            "."
        )
    )


def _attention(arrays: Mapping[str, np.ndarray]) -> str:
    return f"{_slices(arrays)} under the activation map, and attention by slice below each: {_titles(arrays)}"


def _slices(arrays: Mapping[str, np.ndarray]) -> str:
    count, (level, width) = len(arrays["hu"]), arrays["window"]
    return f"{count} CT slice{'s' * (count != 1)} (level {level:g} HU, width {width:g} HU)"


def _titles(arrays: Mapping[str, np.ndarray]) -> str:
    return "; ".join(" ".join(str(title).split()) for title in arrays["titles"])


def _learning_curves(table: pd.DataFrame) -> str:
    mean = table.groupby("epoch")["loss"].mean()
    return (
        f"Training losses of {_count(table['fold'].nunique(), 'fold')} over {_count(mean.index.max(), 'epoch')}; the "
        f"mean total loss goes from {mean.iloc[0]:.2f} to {mean.iloc[-1]:.2f}"
    )


def _bland_altman(table: pd.DataFrame) -> str:
    bias, low, high = table[["bias", "low", "high"]].iloc[0]
    limits = f", 95 % limits of agreement {low:.1f} to {high:.1f} mL" if np.isfinite([low, high]).all() else ""
    return f"Bland-Altman plot of predicted against reference volume, n = {len(table)}: bias {bias:.1f} mL{limits}"


def _dl_score(table: pd.DataFrame) -> str:
    parts = []
    for split, rows in table.groupby("split", sort=True):
        groups = {he: finite(rows.loc[rows["he"] == he, "dl_score"]) for he in (1, 0)}
        medians = [f"{np.median(v):.2f} in {len(v)} with {OUTCOMES[he].name}" for he, v in groups.items() if len(v)]
        parts.append(f"{split} {', '.join(medians)}")
    return f"DL score by outcome, medians in SD: {'; '.join(parts)}"


def _odds_ratios(table: pd.DataFrame) -> str:
    models = [
        f"{style.name} model: "
        + ", ".join(
            f"{row.label} {ratio_text(row.odds_ratio)}"
            + ("" if np.isnan([row.low, row.high]).any() else f" ({ratio_text(row.low)}–{ratio_text(row.high)})")
            for row in rows.itertuples()
        )
        for style, rows in by_model(table)
    ]
    return f"Odds ratios of HE with 95 % intervals; {'; '.join(models)}"


def _inclusion_frequency(table: pd.DataFrame) -> str:
    often = [f"{row.label} {row.frequency:.0%}" for row in table.itertuples() if row.frequency > 0.5]
    selected = ", ".join(table.loc[table["selected"].eq(True), "label"]) or "none"
    kinds = [f"{(table['kind'] == kind).sum()} {name}" for kind, (name, _) in KINDS.items()] if "kind" in table else []
    return (
        f"Bars of how often each of {_count(len(table), 'candidate')} is selected in resamples"
        + (f" ({', '.join(kinds)})" if kinds else "")
        + f"; in more than half: {', '.join(often) or 'none'}; in the final model: {selected}"
    )


def _roc(table: pd.DataFrame) -> str:
    return f"ROC curves with 95 % bands{_size(table)}: {_labels(table)}"


def _calibration(table: pd.DataFrame) -> str:
    return f"Calibration curves with 95 % bands over the distribution of predictions{_size(table)}: {_labels(table)}"


def _decision_curve(table: pd.DataFrame) -> str:
    low, high = table["threshold"].min(), table["threshold"].max()
    return (
        f"Net benefit with 95 % bands at threshold probabilities from {low:.2f} to {high:.2f}{_size(table)}: "
        f"{_labels(table)}"
    )


def _nomogram(table: pd.DataFrame) -> str:
    predictors = [
        f"{rows['label'].iloc[0]} {rows['points'].max() - rows['points'].min():.0f}"
        for _, rows in table[table["kind"].isin(["number", "level"])].groupby("axis", sort=False)
    ]
    return f"Nomogram of the model, most points from each predictor: {', '.join(predictors)}"


def _subgroups(table: pd.DataFrame) -> str:
    judged = [
        f"{row.group} {row.auc:.2f} ({row.auc_low:.2f}–{row.auc_high:.2f})"
        for row in table.itertuples()
        if np.isfinite([row.auc, row.auc_low, row.auc_high]).all()
    ]
    few = int(table["auc"].isna().sum())
    return (
        "Forest plot of AUC and calibration in the large by subgroup with 95 % intervals; AUC: "
        f"{'; '.join(judged) or 'none'}; too few events in {_count(few, 'subgroup')}"
    )


def _reclassification(table: pd.DataFrame) -> str:
    moved = []
    for he in (1, 0):
        rows = table[table["outcome"] == he]
        up, down = (
            int(rows.loc[way, "patients"].sum()) for way in (rows["new"] > rows["old"], rows["new"] < rows["old"])
        )
        moved.append(f"with {OUTCOMES[he].name} {up} up and {down} down of {int(rows['patients'].sum())}")
    old, new = table[["old_model", "new_model"]].iloc[0]
    return f"Patients moved between strata of risk from the {old} to the {new} model: {'; '.join(moved)}"


def _oracle(table: pd.DataFrame) -> str:
    return f"AUC with 95 % intervals beside the best possible (the oracle){_size(table)}: {_labels(table)}"


def _labels(table: pd.DataFrame) -> str:
    return "; ".join(", ".join(typeset(str(rows["label"].iloc[0])).splitlines()) for _, rows in by_model(table))


def _size(table: pd.DataFrame) -> str:
    size = sample_size(table)
    return f" ({size})" if size else ""


def _count(number: int, thing: str) -> str:
    return f"{number:g} {thing}{'' if number == 1 else 's'}"


SENTENCES: dict[str, Callable[[Data], str]] = {
    "power": _power,
    "flow": _flow,
    "cohort": _cohort,
    "truth": _truth,
    "quality": _quality,
    "network": _network,
    "montage": _montage,
    "outlines": _outlines,
    "overview": _overview,
    "attention": _attention,
    "learning_curves": _learning_curves,
    "bland_altman": _bland_altman,
    "dl_score": _dl_score,
    "odds_ratios_clinical": _odds_ratios,
    "odds_ratios_integrated": _odds_ratios,
    "inclusion_frequency": _inclusion_frequency,
    "roc": _roc,
    "calibration": _calibration,
    "decision_curve": _decision_curve,
    "nomogram": _nomogram,
    "subgroups": _subgroups,
    "reclassification": _reclassification,
    "oracle": _oracle,
}
