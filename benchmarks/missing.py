"""Do effects keep their size, and does the deployed model keep its calibration, when predictors are missing?

Made-up patients: three normal predictors (log odds 1.0, 0.5, 1.0), two of them missing in a share of the patients, more
often where the third is high. Then the project's own simulation, whose hospital lacks fibrinogen and onset times, the
sicker the patient the more often. Each way is fitted on the same patients, without selection and without shrinkage:

=================== ==============================================================================================
``all known``       the values before any were deleted: what nobody has
``complete cases``  patients without a gap
``no outcome``      imputed from the predictors alone, as often done
``ours``            imputed with the outcome where coefficients are estimated (`develop`)
=================== ==============================================================================================

The *deployed slope* is the calibration slope in 20,000 new patients with gaps of the same kind, who are imputed without
their outcome.

Last, patients without an outcome: the sicker (lower coma scale, larger hematoma), the more often. Two bedside models of
other patients, one with the coma scale and one without, are judged on those with an outcome, as they are and weighted,
and on everybody.

.venv/bin/python benchmarks/missing.py [--cohorts 40] [--patients 1000]
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import numpy as np
import pandas as pd
from measuring import markdown, mean_with_error
from scipy.special import expit, logit

from hepred_lib.cohort.predictors import predictor_frame
from hepred_lib.stats import imputation
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.development import DevelopedModel, DevelopmentSettings, develop
from hepred_lib.stats.logistic import fit_logistic
from hepred_lib.stats.sensitivity import outcome_weights, weighted_performance
from ich_phantom import cohort as phantom

TRUTH = {"a": 1.0, "b": 0.5, "c": 1.0}
INTERCEPT, CORRELATION, SHARES, N_NEW = -1.5, 0.3, (0.15, 0.3, 0.5), 20_000
OWN = ("gcs", "onset_to_ct_h", "fibrinogen_g_l", "anticoagulant")
JUDGED = ("gcs", "onset_to_ct_h", "anticoagulant", "sbp_mmhg")


def made_up(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.Series]:
    """Predictors without gaps, and the outcome."""
    covariance = np.full((3, 3), CORRELATION) + np.diag(np.full(3, 1 - CORRELATION))
    x = pd.DataFrame(rng.multivariate_normal(np.zeros(3), covariance, size=n), columns=list(TRUTH))
    p = expit(INTERCEPT + x.to_numpy() @ np.array(list(TRUTH.values())))
    return x, pd.Series((rng.random(n) < p).astype(int))


def with_gaps(x: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Two columns missing in a share of the patients, more often where the third is high."""
    chance = expit(logit(share) + 0.5 * x["b"])
    lost = {name: rng.random(len(x)) < chance * share / chance.mean() for name in ("a", "c")}
    return x.assign(**{name: x[name].mask(where) for name, where in lost.items()})


def simulated(n: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """The project's patients: without gaps, as the hospital has them, and their outcome."""
    manifest, _ = phantom.cohort_tables(n, seed)
    with patch.object(phantom.bedside, "delete_values", lambda table, draws: table):
        whole, _ = phantom.cohort_tables(n, seed)
    bled = manifest["he"].notna()
    known, given = (predictor_frame(table[bled], OWN).astype(float) for table in (whole, manifest))
    return known, given, manifest.loc[bled, "he"].astype(int)


def developed(x: pd.DataFrame, y: pd.Series, seed: int, *, blind: bool = False) -> DevelopedModel:
    """All predictors, imputed ten times; ``blind`` leaves the outcome out of the imputation."""
    names, draw = tuple(x.columns), imputation.draw_once
    settings = DevelopmentSettings(names, forced=names, n_imputations=10, n_resamples=1, seed=seed)

    def without(*given: object, y: object = None, **how: object) -> object:
        return draw(*given, **how)

    with patch.object(imputation, "draw_once", without if blind else draw):
        return develop(x, y, settings)


def compared(known: pd.DataFrame, given: pd.DataFrame, y: pd.Series, seed: int) -> tuple[pd.DataFrame, DevelopedModel]:
    """Coefficients by way (rows) and predictor (columns), and our model."""
    complete = given.notna().all(axis=1)
    ours = developed(given, y, seed)
    rows = {
        "all known": fit_logistic(known, y).coefficients[1:],
        "complete cases": fit_logistic(given[complete], y[complete]).coefficients[1:],
        "no outcome": developed(given, y, seed, blind=True).unshrunk_coefficients,
        "ours": ours.unshrunk_coefficients,
    }
    return pd.DataFrame(rows, index=list(known.columns)).T, ours


def table(parts: list[pd.DataFrame], label: str, slopes: dict[str, list[float]] | None = None) -> pd.DataFrame:
    """Means over cohorts with their Monte Carlo standard errors."""
    rows = []
    for way in parts[0].index:
        cells = {"missing": label, "imputation": way}
        cells |= {name: mean_with_error([part.loc[way, name] for part in parts]) for name in parts[0].columns}
        rows.append(cells | {"deployed slope": mean_with_error((slopes or {}).get(way, []))})
    return pd.DataFrame(rows)


def without_followup(n: int, seed: int, names: tuple[str, ...]) -> dict[str, float]:
    """AUC and slope of one model in all patients, in those with a second CT, and in these weighted."""
    training, here = (phantom.cohort_tables(n, 900 + 2 * seed + part)[0].dropna(subset="he") for part in (0, 1))
    outcome = training["he"].astype(int)
    settings = DevelopmentSettings(names, forced=names, n_imputations=5, n_resamples=1, seed=seed)
    p = develop(predictor_frame(training, names), outcome, settings).predict(predictor_frame(here, names), shrunk=False)
    y = here["he"].astype(int).to_numpy()
    sicker = -2.2 + 0.35 * (14 - here["gcs"].fillna(14)) + 0.02 * here["baseline_volume_ml"]
    seen = np.random.default_rng(seed).random(len(here)) > expit(sicker)
    baseline = predictor_frame(here, (*JUDGED, "nihss", "age", "baseline_volume_ml"))
    weights = outcome_weights(baseline[seen], baseline[~seen], baseline[seen], seed=seed).weights
    told = weighted_performance(y[seen], p[seen], weights, n_resamples=2, rng=np.random.default_rng(0))
    whole = weighted_performance(y, p, np.ones(len(y)), n_resamples=2, rng=np.random.default_rng(0))
    found = {"lost": 1 - seen.mean()}
    for figure in ("auc", "slope"):
        found |= {f"{figure}, all": whole[figure], f"{figure}, as seen": told[figure]}
        found |= {f"{figure}, weighted": told[f"weighted_{figure}"]}
        found |= {f"{figure} error, as seen": abs(told[figure] - whole[figure])}
        found |= {f"{figure} error, weighted": abs(told[f"weighted_{figure}"] - whole[figure])}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=40)
    parser.add_argument("--patients", type=int, default=1000)
    arguments = parser.parse_args()
    found = []
    for share in SHARES:
        parts, slopes = [], {"ours": [], "no outcome": []}
        for seed in range(arguments.cohorts):
            rng = np.random.default_rng(seed)
            x, y = made_up(arguments.patients, rng)
            given = with_gaps(x, share, rng)
            coefficients, ours = compared(x, given, y, seed)
            parts.append(coefficients)
            later, outcome = made_up(N_NEW, rng)
            later = with_gaps(later, share, rng)
            models = {"ours": ours, "no outcome": developed(given, y, seed, blind=True)}
            for way, model in models.items():
                slopes[way].append(calibrate(outcome, model.predict(later, shrunk=False)).slope)
        found.append(table(parts, f"{share:.0%}", slopes))
    print(markdown(pd.concat(found)), end="\n\n")
    own = [compared(*simulated(arguments.patients, 500 + seed), seed)[0] for seed in range(arguments.cohorts)]
    print(markdown(table(own, "simulated hospital").drop(columns="deployed slope")), end="\n\n")
    rows = []
    for words, names in {"with the coma scale": JUDGED, "without it": JUDGED[1:]}.items():
        lost = pd.DataFrame([without_followup(arguments.patients, seed, names) for seed in range(arguments.cohorts)])
        rows.append({"model": words} | {name: mean_with_error(values) for name, values in lost.items()})
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
