"""Which slices are drawn, and that a pass sees every patient once."""

import dataclasses

import numpy as np
import torch

from hepred_lib.multitask.augmentation import augment
from hepred_lib.multitask.bags import draw_slices, epoch_batches, make_batch, normalize, scan_tensor


def test_the_window_is_mapped_to_minus_one_to_one():
    torch.testing.assert_close(
        normalize(torch.tensor([-50.0, 0.0, 40.0, 80.0, 300.0])), torch.tensor([-1.0, -1, 0, 1, 1])
    )


def test_outside_the_brain_there_is_nothing(patients):
    scan = scan_tensor(patients[0].planes)
    assert (scan[:, 0, 0, 0] == 0.0).all()
    assert 25 < float(scan[0, 0, 32, 32]) < 70


def test_an_epoch_shows_every_patient_once(patients):
    batches = list(epoch_batches(patients, patients_per_step=4, slices_per_patient=4, seed=(7, 0, 0)))
    shown = [name for batch in batches for name in batch.patient_ids]
    assert sorted(shown) == sorted(patient.patient_id for patient in patients)


def test_epochs_differ_and_repeat_by_seed(patients):
    def first(seed):
        return next(epoch_batches(patients, patients_per_step=4, slices_per_patient=4, seed=seed))

    assert first((7, 0, 0)).patient_ids != first((7, 0, 1)).patient_ids
    torch.testing.assert_close(first((7, 0, 0)).hu, first((7, 0, 0)).hu, rtol=0, atol=0)


def test_most_drawn_slices_hold_blood_and_some_do_not(patients):
    drawn = draw_slices(patients[0], 4, np.random.default_rng(0))
    labels = patients[0].labels[drawn]
    assert (labels == 1.0).sum() == 3
    assert len(set(drawn)) == 4


def test_a_patient_without_blood_gives_slices_too(patients):
    assert len(draw_slices(patients[9], 4, np.random.default_rng(0))) == 4


def test_a_patient_without_a_mask_has_no_known_presence(patients):
    unknown = dataclasses.replace(patients[0], has_mask=False)
    assert np.isnan(unknown.labels).all()


def test_augmentation_moves_scan_and_outline_together(patients):
    batch = make_batch([patients[0]], [np.array([3, 4])])
    moved = augment(batch, seed=(1, 2, 3))
    inside, outside = moved.blood > 0.9, (moved.blood < 0.1) & (moved.hu > 5)
    assert float(moved.hu[inside].mean()) > float(moved.hu[outside].mean()) + 15
    assert not torch.equal(moved.blood, batch.blood)


def test_augmentation_repeats_by_seed_and_leaves_the_global_generator_alone(patients):
    batch = make_batch([patients[0]], [np.array([3, 4])])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = augment(batch, seed=(1, 2)), augment(batch, seed=(1, 2))
    torch.testing.assert_close(first.hu, second.hu, rtol=0, atol=0)
    assert torch.equal(torch.rand(1), expected)
