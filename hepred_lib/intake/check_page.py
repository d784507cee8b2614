"""The page of ``hepred check``: one HTML file that needs no network, with the counts, the problems and pictures.

It may leave the hospital: of a patient it shows the pseudonym, the values at fault and axial slices of the brain; file
names, text cells and what stood in place of a pseudonym are left out.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hepred_lib.cohort.rules import COLUMNS, PATHS, PATIENT_ID, Problem
from hepred_lib.errors import ScanError
from hepred_lib.figures.images import BAR_LENGTHS_MM, HEMATOMA, outline, show_slice
from hepred_lib.figures.style import GREY, ORANGE, new_figure, png, sheet
from hepred_lib.imaging.preprocessing import dilated, prepare
from hepred_lib.imaging.scans import read_mask, read_scan, read_stored
from hepred_lib.intake.check import MOMENTS, Checked
from hepred_lib.study.files import templates

SHOWN_SCANS = 60
HIDDEN = "(not shown here)"
MOMENT_NAMES = dict(zip(MOMENTS, ("first scan", "second scan"), strict=True))


class Shown(NamedTuple):
    """A problem as the page shows it."""

    problem: Problem
    patient: str
    sentence: str
    remedy: str


def page(checked: Checked) -> str:
    """The whole page as HTML; the scans at fault are read again, one after the other, for their pictures.

    Parameters
    ----------
    checked : Checked
        What :func:`hepred_lib.intake.check.check_manifest` found.
    """
    scans, refusals, warnings = _scans_at_fault(checked), checked.refusals, checked.warnings
    tiles = [(checked.patients, "patients", ""), (refusals, "refusals", "refuse"), (warnings, "warnings", "warn")]
    template = templates(Path(__file__).parent, autoescape=True).get_template("check_page.html.j2")
    return template.render(
        state="refuse" if refusals else "warn" if warnings else "clean",
        tiles=[*tiles, (len(scans), "scans at fault", "")],
        notes=checked.notes,
        problems=[_shown(problem, checked) for problem in checked.problems],
        scans=[_card(checked, *place, problems) for place, problems in list(scans.items())[:SHOWN_SCANS]],
        more_scans=max(len(scans) - SHOWN_SCANS, 0),
    )


def _scans_at_fault(checked: Checked) -> dict[tuple[int, str], list[Problem]]:
    """The problems of each scan that a problem of its image, mask or volume concerns, by line and moment."""
    scans: dict[tuple[int, str], list[Problem]] = {}
    for problem in checked.problems:
        moment = "baseline" if problem.column == "ivh" else problem.column.partition("_")[0]
        known = moment in MOMENTS and problem.line in checked.table.index
        if known and not pd.isna(checked.table.at[problem.line, f"{moment}_ct"]):
            scans.setdefault((problem.line, moment), []).append(problem)
    return dict(sorted(scans.items(), key=lambda item: (item[1][0].severity != "refuse", item[0])))


def _card(checked: Checked, line: int, moment: str, problems: list[Problem]) -> dict:
    """One scan: whose it is, what is wrong with it, and its picture."""
    row = checked.table.loc[line]
    mask = row[f"{moment}_ivh_mask" if all("ivh" in problem.column for problem in problems) else f"{moment}_mask"]
    return {
        "patient": _pseudonym(row["patient_id"]),
        "moment": MOMENT_NAMES[moment],
        "line": line,
        "problems": [_shown(problem, checked) for problem in problems],
        "picture": b64encode(picture(Path(row[f"{moment}_ct"]), None if pd.isna(mask) else Path(mask))).decode(),
    }


def _shown(problem: Problem, checked: Checked) -> Shown:
    """A problem without what may name a person."""
    row = checked.table.loc[problem.line] if problem.line in checked.table.index else None
    value = _public(problem.value, row) if _may_be_shown(problem, row, checked.cells.header_line) else HIDDEN
    sentence = f"{problem.column} must {_public(problem.rule, row)}, got {value.removesuffix(f' in {problem.column}')}."
    remedy = f"{_public(problem.remedy, row).rstrip('.')}." if problem.remedy else ""
    return Shown(problem, _pseudonym(problem.patient_id), sentence, remedy)


def _may_be_shown(problem: Problem, row: pd.Series | None, header_line: int) -> bool:
    """Whether a value is a number, a code or the check's own words, and no text that might name a person."""
    if re.fullmatch(r"[-+0-9.,e% ]*", problem.value) and problem.column != "patient_id":
        return True
    if problem.line in (0, header_line) and not problem.patient_id:
        return problem.line > 0  # a column or the header; a whole file may quote its first patient
    rule = COLUMNS.get(problem.column)
    if rule is None:
        return problem.rule.startswith("be another patient")
    if rule.kind == "path":
        return row is not None and not pd.isna(row[problem.column])
    return rule.kind != "text" and bool(_pseudonym(problem.patient_id))


def _public(text: str, row: pd.Series | None) -> str:
    """The text with the names of the row's files replaced by their columns."""
    if row is None:
        return text
    for column in PATHS:
        path = Path("" if pd.isna(row[column]) else row[column])
        for name in (str(path), path.name, path.name.removesuffix(".gz").removesuffix(".nii")):
            text = text.replace(name, column) if len(name) > 3 else text
    return text


def _pseudonym(patient: object) -> str:
    """The identifier, where it is one: what breaks its rule may be a name."""
    return str(patient) if isinstance(patient, str) and re.fullmatch(PATIENT_ID, patient) else ""


# --- pictures: three axial slices with the mask's outline, and two histograms

WINDOW_HU = (0.0, 80.0)  # level 40, width 80
MATRIX, FIELD_MM, SKULL_MM = 224, 205.0, 14.0
LARGEST_MM = 1000.0  # of a voxel in a header that is not to be trusted
SHARE_OF_BRAIN = 0.55  # of the largest slice's: no slice through orbits and nose reaches it
AXIAL_STEP = 1.5  # slices thicker than pixels by so much are axial in head CT
NEAR_HU = (-30.0, 120.0)
BINS = 75  # of 2 HU near brain and blood: whole HU leave no gaps
PICTURE_MM, DPI = (300, 64), 110


@dataclass(frozen=True)
class Voxels:
    """A scan as far as it could be read: ``hu`` (x, y, z) in RAS+, and whether it passed as a head CT."""

    hu: np.ndarray
    spacing_mm: tuple[float, float, float]
    passed: bool
    mask: np.ndarray | None


def picture(scan: Path, mask: Path | None) -> bytes:
    """Three slices with the mask's outline, and two histograms, as PNG; empty where nothing is readable.

    Parameters
    ----------
    scan, mask : Path
        The mask may be None, or broken: then there is no outline.
    """
    voxels = _read(scan, mask)
    if voxels is None:
        return b""
    with sheet():
        figure = new_figure(*PICTURE_MM)
        *slices, whole, near = figure.subplots(1, 5)
        _draw_slices(slices, voxels)
        _draw_histogram(whole, voxels, (float(voxels.hu.min()), float(voxels.hu.max())), "all voxels, logarithmic")
        limits = NEAR_HU if voxels.passed else tuple(np.percentile(voxels.hu, (5, 95)).tolist())
        _draw_histogram(near, voxels, limits, "near brain; orange: mask, own scale" if voxels.passed else "5 to 95 %")
        return png(figure, dpi=DPI)


def _read(path: Path, mask: Path | None) -> Voxels | None:
    """The voxels, even of a scan that is refused for what it shows."""
    try:
        scan = read_scan(path)
    except ScanError:
        found = _lenient(path)
        return found and Voxels(*found, passed=False, mask=_lenient_mask(mask, found[0].shape))
    try:
        drawn = None if mask is None else read_mask(mask, scan)
    except ScanError:
        drawn = _lenient_mask(mask, scan.hu.shape)
    return Voxels(scan.hu, scan.spacing_mm, passed=True, mask=drawn)


def _lenient(path: Path) -> tuple[np.ndarray, tuple[float, float, float]] | None:
    """Voxels in RAS+ order and spacing of any three-dimensional image; None where that fails."""
    if not path.is_file():
        return None
    try:
        stored = read_stored(path)
        with np.errstate(all="ignore"):
            values = np.nan_to_num(stored.voxels * np.float32(stored.slope) + np.float32(stored.intercept))
            sizes = np.linalg.norm(stored.affine[:3, :3], axis=0)
    except Exception:  # whatever a damaged file does to its reader, the page goes on without its picture
        return None
    x, y, z = (float(size) if 0 < size < LARGEST_MM else 1.0 for size in sizes)
    return np.asarray(values, dtype=np.float32), (x, y, z)


def _lenient_mask(path: Path | None, shape: tuple[int, ...]) -> np.ndarray | None:
    found = None if path is None else _lenient(path)
    if found is None or found[0].shape != shape or not found[0].max() > 0:
        return None
    return found[0] > 0.5 * found[0].max()


def _draw_slices(panels: list[Axes], voxels: Voxels) -> None:
    """Three slices, or the reason why there are none; panels that are not needed stay empty."""
    low, high = WINDOW_HU if voxels.passed else np.percentile(voxels.hu, (2, 99.5)).tolist()
    for axes in panels:
        axes.set_axis_off()
    found = _through_brain(voxels) or _through_stack(voxels)
    if found is None:
        why = "No slices are shown: neither a brain\nnor the axial direction is certain."
        panels[1].text(0.5, 0.5, why, ha="center")
        return
    hu, mask, (x_mm, y_mm), places = found
    bar_mm = next((length for length in BAR_LENGTHS_MM if length <= 0.35 * x_mm * hu.shape[0]), BAR_LENGTHS_MM[-1])
    for axes, k, place in zip(panels, range(hu.shape[2]), places, strict=False):
        window = (low + high) / 2, max(high - low, 1e-6)
        show_slice(axes, hu[:, :, k].T, pixel_mm=x_mm, window=window, bar_mm=bar_mm)
        if mask is not None:
            outline(axes, [(mask[:, :, k].T, HEMATOMA)], pixel_mm=x_mm)
        axes.set_aspect(y_mm / x_mm)
        axes.set_title(f"{place}, {low:.0f} to {high:.0f} {'HU' if voxels.passed else 'as stored'}", loc="center")


Slices = tuple[np.ndarray, np.ndarray | None, tuple[float, float], list[str]]  # HU, mask, pixel sizes in mm, places


def _through_brain(voxels: Voxels) -> Slices | None:
    """Three slices through the brain, black outside skull and brain."""
    if not voxels.passed:
        return None
    try:
        prepared = prepare(voxels.hu, voxels.spacing_mm, matrix=MATRIX, field_mm=FIELD_MM)
    except ValueError:
        return None
    brain, grid = prepared.brain, prepared.grid
    area = brain.sum(axis=(0, 1))
    if not area.any():
        return None
    mask = None if voxels.mask is None else grid.to_slices(voxels.mask) >= 0.5
    chosen = _chosen(np.flatnonzero(area >= SHARE_OF_BRAIN * area.max()), mask)
    near = dilated(brain[:, :, chosen], round(SKULL_MM / grid.pixel_mm))
    hu = np.where(near, prepared.hu[:, :, chosen], -1000.0)
    places = [f"slice {z + 1} of {len(area)}" for z in chosen]
    return hu, None if mask is None else mask[:, :, chosen], (grid.pixel_mm, grid.pixel_mm), places


def _through_stack(voxels: Voxels) -> Slices | None:
    """Three slices of the upper half of a stack in which no brain was found, where they are surely axial."""
    x, y, z = voxels.spacing_mm
    if z < AXIAL_STEP * max(x, y):
        return None
    n = voxels.hu.shape[2]
    chosen = _chosen(np.arange(n // 2, max(n // 2 + 1, round(0.8 * n))), voxels.mask)
    across, along = (max(1, size // MATRIX) for size in voxels.hu.shape[:2])
    shown = np.s_[::across, ::along, chosen]
    mask = None if voxels.mask is None else voxels.mask[shown]
    return voxels.hu[shown], mask, (across * x, along * y), [f"slice {k + 1} of {n}" for k in chosen]


def _chosen(possible: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Three of the possible slices: low, middle and high of the mask's, or of all."""
    if mask is not None:
        within = possible[mask[:, :, possible].any(axis=(0, 1))]
        possible = within if len(within) >= 3 else possible
    return np.unique(possible[np.round(np.array([0.15, 0.5, 0.85]) * (len(possible) - 1)).astype(int)])


def _draw_histogram(axes: Axes, voxels: Voxels, limits: tuple[float, float], title: str) -> None:
    """Bars of all voxels within limits, and a line of those under the mask where the limits are near brain."""
    low, high = limits if limits[1] > limits[0] else (limits[0] - 1, limits[0] + 1)
    counts, edges = np.histogram(voxels.hu, BINS, (low, high))
    logarithmic = "logarithmic" in title
    heights = np.log10(1.0 + counts) if logarithmic else counts.astype(float)
    # Clipped scans have one or two bins that would flatten all others: those are cut off.
    top = max(np.sort(heights)[-3], 1.0)
    axes.stairs(np.minimum(heights, top), edges, fill=True, color=GREY)
    if voxels.mask is not None and voxels.mask.any() and not logarithmic:
        under = np.histogram(voxels.hu[voxels.mask], BINS, (low, high))[0]
        axes.plot((edges[1:] + edges[:-1]) / 2, under / max(under.max(), 1) * top, color=ORANGE)
    axes.set(xlim=(low, high), ylim=(0, None), yticks=[], xlabel="HU" if voxels.passed else "as stored")
    axes.set_title(title, loc="center")
    axes.locator_params(axis="x", nbins=4)
