"""Phrases about contrast: "mit KM", "sans injection de produit de contraste", "造影なし", "IV-", "w/ and w/o contrast".

The words of one language become a row of signs, one for each word, and a phrase is a pattern of signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MINUS, GIVEN, NOT, EITHER = "\u2212", "\u2295", "\u2205", "\u00b1"  # "IV-", "KM (+)", "KM (-)", "KM +/-"
PARTS = ("with", "without", "after", "before", "and", "lacking", "fill", "agent", "short")


@dataclass(frozen=True)
class Entry:
    """A word of the data file: its language, its section, and as it is written there."""

    language: str
    section: str
    word: str


@dataclass(frozen=True)
class Hit:
    """A word in a folded text, from ``start`` up to ``end``."""

    start: int
    end: int
    entry: Entry


def _sign(sections: Iterable[str]) -> str:
    """One character for a set of sections; a word may be in several: "non" in French."""
    names = (*PARTS, "neutral")
    return chr(0xE000 + sum(1 << names.index(section) for section in set(sections)))


def _any_of(*sections: str) -> str:
    """A pattern for the signs of all sets that have one of these sections."""
    names = (*PARTS, "neutral")
    bits = sum(1 << names.index(section) for section in sections)
    return "[" + "".join(chr(0xE000 + number) for number in range(1, 1 << len(names)) if number & bits) + "]"


_WITH, _WITHOUT = _any_of("with"), _any_of("without")
_GIVEN, _LACKING = _any_of("with", "after"), _any_of("without", "before")
_AGENT, _SHORT, _FILL = _any_of("agent"), _any_of("short"), _any_of("fill")
_TAKEN = f"{_FILL}{{0,2}}{_any_of('agent', 'short')}"
_AND = rf"(?:{_any_of('and')}|[/+])?"
_PATTERNS = tuple(
    (section, re.compile(pattern))
    for section, pattern in (
        ("neutral", rf"(?:{_any_of('with', 'after', 'without', 'before')}/?|[+{MINUS}/]){{0,2}}{_any_of('neutral')}"),
        ("both", rf"(?:{_GIVEN}{_AND}{_LACKING}|{_LACKING}{_AND}{_GIVEN})(?:{_TAKEN})+"),
        ("both", rf"{_WITH}{_AND}{_WITHOUT}|{_WITHOUT}{_AND}{_WITH}"),
        ("both", rf"{_any_of('agent', 'short')}{EITHER}|{EITHER}{_any_of('agent', 'short')}"),
        ("native", rf"{_LACKING}(?:{_TAKEN})+"),
        ("native", rf"{_AGENT}(?:{NOT}|{_any_of('lacking')}|{MINUS}(?=[d/+]|$))"),  # not in "contrast- enhanced"
        ("native", rf"{_SHORT}[{NOT}{MINUS}]|{MINUS}{_SHORT}"),
        ("contrast", rf"{_GIVEN}{_TAKEN}|{_SHORT}[+{GIVEN}]|\+{_SHORT}"),
    )
)


def phrases(text: str, hits: Iterable[Hit], language: str) -> Iterator[Hit]:
    """Phrases of one language in a folded text: hits of the sections native, contrast, both and neutral.

    Parameters
    ----------
    text : str
        As ``fold`` gives it.
    hits : iterable of Hit
        Its words; those of other languages are passed over.
    language : str
    """
    signs, places = _row(text, [hit for hit in hits if hit.entry.language in (language, "all")])
    for section, pattern in _PATTERNS:
        for match in pattern.finditer(signs):
            start, end = places[match.start()][0], places[match.end() - 1][1]
            words = text[start:end]
            if section == "both" and re.fullmatch(r"\W*\w\W+\w\W*", words):
                continue  # "s/c" is "sin contraste", not "senza" and "con"
            yield Hit(start, end, Entry(language, section, words))


def _row(text: str, hits: list[Hit]) -> tuple[str, list[tuple[int, int]]]:
    """A sign for each word, from left to right the longest; ``d`` for digits, ``x`` for a word of no meaning."""
    known: dict[int, dict[int, set[str]]] = {}
    for hit in hits:
        if hit.entry.section in (*PARTS, "neutral"):
            known.setdefault(hit.start, {}).setdefault(hit.end, set()).add(hit.entry.section)
    signs, places, place = [], [], 0
    while place < len(text):
        if place in known:
            end = max(known[place])
            sign = _sign(known[place][end])
        else:
            run = re.match(r"\d+|[^\W\d]|\W", text[place:]).group()
            end = place + len(run)
            sign = "d" if run.isdigit() else "x" if run.isalpha() else run
        if sign != " ":
            signs.append(sign)
            places.append((place, end))
        place = end
    return "".join(signs), places
