"""Models: odds ratios, candidates, nomogram."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.figures.catalogue import caption, draw
from hepred_lib.figures.models import LABEL_MM, SCALE_MM, WIDEST_MODELS


def test_a_term_of_two_models_has_one_line_with_both_estimates_and_their_p(drawn):
    axes = drawn["odds_ratios_clinical"].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == sorted(
        {"GCS, per point", "Onset to CT, per hour", "Anticoagulant", "DL score, per SD", "INR, per unit"}
    )
    assert [text.get_text() for text in axes.texts[:4]] == ["0.86 (0.78–0.95)", "0.004", "0.82 (0.71–0.94)", "<0.001"]
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert round(heights["0.86 (0.78–0.95)"]) == round(heights["0.90 (0.81–1.00)"]) == names.index("GCS, per point")


def test_an_endless_interval_ends_in_an_arrow_and_large_ratios_have_fewer_decimals(examples):
    for high, arrows, text in ((9.994, 0, "(0.78–9.99)"), (12.34, 0, "(0.78–12.3)"), (432.1, 1, "(0.78–432)")):
        axes = draw("odds_ratios_clinical", examples["odds_ratios_clinical"].iloc[:1].assign(high=high)).axes[0]
        assert axes.texts[0].get_text() == f"0.86 {text}"
        assert [line.get_marker() for line in axes.lines].count(">") == arrows
    assert axes.get_xlim()[1] == WIDEST_MODELS[1]
    alone = examples["odds_ratios_clinical"].iloc[:1].assign(low=np.nan, high=np.nan)
    assert draw("odds_ratios_clinical", alone).axes[0].texts[0].get_text() == "0.86"


def test_profile_limits_are_marked_and_said_only_where_they_differ(examples):
    table = examples["odds_ratios_clinical"].query("model == 'clinical'")
    near = table.assign(profile_low=0.98 * table["low"], profile_high=table["high"])
    assert "within 5 %" in caption("odds_ratios_clinical", near)
    assert not [line for line in draw("odds_ratios_clinical", near).axes[0].lines if line.get_marker() == "|"]
    apart = near.assign(profile_high=table["high"] * [1.0, 1.0, 1.3])
    (mark,) = [line for line in draw("odds_ratios_clinical", apart).axes[0].lines if line.get_marker() == "|"]
    assert mark.get_xdata() == pytest.approx([0.98 * 1.21, 1.3 * 5.62])
    assert "Anticoagulant 1.19 to 7.31." in caption("odds_ratios_clinical", apart)
    assert "rofile" not in caption("odds_ratios_clinical", table)


@pytest.mark.parametrize("candidates", [4, 8, 20])
def test_the_cells_of_a_map_of_correlations_are_small_however_few_they_are(candidates):
    pairs = [(i, j, f"v{i}", f"v{j}", 0.1) for i in range(candidates) for j in range(i)]
    figure = draw("correlation", pd.DataFrame(pairs, columns=["row", "column", "variable", "other", "correlation"]))
    axes = figure.axes[0]
    width_mm = axes.get_window_extent().width / figure.dpi * 25.4
    assert 3.5 < width_mm / np.ptp(axes.get_xlim()) < 9


def test_the_correlations_of_few_candidates_are_a_sentence(examples):
    table = examples["correlation"].iloc[:3].assign(correlation=[-0.051, 0.1, np.nan])
    assert draw("correlation", table).axes[0].texts[0].get_text() == "too few candidates for a map"
    assert "GCS and Age −0.05; NIHSS and Age 0.10. Too few" in caption("correlation", table)
    assert "and Age" not in caption("correlation", examples["correlation"])


def test_selected_candidates_are_filled_dots_and_others_empty(examples, drawn):
    table = examples["inclusion_frequency"]
    dots = [line for line in drawn["inclusion_frequency"].axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() != "white" for dot in dots] == table["selected"].tolist()
    assert [dot.get_xdata()[0] for dot in dots] == table["frequency"].tolist()
    untold = draw("inclusion_frequency", table.drop(columns="kind")).axes[0]
    assert not any(text.get_text() for text in untold.texts), "without a known truth no kind is printed"


def test_missing_shares_are_printed_in_per_cent_by_outcome(drawn):
    axes = drawn["missing"].axes[0]
    assert [text.get_text() for text in axes.texts] == ["31", "28", "40", "5", "4", "8", "0", "0", "0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["all\nn = 107", "no HE\nn = 86", "HE\nn = 21"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Glucose", "NIHSS", "Age"]


def test_strong_correlations_are_printed_in_hundredths(drawn):
    axes = drawn["correlation"].axes[0]
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["−72", "20"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["GCS", "NIHSS", "Site A"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Age", "GCS", "NIHSS"]


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_axis_has_its_words_under_those_of_the_points_and_half_of_each_in_the_middle(drawn):
    texts = drawn["nomogram"].axes[0].texts
    labels = [text for text in texts if text.get_position()[0] == -LABEL_MM]
    heights = [text.get_position()[1] for text in labels]
    assert [text.get_text() for text in labels][:2] == ["Points", "GCS"]
    assert labels[-1].get_text() == "Probability of HE"
    assert heights == sorted(heights)
    places = {text.get_text(): text.get_position()[0] for text in texts}
    assert (places["50"], places["0.5"]) == pytest.approx((SCALE_MM / 2, 100 / 160 * SCALE_MM))
    assert "−2" in places


def test_words_are_never_left_out_and_do_not_touch(drawn):
    figure = drawn["nomogram"]
    assert {"no", "yes", "lobar", "basal ganglia", "thalamus"} <= set(words(figure))
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    touching = [
        (a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5
        and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5
    ]  # fmt: skip
    assert not touching


def test_numbers_that_would_touch_are_left_out(examples):
    table = examples["nomogram"]
    crowded = table.copy()
    crowded.loc[crowded["axis"] == "gcs", "points"] = np.linspace(4, 0, 5)
    shown = words(draw("nomogram", crowded))
    assert "15" in shown
    assert "12" not in shown
