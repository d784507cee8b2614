import numpy as np

from hepred_lib.figures.catalogue import draw


def test_the_two_references_come_after_the_models(drawn):
    labels = [text.get_text() for text in drawn["decision_curve"].legends[0].get_texts()]
    assert labels == ["Image", "Clinical", "Integrated", "treat all", "treat none"]


def test_the_fall_of_treating_all_does_not_stretch_the_axis(examples, drawn):
    low, high = drawn["decision_curve"].axes[0].get_ylim()
    assert examples["decision_curve"]["net_benefit"].min() < -0.9 < -high <= low < 0


def test_a_harmful_model_stays_in_view(examples):
    table = examples["decision_curve"].copy()
    clinical = table["model"] == "clinical"
    table.loc[clinical, "net_benefit"] = np.linspace(0.15, -0.12, clinical.sum())
    assert draw("decision_curve", table).axes[0].get_ylim()[0] <= -0.12
