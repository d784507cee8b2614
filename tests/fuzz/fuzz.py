"""Damage small files in many ways and read them: each is read, or refused in one line that names it, quickly.

    python tests/fuzz/fuzz.py manifest 100000 0
    python tests/fuzz/fuzz.py all 1000 7 --cores 2 --keep faults/

prints for each reader how many files were refused and read, the slowest, and the memory. Anything but a refusal (a
traceback, a refusal of several lines, 2 s, 1 GB) is a fault; the first files of each kind of fault are kept in --keep.
Status 1 where there is one.
"""

from __future__ import annotations

import argparse
import multiprocessing
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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

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


class Reader(Protocol):
    """A reader and the small files that it is given; made with a folder of its own."""

    def damage(self, chance: random.Random) -> list[Path]:
        """Write damaged files; those that a refusal may name."""

    def read(self, chance: random.Random) -> str:
        """Read them; a word for how. Refusals are raised."""


@dataclass
class Tally:
    """What came of many files."""

    outcomes: Counter = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)
    slowest_s: float = 0.0
    seconds: float = 0.0
    memory_mb: float = 0.0
    modules_mb: float = 0.0

    def add(self, other: Tally) -> None:
        """Add what another process found."""
        self.outcomes += other.outcomes
        self.faults = dict(Counter(self.faults) + Counter(other.faults))
        self.slowest_s, self.memory_mb = max(self.slowest_s, other.slowest_s), max(self.memory_mb, other.memory_mb)
        self.modules_mb = max(self.modules_mb, other.modules_mb)
        self.seconds += other.seconds


def reader_of(name: str, folder: Path) -> Reader:
    """A reader by its name."""
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


def attempt(reader: Reader, paths: Sequence[Path], chance: random.Random) -> tuple[str, float]:
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


def _worker(name: str, count: int, seed: int, keep: Path | None) -> Tally:
    """Fuzz in a process that may take 2 GB more than its modules, and in which a warning is an error."""
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        reader_of(name, Path(folder))  # what modules take comes before
        most = ADDRESS_SPACE + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        return fuzz(name, count, seed, Path(folder), keep)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader", choices=[*READERS, "all"])
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for files that fail")
    asked = parser.parse_args()
    failed = False
    for name in READERS if asked.reader == "all" else [asked.reader]:
        tally = Tally()
        counts = [asked.count // asked.cores + (k < asked.count % asked.cores) for k in range(asked.cores)]
        with ProcessPoolExecutor(asked.cores, mp_context=multiprocessing.get_context("spawn")) as pool:
            keeps = [asked.keep and asked.keep / name / str(k) for k in range(asked.cores)]
            seeds = [asked.seed * 1000 + k for k in range(asked.cores)]
            for part in pool.map(_worker, [name] * asked.cores, counts, seeds, keeps):
                tally.add(part)
        failed |= bool(tally.faults) or tally.memory_mb - tally.modules_mb > HEAVY_MB
        _print(name, asked.count, tally)
    sys.exit(failed)


def _print(name: str, count: int, tally: Tally) -> None:
    told = ", ".join(f"{tally.outcomes[outcome]} {outcome}" for outcome in ("refused", "read", "fault"))
    memory = f"{tally.memory_mb:.0f} MB ({tally.modules_mb:.0f} MB before the first file)"
    numbers = f"{tally.seconds:.0f} s, slowest {tally.slowest_s:.2f} s, {memory}"
    lines = [f"{name}: {count} files, {told}; {numbers}"]
    lines += [f"    {times} x {fault}" for fault, times in sorted(tally.faults.items(), key=lambda kind: -kind[1])]
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
