"""Every stage with every fault, on the smoke study: about an hour on two cores.

    python tests/faults/run_matrix.py WORK [--only WORD]

Writes ``WORK/matrix.csv`` and prints one line per cell: stage, fault, seconds, and what is wrong (nothing, hopefully).
A cell passes where the next start finishes with the results of a clean run, byte by byte, and leaves nothing over.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from hepred_lib.study.definition import PROJECT
from tests.faults import harness
from tests.faults.harness import FILE_FAULTS, KILLS, STEPS, Finished, copy_of, hepred, verdict

Cell = tuple[str, str, Callable[[Finished, Path], str]]


def harmed(name: str, fault: str, clean: dict[str, bytes]) -> Callable[[Finished, Path], str]:
    """A file of the finished run is harmed."""

    def run(study: Finished, temporary: Path) -> str:
        FILE_FAULTS[fault](study.run / name)
        return verdict(study, clean, temporary=temporary)

    return run


def killed(name: str, how: str, clean: dict[str, bytes]) -> Callable[[Finished, Path], str]:
    """The run is ended while it makes a file anew."""

    def run(study: Finished, temporary: Path) -> str:
        (study.run / name).unlink()
        _, said = harness.kill_at_work(study, how, temporary=temporary)
        words = harness.WORDS_OF.get(how, "")
        if words not in said:
            return f"did not say '{words}', said {said.strip().splitlines()[-1:]}"
        return verdict(study, clean, temporary=temporary)

    return run


def full(name: str, clean: dict[str, bytes]) -> Callable[[Finished, Path], str]:
    """The disk is full while a file is made anew."""

    def run(study: Finished, temporary: Path) -> str:
        (study.run / name).unlink()
        with harness.full_disk(study.run, room=20_000):
            done = hepred("run", study.study_file, "--cores", 2, temporary=temporary)
        if "No space left" not in done.stderr and done.returncode:
            return f"did not say why: {done.stderr.strip().splitlines()[-1:]}"
        return verdict(study, clean, temporary=temporary)

    return run


def simulated(fault: str, clean: dict[str, bytes]) -> Callable[[Finished, Path], str]:
    """A scan of the simulated cohort is harmed: made again where it is gone, else said."""

    def run(study: Finished, temporary: Path) -> str:
        scan = sorted(study.root.glob("cohorts/smoke/scans/*_baseline_ct.nii.gz"))[0]
        FILE_FAULTS[fault](scan)
        if fault in ("deleted", "clock a day ahead"):
            return verdict(study, clean, temporary=temporary)
        told = hepred("simulate", study.root / "cohorts" / "smoke", "--patients", 36, "--seed", 3, "--matrix", 128)
        if told.returncode != 2 or scan.name not in told.stderr:
            return f"simulate did not refuse it: {told.stderr[-200:]}"
        done = hepred("run", study.study_file, "--cores", 2, temporary=temporary)
        return "" if done.returncode == 2 and scan.name.partition("_")[0] in done.stderr else done.stderr[-200:]

    return run


def input_changed(kind: str) -> Callable[[Finished, Path], str]:
    """An input is changed under its old time stamp: the same results as a study that never knew another."""

    def run(study: Finished, temporary: Path) -> str:
        manifest = study.root / "cohorts" / "smoke" / "manifest.csv"
        if kind == "manifest":
            harness.rewrite(manifest, manifest.read_bytes().replace(b",M,", b",F,", 1))
        elif kind == "mask":
            masks = sorted(study.root.glob("cohorts/smoke/scans/*_baseline_mask.nii.gz"))
            harness.rewrite(masks[0], masks[0].read_bytes()) if len(masks) < 2 else _grow(masks[0])
        elif kind == "parameter":
            text = study.study_file.read_text(encoding="utf-8")
            study.study_file.write_text(text.replace("n_resamples: 50", "n_resamples: 60"), encoding="utf-8")
        elif kind == "folds 2 to 3, another seed":
            text = study.study_file.read_text(encoding="utf-8").replace("folds: 2", "folds: 3")
            study.study_file.write_text(text.replace("seed: 3\nsimulate", "seed: 4\nsimulate"), encoding="utf-8")
        fresh = Finished(study.root.with_name(study.root.name + "-fresh"), study.study_file, study.name)
        shutil.copytree(study.root, fresh.root, ignore=shutil.ignore_patterns("runs"))
        other = Finished(fresh.root, fresh.root / "studies" / study.study_file.name, study.name)
        done = hepred("run", other.study_file, "--cores", 2, temporary=temporary)
        if done.returncode:
            return f"the fresh study failed: {done.stderr[-200:]}"
        wrong = verdict(study, harness.results(other.run), temporary=temporary)
        shutil.rmtree(fresh.root)
        return wrong

    return run


def _grow(mask: Path) -> None:
    """Correct an outline: one slice of it is cleared."""
    import nibabel as nib
    import numpy as np

    from hepred_lib.imaging.scans import write_nifti

    image = nib.load(mask)
    voxels = np.asarray(image.dataobj).copy()
    filled = np.flatnonzero(voxels.any(axis=(0, 1)))
    voxels[:, :, filled[-1]] = 0
    corrected = mask.with_name("corrected.nii.gz")
    write_nifti(corrected, voxels, image.affine, dtype=np.uint8)
    content = corrected.read_bytes()
    corrected.unlink()
    harness.rewrite(mask, content)


def folds_back(clean: dict[str, bytes]) -> Callable[[Finished, Path], str]:
    """Three folds with another seed, then two again."""

    def run(study: Finished, temporary: Path) -> str:
        text = study.study_file.read_text(encoding="utf-8")
        study.study_file.write_text(text.replace("folds: 2", "folds: 3").replace("seed: 3\nsim", "seed: 4\nsim"))
        done = hepred("run", study.study_file, "--cores", 2, temporary=temporary)
        if done.returncode:
            return done.stderr[-200:]
        study.study_file.write_text(text)
        return verdict(study, clean, temporary=temporary)

    return run


def source_switched(clean: dict[str, bytes]) -> Callable[[Finished, Path], str]:
    """Without images, then with them again."""

    def run(study: Finished, temporary: Path) -> str:
        text = study.study_file.read_text(encoding="utf-8")
        study.study_file.write_text(text.replace("image_source: scans", "image_source: none"))
        done = hepred("run", study.study_file, "--cores", 2, temporary=temporary)
        if done.returncode:
            return done.stderr[-200:]
        left = [path.name for path in study.run.glob("*image*")] + [path.name for path in study.run.glob("folds/*")]
        if left:
            return f"still there: {left}"
        study.study_file.write_text(text)
        return verdict(study, clean, temporary=temporary)

    return run


def after_a_command(command: str, fault: str) -> Callable[[Finished, Path], str]:
    """A command on a run of which a file was harmed: refused in one line, never built on it."""

    def run(study: Finished, temporary: Path) -> str:
        FILE_FAULTS[fault](study.run / "clinical_model.json")
        scan = sorted(study.root.glob("cohorts/smoke/scans/*_baseline_ct.nii.gz"))[0]
        words = {
            "site": (study.run, "--out", temporary / "out"),
            "figures": (study.run,),
            "report": (study.run,),
            "predict": (study.run, "--ct", scan, "--out", temporary / "out"),
            "external": (
                study.run,
                study.root / "cohorts" / "smoke_site_b" / "manifest.csv",
                "--out",
                temporary / "out",
            ),
        }[command]
        done = hepred(command, *words)
        if fault == "clock a day ahead":
            shutil.rmtree(temporary / "out", ignore_errors=True)
            return "" if done.returncode == 0 else done.stderr[-200:]
        lines = done.stderr.strip().splitlines()
        return "" if done.returncode == 2 and len(lines) == 1 else f"exit {done.returncode}: {lines[-1:]}"

    return run


def cells(clean: dict[str, bytes]) -> Iterator[Cell]:
    """All cells, the quick ones first."""
    for command in ("site", "figures", "report", "predict", "external"):
        for fault in FILE_FAULTS:
            yield command, fault, after_a_command(command, fault)
    for stage, name in STEPS.items():
        for fault in FILE_FAULTS:
            yield stage, fault, harmed(name, fault, clean)
        for how in KILLS:
            yield stage, how, killed(name, how, clean)
        if harness.can_mount():
            yield stage, "full disk", full(name, clean)
    for fault in FILE_FAULTS:
        yield "simulate", fault, simulated(fault, clean)
    yield "study", "image_source switched and back", source_switched(clean)
    yield "study", "folds and seed changed and back", folds_back(clean)
    for kind in ("parameter", "manifest", "mask", "folds 2 to 3, another seed"):
        yield "input", kind, input_changed(kind)


def main() -> None:
    """Make the study once, then every cell on a copy of it."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("work", type=Path)
    arguments.add_argument("--only", default="", help="cells whose stage or fault has this word")
    given = arguments.parse_args()
    root = given.work.resolve() / "root"
    study = Finished(root, root / "studies" / "smoke.yaml", "smoke")
    (root / "studies").mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT / "studies" / "smoke.yaml", study.study_file)
    done = hepred("run", study.study_file, "--cores", 2)
    if done.returncode:
        sys.exit(done.stderr)
    clean, rows = harness.results(study.run), []
    for stage, fault, run in cells(clean):
        if given.only not in f"{stage} {fault}":
            continue
        with tempfile.TemporaryDirectory(dir=given.work) as place:
            temporary = Path(place) / "t"
            temporary.mkdir()
            start = time.perf_counter()
            wrong = run(copy_of(study, Path(place) / "root"), temporary)
            rows.append({"stage": stage, "fault": fault, "seconds": round(time.perf_counter() - start), "wrong": wrong})
        print(f"{stage:<9} {fault:<32} {rows[-1]['seconds']:>4} s  {wrong or 'as in a clean run'}", flush=True)
        pd.DataFrame(rows).to_csv(given.work / "matrix.csv", index=False)
    failed = sum(bool(row["wrong"]) for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
