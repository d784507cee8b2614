import numpy as np
import pandas as pd
import pytest

from hepred_lib.cohort.scores import SCORES, bat_score, brain_score, nag_score, nine_point_score

LOWEST = {"baseline_volume_ml": 5.0, "prior_ich": 0, "anticoagulant": 0, "ivh": 0, "onset_to_ct_h": 8.0}
LOWEST |= {"blend_sign": 0, "any_hypodensity": 0, "nihss": 3, "glucose_mmol_l": 6.0}
HIGHEST = {"baseline_volume_ml": 80.0, "prior_ich": 1, "anticoagulant": 1, "ivh": 1, "onset_to_ct_h": 0.5}
HIGHEST |= {"blend_sign": 1, "any_hypodensity": 1, "nihss": 20, "glucose_mmol_l": 9.0}


@pytest.mark.parametrize(
    ("name", "low", "high"), [("brain", 0, 24), ("nine_point", 1, 7), ("bat", 0, 5), ("nag", 0, 3)]
)
def test_each_score_has_its_range_and_keeps_index_and_order_of_patients(name, low, high):
    scored = SCORES[name](pd.DataFrame([HIGHEST, LOWEST], index=["HE-2", "HE-1"]))
    assert scored.to_dict() == {"HE-2": high, "HE-1": low}
    assert scored.index.tolist() == ["HE-2", "HE-1"]


@pytest.mark.parametrize(
    ("score", "column", "points"),
    [
        (brain_score, "onset_to_ct_h", {1: 5, 1.01: 4, 2: 4, 3: 3, 4: 2, 5: 1, 5.01: 0}),
        (brain_score, "baseline_volume_ml", {10: 0, 10.01: 5, 20: 5, 20.01: 7}),
        (brain_score, "prior_ich", {1: 4}),
        (brain_score, "anticoagulant", {1: 6}),
        (brain_score, "ivh", {1: 2}),
        (nine_point_score, "baseline_volume_ml", {29.9: 1, 30: 2, 60: 2, 60.1: 3}),  # an unknown spot sign counts as 1
        (nine_point_score, "onset_to_ct_h", {6: 3, 6.01: 1}),
        (bat_score, "onset_to_ct_h", {2.49: 2, 2.5: 0}),
        (nag_score, "nihss", {9: 0, 10: 1}),
        (nag_score, "glucose_mmol_l", {7.4: 1}),
    ],
)
def test_points_on_both_sides_of_each_limit(score, column, points):
    table = pd.DataFrame([LOWEST | {column: value} for value in points])
    assert score(table).tolist() == list(points.values())


@pytest.mark.parametrize(
    ("score", "column"),
    [
        *((brain_score, c) for c in ("baseline_volume_ml", "prior_ich", "anticoagulant", "ivh", "onset_to_ct_h")),
        *((nine_point_score, column) for column in ("anticoagulant", "onset_to_ct_h", "baseline_volume_ml")),
        *((bat_score, column) for column in ("blend_sign", "any_hypodensity", "onset_to_ct_h")),
        *((nag_score, column) for column in ("nihss", "anticoagulant", "glucose_mmol_l")),
    ],
)
def test_a_missing_value_or_column_leaves_without_a_score(score, column):
    table = pd.DataFrame([HIGHEST | {column: np.nan}, HIGHEST])
    assert score(table).isna().tolist() == [True, False]
    assert score(table.drop(columns=column)).isna().all()
    assert (len(score(table.iloc[:0])), score(table.iloc[:0]).dtype) == (0, float)


def test_nullable_columns_are_read_and_text_in_a_needed_column_is_refused():
    table = pd.DataFrame([HIGHEST, LOWEST]).astype({"prior_ich": "Int64"})
    table.loc[1, "prior_ich"] = pd.NA
    assert brain_score(table).isna().tolist() == [False, True]
    with pytest.raises(ValueError, match="unknown"):
        nag_score(pd.DataFrame([LOWEST]).astype(object).assign(nihss="unknown"))
