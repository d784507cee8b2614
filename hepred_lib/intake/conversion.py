"""The pixels of DICOM images, one series to one NIfTI file, and the comparison of that with what the headers said.

Slices are put in order of position, whatever their files are called and numbered. Where they lie straight above each
other the volume is their own values, evenly spaced or interpolated to even spacing. A tilted gantry is corrected by
dcm2niix, which also decodes the JPEG family; it sees copies made here, which hold pixels and geometry and nothing of
the patient. Only voxels and their places are kept. Forms and sizes are true; the origin of a tilted scan is
dcm2niix's, and may lie some cm off the table's.

References
----------
Li X et al. The first step for neuroimaging data analysis: DICOM to NIfTI conversion. J Neurosci Methods 2016;264:47-56.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import ArrayLike
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from scipy.ndimage import distance_transform_edt

from hepred_lib.errors import ScanError
from hepred_lib.imaging.preprocessing import BrainSlices, prepare
from hepred_lib.imaging.scans import SHEAR, Scan, read_scan, write_nifti
from hepred_lib.intake.pixels import PixelError, Stored, read_stored
from hepred_lib.intake.series import REGULAR, SAME_MM, Series, is_even

LONGEST_S = 600
STRAIGHT_MM = 2.0  # how far slices may lie beside the line on which they are stacked
SPACING = 0.01  # relative difference between the volume's spacing and the headers'
ALIGNED = 0.999  # cosine: 2.6 degrees
DRIFT_MM = 3.0  # median over slices, of the head's middle: half of what 2 degrees of tilt do over a head
EXACT = 1e-4  # of a gap: a slice so near to a plane of the volume is that plane
USUAL_GAP = 0.1  # quantile of the gaps of uneven slices that the volume gets
TISSUE_HU, LARGE = -400.0, 0.2  # what is no air; share of the largest section
_INT16 = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}
_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class _Slices:
    """The slices of a series and where they lie (LPS mm).

    ``hu`` is int16 (slices, rows, columns), in order of position; ``axes`` are the directions along a row, along a
    column and across; ``pixel_mm`` the distances between columns and between rows; ``places`` those along the normal
    from the first slice; ``slope`` the drift along a column per mm.
    """

    hu: np.ndarray
    axes: np.ndarray
    corners: np.ndarray
    pixel_mm: tuple[float, float]
    places: np.ndarray
    slope: float

    @property
    def even_places(self) -> np.ndarray:
        """The places themselves, made exact; where slices are uneven, those of the volume that is made of them.

        Its gap is the usual smallest one, or half of it where all slices then lie in a plane of the volume.
        """
        extent, count = self.places[-1], len(self.places)
        if not is_even(self.places):
            usual = np.quantile(np.diff(self.places), USUAL_GAP, method="lower")
            off = {gap: np.abs(self.places / gap - np.rint(self.places / gap)).max() for gap in (usual, usual / 2)}
            gap = next((gap for gap, apart in off.items() if apart <= REGULAR), usual)
            count = max(round(extent / gap), 1) + 1
        return np.linspace(0.0, extent, count)


def convert_series(series: Series, path: Path, *, workplace: Path) -> Scan:
    """Write a series as NIfTI (int16 HU, RAS+ order) and return what was read back of the conversion.

    Parameters
    ----------
    series : Series
    path : Path
        Written whole or not at all.
    workplace : Path
        A folder for temporary files, which hold the patient's pixels.

    Raises
    ------
    ScanError
        In one sentence with the series named: an image cannot be read, no volume came out, one that is no head CT in
        Hounsfield units, or one that is not as the headers say.
    """
    try:
        with tempfile.TemporaryDirectory(dir=workplace) as place:
            slices = _slices(series, Path(place))
            tilted = abs(slices.slope) > SHEAR
            volume = (_corrected if tilted else _written)(slices, Path(place))
            try:
                scan = read_scan(volume)
            except ScanError as error:
                raise ScanError(f"give a usable volume: {str(error).replace(str(volume), 'it')}") from error
        _require_as_headers(scan, slices, tilted=tilted)
    except ScanError as error:
        name = f"series {series.number} ({len(series.files)} files, the first {series.files[0]})"
        raise ScanError(f"{name} must {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, np.clip(scan.hu, -32768, 32767), scan.affine, dtype=np.int16)
    return scan


def _slices(series: Series, place: Path) -> _Slices:
    """What the headers say of the slices' places, refused where no one volume has them, and their values."""
    if not series.places_mm or series.fault or any(image.pixel_mm is None for image in series.slices):
        raise ScanError(f"say where each slice lies and how large it is: {series.fault or 'no place'}.")
    turn = np.array(series.slices[0].turn)
    axes = np.array([turn[:3], turn[3:], np.cross(turn[:3], turn[3:])])
    down, right = np.array([image.pixel_mm for image in series.slices]).mean(axis=0)
    corners = np.array([image.corner for image in series.slices])
    away = (corners - corners[0]) @ axes.T
    places = away[:, 2]
    if len(places) < 2 or np.diff(places).min() < SAME_MM:
        raise ScanError(f"hold at least 2 slices at places of their own, got {len(places)} slices.")
    slopes = away[:, :2].T @ places / (places @ places)
    beside = np.abs(away[:, :2] - np.outer(places, slopes)).max()
    if beside > STRAIGHT_MM or abs(slopes[0]) > SHEAR:
        got = f"{max(beside, abs(slopes[0]) * places[-1]):.1f} mm beside"
        rule = f"slices above each other within {STRAIGHT_MM:g} mm, or tilted along their columns"
        raise ScanError(f"have {rule}, got {got}.")
    return _Slices(_hu(series, place), axes, corners, (float(right), float(down)), places, float(slopes[1]))


def _hu(series: Series, place: Path) -> np.ndarray:
    """Hounsfield units of every slice in order of position; int16, shape (slices, rows, columns)."""
    frames: dict[Path, list[int]] = {}
    for image in series.slices:
        frames.setdefault(image.path, []).append(image.frame)
    read: dict[tuple[Path, int], Stored] = {}
    faults = []
    for path, numbers in frames.items():
        try:
            read |= {(path, number): stored for number, stored in zip(numbers, read_stored(path, numbers), strict=True)}
        except PixelError as error:
            faults.append(f"{error} in {path}")
    if faults:
        raise ScanError(f"be whole, got {len(faults)} of {len(frames)} files that cannot be used: {faults[0]}.")
    images = [read[image.path, image.frame] for image in series.slices]
    unscaled = sum(image.rescale is None for image in images)
    if 0 < unscaled < len(images):
        raise ScanError(f"have a RescaleIntercept in every image, got none in {unscaled} of {len(images)}.")
    if len({(image.layout["Rows"], image.layout["Columns"]) for image in images}) > 1:
        raise ScanError("have one matrix, got several.")
    packed = [image for image in images if image.values is None]
    unpacked = iter(_decoded(packed, place) if packed else ())
    return np.array([image.hu(next(unpacked) if image.values is None else None) for image in images], dtype=np.int16)


def _written(slices: _Slices, place: Path) -> Path:
    """Slices straight above each other as NIfTI; between two slices linearly interpolated where they are uneven."""
    hu, places, even = slices.hu, slices.places, slices.even_places
    if len(even) != len(places) or not is_even(places):
        lower = np.clip(np.searchsorted(places, even, side="right") - 1, 0, len(places) - 2)
        share = ((even - places[lower]) / (places[lower + 1] - places[lower])).astype(np.float32)[:, None, None]
        hu = (1 - share) * hu[lower] + share * hu[lower + 1]
    affine = np.eye(4)
    affine[:3, :3] = _TO_RAS @ slices.axes.T * [*slices.pixel_mm, even[1]]
    affine[:3, 3] = _TO_RAS @ slices.corners[0]
    write_nifti(place / "scan.nii", hu.transpose(2, 1, 0), affine, dtype=np.int16)
    return place / "scan.nii"


def _corrected(slices: _Slices, place: Path) -> Path:
    """Slices of a tilted gantry as NIfTI, by dcm2niix from copies that hold their HU."""
    hu, axes, corners = slices.hu, slices.axes[:2].copy(), slices.corners
    if is_even(slices.places):  # dcm2niix takes the first gap for all
        corners = corners[0] + np.outer(slices.even_places, slices.axes[2] + slices.slope * slices.axes[1])
    for axis, direction, size in ((2, 0, slices.pixel_mm[0]), (1, 1, slices.pixel_mm[1])):
        if axes[direction, direction] < 0:  # dcm2niix corrects patients who lie on their back
            hu = np.flip(hu, axis)
            corners = corners + (hu.shape[axis] - 1) * size * axes[direction]
            axes[direction] *= -1
    images = place / "tilted"
    images.mkdir()
    for number, (values, corner) in enumerate(zip(hu, corners, strict=True)):
        copy = _copy(number, {"Rows": values.shape[0], "Columns": values.shape[1], **_INT16})
        copy.ImagePositionPatient, copy.ImageOrientationPatient = _decimals(corner), _decimals(axes.ravel())
        copy.PixelSpacing = _decimals(slices.pixel_mm[::-1])
        copy.Manufacturer, copy.GantryDetectorTilt = "GE MEDICAL SYSTEMS", f"{abs(_tilt(slices)):.2f}"
        if hu.min() < AIR_HU:  # outside the field of view; else it would be mixed with the air beside it
            copy.PixelPaddingValue = int(hu.min())
        copy.PixelData = values.astype("<i2").tobytes()
        pydicom.dcmwrite(images / f"{number:05d}.dcm", copy, enforce_file_format=True)
    # Corrected for tilt, then for uneven slices.
    volumes = _dcm2niix(images, len(hu))
    return min(volumes, key=lambda volume: ("_Tilt" not in volume.name, "_Eq" not in volume.name, volume.name))


def _tilt(slices: _Slices) -> float:
    """Degrees by which the slices lean against the line on which they are stacked."""
    return float(np.degrees(np.arctan(slices.slope)))


def _decoded(images: list[Stored], place: Path) -> list[np.ndarray]:
    """Stored values of compressed images, by dcm2niix from copies that are stacked one above the other."""
    folder = place / "compressed"
    folder.mkdir()
    for number, image in enumerate(images):
        copy = _copy(number, image.layout)
        copy.file_meta.TransferSyntaxUID = UID(image.syntax)
        copy.ImagePositionPatient, copy.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
        copy.PixelSpacing = [1, 1]
        copy.PixelData = encapsulate([image.compressed])
        copy["PixelData"].is_undefined_length = True
        pydicom.dcmwrite(folder / f"{number:05d}.dcm", copy, enforce_file_format=True)
    volumes = _dcm2niix(folder, len(images))
    volume = nib.Nifti1Image.from_filename(volumes[0])
    rows, columns = images[0].layout["Rows"], images[0].layout["Columns"]
    voxels = np.asarray(volume.dataobj).reshape((*volume.shape[:2], -1))
    if len(volumes) > 1 or voxels.shape != (columns, rows, len(images)):
        got = " and ".join(str(nib.Nifti1Image.from_filename(each).shape) for each in volumes)
        raise ScanError(f"be decoded as {len(images)} slices of {rows} x {columns}, got {got}.")
    return list(voxels[:, ::-1].transpose(2, 1, 0))  # NIfTI counts rows from the back


def _copy(number: int, layout: Mapping[str, int]) -> Dataset:
    """A slice that holds nothing but what a converter needs, its position and pixels still to come."""
    copy = Dataset()
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    copy.file_meta.MediaStorageSOPClassUID = copy.SOPClassUID = CTImageStorage
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID = UID(f"2.25.{number + 1}")
    copy.StudyInstanceUID, copy.SeriesInstanceUID, copy.Modality = "2.25.1000001", "2.25.1000002", "CT"
    copy.ImageType, copy.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "HFS"
    copy.SeriesNumber, copy.AcquisitionNumber, copy.InstanceNumber = 1, 1, number + 1
    copy.SamplesPerPixel, copy.PhotometricInterpretation = 1, "MONOCHROME2"
    for name, value in layout.items():
        setattr(copy, name, value)
    copy.RescaleIntercept, copy.RescaleSlope = 0, 1
    return copy


def _decimals(numbers: ArrayLike) -> list[str]:
    """As DICOM writes them, in 16 characters at most."""
    return [f"{number:.10g}"[:16] for number in np.asarray(numbers) + 0.0]


def _dcm2niix(images: Path, count: int) -> list[Path]:
    """The volumes that dcm2niix makes of a folder of copies."""
    out = images.with_name(f"{images.name}_nifti")
    out.mkdir()
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "scan", "-o", str(out), str(images)]
    try:
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LONGEST_S)
    except subprocess.TimeoutExpired as error:
        raise ScanError(f"be converted within {LONGEST_S} s by dcm2niix, got no volume.") from error
    volumes = sorted(out.glob("*.nii"))
    if not volumes:
        lines = [line for line in (said.stdout + said.stderr).splitlines() if "rror" in line or "arning" in line]
        reason = " ".join(lines[-2:]).replace(f"{images}/", "copy ") or "unsaid"
        raise ScanError(f"be converted by dcm2niix ({count} slices), got no volume: {reason}.")
    return volumes


def _require_as_headers(scan: Scan, slices: _Slices, *, tilted: bool) -> None:
    """Refuse a volume whose extent, spacing, orientation or content is not that of the headers, with both numbers."""
    axes, directions = slices.axes @ _TO_RAS, scan.affine[:3, :3] / np.array(scan.spacing_mm)
    cosines = axes @ directions
    order = np.abs(cosines).argmax(axis=1)
    along = cosines[range(3), order]
    if sorted(order) != [0, 1, 2] or np.abs(along).min() < ALIGNED:
        wanted, got = (np.round(each, 3).tolist() for each in (axes, directions.T))
        raise ScanError(f"lie as its headers say, {wanted}, got {got}.")
    spacing, extent_said = np.array(scan.spacing_mm)[order], slices.places[-1]
    extent = (scan.hu.shape[order[2]] - 1) * spacing[2]
    if abs(extent - extent_said) > np.median(np.diff(slices.places)) / 2:
        raise ScanError(f"reach over {extent_said:.1f} mm as its headers say, got {extent:.1f} mm.")
    wanted = (*slices.pixel_mm, extent / (len(slices.hu) - 1) if is_even(slices.places) else spacing[2])
    if not np.allclose(spacing, wanted, rtol=SPACING):
        wanted, got = (" x ".join(f"{size:.4g}" for size in sizes) for sizes in (wanted, spacing))
        raise ScanError(f"have the spacing of its headers, {wanted} mm, got {got} mm.")
    # As the slices are stored: (slices, rows, columns), each from its own first one.
    turned = scan.hu.transpose(order)[tuple(slice(None, None, int(np.sign(c))) for c in along)].transpose(2, 1, 0)
    if tilted:
        _require_drift(turned, spacing, slices)
        return
    first = np.where(along > 0, 0, np.array(turned.shape[::-1]) - 1)[np.argsort(order)]
    away = np.linalg.norm(nib.affines.apply_affine(scan.affine, first) - _TO_RAS @ slices.corners[0])
    if turned.shape[1:] != slices.hu.shape[1:] or away > spacing[2] / 2:
        raise ScanError(f"begin where its first image does, got {away:.1f} mm away.")
    _require_values(turned, slices)


def _require_values(turned: np.ndarray, slices: _Slices) -> None:
    """Refuse a volume that has other HU than the images, or has them elsewhere, in any slice that is in both."""
    even = is_even(slices.places)
    steps = np.arange(len(slices.hu)) if even else slices.places / slices.even_places[1]
    for k in np.flatnonzero(np.abs(steps - np.rint(steps)) < EXACT):
        got = turned[int(np.rint(steps[k]))]
        apart = np.abs(got - slices.hu[k])
        if apart.max() > 1:
            row, column = np.unravel_index(apart.argmax(), apart.shape)
            wanted = f"{slices.hu[k, row, column]:g} in slice {k + 1} (row {row + 1}, column {column + 1})"
            raise ScanError(f"have the HU of its images, {wanted}, got {got[row, column]:g}.")


def _require_drift(turned: np.ndarray, spacing: np.ndarray, slices: _Slices) -> None:
    """Refuse a volume in which the head leans otherwise than in the slices: corrected the wrong way, or not at all.

    Compared is the middle of the tissue in each slice, up to one shift of all: the origin is dcm2niix's.
    """
    said, size = _middles(slices.hu, slices.pixel_mm)
    said = said + (slices.corners - slices.corners[0]) @ slices.axes[:2].T
    got, _ = _middles(turned, spacing[:2])
    nearest = np.rint(slices.places / slices.places[-1] * (len(got) - 1)).astype(int)
    drift = (got[nearest] - said)[size > LARGE * size.max()]
    drift_mm = float(np.median(np.abs(drift - np.median(drift, axis=0)), axis=0).max())
    if drift_mm > DRIFT_MM:
        got_mm = f"slices {drift_mm:.1f} mm beside their places (allowed {DRIFT_MM:g} mm)"
        raise ScanError(f"be corrected for a tilt of {_tilt(slices):.1f} degrees, got {got_mm}.")


def _middles(planes: np.ndarray, pixel_mm: Iterable[float]) -> tuple[np.ndarray, np.ndarray]:
    """Middle of the tissue of each plane in mm along its rows and along its columns, and how many pixels it has."""
    tissue = planes > TISSUE_HU
    size = tissue.sum(axis=(1, 2))
    along, down = (np.arange(n) * mm for n, mm in zip(planes.shape[:0:-1], pixel_mm, strict=True))
    sums = np.stack([tissue.sum(axis=1) @ along, tissue.sum(axis=2) @ down], axis=1)
    return sums / np.maximum(size, 1)[:, None], size


# --- a head CT without its face: what lies in front of the brain and below it becomes air

AIR_HU, CLIPPED_HU = -1024.0, -900.0
# In the slice: skull and scalp are thinner. Downwards: the roof of the orbits is, and the eyes begin below it.
MARGINS_MM = ((15.0, 5.0), (22.0, 8.0), (30.0, 12.0))
# Share of the brain mask's voxels, tried in this order where no margin leaves it quite as it was: a mask that runs into
# the muscles of the neck shrinks to the brain when the face is gone, and a wide margin around it would keep the face.
MOST_CHANGED = (0.001, 0.05)


def deface(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """The scan with air in place of its face.

    Parameters
    ----------
    hu : ndarray of shape (x, y, z)
        Hounsfield units in RAS+.
    spacing_mm : tuple of float
        Voxel size.

    Returns
    -------
    ndarray
        A copy. Removed voxels are -1024 HU, or the lowest value of a scan that was clipped above that. The brain mask
        of the copy is that of the scan: where the narrowest margin would change it, a wider one is taken. No voxel of
        the brain mask is ever removed.

    Raises
    ------
    ScanError
        The scan shows no brain inside a skull, or every margin changes the brain mask by more than 5 %.
    """
    before = prepare(hu, spacing_mm)
    brain = before.grid.to_scan(before.brain) >= 0.5
    lowest = float(hu.min())
    air, changes = np.asarray(AIR_HU if lowest < CLIPPED_HU else lowest, hu.dtype), {}
    for most, margins_mm in product((0.0, *MOST_CHANGED), MARGINS_MM):
        without = np.where(face_region(brain, spacing_mm, margins_mm), air, hu)
        if margins_mm not in changes:
            changes[margins_mm] = _changed_share(before, without, spacing_mm)
        if changes[margins_mm] <= most:
            return without
    raise ScanError(
        f"the brain mask must stay the same within {MOST_CHANGED[-1]:.0%} when the face is removed, got a change of "
        f"{min(changes.values()):.0%}: look at the scan, or import this patient without --deface."
    )


def face_region(
    brain: np.ndarray, spacing_mm: tuple[float, float, float], margins_mm: tuple[float, float]
) -> np.ndarray:
    """What lies in front of the brain or below it and outside its margin, bool (x, y, z); ``brain`` is not empty.

    Parameters
    ----------
    brain : ndarray of bool, shape (x, y, z)
        The brain on the scan's grid, in RAS+.
    spacing_mm : tuple of float
        Voxel size.
    margins_mm : tuple of float
        What stays around the brain within a slice, and below it.
    """
    margin_mm, below_mm = margins_mm
    kept = brain.copy()
    for step in range(1, 1 + round(below_mm / spacing_mm[2])):
        kept[:, :, :-step] |= brain[:, :, step:]
    face = np.zeros_like(brain)
    columns = np.flatnonzero(brain.any(axis=(0, 2)))
    front = slice((columns[0] + columns[-1]) // 2, None)
    for z in range(1 + int(brain.sum(axis=(0, 1)).argmax())):
        whole = not kept[:, :, z].any()
        away_mm = np.inf if whole else distance_transform_edt(~kept[:, :, z], spacing_mm[:2])[:, front]
        face[:, front, z] = away_mm > margin_mm
    return face


def _changed_share(before: BrainSlices, without: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Share of the brain mask that the scan without its face lacks or has in addition; 1 where it shows no head."""
    try:
        after = prepare(without, spacing_mm)
    except ScanError:
        return 1.0
    return float((before.brain != after.brain).sum() / before.brain.sum()) if before.grid == after.grid else 1.0
