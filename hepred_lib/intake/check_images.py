"""What is wrong with the scans and masks of one patient, each file read once.

One patient is one call, and what it returns is small: a process can read patients one after the other, in constant
memory. Scans are compared between patients by their *content*, two digests: one of the voxels in their order, and one
of their histogram, which a mirrored copy shares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hepred_lib.imaging.head import cut_ends
from hepred_lib.imaging.masks import mask_faults
from hepred_lib.imaging.nifti import read_nifti
from hepred_lib.preprocessing import Head, bone_threshold, find_head
from hepred_lib.scans import Scan, ScanError, read_mask, read_scan
from hepred_lib.volume import mask_volume_ml

VOLUME_TOLERANCE = 0.25  # outlines and printed volumes come from different readings
MOMENTS = ("baseline", "followup")
MASKS = (("mask", "volume_ml"), ("ivh_mask", "ivh_ml"))
OVERLAP = 0.5  # of the ventricular mask; edges of two outlines meet, but do not cover each other
HISTOGRAM_HU = (-1100, 3100)
IVH_ML = 1.0  # of ventricular blood that a reader does not overlook


@dataclass(frozen=True)
class Fault:
    """What is wrong with one cell of a patient's row, in the words of ``Problem``."""

    column: str
    rule: str
    value: str
    severity: str = "refuse"
    remedy: str = ""


@dataclass
class Images:
    """What the images of one patient gave.

    Attributes
    ----------
    faults : list of Fault
    contents : dict of str to (bytes, bytes)
        Of every scan that could be read, by its column: the digests of its voxels and of its histogram.
    volumes_ml : dict of str to float
        Of every mask that could be read, by its column.
    """

    faults: list[Fault] = field(default_factory=list)
    contents: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    volumes_ml: dict[str, float] = field(default_factory=dict)


def read_images(row: Mapping[str, Any]) -> Images:
    """Read and judge the scans and masks of one row of the manifest (absolute paths); never raises for its files."""
    images, masks = Images(), {}
    for moment in MOMENTS:
        try:
            images.faults += _moment_faults(row, moment, images, masks)
        except Exception as error:  # one patient's file, however broken, must not hide the other patients' faults
            reason = " ".join(str(error).split()) or "no reason given"
            value = f"{type(error).__name__}: {reason}"
            images.faults.append(
                Fault(f"{moment}_ct", "be a scan that can be judged", value, "refuse", REMEDIES["read"])
            )
    images.faults = [*_without_swapped(images, row), *_pair_faults(images, row, masks)]
    return images


REMEDIES = {
    "read": "Export or convert the scan again, and look at it in a viewer.",
    "header": "Nothing has to be done; write the scan anew to be rid of this warning.",
    "cut": "Look whether the hematoma is whole; use another series if there is one.",
    "mask": "Draw or export the mask again on this very scan.",
    "scan": "Add the scan, or remove its mask.",
    "volume": "Correct the printed volume or the mask; leave the volume empty to use that of the mask.",
    "twice": "Give every patient and moment its own scan.",
    "swapped": "Look which scan came first, and exchange the files or the two volumes.",
}


def content(hu: np.ndarray) -> tuple[bytes, bytes]:
    """Digests of a scan's voxels, in whole HU and canonical order, and of their histogram."""
    whole = np.rint(hu.T).astype(np.int32)  # (z, y, x): contiguous
    low, high = HISTOGRAM_HU
    counts = np.bincount(np.clip(whole, low, high).ravel() - low)
    shape = str(whole.shape).encode()
    ordered = hashlib.sha256(shape + np.ascontiguousarray(whole, dtype=np.int16).tobytes())
    return ordered.digest(), hashlib.sha256(str(sorted(whole.shape)).encode() + counts.tobytes()).digest()


def same_but_turned(first: Path, second: Path) -> bool:
    """Whether two scans have the same voxels but for mirrored or exchanged axes."""
    try:
        a, b = (np.rint(read_scan(path).hu) for path in (first, second))
    except ScanError:
        return False
    for axes in permutations(range(3)):
        turned = b.transpose(axes)
        if turned.shape == a.shape and any(
            np.array_equal(a, turned[tuple(slice(None, None, step) for step in steps)])
            for steps in product((1, -1), repeat=3)
        ):
            return True
    return False


def given(row: Mapping[str, Any], column: str) -> bool:
    """Whether a cell of a row has a value."""
    return column in row and not pd.isna(row[column])


def _moment_faults(row: Mapping, moment: str, images: Images, masks: dict[str, bytes]) -> Iterator[Fault]:
    """Faults of one moment's scan and masks."""
    column = f"{moment}_ct"
    if not given(row, column):
        for mask, _ in MASKS:
            if given(row, f"{moment}_{mask}"):
                yield Fault(column, f"be given beside {moment}_{mask}", "nothing", "refuse", REMEDIES["scan"])
        return
    path = Path(row[column])
    if not path.is_file():
        return  # a fault of the manifest, found before
    scan, head, faults = _judged(column, path)
    yield from faults
    if scan is None:
        return
    images.contents[column] = content(scan.hu)
    read: dict[str, np.ndarray] = {}
    for mask, volume in MASKS:
        yield from _mask_faults(row, (f"{moment}_{mask}", f"{moment}_{volume}"), scan, read, head)
    for name, voxels in read.items():
        images.volumes_ml[name] = mask_volume_ml(voxels, scan.affine)
        if voxels.any():
            masks[name] = hashlib.sha256(np.packbits(voxels).tobytes()).digest()
    yield from _ventricular_faults(row, moment, read, images)


def _judged(column: str, path: Path) -> tuple[Scan | None, Head | None, list[Fault]]:
    """A scan and its head, as far as they can be had, and what is wrong with them."""
    scan = None
    try:
        scan = read_scan(path)
        head = find_head(scan.hu, scan.spacing_mm, name=str(path))
    except ScanError as error:
        return scan, None, [_refused(column, error, path)]
    rule, remedy = "have an undamaged header", REMEDIES["header"]
    noted = [Fault(column, rule, f"{note} in {path.name}", "warn", remedy) for note in scan.notes]
    return scan, head, [*noted, *_cut_faults(column, head, path)]


def _cut_faults(column: str, head: Head, path: Path) -> Iterator[Fault]:
    """Warnings for a head that goes on beyond the scan: a part of the hematoma may be missing."""
    base, vertex = cut_ends(head.brain)
    for cut, words, which in ((base, "down to the skull base", "first"), (vertex, "up to the vertex", "last")):
        if cut:
            value = f"brain in the {which} slice of {path.name}"
            yield Fault(column, f"show the brain {words}", value, "warn", REMEDIES["cut"])


def _mask_faults(
    row: Mapping, columns: tuple[str, str], scan: Scan, read: dict[str, np.ndarray], head: Head | None
) -> Iterator[Fault]:
    mask, volume = columns
    if not given(row, mask) or not Path(row[mask]).is_file():
        return
    try:
        read[mask] = read_mask(row[mask], scan)
    except ScanError as error:
        fault = _refused(mask, error, Path(row[mask]))
        yield _on_the_other_grid(row, fault) or fault
        return
    brain_hu, bone_hu = (np.nan, bone_threshold(scan.hu)) if head is None else (head.brain_hu, head.bone_hu)
    found = mask_faults(
        read[mask], scan.hu, scan.spacing_mm, brain_hu=brain_hu, bone_hu=bone_hu, ventricular="ivh" in mask
    )
    for fault in found:
        yield Fault(mask, fault.rule, f"{fault.value} in {Path(row[mask]).name}", fault.severity, fault.remedy)
    measured = mask_volume_ml(read[mask], scan.affine)
    if given(row, volume) and _far(row[volume], measured):
        rule = f"lie within {VOLUME_TOLERANCE:.0%} of the {measured:.2f} mL of {mask}"
        yield Fault(volume, rule, f"{row[volume]:g}", "refuse", REMEDIES["volume"])


def _far(printed: float, measured: float) -> bool:
    return abs(printed - measured) > VOLUME_TOLERANCE * measured


def _on_the_other_grid(row: Mapping, fault: Fault) -> Fault | None:
    """The fault of a mask that does not fit its own scan, but does fit the other moment's."""
    moment, _, kind = fault.column.partition("_")
    other = MOMENTS[1 - MOMENTS.index(moment)]
    own_ct, other_ct = (row.get(f"{name}_ct") for name in (moment, other))
    if not given(row, f"{other}_ct") or not Path(other_ct).is_file():
        return None
    try:
        mask, own, others = (_grid(Path(path)) for path in (row[fault.column], own_ct, other_ct))
    except Exception:  # whatever the file does to its reader: the mask's own fault is reported as it is
        return None

    def fits(scan: tuple[tuple[int, ...], np.ndarray]) -> bool:
        return mask[0] == scan[0] and np.allclose(mask[1], scan[1], atol=1e-2)

    if fits(own) or not fits(others):
        return None
    rule, value = f"lie on the grid of {moment}_ct", f"that of {other}_ct"
    return Fault(fault.column, rule, value, "refuse", f"Exchange {moment}_{kind} and {other}_{kind}, or the scans.")


def _grid(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of an image, in its own order of axes."""
    with path.open("rb") as stream:
        stored = read_nifti(stream, path.stat().st_size)
    return stored.voxels.shape, stored.affine


def _ventricular_faults(row: Mapping, moment: str, read: Mapping[str, np.ndarray], images: Images) -> Iterator[Fault]:
    """Blood in the ventricles that is counted twice, or that the reading denies."""
    blood, ivh = read.get(f"{moment}_mask"), read.get(f"{moment}_ivh_mask")
    if ivh is None or not ivh.any():
        return
    if blood is not None:
        share = np.count_nonzero(blood & ivh) / np.count_nonzero(ivh)
        if share > OVERLAP:
            rule, value = f"not overlap {moment}_mask", f"{share:.0%} of it inside"
            remedy = "Blood in the ventricles belongs to the second mask only: take it out of the first."
            yield Fault(f"{moment}_ivh_mask", rule, value, "refuse", remedy)
    volume = images.volumes_ml[f"{moment}_ivh_mask"]
    if moment == "baseline" and given(row, "ivh") and row["ivh"] == 0 and volume >= IVH_ML:
        rule, remedy = f"be 1 with the {volume:.1f} mL of baseline_ivh_mask", "Correct the reading or the mask."
        yield Fault("ivh", rule, "0", "warn", remedy)


def _without_swapped(images: Images, row: Mapping) -> list[Fault]:
    """The faults; two volumes that each fit the other moment's mask become one fault."""
    columns = [f"{moment}_volume_ml" for moment in MOMENTS]
    measured = [images.volumes_ml.get(f"{moment}_mask") for moment in MOMENTS]
    wrong = [fault for fault in images.faults if fault.column in columns]
    if len(wrong) < 2 or None in measured:
        return images.faults
    if _far(row[columns[0]], measured[1]) or _far(row[columns[1]], measured[0]):
        return images.faults
    value = " and ".join(f"{row[column]:g}" for column in columns) + " mL, each that of the other mask"
    rule = f"fit baseline_mask ({measured[0]:.2f} mL), and followup_volume_ml fit followup_mask ({measured[1]:.2f} mL)"
    fault = Fault(columns[0], rule, value, "refuse", REMEDIES["swapped"])
    return [fault if known is wrong[0] else known for known in images.faults if known is not wrong[1]]


def _pair_faults(images: Images, row: Mapping, masks: Mapping[str, bytes]) -> Iterator[Fault]:
    """One outline for both moments: it was copied, or one of them was never drawn."""
    for kind, _ in MASKS:
        first, second = (masks.get(f"{moment}_{kind}") for moment in MOMENTS)
        same_scan = len({voxels for voxels, _ in images.contents.values()}) < len(images.contents)
        if first is not None and first == second and not same_scan and _two_files(row, kind):
            rule, value = f"be another outline than baseline_{kind}", "the same voxels"
            yield Fault(f"followup_{kind}", rule, value, "warn", "Draw the follow-up's mask on the follow-up scan.")


def _two_files(row: Mapping, kind: str) -> bool:
    return row[f"baseline_{kind}"] != row[f"followup_{kind}"]


def _refused(column: str, error: ScanError, path: Path) -> Fault:
    """The parts of "PATH must RULE, got VALUE: REMEDY."; without a remedy of its own there is a general one."""
    rule, _, value = str(error).removeprefix(f"{path} must ").removesuffix(".").partition(", got ")
    value, _, own = value.partition(": ")
    general = REMEDIES["mask"] if column.endswith("mask") else REMEDIES["read"]
    cause = f"{own[0].upper()}{own[1:]}." if own else ""
    remedy = general if not own else f"{cause} {general}" if own.endswith("wrong") else cause
    return Fault(column, rule, f"{value} in {path.name}", "refuse", remedy)
