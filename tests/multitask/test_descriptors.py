"""Descriptors as targets: on the scale of the training patients, and changed with the image they were measured on."""

import numpy as np
import pytest
import torch

from hepred_lib.multitask.data import DESCRIPTORS, changed_descriptors, descriptor_scale, measured_descriptors
from hepred_lib.multitask.network import ExpansionHead

TABLE = np.arange(4 * len(DESCRIPTORS), dtype=float).reshape(4, -1)


@pytest.fixture
def head() -> ExpansionHead:
    return ExpansionHead(8)


def standardized(head, table):
    for buffer, values in zip((head.descriptor_mean, head.descriptor_sd), descriptor_scale(table), strict=True):
        buffer.copy_(values)
    return head.standardize(torch.tensor(table, dtype=torch.float32))


def test_descriptors_have_mean_0_and_sd_1_over_the_patients_given(head):
    values = standardized(head, TABLE).numpy()
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-6)


def test_unknown_rows_leave_the_scale_as_it_is_and_stay_unknown(head):
    row = np.full((1, len(DESCRIPTORS)), np.nan)
    torch.testing.assert_close(descriptor_scale(np.vstack([TABLE, row])), descriptor_scale(TABLE))
    assert torch.isnan(standardized(head, np.vstack([TABLE, row]))[-1]).all()


def test_what_is_far_away_is_drawn_in(head):
    standardized(head, TABLE)
    assert float(head.standardize(torch.tensor(1e6 + TABLE)).max()) == 3.0


def test_a_constant_descriptor_is_nought_and_no_patient_gives_a_finite_scale(head):
    assert (standardized(head, np.ones_like(TABLE)) == 0).all()
    assert all(torch.isfinite(numbers).all() for numbers in descriptor_scale(np.empty((0, len(DESCRIPTORS)))))


def test_descriptors_are_measured_inside_the_outline_and_unknown_without_one():
    hu, outline = np.full((20, 20, 5), 30.0), np.zeros((20, 20, 5), bool)
    hu[5:15, 5:15], outline[5:15, 5:15] = 60.0, True
    values = measured_descriptors(hu, outline, (1.0, 1.0, 5.0))
    assert values[DESCRIPTORS.index("mean_hu")] == pytest.approx(60.0, abs=0.1)
    assert np.isnan(measured_descriptors(hu, np.zeros_like(outline), (1.0, 1.0, 5.0))).all()


@pytest.mark.parametrize(
    ("name", "expected"), [("mean_hu", 60 * 1.1 + 3), ("sd_hu", 66), ("margin_roughness_mm", 30), ("concavity", 60)]
)
def test_descriptors_follow_gain_offset_and_zoom(name, expected):
    values = torch.full((1, len(DESCRIPTORS)), 60.0)
    change = {"gain": torch.tensor([1.1]), "offset_hu": torch.tensor([3.0]), "zoom": torch.tensor([0.5])}
    assert float(changed_descriptors(values, **change)[0, DESCRIPTORS.index(name)]) == pytest.approx(expected, rel=1e-6)
