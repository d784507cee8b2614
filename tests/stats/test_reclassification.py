import numpy as np
import pytest

from hepred_lib.stats.reclassification import integrated_discrimination, net_reclassification, reclassification_table

Y = [1, 1, 1, 0, 0, 0]
OLD = [0.2, 0.4, 0.6, 0.2, 0.4, 0.6]
NEW = [0.6, 0.6, 0.5, 0.1, 0.3, 0.6]


def rng():
    return np.random.default_rng(0)


def test_category_free_reclassification_by_hand():
    # Events: two up, one down; non-events: two down.
    found = net_reclassification(Y, OLD, NEW, n_resamples=50, rng=rng())
    assert (found.events, found.non_events, found.value) == pytest.approx((1 / 3, 2 / 3, 1))


def test_categories_count_only_moves_across_a_threshold():
    found = net_reclassification(Y, OLD, NEW, thresholds=[0.5], n_resamples=50, rng=rng())
    assert (found.events, found.non_events) == pytest.approx((2 / 3, 0))


def test_integrated_discrimination_is_the_difference_of_discrimination_slopes():
    found = integrated_discrimination(Y, OLD, NEW, n_resamples=50, rng=rng())
    slopes = [np.mean(p[:3]) - np.mean(p[3:]) for p in (OLD, NEW)]
    assert found.value == pytest.approx(slopes[1] - slopes[0])


def test_identical_models_reclassify_nobody():
    for function in (net_reclassification, integrated_discrimination):
        found = function(Y, OLD, OLD, n_resamples=20, rng=rng())
        assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_useless_predictor_that_miscalibrates_improves_both_indexes():
    # The reason for the caution: more extreme probabilities, no new information.
    draw = np.random.default_rng(1)
    old = draw.uniform(0.05, 0.5, 20_000)
    y = (draw.random(old.size) < old).astype(int)
    new = 1 / (1 + np.exp(-(2.0 * np.log(old / (1 - old)) + 1.5)))
    assert integrated_discrimination(y, old, new, n_resamples=20, rng=rng()).low > 0


@pytest.mark.parametrize("wrong", [[0.0], [0.2, 1.0], [np.nan]])
def test_a_boundary_that_is_no_probability_is_refused(wrong):
    with pytest.raises(ValueError, match="thresholds must"):
        net_reclassification(Y, OLD, NEW, thresholds=wrong, n_resamples=2, rng=rng())
    with pytest.raises(ValueError, match="thresholds must"):
        reclassification_table(Y, OLD, NEW, wrong)


def test_the_table_of_moves_gives_the_categorical_index():
    limits = [0.35, 0.5]
    table = reclassification_table(Y, OLD, NEW, limits)
    assert table.groupby("outcome")["patients"].sum().tolist() == [3, 3]
    move = np.sign(table["new"] - table["old"])
    found = net_reclassification(Y, OLD, NEW, thresholds=limits, n_resamples=10, rng=rng())
    assert (move * table["share"])[table["outcome"] == 1].sum() == pytest.approx(found.events)
    assert (-move * table["share"])[table["outcome"] == 0].sum() == pytest.approx(found.non_events)


def test_a_risk_at_a_boundary_belongs_above():
    table = reclassification_table([0, 1], [0.5, 0.1], [0.5, 0.1], [0.5])
    assert table.query("outcome == 0 and old == 1 and new == 1")["patients"].tolist() == [1]


def test_the_interval_holds_the_value_and_shrinks_with_patients():
    widths = []
    for copies in (20, 500):
        y, old, new = (np.tile(part, copies) for part in (Y, OLD, NEW))
        found = net_reclassification(y, old, new, n_resamples=300, rng=rng())
        assert found.low <= found.value <= found.high
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0] / 5, rel=0.2)
