"""The command: ``python -m ich_phantom OUT --patients N --seed S``; ``hepred simulate`` is the same."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hepred_lib.errors import InputError
from ich_phantom import PhantomError


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the cohort.", show_default=False)],
    patients: Annotated[int, typer.Option(min=1, help="Number of hemorrhages.")] = 240,
    seed: Annotated[int, typer.Option(min=0)] = 7,
    site: Annotated[str, typer.Option(help="A, or B with other scanners and another case mix.")] = "A",
    matrix: Annotated[int, typer.Option(min=64, help="Pixels along a side of a slice.")] = 256,
    scans: Annotated[bool, typer.Option(help="Scans and masks too, not only tables.")] = True,
    cores: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core if not given.")] = None,
) -> None:
    """Make a simulated cohort with known truth.

    Example: hepred simulate cohorts/try --patients 40 --seed 1
    """
    from ich_phantom.cohort import simulate_cohort

    if site not in ("A", "B"):
        raise PhantomError(f"--site must be A or B, got {site!r}.")
    if out.exists() and not out.is_dir():
        raise PhantomError(f"OUT must be a folder, got the file {out}.")
    # Those that this process may use: of a cluster's node its job has only some.
    cores = cores or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    simulate_cohort(out, n_patients=patients, seed=seed, site=site, matrix=matrix, with_scans=scans, n_processes=cores)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(context_settings={"help_option_names": ["-h", "--help"]})(simulate)
    try:
        app(prog_name="python -m ich_phantom")
    except InputError as error:
        typer.echo(f"ich_phantom: {error}", err=True)
        sys.exit(2)
