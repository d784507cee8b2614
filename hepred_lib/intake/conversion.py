"""One series to one NIfTI file, by dcm2niix: a tilted gantry sheared back, uneven slices made even.

Only voxels and their places are kept: no name, date or number of the patient enters the file. A face can still be
seen in it. Forms and sizes are true; the origin of a tilted scan is dcm2niix's, and may lie some cm off the table's.

References
----------
Li X et al. The first step for neuroimaging data analysis: DICOM to NIfTI conversion. J Neurosci Methods 2016;264:47-56.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import dcm2niix
import numpy as np

from hepred_lib.intake.series import Series
from hepred_lib.scans import Scan, ScanError, read_scan, write_nifti

LONGEST_S = 600


def convert_series(series: Series, path: Path) -> Scan:
    """Write a series as NIfTI (int16 HU, RAS+ order) and return what was read back of the conversion.

    Raises
    ------
    ScanError
        In one sentence with the series named: no volume came out, or one that is no head CT in Hounsfield units.
    """
    name = f"series {series.number} ({len(series.files)} files, the first {series.files[0]})"
    with tempfile.TemporaryDirectory() as place:
        images, out = Path(place) / "dicom", Path(place) / "nifti"
        images.mkdir()
        out.mkdir()
        for number, file in enumerate(series.files):
            shutil.copyfile(file, images / f"{number:05d}.dcm")
        command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "scan", "-o", str(out), str(images)]
        try:
            said = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LONGEST_S)
        except subprocess.TimeoutExpired as error:
            raise ScanError(f"{name} must be converted within {LONGEST_S} s by dcm2niix, got no volume.") from error
        volumes = sorted(out.glob("*.nii"), key=_preference)
        if not volumes:
            lines = [line for line in (said.stdout + said.stderr).splitlines() if "rror" in line or "arning" in line]
            reason = " ".join(lines[-2:]) or "unsaid"
            for number, file in enumerate(series.files):
                reason = reason.replace(str(images / f"{number:05d}.dcm"), str(file))
            raise ScanError(f"{name} must be converted by dcm2niix, got no volume: {reason}.")
        try:
            scan = read_scan(volumes[0])
        except ScanError as error:
            raise ScanError(f"{name}, converted: {str(error).replace(str(volumes[0]), 'it')}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, np.clip(scan.hu, -32768, 32767), scan.affine, dtype=np.int16)
    return scan


def _preference(volume: Path) -> tuple:
    """Corrected for tilt, then for uneven slices, then the largest: a series may hold an overview too."""
    return "_Tilt" not in volume.name, "_Eq" not in volume.name, -volume.stat().st_size, volume.name
