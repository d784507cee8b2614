from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.logistic import fit_logistic
from hepred_lib.stats.sensitivity import (
    compare_penalties,
    complete_case_odds_ratios,
    cross_fit_penalized,
    fit_penalized,
    leak_demonstration,
    naive_optimism,
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


def penalized_cohort(n=160, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 5)) * [1, 10, 1, 1, 1], columns=list("abcde"))
    x["place"] = pd.Categorical(rng.choice(["deep", "lobar"], n))
    y = (rng.random(n) < expit(1.2 * x["a"] + 0.08 * x["b"] - 1)).to_numpy(dtype=int)
    x.loc[rng.random(n) < 0.1, "c"] = np.nan
    return x, y


@pytest.mark.parametrize(("penalty", "at_most"), [("ridge", 6), ("lasso", 5)])
def test_it_keeps_the_prevalence_and_the_lasso_drops_noise(penalty, at_most):
    x, y = penalized_cohort()
    model = fit_penalized(x, y, penalty=penalty, n_folds=3)
    assert model.predict(x).mean() == pytest.approx(y.mean(), abs=0.01)
    kept = model.fit[-1].coef_[0] != 0
    assert kept[:2].all()
    assert kept.sum() <= at_most


def test_a_folds_outcomes_do_not_reach_its_probabilities():
    x, y = penalized_cohort(100)
    fold = np.arange(100) % 2
    p, flipped = (cross_fit_penalized(x, z, fold, penalty="ridge") for z in (y, np.where(fold, 1 - y, y)))
    assert (p[fold == 1] == flipped[fold == 1]).all()


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


def test_penalties_are_set_against_the_models_own_probabilities():
    x, y = penalized_cohort(120)
    fold = np.arange(120) % 2
    p = cross_fit_penalized(x, y, fold, penalty="ridge", seed=3)
    table = compare_penalties(x, y, fold, p, seed=3).set_index("penalty")
    assert table.loc["ridge", ["difference", "p"]].tolist() == [0, 1]
    assert table.loc["lasso", "difference"] == pytest.approx(table.loc["lasso", "auc"] - table.loc["ridge", "auc"])
    nine = (np.arange(120) < 9).astype(int)
    assert compare_penalties(x, nine, fold, p).empty, "too few of a class"
