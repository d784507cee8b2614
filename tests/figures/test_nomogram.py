import numpy as np
import pytest

from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.models import LABEL_MM, SCALE_MM


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def place(figure, word):
    (text,) = [text for text in figure.axes[0].texts if text.get_text() == word]
    return text.get_position()


def test_every_axis_has_its_words_under_those_of_the_points(drawn):
    labels = [text for text in drawn["nomogram"].axes[0].texts if text.get_position()[0] == -LABEL_MM]
    heights = [text.get_position()[1] for text in labels]
    assert [text.get_text() for text in labels][:2] == ["Points", "GCS"]
    assert labels[-1].get_text() == "Probability of HE"
    assert heights == sorted(heights)


def test_fifty_points_stand_below_fifty_points_and_half_the_total_in_the_middle(drawn):
    figure = drawn["nomogram"]
    assert place(figure, "50")[0] == pytest.approx(SCALE_MM / 2)
    assert place(figure, "0.5")[0] == pytest.approx(100 / 160 * SCALE_MM)


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


def test_a_negative_score_has_a_minus_sign(drawn):
    assert "−2" in words(drawn["nomogram"])
