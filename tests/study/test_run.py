"""A run: what a step was made from is content, time stamps decide nothing; opened, its parameters are checked."""

import json
import os

import pytest

from hepred_lib.errors import StudyError
from hepred_lib.study.definition import PROJECT, notebook_cells, notebook_defaults
from hepred_lib.study.files import WRITTEN, read_json, write_bytes
from hepred_lib.study.run import (
    FileDigests,
    code_digests,
    differences,
    disagreements,
    open_notebook,
    outputs_of,
    project_root,
    read_record,
    record_digest,
    require_consistent,
    step_identity,
    steps_of,
    upstream_of,
    write_record,
)


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"scan a")
    (tmp_path / "a_mask.nii").write_bytes(b"mask a")
    (tmp_path / "manifest.csv").write_text("patient_id,baseline_ct,baseline_mask\n1,a.nii,a_mask.nii\n")
    return tmp_path / "manifest.csv"


def identity(manifest, notebook="01_cohort", **parameters):
    given = notebook_defaults(notebook) | {"manifest": manifest.name} | parameters
    return step_identity(notebook, given, root=manifest.parent, digests=FileDigests(manifest.parent))


def edit(path, content: bytes):
    """Write content of the same length and set the old time stamp."""
    before = path.stat()
    assert len(content) == before.st_size
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("notebook", ["01_cohort", "02_preprocessing", "04_image_to_he"])
def test_a_mask_and_a_manifest_edited_under_their_old_time_stamps_are_seen_by_every_step_that_reads_them(
    manifest, notebook
):
    before = identity(manifest, notebook)
    os.utime(manifest.parent / "a.nii", (0, 0))
    assert differences(identity(manifest, notebook), before) == [], "a touched file is the same"
    FileDigests(manifest.parent).save()
    edit(manifest.parent / "a_mask.nii", b"mask b")
    assert differences(identity(manifest, notebook), before) == ["scans or masks changed"]
    edit(manifest, manifest.read_bytes().replace(b"\n1,", b"\n2,"))
    assert "the manifest changed" in differences(identity(manifest, notebook), before)


def test_a_changed_parameter_is_named_with_both_values_and_so_is_a_module_but_not_where_the_study_writes(manifest):
    one, other = identity(manifest, seed=8, runs_dir="x"), identity(manifest, seed=7, runs_dir="y")
    assert differences(one, other) == ["parameter seed was 7, is 8"]
    changed = one | {"code": one["code"] | {"hepred_lib/cohort/manifest.py": "other"}}
    assert differences(changed, one) == ["code changed: hepred_lib/cohort/manifest.py"]


def test_the_code_of_a_notebook_is_what_it_can_reach():
    found = code_digests("05_clinical_to_he")
    assert {"notebooks/05_clinical_to_he.py", "hepred_lib/stats/logistic.py"} <= set(found)
    assert not [name for name in found if "multitask" in name or name == "hepred_lib/cli.py"]
    shown = code_digests("01_cohort")  # the truth is
    assert {f"ich_phantom/{name}.py" for name in ("cohort", "growth", "patients", "render", "brain")} <= set(shown)
    drawing = ("hepred_lib/figures", "hepred_lib/study/drawing")
    assert [name for name in code_digests("04_image_to_he") if name.startswith(drawing)]
    assert not [name for name in code_digests("03_multitask_training") if name.startswith(drawing)]


def test_a_comment_or_docstring_is_no_change_of_code_and_a_number_is(tmp_path):
    from hepred_lib.study.run import _read_module

    texts = ['"""One."""\nx = 1\n', '"""Two."""\n# why\nx  =  1\n', '"""One."""\nx = 2\n']
    for k, text in enumerate(texts):
        (tmp_path / f"{k}.py").write_text(text)
    one, two, three = (_read_module(tmp_path / f"{k}.py")[0] for k in range(3))
    assert one == two != three


def test_every_output_has_a_step_and_every_upstream_step_comes_before():
    steps = steps_of("scans", 2, external=True)
    for step, (notebook, fold) in steps.items():
        assert outputs_of(notebook, fold)
        assert all(name < step for name in upstream_of(step, steps))
    assert [step[:2] for step in steps_of("column", 4, external=False)] == ["00", "01", "04", "05", "06", "07"]


def opened(runs_dir, notebook="05_clinical_to_he", **changed):
    """The run of the demo study as a notebook opens it, with these values in its namespace."""
    return open_notebook(notebook, notebook_defaults(notebook) | {"runs_dir": str(runs_dir)} | changed)


@pytest.fixture
def run(tmp_path):
    """Two steps by hand, 01 and 05 of a study, with one file each."""
    for notebook, name in (("01_cohort", "cohort.csv"), ("05_clinical_to_he", "clinical.csv")):
        WRITTEN.clear()
        made = opened(tmp_path, notebook)
        write_bytes(made.path(name), f"{name} as made\n".encode())
        made.record()
    WRITTEN.clear()
    return tmp_path / "demo"


def test_the_last_chapter_knows_what_each_fold_was_trained_with(run):
    for fold in (0, 1):
        WRITTEN.clear()
        opened(run.parent, "03_multitask_training", fold=fold, epochs=5 + fold).record(device="cpu")
    found = opened(run.parent, "07_roc_calibration_figures").records()
    assert list(found) == ["01_cohort", *(f"03_multitask_training_fold{fold}" for fold in (0, 1)), "05_clinical_to_he"]
    assert [found[f"03_multitask_training_fold{fold}"]["parameters"]["epochs"] for fold in (0, 1)] == [5, 6]


def reasons(run, step):
    return disagreements(run, step, read_record(run, step), FileDigests(run))


def test_a_record_lists_every_file_of_its_step(run):
    assert list(read_record(run, "05_clinical_to_he")["files"]) == ["clinical.csv"]
    assert reasons(run, "05_clinical_to_he") == []
    require_consistent(run)


@pytest.mark.parametrize("harm", ["truncated", "deleted", "replaced"])
def test_a_file_that_is_not_what_its_step_wrote_is_named(run, harm):
    path = run / "clinical.csv"
    if harm == "deleted":
        path.unlink()
    else:
        edit(path, path.read_bytes()[::-1]) if harm == "replaced" else path.write_bytes(b"cli")
    assert reasons(run, "05_clinical_to_he") == ["clinical.csv was changed or deleted after the step"]
    with pytest.raises(StudyError, match=r"05_clinical_to_he: clinical\.csv was changed .* Run the study again"):
        require_consistent(run)


def test_a_step_made_from_other_results_of_an_earlier_one_is_stale(run):
    made = opened(run.parent, "01_cohort")
    write_bytes(made.path("cohort.tsv"), b"another cohort\n")
    made.record()
    assert not (run / "cohort.csv").exists(), "what a step does not write any more is removed"
    assert reasons(run, "05_clinical_to_he") == ["01_cohort gives other results now"]


def test_figures_drawn_anew_do_not_make_the_next_step_stale(run):
    before = record_digest(run, "01_cohort")
    made = opened(run.parent, "01_cohort")
    write_bytes(made.path("cohort.csv"), b"cohort.csv as made\n")
    write_bytes(made.path("figures", "flow.pdf"), b"drawn in another way")
    made.record()
    assert record_digest(run, "01_cohort") == before


def test_a_damaged_record_counts_as_none(run):
    (run / "records" / "05_clinical_to_he.json").write_text(json.dumps({"notebook": "05", "files": 3}))
    assert read_record(run, "05_clinical_to_he") is None
    with pytest.raises(StudyError, match="no record of a step"):
        require_consistent(run)


def test_other_parameters_by_hand_write_to_a_scratch_folder_that_follows_the_study_and_say_so(run, capsys):
    given = notebook_defaults("05_clinical_to_he")
    (run / "study.json").write_text(json.dumps({"parameters": {"05_clinical_to_he": given}}))
    assert opened(run.parent).folder == run, "the study's own parameters"
    made = opened(run.parent, alpha=0.01)
    assert made.folder == run.with_name("demo-scratch")
    assert "alpha is 0.01, the study's is 0.05" in capsys.readouterr().out
    assert made.path("cohort.csv").read_bytes() == (run / "cohort.csv").read_bytes()
    write_bytes(made.path("clinical.csv"), b"by hand\n")
    made.record()
    assert (run / "clinical.csv").read_bytes() == b"clinical.csv as made\n"
    require_consistent(run)
    write_bytes(run / "cohort.csv", b"a later cohort\n")
    again = opened(run.parent, alpha=0.01)
    assert again.path("clinical.csv").read_bytes() == b"by hand\n"
    assert again.path("cohort.csv").read_bytes() == b"a later cohort\n"


def test_a_changed_cell_marks_the_step_and_the_notebooks_own_cells_do_not(run):
    cells = ["", "# Parameters\nseed = 7\n", *(text for _, text in notebook_cells("05_clinical_to_he"))]
    assert read_json(opened(run.parent, _ih=cells).record())["by_hand"] == ""
    opened(run.parent, _ih=["", "cohort = 3"]).record()
    assert reasons(run, "05_clinical_to_he")[0] == "run by hand with other cells than the notebook's"


def test_the_projects_notebooks_can_be_split_into_their_cells():
    for path in sorted((PROJECT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = {"".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "code"}
        assert {text for mark, text in notebook_cells(path.stem) if "[markdown]" not in mark} == code


def test_a_notebook_opens_the_folder_of_its_study_and_records_its_results_with_all_parameters(tmp_path):
    made = opened(tmp_path)
    assert made.folder == tmp_path / "demo"
    assert made.parameters["alpha"] == 0.05
    assert made.path("figures", "roc.pdf").parent.is_dir()
    record = read_json(made.record(auc=0.8))
    assert record["parameters"] == dict(made.parameters)
    assert record["results"] == {"auc": 0.8}


def test_an_injected_parameter_is_refused_where_the_notebook_does_not_know_it(tmp_path):
    assert opened(tmp_path, _ih=["# Parameters\nseed = 7\n"])
    with pytest.raises(StudyError, match=r"no parameter 'sed' .did you mean 'seed'"):
        opened(tmp_path, _ih=["", "# Parameters\nsed = 3\n"], sed=3)
    with pytest.raises(StudyError, match="'seed' must be int, got '7'"):
        opened(tmp_path, seed="7")


def test_the_root_is_found_from_the_notebooks_folder_and_set_by_the_runner(monkeypatch, tmp_path):
    monkeypatch.delenv("HEPRED_ROOT", raising=False)
    monkeypatch.chdir(PROJECT / "notebooks")
    assert project_root() == PROJECT
    monkeypatch.setenv("HEPRED_ROOT", str(tmp_path))
    assert opened("").folder == tmp_path / "runs" / "demo"


@pytest.mark.parametrize(("changed", "counts"), [({"candidates": "age"}, False), ({"seed": 2}, True)])
def test_candidates_that_chapter_01_only_shows_are_no_reason_to_train_again(run, changed, counts):
    before, record = record_digest(run, "01_cohort"), read_record(run, "01_cohort")
    write_record(run, "01_cohort", record | {"parameters": record["parameters"] | changed})
    assert (record_digest(run, "01_cohort") != before) is counts
