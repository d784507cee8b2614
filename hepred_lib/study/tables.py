"""The tables that a paper prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepred_lib.cohort.predictors import predictor_label, predictor_unit
from hepred_lib.literal import for_formula, for_markdown
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.effects import UNITS
from hepred_lib.stats.published import published_performance
from hepred_lib.study.files import write_printed, write_table

# --- wording: Numbers in the words of a table: an estimate with its interval, a p value, or why there is none

NOT_ESTIMABLE = "not estimable"


def with_interval(value: float | None, interval: Sequence[float] | None, *, scale: float = 1.0, digits: int = 2) -> str:
    """An estimate with its interval, in brackets; without an interval the estimate alone.

    Examples
    --------
    >>> with_interval(0.5, [0.25, 0.75]), with_interval(0.1, [-0.1, 0.3], digits=1), with_interval(None, None)
    ('0.50 (0.25-0.75)', '0.1 (-0.1 to 0.3)', 'not estimable')
    """
    if value is None or pd.isna(value):
        return NOT_ESTIMABLE
    estimate = _written(scale * value, digits)
    if interval is None or pd.isna(list(interval)).any():
        return estimate
    return f"{estimate} ({limits_words(*interval, scale=scale, digits=digits)})"


def limits_words(low: float, high: float, *, scale: float = 1.0, digits: int = 2) -> str:
    """Two limits alone.

    Examples
    --------
    >>> limits_words(0.25, 0.75), limits_words(-0.1, 3e7), limits_words(float("nan"), 2.0)
    ('0.25-0.75', '-0.10 to 3e+07', 'not estimable')
    """
    if pd.isna(low) or pd.isna(high):
        return NOT_ESTIMABLE
    limits = [_written(scale * limit, digits) for limit in (low, high)]
    return (" to " if limits[0].startswith("-") else "-").join(limits)


def two_digits(value: float | None) -> str:
    """A number with two decimals.

    Examples
    --------
    >>> two_digits(0.126), two_digits(None)
    ('0.13', 'not estimable')
    """
    return with_interval(value, None)


def p_value(p: float | None) -> str:
    """A p value with two significant digits.

    Examples
    --------
    >>> p_value(0.0312), p_value(0.00002), p_value(None)
    ('0.031', '<0.001', 'not estimable')
    """
    if p is None or pd.isna(p):
        return NOT_ESTIMABLE
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_words(p: float | None) -> str:
    """A p value as a sentence gives it.

    Examples
    --------
    >>> p_words(0.0312), p_words(0.00002), p_words(None)
    ('p = 0.031', 'p < 0.001', 'p not estimable')
    """
    value = p_value(p)
    return f"p < {value[1:]}" if value.startswith("<") else f"p {value}" if value == NOT_ESTIMABLE else f"p = {value}"


def predictor_words(name: str) -> str:
    """The words for a predictor in a sentence of Markdown, whatever signs its column's name has.

    Examples
    --------
    >>> predictor_words("sbp_mmhg")
    'Systolic pressure'
    """
    return for_markdown(predictor_label(name))


def listed(words: Sequence[str], *, empty: str = "nothing") -> str:
    """Words as a sentence lists them.

    Examples
    --------
    >>> listed(["age", "sex", "GCS"]), listed([])
    ('age, sex and GCS', 'nothing')
    """
    if not words:
        return empty
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _written(value: float, digits: int) -> str:
    """A number with its decimals; a power of ten where it has more than six digits before them."""
    written = f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"
    return written.replace("inf", "infinite")


# --- saved: A table for machines and the same table for a page: CSV with every digit, LaTeX with those that


def save_table(folder: Path, name: str, table: pd.DataFrame, *, printed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Write ``tables/NAME.csv`` and ``tables/NAME.tex``, and return what is printed.

    Parameters
    ----------
    folder : Path
        The run's folder.
    name : str
    table : DataFrame
        The numbers, without an index that matters.
    printed : DataFrame, optional
        What the page shows; by default `as_printed` of the table.
    """
    shown = as_printed(table) if printed is None else printed
    write_table(folder / "tables" / f"{name}.csv", table)
    write_printed(folder, name, shown)
    return shown


def as_printed(table: pd.DataFrame, *, digits: int = 2) -> pd.DataFrame:
    """A table of numbers as text: estimates joined with their limits, p values and counts in their own form.

    Columns `X_low` and `X_high` are the limits of `X`; `low` and `high` those of the column before them. Columns named
    `p` or `p_...` are p values. What is missing is "not estimable" in a column of numbers, empty in one of words.

    Examples
    --------
    >>> table = pd.DataFrame({"name": ["a"], "auc": [0.8], "low": [0.7], "high": [0.9], "p": [0.04]})
    >>> as_printed(table).values.tolist()
    [['a', '0.80 (0.70-0.90)', '0.040']]
    """
    names, shown = list(table.columns), {}
    limits = {name: (f"{name}_low", f"{name}_high") for name in names if {f"{name}_low", f"{name}_high"} <= set(names)}
    if {"low", "high"} <= set(names) and names.index("low") > 0:
        limits[names[names.index("low") - 1]] = ("low", "high")
    used = {limit for pair in limits.values() for limit in pair}
    for name in (name for name in names if name not in used):
        if name in limits:
            pairs = table[list(limits[name])].to_numpy(dtype=float)
            shown[name] = [with_interval(v, pair, digits=digits) for v, pair in zip(table[name], pairs, strict=True)]
        else:
            numeric = pd.api.types.is_numeric_dtype(table[name]) or name.startswith("p_") or name == "p"
            shown[name] = [_cell(value, name, digits) if numeric else _word(value) for value in table[name]]
    return pd.DataFrame(shown)


def _cell(value: float, name: str, digits: int) -> str:
    if name == "p" or name.startswith("p_"):
        return p_value(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if pd.isna(value):
        return NOT_ESTIMABLE
    if np.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    return f"{value:g}" if value == round(value) else f"{value:.{digits}f}"


def _word(value: object) -> str:
    return "" if value is None or pd.isna(value) else str(value)


# --- printed: The tables that a paper prints


def odds_ratio_table(model: DevelopedModel, name: str) -> pd.DataFrame:
    """Odds ratios per unit of the unshrunk model with Wald intervals, one row a coefficient."""
    half = 1.959963984540054 * model.standard_errors
    middle = model.unshrunk_coefficients
    with np.errstate(over="ignore"):  # beyond 1e308 an odds ratio is infinite
        columns = {"odds_ratio": np.exp(middle), "low": np.exp(middle - half), "high": np.exp(middle + half)}
    words = {"label": map(_coded_label, model.names), "unit": map(_coded_unit, model.names)}
    return pd.DataFrame({"model": name, "name": model.names, **words, **columns})


def odds_ratios_beside(univariable: pd.DataFrame, multivariable: pd.DataFrame) -> pd.DataFrame:
    """Every candidate alone and, where it is in the model, beside the others: the table that a paper prints.

    Parameters
    ----------
    univariable, multivariable : DataFrame
        From :mod:`hepred_lib.stats.effects`.

    Returns
    -------
    DataFrame
        `name, label, step, n, events`, then `univariable, univariable_low, univariable_high, p_univariable` and
        `wald, wald_low, wald_high, p_wald, profile, profile_low, profile_high` (NaN for what is not in the model). The
        estimate of `profile` is that of `wald`: only the limits differ.
    """
    names = {"odds_ratio": "univariable", "low": "univariable_low", "high": "univariable_high", "p": "p_univariable"}
    alone = univariable.rename(columns=names)[["name", "n", "events", *names.values()]]
    model = multivariable.rename(columns={"odds_ratio": "wald", "low": "wald_low", "high": "wald_high", "p": "p_wald"})
    kept = ["name", "wald", "wald_low", "wald_high", "p_wald", "profile", "profile_low", "profile_high"]
    table = alone.merge(model.assign(profile=model["wald"])[kept].astype({"name": object}), on="name", how="left")
    steps = [UNITS.get(name, 1.0) for name in table["name"]]
    words = [_step_words(name, step) for name, step in zip(table["name"], steps, strict=True)]
    order = ["name", "label", "step", *[column for column in table.columns if column != "name"]]
    return table.assign(label=words, step=steps)[order].astype({name: float for name in kept[1:]})


def odds_ratios_page(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `odds_ratios_beside` as text; a dash stands where a candidate is not in the model."""
    shown = as_printed(table.drop(columns=["name", "step"]))
    shown.loc[table["wald"].isna().to_numpy(), ["wald", "p_wald", "profile"]] = "–"
    return shown


def complete_cases_printed(table: pd.DataFrame) -> pd.DataFrame:
    """The comparison with complete cases as a paper prints it."""
    words = [_step_words(name, step) for name, step in table[["name", "step"]].to_numpy()]
    return as_printed(
        table.drop(columns=["name", "step", "n", "events"]).assign(label=words).set_index("label").reset_index()
    )


def model_formula(model: DevelopedModel) -> str:
    """The shrunk model as one line of LaTeX between dollar signs; coefficients per unit, four significant digits."""
    terms = [f"{model.intercept:.4g}"]
    for name, coefficient in zip(model.names, model.coefficients, strict=True):
        words = for_formula(_coded_label(name))
        terms.append(rf"{'+' if coefficient >= 0 else '-'} {abs(coefficient):.4g}\;\mathrm{{{words}}}")
    return rf"$\mathrm{{logit}}\,p = {' '.join(terms)}$"


def model_words(model: DevelopedModel) -> str:
    """The formula in a sentence: what each value is counted in, and what is done where one is missing."""
    units = [
        f"{for_markdown(_coded_label(name))} {_coded_unit(name) or '1 if present, else 0'}" for name in model.names
    ]
    counted = f", with {'; '.join(units)}" if units else ": everybody has the prevalence"
    imputed = "Where a value is missing, the probability is the mean over the imputed sets."
    return f"{model_formula(model)}{counted}.{f' {imputed}' if units else ''}"


def penalties_words(table: pd.DataFrame) -> str:
    """The sentence that reads the comparison with penalized models."""
    if table.empty:
        return "Too few events for a penalty chosen by cross-validation."
    parts = [
        f"{row.penalty} {row.auc:.2f} (difference {row.difference:+.3f}, "
        + ("interval not estimable), " if np.isnan(row.low) else f"{row.low:+.3f} to {row.high:+.3f}), ")
        + f"calibration slope {two_digits(row.slope)}"
        for row in table.itertuples()
    ]
    beyond = int(table["p"].lt(0.05).sum())
    tail = f"{beyond} of {len(table)} differences exceed chance at the 5 % level."
    return f"Cross-fitted AUC against that of the model: {'; '.join(parts)}. {tail}"


def performance_table(models: Mapping[str, Any]) -> pd.DataFrame:
    """The models' table as a paper prints it: patients, events, estimates with 95 % intervals, rates in per cent."""
    rates = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
    records = []
    for name, found in models.items():
        cells = {rate: with_interval(found[rate], found[f"{rate}_ci"], scale=100.0, digits=1) for rate in rates}
        slope = with_interval(found["calibration_slope"], found["calibration_slope_ci"])
        auc_cell = with_interval(found["auc"], found["auc_ci"])
        size = {"n": found["n"], "events": found["n_events"]} if "n" in found else {}  # absent from older studies
        records.append({"model": name, **size, **cells, "auc": auc_cell, "calibration_slope": slope})
    return pd.DataFrame(records, columns=list(records[0]) if records else ["model", "n", "events", *rates, "auc"])


def _coded_label(name: str) -> str:
    """Words for a coded column: "Systolic pressure", "Location: basal ganglia"."""
    predictor, _, level = name.rstrip("]").partition("[")
    return f"{predictor_label(predictor)}: {level.replace('_', ' ')}" if level else predictor_label(predictor)


def _coded_unit(name: str) -> str:
    return "" if "[" in name else predictor_unit(name).replace("10^9", "10⁹")


def _step_words(name: str, step: float) -> str:
    """A coded column and the step that its odds ratio is for: "Systolic pressure, per 10 mmHg"."""
    unit = _coded_unit(name).removeprefix("per ")
    if not unit:
        return _coded_label(name)
    several = f"{step:g} {'× ' * unit.startswith('10')}{unit}{'s' * (unit == 'point')}"
    return f"{_coded_label(name)}, per {unit if step == 1 else several}"


def bedside_table(scores: Mapping[str, Any]) -> pd.DataFrame:
    """AUC of the published bedside scores with the number of patients behind each, NaN where it cannot be judged."""
    rows = [
        (
            name.replace("_", "-") if "_" in name else name.upper(),
            found["n"],
            found["auc"],
            *(found["auc_ci"] or (None, None)),
        )
        for name, found in scores.items()
    ]
    figures = ["auc", "auc_low", "auc_high"]
    return pd.DataFrame(rows, columns=["score", "n", *figures]).astype(dict.fromkeys(figures, float))


def comparison_table(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The paired tests of ``results.json`` with their limits in columns of their own."""
    pairs = [
        {**pair, **dict(zip(("low", "high"), pair["ci"] or (np.nan, np.nan), strict=True))} for pair in comparisons
    ]
    figures = ["difference", "low", "high", "p"]
    columns = ["a", "b", "data", "test", "n", "n_events", *figures]
    table = pd.DataFrame(pairs, columns=columns).astype(dict.fromkeys(figures, float))
    return table.rename(columns={"n_events": "events"})


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
