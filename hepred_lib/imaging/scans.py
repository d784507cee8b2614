"""NIfTI scans and masks in and out, and the refusal of headers and intensities that would give a wrong volume.

A scan is read once, turned to the nearest RAS+ orientation (x to the right, y to the front, z upwards) and kept in
Hounsfield units (HU). The *native* grid is the file's own order of axes; :func:`to_native` leads back to it.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError

from hepred_lib.errors import ScanError
from hepred_lib.imaging.nifti import NiftiError, Stored, read_nifti, written_whole

VOXEL_MM = (0.1, 15.0)
AIR_HU = -10.0  # air is -1000 HU, but scans clipped to -20 HU are in use
TISSUE_HU = (0.0, 100.0)  # cerebrospinal fluid, brain, blood
TISSUE_SHARE = 0.01  # a brain fills 3 % of a field of view of 500 mm
INSIDE_HU = 500.0  # the middle of a head is soft tissue; 1024 more where the rescale intercept was left out
SHEAR = 0.01  # cosine between two voxel axes: 0.6 degrees
FORM_MM = 1.0  # distance at the corners between qform and sform
GRID_MM, GRID_VOXELS = 0.01, 0.01  # distance at the corners between a mask and its scan: the larger of the two
MASK_ROUNDING = 1e-3  # 0 and 1 that were stored as scaled integers come back as 0.99999
EMPTY_SHARE, AIR_SHARE = 0.3, 0.05  # voxels of exactly 0 HU, and of air, where all but the brain was set to 0
BRAIN_HU = 20.0  # brain is 25 to 40 HU: a scan whose maximum is lower is not in HU

_RAS = np.array([[0, 1], [1, 1], [2, 1]])


@dataclass(frozen=True, eq=False)
class Scan:
    """A head CT in canonical orientation.

    Attributes
    ----------
    hu : ndarray, float32, shape (x, y, z)
        Hounsfield units in RAS+ order; contiguous along x whatever the file's order.
    affine : ndarray, shape (4, 4)
        From voxels of ``hu`` to mm.
    spacing_mm : tuple of float
        Voxel size along x, y, z.
    path : Path
        The file.
    native_affine : ndarray, shape (4, 4)
        From voxels of the file to mm.
    notes : tuple of str
        What is odd about the file, but harmless.
    """

    hu: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    path: Path
    native_affine: np.ndarray
    notes: tuple[str, ...] = ()


@np.errstate(all="ignore")  # a damaged header is refused by what it leads to, without numpy's warnings on the way
def read_scan(path: str | os.PathLike) -> Scan:
    """Read a head CT (NIfTI-1 or 2, compressed or not) in Hounsfield units and RAS+ order.

    A trailing axis of length 1 is dropped. Padding below air (-1024, -1500, -3024) and scans clipped to -20 HU pass.

    Raises
    ------
    ScanError
        In one sentence with the file named: unreadable, not three-dimensional, fewer than two slices, not finite,
        constant, not in Hounsfield units, or a header whose voxel size, axes or two affines cannot be trusted.
    """
    path = Path(path)
    stored = _load(path)
    notes = _check_header(stored.header, path)
    turned, affine = _to_ras(stored.voxels, stored.affine)
    if turned.shape[2] < 2:
        raise ScanError(f"{path} must have at least 2 slices, got {turned.shape[2]}: save the whole scan as one file.")
    if stored.voxels.min() == stored.voxels.max():  # before millions of equal voxels are turned to HU
        value = float(stored.voxels.flat[0]) * stored.slope + stored.intercept
        raise ScanError(f"{path} must show a head, got {value:g} in every voxel.")
    hu = np.asarray(turned, dtype=np.float32, order="F")
    if (stored.slope, stored.intercept) != (1.0, 0.0):
        hu *= np.float32(stored.slope)
        hu += np.float32(stored.intercept)
    _check_hounsfield(hu, path)
    return Scan(hu, affine, _spacing(affine), path, stored.affine, notes)


@np.errstate(all="ignore")
def read_mask(path: str | os.PathLike, scan: Scan) -> np.ndarray:
    """Read a mask of 0 and 1 that lies on a scan's grid; bool (x, y, z) in the scan's canonical order.

    The file's axes may be flipped or permuted against the scan's; its corners must agree within 1 % of a voxel (or
    0.01 mm), and its values must be 0 and 1 within 0.001, since both are rounded by some programs. An empty mask
    passes: a scan without blood has one. Whether it outlines blood is a question to
    :func:`hepred_lib.imaging.scans.mask_faults`.

    Raises
    ------
    ScanError
        Unreadable, another grid, or values other than 0 and 1.
    """
    path = Path(path)
    stored = _load(path)
    voxels, affine = stored.voxels, stored.affine
    invertible = np.isfinite(affine).all() and 1e-9 < abs(np.linalg.det(affine[:3, :3])) < 1e9
    if not invertible or np.isnan(io_orientation(affine)).any():
        raise ScanError(f"{path} must have a finite affine that can be inverted, got {affine[:3].tolist()}.")
    voxels, affine = _to_ras(voxels, affine)
    _check_grid(voxels.shape, affine, scan, path)
    if stored.slope != 1.0 or stored.intercept != 0.0:
        voxels = voxels * stored.slope + stored.intercept
    mask = np.abs(voxels - 1.0) <= MASK_ROUNDING if voxels.dtype.kind == "f" else voxels == 1
    clear = np.abs(voxels) <= MASK_ROUNDING if voxels.dtype.kind == "f" else voxels == 0
    if not (mask | clear).all():
        raise ScanError(f"{path} must hold only 0 and 1, got {_values(voxels)}.")
    return np.asfortranarray(mask)


def to_native(array: np.ndarray, scan: Scan) -> np.ndarray:
    """An array on the canonical grid (x, y, z), turned back to the axes of the scan's file."""
    if array.shape != scan.hu.shape:
        raise ScanError(
            f"array must have the shape of {scan.path.name}, {_times(scan.hu.shape)}, got {_times(array.shape)}."
        )
    return apply_orientation(array, ornt_transform(_RAS, io_orientation(scan.native_affine)))


def write_nifti(path: str | os.PathLike, array: np.ndarray, affine: np.ndarray, *, dtype: type) -> None:
    """Write an array (x, y, z), rounded to ``int16`` or ``uint8``, under a temporary name, then rename it.

    The same array gives the same bytes: neither time nor name enters the compressed file (gzip level 1).

    Raises
    ------
    ScanError
        A ``dtype`` other than the two, or values it cannot hold.
    """
    path, dtype = Path(path), np.dtype(dtype)
    if dtype not in (np.dtype(np.int16), np.dtype(np.uint8)):
        raise ScanError(f"dtype must be int16 or uint8, got {dtype} ({path}).")
    values = np.asarray(array)
    values = np.rint(values) if values.dtype.kind == "f" else values
    limits = np.iinfo(dtype)
    if not (values.min() >= limits.min and values.max() <= limits.max):
        raise ScanError(f"array must lie within {limits.min} to {limits.max} for {dtype}, got values beyond ({path}).")
    image = nib.Nifti1Image(values.astype(dtype), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    data = image.to_bytes()
    with written_whole(path) as temporary:
        temporary.write_bytes(zlib.compress(data, 1, wbits=31) if path.suffix == ".gz" else data)


def write_like(path: str | os.PathLike, array: np.ndarray, scan: Scan, *, dtype: type = np.uint8) -> None:
    """Write an array of the canonical grid on the scan's own grid: its axes, its affine."""
    write_nifti(path, to_native(array, scan), scan.native_affine, dtype=dtype)


def _load(path: Path) -> Stored:
    """The image as stored; anything but a regular file is refused without opening it."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ScanError(f"{path} must be a NIfTI image, got {_kind_of_file(status.st_mode)}.")
        with path.open("rb") as stream:
            return read_nifti(stream, status.st_size)
    except NiftiError as error:
        got = error.got
        if path.suffix.lower() == ".img" and path.with_suffix(".hdr").is_file():
            got = "the image half of a .hdr/.img pair: save both as one .nii or .nii.gz file"
        raise ScanError(f"{path} must {error.rule}, got {got}.") from error
    except FileNotFoundError as error:
        raise ScanError(f"{path} must be a NIfTI image, got no such file.") from error
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise ScanError(f"{path} must be a whole, readable NIfTI image, got {reason.rstrip('.')}.") from error


def _kind_of_file(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder: name the image in it"
    return "a named pipe" if stat.S_ISFIFO(mode) else "a device or socket"


def _check_header(header: nib.Nifti1Header, path: Path) -> tuple[str, ...]:
    """Refuse a header whose affine does not give one trustworthy place and size to every voxel; notes on the rest."""
    notes = ()
    sform = header.get_sform(coded=True)[0]
    try:
        qform = header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):  # without an sform the file was refused before
        qform, notes = None, ("the quaternion of the qform is broken; the sform was used",)
    affine = qform if sform is None else sform
    if affine is None:
        raise ScanError(
            f"{path} must say where its voxels lie (qform or sform code above 0), got codes 0 and 0: "
            "convert the DICOM series again."
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ScanError(f"{path} must have a finite affine that can be inverted, got {affine[:3].tolist()}.")
    size = np.linalg.norm(affine[:3, :3], axis=0)
    if size.min() < VOXEL_MM[0] or size.max() > VOXEL_MM[1]:
        raise ScanError(
            f"{path} must have voxels of {VOXEL_MM[0]} to {VOXEL_MM[1]} mm, got {_times(size)} mm{_other_unit(size)}."
        )
    axes = affine[:3, :3] / size
    shear = np.abs(axes.T @ axes - np.eye(3)).max()
    if shear > SHEAR:
        degrees = np.degrees(np.arcsin(min(shear, 1.0)))
        raise ScanError(
            f"{path} must have voxel axes at right angles, got {degrees:.1f} degrees of shear: "
            "a tilted gantry has to be resampled first."
        )
    zooms = np.array(header.get_zooms()[:3], dtype=float)
    if not np.allclose(zooms, size, rtol=0.01):
        raise ScanError(
            f"{path} must have one voxel size, got {_times(zooms)} mm beside an affine of {_times(size)} mm."
        )
    apart = 0.0 if qform is None or sform is None else _corner_distance(qform, sform, header.get_data_shape()[:3])
    if not apart <= FORM_MM:
        raise ScanError(f"{path} must have a qform and an sform that agree within {FORM_MM} mm, got {apart:.3g} mm.")
    return notes


def _other_unit(size: np.ndarray) -> str:
    """A guess at the unit of a voxel size that is not in mm."""
    for unit, factor in (("metres", 1e-3), ("micrometres", 1e3)):
        if VOXEL_MM[0] <= size.min() / factor and size.max() / factor <= VOXEL_MM[1]:
            return f": is it in {unit}? Write it in mm"
    return ""


def _check_hounsfield(hu: np.ndarray, path: Path) -> None:
    """Refuse what is no head CT in Hounsfield units; every rule holds for clipped and for padded scans."""
    low, high = float(hu.min()), float(hu.max())
    if not np.isfinite((low, high)).all():
        raise ScanError(f"{path} must be finite, got {int(np.sum(~np.isfinite(hu)))} voxels that are not.")
    if low == high:
        raise ScanError(f"{path} must show a head, got {low:g} in every voxel.")
    step = [max(1, n // 128) for n in hu.shape]
    sample = hu[:: step[0], :: step[1], :: step[2]]
    got = f"got values from {low:g} to {high:g}"
    empty = float(np.mean(sample == 0.0))
    if low >= AIR_HU:
        raise ScanError(
            f"{path} must be in Hounsfield units with air below {AIR_HU:g}, {got}{_other_scale(low, high, empty)}."
        )
    if empty > EMPTY_SHARE and np.mean(sample < AIR_HU) < AIR_SHARE and high > BRAIN_HU:
        raise ScanError(
            f"{path} must show the whole head in air, got exactly 0 HU in {empty:.0%} of the voxels: "
            "was the brain extracted? Use the scan as it was converted from DICOM."
        )
    middle = np.median(sample[tuple(slice(n // 3, n - n // 3) for n in sample.shape)])
    if middle > INSIDE_HU:
        raise ScanError(
            f"{path} must be in Hounsfield units, got {middle:g} in the middle of the head: "
            "the rescale intercept (often -1024) was not applied."
        )
    share = np.mean((sample >= TISSUE_HU[0]) & (sample <= TISSUE_HU[1]))
    if share < TISSUE_SHARE or high < BRAIN_HU:
        raise ScanError(
            f"{path} must be in Hounsfield units with brain between {TISSUE_HU[0]:g} and {TISSUE_HU[1]:g} "
            f"in {TISSUE_SHARE:.0%} of the voxels, {got}{_other_scale(low, high, empty)}."
        )


def _other_scale(low: float, high: float, empty: float) -> str:
    """A guess at what was done to the intensities of a scan that is not in Hounsfield units."""
    if high > 30000.0:
        return ": negative values were stored as unsigned integers"
    if low < -1500.0 and high < 2200.0:
        return ": the rescale intercept (often -1024) was applied twice"
    if low >= 0.0 and high > 1000.0:
        return ": the rescale intercept (often -1024) was not applied, or this is no CT"
    if low >= -1.0 and high <= 1.5:
        return ": intensities were scaled to 0-1, or are attenuation"
    if high < BRAIN_HU and low > -50.0:
        return ": intensities were standardized (z-scores)"
    if high > 255.0 or low < -300.0:
        return ""
    extracted = ", or the brain was extracted" if empty > EMPTY_SHARE else ""
    return f": a display window (such as 0-80 HU) was applied{extracted}"


def _check_grid(shape: tuple[int, ...], affine: np.ndarray, scan: Scan, path: Path) -> None:
    """Refuse a mask, turned to RAS+, whose voxels are not those of its scan."""
    if shape != scan.hu.shape:
        raise ScanError(
            f"{path} must have the grid of its scan {scan.path.name}, {_times(scan.hu.shape)} voxels, "
            f"got {_times(shape)}: resample it to the scan (nearest neighbour), or export it on the scan's extent."
        )
    apart = _corner_distance(affine, scan.affine, shape)
    if _on_grid(affine, scan, shape):
        return
    for words, signs in (("x and y", (-1, -1, 1)), ("x", (-1, 1, 1)), ("y", (1, -1, 1)), ("z", (1, 1, -1))):
        signed = np.diag([*signs, 1.0]) @ affine
        if _on_grid(signed @ inv_ornt_aff(io_orientation(signed), shape), scan, shape):
            raise ScanError(
                f"{path} must lie on its scan {scan.path.name}, got {words} with the opposite sign: "
                "its header mixes LPS and RAS, write the mask again on the scan's own grid."
            )
    raise ScanError(
        f"{path} must lie on its scan {scan.path.name} within {GRID_VOXELS:.0%} of a voxel at the corners, "
        f"got {apart:.3g} mm."
    )


def _on_grid(affine: np.ndarray, scan: Scan, shape: tuple[int, ...]) -> bool:
    """Whether two affines agree at the corners but for rounding."""
    if _corner_distance(affine, scan.affine, shape) <= GRID_MM:
        return True
    moved = np.linalg.inv(scan.affine) @ affine  # from voxels of the mask to voxels of the scan
    return _corner_distance(moved, np.eye(4), shape) <= GRID_VOXELS * np.sqrt(3.0) * 1.001


def _values(voxels: np.ndarray) -> str:
    """The values of a mask that is none, and what to do about them."""
    broken = int(np.sum(~np.isfinite(voxels))) if voxels.dtype.kind == "f" else 0
    if broken:
        return f"{broken} voxels that are not finite: set them to 0"
    found = np.unique(voxels)
    if len(found) > 8:
        return f"{len(found)} different values from {found[0]:g} to {found[-1]:g}: a scan, or a probability map"
    named = ", ".join(f"{value:g}" for value in found)
    if len(found) == 2 and found[0] == 0.0:
        return f"values {named}: write {found[1]:g} as 1"
    if len(found) == 1:
        return f"{named} in every voxel"
    return f"values {named}: keep only the label of the hematoma, written as 1"


def _to_ras(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A view of the voxels in the nearest RAS+ order, and its affine."""
    orientation = io_orientation(affine)
    return apply_orientation(voxels, orientation), affine @ inv_ornt_aff(orientation, voxels.shape)


def _corner_distance(a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance in mm between the places that two affines give to the grid's eight corners."""
    corners = np.array([(*corner, 1.0) for corner in product(*((0.0, n - 1.0) for n in shape))])
    return float(np.linalg.norm(corners @ (a - b).T, axis=1).max())


def _spacing(affine: np.ndarray) -> tuple[float, float, float]:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def _times(sizes: np.ndarray | tuple[int, ...]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


# Does a mask cover blood? It is compared with the HU under it, and under its mirrored and turned copies.

MOST_ML = 300.0
FEW_VOXELS = 20  # the HU of fewer say little: a person should look
OUTSIDE_HU, OUTSIDE_SHARE = -15.0, 0.1  # air and fat
BONE_SHARE = 0.25
DENSER_HU = 5.0  # median over that of brain: 11 or more in simulated hematomas, half of them hypodense, 23 in real ones
SOME_DENSER_HU = 10.0  # upper quartile over brain
FLUID_HU = 8.0  # ventricular blood is diluted, but not below brain by so much
MIRRORED_HU, MIRRORED_SHARE = 12.0, 0.05  # difference between what only the copy and only the mask covers

_COPIES = {
    "mirrored left-right": (False, (-1, 1, 1)),
    "mirrored front-back": (False, (1, -1, 1)),
    "mirrored top-bottom": (False, (1, 1, -1)),
    "turned by 180 degrees in the slice (LPS and RAS exchanged)": (False, (-1, -1, 1)),
    "with x and y exchanged (transposed)": (True, (1, 1, 1)),
}
_RARER = [(swapped, signs) for swapped in (False, True) for signs in product((1, -1), repeat=3)]


@dataclass(frozen=True)
class MaskFault:
    """What is wrong with a mask: the words after "must" and after "got", ``refuse`` or ``warn``, and what to do."""

    rule: str
    value: str
    severity: str = "refuse"
    remedy: str = "Draw or export the mask again on this very scan."


def mask_faults(
    mask: np.ndarray,
    hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    *,
    brain_hu: float,
    bone_hu: float,
    ventricular: bool = False,
) -> list[MaskFault]:
    """Everything that shows that a mask is not the hematoma of its scan; an empty mask has no fault.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
    hu : ndarray of the same shape
        The scan in Hounsfield units.
    spacing_mm : tuple of float
        Voxel size.
    brain_hu, bone_hu : float
        Of :class:`hepred_lib.imaging.preprocessing.Head`.
    ventricular : bool
        The mask is one of blood in the ventricles, which is diluted.
    """
    places = np.nonzero(mask)
    if not len(places[0]):
        return []
    volume_ml = len(places[0]) * float(np.prod(spacing_mm)) / 1000.0
    if volume_ml > MOST_ML:
        return [_too_large(mask, volume_ml)]
    inside = hu[places]
    faults = [*_place_faults(inside, bone_hu)]
    copy = _better_copy(mask, hu, places, brain_hu, bone_hu)
    if copy:
        rule = "cover blood"
        return [*faults, MaskFault(rule, f"brain, and blood under the mask {copy}", remedy=_turn_remedy(copy))]
    return faults or [*_density_faults(inside, brain_hu, ventricular)]


def _too_large(mask: np.ndarray, volume_ml: float) -> MaskFault:
    share = float(mask.mean())
    rule = f"be a hematoma of at most {MOST_ML:g} mL"
    if share == 1.0:
        return MaskFault(rule, "1 in every voxel")
    if share > 0.5:
        return MaskFault(rule, f"1 in {share:.1%} of all voxels", remedy="Exchange 0 and 1: the mask is inverted.")
    return MaskFault(rule, f"{volume_ml:.0f} mL", remedy="Mark the hematoma only, not the brain or the head.")


def _place_faults(inside: np.ndarray, bone_hu: float) -> Iterator[MaskFault]:
    severity = "refuse" if len(inside) >= FEW_VOXELS else "warn"
    outside, bone = float(np.mean(inside < OUTSIDE_HU)), float(np.mean(inside >= bone_hu))
    if outside > OUTSIDE_SHARE:
        yield MaskFault("lie inside the head", f"air or fat in {outside:.0%} of its voxels", severity)
    if bone > BONE_SHARE:
        yield MaskFault("lie inside the skull", f"bone in {bone:.0%} of its voxels", severity)


def _density_faults(inside: np.ndarray, brain_hu: float, ventricular: bool) -> Iterator[MaskFault]:
    """Faults of the HU; none where the HU of brain are not known."""
    if not np.isfinite(brain_hu):
        return
    median, upper = np.percentile(inside, (50.0, 75.0))
    got = f"a median of {median:.0f} HU where brain has {brain_hu:.0f}"
    enough = len(inside) >= FEW_VOXELS
    if ventricular:
        if median < brain_hu - FLUID_HU and upper < brain_hu:
            yield MaskFault("cover blood", f"{got}: fluid", "refuse" if enough else "warn")
        return
    if upper >= brain_hu + SOME_DENSER_HU and median >= brain_hu:
        return
    if median <= brain_hu and upper < brain_hu + DENSER_HU:
        yield MaskFault("cover blood, denser than brain", got, "refuse" if enough else "warn")
    elif median < brain_hu + DENSER_HU:
        remedy = "Look at the mask: a hematoma is rarely as dense as brain."
        yield MaskFault("cover blood, denser than brain", got, "warn", remedy)


def _better_copy(
    mask: np.ndarray, hu: np.ndarray, places: tuple[np.ndarray, ...], brain_hu: float, bone_hu: float
) -> str | None:
    """The mirrored or turned copy of a mask that covers blood where the mask itself covers brain."""
    if len(places[0]) < FEW_VOXELS:
        return None
    named = list(_COPIES.items()) + [("mirrored and turned", copy) for copy in _RARER]
    found, most = None, -np.inf
    for words, (swapped, signs) in named:
        moved = _moved(places, mask.shape, swapped, signs)
        if moved is None:
            continue
        only_copy = ~mask[moved]
        if only_copy.mean() < MIRRORED_SHARE:
            continue
        theirs = hu[moved]
        alone = theirs[only_copy]
        covered = np.zeros(mask.shape, dtype=bool)
        covered[moved] = True
        ours = hu[tuple(axis[~covered[places]] for axis in places)]
        fits = (
            np.median(ours) < brain_hu + DENSER_HU
            and np.median(alone) > max(brain_hu, np.median(ours)) + MIRRORED_HU
            and np.mean(alone >= min(bone_hu, 100.0)) < 0.1
        )
        if fits and theirs.mean() > most:
            found, most = words, float(theirs.mean())
    return found


def _moved(
    places: tuple[np.ndarray, ...], shape: tuple[int, ...], swapped: bool, signs: tuple[int, ...]
) -> tuple[np.ndarray, ...] | None:
    """Where a copy's voxels are; None where the grid does not allow it."""
    if swapped and shape[0] != shape[1]:
        return None
    x, y, z = places
    axes = (y, x, z) if swapped else (x, y, z)
    return tuple(axis if sign > 0 else length - 1 - axis for axis, length, sign in zip(axes, shape, signs, strict=True))


def _turn_remedy(copy: str) -> str:
    return f"The mask was written {copy}: export it again, and look at it over the scan."
