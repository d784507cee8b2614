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

import fcntl
import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.cohort.cells import read_cells
from hepred_lib.errors import ManifestError, ScanError
from hepred_lib.imaging.nifti import written_whole
from hepred_lib.imaging.scans import write_nifti
from hepred_lib.intake.choice import USES, Choice, choose, hours_between
from hepred_lib.intake.clinical import FOLDER, MADE, Clinical, Person, joined, no_table, read_clinical
from hepred_lib.intake.conversion import convert_series, deface
from hepred_lib.intake.series import Series, find_series
from hepred_lib.intake.words import load_words
from hepred_lib.progress import progress
from hepred_lib.study.files import write_table

SCANS = ("baseline", "followup")
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
        lines = [
            f"{self.manifest}: patients {self.patients}, with a first scan {self.with_baseline}, with a follow-up "
            f"{self.with_followup}. Files that are no DICOM image: {self.foreign}.",
            *[unsure] * bool(self.unsure),
            *[damaged] * bool(self.damaged),
            f"{folder} names patients: it must not leave the hospital.",
        ]
        return "\n".join(lines)


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
    bedside = read_clinical(clinical, mapping) if clinical else no_table()
    found, foreign, damaged = find_series(source)
    if not found:
        broken = f" and {len(damaged)} that cannot be read" if damaged else ""
        raise ScanError(f"no DICOM images found in SOURCE: {foreign} files are not DICOM{broken}.")
    known, key = _earlier_series(out), _earlier_key(out)
    earlier = _read_own(out / "manifest.csv", ("patient_id",)).set_index("patient_id")
    choices = choose(found, _by_hand(known), vocabulary)
    bedside = joined(bedside, _people(found), key)
    names = _pseudonyms(key, choices, bedside)
    _require_whole_patients(choices, names, known)
    with workplace(out) as work:
        _write_private(out / FOLDER / "key.csv", {"patient_id": names.values(), "dicom_patient_id": names.keys()})
        written = _unchanged(choices, names, out, known, without_face)
        # Before anything is replaced: where this is killed, the next import takes no scan for that of another series.
        _write_series(out, choices, names, known, written, without_face)
        notes = _convert(choices, names, out, written, work, without_face)
        _write_series(out, choices, names, known, written, without_face)
        if damaged:
            _write_private(out / FOLDER / "damaged.csv", {"file": list(map(str, damaged))})
        else:
            (out / FOLDER / "damaged.csv").unlink(missing_ok=True)
    rows = zip(bedside.ids, bedside.pseudonyms, strict=True)
    told = bedside.table.set_axis([names[patient] if patient else name for patient, name in rows])
    table = _manifest(choices, names, told, written, earlier)
    write_table(out / "manifest.csv", table)
    notes = [*bedside.notes, *notes, *_contradictions(choices, names, told)]
    return Imported(
        manifest=out / "manifest.csv",
        patients=len(table),
        **{f"with_{scan}": int((table[f"{scan}_ct"] != "").sum()) for scan in SCANS},
        unsure=sum(choice.unsure for choice in choices),
        foreign=foreign,
        damaged=len(damaged),
        notes=(*notes, *_without_baseline(choices, names, table, told)),
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
    numbers = [int(name[1:]) for name in taken if re.fullmatch(r"P\d{4,}", name)]
    new = {*(choice.series.patient for choice in choices), *filter(None, bedside.ids)} - set(names)
    lost = [before[short] for patient in new if (short := patient.lstrip("0")) != patient and short in before]
    if lost:  # they would get a second pseudonym
        raise ManifestError(
            f"key.csv must have the PatientIDs as in the files, but that of {lost[0]} has lost its zeros, as a "
            f"spreadsheet does: restore {FOLDER}/key.csv."
        )
    for number, patient in enumerate(sorted(new, key=lambda patient: hashlib.sha256(patient.encode()).digest())):
        names[patient] = f"P{max(numbers, default=0) + 1 + number:04d}"
    return names


def _require_whole_patients(choices: list[Choice], names: Mapping[str, str], known: pd.DataFrame) -> None:
    """Refuse to choose among some of a patient's series: the first of those might not be the first scan."""
    of_one_here = known["patient_id"].isin({names[choice.series.patient] for choice in choices})
    lost = of_one_here & ~known.index.isin([choice.series.uid for choice in choices]) & (known["use"] != "none")
    if lost.any():
        line, row = 2 + int(np.argmax(lost)), known[lost].iloc[0]
        raise ScanError(
            f"SOURCE must hold all series of a patient it holds, got no {row['use']} of patient {row['patient_id']} "
            f"(line {line} of {FOLDER}/series.csv, where its folder is): import these together, or into another folder."
        )


def _unchanged(
    choices: list[Choice], names: Mapping[str, str], out: Path, known: pd.DataFrame, without_face: bool
) -> dict[str, str]:
    """Path by SeriesInstanceUID, relative to ``out``, of the scans that an earlier import made as they are wanted."""
    written, known = {}, known[~known.index.duplicated()]
    for choice in (choice for choice in choices if choice.use != "none"):
        uid, place = choice.series.uid, _place(choice, names)
        wanted = {"scan": place, "files": str(len(choice.series.files)), "face": _face_word(place, without_face)}
        same = uid in known.index and all(known.at[uid, column] == value for column, value in wanted.items())
        if same and (out / place).exists():
            written[uid] = place
    return written


def _place(choice: Choice, names: Mapping[str, str]) -> str:
    return f"scans/{names[choice.series.patient]}_{choice.use}.nii.gz"


def _convert(
    choices: list[Choice], names: Mapping[str, str], out: Path, written: dict[str, str], work: Path, without_face: bool
) -> list[str]:
    """Convert what is wanted and not yet ``written``, note it there, and say in a line what could not be converted."""
    notes = []
    todo = [(2 + k, c) for k, c in enumerate(choices) if c.use != "none" and c.series.uid not in written]
    (out / "scans").mkdir(parents=True, exist_ok=True)
    for line, choice in progress(todo, desc="convert", unit="series"):
        try:
            _convert_one(choice.series, out / _place(choice, names), work, without_face)
            written[choice.series.uid] = _place(choice, names)
        except ScanError as error:
            said = _without_paths(str(error), choice.series)
            notes.append(f"patient {names[choice.series.patient]}, {choice.use}, line {line} of series.csv: {said}")
    kept = {out / place for place in written.values()}
    for name in {names[choice.series.patient] for choice in choices}:  # of a series that is not used any more
        for scan in SCANS:
            path = out / "scans" / f"{name}_{scan}.nii.gz"
            if path not in kept:
                path.unlink(missing_ok=True)
    return notes


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


def _manifest(
    choices: list[Choice],
    names: Mapping[str, str],
    told: pd.DataFrame,
    written: Mapping[str, str],
    earlier: pd.DataFrame,
) -> pd.DataFrame:
    """One row per patient as text. A cell is the clinical table's, else the earlier manifest's, else the header's."""
    used = {(choice.series.patient, choice.use): choice.series for choice in choices if choice.series.uid in written}
    rows = {}
    for patient in dict.fromkeys(choice.series.patient for choice in choices):
        first, later = (used.get((patient, scan)) for scan in SCANS)
        hours = hours_between(first, later) if first and later else np.nan
        rows[names[patient]] = {
            **{f"{scan}_ct": written[s.uid] if s else "" for scan, s in zip(SCANS, (first, later), strict=True)},
            "ct_to_followup_h": "" if np.isnan(hours) else f"{hours:.2f}",
            "age": "" if first is None or np.isnan(first.age) else f"{first.age:.0f}",
            "sex": first.sex if first else "",
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table = table.reindex(table.index.union(earlier.index).union(told.index))
    for column in dict.fromkeys([*table, *earlier, *told]):
        given, before, made = (
            each.get(column, pd.Series(dtype=object)).replace("", pd.NA).reindex(table.index)
            for each in (told, earlier, table)
        )
        if column in MADE:  # as they are now, for whoever is in this source
            table[column] = made.where(table.index.isin(list(rows)), before)
        else:
            table[column] = given.fillna(before).fillna(made)
    return table.fillna("").sort_index().rename_axis("patient_id").reset_index()


def _contradictions(choices: list[Choice], names: Mapping[str, str], told: pd.DataFrame) -> list[str]:
    """A line for each patient whose age or sex in the clinical table is another than in the headers of the first scan.

    That is how a table whose rows have moved against their numbers shows itself.
    """
    notes = []
    for series in (choice.series for choice in choices if choice.use == "baseline"):
        name = names[series.patient]
        row = told.loc[name] if name in told.index else {}
        age = pd.to_numeric(row.get("age", ""), errors="coerce")
        pairs = [("age", f"{age:g}", f"{series.age:g}", abs(age - series.age) > AGE_APART_Y)]
        sex = row.get("sex", "")
        pairs.append(("sex", sex, series.sex, sex in ("F", "M") and series.sex not in ("", sex)))
        notes += [
            f"patient {name}: {column} is {given} in the clinical table and {said} in the DICOM header: is the row "
            "another patient's? The table's is used."
            for column, given, said, apart in pairs
            if apart
        ]
    return notes


def _without_baseline(
    choices: list[Choice], names: Mapping[str, str], table: pd.DataFrame, told: pd.DataFrame
) -> list[str]:
    """A line for each patient who has no first scan, with the reasons against their series."""
    reasons: dict[str, dict[str, list[str]]] = {name: {} for name in told.index}
    for choice in choices:
        reason = choice.reason if choice.use == "none" else "could not be converted"
        of_patient = reasons.setdefault(names[choice.series.patient], {})
        of_patient.setdefault(reason, []).append(str(choice.series.number))
    said = {
        name: "; ".join(f"series {', '.join(n)} {why}" for why, n in part.items()) for name, part in reasons.items()
    }
    missing = table.loc[table["baseline_ct"].eq("") & table["patient_id"].isin(list(reasons)), "patient_id"]
    return [f"patient {name} has no first scan: {said[name] or 'no series at all'}." for name in missing]


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
    told = known["by_hand"][known["by_hand"].str.strip() != ""].str.strip()
    wrong = told[~told.isin(USES)]
    if len(wrong):
        raise ManifestError(f"by_hand must be empty or one of {', '.join(USES)}, got {wrong.iloc[0]!r} (series.csv).")
    return told.to_dict()


def _earlier_key(out: Path) -> dict[str, str]:
    """PatientID to pseudonym, as earlier imports gave them."""
    key = _read_own(out / FOLDER / "key.csv", ("patient_id", "dicom_patient_id"))
    return dict(zip(key["dicom_patient_id"], key["patient_id"], strict=True))


def _write_series(
    out: Path,
    choices: list[Choice],
    names: Mapping[str, str],
    known: pd.DataFrame,
    written: Mapping,
    without_face: bool,
) -> None:
    """Write ``series.csv``: the choices in their order, then the series of earlier imports that are not here."""
    told = known["by_hand"][known["by_hand"] != ""].to_dict()  # one uid may be in two rows, under two patients
    rows = [
        {
            "patient_id": names[series.patient],
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
            "gaps_mm": _gaps(series),
            "files": len(series.files),
            "scan": written.get(series.uid, ""),
            "face": _face_word(written.get(series.uid, ""), without_face),
            "folder": str(series.files[0].parent),
            "study_uid": series.study,
            "series_uid": series.uid,
        }
        for choice in choices
        for series in (choice.series,)
    ]
    others = known[~known.index.isin([choice.series.uid for choice in choices])].reset_index()
    _write_private(
        out / FOLDER / "series.csv", pd.concat([pd.DataFrame(rows).astype(str), others.astype(str)]).fillna("")
    )


def _face_word(scan: str, without_face: bool) -> str:
    """What ``series.csv`` says of the face in a scan; empty where there is no scan."""
    return ("removed" if without_face else "kept") if scan else ""


def _gaps(series: Series) -> str:
    gaps = np.diff(series.places_mm)
    return "-".join(dict.fromkeys(f"{gap:.1f}" for gap in (gaps.min(), gaps.max()))) if len(gaps) else ""


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
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ScanError("OUT must not be in use by another import: wait for it, or end it.") from error
    finally:
        os.close(descriptor)
