"""Readers of scans, masks and DICOM, and whole images of a few voxels for them."""

import bz2
import gzip
import random
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from hepred_lib.errors import ScanError
from hepred_lib.imaging.preprocessing import find_head
from hepred_lib.imaging.scans import mask_faults, read_mask, read_scan
from hepred_lib.intake.choice import choose
from hepred_lib.intake.conversion import convert_series
from hepred_lib.intake.series import find_series
from tests.fuzz.mutations import HUGE, NUMBERS, WORDS, damaged_bytes
from tests.intake.conftest import change, write_series
from tests.intake.test_conversion import enhanced

FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, float("nan"), float("inf"), float("-inf"), 0.9, 348.0)
BEGINNINGS = (
    b"DICM",
    b"\x1f\x8b\x08\x00",
    b"PK\x03\x04",
    b"<html>",
    b"NRRD0004\n",
    b"version https://git-lfs",
    b"ni1\0",
)
LONG_FORM = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OF", b"OD", b"OL")
KINDS = (*LONG_FORM, b"US", b"SS", b"UL", b"DS", b"IS", b"CS", b"LO", b"PN", b"DA", b"TM", b"UI", b"FD", b"AT", b"ZZ")
SEARCHED = 0.05  # share of scans in which a head is searched
CONVERTED = 0.05  # share of series that are converted


class Images:
    """Scans, and masks of a scan, compressed or not."""

    def __init__(self, folder: Path) -> None:
        hu, mask, affine = _head()
        (folder / "whole.nii").write_bytes(_forms(hu, affine)[0])
        self.scan, self.path = read_scan(folder / "whole.nii"), folder / "damaged.nii.gz"
        self.scans, self.masks, self.is_mask = _forms(hu, affine), _forms(mask, affine), False

    def damage(self, chance: random.Random) -> list[Path]:
        """Header, voxels or bytes; then perhaps compressed, and the compressed bytes damaged."""
        self.is_mask = chance.random() < 0.3
        data = bytearray(chance.choice(self.masks if self.is_mask else self.scans))
        for _ in range(chance.choice((1, 1, 2, 3))):
            _damage(data, chance)
        content = bytes(data)
        if chance.random() < 0.5:
            content = damaged_bytes(content, chance, (*self.scans, *self.masks))
        if chance.random() < 0.5:
            content = gzip.compress(content, 1, mtime=0)
            content = damaged_bytes(content, chance) if chance.random() < 0.5 else content
        self.path.write_bytes(content)
        return [self.path]

    def read(self, chance: random.Random) -> None:
        """Whole and finite, and now and then with a search for the head."""
        if self.is_mask:
            mask = read_mask(self.path, self.scan)
            mask_faults(mask, self.scan.hu, self.scan.spacing_mm, brain_hu=35.0, bone_hu=150.0)
            return
        scan = read_scan(self.path)
        assert np.isfinite(scan.hu).all()
        if chance.random() < SEARCHED and scan.hu.size < 100_000:
            find_head(scan.hu, scan.spacing_mm, name=str(self.path))


class Dicom:
    """A folder of three slices of one series, one or two of them damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder / "export", folder / "scan.nii.gz"
        self.folder.mkdir(exist_ok=True)
        self.paths = [self.folder / f"{number}.dcm" for number in range(3)]
        self.series = [slices(), slices(as_rle), slices(as_jpeg), slices(tilt=17.0), [_enhanced()]]
        self.whole = tuple(file for series in self.series for file in series)

    def damage(self, chance: random.Random) -> list[Path]:
        """One element's value, kind or place; or bytes."""
        files = list(chance.choice(self.series))
        for _ in range(chance.choice((1, 1, 1, 2))):
            place = chance.randrange(len(files))
            whole = chance.random() < 0.3
            files[place] = (
                damaged_bytes(files[place], chance, self.whole) if whole else _other_element(files[place], chance)
            )
        for path in self.paths:
            path.unlink(missing_ok=True)
        for path, content in zip(self.paths, files, strict=False):
            path.write_bytes(content)
        return self.paths

    def read(self, chance: random.Random) -> None:
        """Found and chosen, none lost; now and then converted."""
        found = find_series(self.folder)
        told = [path for series in found.series for path in series.files]
        assert len(choose(found.series)) == len(found.series)
        assert len(set(told)) + found.foreign + len(found.damaged) <= len(self.paths)
        if found.series and chance.random() < CONVERTED:
            convert_series(found.series[0], self.out, workplace=self.out.parent)
        if not found.series:
            raise ScanError(f"no DICOM images found in {self.folder} ({self.paths[0].name})")


def _head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def _forms(array: np.ndarray, affine: np.ndarray) -> list[bytes]:
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


def _damage(data: bytearray, chance: random.Random) -> None:
    """Other bytes in one place of an image: of its header, of its voxels, behind or around it all."""
    order, form = chance.choice("<>"), chance.choice("hiq")
    number = chance.choice(HUGE) * chance.choice((1, -1)) % 2 ** (8 * struct.calcsize(order + form))
    size = chance.choice((0, 1, 2, 7, 8, 127, 255, 32767, 65535))
    place, other = chance.choice(
        (
            *[(chance.randrange(348), chance.randbytes(1))] * 2,
            *[(2 * chance.randrange(174), struct.pack(order + form.upper(), number))] * 2,
            *[(4 * chance.randrange(10, 87), struct.pack("<f", chance.choice(FLOATS)))] * 2,
            (40 + 2 * chance.randrange(8), struct.pack("<H", size)),
            (chance.choice((0, 128, 344)), chance.choice(BEGINNINGS)),  # of another kind of file
            (chance.randrange(352, max(len(data), 353)), chance.randbytes(200)),
            (len(data), bytes(4_000_000 * (chance.random() < 0.02))),  # many more zeros than the shape needs
        )
    )
    data[place : place + len(other)] = other
    if chance.random() < 0.01:
        data[:] = chance.choice((gzip.compress, bz2.compress, zlib.compress))(bytes(data))


def as_jpeg(_: int, image: Dataset) -> None:
    """Eight bits of each pixel, as a photograph keeps them."""
    hu = np.frombuffer(image.PixelData, "<u2").reshape(16, 16) - 1024.0
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    image.BitsAllocated, image.BitsStored, image.HighBit, image.RescaleIntercept = 8, 8, 7, 0
    stream = BytesIO()
    Image.fromarray(np.clip(hu, 0, 255).astype(np.uint8)).save(stream, "jpeg")
    image.PixelData = encapsulate([stream.getvalue()])
    image["PixelData"].is_undefined_length = True


def as_rle(_: int, image: Dataset) -> None:
    """Compressed without loss."""
    image.compress(RLELossless, generate_instance_uid=False)


@lru_cache
def slices(edit: Callable | None = None, tilt: float = 0.0) -> list[bytes]:
    """Three slices of 16 x 16 pixels of 12 mm through a head."""
    tags = {"PatientBirthDate": "19570102", "FrameOfReferenceUID": "1.2.9", "ContrastBolusAgent": "NONE"}
    tags |= {"SeriesDescription": "Schädel nativ", "SpecificCharacterSet": "ISO_IR 100", "AcquisitionNumber": 1}
    with tempfile.TemporaryDirectory() as place:
        folder = write_series(Path(place) / "s", gap_mm=20.0, size=16, leave_out=tuple(range(3, 9)), tilt=tilt, **tags)
        return [path.read_bytes() for path in sorted((change(folder, edit) if edit else folder).iterdir())]


def _enhanced() -> bytes:
    """Three slices in one file of many frames."""
    with tempfile.TemporaryDirectory() as place:
        return (enhanced(Path(place), range(3)) / "enhanced.dcm").read_bytes()


def _other_element(data: bytes, chance: random.Random) -> bytes:
    """A file of which one element is gone, twice, elsewhere, or has another value, kind or length."""
    elements = _elements(data)
    if not elements:
        return damaged_bytes(data, chance)
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randrange(len(elements))
        tag, kind, value = elements[place]
        change = chance.random()
        if change < 0.1:
            del elements[place]
        elif change < 0.2:
            elements.insert(chance.randrange(len(elements) + 1), elements[place])
        elif change < 0.3:
            elements[place] = tag, chance.choice(KINDS), value
        elif change < 0.5:
            elements[place] = tag, kind, damaged_bytes(value, chance)
        elif change < 0.6:
            elements[place] = tag, kind, elements[chance.randrange(len(elements))][2]
        else:
            elements[place] = tag, kind, _text_value(value, chance)
        if not elements:
            break
    lie = chance.randrange(len(elements) + 1) if chance.random() < 0.1 else -1
    return data[:132] + b"".join(_element(*parts, k == lie, chance) for k, parts in enumerate(elements))


def _text_value(value: bytes, chance: random.Random) -> bytes:
    """One of several values, or all of them, another text."""
    parts = value.split(b"\\")
    text = chance.choice(NUMBERS if chance.random() < 0.6 else WORDS)[: 64 if chance.random() < 0.95 else 60_000]
    parts[chance.randrange(len(parts))] = text.encode(chance.choice(("utf-8", "latin-1", "shift_jis")), "replace")
    joined = b"\\".join(parts[: chance.choice((len(parts), len(parts), 1))])
    return joined + b" " * (len(joined) % 2)


def _elements(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Tag, kind and value of each element of a file in explicit little endian."""
    place, found = 132, []
    while place + 8 <= len(data):
        tag, kind = data[place : place + 4], data[place + 4 : place + 6]
        head, size = (12, 4) if kind in LONG_FORM else (8, 2)
        length = int.from_bytes(data[place + head - size : place + head], "little")
        length = len(data) - place - head if length == 2**32 - 1 else length
        found.append((tag, kind, data[place + head : place + head + length]))
        place += head + length
    return found


def _element(tag: bytes, kind: bytes, value: bytes, lies: bool, chance: random.Random) -> bytes:
    """An element's bytes; its length may be a lie."""
    undefined = tag == b"\xe0\x7f\x10\x00" and value[:4] == b"\xfe\xff\x00\xe0"
    length = 2**32 - 1 if undefined else chance.choice(HUGE) if lies else len(value)
    if kind in LONG_FORM:
        return tag + kind + b"\0\0" + struct.pack("<I", length % 2**32) + value
    return tag + kind + struct.pack("<H", length % 2**16) + value
