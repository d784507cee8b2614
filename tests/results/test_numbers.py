"""The numbers of results.json: counted, never made up, null with a reason."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.study import summary


@pytest.fixture
def rows() -> pd.DataFrame:
    """Forty test patients, ten with expansion; the integrated model is the best of three."""
    rng = np.random.default_rng(0)
    he = np.repeat([1, 0], [10, 30])
    rows = pd.DataFrame({"patient_id": [f"T{i}" for i in range(40)], "he": he})
    for name, strength in (("image", 0.5), ("clinical", 1.0), ("integrated", 1.4)):
        rows[f"p_{name}"] = 1 / (1 + np.exp(1.1 - strength * he - rng.normal(0, 0.7, 40)))
    return rows


def test_slices_that_can_be_called_either_way_are_left_out():
    calls = pd.DataFrame(
        {"patient_id": list("aabb"), "presence": [0.9, 0.1, 0.8, 0.2], "blood": [1.0, 0.0, np.nan, 0.0]}
    )
    notes = []
    found = summary.detection(calls, n_resamples=50, rng=np.random.default_rng(0), notes=notes)
    assert (found["auc"], found["n_slices"]) == (1.0, 3)


def test_detection_without_bloody_slices_is_null_with_a_reason():
    calls = pd.DataFrame({"patient_id": ["a"], "presence": [0.5], "blood": [0.0]})
    notes = []
    assert summary.detection(calls, n_resamples=5, rng=np.random.default_rng(0), notes=notes)["auc"] is None
    assert "slices with and without blood are needed" in notes[0]


def test_outlines_of_blood_free_patients_do_not_enter_the_dice():
    table = pd.DataFrame({"dice": [0.8, 0.9, 1.0], "hd95_mm": [3.0, 2.0, 0.0], "reference_ml": [5.0, 9.0, 0.0]})
    found = summary.segmentation(table.assign(predicted_ml=[6.0, 9.0, 0.0]), notes=[])
    assert found["dice_median"] == pytest.approx(0.85)
    assert found["volume_bias_ml"] == pytest.approx(0.5)


def test_no_reference_outline_gives_nulls_with_a_reason():
    notes = []
    empty = pd.DataFrame({"dice": [], "hd95_mm": [], "reference_ml": [], "predicted_ml": []})
    assert set(summary.segmentation(empty, notes=notes).values()) == {None}
    assert notes


def test_models_are_judged_beside_the_accuracy_of_calling_nobody_positive(rows):
    notes = []
    found = summary.evaluate_models(rows, {"clinical": 0.3, "integrated": 0.3}, notes=notes)
    assert found["null"]["accuracy"] == 0.75
    assert found["integrated"]["auc"] > found["clinical"]["auc"]
    assert any("10 events" in note for note in notes)


def test_comparisons_follow_the_order_of_the_contract(rows):
    pairs = [(pair["a"], pair["b"]) for pair in summary.compare(rows, list(summary.MODELS), notes=[])]
    assert pairs == [("integrated", "clinical"), ("integrated", "image"), ("clinical", "image")]


def test_a_model_is_judged_on_the_patients_who_have_its_input(rows):
    gaps = rows.assign(p_image=rows["p_image"].where(rows.index >= 3))
    found = summary.evaluate_models(gaps, dict.fromkeys(summary.MODELS, 0.3), notes=[])
    assert [(found[name]["n"], found[name]["n_events"]) for name in summary.MODELS] == [(37, 7), (40, 10), (40, 10)]
    whole = summary.evaluate_models(rows.iloc[3:], {"image": 0.3}, notes=[])
    assert found["image"] == whole["image"]


def test_a_model_without_any_input_is_null_with_a_reason(rows):
    notes = []
    found = summary.evaluate_models(rows.assign(p_image=np.nan), {"image": 0.3, "clinical": 0.3}, notes=notes)
    assert found["image"] is None
    assert found["clinical"]["n"] == 40
    assert any(note.startswith("models.image: no patient") for note in notes)


def test_without_outcomes_no_model_is_judged_and_a_note_says_so(rows):
    notes = []
    assert summary.evaluate_models(rows.iloc[:0], {"clinical": 0.3}, notes=notes) == {}
    assert notes == ["models: no outcomes."]


def test_two_models_are_compared_on_the_patients_who_have_both(rows):
    gaps = rows.assign(p_image=rows["p_image"].where(rows.index >= 3))
    pairs = {(pair["a"], pair["b"]): pair for pair in summary.compare(gaps, list(summary.MODELS), notes=[])}
    assert [pair["n"] for pair in pairs.values()] == [40, 37, 37]
    (alone,) = summary.compare(rows.iloc[3:], ["clinical", "image"], notes=[])
    assert pairs[("clinical", "image")] == alone


def test_models_without_a_common_patient_are_not_compared_and_a_note_says_so(rows):
    notes, late = [], rows.index >= 20
    apart = rows.assign(p_image=rows["p_image"].where(late), p_clinical=rows["p_clinical"].where(~late))
    assert summary.compare(apart, ["image", "clinical"], notes=notes) == []
    assert notes == ["comparisons.clinical-image: no patient has both probabilities."]


def test_a_bedside_score_is_judged_where_its_columns_are_complete():
    rows = pd.DataFrame(
        {"he": [1, 0, 1, 0], "nihss": [12, 3, 15, np.nan], "anticoagulant": [1, 0, 0, 0], "glucose_mmol_l": 8.0}
    )
    found = summary.bedside_scores(rows, notes=[])
    assert (found["nag"]["n"], found["nag"]["auc"]) == (3, 1.0)
    assert found["brain"]["auc"] is None


def test_the_oracle_is_matched_by_patient_and_null_where_unknown(rows):
    truth = rows[["patient_id", "p_image", "p_clinical", "p_integrated"]].sample(frac=1, random_state=0)
    judged = summary.evaluate_models(rows, {"image": 0.3}, notes=[])
    found = summary.oracle_auc(rows[["patient_id", "he"]], truth, notes=[])
    assert found["image_auc"] == pytest.approx(judged["image"]["auc"])
    assert summary.oracle_auc(rows, None, notes=[]) is None
