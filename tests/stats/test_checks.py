import numpy as np
import pandas as pd
import pytest

from hepred_lib.stats import checks


def test_an_outcome_is_returned_as_integers_from_numbers_and_nullable_columns_and_of_one_class_on_request():
    assert checks.outcome([0.0, 1.0]).dtype == np.int64
    assert checks.outcome(pd.Series([0, 1], dtype="Int64")).tolist() == [0, 1]
    assert checks.outcome([0, 0], both_classes=False).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 2], r"y must hold 0 and 1 only, got 2 at position 1"),
        ([0, 1, np.inf], r"y must hold 0 and 1 only, got inf"),
        ([0, 0.5, 1], r"y must hold 0 and 1 only, got 0\.5"),
        (["0", "1"], r"y must hold numbers without missing values"),
        ([True, False], r"y must hold numbers without missing values, got bool"),
        (pd.Series([0, 1, None], dtype="Int64"), "y must hold"),
        ([[0, 1]], r"y must be one-dimensional and not empty, got shape \(1, 2\)"),
        ([], r"y must be one-dimensional and not empty"),
    ],
)
def test_an_outcome_that_is_no_outcome_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        checks.outcome(y)


OTHERS = pd.Series([0.1, 0.2], index=["HE-2", "HE-1"])
LABELS = "fold must hold one label for each of the 3 rows"
REFUSED = [
    (lambda: checks.scores([0.0, np.nan]), "score must be finite"),
    (lambda: checks.probabilities([0.5, -0.01]), r"p must lie in \[0, 1\]"),
    (lambda: checks.outcome_and_probability([0, 1], [0.1, 0.2, 0.3]), "y and p must have one length, got 2 and 3"),
    (lambda: checks.outcome_and_probability((OTHERS > 0.1).astype(int)[::-1], OTHERS), "y and p must share one index"),
    *((lambda w=w: checks.between(w, "level", 0, 1), "level must lie between 0 and 1") for w in (0, 1, np.nan)),
    *((lambda w=w: checks.at_least(w, "tp", 0), "tp must be a whole number >= 0") for w in (1.5, -1, np.nan, np.inf)),
    *((lambda w=w: checks.between(w, "level", 0, 1), f"level must .*, got {w}") for w in ("0.5", None)),
    *((lambda w=w: checks.at_least(w, "level", 0), f"level must .*, got {w}") for w in ("0.5", None)),
    *((lambda w=w: checks.number(w, "level"), f"level must be a number, got {w}") for w in ("0.5", None)),
    *((lambda w=w: checks.generator(w), f"rng must be a random generator, .*got {w}") for w in (7, None)),
    (lambda: checks.fold_numbers([0, 1, np.nan], 3), "fold must be known for every patient, got none at position 2"),
    (lambda: checks.fold_numbers([0, None, 1], 3), "fold must be known for every patient, got none at position 1"),
    (lambda: checks.fold_numbers([2, 2, 2], 3), "fold must hold at least 2 labels"),
    *((lambda w=w: checks.fold_numbers(w, 3), LABELS) for w in ([0, 1], [[0, 1, 2]])),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_is_no_score_probability_number_seed_or_fold_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_folds_are_numbered_in_their_order():
    assert checks.fold_numbers(["b", "a", "c", "a"], 4).tolist() == [1, 0, 2, 0]
