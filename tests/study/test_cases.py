"""Cases that are kept and shown: which, how large, and nothing of a real patient without being asked."""

import gzip
import json
import re
from base64 import b64decode

import numpy as np
import pandas as pd
import pytest

from hepred_lib.imaging.slices import BLOOD, BRAIN, HU
from hepred_lib.multitask.data import Patient
from hepred_lib.multitask.prediction import Prediction, Reader
from hepred_lib.study.cases import (
    LARGEST,
    NO_CASES,
    NOT_SHARED,
    case_of,
    choose_cases,
    keep_cases,
    packed,
    write_site_cases,
    write_viewer,
)
from hepred_lib.study.files import read_table, write_table
from tests.site.conftest import write_cases

SIMULATED, REAL = ({"oracle": oracle, "models": {"clinical": {"threshold": 0.3}}} for oracle in ({}, None))


def head(side: int = 64, n: int = 6, pixel_mm: float = 3.0) -> Patient:
    """Brain of 40 HU inside bone, 10 mm thick; blood off its middle, in two slices."""
    y, x = (np.indices((side, side)) - (side - 1) / 2) * pixel_mm
    planes = np.zeros((n, 4, side, side), dtype=np.uint8)
    radius, limit = np.hypot(x, y), 0.3 * side * pixel_mm
    planes[:, BRAIN] = 255 * (radius < limit)
    planes[:, HU] = np.where(radius < limit, 40 + 32, np.where(radius < limit + 10, 255, 0))
    planes[2:4, BLOOD] = 255 * (np.hypot(x - 20, y - 8) < 15)
    return Patient("P1", planes, pixel_mm, 0.045, 1.0, True)


def prediction(patient: Patient) -> Prediction:
    """The reference, but for its first slice."""
    probability = (patient.planes[:, BLOOD] > 0).astype(np.float32)
    probability[2] = 0.0
    empty = np.zeros(len(probability))
    return Prediction(probability, empty, empty, 0 * probability, empty, 0.0, empty, True, 1.0)


@pytest.fixture
def scored() -> pd.DataFrame:
    """Ninety patients: expansion in the first third, Dice of every second, predicted volumes that vary."""
    rng, n = np.random.default_rng(2), 90
    table = pd.DataFrame({"patient_id": [f"P{k:02d}" for k in range(n)], "he": (np.arange(n) < 20).astype(float)})
    table["p_image"], table["reference_ml"] = rng.uniform(size=n), rng.uniform(1, 50, n)
    table["predicted_volume_ml"] = table["reference_ml"] * rng.uniform(0.4, 1.0, n)
    return table.assign(dice=np.where(np.arange(n) % 2, rng.uniform(0.3, 0.95, n), np.nan))


def test_a_third_fails_in_segmentation_a_third_in_calls_and_a_third_is_typical(scored):
    chosen = choose_cases(scored, threshold=0.5, number=30)
    assert chosen["patient_id"].is_unique
    assert chosen["reason"].value_counts().to_dict() == {
        "low Dice": 10, "missed expansion": 5, "false alarm": 5, "typical": 10
    }  # fmt: skip
    rows = chosen.merge(scored, on="patient_id").set_index("reason")
    assert rows.loc["missed expansion", "he"].eq(1).all()
    assert rows.loc["missed expansion", "p_image"].lt(0.5).all()
    assert rows.loc["false alarm", "he"].eq(0).all()
    assert rows.loc["false alarm", "p_image"].ge(0.5).all()
    assert rows.loc["typical", "p_image"].ge(0.5).eq(rows.loc["typical", "he"].eq(1)).all()


def test_the_lowest_dice_or_its_bound_by_the_volumes_is_first_and_the_most_confident_wrong_call_is_there(scored):
    scored.loc[7, "dice"] = 0.01
    scored.loc[8, ["dice", "reference_ml", "predicted_volume_ml"]] = [np.nan, 10.0, 0.1]  # at most 0.02
    scored.loc[[3, 40], "p_image"], scored.loc[[3, 40], "dice"] = [0.001, 0.999], 0.99
    reasons = choose_cases(scored, threshold=0.5).set_index("patient_id")["reason"]
    assert reasons.index.tolist()[:2] == ["P07", "P08"]
    assert reasons[["P03", "P40"]].tolist() == ["missed expansion", "false alarm"]


def test_patients_without_outcome_are_no_wrong_calls_and_few_patients_give_few_cases(scored):
    few = scored.head(4).assign(he=np.nan)
    assert set(choose_cases(few, threshold=0.5)["reason"]) == {"low Dice"}
    assert choose_cases(scored, threshold=0.5, number=0).empty


def test_a_case_is_cropped_to_the_head_bounded_in_size_and_has_reference_and_prediction_each_by_its_bit():
    small, large = (case_of(patient, prediction(patient)) for patient in (head(), head(side=900, pixel_mm=0.25)))
    assert 40 < max(small["hu"].shape[1:]) < 64
    assert max(large["hu"].shape) <= LARGEST
    assert large["pixel_mm"] == 0.75
    assert small["hu"].dtype == small["masks"].dtype == np.uint8
    assert [int((small["masks"] & bit > 0).any(axis=(1, 2)).sum()) for bit in (1, 2, 4, 8)] == [2, 1, 0, 0]


def unpacked(case: dict, **options) -> np.ndarray:
    """Slices and masks as the page shows them."""
    return np.frombuffer(gzip.decompress(b64decode(packed(case, **options))), np.uint8).reshape(2, *case["hu"].shape)


def test_unpacked_anterior_is_up_the_patients_right_on_the_left_and_for_others_only_the_brain_is_there():
    case = case_of(head(), prediction(head()))
    hu, masks = unpacked(case)
    np.testing.assert_array_equal(hu[:, ::-1, ::-1], case["hu"])
    rows, columns = np.nonzero(masks[3] & 1)
    # Blood to the right (x) and anterior (y) in RAS+.
    assert rows.mean() < masks.shape[1] / 2
    assert columns.mean() < masks.shape[2] / 2
    blanked, inside = unpacked(case, brain_only=True)[0], case["brain"][:, ::-1, ::-1] > 0
    assert hu.max() == 255
    assert not blanked[~inside].any()
    assert (blanked[inside] == 72).all()


def test_the_viewer_is_one_file_that_asks_for_nothing(tmp_path):
    name = "</script><b>scan"
    write_viewer(tmp_path / "viewer.html", head(), prediction(head()), name, {"hematoma_ml": 3.2, "p_image": None})
    page = (tmp_path / "viewer.html").read_text(encoding="utf-8")
    assert not re.findall(r"https?:|//[a-z]|\bsrc=|\bhref=|@import|url\(", page.replace("// ", ""))
    assert "default-src 'none'" in page
    assert "<b>scan" not in page
    (content,) = re.findall(r'<script type="application/json" id="cases-content">(.*?)</script>', page, re.DOTALL)
    (case,) = json.loads(content)["cases"]
    assert case["numbers"] == {"hematoma (mL)": "3.2"}
    assert case["shape"] == list(case_of(head(), prediction(head()))["hu"].shape)
    assert [kind["name"] for kind in json.loads(content)["outlines"]] == ["reference hematoma", "predicted hematoma"]


@pytest.fixture
def run(tmp_path):
    """A finished study by its tables, with two kept cases, one of them measured on its slices."""
    folder = tmp_path / "run"
    write_cases(folder, pd.DataFrame({"dl_score": np.linspace(-2, 2, 6), "he": [0.0, 1, 0, 1, 0, np.nan]}))
    for name, part in (("predictions.csv", slice(5)), ("segmentation.csv", slice(1, 6))):
        write_table(folder / name, read_table(folder / name)[part])
    kept = read_table(folder / "cases" / "cases.csv")
    write_table(folder / "cases" / "cases.csv", kept.assign(dice=[0.2, 0.5], dice_on=["slices", "scan"]))
    return folder


def test_the_page_lists_every_case_with_its_numbers_and_names_no_patient(run, tmp_path):
    page, named = (
        write_site_cases(run, tmp_path / "static", SIMULATED, share=False, patients=public) for public in (False, True)
    )
    assert page["refusal"] == named["refusal"] == ""
    scripts = sorted((tmp_path / "static").rglob("*.js"))
    assert {path.name for path in scripts} == {"cases.js", "01.js", "02.js"}
    assert page["html"].count('role="button"') == 2 * 3  # each case in each plot
    text = page["html"] + "".join(path.read_text(encoding="utf-8") for path in scripts)
    assert "SITE-0" not in text
    assert "SITE-0001" in named["html"], "its patients are to be published"
    assert "SITE-0003" not in named["html"]
    assert "0.20 (on these slices)" in text
    assert not re.findall(r"https?:", text)


def test_no_real_patient_is_shown_unless_shared_and_then_only_the_brain(run, tmp_path):
    static = tmp_path / "static"
    for results in (REAL, {}):  # what does not say whether its patients are simulated counts as real
        assert write_site_cases(run, static, results, share=False, patients=True) == {"refusal": NOT_SHARED, "html": ""}
    assert not static.exists()
    assert write_site_cases(run, static, REAL, share=True, patients=False)["refusal"] == ""
    (text,) = re.findall(r'= "(.+)";', (static / "cases" / "01.js").read_text())
    assert np.frombuffer(gzip.decompress(b64decode(text)), np.uint8).max() == 72  # bone would be 255


def test_one_patient_whom_the_truth_does_not_name_makes_the_cases_real(run, tmp_path):
    path = run / "cases" / "cases.csv"
    write_table(path, read_table(path).assign(simulated=[1, 0]))
    assert write_site_cases(run, tmp_path / "static", SIMULATED, share=False, patients=False)["refusal"] == NOT_SHARED


def test_a_study_without_networks_keeps_none_and_the_site_says_so(tmp_path):
    nothing = pd.DataFrame()
    assert keep_cases(tmp_path, Reader((), nothing, {}), nothing, nothing, threshold=0.5).empty
    assert read_table(tmp_path / "cases" / "cases.csv").empty
    page = write_site_cases(tmp_path, tmp_path / "static", SIMULATED, share=False, patients=False)
    assert page == {"refusal": NO_CASES, "html": ""}
