"""The network: shapes, the pooling of slices to patients, the evidence for blood, the diagram, the file."""

import math
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
import torch

from hepred_lib.errors import StudyError
from hepred_lib.multitask.data import N_CHANNELS
from hepred_lib.multitask.network import (
    DEEP,
    ENCODERS,
    EVIDENCE,
    FINDINGS,
    READOUTS,
    MultitaskNetwork,
    NetworkSettings,
    load_network,
    save_network,
    slice_evidence,
    start_from,
)
from hepred_lib.pretrained import SHIPPED, pretrained_file
from hepred_lib.study.definition import PROJECT

PIXEL_MM = 200 / 128


def test_the_outline_has_the_resolution_of_the_slices(network):
    output = network(torch.zeros(3, N_CHANNELS, 64, 96))
    assert output.outline.shape == (3, 2, 64, 96)
    assert output.presence.shape == (3,)
    assert [level.shape for level in output.coarse] == [(3, 2, 8, 12), (3, 2, 16, 24)]


def test_a_patients_logit_does_not_depend_on_other_patients_of_the_batch_nor_on_the_order_of_its_slices(network):
    torch.manual_seed(1)
    slices = torch.randn(5, N_CHANNELS, 64, 64)
    output = network(slices)
    outline, bag = torch.rand(5, 2, 64, 64), torch.tensor([0, 0, 1, 1, 1])
    together = network.expansion(output.features, slices, outline, bag, torch.ones(5), 2)
    torch.testing.assert_close(torch.zeros(2).index_add(0, bag, together.share), torch.ones(2))
    assert together.values.shape == (2, len(READOUTS["both"]))
    torch.testing.assert_close(network.expansion.classify(together.values).squeeze(1), together.expansion)
    for order in ([0, 1], [1, 0]):
        features = tuple(level[order] for level in output.features)
        alone = network.expansion(features, slices[order], outline[order], bag[:2], torch.ones(2))
        torch.testing.assert_close(together.expansion[0], alone.expansion[0])
    empty = network.expansion(features, slices[:2], 0 * outline[:2], bag[:2], torch.ones(2))
    assert torch.isfinite(empty.expansion).all()


@pytest.mark.parametrize(
    ("channel", "name", "expected"), [(0, "log_volume", math.log(2) - 2.4), (1, "log_ivh_volume", math.log(2) / 3)]
)
def test_the_log_volumes_of_the_outlines_are_findings(network, channel, name, expected):
    slices, outline = torch.zeros(2, N_CHANNELS, 64, 64), torch.zeros(2, 2, 64, 64)
    outline[0, channel, :10, :10] = 1.0
    bags = network.expansion(network(slices).features, slices, outline, torch.tensor([0, 0]), torch.full((2,), 0.02))
    assert float(bags.values[0, FINDINGS.index(name)].detach()) == pytest.approx(expected, abs=1e-5)


def test_deep_features_are_pooled_over_the_hematoma_alone(network):
    torch.manual_seed(3)
    slices, outline = torch.randn(2, N_CHANNELS, 64, 64), torch.zeros(2, 2, 64, 64)
    outline[:, 0, 16:32, 16:32] = 1.0
    features = network(slices).features
    elsewhere = tuple(level.clone() for level in features)
    for level in elsewhere:
        level[:, :, level.shape[2] // 2 :] += 9.0
    given = slices, outline, torch.zeros(2, dtype=torch.long), torch.ones(2)
    first, second = (network.expansion(each, *given).values for each in (features, elsewhere))
    torch.testing.assert_close(first, second, atol=0.02, rtol=0)


def test_evidence_is_of_the_slice_and_of_those_around_it():
    presence = torch.tensor([0.0, 1.0, 5.0, 2.0, -1.0])
    outline = torch.arange(5.0)[:, None, None, None].expand(-1, 1, 4, 4)
    found = pd.DataFrame(slice_evidence(presence, outline, PIXEL_MM).numpy(), columns=list(EVIDENCE))
    assert found.loc[2].to_dict() == {
        **{"presence_own": 5.0, "outline_own": 2.0},
        **{"presence_brighter_neighbour": 2.0, "outline_brighter_neighbour": 3.0},
        **{"presence_fainter_neighbour": 1.0, "outline_fainter_neighbour": 1.0},
        **{"presence_second_neighbour": 0.0, "outline_second_neighbour": 4.0},
    }
    assert found.loc[4, "presence_brighter_neighbour"] == 2.0
    assert found.loc[4, "presence_fainter_neighbour"] == -1.0, "the last slice stands in for the one it lacks"


def test_the_peak_is_the_mean_of_the_eight_highest_pixels_or_of_as_many_as_there_are():
    outline = torch.zeros(1, 1, 4, 4)
    outline[0, 0, :2] = 3.0
    outline[0, 0, 0, 0] = 11.0
    own = EVIDENCE.index("outline_own")
    assert slice_evidence(torch.zeros(1), outline, PIXEL_MM)[0, own] == 4.0
    assert slice_evidence(torch.zeros(1), outline[:, :, :1, :2], PIXEL_MM)[0, own] == 7.0


@pytest.mark.parametrize("n", [1, 2, 5])
def test_evidence_depends_neither_on_the_size_of_pixels_nor_on_the_direction_of_slices(n):
    presence, outline = torch.randn(n), torch.randn(n, 1, 16, 16)
    finer = torch.nn.functional.interpolate(outline, scale_factor=2.0)
    expected = slice_evidence(presence, outline, PIXEL_MM)
    torch.testing.assert_close(slice_evidence(presence, finer, PIXEL_MM / 2), expected)
    torch.testing.assert_close(slice_evidence(presence.flip(0), outline.flip(0), PIXEL_MM), expected.flip(0))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_network_comes_back_from_its_file(encoder, tmp_path):
    network = MultitaskNetwork(NetworkSettings(encoder=encoder, dropout=0.5))
    save_network(network, tmp_path / "network.safetensors")
    back = load_network(tmp_path / "network.safetensors")
    assert back.settings == network.settings
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in network.state_dict().items())
    assert not back.training


def test_a_network_that_starts_from_another_predicts_the_same_descriptors_on_its_own_scale(tmp_path):
    torch.manual_seed(4)
    other, network = MultitaskNetwork(NetworkSettings()), MultitaskNetwork(NetworkSettings())
    other.expansion.descriptor_mean.fill_(5.0)
    other.expansion.descriptor_sd.fill_(2.0)
    network.expansion.descriptor_sd.fill_(4.0)
    untaught = network.expansion.classify.weight.detach().clone()
    save_network(other, tmp_path / "other.safetensors")
    start_from(network, tmp_path / "other.safetensors")
    deep = torch.randn(3, len(DEEP))
    torch.testing.assert_close(network.expansion.describe(deep) * 4.0, other.expansion.describe(deep) * 2.0 + 5.0)
    assert torch.equal(network.stem[0].weight, other.stem[0].weight)
    assert torch.equal(network.expansion.classify.weight, untaught), "an outcome is learned from one's own patients"


def test_weights_of_another_encoder_and_a_file_that_is_not_there_are_refused(tmp_path):
    save_network(MultitaskNetwork(NetworkSettings(encoder="resnet34")), tmp_path / "other.safetensors")
    with pytest.raises(StudyError, match=r"encoder must be resnet34, that of .* other\.safetensors"):
        start_from(MultitaskNetwork(NetworkSettings()), tmp_path / "other.safetensors")
    with pytest.raises(StudyError, match="pretrained must be phantom, none or the file of a network"):
        pretrained_file("imagenet")
    with pytest.raises(ValueError, match="encoder must be one of"):
        NetworkSettings(encoder="vgg")
    assert pretrained_file("none") is None
    assert pretrained_file("phantom") == SHIPPED


def drawn_texts(attribute: str) -> dict[str, str]:
    """Texts of the drawing that state something of modules, by the modules' names."""
    drawing = ElementTree.parse(PROJECT / "docs" / "network.svg")
    return {found.get(attribute): found.text for found in drawing.iter() if found.get(attribute) is not None}


def count(module: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


def test_the_drawing_counts_every_parameter_once_and_in_the_total(network):
    written = {names: int(text.split()[0].replace(",", "")) for names, text in drawn_texts("data-parameters").items()}
    total = written.pop("")
    assert written == {names: sum(count(network.get_submodule(name)) for name in names.split()) for names in written}
    assert total == sum(written.values()) == count(network)


def test_results_have_the_channels_and_resolution_that_the_drawing_states(network):
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _module, _arguments, result, name=name: shapes.update({name: tuple(result.shape[1:])})
        )
        for name in drawn_texts("data-result")
    ]
    with torch.no_grad():
        network(torch.zeros(1, network.settings.n_channels, 32, 32))
    for hook in hooks:
        hook.remove()
    for name, text in drawn_texts("data-result").items():
        channels, halved = re.match(r"(\d+) × H(?:/(\d+))? ×", text).groups(default="1")
        assert shapes[name] == (int(channels), 32 // int(halved), 32 // int(halved)), name
