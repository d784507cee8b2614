"""A simulated cohort for the skill benchmark: rendered, prepared and measured once, then kept in one folder.

==================== =====================================================================================
``cohort.csv``       a row a patient: split, he, fold and the manifest's columns; development first, then test
``truth.csv``        the oracle's probabilities, in the same order
``NAME.npy``         the slice store, with ``quality.csv``
``markers.csv``      signs and descriptors measured on the reference outline, at the scan's resolution
``scans/NAME.npz``   HU and reference outline of the head's inside at the scan's resolution, -32 to 223 HU
``settings.json``    seed, numbers of patients, matrices: a folder of other settings is refused
==================== =====================================================================================

Each scan passes through a temporary NIfTI file and the library's own reading, so that the store holds the pixels that a
study would have. A patient whose record exists is complete: a killed run goes on behind it.

.venv/bin/python benchmarks/skill_cohort.py --out FOLDER [--seed 101] [--patients 465] [--test 1000] [--cores 1]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from hepred_lib.cohort.manifest import assign_folds, derive_labels, read_manifest
from hepred_lib.imaging.markers import MARKERS, measure_markers
from hepred_lib.imaging.preprocessing import SliceGrid, grid_from_record
from hepred_lib.imaging.scans import read_mask, read_scan, write_nifti
from hepred_lib.imaging.slices import BRAIN, HU_OFFSET, from_torch, open_patient, read_quality, store_patient
from hepred_lib.progress import progress
from hepred_lib.study.files import read_json, read_table, write_bytes, write_json, write_table
from ich_phantom.cohort import cohort_tables, simulate_scan


def settings_hold(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a file stands that was made with these settings: its record (``NAME.json``) is written last."""
    record = path.with_suffix(".json")
    return path.exists() and record.exists() and read_json(record) == dict(settings)


def kept_table(path: Path, settings: Mapping[str, Any], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The table at a path where it was made with these settings, else made anew; settings are plain JSON values."""
    if not settings_hold(path, settings):
        write_table(path, make())
        write_json(path.with_suffix(".json"), settings)
    return read_table(path)


@contextmanager
def timed(part: str) -> Iterator[None]:
    """Say to stderr what a part took; processor time and peak memory are this process's, without its workers."""
    start, used = time.perf_counter(), time.process_time()
    yield
    taken, used = time.perf_counter() - start, time.process_time() - used
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{part}: {taken:.1f} s ({used:.1f} s of processor), peak memory {gigabytes:.1f} GB", file=sys.stderr)


MARGIN_MM = 8.0
BLOOD_FREE = 10  # hemorrhages of the development set to one blood-free scan
PALE_SIGNS, PALE_ML, DRAWN = ["blend", "fluid_level"], 30.0, 20  # so many are drawn for each that is kept
SCAN_COLUMNS = ("baseline_ct", "baseline_mask", "baseline_ivh_mask")


@dataclass(frozen=True)
class CohortSettings:
    """What a cohort's pixels and patients follow from.

    With ``pale`` a cohort has none but large hemorrhages of which a part as pale as brain reaches the margin.
    """

    seed: int
    patients: int = 465
    test: int = 1000
    matrix: int = 128
    scan_matrix: int = 256
    pale: int = 0


def make_cohort(folder: Path, settings: CohortSettings, *, folds: int = 5, cores: int = 1, scans: bool = True) -> None:
    """Make what the folder still lacks; ``quality.csv`` is written when the development set stands, and at the end."""
    _require_same(folder / "settings.json", asdict(settings))
    cohort, truth = cohort_rows(folder, settings, folds)
    write_table(folder / "truth.csv", truth)
    write_table(folder / "cohort.csv", cohort)
    if not scans:
        return
    rows = truth.merge(cohort[["patient_id", "age", "sex"]], on="patient_id", validate="one_to_one").to_dict("records")
    todo = [row for row in rows if not _record(folder, row["patient_id"]).exists()]
    development = set(cohort.loc[cohort["split"].eq("development"), "patient_id"])
    for first in (True, False):
        part = [row for row in todo if (row["patient_id"] in development) == first]
        _make_patients(partial(make_patient, folder, settings), part, cores)
        _collect(folder, cohort)


def cohort_rows(folder: Path, settings: CohortSettings, folds: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cohort and truth: development hemorrhages, their blood-free scans, test hemorrhages."""
    n = settings.patients + settings.test
    manifest, truth = cohort_tables(DRAWN * n if settings.pale else n, settings.seed)
    if settings.pale:
        kept = np.flatnonzero(truth[PALE_SIGNS].eq(1).any(axis=1) & truth["true_baseline_ml"].ge(PALE_ML))[:n]
        manifest, truth = manifest.iloc[kept].reset_index(drop=True), truth.iloc[kept]
    bled = truth["blood_free"].eq(0).to_numpy()
    number = np.r_[np.arange(bled.sum()), np.arange((~bled).sum())]
    development = number < np.where(bled, settings.patients, -(-settings.patients // BLOOD_FREE))
    order = np.r_[np.flatnonzero(development), np.flatnonzero(~development & bled)]
    manifest["split"] = np.where(development, "development", "test")
    write_table(folder / "manifest.csv", manifest.iloc[order])
    cohort = derive_labels(read_manifest(folder / "manifest.csv"))
    cohort["fold"] = assign_folds(cohort, folds=folds, seed=settings.seed)
    return cohort.drop(columns=list(SCAN_COLUMNS)), truth.iloc[order].reset_index(drop=True)


def make_patient(folder: Path, settings: CohortSettings, row: dict) -> None:
    """Render, prepare and measure one patient; the record comes last."""
    name = row["patient_id"]
    rendered = simulate_scan(row, seed=settings.seed, site="A", matrix=settings.scan_matrix)
    with tempfile.TemporaryDirectory() as place:
        paths = {key: Path(place) / f"{key}.nii" for key in SCAN_COLUMNS}
        write_nifti(paths["baseline_ct"], rendered.hu, rendered.affine, dtype=np.int16)
        for key, mask in zip(SCAN_COLUMNS[1:], (rendered.mask, rendered.ivh_mask), strict=True):
            write_nifti(paths[key], mask.view(np.uint8), rendered.affine, dtype=np.uint8)
        if not rendered.ivh_mask.any():  # as in a manifest, where the cell is empty then
            paths["baseline_ivh_mask"] = None
        quality = store_patient(folder, {"patient_id": name, **paths}, matrix=settings.matrix)
        scan = read_scan(paths["baseline_ct"])
        mask = read_mask(paths["baseline_mask"], scan)
    brain = grid_from_record(quality).to_scan(from_torch(open_patient(folder, name)[:, BRAIN])) > 0
    keep_inside(folder, name, hu=scan.hu, mask=mask, box=_box(brain | mask, scan.spacing_mm))
    markers = measure_markers(scan.hu, mask, scan.spacing_mm) if mask.any() else {}
    write_json(_record(folder, name), {"quality": quality, "markers": markers})


def keep_inside(folder: Path, name: str, *, hu: np.ndarray, mask: np.ndarray, box: tuple[slice, ...]) -> None:
    """HU (whole numbers) and outline of the head's inside, without loss between -32 and 223 HU."""
    buffer = BytesIO()
    corner = np.array([part.start for part in box])
    inside = np.clip(hu[box] + HU_OFFSET, 0, 255).astype(np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, hu=inside, mask=np.packbits(mask[box]), corner=corner)
    write_bytes(folder / "scans" / f"{name}.npz", buffer.getvalue())


def open_inside(folder: Path, name: str, grid: SliceGrid) -> tuple[np.ndarray, np.ndarray]:
    """HU and reference outline on the scan's whole grid (x, y, z); what was not kept is -32 HU and no blood."""
    hu, mask = np.full(grid.shape, -HU_OFFSET, dtype=np.int16), np.zeros(grid.shape, dtype=bool)
    with np.load(folder / "scans" / f"{name}.npz", allow_pickle=False) as kept:
        inside, corner, bits = kept["hu"], kept["corner"], kept["mask"]
    box = tuple(slice(start, start + size) for start, size in zip(corner, inside.shape, strict=True))
    hu[box] = inside.astype(np.int16) - HU_OFFSET
    mask[box] = np.unpackbits(bits, count=inside.size).reshape(inside.shape).astype(bool)
    return hu, mask


def read_cohort(folder: Path, *, scans: bool = True) -> dict[str, pd.DataFrame]:
    """The tables ``cohort``, ``truth``, ``quality`` (by patient) and ``markers`` of a cohort that is complete.

    Without scans the first two alone.

    Raises
    ------
    ValueError
        If patients are missing, with how many.
    """
    tables = {name: read_table(folder / f"{name}.csv") for name in ("cohort", "truth")}
    if not scans:
        return tables
    tables |= {"markers": read_table(folder / "markers.csv"), "quality": read_quality(folder)}
    missing = len(tables["cohort"]) - len(tables["quality"])
    if missing:
        raise ValueError(f"{folder} must hold every patient of its cohort, got {missing} fewer: make it again.")
    return tables


def _box(inside: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[slice, ...]:
    """The smallest box around a mask, with a margin; the whole grid where the mask is empty."""
    box = []
    for axis in range(3):
        found = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        margin = int(np.ceil(MARGIN_MM / spacing_mm[axis]))
        low, high = (found[0] - margin, found[-1] + margin + 1) if found.size else (0, inside.shape[axis])
        box.append(slice(max(0, int(low)), min(inside.shape[axis], int(high))))
    return tuple(box)


def _record(folder: Path, name: str) -> Path:
    return folder / "records" / f"{name}.json"


def _require_same(record: Path, settings: dict[str, int]) -> None:
    if record.exists() and read_json(record) != settings:
        raise ValueError(f"{record.parent} must be empty or of the settings {settings}, got {record.read_text()}.")
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, settings)


def _make_patients(work: partial, rows: list[dict], cores: int) -> None:
    if cores == 1:
        with threadpool_limits(1):
            for row in progress(rows, desc="patients", unit="patient"):
                work(row)
        return
    with multiprocessing.Pool(cores, initializer=threadpool_limits, initargs=(1,)) as pool:
        for _ in progress(pool.imap_unordered(work, rows), total=len(rows), desc="patients", unit="patient"):
            pass


def _collect(folder: Path, cohort: pd.DataFrame) -> None:
    """``quality.csv`` and ``markers.csv`` of the patients that exist, in the cohort's order."""
    names = [name for name in cohort["patient_id"] if _record(folder, name).exists()]
    records = [read_json(_record(folder, name)) for name in names]
    quality = pd.DataFrame([record["quality"] for record in records])
    for column in ("blend_sign", "any_hypodensity", "brain_hu", "noise_hu"):
        quality[column] = quality[column].astype(float)
    markers = pd.DataFrame([record["markers"] for record in records], columns=list(MARKERS))
    markers.insert(0, "patient_id", names)
    write_table(folder / "quality.csv", quality)
    write_table(folder / "markers.csv", markers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cores", type=int, default=1)
    for name, default in asdict(CohortSettings(seed=101)).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    arguments = vars(parser.parse_args())
    start, out, cores = time.perf_counter(), arguments.pop("out"), arguments.pop("cores")
    make_cohort(out, CohortSettings(**arguments), cores=cores)
    print(f"{out}: {len(read_cohort(out)['cohort'])} patients, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
