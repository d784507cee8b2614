"""Models and results of a run, read through their schema: what was edited or damaged is refused with its key."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hepred_lib.literal import shown
from hepred_lib.study.artifacts import read_json
from hepred_lib.study.definition import StudyError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

SHOWN = 160
SCHEMAS = {
    Path(__file__).with_name("model_files.yaml"): ("image_model", "model", "imputation"),
    Path(__file__).with_name("results_files.yaml"): ("results", "external"),
}


def read_model_file(path: Path, kind: str) -> dict[str, Any]:
    """A model file of a run.

    Parameters
    ----------
    path : Path
    kind : str
        ``image_model``, ``model`` (the clinical and the integrated one) or ``imputation``.

    Raises
    ------
    StudyError
        In one line: the file, the key, what is required and what came.
    """
    return _valid(path, kind)


def read_results(path: Path) -> dict[str, Any]:
    """``results.json`` of a run, or its ``external.json``.

    Raises
    ------
    StudyError
        In one line: the file, the key, what is required and what came.
    """
    return _valid(path, "external" if path.name == "external.json" else "results")


def _valid(path: Path, kind: str) -> dict[str, Any]:
    content = read_json(path)
    for error in _validator(kind).iter_errors(content):
        key = shown(".".join(map(str, error.absolute_path)), 60) or "the whole file"
        told = error.message if len(error.message) <= SHOWN else f"... {error.message[-SHOWN:]}"
        raise StudyError(f"{path}: {key}: {shown(told, SHOWN + 5)}.")
    return content


@lru_cache
def _validator(kind: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # its grammars take a second to load

    (path,) = (path for path, kinds in SCHEMAS.items() if kind in kinds)
    schema = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})
