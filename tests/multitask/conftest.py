"""A handful of made-up patients as bags of 64 x 64 slices."""

import numpy as np
import pandas as pd
import pytest
import torch

from hepred_lib.imaging.slices import BLOOD, BRAIN, HU, HU_OFFSET
from hepred_lib.multitask.data import DESCRIPTORS, Patient, fold_roles
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings


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


@pytest.fixture(scope="session")
def roles(patients) -> pd.Series:
    """What each patient is to the network of fold 1: two are test patients, every second of the others is held out."""
    fold = [-1 if index in (2, 5) else index % 2 for index in range(10)]
    cohort = pd.DataFrame({"patient_id": [patient.patient_id for patient in patients], "fold": fold})
    return fold_roles(cohort.assign(split=np.where(cohort["fold"] < 0, "test", "development")), 1)


@pytest.fixture(scope="session")
def network() -> MultitaskNetwork:
    """A network that was not trained, with a random read-out; no test may change it."""
    torch.manual_seed(0)
    network = MultitaskNetwork(NetworkSettings()).eval()
    network.expansion.classify.reset_parameters()
    return network
