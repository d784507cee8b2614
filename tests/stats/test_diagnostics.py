import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.stats.curves import spline_basis, spline_knots
from hepred_lib.stats.diagnostics import events_per_parameter, linearity_tests, variance_inflation
from hepred_lib.stats.logistic import fit_logistic


def cohort(n=600, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"sbp": rng.normal(165, 25, n), "age": rng.normal(65, 12, n)})
    x["place"] = pd.Categorical(rng.choice(["deep", "lobar", "stem"], n))
    z = (x["sbp"] - 165) / 25
    return x, (rng.random(n) < expit(z**2 - 1)).to_numpy(dtype=int)


def test_the_factor_of_a_number_is_that_of_its_regression_on_the_others():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    x["c"] += x["a"] + x["b"]
    others = np.column_stack([np.ones(60), x[["a", "b"]]])
    residual = x["c"] - others @ np.linalg.lstsq(others, x["c"], rcond=None)[0]
    by_hand = x["c"].var() / residual.var()
    assert variance_inflation(x).set_index("predictor").loc["c", "gvif"] == pytest.approx(by_hand)
    assert variance_inflation(x[["a"]])["gvif"].tolist() == [1.0], "alone"


def test_a_category_has_one_factor_whatever_its_reference_level():
    x, _ = cohort()
    x["place"] = np.where(x["age"] > 70, "stem", x["place"])
    factors = [
        variance_inflation(x.assign(place=pd.Categorical(x["place"], levels)))["gvif"].iloc[2]
        for levels in (["deep", "lobar", "stem"], ["stem", "deep", "lobar"])
    ]
    assert factors[0] == pytest.approx(factors[1])
    assert factors[0] > 1.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: variance_inflation(x.assign(age=np.nan)), "age"),
        (lambda x, y: variance_inflation(x.assign(age=1.0)), "age"),
        (lambda x, y: variance_inflation(x[[]]), "x must have at least one column"),
        (lambda x, y: linearity_tests(x, y, ["place"]), "columns must name numbers of x"),
        (lambda x, y: linearity_tests(x, y, ["absent"]), "columns must name numbers of x"),
        *((lambda x, y, n=n: events_per_parameter(y, n), "n_parameters must be a whole number >= 1") for n in (0, 1.5)),
    ],
)
def test_what_cannot_be_diagnosed_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*cohort())


def test_the_linearity_test_is_the_difference_of_two_fits_and_finds_the_curved_effect():
    x, y = cohort()
    table = linearity_tests(x, y, ["sbp", "age"]).set_index("column")
    assert table.loc["sbp", "p"] < 1e-6 < 0.01 < table.loc["age", "p"]
    terms = spline_basis(x["sbp"], spline_knots(x["sbp"]))
    gain = fit_logistic(x.assign(a=terms[:, 0], b=terms[:, 1]), y).log_likelihood - fit_logistic(x, y).log_likelihood
    assert table.loc["sbp", "statistic"] == pytest.approx(2 * gain)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(lambda x, y: np.arange(600) % 2, "4 different knots"), (lambda x, y: y + 0.001 * x["sbp"], "separate")],
)
def test_a_column_that_cannot_be_tested_says_why(change, reason):
    x, y = cohort()
    row = linearity_tests(x.assign(sbp=change(x, y)), y, ["sbp"]).iloc[0]
    assert np.isnan(row["p"])
    assert reason in row["note"]
