"""The last layer's second fit: it finds what the findings hold, and is the network's own afterwards."""

import numpy as np
import pandas as pd
import pytest
import torch

from hepred_lib.multitask.network import FINDINGS, MultitaskNetwork, NetworkSettings
from hepred_lib.multitask.prediction import fit_readout, read_out


@pytest.fixture
def network() -> MultitaskNetwork:
    torch.manual_seed(0)
    return MultitaskNetwork(NetworkSettings()).eval()


@pytest.fixture(scope="module")
def findings() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(300, len(FINDINGS))), columns=list(FINDINGS))


def test_the_heaviest_weight_belongs_to_what_decides(network, findings):
    he = (findings["log_volume"] + 0.3 * findings["measured_mean_hu"] > 0.5).astype(int)
    assert fit_readout(network, findings, he, seed=1)
    weight = network.expansion.classify.weight.detach().numpy()[0]
    assert FINDINGS[int(np.abs(weight).argmax())] == "log_volume"
    logits = read_out(network, findings)
    assert np.mean((logits > 0) == (he == 1)) > 0.9


def test_logits_are_those_of_the_networks_own_layer(network, findings):
    layer = network.expansion.classify
    by_hand = findings.to_numpy(np.float32) @ layer.weight.detach().numpy()[0] + layer.bias.detach().numpy()[0]
    np.testing.assert_allclose(read_out(network, findings), by_hand, rtol=1e-5, atol=1e-6)


def test_noise_gets_almost_no_weight(network, findings):
    he = pd.Series(np.random.default_rng(1).integers(0, 2, len(findings)))
    fit_readout(network, findings, he, seed=1)
    assert read_out(network, findings).std() < 0.3


def test_too_few_events_change_nothing(network, findings):
    before = network.expansion.classify.weight.detach().clone()
    he = pd.Series(np.r_[np.ones(4), np.zeros(296)])
    assert not fit_readout(network, findings, he, seed=1)
    assert torch.equal(before, network.expansion.classify.weight)
