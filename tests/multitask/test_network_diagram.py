"""The drawing of the network in docs/ agrees with the network."""

import re
from xml.etree import ElementTree

import pytest
import torch

from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings
from hepred_lib.study.definition import PROJECT

SIDE = 32


@pytest.fixture(scope="module")
def network() -> MultitaskNetwork:
    return MultitaskNetwork(NetworkSettings()).eval()


def texts(attribute: str) -> dict[str, str]:
    """Texts of the drawing that say something of modules, by the modules' names."""
    drawing = ElementTree.parse(PROJECT / "docs" / "network.svg")
    return {found.get(attribute): found.text for found in drawing.iter() if found.get(attribute) is not None}


def count(module: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


def test_every_parameter_is_counted_once_and_in_the_total(network):
    written = {names: int(text.split()[0].replace(",", "")) for names, text in texts("data-parameters").items()}
    total = written.pop("")
    assert written == {names: sum(count(network.get_submodule(name)) for name in names.split()) for names in written}
    assert total == sum(written.values()) == count(network)


def test_results_have_the_channels_and_resolution_that_the_drawing_states(network):
    shapes: dict[str, tuple[int, ...]] = {}
    for name in texts("data-result"):
        network.get_submodule(name).register_forward_hook(
            lambda _module, _arguments, result, name=name: shapes.update({name: tuple(result.shape[1:])})
        )
    with torch.no_grad():
        network(torch.zeros(1, network.settings.n_channels, SIDE, SIDE))
    for name, text in texts("data-result").items():
        channels, halved = re.match(r"(\d+) × H(?:/(\d+))? ×", text).groups(default="1")
        assert shapes[name] == (int(channels), SIDE // int(halved), SIDE // int(halved)), name
