"""One patient's scan: head, hemorrhage, scanner, in this order."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepred_lib.simulation.anatomy import Brain, paint_brain, sample_brain
from hepred_lib.simulation.clot import clot_hu, ventricular_share
from hepred_lib.simulation.hematoma import (
    EDEMA_PER_VOLUME,
    SOFT_EDGE_MM,
    Hematoma,
    box_around,
    displacement,
    fill_to_volume,
    form_level,
    islands_level,
    mask_of,
    sample_hematoma,
    share_of,
)
from hepred_lib.simulation.scanner import AIR_HU, Protocol, acquire, head_rest, sample_pose, sample_protocol
from hepred_lib.simulation.shapes import Array, Plane, Pose, SmoothField
from hepred_lib.simulation.skull import Skull, head_box, paint_head, sample_skull, walls_of

# Half width and half length, in mm, of the part of a slice that can hold the head.
HEAD_REACH_MM = (102.0, 126.0)
WARP_MM = 1.8
OUTSIDE_MM = -60.0


@dataclass(frozen=True)
class SimulatedScan:
    """HU and masks on one grid, axes (x, y, z); a mask is all False where there is no such blood."""

    hu: NDArray[np.int16]
    mask: NDArray[np.bool_]
    ivh_mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


@dataclass
class ThinHead:
    """A rendered head on thin planes, shape (planes, rows, columns), and what the blood needs to know of it."""

    hu: Array
    cavity: Array
    ventricle: Array
    grid_mm: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    pose: Pose
    n_thin: int
    slice_mm: float

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Size of a thin voxel along planes, rows, columns."""
        pixel = float(self.grid_mm[0][1] - self.grid_mm[0][0])
        return self.slice_mm / self.n_thin, pixel, pixel

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel of a slice."""
        return float(np.prod(self.voxel_mm)) * self.n_thin / 1000


def render_scan(
    latents: dict[str, Any], signs: frozenset[str], *, site: str, matrix: int, rng: np.random.Generator
) -> SimulatedScan:
    """The baseline scan of one patient.

    Parameters
    ----------
    latents : dict
        `blood_free`, `age`, `sex`; for a hemorrhage also `location`, `true_baseline_ml`, `density`, `shape`, `ivh`.
    signs : frozenset of str
        Signs to draw.
    site : str
        Whose scanner.
    matrix : int
        In-plane pixels.
    rng : Generator
        The patient's own.
    """
    protocol, pose = sample_protocol(rng, site=site, matrix=matrix), sample_pose(rng)
    skull = sample_skull(rng, male=latents["sex"] == "M")
    brain = sample_brain(rng, age=latents["age"], mimic=bool(latents["blood_free"]))
    hematoma = None if latents["blood_free"] else sample_hematoma(rng, latents, signs)
    region = _head_region(protocol, pose)
    head = _render_head(protocol, pose, region, (skull, brain, hematoma), rng)
    masks = np.zeros((2, protocol.n_slices, matrix, matrix), dtype=bool)
    if hematoma is not None:
        masks[(..., *region)] = _add_blood(head, hematoma, rng)
    slices = _on_table(head, protocol, region, rng)
    parenchymal, ventricular = masks.transpose(0, 2, 3, 1)
    return SimulatedScan(acquire(slices, protocol, rng), parenchymal, ventricular, protocol.affine)


def _head_region(protocol: Protocol, pose: Pose) -> tuple[slice, slice]:
    """Rows and columns that can hold the head."""
    return tuple(
        slice(*protocol.axis_mm.searchsorted([middle - reach, middle + reach]))
        for middle, reach in zip(pose.shift[:2], HEAD_REACH_MM, strict=True)
    )


def _on_table(head: ThinHead, protocol: Protocol, region: tuple[slice, slice], rng: np.random.Generator) -> Array:
    """Whole slices, averaged from thin planes, with the head rest behind the head."""
    flesh = head.hu[:: head.n_thin].copy()
    for k in range(1, head.n_thin):
        flesh += head.hu[k :: head.n_thin]
    flesh /= head.n_thin
    back = head.grid_mm[1][np.argmax((flesh > -500).any(axis=(0, 1)))]
    slices = np.repeat(head_rest(protocol, rng, back_mm=float(back))[None], protocol.n_slices, axis=0)
    place = slices[(..., *region)]
    np.copyto(place, flesh, where=flesh > AIR_HU + 1)
    return slices


def _render_head(
    protocol: Protocol,
    pose: Pose,
    region: tuple[slice, slice],
    parts: tuple[Skull, Brain, Hematoma | None],
    rng: np.random.Generator,
) -> ThinHead:
    grid = (protocol.axis_mm[region[0]], protocol.axis_mm[region[1]], protocol.heights_mm)
    shape = (grid[2].size, grid[0].size, grid[1].size)
    head = ThinHead(
        *(np.empty(shape, dtype=np.float32) for _ in range(3)), grid, pose, protocol.n_thin, protocol.slice_mm
    )
    head.hu[:], head.cavity[:], head.ventricle[:] = AIR_HU, OUTSIDE_MM, OUTSIDE_MM
    fields = [SmoothField(rng, grid, wavelength_mm=length) for length in (70, 70, 70, 17, 28)]
    grain = Grain(rng, shape[1:], protocol.pixel_mm)
    for k in range(shape[0]):
        _render_plane(head, k, parts=parts, fields=fields, grain=grain.next())
    return head


def _render_plane(
    head: ThinHead, k: int, *, parts: tuple[Skull, Brain, Hematoma | None], fields: list[SmoothField], grain: Array
) -> None:
    """Plane k: its outlines wander with the fields, three for the place, one for folds, one for the brain's own."""
    skull, brain, hematoma = parts
    height = head.grid_mm[2][k]
    whole = head_box(head.pose, skull, head.grid_mm, height)
    *warp, fold, wiggle = (field.at(height, whole) for field in fields)
    rows, columns = (axis[part] for axis, part in zip(head.grid_mm, whole, strict=False))
    place = head_coordinates(head.pose, rows, columns, height)
    place = [c + np.float32(WARP_MM) * move for c, move in zip(place, warp, strict=True)]
    edge = 1.2 * head.voxel_mm[1]
    plane = Plane(*place, head.hu[k][whole], rows, columns, height, edge_mm=edge, pose=head.pose, reach_mm=7)
    grain, walls = grain[whole], walls_of(plane, skull, folds=fold)
    paint_head(plane, skull, walls, grain=grain, folds=fold)
    head.cavity[k][whole] = walls.cavity
    if walls.cavity.max() > -1:
        where = _bounds(walls.cavity > -1)
        inner, depth = plane.cut(where), walls.cavity[where]
        _move_brain(inner, hematoma, depth=depth, wiggle=wiggle[where])
        level = paint_brain(inner, skull, brain, cavity=depth, folds=fold[where], grain=grain[where])
        plane.hu[where] = inner.hu
        head.ventricle[k][whole][where] = level


def _bounds(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The smallest rows and columns that hold all of a mask."""
    return tuple(slice(*(np.flatnonzero(mask.any(axis=a))[[0, -1]] + [0, 1])) for a in (1, 0))


class Grain:
    """Noise of about 2 mm grain that changes slowly from plane to plane."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], pixel_mm: float) -> None:
        self._rng, self._shape, self._size = rng, shape, max(1, round(1.8 / pixel_mm))
        self._knots = self._draw()

    def _draw(self) -> Array:
        return self._rng.standard_normal([-(-n // self._size) for n in self._shape], dtype=np.float32)

    def next(self) -> Array:
        """The next plane, unit variance."""
        self._knots = np.float32(0.6) * self._knots + np.float32(0.8) * self._draw()
        rows, columns = self._shape
        return self._knots.repeat(self._size, axis=0).repeat(self._size, axis=1)[:rows, :columns]


def _move_brain(plane: Plane, hematoma: Hematoma | None, *, depth: Array, wiggle: Array) -> None:
    """Let the brain's outlines wander, and push them away from the hemorrhage; the skull stays."""
    moves = [np.float32(0.9) * wiggle, np.float32(-0.7) * wiggle, np.float32(0.8) * wiggle]
    if hematoma is not None:
        fade = np.clip(depth * np.float32(1 / 16), 0, 1)
        pushed = displacement(hematoma, (plane.x, plane.y, plane.z))
        moves = [w + fade * p for w, p in zip(moves, pushed, strict=True)]
        plane.reach_mm += hematoma.radius_mm
    plane.x, plane.y, plane.z = (c + m for c, m in zip((plane.x, plane.y, plane.z), moves, strict=True))


def head_coordinates(pose: Pose, rows_mm: NDArray, columns_mm: NDArray, height_mm: float) -> list[Array]:
    """Head coordinates of the pixels of one plane, three arrays of shape (n_rows, n_columns)."""
    x, y, z = rows_mm - pose.shift[0], columns_mm - pose.shift[1], height_mm - pose.shift[2]
    return [
        (r[0] * x + r[2] * z).astype(np.float32)[:, None] + (r[1] * y).astype(np.float32)[None, :]
        for r in pose.rotation
    ]


def _add_blood(head: ThinHead, hematoma: Hematoma, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw blood and edema; the parenchymal and the ventricular mask, shape (2, slices, rows, columns)."""
    masks = np.zeros((2, len(head.hu) // head.n_thin, *head.hu.shape[1:]), dtype=bool)
    if hematoma.ventricular:
        _add_ventricular(head, hematoma, masks[1], rng)
    _add_parenchymal(head, hematoma, masks[0], rng)
    masks[1] &= ~masks[0]
    return masks


def _add_parenchymal(head: ThinHead, hematoma: Hematoma, mask: NDArray, rng: np.random.Generator) -> None:
    n = head.n_thin
    planes, rows, columns = box_around(hematoma, head.pose, head.grid_mm)
    planes = slice(planes.start // n * n, -(-planes.stop // n) * n)
    box = planes, rows, columns
    place = _stacked_coordinates(head, box)
    level = form_level(hematoma, place, head.voxel_mm, rng)
    allowed = np.minimum(head.cavity[box] - 3.0, -head.ventricle[box]) * np.float32(1 / hematoma.radius_mm)
    islands = islands_level(hematoma, place, rng)
    width = SOFT_EDGE_MM / hematoma.radius_mm
    voxels = max(1, round(hematoma.volume_ml / head.voxel_ml))
    level = fill_to_volume(level, allowed=allowed, islands=islands, voxels=voxels, n_thin=n, width=width)
    share = share_of(level, width)
    up = (head.grid_mm[1][columns] - head.pose.to_scanner(hematoma.centre_mm)[1]).astype(np.float32)
    clot = clot_hu(hematoma, level, place, voxel_mm=head.voxel_mm, up=np.broadcast_to(up, level.shape), rng=rng)
    part = head.hu[box]
    _add_edema(part, level, hematoma, rng)
    part += share * (clot - part)
    mask[planes.start // n : planes.stop // n, rows, columns] = mask_of(share, n)


def _add_edema(part: Array, level: Array, hematoma: Hematoma, rng: np.random.Generator) -> None:
    """A dark rim whose volume is 0.42 of the hemorrhage's, over tissue only."""
    rim = (1 + EDEMA_PER_VOLUME) ** (1 / 3) - 1
    near = np.clip(1.15 + level * np.float32(1 / (2 * rim)), 0, 1)
    part -= np.float32(rng.normal(7.5, 1.6)) * near * ((part > 16) & (part < 60))


def _stacked_coordinates(head: ThinHead, box: tuple[slice, slice, slice]) -> tuple[Array, Array, Array]:
    planes, rows, columns = box
    x, y, z = (axis[s] for axis, s in zip(head.grid_mm, (rows, columns, planes), strict=True))
    at_middle = head_coordinates(head.pose, x, y, 0.0)
    return tuple(
        c + (r[2] * z).astype(np.float32)[:, None, None] for c, r in zip(at_middle, head.pose.rotation, strict=True)
    )


def _add_ventricular(head: ThinHead, hematoma: Hematoma, mask: NDArray, rng: np.random.Generator) -> None:
    reach = head.ventricle.max(axis=(1, 2)) > 0
    if not reach.any():
        return
    n = head.n_thin
    first, last = np.flatnonzero(reach)[[0, -1]]
    planes = slice(first // n * n, -(-(last + 1) // n) * n)
    wet = (head.ventricle[planes] > 0).any(axis=0)
    rows, columns = (slice(*(np.flatnonzero(wet.any(axis=a))[[0, -1]] + [-2, 3])) for a in (1, 0))
    box = planes, rows, columns
    inside = share_of(head.ventricle[box], head.voxel_mm[1])
    away = np.sqrt(sum(o * o for o in hematoma.offsets_mm(_stacked_coordinates(head, box))))
    share = ventricular_share(
        hematoma, inside, depth_mm=-head.grid_mm[1][columns].astype(np.float32), away_mm=away, rng=rng
    )
    part = head.hu[box]
    part += share * (np.float32(rng.normal(56, 3)) - part)
    mask[planes.start // n : planes.stop // n, rows, columns] = mask_of(share, n)
