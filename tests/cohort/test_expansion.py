import numpy as np
import pytest

from hepred_lib.cohort.expansion import DEFINITIONS, expansion_label


@pytest.mark.parametrize(
    ("definition", "baseline_ml", "followup_ml", "label"),
    [
        ("6ml_or_33pct", 30.0, 36.0, 0),
        ("6ml_or_33pct", 30.0, 36.01, 1),
        ("6ml_or_33pct", 10.0, 13.3, 0),
        ("6ml_or_33pct", 10.0, 13.31, 1),
        ("ge6ml_or_ge33pct", 30.0, 36.0, 1),
        ("ge6ml_or_ge33pct", 10.0, 13.3, 1),
        ("ge6ml_or_ge33pct", 30.0, 35.99, 0),
        ("12.5ml_or_33pct", 50.0, 62.5, 1),
        ("12.5ml_or_33pct", 50.0, 62.49, 0),
        ("12.5ml_or_33pct", 10.0, 13.3, 0),
        ("12.5ml_or_33pct", 10.0, 13.31, 1),
        ("6ml", 10.0, 16.0, 0),
        ("6ml", 10.0, 16.01, 1),
    ],
)
def test_label_on_both_sides_of_each_threshold(definition, baseline_ml, followup_ml, label):
    assert expansion_label(baseline_ml, followup_ml, definition=definition) == label


@pytest.mark.parametrize(
    ("baseline_ivh_ml", "followup_ivh_ml", "label"),
    [(0.0, 0.0, 0), (0.0, 0.1, 1), (2.0, 2.9, 0), (2.0, 3.0, 1), (3.0, 1.0, 0)],
)
def test_revised_definition_adds_new_or_one_ml_more_ventricular_blood(baseline_ivh_ml, followup_ivh_ml, label):
    ivh = {"baseline_ivh_ml": baseline_ivh_ml, "followup_ivh_ml": followup_ivh_ml}
    assert expansion_label(10.0, 10.5, **ivh, definition="revised") == label


def test_binary_rounding_does_not_cross_a_threshold():
    assert 0.1 + 6.0 - 0.1 != 6.0 or 8.3 - 2.3 != 6.0
    assert [expansion_label(v, v + 6.0, definition="6ml") for v in np.arange(0.1, 60, 0.1)] == [0] * 599


def test_scalars_give_an_int_and_arrays_an_int_array():
    labels = expansion_label([10.0, 10.0], [10.0, 20.0])
    assert isinstance(expansion_label(10.0, 20.0), int)
    assert labels.dtype.kind == "i"
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize("definition", [name for name in DEFINITIONS if name != "revised"])
def test_a_shrinking_hematoma_and_no_blood_that_stays_none_do_not_expand(definition):
    assert expansion_label([20.0, 0.0], [5.0, 0.0], definition=definition).tolist() == [0, 0]
    assert expansion_label([], [], definition=definition).shape == (0,)
    assert DEFINITIONS[definition].source


@pytest.mark.parametrize(
    ("volumes", "definition", "message"),
    [
        ((1.0, 1.0), "30pct", r"definition must be one of 6ml_or_33pct, .*, got '30pct'"),
        (([1.0, 1.0], [1.0, -0.1]), "6ml", "followup_ml must be >= 0 mL and finite"),
        (([1.0, 1.0], [1.0, np.nan]), "6ml", "followup_ml must be >= 0 mL and finite"),
        (([1.0, 1.0], [1.0, np.inf]), "6ml", "followup_ml must be >= 0 mL and finite"),
        (([1.0, 1.0], [1.0]), "6ml", "followup_ml must have the shape of baseline_ml"),
        ((1.0, 1.0), "revised", "baseline_ivh_ml must be given"),
    ],
)
def test_what_has_no_label_is_refused(volumes, definition, message):
    with pytest.raises(ValueError, match=message):
        expansion_label(*volumes, definition=definition)


def test_labels_equal_the_rule_written_out_patient_by_patient():
    rng = np.random.default_rng(2)
    baseline = rng.lognormal(2.4, 1.1, 500)
    followup = baseline * rng.lognormal(0.1, 0.3, 500)
    by_hand = [
        int(after - before > 6 or (after - before) / before > 0.33)
        for before, after in zip(baseline, followup, strict=True)
    ]
    assert expansion_label(baseline, followup).tolist() == by_hand
