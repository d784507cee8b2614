import numpy as np
import pandas as pd
import pytest

from hepred_lib.cohort.scores import SCORES, bat_score, brain_score, nag_score, nine_point_score

LOWEST = {
    "baseline_volume_ml": 5.0,
    "prior_ich": 0,
    "anticoagulant": 0,
    "ivh": 0,
    "onset_to_ct_h": 8.0,
    "blend_sign": 0,
    "any_hypodensity": 0,
    "nihss": 3,
    "glucose_mmol_l": 6.0,
}
HIGHEST = {
    "baseline_volume_ml": 80.0,
    "prior_ich": 1,
    "anticoagulant": 1,
    "ivh": 1,
    "onset_to_ct_h": 0.5,
    "blend_sign": 1,
    "any_hypodensity": 1,
    "nihss": 20,
    "glucose_mmol_l": 9.0,
}


def one(score, **changes):
    return score(pd.DataFrame([LOWEST | changes])).item()


@pytest.mark.parametrize(
    ("name", "low", "high"), [("brain", 0, 24), ("nine_point", 1, 7), ("bat", 0, 5), ("nag", 0, 3)]
)
def test_range_of_each_score(name, low, high):
    assert SCORES[name].function(pd.DataFrame([LOWEST, HIGHEST])).tolist() == [low, high]


@pytest.mark.parametrize(("hours", "points"), [(1, 5), (1.01, 4), (2, 4), (3, 3), (4, 2), (5, 1), (5.01, 0)])
def test_brain_points_for_time(hours, points):
    assert one(brain_score, onset_to_ct_h=hours) == points


@pytest.mark.parametrize(("volume", "points"), [(10, 0), (10.01, 5), (20, 5), (20.01, 7)])
def test_brain_points_for_volume(volume, points):
    assert one(brain_score, baseline_volume_ml=volume) == points


@pytest.mark.parametrize(("column", "points"), [("prior_ich", 4), ("anticoagulant", 6), ("ivh", 2)])
def test_brain_points_for_history_and_ventricles(column, points):
    assert one(brain_score, **{column: 1}) == points


@pytest.mark.parametrize(("volume", "points"), [(29.9, 1), (30, 2), (60, 2), (60.1, 3)])
def test_nine_point_score_counts_an_unknown_spot_sign_as_one(volume, points):
    assert one(nine_point_score, baseline_volume_ml=volume) == points


@pytest.mark.parametrize(("hours", "points"), [(6, 3), (6.01, 1)])
def test_nine_point_score_for_time(hours, points):
    assert one(nine_point_score, onset_to_ct_h=hours) == points


@pytest.mark.parametrize(("hours", "points"), [(2.49, 2), (2.5, 0)])
def test_bat_points_for_time(hours, points):
    assert one(bat_score, onset_to_ct_h=hours) == points


@pytest.mark.parametrize(("changes", "points"), [({"nihss": 9}, 0), ({"nihss": 10}, 1), ({"glucose_mmol_l": 7.4}, 1)])
def test_nag_points(changes, points):
    assert one(nag_score, **changes) == points


@pytest.mark.parametrize("name", SCORES)
def test_index_and_order_of_patients_are_kept(name):
    table = pd.DataFrame([LOWEST, HIGHEST], index=["HE-2", "HE-1"])
    scored = SCORES[name].function(table)
    assert scored.index.tolist() == ["HE-2", "HE-1"]
    pd.testing.assert_series_equal(SCORES[name].function(table[::-1]), scored[::-1])


@pytest.mark.parametrize(("name", "column"), [(n, c) for n, score in SCORES.items() for c in score.columns])
def test_a_missing_value_leaves_that_patient_without_a_score(name, column):
    table = pd.DataFrame([HIGHEST | {column: np.nan}, HIGHEST])
    assert SCORES[name].function(table).isna().tolist() == [True, False]


@pytest.mark.parametrize(("name", "column"), [(n, c) for n, score in SCORES.items() for c in score.columns])
def test_an_absent_column_leaves_everyone_without_a_score(name, column):
    assert SCORES[name].function(pd.DataFrame([HIGHEST, LOWEST]).drop(columns=column)).isna().all()


@pytest.mark.parametrize("name", SCORES)
def test_an_empty_table_gives_an_empty_float_series(name):
    scored = SCORES[name].function(pd.DataFrame([LOWEST]).iloc[:0])
    assert len(scored) == 0
    assert scored.dtype == float


def test_nullable_columns_are_read():
    table = pd.DataFrame([HIGHEST, LOWEST]).astype({"prior_ich": "Int64"})
    table.loc[1, "prior_ich"] = pd.NA
    assert brain_score(table).isna().tolist() == [False, True]


def test_text_in_a_needed_column_is_refused():
    with pytest.raises(ValueError, match="unknown"):
        nag_score(pd.DataFrame([LOWEST]).astype(object).assign(nihss="unknown"))


def test_brain_equals_its_table_written_out():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"baseline_volume_ml": rng.lognormal(2.4, 1, 200), "onset_to_ct_h": rng.lognormal(1, 1, 200)})
    table[["prior_ich", "anticoagulant", "ivh"]] = rng.integers(0, 2, (200, 3))

    def points(row):
        volume = 0 if row.baseline_volume_ml <= 10 else 5 if row.baseline_volume_ml <= 20 else 7
        hours = next((5 - i for i in range(5) if row.onset_to_ct_h <= i + 1), 0)
        return volume + hours + 4 * row.prior_ich + 6 * row.anticoagulant + 2 * row.ivh

    assert brain_score(table).tolist() == [points(row) for row in table.itertuples()]
