"""What networks outline on a manifest's scans, which they have never seen: Dice by scan, false outlines by slice.

.venv/bin/python benchmarks/outlines.py MANIFEST NETWORK.safetensors [NETWORK.safetensors ...]

Several networks are read as one, by their mean probability. ``hepred external`` says the same of a finished study; this
needs the weights alone, for example those of ``skill.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import markdown

from hepred_lib.cohort.manifest import read_manifest
from hepred_lib.imaging.slices import POSITIVE_SLICE_MM2
from hepred_lib.multitask.network import load_network
from hepred_lib.multitask.prediction import Reader, outline_agreement, read_with, slice_calls
from hepred_lib.progress import progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("networks", type=Path, nargs="+")
    parser.add_argument("--matrix", type=int, default=128)
    given = parser.parse_args()
    networks = tuple(load_network(path) for path in given.networks)
    scales = pd.DataFrame({"mean": 0.0, "sd": 1.0}, index=range(len(networks)))
    reader = Reader(networks, scales, {"matrix": given.matrix})
    agreement, calls = [], []
    for row in progress(read_manifest(given.manifest).to_dict("records"), desc="read", unit="scan"):
        reading, reference = read_with(reader, row)
        agreement += [outline_agreement(reading, reference)] if reference is not None else []
        calls.append(slice_calls(reading))
    table, slices = pd.DataFrame(agreement), pd.concat(calls)
    free, bloody = (slices[slices["blood"] == label] for label in (0, 1))
    print(markdown(table.drop(columns=["ivh_dice", "reference_ivh_ml"]).sort_values("dice").round(2)))
    print(
        f"\n{len(table)} scans, {len(networks)} networks: median Dice {table['dice'].median():.3f} (quartiles "
        f"{table['dice'].quantile(0.25):.3f}-{table['dice'].quantile(0.75):.3f}), HD95 {table['hd95_mm'].median():.1f} "
        f"mm. Blood outlined (>= {POSITIVE_SLICE_MM2:g} mm2) on {100 * share(free):.2f} % of {len(free)} blood-free "
        f"slices and on {100 * share(bloody):.1f} % of {len(bloody)} with blood."
    )


def share(slices: pd.DataFrame) -> float:
    """Share of slices on which at least 20 mm2 are outlined."""
    return float(np.mean(slices["predicted_mm2"] >= POSITIVE_SLICE_MM2))


if __name__ == "__main__":
    main()
