"""Which series are a patient's first non-contrast head CT and its follow-up, and whose they are.

Every series that is left out has its reason, and a reader's word stands above every rule. Nothing is merged on a guess:
series of doubtful identity are not used until the export is corrected, or a reader's ``by_hand`` says which of them
belong together. Reasons name no patient.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from hepred_lib.cohort.rules import count_of, without_look
from hepred_lib.errors import ManifestError
from hepred_lib.intake.series import CONTIGUOUS, Series, hole_mm
from hepred_lib.intake.words import Said, Words, fold, load_words

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
    for places in _by(range(len(found)), lambda k: [found[k].patient]).values():
        part = {k: found[k] for k in places}
        told = {k: by_hand.get(series.uid, "") for k, series in part.items()}
        told = {k: use for k, use in told.items() if use == "none" or (use and times[part[k].uid] == 1)}
        _require_one_each(part, told)
        for k, series in part.items():
            if k in told:
                chosen[k] = Choice(series, told[k], "by hand")
            elif series.uid in conflicts:
                chosen[k] = Choice(series, "none", conflicts[series.uid])
        free = [k for k in part if k not in chosen]
        first = next((part[k] for k, use in told.items() if use == "baseline"), None)
        for k, choice in zip(free, _of_one_patient([part[k] for k in free], words, first), strict=True):
            taken = choice.use != "none" and choice.use in told.values()
            chosen[k] = Choice(choice.series, "none", f"another is the {choice.use} by hand") if taken else choice
    return [chosen[k] for k in range(len(found))]


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
    choices = {id(v.series): Choice(v.series, "none", v.against) for v in verdicts if v.against}
    doubt = ("PatientID is empty, and only the folder says whose it is",) if only_the_folder_says(found, words) else ()
    scans = []
    for _, study in sorted(_by(verdicts, lambda verdict: [verdict.series.study]).items()):
        ranked = sorted((_among(v, study) for v in study if not v.against), key=_rank)
        scans += [replace(best, doubts=(*best.doubts, *doubt)) for best in ranked[:1]]
        for other in ranked[1:]:
            choices[id(other.series)] = Choice(other.series, "none", "another series of this study suits better")
    choices |= {id(choice.series): choice for choice in _in_time(scans, first)}
    return [choices[id(series)] for series in found]


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
    if not scans:
        return []
    choices, later = [], list(scans)
    if first is None:
        moments = [scan.series.taken_at for scan in scans]
        earliest = min(filter(None, moments)) if all(moments) else None
        count = moments.count(earliest)
        if len(scans) > 1 and (earliest is None or count > 1):
            why = "a time is missing" if earliest is None else "their times are equal"
            return [_not_in_order(scan, len(scans) if earliest is None else count, "first", why) for scan in scans]
        scan = later.pop(moments.index(earliest))
        first, choices = scan.series, [_use(scan, "baseline", "the first")]
    hours = [hours_between(first, scan.series) for scan in later]
    within = [k for k, h in enumerate(hours) if FOLLOWUP_H[0] <= h <= FOLLOWUP_H[1]]
    best = min(within, key=lambda k: abs(hours[k] - USUAL_FOLLOWUP_H), default=-1)
    equal = [k for k in within if hours[k] == hours[best]]
    for k, (scan, h) in enumerate(zip(later, hours, strict=True)):
        if k in equal and len(equal) > 1:
            choices.append(_not_in_order(scan, len(equal), "follow-up", "their times are equal"))
        elif np.isnan(h):
            choices.append(Choice(scan.series, "none", "the time between it and the first is not known"))
        else:
            apart = f"{abs(h):.1f} h {'after' if h >= 0 else 'before'} the first"
            choices.append(_use(scan, "followup" if k == best else "none", apart))
    return choices


def _not_in_order(scan: Verdict, count: int, which: str, why: str) -> Choice:
    return Choice(scan.series, "none", f"which of {count} studies is the {which} is not said: {why}")


def _use(scan: Verdict, use: str, reason: str) -> Choice:
    """A choice with its doubts."""
    if use == "none" or not scan.doubts:
        return Choice(scan.series, use, reason)
    return Choice(scan.series, use, f"{reason}; unsure: {'; '.join(scan.doubts)}", unsure=True)


# --- verdict: what the header of one series says

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
    heard = [words.read(text) for text in series.texts if text.strip()] or [Said()]
    own, kernel = heard[0], _SHARP_KERNEL.search(series.kernel.lower())
    contrast = _contrast(series, heard, words)
    not_head, doubt = _part(series, heard, words)
    named = _SHARP_KERNEL.search(series.texts[0].lower()) or own.sharp
    return replace(
        contrast,
        against=_no_picture(series, own) or contrast.against or not_head or _no_head(series),
        with_contrast=bool(contrast.against),
        doubts=(*contrast.doubts, *filter(None, [doubt, _gaps(series)])),
        contradicts=bool(contrast.doubts),
        sharp=bool(kernel or (named and not own.soft)),
    )


def _no_picture(series: Series, own: Said) -> str:
    """Why it is no CT image in HU."""
    if series.modality != "CT":
        return f"modality {series.modality or 'unknown'}"
    overview = "ImageType LOCALIZER" if "LOCALIZER" in series.image_type else own.overview and f"'{own.overview}'"
    if overview:
        return f"an overview or a record: {overview}"
    rendered = next((kind for kind in series.image_type if kind in _RENDERED), own.rendering)
    return f"a rendering: '{rendered}'" if rendered else ""


def _contrast(series: Series, heard: Sequence[Said], words: Words) -> Verdict:
    """The part of the verdict that is about contrast."""
    agent, own, given = series.contrast.strip()[:40], heard[0], words.agent_given(series.contrast)
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
    own, part = heard[0], series.body_part
    said = words.read(part)
    head = bool(said.head) or any(name in part.upper() for name in HEAD_PARTS)
    other = not head and not words.says_no_part(part)
    wider = next((text for text in heard[1:] if text.head or text.elsewhere), Said())
    if own.elsewhere and not own.head:
        return f"named as of another part: '{own.elsewhere}'", ""
    if other and (not own.head or own.elsewhere):
        return f"of the {part.lower()}", ""
    if not own.head and not head and wider.elsewhere and not wider.head:
        return f"named as of another part: '{wider.elsewhere}'", ""
    if own.head:
        doubtful = own.elsewhere or (said.elsewhere and not head)
        return "", f"named '{own.head}', and '{own.elsewhere or part}'" if doubtful else ""
    if head:
        odd = wider.elsewhere and not wider.head
        return "", f"BodyPartExamined is {part}, the examination is named '{wider.elsewhere}'" if odd else ""
    known = wider.head and not wider.elsewhere
    return "", "" if known else "the header does not say which part of the body it shows"


def _no_head(series: Series) -> str:
    """Why the slices are not those of a whole head."""
    slices, extent, hole = len(series.places_mm), series.extent_mm, hole_mm(series.places_mm)
    if not slices or series.fault:
        return series.fault if slices else "no image has a position and an orientation"
    if series.upright < AXIAL:
        return "not axial"
    if slices < LEAST_SLICES or extent < LEAST_EXTENT_MM:
        got = f"{count_of(slices, 'slice')} over {extent:.0f} mm"
        return f"{got}, a head needs {LEAST_SLICES} over {LEAST_EXTENT_MM:.0f} mm"
    return f"slices are missing: a gap of {hole:.1f} mm" if hole > 0 else ""


def _gaps(series: Series) -> str:
    """A doubt where slices lie so far apart that every second one may be missing."""
    gap = float(np.median(np.diff(series.places_mm))) if len(series.places_mm) > 1 else 0.0
    wide = gap > CONTIGUOUS * series.thickness_mm  # False where the thickness is not known
    return f"slices of {series.thickness_mm:g} mm are {gap:.1f} mm apart: are some missing?" if wide else ""


def acquired_apart(one: Series, other: Series) -> bool:
    """Whether two series may be of two acquisitions: their times differ by more than a minute, or are not known."""
    return not abs(hours_between(one, other)) <= 1 / 60  # NaN too


# --- identity: whether what is called one patient is one person, and one UID one patient's

_NO_DAYS = ("19000101", "18000101", "00010101", "00000000", "11111111", "99991231", "18991230", "18991231")
_SEXES = {"m": "M", "male": "M", "mannlich": "M", "f": "F", "female": "F", "w": "F", "weiblich": "F"}
_AGE_YEARS = 2  # ages are whole years, and dates may have been shifted
_ALIKE = 0.8  # of two names: a letter or two differ
_OTHER_SCRIPT = r"[\u0370-\u1fff\u3040-\ud7ff]"
_EXPORT = "correct the export"
_BY_HAND = f"{_EXPORT}, or mark this patient's series in by_hand"


def identity_conflicts(found: Iterable[Series], words: Words | None = None) -> dict[str, str]:
    """Series that must not be used because it is not sure whose they are.

    Refused are a SeriesInstanceUID, StudyInstanceUID or SOPInstanceUID under two patients, a SeriesInstanceUID in two
    studies, a PatientID with two names, birth dates, sexes or ages, and one that differs from another only in case,
    separators or leading zeros, where nothing else tells the two apart. All series of such a patient are refused, for
    the first scan may be among the doubtful ones.

    Names are compared without case, accents, blanks and carets, in any order, and in the script that both have. Names
    that still differ count as one person's only where birth date and sex agree and part of the name stays, or all but a
    letter or two (a maiden name, a spelling). A placeholder as PatientID ("ANONYMOUS", "0") is refused unless it has
    one study only, or one name and birth date in every series. Where PatientID is empty, the first folder is the
    patient: refused where its series say two persons, and where it is the only patient, with several studies and no
    name.

    Parameters
    ----------
    found : iterable of Series
    words : Words, optional
        Of whose section ``nobody`` the placeholders are.

    Returns
    -------
    dict of str to str
        From the uid of a series to the reason with its remedy.
    """
    words = words or load_words()
    found = [_cleaned(series, words) for series in found]
    shared = _shared_uids(found)
    groups = _by(found, lambda series: [series.patient])
    alike = _by(
        (patient for patient, part in groups.items() if part[0].has_patient_id), lambda name: [without_look(name)]
    )
    conflicts = {}
    for patient, part in groups.items():
        of_uids = next((shared[series.uid] for series in part if series.uid in shared), "")
        reason = _not_one_person(part, nobody=words.is_nobody(patient), alone=len(groups) == 1)
        twins = [groups[name] for name in alike.get(without_look(patient), ()) if patient != name]
        if not reason and any(not any(_differing(a, b) for a in part for b in twin) for twin in twins):
            reason = f"PatientID differs from another only in case, separators or leading zeros: {_BY_HAND}"
        if not reason and of_uids:
            reason = f"another series of this patient is in doubt: {of_uids}"
        for series in part:
            if series.uid in shared or reason:
                conflicts[series.uid] = shared.get(series.uid, reason)
    return conflicts


def only_the_folder_says(part: Iterable[Series], words: Words) -> bool:
    """Whether several studies are one patient's for no other reason than the folder that they are in."""
    part = [_cleaned(series, words) for series in part]
    several = len({series.study for series in part}) > 1
    return several and not all(s.has_patient_id for s in part) and not all(s.names for s in part)


def _cleaned(series: Series, words: Words) -> Series:
    """The series without what stands for no name, no birth date and no sex."""
    dates = {re.sub(r"\D", "", date)[:8] for date in series.birth_dates}
    return replace(
        series,
        names=frozenset(name for name in series.names if not words.is_nobody(name)),
        birth_dates=frozenset(date for date in dates if len(date) >= 4 and date not in _NO_DAYS),
        sexes=frozenset(_SEXES[fold(sex)] for sex in series.sexes if fold(sex) in _SEXES),
    )


def _shared_uids(found: Sequence[Series]) -> dict[str, str]:
    """Reasons against series with a number that belongs to another patient too, or to another study."""
    shared: dict[str, str] = {}
    by_uid = _by(found, lambda series: [series.uid.partition("#")[0]])  # without the number of a stack under it
    for name, groups in (
        ("SeriesInstanceUID", by_uid),
        ("StudyInstanceUID", _by(found, lambda series: filter(None, [series.study]))),
        ("SOPInstanceUID", _by(found, lambda series: series.instances)),
    ):
        for part in groups.values():
            if len({series.patient for series in part}) > 1:
                reason = f"one {name} under two patients: {_EXPORT}"
                if not all(series.has_patient_id for series in part):
                    remedy = "put each patient into one folder of SOURCE"
                    reason = f"PatientID is empty, and one {name} is in two folders: {remedy}"
                shared |= {series.uid: reason for series in part if series.uid not in shared}
    for part in by_uid.values():
        if len({series.study for series in part}) > 1:
            reason = f"one SeriesInstanceUID in two studies of a patient: {_EXPORT}"
            shared |= {series.uid: reason for series in part if series.uid not in shared}
    return shared


def _not_one_person(part: Sequence[Series], *, nobody: bool, alone: bool) -> str:
    """Why the series under one PatientID, or in one folder, may be of several people; empty if they are of one."""
    people = {(s.names, s.birth_dates, s.sexes, s.age, s.taken_at and s.taken_at.year): s for s in part}
    has_id = part[0].has_patient_id
    for one, other in combinations_with_replacement(people.values(), 2):
        if differing := _differing(one, other):
            where = "one PatientID" if has_id else "PatientID is empty, and one folder"
            return f"{where}{' (a placeholder)' if has_id and nobody else ''} has two {differing}: {_BY_HAND}"
    if len({series.has_patient_id for series in part}) > 1:
        return f"PatientID is empty, and the folder has the name of another PatientID: {_EXPORT}"
    if len({series.study for series in part}) == 1:
        return ""
    named = all(series.names for series in part)
    if has_id and nobody and not (named and all(series.birth_dates for series in part)):
        return f"PatientID is a placeholder, which several people may share: {_BY_HAND}"
    if not has_id and alone and not named:
        return f"PatientID is empty, and all studies are in one folder: {_BY_HAND}"
    return ""


def _differing(one: Series, other: Series) -> str:
    """What tells two people apart: ``birth dates``, ``sexes``, ``names`` or ``ages``; empty where nothing does."""
    dates, names = one.birth_dates | other.birth_dates, one.names | other.names
    if any(not (a.startswith(b) or b.startswith(a)) for a in dates for b in dates):  # a year alone may be given
        return "birth dates"
    if len(one.sexes | other.sexes) > 1:
        return "sexes"
    born = bool(one.birth_dates and other.birth_dates)
    same = born and bool(one.sexes and other.sexes)
    if any(not _one_name(a, b, same_birth_and_sex=same) for a in names for b in names):
        return "names"
    return "" if born or _ages_agree(one, other) else "ages"


def _one_name(one: str, other: str, *, same_birth_and_sex: bool) -> bool:
    """Whether two PatientNames may be one person's."""
    pairs = [
        (_parts(a), _parts(b))
        for a in one.split("=")
        for b in other.split("=")
        if bool(re.search(_OTHER_SCRIPT, a)) == bool(re.search(_OTHER_SCRIPT, b)) and a.strip("^ ") and b.strip("^ ")
    ]
    if any(_same_parts(*pair) for pair in pairs):
        return True
    # Two scripts cannot be compared.
    return same_birth_and_sex and (not pairs or any(_alike(*pair) for pair in pairs))


def _parts(name: str) -> list[str]:
    """Family, given and middle name, folded, without the letters that are written in two ways."""
    return re.sub(r"(?<=[aou])e", "", fold(" ".join(name.split("^")[:3]))).split()


def _same_parts(one: list[str], other: list[str]) -> bool:
    fewer, more = sorted((set(one), set(other)), key=len)
    within = len(fewer) > 1 and fewer <= more  # a middle name
    return within or "".join(one) == "".join(other) or "".join(sorted(one)) == "".join(sorted(other))


def _alike(one: list[str], other: list[str]) -> bool:
    kept = any(len(part) > 1 for part in set(one) & set(other))
    return kept or SequenceMatcher(None, "".join(sorted(one)), "".join(sorted(other))).ratio() >= _ALIKE


def _ages_agree(one: Series, other: Series) -> bool:
    """Whether two PatientAges can be one person's; where a date is not known, as if both were scanned in one year."""
    apart = other.age - one.age
    if one.taken_at is not None and other.taken_at is not None:
        apart -= other.taken_at.year - one.taken_at.year
    return bool(np.isnan(apart) or abs(apart) <= _AGE_YEARS)


def _by(found: Iterable[Any], keys_of: Callable[[Any], Iterable[str]]) -> dict[str, list]:
    """What was found by each of its keys."""
    groups: dict[str, list] = defaultdict(list)
    for one in found:
        for key in keys_of(one):
            groups[key].append(one)
    return groups
