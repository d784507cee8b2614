from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit, ndtri
from scipy.stats import norm

from hepred_lib.stats.discrimination import binormal_separation
from hepred_lib.stats.sample_size import cox_snell_r2_from_auc, external_minimum, riley_minimum, supported_parameters

DATA = Path(__file__).parents[1] / "data"
PREVALENCE = 21 / 107


def test_the_published_worked_example_and_the_overall_risk_alone():
    # Riley 2020, box: 24 parameters, outcome 17.4 %, R2 0.288, shrinkage 0.9: 623 patients by the first criterion.
    assert riley_minimum(24, 0.174, 0.288).n_shrinkage == 623
    assert riley_minimum(1, 0.5, 0.4).n_overall_risk == 385


@pytest.mark.parametrize(("n_parameters", "patients"), [(10, 417), (15, 625), (20, 833), (30, 1249)])
def test_patients_for_the_papers_setting(n_parameters, patients):
    r2 = cox_snell_r2_from_auc(0.81, PREVALENCE)
    assert riley_minimum(n_parameters, PREVALENCE, r2).n == pytest.approx(patients, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.2, 0.1), "n_parameters must be a whole number >= 1, got 0"),
        ((5, 0.0, 0.1), "prevalence must lie between 0 and 1, got 0"),
        ((5, 0.2, 0.7), r"cox_snell_r2 must lie between 0 and 0\.63"),
        ((5, 0.2, 0.1, 1.0), "shrinkage must lie between 0.1 and 1, got 1"),
    ],
)
def test_an_argument_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        riley_minimum(*arguments)


@pytest.mark.parametrize(("auc", "prevalence"), [(0.81, PREVALENCE), (0.95, 0.05)])
def test_r2_equals_adaptive_quadrature(auc, prevalence):
    d = binormal_separation(auc)

    def log_likelihood(x):
        risk = expit(np.log(prevalence / (1 - prevalence)) + d * x - d**2 / 2)
        events, others = prevalence * norm.pdf(x, d), (1 - prevalence) * norm.pdf(x)
        return events * np.log(risk) + others * np.log1p(-risk)

    fitted = quad(log_likelihood, -10, 12, epsabs=1e-12)[0]
    null = prevalence * np.log(prevalence) + (1 - prevalence) * np.log(1 - prevalence)
    assert cox_snell_r2_from_auc(auc, prevalence) == pytest.approx(1 - np.exp(2 * (null - fitted)), abs=1e-9)


def test_the_number_supported_is_the_last_that_fits_and_is_found_at_once():
    assert supported_parameters(465, PREVALENCE, 0.81) == 11
    for n in (50, 465, 5000, 10**9):
        found, r2 = supported_parameters(n, 0.2, 0.81), cox_snell_r2_from_auc(0.81, 0.2)
        assert found == 0 or riley_minimum(found, 0.2, r2).n <= n
        assert riley_minimum(found + 1, 0.2, r2).n > n


def test_development_samples_are_those_of_the_authors_program():
    table = pd.read_csv(DATA / "pmsampsize" / "sizes.csv")
    assert len(table) == 10
    for row in table.itertuples():
        found = riley_minimum(row.parameters, row.prevalence, row.r2, row.shrinkage)
        expected = (row.n_shrinkage, row.n_optimism, row.n_overall_risk, row.n)
        assert (found.n_shrinkage, found.n_optimism, found.n_overall_risk, found.n) == expected
        assert cox_snell_r2_from_auc(row.auc, row.prevalence) == pytest.approx(row.r2, abs=1e-3)  # theirs is simulated


def test_evaluation_samples_are_those_of_the_authors_program():
    table = pd.read_csv(DATA / "pmvalsampsize" / "sizes.csv")
    normal = ndtri((np.arange(100_000) + 0.5) / 100_000)
    for row in table.itertuples():
        point = None if np.isnan(row.threshold) else (row.sensitivity, row.specificity, row.threshold)
        found = external_minimum(row.prevalence, row.auc, row.mean + row.sd * normal, operating_point=point)
        assert found.n_observed_expected == row.n_observed_expected
        assert abs(found.n_auc - row.n_auc) <= 1
        assert found.n_slope == pytest.approx(row.n_slope, rel=3e-3)  # theirs is from simulated patients
        assert found.n == max(found.n_observed_expected, found.n_slope, found.n_auc, found.n_net_benefit or 0)
        assert found.n_net_benefit is None if point is None else abs(found.n_net_benefit - row.n_net_benefit) <= 2


def test_without_log_odds_those_of_a_calibrated_model_of_this_auc_are_taken():
    rng = np.random.default_rng(0)
    y = rng.random(400_000) < 0.2
    distance = binormal_separation(0.8)
    log_odds = np.log(0.25) + distance * (rng.normal(size=y.size) + y * distance) - distance**2 / 2
    assert external_minimum(0.2, 0.8).n_slope == pytest.approx(external_minimum(0.2, 0.8, log_odds).n_slope, rel=0.02)


def test_evaluation_sizes_refuse_what_cannot_be():
    for given, words in (((0.0, 0.8), "prevalence"), ((0.2, 1.0), "auc"), ((0.2, 0.8, [1, 1]), "vary")):
        with pytest.raises(ValueError, match=words):
            external_minimum(*given)
    with pytest.raises(ValueError, match=r"auc must lie in \[0.5, 1\)"):
        cox_snell_r2_from_auc(1.0, 0.2)
