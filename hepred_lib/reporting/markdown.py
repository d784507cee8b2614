"""Pieces of Markdown that MyST and a plain reader take alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd


def table(rows: pd.DataFrame) -> str:
    """A table of texts; a bar inside a cell is escaped."""
    lines = [list(rows.columns), ["---"] * rows.shape[1], *rows.astype(str).to_numpy().tolist()]
    head, rule, *body = (f"| {' | '.join(line)} |" for line in (map(_cell, line) for line in lines))
    return "\n".join([head, rule, *body])


def link(name: str) -> str:
    """A link from ``report/`` to a file of the run, by path, or by name where it is a notebook or a card."""
    path = PurePosixPath(name)
    target = path.name if path.parts[0] == "report" else f"../{path}"
    return f"[{path.stem if path.suffix in ('.ipynb', '.md') else path}]({target})"


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


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
