"""Harm to a finished run is seen and mended: with ``test_interrupted.py`` the short form of ``run_matrix.py``."""

import os
import shutil
import subprocess
import sys
from itertools import cycle

import pytest

from hepred_lib.study.definition import PROJECT
from hepred_lib.study.files import read_json
from tests.faults import harness
from tests.faults.harness import FILE_FAULTS, STEPS, hepred, rewrite, stale, verdict
from tests.test_cli import refused

pytestmark = pytest.mark.book


def test_every_harmed_file_makes_its_step_stale(study):
    harmed = {number: name for number, name in STEPS.items() if number in ("01", "04", "05", "06", "07")}
    for name, fault in zip(harmed.values(), cycle(("deleted", "truncated", "replaced")), strict=False):
        FILE_FAULTS[fault](study.run / name)
    told = stale(study)
    assert sorted(step[:2] for step in told) == sorted(harmed)
    for step, why in told.items():
        assert harmed[step[:2]] in why


def test_harmed_files_and_the_page_of_a_failed_attempt_are_made_again_as_they_were(study, clean, temporary):
    original = study.study_file.read_text()
    wrong = original.replace("06_integrated_to_he: {", "06_integrated_to_he: {threshold_rule: best, ")
    study.study_file.write_text(wrong)
    failed = hepred("notebook", study.study_file, "06_integrated_to_he")
    assert failed.returncode == 2
    assert "threshold_rule must be" in failed.stderr
    study.study_file.write_text(original)
    assert "of a run that did not finish" in stale(study)["06_integrated_to_he"]
    harness.truncate(study.run / "integrated_model.json")
    harness.replace(study.run / "figures" / "roc.pdf")
    harness.touch_ahead(study.run / "image.csv")
    (study.run / "tables" / "performance.csv").unlink()
    assert verdict(study, clean, temporary=temporary) == ""
    assert stale(study) == {}


def test_a_study_with_time_stamps_a_day_ahead_is_up_to_date(study):
    for name in ("cohort.csv", "clinical.csv", "results.json"):
        harness.touch_ahead(study.run / name)
    assert stale(study) == {}


def test_a_corrected_manifest_under_its_old_time_stamp_is_seen(study):
    manifest = study.root / "cohort" / "manifest.csv"
    content = manifest.read_bytes()
    rewrite(manifest, content.replace(b",M,", b",F,", 1))
    assert "the manifest changed" in stale(study)["01_cohort"]


def test_a_changed_library_names_the_module(study, tmp_path):
    library = tmp_path / "library"
    shutil.copytree(PROJECT, library, ignore=shutil.ignore_patterns(".venv", ".git", "runs", "cohorts", ".*_cache"))
    module = library / "hepred_lib" / "stats" / "logistic.py"
    module.write_text(module.read_text(encoding="utf-8") + "\nANOTHER = 1\n", encoding="utf-8")
    command = [sys.executable, "-m", "hepred_lib.cli", "run", str(study.study_file), "--explain"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(library)}
    )
    assert "05_clinical_to_he: code changed: hepred_lib/stats/logistic.py" in done.stdout


def test_another_image_source_leaves_nothing_of_the_first(study, temporary):
    study.study_file.write_text(study.study_file.read_text().replace("image_source: column", "image_source: none"))
    done = hepred("run", study.study_file, "--cores", 2, temporary=temporary)
    assert done.returncode == 0, done.stderr
    assert "04_image_to_he is not part of this study any more" in done.stderr
    assert not list(study.run.glob("image*")) + list(study.run.glob("integrated*"))
    assert not (study.run / "notebooks" / "04_image_to_he.ipynb").exists()
    assert not (study.run / "figures" / "dl_score.pdf").exists()
    found = read_json(study.run / "results.json")
    assert found["models"]["image"] is None
    assert found["models"]["clinical"] is not None


def test_predict_report_and_site_refuse_a_run_whose_files_disagree(study, tmp_path, monkeypatch, capsys):
    harness.replace(study.run / "clinical_model.json")
    for arguments in (
        ("report", study.run),
        ("site", study.run, "--out", tmp_path / "site"),
        ("figures", study.run),
        ("predict", study.run, "--ct", "x.nii", "--out", tmp_path / "p"),
        ("external", study.run, study.root / "cohort" / "manifest.csv", "--out", tmp_path / "e"),
    ):
        line = refused(monkeypatch, capsys, *map(str, arguments))
        assert "clinical_model.json was changed or deleted after the step" in line


def test_a_second_study_of_the_same_name_is_refused(study, monkeypatch, capsys):
    other = study.study_file.with_name("other.yaml")
    other.write_text(study.study_file.read_text().replace("cohort/manifest.csv", "cohort/other.csv"))
    shutil.copy(study.root / "cohort" / "manifest.csv", study.root / "cohort" / "other.csv")
    assert "Give one of them another name" in refused(monkeypatch, capsys, "run", str(other))


def test_two_runs_of_one_study_at_once_are_refused_at_once(study, monkeypatch, capsys):
    code = (
        "import fcntl, sys, time; stream = open(sys.argv[1], 'a+'); fcntl.flock(stream, fcntl.LOCK_EX); "
        "import os, socket; stream.truncate(0); stream.write(f'{socket.gethostname()}:{os.getpid()}'); stream.flush(); "
        "print('held', flush=True); time.sleep(60)"
    )
    holding = [sys.executable, "-c", code, str(study.run / ".lock")]
    with subprocess.Popen(holding, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        said = refused(monkeypatch, capsys, "run", str(study.study_file))
        holder.kill()
    assert "another run is at work on" in said


def test_a_missing_manifest_is_said_before_anything_runs(study, monkeypatch, capsys):
    (study.root / "cohort" / "manifest.csv").unlink()
    line = refused(monkeypatch, capsys, "run", str(study.study_file))
    assert "manifest of study column must name a file" in line


def test_any_folder_of_runs_passes_through_to_the_engine(study, tmp_path):
    folder = tmp_path / "a {b} #c ä ö" / "null"
    folder.parent.mkdir()
    shutil.copytree(study.run.parent, folder, copy_function=os.link)
    done = hepred("run", study.study_file, "--runs-dir", folder, "--", "--dry-run")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not harness.can_mount(), reason="needs the right to mount a file system")
def test_a_finished_run_that_cannot_be_written_can_be_read(study):
    with harness.read_only(study.run.parent):
        assert "Study column:" in hepred("run", study.study_file).stdout
