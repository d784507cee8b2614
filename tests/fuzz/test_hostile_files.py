"""Files that would hang a reader or fill its memory: each is refused in one line, in less than two seconds."""

import os
import socket
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from hepred_lib.cohort.cells import read_cells
from hepred_lib.cohort.manifest import manifest_problems, read_bedside, read_manifest
from hepred_lib.errors import ManifestError, ScanError, StudyError
from hepred_lib.imaging.scans import Scan, read_mask, read_scan
from hepred_lib.intake.conversion import convert_series
from hepred_lib.intake.series import find_series
from hepred_lib.intake.spreadsheet import load_mapping, suggest_mapping
from hepred_lib.intake.words import fold, load_words
from hepred_lib.study.definition import load_study
from hepred_lib.study.files import read_json, read_table
from tests.fuzz.images import _head, as_jpeg, slices
from tests.intake.conftest import change

SECONDS, MEGABYTES = 8.0, 1000  # of a slow processor under load; what grows with the square takes minutes
BLOCK = bytes(1 << 20)


def gzip_bomb(header: bytes, gigabytes: int) -> bytes:
    """Zeros behind a header, a thousand times smaller: blocks of deflate that are all the same."""
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packing.compress(header) + packing.compress(BLOCK) + packing.flush(zlib.Z_FULL_FLUSH)
    again = packing.compress(BLOCK * 10) + packing.flush(zlib.Z_FULL_FLUSH)
    return start + again * (gigabytes * 100)


def header_of(shape: tuple[int, int, int]) -> bytes:
    """A header of NIfTI-1 of a shape that need not be there."""
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.diag([1.0, 1.0, 5.0, 1.0]))
    image.set_sform(image.affine, code=1)
    data = bytearray(image.to_bytes()[:352])
    data[40:56] = struct.pack("<8h", 3, *shape, 1, 1, 1, 1)
    return bytes(data)


def deflated_bomb() -> bytes:
    """A DICOM file of deflated transfer syntax whose data set unpacks to 2 GB."""
    whole = slices()[0]
    meta = whole[: 144 + int.from_bytes(whole[140:144], "little")]
    old, new = ExplicitVRLittleEndian.encode(), b"1.2.840.10008.1.2.1.99"
    old = struct.pack("<H", len(old) + len(old) % 2) + old + b"\0" * (len(old) % 2)
    meta = meta.replace(old, struct.pack("<H", len(new)) + new)
    meta = meta[:140] + struct.pack("<I", len(meta) - 144) + meta[144:]
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packing.compress(whole[144 + int.from_bytes(whole[140:144], "little") :]) + packing.flush(zlib.Z_FULL_FLUSH)
    again = packing.compress(BLOCK * 10) + packing.flush(zlib.Z_FULL_FLUSH)
    return meta + start + again * 200


def zip_bomb(path: Path, megabytes: int) -> None:
    """A workbook whose only worksheet unpacks to so much."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            for _ in range(megabytes):
                sheet.write(BLOCK)


def a_socket(path: Path) -> None:
    """A socket at a path, which may be too long for one."""
    before = Path.cwd()
    try:
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(before)


def series_in(folder: Path, files: list[bytes], edit: Callable[[int, Dataset], object] | None = None) -> Path:
    """A folder with these files, each edited."""
    for number, content in enumerate(files):
        (folder / f"{number}.dcm").write_bytes(content)
    return change(folder, edit) if edit else folder


def read_as_mask(path: Path) -> np.ndarray:
    """As the mask of a scan."""
    hu, _, affine = _head()
    return read_mask(path, Scan(hu.astype(np.float32), affine, (14.0, 14.0, 14.0), Path("ct.nii.gz"), affine))


READERS = {
    "scan": (read_scan, "damaged.nii.gz"),
    "mask": (read_as_mask, "damaged.nii.gz"),
    "manifest": (read_manifest, "damaged.csv"),
    "workbook": (read_manifest, "damaged.xlsx"),
    "bedside": (read_bedside, "damaged.json"),
    "mapping": (load_mapping, "damaged.yaml"),
    "words": (load_words, "damaged.yaml"),
    "study": (load_study, "damaged.yaml"),
    "record": (read_json, "damaged.json"),
    "table": (read_table, "damaged.csv"),
}
HOSTILE = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a socket": a_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "an endless file": lambda path: path.symlink_to("/dev/full"),
    "nothing": lambda path: None,
    "a link to itself": lambda path: path.symlink_to(path.name),
}


def refusal(read, path: Path) -> str:
    """The one line by which a file is refused, in time and memory."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises((StudyError, ManifestError, ScanError)) as caught:
            read(path)
        seconds, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < MEGABYTES * 1e6
    words = str(caught.value)
    assert words.isprintable()
    assert len(words) < 500
    assert path.name in words
    return words


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_by_every_reader(tmp_path, monkeypatch, reader, hostile):
    read, name = READERS[reader]
    HOSTILE[hostile](tmp_path / name)
    assert refusal(read, tmp_path / name)


@pytest.mark.parametrize("reader", ["bedside", "mapping", "words", "study", "record", "table", "manifest"])
def test_a_file_of_two_gigabytes_is_refused_unread(tmp_path, reader):
    read, name = READERS[reader]
    with (tmp_path / name).open("wb") as file:
        file.truncate(2 * 2**30)
    assert "more than" in refusal(read, tmp_path / name)


@pytest.mark.parametrize("shape", [(12, 14, 8), (32767, 32767, 32767), (512, 512, 40)])
@pytest.mark.parametrize("reader", ["scan", "mask"])
def test_a_gzip_bomb_is_bounded_by_its_own_header(tmp_path, reader, shape):
    read, name = READERS[reader]
    content = gzip_bomb(header_of(shape), 10)
    assert len(content) < 12_000_000
    (tmp_path / name).write_bytes(content)
    assert refusal(read, tmp_path / name)


def test_a_zip_bomb_is_refused_as_a_workbook(tmp_path):
    zip_bomb(tmp_path / "damaged.xlsx", 220)
    assert "unpack to at most 200 MB" in refusal(read_manifest, tmp_path / "damaged.xlsx")


@pytest.mark.parametrize("hostile", [name for name in HOSTILE if name not in ("nothing", "a folder")])
def test_a_folder_of_dicom_with_what_is_no_regular_file_is_read_without_it(tmp_path, hostile):
    HOSTILE[hostile](series_in(tmp_path, slices()) / "damaged")
    begin = time.process_time()
    found = find_series(tmp_path)
    assert time.process_time() - begin < SECONDS
    assert len(found.series) == 1
    assert found.foreign + len(found.damaged) == 1


def test_a_deflated_bomb_counts_as_a_damaged_dicom_file(tmp_path):
    content = deflated_bomb()
    assert len(content) < 4_000_000
    (tmp_path / "bomb.dcm").write_bytes(content)
    begin = time.process_time()
    found = find_series(tmp_path)
    assert time.process_time() - begin < SECONDS
    assert found.damaged == (tmp_path / "bomb.dcm",)


def test_a_compressed_image_without_content_and_a_number_of_300_digits_are_refused_in_one_line(tmp_path):
    def empty(_: int, image: Dataset) -> None:
        image.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" * 2 + b"\xfe\xff\xdd\xe0\0\0\0\0"  # two items of nothing
        image["PixelData"].is_undefined_length = True
        image["SeriesNumber"]._value = "1e300"

    (series,) = find_series(series_in(tmp_path, slices(as_jpeg), empty)).series
    assert series.number == 0
    with pytest.raises(ScanError, match=r"series 0 .* cannot be used") as caught:
        convert_series(series, tmp_path / "scan.nii.gz", workplace=tmp_path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("rows", "columns"), [(65535, 65535), (16, 0), (9000, 2)])
def test_a_dicom_image_of_an_impossible_size_is_refused(tmp_path, rows, columns):
    def resize(_: int, image: Dataset) -> None:
        image.Rows, image.Columns = rows, columns

    (series,) = find_series(series_in(tmp_path, slices(), resize)).series
    with pytest.raises(ScanError, match=f"{rows} x {columns} pixels, as no CT has"):
        convert_series(series, tmp_path / "scan.nii.gz", workplace=tmp_path)


@pytest.mark.parametrize(
    "text", ["a: &a [1]\nb: *a\n", "a: &a {b: &b [x, x]}\nc: [*a, *a]\n", "- " * 50_000, "{" * 50_000]
)
@pytest.mark.parametrize("reader", ["mapping", "words", "study"])
def test_aliases_and_endless_nesting_are_refused(tmp_path, reader, text):
    read, name = READERS[reader]
    (tmp_path / name).write_text(text)
    assert refusal(read, tmp_path / name)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, f'{{"age": {"9" * 5000}}}', '{"age": 1e999}'])
@pytest.mark.parametrize("reader", ["bedside", "record"])
def test_json_of_endless_nesting_or_numbers_is_refused(tmp_path, reader, text):
    read, name = READERS[reader]
    (tmp_path / name).write_text(text)
    assert refusal(read, tmp_path / name)


@pytest.mark.parametrize(
    "text", ["\n" * 200_000, "# why\n" * 100_000, ",".join(f"Age {k}" for k in range(40_000)) + "\n"]
)
def test_a_table_of_blank_lines_of_comments_or_of_columns_is_refused(tmp_path, text):
    (tmp_path / "damaged.csv").write_text(text)
    assert refusal(read_manifest, tmp_path / "damaged.csv")


RUNS = (
    "9" * 100_000 + "x",
    "a" * 100_000,
    " " * 100_000 + "x",
    "_" * 100_000,
    "- " * 50_000,
    "/ " * 50_000,
    "9." * 50_000,
)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run[:2])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_long_run_of_one_sign_is_read_in_linear_time(tmp_path, run, encoding):
    begin = time.process_time()
    table = f'patient_id,age,site,ward\nHE-1,{run},"a{run}\nb",é{run}\n{run},71,{run},\n'
    (tmp_path / "damaged.csv").write_bytes(table.encode(encoding))
    assert len(manifest_problems(tmp_path / "damaged.csv")) < 10
    (tmp_path / "damaged.csv").write_bytes(f"{run},{run}é\n1,2\n".encode(encoding))
    cells = read_cells(tmp_path / "damaged.csv")
    if cells.table is not None:
        suggest_mapping(cells)
    assert fold(run) == fold(run)
    for text in (f'{{"age": "{run}"}}', f'{{"{run}": 1}}', f'{{"age": {run}}}'):
        (tmp_path / "damaged.json").write_text(text)
        with pytest.raises(ManifestError):
            read_bedside(tmp_path / "damaged.json")
    for text in (f"'{run}': age\n", f"age: '{run}'\n", f"study: '{run}'\n", f"de: {{native: ['{run}']}}\n"):
        (tmp_path / "damaged.yaml").write_text(text)
        for read in (load_mapping, load_words, load_study):
            with suppress(ManifestError, StudyError):
                read(tmp_path / "damaged.yaml")
    assert time.process_time() - begin < SECONDS


def test_arrays_that_unpack_to_more_than_they_have_are_refused(tmp_path):
    from hepred_lib.study.files import read_figure_data

    array = bytearray(np.lib.format.magic(1, 0) + struct.pack("<H", 118))
    array += b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "damaged.npz", "w") as archive:
        archive.writestr("x.npy", bytes(array))
    assert "other than" in refusal(lambda path: read_figure_data(path.parent), tmp_path / "damaged.npz")
    zip_bomb(tmp_path / "damaged.npz", 500)
    assert "unpacks to too much" in refusal(lambda path: read_figure_data(path.parent), tmp_path / "damaged.npz")
