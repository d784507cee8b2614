from dataclasses import astuple

import numpy as np
import pytest

from hepred_lib.stats.bootstrap import bootstrap_auc_difference, bootstrap_auc_interval, resampled_aucs
from hepred_lib.stats.discrimination import auc, auc_interval, compare_auc


def rng(seed=0):
    return np.random.default_rng(seed)


def sample(n=107, events=21, seed=0, decimals=1):
    draw = rng(seed)
    y = draw.permutation(np.repeat([1, 0], [events, n - events]))
    a = np.round(y + draw.normal(size=n), decimals)
    return y, a, np.round(0.5 * a + draw.normal(size=n), decimals)


def test_each_resample_is_the_auc_of_the_patients_drawn():
    y, a, b = sample(40, 10)
    found = resampled_aucs(y, [a, b], n_resamples=5, rng=rng(3))
    positive, negative, draw = np.flatnonzero(y == 1), np.flatnonzero(y == 0), rng(3)
    events, others = (part[draw.integers(0, part.size, size=(5, part.size))] for part in (positive, negative))
    rows = np.hstack([events, others])
    expected = [[auc(y[index], score[index]) for index in rows] for score in (a, b)]
    assert found == pytest.approx(np.array(expected), abs=1e-12)


def test_blocks_do_not_change_the_shape():
    y, a, _ = sample(2000, 300)
    assert resampled_aucs(y, [a], n_resamples=600, rng=rng()).shape == (1, 600)


def test_its_standard_error_is_near_delongs():
    y, a, _ = sample(600, 150)
    found = bootstrap_auc_interval(y, a, n_resamples=2000, rng=rng())
    assert found.auc == auc(y, a)
    assert found.standard_error == pytest.approx(auc_interval(y, a).standard_error, rel=0.06)


def test_the_difference_agrees_with_delong():
    y, a, b = sample(600, 150)
    found, delong = bootstrap_auc_difference(y, a, b, n_resamples=2000, rng=rng()), compare_auc(y, a, b)
    assert astuple(found)[:3] == pytest.approx(astuple(delong)[:3], abs=0.01)
    assert found.z == pytest.approx(delong.z, rel=0.08)


def test_scores_that_order_alike_differ_by_nothing():
    y, a, _ = sample()
    assert astuple(bootstrap_auc_difference(y, a, 2 * a, n_resamples=50, rng=rng())) == (0, 0, 0, 0, 1)


def test_p_is_never_zero():
    y, a, _ = sample(200, 60)
    assert bootstrap_auc_difference(y, a + 9 * y, -a, n_resamples=99, rng=rng()).p == pytest.approx(0.02)


@pytest.mark.parametrize("score", [[1, 2, 3, 4], [1, 1, 1, 1]])
def test_without_variance_there_is_no_interval(score):
    assert np.isnan(astuple(bootstrap_auc_interval([0, 0, 1, 1], score, n_resamples=9, rng=rng()))[1:]).all()


def test_a_perfect_against_a_constant_score_has_no_p():
    result = bootstrap_auc_difference([0, 0, 1, 1], [1, 2, 3, 4], [1, 1, 1, 1], n_resamples=9, rng=rng())
    assert result.difference == 0.5
    assert np.isnan(result.p)


def test_one_resample_is_refused():
    with pytest.raises(ValueError, match="n_resamples must be a whole number >= 2"):
        bootstrap_auc_interval([0, 1, 1], [1, 2, 1], n_resamples=1, rng=rng())
