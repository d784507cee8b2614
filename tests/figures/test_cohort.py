import numpy as np
import pytest

from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.cohort import flow_height_mm


def boxes(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_the_excluded_box_lists_its_reasons(drawn):
    (excluded,) = (text for text in boxes(drawn["flow"]) if text.startswith("Excluded"))
    assert excluded.splitlines()[:3] == ["Excluded", "n = 6", "• follow-up later than 72 h: 4"]


def test_events_are_given_where_they_are_known(drawn):
    texts = boxes(drawn["flow"])
    assert "Patients in the manifest\nn = 270" in texts
    assert "Included, with outcome\nn = 240, 48 with HE" in texts


def test_boxes_do_not_overlap(drawn):
    rectangles = [patch.get_bbox() for patch in drawn["flow"].axes[0].patches if hasattr(patch, "get_bbox")]
    assert len(rectangles) == 7
    for i, one in enumerate(rectangles):
        assert not any(one.overlaps(other) for other in rectangles[i + 1 :])


def test_more_reasons_make_a_taller_page(examples):
    table = examples["flow"]
    assert flow_height_mm(table) > flow_height_mm(table[table["step"] != "reason"])


def test_a_cohort_panel_states_the_numbers_it_draws(examples):
    table = examples["cohort"].query("variable == 'Age (years)'")
    (axes,) = draw("cohort", table).axes
    assert axes.get_title(loc="left") == "10 HE, 30 no HE"
    assert axes.get_xlabel() == "Age (years)"


def test_a_cumulative_curve_starts_at_zero_and_ends_at_one_with_its_band(examples):
    table = examples["cohort"].query("variable == 'GCS'")
    (axes,) = draw("cohort", table).axes
    for line in axes.lines:
        assert line.get_ydata()[[0, -1]].tolist() == [0, 1]
    assert len(axes.collections) == 2


@pytest.mark.parametrize(("variables", "rows"), [(3, [3]), (4, [4]), (6, [3, 3]), (7, [4, 3])])
def test_panels_stand_in_rows_as_even_as_they_can_be(variables, rows, examples):
    names = examples["cohort"]["variable"].unique()[:variables]
    figure = draw("cohort", examples["cohort"][examples["cohort"]["variable"].isin(names)])
    heights = [round(axes.get_position().y0, 3) for axes in figure.axes if axes.axison]
    assert [heights.count(height) for height in sorted(set(heights), reverse=True)] == rows


def test_outlying_scans_are_marked_and_counted(examples, drawn):
    figure = drawn["quality"]
    assert figure.legends[0].get_texts()[0].get_text() == "flagged scan (2 of 40)"
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xdata(), examples["quality"]["noise_hu"][:2])


def test_scans_that_are_all_ordinary_have_no_mark(examples):
    figure = draw("quality", examples["quality"].assign(outlier=False))
    assert not any(axes.lines for axes in figure.axes)


def test_bars_of_slices_hold_one_number_each(examples, drawn):
    bars = drawn["quality"].axes[3].patches
    assert {round(bar.get_width(), 9) for bar in bars} == {1.0}
    assert sum(bar.get_height() for bar in bars) == len(examples["quality"])


def test_scans_of_one_thickness_stand_in_the_middle_of_one_bar(examples):
    bars = draw("quality", examples["quality"].assign(thickness_mm=5.0)).axes[0].patches
    (bar,) = (bar for bar in bars if bar.get_height())
    assert bar.get_x() + bar.get_width() / 2 == pytest.approx(5)


def test_a_quantity_that_was_never_measured_says_no_data(examples):
    figure = draw("quality", examples["quality"].assign(n_slices=np.nan, noise_hu=np.nan))
    silent = [axes for axes in figure.axes if "no data" in [text.get_text() for text in axes.texts]]
    assert len(silent) == 2
