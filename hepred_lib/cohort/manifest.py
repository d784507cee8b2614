"""A manifest from its file: every problem in it, or a clean table."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import replace
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
    PATIENT_ID,
    SPLITS,
    WORDS,
    Column,
    ManifestError,
    Problem,
    doubtful,
    remedy_for,
    wrong_throughout,
)
from hepred_lib.imaging.nifti import UnreadableError, regular_bytes

# --- bedside: The bedside values of one patient from a JSON file, by the rules of the manifest

LARGEST_BYTES = 1_000_000
SHOWN = 60


def read_bedside(path: str | os.PathLike) -> dict[str, Any]:
    """A patient's bedside values from a JSON object of manifest columns; null means missing.

    Raises
    ------
    ManifestError
        In one line: the file is no JSON object, has a name twice or an unknown one, or a value that breaks its rule.
    """
    path = Path(path)
    text = _text(path)
    try:
        values = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_number)
    except _NotAllowedError as error:
        raise ManifestError(f"{path.name} must {error}.") from None
    except RecursionError:
        raise ManifestError(f"{path.name} must be a JSON object of numbers and texts, got one too deep.") from None
    except json.JSONDecodeError as error:
        raise ManifestError(f"{path.name} must be JSON, got a fault on line {error.lineno}: {error.msg}.") from error
    except ValueError as error:  # a whole number of more digits than Python converts
        raise ManifestError(f"{path.name} must have numbers of a sensible length, got {error}.") from error
    if not isinstance(values, dict):
        kind = {"list": "a list", "str": "a text", "NoneType": "null"}.get(type(values).__name__, "a number")
        raise ManifestError(
            f'{path.name} must be a JSON object of manifest columns, such as {{"age": 71}}, got {kind}.'
        )
    for name, value in values.items():
        _require_known(path, name)
        if value is not None and not _fits(COLUMNS[name], value):
            got, remedy = json.dumps(value)[:SHOWN], _remedy(COLUMNS[name], value)
            ending = f" {remedy}." if remedy else ""
            raise ManifestError(f"{path.name}: {name} must {COLUMNS[name].requirement}, got {got}.{ending}")
    return values


class _NotAllowedError(Exception):
    """What JSON allows, or Python's reader of it, and a patient's values do not: the words after "must"."""


def _text(path: Path) -> str:
    try:
        content = regular_bytes(path, LARGEST_BYTES)
    except FileNotFoundError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}.") from error
    except UnreadableError as error:
        raise ManifestError(f"{path.name} must be a JSON file of one patient's values, got {error}.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        got = f"byte 0x{content[error.start]:02x} at position {error.start + 1}"
        raise ManifestError(f"{path.name} must be JSON in UTF-8, got {got}.") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in pairs:
        if name in told:
            raise _NotAllowedError(f"have every name once, got {json.dumps(name)[:SHOWN]} twice")
        told[name] = value
    return told


def _no_number(word: str) -> NoReturn:
    raise _NotAllowedError(f"have finite numbers, got {word} (write null where a value is not known)")


def _require_known(path: Path, name: str) -> None:
    if name not in COLUMNS:
        close = get_close_matches(name.lower().replace(" ", "_"), COLUMNS, n=1)
        hint = f"closest: {close[0]}" if close else "see hepred check --rules"
        shown = json.dumps(name)[:SHOWN]
        raise ManifestError(f"{path.name}: every name must be a column of the manifest, got {shown} ({hint}).")


def _fits(column: Column, value: Any) -> bool:
    """Whether a value has the type and the range of its column."""
    if column.kind in ("code", "text", "path", "id"):
        return isinstance(value, str) and (not column.allowed or value in column.allowed)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = (-math.inf if column.low is None else column.low), (math.inf if column.high is None else column.high)
    whole = column.kind == "number" or value == round(value) if abs(value) < math.inf else False
    return whole and low <= value <= high


def _remedy(column: Column, value: Any) -> str:
    """What to do, for a file that has no empty cells and no mapping."""
    if isinstance(value, bool):
        return f"Write {int(value)}" if column.kind == "binary" else ""
    if not isinstance(value, str | int | float):
        return "Write one number or text"
    text = value.strip() if isinstance(value, str) else str(value) if abs(value) < 1e15 else "a huge number"
    if text.casefold() in MISSING_WORDS or value in MISSING_CODES or not text:
        return "Write null where the value is not known"
    if isinstance(value, str) and column.kind not in ("code", "text", "path", "id"):
        try:
            return f"Write {float(value):g} without quotation marks" if math.isfinite(float(value)) else ""
        except ValueError:
            pass
    return remedy_for(column, text).partition(", or map")[0]


# --- labels: The outcome of every patient, and who belongs to which split and fold

MIN_CLASS_PER_FOLD = 2  # patients with, and patients without expansion
SHOWN_PATIENTS = 20


def derive_labels(table: pd.DataFrame, *, definition: str = "6ml_or_33pct") -> pd.DataFrame:
    """The table with ``he`` filled from the volumes where it is empty; rows without an outcome stay missing.

    Raises
    ------
    ManifestError
        If a printed ``he`` contradicts the printed volumes; the patients are named.
    """
    conflicts = label_conflicts(table, definition)
    if len(conflicts):
        patients = ", ".join(table.loc[conflicts.index, "patient_id"].astype(str)[:SHOWN_PATIENTS])
        raise ManifestError(
            f"he must follow from the volumes by {definition}, got the opposite in {len(conflicts)} rows: {patients}."
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
        Share of every stratum that becomes test, rounded half up.

    Returns
    -------
    Series of str
        On the table's index.

    Raises
    ------
    ManifestError
        If development or test would lack patients with, or patients without expansion.
    """
    if not 0.0 < test_fraction < 1.0:
        raise ManifestError(f"test_fraction must lie between 0 and 1, got {test_fraction}.")
    if table["split"].notna().all():
        split = table["split"].astype("string")
    else:
        split = pd.Series("development", index=table.index, dtype="string", name="split")
        for rows in _shuffled_strata(table, seed):
            split[rows[: int(test_fraction * len(rows) + 0.5)]] = "test"
    for name in SPLITS:
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
                f"{where} must hold at least {least} patients {words} expansion, got {count} of {he.notna().sum()}."
            )


# --- reading: A manifest from its file: every problem in it, or a clean table

SHOWN_PROBLEMS = 20
SPOILT_ID = re.compile(
    r"\d{4}-\d\d-\d\d|\d{1,2}-(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])|\d+E\d{2,}", re.I
)
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def manifest_problems(path: str | os.PathLike, *, definition: str = "6ml_or_33pct") -> list[Problem]:
    """Everything wrong in a manifest itself, in the order of its lines; the named files need only exist.

    Raises
    ------
    ValueError
        If the definition of expansion is unknown.
    """
    return cells_problems(read_cells(path), definition=definition)


def cells_problems(cells: Cells, *, definition: str = "6ml_or_33pct") -> list[Problem]:
    """Everything wrong in a manifest of which the cells were read, those of its form included.

    Problems of severity ``warn`` name what follows the rules and yet looks like a code for missing or another unit.

    Raises
    ------
    ValueError
        If the definition of expansion is unknown.
    """
    table, problems = _known_names(cells)
    if table is None:
        return problems
    found = _table_problems(table, cells.path)
    for line, expected in label_conflicts(_typed(table, cells.path.parent), definition).items():
        rule = f"be {expected} by the printed volumes and {definition}"
        remedy = "Correct the label or the volumes; leave he empty to have it computed"
        found.append(Problem("", line, "he", table.at[line, "patient_id"], rule, str(1 - expected), remedy=remedy))
    reported = {(problem.line, problem.column) for problem in problems if problem.severity == "refuse"}
    found = [replace(p, file=cells.path.name) for p in found if (p.line, p.column) not in reported]
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
        problems = [*problems, *(replace(p, file=cells.path.name) for p in _table_problems(table, cells.path))]
    refused = [problem for problem in problems if problem.severity == "refuse"]
    if refused:
        raise ManifestError(_listed(sorted(refused, key=lambda problem: problem.line)))
    return _typed(table, cells.path.parent).reset_index(drop=True)


def read_valid_cells(path: str | os.PathLike) -> pd.DataFrame:
    """What can be read of a manifest with faults, indexed by line: a cell that breaks its rule is missing."""
    return valid_cells(read_cells(path))


def valid_cells(cells: Cells) -> pd.DataFrame:
    """What can be read of these cells, indexed by line: one that breaks its rule is missing."""
    table, _ = _known_names(cells)
    empty = pd.DataFrame(columns=["patient_id"], dtype="string")
    return _typed(empty if table is None else table, cells.path.parent)


def _known_names(cells: Cells) -> tuple[pd.DataFrame | None, list[Problem]]:
    """The table under the manifest's own names, and the problems so far with those of the names; None without one."""
    if cells.table is None:
        return None, list(cells.problems)
    file, header, line = cells.path.name, list(cells.table), cells.header_line
    near = {got: known for got, known in near_names(header, COLUMNS).items() if known not in header}
    near = {got: known for got, known in near.items() if list(near.values()).count(known) == 1}
    problems = [
        Problem(
            file, 1, "the header", "", f"spell {known}", got, remedy=f"Rename the column, or map it: {got}: {known}"
        )
        for got, known in near_names(header, COLUMNS).items()
    ]
    for got in header:
        close = get_close_matches(got, COLUMNS, n=1, cutoff=0.9)
        if close and got not in COLUMNS and got not in near and close[0] not in header:
            rule = "have the rules' names, or others that resemble none"
            remedy = f"Rename it to {close[0]} if it is meant"
            problems.append(Problem(file, line, "the header", "", rule, f"{got}, close to {close[0]}", "warn", remedy))
    table = cells.table.rename(columns=near)
    if "patient_id" not in table:
        return None, [*cells.problems, _without_identifier(cells)]
    return table, [*cells.problems, *problems]


def _without_identifier(cells: Cells) -> Problem:
    """The fault of a table without patient_id, with the column that may be meant."""
    header = list(cells.table)
    remedy = (
        "Name the column of the pseudonyms patient_id, or start a mapping by hepred check FILE --suggest-mapping MAP"
    )
    meant = [name for name in header if looks_like_patient(name)]
    if meant:
        remedy = f"Rename {meant[0]}, if it is the pseudonym, or map it: {meant[0]}: patient_id"
    value = f"the header {','.join(header)[:80]}"
    return Problem(cells.path.name, 0, "the table", "", "have a patient_id column", value, remedy=remedy)


def _table_problems(table: pd.DataFrame, path: Path) -> list[Problem]:
    """Broken rules and doubtful values of single columns, then identifiers and splits."""
    problems = []
    for name in table:
        column = COLUMNS.get(name)
        if column is None or column.kind == "text":
            problems += _words_for_missing(table[name], column is not None)
        elif column.kind in ("number", "integer", "binary"):
            problems += _number_problems(table, column)
        else:
            problems += _text_problems(table, column, path)
    return problems + _identity_problems(table)


def _number_problems(table: pd.DataFrame, column: Column) -> Iterator[Problem]:
    """Numbers of one column that break its rule or look like something else."""
    text = table[column.name]
    numbers = _numbers(text)
    follows = _follows(numbers, column)
    throughout = wrong_throughout(column, numbers, follows)
    if throughout is not None:
        yield throughout
    for line in text.index[(text != "") & ~follows]:
        if throughout is None or np.isnan(numbers[line]):
            value = text[line][:80]
            remedy = remedy_for(column, value)
            patient = str(table.at[line, "patient_id"])
            yield Problem("", int(line), column.name, patient, column.requirement, value, remedy=remedy)
    if throughout is None:
        yield from doubtful(column, numbers.where(follows))


def _text_problems(table: pd.DataFrame, column: Column, path: Path) -> Iterator[Problem]:
    """Identifiers, codes and paths of one column that break its rule."""
    text = table[column.name]
    if column.kind == "id":
        wrong = ~text.str.fullmatch(PATIENT_ID)
    elif column.kind == "path":
        wrong = pd.Series([cell != "" and not os.path.isfile(path.parent / cell) for cell in text.tolist()], text.index)
    else:
        wrong = (text != "") & ~text.isin(column.allowed)
    for line, value in text[wrong].items():
        patient = "" if column.kind == "id" else str(table.at[line, "patient_id"])
        remedy = remedy_for(column, value) if value else ""
        value = value[:80] or "nothing"
        yield Problem("", int(line), column.name, patient, column.requirement, value, remedy=remedy)


def _words_for_missing(text: pd.Series, known: bool) -> Iterator[Problem]:
    """Words for missing in a text column, which make one more group, or make text of a column of numbers."""
    words = text[text.str.casefold().isin(MISSING_WORDS)]
    rest = text[(text != "") & ~text.index.isin(words.index)]
    if words.empty or not (known or _numbers(rest).notna().all()):
        return
    value = f"{words.iloc[0]} in {len(words)} row{'s'[: len(words) != 1]}"
    remedy = "Leave the cell empty where the value is not known"
    yield Problem("", int(words.index[0]), str(text.name), "", "name no word for missing", value, "warn", remedy)


def _follows(numbers: pd.Series, column: Column) -> pd.Series:
    """Whether numbers are finite, in range, and whole where the column asks for it."""
    good = pd.Series(np.isfinite(numbers), index=numbers.index)
    if column.low is not None:
        good &= numbers >= column.low
    if column.high is not None:
        good &= numbers <= column.high
    return good & (numbers == numbers.round()) if column.kind in ("integer", "binary") else good


def _doubtful_names(names: pd.Series) -> Iterator[Problem]:
    """Identifiers that a spreadsheet has changed, and rows that are of no patient."""
    words = names.str.casefold()
    for line in names.index[names.str.fullmatch(SPOILT_ID) | words.isin(WORDS["summary"] | MISSING_WORDS)]:
        name = names[line]
        rule, severity, remedy = "be a pseudonym", "warn", "Give the patient a pseudonym"
        value = f"{name}, a word for missing"
        if words[line] in WORDS["summary"]:
            severity, value, remedy = "refuse", f"{name}, as in a row of summaries", "Delete the row"
        elif words[line] not in MISSING_WORDS:
            value = f"{name}, which looks like a date or a long number"
            remedy = "A spreadsheet may have changed it: format the column as text"
        yield Problem("", int(line), "patient_id", name, rule, value, severity, remedy)


def _identity_problems(cells: pd.DataFrame) -> list[Problem]:
    """Patients that are there twice, in both splits, or outside a split that others have."""
    problems = []
    problems += _doubtful_names(cells["patient_id"])
    twice = cells["patient_id"].duplicated(keep=False) & (cells["patient_id"] != "")
    for patient, rows in cells[twice].groupby("patient_id"):
        first, *again = rows.index
        once = "Keep one row per patient, or give two patients two pseudonyms"
        problems += [
            Problem("", k, "patient_id", patient, "be unique", f"it on line {first} too", remedy=once) for k in again
        ]
        splits = sorted(set(rows.get("split", "")) - {""})
        if len(splits) > 1:
            value, remedy = " and ".join(splits), "Keep all rows of a patient in one set"
            problems.append(Problem("", again[0], "split", patient, "be one for a patient", value, remedy=remedy))
    if "split" in cells and (cells["split"] != "").any():
        empty = cells.index[cells["split"] == ""]
        rule, remedy = "be given for all patients or for none", "Fill in development or test, or empty the column"
        patients = cells["patient_id"]
        problems += [Problem("", k, "split", patients[k], rule, "nothing", remedy=remedy) for k in empty]
    return problems


def _typed(cells: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Text cells as numbers, absolute paths and strings; cells that break their rule become missing."""
    columns = {}
    no_text, no_number = (pd.Series(np.nan, cells.index, dtype=dtype) for dtype in ("string", float))
    for name in [*COLUMNS, *(name for name in cells.columns if name not in COLUMNS)]:
        kind = COLUMNS[name].kind if name in COLUMNS else "extra"
        if name not in cells:
            columns[name] = no_number if kind in ("number", "integer", "binary") else no_text
            continue
        text = cells[name].mask(cells[name] == "")
        numbers = _numbers(text) if kind in ("number", "integer", "binary", "extra") else None
        if kind == "path":
            columns[name] = text.map(lambda value: os.path.abspath(folder / value), na_action="ignore").astype("string")
        elif numbers is None or (kind == "extra" and not numbers.notna().equals(text.notna())):
            columns[name] = text
        else:
            columns[name] = numbers.where(_follows(numbers, COLUMNS[name])) if name in COLUMNS else numbers
    return pd.DataFrame(columns, index=cells.index)


def _numbers(text: pd.Series) -> pd.Series:
    """Plain decimal numbers; NaN for whatever else Python would read as one (inf, 1_000, digits of other scripts)."""
    values = [float(cell) if isinstance(cell, str) and NUMBER.fullmatch(cell) else np.nan for cell in text.tolist()]
    return pd.Series(values, index=text.index, dtype=float)


def _listed(problems: list[Problem]) -> str:
    shown = [str(problem) for problem in problems[:SHOWN_PROBLEMS]]
    rest = len(problems) - len(shown)
    return "\n".join([*shown, *([f"... and {rest} more, {len(problems)} in all."] if rest else [])])
