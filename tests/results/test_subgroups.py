import numpy as np
import pandas as pd

from hepred_lib.study import summary


def patients(n=200, seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"sex": rng.choice(["F", "M"], n), "age": rng.integers(40, 90, n).astype(float)})
    table["location"], table["ivh"] = rng.choice(["lobar", "thalamus"], n), rng.choice([0.0, 1.0], n)
    table["baseline_volume_ml"], table["site"] = rng.lognormal(3, 1, n), rng.choice(["A", "B"], n)
    table["gcs"] = np.where(rng.random(n) < 0.3, np.nan, 12)
    return table, (rng.random(n) < 0.4).astype(int), pd.Series(rng.uniform(0.1, 0.9, n))


def test_every_known_characteristic_splits_the_patients():
    table, *_ = patients()
    splits = summary.subgroup_splits(table, table, ["gcs", "dl_score"])
    sizes = {name: groups.value_counts().to_dict() for name, groups in splits.items()}
    assert sizes["Age (years)"] == {"65 or older": table["age"].ge(65).sum(), "under 65": table["age"].lt(65).sum()}
    assert sizes["Predictors"]["some imputed"] == table["gcs"].isna().sum()
    assert set(sizes) == {
        *("Sex", "Age (years)", "Location", "Ventricular blood", "Site", "Baseline volume", "Predictors"),
    }


def test_a_single_site_and_complete_predictors_make_no_subgroup():
    table, *_ = patients()
    splits = summary.subgroup_splits(table.assign(site="A"), table, ["age", "male"])
    assert {"Site", "Predictors"} & set(splits) == set()


def test_unknown_columns_and_values_make_no_subgroup():
    table, *_ = patients()
    splits = summary.subgroup_splits(table[["gcs", "age"]].assign(age=np.nan, site=None), table, [])
    assert splits == {}


def test_the_volumes_tertiles_are_those_of_development():
    table, *_ = patients()
    shifted = table.assign(baseline_volume_ml=table["baseline_volume_ml"] + 1000)
    groups = summary.subgroup_splits(table, table.assign(baseline_volume_ml=np.linspace(1, 31, 200)), [])
    assert list(groups["Baseline volume"].cat.categories) == ["below 11 mL", "11 to 21 mL", "21 mL or more"]
    assert "Baseline volume" not in summary.subgroup_splits(table, shifted, [])


def test_the_figure_begins_with_everybody_and_keeps_the_order_of_the_groups():
    table, y, p = patients()
    table.loc[:4, "sex"] = None
    shown = summary.subgroup_table(pd.Series(y), p, summary.subgroup_splits(table, table, ["gcs"]), model="clinical")
    assert shown.loc[0, ["split", "group", "n"]].tolist() == ["", "All test patients", 200]
    assert shown.loc[shown["split"] == "Sex", "group"].tolist() == ["female", "male", "missing"]
    assert shown.loc[shown["split"] == "Age (years)", "group"].tolist() == ["under 65", "65 or older"]
    assert shown.loc[shown["split"] == "Sex", "p_auc"].nunique() == 1
    assert shown.groupby("split")["n"].sum().eq(200).all()


def test_certain_probabilities_are_moved_inwards():
    _, y, p = patients()
    p.iloc[0] = 1.0
    assert np.isfinite(summary.subgroup_table(pd.Series(y), p, {}, model="clinical").loc[0, "in_the_large"])
