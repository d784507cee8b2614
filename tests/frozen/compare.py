"""Compare the numbers of two folders of runs: python tests/frozen/compare.py FROZEN RUNS. Exit status 1 if any differs.

Every JSON and CSV file of FROZEN is looked up in RUNS. Numbers agree to 1e-9 (relative). A file or number that RUNS
lacks is a difference; keys that are new there, and texts that differ, are listed but do not count.
"""

import csv
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TOLERANCE = 1e-9
# Of the run, not of the patients: versions, commits, times, paths, digests.
IGNORED = re.compile(r"version|commit|time_s$|seconds|elapsed|created|started|finished|path$|folder|sha256|digest|hash")


def leaves(value: object, at: str = "") -> Iterator[tuple[str, object]]:
    """Every number, truth value, text and null of nested lists and objects, with its key path."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if not (isinstance(inner, str | int | float) and IGNORED.search(str(key))):
                yield from leaves(inner, f"{at}.{key}" if at else str(key))
    else:
        yield at, value


def read(path: Path) -> dict[str, object]:
    """The leaves of a file; a table is a list of rows, whose cells are numbers where they read as such."""
    if path.suffix == ".json":
        return dict(leaves(json.loads(path.read_text(encoding="utf-8"))))
    with path.open(newline="", encoding="utf-8") as file:
        return dict(leaves([{key: number(cell) for key, cell in row.items()} for row in csv.DictReader(file)]))


def number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def same(a: object, b: object) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12)
    return a == b


def compare(frozen: Path, runs: Path) -> Iterator[tuple[str, str]]:
    """Every leaf with its kind (same, text, new, DIFFERENT) and one line about it."""
    for path in sorted([*frozen.rglob("*.json"), *frozen.rglob("*.csv")]):
        name = path.relative_to(frozen)
        if not (runs / name).exists():
            yield "DIFFERENT", f"{name}: the file is missing"
            continue
        old, new = read(path), read(runs / name)
        for key in old | new:
            if key in old and key in new and same(old[key], new[key]):
                yield "same", ""
                continue
            text = isinstance(old.get(key), str) and (key not in new or isinstance(new[key], str))
            kind = "new" if key not in old else "text" if text else "DIFFERENT"
            yield kind, f"{name} {key}: {str(old.get(key, '-'))[:80]} -> {str(new.get(key, 'missing'))[:80]}"


if __name__ == "__main__":
    counts = Counter()
    for kind, line in compare(*map(Path, sys.argv[1:])):
        counts[kind] += 1
        if line:
            sys.stdout.write(f"{kind:9} {line}\n")
    sys.stdout.write(", ".join(f"{counts[kind]} {kind}" for kind in ("same", "text", "new", "DIFFERENT")) + "\n")
    raise SystemExit(bool(counts["DIFFERENT"]))
