import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import norm, t

from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.imputation import (
    Imputer,
    draw_once,
    impute_development,
    pool_auc,
    pool_slope,
    rubin_interval,
    rubin_pool,
)
from hepred_lib.stats.logistic import Coding, fit_logistic


def rng(seed=0):
    return np.random.default_rng(seed)


def cohort(n=300, seed=0):
    """Two related numbers, one skewed, a related sign, a category; the first three partly missing."""
    draw = rng(seed)
    latent = draw.normal(size=n)
    x = pd.DataFrame({"gcs": 10 + 2 * latent, "onset_h": np.exp(0.8 * latent + 0.6 * draw.normal(size=n))})
    x["ivh"] = (latent + draw.normal(size=n) < -0.5).astype(float)
    x["age"] = draw.normal(65, 10, n)
    x["place"] = pd.Categorical(draw.choice(["deep", "lobar", "stem"], n))
    full = x.copy()
    for name in ("gcs", "onset_h", "ivh", "place"):
        x.loc[draw.random(n) < 0.15, name] = np.nan
    return x, full


def fit_imputer(x, n_imputations=2, seed=0):
    return impute_development(x, np.arange(len(x)) % 2, n_imputations=n_imputations, rng=rng(seed))[0]


def test_observed_cells_are_returned_as_they_came_and_every_gap_is_filled():
    x, full = cohort()
    imputer, numbers = fit_imputer(x, 3), ["gcs", "onset_h", "ivh", "age"]
    for whole, filled in zip(imputer.impute(full), imputer.impute(x), strict=True):
        pd.testing.assert_frame_equal(whole[numbers], full[numbers])
        seen = x["onset_h"].notna()
        assert filled.loc[seen, "onset_h"].equals(x.loc[seen, "onset_h"])
    bare = pd.DataFrame({name: [np.nan] for name in x})
    assert all(table.notna().all(axis=None) for table in imputer.impute(bare))


def test_a_lone_constant_column_is_imputed_by_its_constant():
    x = pd.DataFrame({"sbp": [170.0, 170.0, np.nan, 170.0]})
    assert fit_imputer(x, 1).impute(x)[0]["sbp"].tolist() == [170.0] * 4


def test_a_patient_alone_gets_the_same_values_as_in_a_batch_also_from_a_stored_imputer():
    x, _ = cohort()
    imputer = fit_imputer(x, 3)
    batch = imputer.impute(x)
    imputer = Imputer.from_json(json.loads(json.dumps(imputer.to_json(), allow_nan=False)))
    for row in np.flatnonzero(x.isna().any(axis=1))[:25]:
        for together, alone in zip(batch, imputer.impute(x.iloc[[row]]), strict=True):
            np.testing.assert_allclose(alone.to_numpy()[0], together.to_numpy()[row], rtol=1e-12, atol=1e-12)


def test_imputed_values_stay_inside_the_observed_range_and_development_draws_name_one_level():
    x, _ = cohort()
    far = x.assign(age=500.0, gcs=np.nan, onset_h=np.nan, ivh=np.nan, place=np.nan)
    for completed in fit_imputer(x, 5).impute(far):
        assert completed["onset_h"].between(x["onset_h"].min(), x["onset_h"].max()).all()
        assert completed["gcs"].between(x["gcs"].min(), x["gcs"].max()).all()
        assert completed[["ivh", "place[lobar]", "place[stem]"]].stack().between(0, 1).all()
        assert (completed["place[lobar]"] + completed["place[stem]"] <= 1 + 1e-12).all()
    for values in impute_development(x, np.arange(len(x)) % 2, n_imputations=3, rng=rng())[1]:
        assert np.isin(values[:, [2, 4, 5]], (0, 1)).all()
        assert values[:, 4:].sum(axis=1).max() <= 1


def test_the_imputer_of_new_patients_does_not_know_the_outcome_and_the_development_sets_do():
    x, _ = cohort()
    y = np.arange(len(x)) % 2
    (one, sets), (other, turned) = (impute_development(x, labels, n_imputations=2, rng=rng()) for labels in (y, 1 - y))
    assert one.to_json() == other.to_json()
    assert not np.array_equal(sets[0], turned[0])


def test_effects_keep_their_size_where_half_of_the_values_are_missing():
    draw = rng(3)
    x = pd.DataFrame(draw.normal(size=(8000, 2)), columns=["a", "b"])
    y = (draw.random(8000) < expit(x["a"] + x["b"] - 1.5)).astype(int)
    given = x.assign(a=x["a"].mask(draw.random(8000) < 0.5))
    _, sets = impute_development(given, y, n_imputations=5, rng=rng())
    found = np.mean([fit_logistic(pd.DataFrame(one, columns=list("ab")), y).coefficients[1:] for one in sets], axis=0)
    assert found == pytest.approx(fit_logistic(x, y).coefficients[1:], abs=0.07)  # imputed without y: 0.5 and 1.1


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda x: fit_imputer(x.assign(gcs=np.nan)), "got none in gcs"),
        (lambda x: fit_imputer(x.assign(place=x["place"].where(x["age"] > 1e6))), "got none in place"),
        (lambda x: fit_imputer(x[[]]), "x must have at least one column to impute"),
        (lambda x: fit_imputer(x, 0), "n_imputations must be a whole number >= 1"),
        (lambda x: fit_imputer(x).impute(x.drop(columns="age")), r"\['age'\] are required"),
    ],
)
def test_a_table_that_cannot_be_imputed_is_refused_by_name(fit, message):
    with pytest.raises(ValueError, match=message):
        fit(cohort()[0])


def test_single_draws_equal_the_textbook_conditional_of_a_joint_normal():
    x, _ = cohort()
    imputer = fit_imputer(x[["gcs", "age"]].assign(age=x["age"]), 2)
    row = pd.DataFrame({"gcs": [np.nan], "age": [70.0]})
    (values, scores), (mean, cov) = imputer.knots[0], (imputer.means[1], imputer.covariances[1])
    seen = np.interp(70.0, *imputer.knots[1])
    expected = mean[0] + cov[0, 1] / cov[1, 1] * (seen - mean[1])
    noise = imputer.scores[1, 0] * np.sqrt(cov[0, 0] - cov[0, 1] ** 2 / cov[1, 1])
    assert imputer.impute(row)[1]["gcs"][0] == pytest.approx(np.interp(expected + noise, scores, values))


def test_the_parameters_drawn_from_complete_data_are_those_of_the_posterior():
    table = pd.DataFrame({"ivh": [0.0, 1] * 6, "hypertension": [1.0] * 4 + [0, 1] * 3 + [0, 0], "sex": [0.0, 0, 1] * 4})
    values, coding, draw = table.to_numpy(), Coding.of(table), rng()
    drawn = [draw_once(values, coding, (None,) * 3, weights=np.ones(12), rng=draw)[1:] for _ in range(1500)]
    scatter = 12 * np.cov(values.T, ddof=0) * (1 + np.eye(3) / 12)  # of twelve patients, and one uncorrelated
    precision = 12 * np.linalg.inv(scatter)  # of Wishart's distribution with 12 degrees of freedom
    assert np.mean([np.linalg.inv(cov) for _, cov in drawn], axis=0) == pytest.approx(precision, rel=0.05, abs=0.1)
    assert np.mean([mean for mean, _ in drawn], axis=0) == pytest.approx(values.mean(axis=0), abs=0.02)
    assert np.cov([mean for mean, _ in drawn], rowvar=False) == pytest.approx(scatter / 8 / 12, rel=0.2, abs=0.002)


def sample(n=200, m=4, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1, 1, n)
    y = (rng.random(n) < expit(truth)).astype(int)
    return y, [expit(truth + 0.3 * rng.normal(size=n)) for _ in range(m)]


@pytest.mark.parametrize(
    ("estimates", "variances", "complete_df", "df"),
    [
        ([1.0, 3.0], [4.0, 4.0], np.inf, 49 / 9),
        ([1.0, 3.0], [4.0, 4.0], 20, 1 / (9 / 49 + 1 / (21 / 23 * 20 * 4 / 7))),  # Barnard and Rubin
        ([2.0, 2.0], [7.0, 7.0], np.inf, np.inf),
    ],
)
def test_rubins_interval_by_hand(estimates, variances, complete_df, df):
    found = rubin_interval(estimates, variances, complete_df=complete_df)
    assert found.high - found.estimate == pytest.approx(t.ppf(0.975, df) * np.sqrt(7))


def test_one_set_gives_its_own_logit_interval():
    y, (p, *_) = sample(5000)
    found, alone = pool_auc(y, [p]), auc_interval(y, p, method="logit")
    assert (found.estimate, found.low, found.high) == pytest.approx((alone.auc, alone.low, alone.high), abs=1e-4)


def test_the_auc_is_pooled_on_the_logit_scale_and_the_slope_as_it_is():
    y, p = sample()
    area, slope = pool_auc(y, p), pool_slope(y, p)
    assert area.estimate == pytest.approx(expit(np.mean([logit(auc_interval(y, one).auc) for one in p])))
    assert slope.estimate == pytest.approx(np.mean([calibrate(y, one).slope for one in p]))
    areas, slopes = [auc_interval(y, one) for one in p], [calibrate(y, one) for one in p]
    variances = [(one.standard_error / (one.auc * (1 - one.auc))) ** 2 for one in areas]
    assert area == pytest.approx(expit(rubin_interval(logit([a.auc for a in areas]), variances, complete_df=199)))
    variances = [((one.slope_high - one.slope) / norm.ppf(0.975)) ** 2 for one in slopes]
    assert slope == pytest.approx(rubin_interval([one.slope for one in slopes], variances, complete_df=198))


def test_a_perfect_set_leaves_the_mean_alone_and_one_without_slope_nothing():
    found = pool_auc([0, 0, 1, 1], [[1, 2, 3, 4], [1, 3, 2, 4]])
    assert found.estimate == pytest.approx(0.875)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(pool_slope([0, 0, 1, 1], [[0.1, 0.2, 0.8, 0.9], [0.1, 0.6, 0.5, 0.9]]).estimate)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *(
            (lambda e=e, v=v: rubin_interval(e, v), "must")
            for e, v in (([1.0], [0.0]), ([1.0, 2.0], [1.0]), ([np.nan], [1.0]), ([1.0], [np.inf]))
        ),
        *((lambda f=f: f([0, 1], []), "not empty") for f in (pool_auc, pool_slope)),
        *(
            (lambda e=e: rubin_pool(e, np.ones_like(e)), "finite, of at least one set")
            for e in ([], [1.0, np.nan], 1.0)
        ),
        (lambda: rubin_pool([1.0, 2.0], [1.0]), "variances must fit estimates"),
    ],
)
def test_figures_that_cannot_be_pooled_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rubins_rules_by_hand_also_for_covariances():
    pooled = rubin_pool([[1.0, 2.0], [3.0, 2.0]], [[4.0, 1.0], [4.0, 1.0]])
    assert pooled.estimate.tolist() == [2.0, 2.0]
    assert pooled.total_variance.tolist() == [7.0, 1.0]
    assert pooled.standard_error == pytest.approx([7**0.5, 1.0])
    estimates = rng().normal(size=(5, 3))
    roots = rng(1).normal(size=(5, 3, 3))
    covariances = roots @ roots.swapaxes(1, 2)
    alone = rubin_pool(estimates, np.diagonal(covariances, axis1=1, axis2=2))
    assert np.diag(rubin_pool(estimates, covariances).total_variance) == pytest.approx(alone.total_variance)
