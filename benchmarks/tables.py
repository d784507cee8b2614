"""Tables of the benchmarks, in Markdown."""

from __future__ import annotations

import numpy as np
import pandas as pd
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
