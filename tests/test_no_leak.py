"""A network knows nothing of the patients that it is judged on: not their pixels, outlines or outcomes."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hepred_lib.imaging.slices import read_quality, stored_path
from hepred_lib.multitask.data import DESCRIPTORS, fold_roles
from hepred_lib.study.files import file_sha256, read_table, write_table

pytestmark = pytest.mark.book


def trained_again(run: Path, study: Path, folder: Path, changed: list[str]) -> str:
    """The mark of fold 0's weights when these patients have other scans, outlines, descriptors and outcomes."""
    other = folder / run.name
    shutil.copytree(run, other)
    cohort, quality = read_table(other / "cohort.csv"), read_quality(other / "slices")
    for patient in changed:
        path = stored_path(other / "slices", patient)
        path.chmod(0o644)
        np.save(path, np.ascontiguousarray(np.load(path)[::-1, :, ::-1]))
    touched = cohort["patient_id"].isin(changed)
    cohort["he"] = cohort["he"].where(~touched, 1 - cohort["he"])
    quality.loc[changed, list(DESCRIPTORS)] *= 2.0
    write_table(other / "cohort.csv", cohort)
    write_table(other / "slices" / "quality.csv", quality.reset_index())
    shutil.rmtree(other / "folds" / "0")
    command = [sys.executable, "-m", "hepred_lib.cli", "notebook", str(study), "03_multitask_training", "--fold", "0"]
    done = subprocess.run([*command, "--runs-dir", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return file_sha256(other / "folds" / "0" / "network.safetensors")


@pytest.fixture(scope="module")
def roles(run):
    return fold_roles(read_table(run / "cohort.csv"), 0)


@pytest.fixture(scope="module")
def weights(run) -> str:
    return file_sha256(run / "folds" / "0" / "network.safetensors")


def test_held_out_and_test_patients_leave_no_trace_in_the_weights(run, study_file, tmp_path, roles, weights):
    judged = roles.index[roles != "in_fold"].tolist()
    assert trained_again(run, study_file, tmp_path, judged) == weights


def test_one_patient_who_trains_the_network_changes_them(run, study_file, tmp_path, roles, weights):
    assert trained_again(run, study_file, tmp_path, roles.index[roles == "in_fold"].tolist()[:1]) != weights
