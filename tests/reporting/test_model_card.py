"""The model card: the study's numbers, its files' checksums, and what may not be concluded."""

import hashlib

import pytest

from hepred_lib.reporting.evidence import Evidence
from hepred_lib.reporting.model_card import model_card
from hepred_lib.study.files import read_json, write_json


@pytest.fixture
def card(run) -> str:
    return model_card(Evidence(run))


def test_the_card_has_the_sections_that_a_card_has(card):
    headings = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        *("In short", "Models", "Intended use", "Training data", "Factors and subgroups"),
        *("Performance in test patients", "Calibration in test patients", "At another hospital"),
        *("Limits", "Ethical considerations", "In practice", "Versions and files"),
    ]


def test_figures_are_those_of_the_results_with_their_intervals(run, card):
    model = read_json(run / "results.json")["models"]["integrated"]
    low, high = model["auc_ci"]
    assert f"| {model['auc']:.2f} ({low:.2f}-{high:.2f}) | 0.88 |" in card
    assert f"| integrated | {model['calibration_slope']:.2f} (" in card


def test_weights_are_named_with_their_checksum(run, card):
    expected = hashlib.sha256((run / "folds" / "0" / "network.safetensors").read_bytes()).hexdigest()
    assert f"| `folds/0/network.safetensors` | 7 | {expected} |" in card


def test_a_subgroup_with_few_events_gets_no_figure(card):
    assert "| sex | F | 15 | 3 | - |" in card
    assert "| sex | M | 25 | 11 | 0.74 (0.60-0.85) |" in card


def test_notes_of_the_results_stand_among_the_limits(run):
    content = read_json(run / "results.json")
    write_json(run / "results.json", content | {"notes": ["models.image.auc_ci: no variance"]})
    assert "\n- models.image.auc_ci: no variance" in model_card(Evidence(run))


def test_the_card_says_simulated_only_of_simulated_patients(run, card):
    assert "simulated" in card
    record = read_json(run / "records" / "01_cohort.json")
    record["parameters"]["truth"] = ""
    write_json(run / "records" / "01_cohort.json", record)
    assert "imulated" not in model_card(Evidence(run))


def test_a_study_without_another_hospital_says_so(run):
    (run / "external.json").unlink()
    assert "## At another hospital\n\nNot evaluated." in model_card(Evidence(run))


def test_what_cannot_be_estimated_is_said_to_be_so(run):
    content = read_json(run / "results.json")
    content["models"]["image"] |= {"ici": None, "e90": None, "calibration_slope": None, "calibration_slope_ci": None}
    write_json(run / "results.json", content)
    assert "| image | not estimable |" in model_card(Evidence(run))
