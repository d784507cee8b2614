"""The series of a folder of DICOM files, told from their headers; no pixel is read."""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from hepred_lib.progress import progress

_TEXTS = ("SeriesDescription", "ProtocolName", "StudyDescription")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_MOMENTS = ("Acquisition", "Content", "Series", "Study")
_TAGS = [
    *("PatientID", "PatientAge", "PatientSex", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
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

    @property
    def extent_mm(self) -> float:
        """From the first slice to the last."""
        return self.places_mm[-1] - self.places_mm[0] if self.places_mm else 0.0


def find_series(source: Path) -> tuple[list[Series], int]:
    """All series below a folder, by patient, study and number, and how many files are not DICOM.

    Files may have any name; a ``DICOMDIR``, hidden files and links to folders are passed over.
    """
    images: dict[tuple[str, str, str], dict[str, tuple[Path, pydicom.Dataset]]] = defaultdict(dict)
    foreign = 0
    for path in progress(list(_files(source)), desc="headers", unit="file"):
        header = _header(path)
        if header is None:
            foreign += 1
            continue
        patient = _text(header, "PatientID") or path.relative_to(source).parts[0]
        key = (patient, _text(header, "StudyInstanceUID"), _text(header, "SeriesInstanceUID"))
        images[key].setdefault(_text(header, "SOPInstanceUID") or str(path), (path, header))
    found = [_series(key, list(part.values())) for key, part in images.items()]
    return sorted(found, key=lambda series: (series.patient, series.study, series.number, series.uid)), foreign


def _files(source: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if name != "DICOMDIR" and not name.startswith("."))


def _header(path: Path) -> pydicom.Dataset | None:
    """The tags that are looked at; None for what is not DICOM or has no image's place in a series."""
    try:
        with warnings.catch_warnings():  # of values against the standard, which scanners write
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
            header.walk(lambda *_: None)  # values are read only when they are asked for
    except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError, KeyError, TypeError):
        return None
    return header if _text(header, "SeriesInstanceUID") else None


def _series(key: tuple[str, str, str], images: list[tuple[Path, pydicom.Dataset]]) -> Series:
    patient, study, uid = key
    header = images[0][1]
    normal, places = _places([header for _, header in images])
    moments = [moment for _, header in images if (moment := _moment(header)) is not None]
    return Series(
        patient=patient,
        study=study,
        uid=uid,
        number=int(_number(header, "SeriesNumber", 0)),
        description=" ".join(filter(None, (_text(header, name).lower() for name in _TEXTS))),
        modality=_text(header, "Modality"),
        body_part=_text(header, "BodyPartExamined").upper(),
        contrast=_text(header, "ContrastBolusAgent"),
        kernel=_several(header, "ConvolutionKernel", "/"),
        image_type=tuple(_several(header, "ImageType", "\\").upper().split("\\")),
        thickness_mm=_number(header, "SliceThickness", np.nan),
        upright=normal,
        places_mm=places,
        taken_at=min(moments, default=None),
        age=_age(_text(header, "PatientAge")),
        sex=_text(header, "PatientSex") if _text(header, "PatientSex") in ("F", "M") else "",
        files=tuple(path for path, _ in images),
    )


def _places(headers: list[pydicom.Dataset]) -> tuple[float, tuple[float, ...]]:
    """Cosine of the slices' normal with the body's axis, and the places of the slices along that normal in mm."""
    planes = [plane for header in headers for plane in _planes(header)]
    if not planes:
        return np.nan, ()
    rows, columns = np.array(planes[0][0]).reshape(2, 3)
    normal = np.cross(rows, columns)
    places = {round(float(np.dot(normal, position)), 2) for _, position in planes}
    return float(abs(normal[2])), tuple(sorted(places))


def _planes(header: pydicom.Dataset) -> list[tuple[list[float], list[float]]]:
    """Orientation and position of each image of a file; a file of many frames says them frame by frame."""
    shared, frames = (header.get(name) or [] for name in _GROUPS)
    if not frames:
        planes = [(header.get("ImageOrientationPatient"), header.get("ImagePositionPatient"))]
    else:
        planes = [
            (_within(frame, shared, "PlaneOrientation"), _within(frame, shared, "PlanePosition")) for frame in frames
        ]
    numbers = [([*map(float, turn or ())], [*map(float, place or ())]) for turn, place in planes]
    return [(turn, place) for turn, place in numbers if len(turn) == 6 and len(place) == 3]


def _within(frame: pydicom.Dataset, shared: Iterable[pydicom.Dataset], what: str) -> list[float] | None:
    name = {"PlaneOrientation": "ImageOrientationPatient", "PlanePosition": "ImagePositionPatient"}[what]
    for group in (frame, *shared):
        for item in group.get(f"{what}Sequence") or []:
            return item.get(name)
    return None


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


def _several(header: pydicom.Dataset, name: str, joint: str) -> str:
    value = header.get(name)
    return _text(header, name) if value is None or isinstance(value, str) else joint.join(map(str, value))


def _number(header: pydicom.Dataset, name: str, otherwise: float) -> float:
    try:
        return float(_text(header, name))
    except ValueError:
        return otherwise
