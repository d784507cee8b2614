from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.discrimination import auc
from hepred_lib.stats.logistic import fit_logistic
from hepred_lib.stats.sensitivity import (
    compare_penalties,
    complete_case_odds_ratios,
    cross_fit_penalized,
    fit_penalized,
    leak_demonstration,
    naive_optimism,
    outcome_bounds,
    outcome_weights,
    weighted_auc,
    weighted_performance,
)

pytestmark = pytest.mark.usefixtures("few_strengths")
NAMES = tuple("abcdefgh")


SETTINGS = DevelopmentSettings(NAMES, ("dl_score",), n_resamples=10)


def cohort(n=240, seed=0, *, gaps=True):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 9)), columns=[*NAMES, "dl_score"])
    y = (rng.random(n) < expit(x["a"] - 1)).to_numpy(dtype=int)
    if gaps:
        x.loc[rng.random(n) < 0.2, "b"] = np.nan
    return x, y


def test_forgetting_the_selection_hides_optimism():
    x, y = cohort(150, seed=2, gaps=False)
    settings = DevelopmentSettings(NAMES, criterion="aic", n_resamples=60)
    model = develop(x, y, settings)
    naive = naive_optimism(x, y, model)
    assert naive["auc_apparent"] == pytest.approx(model.optimism["auc_apparent"])
    assert naive["auc_corrected"] > model.optimism["auc_corrected"]
    assert naive["slope_corrected"] > model.optimism["slope_corrected"]


def test_the_same_predictors_are_fitted_on_complete_cases():
    x, y = cohort()
    model = develop(x, y, replace(SETTINGS, candidates=("a", "b"), forced=("a", "b")))
    table = complete_case_odds_ratios(x, y, model)
    whole = x["b"].notna()
    alone = fit_logistic(x.loc[whole, ["a", "b", "dl_score"]], y[whole])
    assert table["name"].tolist() == ["a", "b", "dl_score"]
    assert table["complete"].tolist() == pytest.approx(np.exp(alone.coefficients[1:]).tolist())
    assert table["imputed"].tolist() == pytest.approx(np.exp(model.unshrunk_coefficients).tolist())
    assert table.loc[0, ["n", "events"]].tolist() == [whole.sum(), y[whole].sum()]
    assert (table["complete_low"] < table["complete"]).all()


def test_too_few_complete_cases_or_no_predictor_give_no_comparison():
    x, y = cohort()
    model = develop(x, y, replace(SETTINGS, candidates=("a",), forced=("a",)))
    few = complete_case_odds_ratios(x.assign(a=x["a"].where(x.index < 20)), y, model)
    assert few.empty
    assert list(few) == list(complete_case_odds_ratios(x, y, model))
    nothing = develop(x, y, DevelopmentSettings(("a",), alpha=1e-12, n_resamples=2))
    assert complete_case_odds_ratios(x, y, nothing).empty


def test_a_leaked_score_looks_far_better_than_it_is_and_is_paid_for_by_test_patients():
    rng = np.random.default_rng(4)
    x, y = cohort(gaps=False)
    new, outcome = cohort(400, seed=5, gaps=False)
    settings = DevelopmentSettings(("a",), ("dl_score",), forced=("a",), n_resamples=2)
    in_sample = x["dl_score"] + 2 * y + rng.normal(0, 0.5, len(y))
    table = leak_demonstration(x, y, settings, in_sample=in_sample, test=(new, outcome))
    assert table.loc["out_of_fold", "p"] > 0.001 > table.loc["in_sample", "p"]
    assert table.loc["in_sample", "odds_ratio"] > 2 * table.loc["out_of_fold", "odds_ratio"]
    assert table.loc["in_sample", "test_slope"] < 0.5 < table.loc["out_of_fold", "test_slope"]
    assert table.loc["in_sample", "test_slope_low"] < table.loc["in_sample", "test_slope"]
    for test in (None, (x, np.zeros(len(x), dtype=int))):
        same = leak_demonstration(x, y, settings, in_sample=x["dl_score"], test=test)
        assert same["test_auc"].isna().all()
        assert same.loc["out_of_fold"].equals(same.loc["in_sample"])


@pytest.mark.parametrize(("penalty", "at_most"), [("ridge", 9), ("lasso", 8)])
def test_it_keeps_the_prevalence_and_the_lasso_drops_noise(penalty, at_most):
    x, y = cohort()
    model = fit_penalized(x, y, penalty=penalty, n_folds=3)
    assert model.predict(x).mean() == pytest.approx(y.mean(), abs=0.01)
    kept = model.fit[-1].coef_[0] != 0
    assert kept[0]
    assert kept.sum() <= at_most


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: fit_penalized(x, y, penalty="elastic"), "penalty must be one of"),
        (lambda x, y: fit_penalized(x, y, n_folds=400), "n_folds must be at most"),
        (lambda x, y: cross_fit_penalized(x, y, np.zeros(len(y))), "fold must hold at least 2 labels"),
        (
            lambda x, y: naive_optimism(x, y, develop(x, y, DevelopmentSettings(("h",), alpha=1e-9, n_resamples=2))),
            "at least one predictor",
        ),
        (
            lambda x, y: leak_demonstration(x, y, replace(SETTINGS, added=()), in_sample=np.zeros(240)),
            "settings must add exactly one score",
        ),
        *(
            (lambda x, y, wrong=wrong: leak_demonstration(x, y, SETTINGS, in_sample=wrong), "in_sample")
            for wrong in ([1.0], np.full(240, np.nan))
        ),
    ],
)
def test_unusable_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*cohort())


def test_penalties_are_cross_fitted_and_set_against_the_models_own_probabilities():
    x, y = cohort(120)
    fold = np.arange(120) % 2
    p, flipped = (cross_fit_penalized(x, z, fold, penalty="ridge", seed=3) for z in (y, np.where(fold, 1 - y, y)))
    assert (p[fold == 1] == flipped[fold == 1]).all(), "a fold's outcomes do not reach its probabilities"
    table = compare_penalties(x, y, fold, p, seed=3).set_index("penalty")
    assert table.loc["ridge", ["difference", "p"]].tolist() == [0, 1]
    assert table.loc["lasso", "difference"] == pytest.approx(table.loc["lasso", "auc"] - table.loc["ridge", "auc"])
    nine = (np.arange(120) < 9).astype(int)
    assert compare_penalties(x, nine, fold, p).empty, "too few of a class"


# Patients without an outcome


def test_a_weight_of_two_is_a_patient_counted_twice():
    rng = np.random.default_rng(0)
    y, score = rng.integers(0, 2, 60), rng.integers(0, 8, 60) / 8
    counts = rng.integers(1, 4, 60)
    assert weighted_auc(y, score, np.ones(60)) == pytest.approx(auc(y, score))
    assert weighted_auc(y, score, counts) == pytest.approx(auc(np.repeat(y, counts), np.repeat(score, counts)))
    found = weighted_performance(y, 0.05 + 0.9 * score, counts, n_resamples=5, rng=rng)
    x, how = logit(0.05 + 0.9 * score), {"family": sm.families.Binomial(), "freq_weights": counts}
    fit = sm.GLM(y, sm.add_constant(x), **how).fit(tol=1e-12)
    level = sm.GLM(y, np.ones(60), offset=x, **how).fit(tol=1e-12)
    assert found["weighted_slope"] == pytest.approx(fit.params[1], abs=1e-6)
    assert found["weighted_in_the_large"] == pytest.approx(level.params[0], abs=1e-6)


def test_weights_bring_back_the_patients_who_are_missing():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"x": rng.normal(size=1500), "age": rng.normal(65, 12, 1500)})
    seen = rng.random(1500) < expit(2.0 + 2.4 * x["x"])  # the sicker (low x) lack an outcome more often
    found = outcome_weights(x[seen], x[~seen], x[seen])
    assert found.weights.mean() == pytest.approx(1)
    assert abs(np.average(x.loc[seen, "x"], weights=found.weights) - x["x"].mean()) < 0.4 * abs(
        x.loc[seen, "x"].mean() - x["x"].mean()
    )
    assert found.truncated == int(np.ceil(0.01 * seen.sum()))
    assert found.largest > found.weights.max()


def test_bounds_by_hand():
    bounds = outcome_bounds([0, 1], [0.2, 0.6], [0.4])
    assert bounds["as known"] == {"patients": 2, "frequency": 0.5, "auc": 1.0}
    assert bounds["none of them"] == {"patients": 3, "frequency": pytest.approx(1 / 3), "auc": 1.0}
    assert bounds["all of them"] == {"patients": 3, "frequency": pytest.approx(2 / 3), "auc": 1.0}


def test_what_cannot_be_weighted_is_refused():
    x = pd.DataFrame({"x": np.arange(40.0)})
    flat = x.assign(x=1.0)
    cases = {
        "at least 10 patients": lambda: outcome_weights(x, x[:9], x),
        "a column that varies": lambda: outcome_weights(flat, flat[:12], x),
        "share must lie above 0": lambda: outcome_weights(x, x[:12], x, share=0),
        "numbers above 0": lambda: weighted_auc([0, 1], [1, 2], [1, 0]),
    }
    for words, call in cases.items():
        with pytest.raises(ValueError, match=words):
            call()


def test_a_patient_who_would_stand_for_all_the_lost_is_cut_and_the_size_of_the_weight_said():
    rng = np.random.default_rng(1)
    known, lost = pd.DataFrame({"x": rng.normal(2, 0.5, 200)}), pd.DataFrame({"x": rng.normal(-2, 0.5, 40)})
    known.loc[0, "x"] = -3.0
    found = outcome_weights(known, lost, known)
    assert found.largest > 50
    assert found.truncated == 2
    assert found.weights.max() < 2
    assert found.weights.mean() == pytest.approx(1)
