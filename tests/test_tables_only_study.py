"""Studies without images or gaps, of one hospital: no broken sentence, no empty panel, nothing of absent models."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepred_lib.study.files import read_json, read_table
from hepred_lib.study.sweep import variant_files
from ich_phantom.cohort import simulate_cohort
from tests.faults.harness import succeed

pytestmark = pytest.mark.book
STUDY = """study: complete
manifest: cohort/manifest.csv
seed: 3
image_source: none
folds: 2
parameters:
  00_the_paper: {n_simulations: 20}
  05_clinical_to_he: {candidates: age gcs onset_to_ct_h, n_imputations: 2, n_resamples: 10}
  07_roc_calibration_figures: {n_resamples: 20}
vary: {parameters: {05_clinical_to_he: {alpha: [0.05, 1.0e-12]}}}
"""
# What a sentence looks like where a number or a word was missing.
BROKEN = re.compile(r"\bnan\b|\bNone\b|\binf\b|\(\)|\*\*\*\*|[;,:] ?\.|\.\.|  |\b0 of 0\b|: ;|; ;")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Finished studies of 300 simulated patients, all values known, from one hospital, clinical model alone."""
    root = tmp_path_factory.mktemp("complete")
    simulate_cohort(root / "cohort", n_patients=300, seed=1, with_scans=False)
    manifest = pd.read_csv(root / "cohort" / "manifest.csv")
    manifest = manifest[manifest["he"].notna()]
    known = {name: manifest[name].mode().iloc[0] for name in manifest if manifest[name].notna().any()}
    manifest.fillna(known).to_csv(root / "cohort" / "manifest.csv", index=False)
    sweep = root / "studies" / "complete.yaml"
    sweep.parent.mkdir()
    sweep.write_text(STUDY, encoding="utf-8")
    succeed("run", sweep, "--cores", 2)
    folders = (root / "runs" / path.stem for path in variant_files(sweep))
    return dict(zip(("variables_selected", "nothing_selected"), folders, strict=True))


@pytest.fixture(params=("variables_selected", "nothing_selected"))
def run(request, runs) -> Path:
    return runs[request.param]


def test_the_variants_are_what_they_are_called(runs):
    paths = {name: read_json(run / "clinical_model.json")["logistic"]["path"] for name, run in runs.items()}
    assert paths["variables_selected"]
    assert not paths["nothing_selected"]


def said(run: Path) -> list[str]:
    """Every generated sentence of the executed notebooks."""
    cells = [cell for path in run.glob("notebooks/*.ipynb") for cell in json.loads(path.read_text("utf-8"))["cells"]]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return ["".join(data["text/markdown"]) for data in outputs if "text/markdown" in data]


def test_no_sentence_is_broken(run):
    sentences = said(run)
    assert sentences
    assert not [sentence for sentence in sentences if BROKEN.search(sentence)]


def test_the_absent_models_are_in_no_figure_and_no_table(run):
    assert read_json(run / "results.json")["models"]["integrated"] is None
    assert not (run / "figures" / "reclassification.png").exists()
    for path in (run / "figure_data").glob("*.csv"):
        table = pd.read_csv(path)
        assert len(table), f"{path.name} would be an empty figure"
        assert not {"image", "integrated"} & set(table.get("model", pd.Series(dtype=str)))


def test_a_frozen_study_without_images_judges_its_clinical_model_elsewhere(runs, tmp_path):
    simulate_cohort(tmp_path, n_patients=40, seed=2, site="B", with_scans=False)
    succeed("external", runs["nothing_selected"], tmp_path / "manifest.csv", "--out", tmp_path / "out")
    found = read_json(tmp_path / "out" / "external.json")
    assert found["models"]["clinical"]["n"] == found["n"]["patients"] == 40
    assert found["n"]["blood_free"] == 4
    assert not found["models"].get("image")
    assert "models.image: the study has no such model." in found["notes"]


def test_every_printed_table_is_there_for_machines_and_for_the_page(run):
    printed = {path.stem for path in run.glob("tables/*.tex")}
    assert {"univariable_multivariable_clinical", "subgroups", "performance", "table1", "tripod_ai"} <= printed
    assert (run / "report" / "tables.docx").stat().st_size > 10_000
    assert {path.stem for path in run.glob("tables/*.csv")} >= printed


def test_complete_data_from_one_hospital_make_no_such_subgroups(run):
    assert not {"Site", "Predictors"} & set(pd.read_csv(run / "tables" / "subgroups.csv")["split"].dropna())


def test_the_nomogram_of_the_clinical_model_gives_its_probabilities(run):
    path, selected = run / "figure_data" / "nomogram.csv", read_json(run / "clinical_model.json")["logistic"]["path"]
    assert path.exists() == bool(selected)
    if not selected:
        return
    axes, cohort = pd.read_csv(path), read_table(run / "cohort.csv")
    total = np.zeros(len(cohort))
    for name, rows in axes[axes["kind"] == "number"].groupby("axis"):
        line = rows.sort_values("value")
        total += np.interp(cohort[name], line["value"], line["points"])
    scale = axes[axes["kind"] == "probability"].sort_values("points")
    p = read_table(run / "clinical.csv").set_index("patient_id").loc[cohort["patient_id"], "p_clinical_apparent"]
    assert np.abs(np.interp(total, scale["points"], scale["value"]) - p.to_numpy()).max() < 0.005
