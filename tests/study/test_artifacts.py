"""Files: written whole or not at all, replaced only when their bytes change, the same bytes every time."""

import json

import numpy as np
import pandas as pd
import pytest

from hepred_lib.study import (
    read_figure_data,
    read_table,
    scan_checksums,
    write_bytes,
    write_figure_data,
    write_json,
    write_latex,
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


def test_latex_escapes_what_latex_would_read(tmp_path):
    write_latex(tmp_path / "t.tex", pd.DataFrame({"model": ["a_b"], "rate": ["5 %"]}))
    assert r"a\_b & 5 \% \\" in (tmp_path / "t.tex").read_text()


def test_checksums_of_scans_do_not_depend_on_their_order(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(path.name.encode())
    assert scan_checksums(paths) == scan_checksums(paths[::-1])
    paths[0].write_bytes(b"changed")
    assert scan_checksums(paths) != scan_checksums([tmp_path / "b"])
