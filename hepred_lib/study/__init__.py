"""One study: its file, the folder it writes, and the only way anything is written there."""

from hepred_lib.study.artifacts import (
    file_sha256,
    read_figure_data,
    read_json,
    read_printed,
    read_table,
    scan_checksums,
    write_bytes,
    write_figure_data,
    write_json,
    write_latex,
    write_printed,
    write_table,
)
from hepred_lib.study.definition import (
    NOTEBOOKS,
    PROJECT,
    Study,
    StudyError,
    check_parameters,
    load_study,
    notebook_defaults,
)
from hepred_lib.study.run import Run, open_notebook, open_run, project_root, versions

__all__ = [
    "NOTEBOOKS",
    "PROJECT",
    "Run",
    "Study",
    "StudyError",
    "check_parameters",
    "file_sha256",
    "load_study",
    "notebook_defaults",
    "open_notebook",
    "open_run",
    "project_root",
    "read_figure_data",
    "read_json",
    "read_printed",
    "read_table",
    "scan_checksums",
    "versions",
    "write_bytes",
    "write_figure_data",
    "write_json",
    "write_latex",
    "write_printed",
    "write_table",
]
