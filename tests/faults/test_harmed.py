"""Harm to a finished run is seen and mended: with ``test_interrupted.py`` the short form of ``run_matrix.py``."""

import dataclasses
import os
import shutil
from itertools import cycle

import pytest
from typer.testing import CliRunner

from hepred_lib import cli
from hepred_lib.study import running
from hepred_lib.study.definition import load_study
from tests.faults import harness
from tests.faults.harness import FILE_FAULTS, STEPS, hepred, stale, verdict
from tests.test_cli import refused

pytestmark = pytest.mark.book


def test_every_harmed_file_makes_its_step_stale_and_a_time_stamp_a_day_ahead_does_not(study):
    for name in ("cohort.csv", "clinical.csv", "results.json"):
        harness.touch_ahead(study.run / name)
    explained = CliRunner().invoke(cli.app, ["run", str(study.study_file), "--explain"])
    assert {line.partition(": ")[2] for line in explained.output.splitlines()} == {"up to date"}
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


def test_another_image_source_leaves_nothing_of_the_first(study, capsys):
    described = dataclasses.replace(load_study(study.study_file), image_source="none")
    running.move_aside(described, study.run)
    assert "04_image_to_he is not part of this study any more" in capsys.readouterr().err
    assert not list(study.run.glob("image*")) + list(study.run.glob("integrated*"))
    assert not (study.run / "notebooks" / "04_image_to_he.ipynb").exists()
    assert not (study.run / "figures" / "dl_score.pdf").exists()
    made_again = {step for step, why in running.explain(described, study.run).items() if why}
    assert {"01_cohort", "07_roc_calibration_figures"} <= made_again


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
    with running._only_one(study.run):
        assert "another run is at work on" in refused(monkeypatch, capsys, "run", str(study.study_file))


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
