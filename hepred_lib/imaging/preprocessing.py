"""From a scan to canonical brain slices: one field of view, one pixel size, one kind of slice.

Scans are resampled in-plane by *area averaging* onto a square grid centred on the brain, so that a mask keeps its
volume exactly; thin slices are averaged to about 5 mm and thicker ones are left as they are. Intensities stay in
Hounsfield units (HU). Every step is linear and separable, hence each has its way back to the scan's own grid.

A scan must show a whole head: a brain of possible size inside a skull, or its volumes would mean nothing.

Arrays are (x, y, z) in RAS+ as everywhere in the library; only ``slices`` reorders them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array

from hepred_lib.errors import HeadError, named
from hepred_lib.imaging.scans import AIR_HU

MOST_JUMPS = 1.4
BONE_HU = 150.0
BRIGHT_HU = 60.0  # bone, and dense blood
CAP_HU = 50.0  # median of a slice of brain, beyond any hematoma: half bone, half brain or air, where HU were clipped
TISSUE_HU = (-15.0, 95.0)
COARSE_MM = 2.0
MOST_PIXELS = 512  # along a side of a printed slice
GAPS_MM = (8.0, 16.0, 24.0, np.inf)  # of the skull, tried in this order
THIN_MM, THICK_MM = 3.0, 8.0  # bridges thinner than this are cut
FIELD_MM = (120.0, 1000.0)  # longer side of a slice; a head is 180 to 210 mm long
LENGTH_MM = (100.0, 230.0)  # of an adult brain in the slice: 145 to 195 mm
HEIGHT_MM = 170.0  # 95 to 125 mm
HEIGHT_SHARE = (0.36, 1.1)  # height over length: 0.5 to 0.75
CUT_SHARE = 0.2  # height over length of a part of the head that has the vertex or the base
WIDTH_SHARE = 0.55  # shorter over longer side in the slice: 0.75 or more
LARGE_SLICE = 0.25  # of the largest area of the brain: such slices count for its height
LEAST_BONE = 0.1  # bone over brain, by area: 0.23 or more; 0.07 where 3 mm around an extracted brain were left
ENCLOSED = 0.4  # of the brain's edge lies near bone: 0.96 or more of a head's, under 0.15 without skull
NEAR_BONE_MM = 8.0
MEDIAN_HU = (10.0, 60.0)
CUT_BASE, CUT_VERTEX = 0.5, 0.3  # area of the brain in the scan's first and last slice over its largest

_IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
_IN_PLANE[1, :, 1] = _IN_PLANE[:, 1, 1] = True  # neighbours that share an edge within a slice


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

    def at_own_pixels(self) -> SliceGrid:
        """The same field at the scan's own pixels, on the edges of its voxels; itself where its pixels are finer."""
        own = max(min(self.spacing_mm[:2]), self.field_mm / MOST_PIXELS)
        if own >= self.pixel_mm:
            return self
        matrix = round(self.field_mm / own)
        x, y = (mm * round(start / mm) for start, mm in zip(self.start_mm, self.spacing_mm[:2], strict=True))
        return replace(self, start_mm=(x, y), field_mm=matrix * own, matrix=matrix)

    def to_slices(self, volume: np.ndarray) -> np.ndarray:
        """Area average of an (x, y, z) array of the scan on the canonical grid, float32 (matrix, matrix, n)."""
        volume = np.asarray(volume, dtype=np.float32)
        if self.group > 1:
            starts = np.arange(0, volume.shape[2], self.group)
            counts = np.diff(np.append(starts, volume.shape[2]))
            volume = np.add.reduceat(volume, starts, axis=2) / counts.astype(np.float32)
        return self._in_plane(volume, area_weights)

    def to_scan(self, slices: np.ndarray) -> np.ndarray:
        """Linear interpolation of a canonical (matrix, matrix, n) array on the scan's grid, zero outside the field."""
        volume = self._in_plane(np.asarray(slices, dtype=np.float32), linear_weights)
        return volume[:, :, np.arange(self.shape[2]) // self.group] if self.group > 1 else volume

    def _in_plane(self, volume: np.ndarray, weights: Callable[..., np.ndarray]) -> np.ndarray:
        # A pixel is made of a few voxels: of the weights' rows only those few are multiplied.
        along_x, along_y = (
            csr_array(weights(self.shape[axis], self.spacing_mm[axis], self.start_mm[axis], self.pixel_mm, self.matrix))
            for axis in (0, 1)
        )
        planes = np.ascontiguousarray(volume.T)  # (z, y, x): the order of a scan's file
        return np.moveaxis(np.stack([along_x @ (along_y @ plane).T for plane in planes]), 0, 2)


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
    brain : ndarray
        Brain mask on it.
    bone_hu : float
        HU from which on a voxel of the scan is bone.
    brain_hu : float
        Median of brain tissue; NaN where none is within 20 HU of 33.
    """

    grid: SliceGrid
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
    with named(name):
        _check_field(hu, spacing_mm)
        matrix = int(np.ceil(max(hu.shape[0] * spacing_mm[0], hu.shape[1] * spacing_mm[1]) / COARSE_MM))
        group = max(1, round(thickness_mm / spacing_mm[2]))
        x_mm, y_mm, z_mm = map(float, spacing_mm)
        grid = SliceGrid(hu.shape, (x_mm, y_mm, z_mm), (0.0, 0.0), matrix * COARSE_MM, matrix, group)
        coarse, bone_hu = grid.to_slices(hu), bone_threshold(hu)
        clipped, bone = bone_hu < BONE_HU, coarse >= bone_hu
        if clipped and group > 1:  # bone averaged with brain looks like blood: bone in any slice counts
            single = replace(grid, group=1).to_slices(hu) >= bone_hu
            bone = np.maximum.reduceat(single, np.arange(0, hu.shape[2], group), axis=2)
        brain = brain_mask(np.where(bone, np.maximum(coarse, bone_hu), coarse), grid.pixel_mm, bone_hu=bone_hu)
        if clipped:
            _remove_caps(coarse, brain)
        _check_head(coarse, brain, bone, (grid.pixel_mm, grid.pixel_mm, grid.thickness_mm))
    return Head(grid, brain, bone_hu, _tissue_hu(coarse, brain))


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
    coarse = head.grid
    x, y = ((side.start + side.stop) / 2 * coarse.pixel_mm - field_mm / 2 for side in bounding_box(head.brain)[:2])
    grid = SliceGrid(coarse.shape, coarse.spacing_mm, (x, y), float(field_mm), matrix, coarse.group)
    # Both grids begin at the corner of one scan: a coarse pixel is a voxel of which the canonical ones are averages.
    pixels = (coarse.pixel_mm, coarse.pixel_mm, coarse.thickness_mm)
    brain = replace(grid, shape=head.brain.shape, spacing_mm=pixels, group=1).to_slices(head.brain) >= 0.5
    slices = grid.to_slices(hu)
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
    bone = hu >= bone_hu
    tissue = (hu > TISSUE_HU[0]) & ~bone
    inside, brain = _within_skull(tissue, bone, GAPS_MM[0], pixel_mm), np.zeros_like(tissue)
    if not inside.any():
        return brain
    first = int(np.argmax(inside.sum(axis=(0, 1))))
    labels, sizes = components(inside[:, :, first : first + 1])
    brain[:, :, first : first + 1] = labels == sizes.argmax()
    for step, stop in ((1, hu.shape[2]), (-1, -1)):
        for z in range(first + step, stop, step):
            this, last = np.s_[:, :, z : z + 1], np.s_[:, :, z - step : z - step + 1]
            brain[this] = _next_slice(inside[this], tissue[this], bone[this], brain[last], pixel_mm)
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
    left = spacing * np.arange(n, dtype=float)
    right = left + spacing
    left[0], right[-1] = -np.inf, np.inf  # what reaches beyond the scan takes its border voxel's value: air, or padding
    overlap = np.clip(np.minimum(edges[1:, None], right) - np.maximum(edges[:-1, None], left), 0.0, None)
    return (overlap / pixel).astype(np.float32)


@lru_cache(maxsize=64)
def linear_weights(n: int, spacing: float, start: float, pixel: float, matrix: int) -> np.ndarray:
    """Row i: weights of the canonical pixels at the centre of voxel i, (n, matrix); zero outside the field."""
    position = (spacing * (np.arange(n) + 0.5) - start) / pixel - 0.5
    weights = np.clip(1.0 - np.abs(position[:, None] - np.arange(matrix)[None, :]), 0.0, None)
    return weights.astype(np.float32)


def grid_record(grid: SliceGrid) -> dict[str, float | int]:
    """A grid as flat numbers, for one row of a table."""
    triples = {name: zip("xyz", getattr(grid, name), strict=False) for name in ("shape", "spacing_mm", "start_mm")}
    flat = {f"{name}_{axis}": number for name, numbers in triples.items() for axis, number in numbers}
    return flat | {name: getattr(grid, name) for name in ("field_mm", "matrix", "group")}


def grid_from_record(record: dict[str, float | int]) -> SliceGrid:
    """The grid that :func:`grid_record` wrote."""
    nx, ny, nz, matrix, group = (int(record[f]) for f in ("shape_x", "shape_y", "shape_z", "matrix", "group"))
    dx, dy, dz = (float(record[f"spacing_mm_{axis}"]) for axis in "xyz")
    start_mm = float(record["start_mm_x"]), float(record["start_mm_y"])
    return SliceGrid((nx, ny, nz), (dx, dy, dz), start_mm, float(record["field_mm"]), matrix, group)


def jumps(hu: np.ndarray) -> float:
    """How often the section of the head grows and shrinks on its way up, once being 1: more where slices are mixed up.

    1.2 or less in real scans; 1.4 or more where their slices are sorted as text (1, 10, 11, 2), or one inside is blank.
    """
    area = (hu[::4, ::4] > AIR_HU).sum(axis=(0, 1)).astype(float)
    return float(np.abs(np.diff(area)).sum() / max(2 * area.max() - area[0] - area[-1], area.max(), 1.0))


def cut_ends(brain: np.ndarray) -> tuple[bool, bool]:
    """Whether the scan begins within the brain (the skull base is missing), and whether it ends in it (the vertex is).

    Examples
    --------
    >>> brain = np.zeros((4, 4, 3), dtype=bool)
    >>> brain[:, :, 1:] = True
    >>> cut_ends(brain)
    (False, True)
    """
    areas = brain.sum(axis=(0, 1))
    return bool(areas[0] > CUT_BASE * areas.max()), bool(areas[-1] > CUT_VERTEX * areas.max())


def bounding_box(mask: np.ndarray, margin: Sequence[int] | None = None) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty, with a margin along each axis as far as the array reaches.

    Examples
    --------
    >>> bounding_box(np.array([[False, False, False], [False, True, False]]), (1, 0))
    (slice(0, 2, None), slice(1, 2, None))
    """
    box = []
    for axis, reach in enumerate(margin or (0,) * mask.ndim):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(max(0, int(found[0]) - reach), min(mask.shape[axis], int(found[-1]) + 1 + reach)))
    return tuple(box)


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """Every pixel of a slice that lies at most ``radius`` pixels, centre to centre, from the mask.

    Examples
    --------
    >>> dilated(np.array([[[False], [False], [True], [False]]]), 1)[0, :, 0]
    array([False,  True,  True,  True])
    """
    # Far faster than scipy's, on a whole stack at once: from the disk's ends to its middle, each run of pixels
    # continues the last one.
    found, wide, half = np.zeros_like(mask), mask.copy(), 0
    for dy in range(radius, -1, -1):
        while (half + 1) ** 2 + dy**2 <= radius**2:
            half += 1
            _add_moved(wide, mask, half)
        _add_moved(found.swapaxes(0, 1), wide.swapaxes(0, 1), dy)
    return found


def eroded(mask: np.ndarray, radius: int) -> np.ndarray:
    """Every pixel of a slice that lies more than ``radius`` pixels from all that is not in the mask."""
    padded = np.pad(mask, ((radius, radius), (radius, radius), (0, 0)))
    return ~dilated(~padded, radius)[radius : radius + mask.shape[0], radius : radius + mask.shape[1]]


def opened(mask: np.ndarray, radius: int) -> np.ndarray:
    """The mask without what no disk of this radius fits into."""
    return dilated(eroded(mask, radius), radius)


def filled(mask: np.ndarray) -> np.ndarray:
    """The mask with its holes: what cannot reach the slice's border over shared edges.

    Examples
    --------
    >>> ring = np.ones((3, 3, 1), bool)
    >>> ring[1, 1] = False
    >>> int(filled(ring).sum())
    9
    """
    whole = mask.copy(order="K")
    if whole.any():
        box = bounding_box(whole)
        labels, _ = ndimage.label(~np.pad(whole[box], ((1, 1), (1, 1), (0, 0))), _IN_PLANE)
        whole[box] = (labels != labels[0, 0])[1:-1, 1:-1]
    return whole


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each slice's pieces, numbered over the whole stack from 1, and their sizes in pixels; 0 is the rest."""
    labels, _ = ndimage.label(mask, _IN_PLANE)
    sizes = np.bincount(labels.ravel(order="K"))
    sizes[0] = 0
    return labels, sizes


def overlapping(mask: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The pieces of a mask of which at least half lies in ``near``."""
    labels, sizes = components(mask)
    shared = np.bincount(labels[near], minlength=len(sizes))
    return ((2 * shared >= sizes) & (sizes > 0))[labels]


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


def _remove_caps(coarse: np.ndarray, brain: np.ndarray) -> None:
    """Take end slices that are the skull's cap or base, blended with brain or air, from the brain of a clipped scan."""
    for slices in (range(brain.shape[2]), range(brain.shape[2] - 1, -1, -1)):
        for z in slices:
            if brain[:, :, z].any() and np.median(coarse[:, :, z][brain[:, :, z]]) <= CAP_HU:
                break
            brain[:, :, z] = False


def _tissue_hu(hu: np.ndarray, brain: np.ndarray) -> float:
    """Median HU of brain tissue: neither blood nor fluid."""
    inside = brain & (np.abs(hu - 33.0) < 20.0)
    return float(np.median(hu[inside])) if inside.any() else np.nan


def _within_skull(tissue: np.ndarray, bone: np.ndarray, gap_mm: float, pixel_mm: float) -> np.ndarray:
    """Soft tissue of each slice inside the skull, closed over gaps of this size; all that is thick where infinite."""
    if not np.isfinite(gap_mm):
        return opened(tissue, round(THICK_MM / pixel_mm))
    radius = round(gap_mm / pixel_mm)
    padded = np.pad(bone, ((radius + 1,) * 2, (radius + 1,) * 2, (0, 0)))
    inside = eroded(filled(dilated(padded, radius)), radius)
    inside = inside[radius + 1 : -radius - 1, radius + 1 : -radius - 1] & ~bone
    return opened(tissue & inside, max(1, round(THIN_MM / pixel_mm)))


def _next_slice(
    inside: np.ndarray, tissue: np.ndarray, bone: np.ndarray, neighbour: np.ndarray, pixel_mm: float
) -> np.ndarray:
    """What continues the neighbour's brain over at least half of its area, with the smallest gap closed; else most."""
    near, found = dilated(neighbour, 3), []
    for gap_mm in GAPS_MM:
        mask = inside if gap_mm == GAPS_MM[0] else _within_skull(tissue, bone, gap_mm, pixel_mm)
        found.append(overlapping(mask if np.isfinite(gap_mm) else mask & near, near))
        if found[-1].sum() >= 0.5 * neighbour.sum():
            return found[-1]
    return max(found, key=np.sum)


def _add_moved(target: np.ndarray, source: np.ndarray, step: int) -> None:
    """Add ``source``, moved by ``step`` pixels either way along the first axis, to ``target``."""
    if step < len(source):
        target[: len(source) - step] |= source[step:]
        target[step:] |= source[: len(source) - step]


def _check_field(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> None:
    """Refuse a field of view that is of no head."""
    field = max(n * mm for n, mm in zip(hu.shape[:2], spacing_mm[:2], strict=True))
    if not FIELD_MM[0] <= field <= FIELD_MM[1]:
        voxel = " x ".join(f"{mm:.4g}" for mm in spacing_mm)
        raise _wrong_size(f"head of {_head_size(hu, spacing_mm)} mm: the voxel size ({voxel} mm) is wrong")


def _check_head(hu: np.ndarray, brain: np.ndarray, bone: np.ndarray, spacing_mm: tuple[float, float, float]) -> None:
    """Refuse coarse slices that show no head in which a volume can be measured."""
    if not brain.any():
        raise _no_skull("no brain inside a skull")
    areas = brain.sum(axis=(0, 1))
    large = areas >= LARGE_SLICE * areas.max()
    inside, around = brain[:, :, large], bone[:, :, large]
    share = around.sum() / inside.sum()
    if share < LEAST_BONE:
        raise _no_skull(f"bone of {share:.1%} of the brain's area")
    width_mm, length_mm = sorted(_sides_mm(brain, spacing_mm)[:2])
    if width_mm < WIDTH_SHARE * length_mm:
        raise _wrong_size(f"brain of {width_mm:.0f} x {length_mm:.0f} mm in the slice: the pixel size is wrong")
    if not LENGTH_MM[0] <= length_mm <= LENGTH_MM[1]:
        remedy = "the pixel size is wrong, or this is no head"
        raise _wrong_size(f"brain {length_mm:.0f} mm long in the slice: {remedy}")
    # A scan of a part of the head is short as well, but it ends within the brain.
    height_mm = float(large.sum()) * spacing_mm[2]
    least = (HEIGHT_SHARE[0], CUT_SHARE, 0.0)[sum(cut_ends(brain))]
    if not least <= height_mm / length_mm <= HEIGHT_SHARE[1] or height_mm > HEIGHT_MM:
        more = ", or the scan goes on below the head (crop it)" if height_mm > least * length_mm else ""
        raise _wrong_size(f"head of {_head_size(hu, spacing_mm)} mm: the distance between slices is wrong{more}")
    edge = inside & ~eroded(inside, 1)
    enclosed = (edge & dilated(around, round(NEAR_BONE_MM / spacing_mm[0]))).sum() / max(1, edge.sum())
    if enclosed < ENCLOSED:
        raise _no_skull(f"bone around {enclosed:.0%} of the brain")
    median = float(np.median(hu[brain]))
    if not MEDIAN_HU[0] <= median <= MEDIAN_HU[1]:
        brain_hu = f"{MEDIAN_HU[0]:g} to {MEDIAN_HU[1]:g} HU"
        raise HeadError(f"must show a brain of {brain_hu}, got a median of {median:.0f} HU.")


def _no_skull(got: str) -> HeadError:
    return HeadError(f"must show a head with its skull, got {got} (was it extracted?): use the original scan.")


def _wrong_size(got: str) -> HeadError:
    return HeadError(f"must show a head of possible size, got a {got}.")


def _head_size(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> str:
    """Sides in mm of the box around everything but air."""
    return " x ".join(f"{length:.0f}" for length in _sides_mm(hu > -15.0, spacing_mm))


def _sides_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> list[float]:
    """Sides of the box around a mask; 0 for an empty one."""
    if not mask.any():
        return [0.0] * 3
    return [(side.stop - side.start) * mm for side, mm in zip(bounding_box(mask), spacing_mm, strict=True)]
