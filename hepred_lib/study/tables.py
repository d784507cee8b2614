"""The tables of the book and of a paper, and the one place where a number becomes text.

Every table is kept as CSV, with all its digits and the names that machines read. A page shows it in words (`as_page`,
by ``tables.yaml``); :mod:`hepred_lib.study.printing` sets those that a paper prints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from hepred_lib.cohort.predictors import predictor_label, predictor_unit
from hepred_lib.figures.performance import PLACES
from hepred_lib.figures.style import p_text
from hepred_lib.literal import for_formula
from hepred_lib.stats.calibration import METHODS
from hepred_lib.stats.curves import LOG, SPLINE, split_term
from hepred_lib.stats.development import DevelopedModel
from hepred_lib.stats.effects import model_effects, step_of
from hepred_lib.stats.evaluation import calibration_reading
from hepred_lib.stats.operating_point import exact_interval
from hepred_lib.stats.published import published_performance
from hepred_lib.study.files import write_table
from hepred_lib.study.summary import MODELS

WORDS, PRINTED = yaml.safe_load(Path(__file__).with_name("tables.yaml").read_text(encoding="utf-8")).values()
NOT_ESTIMABLE = "not estimable"
CALIBRATION = {
    "observed/expected": "observed_expected",
    "in the large": "calibration_in_the_large",
    "slope": "calibration_slope",
    "ICI": "ici",
    "Brier score": "brier",
}
NOTHING = "nothing to tabulate in this study"
NO_CURVES: Mapping[str, Sequence[float]] = {}
OTHER_FILES = r"(?:^| )(?!notebooks/|figures/|report/)\S+"


def with_interval(value: float | None, interval: Sequence[float] | None, *, scale: float = 1.0, digits: int = 2) -> str:
    """An estimate with its interval, in brackets; without an interval the estimate alone.

    Examples
    --------
    >>> with_interval(0.5, [0.25, 0.75]), with_interval(0.1, [-0.1, 3e7], digits=1), with_interval(None, None)
    ('0.50 (0.25-0.75)', '0.1 (-0.1 to 3e+07)', 'not estimable')
    """
    if value is None or pd.isna(value):
        return NOT_ESTIMABLE
    limits = [] if interval is None or pd.isna(list(interval)).any() else interval
    estimate, *ends = (_written(scale * number, digits) for number in (value, *limits))
    return f"{estimate} ({(' to ' if ends[0].startswith('-') else '-').join(ends)})" if ends else estimate


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
    return NOT_ESTIMABLE if p is None or pd.isna(p) else p_text(p)


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them; "nothing" where there is none.

    Examples
    --------
    >>> listed(["age", "sex", "GCS"]), listed(["age"]), listed([])
    ('age, sex and GCS', 'age', 'nothing')
    """
    first, last = ", ".join(words[:-1]), words[-1] if words else "nothing"
    return f"{first} and {last}" if first else last


def percent(share: float, digits: int = 1) -> str:
    """A share in per cent.

    Examples
    --------
    >>> percent(0.125), percent(0.1, digits=0), percent(float("nan"))
    ('12.5 %', '10 %', 'not estimable')
    """
    return NOT_ESTIMABLE if pd.isna(share) else f"{100 * share:.{digits}f} %"


def quartiles(values: pd.Series, form: str = ".3g") -> str:
    """Median and quartiles.

    Examples
    --------
    >>> quartiles(pd.Series([1.0, 2.0, 3.0, 4.0, 5.0])), quartiles(pd.Series([1.0, 2.0]), ".2f")
    ('3 (2-4)', '1.50 (1.25-1.75)')
    """
    low, middle, high = (format(value, form) for value in values.quantile([0.25, 0.5, 0.75]))
    return f"{middle} ({low}-{high})"


def _written(value: float, digits: int) -> str:
    """A number with its decimals; a power of ten where it has more than six digits before them."""
    written = f"{round(value, digits) + 0.0:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"  # no -0.00
    return written.replace("inf", "infinite")


def save_table(folder: Path, name: str, table: pd.DataFrame, *, printed: pd.DataFrame | None = None) -> pd.DataFrame:
    """Write ``tables/NAME.csv``, and return what a page shows.

    Parameters
    ----------
    folder : Path
        The run's folder.
    name : str
    table : DataFrame
        The numbers, without an index that matters.
    printed : DataFrame, optional
        Its cells as they are shown; by default those of `PAGES`, or `as_printed`.

    Returns
    -------
    DataFrame
        `as_page` of it; where the table has no row, one cell that says so.
    """
    write_table(folder / "tables" / f"{name}.csv", table)
    if not len(table):
        return pd.DataFrame({in_words(name): [NOTHING]})
    return as_page(name, PAGES.get(name, as_printed)(table) if printed is None else printed)


def in_words(name: str) -> str:
    """The head of a column in words.

    Examples
    --------
    >>> in_words("auc"), in_words("spread"), in_words("p at r = 0.5")
    ('AUC', 'Spread', 'p at r = 0.5')
    """
    return WORDS.get(name) or re.sub(r"^[a-z](?=\w)", lambda first: first[0].upper(), name.replace("_", " "))


def as_page(name: str, shown: pd.DataFrame) -> pd.DataFrame:
    """A table in words: codes of predictors and models, heads; of a printed table the columns that are printed.

    Examples
    --------
    >>> as_page("spiegelhalter", pd.DataFrame({"model": ["image"], "p": ["0.50"]})).to_dict("list")
    {'Model': ['Image'], 'p': ['0.50']}
    """
    how, page = PRINTED.get(name, {}), []
    cells = shown.drop(columns="name") if {"name", "label"} <= set(shown) else shown.copy()
    for columns, words in CODES.items():
        for column in cells.columns.intersection(columns):
            cells[column] = [words(cell) if isinstance(cell, str) else cell for cell in cells[column]]
    for key, head in how.get("columns", dict.fromkeys(cells)).items():
        parts = re.findall(r"{(\w+)}", key) or [key]
        if not set(parts) <= set(cells):
            continue
        joined = [key.format_map(row).removeprefix(": ") for row in cells[parts].to_dict("records")]
        column = cells[key] if key in cells else pd.Series(joined, index=cells.index)
        other = how.get("unless_same", {}).get(key)
        if name in PRINTED and (column.isin(["", "–"]).all() or (other and column.equals(cells[other]))):
            continue
        page.append(column.rename(head or in_words(key)))
    table = pd.concat(page, axis=1) if page else cells.iloc[:, :0]
    if "across" in how and how["across"] in cells:
        table = table.set_axis(cells[how["across"]], axis=0).T.rename_axis(columns=None).reset_index(names="")
    return table


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
        column = table[name]
        if name in limits:
            pairs = table[list(limits[name])].to_numpy(dtype=float)
            shown[name] = [with_interval(v, pair, digits=digits) for v, pair in zip(column, pairs, strict=True)]
        elif name == "p" or name.startswith("p_"):
            shown[name] = column.map(p_value).tolist()
        elif pd.api.types.is_numeric_dtype(column):
            shown[name] = [_number(value, digits) for value in column]
        else:
            shown[name] = ["" if value is None or pd.isna(value) else str(value) for value in column]
    return pd.DataFrame(shown)


def _number(value: float, digits: int) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if pd.isna(value):
        return NOT_ESTIMABLE
    return f"{value + 0.0:g}" if np.isfinite(value) and value == round(value) else _written(value, digits)


def coded_label(name: str) -> str:
    """Words for a coded column.

    Examples
    --------
    >>> coded_label("sbp_mmhg"), coded_label("location[basal_ganglia]"), coded_label("spline(age)'")
    ('Systolic pressure', 'Location: basal ganglia', 'Age (bend)')
    """
    if name.endswith("'"):
        return f"{predictor_label(split_term(name[:-1])[1])} (bend)"
    predictor, _, level = name.rstrip("]").partition("[")
    return f"{predictor_label(predictor)}: {level.replace('_', ' ')}" if level else predictor_label(predictor)


def odds_ratio_table(model: DevelopedModel, name: str) -> pd.DataFrame:
    """Odds ratios per clinical step of the unshrunk model with Wald intervals, one row per effect."""
    table = model_effects(model).odds_ratios()
    pairs = zip(table["name"], table["step"], strict=True)
    words = {"label": [_step_words(coded, step, model.curves) for coded, step in pairs]}
    return table.assign(model=name, **words)[["model", "name", "label", "step", "odds_ratio", "low", "high", "p"]]


def odds_ratios_beside(
    univariable: pd.DataFrame, multivariable: pd.DataFrame, curves: Mapping[str, Sequence[float]] = NO_CURVES
) -> pd.DataFrame:
    """Every candidate alone and, where selected, in the model: the table that a paper prints.

    Parameters
    ----------
    univariable, multivariable : DataFrame
        From :mod:`hepred_lib.stats.effects`.
    curves : mapping of str to sequence of float
        The curved terms of the model: a curve stands in a row of its own, below the columns alone.

    Returns
    -------
    DataFrame
        `name, label, step, n, events`, then `univariable, univariable_low, univariable_high, p_univariable` and
        `wald, wald_low, wald_high, p_wald, profile, profile_low, profile_high` (NaN for what is not in the model). The
        estimate of `profile` is that of `wald`: only the limits differ.
    """
    figures, ends = ["odds_ratio", "low", "high", "p"], ["", "_low", "_high"]
    alone = univariable.set_index("name")[["n", "events", *figures]]
    alone.columns = ["n", "events", *(f"univariable{end}" for end in ends), "p_univariable"]
    model = multivariable.set_index("name")[[*figures, "odds_ratio", "profile_low", "profile_high"]].astype(float)
    model.columns = [*(f"wald{end}" for end in ends), "p_wald", *(f"profile{end}" for end in ends)]
    table = pd.concat([alone.join(model), model[~model.index.isin(alone.index)]]).rename_axis("name").reset_index()
    steps = [step_of(name) for name in table["name"]]
    table.insert(1, "label", [_step_words(name, step, curves) for name, step in zip(table["name"], steps, strict=True)])
    table.insert(2, "step", steps)
    return table


def odds_ratios_page(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `odds_ratios_beside` as text, with a dash for what is not in the model, or only there (a curve)."""
    shown = as_printed(table.drop(columns=["name", "step"]))
    shown["profile"] = shown["profile"].str.extract(r"\((.*)\)", expand=False)  # its estimate is that of `wald`
    shown.loc[table["wald"].isna().to_numpy(), ["wald", "p_wald", "profile"]] = "–"
    shown.loc[table["n"].isna().to_numpy(), ["n", "events", "univariable", "p_univariable"]] = "–"
    return shown.fillna(NOT_ESTIMABLE)


def dashed_page(table: pd.DataFrame) -> pd.DataFrame:
    """A table as text: a dash where nothing is estimated, as in the tests of a frozen model."""
    return as_printed(table).replace(NOT_ESTIMABLE, "–")


def subgroups_page(table: pd.DataFrame) -> pd.DataFrame:
    """Subgroups as text, the tests of interaction once for each variable."""
    shown = dashed_page(table)
    tests = [name for name in shown if name.startswith("p_")]
    shown.loc[shown["split"].duplicated().to_numpy(), tests] = ""
    return shown


def sites_page(table: pd.DataFrame) -> pd.DataFrame:
    """Site by site as text, the spread between sites in the row of all alone."""
    shown = dashed_page(table)
    shown.loc[table["group"].ne("all sites").to_numpy(), [name for name in shown if name.endswith("_tau")]] = ""
    return shown


def reclassification_page(table: pd.DataFrame) -> pd.DataFrame:
    """Patients by outcome and stratum of the old model, with a column for each stratum of the new one."""
    grid = table.pivot(index=["outcome", "old"], columns="new", values="patients")
    strata = [dict(zip(table[side], table[f"{side}_label"], strict=True)) for side in ("old", "new")]
    old, new = (table[f"{side}_model"].iloc[0].capitalize() for side in ("old", "new"))
    rows = [f"{'With' if outcome else 'Without'} HE, {strata[0][stratum]}" for outcome, stratum in grid.index]
    page = grid.astype(int).astype(str).set_axis([f"{new}: {strata[1][stratum]}" for stratum in grid], axis=1)
    page.insert(0, f"{old} model", rows)
    return page.reset_index(drop=True)


def first_page(table: pd.DataFrame) -> pd.DataFrame:
    """The table of the patients without what its notes say, and without the column of all where it has both sets."""
    names = table["Variable"].str.replace(r", (?:n \(%\)|median \(quartiles\))$", "", regex=True)
    both = {"Development", "Test"} <= set(table)
    return table.drop(columns=["All"] * both, errors="ignore").assign(Variable=names)


def missing_page(table: pd.DataFrame) -> pd.DataFrame:
    """Missing values in per cent."""
    return as_printed(table.assign(missing=[f"{100 * share:.1f}" for share in table["missing"]]))


def checklist_page(table: pd.DataFrame) -> pd.DataFrame:
    """A checklist without its answers; of the files those that a reader opens."""
    names = [one.split() for one in table["where"].str.replace(OTHER_FILES, "", regex=True)]
    return table.assign(where=[", ".join(Path(name).stem for name in row) for row in names])


def complete_cases_page(table: pd.DataFrame) -> pd.DataFrame:
    """The comparison with complete cases as a paper prints it."""
    words = [_step_words(name, step) for name, step in zip(table["name"], table["step"], strict=True)]
    shown = as_printed(table.drop(columns=["name", "step", "n", "events"]))
    shown.insert(0, "label", words)
    return shown


def model_formula(model: DevelopedModel) -> str:
    """The shrunk model as one line of LaTeX between dollar signs; coefficients per unit, four significant digits."""
    terms = [f"{model.intercept:.4g}"]
    for name, coefficient in zip(model.names, model.coefficients, strict=True):
        words = for_formula(coded_label(name))
        terms.append(rf"{'+' if coefficient >= 0 else '-'} {abs(coefficient):.4g}\;\mathrm{{{words}}}")
    return rf"$\mathrm{{logit}}\,p = {' '.join(terms)}$"


def coefficient_table(model: DevelopedModel) -> pd.DataFrame:
    """The terms of the formula: what each is counted in, its coefficient before and after shrinkage."""
    rows = [("Intercept", "", model.unshrunk_intercept, model.intercept)]
    both = zip(units(model).items(), model.unshrunk_coefficients, model.coefficients, strict=True)
    rows += [(coded_label(name), counted, before, after) for (name, counted), before, after in both]
    return as_printed(pd.DataFrame(rows, columns=["term", "counted", "before shrinkage", "in the formula"]), digits=4)


def units(model: DevelopedModel) -> dict[str, str]:
    """What each coefficient of the formula is counted in, by its coded column."""
    known = dict(zip(model.imputer.coding.names, model.imputer.knots, strict=True))
    # A column of the study's own has no unit that we know; values of a 0/1 column have no knots.
    others = {name: "1 if present, else 0" if known.get(name) is None else "per unit" for name in model.names}
    return {name: _counted(name, model.curves) or predictor_unit(name) or other for name, other in others.items()}


def _counted(name: str, curves: Mapping[str, Sequence[float]]) -> str:
    """What a coefficient of a curved term multiplies; empty for any other."""
    form, column = split_term(name.rstrip("'"))
    if form == SPLINE and name.endswith("'"):
        return f"bend with knots at {', '.join(f'{knot:g}' for knot in curves[name[:-1]])}"
    return {LOG: "natural logarithm", SPLINE: predictor_unit(column)}.get(form, "")


def _step_words(name: str, step: float, curves: Mapping[str, Sequence[float]] = NO_CURVES) -> str:
    """A coded column and the step that its odds ratio is for: "Systolic pressure, per 10 mmHg"."""
    form, column = split_term(name)
    unit = predictor_unit(column if form == SPLINE else name).removeprefix("per ")
    if form == SPLINE and name in curves:
        ends = f"{curves[name][-1]:.3g} against {curves[name][0]:.3g}"
        return f"{coded_label(name)}, {ends}{'' if unit in ('', 'point', 'unit') else f' {unit}'}"
    if form == SPLINE or not unit:
        return coded_label(name)
    several = f"{step:g} {'× ' * unit.startswith('10')}{unit}{'s' * (unit == 'point')}"
    return f"{coded_label(name)}, per {unit if step == 1 or form == LOG else several}"


def performance_table(models: Mapping[str, Any]) -> pd.DataFrame:
    """The models' table as a paper prints it: patients, events, estimates with 95 % intervals, rates in per cent."""
    rates, plain, records = ("accuracy", "sensitivity", "specificity", "ppv", "npv"), ("auc", "calibration_slope"), []
    for name, found in models.items():
        size = {"n": found["n"], "events": found["n_events"]} if "n" in found else {}  # absent from older studies
        percents = {rate: with_interval(found[rate], found[f"{rate}_ci"], scale=100.0, digits=1) for rate in rates}
        others = {figure: with_interval(found[figure], found[f"{figure}_ci"]) for figure in plain}
        records.append({"model": name, **size, **percents, **others})
    return pd.DataFrame(records, columns=list(records[0]) if records else ["model", "n", "events", *rates, "auc"])


def calibration_figures(models: Mapping[str, Any]) -> pd.DataFrame:
    """Level and spread of each model's predictions with 95 % intervals, and what the intervals say."""
    records = []
    for name, found in models.items():
        cells = {words: with_interval(found.get(key), found.get(f"{key}_ci")) for words, key in CALIBRATION.items()}
        cells["reading"] = calibration_reading(found)
        records.append({"model": name, "events": found.get("n_events"), **cells})
    return pd.DataFrame(records, columns=["model", "events", *CALIBRATION, "reading"])


def instability_summary(instability: pd.DataFrame) -> pd.DataFrame:
    """Instability of a model in one row: MAPE, width of the patients' ranges, how many change their class."""
    patients = instability[instability["kind"].eq("patient")]
    often, width = patients["changed"].gt(0.1), (patients["high"] - patients["low"]).median()
    cells = {"patients": len(patients), "mape": patients["mape"].iloc[0], "range_median": width}
    return pd.DataFrame([cells | {"changed_often": int(often.sum()), "changed_often_share": float(often.mean())}])


def updating_table(models: Mapping[str, Any], updates: Mapping[str, Any]) -> pd.DataFrame:
    """The frozen and the updated models side by side: the line, its tests, and the calibration of both."""
    words = {"method": "chosen", "intercept": "intercept", "slope": "slope of the line"}
    words |= {"p_any": "p_any", "p_slope": "p_slope"}
    parts, unchanged = [], {"intercept": 0.0, "slope of the line": 1.0}
    for name, found in updates.items():
        line = {column: found["update"][key] for key, column in words.items()}
        versions = {"frozen": (models[name], unchanged), "updated": (found["cross_validated"], line)}
        for version, (judged, cells) in versions.items():
            parts.append(calibration_figures({name: judged}).assign(version=version, **cells))
    order = ["model", "version", *words.values(), *CALIBRATION, "reading"]
    return pd.concat(parts, ignore_index=True).reindex(columns=order) if parts else pd.DataFrame(columns=order)


def transport_table(study: Mapping[str, Any], here: Mapping[str, Any], updates: Mapping[str, Any]) -> pd.DataFrame:
    """Whether each model holds: in the study's own test patients, frozen in the new ones, and there after an update.

    Parameters
    ----------
    study, here : mapping
        By model, what :func:`hepred_lib.stats.evaluation.evaluate` gives in either; models of `here` are listed.
    updates : mapping
        From :func:`hepred_lib.study.deployment.local_updates`.

    Returns
    -------
    DataFrame
        `model, place` (`study`, `here`, `updated`), `n, events`, `predicted` (mean probability), `observed` with its
        exact 95 % interval, `auc` with its interval, `observed_expected` with its interval, and `update`, the change
        that the closed test chose. NaN where a figure is not known; no row of the study without its figures.
    """
    rows = []
    for name in here:
        updated = updates.get(name, {})
        places = {"study": study.get(name), "here": here[name], "updated": updated.get("cross_validated")}
        for place, found in places.items():
            if not found:
                continue
            events, n = found["tp"] + found["fn"], found["tp"] + found["fn"] + found["fp"] + found["tn"]
            area, ratio = _with_limits(found, "auc"), _with_limits(found, "observed_expected")
            observed = events / n, *exact_interval(events, n)
            predicted = events / n / ratio[0] if ratio[0] else np.nan
            change = updated["update"]["method"] if place == "updated" else ""
            rows.append((name, place, n, events, predicted, *observed, *area, *ratio, change))
    order = ["model", "place", "n", "events", "predicted", "observed", "observed_low", "observed_high"]
    order += [f"{key}{end}" for key in ("auc", "observed_expected") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*order, "update"])


def transport_words(table: pd.DataFrame) -> str:
    """One sentence on whether the last model holds here; empty without a model."""
    if table.empty:
        return "No model could be judged here: there are no patients with a known outcome and the model's input."
    last = table[table["model"] == table["model"].iloc[-1]]
    shown, here = as_printed(last).set_index("place"), last.set_index("place").loc["here"]
    there = f", against {shown.loc['study', 'auc']} in the study's own patients" if "study" in shown.index else ""
    low, high = here["observed_expected_low"], here["observed_expected_high"]
    verdict = (
        "more patients expanded than predicted" if low > 1 else
        "fewer patients expanded than predicted" if high < 1 else
        "how many expand cannot be judged" if pd.isna(low) else
        "the frequency of expansion fits as far as these patients can tell"
    )  # fmt: skip
    said = f"{here['model'].capitalize()} model, frozen, in {here['n']} patients: **{verdict}**"
    said += f" ({percent(here['observed'], 0)} observed, {percent(here['predicted'], 0)} predicted; "
    said += f"ratio {shown.loc['here', 'observed_expected']}). AUC **{shown.loc['here', 'auc']}**{there}."
    if "updated" not in shown.index:
        return said + " No update could be fitted."
    update, after = shown.loc["updated", ["update", "observed_expected"]]
    if update == METHODS[0]:
        return said + " The closed test leaves the model as it is."
    return said + f" The closed test chooses a new {update}: cross-validated, the ratio becomes {after}."


def _with_limits(found: Mapping[str, Any], name: str) -> list[float]:
    """A figure of ``results.json`` and its limits; NaN for what is null."""
    return [np.nan if value is None else value for value in (found[name], *(found[f"{name}_ci"] or (None, None)))]


def comparison_table(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The paired tests of ``results.json`` with their limits in columns of their own."""
    figures = ["difference", "low", "high", "p", "p_closed"]
    pairs = [{**pair, **dict(zip(("low", "high"), pair["ci"] or (), strict=False))} for pair in comparisons]
    table = pd.DataFrame(pairs, columns=["a", "b", "data", "test", "n", "n_events", *figures])
    return table.astype(dict.fromkeys(figures, float)).rename(columns={"n_events": "events"})


def stacked(tables: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """The tables of several pairs of models as one, the pair in `first` and `second`; empty where there is no pair."""
    parts = [table.assign(first=first, second=second) for (first, second), table in tables.items()]
    return pd.concat([pd.DataFrame(columns=["first", "second"]), *parts], ignore_index=True)


def bedside_table(scores: Mapping[str, Any]) -> pd.DataFrame:
    """AUC of the published bedside scores with the number of patients behind each, NaN where it cannot be judged."""
    names = [name.replace("_", "-") if "_" in name else name.upper() for name in scores]
    rows = [(name, found["n"], *_with_limits(found, "auc")) for name, found in zip(names, scores.values(), strict=True)]
    figures = ["auc", "auc_low", "auc_high"]
    return pd.DataFrame(rows, columns=["score", "n", *figures]).astype(dict.fromkeys(figures, float))


def paper_comparison(models: Mapping[str, Any], *, n: int, events: int, simulated: bool) -> pd.DataFrame:
    """The published figures and this study's, as numbers: rates in per cent, the AUC as it is.

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
        if paper.model in models:
            scale, found = 1.0 if paper.figure == "auc" else 100.0, models[paper.model]
            theirs = [scale * value for value in (paper.value, paper.low, paper.high)]
            ours = [scale * value for value in _with_limits(found, paper.figure)]
            rows.append((paper.model, paper.figure, *theirs, paper.n, paper.events, *ours, n, events))
    sides = [f"{side}{end}" for side in ("published", "ours") for end in ("", "_low", "_high", "_n", "_events")]
    table = pd.DataFrame(rows, columns=["model", "figure", *sides])
    return table.assign(ours_are="simulated" if simulated else "real")


def printed_comparison(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `paper_comparison` as a paper prints them: one a model and figure, both studies side by side."""
    names = {"published": "Published", "ours": "Simulated" if table["ours_are"].eq("simulated").all() else "This study"}
    words = [f"{name.capitalize()} (%)".replace("Auc (%)", "AUC") for name in table["figure"]]
    shown = pd.DataFrame({"Model": table["model"].str.capitalize(), "Figure": words})
    for side, name in names.items():
        columns = [side, f"{side}_low", f"{side}_high"]
        digits = 1 + table["figure"].eq("auc")
        heading = f"{name} (n = {table[f'{side}_n'].iloc[0]}, {table[f'{side}_events'].iloc[0]} with HE)"
        cells = zip(table[columns].to_numpy(dtype=float), digits, strict=True)
        shown[heading] = [with_interval(value, limits, digits=places) for (value, *limits), places in cells]
    return shown


# Tables whose cells are more than `as_printed` of their columns.
PAGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "table1": first_page,
    "missing": missing_page,
    "univariable_multivariable_clinical": odds_ratios_page,
    "univariable_multivariable_integrated": odds_ratios_page,
    "complete_cases": complete_cases_page,
    "complete_cases_integrated": complete_cases_page,
    "reclassification": reclassification_page,
    "subgroups": subgroups_page,
    "updating": dashed_page,
    "internal_external": sites_page,
    "internal_external_integrated": sites_page,
    "tripod_ai": checklist_page,
}
CODES: dict[tuple[str, ...], Callable[[str], str]] = {
    ("name", "predictor", "column", "variable"): coded_label,
    ("predictors",): lambda names: " + ".join(map(coded_label, names.split(" + "))),
    ("model", "a", "b", "first", "second"): lambda name: name.capitalize() if name in MODELS else name,
    ("figure", "rate"): in_words,
    ("place",): lambda place: PLACES.get(place, place),
}
