from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.effects import (
    multivariable_odds_ratios,
    odds_ratios,
    pooled_profile_limits,
    profile_odds_ratios,
    univariable_odds_ratios,
)
from hepred_lib.stats.logistic import fit_logistic, maximum_given

NAMES = ("age", "warfarin", "place")
SETTINGS = DevelopmentSettings(NAMES, forced=NAMES, n_imputations=3, n_resamples=2)


def cohort(n=160, seed=0, *, gaps=True):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"age": rng.normal(65, 12, n), "warfarin": (rng.random(n) < 0.1).astype(float)})
    x["place"] = pd.Categorical(rng.choice(["deep", "lobar"], n))
    y = (rng.random(n) < expit(0.04 * (x["age"] - 65) + 1.2 * x["warfarin"] - 1)).astype(int)
    if gaps:
        x.loc[rng.random(n) < 0.3, "age"] = np.nan
    return x, y


def test_complete_data_have_the_profile_limits_of_one_fit():
    x, y = cohort(gaps=False)
    table = multivariable_odds_ratios(develop(x, y, SETTINGS), x, y)
    expected = profile_odds_ratios(x, y).set_index("name").loc[table["name"]]
    for column in ("odds_ratio", "low", "high", "profile_low", "profile_high"):
        assert table[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-5)
    assert set(table["method"]) == {"maximum likelihood"}


def test_the_average_of_the_distributions_reaches_its_limits():
    rng = np.random.default_rng(1)
    y = (rng.random(80) < 0.3).astype(float)
    designs = [np.column_stack([np.ones(80), rng.normal(size=80) + 0.8 * y]) for _ in range(4)]
    low, high = pooled_profile_limits(designs, y, np.zeros(2), 1, level=0.9, penalized=False)
    both, only = np.array([True, True]), np.array([True, False])
    for limit, reached in ((low, 0.05), (high, 0.95)):
        parts = []
        for design in designs:
            best, top = maximum_given(design, y, np.zeros(2), both)
            drop = top - maximum_given(design, y, np.array([best[0], limit]), only)[1]
            parts.append(norm.cdf(np.sign(limit - best[1]) * np.sqrt(2 * drop)))
        assert np.mean(parts) == pytest.approx(reached, abs=1e-5)


def test_missing_values_widen_the_limits():
    x, y = cohort()
    model = develop(x, y, SETTINGS)
    table = multivariable_odds_ratios(model, x, y).set_index("name")
    alone = multivariable_odds_ratios(develop(x, y, replace(SETTINGS, n_imputations=1)), x, y).set_index("name")
    width = [np.log(t.loc["age", "profile_high"] / t.loc["age", "profile_low"]) for t in (table, alone)]
    assert width[0] > width[1]
    assert (table["profile_low"] < table["odds_ratio"]).all()
    assert (table["odds_ratio"] < table["profile_high"]).all()


def test_the_sets_drawn_again_are_those_of_the_model():
    x, y = cohort()
    model = develop(x, y, SETTINGS)
    wald = odds_ratios(model.names, model.unshrunk_coefficients, model.standard_errors)
    profile = multivariable_odds_ratios(model, x, y)
    assert profile["odds_ratio"].tolist() == wald["odds_ratio"].tolist()
    middle = np.log(profile["profile_low"] * profile["profile_high"]) / 2
    assert middle.tolist() == pytest.approx(np.log(wald["odds_ratio"]).tolist(), abs=0.2)


def test_separated_predictors_have_finite_limits_by_firths_penalty():
    x, y = cohort(gaps=False)
    table = multivariable_odds_ratios(develop(x.assign(warfarin=y * 1.0), y, SETTINGS), x.assign(warfarin=y * 1.0), y)
    assert set(table["method"]) == {"firth"}
    assert np.isfinite(table.set_index("name").loc["warfarin", ["profile_low", "odds_ratio"]].astype(float)).all()


def test_a_model_without_predictors_has_an_empty_table():
    x, y = cohort()
    nothing = develop(x, y, DevelopmentSettings(("age",), alpha=1e-12, n_resamples=2))
    table = multivariable_odds_ratios(nothing, x, y)
    assert table.empty
    assert {"profile_low", "profile_high", "method"} <= set(table)


def test_one_predictor_is_fitted_on_those_who_have_it():
    x, y = cohort()
    table = univariable_odds_ratios(x, y).set_index("name")
    known = x["age"].notna()
    alone = fit_logistic(x.loc[known, ["age"]], y[known])
    assert table.loc["age", ["n", "events", "step"]].tolist() == [known.sum(), y[known].sum(), 10]
    assert table.loc["age", "odds_ratio"] == pytest.approx(np.exp(10 * alone.coefficients[1]))
    assert table.index.tolist() == ["age", "warfarin", "place[lobar]"]


def test_what_cannot_be_fitted_alone_has_no_odds_ratio():
    x, y = cohort()
    table = univariable_odds_ratios(x.assign(warfarin=1.0, age=x["age"].where(y == 1)), y).set_index("name")
    assert table.loc[["warfarin", "age"], "odds_ratio"].isna().all()
    assert table.loc["age", "events"] == table.loc["age", "n"]
    assert univariable_odds_ratios(x[[]], y).empty


def test_a_level_outside_the_unit_interval_is_refused():
    x, y = cohort(60)
    model = develop(x, y, SETTINGS)
    with pytest.raises(ValueError, match="level"):
        multivariable_odds_ratios(model, x, y, level=1.0)
