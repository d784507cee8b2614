"""The series of a folder of DICOM files, told from their headers."""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from hepred_lib.intake.stacks import (
    GROUPS,
    NoFileError,
    Slice,
    Stack,
    groups_of,
    hole_mm,
    in_order,
    opened,
    places,
    split,
    within,
)
from hepred_lib.progress import progress

_TEXTS = ("SeriesDescription", "ProtocolName", "StudyDescription")  # the nearest to the series first
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
    description : str
        Of the series, the protocol and the study, in lower case.
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
    description: str
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
    names: frozenset[str] = frozenset()
    birth_dates: frozenset[str] = frozenset()
    sexes: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    instances: frozenset[str] = frozenset()
    has_patient_id: bool = True
    slices: tuple[Slice, ...] = ()
    fault: str = ""

    @property
    def hole_mm(self) -> float:
        """The longest gap in which slices are missing; 0 where there is none."""
        return hole_mm(self.places_mm)

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
    files: dict[tuple[str, str, str], list[Series]] = defaultdict(list)
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
            files[file.patient, file.study, file.uid].append(file)
    found = [series for part in files.values() for series in _series_of(part)]
    found.sort(key=lambda series: (series.patient, series.study, series.number, series.uid))
    return Found(found, foreign, tuple(damaged))


def _files(source: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if name != "DICOMDIR" and not name.startswith("."))


class _DamagedError(Exception):
    """A DICOM file that cannot be read."""


def _file(path: Path, folder: str) -> Series | None:
    """The series as one file tells it; None for what is no DICOM or belongs to no series by its kind."""
    try:
        with warnings.catch_warnings():  # of values against the standard, which scanners write
            warnings.simplefilter("ignore")
            with opened(path) as stream:
                header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_TAGS)
            kind = header.file_meta.get("MediaStorageSOPClassUID", "")
            series = _alone(header, path, folder)
    except (InvalidDicomError, NoFileError):
        if path.suffix.lower() in _CALLED_DICOM:
            raise _DamagedError from None
        return None
    except Exception:  # values are decoded one by one, and a damaged one may raise anything
        raise _DamagedError from None
    if not series.uid and kind != MediaStorageDirectoryStorage:
        raise _DamagedError
    return series if series.uid else None


def _alone(header: pydicom.Dataset, path: Path, folder: str) -> Series:
    """The series of one file, its images still to be placed."""
    groups, sex = groups_of(header, 0), _text(header, "PatientSex")
    names, birth_dates, instances = (
        frozenset(filter(None, [_text(header, name)])) for name in ("PatientName", "PatientBirthDate", "SOPInstanceUID")
    )
    return Series(
        patient=_text(header, "PatientID") or folder,
        study=_text(header, "StudyInstanceUID"),
        uid=_text(header, "SeriesInstanceUID"),
        number=int(_number(header, "SeriesNumber", 0)),
        description=" ".join(filter(None, (_text(header, name).lower() for name in _TEXTS))),
        modality=_text(header, "Modality"),
        body_part=_text(header, "BodyPartExamined").upper(),
        contrast=_text(header, "ContrastBolusAgent"),
        kernel=_kernel(groups),
        image_type=_image_type(groups),
        thickness_mm=_thickness(groups),
        upright=np.nan,
        places_mm=(),
        taken_at=_moment(header),
        age=_age(_text(header, "PatientAge")),
        sex=sex if sex in ("F", "M") else "",
        files=(path,),
        names=names,
        birth_dates=birth_dates,
        sexes=frozenset(filter(None, [sex])),
        texts=tuple(_text(header, name) for name in _TEXTS),
        instances=instances,
        has_patient_id=bool(_text(header, "PatientID")),
        slices=_slices(header, path),
    )


def _series_of(files: list[Series]) -> list[Series]:
    """One series for each stack under a UID, of all its files; those after the largest carry a number behind it.

    The first header's words count, every slice's place, and the earliest time.
    """
    by_path = {file.files[0]: file for file in files}
    images = [image for file in files for image in file.slices]
    # Echoes and directions of another modality need not be told apart: it is no CT.
    stacks = split(images) if files[0].modality == "CT" else [Stack(tuple(in_order(images)))]
    found = []
    for k, stack in enumerate(stacks):
        first, placed = stack.slices[0], all(image.placed for image in stack.slices)
        paths = tuple(dict.fromkeys(image.path for image in stack.slices))
        parts = [by_path[path] for path in paths]
        every = ("names", "birth_dates", "sexes", "instances")
        one = replace(
            parts[0],
            uid=f"{parts[0].uid}#{k + 1}" if k else parts[0].uid,
            kernel=first.kernel,
            image_type=first.image_type,
            thickness_mm=first.thickness_mm or np.nan,
            upright=float(abs(first.normal[2])) if placed else np.nan,
            places_mm=tuple(dict.fromkeys(np.round(places(stack.slices), 2).tolist())) if placed else (),
            taken_at=min((part.taken_at for part in parts if part.taken_at is not None), default=None),
            files=paths,
            has_patient_id=all(part.has_patient_id for part in parts),
            slices=stack.slices,
            fault=stack.fault,
            **{name: frozenset().union(*(getattr(part, name) for part in parts)) for name in every},
        )
        found.append(one)
    return found


def _slices(header: pydicom.Dataset, path: Path) -> tuple[Slice, ...]:
    """Each image of a file; a file of many frames says frame by frame where they lie and how they were made."""
    frames = len(header.get(GROUPS[1]) or [])
    return tuple(_slice(header, path, frame) for frame in range(max(frames, 1)))


def _slice(header: pydicom.Dataset, path: Path, frame: int) -> Slice:
    groups = groups_of(header, frame)
    turn = _numbers(within(groups, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    if turn is not None:  # two directions of length 1 at right angles
        rows, columns = np.array(turn).reshape(2, 3)
        products = (rows @ rows - 1, columns @ columns - 1, rows @ columns)
        turn = turn if np.abs(products).max() < RIGHT_ANGLE else None
    sizes = _numbers(within(groups, "PixelMeasuresSequence", "PixelSpacing"), 2)
    return Slice(
        path=path,
        frame=frame,
        turn=turn,
        corner=_numbers(within(groups, "PlanePositionSequence", "ImagePositionPatient"), 3),
        pixel_mm=sizes if sizes and min(sizes) > 0 else None,
        shape=(int(_number(header, "Rows", 0)), int(_number(header, "Columns", 0))),
        kernel=_kernel(groups),
        image_type=_image_type(groups),
        thickness_mm=max(np.nan_to_num(_thickness(groups)), 0.0),
        frame_of_reference=_text(header, "FrameOfReferenceUID"),
        syntax=str(header.file_meta.get("TransferSyntaxUID", "")),
        number=int(_number(header, "SeriesNumber", -1)),
        acquisition=int(_number(header, "AcquisitionNumber", -1)),
        instance=frame if frame or header.get(GROUPS[1]) else int(_number(header, "InstanceNumber", -1)),
        time=_text(header, "AcquisitionDate") + _text(header, "AcquisitionTime"),
    )


def _kernel(groups: Sequence[pydicom.Dataset]) -> str:
    return _several(within(groups, "CTReconstructionSequence", "ConvolutionKernel"), "/")


def _image_type(groups: Sequence[pydicom.Dataset]) -> tuple[str, ...]:
    """Of the frame where there are many, else of the file."""
    found = within(groups, "CTImageFrameTypeSequence", "FrameType") or within(groups, "", "ImageType")
    return tuple(_several(found, "\\").upper().split("\\"))


def _thickness(groups: Sequence[pydicom.Dataset]) -> float:
    try:
        return float(within(groups, "PixelMeasuresSequence", "SliceThickness"))
    except (TypeError, ValueError):
        return np.nan


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
    study = _told(f"{_text(header, 'StudyDate')[:8]}120000")
    for moment in filter(None, map(_told, whole)):
        if moment.strftime("%H%M%S") in _NO_TIME:
            continue
        if study is None or abs(moment.date() - study.date()) <= timedelta(days=1):
            return moment
    return None


def _told(text: str) -> datetime | None:
    """Date and time of ``YYYYMMDDHHMM``, seconds or more behind it; None where it is none or a day of no meaning."""
    digits = re.match(r"\d*", text).group()
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


def _number(header: pydicom.Dataset, name: str, otherwise: float) -> float:
    try:
        number = float(_text(header, name))
    except ValueError:
        return otherwise
    return number if abs(number) < _LARGEST_INTEGER else otherwise  # NaN too
