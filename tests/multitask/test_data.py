"""Bags of slices: which are drawn, what the network is given of them, and what augmentation does."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from hepred_lib.imaging.slices import BLOOD, BRAIN, HU, HU_OFFSET
from hepred_lib.multitask import data
from hepred_lib.multitask.data import DESCRIPTORS, N_CHANNELS, NEIGHBOURS, Stack, augment, make_batch
from hepred_lib.multitask.network import ExpansionHead
from tests.multitask.pretended import needs_backends, pretended_device

CPU = torch.device("cpu")


def two_slices(patients, number=0):
    return make_batch(Stack(patients, CPU), [number], slices=[np.array([3, 4])], seed=(1, 2))


def test_an_epoch_shows_every_patient_once_in_steps_of_nearly_equal_size_and_differs_by_seed():
    steps = data.epoch_steps(10, 4, (7, 0, 0))
    assert sorted(map(len, steps)) == [3, 3, 4]
    first, again, other = (np.concatenate(data.epoch_steps(10, 4, (7, 0, epoch))) for epoch in (0, 0, 1))
    assert sorted(first) == list(range(10))
    assert (first == again).all()
    assert (first != other).any()


def test_two_devices_in_two_parts_each_see_every_patient_of_a_step_once(patients):
    stack, numbers = Stack(patients, CPU), np.arange(9)
    shown = [
        name
        for rank in (0, 1)
        for batch in data.step_batches(stack, numbers, slices_per_patient=3, seed=(7,), parts=(rank, 2, 2))
        for name in batch.patient_ids
    ]
    assert sorted(shown) == [patients[k].patient_id for k in numbers]


def test_a_patient_draws_the_same_slices_in_any_company(patients):
    stack, options = Stack(patients, CPU), {"slices_per_patient": 3, "seed": (7, 0, 0)}
    alone, together = data.draw_batch(stack, [4], **options), data.draw_batch(stack, [2, 4], **options)
    torch.testing.assert_close(together.hu[together.bag == 1], alone.hu, rtol=0, atol=0)


def test_most_drawn_slices_hold_blood_and_some_do_not(patients):
    drawn = data.draw_slices(patients[0], 4, np.random.default_rng(0))
    labels = patients[0].labels[drawn]
    assert (labels == 1.0).sum() == 3
    assert len(set(drawn)) == 4
    assert len(data.draw_slices(patients[9], 4, np.random.default_rng(0))) == 4, "without blood too"
    assert np.isnan(dataclasses.replace(patients[0], has_mask=False).labels).all()


def test_a_batch_has_the_smallest_frame_that_holds_every_brain(patients):
    small = dataclasses.replace(patients[1], planes=patients[1].planes.copy())
    small.planes[:, BRAIN, :24] = small.planes[:, BRAIN, -24:] = 0
    batches = [
        make_batch(Stack([patients[0], small], CPU), numbers, slices=[np.array([3])] * len(numbers))
        for numbers in ([1], [0, 1])
    ]
    assert [batch.hu.shape[-2:] for batch in batches] == [(16, 64), (64, 64)]
    assert [batch.blood.shape[-2:] for batch in batches] == [(16, 64), (64, 64)]


def test_a_store_stays_on_disk(patients, tmp_path, monkeypatch):
    np.save(tmp_path / "P00.npy", patients[0].planes)
    quality = pd.DataFrame({"has_mask": [1], "has_ivh_mask": [0], **dict.fromkeys(DESCRIPTORS, 1.5)}, index=["P00"])
    cohort = pd.DataFrame({"patient_id": ["P00"], "he": [1.0]})
    grid = dataclasses.make_dataclass("G", ["pixel_mm", "voxel_ml"])(3.0, 0.045)
    monkeypatch.setattr(data, "stored_grid", lambda *_: grid)
    (loaded,) = data.load_patients(tmp_path, cohort, quality)
    assert isinstance(loaded.planes, np.memmap)
    assert (loaded.planes == patients[0].planes).all()


@needs_backends
def test_slices_that_lie_on_a_device_are_those_of_the_host_in_the_frame_of_all(patients, monkeypatch):
    small = dataclasses.replace(patients[1], planes=patients[1].planes[:5].copy())
    small.planes[:, BRAIN, :24] = small.planes[:, BRAIN, -24:] = 0
    both, slices = [patients[0], small], [np.array([0, 3]), np.array([2, 4])]
    seen = [data.with_neighbours(patient.planes, index, (64, 64)) for patient, index in zip(both, slices, strict=True)]
    blood = [patient.planes[index, BLOOD : BLOOD + 2] for patient, index in zip(both, slices, strict=True)]
    with pretended_device() as (device, waits):
        for room in (0, 1e9):
            monkeypatch.setattr(data, "free_bytes", lambda _, room=room: room)
            stack = Stack(both, device)
            waits.clear()
            taken = stack.take([0, 1], slices)
            assert not waits.total()
            assert (stack._planes is None) == (room == 0)
            assert (taken[0].cpu().numpy() == np.concatenate(seen)).all()
            assert (taken[1].cpu().numpy() == np.concatenate(blood)).all()


def test_an_identity_moves_nothing_and_a_flip_mirrors_columns():
    images = torch.rand(2, 1, 16, 16)
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    flip = torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    torch.testing.assert_close(data.move(images, identity), images)
    torch.testing.assert_close(data.move(images, flip), images.flip(3))


def test_a_turn_stays_a_turn_where_images_are_not_square():
    images = torch.zeros(1, 1, 32, 16)
    images[..., 15:17, 2:14] = 1.0
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0]])[None]
    turned = data.move(images, quarter)[0, 0]
    expected = torch.zeros(32, 16)
    expected[10:22, 7:9] = 1.0
    torch.testing.assert_close(turned, expected, atol=1e-4, rtol=0)


def test_a_scanner_without_changes_changes_nothing_and_an_offset_spares_the_outside():
    hu = torch.zeros(1, 1, 8, 8)
    hu[..., 2:6, 2:6] = 30.0
    none, offset = torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[1.0, 5.0, 0, 0]])
    torch.testing.assert_close(data.change_hu(hu, none, torch.randn_like(hu), 200 / 128), hu)
    torch.testing.assert_close(data.change_hu(hu, offset, torch.randn_like(hu), 200 / 128), hu + 5.0 * (hu > 0))


def test_augmentation_moves_scan_and_outline_together_repeats_by_seed_and_leaves_the_global_generator_alone(patients):
    batch, state = two_slices(patients), torch.get_rng_state()
    moved, again = augment(batch), augment(batch)
    hu = moved.hu[:, 1:2]
    inside, outside = moved.blood[:, :1] > 0.9, (moved.blood[:, :1] < 0.1) & (hu > 5)
    assert float(hu[inside].mean()) > float(hu[outside].mean()) + 15
    assert not torch.equal(moved.blood, batch.blood)
    torch.testing.assert_close(moved.hu, again.hu, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_patient_is_moved_the_same_way_in_any_company(patients):
    slices = [np.array([3, 4]), np.array([3, 4])]
    together = augment(make_batch(Stack(patients, CPU), [2, 5], slices=slices, seed=(1, 2)))
    torch.testing.assert_close(together.blood[together.bag == 1], augment(two_slices(patients, 5)).blood)


def test_the_windows_are_mapped_to_minus_one_to_one():
    hu = torch.tensor([-50.0, 0.0, 40.0, 80.0, 140.0, 300.0])[:, None].expand(-1, 5)[:, :, None, None]
    seen = data.normalize(hu)[:, :, 0, 0]
    assert seen.shape == (6, N_CHANNELS)
    torch.testing.assert_close(seen[:, NEIGHBOURS], torch.tensor([-1.0, -1, 0, 1, 1, 1]))
    torch.testing.assert_close(seen[:, -1], torch.tensor([-1.0, -1, -1, -1, 0, 1]))


def test_only_blood_above_the_density_of_brain_fades():
    hu = torch.tensor([20.0, 60.0, 60.0]).view(1, 1, 1, 3).expand(1, 5, 8, 3)
    blood = torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 1, 3).expand(1, 1, 8, 3)
    faded = data.fade(hu, blood, torch.ones(1, 1, 4, 4), torch.tensor(0.5))
    torch.testing.assert_close(faded[0, 0, 0], torch.tensor([20.0, 49.0, 60.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(data.fade(hu, blood, torch.zeros(1, 1, 4, 4), torch.tensor(0.5)), hu, atol=0.01, rtol=0)


def test_slices_are_mixed_with_those_above_and_below():
    hu = torch.tensor([0.0, 0.0, 40.0, 0.0, 0.0]).view(1, 5, 1, 1)
    assert data.mix_slices(hu, torch.tensor(0.25)).flatten().tolist() == [0.0, 10.0, 20.0, 10.0, 0.0]


def test_outside_the_brain_there_is_nothing(patients):
    seen = data.network_input(patients[0].planes, np.arange(8), (64, 64), CPU)
    assert (seen[:, :, 0, 0] == -1.0).all()
    assert -0.4 < float(seen[0, NEIGHBOURS, 32, 32]) < 0.75


def test_a_slice_lies_between_its_neighbours_and_the_ends_stand_in_for_what_they_lack(patients):
    planes = np.zeros((4, 4, 16, 16), dtype=np.uint8)
    planes[:, BRAIN] = 255
    planes[:, HU] = HU_OFFSET + 10 * np.arange(4)[:, None, None]
    seen = data.with_neighbours(planes, np.array([0, 2, 3]), (16, 16))[:, :, 0, 0].astype(int) - HU_OFFSET
    assert seen.tolist() == [[0, 0, 0, 10, 20], [0, 10, 20, 30, 30], [10, 20, 30, 30, 30]]


@pytest.mark.parametrize(("rows", "expected"), [((20, 44), 32), ((2, 40), 64), ((31, 33), 16)])
def test_the_frame_is_central_and_holds_the_brain(rows, expected):
    planes = np.zeros((3, 4, 64, 64), dtype=np.uint8)
    planes[1, BRAIN, rows[0] : rows[1], 28:36] = 255
    frame = data.brain_frame(planes)
    assert frame == (expected, 16)
    assert (data.cut(planes[:, BRAIN], frame) > 0).sum() == (planes[:, BRAIN] > 0).sum()
    assert data.brain_frame(0 * planes[:, :, :32, :48]) == (32, 48), "without a brain the whole field"


def test_what_was_cut_comes_back_to_its_place():
    images = np.zeros((2, 64, 64))
    images[:, 20:40, 30:35] = np.arange(2)[:, None, None] + 1.0
    np.testing.assert_array_equal(data.uncut(data.cut(images, (48, 32)), (64, 64)), images)


TABLE = np.arange(4 * len(DESCRIPTORS), dtype=float).reshape(4, -1)
UNKNOWN = np.full((1, len(DESCRIPTORS)), np.nan)


def standardized(table, by):
    head = ExpansionHead(8)
    for buffer, values in zip((head.descriptor_mean, head.descriptor_sd), data.descriptor_scale(by), strict=True):
        buffer.copy_(values)
    return head.standardize(torch.tensor(table, dtype=torch.float32))


def test_descriptors_have_mean_0_and_sd_1_over_the_known_patients_given_and_are_clipped():
    values = standardized(np.vstack([TABLE, UNKNOWN]), by=np.vstack([TABLE, UNKNOWN])).numpy()
    np.testing.assert_allclose(values[:-1].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(values[:-1].std(axis=0), 1, atol=1e-6)
    assert np.isnan(values[-1]).all()
    assert float(standardized(1e6 + TABLE, by=TABLE).max()) == 3.0, "what is far away is clipped"


def test_a_constant_descriptor_is_nought_and_no_patient_gives_a_finite_scale():
    assert (standardized(np.ones_like(TABLE), by=np.ones_like(TABLE)) == 0).all()
    assert all(torch.isfinite(numbers).all() for numbers in data.descriptor_scale(UNKNOWN[:0]))


def test_descriptors_are_measured_inside_the_outline_and_unknown_without_one():
    hu, outline = np.full((20, 20, 5), 30.0), np.zeros((20, 20, 5), bool)
    hu[5:15, 5:15], outline[5:15, 5:15] = 60.0, True
    values = data.measured_descriptors(hu, outline, (1.0, 1.0, 5.0))
    assert values[DESCRIPTORS.index("mean_hu")] == pytest.approx(60.0, abs=0.1)
    assert np.isnan(data.measured_descriptors(hu, np.zeros_like(outline), (1.0, 1.0, 5.0))).all()


@pytest.mark.parametrize(
    ("name", "expected"), [("mean_hu", 60 * 1.1 + 3), ("sd_hu", 66), ("margin_roughness_mm", 30), ("concavity", 60)]
)
def test_descriptors_follow_gain_offset_and_zoom(name, expected):
    values = torch.full((1, len(DESCRIPTORS)), 60.0)
    change = {"gain": torch.tensor([1.1]), "offset_hu": torch.tensor([3.0]), "zoom": torch.tensor([0.5])}
    changed = data.changed_descriptors(values, **change)
    assert float(changed[0, DESCRIPTORS.index(name)]) == pytest.approx(expected, rel=1e-6)
