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
        ("6ml", 10.0, 15.0, 0),
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


def test_revised_definition_keeps_parenchymal_growth():
    assert expansion_label(10.0, 20.0, baseline_ivh_ml=0, followup_ivh_ml=0, definition="revised") == 1


def test_default_is_more_than_6_ml_or_more_than_33_percent():
    assert expansion_label(10.0, 13.4) == expansion_label(10.0, 13.4, definition="6ml_or_33pct") == 1


def test_binary_rounding_does_not_cross_a_threshold():
    assert 0.1 + 6.0 - 0.1 != 6.0 or 8.3 - 2.3 != 6.0
    assert [expansion_label(v, v + 6.0, definition="6ml") for v in np.arange(0.1, 60, 0.1)] == [0] * 599


def test_scalars_give_an_int_and_arrays_an_int_array():
    labels = expansion_label([10.0, 10.0], [10.0, 20.0])
    assert isinstance(expansion_label(10.0, 20.0), int)
    assert labels.dtype.kind == "i"
    assert labels.tolist() == [0, 1]


def test_order_of_patients_does_not_matter():
    rng = np.random.default_rng(1)
    baseline, growth, order = rng.lognormal(2.4, 1, 50), rng.normal(2, 5, 50), rng.permutation(50)
    followup = np.maximum(baseline + growth, 0)
    assert (expansion_label(baseline, followup)[order] == expansion_label(baseline[order], followup[order])).all()


def test_a_shrinking_hematoma_does_not_expand():
    assert not any(expansion_label(20.0, 5.0, definition=name) for name in DEFINITIONS if name != "revised")


@pytest.mark.parametrize("definition", ["6ml_or_33pct", "ge6ml_or_ge33pct", "12.5ml_or_33pct", "6ml"])
def test_no_blood_that_stays_no_blood_does_not_expand(definition):
    assert expansion_label(0.0, 0.0, definition=definition) == 0


def test_no_patients_give_no_labels():
    assert expansion_label([], []).shape == (0,)


def test_every_definition_names_its_source():
    assert all(rule.source for rule in DEFINITIONS.values())


def test_an_unknown_definition_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"definition must be one of 6ml_or_33pct, .*, got '30pct'"):
        expansion_label(1.0, 1.0, definition="30pct")


@pytest.mark.parametrize("wrong", [-0.1, np.nan, np.inf])
def test_a_volume_that_is_no_volume_is_refused(wrong):
    with pytest.raises(ValueError, match="followup_ml must be >= 0 mL and finite"):
        expansion_label([1.0, 1.0], [1.0, wrong])


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="followup_ml must have the shape of baseline_ml"):
        expansion_label([1.0, 1.0], [1.0])


def test_revised_definition_without_ventricular_volumes_is_refused():
    with pytest.raises(ValueError, match="baseline_ivh_ml must be given"):
        expansion_label(1.0, 1.0, definition="revised")


def test_labels_equal_the_rule_written_out_patient_by_patient():
    rng = np.random.default_rng(2)
    baseline = rng.lognormal(2.4, 1.1, 500)
    followup = baseline * rng.lognormal(0.1, 0.3, 500)
    by_hand = [
        int(after - before > 6 or (after - before) / before > 0.33)
        for before, after in zip(baseline, followup, strict=True)
    ]
    assert expansion_label(baseline, followup).tolist() == by_hand
