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
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from hepred_lib.errors import StudyError
from hepred_lib.study.definition import Study, check_study, notebook_defaults, read_study_file, study_parameters
from hepred_lib.study.files import take_file, write_bytes
from hepred_lib.study.run import (
    FileDigests,
    differences,
    disagreements,
    page_fault,
    read_record,
    record_digest,
    replace_record,
    step_identity,
    step_name,
)

MARK = "# Written by `hepred run {name}`: change that file instead.\n"
MOST_VARIANTS = 200
OWN = ("07_roc_calibration_figures", "08_new_patients")  # name the study in what they leave
NAMING = ("study", "runs_dir")  # parameters that say where a run is, not what it is made from
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
    check_study({"manifest": "", **raw}, path)
    mark = MARK.format(name=path.name).encode()
    texts = {}
    for name, settings in _variants(raw, vary, path.name).items():
        target = path.with_name(f"{name}{path.suffix}")
        check_study(settings, target)
        if target.exists() and not target.read_bytes().startswith(mark):
            raise StudyError(f"{target} must not be there, or be of an earlier run of {path.name}; it is another file.")
        texts[target] = mark + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode()
    for target, text in texts.items():
        write_bytes(target, text)
    return list(texts)


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
    seeds, sites = vary.get("seeds", []), vary.get("sites", {})
    yield [(f"seed{word}", ("seed",), seed) for word, seed in zip(_words(seeds), seeds, strict=True)]
    yield [(word, ("manifest",), path) for word, path in zip(_words(sites), sites.values(), strict=True)]
    for notebook, grid in vary.get("parameters", {}).items():
        for name, values in grid.items():
            if not isinstance(values, list):
                raise StudyError(f"{where}: 'vary' must give {name} of {notebook} a list of values, got {values!r}.")
            named = zip(_words(values), values, strict=True)
            yield [(f"{name}_{word}", ("parameters", notebook, name), value) for word, value in named]


def _words(values: Iterable[Any]) -> list[str]:
    """Values as parts of a folder's name; where other values have the same word, with their place in the list."""
    values = list(values)
    words = [re.sub(r"[^A-Za-z0-9]+", "_", str(value)).strip("_")[:30] for value in values]
    shared = {word for word in words if len({repr(v) for w, v in zip(words, values, strict=True) if w == word}) > 1}
    return [
        f"{word}_{place}".lstrip("_") if word in shared or not word else word
        for place, word in enumerate(words, start=1)
    ]


def take_over(study: Study, folder: Path, notebook: str, fold: int | None) -> Path | None:
    """Take over a step from another variant; its folder, None where none has made the same.

    What counts is the content: the step's code and parameters but for the study's name, its manifest and scans, and
    what it read of the steps before it.
    """
    if not study.variant_of or notebook in OWN:
        return None
    step = step_name(notebook, fold)
    given = notebook_defaults(notebook) | study_parameters(study, notebook, fold)
    wanted = step_identity(notebook, given, root=study.root, digests=FileDigests(folder))
    for other in sorted(folder.parent.glob(f"{study.variant_of}-*")):
        record = None if other == folder else read_record(other, step)
        if record is None or record["by_hand"] or page_fault(other, step):
            continue
        made = record["identity"] | {"parameters": record["identity"]["parameters"] | {"study": study.name}}
        read = [[record_digest(run, up, without=NAMING) for up in record["upstream"]] for run in (folder, other)]
        same = not differences(wanted, made) and None not in read[0] and read[0] == read[1]
        if same and not disagreements(other, step, record, FileDigests(other)):
            for name in (*record["files"], f"notebooks/{step}.ipynb"):
                take_file(other / name, folder / name, linked=name.endswith(LINKED))
            upstream = {name: record_digest(folder, name) for name in record["upstream"]}
            parameters = record["parameters"] | {name: given[name] for name in NAMING if name in given}
            taken = record | {"parameters": parameters, "identity": wanted, "upstream": upstream}
            if not disagreements(folder, step, taken, FileDigests(folder)):  # the other may have changed meanwhile
                replace_record(folder, step, taken)
                return other
    return None
