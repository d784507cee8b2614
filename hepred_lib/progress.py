"""One progress bar for long work: to stderr, shown on a terminal and in Jupyter, quiet elsewhere.

Notebooks that a study executes are quiet too: their pages would keep every state of the bar.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

RUNNER = "HEPRED_RUNNER"  # set for kernels that `hepred` starts


def progress(iterable: Iterable | None = None, *, quiet: bool = False, **options: Any) -> tqdm:
    """A bar over ``iterable``, or one that is moved by ``update()``; options are tqdm's.

    A kernel's stderr is no terminal, but Jupyter shows it: kernels are known by the variable that their parent sets.
    """
    watched = sys.stderr.isatty() or ("JPY_PARENT_PID" in os.environ and RUNNER not in os.environ)
    shown = not quiet and watched
    return tqdm(iterable, disable=not shown, mininterval=1.0, dynamic_ncols=sys.stderr.isatty(), **options)
