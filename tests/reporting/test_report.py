"""The report's files: valid pages with links that lead somewhere, the same bytes again, refused without a study."""

import re
import subprocess
import sys

import pandas as pd
import pytest

from hepred_lib.reporting.report import write_report
from hepred_lib.study.definition import StudyError
from hepred_lib.study.files import read_json, read_table, write_json

LINK = re.compile(r"\]\(([^)]+)\)")


def test_the_files_are_named_and_written(run):
    names = [path.relative_to(run).as_posix() for path in write_report(run)]
    assert names == [
        *("report/model_card.md", "report/data_card.md", "report/tripod_ai.md"),
        *("tables/tripod_ai.csv", "tables/tripod_ai.tex"),
    ]
    assert all((run / name).stat().st_size for name in names)


def test_a_second_report_touches_nothing(run):
    before = [path.stat().st_mtime_ns for path in write_report(run)]
    assert [path.stat().st_mtime_ns for path in write_report(run)] == before


def test_two_copies_of_a_study_give_the_same_bytes(run, tmp_path):
    copy = tmp_path / "copy"
    run.rename(copy)
    first = [path.read_bytes() for path in write_report(copy)]
    copy.rename(run)
    assert [path.read_bytes() for path in write_report(run)] == first


@pytest.mark.parametrize("page", ["model_card", "data_card", "tripod_ai"])
def test_a_page_has_one_title_whole_tables_and_links_that_lead_somewhere(run, page):
    write_report(run)
    text = (run / "report" / f"{page}.md").read_text()
    assert [line[:2] for line in text.splitlines() if re.match("# ", line)] == ["# "]
    assert text.startswith("# ")
    targets = LINK.findall(text)
    assert targets
    assert not [target for target in targets if not (run / "report" / target).exists()]
    for block in re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_notebooks_are_linked_where_the_run_keeps_them(run):
    write_report(run)
    text = (run / "report" / "tripod_ai.md").read_text()
    assert "(../notebooks/07_roc_calibration_figures.ipynb)" in text
    assert "(../notebooks/03_multitask_training_fold0.ipynb)" in text


def test_the_csv_holds_all_52_sub_items(run):
    write_report(run)
    table = read_table(run / "tables" / "tripod_ai.csv")
    assert len(table) == 52
    assert set(table.columns) >= {"item", "heading", "status", "answer", "where"}


def test_an_unfinished_run_is_refused_by_name(tmp_path):
    with pytest.raises(StudyError, match="must be the folder of a finished study"):
        write_report(tmp_path)


def test_a_run_that_lost_its_provenance_is_refused_by_name(run):
    (run / "provenance.json").unlink()
    with pytest.raises(StudyError, match=r"provenance.json is not there"):
        write_report(run)


def test_no_torch_is_loaded(run):
    code = "import sys; from hepred_lib.reporting import write_report; write_report(sys.argv[1])\n"
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules", str(run)], check=True)


def test_a_study_without_scans_reports_its_clinical_model(run):
    content = read_json(run / "results.json")
    content["image_source"], content["comparisons"] = "none", []
    content["models"] |= {"image": None, "integrated": None}
    content["segmentation"] = dict.fromkeys(content["segmentation"])
    content["detection"] |= {"auc": None, "auc_ci": None}
    write_json(run / "results.json", content)
    for name in ("02", "03", "04", "06", "08"):
        for path in [*(run / "notebooks").glob(f"{name}*"), *(run / "records").glob(f"{name}*")]:
            path.unlink()
    for name in ("image_model.json", "integrated_model.json", "external.json", "slices/quality.csv"):
        (run / name).unlink()
    write_report(run)
    table = pd.read_csv(run / "tables" / "tripod_ai.csv").set_index("item")
    whole = ["7", "9b", "12b", "12c", "15", "21", "22", "26"]
    assert table.loc[whole, "status"].tolist() == ["answered"] * len(whole)
    assert "evaluation of 1 model (clinical)" in table.loc["1", "answer"]
    assert "nothing to compare" in table.loc["25", "answer"]
    assert "image" not in (run / "report" / "model_card.md").read_text().split("## Models")[1].split("## Intended")[0]
