"""Everything wrong in a manifest, in the scans and masks that it names, and in the cohort that they make.

Two severities: ``refuse`` where a study would give a wrong number or stop, ``warn`` where a person should look and may
go on. Every patient's images are read once, by as many processes as there are cores; what comes back is small, so that
memory does not grow with the cohort.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from hepred_lib.cohort.cells import Cells, read_cells
from hepred_lib.cohort.manifest import cells_problems, valid_cells
from hepred_lib.cohort.rules import COLUMNS, Problem
from hepred_lib.imaging.head import cut_ends
from hepred_lib.imaging.nifti import read_nifti
from hepred_lib.imaging.preprocessing import Head, bone_threshold, find_head
from hepred_lib.imaging.scans import Scan, ScanError, mask_faults, read_mask, read_scan
from hepred_lib.imaging.volume import mask_volume_ml
from hepred_lib.intake.check_cohort import cohort_problems, named_afterwards, numbered
from hepred_lib.intake.spreadsheet import apply_mapping, load_mapping
from hepred_lib.progress import progress as progress_bar

# --- check_images: What is wrong with the scans and masks of one patient, each file read once

VOLUME_TOLERANCE = 0.25  # outlines and printed volumes come from different readings
MOMENTS = ("baseline", "followup")
MASKS = (("mask", "volume_ml"), ("ivh_mask", "ivh_ml"))
OVERLAP = 0.5  # of the ventricular mask; edges of two outlines meet, but do not cover each other
HISTOGRAM_HU = (-1100, 3100)
IVH_ML = 1.0  # of ventricular blood that a reader does not overlook


@dataclass(frozen=True)
class Fault:
    """What is wrong with one cell of a patient's row, in the words of ``Problem``."""

    column: str
    rule: str
    value: str
    severity: str = "refuse"
    remedy: str = ""


@dataclass
class Images:
    """What the images of one patient gave.

    Attributes
    ----------
    faults : list of Fault
    contents : dict of str to (bytes, bytes)
        Of every scan that could be read, by its column: the digests of its voxels and of its histogram.
    volumes_ml : dict of str to float
        Of every mask that could be read, by its column.
    """

    faults: list[Fault] = field(default_factory=list)
    contents: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    volumes_ml: dict[str, float] = field(default_factory=dict)


def read_images(row: Mapping[str, Any]) -> Images:
    """Read and judge the scans and masks of one row of the manifest (absolute paths); never raises for its files."""
    images, masks = Images(), {}
    for moment in MOMENTS:
        try:
            images.faults += _moment_faults(row, moment, images, masks)
        except Exception as error:  # one patient's file, however broken, must not hide the other patients' faults
            reason = " ".join(str(error).split()) or "no reason given"
            value = f"{type(error).__name__}: {reason}"
            images.faults.append(
                Fault(f"{moment}_ct", "be a scan that can be judged", value, "refuse", REMEDIES["read"])
            )
    images.faults = [*_without_swapped(images, row), *_pair_faults(images, row, masks)]
    return images


REMEDIES = {
    "read": "Export or convert the scan again, and look at it in a viewer.",
    "header": "Nothing has to be done; write the scan anew to be rid of this warning.",
    "cut": "Look whether the hematoma is whole; use another series if there is one.",
    "mask": "Draw or export the mask again on this very scan.",
    "scan": "Add the scan, or remove its mask.",
    "volume": "Correct the printed volume or the mask; leave the volume empty to use that of the mask.",
    "twice": "Give every patient and moment its own scan.",
    "swapped": "Look which scan came first, and exchange the files or the two volumes.",
}


def content(hu: np.ndarray) -> tuple[bytes, bytes]:
    """Digests of a scan's voxels, in whole HU and canonical order, and of their histogram."""
    whole = np.rint(hu.T).astype(np.int32)  # (z, y, x): contiguous
    low, high = HISTOGRAM_HU
    counts = np.bincount(np.clip(whole, low, high).ravel() - low)
    shape = str(whole.shape).encode()
    ordered = hashlib.sha256(shape + np.ascontiguousarray(whole, dtype=np.int16).tobytes())
    return ordered.digest(), hashlib.sha256(str(sorted(whole.shape)).encode() + counts.tobytes()).digest()


def same_but_turned(first: Path, second: Path) -> bool:
    """Whether two scans have the same voxels but for mirrored or exchanged axes."""
    try:
        a, b = (np.rint(read_scan(path).hu) for path in (first, second))
    except ScanError:
        return False
    for axes in permutations(range(3)):
        turned = b.transpose(axes)
        if turned.shape == a.shape and any(
            np.array_equal(a, turned[tuple(slice(None, None, step) for step in steps)])
            for steps in product((1, -1), repeat=3)
        ):
            return True
    return False


def given(row: Mapping[str, Any], column: str) -> bool:
    """Whether a cell of a row has a value."""
    return column in row and not pd.isna(row[column])


def _moment_faults(row: Mapping, moment: str, images: Images, masks: dict[str, bytes]) -> Iterator[Fault]:
    """Faults of one moment's scan and masks."""
    column = f"{moment}_ct"
    if not given(row, column):
        for mask, _ in MASKS:
            if given(row, f"{moment}_{mask}"):
                yield Fault(column, f"be given beside {moment}_{mask}", "nothing", "refuse", REMEDIES["scan"])
        return
    path = Path(row[column])
    if not path.is_file():
        return  # a fault of the manifest, found before
    scan, head, faults = _judged(column, path)
    yield from faults
    if scan is None:
        return
    images.contents[column] = content(scan.hu)
    read: dict[str, np.ndarray] = {}
    for mask, volume in MASKS:
        yield from _mask_faults(row, (f"{moment}_{mask}", f"{moment}_{volume}"), scan, read, head)
    for name, voxels in read.items():
        images.volumes_ml[name] = mask_volume_ml(voxels, scan.affine)
        if voxels.any():
            masks[name] = hashlib.sha256(np.packbits(voxels).tobytes()).digest()
    yield from _ventricular_faults(row, moment, read, images)


def _judged(column: str, path: Path) -> tuple[Scan | None, Head | None, list[Fault]]:
    """A scan and its head, as far as they can be had, and what is wrong with them."""
    scan = None
    try:
        scan = read_scan(path)
        head = find_head(scan.hu, scan.spacing_mm, name=str(path))
    except ScanError as error:
        return scan, None, [_refused(column, error, path)]
    rule, remedy = "have an undamaged header", REMEDIES["header"]
    noted = [Fault(column, rule, f"{note} in {path.name}", "warn", remedy) for note in scan.notes]
    return scan, head, [*noted, *_cut_faults(column, head, path)]


def _cut_faults(column: str, head: Head, path: Path) -> Iterator[Fault]:
    """Warnings for a head that goes on beyond the scan: a part of the hematoma may be missing."""
    base, vertex = cut_ends(head.brain)
    for cut, words, which in ((base, "down to the skull base", "first"), (vertex, "up to the vertex", "last")):
        if cut:
            value = f"brain in the {which} slice of {path.name}"
            yield Fault(column, f"show the brain {words}", value, "warn", REMEDIES["cut"])


def _mask_faults(
    row: Mapping, columns: tuple[str, str], scan: Scan, read: dict[str, np.ndarray], head: Head | None
) -> Iterator[Fault]:
    mask, volume = columns
    if not given(row, mask) or not Path(row[mask]).is_file():
        return
    try:
        read[mask] = read_mask(row[mask], scan)
    except ScanError as error:
        fault = _refused(mask, error, Path(row[mask]))
        yield _on_the_other_grid(row, fault) or fault
        return
    brain_hu, bone_hu = (np.nan, bone_threshold(scan.hu)) if head is None else (head.brain_hu, head.bone_hu)
    found = mask_faults(
        read[mask], scan.hu, scan.spacing_mm, brain_hu=brain_hu, bone_hu=bone_hu, ventricular="ivh" in mask
    )
    for fault in found:
        yield Fault(mask, fault.rule, f"{fault.value} in {Path(row[mask]).name}", fault.severity, fault.remedy)
    measured = mask_volume_ml(read[mask], scan.affine)
    if given(row, volume) and _far(row[volume], measured):
        rule = f"lie within {VOLUME_TOLERANCE:.0%} of the {measured:.2f} mL of {mask}"
        yield Fault(volume, rule, f"{row[volume]:g}", "refuse", REMEDIES["volume"])


def _far(printed: float, measured: float) -> bool:
    return abs(printed - measured) > VOLUME_TOLERANCE * measured


def _on_the_other_grid(row: Mapping, fault: Fault) -> Fault | None:
    """The fault of a mask that does not fit its own scan, but does fit the other moment's."""
    moment, _, kind = fault.column.partition("_")
    other = MOMENTS[1 - MOMENTS.index(moment)]
    own_ct, other_ct = (row.get(f"{name}_ct") for name in (moment, other))
    if not given(row, f"{other}_ct") or not Path(other_ct).is_file():
        return None
    try:
        mask, own, others = (_grid(Path(path)) for path in (row[fault.column], own_ct, other_ct))
    except Exception:  # whatever the file does to its reader: the mask's own fault is reported as it is
        return None

    def fits(scan: tuple[tuple[int, ...], np.ndarray]) -> bool:
        return mask[0] == scan[0] and np.allclose(mask[1], scan[1], atol=1e-2)

    if fits(own) or not fits(others):
        return None
    rule, value = f"lie on the grid of {moment}_ct", f"that of {other}_ct"
    return Fault(fault.column, rule, value, "refuse", f"Exchange {moment}_{kind} and {other}_{kind}, or the scans.")


def _grid(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of an image, in its own order of axes."""
    with path.open("rb") as stream:
        stored = read_nifti(stream, path.stat().st_size)
    return stored.voxels.shape, stored.affine


def _ventricular_faults(row: Mapping, moment: str, read: Mapping[str, np.ndarray], images: Images) -> Iterator[Fault]:
    """Blood in the ventricles that is counted twice, or that the reading denies."""
    blood, ivh = read.get(f"{moment}_mask"), read.get(f"{moment}_ivh_mask")
    if ivh is None or not ivh.any():
        return
    if blood is not None:
        share = np.count_nonzero(blood & ivh) / np.count_nonzero(ivh)
        if share > OVERLAP:
            rule, value = f"not overlap {moment}_mask", f"{share:.0%} of it inside"
            remedy = "Blood in the ventricles belongs to the second mask only: take it out of the first."
            yield Fault(f"{moment}_ivh_mask", rule, value, "refuse", remedy)
    volume = images.volumes_ml[f"{moment}_ivh_mask"]
    if moment == "baseline" and given(row, "ivh") and row["ivh"] == 0 and volume >= IVH_ML:
        rule, remedy = f"be 1 with the {volume:.1f} mL of baseline_ivh_mask", "Correct the reading or the mask."
        yield Fault("ivh", rule, "0", "warn", remedy)


def _without_swapped(images: Images, row: Mapping) -> list[Fault]:
    """The faults; two volumes that each fit the other moment's mask become one fault."""
    columns = [f"{moment}_volume_ml" for moment in MOMENTS]
    measured = [images.volumes_ml.get(f"{moment}_mask") for moment in MOMENTS]
    wrong = [fault for fault in images.faults if fault.column in columns]
    if len(wrong) < 2 or None in measured:
        return images.faults
    if _far(row[columns[0]], measured[1]) or _far(row[columns[1]], measured[0]):
        return images.faults
    value = " and ".join(f"{row[column]:g}" for column in columns) + " mL, each that of the other mask"
    rule = f"fit baseline_mask ({measured[0]:.2f} mL), and followup_volume_ml fit followup_mask ({measured[1]:.2f} mL)"
    fault = Fault(columns[0], rule, value, "refuse", REMEDIES["swapped"])
    return [fault if known is wrong[0] else known for known in images.faults if known is not wrong[1]]


def _pair_faults(images: Images, row: Mapping, masks: Mapping[str, bytes]) -> Iterator[Fault]:
    """One outline for both moments: it was copied, or one of them was never drawn."""
    for kind, _ in MASKS:
        first, second = (masks.get(f"{moment}_{kind}") for moment in MOMENTS)
        same_scan = len({voxels for voxels, _ in images.contents.values()}) < len(images.contents)
        if first is not None and first == second and not same_scan and _two_files(row, kind):
            rule, value = f"be another outline than baseline_{kind}", "the same voxels"
            yield Fault(f"followup_{kind}", rule, value, "warn", "Draw the follow-up's mask on the follow-up scan.")


def _two_files(row: Mapping, kind: str) -> bool:
    return row[f"baseline_{kind}"] != row[f"followup_{kind}"]


def _refused(column: str, error: ScanError, path: Path) -> Fault:
    """The parts of "PATH must RULE, got VALUE: REMEDY."; without a remedy of its own there is a general one."""
    rule, _, value = str(error).removeprefix(f"{path} must ").removesuffix(".").partition(", got ")
    value, _, own = value.partition(": ")
    general = REMEDIES["mask"] if column.endswith("mask") else REMEDIES["read"]
    cause = f"{own[0].upper()}{own[1:]}." if own else ""
    remedy = general if not own else f"{cause} {general}" if own.endswith("wrong") else cause
    return Fault(column, rule, f"{value} in {path.name}", "refuse", remedy)


# --- check: Everything wrong in a manifest, in the scans and masks that it names, and in the cohort that th

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
