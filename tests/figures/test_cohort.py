import numpy as np
import pytest

from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.cohort import flow_height_mm


def boxes(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_boxes_do_not_overlap_and_list_events_where_they_are_known_and_reasons(drawn, examples):
    rectangles = [patch.get_bbox() for patch in drawn["flow"].axes[0].patches if hasattr(patch, "get_bbox")]
    assert len(rectangles) == 7
    for i, one in enumerate(rectangles):
        assert not any(one.overlaps(other) for other in rectangles[i + 1 :])
    said = boxes(drawn["flow"])
    (excluded,) = (text for text in said if text.startswith("Excluded"))
    assert excluded.splitlines()[:3] == ["Excluded", "n = 6", "• follow-up later than 72 h: 4"]
    assert {"Patients in the manifest\nn = 270", "Included, with outcome\nn = 240, 48 with HE"} <= set(said)
    table = examples["flow"]
    assert flow_height_mm(table) > flow_height_mm(table[table["step"] != "reason"])


def test_a_cohort_panel_states_the_numbers_it_draws(examples):
    table = examples["cohort"].query("variable == 'Age (years)'")
    (axes,) = draw("cohort", table).axes
    assert axes.get_title(loc="left") == "10 HE, 30 no HE"
    assert axes.get_xlabel() == "Age (years)"
    assert all(line.get_ydata()[[0, -1]].tolist() == [0, 1] for line in axes.lines)
    assert len(axes.collections) == 2, "a band each"


@pytest.mark.parametrize(("variables", "rows"), [(3, [3]), (4, [4]), (6, [3, 3]), (7, [4, 3])])
def test_panels_stand_in_rows_as_even_as_they_can_be(variables, rows, examples):
    names = examples["cohort"]["variable"].unique()[:variables]
    figure = draw("cohort", examples["cohort"][examples["cohort"]["variable"].isin(names)])
    heights = [round(axes.get_position().y0, 3) for axes in figure.axes if axes.axison]
    assert [heights.count(height) for height in sorted(set(heights), reverse=True)] == rows


def test_outlying_scans_are_marked_and_counted_and_bars_of_slices_hold_one_number_each(examples, drawn):
    figure, table = drawn["quality"], examples["quality"]
    assert figure.legends[0].get_texts()[0].get_text() == "flagged scan (2 of 40)"
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xdata(), table["noise_hu"][:2])
    bars = figure.axes[3].patches
    assert {round(bar.get_width(), 9) for bar in bars} == {1.0}
    assert sum(bar.get_height() for bar in bars) == len(table)


def test_scans_of_one_thickness_stand_in_the_middle_of_one_bar_and_what_was_never_measured_says_no_data(examples):
    table = examples["quality"].assign(thickness_mm=5.0, n_slices=np.nan, noise_hu=np.nan, outlier=False)
    figure = draw("quality", table)
    (bar,) = (bar for bar in figure.axes[0].patches if bar.get_height())
    assert bar.get_x() + bar.get_width() / 2 == pytest.approx(5)
    assert sum("no data" in [text.get_text() for text in axes.texts] for axes in figure.axes) == 2
    assert not any(axes.lines for axes in figure.axes), "ordinary scans have no mark"
