import numpy as np
import pytest

from hepred_lib.stats.bootstrap import bootstrap_indices, percentile_interval, resample_counts, rubin_pool


def rng(seed=0):
    return np.random.default_rng(seed)


def test_rubins_rules_by_hand():
    pooled = rubin_pool([[1.0, 2.0], [3.0, 2.0]], [[4.0, 1.0], [4.0, 1.0]])
    assert pooled.estimate.tolist() == [2.0, 2.0]
    assert pooled.total_variance.tolist() == [7.0, 1.0]
    assert pooled.standard_error == pytest.approx([7**0.5, 1.0])


def test_pooled_covariances_have_the_pooled_variances_on_their_diagonal():
    estimates = rng().normal(size=(5, 3))
    roots = rng(1).normal(size=(5, 3, 3))
    covariances = roots @ roots.swapaxes(1, 2)
    alone = rubin_pool(estimates, np.diagonal(covariances, axis1=1, axis2=2))
    assert np.diag(rubin_pool(estimates, covariances).total_variance) == pytest.approx(alone.total_variance)


def test_one_imputed_set_keeps_its_own_variance():
    assert rubin_pool([[2.0]], [[0.25]]).standard_error.tolist() == [0.5]


def test_strata_keep_their_size_in_every_resample():
    y = np.repeat([0, 1], [40, 7])
    drawn = bootstrap_indices(y, 50, rng())
    assert (y[drawn].sum(axis=1) == 7).all()


def test_resamples_without_strata_draw_every_row_equally_often():
    counts = resample_counts(bootstrap_indices(20, 4000, rng()))
    assert counts.sum(axis=1).tolist() == [20.0] * 4000
    assert counts.mean(axis=0) == pytest.approx(np.ones(20), abs=0.08)


def test_the_same_seed_draws_the_same_resamples():
    assert (bootstrap_indices(9, 3, rng(4)) == bootstrap_indices(9, 3, rng(4))).all()


def test_percentile_interval_leaves_equal_tails():
    assert percentile_interval(np.arange(1001)) == pytest.approx((25, 975))


@pytest.mark.parametrize("draws", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_an_interval_of_draws_that_are_no_list_of_numbers_is_refused(draws):
    with pytest.raises(ValueError, match="draws must be a list of finite numbers"):
        percentile_interval(draws)


def test_an_empty_request_is_refused():
    with pytest.raises(ValueError, match="n_resamples must be a whole number >= 1"):
        bootstrap_indices(5, 0, rng())


def test_variances_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="variances must fit estimates"):
        rubin_pool([1.0, 2.0], [1.0])


@pytest.mark.parametrize("n", [0, -1, 1.5, np.nan])
def test_a_number_of_rows_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match="n_or_strata must be a whole number >= 1"):
        bootstrap_indices(n, 2, np.random.default_rng(0))


@pytest.mark.parametrize("estimates", [[], [1.0, np.nan], [np.inf, 1.0], 1.0])
def test_estimates_that_cannot_be_pooled_are_refused(estimates):
    with pytest.raises(ValueError, match="estimates and variances must be finite, of at least one set"):
        rubin_pool(estimates, np.ones_like(estimates))
