"""Files: written whole or not at all, replaced only when their bytes change, the same bytes every time."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from hepred_lib.errors import StudyError
from hepred_lib.progress import RUNNER, progress
from hepred_lib.study.files import (
    read_figure_data,
    read_json,
    read_printed,
    read_table,
    scan_checksums,
    write_bytes,
    write_figure_data,
    write_json,
    write_table,
)


def test_a_file_is_replaced_only_when_its_bytes_change(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    assert write_bytes(path, b"one")
    before = path.stat().st_mtime_ns
    assert not write_bytes(path, b"one")
    assert path.stat().st_mtime_ns == before
    assert write_bytes(path, b"two")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_bytes(path, b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"


def test_json_holds_plain_numbers_and_null_for_what_is_not_a_number(tmp_path):
    write_json(tmp_path / "a.json", {"n": np.int64(3), "x": [np.float64(0.5), np.nan, np.inf], "y": pd.NA})
    assert json.loads((tmp_path / "a.json").read_text()) == {"n": 3, "x": [0.5, None, None], "y": None}


def test_a_table_comes_back_to_the_last_bit_with_identifiers_as_text(tmp_path):
    table = pd.DataFrame({"patient_id": pd.array(["007", "8"], dtype="string"), "p": [1 / 3, np.nextafter(0.1, 1)]})
    write_table(tmp_path / "t.csv", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), table)


def test_figure_data_come_back_by_name_and_are_the_same_bytes_again(tmp_path):
    arrays = {"hu": np.arange(6.0).reshape(1, 2, 3), "titles": np.array(["a"])}
    write_figure_data(tmp_path, "montage", arrays)
    first = (tmp_path / "montage.npz").read_bytes()
    write_figure_data(tmp_path, "montage", arrays)
    write_figure_data(tmp_path, "roc", pd.DataFrame({"x": [0.25]}))
    back = read_figure_data(tmp_path)
    assert (tmp_path / "montage.npz").read_bytes() == first
    assert list(back) == ["montage", "roc"]
    np.testing.assert_array_equal(back["montage"]["hu"], arrays["hu"])


def test_a_table_is_read_back_as_text_or_as_numbers(tmp_path):
    table = pd.DataFrame({"name": ["NA", "b"], "auc": ["0.80", "0.91"], "n": [3, np.nan]})
    write_table(tmp_path / "t.csv", table)
    assert read_printed(tmp_path / "t.csv").to_numpy().tolist() == [["NA", "0.80", "3.0"], ["b", "0.91", ""]]
    back = read_printed(tmp_path / "t.csv", numbers=True)
    assert back["name"].tolist() == ["NA", "b"]
    assert back["auc"].sum() == pytest.approx(1.71)
    assert back["n"].isna().tolist() == [False, True]
    write_table(tmp_path / "t.csv", pd.DataFrame([["a", "b"]], columns=["x", "x"]))
    assert (tmp_path / "t.csv").read_text() == "x,x\na,b\n", "names may repeat"
    write_table(tmp_path / "t.csv", pd.DataFrame())
    assert read_printed(tmp_path / "t.csv").empty


def test_checksums_of_scans_do_not_depend_on_their_order(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(path.name.encode())
    assert scan_checksums(paths) == scan_checksums(paths[::-1])
    paths[0].write_bytes(b"changed")
    assert scan_checksums(paths) != scan_checksums([tmp_path / "b"])


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-cmd|x", "\t=1"])
def test_text_that_a_spreadsheet_would_run_is_marked_as_text(tmp_path, text):
    write_table(tmp_path / "table.csv", pd.DataFrame({"patient_id": ["1"], "site": [text], "=n()": [1.5]}))
    read = pd.read_csv(tmp_path / "table.csv")
    assert read["site"].tolist() == ["'" + text]
    assert read.columns.tolist() == ["patient_id", "site", "'=n()"]


@pytest.mark.parametrize("text", ["-0.05 (-0.10 to 0.02)", "-", "+1", "- 3", "A+B", "1=1", "-.5", "Zürich"])
def test_numbers_intervals_and_plain_text_stay_as_they_are(tmp_path, text):
    write_table(tmp_path / "table.csv", pd.DataFrame({"site": [text]}))
    assert (tmp_path / "table.csv").read_text(encoding="utf-8") == f"site\n{text}\n"


@pytest.mark.parametrize(
    ("name", "notebook"),
    [
        ("cohort.csv", "01_cohort"),
        ("slices/quality.csv", "02_preprocessing"),
        ("folds/1/predictions.csv", "03_multitask_training"),
        ("predictions.csv", "07_roc_calibration_figures"),
        ("records/02_preprocessing.json", "02_preprocessing"),
        ("other.csv", ""),
    ],
)
def test_a_file_that_is_not_there_yet_names_the_notebook_to_run_first(tmp_path, name, notebook):
    remedy = f"; run notebook {notebook} first" if notebook else r"\. Run the study again"
    with pytest.raises(StudyError, match=f"cannot use .*{name}: it is not there{remedy}"):
        read_json(tmp_path / name) if name.endswith("json") else read_table(tmp_path / name)


def test_bars_are_shown_to_who_works_in_jupyter_and_kept_off_executed_pages(monkeypatch):
    monkeypatch.delenv(RUNNER, raising=False)
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    with progress(total=1, file=io.StringIO()) as bar:
        assert not bar.disable
    monkeypatch.setenv(RUNNER, "1")
    assert progress(total=1).disable
