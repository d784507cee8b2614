"""Pieces of Markdown that MyST and a plain reader take alike."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

import pandas as pd

ROW_A_PATIENT = ("cohort.csv", "excluded.csv", "quality.csv", "external.json")


def table(rows: pd.DataFrame) -> str:
    """A table of texts; a bar inside a cell is escaped."""
    lines = [list(rows.columns), ["---"] * rows.shape[1], *rows.astype(str).to_numpy().tolist()]
    head, rule, *body = (f"| {' | '.join(line)} |" for line in (map(_cell, line) for line in lines))
    return "\n".join([head, rule, *body])


def link(name: str) -> str:
    """A link from ``report/`` to a file of the run, by path, or by name where it is a notebook or a card.

    Weights, and what holds a row a patient, are named and not linked: a published page must not carry them along.
    """
    path = PurePosixPath(name)
    if path.suffix == ".safetensors" or path.name in ROW_A_PATIENT:
        return f"`{path}`"
    target = path.name if path.parts[0] == "report" else f"../{path}"
    return f"[{path.stem if path.suffix in ('.ipynb', '.md') else path}]({target})"


def for_site(page: str, documents: Collection[str]) -> str:
    """A page of the report as a site shows it, which has the notebooks as documents at its root and no other file.

    Parameters
    ----------
    page : str
        A page as :func:`hepred_lib.reporting.write_report` wrote it.
    documents : collection of str
        Names of the notebooks that the site has, without ending. Links to anything else become plain names.

    Examples
    --------
    >>> for_site("[01_cohort](../notebooks/01_cohort.ipynb), [figures/roc.png](../figures/roc.png)", ["01_cohort"])
    '[01_cohort](../01_cohort.ipynb), `figures/roc.png`'
    """

    def led(found: re.Match) -> str:
        label, path = found[1], PurePosixPath(found[2])
        known = path.parent.name == "notebooks" and path.stem in documents
        return f"[{label}](../{path.name})" if known else f"`{label}`"

    return re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", led, page)


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
