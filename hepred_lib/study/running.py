"""A whole study as a graph of notebook runs (``Snakefile``), carried out by Snakemake and papermill.

Completed steps are skipped and interrupted runs resume. Before the engine starts, every step that is there is held
against what its study asks for today (see :mod:`hepred_lib.study.run`): a step that disagrees is made again, and what
an earlier setting left is moved aside. One run at a time works on a study: the lock is held by the engine too, so that
it outlives a killed parent for exactly as long as the engine does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
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
from hepred_lib.cards import ENVIRONMENT, places, visible_cards
from hepred_lib.disk import locked
from hepred_lib.errors import StudyError
from hepred_lib.progress import RUNNER
from hepred_lib.study.definition import (
    MOST_FOLDS,
    PROJECT,
    Study,
    check_parameters,
    load_study,
    notebook_defaults,
    study_parameters,
)
from hepred_lib.study.files import read_json, without_grammars, write_bytes, write_json
from hepred_lib.study.resources import cards_of, training_gb
from hepred_lib.study.run import (
    ASKED_FILE,
    FileDigests,
    differences,
    disagreements,
    named_images,
    outputs_of,
    page_fault,
    read_if_any,
    read_record,
    step_identity,
    step_name,
    steps_of,
)
from ich_phantom import code_digest

OWNER = "HEPRED_OWNER"  # set for processes that another hepred starts
LONGEST_PLACE = 60  # bytes: a socket's whole path may have 107
FAULT_FILE = ".fault"
CONFIG_FILE = ".engine.json"
WAIT_S = 60.0
EARLIER = "earlier"
# The last file of the report of a finished run; removed while results change, so that nobody reads old numbers.
REPORTED = "report/summary.pdf"
SHOWN_LINES = 12
CLUSTER_CORES = 4  # of a job that simulates a cohort
STEP_FAILED = "A step failed: what it said is in {}. Finished steps are kept; the same command resumes."
NOTHING_TO_DO = "nothing to do: every step is up to date\n"
QUIET = ("--quiet", "all")  # the notebooks speak for themselves


class NotebookError(RuntimeError):
    """A cell of a notebook failed; ``input_at_fault`` tells whether the user's input is to blame."""

    def __init__(self, message: str, *, input_at_fault: bool) -> None:
        super().__init__(message)
        self.input_at_fault = input_at_fault


class Interrupted(BaseException):
    """The command was ended from outside, by Ctrl-C or SIGTERM."""


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
    check_parameters(notebook, parameters)
    without_grammars()
    import papermill  # with jupyter_client half a second, spent only where a notebook is run
    from nbclient.exceptions import DeadKernelError

    # Messages on their way when a failed kernel leaves are no fault that a reader could mend.
    logging.getLogger("tornado.general").setLevel(logging.CRITICAL)
    output.parent.mkdir(parents=True, exist_ok=True)
    # To papermill, braces in a path would be the places of parameters.
    source, kept = (
        str(path).replace("{", "{{").replace("}", "}}")
        for path in (PROJECT / "notebooks" / f"{notebook}.ipynb", output)
    )
    with _environment(threads, root) as sockets:
        try:
            papermill.execute_notebook(
                source,
                kept,
                parameters=dict(parameters),
                cwd=str(PROJECT / "notebooks"),
                kernel_manager_class=_local_kernel_manager(sockets),
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


def _local_kernel_manager(folder: str) -> type:
    """Kernels that listen on sockets in the folder of the user's own connection files, not on open ports."""
    from jupyter_client.manager import AsyncKernelManager

    # Absolute: the kernel works in the notebooks' folder, its client elsewhere. A connection file in the temporary
    # folder would be left there by a killed run.
    own = {"transport": "ipc", "ip": f"{folder}/socket", "connection_file": f"{folder}/kernel.json"}

    class LocalKernelManager(AsyncKernelManager):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given | own)

    return LocalKernelManager


@contextmanager
def _environment(threads: int, root: Path) -> Iterator[str]:
    """What a kernel inherits: its threads, the root, and a folder of its own for its sockets, which is given."""
    sockets = _socket_folder()
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))
    # Threads that wait do not spin: on a shared machine spinning starves the very threads that are waited for.
    os.environ.update({"OMP_WAIT_POLICY": "passive", "HEPRED_ROOT": str(root), RUNNER: "1"})
    os.environ["JUPYTER_RUNTIME_DIR"] = sockets
    try:
        yield sockets
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(sockets, ignore_errors=True)


def _socket_folder() -> str:
    """A private folder whose sockets' paths are short enough; folders of processes that are gone are removed."""
    places = dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"])
    for left in (left for place in places for left in Path(place).glob("hepred-*-*")):
        pid = left.name.split("-")[1]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    for place in places:
        if len(os.fsencode(place)) <= LONGEST_PLACE and os.access(place, os.W_OK):
            return tempfile.mkdtemp(prefix=f"hepred-{os.getpid()}-", dir=place)
    raise StudyError(
        f"TMPDIR must be a folder that can be written, of a path of at most {LONGEST_PLACE} bytes, got "
        f"{', '.join(places)}."
    )


@contextmanager
def step_at_work(folder: Path, step: str) -> Iterator[None]:
    """Hold one step of a run; wait while another process does, such as a cluster's job that outlived its command."""
    place = folder / "records" / f".{step}.lock"
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # a run that cannot be written, or a file system without locks
            place.parent.mkdir(parents=True, exist_ok=True)
            stream = held.enter_context(open(place, "w"))
            if not locked(stream):
                sys.stderr.write(f"{step} is being made by another process: waiting for it\n")
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def watch_owner() -> None:
    """End this process, and with it its kernel, when the run that owns it is gone (kill -9 leaves no time for more).

    The owner is named in the environment as ``host:pid``; on another host, as under a cluster's scheduler, nothing
    is watched.
    """
    mark = os.environ.get(OWNER, "")
    if mark.rpartition(":")[0] != socket.gethostname():
        return

    def watch() -> None:
        while owner_lives(mark):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def owner_lives(mark: str) -> bool:
    """Whether the process of an owner's mark runs on this host; on another host it is taken to."""
    host, _, pid = mark.rpartition(":")
    return pid.isdigit() and (host != socket.gethostname() or _alive(int(pid)))


def owner_mark() -> dict[str, str]:
    """The environment entry by which children watch this process."""
    return {OWNER: f"{socket.gethostname()}:{os.getpid()}"}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # of another user
        return True
    except ProcessLookupError:
        return False
    return True


def run_study(
    path: Path,
    *,
    cores: int | None = None,
    gpus: int | None = None,
    runs_dir: str = "",
    profile: str = "",
    engine_arguments: Sequence[str] = (),
) -> int:
    """Run what is missing of a study, and what disagrees with it.

    Parameters
    ----------
    path : Path
        The study file.
    cores : int, optional
        Cores to use at once, all if not given, on a cluster as many as the jobs that the profile allows take; numbers
        do not depend on it.
    gpus : int, optional
        Cards to share among the folds, 0 for none; all that are visible if not given, on a cluster one for each fold.
    runs_dir : str
        Folder of the runs, empty for the root's own.
    profile : str
        A cluster's profile: a folder, from here or in the project, or the name of one of Snakemake's own. The whole
        study runs as without, but its steps are jobs whose output is in the run's ``logs/``.
    engine_arguments : sequence of str
        Passed on to Snakemake: ``--dry-run`` ...

    Returns
    -------
    int
        0 done, 2 the input is at fault (said on stderr by the notebook that met it), 1 otherwise.

    Raises
    ------
    StudyError
        The study file is wrong, its manifest is missing, its folder belongs to another study or cannot be written, or
        another run is at work on it.
    """
    study, path = load_study(path), Path(path).resolve()
    folder = run_folder(study, runs_dir)
    shared = [] if engine_arguments else _shared_cards(study, gpus, cluster=bool(profile))
    told = ["--profile", find_profile(profile)] if profile else QUIET
    cores = cores or (None if profile else os.cpu_count() or 1)
    for key, (manifest, truth, _) in _manifests(study).items():
        if not truth and not manifest.is_file():
            raise StudyError(f"{key} of study {study.name} must name a file, got {manifest}, which is not there.")
    if folder.is_dir() and not os.access(folder, os.W_OK):
        late = [f"{step}: {why[0]}" for step, why in explain(study, folder).items() if why]
        if late:
            raise StudyError(f"{folder} cannot be written, and the study is not up to date ({late[0]}).")
        sys.stderr.write(NOTHING_TO_DO)
        return 0
    _require_same_study(study, path, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder) as lock:
        sys.stderr.write(f"Study {study.name}: results in {folder}\n")
        (folder / FAULT_FILE).unlink(missing_ok=True)
        # Through a file: on the command line a folder named 2024, null or {x} would not stay text.
        asked = {"study_file": str(path), "runs_dir": runs_dir, "cores": cores or CLUSTER_CORES, "gpus": gpus}
        write_bytes(folder / CONFIG_FILE, json.dumps(asked).encode())
        if not engine_arguments:
            status = _simulate(study, folder, told, cores=cores, lock=lock)
            if status:
                return status
            move_aside(study, folder)
            _bring_back_from_tomorrow(study, folder)
            write_json(folder / ASKED_FILE, _asked(study, path))
        stale = [study_steps(study)[step] for step, why in explain(study, folder).items() if why]
        if not (engine_arguments or stale):
            sys.stderr.write(NOTHING_TO_DO)
            return 0
        (folder / REPORTED).unlink(missing_ok=True)
        # The engine itself does not see every reason to make a step again.
        forced = ["--forcerun", *(outputs_of(*made_by)[0] for made_by in stale)] if stale else []
        told = [*(told if profile or not engine_arguments else ()), *engine_arguments]
        status = _run_engine(folder, [*forced, *shared, *told], cores=cores, lock=lock)
        if not (status or engine_arguments):
            for left in folder.rglob(".*.tmp"):  # half-written files of killed processes
                left.unlink(missing_ok=True)
        return status


def _simulate(study: Study, folder: Path, told: Sequence[str], *, cores: int | None, lock: int) -> int:
    """Make the simulated cohorts that are not there, or lack a scan that their manifest names; the engine's status."""
    made = [(at, study.root / truth, rule) for at, truth, rule in _manifests(study).values() if truth]

    def lacking() -> dict[str, Path]:
        return {rule: truth.parent for at, truth, rule in made if not (truth.is_file() and _is_whole(at))}

    if not (cohorts := lacking()):
        return 0
    with contextlib.ExitStack() as locks:
        for cohort in cohorts.values():  # variants of a sweep that run at the same time share a cohort
            cohort.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(locks.enter_context(open(cohort.with_name(f".{cohort.name}.lock"), "a")), fcntl.LOCK_EX)
        if not (cohorts := lacking()):
            return 0
        sys.stderr.writelines(f"simulating the cohort {cohort} ...\n" for cohort in cohorts.values())
        return _run_engine(folder, ["--until", *cohorts, "--forcerun", *cohorts, *told], cores=cores, lock=lock)


def find_profile(name: str) -> str:
    """A cluster's profile as the engine finds it from wherever it works.

    Raises
    ------
    StudyError
        A path of a profile that is not there.
    """
    for path in (Path(name), PROJECT / name):
        if path.exists():
            return str(path.resolve())
    if Path(name).name != name:
        raise StudyError(f"--profile must be a folder that has a config.yaml, got {name}, which is not there.")
    return name  # of Snakemake's own folder of profiles


def _shared_cards(study: Study, gpus: int | None, *, cluster: bool = False) -> list[str]:
    """The engine's words for the cards that trainings share; no others are shown to them."""
    if cluster:  # where the scheduler hands them out
        if gpus == 0:  # jobs take the environment with them, and a node may show cards to those who asked for none
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return ["--resources", f"gpu={gpus}"] if gpus else []
    cards = visible_cards()
    if gpus is not None:
        if gpus > len(cards):
            raise StudyError(f"--gpus must be at most the number of cards that can be used, {len(cards)}, got {gpus}.")
        cards = cards[:gpus]
        # In the driver's order, as trainings hold them: chapters that read scans must not take another card.
        os.environ.update(zip(ENVIRONMENT, (",".join(cards), "PCI_BUS_ID"), strict=True))
    # Of cards that a training takes several of, it takes the whole.
    shares = places(training_gb(study) if cards_of(study) == 1 else 0.0)
    return ["--resources", f"gpu={sum(shares.values())}"] if shares else []


def run_folder(study: Study, runs_dir: str = "") -> Path:
    """Where a study writes."""
    return (study.root / (runs_dir or "runs") / study.name).resolve()


def study_steps(study: Study) -> dict[str, tuple[str, int | None]]:
    """Every step of a study, as :func:`hepred_lib.study.run.steps_of` gives them."""
    return steps_of(study.image_source, study.folds, external=bool(study.external))


def explain(study: Study, folder: Path) -> dict[str, list[str]]:
    """Why each step of a study has to be made, or made again; an empty list where it is up to date."""
    digests = FileDigests(folder)
    steps = study_steps(study)
    found = {step: reasons_to_make(study, folder, *made_by, digests=digests) for step, made_by in steps.items()}
    digests.save()
    return found


def reasons_to_make(
    study: Study, folder: Path, notebook: str, fold: int | None, *, digests: FileDigests | None = None
) -> list[str]:
    """Why one step has to be made, or made again."""
    step, digests = step_name(notebook, fold), digests or FileDigests(folder)
    record = read_record(folder, step)
    if record is None:
        return ["not made yet"]
    for name in outputs_of(notebook, fold, image_source=study.image_source):
        if name not in record["files"]:
            return [f"{name} is not in its record"]
    if fault := page_fault(folder, step):
        return [fault]
    given = notebook_defaults(notebook) | study_parameters(study, notebook, fold)
    wanted = step_identity(notebook, given, root=study.root, digests=digests)
    return differences(wanted, record["identity"]) + disagreements(folder, step, record, digests)


def _bring_back_from_tomorrow(study: Study, folder: Path) -> None:
    """Give results whose time lies ahead, as after a clock was set, the time of now.

    The engine would refuse the step after them, whose own results are older than what they are made from.
    """
    now = time.time()
    for notebook, fold in study_steps(study).values():
        for path in (folder / name for name in outputs_of(notebook, fold)):
            if path.is_file() and path.stat().st_mtime > now:
                os.utime(path, (now, now))


def move_aside(study: Study, folder: Path) -> None:
    """Move what steps of an earlier setting left into ``earlier/``, where nothing reads it, and say so."""
    steps = study_steps(study)
    listed = set().union(*(record["files"] for record in (read_record(folder, step) for step in steps) if record))
    for step, (notebook, fold) in steps_of("scans", MOST_FOLDS, external=True).items():
        if step in steps:
            continue
        record = read_record(folder, step)
        names = set(outputs_of(notebook, fold)) if record is None else set(record["files"])
        if fold is not None:  # its folder goes with all that is in it
            names = {name for name in names if not name.startswith(f"folds/{fold}/")} | {f"folds/{fold}"}
        names |= {f"records/{step}.json", f"notebooks/{step}.ipynb"}
        found = sorted(name for name in names - listed if (folder / name).exists())
        for name in found:
            target = folder / EARLIER / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(folder / name, target)
        if found:
            sys.stderr.write(f"{step} is not part of this study any more: moved to {folder / EARLIER}.\n")


def _run_engine(folder: Path, words: Sequence[str], *, cores: int | None, lock: int) -> int:
    """Run Snakemake, whose own bookkeeping lives in the run's folder, so that studies do not lock each other.

    Where the command is interrupted the engine ends, and the notebooks with it. Where the engine fails and no notebook
    said why, say what is known.
    """
    # The lock replaces Snakemake's own, which outlives kill -9 and would have to be broken by hand.
    safety = ["--nolock", "--rerun-incomplete", "--rerun-triggers", "mtime", "params", "input"]
    where = ["--snakefile", str(PROJECT / "Snakefile"), "--directory", str(folder)]
    where += ["--cores", str(cores)] if cores else []
    command = [sys.executable, "-m", "snakemake", *where, *safety, "--configfile", str(folder / CONFIG_FILE)]
    cluster = "--profile" in words  # whose relative paths, as of logs, are then in the run
    environment, place = {**os.environ, **owner_mark()}, folder if cluster else None
    process = subprocess.Popen([*command, *words], env=environment, cwd=place, pass_fds=[lock])
    try:
        status = process.wait()
    except (Interrupted, KeyboardInterrupt):
        # A cluster's jobs are cancelled on the one signal, and would be waited for on the other.
        process.send_signal(signal.SIGINT if cluster else signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60 if cluster else 5)
        process.kill()
        raise
    if not status:
        return 0
    if (folder / FAULT_FILE).exists():
        if cluster:  # on whose nodes it was said
            sys.stderr.write(f"hepred: {(folder / FAULT_FILE).read_text(encoding='utf-8', errors='replace')}")
        return 2
    if cluster and "--dry-run" not in words:
        sys.stderr.write(f"{STEP_FAILED.format(folder / 'logs')}\n")
    if "--quiet" in words:
        _say_why([*command, *words[: words.index("--quiet")], "--dry-run"], folder)
    return 1


def _say_why(plan: Sequence[str], folder: Path) -> None:
    """Let a quiet engine that failed plan once more aloud: either it cannot, and says why, or a step failed."""
    planned = subprocess.run(plan, env=os.environ, capture_output=True, text=True, errors="replace", check=False)
    if planned.returncode:
        lines = [line for line in (planned.stdout + planned.stderr).splitlines() if line.strip()]
        sys.stderr.write("\n".join(["The workflow engine failed:", *lines[-SHOWN_LINES:], ""]))
        return
    sys.stderr.write(
        f"A step failed; its notebook is in {folder / 'notebooks'}. Where nothing is said above, its process "
        "was killed, most often because the memory ran out. Finished steps are kept; the same command resumes.\n"
    )


def _manifests(study: Study) -> dict[str, tuple[Path, str, str]]:
    """By key of the study file: each manifest, and where it is simulated its truth and the rule that makes both."""
    found = {"manifest": (study.root / study.manifest, study.truth, "simulate")}
    if study.external:
        name = Path(study.external["manifest"])
        truth = str(name.with_name("truth.csv")) if study.external.get("simulate") else ""
        found["external, manifest"] = study.root / name, truth, "simulate_external"
    return found


def _require_same_study(study: Study, path: Path, folder: Path) -> None:
    """Refuse a folder that another study file of the same name, with another manifest, was run in."""
    asked = read_if_any(folder / ASKED_FILE)
    other, manifest = asked.get("study_file"), asked.get("manifest")
    here = str((study.root / study.manifest).resolve())
    if other and other != str(path) and manifest != here and Path(str(other)).exists():
        raise StudyError(
            f"{folder} holds the study of {other} with manifest {manifest}; {path} gives the same name "
            f"'{study.name}' to manifest {here}. Give one of them another name."
        )


def _asked(study: Study, path: Path) -> dict[str, Any]:
    """What a study asks of each notebook: what one that is run by hand is held against."""
    notebooks = dict.fromkeys(notebook for notebook, _ in study_steps(study).values())
    return {
        "study_file": str(path),
        "manifest": str((study.root / study.manifest).resolve()),
        "image_source": study.image_source,
        "folds": study.folds,
        "threads": {name: study.notebook_threads(name) for name in notebooks},
        "parameters": {name: notebook_defaults(name) | study_parameters(study, name) for name in notebooks},
    }


def _is_whole(manifest: Path) -> bool:
    """Whether a simulated cohort has all scans that its manifest names, by the simulation as it is now."""
    if not manifest.is_file():
        return False
    settings = manifest.parent / "scans" / "settings.json"
    if settings.is_file() and read_json(settings).get("code", code_digest()) != code_digest():
        return False
    images = named_images(manifest, FileDigests(manifest.parent).of(manifest))
    return all(map(os.path.isfile, images))


@contextmanager
def _only_one(folder: Path) -> Iterator[int]:
    """The lock of a run; refused at once while its owner lives, and waited for while a dead owner's engine ends."""
    with open(folder / ".lock", "a+") as stream:
        deadline = time.monotonic() + WAIT_S
        while not locked(stream):
            stream.seek(0)
            owner = stream.read().strip()
            if owner_lives(owner) or time.monotonic() > deadline:
                raise StudyError(f"another run is at work on {folder} (process {owner}); wait for it, or end it.")
            time.sleep(0.5)
        stream.truncate(0)
        stream.write(owner_mark()[OWNER])
        stream.flush()
        yield stream.fileno()
