"""The tables that a paper prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hepred_lib.manifest import predictor_label, predictor_unit
from hepred_lib.results.wording import with_interval
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.published import published_performance


def odds_ratio_table(model: DevelopedModel, name: str) -> pd.DataFrame:
    """Odds ratios per unit of the unshrunk model with Wald intervals, one row a coefficient."""
    half = 1.959963984540054 * model.standard_errors
    middle = model.unshrunk_coefficients
    columns = {"odds_ratio": np.exp(middle), "low": np.exp(middle - half), "high": np.exp(middle + half)}
    words = {"label": map(predictor_label, model.names), "unit": map(predictor_unit, model.names)}
    return pd.DataFrame({"model": name, "name": model.names, **words, **columns})


def performance_table(models: Mapping[str, Any]) -> pd.DataFrame:
    """The models' table as a paper prints it: estimates with 95 % intervals, rates in per cent."""
    rates = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
    records = []
    for name, found in models.items():
        cells = {rate: with_interval(found[rate], found[f"{rate}_ci"], scale=100.0, digits=1) for rate in rates}
        slope = with_interval(found["calibration_slope"], found["calibration_slope_ci"])
        auc_cell = with_interval(found["auc"], found["auc_ci"])
        records.append({"model": name, **cells, "auc": auc_cell, "calibration_slope": slope})
    return pd.DataFrame(records)


def comparison_table(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The paired tests of ``results.json`` with their limits in columns of their own."""
    pairs = [
        {**pair, **dict(zip(("low", "high"), pair["ci"] or (np.nan, np.nan), strict=True))} for pair in comparisons
    ]
    columns = ["a", "b", "data", "test", "difference", "low", "high", "p"]
    return pd.DataFrame(pairs, columns=columns).astype(dict.fromkeys(columns[4:], float))


def paper_comparison(models: Mapping[str, Any], *, n: int, events: int, simulated: bool) -> pd.DataFrame:
    """The published figures beside this study's, as numbers: rates in per cent, the AUC as it is.

    Parameters
    ----------
    models : mapping of str to dict
        As ``results.json`` holds them.
    n, events : int
        Test patients of this study, and those with expansion.
    simulated : bool
        Whether this study's patients are simulated; each row says so.

    Returns
    -------
    DataFrame
        `model, figure, published, published_low, published_high, published_n, published_events`, then the same of this
        study as `ours...`, and `ours_are` ("simulated" or "real"). The published intervals are those that the
        publication's counts and AUCs imply; it prints none.
    """
    rows = []
    for paper in published_performance().itertuples():
        if paper.model not in models:
            continue
        scale, found = 1.0 if paper.figure == "auc" else 100.0, models[paper.model]
        ours = [found[paper.figure], *(found[f"{paper.figure}_ci"] or (None, None))]
        theirs = [scale * value for value in (paper.value, paper.low, paper.high)]
        ours = [np.nan if value is None else scale * value for value in ours]
        rows.append((paper.model, paper.figure, *theirs, paper.n, paper.events, *ours, n, events))
    sides = [f"{side}{end}" for side in ("published", "ours") for end in ("", "_low", "_high", "_n", "_events")]
    table = pd.DataFrame(rows, columns=["model", "figure", *sides])
    return table.assign(ours_are="simulated" if simulated else "real")


def printed_comparison(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `paper_comparison` as a paper prints them: one a model and figure, both studies side by side."""
    shown = {"auc": "AUC"}
    cells = {
        side: [
            with_interval(
                row[side], [row[f"{side}_low"], row[f"{side}_high"]], digits=2 if row["figure"] == "auc" else 1
            )
            for _, row in table.iterrows()
        ]
        for side in ("published", "ours")
    }
    figure = [shown.get(name, f"{name.capitalize()} (%)") for name in table["figure"]]
    first = table.iloc[0]
    words = {side: f"n = {first[f'{side}_n']}, {first[f'{side}_events']} with HE" for side in ("published", "ours")}
    ours = "simulated" if first["ours_are"] == "simulated" else "this study"
    return pd.DataFrame(
        {
            "Model": table["model"].str.capitalize(),
            "Figure": figure,
            f"Published ({words['published']})": cells["published"],
            f"{ours.capitalize()} ({words['ours']})": cells["ours"],
        }
    )
