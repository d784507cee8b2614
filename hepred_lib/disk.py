"""Any regular file: opened and read within bounds, written as a whole, locked, and known by its content."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFDIR: "a folder"}


class UnreadableError(OSError):
    """What is at a path instead of a file that can be read: in ``strerror``, as of any OSError."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EINVAL, reason)

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """A regular file to read from and its length in bytes; nothing else is waited for or read.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    UnreadableError
        A folder, a pipe, a socket, a device, or a file that may not be read.
    """
    try:
        # Without O_NONBLOCK a pipe would be waited for; what it is, the descriptor says, whatever takes its place.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        is_socket = getattr(error, "errno", None) == errno.ENXIO
        raise UnreadableError("a socket" if is_socket else getattr(error, "strerror", None) or str(error)) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UnreadableError(KINDS.get(stat.S_IFMT(status.st_mode), "a device"))
    with open(descriptor, "rb") as stream:
        yield stream, status.st_size


def regular_bytes(path: Path, most: int) -> bytes:
    """All bytes of a regular file.

    Parameters
    ----------
    path : Path
    most : int
        Bytes; a longer file is refused.

    Raises
    ------
    FileNotFoundError, UnreadableError
        As :func:`opened`, and for a longer file.
    """
    with opened(path) as (stream, size):
        content = stream.read(most + 1) if size <= most else None
    if content is None or len(content) > most:
        raise UnreadableError(f"more than {most / 1e6:g} MB" if most >= 1e6 else f"more than {most / 1e3:g} kB")
    return content


def locked(stream: IO | int) -> bool:
    """Whether an open file, or a descriptor, could be locked at once; the lock ends with it, or with its process."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_changed(path: Path, content: bytes) -> bool:
    """Write a file as a whole; one that holds these bytes already keeps its time stamp. True when they changed."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
    return True


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which is flushed to the disk and renamed to ``path`` when that is done.

    A killed process leaves no half file under ``path``, and a full disk leaves no file at all.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())  # or a power cut could leave a renamed file without its content
        os.replace(temporary, path)
    except Exception:
        temporary.unlink(missing_ok=True)
        raise
