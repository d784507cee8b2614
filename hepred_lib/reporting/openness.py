"""Ethics, open science, public involvement: sub-items 17 to 19."""

from __future__ import annotations

from hepred_lib.reporting.entries import Entry, by_origin, claim, said
from hepred_lib.reporting.evidence import Evidence

REPOSITORY = "hepred, MIT licence"


@claim("report/data_card.md")
def _data(evidence: Evidence) -> str:
    checksum = evidence.value("provenance.json", "manifest_sha256")
    if not evidence.simulated:
        return f"The manifest is identified by its SHA-256, {checksum}."
    return (
        "The cohort is made again, byte by byte, by running the study file: the manifest's SHA-256 must then be "
        f"{checksum}."
    )


@claim("report/model_card.md")
def _code(evidence: Evidence) -> str:
    versions = evidence.known("provenance.json", "versions")
    evidence.section("report/model_card.md", "Versions and files")
    commit = versions["commit"] or "not recorded"
    return (
        f"{REPOSITORY}, version {versions['hepred']}, commit {commit}; Python {versions['python']}, torch "
        f"{versions['torch']}."
    )


def _not_shared(evidence: Evidence) -> str:
    return "" if evidence.simulated else "Whether and how the patients' data can be had is the author's to say."


_AUTHOR = "Not in the study's files; to be added by the author."

ENTRIES = {
    "17": Entry(
        (),
        by_origin(
            simulated="No person's data are used, so no committee was asked; a study of patients must name its own.",
            real=_AUTHOR,
        ),
    ),
    "18a": Entry((), said(_AUTHOR)),
    "18b": Entry((), said(_AUTHOR)),
    "18c": Entry((), said(f"{_AUTHOR} The parameters of the study stand in provenance.json, which is no protocol.")),
    "18d": Entry((), said(_AUTHOR)),
    "18e": Entry((_data,), _not_shared),
    "18f": Entry((_code,)),
    "19": Entry(
        (),
        by_origin(
            simulated="No patient stands behind the data; whether the public took part is the author's to say.",
            real=_AUTHOR,
        ),
    ),
}
