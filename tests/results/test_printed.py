import numpy as np
import pandas as pd
import pytest

from hepred_lib import results
from hepred_lib.stats.published import AUCS, PERCENTAGES


def judged(auc=0.8, auc_ci=(0.7, 0.9)):
    rates = {rate: 0.75 for rate in ("accuracy", "sensitivity", "specificity")}
    limits = {f"{rate}_ci": [0.6, 0.85] for rate in rates}
    return rates | limits | {"auc": auc, "auc_ci": list(auc_ci) if auc_ci else None}


def test_the_publication_stands_beside_ours_figure_by_figure():
    table = results.paper_comparison({name: judged() for name in AUCS}, n=60, events=12, simulated=True)
    rows = table.set_index(["model", "figure"])
    for name, percentages in PERCENTAGES.items():
        assert rows.loc[name, "published"].tolist() == [*percentages, AUCS[name]]
    assert rows.loc[("clinical", "sensitivity"), ["ours", "ours_low", "ours_high"]].tolist() == [75, 60, 85]
    assert rows.loc[("image", "auc"), "ours"] == 0.8
    assert set(table["ours_are"]) == {"simulated"}
    assert (table["published_low"] < table["published"]).all()
    assert (table["published"] < table["published_high"]).all()


def test_a_study_without_images_stands_beside_the_clinical_model_alone():
    table = results.paper_comparison({"clinical": judged(auc=None, auc_ci=None)}, n=60, events=0, simulated=False)
    assert table["model"].unique().tolist() == ["clinical"]
    printed = results.printed_comparison(table)
    assert printed.columns[2:].tolist() == ["Published (n = 107, 21 with HE)", "This study (n = 60, 0 with HE)"]
    assert printed.iloc[-1].tolist()[1::2] == ["AUC", "not estimable"]


def test_simulated_figures_are_called_simulated_on_the_page():
    table = results.paper_comparison({"image": judged()}, n=60, events=12, simulated=True)
    printed = results.printed_comparison(table)
    assert printed.columns[3] == "Simulated (n = 60, 12 with HE)"
    assert printed["Published (n = 107, 21 with HE)"].tolist()[0] == "67.3 (57.5-76.0)"


def test_comparisons_have_their_limits_in_columns():
    pair = {"a": "integrated", "b": "clinical", "data": "test", "test": "delong"}
    known, unknown = {"difference": 0.1, "ci": [-0.1, 0.3], "p": 0.2}, {"difference": None, "ci": None, "p": None}
    table = results.comparison_table([pair | known, pair | unknown])
    assert table.iloc[0][["difference", "low", "high", "p"]].tolist() == [0.1, -0.1, 0.3, 0.2]
    assert np.isnan(table.iloc[1][["difference", "low", "high", "p"]].astype(float)).all()
    assert results.comparison_table([]).empty


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    he = np.repeat([1, 0], [10, 30])
    return pd.DataFrame({"he": he, "p_integrated": 1 / (1 + np.exp(1.1 - 1.4 * he - rng.normal(0, 0.7, 40)))})


def test_the_performance_table_prints_estimates_with_intervals(rows):
    models = results.evaluate_models(rows, {"integrated": 0.3}, notes=[])
    table = results.performance_table({"integrated": models["integrated"]})
    low, high = models["integrated"]["auc_ci"]
    assert table.loc[0, "auc"] == f"{models['integrated']['auc']:.2f} ({low:.2f}-{high:.2f})"
