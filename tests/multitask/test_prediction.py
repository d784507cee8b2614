"""Scores: standardized by each fold's own held-out patients, joined without a leak."""

import copy
import threading
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from hepred_lib.errors import ManifestError, StudyError
from hepred_lib.imaging.preprocessing import filled
from hepred_lib.imaging.segmentation import hd95_mm
from hepred_lib.imaging.slices import HU, HU_OFFSET, from_torch
from hepred_lib.multitask import prediction as module
from hepred_lib.multitask.data import DESCRIPTORS, measured_descriptors
from hepred_lib.multitask.network import EVIDENCE, READOUTS, MultitaskNetwork, NetworkSettings
from hepred_lib.multitask.prediction import (
    AGREEMENT,
    Reference,
    normalized_scores,
    outline_agreement,
    predict_cohort,
    predict_ensemble,
    predict_patient,
    raw_scores,
    score_scales,
    signs_seen,
    slice_calls,
)
from hepred_lib.study.files import write_table


@pytest.fixture
def folds() -> pd.DataFrame:
    """Two folds of three patients each and two test patients; every network has a logit for every patient."""
    names = ["D0", "D1", "D2", "D3", "D4", "D5", "T0", "T1"]
    held, taught, test = ["held_out"] * 3, ["in_fold"] * 3, ["test"] * 2
    table = pd.DataFrame({"fold": np.repeat([0, 1], 8), "patient_id": names * 2})
    table["role"] = [*held, *taught, *test, *taught, *held, *test]
    logits = np.random.default_rng(0).normal(table["fold"], 1 + table["fold"])
    return table.assign(dl_logit=logits, hematoma_detected=1, predicted_volume_ml=10.0)


def test_held_out_scores_of_each_fold_have_mean_0_and_sd_1(folds):
    scores = normalized_scores(folds, score_scales(folds))["dl_score"]
    for members in (["D0", "D1", "D2"], ["D3", "D4", "D5"]):
        assert scores[members].mean() == pytest.approx(0.0, abs=1e-12)
        assert scores[members].std(ddof=1) == pytest.approx(1.0)


def test_a_test_score_is_the_mean_of_the_standardized_logits_and_its_spread_their_standard_deviation(folds):
    scales = score_scales(folds)
    folds = folds.assign(hematoma_detected=folds["fold"], predicted_volume_ml=10.0 + folds["fold"])
    rows = folds[folds["patient_id"] == "T0"].set_index("fold")
    by_hand = [(rows.loc[k, "dl_logit"] - scales.loc[k, "mean"]) / scales.loc[k, "sd"] for k in (0, 1)]
    expected = rows["dl_logit"].mean(), np.mean(by_hand), abs(by_hand[0] - by_hand[1]) / np.sqrt(2), 1, 10.5
    scores = normalized_scores(folds, scales)
    assert scores.loc["T0"].tolist() == pytest.approx(expected)
    assert scores.loc["D0"].tolist()[2:] == pytest.approx([np.nan, 0, 10.0], nan_ok=True), "of one network"


def test_neither_a_constant_added_to_one_folds_logits_nor_in_fold_logits_change_a_score(folds):
    shifted = folds.assign(dl_logit=folds["dl_logit"] + 5.0 * (folds["fold"] == 1))
    wild = shifted.assign(dl_logit=shifted["dl_logit"].mask(shifted["role"] == "in_fold", 1e6))
    before, after = (normalized_scores(table, score_scales(table))["dl_score"] for table in (folds, wild))
    pd.testing.assert_series_equal(before, after)
    wild.loc[wild["role"] == "test", "dl_logit"] = 1e6
    pd.testing.assert_frame_equal(score_scales(shifted), score_scales(wild))


def test_held_out_logits_that_do_not_vary_are_refused(folds):
    flat = folds.assign(dl_logit=folds["dl_logit"].where(folds["fold"] != 1, 0.3))
    with pytest.raises(ValueError, match="held-out logits of fold 1 must vary"):
        score_scales(flat)


def test_a_scan_without_detected_blood_still_has_a_score_from_three_slices(network, patients):
    reading = predict_patient(network, patients[9])
    assert np.isfinite(reading.logit)
    assert (reading.detected, (reading.share > 0).sum()) == (False, 3)


def test_the_ensemble_of_one_network_is_that_network(network, patients):
    single, (mean, (one,)) = predict_patient(network, patients[0]), predict_ensemble([network], patients[0])
    np.testing.assert_array_equal(single.probability, mean.probability)
    assert one.logit == mean.logit == single.logit


@pytest.fixture
def seeing(network):
    """Networks that take about half of all pixels for blood."""
    torch.manual_seed(1)
    networks = [copy.deepcopy(network), MultitaskNetwork(NetworkSettings()).eval()]
    with torch.no_grad():
        for one in networks:
            one.outline[0].bias.zero_()
    return networks


def test_an_ensemble_averages_what_was_read_and_measures_the_mean_outline(seeing, patients):
    mean, readings = predict_ensemble(seeing, patients[0])
    for name in ("probability", "presence", "ventricular", "share", "values", "logit"):
        parts = [getattr(reading, name) for reading in readings]
        assert np.abs(np.subtract(*parts)).max() > 0, name
        assert getattr(mean, name) == pytest.approx(np.mean(parts, axis=0), rel=1e-5, abs=1e-7), name
    for reading in (mean, *readings):
        outline = reading.probability >= 0.5
        assert reading.volume_ml == pytest.approx(outline.sum() * patients[0].voxel_ml)
        assert reading.detected == (outline.sum(axis=(1, 2)).max() * patients[0].pixel_mm ** 2 >= 20)


def test_descriptors_are_measured_inside_the_networks_own_outline_in_mm(seeing, patients):
    seeing[0].expansion.descriptor_sd.fill_(1000.0)  # nothing is clipped
    reading, planes = predict_patient(seeing[0], patients[0]), patients[0].planes
    hu, outline = from_torch(planes[:, HU]) - float(HU_OFFSET), from_torch(reading.probability >= 0.5)
    measured = torch.from_numpy(measured_descriptors(hu, filled(outline), (3.0, 3.0, 5.0)))
    expected = seeing[0].expansion.standardize(measured[None])[0].tolist()
    names = READOUTS["both"].index(f"measured_{DESCRIPTORS[0]}")
    assert reading.values[names : names + len(DESCRIPTORS)].tolist() == pytest.approx(expected, rel=1e-4)


def test_several_patients_read_at_a_time_are_predicted_in_order_with_the_numbers_of_one_after_the_other(
    network, patients
):
    before, found = torch.get_num_threads(), {}
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found[threads] = predict_cohort(network, patients)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, three in zip(found[1], found[3], strict=True):
        pd.testing.assert_frame_equal(one, three, check_exact=True)
    predictions, slices = found[3]
    assert predictions["patient_id"].tolist() == [patient.patient_id for patient in patients]
    assert predictions.notna().all(axis=None)
    np.testing.assert_array_equal(slices["blood"], np.concatenate([patient.labels for patient in patients]))
    assert slices[list(EVIDENCE)].notna().all(axis=None)


@pytest.mark.parametrize(("name", "at_once"), [("mps", 1), ("cuda", 3)])
def test_apples_gpu_is_used_by_one_thread_at_a_time(network, patients, monkeypatch, name, at_once):
    reading = predict_patient(network, patients[0])
    elsewhere = SimpleNamespace(parameters=lambda: iter([SimpleNamespace(device=torch.device(name))]))
    together = threading.Barrier(at_once)

    def predicted(*_):
        assert entered.acquire(blocking=False), "more threads than may"
        together.wait(10)
        time.sleep(0.01)
        entered.release()
        return reading

    entered, before = threading.BoundedSemaphore(at_once), torch.get_num_threads()
    monkeypatch.setattr(module, "_predicted", predicted)
    torch.set_num_threads(3)
    try:
        assert len(predict_cohort(elsewhere, patients[:9])[0]) == 9
    finally:
        torch.set_num_threads(before)


def test_a_memory_that_is_too_small_to_read_says_what_would_do(network, patients, monkeypatch):
    def too_large(*_):
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr(module, "_predicted", too_large)
    with pytest.raises(
        StudyError, match=r"memory of cpu is too small to read 8 slices .* \(patient P00\): .*device: cpu"
    ):
        predict_patient(network, patients[0])


def test_a_reading_that_is_not_finite_is_refused_and_never_no_hematoma(network, patients):
    spoiled = copy.deepcopy(network)
    with torch.no_grad():
        spoiled.outline[0].bias.fill_(torch.nan)
    with pytest.raises(StudyError, match=r"computes of patient P00 on CPU, .* must be finite, got NaN"):
        predict_patient(spoiled, patients[0])


def test_no_patient_gives_two_empty_tables(network):
    found, slices = predict_cohort(network, [])
    assert (len(found), len(slices)) == (0, 0)
    assert {"patient_id", *READOUTS["both"]} <= set(found)
    assert {"patient_id", "blood", *EVIDENCE} == set(slices)


def test_predicted_descriptors_never_leave_the_range_of_their_targets(network, patients):
    wild = copy.deepcopy(network)
    with torch.no_grad():
        wild.expansion.describe.weight.mul_(1000)
    predicted = predict_patient(wild, patients[0]).values[: len(DESCRIPTORS)]
    assert np.abs(predicted).max() == 3.0


def test_raw_scores_are_those_of_the_networks_or_of_the_manifest_by_whose_development_patients_they_are_scaled(
    tmp_path, folds
):
    for fold, rows in folds.groupby("fold"):
        write_table(tmp_path / "folds" / str(fold) / "predictions.csv", rows)
    assert len(raw_scores(tmp_path, pd.DataFrame(), [0, 1])) == len(folds)
    cohort = pd.DataFrame({"patient_id": list("abc"), "split": ["development"] * 2 + ["test"]})
    raw = raw_scores(tmp_path, cohort.assign(external_score=[1.0, 3.0, 2.0]), [])
    assert raw["dl_logit"].tolist() == [1.0, 3.0, 2.0]
    assert normalized_scores(raw, score_scales(raw)).loc["c", "dl_score"] == 0.0
    with pytest.raises(ManifestError, match="external_score must vary among the development patients, got 1 for all 2"):
        raw_scores(tmp_path, cohort.assign(external_score=[1.0, 1.0, 2.0]), [])


def test_signs_are_measured_in_the_reference_and_without_one_in_the_prediction():
    hu, predicted = np.full((40, 40, 12), 30.0), np.zeros((40, 40, 12), bool)
    predicted[10:30, 10:30, 2:10] = True
    hu[predicted] = 65.0
    hu[15:25, 15:25, 3:9] = 35.0
    scan = SimpleNamespace(hu=hu, spacing_mm=(1.0, 1.0, 5.0))
    reading, reference = SimpleNamespace(scan=scan, outline=predicted), np.zeros_like(predicted)
    assert signs_seen(reading, None)["hypodensity_seen"] == 1
    reference[10:14, 10:30, 2:10] = True
    assert signs_seen(reading, Reference(reference, None)) == {"blend_seen": 0, "hypodensity_seen": 0}
    assert np.isnan(signs_seen(reading, Reference(np.zeros_like(predicted), None))["blend_seen"])


def test_outlines_and_calls_are_compared_by_hand_in_ml_and_mm2():
    outline, reference, seen, known = np.zeros((4, 8, 6, 3), bool)
    reference[2:6, 1:5] = outline[2:4, 1:5] = known[0, :4] = seen[0, 2:6] = True
    outline[3, :, 0] = False
    grid = SimpleNamespace(to_slices=lambda mask: mask.astype(float))
    reading = SimpleNamespace(
        scan=SimpleNamespace(spacing_mm=(0.5, 1.0, 5.0)),
        slices=SimpleNamespace(grid=grid),
        patient=SimpleNamespace(patient_id="a", pixel_mm=2.0, labels=np.array([1.0, np.nan, 0.0])),
        prediction=SimpleNamespace(presence=np.array([0.9, 0.5, 0.1])),
        **{"outline": outline, "ventricles": seen, "volume_ml": 0.05, "ventricles_ml": 0.03},
    )
    found = outline_agreement(reading, Reference(reference, known))
    assert tuple(found) == AGREEMENT
    # 20 of 48 voxels of 0.0025 mL; in the ventricles 12 and 12, 6 of them common.
    away_mm = hd95_mm(reference, outline, (0.5, 1.0, 5.0))
    assert list(found.values())[1:] == pytest.approx([40 / 68, away_mm, 0.12, 0.05, 0.5, 0.03, 0.03])
    found = outline_agreement(reading, Reference(reference, None))
    assert np.isnan([found["ivh_dice"], found["reference_ivh_ml"]]).all()
    reading.ventricles = np.zeros_like(seen)
    assert np.isnan(outline_agreement(reading, Reference(reference, reading.ventricles))["ivh_dice"])
    assert outline_agreement(reading, Reference(reference, known))["ivh_dice"] == 0
    calls = slice_calls(reading)
    assert calls["predicted_mm2"].tolist() == [16, 32, 32]
    assert calls["presence"].tolist() == [0.9, 0.5, 0.1]
    np.testing.assert_array_equal(calls["blood"], [1.0, np.nan, 0.0])
