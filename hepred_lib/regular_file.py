"""The bytes of a regular file of bounded size: a pipe, a device or a file that would fill the memory is never read."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnreadableError(Exception):
    """What is at a path instead of a file that can be read: the words after "got"."""


def regular_bytes(path: Path, most: int) -> bytes:
    """All bytes of a regular file.

    Parameters
    ----------
    path : Path
    most : int
        Bytes; a longer file is refused.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    UnreadableError
        A folder, a pipe, a device, a longer file, or one that may not be read.
    """
    try:
        # Without O_NONBLOCK a pipe would be waited for; what it is, the descriptor says, whatever takes its place.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            kind = stat.S_IFMT(status.st_mode)
            if kind != stat.S_IFREG:
                raise UnreadableError("a pipe" if kind == stat.S_IFIFO else "a device")
            content = stream.read() if status.st_size <= most else None
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise UnreadableError("a folder") from error
    except (OSError, ValueError) as error:
        raise UnreadableError(_reason(path, error)) from error
    if content is None or len(content) > most:
        size = f"{most / 1e6:g} MB" if most >= 1e6 else f"{most / 1e3:g} kB"
        raise UnreadableError(f"more than {size}")
    return content


def _reason(path: Path, error: Exception) -> str:
    """Why a file could not be opened; a socket says so by no error of its own."""
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            return "a socket"
    except (OSError, ValueError):
        pass
    return getattr(error, "strerror", None) or str(error)
