"""Readers of a finished study: its models, its results, its records. The study is made up, and small."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from hepred_lib.cli import summary
from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.study.deployment import load_frozen, predict_table
from hepred_lib.study.files import (
    file_sha256,
    read_figure_data,
    read_json,
    read_printed,
    read_table,
    write_figure_data,
    write_json,
)
from hepred_lib.study.report import write_report
from hepred_lib.study.run import read_record, require_consistent, write_record
from tests.fuzz.mutations import as_json, damaged_bytes, damaged_text, damaged_tree
from tests.study.small_run import write_run

MODEL_FILES = {
    "image": ("image_model.json",),
    "clinical": ("clinical_model.json", "imputation.json"),
    "integrated": ("integrated_model.json", "integrated_imputation.json"),
}
REPORTED = 0.01  # share of damaged results that a report is written of


class Models:
    """The model files of a study with a score from elsewhere, one of them damaged; a run has no more than it needs."""

    def __init__(self, folder: Path) -> None:
        self.whole: dict[Path, dict] = {}
        models = _models()
        for kind in MODEL_FILES:
            for name in dict.fromkeys((*MODEL_FILES["clinical"], *MODEL_FILES[kind])):
                write_json(folder / kind / name, models[name])
                if name in MODEL_FILES[kind]:
                    self.whole[folder / kind / name] = read_json(folder / kind / name)
        self.path = next(iter(self.whole))
        known = {"age": 70.0, "gcs": 12.0, "sex": "F", "dl_score": 0.5}
        self.patients = pd.DataFrame([known, {"age": 55.0}])

    def damage(self, chance: random.Random) -> list[Path]:
        """JSON with other values, keys, bytes; the one before is whole again."""
        self.path.write_bytes(as_json(self.whole[self.path]).encode())
        self.path = chance.choice(list(self.whole))
        self.path.write_bytes(damaged_tree(self.whole[self.path], chance, as_json))
        return [self.path]

    def read(self, chance: random.Random) -> None:
        """Loaded, and two patients predicted: nothing is no probability."""
        p = predict_table(load_frozen(self.path.parent), self.patients).to_numpy()
        assert ((p >= 0) & (p <= 1) | np.isnan(p)).all(), p


class Results:
    """Results, tables and figures' data of a study, one of them damaged; now and then a report of it."""

    slow_s = 10.0  # of a report

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder / "small", folder / "out"
        write_run(self.folder)
        _cut_tables(self.folder)
        drawn = {"x": np.arange(4.0), "titles": np.array(["a", "b"])}
        write_figure_data(self.folder / "figure_data", "roc", drawn)
        write_figure_data(self.folder / "figure_data", "flow", pd.DataFrame({"box": ["all", "test"], "n": [12, 4]}))
        names = ("results.json", "external.json", "provenance.json", "paper.json", "*_model.json")
        names = (*names, "*.csv", "tables/*.csv", "slices/*.csv", "figure_data/*", "records/*.json")
        self.whole = {path: path.read_bytes() for name in names for path in sorted(self.folder.glob(name))}
        self.path = self.folder / "results.json"

    def damage(self, chance: random.Random) -> list[Path]:
        """Results in every third file; the one before is whole again."""
        self.path.write_bytes(self.whole[self.path])
        results = self.folder / "results.json"
        self.path = results if chance.random() < 0.3 else chance.choice(list(self.whole))
        whole = self.whole[self.path]
        if self.path.suffix == ".json":
            content = damaged_tree(json.loads(whole), chance, as_json)
        else:
            content = (
                damaged_text(whole.decode(), chance) if self.path.suffix == ".csv" else damaged_bytes(whole, chance)
            )
        self.path.write_bytes(content)
        return [self.path, self.folder]

    def read(self, chance: random.Random) -> None:
        """As the commands read it; a report takes longer."""
        if self.path.suffix == ".json":
            summary(self.path) if self.path.name == "results.json" else read_json(self.path)
        elif self.path.parent.name == "figure_data":
            read_figure_data(self.path.parent)
        else:
            read_printed(self.path)
            read_table(self.path)
        if chance.random() < REPORTED:
            write_report(self.folder, self.out)
            shutil.rmtree(self.out)


class Records:
    """The records of a study's steps, one of them damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "recorded"
        (self.folder / "records").mkdir(parents=True, exist_ok=True)
        (self.folder / "cohort.csv").write_bytes(b"patient_id\nHE-1\n")
        files = {"cohort.csv": {"bytes": 16, "sha256": file_sha256(self.folder / "cohort.csv")}}
        self.steps = ("01_cohort", "05_clinical_to_he")
        for step in self.steps:
            record = {"notebook": step, "parameters": {"seed": 7}, "results": {"auc": 0.7}, "by_hand": ""}
            record |= {
                "identity": {"code": {"a.py": "0"}},
                "upstream": {},
                "files": files if step == "01_cohort" else {},
            }
            write_record(self.folder, step, record)
        self.whole = {step: read_json(self.folder / "records" / f"{step}.json") for step in self.steps}
        self.step = self.steps[0]

    def damage(self, chance: random.Random) -> list[Path]:
        """JSON with other values, keys, bytes."""
        (self.folder / "records" / f"{self.step}.json").write_bytes(as_json(self.whole[self.step]).encode())
        self.step = chance.choice(self.steps)
        path = self.folder / "records" / f"{self.step}.json"
        path.write_bytes(damaged_tree(self.whole[self.step], chance, as_json))
        return [path, self.folder / "records" / f"{self.steps[0]}.json", self.folder / "cohort.csv"]

    def read(self, chance: random.Random) -> None:
        """None where it is damaged; and the run refused."""
        read_record(self.folder, self.step)
        require_consistent(self.folder)


def _models() -> dict[str, dict]:
    """Model files of a development in forty patients, as the notebooks write them."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"age": np.repeat([50.0, 60, 70, 80], 10), "gcs": np.tile([6.0, 9, 12, 15, np.nan], 8)})
    x["sex"], x["dl_score"] = pd.Categorical(np.tile(["F", "M"], 20)), np.round(rng.normal(size=40), 2)
    y = (rng.random(40) < 1 / (1 + np.exp(0.3 * (x["gcs"].fillna(10) - 10) - x["dl_score"]))).astype(int)
    few, bedside = {"n_imputations": 2, "n_resamples": 5, "seed": 1}, ("age", "gcs", "sex")
    offered = {"image": ((), ("dl_score",)), "clinical": (bedside, ()), "integrated": (bedside, ("dl_score",))}
    files = {}
    for name, (candidates, added) in offered.items():
        model = develop(x[[*candidates, *added]], y, DevelopmentSettings(candidates=candidates, added=added, **few))
        described = {"model": name, "definition": "6ml_or_33pct", "threshold": 0.3, "logistic": model.to_json()}
        if name == "image":
            scales = {"image_source": "column", "scales": [{"fold": 0, "mean": 0.1, "sd": 1.2}], "preprocessing": {}}
            described |= {**scales, "imputation": model.imputer.to_json()}
        else:
            described["candidates"] = list(candidates)
            files["imputation.json" if name == "clinical" else f"{name}_imputation.json"] = model.imputer.to_json()
        files[f"{name}_model.json"] = described
    return files


def _cut_tables(folder: Path) -> None:
    """Leave twelve rows of each table, so that a damage costs little."""
    for path in [*folder.glob("*.csv"), *folder.glob("slices/*.csv")]:
        path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:13]), encoding="utf-8")
