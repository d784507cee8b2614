"""The run of a study: its folder, opened by one notebook whose parameters were checked.

A notebook that is run by hand (in Jupyter, or by papermill) writes into the run only what the study itself would write:
with other parameters it writes to ``runs/STUDY-scratch/``, and where its cells were changed its record says so, so that
the next ``hepred run`` makes the step again.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from hepred_lib.errors import StudyError
from hepred_lib.study.definition import (
    DEFAULT_THREADS,
    NOTEBOOKS,
    PROJECT,
    check_parameters,
    closest,
    notebook_defaults,
)
from hepred_lib.study.files import WRITTEN, damaged, read_json
from hepred_lib.study.identity import (
    FileDigests,
    read_record,
    record_digest,
    step_identity,
    step_name,
    steps_of,
    upstream_of,
    write_record,
)

RUNNER = "HEPRED_RUNNER"  # set for kernels that `hepred` starts
ASKED_FILE = "study.json"  # what `hepred run` last asked of each step
SCRATCH = "-scratch"
NOT_COPIED = ("notebooks", "site", "report", "earlier", ".snakemake")


@dataclass(frozen=True)
class Run:
    """The folder of one study, opened by one notebook.

    Attributes
    ----------
    folder, root : Path
        Where the notebook reads and writes; the folder that paths in parameters are relative to.
    notebook : str
    parameters, identity : mapping
        See :func:`hepred_lib.study.identity.step_identity`.
    cells : sequence of str, optional
        What was executed, where the notebook is run by hand: IPython's history.
    """

    folder: Path
    root: Path
    notebook: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    cells: Sequence[str] | None = None

    @property
    def step(self) -> str:
        """Name of the step, as in ``records/``."""
        return step_name(self.notebook, self.parameters.get("fold"))

    @property
    def threads(self) -> int:
        """Threads for this notebook: the runner's, or the default where Jupyter was started by hand."""
        return int(os.environ.get("OMP_NUM_THREADS", DEFAULT_THREADS.get(self.notebook, 1)))

    def path(self, *parts: str) -> Path:
        """A path inside the run; its parent folder exists afterwards."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def resolve(self, path: str) -> Path:
        """A path that a parameter names, relative to the root."""
        return (self.root / path).resolve()

    def records(self) -> dict[str, dict[str, Any]]:
        """Parameters and results of the steps that this one is made from, by their names."""
        found = {}
        for name in self._upstream():
            record = read_record(self.folder, name)
            if record is None:
                raise StudyError(damaged(self.folder / "records" / f"{name}.json", "it is no record of a step"))
            found[name] = {key: record[key] for key in ("parameters", "results")}
        return found

    def record(self, **results: Any) -> Path:
        """Keep in ``records/`` what this step was made from, its named results, and every file that it wrote.

        The last thing that a notebook does: what an earlier run of this step left, and this one did not write, is
        removed.
        """
        earlier = read_record(self.folder, self.step)
        written = {path.relative_to(self.folder): kept for path, kept in WRITTEN.items() if self._is_own(path)}
        files = {path.as_posix(): written[path] for path in sorted(written)}
        record = {
            "notebook": self.notebook,
            "parameters": dict(self.parameters),
            "results": results,
            "by_hand": self._by_hand(),
            "identity": dict(self.identity),
            "upstream": {name: record_digest(self.folder, name) for name in self._upstream()},
            "files": files,
        }
        path = write_record(self.folder, self.step, record)
        if earlier is not None:
            remove_files(self.folder, set(earlier["files"]) - set(files))
        return path

    def _upstream(self) -> list[str]:
        """Steps of this study before this one that have left a record."""
        steps = steps_of("scans", int(self.parameters.get("folds", 1000)), external=True)
        return [name for name in upstream_of(self.step, steps) if (self.folder / "records" / f"{name}.json").exists()]

    def _is_own(self, path: Path) -> bool:
        if not (path.is_relative_to(self.folder) and path.is_file()):
            return False
        first = path.relative_to(self.folder).parts[0]
        return first not in ("records", "notebooks") and not first.startswith(".")

    def _by_hand(self) -> str:
        """Why the study itself would not have made this; empty where it would."""
        if self.cells is None:
            return ""
        if self.folder.name.endswith(SCRATCH):
            return "run by hand with other parameters than the study's"
        known = notebook_cells(self.notebook)
        foreign = [cell for cell in self.cells if cell.strip() and not cell.startswith("# Parameters")]
        changed = any(cell.strip() not in known for cell in foreign)
        return "run by hand with other cells than the notebook's" if changed else ""


def project_root() -> Path:
    """The folder that holds ``studies/``: set by the runner, or found upwards from where Jupyter started."""
    if "HEPRED_ROOT" in os.environ:
        return Path(os.environ["HEPRED_ROOT"])
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "studies").is_dir():
            return folder
    return PROJECT


def open_run(study: str, runs_dir: str = "") -> Run:
    """The run of a study by name; ``runs_dir`` empty means the root's own ``runs``."""
    root = project_root()
    folder = (root / (runs_dir or "runs") / study).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return Run(folder=folder, root=root)


def open_notebook(notebook: str, namespace: Mapping[str, Any]) -> Run:
    """Check a notebook's parameters against its own ``parameters`` cell and open its run.

    Parameters
    ----------
    notebook : str
        Name without ending, such as ``05_clinical_to_he``.
    namespace : mapping
        The notebook's ``globals()``.

    Raises
    ------
    StudyError
        A parameter of the wrong type, or one that papermill injected though the notebook does not know it.
    """
    defaults = notebook_defaults(notebook)
    _check_injected(notebook, namespace, defaults)
    parameters = {name: namespace[name] for name in defaults}
    check_parameters(notebook, parameters)
    run = open_run(parameters["study"], parameters["runs_dir"])
    by_hand = RUNNER not in os.environ
    folder = _folder_by_hand(run.folder, notebook, parameters) if by_hand else run.folder
    digests = FileDigests(folder)
    identity = step_identity(notebook, parameters, root=run.root, digests=digests)
    if not parameters.get("out"):  # with a folder of its own a notebook only reads the run
        digests.save()
    cells = namespace.get("_ih", []) if by_hand else None
    opened = Run(folder, run.root, notebook, parameters, identity, cells)
    # Sums are rounded differently by other numbers of threads: by hand as by the runner, they are the study's.
    threadpool_limits(opened.threads)
    return opened


def study_threads(folder: Path, number: str) -> int:
    """Threads that a finished study gives to the notebook of this number."""
    notebook = next(name for name in NOTEBOOKS if name.startswith(number))
    try:
        asked = read_json(folder / ASKED_FILE)["threads"][notebook]
    except (StudyError, KeyError, TypeError):
        return DEFAULT_THREADS[notebook]
    return asked if type(asked) is int and asked > 0 else DEFAULT_THREADS[notebook]


def notebook_cells(notebook: str) -> set[str]:
    """The code of each cell of a notebook, from its percent script."""
    source = (PROJECT / "notebooks" / f"{notebook}.py").read_text(encoding="utf-8")
    return {cell.partition("\n")[2].strip() for cell in source.split("\n# %%")[1:] if "[markdown]" not in cell[:30]}


def remove_files(folder: Path, names: set[str]) -> None:
    """Remove files of a run that no record lists any more."""
    records = (read_record(folder, path.stem) for path in (folder / "records").glob("*.json"))
    listed = set().union(*(record["files"] for record in records if record is not None))
    for name in names - listed:
        (folder / name).unlink(missing_ok=True)


def _folder_by_hand(folder: Path, notebook: str, parameters: Mapping[str, Any]) -> Path:
    """The run's folder, or its scratch folder where the parameters are not those of the study that was run there."""
    try:
        asked = read_json(folder / ASKED_FILE)["parameters"][notebook]
    except (StudyError, KeyError, TypeError):
        return folder
    own = ("fold", "out", "runs_dir")
    given = {name: value for name, value in parameters.items() if name not in own}
    other = [name for name, value in given.items() if asked.get(name) != value]
    if not other or parameters.get("out"):
        return folder
    scratch = folder.with_name(folder.name + SCRATCH)
    told = ", ".join(f"{name} is {given[name]!r}, the study's is {asked.get(name)!r}" for name in other)
    line = f"Parameters differ from those of the study ({told}): this notebook writes to {scratch}, not to {folder}."
    print(line)  # noqa: T201 - the notebook's first output
    _refresh_scratch(folder, scratch)
    return scratch


def _refresh_scratch(folder: Path, scratch: Path) -> None:
    """Give the scratch folder the run's files as they are now, except where a notebook run by hand wrote its own."""
    own: set[str] = set()
    for path in (scratch / "records").glob("*.json"):
        record = read_record(scratch, path.stem)
        if record is not None and record["by_hand"]:
            own |= {*record["files"], f"records/{path.name}"}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or name.parts[0] in NOT_COPIED or path.name.startswith(".") or name.as_posix() in own:
            continue
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).unlink(missing_ok=True)
        try:
            os.link(path, scratch / name)  # files are replaced, never written over: a link is as good as a copy
        except OSError:
            shutil.copy2(path, scratch / name)
    (scratch / ASKED_FILE).unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on, and the commit where one is known."""
    names = ("numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "torch", "torchvision", "nibabel")
    found = {name: importlib.metadata.version(name) for name in names}
    library = importlib.metadata.version("hepred")
    return {"hepred": library, "commit": _commit(), "python": platform.python_version(), **found}


def _commit() -> str:
    """The commit of the checkout, marked where the working tree was changed; empty outside a checkout."""
    said = []
    for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            said.append(subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=True).stdout)
        except (OSError, subprocess.CalledProcessError):
            return ""
    return said[0].strip() + (" with local changes" if said[1].strip() else "")


def _check_injected(notebook: str, namespace: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    # papermill only logs a parameter that the notebook does not know; its injected cell is in IPython's history.
    for source in namespace.get("_ih", []):
        if not source.startswith("# Parameters"):
            continue
        names = {target.id for line in ast.parse(source).body for target in getattr(line, "targets", [])}
        for name in sorted(names - set(defaults)):
            raise StudyError(f"{notebook} has no parameter '{name}'{closest(name, defaults)}.")
