"""The series of a folder of DICOM files, told from their headers; no pixel is read."""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom

from hepred_lib.progress import progress

_TEXTS = ("SeriesDescription", "ProtocolName", "StudyDescription")  # the nearest to the series first
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_MOMENTS = ("Acquisition", "Content", "Series", "Study")
_TAGS = [
    *("PatientID", "PatientName", "PatientBirthDate", "PatientAge", "PatientSex"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    *("Modality", "ImageType", "SeriesNumber", "BodyPartExamined", "ContrastBolusAgent", "ConvolutionKernel"),
    *("SliceThickness", "ImageOrientationPatient", "ImagePositionPatient", "AcquisitionDateTime", *_TEXTS, *_GROUPS),
    *(f"{moment}{part}" for moment in _MOMENTS for part in ("Date", "Time")),
]


@dataclass(frozen=True)
class Series:
    """One series of one patient.

    Attributes
    ----------
    patient : str
        PatientID; where it is empty, the first folder below the source.
    study, uid : str
        StudyInstanceUID and SeriesInstanceUID.
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
        One file an image; copies are left out.
    names, birth_dates, sexes : frozenset of str
        Every PatientName, PatientBirthDate and PatientSex of its files, without empty ones: to tell two people under
        one PatientID. They never leave ``identifying/``.
    texts : tuple of str
        Description of the series, of the protocol and of the study, as in the header; empty where there is none.
    instances : frozenset of str
        SOPInstanceUID of its files.
    has_patient_id : bool
        False where PatientID is empty and ``patient`` is a folder.
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

    @property
    def extent_mm(self) -> float:
        """From the first slice to the last."""
        return self.places_mm[-1] - self.places_mm[0] if self.places_mm else 0.0


@dataclass(frozen=True)
class _Image:
    """One file: its own number, its series as it alone tells it, orientation and place of its slices."""

    instance: str
    series: Series
    planes: tuple[tuple[list[float], list[float]], ...]


def find_series(source: Path) -> tuple[list[Series], int]:
    """All series below a folder, by patient, study and number, and how many files are no DICOM image of a series.

    Files may have any name; a ``DICOMDIR``, hidden files and links to folders are passed over.
    """
    images: dict[tuple[str, str, str], dict[str, _Image]] = defaultdict(dict)
    foreign = 0
    for path in progress(list(_files(source)), desc="headers", unit="file"):
        image = _image(path, folder=_first_folder(path, source))
        if image is None:
            foreign += 1
            continue
        key = (image.series.patient, image.series.study, image.series.uid)
        images[key].setdefault(image.instance or str(path), image)
    found = [_joined(list(part.values())) for part in images.values()]
    return sorted(found, key=lambda series: (series.patient, series.study, series.number, series.uid)), foreign


def _files(source: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if name != "DICOMDIR" and not name.startswith("."))


def _first_folder(path: Path, source: Path) -> str:
    """Name of the first folder below the source; of the source itself for a file directly in it."""
    parts = path.relative_to(source).parts
    return parts[0] if len(parts) > 1 else source.resolve().name


def _image(path: Path, folder: str) -> _Image | None:
    """What the header says; None for what is no DICOM, is damaged, or belongs to no series."""
    try:
        with warnings.catch_warnings():  # of values against the standard, which scanners write
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
            series, planes = _alone(header, path, folder), _planes(header)
            instance = _text(header, "SOPInstanceUID")
    except Exception:  # values are decoded one by one, and a damaged one may raise anything
        return None
    return _Image(instance, series, planes) if series.uid else None


def _alone(header: pydicom.Dataset, path: Path, folder: str) -> Series:
    """The series of one file, its places still to come."""
    return Series(
        patient=_text(header, "PatientID") or folder,
        study=_text(header, "StudyInstanceUID"),
        uid=_text(header, "SeriesInstanceUID"),
        number=int(_number(header, "SeriesNumber", 0)),
        description=" ".join(filter(None, (_text(header, name).lower() for name in _TEXTS))),
        modality=_text(header, "Modality"),
        body_part=_text(header, "BodyPartExamined").upper(),
        contrast=_text(header, "ContrastBolusAgent"),
        kernel=_several(header, "ConvolutionKernel", "/"),
        image_type=tuple(_several(header, "ImageType", "\\").upper().split("\\")),
        thickness_mm=_number(header, "SliceThickness", np.nan),
        upright=np.nan,
        places_mm=(),
        taken_at=_moment(header),
        age=_age(_text(header, "PatientAge")),
        sex=_text(header, "PatientSex") if _text(header, "PatientSex") in ("F", "M") else "",
        files=(path,),
        names=_filled(header, "PatientName"),
        birth_dates=_filled(header, "PatientBirthDate"),
        sexes=_filled(header, "PatientSex"),
        texts=tuple(_text(header, name) for name in _TEXTS),
        has_patient_id=bool(_text(header, "PatientID")),
    )


def _joined(images: list[_Image]) -> Series:
    """The series of all its files: the first header's words, every slice's place, the earliest time."""
    upright, places = _places([plane for image in images for plane in image.planes])
    moments = [image.series.taken_at for image in images if image.series.taken_at is not None]
    return replace(
        images[0].series,
        upright=upright,
        places_mm=places,
        taken_at=min(moments, default=None),
        files=tuple(path for image in images for path in image.series.files),
        names=frozenset().union(*(image.series.names for image in images)),
        birth_dates=frozenset().union(*(image.series.birth_dates for image in images)),
        sexes=frozenset().union(*(image.series.sexes for image in images)),
        instances=frozenset(filter(None, (image.instance for image in images))),
        has_patient_id=all(image.series.has_patient_id for image in images),
    )


def _places(planes: list[tuple[list[float], list[float]]]) -> tuple[float, tuple[float, ...]]:
    """Cosine of the slices' normal with the body's axis, and the places of the slices along that normal in mm."""
    if not planes:
        return np.nan, ()
    rows, columns = np.array(planes[0][0]).reshape(2, 3)
    normal = np.cross(rows, columns)
    places = {round(float(np.dot(normal, position)), 2) for _, position in planes}
    return float(abs(normal[2])), tuple(sorted(places))


def _planes(header: pydicom.Dataset) -> tuple[tuple[list[float], list[float]], ...]:
    """Orientation and position of each image of a file; a file of many frames says them frame by frame."""
    shared, frames = (header.get(name) or [] for name in _GROUPS)
    sources = [(frame, *shared) for frame in frames] or [(header,)]
    found = []
    for groups in sources:
        turn = _within(groups, "PlaneOrientationSequence", "ImageOrientationPatient")
        place = _within(groups, "PlanePositionSequence", "ImagePositionPatient")
        numbers = [*map(float, turn)], [*map(float, place)]
        if len(turn) == 6 and len(place) == 3 and np.isfinite([*numbers[0], *numbers[1]]).all():
            found.append(numbers)
    return tuple(found)


def _within(groups: Iterable[pydicom.Dataset], sequence: str, name: str) -> Sequence[float]:
    """A value of the first group that has it, itself or in its sequence."""
    for group in groups:
        for item in (group, *(group.get(sequence) or [])):
            if item.get(name):
                return item.get(name)
    return ()


def _moment(header: pydicom.Dataset) -> datetime | None:
    """When the image was acquired; the nearest that the header says, None without a date and a time."""
    pairs = [(_text(header, f"{moment}Date"), _text(header, f"{moment}Time")) for moment in _MOMENTS]
    for text in (_text(header, "AcquisitionDateTime"), *(date + time for date, time in pairs if date and time)):
        digits = re.match(r"\d*", text).group()
        if len(digits) < 12:
            continue
        try:
            return datetime.strptime(f"{digits[:14]:0<14}", "%Y%m%d%H%M%S")
        except ValueError:
            continue
    return None


def _age(text: str) -> float:
    """Years of ``065Y``, ``030M``, ``010W`` or ``010D``."""
    unit = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}.get(text[-1:].upper())
    return float(int(int(text[:-1]) / unit)) if unit and text[:-1].isdigit() else np.nan


def _text(header: pydicom.Dataset, name: str) -> str:
    value = header.get(name)
    return "" if value is None else " ".join(str(value).split())


def _filled(header: pydicom.Dataset, name: str) -> frozenset[str]:
    return frozenset(filter(None, [_text(header, name)]))


def _several(header: pydicom.Dataset, name: str, joint: str) -> str:
    value = header.get(name)
    return _text(header, name) if value is None or isinstance(value, str) else joint.join(map(str, value))


def _number(header: pydicom.Dataset, name: str, otherwise: float) -> float:
    try:
        return float(_text(header, name))
    except ValueError:
        return otherwise
