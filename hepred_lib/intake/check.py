"""Everything wrong in a manifest, in the scans and masks that it names, and in the cohort that they make.

Two severities: ``refuse`` where a study would give a wrong number or stop, ``warn`` where a person should look and may
go on. Every patient's images are read once, by as many processes as there are cores; what comes back is small, so that
memory does not grow with the cohort. Here too: the patients of a manifest as every notebook takes them.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from itertools import permutations, product
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from hepred_lib.cohort.cells import Cells, read_cells
from hepred_lib.cohort.manifest import (
    derive_labels,
    label_conflicts,
    manifest_problems,
    old_names,
    read_manifest,
    valid_cells,
)
from hepred_lib.cohort.predictors import CLINICAL_CANDIDATES, NO_PREDICTORS, RADIOLOGICAL_CANDIDATES
from hepred_lib.cohort.rules import COLUMNS, PATHS, SPLITS, Problem, count_of, located, without_look
from hepred_lib.errors import ScanError
from hepred_lib.imaging.preprocessing import MOST_JUMPS, Head, bone_threshold, cut_ends, find_head, jumps
from hepred_lib.imaging.scans import Scan, mask_faults, read_mask, read_scan
from hepred_lib.imaging.slices import BRAIN_HU
from hepred_lib.imaging.volume import mask_volume_ml
from hepred_lib.intake.spreadsheet import apply_mapping, load_mapping
from hepred_lib.progress import progress as progress_bar
from hepred_lib.stats.discrimination import auc
from hepred_lib.study.summary import mark_hemorrhages

MOMENTS = ("baseline", "followup")
VOLUME_TOLERANCE = 0.25  # outlines and printed volumes come from different readings
MASKS = (("mask", "volume_ml"), ("ivh_mask", "ivh_ml"))
VOLUMES = [f"{moment}_{volume}" for _, volume in MASKS for moment in MOMENTS]
OVERLAP = 0.5  # of the ventricular mask; edges of two outlines meet, but do not cover each other
HISTOGRAM_HU = (-1100, 3100)
IVH_ML = 1.0  # of ventricular blood that a reader does not overlook
LEAST_FOR_PROCESSES = 12  # patients with images: a process takes longer to start than a few scans to read
REMEDIES = {
    "read": "Export or convert the scan again, and look at it in a viewer.",
    "header": "Nothing has to be done; write the scan anew to be rid of this warning.",
    "order": "Look at it in a viewer: slices may be mixed up, missing or blank. Convert the DICOM series again.",
    "brain": "Look whether slope and intercept (often 1 and -1024) were applied once.",
    "cut": "Look whether the hematoma is whole; use another series if there is one.",
    "mask": "Draw or export the mask again on this very scan.",
    "scan": "Add the scan, or remove its mask.",
    "volume": "Correct the printed volume or the mask; leave the volume empty to use that of the mask.",
    "twice": "Give every patient and moment its own scan.",
    "swapped": "Look which scan came first, and exchange the files or the two volumes.",
    "ivh": "Blood in the ventricles belongs to the second mask only: take it out of the first.",
    "copied": "Draw the follow-up's mask on the follow-up scan.",
}


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
    cells : Cells
        The table as it was read, under the manifest's names.
    """

    file: str
    patients: int
    problems: list[Problem]
    notes: list[str]
    table: pd.DataFrame
    cells: Cells

    @property
    def refusals(self) -> int:
        """Number of problems that must be solved before a study."""
        return sum(problem.severity == "refuse" for problem in self.problems)

    @property
    def warnings(self) -> int:
        """Number of problems that a person should look at."""
        return len(self.problems) - self.refusals

    @property
    def verdict(self) -> str:
        """The counts in one line."""
        patients = count_of(self.patients, "patient")
        if not self.problems:
            return f"{self.file}: {patients}, no problem found."
        counts = ((self.refusals, "refusal"), (self.warnings, "warning"))
        return ", ".join([patients, *(count_of(count, noun) for count, noun in counts if count)]) + "."

    @property
    def lines(self) -> list[str]:
        """One line per problem; warnings are marked."""
        return [f"{'warning: ' * (problem.severity == 'warn')}{problem}" for problem in self.problems]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the counts, every problem with all its fields and its sentence, and the notes."""
        names = ("severity", "line", "patient_id", "column", "rule", "value", "remedy")
        return {
            "file": self.file,
            "patients": self.patients,
            "refusals": self.refusals,
            "warnings": self.warnings,
            "problems": [{n: getattr(p, n) for n in names} | {"message": str(p)} for p in self.problems],
            "notes": self.notes,
        }


def check_manifest(
    path: str | os.PathLike,
    *,
    definition: str = "6ml_or_33pct",
    mapping: str | os.PathLike | None = None,
    progress: bool = False,
    cores: int = 1,
) -> Checked:
    """Every problem of a manifest, of its images and of its cohort, with the counts and notes.

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
    cells = read_cells(path) if mapping is None else apply_mapping(read_cells(path), load_mapping(mapping))
    file, table = cells.path.name, valid_cells(cells)
    problems = [
        *manifest_problems(cells, definition=definition),
        *cohort_problems(table, file, definition=definition, header_line=cells.header_line),
        *_image_problems(table, file, cores=cores, progress=progress),
    ]
    told = [replace(problem, remedy=problem.remedy or _general_remedy(problem)) for problem in problems]
    ordered = sorted(dict.fromkeys(told), key=lambda problem: (problem.severity != "refuse", problem.line))
    notes = [note for note in cells.notes if note != count_of(len(table), "patient")]  # the verdict says it
    old = {} if cells.table is None else old_names(cells.table)
    notes += [f"the column {name} is read as {new}, its present name" for name, new in old.items()]
    after = named_afterwards(list(table.columns))
    notes += [f"known only afterwards, by their names, and no candidates: {', '.join(after)}"] if after else []
    return Checked(file, len(table), ordered, notes, table, cells)


def _general_remedy(problem: Problem) -> str:
    if problem.column == "patient_id":
        return "Give every patient a pseudonym of their own."
    of_cell = problem.line > 1 and problem.column in COLUMNS
    return "Correct the cell, or leave it empty where the value is not known." if of_cell else "Correct the table."


# --- the scans and masks of one patient, each file read once


@dataclass
class Images:
    """What the images of one patient gave.

    Attributes
    ----------
    problems : list of Problem
    contents : dict of str to (bytes, bytes)
        Of every scan that could be read, by its column: the digests of its voxels and of its histogram.
    volumes_ml : dict of str to float
        Of every mask that could be read, by its column.
    masks : dict of str to bytes
        Of every mask that is not empty, by its column: the digest of its voxels.
    """

    problems: list[Problem] = field(default_factory=list)
    contents: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    volumes_ml: dict[str, float] = field(default_factory=dict)
    masks: dict[str, bytes] = field(default_factory=dict)


def read_images(row: Mapping[str, Any]) -> Images:
    """Read and judge the scans and masks of one row of the manifest (absolute paths); never raises for its files."""
    images = Images()
    for moment in MOMENTS:
        try:
            images.problems += _moment_problems(row, moment, images)
        except Exception as error:  # one patient's file, however broken, must not hide the other patients' faults
            value = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"
            images.problems.append(Problem(f"{moment}_ct", "be a scan that can be judged", value, REMEDIES["read"]))
    images.problems = [*_without_swapped(images, row), *_copied_masks(images, row)]
    return images


def _moment_problems(row: Mapping, moment: str, images: Images) -> Iterator[Problem]:
    """Problems of one moment's scan and masks."""
    column = f"{moment}_ct"
    if pd.isna(row[column]):
        for mask in [f"{moment}_{mask}" for mask, _ in MASKS if pd.notna(row[f"{moment}_{mask}"])]:
            yield Problem(column, f"be given beside {mask}", "nothing", REMEDIES["scan"])
        return
    path = Path(row[column])
    if not os.path.isfile(path):
        return  # a fault of the manifest, found before
    scan = head = None
    try:
        scan = read_scan(path)
        head = find_head(scan.hu, scan.spacing_mm, name=str(path))
        yield from _warnings(column, scan, head, path.name)
    except ScanError as error:
        yield _refused(column, error, path)
        if scan is None:
            return
    images.contents[column] = _content(scan.hu)
    read: dict[str, np.ndarray] = {}
    for mask, volume in MASKS:
        yield from _mask_problems(row, f"{moment}_{mask}", f"{moment}_{volume}", scan, read, head)
    for name, voxels in read.items():
        images.volumes_ml[name] = mask_volume_ml(voxels, scan.affine)
        if voxels.any():
            images.masks[name] = hashlib.sha256(np.packbits(voxels).tobytes()).digest()
    yield from _ventricular_problems(row, moment, read, images)


def _content(hu: np.ndarray) -> tuple[bytes, bytes]:
    """Digests of a scan's voxels, in whole HU and canonical order, and of their histogram."""
    whole = np.rint(hu.T).astype(np.int32)  # (z, y, x): contiguous
    low, high = HISTOGRAM_HU
    counts = np.bincount(np.clip(whole, low, high).ravel() - low)
    ordered = hashlib.sha256(str(whole.shape).encode() + np.ascontiguousarray(whole, dtype=np.int16).tobytes())
    return ordered.digest(), hashlib.sha256(str(sorted(whole.shape)).encode() + counts.tobytes()).digest()


def _warnings(column: str, scan: Scan, head: Head, file: str) -> Iterator[Problem]:
    """What was noted of the header, slices and HU that cannot well be, and a head that goes on beyond the scan."""
    for note in scan.notes:
        yield Problem(column, "have an undamaged header", f"{note} in {file}", REMEDIES["header"], "warn")
    if jumps(scan.hu) >= MOST_JUMPS:
        value = f"sections that grow and shrink several times in {file}"
        yield Problem(column, "show a head whose slices are in order", value, REMEDIES["order"], "warn")
    low, high = BRAIN_HU
    if head.brain_hu < low or head.brain_hu > high:
        value = f"a median of {head.brain_hu:.0f} HU in {file}"
        yield Problem(column, f"show a brain of {low:g} to {high:g} HU", value, REMEDIES["brain"], "warn")
    sides = (("down to the skull base", "first"), ("up to the vertex", "last"))
    for cut, (words, which) in zip(cut_ends(head.brain), sides, strict=True):
        if cut:
            value = f"brain in the {which} slice of {file}"
            yield Problem(column, f"show the brain {words}", value, REMEDIES["cut"], "warn")


def _mask_problems(
    row: Mapping, mask: str, volume: str, scan: Scan, read: dict[str, np.ndarray], head: Head | None
) -> Iterator[Problem]:
    """Problems of one mask, which is put into ``read``, and of the volume printed for it."""
    if pd.isna(row[mask]) or not os.path.isfile(row[mask]):
        return
    path = Path(row[mask])
    try:
        read[mask] = read_mask(path, scan)
    except ScanError as error:
        yield _on_the_other_grid(row, mask) or _refused(mask, error, path)
        return
    brain_hu, bone_hu = (head.brain_hu, head.bone_hu) if head else (np.nan, bone_threshold(scan.hu))
    levels = {"brain_hu": brain_hu, "bone_hu": bone_hu}
    for fault in mask_faults(read[mask], scan.hu, scan.spacing_mm, **levels, ventricular="ivh" in mask):
        yield Problem(mask, fault.rule, f"{fault.value} in {path.name}", fault.remedy, fault.severity)
    measured = mask_volume_ml(read[mask], scan.affine)
    if pd.notna(row[volume]) and _far(row[volume], measured):
        rule = f"lie within {VOLUME_TOLERANCE:.0%} of the {measured:.2f} mL of {mask}"
        yield Problem(volume, rule, f"{row[volume]:g}", REMEDIES["volume"])


def _far(printed: float, measured: float) -> bool:
    return abs(printed - measured) > VOLUME_TOLERANCE * measured


def _on_the_other_grid(row: Mapping, column: str) -> Problem | None:
    """The fault of a mask that cannot be that of its own scan, but can be that of the other moment's."""
    moment, _, kind = column.partition("_")
    other = MOMENTS[1 - MOMENTS.index(moment)]
    try:
        read_mask(Path(row[column]), read_scan(row[f"{other}_ct"]))
    except Exception:  # whatever a file does to its reader: the mask's own fault is reported as it is
        return None
    remedy = f"Exchange {moment}_{kind} and {other}_{kind}, or the scans."
    return Problem(column, f"lie on the grid of {moment}_ct", f"that of {other}_ct", remedy)


def _ventricular_problems(row: Mapping, moment: str, read: Mapping, images: Images) -> Iterator[Problem]:
    """Blood in the ventricles that is counted twice, or that the reading denies."""
    column = f"{moment}_ivh_mask"
    blood, ivh = read.get(f"{moment}_mask"), read.get(column)
    if ivh is None or not ivh.any():
        return
    share = 0.0 if blood is None else np.count_nonzero(blood & ivh) / np.count_nonzero(ivh)
    if share > OVERLAP:
        yield Problem(column, f"not overlap {moment}_mask", f"{share:.0%} of it inside", REMEDIES["ivh"])
    volume = images.volumes_ml[column]
    if moment == "baseline" and row["ivh"] == 0 and volume >= IVH_ML:
        rule = f"be 1 with the {volume:.1f} mL of baseline_ivh_mask"
        yield Problem("ivh", rule, "0", "Correct the reading or the mask.", "warn")


def _without_swapped(images: Images, row: Mapping) -> list[Problem]:
    """The problems; two volumes that each fit the other moment's mask become one."""
    columns = [f"{moment}_volume_ml" for moment in MOMENTS]
    measured = [images.volumes_ml.get(f"{moment}_mask") for moment in MOMENTS]
    wrong = [problem for problem in images.problems if problem.column in columns]
    if len(wrong) < 2 or None in measured or any(map(_far, (row[name] for name in columns), measured[::-1])):
        return images.problems
    value = " and ".join(f"{row[column]:g}" for column in columns) + " mL, each that of the other mask"
    rule = f"fit baseline_mask ({measured[0]:.2f} mL), and followup_volume_ml fit followup_mask ({measured[1]:.2f} mL)"
    both = Problem(columns[0], rule, value, REMEDIES["swapped"])
    return [both if problem is wrong[0] else problem for problem in images.problems if problem is not wrong[1]]


def _copied_masks(images: Images, row: Mapping) -> Iterator[Problem]:
    """One outline for both moments: it was copied, or one of them was never drawn."""
    if len({voxels for voxels, _ in images.contents.values()}) < len(images.contents):
        return  # one scan for both, which is a fault of its own
    for kind, _ in MASKS:
        first, second = (images.masks.get(f"{moment}_{kind}") for moment in MOMENTS)
        if first is not None and first == second and row[f"baseline_{kind}"] != row[f"followup_{kind}"]:
            rule = f"be another outline than baseline_{kind}"
            yield Problem(f"followup_{kind}", rule, "the same voxels", REMEDIES["copied"], "warn")


def _refused(column: str, error: ScanError, path: Path) -> Problem:
    """The parts of "PATH must RULE, got VALUE: REMEDY."; without a remedy of its own there is a general one."""
    rule, _, value = str(error).removeprefix(f"{path} must ").removesuffix(".").partition(", got ")
    value, _, own = value.partition(": ")
    remedy = REMEDIES["mask"] if column.endswith("mask") else REMEDIES["read"]
    if own:
        remedy = f"{own[0].upper()}{own[1:]}. {remedy if own.endswith('wrong') else ''}".strip()
    return Problem(column, rule, f"{value} in {path.name}", remedy)


# --- the images of a whole manifest


def _image_problems(table: pd.DataFrame, file: str, *, cores: int, progress: bool) -> list[Problem]:
    """Problems of every patient's images, and of images that two rows or moments share."""
    columns = ["patient_id", "split", "ivh", *PATHS, *VOLUMES]
    rows = table.loc[table[PATHS].notna().any(axis=1), columns].fillna({"patient_id": ""})
    records = rows.astype(object).to_dict("records")
    read = _read_all(records, cores)
    read = progress_bar(read, total=len(records), desc="patients", unit="patient", quiet=not progress)
    problems: list[Problem] = []
    voxels: dict = {}
    histograms: dict = {}
    for line, row, images in zip(rows.index, records, read, strict=True):
        found = [*images.problems, *_twins(row, images, voxels, histograms)]
        problems += [replace(p, file=file, line=int(line), patient_id=row["patient_id"]) for p in found]
    return problems


def _twins(row: dict, images: Images, seen: dict, histograms: dict) -> Iterator[Problem]:
    """Scans of a row with the content of one before, by the voxels or by the histograms seen so far."""
    for column, (voxels, histogram) in images.contents.items():
        twin, how = seen.get(voxels), "the same voxels"
        alike = histograms.setdefault(histogram, [])
        if twin is None:
            # Equal histograms are rare enough to read both scans again and to compare them turned.
            twin = next((one for one in alike if same_but_turned(one[0][one[1]], row[column])), None)
            how = "the same voxels (mirrored or turned)"
        seen.setdefault(voxels, (row, column))
        alike.append((row, column))
        if twin is not None:
            other, name = twin
            rule = f"be another image than {name} of patient {other['patient_id']}"
            splits = ", one in development, one in test" * ({row["split"], other["split"]} == {"development", "test"})
            yield Problem(column, rule, f"{how} in {Path(row[column]).name}{splits}", REMEDIES["twice"])


def same_but_turned(first: Path, second: Path) -> bool:
    """Whether two scans have the same voxels but for mirrored or exchanged axes."""
    try:
        a, b = (np.rint(read_scan(path).hu) for path in (first, second))
    except ScanError:
        return False
    turns = (b.transpose(axes) for axes in permutations(range(3)))
    return any(
        np.array_equal(a, turned[tuple(slice(None, None, step) for step in steps)])
        for turned in turns
        if turned.shape == a.shape
        for steps in product((1, -1), repeat=3)
    )


def _read_all(records: list[dict[str, Any]], cores: int) -> Iterator[Images]:
    """The images of every row, in order; processes are started afresh, since a fork would copy locked threads."""
    if cores < 2 or len(records) < LEAST_FOR_PROCESSES:
        yield from map(read_images, records)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(cores, len(records)), context, _start_process, (os.getpid(),))
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


# --- the cohort as a whole: each row may be right by itself, and the study would still be wrong
# A finding needs to be more than chance: every rule states how many patients it requires, so that small and odd, but
# correct cohorts raise nothing.

BEDSIDE = (*CLINICAL_CANDIDATES, *RADIOLOGICAL_CANDIDATES)
CANDIDATES = (*BEDSIDE, "external_score", "blend_sign", "any_hypodensity", "prior_ich")
NO_FACTS = {"patient_id", "site", "split", *NO_PREDICTORS}  # not compared between patients
CHANCE = 0.01  # of a false alarm by coincidence, over the whole cohort
SEPARATES = 0.99  # AUC of one column alone; no bedside variable and no image score comes near it
MONOTONE = 0.99  # rank correlation with the growth
LEAST_CONSTANT = 20  # patients with a value
LEAST_CONSTANT_BINARY = 40  # what one patient in ten has is absent in 40 by chance in 1.5 %
LEAST_PAIRS = 8  # patients with both volumes
SHRUNK_SHARE, SHRUNK_ML, SHRUNK_H = 0.33, 3.0, 72.0  # without evacuation, blood is not absorbed within three days
GIVEN_AWAY = {
    "site": "Expansion must occur at every site, else the models learn the site.",
    "external_score": "Use scores of a model that has not been trained on these patients.",
}
FIRST_WORDS = re.compile(r"baseline|initial|first|admission|(?<![a-z])(bl|t0)(?![a-z0-9])", re.IGNORECASE)
SECOND_WORDS = re.compile(r"follow|second|control|(?<![a-z])(fu|fup|t1)(?![a-z0-9])", re.IGNORECASE)


def cohort_problems(table: pd.DataFrame, file: str, *, definition: str, header_line: int = 1) -> list[Problem]:
    """Problems of the rows taken together, and of the two moments of one row.

    Parameters
    ----------
    table : DataFrame
        As :func:`hepred_lib.cohort.manifest.valid_cells` gives it: typed, indexed by line.
    file : str
        The manifest's name, for the messages.
    definition : str
        Of expansion: the outcome that a column may give away.
    header_line : int
        The line of problems that concern a whole column.

    Returns
    -------
    list of Problem
    """
    table = table.assign(patient_id=table["patient_id"].fillna("").astype(str))
    conflicts = label_conflicts(table, definition)
    he = derive_labels(table.assign(he=table["he"].drop(conflicts.index)), definition=definition)["he"]
    of_rows = (_look_alikes, _same_patients, _same_files, _names, _row_faults)
    rows = [problem for rule in of_rows for problem in rule(table)]
    columns = [*_swapped(table), *_constant(table), *_gives_away(table, he), *_one_sided_splits(table, he)]
    of_columns = (replace(problem, line=header_line) for problem in columns)
    return [*located(rows, file, table["patient_id"]), *located(of_columns, file)]


def _look_alikes(table: pd.DataFrame) -> Iterator[Problem]:
    """Identifiers that differ by case, separators or leading zeros only."""
    seen: dict[str, tuple[int, str]] = {}
    for line, patient in table["patient_id"].items():
        key = without_look(patient)
        first_line, first = seen.setdefault(key, (line, patient))
        if key and first != patient:
            rule = "differ from every other by more than case, separators and leading zeros"
            value = f"{patient} beside {first} on line {first_line}{_in_splits(table, line, first_line)}"
            remedy = "Give one patient one row, or two patients identifiers that cannot be confused."
            yield Problem("patient_id", rule, value, remedy, line=line)


def _same_patients(table: pd.DataFrame) -> Iterator[Problem]:
    """Two identifiers with all the same measurements, too many to agree by chance."""
    facts = table.drop(columns=[name for name in table if name in NO_FACTS or name in PATHS]).dropna(axis=1, how="all")
    if facts.empty or len(facts) < 2:
        return
    texts = facts.astype("string").fillna("")
    shares = texts.apply(lambda column: column.map(column.value_counts(normalize=True)).astype(float))
    shares = shares.where(facts.notna(), 1.0)  # an empty cell proves nothing
    pairs = comb(len(facts), 2)
    for _, lines in texts.groupby(list(texts.columns), sort=False).groups.items():
        first, *others = lines
        # The chance that some pair agrees in all columns by coincidence, as if the columns were independent.
        if not others or pairs * shares.loc[first].prod() > CHANCE:
            continue
        for line in others:
            facts_of = f"all {int(facts.loc[line].notna().sum())} values of {table.at[first, 'patient_id']}"
            value = f"{facts_of} on line {first}{_in_splits(table, line, first)}"
            remedy = "One patient entered twice, or a row copied and not filled in: keep one row."
            yield Problem("the row", "be another patient than every other row", value, remedy, line=line)


def _in_splits(table: pd.DataFrame, line: int, other: int) -> str:
    """How much it matters: the words for a patient who would be in development and test at once."""
    splits = {table.at[line, "split"], table.at[other, "split"]}
    return ", one in development and one in test" if splits == set(SPLITS) else ""


def _same_files(table: pd.DataFrame) -> Iterator[Problem]:
    """A mask named in two places; scans are compared by their voxels instead."""
    masks = table[[name for name in PATHS if name.endswith("mask")]].stack().dropna().rename_axis(["line", "column"])
    named = masks.reset_index(name="path")
    firsts = named.drop_duplicates("path").set_index("path")
    for line, column, path in named[named["path"].duplicated()].itertuples(index=False):
        first = firsts.loc[path]
        rule = f"name another file than {first['column']} on line {first['line']}"
        yield Problem(column, rule, Path(path).name, "Give every scan the mask that was drawn on it.", line=line)


def _names(table: pd.DataFrame) -> Iterator[Problem]:
    """A file whose name says that it is of the other moment."""
    for column in PATHS:
        first = column.startswith("baseline")
        own, other = (FIRST_WORDS, SECOND_WORDS) if first else (SECOND_WORDS, FIRST_WORDS)
        for line, path in table[column].dropna().items():
            name = Path(path).name.replace("_", " ")
            if other.search(name) and not own.search(name):
                rule, remedy = f"name a file of the {'first' if first else 'second'} scan", "Look whether the two scans"
                yield Problem(column, rule, Path(path).name, f"{remedy} were exchanged.", "warn", line)


def _row_faults(table: pd.DataFrame) -> Iterator[Problem]:
    """Two values of one row that cannot be; hematomas that are much smaller on the second scan."""
    lost, soon = table["baseline_volume_ml"] - table["followup_volume_ml"], ~(table["ct_to_followup_h"] > SHRUNK_H)
    shrunk = (lost > SHRUNK_ML) & (lost > SHRUNK_SHARE * table["baseline_volume_ml"]) & soon
    small = f"not be less than two thirds of the baseline volume of {{baseline_volume_ml:g}} mL within {SHRUNK_H:g} h"
    no_pair = "Two scans of one moment are no pair: give the time between them, or leave the follow-up empty."
    pressure = "be below the systolic pressure of {sbp_mmhg:g}"
    exchanged = "Look whether the two columns were exchanged, or one was copied."
    moments = "Look whether the two moments were exchanged, or blood was evacuated."
    for wrong, column, rule, remedy, severity in (
        (table["ct_to_followup_h"] == 0, "ct_to_followup_h", "be above 0", no_pair, "refuse"),
        (table["dbp_mmhg"] >= table["sbp_mmhg"], "dbp_mmhg", pressure, exchanged, "refuse"),
        (shrunk, "followup_volume_ml", small, moments, "warn"),
    ):
        for line, row in table[wrong].iterrows():
            yield Problem(column, rule.format(**row), f"{row[column]:g}", remedy, severity, line)


def _swapped(table: pd.DataFrame) -> Iterator[Problem]:
    """Second volumes that are mostly smaller than the first."""
    lost = (table["baseline_volume_ml"] - table["followup_volume_ml"]).dropna()
    smaller = int((lost > 0).sum())
    if len(lost) >= LEAST_CONSTANT and smaller > 0.8 * len(lost):
        rule, value = "not be below baseline_volume_ml in most patients", f"smaller ones in {smaller} of {len(lost)}"
        remedy = "The two columns were probably exchanged: exchange their names in the header."
        yield Problem("followup_volume_ml", rule, value, remedy)


def _constant(table: pd.DataFrame) -> Iterator[Problem]:
    """Default candidates with one value in everyone."""
    for name in BEDSIDE:
        values = table[name].dropna()
        least = LEAST_CONSTANT_BINARY if COLUMNS[name].kind == "binary" else LEAST_CONSTANT
        if len(values) >= least and values.nunique() == 1:
            only = values.iloc[0] if isinstance(values.iloc[0], str) else f"{values.iloc[0]:g}"
            rule = "vary between patients to be a predictor"
            value = f"{only} in all {len(values)} patients with a value"
            yield Problem(name, rule, value, "Look at its coding, or leave the column out.", "warn")


def _gives_away(table: pd.DataFrame, he: pd.Series) -> Iterator[Problem]:
    """Columns that tell the outcome by themselves: by their values, by being filled in, or by following the growth."""
    names = [name for name in table if name not in NO_FACTS - {"site"} and name not in PATHS]
    growth = _growth(table)
    for name in names:
        found = _outcome_told(table[name], he, len(names)) or _growth_told(table[name], growth)
        if found:
            severity = "refuse" if name in CANDIDATES else "warn"
            own = "Look how it was recorded: only what was known at the first scan may stand in it."
            afterwards = "It is known only afterwards: never offer it as a candidate, or leave it out."
            remedy = GIVEN_AWAY.get(name, own if name in CANDIDATES else afterwards)
            yield Problem(name, "not give the outcome away", found, remedy, severity)


def _outcome_told(values: pd.Series, he: pd.Series, columns: int) -> str:
    """How a column separates the patients with expansion from the others; empty where it does not."""
    known = he.notna()
    filled, y = values[known].notna(), he[known]
    if filled.any() and _auc_beyond_chance(y, filled.astype(float), columns):
        return "it filled in almost only where the outcome is " + ("1" if y[filled].mean() > 0.5 else "0")
    y, values = y[filled], values[known][filled]
    if not pd.api.types.is_numeric_dtype(values):
        if values.nunique() > len(values) / 5:
            return ""  # a text of its own for every patient separates them without telling anything
        values = y.groupby(values).transform("mean")
    reached = _auc_beyond_chance(y, values, columns)
    return f"an AUC of {reached:.3f} for expansion from this column alone ({len(y)} patients)" if reached else ""


def _auc_beyond_chance(y: pd.Series, score: pd.Series, columns: int) -> float:
    """The AUC, in the better direction, where it is at least 0.99 and perfect separation would not be chance."""
    events = int(y.sum())
    if not 0 < events < len(y) or 2 * columns / comb(len(y), events) > CHANCE:
        return 0.0
    reached = auc(y.to_numpy(), score.to_numpy(dtype=float))
    reached = max(reached, 1 - reached)
    return reached if reached >= SEPARATES else 0.0


def _growth(table: pd.DataFrame) -> pd.DataFrame:
    """The growth in mL and in percent, and both volumes, where both are known."""
    volumes = table[["baseline_volume_ml", "followup_volume_ml"]].dropna()
    before, after = (volumes[name] for name in volumes)
    growth = {"growth in mL": after - before, "relative growth": (after - before) / before.where(before > 0)}
    return pd.DataFrame({**growth, "before": before, "after": after})


def _growth_told(values: pd.Series, growth: pd.DataFrame) -> str:
    """Whether a column rises or falls with the growth, or repeats the second volume."""
    if not pd.api.types.is_numeric_dtype(values) or values.name == "baseline_volume_ml":
        return ""
    both = growth.assign(values=values.reindex(growth.index)).dropna()
    if len(both) < LEAST_PAIRS or both[["values", "growth in mL"]].nunique().min() < LEAST_PAIRS:
        return ""
    ranks = both.corr(method="spearman")["values"].abs()
    for name in ("growth in mL", "relative growth"):
        if ranks[name] >= MONOTONE:
            return f"a rank correlation of {ranks[name]:.3f} with the {name}"
    # Both volumes resemble each other: only what is far closer to the second one than to the first repeats it.
    if ranks["after"] >= MONOTONE and 1 - ranks["after"] < 0.1 * (1 - ranks["before"]):
        return f"a rank correlation of {ranks['after']:.3f} with the second volume"
    return ""


def _one_sided_splits(table: pd.DataFrame, he: pd.Series) -> Iterator[Problem]:
    """A set in which nobody, or everybody, has the outcome: nothing can be developed or judged on it."""
    known = pd.DataFrame({"split": table["split"], "he": he}).dropna()
    if table["split"].dropna().nunique() < 2 or known.empty:
        return
    for split in SPLITS:
        outcomes = known.loc[known["split"] == split, "he"]
        events = int(outcomes.sum())
        if events in (0, len(outcomes)):
            rule = f"put patients with and without expansion into the {split} set"
            value = f"{events} with expansion among {len(outcomes)} with a known outcome"
            remedy = "Draw the split anew by the outcome, or leave the column empty: the study then draws it."
            yield Problem("split", rule, value, remedy, "warn")


def named_afterwards(columns: list[str]) -> list[str]:
    """Columns without a rule whose names say that they are known only after the first scan."""
    words = re.compile(
        r"follow|outcome|discharge|mrs|rankin|mortality|death|dead|died|surviv|growth|expan|evacuat|surg|delta|"
        r"(?<![a-z0-9])(day|d|week|month)_?[0-9]+|[0-9]+_?(d|days?|weeks?|months?|mo)(?![a-z0-9])",
        re.IGNORECASE,
    )
    return [name for name in columns if name not in COLUMNS and words.search(name)]


# --- the patients of a manifest as every notebook takes them: volumes measured, outcomes derived


def read_patients(manifest: str | os.PathLike, *, definition: str) -> pd.DataFrame:
    """One row per patient of the manifest, with ``he`` and ``has_hemorrhage``.

    Raises
    ------
    ManifestError
        The manifest breaks its rules, or a stated outcome contradicts the volumes.
    ScanError
        A mask from which a volume is needed, or its scan, cannot be used.
    """
    table = read_manifest(manifest)
    return mark_hemorrhages(derive_labels(fill_volumes(table), definition=definition), table["he"])


def read_new_patients(manifest: str | os.PathLike, *, definition: str) -> tuple[pd.DataFrame, pd.Series]:
    """As :func:`read_patients`, but a volume that cannot be measured costs one patient an outcome, and stops nobody.

    Returns
    -------
    table : DataFrame
    unmeasured : Series of str
        Why a patient's volumes could not be measured, on the table's index; empty text where they could.

    Raises
    ------
    ManifestError
        As :func:`read_patients`.
    """
    table = read_manifest(manifest)
    volumes, unmeasured = table[VOLUMES].copy(), pd.Series("", index=table.index, dtype=object)
    for index in table.index:
        try:
            volumes.loc[[index]] = fill_volumes(table.loc[[index]])[VOLUMES]
        except ScanError as error:
            unmeasured[index] = fault_of(error, table.loc[index])
    labelled = derive_labels(table.assign(**volumes), definition=definition)
    return mark_hemorrhages(labelled, table["he"]), unmeasured


def fill_volumes(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its empty volumes (mL) measured on the masks, where there are any.

    Raises
    ------
    ScanError
        If a scan or mask cannot be used; the file and the patient are named.
    """
    filled = table.copy()
    for (index, row), moment, (mask, volume) in product(table.iterrows(), MOMENTS, MASKS):
        scan, mask, volume = f"{moment}_ct", f"{moment}_{mask}", f"{moment}_{volume}"
        if not pd.isna(row[volume]) or pd.isna(row[mask]):
            continue
        try:
            if pd.isna(row[scan]):
                raise ScanError(f"{scan} must be given beside {mask}, got nothing")
            read = read_scan(row[scan])
            filled.at[index, volume] = mask_volume_ml(read_mask(row[mask], read), read.affine)
        except ScanError as error:
            raise ScanError(f"{str(error).removesuffix('.')} (patient {row['patient_id']}).") from error
    return filled


def fault_of(error: ScanError, row: Mapping[str, Any]) -> str:
    """What is wrong with a patient's scan or mask, by the name of its column instead of its place on the disk."""
    words = str(error).replace(f" (patient {row['patient_id']})", "").removesuffix(".")
    for name in PATHS:
        if isinstance(row.get(name), str):
            words = words.replace(row[name], name)
    return words
