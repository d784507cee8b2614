"""One study file that describes many studies: every combination of what its key ``vary`` lists.

Vocabulary
----------
variant
    one combination, an ordinary study: its file lies beside the sweep's, its run beside the other runs
take over
    copy a step that another variant has made from the same code, parameters and data, instead of making it again
"""

from __future__ import annotations

import copy
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from hepred_lib.errors import StudyError
from hepred_lib.study.definition import Study, check_study, notebook_defaults, read_study_file, study_parameters
from hepred_lib.study.files import write_bytes
from hepred_lib.study.run import (
    SHOWN,
    FileDigests,
    differences,
    disagreements,
    read_record,
    record_digest,
    step_identity,
    step_name,
    write_record,
)

MARK = "# Written by `hepred run {name}`: change that file instead.\n"
MOST_VARIANTS = 200
OWN = ("07_roc_calibration_figures", "08_new_patients")  # name the study in what they leave
LINKED = ".npy"  # large, and never written over


def variant_files(path: Path) -> list[Path]:
    """The study files of all variants, written beside the sweep; the file itself where it describes one study.

    Raises
    ------
    StudyError
        ``vary`` is wrong, a variant is no valid study, or its file is there and was written by hand.
    """
    raw = read_study_file(path)
    vary = raw.pop("vary", None)
    if vary is None:
        return [path]
    written = []
    for name, settings in _variants(raw, vary, path.name).items():
        target = path.with_name(f"{name}{path.suffix}")
        check_study(settings, target)
        mark = MARK.format(name=path.name)
        if target.exists() and not target.read_text(encoding="utf-8").startswith(mark):
            raise StudyError(
                f"{target} must not be there, or be of an earlier run of {path.name}; it was written by hand."
            )
        write_bytes(target, (mark + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)).encode())
        written.append(target)
    return written


def _variants(base: Mapping[str, Any], vary: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """The settings of each variant by its name."""
    if vary.get("sites") and base.get("simulate"):
        raise StudyError(
            f"{where}: 'vary' lists sites, each with a manifest of its own, and 'simulate' makes one; leave one out."
        )
    choices = [options for options in _choices(vary, where) if options]
    number = math.prod(map(len, choices))
    if not choices or number > MOST_VARIANTS:
        got = f"{number} combinations" if choices else "none"
        raise StudyError(
            f"{where}: 'vary' must list seeds, sites or parameters, in at most {MOST_VARIANTS} combinations, got {got}."
        )
    found: dict[str, dict[str, Any]] = {}
    for chosen in product(*choices):
        name = "-".join([str(base["study"]), *(word for word, _, _ in chosen)])
        if name in found:
            raise StudyError(f"{where}: two variants would have the same name, {name}; list each value once.")
        settings = copy.deepcopy(dict(base)) | {"study": name, "variant_of": base["study"]}
        for _, keys, value in chosen:
            place = settings
            for key in keys[:-1]:
                place = place.setdefault(key, {})
            place[keys[-1]] = value
        found[name] = settings
    return found


def _choices(vary: Mapping[str, Any], where: str) -> Iterator[list[tuple[str, tuple[str, ...], Any]]]:
    """Of each thing that varies: a word for the name, the keys that lead to it, and its value."""
    yield [(f"seed{_word(seed)}", ("seed",), seed) for seed in vary.get("seeds", [])]
    yield [(_word(site), ("manifest",), manifest) for site, manifest in vary.get("sites", {}).items()]
    for notebook, grid in vary.get("parameters", {}).items():
        for parameter, values in grid.items():
            if not isinstance(values, list):
                raise StudyError(
                    f"{where}: 'vary' must give {parameter} of {notebook} a list of values, got {values!r}."
                )
            yield [(f"{parameter}_{_word(value)}", ("parameters", notebook, parameter), value) for value in values]


def _word(value: Any) -> str:
    """A value as a part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", str(value)).strip("_")[:30] or "none"


def take_over(study: Study, folder: Path, notebook: str, fold: int | None) -> Path | None:
    """Take over a step from another variant; its folder, None where none has made the same.

    What counts is the content: the step's code and parameters but for the study's name, its manifest and scans, and
    what it read of the steps before it.
    """
    if not study.variant_of or notebook in OWN:
        return None
    step = step_name(notebook, fold)
    extra: dict[str, Any] = {} if fold is None else {"fold": fold}
    given = notebook_defaults(notebook) | study_parameters(study, notebook, **extra)
    wanted = step_identity(notebook, given, root=study.root, digests=FileDigests(folder))
    for other in sorted(folder.parent.glob(f"{study.variant_of}-*")):
        record = None if other == folder else read_record(other, step)
        if record is None or record["by_hand"] or not (other / "notebooks" / f"{step}.ipynb").is_file():
            continue
        made = record["identity"] | {"parameters": record["identity"]["parameters"] | {"study": study.name}}
        same = not differences(wanted, made) and all(_alike(folder, other, up) for up in record["upstream"])
        if same and not disagreements(other, step, record, FileDigests(other)):
            _copy(folder, other, [*record["files"], f"notebooks/{step}.ipynb"])
            upstream = {name: record_digest(folder, name) for name in record["upstream"]}
            parameters = record["parameters"] | {name: given[name] for name in ("study", "runs_dir") if name in given}
            write_record(folder, step, record | {"parameters": parameters, "identity": wanted, "upstream": upstream})
            return other
    return None


def _alike(folder: Path, other: Path, step: str) -> bool:
    """Whether what later steps read of this one is the same in both runs."""
    here, there = (read_record(run, step) for run in (folder, other))
    if here is None or there is None or here["results"] != there["results"]:
        return False
    names = {name for name in {*here["files"], *there["files"]} if name.split("/")[0] not in SHOWN}
    return all(here["files"].get(name) == there["files"].get(name) for name in names)


def _copy(folder: Path, other: Path, names: list[str]) -> None:
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if name.endswith(LINKED):
            os.link(other / name, target)
        else:
            shutil.copyfile(other / name, target)
