import pytest

from hepred_lib.stats.published import (
    AUCS,
    PERCENTAGES,
    consistent_test_sets,
    critical_correlation,
    difference_p,
    hanley_mcneil_interval,
    published_performance,
)

IMAGE, CLINICAL, INTEGRATED = (hanley_mcneil_interval(value, 21, 86) for value in (0.76, 0.81, 0.83))


def test_the_nine_published_figures_fit_exactly_five_test_sets_the_smallest_with_these_counts():
    table = consistent_test_sets(PERCENTAGES)
    sizes = table[["n_positive", "n_negative"]].drop_duplicates()
    assert sizes.values.tolist() == [[21 * k, 86 * k] for k in range(1, 6)]
    expected = {"image": [17, 4, 31, 55], "clinical": [17, 4, 23, 63], "integrated": [16, 5, 15, 71]}
    smallest = table.iloc[:3].set_index("model")[["tp", "fn", "fp", "tn"]]
    assert {model: row.tolist() for model, row in smallest.iterrows()} == expected


def test_enumeration_equals_trying_every_table():
    assert consistent_test_sets({"one": (10.0, 100.0, 100.0)}, n_max=50).empty
    figures = (75.0, 66.7, 77.8)
    found = consistent_test_sets({"one": figures}, n_max=16)[["tp", "fn", "fp", "tn"]].values.tolist()
    tables = [
        [tp, m - tp, n - tn, tn]
        for m in range(1, 16)
        for n in range(1, 17 - m)
        for tp in range(m + 1)
        for tn in range(n + 1)
        if (round(100 * (tp + tn) / (m + n), 1), round(100 * tp / m, 1), round(100 * tn / n, 1)) == figures
    ]
    assert found == tables == [[2, 1, 2, 7]]


def test_published_aucs_differ_significantly_only_if_highly_correlated():
    found = [difference_p(IMAGE, INTEGRATED, correlation) for correlation in (0, 0.5, 0.8, 0.9)]
    assert found == pytest.approx([0.42, 0.26, 0.075, 0.013], abs=0.005)
    pairs = (IMAGE, CLINICAL), (CLINICAL, INTEGRATED), (IMAGE, INTEGRATED)
    assert [critical_correlation(*pair) for pair in pairs] == pytest.approx([0.919, 0.986, 0.836], abs=5e-4)


def test_the_stored_figures_are_those_of_the_abstract():
    image, clinical, integrated = (67.3, 81.0, 64.0), (74.8, 81.0, 73.3), (81.3, 76.2, 82.6)
    assert {"image": image, "clinical": clinical, "integrated": integrated} == PERCENTAGES
    assert AUCS == {"image": 0.76, "clinical": 0.81, "integrated": 0.83}
    found = hanley_mcneil_interval(0.81, 21, 86)
    assert (found.low, found.high, found.standard_error) == pytest.approx((0.692, 0.928, 0.060), abs=5e-4)


def test_published_intervals_come_from_the_smallest_test_set():
    table = published_performance().set_index(["model", "figure"])
    assert set(table["n"]) == {107}
    sensitivity = table.loc[("integrated", "sensitivity")]
    assert (sensitivity["low"], sensitivity["high"]) == pytest.approx((0.528, 0.918), abs=5e-4)
    assert table.loc[("image", "auc"), "low"] == IMAGE.low


REFUSED = {
    "no model": (lambda: consistent_test_sets({}), "published must name at least one model"),
    "two percentages": (lambda: consistent_test_sets({"one": (67.3, 81.0)}), "published must give three percentages"),
    "a perfect AUC": (lambda: hanley_mcneil_interval(1, 21, 86), "auc must lie between 0 and 1, got 1"),
    "a correlation of one": (lambda: difference_p(IMAGE, CLINICAL, 1), "correlation must lie between -1 and 1, got 1"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
