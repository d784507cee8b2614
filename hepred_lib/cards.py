"""The graphics cards of this machine, shared among trainings that run at once.

A *card* is one of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` or the driver numbers them. A large
card has several *places*: while one training measures on the host, another keeps the card busy. Nothing here needs
torch: the command that starts a training decides which cards it sees.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hepred_lib.disk import locked

CARD_WAIT_S = 1.0
ENVIRONMENT = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


def visible_cards() -> list[str]:
    """The cards that this process may use; none without a driver."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [card.strip() for card in allowed.split(",") if card.strip() not in ("", "-1", "NoDevFiles")]
    return [index for index in _driver_says("index") if index.isdigit()]


@contextmanager
def held_cards(number: int, *, need_gb: float = 0.0, place: Path | None = None) -> Iterator[list[str]]:
    """Hold a place on one card, or several whole cards, and show torch no others; wait while others hold them.

    Parameters
    ----------
    number : int
        Where there are fewer cards, all of them; none without a GPU, or where ``CUDA_VISIBLE_DEVICES`` is empty.
    need_gb : float
        Memory of one training, which decides how many places a card has; 0: one.
    place : Path, optional
        Folder of the locks, one for this machine and user if not given, and within a Slurm job that was given cards one
        for the job. A lock ends with its process.
    """
    wanted = places(need_gb) if number else {}
    before = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    number = min(number, len(wanted))
    if not number:
        yield []
        return
    place = place or Path(tempfile.gettempdir()) / f"hepred-cards-{os.getuid()}{_cluster_job()}"
    place.mkdir(mode=0o700, exist_ok=True)
    while True:
        with ExitStack() as locks:
            held = _free_cards(number, wanted, place, locks)
            if len(held) == number:
                # The driver numbers cards by their slots; torch would by their speed.
                os.environ.update(zip(ENVIRONMENT, (",".join(held), "PCI_BUS_ID"), strict=True))
                try:
                    yield held
                finally:
                    for name in ENVIRONMENT:
                        os.environ.pop(name)
                    os.environ.update(before)
                return
        time.sleep(CARD_WAIT_S)  # with none in hand: two who want two cards each must not wait for one another


def places(need_gb: float) -> dict[str, int]:
    """How many trainings of this need share each card that this process may use: at least one."""
    known = [line.split(", ") for line in _driver_says("index,uuid,memory.total,mig.mode.current")]
    # Of a card that is divided (MIG) a training gets one part, whose memory is not listed.
    whole = [words for words in known if len(words) == 4 and words[2].isdigit() and words[3] != "Enabled"]
    memory_gb = {name: float(mib) * 2**20 / 1e9 for *names, mib, _ in whole for name in names}
    return {card: max(1, int(memory_gb.get(card, 0.0) / need_gb)) if need_gb else 1 for card in visible_cards()}


def _cluster_job() -> str:
    """The Slurm job that holds cards of its own: each job counts them from 0, whichever they are; empty elsewhere."""
    given = any(name in os.environ for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS"))
    return f"-{os.environ['SLURM_JOB_ID']}" if given and "SLURM_JOB_ID" in os.environ else ""


def _free_cards(number: int, wanted: dict[str, int], place: Path, locks: ExitStack) -> list[str]:
    """Up to so many cards: one with a free place, first on cards that nobody uses, or several of which all are free."""
    held: list[str] = []
    for turn in range(max(wanted.values()) if number == 1 else 1):
        for card, n_places in wanted.items():
            if len(held) == number or turn >= n_places:
                continue
            with ExitStack() as own:  # of a card of which a place is taken, none is kept
                wished = [turn] if number == 1 else range(n_places)
                paths = [place / f"{card.replace('/', '_')}.{k}.lock" for k in wished]
                if all(locked(own.enter_context(path.open("w"))) for path in paths):
                    held.append(card)
                    locks.push(own.pop_all())
    return held


def seen_by_the_driver() -> str:
    """The names of the GPUs that the driver knows, empty without a driver."""
    known = [line.rpartition(", ") for line in _driver_says("name,driver_version")]
    return "; ".join(f"{name} (driver {version})" for name, _, version in known if name)


def _driver_says(columns: str) -> list[str]:
    """One line a card from the driver's own command, memory in MiB; none without it."""
    if not (command := shutil.which("nvidia-smi")):
        return []
    words = [command, f"--query-gpu={columns}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []
