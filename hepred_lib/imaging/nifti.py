"""The voxels and the header of a NIfTI file, or in plain words what the file is instead.

A file is read as a stream: its header first, then as many bytes as the header's own shape needs. A header that asks for
more than can be a head CT, or for more than the file can hold, is refused before anything is allocated, so that neither
a damaged header nor a compressed file that unpacks to gigabytes costs time or memory.
"""

from __future__ import annotations

import logging
import math
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

CHUNK = 1 << 16  # compressed bytes at a time: at most 66 MB when unpacked
DEFLATE_RATIO = 1032  # deflate shrinks no further
SPARE = 1 << 20  # bytes that may follow the voxels
MEMORY = 800_000_000  # bytes of the voxels as stored and as float32: 512 x 512 x 508 voxels of int16
EXTENSIONS = 1 << 26  # bytes between header and voxels

NIFTI = "be a NIfTI image"
WHOLE = "be a whole, readable NIfTI image"
VOLUME = "be a three-dimensional scan"

_QUIET = logging.Logger(__name__, logging.CRITICAL + 1)
_LENGTHS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
# What other files begin with, in lower case.
_BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the image itself: run `git lfs pull`"),
    (b"<!doctype html", "an HTML page, not the image (was a login page downloaded?): download it again"),
    (b"<html", "an HTML page, not the image (was a login page downloaded?): download it again"),
    (b"<?xml", "an XML file: download or export the image itself"),
    (b"nrrd000", "an NRRD file: convert it to NIfTI"),
    (b"objecttype", "a MetaImage file (MHA or MHD): convert it to NIfTI"),
    (b"ndims", "a MetaImage file (MHA or MHD): convert it to NIfTI"),
    (b"\x00\x00\x00\x01\x00\x00", "a FreeSurfer MGH file: convert it to NIfTI (mri_convert)"),
    (b"bzh", "a bzip2 file: unpack it (bunzip2)"),
    (b"pk\x03\x04", "a zip archive (or a NumPy .npz file): unpack it, and name the image in it"),
    (b"\xfd7zxz", "an xz file: unpack it"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (b"rar!", "a RAR archive: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it"),
    (b"\x1f\x8b", "a file that was compressed twice with gzip: unpack it once (gunzip)"),
    (b"\x93numpy", "a NumPy array, which has no voxel size: write it as NIfTI with its affine"),
    (b"\x89hdf", "an HDF5 file (MATLAB, MINC): convert it to NIfTI"),
    (b"cdf\x01", "a MINC file: convert it to NIfTI"),
    (b"\x89png", "a picture (PNG), which has no Hounsfield units: export the scan again"),
    (b"\xff\xd8\xff", "a picture (JPEG), which has no Hounsfield units: export the scan again"),
    (b"gif8", "a picture (GIF), which has no Hounsfield units: export the scan again"),
    (b"ii*\x00", "a picture (TIFF), which has no Hounsfield units: export the scan again"),
    (b"mm\x00*", "a picture (TIFF), which has no Hounsfield units: export the scan again"),
    (b"%pdf", "a PDF document"),
    (b"\x08\x00\x00\x00", "a DICOM file: use hepred import-dicom"),
    (b"\x08\x00\x05\x00", "a DICOM file: use hepred import-dicom"),
    (b"\x08\x00\x08\x00", "a DICOM file: use hepred import-dicom"),
)


class NiftiError(ValueError):
    """What a file must be, and what it is instead, as words after "must" and after "got"."""

    def __init__(self, rule: str, got: str) -> None:
        super().__init__(f"must {rule}, got {got}")
        self.rule, self.got = rule, got


@dataclass(frozen=True, eq=False)
class Stored:
    """A NIfTI file as it is stored.

    Attributes
    ----------
    header : nibabel Nifti1Header or Nifti2Header
    affine : ndarray, shape (4, 4)
        From voxels to mm; the sform where its code is set, else the qform.
    voxels : ndarray of three dimensions
        Before slope and intercept, in the file's own order of axes; trailing axes of length 1 are dropped.
    slope, intercept : float
        HU = slope * voxel + intercept.
    """

    header: nib.Nifti1Header
    affine: np.ndarray
    voxels: np.ndarray
    slope: float
    intercept: float


def read_nifti(stream: BinaryIO, size: int) -> Stored:
    """Read NIfTI-1 or 2, compressed by gzip or not, whatever the file's name says.

    Parameters
    ----------
    stream : binary file, at its beginning
    size : int
        Its length in bytes.

    Raises
    ------
    NiftiError
        In words that need no knowledge of file formats.
    """
    beginning = stream.read(2)
    stream.seek(0)
    if not beginning:
        raise NiftiError(NIFTI, "0 bytes: copy or export the file again")
    packed = beginning == b"\x1f\x8b"
    pieces = _unpacked(stream) if packed else iter(lambda: stream.read(CHUNK), b"")
    try:
        return _read(_Bytes(pieces), size * DEFLATE_RATIO if packed else size)
    except zlib.error as error:
        fault = "its checksum is wrong" if "check" in str(error) else "it cannot be unpacked"
        raise NiftiError(WHOLE, f"a damaged file ({fault}): copy or export it again") from error


class _Bytes:
    """Bytes that come in pieces, taken in order."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces, self.rest = pieces, b""

    def take(self, count: int) -> bytearray:
        """The next ``count`` bytes, or all that are left."""
        taken, filled = bytearray(count), 0
        while filled < count and (self.rest or self._next()):
            part, self.rest = self.rest[: count - filled], self.rest[count - filled :]
            taken[filled : filled + len(part)] = part
            filled += len(part)
        return taken if filled == count else taken[:filled]

    def skip(self, count: int) -> None:
        while count > 0 and (self.rest or self._next()):
            step = min(count, len(self.rest))
            self.rest, count = self.rest[step:], count - step

    def _next(self) -> bool:
        self.rest = next(self.pieces, b"")
        return bool(self.rest)


def _unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """The content of a gzip file of one or several members; zeros after the last one are padding."""
    data = stream.read(CHUNK)
    while data:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if not data:
                raise NiftiError(WHOLE, "a compressed file that ends too early: copy or export it again")
            piece = member.decompress(data)
            data = b"" if member.eof else stream.read(CHUNK)
            if piece:
                yield piece
        data = member.unused_data.lstrip(b"\0")
        while not data and (more := stream.read(CHUNK)):
            data = more.lstrip(b"\0")


def _read(source: _Bytes, most: int) -> Stored:
    """The image; ``most`` is the largest number of bytes that can follow."""
    beginning = bytes(source.take(540))
    header = _header(beginning)
    shape, dtype = _shape_and_type(header)
    first, needed = _first_byte(header), math.prod(shape) * dtype.itemsize
    if first + needed > most:
        got = f"a file that ends too early ({_times(shape)} voxels of {dtype} need {needed} bytes)"
        raise NiftiError(WHOLE, f"{got}: copy or export it again")
    early = beginning[first:]
    source.skip(first - len(beginning))
    if early:
        source.rest = early + source.rest
    data = source.take(needed)
    if len(data) < needed:
        got = f"a file that ends too early ({len(data)} of the {needed} bytes of {_times(shape)} voxels)"
        raise NiftiError(WHOLE, f"{got}: copy or export it again")
    # To the end of the file, where the checksum is, unless far more follows than belongs to the image.
    source.skip(SPARE)
    voxels = np.frombuffer(data, dtype).reshape(shape, order="F")
    return _stored(header, voxels)


def _first_byte(header: nib.Nifti1Header) -> int:
    try:
        first = int(header.get_data_offset())
    except (ValueError, OverflowError):
        first = -1
    if not int(header.sizeof_hdr) <= first <= EXTENSIONS:
        got = f"a damaged header that puts the first voxel at byte {header['vox_offset']:g}: copy or export it again"
        raise NiftiError(WHOLE, got)
    return first


def _stored(header: nib.Nifti1Header, voxels: np.ndarray) -> Stored:
    try:
        affine = header.get_best_affine()
        slope, intercept = header.get_slope_inter()
    except (HeaderDataError, ValueError) as error:
        reason = "a broken quaternion in its qform, and no sform" if "w2" in str(error) else _header_fault(error)
        raise NiftiError(WHOLE, f"{reason}: export the file again") from error
    return Stored(header, affine, voxels, 1.0 if slope is None else slope, 0.0 if intercept is None else intercept)


def _header(beginning: bytes) -> nib.Nifti1Header:
    orders = [order for order in ("little", "big") if int.from_bytes(beginning[:4], order) in _LENGTHS]
    if not orders:
        raise NiftiError(NIFTI, _other_kind(beginning))
    kind = _LENGTHS[int.from_bytes(beginning[:4], orders[0])]
    length = int(kind.sizeof_hdr)
    if len(beginning) < length:
        raise NiftiError(WHOLE, f"a file that ends too early ({len(beginning)} bytes): copy or export it again")
    if kind is nib.Nifti1Header and beginning[344:348] != b"n+1\0":
        if beginning[344:348] == b"ni1\0":
            raise NiftiError(NIFTI, "the header half of a .hdr/.img pair: save both as one .nii or .nii.gz file")
        if not any(beginning[344:348]):
            raise NiftiError(NIFTI, "an Analyze 7.5 header, which does not tell left from right: export NIfTI")
    try:
        header = kind(beginning[:length], check=False)
        header.check_fix(logger=_QUIET)  # as nibabel repairs it, without its messages
        return header
    except (HeaderDataError, WrapStructError, ValueError, OverflowError, KeyError) as error:
        raise NiftiError(WHOLE, f"a damaged header ({_header_fault(error)}): copy or export the file again") from error


def _shape_and_type(header: nib.Nifti1Header) -> tuple[tuple[int, ...], np.dtype]:
    """Shape without trailing axes of length 1 and the type of a voxel, refused where they cannot be a scan's."""
    try:
        shape = tuple(int(length) for length in header.get_data_shape())
        dtype = header.get_data_dtype()
    except (HeaderDataError, ValueError, OverflowError, KeyError) as error:
        raise NiftiError(WHOLE, f"a damaged header ({_header_fault(error)}): copy or export the file again") from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if min(shape, default=0) < 1:
        raise NiftiError("hold voxels", f"shape {_times(shape)}")
    if dtype.kind not in "iuf":
        raise NiftiError("hold one plain number per voxel", _kind_of_voxel(dtype))
    if len(shape) > 3:
        raise NiftiError(VOLUME, f"shape {_times(shape)} (several frames or volumes in one file): save one of them")
    if len(shape) < 3:
        raise NiftiError(VOLUME, f"shape {_times(shape)} (a single slice): save the whole scan as one file")
    if math.prod(shape) * (dtype.itemsize + 4) > MEMORY:
        gigabytes = math.prod(shape) * dtype.itemsize / 1e9
        got = f"{_times(shape)} voxels of {dtype} ({gigabytes:,.3g} GB)"
        raise NiftiError(
            "be no larger than a head CT", f"{got}: a damaged header, or save thicker slices of the head as int16"
        )
    return shape, dtype


def _kind_of_voxel(dtype: np.dtype) -> str:
    if dtype.names:
        return "a colour picture (RGB), which has no Hounsfield units: export the scan itself"
    if dtype.kind == "c":
        return f"complex numbers ({dtype}): save the real part"
    return str(dtype)


def _other_kind(beginning: bytes) -> str:
    """What a file is that is no NIfTI file."""
    if beginning[128:132] == b"DICM":
        return "a DICOM file: use hepred import-dicom"
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")[:32].lower()
    for signature, words in _BEGINNINGS:
        if start.startswith(signature) or beginning.lower().startswith(signature):
            return words
    if beginning[257:262] == b"ustar":
        return "a tar archive: unpack it, and name the image in it"
    if not any(beginning):
        return "a file that begins with zeros only: copy or export it again"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in beginning):
        return "a text file: name the image itself"
    return "a file of another or unknown format: export the scan as NIfTI (.nii or .nii.gz)"


def _header_fault(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


# Any regular file: read within bounds, written as a whole


class UnreadableError(Exception):
    """What is at a path instead of a file that can be read: the words after "got"."""


def regular_bytes(path: Path, most: int) -> bytes:
    """All bytes of a regular file.

    Parameters
    ----------
    path : Path
    most : int
        Bytes; a longer file is refused.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    UnreadableError
        A folder, a pipe, a device, a longer file, or one that may not be read.
    """
    try:
        # Without O_NONBLOCK a pipe would be waited for; what it is, the descriptor says, whatever takes its place.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            kind = stat.S_IFMT(status.st_mode)
            if kind != stat.S_IFREG:
                raise UnreadableError("a pipe" if kind == stat.S_IFIFO else "a device")
            content = stream.read() if status.st_size <= most else None
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise UnreadableError("a folder") from error
    except (OSError, ValueError) as error:
        raise UnreadableError(_reason(path, error)) from error
    if content is None or len(content) > most:
        size = f"{most / 1e6:g} MB" if most >= 1e6 else f"{most / 1e3:g} kB"
        raise UnreadableError(f"more than {size}")
    return content


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which is flushed to the disk and renamed to ``path`` when that is done.

    A killed process leaves no half file under ``path``, and a full disk leaves no file at all.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())  # or a power cut could leave a renamed file without its content
        os.replace(temporary, path)
    except Exception:
        temporary.unlink(missing_ok=True)
        raise


def _reason(path: Path, error: Exception) -> str:
    """Why a file could not be opened; a socket says so by no error of its own."""
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            return "a socket"
    except (OSError, ValueError):
        pass
    return getattr(error, "strerror", None) or str(error)
