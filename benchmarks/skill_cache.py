"""What a benchmark has worked out is kept with the settings that it follows from, and what it cost is said."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from hepred_lib.study.files import read_json, read_table, write_json, write_table


def settings_hold(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a file stands that was made with these settings: its record (``NAME.json``) is written last."""
    record = path.with_suffix(".json")
    return path.exists() and record.exists() and read_json(record) == dict(settings)


def kept_table(path: Path, settings: Mapping[str, Any], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The table at a path where it was made with these settings, else made anew; settings are plain JSON values."""
    if not settings_hold(path, settings):
        write_table(path, make())
        write_json(path.with_suffix(".json"), settings)
    return read_table(path)


@contextmanager
def timed(part: str) -> Iterator[None]:
    """Say to stderr what a part took; processor time and peak memory are this process's, without its workers."""
    start, used = time.perf_counter(), time.process_time()
    yield
    taken, used = time.perf_counter() - start, time.process_time() - used
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{part}: {taken:.1f} s ({used:.1f} s of processor), peak memory {gigabytes:.1f} GB", file=sys.stderr)
