"""The references: whatever the library, the notebooks and the benchmarks cite has an entry, and entries are whole."""

import re
from pathlib import Path

import pytest

from hepred_lib.study.definition import PROJECT

CITATION = re.compile(r"\b((?:18|19|20)\d\d);(\d+):([A-Za-z]?\d+)")
DOI = re.compile(r"\b10\.\d{4,9}/[^\s,;)\"'`\]]+[^\s,;)\"'`\].]")


def entries() -> dict[str, dict[str, str]]:
    """Fields of each entry by key, its kind among them."""
    text = (PROJECT / "docs" / "references.bib").read_text(encoding="utf-8")
    found = re.findall(r"@(\w+)\{(\w+),\n(.*?)\n\}", text, re.DOTALL)
    assert len(found) == len({key for _, key, _ in found}) == text.count("\n@")
    return {key: {"kind": kind, **dict(re.findall(r"  (\w+) = \{(.*)\},?", body))} for kind, key, body in found}


def sources() -> list[Path]:
    folders = ("hepred_lib", "ich_phantom", "notebooks", "benchmarks")
    return [path for folder in folders for path in (PROJECT / folder).rglob("*.py")]


def read(path: Path) -> str:
    """A source with its lines joined, so that a citation over two lines is one; comment marks left out."""
    return re.sub(r"\s*\n\s*(?:# )?", " ", path.read_text(encoding="utf-8"))


def test_every_citation_by_year_volume_and_page_has_an_entry():
    known = {
        (entry.get("year"), entry.get("volume"), entry.get("pages", "").split("--")[0]) for entry in entries().values()
    }
    in_words = " ".join(f"{entry.get('year')} {entry.get('howpublished', '')}" for entry in entries().values())
    cited = {(*found, path.name) for path in sources() for found in CITATION.findall(read(path))}
    assert len({found[:3] for found in cited}) > 60
    lacking = {found for found in cited if found[:3] not in known and f"{found[1]}:{found[2]}" not in in_words}
    assert not lacking


def test_every_doi_that_is_cited_has_an_entry():
    known = {entry["doi"].lower() for entry in entries().values() if "doi" in entry}
    cited = {doi.lower() for path in sources() for doi in DOI.findall(read(path))}
    assert cited
    assert cited <= known


@pytest.mark.parametrize("kind", ["article", "book", "inproceedings", "misc"])
def test_entries_are_whole(kind):
    needed = {"article": {"author", "title", "journal", "year", "volume", "pages"}, "book": {"author", "title", "year"}}
    chosen = {key: entry for key, entry in entries().items() if entry["kind"] == kind}
    assert chosen
    for key, entry in chosen.items():
        assert needed.get(kind, {"title"}) <= set(entry), key
        assert "doi" not in entry or entry["doi"].startswith("10."), key


def test_keys_stand_in_alphabetical_order():
    assert list(entries()) == sorted(entries())
