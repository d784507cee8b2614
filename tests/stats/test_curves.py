import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.errors import InputError
from hepred_lib.stats.curves import Basis, bend, spline_basis, spline_knots, split_term
from hepred_lib.stats.development import DevelopedModel, DevelopmentSettings, develop
from hepred_lib.stats.effects import model_effects, multivariable_odds_ratios
from hepred_lib.stats.logistic import Coding, fit_logistic, profile_limits
from hepred_lib.stats.nomogram import Nomogram, build_nomogram, nomogram_axes
from hepred_lib.stats.sensitivity import curved_models
from tests.stats.conftest import of_r

TERMS = ("volume", "log(volume)", "age", "spline(age)", "noise")


def cohort(n=600, seed=0, *, gaps=True):
    """Risk rises with the logarithm of the volume and has its top at an age of 65."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"volume": np.exp(rng.normal(2.5, 1.0, n)), "age": rng.normal(65, 12, n).round()})
    x["noise"] = rng.normal(size=n)
    logit = -2 + 0.7 * np.log(x["volume"]) - 0.7 * ((x["age"] - 65) / 12) ** 2
    y = pd.Series((rng.random(n) < expit(logit)).astype(int))
    if gaps:
        x = x.mask(rng.random(x.shape) < 0.1)
    return x, y


@pytest.fixture(scope="module")
def developed():
    x, y = cohort()
    return x, y, develop(x, y, DevelopmentSettings(TERMS, alpha=0.01, n_resamples=20, seed=1))


@pytest.fixture(scope="module")
def of_rms():
    """The model that R's rms fitted, its figures, and the terms of the same model here."""
    table, told = of_r("selection.csv"), of_r("splines.json")
    terms = ("spline(age)", "spline(sbp)", "log(onset_h)", "gcs")
    return table, told, terms


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spline_knots([0, 1] * 20), "values must spread enough for 4 different knots"),
        *((lambda k=k: spline_basis([1.0, 2.0], k), "knots must be") for k in ([0, 1], [0, 2, 1], [0, 1, np.nan])),
        (
            lambda: develop(*cohort(), DevelopmentSettings(("log(nothing)",), n_resamples=2)),
            r"\['nothing'\] are absent",
        ),
    ],
)
def test_what_makes_no_curve_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_basis_by_hand_is_straight_outside_its_knots_and_smooth_within():
    assert spline_knots(np.arange(101.0)).tolist() == [5, 35, 65, 95], "Harrell's quantiles"
    # Between the knots 0, 1, 2: x^3 / 4; at 3: (27 - 2 * 8 + 1) / 4.
    assert spline_basis([-1, 1, 3], [0, 1, 2])[:, 0].tolist() == [0, 0.25, 3.0]
    assert bend("log(x)", [0.5], [0.0, 0.1, 0.5, 1.0])[:, 0].tolist() == [np.log(0.5)] * 3 + [0.0]
    grid = np.linspace(-5, 5, 2001)
    second = np.diff(spline_basis(grid, [-2, -1, 1, 2]), 2, axis=0)
    assert np.abs(second[(grid[1:-1] < -2.01) | (grid[1:-1] > 2.01)]).max() < 1e-10
    assert np.abs(np.diff(second, axis=0)).max() < 1e-5


def test_fits_with_splines_and_a_logarithm_are_those_of_rms(of_rms):
    table, told, terms = of_rms
    x = table[["age", "sbp", "onset_h", "gcs"]]
    basis = Basis.fit(Coding.of(x), terms, x.to_numpy(dtype=float))
    fit = fit_logistic(pd.DataFrame(basis.expand(x.to_numpy(dtype=float)), columns=list(basis.names)), table["y"])
    for term in ("age", "sbp"):
        assert basis.curves[f"spline({term})"] == pytest.approx(told["knots"][term])
    assert fit.coefficients == pytest.approx(told["coefficients"], rel=1e-6)
    assert fit.standard_errors == pytest.approx(told["standard_errors"], rel=1e-6)
    assert fit.log_likelihood == pytest.approx(told["log_likelihood"], abs=1e-8)


def test_the_effect_of_a_spline_and_its_error_are_those_of_rms(of_rms):
    table, told, terms = of_rms
    x = table[["age", "sbp", "onset_h", "gcs"]]
    effects = model_effects(develop(x, table["y"], DevelopmentSettings(terms, forced=terms, n_resamples=2)))
    assert effects.names == ("spline(age)", "spline(sbp)", "log(onset_h)", "gcs")
    assert effects.estimates[0] == pytest.approx(told["age_contrast"], rel=1e-6)
    assert effects.standard_errors[0] == pytest.approx(told["age_contrast_error"], rel=1e-6)


def test_profile_limits_of_a_spline_are_those_of_its_contrast_as_a_column():
    x, y = cohort(gaps=False)
    model = develop(x, y, DevelopmentSettings(("spline(age)",), forced=("spline(age)",), n_resamples=2))
    low, _, high = model.curves["spline(age)"]
    line, bent = np.diff(bend("spline(age)", model.curves["spline(age)"], [low, high]), axis=0)[0]
    straight, curved = model.basis.expand(x[["age"]].to_numpy()).T
    columns = np.column_stack([straight / line, curved - straight * bent / line])
    design = np.column_stack([np.ones(len(y)), (columns - columns.mean(axis=0)) / columns.std(axis=0)])
    limits = profile_limits([design], y.to_numpy(float), np.zeros(3), 1, penalized=False)
    row = multivariable_odds_ratios(model, x, y).iloc[0]
    expected = np.exp(np.array(limits) / columns[:, 0].std())
    assert [row["profile_low"], row["profile_high"]] == pytest.approx(expected.tolist(), rel=1e-5)


def test_selection_finds_the_curves_that_are_true(developed):
    _, _, model = developed
    assert set(model.path) == {"log(volume)", "spline(age)"}
    assert model.inclusion_frequency["spline(age)"] > 0.9 > 0.5 > model.inclusion_frequency["age"]


def test_the_definition_in_the_file_gives_the_probability_and_the_model_is_rebuilt_from_it(developed):
    x, _, model = developed
    known, stored = x.dropna(), json.loads(json.dumps(model.to_json()))
    again = DevelopedModel.from_json(stored, json.loads(json.dumps(model.imputer.to_json())))
    assert again.predict(x) == pytest.approx(model.predict(x), abs=1e-14)
    (floor,), (t1, t2, t3) = stored["curves"]["log(volume)"], stored["curves"]["spline(age)"]
    a, b, c = (np.maximum(known["age"] - knot, 0) ** 3 for knot in (t1, t2, t3))
    bent = (a - b * (t3 - t1) / (t3 - t2) + c * (t2 - t1) / (t3 - t2)) / (t3 - t1) ** 2
    values = {"log(volume)": np.log(np.maximum(known["volume"], floor)), "spline(age)": known["age"]}
    values["spline(age)'"] = bent
    logit = stored["intercept"] + sum(stored["coefficients"][name] * values[name] for name in values)
    assert model.predict(known) == pytest.approx(expit(logit).to_numpy(), abs=1e-12)


def test_the_nomogram_of_curves_gives_the_models_probability(developed):
    x, _, model = developed
    nomogram = Nomogram.from_json(json.loads(json.dumps(build_nomogram(model, x).to_json())))
    known = x.dropna()
    totals = sum(known[split_term(name)[1]].map(axis.points) for name, axis in nomogram.axes.items())
    assert totals.map(nomogram.probability).to_numpy() == pytest.approx(model.predict(known), abs=1e-12)
    assert all(axis.points(axis.low) >= 0 and axis.most <= 100 + 1e-9 for axis in nomogram.axes.values())


def test_a_curve_moves_probabilities_where_the_effect_is_curved_and_hardly_where_it_is_straight():
    x, y = cohort(gaps=False)
    model = develop(x, y, DevelopmentSettings(("age", "log(volume)"), forced=("age", "log(volume)"), n_resamples=10))
    table = curved_models(x, y, model, ["age"]).set_index("model")
    assert table.loc["as selected", "largest_change"] == 0
    assert table.loc["spline(age)", "auc"] > table.loc["as selected", "auc"] + 0.02
    assert table.loc["spline(age)", "median_change"] > 0.02
    nothing = develop(x, y, DevelopmentSettings(("noise",), alpha=1e-12, n_resamples=2))
    assert curved_models(x, y, nothing, []).empty


@pytest.mark.parametrize(
    ("term", "value", "words"),
    [
        ("spline(x)", [0.0, 1.0] * 10, r"spline\(x\) needs a number with more different values"),
        ("log(x)", [0.0, -1.0] * 10, r"log\(x\) needs values above 0, got none in 20 patients"),
        ("log(other)", [1.0, 2.0] * 10, r"log\(other\) must be made of a number"),
        ("log(x)", pd.Categorical(["a", "b"] * 10), r"log\(x\) must be made of a number"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(term, value, words):
    x = pd.DataFrame({"x": value})
    with pytest.raises(InputError, match=words):
        Basis.fit(Coding.of(x), (term,), Coding.of(x).matrix(x).to_numpy())


def test_a_curve_that_turns_is_drawn_with_its_marks_apart(developed):
    x, _, model = developed
    axes = nomogram_axes(build_nomogram(model, x))
    age, volume = (axes[axes["axis"] == f"{name}"] for name in ("spline(age)", "log(volume)"))
    assert age["points"].idxmax() not in (age.index[0], age.index[-1])
    assert volume.loc[volume["tick"], "value"].isin([0.5, 1, 2, 5, 10, 20, 50, 100, 200]).all()
    between = np.interp(60.5, age["value"], age["points"])
    assert between == pytest.approx(build_nomogram(model, x).axes["spline(age)"].points(60.5), abs=0.1)
