"""From a table of predictors to a numeric design, and back to the columns' own units.

A *coded* column is a column of the design: a number as it stands, or one 0/1 column for each level of a category but
its first. Designs are kept as rows (the intercept first, shape (p + 1, n)), so that each column is contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hepred_lib.stats import checks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coding:
    """How a table of predictors becomes a numeric design.

    Attributes
    ----------
    levels : dict
        Column name to None (a number) or the levels of a category, the reference level first.
    """

    levels: dict[str, tuple[Any, ...] | None]

    @classmethod
    def of(cls, x: pd.DataFrame, *, observed: bool = True) -> Coding:
        """Coding of a table: categorical columns become levels, everything else must be numeric.

        With ``observed`` only levels that occur are kept; otherwise all that the column's type declares.
        """
        _refuse_no_table(x)
        levels: dict[str, tuple[Any, ...] | None] = {}
        for name, column in x.items():
            if isinstance(column.dtype, pd.CategoricalDtype):
                used = column.cat.remove_unused_categories() if observed else column
                levels[str(name)] = tuple(used.cat.categories.tolist())
            elif pd.api.types.is_numeric_dtype(column.dtype):
                levels[str(name)] = None
            else:
                raise ValueError(f"Column {name} must be numeric, 0/1 or categorical, got {column.dtype}.")
        if len(levels) != x.shape[1]:
            raise ValueError(f"Column names must be unique, got {list(x.columns)}.")
        return cls(levels)

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        """Coded column names of each predictor."""
        return {
            name: (name,) if levels is None else tuple(f"{name}[{level}]" for level in levels[1:])
            for name, levels in self.levels.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """All coded column names, in order."""
        return tuple(coded for block in self.blocks.values() for coded in block)

    def matrix(self, x: pd.DataFrame) -> pd.DataFrame:
        """Code a table: shape (n, number of coded columns), NaN where a value is missing."""
        absent = [name for name in self.levels if name not in x.columns]
        if absent:
            raise ValueError(f"Columns {absent} are required, got {list(x.columns)}.")
        parts = [_code_column(x[name], levels) for name, levels in self.levels.items()]
        values = np.column_stack(parts) if parts else np.empty((len(x), 0))
        return pd.DataFrame(values, index=x.index, columns=list(self.names))


def standardize(coded: pd.DataFrame) -> tuple[Array, Array, Array]:
    """Design as rows (intercept first), shape (p + 1, n), and the mean and SD that were taken out of each column.

    Missing values and constant columns are refused.
    """
    refuse_missing(coded)
    values = coded.to_numpy()
    constant = [name for name, column in coded.items() if column.min() == column.max()]
    if constant:
        raise ValueError(f"Each column of x must vary, got a constant in {', '.join(constant)}.")
    center, scale = values.mean(axis=0), values.std(axis=0)
    return np.vstack([np.ones(len(values)), ((values - center) / scale).T]), center, scale


def unscale(coefficients: Array, covariance: Array, center: Array, scale: Array) -> tuple[Array, Array]:
    """Coefficients and covariance per unit of (z * scale + center), from those per unit of z; intercept first."""
    back = np.diag(np.concatenate([[1.0], 1 / scale]))
    back[0, 1:] = -center / scale
    return back @ coefficients, back @ covariance @ back.T


def check_outcome(x: pd.DataFrame, y: ArrayLike) -> Array:
    """Return y as floats: 0 and 1, both present, one value for each row of x, under the same index if it has one."""
    checks.same_patients(x.index.to_series() if isinstance(y, pd.Series) else x.index, y, "x and y")
    return checks.outcome(y).astype(float)


def refuse_missing(coded: pd.DataFrame) -> None:
    """Refuse a coded table with missing values, naming the columns."""
    counts = (~np.isfinite(coded.to_numpy())).sum(axis=0)
    if counts.any():
        named = ", ".join(f"{name} ({count})" for name, count in zip(coded.columns, counts, strict=True) if count)
        raise ValueError(f"x must be complete; missing values in {named}.")


def _refuse_no_table(x: pd.DataFrame) -> None:
    if not isinstance(x, pd.DataFrame):
        raise ValueError(f"x must be a table with named columns, a DataFrame, got {type(x).__name__}.")
    wrong = [name for name in x.columns if not isinstance(name, str)]
    if wrong:
        raise ValueError(f"Column names of x must be text, got {wrong[:5]}.")


def _code_column(column: pd.Series, levels: tuple[Any, ...] | None) -> Array:
    if levels is None:
        return _numbers(column)[:, None]
    missing = column.isna().to_numpy()
    values = column.to_numpy(dtype=object)
    unknown = sorted({str(value) for value in values[~missing] if value not in levels})
    if unknown:
        raise ValueError(f"Column {column.name} must hold one of {list(levels)}, got {unknown}.")
    coded = (values[:, None] == np.array(levels[1:], dtype=object)).astype(float)
    coded[missing] = np.nan
    return coded


def _numbers(column: pd.Series) -> Array:
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = np.flatnonzero((np.isnan(numbers) & column.notna().to_numpy()) | np.isinf(numbers))
    if wrong.size:
        raise ValueError(f"Column {column.name} must hold finite numbers, got {column.iloc[wrong[0]]!r}.")
    return numbers
