"""Hematoma expansion (HE): the outcome, from a baseline and a follow-up volume."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Volumes are printed with a few decimals; a growth of exactly 6 mL must not become "more than 6" by binary rounding.
TOLERANCE_ML = 1e-9


@dataclass(frozen=True)
class Definition:
    """Thresholds of one published definition of expansion, and where it comes from.

    A growth counts when it exceeds `growth_ml`, or `growth_fraction` of the baseline volume; an *inclusive* threshold
    counts when it is reached. `ventricular` adds new or growing blood in the ventricles.
    """

    growth_ml: float
    growth_fraction: float | None = None
    inclusive_ml: bool = False
    inclusive_fraction: bool = False
    ventricular: bool = False
    source: str = ""


_STROKE_2020 = "Yogendrakumar V et al. Stroke 2020;51:1120-1127"
_NEUROLOGY_2011 = "Dowlatshahi D et al. Neurology 2011;76:1238-1244"
DEFINITIONS = {
    "6ml_or_33pct": Definition(6.0, 0.33, source="Brouwers HB et al. JAMA Neurol 2014;71:158-164 (more than either)"),
    "ge6ml_or_ge33pct": Definition(6.0, 0.33, True, True, source=f"{_STROKE_2020} (at least either)"),
    "12.5ml_or_33pct": Definition(12.5, 0.33, True, source=f"{_NEUROLOGY_2011} (both thresholds, among others)"),
    "6ml": Definition(6.0, source="Al-Shahi Salman R et al. Lancet Neurol 2018;17:885-894"),
    "revised": Definition(6.0, 0.33, ventricular=True, source=f"{_STROKE_2020} (adds ventricular blood)"),
}
VENTRICULAR_GROWTH_ML = 1.0


def expansion_label(
    baseline_ml: ArrayLike,
    followup_ml: ArrayLike,
    *,
    baseline_ivh_ml: ArrayLike | None = None,
    followup_ivh_ml: ArrayLike | None = None,
    definition: str = "6ml_or_33pct",
) -> int | NDArray[np.int64]:
    """Whether the hematoma expanded, 1 or 0, by a published definition.

    Growth is the follow-up volume minus the baseline volume of *parenchymal* blood; 33 % means 0.33. From a baseline of
    0 mL, any growth exceeds the relative threshold and none does not.

    Parameters
    ----------
    baseline_ml, followup_ml : array_like
        Parenchymal volumes in mL: two scalars, or two arrays of one shape.
    baseline_ivh_ml, followup_ivh_ml : array_like, optional
        Ventricular volumes in mL, of the same shape. Only the definition "revised" reads them, and requires them: it
        adds new ventricular blood, or at least 1 mL more of it.
    definition : str
        A key of `DEFINITIONS`.

    Returns
    -------
    int or ndarray of int
        Like the volumes given.

    Raises
    ------
    ValueError
        If the definition is unknown, a volume is missing, negative or infinite, or the shapes differ.

    References
    ----------
    See `DEFINITIONS[definition].source`.

    Examples
    --------
    >>> expansion_label(10.0, 13.4), expansion_label(30.0, 36.0)
    (1, 0)
    """
    if definition not in DEFINITIONS:
        raise ValueError(f"definition must be one of {', '.join(DEFINITIONS)}, got {definition!r}.")
    rule = DEFINITIONS[definition]
    given: dict[str, ArrayLike | None] = {"baseline_ml": baseline_ml, "followup_ml": followup_ml}
    if rule.ventricular:
        given |= {"baseline_ivh_ml": baseline_ivh_ml, "followup_ivh_ml": followup_ivh_ml}
    volumes = _volumes(given)
    baseline, growth = volumes[0], volumes[1] - volumes[0]
    label = _exceeds(growth, rule.growth_ml, rule.inclusive_ml)
    if rule.growth_fraction is not None:
        relative = _exceeds(growth, rule.growth_fraction * baseline, rule.inclusive_fraction)
        # An inclusive 33 % of nothing is nothing: 0 mL that stay 0 mL must not count.
        label |= relative & (growth > TOLERANCE_ML)
    if rule.ventricular:
        before, after = volumes[2:]
        label |= (before <= TOLERANCE_ML) & (after > TOLERANCE_ML)
        label |= _exceeds(after - before, VENTRICULAR_GROWTH_ML, inclusive=True)
    return label.astype(np.int64) if label.ndim else int(label)


def _exceeds(growth: NDArray, threshold: ArrayLike, inclusive: bool) -> NDArray[np.bool_]:
    excess = growth - threshold
    return np.asarray(excess >= -TOLERANCE_ML if inclusive else excess > TOLERANCE_ML)


def _volumes(given: Mapping[str, ArrayLike | None]) -> list[NDArray[np.float64]]:
    """Named volumes, checked against each other, as float arrays."""
    arrays: list[NDArray[np.float64]] = []
    for name, value in given.items():
        if value is None:
            raise ValueError(f"{name} must be given for the definition 'revised', got None.")
        volume = np.asarray(value, dtype=float)
        wrong = volume[~(np.isfinite(volume) & (volume >= 0))]
        if wrong.size:
            raise ValueError(f"{name} must be >= 0 mL and finite, got {wrong.flat[0]}.")
        if arrays and volume.shape != arrays[0].shape:
            raise ValueError(f"{name} must have the shape of baseline_ml {arrays[0].shape}, got {volume.shape}.")
        arrays.append(volume)
    return arrays
