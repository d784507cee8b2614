"""The diagram's table is the network's own."""

import pytest
import torch

from hepred_lib.multitask.network import COLUMNS, ENCODERS, MultitaskNetwork, NetworkSettings, block_table


@pytest.fixture(scope="module")
def network() -> MultitaskNetwork:
    return MultitaskNetwork(NetworkSettings())


@pytest.fixture(scope="module")
def table(network):
    return block_table(network, 64).set_index("block")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_blocks_hold_every_parameter_of_the_network_once(encoder):
    network = MultitaskNetwork(NetworkSettings(encoder=encoder))
    table = block_table(network, 32)
    assert list(table) == COLUMNS
    assert table["parameters"].sum() == sum(weights.numel() for weights in network.parameters())


def test_each_stage_works_on_the_one_before_at_half_its_resolution(table):
    assert table.loc["stages.2", "inputs"] == "stages.1"
    assert table.loc["stages.2", "height"] * 2 == table.loc["stages.1", "height"]


def test_a_decoder_block_works_on_the_level_below_and_on_the_encoders_level_of_its_own_resolution(table):
    below, skip = table.loc["decoder.1", "inputs"].split(";")[::-1]
    assert below == "decoder.0"
    assert table.loc[skip, "part"] == "encoder"
    assert table.loc[skip, "height"] == table.loc["decoder.1", "height"]


def test_the_outline_has_the_slices_resolution_and_heads_give_vectors(table):
    assert table.loc["outline", "height"] == table.loc["slices", "height"] == 64
    assert table.loc[table["part"] == "expansion", "height"].isna().all()


def test_connections_through_calculations_are_found(table):
    assert table.loc["presence", "inputs"] == "stages.2;decoder.2", (
        "the presence head works on the last stage and on the maxima of the finest decoder level"
    )
    assert "outline" in table.loc["expansion.project", "inputs"], "features are averaged under the outline"


def test_another_matrix_changes_resolutions_alone(network, table):
    double = block_table(network, 128).set_index("block")
    assert (double["height"].dropna() == 2 * table["height"].dropna()).all()
    assert (double["channels"] == table["channels"]).all()


def test_the_network_is_left_as_it_was(network):
    network.train()
    network.presence.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    block_table(network, 32)
    assert network.training
    assert network.stem.training
    assert not network.presence.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weights.grad is None for weights in network.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
