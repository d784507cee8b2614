"""The bedside variables of a simulated patient, the latent variables of the hemorrhage, and the signs on the scan.

Vocabulary
----------
Two groups of variables are drawn independently and meet in few places:

* *history and laboratory*: age, sex, drugs, blood pressure, onset-to-CT time, fibrinogen and others;
* *hemorrhage*: location, volume, blood in the ventricles, the density and the shape of the clot.

They meet where the Glasgow Coma Scale falls with volume, ventricular blood and a brainstem location, and where an older
clot looks denser. Every conditional distribution is known in closed form, so that `growth` can integrate either group
out. All values are rounded as a hospital prints them *before* they act on the outcome.

A *latent* is a variable that no table of a hospital holds: `z_volume`, `density` and `shape`. A *sign* is a noisy
reading of one latent and has no effect of its own on growth. Its crude odds ratio is therefore a result of the
simulation; the tests require it to be inside its published interval.

Each patient has a *stream* of uniform numbers (`Draws`), so that patient k never depends on the number of others.

Sources
-------
Marginals lie within the cohorts of npj Digit Med 2025, doi 10.1038/s41746-025-02213-w; Sci Rep 2025, doi
10.1038/s41598-025-17393-4; J Stroke 2022;24:266; Neurocrit Care 2021;35:418 (Table 1 each). Volumes are log-normal,
near the planimetric ones of INTERACT2 (median 10.7 mL, quartiles 5.6 and 18.7). Signs: see `SIGNS`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtr, ndtri

SITE_KEYS = {"A": 0, "B": 1}
STREAM_KEYS = {"hemorrhage": 0, "blood_free": 1, "hemorrhage_scan": 2, "blood_free_scan": 3}
N_DRAWS = 96


def patient_generator(seed: int, site: str, *, stream: str, number: int) -> np.random.Generator:
    """The generator of one patient: a spawned child of the seed, named by site, stream and number.

    Parameters
    ----------
    seed : int
        Of the cohort, >= 0.
    site : str
        A key of `SITE_KEYS`.
    stream : str
        A key of `STREAM_KEYS`: tables and scans draw from separate streams, so that a change in one moves nothing in
        the other.
    number : int
        The patient's number, from 1.
    """
    key = (SITE_KEYS[site], STREAM_KEYS[stream], number)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


class Draws:
    """Columns of independent uniform numbers, one row per patient, handed out in order.

    Parameters
    ----------
    uniforms : ndarray of float, shape (n_patients, n_draws)
        In the open interval (0, 1).
    """

    def __init__(self, uniforms: NDArray[np.float64]) -> None:
        self._columns = iter(uniforms.T)

    @classmethod
    def of_patients(cls, n_patients: int, *, seed: int, site: str, stream: str) -> "Draws":
        """The draws of patients 1 to `n_patients`."""
        rows = np.empty((n_patients, N_DRAWS))
        for number, row in enumerate(rows, start=1):
            patient_generator(seed, site, stream=stream, number=number).random(out=row)
        # 0 itself, one draw in 2^53, would become minus infinity on the normal scale.
        return cls(np.clip(rows, 1e-16, 1 - 1e-16))

    def uniform(self) -> NDArray[np.float64]:
        """The next column, uniform on (0, 1)."""
        return next(self._columns)

    def normal(self) -> NDArray[np.float64]:
        """The next column, standard normal."""
        return ndtri(next(self._columns))

    def event(self, probability: NDArray[np.float64] | float) -> NDArray[np.int64]:
        """The next column, 1 with the given probability and 0 otherwise."""
        return (next(self._columns) < probability).astype(np.int64)


LOCATIONS = ("basal_ganglia", "thalamus", "lobar", "brainstem", "cerebellum")
VOLUME_FACTOR = np.array([1.0, 0.6, 1.6, 0.5, 1.0])
VOLUME_LIMIT_ML = np.array([140.0, 60.0, 140.0, 15.0, 45.0])
LEAST_VOLUME_ML = 0.5
LN_VOLUME_MEAN, LN_VOLUME_SD = 2.44, 1.10
LN_TIME_SD, TIME_RANGE_H = 1.0, (0.3, 24.0)
GCS_NOISE = 1.9
FIBRINOGEN_MEAN, FIBRINOGEN_SD, SBP_SD = 2.9, 0.8, 28.0
LEAST_PULSE_MMHG = 10
# Rise of the logit of a history per year of age, and its fall for everybody.
RISK_ON_AGE = {"anticoagulant": (0.045, 0.15), "antiplatelet": (0.04, 0.1), "hypertension": (0.03, 0.0)}
DENSITY_ON_VOLUME, DENSITY_ON_TIME, DENSITY_NOISE = 0.5, -0.15, 0.87
SHAPE_ON_VOLUME, SHAPE_NOISE = 0.55, 0.83


@dataclass(frozen=True)
class CaseMix:
    """What differs between the patients of two hospitals."""

    age_mean: float
    age_sd: float
    male: float
    hypertension: float
    antiplatelet: float
    anticoagulant: float
    time_median_h: float
    location: tuple[float, float, float, float, float]


CASE_MIX = {
    "A": CaseMix(62.0, 13.0, 0.62, 0.75, 0.20, 0.07, 3.5, (0.50, 0.24, 0.17, 0.04, 0.05)),
    "B": CaseMix(70.0, 12.0, 0.55, 0.80, 0.28, 0.14, 2.6, (0.40, 0.20, 0.29, 0.04, 0.07)),
}


def simulate_clinical(draws: Draws, mix: CaseMix) -> pd.DataFrame:
    """History, vital signs and laboratory, as printed; the Glasgow Coma Scale and what follows from it come later.

    Parameters
    ----------
    draws : Draws
        Streams of the patients.
    mix : CaseMix
        Of the hospital.

    Returns
    -------
    DataFrame
        One row per patient, columns as in the manifest.
    """
    age = np.clip(np.round(mix.age_mean + mix.age_sd * draws.normal()), 18, 99)
    male = draws.event(mix.male)
    hypertension, anticoagulant, antiplatelet = (
        draws.event(history_risk(name, age, mix)) for name in ("hypertension", "anticoagulant", "antiplatelet")
    )
    sbp = np.clip(np.round(sbp_mean(hypertension) + SBP_SD * draws.normal()), 80, 270)
    low, high = (ndtr(np.log(limit / mix.time_median_h) / LN_TIME_SD) for limit in TIME_RANGE_H)
    ln_time = np.log(mix.time_median_h) + LN_TIME_SD * ndtri(low + (high - low) * draws.uniform())
    table = {
        "age": age.astype(int),
        "sex": np.where(male == 1, "M", "F"),
        "hypertension": hypertension,
        "anticoagulant": anticoagulant,
        "antiplatelet": antiplatelet,
        "onset_to_ct_h": np.round(np.exp(ln_time), 1),
        "sbp_mmhg": sbp.astype(int),
        "dbp_mmhg": np.clip(
            np.round(96 + 0.38 * (sbp - 168) + 12 * draws.normal()), 40, np.minimum(160, sbp - LEAST_PULSE_MMHG)
        ).astype(int),
        "fibrinogen_g_l": np.round(np.clip(FIBRINOGEN_MEAN + FIBRINOGEN_SD * draws.normal(), 0.7, 7.0), 1),
        "diabetes": draws.event(0.18),
        "smoking": draws.event(np.where(male == 1, 0.45, 0.08)),
        "alcohol": draws.event(np.where(male == 1, 0.40, 0.06)),
        "prior_stroke": draws.event(np.where(antiplatelet == 1, 0.28, 0.07)),
        "prior_ich": draws.event(0.05),
        "inr": np.round(
            np.where(
                anticoagulant == 1, np.exp(0.75 + 0.35 * draws.normal()), np.exp(0.01 + 0.07 * draws.normal())
            ).clip(0.8, 8.0),
            2,
        ),
        "platelets_10e9_l": np.round(np.clip(219 + 65 * draws.normal(), 25, 700)).astype(int),
        "hemoglobin_g_dl": np.round(np.clip(np.where(male == 1, 14.3, 12.9) + 1.6 * draws.normal(), 5, 20), 1),
        "creatinine_umol_l": np.round(np.exp(4.32 + 0.28 * draws.normal())).astype(int),
        "wbc_10e9_l": np.round(np.exp(2.05 + 0.32 * draws.normal()), 1),
        "heart_rate_bpm": np.round(np.clip(81 + 15 * draws.normal(), 38, 160)).astype(int),
        "temperature_c": np.round(36.7 + 0.45 * draws.normal(), 1),
        "sodium_mmol_l": np.round(139.5 + 3.2 * draws.normal()).astype(int),
        "potassium_mmol_l": np.round(np.clip(3.9 + 0.42 * draws.normal(), 2.3, 6.5), 1),
        "ldl_mmol_l": np.round(np.clip(2.7 + 0.85 * draws.normal(), 0.5, 7.0), 1),
        "ct_to_followup_h": np.round(np.clip(24 + 7 * draws.normal(), 5, 70), 1),
    }
    return pd.DataFrame(table)


def sbp_mean(hypertension: ArrayLike) -> NDArray[np.float64]:
    """Mean systolic pressure in mmHg with (1) and without (0) a history of hypertension."""
    return 156.0 + 16.0 * np.asarray(hypertension, dtype=float)


def history_risk(name: str, age: ArrayLike, mix: CaseMix) -> NDArray[np.float64]:
    """Probability at an age in years of what `RISK_ON_AGE` names: hypertension, or one of the two kinds of drugs."""
    share, (slope, shift) = getattr(mix, name), RISK_ON_AGE[name]
    return expit(np.log(share / (1 - share)) + slope * (np.asarray(age) - mix.age_mean) - shift)


def simulate_hemorrhage(draws: Draws, mix: CaseMix, onset_to_ct_h: ArrayLike) -> pd.DataFrame:
    """The latent variables of the hemorrhage, given the onset-to-CT time in hours.

    Returns
    -------
    DataFrame
        `location`, `true_baseline_ml`, `z_volume` (standardized ln volume), `ivh`, `density` (high: heterogeneous, with
        dark parts), `shape` (high: irregular, lobulated, with islands).
    """
    site = np.searchsorted(np.cumsum(mix.location)[:-1], draws.uniform(), side="right")
    volume = true_volume_ml(draws.normal(), site)
    z = standardized_volume(volume)
    ivh = draws.event(ivh_risk(z, site))
    late = np.log(np.asarray(onset_to_ct_h, dtype=float) / mix.time_median_h)
    density = DENSITY_ON_VOLUME * z + DENSITY_ON_TIME * late + DENSITY_NOISE * draws.normal()
    shape = SHAPE_ON_VOLUME * z + SHAPE_NOISE * draws.normal()
    return pd.DataFrame(
        {
            "location": np.array(LOCATIONS)[site],
            "true_baseline_ml": volume,
            "z_volume": z,
            "ivh": ivh,
            "density": density,
            "shape": shape,
        }
    )


def true_volume_ml(e: ArrayLike, site: NDArray[np.integer]) -> NDArray[np.float64]:
    """Volume in mL of a hemorrhage at location number `site`, for a standard normal `e`."""
    volume = np.exp(LN_VOLUME_MEAN + LN_VOLUME_SD * np.asarray(e)) * VOLUME_FACTOR[site]
    return np.clip(volume, LEAST_VOLUME_ML, VOLUME_LIMIT_ML[site])


def standardized_volume(volume_ml: ArrayLike) -> NDArray[np.float64]:
    """Logarithm of the volume, centred and scaled."""
    return (np.log(volume_ml) - LN_VOLUME_MEAN) / LN_VOLUME_SD


def ivh_risk(z: ArrayLike, site: NDArray[np.integer]) -> NDArray[np.float64]:
    """Probability of blood in the ventricles at a standardized volume and location number."""
    return expit(np.array([-1.2, 0.1, -2.0, -1.2, -1.2])[site] + 0.7 * np.asarray(z))


def gcs_mean(z: ArrayLike, ivh: ArrayLike, site: ArrayLike) -> NDArray[np.float64]:
    """Mean of the coma scale before rounding and clipping."""
    return 14.4 - 1.4 * np.asarray(z) - 0.6 * np.asarray(ivh) - 2.0 * (np.asarray(site) == LOCATIONS.index("brainstem"))


def gcs_pmf(mean: ArrayLike) -> NDArray[np.float64]:
    """Probability of each value 3 … 15 of the coma scale, on a new last axis."""
    edges = np.concatenate([[-np.inf], np.arange(3.5, 15), [np.inf]])
    return np.diff(ndtr((edges - np.asarray(mean)[..., None]) / GCS_NOISE), axis=-1)


def simulate_consciousness(draws: Draws, mean: ArrayLike, diabetes: ArrayLike) -> pd.DataFrame:
    """The coma scale about its mean, and what follows from it: stroke scale and glucose."""
    gcs = np.clip(np.round(np.asarray(mean) + GCS_NOISE * draws.normal()), 3, 15)
    nihss = np.clip(np.round(7 + 2.1 * (14 - gcs) + 4.5 * draws.normal()), 0, 42)
    glucose = np.exp(1.86 + 0.30 * np.asarray(diabetes) + 0.025 * (14 - gcs) + 0.2 * draws.normal())
    return pd.DataFrame({"gcs": gcs.astype(int), "nihss": nihss.astype(int), "glucose_mmol_l": np.round(glucose, 1)})


# Probability that a value is missing at a coma scale of 14: unknown histories and onsets belong to the sicker.
MISSING = {
    "onset_to_ct_h": 0.07,
    "fibrinogen_g_l": 0.15,
    "nihss": 0.05,
    "smoking": 0.03,
    "alcohol": 0.03,
    "diabetes": 0.01,
    "hypertension": 0.01,
    "prior_stroke": 0.015,
    "prior_ich": 0.015,
    "antiplatelet": 0.02,
    "anticoagulant": 0.01,
    "inr": 0.02,
    "platelets_10e9_l": 0.01,
    "glucose_mmol_l": 0.02,
    "creatinine_umol_l": 0.01,
    "hemoglobin_g_dl": 0.01,
    "wbc_10e9_l": 0.01,
    "ldl_mmol_l": 0.05,
    "temperature_c": 0.03,
}


def delete_values(table: pd.DataFrame, draws: Draws) -> pd.DataFrame:
    """A copy with values missing *not* at random: more often in deep coma, fibrinogen also where it is high.

    A laboratory asks for fibrinogen when it suspects a low one; the value itself drives its absence.
    """
    kept = table.copy()
    coma = 0.18 * (14 - table["gcs"].to_numpy())
    for column, base in MISSING.items():
        logit = np.log(base / (1 - base)) + coma
        if column == "fibrinogen_g_l":
            logit = logit + 0.5 * (table[column].to_numpy() - FIBRINOGEN_MEAN)
        missing = draws.event(expit(logit)).astype(bool)
        # Nullable integers are written as "1", never as "1.0".
        values = kept[column].astype("Int64") if kept[column].dtype.kind == "i" else kept[column]
        kept[column] = values.mask(missing)
    return kept


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
    """0/1 of each sign, one row per patient.

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
