"""The page of ``hepred check``: one HTML file that needs no network, with the counts, the problems and pictures.

It may leave the hospital: of a patient it shows the pseudonym, the values at fault and axial slices of the brain; file
names, text cells and what stood in place of a pseudonym are left out.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from nibabel.orientations import apply_orientation, io_orientation
from PIL import Image

from hepred_lib.cohort.rules import COLUMNS, PATIENT_ID, Problem
from hepred_lib.imaging.head import dilated
from hepred_lib.imaging.nifti import read_nifti
from hepred_lib.imaging.preprocessing import prepare
from hepred_lib.imaging.scans import ScanError, read_mask, read_scan
from hepred_lib.intake.check import MOMENTS, Checked
from hepred_lib.intake.check_cohort import PATHS, numbered

# --- check_pictures: Pictures of a scan at fault for the page of ``hepred check``: three axial slices and two histog

WINDOW_HU = (0.0, 80.0)  # level 40, width 80
MATRIX, FIELD_MM, SKULL_MM = 224, 205.0, 14.0
LARGEST_MM = 1000.0  # of a voxel in a header that is not to be trusted
SHARE_OF_BRAIN = 0.55  # of the largest slice's: no slice through orbits and nose reaches it
AXIAL_STEP = 1.5  # slices thicker than pixels by so much are axial in head CT
NEAR_HU = (-30.0, 120.0)
BINS, PLOT = 75, (204, 140)  # bins of 2 HU near brain and blood: whole HU leave no gaps


@dataclass(frozen=True)
class Voxels:
    """A scan as far as it could be read: ``hu`` (x, y, z) in RAS+, and whether it passed as a head CT."""

    hu: np.ndarray
    spacing_mm: tuple[float, float, float]
    passed: bool
    mask: np.ndarray | None


def pictures(scan: str, mask: str | None) -> list[tuple[str, str]]:
    """SVG and caption of three slices with the mask's outline, and of two histograms; empty where nothing is readable.

    Parameters
    ----------
    scan, mask : str
        Files; the mask may be None, or broken: then there is no outline.
    """
    voxels = _read(Path(scan), None if mask is None else Path(mask))
    if voxels is None:
        return []
    return [*_slices(voxels), *_histograms(voxels)]


def _read(path: Path, mask: Path | None) -> Voxels | None:
    """The voxels, even of a scan that is refused for what it shows."""
    try:
        scan = read_scan(path)
    except ScanError:
        found = _lenient(path)
        if found is None:
            return None
        hu, spacing = found
        return Voxels(hu, spacing, False, _lenient_mask(mask, hu.shape))
    try:
        outline = None if mask is None else read_mask(mask, scan)
    except ScanError:
        outline = _lenient_mask(mask, scan.hu.shape)
    return Voxels(scan.hu, scan.spacing_mm, True, outline)


def _lenient(path: Path) -> tuple[np.ndarray, tuple[float, float, float]] | None:
    """Voxels in RAS+ order and spacing of any three-dimensional image; None where that fails."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            stored = read_nifti(stream, path.stat().st_size)
        if stored.voxels.ndim != 3:
            return None
        turned = apply_orientation(stored.voxels, io_orientation(stored.affine))
        with np.errstate(all="ignore"):
            values = np.nan_to_num(turned * np.float32(stored.slope) + np.float32(stored.intercept))
            sizes = np.linalg.norm(stored.affine[:3, :3], axis=0)
    except Exception:  # whatever a damaged file does to its reader, the page goes on without its picture
        return None
    order = io_orientation(stored.affine)[:, 0].argsort()
    x, y, z = (float(size) if 0 < size < LARGEST_MM else 1.0 for size in sizes[order])
    return np.asarray(values, dtype=np.float32), (x, y, z)


def _lenient_mask(path: Path | None, shape: tuple[int, ...]) -> np.ndarray | None:
    found = None if path is None else _lenient(path)
    if found is None or found[0].shape != shape or not found[0].max() > 0:
        return None
    return found[0] > 0.5 * found[0].max()


def _slices(voxels: Voxels) -> list[tuple[str, str]]:
    """Three slices, or the reason why there are none."""
    window = WINDOW_HU if voxels.passed else tuple(np.percentile(voxels.hu, (2, 99.5)).tolist())
    shown = _through_brain(voxels) or _through_stack(voxels)
    if shown is None:
        return [("", "No slices are shown: neither a brain nor the axial direction is certain.")]
    slices, outline, sides_mm, places = shown
    unit = "HU" if voxels.passed else "(as stored)"
    said = f"window {window[0]:.0f} to {window[1]:.0f} {unit}"
    return [
        (slice_svg(slices[:, :, k], _plane(outline, k), window, sides_mm), f"{place}; {said}")
        for k, place in enumerate(places)
    ]


def _plane(outline: np.ndarray | None, k: int) -> np.ndarray | None:
    return None if outline is None else outline[:, :, k]


Shown = tuple[np.ndarray, np.ndarray | None, tuple[float, float], list[str]]


def _through_brain(voxels: Voxels) -> Shown | None:
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
    outline = None if voxels.mask is None else grid.to_slices(voxels.mask) >= 0.5
    chosen = _chosen(np.flatnonzero(area >= SHARE_OF_BRAIN * area.max()), outline)
    near = dilated(brain[:, :, chosen], round(SKULL_MM / grid.pixel_mm))
    slices = np.where(near, prepared.hu[:, :, chosen], -1000.0)
    places = [f"slice {z + 1} of {len(area)}" for z in chosen]
    return slices, None if outline is None else outline[:, :, chosen], (FIELD_MM, FIELD_MM), places


def _through_stack(voxels: Voxels) -> Shown | None:
    """Three slices of the upper half of a stack in which no brain was found, where they are surely axial."""
    x, y, z = voxels.spacing_mm
    if z < AXIAL_STEP * max(x, y):
        return None
    step = [max(1, size // MATRIX) for size in voxels.hu.shape[:2]]
    n = voxels.hu.shape[2]
    chosen = _chosen(np.arange(n // 2, max(n // 2 + 1, round(0.8 * n))), voxels.mask)
    thin = (slice(None, None, step[0]), slice(None, None, step[1]), chosen)
    sides_mm = (voxels.hu.shape[0] * x, voxels.hu.shape[1] * y)
    return (
        voxels.hu[thin],
        None if voxels.mask is None else voxels.mask[thin],
        sides_mm,
        [f"slice {k + 1} of {n}" for k in chosen],
    )


def _chosen(possible: np.ndarray, outline: np.ndarray | None) -> np.ndarray:
    """Three of the possible slices: low, middle and high of the mask's, or of all."""
    if outline is not None:
        within = possible[outline[:, :, possible].any(axis=(0, 1))]
        possible = within if len(within) >= 3 else possible
    return np.unique(possible[np.round(np.array([0.15, 0.5, 0.85]) * (len(possible) - 1)).astype(int)])


def slice_svg(
    hu: np.ndarray, outline: np.ndarray | None, window: tuple[float, float], sides_mm: tuple[float, float]
) -> str:
    """One slice (x, y) of RAS+ as radiologists see it: the patient's right on the left, the front at the top."""
    low, high = window
    grey = np.clip((hu - low) / max(high - low, 1e-6), 0.0, 1.0)
    buffer = BytesIO()
    Image.fromarray(np.rint(255 * _turned(grey)).astype(np.uint8)).save(buffer, "png", optimize=True)
    columns, rows = hu.shape
    height = round(PLOT[0] * sides_mm[1] / sides_mm[0])
    path = "" if outline is None else outline_path(_turned(outline))
    drawn = (f'<path d="{path}" class="rim"/><path d="{path}" class="blood"/>') if path else ""
    encoded = b64encode(buffer.getvalue()).decode()
    return (
        f'<svg class="slice" width="{PLOT[0]}" height="{height}" viewBox="0 0 {columns} {rows}" '
        f'preserveAspectRatio="none" role="img"><image width="{columns}" height="{rows}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{encoded}"/>{drawn}</svg>'
    )


def _turned(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[::-1, ::-1].T)


def outline_path(mask: np.ndarray) -> str:
    """The edges between pixels inside and outside a mask (rows, columns), as the path of an SVG.

    Examples
    --------
    >>> outline_path(np.array([[True]]))
    'M0 0h1M0 1h1M0 0v1M1 0v1'
    """
    padded = np.pad(mask, 1)
    across = [f"M{x} {y}h1" for y, x in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])]
    down = [f"M{x} {y}v1" for y, x in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])]
    return "".join(across + down)


def _histograms(voxels: Voxels) -> list[tuple[str, str]]:
    """Over all values on a logarithmic scale, and near brain and blood with the voxels under the mask."""
    everything = float(voxels.hu.min()), float(voxels.hu.max())
    unit = "HU" if voxels.passed else "as stored"
    whole = histogram_svg(voxels.hu, None, everything, logarithmic=True)
    said = f"all voxels, {everything[0]:g} to {everything[1]:g} {unit}, logarithmic"
    inner = NEAR_HU if voxels.passed else tuple(np.percentile(voxels.hu, (5, 95)).tolist())
    near = histogram_svg(voxels.hu, voxels.mask, inner)
    under = "" if voxels.mask is None else "; orange: under the mask, to its own scale"
    return [(whole, said), (near, f"{inner[0]:g} to {inner[1]:g} {unit}{under}")]


def histogram_svg(
    hu: np.ndarray, mask: np.ndarray | None, limits: tuple[float, float], *, logarithmic: bool = False
) -> str:
    """Bars of all voxels within limits, and a line of those under a mask."""
    width, height = PLOT
    base = height - 22
    low, high = limits if limits[1] > limits[0] else (limits[0] - 1, limits[0] + 1)
    counts = np.histogram(hu, BINS, (low, high))[0].astype(float)
    if logarithmic:
        counts = np.log10(1 + counts)
    # Clipped scans have one or two bins that would flatten all others: those are cut off.
    tops = base - (base - 6) * np.minimum(counts / max(np.sort(counts)[-3], 1.0), 1.0)
    step = width / BINS
    bars = "".join(f"M{k * step:.1f} {base}V{top:.1f}h{step:.2f}V{base}z" for k, top in enumerate(tops) if top < base)
    line = ""
    if mask is not None and mask.any():
        under = np.histogram(hu[mask], BINS, (low, high))[0].astype(float)
        places = base - (base - 6) * under / max(under.max(), 1.0)
        points = " ".join(f"{(k + 0.5) * step:.1f},{y:.1f}" for k, y in enumerate(places))
        line = f'<polyline class="under" points="{points}"/>'
    ticks = _ticks(low, high)
    marks = "".join(
        f'<path class="axis" d="M{x:.1f} {base}v4"/><text x="{x:.1f}" y="{height - 5}">{value:g}</text>'
        for value, x in ((value, (value - low) / (high - low) * width) for value in ticks)
    )
    return (
        f'<svg class="histogram" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f'<path class="bars" d="{bars}"/>{line}<path class="axis" d="M0 {base}H{width}"/>{marks}</svg>'
    )


def _ticks(low: float, high: float) -> np.ndarray:
    """Two to five round values between two limits, away from the edges where their labels would be cut."""
    span = high - low
    step = 10.0 ** np.floor(np.log10(span))
    step = next(step * part for part in (1, 0.5, 0.25, 0.2) if span / (step * part) >= 3)
    values = step * np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    return values[(values > low + 0.06 * span) & (values < high - 0.06 * span)] + 0.0  # no minus zero


# --- check_page: The page of ``hepred check``: one HTML file that needs no network, with the counts, the problem

SHOWN_SCANS = 60
HIDDEN = "(not shown here)"
MOMENT_NAMES = {"baseline": "first scan", "followup": "second scan"}


def page(checked: Checked) -> str:
    """The whole page as HTML; the scans at fault are read again, one after the other, for their pictures.

    Parameters
    ----------
    checked : Checked
        What :func:`hepred_lib.intake.check.check_manifest` found.
    """
    scans = _scans_at_fault(checked)
    cards = [_card(checked, line, moment, problems) for (line, moment), problems in list(scans.items())[:SHOWN_SCANS]]
    rest = len(scans) - len(cards)
    pictured = "".join(cards) + (f"<p>And {numbered(rest, 'scan')} more at fault.</p>" if rest > 0 else "")
    warnings = len(checked.problems) - checked.refusals
    counts = [
        ("patients", checked.patients, ""),
        ("refusals", checked.refusals, "refuse"),
        ("warnings", warnings, "warn"),
    ]
    tiles = "".join(
        f'<div class="tile {mark if count else ""}"><b>{count}</b><span>{name}</span></div>'
        for name, count, mark in [*counts, ("scans at fault", len(scans), "")]
    )
    state = "refuse" if checked.refusals else "warn" if warnings else "clean"
    words = {
        "refuse": "Refused: the problems below would give wrong numbers, or stop a study.",
        "warn": "Usable: a person should look at the warnings below.",
        "clean": "No problem found.",
    }
    notes = "".join(f"<li>{escape(note)}</li>" for note in checked.notes)
    return TEMPLATE.format(
        style=STYLE,
        state=state,
        verdict=words[state],
        tiles=tiles,
        notes=f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "",
        problems=_problem_table(checked) if checked.problems else "",
        scans=f"<h2>Scans at fault</h2>{pictured}" if cards else "",
    )


def _scans_at_fault(checked: Checked) -> dict[tuple[int, str], list[Problem]]:
    """The problems of each scan that a problem of its image, mask or volume concerns, by line and moment."""
    scans: dict[tuple[int, str], list[Problem]] = {}
    for problem in checked.problems:
        moment = "baseline" if problem.column == "ivh" else problem.column.partition("_")[0]
        if moment not in MOMENTS or problem.line not in checked.table.index:
            continue
        if not pd.isna(checked.table.at[problem.line, f"{moment}_ct"]):
            scans.setdefault((problem.line, moment), []).append(problem)
    return dict(sorted(scans.items(), key=lambda item: (item[1][0].severity != "refuse", item[0])))


def _card(checked: Checked, line: int, moment: str, problems: list[Problem]) -> str:
    """One scan: whose it is, what is wrong with it, and its pictures."""
    row = checked.table.loc[line]
    mask = row[f"{moment}_ivh_mask" if all("ivh" in problem.column for problem in problems) else f"{moment}_mask"]
    shown = pictures(row[f"{moment}_ct"], None if pd.isna(mask) else mask)
    drawn = "".join(f"<figure>{svg}<figcaption>{escape(said)}</figcaption></figure>" for svg, said in shown)
    said = "".join(
        f"<li>{_chip(problem)} {escape(_sentence(problem, row))} <em>{escape(_remedy(problem, row))}</em></li>"
        for problem in problems
    )
    name = _pseudonym(row["patient_id"])
    return (
        f"<article><h3>{escape(name or 'patient without a pseudonym')}<small>{MOMENT_NAMES[moment]}, line {line}"
        f"</small></h3><ul>{said}</ul>"
        f'<div class="row">{drawn or "<p>No pictures: the scan cannot be read.</p>"}</div></article>'
    )


def _problem_table(checked: Checked) -> str:
    rows = []
    for problem in checked.problems:
        row = checked.table.loc[problem.line] if problem.line in checked.table.index else None
        cells = (str(problem.line or ""), _pseudonym(problem.patient_id), problem.column, _sentence(problem, row))
        told = "".join(f"<td>{escape(cell)}</td>" for cell in (*cells, _remedy(problem, row)))
        rows.append(f"<tr><td>{_chip(problem)}</td>{told}</tr>")
    heads = "".join(f"<th>{name}</th>" for name in ("", "Line", "Patient", "Column", "Problem", "What to do"))
    return f"<h2>Problems</h2><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _chip(problem: Problem) -> str:
    word = "refused" if problem.severity == "refuse" else "warning"
    return f'<span class="chip {escape(problem.severity)}">{word}</span>'


def _sentence(problem: Problem, row: pd.Series | None) -> str:
    value = _public(problem.value, row) if _may_be_shown(problem, row) else HIDDEN
    value = value.removesuffix(f" in {problem.column}")
    return f"{problem.column} must {_public(problem.rule, row)}, got {value}."


def _remedy(problem: Problem, row: pd.Series | None) -> str:
    return f"{_public(problem.remedy, row).rstrip('.')}." if problem.remedy else ""


def _may_be_shown(problem: Problem, row: pd.Series | None) -> bool:
    """Whether a value is a number, a code or the check's own words, and no text that might name a person."""
    if re.fullmatch(r"[-+0-9.,e% ]*", problem.value) and problem.column != "patient_id":
        return True
    if problem.line <= 1 and not problem.patient_id:
        return problem.line == 1  # a column or the header; a whole file may quote its first patient
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
        if not pd.isna(row[column]):
            path = Path(row[column])
            for name in (str(path), path.name, path.name.removesuffix(".gz").removesuffix(".nii")):
                text = text.replace(name, column) if len(name) > 3 else text
    return text


def _pseudonym(patient: object) -> str:
    """The identifier, where it is one: what breaks its rule may be a name."""
    return str(patient) if isinstance(patient, str) and re.fullmatch(PATIENT_ID, patient) else ""


TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Check of a cohort</title>
<style>{style}</style>
</head>
<body>
<header class="{state}"><h1>Check of a cohort</h1><p>{verdict}</p><div class="tiles">{tiles}</div></header>
<main>
{problems}
{notes}
{scans}
</main>
<footer>Made by hepred check. Slices: patient's right on the left, front at the top; orange: outline of the mask;
black outside the skull. For research, not for care.</footer>
</body>
</html>
"""

STYLE = """
:root { --ink: #1c2733; --soft: #5b6875; --line: #dde3e8; --paper: #ffffff; --ground: #f4f6f8;
  --refuse: #b8421a; --warn: #8a6100; --clean: #00724f; --blood: #e69f00; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header { color: white; padding: 2rem max(2rem, calc(50vw - 36rem)) 1.6rem; }
header.refuse { background: #7d2d12; } header.warn { background: #6d4d00; } header.clean { background: #00583d; }
h1 { margin: 0; font-size: 1.6rem; font-weight: 650; } header p { margin: .3rem 0 1.2rem; font-size: 1.05rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; }
.tile { background: rgb(255 255 255 / .14); border-radius: .5rem; padding: .6rem 1.1rem; min-width: 8rem; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.15; } .tile span { opacity: .88; }
main, footer { max-width: 76rem; margin: 0 auto; padding: 0 2rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .7rem; }
table { width: 100%; border-collapse: collapse; background: var(--paper); border: 1px solid var(--line);
  border-radius: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .7rem; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { white-space: nowrap; color: var(--soft); font-weight: 600; font-size: .85rem; }
tbody tr:last-child td { border-bottom: 0; }
td:nth-child(1), td:nth-child(2), td:nth-child(3) { white-space: nowrap; overflow-wrap: normal; }
td:nth-child(4) { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85rem; min-width: 11.5rem; }
td:nth-child(6) { color: var(--soft); }
.chip { display: inline-block; border-radius: 1rem; padding: 0 .6rem; font-size: .8rem; font-weight: 600;
  color: white; }
.chip.refuse { background: var(--refuse); } .chip.warn { background: var(--warn); }
article { background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.2rem;
  margin: 0 0 1.2rem; }
h3 { margin: 0 0 .4rem; font-size: 1.05rem; } h3 small { color: var(--soft); font-weight: 400; margin-left: .7rem; }
article ul { list-style: none; margin: 0 0 .8rem; padding: 0; } article em { color: var(--soft); }
.row { display: flex; flex-wrap: wrap; gap: .8rem; align-items: flex-end; }
figure { margin: 0; width: 204px; } figcaption { color: var(--soft); font-size: .78rem; line-height: 1.3;
  min-height: 2.1rem; }
.slice { display: block; background: black; border-radius: .3rem; }
.slice path { fill: none; vector-effect: non-scaling-stroke; }
.rim { stroke: black; stroke-width: 3; } .blood { stroke: var(--blood); stroke-width: 1.5; }
.bars { fill: #8fa3b5; } .under { fill: none; stroke: var(--blood); stroke-width: 1.8; }
.axis { fill: none; stroke: var(--soft); } .histogram text { font-size: 10px; fill: var(--soft);
  text-anchor: middle; }
footer { color: var(--soft); font-size: .85rem; padding-top: 1.5rem; padding-bottom: 2.5rem; }
@media print { body { background: white; } article { break-inside: avoid; } }
"""
