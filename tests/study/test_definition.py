"""Study files: read, and refused with the closest known name before anything runs."""

import pytest

from hepred_lib.errors import StudyError
from hepred_lib.study import definition
from hepred_lib.study.definition import (
    PROJECT,
    Study,
    load_study,
    notebook_defaults,
    study_parameters,
)


@pytest.fixture
def study_file(tmp_path):
    def write(text: str):
        path = tmp_path / "studies" / "mine.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


MINIMAL = "study: mine\nmanifest: patients.csv\nseed: 1\n"


@pytest.mark.parametrize("name", ["smoke", "demo", "paper"])
def test_the_projects_own_studies_are_valid(name):
    study = load_study(PROJECT / "studies" / f"{name}.yaml")
    assert (study.name, study.root, study.truth) == (name, PROJECT, f"cohorts/{name}/truth.csv")


def test_the_defaults_of_the_notebooks_are_the_demo_study():
    demo = load_study(PROJECT / "studies" / "demo.yaml")
    own = {"study": demo.name, "manifest": demo.manifest, "truth": demo.truth, "seed": demo.seed}
    own |= {"folds": demo.folds, "image_source": demo.image_source}
    for notebook in ("01_cohort", "03_multitask_training", "07_roc_calibration_figures"):
        defaults = notebook_defaults(notebook)
        assert defaults == defaults | {name: own[name] for name in own.keys() & defaults.keys()}


def test_what_a_study_does_not_say_has_a_default(study_file):
    study = load_study(study_file(MINIMAL))
    assert (study.folds, study.image_source, study.truth) == (5, "scans", "")
    assert study.notebook_threads("03_multitask_training") == 2
    assert study.root == study_file(MINIMAL).parents[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed: 2\n", "unknown key 'sed' .did you mean 'seed'"),
        ("folds: three\n", "'folds' must be int, got 'three'"),
        ("folds: true\n", "'folds' must be int, got True"),
        ("folds: 1\n", "'folds' must be within 2 to 50, got 1"),
        ("image_source: picture\n", "'image_source' must be one of scans, column, none, got 'picture'"),
        ("simulate: {patient: 10}\n", "simulate: unknown key 'patient' .did you mean 'patients'"),
        ("parameters: {03_multitask_trainin: {epochs: 1}}\n", "did you mean '03_multitask_training'"),
        ("parameters: {03_multitask_training: {epoch: 1}}\n", "no parameter 'epoch' .did you mean 'epochs'"),
        ("parameters: {03_multitask_training: {epochs: many}}\n", "'epochs' must be int, got 'many'"),
        ("threads: {03_multitask_training: 0}\n", "'03_multitask_training' must be within 1 to 256, got 0"),
        ("folds: 2\nfolds: 3\n", "the key 'folds' is given twice"),
        ("external: {simulate: {patients: 3, seed: 1}}\n", "external: the key 'manifest' is required"),
        ("simulate: {patients: 0, seed: 1}\n", "'patients' must be within 1 to 1000000, got 0"),
        ("simulate: {patients: 9}\n", "simulate: the key 'seed' is required"),
        ("simulate: {patients: 9, seed: 1, site: C}\n", "'site' must be one of A, B, got 'C'"),
        ("parameters: {05_clinical_to_he: {alpha: .nan}}\n", "'alpha' must be a finite number"),
        ('parameters: {05_clinical_to_he: {candidates: "age\\nsex"}}\n', "'candidates' must be one line of text"),
        ("parameters: &a {05_clinical_to_he: *a}\n", "anchors and aliases"),
        ("variant_of: ../x\n", "'variant_of' must be the name of a study, got '../x'"),
        ("simulate: [", "not valid YAML"),
    ],
)
def test_a_wrong_study_is_refused_in_one_sentence(study_file, text, message):
    with pytest.raises(StudyError, match=message) as refusal:
        load_study(study_file(MINIMAL + text))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["../../x", "a b", "", "x" * 65, "a/b", ".", "ä"])
def test_a_name_that_is_no_folder_of_the_run_is_refused(study_file, name):
    with pytest.raises(StudyError, match="'study' names a folder and must be 1 to 64 letters"):
        load_study(study_file(f"study: '{name}'\nmanifest: m.csv\nseed: 1\n"))


def test_a_study_that_is_not_there_or_has_no_manifest_is_refused(study_file, tmp_path):
    with pytest.raises(StudyError, match="is not there"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(StudyError, match="'manifest' is required"):
        load_study(study_file("study: mine\nseed: 1\n"))


def test_an_installed_package_says_that_the_notebooks_are_not_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(definition, "PROJECT", tmp_path)
    definition._notebook_defaults.cache_clear()
    with pytest.raises(StudyError, match="this command needs the notebooks"):
        definition.notebook_defaults("01_cohort")
    definition._notebook_defaults.cache_clear()


def test_chapter_01_counts_the_candidates_of_chapter_05(tmp_path):
    bedside = {"05_clinical_to_he": {"candidates": "age spline(gcs)", "radiological": True}}
    study = Study(name="a", root=tmp_path, manifest="m.csv", seed=1, parameters=bedside)
    assert study_parameters(study, "01_cohort")["candidates"] == "age spline(gcs) +radiological"
    assert study_parameters(Study(name="a", root=tmp_path, manifest="m.csv", seed=1), "01_cohort")["candidates"] == ""
