import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.study import drawing, summary
from hepred_lib.study.drawing import stratum_names


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Forty test patients, ten with expansion; the integrated model is the better of two."""
    rng = np.random.default_rng(0)
    he = np.repeat([1, 0], [10, 30])
    rows = pd.DataFrame({"patient_id": [f"T{i}" for i in range(40)], "he": he})
    for name, strength in (("clinical", 1.0), ("integrated", 1.4)):
        rows[f"p_{name}"] = 1 / (1 + np.exp(1.1 - strength * he - rng.normal(0, 0.7, 40)))
    return rows


def predictors(n=240, seed=1):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"sbp_mmhg": rng.normal(165, 25, n), "male": (rng.random(n) < 0.5).astype(float)})
    x["anticoagulant"], x["dl_score"] = (rng.random(n) < 0.3).astype(float), rng.normal(size=n)
    return x, (rng.random(n) < 1 / (1 + np.exp(1 - x["dl_score"]))).astype(int)


def test_tables_of_the_curves_repeat_by_seed_and_name_the_models(rows):
    judged = summary.evaluate_models(rows, {"clinical": 0.3, "integrated": 0.3}, notes=[])
    models = {name: judged[name] for name in ("clinical", "integrated")}
    for make in (drawing.roc_table, drawing.calibration_table):
        first, second = (make(rows, models, n_resamples=10, rng=np.random.default_rng(3)) for _ in range(2))
        pd.testing.assert_frame_equal(first, second)
        assert {"clinical", "integrated"} <= set(first["model"])


def test_the_decision_curve_has_its_two_references(rows):
    table = drawing.decision_table(rows, ["clinical"])
    assert set(table["model"]) == {"clinical", "treat_all", "treat_none"}
    assert table.loc[table["model"] == "treat_none", ["net_benefit", "low", "high"]].eq(0).all(axis=None)
    assert table["label"].notna().all()


def test_moves_are_counted_between_named_strata(rows):
    table = drawing.reclassification_data(
        rows, "clinical", "integrated", strata=[0.1, 0.3], n_resamples=20, rng=np.random.default_rng(0)
    )
    assert table.groupby("outcome")["patients"].sum().tolist() == [30, 10]
    moved = table[
        (table["outcome"] == 1) & (table["old_label"] == "10 to 30 %") & (table["new_label"] == "30 % or more")
    ]
    events = rows[rows["he"] == 1]
    expected = (events["p_clinical"].between(0.1, 0.3, inclusive="left") & events["p_integrated"].ge(0.3)).sum()
    assert moved["patients"].tolist() == [expected]
    assert table["nri"].iloc[0] == pytest.approx(table["nri_events"].iloc[0] + table["nri_non_events"].iloc[0])


def test_one_boundary_makes_two_strata():
    assert stratum_names([0.2]) == ["below 20 %", "20 % or more"]


def test_the_axes_of_a_nomogram_have_words_and_units():
    x, y = predictors()
    names = ("sbp_mmhg", "male", "anticoagulant")
    model = develop(x, y, DevelopmentSettings(names, ("dl_score",), forced=names, n_resamples=5))
    table = drawing.nomogram_table(drawing.nomogram_of(model, x))
    labels = table.drop_duplicates("axis").set_index("axis")["label"].to_dict()
    assert labels["sbp_mmhg"] == "Systolic pressure (mmHg)"
    assert labels["dl_score"] == "DL score (SD)"
    assert set(table.loc[table["axis"] == "male", "text"]) == {"female", "male"}
    assert set(table.loc[table["axis"] == "anticoagulant", "text"]) == {"no", "yes"}
    assert set(table.loc[table["axis"] == "sbp_mmhg", "text"]) == {""}


def test_a_model_without_an_effect_has_no_axes():
    assert drawing.nomogram_table(None).empty
