import numpy as np
import pandas as pd
import pytest

from hepred_lib.study import summary

NAN = np.nan


def patients(**columns) -> pd.DataFrame:
    """Rows of a manifest; columns that are not given are empty, and ``he`` is as the manifest states it."""
    table = pd.DataFrame(columns)
    names = ("baseline_volume_ml", "followup_volume_ml", "baseline_ivh_ml", "ivh", "he", "external_score", "ct_to_followup_h")
    texts = ("baseline_ct", "baseline_mask", "followup_ct", "location")
    return table.assign(
        **{name: NAN for name in names if name not in table}, **{t: None for t in texts if t not in table}
    )


def marked(**columns) -> pd.DataFrame:
    table = patients(**columns)
    return summary.mark_hemorrhages(table, table["he"])


def test_no_volume_and_no_mask_is_no_hemorrhage_where_others_have_one():
    table = marked(
        baseline_volume_ml=[12.0, NAN, 0.0, NAN], he=[1.0, NAN, NAN, NAN], location=[None, None, None, "lobar"]
    )
    assert table["has_hemorrhage"].tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    "sign", [{"followup_volume_ml": 9.0}, {"ivh": 1.0}, {"baseline_ivh_ml": 2.0}, {"he": 0.0}, {"location": "lobar"}]
)
def test_whatever_tells_of_blood_makes_a_hemorrhage(sign):
    (name, value), empty = next(iter(sign.items())), None if "location" in sign else NAN
    table = marked(baseline_volume_ml=[12.0, NAN], **{name: [empty, value]})
    assert table["has_hemorrhage"].tolist() == [1, 1]


def test_a_manifest_without_any_volume_or_mask_tells_nothing_and_all_are_hemorrhages():
    assert marked(he=[1.0, NAN])["has_hemorrhage"].tolist() == [1, 1]


def test_two_volumes_of_zero_make_no_patient_without_expansion():
    table = patients(baseline_volume_ml=[0.0, 5.0], followup_volume_ml=[0.0, 5.0], he=[0.0, 0.0])
    found = summary.mark_hemorrhages(table, pd.Series([NAN, NAN]))
    assert found["has_hemorrhage"].tolist() == [0, 1]
    assert found["he"].isna().tolist() == [True, False]


def test_reasons_are_facts_about_the_patient():
    table = marked(
        baseline_volume_ml=[9.0, 9.0, NAN, NAN, 9.0],
        followup_volume_ml=[NAN, NAN, 9.0, NAN, 9.0],
        ct_to_followup_h=[NAN, 20.0, 20.0, NAN, 20.0],
        he=[NAN, NAN, NAN, NAN, 0.0],
    )
    reasons = [
        "no follow-up CT",
        "no follow-up volume and no mask",
        "no baseline volume and no mask",
        "no hemorrhage",
        "",
    ]
    assert summary.outcome_reasons(table).tolist() == reasons
    assert summary.exclusions(table, image_source="none").tolist() == reasons
    assert summary.exclusions(table, image_source="column").tolist() == [*reasons[:4], "no DL score"]
    assert set(summary.exclusions(table, image_source="scans")) == {"no baseline CT"}


def test_with_scans_only_a_missing_first_scan_excludes():
    table = marked(baseline_volume_ml=[9.0, NAN], baseline_ct=["a.nii.gz", None], he=[NAN, NAN])
    assert summary.exclusions(table, image_source="scans").tolist() == ["", "no baseline CT"]


@pytest.mark.parametrize("split", [("development", "test"), ("test", "development")])
def test_hemorrhages_without_an_outcome_are_never_counted_as_blood_free(split):
    cohort = pd.DataFrame({"split": [*split, *split, *split], "he": [1.0, 0.0, NAN, NAN, NAN, 1.0]})
    cohort["has_hemorrhage"] = [1, 1, 1, 1, 0, 1]
    counted = summary.count_patients(cohort, cohort.iloc[:0])
    assert (counted["patients"], counted["without_outcome"], counted["blood_free"]) == (3, 2, 1)
    assert counted["development"] + counted["test"] == 3


def test_excluded_rows_are_counted_too():
    cohort = pd.DataFrame({"split": ["development", "test"], "he": [1.0, 0.0], "has_hemorrhage": 1})
    excluded = pd.DataFrame({"reason": ["no hemorrhage", "no follow-up CT"], "he": NAN, "has_hemorrhage": [0, 1]})
    counted = summary.count_patients(cohort, excluded)
    assert [counted[name] for name in ("excluded", "blood_free", "without_outcome")] == [2, 1, 1]


def test_the_boxes_of_the_flow_add_up():
    table = marked(
        baseline_volume_ml=[9.0, 9.0, 9.0, NAN, 9.0],
        baseline_ct=["1", "2", "3", "4", None],
        he=[1.0, 0.0, NAN, NAN, 1.0],
    ).assign(split=["development", "test", "development", "test", "development"])
    reasons = summary.exclusions(table, image_source="scans")
    flow = summary.flow_table(table, table[reasons.eq("")], table.assign(reason=reasons)[reasons.ne("")], folds=3)
    n = flow.set_index("step")["n"]
    assert n["assessed"] == n["excluded"] + n["blood_free"] + n["without_outcome"] + n["included"] == 5
    assert n["included"] == n["development"] + n["test"] == 2
    assert summary.missing_outcomes(table).to_numpy().tolist() == [["no follow-up CT", 1]]
