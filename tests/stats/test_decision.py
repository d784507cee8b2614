import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats.decision import decision_curve, net_benefit, net_benefit_difference, net_benefit_from_counts
from hepred_lib.stats.operating_point import wilson_interval

THRESHOLDS = np.array([0.05, 0.2, 0.5])


def sample(n=150, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.2).astype(int)
    return y, np.round(np.clip(0.2 + 0.2 * y + rng.normal(0, 0.15, n), 0, 1), 2)


def curve(y, predictions, n_resamples=200, seed=0, band="bootstrap"):
    how = {"band": band, "n_resamples": n_resamples, "rng": np.random.default_rng(seed)}
    return decision_curve(y, predictions, THRESHOLDS, **how)


def test_net_benefit_by_hand_where_a_patient_at_the_threshold_is_treated():
    assert net_benefit([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9], [0.5, 0.75]) == pytest.approx([0.25, 0.25])
    assert net_benefit([0, 1], [0.1, 0.2], [0.2]) == pytest.approx([0.5])


def test_the_published_clinical_and_integrated_points_cross_at_one_ninth():
    clinical, integrated = (
        net_benefit_from_counts(tp, fp, n=107, thresholds=[1 / 9]) for tp, fp in ((17, 23), (16, 15))
    )
    assert clinical == pytest.approx(integrated)


def test_a_perfect_model_gains_the_prevalence_at_every_threshold():
    y, _ = sample()
    assert net_benefit(y, y, THRESHOLDS) == pytest.approx(np.full(3, y.mean()))


def test_curve_holds_the_models_then_all_and_none():
    y, p = sample()
    table = curve(y, {"image": p, "clinical": 1 - p})
    assert table["model"].unique().tolist() == ["image", "clinical", "all", "none"]
    assert table.columns.tolist() == ["model", "threshold", "net_benefit", "low", "high"]
    values = table.pivot(index="threshold", columns="model", values="net_benefit")
    assert values["image"].to_numpy() == pytest.approx(net_benefit(y, p, THRESHOLDS))
    assert values["all"].to_numpy() == pytest.approx(net_benefit(y, np.ones(y.size), THRESHOLDS))
    assert (values["none"] == 0).all()


def test_band_holds_the_estimate():
    y, p = sample()
    table = pd.concat([curve(y, {"image": p}), decision_curve(y, {"image": p}, THRESHOLDS)])
    assert ((table["low"] <= table["net_benefit"]) & (table["net_benefit"] <= table["high"])).all()


def test_net_benefit_equals_the_formula_written_out():
    y, p = sample()
    for threshold, found in zip(THRESHOLDS, net_benefit(y, p, THRESHOLDS), strict=True):
        treated = p >= threshold
        tp, fp = np.sum(treated & (y == 1)), np.sum(treated & (y == 0))
        assert found == pytest.approx(tp / 150 - fp / 150 * threshold / (1 - threshold))


def test_band_equals_resampling_patients_one_by_one():
    y, p = sample()
    rng, resampled = np.random.default_rng(3), []
    for _ in range(1000):
        drawn = rng.integers(0, y.size, y.size)
        resampled.append(net_benefit(y[drawn], p[drawn], THRESHOLDS))
    table = curve(y, {"image": p}, n_resamples=1000).query("model == 'image'")
    np.testing.assert_allclose(table[["low", "high"]].T, np.quantile(resampled, (0.025, 0.975), axis=0), atol=0.02)


def test_the_wilson_band_of_treating_all_is_that_of_the_prevalence():
    y, p = sample()
    row = decision_curve(y, {"image": p}, [0.2]).query("model == 'all'").iloc[0]
    low, high = wilson_interval([y.sum()], y.size)
    assert (row["low"], row["high"]) == pytest.approx((low[0] - (1 - low[0]) / 4, high[0] - (1 - high[0]) / 4))


def test_treating_nobody_is_certainly_worth_nothing_but_a_model_that_treats_nobody_is_not():
    y, _ = sample()
    table = decision_curve(y, {"image": np.full(y.size, 0.01)}, [0.5]).set_index("model")
    assert table.loc["none", ["low", "high"]].tolist() == [0, 0]
    assert table.loc["image", "low"] < 0 < table.loc["image", "high"]


def test_the_difference_is_that_of_the_curves_and_turns_with_the_models():
    y, p = sample()
    q = np.roll(p, 1)
    forward, backward = (net_benefit_difference(y, *pair, THRESHOLDS) for pair in ((p, q), (q, p)))
    assert forward["difference"].to_numpy() == pytest.approx(
        net_benefit(y, p, THRESHOLDS) - net_benefit(y, q, THRESHOLDS)
    )
    assert forward["low"].to_numpy() == pytest.approx(-backward["high"].to_numpy())


def test_the_differences_bands_agree_in_large_samples():
    y, p = sample(4000)
    q = np.clip(p + np.random.default_rng(1).normal(0, 0.1, p.size), 0, 1)
    wilson = net_benefit_difference(y, p, q, THRESHOLDS)
    how = {"band": "bootstrap", "n_resamples": 1000, "rng": np.random.default_rng(0)}
    resampled = net_benefit_difference(y, p, q, THRESHOLDS, **how)
    np.testing.assert_allclose(wilson, resampled, atol=0.002)


def test_identical_models_differ_by_nothing():
    y, p = sample()
    assert (net_benefit_difference(y, p, p, THRESHOLDS)[["difference", "low", "high"]] == 0).all(axis=None)


REFUSED = {
    "a threshold of 0": (lambda: net_benefit([0, 1], [0.1, 0.2], [0.0]), "thresholds must"),
    "a threshold of 1": (lambda: net_benefit([0, 1], [0.1, 0.2], [1.0]), "thresholds must"),
    "no threshold": (lambda: net_benefit([0, 1], [0.1, 0.2], [np.nan]), "thresholds must"),
    "a probability above 1": (lambda: curve([0, 1], {"image": [0.5, 1.5]}), r"image must lie in \[0, 1\], got 1.5"),
    "a reference line's name": (lambda: curve([0, 1], {"all": [0.5, 0.5]}), "predictions must not name a model all"),
    "more positives than patients": (
        lambda: net_benefit_from_counts(2, 1, n=2, thresholds=[0.1]),
        "n must be a whole number >= 3, got 2",
    ),
    "an unknown band": (lambda: curve([0, 1], {}, band="wald"), "band must be 'wilson' or 'bootstrap'"),
    "no resample": (lambda: curve([0, 1], {}, n_resamples=0), "n_resamples must be a whole number >= 1"),
    "no generator": (
        lambda: decision_curve([0, 1], {}, THRESHOLDS, band="bootstrap", n_resamples=9),
        "rng must be a random generator",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
