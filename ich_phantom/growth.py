"""Who bleeds on and by how much, and the best achievable probability of expansion: the oracle.

The model
---------
A hemorrhage is *active* (A = 1) with

    logit P(A = 1) = INTERCEPT + clinical part + image part,

its volume then grows by a log-normal fraction; otherwise it changes little. Both volumes are measured with a log-normal
error of 5 % and printed with two decimals, and the label HE (hematoma expansion) follows from the *printed* volumes by
the default definition.

The clinical effects are about **twice** the size of the published ones. At published size bedside variables reach an
AUC near 0.75; the factor gives a clinical AUC near 0.81, and nothing simulated here is evidence of an effect.

The oracle
----------
Given everything, the label depends on A and the true volume V alone, hence with π = P(A = 1 | everything)

    P(HE | everything) = q0(V) + π (q1(V) - q0(V)),      qa(V) = P(HE | A = a, V).

*Labels.* qa is an integral over the growth fraction and the two errors; the second error is integrated in closed form.

*Image.* V is known, π is averaged over the clinical variables given the image. Onset-to-CT time enters the density of
the clot, so that the density is informative about the time; the coma scale follows volume, ventricular blood and
location; the rest (drugs, sex, fibrinogen, pressure) is independent of the image: two binary drugs and the sex, a
Gaussian remainder.

*Clinical.* Only the coma scale is informative about the image: Bayes' rule over location, ventricular blood and volume.
Given these and the time, density and shape are Gaussian.

Every average is a sum over nodes: quantiles for clipped variables, Gauss-Hermite for Gaussian ones.

Sources
-------
Published effects and their sources are listed in the data card of a simulated study (`hepred report`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtr, ndtri

from hepred_lib.cohort.expansion import expansion_label
from ich_phantom import patients as bedside
from ich_phantom.patients import CaseMix, Draws

INTERCEPT = -3.05
CLINICAL = {
    "ln_time": -1.02,
    "anticoagulant": 2.35,
    "antiplatelet": 0.98,
    "male": 0.80,
    "gcs": -0.27,
    "fibrinogen_g_l": -0.64,
    "sbp_mmhg": 0.008,
}
IMAGE = {"z_volume": 0.46, "density": 0.68, "shape": 0.44, "ivh": 0.30}
GCS_CENTRE, SBP_CENTRE = 13.0, 168.0
LN_GROWTH_MEAN, LN_GROWTH_SD = float(np.log(0.7)), 0.7
STABLE_MEAN, STABLE_SD, STABLE_RANGE = 0.02, 0.07, (-0.15, 0.30)
READING_SD = 0.05
LARGEST_ML = 300.0  # no larger one is measured; a first volume is under 225 mL, so that no label changes


def clinical_logit(table: pd.DataFrame, mix: CaseMix) -> NDArray[np.float64]:
    """The clinical part of the logit from printed, complete values, the coma scale included."""
    return (
        CLINICAL["anticoagulant"] * table["anticoagulant"].to_numpy()
        + CLINICAL["antiplatelet"] * table["antiplatelet"].to_numpy()
        + CLINICAL["male"] * (table["sex"] == "M").to_numpy()
        + CLINICAL["fibrinogen_g_l"] * (table["fibrinogen_g_l"].to_numpy() - bedside.FIBRINOGEN_MEAN)
        + CLINICAL["sbp_mmhg"] * (table["sbp_mmhg"].to_numpy() - SBP_CENTRE)
        + CLINICAL["ln_time"] * _ln_time(table, mix)
        + CLINICAL["gcs"] * (table["gcs"].to_numpy() - GCS_CENTRE)
    )


def image_logit(table: pd.DataFrame) -> NDArray[np.float64]:
    """The image part of the logit from the latent variables of the hemorrhage."""
    return sum(weight * table[name].to_numpy(dtype=float) for name, weight in IMAGE.items())


def _ln_time(table: pd.DataFrame, mix: CaseMix) -> NDArray[np.float64]:
    return np.log(table["onset_to_ct_h"].to_numpy() / mix.time_median_h)


def simulate_growth(draws: Draws, table: pd.DataFrame, mix: CaseMix) -> pd.DataFrame:
    """Activity, true and printed volumes in mL, and the label.

    Parameters
    ----------
    draws : Draws
        Streams of the patients.
    table : DataFrame
        Clinical and latent variables, one row per patient.
    mix : CaseMix
        Of the hospital; centres the time.

    Returns
    -------
    DataFrame
        `active`, `true_followup_ml`, `baseline_volume_ml`, `followup_volume_ml`, `he`.
    """
    active = draws.event(expit(INTERCEPT + clinical_logit(table, mix) + image_logit(table)))
    grown = np.exp(LN_GROWTH_MEAN + LN_GROWTH_SD * draws.normal())
    stable = np.clip(STABLE_MEAN + STABLE_SD * draws.normal(), *STABLE_RANGE)
    baseline = table["true_baseline_ml"].to_numpy()
    followup = baseline * (1 + np.where(active == 1, grown, stable))
    read = [volume * np.exp(READING_SD * draws.normal()) for volume in (baseline, followup)]
    printed = [np.minimum(np.round(volume, 2), LARGEST_ML) for volume in read]
    return pd.DataFrame(
        {
            "active": active,
            "true_followup_ml": followup,
            "baseline_volume_ml": printed[0],
            "followup_volume_ml": printed[1],
            "he": expansion_label(printed[0], printed[1]),
        }
    )


def label_probability(volume_ml: ArrayLike, *, active: bool) -> NDArray[np.float64]:
    """P(HE | active or not, true baseline volume): the label's noise, by quadrature.

    Parameters
    ----------
    volume_ml : array_like
        True baseline volumes in mL.
    active : bool
        Whether the hemorrhage bleeds on.
    """
    ranks = (np.arange(400) + 0.5) / 400
    grown, stable = LN_GROWTH_MEAN + LN_GROWTH_SD * ndtri(ranks), STABLE_MEAN + STABLE_SD * ndtri(ranks)
    fraction = np.exp(grown) if active else np.clip(stable, *STABLE_RANGE)
    error, weight = _gaussian_nodes(21)
    volume = np.asarray(volume_ml, dtype=float)[..., None, None]
    read = volume * np.exp(READING_SD * error)[:, None]
    needed = read + np.minimum(6.0, 0.33 * read)
    exceeds = ndtr(np.log(volume * (1 + fraction) / needed) / READING_SD)
    return np.einsum("...ef,e->...", exceeds, weight) / fraction.size


def _gaussian_nodes(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return nodes, weights / weights.sum()


@dataclass(frozen=True)
class Oracle:
    """The tables from which P(HE | part) is read for any patient of one hospital; built by `build_oracle`.

    Attributes
    ----------
    eta : ndarray, shape (m,)
        Grid of logits.
    over_history : ndarray, shape (m,)
        P(A = 1) at a logit to which the history is still to be added.
    by_gcs : ndarray, shape (13, m)
        P(HE) at a logit to which the image part is still to be added, for each coma scale 3 … 15.
    ln_volume, inactive, active : ndarray, shape (k,)
        Label probabilities on a grid of ln volume.
    """

    mix: CaseMix
    eta: NDArray[np.float64]
    over_history: NDArray[np.float64]
    by_gcs: NDArray[np.float64]
    ln_volume: NDArray[np.float64]
    inactive: NDArray[np.float64]
    active: NDArray[np.float64]

    def probabilities(self, table: pd.DataFrame) -> pd.DataFrame:
        """`p_image`, `p_clinical`, `p_integrated` of each patient, from printed values and latent variables."""
        image = INTERCEPT + image_logit(table)
        clinical = clinical_logit(table, self.mix)
        return pd.DataFrame(
            {
                "p_image": self._label(table, self._activity_given_image(table, image)),
                "p_clinical": self._given_clinical(table, INTERCEPT + clinical),
                "p_integrated": self._label(table, expit(image + clinical)),
            }
        )

    def _label(self, table: pd.DataFrame, activity: NDArray[np.float64]) -> NDArray[np.float64]:
        ln_volume = np.log(table["true_baseline_ml"].to_numpy())
        inactive, active = (np.interp(ln_volume, self.ln_volume, q) for q in (self.inactive, self.active))
        return inactive + activity * (active - inactive)

    def _activity_given_image(self, table: pd.DataFrame, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average over time (given the density), coma scale (given volume, blood and location) and history."""
        late = _time_nodes(self.mix)
        z, site = table["z_volume"].to_numpy(), table["location"].map(bedside.LOCATIONS.index).to_numpy()
        residual = table["density"].to_numpy() - bedside.DENSITY_ON_VOLUME * z
        likelihood = np.exp(-0.5 * ((residual[:, None] - bedside.DENSITY_ON_TIME * late) / bedside.DENSITY_NOISE) ** 2)
        p_late = likelihood / likelihood.sum(axis=1, keepdims=True)
        p_gcs = bedside.gcs_pmf(bedside.gcs_mean(z, table["ivh"], site))
        activity = np.zeros(len(table))
        for gcs, share in zip(range(3, 16), p_gcs.T, strict=True):
            shift = image[:, None] + CLINICAL["gcs"] * (gcs - GCS_CENTRE) + CLINICAL["ln_time"] * late
            activity += share * (p_late * np.interp(shift, self.eta, self.over_history)).sum(axis=1)
        return activity

    def _given_clinical(self, table: pd.DataFrame, clinical: NDArray[np.float64]) -> NDArray[np.float64]:
        shift = clinical + IMAGE["density"] * bedside.DENSITY_ON_TIME * _ln_time(table, self.mix)
        gcs = table["gcs"].to_numpy()
        p = np.empty(len(table))
        for value, curve in zip(range(3, 16), self.by_gcs, strict=True):
            p[gcs == value] = np.interp(shift[gcs == value], self.eta, curve)
        return p


def build_oracle(mix: CaseMix) -> Oracle:
    """Tabulate the integrals for one hospital's case mix."""
    eta = np.arange(-16.0, 16.0, 0.02)
    ln_volume = np.linspace(np.log(bedside.LEAST_VOLUME_ML), np.log(bedside.VOLUME_LIMIT_ML.max()), 240)
    inactive, active = (label_probability(np.exp(ln_volume), active=state) for state in (False, True))
    node = _hemorrhage_nodes(mix)
    q0, q1 = (np.interp(np.log(node["volume"]), ln_volume, q) for q in (inactive, active))
    sd = np.hypot(IMAGE["density"] * bedside.DENSITY_NOISE, IMAGE["shape"] * bedside.SHAPE_NOISE)
    over_image = _smoothed_expit(eta, sd, n_nodes=25)
    activity = np.interp(eta[:, None] + node["image"], eta, over_image)
    posterior = node["weight"] * bedside.gcs_pmf(node["gcs_mean"]).T
    posterior /= posterior.sum(axis=1, keepdims=True)
    by_gcs = posterior @ (q0 + activity * (q1 - q0)).T
    return Oracle(mix, eta, _average_over_history(eta, mix), by_gcs, ln_volume, inactive, active)


def _smoothed_expit(eta: NDArray[np.float64], sd: float, *, n_nodes: int) -> NDArray[np.float64]:
    nodes, weights = _gaussian_nodes(n_nodes)
    return expit(eta[:, None] + sd * nodes) @ weights


def _average_over_history(eta: NDArray[np.float64], mix: CaseMix) -> NDArray[np.float64]:
    """E[expit(eta + history)]: age drives the drugs and hypertension, sex, fibrinogen and pressure come on top."""
    ranks = (np.arange(60) + 0.5) / 60
    age = np.clip(np.round(mix.age_mean + mix.age_sd * ndtri(ranks)), 18, 99)
    # Probabilities of the 16 combinations, averaged over age.
    drug, plate, tense = (bedside.history_risk(k, age, mix) for k in ("anticoagulant", "antiplatelet", "hypertension"))
    sd = np.hypot(CLINICAL["fibrinogen_g_l"] * bedside.FIBRINOGEN_SD, CLINICAL["sbp_mmhg"] * bedside.SBP_SD)
    total = np.zeros_like(eta)
    for a, b, male, h in np.ndindex(2, 2, 2, 2):
        share = (mix.male if male else 1 - mix.male) * np.mean(
            np.where(a, drug, 1 - drug) * np.where(b, plate, 1 - plate) * np.where(h, tense, 1 - tense)
        )
        shift = (
            CLINICAL["anticoagulant"] * a
            + CLINICAL["antiplatelet"] * b
            + CLINICAL["male"] * male
            + CLINICAL["sbp_mmhg"] * (bedside.sbp_mean(h) - SBP_CENTRE)
        )
        total += share * _smoothed_expit(eta + shift, sd, n_nodes=15)
    return total


def _hemorrhage_nodes(mix: CaseMix) -> dict[str, NDArray[np.float64]]:
    """Location x ventricular blood x 200 volume quantiles: weights, volumes, mean image logit, mean coma scale."""
    ranks = (np.arange(200) + 0.5) / 200
    site, ivh, e = (axis.ravel() for axis in np.meshgrid(np.arange(5), [0, 1], ndtri(ranks), indexing="ij"))
    volume = bedside.true_volume_ml(e, site)
    z = bedside.standardized_volume(volume)
    risk = bedside.ivh_risk(z, site)
    slope = IMAGE["z_volume"] + IMAGE["density"] * bedside.DENSITY_ON_VOLUME + IMAGE["shape"] * bedside.SHAPE_ON_VOLUME
    return {
        "weight": np.asarray(mix.location)[site] * np.where(ivh, risk, 1 - risk),
        "volume": volume,
        "image": slope * z + IMAGE["ivh"] * ivh,
        "gcs_mean": bedside.gcs_mean(z, ivh, site),
    }


def _time_nodes(mix: CaseMix) -> NDArray[np.float64]:
    """Equally likely values of ln(time / median), truncated as the times are."""
    low, high = (ndtr(np.log(limit / mix.time_median_h) / bedside.LN_TIME_SD) for limit in bedside.TIME_RANGE_H)
    return bedside.LN_TIME_SD * ndtri(low + (high - low) * (np.arange(40) + 0.5) / 40)
