"""Long work on many items: its progress bar, on stderr, shown on a terminal and in Jupyter; several items at a time.

Notebooks that a study executes are quiet too: their pages would keep every state of the bar.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tqdm import tqdm

RUNNER = "HEPRED_RUNNER"  # set for kernels that `hepred` starts
Item = TypeVar("Item")
Result = TypeVar("Result")


def progress(iterable: Iterable | None = None, *, quiet: bool = False, **options: Any) -> tqdm:
    """A bar over ``iterable``, or one that is moved by ``update()``; options are tqdm's.

    A kernel's stderr is no terminal, but Jupyter shows it: kernels are known by the variable that their parent sets.
    """
    watched = sys.stderr.isatty() or ("JPY_PARENT_PID" in os.environ and RUNNER not in os.environ)
    shown = not quiet and watched
    return tqdm(iterable, disable=not shown, mininterval=1.0, dynamic_ncols=sys.stderr.isatty(), **options)


def worked(
    work: Callable[[Item], Result], items: Collection[Item], *, workers: int, **options: Any
) -> Iterator[Result]:
    """Results in the order of the items, under a bar; after an error no further item is begun.

    Parameters
    ----------
    work : callable
        Safe to be called by several threads; those share one interpreter, so that only work in compiled code gains.
    items : collection
    workers : int
        Items worked on at the same time; one works in the caller's thread.
    **options
        Of the bar.

    Examples
    --------
    >>> list(worked(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    if workers < 2:
        yield from progress(map(work, items), total=len(items), **options)
        return
    pool = ThreadPoolExecutor(workers)
    try:
        yield from progress(pool.map(work, items), total=len(items), **options)
    finally:
        pool.shutdown(cancel_futures=True)
