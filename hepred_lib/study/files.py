"""How anything is written: under a temporary name, flushed to the disk, then renamed, and only when its bytes change.

A killed run therefore leaves no half file, and a repeated one disturbs nothing that depends on it. What cannot be read
back is refused in one line that names the file and says how it is made again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fnmatch import fnmatch
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hepred_lib.disk import UnreadableError, file_sha256, regular_bytes, write_changed
from hepred_lib.errors import StudyError
from hepred_lib.literal import shown
from hepred_lib.study.definition import BOOK

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

# What a spreadsheet takes for a formula; a number or an interval is none, and neither is a lone sign.
FORMULA = re.compile(r"[=@\t\r]|[+-]\s*[^\s\d.,(]")
LARGEST_BYTES = 500_000_000  # of a table, a record or the arrays of a figure; weights are read elsewhere


# What zipfile and numpy raise for a damaged archive.
NPZ_FAULTS = (
    *(OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError, OverflowError, TypeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


SHOWN = 160
# What this process wrote, by absolute path: size and SHA-256. A notebook is one process, and its record lists them.
WRITTEN: dict[Path, dict[str, Any]] = {}


def write_bytes(path: Path, content: bytes) -> bool:
    """Write ``content`` under a temporary name and rename it; True when the file's bytes changed."""
    path = Path(path)
    WRITTEN[path.absolute()] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_changed(path, content)


def templates(folder: Path, **settings: Any) -> Environment:
    """The Jinja2 templates of a folder: a name that a template does not know is refused, not printed as nothing."""
    return Environment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **settings
    )


def damaged(path: Path, reason: object) -> str:
    """The refusal of a file of a run that cannot be used."""
    told = shown(reason, 200).rstrip(".")
    return f"cannot use {path}: {told}. Run the study again (hepred run): it makes damaged and missing files anew."


def write_json(path: Path, content: Mapping[str, Any]) -> bool:
    """Write a mapping as JSON; numpy values become plain ones and a NaN becomes null, never a made-up number."""
    return write_bytes(path, (json.dumps(_plain(content), indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    StudyError
        There is none, or it is damaged.
    """
    try:
        text = read_bytes(path).decode("utf-8")
        content = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise StudyError(damaged(path, error)) from error
    if not isinstance(content, dict):
        raise StudyError(damaged(path, f"it must be a JSON object, got {type(content).__name__}"))
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(number: str) -> float:
    return float(number) if math.isfinite(float(number)) else _refuse_constant(shown(number, 20))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file of a run.

    Raises
    ------
    StudyError
        There is none, or it cannot be read.
    """
    try:
        return regular_bytes(Path(path), LARGEST_BYTES)
    except FileNotFoundError as error:
        reason = "; ".join(["it is not there", *(f"run notebook {name} first" for name in _writers(Path(path)))])
        raise StudyError(damaged(path, reason)) from error
    except UnreadableError as error:
        raise StudyError(damaged(path, f"it is {error}")) from error


def _writers(path: Path) -> list[str]:
    """The notebook that leaves a file of this name, if any."""
    left = [(f"*/{output}", notebook) for notebook, (_, outputs) in BOOK.items() for output in outputs.split()]
    left += [(f"*/records/{notebook}*.json", notebook) for notebook in BOOK]
    return [notebook for pattern, notebook in left if fnmatch(path.as_posix(), pattern.replace("{}", "*"))][:1]


def write_table(path: Path, table: pd.DataFrame) -> bool:
    """Write a table as CSV: UTF-8, shortest decimals that give the same number again, empty where missing.

    Text that a spreadsheet would run as a formula is written after an apostrophe, as spreadsheets themselves mark text.
    """
    columns = [table.iloc[:, k] for k in range(table.shape[1])]  # a table may name two columns alike
    kept = [
        column if column.name == "patient_id" or pd.api.types.is_numeric_dtype(column) else column.map(_no_formula)
        for column in columns
    ]
    table = pd.concat(kept, axis=1) if kept else table
    table.columns = [_no_formula(name) for name in table.columns]
    return write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())


def _no_formula(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that :func:`write_table` wrote; ``patient_id`` stays text (007 is not 7).

    Raises
    ------
    StudyError
        There is none, or it is damaged.
    """
    return _read_csv(path, dtype={"patient_id": "string"})


def read_printed(path: Path, *, numbers: bool = False) -> pd.DataFrame:
    """Read a table that :func:`write_table` wrote as the text that is in it: 0.80 stays 0.80, and NA is a word.

    With ``numbers``, columns of numbers are numbers, and only empty cells are missing.
    """
    if not read_bytes(path).strip():  # a table without columns
        return pd.DataFrame()
    return _read_csv(path, keep_default_na=False, **({"na_values": [""]} if numbers else {"dtype": str}))


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    content = BytesIO(read_bytes(path))
    try:
        return pd.read_csv(content, **options)
    except (ValueError, OverflowError) as error:  # pandas' parser errors are ValueErrors
        reason = "it is empty" if isinstance(error, pd.errors.EmptyDataError) else error
        raise StudyError(damaged(path, reason)) from error


def write_figure_data(folder: Path, name: str, data: pd.DataFrame | Mapping[str, np.ndarray]) -> None:
    """Keep all that a figure draws: a table as CSV, arrays as npz (fixed time stamps, no pickle)."""
    if isinstance(data, pd.DataFrame):
        write_table(folder / f"{name}.csv", data)
        return
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{key: np.asarray(value) for key, value in data.items()})
    write_bytes(folder / f"{name}.npz", buffer.getvalue())


def read_figure_data(folder: Path) -> dict[str, pd.DataFrame | dict[str, np.ndarray]]:
    """Everything :func:`write_figure_data` left in a folder, by figure name, in alphabetical order."""
    data: dict[str, pd.DataFrame | dict[str, np.ndarray]] = {}
    for path in sorted(folder.glob("*")):
        if path.suffix == ".csv":
            data[path.stem] = _read_csv(path)
        elif path.suffix == ".npz":
            data[path.stem] = _read_arrays(path)
    return data


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, unless it unpacks to more than a figure can have."""
    content = BytesIO(read_bytes(path))
    try:
        with zipfile.ZipFile(content) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
                raise ValueError("it unpacks to too much")
            return {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}
    except NPZ_FAULTS as error:
        raise StudyError(damaged(path, error)) from error


def _array(content: bytes) -> np.ndarray:
    """One array; numpy would make room for whatever its header asks before it sees how much there is."""
    stream = BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"an array of shape {shown(shape, 40)} and type {dtype} has other than {len(content)} bytes")
    return np.lib.format.read_array(BytesIO(content), allow_pickle=False)


def take_file(source: Path, target: Path, *, linked: bool = True) -> None:
    """Put a file of one run into another, as a hard link where the file system has them, else as a copy.

    Files of a run are replaced, never written over: a link is as good as a copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with suppress(OSError):
        if linked:
            os.link(source, target)
            return
    shutil.copyfile(source, target)  # with the time of now: the engine runs steps again whose results are older


def scan_checksums(paths: Iterable[str]) -> str:
    """One SHA-256 over the names and bytes of many files, in the order of their names."""
    together = hashlib.sha256()
    for path in sorted(map(Path, paths)):
        together.update(f"{path.name} {file_sha256(path)}\n".encode())
    return together.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def read_model_file(path: Path, kind: str) -> dict[str, Any]:
    """A model file of a run, or its results, by their schema.

    Parameters
    ----------
    path : Path
    kind : str
        ``image_model``, ``model`` (the clinical and the integrated one), ``imputation``, ``results`` or ``external``.

    Raises
    ------
    StudyError
        In one line: the file, the key, what is required and what came.
    """
    content = read_json(path)
    for error in _validator(kind).iter_errors(content):
        key = shown(".".join(map(str, error.absolute_path)), 60) or "the whole file"
        told = error.message if len(error.message) <= SHOWN else f"... {error.message[-SHOWN:]}"
        raise StudyError(f"{path}: {key}: {shown(told, SHOWN + 5)}.")
    return content


def read_results(path: Path) -> dict[str, Any]:
    """``results.json`` of a run, or its ``external.json``.

    Raises
    ------
    StudyError
        In one line: the file, the key, what is required and what came.
    """
    return read_model_file(path, "external" if path.name == "external.json" else "results")


def without_grammars() -> None:
    """Keep jsonschema from building, at its import, the grammars of addresses: a second a process, and never used."""
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


@lru_cache
def _validator(kind: str) -> Draft202012Validator:
    without_grammars()
    from jsonschema import Draft202012Validator

    path = Path(__file__).with_name("schemas.yaml")
    schema = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})
