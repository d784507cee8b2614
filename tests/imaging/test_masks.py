"""Masks held against their scan: blood passes however it looks, and what cannot be blood does not."""

import numpy as np
import pytest

from hepred_lib.imaging.scans import mask_faults

SPACING = (2.0, 2.0, 5.0)
BRAIN_HU = 30.0


def scan(inside, *, copy_hu=BRAIN_HU):
    """A block of 8 x 8 x 2 voxels of these HU in brain, another one opposite to it, and the first one's mask."""
    hu = BRAIN_HU + np.random.default_rng(0).normal(0, 2, (44, 44, 10))
    mask = np.zeros(hu.shape, dtype=bool)
    mask[26:34, 8:16, 4:6] = True
    hu[mask] = np.resize(inside, 128)
    hu[::-1][mask] = copy_hu
    return hu, mask


def faults(hu, mask, **options):
    return mask_faults(mask, hu, SPACING, brain_hu=BRAIN_HU, bone_hu=150.0, **options)


INSIDE = {
    "fresh": ([60], {}, []),
    "clotted": ([90], {}, []),
    "anemic": ([42, 34, 38, 40], {}, []),
    "blend": ([58, 58, 28, 28], {}, []),
    "fluid level": ([60, 60, 60, 10], {}, []),
    "nearly isodense": ([36, 37, 41, 44], {}, []),
    "calcified": ([70, 70, 70, 400], {}, []),
    "a second one on the other side": ([55], {"copy_hu": 70}, []),
    "brain": ([28, 29, 30, 31], {}, [("refuse", "a median of 30 HU where brain has 30")]),
    "hardly denser": ([32, 33, 34, 35], {}, [("warn", "a median of 34 HU where brain has 30")]),
    "opposite to bone": ([32, 33, 34, 35], {"copy_hu": 800}, [("warn", "a median of 34 HU where brain has 30")]),
    "with edema": ([24] * 5 + [60] * 3, {}, [("warn", "a median of 24 HU where brain has 30")]),
    "diluted in the ventricles": ([30, 32], {"ventricular": True}, []),
    "fluid": ([5, 8, 10], {"ventricular": True}, [("refuse", "a median of 8 HU where brain has 30: fluid")]),
    "air": ([60, 60, 60, -1000], {}, [("refuse", "air or fat in 25% of its voxels")]),
    "bone": ([60, 900], {}, [("refuse", "bone in 50% of its voxels")]),
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_a_mask_covers_decides(name):
    inside, options, expected = INSIDE[name]
    found = faults(*scan(inside, copy_hu=options.get("copy_hu", BRAIN_HU)), ventricular="ventricular" in options)
    assert [(fault.severity, fault.value) for fault in found] == expected


def test_an_empty_mask_a_brain_of_unknown_hu_and_few_voxels_refuse_nothing():
    hu, mask = scan([28])
    assert faults(hu, np.zeros_like(mask)) == []
    assert mask_faults(mask, hu, SPACING, brain_hu=np.nan, bone_hu=150.0) == []
    mask[27:] = mask[:, 9:] = False
    assert [fault.severity for fault in faults(hu, mask)] == ["warn"]


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (lambda mask: mask[::-1], "mirrored left-right"),
        (lambda mask: mask[:, ::-1], "mirrored front-back"),
        (lambda mask: mask[::-1, ::-1], "LPS and RAS exchanged"),
        (lambda mask: mask.swapaxes(0, 1), "x and y exchanged (transposed)"),
    ],
)
def test_blood_under_the_mirrored_copy_names_the_mirror(turn, words):
    hu, mask = scan([60])
    (fault,) = faults(hu, turn(mask))
    assert words in fault.value


def test_a_mirrored_mask_that_still_covers_half_of_the_hematoma_is_found():
    hu, mask = scan([60])
    hu, mask = np.roll(hu, -6, axis=0), np.roll(mask, -6, axis=0)  # across the middle of the grid
    (fault,) = faults(hu, mask[::-1])
    assert "mirrored left-right" in fault.value
    assert faults(hu, mask) == []
