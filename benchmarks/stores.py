"""Slice stores of made-up patients: heads of the usual size with noise and a bleeding, for timing only."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.imaging.preprocessing import SliceGrid, grid_record
from hepred_lib.imaging.slices import BLOOD, BRAIN, HU, HU_OFFSET, stored_path
from hepred_lib.multitask.data import DESCRIPTORS

N_SLICES, FIELD_MM, THICKNESS_MM = 31, 200.0, 5.0


def made_up_planes(number: int, matrix: int) -> np.ndarray:
    """Planes of one patient, uint8 (31, 4, matrix, matrix): a brain with noise and a bleeding in a third of it."""
    rng = np.random.default_rng(number)
    z, y, x = np.ogrid[-1 : 1 : N_SLICES * 1j, -1 : 1 : matrix * 1j, -1 : 1 : matrix * 1j]
    brain = (x / 0.65) ** 2 + (y / 0.8) ** 2 + (z / 1.05) ** 2 < 1
    blood = ((x - 0.25) / 0.2) ** 2 + ((y - rng.uniform(-0.2, 0.2)) / 0.22) ** 2 + (z / 0.35) ** 2 < 1
    planes = np.zeros((N_SLICES, 4, matrix, matrix), dtype=np.uint8)
    hu = np.where(blood, 60.0, 33.0) + rng.normal(0, 3, brain.shape)
    planes[:, HU] = np.where(brain, np.rint(hu) + HU_OFFSET, 0)
    planes[:, BLOOD], planes[:, BRAIN] = 255 * blood, 255 * brain
    return planes


def write_store(folder: Path, n_patients: int, *, matrix: int, n_distinct: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A store of ``n_patients``, of which ``n_distinct`` lie on the disk and the rest are hard links to them.

    Returns
    -------
    cohort, quality : DataFrame
        As :func:`hepred_lib.multitask.data.load_patients` takes them; every fifth patient expands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"P{number:05d}" for number in range(n_patients)]
    for number, name in enumerate(names):
        if number < n_distinct:
            np.save(stored_path(folder, name), made_up_planes(number, matrix), allow_pickle=False)
        else:
            os.link(stored_path(folder, names[number % n_distinct]), stored_path(folder, name))
    spacing = FIELD_MM / matrix
    grid = SliceGrid((matrix, matrix, N_SLICES), (spacing, spacing, THICKNESS_MM), (0.0, 0.0), FIELD_MM, matrix, 1)
    quality = pd.DataFrame({"patient_id": names, "has_mask": 1, **grid_record(grid)}).set_index("patient_id")
    measured = np.random.default_rng(n_patients).normal(size=(n_patients, len(DESCRIPTORS)))
    quality[list(DESCRIPTORS)] = measured
    return pd.DataFrame({"patient_id": names, "he": [float(number % 5 == 0) for number in range(n_patients)]}), quality
