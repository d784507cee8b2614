"""A table for machines and the same table for a page: CSV with every digit, LaTeX with those that a reader needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.results.wording import NOT_ESTIMABLE, p_value, with_interval
from hepred_lib.study import write_printed, write_table


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
