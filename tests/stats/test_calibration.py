import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from scipy.stats import chi2, norm
from sklearn.model_selection import StratifiedKFold

from hepred_lib.stats import calibration
from hepred_lib.stats.bootstrap import bootstrap_indices
from hepred_lib.stats.calibration import calibrate, closed_test, cross_validated_update, recalibrations

BINOMIAL = sm.families.Binomial()


def sample(n=400, seed=0, shift=0.0, slope=1.0):
    """Outcomes of a hospital where the truth is a line on a model's log odds, and the model's probabilities."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-1.2, 1.2, n)
    return (rng.random(n) < expit(shift + slope * log_odds)).astype(int), expit(log_odds)


def test_figures_equal_r(reference):
    table, expected = reference("calibration.csv"), reference("calibration.json")
    found, tested = calibrate(table["y"], table["p"]), calibration.spiegelhalter_test(table["y"], table["p"])
    for name in ("slope", "intercept", "in_the_large", "ici", "e50", "e90", "emax"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-8)
    assert (found.slope_low, found.slope_high) == pytest.approx(expected["slope_wald"], abs=1e-6)
    told = expected["val_prob"]
    assert (found.brier, *tested) == pytest.approx((told["Brier"], told["S:z"], told["S:p"]), abs=1e-10)


def test_a_shift_of_the_logits_moves_the_level_and_a_stretch_divides_the_slope():
    y, p = sample()
    before, after = calibrate(y, p), calibrate(y, expit(2 * (logit(p) - 0.7)))
    assert after.slope == pytest.approx(before.slope / 2, rel=1e-8)
    assert calibrate(y, expit(logit(p) - 0.7)).in_the_large == pytest.approx(before.in_the_large + 0.7, abs=1e-9)


def test_predicting_the_prevalence_for_all_explains_nothing():
    result = calibrate([0, 0, 0, 1], [0.25] * 4)
    assert (result.brier, result.brier_scaled, result.in_the_large) == pytest.approx((0.1875, 0, 0), abs=1e-12)
    certain = calibration.spiegelhalter_test([0, 1, 1], [0.0, 1.0, 0.5])
    assert certain == pytest.approx((np.nan, np.nan), nan_ok=True), "certainty has no spread"


def test_a_brier_score_below_what_calibration_allows_has_a_negative_z_and_a_two_sided_p():
    z, p = calibration.spiegelhalter_test([0, 1], [0.25, 0.75])  # -0.25 over the root of 2 x 0.25 x 0.1875
    assert (z, p) == pytest.approx((-0.25 / np.sqrt(0.09375), 2 * norm.cdf(z)))


@pytest.mark.parametrize("p", [[0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1], [0.1, 0.5, 0.5, 0.9]])
def test_separated_outcomes_have_no_slope_but_all_else(p):
    result = calibrate([0, 0, 1, 1], p)
    assert np.isnan([result.slope, result.slope_low, result.slope_high, result.intercept]).all()
    assert np.isfinite([result.in_the_large, result.brier]).all()


def test_where_two_thirds_of_the_predictions_are_tied_there_is_no_curve_and_short_of_that_there_is():
    for n_tied in (10, 15):
        p = np.r_[np.full(n_tied, 0.3), np.linspace(0.4, 0.8, 15 - n_tied)]
        assert np.isnan(calibrate(np.arange(15) % 2, p).ici)
        assert np.isnan(calibration.ici_interval(np.arange(15) % 2, p)).all()
    p = np.repeat([0.2, 0.6], 25)
    assert calibrate(np.repeat([0, 1, 0, 1], [20, 5, 10, 15]), p).emax == pytest.approx(0, abs=1e-9)


def test_the_curve_is_the_one_behind_the_ici_within_its_band_and_ends_where_the_predictions_end():
    y, p = sample()
    rng, places = np.random.default_rng(0), np.r_[0.0, np.sort(0.5 * p), 0.9]
    curve = calibration.calibration_curve(y, 0.5 * p, places, n_resamples=50, rng=rng)
    assert curve["observed"].isna().tolist() == curve["low"].isna().tolist() == [True, *[False] * 400, True]
    inside = curve.iloc[1:-1]
    assert np.abs(inside["observed"] - inside["grid"]).mean() == pytest.approx(calibrate(y, 0.5 * p).ici, abs=2e-3)
    assert ((inside["low"] <= inside["observed"]) & (inside["observed"] <= inside["high"])).mean() > 0.95
    drawn = bootstrap_indices(y.size, 50, np.random.default_rng(0))
    twins = [calibration.read_curve(y[rows], 0.5 * p[rows], [0.1]) for rows in drawn]
    by_hand = calibration.calibration_curve(y, 0.5 * p, [0.1], n_resamples=50, rng=np.random.default_rng(0))
    assert by_hand.loc[0, ["low", "high"]].tolist() == pytest.approx(np.quantile(twins, (0.025, 0.975)).tolist())
    with pytest.raises(ValueError, match=r"grid must lie in \[0, 1\]"):
        calibration.calibration_curve(y, p, [20.0], n_resamples=5, rng=rng)


def test_intervals_by_hand_of_an_offset_regression_and_around_the_figure():
    ratio, low, high = calibration.observed_expected([0, 0, 0, 1], [0.125] * 4)
    reach = 1.959964 * np.sqrt(0.75 / 1)  # (1 - O) / (n O)
    assert (ratio, low, high) == pytest.approx((2.0, 2 * np.exp(-reach), 2 * np.exp(reach)), rel=1e-6)
    for outcome in (0, 1):
        assert np.isnan(calibration.observed_expected([outcome] * 2, [0.1, 0.2])[1:]).all()
    with pytest.raises(ValueError, match="all probabilities are 0"):
        calibration.observed_expected([0, 1], [0.0, 0.0])
    # Squared distances 0 and 0.25: mean 0.125, standard error 0.125.
    assert calibration.brier_interval([0, 1], [0.0, 0.5]) == pytest.approx((0.0, 0.125 * 2.959964), rel=1e-6)
    y, p = sample(shift=-1.5)
    fit = sm.GLM(y, np.ones((y.size, 1)), family=BINOMIAL, offset=logit(p)).fit(tol=1e-12)
    assert calibration.in_the_large_interval(y, p) == pytest.approx(fit.conf_int()[0].tolist(), abs=1e-6)
    low, high = calibration.ici_interval(y, p)
    assert 0.1 < low < calibrate(y, p).ici < high


# Updating


def test_the_lines_and_tests_are_those_of_plain_regressions():
    y, p = sample(shift=-0.6, slope=0.7)
    x = logit(p)
    both = sm.GLM(y, sm.add_constant(x), family=BINOMIAL).fit(tol=1e-12)
    level = sm.GLM(y, np.ones_like(x), family=BINOMIAL, offset=x).fit(tol=1e-12)
    frozen = np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))
    lines, update = recalibrations(y, p), closed_test(y, p)
    assert set(lines) == set(calibration.METHODS)
    assert lines["intercept and slope"] == pytest.approx(tuple(both.params), abs=1e-6)
    assert lines["intercept"] == pytest.approx((level.params[0], 1.0), abs=1e-6)
    assert update.p_any == pytest.approx(chi2.sf(2 * (both.llf - frozen), 2), rel=1e-6)
    assert update.p_slope == pytest.approx(chi2.sf(2 * (both.llf - level.llf), 1), rel=1e-6)


@pytest.mark.parametrize(
    ("method", "truth"),
    [("frozen", {}), ("intercept", {"shift": -0.9}), ("intercept and slope", {"shift": -0.4, "slope": 0.5})],
)
def test_the_closed_test_finds_what_the_hospital_does(method, truth):
    chosen = [closed_test(*sample(n=800, seed=seed, **truth)).method for seed in range(10)]
    assert chosen.count(method) >= 8, chosen


def test_an_update_that_is_needless_or_impossible_is_not_made():
    y, p = sample(n=60)
    assert closed_test(y, p).apply(p) == pytest.approx(p)
    separated = closed_test([0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8])
    turned = closed_test(1 - sample()[0], sample()[1])
    assert separated.method == turned.method == "frozen"
    assert np.isnan([separated.p_any, turned.p_slope]).all()
    assert closed_test(*sample(n=800, shift=-0.9)).apply([0.0, 1.0]) == pytest.approx([0.0, 1.0])


def test_each_patient_is_updated_by_the_others():
    y, p = sample(n=120, shift=-1.0)
    found = cross_validated_update(y, p, n_folds=4)
    for rest, own in StratifiedKFold(4, shuffle=True, random_state=0).split(p, y):
        assert found[own] == pytest.approx(closed_test(y[rest], p[rest]).apply(p[own]))
    for alone in ([0, 0, 1], [1, 1, 0]):
        with pytest.raises(ValueError, match="two patients of each class"):
            cross_validated_update(alone, [0.1, 0.2, 0.3])
