"""The weights that a training can start from. Nothing here needs torch: a study looks at the file before it trains."""

from __future__ import annotations

from pathlib import Path

from hepred_lib.errors import StudyError

# Trained on simulated heads by `make pretrained`; phantom.md beside it says how, and what it can do.
SHIPPED = Path(__file__).parent / "multitask" / "phantom.safetensors"


def pretrained_file(name: str) -> Path | None:
    """Weights to start from: ``phantom`` are those that come with the library, ``none`` no file, else a file's path.

    Raises
    ------
    StudyError
        There is no such file.
    """
    if name == "none":
        return None
    path = SHIPPED if name == "phantom" else Path(name)
    if not path.is_file():
        raise StudyError(f"pretrained must be phantom, none or the file of a network (.safetensors), got '{name}'.")
    return path
