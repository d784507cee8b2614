"""The command: help with an example for every call, refusals as one line with status 2."""

import re
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from hepred_lib import cli
from hepred_lib.study.definition import PROJECT
from hepred_lib.study.files import write_json

SMOKE = PROJECT / "studies" / "smoke.yaml"


@pytest.mark.parametrize(
    "command", [command.name or command.callback.__name__ for command in cli.app.registered_commands]
)
def test_every_command_has_help_with_an_example(command):
    shown = CliRunner().invoke(cli.app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: hepred {command}" in " ".join(shown.output.split())


def refused(monkeypatch, capsys, *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", ["hepred", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("check", "MANIFEST is required"),
        ("check table.csv --definition foo", "--definition must be one of 6ml_or_33pct, .* got 'foo'"),
        ("check table.csv --mapping none.yaml", r"cannot read none\.yaml: No such file"),
        ("check table.csv --mapping .", "cannot read .*: a folder"),
        ("check table.csv --suggest-mapping table.csv", "must be another file than the table, got table.csv"),
        ("check table.csv --suggest-mapping table.csv/map.yaml", "must be a file that can be written"),
        ("check table.csv --html table.csv", "must be another file than the table, got table.csv"),
        ("check table.csv --html table.csv/page.html", "must be a file that can be written"),
        ("check table.csv --write table.csv", "must be another file than the table, got table.csv"),
        ("check table.csv --write table.csv/m.csv", "must be a file that can be written"),
        ("check table.csv --cores 0", "Invalid value for '--cores': .* greater than or equal to 1"),
        ("check table.csv --cores two", "Invalid value for '--cores': .* valid integer"),
        ("check table.csv --bogus", "No such option: --bogus"),
        ("check table.csv more", r"Got unexpected extra argument\(s\) \(more\)"),
        ("import-dicom export", "Missing argument 'out'"),
        ("import-dicom nowhere out", "SOURCE must be a folder of DICOM files, got none"),
        ("import-dicom export out", "no DICOM images found in SOURCE: 1 files are not DICOM"),
        ("import-dicom export table.csv", "OUT must be a folder that can be written"),
        ("import-dicom export out --clinical none.csv", r"cannot read none\.csv: no such file\."),
        ("check none.csv", r"cannot read none\.csv: no such file\."),
        ("segment export/none.nii --out out", "which does not exist"),
        ("import-dicom export out --clinical table.csv --mapping none.yaml", r"cannot read none\.yaml"),
        ("import-dicom export out --mapping none.yaml", "--mapping must say which columns of a --clinical table"),
        ("import-dicom export out --words none.yaml", r"cannot read none\.yaml: No such file"),
        ("simulate table.csv --patients 5", "OUT must be a folder, got the file table.csv"),
        ("simulate out --patients 0", "Invalid value for '--patients': .* greater than or equal to 1"),
        ("simulate out --seed x", "Invalid value for '--seed': .* valid integer"),
        ("simulate out --matrix 10", "Invalid value for '--matrix': .* greater than or equal to 64"),
        ("simulate out --site C", "--site must be A or B, got 'C'"),
        ("run none.yaml", r"none\.yaml is not there"),
        (f"notebook {SMOKE} 03_multitask_training", "03_multitask_training needs --fold 0 to 1, got none"),
        (f"notebook {SMOKE} 03_multitask_training --fold 2", "needs --fold 0 to 1, got 2"),
        ("segment table.csv --out table.csv", r"cannot write table\.csv: File exists\."),
        ("segment table.csv --out table.csv/out", r"cannot write table\.csv/out: Not a directory\."),
        *((f"{command} export", "must be the folder of a finished study") for command in ("figures", "report")),
        ("bogus", "No such command 'bogus'"),
    ],
)
def test_what_a_command_cannot_use_is_refused_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("patient_id,age\na,60\n", encoding="utf-8")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "note.txt").write_text("no image", encoding="utf-8")
    assert re.search(message, refused(monkeypatch, capsys, *arguments.split()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "table.csv"]


def test_the_version_is_that_of_the_package():
    shown = CliRunner().invoke(cli.app, ["--version"])
    assert (shown.exit_code, shown.output) == (0, f"hepred {version('hepred')}\n")


def test_check_prints_a_line_a_problem(tmp_path, cohort_folder):
    path = cohort_folder / "manifest.csv"
    path.write_text(path.read_text().replace(",71,F", ",260,F"))
    shown = CliRunner().invoke(cli.app, ["check", str(path)])
    assert shown.exit_code == 2
    assert "age must be within 18 to 110, got 260 (patient HE-1" in shown.output


def test_the_summary_says_simulated_only_where_the_truth_is_known(tmp_path):
    model = {"auc": 0.8, "auc_ci": [0.7, 0.9], "sensitivity": 0.8, "specificity": None, "calibration_slope": 1.0}
    content = {"study": "x", "n": {"test": 10, "he_test": 3}, "models": {"clinical": model}, "oracle": None}
    write_json(tmp_path / "results.json", content)
    assert "simulated" not in cli.summary(tmp_path / "results.json")
    write_json(tmp_path / "results.json", content | {"oracle": {"clinical_auc": 0.82}})
    assert "0.80 (0.70-0.90)" in cli.summary(tmp_path / "results.json")
    assert "simulated" in cli.summary(tmp_path / "results.json")
    write_json(tmp_path / "results.json", content | {"models": {"clinical": model | {"auc_ci": None}}})
    assert "0.80 (-) " in cli.summary(tmp_path / "results.json")


def test_figures_and_tables_set_again_leave_the_reports_table_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "results.json").write_text("{}")
    written = []
    monkeypatch.setattr(
        "hepred_lib.study.drawing.redraw", lambda run, out: written.append("set") or [run / "tables" / "tripod_ai.tex"]
    )
    monkeypatch.setattr(
        "hepred_lib.study.report.write_report", lambda run, out: written.append("report") or [run / "report"]
    )
    shown = CliRunner().invoke(cli.app, ["figures", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert written == ["set", "report"]
