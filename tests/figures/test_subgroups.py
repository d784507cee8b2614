from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.performance import WIDEST


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_each_subgroup_stands_under_its_split_with_its_sizes(drawn):
    names = [label.get_text() for label in drawn["subgroups"].axes[0].get_yticklabels()]
    assert names == [
        "All test patients: n = 107, 21 HE",
        *("Sex", "female: n = 47, 9 HE", "male: n = 60, 12 HE"),
        *("Site", "missing: n = 3, 1 HE"),
    ]


def test_a_subgroup_with_too_few_events_says_so_in_both_panels(drawn):
    for axes in drawn["subgroups"].axes:
        assert texts(axes).count("too few events") == 1
        assert texts(axes).count("group not known") == 1


def test_estimates_and_interactions_are_printed(drawn):
    auc, large = drawn["subgroups"].axes
    assert {"0.83 (0.72 to 0.90)", "interaction p = 0.31"} <= set(texts(auc))
    assert {"−0.80 (−4.10 to 0.40)", "interaction p < 0.001"} <= set(texts(large))


def test_an_interval_beyond_the_axis_ends_in_an_arrow(drawn):
    large = drawn["subgroups"].axes[1]
    assert large.get_xlim() == (-WIDEST, WIDEST)
    assert [line.get_marker() for line in large.lines].count("<") == 1


def test_without_any_figure_the_panels_still_say_why(examples):
    table = examples["subgroups"].iloc[1:2]
    assert texts(draw("subgroups", table).axes[0]) == ["too few events", "interaction p = 0.31"]
