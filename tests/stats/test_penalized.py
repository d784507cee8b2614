import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.stats.sensitivity import compare_penalties, cross_fit_penalized, fit_penalized


def cohort(n=160, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 5)) * [1, 10, 1, 1, 1], columns=list("abcde"))
    x["place"] = pd.Categorical(rng.choice(["deep", "lobar"], n))
    y = (rng.random(n) < expit(1.2 * x["a"] + 0.08 * x["b"] - 1)).to_numpy(dtype=int)
    x.loc[rng.random(n) < 0.1, "c"] = np.nan
    return x, y


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_it_predicts_from_its_numbers_and_keeps_the_prevalence(penalty):
    x, y = cohort()
    model = fit_penalized(x, y, penalty=penalty, n_imputations=2, n_folds=3)
    complete = x.dropna()
    by_hand = expit(model.imputer.coding.matrix(complete).to_numpy() @ model.coefficients.T + model.intercepts)
    assert model.predict(complete) == pytest.approx(by_hand.mean(axis=1))
    assert model.predict(x).mean() == pytest.approx(y.mean(), abs=0.01)


def test_the_lasso_drops_noise_and_ridge_drops_nothing():
    x, y = cohort()
    lasso, ridge = (fit_penalized(x, y, penalty=k, n_imputations=1, n_folds=3) for k in ("lasso", "ridge"))
    assert {"a", "b"} <= set(lasso.kept)
    assert len(ridge.kept) == 6


def test_units_do_not_matter():
    x, y = cohort()
    scaled = x.assign(b=1000 * x["b"] + 7)
    one, two = (fit_penalized(t, y, n_imputations=1, n_folds=3) for t in (x, scaled))
    assert one.coefficients[0, 1] == pytest.approx(1000 * two.coefficients[0, 1], rel=1e-3)


def test_a_folds_outcomes_do_not_reach_its_probabilities():
    x, y = cohort(100)
    fold = np.arange(100) % 2
    p, flipped = (cross_fit_penalized(x, z, fold, penalty="ridge", n_imputations=1) for z in (y, np.where(fold, 1 - y, y)))  # fmt: skip # noqa: E501
    assert (p[fold == 1] == flipped[fold == 1]).all()


@pytest.mark.parametrize(
    ("how", "message"),
    [({"penalty": "elastic"}, "penalty must be one of"), ({"n_folds": 200}, "n_folds must be at most")],
)
def test_unusable_arguments_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        fit_penalized(*cohort(), **how)


def test_one_fold_is_refused():
    with pytest.raises(ValueError, match="fold must hold at least 2 labels"):
        cross_fit_penalized(*cohort(), np.zeros(160))


def test_penalties_are_set_against_the_models_own_probabilities():
    x, y = cohort(120)
    fold = np.arange(120) % 2
    p = cross_fit_penalized(x, y, fold, penalty="ridge", n_imputations=1, seed=3)
    table = compare_penalties(x, y, fold, p, seed=3).set_index("penalty")
    assert table.loc["ridge", ["difference", "p"]].tolist() == [0, 1]
    assert table.loc["lasso", "difference"] == pytest.approx(table.loc["lasso", "auc"] - table.loc["ridge", "auc"])


def test_too_few_of_a_class_allow_no_comparison():
    x, _ = cohort(60)
    y = (np.arange(60) < 9).astype(int)
    assert compare_penalties(x, y, np.arange(60) % 2, np.full(60, 0.15)).empty
