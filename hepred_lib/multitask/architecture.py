"""What the network is made of, block by block, read from the network itself: for the diagram of a publication.

Shapes come from one pass of an empty slice, connections from the graph that automatic differentiation keeps of that
pass. Nothing is written down twice: another encoder, another matrix or another head describes itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd
import torch
from torch import Tensor, nn

from hepred_lib.multitask.network import MultitaskNetwork

COLUMNS = ["part", "block", "operation", "channels", "height", "width", "parameters", "inputs"]
PARTS = {"stem": "encoder", "pool": "encoder", "stages": "encoder"}
INPUT = "slices"
LAYERS = {
    "BasicBlock": "residual block",
    "Bottleneck": "bottleneck block",
    "BatchNorm2d": "batch norm",
    "LayerNorm": "layer norm",
    "PixelShuffle": "pixel shuffle",
    "Dropout": "dropout",
}


def block_table(network: MultitaskNetwork, matrix: int) -> pd.DataFrame:
    """Table of the network's blocks in the order in which they work.

    Parameters
    ----------
    network : MultitaskNetwork
        Left as it is: weights, gradients, and mode of training or evaluation.
    matrix : int
        Pixels along a side of a slice, a multiple of 16.

    Returns
    -------
    DataFrame
        One row a block: `part` (`input`, `encoder`, `decoder`, or a head's name), `block`, `operation` in words,
        `channels` of its result, its `height` and `width` in pixels (missing for a vector), `parameters` (weights
        trained), and `inputs`, the blocks whose results it works on, joined by semicolons.
    """
    blocks, outputs, received = dict(_blocks(network)), {}, {}
    training = {module: module.training for module in network.modules()}
    hooks = []
    for name, block in blocks.items():
        hooks.append(block.register_forward_pre_hook(_keep_arguments(name, received)))
        hooks.append(block.register_forward_hook(_keep_result(name, outputs)))
    try:
        network.eval()
        with torch.enable_grad():
            outputs[INPUT] = _empty_slice(network, matrix)
            said = network(outputs[INPUT])
            bag, voxel_ml = said.presence.new_zeros(1, dtype=torch.long), said.presence.new_ones(1)
            network.expand(said.features, outputs[INPUT], said.outline.sigmoid(), bag, voxel_ml)
    finally:
        for hook in hooks:
            hook.remove()
        for module, was_training in training.items():
            module.training = was_training
    return _table(blocks, outputs, received)


def _empty_slice(network: MultitaskNetwork, matrix: int) -> Tensor:
    device = next(network.parameters()).device
    empty = torch.zeros(1, network.settings.n_channels, matrix, matrix, device=device, requires_grad=True)
    return empty.clone()  # the copy has a place of its own in the graph


def _blocks(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The parts that a reader would draw: children, the members of a list, the layers of a head."""
    for name, child in network.named_children():
        inner = isinstance(child, nn.ModuleList) or (
            type(child) is not nn.Sequential and any(True for _ in child.children()) and name not in PARTS
        )
        yield from ((f"{name}.{part}", block) for part, block in child.named_children()) if inner else ((name, child),)


def _keep_arguments(name: str, received: dict[str, list[Tensor]]):
    def keep(_module: nn.Module, arguments: tuple) -> None:
        received[name] = list(_tensors(arguments))

    return keep


def _keep_result(name: str, outputs: dict[str, Tensor]):
    def keep(_module: nn.Module, _arguments: tuple, result: Tensor) -> None:
        outputs[name] = result

    return keep


def _tensors(arguments: Iterable) -> Iterator[Tensor]:
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, (tuple, list)):
            yield from _tensors(argument)


def _table(blocks: dict[str, nn.Module], outputs: dict[str, Tensor], received: dict[str, list[Tensor]]) -> pd.DataFrame:
    # An operation that a later one replaced in place (ReLU) still counts: the graph is cut at each block's own end.
    ends = {tensor.grad_fn: name for name, tensor in outputs.items()}
    rows = [("input", INPUT, "", *_shape(outputs[INPUT]), 0, "")]
    for name, result in outputs.items():
        if name == INPUT:
            continue
        head = name.partition(".")[0]
        parameters = sum(weights.numel() for weights in blocks[name].parameters())
        inputs = ";".join(_sources(received[name], ends))
        rows.append((PARTS.get(head, head), name, _operation(blocks[name]), *_shape(result), parameters, inputs))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"height": "Int64", "width": "Int64"})


def _shape(result: Tensor) -> tuple[int, int | None, int | None]:
    return result.shape[1], *(result.shape[2:] if result.ndim == 4 else (None, None))


def _sources(received: list[Tensor], ends: dict) -> list[str]:
    """Names of the nearest blocks from whose results the received tensors were computed, in the order of the pass."""
    found, seen = set(), set()
    waiting = [tensor.grad_fn for tensor in received]
    while waiting:
        step = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        if step in ends:
            found.add(ends[step])
        else:
            waiting += [before for before, _ in step.next_functions]
    return [name for name in ends.values() if name in found]


def _operation(block: nn.Module) -> str:
    """What a block does, in the words of its layers."""
    layers = list(block.children())
    if isinstance(block, nn.Sequential) and layers and len({type(layer) for layer in layers}) == 1:
        return f"{len(layers)} × {_layer(layers[0])}"
    leaves = [module for module in block.modules() if not list(module.children())]
    return ", ".join(dict.fromkeys(map(_layer, leaves)))


def _layer(layer: nn.Module) -> str:
    if isinstance(layer, nn.Conv2d):
        kernel = "×".join(map(str, layer.kernel_size))
        return f"{kernel} convolution" + (f" / {layer.stride[0]}" if layer.stride[0] > 1 else "")
    if isinstance(layer, nn.Linear):
        return f"linear {layer.in_features} → {layer.out_features}"
    if isinstance(layer, nn.MaxPool2d):
        return f"max pooling / {layer.stride}"
    return LAYERS.get(type(layer).__name__, type(layer).__name__)
