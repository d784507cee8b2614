"""Model files of a run, read through their schema: what was edited by hand or damaged is refused with its key."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from hepred_lib.study.artifacts import read_json
from hepred_lib.study.definition import StudyError

SCHEMA = Path(__file__).with_name("model_files.yaml")
KINDS = ("image_model", "model", "imputation")
SHOWN = 80


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
    content = read_json(path)
    for error in _validator(kind).iter_errors(content):
        key = ".".join(map(str, error.absolute_path)) or "the whole file"
        told = " ".join(error.message.split())
        raise StudyError(f"{path}: {key}: {told if len(told) <= 2 * SHOWN else '... ' + told[-2 * SHOWN :]}.")
    return content


@lru_cache(maxsize=len(KINDS))
def _validator(kind: str) -> Draft202012Validator:
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})
