"""A device that is not there: its tensors carry the name of a device, and a CPU computes them.

Each of its tensors holds one of the CPU. Every operation is checked before it is computed: tensors of both places must
not meet, as on a real GPU, but for copies and numbers without dimensions. It can do no more than the least able GPU:
it has no float64 and no kernels for lists of tensors, as Apple's, and adds at indices in any order unless repeatable
kernels are asked for, as NVIDIA's. What makes the host wait (a value that is looked at, a copy to the host) is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch.utils import _foreach_utils, backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from hepred_lib import progress

NAME = "pretended"
MAY_MIX = ("aten::_to_copy", "aten::copy_")
IN_ANY_ORDER = ("aten::index_add", "aten::scatter_add")
needs_backends = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch registers no device from Python",
)


class Pretended(torch.Tensor):
    """A tensor of the device; ``held`` is its content."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Pretended:
        """An empty shell of the same form."""
        form = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, held.shape, device=torch.device(NAME, 0), **form)

    def __init__(self, held: torch.Tensor) -> None:
        if held.dtype == torch.float64:
            raise TypeError("the device has no float64")
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Operations on tensors of the device alone."""
        return _compute(operation, args, kwargs or {}, Counter())


class _Device(TorchDispatchMode):
    """Operations that make tensors too, such as ``torch.zeros(2, device=...)``."""

    def __init__(self, waits: Counter) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Every operation inside the context; what is made of others is taken apart, as inference mode does not."""
        with self:
            parts = operation.decompose(*args, **(kwargs or {})) if operation._can_decompose() else NotImplemented
        if parts is not NotImplemented:
            return parts
        return _compute(operation, args, kwargs or {}, self.waits)


def _compute(operation: Any, args: tuple, kwargs: dict, waits: Counter) -> Any:
    name = operation._schema.name
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, Pretended)]
    if ours and name not in MAY_MIX and any(t.dim() and not isinstance(t, Pretended) for t in tensors):
        raise RuntimeError(f"{name}: tensors of host and device must not be mixed")
    if ours and name.startswith(IN_ANY_ORDER) and not torch.are_deterministic_algorithms_enabled():
        raise RuntimeError(f"{name}: another sum at each call")
    target = kwargs.get("device")
    to_device = bool(ours) if target is None else torch.device(target).type == NAME
    if ours and (name == "aten::_local_scalar_dense" or (name == "aten::_to_copy" and not to_device)):
        waits[name] += 1
    held = {id(tensor.held): tensor for tensor in ours}
    plain_args, plain_kwargs = tree_map(lambda x: x.held if isinstance(x, Pretended) else x, (args, kwargs))
    if to_device or ours:
        plain_kwargs.pop("device", None)
    result = operation(*plain_args, **plain_kwargs)
    if name == "aten::copy_":
        waits[name] += bool(isinstance(args[1], Pretended) and not isinstance(args[0], Pretended))
        return args[0]
    if not to_device:
        return result
    # What an operation changes in place comes back as the tensor that was given.
    wrap = {torch.Tensor: lambda x: held[id(x)] if id(x) in held else Pretended(x)}
    return tree_map(lambda x: wrap.get(type(x), lambda same: same)(x), result)


@contextmanager
def pretended_device() -> Iterator[tuple[torch.device, Counter]]:
    """The device, and a counter of what made the host wait for it."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        backend_registration._setup_privateuseone_for_python_backend(NAME)
    host, waits = torch.Generator, Counter()
    before, threads = torch._C._only_lift_cpu_tensors(), torch.get_num_threads()
    torch.set_num_threads(3)  # and as many patients are read at a time
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(numbers, device=...): made on the host, then copied

    def pool(workers: int) -> ThreadPoolExecutor:  # the mode holds in the thread that enters it alone
        return ThreadPoolExecutor(workers, initializer=lambda: _Device(waits).__enter__())

    try:
        with (
            # Random numbers come from a generator of the host: the device has none of its own.
            mock.patch.object(torch, "Generator", side_effect=lambda _: host()),
            mock.patch.object(_foreach_utils, "_get_foreach_kernels_supported_devices", return_value=["cuda"]),
            mock.patch.object(progress, "ThreadPoolExecutor", side_effect=pool),
            _Device(waits),
        ):
            yield torch.device(NAME, 0), waits
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
        torch.set_num_threads(threads)
