"""What a finished study left in its folder, read with a memory of what was read.

A sentence of the report may only be written from values that are there: whatever is missing or null raises
:class:`AbsentError`, and whoever writes the sentence goes without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from hepred_lib.study.definition import StudyError
from hepred_lib.study.files import read_json, read_results, read_table
from hepred_lib.study.summary import MODELS

RESULTS = ("results.json", "external.json")


class AbsentError(StudyError):
    """A file or a value that the study does not hold; the message names it."""


class Known(Mapping):
    """A mapping that raises :class:`AbsentError`, naming the value, where one that is asked for is missing or null."""

    def __init__(self, values: Mapping[str, Any], prefix: str, name: str) -> None:
        self._values, self._prefix, self._name = values, prefix, name

    def __getitem__(self, key: str) -> Any:
        value = self._values.get(key)
        if value is None:
            raise AbsentError(f"{self._name} holds no {self._prefix}{key}")
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Evidence:
    """The files of one finished study.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Raises
    ------
    StudyError
        The study is not finished.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "results.json").is_file():
            raise StudyError(
                f"RUN must be the folder of a finished study, but {self.folder / 'results.json'} is not there."
            )
        self._read: list[str] = []

    @contextmanager
    def noting(self) -> Iterator[list[str]]:
        """Collect the names of the files that are read inside the block, each once, in the order of reading."""
        before, self._read = self._read, []
        try:
            yield self._read
        finally:
            self._read = before

    def locate(self, pattern: str) -> str:
        """Name, relative to the run, of the first file that fits; it counts as read.

        Raises
        ------
        AbsentError
            There is none.
        """
        found = sorted(self.folder.glob(pattern))
        if not found:
            raise AbsentError(f"{pattern} is not there")
        name = found[0].relative_to(self.folder).as_posix()
        self._note(name)
        return name

    def value(self, name: str, *keys: str) -> Any:
        """One value of a JSON file; never null.

        Raises
        ------
        AbsentError
            The file, the key or the value is missing.
        """
        located = self.locate(name)
        read = read_results if located in RESULTS else read_json
        value: Any = read(self.folder / located)
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            raise AbsentError(f"{name} holds no {'.'.join(keys)}")
        return value

    def known(self, name: str, *keys: str) -> Known:
        """A mapping of a JSON file of which no value may be null; see :meth:`value`."""
        return Known(self.value(name, *keys), ".".join([*keys, ""]), name)

    def section(self, pattern: str, heading: str) -> str:
        """Name of a page or notebook that has a section of this heading; it counts as read.

        Raises
        ------
        AbsentError
            The file is missing, or has no such section.
        """
        name = self.locate(pattern)
        if f"## {heading}" not in (self.folder / name).read_text(encoding="utf-8"):
            raise AbsentError(f"{name} has no section '{heading}'")
        return name

    def table(self, name: str, *columns: str) -> pd.DataFrame:
        """A table with at least one row, the named columns not all empty.

        Raises
        ------
        AbsentError
            The file, a row, a column or every value of one is missing.
        """
        table = read_table(self.folder / self.locate(name))
        lacking = [column for column in columns if column not in table or table[column].isna().all()]
        if table.empty or lacking:
            raise AbsentError(f"{name} holds no {', '.join(lacking) or 'row'}")
        return table

    def parameter(self, notebook: str, name: str) -> Any:
        """A parameter that a notebook ran with; of the first fold where there are several."""
        return self.value(f"records/{notebook}*.json", "parameters", name)

    def result(self, notebook: str, *names: str) -> Any:
        """A result that a notebook recorded."""
        return self.value(f"records/{notebook}*.json", "results", *names)

    @property
    def simulated(self) -> bool:
        """Whether the patients are simulated: the study then names the truth."""
        return bool(self.parameter("01_cohort", "truth"))

    @property
    def reads_scans(self) -> bool:
        """Whether networks were trained on scans."""
        return self.value("results.json", "image_source") == "scans"

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the study developed, in the book's order."""
        judged = self.value("results.json", "models")
        return tuple(name for name in MODELS if judged.get(name))

    def _note(self, name: str) -> None:
        if name not in self._read:
            self._read.append(name)
