"""Where is the rest of the skill lost: in too few events, in the read-out, in the outline, or in what is measured?

Image-to-HE reads growth from findings by a ridge logistic regression. Here the same read-out, and others, are given
better and better findings of the same simulated patients, up to the very variables from which growth was drawn. A
read-out whose weights are learned from the simulation's own logit instead of outcomes shows what more events could add.
Everything is learned in the networks' own training folds; the simulation's truth judges, in test patients.

.venv/bin/python benchmarks/ceiling.py FOLDER LABEL [--seeds 101 102]     after ``skill.py --out FOLDER --label LABEL``

Findings of each network for all patients are kept in ``FOLDER/SEED/LABEL/findings_K.csv``: 13 min a cohort on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit, ndtri
from scipy.stats import rankdata
from skill_cache import kept_table, timed
from skill_cohort import read_cohort
from skill_scores import Bedside, expected_auc, marker_features, model_probabilities
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import markdown

from hepred_lib.multitask.data import DESCRIPTORS, load_patients
from hepred_lib.multitask.network import FINDINGS
from hepred_lib.multitask.prediction import normalized_scores, predict_cohort, ridge_weights, score_scales
from hepred_lib.multitask.training import load_network, pick_device
from hepred_lib.study.files import file_sha256

LATENTS = ("z_volume", "density", "shape")
TOLD, MEASURED = (tuple(f"{how}_{name}" for name in DESCRIPTORS) for how in ("told", "measured"))
STRENGTHS = np.logspace(-2, 4, 19)
# Of the models with bedside variables the ranks alone are judged: two resamples for the shrinkage are enough.
BEDSIDE = Bedside(n_imputations=5, n_resamples=2)


@dataclass(frozen=True)
class Cohort:
    """Hemorrhages of a cohort with what was drawn for them, and tables of findings: one a fold, in the same order."""

    patients: pd.DataFrame
    features: dict[str, list[pd.DataFrame]]

    @property
    def test(self) -> np.ndarray:
        """Rows of test patients."""
        return self.patients["split"].eq("test").to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("label")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    given = parser.parse_args()
    torch.set_num_threads(1)
    cohorts = [read_findings(given.folder / str(seed), given.label) for seed in given.seeds]
    for title, rows in (
        ("Expected skill of the image score", [skills(cohort) for cohort in cohorts]),
        ("R2 of the simulation's variables in test patients", [told(cohort) for cohort in cohorts]),
        ("Integrated-to-HE: expected share of the model given the oracle's image logit", [shares(c) for c in cohorts]),
    ):
        table = pd.concat(rows).groupby(level=0, sort=False).agg(_words)
        print(f"\n{title}, by cohort:\n\n{markdown(table.reset_index(names='what is known of the image'))}")


def read_findings(store: Path, label: str) -> Cohort:
    """The cohort with every network's findings, told and measured anew where they are not kept."""
    tables = read_cohort(store)
    cohort = tables["cohort"][tables["cohort"]["he"].notna()].reset_index(drop=True)
    truth = tables["truth"].drop(columns=["site", "location", "ivh"]).assign(drawn_ivh=tables["truth"]["ivh"])
    patients = cohort.merge(truth, on="patient_id", validate="one_to_one")
    folds = range(int(cohort["fold"].max()) + 1)
    found = [_findings(store, store / label, cohort, tables["quality"], fold) for fold in folds]
    markers = marker_features(tables["markers"]).loc[cohort["patient_id"]].reset_index(drop=True)
    reference = markers[["log_volume", *DESCRIPTORS]]
    latents = patients[[*LATENTS, "drawn_ivh"]].astype(float).rename(columns={"z_volume": "log_volume"})
    features = {
        "volume of the reference outline": [reference[["log_volume"]] for _ in folds],
        "told by the networks": [table[["log_volume", *TOLD]] for table in found],
        "measured in their outlines": [table[["log_volume", *MEASURED]] for table in found],
        "both: Image-to-HE": [table[list(FINDINGS)] for table in found],
        "measured in the reference outline": [reference for _ in folds],
        "drawn: volume, density, shape, ventricles": [latents for _ in folds],
    }
    return Cohort(patients, features)


def _findings(store: Path, place: Path, cohort: pd.DataFrame, quality: pd.DataFrame, fold: int) -> pd.DataFrame:
    weights = place / "folds" / str(fold) / "network.safetensors"

    def make() -> pd.DataFrame:
        network = load_network(weights).to(pick_device())
        with timed(f"findings of network {fold}"):
            return predict_cohort(network, load_patients(store, cohort, quality))[0]

    table = kept_table(place / f"findings_{fold}.csv", {"network": file_sha256(weights)}, make)
    return table.set_index("patient_id").loc[cohort["patient_id"]].reset_index(drop=True)


def by_outcome(values: np.ndarray, names: list[str], rows: pd.DataFrame) -> np.ndarray:
    """As the networks' own read-out."""
    return ridge_weights(values, rows["he"], _trust(names, 3.0), seed=0)[0]


def untrusting(values: np.ndarray, names: list[str], rows: pd.DataFrame) -> np.ndarray:
    """Volume penalized as all else."""
    return ridge_weights(values, rows["he"], _trust(names, 1.0), seed=0)[0]


def by_known_signs(values: np.ndarray, names: list[str], rows: pd.DataFrame) -> np.ndarray:
    """No weight against what the literature says: more growth in larger, paler, darker-holed, rougher hematomas."""
    centre, spread = values.mean(axis=0), values.std(axis=0)
    direction = np.where([name.endswith("mean_hu") for name in names], -1.0, 1.0) * _trust(names, 2.0) / spread
    x, y = (values - centre) * direction, rows["he"].to_numpy(dtype=float)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        eta = theta[0] + x @ theta[1:]
        residual = expit(eta) - y
        value = np.logaddexp(0, eta).sum() - y @ eta + 15 * theta[1:] @ theta[1:]
        return value, np.r_[residual.sum(), x.T @ residual + 30 * theta[1:]]

    bounds = [(None, None)] + [(0, None)] * x.shape[1]
    return minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds).x[1:] * direction


def by_growth(values: np.ndarray, names: list[str], rows: pd.DataFrame) -> np.ndarray:
    """From the growth itself, as normal scores of its larger part of 6 mL and of 33 %: HE is a score above one cut."""
    growth = rows["followup_volume_ml"] - rows["baseline_volume_ml"]
    index = np.maximum(growth / 6, growth / rows["baseline_volume_ml"] / 0.33)
    return _linear(values, ndtri((rankdata(index) - 0.5) / len(index)))


def by_truth(values: np.ndarray, names: list[str], rows: pd.DataFrame) -> np.ndarray:
    """From the logit that the simulation drew from: no luck of outcomes, as if events were endless."""
    return _linear(values, rows["logit_image"].to_numpy())


READOUTS: dict[str, Callable] = {
    "as in the networks": by_outcome,
    "volume not trusted": untrusting,
    "known signs": by_known_signs,
    "growth, not HE": by_growth,
    "endless events": by_truth,
}


def _trust(names: list[str], trust: float) -> np.ndarray:
    return np.where([name == "log_volume" for name in names], trust, 1.0)


def _linear(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    centre, spread = values.mean(axis=0), values.std(axis=0)
    return RidgeCV(STRENGTHS).fit((values - centre) / spread, target).coef_ / spread


def score(cohort: Cohort, features: list[pd.DataFrame], weigh: Callable) -> pd.Series:
    """By patient: out-of-fold in development, the mean of the folds in test patients, as the normalized DL score."""
    patients, rows = cohort.patients, []
    for fold, table in enumerate(features):
        table = table.fillna(table[~cohort.test].mean())
        taught = ~cohort.test & patients["fold"].ne(fold).to_numpy()
        logits = table.to_numpy() @ weigh(table.to_numpy()[taught], list(table), patients[taught])
        role = np.select([cohort.test, taught], ["test", "in_fold"], "held_out")
        rows.append(patients[["patient_id"]].assign(fold=fold, role=role, dl_logit=logits))
    folds = pd.concat(rows, ignore_index=True).assign(hematoma_detected=1, predicted_volume_ml=np.nan)
    return normalized_scores(folds, score_scales(folds))["dl_score"]


def skills(cohort: Cohort) -> pd.DataFrame:
    """Expected skill in test patients, features by read-outs."""
    test = cohort.patients[cohort.test]
    possible = expected_auc(test["p_image"], test["p_integrated"]) - 0.5
    found = {
        name: {
            words: (expected_auc(score(cohort, features, weigh)[test["patient_id"]], test["p_integrated"]) - 0.5)
            / possible
            for words, weigh in READOUTS.items()
        }
        for name, features in cohort.features.items()
    }
    return pd.DataFrame.from_dict(found, orient="index")


def told(cohort: Cohort) -> pd.DataFrame:
    """Share of the variance of each drawn variable that ridge regression finds in test patients, in ten folds."""
    model = make_pipeline(StandardScaler(), RidgeCV(STRENGTHS))
    test, found = cohort.patients[cohort.test], {}
    for name, (table, *_) in cohort.features.items():
        values = table.fillna(table.mean())[cohort.test].to_numpy()
        fits = {latent: cross_val_predict(model, values, test[latent], cv=10) for latent in LATENTS}
        found[name] = {n: 1 - float(((test[n] - fit) ** 2).mean() / test[n].var(ddof=0)) for n, fit in fits.items()}
    return pd.DataFrame.from_dict(found, orient="index")


def shares(cohort: Cohort) -> pd.DataFrame:
    """What the bedside and each score find, over what they find with the oracle's image logit."""
    patients, test = cohort.patients, cohort.patients[cohort.test]

    def reached(values: pd.Series) -> float:
        p = model_probabilities(patients, values, BEDSIDE)[test["patient_id"]]
        return expected_auc(p, test["p_integrated"]) - 0.5

    best = reached(pd.Series(logit(patients["p_image"].to_numpy()), index=patients["patient_id"]))
    found = {
        name: {words: reached(score(cohort, features, READOUTS[words])) / best for words in READOUTS}
        for name, features in cohort.features.items()
    }
    return pd.DataFrame.from_dict(found, orient="index")


def _words(values: pd.Series) -> str:
    return "; ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
