import numpy as np

from hepred_lib.figures.catalogue import draw


def test_each_model_has_a_curve_and_its_patients_below(drawn):
    axes = drawn["calibration"].axes
    titles = [pair.get_title(loc="left").splitlines()[0] for pair in axes if pair.get_title(loc="left")]
    assert titles == ["Image", "Clinical", "Integrated"]
    assert len(axes) == 6


def test_the_bars_count_events_up_and_others_down(examples):
    table = examples["calibration"].query("model == 'clinical'")
    heights = [bar.get_height() for bar in draw("calibration", table).axes[3].patches]  # the lower row has three places
    patients = table[table["kind"] == "patient"]
    assert sum(height for height in heights if height > 0) == patients["y"].sum()
    assert -sum(height for height in heights if height < 0) == (1 - patients["y"]).sum()


def test_rows_in_any_order_draw_the_same_curve(examples):
    table = examples["calibration"].query("model == 'clinical' and kind == 'curve'")
    curve, shuffled = (draw("calibration", rows).axes[0].lines[1] for rows in (table, table.iloc[::-1]))
    np.testing.assert_array_equal(curve.get_xydata(), shuffled.get_xydata())
