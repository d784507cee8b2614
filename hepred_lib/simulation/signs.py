"""The signs a reader would note, each a noisy reading of one latent variable of the hemorrhage.

The signs have no effect of their own on growth. They announce it because density and shape do, and because both follow
volume: a sign's crude odds ratio is an outcome of the simulation, and is held inside its published interval.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from hepred_lib.simulation.draws import Draws
from hepred_lib.simulation.patients import DENSITY_NOISE, DENSITY_ON_TIME, SHAPE_NOISE

_SPREAD_AT_MEDIAN_VOLUME = {"density": float(np.hypot(DENSITY_NOISE, DENSITY_ON_TIME)), "shape": SHAPE_NOISE}


@dataclass(frozen=True)
class Sign:
    """One sign: the latent it reads, how often it is seen at the median volume, the odds ratio it shall have."""

    latent: str
    reliability: float
    prevalence: float
    odds_ratio: float
    accepted: tuple[float, float]
    source: str


_META = "Morotti A et al. Neurology 2020;95:632 (meta-analysis)"
SIGNS = {
    "blend": Sign("density", 0.70, 0.17, 3.1, (2.20, 5.55), _META),
    "black_hole": Sign("density", 0.72, 0.14, 3.3, (1.42, 9.64), _META),
    "swirl": Sign("density", 0.78, 0.30, 3.3, (2.42, 4.60), _META),
    "hypodensity": Sign("density", 0.80, 0.31, 3.3, (2.18, 5.50), _META),
    "heterogeneous": Sign("density", 0.66, 0.55, 2.8, (1.71, 4.39), _META),
    "irregular": Sign("shape", 0.65, 0.60, 2.4, (1.27, 3.19), _META),
    "island": Sign("shape", 0.90, 0.12, 3.2, (2.17, 28.5), _META),
    "satellite": Sign(
        "shape", 0.40, 0.22, 1.9, (0.78, 3.53), "Br J Radiol 2021;94:20201047, Table 1 (crude, computed)"
    ),
    "fluid_level": Sign(
        "density", 0.80, 0.04, 3.7, (1.74, 13.1), "Zhang K et al. Neurocrit Care 2025, doi 10.1007/s12028-025-02218-z"
    ),
}


def simulate_signs(draws: Draws, latents: pd.DataFrame) -> pd.DataFrame:
    """0/1 of each sign, one row a patient.

    Parameters
    ----------
    draws : Draws
        Streams of the patients.
    latents : DataFrame
        With columns `density` and `shape`.
    """
    return pd.DataFrame({name: _read(draws, latents, sign) for name, sign in SIGNS.items()})


def _read(draws: Draws, latents: pd.DataFrame, sign: Sign) -> NDArray[np.int64]:
    spread = _SPREAD_AT_MEDIAN_VOLUME[sign.latent]
    reading = sign.reliability * latents[sign.latent] / spread + np.sqrt(1 - sign.reliability**2) * draws.normal()
    return (reading > ndtri(1 - sign.prevalence)).to_numpy().astype(np.int64)
