"""The series of a folder of DICOM files, told from their headers; one series is one stack of images.

A scanner or an archive may send several things under one SeriesInstanceUID: an overview, a second kernel, a repeated
pass, copies. They are told apart by what the headers say, and only where two images compete for the same place are
pixels read. What only changes on the way up (tube current, kernel, acquisition) leaves one stack.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from hepred_lib.disk import UnreadableError
from hepred_lib.imaging.scans import BARE_DICOM
from hepred_lib.intake.pixels import GROUPS, digest, groups_of, opened, within
from hepred_lib.progress import progress

_TEXTS = ("SeriesDescription", "ProtocolName", "StudyDescription")  # the nearest to the series first
_OF_EVERY_FILE = {
    "names": "PatientName",
    "birth_dates": "PatientBirthDate",
    "sexes": "PatientSex",
    "instances": "SOPInstanceUID",
}
_MOMENTS = ("Acquisition", "Content", "Series", "Study")
_TAGS = [
    *("PatientID", "PatientName", "PatientBirthDate", "PatientAge", "PatientSex", "StudyInstanceUID"),
    *("SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "InstanceNumber", "AcquisitionNumber"),
    *("Modality", "ImageType", "SeriesNumber", "BodyPartExamined", "ContrastBolusAgent", "ConvolutionKernel"),
    *("SliceThickness", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns"),
    *("AcquisitionDateTime", *_TEXTS, *GROUPS),
    *(f"{moment}{part}" for moment in _MOMENTS for part in ("Date", "Time")),
]
_CALLED_DICOM = (".dcm", ".dicom", ".ima")
_LARGEST_INTEGER = 2**31  # of a DICOM integer string
_FAR = 1e6  # mm: no table is so long
RIGHT_ANGLE = 0.01  # of the products of two directions
# What programs write for an unknown day or time: New Year of round years, and the days their calendars count from.
_FIRST_CT, _FIRST_YEAR = 1972, 1900
_NO_YEAR = (1980, 1990, 2000)
_NO_DATE = ("19691231", "18991230", "18991231", "11111111", "99991231", "99990101")
_NO_TIME = ("000000", "235959")


@dataclass(frozen=True)
class Series:
    """One series of one patient.

    Attributes
    ----------
    patient : str
        PatientID; where it is empty, the first folder below the source, or the source for files directly in it.
    study, uid : str
        StudyInstanceUID and SeriesInstanceUID; where a UID holds several stacks, those after the largest have ``#2``,
        ``#3`` ... behind it.
    number : int
    modality, body_part, contrast, kernel : str
        As in the header.
    image_type : tuple of str
    thickness_mm : float
        NaN where the header does not say.
    upright : float
        Cosine between the normal of the slices and the body's axis: 1 for axial slices; NaN where it is not said.
    places_mm : tuple of float
        Places of the slices along their normal, each once, in order.
    taken_at : datetime or None
    age : float
        Years, NaN where the header does not say.
    sex : str
        ``F``, ``M`` or empty.
    files : tuple of Path
        In order of position, copies left out.
    names, birth_dates, sexes : frozenset of str
        Every PatientName, PatientBirthDate and PatientSex of its files, without empty ones: to tell two people under
        one PatientID. They never leave ``identifying/``.
    texts : tuple of str
        Description of the series, of the protocol and of the study, as in the header; empty where there is none.
    instances : frozenset of str
        SOPInstanceUID of its files.
    has_patient_id : bool
        False where PatientID is empty and ``patient`` is a folder.
    slices : tuple of Slice
        The images in order along their normal.
    fault : str
        Why the series cannot be used whatever it is called: PixelSpacing missing or changing, several images at one
        place; empty where nothing is known against it.
    """

    patient: str
    study: str
    uid: str
    number: int
    modality: str
    body_part: str
    contrast: str
    kernel: str
    image_type: tuple[str, ...]
    thickness_mm: float
    upright: float
    places_mm: tuple[float, ...]
    taken_at: datetime | None
    age: float
    sex: str
    files: tuple[Path, ...]
    texts: tuple[str, str, str]
    names: frozenset[str] = frozenset()
    birth_dates: frozenset[str] = frozenset()
    sexes: frozenset[str] = frozenset()
    instances: frozenset[str] = frozenset()
    has_patient_id: bool = True
    slices: tuple[Slice, ...] = ()
    fault: str = ""

    @property
    def description(self) -> str:
        """Of the series, the protocol and the study, in lower case."""
        return " ".join(filter(None, self.texts)).lower()

    @property
    def extent_mm(self) -> float:
        """From the first slice to the last."""
        return self.places_mm[-1] - self.places_mm[0] if self.places_mm else 0.0


class Found(NamedTuple):
    """What lies below a folder.

    Attributes
    ----------
    series : list of Series
        By patient, study and number.
    foreign : int
        Files that are no DICOM image of a series.
    damaged : tuple of Path
        DICOM files that cannot be read.
    """

    series: list[Series]
    foreign: int
    damaged: tuple[Path, ...]


def find_series(source: Path) -> Found:
    """All series below a folder; what lies under one SeriesInstanceUID is sorted into stacks, one Series each.

    Files may have any name; a ``DICOMDIR``, hidden files and links to folders are passed over. The pixels of images
    that compete for one place are compared, and no others are read.
    """
    told: dict[Path, dict[str, Any]] = {}
    images: dict[tuple[str, str, str], list[Slice]] = defaultdict(list)
    foreign, damaged = 0, []
    for path in progress(list(_files(source)), desc="headers", unit="file"):
        parts = path.relative_to(source).parts
        try:
            file = _file(path, folder=parts[0] if len(parts) > 1 else source.resolve().name)
        except _DamagedError:
            damaged.append(path)
            continue
        if file is None:
            foreign += 1
        else:
            told[path], slices = file
            images[told[path]["patient"], told[path]["study"], told[path]["uid"]] += slices
    found = [series for part in images.values() for series in _series_of(part, told)]
    found.sort(key=lambda series: (series.patient, series.study, series.number, series.uid))
    return Found(found, foreign, tuple(damaged))


def _files(source: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if name != "DICOMDIR" and not name.startswith("."))


class _DamagedError(Exception):
    """A DICOM file that cannot be read."""


def _file(path: Path, folder: str) -> tuple[dict[str, Any], list[Slice]] | None:
    """The fields of a file's series by their names, and its images; None for what is no DICOM or of no series."""
    try:
        with warnings.catch_warnings():  # of values against the standard, which scanners write
            warnings.simplefilter("ignore")
            with opened(path) as stream:
                bare = stream.read(4) in BARE_DICOM
                stream.seek(0)
                header = pydicom.dcmread(stream, stop_before_pixels=True, force=bare, specific_tags=_TAGS)
            kind = header.file_meta.get("MediaStorageSOPClassUID", "")
            # A file of many frames says frame by frame where they lie and how they were made.
            frames = range(max(len(header.get(GROUPS[1]) or []), 1))
            told, slices = _told(header, folder), [_slice(header, path, frame) for frame in frames]
    except (InvalidDicomError, UnreadableError) as error:
        may_not_be_read = isinstance(error, UnreadableError) and path.is_file()
        if may_not_be_read or path.suffix.lower() in _CALLED_DICOM:
            raise _DamagedError from None
        return None
    except Exception:  # values are decoded one by one, and a damaged one may raise anything
        raise _DamagedError from None
    if not told["uid"] and kind != MediaStorageDirectoryStorage:
        raise _DamagedError
    return (told, slices) if told["uid"] else None


def _told(header: pydicom.Dataset, folder: str) -> dict[str, Any]:
    """The fields of a series that one header tells."""
    sex = _text(header, "PatientSex")
    return {
        "patient": _text(header, "PatientID") or folder,
        "study": _text(header, "StudyInstanceUID"),
        "uid": _text(header, "SeriesInstanceUID"),
        "number": int(_number(header.get("SeriesNumber"), 0)),
        "modality": _text(header, "Modality"),
        "body_part": _text(header, "BodyPartExamined").upper(),
        "contrast": _text(header, "ContrastBolusAgent"),
        "taken_at": _moment(header),
        "age": _age(_text(header, "PatientAge")),
        "sex": sex if sex in ("F", "M") else "",
        "texts": tuple(_text(header, name) for name in _TEXTS),
        "has_patient_id": bool(_text(header, "PatientID")),
        **{field: frozenset(filter(None, [_text(header, name)])) for field, name in _OF_EVERY_FILE.items()},
    }


def _series_of(images: list[Slice], told: Mapping[Path, dict[str, Any]]) -> list[Series]:
    """One series for each stack under a UID, of all its images; those after the largest carry a number behind it.

    The first header's words count, every slice's place, and the earliest time.
    """
    # Echoes and directions of another modality need not be told apart: it is no CT.
    stacks = split(images) if told[images[0].path]["modality"] == "CT" else [Stack(tuple(in_order(images)))]
    found = []
    for k, stack in enumerate(stacks):
        first, placed = stack.slices[0], all(image.placed for image in stack.slices)
        paths = tuple(dict.fromkeys(image.path for image in stack.slices))
        parts = [told[path] for path in paths]
        of_all = {
            "uid": f"{parts[0]['uid']}#{k + 1}" if k else parts[0]["uid"],
            "taken_at": min((part["taken_at"] for part in parts if part["taken_at"] is not None), default=None),
            "has_patient_id": all(part["has_patient_id"] for part in parts),
            **{name: frozenset().union(*(part[name] for part in parts)) for name in _OF_EVERY_FILE},
        }
        series = Series(
            **(parts[0] | of_all),
            kernel=first.kernel,
            image_type=first.image_type,
            thickness_mm=first.thickness_mm or np.nan,
            upright=float(abs(first.normal[2])) if placed else np.nan,
            places_mm=tuple(dict.fromkeys(np.round(places(stack.slices), 2).tolist())) if placed else (),
            files=paths,
            slices=stack.slices,
            fault=stack.fault,
        )
        found.append(series)
    return found


def _slice(header: pydicom.Dataset, path: Path, frame: int) -> Slice:
    groups = groups_of(header, frame)
    turn = _numbers(within(groups, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    if turn is not None:  # two directions of length 1 at right angles
        rows, columns = np.array(turn).reshape(2, 3)
        products = (rows @ rows - 1, columns @ columns - 1, rows @ columns)
        turn = turn if np.abs(products).max() < RIGHT_ANGLE else None
    sizes = _numbers(within(groups, "PixelMeasuresSequence", "PixelSpacing"), 2)
    kind = within(groups, "CTImageFrameTypeSequence", "FrameType") or within(groups, "", "ImageType")
    thickness = _number(within(groups, "PixelMeasuresSequence", "SliceThickness"), 0.0)
    return Slice(
        path=path,
        frame=frame,
        turn=turn,
        corner=_numbers(within(groups, "PlanePositionSequence", "ImagePositionPatient"), 3),
        pixel_mm=sizes if sizes and min(sizes) > 0 else None,
        shape=(int(_number(header.get("Rows"), 0)), int(_number(header.get("Columns"), 0))),
        kernel=_several(within(groups, "CTReconstructionSequence", "ConvolutionKernel"), "/"),
        image_type=tuple(_several(kind, "\\").upper().split("\\")),
        thickness_mm=max(thickness, 0.0),
        frame_of_reference=_text(header, "FrameOfReferenceUID"),
        syntax=str(header.file_meta.get("TransferSyntaxUID", "")),
        number=int(_number(header.get("SeriesNumber"), -1)),
        acquisition=int(_number(header.get("AcquisitionNumber"), -1)),
        instance=frame if frame or header.get(GROUPS[1]) else int(_number(header.get("InstanceNumber"), -1)),
        time=_text(header, "AcquisitionDate") + _text(header, "AcquisitionTime"),
    )


def _numbers(values: Sequence[float], count: int) -> tuple[float, ...] | None:
    """So many finite numbers, or None."""
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != count:
        return None
    numbers = tuple(map(float, values))
    return numbers if max(map(abs, numbers)) < _FAR else None  # False for NaN too


def _moment(header: pydicom.Dataset) -> datetime | None:
    """When the image was acquired; the nearest that the header says, None without a date and a time.

    Anonymizers write a day and a time of their own for what they remove: these say nothing. A date more than a day
    from that of the study is taken for an error.
    """
    pairs = [(_text(header, f"{moment}Date"), _text(header, f"{moment}Time")) for moment in _MOMENTS]
    whole = [_text(header, "AcquisitionDateTime"), *(date + time for date, time in pairs if date and time)]
    study = _date_and_time(f"{_text(header, 'StudyDate')[:8]}120000")
    for moment in filter(None, map(_date_and_time, whole)):
        if moment.strftime("%H%M%S") in _NO_TIME:
            continue
        if study is None or abs(moment.date() - study.date()) <= timedelta(days=1):
            return moment
    return None


def _date_and_time(text: str) -> datetime | None:
    """Date and time of ``YYYYMMDDHHMM``, seconds or more behind it; None where it is none or a day of no meaning."""
    digits = re.split(r"\D", text, maxsplit=1)[0]
    if len(digits) < 12:
        return None
    try:
        moment = datetime.strptime(f"{digits[:14]:0<14}", "%Y%m%d%H%M%S")
    except ValueError:
        return None
    new_year = (moment.month, moment.day) == (1, 1) and (moment.year < _FIRST_CT or moment.year in _NO_YEAR)
    return None if new_year or digits[:8] in _NO_DATE or moment.year < _FIRST_YEAR else moment


def _age(text: str) -> float:
    """Years of ``065Y``, ``030M``, ``010W`` or ``010D``."""
    unit = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}.get(text[-1:].upper())
    return float(int(int(text[:-1]) / unit)) if unit and text[:-1].isdigit() else np.nan


def _text(header: pydicom.Dataset, name: str) -> str:
    value = header.get(name)
    return "" if value is None else " ".join(str(value).split())


def _several(value: object, joint: str) -> str:
    """One text or several, joined."""
    text = value if isinstance(value, str) or not hasattr(value, "__iter__") else joint.join(map(str, value))
    return " ".join(str(text).split())


def _number(value: object, otherwise: float) -> float:
    """A header's number; another where it has none, several, or one that no header can have."""
    try:
        number = float(str(value))
    except ValueError:
        return otherwise
    return number if abs(number) < _LARGEST_INTEGER else otherwise  # NaN too


# --- stacks: one pass over the body in one rendering

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
    pixel_mm: tuple[float, ...] | None
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


def places(images: Sequence[Slice]) -> np.ndarray:
    """Place of each image along the normal of the first, mm."""
    return np.array([image.corner for image in images]) @ images[0].normal


def is_even(places_mm: np.ndarray) -> bool:
    """Whether slices lie at even distances, each within a tenth of a gap."""
    if len(places_mm) < 3:
        return True
    even = np.linspace(places_mm[0], places_mm[-1], len(places_mm))
    return bool(np.abs(places_mm - even).max() <= REGULAR * (even[1] - even[0]))


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
    parts: dict[Any, list[Slice]] = defaultdict(list)
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
