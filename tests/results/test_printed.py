import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.effects import multivariable_odds_ratios, univariable_odds_ratios
from hepred_lib.stats.published import AUCS, PERCENTAGES
from hepred_lib.study import summary, tables


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
    assert set(table["ours_are"]) == {"simulated"}
    assert (table["published_low"] < table["published"]).all()
    assert (table["published"] < table["published_high"]).all()


def test_a_study_without_images_stands_beside_the_clinical_model_alone():
    table = tables.paper_comparison({"clinical": judged(auc=None, auc_ci=None)}, n=60, events=0, simulated=False)
    assert table["model"].unique().tolist() == ["clinical"]
    printed = tables.printed_comparison(table)
    assert printed.columns[2:].tolist() == ["Published (n = 107, 21 with HE)", "This study (n = 60, 0 with HE)"]
    assert printed.iloc[-1].tolist()[1::2] == ["AUC", "not estimable"]


def test_simulated_figures_are_called_simulated_on_the_page():
    table = tables.paper_comparison({"image": judged()}, n=60, events=12, simulated=True)
    printed = tables.printed_comparison(table)
    assert printed.columns[3] == "Simulated (n = 60, 12 with HE)"
    assert printed["Published (n = 107, 21 with HE)"].tolist()[0] == "67.3 (57.5-76.0)"


def test_comparisons_have_their_limits_in_columns():
    pair = {"a": "integrated", "b": "clinical", "data": "test", "test": "delong"}
    known, unknown = {"difference": 0.1, "ci": [-0.1, 0.3], "p": 0.2}, {"difference": None, "ci": None, "p": None}
    table = tables.comparison_table([pair | known, pair | unknown])
    assert table.iloc[0][["difference", "low", "high", "p"]].tolist() == [0.1, -0.1, 0.3, 0.2]
    assert np.isnan(table.iloc[1][["difference", "low", "high", "p"]].astype(float)).all()
    assert tables.comparison_table([]).empty


def test_bedside_scores_have_their_words_and_gaps():
    found = {
        "nine_point": {"auc": 0.7, "auc_ci": [0.6, 0.8], "n": 50},
        "bat": {"auc": None, "auc_ci": None, "n": 0},
    }
    table = tables.bedside_table(found)
    assert table["score"].tolist() == ["nine-point", "BAT"]
    assert tables.as_printed(table)["auc"].tolist() == ["0.70 (0.60-0.80)", "not estimable"]


def small_model(**settings):
    rng = np.random.default_rng(1)
    x = pd.DataFrame({"sbp_mmhg": rng.normal(165, 25, 200), "anticoagulant": (rng.random(200) < 0.3).astype(float)})
    x["location"] = pd.Categorical(rng.choice(["lobar", "thalamus"], 200))
    y = (rng.random(200) < 1 / (1 + np.exp(1 - 0.02 * (x["sbp_mmhg"] - 165)))).astype(int)
    return x, y, develop(x, y, DevelopmentSettings(tuple(x), n_resamples=3, n_imputations=2, **settings))


def test_every_candidate_stands_alone_and_what_was_chosen_in_the_model():
    x, y, model = small_model(forced=("sbp_mmhg",), alpha=1e-9)
    both = tables.odds_ratios_beside(univariable_odds_ratios(x, y), multivariable_odds_ratios(model, x, y))
    assert both["label"].tolist() == ["Systolic pressure, per 10 mmHg", "Anticoagulant", "Location: thalamus"]
    assert both["wald"].notna().tolist() == [True, False, False]
    assert both.loc[0, "wald"] == pytest.approx(np.exp(10 * model.unshrunk_coefficients[0]))
    assert both["univariable"].notna().all()
    printed = tables.odds_ratios_page(both)
    assert printed.loc[0, "profile"].startswith(printed.loc[0, "wald"][:4])
    assert printed.loc[1, ["wald", "p_wald", "profile"]].tolist() == ["–"] * 3


def test_without_a_chosen_candidate_the_model_columns_are_empty():
    x, y, model = small_model(alpha=1e-12)
    both = tables.odds_ratios_beside(univariable_odds_ratios(x, y), multivariable_odds_ratios(model, x, y))
    assert both[["wald", "profile_low"]].isna().all(axis=None)
    assert tables.model_formula(model) == rf"$\mathrm{{logit}}\,p = {model.intercept:.4g}$"
    assert tables.odds_ratio_table(model, "clinical").empty


def test_the_formula_holds_the_shrunk_coefficients():
    _, _, model = small_model(forced=("sbp_mmhg", "location"), alpha=1e-9)
    formula = tables.model_formula(model)
    slope, place = model.coefficients
    assert rf"{'+' if slope >= 0 else '-'} {abs(slope):.4g}\;\mathrm{{Systolic\ pressure}}" in formula
    assert rf"{abs(place):.4g}\;\mathrm{{Location:\ thalamus}}" in formula


def test_a_formula_says_what_its_values_are_counted_in():
    _, _, model = small_model(forced=("sbp_mmhg", "anticoagulant"), alpha=1e-9)
    words = tables.model_words(model)
    assert "with Systolic pressure per mmHg; Anticoagulant 1 if present, else 0. Where a value is missing" in words
    assert tables.model_words(small_model(alpha=1e-12)[2]).endswith("$: everybody has the prevalence.")


def test_penalties_are_read_with_their_differences():
    figures = {
        "penalty": ["lasso"],
        "auc": [0.7],
        "slope": [np.nan],
        "difference": [-0.02],
        "low": [-0.1],
        "high": [0.06],
    }
    words = tables.penalties_words(pd.DataFrame(figures | {"p": [0.4]}))
    assert "lasso 0.70 (difference -0.020, -0.100 to +0.060), calibration slope not estimable. 0 of 1" in words
    assert tables.penalties_words(pd.DataFrame()).startswith("Too few events")


def test_complete_cases_are_printed_with_the_predictors_words():
    table = pd.DataFrame({"name": ["sbp_mmhg"], "step": [10.0], "n": [90], "events": [20]})
    for kind, value in (("imputed", 1.2), ("complete", 1.3)):
        table = table.assign(**{kind: value, f"{kind}_low": value - 0.1, f"{kind}_high": value + 0.1})
    printed = tables.complete_cases_printed(table)
    assert printed.to_numpy().tolist() == [["Systolic pressure, per 10 mmHg", "1.20 (1.10-1.30)", "1.30 (1.20-1.40)"]]


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    he = np.repeat([1, 0], [10, 30])
    return pd.DataFrame({"he": he, "p_integrated": 1 / (1 + np.exp(1.1 - 1.4 * he - rng.normal(0, 0.7, 40)))})


def test_the_performance_table_prints_estimates_with_intervals(rows):
    models = summary.evaluate_models(rows, {"integrated": 0.3}, notes=[])
    table = tables.performance_table({"integrated": models["integrated"]})
    low, high = models["integrated"]["auc_ci"]
    assert table.loc[0, "auc"] == f"{models['integrated']['auc']:.2f} ({low:.2f}-{high:.2f})"
