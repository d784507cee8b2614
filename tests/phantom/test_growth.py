"""The oracle against slow versions of itself."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.cohort.expansion import expansion_label
from ich_phantom import growth
from ich_phantom.cohort import cohort_tables
from ich_phantom.growth import build_oracle, clinical_logit, image_logit, label_probability
from ich_phantom.patients import CASE_MIX, Draws, gcs_mean, simulate_clinical, simulate_consciousness


@pytest.mark.parametrize(("volume_ml", "active"), [(2.0, False), (2.0, True), (60.0, False), (18.0, True)])
def test_label_probability_is_the_share_of_simulated_labels(volume_ml, active):
    rng = np.random.default_rng(3)
    n = 200_000
    grown = np.exp(growth.LN_GROWTH_MEAN + growth.LN_GROWTH_SD * rng.standard_normal(n))
    stable = np.clip(growth.STABLE_MEAN + growth.STABLE_SD * rng.standard_normal(n), *growth.STABLE_RANGE)
    followup = volume_ml * (1 + (grown if active else stable))
    read = [v * np.exp(growth.READING_SD * rng.standard_normal(n)) for v in (np.full(n, volume_ml), followup)]
    assert label_probability(volume_ml, active=active) == pytest.approx(expansion_label(*read).mean(), abs=0.004)


def test_a_large_stable_hematoma_is_often_labelled_and_a_small_one_seldom():
    assert 0.1 < label_probability(60.0, active=False) < 0.3
    assert label_probability(3.0, active=False) < 0.02


def test_the_image_oracle_is_the_mean_over_clinical_tables_given_the_image():
    mix, n = CASE_MIX["A"], 60_000
    patient = {"location": "lobar", "true_baseline_ml": 20.0, "z_volume": (np.log(20.0) - 2.44) / 1.10}
    image = pd.DataFrame(patient | {"ivh": 1, "density": 0.8, "shape": 0.4}, index=range(n))
    clinical = simulate_clinical(Draws(np.random.default_rng(1).random((n, 60))), mix)
    mean = gcs_mean(image["z_volume"], image["ivh"], np.full(n, 2))
    coma = simulate_consciousness(Draws(np.random.default_rng(2).random((n, 5))), mean, clinical["diabetes"])
    table = pd.concat([clinical, coma, image], axis=1)
    late = np.log(table["onset_to_ct_h"] / mix.time_median_h)
    # The density was observed: clinical tables count by how well their onset time explains it.
    weight = np.exp(-0.5 * ((0.8 - 0.5 * table["z_volume"] + 0.15 * late) / 0.87) ** 2)
    activity = np.average(expit(growth.INTERCEPT + clinical_logit(table, mix) + image_logit(table)), weights=weight)
    q0, q1 = (label_probability(20.0, active=a) for a in (False, True))
    oracle = build_oracle(mix).probabilities(table.iloc[:1])
    assert oracle["p_image"].iloc[0] == pytest.approx(q0 + activity * (q1 - q0), abs=0.003)


def test_the_parts_are_averages_of_the_whole():
    """Within any group made from a part's own variables, that part's p and the integrated p have one mean."""
    manifest, truth = cohort_tables(30_000, 12)
    bled = truth["blood_free"] == 0
    manifest, truth = manifest[bled], truth[bled]
    groups = {
        "p_clinical": [manifest["gcs"], manifest["anticoagulant"], pd.qcut(truth["p_clinical"], 8)],
        "p_image": [truth["location"], truth["ivh"], pd.qcut(truth["density"], 6), pd.qcut(truth["p_image"], 8)],
    }
    for part, by_columns in groups.items():
        gap = truth["p_integrated"] - truth[part]
        for by in by_columns:
            table = gap.groupby(by.to_numpy(), observed=True).agg(["mean", "std", "size"])
            table = table[table["size"] >= 100]
            assert (table["mean"].abs() < 4 * table["std"] / np.sqrt(table["size"]) + 5e-4).all(), (part, by.name)
