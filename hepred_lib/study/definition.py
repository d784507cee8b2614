"""A study file (``studies/NAME.yaml``): a manifest and the parameters of each notebook, every key checked.

Paths in it are relative to the *root*: the folder that holds ``studies/``.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from hepred_lib.errors import StudyError
from hepred_lib.imaging.nifti import UnreadableError, regular_bytes
from hepred_lib.literal import shown

# --- plain_yaml: What YAML allows and a small file of settings does not need: aliases, which multiply, and endle

DEEPEST = 20


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


# --- definition: A study file (``studies/NAME.yaml``): a manifest and the parameters of each notebook, every key

PROJECT = Path(__file__).resolve().parents[2]
NOTEBOOKS = (
    "00_the_paper",
    "01_cohort",
    "02_preprocessing",
    "03_multitask_training",
    "04_image_to_he",
    "05_clinical_to_he",
    "06_integrated_to_he",
    "07_roc_calibration_figures",
    "08_new_patients",
)
IMAGE_SOURCES = ("scans", "column", "none")
DEFAULT_THREADS = {name: 2 if name == "03_multitask_training" else 1 for name in NOTEBOOKS}


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

    @property
    def truth(self) -> str:
        """Path of the simulated truth relative to the root, empty where the truth is not known."""
        return f"cohorts/{self.name}/truth.csv" if self.simulate else ""

    @property
    def external_truth(self) -> str:
        """Likewise of the simulated patients of ``external``."""
        simulated = self.external and self.external.get("simulate")
        return str(Path(self.external["manifest"]).with_name("truth.csv")) if simulated else ""

    def notebook_threads(self, notebook: str) -> int:
        """Threads of one notebook: part of the study, so that numbers do not depend on the machine's cores."""
        return {**DEFAULT_THREADS, **self.threads}[notebook]


_KEYS: dict[str, type] = {
    "study": str,
    "manifest": str,
    "seed": int,
    "simulate": dict,
    "image_source": str,
    "folds": int,
    "external": dict,
    "threads": dict,
    "parameters": dict,
}
_SIMULATE_KEYS = {"patients": int, "seed": int, "site": str, "matrix": int}
NAME = r"[A-Za-z0-9_-]{1,64}"
# Whole numbers of a study file, with the range of each; a parameter of a notebook has no range of its own here.
_RANGES = {
    "seed": (0, 2**32 - 1),
    "folds": (2, 50),
    "patients": (1, 1_000_000),
    "matrix": (64, 1024),
    "threads": (1, 256),
}
LONGEST_FILE = 200_000  # bytes of a study file


def load_study(path: Path | str) -> Study:
    """Read and check a study file; see contracts: an unknown key or a wrong type is refused before anything runs.

    Raises
    ------
    StudyError
        Naming the file, the key, what is required and what came.
    """
    raw, path = _read_yaml(Path(path)), Path(path).resolve()
    _check_mapping(raw, _KEYS, where=str(path.name))
    for key in ("study", "manifest", "seed"):
        if key not in raw:
            raise StudyError(f"{path.name}: the key '{key}' is required.")
    if not re.fullmatch(NAME, raw["study"]):
        raise StudyError(
            f"{path.name}: 'study' names a folder and must be 1 to 64 letters, digits, _ or -, "
            f"got {_short(raw['study'])}."
        )
    raw.setdefault("image_source", "scans")
    if raw["image_source"] not in IMAGE_SOURCES:
        raise StudyError(
            f"{path.name}: image_source must be one of {', '.join(IMAGE_SOURCES)}, got {raw['image_source'][:80]!r}."
        )
    _check_text(raw["manifest"], "manifest", path.name)
    _check_ranges(raw, path.name)
    _check_simulate(raw, path.name)
    _check_notebook_names(raw, path.name)
    root = path.parent.parent if path.parent.name == "studies" else path.parent
    return Study(name=raw.pop("study"), root=root, **raw)


def notebook_defaults(notebook: str) -> dict[str, Any]:
    """The literals of a notebook's ``parameters`` cell, read from its percent script without running it."""
    return dict(_notebook_defaults(notebook))


@lru_cache(maxsize=64)
def _notebook_defaults(notebook: str) -> dict[str, Any]:
    source = _book_file("notebooks", f"{notebook}.py").read_text(encoding="utf-8")
    cells = [cell for cell in source.split("\n# %%") if cell.lstrip().startswith('tags=["parameters"]')]
    if len(cells) != 1:
        raise StudyError(f"notebooks/{notebook}.py must hold exactly one cell tagged parameters, found {len(cells)}.")
    body = cells[0].split("\n", 1)[1]
    return {statement.targets[0].id: ast.literal_eval(statement.value) for statement in ast.parse(body).body}


def _book_file(*parts: str) -> Path:
    """A file of the book: in a checkout beside the library, in an installed package nowhere."""
    path = PROJECT.joinpath(*parts)
    if not path.is_file():
        raise StudyError(
            f"{path} is not there: this command needs the notebooks, which an installed package does not contain. "
            "Clone the repository and run hepred in it (README, section 1)."
        )
    return path


def check_parameters(notebook: str, given: Mapping[str, Any]) -> None:
    """Refuse a parameter that the notebook does not declare, or whose type is not its default's."""
    defaults = notebook_defaults(notebook)
    for name, value in given.items():
        if name not in defaults:
            raise StudyError(f"{notebook} has no parameter {_short(name)}{closest(str(name)[:80], defaults)}.")
        wanted = type(defaults[name])
        fits = type(value) is wanted or (wanted is float and type(value) is int)
        if not fits:
            raise StudyError(f"{notebook}: parameter '{name}' must be {wanted.__name__}, got {_short(value)}.")
        if type(value) in (int, float) and not abs(value) < 2**53:
            raise StudyError(f"{notebook}: parameter '{name}' must be a finite number below 2^53, got {_short(value)}.")
        if type(value) is str:
            _check_text(value, name, notebook)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = regular_bytes(path, LONGEST_FILE).decode("utf-8-sig")
        require_plain(text, yaml.CSafeLoader)
        raw = yaml.load(text, Loader=_StrictLoader)
    except AliasError as error:
        raise StudyError(f"{path.name} must not use YAML anchors and aliases (& and *).") from error
    except FileNotFoundError as error:
        raise StudyError(f"The study file {path} is not there.") from error
    except UnreadableError as error:
        raise StudyError(f"{path.name} must be a study file, got {error}.") from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, AttributeError, TypeError) as error:
        raise StudyError(f"{path.name} is not valid YAML: {_short(error)}") from error
    if not isinstance(raw, dict):
        raise StudyError(f"{path.name} must be a mapping of keys to values, got {type(raw).__name__}.")
    return raw


class _StrictLoader(yaml.CSafeLoader):
    """YAML in which a key is given once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Refuse a key that is given twice, which YAML's own loader would silently take last."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key, count in Counter(keys).items():
            if count > 1:
                raise yaml.YAMLError(f"the key {_short(key)} is given twice")
        return super().construct_mapping(node, deep)


def _check_ranges(given: Mapping[str, Any], where: str) -> None:
    """Refuse a whole number outside its range."""
    for key, value in given.items():
        low, high = _RANGES.get(key, (-math.inf, math.inf))
        if type(value) is int and not low <= value <= high:
            raise StudyError(f"{where}: '{key}' must be within {low} to {high}, got {_short(value)}.")


def _check_text(text: str, key: str, where: str) -> None:
    """Refuse control characters, which no path or name holds on purpose."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text) or len(text) > 4096:
        raise StudyError(f"{where}: '{key}' must be one line of text, got {_short(text)}.")


def _short(value: Any) -> str:
    """A value as a refusal shows it; text in quotation marks."""
    return shown(ascii(value[:200]) if isinstance(value, str) else value, 120)


def _check_mapping(given: Mapping[str, Any], allowed: Mapping[str, type], *, where: str) -> None:
    for key, value in given.items():
        if key not in allowed:
            raise StudyError(f"{where}: unknown key {_short(key)}{closest(str(key)[:80], allowed)}.")
        if type(value) is not allowed[key]:
            raise StudyError(f"{where}: '{key}' must be {allowed[key].__name__}, got {_short(value)}.")


def _check_simulate(raw: Mapping[str, Any], where: str) -> None:
    sections = {"simulate": raw.get("simulate")}
    if "external" in raw:
        _check_mapping(raw["external"], {"manifest": str, "simulate": dict}, where=f"{where}, external")
        if "manifest" not in raw["external"]:
            raise StudyError(f"{where}, external: the key 'manifest' is required.")
        _check_text(raw["external"]["manifest"], "manifest", f"{where}, external")
        sections["external.simulate"] = raw["external"].get("simulate")
    for section, settings in sections.items():
        if settings is None:
            continue
        _check_mapping(settings, _SIMULATE_KEYS, where=f"{where}, {section}")
        _check_ranges(settings, f"{where}, {section}")
        if "patients" not in settings or "seed" not in settings:
            raise StudyError(f"{where}, {section}: the keys 'patients' and 'seed' are required.")
        if settings.get("site", "A") not in ("A", "B"):
            raise StudyError(f"{where}, {section}: 'site' must be A or B, got {_short(settings['site'])}.")


def _check_notebook_names(raw: Mapping[str, Any], where: str) -> None:
    for section in ("threads", "parameters"):
        for notebook in raw.get(section, {}):
            if notebook not in NOTEBOOKS:
                hint = closest(str(notebook)[:80], NOTEBOOKS)
                raise StudyError(f"{where}, {section}: unknown notebook {_short(notebook)}{hint}.")
    low, high = _RANGES["threads"]
    for notebook, count in raw.get("threads", {}).items():
        if type(count) is not int or not low <= count <= high:
            raise StudyError(
                f"{where}, threads: '{notebook}' must be a whole number within {low} to {high}, got {_short(count)}."
            )
    for notebook, given in raw.get("parameters", {}).items():
        if not isinstance(given, dict):
            raise StudyError(f"{where}, parameters: '{notebook}' must be a mapping, got {_short(given)}.")
        try:
            check_parameters(notebook, given)
        except StudyError as error:
            raise StudyError(f"{where}: {error}") from error


def closest(name: str, known: Iterable[str]) -> str:
    """End of a refusal: the known name closest to ``name``, or all of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else f" (known: {', '.join(known)})"
