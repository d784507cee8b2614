"""The one family of errors for what a user gives: the command line turns each into one line and exit status 2.

A message says which argument or column, what is required, what was found, and for which patient or file.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """An argument, a file or a table that cannot be used."""


class StudyError(InputError):
    """A study file, a parameter of a notebook, or a file of a run."""


class ManifestError(InputError):
    """A table of patients."""


class ScanError(InputError):
    """A scan or a mask."""


class HeadError(ScanError):
    """A scan that could be read, but does not show a head in which a hematoma can be measured."""


@contextmanager
def named(subject: object) -> Iterator[None]:
    """Put the subject, such as a file, before what is refused of it: "must be finite", "ct.nii must be finite"."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{subject} {error}") from error
