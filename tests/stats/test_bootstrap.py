import numpy as np
import pytest

from hepred_lib.stats.bootstrap import bootstrap_indices, percentile_interval, resample_counts


def rng(seed=0):
    return np.random.default_rng(seed)


def test_strata_keep_their_size_in_every_resample():
    y = np.repeat([0, 1], [40, 7])
    drawn = bootstrap_indices(y, 50, rng())
    assert (y[drawn].sum(axis=1) == 7).all()


def test_resamples_without_strata_draw_every_row_equally_often():
    counts = resample_counts(bootstrap_indices(20, 4000, rng()))
    assert counts.sum(axis=1).tolist() == [20.0] * 4000
    assert counts.mean(axis=0) == pytest.approx(np.ones(20), abs=0.08)


def test_percentile_interval_leaves_equal_tails():
    assert percentile_interval(np.arange(1001)) == pytest.approx((25, 975))


@pytest.mark.parametrize("draws", [[], [1.0, np.nan], [[[1.0, 2.0]]]])
def test_an_interval_of_draws_that_are_no_list_of_numbers_is_refused(draws):
    with pytest.raises(ValueError, match="draws must be a list of finite numbers"):
        percentile_interval(draws)


@pytest.mark.parametrize(
    ("n", "resamples", "name"),
    [(5, 0, "n_resamples"), *((n, 2, "n_or_strata") for n in (0, -1, 1.5, np.nan))],
)
def test_a_number_of_rows_or_resamples_that_is_none_is_refused(n, resamples, name):
    with pytest.raises(ValueError, match=f"{name} must be a whole number >= 1"):
        bootstrap_indices(n, resamples, rng())
