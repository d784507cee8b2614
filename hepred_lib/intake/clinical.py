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

import pandas as pd

from hepred_lib.cohort.cells import near_names, read_cells
from hepred_lib.cohort.rules import (
    COLUMNS,
    PATIENT_ID,
    Problem,
)
from hepred_lib.errors import ManifestError
from hepred_lib.intake.private import FOLDER
from hepred_lib.intake.spreadsheet import apply_mapping, load_mapping

NAME, KEY = "patient_id", "dicom_patient_id"
MADE = ("baseline_ct", "followup_ct", "ct_to_followup_h")
SHOWN = 20

# Parts of the names of columns that say who a patient is, in the languages of hospitals.
_IDENTIFYING = frozenset(
    (
        *(
            "name",
            "names",
            "surname",
            "lastname",
            "firstname",
            "forename",
            "initials",
            "birth",
            "birthdate",
            "birthday",
        ),
        *(
            "dob",
            "mrn",
            "ssn",
            "nhs",
            "insurance",
            "address",
            "street",
            "phone",
            "telephone",
            "mobile",
            "email",
            "mail",
        ),
        *("accession", "contact", "nachname", "vorname", "geburtsdatum", "geburtstag", "geb", "adresse", "telefon"),
        *(
            "nom",
            "prenom",
            "prénom",
            "naissance",
            "nombre",
            "apellido",
            "apellidos",
            "nacimiento",
            "cognome",
            "nascita",
        ),
        *("nome", "sobrenome", "nascimento", "naam", "voornaam", "achternaam", "geboortedatum", "adi", "adı", "soyad"),
        *(
            "soyadı",
            "dogum",
            "doğum",
            "nazwisko",
            "imie",
            "imię",
            "urodzenia",
            "pesel",
            "姓名",
            "名字",
            "出生日期",
            "氏名",
        ),
        *("生年月日", "이름", "성명", "생년월일"),
    )
)
_DATE = re.compile(
    r"(19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}\b.*|\d{1,2}[-/.]\d{1,2}[-/.](19|20)?\d\d\b.*"
    r"|(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{4,6})?|.*[12]\d{3}[年년].*"
)
_SCIENTIFIC = re.compile(r"\d([.,]\d+)?e\+?\d+", re.IGNORECASE)
_VALUE = re.compile(r"([-+]?\d{1,5}([.,]\d*)?)?")
_SAMPLE = re.compile(r" \(such as .*?\)(?= |$)")
_SHORT_ID = 4  # characters: a number as short may stand in a column by chance


@dataclass(frozen=True)
class Person:
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
    _refuse([str(replace(p, patient_id="", value=_unquoted(p))) for p in cells.problems if p.severity == "refuse"])
    table, notes = cells.table, [f"{path.name}: {_SAMPLE.sub('', note)}" for note in cells.notes]
    near = near_names(list(table.columns), [KEY])
    if NAME in table and KEY not in table and not near:  # "PatientID" beside a patient_id is DICOM's
        near = dict.fromkeys([name for name in near_names(list(table.columns), [NAME]) if name != NAME], KEY)
    if len(near) + (KEY in table) > 1:
        raise ManifestError(f"{path.name} must have one column {KEY}, got {', '.join([*near, KEY])}.")
    notes += [f"{path.name}: the column {written!r} is read as {KEY}." for written in near]
    table = table.rename(columns=near)
    spelt = {got: known for got, known in near_names(list(table.columns), COLUMNS).items() if got != known}
    if spelt:
        raise ManifestError(f"the header must spell {', '.join(spelt.values())}, got {', '.join(spelt)} ({path.name}).")
    key = KEY if KEY in table else NAME
    if key not in table:
        raise ManifestError(f"{path.name} must have a {NAME} column, got the header {','.join(table)[:80]}.")
    made = [name for name in MADE if name in table]
    notes += [f"{path.name}: the column {name} is not used: the import fills it." for name in made]
    names = table[NAME] if NAME in table and key == KEY else pd.Series("", table.index, dtype="string")
    columns = table.drop(columns=[NAME, KEY, *made], errors="ignore")
    clinical = Clinical(path.name, columns, table[key], names, key, tuple(notes), mapping is not None)
    _require_unique(clinical, NAME in table)
    return clinical


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
    known = {*people, *before}
    if clinical.key == NAME and not clinical.ids.isin(known).any():
        clinical = _by_pseudonym(clinical, before)
    _require_joined(clinical, known)
    return _without_identity(_safe_names(clinical, known, people), people)


def _by_pseudonym(clinical: Clinical, before: Mapping[str, str]) -> Clinical:
    """The table of a user who wrote the pseudonyms of an earlier import into ``patient_id``; else as it is."""
    back = {name: patient for patient, name in before.items()}
    if not clinical.ids.isin(back).any():
        return clinical
    ids = clinical.ids.map(lambda name: back.get(name, "")).astype("string")
    return replace(clinical, ids=ids, pseudonyms=clinical.ids)


def _require_unique(clinical: Clinical, named: bool) -> None:
    """No PatientID and no pseudonym may stand twice, or the second row would replace the first."""
    for name, values in ((clinical.key, clinical.ids), (NAME, clinical.pseudonyms)):
        twice = values.duplicated(keep=False) & (values != "")
        if twice.any():
            raise ManifestError(f"{name} must be unique, got it more than once: {clinical.lines(twice)}.")
    missing = (clinical.pseudonyms == "") if named and clinical.key == KEY else (clinical.ids == "")
    if missing.any():
        raise ManifestError(f"{NAME if named else KEY} must be given, got nothing in {clinical.lines(missing)}.")


def _require_joined(clinical: Clinical, known: set[str]) -> None:
    """Refuse identifiers that a spreadsheet has changed, and a table of which nobody has files."""
    ids, bare = clinical.ids, {_bare(patient) for patient in known}
    unknown = (ids != "") & ~ids.isin(known)
    near = unknown & ids.map(lambda text: _bare(text) in bare or bool(_SCIENTIFIC.fullmatch(text))).astype(bool)
    if near.any():
        raise ManifestError(
            f"{clinical.key} must be a PatientID exactly as in the files, got one that differs in its zeros, signs, "
            f"case or decimals, as spreadsheets change them, in {clinical.lines(near)}: make the column text and "
            f"enter the numbers again."
        )
    if ids.isin(known).any():
        return
    if (ids == "").all():
        raise ManifestError(f"{clinical.key} must be given, got nothing in {clinical.lines(ids == '')}.")
    holders = [name for name in clinical.table if clinical.table[name].isin(known).any()]
    remedy = f"the column {holders[0]!r} holds some: call it {KEY}" if holders else f"give it in a column {KEY}"
    raise ManifestError(
        f"{clinical.key} must be the PatientID of a patient with files, got none ({clinical.file}): {remedy}."
    )


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
    naming = pd.Series(
        [
            name != "" and (_bare(name) in numbers or _names(name, patient, people.get(patient, Person())))
            for name, patient in zip(names, ids, strict=True)
        ],
        names.index,
    )
    if not naming.any():
        return clinical
    if (ids == "").any():
        raise ManifestError(
            f"{KEY} must be given where {NAME} is a PatientID or a name, got nothing in {clinical.lines(ids == '')}."
        )
    note = f"{clinical.file}: its {NAME} in {clinical.lines(naming)} is a PatientID or names the patient and {made}"
    empty = pd.Series("", names.index, dtype="string")
    return replace(clinical, pseudonyms=empty, notes=(*clinical.notes, note))


def _without_identity(clinical: Clinical, people: Mapping[str, Person]) -> Clinical:
    """Leave out columns that say who a patient is, by their name or by what stands in them; refuse dates elsewhere."""
    left_out, table = {}, clinical.table
    for column in table:
        dates = table[column].str.fullmatch(_DATE)
        if column in COLUMNS and dates.any() and COLUMNS[column].kind != "text":
            raise ManifestError(
                f"{column} must {COLUMNS[column].requirement}, got a date in {clinical.lines(dates)}: "
                "dates must not leave the hospital."
            )
        reason = _reason_against(column, table[column], clinical, people)
        if reason:
            left_out[column] = reason
    notes = [
        f"{clinical.file}: the column {column!r} is left out of manifest.csv: {reason}."
        for column, reason in left_out.items()
    ]
    return replace(clinical, table=table.drop(columns=list(left_out)), notes=(*clinical.notes, *notes))


def _reason_against(column: str, cells: pd.Series, clinical: Clinical, people: Mapping[str, Person]) -> str:
    """Why a column may say who a patient is; empty where nothing speaks for it."""
    if column not in COLUMNS and set(re.findall(r"[^\W_]+", column.casefold())) & _IDENTIFYING:
        return "its name says that it identifies patients"
    if column not in COLUMNS and cells.str.fullmatch(_DATE).any():
        return "it holds dates"
    if column in COLUMNS and COLUMNS[column].kind not in ("text", "path"):
        return ""
    if column not in COLUMNS and not clinical.chosen and not cells.str.fullmatch(_VALUE).all():
        return "only short numbers pass under a name that hepred check --rules does not list; a mapping can keep it"
    rows = list(zip(cells, clinical.ids, strict=True))
    if any(_names(cell, patient, people.get(patient, Person())) for cell, patient in rows):
        return "it names a patient as the files do"
    same = [_bare(cell) == _bare(patient) for cell, patient in rows if cell and patient]
    return "it holds PatientIDs" if same and sum(same) > len(same) / 2 else ""


def _names(cell: str, patient: str, person: Person) -> bool:
    """Whether a text holds the patient's number, a part of the name, the birth date or a study's identifier."""
    if not cell:
        return False
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


def _refuse(problems: list[str]) -> None:
    if problems:
        more = [f"... and {len(problems) - SHOWN} more."] if len(problems) > SHOWN else []
        raise ManifestError("\n".join([*problems[:SHOWN], *more]))
