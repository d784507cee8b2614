"""Damage small files in many ways and read them: each is read, or refused in one line that names it, quickly.

    python tests/fuzz/fuzz.py manifest 100000 0 --keep faults/

prints how many files of a reader were refused and read, the slowest, and the memory. Anything but a refusal (a
traceback, a refusal of several lines, 2 s, 1 GB) is a fault; the first files of each kind of fault are kept in --keep.
Status 1 where there is one.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hepred_lib.errors import ManifestError, ScanError, StudyError

SLOW_S, HANGS_S = 2.0, 30.0
HEAVY_MB, ADDRESS_SPACE = 1000, 2 * 2**30
LONGEST_LINE = 500
REFUSALS = (StudyError, ManifestError, ScanError)
KEPT = 3  # files of each kind of fault
READERS = {
    "scan": "images:Images",
    "dicom": "images:Dicom",
    "manifest": "tables:Manifest",
    "bedside": "tables:bedside",
    "mapping": "tables:mapping",
    "words": "tables:words",
    "study": "tables:study_file",
    "model": "runs:Models",
    "results": "runs:Results",
    "record": "runs:Records",
}


@dataclass
class Tally:
    """What came of many files."""

    outcomes: Counter = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)
    slowest_s: float = 0.0
    seconds: float = 0.0
    memory_mb: float = 0.0
    modules_mb: float = 0.0


def reader_of(name: str, folder: Path) -> Any:
    """A reader by its name, in a folder of its own.

    Its ``damage(chance)`` writes damaged files and returns those that a refusal may name; ``read(chance)`` reads them.
    """
    module, _, kind = READERS[name].partition(":")
    home = __import__(f"tests.fuzz.{module}", fromlist=[kind])
    return getattr(home, kind)(folder)


def fuzz(name: str, count: int, seed: int, folder: Path, keep: Path | None = None) -> Tally:
    """Read ``count`` damaged files in this process."""
    chance, reader, tally = random.Random(f"{name} {seed}"), reader_of(name, folder), Tally()
    slow_s = getattr(reader, "slow_s", SLOW_S)
    tally.modules_mb, begin = _memory_mb(), time.perf_counter()
    for _ in range(count):
        paths, again = reader.damage(chance), chance.getstate()
        outcome, seconds = attempt(reader, paths, chance)
        if seconds > slow_s:  # the first of its kind loads modules
            chance.setstate(again)
            seconds = min(seconds, attempt(reader, paths, chance)[1])
        if seconds > slow_s and outcome in ("read", "refused"):
            outcome = f"{outcome} in {seconds:.0f} s"
        tally.slowest_s = max(tally.slowest_s, seconds)
        if outcome not in ("read", "refused"):
            tally.faults[outcome] = tally.faults.get(outcome, 0) + 1
            _keep(keep, list(tally.faults).index(outcome), tally.faults[outcome], outcome, paths)
            outcome = "fault"
        tally.outcomes[outcome] += 1
    tally.seconds = time.perf_counter() - begin
    tally.memory_mb = _memory_mb()
    return tally


def _memory_mb() -> float:
    """The largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def attempt(reader: Any, paths: Sequence[Path], chance: random.Random) -> tuple[str, float]:
    """``read``, ``refused`` or the words of a fault, and its processor seconds; a hang is ended by the clock."""
    signal.signal(signal.SIGALRM, _hangs)
    signal.setitimer(signal.ITIMER_REAL, HANGS_S)
    begin = time.process_time()
    try:
        reader.read(chance)
        outcome = "read"
    except REFUSALS as error:
        outcome = _fault_of(str(error), [path.name for path in paths])
    except Exception as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "hepred_lib" in frame.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else "the test"
        outcome = f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:100]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return outcome, time.process_time() - begin


def _fault_of(words: str, names: Sequence[str]) -> str:
    """``refused`` for one readable line that names the file, else what is wrong with it."""
    if not words.isprintable():
        return "a refusal with a line break or an invisible character"
    if len(words) > LONGEST_LINE:
        return f"a refusal of more than {LONGEST_LINE} characters: {words[:60]}"
    if not any(name in words for name in names):
        return f"a refusal that does not name the file: {words[:80]}"
    return "refused"


def _keep(keep: Path | None, kind: int, number: int, outcome: str, paths: Sequence[Path]) -> None:
    if keep is None or number > KEPT:
        return
    folder = keep / f"{kind:03d}" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fault.txt").write_text(f"{outcome}\n", encoding="utf-8", errors="replace")
    for path in paths:
        if path.is_file():
            shutil.copy(path, folder / path.name)


def _hangs(*_: object) -> None:
    raise TimeoutError(f"more than {HANGS_S:g} s")


def main() -> None:
    """Run from the command line: the process may take 2 GB more than its modules, and a warning is an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--keep", type=Path, help="folder for files that fail")
    asked = parser.parse_args()
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        reader_of(asked.reader, Path(folder))  # what modules take comes before
        most = ADDRESS_SPACE + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        tally = fuzz(asked.reader, asked.count, asked.seed, Path(folder), asked.keep)
    told = ", ".join(f"{tally.outcomes[outcome]} {outcome}" for outcome in ("refused", "read", "fault"))
    memory = f"{tally.memory_mb:.0f} MB ({tally.modules_mb:.0f} MB before the first file)"
    print(f"{asked.reader}: {told}; {tally.seconds:.0f} s, slowest {tally.slowest_s:.2f} s, {memory}")
    for fault, times in Counter(tally.faults).most_common():
        print(f"    {times} x {fault}")
    sys.exit(bool(tally.faults) or tally.memory_mb - tally.modules_mb > HEAVY_MB)


if __name__ == "__main__":
    main()
