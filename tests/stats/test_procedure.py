import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats.development import DevelopmentSettings, Procedure, fit_robustly
from hepred_lib.stats.logistic import Coding, batched_irls, firth

TABLE = pd.DataFrame({"gcs": [3.0, 9, 15, 15], "place": pd.Categorical(list("abca")), "dl_score": [0.1, 0.4, -1, 2]})
SETTINGS = DevelopmentSettings(("gcs", "place"), ("dl_score",), forced=("place",))


def procedure():
    coding = Coding.of(TABLE)
    return Procedure.of(coding, SETTINGS, coding.matrix(TABLE).to_numpy())


def test_a_model_holds_forced_then_chosen_then_added_rows():
    assert [procedure().names[row] for row in procedure().rows([0])] == ["place[b]", "place[c]", "gcs", "dl_score"]


def test_only_what_is_neither_forced_nor_added_may_be_chosen():
    assert procedure().plan.candidates == (0,)


def test_a_design_is_standardized_and_a_constant_column_becomes_zero():
    values = np.column_stack([TABLE["gcs"], np.full(4, 7.0)])
    task = Procedure.of(Coding({"a": None, "b": None}), DevelopmentSettings(("a", "b")), values)
    design = task.design(values)
    assert design.mean(axis=1) == pytest.approx([1, 0, 0])
    assert design.std(axis=1) == pytest.approx([0, 1, 0])


def test_a_row_that_a_resample_leaves_constant_is_left_out_of_its_model():
    design = procedure().design(Coding.of(TABLE).matrix(TABLE).to_numpy())
    weights = np.array([[1.0, 1, 1, 1], [2.0, 0, 1, 1]])
    member = procedure().members(np.stack([design, design]), weights, [[0], [0]])
    assert member[:, procedure().names.index("place[b]")].tolist() == [True, False]


def test_only_separated_resamples_are_penalized():
    x = np.linspace(-2, 2, 20)
    design = np.vstack([np.ones(20), x])
    y = (x > 0).astype(float)
    y[[9, 11]] = y[[11, 9]]
    weights = np.ones((2, 20))
    weights[1, [9, 11]] = 0
    coefficients, separated = fit_robustly(np.stack([design] * 2), y, weights, np.ones((2, 2), dtype=bool))
    assert separated.tolist() == [False, True]
    assert coefficients[0] == pytest.approx(batched_irls(design, y, weights[:1]).coefficients[0])
    assert coefficients[1] == pytest.approx(firth(design.T, y, weights[1]), abs=1e-6)
