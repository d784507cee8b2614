"""A whole simulated cohort: tables, truth and scans."""
import numpy as np
import pandas as pd

from hepred_lib.simulation.draws import Draws
from hepred_lib.simulation.growth import build_oracle, clinical_logit, image_logit, simulate_growth
from hepred_lib.simulation.patients import (
    CASE_MIX, LOCATIONS, delete_values, gcs_mean, simulate_clinical, simulate_consciousness, simulate_hemorrhage,
)
from hepred_lib.simulation.signs import simulate_signs


def complete_table(n_patients, seed, site):
    mix = CASE_MIX[site]
    draws = Draws.of_patients(n_patients, seed=seed, site=site, stream="hemorrhage")
    clinical = simulate_clinical(draws, mix)
    bleed = simulate_hemorrhage(draws, mix, clinical["onset_to_ct_h"])
    number = bleed["location"].map(LOCATIONS.index).to_numpy()
    conscious = simulate_consciousness(draws, gcs_mean(bleed["z_volume"], bleed["ivh"], number), clinical["diabetes"])
    signs = simulate_signs(draws, bleed)
    table = pd.concat([clinical, conscious, bleed, signs], axis=1)
    growth = simulate_growth(draws, table, mix)
    table = pd.concat([table, growth], axis=1)
    return table, build_oracle(mix).probabilities(table), draws
