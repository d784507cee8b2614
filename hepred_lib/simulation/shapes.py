"""Thin planes through a head, and the shapes that are painted on them.

Head coordinates are in mm: x to the right, y forwards, z upwards, the origin in the middle of the third ventricle.
A *level* is a signed distance in mm, positive inside. A shape is painted with an edge one voxel wide, so that partial
volume within the plane needs no oversampling; partial volume across planes comes from averaging them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Pose:
    """Where the head lies in the scanner: head = rotation @ (scanner - shift)."""

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def to_scanner(self, head_mm: NDArray[np.float64]) -> NDArray[np.float64]:
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

    def window(self, points_mm: tuple, radius_mm: float) -> tuple[slice, slice] | None:
        """Rows and columns that a shape within a radius of some head points can touch; None if it misses the plane."""
        reach = radius_mm + self.reach_mm + self.edge_mm
        places = (np.asarray(points_mm, dtype=float) @ self.pose.rotation + self.pose.shift).reshape(-1, 3)
        low, high = places.min(axis=0) - reach, places.max(axis=0) + reach
        if not low[2] <= self.height_mm <= high[2]:
            return None
        rows = slice(*self.rows_mm.searchsorted([low[0], high[0]]))
        columns = slice(*self.columns_mm.searchsorted([low[1], high[1]]))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def occupancy(self, level: Array, softness: float = 1.0) -> Array:
        """Share of each pixel that lies inside, from the level in mm."""
        return np.clip(level * np.float32(1 / (self.edge_mm * softness)) + np.float32(0.5), 0, 1)

    def paint(
        self, value: Array | float, share: Array, where: tuple[slice, slice] = (slice(None), slice(None))
    ) -> None:
        """Replace a share of the image by a value in HU."""
        part = self.hu[where]
        part += share * (np.float32(value) - part if np.isscalar(value) else value - part)


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
    along = (px * np.float32(axis[0]) + py * np.float32(axis[1]) + pz * np.float32(axis[2])) * np.float32(
        1 / (axis @ axis)
    )
    along = np.clip(along, 0, 1)
    px -= along * np.float32(axis[0])
    py -= along * np.float32(axis[1])
    pz = (pz - along * np.float32(axis[2])) * np.float32(1 / flat)
    return np.float32(radii[0]) + along * np.float32(radii[1] - radii[0]) - np.sqrt(px * px + py * py + pz * pz)


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
    t = np.clip(value * np.float32(0.25 / width) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


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

    def at(self, height_mm: float) -> Array:
        """The plane at this height, shape (n_rows, n_columns)."""
        k, share = divmod((height_mm - self._bottom) / self._step, 1)
        low, high = self._knots[:, :, int(k)], self._knots[:, :, int(k) + 1]
        return self._rows @ (low + np.float32(share) * (high - low)) @ self._columns.T


def _linear_weights(axis_mm: NDArray, step: float, n_knots: int) -> Array:
    """Matrix that interpolates knots `step` apart, the first at the axis' start, to the axis."""
    position = (axis_mm - axis_mm[0]) / step
    return np.clip(1 - np.abs(position[:, None] - np.arange(n_knots)), 0, None).astype(np.float32)
