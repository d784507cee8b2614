"""The folder ``identifying/`` of an import: all that names a patient, for its owner alone to read.

``key.csv`` says whose pseudonym is whose, ``series.csv`` lists every series and what it is used as, and ``work/`` is
where files are converted. The folder is made private before anything is in it, and so is every file.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.cohort.cells import read_cells
from hepred_lib.errors import ManifestError, ScanError
from hepred_lib.intake.choice import USES, Choice
from hepred_lib.intake.series import Series

FOLDER, WORK = "identifying", "work"


def clear_work(out: Path) -> None:
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


def read_own(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
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


def earlier_series(out: Path) -> pd.DataFrame:
    """``series.csv`` of the last import as text, by SeriesInstanceUID; empty where there was none."""
    table = read_own(out / FOLDER / "series.csv", ("patient_id", "by_hand", "use", "files", "scan", "series_uid"))
    return table.reindex(columns=list(dict.fromkeys([*table, "face"])), fill_value="").set_index("series_uid")


def by_hand(known: pd.DataFrame) -> dict[str, str]:
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


def earlier_key(out: Path) -> dict[str, str]:
    """PatientID to pseudonym, as earlier imports gave them."""
    key = read_own(out / FOLDER / "key.csv", ("patient_id", "dicom_patient_id"))
    return dict(zip(key["dicom_patient_id"], key["patient_id"], strict=True))


def write_key(out: Path, names: Mapping[str, str]) -> None:
    """Write ``key.csv`` of all patients, PatientID to pseudonym."""
    _write(out / FOLDER / "key.csv", pd.DataFrame({"patient_id": names.values(), "dicom_patient_id": names.keys()}))


def write_series(
    out: Path,
    choices: list[Choice],
    names: Mapping[str, str],
    known: pd.DataFrame,
    written: Mapping[str, str],
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
            "face": face_word(written.get(series.uid, ""), without_face),
            "folder": str(series.files[0].parent),
            "study_uid": series.study,
            "series_uid": series.uid,
        }
        for choice in choices
        for series in (choice.series,)
    ]
    others = known[~known.index.isin([choice.series.uid for choice in choices])].reset_index()
    _write(out / FOLDER / "series.csv", pd.concat([pd.DataFrame(rows).astype(str), others.astype(str)]).fillna(""))


def write_damaged(out: Path, files: Iterable[Path]) -> None:
    """Write ``damaged.csv``, the DICOM files that cannot be read; there is none where all can."""
    path, table = out / FOLDER / "damaged.csv", pd.DataFrame({"file": [str(file) for file in files]})
    if len(table):
        _write(path, table)
    else:
        path.unlink(missing_ok=True)


def face_word(scan: str, without_face: bool) -> str:
    """What ``series.csv`` says of the face in a scan; empty where there is no scan."""
    return ("removed" if without_face else "kept") if scan else ""


def _gaps(series: Series) -> str:
    gaps = np.diff(series.places_mm)
    if not len(gaps):
        return ""
    low, high = f"{gaps.min():.1f}", f"{gaps.max():.1f}"
    return low if low == high else f"{low}-{high}"


def _make_private(folder: Path) -> Path:
    """A folder that none but its owner may enter, also where it was there before."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _write(path: Path, table: pd.DataFrame) -> None:
    """Write a table that none but its owner may read at any moment, and rename it into place when it is whole."""
    _make_private(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(table.to_csv(index=False, lineterminator="\n").encode())
    os.replace(temporary, path)


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
