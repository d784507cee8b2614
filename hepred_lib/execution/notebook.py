"""One notebook run by papermill, as a study asks for it.

Parameters are checked before a kernel starts. Kernels are spoken to over IPC sockets in a private folder: over TCP
other users of the machine could reach them, and parallel kernels race for ports. The executed notebook is written
whatever happens, so that a failed run can be read.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hepred_lib.study import NOTEBOOKS, PROJECT, Study, StudyError, check_parameters, notebook_defaults
from hepred_lib.study.run import RUNNER

OWNER = "HEPRED_OWNER"
LONGEST_PLACE = 60  # bytes: a socket's whole path may have 107


# Errors by which the library says that the input is at fault, by name: they come back from a kernel as text.
INPUT_ERRORS = ("StudyError", "ManifestError", "ScanError", "HeadError")


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
            raise NotebookError(message, input_at_fault=error.ename in INPUT_ERRORS) from error
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
