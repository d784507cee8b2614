"""On what a network is trained: one device, or several that share each step.

Several processes are started by torch itself and joined by DistributedDataParallel: each works on its own patients of
a step and gradients are averaged. With GPUs there is one process a GPU; without, processes on the CPU (gloo).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def pick_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half_precision_pays(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the device itself: every GPU in use; a CPU only with the instructions for it.

    A CPU without them emulates bfloat16 at half the speed of float32.
    """
    if device.type != "cpu":
        return True
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Repeatable kernels on a GPU, so that an interrupted training ends with the same bits; the CPU has no others."""
    if device.type == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def run_on(n_devices: int, work: Callable[..., None], *arguments: object) -> None:
    """Call ``work(device, *arguments)`` in one process a device, joined in a process group, and wait for all.

    Parameters
    ----------
    n_devices : int
        >= 2.
    work : callable
        Importable by name; its arguments must pickle.

    Raises
    ------
    ValueError
        If there are GPUs, but fewer than asked for.
    """
    found = torch.cuda.device_count()
    if 0 < found < n_devices:
        raise ValueError(f"devices must be at most the {found} GPUs of this machine, got {n_devices}.")
    with tempfile.TemporaryDirectory(prefix="hepred-") as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        torch.multiprocessing.start_processes(
            _join_and_work,
            args=(n_devices, meeting, torch.get_num_threads(), work, arguments),
            nprocs=n_devices,
            start_method="spawn",
        )


def _join_and_work(
    rank: int, n_devices: int, meeting: str, n_threads: int, work: Callable[..., None], arguments: tuple
) -> None:
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(max(1, n_threads // n_devices))
    torch.distributed.init_process_group(
        "nccl" if on_gpu else "gloo", init_method=meeting, rank=rank, world_size=n_devices
    )
    try:
        work(device, *arguments)
    finally:
        torch.distributed.destroy_process_group()


def rank() -> int:
    """Number of this process among those that share a training; 0 where it trains alone."""
    return torch.distributed.get_rank() if _joined() else 0


def shared(network: nn.Module, device: torch.device) -> nn.Module:
    """The network as it is called in training: itself, or wrapped so that gradients are averaged over processes."""
    if not _joined():
        return network
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def averaged(values: Tensor) -> Tensor:
    """The mean of each process's values where several train together, else the values."""
    if _joined():
        torch.distributed.all_reduce(values)
        values = values / torch.distributed.get_world_size()
    return values


def _joined() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
