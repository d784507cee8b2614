"""Descriptors as targets: on the scale of the training patients, and changed with the image they were measured on."""

import numpy as np
import pytest
import torch

from hepred_lib.multitask.descriptors import DESCRIPTORS, changed_descriptors, descriptor_scale

TABLE = np.arange(4 * len(DESCRIPTORS), dtype=float).reshape(4, -1)


def test_descriptors_have_mean_0_and_sd_1_over_the_patients_given():
    values = descriptor_scale(TABLE).standardize(torch.tensor(TABLE, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-6)


def test_unknown_rows_leave_the_scale_as_it_is_and_stay_unknown():
    row = np.full((1, len(DESCRIPTORS)), np.nan)
    scale, same = descriptor_scale(np.vstack([TABLE, row])), descriptor_scale(TABLE)
    torch.testing.assert_close(scale, same)
    assert torch.isnan(scale.standardize(torch.tensor(row))).all()


def test_what_is_far_away_is_drawn_in():
    assert float(descriptor_scale(TABLE).standardize(torch.tensor(1e6 + TABLE)).max()) == 3.0


def test_a_constant_descriptor_is_nought_and_no_patient_gives_a_finite_scale():
    assert (descriptor_scale(np.ones_like(TABLE)).standardize(torch.ones(1, len(DESCRIPTORS))) == 0).all()
    assert torch.isfinite(torch.stack(list(descriptor_scale(np.empty((0, len(DESCRIPTORS))))))).all()


@pytest.mark.parametrize(
    ("name", "expected"), [("mean_hu", 60 * 1.1 + 3), ("sd_hu", 66), ("margin_roughness_mm", 30), ("concavity", 60)]
)
def test_descriptors_follow_gain_offset_and_zoom(name, expected):
    values = torch.full((1, len(DESCRIPTORS)), 60.0)
    change = {"gain": torch.tensor([1.1]), "offset_hu": torch.tensor([3.0]), "zoom": torch.tensor([0.5])}
    assert float(changed_descriptors(values, **change)[0, DESCRIPTORS.index(name)]) == pytest.approx(expected, rel=1e-6)
