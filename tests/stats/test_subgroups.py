from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.discrimination import auc, auc_interval
from hepred_lib.stats.subgroups import interaction_test, internal_external, random_effects, subgroup_performance
from tests.stats.conftest import of_r


def sample(n=600, seed=0, shift=0.0, stretch=1.0):
    """True risks, seen through a model that is off by shift and stretch in the second group."""
    rng = np.random.default_rng(seed)
    risk = expit(rng.normal(-0.8, 1.2, n))
    group = np.where(np.arange(n) % 2, "F", "M")
    seen = np.where(group == "F", expit(shift + stretch * logit(risk)), risk)
    return (rng.random(n) < risk).astype(int), seen, group


def test_each_subgroup_has_its_own_figures_and_counts():
    y, p, group = sample()
    table = subgroup_performance(y, p, group).set_index("group")
    inside = group == "F"
    expected = auc_interval(y[inside], p[inside], method="logit")
    assert table.loc["F", ["auc", "auc_low", "auc_high"]].tolist() == [expected.auc, expected.low, expected.high]
    assert table.loc["F", "slope"] == calibrate(y[inside], p[inside]).slope
    assert table["events"].sum() == y.sum()
    assert table["n"].sum() == 600


def test_nothing_is_claimed_below_ten_events_nor_of_patients_without_a_subgroup_nor_of_one_alone():
    y, p, group = sample()
    group = np.where((np.arange(600) < 20) & (group == "F"), "lobar", group)
    table = subgroup_performance(y, p, np.where(np.arange(600) >= 500, None, group)).set_index("group")
    assert table.loc[["lobar", "missing"], "n"].tolist() == [10, 100]
    assert table.loc[["lobar", "missing"], "auc"].isna().all()
    counts = table.loc["lobar", "events"], 10 - table.loc["lobar", "events"]
    assert table.loc["lobar", "note"] == "10 events and as many others are needed, got {} and {}".format(*counts)
    alone = interaction_test(y, p, ["all"] * 600)
    assert alone["p"].isna().all()
    assert alone["note"].str.contains("two subgroups").all()
    with pytest.raises(ValueError, match="y and group must have one length"):
        subgroup_performance([0, 1], [0.1, 0.5], ["a"])


def test_the_aucs_of_two_groups_are_compared_as_proc_compares_unpaired_curves():
    table, expected = of_r("roc.csv"), of_r("roc.json")["unpaired_volume"]
    score = table["volume"] / (1 + table["volume"])  # any rising function of it
    figures = subgroup_performance(table["y"], score, table["site"])["auc"]
    assert figures[0] - figures[1] == pytest.approx(expected["difference"], abs=1e-12)
    found = interaction_test(table["y"], score, table["site"]).loc["auc"]
    assert (found["statistic"], found["df"]) == pytest.approx((expected["z"] ** 2, 1), abs=1e-10)


def test_a_miscalibrated_subgroup_is_found_by_the_interaction():
    assert interaction_test(*sample(2000, shift=1.0)).loc["in_the_large", "p"] < 0.001
    assert interaction_test(*sample(2000, stretch=2.0)).loc["slope", "p"] < 0.001


def test_each_site_is_judged_by_the_others_and_the_mean_is_that_of_random_effects():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.normal(size=600), "b": rng.normal(size=600)})
    y = (rng.random(600) < expit(x["a"] - 1)).astype(int)
    site = pd.Series(np.array(["A", "B", "C", "D"])[np.arange(600) % 4]).where(np.arange(600) % 4 < 3)
    settings = DevelopmentSettings(("a", "b"), n_imputations=1, n_resamples=5)
    found = internal_external(x, y, site, settings).set_index("group")
    assert list(found.index) == ["A", "B", "C", "not known", "all sites", "a further site"]
    own = site.eq("B").to_numpy()
    seed = int(np.random.SeedSequence([settings.seed, 1]).generate_state(1)[0])
    model = develop(x[~own], y[~own], replace(settings, seed=seed))
    assert found.loc["B", "auc"] == pytest.approx(auc(y[own], model.predict(x[own])))
    sites = found.iloc[:-2].astype({"auc": float, "auc_low": float, "auc_high": float})
    spread = ((logit(sites["auc_high"]) - logit(sites["auc_low"])) / (2 * 1.959964)) ** 2
    mean = random_effects(logit(sites["auc"]), spread)
    assert found.loc["all sites", ["auc", "auc_tau"]].tolist() == pytest.approx([expit(mean["estimate"]), mean["tau"]])
    ahead = expit([mean["prediction_low"], mean["prediction_high"]])
    assert found.loc["a further site", ["auc_low", "auc_high"]].tolist() == pytest.approx(ahead)
    assert internal_external(x, y, site.fillna("B").replace("C", "B"), settings).empty, "two have no spread"


def test_sites_where_nothing_is_selected_have_a_note_in_place_of_a_mean():
    x, y = pd.DataFrame({"a": np.random.default_rng(0).normal(size=300)}), (np.arange(300) % 3 == 0).astype(int)
    settings = DevelopmentSettings(("a",), alpha=1e-9, n_imputations=1, n_resamples=1)
    found = internal_external(x, y, pd.Series(np.arange(300) // 100), settings).set_index("group").loc["all sites"]
    assert np.isnan([found["auc"], found["slope_tau"]]).all()
    assert np.isfinite(found["in_the_large"])
    assert found["note"] == "AUC: no interval at 3 of 3 sites; slope: no interval at 3 of 3 sites"
