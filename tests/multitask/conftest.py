"""A handful of made-up patients as bags of 64 x 64 slices."""

import numpy as np
import pytest

from hepred_lib.imaging.slices import BLOOD, BRAIN, HU, HU_OFFSET
from hepred_lib.multitask.data import DESCRIPTORS, Patient


def make_patient(index: int, *, he: float = 0.0, radius: float = 6.0, n_slices: int = 8) -> Patient:
    rng = np.random.default_rng(index)
    y, x = np.indices((64, 64)) - 31.5
    planes = np.zeros((n_slices, 4, 64, 64), dtype=np.uint8)
    brain = np.hypot(x, y) < 28
    for z in range(n_slices):
        blood = (np.hypot(x - 8, y + 4) < radius * np.sin(np.pi * (z + 0.5) / n_slices)) & (1 < z < n_slices - 2)
        hu = np.where(blood, 60.0, 33.0) + rng.normal(0, 2, (64, 64))
        planes[z, HU] = np.where(brain, hu + HU_OFFSET, 0)
        planes[z, BLOOD] = 255 * blood
        planes[z, BRAIN] = 255 * brain
    descriptors = tuple(rng.normal(size=len(DESCRIPTORS))) if radius else (np.nan,) * len(DESCRIPTORS)
    return Patient(f"P{index:02d}", planes, 3.0, 3.0**2 * 5 / 1000, he, True, descriptors=descriptors)


@pytest.fixture(scope="session")
def patients() -> list[Patient]:
    """Ten patients, three with expansion (the large hematomas), one without outcome and without blood."""
    known = [make_patient(index, he=float(index < 3), radius=10.0 if index < 3 else 6.0) for index in range(9)]
    return [*known, make_patient(9, he=np.nan, radius=0.0)]
