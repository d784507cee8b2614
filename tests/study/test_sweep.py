"""A file that describes several studies: its variants, and steps that are made once for all of them."""

from pathlib import Path

import pytest
import yaml

from hepred_lib import cli
from hepred_lib.errors import StudyError
from hepred_lib.progress import RUNNER
from hepred_lib.study import running
from hepred_lib.study.definition import load_study, notebook_defaults, study_parameters
from hepred_lib.study.files import WRITTEN, write_bytes, write_json
from hepred_lib.study.run import open_notebook, read_record, write_record
from hepred_lib.study.running import reasons_to_make
from hepred_lib.study.sweep import take_over, variant_files

BASE = {"study": "many", "manifest": "a.csv", "seed": 3, "image_source": "none"}


def sweep(folder: Path, **changes) -> Path:
    path = folder / "many.yaml"
    path.write_text(yaml.safe_dump({**BASE, **changes}))
    return path


def test_a_file_of_one_study_is_its_only_variant(tmp_path):
    assert variant_files(sweep(tmp_path)) == [tmp_path / "many.yaml"]


def test_every_combination_becomes_a_study_of_its_own(tmp_path):
    grid = {"05_clinical_to_he": {"alpha": [0.05, 0.1]}}
    path = sweep(tmp_path, vary={"seeds": [1, 2], "sites": {"north": "n.csv"}, "parameters": grid})
    studies = [load_study(file) for file in variant_files(path)]
    assert [(study.name, study.seed, study.parameters["05_clinical_to_he"]["alpha"]) for study in studies] == [
        (f"many-seed{seed}-north-alpha_0_{end}", seed, float(f"0.{end}")) for seed in (1, 2) for end in ("05", "1")
    ]
    assert {study.manifest for study in studies} == {"n.csv"}
    before = [file.read_bytes() for file in variant_files(path)]
    assert [file.read_bytes() for file in variant_files(path)] == before
    with pytest.raises(StudyError, match="describes several studies"):
        load_study(path)


def test_values_whose_words_would_be_the_same_are_told_apart(tmp_path):
    long = "a_very_long_list_of_candidates_"
    grid = {"05_clinical_to_he": {"candidates": [f"{long}1", f"{long}2", "gcs"]}}
    path = sweep(tmp_path, vary={"sites": {"北京": "a.csv", "上海": "b.csv"}, "parameters": grid})
    names = [file.stem for file in variant_files(path)]
    assert len(set(names)) == 6
    assert names[0] == f"many-1-candidates_{long[:30]}_1"
    assert names[2] == "many-1-candidates_gcs"


def test_variants_share_the_simulated_cohort(tmp_path):
    path = sweep(tmp_path, simulate={"patients": 5, "seed": 1}, vary={"seeds": [1, 2]})
    assert {load_study(file).truth for file in variant_files(path)} == {"cohorts/many/truth.csv"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vary": {}}, "must list seeds, sites or parameters, .* got none"),
        ({"vary": {"seeds": list(range(201))}}, "at most 200 combinations, got 201"),
        ({"vary": {"seeds": [1, 1]}}, "same name, many-seed1"),
        ({"vary": {"seeds": ["x"]}}, "'seed' must be int"),
        ({"vary": {"sites": {"a": "a.csv"}}, "simulate": {"patients": 5, "seed": 1}}, "leave one out"),
        ({"vary": {"parameters": {"05_clinical_to_he": {"alpha": 0.1}}}}, "a list of values, got 0.1"),
        ({"vary": {"parameters": {"05_clinical_to_he": {"alfa": [0.1]}}}}, "no parameter 'alfa'"),
        ({"vary": {"seed": [1]}}, "unknown key"),
        ({"vary": {"seeds": [1]}, "study": "a/b"}, "'study' names a folder"),
    ],
)
def test_a_sweep_that_describes_no_studies_is_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(StudyError, match=message):
        variant_files(sweep(tmp_path, **changes))
    assert [path.name for path in tmp_path.iterdir()] == ["many.yaml"]


def test_a_study_file_of_the_user_is_not_written_over(tmp_path):
    (tmp_path / "many-seed1.yaml").write_text("study: mine\n")
    with pytest.raises(StudyError, match="it is another file"):
        variant_files(sweep(tmp_path, vary={"seeds": [1]}))
    assert (tmp_path / "many-seed1.yaml").read_text() == "study: mine\n"


@pytest.fixture
def variants(tmp_path, monkeypatch):
    """Two variants that differ in chapter 05, with their runs' folders; the manifest is there."""
    monkeypatch.setenv("HEPRED_ROOT", str(tmp_path))
    monkeypatch.setenv(RUNNER, "1")
    (tmp_path / "a.csv").write_text("patient_id\n")
    path = sweep(tmp_path, vary={"parameters": {"05_clinical_to_he": {"alpha": [0.05, 0.1]}}})
    return [(load_study(file), tmp_path / "runs" / file.stem) for file in variant_files(path)]


def made(study, notebook: str, files: dict[str, str]) -> None:
    """Leave what a notebook would leave."""
    WRITTEN.clear()
    run = open_notebook(notebook, notebook_defaults(notebook) | study_parameters(study, notebook))
    for name, text in files.items():
        write_bytes(run.path(name), text.encode())
    page = {"metadata": {"papermill": {"exception": False, "end_time": "now"}}}
    write_json(run.path("notebooks", f"{notebook}.ipynb"), page)
    run.record(patients=2)


COHORT = {"cohort.csv": "patient_id\nP1\n", "excluded.csv": "", "figures/age.svg": "<svg/>"}
SLICES = {"slices/quality.csv": "patient_id\nP1\n", "slices/P1.npy": "planes"}


def test_a_step_that_does_not_depend_on_what_varies_is_taken_over_and_one_that_does_is_made_again(variants):
    (one, first), (other, second) = variants
    made(one, "01_cohort", COHORT)
    made(one, "05_clinical_to_he", {"clinical.csv": "", "clinical_model.json": "{}"})
    assert take_over(other, second, "01_cohort", None) == first
    assert {name: (second / name).read_text() for name in COHORT} == COHORT
    assert read_record(second, "01_cohort")["parameters"]["study"] == other.name
    assert reasons_to_make(other, second, "01_cohort", None) == []
    assert take_over(other, second, "05_clinical_to_he", None) is None


@pytest.mark.parametrize("harm", ["file", "by hand", "page", "manifest"])
def test_a_step_that_cannot_be_trusted_is_not_taken_over(variants, harm):
    (one, first), (other, second) = variants
    made(one, "01_cohort", COHORT)
    if harm == "file":
        (first / "cohort.csv").write_text("patient_id\nP2\n")
    elif harm == "by hand":
        write_record(first, "01_cohort", read_record(first, "01_cohort") | {"by_hand": "with other cells"})
    elif harm == "page":
        (first / "notebooks" / "01_cohort.ipynb").unlink()
    else:
        (one.root / "a.csv").write_text("patient_id\nP9\n")
    assert take_over(other, second, "01_cohort", None) is None


def test_a_step_made_from_another_cohort_or_another_parameter_is_not_taken_over(variants):
    (one, first), (other, second) = variants
    made(one, "01_cohort", COHORT)
    made(one, "02_preprocessing", SLICES)
    made(other, "01_cohort", COHORT | {"cohort.csv": "patient_id\nP2\n"})
    assert take_over(other, second, "02_preprocessing", None) is None
    made(other, "01_cohort", COHORT | {"figures/age.svg": "<svg>drawn anew</svg>", "figures/old.svg": ""})
    assert take_over(other, second, "02_preprocessing", None) == first
    assert (second / "slices" / "P1.npy").samefile(first / "slices" / "P1.npy")
    record = read_record(second, "01_cohort")
    write_record(second, "01_cohort", record | {"parameters": record["parameters"] | {"definition": "revised"}})
    assert take_over(other, second, "02_preprocessing", None) is None, "later chapters read parameters of records"
    assert take_over(other, second, "01_cohort", None) == first
    assert not (second / "figures" / "old.svg").exists(), "what an earlier step left goes"


def test_one_variant_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    asked = []

    def run(path, **_):
        asked.append(path.stem)
        if path.stem.endswith("1"):
            raise StudyError("a.csv is not there.")
        return 1 if path.stem.endswith("2") else 0

    monkeypatch.setattr(cli, "run_study", run)
    monkeypatch.setattr(cli, "_finish", lambda *_: None)
    with pytest.raises(SystemExit) as left:
        cli.app(["run", str(sweep(tmp_path, vary={"seeds": [1, 2, 3]}))])
    assert left.value.code == 2
    assert asked == ["many-seed1", "many-seed2", "many-seed3"]
    told = capsys.readouterr().err
    assert "hepred: a.csv is not there." in told
    assert "many.yaml: not finished: many-seed1, many-seed2" in told


def test_a_cohort_is_simulated_once_whoever_asks_and_wherever_its_manifest_lies(tmp_path, monkeypatch, capsys):
    study = load_study(sweep(tmp_path, simulate={"patients": 5, "seed": 1}))
    asked, whole = [], []

    def engine(folder, words, **_):
        asked.append(words)
        (tmp_path / "cohorts" / "many").mkdir(parents=True)
        (tmp_path / "cohorts" / "many" / "truth.csv").touch()
        whole.append(True)
        return 0

    monkeypatch.setattr(running, "_run_engine", engine)
    monkeypatch.setattr(running, "_is_whole", lambda _: bool(whole))
    for _ in range(2):
        assert running._simulate(study, tmp_path / "runs" / "many", [], cores=1, lock=0) == 0
    assert asked == [["--until", "simulate", "--forcerun", "simulate"]]
    assert capsys.readouterr().err == f"simulating the cohort {tmp_path / 'cohorts' / 'many'} ...\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohorts", "many.yaml"]
