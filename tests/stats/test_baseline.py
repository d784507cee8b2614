"""Distributions and the first table: by hand, edges, refusals, and a table made by tableone."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats.baseline import (
    Contrast,
    baseline_table,
    cumulative_distribution,
    group_p,
    standardized_difference,
)


def levels(*values):
    return pd.Series(pd.Categorical(values, categories=["basal_ganglia", "lobar", "stem"]))


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "age": [50.0, 60.0, 70.0, 80.0, np.nan, 64.0],
            "diabetes": [0.0, 1.0, 0.0, np.nan, 1.0, 1.0],
            "place": levels("basal_ganglia", "basal_ganglia", "lobar", "lobar", "lobar", None),
        }
    )


@pytest.fixture
def columns():
    return {"All": [True] * 6, "No HE": [True, True, True, False, False, False], "HE": [False] * 3 + [True] * 3}


def test_the_cumulative_proportion_climbs_to_one_in_steps_of_its_ties_and_is_refused_without_values():
    table = cumulative_distribution([5, 2, 2, 9])
    assert table["value"].tolist() == [2, 5, 9]
    assert table["proportion"].tolist() == [0.5, 0.75, 1.0]
    assert (table["low"] <= table["proportion"]).all()
    assert (table["proportion"] <= table["high"]).all()
    for values in ([], [1.0, np.nan]):
        with pytest.raises(ValueError, match="values must be finite numbers, at least one, got"):
            cumulative_distribution(values)


@pytest.mark.parametrize(
    ("first", "second", "expected"), [([1.0, 1.0], [1.0, 1.0], 0.0), ([1.0], [0.0], np.nan), ([], [1.0], np.nan)]
)
def test_where_nothing_varies_a_difference_is_zero_or_unknown(first, second, expected):
    found = standardized_difference(pd.Series(first, dtype=float), pd.Series(second, dtype=float))
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        ([1.0] * 4, [0.0] * 4, 2 / 70),  # Fisher: two tables as extreme among 70
        ([1.0, 2, 3], [4.0, 5, 6], 2 / 20),  # ranks: 2 of 20 orders
        ([1.0, 1.0], [1.0], np.nan),
    ],
)
def test_the_p_of_two_groups_by_hand(first, second, p):
    assert group_p(pd.Series(first), pd.Series(second)) == pytest.approx(p, nan_ok=True)


def test_categories_with_small_expected_counts_have_no_p():
    assert np.isnan(group_p(levels("basal_ganglia", "lobar"), levels("basal_ganglia", "stem")))
    many = levels(*["basal_ganglia", "lobar"] * 20)
    assert group_p(many, many) == pytest.approx(1)


def test_the_first_table_by_hand(frame, columns):
    table = baseline_table(frame, columns, [Contrast("No HE", "HE", tested=True)], labels={"age": "Age (years)"})
    table = table.set_index("Variable")
    assert list(table) == ["Known", "All", "No HE", "HE", "SMD HE vs No HE", "p"]
    assert table.loc["Patients", "HE"] == "n = 3"
    assert table.loc["Age (years), median (quartiles)", ["Known", "No HE"]].tolist() == ["5", "60 (55–65)"]
    assert table.loc["diabetes, n (%)", ["Known", "All", "HE"]].tolist() == ["5", "3/5 (60.0)", "2/2 (100.0)"]
    assert table.loc["– basal ganglia", ["All", "No HE", "HE"]].tolist() == ["2/5 (40.0)", "2/3 (66.7)", "0/2 (0.0)"]


def test_all_quartiles_of_a_variable_have_the_same_decimals_and_no_zero_has_a_sign():
    frame = pd.DataFrame({"inr": [0.9, 1.0, 1.1, 1.2, 1.3], "hours": [1.0, 2, 3, 4, 5.5], "ml": [5.5, 7, 9, 60, 99]})
    frame = frame.assign(gcs=[13.0, 14, 15, 14, 14], change=[0.001, -0.002, -0.001, 0.0, 0.0])
    halves = {"All": [True] * 5, "One": [True] * 2 + [False] * 3, "Two": [False] * 2 + [True] * 3}
    table = baseline_table(frame, halves, [Contrast("One", "Two")])
    expected = ["1.10 (1.00–1.20)", "3.0 (2.0–4.0)", "9 (7–60)", "14 (14–14)", "0.00 (0.00–0.00)"]
    assert table["All"].tolist()[1:] == expected
    assert "p" not in table, "a random split is not tested"


def test_the_variable_that_made_the_groups_is_not_tested(frame, columns):
    table = baseline_table(pd.DataFrame({"he": [0.0, 0, 0, 1, 1, 1]}), columns, [Contrast("No HE", "HE", tested=True)])
    assert table.loc[1, ["HE", "SMD HE vs No HE", "p"]].tolist() == ["3/3 (100.0)", "–", "–"]


def test_a_group_without_values_shows_a_dash_and_one_that_is_empty_or_an_earlier_one_again_is_left_out(frame, columns):
    groups = columns | {"Development": columns["All"], "Test": [False] * 6}
    contrasts = [Contrast("No HE", "HE", True), Contrast("Development", "Test")]
    table = baseline_table(frame.assign(age=[1.0, 2.0, 3.0, *[np.nan] * 3]), groups, contrasts)
    assert list(table) == ["Variable", "Known", *columns, "SMD HE vs No HE", "p"]
    age = table.set_index("Variable").loc["age, median (quartiles)"]
    assert age[["HE", "SMD HE vs No HE", "p"]].tolist() == ["–", "–", "–"]


def test_numbers_agree_with_those_of_tableone():
    # tableone 0.9.6, TableOne(frame, ["x", "b", "c"], ["b", "c"], groupby="g", nonnormal=["x"], pval=True, smd=True)
    n = np.arange(60)
    g = n % 3 == 0
    x = pd.Series((n * 7 % 23) + 3.0 * g)
    b = pd.Series((n * 5 % 7 < 3).astype(float))
    c = pd.Series(pd.Categorical(np.array(["u", "v", "w"])[n * n % 11 % 3]))
    assert [round(standardized_difference(s[~g], s[g]), 3) for s in (x, b, c)] == [0.677, 0.050, 0.152]
    assert [round(group_p(s[~g], s[g]), 3) for s in (x, c)] == [0.021, 0.859]
