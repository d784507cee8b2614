"""The report of a finished study: two cards and the TRIPOD+AI table, the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hepred_lib.reporting.data_card import data_card
from hepred_lib.reporting.evidence import Evidence
from hepred_lib.reporting.model_card import model_card
from hepred_lib.reporting.tripod import tripod_page, tripod_table
from hepred_lib.study.files import write_bytes, write_latex, write_table
from hepred_lib.study.identity import blaming_damage


def write_report(run_folder: Path, out: Path | None = None) -> list[Path]:
    """Write ``report/`` and the table's CSV and LaTeX of a finished study; files that do not change are not touched.

    Parameters
    ----------
    run_folder : Path
        Such as ``runs/demo``.
    out : Path, optional
        Write there instead of into the run, which is then only read.

    Returns
    -------
    list of Path
        ``report/model_card.md``, ``report/data_card.md``, ``report/tripod_ai.md``, ``tables/tripod_ai.csv`` and
        ``.tex``.

    Raises
    ------
    StudyError
        The study is not finished, or its files are damaged.
    """
    with blaming_damage(Path(run_folder)):
        return _write(run_folder, out)


def _write(run_folder: Path, out: Path | None) -> list[Path]:
    evidence = Evidence(run_folder)
    report, tables = (out or evidence.folder) / "report", (out or evidence.folder) / "tables"
    paths = [report / "model_card.md", report / "data_card.md", report / "tripod_ai.md"]
    # The cards first: they are among the files that the table refers to.
    write_bytes(paths[0], model_card(evidence).encode())
    write_bytes(paths[1], data_card(evidence).encode())
    table = tripod_table(evidence)
    write_bytes(paths[2], tripod_page(table, evidence).encode())
    write_table(tables / "tripod_ai.csv", table)
    write_latex(tables / "tripod_ai.tex", _printed(table))
    return [*paths, tables / "tripod_ai.csv", tables / "tripod_ai.tex"]


def _printed(table: pd.DataFrame) -> pd.DataFrame:
    """What fits a page: the answers stay in the CSV, of the files only notebooks, figures and cards are named."""
    shown = ("notebooks/", "figures/", "report/")
    where = [", ".join(Path(name).stem for name in names.split() if name.startswith(shown)) for names in table["where"]]
    return table[["item", "heading", "status"]].assign(where=where)
