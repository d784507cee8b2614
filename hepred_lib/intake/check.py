"""Everything wrong in a manifest, in the scans and masks that it names, and in the cohort that they make.

Two severities: ``refuse`` where a study would give a wrong number or stop, ``warn`` where a person should look and may
go on. Every patient's images are read once, by as many processes as there are cores; what comes back is small, so that
memory does not grow with the cohort.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from hepred_lib.intake.check_cohort import cohort_problems, named_afterwards, numbered
from hepred_lib.intake.check_images import MASKS, MOMENTS, REMEDIES, Images, read_images, same_but_turned
from hepred_lib.intake.spreadsheet import apply_mapping, load_mapping
from hepred_lib.manifest import COLUMNS, Cells, Problem, cells_problems, read_cells, valid_cells
from hepred_lib.progress import progress as progress_bar
from hepred_lib.scans import ScanError, read_mask, read_scan
from hepred_lib.volume import mask_volume_ml

LEAST_FOR_PROCESSES = 12  # patients with images: a process takes longer to start than a few scans to read
IMAGE_COLUMNS = [f"{moment}_{name}" for moment in MOMENTS for name in ("ct", *(n for pair in MASKS for n in pair))]


@dataclass(frozen=True)
class Checked:
    """What the check of one manifest found.

    Attributes
    ----------
    file : str
        Name of the manifest.
    patients : int
        Rows that could be read.
    problems : list of Problem
        Refusals first, then warnings, each in the order of the manifest's lines.
    notes : list of str
        What was understood of the file, and what is no fault but should be known.
    table : DataFrame
        The valid cells, indexed by line.
    cells : Cells or None
        The table as it was read, under the manifest's names.
    """

    file: str
    patients: int
    problems: list[Problem]
    notes: list[str] = field(default_factory=list)
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    cells: Cells | None = None

    @property
    def refusals(self) -> int:
        """Number of problems that must be solved before a study."""
        return sum(problem.severity == "refuse" for problem in self.problems)

    @property
    def verdict(self) -> str:
        """The counts in one line."""
        if not self.problems:
            return f"{self.file}: {numbered(self.patients, 'patient')}, no problem found."
        warnings = len(self.problems) - self.refusals
        counts = [(self.refusals, "refusal"), (warnings, "warning")]
        said = [numbered(count, noun) for count, noun in counts if count]
        return ", ".join([numbered(self.patients, "patient"), *said]) + "."

    @property
    def lines(self) -> list[str]:
        """One line per problem; warnings are marked."""
        return [f"warning: {problem}" if problem.severity == "warn" else str(problem) for problem in self.problems]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the counts, every problem with all its fields and its sentence, and the notes."""
        names = ("severity", "line", "patient_id", "column", "rule", "value", "remedy")
        return {
            "file": self.file,
            "patients": self.patients,
            "refusals": self.refusals,
            "warnings": len(self.problems) - self.refusals,
            "problems": [{n: getattr(p, n) for n in names} | {"message": str(p)} for p in self.problems],
            "notes": self.notes,
        }


def check(
    path: str | os.PathLike,
    *,
    definition: str = "6ml_or_33pct",
    mapping: str | os.PathLike | None = None,
    progress: bool = False,
    cores: int = 1,
) -> list[Problem]:
    """Every problem of a manifest, of its images and of its cohort: refusals first, each in the order of the lines.

    Parameters
    ----------
    path : path-like
        The manifest.
    definition : str
        The study's definition of expansion, against which printed labels are held.
    mapping : path-like, optional
        A YAML file that says which column of the file is which column of a manifest.
    progress : bool
        Show a bar over the patients.
    cores : int
        Processes that read images. With more than one, a script that calls this at its top level needs
        ``if __name__ == "__main__"``.

    Raises
    ------
    ValueError
        If the definition is unknown.
    ManifestError
        If the mapping cannot be used.
    """
    return check_manifest(path, definition=definition, mapping=mapping, progress=progress, cores=cores).problems


def check_manifest(
    path: str | os.PathLike,
    *,
    definition: str = "6ml_or_33pct",
    mapping: str | os.PathLike | None = None,
    progress: bool = False,
    cores: int = 1,
) -> Checked:
    """As :func:`check`, with the counts and notes."""
    cells = read_cells(path) if mapping is None else apply_mapping(read_cells(path), load_mapping(mapping))
    file, table = cells.path.name, valid_cells(cells)
    problems = [
        *cells_problems(cells, definition=definition),
        *cohort_problems(table, file, definition=definition),
        *_image_problems(table, file, cores=cores, progress=progress),
    ]
    after = named_afterwards(list(table.columns))
    told = [f"known only afterwards, by their names, and no candidates: {', '.join(after)}"] if after else []
    count = numbered(len(table), "patient")
    notes = [note for note in cells.notes if note != count]  # the verdict says it
    return Checked(file, len(table), _ordered(problems), [*notes, *told], table, cells)


def fill_volumes(table: pd.DataFrame, *, progress: bool = False) -> pd.DataFrame:
    """The table with its empty volumes (mL) measured on the masks, where there are any.

    Raises
    ------
    ScanError
        If a scan or mask cannot be used; the file and the patient are named.
    """
    filled = table.copy()
    rows = table.iterrows()
    for index, row in progress_bar(rows, total=len(table), desc="patients", unit="patient", quiet=not progress):
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


def _ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, refusals first, in the order of the lines; none without a remedy."""
    told = [problem if problem.remedy else replace(problem, remedy=_general_remedy(problem)) for problem in problems]
    return sorted(dict.fromkeys(told), key=lambda problem: (problem.severity != "refuse", problem.line))


def _general_remedy(problem: Problem) -> str:
    if problem.column == "patient_id":
        return "Give every patient a pseudonym of their own."
    if problem.line > 1 and problem.column in COLUMNS:
        return "Correct the cell, or leave it empty where the value is not known."
    return "Correct the table."


def _image_problems(table: pd.DataFrame, file: str, *, cores: int, progress: bool) -> list[Problem]:
    """Faults of every patient's images, and of images that two rows or moments share."""
    named = table[[column for column in IMAGE_COLUMNS if not column.endswith("_ml")]].notna().any(axis=1)
    columns = ["patient_id", "split", "ivh", *IMAGE_COLUMNS]
    rows = table.loc[named, columns].fillna({"patient_id": ""})
    records = rows.astype(object).to_dict("records")
    read = progress_bar(
        _read_all(records, cores), total=len(records), desc="patients", unit="patient", quiet=not progress
    )
    problems, twins = [], Twins()
    for line, row, images in zip(rows.index, records, read, strict=True):
        faults = [(f.column, f.rule, f.value, f.severity, f.remedy) for f in images.faults]
        for column, rule, value, severity, remedy in [*faults, *twins.found(row, images)]:
            problems.append(Problem(file, int(line), column, row["patient_id"], rule, value, severity, remedy))
    return problems


class Twins:
    """The scans seen so far, to find one content under two names."""

    def __init__(self) -> None:
        self.voxels: dict[bytes, tuple[dict, str]] = {}
        self.histograms: dict[bytes, list[tuple[dict, str]]] = {}

    def found(self, row: dict[str, Any], images: Images) -> Iterator[tuple[str, str, str, str, str]]:
        """Column, rule, value, severity and remedy of every scan of a row that has been seen before."""
        for column, (voxels, histogram) in images.contents.items():
            twin, how = self.voxels.get(voxels), "the same voxels"
            if twin is None:
                # Equal histograms are rare enough to read both scans again and to compare them turned.
                alike = self.histograms.get(histogram, ())
                twin = next((one for one in alike if same_but_turned(one[0][one[1]], row[column])), None)
                how = "the same voxels (mirrored or turned)"
            self.voxels.setdefault(voxels, (row, column))
            self.histograms.setdefault(histogram, []).append((row, column))
            if twin is not None:
                other, name = twin
                splits = {row["split"], other["split"]} == {"development", "test"}
                where = f"{how} in {Path(row[column]).name}" + (", one in development, one in test" if splits else "")
                yield (
                    column,
                    f"be another image than {name} of patient {other['patient_id']}",
                    where,
                    "refuse",
                    (REMEDIES["twice"]),
                )


def _read_all(records: list[dict[str, Any]], cores: int) -> Iterator[Images]:
    """The images of every row, in order; processes are started afresh, since a fork would copy locked threads."""
    if cores < 2 or len(records) < LEAST_FOR_PROCESSES:
        yield from map(read_images, records)
        return
    pool = ProcessPoolExecutor(
        min(cores, len(records)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_process,
        initargs=(os.getpid(),),
    )
    try:
        yield from pool.map(read_images, records, chunksize=4)
    except BrokenProcessPool as error:
        raise ScanError(
            "a process that reads scans must have enough memory, got killed by the system: try --cores 1."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_process(owner: int) -> None:
    """One thread a process; Ctrl-C is the owner's to handle, and without its owner the process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)

    def watch() -> None:
        while os.getppid() == owner:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
