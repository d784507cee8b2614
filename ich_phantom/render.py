"""One patient's scan: the head, then the hemorrhage, then the scanner.

Vocabulary
----------
A *thin plane* is rendered without thickness; a *slice* of the scan averages `n_thin` of them. Arrays of thin planes and
of slices have the shape (planes, rows, columns) with rows along x and columns along y; a finished scan has the axes
(x, y, z). *Protocol*: grid, sharpness and noise of one scan. *Pose*: how the head lies in the scanner.

Sources
-------
The noise has the power spectrum of filtered back projection (a ramp under the kernel's roll-off). Its size, the blur,
the slice thickness and the streaks are typical of clinical head CT; they were not fitted to one scanner.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ich_phantom.brain import Brain, paint_brain, sample_brain
from ich_phantom.hematoma import (
    EDEMA_PER_VOLUME,
    SOFT_EDGE_MM,
    Hematoma,
    box_around,
    clot_hu,
    displacement,
    fill_to_volume,
    form_level,
    islands_level,
    mask_of,
    sample_hematoma,
    share_of,
    slice_sums,
    ventricular_share,
)
from ich_phantom.shapes import AIR_HU, Array, Plane, Pose, SmoothField
from ich_phantom.skull import Skull, head_box, paint_head, sample_skull, walls_of

RESTLESS_SHARE = 0.06
# The vault's cortical bone is between the two; so much petrous bone in a slice hardens its beams in the usual way.
CORTICAL_FLOOR_HU, PETROUS_FLOOR_HU, BURDEN_MM2 = 800.0, 1300.0, 250.0
# Half width and half length, in mm, of the part of a slice that can hold the head.
HEAD_REACH_MM = (102.0, 126.0)
WARP_MM = 1.8
OUTSIDE_MM = -60.0


@dataclass(frozen=True)
class Protocol:
    """How one scan is acquired.

    Attributes
    ----------
    matrix, pixel_mm : int, float
        In-plane grid.
    slice_mm, n_slices, n_thin : float, int, int
        Slice thickness and spacing, their number, and how many thin planes each averages.
    bottom_mm : float
        Scanner z of the lower face of the lowest slice.
    blur_mm : float
        Standard deviation of the in-plane point spread.
    noise_hu, noise_blur_mm : float
        Standard deviation of the noise in brain and of the kernel that correlates it.
    offset_hu : float
        Calibration error.
    streaks : float
        Strength of streaks between dense bones, 1 the usual; above 2, a restless patient's, in all directions.
    """

    matrix: int
    pixel_mm: float
    slice_mm: float
    n_slices: int
    n_thin: int
    bottom_mm: float
    blur_mm: float
    noise_hu: float
    noise_blur_mm: float
    offset_hu: float
    streaks: float = 1.0

    @property
    def axis_mm(self) -> NDArray[np.float64]:
        """Scanner coordinates of the pixel centres, the same for rows and columns."""
        return (np.arange(self.matrix, dtype=float) - (self.matrix - 1) / 2) * self.pixel_mm

    @property
    def heights_mm(self) -> NDArray[np.float64]:
        """Scanner z of the thin planes, from below."""
        return self.bottom_mm + (np.arange(self.n_slices * self.n_thin) + 0.5) * self.slice_mm / self.n_thin

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel indices to mm, RAS+."""
        matrix = np.diag([self.pixel_mm, self.pixel_mm, self.slice_mm, 1.0])
        matrix[:3, 3] = self.axis_mm[0], self.axis_mm[0], self.bottom_mm + self.slice_mm / 2
        return matrix


def sample_protocol(rng: np.random.Generator, *, site: str, matrix: int) -> Protocol:
    """The protocol of one scan at a site: A scans 5 mm slices on one machine, B 2.5 to 7 mm on several."""
    thickness = 5.0 if site == "A" else float(rng.choice([2.5, 3.0, 4.0, 5.0, 6.0, 7.0]))
    bottom = round(float(rng.uniform(60, 88)), 1)
    coverage = bottom + rng.uniform(76, 84)
    return Protocol(
        matrix=matrix,
        pixel_mm=round(float(rng.uniform(225, 260)) / matrix, 4),
        slice_mm=thickness,
        n_slices=round(coverage / thickness),
        n_thin=max(1, round(thickness / 1.7)),
        bottom_mm=-bottom,
        blur_mm=float(rng.uniform(0.55, 0.75) if site == "A" else rng.uniform(0.45, 0.95)),
        noise_hu=float(np.clip(rng.normal(3.1, 0.5), 2.4, 6) if site == "A" else rng.uniform(3, 6)),
        noise_blur_mm=float(rng.uniform(0.6, 0.8) if site == "A" else rng.uniform(0.5, 1.0)),
        offset_hu=float(rng.normal(0, 1.0) if site == "A" else rng.normal(2.0, 2.0)),
        streaks=float(np.exp(rng.normal(0, 0.45)) * (3 if rng.random() < RESTLESS_SHARE else 1)),
    )


def sample_pose(rng: np.random.Generator) -> Pose:
    """Tilt, rotation and off-centre of a head on the table."""
    nod, turn, lean = np.deg2rad(rng.normal([9, 0, 0], [6, 4, 9]))
    shift = np.array([rng.normal(0, 5), rng.normal(4, 7), rng.normal(0, 3)])
    return Pose(_rotation(0, nod) @ _rotation(1, lean) @ _rotation(2, turn), shift)


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    i, j = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[[i, j], [i, j]] = cos
    matrix[i, j], matrix[j, i] = -sin, sin
    return matrix


def head_rest(protocol: Protocol, rng: np.random.Generator, *, back_mm: float) -> Array:
    """HU of the empty scanner, shape (n, n): air, and the thin arc behind a head that ends at `back_mm`."""
    row, column = protocol.axis_mm[:, None], protocol.axis_mm[None, :]
    radius, thickness, top = rng.uniform(115, 160), rng.uniform(1.5, 6), back_mm - rng.uniform(4, 15)
    level = thickness / 2 - np.abs(np.hypot(row, column - (top + radius)) - radius)
    share = np.clip(level / protocol.pixel_mm + 0.5, 0, 1) * (column < top + 0.8 * radius)
    return (AIR_HU + share * (AIR_HU * -1 + rng.uniform(0, 250))).astype(np.float32)


def acquire(slices: Array, protocol: Protocol, rng: np.random.Generator) -> NDArray[np.int16]:
    """Beam hardening, blur, noise and rounding of averaged slices; air stays constant.

    Parameters
    ----------
    slices : ndarray of float32, shape (n_slices, n, n)
        HU; streaks are added in place.
    protocol : Protocol
    rng : Generator

    Returns
    -------
    ndarray of int16, shape (n, n, n_slices)
    """
    n = protocol.matrix
    frequency = np.hypot(fft.fftfreq(n)[:, None], fft.rfftfreq(n)) / protocol.pixel_mm
    transfer = np.exp(-2 * (np.pi * protocol.blur_mm * frequency) ** 2).astype(np.float32)
    amplitude = _noise_amplitude(frequency, protocol)
    scan = np.empty((n, n, protocol.n_slices), dtype=np.int16)
    for k, plane in enumerate(slices):
        air = plane < AIR_HU + 1
        _add_streaks(plane, protocol, rng)
        white = fft.rfft2(rng.standard_normal((n, n), dtype=np.float32))
        image = fft.irfft2(fft.rfft2(plane) * transfer + white * amplitude, s=(n, n))
        image += np.float32(protocol.offset_hu)
        image[air] = AIR_HU
        scan[:, :, k] = np.clip(np.rint(image), -1024, 3071)
    return scan


def _add_streaks(plane: Array, protocol: Protocol, rng: np.random.Generator) -> None:
    """Dark and bright bands between dense bones, strongest from ear to ear through the pons."""
    restless = protocol.streaks > 2
    dense = np.argwhere(plane[::2, ::2] > (CORTICAL_FLOOR_HU if restless else PETROUS_FLOOR_HU)) * 2
    petrous_mm2 = np.count_nonzero(plane > PETROUS_FLOOR_HU) * protocol.pixel_mm**2
    burden = max(min(petrous_mm2 / BURDEN_MM2, 1.5), 0.5 * restless)
    if burden < 0.1 or len(dense) == 0:
        return
    axis = protocol.axis_mm.astype(np.float32)
    tissue = (plane > -30) & (plane < 100)
    for _ in range(12 if restless else 7):
        through = protocol.axis_mm[dense[rng.integers(len(dense))]]
        angle, width = rng.normal(0, 1.2 if restless else 0.35), rng.uniform(1.0, 4.0)
        offset = np.float32(np.cos(angle)) * (axis[None, :] - np.float32(through[1]))
        offset = offset - np.float32(np.sin(angle)) * (axis[:, None] - np.float32(through[0]))
        height = np.float32(burden * protocol.streaks * rng.normal(-1.0, 2.2))
        plane += tissue * height * np.exp(offset * offset * np.float32(-0.5 / width**2))


def _noise_amplitude(frequency: NDArray, protocol: Protocol) -> Array:
    """Square root of the noise power: the ramp of filtered back projection under the kernel's roll-off."""
    shape = np.sqrt(frequency + 0.06) * np.exp(-2 * (np.pi * protocol.noise_blur_mm * frequency) ** 2)
    shape[0, 0] = 0
    weight = np.full(frequency.shape[1], 2.0)
    weight[[0, -1]] = 1
    power = (shape**2 * weight).sum() / protocol.matrix**2
    return (protocol.noise_hu / np.sqrt(power) * shape).astype(np.float32)


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
    rows, columns = (
        slice(*protocol.axis_mm.searchsorted([middle - reach, middle + reach]))
        for middle, reach in zip(pose.shift[:2], HEAD_REACH_MM, strict=True)
    )
    return rows, columns


def _on_table(head: ThinHead, protocol: Protocol, region: tuple[slice, slice], rng: np.random.Generator) -> Array:
    """Whole slices, averaged from thin planes, with the head rest behind the head."""
    flesh = slice_sums(head.hu, head.n_thin)
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
    hu, cavity, ventricle = (np.full(shape, value, np.float32) for value in (AIR_HU, OUTSIDE_MM, OUTSIDE_MM))
    head = ThinHead(hu, cavity, ventricle, grid, pose, protocol.n_thin, protocol.slice_mm)
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
    x, y, z = (c + np.float32(WARP_MM) * move for c, move in zip(place, warp, strict=True))
    edge = 1.2 * head.voxel_mm[1]
    plane = Plane(x, y, z, head.hu[k][whole], rows, columns, height, edge_mm=edge, pose=head.pose, reach_mm=7)
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
    rows, columns = (slice(*(np.flatnonzero(mask.any(axis=a))[[0, -1]] + [0, 1])) for a in (1, 0))
    return rows, columns


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
    wet = head.ventricle[planes].max(axis=0) > 0
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
