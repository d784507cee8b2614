"""Performance: discrimination, calibration, net benefit, reclassification, subgroups."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.figures.catalogue import caption, draw, shows_nothing
from hepred_lib.figures.performance import CAUTION, WIDEST


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_roc_curve_shows_the_given_points_and_its_operating_point(examples, drawn):
    table = examples["roc"]
    image = table[table["model"] == "image"]
    curve, point = drawn["roc"].axes[0].lines[:2]
    vertices = image.loc[image["sensitivity"].notna(), ["false_positive_rate", "sensitivity"]]
    np.testing.assert_array_equal(curve.get_xydata(), vertices)
    np.testing.assert_array_equal(point.get_xydata()[0], image[["operating_fpr", "operating_sensitivity"]].iloc[0])


def test_the_legend_gives_size_estimates_and_the_reference(examples, drawn):
    assert legend(drawn["roc"]) == [*examples["roc"]["label"].unique()]
    assert "N = 60, 12 with HE." in caption("roc", examples["roc"])
    assert len(drawn["roc"].axes[0].collections) == 1, "one band: more could not be told apart"


def test_models_of_different_patients_each_state_their_own_size(examples):
    table = examples["roc"].copy()
    table.loc[table["model"] == "image", "n"] = 48
    sizes = [label.partition("; ")[2] for label in legend(draw("roc", table))[:2]]
    assert sizes == ["n = 48, 12 with HE", "n = 60, 12 with HE"]


def test_operating_points_on_one_another_are_all_seen(examples):
    together = draw("roc", examples["roc"].assign(operating_fpr=0.2, operating_sensitivity=0.7)).axes[0]
    sizes = [line.get_markersize() for line in together.lines if line.get_marker() != "None"]
    assert len(sizes) == 3
    assert np.diff(sizes).max() < -1.0, "those drawn first are larger"
    apart = draw("roc", examples["roc"]).axes[0]
    assert len({line.get_markersize() for line in apart.lines if line.get_marker() != "None"}) == 1
    none = draw("roc", examples["roc"].assign(operating_fpr=np.nan, operating_sensitivity=np.nan)).axes[0]
    assert {line.get_marker() for line in none.lines} == {"None"}


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
    unknown = draw("oracle", examples["oracle"].assign(low=np.nan, high=np.nan)).axes[0]
    assert sum(line.get_marker() == "D" for line in unknown.lines) == 3, "an AUC without an interval"
    axes = drawn["power"].axes[0]
    assert legend(drawn["power"]) == ["image against clinical", "image against integrated", "four in five"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.1, 0.2, 0.5])
    assert len(axes.collections) == 2


def test_the_bars_count_events_up_and_others_down(examples):
    table = examples["calibration"].query("model == 'clinical'")
    heights = [bar.get_height() for bar in draw("calibration", table).axes[1].patches]
    patients = table[table["kind"] == "patient"]
    assert sum(height for height in heights if height > 0) == patients["y"].sum()
    assert -sum(height for height in heights if height < 0) == (1 - patients["y"]).sum()
    curve, backwards = (draw("calibration", rows).axes[0].lines[1] for rows in (table, table.iloc[::-1]))
    np.testing.assert_array_equal(curve.get_xydata(), backwards.get_xydata())


def test_the_fall_of_treating_all_does_not_stretch_the_axis_and_a_harmful_model_stays_in_view(examples, drawn):
    assert legend(drawn["decision_curve"]) == ["Image", "Clinical", "Integrated", "treat all", "treat none"]
    low, high = drawn["decision_curve"].axes[0].get_ylim()
    assert 100 * examples["decision_curve"]["net_benefit"].min() < -90 < -high <= low < 0
    table = examples["decision_curve"].copy()
    clinical = table["model"] == "clinical"
    table.loc[clinical, "net_benefit"] = np.linspace(0.15, -0.12, clinical.sum())
    assert draw("decision_curve", table).axes[0].get_ylim()[0] <= -12


def test_a_difference_has_a_panel_of_its_own_and_one_model_its_band(examples, drawn):
    curves, difference = drawn["decision_curve"].axes
    assert not curves.collections
    assert len(difference.collections) == 1
    alone = draw("decision_curve", examples["decision_curve"].query("model in ['clinical', 'treat_all', 'treat_none']"))
    assert [len(axes.collections) for axes in alone.axes] == [1]


def test_with_few_events_calibration_is_shown_in_groups(examples):
    table = examples["calibration"].query("model == 'clinical'").copy()
    table.loc[table["kind"].eq("curve"), "kind"] = "group"
    upper = draw("calibration", table).axes[0]
    assert upper.lines[-1].get_linestyle() == "None"
    assert len(upper.collections) == 2  # the empty band, and the intervals


def test_events_and_non_events_stand_apart_with_their_counts_and_the_indexes_in_the_caption(drawn, examples):
    said = caption("reclassification", examples["reclassification"])
    assert f"NRI 0.27 (0.01 to 0.52); IDI 0.06 (−0.01 to 0.13). {CAUTION}" in said
    events, others = drawn["reclassification"].axes
    assert events.get_ylabel() == "Risk by the clinical model"
    assert [label.get_text() for label in events.get_xticklabels()] == ["below 10 %", "10 to 30 %", "30 % or more"]
    assert events.get_title("left") == "HE, n = 21: net improvement 14 in 100"
    assert others.get_title("left") == "no HE, n = 86: net improvement 13 in 100"
    assert events.texts[5].get_text() == "4\n19 %"


def test_a_move_up_is_right_with_expansion_and_wrong_without(drawn):
    def hatched(axes):
        cells = [patch for patch in axes.patches if patch.get_hatch()]
        return {(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in cells}

    events, others = drawn["reclassification"].axes
    assert hatched(events) == {(0, 1), (1, 2)}  # (new, old): moved down although it expanded
    assert hatched(others) == {(1, 0), (2, 0), (2, 1)}


def test_where_nobody_moves_a_sentence_says_so(examples):
    table = examples["reclassification"]
    still = table.assign(patients=table["patients"].where(table["old"] == table["new"], 0))
    assert shows_nothing("reclassification", still)
    assert not shows_nothing("reclassification", table)
    assert texts(draw("reclassification", still).axes[0]) == ["no moves between strata of risk"]


@pytest.mark.parametrize("n_models", [1, 2, 3])
def test_calibration_leaves_no_blank_above_its_panels(n_models, examples):
    table = examples["calibration"]
    figure = draw("calibration", table[table["model"].isin(table["model"].unique()[:n_models])])
    titles = [text for axes in figure.axes for text in (axes._left_title, axes.title) if text.get_text()]
    blank = figure.bbox.height - max(title.get_window_extent().y1 for title in titles)
    names = [title.get_text().splitlines()[0] for title in titles]
    assert names == ["Image", "Clinical", "Integrated"][:n_models]
    assert len(figure.axes) == 2 * n_models, "a curve, and the patients below"
    assert 0 <= blank * 25.4 / figure.dpi < 4.5


def test_each_subgroup_stands_under_its_split_with_its_sizes(drawn, examples):
    left_out = "Subgroups not drawn, for too few patients of an outcome or none to compare with: 3."
    assert left_out in caption("subgroups", examples["subgroups"])
    names = [label.get_text() for label in drawn["subgroups"].axes[0].get_yticklabels()]
    assert names == [
        "All test patients: n = 107, 21 HE",
        *("Sex", "female: n = 47, 11 HE", "male: n = 60, 10 HE"),
    ], "the only age group with an estimate has none to be compared with"


def test_one_score_far_outside_is_written_at_the_edge_and_does_not_stretch_the_axis(examples):
    table = examples["dl_score"].query("split == 'test'").reset_index(drop=True)
    table.loc[0, "dl_score"] = -14.8
    axes = draw("dl_score", table).axes[0]
    assert axes.get_ylim()[0] > -8
    assert "1 value, −14.8" in texts(axes)


def test_estimates_and_interactions_are_printed(drawn):
    auc, large = drawn["subgroups"].axes
    assert {"0.83 (0.72–0.90)", "interaction p = 0.31"} <= set(texts(auc))
    assert {"−0.80 (−4.10 to 0.40)", "interaction p < 0.001"} <= set(texts(large))
    assert large.get_xlim() == (-WIDEST, WIDEST)
    assert [line.get_marker() for line in large.lines].count("<") == 1, "an interval beyond the axis ends in an arrow"


def test_what_holds_elsewhere_is_drawn_for_each_model_and_place(drawn):
    risks, areas = drawn["transport"].axes
    assert [label.get_text() for label in risks.get_yticklabels()] == [
        "Clinical, study patients", "Clinical, new patients", "Clinical, new patients, updated",
        "Integrated, new patients",
    ]  # fmt: skip
    means = [line.get_xdata()[0] for line in risks.lines if line.get_marker() == "D"]
    assert means == pytest.approx([21, 22, 39, 20])
    assert "0.70 (0.51–0.84)" in texts(areas)
    assert not [text for text in texts(areas) if text.startswith("0.66")], "a line does not change the AUC"


def test_subgroups_of_which_none_can_be_judged_are_a_sentence(examples):
    table = examples["subgroups"].query("group == '70 or older'")
    assert texts(draw("subgroups", table).axes[0]) == ["no two subgroups with enough patients of each outcome"]
    table = pd.concat([examples["subgroups"].iloc[:1], table])
    assert ": 1. No two subgroups" in caption("subgroups", table), (
        "all patients, whose row comes first, are no subgroup"
    )
    assert shows_nothing("subgroups", examples["subgroups"].iloc[:1]), "all patients are no subgroup"
    assert not shows_nothing("subgroups", examples["subgroups"])
    sites = examples["internal_external"].assign(auc=np.nan)
    assert texts(draw("internal_external", sites).axes[0]) == ["too few events at every site"]


def test_sites_that_agree_keep_their_intervals_beside_a_summary_without_end(examples):
    near = {"estimate": [0.03, -0.02, 0.0], "low": [-0.6, -0.7, -9.0], "high": [0.6, 0.6, 9.0], "reference": 0.0}
    seeds = {"seed_low": [0.03, -0.02, np.nan], "seed_high": [0.03, -0.02, np.nan]}
    left, right = draw("pooled", examples["pooled"].assign(**near, **seeds)).axes[0].get_xlim()
    assert -2.0 < left < -0.7
    assert 0.6 < right < 2.0
