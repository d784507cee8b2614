import pandas as pd
import pytest

from hepred_lib.figures.catalogue import draw


def test_the_difference_is_predicted_minus_reference():
    table = pd.DataFrame({"reference_ml": [10.0], "predicted_ml": [14.0], "bias": [4.0], "low": [-1.0], "high": [9.0]})
    figure = draw("bland_altman", table)
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[12.0, 4.0]]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["bias 4.0 mL", "95 % limits of agreement −1.0 to 9.0 mL"]


def test_limits_that_could_not_be_computed_are_not_drawn(examples):
    figure = draw("bland_altman", examples["bland_altman"].iloc[:1].assign(low=None, high=None).astype(float))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bias −0.8 mL"]


def test_the_intervals_of_bias_and_limits_are_bands(examples):
    bands = {"bias_low": -1.4, "bias_high": -0.2, "low_low": -6, "low_high": -4, "high_low": 3, "high_high": 4}
    figure = draw("bland_altman", examples["bland_altman"].assign(**bands))
    heights = sorted(patch.get_bbox().height for patch in figure.axes[0].patches)
    assert heights == pytest.approx([1, 1.2, 2])
    assert figure.legends[0].get_title().get_text() == "n = 40; bands: 95 % CI"


def test_each_loss_has_a_panel_and_each_fold_a_line(drawn):
    figure = drawn["learning_curves"]
    assert figure.axes[0].get_ylabel() == "Total loss"
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3, 3]


def test_a_single_epoch_is_still_seen(examples):
    figure = draw("learning_curves", examples["learning_curves"].query("epoch == 1"))
    assert {line.get_marker() for line in figure.axes[0].lines} == {"o"}
