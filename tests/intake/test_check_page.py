"""The page of a check: complete, without the network, without names, and with pictures of what is at fault."""

import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hepred_lib.imaging.scans import write_nifti
from hepred_lib.intake.check import check_manifest
from hepred_lib.intake.check_page import page, picture
from tests.cohort.test_planted_tables import clean_table


def page_of(folder, old="", new=""):
    path = folder / "manifest.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return page(check_manifest(path))


def pictures_in(html):
    return [np.array(Image.open(BytesIO(b64decode(png)))) for png in re.findall(r"base64,([^\"]+)", html)]


def is_orange(pixels):
    """Where the first slice of a picture has the outline's colour."""
    return (abs(pixels[:, : pixels.shape[1] // 5, :3].astype(int) - [230, 159, 0]) < 40).all(axis=2)


def test_a_clean_cohort_has_a_page_without_problems(cohort_folder):
    html = page_of(cohort_folder)
    assert "No problem found." in html
    assert "<table>" not in html
    assert not pictures_in(html)


def test_a_scan_at_fault_is_pictured_with_its_outline_and_histograms(cohort_folder):
    html = page_of(cohort_folder, ",17.5,", ",90.0,")
    (shown,) = pictures_in(html)
    assert is_orange(shown).any()
    assert "HE-2" in html
    assert "HE-1" not in html
    assert "default-src 'none'" in html
    assert not re.findall(r"https?://|<script|<link|@import|url\(", html)


def test_text_of_the_manifest_is_escaped(cohort_folder):
    html = page_of(cohort_folder, "age,sex", "age,<b>&1")
    assert "<b>&1" not in html
    html = page_of(cohort_folder, "71,F", "<script>alert(1)</script>,F")
    assert "<script" not in html


def test_faults_of_columns_have_the_header_s_line_and_are_shown_where_a_comment_stands_above_it(tmp_path):
    table = clean_table(40).drop(columns="glucose_mmol_l").assign(age=70, glucos_mmol_l=5)
    (tmp_path / "manifest.csv").write_text(f"# exported\n{table.to_csv(index=False)}", encoding="utf-8")
    checked = check_manifest(tmp_path / "manifest.csv")
    assert [(problem.column, problem.line) for problem in checked.problems] == [("the header", 2), ("age", 2)]
    html = page(checked)
    assert "resemble none, got glucos_mmol_l, close to" in html
    assert "got 70 in all 40 patients" in html


@pytest.mark.parametrize("name", ["Doe_Jane_1950", "MRN 4711"])
def test_file_names_and_text_in_place_of_a_pseudonym_are_not_shown(cohort_folder, name):
    (cohort_folder / "HE-2_ct.nii.gz").rename(cohort_folder / f"{name}.nii.gz")
    rewritten = "HE-2,HE-2_ct.nii.gz", f"{name}!,{name}.nii.gz"
    html = page_of(cohort_folder, *rewritten)
    html += page_of(cohort_folder, ",17.5,", ",90.0,")
    html += page_of(cohort_folder, f"{name}.nii.gz", f"{name}_lost.nii.gz")
    assert name not in html
    assert str(cohort_folder) not in html


def test_a_scan_in_other_units_is_pictured_as_stored_and_one_that_cannot_be_read_is_not(cohort_folder, phantom):
    path = cohort_folder / "HE-2_ct.nii.gz"
    write_nifti(path, np.clip(phantom[0], 0, 80) * 3, phantom[2], dtype=np.int16)
    assert len(pictures_in(page_of(cohort_folder))) == 1
    path.write_bytes(b"no scan")
    assert "the scan cannot be read" in page_of(cohort_folder)


def test_a_slice_shows_the_patients_right_on_the_left_and_the_front_at_the_top(tmp_path, phantom):
    hu, mask, affine = phantom
    ball = np.zeros_like(mask)
    x, y, z = (size // 2 for size in mask.shape)
    ball[x + 3 : x + 9, y + 3 : y + 9, z - 4 : z + 4] = 1  # RAS+: to the right and the front
    write_nifti(tmp_path / "ct.nii.gz", hu, affine, dtype=np.int16)
    write_nifti(tmp_path / "mask.nii.gz", ball, affine, dtype=np.uint8)
    found = is_orange(np.array(Image.open(BytesIO(picture(tmp_path / "ct.nii.gz", tmp_path / "mask.nii.gz")))))
    assert (np.argwhere(found).mean(axis=0) < np.array(found.shape) / 2).all()


@pytest.mark.parametrize("values", [(0, 0), (-1000, 3000), (0, 1)])
def test_a_picture_is_drawn_for_any_range(tmp_path, phantom, values):
    hu = np.full(phantom[0].shape, values[0])
    hu[: len(hu) // 2] = values[1]
    write_nifti(tmp_path / "ct.nii.gz", hu, phantom[2], dtype=np.int16)
    assert picture(tmp_path / "ct.nii.gz", None).startswith(b"\x89PNG")
