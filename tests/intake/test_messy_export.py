"""Patients of twelve languages in one messy folder, through the command: the right scans, unchanged, nameless."""

import gzip
import re
import socket
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from hepred_lib.cli import main
from hepred_lib.imaging.scans import read_scan
from tests.intake.conftest import head_hu, table, write_series

PATIENTS = 12
# Descriptions as hospitals write them, by language and kind.
WORDS = list(yaml.safe_load(Path(__file__).with_name("descriptions.yaml").read_text(encoding="utf-8")).values())


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


def write_patient(source, places, number, rng):
    """All series of one patient, their files under any names in any of the places, images with one number for all."""
    native, contrast, overview = (WORDS[number][kind][0] for kind in ("native", "contrast", "overview"))
    original, derived = ["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY"]
    series = [  # study, number, description, time, distance of slices, tags
        (1, 1, overview, "0810", 160, {"ImageType": [*original, "LOCALIZER"]}),
        (1, 2, native, "0811", 5, {}),
        (1, 3, native, "0811", 10, {"ConvolutionKernel": "H60s"}),
        (1, 4, contrast, "0825", 10, {}),
        (1, 5, "Dose report", "0830", 160, {"ImageType": [*derived, "OTHER"]}),
        (1, 6, "MIP axial", "0825", 10, {"ImageType": [*derived, "AXIAL", "MIP"]}),
        *([(2, 2, native, "0730", 5, {})] if number % 3 != 2 else []),
        *([(3, 1, "Thorax", "1200", 15, {"BodyPartExamined": "CHEST"})] if number % 4 == 0 else []),
    ]
    person = identity(number)
    tags = person | {"SpecificCharacterSet": "ISO_IR 192", "StudyDescription": f"{person['PatientName'][:9]} 007"}
    tags |= {"PatientAge": f"0{50 + number}Y", "PatientSex": "FM"[number % 2], "InstanceNumber": 7}
    for study, of_study, description, time, gap, own in series:
        uid = f"1.2.826.0.99.{number}.{study}"
        folder = write_series(
            source / "new",
            study=uid,
            uid=f"{uid}.{of_study}",
            gap_mm=float(gap),
            taken=f"202401{9 + study + number % 15:02d} {time}00",
            bleed_radius_mm=radius_mm(number, study),
            **(tags | {"SeriesNumber": of_study, "SeriesDescription": description} | own),
        )
        for path in folder.iterdir():
            name = f"{rng.integers(16**12):012x}{rng.choice(['', '.dcm', '.IMA'])}"
            path.rename(places[rng.integers(len(places))] / name)
        folder.rmdir()


def radius_mm(number, study):
    return 8.0 + 0.6 * number + 0.3 * study


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """The export, imported by the command: output folder and what was printed."""
    folder, rng = tmp_path_factory.mktemp("messy"), np.random.default_rng(3)
    source = folder / "export"
    places = [source, source / "DICOM" / "A", source / "DICOM" / "B" / "0001", source / "Quxwick Zebedea"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for number in rng.permutation(PATIENTS):
        write_patient(source, places, int(number), rng)
    for name, content in {"Thumbs.db": b"x", "a.pdf": b"%PDF-1.4 Quxwick01", "DICOMDIR": b"", "empty": b""}.items():
        (source / name).write_bytes(content)
    rows = [f"HE-{k},{identity(k)['PatientID']},{140 + k}" for k in range(PATIENTS)]
    (folder / "bedside.csv").write_text("\n".join(["patient_id,dicom_patient_id,platelets_10e9_l", *rows]))
    printed = folder / "printed"
    with pytest.MonkeyPatch.context() as patch, printed.open("w") as stream:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        arguments = [str(source), str(folder / "out"), "--clinical", str(folder / "bedside.csv")]
        patch.setattr(sys, "argv", ["hepred", "import-dicom", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == 0, printed.read_text()
    return folder / "out", printed.read_text()


def test_the_right_series_are_chosen_in_every_language(messy):
    series = table(messy[0] / "identifying" / "series.csv")
    used = series[series["use"] != "none"].set_index(["study_uid", "number"])["use"].to_dict()
    studies = {number: f"1.2.826.0.99.{number}" for number in range(PATIENTS)}
    first = {(f"{study}.1", "2"): "baseline" for study in studies.values()}
    later = {(f"{study}.2", "2"): "followup" for number, study in studies.items() if number % 3 != 2}
    assert used == first | later


def test_rows_and_volumes_are_the_right_patients_voxel_for_voxel(messy):
    rows = table(messy[0] / "manifest.csv").set_index("patient_id")
    assert len(rows) == PATIENTS
    for number in range(PATIENTS):
        row, hours = rows.loc[f"HE-{number}"], "" if number % 3 == 2 else "23.32"
        told = [str(140 + number), hours, str(50 + number), "FM"[number % 2]]
        assert row[["platelets_10e9_l", "ct_to_followup_h", "age", "sex"]].to_list() == told
        assert (row["followup_ct"] == "") == (hours == "")
        for study, name in ((1, row["baseline_ct"]), (2, row["followup_ct"])):
            if name:
                scan = read_scan(messy[0] / name)
                voxels = np.moveaxis(np.indices(scan.hu.shape), 0, -1)
                lps = np.round(nib.affines.apply_affine(scan.affine, voxels) * [-1, -1, 1], 3)
                np.testing.assert_array_equal(scan.hu, head_hu(lps, radius_mm(number, study)))


def test_no_planted_identifier_is_in_any_byte_outside_identifying(messy):
    out, printed = messy
    files = [path for path in out.rglob("*") if path.is_file() and "identifying" not in path.parts]
    parts = [part for path in files for part in (path.name.encode(), path.read_bytes())]
    parts += [gzip.decompress(path.read_bytes()) for path in files if path.suffix == ".gz"]
    # Without zeros too, which UTF-16 and UTF-32 have between letters.
    forms = [
        form
        for part in (*parts, printed.replace(str(out.parent), "").encode())
        for form in (part, part.replace(b"\0", b""))
    ]
    readable = b"\n".join(run for form in forms for run in re.findall(rb"[ -~]{5,}", form)).upper()
    planted = {"1.2.826.0.99", "Quxwick", "Zebedea", "202401", "2024-01", str(out.parent)}
    planted |= {socket.gethostname()} if len(socket.gethostname()) > 5 else set()
    planted |= {text for number in range(PATIENTS) for text in identity(number).values()}
    assert len(files) == 1 + PATIENTS + PATIENTS * 2 // 3
    assert b"SCANS/HE-0_BASELINE" in readable
    assert [text for text in planted if text.upper().encode() in readable] == []


def test_the_command_says_what_it_found_and_ends_with_the_check(messy):
    out, printed = messy
    assert f"patients {PATIENTS}, with a first scan {PATIENTS}, with a follow-up {PATIENTS * 2 // 3}." in printed
    assert "Files that are no DICOM image: 3." in printed
    assert printed.rstrip().splitlines()[-1].removeprefix("manifest.csv: ").startswith(f"{PATIENTS} patients")
    assert not (out / "identifying" / "work").exists()
