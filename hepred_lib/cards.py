"""The graphics cards of this machine, shared among trainings that run at once.

A *card* is one of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` or the driver numbers them. Nothing
here needs torch: the command that starts a training decides which cards it sees.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CARD_WAIT_S = 1.0


def visible_cards() -> list[str]:
    """The cards that this process may use; none without a driver."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [card.strip() for card in allowed.split(",") if card.strip() not in ("", "-1", "NoDevFiles")]
    return [str(number) for number in range(seen_by_the_driver().count("(driver "))]


@contextmanager
def held_cards(number: int, *, place: Path | None = None) -> Iterator[list[str]]:
    """Hold as many cards as are asked for, and show torch no others; wait while other processes hold them.

    Parameters
    ----------
    number : int
        Where there are fewer cards, all of them; none without a GPU, or where ``CUDA_VISIBLE_DEVICES`` is empty.
    place : Path, optional
        Folder of the locks, one for this machine and user if not given. A lock ends with its process.
    """
    cards, before = visible_cards(), os.environ.get("CUDA_VISIBLE_DEVICES")
    number = min(number, len(cards))
    if not number:
        yield []
        return
    place = place or Path(tempfile.gettempdir()) / f"hepred-cards-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    while True:
        with ExitStack() as locks:
            held: list[str] = []
            for card in cards:
                if len(held) < number and _locked(place / f"{card.replace('/', '_')}.lock", locks):
                    held.append(card)
            if len(held) == number:
                os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
                try:
                    yield held
                finally:
                    os.environ.pop("CUDA_VISIBLE_DEVICES")
                    os.environ.update({} if before is None else {"CUDA_VISIBLE_DEVICES": before})
                return
        time.sleep(CARD_WAIT_S)  # with none in hand: two who want two cards each must not wait for one another


def _locked(path: Path, locks: ExitStack) -> bool:
    """Whether a file could be locked; it stays so until the stack is closed."""
    stream = locks.enter_context(path.open("w"))
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def seen_by_the_driver() -> str:
    """The names of the GPUs that the driver knows, empty without a driver."""
    if not (command := shutil.which("nvidia-smi")):
        return ""
    try:
        done = subprocess.run(
            [command, "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.strip().splitlines() if done.returncode == 0 else []
    return "; ".join(" (driver ".join(line.rsplit(", ", 1)) + ")" for line in lines)
