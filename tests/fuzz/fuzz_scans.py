"""Damage a tiny scan and a mask in many ways and read them: only ScanError may come out, quickly and in little memory.

    python tests/fuzz/fuzz_scans.py --count 100000 --seed 0

prints how many were read and refused, the slowest one and the memory. A mutation that fails is kept in --keep.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import resource
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np

from hepred_lib.imaging.masks import mask_faults
from hepred_lib.preprocessing import find_head
from hepred_lib.scans import Scan, ScanError, read_mask, read_scan

INTERESTING = [0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1]
FLOATS = [0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, float("nan"), float("inf"), float("-inf"), 0.9, 348.0]
SLOW_S, HEAVY_KB = 2.0, 1_000_000


def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, mask and affine of a head in 12 x 14 x 8 voxels."""
    x, y, z = np.indices((12, 14, 8))
    radius = np.sqrt((x - 5.5) ** 2 + (y - 6.5) ** 2 + (1.5 * (z - 3.5)) ** 2)
    hu = np.select([radius < 4.6, radius < 6.0], [35, 1000], -1000).astype(np.int16)
    mask = np.zeros(hu.shape, dtype=np.uint8)
    mask[6:8, 6:8, 3:5] = 1
    hu[mask > 0] = 65
    affine = np.diag([14.0, 14.0, 14.0, 1.0])
    affine[:3, 3] = -80.0, -90.0, -50.0
    return hu, mask, affine


def whole_files(array: np.ndarray, affine: np.ndarray) -> list[bytes]:
    """One image in several valid forms."""
    forms = []
    for kind, dtype in ((nib.Nifti1Image, array.dtype), (nib.Nifti2Image, np.float32), (nib.Nifti1Image, ">i4")):
        image = kind(array.astype(dtype), affine)
        image.set_qform(affine, code=1)
        image.set_sform(affine, code=1)
        forms.append(image.to_bytes())
    scaled = nib.Nifti1Image(array.astype(np.int16), affine)
    scaled.header.set_slope_inter(1.0, 0.0)
    return [*forms, scaled.to_bytes()]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four mutations of a file's bytes, then perhaps compressed, and the compressed bytes damaged."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        MUTATIONS[rng.integers(len(MUTATIONS))](changed, rng)
    if rng.random() < 0.5:
        return bytes(changed)
    packed = bytearray(gzip.compress(bytes(changed), 1, mtime=0))
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            MUTATIONS[rng.integers(len(MUTATIONS))](packed, rng)
    return bytes(packed)


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    if data:
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def _byte(data: bytearray, rng: np.random.Generator) -> None:
    if data:
        data[rng.integers(len(data))] = int(rng.integers(256))


def _header_byte(data: bytearray, rng: np.random.Generator) -> None:
    if len(data) > 348:
        data[rng.integers(348)] = int(rng.integers(256))


def _header_number(data: bytearray, rng: np.random.Generator) -> None:
    """A number that programs stumble over, in the place of one of the header's."""
    form = "<>"[rng.integers(2)] + "hiq"[rng.integers(3)]
    value = INTERESTING[rng.integers(len(INTERESTING))] * int(rng.choice([-1, 1]))
    place = 2 * int(rng.integers(174))
    size = struct.calcsize(form)
    if place + size <= len(data):
        data[place : place + size] = (value % 2 ** (8 * size)).to_bytes(size, "little" if form[0] == "<" else "big")


def _header_float(data: bytearray, rng: np.random.Generator) -> None:
    place = 4 * int(rng.integers(10, 87))
    if place + 4 <= len(data):
        data[place : place + 4] = struct.pack("<f", FLOATS[rng.integers(len(FLOATS))])


def _shape(data: bytearray, rng: np.random.Generator) -> None:
    if len(data) >= 56:
        place = 40 + 2 * int(rng.integers(8))
        data[place : place + 2] = struct.pack("<H", INTERESTING[rng.integers(11)])


def _truncate(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data) + 1)) :]


def _append(data: bytearray, rng: np.random.Generator) -> None:
    data.extend(bytes(int(rng.integers(1, 600))) if rng.random() < 0.5 else rng.bytes(int(rng.integers(1, 600))))


def _cut_out(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data) + 1))
    del data[start : start + int(rng.integers(1, 64))]


def _repeat(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data) + 1))
    data[start:start] = data[start : start + int(rng.integers(1, 64))]


def _replace(data: bytearray, rng: np.random.Generator) -> None:
    """The beginning of another kind of file."""
    others = (
        b"DICM",
        b"\x1f\x8b\x08\x00",
        b"PK\x03\x04",
        b"<html>",
        b"NRRD0004\n",
        b"version https://git-lfs",
        b"ni1\0",
    )
    other = others[rng.integers(len(others))]
    place = int(rng.choice([0, 128, 344]))
    data[place : place + len(other)] = other


def _voxels(data: bytearray, rng: np.random.Generator) -> None:
    if len(data) > 360:
        start = int(rng.integers(352, len(data)))
        data[start : start + 200] = rng.bytes(min(200, len(data) - start))


def _bomb(data: bytearray, rng: np.random.Generator) -> None:
    """Many more zeros than the header's shape needs."""
    if rng.random() < 0.02:
        data.extend(bytes(4_000_000))


def _wrap(data: bytearray, rng: np.random.Generator) -> None:
    if rng.random() < 0.1:
        pack = (gzip.compress, bz2.compress, zlib.compress)[rng.integers(3)]
        data[:] = pack(bytes(data))


MUTATIONS = (
    *(_flip, _byte, _header_byte, _header_byte, _header_number, _header_number, _header_float, _header_float),
    *(_shape, _truncate, _append, _cut_out, _repeat, _replace, _voxels, _bomb, _wrap),
)


def attempt(path: Path, scan: Scan | None, number: int = 0) -> str:
    """What came of one damaged file, in every twentieth with a search for the head; only a ScanError is no failure."""
    try:
        if scan is not None:
            mask = read_mask(path, scan)
            mask_faults(mask, scan.hu, scan.spacing_mm, brain_hu=35.0, bone_hu=150.0)
            return "mask read"
        read = read_scan(path)
        assert np.isfinite(read.hu).all()
        if number % 20 == 0 and read.hu.size < 100_000:
            find_head(read.hu, read.spacing_mm)
        return "scan read"
    except ScanError as error:
        words = str(error)
    if "\n" in words or not words.startswith((str(path), "the scan")):
        raise RuntimeError(f"not one line about the file: {words}")
    return f"{'mask' if scan is not None else 'scan'} refused"


def fuzz(count: int, seed: int, folder: Path, keep: Path | None = None) -> tuple[Counter, float]:
    """Read ``count`` damaged files; the outcomes and the seconds that the slowest took."""
    rng = np.random.default_rng(seed)
    hu, mask, affine = head()
    (folder / "whole.nii").write_bytes(whole_files(hu, affine)[0])
    scan, path = read_scan(folder / "whole.nii"), folder / "damaged.nii.gz"
    scans, masks = whole_files(hu, affine), whole_files(mask, affine)
    outcomes, slowest = Counter(), 0.0
    for number in range(count):
        of_mask = rng.random() < 0.3
        data = damaged((masks if of_mask else scans)[rng.integers(4)], rng)
        path.write_bytes(data)
        start = time.perf_counter()
        try:
            outcome = attempt(path, scan if of_mask else None, number)
        except Exception:
            if keep:
                keep.write_bytes(data)
            raise
        slowest = max(slowest, time.perf_counter() - start)
        outcomes[outcome] += 1
    return outcomes, slowest


def main() -> None:
    """Run from the command line; status 1 where one mutation was slow or heavy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None)
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcomes, slowest = fuzz(arguments.count, arguments.seed, Path(folder), arguments.keep)
    seconds = time.perf_counter() - start
    memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(
        f"{arguments.count} mutations in {seconds:.0f} s ({arguments.count / seconds:.0f}/s): {dict(outcomes)}\n"
    )
    sys.stdout.write(f"slowest {slowest * 1000:.0f} ms, largest memory {memory_kb / 1024:.0f} MB\n")
    sys.exit(slowest > SLOW_S or memory_kb > HEAVY_KB)


if __name__ == "__main__":
    main()
