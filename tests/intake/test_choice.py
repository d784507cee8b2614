"""Which series is the first head CT, which its follow-up, and why the others are not."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from hepred_lib.errors import ManifestError
from hepred_lib.intake.choice import Choice, choose
from hepred_lib.intake.series import Series
from hepred_lib.intake.words import load_words

FIRST = Series(
    patient="A",
    study="1",
    uid="1.1",
    number=2,
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
    texts=("Head 5.0 H31s", "", ""),
)


WARD = [
    *("post op", "Kopf post", "post EVD", "post Trauma", "post-OP Kontrolle", "ICU monitoring", "low dose", "Head 5.0"),
    *("post iv lysis", "Schädel nach Lyse", "Crâne post-op", "头颅术后", "頭部 術後", "두부 저선량", "głowa po EVD"),
]


def later(hours: float, archive: int = 9, **changes: object) -> Series:
    """A scan of another study, some hours after the first."""
    uid = f"{archive}.{hours:g}"
    return replace(FIRST, study=uid, uid=f"{uid}.1", taken_at=FIRST.taken_at + timedelta(hours=hours), **changes)


def named(series: str = "", protocol: str = "", study: str = "", **changes: object) -> Series:
    """The first scan, with its three descriptions apart."""
    return replace(FIRST, texts=(series, protocol, study), **changes)


def chosen(*found: Series) -> Choice:
    """The one series that is proposed as the first scan."""
    (choice,) = (choice for choice in choose(found) if choice.use == "baseline")
    return choice


def uses(*found: Series, **by_hand: str) -> list[str]:
    return [choice.use for choice in choose(found, by_hand.get("told"))]


HOLE = tuple(z for z in np.arange(0.0, 150.0, 5.0) if z != 70)
THICKER = (*np.arange(0.0, 40.0, 4.0), *np.arange(40.0, 150.0, 7.0))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modality": "MR"}, "modality MR"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "an overview or a record"),
        ({"image_type": ("DERIVED", "SECONDARY", "AXIAL", "MIP")}, "a rendering"),
        *(({"texts": (name, "", "")}, "named as with contrast") for name in ("cta", "head with contrast", "perfusion")),
        ({"places_mm": ()}, "no image has a position and an orientation"),
        ({"upright": 0.1}, "not axial"),
        ({"places_mm": (0.0, 5.0, 10.0)}, "3 slices over 10 mm"),
        ({"places_mm": HOLE}, "slices are missing: a gap of 10.0 mm"),
        *(({"texts": (f"{name} head", "", "")}, "") for name in ("non-contrast", "unenhanced", "w/o contrast 5mm")),
        *(({"contrast": "NONE"}, ""), ({"body_part": ""}, ""), ({"upright": 0.9}, ""), ({"places_mm": THICKER}, "")),
        ({}, ""),
    ],
)
def test_what_is_no_first_scan_says_why(changes, reason):
    (choice,) = choose([replace(FIRST, **changes)])
    assert choice.use == ("none" if reason else "baseline")
    assert choice.reason.startswith(reason)


@pytest.mark.parametrize(
    "worse",
    [
        {"kernel": "H60s", "number": 1},
        {"kernel": "BONEPLUS", "number": 1},
        {"texts": ("head bone", "", ""), "number": 1},
        {"image_type": ("DERIVED", "SECONDARY", "AXIAL"), "number": 1},
        {"thickness_mm": 0.75, "number": 1},
        {"number": 3},
    ],
)
def test_the_better_series_of_a_study_is_taken(worse):
    other = replace(FIRST, uid="1.0", **worse)
    assert uses(other, FIRST) == ["none", "baseline"]
    assert uses(FIRST, other) == ["baseline", "none"]


BONE, COPY = replace(FIRST, uid="1.0", kernel="H60s"), replace(FIRST, study="2", uid="2.1")
UNDATED = replace(COPY, taken_at=None)
USES = [
    ((later(70), FIRST, later(20), later(0.5)), None, ["none", "baseline", "followup", "none"]),  # nearest to a day
    ((FIRST, later(70)), None, ["baseline", "followup"]),
    ((FIRST, later(73)), None, ["baseline", "none"]),  # within three
    ((FIRST, later(24, texts=("cta", "", ""))), None, ["baseline", "none"]),
    ((FIRST, later(24, patient="B")), None, ["baseline", "baseline"]),
    ((FIRST, later(24), later(24, 8)), None, ["baseline", "none", "none"]),
    ((FIRST, replace(FIRST, uid="1.2", number=3)), None, ["baseline", "none"]),
    ((FIRST, COPY, later(24)), None, ["none", "none", "none"]),
    ((FIRST, later(24), later(60), later(60, 8)), None, ["baseline", "followup", "none", "none"]),
    ((UNDATED,), None, ["baseline"]),
    ((FIRST, UNDATED), None, ["none", "none"]),
    ((FIRST, COPY), {"1.1": "baseline", "2.1": "none"}, ["baseline", "none"]),
    ((FIRST, BONE, later(24)), {"1.0": "baseline"}, ["none", "baseline", "followup"]),
    ((FIRST, later(24)), {"9.24.1": "none"}, ["baseline", "none"]),
    ((replace(FIRST, body_part="CHEST"),), {"1.1": "baseline"}, ["baseline"]),
    ((FIRST, later(24), later(48)), {"9.24.1": "baseline"}, ["none", "baseline", "followup"]),
]


@pytest.mark.parametrize(("found", "told", "expected"), USES)
def test_one_scan_is_the_first_and_one_the_follow_up_and_a_readers_word_stands_above_every_rule(found, told, expected):
    assert uses(*found, told=told) == expected


def test_two_series_that_are_the_baseline_by_hand_are_refused():
    with pytest.raises(ManifestError, match="by_hand must name one baseline for each patient, got 2 for one"):
        uses(FIRST, later(24), told={"1.1": "baseline", "9.24.1": "baseline"})


NO_ORDER = "which of 2 studies is the %s is not said: %s"


@pytest.mark.parametrize(
    ("found", "told", "reason"),
    [
        ((FIRST, later(24)), {"9.24.1": "baseline"}, "24.0 h before the first"),
        ((FIRST, COPY), None, NO_ORDER % ("first", "their times are equal")),
        ((FIRST, UNDATED), None, NO_ORDER % ("first", "a time is missing")),
        ((later(24), FIRST, later(24, 8)), None, NO_ORDER % ("follow-up", "their times are equal")),
    ],
)
def test_a_study_of_another_time_or_of_none_says_why_it_is_not_taken(found, told, reason):
    assert choose(found, told)[0].reason == reason


@pytest.mark.parametrize("text", WARD)
def test_words_of_the_ward_are_no_contrast_and_no_overview(text):
    choice = chosen(named(text))
    assert (choice.reason, choice.unsure) == ("the first", False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"series": "5.0 H31s", "body_part": ""}, "the header does not say which part of the body it shows"),
        ({"series": "axial nativ", "body_part": "UNKNOWN"}, "the header does not say which part"),
        ({"series": "Schädel nativ", "contrast": "IOMERON"}, "contrast agent 'IOMERON', but named 'nativ"),
        ({"series": "5.0", "study": "CT without contrast", "contrast": "IOMERON"}, "contrast agent 'IOMERON', but"),
        ({"series": "Kopf nativ + KM"}, "named as with and without contrast: 'nativ"),
        ({"series": "Kopf mit und ohne KM", "contrast": "IOMERON"}, "contrast agent 'IOMERON', but named"),
        ({"series": "Head 5.0", "study": "CTA head"}, "the header does not say whether contrast was given"),
        ({"series": "Head 5.0", "contrast": "UNKNOWN"}, "the header does not say whether contrast was given"),
        ({"series": "Head 5.0", "body_part": "CHEST"}, "named 'head', and 'CHEST'"),
        ({"series": "Head/Neck 5.0"}, "named 'head', and 'neck'"),
        ({"series": "Head", "places_mm": FIRST.places_mm[::2]}, "slices of 5 mm are 10.0 mm apart: are some missing?"),
        ({"series": "5.0 H31s", "protocol": "Thorax"}, "BodyPartExamined is HEAD, the examination is named 'thorax'"),
    ],
)
def test_what_is_silent_or_contradicts_itself_is_proposed_and_marked(changes, reason):
    choice = chosen(named(**changes))
    assert choice.unsure
    assert choice.reason.startswith(f"the first; unsure: {reason}")


@pytest.mark.parametrize(
    "changes",
    [
        {"series": "Kopf nativ 5.0", "study": "CT Schädel nativ und KM"},
        {"series": "Head 5.0", "contrast": "NONE", "study": "CTA head"},
        {"series": "nativ", "study": "CT Schädel", "body_part": ""},
        {"series": "5.0 H31s", "body_part": "頭部"},
        {"series": "5.0 H31s", "body_part": "SCHÄDEL"},
        {"series": "Head 5.0", "body_part": "UNKNOWN"},
        {"series": "Head 5.0", "body_part": "HEADNECK"},
        {"series": "5.0 H31s"},
    ],
)
def test_what_the_header_says_clearly_is_not_marked(changes):
    assert not chosen(named(**changes)).unsure


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"series": "Kopf mit KM", "study": "CT nativ"}, "named as with contrast: 'mit km'"),
        ({"series": "Topogram 0.6"}, "an overview or a record: 'topogram'"),
        ({"series": "Patientenprotokoll"}, "an overview or a record: 'Patientenprotokoll'"),
        ({"series": "HWS nativ"}, "named as of another part: 'hws'"),
        ({"series": "5.0 B31f", "body_part": "CHEST", "study": "CT head and chest"}, "of the chest"),
        ({"series": "5.0", "body_part": "", "study": "CT Thorax"}, "named as of another part: 'thorax'"),
        ({"series": "Head MIP"}, "a rendering: 'mip'"),
        ({"series": "Head 5.0", "contrast": "IOMERON 400"}, "contrast agent 'IOMERON 400'"),
    ],
)
def test_reasons_quote_the_word_that_speaks_against_a_series(changes, reason):
    (choice,) = choose([named(**changes)])
    assert (choice.use, choice.reason) == ("none", reason)


def test_the_series_with_contrast_tells_that_the_silent_one_is_native():
    silent = named("Kopf 5.0", study="CT Schädel nativ und KM")
    given = named("Kopf 5.0", uid="1.0", contrast="IOMERON", taken_at=FIRST.taken_at + timedelta(minutes=5))
    assert chosen(silent).unsure
    assert not chosen(silent, given).unsure
    assert uses(given, silent) == ["none", "baseline"]


def test_of_two_silent_acquisitions_the_first_is_proposed_and_marked():
    second = named("Head 3.0", uid="1.0", number=1, taken_at=FIRST.taken_at + timedelta(minutes=5))
    choice = chosen(second, named("Head 4.0", thickness_mm=4.0))
    assert choice.series.uid == "1.1"
    assert choice.reason == (
        "the first; unsure: the header does not say whether contrast was given, and 1 more of the study may be native"
    )


def test_reconstructions_of_one_acquisition_are_not_marked():
    thin, bone = named("Head 1.0", uid="1.2", thickness_mm=1.0), named("Head bone", uid="1.3", kernel="H60s")
    choice = chosen(thin, bone, named("Head 5.0"))
    assert (choice.series.uid, choice.unsure) == ("1.1", False)


def test_the_native_series_is_taken_before_the_silent_and_the_contradictory():
    when = FIRST.taken_at + timedelta(minutes=5)
    silent, odd = named("Head 5.0", uid="1.0", taken_at=when), named("nativ", uid="1.2", contrast="X", taken_at=when)
    choice = chosen(silent, odd, named("Head native", thickness_mm=4.0))
    assert (choice.series.uid, choice.unsure) == ("1.1", False)


def test_a_word_of_the_user_decides(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("xx: {contrast: [Spritze], native: [Blindserie]}", encoding="utf-8")
    found = [named("Kopf Spritze", uid="1.0"), named("Kopf Blindserie")]
    choices = choose(found, words=load_words(path))
    assert [(choice.use, choice.reason) for choice in choices] == [
        ("none", "named as with contrast: 'Spritze'"),
        ("baseline", "the first"),
    ]


DESCRIPTIONS = yaml.safe_load(Path(__file__).with_name("descriptions.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", sorted(DESCRIPTIONS))
def test_in_each_language_every_native_series_is_found_among_all_others(language):
    """Each native description of a language in one study with all that it has of contrast, overviews and both."""
    texts = DESCRIPTIONS[language]
    others = [text for kind in ("contrast", "both", "overview", "rendering") for text in texts.get(kind, [])]
    messy = [named(text, uid=f"2.{number}", number=0) for number, text in enumerate(others)]
    for text in texts["native"]:
        choice = chosen(*messy, named(text))
        assert (choice.series.uid, choice.unsure) == ("1.1", False), text
