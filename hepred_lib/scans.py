"""NIfTI scans and masks in and out, and the refusal of headers and intensities that would give a wrong volume.

A scan is read once, turned to the nearest RAS+ orientation (x to the right, y to the front, z upwards) and kept in
Hounsfield units (HU). The *native* grid is the file's own order of axes; :func:`to_native` leads back to it.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

VOXEL_MM = (0.1, 15.0)
AIR_HU = -10.0  # air is -1000 HU, but scans clipped to -20 HU are in use
TISSUE_HU = (0.0, 100.0)  # cerebrospinal fluid, brain, blood
TISSUE_SHARE = 0.01  # a brain fills 3 % of a field of view of 500 mm
INSIDE_HU = 500.0  # the middle of a head is soft tissue; 1024 more where the rescale intercept was left out
SHEAR = 0.01  # cosine between two voxel axes: 0.6 degrees
FORM_MM = 1.0  # distance at the corners between qform and sform
GRID_MM = 1e-2  # distance at the corners between a mask and its scan

_RAS = np.array([[0, 1], [1, 1], [2, 1]])
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    zlib.error,
    HeaderDataError,
    ImageFileError,
    WrapStructError,
)


class ScanError(ValueError):
    """A scan or mask that cannot be used, and why."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A head CT in canonical orientation.

    Attributes
    ----------
    hu : ndarray, float32, shape (x, y, z)
        Hounsfield units in RAS+ order; contiguous along x whatever the file's order.
    affine : ndarray, shape (4, 4)
        From voxels of ``hu`` to mm.
    spacing_mm : tuple of float
        Voxel size along x, y, z.
    path : Path
        The file.
    native_affine : ndarray, shape (4, 4)
        From voxels of the file to mm.
    """

    hu: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    path: Path
    native_affine: np.ndarray


@np.errstate(all="ignore")  # a damaged header is refused by what it leads to, without numpy's warnings on the way
def read_scan(path: str | os.PathLike) -> Scan:
    """Read a head CT (NIfTI-1 or 2, compressed or not) in Hounsfield units and RAS+ order.

    A trailing axis of length 1 is dropped. Padding below air (-1024, -1500, -3024) and scans clipped to -20 HU pass.

    Raises
    ------
    ScanError
        In one sentence with the file named: unreadable, not three-dimensional, fewer than two slices, not finite,
        constant, not in Hounsfield units, or a header whose voxel size, axes or two affines cannot be trusted.
    """
    path = Path(path)
    image, voxels = _load(path)
    if voxels.ndim != 3:
        raise ScanError(f"{path} must be a three-dimensional scan, got shape {_times(voxels.shape)}.")
    _check_header(image.header, path)
    turned, affine = _to_ras(voxels, image.affine)
    if turned.shape[2] < 2:
        raise ScanError(f"{path} must have at least 2 slices, got {turned.shape[2]}.")
    hu = np.asarray(turned, dtype=np.float32, order="F")
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    if (slope, intercept) != (1.0, 0.0):
        hu = hu * np.float32(slope) + np.float32(intercept)
    _check_hounsfield(hu, path)
    return Scan(hu, affine, _spacing(affine), path, image.affine)


@np.errstate(all="ignore")
def read_mask(path: str | os.PathLike, scan: Scan) -> np.ndarray:
    """Read a mask of 0 and 1 that lies on a scan's grid; bool (x, y, z) in the scan's canonical order.

    The file's axes may be flipped or permuted against the scan's; its corners must agree within 0.01 mm. An empty mask
    passes: a scan without blood has one.

    Raises
    ------
    ScanError
        Unreadable, another grid, or values other than 0 and 1.
    """
    path = Path(path)
    image, voxels = _load(path)
    shape, affine = voxels.shape, image.affine
    if voxels.ndim == 3 and np.isfinite(affine).all() and np.linalg.det(affine) != 0:
        voxels, affine = _to_ras(voxels, affine)
        shape = voxels.shape
    if shape != scan.hu.shape:
        raise ScanError(
            f"{path} must have the grid of its scan {scan.path.name}, {_times(scan.hu.shape)} voxels, "
            f"got {_times(shape)}."
        )
    apart = _corner_distance(affine, scan.affine, shape)
    if not apart <= GRID_MM:
        raise ScanError(
            f"{path} must lie on its scan {scan.path.name} within {GRID_MM} mm at the corners, got {apart:.3g} mm."
        )
    if image.dataobj.slope != 1.0 or image.dataobj.inter != 0.0:
        voxels = voxels * image.dataobj.slope + image.dataobj.inter
    mask = voxels == 1
    if not (mask | (voxels == 0)).all():
        raise ScanError(f"{path} must hold only 0 and 1, got values from {voxels.min():g} to {voxels.max():g}.")
    return np.asfortranarray(mask)


def to_native(array: np.ndarray, scan: Scan) -> np.ndarray:
    """An array on the canonical grid (x, y, z), turned back to the axes of the scan's file."""
    if array.shape != scan.hu.shape:
        raise ScanError(
            f"array must have the shape of {scan.path.name}, {_times(scan.hu.shape)}, got {_times(array.shape)}."
        )
    return apply_orientation(array, ornt_transform(_RAS, io_orientation(scan.native_affine)))


def write_nifti(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, *, dtype: type) -> None:
    """Write an array (x, y, z), rounded to ``int16`` or ``uint8``, under a temporary name, then rename it.

    The same array gives the same bytes: neither time nor name enters the compressed file (gzip level 1).

    Raises
    ------
    ScanError
        A ``dtype`` other than the two, or values it cannot hold.
    """
    path, dtype = Path(path), np.dtype(dtype)
    if dtype not in (np.dtype(np.int16), np.dtype(np.uint8)):
        raise ScanError(f"dtype must be int16 or uint8, got {dtype} ({path}).")
    values = np.asarray(array)
    values = np.rint(values) if values.dtype.kind == "f" else values
    limits = np.iinfo(dtype)
    if not (values.min() >= limits.min and values.max() <= limits.max):
        raise ScanError(f"array must lie within {limits.min} to {limits.max} for {dtype}, got values beyond ({path}).")
    image = nib.Nifti1Image(values.astype(dtype), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    data = image.to_bytes()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_bytes(zlib.compress(data, 1, wbits=31) if path.suffix == ".gz" else data)
    os.replace(temporary, path)


def write_like(path: str | os.PathLike, array: np.ndarray, scan: Scan, *, dtype: type = np.uint8) -> None:
    """Write an array of the canonical grid on the scan's own grid: its axes, its affine."""
    write_nifti(path, to_native(array, scan), scan.native_affine, dtype=dtype)


def _load(path: Path) -> tuple[nib.Nifti1Image, np.ndarray]:
    """The image and its voxels as stored (before slope and intercept), trailing axes of length 1 dropped."""
    try:
        data = path.read_bytes()
        if not data:
            raise ScanError(f"{path} must be a NIfTI image, got 0 bytes.")
        if data[:2] == b"\x1f\x8b":
            data = _gunzip(data)
        second = data[:4] in ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
        image = (nib.Nifti2Image if second else nib.Nifti1Image).from_bytes(data)
        stored = image.dataobj
        if min(stored.shape, default=0) < 1:
            raise ScanError(f"{path} must hold voxels, got shape {_times(stored.shape)}.")
        flat = np.frombuffer(data, stored.dtype, count=math.prod(stored.shape), offset=stored.offset)
        voxels = flat.reshape(stored.shape, order="F")
    except ScanError:
        raise
    except FileNotFoundError as error:
        raise ScanError(f"{path} must be a NIfTI image, got no such file.") from error
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ScanError(
            f"{path} must be a whole, readable NIfTI image, got {type(error).__name__}: {reason}."
        ) from error
    if voxels.dtype.kind not in "iuf":
        raise ScanError(f"{path} must hold one plain number per voxel, got {voxels.dtype}.")
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    return image, voxels


def _gunzip(data: bytes) -> bytes:
    """All bytes of a gzip file; room made once, by the length in its last four bytes, takes half the time."""
    length = min(int.from_bytes(data[-4:], "little"), 1100 * len(data))  # deflate shrinks at most 1032-fold
    whole = zlib.decompress(data, wbits=31, bufsize=max(length, 1))
    return whole if len(whole) == length else gzip.decompress(data)  # the file has several members


def _check_header(header: nib.Nifti1Header, path: Path) -> None:
    """Refuse a header whose affine does not give one trustworthy place and size to every voxel."""
    qform, sform = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    affine = qform if sform is None else sform
    if affine is None:
        raise ScanError(f"{path} must say where its voxels lie (qform or sform code above 0), got codes 0 and 0.")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ScanError(f"{path} must have a finite affine that can be inverted, got {affine[:3].tolist()}.")
    size = np.linalg.norm(affine[:3, :3], axis=0)
    if size.min() < VOXEL_MM[0] or size.max() > VOXEL_MM[1]:
        raise ScanError(f"{path} must have voxels of {VOXEL_MM[0]} to {VOXEL_MM[1]} mm, got {_times(size)} mm.")
    axes = affine[:3, :3] / size
    shear = np.abs(axes.T @ axes - np.eye(3)).max()
    if shear > SHEAR:
        degrees = np.degrees(np.arcsin(min(shear, 1.0)))
        raise ScanError(
            f"{path} must have voxel axes at right angles, got {degrees:.1f} degrees of shear: "
            "a tilted gantry has to be resampled first."
        )
    zooms = np.array(header.get_zooms()[:3], dtype=float)
    if not np.allclose(zooms, size, rtol=0.01):
        raise ScanError(
            f"{path} must have one voxel size, got {_times(zooms)} mm beside an affine of {_times(size)} mm."
        )
    apart = 0.0 if qform is None or sform is None else _corner_distance(qform, sform, header.get_data_shape()[:3])
    if not apart <= FORM_MM:
        raise ScanError(f"{path} must have a qform and an sform that agree within {FORM_MM} mm, got {apart:.3g} mm.")


def _check_hounsfield(hu: np.ndarray, path: Path) -> None:
    """Refuse what is no head CT in Hounsfield units; every rule holds for clipped and for padded scans."""
    low, high = float(hu.min()), float(hu.max())
    if not np.isfinite((low, high)).all():
        raise ScanError(f"{path} must be finite, got {int(np.sum(~np.isfinite(hu)))} voxels that are not.")
    if low == high:
        raise ScanError(f"{path} must show a head, got {low:g} in every voxel.")
    got = f"got values from {low:g} to {high:g}"
    if low >= AIR_HU:
        raise ScanError(f"{path} must be in Hounsfield units with air below {AIR_HU:g}, {got}.")
    step = [max(1, n // 128) for n in hu.shape]
    sample = hu[:: step[0], :: step[1], :: step[2]]
    middle = np.median(sample[tuple(slice(n // 3, n - n // 3) for n in sample.shape)])
    if middle > INSIDE_HU:
        raise ScanError(
            f"{path} must be in Hounsfield units, got {middle:g} in the middle of the head: "
            "the rescale intercept (often -1024) was not applied."
        )
    share = np.mean((sample >= TISSUE_HU[0]) & (sample <= TISSUE_HU[1]))
    if share < TISSUE_SHARE:
        raise ScanError(
            f"{path} must be in Hounsfield units with brain between {TISSUE_HU[0]:g} and {TISSUE_HU[1]:g} "
            f"in {TISSUE_SHARE:.0%} of the voxels, {got}."
        )


def _to_ras(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A view of the voxels in the nearest RAS+ order, and its affine."""
    orientation = io_orientation(affine)
    return apply_orientation(voxels, orientation), affine @ inv_ornt_aff(orientation, voxels.shape)


def _corner_distance(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance in mm between the places that two affines give to the grid's eight corners."""
    corners = np.array([(*corner, 1.0) for corner in product(*((0.0, n - 1.0) for n in shape))])
    return float(np.linalg.norm(corners @ (a - b).T, axis=1).max())


def _spacing(affine: np.ndarray) -> tuple[float, float, float]:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def _times(sizes: np.ndarray | tuple[int, ...]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)
