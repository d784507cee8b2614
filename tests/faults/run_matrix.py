"""Every stage with every fault, on the smoke study: about an hour on two cores.

    python -m pytest -v tests/faults/run_matrix.py [-k WORD]

A cell passes where the next start finishes with the results of a clean run, byte by byte, and leaves nothing over.
"""

import shutil

import nibabel as nib
import numpy as np
import pytest

from hepred_lib.imaging.scans import write_nifti
from tests.faults import harness
from tests.faults.harness import FILE_FAULTS, KILLS, STEPS, WORDS_OF, Finished, copy_of, hepred, succeed, verdict


@pytest.fixture(scope="session")
def clean(run) -> dict[str, bytes]:
    """Results of the finished smoke study."""
    return harness.results(run)


@pytest.fixture
def study(finished, root, study_file, tmp_path):
    """A copy of the finished smoke study, to be harmed."""
    return copy_of(Finished(root, study_file, "smoke"), tmp_path / "root")


def first_scan(study: Finished, kind: str = "ct"):
    return sorted(study.root.glob(f"cohorts/smoke/scans/*_baseline_{kind}.nii.gz"))[0]


def edit(study: Finished, *replaced: tuple[str, str]) -> None:
    """Replace text of the study file."""
    text = study.study_file.read_text(encoding="utf-8")
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    study.study_file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("fault", FILE_FAULTS)
@pytest.mark.parametrize("command", ["site", "figures", "report", "predict", "external"])
def test_a_command_on_a_harmed_run_is_refused_in_one_line(study, temporary, command, fault):
    FILE_FAULTS[fault](study.run / "clinical_model.json")
    out = ("--out", temporary / "out")
    elsewhere = study.root / "cohorts" / "smoke_site_b" / "manifest.csv"
    words = {"site": out, "predict": ("--ct", first_scan(study), *out), "external": (elsewhere, *out)}
    done = hepred(command, study.run, *words.get(command, ()))
    if fault == "clock a day ahead":
        assert done.returncode == 0, done.stderr
    else:
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr


@pytest.mark.parametrize("fault", FILE_FAULTS)
@pytest.mark.parametrize("stage", STEPS)
def test_a_harmed_file_is_made_again(study, clean, temporary, stage, fault):
    FILE_FAULTS[fault](study.run / STEPS[stage])
    assert verdict(study, clean, temporary=temporary) == ""


@pytest.mark.parametrize("how", KILLS)
@pytest.mark.parametrize("stage", STEPS)
def test_a_run_that_is_ended_at_work_is_finished_by_the_next(study, clean, temporary, stage, how):
    (study.run / STEPS[stage]).unlink()
    _, said = harness.kill_at_work(study, how, temporary=temporary)
    assert WORDS_OF.get(how, "") in said
    assert verdict(study, clean, temporary=temporary) == ""


@pytest.mark.skipif(not harness.can_mount(), reason="needs the right to mount a file system")
@pytest.mark.parametrize("stage", STEPS)
def test_a_full_disk_is_said_and_room_finishes_the_study(study, clean, temporary, stage):
    (study.run / STEPS[stage]).unlink()
    with harness.full_disk(study.run, room=20_000):
        done = hepred("run", study.study_file, "--cores", 2, temporary=temporary)
    assert not done.returncode or "No space left" in done.stderr
    assert verdict(study, clean, temporary=temporary) == ""


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_scan_of_the_simulation_is_made_again_where_it_is_gone_and_else_said(study, clean, temporary, fault):
    scan = first_scan(study)
    FILE_FAULTS[fault](scan)
    if fault in ("deleted", "clock a day ahead"):
        assert verdict(study, clean, temporary=temporary) == ""
        return
    told = hepred("simulate", study.root / "cohorts" / "smoke", "--patients", 36, "--seed", 3, "--matrix", 128)
    assert (told.returncode, scan.name in told.stderr) == (2, True), told.stderr
    done = hepred("run", study.study_file, "--cores", 2, temporary=temporary)
    assert (done.returncode, scan.name.partition("_")[0] in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    "changed",
    [("image_source: scans", "image_source: none"), ("folds: 2", "folds: 3")],
    ids=["image_source", "folds"],
)
def test_a_setting_that_is_changed_and_changed_back_leaves_the_first_results(study, clean, temporary, changed):
    edit(study, changed, ("seed: 3\nsim", "seed: 4\nsim"))
    succeed("run", study.study_file, "--cores", 2)
    if "none" in changed[1]:
        assert not [*study.run.glob("*image*"), *study.run.glob("folds/*")]
    edit(study, changed[::-1], ("seed: 4\nsim", "seed: 3\nsim"))
    assert verdict(study, clean, temporary=temporary) == ""


@pytest.mark.parametrize("kind", ["parameter", "manifest", "mask", "folds 2 to 3, another seed"])
def test_an_input_changed_under_its_old_time_stamp_gives_what_a_study_gives_that_knew_no_other(
    study, temporary, tmp_path, kind
):
    if kind == "manifest":
        manifest = study.root / "cohorts" / "smoke" / "manifest.csv"
        harness.rewrite(manifest, manifest.read_bytes().replace(b",M,", b",F,", 1))
    elif kind == "mask":
        mask, corrected = first_scan(study, "mask"), tmp_path / "corrected.nii.gz"
        image = nib.load(mask)
        voxels = np.asarray(image.dataobj).copy()
        voxels[:, :, np.flatnonzero(voxels.any(axis=(0, 1)))[-1]] = 0
        write_nifti(corrected, voxels, image.affine, dtype=np.uint8)
        harness.rewrite(mask, corrected.read_bytes())
    elif kind == "parameter":
        edit(study, ("n_resamples: 50", "n_resamples: 60"))
    else:
        edit(study, ("folds: 2", "folds: 3"), ("seed: 3\nsim", "seed: 4\nsim"))
    shutil.copytree(study.root, tmp_path / "fresh", ignore=shutil.ignore_patterns("runs"))
    fresh = Finished(tmp_path / "fresh", tmp_path / "fresh" / "studies" / study.study_file.name, study.name)
    succeed("run", fresh.study_file, "--cores", 2)
    assert verdict(study, harness.results(fresh.run), temporary=temporary) == ""
