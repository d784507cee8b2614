"""A folder of DICOM files to NIfTI scans and a manifest, with what identifies patients kept apart.

=============================== ==================================================================================
``manifest.csv``                a row a patient: pseudonym, scans, hours between them, age and sex, clinical columns
``scans/NAME_baseline.nii.gz``  and ``NAME_followup.nii.gz``
``identifying/key.csv``         pseudonym and PatientID: stays in the hospital
``identifying/series.csv``      every series that was found, what it is used as and why; ``by_hand`` is yours to fill
=============================== ==================================================================================

Called again, the import keeps every pseudonym, heeds ``by_hand``, converts only what has changed, and leaves patients
who are not in this source, and what you wrote into the manifest, as they were.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.intake.choice import USES, Choice, choose, hours_between
from hepred_lib.intake.conversion import convert_series
from hepred_lib.intake.series import Series, find_series
from hepred_lib.manifest import PATIENT_ID, ManifestError
from hepred_lib.progress import progress
from hepred_lib.scans import ScanError
from hepred_lib.study import read_printed, write_table

SCANS = ("baseline", "followup")
MADE = ("baseline_ct", "followup_ct", "ct_to_followup_h")


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes
    ----------
    manifest : Path
    patients, with_baseline, with_followup : int
    notes : tuple of str
        One line for each patient without a scan and for each series that could not be converted.
    """

    manifest: Path
    patients: int
    with_baseline: int
    with_followup: int
    notes: tuple[str, ...]


def import_dicom(source: Path, out: Path, clinical: Path | None = None) -> Imported:
    """Find the series, choose scans, convert them, write the manifest.

    Parameters
    ----------
    source : Path
        A folder; DICOM files of any name anywhere below it.
    out : Path
        Made if it is not there.
    clinical : Path, optional
        A table in the manifest's columns. ``patient_id`` is the pseudonym; the column ``dicom_patient_id`` says which
        PatientID it stands for, and where there is no such column the two are the same.

    Raises
    ------
    ScanError
        No folder, no DICOM image in it, or a scan of an earlier import that its patient's series here lack.
    ManifestError
        A clinical table without ``patient_id``, with one that is no pseudonym or not the one given before, or with one
        patient twice; a ``by_hand`` that is no use.
    """
    if not source.is_dir():
        raise ScanError(f"SOURCE must be a folder of DICOM files, got {source}.")
    bedside = _bedside(clinical)
    found, foreign = find_series(source)
    if not found:
        raise ScanError(f"{source} must hold DICOM images, got {foreign} files that are none.")
    known = _earlier(out / "identifying" / "series.csv")
    choices = choose(found, _by_hand(known))
    names = _pseudonyms(out / "identifying" / "key.csv", choices, bedside)
    _require_whole_patients(choices, names, known)
    _write_key(out / "identifying" / "key.csv", names)
    written = _unchanged(choices, names, out, known)
    # Before anything is replaced: where this is killed, the next import takes no scan for that of another series.
    _write_series(out / "identifying" / "series.csv", choices, names, known, written)
    notes = _convert(choices, names, out, written)
    _write_series(out / "identifying" / "series.csv", choices, names, known, written)
    earlier = _earlier_manifest(out / "manifest.csv")
    table = _manifest(choices, names, bedside, written, earlier)
    write_table(out / "manifest.csv", table)
    notes += _without_baseline(choices, names, table, bedside)
    counts = {f"with_{scan}": int((table[f"{scan}_ct"] != "").sum()) for scan in SCANS}
    return Imported(out / "manifest.csv", len(table), **counts, notes=tuple(notes))


def _bedside(path: Path | None) -> pd.DataFrame:
    """The clinical table as text, indexed by PatientID."""
    if path is None:
        return pd.DataFrame({"patient_id": []}, dtype=str)
    try:
        table = read_printed(path).apply(lambda column: column.str.strip())
    except (OSError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise ManifestError(f"--clinical must be a comma-separated UTF-8 table, got {error} ({path}).") from error
    if "patient_id" not in table:
        raise ManifestError(f"{path.name} must have a patient_id column, got the header {','.join(table)[:80]}.")
    wrong = table.loc[~table["patient_id"].str.fullmatch(PATIENT_ID), "patient_id"]
    if len(wrong):
        raise ManifestError(f"patient_id must be a pseudonym {PATIENT_ID}, got {wrong.iloc[0]!r} ({path.name}).")
    keys = table["dicom_patient_id"] if "dicom_patient_id" in table else table["patient_id"]
    for name, values in (("patient_id", table["patient_id"]), ("dicom_patient_id", keys)):
        twice = values[values.duplicated()]
        if len(twice):
            raise ManifestError(f"{name} must be unique, got {twice.iloc[0]!r} twice ({path.name}).")
    return table.drop(columns=["dicom_patient_id", *MADE], errors="ignore").set_index(pd.Index(keys, name=None))


def _earlier(path: Path) -> pd.DataFrame:
    """The series table of the last import, by SeriesInstanceUID."""
    if not path.exists():
        return pd.DataFrame(columns=["patient_id", "by_hand", "use", "files", "scan"], dtype=str)
    return read_printed(path).set_index("series_uid")


def _by_hand(known: pd.DataFrame) -> dict[str, str]:
    told = known["by_hand"][known["by_hand"].str.strip() != ""].str.strip()
    wrong = told[~told.isin(USES)]
    if len(wrong):
        raise ManifestError(f"by_hand must be empty or one of {', '.join(USES)}, got {wrong.iloc[0]!r} (series.csv).")
    return told.to_dict()


def _pseudonyms(path: Path, choices: list[Choice], bedside: pd.DataFrame) -> dict[str, str]:
    """PatientID to pseudonym: the clinical table's, the one given before, or the next number.

    New numbers follow a hash of the PatientID, so that they tell nothing of its order.
    """
    key = read_printed(path) if path.exists() else pd.DataFrame(columns=["patient_id", "dicom_patient_id"], dtype=str)
    before, told = dict(zip(key["dicom_patient_id"], key["patient_id"], strict=True)), bedside["patient_id"].to_dict()
    for patient in told.keys() & before.keys():
        if told[patient] != before[patient]:
            raise ManifestError(
                f"patient_id must stay {before[patient]} ({path.name}), got {told[patient]} (--clinical)."
            )
    names = before | told
    if len(set(names.values())) < len(names):
        (twice, _), *_ = Counter(names.values()).most_common(1)
        raise ManifestError(
            f"patient_id must stand for one PatientID, got {twice} for two (--clinical and {path.name})."
        )
    numbers = [int(name[1:]) for name in names.values() if re.fullmatch(r"P\d{4,}", name)]
    new = {choice.series.patient for choice in choices} - set(names)
    for number, patient in enumerate(sorted(new, key=lambda patient: hashlib.sha256(patient.encode()).digest())):
        names[patient] = f"P{max(numbers, default=0) + 1 + number:04d}"
    return names


def _write_key(path: Path, names: Mapping[str, str]) -> None:
    _write_private(path, pd.DataFrame({"patient_id": names.values(), "dicom_patient_id": names.keys()}))


def _require_whole_patients(choices: list[Choice], names: Mapping[str, str], known: pd.DataFrame) -> None:
    """Refuse to choose among some of a patient's series: the first of those might not be the first scan."""
    here = {names[choice.series.patient] for choice in choices}
    lost = known[known["patient_id"].isin(here) & ~known.index.isin([c.series.uid for c in choices])]
    lost = lost[lost["use"] != "none"]
    if len(lost):
        row = lost.iloc[0]
        raise ScanError(
            f"SOURCE must hold all series of a patient it holds, got no {row['use']} of patient {row['patient_id']}, "
            f"which was in {row['folder']}: import these together, or into another folder."
        )


def _unchanged(choices: list[Choice], names: Mapping[str, str], out: Path, known: pd.DataFrame) -> dict[str, str]:
    """Path by SeriesInstanceUID, relative to ``out``, of the scans that an earlier import made as they are wanted."""
    written = {}
    for choice in choices:
        uid, place = choice.series.uid, _place(choice, names)
        last = known.loc[uid] if uid in known.index else {"scan": "", "files": ""}
        same = last["scan"] == place and last["files"] == str(len(choice.series.files))
        if choice.use != "none" and same and (out / place).exists():
            written[uid] = place
    return written


def _place(choice: Choice, names: Mapping[str, str]) -> str:
    return f"scans/{names[choice.series.patient]}_{choice.use}.nii.gz"


def _convert(choices: list[Choice], names: Mapping[str, str], out: Path, written: dict[str, str]) -> list[str]:
    """Convert what is wanted and not yet ``written``, note it there, and say in a line what could not be converted."""
    notes = []
    todo = [choice for choice in choices if choice.use != "none" and choice.series.uid not in written]
    for choice in progress(todo, desc="convert", unit="series"):
        try:
            convert_series(choice.series, out / _place(choice, names))
            written[choice.series.uid] = _place(choice, names)
        except ScanError as error:
            notes.append(f"patient {names[choice.series.patient]}, {choice.use}: {error}")
    kept = {out / place for place in written.values()}
    for name in {names[choice.series.patient] for choice in choices}:  # of a series that is not used any more
        for scan in SCANS:
            path = out / "scans" / f"{name}_{scan}.nii.gz"
            if path not in kept:
                path.unlink(missing_ok=True)
    return notes


def _earlier_manifest(path: Path) -> pd.DataFrame:
    table = read_printed(path) if path.exists() else pd.DataFrame()
    return table.set_index("patient_id") if "patient_id" in table else pd.DataFrame()


def _manifest(
    choices: list[Choice],
    names: Mapping[str, str],
    bedside: pd.DataFrame,
    written: Mapping[str, str],
    earlier: pd.DataFrame,
) -> pd.DataFrame:
    """A row a patient as text. A cell is the clinical table's, else the earlier manifest's, else the header's."""
    used = {(choice.series.patient, choice.use): choice.series for choice in choices if choice.series.uid in written}
    rows = {}
    for patient in [*dict.fromkeys(choice.series.patient for choice in choices), *bedside.index]:
        first, later = (used.get((patient, scan)) for scan in SCANS)
        hours = hours_between(first, later) if first and later else np.nan
        rows[names[patient]] = {
            **{f"{scan}_ct": written[s.uid] if s else "" for scan, s in zip(SCANS, (first, later), strict=True)},
            "ct_to_followup_h": "" if np.isnan(hours) else f"{hours:.2f}",
            "age": "" if first is None or np.isnan(first.age) else f"{first.age:.0f}",
            "sex": first.sex if first else "",
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table = table.reindex(table.index.union(earlier.index))
    told = bedside.set_index("patient_id")
    for column in dict.fromkeys([*table, *earlier, *told]):
        made = table.get(column, pd.Series(pd.NA, table.index, dtype=object)).replace("", pd.NA)
        before = earlier.get(column, pd.Series(dtype=object)).replace("", pd.NA).reindex(table.index)
        given = told.get(column, pd.Series(dtype=object)).replace("", pd.NA).reindex(table.index)
        if column in MADE:  # as they are now, for whoever is in this source
            table[column] = made.where(table.index.isin(list(rows)), before)
        else:
            table[column] = given.fillna(before).fillna(made)
    return table.fillna("").sort_index().rename_axis("patient_id").reset_index()


def _without_baseline(
    choices: list[Choice], names: Mapping[str, str], table: pd.DataFrame, bedside: pd.DataFrame
) -> list[str]:
    """A line for each patient who has no first scan, with the reasons against their series."""
    reasons: dict[str, list[str]] = {names[patient]: [] for patient in bedside.index}
    for choice in choices:
        of_patient = reasons.setdefault(names[choice.series.patient], [])
        reason = choice.reason if choice.use == "none" else "could not be converted"
        of_patient.append(f"series {choice.series.number} {reason}")
    missing = table.loc[table["baseline_ct"].eq("") & table["patient_id"].isin(list(reasons)), "patient_id"]
    return [f"patient {name} has no first scan: {'; '.join(reasons[name]) or 'no series at all'}." for name in missing]


def _write_series(
    path: Path, choices: list[Choice], names: Mapping[str, str], known: pd.DataFrame, written: Mapping[str, str]
) -> None:
    rows = [
        {
            "patient_id": names[series.patient],
            "use": choice.use,
            "reason": choice.reason,
            "by_hand": known["by_hand"].get(series.uid, ""),
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
            "folder": str(series.files[0].parent),
            "study_uid": series.study,
            "series_uid": series.uid,
        }
        for choice in choices
        for series in (choice.series,)
    ]
    others = known[~known.index.isin([choice.series.uid for choice in choices])].reset_index()
    _write_private(path, pd.concat([pd.DataFrame(rows).astype(str), others.astype(str)], ignore_index=True))


def _gaps(series: Series) -> str:
    gaps = np.diff(series.places_mm)
    if not len(gaps):
        return ""
    low, high = f"{gaps.min():.1f}", f"{gaps.max():.1f}"
    return low if low == high else f"{low}-{high}"


def _write_private(path: Path, table: pd.DataFrame) -> None:
    """For the owner's eyes alone."""
    write_table(path, table)
    os.chmod(path, 0o600)
    os.chmod(path.parent, 0o700)
