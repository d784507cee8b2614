"""The numbers of results.json: counted, never made up, null with a reason."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.errors import StudyError
from hepred_lib.study import summary

NAN = np.nan


def manifest_rows(**columns) -> pd.DataFrame:
    """Rows of a manifest; columns that are not given are empty, and ``he`` is as the manifest states it."""
    table = pd.DataFrame(columns)
    numbers = ("baseline_volume_ml", "followup_volume_ml", "baseline_ivh_ml", "ivh", "he", "external_score")
    texts = ("baseline_ct", "baseline_mask", "followup_ct", "location")
    empty = dict.fromkeys((*numbers, "ct_to_followup_h"), NAN) | dict.fromkeys(texts)
    return table.assign(**{name: value for name, value in empty.items() if name not in table})


def marked(**columns) -> pd.DataFrame:
    table = manifest_rows(**columns)
    return summary.mark_hemorrhages(table, table["he"])


def test_no_volume_and_no_mask_is_no_hemorrhage_where_others_have_one_and_tells_nothing_where_nobody_has():
    places = [None, None, None, "lobar"]
    table = marked(baseline_volume_ml=[12.0, NAN, 0.0, NAN], he=[1.0, NAN, NAN, NAN], location=places)
    assert table["has_hemorrhage"].tolist() == [1, 0, 0, 1]
    assert marked(he=[1.0, NAN])["has_hemorrhage"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "sign", [{"followup_volume_ml": 9.0}, {"ivh": 1.0}, {"baseline_ivh_ml": 2.0}, {"he": 0.0}, {"location": "lobar"}]
)
def test_whatever_tells_of_blood_makes_a_hemorrhage(sign):
    (name, value), empty = next(iter(sign.items())), None if "location" in sign else NAN
    table = marked(baseline_volume_ml=[12.0, NAN], **{name: [empty, value]})
    assert table["has_hemorrhage"].tolist() == [1, 1]


def test_two_volumes_of_zero_make_no_patient_without_expansion():
    table = manifest_rows(baseline_volume_ml=[0.0, 5.0], followup_volume_ml=[0.0, 5.0], he=[0.0, 0.0])
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
    reasons = ["no follow-up CT", "no follow-up volume and no mask", "no baseline volume and no mask"]
    reasons += ["no hemorrhage", ""]
    assert summary.outcome_reasons(table).tolist() == reasons
    assert summary.exclusions(table, image_source="none").tolist() == reasons
    assert summary.exclusions(table, image_source="column").tolist() == [*reasons[:4], "no DL score"]
    assert set(summary.exclusions(table, image_source="scans")) == {"no baseline CT"}


@pytest.mark.parametrize("split", [("development", "test"), ("test", "development")])
def test_hemorrhages_without_an_outcome_are_never_counted_as_blood_free(split):
    cohort = pd.DataFrame({"split": [*split, *split, *split], "he": [1.0, 0.0, NAN, NAN, NAN, 1.0]})
    cohort["has_hemorrhage"] = [1, 1, 1, 1, 0, 1]
    counted = summary.count_patients(cohort, cohort.iloc[:0])
    assert (counted["patients"], counted["without_outcome"], counted["blood_free"]) == (3, 2, 1)
    assert counted["development"] + counted["test"] == 3
    excluded = pd.DataFrame({"reason": ["no hemorrhage", "no follow-up CT"], "he": NAN, "has_hemorrhage": [0, 1]})
    more = summary.count_patients(cohort, excluded)
    assert [more[name] for name in ("excluded", "blood_free", "without_outcome")] == [2, 2, 3]


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
    everybody_develops = table[reasons.eq("")].assign(split="development")
    assert (
        "test" not in summary.flow_table(table, everybody_develops, table.assign(reason="")[:0], folds=3)["step"].array
    )


def test_slices_that_can_be_called_either_way_are_left_out_and_of_one_kind_alone_nothing_is_told():
    calls = pd.DataFrame({"patient_id": list("aabb"), "presence": [0.9, 0.1, 0.8, 0.2], "blood": [1.0, 0.0, NAN, 0.0]})
    how, notes = {"n_resamples": 50, "rng": np.random.default_rng(0)}, []
    found = summary.detection(calls, **how, notes=notes)
    assert (found["auc"], found["n_slices"]) == (1.0, 3)
    assert summary.detection(calls[1:2], **how, notes=notes)["auc"] is None
    assert "slices with and without blood are needed" in notes[-1]


def test_outlines_of_blood_free_patients_do_not_enter_the_dice_and_none_at_all_gives_nulls_with_a_reason():
    table = pd.DataFrame({"dice": [0.8, 0.9, 1.0], "hd95_mm": [3.0, 2.0, 0.0], "reference_ml": [5.0, 9.0, 0.0]})
    table, notes = table.assign(predicted_ml=[6.0, 9.0, 0.0]), []
    found = summary.segmentation(table, notes=notes)
    assert found["dice_median"] == pytest.approx(0.85)
    assert found["volume_bias_ml"] == pytest.approx(0.5)
    assert set(summary.segmentation(table.iloc[:0], notes=notes).values()) == {None}
    assert notes


def test_a_model_is_judged_on_the_patients_who_have_its_input_beside_calling_nobody_positive(rows):
    notes, gaps = [], rows.assign(p_image=rows["p_image"].where(rows.index >= 3))
    found = summary.evaluate_models(gaps, dict.fromkeys(summary.MODELS, 0.3), notes=notes)
    assert [(found[name]["n"], found[name]["n_events"]) for name in summary.MODELS] == [(37, 7), (40, 10), (40, 10)]
    assert found["image"] == summary.evaluate_models(rows.iloc[3:], {"image": 0.3}, notes=[])["image"]
    assert found["null"]["accuracy"] == 0.75
    assert found["integrated"]["auc"] > found["clinical"]["auc"]
    assert any("10 events" in note for note in notes)


def test_a_model_without_any_input_is_null_with_a_reason_and_without_outcomes_there_is_none(rows):
    notes = []
    assert summary.evaluate_models(rows.assign(p_image=np.nan), {"image": 0.3}, notes=notes)["image"] is None
    assert summary.evaluate_models(rows.iloc[:0], {"clinical": 0.3}, notes=notes) == {}
    assert notes == ["models.image: no patient with an outcome has its input.", "models: no outcomes."]


def test_two_models_are_compared_on_the_patients_who_have_both(rows):
    gaps = rows.assign(p_image=rows["p_image"].where(rows.index >= 3))
    pairs = {(pair["a"], pair["b"]): pair for pair in summary.compare(gaps, list(summary.MODELS), notes=[])}
    assert [pair["n"] for pair in pairs.values()] == [40, 37, 37]
    (alone,) = summary.compare(rows.iloc[3:], ["clinical", "image"], notes=[])
    whole = pairs[("clinical", "image")]
    assert whole | {"p_closed": 0} == alone | {"p_closed": 0}
    assert alone["p_closed"] == alone["p"]
    assert whole["p_closed"] >= whole["p"]


def test_models_without_a_common_patient_are_not_compared_and_a_note_says_so(rows):
    notes, late = [], rows.index >= 20
    apart = rows.assign(p_image=rows["p_image"].where(late), p_clinical=rows["p_clinical"].where(~late))
    assert summary.compare(apart, ["image", "clinical"], notes=notes) == []
    assert notes == ["comparisons.clinical-image: no patient has both probabilities."]


def test_a_bedside_score_is_judged_where_its_columns_are_complete():
    rows = pd.DataFrame({"he": [1, 0, 1, 0], "nihss": [12, 3, 15, NAN], "anticoagulant": [1, 0, 0, 0]})
    rows["glucose_mmol_l"] = 8.0
    found = summary.bedside_scores(rows, notes=[])
    assert (found["nag"]["n"], found["nag"]["auc"]) == (3, 1.0)
    assert found["brain"]["auc"] is None


def test_the_oracle_is_matched_by_patient_and_null_where_unknown(rows):
    truth = rows[["patient_id", "p_image", "p_clinical", "p_integrated"]].sample(frac=1, random_state=0)
    judged = summary.evaluate_models(rows, {"image": 0.3}, notes=[])
    found = summary.oracle_auc(rows[["patient_id", "he"]], truth, notes=[])
    assert found["image_auc"] == pytest.approx(judged["image"]["auc"])
    assert summary.oracle_auc(rows, None, notes=[]) is None
    assert summary.oracle_auc(rows, truth[1:], notes=[]) is None


def test_the_best_score_has_a_skill_of_one_a_coin_of_none_and_unnamed_patients_no_row(rows):
    truth = rows[["patient_id", "p_image", "p_clinical", "p_integrated"]].sample(frac=1, random_state=0)
    judged = rows.assign(p_clinical=0.3, score_deep=1 - rows["p_image"], score_both=np.nan)
    found = summary.expected_skill(judged, truth)["expected_skill"]
    assert found.to_dict() == pytest.approx({"image": 1, "clinical": 0, "integrated": 1, "image, deep": -1})
    assert summary.expected_skill(judged, None).empty
    assert summary.expected_skill(judged, truth[1:]).empty


def judged_patients(n=200):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"sex": rng.choice(["F", "M"], n), "age": rng.integers(40, 90, n).astype(float)})
    table["location"], table["ivh"] = rng.choice(["lobar", "thalamus"], n), rng.choice([0.0, 1.0], n)
    table["baseline_volume_ml"], table["site"] = rng.lognormal(3, 1, n), rng.choice(["A", "B"], n)
    table["gcs"] = np.where(rng.random(n) < 0.3, np.nan, 12)
    return table, (rng.random(n) < 0.4).astype(int), pd.Series(rng.uniform(0.1, 0.9, n))


def test_every_known_characteristic_splits_the_patients():
    table, *_ = judged_patients()
    splits = summary.subgroup_splits(table, table, ["gcs", "dl_score"])
    sizes = {name: groups.value_counts().to_dict() for name, groups in splits.items()}
    assert sizes["Age (years)"] == {"65 or older": table["age"].ge(65).sum(), "under 65": table["age"].lt(65).sum()}
    assert sizes["Predictors"]["some imputed"] == table["gcs"].isna().sum()
    curved = summary.subgroup_splits(table, table, ["spline(gcs)"])["Predictors"]
    assert curved.eq("some imputed").equals(table["gcs"].isna())
    assert set(sizes) == {
        *("Sex", "Age (years)", "Location", "Ventricular blood", "Site", "Baseline volume", "Predictors"),
    }


def test_a_single_site_complete_predictors_and_unknown_values_make_no_subgroup_and_tertiles_are_those_of_development():
    table, *_ = judged_patients()
    shifted = table.assign(baseline_volume_ml=table["baseline_volume_ml"] + 1000)
    splits = summary.subgroup_splits(table.assign(site="A"), shifted, ["age", "male"])
    assert {"Site", "Predictors", "Baseline volume"} & set(splits) == set()
    assert summary.subgroup_splits(table[["gcs", "age"]].assign(age=np.nan, site=None), table, []) == {}
    groups = summary.subgroup_splits(table, table.assign(baseline_volume_ml=np.linspace(1, 31, 200)), [])
    assert list(groups["Baseline volume"].cat.categories) == ["below 11 mL", "11 to 21 mL", "21 mL or more"]


def test_the_figure_begins_with_everybody_and_keeps_the_order_of_the_groups():
    table, y, p = judged_patients()
    table.loc[:4, "sex"] = None
    p.iloc[0] = 1.0  # moved inwards
    shown = summary.subgroup_table(pd.Series(y), p, summary.subgroup_splits(table, table, ["gcs"]), model="clinical")
    assert np.isfinite(shown.loc[0, "in_the_large"])
    assert shown.loc[0, ["split", "group", "n"]].tolist() == ["", "All test patients", 200]
    assert shown.loc[shown["split"] == "Sex", "group"].tolist() == ["female", "male", "missing"]
    assert shown.loc[shown["split"] == "Age (years)", "group"].tolist() == ["under 65", "65 or older"]
    assert shown.loc[shown["split"] == "Sex", "p_auc"].nunique() == 1
    assert shown.groupby("split")["n"].sum().eq(200).all()


def test_a_second_ct_after_the_window_gives_no_outcome():
    table = pd.DataFrame({"he": [1.0, 0.0, 1.0, np.nan], "ct_to_followup_h": [20.0, 80.0, np.nan, 90.0]})
    found = summary.within_window(table, 72).assign(has_hemorrhage=1, followup_volume_ml=30.0)
    assert found["he"].tolist()[:3] == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert found["outside_window"].tolist() == [0, 1, 0, 0]
    assert summary.outcome_reasons(found).tolist()[:3] == ["", "follow-up CT outside the inclusion window", ""]
    pd.testing.assert_series_equal(summary.within_window(table, 0)["he"], table["he"])
    with pytest.raises(StudyError, match="leaves no patient with an outcome: the earliest second CT came after 20 h"):
        summary.within_window(table[:2], 1)
    with pytest.raises(StudyError, match="must be hours"):
        summary.within_window(table, -1)


def test_few_without_an_outcome_leave_every_weight_at_1():
    table = pd.DataFrame({"he": [1.0, 0.0, np.nan], "has_hemorrhage": 1, "split": "development", "age": [60.0, 70, 80]})
    weights, told = summary.weigh_outcomes(table, table, ["age"], seed=0)
    assert weights.tolist() == pytest.approx([1.0, 1.0, np.nan], nan_ok=True)
    assert told == {"without_outcome": 1, "weighted": False, "largest": 1.0, "truncated": 0}


def test_test_patients_do_not_reach_the_weights_of_the_others():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(65, 10, 400), "has_hemorrhage": 1})
    table["he"] = np.where(rng.random(400) < 0.8, (rng.random(400) < 0.2) * 1.0, np.nan)
    table["split"] = np.where(np.arange(400) % 4 == 0, "test", "development")
    before, _ = summary.weigh_outcomes(table, table, ["age"], seed=0)
    other = table.assign(age=table["age"].where(table["split"].eq("development") | table["he"].isna(), 90.0))
    after, _ = summary.weigh_outcomes(other, other, ["age"], seed=0)
    own = table["split"].eq("development") & table["he"].notna()
    ratio = after[own] / before[own]
    assert ratio.std() < 0.02 * ratio.mean()  # but for the common scale and the cut


def test_the_tests_of_the_added_score_are_those_of_chapter_06_and_what_is_absent_has_a_reason():
    kept = {"statistic": 9.0, "df": 1, "p": 0.003, "p_cross_fitted": 0.03, "p_permuted": 0.02, "n_permutations": 99}
    records, notes = {"06_integrated_to_he": {"results": {"added_score": kept}}}, []
    assert summary.added_score(records, "scans", notes=notes) == kept
    assert not notes
    records["06_integrated_to_he"]["results"]["added_score"] = kept | {"p_permuted": None}
    summary.added_score(records, "scans", notes=notes)
    summary.added_score(records, "column", notes=notes)
    assert summary.added_score({}, "none", notes=notes) is None
    assert [note.partition(":")[0] for note in notes] == ["added_score.p_permuted"] * 2 + ["added_score"]


def test_sizes_are_those_of_a_model_that_is_calibrated_here():
    rng = np.random.default_rng(4)
    true = rng.normal(-0.4, 1, 400)
    he = (rng.random(400) < expit(true)).astype(float)
    found = {"n": 400, "n_events": int(he.sum()), "auc": 0.75, "sensitivity": 0.7, "specificity": 0.7, "threshold": 0.3}
    rows = [pd.DataFrame({"he": he, "p_clinical": expit(true + moved)}) for moved in (0.0, -1.5)]
    sizes = [summary.needed_here(table, "clinical", found) for table in rows]
    assert sizes[0] == pytest.approx(sizes[1])
    assert sizes[0]["needed"] > 0
