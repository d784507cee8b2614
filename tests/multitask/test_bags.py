"""Which slices are drawn, that a pass sees every patient once, and what augmentation does to them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from hepred_lib.imaging.slices import BRAIN
from hepred_lib.multitask.data import (
    DESCRIPTORS,
    augment,
    change_hu,
    draw_batch,
    draw_slices,
    epoch_steps,
    load_patients,
    make_batch,
    move,
    step_batches,
    step_parts,
)

CPU = torch.device("cpu")


def two_slices(patients, number=0):
    return make_batch(patients, [number], slices=[np.array([3, 4])], device=CPU)


def test_an_epoch_shows_every_patient_once_in_steps_of_nearly_equal_size():
    steps = epoch_steps(10, 4, (7, 0, 0))
    assert sorted(np.concatenate(steps)) == list(range(10))
    assert sorted(map(len, steps)) == [3, 3, 4]


def test_epochs_differ_and_repeat_by_seed():
    first, again, other = (np.concatenate(epoch_steps(10, 4, seed)) for seed in ((7, 0, 0), (7, 0, 0), (7, 0, 1)))
    assert (first == again).all()
    assert (first != other).any()


def test_two_devices_in_two_parts_each_see_every_patient_of_a_step_once(patients):
    numbers = np.arange(9)
    shown = [
        name
        for rank in (0, 1)
        for batch in step_batches(patients, numbers, slices_per_patient=3, seed=(7,), device=CPU, parts=(rank, 2, 2))
        for name in batch.patient_ids
    ]
    assert sorted(shown) == [patients[k].patient_id for k in numbers]


def test_a_step_with_fewer_patients_than_parts_is_refused():
    with pytest.raises(ValueError, match="a step of 3"):
        step_parts(np.arange(3), 4)


def test_a_patient_draws_the_same_slices_in_any_company(patients):
    options = {"slices_per_patient": 3, "seed": (7, 0, 0), "device": CPU}
    alone, together = draw_batch(patients, [4], **options), draw_batch(patients, [2, 4], **options)
    torch.testing.assert_close(together.hu[together.bag == 1], alone.hu, rtol=0, atol=0)


def test_most_drawn_slices_hold_blood_and_some_do_not(patients):
    drawn = draw_slices(patients[0], 4, np.random.default_rng(0))
    labels = patients[0].labels[drawn]
    assert (labels == 1.0).sum() == 3
    assert len(set(drawn)) == 4


def test_a_batch_has_the_smallest_frame_that_holds_every_brain(patients):
    small = dataclasses.replace(patients[1], planes=patients[1].planes.copy())
    small.planes[:, BRAIN, :24] = small.planes[:, BRAIN, -24:] = 0
    batches = [
        make_batch([patients[0], small], numbers, slices=[np.array([3])] * len(numbers), device=CPU)
        for numbers in ([1], [0, 1])
    ]
    assert [batch.hu.shape[-2:] for batch in batches] == [(16, 64), (64, 64)]
    assert [batch.blood.shape[-2:] for batch in batches] == [(16, 64), (64, 64)]


def test_a_patient_without_blood_gives_slices_too(patients):
    assert len(draw_slices(patients[9], 4, np.random.default_rng(0))) == 4


def test_a_patient_without_a_mask_has_no_known_presence(patients):
    unknown = dataclasses.replace(patients[0], has_mask=False)
    assert np.isnan(unknown.labels).all()


def test_a_store_that_fills_the_memory_stays_on_disk(patients, tmp_path, monkeypatch):
    np.save(tmp_path / "P00.npy", patients[0].planes)
    quality = pd.DataFrame({"has_mask": [1], **dict.fromkeys(DESCRIPTORS, 1.5)}, index=["P00"])
    cohort = pd.DataFrame({"patient_id": ["P00"], "he": [1.0]})
    import hepred_lib.multitask.data as module

    monkeypatch.setattr(
        module, "stored_grid", lambda *_: dataclasses.make_dataclass("G", ["pixel_mm", "voxel_ml"])(3.0, 0.045)
    )
    assert not isinstance(load_patients(tmp_path, cohort, quality)[0].planes, np.memmap)
    monkeypatch.setattr(module, "MEMORY_SHARE", 0.0)
    assert isinstance(load_patients(tmp_path, cohort, quality)[0].planes, np.memmap)


def test_an_identity_moves_nothing_and_a_flip_mirrors_columns():
    images = torch.rand(2, 1, 16, 16)
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    flip = torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    torch.testing.assert_close(move(images, identity), images)
    torch.testing.assert_close(move(images, flip), images.flip(3))


def test_a_turn_stays_a_turn_where_images_are_not_square():
    images = torch.zeros(1, 1, 32, 16)
    images[..., 15:17, 2:14] = 1.0
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0]])[None]
    turned = move(images, quarter)[0, 0]
    expected = torch.zeros(32, 16)
    expected[10:22, 7:9] = 1.0
    torch.testing.assert_close(turned, expected, atol=1e-4, rtol=0)


def test_a_scanner_without_changes_changes_nothing_and_an_offset_spares_the_outside():
    hu = torch.zeros(1, 1, 8, 8)
    hu[..., 2:6, 2:6] = 30.0
    none, offset = torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[1.0, 5.0, 0, 0]])
    torch.testing.assert_close(change_hu(hu, none, torch.randn_like(hu)), hu)
    torch.testing.assert_close(change_hu(hu, offset, torch.randn_like(hu)), hu + 5.0 * (hu > 0))


def test_augmentation_moves_scan_and_outline_together(patients):
    batch = two_slices(patients)
    moved = augment(batch, seed=(1, 2, 3))
    hu = moved.hu[:, 1:2]
    inside, outside = moved.blood > 0.9, (moved.blood < 0.1) & (hu > 5)
    assert float(hu[inside].mean()) > float(hu[outside].mean()) + 15
    assert not torch.equal(moved.blood, batch.blood)


def test_augmentation_repeats_by_seed_and_leaves_the_global_generator_alone(patients):
    batch = two_slices(patients)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = augment(batch, seed=(1, 2)), augment(batch, seed=(1, 2))
    torch.testing.assert_close(first.hu, second.hu, rtol=0, atol=0)
    assert torch.equal(torch.rand(1), expected)


def test_a_patient_is_moved_the_same_way_in_any_company(patients):
    slices = [np.array([3, 4]), np.array([3, 4])]
    together = augment(make_batch(patients, [2, 5], slices=slices, device=CPU), seed=(1, 2))
    alone = augment(two_slices(patients, 5), seed=(1, 2))
    torch.testing.assert_close(together.blood[together.bag == 1], alone.blood)
