"""A run is what its study file says, whatever was ended or done by hand: with ``test_harmed.py`` the short form."""

import signal
import subprocess
import sys

import pytest

from hepred_lib.study.definition import PROJECT
from hepred_lib.study.files import read_json
from tests.faults import harness
from tests.faults.harness import WORDS_OF, hepred, kill_at_work, stale, verdict

pytestmark = pytest.mark.book


def fill_the_disk(study, temporary):
    """Run a study that has no room for its results, where this process may mount a disk so small."""
    (study.run / "report" / "summary.pdf").unlink(missing_ok=True)  # else the run removes it, which makes room
    with harness.full_disk(study.run, room=8_000):
        done = hepred("run", study.study_file, temporary=temporary)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_is_ended_or_finds_a_full_disk_says_what_to_do_and_the_next_one_finishes(study, clean, temporary):
    for how, expected in {"SIGTERM": 1, "SIGKILL of the kernel": 1, "SIGKILL of hepred": -signal.SIGKILL}.items():
        (study.run / "paper.json").unlink(missing_ok=True)
        status, said = kill_at_work(study, how, temporary=temporary, after_s=0.5)
        assert status == expected
        assert WORDS_OF.get(how, "") in said
        assert "Traceback" not in said
    if harness.can_mount():
        fill_the_disk(study, temporary)
    assert verdict(study, clean, temporary=temporary) == ""


def test_papermill_by_hand_leaves_the_finished_study_alone(study, clean, tmp_path):
    papermill = [sys.executable, "-m", "papermill", str(PROJECT / "notebooks" / "05_clinical_to_he.ipynb")]
    given = {"study": study.name, "runs_dir": str(study.run.parent), "alpha": 0.0001, "n_resamples": 3}
    given |= {"candidates": "age gcs male glucose_mmol_l", "n_imputations": 1, "seed": 3, "truth": ""}
    options = [word for name, value in given.items() for word in ("-p", name, str(value))]
    done = subprocess.run(
        [*papermill, str(tmp_path / "out.ipynb"), *options, "--cwd", str(PROJECT / "notebooks")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "writes to" in (tmp_path / "out.ipynb").read_text(encoding="utf-8")
    assert harness.differing(study.run, clean) == []
    made, by_hand = (folder / "clinical_model.json" for folder in (study.run, study.run.with_name("column-scratch")))
    assert read_json(by_hand)["logistic"]["path"] != read_json(made)["logistic"]["path"]
    assert stale(study) == {}
