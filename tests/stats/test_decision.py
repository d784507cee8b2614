import numpy as np
import pytest

from hepred_lib.stats import decision
from hepred_lib.stats.decision import net_benefit, net_benefit_difference, net_reclassification, reclassification_table
from hepred_lib.stats.operating_point import wilson_interval

THRESHOLDS = np.array([0.05, 0.2, 0.5])
Y = [1, 1, 1, 0, 0, 0]
OLD = [0.2, 0.4, 0.6, 0.2, 0.4, 0.6]
NEW = [0.6, 0.6, 0.5, 0.1, 0.3, 0.6]


def drawn(n=50, seed=0):
    return {"n_resamples": n, "rng": np.random.default_rng(seed)}


def sample(n=150, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.2).astype(int)
    return y, np.round(np.clip(0.2 + 0.2 * y + rng.normal(0, 0.15, n), 0, 1), 2)


def curve(y, predictions):
    return decision.decision_curve(y, predictions, THRESHOLDS)


def test_net_benefit_by_hand_where_a_patient_at_the_threshold_is_treated():
    assert net_benefit([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9], [0.5, 0.75]) == pytest.approx([0.25, 0.25])
    assert net_benefit([0, 1], [0.1, 0.2], [0.2]) == pytest.approx([0.5])
    y, p = sample()
    assert net_benefit(y, y, THRESHOLDS) == pytest.approx(np.full(3, y.mean())), "a perfect model gains the prevalence"
    for threshold, found in zip(THRESHOLDS, net_benefit(y, p, THRESHOLDS), strict=True):
        tp, fp = (np.sum((p >= threshold) & (y == label)) for label in (1, 0))
        assert found == pytest.approx(tp / 150 - fp / 150 * threshold / (1 - threshold))
        assert found == pytest.approx(decision.net_benefit_from_counts(tp, fp, n=150, thresholds=[threshold])[0])


def test_the_published_clinical_and_integrated_points_cross_at_one_ninth():
    clinical, integrated = (
        decision.net_benefit_from_counts(tp, fp, n=107, thresholds=[1 / 9]) for tp, fp in ((17, 23), (16, 15))
    )
    assert clinical == pytest.approx(integrated)


def test_the_curve_holds_the_models_then_all_and_none_each_inside_its_band():
    y, p = sample()
    table = curve(y, {"image": p, "clinical": 1 - p})
    assert table["model"].unique().tolist() == ["image", "clinical", "all", "none"]
    assert table.columns.tolist() == ["model", "threshold", "net_benefit", "low", "high"]
    values = table.pivot(index="threshold", columns="model", values="net_benefit")
    assert values["image"].to_numpy() == pytest.approx(net_benefit(y, p, THRESHOLDS))
    assert values["all"].to_numpy() == pytest.approx(net_benefit(y, np.ones(y.size), THRESHOLDS))
    assert ((table["low"] <= table["net_benefit"]) & (table["net_benefit"] <= table["high"])).all()
    assert (table.loc[table["model"] == "none", ["net_benefit", "low", "high"]] == 0).all(axis=None)


def test_the_wilson_band_of_treating_all_is_that_of_the_prevalence_and_of_treating_nobody_is_uncertain():
    y, _ = sample()
    table = decision.decision_curve(y, {"image": np.full(y.size, 0.01)}, [0.2]).set_index("model")
    low, high = wilson_interval([y.sum()], y.size)
    limits = low[0] - (1 - low[0]) / 4, high[0] - (1 - high[0]) / 4
    assert tuple(table.loc["all", ["low", "high"]]) == pytest.approx(limits)
    assert table.loc["image", "low"] < 0 < table.loc["image", "high"]


def test_the_difference_is_that_of_the_curves_turns_with_the_models_and_is_nothing_for_equal_ones():
    y, p = sample()
    q = np.roll(p, 1)
    forward, backward = (net_benefit_difference(y, *pair, THRESHOLDS) for pair in ((p, q), (q, p)))
    gain = net_benefit(y, p, THRESHOLDS) - net_benefit(y, q, THRESHOLDS)
    assert forward["difference"].to_numpy() == pytest.approx(gain)
    assert forward["low"].to_numpy() == pytest.approx(-backward["high"].to_numpy())
    assert ((forward["low"] < forward["difference"]) & (forward["difference"] < forward["high"])).all()
    assert (net_benefit_difference(y, p, p, THRESHOLDS)[["difference", "low", "high"]] == 0).all(axis=None)


# Reclassification


def test_reclassification_and_integrated_discrimination_by_hand():
    # Events: two up, one down; non-events: one down.
    found = net_reclassification(Y, OLD, NEW, thresholds=[0.35, 0.55], **drawn())
    assert (found["events"], found["non_events"], found["value"]) == pytest.approx((1 / 3, 1 / 3, 2 / 3))
    assert found["low"] < 2 / 3 < found["high"]
    found = net_reclassification(Y, OLD, NEW, thresholds=[0.5], **drawn())
    assert (found["events"], found["non_events"]) == pytest.approx((2 / 3, 0))
    slopes = [np.mean(p[:3]) - np.mean(p[3:]) for p in (OLD, NEW)]
    assert decision.integrated_discrimination(Y, OLD, NEW, **drawn())["value"] == pytest.approx(slopes[1] - slopes[0])
    same = net_reclassification(Y, OLD, OLD, thresholds=[0.5], **drawn())
    for found in (same, decision.integrated_discrimination(Y, OLD, OLD, **drawn())):
        assert (found["value"], found["low"], found["high"]) == (0, 0, 0)


def test_a_useless_predictor_that_miscalibrates_improves_both_indexes():
    # The reason for the caution: more extreme probabilities, no new information.
    rng = np.random.default_rng(1)
    old = rng.uniform(0.05, 0.5, 20_000)
    y = (rng.random(old.size) < old).astype(int)
    new = 1 / (1 + np.exp(-(2.0 * np.log(old / (1 - old)) + 1.5)))
    assert decision.integrated_discrimination(y, old, new, **drawn(20))["low"] > 0


def test_the_table_of_moves_gives_the_categorical_index_and_a_risk_at_a_boundary_belongs_above():
    limits = [0.5, 0.35]  # in any order
    table = reclassification_table(Y, OLD, NEW, limits)
    assert table.groupby("outcome")["patients"].sum().tolist() == [3, 3]
    move = np.sign(table["new"] - table["old"])
    found = net_reclassification(Y, OLD, NEW, thresholds=limits, **drawn())
    assert (move * table["share"])[table["outcome"] == 1].sum() == pytest.approx(found["events"])
    assert (-move * table["share"])[table["outcome"] == 0].sum() == pytest.approx(found["non_events"])
    above = reclassification_table([0, 1], [0.5, 0.1], [0.5, 0.1], [0.5]).query(
        "outcome == 0 and old == 1 and new == 1"
    )
    assert above["patients"].tolist() == [1]


REFUSED = {
    "a threshold of 1": (lambda: net_benefit([0, 1], [0.1, 0.2], [1.0]), "thresholds must"),
    "a boundary of 0": (lambda: net_reclassification(Y, OLD, NEW, thresholds=[0.0], **drawn()), "thresholds must"),
    "no boundary": (lambda: reclassification_table(Y, OLD, NEW, [np.nan]), "thresholds must"),
    "a probability above 1": (lambda: curve([0, 1], {"image": [0.5, 1.5]}), r"image must lie in \[0, 1\], got 1.5"),
    "a reference line's name": (lambda: curve([0, 1], {"all": [0.5, 0.5]}), "predictions must not name a model all"),
    "more positives than patients": (
        lambda: decision.net_benefit_from_counts(2, 1, n=2, thresholds=[0.1]),
        "n must be a whole number >= 3, got 2",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
