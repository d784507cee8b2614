"""A study file (``studies/NAME.yaml``): a manifest and the parameters of each notebook, every key checked.

Paths in it are relative to the *root*: the folder that holds ``studies/``.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from hepred_lib.disk import UnreadableError, regular_bytes
from hepred_lib.errors import StudyError
from hepred_lib.literal import shown

PROJECT = Path(__file__).resolve().parents[2]
TRAINING = "03_multitask_training"
# Of each chapter: the chapters that it reads (folds of 03 are steps of their own), and what it leaves for others,
# relative to the run; figures, tables and records come in addition.
BOOK = {
    "00_the_paper": ("", "paper.json"),
    "01_cohort": ("", "cohort.csv excluded.csv"),
    "02_preprocessing": ("01", "slices/quality.csv"),
    TRAINING: ("01 02", "folds/{}/network.safetensors folds/{}/history.csv folds/{}/predictions.csv"),
    "04_image_to_he": ("01 02 03", "image.csv image_model.json"),
    "05_clinical_to_he": ("01", "clinical.csv clinical_model.json imputation.json"),
    "06_integrated_to_he": ("01 03 04 05", "integrated.csv integrated_model.json integrated_imputation.json"),
    "07_roc_calibration_figures": ("01 02 03 04 05 06", "results.json predictions.csv provenance.json"),
    "08_new_patients": ("01 02 03 04 05 06 07", "external.json"),
}
NOTEBOOKS = tuple(BOOK)
IMAGE_SOURCES = ("scans", "column", "none")
# Of a training, or as many scans are prepared or read at the same time; the other notebooks gain nothing by a second.
DEFAULT_THREADS = {name: 2 if name[:2] in ("02", "03", "04", "08") else 1 for name in NOTEBOOKS}
DEEPEST = 20  # levels of a small file of settings
LONGEST_FILE = 200_000  # bytes of a study file
MOST_FOLDS = 50
NAME = r"[A-Za-z0-9_-]{1,64}"
# What each key of a study file may hold: a kind, a choice, a range of whole numbers, or keys of its own.
_SIMULATE = {"patients": range(1, 1_000_001), "seed": range(2**32), "site": ("A", "B"), "matrix": range(64, 1025)}
_KEYS = {
    "study": str,
    "manifest": str,
    "seed": range(2**32),
    "simulate": _SIMULATE,
    "image_source": IMAGE_SOURCES,
    "folds": range(2, MOST_FOLDS + 1),
    "external": {"manifest": str, "simulate": _SIMULATE},
    "threads": dict.fromkeys(NOTEBOOKS, range(1, 257)),
    "parameters": dict.fromkeys(NOTEBOOKS, dict),
    "variant_of": str,
}
VARY = {"seeds": list, "sites": dict, "parameters": dict.fromkeys(NOTEBOOKS, dict)}
KIND_OF: Mapping[type, type] = {dict: dict, range: int, tuple: str}
_REQUIRED = {"": ("study", "manifest", "seed"), "simulate": ("patients", "seed"), "external": ("manifest",)}


@dataclass(frozen=True)
class Study:
    """A study file as read: every key checked, every path still relative to ``root``."""

    name: str
    root: Path
    manifest: str
    seed: int
    image_source: str = "scans"
    folds: int = 5
    simulate: Mapping[str, Any] | None = None
    external: Mapping[str, Any] | None = None
    threads: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variant_of: str = ""

    @property
    def cohort(self) -> Path:
        """Folder of the simulated cohort; variants of a sweep share one."""
        return self.root / "cohorts" / (self.variant_of or self.name)

    @property
    def truth(self) -> str:
        """Path of the simulated truth relative to the root, empty where the truth is not known."""
        return str((self.cohort / "truth.csv").relative_to(self.root)) if self.simulate else ""

    def notebook_threads(self, notebook: str) -> int:
        """Threads of one notebook: part of the study, so that numbers do not depend on the machine's cores."""
        return {**DEFAULT_THREADS, **self.threads}[notebook]


def load_study(path: Path | str) -> Study:
    """Read and check a study file; see contracts: an unknown key or a wrong type is refused before anything runs.

    Raises
    ------
    StudyError
        Naming the file, the key, what is required and what came.
    """
    raw, path = read_study_file(Path(path)), Path(path).resolve()
    if "vary" in raw:
        raise StudyError(
            f"{path.name} describes several studies ('vary'); `hepred run` writes a file for each, one of which this "
            "command takes."
        )
    return check_study(raw, path)


def read_study_file(path: Path) -> dict[str, Any]:
    """The keys of a study file, each checked; of a file that describes several studies ``vary`` too."""
    raw = _read_yaml(path)
    if not isinstance(raw, dict):
        raise StudyError(f"{path.name} must be a mapping of keys to values, got {type(raw).__name__}.")
    _check_keys(raw, _KEYS | {"vary": VARY}, path.name)
    return raw


def check_study(raw: Mapping[str, Any], path: Path) -> Study:
    """The study of these keys, whose file is, or will be, at ``path``."""
    raw = dict(raw)
    _check_keys(raw, _KEYS, path.name)
    if not re.fullmatch(NAME, raw["study"]):
        raise StudyError(
            f"{path.name}: 'study' names a folder and must be 1 to 64 letters, digits, _ or -, "
            f"got {_short(raw['study'])}."
        )
    if "variant_of" in raw and not re.fullmatch(NAME, raw["variant_of"]):
        raise StudyError(f"{path.name}: 'variant_of' must be the name of a study, got {_short(raw['variant_of'])}.")
    for notebook, given in raw.get("parameters", {}).items():
        check_parameters(notebook, given, where=f"{path.name}: ")
    root = path.parent.parent if path.parent.name == "studies" else path.parent
    return Study(name=raw.pop("study"), root=root, **raw)


def study_parameters(study: Study, notebook: str, fold: int | None = None, *, runs_dir: str = "") -> dict[str, Any]:
    """All parameters that a study gives to one notebook: its own keys where the notebook knows them, then overrides.

    Raises
    ------
    StudyError
        An unknown parameter or a value of the wrong type.
    """
    names = ("manifest", "truth", "seed", "folds", "image_source")
    given = {"study": study.name, "runs_dir": runs_dir} | {name: getattr(study, name) for name in names}
    if notebook == "08_new_patients" and study.external:
        given["manifest"] = study.external["manifest"]
    if notebook == "01_cohort":
        bedside = study.parameters.get("05_clinical_to_he", {})
        option = " +radiological" if bedside.get("radiological") else ""
        given["candidates"] = f"{bedside.get('candidates', '')}{option}".strip()
    known = notebook_defaults(notebook)
    chosen = {name: value for name, value in given.items() if name in known}
    chosen |= dict(study.parameters.get(notebook, {})) | ({} if fold is None else {"fold": fold})
    check_parameters(notebook, chosen)
    return chosen


def notebook_cells(notebook: str) -> list[tuple[str, str]]:
    """Mark and text of each cell of a notebook, from its percent script: in an installed package there is none."""
    if notebook not in NOTEBOOKS:
        raise StudyError(f"there is no notebook '{notebook}' (known: {', '.join(NOTEBOOKS)}).")
    path = PROJECT / "notebooks" / f"{notebook}.py"
    if not path.is_file():
        raise StudyError(
            f"{path} is not there: this command needs the notebooks, which an installed package does not contain. "
            "Clone the repository and run hepred in it (README, section 1)."
        )
    cells = [cell.partition("\n") for cell in path.read_text(encoding="utf-8").split("\n# %%")[1:]]
    return [(mark.strip(), text.strip()) for mark, _, text in cells]


@lru_cache(maxsize=64)
def _notebook_defaults(notebook: str) -> dict[str, Any]:
    cells = [text for mark, text in notebook_cells(notebook) if mark.startswith('tags=["parameters"]')]
    if len(cells) != 1:
        raise StudyError(f"notebooks/{notebook}.py must hold exactly one cell tagged parameters, found {len(cells)}.")
    lines: list[Any] = ast.parse(cells[0]).body
    return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}


def notebook_defaults(notebook: str) -> dict[str, Any]:
    """The literals of a notebook's ``parameters`` cell, read from its percent script without running it."""
    return dict(_notebook_defaults(notebook))


def check_parameters(notebook: str, given: Mapping[str, Any], *, where: str = "") -> None:
    """Refuse a parameter that the notebook does not declare, or whose type is not its default's."""
    defaults = notebook_defaults(notebook)
    for name, value in given.items():
        if name not in defaults:
            raise StudyError(f"{where}{notebook} has no parameter {_short(name)}{closest(str(name)[:80], defaults)}.")
        wanted, key = type(defaults[name]), f"{where}{notebook}: parameter '{name}'"
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise StudyError(f"{key} must be {wanted.__name__}, got {_short(value)}.")
        if type(value) in (int, float) and not abs(value) < 2**53:
            raise StudyError(f"{key} must be a finite number below 2^53, got {_short(value)}.")
        _check_text(value, key)


def closest(name: str, known: Iterable[str]) -> str:
    """End of a refusal: the known name closest to ``name``, or all of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else f" (known: {', '.join(known)})"


class AliasError(yaml.MarkedYAMLError):
    """An alias (``*name``): a few lines of them can stand for gigabytes."""


def require_plain(text: str, loader: type) -> None:
    """Refuse what would fill the memory or the stack of whoever builds values from it; nothing is built here.

    Parameters
    ----------
    text : str
    loader : type
        Of PyYAML, that of the caller: its words for a fault of the form are raised too.

    Raises
    ------
    AliasError
    yaml.YAMLError
        No YAML, or nested too deeply.
    """
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise AliasError(problem="an alias (*)", problem_mark=event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem="a structure that is too deep", problem_mark=event.start_mark)


class _StrictLoader(yaml.CSafeLoader):
    """YAML in which a key is given once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Refuse a key that is given twice, which YAML's own loader would silently take last."""
        for key, count in Counter(self.construct_object(key, deep=True) for key, _ in node.value).items():
            if count > 1:
                raise yaml.YAMLError(f"the key {_short(key)} is given twice")
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> Any:
    try:
        text = regular_bytes(path, LONGEST_FILE).decode("utf-8-sig")
        require_plain(text, yaml.CSafeLoader)
        return yaml.load(text, Loader=_StrictLoader)
    except AliasError as error:
        raise StudyError(f"{path.name} must not use YAML anchors and aliases (& and *).") from error
    except FileNotFoundError as error:
        raise StudyError(f"The study file {path} is not there.") from error
    except UnreadableError as error:
        raise StudyError(f"{path.name} must be a study file, got {error}.") from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, AttributeError, TypeError) as error:
        raise StudyError(f"{path.name} is not valid YAML: {_short(error)}") from error


def _check_keys(given: Mapping[str, Any], rules: Mapping[str, Any], where: str, section: str = "") -> None:
    """Refuse an unknown key, a value that its rule does not allow, and the lack of a key that is required."""
    for key, value in given.items():
        if key not in rules:
            raise StudyError(f"{where}: unknown key {_short(key)}{closest(str(key)[:80], rules)}.")
        rule, told = rules[key], f"{where}: '{key}'"
        kind = KIND_OF.get(type(rule), rule)
        if type(value) is not kind:
            raise StudyError(f"{told} must be {kind.__name__}, got {_short(value)}.")
        if isinstance(rule, range) and value not in rule:
            raise StudyError(f"{told} must be within {rule[0]} to {rule[-1]}, got {_short(value)}.")
        if isinstance(rule, tuple) and value not in rule:
            raise StudyError(f"{told} must be one of {', '.join(rule)}, got {_short(value)}.")
        _check_text(value, told)
        if isinstance(rule, dict):
            _check_keys(given[key], rule, f"{where}, {key}", key)
    for key in _REQUIRED.get(section, ()):
        if key not in given:
            raise StudyError(f"{where}: the key '{key}' is required.")


def _check_text(text: Any, key: str) -> None:
    """Refuse control characters, which no path or name holds on purpose."""
    if isinstance(text, str) and (re.search(r"[\x00-\x1f\x7f]", text) or len(text) > 4096):
        raise StudyError(f"{key} must be one line of text, got {_short(text)}.")


def _short(value: Any) -> str:
    """A value as a refusal shows it; text in quotation marks."""
    return shown(ascii(value[:200]) if isinstance(value, str) else value, 120)
