"""The smoke study end to end, as a user runs it, and the relations that must hold in what it leaves."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from hepred_lib.study.definition import NOTEBOOKS
from hepred_lib.study.files import read_figure_data, read_json, read_table
from tests.faults.harness import succeed

pytestmark = pytest.mark.book
RATES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
BEDSIDE = {  # every candidate: whatever so small a study selects is known
    **{"age": 70, "sex": "F", "gcs": 13, "onset_to_ct_h": 1.5, "nihss": 12, "sbp_mmhg": 180, "dbp_mmhg": 95},
    **dict.fromkeys(("hypertension", "diabetes", "smoking", "alcohol", "prior_stroke", "antiplatelet"), 0),
    **{"anticoagulant": 1, "inr": 1.1, "platelets_10e9_l": 200, "glucose_mmol_l": 7, "fibrinogen_g_l": 3},
    **{"hemoglobin_g_dl": 13.5, "creatinine_umol_l": 80, "wbc_10e9_l": 8},
}


@pytest.fixture(scope="session")
def results(run) -> dict:
    return read_json(run / "results.json")


def test_the_whole_book_is_executed_and_the_run_ends_with_the_models_table_and_says_simulated(run, finished):
    assert "clinical" in finished.stdout
    assert "simulated" in finished.stdout
    executed = {path.stem.split("_fold")[0] for path in (run / "notebooks").glob("*.ipynb")}
    assert executed == set(NOTEBOOKS)


def test_counts_add_up(results):
    n = results["n"]
    assert n["development"] + n["test"] == n["patients"] == 36
    assert n["blood_free"] == 4
    for name in ("image", "clinical", "integrated"):
        model = results["models"][name]
        assert model["tp"] + model["fn"] == n["he_test"]
        assert model["fp"] + model["tn"] == n["test"] - n["he_test"]


def test_every_interval_contains_its_estimate_or_a_note_says_why_there_is_none(results):
    for model in ("image", "clinical", "integrated"):
        found = results["models"][model]
        for name in ("auc", "calibration_slope", *RATES):
            if found[name] is not None and found[f"{name}_ci"] is not None:
                low, high = found[f"{name}_ci"]
                assert low <= found[name] <= high, (model, name)
        assert found["auc_ci"] or any(note.startswith(f"models.{model}") for note in results["notes"])


def test_results_hold_every_key_of_the_contract(results):
    assert set(results) >= {
        *("study", "image_source", "he_definition", "n", "detection", "segmentation", "models", "scores"),
        *("comparisons", "selection", "optimism", "added_score", "oracle"),
    }
    assert results["added_score"]["p_permuted"] is None  # three and four patients with expansion in a fold
    model = results["models"]["integrated"]
    assert set(model) >= {"brier", "brier_scaled", "calibration_in_the_large", "ici", "e90", "threshold", *RATES}
    agreement = {"dice_median", "dice_iqr", "hd95_mm_median", "volume_bias_ml", "volume_loa_ml"}
    assert set(results["segmentation"]) == agreement


def test_provenance_names_every_step_with_its_parameters_and_the_device_of_training(run):
    found = read_json(run / "provenance.json")
    assert [name[:2] for name in found["notebooks"]] == ["01", "02", "03", "03", "04", "05", "06", "07"]
    assert found["notebooks"]["03_multitask_training_fold1"]["parameters"]["epochs"] == 2
    assert found["device"]


def test_no_test_patient_stands_in_any_development_artifact(run):
    cohort = read_table(run / "cohort.csv")
    test = set(cohort.loc[cohort["split"] == "test", "patient_id"])
    for path in run.glob("folds/*/predictions.csv"):
        roles = read_table(path)
        assert set(roles.loc[roles["role"] == "test", "patient_id"]) == test
        assert not set(roles.loc[roles["role"] != "test", "patient_id"]) & test
    assert (cohort.loc[cohort["patient_id"].isin(test), "fold"] == -1).all()


def test_kept_cases_are_read_as_their_score_was(run):
    kept, arrays = read_table(run / "cases" / "cases.csv"), read_figure_data(run / "cases")
    assert set(arrays) == {"cases", *kept["patient_id"]}
    fold = read_table(run / "cohort.csv").set_index("patient_id")["fold"]
    quality = read_table(run / "slices" / "quality.csv").set_index("patient_id")
    for row in kept[kept["patient_id"].map(fold).ge(0)].itertuples():
        case, thickness_mm = arrays[row.patient_id], quality.loc[row.patient_id, "thickness_mm"]
        ml = np.sum(case["masks"] & 2 > 0) * case["pixel_mm"] ** 2 * thickness_mm / 1000
        assert ml <= row.predicted_ml + 1e-6, row.patient_id  # without what was taken for blood in the ventricles


def test_each_development_patient_is_held_out_by_one_fold_only_whose_score_counts(run):
    folds = pd.concat([read_table(path) for path in run.glob("folds/*/predictions.csv")])
    held_out = folds[folds["role"] == "held_out"].set_index("patient_id")["dl_logit"]
    assert held_out.index.is_unique
    assert set(held_out.index) == set(folds.loc[folds["role"] != "test", "patient_id"])
    image = read_table(run / "image.csv").set_index("patient_id")
    own = image.loc[held_out.index, "dl_score_raw"]
    np.testing.assert_allclose(own, held_out)


def test_a_probability_is_recomputed_by_hand_from_the_models_file(run):
    described = read_json(run / "image_model.json")
    assert described["units"] == {"dl_score": "per SD"}
    assert described["versions"]["hepred"]
    model, test = described["logistic"], read_table(run / "predictions.csv").query("split == 'test'")
    by_hand = 1 / (1 + np.exp(-(model["intercept"] + model["coefficients"]["dl_score"] * test["dl_score"])))
    np.testing.assert_allclose(by_hand, test["p_image"], rtol=1e-9)


def test_cross_fitted_and_apparent_probabilities_differ_in_development_only(run):
    predictions = read_table(run / "predictions.csv")
    same = np.isclose(predictions["p_clinical"], predictions["p_clinical_apparent"])
    assert same[predictions["split"] == "test"].all()
    assert not same[predictions["split"] == "development"].all()


def test_a_second_run_does_nothing(run, study_file):
    kept = [path for path in run.rglob("*") if path.is_file() and not path.relative_to(run).as_posix().startswith(".")]
    before = [path.stat().st_mtime_ns for path in kept]
    done = succeed("run", study_file, "--cores", 2)
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert "..." not in done.stderr
    assert done.stderr.splitlines() == [f"Study smoke: results in {run}", "nothing to do: every step is up to date"]


def test_a_changed_parameter_of_07_reruns_07_and_08_only(run, study_file):
    original, name = study_file.read_text(), "07_roc_calibration_figures"
    study_file.write_text(original.replace(f"{name}: {{n_resamples: 50}}", f"{name}: {{n_resamples: 51}}"))
    planned = succeed("run", study_file, "--", "--dry-run")
    study_file.write_text(original)
    lines = (planned.stdout + planned.stderr).splitlines()
    rules = {line.split()[1].rstrip(":") for line in lines if line.startswith(("rule ", "localrule "))}
    assert rules == {"all", name, "08_new_patients"}


def test_figures_are_redrawn_from_their_data_without_torch_and_with_the_same_bytes(run):
    before = {path.name: path.read_bytes() for path in (run / "figures").iterdir()}
    code = (
        "import sys; sys.argv = ['hepred', 'figures', sys.argv[1]]\n"
        "from hepred_lib.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(run)], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in (run / "figures").iterdir()} == before


def test_a_patient_predicted_alone_has_the_score_of_its_cohort_and_an_outline_on_the_scans_grid(run, root, tmp_path):
    patient = read_table(run / "image.csv").query("split == 'test'").iloc[0]
    ct = root / "cohorts" / "smoke" / "scans" / f"{patient['patient_id']}_baseline_ct.nii.gz"
    (tmp_path / "patient.json").write_text(json.dumps(BEDSIDE))
    words = ("--ct", ct, "--clinical", tmp_path / "patient.json", "--out", tmp_path / "out")
    answer = json.loads(succeed("predict", run, *words).stdout)
    assert set(answer) == {
        *("hematoma_detected", "hematoma_volume_ml", "ventricular_volume_ml", "dl_score", "dl_score_spread"),
        *("p_image", "p_clinical", "p_integrated", "warnings"),
    }
    assert answer["dl_score"] == pytest.approx(patient["dl_score"], abs=1e-4)
    assert answer["p_image"] == pytest.approx(patient["p_image"], abs=1e-4)
    assert all(0 < answer[f"p_{name}"] < 1 for name in ("image", "clinical", "integrated"))
    outline, scan = nib.load(tmp_path / "out" / "hematoma.nii.gz"), nib.load(ct)
    assert outline.shape == scan.shape
    np.testing.assert_allclose(outline.affine, scan.affine, atol=1e-4)
    assert (tmp_path / "out" / "overview.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "viewer.html").stat().st_size > 10_000


def test_real_scans_can_be_read_by_the_frozen_study(run, tmp_path, shared):
    manifest = pd.read_csv(shared / "data" / "phe_sich" / "manifest.csv").head(2)
    for column in ("baseline_ct", "baseline_mask"):
        manifest[column] = [str(shared / "data" / "phe_sich" / name) for name in manifest[column]]
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    succeed("external", run, tmp_path / "manifest.csv", "--out", tmp_path / "out")
    found = read_json(tmp_path / "out" / "external.json")
    assert [row["patient_id"] for row in found["segmentation"]["per_patient"]] == manifest["patient_id"].tolist()
    assert found["models"] == {}
    assert any("no outcomes" in note for note in found["notes"])
