"""A whole study as a graph of notebook runs (``Snakefile``), carried out by Snakemake.

Completed steps are skipped and interrupted runs resume. Before the engine starts, every step that is there is held
against what its study asks for today (see :mod:`hepred_lib.study.identity`): a step that disagrees is made again, and
what an earlier setting left is moved aside. One run at a time works on a study: the lock is held by the engine too, so
that it outlives a killed parent for exactly as long as the engine does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hepred_lib import errors
from hepred_lib.errors import StudyError
from hepred_lib.study.definition import (
    NOTEBOOKS,
    PROJECT,
    Study,
    check_parameters,
    load_study,
    notebook_defaults,
)
from hepred_lib.study.files import read_json, write_bytes, write_json
from hepred_lib.study.identity import (
    TRAINING,
    FileDigests,
    differences,
    disagreements,
    named_images,
    outputs_of,
    read_record,
    step_identity,
    step_name,
    steps_of,
)
from hepred_lib.study.run import ASKED_FILE, RUNNER
from ich_phantom import code_digest

# --- notebook: One notebook run by papermill, as a study asks for it

OWNER = "HEPRED_OWNER"
LONGEST_PLACE = 60  # bytes: a socket's whole path may have 107


class NotebookError(RuntimeError):
    """A cell of a notebook failed; ``input_at_fault`` tells whether the user's input is to blame."""

    def __init__(self, message: str, *, input_at_fault: bool) -> None:
        super().__init__(message)
        self.input_at_fault = input_at_fault


def study_parameters(study: Study, notebook: str, *, runs_dir: str = "", **extra: Any) -> dict[str, Any]:
    """All parameters that a study gives to one notebook: its own keys where the notebook knows them, then overrides.

    Raises
    ------
    StudyError
        An unknown parameter or a value of the wrong type.
    """
    given = {
        "study": study.name,
        "runs_dir": runs_dir,
        "manifest": study.manifest,
        "truth": study.truth,
        "seed": study.seed,
        "folds": study.folds,
        "image_source": study.image_source,
    }
    if notebook == "08_new_patients" and study.external:
        given["manifest"] = study.external["manifest"]
    known = notebook_defaults(notebook)
    chosen = {name: value for name, value in given.items() if name in known}
    chosen |= dict(study.parameters.get(notebook, {})) | extra
    check_parameters(notebook, chosen)
    return chosen


def execute(notebook: str, parameters: Mapping[str, Any], *, output: Path, root: Path, threads: int = 1) -> None:
    """Run one notebook with these parameters and keep the executed copy at ``output``.

    Parameters
    ----------
    notebook : str
        Name without ending.
    parameters : mapping
        Over the notebook's own defaults; checked.
    output : Path
        The executed notebook.
    root : Path
        The folder that paths in parameters are relative to.
    threads : int
        Threads of the numerical libraries; numbers can depend on it, so that it belongs to the study.

    Raises
    ------
    StudyError
        The parameters do not fit the notebook.
    NotebookError
        A cell failed.
    """
    if notebook not in NOTEBOOKS:
        raise StudyError(f"there is no notebook '{notebook}' (known: {', '.join(NOTEBOOKS)}).")
    check_parameters(notebook, parameters)
    import papermill  # with jupyter_client half a second, spent only where a notebook is run
    from nbclient.exceptions import DeadKernelError

    output.parent.mkdir(parents=True, exist_ok=True)
    with _environment(threads, root):
        try:
            papermill.execute_notebook(
                _literal(PROJECT / "notebooks" / f"{notebook}.ipynb"),
                _literal(output),
                parameters=dict(parameters),
                cwd=str(PROJECT / "notebooks"),
                kernel_manager_class=_local_kernel_manager(),
                # A kernel logs the interrupt that ends it as an error; cells report their own.
                extra_arguments=["--log-level=CRITICAL"],
                progress_bar=sys.stderr.isatty(),
            )
        except papermill.PapermillExecutionError as error:
            message = f"{error.evalue} ({notebook}; the executed notebook is kept at {output})"
            # A kernel is another process: its errors come back as text.
            raise NotebookError(message, input_at_fault=hasattr(errors, error.ename)) from error
        except (DeadKernelError, RuntimeError) as error:
            message = (
                f"the process of {notebook} ended before the notebook did, most likely because the memory ran out "
                f"(what was executed is kept at {output})"
            )
            raise NotebookError(message, input_at_fault=False) from error


def watch_owner() -> None:
    """End this process, and with it its kernel, when the run that owns it is gone (kill -9 leaves no time for more).

    The owner is named in the environment as ``host:pid``; on another host, as under a cluster's scheduler, nothing
    is watched.
    """
    host, _, pid = os.environ.get(OWNER, "").rpartition(":")
    if host != socket.gethostname():
        return

    def watch() -> None:
        while _alive(int(pid)):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def is_owned() -> bool:
    """Whether another hepred process started this one."""
    return OWNER in os.environ


def owner_lives(mark: str) -> bool:
    """Whether the process of an owner's mark runs on this host; on another host it is taken to."""
    host, _, pid = mark.rpartition(":")
    return pid.isdigit() and (host != socket.gethostname() or _alive(int(pid)))


def owner_mark() -> dict[str, str]:
    """The environment entry by which children watch this process."""
    return {OWNER: f"{socket.gethostname()}:{os.getpid()}"}


def _literal(path: Path) -> str:
    """A path for papermill, in which braces would be the places of parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _local_kernel_manager() -> type:
    """Kernels that listen on sockets in the folder of the user's own connection files, not on open ports."""
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class LocalKernelManager(AsyncKernelManager):
        @default("transport")
        def _transport_default(self) -> str:
            return "ipc"

        @default("ip")
        def _ip_default(self) -> str:
            # Absolute: the kernel works in the notebooks' folder, its client elsewhere.
            return os.path.join(os.environ["JUPYTER_RUNTIME_DIR"], "socket")

        @default("connection_file")
        def _connection_file_default(self) -> str:
            # Else it lies in the temporary folder, where nobody removes that of a killed run.
            return os.path.join(os.environ["JUPYTER_RUNTIME_DIR"], "kernel.json")

    return LocalKernelManager


@contextmanager
def _environment(threads: int, root: Path) -> Iterator[None]:
    """What a kernel inherits: its threads, the root, and a folder of its own for its sockets."""
    sockets = _socket_folder()
    # Threads that wait do not spin: on a shared machine spinning starves the very threads that are waited for.
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    counts["OMP_WAIT_POLICY"] = "passive"
    before = dict(os.environ)
    os.environ.update(counts, HEPRED_ROOT=str(root), JUPYTER_RUNTIME_DIR=sockets, **{RUNNER: "1"})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(sockets, ignore_errors=True)


def _socket_folder() -> str:
    """A private folder whose sockets' paths are short enough; folders of processes that are gone are removed."""
    places = dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"])
    for place in places:
        for left in Path(place).glob("hepred-*-*"):
            pid = left.name.split("-")[1]
            if pid.isdigit() and not _alive(int(pid)):
                shutil.rmtree(left, ignore_errors=True)
    for place in places:
        if len(os.fsencode(place)) <= LONGEST_PLACE and os.access(place, os.W_OK):
            return tempfile.mkdtemp(prefix=f"hepred-{os.getpid()}-", dir=place)
    raise StudyError(
        f"TMPDIR must be a folder that can be written, of a path of at most {LONGEST_PLACE} bytes, got {places}."
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# --- workflow: A whole study as a graph of notebook runs (``Snakefile``), carried out by Snakemake

FAULT_FILE = ".fault"
CONFIG_FILE = ".engine.json"
WAIT_S = 60.0
EARLIER = "earlier"
REPORTED = "tables/tripod_ai.tex"  # the last file of the report of a finished run
SHOWN_LINES = 12
QUIET = ("--quiet", "all")  # the notebooks speak for themselves
# The rule of each notebook, to force one; folds are forced by their files.
RULES = {
    "00": "paper",
    "01": "cohort",
    "02": "preprocessing",
    "04": "image",
    "05": "clinical",
    "06": "integrated",
    "07": "figures",
    "08": "external",
}


class Interrupted(BaseException):
    """The command was ended from outside, by Ctrl-C or SIGTERM."""


def run_study(path: Path, *, cores: int, runs_dir: str = "", engine_arguments: Sequence[str] = ()) -> int:
    """Run what is missing of a study, and what disagrees with it.

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
        The study file is wrong, its manifest is missing, its folder belongs to another study, or another run is at
        work on it.
    """
    study = load_study(path)
    folder = run_folder(study, runs_dir)
    _require_manifests(study)
    if folder.is_dir() and not os.access(folder, os.W_OK):
        return _read_only(study, folder)
    _require_same_study(study, Path(path), folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder) as lock:
        (folder / FAULT_FILE).unlink(missing_ok=True)
        engine = _Engine(Path(path).resolve(), folder, cores=cores, runs_dir=runs_dir, lock=lock)
        if not engine_arguments:
            rules = _missing_cohorts(study)
            status = engine.run(["--until", *rules, "--forcerun", *rules, *QUIET]) if rules else 0
            if status:
                return status
            move_aside(study, folder)
            write_json(folder / ASKED_FILE, _asked(study, Path(path)))
        reasons = explain(study, folder)
        if not engine_arguments and not any(reasons.values()):
            return 0
        (folder / REPORTED).unlink(missing_ok=True)
        status = engine.run([*_forced(study, reasons), *(engine_arguments or QUIET)])
        if not (status or engine_arguments):
            _remove_leftovers(study, folder)
        return status


def explain(study: Study, folder: Path) -> dict[str, list[str]]:
    """Why each step of a study has to be made, or made again; an empty list where it is up to date."""
    digests = FileDigests(folder)
    steps = steps_of(study.image_source, study.folds, external=bool(study.external))
    found = {step: reasons_to_make(study, folder, step, *made_by, digests=digests) for step, made_by in steps.items()}
    digests.save()
    return found


def reasons_to_make(
    study: Study, folder: Path, step: str, notebook: str, fold: int | None, *, digests: FileDigests | None = None
) -> list[str]:
    """Why one step has to be made, or made again."""
    digests = digests or FileDigests(folder)
    record = read_record(folder, step)
    if record is None:
        return ["not made yet"]
    missing = [
        name for name in outputs_of(notebook, fold, image_source=study.image_source) if name not in record["files"]
    ]
    if missing:
        return [f"{missing[0]} is not in its record"]
    if not (folder / "notebooks" / f"{step}.ipynb").is_file():
        return ["its executed notebook is not there"]
    wanted = wanted_identity(study, notebook, fold, digests=digests)
    return differences(wanted, record["identity"]) + disagreements(folder, step, record, digests)


def wanted_identity(study: Study, notebook: str, fold: int | None, *, digests: FileDigests) -> dict[str, Any]:
    """What a study asks a step to be made from."""
    extra = {} if fold is None else {"fold": fold}
    given = notebook_defaults(notebook) | study_parameters(study, notebook, **extra)
    return step_identity(notebook, given, root=study.root, digests=digests)


def move_aside(study: Study, folder: Path) -> None:
    """Move what steps of an earlier setting left into ``earlier/``, where nothing reads it, and say so."""
    steps = steps_of(study.image_source, study.folds, external=bool(study.external))
    everything = steps_of("scans", 0, external=True) | _other_folds(folder)
    records = {step: read_record(folder, step) for step in steps}
    listed = set().union(*(record["files"] for record in records.values() if record is not None))
    for step, (notebook, fold) in everything.items():
        if step in steps:
            continue
        record = read_record(folder, step)
        names = set(outputs_of(notebook, fold)) if record is None else set(record["files"])
        if fold is not None:  # its folder goes with all that is in it
            names = {name for name in names if not name.startswith(f"folds/{fold}/")} | {f"folds/{fold}"}
        names |= {f"records/{step}.json", f"notebooks/{step}.ipynb"}
        found = sorted(name for name in names - listed if (folder / name).exists())
        for name in found:
            _move(folder / name, folder / EARLIER / name)
        if found:
            sys.stderr.write(f"{step} is not part of this study any more: moved to {folder / EARLIER}.\n")


def run_folder(study: Study, runs_dir: str = "") -> Path:
    """Where a study writes."""
    return (study.root / (runs_dir or "runs") / study.name).resolve()


class _Engine:
    """The Snakemake call; its own bookkeeping lives in the run's folder, so that studies do not lock each other."""

    def __init__(self, path: Path, folder: Path, *, cores: int, runs_dir: str, lock: int) -> None:
        self.folder, self.lock = folder, lock
        # Through a file: on the command line a folder named 2024, null or {x} would not stay text.
        write_bytes(folder / CONFIG_FILE, json.dumps({"study_file": str(path), "runs_dir": runs_dir}).encode())
        # The lock replaces Snakemake's own, which outlives kill -9 and would have to be broken by hand.
        safety = ["--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime", "params", "input"]
        where = ["--snakefile", str(PROJECT / "Snakefile"), "--directory", str(folder), "--cores", str(cores)]
        config = ["--configfile", str(folder / CONFIG_FILE)]
        self.command = [sys.executable, "-m", "snakemake", *where, *safety, *config]

    def run(self, words: Sequence[str]) -> int:
        """Run the engine; where it fails and no notebook said why, say what is known."""
        environment = {**os.environ, **owner_mark()}
        status = _wait(subprocess.Popen([*self.command, *words], env=environment, pass_fds=[self.lock]))
        if not status:
            return 0
        if (self.folder / FAULT_FILE).exists():
            return 2
        if "--quiet" in words:
            self._say_why(words)
        return 1

    def _say_why(self, words: Sequence[str]) -> None:
        """Let a quiet engine that failed plan once more aloud: either it cannot, and says why, or a step failed."""
        plan = [*self.command, *words[: words.index("--quiet")], "--dry-run"]
        planned = subprocess.run(plan, env=os.environ, capture_output=True, text=True, errors="replace", check=False)
        if planned.returncode:
            lines = [line for line in (planned.stdout + planned.stderr).splitlines() if line.strip()]
            sys.stderr.write("\n".join(["The workflow engine failed:", *lines[-SHOWN_LINES:], ""]))
            return
        sys.stderr.write(
            f"A step failed; its notebook is in {self.folder / 'notebooks'}. Where nothing is said above, its process "
            "was killed, most often because the memory ran out. Finished steps are kept; the same command resumes.\n"
        )


def _wait(process: subprocess.Popen) -> int:
    """Exit status of the engine; where the command is interrupted the engine ends, and the notebooks with it."""
    try:
        return process.wait()
    except (Interrupted, KeyboardInterrupt):
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        process.kill()
        raise


def _require_manifests(study: Study) -> None:
    """Refuse a manifest that is neither there nor simulated, before anything runs."""
    wanted = {"manifest": (study.manifest, study.simulate)}
    if study.external:
        wanted["external, manifest"] = (study.external.get("manifest", ""), study.external.get("simulate"))
    for key, (name, simulated) in wanted.items():
        if not simulated and not (study.root / name).is_file():
            raise StudyError(
                f"{key} of study {study.name} must name a file, got {study.root / name}, which is not there."
            )


def _require_same_study(study: Study, path: Path, folder: Path) -> None:
    """Refuse a folder that another study file of the same name, with another manifest, was run in."""
    try:
        asked = read_json(folder / ASKED_FILE)
    except StudyError:
        return
    other, manifest = asked.get("study_file"), asked.get("manifest")
    here = str((study.root / study.manifest).resolve())
    if other != str(path.resolve()) and manifest != here and Path(str(other)).exists():
        raise StudyError(
            f"{folder} holds the study of {other} with manifest {manifest}; {path} gives the same name "
            f"'{study.name}' to manifest {here}. Give one of them another name."
        )


def _asked(study: Study, path: Path) -> dict[str, Any]:
    """What a study asks of each notebook: what one that is run by hand is held against."""
    steps = steps_of(study.image_source, study.folds, external=bool(study.external))
    notebooks = dict.fromkeys(notebook for notebook, _ in steps.values())
    return {
        "study_file": str(path.resolve()),
        "manifest": str((study.root / study.manifest).resolve()),
        "image_source": study.image_source,
        "folds": study.folds,
        "threads": {name: study.notebook_threads(name) for name in notebooks},
        "parameters": {name: notebook_defaults(name) | study_parameters(study, name) for name in notebooks},
    }


def _missing_cohorts(study: Study) -> list[str]:
    """Rules of simulated cohorts that are not there, or lack a scan that their manifest names."""
    cohorts = {}
    if study.simulate:
        cohorts["simulate"] = study.root / study.manifest, study.root / study.truth
    if study.external_truth:
        cohorts["simulate_external"] = study.root / study.external["manifest"], study.root / study.external_truth
    return [rule for rule, (manifest, truth) in cohorts.items() if not (truth.is_file() and _is_whole(manifest))]


def _is_whole(manifest: Path) -> bool:
    """Whether a simulated cohort has all scans that its manifest names, by the simulation as it is now."""
    if not manifest.is_file():
        return False
    settings = manifest.parent / "scans" / "settings.json"
    if settings.is_file() and read_json(settings).get("code", code_digest()) != code_digest():
        return False
    return all(os.path.isfile(path) for path in named_images(manifest, FileDigests(manifest.parent)))


def _forced(study: Study, reasons: dict[str, list[str]]) -> list[str]:
    """Engine arguments that make stale steps again, for what the engine itself cannot see."""
    steps = steps_of(study.image_source, study.folds, external=bool(study.external))
    stale = [steps[step] for step, why in reasons.items() if why]
    targets = [RULES.get(notebook[:2]) or outputs_of(notebook, fold)[0] for notebook, fold in stale]
    return ["--forcerun", *targets] if targets else []


def _other_folds(folder: Path) -> dict[str, tuple[str, int | None]]:
    """Training steps of every fold that a folder holds."""
    names = {path.name for path in (folder / "folds").glob("*")} if (folder / "folds").is_dir() else set()
    names |= {path.stem.rpartition("fold")[2] for path in (folder / "records").glob("03_*_fold*.json")}
    folds = sorted(int(name) for name in names if name.isdigit())
    return {step_name(TRAINING, fold): (TRAINING, fold) for fold in folds}


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(source, target)


def _remove_leftovers(study: Study, folder: Path) -> None:
    """Remove half-written files of killed processes."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def _read_only(study: Study, folder: Path) -> int:
    """A finished run in a folder that cannot be written is up to date, or refused."""
    stale = [f"{step}: {why[0]}" for step, why in explain(study, folder).items() if why]
    if stale:
        raise StudyError(f"{folder} cannot be written, and the study is not up to date ({stale[0]}).")
    return 0


@contextmanager
def _only_one(folder: Path) -> Iterator[int]:
    """The lock of a run; refused at once while its owner lives, and waited for while a dead owner's engine ends."""
    with open(folder / ".lock", "a+") as stream:
        deadline = time.monotonic() + WAIT_S
        while not _locked(stream.fileno()):
            stream.seek(0)
            owner = stream.read().strip()
            if owner_lives(owner) or time.monotonic() > deadline:
                raise StudyError(f"another run is at work on {folder} (process {owner}); wait for it, or end it.")
            time.sleep(0.5)
        stream.truncate(0)
        stream.write(next(iter(owner_mark().values())))
        stream.flush()
        yield stream.fileno()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
