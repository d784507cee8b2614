"""Run the three studies of the frozen numbers with this checkout and keep their numbers in WORK/<study>/.

Example: python tests/frozen/make.py WORK [--only smoke|none|column] && python tests/frozen/compare.py FROZEN WORK

This folder holds the main figures of the studies `none` and `column` and can be FROZEN. Another version of numpy or
scipy may move them by more than 1e-9: a check of a change runs both commits on one machine.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parents[2]
TABLES = """study: {name}
manifest: cohort/manifest.csv
seed: 3
image_source: {name}
folds: 2
parameters:
  00_the_paper: {{n_simulations: 200}}
  05_clinical_to_he: {{n_imputations: 2, n_resamples: 10}}
  07_roc_calibration_figures: {{n_resamples: 50}}
"""
HOW_MADE = ("records", "study.json", "provenance.json")
SCORED = "  04_image_to_he: {n_resamples: 10}\n  06_integrated_to_he: {n_imputations: 2, n_resamples: 10}\n"


def hepred(*arguments: object) -> None:
    """One command of this checkout, in one thread and on one core."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "hepred_lib.cli", *map(str, arguments)], check=True, env=environment)


def simulated(cohort: Path, *options: object, score: bool) -> Path:
    """A simulated manifest without scans; ``dl_score`` is the true image logit plus noise that follows from the row."""
    hepred("simulate", cohort, *options, "--no-scans")
    manifest = cohort / "manifest.csv"
    if score:
        table = pd.read_csv(manifest, dtype={"patient_id": str})
        p = pd.read_csv(cohort / "truth.csv")["p_image"].to_numpy()
        noise = np.sin(12.9898 * np.arange(1, len(table) + 1))
        table["dl_score"] = np.round(np.nan_to_num(np.log(p / (1 - p)), nan=-3.0) + noise, 4)
        table.to_csv(manifest, index=False)
    return manifest


def run(name: str, root: Path) -> None:
    """One study, and its frozen models on patients of site B."""
    (root / "studies").mkdir(parents=True)
    study = root / "studies" / f"{name}.yaml"
    if name == "smoke":
        shutil.copy(PROJECT / "studies" / "smoke.yaml", study)
    else:
        simulated(root / "cohort", "--patients", 300, "--seed", 5, score=name == "column")
        study.write_text(TABLES.format(name=name) + (SCORED if name == "column" else ""), encoding="utf-8")
    hepred("run", study, "--cores", 1)
    if name != "smoke":  # which has its external patients in the study file
        other = simulated(root / "other", "--patients", 60, "--seed", 2, "--site", "B", score=name == "column")
        hepred("external", root / "runs" / name, other, "--out", root / "external")


def keep(folder: Path, kept: Path) -> None:
    """Copy every table and JSON file below a study's root, the run's own to the top, apart from how it was made."""
    for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.csv")]):
        inside = path.relative_to(folder)
        if not any(part in HOW_MADE or part.startswith(".") for part in inside.parts):
            target = kept / inside.as_posix().removeprefix(f"runs/{folder.name}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", choices=("smoke", "none", "column"), action="append")
    given = parser.parse_args()
    for name in given.only or ("none", "column", "smoke"):
        root = given.work.resolve() / "build" / name
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(given.work.resolve() / name, ignore_errors=True)
        run(name, root)
        keep(root, given.work.resolve() / name)
