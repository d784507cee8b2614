"""A frozen study on another hospital's imperfect manifest: nothing is written into it, and nobody vanishes."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepred_lib.cohort.manifest import read_bedside
from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.errors import ManifestError, ScanError, StudyError
from hepred_lib.multitask import prediction
from hepred_lib.stats.calibration import closed_test
from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.evaluation import calibration_reading, evaluate
from hepred_lib.study.deployment import (
    NO_BEDSIDE,
    FrozenModel,
    FrozenStudy,
    bedside_warnings,
    column_score,
    input_notes,
    load_frozen,
    local_updates,
    missing_reasons,
    new_patients,
    predict_cohort,
    predict_table,
    read_scans,
    write_updates,
)
from hepred_lib.study.files import read_json, write_json
from ich_phantom.cohort import simulate_cohort
from tests.conftest import scored
from tests.faults.harness import copy_of, succeed
from tests.test_cli import refused

MODELS = ("image", "clinical", "integrated")


def state(folder: Path) -> dict[str, tuple]:
    """Every file and folder with its times, and the bytes of every file: a file made and removed shows too."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (status.st_mtime_ns, status.st_ctime_ns, digest)
    return found


@pytest.fixture(scope="module")
def root(tables_study, tmp_path_factory) -> Path:
    """The tables-only study, and a cohort of another hospital beside it."""
    root = tmp_path_factory.mktemp("external") / "root"
    copy_of(tables_study, root, linked=False)
    simulate_cohort(root / "elsewhere", n_patients=40, seed=2, site="B", with_scans=False)
    return root


@pytest.fixture(scope="module")
def run(root) -> Path:
    return root / "runs" / "column"


@pytest.fixture(scope="module")
def elsewhere(root) -> pd.DataFrame:
    """44 patients: three without a score, one without bedside values, two without follow-up, none with glucose."""
    table = scored(root / "elsewhere" / "manifest.csv").assign(glucose_mmol_l=np.nan)
    table.loc[:2, "dl_score"] = np.nan
    table.loc[3, ["age", "gcs", "sex"]] = np.nan
    table.loc[4:5, ["he", "followup_volume_ml"]] = np.nan
    return table


@pytest.fixture(scope="module")
def external(run, root, elsewhere) -> Path:
    """What ``hepred external`` leaves of those patients; the study's folder is the same afterwards."""
    manifest, out = root / "elsewhere" / "scored.csv", root / "answers" / "scored"
    elsewhere.to_csv(manifest, index=False)
    before = state(run)
    succeed("external", run, manifest, "--out", out)
    assert state(run) == before, "the frozen study was written to"
    return out


@pytest.fixture(scope="module")
def predictions(external) -> pd.DataFrame:
    return pd.read_csv(external / "predictions.csv")


@pytest.mark.book
def test_the_study_says_who_is_missing_and_why(run):
    n, excluded = read_json(run / "results.json")["n"], pd.read_csv(run / "excluded.csv")
    assert (n["patients"], n["without_outcome"], n["blood_free"], n["excluded"]) == (152, 5, 16, 24)
    assert excluded["reason"].value_counts().to_dict() == {"no hemorrhage": 16, "no follow-up CT": 5, "no DL score": 3}


@pytest.mark.book
def test_each_model_is_judged_on_whoever_has_its_input(external):
    models, n = (read_json(external / "external.json")[key] for key in ("models", "n"))
    assert (n["patients"], n["without_outcome"], n["blood_free"]) == (38, 2, 4)
    assert [models[name]["n"] for name in MODELS] == [35, 37, 34]
    assert [pair["n"] for pair in read_json(external / "external.json")["comparisons"]] == [34, 34, 34]
    assert (external / "records" / "08_new_patients.json").is_file(), "the record goes to the new folder"
    assert pd.read_csv(external / "tables" / "performance.csv")["n"].tolist() == [35, 37, 34]
    # All patients with a probability, not only those with an outcome.
    assert "glucose_mmol_l in 43 of 43 patients" in " ".join(read_json(external / "external.json")["notes"])
    assert "glucose_mmol_l was never measured" in (external / "08_new_patients.ipynb").read_text(encoding="utf-8")


@pytest.mark.book
def test_every_patient_keeps_a_row_with_a_reason_where_a_probability_is_null(predictions, elsewhere):
    assert predictions["patient_id"].tolist() == elsewhere["patient_id"].tolist()
    assert predictions["reason"][:4].tolist() == ["no DL score"] * 3 + [NO_BEDSIDE]
    null = predictions[[f"p_{name}" for name in MODELS]].isna().any(axis=1)
    assert null.equals(predictions["reason"].notna())


@pytest.mark.book
def test_the_new_patients_own_score_is_standardized_by_the_stored_constants(run, predictions, elsewhere):
    image = read_json(run / "image_model.json")
    (scale,) = image["scales"]
    z = (elsewhere["dl_score"] - scale["mean"]) / scale["sd"]
    np.testing.assert_allclose(predictions["dl_score"], z)
    logit = image["logistic"]["intercept"] + image["logistic"]["coefficients"]["dl_score"] * z
    np.testing.assert_allclose(predictions["p_image"], 1 / (1 + np.exp(-logit)))


@pytest.mark.book
def test_without_any_score_image_and_integrated_are_null_with_the_reason(run, root, elsewhere, tmp_path):
    elsewhere.drop(columns=["dl_score", "gcs"]).to_csv(tmp_path / "unscored.csv", index=False)
    succeed("external", run, tmp_path / "unscored.csv", "--out", tmp_path / "out")
    found = read_json(tmp_path / "out" / "external.json")
    assert found["models"]["image"] is None
    assert found["models"]["integrated"] is None
    assert found["models"]["clinical"]["n"] == 37
    assert "models.image: no probability for 44 of 44 patients: no DL score (44)." in found["notes"]


@pytest.mark.book
def test_the_folder_of_a_study_is_no_place_for_the_answer(run, root, external, monkeypatch, capsys):
    before = state(run)
    for out in (run, run / "external", run / "figures" / "elsewhere"):
        said = refused(
            monkeypatch, capsys, "external", str(run), str(root / "elsewhere" / "scored.csv"), "--out", str(out)
        )
        assert "must be outside the folder of a finished study" in said
    assert state(run) == before


@pytest.mark.book
def test_patients_of_the_study_itself_are_refused_in_one_line(run, root):
    with pytest.raises(ManifestError, match=r"patients whom the study has not seen, got \d+ of its own") as refusal:
        new_patients(load_frozen(run), root / "cohort" / "manifest.csv")
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> FrozenStudy:
    """A study with networks (none of which is run) whose models read the score, and gcs and inr."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"gcs": rng.integers(3, 16, 200) * 1.0, "inr": rng.normal(1.1, 0.1, 200)})
    x["dl_score"] = rng.normal(size=200)
    y = (rng.random(200) < 1 / (1 + np.exp(1 - x["dl_score"]))).astype(int)
    few = {"n_imputations": 2, "n_resamples": 2}
    settings = {
        "image": DevelopmentSettings((), added=("dl_score",), **few),
        "clinical": DevelopmentSettings(("gcs", "inr"), alpha=0.99, **few),
        "integrated": DevelopmentSettings(("gcs", "inr"), added=("dl_score",), alpha=0.99, **few),
    }
    models = {
        name: FrozenModel(name, develop(x, y, chosen), 0.2, chosen.candidates) for name, chosen in settings.items()
    }
    scales = pd.DataFrame({"mean": [10.0], "sd": [2.0]}, index=[0])
    return FrozenStudy(
        tmp_path_factory.mktemp("frozen"), prediction.Reader((None,), pd.DataFrame(), {}), models, "scans", scales
    )


@pytest.fixture
def local(tmp_path):
    """A study on disk whose clinical model predicts far too much in 400 patients of another hospital."""
    rng = np.random.default_rng(1)
    x = pd.DataFrame({"gcs": rng.integers(3, 16, 400).astype(float)})
    log_odds = 1.0 - 0.2 * x["gcs"].to_numpy()
    y = (rng.random(400) < 1 / (1 + np.exp(-log_odds))).astype(int)
    chosen = DevelopmentSettings(("gcs",), forced=("gcs",), n_imputations=2, n_resamples=2)
    model = develop(x, y, chosen)
    described = {"model": "clinical", "definition": "6ml_or_33pct", "threshold": 0.3, "candidates": ["gcs"]}
    write_json(tmp_path / "clinical_model.json", described | {"logistic": model.to_json()})
    write_json(tmp_path / "imputation.json", model.imputer.to_json())
    patients = x.assign(he=(rng.random(400) < 1 / (1 + np.exp(1.5 - log_odds))).astype(int))
    return load_frozen(tmp_path), patients


def test_an_update_is_a_model_of_its_own_that_predict_uses(local, tmp_path):
    frozen, patients = local
    patients["p_clinical"] = predict_table(frozen, patients)["p_clinical"]
    y, p = patients["he"], patients["p_clinical"]
    judged, notes = {"clinical": evaluate(y, p, 0.3)}, []
    assert "less frequent" in calibration_reading(judged["clinical"])
    updates = local_updates(patients, judged, notes=notes, seed=0)
    assert updates["clinical"]["update"]["method"] == "intercept"
    assert "less frequent" not in calibration_reading(updates["clinical"]["cross_validated"])
    assert write_updates(frozen, updates, tmp_path / "updated") == ["clinical"]
    again = load_frozen(tmp_path, updated=tmp_path / "updated")
    expected = closed_test(y, p)
    np.testing.assert_allclose(predict_table(again, patients)["p_clinical"], expected.apply(p))
    assert again.models["clinical"].threshold == pytest.approx(float(expected.apply(0.3)))
    assert ((predict_table(again, patients)["p_clinical"] >= again.models["clinical"].threshold) == (p >= 0.3)).all()
    (tmp_path / "clinical_model.json").write_text((tmp_path / "clinical_model.json").read_text() + " ")
    with pytest.raises(StudyError, match="was made from another clinical model"):
        load_frozen(tmp_path, updated=tmp_path / "updated")
    for folder, words in ((tmp_path, "'update' is a required property"), (tmp_path / "none", "got none in")):
        with pytest.raises(StudyError, match=words):
            load_frozen(tmp_path, updated=folder)


def test_a_hospital_of_one_outcome_has_no_update_and_a_note(local):
    frozen, patients = local
    patients = patients.assign(he=0, p_clinical=predict_table(frozen, patients)["p_clinical"])
    notes = []
    assert local_updates(patients, {"clinical": {"threshold": 0.3}}, notes=notes, seed=0) == {}
    assert notes[0].startswith("updating.clinical: ")


def test_a_candidate_called_male_is_taken_from_the_column_sex(tmp_path):
    x = pd.DataFrame({"male": np.tile([0.0, 1.0], 60)})
    y = (np.arange(120) % 3 == 0) | (x["male"].to_numpy() * (np.arange(120) % 5 == 0) > 0)
    chosen = DevelopmentSettings(("male",), forced=(), alpha=0.999, n_imputations=2, n_resamples=2)
    model = develop(x, y.astype(int), chosen)
    study = FrozenStudy(tmp_path, None, {"clinical": FrozenModel("clinical", model, 0.2, ("male",))})
    found = predict_table(study, pd.DataFrame({"sex": ["F", "M"]}))["p_clinical"]
    np.testing.assert_allclose(found, model.predict(pd.DataFrame({"male": [0.0, 1.0]})))
    assert found[0] != found[1]


@pytest.fixture(scope="module")
def curved(tmp_path_factory) -> FrozenStudy:
    """A clinical model of gcs and the logarithm of a laboratory value that only this study has; age was offered."""
    rng = np.random.default_rng(3)
    x = pd.DataFrame({"gcs": rng.integers(3, 16, 200) * 1.0, "ldh_u_l": rng.lognormal(5, 0.3, 200)})
    x["age"], y = rng.normal(65, 9, 200), np.arange(200) % 3 == 0
    chosen = DevelopmentSettings(
        ("gcs", "log(ldh_u_l)", "age"), forced=("gcs", "log(ldh_u_l)"), alpha=1e-9, n_resamples=2
    )
    model = FrozenModel("clinical", develop(x, y.astype(int), chosen), 0.3, chosen.candidates)
    return FrozenStudy(tmp_path_factory.mktemp("curved"), None, {"clinical": model})


@pytest.mark.parametrize(
    ("bedside", "known", "warnings"),
    [
        ({"gcs": 9, "ldh_u_l": 240.0}, True, []),
        ({"ldh_u_l": 240.0}, True, ["imputed for the clinical model: gcs"]),
        ({"age": 71, "gcs": None}, False, ["p_clinical is null, without a value of gcs, ldh_u_l"]),
    ],
)
def test_a_probability_is_null_where_every_selected_predictor_is_unknown(curved, tmp_path, bedside, known, warnings):
    write_json(tmp_path / "patient.json", bedside)
    given = read_bedside(tmp_path / "patient.json", others=["ldh_u_l"])
    assert predict_table(curved, pd.DataFrame([given]))["p_clinical"].notna().item() is known
    assert bedside_warnings(curved, given) == warnings


def test_without_bedside_values_the_probability_is_null_and_the_reason_is_said(curved):
    assert predict_table(curved, pd.DataFrame([{"dl_score": 0.5}])).isna().all(axis=None)
    assert bedside_warnings(curved, None) == ["no bedside values were given: p_clinical and p_integrated are null"]


@pytest.fixture
def table() -> pd.DataFrame:
    """Four patients: a good scan, none, one that cannot be read, and one without a bedside value."""
    ids = pd.Series(list("ABCD"), dtype="string")
    kinds = {"path": "string", "code": "string", "text": "string", "id": "string"}
    empty = pd.DataFrame(
        {name: pd.Series(np.nan, range(4), dtype=kinds.get(column.kind, float)) for name, column in COLUMNS.items()}
    )
    scans = ["/place/a.nii.gz", None, "/place/c.nii.gz", "/place/d.nii.gz"]
    bedside = {"gcs": [15.0, 14.0, np.nan, np.nan]}
    return empty.assign(patient_id=ids, baseline_ct=scans, unmeasured="", he=[1.0, 0.0, 0.0, 1.0], **bedside)


class Reading:
    dl_score, dl_score_spread, flags, volume_ml, ventricles_ml = 0.5, 0.1, "", 12.0, 0.0
    prediction, patient = type("Prediction", (), {"detected": True}), None


def read(reader, row):
    if row["patient_id"] == "C":
        raise ScanError(f"{row['baseline_ct']} must show a head, got 30 mm (patient C)")
    if not pd.isna(row["baseline_mask"]):
        raise ScanError(f"{row['baseline_mask']} must hold only 0 and 1, got 7 (patient {row['patient_id']})")
    return Reading(), None


@pytest.fixture
def pretended(monkeypatch):
    """Scans are read without networks."""
    monkeypatch.setattr(prediction, "read_with", read)
    monkeypatch.setattr(prediction, "picture", lambda reading, reference: {})
    monkeypatch.setattr(prediction, "signs_seen", lambda reading, reference: {})
    monkeypatch.setattr(prediction, "slice_calls", lambda reading: pd.DataFrame(columns=["patient_id"]))


@pytest.fixture
def patients(frozen, table, pretended) -> pd.DataFrame:
    return predict_cohort(frozen, table, read_scans(frozen, table))


def test_a_scan_that_is_missing_or_unreadable_costs_one_patient_its_score_and_the_reason_names_its_column(
    frozen, patients
):
    assert patients["p_image"].notna().tolist() == [True, False, False, True]
    assert patients["p_clinical"].notna().tolist() == [True, True, False, False]
    assert patients["p_integrated"].notna().tolist() == [True, False, False, False]
    unreadable = "baseline_ct must show a head, got 30 mm"
    assert patients["reason"].tolist() == ["", "no baseline CT", f"{unreadable}; {NO_BEDSIDE}", NO_BEDSIDE]
    reasons = missing_reasons(frozen, patients)
    assert reasons["clinical"].tolist() == ["", "", NO_BEDSIDE, NO_BEDSIDE]
    assert reasons["image"].tolist()[1] == "no baseline CT"


def test_a_mask_that_cannot_be_used_costs_no_score(frozen, table, pretended):
    table.loc[0, "baseline_mask"] = "/place/mask.nii.gz"
    first = predict_cohort(frozen, table, read_scans(frozen, table)).iloc[0]
    assert first["p_image"] > 0
    assert first["reason"] == "not measured: baseline_mask must hold only 0 and 1, got 7"


def test_notes_count_what_is_missing_imputed_and_never_measured(frozen, patients):
    notes = input_notes(frozen, patients)
    assert "models.image: no probability for 2 of 4 patients: no baseline CT (1) and " in notes[0]
    assert "models.clinical: imputed: inr in 2 of 2 patients." in notes
    assert any(
        note.startswith("inr was never measured in these patients, but the models clinical and") for note in notes
    )


def test_a_score_on_another_scale_is_said(frozen, table):
    column = FrozenStudy(frozen.folder, None, frozen.models, "column", frozen.scales)
    for score, said in ((11.0, False), (0.5, True)):
        scored = table.assign(external_score=score)
        assert column_score(column, scored["external_score"]).iloc[0] == (score - 10.0) / 2.0
        notes = input_notes(column, predict_cohort(column, scored, read_scans(column, scored)))
        assert any("on the same scale" in note for note in notes) == said
