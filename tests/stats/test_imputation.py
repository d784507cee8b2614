import json

import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats.imputation import Imputer, fit_imputer, impute_development


def rng(seed=0):
    return np.random.default_rng(seed)


def cohort(n=300, seed=0):
    """Two related numbers, one skewed, a related sign, a category; the first three partly missing."""
    draw = rng(seed)
    latent = draw.normal(size=n)
    x = pd.DataFrame({"gcs": 10 + 2 * latent, "onset_h": np.exp(0.8 * latent + 0.6 * draw.normal(size=n))})
    x["ivh"] = (latent + draw.normal(size=n) < -0.5).astype(float)
    x["age"] = draw.normal(65, 10, n)
    x["place"] = pd.Categorical(draw.choice(["deep", "lobar", "stem"], n))
    full = x.copy()
    for name in ("gcs", "onset_h", "ivh", "place"):
        x.loc[draw.random(n) < 0.15, name] = np.nan
    return x, full


def test_complete_rows_pass_through_unchanged():
    x, full = cohort()
    numbers = full[["gcs", "onset_h", "ivh", "age"]]
    for completed in fit_imputer(x, n_imputations=3, rng=rng()).impute(full):
        pd.testing.assert_frame_equal(completed[list(numbers)], numbers)


def test_observed_cells_of_incomplete_rows_are_returned_as_they_came():
    x, _ = cohort()
    for completed in fit_imputer(x, n_imputations=2, rng=rng()).impute(x):
        seen = x["onset_h"].notna()
        assert completed.loc[seen, "onset_h"].equals(x.loc[seen, "onset_h"])


def test_a_lone_constant_column_is_imputed_by_its_constant():
    x = pd.DataFrame({"sbp": [170.0, 170.0, np.nan, 170.0]})
    assert fit_imputer(x, n_imputations=1, rng=rng()).impute(x)[0]["sbp"].tolist() == [170.0] * 4


def test_a_patient_alone_gets_the_same_values_as_in_a_batch():
    x, _ = cohort()
    imputer = fit_imputer(x, n_imputations=3, rng=rng())
    batch = imputer.impute(x)
    for row in np.flatnonzero(x.isna().any(axis=1))[:25]:
        for together, alone in zip(batch, imputer.impute(x.iloc[[row]]), strict=True):
            np.testing.assert_allclose(alone.to_numpy()[0], together.to_numpy()[row], rtol=1e-12, atol=1e-12)


def test_the_order_of_patients_does_not_matter():
    x, _ = cohort()
    imputer = fit_imputer(x, n_imputations=1, rng=rng())
    backwards = imputer.impute(x.iloc[::-1])[0].iloc[::-1]
    pd.testing.assert_frame_equal(backwards, imputer.impute(x)[0])


def test_imputed_values_stay_inside_the_observed_range():
    x, _ = cohort()
    far = x.assign(age=500.0, gcs=np.nan, onset_h=np.nan, ivh=np.nan, place=np.nan)
    for completed in fit_imputer(x, n_imputations=5, rng=rng()).impute(far):
        assert completed["onset_h"].between(x["onset_h"].min(), x["onset_h"].max()).all()
        assert completed["gcs"].between(x["gcs"].min(), x["gcs"].max()).all()
        assert completed[["ivh", "place[lobar]", "place[stem]"]].stack().between(0, 1).all()
        assert (completed["place[lobar]"] + completed["place[stem]"] <= 1 + 1e-12).all()


def test_development_draws_are_zero_or_one_and_name_at_most_one_level():
    x, _ = cohort()
    for values in impute_development(x, n_imputations=3, rng=rng())[1]:
        assert np.isin(values[:, [2, 4, 5]], (0, 1)).all()
        assert values[:, 4:].sum(axis=1).max() <= 1


def test_every_pattern_of_gaps_can_be_imputed():
    x, _ = cohort(n=40)
    bare = pd.DataFrame({name: [np.nan] for name in x})
    completed = fit_imputer(x, n_imputations=2, rng=rng()).impute(bare)
    assert all(table.notna().all(axis=None) for table in completed)


def test_imputation_recovers_what_related_columns_know():
    x, full = cohort(n=2000)
    completed = impute_development(x, n_imputations=5, rng=rng())[1]
    lost = x["gcs"].isna().to_numpy()
    drawn = np.mean([values[:, 0] for values in completed], axis=0)
    assert np.corrcoef(drawn[lost], full["gcs"][lost])[0, 1] > 0.7
    spread = np.mean([values[lost, 0].std() for values in completed])
    assert spread == pytest.approx(full["gcs"].std(), rel=0.1)


def test_values_missing_by_a_related_column_are_corrected():
    x, full = cohort(n=3000)
    x["onset_h"] = full["onset_h"].where(full["gcs"] > 10)
    means = [
        values[:, 1].mean()
        for values in impute_development(full.assign(onset_h=x["onset_h"]), n_imputations=4, rng=rng())[1]
    ]
    assert abs(np.mean(np.log(means)) - np.log(full["onset_h"].mean())) < 0.5 * abs(
        np.log(x["onset_h"].mean()) - np.log(full["onset_h"].mean())
    )


def test_an_imputer_survives_json():
    x, _ = cohort()
    imputer = fit_imputer(x, n_imputations=3, rng=rng())
    stored = Imputer.from_json(json.loads(json.dumps(imputer.to_json(), allow_nan=False)))
    for one, two in zip(imputer.impute(x), stored.impute(x), strict=True):
        pd.testing.assert_frame_equal(one, two)


def test_the_same_seed_gives_the_same_imputer():
    x, _ = cohort()
    one, two = (fit_imputer(x, n_imputations=2, rng=rng(3)) for _ in range(2))
    assert (one.means == two.means).all()


@pytest.mark.parametrize("name", ["gcs", "place"])
def test_a_column_without_values_is_refused_by_name(name):
    x, _ = cohort()
    x[name] = x[name].where(x["age"] > 1e6)
    with pytest.raises(ValueError, match=f"got none in {name}"):
        fit_imputer(x, n_imputations=2, rng=rng())


def test_no_imputation_at_all_is_refused():
    with pytest.raises(ValueError, match="n_imputations must be a whole number >= 1"):
        fit_imputer(cohort()[0], n_imputations=0, rng=rng())


def test_a_column_the_imputer_knows_must_be_there():
    x, _ = cohort()
    with pytest.raises(ValueError, match=r"\['age'\] are required"):
        fit_imputer(x, n_imputations=1, rng=rng()).impute(x.drop(columns="age"))


def test_single_draws_equal_the_textbook_conditional_of_a_joint_normal():
    x, _ = cohort()
    imputer = fit_imputer(x[["gcs", "age"]].assign(age=x["age"]), n_imputations=2, rng=rng())
    row = pd.DataFrame({"gcs": [np.nan], "age": [70.0]})
    (values, scores), (mean, cov) = imputer.knots[0], (imputer.means[1], imputer.covariances[1])
    seen = np.interp(70.0, *imputer.knots[1])
    expected = mean[0] + cov[0, 1] / cov[1, 1] * (seen - mean[1])
    noise = imputer.scores[1, 0] * np.sqrt(cov[0, 0] - cov[0, 1] ** 2 / cov[1, 1])
    assert imputer.impute(row)[1]["gcs"][0] == pytest.approx(np.interp(expected + noise, scores, values))


def test_a_table_without_columns_is_refused():
    with pytest.raises(ValueError, match="x must have at least one column to impute"):
        fit_imputer(cohort()[0][[]], n_imputations=1, rng=rng())
