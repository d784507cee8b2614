"""How a sub-item of a checklist is answered: by claims that hold only while the files behind them do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hepred_lib.reporting.evidence import AbsentError, Evidence

ANSWERED, PARTLY = "answered", "partly"
NOT_ANSWERED, NOT_APPLICABLE = "not answered by this study", "not applicable"
STATUSES = (ANSWERED, PARTLY, NOT_ANSWERED, NOT_APPLICABLE)

Says = Callable[[Evidence], str]


def _nothing(_: Evidence) -> str:
    return ""


@dataclass(frozen=True)
class Claim:
    """One sentence written from the study's values, and the files that a reader should see beside it.

    ``says`` raises :class:`AbsentError` where a value is missing; an empty sentence: this study has no such part.
    """

    says: Says
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """The claims that answer one sub-item, and what they leave open.

    ``leaves_open`` gives what the author must still write (with claims: partly), ``spared`` why the sub-item does not
    apply; both are empty where that is not so.
    """

    claims: tuple[Claim, ...] = ()
    leaves_open: Says = _nothing
    spared: Says = _nothing


@dataclass(frozen=True)
class Answer:
    """A sub-item's status, the text of the answer, and the files that it rests on."""

    status: str
    text: str
    where: tuple[str, ...]


def claim(*where: str) -> Callable[[Says], Claim]:
    """Turn the function below into a claim that is shown beside these files."""

    def decorated(says: Says) -> Claim:
        return Claim(says, where)

    return decorated


def said(text: str) -> Says:
    """The same words for every study."""
    return lambda _: text


def by_origin(*, simulated: str, real: str) -> Says:
    """Words that depend on whether the patients are simulated."""
    return lambda evidence: simulated if evidence.simulated else real


def resolve(entry: Entry, evidence: Evidence) -> Answer:
    """The answer that the study's files bear out, no more."""
    spared = _if_known(entry.spared, evidence)
    if spared:
        return Answer(NOT_APPLICABLE, spared, ())
    sentences, missing = [], []
    files: dict[str, None] = {}
    for one in entry.claims:
        with evidence.noting() as read:
            try:
                sentence = one.says(evidence)
                # A part that this study does not have is shown by no file.
                shown = [evidence.locate(pattern) for pattern in one.where if sentence]
            except AbsentError as reason:
                missing.append(str(reason))
                continue
        if sentence:
            sentences.append(sentence)
            files |= dict.fromkeys([*shown, *read])
    left = [_if_known(entry.leaves_open, evidence), *(f"Not borne out: {reason}." for reason in missing)]
    words = [text for text in left if text]
    if not sentences:
        return Answer(NOT_ANSWERED, " ".join(words), ())
    return Answer(PARTLY if words else ANSWERED, " ".join([*sentences, *words]), tuple(files))


def _if_known(says: Says, evidence: Evidence) -> str:
    try:
        return says(evidence)
    except AbsentError:
        return ""
