"""A part of a step on a GPU, recorded once and replayed: one launch in place of thousands, and the same numbers.

Vocabulary
----------
shape
    the shapes of a batch's tensors; a recording serves batches of its own shape alone
recording
    a CUDA graph: every kernel from the batch to the gradients, on tensors that stay where they are
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from hepred_lib.multitask.data import Batch

MOST_RECORDINGS = 8  # two where every scan has the slices that are asked for; they share their memory


@dataclass
class _Recording:
    graph: torch.cuda.CUDAGraph
    batch: Batch
    losses: Tensor
    gradients: list[Tensor | None]


class Replay:
    """Compute ``work`` of a batch: the first of a shape as it is, the second is recorded, all others are replayed.

    Parameters
    ----------
    work : callable
        From a batch and a generator to its losses; leaves gradients in ``weights``, and never looks at a number.
    weights : sequence of Tensor
        Without gradients before each call.
    device : torch.device
        Nothing is recorded but on CUDA devices.
    record : bool
        False where gradients of several calls must add up.
    """

    def __init__(
        self,
        work: Callable[[Batch, torch.Generator], Tensor],
        weights: Sequence[Tensor],
        device: torch.device,
        *,
        record: bool = True,
    ) -> None:
        self._work, self._weights = work, list(weights)
        self._device, self._generator = device, torch.Generator(device)
        self._record = record and device.type == "cuda"
        self._met: Counter = Counter()
        self._recordings: dict[tuple, _Recording] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """The losses of a batch; its gradients are in the weights."""
        self._generator.manual_seed(batch.noise_seed)
        if not self._record:
            return self._work(batch, self._generator)
        shape = tuple(tensor.shape for tensor in _tensors(batch).values())
        self._met[shape] += 1
        if shape not in self._recordings and self._met[shape] > 1 and len(self._recordings) < MOST_RECORDINGS:
            self._try_to_record(shape, batch)
        found = self._recordings.get(shape)
        if found is None:
            return self._work(batch, self._generator)
        for name, tensor in _tensors(batch).items():
            getattr(found.batch, name).copy_(tensor)
        found.graph.replay()
        for weights, gradient in zip(self._weights, found.gradients, strict=True):
            weights.grad = gradient
        return found.losses.clone()

    def _try_to_record(self, shape: tuple, batch: Batch) -> None:
        """Add a recording; where the driver or the memory refuses, say so once and compute the steps one by one."""
        copies: dict[str, Any] = {name: tensor.clone() for name, tensor in _tensors(batch).items()}
        batch = replace(batch, **copies)
        graph, pool = torch.cuda.CUDAGraph(), None
        graph.register_generator_state(self._generator)
        for earlier in self._recordings.values():
            pool = earlier.graph.pool()
        stream = torch.cuda.current_stream(self._device)
        try:
            # On the stream of this card: torch records on the current one, which need not be the training's.
            with (
                torch.cuda.device(self._device),
                torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"),
            ):
                losses = self._work(batch, self._generator)
        except RuntimeError as error:
            # Nothing of the attempt may stay: half of the gradients, a stream of its own, a generator that records.
            torch.cuda.set_stream(stream)
            self._record, self._generator = False, torch.Generator(self._device).manual_seed(batch.noise_seed)
            for weights in self._weights:
                weights.grad = None
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"training steps are not recorded as CUDA graphs, and are slower: {reason}", stacklevel=2)
            return
        gradients = [weights.grad for weights in self._weights]
        self._recordings[shape] = _Recording(graph, batch, losses, gradients)


def _tensors(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}
