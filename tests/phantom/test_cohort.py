"""The cohort as a whole: what it promises about its numbers, its files and its seeds, and the figure of its truth."""

import io
import json
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

import ich_phantom
from hepred_lib.cohort.expansion import expansion_label
from hepred_lib.cohort.manifest import manifest_problems, read_manifest
from hepred_lib.cohort.predictors import CLINICAL_CANDIDATES
from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.imaging.scans import read_mask, read_scan
from hepred_lib.imaging.volume import mask_volume_ml
from hepred_lib.intake.check import check_manifest
from hepred_lib.stats.discrimination import auc, roc_points
from hepred_lib.stats.operating_point import exact_interval
from hepred_lib.study.definition import PROJECT, load_study
from hepred_lib.study.running import _is_whole
from ich_phantom import PhantomError
from ich_phantom.cohort import (
    NULLS,
    PREDICTORS,
    PROXIES,
    _begin_worker,
    cohort_tables,
    portray_truth,
    simulate_cohort,
    within_class_correlation,
)
from ich_phantom.growth import label_probability
from ich_phantom.patients import SIGNS


@pytest.fixture(scope="module", params=(1, 2, 3))
def large(request):
    """The hemorrhages of 20,000 patients: manifest, truth and outcome."""
    manifest, truth = cohort_tables(20_000, request.param)
    bled = truth["blood_free"] == 0
    return manifest[bled], truth[bled], manifest.loc[bled, "he"].to_numpy(dtype=int)


def _handler_of_a_worker(_: int) -> bool:
    return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_workers_end_by_the_signal_that_their_pool_sends_whatever_the_caller_does_at_it():
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with multiprocessing.get_context("fork").Pool(1, initializer=_begin_worker) as pool:
            assert pool.map(_handler_of_a_worker, [0]) == [True]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_fifth_of_the_hematomas_expand_and_their_median_volume_is_as_published(large):
    manifest, _, he = large
    assert 0.18 <= he.mean() <= 0.22
    assert 9 <= manifest["baseline_volume_ml"].median() <= 14


def test_every_sign_has_an_odds_ratio_inside_its_published_interval(large):
    _, truth, he = large
    for name, sign in SIGNS.items():
        (a, b), (c, d) = pd.crosstab(truth[name].to_numpy(dtype=int), he).to_numpy()
        assert sign.accepted[0] < a * d / (b * c) < sign.accepted[1], name


def test_the_oracle_discriminates_as_designed_is_calibrated_and_its_parts_overlap_within_classes(large):
    _, truth, he = large
    designed = {"p_image": (0.79, 0.83), "p_clinical": (0.78, 0.83), "p_integrated": (0.86, 0.90)}
    for name, (low, high) in designed.items():
        assert low <= auc(he, truth[name]) <= high, name
        unpenalized = LogisticRegression(C=np.inf).fit(logit(truth[[name]]), he)
        assert 0.97 <= unpenalized.coef_.item() <= 1.03, name
    assert 0.1 <= within_class_correlation(he, truth) <= 0.4


def test_nulls_have_no_association_with_any_predictor_or_the_outcome(large):
    manifest, truth, he = large
    others = manifest[list(PREDICTORS)].assign(sex=manifest["sex"] == "M", he=he, z=truth["z_volume"])
    others = others.assign(density=truth["density"]).astype(float)
    for null in NULLS:
        values = manifest[null].astype(float)
        n = (others.notna() & values.notna().to_numpy()[:, None]).sum()
        assert (others.corrwith(values).abs() < 4.5 / np.sqrt(n)).all(), null


def test_a_patient_does_not_depend_on_the_size_of_the_cohort():
    small, large = cohort_tables(30, 5), cohort_tables(300, 5)
    for few, many in zip(small, large, strict=True):
        same = many.set_index("patient_id").loc[few["patient_id"]]
        pd.testing.assert_frame_equal(few.set_index("patient_id"), same)


def test_site_and_seed_change_everyone():
    ages = [cohort_tables(50, seed, site)[0]["age"].tolist() for seed, site in ((1, "A"), (2, "A"), (1, "B"))]
    assert ages[0] != ages[1] != ages[2] != ages[0]


def test_the_label_follows_from_the_printed_volumes():
    manifest, _ = cohort_tables(500, 4)
    bled = manifest[manifest["he"].notna()]
    expected = expansion_label(bled["baseline_volume_ml"], bled["followup_volume_ml"])
    assert (bled["he"] == expected).all()


def test_a_tenth_more_patients_have_no_blood_no_outcome_and_no_oracle():
    manifest, truth = cohort_tables(40, 4)
    free = truth["blood_free"] == 1
    assert free.sum() == 4
    assert manifest.loc[free, ["he", "baseline_volume_ml", "followup_volume_ml", "location"]].isna().all(axis=None)
    assert truth.loc[free, ["p_image", "p_clinical", "p_integrated"]].isna().all(axis=None)


def test_every_clinical_candidate_is_predictor_proxy_or_null():
    assert len(NULLS) >= 10
    assert set(CLINICAL_CANDIDATES) <= {*PREDICTORS, *PROXIES, *NULLS}
    manifest, _ = cohort_tables(5, 1)
    assert {*PREDICTORS, *PROXIES, *NULLS, *COLUMNS} <= set(manifest.columns)
    assert manifest["split"].isna().all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cohort whose first and fifth patient have blood in the ventricles too; copies of it are harmed."""
    out = tmp_path_factory.mktemp("cohort")
    simulate_cohort(out, n_patients=5, seed=9, matrix=64, n_processes=1)
    return out


def test_a_written_cohort_has_no_problem_and_names_its_scans(folder):
    assert manifest_problems(folder / "manifest.csv") == []
    table = read_manifest(folder / "manifest.csv")
    assert len(table) == 6
    assert table["baseline_ct"].notna().all()
    assert set(json.loads((folder / "truth.json").read_text())["nulls"]) == set(NULLS)


@pytest.mark.parametrize("site", ["A", "B"])
def test_no_patient_of_a_large_cohort_is_refused_by_the_check(site, tmp_path):
    simulate_cohort(tmp_path, n_patients=5000, seed=31, site=site, with_scans=False)
    assert [str(problem) for problem in check_manifest(tmp_path / "manifest.csv").problems] == []
    assert not (tmp_path / "scans").exists()


def test_masks_hold_the_latent_volume_and_ventricular_blood_lies_apart(folder):
    table, truth = read_manifest(folder / "manifest.csv"), pd.read_csv(folder / "truth.csv").set_index("patient_id")
    for row in table[table["he"].notna()].itertuples():
        scan = read_scan(folder / row.baseline_ct)
        mask = read_mask(folder / row.baseline_mask, scan)
        voxel_ml = abs(np.linalg.det(scan.affine)) / 1000
        latent = truth.loc[row.patient_id, "true_baseline_ml"]
        assert mask_volume_ml(mask, scan.affine) == pytest.approx(latent, rel=0.05, abs=voxel_ml)
        assert isinstance(row.baseline_ivh_mask, str) <= (row.ivh == 1)
        if isinstance(row.baseline_ivh_mask, str):
            assert not (mask & read_mask(folder / row.baseline_ivh_mask, scan)).any()
    assert table["baseline_ivh_mask"].notna().any()
    free = table[table["he"].isna()].iloc[0]
    assert not read_mask(folder / free["baseline_mask"], read_scan(folder / free["baseline_ct"])).any()


def test_processes_do_not_change_a_byte(folder, tmp_path):
    simulate_cohort(tmp_path, n_patients=3, seed=9, matrix=64, n_processes=2)
    names = [path.name for path in (tmp_path / "scans").glob("*.gz")]
    assert all((tmp_path / "scans" / n).read_bytes() == (folder / "scans" / n).read_bytes() for n in names)


def again(folder, tmp_path, harm):
    """A copy of a cohort, harmed and simulated again."""
    out = tmp_path / "cohort"
    shutil.copytree(folder, out)
    harm(out / "scans")
    simulate_cohort(out, n_patients=5, seed=9, matrix=64, n_processes=1)
    return out


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", ["baseline_ct", "baseline_mask", "baseline_ivh_mask"])
def test_what_was_deleted_or_is_missing_after_a_kill_is_made_again_and_no_other_scan(folder, tmp_path, kind):
    lost = sorted((folder / "scans").glob(f"*_{kind}.nii.gz"))[0].name
    out = again(folder, tmp_path, lambda scans: (scans / lost).unlink())
    assert contents(out) == contents(folder)
    other = "scans/SIM-A-00002_baseline_ct.nii.gz"
    assert (out / other).stat().st_mtime_ns == (folder / other).stat().st_mtime_ns


@pytest.mark.parametrize("kind", ["baseline_ct", "baseline_mask"])
def test_what_was_changed_is_refused_and_stays(folder, tmp_path, kind):
    name = f"SIM-A-00001_{kind}.nii.gz"

    def truncate(scans):
        (scans / name).write_bytes((scans / name).read_bytes()[:-100])

    with pytest.raises(PhantomError, match=f"{name} with other content. Delete what is to be made again"):
        again(folder, tmp_path, truncate)
    assert len((tmp_path / "cohort" / "scans" / name).read_bytes()) == len((folder / "scans" / name).read_bytes()) - 100


def test_another_version_of_the_simulation_makes_all_scans_again(folder, tmp_path):
    def age(scans):
        settings = json.loads((scans / "settings.json").read_text()) | {"code": "an older one"}
        (scans / "settings.json").write_text(json.dumps(settings))
        for path in scans.glob("*.nii.gz"):
            os.utime(path, (0, 0))

    out = again(folder, tmp_path, age)
    assert contents(out) == contents(folder)
    assert min(path.stat().st_mtime for path in (out / "scans").glob("*.nii.gz")) > 0


def test_a_comment_or_docstring_is_no_other_version_and_a_number_is(tmp_path, monkeypatch):
    texts = ['"""One."""\nx = 1\n', '"""Two."""\n# why\nx  =  1\n', '"""One."""\nx = 2\n']
    digests = []
    for k, text in enumerate(texts):
        (tmp_path / str(k)).mkdir()
        (tmp_path / str(k) / "growth.py").write_text(text)
        monkeypatch.setattr(ich_phantom, "__file__", str(tmp_path / str(k) / "__init__.py"))
        digests.append(ich_phantom.code_digest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(("content", "reason"), [("{", "Expecting property name"), ("[1]", "not a JSON object")])
def test_damaged_settings_are_refused(tmp_path, content, reason):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "settings.json").write_text(content)
    with pytest.raises(PhantomError, match=rf"cannot use .*settings.json: {reason}"):
        simulate_cohort(tmp_path, n_patients=1, seed=1, matrix=64)


def test_a_study_simulates_again_what_another_version_made(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "cohort")
    settings = tmp_path / "cohort" / "scans" / "settings.json"
    assert _is_whole(tmp_path / "cohort" / "manifest.csv")
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"code": "an older one"}))
    assert not _is_whole(tmp_path / "cohort" / "manifest.csv")


def test_scans_of_another_seed_are_not_taken_for_this_cohort(folder):
    with pytest.raises(ValueError, match="same settings"):
        simulate_cohort(folder, n_patients=2, seed=10, matrix=64)
    with pytest.raises(ValueError, match="matrix must be within 64 to 1024, got 16"):
        simulate_cohort(folder, n_patients=1, seed=1, matrix=16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "n_patients must be >= 1, got 0"),
        ((1, -1), "seed must be >= 0"),
        ((1, 1, "C"), "site must be one of A, B"),
    ],
)
def test_impossible_cohorts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        cohort_tables(*arguments)


SCANS = ["baseline_ct", "baseline_mask", "baseline_ivh_mask"]


def test_the_generator_gives_the_committed_manifest_again():
    demo = load_study(PROJECT / "studies" / "demo.yaml")
    again, _ = cohort_tables(demo.simulate["patients"], demo.simulate["seed"])
    committed = pd.read_csv(PROJECT / demo.manifest)
    printed = pd.read_csv(io.StringIO(again.to_csv(index=False)))
    assert list(printed.columns) == list(committed.columns)
    pd.testing.assert_frame_equal(printed.drop(columns=SCANS), committed.drop(columns=SCANS))
    for column in SCANS[:2]:  # its scans lie where the demo study simulates them
        assert (committed[column] == "cohorts/demo/scans/" + committed["patient_id"] + f"_{column}.nii.gz").all()


@pytest.fixture(scope="module")
def law():
    return portray_truth(6000, seed=3)


def test_the_label_curves_are_the_label_probabilities(law):
    curve = law[(law["panel"] == "label") & (law["group"] == "continues to bleed")]
    assert curve["y"].to_numpy() == pytest.approx(label_probability(curve["x"], active=True))


def test_the_oracles_intervals_hold_their_probabilities_nine_times_in_ten(law):
    assert set(law["panel"]) == {"label", "parts", "roc", "calibration"}
    assert law[["x", "y"]].notna().all(axis=None)
    points = law[law["panel"] == "calibration"]
    assert len(points) == 30
    assert ((points["low"] <= points["x"]) & (points["x"] <= points["high"])).mean() >= 0.9


def test_the_correlation_within_classes_does_not_see_the_difference_between_them():
    rng, he = np.random.default_rng(1), np.repeat([0, 1], 4000)
    logits = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], 8000) + 3.0 * he[:, None]
    truth = pd.DataFrame(expit(logits), columns=["p_image", "p_clinical"])
    assert within_class_correlation(he, truth) == pytest.approx(0.3, abs=0.03)


def test_the_figures_estimates_are_those_of_the_library(law):
    manifest, truth = (table.iloc[:6000] for table in cohort_tables(6000, 3))
    he, p = manifest["he"].to_numpy(dtype=int), truth["p_image"].to_numpy()
    (group,) = {group for group in law["group"] if group.startswith("Image: ")}
    curve, points = law[law["group"] == group], roc_points(he, p)
    assert group == f"Image: AUC {auc(he, p):.2f}"
    assert (curve["y"] == np.interp(curve["x"], points.false_positive_rate, points.true_positive_rate)).all()
    tenths = law[(law["panel"] == "calibration") & (law["group"] == "Image")]
    for low, high, share in tenths[["low", "high", "y"]].to_numpy():
        assert exact_interval(round(600 * share), 600) == pytest.approx((low, high), abs=1e-12)
