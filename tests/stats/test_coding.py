import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats.logistic import Coding, standardize, unscale

TABLE = pd.DataFrame(
    {"age": [60.0, 70.0, 80.0], "location": pd.Categorical(["deep", "lobar", None], ["deep", "lobar"])}
)


def test_a_category_becomes_one_column_for_each_level_but_the_first():
    coded = Coding.of(TABLE).matrix(TABLE)
    assert list(coded.columns) == ["age", "location[lobar]"]
    np.testing.assert_array_equal(coded["location[lobar]"], [0.0, 1.0, np.nan])


def test_levels_that_never_occur_are_kept_only_on_request():
    table = TABLE.assign(location=TABLE["location"].cat.add_categories("stem"))
    assert Coding.of(table).names == ("age", "location[lobar]")
    assert Coding.of(table, observed=False).names == ("age", "location[lobar]", "location[stem]")


def test_booleans_and_nullable_numbers_are_numbers():
    table = pd.DataFrame({"ivh": [True, False], "gcs": pd.array([15, None], dtype="Int64")})
    np.testing.assert_array_equal(Coding.of(table).matrix(table), [[1.0, 15.0], [0.0, np.nan]])


def test_a_patient_read_from_a_file_may_hold_nothing_at_all():
    patient = pd.DataFrame([{"age": None, "location": None}])
    assert Coding.of(TABLE).matrix(patient).isna().all(axis=None)


def test_text_that_names_a_known_level_is_coded_like_the_category():
    text = TABLE.assign(location=["lobar", "deep", "lobar"])
    assert Coding.of(TABLE).matrix(text)["location[lobar]"].tolist() == [1.0, 0.0, 1.0]


def test_an_unknown_level_is_refused_by_name():
    with pytest.raises(ValueError, match=r"location must hold one of .*got \['stem'\]"):
        Coding.of(TABLE).matrix(TABLE.assign(location="stem"))


def test_text_columns_are_refused():
    with pytest.raises(ValueError, match="Column sex must be numeric, 0/1 or categorical"):
        Coding.of(pd.DataFrame({"sex": ["F", "M"]}))


@pytest.mark.parametrize("value", ["old", np.inf])
def test_a_number_that_is_none_is_refused_by_column(value):
    with pytest.raises(ValueError, match="Column age must hold finite numbers"):
        Coding.of(TABLE).matrix(pd.DataFrame({"age": [value, 1.0], "location": ["deep", None]}))


def test_an_absent_column_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Columns \['age'\] are required"):
        Coding.of(TABLE).matrix(TABLE[["location"]])


def test_standardized_rows_turn_back_into_the_columns_own_units():
    coded = pd.DataFrame({"age": [60.0, 70.0, 95.0], "gcs": [15.0, 3.0, 9.0]})
    design, center, scale = standardize(coded)
    back, _ = unscale(np.array([0.5, 1.0, -2.0]), np.eye(3), center, scale)
    assert back[0] + coded.to_numpy() @ back[1:] == pytest.approx(np.array([0.5, 1.0, -2.0]) @ design)


@pytest.mark.parametrize(("wrong", "message"), [(np.eye(2), "x must be a table"), (pd.DataFrame(np.eye(2)), "text")])
def test_a_table_without_names_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Coding.of(wrong)
