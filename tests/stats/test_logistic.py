import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize
from scipy.special import expit

from hepred_lib.stats.logistic import (
    Coding,
    batched_irls,
    fit_logistic,
    fit_robustly,
    log_likelihood,
    maximize,
    separating_columns,
    standardize,
    unscale,
)

TABLE = pd.DataFrame(
    {"age": [60.0, 70.0, 80.0], "location": pd.Categorical(["deep", "lobar", None], ["deep", "lobar"])}
)


def cohort(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"gcs": rng.integers(3, 16, n).astype(float), "inr": rng.lognormal(0, 0.2, n)})
    x["location"] = pd.Categorical(rng.choice(["deep", "lobar", "stem"], n))
    return x, (rng.random(n) < expit(-0.3 * (x["gcs"] - 10) + 2 * (x["inr"] - 1))).astype(int)


def sample(n=120, seed=0):
    """A design as columns, shape (n, 4), and an outcome."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return np.column_stack([np.ones(n), x]), (rng.random(n) < expit(x[:, 0] - 1)).astype(float), rng


def firth(design, y, weights=None):
    return maximize(design, y, weights=weights, penalized=True)[0]


def ones(y, n_fits=1):
    return np.ones((n_fits, y.size))


# fit_logistic


def test_the_odds_ratio_of_a_two_by_two_table_by_hand():
    x = pd.DataFrame({"anticoagulant": [1] * 4 + [0] * 4})
    model = fit_logistic(x, [1, 1, 1, 0, 1, 0, 0, 0])
    assert model.coefficients == pytest.approx([np.log(1 / 3), np.log(9)])
    assert model.standard_errors[1] == pytest.approx(np.sqrt(1 / 3 + 1 + 1 + 1 / 3))
    assert model.predict(x)[[0, 7]] == pytest.approx([0.75, 0.25])


def test_no_predictor_leaves_the_prevalence():
    model = fit_logistic(pd.DataFrame(index=range(5)), [1, 0, 0, 0, 0])
    assert model.names == ("intercept",)
    assert model.predict(pd.DataFrame(index=range(2))) == pytest.approx([0.2, 0.2])


def test_the_order_of_patients_does_not_matter_and_maximum_likelihood_is_kept_where_nothing_separates():
    x, y = cohort()
    rows = np.random.default_rng(1).permutation(len(x))
    model = fit_logistic(x.iloc[rows], y.iloc[rows], separation="firth")
    assert model.method == "maximum likelihood"
    assert model.names == ("intercept", "gcs", "inr", "location[lobar]", "location[stem]")
    assert model.aic == pytest.approx(-2 * model.log_likelihood + 10)
    assert model.bic == pytest.approx(-2 * model.log_likelihood + 5 * np.log(200))
    assert model.coefficients == pytest.approx(fit_logistic(x, y).coefficients)


def test_separated_data_equal_brglm2(reference):
    x, expected = reference("separated.csv"), reference("separated_firth.json")
    model = fit_logistic(x[["x1", "x2"]], x["y"], separation="firth")
    assert model.method == "firth"
    assert model.coefficients == pytest.approx(list(expected["coefficients"].values()), abs=1e-6)
    assert model.standard_errors == pytest.approx(list(expected["standard_errors"].values()), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inr": np.nan}, r"missing values in inr \(200\)"),
        ({"inr": 1.0}, "got a constant in inr"),
        ({"inr": "high"}, "Column inr must be numeric"),
        ({"twice": lambda x: 2 * x["gcs"] - x["inr"]}, "twice follow"),
        ({"blend_sign": lambda _: np.where(np.cumsum(cohort()[1]) < 4, cohort()[1], 0)}, "blend_sign separate"),
    ],
)
def test_columns_that_cannot_be_fitted_are_refused_by_name(change, message):
    x, y = cohort()
    with pytest.raises(ValueError, match=message):
        fit_logistic(x.assign(**change), y)


def test_other_unusable_arguments_are_refused():
    x, y = cohort()
    with pytest.raises(ValueError, match="index"):
        fit_logistic(x, y.iloc[::-1])
    with pytest.raises(ValueError, match="separation must be 'refuse' or 'firth'"):
        fit_logistic(x, y, separation="ignore")
    with pytest.raises(ValueError, match=r"gcs \(1\)"):
        fit_logistic(x, y).predict(x.assign(gcs=x["gcs"].where(x.index != 3)))


# Coding


def test_a_category_becomes_one_column_for_each_level_but_the_first_that_occurs_or_is_asked_for():
    table = TABLE.assign(location=TABLE["location"].cat.add_categories("stem"))
    assert Coding.of(table).names == ("age", "location[lobar]")
    assert Coding.of(table, observed=False).names == ("age", "location[lobar]", "location[stem]")
    coding, bare = Coding.of(TABLE), pd.DataFrame([{"age": None, "location": None}])
    np.testing.assert_array_equal(coding.matrix(TABLE)["location[lobar]"], [0.0, 1.0, np.nan])
    text = TABLE.assign(location=["lobar", "deep", "lobar"])
    assert coding.matrix(text)["location[lobar]"].tolist() == [1.0, 0.0, 1.0]
    assert coding.matrix(bare).isna().all(axis=None), "a patient read from a file may hold nothing at all"
    table = pd.DataFrame({"ivh": [True, False], "gcs": pd.array([15, None], dtype="Int64")})
    np.testing.assert_array_equal(Coding.of(table).matrix(table), [[1.0, 15.0], [0.0, np.nan]])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.assign(location="stem"), r"location must hold one of .*got \['stem'\]"),
        (TABLE.assign(age="old"), "Column age must hold finite numbers"),
        (TABLE.assign(age=np.inf), "Column age must hold finite numbers"),
        (TABLE[["location"]], r"Columns \['age'\] are required"),
    ],
)
def test_a_table_that_does_not_fit_its_coding_is_refused_by_column(table, message):
    with pytest.raises(ValueError, match=message):
        Coding.of(TABLE).matrix(table)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.eye(2), "x must be a table"),
        (pd.DataFrame(np.eye(2)), "text"),
        (pd.DataFrame(np.eye(2), columns=["a", "a"]), "Column names must be unique"),
        (pd.DataFrame({"sex": ["F", "M"]}), "Column sex must be numeric, 0/1 or categorical"),
    ],
)
def test_a_table_that_cannot_be_coded_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Coding.of(wrong)


def test_standardized_rows_turn_back_into_the_columns_own_units():
    coded = pd.DataFrame({"age": [60.0, 70.0, 95.0], "gcs": [15.0, 3.0, 9.0]})
    design, center, scale = standardize(coded)
    back, _ = unscale(np.array([0.5, 1.0, -2.0]), np.eye(3), center, scale)
    assert back[0] + coded.to_numpy() @ back[1:] == pytest.approx(np.array([0.5, 1.0, -2.0]) @ design)


# separating_columns


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([[-2.0, 1], [-1, -1], [1, 1], [2, -1]], [0, 0, 1, 1], ("a",)),
        ([[0.0], [0], [0], [0], [1], [1]], [0, 1, 0, 1, 1, 1], ("a",)),  # quasi-complete: a rare sign
        ([[0.0, 1], [1, 2], [2, 3], [1, 0], [2, 1], [3, 2]], [1, 1, 1, 0, 0, 0], ("a", "b")),  # only together
        ([[-1.0], [2], [-2], [1]], [0, 0, 1, 1], ()),
    ],
)
def test_columns_that_separate_are_named(x, y, expected):
    assert separating_columns(np.array(x), np.array(y), ("a", "b")[: len(x[0])]) == expected


def test_one_patient_on_the_wrong_side_ends_separation_in_a_large_cohort():
    x = np.random.default_rng(0).normal(size=(4000, 4))
    y = (x[:, 0] + x[:, 1] > 1).astype(int)
    assert {"a", "b"} <= set(separating_columns(x, y, tuple("abcd")))
    y[np.argmin(x[:, 0] + x[:, 1])] = 1
    assert separating_columns(x, y, tuple("abcd")) == ()


# maximize, profile_limits


def test_with_nothing_held_it_is_the_maximum_and_with_all_held_the_start():
    design, y, _ = sample()
    fit = batched_irls(design.T, y, ones(y))
    found, reached = maximize(design, y)
    assert found == pytest.approx(fit.coefficients[0], abs=1e-6)
    assert reached == pytest.approx(fit.log_likelihood[0], abs=1e-10)
    found, reached = maximize(design, y, free=np.zeros(4, bool))
    assert (found == 0).all()
    assert reached == pytest.approx(y.size * np.log(0.5))


@pytest.mark.parametrize("events", [0, 1])
def test_firths_intercept_adds_half_an_event_and_half_a_non_event(events):
    y = np.array([events, 0.0, 0, 0])
    assert firth(np.ones((4, 1)), y)[0] == pytest.approx(np.log((events + 0.5) / (4.5 - events)))


def test_firths_estimate_is_where_a_general_optimizer_finds_it():
    design, _, rng = sample(40)
    y, weights = (design[:, 1] + 0.3 * rng.normal(size=40) > 0.5).astype(float), rng.integers(1, 4, 40).astype(float)

    def loss(b):
        eta = design @ b
        information = design.T @ (design * (weights * expit(eta) * expit(-eta))[:, None])
        return -np.sum(weights * (y * eta - np.logaddexp(0, eta))) - 0.5 * np.linalg.slogdet(information)[1]

    slow = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-6})
    assert firth(design, y, weights) == pytest.approx(slow.x, abs=1e-3)


# batched_irls


def test_weights_act_as_repeated_rows():
    design, y, rng = sample()
    rows = rng.integers(y.size, size=y.size)
    counts = np.bincount(rows, minlength=y.size).astype(float)
    repeated = batched_irls(design[rows].T, y[rows], ones(y))
    assert batched_irls(design.T, y, counts[None]).coefficients == pytest.approx(repeated.coefficients, abs=1e-9)
    assert firth(design, y, counts) == pytest.approx(firth(design[rows], y[rows]), abs=1e-8)


def test_the_likelihood_neither_overflows_nor_misses_its_supremum_where_data_separate():
    assert log_likelihood(np.array([800.0, -800.0]), np.array([0.0, 0.0])) == -800.0
    y = np.array([0.0, 0, 0, 1, 1, 1])
    fit = batched_irls(np.vstack([np.ones(6), [-3, -2, -1, 1, 2, 3]]), y, ones(y))
    assert fit.log_likelihood[0] == pytest.approx(0, abs=1e-6)
    assert np.isfinite(fit.coefficients).all()


def test_the_start_does_not_change_the_maximum_and_a_column_of_zeros_keeps_the_coefficient_zero():
    design, y, _ = sample()
    expected = batched_irls(design.T, y, ones(y)).coefficients
    far = batched_irls(design.T, y, ones(y), start=np.array([[4.0, -5.0, 3.0, 2.0]]))
    assert far.coefficients == pytest.approx(expected, abs=1e-8)
    padded = batched_irls(np.vstack([design.T, np.zeros(y.size)]), y, ones(y)).coefficients
    assert padded == pytest.approx(np.hstack([expected, [[0.0]]]))


def test_many_weighted_fits_equal_statsmodels_one_by_one():
    design, y, rng = sample()
    weights = rng.integers(1, 4, size=(150, y.size)).astype(float)
    batch = batched_irls(design.T, y, weights)
    for b in (0, 70, 149):
        slow = sm.GLM(y, design, family=sm.families.Binomial(), freq_weights=weights[b]).fit(tol=1e-12)
        assert batch.coefficients[b] == pytest.approx(slow.params, abs=1e-8)
        assert batch.log_likelihood[b] == pytest.approx(slow.llf, abs=1e-8)


def test_only_separated_resamples_are_penalized():
    x = np.linspace(-2, 2, 20)
    design, y = np.vstack([np.ones(20), x]), (x > 0).astype(float)
    y[[9, 11]] = y[[11, 9]]
    weights = ones(y, 2)
    weights[1, [9, 11]] = 0
    coefficients, separated = fit_robustly(np.stack([design] * 2), y, weights, np.ones((2, 2), dtype=bool))
    assert separated.tolist() == [False, True]
    assert coefficients[0] == pytest.approx(batched_irls(design, y, weights[:1]).coefficients[0])
    assert coefficients[1] == pytest.approx(firth(design.T, y, weights[1]), abs=1e-6)
