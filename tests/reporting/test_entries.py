"""Entries: a status follows from what the claims could say, from nothing else."""

import pytest

from hepred_lib.reporting.entries import (
    ANSWERED,
    NOT_ANSWERED,
    NOT_APPLICABLE,
    PARTLY,
    Entry,
    by_origin,
    claim,
    resolve,
    said,
)
from hepred_lib.reporting.evidence import Evidence


@claim("paper.json")
def sound(evidence):
    return f"study {evidence.value('results.json', 'study')}"


@claim("nowhere.csv")
def without_file(_):
    return "never said"


@claim()
def without_value(evidence):
    return evidence.value("results.json", "luck")


@claim()
def silent(_):
    return ""


@pytest.mark.parametrize(
    ("entry", "status", "text"),
    [
        (Entry((sound,)), ANSWERED, "study small"),
        (Entry((sound, silent)), ANSWERED, "study small"),
        (Entry((sound,), said("The rest is open.")), PARTLY, "study small The rest is open."),
        (Entry((sound, without_file)), PARTLY, "study small Not borne out: nowhere.csv is not there."),
        (Entry((without_value,)), NOT_ANSWERED, "Not borne out: results.json holds no luck."),
        (Entry((), said("Ask the author.")), NOT_ANSWERED, "Ask the author."),
        (Entry((sound,), spared=said("No such thing here.")), NOT_APPLICABLE, "No such thing here."),
    ],
)
def test_a_status_follows_from_the_claims(run, entry, status, text):
    answer = resolve(entry, Evidence(run))
    assert (answer.status, answer.text) == (status, text)


def test_an_answer_rests_on_the_files_it_shows_and_the_files_it_read(run):
    assert resolve(Entry((sound, sound)), Evidence(run)).where == ("paper.json", "results.json")


def test_a_claim_that_failed_leaves_no_file_behind(run):
    assert resolve(Entry((without_file, sound)), Evidence(run)).where == ("paper.json", "results.json")


def test_words_depend_on_whether_patients_are_simulated(run):
    assert by_origin(simulated="a", real="b")(Evidence(run)) == "a"


def test_words_that_rest_on_a_missing_record_are_left_out(run):
    (run / "records" / "01_cohort.json").unlink()
    entry = Entry((sound,), by_origin(simulated="a", real="b"), by_origin(simulated="c", real="d"))
    assert resolve(entry, Evidence(run)).status == ANSWERED
