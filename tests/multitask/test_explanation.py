"""Maps follow the weights, not the image alone."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from hepred_lib.imaging.preprocessing import BrainSlices, SliceGrid
from hepred_lib.imaging.slices import BRAIN, HU, HU_OFFSET, from_torch
from hepred_lib.multitask.explanation import confident_calls, explain_patient, explain_with, explained_pictures
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings


@pytest.fixture(scope="module")
def explanation(network, patients):
    return explain_patient(network, patients[0])


def test_shares_sum_to_one_and_the_map_lies_between_nought_and_one(explanation, patients):
    assert explanation.share.sum() == pytest.approx(1.0, abs=1e-5)
    assert explanation.activation.shape == (8, 64, 64)
    assert 0 <= explanation.activation.min() <= explanation.activation.max() <= 1
    assert not explanation.activation[explanation.share == 0].any(), "of slices that the score does not use"


def test_other_weights_give_another_map_and_several_are_averaged(network, explanation, patients):
    torch.manual_seed(1)
    second = MultitaskNetwork(NetworkSettings()).eval()
    second.expansion.classify.reset_parameters()
    other, both = explain_patient(second, patients[0]), explain_with([network, second], patients[0])
    assert abs(np.corrcoef(explanation.activation.ravel(), other.activation.ravel())[0, 1]) < 0.9
    np.testing.assert_allclose(both.activation, (explanation.activation + other.activation) / 2, atol=1e-6)
    assert all(parameter.grad is None for parameter in second.parameters())


def reading_of(patient, finer):
    """A patient's scan with pixels `finer` times as small as the canonical ones."""
    hu = from_torch(patient.planes[:, HU]).astype(np.float32) - HU_OFFSET
    scan = np.kron(hu, np.ones((finer, finer, 1)))
    grid = SliceGrid(scan.shape, (3.0 / finer, 3.0 / finer, 5.0), (0.0, 0.0), 192.0, 64, 1)
    slices = BrainSlices(hu, from_torch(patient.planes[:, BRAIN]) > 0, grid, {})
    return SimpleNamespace(patient=patient, scan=SimpleNamespace(hu=scan), slices=slices, outline=scan > 50)


def test_a_picture_shows_the_slice_with_most_of_the_map_at_the_scans_own_pixels(network, explanation, patients):
    shorter = dataclasses.replace(patients[1], planes=patients[1].planes[:6])
    pictures = explained_pictures([network], [reading_of(patients[0], 2), reading_of(shorter, 1)])
    inside = patients[0].planes[:, BRAIN] > 0
    top = int(((explanation.activation * inside).sum(axis=(1, 2)) * (explanation.share >= 0.01)).argmax())
    assert pictures["shown"][0] == top
    seen = np.kron(patients[0].planes[top, HU].astype(int) - HU_OFFSET, np.ones((2, 2)))
    brain = np.kron(inside[top], np.ones((2, 2))) > 0
    np.testing.assert_array_equal(pictures["hu"][0][brain], seen[brain])
    assert pictures["pixel_mm"].tolist() == [1.5, 3.0]
    assert pictures["hu"].shape == pictures["activation"].shape == (2, 128, 128)
    assert (pictures["hu"][1, 64:] == -1000).all(), "a coarser scan is filled up with air"
    assert pictures["share"].shape == (2, 8)
    assert np.isnan(pictures["share"][1, 6:]).all()


def test_the_most_confident_patient_of_each_kind_is_shown():
    image = pd.DataFrame({"patient_id": list("abcde"), "he": [1.0, 1, 0, 0, 0], "p_image": [0.9, 0.6, 0.7, 0.1, 0.4]})
    calls = confident_calls(image, 0.5).set_index("kind")["patient_id"]
    assert calls.to_dict() == {"false positive": "c", "true negative": "d", "true positive": "a"}


def test_without_patients_there_is_nothing_to_explain():
    keys = ("hu", "predicted", "activation", "shown", "n_slices", "pixel_mm", "share")
    assert {name: len(array) for name, array in explained_pictures([], []).items()} == dict.fromkeys(keys, 0)
    assert len(confident_calls(pd.DataFrame({"patient_id": [], "he": [], "p_image": []}), 0.5)) == 0
