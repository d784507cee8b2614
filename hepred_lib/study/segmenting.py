"""Segmentation of scans by the network that comes trained: no study, no manifest, no model of expansion.

For each scan, named after its file: ``NAME_segmentation.nii.gz`` on the scan's own grid (1 hematoma, 2 blood in the
ventricles), ``NAME.json`` with volumes and markers, ``NAME.png`` with the slices around the largest outline,
``NAME_viewer.html`` with all slices to scroll through. For all: ``segmentation.csv``, a row per scan, with the reason
where one could not be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hepred_lib.errors import ScanError, StudyError
from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.style import render
from hepred_lib.imaging.markers import MARKERS, measure_markers
from hepred_lib.imaging.scans import write_like
from hepred_lib.imaging.segmentation import abc2_ml
from hepred_lib.imaging.slices import BRAIN_HU, BRAIN_ML, at_own_pixels, from_torch, stacked
from hepred_lib.multitask.network import load_network
from hepred_lib.multitask.prediction import Reader, Reading, read_with
from hepred_lib.pretrained import SHIPPED
from hepred_lib.progress import progress
from hepred_lib.study.cases import write_viewer
from hepred_lib.study.files import write_bytes, write_json, write_table

SCANS = (".nii", ".nii.gz")
SEGMENTED, PAGE = "_segmentation.nii.gz", "_viewer.html"
FIRST = ("scan", "file", "hematoma_detected", "hematoma_ml", "ventricles_ml", "abc2_ml")
MEASURED = tuple(name for name in MARKERS if name != "volume_ml")
COLUMNS = (*FIRST, *MEASURED, "warnings", "unread")
COUNTS = ("hematoma_detected", "n_components")  # whole numbers, also where a scan has none

FLAG_WORDS = {
    "brain_volume": f"the brain mask is outside {BRAIN_ML[0]:g}-{BRAIN_ML[1]:g} mL: look at the overview",
    "thick_slices": "slices are more than 7.5 mm apart",
    "few_slices": "fewer than 12 slices",
    "noisy": "noise above 6 HU",
    "clipped_hu": "Hounsfield units are clipped below 300",
    "brain_hu": f"the brain is outside {BRAIN_HU[0]:g}-{BRAIN_HU[1]:g} HU: is the rescale intercept right?",
    "out_of_order": "the sections of the head grow and shrink several times: are slices mixed up, missing or blank?",
    "base_cut": "the first slice lies within the brain: the skull base is missing, and blood there is not measured",
    "vertex_cut": "the last slice lies within the brain: the vertex is missing, and blood there is not measured",
}


def scans_in(paths: Sequence[Path]) -> dict[str, Path]:
    """Scans by name: files as they are given, and every NIfTI file inside a folder, named after its place there.

    Segmentations that :func:`segment_scans` has left in a folder are no scans.

    Raises
    ------
    StudyError
        A path that does not exist, a folder without scans, two scans of one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise StudyError(f"SCAN must be a NIfTI file or a folder of them, got {path}, which does not exist.")
        inside = sorted(filter(_is_scan, path.rglob("*"))) if path.is_dir() else [path]
        if not inside:
            raise StudyError(f"{path} must hold head CTs as .nii or .nii.gz, got none.")
        for scan in inside:
            place = scan.relative_to(path) if path.is_dir() else Path(scan.name)
            name = "_".join(place.parts).removesuffix(".gz").removesuffix(".nii")
            if found.setdefault(name, scan) != scan:
                raise StudyError(f"scans must have different names, got {found[name]} and {scan}.")
    return found


def _is_scan(path: Path) -> bool:
    """Whether a file is named as a NIfTI image, and not as a segmentation beside the viewer of its scan."""
    name = path.name.removesuffix(SEGMENTED)
    return path.name.endswith(SCANS) and (name == path.name or not path.with_name(name + PAGE).exists())


def segment_scans(scans: dict[str, Path], out: Path, *, device: torch.device | str = "cpu") -> pd.DataFrame:
    """Segment every scan; one that cannot be read stops no other. Returns what ``segmentation.csv`` holds.

    Parameters
    ----------
    scans : dict
        Files by name, as :func:`scans_in` gives them.
    out : Path
        Folder for what is written.
    device : torch.device
    """
    out.mkdir(parents=True, exist_ok=True)
    network = load_network(SHIPPED).to(device)
    reader = Reader((network,), pd.DataFrame({"mean": [0.0], "sd": [1.0]}), {})
    rows = []
    for name, path in progress(scans.items(), desc="segment", unit="scan"):
        try:
            reading, _ = read_with(reader, {"patient_id": name, "baseline_ct": path})
        except ScanError as error:
            reason = str(error).replace(str(path), path.name).removesuffix(".").removesuffix(f" (patient {name})")
            rows.append({"scan": name, "file": str(path), "unread": reason})
            continue
        found = measured(reading)
        mask = reading.outline.astype(np.uint8) + 2 * reading.ventricles.astype(np.uint8)
        write_like(out / f"{name}{SEGMENTED}", mask, reading.scan)
        write_json(out / f"{name}.json", {"file": str(path), **found})
        lines = [f"hematoma {found['hematoma_ml']:.1f} mL (ABC/2: {found['abc2_ml']:.1f} mL)"]
        lines += [f"ventricles {found['ventricles_ml']:.1f} mL", *found["warnings"]]
        write_overview(out / f"{name}.png", reading, lines)
        write_viewer(out / f"{name}{PAGE}", reading.patient, reading.prediction, name, found)
        rows.append({"scan": name, "file": str(path), **found, "warnings": "; ".join(found["warnings"]), "unread": ""})
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(COUNTS, "Int64"))
    write_table(out / "segmentation.csv", table)
    return table


def measured(reading: Reading) -> dict[str, Any]:
    """Volumes in mL, ABC/2 beside them, and the markers inside the hematoma's outline; null without one."""
    markers = measure_markers(reading.scan.hu, reading.outline, reading.scan.spacing_mm)
    return {
        "hematoma_detected": int(reading.prediction.detected),
        "hematoma_ml": round(reading.volume_ml, 3),
        "ventricles_ml": round(reading.ventricles_ml, 3),
        "abc2_ml": round(abc2_ml(reading.outline, reading.scan.spacing_mm), 3),
        **{name: None if np.isnan(markers[name]) else round(float(markers[name]), 4) for name in MEASURED},
        "warnings": scan_warnings(reading),
    }


def scan_warnings(reading: Reading) -> list[str]:
    """What a reader must know of the scan: how its file was read, and what is unusual about it."""
    return [*reading.scan.notes, *(FLAG_WORDS[flag] for flag in reading.flags.split())]


def write_overview(path: Path, reading: Reading | None, lines: Sequence[str]) -> None:
    """Draw the figure ``overview``: six slices around the largest outline, none without a reading, and lines."""
    write_bytes(path, render(draw("overview", _overview(reading, lines), stamp=True))["png"])


def _overview(reading: Reading | None, lines: Sequence[str]) -> dict[str, np.ndarray]:
    """What that figure draws."""
    page = {"window": np.array([40.0, 80.0]), "lines": np.array(list(lines))}
    if reading is None:
        empty = np.zeros((0, 1, 1))
        return page | {"hu": empty, "mask": empty, "titles": np.array([], dtype=str), "pixel_mm": np.array(1.0)}
    outline = from_torch(reading.prediction.probability) >= 0.5
    areas = outline.sum(axis=(0, 1))
    middle = int(areas.argmax()) if areas.any() else int(reading.prediction.presence.argmax())
    shown = np.clip(np.arange(middle - 2, middle + 4), 0, outline.shape[2] - 1)
    masks = {"predicted": reading.outline}
    pictures = [at_own_pixels(reading.scan.hu, reading.slices, int(z), masks=masks, maps={}) for z in shown]
    found = stacked(pictures, ("hu", "predicted", "pixel_mm"))
    titles = np.array([f"Slice {z + 1} of {outline.shape[2]}" for z in shown])
    return page | {"hu": found["hu"], "mask": found["predicted"], "pixel_mm": found["pixel_mm"], "titles": titles}
