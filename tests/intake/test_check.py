"""A manifest with its images: nothing stops at the first problem."""

import json

import pytest
from typer.testing import CliRunner

from hepred_lib import cli
from hepred_lib.cohort.manifest import read_manifest
from hepred_lib.errors import ScanError
from hepred_lib.intake.check import check_manifest, fill_volumes


def rewrite(folder, old, new):
    path = folder / "manifest.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return path


def found(path):
    return [str(problem) for problem in check_manifest(path).problems]


@pytest.mark.parametrize(("printed", "faults"), [("14", 0), ("13.4", 1), ("22.4", 0), ("22.6", 1)])
def test_a_printed_volume_may_differ_from_its_mask_by_a_quarter(cohort_folder, printed, faults):
    problems = found(rewrite(cohort_folder, "17.5,18.0,0", f"{printed},{printed},0"))
    expected = f"baseline_volume_ml must lie within 25% of the 18.00 mL of baseline_mask, got {printed} (patient HE-2"
    assert [expected in problem for problem in problems] == [True] * faults


def test_empty_volumes_are_measured_on_the_masks(cohort_folder):
    table = fill_volumes(read_manifest(rewrite(cohort_folder, "17.5,18.0,0", ",18.0,0")))
    assert table["baseline_volume_ml"].tolist() == pytest.approx([18.0, 18.0])
    assert table["followup_volume_ml"].tolist() == [30.0, 18.0]


def test_an_image_of_a_patient_without_identifier_is_still_compared(cohort_folder):
    problems = found(rewrite(cohort_folder, "\nHE-2,HE-2_ct", "\n,HE-1_ct"))
    assert [" ".join(problem.split()[:5]) for problem in problems] == [
        "patient_id must be 1 to",
        "baseline_ct must be another image",
    ]


def test_a_mask_without_its_scan_is_reported_and_not_measured(cohort_folder):
    path = rewrite(cohort_folder, "HE-2,HE-2_ct.nii.gz,HE-2_mask.nii.gz,17.5", "HE-2,,HE-2_mask.nii.gz,")
    assert ["baseline_ct must be given beside baseline_mask, got nothing" in p for p in found(path)] == [True]
    with pytest.raises(ScanError, match=r"baseline_ct must be given beside baseline_mask, .*patient HE-2"):
        fill_volumes(read_manifest(path))


def test_refusals_stand_before_warnings_and_are_counted(cohort_folder):
    rewrite(cohort_folder, "71,F", "260,F")
    checked = check_manifest(rewrite(cohort_folder, "17.5,18.0,0", "17.5,11.0,0"))
    assert [problem.severity for problem in checked.problems] == ["refuse", "warn"]
    assert checked.verdict == "2 patients, 1 refusal, 1 warning."
    assert [line.startswith("warning: ") for line in checked.lines] == [False, True]
    shown = command(rewrite(cohort_folder, "260,F", "71,F"))
    assert (shown.exit_code, shown.stdout.splitlines()[-1]) == (0, "2 patients, 1 warning.")


def test_columns_known_only_afterwards_and_old_names_are_noted(cohort_folder):
    checked = check_manifest(rewrite(cohort_folder, ",age,sex", ",mrs_90d,dl_score"))
    assert any("mrs_90d" in note for note in checked.notes)
    assert "the column dl_score is read as external_score, its present name" in checked.notes


def test_a_patient_whose_images_break_the_reader_hides_nobody(cohort_folder, monkeypatch):
    def broken(path):
        raise RuntimeError("a reader\nthat fails")

    monkeypatch.setattr("hepred_lib.intake.check.read_scan", broken)
    assert [problem.line for problem in check_manifest(cohort_folder / "manifest.csv").problems] == [2, 3]


def test_the_real_scans_have_no_problem(shared):
    assert check_manifest(shared / "data/phe_sich/manifest.csv").problems == []


def command(*arguments):
    return CliRunner().invoke(cli.app, ["check", *map(str, arguments)])


def test_json_is_one_object_with_every_field_and_a_table_that_is_refused_is_not_written(cohort_folder):
    written = cohort_folder / "mapped.csv"
    shown = command(rewrite(cohort_folder, "71,F", "260,F"), "--json", "--write", written)
    told = json.loads(shown.stdout)
    assert (shown.exit_code, written.exists()) == (2, False)
    assert (told["patients"], told["refusals"], told["warnings"]) == (2, 1, 0)
    (problem,) = told["problems"]
    assert {"severity", "line", "patient_id", "column", "rule", "value", "remedy", "message"} == set(problem)
    assert all(problem.values())


def test_the_page_is_written_where_it_is_asked_for(cohort_folder):
    shown = command(cohort_folder / "manifest.csv", "--html", cohort_folder / "pages" / "check.html")
    assert (shown.exit_code, shown.stdout) == (0, "manifest.csv: 2 patients, no problem found.\n")
    assert (cohort_folder / "pages" / "check.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_table_is_mapped_checked_and_written_as_a_manifest(cohort_folder):
    table, manifest = cohort_folder / "ward.csv", cohort_folder / "mapped.csv"
    rewrite(cohort_folder, "age,sex", "Alter,Geschlecht").rename(table)
    assert command(table, "--suggest-mapping", cohort_folder / "map.yaml").exit_code == 0
    assert command(table, "--mapping", cohort_folder / "map.yaml", "--write", manifest).exit_code == 0
    assert read_manifest(manifest)["age"].tolist() == [71.0, 64.0]
