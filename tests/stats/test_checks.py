import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats import checks


def test_an_outcome_of_zeros_and_ones_is_returned_as_integers():
    assert checks.outcome([0.0, 1.0]).dtype == np.int64


def test_one_class_is_allowed_on_request():
    assert checks.outcome([0, 0], both_classes=False).tolist() == [0, 0]


def test_a_nullable_column_without_missing_values_is_read():
    assert checks.outcome(pd.Series([0, 1], dtype="Int64")).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 2], r"y must hold 0 and 1 only, got 2 at position 1"),
        ([0, 1, np.nan], r"y must hold 0 and 1 only, got nan at position 2"),
        ([0, 1, np.inf], r"y must hold 0 and 1 only, got inf"),
        ([0, 0.5, 1], r"y must hold 0 and 1 only, got 0\.5"),
        (["0", "1"], r"y must hold numbers without missing values"),
        ([0, 1, None], r"y must hold numbers without missing values"),
        ([True, False], r"y must hold numbers without missing values, got bool"),
        ([1, 1, 1], r"y must hold both 0 and 1, got 1 for all 3 patients"),
        (pd.Series([0, 1, None], dtype="Int64"), "y must hold"),
        ([[0, 1]], r"y must be one-dimensional and not empty, got shape \(1, 2\)"),
        ([], r"y must be one-dimensional and not empty"),
        (1, r"y must be one-dimensional and not empty"),
    ],
)
def test_an_outcome_that_is_no_outcome_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        checks.outcome(y)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused(wrong):
    with pytest.raises(ValueError, match="score must be finite"):
        checks.scores([0.0, wrong])


@pytest.mark.parametrize("wrong", [-0.01, 1.01])
def test_a_probability_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        checks.probabilities([0.5, wrong])


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="y and p must have one length, got 2 and 3"):
        checks.outcome_and_probability([0, 1], [0.1, 0.2, 0.3])


def test_predictions_of_other_patients_are_refused():
    y = pd.Series([0, 1], index=["HE-1", "HE-2"])
    with pytest.raises(ValueError, match="y and p must share one index"):
        checks.outcome_and_probability(y, pd.Series([0.1, 0.2], index=["HE-2", "HE-1"]))


@pytest.mark.parametrize("wrong", [0, 1, np.nan])
def test_a_level_on_its_bounds_is_refused(wrong):
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        checks.between(wrong, "level", 0, 1)


@pytest.mark.parametrize("wrong", [1.5, -1, float("nan"), float("inf")])
def test_a_count_that_is_no_count_is_refused(wrong):
    with pytest.raises(ValueError, match="tp must be a whole number >= 0"):
        checks.at_least(wrong, "tp", 0)


@pytest.mark.parametrize("wrong", ["0.5", None])
def test_text_and_nothing_are_no_numbers(wrong):
    for check in (lambda v: checks.between(v, "level", 0, 1), lambda v: checks.at_least(v, "level", 0)):
        with pytest.raises(ValueError, match=f"level must .*, got {wrong}"):
            check(wrong)
    with pytest.raises(ValueError, match=f"level must be a number, got {wrong}"):
        checks.number(wrong, "level")


@pytest.mark.parametrize("wrong", [7, None])
def test_a_seed_is_no_generator(wrong):
    with pytest.raises(ValueError, match=f"rng must be a random generator, .*got {wrong}"):
        checks.generator(wrong)


def test_folds_are_numbered_in_their_order():
    assert checks.fold_numbers(["b", "a", "c", "a"], 4).tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        ([0, 1, np.nan], "fold must be known for every patient, got none at position 2"),
        ([0, None, 1], "fold must be known for every patient, got none at position 1"),
        ([2, 2, 2], "fold must hold at least 2 labels"),
        ([0, 1], "fold must hold one label for each of the 3 rows"),
        ([[0, 1, 2]], "fold must hold one label for each of the 3 rows"),
    ],
)
def test_folds_that_are_none_are_refused(fold, message):
    with pytest.raises(ValueError, match=message):
        checks.fold_numbers(fold, 3)
