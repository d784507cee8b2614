"""Pictures of a scan at fault for the page of ``hepred check``: three axial slices and two histograms, as inline SVG.

A person's face cannot be recognised in them: slices are axial, pass through the brain, and are black more than a
skull's thickness outside it. Where no brain is found, slices are shown only if their stacking says that they are axial.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from nibabel.orientations import apply_orientation, io_orientation
from PIL import Image

from hepred_lib.imaging.nifti import read_nifti
from hepred_lib.morphology import dilated
from hepred_lib.preprocessing import prepare
from hepred_lib.scans import ScanError, read_mask, read_scan

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
