"""What figures draw, and what is shown, kept and drawn again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from PIL import Image

from hepred_lib.errors import InputError
from hepred_lib.figures.catalogue import FIGURES, draw
from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.discrimination import auc
from hepred_lib.study import drawing, summary
from hepred_lib.study.drawing import publish, redraw, show, stratum_names


def predictors(n=240):
    rng = np.random.default_rng(1)
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
    how = {"strata": [0.1, 0.3], "n_resamples": 20, "rng": np.random.default_rng(0)}
    table = drawing.reclassification_data(rows, "clinical", "integrated", **how)
    assert table.groupby("outcome")["patients"].sum().tolist() == [30, 10]
    move = {"outcome": 1, "old_label": "10 to 30 %", "new_label": "30 % or more"}
    moved = table[(table[list(move)] == pd.Series(move)).all(axis=1)]
    events = rows[rows["he"] == 1]
    expected = (events["p_clinical"].between(0.1, 0.3, inclusive="left") & events["p_integrated"].ge(0.3)).sum()
    assert moved["patients"].tolist() == [expected]
    assert stratum_names([0.2]) == ["below 20 %", "20 % or more"]
    assert table["nri"].iloc[0] == pytest.approx(table["nri_events"].iloc[0] + table["nri_non_events"].iloc[0])


def test_the_axes_of_a_nomogram_have_words_and_units():
    x, y = predictors()
    names = ("sbp_mmhg", "male", "anticoagulant")
    model = develop(x, y, DevelopmentSettings(names, ("dl_score",), forced=names, n_resamples=5))
    table = drawing.nomogram_table(drawing.describe_nomogram(model, x))
    labels = table.drop_duplicates("axis").set_index("axis")["label"].to_dict()
    assert labels["sbp_mmhg"] == "Systolic pressure (mmHg)"
    assert labels["dl_score"] == "DL score (SD)"
    assert set(table.loc[table["axis"] == "male", "text"]) == {"female", "male"}
    assert set(table.loc[table["axis"] == "anticoagulant", "text"]) == {"no", "yes"}
    assert set(table.loc[table["axis"] == "sbp_mmhg", "text"]) == {""}
    assert drawing.nomogram_table(None).empty, "of a model without an effect"


@pytest.mark.parametrize("nothing", [False, True], ids=["shrunk a little", "shrunk to nothing"])
def test_instability_classifies_as_the_shrunk_model_does_at_its_threshold(nothing):
    x, y = predictors()
    model = develop(x, y, DevelopmentSettings(tuple(x), (), forced=tuple(x), n_resamples=20))
    assert 0 < model.shrinkage < 1
    model = replace(model, shrinkage=0.0, coefficients=0.0 * model.coefficients) if nothing else model
    for threshold in (0.2, 0.35, 1.0):
        table = drawing.instability_table(model, x, y, threshold)
        patients = table[table["kind"].eq("patient")]
        assert (patients["p"] >= patients["threshold"]).tolist() == (model.predict(x) >= threshold).tolist()


def test_the_shares_of_missing_values_are_those_of_each_outcome_most_first():
    x = pd.DataFrame({"age": [1.0, 2, 3, 4], "gcs": [np.nan, 2, 3, np.nan], "inr": [1.0, np.nan, 1, 1]})
    table = drawing.missing_table(x, pd.Series([1, 0, 0, 1]))
    assert table["variable"].tolist() == ["GCS"] * 3 + ["INR"] * 3
    assert table["share"].tolist() == [0.5, 0.0, 1.0, 0.25, 0.5, 0.0]
    assert table["n"].tolist() == [4, 2, 2] * 2
    assert drawing.missing_table(x[["age"]], pd.Series([1, 0, 0, 1])).empty


def test_each_pair_of_coded_candidates_is_correlated_once():
    x = pd.DataFrame({"age": [1.0, 2, 3, 4, 9], "gcs": [5.0, 4, 3, 2, np.nan]})
    x["location"] = pd.Categorical(["lobar", "lobar", "thalamus", "thalamus", "lobar"])
    table = drawing.correlation_table(x)
    assert table[["variable", "other"]].to_numpy().tolist() == [
        ["GCS", "Age"], ["Location: thalamus", "Age"], ["Location: thalamus", "GCS"],
    ]  # fmt: skip
    assert table["correlation"][0] == pytest.approx(-1.0), "over the patients who have both"


@pytest.mark.parametrize(("patients", "places"), [(1, ["Best"]), (5, ["Best", "Best", "Median", "Worst", "Worst"])])
def test_examples_of_segmentations_go_from_best_to_worst(patients, places):
    names = [f"HE-{i}" for i in range(patients)]
    agreement = pd.DataFrame({"patient_id": [*names, "clean"], "dice": [*np.linspace(0.2, 0.8, patients), 1.0]})
    agreement["reference_ml"], agreement["predicted_ml"] = [9.0] * patients + [0.0], 8.04
    keys = ("hu", "reference", "predicted")
    place = {"slice": np.array(17), "n_slices": np.array(29), "pixel_mm": np.array(0.5)}
    pictures = {name: {key: np.full((4, 3), i) for key in keys} | place for i, name in enumerate(names)}
    found = drawing.outline_examples(pictures, agreement)
    assert [title.split(":")[0] for title in found["titles"]] == places
    assert found["titles"][0].endswith("slice 18 of 29\n9.0 mL, predicted 8.0 mL")
    assert found["hu"].shape == (patients, 4, 3)
    assert found["hu"][:, 0, 0].tolist() == list(range(patients))[::-1]


def test_without_what_a_study_lacks_there_is_nothing_to_draw(rows):
    how = {"n_resamples": 5, "rng": np.random.default_rng(0)}
    alone, nobody = rows.assign(p_integrated=np.nan), pd.DataFrame(columns=["patient_id", "dice", "reference_ml"])
    tables = {
        "oracle": drawing.oracle_table(rows, {"clinical": {}}, None),
        "reclassification": drawing.reclassification_data(alone, "clinical", "integrated", strata=[0.1], **how),
        "roc": drawing.roc_table(rows.iloc[:0], {"clinical": {}}, **how),
        "calibration": drawing.calibration_table(rows.iloc[:0], {}, **how),
        "outlines": drawing.outline_examples({}, nobody),
    }
    for name, data in tables.items():
        said = {text.get_text() for axes in draw(name, data).axes for text in axes.texts}
        assert FIGURES[name].otherwise in said, name


BOXES = [("assessed", "Rows of the manifest", 9, 2), ("included", "With outcome", 9, 2)]
FLOW = pd.DataFrame(BOXES, columns=["step", "text", "n", "events"])


def test_a_shown_figure_has_its_name_and_caption_is_saved_for_print_and_redrawn_with_the_same_bytes(tmp_path):
    shown = show(tmp_path, "flow", FLOW)
    show(tmp_path / "external", "flow", FLOW)
    content, metadata = shown._repr_mimebundle_()
    assert "image/png" in content
    # 174 mm at 96 pixels an inch
    assert metadata["image/png"] == {"alt": FIGURES["flow"].caption, "figure": "flow", "width": 658}
    folders = [tmp_path / part / "figures" for part in (".", "external")]
    before = {path: path.read_bytes() for folder in folders for path in folder.iterdir()}
    assert before[folders[0] / "flow.caption.md"].decode() == f"{shown.alt}\n"
    assert before[folders[0] / "flow.pdf"].startswith(b"%PDF")
    assert imread(folders[0] / "flow.png").shape[1] == pytest.approx(174 / 25.4 * 600, abs=1)
    for path in before:
        path.unlink()
    assert redraw(tmp_path) == [folder / "flow.pdf" for folder in folders]
    assert {path: path.read_bytes() for folder in folders for path in folder.iterdir()} == before


def test_a_figure_without_data_is_shown_but_not_kept(tmp_path):
    shown = show(tmp_path, "flow", FLOW.iloc[:0])
    assert shown.alt == f"{FIGURES['flow'].caption} No data."
    assert "figure" not in shown.metadata
    assert not list(tmp_path.rglob("*.*"))


def test_a_published_table_is_saved_for_machines_and_returned_in_words(tmp_path):
    shown = publish(tmp_path, "cohort", pd.DataFrame({"model": ["image"], "auc": [0.123456]}))
    assert (tmp_path / "tables" / "cohort.csv").read_text() == "model,auc\nimage,0.123456\n"
    assert shown.to_dict("list") == {"Model": ["Image"], "AUC": [0.123456]}


def test_the_area_under_the_drawn_roc_curve_is_the_printed_auc():
    rng = np.random.default_rng(1)
    p = np.round(rng.random(90), 2)  # with ties
    rows = pd.DataFrame({"he": (rng.random(90) < p).astype(int), "p_clinical": p})
    area = auc(rows["he"], p)
    models = {"clinical": {"threshold": 0.5, "auc": area, "auc_ci": [area - 0.1, area + 0.1]}}
    table = drawing.roc_table(rows, models, n_resamples=5, rng=rng)
    curve, point = draw("roc", table).axes[0].lines[:2]
    x, y = curve.get_xydata().T
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(area, abs=1e-12)
    assert f"AUC {area:.2f}" in table["label"].iloc[0]
    marked = point.get_xydata()[0]
    assert np.isclose(curve.get_xydata(), marked).all(axis=1).any(), "the operating point is a vertex of its curve"


def test_artwork_is_drawn_for_a_journal_in_the_asked_formats_and_the_run_stays(tmp_path):
    show(tmp_path / "run", "flow", FLOW.assign(simulated=True))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    out = tmp_path / "out"
    made = drawing.artwork(tmp_path / "run", out, journal="nature", formats=("svg", "tiff"), only=["flow"])
    assert [path.name for path in made] == ["flow.svg", "flow.tiff"]
    with Image.open(made[1]) as picture:
        assert picture.width == pytest.approx(183 / 25.4 * 600, abs=1)
    assert b"Rows of the manifest" in made[0].read_bytes(), "text stays text"
    assert "Simulated data." in (out / "figures" / "flow.caption.md").read_text(encoding="utf-8")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    first = [path.read_bytes() for path in made]
    drawing.artwork(tmp_path / "run", out, journal="nature", formats=("svg", "tiff"), only=["flow"])
    assert first == [path.read_bytes() for path in made]
    with pytest.raises(InputError, match="--only must name figures of this study, got 'rocs'; it has flow"):
        drawing.artwork(tmp_path / "run", out, only=["rocs"])


def test_few_events_are_shown_in_groups_with_exact_intervals():
    y, p = pd.Series([0] * 30 + [1] * 10), pd.Series(np.linspace(0.05, 0.6, 40))
    groups = drawing.calibration_groups(y, p)
    assert groups["observed"].tolist() == [0, 0, 0, 1]
    assert groups["high"].iloc[0] == pytest.approx(1 - 0.025 ** (1 / 10))
    assert groups["p"].is_monotonic_increasing
