"""The results section of the README, from the demo study's own results.json: no number is typed in by hand.

.venv/bin/python benchmarks/readme_results.py
"""

from __future__ import annotations

import pandas as pd

from hepred_lib.results import MODELS, performance_table
from hepred_lib.study import PROJECT, read_json

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def section(results: dict) -> str:
    """The section as Markdown."""
    n, judged = results["n"], {name: results["models"][name] for name in MODELS}
    table = performance_table(judged).assign(oracle=[f"{results['oracle'][f'{name}_auc']:.2f}" for name in MODELS])
    table = table.rename(columns={"auc": "AUC", "calibration_slope": "calibration slope", "oracle": "oracle's AUC"})
    low, high = results["detection"]["auc_ci"]
    quartiles = "-".join(f"{value:.2f}" for value in results["segmentation"]["dice_iqr"])
    return "\n".join(
        [
            f"**Simulated patients**: the demo study's test set, {n['test']} patients, {n['he_test']} with HE "
            f"(`runs/{results['study']}/results.json`; 95 % intervals; rates in per cent, at thresholds chosen on "
            "development patients). With so few events every interval is wide, and calibration can hardly be assessed.",
            "",
            markdown(table),
            "",
            f"Calling nobody positive is right in {100 * results['models']['null']['accuracy']:.1f} %. Blood is found "
            f"by slice with an AUC of {results['detection']['auc']:.3f} ({low:.3f}-{high:.3f}); the median Dice of the "
            f"outline is {results['segmentation']['dice_median']:.2f} (quartiles {quartiles}). The *oracle* is the "
            "simulation's own probability: what could be known at best.",
        ]
    )


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown."""
    rows = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    path = PROJECT / "README.md"
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    content = section(read_json(PROJECT / "runs" / "demo" / "results.json"))
    path.write_text(f"{before}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}", encoding="utf-8")
