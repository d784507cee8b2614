"""The bedside values of one patient from a JSON file, by the rules of the manifest."""

from __future__ import annotations

import json
import math
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from hepred_lib.manifest.plausibility import MISSING_CODES
from hepred_lib.manifest.remedies import MISSING_WORDS, remedy_for
from hepred_lib.manifest.rules import COLUMNS, Column, ManifestError
from hepred_lib.regular_file import UnreadableError, regular_bytes

LARGEST_BYTES = 1_000_000
SHOWN = 60


def read_bedside(path: str | os.PathLike) -> dict[str, Any]:
    """A patient's bedside values from a JSON object of manifest columns; null means missing.

    Raises
    ------
    ManifestError
        In one line: the file is no JSON object, has a name twice or an unknown one, or a value that breaks its rule.
    """
    path = Path(path)
    text = _text(path)
    try:
        values = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_number)
    except _NotAllowedError as error:
        raise ManifestError(f"{path.name} must {error}.") from None
    except RecursionError:
        raise ManifestError(f"{path.name} must be a JSON object of numbers and texts, got one too deep.") from None
    except json.JSONDecodeError as error:
        raise ManifestError(f"{path.name} must be JSON, got a fault on line {error.lineno}: {error.msg}.") from error
    except ValueError as error:  # a whole number of more digits than Python converts
        raise ManifestError(f"{path.name} must have numbers of a sensible length, got {error}.") from error
    if not isinstance(values, dict):
        kind = {"list": "a list", "str": "a text", "NoneType": "null"}.get(type(values).__name__, "a number")
        raise ManifestError(
            f'{path.name} must be a JSON object of manifest columns, such as {{"age": 71}}, got {kind}.'
        )
    for name, value in values.items():
        _require_known(path, name)
        if value is not None and not _fits(COLUMNS[name], value):
            got, remedy = json.dumps(value)[:SHOWN], _remedy(COLUMNS[name], value)
            ending = f" {remedy}." if remedy else ""
            raise ManifestError(f"{path.name}: {name} must {COLUMNS[name].requirement}, got {got}.{ending}")
    return values


class _NotAllowedError(Exception):
    """What JSON allows, or Python's reader of it, and a patient's values do not: the words after "must"."""


def _text(path: Path) -> str:
    try:
        content = regular_bytes(path, LARGEST_BYTES)
    except FileNotFoundError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}.") from error
    except UnreadableError as error:
        raise ManifestError(f"{path.name} must be a JSON file of one patient's values, got {error}.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        got = f"byte 0x{content[error.start]:02x} at position {error.start + 1}"
        raise ManifestError(f"{path.name} must be JSON in UTF-8, got {got}.") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in pairs:
        if name in told:
            raise _NotAllowedError(f"have every name once, got {json.dumps(name)[:SHOWN]} twice")
        told[name] = value
    return told


def _no_number(word: str) -> NoReturn:
    raise _NotAllowedError(f"have finite numbers, got {word} (write null where a value is not known)")


def _require_known(path: Path, name: str) -> None:
    if name not in COLUMNS:
        close = get_close_matches(name.lower().replace(" ", "_"), COLUMNS, n=1)
        hint = f"closest: {close[0]}" if close else "see hepred check --rules"
        shown = json.dumps(name)[:SHOWN]
        raise ManifestError(f"{path.name}: every name must be a column of the manifest, got {shown} ({hint}).")


def _fits(column: Column, value: Any) -> bool:
    """Whether a value has the type and the range of its column."""
    if column.kind in ("code", "text", "path", "id"):
        return isinstance(value, str) and (not column.allowed or value in column.allowed)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = (-math.inf if column.low is None else column.low), (math.inf if column.high is None else column.high)
    whole = column.kind == "number" or value == round(value) if abs(value) < math.inf else False
    return whole and low <= value <= high


def _remedy(column: Column, value: Any) -> str:
    """What to do, for a file that has no empty cells and no mapping."""
    if isinstance(value, bool):
        return f"Write {int(value)}" if column.kind == "binary" else ""
    if not isinstance(value, str | int | float):
        return "Write one number or text"
    text = value.strip() if isinstance(value, str) else str(value) if abs(value) < 1e15 else "a huge number"
    if text.casefold() in MISSING_WORDS or value in MISSING_CODES or not text:
        return "Write null where the value is not known"
    if isinstance(value, str) and column.kind not in ("code", "text", "path", "id"):
        try:
            return f"Write {float(value):g} without quotation marks" if math.isfinite(float(value)) else ""
        except ValueError:
            pass
    return remedy_for(column, text).partition(", or map")[0]
