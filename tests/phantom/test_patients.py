"""Marginals, correlations and gaps of the clinical table."""

import numpy as np
import pytest

from ich_phantom.cohort import cohort_tables
from ich_phantom.patients import CASE_MIX, gcs_pmf, true_volume_ml


@pytest.fixture(scope="module")
def manifest():
    table, truth = cohort_tables(20_000, 8)
    return table[truth["blood_free"] == 0]


def test_marginals_are_the_published_ones(manifest):
    assert manifest["age"].mean() == pytest.approx(62, abs=0.5)
    assert (manifest["sex"] == "M").mean() == pytest.approx(0.62, abs=0.015)
    assert manifest["hypertension"].mean() == pytest.approx(0.75, abs=0.02)
    assert manifest["anticoagulant"].mean() == pytest.approx(0.07, abs=0.01)
    assert manifest["sbp_mmhg"].mean() == pytest.approx(168, abs=1)
    assert manifest["sbp_mmhg"].std() == pytest.approx(29, abs=1)
    assert manifest["onset_to_ct_h"].median() == pytest.approx(3.5, abs=0.2)
    assert list(manifest["gcs"].quantile([0.25, 0.5, 0.75])) == [13, 14, 15]
    assert manifest["ivh"].mean() == pytest.approx(0.30, abs=0.03)


def test_variables_hang_together_as_at_the_bedside(manifest):
    numbers = manifest.select_dtypes("number").astype(float)
    assert numbers["gcs"].corr(numbers["baseline_volume_ml"], method="spearman") < -0.4
    assert numbers.groupby("anticoagulant")["inr"].median().diff().iloc[1] > 0.5
    assert numbers.groupby("hypertension")["sbp_mmhg"].mean().diff().iloc[1] == pytest.approx(16, abs=1.5)
    assert numbers["nihss"].corr(numbers["gcs"]) < -0.4
    assert numbers["antiplatelet"].corr(numbers["age"]) > 0.1


def test_the_sicker_the_patient_the_more_is_missing(manifest):
    missing = manifest[["onset_to_ct_h", "fibrinogen_g_l", "smoking", "nihss"]].isna()
    assert missing["onset_to_ct_h"].mean() == pytest.approx(0.08, abs=0.015)
    assert missing["fibrinogen_g_l"].mean() == pytest.approx(0.16, abs=0.02)
    assert (missing[manifest["gcs"] <= 9].mean() > 1.5 * missing[manifest["gcs"] == 15].mean()).all()
    assert not manifest[["gcs", "age", "sex"]].isna().any(axis=None)


def test_the_other_site_has_older_patients_with_more_lobar_bleeds(manifest):
    other, _ = cohort_tables(5_000, 8, "B")
    assert other["age"].mean() > manifest["age"].mean() + 5
    assert (other["location"] == "lobar").mean() > (manifest["location"] == "lobar").mean() + 0.05


def test_coma_scale_probabilities_add_up_and_follow_the_mean():
    pmf = gcs_pmf(np.array([4.0, 9.0, 14.0]))
    assert pmf.shape == (3, 13)
    assert np.allclose(pmf.sum(axis=1), 1)
    assert list(pmf.argmax(axis=1) + 3) == [3, 9, 15]
    assert [sum(mix.location) for mix in CASE_MIX.values()] == pytest.approx([1] * len(CASE_MIX))


def test_volumes_stay_within_what_a_location_can_hold():
    sites = np.arange(5)
    assert (true_volume_ml(np.full(5, 9.0), sites) == [140, 60, 140, 15, 45]).all()
    assert (true_volume_ml(np.full(5, -9.0), sites) == 0.5).all()
