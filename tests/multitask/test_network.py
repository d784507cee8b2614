"""Shapes, and the pooling of slices to patients."""

import math

import pytest
import torch

from hepred_lib.multitask.data import N_CHANNELS
from hepred_lib.multitask.network import FINDINGS, ExpansionHead, MultitaskNetwork, NetworkSettings


@pytest.fixture(scope="module")
def network() -> MultitaskNetwork:
    torch.manual_seed(0)
    return MultitaskNetwork(NetworkSettings()).eval()


def test_the_outline_has_the_resolution_of_the_slices(network):
    output = network(torch.zeros(3, N_CHANNELS, 64, 96))
    assert output.outline.shape == (3, 1, 64, 96)
    assert output.presence.shape == (3,)
    assert [level.shape for level in output.coarse] == [(3, 1, 8, 12), (3, 1, 16, 24)]


def test_attention_sums_to_one_within_each_patient(network):
    output = network(torch.randn(5, N_CHANNELS, 64, 64))
    bag = torch.tensor([0, 0, 1, 1, 1])
    slices = torch.zeros(5, N_CHANNELS, 64, 64)
    bags = network.expand(output.features, slices, torch.rand(5, 1, 64, 64), bag, torch.ones(5))
    sums = torch.zeros(2).index_add(0, bag, bags.attention)
    torch.testing.assert_close(sums, torch.ones(2))


def test_a_patients_logit_does_not_depend_on_the_other_patients_of_the_batch(network):
    torch.manual_seed(1)
    slices = torch.randn(5, N_CHANNELS, 64, 64)
    output = network(slices)
    outline, bag = torch.rand(5, 1, 64, 64), torch.tensor([0, 0, 1, 1, 1])
    together = network.expand(output.features, slices, outline, bag, torch.ones(5)).expansion[0]
    features = tuple(level[:2] for level in output.features)
    alone = network.expand(features, slices[:2], outline[:2], bag[:2], torch.ones(2)).expansion[0]
    torch.testing.assert_close(together, alone)


def test_the_order_of_slices_within_a_patient_does_not_matter(network):
    torch.manual_seed(2)
    slices, outline = torch.randn(4, N_CHANNELS, 64, 64), torch.rand(4, 1, 64, 64)
    bag, voxel = torch.zeros(4, dtype=torch.long), torch.ones(4)
    order = torch.tensor([2, 0, 3, 1])
    first = network.expand(network(slices).features, slices, outline, bag, voxel).expansion
    second = network.expand(network(slices[order]).features, slices[order], outline[order], bag, voxel).expansion
    torch.testing.assert_close(first, second)


def test_an_empty_outline_gives_a_finite_logit():
    head = ExpansionHead(6).eval()
    features = (torch.randn(2, 4, 8, 8), torch.randn(2, 2, 16, 16))
    empty = torch.zeros(2, 1, 32, 32)
    bags = head(features, empty, empty, torch.zeros(2, dtype=torch.long), torch.ones(2))
    assert torch.isfinite(bags.expansion).all()


def test_the_logit_is_read_from_the_findings_alone(network):
    slices = torch.randn(3, N_CHANNELS, 64, 64)
    bag = torch.tensor([0, 0, 1])
    bags = network.expand(network(slices).features, slices, torch.rand(3, 1, 64, 64), bag, torch.ones(3))
    assert bags.findings.shape == (2, len(FINDINGS))
    torch.testing.assert_close(network.expansion.classify(bags.findings).squeeze(1), bags.expansion)


def test_the_log_volume_of_the_outline_is_a_finding(network):
    slices, outline = torch.zeros(2, N_CHANNELS, 64, 64), torch.zeros(2, 1, 64, 64)
    outline[0, 0, :10, :10] = 1.0
    bags = network.expand(network(slices).features, slices, outline, torch.tensor([0, 0]), torch.full((2,), 0.02))
    assert float(bags.findings[0, FINDINGS.index("log_volume")].detach()) == pytest.approx(
        math.log(100 * 0.02) - 2.4, abs=1e-5
    )


def test_an_unknown_encoder_is_refused():
    with pytest.raises(ValueError, match="encoder must be one of"):
        NetworkSettings(encoder="vgg")
