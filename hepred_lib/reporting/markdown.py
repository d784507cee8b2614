"""Pieces of Markdown that MyST and a plain reader take alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

KINDS = {"notebooks": "notebook", "records": "record", "figures": "figure", "tables": "table"}
ROW_A_PATIENT = ("cohort.csv", "excluded.csv", "quality.csv", "external.json")


def table(rows: pd.DataFrame) -> str:
    """A table of texts; a bar inside a cell is escaped."""
    lines = [list(rows.columns), ["---"] * rows.shape[1], *rows.astype(str).to_numpy().tolist()]
    head, rule, *body = (f"| {' | '.join(line)} |" for line in (map(_cell, line) for line in lines))
    return "\n".join([head, rule, *body])


def link(name: str) -> str:
    """A link from ``report/`` to a file of the run, in words: "notebook 01", "figure roc", "table performance".

    A notebook's record is only named, beside its notebook. So are weights, and what holds a row a patient: a published
    page must not carry them along.
    """
    path = PurePosixPath(name)
    if path.parts[0] == "records":
        return _label(path)
    if path.suffix == ".safetensors" or path.name in ROW_A_PATIENT:
        return f"`{path}`"
    return f"[{_label(path)}]({path.name if path.parts[0] == 'report' else f'../{path}'})"


def links(names: Sequence[str]) -> str:
    """Several links in one cell."""
    return ", ".join(link(name) for name in names)


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not one.

    Examples
    --------
    >>> counted(1, "event"), counted(12, "event")
    ('1 event', '12 events')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def document(title: str, *parts: str) -> str:
    """A page with one first-level heading; empty parts are left out."""
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


def section(heading: str, *parts: str) -> str:
    """A second-level section; empty, where every part is."""
    filled = [part for part in parts if part]
    return "\n\n".join([f"## {heading}", *filled]) if filled else ""


def _label(path: PurePosixPath) -> str:
    kind = KINDS.get(path.parts[0], "")
    if kind in ("notebook", "record"):
        number, _, fold = path.stem.partition("_fold")
        return f"{kind} {number[:2]}" + (f" (fold {fold})" if fold else "")
    words = path.stem.replace("_", " ") if len(path.parts) > 1 else path.name
    return f"{kind} {words}".strip()


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
