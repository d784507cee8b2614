"""The run of a study: its steps, what each was made from, and the folder as one notebook opens it.

A *step* is one notebook of a study, for training one fold of it. Each step leaves ``records/STEP.json`` with what it
was made from, as content (code, parameters, manifest, scans and masks, the steps before it), and with the size and
SHA-256 of every file that it wrote. A step whose identity differs from what its study asks for today, or whose files
are not those that it wrote, is made again; time stamps decide nothing.

A notebook that is run by hand (in Jupyter, or by papermill) writes into the run only what the study itself would write:
with other parameters it writes to ``runs/STUDY-scratch/``, and where its cells were changed its record says so, so that
the next ``hepred run`` makes the step again.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from hepred_lib.cohort.manifest import valid_cells
from hepred_lib.cohort.rules import PATHS
from hepred_lib.errors import StudyError
from hepred_lib.literal import shown
from hepred_lib.pretrained import pretrained_file
from hepred_lib.progress import RUNNER
from hepred_lib.study.definition import (
    BOOK,
    DEFAULT_THREADS,
    PROJECT,
    TRAINING,
    check_parameters,
    closest,
    notebook_cells,
    notebook_defaults,
)
from hepred_lib.study.files import WRITTEN, damaged, file_sha256, read_json, take_file, write_bytes, write_json

READINGS = ["segmentation.csv", "detection.csv"]  # of 04 too, where the study has scans
LEFT_OUT = {"none": ("02", "03", "04", "06"), "column": ("02", "03"), "scans": ()}
# Files that no other step reads: drawing them anew does not make the steps after stale.
SHOWN = ("figures", "figure_data", "tables", "table_data")  # the last one: of earlier versions
PACKAGES = ("hepred_lib", "ich_phantom")  # whose code a step can be made from
# Training is not repeated because a figure is drawn in another way.
NOT_TRAINED_BY = ("hepred_lib/study/drawing.py", "hepred_lib/figures/")
# What values of another kind than expected lead to.
LED_TO = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
SEAL = "seal"
# Parameters that change what a page shows and nothing that a later step reads: no network is trained again for them.
ON_PAGE = {("01_cohort", "candidates")}
RECORDED = ("parameters", "results", "identity", "files", "upstream")
DIGEST_FILE = ".digests.json"
ASKED_FILE = "study.json"  # what `hepred run` last asked of each step
SCRATCH = "-scratch"
SIMULATED = "SIM-"  # what identifiers of the simulation begin with
NOT_COPIED = ("notebooks", "site", "report", "earlier", "logs", ".snakemake")


def steps_of(image_source: str, folds: int, *, external: bool) -> dict[str, tuple[str, int | None]]:
    """Every step of a study: its name in ``records/``, its notebook, and its fold where it has one.

    Examples
    --------
    >>> list(steps_of("none", 3, external=False))
    ['00_the_paper', '01_cohort', '05_clinical_to_he', '07_roc_calibration_figures']
    >>> [name for name in steps_of("scans", 2, external=False) if name.startswith("03")]
    ['03_multitask_training_fold0', '03_multitask_training_fold1']
    """
    left_out = (*LEFT_OUT[image_source], *([] if external else ["08"]))
    made = [
        (notebook, fold)
        for notebook in BOOK
        if notebook[:2] not in left_out
        for fold in (range(folds) if notebook == TRAINING else [None])
    ]
    return {step_name(*made_by): made_by for made_by in made}


def step_name(notebook: str, fold: int | None = None) -> str:
    """Name of a step, as in ``records/STEP.json`` and ``notebooks/STEP.ipynb``."""
    return notebook if fold is None else f"{notebook}_fold{fold}"


def outputs_of(notebook: str, fold: int | str | None = None, *, image_source: str = "scans") -> list[str]:
    """Files that a step leaves for others, relative to the run.

    Examples
    --------
    >>> outputs_of("03_multitask_training", 1)[0]
    'folds/1/network.safetensors'
    """
    readings = READINGS if notebook == "04_image_to_he" and image_source == "scans" else []
    return BOOK[notebook][1].replace("{}", str(fold)).split() + readings


def upstream_of(step: str, steps: Iterable[str]) -> list[str]:
    """The steps among ``steps`` that one step reads."""
    reads = next(reads for notebook, (reads, _) in BOOK.items() if step.startswith(notebook))
    return [name for name in steps if name[:2] in reads.split()]


def short_digest(content: Any) -> str:
    """A short digest of bytes, or of values as JSON."""
    content = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def read_if_any(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is none that can be read."""
    try:
        return read_json(path)
    except (OSError, StudyError):
        return {}


def are_simulated(patient_ids: Iterable[str], truth: str = "") -> bool:
    """Whether patients are simulated: the study names their truth, or each has an identifier of the simulation.

    Examples
    --------
    >>> are_simulated(["SIM-A-00001"]), are_simulated(["SIM-A-00001", "HE-1"]), are_simulated([])
    (True, False, False)
    """
    names = list(map(str, patient_ids))
    return bool(truth) or (bool(names) and all(name.startswith(SIMULATED) for name in names))


class FileDigests:
    """SHA-256 of files, kept beside a run so that an unchanged file is not read again.

    A file is taken as unchanged while its size, its inode and its times of modification *and of status change* are: the
    last cannot be set by hand, so that an edited file with its old time stamp is read again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / DIGEST_FILE
        self._kept: dict[str, Any] = read_if_any(self._path)
        self._changed = False

    def of(self, path: Path) -> str | None:
        """SHA-256 of one file, None where there is none that can be read."""
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                return None
            mark = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            kept = self._kept.get(str(path))
            if not (isinstance(kept, list) and kept[:4] == mark and len(kept) == 5):
                self._kept[str(path)] = kept = [*mark, file_sha256(path)]
                self._changed = True
        except (OSError, ValueError):
            return None
        return kept[4]

    def save(self) -> None:
        """Keep what was computed; a folder that cannot be written is left as it is."""
        if self._changed:  # another process may have kept more since
            with suppress(OSError):
                write_bytes(self._path, json.dumps(self._kept).encode())
                self._changed = False


def code_digests(notebook: str) -> dict[str, str]:
    """A short digest of a notebook and of each module of the library that it can reach, by path.

    Comments, docstrings and layout of a module do not count; the notebook's text does, since the executed notebook
    shows it.
    """
    source = PROJECT / "notebooks" / f"{notebook}.py"
    reached = _reachable(source, NOT_TRAINED_BY if notebook == TRAINING else ())
    return {f"notebooks/{notebook}.py": short_digest(source.read_bytes()), **reached}


def library_code(*names: str) -> str:
    """One short digest of a module of the library and of all that it can reach.

    Parameters
    ----------
    *names : str
        Path of the module below ``hepred_lib``: ``"multitask", "training.py"``.
    """
    module = PROJECT.joinpath("hepred_lib", *names)
    return short_digest([_read_module(module)[0], _reachable(module, ())])


def _reachable(source: Path, left_out: tuple[str, ...]) -> dict[str, str]:
    """Digests of the modules of the library that a file can reach, by path, without those of some paths."""
    found: dict[str, str] = {}
    waiting = list(_read_module(source)[1])
    while waiting:
        name = waiting.pop()
        if name not in found and not name.startswith(left_out):
            found[name], imported = _read_module(PROJECT / name)
            waiting += imported
    return dict(sorted(found.items()))


def _read_module(path: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of a module, and the modules of the library that it imports wherever in its text, with their packages."""
    return _parsed(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1024)
def _parsed(path: Path, _: int) -> tuple[str, tuple[str, ...]]:
    tree, names = ast.parse(path.read_bytes()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())), *_] as body:
                del body[0]
    found = []
    for name in sorted(name for name in names if name.split(".")[0] in PACKAGES):
        parts = name.split(".")
        stems = ["/".join(parts[:depth]) for depth in range(2, len(parts) + 1)]
        found += [f"{stem}{end}" for stem in stems for end in (".py", "/__init__.py")]
    return short_digest(ast.dump(tree).encode()), tuple(
        name for name in dict.fromkeys(found) if (PROJECT / name).is_file()
    )


@lru_cache(maxsize=16)
def named_images(manifest: Path, digest: str | None) -> tuple[str, ...]:
    """Every scan and mask that a manifest of this digest names, as absolute paths, sorted."""
    return tuple(sorted(set(valid_cells(manifest)[PATHS].stack().dropna())))


def step_identity(notebook: str, parameters: Mapping[str, Any], *, root: Path, digests: FileDigests) -> dict[str, Any]:
    """What a step is made from: ``parameters``, ``code``; where it reads them ``manifest``, ``images``, ``pretrained``.

    Parameters
    ----------
    notebook : str
    parameters : mapping
        All parameters of the notebook, defaults included.
    root : Path
        The folder that the path of the manifest is relative to.
    digests : FileDigests
        Digests of scans and masks, kept by the run.
    """
    # Where files are written is not what they are made from.
    given = {name: value for name, value in parameters.items() if name not in ("runs_dir", "out")}
    identity: dict[str, Any] = {"parameters": given, "code": code_digests(notebook)}
    if parameters.get("manifest"):
        manifest, images = root / parameters["manifest"], "absent"
        digest = digests.of(manifest)
        if manifest.is_file():
            paths = {os.path.relpath(path, manifest.parent): Path(path) for path in named_images(manifest, digest)}
            images = short_digest("".join(f"{name} {digests.of(path)}\n" for name, path in paths.items()).encode())
        identity |= {"manifest": (digest or "absent")[:16], "images": images}
    if "pretrained" in parameters and (weights := pretrained_file(parameters["pretrained"])):
        identity["pretrained"] = digests.of(weights)
    return identity


def differences(wanted: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """In words, how the identity of what was made differs from what is wanted; empty where it does not."""

    def differing(part: str) -> dict[str, tuple[Any, Any]]:
        old, new = made.get(part, {}), wanted[part]
        both = {name: (old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old])}
        return {name: pair for name, pair in both.items() if pair[0] != pair[1]}

    reasons = [f"parameter {name} was {old!r}, is {new!r}" for name, (old, new) in differing("parameters").items()]
    modules = list(differing("code"))
    reasons += [f"code changed: {_first_three(modules)}"] if modules else []
    words = {"manifest": "the manifest changed", "images": "scans or masks changed"}
    words["pretrained"] = "the weights that training starts from changed"
    return reasons + [text for part, text in words.items() if made.get(part) != wanted.get(part)]


def read_record(folder: Path, step: str) -> dict[str, Any] | None:
    """The record of a step, None where there is none or it is damaged."""
    record = read_if_any(folder / "records" / f"{step}.json")
    whole = record.pop(SEAL, None) == short_digest(record)
    return record if whole and all(isinstance(record.get(key), dict) for key in RECORDED) else None


def page_fault(folder: Path, step: str) -> str:
    """Why the executed notebook of a step is not that of a finished run; empty where it is."""
    page = read_if_any(folder / "notebooks" / f"{step}.ipynb")
    if not page:
        return "its executed notebook is not there, or damaged"
    # A later attempt, with other inputs, may have left its page and no results.
    attempt = page.get("metadata", {}).get("papermill", {})
    unfinished = attempt.get("exception") or attempt.get("end_time", "") is None
    return "its executed notebook is of a run that did not finish" if unfinished else ""


def write_record(folder: Path, step: str, record: Mapping[str, Any]) -> Path:
    """Write the record of a step with a digest of itself, by which damage to it is seen; its path."""
    path = folder / "records" / f"{step}.json"
    write_json(path, record)
    write_json(path, {**record, SEAL: short_digest(read_json(path))})
    return path


def replace_record(folder: Path, step: str, record: Mapping[str, Any]) -> Path:
    """Write the record of a step, and remove what its earlier one listed and no record lists now; its path."""
    earlier = read_record(folder, step)
    path = write_record(folder, step, record)
    listed = set().union(*(record["files"] for record in _records(folder).values()))
    for name in set(earlier["files"] if earlier else ()) - listed:
        (folder / name).unlink(missing_ok=True)
    return path


def disagreements(folder: Path, step: str, record: Mapping[str, Any], digests: FileDigests) -> list[str]:
    """In words, how a step's files disagree with its record and with the steps that it was made from."""
    reasons = [f"{record['by_hand']}"] if record.get("by_hand") else []
    changed = [name for name, kept in record["files"].items() if digests.of(folder / name) != kept["sha256"]]
    if changed:
        words = "was" if len(changed) == 1 else "were"
        reasons.append(f"{_first_three(changed)} {words} changed or deleted after the step")
    upstream = record["upstream"].items()
    return reasons + [
        f"{name} gives other results now" for name, kept in upstream if record_digest(folder, name) != kept
    ]


def record_digest(folder: Path, step: str, *, without: Sequence[str] = ()) -> str | None:
    """Short digest of what the steps after this one read of it: parameters, results, and the digests of files.

    Parameters
    ----------
    folder : Path
    step : str
    without : sequence of str
        Parameters that do not count.

    Returns
    -------
    str or None
        None where the step left no record.
    """
    record = read_record(folder, step)
    if record is None:
        return None
    files = {name: kept for name, kept in record["files"].items() if name.split("/")[0] not in SHOWN}
    left_out = {*without, *(name for shown_by, name in ON_PAGE if shown_by == step)}
    given = {name: value for name, value in record["parameters"].items() if name not in left_out}
    return short_digest([given, record["results"], files])


def renew_records(folder: Path) -> None:
    """Let the records list files that this process drew anew as they are now."""
    for step, record in _records(folder).items():
        drawn = {name: WRITTEN[folder / name] for name in record["files"] if folder / name in WRITTEN}
        write_record(folder, step, record | {"files": record["files"] | drawn})


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    """The records of a folder that are whole, by step."""
    found = {path.stem: read_record(folder, path.stem) for path in sorted((folder / "records").glob("*.json"))}
    return {step: record for step, record in found.items() if record is not None}


def require_consistent(folder: Path) -> None:
    """Refuse a run whose files are not those of its records, or whose steps were not made from one another.

    The slices that networks were trained on are left out: they are large, and nothing that is read from a finished
    run depends on them. A run of a version that listed no files cannot be checked, and passes. Nothing is written: the
    run may be read by those who must not change it.

    Raises
    ------
    StudyError
        In one line: the first step and file that disagree.
    """
    digests = FileDigests(folder)
    for path in sorted((folder / "records").glob("*.json")):
        if "files" not in read_json(path):
            continue
        record = read_record(folder, path.stem)
        if record is None:
            raise StudyError(damaged(path, "it is no record of a step"))
        files = {name: kept for name, kept in record["files"].items() if not name.endswith(".npy")}
        reasons = disagreements(folder, path.stem, record | {"files": files}, digests)
        if reasons:
            raise StudyError(f"{folder} is not one study: {path.stem}: {reasons[0]}. Run the study again to mend it.")


@contextmanager
def blaming_damage(folder: Path) -> Iterator[None]:
    """Turn what damaged files of a run lead to into the refusal that names them.

    An error of a run whose files are all those that its steps wrote stays an error. Of a run whose records list no
    files nobody can say.

    Raises
    ------
    StudyError
        Instead of the error, where the run's files are damaged.
    """
    try:
        yield
    except StudyError:
        raise
    except LED_TO as error:
        require_consistent(folder)
        if any("files" not in read_json(path) for path in (folder / "records").glob("*.json")):
            reason = f"its files do not fit one another ({type(error).__name__}: {shown(error, 100)})"
            raise StudyError(damaged(folder, reason)) from error
        raise


@dataclass(frozen=True)
class Run:
    """The folder of one study, opened by one notebook.

    Attributes
    ----------
    folder, root : Path
        Where the notebook reads and writes; the folder that paths in parameters are relative to.
    notebook : str
    parameters, identity : mapping
        See :func:`step_identity`.
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

    def simulated(self, patient_ids: Iterable[str]) -> bool:
        """Whether these patients are simulated, see :func:`are_simulated`."""
        return are_simulated(patient_ids, self.parameters.get("truth", ""))

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
        return replace_record(self.folder, self.step, record)

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
        known = {"", *(text for _, text in notebook_cells(self.notebook))}
        changed = {cell.strip() for cell in self.cells if not cell.startswith("# Parameters")} - known
        return "run by hand with other cells than the notebook's" if changed else ""


def project_root() -> Path:
    """The folder that holds ``studies/``: set by the runner, or found upwards from where Jupyter started."""
    if "HEPRED_ROOT" in os.environ:
        return Path(os.environ["HEPRED_ROOT"])
    here = Path.cwd().resolve()
    return next((folder for folder in (here, *here.parents) if (folder / "studies").is_dir()), PROJECT)


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
    defaults, executed = notebook_defaults(notebook), namespace.get("_ih", [])
    # papermill only logs a parameter that the notebook does not know; its injected cell is in IPython's history.
    for source in (source for source in executed if source.startswith("# Parameters")):
        names = {target.id for line in ast.parse(source).body for target in getattr(line, "targets", [])}
        for name in sorted(names - set(defaults)):
            raise StudyError(f"{notebook} has no parameter '{name}'{closest(name, defaults)}.")
    parameters = {name: namespace[name] for name in defaults}
    check_parameters(notebook, parameters)
    root, by_hand = project_root(), RUNNER not in os.environ
    folder = (root / (parameters["runs_dir"] or "runs") / parameters["study"]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder = _folder_by_hand(folder, notebook, parameters) if by_hand else folder
    digests = FileDigests(folder)
    identity = step_identity(notebook, parameters, root=root, digests=digests)
    if not parameters.get("out"):  # with a folder of its own a notebook only reads the run
        digests.save()
    opened = Run(folder, root, notebook, parameters, identity, executed if by_hand else None)
    # Sums are rounded differently by other numbers of threads: by hand as by the runner, they are the study's.
    threadpool_limits(opened.threads)
    return opened


def study_threads(folder: Path, notebook: str) -> int:
    """Threads that a finished study gives to a notebook."""
    asked = _asked_of(folder, "threads", notebook)
    return asked if type(asked) is int and asked > 0 else DEFAULT_THREADS[notebook]


def _asked_of(folder: Path, part: str, notebook: str) -> Any:
    """What ``hepred run`` last asked of a notebook; None where nobody can say."""
    asked = read_if_any(folder / ASKED_FILE).get(part)
    return asked.get(notebook) if isinstance(asked, dict) else None


def _folder_by_hand(folder: Path, notebook: str, parameters: Mapping[str, Any]) -> Path:
    """The run's folder, or its scratch folder where the parameters are not those of the study that was run there."""
    asked = _asked_of(folder, "parameters", notebook)
    given = {name: value for name, value in parameters.items() if name not in ("fold", "out", "runs_dir")}
    other = [name for name, value in given.items() if asked is not None and asked.get(name) != value]
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
    by_hand = {step: record for step, record in _records(scratch).items() if record["by_hand"]}
    own = {name for step, record in by_hand.items() for name in (*record["files"], f"records/{step}.json")}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or name.parts[0] in NOT_COPIED or path.name.startswith(".") or name.as_posix() in own:
            continue
        take_file(path, scratch / name)
    (scratch / ASKED_FILE).unlink(missing_ok=True)


def versions(*, commit: bool = True) -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on, and the commit where one is known and wanted."""
    names = ("numpy", "pandas", "scipy", "scikit-learn", "statsmodels", "torch", "torchvision", "nibabel")
    found = {name: importlib.metadata.version(name) for name in names}
    known = {"hepred": importlib.metadata.version("hepred")} | ({"commit": _commit()} if commit else {})
    return known | {"python": platform.python_version(), **found}


def _commit() -> str:
    """The commit of the checkout, marked where the working tree was changed; empty outside a checkout."""
    words = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty= with local changes"]
    try:
        return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _first_three(names: Sequence[str]) -> str:
    others = f" and {len(names) - 3} more files" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{others}"
