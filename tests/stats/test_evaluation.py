import json

import numpy as np
import pytest

from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.discrimination import auc_interval, compare_auc
from hepred_lib.stats.evaluation import NOT_ASSESSABLE, calibration_reading, compare_pair, evaluate, null_accuracy
from hepred_lib.stats.operating_point import confusion

RATES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
KEYS = {
    *("auc", "auc_ci", "threshold", "tp", "fp", "fn", "tn", "brier", "brier_scaled"),
    *("calibration_slope", "calibration_slope_ci", "calibration_in_the_large", "calibration_in_the_large_ci"),
    *("observed_expected", "observed_expected_ci", "brier_ci", "ici", "ici_ci", "e90", "notes"),
    *RATES,
    *(f"{name}_ci" for name in RATES),
}


def sample(n=107, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.2).astype(int)
    clinical, image = rng.normal(size=(2, n)) + y
    return y, {
        name: 1 / (1 + np.exp(1.5 - x)) for name, x in zip(("clinical", "image"), (clinical, image), strict=True)
    }


def plain(value):
    if isinstance(value, dict | list):
        return all(plain(v) for v in (value.values() if isinstance(value, dict) else value))
    return value is None or type(value) in (int, float, str)


def test_keys_and_types_are_those_of_results_json_and_figures_those_of_the_single_functions():
    y, models = sample()
    p = models["image"]
    result = evaluate(y, p, np.float64(0.3))
    assert set(result) == KEYS
    assert plain(result)
    assert result["notes"] == []
    interval, table, figures = auc_interval(y, p, method="logit"), confusion(y, p, 0.3), calibrate(y, p)
    assert (result["auc"], result["auc_ci"]) == (interval.auc, [interval.low, interval.high])
    assert (result["tp"], result["ppv"], result["ppv_ci"]) == (table.tp, table.ppv, [table.ppv_low, table.ppv_high])
    assert (result["calibration_slope"], result["brier_scaled"]) == (figures.slope, figures.brier_scaled)
    assert null_accuracy([1] * 21 + [0] * 86) == pytest.approx(0.804, abs=5e-4), "of the published test set"


def test_what_calibration_says_follows_from_its_intervals():
    def read(slope, large):
        return calibration_reading({"calibration_slope_ci": slope, "calibration_in_the_large_ci": large})

    assert read([0.8, 1.3], [-0.2, 0.2]) == "no deviation found"
    assert read([0.5, 1.3], [-0.2, 0.2]) == read([0.9, 1.8], [-0.2, 0.2]) == NOT_ASSESSABLE
    assert read([0.5, 0.9], [0.1, 0.4]) == "the outcome is more frequent than predicted; predictions are too extreme"
    assert read([1.1, 2.9], [-0.4, -0.1]).endswith("less frequent than predicted; predictions are not extreme enough")
    assert read(None, [0.1, 0.4]) == "cannot be estimated"


def test_comparison_is_the_paired_delong_test():
    y, models = sample()
    found = compare_pair(y, models["clinical"], models["image"])
    expected = compare_auc(y, models["clinical"], models["image"])
    assert found == {
        "difference": expected.difference,
        "ci": [expected.low, expected.high],
        "p": expected.p,
        "notes": [],
    }


def degenerate_cases():
    p = np.array([0.1, 0.2, 0.3, 0.4, 0.6])
    return {
        "no events": ([0, 0, 0, 0, 0], p, {"auc", "auc_ci", "sensitivity", "calibration_slope", "ici"}, "outcome 0"),
        "one event": ([0, 0, 0, 1, 0], p, {"auc_ci"}, "DeLong's variance needs two in each class"),
        "separated": ([0, 0, 0, 1, 1], p, {"auc_ci", "calibration_slope", "calibration_slope_ci"}, "separate"),
        "certain": ([0, 1, 0, 1, 0], np.array([0, 1, 0.2, 0.4, 0.5]), {"calibration_slope", "ici"}, "exactly 0 or 1"),
        "constant": ([0, 1, 0, 1, 0], np.full(5, 0.4), {"auc_ci", "calibration_slope", "ici"}, "all equal"),
        "nobody called": ([0, 1, 0, 1, 0], p / 4, {"ppv", "ppv_ci"}, "ppv: no patient"),
    }


@pytest.mark.parametrize("case", degenerate_cases())
def test_what_cannot_be_computed_is_none_with_a_reason(case):
    y, p, missing, reason = degenerate_cases()[case]
    result = evaluate(y, p, 0.35)
    assert set(result) == KEYS
    assert missing <= {name for name, value in result.items() if value is None}
    assert reason in " ".join(result["notes"])
    json.dumps(result, allow_nan=False)
    assert result["brier"] == pytest.approx(np.mean((np.array(y) - p) ** 2)), "the rest is still told"


@pytest.mark.parametrize(("y", "reason"), [([0, 0, 0, 0], "outcome 0"), ([0, 0, 0, 1], "needs two in each class")])
def test_a_comparison_without_variance_is_none_with_a_reason(y, reason):
    result = compare_pair(y, [0.1, 0.2, 0.3, 0.4], [0.4, 0.1, 0.2, 0.3])
    assert (result["ci"], result["p"]) == (None, None)
    assert reason in result["notes"][0]


@pytest.mark.parametrize("wrong", [None, "0.5", np.nan])
def test_a_threshold_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="threshold must be a number"):
        evaluate([0, 1], [0.2, 0.7], wrong)
