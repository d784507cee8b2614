"""A finished study in small: every file that the report reads, with forty test patients and made-up numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.figures.style import new_figure, png
from hepred_lib.study import summary
from hepred_lib.study.definition import NOTEBOOKS, notebook_defaults
from hepred_lib.study.files import read_json, write_bytes, write_json, write_table

PICTURE = png(new_figure(84, 60), dpi=50)
FIGURES = ("flow", "montage", "quality", "roc", "calibration", "decision_curve", "cohort", "truth")
LOGISTIC = {
    "definition": "p = 1 / (1 + exp(-(intercept + sum of coefficient x value)))",
    "intercept": -1.5,
    "coefficients": {"gcs": -0.2},
    "shrinkage": 0.8,
    "path": ["gcs"],
    "settings": {"alpha": 0.05, "n_imputations": 5, "n_resamples": 50, "added": ["dl_score"]},
}
OPTIMISM = {"auc_apparent": 0.8, "auc_corrected": 0.75, "n_resamples": 50}
RESULTS_OF = {
    "00_the_paper": {"n_test": 107},
    "01_cohort": {
        "n_development": 80,
        "he_development": 20,
        "supported_parameters": 2,
        "weighting": {"without_outcome": 3, "weighted": False},
    },
    "02_preprocessing": {"n_flagged": 1},
    "03_multitask_training_fold0": {"n_training": 44, "device": "cpu"},
}
VERDICTS = {"yes", "probably yes", "probably no", "no"}  # of PROBAST+AI


def made_cohort() -> pd.DataFrame:
    """A hundred and twenty patients with an outcome and ten without blood."""
    rng = np.random.default_rng(0)
    n = 130
    table = pd.DataFrame({"patient_id": [f"P{i:03d}" for i in range(n)], "site": "A"})
    table["split"] = np.where(np.arange(n) % 3 == 2, "test", "development")
    table["fold"] = np.where(table["split"] == "test", -1, np.arange(n) % 2)
    table["he"] = np.where(np.arange(n) < 120, (np.arange(n) % 4 == 0) * 1.0, np.nan)
    table["has_hemorrhage"] = (np.arange(n) < 120).astype(int)
    table["age"], table["sex"] = rng.integers(40, 90, n), np.where(rng.random(n) < 0.6, "M", "F")
    table["gcs"], table["inr"] = rng.integers(6, 16, n), np.where(rng.random(n) < 0.1, np.nan, 1.1)
    table["location"] = rng.choice(["lobar", "thalamus", "basal_ganglia"], n)
    table["ct_to_followup_h"], table["baseline_volume_ml"] = rng.uniform(12, 36, n), rng.lognormal(2.4, 1, n)
    return table.assign(followup_volume_ml=table["baseline_volume_ml"] + 1)


def made_results(cohort: pd.DataFrame) -> dict:
    """``results.json`` of that cohort with noisy models."""
    rng, notes = np.random.default_rng(1), []
    rows = cohort[cohort["split"].eq("test") & cohort["he"].notna()].reset_index(drop=True)
    for name in summary.MODELS:
        rows[f"p_{name}"] = 1 / (1 + np.exp(1.2 - 1.2 * rows["he"] - rng.normal(0, 0.8, len(rows))))
    return {
        "study": "small",
        "image_source": "scans",
        "he_definition": "6ml_or_33pct",
        "auc_ci_method": "logit",
        "n": summary.count_patients(cohort, cohort.iloc[:0]),
        "detection": {"level": "slice", "auc": 0.99, "auc_ci": [0.98, 0.995], "n_slices": 400},
        "segmentation": {"dice_median": 0.9, "dice_iqr": [0.85, 0.93], "hd95_mm_median": 3.0},
        "models": summary.evaluate_models(rows, dict.fromkeys(summary.MODELS, 0.3), notes=notes),
        "scores": {"brain": {"auc": 0.7, "auc_ci": [0.5, 0.8], "n": 40}},
        "comparisons": summary.compare(rows, list(summary.MODELS), notes=notes),
        "optimism": {"clinical": OPTIMISM, "integrated": OPTIMISM},
        "oracle": {"image_auc": 0.8, "clinical_auc": 0.82, "integrated_auc": 0.88},
        "notes": notes,
    }


def write_run(folder: Path) -> Path:
    """Write every file of the study."""
    cohort = made_cohort()
    found = made_results(cohort)
    write_json(folder / "results.json", found)
    write_json(folder / "external.json", made_external(found))
    write_json(folder / "paper.json", {"auc": {"image": {"auc": 0.76, "low": 0.63, "high": 0.89}}})
    write_json(folder / "imputation.json", {"models": []})
    versions = {"hepred": "0.1.0", "commit": "", "python": "3.11.0", "torch": "2.11.0"}
    write_json(folder / "provenance.json", {"versions": versions, "device": ["cpu"], "manifest_sha256": "ab" * 32})
    for name in summary.MODELS:
        described = {"threshold": 0.3, "threshold_rule": "youden", "criterion": "lr", "logistic": LOGISTIC}
        described["scales"] = [{"fold": fold, "mean": 0.1, "sd": 1.2} for fold in (0, 1)]
        write_json(folder / f"{name}_model.json", described | {"candidates": ["age", "gcs", "inr"]})
    write_tables(folder, cohort)
    write_records(folder)
    for name in FIGURES:
        write_bytes(folder / "figures" / f"{name}.png", PICTURE)
    for fold in (0, 1):
        write_bytes(folder / "folds" / str(fold) / "network.safetensors", b"weights")
    return folder


def made_external(found: dict) -> dict:
    """``external.json``: the same models on patients of another hospital."""
    models = {name: found["models"][name] for name in summary.MODELS}
    n = {"patients": 40, "he": 10, "without_outcome": 0, "with_scan": 40}
    return {"manifest": "elsewhere.csv", "he_definition": "6ml_or_33pct", "n": n, "models": models}


def write_tables(folder: Path, cohort: pd.DataFrame) -> None:
    """The tables that notebooks leave."""
    write_table(folder / "cohort.csv", cohort)
    write_table(folder / "excluded.csv", pd.DataFrame(columns=["patient_id", "reason"]))
    quality = {"noise_hu": 4.0, "thickness_mm": 5.0, "has_mask": 1, "flags": ""}
    write_table(folder / "slices" / "quality.csv", cohort[["patient_id"]].assign(**quality))
    tables = {
        "table1": {"Variable": ["Age, years"], "Development": ["62 (52-71)"], "Test": ["63 (53-72)"]},
        "missing": {"predictor": ["inr", "age"], "missing": [0.1, 0.0]},
        "linearity": {"column": ["gcs"], "p": [0.4]},
        "optimism_clinical": {"figure": ["AUC"], "corrected": [0.75]},
        "performance": {"model": ["clinical"], "auc": ["0.75 (0.60-0.86)"]},
    }
    for name, columns in tables.items():
        write_table(folder / "tables" / f"{name}.csv", pd.DataFrame(columns))
    judged = {"split": "sex", "group": ["F", "M"], "n": [15, 25], "events": [3, 11], "auc": [np.nan, 0.74]}
    limits = {
        "auc_low": [np.nan, 0.6],
        "auc_high": [np.nan, 0.85],
        "note": ["10 events are needed", ""],
        "p_auc": np.nan,
    }
    write_table(folder / "tables" / "subgroups.csv", pd.DataFrame(judged | limits))


def write_records(folder: Path) -> None:
    """What each notebook recorded, with its own default parameters, and its executed copy."""
    for name in NOTEBOOKS:
        several = name.startswith("03")
        for executed in [f"{name}_fold0", f"{name}_fold1"] if several else [name]:
            found = RESULTS_OF.get(executed, {"n_training": 45, "device": "cpu"})
            record = {"notebook": name, "parameters": notebook_defaults(name), "results": found}
            if name == "01_cohort":
                record["parameters"]["folds"] = 2
            write_json(folder / "records" / f"{executed}.json", record)
            write_json(folder / "notebooks" / f"{executed}.ipynb", {"cells": [{"source": ["## Limits"]}]})


def make_real(folder: Path) -> Path:
    """The same study, as if its patients were real."""
    return change_json(folder / "records" / "01_cohort.json", lambda record: record["parameters"].update(truth=""))


def make_tables_only(folder: Path) -> Path:
    """The same study with a clinical model only."""
    for name in ("02", "03", "04", "06", "08"):
        for path in [*(folder / "notebooks").glob(f"{name}*"), *(folder / "records").glob(f"{name}*")]:
            path.unlink()
    for name in ("image_model.json", "integrated_model.json"):
        (folder / name).unlink()

    def change(content: dict) -> None:
        content |= {"image_source": "none", "comparisons": []}
        content["models"] |= {"image": None, "integrated": None}

    return change_json(make_column(folder) / "results.json", change)


def make_column(folder: Path) -> Path:
    """The same study with an image score from a column: three models, no scans."""

    def change(content: dict) -> None:
        content["image_source"] = "column"
        content["segmentation"] = dict.fromkeys(content["segmentation"])
        content["detection"] |= {"auc": None, "auc_ci": None}

    for name in ("external.json", "slices/quality.csv"):
        (folder / name).unlink()
    return change_json(folder / "results.json", change)


def change_json(path: Path, change: Callable[[dict], object]) -> Path:
    """Change a JSON file of a run; returns the run's folder."""
    content = read_json(path)
    change(content)
    write_json(path, content)
    return path.parents[1] if path.parent.name == "records" else path.parent
