"""Tiny simulated phantoms on disk, the smoke study run once, and the way to the shared data."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

# Read when torch loads: threads that wait must not keep a busy machine's cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pandas as pd
import pytest

from hepred_lib.imaging.scans import write_nifti
from hepred_lib.study.definition import PROJECT
from ich_phantom.cohort import simulate_cohort
from tests.faults.harness import Finished, succeed

collect_ignore = ["data"]  # scripts that make references: looked through for doctests, they would write them anew

# Files that use the smoke study, which takes minutes: one process runs them all, and starts with them.
SMOKE = (
    "tests/test_smoke_study.py",
    "tests/test_smoke_report.py",
    "tests/test_no_leak.py",
    "tests/site/test_in_browser.py",
)
# Files that run studies of their own: not left to the end, where one process would work alone.
LONG = (
    "tests/test_tables_only_study.py",
    "tests/test_odd_studies.py",
    "tests/test_small_cohort.py",
    "tests/study/test_external.py",
    "tests/faults/test_harmed.py",
    "tests/faults/test_interrupted.py",
    "tests/study/test_segmenting.py",
    "tests/multitask/test_training.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """On several processes each file is one piece of work, and the files of the smoke study are one together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByStudy(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return "smoke" if file in SMOKE else file

    return ByStudy(config, log)


def pytest_collection_modifyitems(items):
    # torch counts its devices at the first gradient of a process: the pretended one must be there by then.
    first = ("tests/multitask/test_device.py", *SMOKE, *LONG)
    places = {file: place for place, file in enumerate(first)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(first)))


def made_once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first of several test processes makes and the others wait for."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make(folder)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the project."""
    folder = Path(__file__).resolve().parents[1] / "../shared"
    if not folder.is_dir():
        pytest.skip("the shared data are not beside the project")
    return folder.resolve()


@pytest.fixture
def phantom():
    """HU, mask and affine of a head: a ball of brain in a skull with 144 voxels of 0.125 mL (18 mL) of blood."""
    x, y, z = np.indices((32, 28, 16))
    radius = np.sqrt((x - 15) ** 2 + (y - 14) ** 2 + (1.8 * (z - 8)) ** 2)
    hu = np.select([radius < 11.5, radius < 13], [35.0, 1000.0], -1000.0).astype(np.float32)
    mask = np.zeros(hu.shape, dtype=bool)
    mask[17:23, 10:16, 6:10] = True
    hu[mask] = 60.0
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = -70.0, -65.0, -40.0
    return hu, mask, affine


@pytest.fixture
def cohort_folder(tmp_path, phantom) -> Path:
    """A folder with ``manifest.csv`` and two patients' scans and masks; the second patient's scan is 1 HU brighter."""
    hu, mask, affine = phantom
    for number in (1, 2):
        write_nifti(tmp_path / f"HE-{number}_ct.nii.gz", hu + number, affine, dtype=np.int16)
        write_nifti(tmp_path / f"HE-{number}_mask.nii.gz", mask, affine, dtype=np.uint8)
    (tmp_path / "manifest.csv").write_text(
        "patient_id,baseline_ct,baseline_mask,baseline_volume_ml,followup_volume_ml,he,age,sex\n"
        "HE-1,HE-1_ct.nii.gz,HE-1_mask.nii.gz,18.0,30.0,1,71,F\n"
        "HE-2,HE-2_ct.nii.gz,HE-2_mask.nii.gz,17.5,18.0,0,64,M\n",
        encoding="utf-8",
    )
    return tmp_path


@pytest.fixture
def temporary(tmp_path):
    """A temporary folder of its own; short, for the sockets of kernels."""
    folder = tmp_path / "t"
    folder.mkdir()
    return folder


TABLES_STUDY = """study: column
manifest: cohort/manifest.csv
seed: 3
image_source: column
folds: 2
parameters:
  00_the_paper: {n_simulations: 20}
  04_image_to_he: {n_resamples: 3}
  05_clinical_to_he: {candidates: age gcs male glucose_mmol_l, alpha: 0.5, n_imputations: 2, n_resamples: 3}
  06_integrated_to_he: {n_imputations: 2, n_resamples: 3}
  07_roc_calibration_figures: {n_resamples: 5}
"""


def scored(manifest: Path) -> pd.DataFrame:
    """The manifest with a score made elsewhere, about 40 in patients without and 50 in patients with expansion."""
    table = pd.read_csv(manifest)
    return table.assign(dl_score=40 + 10 * table["he"].fillna(0) + np.random.default_rng(0).normal(0, 10, len(table)))


def finish_tables_study(root: Path) -> None:
    """A study of 160 patients whose score comes from the manifest; five have no follow-up, three no score."""
    simulate_cohort(root / "cohort", n_patients=160, seed=1, with_scans=False)
    table = scored(root / "cohort" / "manifest.csv")
    table.loc[table.index[:5], ["he", "followup_volume_ml", "ct_to_followup_h"]] = np.nan
    table.loc[table.index[5:8], "dl_score"] = np.nan
    table.to_csv(root / "cohort" / "manifest.csv", index=False)
    (root / "studies").mkdir()
    (root / "studies" / "column.yaml").write_text(TABLES_STUDY, encoding="utf-8")
    succeed("run", root / "studies" / "column.yaml", "--cores", 2)


@pytest.fixture(scope="session")
def tables_study(tmp_path_factory) -> Finished:
    """The finished study without scans; nothing may be written into it: see :func:`copy_of`."""
    root = made_once(tmp_path_factory, "column", finish_tables_study)
    return Finished(root, root / "studies" / "column.yaml", "column")


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A user's own folder with the smoke study in it."""
    root = tmp_path_factory.mktemp("root")
    (root / "studies").mkdir()
    shutil.copy(PROJECT / "studies" / "smoke.yaml", root / "studies")
    return root


@pytest.fixture(scope="session")
def study_file(root) -> Path:
    return root / "studies" / "smoke.yaml"


@pytest.fixture(scope="session")
def finished(study_file) -> subprocess.CompletedProcess:
    """The smoke study as a user runs it: minutes, once for all tests marked ``book``."""
    return succeed("run", study_file, "--cores", 2)


@pytest.fixture(scope="session")
def run(finished, root) -> Path:
    return root / "runs" / "smoke"
