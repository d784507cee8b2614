import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from hepred_lib.stats.calibration import (
    brier_interval,
    calibrate,
    calibration_curve,
    ici_interval,
    in_the_large_interval,
    observed_expected,
    spiegelhalter_test,
)


def sample(n=400, seed=0, shift=0.0, stretch=1.0):
    """Outcomes drawn from known risks, and predictions whose logits are shifted and stretched."""
    rng = np.random.default_rng(seed)
    risk = expit(rng.normal(-1.2, 1.0, n))
    return (rng.random(n) < risk).astype(int), expit(shift + stretch * logit(risk))


def test_observed_over_expected_by_hand():
    ratio, low, high = observed_expected([0, 0, 0, 1], [0.125] * 4)
    reach = 1.959964 * np.sqrt(0.75 / 1)  # (1 - O) / (n O)
    assert (ratio, low, high) == pytest.approx((2.0, 2 * np.exp(-reach), 2 * np.exp(reach)), rel=1e-6)
    assert np.isnan(observed_expected([0, 0], [0.1, 0.2])[1:]).all()
    with pytest.raises(ValueError, match="all probabilities are 0"):
        observed_expected([0, 1], [0.0, 0.0])


def test_intervals_of_level_brier_and_ici_hold_what_a_calibrated_model_has():
    inside = []
    for seed in range(60):
        y, p = sample(n=300, seed=seed)
        (_, low, high), brier = observed_expected(y, p), brier_interval(y, p)
        inside.append([low <= 1 <= high, brier[0] <= np.mean(p * (1 - p)) <= brier[1]])
    assert (np.mean(inside, axis=0) >= 0.85).all()
    low, high = ici_interval(*sample(shift=1.5))
    assert 0.1 < low < calibrate(*sample(shift=1.5)).ici < high


def test_predicting_the_prevalence_for_all_explains_nothing():
    result = calibrate([0, 0, 0, 1], [0.25] * 4)
    assert (result.brier, result.brier_scaled, result.in_the_large) == pytest.approx((0.1875, 0, 0), abs=1e-12)


def test_the_true_risks_are_calibrated():
    result = calibrate(*sample(20_000))
    assert (result.slope, result.intercept, result.in_the_large) == pytest.approx((1, 0, 0), abs=0.06)
    assert result.ici < 0.01


def test_predictions_twice_too_extreme_have_half_the_slope():
    y, p = sample()
    doubled = calibrate(y, expit(2 * logit(p)))
    assert doubled.slope == pytest.approx(calibrate(y, p).slope / 2, rel=1e-8)


def test_a_shift_of_the_logits_moves_only_the_intercepts():
    y, p = sample()
    before, after = calibrate(y, p), calibrate(y, expit(logit(p) - 0.7))
    assert after.slope == pytest.approx(before.slope, rel=1e-8)
    assert after.in_the_large - before.in_the_large == pytest.approx(0.7, abs=1e-9)


@pytest.mark.parametrize("p", [[0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1], [0.1, 0.5, 0.5, 0.9]])
def test_separated_outcomes_have_no_slope_but_all_else(p):
    result = calibrate([0, 0, 1, 1], p)
    assert np.isnan([result.slope, result.slope_low, result.slope_high, result.intercept]).all()
    assert np.isfinite([result.in_the_large, result.brier]).all()


@pytest.mark.parametrize("n_tied", [10, 14, 15])
def test_where_two_thirds_of_the_predictions_are_tied_there_is_no_curve(n_tied):
    p = np.r_[np.full(n_tied, 0.3), np.linspace(0.4, 0.8, 15 - n_tied)]
    assert np.isnan(calibrate(np.arange(15) % 2, p).ici)


def test_ties_short_of_that_are_smoothed_to_their_frequency():
    p = np.repeat([0.2, 0.6], 25)
    assert calibrate(np.repeat([0, 1, 0, 1], [20, 5, 10, 15]), p).emax == pytest.approx(0, abs=1e-9)


def test_figures_equal_r(reference):
    table, expected = reference("calibration.csv"), reference("calibration.json")
    found, tested = calibrate(table["y"], table["p"]), spiegelhalter_test(table["y"], table["p"])
    for name in ("slope", "intercept", "in_the_large", "ici", "e50", "e90", "emax"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-8)
    assert (found.slope_low, found.slope_high) == pytest.approx(expected["slope_wald"], abs=1e-6)
    told = expected["val_prob"]
    assert (found.brier, tested.z, tested.p) == pytest.approx((told["Brier"], told["S:z"], told["S:p"]), abs=1e-10)


def test_the_curve_of_the_true_risks_is_the_diagonal_within_its_band():
    y, p = sample(1000)
    curve = calibration_curve(y, p, [0.1, 0.2, 0.4, 0.6], n_resamples=200, rng=np.random.default_rng(0))
    assert curve["observed"].to_numpy() == pytest.approx(curve["grid"].to_numpy(), abs=0.1)
    assert ((curve["low"] <= curve["observed"]) & (curve["observed"] <= curve["high"])).all()


def test_the_curve_ends_where_the_predictions_end():
    y, p = sample()
    curve = calibration_curve(y, 0.5 * p, [0.0, 0.2, 0.9], n_resamples=50, rng=np.random.default_rng(0))
    assert curve["observed"].isna().tolist() == curve["low"].isna().tolist() == [True, False, True]


def test_the_curve_is_the_one_behind_the_ici():
    y, p = sample(150)
    curve = calibration_curve(y, p, p, n_resamples=5, rng=np.random.default_rng(0))
    assert np.abs(curve["observed"] - p).mean() == pytest.approx(calibrate(y, p).ici, abs=2e-3)


def test_a_grid_outside_the_unit_interval_is_refused():
    with pytest.raises(ValueError, match=r"grid must lie in \[0, 1\]"):
        calibration_curve([0, 1], [0.1, 0.2], [20.0], n_resamples=5, rng=np.random.default_rng(0))


def test_the_interval_of_calibration_in_the_large_is_that_of_an_offset_regression():
    y, p = sample(shift=0.5)
    fit = sm.GLM(y, np.ones((y.size, 1)), family=sm.families.Binomial(), offset=logit(p)).fit(tol=1e-12)
    assert in_the_large_interval(y, p) == pytest.approx(fit.conf_int()[0].tolist(), abs=1e-6)


def test_calibrated_risks_are_rejected_five_times_in_a_hundred():
    rejected = np.mean([spiegelhalter_test(*sample(300, seed)).p < 0.05 for seed in range(200)])
    assert 0.01 < rejected < 0.1


def test_probabilities_of_zero_and_one_have_no_spread():
    assert np.isnan(spiegelhalter_test([0, 1, 1], [0.0, 1.0, 0.5]).z)
