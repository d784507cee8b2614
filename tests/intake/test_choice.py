"""Which series is the first head CT, which its follow-up, and why the others are not."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from hepred_lib.intake.choice import choose, reason_against
from hepred_lib.intake.series import Series

FIRST = Series(
    patient="A",
    study="1",
    uid="1.1",
    number=2,
    description="head 5.0 h31s",
    modality="CT",
    body_part="HEAD",
    contrast="",
    kernel="H31s",
    image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
    thickness_mm=5.0,
    upright=1.0,
    places_mm=tuple(np.arange(0.0, 150.0, 5.0)),
    taken_at=datetime(2024, 1, 3, 8),
    age=67.0,
    sex="F",
    files=(Path("IM0001"),),
)


def later(hours: float, **changes: object) -> Series:
    """A scan of another study, some hours after the first."""
    uid = f"9.{hours:g}"
    return replace(FIRST, study=uid, uid=f"{uid}.1", taken_at=FIRST.taken_at + timedelta(hours=hours), **changes)


def uses(*found: Series, **by_hand: str) -> list[str]:
    return [choice.use for choice in choose(found, by_hand.get("told"))]


def test_a_plain_head_ct_is_a_first_scan():
    assert reason_against(FIRST) == ""
    assert uses(FIRST) == ["baseline"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modality": "MR"}, "modality MR"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "an overview or a record"),
        ({"description": "topogram 0.6"}, "an overview or a record"),
        ({"image_type": ("DERIVED", "SECONDARY", "AXIAL", "MIP")}, "a rendering"),
        ({"contrast": "IOMERON 400"}, "contrast agent"),
        ({"description": "cta head"}, "named as with contrast"),
        ({"description": "head with contrast"}, "named as with contrast"),
        ({"description": "brain perfusion"}, "named as with contrast"),
        ({"body_part": "CHEST"}, "of the chest"),
        ({"places_mm": ()}, "no slice has a place"),
        ({"upright": 0.1}, "not axial"),
        ({"places_mm": (0.0, 5.0, 10.0)}, "3 slices over 10 mm"),
        (
            {"places_mm": tuple(z for z in np.arange(0.0, 150.0, 5.0) if z != 70)},
            "slices are missing: a gap of 10.0 mm",
        ),
    ],
)
def test_what_is_no_first_scan_says_why(changes, reason):
    (choice,) = choose([replace(FIRST, **changes)])
    assert choice.use == "none"
    assert choice.reason.startswith(reason)


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "head without contrast"},
        {"description": "non-contrast head"},
        {"description": "head w/o contrast 5mm"},
        {"description": "unenhanced brain"},
        {"contrast": "NONE"},
        {"body_part": ""},
        {"upright": np.cos(np.radians(25))},
        {"places_mm": (*np.arange(0.0, 40.0, 4.0), *np.arange(40.0, 150.0, 7.0))},
    ],
)
def test_what_may_be_a_first_scan(changes):
    assert reason_against(replace(FIRST, **changes)) == ""


@pytest.mark.parametrize(
    "worse",
    [
        {"kernel": "H60s", "number": 1},
        {"kernel": "BONEPLUS", "number": 1},
        {"description": "head bone", "number": 1},
        {"image_type": ("DERIVED", "SECONDARY", "AXIAL"), "number": 1},
        {"thickness_mm": 0.75, "number": 1},
        {"number": 3},
    ],
)
def test_the_better_series_of_a_study_is_taken(worse):
    other = replace(FIRST, uid="1.0", **worse)
    assert uses(other, FIRST) == ["none", "baseline"]
    assert uses(FIRST, other) == ["baseline", "none"]


def test_the_follow_up_is_the_scan_nearest_to_a_day_within_three():
    assert uses(later(70), FIRST, later(20), later(0.5)) == ["none", "baseline", "followup", "none"]
    assert uses(FIRST, later(70)) == ["baseline", "followup"]
    assert uses(FIRST, later(73)) == ["baseline", "none"]


def test_an_angiography_is_no_follow_up():
    assert uses(FIRST, later(24, description="cta")) == ["baseline", "none"]


def test_patients_do_not_mix():
    assert uses(FIRST, later(24, patient="B")) == ["baseline", "baseline"]


def test_studies_without_a_time_cannot_be_put_in_order():
    undated = replace(FIRST, study="2", uid="2.1", taken_at=None)
    assert uses(undated) == ["baseline"]
    assert uses(FIRST, undated) == ["none", "none"]
    assert "which of 2 studies is the first" in choose([FIRST, undated])[0].reason


def test_a_readers_word_stands_above_every_rule():
    bone = replace(FIRST, uid="1.0", kernel="H60s")
    assert uses(FIRST, bone, later(24), told={"1.0": "baseline"}) == ["none", "baseline", "followup"]
    assert uses(FIRST, later(24), told={"9.24.1": "none"}) == ["baseline", "none"]
    assert uses(replace(FIRST, body_part="CHEST"), told={"1.1": "baseline"}) == ["baseline"]
