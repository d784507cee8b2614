"""The TRIPOD+AI table of a study: each of 52 sub-items, where the book answers it, and with which value."""

from __future__ import annotations

import pandas as pd

from hepred_lib.reporting import analysis, findings, introduction, markdown, methods, openness
from hepred_lib.reporting.checklist import CROSS_REFERENCE, ITEMS
from hepred_lib.reporting.entries import STATUSES, Entry, resolve
from hepred_lib.reporting.evidence import Evidence

ENTRIES: dict[str, Entry] = {
    **introduction.ENTRIES,
    **methods.ENTRIES,
    **analysis.ENTRIES,
    **openness.ENTRIES,
    **findings.ENTRIES,
}


def tripod_table(evidence: Evidence) -> pd.DataFrame:
    """One row a sub-item.

    Returns
    -------
    DataFrame
        ``item, section, heading, concerns, asks, status, answer, where``; ``where`` names files of the run, separated
        by blanks.
    """
    rows = []
    for item in ITEMS:
        answer = resolve(ENTRIES[item.number], evidence)
        words = {"status": answer.status, "answer": answer.text, "where": " ".join(answer.where)}
        rows.append({"item": item.number, **item._asdict(), **words})
    return pd.DataFrame(rows).drop(columns=["number"])


def tripod_page(table: pd.DataFrame, evidence: Evidence) -> str:
    """The table as a page, one section of the checklist after the other."""
    study = evidence.value("results.json", "study")
    counts = table["status"].value_counts()
    simulated = (
        "The patients are simulated: an answered sub-item says that the matter is reported, not that it was met. "
    )
    return markdown.document(
        f"TRIPOD+AI: where study {study} answers it",
        "For reviewers. "
        + (simulated if evidence.simulated else "")
        + "Written from the study's own files; a sub-item counts as answered only while the files it names hold the "
        "value. "
        f"{len(table)} sub-items: {', '.join(f'{counts.get(status, 0)} {status}' for status in STATUSES)}. The "
        f"headings are "
        "those of Collins GS et al., BMJ 2024;385:e078378; what is asked is said in short words of our own (D concerns "
        "development, E evaluation).",
        *(markdown.section(name, _rows(rows)) for name, rows in table.groupby("section", sort=False)),
        markdown.section("Other checklists", _CROSS_WORDS, markdown.table(_cross_reference())),
    )


def _rows(rows: pd.DataFrame) -> str:
    shown = pd.DataFrame(
        {
            "item": rows["item"],
            "heading": [f"**{row.heading}** ({row.concerns}): {row.asks}" for row in rows.itertuples()],
            "status": rows["status"],
            "answer": rows["answer"],
            "where": [markdown.links(names.split()) for names in rows["where"]],
        }
    )
    return markdown.table(shown)


def _cross_reference() -> pd.DataFrame:
    return pd.DataFrame(
        CROSS_REFERENCE, columns=["the book shows", "TRIPOD+AI", "CLAIM 2024", "STARD-AI", "PROBAST+AI"]
    )


_CROSS_WORDS = (
    "The same matters under the numbers of CLAIM 2024, STARD-AI and the domains of PROBAST+AI. Those numbers were "
    "taken "
    "from secondary lists and not compared with the publishers' tables; fill in the official forms before submission."
)
