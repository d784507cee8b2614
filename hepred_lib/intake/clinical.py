"""The clinical table of an import: whose row is whose, with nothing in it that names a patient.

Rows are joined by PatientID, exactly. What nearly joins (a zero that a spreadsheet dropped, ``77.0``) is refused: a
row that joins nobody, or somebody else, would be found by no later check. Messages name lines, never the numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from hepred_lib.cohort.cells import near_names, read_cells
from hepred_lib.cohort.rules import COLUMNS, PATIENT_ID, Problem
from hepred_lib.errors import ManifestError
from hepred_lib.intake.spreadsheet import HOSPITAL_NUMBER, IDENTIFYING, apply_mapping, load_mapping

NAME, KEY = "patient_id", HOSPITAL_NUMBER
MADE = ("baseline_ct", "followup_ct", "ct_to_followup_h")
SHOWN = 20  # lines or problems in one message
FOLDER = "identifying"  # of an import: all that names a patient

_DATE = re.compile(
    r"(19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}\b.*|\d{1,2}[-/.]\d{1,2}[-/.](19|20)?\d\d\b.*"
    r"|(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{4,6})?|.*[12]\d{3}[年년].*"
)
_SCIENTIFIC = re.compile(r"\d([.,]\d+)?e\+?\d+", re.IGNORECASE)
_VALUE = re.compile(r"([-+]?\d{1,5}([.,]\d*)?)?")
_SHORT_ID = 4  # characters: a number as short may stand in a column by chance


class Person(NamedTuple):
    """What the headers say of one PatientID, to find it in a table: names, birth dates, identifiers of studies."""

    names: frozenset[str] = frozenset()
    birth_dates: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Clinical:
    """A clinical table.

    Attributes
    ----------
    file : str
        Its name.
    table : DataFrame
        Text by line: the columns for the manifest.
    ids : Series of str
        PatientID by line; empty where the table says none.
    pseudonyms : Series of str
        The name in the manifest by line; empty where it is still to be made.
    key : str
        The column that the PatientIDs come from.
    notes : tuple of str
        What should be known, one line each.
    chosen : bool
        Whether a mapping has named the columns.
    """

    file: str
    table: pd.DataFrame
    ids: pd.Series
    pseudonyms: pd.Series
    key: str
    notes: tuple[str, ...] = ()
    chosen: bool = False

    def lines(self, wrong: pd.Series) -> str:
        """Where a condition holds, for a message: "line 3 of bedside.csv"."""
        found = [str(line) for line in wrong.index[wrong]]
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return f"line{'s' * (len(found) > 1)} {', '.join(found[:SHOWN])}{more} of {self.file}"


def no_table() -> Clinical:
    """The clinical table of an import that was given none."""
    nothing = pd.Series(dtype="string")
    return Clinical("", pd.DataFrame(), nothing, nothing, KEY)


def read_clinical(path: Path, mapping: Path | None = None) -> Clinical:
    """Read a clinical table; whose rows they are is not yet asked.

    Raises
    ------
    ManifestError
        The table cannot be read as it stands, has no ``patient_id`` or ``dicom_patient_id``, or has one twice.
    """
    cells = read_cells(path)
    if mapping is not None:
        cells = apply_mapping(cells, load_mapping(mapping))
    # A row's first cell may be a hospital number, and what is quoted of a cell a name: neither is repeated.
    refused = [replace(p, patient_id="", value=_unquoted(p)) for p in cells.problems if p.severity == "refuse"]
    if refused:
        more = [f"... and {len(refused) - SHOWN} more."] if len(refused) > SHOWN else []
        raise ManifestError("\n".join([*map(str, refused[:SHOWN]), *more]))
    notes = [re.sub(r" \(such as .*?\)(?= |$)", "", note) for note in cells.notes]
    table = _with_key(cells.table, path.name, notes)
    key = KEY if KEY in table else NAME
    made = [name for name in MADE if name in table]
    notes += [f"the column {name} is not used: the import fills it." for name in made]
    names = table[NAME] if NAME in table and key == KEY else pd.Series("", table.index, dtype="string")
    columns, notes = table.drop(columns=[NAME, KEY, *made], errors="ignore"), [f"{path.name}: {note}" for note in notes]
    clinical = Clinical(path.name, columns, table[key], names, key, tuple(notes), mapping is not None)
    for name, values in ((key, clinical.ids), (NAME, clinical.pseudonyms)):
        twice = values.duplicated(keep=False) & (values != "")
        if twice.any():  # the second row would replace the first
            raise ManifestError(f"{name} must be unique, got it more than once: {clinical.lines(twice)}.")
    missing = (clinical.pseudonyms == "") if NAME in table and key == KEY else (clinical.ids == "")
    if missing.any():
        name = NAME if NAME in table else KEY
        raise ManifestError(f"{name} must be given, got nothing in {clinical.lines(missing)}.")
    return clinical


def _with_key(table: pd.DataFrame, file: str, notes: list[str]) -> pd.DataFrame:
    """The table with its column of PatientIDs under that name, whatever form of it was written."""
    header = list(table.columns)
    near = near_names(header, [KEY])
    if NAME in table and KEY not in table and not near:  # "PatientID" beside a patient_id is DICOM's
        near = {name: KEY for name in near_names(header, [NAME]) if name != NAME}
    if len(near) + (KEY in table) > 1:
        raise ManifestError(f"{file} must have one column {KEY}, got {', '.join([*near, KEY])}.")
    notes += [f"the column {written!r} is read as {KEY}." for written in near]
    table = table.rename(columns=near)
    spelt = {got: known for got, known in near_names(list(table.columns), COLUMNS).items() if got != known}
    if spelt:
        raise ManifestError(f"the header must spell {', '.join(spelt.values())}, got {', '.join(spelt)} ({file}).")
    if KEY not in table and NAME not in table:
        raise ManifestError(f"{file} must have a {NAME} column, got the header {','.join(table)[:80]}.")
    return table


def joined(clinical: Clinical, people: Mapping[str, Person], before: Mapping[str, str]) -> Clinical:
    """The table with the PatientID of every row, without pseudonyms and columns that would name a patient.

    Parameters
    ----------
    clinical : Clinical
    people : mapping of str to Person
        By PatientID, whoever has files.
    before : mapping of str to str
        PatientID to pseudonym, of earlier imports.

    Raises
    ------
    ManifestError
        No row, or no more than nearly, belongs to one of these; a pseudonym that is none; a date among the values.
    """
    if not len(clinical.ids):
        return clinical
    known, back = {*people, *before}, {name: patient for patient, name in before.items()}
    ids = clinical.ids
    if clinical.key == NAME and not ids.isin(known).any() and ids.isin(back).any():
        # The pseudonyms of an earlier import stand in patient_id.
        of_names = ids.map(lambda name: back.get(name, "")).astype("string")
        clinical = replace(clinical, ids=of_names, pseudonyms=ids)
    _require_joined(clinical, known)
    return _without_identity(_safe_names(clinical, known, people), people)


def _require_joined(clinical: Clinical, known: set[str]) -> None:
    """Refuse identifiers that a spreadsheet has changed, and a table of which nobody has files."""
    ids, bare = clinical.ids, set(map(_bare, known))
    unknown = (ids != "") & ~ids.isin(known)
    near = unknown & ids.map(lambda text: _bare(text) in bare or bool(_SCIENTIFIC.fullmatch(text))).astype(bool)
    if near.any():
        raise ManifestError(
            f"{clinical.key} must be a PatientID exactly as in the files, got one that differs in its zeros, signs, "
            f"case or decimals, as spreadsheets change them, in {clinical.lines(near)}: make the column text and "
            f"enter the numbers again."
        )
    if (ids == "").all():
        raise ManifestError(f"{clinical.key} must be given, got nothing in {clinical.lines(ids == '')}.")
    if not ids.isin(known).any():
        holder = next((name for name in clinical.table if clinical.table[name].isin(known).any()), None)
        remedy = f"the column {holder!r} holds some: call it {KEY}" if holder else f"give it in a column {KEY}"
        got = f"none ({clinical.file}): {remedy}"
        raise ManifestError(f"{clinical.key} must be the PatientID of a patient with files, got {got}.")


def _safe_names(clinical: Clinical, known: set[str], people: Mapping[str, Person]) -> Clinical:
    """Drop pseudonyms that are hospital numbers or names, so that new ones are made; refuse what is no pseudonym."""
    names, ids = clinical.pseudonyms, clinical.ids
    made = f"must not leave {FOLDER}/: manifest.csv has new pseudonyms instead, {FOLDER}/key.csv says whose."
    if clinical.key == NAME and (names == "").all():
        note = f"{clinical.file}: its {NAME} is the PatientID of the files, which {made}"
        return replace(clinical, notes=(*clinical.notes, note))
    wrong = ~names.str.fullmatch(PATIENT_ID) & (names != "")
    if wrong.any():
        raise ManifestError(f"{NAME} must be a pseudonym {PATIENT_ID}, got something else in {clinical.lines(wrong)}.")
    numbers = {_bare(patient) for patient in (*known, *ids) if patient}
    pairs = zip(names, ids, strict=True)
    naming = [name != "" and (_bare(name) in numbers or _names(name, patient, people)) for name, patient in pairs]
    naming = pd.Series(naming, names.index)
    if not naming.any():
        return clinical
    if (ids == "").any():
        where = clinical.lines(ids == "")
        raise ManifestError(f"{KEY} must be given where {NAME} is a PatientID or a name, got nothing in {where}.")
    note = f"{clinical.file}: its {NAME} in {clinical.lines(naming)} is a PatientID or names the patient and {made}"
    return replace(clinical, pseudonyms=names.where(names == "", ""), notes=(*clinical.notes, note))


def _without_identity(clinical: Clinical, people: Mapping[str, Person]) -> Clinical:
    """Leave out columns that say who a patient is, by their name or by what stands in them; refuse dates elsewhere."""
    notes, table = list(clinical.notes), clinical.table
    for column in table:
        rule, dates = COLUMNS.get(column), table[column].str.fullmatch(_DATE)
        if rule is not None and dates.any() and rule.kind != "text":
            got = f"a date in {clinical.lines(dates)}: dates must not leave the hospital"
            raise ManifestError(f"{column} must {rule.requirement}, got {got}.")
        reason = _reason_against(table[column], clinical, people)
        if reason:
            table = table.drop(columns=column)
            notes.append(f"{clinical.file}: the column {column!r} is left out of manifest.csv: {reason}.")
    return replace(clinical, table=table, notes=tuple(notes))


def _reason_against(cells: pd.Series, clinical: Clinical, people: Mapping[str, Person]) -> str:
    """Why a column may say who a patient is; empty where nothing speaks for it."""
    rule = COLUMNS.get(cells.name)
    if rule is None and set(re.findall(r"[^\W_]+", cells.name.casefold())) & IDENTIFYING:
        return "its name says that it identifies patients"
    if rule is None and cells.str.fullmatch(_DATE).any():
        return "it holds dates"
    if rule is not None and rule.kind not in ("text", "path"):
        return ""
    if rule is None and not clinical.chosen and not cells.str.fullmatch(_VALUE).all():
        return "only short numbers pass under a name that hepred check --rules does not list; a mapping can keep it"
    rows = list(zip(cells, clinical.ids, strict=True))
    if any(_names(cell, patient, people) for cell, patient in rows):
        return "it names a patient as the files do"
    same = [_bare(cell) == _bare(patient) for cell, patient in rows if cell and patient]
    return "it holds PatientIDs" if same and sum(same) > len(same) / 2 else ""


def _names(cell: str, patient: str, people: Mapping[str, Person]) -> bool:
    """Whether a text holds the patient's number, a part of the name, the birth date or a study's identifier."""
    if not cell:
        return False
    person = people.get(patient, Person())
    words = set(re.findall(r"[^\W_]+", cell.casefold()))
    parts = {part for name in person.names for part in re.findall(r"[^\W\d_]+", name.casefold()) if len(part) > 2}
    digits = re.sub(r"\D", "", cell)
    births = {turned for date in person.birth_dates for turned in (date, date[6:] + date[4:6] + date[:4])}
    whole = len(patient) >= _SHORT_ID and patient.casefold() in cell.casefold()
    return whole or bool(words & parts) or any(b in digits for b in births if len(b) == 8) or bool({cell} & person.uids)


def _bare(text: str) -> str:
    """A number as it is left by spreadsheets: without leading zeros, signs, case, blanks and ``.0``."""
    text = re.sub(r"[.,]0+$", "", unicodedata.normalize("NFKC", text).casefold())
    return "".join(filter(str.isalnum, text)).lstrip("0")


def _unquoted(problem: Problem) -> str:
    """What a problem found, without the text of a cell that it quotes."""
    return re.sub(r"'.*'", "the cell", problem.value) if problem.line > 1 else problem.value
