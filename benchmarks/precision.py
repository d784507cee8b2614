"""A training step in float32 and in bfloat16 on this machine's device: what `half_precision_pays` decides about.

.venv/bin/python benchmarks/precision.py
"""

from __future__ import annotations

import time

import torch

from hepred_lib.multitask.data import N_CHANNELS
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings
from hepred_lib.multitask.training import half_precision_pays, pick_device

SLICES, MATRIX, ROUNDS = 36, 128, 4


def step_seconds(network: MultitaskNetwork, slices: torch.Tensor, *, half: bool) -> float:
    """Wall-clock seconds of one forward and backward pass."""
    start = time.perf_counter()
    with torch.autocast(slices.device.type, dtype=torch.bfloat16, enabled=half):
        output = network(slices)
    total = output.outline.float().mean() + output.presence.float().mean()
    (total + sum(level.float().mean() for level in output.features)).backward()
    if slices.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Alternate the two, after one round to warm up, and print the fastest of each."""
    device = pick_device()
    network = MultitaskNetwork(NetworkSettings()).to(device=device, memory_format=torch.channels_last).train()
    slices = torch.randn(SLICES, N_CHANNELS, MATRIX, MATRIX, device=device)
    slices = slices.contiguous(memory_format=torch.channels_last)
    times = [[step_seconds(network, slices, half=half) for half in (False, True)] for _ in range(ROUNDS)]
    single, half = (min(column) for column in zip(*times[1:], strict=True))
    print(
        f"{device.type}, {torch.get_num_threads()} threads, {SLICES} slices of {MATRIX} x {MATRIX}: "
        f"float32 {SLICES / single:.0f} slices/s, bfloat16 {SLICES / half:.0f} slices/s, ratio {single / half:.2f}; "
        f"bfloat16 is {'used' if half_precision_pays(device) else 'not used'}"
    )


if __name__ == "__main__":
    main()
