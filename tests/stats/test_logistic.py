import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.stats.logistic import fit_logistic


def cohort(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"gcs": rng.integers(3, 16, n).astype(float), "inr": rng.lognormal(0, 0.2, n)})
    x["location"] = pd.Categorical(rng.choice(["deep", "lobar", "stem"], n))
    y = (rng.random(n) < expit(-0.3 * (x["gcs"] - 10) + 2 * (x["inr"] - 1))).astype(int)
    return x, y


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


def test_information_criteria_count_every_coefficient():
    x, y = cohort()
    model = fit_logistic(x, y)
    assert model.names == ("intercept", "gcs", "inr", "location[lobar]", "location[stem]")
    assert model.aic == pytest.approx(-2 * model.log_likelihood + 10)
    assert model.bic == pytest.approx(-2 * model.log_likelihood + 5 * np.log(200))


def test_units_change_coefficients_but_not_probabilities():
    x, y = cohort()
    model, scaled = fit_logistic(x, y), fit_logistic(x.assign(inr=1e6 * x["inr"] + 3e6), y)
    assert scaled.coefficients[2] == pytest.approx(model.coefficients[2] / 1e6)
    assert scaled.predict(x.assign(inr=1e6 * x["inr"] + 3e6)) == pytest.approx(model.predict(x), abs=1e-9)


def test_the_order_of_patients_does_not_matter():
    x, y = cohort()
    rows = np.random.default_rng(1).permutation(len(x))
    assert fit_logistic(x.iloc[rows], y.iloc[rows]).coefficients == pytest.approx(fit_logistic(x, y).coefficients)


def test_maximum_likelihood_is_kept_where_nothing_separates():
    x, y = cohort()
    model = fit_logistic(x, y, separation="firth")
    assert model.method == "maximum likelihood"
    assert model.coefficients == pytest.approx(fit_logistic(x, y).coefficients)


def test_separation_is_refused_and_its_column_named():
    x = pd.DataFrame({"age": [60.0, 70, 65, 75], "volume_ml": [5.0, 10, 40, 50]})
    with pytest.raises(ValueError, match="volume_ml separate"):
        fit_logistic(x, [0, 0, 1, 1])


def test_a_rare_sign_seen_only_in_events_is_refused():
    x, y = cohort()
    with pytest.raises(ValueError, match="blend_sign separate"):
        fit_logistic(x.assign(blend_sign=np.where(np.cumsum(y) < 4, y, 0)), y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inr": np.nan}, r"missing values in inr \(200\)"),
        ({"inr": 1.0}, "got a constant in inr"),
        ({"inr": "high"}, "Column inr must be numeric"),
    ],
)
def test_columns_that_cannot_be_fitted_are_refused_by_name(change, message):
    x, y = cohort()
    with pytest.raises(ValueError, match=message):
        fit_logistic(x.assign(**change), y)


def test_collinear_columns_are_refused_by_name():
    x, y = cohort()
    with pytest.raises(ValueError, match="twice follow"):
        fit_logistic(x.assign(twice=2 * x["gcs"] - x["inr"]), y)


@pytest.mark.parametrize("y", [np.zeros(200), np.full(200, 0.5), np.full(200, np.nan), np.ones(3)])
def test_an_outcome_that_is_not_zero_and_one_is_refused(y):
    with pytest.raises(ValueError, match="y "):
        fit_logistic(cohort()[0], y)


def test_an_outcome_of_other_patients_is_refused():
    x, y = cohort()
    with pytest.raises(ValueError, match="index"):
        fit_logistic(x, y.iloc[::-1])


def test_an_unknown_answer_to_separation_is_refused():
    with pytest.raises(ValueError, match="separation must be 'refuse' or 'firth'"):
        fit_logistic(*cohort(), separation="ignore")


def test_missing_values_are_refused_in_prediction():
    x, y = cohort()
    with pytest.raises(ValueError, match=r"gcs \(1\)"):
        fit_logistic(x, y).predict(x.assign(gcs=x["gcs"].where(x.index != 3)))


def test_separated_data_equal_brglm2(reference):
    x, expected = reference("separated.csv"), reference("separated_firth.json")
    model = fit_logistic(x[["x1", "x2"]], x["y"], separation="firth")
    assert model.method == "firth"
    assert model.coefficients == pytest.approx(list(expected["coefficients"].values()), abs=1e-6)
    assert model.standard_errors == pytest.approx(list(expected["standard_errors"].values()), abs=1e-6)
