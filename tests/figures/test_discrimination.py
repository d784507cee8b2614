import numpy as np
import pytest

from hepred_lib.figures.catalogue import draw


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_roc_curve_shows_the_given_points_and_its_operating_point(examples, drawn):
    table = examples["roc"]
    image = table[table["model"] == "image"]
    curve, point = drawn["roc"].axes[0].lines[:2]
    np.testing.assert_array_equal(curve.get_xydata(), image[["false_positive_rate", "sensitivity"]])
    np.testing.assert_array_equal(point.get_xydata()[0], image[["operating_fpr", "operating_sensitivity"]].iloc[0])


def test_the_legend_gives_size_estimates_and_the_reference(examples, drawn):
    assert legend(drawn["roc"]) == [*examples["roc"]["label"].unique(), "chance"]
    assert drawn["roc"].legends[0].get_title().get_text() == "n = 60, 12 with HE; bands: 95 % CI"


def test_models_of_different_patients_each_state_their_own_size(examples):
    table = examples["roc"].copy()
    table.loc[table["model"] == "image", "n"] = 48
    assert legend(draw("roc", table))[:2] == [
        "Image: AUC 0.71 (0.61–0.91); n = 48, 12 with HE",
        "Clinical: AUC 0.67 (0.61–0.91); n = 60, 12 with HE",
    ]


def test_a_roc_without_bands_does_not_promise_them(examples):
    figure = draw("roc", examples["roc"].assign(low=np.nan, high=np.nan))
    assert figure.legends[0].get_title().get_text() == "n = 60, 12 with HE"


def test_a_score_without_a_threshold_has_no_operating_point(examples):
    figure = draw("roc", examples["roc"].assign(operating_fpr=np.nan, operating_sensitivity=np.nan))
    assert {line.get_marker() for line in figure.axes[0].lines} == {"None"}


def test_an_interval_that_could_not_be_computed_leaves_the_oracle_drawn(examples):
    figure = draw("oracle", examples["oracle"].assign(low=np.nan, high=np.nan))
    assert sum(line.get_marker() == "D" for line in figure.axes[0].lines) == 3


@pytest.mark.parametrize(("p", "text"), [(0.0004, "p < 0.001"), (0.0314, "p = 0.031"), (np.nan, "Test")])
def test_the_p_value_stands_over_its_split(p, text, examples):
    table = examples["dl_score"].query("split == 'test'").assign(p=p)
    (heading,) = draw("dl_score", table).axes[0].texts
    assert heading.get_text().splitlines()[-1] == text


def test_patients_without_an_outcome_are_not_drawn(examples):
    table = examples["dl_score"].query("split == 'test'").astype({"he": float})
    table.loc[table.index[:4], "he"] = np.nan  # three without expansion, one with
    ticks = [tick.get_text() for tick in draw("dl_score", table).axes[0].get_xticklabels()]
    assert ticks == ["no HE\nn = 12", "HE\nn = 4"]


def test_each_pair_of_models_has_a_power_curve_between_its_bands_and_a_reference(examples, drawn):
    axes = drawn["power"].axes[0]
    assert legend(drawn["power"]) == ["image against clinical", "image against integrated", "four in five"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.1, 0.2, 0.5])
    assert len(axes.collections) == 2
