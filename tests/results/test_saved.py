import numpy as np
import pandas as pd
import pytest

from hepred_lib.study.tables import as_printed, save_table


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "group": ["female", None],
            "n": [47, 60],
            "auc": [0.8123456, np.nan],
            "auc_low": [0.7, np.nan],
            "auc_high": [0.9, np.nan],
            "selected": [True, False],
            "p_auc": [0.0004, np.nan],
        }
    )


def test_estimates_are_joined_with_their_limits_and_counts_stay_whole(table):
    assert as_printed(table).to_numpy().tolist() == [
        ["female", "47", "0.81 (0.70-0.90)", "yes", "<0.001"],
        ["", "60", "not estimable", "no", "not estimable"],
    ]


def test_limits_without_a_name_belong_to_the_column_before_them():
    odds = pd.DataFrame({"label": ["GCS"], "odds_ratio": [0.86], "low": [0.78], "high": [0.95]})
    assert as_printed(odds).to_numpy().tolist() == [["GCS", "0.86 (0.78-0.95)"]]


def test_the_csv_keeps_every_digit_and_the_page_those_that_matter(table, tmp_path):
    shown = save_table(tmp_path, "subgroups", table)
    assert pd.read_csv(tmp_path / "tables" / "subgroups.csv")["auc"][0] == 0.8123456
    latex = (tmp_path / "tables" / "subgroups.tex").read_text(encoding="utf-8")
    assert "female & 47 & 0.81 (0.70-0.90) & yes & $<$0.001" in latex
    assert shown.equals(as_printed(table))


def test_a_table_without_rows_is_written_with_its_heading(table, tmp_path):
    save_table(tmp_path, "empty", table.iloc[:0])
    assert "group & n & auc" in (tmp_path / "tables" / "empty.tex").read_text(encoding="utf-8")
