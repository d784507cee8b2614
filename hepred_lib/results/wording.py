"""Numbers in the words of a table: an estimate with its interval, a p value, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hepred_lib.literal import for_markdown
from hepred_lib.manifest import predictor_label

NOT_ESTIMABLE = "not estimable"


def with_interval(value: float | None, interval: Sequence[float] | None, *, scale: float = 1.0, digits: int = 2) -> str:
    """An estimate with its interval, in brackets; without an interval the estimate alone.

    Examples
    --------
    >>> with_interval(0.5, [0.25, 0.75]), with_interval(0.1, [-0.1, 0.3], digits=1), with_interval(None, None)
    ('0.50 (0.25-0.75)', '0.1 (-0.1 to 0.3)', 'not estimable')
    """
    if value is None or pd.isna(value):
        return NOT_ESTIMABLE
    estimate = _written(scale * value, digits)
    if interval is None or pd.isna(list(interval)).any():
        return estimate
    return f"{estimate} ({limits_words(*interval, scale=scale, digits=digits)})"


def limits_words(low: float, high: float, *, scale: float = 1.0, digits: int = 2) -> str:
    """Two limits alone.

    Examples
    --------
    >>> limits_words(0.25, 0.75), limits_words(-0.1, 3e7), limits_words(float("nan"), 2.0)
    ('0.25-0.75', '-0.10 to 3e+07', 'not estimable')
    """
    if pd.isna(low) or pd.isna(high):
        return NOT_ESTIMABLE
    limits = [_written(scale * limit, digits) for limit in (low, high)]
    return (" to " if limits[0].startswith("-") else "-").join(limits)


def two_digits(value: float | None) -> str:
    """A number with two decimals.

    Examples
    --------
    >>> two_digits(0.126), two_digits(None)
    ('0.13', 'not estimable')
    """
    return with_interval(value, None)


def p_value(p: float | None) -> str:
    """A p value with two significant digits.

    Examples
    --------
    >>> p_value(0.0312), p_value(0.00002), p_value(None)
    ('0.031', '<0.001', 'not estimable')
    """
    if p is None or pd.isna(p):
        return NOT_ESTIMABLE
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_words(p: float | None) -> str:
    """A p value as a sentence gives it.

    Examples
    --------
    >>> p_words(0.0312), p_words(0.00002), p_words(None)
    ('p = 0.031', 'p < 0.001', 'p not estimable')
    """
    value = p_value(p)
    return f"p < {value[1:]}" if value.startswith("<") else f"p {value}" if value == NOT_ESTIMABLE else f"p = {value}"


def predictor_words(name: str) -> str:
    """The words for a predictor in a sentence of Markdown, whatever signs its column's name has.

    Examples
    --------
    >>> predictor_words("sbp_mmhg")
    'Systolic pressure'
    """
    return for_markdown(predictor_label(name))


def listed(words: Sequence[str], *, empty: str = "nothing") -> str:
    """Words as a sentence lists them.

    Examples
    --------
    >>> listed(["age", "sex", "GCS"]), listed([])
    ('age, sex and GCS', 'nothing')
    """
    if not words:
        return empty
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _written(value: float, digits: int) -> str:
    """A number with its decimals; a power of ten where it has more than six digits before them."""
    written = f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"
    return written.replace("inf", "infinite")
