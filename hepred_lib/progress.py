"""One progress bar for long work: to stderr, shown on a terminal and in Jupyter, quiet elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(iterable: Iterable | None = None, *, quiet: bool = False, **options: Any) -> tqdm:
    """A bar over ``iterable``, or one that is moved by ``update()``; options are tqdm's.

    A kernel's stderr is no terminal, but Jupyter shows it: kernels are known by the variable that their parent sets.
    """
    shown = not quiet and (sys.stderr.isatty() or "JPY_PARENT_PID" in os.environ)
    return tqdm(iterable, disable=not shown, mininterval=1.0, dynamic_ncols=sys.stderr.isatty(), **options)
