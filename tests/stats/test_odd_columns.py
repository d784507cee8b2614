"""Columns that stop a study elsewhere: collinear, constant, nearly empty, separating; each a result, and named."""

import numpy as np
import pytest
from scipy.special import expit

from hepred_lib.stats.development import DevelopmentSettings, cross_fit, develop
from hepred_lib.stats.diagnostics import collinear_predictors, variance_inflation
from hepred_lib.stats.effects import multivariable_odds_ratios
from hepred_lib.stats.logistic import independent_rows, maximize, profile_limits
from hepred_lib.stats.selection import forward_select, selection_stability
from hepred_lib.stats.sensitivity import compare_penalties
from tests.stats.conftest import cohort

pytestmark = pytest.mark.usefixtures("few_strengths")


def patients(n=240):
    x, y = cohort(n, gaps=False)
    return x[["gcs", "sbp", "place"]], y


COLLINEAR = {
    "a copy": lambda x: x.assign(copy=x["gcs"]),
    "other units": lambda x: x.assign(copy=1.8 * x["gcs"] + 32),
    "a sum": lambda x: x.assign(copy=x["gcs"] + x["sbp"]),
    "a level": lambda x: x.assign(copy=x["place"].eq("stem").astype(float)),
    "nearly a copy": lambda x: x.assign(copy=x["gcs"] * (1 + 1e-12)),
}


@pytest.mark.parametrize("add", COLLINEAR.values(), ids=COLLINEAR)
def test_a_collinear_candidate_is_named_moves_no_prediction_and_leaves_no_gap_in_a_table(add):
    x, y = patients()
    table, few = add(x), {"n_imputations": 2, "n_resamples": 4}
    model = develop(table, y, DevelopmentSettings((*x, "copy"), alpha=0.9, **few))
    assert "copy" not in model.path
    assert any("copy" in note and "ollinear" in note for note in model.notes)
    without = develop(x, y, DevelopmentSettings(tuple(x), alpha=0.9, **few))
    assert model.predict(table, shrunk=False) == pytest.approx(without.predict(x, shrunk=False), abs=1e-6)
    model = develop(table, y, DevelopmentSettings(tuple(table), forced=tuple(table), **few))
    odds = multivariable_odds_ratios(model, table, y)
    assert odds.drop(columns=["name", "method"]).notna().all(axis=None)
    assert "Without coefficient" in " ".join(model.notes)
    assert np.isinf(variance_inflation(table).set_index("predictor").loc["copy", "gvif"])
    stability = selection_stability(table, y, n_resamples=5, rng=np.random.default_rng(0))
    assert np.isfinite(stability.coefficients[["median", "low", "high"]]).all(axis=None)
    assert stability.coefficients["full"].isna().sum() == 1


def test_a_copy_with_gaps_is_no_second_predictor():
    x, y = patients()
    x["gcs"] = x["gcs"].where(np.arange(len(x)) % 5 > 0)
    settings = DevelopmentSettings((*x, "copy"), alpha=0.99, n_imputations=3, n_resamples=4)
    model = develop(x.assign(copy=x["gcs"]), y, settings)
    assert "copy" not in model.path
    assert np.abs(model.unshrunk_coefficients).max() < 3


def test_a_score_that_copies_a_chosen_candidate_has_no_coefficient():
    x, y = patients()
    table = x.assign(dl_score=2 * x["gcs"] - 7)
    model = develop(table, y, DevelopmentSettings(tuple(x), added=("dl_score",), n_imputations=2, n_resamples=4))
    assert "dl_score" not in model.names
    assert model.added_test is None
    assert any("dl_score" in note for note in model.notes)


def test_collinear_predictors_are_told_with_what_they_follow_from_but_not_those_of_few_patients():
    x, _ = patients()
    dummies = {f"is_{place}": x["place"].eq(place).astype(float) for place in x["place"].cat.categories}
    found = collinear_predictors(x.drop(columns="place").assign(total=x["gcs"] + x["sbp"], **dummies))
    assert found == {"total": ("gcs", "sbp"), "is_stem": ("is_deep", "is_lobar")}
    assert collinear_predictors(patients(12)[0]) == {}


def test_a_category_keeps_the_levels_that_do_not_follow_from_the_model():
    x, y = patients()
    chosen = forward_select(x.assign(stem=x["place"].eq("stem").astype(float))[["stem", "gcs"]], y)
    assert chosen.path
    design = np.vstack([np.ones(6), [1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]).astype(float)
    kept = independent_rows(design, np.ones((1, 6)), np.ones((1, 4), dtype=bool))
    assert kept.tolist() == [[True, True, True, False]]


@pytest.mark.parametrize("positive", [0, 1])
def test_a_binary_column_with_one_positive_gives_a_model(positive):
    x, y = patients()
    x["rare"] = 0.0
    x.loc[np.flatnonzero(y == positive)[0], "rare"] = 1.0
    model = develop(x, y, DevelopmentSettings(tuple(x), forced=("rare",), n_imputations=2, n_resamples=6))
    assert np.isfinite(model.predict(x)).all()
    assert np.isfinite(model.standard_errors).all()


@pytest.mark.parametrize(
    "change",
    [{"sbp": lambda x: x["sbp"].where(x.index != 3, 1e12)}, {"sbp": lambda x: x["gcs"].where(x.index % 40 == 0)}],
)
def test_neither_one_extreme_value_nor_a_column_known_in_one_fold_stops_the_cross_fitting(change):
    x, y = patients()
    x, fold = x.assign(**change), np.arange(len(x)) % 2
    p = cross_fit(x, y, fold, DevelopmentSettings(("sbp", "gcs"), forced=("sbp",), n_imputations=2, n_resamples=2))
    assert ((p > 0) & (p < 1)).all()
    assert compare_penalties(x, y, fold, p).notna().all(axis=None)


@pytest.mark.parametrize("seed", [3, 17])
def test_a_separating_score_has_profile_limits(seed):
    """Held far out, its penalized likelihood has a saddle, to which Newton's steps lead."""
    rng, y = np.random.default_rng(seed), np.repeat([0.0, 1.0], [60, 20])
    score = 10 * y + rng.random(80)
    design = np.column_stack([np.ones(80), rng.normal(size=80) - y, (score - score.mean()) / score.std()])
    for column in (1, 2):
        low, high = profile_limits([design], y, np.zeros(3), column, penalized=True)
        assert -np.inf < low < high < np.inf
    free = np.array([True, True, False])
    for value in (2.0, 7.0, 12.0):  # the search ends where the likelihood is flat to rounding
        found, reached = maximize(design, y, np.array([-3.0, 0, value]), free=free, penalized=True)
        assert maximize(design, y, found, free=free, penalized=True)[1] == pytest.approx(reached, abs=1e-9)


@pytest.mark.parametrize("size", [1e-4, 1e4])
def test_a_large_cohort_has_profile_limits_whatever_the_unit(size):
    rng = np.random.default_rng(0)
    n = 50_000
    design = np.column_stack([np.ones(n), rng.normal(size=n), rng.normal(size=n)])
    y = (rng.random(n) < expit(design @ [-1, 1e-4, 0.5])).astype(float)
    expected = profile_limits([design], y, np.zeros(3), 1, penalized=False)
    scaled = design * [1, size, 1]
    found = profile_limits([scaled], y, np.zeros(3), 1, penalized=False)
    assert np.array(found) * size == pytest.approx(np.array(expected), rel=1e-3, abs=1e-6)


def test_one_interval_that_cannot_be_found_leaves_the_others(monkeypatch):
    x, y = patients()
    model = develop(x, y, DevelopmentSettings(tuple(x), forced=("gcs", "sbp"), n_imputations=2, n_resamples=2))

    def lost(design, outcome, start, *, free=None, **how):
        if free is not None and not free[1]:
            raise ValueError("no maximum")
        return maximize(design, outcome, start, free=free, **how)

    monkeypatch.setattr("hepred_lib.stats.logistic.maximize", lost)
    table = multivariable_odds_ratios(model, x, y).set_index("name")
    assert table.loc["gcs", ["profile_low", "profile_high"]].isna().all()
    assert table.drop(index="gcs")[["profile_low", "profile_high"]].notna().all(axis=None)
