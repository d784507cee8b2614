"""The skill benchmark: what it measures, what it keeps, and that its pixels are those of a study."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import skill as benchmark
import skill_cohort
from skill import dl_scores, expected_auc, marker_features, model_probabilities, radiomics_score, skill
from skill_cohort import CohortSettings, kept_table, make_cohort, open_inside, read_cohort
from skill_densenet import crop_around

from hepred_lib.cohort.manifest import read_manifest
from hepred_lib.imaging.markers import measure_markers
from hepred_lib.imaging.scans import read_mask, read_scan
from hepred_lib.imaging.slices import open_patient, store_patient, stored_grid
from hepred_lib.stats.discrimination import auc
from hepred_lib.study.files import write_table
from ich_phantom.cohort import simulate_cohort


def test_the_expected_auc_of_certain_outcomes_is_the_auc():
    y, score = np.array([1, 0, 1, 0, 0]), np.array([3.0, 1.0, 2.0, 2.0, 0.0])
    assert expected_auc(score, y) == pytest.approx(auc(y, score), abs=1e-12)


def test_the_expected_auc_is_the_mean_over_outcomes():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.6, 300)
    score = p + rng.normal(0, 0.2, 300)
    drawn = [auc((rng.random(300) < p).astype(int), score) for _ in range(2000)]
    assert expected_auc(score, p) == pytest.approx(np.mean(drawn), abs=0.003)


def test_half_of_what_the_oracle_finds_is_a_skill_of_one_half():
    y = [0, 0, 1, 1]
    oracle, half = [0.1, 0.2, 0.8, 0.9], [0.1, 0.5, 0.5, 0.4]
    assert (auc(y, oracle), auc(y, half)) == (1.0, 0.625)
    assert skill(y, half, oracle).skill == pytest.approx(0.25)


def test_the_oracle_has_a_skill_of_one_without_doubt():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    own = skill(y, score := rng.normal(y), score)
    assert (own.skill, own.low, own.high) == (1.0, 1.0, 1.0)


def test_the_interval_of_skill_agrees_with_the_bootstrap():
    rng = np.random.default_rng(1)
    y = (rng.random(600) < 0.3).astype(int)
    oracle = rng.normal(1.2 * y)
    score = 0.6 * oracle + rng.normal(size=600)
    found = skill(y, score, oracle)
    drawn = [rng.integers(0, 600, 600) for _ in range(400)]
    low, high = np.quantile([skill(y[r], score[r], oracle[r]).skill for r in drawn], [0.025, 0.975])
    assert found.high - found.low == pytest.approx(high - low, rel=0.15)


def test_each_method_is_measured_against_what_it_may_know():
    assert [benchmark.knows(name) for name in ("volume", "bat", "clinical", "integrated_image", "oracle_image")] == [
        "image",
        "integrated",
        "clinical",
        "integrated",
        "image",
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cohort of coarse scans, of which three patients were made."""
    place = tmp_path_factory.mktemp("cohort")
    settings = CohortSettings(seed=3, patients=40, test=4, matrix=64, scan_matrix=64)
    make_cohort_of_few(place / "kept", settings)
    return place / "kept", settings


def make_cohort_of_few(folder, settings):
    """Rendering is what takes time: all but two hemorrhages and a blood-free head are left out."""
    cohort, truth = skill_cohort.cohort_rows(folder, settings, 2)
    rows = truth.merge(cohort[["patient_id", "age", "sex"]], on="patient_id")
    for row in rows.iloc[[0, 1, 40]].to_dict("records"):
        skill_cohort.make_patient(folder, settings, row)
    skill_cohort._collect(folder, cohort)
    for name, table in (("cohort", cohort), ("truth", truth)):
        write_table(folder / f"{name}.csv", table)


def test_development_patients_come_first_then_their_blood_free_scans_then_the_test(made):
    cohort, truth = skill_cohort.cohort_rows(*made, 2)
    assert cohort["split"].tolist() == 44 * ["development"] + 4 * ["test"]
    assert cohort["patient_id"].tolist() == truth["patient_id"].tolist()
    assert cohort["he"].isna().tolist() == 40 * [False] + 4 * [True] + 4 * [False]


def test_a_pale_cohort_has_none_but_large_hemorrhages_with_a_pale_part(tmp_path):
    cohort, truth = skill_cohort.cohort_rows(tmp_path, CohortSettings(seed=3, patients=40, test=0, pale=1), 2)
    assert cohort["patient_id"].tolist() == truth["patient_id"].tolist()
    assert (len(truth), truth["blood_free"].sum()) == (40, 0)
    assert truth["true_baseline_ml"].min() >= 30
    assert truth[["blend", "fluid_level"]].max(axis=1).eq(1).all()


def test_the_kept_pixels_and_markers_are_those_of_a_study(made, tmp_path):
    folder, _ = made
    simulate_cohort(tmp_path, n_patients=2, seed=3, matrix=64, n_processes=1)
    quality = pd.read_csv(folder / "quality.csv").set_index("patient_id")
    markers = pd.read_csv(folder / "markers.csv").set_index("patient_id")
    for row in read_manifest(tmp_path / "manifest.csv").to_dict("records"):
        name = row["patient_id"]
        record = store_patient(tmp_path / "slices", row, matrix=64)
        np.testing.assert_array_equal(open_patient(tmp_path / "slices", name), open_patient(folder, name))
        assert record["mask_ml"] == quality.loc[name, "mask_ml"]
        hu, mask = open_inside(folder, name, stored_grid(quality, name))
        scan = read_scan(row["baseline_ct"])
        np.testing.assert_array_equal(mask, read_mask(row["baseline_mask"], scan))
        measured = measure_markers(hu, mask, scan.spacing_mm)
        assert measured == pytest.approx(markers.loc[name].to_dict(), abs=1e-12)
        assert measured == measure_markers(scan.hu, mask, scan.spacing_mm)


def test_a_cohort_that_lacks_patients_is_refused(made):
    folder, _ = made
    with pytest.raises(ValueError, match="must hold every patient of its cohort, got 45 fewer"):
        read_cohort(folder)


def test_a_folder_of_other_settings_is_refused(tmp_path):
    skill_cohort._require_same(tmp_path / "settings.json", {"seed": 1})
    with pytest.raises(ValueError, match="must be empty or of the settings"):
        make_cohort(tmp_path, CohortSettings(seed=2, patients=1, test=1))


def test_a_kept_table_is_made_again_only_for_other_settings(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return pd.DataFrame({"a": [1.5]})

    for epochs in (1, 1, 2):
        assert kept_table(tmp_path / "t.csv", {"epochs": epochs}, make)["a"].tolist() == [1.5]
    assert len(calls) == 2


def test_a_crop_has_the_hematoma_in_its_middle_even_at_the_edge_of_the_scan():
    scan, blood = np.zeros((6, 20, 20), dtype=np.float32), np.zeros((6, 20, 20), dtype=np.uint8)
    scan[0, 1, 18], blood[0, 1, 18] = 1.0, 255
    crop = crop_around(scan - 1.0, blood, (4, 8, 8))
    assert crop.shape == (4, 8, 8)
    assert crop[2, 4, 4] == 0
    assert (crop == -1).sum() == crop.numel() - 1


def test_a_patient_of_test_gets_the_mean_of_the_networks_and_one_of_development_its_own():
    def reading(name, fold, logits):
        return {"patient_id": name, "fold": fold, "logits": logits, "detected": 1, "volume_ml": 1.0}

    readings = [reading("a", 0, [1.0]), reading("b", 0, [3.0]), reading("c", 1, [10.0]), reading("d", 1, [30.0])]
    scores = dl_scores([*readings, reading("t", -1, [2.0, 30.0])], pd.Series(["a", "b", "c", "d", "t"]))
    np.testing.assert_allclose(scores[["a", "b", "c", "d"]], [-(0.5**0.5), 0.5**0.5] * 2)
    assert scores["t"] == pytest.approx((0 + 0.5**0.5) / 2)


@pytest.fixture(scope="module")
def tabled():
    """60 development and 40 test patients whose outcome follows one marker, and is noise to all else."""
    rng = np.random.default_rng(5)
    names = [f"P{k}" for k in range(100)]
    volume, he = np.exp(rng.normal(2, 1, 100)), np.tile([0.0, 1.0], 50)
    markers = pd.DataFrame({"patient_id": names, "volume_ml": volume, "sd_hu": rng.normal(2 * he)})
    cohort = pd.DataFrame({"patient_id": names, "he": he, "split": 60 * ["development"] + 40 * ["test"]})
    cohort["fold"] = np.r_[np.arange(60) // 2 % 2, np.full(40, -1)]
    return markers, cohort, radiomics_score(markers, cohort, seed=1)


def test_markers_find_what_follows_from_them_in_patients_they_were_not_fitted_on(tabled):
    _, cohort, score = tabled
    assert score.index.tolist() == cohort["patient_id"].tolist()
    assert auc(cohort["he"][60:].astype(int), score.to_numpy()[60:]) > 0.8


def test_outcomes_of_test_patients_change_no_score(tabled):
    markers, cohort, score = tabled
    other = cohort.assign(he=cohort["he"].where(cohort["split"].eq("development"), 1 - cohort["he"]))
    pd.testing.assert_series_equal(radiomics_score(markers, other, seed=1), score)


def test_a_patient_without_an_outline_has_a_score_all_the_same(tabled):
    markers, cohort, _ = tabled
    blind = markers.copy()
    blind.loc[[3, 70], ["volume_ml", "sd_hu"]] = np.nan
    assert radiomics_score(blind, cohort, seed=1).notna().all()
    assert marker_features(blind).loc["P0", "log_volume"] == pytest.approx(np.log(markers["volume_ml"][0]))


def test_a_score_joins_the_bedside_and_test_outcomes_have_no_part():
    cohort, truth = skill_cohort.cohort_tables(160, 4)
    cohort = cohort[truth["blood_free"].eq(0)].reset_index(drop=True)
    cohort = cohort.assign(split=["development"] * 120 + ["test"] * 40, fold=[*(np.arange(120) % 2), *([-1] * 40)])
    score = pd.Series(np.random.default_rng(0).normal(2 * cohort["he"].to_numpy(float)), index=cohort["patient_id"])
    bedside = benchmark.Bedside(n_imputations=1, n_resamples=2)
    p = model_probabilities(cohort, score, bedside)
    other = cohort.assign(he=cohort["he"].where(cohort["split"].eq("development"), 1 - cohort["he"]))
    pd.testing.assert_series_equal(p, model_probabilities(other, score, bedside))
    assert auc(cohort["he"][120:].astype(int), p.to_numpy()[120:]) > 0.8


def test_quick_changes_defaults_only_and_settings_of_the_network_are_read():
    arguments = benchmark.read_arguments(
        ["--out", "x", "--quick", "--test", "80", "--training", "learning_rate=0.002", "--network", "encoder=resnet34"]
    )
    plan = benchmark.plan_of(arguments, 7)
    assert (plan.cohort.seed, plan.cohort.patients, plan.cohort.test, plan.folds) == (7, 60, 80, 2)
    assert (plan.image.training.learning_rate, plan.image.training.epochs) == (0.002, 1)
    assert plan.image.network.encoder == "resnet34"
