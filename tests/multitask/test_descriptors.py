"""Descriptors as targets: of these patients, on a common scale, missing where nothing was outlined."""

import dataclasses

import numpy as np
import pytest

from hepred_lib.multitask.descriptors import DESCRIPTORS, standardized_descriptors


def test_descriptors_have_mean_0_and_sd_1_over_the_patients_given(patients):
    values = standardized_descriptors(patients)[:9]
    assert values.shape == (9, len(DESCRIPTORS))
    assert values[:, 0].mean() == pytest.approx(0.0, abs=1e-5)
    assert values[:, 0].std() == pytest.approx(1.0, abs=1e-5)


def test_a_patient_without_blood_or_without_an_outline_has_none(patients):
    unknown = dataclasses.replace(patients[0], has_mask=False)
    values = standardized_descriptors([unknown, *patients[1:]])
    assert np.isnan(values[[0, 9]]).all()
    assert np.isfinite(values[1:9]).all()


def test_a_brighter_hematoma_has_a_higher_mean(patients):
    planes = patients[0].planes.copy()
    planes[:, 0][planes[:, 1] > 0] += 10
    values = standardized_descriptors([dataclasses.replace(patients[0], planes=planes), *patients[1:9]])
    assert values[0, DESCRIPTORS.index("mean_hu")] > 2


def test_a_constant_descriptor_is_nought(patients):
    values = standardized_descriptors(patients[:9])
    assert (values[:, DESCRIPTORS.index("n_components")] == 0).all()


def test_one_patient_alone_has_no_scale(patients):
    assert np.isnan(standardized_descriptors(patients[:1])).all()
