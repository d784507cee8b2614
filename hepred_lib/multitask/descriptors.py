"""What can be measured of a hematoma without a reader, as targets beside the outcome.

A hundred events teach little about what to look at. Density, heterogeneity and the surface can be measured on every
patient's reference outline; a network that also has to tell them keeps features in which expansion can be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hepred_lib.markers import measure_markers
from hepred_lib.multitask.bags import Patient
from hepred_lib.slices import BLOOD, HU, HU_OFFSET, from_torch

DESCRIPTORS = ("mean_hu", "sd_hu", "skewness_hu", "hypodense_fraction", "surface_irregularity", "n_components")


def standardized_descriptors(patients: Sequence[Patient]) -> np.ndarray:
    """Descriptors of each patient's reference hematoma, float32 (n, k): mean 0 and SD 1 over *these* patients.

    NaN for a patient without an outline or without blood; values beyond three SD are drawn in to three.
    """
    rows = [[np.nan] * len(DESCRIPTORS) if not _bloody(patient) else _measured(patient) for patient in patients]
    values = np.array(rows, dtype=float).reshape(len(rows), len(DESCRIPTORS))
    known = ~np.isnan(values).any(axis=1)
    if known.sum() < 2:
        return np.full(values.shape, np.nan, dtype=np.float32)
    mean, sd = values[known].mean(axis=0), values[known].std(axis=0)
    return np.clip((values - mean) / np.where(sd > 0, sd, 1.0), -3, 3).astype(np.float32)


def _bloody(patient: Patient) -> bool:
    return patient.has_mask and bool((patient.planes[:, BLOOD] > 127).any())


def _measured(patient: Patient) -> list[float]:
    hu, mask = from_torch(patient.planes[:, HU]).astype(np.float32) - HU_OFFSET, from_torch(patient.planes[:, BLOOD])
    spacing = (patient.pixel_mm, patient.pixel_mm, 1000 * patient.voxel_ml / patient.pixel_mm**2)
    markers = measure_markers(hu, mask > 127, spacing).as_dict()
    return [float(markers[name]) for name in DESCRIPTORS]
