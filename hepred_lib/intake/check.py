"""Everything wrong in a manifest and in the scans and masks that it names, and the volumes that its masks give."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from hepred_lib.manifest import Problem, manifest_problems, read_valid_cells
from hepred_lib.progress import progress as progress_bar
from hepred_lib.scans import Scan, ScanError, read_mask, read_scan
from hepred_lib.volume import mask_volume_ml

VOLUME_TOLERANCE = 0.25  # outlines and printed volumes come from different readings
MOMENTS = ("baseline", "followup")
MASKS = (("mask", "volume_ml"), ("ivh_mask", "ivh_ml"))


def check(path: str | os.PathLike, *, definition: str = "6ml_or_33pct", progress: bool = False) -> list[Problem]:
    """Every problem of a manifest and of its images, in the order of its lines; nothing stops at the first.

    Beside what :func:`hepred_lib.manifest.manifest_problems` finds: scans and masks that ``scans`` refuses, a mask
    without its scan, a printed volume more than 25 % away from its mask's, and one image under two names.

    Parameters
    ----------
    path : path-like
        The manifest.
    definition : str
        The study's definition of expansion, against which printed labels are held.
    progress : bool
        Show a bar over the patients.

    Raises
    ------
    ValueError
        If the definition is unknown.
    """
    problems = manifest_problems(path, definition=definition)
    table = read_valid_cells(path).fillna({"patient_id": ""})
    seen: dict[bytes, tuple[str, str]] = {}
    for line, row in _rows(table, progress):
        for moment in MOMENTS:
            for column, rule, value in _image_faults(row, moment, seen):
                problems.append(Problem(Path(path).name, line, column, row["patient_id"], rule, value))
    return sorted(problems, key=lambda problem: problem.line)


def fill_volumes(table: pd.DataFrame, *, progress: bool = False) -> pd.DataFrame:
    """The table with its empty volumes (mL) measured on the masks, where there are any.

    Raises
    ------
    ScanError
        If a scan or mask cannot be used; the file and the patient are named.
    """
    filled = table.copy()
    for index, row in _rows(table, progress):
        for moment in MOMENTS:
            for mask, volume in MASKS:
                if pd.isna(row[f"{moment}_{volume}"]) and not pd.isna(row[f"{moment}_{mask}"]):
                    filled.at[index, f"{moment}_{volume}"] = _measured(row, moment, mask)
    return filled


def _measured(row: pd.Series, moment: str, mask: str) -> float:
    patient = row["patient_id"]
    if pd.isna(row[f"{moment}_ct"]):
        raise ScanError(f"{moment}_ct must be given beside {moment}_{mask}, got nothing (patient {patient}).")
    try:
        scan = read_scan(row[f"{moment}_ct"])
        return mask_volume_ml(read_mask(row[f"{moment}_{mask}"], scan), scan.affine)
    except ScanError as error:
        raise ScanError(f"{str(error).removesuffix('.')} (patient {patient}).") from error


def _rows(table: pd.DataFrame, progress: bool) -> Iterable[tuple[int, pd.Series]]:
    rows = table.iterrows()
    return progress_bar(rows, total=len(table), desc="patients", unit="patient") if progress else rows


def _image_faults(row: pd.Series, moment: str, seen: dict[bytes, tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Column, rule and value of what is wrong in one patient's scan and masks of one moment."""
    column = f"{moment}_ct"
    if pd.isna(row[column]):
        for mask, _ in MASKS:
            if not pd.isna(row[f"{moment}_{mask}"]):
                yield column, f"be given beside {moment}_{mask}", "nothing"
        return
    path = Path(row[column])
    if not path.is_file():
        return  # a fault of the manifest, found before
    try:
        scan = read_scan(path)
    except ScanError as error:
        yield column, *_rule_and_value(error, path)
        return
    digest = hashlib.sha256(scan.hu.T).digest()
    patient, twin = seen.setdefault(digest, (row["patient_id"], column))
    if (patient, twin) != (row["patient_id"], column):
        yield column, f"be another image than {twin} of patient {patient}", f"the same voxels in {path.name}"
    for mask, volume in MASKS:
        yield from _mask_faults(row, f"{moment}_{mask}", f"{moment}_{volume}", scan)


def _mask_faults(row: pd.Series, mask: str, volume: str, scan: Scan) -> Iterator[tuple[str, str, str]]:
    if pd.isna(row[mask]) or not Path(row[mask]).is_file():
        return
    try:
        measured = mask_volume_ml(read_mask(row[mask], scan), scan.affine)
    except ScanError as error:
        yield mask, *_rule_and_value(error, Path(row[mask]))
        return
    printed = row[volume]
    if not pd.isna(printed) and abs(printed - measured) > VOLUME_TOLERANCE * measured:
        yield volume, f"lie within {VOLUME_TOLERANCE:.0%} of the {measured:.2f} mL of {mask}", f"{printed:g}"


def _rule_and_value(error: ScanError, path: Path) -> tuple[str, str]:
    """The two halves of "PATH must RULE, got VALUE."."""
    rule, _, value = str(error).removeprefix(f"{path} must ").removesuffix(".").partition(", got ")
    return rule, f"{value} in {path.name}"
