"""What a step of a study was made from, as content: code, parameters, manifest, scans and masks, the steps before it.

A *step* is one notebook of a study, for training one fold of it. Each step leaves ``records/STEP.json`` with its
identity and with the size and SHA-256 of every file that it wrote. A step whose identity differs from what its study
asks for today, or whose files are not those that it wrote, is made again; time stamps decide nothing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from hepred_lib.cohort.manifest import read_valid_cells
from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.errors import StudyError
from hepred_lib.literal import shown
from hepred_lib.study.definition import (
    NOTEBOOKS,
    PROJECT,
)
from hepred_lib.study.files import WRITTEN, damaged, file_sha256, read_json, write_bytes, write_json

# What values of another kind than expected lead to.
LED_TO = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
SEAL = "seal"
RECORDED = ("parameters", "results", "identity", "files", "upstream")
DIGEST_FILE = ".digests.json"
TRAINING = "03_multitask_training"
# The chapters that each chapter reads, by number; folds of 03 are steps of their own.
UPSTREAM = {
    "00": (),
    "01": (),
    "02": ("01",),
    "03": ("01", "02"),
    "04": ("01", "02", "03"),
    "05": ("01",),
    "06": ("01", "03", "04", "05"),
    "07": ("01", "02", "04", "05", "06"),
    "08": ("01", "02", "03", "04", "05", "06", "07"),
}
# What each notebook leaves for others, relative to the run; figures, tables and records come in addition.
OUTPUTS = {
    "00_the_paper": ("paper.json",),
    "01_cohort": ("cohort.csv", "excluded.csv"),
    "02_preprocessing": ("slices/quality.csv",),
    "03_multitask_training": tuple(
        f"folds/{{fold}}/{name}" for name in ("network.safetensors", "history.csv", "predictions.csv")
    ),
    "04_image_to_he": ("image.csv", "image_model.json"),
    "05_clinical_to_he": ("clinical.csv", "clinical_model.json", "imputation.json"),
    "06_integrated_to_he": ("integrated.csv", "integrated_model.json", "integrated_imputation.json"),
    "07_roc_calibration_figures": ("results.json", "predictions.csv", "provenance.json"),
    "08_new_patients": ("external.json",),
}
READINGS = ("segmentation.csv", "detection.csv")  # of 04 too, where the study has scans
# Files that no other step reads: drawing them anew does not make the steps after stale.
SHOWN = ("figures", "figure_data", "tables", "table_data")
PACKAGES = ("hepred_lib", "ich_phantom")  # whose code a step can be made from
# Training is not repeated because a figure is drawn in another way.
NOT_TRAINED_BY = ("hepred_lib/study/drawing.py", "hepred_lib/figures/")


def steps_of(image_source: str, folds: int, *, external: bool) -> dict[str, tuple[str, int | None]]:
    """Every step of a study: its name in ``records/``, its notebook, and its fold where it has one.

    Examples
    --------
    >>> list(steps_of("none", 3, external=False))
    ['00_the_paper', '01_cohort', '05_clinical_to_he', '07_roc_calibration_figures']
    >>> [name for name in steps_of("scans", 2, external=False) if name.startswith("03")]
    ['03_multitask_training_fold0', '03_multitask_training_fold1']
    """
    left_out = {"none": ("02", "03", "04", "06"), "column": ("02", "03"), "scans": ()}[image_source]
    left_out += () if external else ("08",)
    steps: dict[str, tuple[str, int | None]] = {}
    for notebook in (name for name in NOTEBOOKS if name[:2] not in left_out):
        for fold in range(folds) if notebook == TRAINING else (None,):
            steps[step_name(notebook, fold)] = (notebook, fold)
    return steps


def step_name(notebook: str, fold: int | None = None) -> str:
    """Name of a step, as in ``records/STEP.json`` and ``notebooks/STEP.ipynb``."""
    return notebook if fold is None else f"{notebook}_fold{fold}"


def outputs_of(notebook: str, fold: int | None = None, *, image_source: str = "scans") -> list[str]:
    """Files that a step leaves for others, relative to the run.

    Examples
    --------
    >>> outputs_of("03_multitask_training", 1)[0]
    'folds/1/network.safetensors'
    """
    readings = READINGS if notebook == "04_image_to_he" and image_source == "scans" else ()
    return [name.format(fold=fold) for name in (*OUTPUTS[notebook], *readings)]


def upstream_of(step: str, steps: Iterable[str]) -> list[str]:
    """The steps among ``steps`` that one step reads."""
    return [name for name in steps if name[:2] in UPSTREAM[step[:2]]]


class FileDigests:
    """SHA-256 of files, kept beside a run so that an unchanged file is not read again.

    A file is taken as unchanged while its size, its inode and its times of modification *and of status change* are: the
    last cannot be set by hand, so that an edited file with its old time stamp is read again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / DIGEST_FILE
        try:
            kept = read_json(self._path)
        except StudyError:
            kept = {}
        self._kept: dict[str, list] = kept if isinstance(kept, dict) else {}
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
        if self._changed:
            try:
                write_bytes(self._path, json.dumps(self._kept).encode())
            except OSError:
                return
            self._changed = False


def code_digests(notebook: str) -> dict[str, str]:
    """A short digest of a notebook and of each module of the library that it can reach, by path.

    Comments, docstrings and layout of a module do not count; the notebook's text does, since the executed notebook
    shows it.
    """
    source = PROJECT / "notebooks" / f"{notebook}.py"
    reached = _reachable(source, NOT_TRAINED_BY if notebook == TRAINING else ())
    return {f"notebooks/{notebook}.py": _short(source.read_bytes()), **reached}


def library_code(*names: str) -> str:
    """One short digest of a module of the library and of all that it can reach.

    Parameters
    ----------
    *names : str
        Path of the module below ``hepred_lib``: ``"multitask", "training.py"``.
    """
    module = PROJECT.joinpath("hepred_lib", *names)
    return _short(json.dumps([_module_digest(module), _reachable(module, ())]).encode())


def _reachable(source: Path, left_out: tuple[str, ...]) -> dict[str, str]:
    """Digests of the modules of the library that a file can reach, by path, without those of some paths."""
    found: dict[str, str] = {}
    waiting = list(_imports(source))
    while waiting:
        module = waiting.pop()
        name = module.relative_to(PROJECT).as_posix()
        if name not in found and not name.startswith(left_out):
            found[name] = _module_digest(module)
            waiting += _imports(module)
    return dict(sorted(found.items()))


def step_identity(notebook: str, parameters: Mapping[str, Any], *, root: Path, digests: FileDigests) -> dict[str, Any]:
    """What one step is made from: ``parameters``, ``code``, and where it reads a manifest ``manifest`` and ``images``.

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
        manifest = root / parameters["manifest"]
        identity["manifest"] = (digests.of(manifest) or "absent")[:16]
        identity["images"] = _images_digest(manifest, digests)
    return identity


def short_identity(identity: Mapping[str, Any]) -> str:
    """One short text for a whole identity."""
    return _short(json.dumps(identity, sort_keys=True).encode())


def differences(wanted: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """In words, how the identity of what was made differs from what is wanted; empty where it does not."""
    reasons = []
    old, new = made.get("parameters", {}), wanted["parameters"]
    for name in dict.fromkeys([*new, *old]):
        if old.get(name) != new.get(name):
            reasons.append(f"parameter {name} was {old.get(name)!r}, is {new.get(name)!r}")
    old, new = made.get("code", {}), wanted["code"]
    modules = [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]
    if modules:
        others = f" and {len(modules) - 3} more files" if len(modules) > 3 else ""
        reasons.append(f"code changed: {', '.join(modules[:3])}{others}")
    if made.get("manifest") != wanted.get("manifest"):
        reasons.append("the manifest changed")
    if made.get("images") != wanted.get("images"):
        reasons.append("scans or masks changed")
    return reasons


def read_record(folder: Path, step: str) -> dict[str, Any] | None:
    """The record of a step, None where there is none or it is damaged."""
    try:
        record = read_json(folder / "records" / f"{step}.json")
    except (OSError, StudyError):
        return None
    whole = record.pop(SEAL, None) == _seal(record)
    return record if whole and all(isinstance(record.get(key), dict) for key in RECORDED) else None


def write_record(folder: Path, step: str, record: Mapping[str, Any]) -> Path:
    """Write the record of a step with a digest of itself, by which damage to it is seen; its path."""
    path = folder / "records" / f"{step}.json"
    write_json(path, record)
    write_json(path, {**record, SEAL: _seal(read_json(path))})
    return path


def changed_files(folder: Path, record: Mapping[str, Any], digests: FileDigests) -> list[str]:
    """Files of a step that are gone, or are not what the step wrote."""
    return [name for name, kept in record["files"].items() if digests.of(folder / name) != kept["sha256"]]


def disagreements(folder: Path, step: str, record: Mapping[str, Any], digests: FileDigests) -> list[str]:
    """In words, how a step's files disagree with its record and with the steps that it was made from."""
    reasons = [f"{record['by_hand']}"] if record.get("by_hand") else []
    changed = changed_files(folder, record, digests)
    if changed:
        others = f" and {len(changed) - 3} more files" if len(changed) > 3 else ""
        words = "was" if len(changed) == 1 else "were"
        reasons.append(f"{', '.join(changed[:3])}{others} {words} changed or deleted after the step")
    for name, kept in record["upstream"].items():
        if record_digest(folder, name) != kept:
            reasons.append(f"{name} gives other results now")
    return reasons


def record_digest(folder: Path, step: str) -> str | None:
    """Short digest of what the steps after this one read of it; None where it left no record."""
    record = read_record(folder, step)
    if record is None:
        return None
    read = {name: kept for name, kept in record["files"].items() if name.split("/")[0] not in SHOWN}
    told = [record.get("parameters"), record.get("results"), read]
    return _short(json.dumps(told, sort_keys=True).encode())


def renew_records(folder: Path) -> None:
    """Let the records list files that this process drew anew as they are now."""
    for path in sorted((folder / "records").glob("*.json")):
        record = read_record(folder, path.stem)
        if record is None:
            continue
        drawn = {name: WRITTEN[folder / name] for name in record["files"] if folder / name in WRITTEN}
        write_record(folder, path.stem, record | {"files": record["files"] | drawn})


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


def _images_digest(manifest: Path, digests: FileDigests) -> str:
    """Of every scan and mask that the manifest names: its name there, and its content."""
    if not manifest.is_file():
        return "absent"
    lines = [
        f"{os.path.relpath(path, manifest.parent)} {digests.of(Path(path))}\n"
        for path in named_images(manifest, digests)
    ]
    return _short("".join(lines).encode())


def named_images(manifest: Path, digests: FileDigests) -> tuple[str, ...]:
    """Every scan and mask that a manifest names, as absolute paths, sorted."""
    return _named_images(manifest, digests.of(manifest))


@lru_cache(maxsize=16)
def _named_images(manifest: Path, _: str) -> tuple[str, ...]:
    table = read_valid_cells(manifest)
    paths = [name for name, column in COLUMNS.items() if column.kind == "path" and name in table]
    return tuple(sorted(set(table[paths].stack().dropna()))) if paths else ()


def _imports(path: Path) -> list[Path]:
    """Modules of the library that a file imports, wherever in its text, and the packages that they lie in."""
    return [PROJECT / name for name in _imported(path, path.stat().st_mtime_ns)]


@lru_cache(maxsize=1024)
def _imported(path: Path, _: int) -> tuple[str, ...]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = []
    for name in sorted(name for name in names if name.split(".")[0] in PACKAGES):
        parts = name.split(".")
        for depth in range(2, len(parts) + 1):
            stem = "/".join(parts[:depth])
            found += [file for file in (f"{stem}.py", f"{stem}/__init__.py") if (PROJECT / file).is_file()]
    return tuple(dict.fromkeys(found))


def _module_digest(path: Path) -> str:
    return _parsed_digest(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1024)
def _parsed_digest(path: Path, _: int) -> str:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        is_text = isinstance(body, list) and body and isinstance(body[0], ast.Expr)
        if is_text and isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
            node.body = body[1:]
    return _short(ast.dump(tree).encode())


def _seal(record: Mapping[str, Any]) -> str:
    return _short(json.dumps(record, sort_keys=True).encode())


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
