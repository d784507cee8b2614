"""Faults for a study at work and a study that is finished, and what a run must do about each.

A *cell* is a stage and a fault. Every cell starts from a copy of one finished run (hard links: files are replaced, not
written over), harms it or a run at work on it, and runs the study again. Then every result must be that of a clean run,
byte by byte, or one line must say what to do, and nothing may be left over in the run or in the temporary folder.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hepred_lib.study.definition import load_study
from hepred_lib.study.running import explain

# What two runs may differ in: logs with times, records of where a run was made, the engine's own books.
NOT_RESULTS = (".", "notebooks/", "report/", "site/", "earlier/", "study.json")
STEPS = {
    "01": "cohort.csv",
    "02": "slices/quality.csv",
    "03": "folds/0/network.safetensors",
    "04": "image.csv",
    "05": "clinical_model.json",
    "06": "integrated.csv",
    "07": "results.json",
    "08": "external.json",
}


@dataclass(frozen=True)
class Finished:
    """A finished study: its root with ``studies/`` and cohorts, its study file, its run."""

    root: Path
    study_file: Path
    name: str

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.root / "runs" / self.name


def hepred(*arguments: object, temporary: Path | None = None) -> subprocess.CompletedProcess:
    """Run the command as a user would."""
    environment = os.environ | ({"TMPDIR": str(temporary)} if temporary else {})
    command = [sys.executable, "-m", "hepred_lib.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def succeed(*arguments: object) -> subprocess.CompletedProcess:
    """Run a command that must not fail."""
    done = hepred(*arguments)
    assert done.returncode == 0, done.stderr
    return done


def copy_of(finished: Finished, folder: Path, *, linked: bool = True) -> Finished:
    """A copy of a finished study by hard links but for executed notebooks, which are written over; without its lock.

    Where every time stamp must hold still (a new link to a file changes one) it must not be linked.
    """

    def link(source: str, target: str) -> None:
        (os.link if linked and not source.endswith(".ipynb") else shutil.copy2)(source, target)

    shutil.copytree(finished.root, folder, copy_function=link, ignore=shutil.ignore_patterns(".lock"))
    study_file = folder / finished.study_file.relative_to(finished.root)
    study_file.unlink()  # it will be written over
    shutil.copy2(finished.study_file, study_file)
    asked = folder / "runs" / finished.name / "study.json"
    if asked.exists():  # paths of the copy
        text = asked.read_text(encoding="utf-8").replace(str(finished.root), str(folder))
        asked.unlink()
        asked.write_text(text, encoding="utf-8")
    return Finished(folder, study_file, finished.name)


def results(run: Path) -> dict[str, bytes]:
    """Every result of a run by name; of records what they say of the step, not where it was made."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.is_file() and not name.startswith(NOT_RESULTS) and "checkpoint" not in name:
            found[name] = path.read_bytes()
    return found


def differing(run: Path, clean: dict[str, bytes]) -> list[str]:
    """Names of results that are not those of a clean run."""
    found = results(run)
    return sorted(name for name in found.keys() | clean.keys() if found.get(name) != clean.get(name))


def left_over(run: Path, temporary: Path) -> list[str]:
    """Half-written files of a run, and what its processes left in the temporary folder."""
    half = [str(path) for path in run.rglob("*") if path.name.endswith((".tmp", ".part"))]
    return half + [path.name for path in temporary.iterdir() if path.name.startswith(("hepred", "tmp"))]


def rewrite(path: Path, content: bytes) -> None:
    """Replace a file's content under its old time stamp; a hard link elsewhere keeps the old content."""
    before = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# -- faults of a finished run -----------------------------------------------------------------------------------------


def delete(path: Path) -> None:
    """Take a file away."""
    path.unlink()


def truncate(path: Path) -> None:
    """Cut a file in half, under its old time stamp."""
    content = path.read_bytes()
    rewrite(path, content[: len(content) // 2])


def replace(path: Path) -> None:
    """Give a file other content of the same length, under its old time stamp."""
    content = bytearray(path.read_bytes())
    for k in range(len(content) // 3, len(content) // 3 + min(64, len(content) // 3)):
        content[k] ^= 1
    rewrite(path, bytes(content))


def touch_ahead(path: Path) -> None:
    """Set a file's time stamp a day ahead."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    tomorrow = time.time() + 86400
    os.utime(path, (tomorrow, tomorrow))


FILE_FAULTS: dict[str, Callable[[Path], None]] = {
    "deleted": delete,
    "truncated": truncate,
    "replaced": replace,
    "clock a day ahead": touch_ahead,
}


# -- faults of a run at work ------------------------------------------------------------------------------------------


def kernels(root: Path) -> list[int]:
    """Processes of notebook kernels whose environment names this root."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes()
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"ipykernel_launcher" in words and f"HEPRED_ROOT={root}".encode() in environment:
            found.append(int(folder.name))
    return found


def kill_at_work(study: Finished, how: str, *, temporary: Path, after_s: float = 1.5) -> tuple[int, str]:
    """Start a study, wait until a notebook is at work, and end it; returns the exit status and what was said."""
    command = [sys.executable, "-m", "hepred_lib.cli", "run", str(study.study_file), "--cores", "2"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    said = ""
    for line in process.stderr:
        said += line
        if line.rstrip().endswith("..."):
            break
    wait_until(lambda: bool(kernels(study.root)), 60)
    time.sleep(after_s)
    KILLS[how](process, study)
    with process.stderr:
        rest, _ = process.stderr.read(), process.wait(timeout=120)
    wait_until(lambda: not kernels(study.root), 30)
    return process.returncode, said + rest


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, so long at most."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)


def kill_kernels(_: subprocess.Popen, study: Finished) -> None:
    """Kill what runs the notebooks, as the system does when memory runs out."""
    for kernel in kernels(study.root):
        os.kill(kernel, signal.SIGKILL)


KILLS: dict[str, Callable[[subprocess.Popen, Finished], None]] = {
    "SIGKILL of hepred": lambda process, _: process.kill(),
    "SIGKILL of the group": lambda process, _: os.killpg(process.pid, signal.SIGKILL),
    "SIGKILL of the kernel": kill_kernels,
    "SIGTERM": lambda process, _: process.terminate(),
    "SIGINT": lambda process, _: os.killpg(process.pid, signal.SIGINT),
}
WORDS_OF = {
    "SIGTERM": "interrupted. What is finished is kept; the same command resumes.",
    "SIGINT": "interrupted. What is finished is kept; the same command resumes.",
    "SIGKILL of the kernel": "memory",
}


# -- disks ------------------------------------------------------------------------------------------------------------


def can_mount() -> bool:
    """Whether this process may mount file systems."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True, check=False)
        if done.returncode == 0:
            subprocess.run(["umount", place], check=True)
        return done.returncode == 0


@contextmanager
def full_disk(folder: Path, *, room: int) -> Iterator[Path]:
    """A small file system at a folder, with a copy of what the folder held and this much room besides."""
    held = folder.with_name(folder.name + "-held")
    os.replace(folder, held)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=True)
    try:
        shutil.copytree(held, folder, dirs_exist_ok=True)
        blocks = os.statvfs(folder)  # whole pages, so that the files' sizes alone would not say how many are in use
        size = (blocks.f_blocks - blocks.f_bfree) * blocks.f_frsize + room
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
        yield folder
        shutil.rmtree(held)
        shutil.copytree(folder, held)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()
        os.replace(held, folder)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A folder that cannot be written, even by root."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# -- verdicts ---------------------------------------------------------------------------------------------------------


def verdict(study: Finished, clean: dict[str, bytes], *, temporary: Path) -> str:
    """Run a study again and say what is wrong; empty where all is as in a clean run."""
    done = hepred("run", study.study_file, "--cores", 2, temporary=temporary)
    if done.returncode:
        return f"exit {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
    wrong = differing(study.run, clean)
    if wrong:
        return f"differs: {', '.join(wrong[:4])}"
    rest = left_over(study.run, temporary)
    return f"left over: {', '.join(rest[:3])}" if rest else ""


def stale(study: Finished) -> dict[str, str]:
    """What ``hepred run --explain`` says of each step that has to be made again."""
    told = explain(load_study(study.study_file), study.run)
    return {step: "; ".join(why) for step, why in told.items() if why}
