"""Weights and training state in safetensors: no pickle, written under a temporary name and renamed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings
from hepred_lib.study import StudyError, write_bytes
from hepred_lib.study.artifacts import damaged

# What a file that is cut, edited or of another network leads to.
UNUSABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError, SafetensorError)


@dataclass
class TrainingState:
    """Everything that changes from step to step; what a checkpoint holds."""

    network: MultitaskNetwork
    average: MultitaskNetwork
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0


def save_network(network: MultitaskNetwork, path: Path) -> None:
    """Weights as safetensors, the settings that rebuild the network in its metadata; replaced only when they change."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_bytes(path, save(tensors, metadata={"network": json.dumps(asdict(network.settings))}))


def load_network(path: Path) -> MultitaskNetwork:
    """The network that :func:`save_network` wrote, in evaluation mode on the CPU.

    Raises
    ------
    StudyError
        The file is missing or damaged.
    """
    try:
        settings = NetworkSettings(**json.loads(_read_metadata(path)["network"]))
        network = MultitaskNetwork(settings)
        network.load_state_dict(load_file(path))
    except UNUSABLE as error:
        raise StudyError(damaged(path, error)) from error
    return network.to(memory_format=torch.channels_last).eval()


def save_state(state: TrainingState, history: list[dict], checkpoint: Path, fingerprint: str) -> None:
    """Keep all that the next epoch starts from, marked by what it was made from."""
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.state_dict().items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    progress = {"epoch": state.epoch, "step": state.step, "history": history}
    _save_tensors(tensors, checkpoint, {"fingerprint": fingerprint, "progress": json.dumps(progress)})


def resume_state(state: TrainingState, checkpoint: Path, fingerprint: str) -> list[dict]:
    """Take up a state made from the same patients and settings; returns its history, empty where there is none.

    What a kill in the middle of writing left behind is removed, and so is a damaged checkpoint: training starts anew.
    """
    for rest in checkpoint.parent.glob(f".{checkpoint.name}.*.tmp"):
        rest.unlink(missing_ok=True)
    if not checkpoint.exists():
        return []
    try:
        metadata = _read_metadata(checkpoint)
        if metadata["fingerprint"] != fingerprint:
            return []
        progress = json.loads(metadata["progress"])
        epoch, step, history = progress["epoch"], progress["step"], progress["history"]
        tensors = load_file(checkpoint)
        _require_state(tensors, state)
    except UNUSABLE:
        checkpoint.unlink()
        return []
    for name, module in (("network", state.network), ("average", state.average)):
        module.load_state_dict(_part(tensors, name))
    slots: dict[int, dict[str, Tensor]] = {}
    parameters = [weights for group in state.optimizer.param_groups for weights in group["params"]]
    for name, value in _part(tensors, "optimizer").items():
        index, slot = name.split(".", 1)
        # The moments must lie in memory as their weights do, or the fused optimizer rounds differently.
        like = torch.empty_like(parameters[int(index)], device="cpu") if value.dim() else torch.empty(())
        slots.setdefault(int(index), {})[slot] = like.copy_(value)
    state.optimizer.load_state_dict({**state.optimizer.state_dict(), "state": slots})
    state.epoch, state.step = epoch, step
    return history


def _require_state(tensors: dict[str, Tensor], state: TrainingState) -> None:
    """Refuse a checkpoint that lacks a part of the state, or holds one that is not finite."""
    for name, module in (("network", state.network), ("average", state.average)):
        if _part(tensors, name).keys() != module.state_dict().keys():
            raise ValueError(f"the checkpoint must hold the whole {name}")
    if not all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point()):
        raise ValueError("the checkpoint must be finite")


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def _save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata=metadata)
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError):
        temporary.unlink(missing_ok=True)  # half a file of a full disk
        raise


def _read_metadata(path: Path) -> dict[str, str]:
    with open(path, "rb") as stream:
        size = min(int.from_bytes(stream.read(8), "little"), path.stat().st_size)
        return json.loads(stream.read(size))["__metadata__"]
