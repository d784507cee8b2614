"""Thin planes through a head, and the shapes painted on them.

Vocabulary
----------
*Head coordinates* are in mm: x to the right, y forwards, z upwards, the origin in the middle of the third ventricle.
*Scanner coordinates* are in mm with the axes of the image; a `Pose` leads from one to the other.
A *level* is a signed distance in mm to a surface, positive inside. A shape is painted with an edge one voxel wide, so
that partial volume within the plane needs no oversampling; partial volume across planes comes from averaging them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.floating]
AIR_HU = -1000.0

EVERYWHERE = (slice(None), slice(None))


@dataclass(frozen=True)
class Pose:
    """Where the head lies in the scanner: head = rotation @ (scanner - shift)."""

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def to_scanner(self, head_mm: ArrayLike) -> NDArray[np.float64]:
        """Scanner coordinates of a point given in head coordinates, both in mm."""
        return self.rotation.T @ np.asarray(head_mm, dtype=float) + self.shift


@dataclass
class Plane:
    """One thin plane: head coordinates of its pixels and the image painted so far.

    Attributes
    ----------
    x, y, z : ndarray of float32, shape (n_rows, n_columns)
        Head coordinates in mm.
    hu : ndarray of float32, shape (n_rows, n_columns)
        The image, changed in place.
    rows_mm, columns_mm : ndarray, shape (n_rows,), (n_columns,)
        Scanner x and y of the pixel centres.
    height_mm : float
        Scanner z of the plane.
    reach_mm : float
        Largest displacement by which the warped coordinates may differ from the pose's.
    """

    x: Array
    y: Array
    z: Array
    hu: Array
    rows_mm: NDArray[np.float64]
    columns_mm: NDArray[np.float64]
    height_mm: float
    edge_mm: float
    pose: Pose
    reach_mm: float

    def __post_init__(self) -> None:
        self._frame = self.pose.rotation.tolist(), self.pose.shift.tolist()

    def window(self, points_mm: tuple, radius_mm: float) -> tuple[slice, slice] | None:
        """Rows and columns that a shape within a radius of some head points can touch; None if it misses the plane."""
        reach = radius_mm + self.reach_mm + self.edge_mm
        points = points_mm if isinstance(points_mm[0], tuple) else (points_mm,)
        turn, shift = self._frame
        # Most shapes miss most planes: this is asked first, in plain numbers.
        heights = [x * turn[0][2] + y * turn[1][2] + z * turn[2][2] for x, y, z in points]
        middle = self.height_mm - shift[2]
        if min(heights) - reach > middle or max(heights) + reach < middle:
            return None
        rows, columns = (
            slice(*axis.searchsorted([min(along) + shift[k] - reach, max(along) + shift[k] + reach]))
            for k, axis in enumerate((self.rows_mm, self.columns_mm))
            for along in ([x * turn[0][k] + y * turn[1][k] + z * turn[2][k] for x, y, z in points],)
        )
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def cut(self, where: tuple[slice, slice]) -> "Plane":
        """A part of the plane; painting it paints the whole."""
        x, y, z, hu = (array[where] for array in (self.x, self.y, self.z, self.hu))
        axes = self.rows_mm[where[0]], self.columns_mm[where[1]]
        return Plane(x, y, z, hu, *axes, self.height_mm, edge_mm=self.edge_mm, pose=self.pose, reach_mm=self.reach_mm)

    def occupancy(self, level: Array, softness: float = 1.0) -> Array:
        """Share of each pixel that lies inside, from the level in mm."""
        share = level * np.float32(1 / (self.edge_mm * softness))
        share += np.float32(0.5)
        return np.clip(share, 0, 1, out=share)

    def paint(self, value: Array | float, share: Array, where: tuple[slice, slice] = EVERYWHERE) -> None:
        """Replace a share of the image by a value in HU."""
        part = self.hu[where]
        part += share * (value - part if isinstance(value, np.ndarray) else np.float32(value) - part)


def ellipsoid_level(plane: Plane, where: tuple[slice, slice], *, centre: tuple, radii: tuple) -> Array:
    """Level of an ellipsoid with axes along the head's, within a window; exact on the surface, in mm nearby."""
    squared = np.zeros(plane.x[where].shape, dtype=np.float32)
    for axis, middle, radius in zip((plane.x, plane.y, plane.z), centre, radii, strict=True):
        offset = (axis[where] - np.float32(middle)) * np.float32(1 / radius)
        squared += offset * offset
    return (1 - np.sqrt(squared)) * np.float32(min(radii))


def capsule_level(plane: Plane, where: tuple[slice, slice], *, ends: tuple, radii: tuple, flat: float = 1.0) -> Array:
    """Level of a rod between two points whose radius changes from one to the other; flat > 1 widens it up and down."""
    start, end = (np.asarray(point, dtype=float) for point in ends)
    axis = end - start
    px, py, pz = (c[where] - np.float32(s) for c, s in zip((plane.x, plane.y, plane.z), start, strict=True))
    along = np.clip(sum(p * np.float32(a / (axis @ axis)) for p, a in zip((px, py, pz), axis, strict=True) if a), 0, 1)
    squared = np.zeros_like(px)
    for offset, length, stretch in zip((px, py, pz), axis, (1, 1, flat), strict=True):
        if length:
            offset -= along * np.float32(length)
        if stretch != 1:
            offset *= np.float32(1 / stretch)
        offset *= offset
        squared += offset
    along *= np.float32(radii[1] - radii[0])
    along += np.float32(radii[0])
    return np.subtract(along, np.sqrt(squared, out=squared), out=along)


def paint_ellipsoid(plane: Plane, centre: tuple, radii: tuple, hu: float, *, softness: float = 1.0) -> None:
    """Paint an ellipsoid if it meets the plane."""
    where = plane.window(centre, max(radii))
    if where is not None:
        level = ellipsoid_level(plane, where, centre=centre, radii=radii)
        plane.paint(hu, plane.occupancy(level, softness), where)


def paint_capsule(plane: Plane, ends: tuple, radii: tuple, hu: float, *, flat: float = 1.0) -> None:
    """Paint a rod if it meets the plane."""
    where = plane.window(ends, max(radii) * max(flat, 1.0))
    if where is not None:
        level = capsule_level(plane, where, ends=ends, radii=radii, flat=flat)
        plane.paint(hu, plane.occupancy(level), where)


def sigmoid(value: Array, width: float) -> Array:
    """A smooth step of a given width, by a clipped cubic."""
    t = value * np.float32(0.25 / width)
    t += np.float32(0.5)
    t = np.clip(t, 0, 1)
    step = np.float32(3) - 2 * t
    t *= t
    step *= t
    return step


def bump(value: Array, middle: float, width: float) -> Array:
    """1 in the middle, a Gaussian's fall to both sides."""
    return np.exp(-square((value - np.float32(middle)) * np.float32(1 / width)))


def square(value: Array) -> Array:
    """The square, which for arrays is faster than a power."""
    return value * value


class SmoothField:
    """A smooth random function of scanner position, zero mean and unit variance, sampled plane by plane.

    Parameters
    ----------
    rng : Generator
    grid_mm : tuple of ndarray
        Positions of rows, columns and planes, each increasing.
    wavelength_mm : float
        About the distance from one crest to the next.
    """

    def __init__(self, rng: np.random.Generator, grid_mm: tuple[NDArray, NDArray, NDArray], *, wavelength_mm: float):
        self._step = wavelength_mm / 5
        self._bottom = float(grid_mm[2][0])
        shape = [int(np.ptp(axis) / self._step) + 3 for axis in grid_mm]
        knots = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.1, mode="wrap")
        self._knots = knots * np.float32(1 / knots.std())
        self._rows, self._columns = (
            _linear_weights(a, self._step, n) for a, n in zip(grid_mm[:2], shape, strict=False)
        )

    def at(self, height_mm: float, where: tuple[slice, slice] = EVERYWHERE) -> Array:
        """The plane at this height, or a part of it, shape (n_rows, n_columns)."""
        k, share = divmod((height_mm - self._bottom) / self._step, 1)
        low, high = self._knots[:, :, int(k)], self._knots[:, :, int(k) + 1]
        return self._rows[where[0]] @ (low + np.float32(share) * (high - low)) @ self._columns[where[1]].T


def _linear_weights(axis_mm: NDArray, step: float, n_knots: int) -> Array:
    """Matrix that interpolates knots `step` apart, the first at the axis' start, to the axis."""
    position = (axis_mm - axis_mm[0]) / step
    return np.clip(1 - np.abs(position[:, None] - np.arange(n_knots)), 0, None).astype(np.float32)
