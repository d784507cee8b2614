"""What the network is given: neighbours as channels, the brain's frame, HU in the brain window."""

import numpy as np
import pytest
import torch

from hepred_lib.imaging.slices import BRAIN, HU, HU_OFFSET
from hepred_lib.multitask.data import N_CHANNELS, brain_frame, cut, network_input, normalize, uncut, with_neighbours

FRAME = (64, 64)


def test_the_window_is_mapped_to_minus_one_to_one():
    torch.testing.assert_close(
        normalize(torch.tensor([-50.0, 0.0, 40.0, 80.0, 300.0])), torch.tensor([-1.0, -1, 0, 1, 1])
    )


def test_outside_the_brain_there_is_nothing(patients):
    seen = network_input(patients[0].planes, np.arange(8), FRAME, torch.device("cpu"))
    assert (seen[:, :, 0, 0] == -1.0).all()
    assert -0.4 < float(seen[0, N_CHANNELS // 2, 32, 32]) < 0.75


def test_a_slice_lies_between_its_neighbours_and_the_ends_stand_in_for_what_they_lack(patients):
    planes = np.zeros((4, 4, 16, 16), dtype=np.uint8)
    planes[:, BRAIN] = 255
    planes[:, HU] = HU_OFFSET + 10 * np.arange(4)[:, None, None]
    seen = with_neighbours(planes, np.array([0, 2, 3]), (16, 16))[:, :, 0, 0].astype(int) - HU_OFFSET
    assert seen.tolist() == [[0, 0, 0, 10, 20], [0, 10, 20, 30, 30], [10, 20, 30, 30, 30]]


@pytest.mark.parametrize(("rows", "expected"), [((20, 44), 32), ((2, 40), 64), ((31, 33), 16)])
def test_the_frame_is_central_and_holds_the_brain(rows, expected):
    planes = np.zeros((3, 4, 64, 64), dtype=np.uint8)
    planes[1, BRAIN, rows[0] : rows[1], 28:36] = 255
    frame = brain_frame(planes)
    assert frame == (expected, 16)
    assert (cut(planes[:, BRAIN], frame) > 0).sum() == (planes[:, BRAIN] > 0).sum()


def test_a_scan_without_brain_keeps_its_whole_field():
    assert brain_frame(np.zeros((2, 4, 32, 48), dtype=np.uint8)) == (32, 48)


def test_what_was_cut_comes_back_to_its_place():
    images = np.zeros((2, 64, 64))
    images[:, 20:40, 30:35] = np.arange(2)[:, None, None] + 1.0
    np.testing.assert_array_equal(uncut(cut(images, (48, 32)), (64, 64)), images)
