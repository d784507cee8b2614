"""A small head as DICOM: a ball of brain in a shell of bone, with one bleed whose place is known."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from hepred_lib.intake.importing import import_dicom

BLEED_MM, BLEED_RADIUS_MM = np.array([30.0, -10.0, 20.0]), 9.0  # LPS: to the left, to the front, upwards
PIXEL_MM, SIZE = 3.0, 64


def head_hu(places_mm: np.ndarray, bleed_radius_mm: float = BLEED_RADIUS_MM) -> np.ndarray:
    """HU at LPS places (..., 3): brain 35 within 75 mm, bone 900 within 81 mm, air; blood 65."""
    away = np.linalg.norm(places_mm, axis=-1)
    hu = np.where(away < 75, 35, np.where(away < 81, 900, -1000))
    return np.where(np.linalg.norm(places_mm - BLEED_MM, axis=-1) < bleed_radius_mm, 65, hu)


def write_series(
    folder: Path,
    *,
    patient: str = "MRN-77",
    study: str = "1.2.3.1",
    uid: str = "1.2.3.1.1",
    gap_mm: float = 5.0,
    tilt: float = 0.0,
    leave_out: tuple[int, ...] = (),
    taken: str = "20240103 081500",
    bleed_radius_mm: float = BLEED_RADIUS_MM,
    size: int = SIZE,
    **tags: object,
) -> Path:
    """One axial series of the head, 33 slices by default; ``tags`` are set in every header."""
    folder.mkdir(parents=True, exist_ok=True)
    angle = np.radians(tilt)
    rows, columns = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), -np.sin(angle)])
    pixel_mm = PIXEL_MM * SIZE / size
    step, half = np.arange(size) * pixel_mm, (size - 1) / 2 * pixel_mm
    for number, z in enumerate(np.arange(-80.0, 80.1, gap_mm)):
        if number in leave_out:
            continue
        corner = np.array([-half, -half * np.cos(angle), z + half * np.sin(angle)])
        hu = head_hu(corner + step[:, None, None] * columns + step[None, :, None] * rows, bleed_radius_mm)
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"{uid}.{number + 1}"
        image.PatientName, image.PatientID, image.PatientAge, image.PatientSex = "Doe^Jane", patient, "067Y", "F"
        image.StudyInstanceUID, image.SeriesInstanceUID = study, uid
        image.Modality, image.ImageType, image.Manufacturer = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "SIEMENS"
        image.SeriesNumber, image.InstanceNumber, image.SeriesDescription = 2, number + 1, "Head 5.0 H31s"
        image.BodyPartExamined, image.ConvolutionKernel, image.SliceThickness = "HEAD", "H31s", gap_mm
        image.StudyDate, _, image.StudyTime = taken.partition(" ")
        image.AcquisitionDate, image.AcquisitionTime = image.StudyDate, image.StudyTime
        image.ImageOrientationPatient, image.ImagePositionPatient = [*rows, *columns], list(np.round(corner, 4))
        image.GantryDetectorTilt, image.PatientPosition, image.PixelSpacing = tilt, "HFS", [pixel_mm, pixel_mm]
        image.Rows = image.Columns = size
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11  # as most scanners write
        image.RescaleIntercept, image.RescaleSlope, image.RescaleType = -1024, 1, "HU"
        for name, value in tags.items():
            setattr(image, name, value)
        image.PixelData = (hu + 1024).astype("<u2").tobytes()
        pydicom.dcmwrite(folder / f"IM{number:04d}", image, enforce_file_format=True)
    return folder


def change(folder: Path, edit: Callable[[int, Dataset], object]) -> Path:
    """Edit every file of a series: its number from 0 and its header with pixels."""
    for number, path in enumerate(sorted(folder.iterdir())):
        image = pydicom.dcmread(path)
        edit(number, image)
        image.save_as(path, enforce_file_format=True)
    return folder


def table(path: Path) -> pd.DataFrame:
    """A table of an import, as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture(scope="session")
def first_import(tmp_path_factory) -> Path:
    """An export and what an import makes of it, made once: A with a follow-up, a bone and an angiography; B."""
    folder = tmp_path_factory.mktemp("first")
    source = folder / "export"
    write_series(source / "a" / "1")
    write_series(source / "a" / "2", uid="1.2.3.1.2", SeriesNumber=3, ConvolutionKernel="H60s", gap_mm=4.0)
    write_series(source / "a" / "3", uid="1.2.3.1.3", SeriesNumber=4, SeriesDescription="CTA carotids")
    write_series(source / "a" / "4", study="1.2.3.2", uid="1.2.3.2.1", taken="20240104 074500", bleed_radius_mm=12.0)
    write_series(source / "b", patient="MRN-12", study="1.2.4", uid="1.2.4.1", PatientSex="M", bleed_radius_mm=15.0)
    (source / "readme.txt").write_text("exported on Monday")
    import_dicom(source, folder / "out")
    return folder


@pytest.fixture
def export(first_import, tmp_path) -> Path:
    """The export of two patients, to be changed."""
    return shutil.copytree(first_import / "export", tmp_path / "export")


@pytest.fixture
def imported(first_import, tmp_path) -> Path:
    """The folder ``out`` into which the export was imported, to be changed."""
    return shutil.copytree(first_import / "out", tmp_path / "out")


@pytest.fixture
def bedside(tmp_path):
    """A clinical table of these lines."""

    def write(*lines):
        (tmp_path / "bedside.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
        return tmp_path / "bedside.csv"

    return write
