import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import chi2, f

from hepred_lib.errors import InputError
from hepred_lib.stats.bootstrap import bootstrap_indices
from hepred_lib.stats.curves import Basis
from hepred_lib.stats.development import (
    AddedTest,
    DevelopedModel,
    DevelopmentSettings,
    Optimism,
    Procedure,
    cross_fit,
    cross_fit_sets,
    develop,
    judge,
    likelihood_ratio_of_added,
)
from hepred_lib.stats.discrimination import auc
from hepred_lib.stats.logistic import Coding, fit_logistic
from hepred_lib.stats.selection import forward_select
from tests.stats.conftest import cohort

SETTINGS = DevelopmentSettings(
    ("gcs", "onset_h", "anticoagulant", "place", "age", "sbp"), ("dl_score",), n_resamples=12
)


@pytest.fixture(scope="module")
def data():
    return cohort()


@pytest.fixture(scope="module")
def model(data):
    return develop(*data, SETTINGS)


def test_a_probability_can_be_recomputed_by_hand_from_the_file_and_the_model_rebuilt_from_both(data, model):
    x, _ = data
    files = [json.loads(json.dumps(part, allow_nan=False)) for part in (model.to_json(), model.imputer.to_json())]
    again, stored, patient = DevelopedModel.from_json(*files), files[0], x.dropna().iloc[0]
    assert (again.predict(x) == model.predict(x)).all()
    assert again.to_json() == model.to_json()
    log_odds = stored["intercept"]
    for name, coefficient in stored["coefficients"].items():
        column, _, level = name.rstrip("]").partition("[")
        log_odds += coefficient * (float(patient[column] == level) if level else patient[column])
    assert model.predict(x.dropna())[0] == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-12)


def test_complete_data_and_one_set_give_forward_selection_and_its_fit():
    x, y = cohort(gaps=False)
    model = develop(x, y, replace(SETTINGS, added=(), n_imputations=2))
    selection = forward_select(x[list(SETTINGS.candidates)], y)
    assert model.path == selection.path
    assert [model.unshrunk_intercept, *model.unshrunk_coefficients] == pytest.approx(selection.model.coefficients)
    assert model.standard_errors == pytest.approx(selection.model.standard_errors[1:])
    assert model.notes == ()


def test_added_predictors_follow_the_selection_and_take_no_part_in_it(model, data):
    assert model.names[-1] == "dl_score"
    assert model.path == develop(*data, replace(SETTINGS, n_resamples=1)).path
    assert model.predictors == (*model.path, "dl_score")
    assert "dl_score" not in model.inclusion_frequency.index


def test_shrinkage_is_the_mean_slope_and_multiplies_every_coefficient_and_the_mean_probability_is_the_prevalence():
    x, y = cohort(n=150, seed=1)
    model = develop(x, y, SETTINGS)
    assert model.shrinkage == model.optimism["slope_corrected"] < 1
    assert model.coefficients == pytest.approx(model.shrinkage * model.unshrunk_coefficients)
    assert model.predict(x).mean() == pytest.approx(y.mean(), abs=1e-10)
    assert develop(x, y, SETTINGS).to_json() == model.to_json(), "a second run gives the same numbers"


def test_columns_that_only_serve_the_imputation_may_be_absent(model, data):
    x = data[0].dropna()
    unused = [name for name in SETTINGS.candidates if name not in model.predictors]
    assert unused
    assert model.predict(x.drop(columns=unused)) == pytest.approx(model.predict(x), abs=1e-12)


def test_nothing_selected_leaves_the_intercept_and_says_so(data):
    x, y = data
    rng = np.random.default_rng(99)
    noise = x.assign(a=rng.normal(size=len(x)), b=rng.normal(size=len(x)))
    model = develop(noise, y, DevelopmentSettings(("a", "b"), alpha=1e-6, n_resamples=4))
    assert model.names == ()
    assert model.predict(noise) == pytest.approx(np.full(len(x), y.mean()))
    assert (model.shrinkage, model.optimism["auc_apparent"], model.optimism["auc_corrected"]) == (1.0, 0.5, 0.5)
    assert model.optimism["brier_apparent"] == model.optimism["brier_corrected"]
    assert "No predictor was selected: the model is the intercept alone, which has no optimism" in model.notes[0]
    assert model.to_json()["optimism"]["slope_corrected"] is None


def test_a_forced_category_enters_as_a_block_and_a_level_that_never_occurs_counts_as_the_reference(data):
    x, y = data
    wide = x.assign(place=x["place"].cat.add_categories("cerebellum"), sbp=150.0)
    model = develop(wide, y, replace(SETTINGS, forced=("place",), n_resamples=2))
    assert model.names[:2] == ("place[lobar]", "place[stem]")
    assert not {"place", "sbp"} & set(model.path)
    assert any("Constant in development, so never selected: sbp" in note for note in model.notes)
    patient = wide.dropna().iloc[[0]]
    rare, deep = (model.predict(patient.assign(place=level)) for level in ("cerebellum", "deep"))
    assert rare == pytest.approx(deep)
    assert any(note.endswith("counted as the first level: place cerebellum.") for note in model.notes)


def test_separating_predictors_are_answered_by_firths_penalty():
    x, y = cohort(n=80)
    x["anticoagulant"] = np.where(np.cumsum(y) < 8, y, 0)
    model = develop(x, y, replace(SETTINGS, n_resamples=8))
    assert "anticoagulant" in model.path
    assert np.abs(model.unshrunk_coefficients).max() < 10
    assert any("Firth" in note for note in model.notes)


def test_a_folds_probabilities_come_from_a_model_without_it(data):
    x, y = data
    fold = np.array(["left", "right"])[np.arange(len(x)) % 2]
    settings = replace(SETTINGS, n_resamples=3)
    seed = int(np.random.SeedSequence([settings.seed, 1]).generate_state(1)[0])
    model = develop(x[fold == "left"], y[fold == "left"], replace(settings, seed=seed))
    assert (cross_fit(x, y, fold, settings)[fold == "right"] == model.predict(x[fold == "right"])).all()
    alone = x[["gcs"]].where(pd.Series(fold == "right", x.index), axis=0)
    given = cross_fit(alone, y, fold, DevelopmentSettings(("gcs",), n_resamples=2))
    assert given[fold == "right"] == pytest.approx(y[fold == "left"].mean()), "the others hold no value"
    assert given[fold == "left"].mean() == pytest.approx(y[fold == "right"].mean(), abs=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y, _: develop(x.assign(dl_score=np.nan), y, SETTINGS), "dl_score must not be missing"),
        (lambda x, y, _: develop(x.drop(columns="gcs"), y, SETTINGS), r"\['gcs'\] are absent"),
        (lambda x, y, model: model.predict(x.drop(columns="gcs")), r"Predictors \['gcs'\] are required"),
        (lambda x, y, _: cross_fit(x, y, np.zeros(len(x)), SETTINGS), "fold must hold at least 2 labels"),
    ],
)
def test_unusable_columns_are_refused_by_name(data, model, call, message):
    with pytest.raises(ValueError, match=message):
        call(*data, model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": ()}, "at least one column"),
        ({"candidates": ("a",), "added": ("a",)}, "each once"),
        ({"candidates": ("a",), "forced": ("b",)}, "forced must be among the candidates"),
        ({"candidates": ("a",), "n_resamples": 0}, "n_resamples must be"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DevelopmentSettings(**arguments)


def test_the_optimism_agrees_with_rms_validate(reference):
    x, expected = reference("selection.csv"), reference("validate.json")
    names = tuple(x.columns.drop(["y", "ftv2"], errors="ignore"))
    optimism = develop(x, x["y"], DevelopmentSettings(names, forced=names, n_resamples=600)).optimism
    assert optimism["auc_apparent"] == pytest.approx((expected["dxy"]["index.orig"] + 1) / 2, abs=1e-8)
    assert optimism["auc_corrected"] == pytest.approx((expected["dxy"]["index.corrected"] + 1) / 2, abs=0.01)
    assert optimism["slope_corrected"] == pytest.approx(expected["slope"]["index.corrected"], abs=0.02)
    assert optimism["brier_corrected"] == pytest.approx(expected["brier"]["index.corrected"], abs=0.01)


def test_the_sets_of_a_cross_fit_average_to_its_probabilities_and_differ_where_values_are_missing():
    x, y = cohort(120)
    settings, fold = replace(SETTINGS, n_imputations=3, n_resamples=2), np.arange(120) % 2
    sets = cross_fit_sets(x, y, fold, settings)
    assert sets.shape == (3, 120)
    assert sets.mean(axis=0).tolist() == cross_fit(x, y, fold, settings).tolist()
    assert np.ptp(sets, axis=0)[x[["gcs", "onset_h"]].isna().any(axis=1)].max() > 0.01


def test_a_design_is_standardized_and_a_row_that_a_resample_leaves_constant_is_left_out_of_its_model():
    table = pd.DataFrame(
        {"gcs": [3.0, 9, 15, 15], "place": pd.Categorical(list("abca")), "dl_score": [0.1, 0.4, -1, 2]}
    )
    table["sbp"] = 7.0
    coding, settings = Coding.of(table), DevelopmentSettings(("gcs", "place", "sbp"), ("dl_score",), forced=("place",))
    values = coding.matrix(table).to_numpy()
    task = Procedure.of(Basis(coding, settings.terms), settings, values)
    names = [task.basis.names[row - 1] for row in task.rows([0])]
    assert names == ["place[b]", "place[c]", "gcs", "dl_score"], "forced, chosen, added"
    design = task.design(values)
    assert design.mean(axis=1) == pytest.approx([1, 0, 0, 0, 0, 0])
    assert design.std(axis=1) == pytest.approx([0, 1, 1, 1, 0, 1]), "a constant column becomes 0"
    weights = np.array([[1.0, 1, 1, 1], [2.0, 0, 1, 1]])
    member = task.members(np.stack([design, design]), weights, [[0], [0]])
    assert member[:, 2].tolist() == [True, False]


NAMES = ("a", "b", "c")


def plain(names=NAMES, n=150, seed=0):
    """Independent normal columns, of which the last drives the outcome."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, len(names))), columns=list(names))
    return x, (rng.random(n) < expit(x[names[-1]] - 1)).to_numpy(dtype=float)


def judged(x, y, settings, n_resamples=6, seed=1):
    coding, values = Coding.of(x), x.to_numpy()
    procedure = Procedure.of(Basis(coding, settings.terms), settings, np.nan_to_num(values))
    designs = procedure.design(np.nan_to_num(values))[None]
    rng = np.random.default_rng(seed)
    return judge(procedure, values, (designs, y), n_resamples=n_resamples, rng=rng)


def test_corrected_figures_by_hand():
    optimism = Optimism(np.array([0.8, np.nan, 1.0]), np.array([0.1, 0.0, 0.2]), np.full(3, -0.01), np.zeros(2))
    figures = optimism.corrected(np.array([0, 1]), np.array([0.2, 0.8]))
    assert figures["auc_corrected"] == pytest.approx(0.9)
    assert figures["brier_corrected"] == pytest.approx(0.04 + 0.01)
    assert figures["slope_corrected"] == optimism.shrinkage == pytest.approx(0.9)
    assert Optimism(np.array([1.3]), np.zeros(1), np.zeros(1), np.zeros(1)).shrinkage == 1.0  # never stretched
    far = Optimism(np.array([-3.0, 0.7, 9.0]), np.zeros(3), np.zeros(3), np.zeros(3))
    assert far.slope == pytest.approx((0 + 0.7 + 2) / 3)


def test_a_resample_that_loses_a_column_is_drawn_again():
    x, y = plain()
    x["c"] = x["c"].where(x.index == 0)
    optimism = judged(x, y, DevelopmentSettings(NAMES), n_resamples=8)
    assert np.isfinite(optimism.auc_optimism).all()


def test_each_resample_equals_a_plain_fit_on_its_rows():
    x, y = plain()
    optimism = judged(x, y, DevelopmentSettings(NAMES, forced=NAMES))
    assert optimism.separated == 0
    for b, rows in enumerate(bootstrap_indices(y, 6, np.random.default_rng(1))):
        table = x.iloc[rows].reset_index(drop=True)
        model = fit_logistic(table, y[rows])
        outside = pd.DataFrame({"log_odds": model.linear_predictor(x)})
        assert optimism.slopes[b] == pytest.approx(fit_logistic(outside, y).coefficients[1], abs=1e-6)
        flattered = auc(y[rows], model.predict(table)) - auc(y, model.predict(x))
        assert optimism.auc_optimism[b] == pytest.approx(flattered, abs=1e-9)


def test_columns_too_rarely_observed_to_resample_are_refused_not_drawn_for_ever():
    _, y = plain()
    x = pd.DataFrame(np.where(np.eye(150, 60, dtype=bool), 1.0, np.nan), columns=[f"x{k}" for k in range(60)])
    x.insert(0, "age", 70.0)
    with pytest.raises(InputError, match="observed often enough to resample, got 1 of 150 values in x0"):
        judged(x, y, DevelopmentSettings(tuple(x.columns)))


def pooled(tables, y):
    settings = DevelopmentSettings(("age",), ("dl_score",))
    procedure = Procedure.of(Basis(Coding.of(tables[0]), settings.terms), settings, tables[0].to_numpy())
    designs = np.stack([procedure.design(table.to_numpy()) for table in tables])
    return likelihood_ratio_of_added(procedure, designs, y, np.ones(designs.shape[:2], dtype=bool))


def test_one_set_gives_the_likelihood_ratio_and_different_ones_are_pooled_by_the_d2_rule():
    x, y = plain(("age", "dl_score"))
    tables = [x, x.assign(age=x["age"] * 2 + x["dl_score"]), x.assign(age=x["dl_score"] + x["age"])]
    reached = [[fit_logistic(part, y).log_likelihood for part in (table, table[["age"]])] for table in tables]
    d = -2 * np.diff(reached)[:, 0]
    found = pooled(tables[:1], y)
    assert (found.statistic, found.p) == pytest.approx((d[0], chi2.sf(d[0], 1)))
    r = (1 + 1 / 3) * np.sqrt(d).var(ddof=1)
    statistic = (d.mean() - 4 / 2 * r) / (1 + r)
    found = pooled(tables, y)
    assert found.statistic == pytest.approx(statistic)
    assert found.p == pytest.approx(f.sf(statistic, 1, 2 * (1 + 1 / r) ** 2))


def test_half_the_statistic_is_the_cross_fitted_test():
    assert AddedTest(7.683, 1, float(chi2.sf(7.683, 1))).cross_fitted_p == pytest.approx(0.05, abs=1e-4)
    assert AddedTest(0.0, 1, 1.0).cross_fitted_p == 1.0
