"""Tiny simulated phantoms on disk, and the way to the shared data."""

import os
from pathlib import Path

# Read when torch loads: threads that wait must not keep a busy machine's cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest

from hepred_lib.scans import write_nifti


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the project."""
    folder = Path(__file__).resolve().parents[1] / "../shared"
    if not folder.is_dir():
        pytest.skip("the shared data are not beside the project")
    return folder.resolve()


@pytest.fixture
def phantom():
    """HU, mask and affine of a head: a ball of brain in air with 144 voxels of 0.125 mL (18 mL) of blood."""
    x, y, z = np.indices((32, 28, 16))
    hu = np.where((x - 15) ** 2 + (y - 14) ** 2 + (2 * (z - 8)) ** 2 < 13**2, 35.0, -1000.0).astype(np.float32)
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
