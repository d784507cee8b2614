"""The committed manifest is the demo cohort's: the generator gives it again."""

import io

import pandas as pd

from hepred_lib.simulation.cohort import cohort_tables
from hepred_lib.study.definition import PROJECT, load_study

SCANS = ["baseline_ct", "baseline_mask", "baseline_ivh_mask"]


def test_the_generator_gives_the_committed_manifest_again():
    demo = load_study(PROJECT / "studies" / "demo.yaml")
    again, _ = cohort_tables(demo.simulate["patients"], demo.simulate["seed"])
    committed = pd.read_csv(PROJECT / demo.manifest)
    printed = pd.read_csv(io.StringIO(again.to_csv(index=False)))
    assert list(printed.columns) == list(committed.columns)
    pd.testing.assert_frame_equal(printed.drop(columns=SCANS), committed.drop(columns=SCANS))


def test_its_scans_lie_where_the_demo_study_simulates_them():
    committed = pd.read_csv(PROJECT / "data_manifest.csv")
    for column in SCANS[:2]:
        assert (committed[column] == "cohorts/demo/scans/" + committed["patient_id"] + f"_{column}.nii.gz").all()
