"""One reader for every table of patients: the manifest, the clinical table of an import, a hospital's spreadsheet."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pandas as pd

from hepred_lib.manifest.rules import Problem


@dataclass(frozen=True)
class Cells:
    """What a file of patients holds, as text.

    Attributes
    ----------
    path : Path
        The file; paths in its cells start from its folder.
    table : DataFrame or None
        Stripped text (dtype string, empty where nothing was written), indexed by the line of the file (the row of a
        worksheet); None where there is nothing to look at.
    problems : list of Problem
        Faults of the form: encoding, quotation marks, rows, header.
    notes : list of str
        What was understood and should be known, such as "264 patients" or "semicolon-separated, decimal commas".
    """

    path: Path
    table: pd.DataFrame | None
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_cells(path: str | os.PathLike) -> Cells:
    """Read a table of patients, whatever program wrote it; never raises for what is in the file."""
    path = Path(path)
    try:
        rows = [row for row in csv.reader(StringIO(path.read_text("utf-8-sig"), newline=""), strict=True) if any(row)]
    except (OSError, ValueError, csv.Error) as error:
        return Cells(path, None, [Problem(path.name, 0, "the table", "", "be a readable CSV file", str(error))])
    header = [name.strip() for name in rows[0]] if rows else []
    table = pd.DataFrame([[c.strip() for c in row] for row in rows[1:]], columns=header, dtype="string")
    table.index = pd.RangeIndex(2, 2 + len(table))
    return Cells(path, table, [], [f"{len(table)} patients"])


def near_names(header: list[str], known: list[str]) -> dict[str, str]:
    """Names of a header that differ from a known one only by case, blanks, hyphens or camel case: to the known one."""

    def bare(name: str) -> str:
        return "".join(filter(str.isalnum, name)).lower()

    targets = {bare(name): name for name in known}
    return {n: targets[bare(n)] for n in header if bare(n) in targets and n not in known}
