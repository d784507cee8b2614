import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.stats.bootstrap import bootstrap_indices
from hepred_lib.stats.logistic import fit_logistic
from hepred_lib.stats.selection import Rule, forward_select, inclusion_frequency
from hepred_lib.stats.sensitivity import selection_stability


def cohort(n=250, seed=0):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 4)) * [1, 10, 1, 1], columns=list("abcd"))
    x["place"] = pd.Categorical(rng.choice(["deep", "lobar", "stem"], n))
    return x, (rng.random(n) < expit(x["a"] + 0.03 * x["b"] - 1)).to_numpy(dtype=int)


def stability(x, y, n=40, seed=5, **how):
    return selection_stability(x, y, n_resamples=n, rng=np.random.default_rng(seed), **how)


def test_it_repeats_forward_selection_and_its_fit():
    x, y = cohort()
    found = stability(x, y, n=6)
    paths, slopes = [], []
    for rows in bootstrap_indices(y, 6, np.random.default_rng(5)):
        selection = forward_select(x.iloc[rows].reset_index(drop=True), y[rows])
        paths.append(frozenset(selection.path))
        slopes.append(dict(zip(selection.model.names, selection.model.coefficients, strict=True)).get("b", 0.0))
    assert found.inclusion.to_dict() == pytest.approx({k: np.mean([k in path for path in paths]) for k in x})
    assert found.coefficients.loc["b", ["median", "low", "high"]].tolist() == pytest.approx(
        np.quantile(slopes, [0.5, 0.025, 0.975]).tolist(), abs=1e-6
    )
    assert len(found.models) == len(set(paths))


def test_inclusion_is_that_of_the_plain_function():
    x, y = cohort()
    alone = inclusion_frequency(x, y, n_resamples=40, rng=np.random.default_rng(5), criterion="aic")
    assert stability(x, y, rule=Rule("aic")).inclusion.equals(alone)


def test_the_models_frequencies_add_up_and_fall():
    models = stability(*cohort()).models
    assert models["frequency"].sum() == pytest.approx(1)
    assert (models["frequency"].diff().dropna() <= 0).all()


def test_the_full_estimate_is_the_fit_of_all_candidates_in_their_own_units():
    x, y = cohort()
    assert stability(x, y).coefficients["full"].tolist() == pytest.approx(
        fit_logistic(x, y).coefficients[1:].tolist(), abs=1e-6
    )


def test_a_forced_predictor_is_always_in():
    found = stability(*cohort(), forced=("d",))
    assert found.inclusion["d"] == 1.0
    assert found.models["predictors"].str.contains("d").all()


def test_selection_exaggerates_a_weak_effect():
    assert stability(*cohort(), n=200).coefficients.loc["b", "relative_bias_pct"] > 0


def test_a_column_never_chosen_has_no_bias():
    row = stability(*cohort(), n=5, rule=Rule(alpha=1e-9)).coefficients.loc["d"]
    assert np.isnan(row["relative_bias_pct"])
    assert row["median"] == 0


def test_no_resample_is_refused():
    with pytest.raises(ValueError, match="n_resamples must be a whole number >= 1"):
        stability(*cohort(), n=0)
