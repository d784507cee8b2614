"""Whether a mask outlines blood: held against the HU under it, and under its mirrored and turned copies.

Fresh blood has 45 to 90 HU, brain 25 to 40. A hematoma may be partly hypodense, and in anemia nearly as dense as brain;
a mask is refused only where what it covers cannot be blood, or where blood lies under its mirrored copy instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

MOST_ML = 300.0
FEW_VOXELS = 20  # the HU of fewer say little: a person should look
OUTSIDE_HU, OUTSIDE_SHARE = -15.0, 0.1  # air and fat
BONE_SHARE = 0.25
DENSER_HU = 5.0  # median over that of brain: 11 or more in simulated hematomas, half of them hypodense, 23 in real ones
SOME_DENSER_HU = 10.0  # upper quartile over brain
FLUID_HU = 8.0  # ventricular blood is diluted, but not below brain by so much
MIRRORED_HU, MIRRORED_SHARE = 12.0, 0.05  # difference between what only the copy and only the mask covers

_COPIES = {
    "mirrored left-right": (False, (-1, 1, 1)),
    "mirrored front-back": (False, (1, -1, 1)),
    "mirrored top-bottom": (False, (1, 1, -1)),
    "turned by 180 degrees in the slice (LPS and RAS exchanged)": (False, (-1, -1, 1)),
    "with x and y exchanged (transposed)": (True, (1, 1, 1)),
}
_RARER = [(swapped, signs) for swapped in (False, True) for signs in product((1, -1), repeat=3)]


@dataclass(frozen=True)
class MaskFault:
    """What is wrong with a mask: the words after "must" and after "got", ``refuse`` or ``warn``, and what to do."""

    rule: str
    value: str
    severity: str = "refuse"
    remedy: str = "Draw or export the mask again on this very scan."


def mask_faults(
    mask: np.ndarray,
    hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    brain_hu: float,
    bone_hu: float,
    ventricular: bool = False,
) -> list[MaskFault]:
    """Everything that shows that a mask is not the hematoma of its scan; an empty mask has no fault.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
    hu : ndarray of the same shape
        The scan in Hounsfield units.
    spacing_mm : tuple of float
        Voxel size.
    brain_hu, bone_hu : float
        Of :class:`hepred_lib.preprocessing.Head`.
    ventricular : bool
        The mask is one of blood in the ventricles, which is diluted.
    """
    places = np.nonzero(mask)
    if not len(places[0]):
        return []
    volume_ml = len(places[0]) * float(np.prod(spacing_mm)) / 1000.0
    if volume_ml > MOST_ML:
        return [_too_large(mask, volume_ml)]
    inside = hu[places]
    faults = [*_place_faults(inside, bone_hu)]
    copy = _better_copy(mask, hu, places, brain_hu, bone_hu)
    if copy:
        rule = "cover blood"
        return [*faults, MaskFault(rule, f"brain, and blood under the mask {copy}", remedy=_turn_remedy(copy))]
    return faults or [*_density_faults(inside, brain_hu, ventricular)]


def _too_large(mask: np.ndarray, volume_ml: float) -> MaskFault:
    share = float(mask.mean())
    rule = f"be a hematoma of at most {MOST_ML:g} mL"
    if share == 1.0:
        return MaskFault(rule, "1 in every voxel")
    if share > 0.5:
        return MaskFault(rule, f"1 in {share:.1%} of all voxels", remedy="Exchange 0 and 1: the mask is inverted.")
    return MaskFault(rule, f"{volume_ml:.0f} mL", remedy="Mark the hematoma only, not the brain or the head.")


def _place_faults(inside: np.ndarray, bone_hu: float) -> Iterator[MaskFault]:
    severity = "refuse" if len(inside) >= FEW_VOXELS else "warn"
    outside, bone = float(np.mean(inside < OUTSIDE_HU)), float(np.mean(inside >= bone_hu))
    if outside > OUTSIDE_SHARE:
        yield MaskFault("lie inside the head", f"air or fat in {outside:.0%} of its voxels", severity)
    if bone > BONE_SHARE:
        yield MaskFault("lie inside the skull", f"bone in {bone:.0%} of its voxels", severity)


def _density_faults(inside: np.ndarray, brain_hu: float, ventricular: bool) -> Iterator[MaskFault]:
    """Faults of the HU; none where the HU of brain are not known."""
    if not np.isfinite(brain_hu):
        return
    median, upper = np.percentile(inside, (50.0, 75.0))
    got = f"a median of {median:.0f} HU where brain has {brain_hu:.0f}"
    enough = len(inside) >= FEW_VOXELS
    if ventricular:
        if median < brain_hu - FLUID_HU and upper < brain_hu:
            yield MaskFault("cover blood", f"{got}: fluid", "refuse" if enough else "warn")
        return
    if upper >= brain_hu + SOME_DENSER_HU and median >= brain_hu:
        return
    if median <= brain_hu and upper < brain_hu + DENSER_HU:
        yield MaskFault("cover blood, denser than brain", got, "refuse" if enough else "warn")
    elif median < brain_hu + DENSER_HU:
        remedy = "Look at the mask: a hematoma is rarely as dense as brain."
        yield MaskFault("cover blood, denser than brain", got, "warn", remedy)


def _better_copy(
    mask: np.ndarray, hu: np.ndarray, places: tuple[np.ndarray, ...], brain_hu: float, bone_hu: float
) -> str | None:
    """The mirrored or turned copy of a mask that covers blood where the mask itself covers brain."""
    if len(places[0]) < FEW_VOXELS:
        return None
    named = list(_COPIES.items()) + [("mirrored and turned", copy) for copy in _RARER]
    found, most = None, -np.inf
    for words, (swapped, signs) in named:
        moved = _moved(places, mask.shape, swapped, signs)
        if moved is None:
            continue
        only_copy = ~mask[moved]
        if only_copy.mean() < MIRRORED_SHARE:
            continue
        theirs = hu[moved]
        alone = theirs[only_copy]
        covered = np.zeros(mask.shape, dtype=bool)
        covered[moved] = True
        ours = hu[tuple(axis[~covered[places]] for axis in places)]
        fits = (
            np.median(ours) < brain_hu + DENSER_HU
            and np.median(alone) > max(brain_hu, np.median(ours)) + MIRRORED_HU
            and np.mean(alone >= min(bone_hu, 100.0)) < 0.1
        )
        if fits and theirs.mean() > most:
            found, most = words, float(theirs.mean())
    return found


def _moved(
    places: tuple[np.ndarray, ...], shape: tuple[int, ...], swapped: bool, signs: tuple[int, ...]
) -> tuple[np.ndarray, ...] | None:
    """Where a copy's voxels are; None where the grid does not allow it."""
    if swapped and shape[0] != shape[1]:
        return None
    x, y, z = places
    axes = (y, x, z) if swapped else (x, y, z)
    return tuple(axis if sign > 0 else length - 1 - axis for axis, length, sign in zip(axes, shape, signs, strict=True))


def _turn_remedy(copy: str) -> str:
    return f"The mask was written {copy}: export it again, and look at it over the scan."
