"""A study file (``studies/NAME.yaml``): a manifest and the parameters of each notebook, every key checked.

Paths in it are relative to the *root*: the folder that holds ``studies/``.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

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


class StudyError(ValueError):
    """The study file, or a parameter of a notebook, is not as it must be."""


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


def load_study(path: Path | str) -> Study:
    """Read and check a study file; see contracts: an unknown key or a wrong type is refused before anything runs.

    Raises
    ------
    StudyError
        Naming the file, the key, what is required and what came.
    """
    path = Path(path).resolve()
    raw = _read_yaml(path)
    _check_mapping(raw, _KEYS, where=str(path.name))
    for key in ("study", "manifest", "seed"):
        if key not in raw:
            raise StudyError(f"{path.name}: the key '{key}' is required.")
    raw.setdefault("image_source", "scans")
    if raw["image_source"] not in IMAGE_SOURCES:
        raise StudyError(f"{path.name}: image_source must be one of {IMAGE_SOURCES}, got {raw['image_source']!r}.")
    if raw.get("folds", 5) < 2:
        raise StudyError(f"{path.name}: folds must be at least 2, got {raw['folds']}.")
    _check_simulate(raw, path.name)
    _check_notebook_names(raw, path.name)
    root = path.parent.parent if path.parent.name == "studies" else path.parent
    return Study(name=raw.pop("study"), root=root, **raw)


def notebook_defaults(notebook: str) -> dict[str, Any]:
    """The literals of a notebook's ``parameters`` cell, read from its percent script without running it."""
    source = (PROJECT / "notebooks" / f"{notebook}.py").read_text(encoding="utf-8")
    cells = [cell for cell in source.split("\n# %%") if cell.lstrip().startswith('tags=["parameters"]')]
    if len(cells) != 1:
        raise StudyError(f"notebooks/{notebook}.py must hold exactly one cell tagged parameters, found {len(cells)}.")
    body = cells[0].split("\n", 1)[1]
    return {statement.targets[0].id: ast.literal_eval(statement.value) for statement in ast.parse(body).body}


def check_parameters(notebook: str, given: Mapping[str, Any]) -> None:
    """Refuse a parameter that the notebook does not declare, or whose type is not its default's."""
    defaults = notebook_defaults(notebook)
    for name, value in given.items():
        if name not in defaults:
            raise StudyError(f"{notebook} has no parameter '{name}'{closest(name, defaults)}.")
        wanted = type(defaults[name])
        fits = type(value) is wanted or (wanted is float and type(value) is int)
        if not fits:
            raise StudyError(f"{notebook}: parameter '{name}' must be {wanted.__name__}, got {value!r}.")


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise StudyError(f"The study file {path} is not there.")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise StudyError(f"{path.name} must be a mapping of keys to values, got {type(raw).__name__}.")
    return raw


def _check_mapping(given: Mapping[str, Any], allowed: Mapping[str, type], *, where: str) -> None:
    for key, value in given.items():
        if key not in allowed:
            raise StudyError(f"{where}: unknown key '{key}'{closest(str(key), allowed)}.")
        if type(value) is not allowed[key]:
            raise StudyError(f"{where}: '{key}' must be {allowed[key].__name__}, got {value!r}.")


def _check_simulate(raw: Mapping[str, Any], where: str) -> None:
    if "simulate" in raw:
        _check_mapping(raw["simulate"], _SIMULATE_KEYS, where=f"{where}, simulate")
    if "external" in raw:
        _check_mapping(raw["external"], {"manifest": str, "simulate": dict}, where=f"{where}, external")
        _check_mapping(raw["external"].get("simulate", {}), _SIMULATE_KEYS, where=f"{where}, external.simulate")


def _check_notebook_names(raw: Mapping[str, Any], where: str) -> None:
    for section in ("threads", "parameters"):
        for notebook in raw.get(section, {}):
            if notebook not in NOTEBOOKS:
                raise StudyError(f"{where}, {section}: unknown notebook '{notebook}'{closest(notebook, NOTEBOOKS)}.")
    for notebook, count in raw.get("threads", {}).items():
        if type(count) is not int or count < 1:
            raise StudyError(f"{where}, threads: '{notebook}' must be a whole number >= 1, got {count!r}.")
    for notebook, given in raw.get("parameters", {}).items():
        if not isinstance(given, dict):
            raise StudyError(f"{where}, parameters: '{notebook}' must be a mapping, got {given!r}.")
        check_parameters(notebook, given)


def closest(name: str, known: Iterable[str]) -> str:
    """End of a refusal: the known name closest to ``name``, or all of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else f" (known: {', '.join(known)})"
