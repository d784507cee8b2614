"""Sixty patients of twelve languages in one messy folder, through the command: the right scans, unchanged, nameless.

``HEPRED_LONG=1`` renders finer heads and gives every patient all series; the suite's form takes under a minute.
"""

import contextlib
import gzip
import io
import os
import re
import socket
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from hepred_lib.cli import main
from hepred_lib.imaging.scans import read_scan
from ich_phantom.cohort import cohort_tables, simulate_scan

LONG = os.environ.get("HEPRED_LONG") == "1"
MATRIX, HEADS, PATIENTS = (128, 8, 60) if LONG else (64, 4, 60)
CT, DERIVED = ("ORIGINAL", "PRIMARY", "AXIAL"), ("DERIVED", "SECONDARY", "AXIAL")
# native, contrast, bone, overview, dose record, rendering: as hospitals write them.
WORDS = {
    "en": ("Head w/o contrast 5mm", "CTA head with contrast", "Head bone", "Scout", "Dose report", "MIP axial"),
    "de": ("Schädel nativ 5mm", "Schädel mit KM", "Schädel Knochen", "Topogramm", "Dosisbericht", "MIP axial"),
    "fr": ("Crâne sans injection", "Angioscanner cérébral", "Crâne os", "Topogramme", "Rapport de dose", "MIP axial"),
    "es": ("Cráneo sin contraste", "Cráneo con contraste", "Cráneo hueso", "Topograma", "Informe de dosis", "MIP"),
    "it": ("Encefalo senza mdc", "Encefalo con mdc", "Encefalo osso", "Topogramma", "Rapporto dose", "MIP"),
    "pt": ("Crânio sem contraste", "Crânio com contraste", "Crânio osso", "Topograma", "Relatório de dose", "MIP"),
    "nl": ("Hersenen blanco", "Hersenen met contrast", "Schedel bot", "Topogram", "Dosisrapport", "MIP"),
    "tr": ("Beyin kontrastsız", "Beyin kontrastlı", "Beyin kemik", "Topogram", "Doz raporu", "MIP"),
    "pl": ("Głowa bez kontrastu", "Głowa z kontrastem", "Głowa kość", "Topogram", "Raport dawki", "MIP"),
    "zh": ("头部平扫", "头部增强", "头部 骨窗", "定位像", "剂量报告", "MIP"),
    "ja": ("頭部単純", "頭部造影", "頭部 骨条件", "スカウト", "線量レポート", "MIP"),
    "ko": ("두부 비조영", "두부 조영", "두부 뼈", "스카우트", "선량 보고서", "MIP"),
}


def simulated_heads():
    """A few simulated heads, (x, y, z) in RAS, with their affines."""
    manifest, truth = cohort_tables(HEADS, 5)
    rows = truth.join(manifest[["age", "sex"]]).to_dict("records")
    return [simulate_scan(row, seed=5, site="A", matrix=MATRIX) for row in rows[:HEADS]]


def identity(number):
    """What names one patient: none of it may leave ``identifying/``."""
    return {
        "PatientName": f"Quxwick{number:02d}^Zebedea",
        "PatientID": f"KH-{90210000 + number}",
        "PatientBirthDate": f"19{30 + number % 60}0{1 + number % 9}{11 + number % 17}",
        "AccessionNumber": f"ACC{770000 + number}",
        "InstitutionName": "Klinikum Sankt Balthasar",
        "ReferringPhysicianName": "Vonderlippe^Kunigunde",
        "StationName": "CTKELLER3",
        "StudyID": f"ST{number:05d}X",
        "OtherPatientIDs": f"INS{55500000 + number}",
        "PatientAddress": "Kesselgasse 14",
        "DeviceSerialNumber": "SN-8812763",
    }


def number_of(patient_id):
    return int(patient_id.removeprefix("KH-")) - 90210000


class Export:
    """A folder that files are thrown into: flat or nested, under any name, numbers of images shuffled or lost."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self.folder, self.rng, self.files = folder, rng, 0
        self.places = [folder, folder / "DICOM" / "A", folder / "DICOM" / "B" / "0001", folder / "Quxwick Zebedea"]
        for place in self.places:
            place.mkdir(parents=True, exist_ok=True)

    def series(self, person, study, number, description, images, *, taken, gap=5.0, pixel=4.0, **tags):
        """Write one series of images (pixels, position in LPS), in shuffled order."""
        header = self._header(person, study, number, description, taken)
        header.PixelSpacing, header.SliceThickness = [pixel, pixel], gap
        for name, value in tags.items():
            setattr(header, name, value)
        for k in self.rng.permutation(len(images)):
            pixels, position = images[k]
            uid = f"{header.SeriesInstanceUID}.{k + 1}"
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = uid
            header.InstanceNumber = int(self.rng.integers(1, 99))
            header.ImagePositionPatient = [float(f"{value:.6g}") for value in position]
            header.Rows, header.Columns = pixels.shape
            header.PixelData = (np.ascontiguousarray(pixels).astype("<i4") + 1024).astype("<u2").tobytes()
            self.files += 1
            name = f"{self.rng.integers(16**8):08x}{self.files}{self.rng.choice(['', '.dcm', '.IMA'])}"
            pydicom.dcmwrite(self.places[self.rng.integers(len(self.places))] / name, header, enforce_file_format=True)

    def _header(self, person, study, number, description, taken):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SpecificCharacterSet = "ISO_IR 192"
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
        for name, value in person.items():
            setattr(header, name, value)
        who = number_of(person["PatientID"])
        header.PatientAge, header.PatientSex = f"0{50 + who % 40}Y", "FM"[who % 2]
        header.Modality, header.Manufacturer = "CT", "SIEMENS"
        header.StudyInstanceUID, header.SeriesInstanceUID = study, f"{study}.{number}"
        header.SeriesNumber, header.SeriesDescription, header.ImageType = number, description, list(CT)
        header.StudyDescription = f"{person['PatientName'].partition('^')[0]} 007"
        header.BodyPartExamined, header.ConvolutionKernel = "HEAD", "H31s"
        header.StudyDate, _, header.StudyTime = taken.partition(" ")
        header.AcquisitionDate, header.AcquisitionTime = header.StudyDate, header.StudyTime
        header.ImageOrientationPatient, header.PatientPosition = [1, 0, 0, 0, 1, 0], "HFS"
        header.SamplesPerPixel, header.PhotometricInterpretation, header.PixelRepresentation = 1, "MONOCHROME2", 0
        header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
        header.RescaleIntercept, header.RescaleSlope, header.RescaleType = -1024, 1, "HU"
        return header


def own_hu(head, number, moment):
    """The head of one patient at one moment: a few voxels of air make it unlike that of every other."""
    hu = head.hu.copy()
    hu[0, 0] = -1000 + 2 * number + (moment == "followup")
    return hu


def images_of(head, number, moment):
    """Pixels and position (LPS) of every slice."""
    hu, last = own_hu(head, number, moment), np.array(head.hu.shape[:2]) - 1
    corners = [nib.affines.apply_affine(head.affine, [*last, z]) * [-1, -1, 1] for z in range(hu.shape[2])]
    return [(hu[::-1, ::-1, z].T, corner) for z, corner in enumerate(corners)]


def write_patient(export, number, heads):
    """Two or three studies of one patient; returns the PatientID and which heads are the first scan and the second."""
    person, language = identity(number), list(WORDS)[number % len(WORDS)]
    native, contrast, bone, overview, dose, rendering = WORDS[language]
    first, later = number % len(heads), (number + 1) % len(heads)
    images, pixel = images_of(heads[first], number, "baseline"), float(heads[first].affine[0, 0])
    study, day = f"1.2.826.0.99.{number}.1", f"202401{10 + number % 15}"
    all_of_it = LONG or number % 5 == 0
    rivals = images if all_of_it else images[::3]
    gap = 5.0 if all_of_it else 15.0
    export.series(
        person, study, 1, overview, images[:1], taken=f"{day} 081000", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    export.series(person, study, 2, native, images, taken=f"{day} 081100", pixel=pixel)
    export.series(person, study, 3, bone, rivals, taken=f"{day} 081100", pixel=pixel, gap=gap, ConvolutionKernel="H60s")
    export.series(person, study, 4, contrast, rivals, taken=f"{day} 082500", pixel=pixel, gap=gap)
    export.series(
        person, study, 5, dose, images[:1], taken=f"{day} 083000", ImageType=["DERIVED", "SECONDARY", "OTHER"]
    )
    export.series(person, study, 6, rendering, rivals, taken=f"{day} 082500", gap=gap, ImageType=[*DERIVED, "MIP"])
    follow_up = number % 3 != 2
    if follow_up:
        again, size = images_of(heads[later], number, "followup"), float(heads[later].affine[0, 0])
        taken = f"202401{11 + number % 15} 073000"
        export.series(person, f"1.2.826.0.99.{number}.2", 2, native, again, taken=taken, pixel=size)
    if number % 4 == 0:
        taken = f"202401{12 + number % 15} 120000"
        export.series(
            person,
            f"1.2.826.0.99.{number}.3",
            1,
            "Thorax",
            images[::3],
            taken=taken,
            gap=15.0,
            BodyPartExamined="CHEST",
        )
    return person["PatientID"], first, later if follow_up else None


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """The export, imported by the command: output folder, heads, what is true of each patient, what was printed."""
    folder = tmp_path_factory.mktemp("messy")
    export, heads = Export(folder / "export", np.random.default_rng(3)), simulated_heads()
    truth = [write_patient(export, number, heads) for number in np.random.default_rng(4).permutation(PATIENTS)]
    for name, content in {
        "Thumbs.db": b"x",
        "report.pdf": b"%PDF-1.4 Quxwick01",
        "DICOMDIR": b"",
        "empty": b"",
    }.items():
        (folder / "export" / name).write_bytes(content)
    rows = [f"HE-{k},{patient},{140 + k}" for k, (patient, *_) in enumerate(truth)]
    (folder / "bedside.csv").write_text(
        "\n".join(["patient_id,dicom_patient_id,platelets_10e9_l", *rows]), encoding="utf-8"
    )
    arguments = ["import-dicom", str(folder / "export"), str(folder / "out"), "--clinical", str(folder / "bedside.csv")]
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        patch.setattr(sys, "argv", ["hepred", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == 0, printed.getvalue()
    return folder / "out", heads, truth, printed.getvalue()


def imported_scans(out):
    """The manifest's rows by PatientID."""
    manifest, key = (
        pd.read_csv(out / name, dtype=str, keep_default_na=False).set_index("patient_id")
        for name in ("manifest.csv", "identifying/key.csv")
    )
    return manifest.join(key).set_index("dicom_patient_id")


def test_the_right_series_are_chosen_in_every_language(messy):
    out, _, truth, _ = messy
    series = pd.read_csv(out / "identifying" / "series.csv", dtype=str, keep_default_na=False)
    used = series[series["use"] != "none"].set_index(["study_uid", "number"])["use"].to_dict()
    wanted = {}
    for patient, _, later in truth:
        study = f"1.2.826.0.99.{number_of(patient)}"
        wanted[f"{study}.1", "2"] = "baseline"
        if later is not None:
            wanted[f"{study}.2", "2"] = "followup"
    assert used == wanted


def test_volumes_come_back_voxel_for_voxel(messy):
    out, heads, truth, _ = messy
    rows = imported_scans(out)
    for patient, first, later in truth:
        for moment, head in (("baseline", first), ("followup", later)):
            if head is None:
                assert rows.at[patient, f"{moment}_ct"] == ""
                continue
            scan = read_scan(out / rows.at[patient, f"{moment}_ct"])
            np.testing.assert_array_equal(scan.hu, own_hu(heads[head], number_of(patient), moment))
            np.testing.assert_allclose(scan.affine, heads[head].affine, atol=1e-2)


def test_times_and_clinical_rows_are_the_right_patients(messy):
    out, _, truth, _ = messy
    rows = imported_scans(out)
    assert len(rows) == PATIENTS
    for number, (patient, _, later) in enumerate(truth):
        hours, age = "" if later is None else "23.32", str(50 + number_of(patient) % 40)
        assert rows.loc[patient, ["platelets_10e9_l", "ct_to_followup_h", "age"]].to_list() == [
            str(140 + number),
            hours,
            age,
        ]


def test_no_planted_identifier_is_in_any_byte_outside_identifying(messy):
    out, _, truth, printed = messy
    files = [path for path in out.rglob("*") if path.is_file() and "identifying" not in path.parts]
    parts = [part for path in files for part in (path.name.encode(), path.read_bytes(), *_unpacked(path))]
    readable = _readable([*parts, printed.replace(str(out.parent), "").encode()])
    planted = {"1.2.826.0.99", "Quxwick", "Zebedea", "202401", "2024-01", str(out.parent)}
    planted |= {socket.gethostname()} if len(socket.gethostname()) > 5 else set()
    for number in range(len(truth)):
        planted |= set(identity(number).values())
    found = [text for text in planted if text.upper().encode() in readable]
    assert len(files) == 101
    assert b"SCANS/HE-0_BASELINE" in readable
    assert found == []


def test_the_command_says_what_it_found_and_ends_with_the_check(messy):
    out, _, _, printed = messy
    assert f"patients {PATIENTS}, with a first scan {PATIENTS}, with a follow-up 40." in printed
    assert "Files that are no DICOM image: 3." in printed
    assert printed.rstrip().splitlines()[-1].startswith(("manifest.csv: 60 patients", "60 patients"))
    assert not (out / "identifying" / "work").exists()


def _readable(parts):
    """All that can be read in bytes, in upper case; without zeros too, which UTF-16 and UTF-32 have between letters."""
    runs = [
        run for part in parts for form in (part, part.replace(b"\0", b"")) for run in re.findall(rb"[ -~]{5,}", form)
    ]
    return b"\n".join(runs).upper()


def _unpacked(path):
    return [gzip.decompress(path.read_bytes())] if path.suffix == ".gz" else []
