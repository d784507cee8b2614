"""A tables-only study with a score from elsewhere, finished once, for faults that need no network."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import made_once
from tests.faults.harness import Finished, copy_of, hepred, results

STUDY = """study: faults
manifest: cohort/manifest.csv
seed: 3
image_source: column
folds: 2
parameters:
  00_the_paper: {n_simulations: 20}
  04_image_to_he: {n_resamples: 10}
  05_clinical_to_he: {candidates: age gcs onset_to_ct_h, n_imputations: 2, n_resamples: 10}
  06_integrated_to_he: {n_imputations: 2, n_resamples: 10}
  07_roc_calibration_figures: {n_resamples: 20}
"""


def make_study(root, text=STUDY):
    """A study of 240 simulated patients whose score is the oracle's image logit with noise, not yet run."""
    (root / "studies").mkdir(parents=True)
    assert hepred("simulate", root / "cohort", "--patients", 240, "--seed", 1, "--no-scans").returncode == 0
    manifest = pd.read_csv(root / "cohort" / "manifest.csv", dtype={"patient_id": str})
    truth = pd.read_csv(root / "cohort" / "truth.csv")["p_image"].to_numpy()
    noise = np.random.default_rng(0).normal(size=len(manifest))
    manifest["dl_score"] = np.round(np.nan_to_num(np.log(truth / (1 - truth)), nan=-3.0) + noise, 4)
    manifest.to_csv(root / "cohort" / "manifest.csv", index=False)
    (root / "studies" / "faults.yaml").write_text(text, encoding="utf-8")
    return Finished(root, root / "studies" / "faults.yaml", "faults")


def finish_study(root):
    """Make the study and run it."""
    study = make_study(root)
    done = hepred("run", study.study_file, "--cores", 2)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def tables_study(tmp_path_factory) -> Finished:
    """The finished study."""
    root = made_once(tmp_path_factory, "faults", finish_study)
    return Finished(root, root / "studies" / "faults.yaml", "faults")


@pytest.fixture(scope="session")
def clean(tables_study) -> dict[str, bytes]:
    """Its results."""
    return results(tables_study.run)


@pytest.fixture
def study(tables_study, tmp_path):
    """A copy of the finished study, to be harmed."""
    return copy_of(tables_study, tmp_path / "root")


@pytest.fixture
def temporary(tmp_path):
    """A temporary folder of its own; short, for the sockets of kernels."""
    folder = tmp_path / "t"
    folder.mkdir()
    return folder
