"""The stored values of single DICOM images, refused in one sentence where they are no whole grey picture.

A file is opened so that a pipe is not waited for and a small file cannot unpack to gigabytes. Values that pydicom alone
cannot decode stay compressed; :mod:`hepred_lib.intake.conversion` has dcm2niix decode them.
"""

from __future__ import annotations

import hashlib
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ImplicitVRLittleEndian, RLELossless

from hepred_lib import disk
from hepred_lib.literal import shown

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_LAYOUT = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
LARGEST_SIDE = 8192  # pixels; a CT has 512, seldom 2048
LARGEST_SLOPE, LARGEST_INTERCEPT = 1000, 100_000  # a CT's are 1 and -1024
LARGEST_UNPACKED = 200_000_000  # bytes of a deflated file: pydicom unpacks it as a whole
_DEFLATED = re.compile(rb"\x02\x00\x10\x00UI..1\.2\.840\.10008\.1\.2\.1\.99", re.DOTALL)  # TransferSyntaxUID


class PixelError(ValueError):
    """An image whose pixel data cannot be used, and why."""

    def __init__(self, words: str) -> None:
        super().__init__(shown(words, 240))


@dataclass(frozen=True, eq=False)
class Stored:
    """The stored values of one image.

    Attributes
    ----------
    values : ndarray of shape (rows, columns), or None
        None where they are compressed with a codec that pydicom cannot be relied on to have.
    compressed : bytes
        The image as it stands in the file where ``values`` is None.
    rescale : tuple of float, or None
        Slope and intercept; None where the header has no intercept.
    layout : dict
        Rows, columns and bits by their DICOM names.
    syntax : str
        TransferSyntaxUID.
    """

    values: np.ndarray | None
    compressed: bytes
    rescale: tuple[float, float] | None
    layout: dict[str, int]
    syntax: str

    def hu(self, values: np.ndarray | None = None) -> np.ndarray:
        """Stored values (by default its own) in Hounsfield units, rounded to int16."""
        slope, intercept = self.rescale or (1.0, 0.0)
        hu = np.asarray(self.values if values is None else values, dtype=np.float32) * slope + intercept
        return np.clip(np.rint(hu), -32768, 32767).astype(np.int16)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A DICOM file; a pipe is not waited for, and a small file that unpacks to gigabytes is not unpacked.

    Raises
    ------
    OSError
        As :func:`hepred_lib.disk.opened`, and for a small file that unpacks to gigabytes.
    """
    with disk.opened(path) as (stream, _):
        start = stream.read(8192)
        if _DEFLATED.search(start):
            _require_bounded(start, stream)
        stream.seek(0)
        yield stream


def _require_bounded(start: bytes, stream: BinaryIO) -> None:
    """Refuse deflated data that are damaged, or unpack to more than an image has."""
    stream.seek(144 + int.from_bytes(start[140:144], "little"))  # behind the file meta information, by its own length
    unpacking, total = zlib.decompressobj(wbits=-15), 0
    try:
        while not unpacking.eof and (packed := unpacking.unconsumed_tail or stream.read(1 << 16)):
            total += len(unpacking.decompress(packed, 1 << 22))
            if total > LARGEST_UNPACKED:
                raise OSError(f"deflated data that unpack to more than {LARGEST_UNPACKED // 1_000_000} MB")
    except zlib.error as error:
        raise OSError("damaged deflated data") from error


def read_stored(path: Path, frames: Sequence[int]) -> list[Stored]:
    """The stored values of some images of one file.

    Raises
    ------
    PixelError
        Pixel data are missing or short, in colour, or stored in bits that do not end at the lowest.
    """
    try:
        with warnings.catch_warnings():  # of values against the standard, and of bytes behind the last image
            warnings.simplefilter("ignore")
            with opened(path) as stream:
                header = pydicom.dcmread(stream, force=True)
            _check(header)
            return [_stored(header, frame) for frame in frames]
    except PixelError:
        raise
    except Exception as error:  # values are decoded one by one, and a damaged one may raise anything
        raise PixelError(f"pixel data cannot be read ({shown(error, 160).rstrip('.')})") from error


def digest(path: Path, frame: int) -> str:
    """Equal for two images that show the same; empty where the pixel data cannot be used."""
    try:
        (stored,) = read_stored(path, [frame])
    except PixelError:
        return ""
    content = stored.compressed or stored.hu().tobytes()
    return hashlib.sha256(content).hexdigest()


def within(groups: Iterable[pydicom.Dataset], sequence: str, name: str):
    """A value of the first group that has it, itself or in its sequence; an empty tuple if none has."""
    for group in groups:
        for item in (group, *(group.get(sequence) or [])):
            value = item.get(name)
            if value is not None and value != "" and (not hasattr(value, "__len__") or len(value)):
                return value
    return ()


def groups_of(header: pydicom.Dataset, frame: int) -> tuple[pydicom.Dataset, ...]:
    """Where a value of one image may be said: its own groups, those of all images, the header."""
    shared, frames = (header.get(name) or [] for name in GROUPS)
    return (*frames[frame : frame + 1], *shared, header)


def _check(header: pydicom.Dataset) -> None:
    """Refuse pixel data that are no grey picture of a CT, or not all there."""
    if "PixelData" not in header or not header.PixelData:
        raise PixelError("pixel data are missing")
    rows, columns, bits = header.Rows, header.Columns, header.BitsStored
    if not (0 < rows <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE):
        raise PixelError(f"the image has {rows} x {columns} pixels, as no CT has")
    if header.get("SamplesPerPixel", 1) != 1:
        raise PixelError(f"the image has {header.SamplesPerPixel} values a pixel, as a colour picture has")
    if header.get("HighBit", bits - 1) != bits - 1:
        raise PixelError(f"the highest of {bits} bits is said to be bit {header.HighBit}")
    needed = rows * columns * header.BitsAllocated // 8 * int(header.get("NumberOfFrames") or 1)
    if len(header.PixelData) < needed and not _syntax(header).is_compressed:
        raise PixelError(f"pixel data are short, {len(header.PixelData)} of {needed} bytes")


def _syntax(header: pydicom.Dataset) -> UID:
    return UID(header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))


def _stored(header: pydicom.Dataset, frame: int) -> Stored:
    header.file_meta.TransferSyntaxUID = syntax = _syntax(header)
    layout = {name: int(header[name].value) for name in _LAYOUT}
    groups = groups_of(header, frame)
    slope, intercept = (
        within(groups, "PixelValueTransformationSequence", f"Rescale{n}") for n in ("Slope", "Intercept")
    )
    rescale = None  # a slope without an intercept says nothing of where water is
    if intercept != ():
        rescale = (1.0 if slope == () else float(slope), float(intercept))
        if not 0 < rescale[0] <= LARGEST_SLOPE:
            raise PixelError(f"RescaleSlope must be above 0 and at most {LARGEST_SLOPE}, got {rescale[0]:g}")
        if not abs(rescale[1]) <= LARGEST_INTERCEPT:
            raise PixelError(f"RescaleIntercept must be within {LARGEST_INTERCEPT} of 0, got {rescale[1]:g}")
    if not syntax.is_encapsulated or syntax == RLELossless:
        return Stored(pixel_array(header, index=frame), b"", rescale, layout, syntax)
    data = get_frame(header.PixelData, frame, number_of_frames=int(header.get("NumberOfFrames") or 1))
    if len(data) < 2:  # no fragment is shorter
        raise PixelError("the compressed image is empty")
    return Stored(None, data, rescale, layout, syntax)
