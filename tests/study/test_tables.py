"""Tables and their numbers as text."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.effects import multivariable_odds_ratios, univariable_odds_ratios
from hepred_lib.stats.published import AUCS, PERCENTAGES
from hepred_lib.study import tables
from hepred_lib.study.tables import p_value, save_table, with_interval


def test_an_estimate_without_a_known_limit_stands_alone_and_an_endless_interval_says_so():
    assert with_interval(0.5, [float("nan"), 0.7]) == "0.50"
    assert with_interval(float("inf"), [2.0, float("inf")]) == "infinite (2.00-infinite)"
    assert [p_value(p) for p in (0.0494, 0.0011, 0.0009)] == ["0.049", "0.001", "<0.001"]


def test_a_number_without_limits_has_no_negative_zero_and_is_written_as_one_with_limits():
    numbers = [-0.001, -0.0, -0.25, np.inf, -np.inf, 12.0, 1234567.5]
    shown = tables.as_printed(pd.DataFrame({"z": numbers}))["z"].tolist()
    assert shown == ["0.00", "0", "-0.25", "infinite", "-infinite", "12", with_interval(1234567.5, None)]


@pytest.fixture
def table():
    table = pd.DataFrame({"group": ["female", None], "n": [47, 60], "auc": [0.8123456, np.nan]})
    return table.assign(auc_low=[0.7, np.nan], auc_high=[0.9, np.nan], selected=[True, False], p_auc=[0.0004, np.nan])


def test_the_csv_keeps_every_digit_and_the_page_those_that_matter(table, tmp_path):
    shown = save_table(tmp_path, "judged", table)
    assert pd.read_csv(tmp_path / "tables" / "judged.csv")["auc"][0] == 0.8123456
    assert shown.to_numpy().tolist() == [
        ["female", "47", "0.81 (0.70-0.90)", "yes", "<0.001"],
        ["", "60", "not estimable", "no", "not estimable"],
    ]
    assert list(shown) == ["Group", "n", "AUC", "Selected", "p, AUC"]


def test_the_spread_between_sites_stands_in_the_row_of_all_alone(tmp_path):
    rows = {"group": ["A", "all sites", "a further site"], "n": [90, 180, np.nan], "auc": [np.nan, 0.7, 0.7]}
    rows |= {"auc_low": [np.nan, 0.6, 0.5], "auc_high": [np.nan, 0.8, 0.9], "auc_tau": [np.nan, 0.2, np.nan]}
    shown = save_table(tmp_path, "internal_external", pd.DataFrame(rows)).to_numpy().tolist()
    assert shown[0] == ["A", "90", "–", ""]
    assert shown[1] == ["all sites", "180", "0.70 (0.60-0.80)", "0.20"]
    assert shown[2] == ["a further site", "–", "0.70 (0.50-0.90)", ""]


def test_a_table_without_rows_is_written_with_its_heading_and_says_so(table, tmp_path):
    shown = save_table(tmp_path, "empty", table.iloc[:0])
    assert shown.to_numpy().tolist() == [["nothing to tabulate in this study"]]
    assert (tmp_path / "tables" / "empty.csv").read_text(encoding="utf-8").startswith("group,n,auc")


def judged(auc=0.8, auc_ci=(0.7, 0.9)):
    rates = {rate: 0.75 for rate in ("accuracy", "sensitivity", "specificity")}
    limits = {f"{rate}_ci": [0.6, 0.85] for rate in rates}
    return rates | limits | {"auc": auc, "auc_ci": list(auc_ci) if auc_ci else None}


def test_the_publication_stands_beside_ours_figure_by_figure():
    table = tables.paper_comparison({name: judged() for name in AUCS}, n=60, events=12, simulated=True)
    rows = table.set_index(["model", "figure"])
    for name, percentages in PERCENTAGES.items():
        assert rows.loc[name, "published"].tolist() == [*percentages, AUCS[name]]
    assert rows.loc[("clinical", "sensitivity"), ["ours", "ours_low", "ours_high"]].tolist() == [75, 60, 85]
    assert rows.loc[("image", "auc"), "ours"] == 0.8
    printed = tables.printed_comparison(table)
    assert printed.columns[2:].tolist() == ["Published (n = 107, 21 with HE)", "Simulated (n = 60, 12 with HE)"]
    assert printed.iloc[0, 2] == "67.3 (57.5-76.0)"
    assert (table["published_low"] < table["published"]).all()
    assert (table["published"] < table["published_high"]).all()


def test_a_study_without_images_stands_beside_the_clinical_model_alone():
    table = tables.paper_comparison({"clinical": judged(auc=None, auc_ci=None)}, n=60, events=0, simulated=False)
    assert table["model"].unique().tolist() == ["clinical"]
    printed = tables.printed_comparison(table)
    assert printed.columns[2:].tolist() == ["Published (n = 107, 21 with HE)", "This study (n = 60, 0 with HE)"]
    assert printed.iloc[-1].tolist()[1::2] == ["AUC", "not estimable"]


def test_comparisons_have_their_limits_in_columns():
    pair = {"a": "integrated", "b": "clinical", "data": "test", "test": "delong"}
    known, unknown = {"difference": 0.1, "ci": [-0.1, 0.3], "p": 0.2}, {"difference": None, "ci": None, "p": None}
    table = tables.comparison_table([pair | known, pair | unknown])
    assert table.iloc[0][["difference", "low", "high", "p"]].tolist() == [0.1, -0.1, 0.3, 0.2]
    assert np.isnan(table.iloc[1][["difference", "low", "high", "p"]].astype(float)).all()
    assert tables.as_printed(table)["difference"].tolist() == ["0.10 (-0.10 to 0.30)", "not estimable"]
    assert tables.comparison_table([]).empty


def test_bedside_scores_have_their_words_and_gaps():
    unknown = {"auc": None, "auc_ci": None, "n": 0}
    found = {"nine_point": {"auc": 0.7, "auc_ci": [0.6, 0.8], "n": 50}, "bat": unknown}
    table = tables.bedside_table(found)
    assert table["score"].tolist() == ["nine-point", "BAT"]
    assert tables.as_printed(table)["auc"].tolist() == ["0.70 (0.60-0.80)", "not estimable"]


def small_model(**settings):
    rng = np.random.default_rng(1)
    x = pd.DataFrame({"sbp_mmhg": rng.normal(165, 25, 200), "anticoagulant": (rng.random(200) < 0.3).astype(float)})
    x["location"], x["ldh_u_l"] = pd.Categorical(rng.choice(["lobar", "thalamus"], 200)), x["sbp_mmhg"] - 100
    y = (rng.random(200) < 1 / (1 + np.exp(1 - 0.02 * (x["sbp_mmhg"] - 165)))).astype(int)
    names = ("sbp_mmhg", "anticoagulant", "location", *settings.pop("own", ()))
    model = develop(
        x[list(names)], y, DevelopmentSettings(names, n_resamples=3, n_imputations=2, alpha=1e-12, **settings)
    )
    x = x[list(names)]
    return model, tables.odds_ratios_beside(univariable_odds_ratios(x, y), multivariable_odds_ratios(model, x, y))


def test_what_was_chosen_stands_in_the_model_and_in_its_formula_with_its_words_and_shrunk_coefficients():
    model, both = small_model(forced=("sbp_mmhg", "location"))
    assert both["label"].tolist() == ["Systolic pressure, per 10 mmHg", "Anticoagulant", "Location: thalamus"]
    assert both["wald"].notna().tolist() == [True, False, True]
    assert both.loc[0, "wald"] == pytest.approx(np.exp(10 * model.unshrunk_coefficients[0]))
    assert both["univariable"].notna().all()
    printed = tables.odds_ratios_page(both)
    assert printed.loc[0, "profile"].count("-") == 1
    assert printed.loc[1, ["wald", "p_wald", "profile"]].tolist() == ["–"] * 3
    formula, (slope, place) = tables.model_formula(model), model.coefficients
    assert rf"{'+' if slope >= 0 else '-'} {abs(slope):.4g}\;\mathrm{{Systolic\ pressure}}" in formula
    assert rf"{abs(place):.4g}\;\mathrm{{Location:\ thalamus}}" in formula
    table = tables.coefficient_table(model)
    assert table["term"].tolist() == ["Intercept", "Systolic pressure", "Location: thalamus"]
    assert table["in the formula"].tolist()[1:] == [f"{slope:.4f}", f"{place:.4f}"]


def test_without_a_chosen_candidate_the_model_columns_are_empty():
    model, both = small_model()
    assert both[["wald", "profile_low"]].isna().all(axis=None)
    assert tables.model_formula(model) == rf"$\mathrm{{logit}}\,p = {model.intercept:.4g}$"
    assert tables.odds_ratio_table(model, "clinical").empty
    assert tables.coefficient_table(model)["term"].tolist() == ["Intercept"]


def test_the_terms_of_a_formula_say_what_they_are_counted_in():
    model, _ = small_model(forced=("anticoagulant", "ldh_u_l"), own=("ldh_u_l",))
    assert tables.units(model) == {"anticoagulant": "1 if present, else 0", "ldh_u_l": "per unit"}
    assert tables.coefficient_table(model)["counted"].tolist() == ["", "1 if present, else 0", "per unit"]


def test_tables_of_pairs_are_stacked_under_their_names():
    part = pd.DataFrame({"rate": ["accuracy"], "difference": [0.1]})
    table = tables.stacked({("integrated", "clinical"): part, ("clinical", "image"): part})
    assert table[["first", "second"]].to_numpy().tolist() == [["integrated", "clinical"], ["clinical", "image"]]
    assert table["difference"].tolist() == [0.1, 0.1]
    assert tables.stacked({}).empty


def test_complete_cases_are_printed_with_the_predictors_words():
    table = pd.DataFrame({"name": ["sbp_mmhg"], "step": [10.0], "n": [90], "events": [20]})
    for kind, value in (("imputed", 1.2), ("complete", 1.3)):
        table = table.assign(**{kind: value, f"{kind}_low": value - 0.1, f"{kind}_high": value + 0.1})
    printed = tables.complete_cases_page(table)
    assert printed.to_numpy().tolist() == [["Systolic pressure, per 10 mmHg", "1.20 (1.10-1.30)", "1.30 (1.20-1.40)"]]


def test_the_step_of_a_spline_has_its_unit():
    curves = {"spline(onset_to_ct_h)": (1.2, 4.0, 12.38), "spline(gcs)": (6.0, 10.0, 14.0)}
    words = [tables._step_words(name, 1.0, curves) for name in curves]
    assert words == ["Onset to CT (spline), 12.4 against 1.2 h", "GCS (spline), 14 against 6"]


def counted(events, n, ratio, limits):
    return {"tp": events - 1, "fn": 1, "fp": 2, "tn": n - events - 2, "auc": 0.8, "auc_ci": [0.7, 0.9]} | {
        "observed_expected": ratio, "observed_expected_ci": limits,
    }  # fmt: skip


def test_the_table_of_what_holds_has_the_study_the_new_patients_and_the_update():
    study, here = {"clinical": counted(10, 50, 1.0, [0.6, 1.6])}, {"clinical": counted(16, 40, 2.0, [1.2, 2.6])}
    crossed = counted(16, 40, 1.1, [0.8, 1.6])
    table = tables.transport_table(
        study, here, {"clinical": {"update": {"method": "intercept"}, "cross_validated": crossed}}
    )
    assert table["place"].tolist() == ["study", "here", "updated"]
    assert table["predicted"].tolist() == pytest.approx([0.2, 0.2, 0.4 / 1.1])
    words = tables.transport_words(table)
    assert "**more patients expanded than predicted** (40 % observed, 20 % predicted; ratio 2.00 (1.20-2.60))" in words
    assert "chooses a new intercept: cross-validated, the ratio becomes 1.10 (0.80-1.60)" in words


@pytest.mark.parametrize(
    ("limits", "verdict"), [([0.4, 0.9], "fewer"), ([0.6, 1.6], "fits as far as"), (None, "cannot be judged")]
)
def test_the_verdict_follows_the_interval_of_observed_over_expected(limits, verdict):
    table = tables.transport_table({}, {"clinical": counted(8, 40, 1.0, limits)}, {})
    assert verdict in tables.transport_words(table)
    assert "No update could be fitted" in tables.transport_words(table)


def test_without_a_judged_model_the_sentence_says_so():
    assert "No model could be judged" in tables.transport_words(tables.transport_table({}, {}, {}))
