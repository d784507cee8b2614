"""Who the patients are: distributions with intervals, and the first table of a paper.

Groups are compared by standardized differences (SMD), which do not grow with the sample as p values do. A p value is
given only where a *contrast* asks for one: differences between sets that were drawn at random are due to chance.

Source: Yang D, Dalton JE. A unified approach to measuring the effect size between two groups. SAS Global Forum
2012:335.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import chi2_contingency, fisher_exact, mannwhitneyu

from hepred_lib.stats.operating_point import wilson_interval


@dataclass(frozen=True)
class Contrast:
    """Two columns of a first table to be compared: ``second`` against ``first``; ``tested`` adds a p value."""

    first: str
    second: str
    tested: bool = False


def cumulative_distribution(values: ArrayLike) -> pd.DataFrame:
    """Cumulative proportion of a sample at each of its distinct values, with Wilson's 95 % interval.

    Parameters
    ----------
    values : array_like
        Finite numbers, one a patient.

    Returns
    -------
    DataFrame
        `value` (ascending), `proportion` of patients at or below it, its pointwise interval `low`, `high`, and `n`.

    Raises
    ------
    ValueError
        If there is no value, or one that is not finite.

    Examples
    --------
    >>> cumulative_distribution([3, 1, 3, 3])["proportion"].tolist()
    [0.25, 1.0]
    """
    sample = np.asarray(values, dtype=float)
    if not sample.size or not np.isfinite(sample).all():
        raise ValueError(f"values must be finite numbers, at least one, got {sample.ravel()[:5].tolist()}.")
    distinct, counts = np.unique(sample, return_counts=True)
    reached = counts.cumsum()
    low, high = wilson_interval(reached, len(sample))
    return pd.DataFrame(
        {"value": distinct, "proportion": reached / len(sample), "low": low, "high": high, "n": len(sample)}
    )


def standardized_difference(first: pd.Series, second: pd.Series) -> float:
    """Difference of two groups in units of their common standard deviation, missing values left out.

    Numbers: the second mean minus the first over the root of the mean variance; 0/1 variables take their binomial
    variance. Categories: the Mahalanobis distance of the proportions, without sign. NaN where a group is empty, or
    where nothing varies and the groups differ.

    References
    ----------
    Yang D, Dalton JE. A unified approach to measuring the effect size between two groups. SAS Global Forum 2012:335.

    Examples
    --------
    >>> round(standardized_difference(pd.Series([1.0, 2.0, 3.0]), pd.Series([2.0, 3.0, 4.0])), 3)
    1.0
    """
    a, b = first.dropna(), second.dropna()
    if not len(a) or not len(b):
        return np.nan
    if isinstance(first.dtype, pd.CategoricalDtype):
        return _distance_of_levels(a, b)
    binary = is_binary(pd.concat([a, b]))
    variance = (a.var(ddof=0 if binary else 1) + b.var(ddof=0 if binary else 1)) / 2
    difference = float(b.mean() - a.mean())
    if not variance > 0:
        return 0.0 if difference == 0 else np.nan
    return difference / float(np.sqrt(variance))


def group_p(first: pd.Series, second: pd.Series) -> float:
    """P value of a difference between two groups, missing values left out.

    Numbers by Mann and Whitney, 0/1 variables by Fisher's exact test, categories by chi-squared where Cochran's rule
    allows it (no expected count below 1, at most a fifth of them below 5). NaN where no test can be made.
    """
    a, b = first.dropna(), second.dropna()
    together = pd.concat([a, b])
    if not len(a) or not len(b) or together.nunique() < 2:
        return np.nan
    if isinstance(first.dtype, pd.CategoricalDtype):
        counts = _counts(a, b)
        result = chi2_contingency(counts)
        allowed = result.expected_freq.min() >= 1 and np.mean(result.expected_freq < 5) <= 0.2
        return float(result.pvalue) if allowed else np.nan
    if is_binary(together):
        return float(fisher_exact(_counts(a, b)).pvalue)
    return float(mannwhitneyu(a, b).pvalue)


def baseline_table(
    frame: pd.DataFrame,
    columns: Mapping[str, ArrayLike],
    contrasts: Sequence[Contrast] = (),
    *,
    labels: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """First table of a paper: each variable in each group, its missing values, and how groups differ.

    Parameters
    ----------
    frame : DataFrame
        One row per patient: numbers, 0/1 variables (NaN: missing), or categories (categorical dtype, one line a level).
    columns : mapping of str to array_like of bool
        Groups by heading; they may overlap. One without patients, or with the patients of an earlier one, is left out.
    contrasts : sequence of Contrast
        Groups to be compared, if both are there; each adds a column "SMD second vs first", and one "p" where tested.
    labels : mapping of str to str
        Words for the frame's columns, with their unit.

    Returns
    -------
    DataFrame
        Text: `Variable`, `Known` (how many of the first group have a value), the groups (median and quartiles, or
        number/number known and percentage), and the contrasts.
    """
    distinct = {np.asarray(mask, dtype=bool).tobytes(): heading for heading, mask in reversed(list(columns.items()))}
    groups = {heading: np.asarray(columns[heading], dtype=bool) for heading in columns if heading in distinct.values()}
    groups = {heading: mask for heading, mask in groups.items() if mask.any()}
    contrasts = [contrast for contrast in contrasts if {contrast.first, contrast.second} <= set(groups)]
    lines = [{"Variable": "Patients", "Known": ""} | {heading: f"n = {mask.sum()}" for heading, mask in groups.items()}]
    for name, values in frame.items():
        parts = {heading: values[mask] for heading, mask in groups.items()}
        head, *levels = _lines((labels or {}).get(name, str(name)), parts)
        for contrast in contrasts:
            pair = parts[contrast.first], parts[contrast.second]
            difference = standardized_difference(*pair)
            head[f"SMD {contrast.second} vs {contrast.first}"] = _decimal(difference)
            if contrast.tested:
                # A variable that is constant in both groups is what the groups were made by: nothing is to be tested.
                head["p"] = _p_text(np.nan if np.isnan(difference) else group_p(*pair))
        lines += [head, *levels]
    return pd.DataFrame(lines).fillna("")


def is_binary(values: pd.Series) -> bool:
    """Tell whether a variable takes no other values than 0 and 1."""
    return bool(values.dropna().isin([0, 1]).all())


def _lines(label: str, parts: Mapping[str, pd.Series]) -> list[dict[str, str]]:
    """The line of a variable, and one a level where it has levels."""
    whole = next(iter(parts.values()))
    head = {"Variable": f"{label}, n (%)", "Known": str(whole.notna().sum())}
    if isinstance(whole.dtype, pd.CategoricalDtype):
        levels = [
            {"Variable": f"– {str(level).replace('_', ' ')}"}
            | {heading: _share(part == level, part) for heading, part in parts.items()}
            for level in whole.cat.categories
        ]
        return [head, *levels]
    if is_binary(whole):
        return [head | {heading: _share(part == 1, part) for heading, part in parts.items()}]
    cells = {heading: _quartiles(part.dropna(), _digits(whole)) for heading, part in parts.items()}
    return [head | {"Variable": f"{label}, median (quartiles)"} | cells]


def _counts(a: pd.Series, b: pd.Series) -> np.ndarray:
    """Return patients by group and level, levels without any patient left out."""
    levels = np.unique(np.concatenate([a.astype(object), b.astype(object)]))
    return np.array([[(group == level).sum() for level in levels] for group in (a, b)])


def _distance_of_levels(a: pd.Series, b: pd.Series) -> float:
    shares = (_counts(a, b) / [[len(a)], [len(b)]])[:, 1:]
    covariance = sum(np.diag(share) - np.outer(share, share) for share in shares) / 2
    difference = shares[1] - shares[0]
    return float(np.sqrt(difference @ np.linalg.pinv(covariance) @ difference))


def _share(counted: pd.Series, of: pd.Series) -> str:
    known = int(of.notna().sum())
    return f"{int(counted.sum())}/{known} ({100 * counted.sum() / known:.1f})" if known else "–"


def _quartiles(values: pd.Series, digits: int | None) -> str:
    if not len(values):
        return "–"
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    return f"{_decimal(middle, digits)} ({_decimal(low, digits)}–{_decimal(high, digits)})"


def _digits(values: pd.Series) -> int | None:
    """Return the decimals that a variable is printed with, by its upper quartile; None: one at most."""
    size = values.abs().quantile(0.75)
    if size < 50 and (values.dropna() % 1 == 0).all():
        return None
    return 0 if size >= 50 else 1 if size >= 2 else 2


def _decimal(value: float, digits: int | None = 2) -> str:
    if np.isnan(value):
        return "–"
    text = f"{round(value, 1):g}" if digits is None else f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def _p_text(p: float) -> str:
    if np.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
