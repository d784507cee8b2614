import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit
from scipy.stats import chi2, norm

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.effects import multivariable_odds_ratios, odds_ratios, univariable_odds_ratios
from hepred_lib.stats.logistic import fit_logistic, maximize, profile_limits

R = Path(__file__).resolve().parents[1] / "data" / "r"
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


def table_of(x, y, n_imputations=1, **how):
    """Odds ratios of a model with all predictors."""
    settings = DevelopmentSettings(tuple(x), forced=tuple(x), n_imputations=n_imputations, n_resamples=1)
    return multivariable_odds_ratios(develop(x, y, settings), x, y, **how).set_index("name")


def test_a_step_of_ten_years_is_the_tenth_power_of_one():
    one, ten = odds_ratios(["age"], [0.05], [0.02], units={}), odds_ratios(["age"], [0.05], [0.02])
    assert ten[["odds_ratio", "low", "high"]].to_numpy() == pytest.approx(one[["odds_ratio", "low", "high"]] ** 10)
    assert (one["p"] == ten["p"]).all()


def test_wald_interval_by_hand():
    row = odds_ratios(["ivh"], [np.log(9)], [np.sqrt(8 / 3)]).iloc[0]
    assert (row["odds_ratio"], row["low"]) == pytest.approx((9, 9 * np.exp(-1.959963984540054 * np.sqrt(8 / 3))))


def test_an_odds_ratio_beyond_all_numbers_is_infinite():
    row = odds_ratios(["age"], [80.0], [1.0]).iloc[0]
    assert row[["odds_ratio", "low", "high"]].tolist() == [np.inf] * 3


def test_a_model_without_predictors_has_an_empty_table():
    x, y = cohort()
    nothing = develop(x, y, DevelopmentSettings(("age",), alpha=1e-12, n_resamples=2))
    table = multivariable_odds_ratios(nothing, x, y)
    assert table.empty
    assert {"odds_ratio", "profile_low", "profile_high", "method"} <= set(table)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: odds_ratios(["a"], [np.nan], [1.0]), "coefficients must be finite"),
        (lambda: odds_ratios(["a"], [1.0], [0.0]), "errors above 0"),
        (lambda: odds_ratios(["a", "b"], [1.0], [1.0]), "one number"),
        (lambda: odds_ratios(["age"], [1.0], [0.1], units={"age": 0}), "units must be above 0, got 0 for age"),
        (lambda: table_of(*cohort(60), level=1.0), "level"),
    ],
)
def test_figures_that_are_no_estimates_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_likelihood_at_the_profile_limits_has_fallen_by_half_the_quantile():
    x, y = cohort(gaps=False)
    table, top = table_of(x, y, units={}), fit_logistic(x, y).log_likelihood
    for name in ("age", "warfarin"):
        rest = sm.add_constant(pd.get_dummies(x.drop(columns=name), drop_first=True, dtype=float))
        for limit in np.log(table.loc[name, ["profile_low", "profile_high"]].astype(float)):
            held = sm.GLM(y, rest, family=sm.families.Binomial(), offset=limit * x[name]).fit(tol=1e-12)
            assert top - held.llf == pytest.approx(chi2.ppf(0.95, 1) / 2, abs=1e-6)


def test_intervals_and_likelihood_ratios_equal_r():
    table, expected = pd.read_csv(R / "selection.csv"), json.loads((R / "effects.json").read_text())
    x, y = table.drop(columns="y").astype({"location": "category"}), table["y"]
    found = table_of(x, y, units={})
    # R interpolates the profile between points.
    tolerances = {"odds_ratio": 1e-8, "low": 1e-8, "high": 1e-8, "p": 1e-7, "profile_low": 5e-4, "profile_high": 5e-4}
    for key, tolerance in tolerances.items():
        assert found[key].tolist() == pytest.approx([row[key] for row in expected["effects"].values()], rel=tolerance)
    top = fit_logistic(x, y).log_likelihood
    for term, row in expected["terms"].items():
        statistic = 2 * (top - fit_logistic(x.drop(columns=term), y).log_likelihood)
        assert (statistic, chi2.sf(statistic, row["df"])) == pytest.approx((row["statistic"], row["p"]), rel=1e-7)


def test_the_average_of_the_distributions_reaches_its_limits():
    rng = np.random.default_rng(1)
    y = (rng.random(80) < 0.3).astype(float)
    designs = [np.column_stack([np.ones(80), rng.normal(size=80) + 0.8 * y]) for _ in range(4)]
    for limit, reached in zip(
        profile_limits(designs, y, np.zeros(2), 1, level=0.9, penalized=False), (0.05, 0.95), strict=False
    ):
        parts = []
        for design in designs:
            best, top = maximize(design, y)
            drop = top - maximize(design, y, np.array([best[0], limit]), free=np.array([True, False]))[1]
            parts.append(norm.cdf(np.sign(limit - best[1]) * np.sqrt(2 * drop)))
        assert np.mean(parts) == pytest.approx(reached, abs=1e-5)


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
    table = table_of(x.assign(warfarin=y * 1.0), y)
    assert set(table["method"]) == {"firth"}
    assert np.isfinite(table.loc["warfarin", ["profile_low", "odds_ratio"]].astype(float)).all()


def test_limits_of_the_penalized_profile_are_where_a_grid_finds_them_and_agree_with_its_test():
    x = np.array([-3, -2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2, 3])
    y = np.repeat([0.0, 1.0], 5)
    slopes, intercepts = np.meshgrid(np.linspace(0.05, 8, 400), np.linspace(-4, 4, 401), indexing="ij")
    eta = slopes[..., None] * x + intercepts[..., None]
    v = expit(eta) * expit(-eta)
    s0, s1, s2 = v.sum(-1), (v * x).sum(-1), (v * x**2).sum(-1)
    reached = (y * eta - np.logaddexp(0, eta)).sum(-1) + 0.5 * np.log(s0 * s2 - s1**2)
    inside = slopes[:, 0][2 * (reached.max() - reached.max(axis=1)) <= chi2.ppf(0.95, 1)]
    design = np.column_stack([np.ones(10), x])
    limits = profile_limits([design], y, np.zeros(2), 1, level=0.95, penalized=True)
    assert limits == pytest.approx([inside[0], inside[-1]], abs=0.03)
    top, without = (maximize(design, y, free=np.array([True, b]), penalized=True)[1] for b in (True, False))
    assert chi2.sf(2 * (top - without), 1) < 0.05 < limits[0]  # the interval leaves out 0, Wald's would not


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
    changed = x.assign(warfarin=1.0, age=x["age"].where(y == 1), gcs=np.nan)
    table = univariable_odds_ratios(changed, y).set_index("name")
    assert table.loc[["warfarin", "age", "gcs"], "odds_ratio"].isna().all()
    assert np.isfinite(table.loc["place[lobar]", "odds_ratio"])
    assert table.loc["age", "events"] == table.loc["age", "n"] > table.loc["gcs", "n"] == 0
    assert univariable_odds_ratios(x[[]], y).empty
