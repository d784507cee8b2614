"""Timing of several works in turns, so that what else the machine does falls on all of them; tables in Markdown."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import psutil
from numpy.typing import ArrayLike


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    rows = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def mean_with_error(values: ArrayLike, digits: int = 3) -> str:
    """Mean and its Monte Carlo standard error over the values that exist."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if known.size < 2:
        return "none"
    return f"{known.mean():.{digits}f} ± {known.std(ddof=1) / np.sqrt(known.size):.{digits}f}"


def share_with_error(share: float, n: int) -> str:
    """A share in per cent with its Monte Carlo standard error."""
    return f"{100 * share:.1f} % ± {100 * np.sqrt(share * (1 - share) / n):.1f}"


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
