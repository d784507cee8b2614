"""A file that describes several studies: its variants, and steps that are made once for all of them."""

import json
from pathlib import Path

import pytest
import yaml

from hepred_lib.errors import StudyError
from hepred_lib.study.definition import load_study, notebook_defaults, study_parameters
from hepred_lib.study.run import FileDigests, read_record, record_digest, step_identity, write_record
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
    assert [study.name for study in studies] == [
        f"many-seed{seed}-north-alpha_0_{alpha}" for seed in (1, 2) for alpha in ("05", "1")
    ]
    assert {study.manifest for study in studies} == {"n.csv"}
    assert [(study.seed, study.parameters["05_clinical_to_he"]["alpha"]) for study in studies] == [
        (1, 0.05), (1, 0.1), (2, 0.05), (2, 0.1),
    ]  # fmt: skip
    before = [file.read_bytes() for file in variant_files(path)]
    assert [file.read_bytes() for file in variant_files(path)] == before
    with pytest.raises(StudyError, match="describes several studies"):
        load_study(path)


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
    ],
)
def test_a_sweep_that_describes_no_studies_is_refused(tmp_path, changes, message):
    with pytest.raises(StudyError, match=message):
        variant_files(sweep(tmp_path, **changes))


def test_a_study_file_of_the_user_is_not_written_over(tmp_path):
    (tmp_path / "many-seed1.yaml").write_text("study: mine\n")
    with pytest.raises(StudyError, match="written by hand"):
        variant_files(sweep(tmp_path, vary={"seeds": [1]}))
    assert (tmp_path / "many-seed1.yaml").read_text() == "study: mine\n"


@pytest.fixture
def variants(tmp_path):
    """Two variants that differ in chapter 05, with their runs' folders; the manifest is there."""
    (tmp_path / "a.csv").write_text("patient_id\n")
    path = sweep(tmp_path, vary={"parameters": {"05_clinical_to_he": {"alpha": [0.05, 0.1]}}})
    return [(load_study(file), tmp_path / "runs" / file.stem) for file in variant_files(path)]


def made(study, folder: Path, notebook: str, files: dict[str, str], upstream=()) -> None:
    """Leave what a notebook would leave."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    page = folder / "notebooks" / f"{notebook}.ipynb"
    page.parent.mkdir(exist_ok=True)
    page.write_text(json.dumps({"metadata": {"papermill": {"exception": False, "end_time": "now"}}}))
    given, digests = notebook_defaults(notebook) | study_parameters(study, notebook), FileDigests(folder)
    record = {"notebook": notebook, "parameters": given, "results": {"patients": 2}, "by_hand": ""}
    record["identity"] = step_identity(notebook, given, root=study.root, digests=digests)
    record["upstream"] = {name: record_digest(folder, name) for name in upstream}
    record["files"] = {name: {"bytes": 0, "sha256": digests.of(folder / name)} for name in files}
    (folder / "records").mkdir(exist_ok=True)
    write_record(folder, notebook, record)


COHORT = {"cohort.csv": "patient_id\nP1\n", "excluded.csv": "", "figures/age.svg": "<svg/>"}


def test_a_step_that_does_not_depend_on_what_varies_is_taken_over_and_is_then_up_to_date(variants):
    (one, first), (other, second) = variants
    made(one, first, "01_cohort", COHORT)
    assert take_over(other, second, "01_cohort", None) == first
    assert {name: (second / name).read_text() for name in COHORT} == COHORT
    assert read_record(second, "01_cohort")["parameters"]["study"] == other.name
    assert reasons_to_make(other, second, "01_cohort", None) == []


def test_a_step_that_depends_on_what_varies_is_made_again(variants):
    (one, first), (other, second) = variants
    made(one, first, "01_cohort", COHORT)
    made(one, first, "05_clinical_to_he", {"clinical.csv": "", "clinical_model.json": "{}"}, ["01_cohort"])
    take_over(other, second, "01_cohort", None)
    assert take_over(other, second, "05_clinical_to_he", None) is None


@pytest.mark.parametrize("harm", ["file", "by hand", "page", "manifest"])
def test_a_step_that_cannot_be_trusted_is_not_taken_over(variants, harm):
    (one, first), (other, second) = variants
    made(one, first, "01_cohort", COHORT)
    if harm == "file":
        (first / "cohort.csv").write_text("patient_id\nP2\n")
    elif harm == "by hand":
        write_record(first, "01_cohort", read_record(first, "01_cohort") | {"by_hand": "with other cells"})
    elif harm == "page":
        (first / "notebooks" / "01_cohort.ipynb").unlink()
    else:
        (one.root / "a.csv").write_text("patient_id\nP9\n")
    assert take_over(other, second, "01_cohort", None) is None


def test_a_step_made_from_another_cohort_is_not_taken_over(variants):
    (one, first), (other, second) = variants
    made(one, first, "01_cohort", COHORT)
    made(one, first, "02_preprocessing", {"slices/quality.csv": "patient_id\nP1\n"}, ["01_cohort"])
    made(other, second, "01_cohort", COHORT | {"cohort.csv": "patient_id\nP2\n"})
    assert take_over(other, second, "02_preprocessing", None) is None
    made(other, second, "01_cohort", COHORT | {"figures/age.svg": "<svg>drawn anew</svg>"})
    assert take_over(other, second, "02_preprocessing", None) == first
