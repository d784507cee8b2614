"""One notebook by papermill: parameters merged and refused, sockets not ports, a failed copy kept."""

import os
import subprocess
import sys
import tempfile
import time

import pytest

from hepred_lib.errors import StudyError
from hepred_lib.study.definition import PROJECT, TRAINING, Study, load_study, study_parameters
from hepred_lib.study.files import read_json, write_bytes
from hepred_lib.study.run import write_record
from hepred_lib.study.running import NotebookError, _environment, execute, move_aside, owner_lives, owner_mark


@pytest.fixture(scope="module")
def smoke():
    return load_study(PROJECT / "studies" / "smoke.yaml")


def test_a_notebook_gets_the_studys_own_keys_where_it_knows_them(smoke):
    parameters = study_parameters(smoke, "01_cohort")
    assert (parameters["seed"], parameters["folds"]) == (3, 2)
    assert "folds" not in study_parameters(smoke, "05_clinical_to_he")
    assert study_parameters(smoke, "08_new_patients")["manifest"] == "cohorts/smoke_site_b/manifest.csv"


def test_extra_parameters_are_checked(smoke):
    assert study_parameters(smoke, "03_multitask_training", fold=1)["fold"] == 1
    with pytest.raises(StudyError, match="has no parameter 'fold'"):
        study_parameters(smoke, "05_clinical_to_he", fold=1)


@pytest.mark.book
def test_a_notebook_leaves_its_results_in_a_folder_whose_braces_are_no_template(tmp_path):
    folder = tmp_path / "of {x} {} #1"
    parameters = {"study": "try", "runs_dir": str(folder), "n_simulations": 50}
    execute("00_the_paper", parameters, output=folder / "00.ipynb", root=tmp_path)
    assert (folder / "00.ipynb").is_file()
    assert read_json(folder / "try" / "paper.json")
    assert "HEPRED_ROOT" not in os.environ


@pytest.mark.book
def test_a_failing_notebook_is_kept_and_says_whose_fault_it_is(tmp_path):
    parameters = {"study": "try", "runs_dir": str(tmp_path), "manifest": "none.csv"}
    with pytest.raises(NotebookError, match=r"none\.csv") as failure:
        execute("01_cohort", parameters, output=tmp_path / "01.ipynb", root=tmp_path)
    assert failure.value.input_at_fault
    assert "none.csv" in (tmp_path / "01.ipynb").read_text()


def test_where_no_folder_can_hold_sockets_those_that_were_tried_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StudyError, match=r"TMPDIR must be .* got .*, /var/tmp, /dev/shm"), _environment(1, tmp_path):
        pass


def test_an_owner_lives_while_its_process_does():
    (mark,) = owner_mark().values()
    assert owner_lives(mark)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not owner_lives(mark.replace(f":{os.getpid()}", f":{gone.pid}"))
    assert not owner_lives("")


def test_a_child_ends_when_the_run_that_owns_it_is_gone():
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    mark = {name: value.replace(f":{os.getpid()}", f":{owner.pid}") for name, value in owner_mark().items()}
    code = "import time; from hepred_lib.study.running import watch_owner; watch_owner(); print(1); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-uc", code], env=os.environ | mark, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline()
        time.sleep(0.7)
        assert child.poll() is None
        owner.kill()
        owner.wait()
        assert child.wait(timeout=20) == 1


def test_a_temporary_folder_of_a_long_path_does_not_hold_the_sockets(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with _environment(1, tmp_path):
        assert len(os.environ["JUPYTER_RUNTIME_DIR"]) < 90
    assert list(long.iterdir()) == []


def test_sockets_of_a_process_that_is_gone_are_removed(tmp_path, monkeypatch):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f"hepred-{gone.pid}-abc").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with _environment(1, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_fold_of_an_earlier_setting_is_moved_aside(tmp_path, capsys):
    record = {"parameters": {}, "results": {}, "identity": {}, "upstream": {}}
    for fold in (1, 2):
        weights = f"folds/{fold}/network.safetensors"
        write_bytes(tmp_path / weights, b"weights")
        write_record(tmp_path, f"{TRAINING}_fold{fold}", record | {"files": {weights: {}}})
    move_aside(Study(name="a", root=tmp_path, manifest="m.csv", seed=1, folds=2), tmp_path)
    assert f"{TRAINING}_fold2 is not part of this study any more" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "folds").iterdir()] == ["1"]
    moved = {path.name for path in (tmp_path / "earlier").rglob("*") if path.is_file()}
    assert moved == {"network.safetensors", f"{TRAINING}_fold2.json"}
