"""NIfTI scans and masks in and out, and the refusal of files, headers and intensities that would give a wrong volume.

A scan is read once, turned to the nearest RAS+ orientation (x to the right, y to the front, z upwards) and kept in
Hounsfield units (HU). The *native* grid is the file's own order of axes; :func:`write_like` leads back to it.

A file is read as a stream: its header first, then as many bytes as the header's own shape needs. A header that asks for
more than can be a head CT, or for more than the file can hold, is refused before anything is allocated, so that neither
a damaged header nor a compressed file that unpacks to gigabytes costs time or memory.
"""

from __future__ import annotations

import gzip
import logging
import math
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import pairwise, product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import DTypeLike
from scipy import ndimage

from hepred_lib.disk import opened, written_whole
from hepred_lib.errors import ScanError, named

DEFLATE_RATIO = 1032  # deflate shrinks no further
SPARE = 1 << 20  # bytes that may follow the voxels
MEMORY = 800_000_000  # bytes of the voxels as stored and as float32: 512 x 512 x 508 voxels of int16
EXTENSIONS = 1 << 26  # bytes between header and voxels
VOXEL_MM = (0.1, 15.0)
AIR_HU = -10.0  # air is -1000 HU, but scans clipped to -20 HU are in use
TISSUE_HU = (0.0, 100.0)  # cerebrospinal fluid, brain, blood
TISSUE_SHARE = 0.01  # a brain fills 3 % of a field of view of 500 mm
INSIDE_HU = 500.0  # the middle of a head is soft tissue; 1024 more where the rescale intercept was left out
LONGEST_QUATERNION = 1.005
SHEAR = 0.01  # cosine between two voxel axes: 0.6 degrees
FORM_MM = 1.0  # distance at the corners between qform and sform
GRID_MM, GRID_VOXELS = 0.01, 0.01  # distance at the corners between a mask and its scan: the larger of the two
MASK_ROUNDING = 1e-3  # 0 and 1 that were stored as scaled integers come back as 0.99999
EMPTY_SHARE, AIR_SHARE = 0.3, 0.05  # voxels of exactly 0 HU, and of air, where all but the brain was set to 0
BRAIN_HU = 20.0  # brain is 25 to 40 HU: a scan whose maximum is lower is not in HU

NIFTI = "be a NIfTI image"
WHOLE = "be a whole, readable NIfTI image"
INTERCEPT = "the rescale intercept (often -1024) was"
_QUIET = logging.Logger(__name__, logging.CRITICAL + 1)
_RAS = np.array([[0, 1], [1, 1], [2, 1]])
BARE_DICOM = (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00")  # without preamble
# What other files begin with, in lower case.
_BEGINNINGS = {
    "a Git LFS pointer, not the image itself: run `git lfs pull`": (b"version https://git-lfs",),
    "an HTML page, not the image (was a login page downloaded?): download it again": (b"<!doctype html", b"<html"),
    "an XML file: download or export the image itself": (b"<?xml",),
    "an NRRD file: convert it to NIfTI": (b"nrrd000",),
    "a MetaImage file (MHA or MHD): convert it to NIfTI": (b"objecttype", b"ndims"),
    "a FreeSurfer MGH file: convert it to NIfTI (mri_convert)": (b"\x00\x00\x00\x01\x00\x00",),
    "an HDF5 or MINC file (or one of MATLAB): convert it to NIfTI": (b"\x89hdf", b"cdf\x01"),
    "an archive (zip, bzip2, xz, 7z, RAR or Zstandard; or a NumPy .npz file): unpack it, and name the image in it": (
        *(b"bzh", b"pk\x03\x04", b"\xfd7zxz", b"7z\xbc\xaf", b"rar!", b"\x28\xb5\x2f\xfd"),
    ),
    "a file that was compressed twice with gzip: unpack it once (gunzip)": (b"\x1f\x8b",),
    "a NumPy array, which has no voxel size: write it as NIfTI with its affine": (b"\x93numpy",),
    "a picture (PNG, JPEG, GIF or TIFF), which has no Hounsfield units: export the scan again": (
        *(b"\x89png", b"\xff\xd8\xff", b"gif8", b"ii*\x00", b"mm\x00*"),
    ),
    "a PDF document": (b"%pdf",),
    "a DICOM file: use hepred import-dicom": BARE_DICOM,
}


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
    notes : tuple of str
        What is odd about the file, but harmless.
    """

    hu: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    path: Path
    native_affine: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Stored:
    """A NIfTI file as it is stored.

    Attributes
    ----------
    header : nibabel Nifti1Header or Nifti2Header
    native_affine : ndarray, shape (4, 4)
        From voxels of the file to mm; the sform where its code is set, else the qform.
    voxels : ndarray of three dimensions
        Before slope and intercept, in RAS+ order; trailing axes of length 1 are dropped.
    affine : ndarray, shape (4, 4)
        From ``voxels`` to mm.
    slope, intercept : float
        HU = slope * voxel + intercept.
    """

    header: nib.Nifti1Header
    native_affine: np.ndarray
    voxels: np.ndarray
    affine: np.ndarray
    slope: float
    intercept: float


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
    stored = read_stored(path)
    with named(path):
        notes = _check_header(stored.header)
        slices = stored.voxels.shape[2]
        if slices < 2:
            raise _must("have at least 2 slices", f"{slices}: save the whole scan as one file")
        if stored.voxels.min() == stored.voxels.max():  # before millions of equal voxels are turned to HU
            value = float(stored.voxels.flat[0]) * stored.slope + stored.intercept
            raise _must("show a head", f"{value:g} in every voxel")
        hu = np.array(stored.voxels, dtype=np.float32, order="F")
        if (stored.slope, stored.intercept) != (1.0, 0.0):
            hu *= np.float32(stored.slope)
            hu += np.float32(stored.intercept)
        _check_hounsfield(hu)
    x, y, z = np.linalg.norm(stored.affine[:3, :3], axis=0).tolist()
    return Scan(hu, stored.affine, (x, y, z), path, stored.native_affine, notes)


@np.errstate(all="ignore")
def read_mask(path: str | os.PathLike, scan: Scan) -> np.ndarray:
    """Read a mask of 0 and 1 that lies on a scan's grid; bool (x, y, z) in the scan's canonical order.

    The file's axes may be flipped or permuted against the scan's; its corners must agree within 1 % of a voxel (or
    0.01 mm), and its values must be 0 and 1 within 0.001, since both are rounded by some programs. An empty mask
    passes: a scan without blood has one. Whether it outlines blood is a question to
    :func:`hepred_lib.imaging.scans.mask_faults`.

    Raises
    ------
    ScanError
        Unreadable, another grid, or values other than 0 and 1.
    """
    stored = read_stored(path)
    voxels = stored.voxels
    with named(path):
        _check_grid(voxels.shape, stored.affine, scan)
        if (stored.slope, stored.intercept) != (1.0, 0.0):
            voxels = voxels * stored.slope + stored.intercept
        rounding = MASK_ROUNDING if voxels.dtype.kind == "f" else 0
        mask = np.abs(voxels - 1.0) <= rounding if rounding else voxels == 1
        if not (mask | (np.abs(voxels) <= rounding)).all():
            raise _must("hold only 0 and 1", _values(voxels))
    return np.asfortranarray(mask)


def write_nifti(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, *, dtype: DTypeLike) -> None:
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
    with written_whole(path) as temporary:
        temporary.write_bytes(zlib.compress(data, 1, wbits=31) if path.suffix == ".gz" else data)


def write_like(path: str | os.PathLike, array: np.ndarray, scan: Scan, *, dtype: type = np.uint8) -> None:
    """Write an array of the canonical grid (x, y, z) on the scan's own grid: its axes, its affine."""
    if array.shape != scan.hu.shape:
        shapes = f"{scan.path.name}, {_times(scan.hu.shape)}, got {_times(array.shape)}"
        raise ScanError(f"array must have the shape of {shapes}.")
    native = apply_orientation(array, ornt_transform(_RAS, io_orientation(scan.native_affine)))
    write_nifti(path, native, scan.native_affine, dtype=dtype)


def read_stored(path: str | os.PathLike) -> Stored:
    """Read any three-dimensional image, NIfTI-1 or 2, compressed by gzip or not, whatever the file's name says.

    Raises
    ------
    ScanError
        In words that need no knowledge of file formats.
    """
    path = Path(path)
    try:
        with named(path), opened(path) as (stream, size):
            packed = stream.peek(2)[:2] == b"\x1f\x8b"
            if path.suffix.lower() == ".img" and path.with_suffix(".hdr").is_file():
                raise _must(NIFTI, "half of a .hdr/.img pair: save both as one .nii or .nii.gz file")
            source, most = (gzip.GzipFile(fileobj=stream), size * DEFLATE_RATIO) if packed else (stream, size)
            return _stored(source, most)
    except FileNotFoundError as error:
        raise ScanError(f"cannot read {path}: no such file.") from error
    except EOFError as error:
        reason = "a compressed file that ends too early: copy or export it again"
        raise ScanError(f"{path} must {WHOLE}, got {reason}.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        fault = "its checksum is wrong" if "CRC" in str(error) else "it cannot be unpacked"
        raise ScanError(f"{path} must {WHOLE}, got a damaged file ({fault}): copy or export it again.") from error
    except (OSError, MemoryError) as error:
        raise ScanError(f"{path} must {WHOLE}, got {_reason(error)}.") from error


def _must(rule: str, got: str) -> ScanError:
    return ScanError(f"must {rule}, got {got}.")


def _stored(source: BufferedReader | gzip.GzipFile, most: int) -> Stored:
    """The image; ``most`` is the largest number of bytes that can follow."""
    beginning = source.read(540)
    if not beginning:
        raise _must(NIFTI, "0 bytes: copy or export the file again")
    kind = _kind(beginning)
    try:
        header = kind(beginning[: kind.sizeof_hdr], check=False)
        header.check_fix(logger=_QUIET)  # as nibabel repairs it, without its messages
        length = np.linalg.norm([header[f"quatern_{part}"] for part in "bcd"])
        if 1.0 < length <= LONGEST_QUATERNION:  # rounded: normalized as by the NIfTI library in C
            for part in "bcd":
                header[f"quatern_{part}"] /= length
        shape, dtype = tuple(map(int, header.get_data_shape())), header.get_data_dtype()
        first = int(header.get_data_offset())
        native, (slope, intercept) = header.get_best_affine(), header.get_slope_inter()
    except (HeaderDataError, WrapStructError, ValueError, OverflowError, KeyError) as error:
        broken = "a broken quaternion in its qform, and no sform" if "w2" in str(error) else _reason(error)
        raise _must(WHOLE, f"a damaged header ({broken}): copy or export the file again") from error
    if not kind.sizeof_hdr <= first <= EXTENSIONS:
        raise _must(WHOLE, f"a damaged header that puts the first voxel at byte {first:g}: copy or export it again")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    _check_shape(shape, dtype)
    needed = math.prod(shape) * dtype.itemsize
    source.seek(first)
    data = source.read(needed) if first + needed <= most else b""
    if len(data) < needed:
        got = f"a file that ends too early ({_times(shape)} voxels of {dtype} need {needed} bytes)"
        raise _must(WHOLE, f"{got}: copy or export it again")
    # To the end of the file, where the checksum is, unless far more follows than belongs to the image.
    source.read(SPARE)
    flat = not np.isfinite(native).all() or abs(np.linalg.det(native[:3, :3])) < 1e-9
    if flat or np.isnan(io_orientation(native)).any():
        raise _must("have a finite affine that can be inverted", str(native[:3].tolist()))
    turn = io_orientation(native)
    voxels = apply_orientation(np.frombuffer(data, dtype).reshape(shape, order="F"), turn)
    slope, intercept = (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)
    return Stored(header, native, voxels, native @ inv_ornt_aff(turn, shape), slope, intercept)


def _kind(beginning: bytes) -> type[nib.Nifti1Header]:
    """NIfTI-1 or 2; whatever else the file is, is refused by its name."""
    kinds = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
    length = next(filter(kinds.get, (int.from_bytes(beginning[:4], order) for order in ("little", "big"))), None)
    if length is None:
        raise _must(NIFTI, _other_kind(beginning))
    if len(beginning) < length:
        raise _must(WHOLE, f"a file that ends too early ({len(beginning)} bytes): copy or export it again")
    magic = beginning[344:348]
    if length == 348 and magic == b"ni1\0":
        raise _must(NIFTI, "the header half of a .hdr/.img pair: save both as one .nii or .nii.gz file")
    if length == 348 and not any(magic):
        raise _must(NIFTI, "an Analyze 7.5 header, which does not tell left from right: export NIfTI")
    return kinds[length]


def _other_kind(beginning: bytes) -> str:
    """What a file is that is no NIfTI file."""
    if beginning[128:132] == b"DICM":
        return "a DICOM file: use hepred import-dicom"
    starts = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")[:32].lower(), beginning.lower()
    for words, signatures in _BEGINNINGS.items():
        if any(start.startswith(signatures) for start in starts):
            return words
    if beginning[257:262] == b"ustar":
        return "a tar archive: unpack it, and name the image in it"
    if not any(beginning):
        return "a file that begins with zeros only: copy or export it again"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in beginning):
        return "a text file: name the image itself"
    return "a file of another or unknown format: export the scan as NIfTI (.nii or .nii.gz)"


def _check_shape(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse a shape without trailing axes of length 1, and a type of voxels, that cannot be a scan's."""
    if min(shape, default=0) < 1:
        raise _must("hold voxels", f"shape {_times(shape)}")
    if dtype.kind not in "iuf":
        colour = "a colour picture (RGB), which has no Hounsfield units: export the scan itself"
        other = f"complex numbers ({dtype}): save the real part" if dtype.kind == "c" else str(dtype)
        raise _must("hold one plain number per voxel", colour if dtype.names else other)
    if len(shape) != 3:
        several = "several frames or volumes in one file): save one of them"
        words = several if len(shape) > 3 else "a single slice): save the whole scan as one file"
        raise _must("be a three-dimensional scan", f"shape {_times(shape)} ({words}")
    if math.prod(shape) * (dtype.itemsize + 4) > MEMORY:
        got = f"{_times(shape)} voxels of {dtype} ({math.prod(shape) * dtype.itemsize / 1e9:,.3g} GB)"
        remedy = "a damaged header, or save thicker slices of the head as int16"
        raise _must("be no larger than a head CT", f"{got}: {remedy}")


def _check_header(header: nib.Nifti1Header) -> tuple[str, ...]:
    """Refuse a header whose affine does not give one trustworthy place and size to every voxel; notes on the rest."""
    notes: tuple[str, ...] = ()
    sform = header.get_sform(coded=True)[0]
    try:
        qform = header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):  # without an sform the file was refused before
        qform, notes = None, ("the quaternion of the qform is broken; the sform was used",)
    affine = qform if sform is None else sform
    if affine is None:
        rule = "say where its voxels lie (qform or sform code above 0)"
        raise _must(rule, "codes 0 and 0: convert the DICOM series again")
    size = np.linalg.norm(affine[:3, :3], axis=0)
    if size.min() < VOXEL_MM[0] or size.max() > VOXEL_MM[1]:
        units = {"metres": size * 1e3, "micrometres": size / 1e3}
        fitting = (unit for unit, mm in units.items() if VOXEL_MM[0] <= mm.min() and mm.max() <= VOXEL_MM[1])
        hint = next((f": is it in {unit}? Write it in mm" for unit in fitting), "")
        raise _must(f"have voxels of {VOXEL_MM[0]} to {VOXEL_MM[1]} mm", f"{_times(size)} mm{hint}")
    axes = affine[:3, :3] / size
    shear = np.abs(axes.T @ axes - np.eye(3)).max()
    if shear > SHEAR:
        degrees = np.degrees(np.arcsin(min(shear, 1.0)))
        got = f"{degrees:.1f} degrees of shear: a tilted gantry has to be resampled first"
        raise _must("have voxel axes at right angles", got)
    zooms = np.array(header.get_zooms()[:3], dtype=float)
    if not np.allclose(zooms, size, rtol=0.01):
        raise _must("have one voxel size", f"{_times(zooms)} mm beside an affine of {_times(size)} mm")
    apart = 0.0 if qform is None or sform is None else _corner_distance(qform, sform, header.get_data_shape()[:3])
    if not apart <= FORM_MM:
        raise _must(f"have a qform and an sform that agree within {FORM_MM} mm", f"{apart:.3g} mm")
    return notes


def _check_hounsfield(hu: np.ndarray) -> None:
    """Refuse what is no head CT in Hounsfield units; every rule holds for clipped and for padded scans."""
    low, high = float(hu.min()), float(hu.max())
    if not np.isfinite((low, high)).all():
        raise _must("be finite", f"{int(np.sum(~np.isfinite(hu)))} voxels that are not")
    sample = hu[tuple(slice(None, None, max(1, n // 128)) for n in hu.shape)]
    empty = float(np.mean(sample == 0.0))
    got = f"values from {low:g} to {high:g}{_other_scale(low, high, empty)}"
    if low >= AIR_HU:
        raise _must(f"be in Hounsfield units with air below {AIR_HU:g}", got)
    if empty > EMPTY_SHARE and np.mean(sample < AIR_HU) < AIR_SHARE and high > BRAIN_HU:
        remedy = "was the brain extracted? Use the scan as it was converted from DICOM"
        raise _must("show the whole head in air", f"exactly 0 HU in {empty:.0%} of the voxels: {remedy}")
    middle = np.median(sample[tuple(slice(n // 3, n - n // 3) for n in sample.shape)])
    if middle > INSIDE_HU:
        raise _must("be in Hounsfield units", f"{middle:g} in the middle of the head: {INTERCEPT} not applied")
    share = np.mean((sample >= TISSUE_HU[0]) & (sample <= TISSUE_HU[1]))
    if share < TISSUE_SHARE or high < BRAIN_HU:
        where = f"between {TISSUE_HU[0]:g} and {TISSUE_HU[1]:g} in {TISSUE_SHARE:.0%} of the voxels"
        raise _must(f"be in Hounsfield units with brain {where}", got)


def _other_scale(low: float, high: float, empty: float) -> str:
    """A guess at what was done to the intensities of a scan that is not in Hounsfield units."""
    extracted = ", or the brain was extracted" if empty > EMPTY_SHARE else ""
    guesses = (
        (high > 30000.0, ": negative values were stored as unsigned integers"),
        (low < -1500.0 and high < 2200.0, f": {INTERCEPT} applied twice"),
        (low >= 0.0 and high > 1000.0, f": {INTERCEPT} not applied, or this is no CT"),
        (low >= -1.0 and high <= 1.5, ": intensities were scaled to 0-1, or are attenuation"),
        (high < BRAIN_HU and low > -50.0, ": intensities were standardized (z-scores)"),
        (high <= 255.0 and low >= -300.0, f": a display window (such as 0-80 HU) was applied{extracted}"),
        (low >= 0.0, ": this is no CT, or its intensities were changed"),
    )
    return next((words for fits, words in guesses if fits), "")


def _check_grid(shape: tuple[int, ...], affine: np.ndarray, scan: Scan) -> None:
    """Refuse a mask, turned to RAS+, whose voxels are not those of its scan."""
    if shape != scan.hu.shape:
        remedy = "resample it to the scan (nearest neighbour), or export it on the scan's extent"
        grid = f"have the grid of its scan {scan.path.name}, {_times(scan.hu.shape)} voxels"
        raise _must(grid, f"{_times(shape)}: {remedy}")
    if _on_grid(affine, scan, shape):
        return
    rule = f"lie on its scan {scan.path.name}"
    for words, signs in (("x and y", (-1, -1, 1)), ("x", (-1, 1, 1)), ("y", (1, -1, 1)), ("z", (1, 1, -1))):
        signed = np.diag([*signs, 1.0]) @ affine
        if _on_grid(signed @ inv_ornt_aff(io_orientation(signed), shape), scan, shape):
            remedy = "its header mixes LPS and RAS, write the mask again on the scan's own grid"
            raise _must(rule, f"{words} with the opposite sign: {remedy}")
    apart = _corner_distance(affine, scan.affine, shape)
    raise _must(f"{rule} within {GRID_VOXELS:.0%} of a voxel at the corners", f"{apart:.3g} mm")


def _on_grid(affine: np.ndarray, scan: Scan, shape: tuple[int, ...]) -> bool:
    """Whether two affines agree at the corners but for rounding."""
    if _corner_distance(affine, scan.affine, shape) <= GRID_MM:
        return True
    moved = np.linalg.inv(scan.affine) @ affine  # from voxels of the mask to voxels of the scan
    return _corner_distance(moved, np.eye(4), shape) <= GRID_VOXELS * np.sqrt(3.0) * 1.001


def _values(voxels: np.ndarray) -> str:
    """The values of a mask that is none, and what to do about them."""
    broken = int(np.sum(~np.isfinite(voxels))) if voxels.dtype.kind == "f" else 0
    if broken:
        return f"{broken} voxels that are not finite: set them to 0"
    found = np.unique(voxels)
    if len(found) > 8:
        return f"{len(found)} values from {found[0]:g} to {found[-1]:g}: write the hematoma as 1 and all else as 0"
    named = ", ".join(f"{value:g}" for value in found)
    if len(found) == 1:
        return f"{named} in every voxel"
    alone = len(found) == 2 and found[0] == 0.0
    remedy = f"write {found[1]:g} as 1" if alone else "keep only the label of the hematoma, written as 1"
    return f"values {named}: {remedy}"


def _corner_distance(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance in mm between the places that two affines give to the grid's eight corners."""
    corners = np.array([(*corner, 1.0) for corner in product(*((0.0, n - 1.0) for n in shape))])
    return float(np.linalg.norm(corners @ (a - b).T, axis=1).max())


def _times(sizes: Iterable[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".") or type(error).__name__


# Does a mask cover blood? It is compared with the HU under it, and under its mirrored and turned copies.

MOST_ML = 300.0
FEW_VOXELS = 20  # the HU of fewer say little: a person should look
OUTSIDE_HU, OUTSIDE_SHARE = -15.0, 0.1  # air and fat
BONE_SHARE = 0.25
DENSER_HU = 5.0  # median over that of brain: 11 or more in simulated hematomas, half of them hypodense, 23 in real ones
SOME_DENSER_HU = 10.0  # upper quartile over brain
HOLLOW = 1.5  # filled over drawn, slice by slice: 1.02 or less in real masks
FLUID_HU = 8.0  # ventricular blood is diluted, but not below brain by so much
MIRRORED_HU, MIRRORED_SHARE = 12.0, 0.05  # difference between what only the copy and only the mask covers

# Whether x and y are exchanged, and the direction of each axis: the usual copies first, then all others.
_COPIES: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (-1, 1, 1)): "mirrored left-right",
    (False, (1, -1, 1)): "mirrored front-back",
    (False, (1, 1, -1)): "mirrored top-bottom",
    (False, (-1, -1, 1)): "turned by 180 degrees in the slice (LPS and RAS exchanged)",
    (True, (1, 1, 1)): "with x and y exchanged (transposed)",
}
for _copy in product((False, True), product((1, -1), repeat=3)):
    _COPIES.setdefault(_copy, "mirrored and turned")


@dataclass(frozen=True)
class MaskFault:
    """What is wrong with a mask: the words after "must" and after "got", ``refuse`` or ``warn``, and what to do."""

    rule: str
    value: str
    severity: str = "refuse"
    remedy: str = "Draw or export the mask again on this very scan."


def mask_faults(
    mask: np.ndarray,
    hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    brain_hu: float,
    bone_hu: float,
    ventricular: bool = False,
) -> list[MaskFault]:
    """Everything that shows that a mask is not the hematoma of its scan; an empty mask has no fault.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
    hu : ndarray of the same shape
        The scan in Hounsfield units.
    spacing_mm : tuple of float
        Voxel size.
    brain_hu, bone_hu : float
        Of :class:`hepred_lib.imaging.preprocessing.Head`.
    ventricular : bool
        The mask is one of blood in the ventricles, which is diluted.
    """
    places = np.nonzero(mask)
    n = len(places[0])
    volume_ml, share = n * float(np.prod(spacing_mm)) / 1000.0, n / mask.size
    if volume_ml > MOST_ML:
        rule = f"be a hematoma of at most {MOST_ML:g} mL"
        if share == 1.0:
            return [MaskFault(rule, "1 in every voxel")]
        if share > 0.5:
            remedy = "Exchange 0 and 1: the mask is inverted."
            return [MaskFault(rule, f"1 in {share:.1%} of all voxels", remedy=remedy)]
        return [MaskFault(rule, f"{volume_ml:.0f} mL", remedy="Mark the hematoma only, not the brain or the head.")]
    if not n:
        return []
    inside, faults = hu[places], list(_gaps(mask, places, float(np.prod(spacing_mm)) / 1000.0))
    severity = "refuse" if n >= FEW_VOXELS else "warn"
    outside, bone = float(np.mean(inside < OUTSIDE_HU)), float(np.mean(inside >= bone_hu))
    if outside > OUTSIDE_SHARE:
        faults.append(MaskFault("lie inside the head", f"air or fat in {outside:.0%} of its voxels", severity))
    if bone > BONE_SHARE:
        faults.append(MaskFault("lie inside the skull", f"bone in {bone:.0%} of its voxels", severity))
    copy = _better_copy(mask, hu, places, brain_hu, bone_hu) if n >= FEW_VOXELS else None
    if copy:
        remedy = f"The mask was written {copy}: export it again, and look at it over the scan."
        faults.append(MaskFault("cover blood", f"brain, and blood under the mask {copy}", remedy=remedy))
    elif not (outside > OUTSIDE_SHARE or bone > BONE_SHARE) and np.isfinite(brain_hu):
        faults += _density_faults(inside, brain_hu, ventricular, severity)
    return faults


def _gaps(mask: np.ndarray, places: tuple[np.ndarray, ...], voxel_ml: float) -> Iterator[MaskFault]:
    """Faults of a mask that was not filled, within its slices or between them."""
    drawn = mask[tuple(slice(axis.min(), axis.max() + 1) for axis in places)]
    whole = sum(np.count_nonzero(ndimage.binary_fill_holes(drawn[:, :, z])) for z in range(drawn.shape[2]))
    if whole > HOLLOW * len(places[0]):
        value = f"{len(places[0]) * voxel_ml:.1f} mL around a hole of {(whole - len(places[0])) * voxel_ml:.1f} mL"
        yield MaskFault("be filled", value, remedy="Fill the outlines: only what is 1 counts as hematoma.")
    levels = np.flatnonzero(drawn.any(axis=(0, 1)))
    gaps = [b - a - 1 for a, b in pairwise(levels) if b - a > 1 and (drawn[:, :, a] & drawn[:, :, b]).any()]
    if gaps:
        remedy = "Look whether the slices between drawn ones were left out."
        yield MaskFault("have no slice left out", f"{sum(gaps)} empty between {len(levels)} drawn", "warn", remedy)


def _density_faults(inside: np.ndarray, brain_hu: float, ventricular: bool, severity: str) -> Iterator[MaskFault]:
    """Faults of the HU."""
    median, upper = np.percentile(inside, (50.0, 75.0))
    got = f"a median of {median:.0f} HU where brain has {brain_hu:.0f}"
    if ventricular:
        if median < brain_hu - FLUID_HU and upper < brain_hu:
            yield MaskFault("cover blood", f"{got}: fluid", severity)
    elif median <= brain_hu and upper < brain_hu + DENSER_HU:
        yield MaskFault("cover blood, denser than brain", got, severity)
    elif median < brain_hu + DENSER_HU and not (upper >= brain_hu + SOME_DENSER_HU and median >= brain_hu):
        remedy = "Look at the mask: a hematoma is rarely as dense as brain."
        yield MaskFault("cover blood, denser than brain", got, "warn", remedy)


def _better_copy(
    mask: np.ndarray, hu: np.ndarray, places: tuple[np.ndarray, ...], brain_hu: float, bone_hu: float
) -> str | None:
    """The mirrored or turned copy of a mask that covers blood where the mask itself covers brain."""
    found, most = None, -np.inf
    for (swapped, signs), words in _COPIES.items():
        if swapped and mask.shape[0] != mask.shape[1]:
            continue
        axes = [places[k] for k in ((1, 0, 2) if swapped else (0, 1, 2))]
        moved = tuple(axis if s > 0 else n - 1 - axis for axis, n, s in zip(axes, mask.shape, signs, strict=True))
        only_copy = ~mask[moved]
        if only_copy.mean() < MIRRORED_SHARE:
            continue
        theirs = hu[moved]
        alone = theirs[only_copy]
        covered = np.zeros(mask.shape, dtype=bool)
        covered[moved] = True
        ours = np.median(hu[tuple(axis[~covered[places]] for axis in places)])
        brain = ours < brain_hu + DENSER_HU and np.median(alone) > max(brain_hu, ours) + MIRRORED_HU
        if brain and np.mean(alone >= min(bone_hu, 100.0)) < 0.1 and theirs.mean() > most:
            found, most = words, float(theirs.mean())
    return found
