from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.performance import CAUTION


def test_events_and_non_events_stand_apart_with_their_counts(drawn):
    events, others = drawn["reclassification"].axes
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


def test_the_indexes_are_printed_with_their_intervals_and_their_caution(drawn):
    (legend,) = drawn["reclassification"].legends
    assert legend.get_title().get_text() == f"NRI 0.27 (0.01 to 0.52); IDI 0.06 (−0.01 to 0.13)\n{CAUTION}"


def test_the_axes_name_the_models_and_strata(examples):
    axes = draw("reclassification", examples["reclassification"].assign(old_model="image")).axes[0]
    assert axes.get_ylabel() == "Risk by the image model"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["below 10 %", "10 to 30 %", "30 % or more"]
