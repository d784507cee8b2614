"""What the header of one series says: whether it may be a native head CT, what speaks against it, what is in doubt.

The texts of a header are heard from the nearest to the farthest: the series' own description before that of the
protocol and of the study, for both are often named after all that is done in them ("CT head nativ + KM").

=============================================== ====================================================================
own description says contrast only              against: "named as with contrast"
agent given, no text says native                against: "contrast agent"
agent given, but a text says native             doubt
own description says both                       doubt
nearest text that says anything says native     native
agent "NONE", "0", "ohne" ...                   native
nothing, or only protocol and study say         silent: the other series of the study decide (``choice``)
contrast
=============================================== ====================================================================

For the part of the body the series' own description counts before BodyPartExamined, which is often that of the
protocol; where the two contradict each other there is a doubt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hepred_lib.intake.series import Series
from hepred_lib.intake.words import Said, Words

HEAD_PARTS = ("HEAD", "BRAIN", "SKULL", "NEURO", "CRANIUM", "CEREBR")
LEAST_SLICES, LEAST_EXTENT_MM = 8, 80.0
AXIAL = 0.7  # cosine with the body's axis: gantries tilt by 30 degrees at most

# Kernels by their names: Siemens H60s, Hr64; GE BONEPLUS; Canon FC30, FC81; Philips YA to YE.
_SHARP_KERNEL = re.compile(
    r"bone|edge|sharp|lung|detail|\b[bhuq][hrvfcl]?(5[5-9]|[6-9]\d)|\bfc(3\d|5\d|8\d)|\by[a-e]\b"
)
_RENDERED = {"MIP", "3D", "VRT", "VOLREN", "PROJECTION IMAGE", "SCREEN SAVE", "SCREENSAVE"}
NOT_SAID = "the header does not say whether contrast was given"


@dataclass(frozen=True)
class Verdict:
    """What one header says.

    Attributes
    ----------
    series : Series
    against : str
        Why it is no native head CT; empty if it may be one.
    with_contrast : bool
        Whether contrast is what is against it.
    doubts : tuple of str
        Contradictions and what is not said, each with its reason.
    contradicts : bool
        Whether the header contradicts itself about contrast.
    native : bool
        Whether it says that no contrast was given.
    hint : str
        Where only protocol or study name contrast: that, as a reason for doubt.
    sharp : bool
        Of a kernel for bone or lung.
    after_h : float
        Hours after the earliest series of its study that says as little of contrast.
    """

    series: Series
    against: str = ""
    with_contrast: bool = False
    doubts: tuple[str, ...] = ()
    contradicts: bool = False
    native: bool = False
    hint: str = ""
    sharp: bool = False
    after_h: float = 0.0


def judge(series: Series, words: Words) -> Verdict:
    """Judge one series by its header alone."""
    heard = [words.read(text) for text in series.texts if text.strip()] or [words.read(series.description)]
    contrast = _contrast(series, heard, words)
    not_head, part_doubt = _part(series, heard, words)
    against = _no_picture(series, heard[0]) or contrast.against or not_head or _no_head(series)
    return Verdict(
        series,
        against=against,
        with_contrast=bool(contrast.against),
        doubts=(*contrast.doubts, *filter(None, [part_doubt])),
        contradicts=bool(contrast.doubts),
        native=contrast.native,
        hint=contrast.hint,
        sharp=bool(_SHARP_KERNEL.search(series.kernel.lower())) or _named_sharp(series, heard[0]),
    )


def _no_picture(series: Series, own: Said) -> str:
    """Why it is no CT image in HU."""
    if series.modality != "CT":
        return f"modality {series.modality or 'unknown'}"
    if "LOCALIZER" in series.image_type:
        return "an overview or a record: ImageType LOCALIZER"
    if own.overview:
        return f"an overview or a record: '{own.overview}'"
    rendered = next((kind for kind in series.image_type if kind in _RENDERED), own.rendering)
    return f"a rendering: '{rendered}'" if rendered else ""


def _contrast(series: Series, heard: Sequence[Said], words: Words) -> Verdict:
    """The part of the verdict that is about contrast."""
    agent, own = series.contrast.strip()[:40], heard[0]
    given = words.agent_given(series.contrast)
    says = next((said for said in heard if said.contrast or said.native), Said())
    if given and not says.native:
        return Verdict(series, against=f"contrast agent '{agent}'")
    if own.contrast and not own.native:
        return Verdict(series, against=f"named as with contrast: '{own.contrast}'")
    if given:
        return Verdict(series, doubts=(f"contrast agent '{agent}', but named '{says.native}'",))
    if own.contrast and own.native:
        named = " and ".join(dict.fromkeys((f"'{own.native}'", f"'{own.contrast}'")))
        return Verdict(series, doubts=(f"named as with and without contrast: {named}",))
    if given is False or (says.native and not says.contrast):
        return Verdict(series, native=True)
    if agent:
        return Verdict(series, doubts=(f"{NOT_SAID} (agent '{agent}')",))
    return Verdict(series, hint=f"{NOT_SAID}, the examination is named '{says.contrast}'" if says.contrast else "")


def _part(series: Series, heard: Sequence[Said], words: Words) -> tuple[str, str]:
    """Why it is no head, and what is in doubt about that; each empty where there is nothing."""
    own, *wider = heard
    said, part = words.read(series.body_part), series.body_part
    head = bool(said.head) or any(name in part.upper() for name in HEAD_PARTS)
    other = not head and not words.says_no_part(part)
    if own.elsewhere and not own.head:
        return f"named as of another part: '{own.elsewhere}'", ""
    # Where the texts are not told apart, the head may be the study's and not the series'.
    if other and (not own.head or own.elsewhere or not series.texts):
        return f"of the {part.lower()}", ""
    if own.head and (own.elsewhere or (said.elsewhere and not head)):
        return "", f"named '{own.head}', and '{own.elsewhere or part}'"
    if own.head:
        return "", ""
    named = next((text for text in wider if text.head or text.elsewhere), Said())
    if head:
        odd = named.elsewhere and not named.head
        return "", f"BodyPartExamined is {part}, the examination is named '{named.elsewhere}'" if odd else ""
    if named.elsewhere and not named.head:
        return f"named as of another part: '{named.elsewhere}'", ""
    return "", "" if named.head and not named.elsewhere else "the header does not say which part of the body it shows"


def _no_head(series: Series) -> str:
    """Why the slices are not those of a whole head."""
    if not series.places_mm:
        return "no slice has a place"
    if series.fault:
        return series.fault
    if series.upright < AXIAL:
        return "not axial"
    slices, extent = len(series.places_mm), series.extent_mm
    if slices < LEAST_SLICES or extent < LEAST_EXTENT_MM:
        return f"{slices} slices over {extent:.0f} mm, a head needs {LEAST_SLICES} over {LEAST_EXTENT_MM:.0f} mm"
    hole = series.hole_mm
    return f"slices are missing: a gap of {hole:.1f} mm" if hole > 0 else ""


def _named_sharp(series: Series, own: Said) -> bool:
    by_kernel = _SHARP_KERNEL.search((series.texts or (series.description,))[0].lower())
    return bool(by_kernel or own.sharp) and not own.soft


def acquired_apart(one: Series, other: Series, seconds: float = 60.0) -> bool:
    """Whether two series may be of two acquisitions: their times differ, or are not known."""
    if one.taken_at is None or other.taken_at is None:
        return True
    return abs((one.taken_at - other.taken_at).total_seconds()) > seconds
