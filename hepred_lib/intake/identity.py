"""Whether what is called one patient is one person, and one UID one patient's.

Nothing is merged on a guess: series of doubtful identity are not used until the export is corrected, or a reader's
``by_hand`` says which of them belong together. Reasons name no patient.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import combinations_with_replacement

import numpy as np

from hepred_lib.intake.series import Series
from hepred_lib.intake.words import Words, fold, load_words

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
    studies, and a PatientID with two names, birth dates, sexes or ages. All series of such a patient are refused, for
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
    conflicts = {}
    for patient, part in groups.items():
        of_uids = next((shared[series.uid] for series in part if series.uid in shared), "")
        reason = _not_one_person(part, nobody=words.is_nobody(patient), alone=len(groups) == 1)
        if not reason and of_uids:
            reason = f"another series of this patient is in doubt: {of_uids}"
        for series in part:
            if series.uid in shared or reason:
                conflicts[series.uid] = shared.get(series.uid, reason)
    return conflicts


def only_the_folder_says(part: Iterable[Series], words: Words | None = None) -> bool:
    """Whether several studies are one patient's for no other reason than the folder that they are in."""
    part = [_cleaned(series, words or load_words()) for series in part]
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
    for name, numbers_of in (
        ("SeriesInstanceUID", lambda series: [_root(series)]),
        ("StudyInstanceUID", lambda series: filter(None, [series.study])),
        ("SOPInstanceUID", lambda series: series.instances),
    ):
        for part in _by(found, numbers_of).values():
            if len({series.patient for series in part}) > 1:
                for series in part:
                    shared.setdefault(series.uid, _under_two(name, part))
    for part in _by(found, lambda series: [_root(series)]).values():
        if len({series.study for series in part}) > 1:
            for series in part:
                shared.setdefault(series.uid, f"one SeriesInstanceUID in two studies of a patient: {_EXPORT}")
    return shared


def _root(series: Series) -> str:
    """SeriesInstanceUID without the number of a stack under it."""
    return series.uid.partition("#")[0]


def _under_two(name: str, part: Sequence[Series]) -> str:
    if all(series.has_patient_id for series in part):
        return f"one {name} under two patients: {_EXPORT}"
    return f"PatientID is empty, and one {name} is in two folders: put each patient into one folder of SOURCE"


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


def _by(found: Iterable[Series], keys_of: Callable[[Series], Iterable[str]]) -> dict[str, list[Series]]:
    """Series by each of their keys."""
    groups: dict[str, list[Series]] = defaultdict(list)
    for series in found:
        for key in keys_of(series):
            groups[key].append(series)
    return groups
