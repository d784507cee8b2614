"""Which series are a patient's first non-contrast head CT and its follow-up.

Every series that is left out has its reason, and a reader's word stands above every rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from hepred_lib.intake.series import Series

USES = ("baseline", "followup", "none")
HEAD_PARTS = ("HEAD", "BRAIN", "SKULL", "NEURO", "CRANIUM", "CEREBR")
LEAST_SLICES, LEAST_EXTENT_MM = 8, 80.0
AXIAL = 0.7  # cosine with the body's axis: gantries tilt by 30 degrees at most
MISSING = 1.9  # times the usual gap; the posterior fossa may be scanned in slices half as thick
USUAL_THICKNESS_MM = 5.0
# Follow-up of most cohorts is planned for a day after the first scan, and is within three.
FOLLOWUP_H, USUAL_FOLLOWUP_H = (1.0, 72.0), 24.0

_WITHOUT_CONTRAST = re.compile(r"\b(non|no|without|w/?o)[ _-]*(iv[ _-]*)?contrast|\bunenhanced|\bnon[ _-]*enhanced")
_CONTRAST = re.compile(r"\b(cta|ctv|ctp|angio\w*|perf\w*|contrast|post|enhanced|venogra\w*|spot)\b|\bc\+|\+c\b")
_OVERVIEW = re.compile(r"\b(scout|topogram|localizer|surview|scanogram|dose|smart ?prep|monitoring)\b")
_SHARP = re.compile(r"bone|edge|sharp|lung|detail|\b[bhu][hrvf]?(5[5-9]|[6-9]\d)")
_RENDERED = {"MIP", "3D", "VRT", "VOLREN", "PROJECTION IMAGE", "SCREEN SAVE", "SCREENSAVE"}


@dataclass(frozen=True)
class Choice:
    """What one series is used as: ``baseline``, ``followup`` or ``none``, and why.

    ``unsure`` where the header's words are silent or contradict each other: a person should look.
    """

    series: Series
    use: str
    reason: str
    unsure: bool = False


def choose(found: Iterable[Series], by_hand: Mapping[str, str] | None = None) -> list[Choice]:
    """One choice a series, in the order given.

    Parameters
    ----------
    found : iterable of Series
    by_hand : mapping of str to str, optional
        From SeriesInstanceUID to ``baseline``, ``followup`` or ``none``: a reader's word. A use that is given by hand
        to one series is taken from the others of that patient.
    """
    found, by_hand = list(found), by_hand or {}
    chosen = {}
    for _, group in groupby(sorted(found, key=lambda series: series.patient), key=lambda series: series.patient):
        part = list(group)
        told = {series.uid: by_hand[series.uid] for series in part if series.uid in by_hand}
        for choice in _of_one_patient([series for series in part if series.uid not in told]):
            taken = choice.use != "none" and choice.use in told.values()
            chosen[choice.series.uid] = (
                replace(choice, use="none", reason=f"another is the {choice.use} by hand") if taken else choice
            )
        chosen |= {s.uid: Choice(s, told[s.uid], "by hand") for s in part if s.uid in told}
    return [chosen[series.uid] for series in found]


def reason_against(series: Series) -> str:
    """Why a series is no non-contrast head CT; empty if it may be one."""
    text = _WITHOUT_CONTRAST.sub(" ", series.description)
    gaps = np.diff(series.places_mm)
    reasons = (
        (series.modality != "CT", f"modality {series.modality or 'unknown'}"),
        ("LOCALIZER" in series.image_type or bool(_OVERVIEW.search(text)), "an overview or a record"),
        (bool(_RENDERED & set(series.image_type)), "a rendering"),
        (bool(series.contrast) and series.contrast.upper() not in ("NO", "NONE", "N"), "contrast agent"),
        (bool(_CONTRAST.search(text)), "named as with contrast"),
        (
            bool(series.body_part) and not any(part in series.body_part for part in HEAD_PARTS),
            f"of the {series.body_part.lower()}",
        ),
        (not series.places_mm, "no slice has a place"),
        (series.upright < AXIAL, "not axial"),
        (
            len(series.places_mm) < LEAST_SLICES or series.extent_mm < LEAST_EXTENT_MM,
            f"{len(series.places_mm)} slices over {series.extent_mm:.0f} mm, a head needs {LEAST_SLICES} over "
            f"{LEAST_EXTENT_MM:.0f} mm",
        ),
        (
            len(gaps) > 0 and gaps.max() > MISSING * np.median(gaps),
            f"slices are missing: a gap of {gaps.max(initial=0):.1f} mm",
        ),
    )
    return next((reason for against, reason in reasons if against), "")


def _of_one_patient(found: list[Series]) -> list[Choice]:
    against = {series.uid: reason_against(series) for series in found}
    choices = [Choice(series, "none", against[series.uid]) for series in found if against[series.uid]]
    left = sorted((series for series in found if not against[series.uid]), key=lambda series: series.study)
    scans = []
    for _, group in groupby(left, key=lambda series: series.study):
        best, *others = sorted(group, key=_rank)
        scans.append(best)
        choices += [Choice(other, "none", "another series of this study suits better") for other in others]
    return choices + _in_time(scans)


def _rank(series: Series) -> tuple:
    """Best first: original, of a soft kernel, of slices near 5 mm, with many of them."""
    thickness = series.thickness_mm if np.isfinite(series.thickness_mm) else 0.0
    sharp = bool(_SHARP.search(f"{series.kernel.lower()} {series.description}"))
    return (
        sharp,
        "ORIGINAL" not in series.image_type,
        abs(thickness - USUAL_THICKNESS_MM),
        -len(series.places_mm),
        series.number,
        series.uid,
    )


def _in_time(scans: list[Series]) -> list[Choice]:
    """The first scan, and of the later ones within three days the one nearest to a day after it."""
    if len(scans) > 1 and any(scan.taken_at is None for scan in scans):
        return [Choice(scan, "none", f"which of {len(scans)} studies is the first is not said") for scan in scans]
    if not scans:
        return []
    first, *later = sorted(scans, key=lambda scan: (scan.taken_at is not None and scan.taken_at.isoformat(), scan.uid))
    within = [scan for scan in later if FOLLOWUP_H[0] <= hours_between(first, scan) <= FOLLOWUP_H[1]]
    chosen = min(within, key=lambda scan: abs(hours_between(first, scan) - USUAL_FOLLOWUP_H), default=None)
    choices = [Choice(first, "baseline", "the first")]
    for scan in later:
        hours = hours_between(first, scan)
        if scan is chosen:
            choices.append(Choice(scan, "followup", f"{hours:.1f} h after the first"))
        else:
            choices.append(Choice(scan, "none", f"{hours:.1f} h after the first"))
    return choices


def hours_between(first: Series, later: Series) -> float:
    """Hours from one scan to another; NaN where a time is not known."""
    if first.taken_at is None or later.taken_at is None:
        return float("nan")
    return (later.taken_at - first.taken_at).total_seconds() / 3600
