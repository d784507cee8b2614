import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t

from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.imputation import pool_auc, pool_slope, rubin_interval


def sample(n=200, m=4, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1, 1, n)
    y = (rng.random(n) < expit(truth)).astype(int)
    return y, [expit(truth + 0.3 * rng.normal(size=n)) for _ in range(m)]


def test_rubins_interval_by_hand():
    found = rubin_interval([1.0, 3.0], [4.0, 4.0])
    share = 3 / 7
    df = 1 / share**2
    assert (found.missing_information, found.degrees_of_freedom) == pytest.approx((share, df))
    assert found.high - found.estimate == pytest.approx(t.ppf(0.975, df) * np.sqrt(7))


def test_a_small_sample_has_fewer_degrees_of_freedom():
    # Barnard and Rubin: 1 / (1 / rubin + 1 / observed).
    found = rubin_interval([1.0, 3.0], [4.0, 4.0], complete_df=20)
    observed = 21 / 23 * 20 * 4 / 7
    assert found.degrees_of_freedom == pytest.approx(1 / (9 / 49 + 1 / observed))


def test_sets_that_agree_have_no_missing_information():
    found = rubin_interval([2.0, 2.0], [1.0, 1.0])
    assert (found.missing_information, found.high) == pytest.approx((0, 2 + 1.959963984540054))


def test_one_set_gives_its_own_logit_interval():
    y, (p, *_) = sample(5000)
    found, alone = pool_auc(y, [p]), auc_interval(y, p, method="logit")
    assert (found.estimate, found.low, found.high) == pytest.approx((alone.auc, alone.low, alone.high), abs=1e-4)


def test_the_auc_is_pooled_on_the_logit_scale():
    y, p = sample()
    assert pool_auc(y, p).estimate == pytest.approx(expit(np.mean([logit(auc_interval(y, one).auc) for one in p])))


def test_the_slope_is_the_mean_of_the_slopes():
    y, p = sample()
    found = pool_slope(y, p)
    assert found.estimate == pytest.approx(np.mean([calibrate(y, one).slope for one in p]))
    assert found.low < found.estimate < found.high


def test_different_sets_widen_the_interval():
    y, p = sample()
    same, different = pool_auc(y, [p[0]] * 4), pool_auc(y, p)
    assert different.missing_information > 0 == pytest.approx(same.missing_information)


def test_a_perfect_set_leaves_the_mean_alone():
    found = pool_auc([0, 0, 1, 1], [[1, 2, 3, 4], [1, 3, 2, 4]])
    assert found.estimate == pytest.approx(0.875)
    assert np.isnan([found.low, found.high]).all()


def test_a_set_without_slope_leaves_nothing():
    assert np.isnan(pool_slope([0, 0, 1, 1], [[0.1, 0.2, 0.8, 0.9], [0.1, 0.6, 0.5, 0.9]]).estimate)


@pytest.mark.parametrize(
    ("estimates", "variances"), [([1.0], [0.0]), ([1.0, 2.0], [1.0]), ([np.nan], [1.0]), ([1.0], [np.inf])]
)
def test_figures_that_cannot_be_pooled_are_refused(estimates, variances):
    with pytest.raises(ValueError, match="must"):
        rubin_interval(estimates, variances)


def test_no_set_at_all_is_refused():
    for function in (pool_auc, pool_slope):
        with pytest.raises(ValueError, match="at least one imputed set"):
            function([0, 1], [])
