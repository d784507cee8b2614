import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit
from scipy.stats import chi2

from hepred_lib.stats.effects import odds_ratios, profile_odds_ratios, term_tests
from hepred_lib.stats.logistic import fit_logistic

R = Path(__file__).resolve().parents[1] / "data" / "r"


def cohort(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"age": rng.normal(65, 12, n), "ivh": (rng.random(n) < 0.3).astype(float)})
    x["place"] = pd.Categorical(rng.choice(["deep", "lobar", "stem"], n))
    y = (rng.random(n) < expit(0.05 * (x["age"] - 65) + x["ivh"] - 1)).to_numpy(dtype=int)
    return x, y


def separated():
    x = pd.DataFrame({"x1": [-3, -2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2, 3], "x2": [0.2, -0.4, 1, 0.3, -1, 0.7, -0.2, 0.5, -0.9, 0.1]})  # fmt: skip # noqa: E501
    return x, np.repeat([0, 1], 5)


def fixed(x, y, name, value):
    """Log-likelihood with one coefficient held, by statsmodels and an offset."""
    rest = sm.add_constant(pd.get_dummies(x.drop(columns=name), drop_first=True, dtype=float))
    return sm.GLM(y, rest, family=sm.families.Binomial(), offset=value * x[name]).fit(tol=1e-12).llf


def test_a_step_of_ten_years_is_the_tenth_power_of_one():
    one = odds_ratios(["age"], [0.05], [0.02], units={})
    ten = odds_ratios(["age"], [0.05], [0.02])
    assert ten[["odds_ratio", "low", "high"]].to_numpy() == pytest.approx(one[["odds_ratio", "low", "high"]] ** 10)
    assert (one["p"] == ten["p"]).all()


def test_wald_interval_by_hand():
    row = odds_ratios(["ivh"], [np.log(9)], [np.sqrt(8 / 3)]).iloc[0]
    assert (row["odds_ratio"], row["low"]) == pytest.approx((9, 9 * np.exp(-1.959963984540054 * np.sqrt(8 / 3))))


def test_a_model_without_predictors_has_no_odds_ratio():
    assert odds_ratios([], [], []).empty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"], [np.nan], [1.0]), "coefficients must be finite"),
        ((["a"], [1.0], [0.0]), "errors above 0"),
        ((["a", "b"], [1.0], [1.0]), "one number"),
    ],
)
def test_figures_that_are_no_estimates_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        odds_ratios(*arguments)


def test_a_step_of_zero_is_refused():
    with pytest.raises(ValueError, match="units must be above 0, got 0 for age"):
        odds_ratios(["age"], [1.0], [1.0], units={"age": 0})


def test_the_likelihood_at_the_profile_limits_has_fallen_by_half_the_quantile():
    x, y = cohort()
    table = profile_odds_ratios(x, y, units={}).set_index("name")
    top = fit_logistic(x, y).log_likelihood
    for name in ("age", "ivh"):
        for limit in table.loc[name, ["profile_low", "profile_high"]]:
            assert top - fixed(x, y, name, np.log(limit)) == pytest.approx(chi2.ppf(0.95, 1) / 2, abs=1e-6)


def test_intervals_and_term_tests_equal_r():
    table, expected = pd.read_csv(R / "selection.csv"), json.loads((R / "effects.json").read_text())
    x, y = table.drop(columns="y").astype({"location": "category"}), table["y"]
    found = profile_odds_ratios(x, y, units={})
    # R interpolates the profile between points.
    tolerances = {"odds_ratio": 1e-8, "low": 1e-8, "high": 1e-8, "p": 1e-7, "profile_low": 5e-4, "profile_high": 5e-4}
    for key, tolerance in tolerances.items():
        assert found[key].tolist() == pytest.approx([row[key] for row in expected["effects"].values()], rel=tolerance)
    terms = term_tests(x, y)
    assert terms["term"].tolist() == list(expected["terms"])
    for key in ("df", "statistic", "p"):
        assert terms[key].tolist() == pytest.approx([row[key] for row in expected["terms"].values()], rel=1e-7)


def test_profile_and_wald_agree_in_large_cohorts():
    table = profile_odds_ratios(*cohort(20_000))
    assert table["profile_low"].to_numpy() == pytest.approx(table["low"].to_numpy(), rel=0.01)
    assert table["profile_high"].to_numpy() == pytest.approx(table["high"].to_numpy(), rel=0.01)


def test_a_separating_column_has_a_finite_firth_profile_that_leaves_out_one():
    x, y = separated()
    row = profile_odds_ratios(x, y, separation="firth").iloc[0]
    assert 1 < row["profile_low"] < row["odds_ratio"] < row["profile_high"]
    assert row["low"] < 1  # Wald would find nothing


def test_separation_is_refused_unless_answered():
    for function in (profile_odds_ratios, term_tests):
        with pytest.raises(ValueError, match="x1 separate"):
            function(*separated())


def test_the_test_of_a_term_is_the_difference_of_two_fits():
    x, y = cohort()
    table = term_tests(x, y).set_index("term")
    for name, df in (("age", 1), ("place", 2)):
        ratio = 2 * (fit_logistic(x, y).log_likelihood - fit_logistic(x.drop(columns=name), y).log_likelihood)
        assert table.loc[name, ["df", "statistic", "p"]].tolist() == pytest.approx([df, ratio, chi2.sf(ratio, df)])


def test_a_block_is_tested_as_a_whole():
    x, y = cohort()
    table = term_tests(x, y, blocks={"patient": ["age", "ivh"]}).set_index("term")
    assert table.index.tolist() == ["patient", "place"]
    assert table.loc["patient", "df"] == 2


def test_under_firths_penalty_the_test_and_the_interval_agree():
    x, y = separated()
    p = term_tests(x, y, separation="firth").set_index("term")["p"]
    table = profile_odds_ratios(x, y, separation="firth", level=1 - p["x1"], units={}).set_index("name")
    assert table.loc["x1", "profile_low"] == pytest.approx(1, abs=1e-5)


def test_firth_profile_equals_a_grid_over_the_penalized_likelihood():
    x, y = separated()
    x = x[["x1"]]
    design = np.column_stack([np.ones(10), x["x1"]])
    slopes, intercepts = np.meshgrid(np.linspace(0.05, 8, 400), np.linspace(-4, 4, 401), indexing="ij")
    eta = slopes[..., None] * design[:, 1] + intercepts[..., None]
    v = expit(eta) * expit(-eta)
    s0, s1, s2 = v.sum(-1), (v * design[:, 1]).sum(-1), (v * design[:, 1] ** 2).sum(-1)
    reached = (y * eta - np.logaddexp(0, eta)).sum(-1) + 0.5 * np.log(s0 * s2 - s1**2)
    inside = slopes[:, 0][2 * (reached.max() - reached.max(axis=1)) <= chi2.ppf(0.95, 1)]
    row = profile_odds_ratios(x, y, separation="firth", units={}).iloc[0]
    assert np.log(row[["profile_low", "profile_high"]].astype(float)).tolist() == pytest.approx(
        [inside[0], inside[-1]], abs=0.03
    )


def test_an_odds_ratio_beyond_all_numbers_is_infinite():
    row = odds_ratios(["age"], [80.0], [1.0]).iloc[0]
    assert row[["odds_ratio", "low", "high"]].tolist() == [np.inf] * 3
