"""Volumes in millilitres.

An *affine* is nibabel's 4 x 4 matrix from voxel indices to millimetres. The volume of a voxel is the absolute
determinant of its upper-left 3 x 3 block: right for flipped axes, tilted gantries and sheared grids alike, where the
product of the diagonal is not.
"""

import numpy as np
from numpy.typing import ArrayLike

MM3_PER_ML = 1000.0


def voxel_volume_ml(affine: ArrayLike) -> float:
    """Volume of one voxel, in mL.

    Parameters
    ----------
    affine : array_like, shape (4, 4)
        Voxel indices to millimetres.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the affine is not a finite 4 x 4 matrix, or maps the grid onto a plane.

    Examples
    --------
    >>> voxel_volume_ml(np.diag([-0.5, 0.5, 4.0, 1.0]))
    0.001
    """
    matrix = np.asarray(affine, dtype=float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"affine must be a finite 4 x 4 matrix, got shape {matrix.shape}: {matrix.tolist()}.")
    volume_mm3 = abs(np.linalg.det(matrix[:3, :3]))
    if volume_mm3 < 1e-9:
        raise ValueError(f"affine must span three dimensions, got a voxel of {volume_mm3:.3g} cubic mm.")
    return float(volume_mm3 / MM3_PER_ML)


def mask_volume_ml(mask: ArrayLike, affine: ArrayLike) -> float:
    """Volume of a mask, in mL: its voxels times the volume of one. An empty mask has 0 mL.

    Parameters
    ----------
    mask : array_like, shape (x, y, z)
        Boolean, or 0 and 1.
    affine : array_like, shape (4, 4)
        Voxel indices to millimetres.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the mask is not three-dimensional or holds anything but 0 and 1, or the affine is invalid.

    Examples
    --------
    >>> mask_volume_ml(np.ones((10, 10, 10)), np.eye(4))
    1.0
    """
    voxels = np.asarray(mask)
    if voxels.ndim != 3:
        raise ValueError(f"mask must be three-dimensional, got shape {voxels.shape}.")
    if voxels.dtype != bool and not ((voxels == 0) | (voxels == 1)).all():
        other = voxels[(voxels != 0) & (voxels != 1)].flat[0]
        raise ValueError(f"mask must hold 0 and 1 only, got {other}.")
    return float(np.count_nonzero(voxels) * voxel_volume_ml(affine))
