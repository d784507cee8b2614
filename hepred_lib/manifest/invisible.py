"""Characters that nobody sees and that make one name two: found, and named."""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

from hepred_lib.manifest.rules import COLUMNS, Problem
from hepred_lib.manifest.sheet import looks_like_patient

# Controls, formats (zero-width, direction, soft hyphen, byte order mark), blanks other than the plain one, fillers,
# variation selectors, tags, and the sign of a lost character.
INVISIBLE = re.compile(
    "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    "\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffd\U000e0000-\U000e0fff]"
)
DAMAGE = re.compile("[\x00-\x08\x0e-\x1f\ufffd]")  # no program writes these into a table
CONTROLS = {"\x00": "NULL", "\x08": "BACKSPACE", "\x09": "TAB", "\x1a": "SUBSTITUTE", "\x7f": "DELETE"}


def character_names(text: str) -> str:
    r"""The invisible characters of a text by name, each once.

    Examples
    --------
    >>> character_names("age\u200b")
    'ZERO WIDTH SPACE (U+200B)'
    """
    found = dict.fromkeys(INVISIBLE.findall(text))
    names = (unicodedata.name(c, CONTROLS.get(c, "CONTROL CHARACTER")) for c in found)
    return " and ".join(f"{name} (U+{ord(c):04X})" for c, name in zip(found, names, strict=True))


def _blank(match: re.Match[str]) -> str:
    """A plain blank for another kind of blank, nothing for what takes no room."""
    return " " if match.group() == "\t" or unicodedata.category(match.group()) == "Zs" else ""


def visible_header(header: list[str], line: int) -> tuple[list[str], list[Problem]]:
    """The names without invisible characters (other blanks become plain ones), and a problem for each that had one."""
    names, problems = [], []
    for place, name in enumerate(header, start=1):
        seen = INVISIBLE.sub(_blank, name).strip()
        if seen != name:
            rule, value = "have no invisible character", f"{character_names(name)} in column {place}"
            problems.append(Problem("", line, seen or "the header", "", rule, value, remedy="Type the name anew"))
        names.append(seen)
    return names, problems


def invisible_problems(table: pd.DataFrame) -> list[Problem]:
    """Cells with an invisible character: refused where a value or an identifier is read, else one warning a column."""
    problems = []
    for name in table:
        cells = table[name]
        if not INVISIBLE.search("\n".join(cells.tolist())):
            continue
        found = cells[cells.str.contains(INVISIBLE)]
        column = COLUMNS.get(name)
        strict = looks_like_patient(name) if column is None else column.kind != "text"
        strict |= bool(found.str.contains(DAMAGE).any())
        shown = found if strict else found[:1]
        count = "" if strict or len(found) == 1 else f" ({len(found)} rows have one)"
        for line, cell in shown.items():
            value = f"{character_names(cell)} in {INVISIBLE.sub('', cell)[:40]!r}{count}"
            severity = "refuse" if strict else "warn"
            rule = "have no invisible character"
            problems.append(Problem("", int(line), name, "", rule, value, severity, "Type the cell anew"))
    return problems
