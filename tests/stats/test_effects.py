import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2, norm

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.effects import (
    multivariable_odds_ratios,
    odds_ratios,
    univariable_odds_ratios,
    weighted_odds_ratios,
)
from hepred_lib.stats.logistic import fit_logistic, maximize, profile_limits
from tests.stats.conftest import cohort, of_r

NAMES = ("gcs", "anticoagulant", "place")
SETTINGS = DevelopmentSettings(NAMES, forced=NAMES, n_imputations=3, n_resamples=2)


def patients(*, gaps=True):
    x, y = cohort(160, gaps=gaps)
    return x[list(NAMES)], y


def table_of(x, y):
    """Odds ratios of a model with all predictors."""
    settings = DevelopmentSettings(tuple(x), forced=tuple(x), n_imputations=1, n_resamples=1)
    return multivariable_odds_ratios(develop(x, y, settings), x, y).set_index("name")


def test_odds_ratios_by_hand_are_powers_of_their_step_and_may_be_infinite():
    one, ten = odds_ratios(["age"], [0.05], [0.02], units={}), odds_ratios(["age"], [0.05], [0.02])
    ends = ["odds_ratio", "low", "high"]
    assert ten[ends].to_numpy() == pytest.approx(one[ends] ** 10)
    assert (one["p"] == ten["p"]).all()
    row = odds_ratios(["ivh"], [np.log(9)], [np.sqrt(8 / 3)]).iloc[0]
    assert (row["odds_ratio"], row["low"]) == pytest.approx((9, 9 * np.exp(-1.959963984540054 * np.sqrt(8 / 3))))
    assert odds_ratios(["age"], [80.0], [1.0]).loc[0, ends].tolist() == [np.inf] * 3


def test_a_model_without_predictors_has_an_empty_table():
    x, y = patients()
    nothing = develop(x, y, DevelopmentSettings(("place",), alpha=1e-12, n_resamples=2))
    table = multivariable_odds_ratios(nothing, x, y)
    assert table.empty
    assert {"odds_ratio", "profile_low", "profile_high", "method"} <= set(table)
    assert list(weighted_odds_ratios(nothing, x, y, np.ones(len(x)))) == ["name", "step", "odds_ratio", "weighted"]


def test_the_sets_drawn_again_are_those_of_the_model_and_a_weight_of_two_is_a_patient_counted_twice():
    x, y = patients()
    model = develop(x, y, SETTINGS)
    profile = multivariable_odds_ratios(model, x, y)
    middle = np.log(profile["profile_low"] * profile["profile_high"]) / 2
    assert middle.tolist() == pytest.approx(np.log(profile["odds_ratio"]).tolist(), abs=0.2)
    table = weighted_odds_ratios(model, x, y, np.ones(len(x)))
    assert table["weighted"].tolist() == pytest.approx(table["odds_ratio"].tolist(), rel=1e-6)
    x, y = patients(gaps=False)
    counts = 1 + np.arange(len(x)) % 2
    twice = fit_logistic(x.loc[np.repeat(x.index, counts)].reset_index(drop=True), np.repeat(y.to_numpy(), counts))
    weighted = weighted_odds_ratios(develop(x, y, SETTINGS), x, y, counts)
    assert weighted["weighted"].tolist() == pytest.approx(np.exp(twice.coefficients[1:] * weighted["step"]), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: odds_ratios(["a"], [np.nan], [1.0]), "coefficients must be finite"),
        (lambda: odds_ratios(["a"], [1.0], [0.0]), "errors above 0"),
        (lambda: odds_ratios(["a", "b"], [1.0], [1.0]), "one number"),
        (lambda: odds_ratios(["age"], [1.0], [0.1], units={"age": 0}), "units must be above 0, got 0 for age"),
    ],
)
def test_figures_that_are_no_estimates_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_intervals_and_likelihood_ratios_equal_r():
    table, expected = of_r("selection.csv"), of_r("effects.json")
    x, y = table.drop(columns="y"), table["y"]
    found = table_of(x, y)
    ratios = ["odds_ratio", "low", "high", "profile_low", "profile_high"]
    found[ratios] = found[ratios].pow(1 / found["step"], axis=0)
    # R interpolates the profile between points.
    tolerances = {"odds_ratio": 1e-8, "low": 1e-8, "high": 1e-8, "p": 1e-7, "profile_low": 5e-4, "profile_high": 5e-4}
    for key, tolerance in tolerances.items():
        assert found[key].tolist() == pytest.approx([row[key] for row in expected["effects"].values()], rel=tolerance)
    top = fit_logistic(x, y).log_likelihood
    for term, row in expected["terms"].items():
        statistic = 2 * (top - fit_logistic(x.drop(columns=term), y).log_likelihood)
        assert (statistic, chi2.sf(statistic, row["df"])) == pytest.approx((row["statistic"], row["p"]), rel=1e-7)


def test_the_average_of_the_distributions_of_several_sets_reaches_its_limits():
    rng = np.random.default_rng(1)
    y, free = (rng.random(80) < 0.3).astype(float), np.array([True, False])
    designs = [np.column_stack([np.ones(80), rng.normal(size=80) + 0.8 * y]) for _ in range(4)]
    limits = profile_limits(designs, y, np.zeros(2), 1, penalized=False)
    for limit, reached in zip(limits, (0.025, 0.975), strict=True):
        parts = []
        for design in designs:
            best, top = maximize(design, y)
            drop = top - maximize(design, y, np.array([best[0], limit]), free=free)[1]
            parts.append(norm.cdf(np.sign(limit - best[1]) * np.sqrt(2 * drop)))
        assert np.mean(parts) == pytest.approx(reached, abs=1e-5)


def test_separated_predictors_have_finite_limits_by_firths_penalty():
    x, y = patients(gaps=False)
    table = table_of(x.assign(anticoagulant=y * 1.0), y)
    assert set(table["method"]) == {"firth"}
    assert np.isfinite(table.loc["anticoagulant", ["profile_low", "odds_ratio"]].astype(float)).all()


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
    limits = profile_limits([design], y, np.zeros(2), 1, penalized=True)
    assert limits == pytest.approx([inside[0], inside[-1]], abs=0.03)
    top, without = (maximize(design, y, free=np.array([True, b]), penalized=True)[1] for b in (True, False))
    assert chi2.sf(2 * (top - without), 1) < 0.05 < limits[0]  # the interval leaves out 0, Wald's would not


def test_one_predictor_is_fitted_on_those_who_have_it():
    x, y = patients()
    table = univariable_odds_ratios(x, y).set_index("name")
    known = x["gcs"].notna()
    alone = fit_logistic(x.loc[known, ["gcs"]], y[known])
    assert table.loc["gcs", ["n", "events", "step"]].tolist() == [known.sum(), y[known].sum(), 1]
    assert table.loc["gcs", "odds_ratio"] == pytest.approx(np.exp(alone.coefficients[1]))
    assert table.index.tolist() == ["gcs", "anticoagulant", "place[lobar]", "place[stem]"]


def test_what_cannot_be_fitted_alone_has_no_odds_ratio():
    x, y = patients()
    changed = x.assign(anticoagulant=1.0, gcs=x["gcs"].where(y == 1), inr=np.nan)
    table = univariable_odds_ratios(changed, y).set_index("name")
    assert table.loc[["anticoagulant", "gcs", "inr"], "odds_ratio"].isna().all()
    assert np.isfinite(table.loc["place[lobar]", "odds_ratio"])
    assert table.loc["gcs", "events"] == table.loc["gcs", "n"] > table.loc["inr", "n"] == 0
    assert univariable_odds_ratios(x[[]], y).empty
