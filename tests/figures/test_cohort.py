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
    assert len(rectangles) == 6
    for i, one in enumerate(rectangles):
        assert not any(one.overlaps(other) for other in rectangles[i + 1 :])


def test_more_reasons_make_a_taller_page(examples):
    table = examples["flow"]
    assert flow_height_mm(table) > flow_height_mm(table[table["step"] != "reason"])


def test_a_cohort_panel_states_the_numbers_it_draws(examples):
    table = examples["cohort"].query("variable == 'GCS'").reset_index(drop=True)
    table.loc[:3, "value"] = np.nan  # three without expansion, one with
    (axes,) = draw("cohort", table).axes
    assert axes.get_title(loc="left") == "9 HE, 27 no HE"
    assert axes.get_xlabel() == "GCS"


def test_outlying_scans_are_marked_and_counted(examples, drawn):
    figure = drawn["quality"]
    assert figure.legends[0].get_texts()[0].get_text() == "outlying scan (2 of 40)"
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xdata(), examples["quality"]["noise_hu"][:2])


def test_scans_that_are_all_ordinary_have_no_mark(examples):
    figure = draw("quality", examples["quality"].assign(outlier=False))
    assert not any(axes.lines for axes in figure.axes)


def test_bars_of_slices_hold_one_number_each(examples, drawn):
    bars = drawn["quality"].axes[3].patches
    assert {round(bar.get_width(), 9) for bar in bars} == {1.0}
    assert sum(bar.get_height() for bar in bars) == len(examples["quality"])


@pytest.mark.parametrize(("name", "columns"), [("quality", ["n_slices", "noise_hu"]), ("cohort", ["value"])])
def test_a_quantity_that_was_never_measured_says_no_data(name, columns, examples):
    figure = draw(name, examples[name].assign(**dict.fromkeys(columns, np.nan)))
    silent = [axes for axes in figure.axes if "no data" in [text.get_text() for text in axes.texts]]
    assert len(silent) == (2 if name == "quality" else 7)
