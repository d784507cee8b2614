"""How much of what can be known does each way of reading the image find? Skill = (AUC - 0.5) / (oracle AUC - 0.5).

Each cohort is simulated: hemorrhages for development and fresh ones for test, whose best possible AUC is known. On the
same patients and folds:

===================== ============================================================================================
``image``             Image-to-HE, the library's own training, scores and scales; with Dice and slice detection
``radiomics``         ridge logistic regression on the markers measured on the *reference* outline
``predicted``         the same on the outline that the networks predict (needs ``image``)
``densenet``          MONAI DenseNet121 in 3D on a crop around the reference outline (needs monai)
``volume``            volume of the reference outline alone
``bedside``           the published scores BAT and BRAIN, in the patients whose columns are complete
``models``            Clinical-to-HE, and Integrated-to-HE with each image score above and with the oracle's own
===================== ============================================================================================

The skill of a row is measured against the oracle of what the row may know (image, bedside, both), on the row's own
patients. *Expected* figures weigh every pair of test patients by the simulation's own probabilities, which leaves out
the luck of one draw of outcomes. Nothing is fitted with test patients. All of it is kept under ``--out``: a killed run
goes on when it is called again, and a method is worked out anew only when its settings change. ``--label`` keeps
variants of the network apart (a change of its code shows in no setting).

.venv/bin/python benchmarks/skill.py --out FOLDER [--cohorts 5] [--cores 2]
.venv/bin/python benchmarks/skill.py --out FOLDER --methods volume radiomics bedside models   without any network
.venv/bin/python benchmarks/skill.py --out FOLDER --methods models --cohorts 20               without any scan
.venv/bin/python benchmarks/skill.py --out FOLDER --quick                                     the whole path, small
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measuring import markdown
from numpy.typing import ArrayLike
from scipy.special import logit
from scipy.stats import norm
from skill_cohort import CohortSettings, kept_table, make_cohort, open_inside, read_cohort, settings_hold, timed
from skill_densenet import densenet_scores

from hepred_lib.cohort.predictors import CLINICAL_CANDIDATES, predictor_frame
from hepred_lib.cohort.scores import SCORES
from hepred_lib.imaging.markers import measure_markers
from hepred_lib.imaging.segmentation import agreement_by_group, dice, hd95_mm
from hepred_lib.imaging.slices import stored_grid
from hepred_lib.multitask.data import Patient, fold_roles, load_patients
from hepred_lib.multitask.device import pick_device
from hepred_lib.multitask.network import MultitaskNetwork, NetworkSettings, load_network, save_network
from hepred_lib.multitask.prediction import normalized_scores, outlines_on, predict_ensemble, score_scales
from hepred_lib.multitask.readout import ablation_scores
from hepred_lib.multitask.training import TrainingSettings, complete_fold
from hepred_lib.progress import progress
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.development import DevelopmentSettings, cross_fit, develop
from hepred_lib.stats.discrimination import auc, auc_interval, delong_variance, expected_auc, placements
from hepred_lib.stats.sensitivity import cross_fit_penalized, fit_penalized
from hepred_lib.study.files import file_sha256, read_json, read_table, write_bytes, write_json, write_table
from hepred_lib.study.summary import detection

INNER_FOLDS = 10


@dataclass(frozen=True)
class Skill:
    """Skill with the 95 % interval of DeLong's covariance; the oracle is measured on the same patients."""

    skill: float
    low: float
    high: float


def skill(y: ArrayLike, score: ArrayLike, oracle: ArrayLike) -> Skill:
    """How much of the oracle's discrimination a score has: 0 for a coin, 1 for the oracle.

    Parameters
    ----------
    y : array_like of 0 and 1, shape (n,)
    score, oracle : array_like, shape (n,)
        Of the same patients, higher for those expected to have the outcome.

    Notes
    -----
    The delta method for a ratio r of two correlated AUCs less one half: the variance of a - r b over b squared, both
    from the same placements.
    """
    y = np.asarray(y).astype(bool)
    own, best = (placements(s[y], s[~y]) for s in (np.asarray(score, float), np.asarray(oracle, float)))
    found, possible = own[0].mean() - 0.5, best[0].mean() - 0.5
    ratio = float(found / possible)
    variance = delong_variance(own[0] - ratio * best[0], own[1] - ratio * best[1])
    reach = norm.ppf(0.975) * float(np.sqrt(variance)) / abs(possible)
    return Skill(ratio, ratio - reach, ratio + reach)


def radiomics_score(markers: pd.DataFrame, cohort: pd.DataFrame, *, seed: int) -> pd.Series:
    """Logit of ridge logistic regression on the measured markers, by patient; out-of-fold in development patients.

    Parameters
    ----------
    markers : DataFrame
        ``patient_id`` and the names in ``MARKERS``; a patient of whom nothing was outlined has none, and gets the
        mean of the others by imputation.
    cohort : DataFrame
        Patients with an outcome: ``patient_id, split, fold, he``.
    """
    features = marker_features(markers).reindex(cohort["patient_id"]).reset_index(drop=True)
    own = cohort["split"].eq("development").to_numpy()
    x, y = features[own], cohort.loc[own, "he"].astype(int).to_numpy()
    inner = min(INNER_FOLDS, y.sum(), (1 - y).sum())
    model = fit_penalized(x, y, penalty="ridge", n_folds=int(inner), seed=seed)
    p = np.empty(len(cohort))
    p[~own] = model.predict(features[~own])
    p[own] = cross_fit_penalized(x, y, cohort.loc[own, "fold"], penalty="ridge", seed=seed)
    return pd.Series(logit(p), index=cohort["patient_id"])


def marker_features(markers: pd.DataFrame) -> pd.DataFrame:
    """Predictors by patient: the volume as its logarithm, all else as measured."""
    table = markers.set_index("patient_id").astype(float)
    return table.assign(volume_ml=np.log(table["volume_ml"])).rename(columns={"volume_ml": "log_volume"})


@dataclass(frozen=True)
class Bedside:
    """How the models with clinical variables are developed, as in notebooks 05 and 06."""

    n_imputations: int = 5
    n_resamples: int = 50
    seed: int = 7


def model_probabilities(cohort: pd.DataFrame, score: pd.Series | None, bedside: Bedside) -> pd.Series:
    """Probability by patient from clinical variables and, where given, a score; cross-fitted in development patients.

    The clinical variables are chosen without the score, which then joins; coefficients are shrunk by the bootstrap.
    """
    x = predictor_frame(cohort, CLINICAL_CANDIDATES)
    candidates, added = tuple(x.columns), ()
    if score is not None:
        x, added = x.assign(score=score.reindex(cohort["patient_id"]).to_numpy()), ("score",)
    settings = DevelopmentSettings(
        candidates,
        added,
        n_imputations=bedside.n_imputations,
        n_resamples=bedside.n_resamples,
        seed=bedside.seed,
    )
    own = cohort["split"].eq("development").to_numpy()
    y = cohort.loc[own, "he"].astype(int)
    p = np.empty(len(cohort))
    p[~own] = develop(x[own], y, settings).predict(x[~own])
    p[own] = cross_fit(x[own], y, cohort.loc[own, "fold"], settings)
    return pd.Series(p, index=cohort["patient_id"])


def development_auc(cohort: pd.DataFrame, score: pd.Series) -> float:
    """AUC of the out-of-fold scores of development patients who have one."""
    own = cohort["split"].eq("development").to_numpy()
    values = score.reindex(cohort["patient_id"]).to_numpy(dtype=float)
    usable = own & np.isfinite(values)
    return auc(cohort.loc[usable, "he"].astype(int), values[usable])


@dataclass(frozen=True)
class ImageSettings:
    """Architecture and schedule; ``training`` is changed by fold."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)


def read_images(store: Path, out: Path, tables: Mapping[str, pd.DataFrame], settings: ImageSettings) -> list[dict]:
    """Train what is not yet trained, read who is not yet read: one record a patient, in the cohort's order.

    A development patient is read by the network that has not seen them, a test patient by all of them together.
    """
    cohort, quality = tables["cohort"], tables["quality"]
    weights = [_trained(store, out / "folds" / str(k), (cohort, quality), settings, k) for k in _folds(cohort)]
    mark = [file_sha256(path) for path in weights]
    records = {name: out / "readings" / f"{name}.json" for name in cohort["patient_id"]}
    todo = [n for n, path in records.items() if not path.exists() or read_json(path)["networks"] != mark]
    if todo:
        networks = [load_network(path).to(pick_device()) for path in weights]
        rows = cohort.set_index("patient_id", drop=False)
        with timed(f"reading {len(todo)} patients"):
            for name in progress(todo, desc="read", unit="patient"):
                (patient,) = load_patients(store, rows.loc[[name]], quality)
                fold = int(rows.loc[name, "fold"])
                chosen = networks if fold < 0 else [networks[fold]]
                reading = read_patient(chosen, patient, store=store, quality=quality)
                write_json(records[name], {"patient_id": name, "fold": fold, "networks": mark, **reading})
    return [read_json(path) for path in records.values()]


def read_patient(
    networks: Sequence[MultitaskNetwork], patient: Patient, *, store: Path, quality: pd.DataFrame
) -> dict[str, Any]:
    """Logits, agreement of the outlines, presence of blood by slice, and what is measured on the predicted outline."""
    prediction, readings = predict_ensemble(networks, patient)
    logits = [reading.logit for reading in readings]
    grid = stored_grid(quality, patient.patient_id)
    hu, reference = open_inside(store, patient.patient_id, grid)
    outline, _ = outlines_on(grid, hu, prediction)
    return {
        "logits": logits,
        "detected": int(prediction.detected),
        "volume_ml": prediction.volume_ml,
        "dice": dice(reference, outline) if reference.any() else np.nan,
        "hd95_mm": hd95_mm(reference, outline, grid.spacing_mm) if reference.any() else np.nan,
        "outlined_ml": float(outline.sum() * np.prod(grid.spacing_mm) / 1000),
        "presence": prediction.presence,
        "blood": patient.labels,
        "markers": measure_markers(hu, outline, grid.spacing_mm) if outline.any() else {},
    }


def outline_groups(readings: Sequence[Mapping[str, Any]], cohort: pd.DataFrame, markers: pd.DataFrame) -> pd.DataFrame:
    """Agreement of test patients' outlines by location and thirds of the reference volume, and of large hematomas."""
    test = pd.DataFrame([reading for reading in readings if reading["fold"] < 0])
    known = {"hd95_mm": np.nan} | {name: test[name] for name in ("hd95_mm", "dice") if name in test}
    table = test[["patient_id"]].assign(**known, predicted_ml=test.get("outlined_ml", test["volume_ml"]))
    reference = markers.set_index("patient_id")["volume_ml"].rename("reference_ml")
    table = table.join(reference, on="patient_id").merge(cohort[["patient_id", "location"]], on="patient_id")
    thirds = pd.qcut(table["reference_ml"], 3, labels=["small", "middle", "large"])
    everybody = pd.Series("all", index=table.index)
    large = table["reference_ml"].ge(LARGE_ML).map({True: f"{LARGE_ML} mL or more", False: f"below {LARGE_ML} mL"})
    groups = {"all": everybody, "location": table["location"], "volume": thirds, "large": large}
    return agreement_by_group(table, groups)


def dl_scores(readings: Sequence[Mapping[str, Any]], hemorrhages: pd.Series) -> pd.Series:
    """The normalized DL score by patient, scaled on the held-out hemorrhages of each fold as in notebook 04."""
    rows = [
        {
            "patient_id": reading["patient_id"],
            "fold": fold,
            "role": "test" if reading["fold"] < 0 else "held_out",
            "dl_logit": logit,
            "hematoma_detected": reading["detected"],
            "predicted_volume_ml": reading["volume_ml"],
        }
        for reading in readings
        for fold, logit in enumerate(reading["logits"], start=max(reading["fold"], 0))
    ]
    folds = pd.DataFrame(rows)
    scales = score_scales(folds[folds["patient_id"].isin(hemorrhages)])
    return normalized_scores(folds, scales)["dl_score"]


def slice_calls(readings: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Presence of blood by slice of test patients, called and true (missing where neither call is wrong)."""
    columns = ("patient_id", "presence", "blood")
    parts = [pd.DataFrame({key: reading[key] for key in columns}) for reading in readings if reading["fold"] < 0]
    return pd.concat(parts, ignore_index=True).astype({"blood": float})


def _trained(
    store: Path, place: Path, tables: tuple[pd.DataFrame, pd.DataFrame], settings: ImageSettings, fold: int
) -> Path:
    """The weights of one fold's network."""
    cohort, quality = tables
    path, training = place / "network.safetensors", replace(settings.training, fold=fold)
    record = {"network": asdict(settings.network), "training": asdict(training), "fold_of": _fold_mark(cohort)}
    if settings_hold(path, record):
        return path
    place.mkdir(parents=True, exist_ok=True)
    patients, roles = load_patients(store, cohort, quality), fold_roles(cohort, fold)
    with timed(f"fold {fold}, {training.epochs} epochs, {len(patients)} patients read"):
        trained = complete_fold(
            patients, roles, settings.network, settings=training, checkpoint=place / "checkpoint.safetensors"
        )
    save_network(trained.network, path)
    write_table(place / "history.csv", trained.history)
    write_table(place / "predictions.csv", trained.predictions)
    write_json(path.with_suffix(".json"), record)
    (place / "checkpoint.safetensors").unlink()
    return path


def _fold_mark(cohort: pd.DataFrame) -> str:
    """Who is in which fold, as digits."""
    return "".join(cohort.loc[cohort["split"].eq("development"), "fold"].astype(str))


def _folds(cohort: pd.DataFrame) -> list[int]:
    return sorted(set(cohort["fold"]) - {-1})


METHODS = ("image", "radiomics", "predicted", "densenet", "volume", "bedside", "models")
IMAGE_SCORES = ("image", "image_deep", "image_both", "radiomics", "predicted", "densenet")
FIRST_SEED = 101
LARGE_ML = 60
ORACLES = {"image": "p_image", "clinical": "p_clinical", "integrated": "p_integrated"}
QUICK = {"patients": 60, "test": 60, "epochs": 1, "folds": 2, "scan_matrix": 128, "densenet_epochs": 1, "resamples": 10}
WORDS = {
    "oracle_image": "oracle, image",
    "oracle_clinical": "oracle, bedside",
    "oracle_integrated": "oracle, both",
    "image": "Image-to-HE",
    "image_volume": "Image-to-HE, its own volume alone",
    "image_findings": "Image-to-HE, read-out findings",
    "image_deep": "Image-to-HE, read-out deep",
    "image_both": "Image-to-HE, read-out both",
    "radiomics": "markers of the reference outline, ridge",
    "predicted": "markers of the predicted outline, ridge",
    "densenet": "MONAI DenseNet121, 3D crop",
    "volume": "volume of the reference outline",
    "bat": "BAT",
    "brain": "BRAIN",
    "clinical": "Clinical-to-HE",
    "integrated_oracle": "Integrated-to-HE, given the oracle's image logit",
    "integrated_image": "Integrated-to-HE",
    "integrated_image_deep": "Integrated-to-HE, read-out deep",
    "integrated_image_both": "Integrated-to-HE, read-out both",
    "integrated_radiomics": "Integrated-to-HE, markers of the reference outline",
    "integrated_predicted": "Integrated-to-HE, markers of the predicted outline",
    "integrated_densenet": "Integrated-to-HE, DenseNet121",
}


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    methods: tuple[str, ...]
    cohort: CohortSettings
    image: ImageSettings
    bedside: Bedside
    folds: int
    densenet_epochs: int
    label: str
    cores: int


@dataclass(frozen=True)
class Scored:
    """Scores of all hemorrhages of a cohort by name, and what else was measured on the test patients."""

    scores: dict[str, pd.Series]
    outlines: dict[str, float]


def judge_cohort(out: Path, plan: Plan) -> pd.DataFrame:
    """One row a method for one cohort."""
    store, scans = out / str(plan.cohort.seed), bool(set(plan.methods) - {"models"})
    with timed(f"cohort {plan.cohort.seed}"):
        make_cohort(store, plan.cohort, folds=plan.folds, cores=plan.cores, scans=scans)
    tables = read_cohort(store, scans=scans)
    patients = tables["cohort"].merge(tables["truth"][["patient_id", *ORACLES.values()]], on="patient_id")
    patients = patients[patients["he"].notna()].reset_index(drop=True)
    scored = score_images(store, tables, patients, plan)
    if "bedside" in plan.methods:
        scored.scores.update(bedside_scores(patients, tables["quality"]))
    if "models" in plan.methods:
        scored.scores.update(model_scores(store, patients, scored.scores, plan))
    rows = [judge(patients, name, score, scored.scores) for name, score in scored.scores.items()]
    table = pd.DataFrame(rows)
    for name, value in scored.outlines.items():
        table.loc[table["method"].eq("image"), name] = value
    settings = {"label": plan.label, "n_development": int(patients["split"].eq("development").sum())}
    return table.assign(seed=plan.cohort.seed, **settings, folds=plan.folds, epochs=plan.image.training.epochs)


def score_images(store: Path, tables: dict[str, pd.DataFrame], patients: pd.DataFrame, plan: Plan) -> Scored:
    """The oracles, and every image score that was asked for."""
    by_patient = patients.set_index("patient_id")
    scores = {f"oracle_{name}": by_patient[column] for name, column in ORACLES.items()}
    outlines, seed, place = {}, plan.bedside.seed, store / "scores"
    if {"image", "predicted"} & set(plan.methods):
        readings = read_images(store, store / plan.label, tables, plan.image)
        outlines = outline_figures(readings)
        groups = outline_groups(readings, tables["cohort"], tables["markers"])
        write_table(store / plan.label / "outlines.csv", groups)
        scores["image"] = dl_scores(readings, patients["patient_id"])
        parts = [store / plan.label / "folds" / str(k) / "predictions.csv" for k in _folds(tables["cohort"])]
        ablation = ablation_scores(pd.concat(map(read_table, parts)), by_patient["he"], seed=seed)
        scores |= {f"image_{name}": score for name, score in ablation.items()}
    if "radiomics" in plan.methods:
        scores["radiomics"] = radiomics_score(tables["markers"], patients, seed=seed)
    if "predicted" in plan.methods:
        markers = pd.DataFrame([{"patient_id": r["patient_id"], **r["markers"]} for r in readings])
        scores["predicted"] = radiomics_score(markers, patients, seed=seed)
    if "densenet" in plan.methods:
        scores["densenet"] = densenet_scores(store, place, tables["cohort"], epochs=plan.densenet_epochs, seed=seed)
    if "volume" in plan.methods:
        scores["volume"] = np.log(tables["markers"].set_index("patient_id")["volume_ml"])
    return Scored(scores, outlines)


def outline_figures(readings: list[dict]) -> dict[str, float]:
    """Dice (native grid) and the AUC of blood by slice, over test hemorrhages."""
    agreement = pd.Series([r["dice"] for r in readings if r["fold"] < 0], dtype=float).dropna()
    calls = slice_calls(readings)
    found = detection(calls, n_resamples=200, rng=np.random.default_rng(0), notes=[])
    low, high = found["auc_ci"] or (np.nan, np.nan)
    dice = {"dice_median": agreement.median(), "dice_q1": agreement.quantile(0.25), "dice_q3": agreement.quantile(0.75)}
    return dice | {"detection_auc": found["auc"], "detection_low": low, "detection_high": high}


def bedside_scores(patients: pd.DataFrame, quality: pd.DataFrame) -> dict[str, pd.Series]:
    """BAT and BRAIN; signs that no reader gave are measured on the reference outline, as in notebook 07."""
    measured = quality[["blend_sign", "any_hypodensity"]]
    table = patients.set_index("patient_id")
    table = table.fillna(measured.reindex(table.index))
    return {name: SCORES[name](table) for name in ("bat", "brain")}


def model_scores(store: Path, patients: pd.DataFrame, scores: dict[str, pd.Series], plan: Plan) -> dict[str, pd.Series]:
    """Clinical-to-HE, and Integrated-to-HE with the oracle's image logit and with each image score."""
    offered = {"clinical": None, "integrated_oracle": logit(scores["oracle_image"])}
    offered |= {f"integrated_{name}": scores[name] for name in IMAGE_SCORES if name in scores}
    folds, bedside, found = patients["fold"].tolist(), plan.bedside, {}
    for name, score in offered.items():
        given = None if score is None else score.reindex(patients["patient_id"]).astype(float).tolist()
        settings = {"folds": folds, "score": given, **vars(bedside)}
        own = name.startswith("integrated_image") or name == "integrated_predicted"
        place = store / (plan.label if own else ".") / "scores"

        def make(name: str = name, score: pd.Series | None = score) -> pd.DataFrame:
            with timed(f"model {name}"):
                return model_probabilities(patients, score, bedside).rename("p").reset_index()

        found[name] = kept_table(place / f"{name}.csv", settings, make).set_index("patient_id")["p"]
    return found


def judge(patients: pd.DataFrame, name: str, score: pd.Series, scores: dict[str, pd.Series]) -> dict[str, object]:
    """One row of the result: test patients who have the score."""
    values = score.reindex(patients["patient_id"]).to_numpy(dtype=float)
    rows = patients["split"].eq("test").to_numpy() & np.isfinite(values)
    y, own = patients.loc[rows, "he"].astype(int).to_numpy(), values[rows]
    oracle = patients.loc[rows, ORACLES[knows(name)]].to_numpy()
    estimate, found = auc_interval(y, own, method="logit"), skill(y, own, oracle)
    row = {"method": name, "n": len(y), "events": int(y.sum()), "auc": estimate.auc}
    row |= {"auc_low": estimate.low, "auc_high": estimate.high, "oracle_auc": auc(y, oracle)}
    row |= {"skill": found.skill, "skill_low": found.low, "skill_high": found.high}
    expected, possible = expected_auc(own, oracle), expected_auc(oracle, oracle)
    row |= {"expected_auc": expected, "expected_skill": (expected - 0.5) / (possible - 0.5)}
    row["auc_development"] = development_auc(patients, score)
    if name == "clinical" or name.startswith("integrated_"):
        row["slope"] = calibrate(y, own).slope
    if name.startswith("integrated_"):
        given = scores["integrated_oracle"].reindex(patients["patient_id"]).to_numpy()[rows]
        share = skill(y, own, given)
        row |= {"of_given_oracle": share.skill, "of_given_low": share.low, "of_given_high": share.high}
        row["expected_of_given"] = (expected - 0.5) / (expected_auc(given, oracle) - 0.5)
    return row


def knows(method: str) -> str:
    """The oracle that a method is measured against."""
    if method in ("bat", "brain", "oracle_integrated") or method.startswith("integrated_"):
        return "integrated"
    return "clinical" if method in ("clinical", "oracle_clinical") else "image"


def summary(rows: pd.DataFrame) -> str:
    """Two tables in Markdown: means with their SD over the cohorts, then each cohort with its intervals."""
    means, single = [], []
    for method in [name for name in WORDS if name in set(rows["method"])]:
        part = rows[rows["method"].eq(method)]
        cells = {"method": WORDS[method], "cohorts": len(part)}
        figures = {"AUC": "auc", "skill": "skill", "expected AUC": "expected_auc", "expected skill": "expected_skill"}
        figures |= {"slope": "slope", "of given oracle": "of_given_oracle", "expected, of given": "expected_of_given"}
        figures |= {"Dice": "dice_median", "slices, AUC": "detection_auc", "AUC, development": "auc_development"}
        means.append(cells | {words: _mean_sd(part, name) for words, name in figures.items()})
        for row in part.to_dict("records"):
            cells = {"cohort": row["seed"], "method": WORDS[method], "test (HE)": f"{row['n']} ({row['events']})"}
            cells |= {"AUC": _with_interval(row, "auc"), "skill": _with_interval(row, "skill")}
            single.append(cells)
    single = pd.DataFrame(single).sort_values("cohort", kind="stable")
    return f"{markdown(pd.DataFrame(means))}\n\n{markdown(single)}"


def _mean_sd(part: pd.DataFrame, name: str) -> str:
    values = part[name].dropna() if name in part else []
    if not len(values):
        return ""
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"


def _with_interval(row: dict, name: str) -> str:
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f}-{row[f'{name}_high']:.3f})"


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line; ``--quick`` changes defaults only."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    quick = QUICK if "--quick" in arguments else {}
    numbers = {"cohorts": 1, "first_seed": FIRST_SEED, "patients": 465, "test": 1000, "matrix": 128, "scan_matrix": 256}
    numbers |= {
        "folds": 5,
        "epochs": ImageSettings().training.epochs,
        "densenet_epochs": 30,
        "imputations": 5,
        "resamples": 50,
        "cores": 1,
    }
    for name, default in (numbers | quick).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--out", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--label", default="default", help="of a variant of the network")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--training", nargs="*", default=[], metavar="NAME=VALUE", help="of TrainingSettings")
    parser.add_argument("--network", nargs="*", default=[], metavar="NAME=VALUE", help="of NetworkSettings")
    parser.add_argument("--quick", action="store_true", help="small defaults: the whole path in minutes")
    return parser.parse_args(arguments)


def plan_of(arguments: argparse.Namespace, seed: int) -> Plan:
    """The plan of one cohort."""
    training, network = (dict(map(_setting, pairs)) for pairs in (arguments.training, arguments.network))
    image = ImageSettings()
    image = ImageSettings(
        replace(image.network, **network), replace(image.training, **{"epochs": arguments.epochs, **training})
    )
    return Plan(
        methods=tuple(arguments.methods),
        cohort=CohortSettings(seed, arguments.patients, arguments.test, arguments.matrix, arguments.scan_matrix),
        image=image,
        bedside=Bedside(arguments.imputations, arguments.resamples),
        folds=arguments.folds,
        densenet_epochs=arguments.densenet_epochs,
        label=arguments.label,
        cores=arguments.cores,
    )


def _setting(pair: str) -> tuple[str, object]:
    """``learning_rate=0.002`` as name and value; what is no JSON is text."""
    name, _, value = pair.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main() -> None:
    arguments = read_arguments(sys.argv[1:])
    torch.set_num_threads(arguments.cores)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.cohorts)
    rows = pd.concat([judge_cohort(arguments.out, plan_of(arguments, seed)) for seed in seeds], ignore_index=True)
    command = f"benchmarks/skill.py {shlex.join(sys.argv[1:])}"
    text = f"Simulated patients. `{command}`\n\n{summary(rows)}\n"
    write_table(arguments.out / f"skill_{arguments.label}.csv", rows)
    write_bytes(arguments.out / f"skill_{arguments.label}.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
