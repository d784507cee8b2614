"""The run of a study: its folder, opened by one notebook whose parameters were checked."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from hepred_lib.study.artifacts import write_json
from hepred_lib.study.definition import (
    DEFAULT_THREADS,
    PROJECT,
    StudyError,
    check_parameters,
    closest,
    notebook_defaults,
)


@dataclass(frozen=True)
class Run:
    """The folder of one study, opened by one notebook."""

    folder: Path
    root: Path
    notebook: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

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

    def record(self, **results: Any) -> Path:
        """Keep the parameters and the named results of this notebook in ``records/``."""
        name = self.notebook + (f"_fold{self.parameters['fold']}" if "fold" in self.parameters else "")
        path = self.path("records", f"{name}.json")
        write_json(path, {"notebook": self.notebook, "parameters": dict(self.parameters), "results": results})
        return path


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
    opened = Run(folder=run.folder, root=run.root, notebook=notebook, parameters=parameters)
    # Sums are rounded differently by other numbers of threads: by hand as by the runner, they are the study's.
    threadpool_limits(opened.threads)
    return opened


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on, and the commit where one is known."""
    names = ("numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "torch", "torchvision", "nibabel")
    found = {name: importlib.metadata.version(name) for name in names}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False)
    library = importlib.metadata.version("hepred")
    return {"hepred": library, "commit": commit.stdout.strip(), "python": platform.python_version(), **found}


def _check_injected(notebook: str, namespace: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    # papermill only logs a parameter that the notebook does not know; its injected cell is in IPython's history.
    for source in namespace.get("_ih", []):
        if not source.startswith("# Parameters"):
            continue
        names = {target.id for line in ast.parse(source).body for target in getattr(line, "targets", [])}
        for name in sorted(names - set(defaults)):
            raise StudyError(f"{notebook} has no parameter '{name}'{closest(name, defaults)}.")
