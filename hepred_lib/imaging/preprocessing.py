"""From a scan to canonical brain slices: one field of view, one pixel size, one kind of slice.

Scans are resampled in-plane by *area averaging* onto a square grid centred on the brain, so that a mask keeps its
volume exactly; thin slices are averaged to about 5 mm and thicker ones are left as they are. Intensities stay in
Hounsfield units (HU). Every step is linear and separable, hence each has its way back to the scan's own grid.

Arrays are (x, y, z) in RAS+ as everywhere in the library; only ``slices`` reorders them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial

import numpy as np
from scipy.sparse import csr_array

from hepred_lib.errors import HeadError
from hepred_lib.imaging.head import components, dilated, eroded, field_fault, filled, head_fault, opened, overlapping

BONE_HU = 150.0
BRIGHT_HU = 60.0  # bone, and dense blood
CAP_HU = 50.0  # median of a slice of brain, beyond any hematoma: half bone, half brain or air, where HU were clipped
TISSUE_HU = (-15.0, 95.0)
COARSE_MM = 2.0
GAPS_MM = (8.0, 16.0, 24.0, np.inf)  # of the skull, tried in this order
THIN_MM, THICK_MM = 3.0, 8.0  # bridges thinner than this are cut


@dataclass(frozen=True)
class SliceGrid:
    """Where canonical slices lie in a scan.

    Attributes
    ----------
    shape : tuple of int
        Voxels of the scan along x, y, z.
    spacing_mm : tuple of float
        Voxel size of the scan.
    start_mm : tuple of float
        Corner of the square field of view, from the corner of the first voxel.
    field_mm : float
        Side of the field of view.
    matrix : int
        Pixels along a side.
    group : int
        Neighbouring slices of the scan that were averaged into one.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    start_mm: tuple[float, float]
    field_mm: float
    matrix: int
    group: int

    @property
    def pixel_mm(self) -> float:
        """Side of a canonical pixel."""
        return self.field_mm / self.matrix

    @property
    def thickness_mm(self) -> float:
        """Distance between canonical slices."""
        return self.spacing_mm[2] * self.group

    @property
    def voxel_ml(self) -> float:
        """Volume of a canonical voxel in mL."""
        return self.pixel_mm**2 * self.thickness_mm / 1000.0

    def to_slices(self, volume: np.ndarray) -> np.ndarray:
        """Area average of an (x, y, z) array of the scan on the canonical grid, float32 (matrix, matrix, n)."""
        volume = np.asarray(volume, dtype=np.float32)
        weights = [
            area_weights(self.shape[axis], self.spacing_mm[axis], self.start_mm[axis], self.pixel_mm, self.matrix)
            for axis in (0, 1)
        ]
        return _apply_in_plane(_average_slices(volume, self.group), *weights)

    def to_scan(self, slices: np.ndarray) -> np.ndarray:
        """Linear interpolation of a canonical (matrix, matrix, n) array on the scan's grid, zero outside the field."""
        weights = [
            linear_weights(self.shape[axis], self.spacing_mm[axis], self.start_mm[axis], self.pixel_mm, self.matrix)
            for axis in (0, 1)
        ]
        volume = _apply_in_plane(np.asarray(slices, dtype=np.float32), *weights)
        return volume[:, :, np.arange(self.shape[2]) // self.group] if self.group > 1 else volume


@dataclass(frozen=True)
class BrainSlices:
    """Canonical slices of one scan: HU and brain mask on ``grid``, and what quality control needs to know."""

    hu: np.ndarray
    brain: np.ndarray
    grid: SliceGrid
    quality: dict[str, float]


@dataclass(frozen=True)
class Head:
    """A head as found on a coarse grid.

    Attributes
    ----------
    grid : SliceGrid
        Pixels of 2 mm over the whole field of view.
    hu, brain : ndarray
        HU and brain mask on it.
    bone_hu : float
        HU from which on a voxel of the scan is bone.
    brain_hu : float
        Median of brain tissue; NaN where none is within 20 HU of 33.
    """

    grid: SliceGrid
    hu: np.ndarray
    brain: np.ndarray
    bone_hu: float
    brain_hu: float


def find_head(
    hu: np.ndarray, spacing_mm: tuple[float, float, float], *, thickness_mm: float = 5.0, name: str = "the scan"
) -> Head:
    """Find the brain and refuse a scan that does not show a head with its skull, in possible size.

    Everything that measures or predicts goes through here: an empty brain mask would otherwise be read as a head
    without blood.

    Parameters
    ----------
    hu : ndarray of shape (x, y, z)
        Hounsfield units in RAS+.
    spacing_mm : tuple of float
        Voxel size.
    thickness_mm : float
        Slices thinner than this are averaged in groups that come closest to it.
    name : str
        What the message calls the scan.

    Raises
    ------
    HeadError
        No brain, no skull (brain extraction), a brain of impossible HU, or a size that shows a wrong voxel size.
    """
    fault = field_fault(hu, spacing_mm)
    if fault:
        raise HeadError(f"{name} must {fault[0]}, got {fault[1]}.")
    grid = _coarse_grid(hu.shape, spacing_mm, max(1, round(thickness_mm / spacing_mm[2])))
    coarse, bone_hu = grid.to_slices(hu), bone_threshold(hu)
    bone = _bone(hu, coarse, grid, bone_hu)
    brain = brain_mask(np.where(bone, np.maximum(coarse, bone_hu), coarse), grid.pixel_mm, bone_hu=bone_hu)
    if bone_hu < BONE_HU:
        brain = _without_caps(coarse, brain)
    fault = head_fault(coarse, brain, bone, (grid.pixel_mm, grid.pixel_mm, grid.thickness_mm))
    if fault:
        raise HeadError(f"{name} must {fault[0]}, got {fault[1]}.")
    return Head(grid, coarse, brain, bone_hu, _tissue_hu(coarse, brain))


def prepare(
    hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    matrix: int = 128,
    field_mm: float = 200.0,
    thickness_mm: float = 5.0,
    name: str = "the scan",
) -> BrainSlices:
    """Canonical slices of one scan.

    Parameters
    ----------
    hu : ndarray of shape (x, y, z)
        Hounsfield units in RAS+.
    spacing_mm : tuple of float
        Voxel size.
    matrix, field_mm : int, float
        Pixels along a side of the square field of view, and its side; the field is centred on the brain.
    thickness_mm : float
        Slices thinner than this are averaged in groups that come closest to it.
    name : str
        What a message calls the scan.

    Returns
    -------
    BrainSlices

    Raises
    ------
    HeadError
        As :func:`find_head`.
    """
    head = find_head(hu, spacing_mm, thickness_mm=thickness_mm, name=name)
    centre = _centre_mm(head.brain, head.grid)
    start = (centre[0] - field_mm / 2, centre[1] - field_mm / 2)
    grid = SliceGrid(tuple(hu.shape), tuple(map(float, spacing_mm)), start, float(field_mm), matrix, head.grid.group)
    slices = grid.to_slices(hu)
    brain = _move(head.brain, head.grid, grid)
    return BrainSlices(slices, brain, grid, _quality(hu, slices, brain, grid))


def bone_threshold(hu: np.ndarray) -> float:
    """HU above which a voxel counts as bone: 150, or just below the ceiling of a scan whose HU were clipped.

    The ceiling is the upper quartile of all voxels above 60 HU, most of which are bone: a few voxels above it (metal,
    a mark, the overshoot of an interpolation) do not make a clipped scan look like a whole one.
    """
    bright = hu[hu > BRIGHT_HU]
    ceiling = float(np.percentile(bright, 75.0)) if bright.size else float(hu.max(initial=0.0))
    return BONE_HU if ceiling > 2 * BONE_HU else min(BONE_HU, 0.92 * ceiling)


def brain_mask(hu: np.ndarray, pixel_mm: float, *, bone_hu: float = BONE_HU) -> np.ndarray:
    """Intracranial soft tissue and fluid: what lies inside the skull, slice by slice, as one connected body.

    The skull of each slice is closed and filled; the slice with the largest inside starts the brain, and it grows
    upwards and downwards only into tissue that overlaps it, so that orbits, sinuses and neck stay outside. Holes
    (ventricles, calcification, dense blood) are filled. Works where HU were clipped at 100.

    Parameters
    ----------
    hu : ndarray of shape (x, y, z)
        In-plane pixels near 2 mm.
    pixel_mm : float
        In-plane pixel size.
    bone_hu : float
        See :func:`bone_threshold`.

    Returns
    -------
    ndarray of bool, shape (x, y, z); empty where no skull is found.
    """
    bone = np.ascontiguousarray(hu >= bone_hu)
    tissue = np.ascontiguousarray(hu > TISSUE_HU[0]) & ~bone
    labels, sizes = components(_within_skull(tissue, bone, GAPS_MM[0], pixel_mm))
    brain = np.zeros_like(tissue)
    if not sizes.any():
        return brain
    first = int(np.argmax((labels > 0).sum(axis=(0, 1))))
    brain[:, :, first] = labels[:, :, first] == _most_frequent(labels[:, :, first])
    for step, stop in ((1, hu.shape[2]), (-1, -1)):
        for z in range(first + step, stop, step):
            this, last = slice(z, z + 1), slice(z - step, z - step + 1)
            wider = partial(_within_skull, tissue[:, :, this], bone[:, :, this], pixel_mm=pixel_mm)
            brain[:, :, this] = _next_slice((labels[:, :, this], sizes), wider, brain[:, :, last])
    whole = filled(brain)
    return whole | (dilated(whole, 1) & tissue)


@lru_cache(maxsize=64)
def area_weights(n: int, spacing: float, start: float, pixel: float, matrix: int) -> np.ndarray:
    """Row i: the share of each of ``n`` voxels in the average over canonical pixel i, (matrix, n); edges repeat.

    Examples
    --------
    >>> area_weights(4, 1.0, 0.0, 2.0, 2)
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.5, 0.5]], dtype=float32)
    """
    edges = start + pixel * np.arange(matrix + 1)
    low, high = edges[:-1, None], edges[1:, None]
    left = spacing * np.arange(n)[None, :]
    overlap = np.clip(np.minimum(high, left + spacing) - np.maximum(low, left), 0.0, None)
    # What reaches beyond the scan takes the value of its border voxel: air, or padding.
    overlap[:, 0] += np.clip(np.minimum(high[:, 0], 0.0) - low[:, 0], 0.0, None)
    overlap[:, -1] += np.clip(high[:, 0] - np.maximum(low[:, 0], n * spacing), 0.0, None)
    return (overlap / pixel).astype(np.float32)


@lru_cache(maxsize=64)
def linear_weights(n: int, spacing: float, start: float, pixel: float, matrix: int) -> np.ndarray:
    """Row i: weights of the canonical pixels at the centre of voxel i, (n, matrix); zero outside the field."""
    position = (spacing * (np.arange(n) + 0.5) - start) / pixel - 0.5
    weights = np.clip(1.0 - np.abs(position[:, None] - np.arange(matrix)[None, :]), 0.0, None)
    return weights.astype(np.float32)


def grid_record(grid: SliceGrid) -> dict[str, float | int]:
    """A grid as flat numbers, for one row of a table."""
    record: dict[str, float | int] = {}
    for name, value in asdict(grid).items():
        if isinstance(value, tuple):
            record.update({f"{name}_{axis}": number for axis, number in zip("xyz", value, strict=False)})
        else:
            record[name] = value
    return record


def grid_from_record(record: dict[str, float | int]) -> SliceGrid:
    """The grid that :func:`grid_record` wrote."""
    return SliceGrid(
        shape=tuple(int(record[f"shape_{axis}"]) for axis in "xyz"),
        spacing_mm=tuple(float(record[f"spacing_mm_{axis}"]) for axis in "xyz"),
        start_mm=tuple(float(record[f"start_mm_{axis}"]) for axis in "xy"),
        field_mm=float(record["field_mm"]),
        matrix=int(record["matrix"]),
        group=int(record["group"]),
    )


def _average_slices(volume: np.ndarray, group: int) -> np.ndarray:
    if group == 1:
        return volume
    starts = np.arange(0, volume.shape[2], group)
    counts = np.diff(np.append(starts, volume.shape[2]))
    return np.add.reduceat(volume, starts, axis=2) / counts.astype(np.float32)


def _apply_in_plane(volume: np.ndarray, along_x: np.ndarray, along_y: np.ndarray) -> np.ndarray:
    # A pixel is made of a few voxels: of the weights' rows only those few are multiplied.
    along_x, along_y = csr_array(along_x), csr_array(along_y)
    planes = np.ascontiguousarray(volume.T)  # (z, y, x): the order of a scan's file
    return np.moveaxis(np.stack([along_x @ (along_y @ plane).T for plane in planes]), 0, 2)


def _coarse_grid(shape: tuple[int, ...], spacing_mm: tuple[float, ...], group: int) -> SliceGrid:
    extent = max(shape[0] * spacing_mm[0], shape[1] * spacing_mm[1])
    matrix = int(np.ceil(extent / COARSE_MM))
    return SliceGrid(tuple(shape), tuple(map(float, spacing_mm)), (0.0, 0.0), matrix * COARSE_MM, matrix, group)


def _centre_mm(brain: np.ndarray, grid: SliceGrid) -> tuple[float, float]:
    centres = []
    for axis in (0, 1):
        profile = np.flatnonzero(brain.any(axis=(1 - axis, 2)))
        middle = (profile[0] + profile[-1] + 1) / 2 if profile.size else grid.matrix / 2
        centres.append(grid.start_mm[axis] + middle * grid.pixel_mm)
    return centres[0], centres[1]


def _move(mask: np.ndarray, source: SliceGrid, target: SliceGrid) -> np.ndarray:
    # Both grids lie in one scan: a canonical pixel of the target is a voxel of the source's own coordinates.
    weights = [
        area_weights(
            source.matrix,
            source.pixel_mm,
            target.start_mm[axis] - source.start_mm[axis],
            target.pixel_mm,
            target.matrix,
        )
        for axis in (0, 1)
    ]
    return _apply_in_plane(mask.astype(np.float32), *weights) >= 0.5


def _quality(hu: np.ndarray, slices: np.ndarray, brain: np.ndarray, grid: SliceGrid) -> dict[str, float]:
    inside = brain & (np.abs(slices - 33.0) < 20.0)
    step = np.diff(slices, axis=0)[inside[1:] & inside[:-1]]
    return {
        "n_slices": slices.shape[2],
        "thickness_mm": grid.thickness_mm,
        "hu_min": float(hu.min()),
        "hu_max": float(hu.max()),
        "brain_ml": float(brain.sum() * grid.voxel_ml),
        "brain_hu": _tissue_hu(slices, brain),
        # Neighbouring pixels share little but noise: the robust SD of their difference over the root of two.
        "noise_hu": float(1.4826 * np.median(np.abs(step)) / np.sqrt(2.0)) if step.size else np.nan,
    }


def _bone(hu: np.ndarray, coarse: np.ndarray, grid: SliceGrid, bone_hu: float) -> np.ndarray:
    """Bone on the coarse grid. Where HU were clipped, bone averaged with brain looks like blood: any slice counts."""
    if bone_hu >= BONE_HU or grid.group == 1:
        return coarse >= bone_hu
    single = replace(grid, group=1).to_slices(hu) >= bone_hu
    return np.maximum.reduceat(single, np.arange(0, grid.shape[2], grid.group), axis=2)


def _without_caps(coarse: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """The brain of a clipped scan without end slices that are the skull's cap or base, blended with brain or air."""
    kept = brain.copy()
    for slices in (range(brain.shape[2]), range(brain.shape[2] - 1, -1, -1)):
        for z in slices:
            if kept[:, :, z].any() and np.median(coarse[:, :, z][kept[:, :, z]]) <= CAP_HU:
                break
            kept[:, :, z] = False
    return kept


def _tissue_hu(hu: np.ndarray, brain: np.ndarray) -> float:
    """Median HU of brain tissue: neither blood nor fluid."""
    inside = brain & (np.abs(hu - 33.0) < 20.0)
    return float(np.median(hu[inside])) if inside.any() else np.nan


def _within_skull(tissue: np.ndarray, bone: np.ndarray, gap_mm: float, pixel_mm: float) -> np.ndarray:
    """Soft tissue of each slice inside the skull, closed over gaps of this size; all that is thick where infinite."""
    if not np.isfinite(gap_mm):
        return opened(tissue, round(THICK_MM / pixel_mm))
    inside = _inside_skull(bone, round(gap_mm / pixel_mm))
    return opened(tissue & inside, max(1, round(THIN_MM / pixel_mm)))


def _inside_skull(bone: np.ndarray, radius: int) -> np.ndarray:
    padding = radius + 1
    padded = np.pad(bone, ((padding, padding), (padding, padding), (0, 0)))
    inside = eroded(filled(dilated(padded, radius)), radius)
    return inside[padding:-padding, padding:-padding] & ~bone


def _next_slice(
    pieces: tuple[np.ndarray, np.ndarray], wider: Callable[[float], np.ndarray], neighbour: np.ndarray
) -> np.ndarray:
    """What continues the neighbour's brain over at least half of its area, with the smallest gap closed; else most."""
    near = dilated(neighbour, 3)
    enough = 0.5 * neighbour.sum()
    found = [overlapping(*pieces, near)]
    for gap_mm in GAPS_MM[1:]:
        if found[-1].sum() >= enough:
            return found[-1]
        mask = wider(gap_mm)
        found.append(overlapping(*components(mask if np.isfinite(gap_mm) else mask & near), near))
    return found[-1] if found[-1].sum() >= enough else max(found, key=np.sum)


def _most_frequent(labels: np.ndarray) -> int:
    return 1 + int(np.bincount(labels.ravel())[1:].argmax())
