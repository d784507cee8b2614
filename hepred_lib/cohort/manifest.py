"""A manifest from its file: every problem in it, or a clean table; outcomes, splits and folds; one patient's JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from hepred_lib.cohort.cells import Cells, looks_like_patient, near_names, read_cells
from hepred_lib.cohort.expansion import expansion_label
from hepred_lib.cohort.rules import (
    COLUMNS,
    MISSING_CODES,
    MISSING_WORDS,
    MONTHS,
    OLD_NAMES,
    OWN_NAMES,
    PATIENT_ID,
    SPLITS,
    WORDS,
    Column,
    Problem,
    column_problems,
    count_of,
    located,
    remedy_for,
)
from hepred_lib.disk import regular_bytes
from hepred_lib.errors import ManifestError, named
from hepred_lib.literal import shown

# --- reading: a manifest from its file, every problem in it, or a clean table

SHOWN = 20  # problems or patients in one message
SPOILT_ID = re.compile(rf"\d{{4}}-\d\d-\d\d|\d{{1,2}}-({MONTHS})|\d+E\d{{2,}}", re.I)
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def manifest_problems(manifest: str | os.PathLike | Cells, *, definition: str = "6ml_or_33pct") -> list[Problem]:
    """Everything wrong in a manifest itself, in the order of its lines; the files that it names need only exist.

    Problems of severity ``warn`` name what follows the rules and yet looks like a code for missing or another unit.

    Raises
    ------
    ValueError
        If the definition of expansion is unknown.
    """
    cells = manifest if isinstance(manifest, Cells) else read_cells(manifest)
    table, problems = _known_names(cells)
    if table is None:
        return problems
    found = _table_problems(table, cells.path)
    for line, expected in label_conflicts(_typed(table, cells.path.parent), definition).items():
        rule = f"be {expected} by the printed volumes and {definition}"
        remedy = "Correct the label or the volumes; leave he empty to have it computed"
        problem = Problem("he", rule, str(1 - expected), remedy, line=int(line))
        found += located([problem], cells.path.name, table["patient_id"])
    reported = {(problem.line, problem.column) for problem in problems if problem.severity == "refuse"}
    found = [problem for problem in found if (problem.line, problem.column) not in reported]
    return sorted([*problems, *found], key=lambda problem: problem.line)


def read_manifest(path: str | os.PathLike) -> pd.DataFrame:
    """A manifest as clean columns, every known column present, in the order of the file's rows.

    ``patient_id``, codes, text and paths are strings or missing (paths absolute, from the manifest's own folder); all
    else is float. A column that the rules do not know is float where all its values are numbers.

    Raises
    ------
    ManifestError
        With the problems that forbid its use, one a line: the first 20 and their count.
    """
    cells = read_cells(path)
    table, problems = _known_names(cells)
    if table is not None:
        problems = [*problems, *_table_problems(table, cells.path)]
    refused = sorted((p for p in problems if p.severity == "refuse"), key=lambda problem: problem.line)
    if refused:
        rest = len(refused) - SHOWN
        more = [f"... and {rest} more, {len(refused)} in all."] if rest > 0 else []
        raise ManifestError("\n".join([*map(str, refused[:SHOWN]), *more]))
    return _typed(table, cells.path.parent).reset_index(drop=True)


def valid_cells(manifest: str | os.PathLike | Cells) -> pd.DataFrame:
    """What can be read of a manifest, indexed by line: a cell that breaks its rule is missing."""
    cells = manifest if isinstance(manifest, Cells) else read_cells(manifest)
    table, _ = _known_names(cells)
    empty = pd.DataFrame(columns=["patient_id"], dtype="string")
    return _typed(empty if table is None else table, cells.path.parent)


def old_names(table: pd.DataFrame) -> dict[str, str]:
    """Columns that are read by a name of earlier versions, to the present one, where that is absent or empty."""
    given = {name for name in OLD_NAMES.values() if name in table and (table[name] != "").any()}
    return {old: new for old, new in OLD_NAMES.items() if old in table and new not in given}


def _known_names(cells: Cells) -> tuple[pd.DataFrame | None, list[Problem]]:
    """The table under the manifest's own names, and the problems so far with those of the names; None without one."""
    if cells.table is None:
        return None, list(cells.problems)
    header, line = list(cells.table), cells.header_line
    spelt = near_names(header, COLUMNS)
    meant = list(spelt.values())
    near = {got: name for got, name in spelt.items() if name not in header and meant.count(name) == 1}
    problems = [
        Problem("the header", f"spell {name}", got, f"Rename the column, or map it: {got}: {name}", line=line)
        for got, name in spelt.items()
    ]
    for got in (name for name in header if name not in COLUMNS and name not in near):
        close = get_close_matches(got, COLUMNS, n=1, cutoff=0.9)
        if close and close[0] not in header:
            rule, value = "have the rules' names, or others that resemble none", f"{got}, close to {close[0]}"
            remedy = f"Rename it to {close[0]} if it is meant"
            problems.append(Problem("the header", rule, value, remedy, "warn", line))
    old = old_names(cells.table)
    table = cells.table.drop(columns=list(old.values()), errors="ignore").rename(columns=near | old)
    own = "leave the names of the study's own columns to it"
    problems += [Problem("the header", own, got, "Rename the column", line=line) for got in table if got in OWN_NAMES]
    if "patient_id" not in table:
        table, pseudonym = None, next(filter(looks_like_patient, header), "")
        remedy = f"Rename {pseudonym}, if it is the pseudonym, or map it: {pseudonym}: patient_id"
        if not pseudonym:
            start = "start a mapping by hepred check FILE --suggest-mapping MAP"
            remedy = f"Name the column of the pseudonyms patient_id, or {start}"
        value = f"the header {','.join(header)[:80]}"
        problems = [Problem("the table", "have a patient_id column", value, remedy)]
    return table, [*cells.problems, *located(problems, cells.path.name)]


def _table_problems(table: pd.DataFrame, path: Path) -> list[Problem]:
    """Broken rules and doubtful values of single columns, then identifiers and splits."""
    of_columns: list[Problem] = []
    of_rows: list[Problem] = []
    for name in table:
        column, text = COLUMNS.get(name), table[name]
        if column is None or column.kind == "text":
            of_columns += _words_for_missing(text, column is not None)
            continue
        if column.is_number:
            numbers = _numbers(text)
            found = list(column_problems(column, numbers))
            of_columns += found
            # One problem for the whole column takes the place of those of its numbers.
            whole = any(problem.severity == "refuse" for problem in found)
            wrong = (text != "") & (numbers.isna() if whole else ~column.follows(numbers))
        elif column.kind == "id":
            wrong = ~text.str.fullmatch(PATIENT_ID)
        elif column.kind == "path":
            wrong = (text != "") & ~text.map(lambda cell: os.path.isfile(path.parent / cell)).astype(bool)
        else:
            wrong = (text != "") & ~text.isin(column.allowed)
        for line, value in text[wrong].str[:80].items():
            remedy = remedy_for(column, value) if value else ""
            if column.kind == "path" and os.path.isdir(path.parent / value):
                remedy = "It is a folder: name the NIfTI file in it, or use hepred import-dicom for a folder of DICOM"
            of_rows.append(Problem(name, column.requirement, value or "nothing", remedy, line=int(line)))
    of_rows += [*_doubtful_names(table["patient_id"]), *_identity_problems(table)]
    named = [name for name in table["patient_id"] if name in COLUMNS]
    if len(named) > 1:
        value, remedy = f"rows called {named[0]} and {named[1]}", "Exchange rows and columns (transpose the table)"
        of_columns.append(Problem("the table", "have one row per patient", value, remedy))
    return [*located(of_columns, path.name), *located(of_rows, path.name, table["patient_id"])]


def _words_for_missing(text: pd.Series, known: bool) -> Iterator[Problem]:
    """Words for missing in a text column, which make one more group, or make text of a column of numbers."""
    words = text[text.str.casefold().isin(MISSING_WORDS)]
    rest = text[(text != "") & ~text.index.isin(words.index)]
    if len(words) and (known or _numbers(rest).notna().all()):
        value = f"{words.iloc[0]} in {count_of(len(words), 'row')}"
        remedy = "Leave the cell empty where the value is not known"
        yield Problem(str(text.name), "name no word for missing", value, remedy, "warn", int(words.index[0]))


def _doubtful_names(names: pd.Series) -> Iterator[Problem]:
    """Identifiers that a spreadsheet has changed, and rows that are of no patient."""
    for line, name in names.items():
        word, severity = name.casefold(), "warn"
        if word in WORDS["summary"]:
            severity, value, remedy = "refuse", f"{name}, as in a row of summaries", "Delete the row"
        elif word in MISSING_WORDS:
            value, remedy = f"{name}, a word for missing", "Give the patient a pseudonym"
        elif SPOILT_ID.fullmatch(name):
            value = f"{name}, which looks like a date or a long number"
            remedy = "A spreadsheet may have changed it: format the column as text"
        else:
            continue
        yield Problem("patient_id", "be a pseudonym", value, remedy, severity, int(line))


def _identity_problems(cells: pd.DataFrame) -> Iterator[Problem]:
    """Patients that are there twice, in both splits, or outside a split that others have."""
    twice = cells["patient_id"].duplicated(keep=False) & (cells["patient_id"] != "")
    for _, rows in cells[twice].groupby("patient_id"):
        first, *again = rows.index
        once = "Keep one row per patient, or give two patients two pseudonyms"
        for line in again:
            yield Problem("patient_id", "be unique", f"it on line {first} too", once, line=int(line))
        splits = sorted(set(rows.get("split", "")) - {""})
        if len(splits) > 1:
            value, remedy = " and ".join(splits), "Keep all rows of a patient in one set"
            yield Problem("split", "be one for a patient", value, remedy, line=int(again[0]))
    if "split" in cells and (cells["split"] != "").any():
        rule, remedy = "be given for all patients or for none", "Fill in development or test, or empty the column"
        for line in cells.index[cells["split"] == ""]:
            yield Problem("split", rule, "nothing", remedy, line=int(line))


def _typed(cells: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Text cells as numbers, absolute paths and strings; cells that break their rule become missing."""
    columns = {}
    for name in [*COLUMNS, *(name for name in cells.columns if name not in COLUMNS)]:
        column = COLUMNS.get(name)
        if name not in cells:
            columns[name] = pd.Series(np.nan, cells.index, dtype=float if COLUMNS[name].is_number else "string")
            continue
        columns[name] = text = cells[name].mask(cells[name] == "")
        if column is None or column.is_number:
            numbers = _numbers(text)
            if column is not None:
                columns[name] = numbers.where(column.follows(numbers))
            elif numbers.notna().equals(text.notna()):
                columns[name] = numbers
        elif column.kind == "path":
            columns[name] = text.map(lambda value: os.path.abspath(folder / value), na_action="ignore").astype("string")
    return pd.DataFrame(columns, index=cells.index)


def _numbers(text: pd.Series) -> pd.Series:
    """Plain decimal numbers; NaN for whatever else Python would read as one (inf, 1_000, digits of other scripts)."""
    values = [float(cell) if isinstance(cell, str) and NUMBER.fullmatch(cell) else np.nan for cell in text.tolist()]
    return pd.Series(values, index=text.index, dtype=float)


# --- labels: the outcome of every patient, and who belongs to which split and fold

MIN_CLASS_PER_FOLD = 2  # patients with, and patients without expansion


def derive_labels(table: pd.DataFrame, *, definition: str = "6ml_or_33pct") -> pd.DataFrame:
    """The table with ``he`` filled from the volumes where it is empty; rows without an outcome stay missing.

    Raises
    ------
    ManifestError
        If a printed ``he`` contradicts the printed volumes; the patients are named.
    """
    conflicts = label_conflicts(table, definition)
    if len(conflicts):
        patients = ", ".join(table.loc[conflicts.index, "patient_id"].astype(str)[:SHOWN])
        raise ManifestError(
            f"he must follow from the volumes by {definition}, got the opposite in {len(conflicts)} rows: {patients}. "
            "Leave he empty to have it computed."
        )
    return table.assign(he=table["he"].fillna(_volume_labels(table, definition)))


def split_patients(table: pd.DataFrame, *, seed: int, test_fraction: float = 0.25) -> pd.Series:
    """``development`` or ``test`` for every row: the given column, or a draw stratified on ``he``.

    Rows without an outcome are a stratum of their own, so that they never move the others. A quarter of 20 patients
    with and of 48 without expansion is 5 and 12, whatever the seed.

    Parameters
    ----------
    table : DataFrame
        ``patient_id``, ``he`` (see :func:`derive_labels`) and ``split``, given for all rows or for none.
    seed : int
        Of the draw.
    test_fraction : float
        Share of every stratum that becomes test, rounded half up; 0 for a study without test patients.

    Returns
    -------
    Series of str
        On the table's index.

    Raises
    ------
    ManifestError
        If development or test would lack patients with, or patients without expansion.
    """
    if not 0.0 <= test_fraction < 1.0:
        raise ManifestError(f"test_fraction must be 0 or lie between 0 and 1, got {test_fraction}.")
    if table["split"].notna().all():
        split = table["split"].astype("string")
    else:
        split = pd.Series("development", index=table.index, dtype="string", name="split")
        for rows in _shuffled_strata(table, seed):
            split[rows[: int(test_fraction * len(rows) + 0.5)]] = "test"
    for name in SPLITS if test_fraction or split.eq("test").any() else ("development",):
        _require_both_classes(table.loc[split == name, "he"], 1, f"the {name} set")
    return split


def assign_folds(table: pd.DataFrame, *, folds: int, seed: int) -> pd.Series:
    """The cross-fitting fold (0 to ``folds`` - 1) of every development row, stratified on ``he``; -1 for test rows.

    Parameters
    ----------
    table : DataFrame
        ``patient_id``, ``he`` and ``split`` (see :func:`split_patients`).
    folds : int
        How many; their sizes, and their numbers of patients with expansion, differ by one at most.
    seed : int
        Of the draw.

    Returns
    -------
    Series of int
        On the table's index.

    Raises
    ------
    ManifestError
        If there are fewer than two folds, or a fold would hold fewer than two patients with or without expansion.
    """
    if folds < 2:
        raise ManifestError(f"folds must be >= 2, got {folds}.")
    fold = pd.Series(-1, index=table.index, dtype="int64", name="fold")
    development = table[table["split"] == "development"]
    _require_both_classes(development["he"], folds * MIN_CLASS_PER_FOLD, f"the development set, for {folds} folds,")
    drawn = np.concatenate(_shuffled_strata(development, seed))
    fold[drawn] = np.arange(len(drawn)) % folds
    return fold


def _volume_labels(table: pd.DataFrame, definition: str) -> pd.Series:
    """The label that the volumes give, missing where they do not suffice."""
    names = ["baseline_volume_ml", "followup_volume_ml"]
    ventricles = ["baseline_ivh_ml", "followup_ivh_ml"] if definition == "revised" else []
    rows = table[names + ventricles].dropna()
    ivh = {name: rows[name].to_numpy() for name in ventricles}
    labels = expansion_label(*(rows[name].to_numpy() for name in names), **ivh, definition=definition)
    return pd.Series(labels, index=rows.index, dtype=float).reindex(table.index)


def label_conflicts(table: pd.DataFrame, definition: str) -> pd.Series:
    """The label that the volumes give, for rows whose printed one is the other."""
    expected = _volume_labels(table, definition)
    return expected[expected.notna() & table["he"].notna() & (expected != table["he"])].astype(int)


def _shuffled_strata(table: pd.DataFrame, seed: int) -> list[np.ndarray]:
    """Index labels of the rows with, without and of unknown expansion, each shuffled from the order of identifiers."""
    ordered = table.sort_values("patient_id")
    strata = (ordered["he"] == 1, ordered["he"] == 0, ordered["he"].isna())
    return [np.random.default_rng([seed, k]).permutation(ordered.index[rows]) for k, rows in enumerate(strata)]


def _require_both_classes(he: pd.Series, least: int, where: str) -> None:
    for value, words in ((1, "with"), (0, "without")):
        count = int((he == value).sum())
        if count < least:
            raise ManifestError(
                f"{where} must hold at least {least} patients {words} expansion, got {count} of {he.notna().sum()}; "
                "folds and test_fraction (0 holds out nobody) decide how many are needed and how many it gets."
            )


# --- the bedside values of one patient from a JSON file, by the rules of the manifest

LARGEST_BYTES = 1_000_000
LONGEST_VALUE = 60  # signs of a value that a message cites


def read_bedside(path: str | os.PathLike, *, others: Collection[str] = ()) -> dict[str, Any]:
    """A patient's bedside values from a JSON object of manifest columns; null means missing.

    Parameters
    ----------
    path : path
    others : collection of str
        Columns beyond those of the rules, such as a study's own: any number or text.

    Raises
    ------
    ManifestError
        In one line: the file is no JSON object, has a name twice or an unknown one, or a value that breaks its rule.
    """
    path = Path(path)
    try:
        text = regular_bytes(path, LARGEST_BYTES).decode("utf-8-sig")
        values = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_number)
        if not isinstance(values, dict):
            kind = {"list": "a list", "str": "a text", "NoneType": "null"}.get(type(values).__name__, "a number")
            raise ValueError(kind)
    except FileNotFoundError as error:
        raise ManifestError(f"cannot read {path}: no such file.") from error
    except (OSError, ValueError, RecursionError) as error:
        form = 'a JSON object of manifest columns in UTF-8, such as {"age": 71}'
        raise ManifestError(f"{path.name} must be {form}, got {shown(error, 200).rstrip('.')}.") from error
    for name, value in values.items():
        with named(f"{path.name}:"):
            kind = "text" if isinstance(value, str) else "number"
            _require_value(name, value, Column(name, kind, "", -1e12, 1e12) if name in others else None)
    return values


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for written, value in pairs:
        name = OLD_NAMES.get(written, written)
        if name in told:
            raise ValueError(f"the name {json.dumps(name)[:LONGEST_VALUE]} twice")
        told[name] = value
    return told


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} (write null where a value is not known)")


def _require_value(name: str, value: Any, other: Column | None) -> None:
    """Refuse a name that is no column, and a value that breaks the rule of its column."""
    column = COLUMNS.get(name, other)
    if column is None:
        close = get_close_matches(name.lower().replace(" ", "_"), COLUMNS, n=1)
        got = f"{json.dumps(name)[:LONGEST_VALUE]} ({f'closest: {close[0]}' if close else 'see hepred check --rules'})"
        raise ManifestError(f"every name must be a column of the manifest, got {got}.")
    if column.is_number:
        plain = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        fits = plain and bool(column.follows(pd.Series([float(value)])).item())
    else:
        fits = isinstance(value, str) and (not column.allowed or value in column.allowed)
    if value is not None and not fits:
        remedy = _remedy(column, value)
        got = json.dumps(value)[:LONGEST_VALUE] + f". {remedy}" * bool(remedy)
        raise ManifestError(f"{name} must {column.requirement}, got {got}.")


def _remedy(column: Column, value: Any) -> str:
    """What to do, for a file that has no empty cells and no mapping."""
    if isinstance(value, bool):
        return f"Write {int(value)}" if column.kind == "binary" else ""
    if not isinstance(value, str | int | float):
        return "Write one number or text"
    text = value.strip() if isinstance(value, str) else str(value) if abs(value) < 1e15 else "a huge number"
    if text.casefold() in MISSING_WORDS or value in MISSING_CODES or not text:
        return "Write null where the value is not known"
    if isinstance(value, str) and column.is_number and NUMBER.fullmatch(text):
        return f"Write {float(text):g} without quotation marks"
    return remedy_for(column, text).partition(", or map")[0]
