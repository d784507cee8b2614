import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2

from hepred_lib.stats.calibration import hosmer_lemeshow_test, spiegelhalter_test


def sample(n=400, seed=0):
    rng = np.random.default_rng(seed)
    p = expit(rng.normal(-1.2, 1, n))
    return (rng.random(n) < p).astype(int), p


def test_spiegelhalter_by_hand():
    # One patient with p = 0.2 and an event: (1 - 0.2)(1 - 0.4) / sqrt(0.36 * 0.16).
    assert spiegelhalter_test([1], [0.2]).z == pytest.approx(0.48 / 0.24)


def test_spiegelhalter_equals_val_prob(reference):
    table, expected = reference("calibration.csv"), reference("calibration.json")
    found = spiegelhalter_test(table["y"], table["p"])
    assert (found.z, found.p) == pytest.approx((expected["val_prob"]["S:z"], expected["val_prob"]["S:p"]), abs=1e-10)


def test_calibrated_risks_are_rejected_five_times_in_a_hundred():
    rejected = [(spiegelhalter_test(*s).p < 0.05, hosmer_lemeshow_test(*s).p < 0.05) for s in map(sample, [300] * 200, range(200))]  # fmt: skip # noqa: E501
    assert (np.mean(rejected, axis=0) < 0.1).all()
    assert (np.mean(rejected, axis=0) > 0.01).all()


def test_probabilities_of_zero_and_one_have_no_spread():
    assert np.isnan(spiegelhalter_test([0, 1, 1], [0.0, 1.0, 0.5]).z)


def test_hosmer_lemeshow_by_hand():
    y, p = np.repeat([0, 1, 0, 1, 0, 1], [8, 2, 6, 4, 3, 7]), np.repeat([0.2, 0.5, 0.6], 10)
    found = hosmer_lemeshow_test(y, p, n_groups=3)
    assert found.statistic == pytest.approx(1 / 2.5 + 1 / 2.4)
    assert (found.df, found.p) == (3, pytest.approx(chi2.sf(1 / 2.5 + 1 / 2.4, 3)))


def test_a_model_fitted_here_loses_two_degrees_of_freedom():
    assert hosmer_lemeshow_test(*sample(), fitted_here=True).df == 8


def test_groups_hold_all_patients_and_ties_stay_together():
    y, p = sample()
    found = hosmer_lemeshow_test(y, np.round(p, 1).clip(0.05, 0.95))
    assert found.groups["n"].sum() == 400
    assert len(found.groups) < 10


def test_one_probability_for_all_makes_no_groups():
    found = hosmer_lemeshow_test([0, 1, 0, 1], [0.4] * 4)
    assert np.isnan([found.statistic, found.p]).all()


@pytest.mark.parametrize(("p", "n_groups"), [([0.0, 0.5], 10), ([0.2, 0.5], 2)])
def test_certainty_and_too_few_groups_are_refused(p, n_groups):
    with pytest.raises(ValueError, match="must"):
        hosmer_lemeshow_test([0, 1], p, n_groups=n_groups)
