import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from scipy.stats import chi2
from sklearn.model_selection import StratifiedKFold

from hepred_lib.stats.updating import METHODS, closed_test, cross_validated_update, recalibrations


def site(n=400, seed=0, shift=0.0, slope=1.0):
    """Outcomes of a hospital where the truth is a line on the model's log odds, and the model's probabilities."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-1.2, 1.2, n)
    return (rng.random(n) < expit(shift + slope * log_odds)).astype(int), expit(log_odds)


def test_the_lines_and_tests_are_those_of_plain_regressions():
    y, p = site(shift=-0.6, slope=0.7)
    x, family = logit(p), sm.families.Binomial()
    both = sm.GLM(y, sm.add_constant(x), family=family).fit(tol=1e-12)
    level = sm.GLM(y, np.ones_like(x), family=family, offset=x).fit(tol=1e-12)
    frozen = np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))
    lines, update = recalibrations(y, p), closed_test(y, p)
    assert lines["intercept and slope"] == pytest.approx(tuple(both.params), abs=1e-6)
    assert lines["intercept"] == pytest.approx((level.params[0], 1.0), abs=1e-6)
    assert update.p_any == pytest.approx(chi2.sf(2 * (both.llf - frozen), 2), rel=1e-6)
    assert update.p_slope == pytest.approx(chi2.sf(2 * (both.llf - level.llf), 1), rel=1e-6)


def test_the_closed_test_finds_what_the_hospital_does():
    truths = {"frozen": {}, "intercept": {"shift": -0.9}, "intercept and slope": {"shift": -0.4, "slope": 0.5}}
    for method, truth in truths.items():
        chosen = [closed_test(*site(n=800, seed=seed, **truth)).method for seed in range(50)]
        assert chosen.count(method) >= 40, (method, chosen)


def test_an_update_that_is_needless_or_impossible_is_not_made():
    y, p = site(n=60)
    assert closed_test(y, p).apply(p) == pytest.approx(p)
    separated = closed_test([0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8])
    turned = closed_test(1 - site()[0], site()[1])
    assert separated.method == turned.method == "frozen"
    assert np.isnan([separated.p_any, turned.p_slope]).all()
    assert closed_test(*site(n=800, shift=-0.9)).apply([0.0, 1.0]) == pytest.approx([0.0, 1.0])


def test_each_patient_is_updated_by_the_others():
    y, p = site(n=120, shift=-1.0)
    found = cross_validated_update(y, p, n_folds=4)
    for rest, own in StratifiedKFold(4, shuffle=True, random_state=0).split(p, y):
        assert found[own] == pytest.approx(closed_test(y[rest], p[rest]).apply(p[own]))


@pytest.mark.parametrize(("y", "p", "words"), [([0, 0], [0.1, 0.2], "both"), ([0, 1], [0.0, 0.2], "0 and 1|between")])
def test_what_cannot_be_updated_is_refused(y, p, words):
    with pytest.raises(ValueError, match=words):
        closed_test(y, p)
    with pytest.raises(ValueError, match="two patients of each class"):
        cross_validated_update([0, 0, 1], [0.1, 0.2, 0.3])
    assert set(METHODS) == set(recalibrations([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]))
