"""Bad input for every public function that takes an outcome: a clear refusal or a defined value, and never a loop."""

import warnings
from dataclasses import fields, is_dataclass

import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats import calibration, decision, discrimination, evaluation, operating_point
from hepred_lib.stats.development import DevelopmentSettings, cross_fit, develop
from hepred_lib.stats.diagnostics import linearity_tests
from hepred_lib.stats.effects import univariable_odds_ratios
from hepred_lib.stats.imputation import pool_auc, pool_slope
from hepred_lib.stats.logistic import fit_logistic
from hepred_lib.stats.selection import forward_select, inclusion_frequency, selection_stability
from hepred_lib.stats.sensitivity import cross_fit_penalized, fit_penalized
from hepred_lib.stats.subgroups import interaction_test, subgroup_performance


def drawn(n=20):
    return {"n_resamples": n, "rng": np.random.default_rng(0)}


# Every function of one outcome and one column of any score, or of probabilities.
SCORERS = {
    "auc": discrimination.auc,
    "auc_interval": discrimination.auc_interval,
    "auc_interval, logit": lambda y, p: discrimination.auc_interval(y, p, method="logit"),
    "compare_auc": lambda y, p: discrimination.compare_auc(y, p, p),
    "roc_points": discrimination.roc_points,
    "roc_band": lambda y, p: discrimination.roc_band(y, p, [0.5], **drawn()),
    "clustered_auc_interval": lambda y, p: discrimination.clustered_auc_interval(y, p, range(len(p)), **drawn()),
    "compare_aucs": lambda y, p: discrimination.compare_aucs(y, {"p": p, "q": p}),
    "bootstrap_auc_interval": lambda y, p: discrimination.bootstrap_auc_interval(y, p, **drawn()),
    "bootstrap_auc_difference": lambda y, p: discrimination.bootstrap_auc_difference(y, p, p, **drawn()),
    "youden_threshold": operating_point.youden_threshold,
    "confusion": lambda y, p: operating_point.confusion(y, p, 0.5),
    "pool_auc": lambda y, p: pool_auc(y, [p, p]),
}
JUDGES = {
    "calibrate": calibration.calibrate,
    "calibration_curve": lambda y, p: calibration.calibration_curve(y, p, [0.5], **drawn()),
    "in_the_large_interval": calibration.in_the_large_interval,
    "closed_test": calibration.closed_test,
    "brier_score": calibration.brier_score,
    "spiegelhalter_test": calibration.spiegelhalter_test,
    "net_benefit": lambda y, p: decision.net_benefit(y, p, [0.2]),
    "decision_curve": lambda y, p: decision.decision_curve(y, {"p": p}, [0.2]),
    "net_benefit_difference": lambda y, p: decision.net_benefit_difference(y, p, p, [0.2]),
    "net_reclassification": lambda y, p: decision.net_reclassification(y, p, p, thresholds=[0.5], **drawn()),
    "reclassification_table": lambda y, p: decision.reclassification_table(y, p, p, [0.3]),
    "integrated_discrimination": lambda y, p: decision.integrated_discrimination(y, p, p, **drawn()),
    "pool_slope": lambda y, p: pool_slope(y, [p, p]),
    "subgroup_performance": lambda y, p: subgroup_performance(y, p, ["a"] * len(p)),
    "interaction_test": lambda y, p: interaction_test(y, p, ["a"] * len(p)),
    "evaluate": lambda y, p: evaluation.evaluate(y, p, 0.5),
    "compare_pair": lambda y, p: evaluation.compare_pair(y, p, p),
}
# These have a defined value where one class is absent; the others refuse a p of 0 or 1.
GROUPED = {"subgroup_performance", "interaction_test"}
ONE_CLASS = {"brier_score", "spiegelhalter_test", "evaluate", "compare_pair"} | GROUPED
STRICT = {"calibrate", "in_the_large_interval", "closed_test", "pool_slope"} | GROUPED
EVERY = SCORERS | JUDGES
P = [0.1, 0.3, 0.2, 0.7, 0.6, 0.4]
Y = [0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("y", [[0, 0, 1, 1, 0, np.nan], [0, 1]], ids=["nan", "too short"])
@pytest.mark.parametrize("name", EVERY)
def test_an_outcome_that_is_none_is_refused_everywhere(name, y):
    with pytest.raises(ValueError, match=r"y must hold 0 and 1 only, got nan|y and .* must have one length"):
        EVERY[name](y, P)


@pytest.mark.parametrize("name", JUDGES)
def test_a_probability_above_one_is_refused(name):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 1\.2 at position 0"):
        JUDGES[name](Y, [1.2, *P[1:]])


@pytest.mark.parametrize("name", EVERY)
def test_a_number_that_is_not_finite_is_refused_everywhere(name):
    with pytest.raises(ValueError, match="must be finite"):
        EVERY[name](Y, [np.inf, *P[1:]])


@pytest.mark.parametrize("name", EVERY)
def test_one_class_is_refused_or_has_a_defined_value(name):
    if name in ONE_CLASS:
        assert EVERY[name]([0] * 6, P) is not None
    else:
        with pytest.raises(ValueError, match="y must hold both 0 and 1, got 0 for all 6 patients"):
            EVERY[name]([0] * 6, P)


@pytest.mark.parametrize("name", EVERY)
def test_certainty_is_refused_or_has_a_defined_value(name):
    p = [0.0, *P[1:5], 1.0]
    if name in STRICT:
        with pytest.raises(ValueError, match="p must lie strictly between 0 and 1"):
            EVERY[name](Y, p)
    else:
        assert EVERY[name](Y, p) is not None


DEGENERATE = {
    "constant": (Y, [0.4] * 6),
    "one positive": ([0, 0, 0, 1, 0, 0], P),
    "one negative": ([1, 1, 1, 0, 1, 1], P),
    "perfect separation": ([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.7, 0.8]),
    "two patients": ([0, 1], [0.2, 0.3]),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", EVERY)
def test_a_degenerate_sample_has_a_defined_value_without_a_warning(name, case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = EVERY[name](*DEGENERATE[case])
    values = [getattr(found, field.name) for field in fields(found)] if is_dataclass(found) else [found]
    assert all(value is not None for value in values)


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    x["place"] = pd.Categorical(rng.choice(["deep", "lobar"], n))
    return x, (rng.random(n) < 0.4).astype(int)


pytestmark = pytest.mark.usefixtures("few_strengths")
SETTINGS = DevelopmentSettings(("a", "b", "c", "place"), n_resamples=3, n_imputations=1)
FITTERS = {
    "fit_logistic": fit_logistic,
    "linearity_tests": lambda x, y: linearity_tests(x, y, ["a"]),
    "forward_select": forward_select,
    "inclusion_frequency": lambda x, y: inclusion_frequency(x, y, **drawn(3)),
    "selection_stability": lambda x, y: selection_stability(x, y, **drawn(3)),
    "univariable_odds_ratios": univariable_odds_ratios,
    "fit_penalized": lambda x, y: fit_penalized(x, y, n_folds=2),
    "cross_fit_penalized": lambda x, y: cross_fit_penalized(x, y, np.arange(len(x)) % 2),
    "develop": lambda x, y: develop(x, y, SETTINGS),
    "cross_fit": lambda x, y: cross_fit(x, y, np.arange(len(x)) % 2, SETTINGS),
}
IMPUTE = {"fit_penalized", "cross_fit_penalized", "develop", "cross_fit"}
ALONE = {"univariable_odds_ratios"}  # each predictor in the patients who have it
BAD_OUTCOMES = {
    "nan": lambda y: np.where(np.arange(60) == 0, np.nan, y),
    "one class": lambda y: np.zeros(60, int),
    "too short": lambda y: y[:-1],
}


@pytest.mark.parametrize("case", BAD_OUTCOMES)
@pytest.mark.parametrize("name", FITTERS)
def test_a_model_refuses_an_outcome_that_is_none(name, case):
    x, y = table()
    with pytest.raises(ValueError, match=r"y must|and y must"):
        FITTERS[name](x, BAD_OUTCOMES[case](y))


UNUSABLE = {
    "infinite": ([np.inf, *range(59)], FITTERS),
    "missing": (np.nan, set(FITTERS) - ALONE),
    "one missing": ([np.nan, *range(59)], set(FITTERS) - IMPUTE - ALONE),
}


@pytest.mark.parametrize(
    ("case", "name"), [(case, name) for case, (_, names) in UNUSABLE.items() for name in sorted(names)]
)
def test_a_model_refuses_a_predictor_that_is_none(name, case):
    x, y = table()
    with pytest.raises(ValueError, match=r"missing values in a \(1\)" if case == "one missing" else r"a\b"):
        FITTERS[name](x.assign(a=UNUSABLE[case][0]), y)


@pytest.mark.parametrize("name", FITTERS)
def test_collinear_columns_are_refused_or_answered(name):
    x, y = table()
    x = x.assign(b=2 * x["a"])
    if name == "fit_logistic":
        with pytest.raises(ValueError, match="must not be collinear: b follow"):
            FITTERS[name](x, y)
    else:
        assert FITTERS[name](x, y) is not None


@pytest.mark.parametrize("name", FITTERS)
def test_perfect_separation_is_refused_or_answered(name):
    x, y = table()
    x = x.assign(a=y + 0.01 * x["b"])
    if name in IMPUTE | ALONE | {"inclusion_frequency", "selection_stability", "linearity_tests"}:
        assert FITTERS[name](x, y) is not None
    else:
        with pytest.raises(ValueError, match="separate"):
            FITTERS[name](x, y)


def test_one_event_leaves_the_intercept_alone_and_cannot_be_cross_fitted():
    x, _ = table()
    y = (np.arange(60) == 7).astype(int)
    model = develop(x, y, SETTINGS)
    assert model.path == ()
    assert model.predict(x) == pytest.approx(1 / 60)
    with pytest.raises(ValueError, match="y must hold both 0 and 1, got 0 for all 30 patients"):
        cross_fit(x, y, np.arange(60) % 2, SETTINGS)


def test_forty_candidates_and_twenty_events_are_shrunk_and_their_separation_said():
    rng = np.random.default_rng(1)
    x, y = pd.DataFrame(rng.normal(size=(120, 40))).add_prefix("c"), (np.arange(120) < 20).astype(int)
    model = develop(x, y, DevelopmentSettings(tuple(x), n_imputations=1, n_resamples=6))
    assert 0 <= model.shrinkage < 0.5
    assert model.optimism["auc_corrected"] < 0.65 < model.optimism["auc_apparent"]
    assert any("resamples separate the outcome" in note for note in model.notes)
    p = cross_fit(x, y, np.arange(120) % 2, DevelopmentSettings(tuple(x), n_imputations=1, n_resamples=2))
    assert ((p > 0) & (p < 1)).all()
