import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats.discrimination import (
    auc,
    auc_interval,
    compare_auc,
    compare_aucs,
    compare_unpaired,
    delong_covariance,
)

R = Path(__file__).resolve().parents[1] / "data" / "r"


def sample(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    a = y + rng.normal(size=n)
    return y, {"a": a, "b": a + rng.normal(size=n), "c": rng.normal(size=n)}


def test_two_curves_give_the_square_of_delongs_z():
    y, scores = sample()
    found = compare_aucs(y, {"a": scores["a"], "b": scores["b"]})
    pair = compare_auc(y, scores["a"], scores["b"])
    assert (found.statistic, found.df, found.p) == pytest.approx((pair.z**2, 1, pair.p))


def test_the_order_of_three_curves_does_not_matter():
    y, scores = sample()
    turned = compare_aucs(y, {name: scores[name] for name in "cab"})
    assert (turned.statistic, turned.df) == pytest.approx((compare_aucs(y, scores).statistic, 2))


def test_a_copy_adds_no_degree_of_freedom():
    y, scores = sample()
    twice = compare_aucs(y, {"a": scores["a"], "again": 2 * scores["a"], "b": scores["b"]})
    assert (twice.statistic, twice.df) == pytest.approx((compare_auc(y, scores["a"], scores["b"]).z ** 2, 1))


def test_identical_curves_have_p_one():
    y, scores = sample()
    found = compare_aucs(y, {"a": scores["a"], "b": scores["a"], "c": scores["a"]})
    assert (found.statistic, found.df, found.p) == (0.0, 0, 1.0)


@pytest.mark.parametrize("y", [[0, 0, 1, 1], [0, 0, 0, 1]])
def test_without_variance_there_is_no_test(y):
    found = compare_aucs(y, {"perfect": [1, 2, 3, 4], "constant": [1, 1, 1, 1]})
    assert np.isnan(found.p)


def test_equal_aucs_are_rejected_five_times_in_a_hundred():
    rng, rejected = np.random.default_rng(1), 0
    y = np.repeat([1, 0], [60, 140])
    for _ in range(400):
        shared = y + rng.normal(size=200)
        rejected += compare_aucs(y, {k: shared + rng.normal(size=200) for k in "abc"}).p < 0.05
    assert 0.02 < rejected / 400 < 0.09


def test_one_score_is_refused():
    with pytest.raises(ValueError, match="at least two scores"):
        compare_aucs([0, 1], {"a": [0, 1]})


def test_the_score_at_fault_is_named():
    with pytest.raises(ValueError, match="b must be finite"):
        compare_aucs([0, 1], {"a": [0, 1], "b": [0, np.nan]})


def test_the_covariance_equals_proc(reference):
    table, expected = reference("roc.csv"), reference("roc.json")
    names = list(expected["auc"])
    _, covariance = delong_covariance(table["y"], {name: table[name] for name in names})
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert covariance[i, j] == pytest.approx(expected["delong"][f"{names[i]}-{names[j]}"]["covariance"], abs=1e-12)
    variances = [expected["auc"][name]["variance"] for name in names]
    assert np.diag(covariance) == pytest.approx(variances, abs=1e-12)


def test_unpaired_by_hand():
    (y, a), (z, b) = ((sample(seed=s)[0], sample(seed=s)[1]["a"]) for s in (0, 1))
    found = compare_unpaired((y, a), (z, b))
    error = np.hypot(auc_interval(y, a).standard_error, auc_interval(z, b).standard_error)
    assert (found.difference, found.z) == pytest.approx((auc(y, a) - auc(z, b), (auc(y, a) - auc(z, b)) / error))
    assert found.high - found.low == pytest.approx(2 * 1.959963984540054 * error)


def test_unpaired_equals_proc():
    table, expected = pd.read_csv(R / "roc.csv"), json.loads((R / "roc.json").read_text())["unpaired_volume"]
    a, b = (table[table["site"] == site] for site in "AB")
    found = compare_unpaired((a["y"], a["volume"]), (b["y"], b["volume"]))
    assert (found.difference, found.z) == pytest.approx((expected["difference"], expected["z"]), abs=1e-12)


def test_a_group_without_variance_gives_the_difference_alone():
    y, scores = sample()
    found = compare_unpaired((y, scores["a"]), ([0, 0, 1, 1], [1, 2, 3, 4]))
    assert np.isfinite(found.difference)
    assert np.isnan(astuple(found)[1:]).all()
