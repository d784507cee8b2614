import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit
from scipy.stats import chi2

from hepred_lib.stats.bootstrap import bootstrap_indices
from hepred_lib.stats.logistic import batched_irls, fit_logistic
from hepred_lib.stats.selection import (
    Plan,
    Rule,
    _screen,
    forward_select,
    inclusion_frequency,
    select_paths,
    selection_stability,
)


def cohort(n=250, seed=0):
    """Six numbers, of which two act, a skewed one, a rare sign and a place that act."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 6)), columns=list("abcdef"))
    x["skewed"] = rng.lognormal(0, 1.2, n)
    x["rare"] = (rng.random(n) < 0.06).astype(float)
    x["place"] = pd.Categorical(rng.choice(["deep", "lobar", "stem"], n, p=[0.6, 0.3, 0.1]))
    eta = (
        0.7 * x["a"] + 0.4 * x["b"] - 0.4 * np.log(x["skewed"]) + 1.2 * x["rare"] + 1.4 * (x["place"] == "lobar") - 1.7
    )
    return x, (rng.random(n) < expit(eta)).to_numpy(dtype=int)


def slow_path(x, y, criterion="lr", alpha=0.05):
    """One statsmodels fit for each candidate at each step."""
    groups = {name: pd.get_dummies(x[[name]], drop_first=True, dtype=float) for name in x}

    def likelihood(names):
        design = np.column_stack([np.ones(len(x)), *(groups[name] for name in names)])
        return sm.GLM(np.asarray(y), design, family=sm.families.Binomial()).fit(tol=1e-10, maxiter=60).llf

    path, reached = [], likelihood([])
    while left := [name for name in groups if name not in path]:
        size = np.array([groups[name].shape[1] for name in left])
        statistic = np.array([2 * (likelihood([*path, name]) - reached) for name in left])
        penalty = {"aic": 2.0, "bic": np.log(len(x))}.get(criterion)
        merit = -chi2.sf(statistic, size) if penalty is None else statistic - penalty * size
        best = int(np.argmax(merit))
        if merit[best] <= (-alpha if penalty is None else 0):
            break
        path.append(left[best])
        reached += statistic[best] / 2
    return path


def test_the_first_step_tests_the_two_by_two_table():
    x = pd.DataFrame({"sign": [1.0] * 20 + [0.0] * 60, "noise": [0.0, 1.0] * 40})
    y = np.array([1] * 10 + [0] * 10 + [1] * 6 + [0] * 54)
    selection = forward_select(x, y)
    by_hand = 2 * (20 * np.log(0.5) + 6 * np.log(0.1) + 54 * np.log(0.9) - 16 * np.log(0.2) - 64 * np.log(0.8))
    assert selection.path == ("sign",)
    assert selection.steps.loc[0, ["statistic", "df"]].tolist() == pytest.approx([by_hand, 1])


@pytest.mark.parametrize(
    ("name", "blocks", "coded"),
    [("place", None, {"place[lobar]", "place[stem]"}), ("letters", {"letters": ["a", "b"]}, {"a", "b"})],
)
def test_a_category_and_a_named_block_enter_as_a_whole(name, blocks, coded):
    selection = forward_select(*cohort(), blocks=blocks)
    assert selection.steps.set_index("variable").loc[name, "df"] == 2
    assert coded <= set(selection.model.names)


def test_a_forced_predictor_leads_the_model_and_of_two_equal_columns_the_first_enters():
    x, y = cohort()
    selection = forward_select(x.assign(again=x["a"]), y, forced=("f",))
    assert selection.model.names[:2] == ("intercept", "f")
    assert "a" in selection.path
    assert not {"f", "again"} & set(selection.path)
    with pytest.raises(ValueError, match="giveaway separate"):
        forward_select(x.assign(giveaway=y + 0.1 * x["a"]), y)
    assert forward_select(x.assign(giveaway=y + 0.1 * x["a"]), y, separation="firth").model.method == "firth"


def test_selection_stops_at_a_p_value_equal_to_alpha():
    x, y = cohort()
    x = x[["a"]]
    p = forward_select(x, y).steps["p"][0]
    nothing = forward_select(x, y, alpha=p)
    assert (nothing.path, nothing.model.names) == ((), ("intercept",))
    assert nothing.steps.empty
    assert forward_select(x, y, alpha=p * (1 + 1e-6)).path == ("a",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"criterion": "p"}, "criterion must be"),
        ({"alpha": 1.5}, "alpha must lie in"),
        ({"forced": ("z",)}, "forced must name predictors"),
        ({"blocks": {"one": ["a", "z"]}}, "blocks must name each column"),
        ({"blocks": {"b": ["a"]}}, "blocks must name each column"),
    ],
)
def test_unusable_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        forward_select(*cohort(), **arguments)
    with pytest.raises(ValueError, match="n_resamples must be a whole number >= 1"):
        stability(*cohort(), n=0)


@pytest.mark.parametrize("criterion", ["lr", "aic", "bic"])
def test_paths_equal_a_loop_over_statsmodels_and_the_steps_end_at_the_model(criterion):
    x, y = cohort()
    selection = forward_select(x, y, criterion=criterion)
    assert list(selection.path) == selection.steps["variable"].tolist() == slow_path(x, y, criterion)
    expected = [selection.model.log_likelihood, selection.model.aic, selection.model.bic]
    assert selection.steps.iloc[-1][["log_likelihood", "aic", "bic"]].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("criterion", ["lr", "aic", "bic"])
def test_the_path_and_the_model_equal_r(reference, criterion):
    x, expected = reference("selection.csv"), reference("selection.json")[criterion]
    selection = forward_select(x.drop(columns="y"), x["y"], criterion=criterion)
    assert list(selection.path) == [step["variable"] for step in expected["path"]]
    assert selection.model.coefficients == pytest.approx(list(expected["coefficients"].values()), abs=1e-6)
    # R's own default stops the standard errors of its data set one step short of converged.
    errors = list(expected["standard_errors"].values())
    assert selection.model.standard_errors == pytest.approx(errors, rel=1e-4)
    assert selection.steps["log_likelihood"].tolist() == pytest.approx(
        [step["log_likelihood"] for step in expected["path"]], abs=1e-8
    )
    assert [selection.model.aic, selection.model.bic] == pytest.approx([expected["aic"], expected["bic"]], abs=1e-8)


PLAN = Plan(tuple(np.array([row]) for row in range(1, 5)), np.array([0]), (0, 1, 2, 3))


def heavy_tailed(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(2, size=(4, n)) * [[1.0], [2.0], [0.5], [1.0]]
    y = (rng.random(n) < expit(0.6 * x[0] - 1)).astype(float)
    return np.vstack([np.ones(n), x]), y, rng


def test_the_merit_is_minus_log_p_also_where_p_underflows_and_none_without_degrees_of_freedom():
    merit = Rule().merit(np.array([3.841458820694124, 1370.0, 1400.0, 5000.0]), np.ones(4, int), 100)
    assert merit[0] == pytest.approx(-np.log(0.05))
    assert (np.diff(merit) > 10).all()
    assert merit[2] == pytest.approx(-chi2.logsf(1370.0, 1) + 15, abs=0.05)
    assert np.isneginf(Rule("aic").merit(np.array([0.0]), np.array([0]), 100)).all()


@pytest.mark.parametrize("seed", range(2))
def test_the_likelihood_ratio_never_exceeds_its_bound(seed):
    design, y, rng = heavy_tailed(seed=seed)
    weights = rng.multinomial(y.size, np.full(y.size, 1 / y.size), size=20).astype(float)
    member = np.zeros((20, 5), dtype=bool)
    member[:, 0] = True
    null = batched_irls(design, y, weights, member=member)
    _, _, bound, _ = _screen((design, y, weights), member, null, PLAN)
    for candidate in range(4):
        pair = batched_irls(design[[0, candidate + 1]], y, weights)
        ratio = 2 * (pair.log_likelihood - null.log_likelihood)
        assert (ratio <= bound[:, candidate] + 1e-8).all()
    assert (bound < -2 * null.log_likelihood[:, None]).any()


def test_a_resample_that_is_separated_ends_its_path_without_a_crash():
    design, y, _ = heavy_tailed()
    design[2] = 2 * y - 1
    assert select_paths(design, y, np.ones((1, y.size)), plan=PLAN, rule=Rule()) == [[1]]


def stability(x, y, n=12, **how):
    return selection_stability(x, y, n_resamples=n, rng=np.random.default_rng(5), **how)


def test_resamples_repeat_forward_selection_and_its_fit_on_each_resampled_table():
    x, y = cohort()
    rows, found = bootstrap_indices(y, 12, np.random.default_rng(5)), stability(x, y)
    tables = [(x.iloc[drawn].reset_index(drop=True), y[drawn]) for drawn in rows]
    selections = [forward_select(*table) for table in tables]
    paths = [selection.path for selection in selections]
    assert list(paths[0]) == slow_path(*tables[0])
    shares = {name: np.mean([name in path for path in paths]) for name in x}
    assert found.inclusion.to_dict() == pytest.approx(shares)
    assert inclusion_frequency(x, y, n_resamples=12, rng=np.random.default_rng(5)).equals(found.inclusion)
    assert len(found.models) == len(set(map(frozenset, paths)))
    models = [selection.model for selection in selections]
    slopes = [dict(zip(model.names, model.coefficients, strict=True)).get("b", 0.0) for model in models]
    expected = np.quantile(slopes, [0.5, 0.025, 0.975]).tolist()
    assert found.coefficients.loc["b", ["median", "low", "high"]].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_models_frequencies_add_up_and_the_full_estimate_is_the_fit_of_all_in_their_own_units():
    x, y = cohort()
    found = stability(x, y, rule=Rule("aic"))
    assert found.models["frequency"].sum() == pytest.approx(1)
    assert (found.models["frequency"].diff().dropna() <= 0).all()
    full = fit_logistic(x, y).coefficients[1:]
    assert found.coefficients["full"].tolist() == pytest.approx(full.tolist(), abs=1e-6)
    never = stability(x, y, n=5, rule=Rule(alpha=1e-9)).coefficients.loc["f"]
    assert np.isnan(never["relative_bias_pct"])
    assert never["median"] == 0
