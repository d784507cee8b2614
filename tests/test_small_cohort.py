"""A cohort too small for a test set: all develop, and every figure is that of the cross-fitted probabilities."""

from pathlib import Path

import pandas as pd
import pytest

from hepred_lib.stats.discrimination import auc
from hepred_lib.study.files import read_json, read_table
from ich_phantom.cohort import simulate_cohort
from tests.faults.harness import succeed

pytestmark = pytest.mark.book
STUDY = """study: small
manifest: cohort/manifest.csv
seed: 3
image_source: none
folds: 3
parameters:
  00_the_paper: {n_simulations: 20}
  01_cohort: {test_fraction: 0.0, followup_window_h: 40}
  05_clinical_to_he: {candidates: age gcs onset_to_ct_h fibrinogen_g_l, n_imputations: 2, n_resamples: 10}
  07_roc_calibration_figures: {n_resamples: 20}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, str]:
    """The run, and what it said at its end."""
    root = tmp_path_factory.mktemp("small")
    simulate_cohort(root / "cohort", n_patients=160, seed=5, with_scans=False)
    table = pd.read_csv(root / "cohort" / "manifest.csv", dtype={"patient_id": str})
    lost = table["he"].notna() & table["gcs"].lt(13) & (table.index % 2 == 0)
    table.loc[lost, ["he", "followup_volume_ml", "ct_to_followup_h"]] = None
    table["door_to_ct"] = 30.0 + table.index
    table.to_csv(root / "cohort" / "manifest.csv", index=False)
    (root / "studies").mkdir()
    (root / "studies" / "small.yaml").write_text(STUDY)
    return root / "runs" / "small", succeed("run", root / "studies" / "small.yaml", "--cores", 2).stdout


def test_results_are_those_of_cross_fitted_development_patients(study):
    run, said = study
    results, rows = read_json(run / "results.json"), read_table(run / "predictions.csv")
    assert (results["judged"], results["n"]["test"]) == ("development", 0)
    assert results["models"]["clinical"]["n"] == len(rows)
    assert results["models"]["clinical"]["auc"] == pytest.approx(auc(rows["he"].astype(int), rows["p_clinical"]))
    assert not rows["p_clinical"].equals(rows["p_clinical_apparent"])
    validated = results["cross_validation"]["clinical"]
    assert (validated["n_repeats"], results["cross_validation"].get("integrated")) == (10, None)
    table = read_table(run / "tables" / "cross_validation_clinical.csv").set_index("figure")["cross_validated"]
    assert table["AUC"] == pytest.approx(validated["auc"])
    assert "development patients (cross-fitted, none held out)" in said
    for figure in ("roc", "calibration", "decision_curve", "subgroups"):
        assert "none was held out" in (run / "figures" / f"{figure}.caption.md").read_text(encoding="utf-8")
    card = (run / "report" / "model_card.md").read_text(encoding="utf-8")
    assert "## Performance in development patients, cross-fitted" in card


def test_a_column_of_the_hospitals_own_is_kept_and_paths_are_not(study):
    cohort = read_table(study[0] / "cohort.csv")
    assert cohort["door_to_ct"].notna().all()
    assert not {"baseline_ct", "followup_ivh_mask"} & set(cohort)


def test_patients_without_an_outcome_are_weighted_for_and_bounded(study):
    run, _ = study
    cohort, excluded = read_table(run / "cohort.csv"), read_table(run / "excluded.csv")
    late = excluded["reason"].eq("follow-up CT outside the inclusion window")
    assert late.any()
    assert excluded.loc[late, "ct_to_followup_h"].gt(40).all()
    assert cohort["ct_to_followup_h"].max() <= 40
    sicker = cohort["gcs"].lt(13)
    assert cohort.loc[sicker, "outcome_weight"].mean() > 1.2 * cohort.loc[~sicker, "outcome_weight"].mean()
    weighted = read_table(run / "tables" / "weighted_performance.csv")
    assert weighted["weighted_auc"].notna().all()
    assert not weighted["weighted_auc"].equals(weighted["auc"])
    bounds = read_table(run / "tables" / "outcome_bounds.csv").set_index("if expanded")["frequency"]
    assert bounds["none of them"] < bounds["as known"] < bounds["all of them"]
