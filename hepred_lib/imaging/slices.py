"""The slice store: what training and inference read, one memory-mapped file a patient.

``NAME.npy`` holds uint8 planes in torch's order (slice, plane, row, column) with row = y and column = x of RAS+:

========= =================================================================
plane     content
========= =================================================================
``HU``    Hounsfield units + 32, clipped to 0-255 (-32 to 223 HU), rounded
``BLOOD`` parenchymal hematoma, share of the pixel's area times 255
``IVH``   blood in the ventricles, likewise
``BRAIN`` 255 inside the brain mask, else 0
========= =================================================================

A step of 1 HU is far below the noise of an averaged pixel (about 2 HU), and any display window can be cut from the
stored range. ``quality.csv`` beside the files has one row per patient: the grid, the flags and the quality of the scan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepred_lib.cohort.manifest import read_manifest
from hepred_lib.errors import ScanError, StudyError
from hepred_lib.imaging.markers import measure_markers
from hepred_lib.imaging.preprocessing import (
    BONE_HU,
    MOST_JUMPS,
    BrainSlices,
    SliceGrid,
    bone_threshold,
    cut_ends,
    dilated,
    grid_from_record,
    grid_record,
    jumps,
    prepare,
)
from hepred_lib.imaging.scans import Scan, mask_faults, read_mask, read_scan
from hepred_lib.study.files import damaged, read_table, write_bytes

HU, BLOOD, IVH, BRAIN = range(4)
HU_OFFSET = 32
POSITIVE_SLICE_MM2 = 20.0
BRAIN_ML = (600.0, 2300.0)
BRAIN_HU = (20.0, 44.0)  # medians of 24 to 36 are seen; an intercept of -1000 in place of -1024 makes them 24 HU more
SKULL_MM, AIR_HU = 14.0, -1000  # what a figure shows around the brain


def encode(slices: BrainSlices, blood: np.ndarray | None = None, ivh: np.ndarray | None = None) -> np.ndarray:
    """Planes of one patient, uint8 (n, 4, matrix, matrix); ``blood`` and ``ivh`` are masks on the scan's own grid."""
    shape = slices.hu.shape
    planes = np.zeros((shape[2], 4, shape[1], shape[0]), dtype=np.uint8)
    planes[:, HU] = np.clip(np.rint(slices.hu.T) + HU_OFFSET, 0, 255)
    for plane, mask in ((BLOOD, blood), (IVH, ivh)):
        if mask is not None:
            planes[:, plane] = np.rint(255.0 * np.clip(slices.grid.to_slices(mask).T, 0.0, 1.0))
    planes[:, BRAIN] = 255 * slices.brain.T
    return planes


def from_torch(stack: np.ndarray) -> np.ndarray:
    """An (n, y, x) array of slices as (x, y, z)."""
    return np.ascontiguousarray(stack.T)


def shown_hu(hu: np.ndarray, brain: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Slices as a figure may show them: air beyond a skull's thickness outside the brain, so that nobody is recognised.

    Parameters
    ----------
    hu, brain : ndarray of shape (n, rows, columns)
        Slices in torch's order and their brain mask; a slice without brain becomes air as a whole.
    pixel_mm : float
        Pixel size.
    """
    near = dilated(from_torch(np.asarray(brain) > 0), round(SKULL_MM / pixel_mm))
    return np.where(near.T, hu, AIR_HU)


def at_own_pixels(
    hu: np.ndarray, slices: BrainSlices, z: int, *, masks: Mapping[str, np.ndarray], maps: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """One slice at the scan's own pixels, as a figure may show it, in-plane axes (row y, column x).

    Parameters
    ----------
    hu : ndarray
        The scan, (x, y, z) on its own grid.
    slices : BrainSlices
        Its canonical slices.
    z : int
        Which of them.
    masks : mapping of str to ndarray
        On the scan's own grid.
    maps : mapping of str to ndarray
        What is known of the canonical slice alone, (row y, column x): interpolated.

    Returns
    -------
    dict
        ``hu``, int16, and ``brain``; ``masks`` and ``maps`` by their names; ``slice``, ``n_slices``, ``pixel_mm``.
    """
    grid = slices.grid
    fine, layer = grid.at_own_pixels(), np.s_[:, :, z * grid.group : (z + 1) * grid.group]
    single = replace(grid, shape=(*grid.shape[:2], 1), group=1)

    def own(volume: np.ndarray) -> np.ndarray:
        return fine.to_slices(volume[layer])[:, :, 0].T

    def finer(plane: np.ndarray) -> np.ndarray:
        return plane if fine is grid else fine.to_slices(single.to_scan(plane.T[:, :, None]))[:, :, 0].T

    brain = finer(slices.brain[:, :, z].T.astype(np.float32)) >= 0.5
    shown = np.rint(shown_hu(own(hu)[None], brain[None], fine.pixel_mm)[0]).astype(np.int16)
    known = {name: own(mask) >= 0.5 for name, mask in masks.items()}
    known |= {name: finer(plane) for name, plane in maps.items()}
    place = {"slice": z, "n_slices": slices.hu.shape[2], "pixel_mm": fine.pixel_mm}
    return {"hu": shown, "brain": brain, **known, **{name: np.array(value) for name, value in place.items()}}


def stacked(pictures: Sequence[Mapping[str, np.ndarray]], keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Pictures of :func:`at_own_pixels` one above the other, smaller ones filled up with air; empty ones of none."""
    if not pictures:
        size = {"hu": 3, "reference": 3, "predicted": 3, "activation": 3, "share": 2}
        return {key: np.zeros((0, 1, 1)[: size.get(key, 1)]) for key in keys}
    rows, columns = np.max([picture["hu"].shape for picture in pictures], axis=0)

    def filled(key: str, array: np.ndarray) -> np.ndarray:
        room = [(0, rows - array.shape[0]), (0, columns - array.shape[1])] if array.ndim == 2 else []
        return np.pad(array, room, constant_values=AIR_HU if key == "hu" else 0) if room else array

    return {key: np.stack([filled(key, np.asarray(picture[key])) for picture in pictures]) for key in keys}


def blood_area_mm2(planes: np.ndarray, pixel_mm: float, plane: int = BLOOD) -> np.ndarray:
    """Reference blood of each slice in mm2; the area average keeps it exactly."""
    return planes[:, plane].sum(axis=(1, 2), dtype=np.float64) / 255.0 * pixel_mm**2


def slice_labels(planes: np.ndarray, pixel_mm: float) -> np.ndarray:
    """1 where a slice holds at least 20 mm2 of parenchymal blood, 0 where it holds no blood at all, NaN between.

    Slices whose blood lies in the ventricles only are NaN too: neither call would be wrong there.
    """
    area = blood_area_mm2(planes, pixel_mm)
    labels = np.full(area.shape, np.nan)
    labels[area >= POSITIVE_SLICE_MM2] = 1.0
    labels[(area == 0.0) & (blood_area_mm2(planes, pixel_mm, IVH) == 0.0)] = 0.0
    return labels


def store_patient(folder: Path, row: dict, **options: float) -> dict[str, object]:
    """Prepare one patient's baseline scan and write its planes; returns the row of ``quality.csv``.

    Parameters
    ----------
    folder : Path
        The slice store.
    row : dict
        A row of the manifest with absolute paths: patient_id, baseline_ct, baseline_mask, baseline_ivh_mask.
    **options
        For :func:`hepred_lib.imaging.preprocessing.prepare`.

    Raises
    ------
    ScanError
        With the patient named, where the scan or a mask cannot be used, does not show a head, or does not cover blood.
    """
    patient = str(row["patient_id"])
    scan, masks, slices = read_patient(row, **options)
    planes = encode(slices, *masks)
    buffer = BytesIO()
    np.save(buffer, planes, allow_pickle=False)
    write_bytes(stored_path(folder, patient), buffer.getvalue())
    blood_ml = float(blood_area_mm2(planes, slices.grid.pixel_mm).sum() * slices.grid.thickness_mm / 1000.0)
    given = {name: int(mask is not None) for name, mask in zip(("has_mask", "has_ivh_mask"), masks, strict=True)}
    record = {"patient_id": patient, **given, "mask_ml": round(blood_ml, 4)}
    markers = measure_markers(scan.hu, np.zeros(scan.hu.shape, bool) if masks[0] is None else masks[0], scan.spacing_mm)
    record |= {"blend_sign" if name == "blend" else name: value for name, value in markers.items()}
    return {**record, "flags": quality_flags(slices), **slices.quality, **grid_record(slices.grid)}


def read_patient(row: Mapping[str, Any], **options: Any) -> tuple[Scan, list[np.ndarray | None], BrainSlices]:
    """One patient's baseline scan, its masks of hematoma and of ventricular blood where it has them, and its slices.

    Parameters and errors are those of :func:`store_patient`: networks would learn from a mask that does not cover
    blood, or be judged by it.
    """
    keys = ("baseline_mask", "baseline_ivh_mask")
    try:
        scan = read_scan(row["baseline_ct"])
        masks = [None if pd.isna(row.get(key)) else read_mask(row[key], scan) for key in keys]
        slices = prepare(scan.hu, scan.spacing_mm, name=str(scan.path), **options)
        levels = {"brain_hu": slices.quality["brain_hu"], "bone_hu": bone_threshold(scan.hu)}
        for key, mask in zip(keys, masks, strict=True):
            faults = (
                [] if mask is None else mask_faults(mask, scan.hu, scan.spacing_mm, **levels, ventricular="ivh" in key)
            )
            for fault in (fault for fault in faults if fault.severity == "refuse"):
                raise ScanError(f"{row[key]} must {fault.rule}, got {fault.value}: {fault.remedy.removesuffix('.')}.")
    except ScanError as error:
        raise type(error)(f"{str(error).removesuffix('.')} (patient {row['patient_id']}).") from error
    return scan, masks, slices


def quality_flags(slices: BrainSlices) -> str:
    """What a reader should look at, as words joined by blanks; empty where nothing stands out."""
    quality, (base, vertex) = slices.quality, cut_ends(slices.brain)
    checks = {
        "brain_volume": not BRAIN_ML[0] <= quality["brain_ml"] <= BRAIN_ML[1],
        "thick_slices": quality["thickness_mm"] > 7.5,
        "few_slices": quality["n_slices"] < 12,
        "noisy": quality["noise_hu"] > 6.0,
        "clipped_hu": quality["hu_max"] < 300.0 or bone_threshold(slices.hu) < BONE_HU,
        "brain_hu": not BRAIN_HU[0] <= quality["brain_hu"] <= BRAIN_HU[1],
        "out_of_order": jumps(slices.hu) >= MOST_JUMPS,
        "base_cut": base,
        "vertex_cut": vertex,
    }
    return " ".join(name for name, raised in checks.items() if raised)


def open_patient(folder: Path, patient_id: str) -> np.ndarray:
    """The planes of one patient, memory-mapped read-only.

    Raises
    ------
    StudyError
        The patient's file is missing or damaged.
    """
    path = stored_path(folder, patient_id)
    try:
        planes = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise StudyError(damaged(path, error)) from error
    if planes.ndim != 4 or planes.dtype != np.uint8 or planes.shape[1] != 4:
        raise StudyError(damaged(path, f"it must hold four planes per slice, got {planes.dtype} {planes.shape}"))
    return planes


def stored_path(folder: Path, patient_id: str) -> Path:
    """The file of one patient's planes."""
    return Path(folder) / f"{patient_id}.npy"


def read_quality(folder: Path) -> pd.DataFrame:
    """``quality.csv`` indexed by patient."""
    return read_table(Path(folder) / "quality.csv").set_index("patient_id")


def stored_grid(quality: pd.DataFrame, patient_id: str) -> SliceGrid:
    """The grid of a stored patient."""
    return grid_from_record(quality.loc[patient_id].to_dict())


def scans_of(manifest: Path, patients: pd.Series) -> pd.DataFrame:
    """Rows of the manifest for these patients, in their order; a patient without a scan is refused."""
    table = read_manifest(manifest).set_index("patient_id", drop=False).loc[list(patients)]
    missing = table.index[table["baseline_ct"].isna()]
    if len(missing):
        raise ScanError(f"baseline_ct is required where image_source is scans, got nothing for patient {missing[0]}.")
    return table
