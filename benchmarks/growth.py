"""Processor time and memory of each step as a cohort grows: tables, the check, chapters, figures, reports, scans.

.venv/bin/python benchmarks/growth.py [--tables 500 5000 50000] [--scans 50 250 1000]

Tables are simulated. Of scans 25 are simulated, the others are hard links to them. A step's exponent is that of its
processor time from the size before to its own: 1 where twice the patients take twice the time.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from measuring import markdown

DISTINCT = 25
STUDY = """study: {name}
manifest: cohorts/{name}/manifest.csv
seed: 3
image_source: {source}
folds: 2
threads: {{02_preprocessing: 1, 03_multitask_training: 1}}
parameters:
  03_multitask_training: {{epochs: 1}}
"""
TABLES = ("01_cohort", "05_clinical_to_he", "07_roc_calibration_figures")


def measured(root: Path, *words: str) -> tuple[float, float]:
    """Processor seconds of a command and all that it starts, and the memory of the largest of these processes, MB."""
    command = [sys.executable, "-m", "hepred_lib.cli", *words]
    process = subprocess.Popen(
        command, cwd=root, stdout=subprocess.DEVNULL, env={**os.environ, "HEPRED_ROOT": str(root)}
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def grow_scans(cohort: Path, number: int) -> None:
    """Let a cohort of few patients have as many as asked for, whose scans are links to those of the few."""
    few = pd.read_csv(cohort / "manifest.csv", dtype=str)
    paths = [
        name for name in few if name.startswith(("baseline_", "followup_")) and few[name].str.endswith(".nii.gz").any()
    ]
    rows = []
    for k in range(number):
        row = few.iloc[k % len(few)].copy()
        row["patient_id"] = f"L{k:06d}"
        for name in paths:
            if isinstance(row[name], str):
                link = f"scans/L{k:06d}_{name}.nii.gz"
                os.link(cohort / row[name], cohort / link)
                row[name] = link
        rows.append(row)
    pd.DataFrame(rows).to_csv(cohort / "manifest.csv", index=False)


def steps(root: Path, number: int, *, scans: bool) -> dict[str, tuple[float, float]]:
    """What each step takes at this size."""
    name = f"{'scans' if scans else 'tables'}{number}"
    (root / "studies").mkdir(exist_ok=True)
    (root / "studies" / f"{name}.yaml").write_text(STUDY.format(name=name, source="scans" if scans else "none"))
    cohort, study = f"cohorts/{name}", f"studies/{name}.yaml"
    size = ["--patients", str(DISTINCT), "--matrix", "256"] if scans else ["--patients", str(number), "--no-scans"]
    taken = {"simulate": measured(root, "simulate", cohort, *size, "--seed", "31")}
    if scans:
        taken = {}
        grow_scans(root / cohort, number)
    if not scans:  # the check refuses patients who share a scan
        taken["check"] = measured(root, "check", f"{cohort}/manifest.csv")
    for notebook in ("01_cohort", "02_preprocessing") if scans else TABLES:
        taken[notebook] = measured(root, "notebook", study, notebook)
    if scans:
        taken["03, one epoch"] = measured(root, "notebook", study, "03_multitask_training", "--fold", "0")
    else:
        for command in ("figures", "report"):
            taken[command] = measured(root, command, f"runs/{name}")
    return taken


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, nargs="*", default=[500, 5000, 50000])
    parser.add_argument("--scans", type=int, nargs="*", default=[50, 250, 1000])
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for scans, sizes in ((False, options.tables), (True, options.scans)):
            before: dict[str, tuple[int, float]] = {}
            for number in sizes:
                for step, (seconds, peak_mb) in steps(Path(folder), number, scans=scans).items():
                    earlier, then = before.get(step, (0, 0.0))
                    exponent = math.log(seconds / then) / math.log(number / earlier) if earlier else math.nan
                    row = {"input": "scans" if scans else "tables", "patients": f"{number:,}", "step": step}
                    row |= {"processor s": f"{seconds:.1f}", "ms a patient": f"{1e3 * seconds / number:.1f}"}
                    rows.append(row | {"exponent": f"{exponent:.2f}" if earlier else "", "peak MB": f"{peak_mb:.0f}"})
                    before[step] = number, seconds
                    print(*rows[-1].values(), file=sys.stderr, flush=True)
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
