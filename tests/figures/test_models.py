import pytest

from hepred_lib.figures.catalogue import draw
from hepred_lib.figures.models import WIDEST_MODELS as WIDEST


def test_terms_stand_under_their_model_with_unit_and_numbers(drawn):
    axes = drawn["odds_ratios_clinical"].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[:3] == ["Clinical model", "GCS, per point", "Onset to CT, per hour"]
    assert axes.texts[0].get_text() == "0.86 (0.78–0.95)"


def test_an_endless_interval_ends_in_an_arrow_at_the_axis(examples):
    table = examples["odds_ratios_clinical"]
    wide = draw("odds_ratios_clinical", table).axes[0]
    narrow = draw("odds_ratios_clinical", table.query("high < 10")).axes[0]
    assert wide.get_xlim()[1] == WIDEST[1]
    assert [line.get_marker() for line in wide.lines].count(">") == 1
    assert [line.get_marker() for line in narrow.lines].count(">") == 0


def test_a_ratio_without_an_interval_stands_alone(examples):
    table = examples["odds_ratios_clinical"].iloc[:1].assign(low=float("nan"), high=float("nan"))
    assert draw("odds_ratios_clinical", table).axes[0].texts[0].get_text() == "0.86"


@pytest.mark.parametrize(("high", "text"), [(9.994, "9.99"), (12.34, "12.3"), (432.1, "432")])
def test_large_ratios_are_printed_with_fewer_decimals(high, text, examples):
    table = examples["odds_ratios_clinical"].iloc[:1].assign(high=high)
    assert draw("odds_ratios_clinical", table).axes[0].texts[0].get_text() == f"0.86 (0.78–{text})"


def test_selected_candidates_are_filled_and_others_hatched(examples, drawn):
    bars = drawn["inclusion_frequency"].axes[0].patches
    assert [bar.get_hatch() is None for bar in bars] == examples["inclusion_frequency"]["selected"].tolist()
    assert [bar.get_width() for bar in bars] == examples["inclusion_frequency"]["frequency"].tolist()


def test_without_a_known_truth_no_kind_is_printed(examples):
    figure = draw("inclusion_frequency", examples["inclusion_frequency"].drop(columns="kind"))
    assert not any(text.get_text() for text in figure.axes[0].texts)


def test_missing_shares_are_printed_in_per_cent_by_outcome(drawn):
    axes = drawn["missing"].axes[0]
    assert [text.get_text() for text in axes.texts] == ["31", "28", "40", "5", "4", "8", "0", "0", "0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["all\nn = 107", "no HE\nn = 86", "HE\nn = 21"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Glucose", "NIHSS", "Age"]


def test_strong_correlations_are_printed_in_hundredths(drawn):
    axes = drawn["correlation"].axes[0]
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["−72", "20"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["GCS", "NIHSS", "Site A"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Age", "GCS", "NIHSS"]
