import numpy as np
import pandas as pd
import pytest

from hepred_lib.figures.catalogue import FIGURES, describe
from hepred_lib.figures.descriptions import SENTENCES, sentence


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_described_in_one_line_of_plain_text(name, examples):
    text = describe(name, examples[name])
    assert len(text) > 40
    assert text.endswith(".")
    assert "nan" not in text.lower().split()
    assert not set("\n<>*`") & set(text)


def test_the_roc_curves_are_described_with_patients_events_and_each_models_label(examples):
    text = describe("roc", examples["roc"])
    assert text.startswith("ROC curves with 95 % bands (n = 60, 12 with HE): Image: AUC 0.71 (0.61–0.91); Clinical")


def test_the_flow_is_described_by_its_boxes(examples):
    text = describe("flow", examples["flow"])
    assert "Included, with outcome 240, of them 48 with HE" in text
    assert "Test set, untouched until the end 60, of them 12 with HE" in text


def test_the_odds_ratios_are_described_with_their_intervals(examples):
    text = describe("odds_ratios_clinical", examples["odds_ratios_clinical"])
    assert "Integrated model: DL score 2.31 (1.72–3.10), INR 3.40 (0.60–120)" in text


def test_predictors_chosen_in_more_than_half_of_the_resamples_are_named(examples):
    table = examples["inclusion_frequency"].assign(frequency=0.2, selected=False)
    assert "in more than half: none; in the final model: none" in describe("inclusion_frequency", table)
    table.loc[0, ["frequency", "selected"]] = 0.9, True
    assert f"in more than half: {table.loc[0, 'label']} 90%" in describe("inclusion_frequency", table)


def test_one_slice_is_called_a_slice(examples):
    keys = {"hu", "mask", "brain", "titles"}
    one = {key: value[:1] if key in keys else value for key, value in examples["montage"].items()}
    assert describe("montage", one).startswith("1 CT slice (level 40 HU, width 80 HU) with")


@pytest.mark.parametrize("name", FIGURES)
def test_simulated_data_are_described_as_simulated(name, examples):
    data = examples[name]
    marked = data.assign(simulated=True) if FIGURES[name].kind == "table" else data | {"simulated": np.array(True)}
    assert describe(name, marked).endswith(" (simulated data).")


@pytest.mark.parametrize("name", [name for name, spec in FIGURES.items() if spec.kind == "table"])
def test_an_empty_table_is_described_as_no_data(name, examples):
    assert describe(name, examples[name].iloc[:0]).startswith("No data: ")


def test_a_figure_without_a_sentence_of_its_own_is_named_after_its_drawing():
    def drawing():
        """Draw a line, and nothing else."""

    assert "a line" not in SENTENCES
    table = pd.DataFrame({"n": [60, 60], "events": [12, 12]})
    assert sentence("a line", table, drawing) == "A line, and nothing else: n = 60, 12 with HE."


def test_incomplete_data_are_refused_as_in_drawing():
    with pytest.raises(ValueError, match="must have"):
        describe("flow", pd.DataFrame({"step": ["test"]}))
