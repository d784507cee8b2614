"""One compressed 512 x 512 x 32 head CT to 128 x 128 slices on one core, beside the same steps in MONAI.

.venv/bin/python -m pip install --constraint constraints.txt --editable '.[bench]'
OMP_NUM_THREADS=1 .venv/bin/python benchmarks/preprocessing.py [--ct SCAN.nii.gz] [--rounds 15]
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from measuring import alternate, markdown, median_with_range
from threadpoolctl import threadpool_limits

from hepred_lib.imaging.preprocessing import SliceGrid, prepare
from hepred_lib.imaging.scans import read_scan
from hepred_lib.imaging.slices import HU_OFFSET, encode
from ich_phantom.cohort import simulate_cohort

MATRIX, FIELD_MM = 128, 200.0
SEED = 1  # its first patient has 32 slices of 5 mm
MONAI, OURS, WHOLE = "MONAI, those steps", "ours, those steps", "ours, whole: brain, quality"


def monai_chain():
    """Read, turn to RAS+, resample in plane, cut the field around the middle, clip to the stored range."""
    from monai import transforms as t

    pixel = FIELD_MM / MATRIX
    return t.Compose(
        [
            t.LoadImage(image_only=True, ensure_channel_first=True),
            t.Orientation("RAS"),
            t.Spacing((pixel, pixel, -1.0), mode="bilinear"),
            t.ResizeWithPadOrCrop((MATRIX, MATRIX, -1)),
            t.ScaleIntensityRange(-HU_OFFSET, 255 - HU_OFFSET, 0, 255, clip=True),
            t.CastToType(np.uint8),
        ]
    )


def monai_area_chain():
    """The same with the resampling that keeps a mask's volume: the field is cut out first, then averaged by area."""
    from monai import transforms as t

    def cut(image):
        sides = [round(FIELD_MM / float(spacing)) for spacing in image.pixdim[:2]]
        return t.ResizeWithPadOrCrop((*sides, -1))(image)

    return t.Compose(
        [
            t.LoadImage(image_only=True, ensure_channel_first=True),
            t.Orientation("RAS"),
            cut,
            lambda image: t.Resize((MATRIX, MATRIX, image.shape[3]), mode="area")(image),
            t.ScaleIntensityRange(-HU_OFFSET, 255 - HU_OFFSET, 0, 255, clip=True),
            t.CastToType(np.uint8),
        ]
    )


def same_steps(path: Path) -> np.ndarray:
    """Our reading (with the header's checks) and area average on a field around the middle, as stored bytes."""
    scan = read_scan(path)
    start = tuple(n * mm / 2 - FIELD_MM / 2 for n, mm in zip(scan.hu.shape[:2], scan.spacing_mm[:2], strict=True))
    grid = SliceGrid(scan.hu.shape, scan.spacing_mm, start, FIELD_MM, MATRIX, 1)
    return np.clip(np.rint(grid.to_slices(scan.hu)) + HU_OFFSET, 0, 255).astype(np.uint8)


def whole(path: Path) -> np.ndarray:
    """All that a study does with a scan: the field is centred on the brain, which is told from skull and skin."""
    scan = read_scan(path)
    return encode(prepare(scan.hu, scan.spacing_mm, matrix=MATRIX, field_mm=FIELD_MM))


def compare(path: Path, rounds: int) -> pd.DataFrame:
    """Processor time of each work, and of the peer's over it, round by round."""
    chain, area = monai_chain(), monai_area_chain()
    works = {
        "nibabel, reading alone": lambda: np.asanyarray(nib.load(path).dataobj),
        MONAI: lambda: chain(path),
        "MONAI, those steps, by area": lambda: area(path),
        OURS: lambda: same_steps(path),
        WHOLE: lambda: whole(path),
    }
    taken = alternate(works, rounds, cpu=True)
    rows = [
        {"work": name, "ms": median_with_range(1e3 * taken[name], 0), "MONAI / this": ratio(taken, name)}
        for name in works
    ]
    return pd.DataFrame(rows)


def ratio(taken: pd.DataFrame, name: str) -> str:
    """Paired by round."""
    return "1" if name == MONAI else median_with_range(taken[MONAI] / taken[name])


def main() -> None:
    """One table, of a simulated scan or of the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ct", type=Path, help="a compressed NIfTI; default: a simulated one")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # MONAI's own about its dependencies
    torch.set_num_threads(1)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        path = options.ct
        if path is None:
            simulate_cohort(Path(folder), n_patients=1, seed=SEED, matrix=512, n_processes=1)
            path = next(Path(folder, "scans").glob("*-00001_baseline_ct.nii.gz"))
        shape = " x ".join(map(str, nib.load(path).shape))
        print(f"{path.name}, {shape}, {path.stat().st_size / 1e6:.1f} MB; processor time of one core, median (range)\n")
        print(markdown(compare(path, options.rounds)))


if __name__ == "__main__":
    main()
