"""The images under one SeriesInstanceUID, sorted into stacks: one stack is one pass over the body in one rendering.

A scanner or an archive may send several things under one UID: an overview, a second kernel, a repeated pass, copies.
They are told apart by what the headers say, and only where two images compete for the same place are pixels read.
What only changes on the way up (tube current, kernel, acquisition) leaves one stack.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ImplicitVRLittleEndian, RLELossless

from hepred_lib.literal import shown

# --- pixels: the stored values of single images

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_LAYOUT = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
LARGEST_SIDE = 8192  # pixels; a CT has 512, seldom 2048
LARGEST_SLOPE, LARGEST_INTERCEPT = 1000, 100_000  # a CT's are 1 and -1024
LARGEST_UNPACKED = 200_000_000  # bytes of a deflated file: pydicom unpacks it as a whole
_DEFLATED = re.compile(rb"\x02\x00\x10\x00UI..1\.2\.840\.10008\.1\.2\.1\.99", re.DOTALL)  # TransferSyntaxUID


class NoFileError(Exception):
    """What is no regular file: a pipe, a device."""


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
    NoFileError
        A pipe or a device.
    OSError
        It may not be read, or is such a file.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise NoFileError
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


# --- stacks

SAME_MM = 0.1  # two images nearer than this are at one place
REGULAR = 0.1  # of a gap: how far a slice may lie from its place in an even stack
NEAR = 0.45  # of a gap: a slice so near to one of another pass repeats it; at half a gap it lies between
SHARE = 0.5  # of the shorter of two parts
MISSING = 1.9  # times the usual gap; the posterior fossa may be scanned in slices half as thick
LONE_GAPS = 3.0  # an image so far off, and made in another way, is no part of a stack
LONE = 2  # images
CONTIGUOUS = 1.5  # times the thickness of a slice
LONGEST_GAP_MM = 15.0
TURN = 0.01  # 0.6 degrees between the edges of two images
PIXEL = 1e-3  # relative: half a pixel over 512
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


@dataclass(frozen=True, slots=True)
class Slice:
    """One image, as its header tells it; ``None`` or empty where it does not.

    Attributes
    ----------
    path : Path
    frame : int
        Its number within the file, from 0.
    turn : tuple of 6 float, or None
        ImageOrientationPatient: directions of the rows and of the columns.
    corner : tuple of 3 float, or None
        ImagePositionPatient: the middle of the first pixel, LPS mm.
    pixel_mm : tuple of 2 float, or None
        PixelSpacing: between rows, between columns.
    shape : tuple of 2 int
        Rows and columns.
    kernel, frame_of_reference, syntax : str
    image_type : tuple of str
    thickness_mm : float
    number, acquisition, instance : int
        SeriesNumber, AcquisitionNumber, InstanceNumber; -1 where not given.
    time : str
        Date and time of the acquisition as written.
    """

    path: Path
    frame: int
    turn: tuple[float, ...] | None
    corner: tuple[float, ...] | None
    pixel_mm: tuple[float, float] | None
    shape: tuple[int, int]
    kernel: str = ""
    frame_of_reference: str = ""
    syntax: str = ""
    image_type: tuple[str, ...] = ()
    thickness_mm: float = 0.0
    number: int = -1
    acquisition: int = -1
    instance: int = -1
    time: str = ""

    @property
    def placed(self) -> bool:
        """Whether the header says where the image lies."""
        return self.turn is not None and self.corner is not None

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the image."""
        return np.cross(self.turn[:3], self.turn[3:])

    @property
    def is_overview(self) -> bool:
        """Whether the image is a localizer."""
        return "LOCALIZER" in self.image_type

    @property
    def kind(self) -> tuple[str, ...]:
        """The part of ImageType that the standard defines."""
        return self.image_type[:3]


# How an image was made: the same for an image and its copy; the same for the images of one pass in one rendering.
_making = attrgetter("kernel", "image_type", "number", "acquisition", "time", "instance", "thickness_mm")
_way = attrgetter("kernel", "image_type", "acquisition", "thickness_mm")
# What tells two renderings of one pass apart, and what two passes.
_RENDERINGS = ("kernel", "kind", "frame_of_reference")
_PASSES = ("thickness_mm", "number", "acquisition", "time", "instance")


@dataclass(frozen=True)
class Stack:
    """Images of one stack in order along their normal, and why it cannot be used (empty where nothing is known)."""

    slices: tuple[Slice, ...]
    fault: str = ""


def split(images: Iterable[Slice]) -> list[Stack]:
    """The stacks of one series, the one of most images first; copies are dropped."""
    images = list(images)
    placed, without = [i for i in images if i.placed], [i for i in images if not i.placed]
    stacks: list[Stack] = []
    for group, fault in _joined(_groups(placed)):
        parts = [group] if fault else _stacks(group)
        stacks += [Stack(tuple(in_order(part)), fault or _fault(part)) for part in parts]
    stacks.sort(key=_order)
    first = stacks[0].slices if stacks else ()
    if without and first and (without[0].shape, without[0].kind) == (first[0].shape, first[0].kind):
        count = f"{len(without)} of {len(without) + len(first)}"
        return [Stack(first, f"ImagePositionPatient is missing in {count} images"), *stacks[1:]]
    return stacks + ([Stack(tuple(without))] if without else [])


def _order(stack: Stack) -> tuple:
    """Most images first, then upright ones, then those of most pixels."""
    first = stack.slices[0]
    return -len(stack.slices), -round(abs(first.normal[2]), 1), -np.prod(first.shape), first.kernel, first.instance


def in_order(images: Iterable[Slice]) -> list[Slice]:
    """Images along the normal of the first; those without a place as they come."""
    images = list(images)
    if not all(image.placed for image in images):
        return sorted(images, key=lambda image: not image.placed)
    return [images[k] for k in np.argsort(places(images), kind="stable")]


def places(images: list[Slice]) -> np.ndarray:
    """Place of each image along the normal of the first, mm."""
    return np.array([image.corner for image in images]) @ images[0].normal


def hole_mm(places_mm: Iterable[float]) -> float:
    """The longest gap in which slices are missing; 0 where there is none.

    A gap is compared with the three before and the three after it: in the posterior fossa slices may be half as thick.
    """
    gaps = np.diff(np.asarray(list(places_mm), dtype=float))
    around = [
        max((np.median(side) for side in (gaps[max(k - 3, 0) : k], gaps[k + 1 : k + 4]) if len(side)), default=np.inf)
        for k in range(len(gaps))
    ]
    limits = [min(MISSING * usual, LONGEST_GAP_MM) for usual in around]
    return float(max((gap for gap, limit in zip(gaps, limits, strict=True) if gap > limit), default=0.0))


def is_even(places_mm: np.ndarray) -> bool:
    """Whether slices lie at even distances, each within a tenth of a gap."""
    if len(places_mm) < 3:
        return True
    even = np.linspace(places_mm[0], places_mm[-1], len(places_mm))
    return bool(np.abs(places_mm - even).max() <= REGULAR * (even[1] - even[0]))


def _groups(images: list[Slice]) -> list[list[Slice]]:
    """Images of one orientation and one grid of pixels; the largest group first."""
    groups: list[list[Slice]] = []
    for image in images:
        home = next((group for group in groups if _alike(group[0], image)), None)
        if home is None:
            groups.append(home := [])
        home.append(image)
    return sorted(groups, key=len, reverse=True)


def _alike(a: Slice, b: Slice) -> bool:
    if a.shape != b.shape or a.is_overview != b.is_overview:
        return False
    return (a.turn == b.turn or np.allclose(a.turn, b.turn, atol=TURN)) and _same_pixels(a, b)


def _same_pixels(a: Slice, b: Slice) -> bool:
    if a.pixel_mm == b.pixel_mm or a.pixel_mm is None or b.pixel_mm is None:
        return a.pixel_mm == b.pixel_mm
    return np.allclose(a.pixel_mm, b.pixel_mm, rtol=PIXEL)


def _joined(groups: list[list[Slice]]) -> list[tuple[list[Slice], str]]:
    """A group that continues a larger one is part of it, and the whole cannot be used: better none than half a head."""
    whole: list[tuple[list[Slice], str]] = []
    for group in groups:
        for number, (larger, fault) in enumerate(whole):
            if _continues(larger, group):
                whole[number] = [*larger, *group], fault or _change(larger[0], group, len(larger) + len(group))
                break
        else:
            whole.append((group, ""))
    return whole


def _continues(larger: list[Slice], group: list[Slice]) -> bool:
    """Whether a group lies between or next to the slices of a larger one, and not over them."""
    if larger[0].is_overview or group[0].is_overview or abs(larger[0].normal @ group[0].normal) < np.cos(np.pi / 4):
        return False
    normal = larger[0].normal
    own, other = (np.unique([normal @ _centre(image) for image in part]) for part in (larger, group))
    if len(own) < 2:
        return False
    gaps = np.diff(own)
    away = np.abs(own[:, None] - other[None]).min(axis=0)
    covered = np.mean(away < NEAR * np.median(gaps[gaps > SAME_MM])) if (gaps > SAME_MM).any() else 1.0
    return bool(covered <= SHARE and away.min() <= MISSING * gaps.max())


def _centre(image: Slice) -> np.ndarray:
    """Middle of the image; its corner where the size of a pixel is not known."""
    down, right = np.multiply(image.pixel_mm or (0.0, 0.0), np.subtract(image.shape, 1)) / 2
    return np.array(image.corner) + right * np.array(image.turn[:3]) + down * np.array(image.turn[3:])


def _change(first: Slice, group: list[Slice], total: int) -> str:
    """What changes between two parts of one stack, in words."""
    other = group[0]
    if first.shape != other.shape:
        sizes = " and ".join(f"{rows} x {columns}" for rows, columns in (first.shape, other.shape))
        return f"the matrix changes within the series, {sizes}"
    if first.pixel_mm is None or other.pixel_mm is None:
        missing = len(group) if other.pixel_mm is None else total - len(group)
        return f"PixelSpacing is missing in {missing} of {total} images"
    if not _same_pixels(first, other):
        sizes = " and ".join(f"{a:g} x {b:g} mm" for a, b in (first.pixel_mm, other.pixel_mm))
        return f"PixelSpacing changes within the series, {sizes}"
    return "ImageOrientationPatient changes within the series"


def _without_copies(images: list[Slice]) -> list[Slice]:
    """Of images at one place that show the same, the first; of two made the same way, the one that can be read."""
    kept: list[Slice] = []
    for rivals in _at_one_place(images):
        if len(rivals) > 1:
            rivals = _different(sorted(rivals, key=lambda image: image.syntax not in _PLAIN))
        kept += rivals
    return kept


def _different(rivals: list[Slice]) -> list[Slice]:
    """Images that are no copy of another: same pixels; or made the same way, where one is compressed or unreadable."""
    kept: list[tuple[Slice, str]] = []
    contents = [(image, digest(image.path, image.frame)) for image in rivals]
    for image, content in sorted(contents, key=lambda one: not one[1]):  # those that can be read, first
        copied = any(
            (content and content == seen)
            or (_making(image) == _making(other) and (image.syntax != other.syntax or not content))
            for other, seen in kept
        )
        kept += [] if copied else [(image, content)]
    return [image for image in rivals if any(image is other for other, _ in kept)]


def _at_one_place(images: list[Slice]) -> list[list[Slice]]:
    """Images in order of place, those at one place together."""
    if not images:
        return []
    corners = np.array([image.corner for image in images])
    order = np.argsort(places(images), kind="stable")
    ends = np.flatnonzero(np.linalg.norm(np.diff(corners[order], axis=0), axis=1) >= SAME_MM) + 1
    return [[images[k] for k in part] for part in np.split(order, ends)]


def _stacks(images: list[Slice]) -> list[list[Slice]]:
    """Images of one orientation and grid: renderings apart, then passes, then copies out, then what lies far off."""
    parts = [images]
    for name in _RENDERINGS:
        parts = [stack for part in parts for stack in _apart(part, name, _is_rendering)]
    for name in _PASSES:
        parts = [stack for part in parts for stack in ([part] if _is_plain(part) else _apart(part, name, _is_repeat))]
    return [piece for part in parts for piece in _without_lone(_without_copies(part))]


def _is_plain(images: list[Slice]) -> bool:
    """One image at each of several even places."""
    return not _crowded(images) and is_even(np.sort(places(images)))


def _crowded(images: list[Slice]) -> int:
    """At how many places there are several images."""
    return sum(len(rivals) > 1 for rivals in _at_one_place(images))


def _apart(images: list[Slice], name: str, is_other: Callable[[list[Slice], list[Slice]], bool]) -> list[list[Slice]]:
    """Parts that differ in an attribute: stacks of their own where they cover each other, else one stack.

    Where two parts of one stack meet, a place may be in both; the first part's image is used.
    """
    parts: dict[object, list[Slice]] = defaultdict(list)
    for image in images:
        parts[getattr(image, name)].append(image)
    stacks: list[list[Slice]] = []
    if len(parts) == len(images):  # a value for every image
        if name in _RENDERINGS:
            return [images]
        # The first image at every place, the second, and so on.
        ranked = [sorted(rivals, key=attrgetter(name)) for rivals in _at_one_place(images)]
        most = max(map(len, ranked))
        stacks, parts = [[rivals[k] for rivals in ranked if len(rivals) > k] for k in range(most)], {}
    for value in sorted(parts):
        home = next((stack for stack in stacks if not is_other(stack, parts[value])), None)
        if home is None:
            stacks.append(list(parts[value]))
        else:
            taken = np.array([image.corner for image in home])
            away = [np.linalg.norm(taken - np.array(image.corner), axis=1).min() for image in parts[value]]
            home += [image for image, mm in zip(parts[value], away, strict=True) if mm >= SAME_MM]
    ends = [(min(image.instance for image in stack), max(image.instance for image in stack)) for stack in stacks]
    to_and_fro = name == "instance" and any(a[1] > b[0] for a, b in pairwise(ends))
    return [images] if to_and_fro else stacks


def _is_rendering(stack: list[Slice], part: list[Slice]) -> bool:
    """Whether a part covers a stack, each complete by itself or at the same places."""
    shorter, longer = _sorted_places(stack, part)
    inside = np.mean((shorter > longer[0] - SAME_MM) & (shorter < longer[-1] + SAME_MM))
    complete = _is_complete(stack) and _is_complete(part)
    return bool(inside > SHARE and (complete or _is_repeat(stack, part)))


def _is_complete(images: list[Slice]) -> bool:
    """Whether slices lie evenly and leave no room for as many between them."""
    own = np.unique(np.round(places(images), 2))
    thick = images[0].thickness_mm
    return len(own) > LONE and is_even(own) and (thick <= 0 or own[1] - own[0] <= CONTIGUOUS * thick)


def _is_repeat(stack: list[Slice], part: list[Slice]) -> bool:
    """Whether most of a part repeats slices of a stack; few images do so at the very same place only."""
    shorter, longer = _sorted_places(stack, part)
    gaps = [np.median(np.diff(side)) for side in (shorter, longer) if len(side) > 1]
    near = SAME_MM if len(shorter) <= LONE else max(NEAR * max(gaps), SAME_MM)
    away = np.abs(shorter[:, None] - longer[None]).min(axis=1)
    return bool(np.mean(away < near) > SHARE)


def _sorted_places(stack: list[Slice], part: list[Slice]) -> list[np.ndarray]:
    """Places of both along one normal, each once, those of the shorter first."""
    normal = stack[0].normal
    corners = (np.array([image.corner for image in images]) for images in (part, stack))
    return sorted((np.unique(np.round(own @ normal, 2)) for own in corners), key=len)


def _without_lone(images: list[Slice]) -> list[list[Slice]]:
    """One or two images far off the end of a stack and made in another way are set apart."""
    ordered = in_order(images)
    gaps = np.diff(places(ordered))
    if len(ordered) < 3 * LONE:
        return [images]
    far = LONE_GAPS * np.median(gaps)
    for count in range(1, LONE + 1):
        for lone, rest, gap in (
            (ordered[:count], ordered[count:], gaps[count - 1]),
            (ordered[-count:], ordered[:-count], gaps[-count]),
        ):
            if gap > far and all(_way(a) != _way(b) for a in lone for b in rest):
                return [*_without_lone(rest), lone]
    return [images]


def _fault(images: list[Slice]) -> str:
    """Why a stack cannot be used, as far as headers say."""
    if images[0].pixel_mm is None:
        return f"PixelSpacing is missing in {len(images)} of {len(images)} images"
    crowded = _crowded(images)
    return f"{crowded} places with several images that differ" if crowded else ""
