"""A folder of DICOM files to NIfTI scans and a manifest, with what identifies patients kept apart.

=============================== ==================================================================================
``manifest.csv``                one row per patient: pseudonym, scans, hours between them, age and sex, clinical columns
``scans/NAME_baseline.nii.gz``  and ``NAME_followup.nii.gz``
``identifying/key.csv``         pseudonym and PatientID: must not leave the hospital
``identifying/series.csv``      every series, what it is used as and why; ``by_hand`` is for the user to fill
``identifying/work``            copies of DICOM files while they are converted; gone at the end
=============================== ==================================================================================

Outside ``identifying/`` nothing names a patient: no name, number, date, path or identifier of the headers, and no
message holds one (series are named by their row of ``series.csv``). Called again, the import keeps every pseudonym,
heeds ``by_hand``, converts only what has changed, and leaves patients who are not in this source, and what the user
wrote into the manifest, as they were.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hepred_lib.cohort.cells import near_names, read_cells
from hepred_lib.cohort.rules import COLUMNS, PATIENT_ID, Problem
from hepred_lib.disk import locked, written_whole
from hepred_lib.errors import ManifestError, ScanError
from hepred_lib.imaging.scans import write_nifti
from hepred_lib.intake.choice import USES, Choice, choose, hours_between
from hepred_lib.intake.conversion import convert_series, deface
from hepred_lib.intake.series import Series, find_series
from hepred_lib.intake.spreadsheet import HOSPITAL_NUMBER, IDENTIFYING, apply_mapping, load_mapping
from hepred_lib.intake.words import load_words
from hepred_lib.progress import progress
from hepred_lib.study.files import write_table

SCANS = USES[:2]
FOLDER = "identifying"  # of OUT: all that names a patient
NAME, KEY = "patient_id", HOSPITAL_NUMBER
MADE = ("baseline_ct", "followup_ct", "ct_to_followup_h")
SHOWN = 20  # lines or problems in one message

_DATE = re.compile(
    r"(19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}\b.*|\d{1,2}[-/.]\d{1,2}[-/.](19|20)?\d\d\b.*"
    r"|(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{4,6})?|.*[12]\d{3}[年년].*"
)
_SCIENTIFIC = re.compile(r"\d([.,]\d+)?e\+?\d+", re.IGNORECASE)
_VALUE = re.compile(r"([-+]?\d{1,4}([.,]\d*)?)?")  # five digits may be a day as Excel counts
_PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar", ".iso", ".dcm.gz")
_SHORT_ID = 4  # characters: a number as short may stand in a column by chance
BY_HAND = "write baseline, followup or none into by_hand where a choice is wrong, and import again."
AGE_APART_Y = 1.5  # a birthday may lie between the table's day and the scan's


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes
    ----------
    manifest : Path
    patients, with_baseline, with_followup : int
    unsure : int
        Series that were chosen although their headers' words are silent or contradict each other.
    foreign, damaged : int
        Files that are no DICOM image of a series, and DICOM files that cannot be read.
    notes : tuple of str
        One line for each patient without a scan, for each series that could not be converted, and for what was
        understood of the clinical table.
    """

    manifest: Path
    patients: int
    with_baseline: int
    with_followup: int
    unsure: int
    foreign: int
    damaged: int
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """What a person should know next, in lines."""
        folder = self.manifest.parent / FOLDER
        unsure = f"Series to look at: {self.unsure}, marked unsure in {folder / 'series.csv'}; {BY_HAND}"
        damaged = f"DICOM files that cannot be read: {self.damaged}, listed in {folder / 'damaged.csv'}."
        missing = f"Why a first scan is missing: {folder / 'series.csv'}; {BY_HAND}"
        lines = [
            f"{self.manifest}: patients {self.patients}, with a first scan {self.with_baseline}, with a follow-up "
            f"{self.with_followup}. Files that are no DICOM image: {self.foreign}.",
            unsure if self.unsure else "",
            missing if self.with_baseline < self.patients else "",
            damaged if self.damaged else "",
            f"{folder} names patients: it must not leave the hospital.",
        ]
        return "\n".join(filter(None, lines))


def import_dicom(
    source: Path,
    out: Path,
    clinical: Path | None = None,
    *,
    mapping: Path | None = None,
    words: Path | None = None,
    without_face: bool = False,
) -> Imported:
    """Find the series, choose scans, convert them, write the manifest.

    Parameters
    ----------
    source : Path
        A folder; DICOM files of any name anywhere below it.
    out : Path
        Made if it is not there.
    clinical : Path, optional
        A table in the manifest's columns. ``dicom_patient_id`` is the PatientID that a row belongs to and
        ``patient_id`` the pseudonym; where only one of them is there, or both say the same, it is the PatientID and
        pseudonyms are made.
    mapping : Path, optional
        YAML that says which of its columns are which of the manifest's (``hepred check --suggest-mapping``).
    words : Path, optional
        YAML of a hospital's own words in series descriptions, in addition to the library's.
    without_face : bool
        Remove the face from every scan: see :mod:`hepred_lib.intake.conversion`.

    Raises
    ------
    ScanError
        No folder, no DICOM image in it, or a scan of an earlier import that its patient's series here lack.
    ManifestError
        A clinical table that cannot be read or joined, with a ``patient_id`` that is no pseudonym or not the one given
        before, or with one patient twice; a ``by_hand`` that is no use.
    """
    if not source.is_dir():
        raise ScanError(f"SOURCE must be a folder of DICOM files, got {'a file' if source.exists() else 'none'}.")
    if mapping is not None and clinical is None:
        raise ManifestError("--mapping must say which columns of a --clinical table are which, got no table.")
    _require_folder(out)
    _clear_work(out)
    vocabulary = load_words(words)
    bedside = read_clinical(clinical, mapping) if clinical else Clinical()
    found, foreign, damaged = find_series(source)
    archives = sum(path.name.lower().endswith(_PACKED) for path in source.rglob("*"))
    packed = f"Archives in SOURCE are not opened, and may hold more series: unpack {archives}." if archives else ""
    if not found:
        broken = f" and {len(damaged)} that cannot be read" if damaged else ""
        raise ScanError(f"no DICOM images found in SOURCE: {foreign} files are not DICOM{broken}. {packed}".strip())
    known, earlier = _earlier_series(out), _read_own(out / "manifest.csv", (NAME,)).set_index(NAME)
    key = _read_own(out / FOLDER / "key.csv", (NAME, KEY)).set_index(KEY)[NAME].to_dict()
    choices = choose(found, _by_hand(known), vocabulary)
    bedside = joined(bedside, _people(found), key)
    job = _Job(out, choices, _pseudonyms(key, choices, bedside), known, without_face)
    job.require_whole_patients()
    with workplace(out) as work:
        _write_private(out / FOLDER / "key.csv", {"patient_id": job.names.values(), KEY: job.names.keys()})
        job.find_unchanged()
        # Before anything is replaced: where this is killed, the next import takes no scan for that of another series.
        job.write_series()
        notes = job.convert(work)
        job.write_series()
        if damaged:
            _write_private(out / FOLDER / "damaged.csv", {"file": list(map(str, damaged))})
        else:
            (out / FOLDER / "damaged.csv").unlink(missing_ok=True)
    rows = zip(bedside.ids, bedside.pseudonyms, strict=True)
    told = bedside.table.set_axis([job.names[patient] if patient else name for patient, name in rows])
    table = job.manifest(told, earlier)
    write_table(out / "manifest.csv", table)
    return Imported(
        manifest=out / "manifest.csv",
        patients=len(table),
        **{f"with_{scan}": int((table[f"{scan}_ct"] != "").sum()) for scan in SCANS},
        unsure=sum(choice.unsure for choice in choices),
        foreign=foreign,
        damaged=len(damaged),
        notes=(
            *bedside.notes,
            *filter(None, [packed]),
            *notes,
            *job.contradictions(told),
            *job.without_row(told),
            *job.without_baseline(table, told),
        ),
    )


def _require_folder(out: Path) -> None:
    """Refuse an OUT in which nothing can be written, before hours of work."""
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ScanError(f"OUT must be a folder that can be written, got {'no folder' if place.is_file() else 'none'}.")


def _people(found: Iterable[Series]) -> dict[str, Person]:
    """Every PatientID of the files, with all that their headers say of the person."""
    people: dict[str, Person] = {}
    for series in found:
        names, birth_dates, uids = people.get(series.patient, Person())
        uids |= {series.study, series.uid}
        people[series.patient] = Person(names | series.names, birth_dates | series.birth_dates, uids)
    return people


def _pseudonyms(before: Mapping[str, str], choices: list[Choice], bedside: Clinical) -> dict[str, str]:
    """PatientID to pseudonym: the clinical table's, the one given before, or the next number.

    New numbers follow a hash of the PatientID, so that they tell nothing of its order.
    """
    rows = list(zip(bedside.ids, bedside.pseudonyms, strict=True))
    told = {patient: name for patient, name in rows if patient and name}
    for patient in told.keys() & before.keys():
        if told[patient] != before[patient]:
            raise ManifestError(f"patient_id must stay {before[patient]} (key.csv), got {told[patient]} (--clinical).")
    names = dict(before) | told
    taken = [*names.values(), *(name for patient, name in rows if name and not patient)]
    if len(set(taken)) < len(taken):
        (twice, _), *_ = Counter(taken).most_common(1)
        raise ManifestError(f"patient_id must stand for one PatientID, got {twice} for two (--clinical and key.csv).")
    last = max((int(name[1:]) for name in taken if re.fullmatch(r"P\d{4,}", name)), default=0)
    new = {*(choice.series.patient for choice in choices), *filter(None, bedside.ids)} - set(names)
    lost = [before[short] for patient in new if (short := patient.lstrip("0")) != patient and short in before]
    if lost:  # they would get a second pseudonym
        raise ManifestError(
            f"key.csv must have the PatientIDs as in the files, but that of {lost[0]} has lost its zeros, as a "
            f"spreadsheet does: restore {FOLDER}/key.csv."
        )
    in_order = sorted(new, key=lambda patient: hashlib.sha256(patient.encode()).digest())
    return names | {patient: f"P{number:04d}" for number, patient in enumerate(in_order, start=last + 1)}


@dataclass
class _Job:
    """One import: what each series is used as, the pseudonyms by PatientID, and what earlier imports have left.

    ``written`` are the scans that are as they are wanted: path relative to ``out`` by SeriesInstanceUID.
    """

    out: Path
    choices: list[Choice]
    names: Mapping[str, str]
    known: pd.DataFrame
    without_face: bool
    written: dict[str, str] = field(default_factory=dict)

    def place(self, series: Series, use: str) -> str:
        return f"scans/{self.names[series.patient]}_{use}.nii.gz"

    def face(self, scan: str) -> str:
        """What ``series.csv`` says of the face in a scan; empty where there is no scan."""
        return ("removed" if self.without_face else "kept") if scan else ""

    def require_whole_patients(self) -> None:
        """Refuse to choose among some of a patient's series: the first of those might not be the first scan."""
        of_one_here = self.known["patient_id"].isin({self.names[choice.series.patient] for choice in self.choices})
        found = self.known.index.isin([choice.series.uid for choice in self.choices])
        lost = of_one_here & ~found & (self.known["use"] != "none")
        if lost.any():
            line, row = 2 + int(np.argmax(lost)), self.known[lost].iloc[0]
            raise ScanError(
                f"SOURCE must hold all series of a patient it holds, got no {row['use']} of patient "
                f"{row['patient_id']} (line {line} of {FOLDER}/series.csv, where its folder is): import these "
                "together, or into another folder."
            )

    def find_unchanged(self) -> None:
        """Note the scans that an earlier import made as they are wanted."""
        known = self.known[~self.known.index.duplicated()]
        for choice in (choice for choice in self.choices if choice.use != "none"):
            uid, place = choice.series.uid, self.place(choice.series, choice.use)
            wanted = {"scan": place, "files": str(len(choice.series.files)), "face": self.face(place)}
            same = uid in known.index and all(known.at[uid, column] == value for column, value in wanted.items())
            if same and (self.out / place).exists():
                self.written[uid] = place

    def convert(self, work: Path) -> list[str]:
        """Convert what is wanted and not yet written, and say in a line what could not be converted."""
        notes = []
        todo = [(2 + k, c) for k, c in enumerate(self.choices) if c.use != "none" and c.series.uid not in self.written]
        (self.out / "scans").mkdir(parents=True, exist_ok=True)
        for line, choice in progress(todo, desc="convert", unit="series"):
            place, name = self.place(choice.series, choice.use), self.names[choice.series.patient]
            try:
                _convert_one(choice.series, self.out / place, work, self.without_face)
                self.written[choice.series.uid] = place
            except ScanError as error:
                said = _without_paths(str(error), choice.series)
                notes.append(f"patient {name}, {choice.use}, line {line} of series.csv: {said}")
        every = {self.place(choice.series, scan) for choice in self.choices for scan in SCANS}
        for unused in every - set(self.written.values()):
            (self.out / unused).unlink(missing_ok=True)
        return notes

    def write_series(self) -> None:
        """Write ``series.csv``: the choices in their order, then the series of earlier imports that are not here."""
        told = _by_hand(self.known)
        rows = pd.DataFrame([self._row(choice, told) for choice in self.choices])
        others = self.known[~self.known.index.isin(rows["series_uid"])].reset_index()
        _write_private(self.out / FOLDER / "series.csv", pd.concat([rows.astype(str), others.astype(str)]).fillna(""))

    def _row(self, choice: Choice, told: Mapping[str, str]) -> dict[str, object]:
        series, scan = choice.series, self.written.get(choice.series.uid, "")
        gaps = np.diff(series.places_mm)
        return {
            "patient_id": self.names[series.patient],
            "use": choice.use,
            "unsure": "yes" if choice.unsure else "",
            "reason": choice.reason,
            "by_hand": told.get(series.uid, ""),
            "taken_at": series.taken_at.isoformat(sep=" ") if series.taken_at else "",
            "number": series.number,
            "description": series.description,
            "kernel": series.kernel,
            "thickness_mm": "" if np.isnan(series.thickness_mm) else f"{series.thickness_mm:g}",
            "slices": len(series.places_mm),
            "extent_mm": round(series.extent_mm, 1),
            "gaps_mm": "-".join(dict.fromkeys(f"{g:.1f}" for g in (gaps.min(), gaps.max()))) if len(gaps) else "",
            "files": len(series.files),
            "scan": scan,
            "face": self.face(scan),
            "folder": series.files[0].parent,
            "study_uid": series.study,
            "series_uid": series.uid,
        }

    def manifest(self, told: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
        """One row per patient as text: the clinical table counts before the earlier manifest, that before headers."""
        used = {(c.series.patient, c.use): c.series for c in self.choices if c.series.uid in self.written}
        rows = {}
        for patient in dict.fromkeys(choice.series.patient for choice in self.choices):
            first, later = (used.get((patient, scan)) for scan in SCANS)
            hours = hours_between(first, later) if first and later else np.nan
            rows[self.names[patient]] = {
                "baseline_ct": self.written[first.uid] if first else "",
                "followup_ct": self.written[later.uid] if later else "",
                "ct_to_followup_h": "" if np.isnan(hours) else f"{hours:.2f}",
                "age": "" if first is None or np.isnan(first.age) else f"{first.age:.0f}",
                "sex": first.sex if first else "",
            }
        made = pd.DataFrame.from_dict(rows, orient="index")
        columns = list(dict.fromkeys([*made, *earlier, *told]))
        # What the import fills is as it is now, for whoever is in this source.
        before = earlier.mask(earlier.index.isin(list(rows))[:, None] & earlier.columns.isin(MADE))
        told, before, made = (each.astype(object).replace("", np.nan) for each in (told, before, made))
        table = told.combine_first(before).combine_first(made)[columns].astype(object).fillna("")
        return table.sort_index().rename_axis("patient_id").reset_index()

    def contradictions(self, told: pd.DataFrame) -> list[str]:
        """A line for each patient whose age or sex in the table is another than in the headers of the first scan.

        That is how a table whose rows have moved against their numbers shows itself.
        """
        notes = []
        for series in (choice.series for choice in self.choices if choice.use == "baseline"):
            name = self.names[series.patient]
            row = told.loc[name] if name in told.index else {}
            age, sex = pd.to_numeric(row.get("age", ""), errors="coerce"), row.get("sex", "")
            notes += [
                f"patient {name}: {column} is {given} in the clinical table and {said} in the DICOM header: is the row "
                "another patient's? The table's is used."
                for column, given, said, apart in (
                    ("age", f"{age:g}", f"{series.age:g}", abs(age - series.age) > AGE_APART_Y),
                    ("sex", sex, series.sex, sex in ("F", "M") and series.sex not in ("", sex)),
                )
                if apart
            ]
        return notes

    def without_row(self, told: pd.DataFrame) -> list[str]:
        """A line for those who have scans and no row in the clinical table."""
        without = sorted({self.names[choice.series.patient] for choice in self.choices} - set(told.index))
        said = f"without a row in the clinical table: patient {_first_of(without)} (key.csv says who)."
        return [said] if without and len(told) else []

    def without_baseline(self, table: pd.DataFrame, told: pd.DataFrame) -> list[str]:
        """A line for each patient who has no first scan, with the reasons against their series."""
        reasons: dict[str, dict[str, list[str]]] = {name: {} for name in told.index}
        for choice in self.choices:
            reason = choice.reason if choice.use == "none" else "could not be converted"
            of_patient = reasons.setdefault(self.names[choice.series.patient], {})
            of_patient.setdefault(reason, []).append(str(choice.series.number))
        missing = table.loc[table["baseline_ct"].eq("") & table["patient_id"].isin(list(reasons)), "patient_id"]
        said = (
            "; ".join(f"series {_listed(n)}: {why}" for why, n in reasons[name].items()) or "no series in SOURCE"
            for name in missing
        )
        return [f"patient {name} has no first scan: {why}." for name, why in zip(missing, said, strict=True)]


def _first_of(texts: list[str]) -> str:
    """The first of many texts, and how many more there are."""
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"{', '.join(texts[:SHOWN])}{more}"


def _listed(numbers: Iterable[str]) -> str:
    """Numbers of series, each once: "2 (33 of this number), 3"."""
    counts = Counter(numbers).items()
    return ", ".join(f"{number} ({count} of this number)" if count > 1 else number for number, count in counts)


def _convert_one(series: Series, path: Path, work: Path, without_face: bool) -> None:
    """Write a series as ``path``: whole, and without its face from the first moment where that is wanted."""
    scan = convert_series(series, work / path.name, workplace=work)
    if without_face:
        hu = np.clip(deface(scan.hu, scan.spacing_mm), -32768, 32767)
        write_nifti(work / path.name, hu, scan.affine, dtype=np.int16)
    os.replace(work / path.name, path)


def _without_paths(text: str, series: Series) -> str:
    """A message without the files' and folders' names, which may be those of patients."""
    hidden = {str(file): "a file" for file in series.files} | {str(file.parent): "its folder" for file in series.files}
    for path in sorted(hidden, key=len, reverse=True):
        text = text.replace(path, hidden[path])
    return text


# --- the folder identifying/: all that names a patient, for its owner alone to read

WORK = "work"


def _clear_work(out: Path) -> None:
    """Remove what a killed import left in ``identifying/``: copies of DICOM files, half-written tables.

    Raises
    ------
    ScanError
        Another import is at work there.
    """
    folder = out / FOLDER
    if (folder / WORK).is_dir():
        with _alone(folder / WORK):
            shutil.rmtree(folder / WORK)
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """An empty folder below ``identifying/`` for work with files that name patients, removed at the end.

    It lies there and not in the system's folder for temporary files, where a killed import would leave patients' files
    for every user of the machine.
    """
    work = _make_private(_make_private(out / FOLDER) / WORK)
    with _alone(work):
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _read_own(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    """A table that an earlier import wrote, as text; without rows where there is none.

    Users fill in these tables with a spreadsheet program, which may have written semicolons: the one reader of tables
    understands that. What cannot be read is refused, or the next table would be written without what they filled in.

    Raises
    ------
    ManifestError
        The table cannot be read, or lacks a column.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(needed), dtype=str)
    cells = read_cells(path)
    faults = [str(replace(problem, patient_id="")) for problem in cells.problems if problem.severity == "refuse"]
    if faults:
        raise ManifestError(faults[0])
    lacking = [name for name in needed if name not in cells.table]
    if lacking:
        raise ManifestError(f"{path.name} of an earlier import must have the column {lacking[0]}: restore it.")
    return cells.table.astype(object)


def _earlier_series(out: Path) -> pd.DataFrame:
    """``series.csv`` of the last import as text, by SeriesInstanceUID; empty where there was none."""
    table = _read_own(out / FOLDER / "series.csv", ("patient_id", "by_hand", "use", "files", "scan", "series_uid"))
    return table.reindex(columns=list(dict.fromkeys([*table, "face"])), fill_value="").set_index("series_uid")


def _by_hand(known: pd.DataFrame) -> dict[str, str]:
    """What a reader wrote into ``by_hand``, by SeriesInstanceUID.

    Raises
    ------
    ManifestError
        A word that is none of the uses.
    """
    told = known["by_hand"][known["by_hand"] != ""]  # one uid may be in two rows
    wrong = told[~told.isin(USES)]
    if len(wrong):
        raise ManifestError(f"by_hand must be empty or one of {', '.join(USES)}, got {wrong.iloc[0]!r} (series.csv).")
    return told.to_dict()


def _make_private(folder: Path) -> Path:
    """A folder that none but its owner may enter, also where it was there before."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _write_private(path: Path, table: pd.DataFrame | Mapping[str, Iterable[str]]) -> None:
    """Write a table that none but its owner may read at any moment, and rename it into place when it is whole."""
    _make_private(path.parent)
    with written_whole(path) as temporary:
        temporary.unlink(missing_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pd.DataFrame(table).to_csv(index=False, lineterminator="\n").encode())


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends."""
    descriptor = os.open(work, os.O_RDONLY)
    try:
        if not locked(descriptor):
            raise ScanError("OUT must not be in use by another import: wait for it, or end it.")
        yield
    finally:
        os.close(descriptor)


# --- the clinical table: whose row is whose, with nothing in it that names a patient
# Rows are joined by PatientID, exactly. What nearly joins (a zero that a spreadsheet dropped, 77.0) is refused: a row
# that joins nobody, or somebody else, would be found by no later check. Messages name lines, never the numbers.


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

    file: str = ""
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    ids: pd.Series = field(default_factory=lambda: pd.Series(dtype="string"))
    pseudonyms: pd.Series = field(default_factory=lambda: pd.Series(dtype="string"))
    key: str = HOSPITAL_NUMBER
    notes: tuple[str, ...] = ()
    chosen: bool = False

    def lines(self, wrong: pd.Series) -> str:
        """Where a condition holds, for a message: "line 3 of bedside.csv"."""
        found = [str(line) for line in wrong.index[wrong]]
        return f"line{'s' * (len(found) > 1)} {_first_of(found)} of {self.file}"


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
    both = NAME in table and KEY in table
    key = KEY if KEY in table else NAME
    made = [name for name in MADE if name in table]
    notes += [f"the column {name} is not used: the import fills it." for name in made]
    names = table[NAME] if both else pd.Series("", table.index, dtype="string")
    columns, notes = table.drop(columns=[NAME, KEY, *made], errors="ignore"), [f"{path.name}: {note}" for note in notes]
    clinical = Clinical(path.name, columns, table[key], names, key, tuple(notes), mapping is not None)
    for name, values in ((key, clinical.ids), (NAME, clinical.pseudonyms)):
        twice = values.duplicated(keep=False) & (values != "")
        if twice.any():  # the second row would replace the first
            raise ManifestError(f"{name} must be unique, got it more than once: {clinical.lines(twice)}.")
    required = NAME if both else key
    missing = table[required] == ""
    if missing.any():
        raise ManifestError(f"{required} must be given, got nothing in {clinical.lines(missing)}.")
    return clinical


def _with_key(table: pd.DataFrame, file: str, notes: list[str]) -> pd.DataFrame:
    """The table with its column of PatientIDs under that name, whatever form of it was written."""
    header = list(table.columns)
    near = near_names(header, [KEY])
    if NAME in table and KEY not in table and not near:  # "PatientID" beside a patient_id is DICOM's
        near = dict.fromkeys(near_names(header, [NAME]), KEY)
    if len(near) + (KEY in table) > 1:
        raise ManifestError(f"{file} must have one column {KEY}, got {', '.join([*near, KEY])}.")
    notes += [f"the column {written!r} is read as {KEY}." for written in near]
    table = table.rename(columns=near)
    spelt = near_names(table, COLUMNS)
    if spelt:
        got = f"{', '.join(spelt)} ({file}): rename the columns, or use --mapping"
        raise ManifestError(f"the header must spell {', '.join(spelt.values())}, got {got}.")
    if KEY not in table and NAME not in table:
        remedy = f"call the column of the PatientIDs {KEY}, or use --mapping"
        raise ManifestError(f"{file} must have a {NAME} column, got the header {','.join(table)[:80]}: {remedy}.")
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
