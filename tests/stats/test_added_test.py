import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import chi2, f

from hepred_lib.stats.development import AddedTest, DevelopmentSettings, Procedure, likelihood_ratio_of_added
from hepred_lib.stats.logistic import Coding, fit_logistic


def pooled(tables, y, added=("dl_score",)):
    settings = DevelopmentSettings(("age",), added)
    procedure = Procedure.of(Coding.of(tables[0]), settings, tables[0].to_numpy())
    designs = np.stack([procedure.design(table.to_numpy()) for table in tables])
    return likelihood_ratio_of_added(procedure, designs, y, np.ones(designs.shape[:2], dtype=bool))


def cohort(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 2)), columns=["age", "dl_score"])
    return x, (rng.random(n) < expit(0.7 * x["dl_score"] - 1)).to_numpy(dtype=float)


def ratio(x, y):
    return 2 * (fit_logistic(x, y).log_likelihood - fit_logistic(x[["age"]], y).log_likelihood)


def test_one_set_gives_the_likelihood_ratio():
    x, y = cohort()
    found = pooled([x], y)
    assert (found.statistic, found.p) == pytest.approx((ratio(x, y), chi2.sf(ratio(x, y), 1)))


def test_different_sets_are_pooled_by_the_d2_rule():
    x, y = cohort()
    tables = [x, x.assign(age=x["age"] * 2 + x["dl_score"]), x.assign(age=x["dl_score"] + x["age"])]
    d = np.array([ratio(table, y) for table in tables])
    r = (1 + 1 / 3) * np.sqrt(d).var(ddof=1)
    statistic = (d.mean() - 4 / 2 * r) / (1 + r)
    found = pooled(tables, y)
    assert found.statistic == pytest.approx(statistic)
    assert found.p == pytest.approx(f.sf(statistic, 1, 2 * (1 + 1 / r) ** 2))


def test_nothing_added_is_nothing_tested():
    x, y = cohort()
    assert pooled([x[["age"]]], y, added=()) is None


def test_half_the_statistic_is_the_cross_fitted_test():
    assert AddedTest(7.683, 1, float(chi2.sf(7.683, 1))).cross_fitted_p == pytest.approx(0.05, abs=1e-4)
    assert AddedTest(0.0, 1, 1.0).cross_fitted_p == 1.0
