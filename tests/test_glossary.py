"""The glossary: in order, short, and with every abbreviation that the notebooks use in their prose."""

import re

import pytest

from hepred_lib.study.definition import NOTEBOOKS, PROJECT


@pytest.fixture(scope="module")
def terms() -> dict[str, str]:
    """Term to explanation."""
    text = (PROJECT / "docs" / "glossary.md").read_text(encoding="utf-8")
    body = text.split("```{glossary}\n")[1].split("\n```")[0]
    entries = [entry.splitlines() for entry in body.split("\n\n")]
    assert all(line.startswith("  ") for entry in entries for line in entry[1:])
    return {entry[0]: " ".join(line.strip() for line in entry[1:]) for entry in entries}


def test_terms_stand_in_alphabetical_order_each_once(terms):
    folded = [term.lower() for term in terms]
    assert folded == sorted(set(folded))


def test_every_term_is_explained_in_one_or_two_sentences(terms):
    for term, text in terms.items():
        sentences = re.split(r"(?<=[.])\s+(?=[A-Z0-9])", text)
        assert text.endswith("."), term
        assert 1 <= len(sentences) <= 2, term


def test_what_an_explanation_refers_to_is_explained(terms):
    folded = {term.lower() for term in terms}
    referred = {found.lower() for text in terms.values() for found in re.findall(r"[Ss]ee \*([^*]+)\*", text)}
    assert referred
    assert referred <= folded


def test_capitals_in_the_notebooks_prose_are_explained_or_plain(terms):
    """An abbreviation of two or more capitals that the notebooks' text uses has an entry, or is no term."""
    plain = {"CT", "SD", "CSV", "CPU", "GPU"}
    used = set()
    for name in NOTEBOOKS:
        text = (PROJECT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
        prose = "\n".join(re.findall(r"# %% \[markdown\]\n((?:#.*\n)+)", text))
        prose = re.sub(r"`[^`]*`|\$[^$]*\$", "", prose)
        used |= {word for word in re.findall(r"\b[A-Z][A-Z0-9]+\b", prose)}
    explained = {word for term in terms for word in re.findall(r"\b[A-Z][A-Z0-9]+\b", term)}
    assert used - plain <= explained
