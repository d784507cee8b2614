"""Which series are a patient's first non-contrast head CT and its follow-up.

Every series that is left out has its reason, and a reader's word stands above every rule.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from hepred_lib.errors import ManifestError
from hepred_lib.intake.identity import identity_conflicts, only_the_folder_says
from hepred_lib.intake.series import Series
from hepred_lib.intake.words import Said, Words, load_words

# --- verdict: What the header of one series says: whether it may be a native head CT, what speaks against it,

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


# --- choice: Which series are a patient's first non-contrast head CT and its follow-up

USES = ("baseline", "followup", "none")
USUAL_THICKNESS_MM = 5.0
# Follow-up of most cohorts is planned for a day after the first scan, and is within three.
FOLLOWUP_H, USUAL_FOLLOWUP_H = (1.0, 72.0), 24.0


@dataclass(frozen=True)
class Choice:
    """What one series is used as: ``baseline``, ``followup`` or ``none``, and why.

    ``unsure`` where the header's words are silent or contradict each other: a person should look.
    """

    series: Series
    use: str
    reason: str
    unsure: bool = False


def choose(
    found: Iterable[Series], by_hand: Mapping[str, str] | None = None, words: Words | None = None
) -> list[Choice]:
    """One choice a series, in the order given.

    A head series whose header says neither native nor contrast is usual, and native where nothing speaks for contrast:
    it is taken without doubt unless another acquisition of the same study, of a soft kernel too, says as little, or the
    protocol or study is named after contrast and no other series of the study is the one with contrast. Of several such
    the first is proposed, since contrast is given after the native scan. A doubtful choice is marked ``unsure``.

    Parameters
    ----------
    found : iterable of Series
    by_hand : mapping of str to str, optional
        From SeriesInstanceUID to ``baseline``, ``followup`` or ``none``: a reader's word. A use that is given by hand
        to one series is taken from the others of that patient.
    words : Words, optional
        The package's own by default.

    Raises
    ------
    ManifestError
        Two series of one patient that are the baseline, or the follow-up, by hand.
    """
    found, by_hand, words = list(found), by_hand or {}, words or load_words()
    conflicts = identity_conflicts(found, words)
    times = Counter(series.uid for series in found)
    chosen: dict[int, Choice] = {}
    # By place, not by uid: one uid may be under two patients, and neither may vanish.
    for _, group in groupby(sorted(range(len(found)), key=lambda k: found[k].patient), key=lambda k: found[k].patient):
        part = {k: found[k] for k in group}
        told = {k: by_hand[s.uid] for k, s in part.items() if s.uid in by_hand}
        told = {k: use for k, use in told.items() if use == "none" or times[part[k].uid] == 1}
        _require_one_each(part, told)
        chosen |= {k: Choice(part[k], use, "by hand") for k, use in told.items()}
        doubtful = {k: conflicts[s.uid] for k, s in part.items() if s.uid in conflicts and k not in told}
        chosen |= {k: Choice(part[k], "none", reason) for k, reason in doubtful.items()}
        free = {k: series for k, series in part.items() if k not in chosen}
        first = next((part[k] for k, use in told.items() if use == "baseline"), None)
        for k, choice in zip(free, _of_one_patient(list(free.values()), words, first), strict=True):
            taken = choice.use != "none" and choice.use in told.values()
            chosen[k] = Choice(choice.series, "none", f"another is the {choice.use} by hand") if taken else choice
    return [chosen[k] for k in range(len(found))]


def reason_against(series: Series, words: Words | None = None) -> str:
    """Why a series is no non-contrast head CT; empty if it may be one."""
    return judge(series, words or load_words()).against


def hours_between(first: Series, later: Series) -> float:
    """Hours from one scan to another; NaN where a time is not known."""
    if first.taken_at is None or later.taken_at is None:
        return float("nan")
    return (later.taken_at - first.taken_at).total_seconds() / 3600


def _require_one_each(part: Mapping[int, Series], told: Mapping[int, str]) -> None:
    """Refuse two baselines, or two follow-ups, of one patient by hand: one would replace the other."""
    for use in USES[:2]:
        numbers = [str(part[k].number) for k, by in told.items() if by == use]
        if len(numbers) > 1:
            raise ManifestError(
                f"by_hand must name one {use} for each patient, got {len(numbers)} for one: series "
                f"{' and '.join(numbers)} (series.csv)."
            )


def _of_one_patient(found: Sequence[Series], words: Words, first: Series | None) -> list[Choice]:
    """A choice for each series, in the order given; ``first`` is the first scan where a reader has said it."""
    verdicts = [judge(series, words) for series in found]
    reasons = {id(v.series): Choice(v.series, "none", v.against) for v in verdicts if v.against}
    doubt = ("PatientID is empty, and only the folder says whose it is",) if only_the_folder_says(found, words) else ()
    scans = []
    for _, group in groupby(sorted(verdicts, key=lambda v: v.series.study), key=lambda v: v.series.study):
        study = list(group)
        ranked = sorted((_among(v, study) for v in study if not v.against), key=_rank)
        scans += [replace(best, doubts=(*best.doubts, *doubt)) for best in ranked[:1]]
        for other in ranked[1:]:
            reasons[id(other.series)] = Choice(other.series, "none", "another series of this study suits better")
    for choice in _in_time(scans, first):
        reasons[id(choice.series)] = choice
    return [reasons[id(series)] for series in found]


def _among(verdict: Verdict, study: Sequence[Verdict]) -> Verdict:
    """A verdict that says neither native nor contrast, in the light of the other series of the study."""
    if verdict.native or verdict.contradicts:
        return verdict
    heads = [v for v in study if v is not verdict and not v.against]
    apart = [v for v in heads if acquired_apart(v.series, verdict.series)]
    natives = [v for v in heads if v.native]
    rivals = [v for v in apart if not (v.native or v.contradicts or v.sharp)]
    doubt = ""
    if natives and all(v in apart for v in natives):
        doubt = f"{NOT_SAID}, and another series of the study is native"
    elif rivals and not natives:
        doubt = f"{NOT_SAID}, and {len(rivals)} more of the study may be native"
    elif verdict.hint and not any(v.with_contrast for v in study):
        doubt = verdict.hint
    hours = [hours_between(v.series, verdict.series) for v in rivals]
    return replace(verdict, doubts=(*verdict.doubts, *filter(None, [doubt])), after_h=max(np.nan_to_num([0.0, *hours])))


def _rank(verdict: Verdict) -> tuple:
    """Best first: without doubt, of a soft kernel, named native, original, early, of slices near 5 mm, of many."""
    series = verdict.series
    thickness = series.thickness_mm if np.isfinite(series.thickness_mm) else 0.0
    return (
        verdict.contradicts,
        bool(verdict.doubts),
        verdict.sharp,
        not verdict.native,
        "ORIGINAL" not in series.image_type,
        verdict.after_h,
        abs(thickness - USUAL_THICKNESS_MM),
        -len(series.places_mm),
        series.number,
        series.uid,
    )


def _in_time(scans: Sequence[Verdict], first: Series | None) -> list[Choice]:
    """The first scan, and of the later ones within three days the one nearest to a day after it."""
    if first is None and len(scans) > 1:
        if any(scan.series.taken_at is None for scan in scans):
            return [_not_in_order(scan, len(scans), "first", "a time is missing") for scan in scans]
        start = min(scan.series.taken_at for scan in scans)
        equal = sum(scan.series.taken_at == start for scan in scans)
        if equal > 1:
            return [_not_in_order(scan, equal, "first", "their times are equal") for scan in scans]
    choices, later = [], list(scans)
    if first is None and scans:
        scan = min(scans, key=lambda scan: len(scans) > 1 and scan.series.taken_at.isoformat())
        first, choices = scan.series, [_use(scan, "baseline", "the first")]
        later.remove(scan)
    return choices + _after(first, later)


def _after(first: Series | None, later: Sequence[Verdict]) -> list[Choice]:
    """What the other scans are used as, by their hours after the first."""
    hours = {id(scan): hours_between(first, scan.series) for scan in later}
    within = [scan for scan in later if FOLLOWUP_H[0] <= hours[id(scan)] <= FOLLOWUP_H[1]]
    chosen = min(within, key=lambda scan: abs(hours[id(scan)] - USUAL_FOLLOWUP_H), default=None)
    equal = [scan for scan in within if scan.series.taken_at == chosen.series.taken_at]
    choices = []
    for scan in later:
        if scan in equal and len(equal) > 1:
            choices.append(_not_in_order(scan, len(equal), "follow-up", "their times are equal"))
        elif np.isnan(hours[id(scan)]):
            choices.append(Choice(scan.series, "none", "the time between it and the first is not known"))
        else:
            choices.append(_use(scan, "followup" if scan is chosen else "none", _apart(hours[id(scan)])))
    return choices


def _apart(hours: float) -> str:
    return f"{hours:.1f} h after the first" if hours >= 0 else f"{-hours:.1f} h before the first"


def _not_in_order(scan: Verdict, count: int, which: str, why: str) -> Choice:
    return Choice(scan.series, "none", f"which of {count} studies is the {which} is not said: {why}")


def _use(scan: Verdict, use: str, reason: str) -> Choice:
    """A choice with its doubts."""
    if use == "none" or not scan.doubts:
        return Choice(scan.series, use, reason)
    return Choice(scan.series, use, f"{reason}; unsure: {'; '.join(scan.doubts)}", unsure=True)
