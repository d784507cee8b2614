"""A whole study as a graph of notebook runs (``Snakefile``), carried out by Snakemake.

What is done stays done; a run that was killed is taken up where it was. One run at a time works on a study: the lock
is held by the engine too, so that it outlives a killed parent for exactly as long as the engine does.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hepred_lib.execution.notebook import owner_mark
from hepred_lib.study import PROJECT, Study, StudyError, load_study

FAULT_FILE = ".fault"
WAIT_S = 60.0


def run_study(path: Path, *, cores: int, runs_dir: str = "", engine_arguments: Sequence[str] = ()) -> int:
    """Run what is missing of a study.

    Parameters
    ----------
    path : Path
        The study file.
    cores : int
        Cores to use at once; numbers do not depend on it.
    runs_dir : str
        Folder of the runs, empty for the root's own.
    engine_arguments : sequence of str
        Passed on to Snakemake: ``--dry-run``, ``--profile slurm`` ...

    Returns
    -------
    int
        0 done, 2 the input is at fault (said on stderr by the notebook that met it), 1 otherwise.

    Raises
    ------
    StudyError
        The study file is wrong, or another run is still at work on this study.
    """
    study = load_study(path)
    folder = run_folder(study, runs_dir)
    folder.mkdir(parents=True, exist_ok=True)
    fault = folder / FAULT_FILE
    with _only_one(folder) as lock:
        fault.unlink(missing_ok=True)
        command = engine_command(Path(path).resolve(), folder, cores=cores, runs_dir=runs_dir)
        # The notebooks speak for themselves; whoever speaks to the engine wants to hear it, too.
        words = list(engine_arguments) or ["--quiet", "all"]
        environment = {**os.environ, **owner_mark()}
        done = subprocess.run([*command, *words], env=environment, pass_fds=[lock], check=False)
    return 2 if done.returncode and fault.exists() else min(done.returncode, 1)


def run_folder(study: Study, runs_dir: str = "") -> Path:
    """Where a study writes."""
    return (study.root / (runs_dir or "runs") / study.name).resolve()


def engine_command(path: Path, folder: Path, *, cores: int, runs_dir: str) -> list[str]:
    """The Snakemake call; its own bookkeeping lives in the run's folder, so that studies do not lock each other."""
    settings = ["--config", f"study_file={path}", f"runs_dir={runs_dir}"]
    # The lock above replaces Snakemake's own, which outlives kill -9 and would have to be broken by hand.
    safety = ["--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime", "params", "input"]
    where = ["--snakefile", str(PROJECT / "Snakefile"), "--directory", str(folder), "--cores", str(cores)]
    return [sys.executable, "-m", "snakemake", *where, *safety, *settings]


@contextmanager
def _only_one(folder: Path) -> Iterator[int]:
    with open(folder / ".lock", "w") as stream:
        deadline = time.monotonic() + WAIT_S
        while not _locked(stream.fileno()):
            if time.monotonic() > deadline:
                raise StudyError(f"another run is still at work on {folder}; wait for it, or end it.")
            time.sleep(0.5)
        yield stream.fileno()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
