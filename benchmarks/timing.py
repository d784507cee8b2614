"""Timing of several works side by side: in turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import psutil


def alternate(works: dict[str, Callable[[], object]], rounds: int, *, cpu: bool = False) -> pd.DataFrame:
    """Seconds of each work (columns) in each round (rows), warmed up; the processor's own seconds with ``cpu``."""
    clock = time.process_time if cpu else time.perf_counter
    for work in works.values():
        work()
    return pd.DataFrame([{name: _seconds(work, clock) for name, work in works.items()} for _ in range(rounds)])


def median_with_range(values: pd.Series | np.ndarray, digits: int = 1) -> str:
    """Median, smallest and largest."""
    low, middle, high = np.quantile(np.asarray(values, dtype=float), [0.0, 0.5, 1.0])
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def seconds_now() -> np.ndarray:
    """Seconds on the wall and of the processor, those of this process's children included."""
    children = psutil.Process().children(recursive=True)
    return np.array([time.perf_counter(), time.process_time() + sum(sum(c.cpu_times()[:2]) for c in children)])


def best_of(work: Callable[[], object], repeats: int = 1) -> float:
    """Wall-clock seconds of one call, the best of some."""
    return min(_seconds(work, time.perf_counter) for _ in range(repeats))


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start
