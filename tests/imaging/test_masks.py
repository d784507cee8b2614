"""Masks held against their scan: blood passes however it looks, and what cannot be blood does not."""

import numpy as np
import pytest

from hepred_lib.imaging.scans import mask_faults

SPACING = (2.0, 2.0, 5.0)
BRAIN_HU = 30.0


def scan(inside, *, copy_hu=BRAIN_HU, shape=(40, 44, 10)):
    """A block of 8 x 8 x 2 voxels of these HU in brain, another one opposite to it, and the first one's mask."""
    hu = np.full(shape, BRAIN_HU) + np.random.default_rng(0).normal(0, 2, shape)
    mask = np.zeros(shape, dtype=bool)
    mask[26:34, 8:16, 4:6] = True
    hu[mask] = np.resize(inside, 128)
    hu[::-1][mask] = copy_hu
    return hu, mask


def faults(hu, mask, **options):
    return mask_faults(mask, hu, SPACING, brain_hu=BRAIN_HU, bone_hu=150.0, **options)


@pytest.mark.parametrize(
    "inside",
    [[60], [45], [90], [42, 34, 38, 40], [58, 58, 28, 28], [60, 60, 60, 10], [36, 37, 41, 44], [70, 70, 70, 400]],
    ids=["fresh", "thin", "clotted", "anemic", "blend", "fluid level", "nearly isodense", "calcified"],
)
def test_a_hematoma_passes_however_it_looks(inside):
    assert faults(*scan(inside)) == []


def test_an_empty_mask_passes():
    hu, mask = scan([60])
    assert faults(hu, np.zeros_like(mask)) == []


def test_brain_is_refused_and_what_is_hardly_denser_is_warned_of():
    (brain,), (doubtful,) = faults(*scan([28, 29, 30, 31])), faults(*scan([32, 33, 34, 35]))
    assert (brain.severity, brain.rule, brain.value) == (
        "refuse",
        "cover blood, denser than brain",
        "a median of 30 HU where brain has 30",
    )
    assert doubtful.severity == "warn"


def test_a_mask_that_includes_much_edema_is_warned_of_not_refused():
    (fault,) = faults(*scan([24, 24, 24, 24, 24, 60, 60, 60]))
    assert fault.severity == "warn"


def test_diluted_ventricular_blood_passes_and_fluid_does_not():
    assert faults(*scan([30, 32]), ventricular=True) == []
    (fault,) = faults(*scan([5, 8, 10]), ventricular=True)
    assert (fault.severity, fault.value) == ("refuse", "a median of 8 HU where brain has 30: fluid")


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (lambda mask: mask[::-1], "mirrored left-right"),
        (lambda mask: mask[:, ::-1], "mirrored front-back"),
        (lambda mask: mask[::-1, ::-1], "LPS and RAS exchanged"),
        (lambda mask: np.roll(mask[:, :, ::-1], 0), None),
    ],
)
def test_blood_under_the_mirrored_copy_names_the_mirror(turn, words):
    hu, mask = scan([60])
    found = faults(hu, turn(mask))
    assert [words in fault.value for fault in found] == ([True] if words else [])  # the block is symmetric in z


def test_a_mirrored_mask_that_still_covers_half_of_the_hematoma_is_found():
    hu, mask = scan([60])
    hu, mask = np.roll(hu, -8, axis=0), np.roll(mask, -8, axis=0)  # across the middle of the grid
    (fault,) = faults(hu, mask[::-1])
    assert "mirrored left-right" in fault.value
    assert faults(hu, mask) == []


def test_a_second_hematoma_on_the_other_side_is_no_mirror():
    assert faults(*scan([55], copy_hu=70)) == []


def test_bone_under_the_mirrored_copy_is_no_blood():
    found = faults(*scan([32, 33, 34, 35], copy_hu=800))
    assert [fault.severity for fault in found] == ["warn"]


def test_few_voxels_are_never_refused_for_their_hu():
    hu, mask = scan([28])
    mask[27:] = False
    mask[:, 9:] = False
    assert [fault.severity for fault in faults(hu, mask)] == ["warn"]


def test_a_brain_of_unknown_hu_refuses_no_mask():
    hu, mask = scan([30])
    assert mask_faults(mask, hu, SPACING, brain_hu=np.nan, bone_hu=150.0) == []


@pytest.mark.parametrize(
    ("slices", "spacing_mm", "value"),
    [((0, 10), (2.0, 2.0, 5.0), "1 in every voxel"), ((0, 7), (2.0, 2.0, 5.0), "1 in 70.0% of all voxels")],
)
def test_masks_beyond_any_hematoma_are_refused_by_their_volume(slices, spacing_mm, value):
    hu, mask = scan([60], shape=(80, 88, 10))
    mask[:, :, slice(*slices)] = True
    (fault,) = mask_faults(mask, hu, spacing_mm, brain_hu=BRAIN_HU, bone_hu=150.0)
    assert fault.value == value


def test_air_and_bone_under_a_mask_are_named_with_their_share():
    assert [fault.value for fault in faults(*scan([60, 60, 60, -1000]))] == ["air or fat in 25% of its voxels"]
    assert [fault.value for fault in faults(*scan([60, 900]))] == ["bone in 50% of its voxels"]
