import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.nomogram import Nomogram, build_nomogram, nomogram_axes
from tests.stats.conftest import cohort

NAMES = ("gcs", "onset_h", "anticoagulant", "place")
SETTINGS = DevelopmentSettings(NAMES, ("dl_score",), forced=NAMES, n_resamples=10, n_imputations=2)


@pytest.fixture(scope="module")
def model():
    """Of 300 patients; nobody bled elsewhere."""
    x, y = cohort(300, gaps=False)
    return develop(x.assign(place=x["place"].cat.add_categories("elsewhere")), y, SETTINGS)


@pytest.fixture(scope="module")
def nomogram(model):
    return build_nomogram(model, cohort(300, gaps=False)[0], limits={"gcs": (3, 15), "onset_h": (0, None)})


def read_off(axes, patient):
    """What a reader does: find each value on its axis, add the points, look below the total."""
    total = 0.0
    for name, rows in axes[axes["kind"].isin(["number", "level"])].groupby("axis"):
        if (rows["kind"] == "level").all():
            total += rows.set_index("level").loc[str(patient[name]), "points"]
        else:
            line = rows.sort_values("value")
            total += np.interp(patient[name], line["value"], line["points"])
    scale = axes[axes["kind"] == "probability"].sort_values("points")
    return float(np.interp(total, scale["points"], scale["value"]))


def test_reading_the_axes_of_two_hundred_new_patients_gives_the_models_probability(model, nomogram):
    new, _ = cohort(200, 1, gaps=False)
    stored = pd.read_csv(io.StringIO(nomogram_axes(nomogram).to_csv(index=False)))
    read = [read_off(stored, row) for _, row in new.iterrows()]
    assert read == pytest.approx(model.predict(new).tolist(), abs=0.005)
    scale = json.loads(json.dumps(nomogram.to_json()))
    for (_, patient), p in list(zip(new.iterrows(), model.predict(new), strict=True))[:20]:
        total = sum(a["points_per_unit"] * (patient[n] - a["zero_at"]) for n, a in scale["numbers"].items())
        total += sum(levels[patient[n]] for n, levels in scale["levels"].items())
        assert expit(scale["logit_at_zero"] + total / scale["points_per_logit"]) == pytest.approx(p)
        assert nomogram.probability(total) == pytest.approx(p)


def test_a_nomogram_survives_its_file(nomogram):
    again = Nomogram.from_json(json.loads(json.dumps(nomogram.to_json())))
    assert again == nomogram
    assert list(again.axes) == list(nomogram.axes)
    levels = again.axes["place"].levels
    assert levels["elsewhere"] == levels["deep"], "a level that development never saw counts as the reference"


def test_no_points_are_negative_and_the_widest_axis_has_a_hundred(nomogram):
    axes = nomogram_axes(nomogram)
    assert axes["points"].min() == pytest.approx(0, abs=1e-9)
    assert axes.loc[axes["kind"].isin(["number", "level"]), "points"].max() == pytest.approx(100)
    assert axes.loc[axes["kind"] == "total", "points"].max() == pytest.approx(nomogram.most)


def test_an_axis_ends_where_nothing_is_possible_and_else_beyond_what_was_observed(nomogram):
    assert (nomogram.axes["gcs"].low, nomogram.axes["gcs"].high) == (3, 15)
    assert nomogram.axes["onset_h"].low == 0
    scores = cohort(300, gaps=False)[0]["dl_score"]
    assert nomogram.axes["dl_score"].low < scores.min() - 0.1 * np.ptp(scores)
    assert nomogram.axes["dl_score"].high > scores.max() + 0.1 * np.ptp(scores)


def test_no_mark_stands_between_whole_numbers_nor_at_an_odd_end_of_the_total(nomogram):
    marks = nomogram_axes(nomogram).query("tick")
    assert marks.loc[marks["axis"] == "gcs", "value"].tolist() == list(range(3, 16))
    assert marks.loc[marks["axis"] == "anticoagulant", "value"].tolist() == [0, 1]
    assert (marks.loc[marks["axis"] == "total_points", "value"] % 10 == 0).all()


def test_a_model_without_an_effect_has_no_nomogram():
    x, y = cohort(120, 3, gaps=False)
    nothing = develop(x, y, DevelopmentSettings(("gcs",), alpha=1e-12, n_resamples=2))
    assert build_nomogram(nothing, x) is None
    flat = develop(x, y, SETTINGS)
    assert build_nomogram(replace(flat, coefficients=0 * flat.coefficients), x) is None
