"""What the finished smoke study says of itself: its report, its notebooks' openings, the README's table."""

import json
import re
import runpy

import pytest

from hepred_lib.study.definition import NOTEBOOKS, PROJECT
from hepred_lib.study.files import read_json, read_table

pytestmark = pytest.mark.book
# What a study of any size reports; what only authors know, and what too few events allow, is another matter.
REPORTED = ["5a", "7", "8a", "10", "11", "12a", "12b", "12c", "12e", "15", "18f", "20a", "20b", "20c", "21", "22", "26"]


def test_a_finished_run_has_its_report_and_the_report_leads_somewhere(run):
    table = read_table(run / "tables" / "tripod_ai.csv").set_index("item")
    assert len(table) == 52
    assert table.loc[REPORTED, "status"].tolist() == ["answered"] * len(REPORTED)
    named = {name for names in table["where"].dropna() for name in names.split()}
    assert not [name for name in named if not (run / name).is_file()]


def test_every_file_that_a_notebook_says_it_writes_is_there(run):
    for name in NOTEBOOKS:
        executed = json.loads(next((run / "notebooks").glob(f"{name}*.ipynb")).read_text(encoding="utf-8"))
        opening = "".join(executed["cells"][0]["source"]).replace("\n", " ")
        files = re.findall(r"`([^`\s]+\.\w+)`", re.search(r"Reads .*?; writes (.*?)(?:\. [A-Z]|\.$)", opening)[1])
        assert files
        assert not [file for file in files if not (run / file.replace("<k>", "0")).is_file()], name


def test_the_readmes_table_can_be_made_of_any_run(run):
    script, results = runpy.run_path(str(PROJECT / "benchmarks" / "readme_results.py")), read_json(run / "results.json")
    text = script["section"](script["shown_numbers"](results))
    assert f"{results['n']['test']} patients, {results['n']['he_test']} with HE" in text
    assert text.count("\n| ") >= 4
