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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import logit
from skill_cache import kept_table, timed
from skill_cohort import CohortSettings, make_cohort, read_cohort
from skill_densenet import densenet_scores
from skill_network import ImageSettings, dl_scores, outline_groups, read_images, slice_calls
from skill_scores import Bedside, development_auc, expected_auc, model_probabilities, radiomics_score, skill
from tables import markdown

from hepred_lib.cohort.scores import SCORES
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.discrimination import auc, auc_interval
from hepred_lib.study.files import write_bytes, write_table
from hepred_lib.study.summary import detection

METHODS = ("image", "radiomics", "predicted", "densenet", "volume", "bedside", "models")
IMAGE_SCORES = ("image", "radiomics", "predicted", "densenet")
FIRST_SEED = 101
ORACLES = {"image": "p_image", "clinical": "p_clinical", "integrated": "p_integrated"}
QUICK = {"patients": 60, "test": 60, "epochs": 1, "folds": 2, "scan_matrix": 128, "densenet_epochs": 1, "resamples": 10}
WORDS = {
    "oracle_image": "oracle, image",
    "oracle_clinical": "oracle, bedside",
    "oracle_integrated": "oracle, both",
    "image": "Image-to-HE",
    "radiomics": "markers of the reference outline, ridge",
    "predicted": "markers of the predicted outline, ridge",
    "densenet": "MONAI DenseNet121, 3D crop",
    "volume": "volume of the reference outline",
    "bat": "BAT",
    "brain": "BRAIN",
    "clinical": "Clinical-to-HE",
    "integrated_oracle": "Integrated-to-HE, given the oracle's image logit",
    "integrated_image": "Integrated-to-HE",
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
    return {name: SCORES[name].function(table) for name in ("bat", "brain")}


def model_scores(store: Path, patients: pd.DataFrame, scores: dict[str, pd.Series], plan: Plan) -> dict[str, pd.Series]:
    """Clinical-to-HE, and Integrated-to-HE with the oracle's image logit and with each image score."""
    offered = {"clinical": None, "integrated_oracle": logit(scores["oracle_image"])}
    offered |= {f"integrated_{name}": scores[name] for name in IMAGE_SCORES if name in scores}
    folds, bedside, found = patients["fold"].tolist(), plan.bedside, {}
    for name, score in offered.items():
        given = None if score is None else score.reindex(patients["patient_id"]).astype(float).tolist()
        settings = {"folds": folds, "score": given, **vars(bedside)}
        place = store / (plan.label if name in ("integrated_image", "integrated_predicted") else ".") / "scores"

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
    p = patients.loc[rows, ORACLES["integrated"]].to_numpy()
    expected, possible = expected_auc(own, p), expected_auc(oracle, p)
    row |= {"expected_auc": expected, "expected_skill": (expected - 0.5) / (possible - 0.5)}
    row["auc_development"] = development_auc(patients, score)
    if name == "clinical" or name.startswith("integrated_"):
        row["slope"] = calibrate(y, own).slope
    if name.startswith("integrated_"):
        given = scores["integrated_oracle"].reindex(patients["patient_id"]).to_numpy()[rows]
        share = skill(y, own, given)
        row |= {"of_given_oracle": share.skill, "of_given_low": share.low, "of_given_high": share.high}
        row["expected_of_given"] = (expected - 0.5) / (expected_auc(given, p) - 0.5)
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
