"""The network that comes trained, on scans alone."""

import json
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from hepred_lib.cli import main
from hepred_lib.errors import StudyError
from hepred_lib.imaging.scans import write_nifti
from hepred_lib.imaging.segmentation import dice
from hepred_lib.pretrained import SHIPPED
from hepred_lib.study.segmenting import COLUMNS, scans_in, segment_scans
from ich_phantom.cohort import cohort_tables, simulate_scan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two simulated heads that no training has seen, one of them with blood in the ventricles, and a broken file."""
    place = tmp_path_factory.mktemp("scans")
    manifest, truth = cohort_tables(40, 77)
    rows = truth.merge(manifest[["patient_id", "age", "sex"]], on="patient_id")
    bled = rows[rows["blood_free"].eq(0)]
    chosen = pd.concat([bled[bled["ivh"].eq(1)].head(1), bled[bled["ivh"].eq(0)].head(1)])
    (place / "more").mkdir()
    references = {}
    for name, row in zip(("head0", "more_head1"), chosen.to_dict("records"), strict=True):
        scan = simulate_scan(row, seed=77, site="A", matrix=256)
        write_nifti(place / f"{name.replace('_', '/')}.nii.gz", scan.hu, scan.affine, dtype=np.int16)
        references[name] = (scan.mask, scan.ivh_mask)
    (place / "broken.nii.gz").write_bytes(b"no scan")
    return place, references


@pytest.fixture(scope="module")
def segmented(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "not" / "there"
    return out, segment_scans(scans_in([folder[0]]), out).set_index("scan")


def test_fresh_heads_are_segmented_and_their_ventricles_too(folder, segmented):
    out, table = segmented
    for name, (blood, ventricular) in folder[1].items():
        found = np.asarray(nib.load(out / f"{name}_segmentation.nii.gz").dataobj)
        assert dice(blood, found == 1) > 0.6, name
        assert table.loc[name, "hematoma_detected"] == 1
        if ventricular.any():
            assert dice(ventricular, found == 2) > 0.4
        else:
            assert table.loc[name, "ventricles_ml"] < 1.0


def test_the_volume_is_that_of_the_mask_on_the_scans_own_grid(folder, segmented):
    out, table = segmented
    image = nib.load(out / "head0_segmentation.nii.gz")
    voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    assert np.allclose(image.affine, nib.load(folder[0] / "head0.nii.gz").affine, atol=1e-4)
    assert (np.asarray(image.dataobj) == 1).sum() * voxel_ml == pytest.approx(
        table.loc["head0", "hematoma_ml"], abs=1e-3
    )
    written = json.loads((out / "head0.json").read_text())
    assert written["hematoma_ml"] == table.loc["head0", "hematoma_ml"]
    assert 0.4 < written["abc2_ml"] / written["hematoma_ml"] < 1.6
    assert (out / "head0.png").stat().st_size > 10_000
    assert 50_000 < (out / "head0_viewer.html").stat().st_size < 2_000_000


def test_a_broken_file_stops_no_other_and_says_why(segmented):
    out, table = segmented
    assert table["unread"].ne("").sum() == 1
    assert "broken.nii.gz" in table.loc["broken", "unread"]
    assert pd.read_csv(out / "segmentation.csv").columns.tolist() == list(COLUMNS)
    written = pd.read_csv(out / "segmentation.csv", dtype=str)
    assert len(written) == 3
    assert written.loc[written["scan"].eq("head0"), ["hematoma_detected"]].eq("1").all(axis=None)


def test_the_command_says_which_file_it_could_not_read(tmp_path, capsys, monkeypatch):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "broken.nii.gz").write_bytes(b"no scan")
    monkeypatch.setattr(sys, "argv", ["hepred", "segment", str(tmp_path / "scans"), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert "0 of 1 scans segmented" in said.out
    assert "broken.nii.gz" in said.err.strip().splitlines()[-1]


def test_scans_are_refused_where_there_are_none_or_two_of_a_name(folder, tmp_path):
    with pytest.raises(StudyError, match="which does not exist"):
        scans_in([tmp_path / "nothing.nii"])
    with pytest.raises(StudyError, match=r"must hold head CTs as \.nii or \.nii\.gz, got none"):
        scans_in([tmp_path])
    (tmp_path / "head0.nii").write_bytes(b"")
    with pytest.raises(StudyError, match="scans must have different names"):
        scans_in([folder[0], tmp_path])


def test_segmentations_of_an_earlier_call_are_no_scans(tmp_path):
    for name in ("a.nii.gz", "out/a_segmentation.nii.gz", "out/a_viewer.html", "drawn_segmentation.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(scans_in([tmp_path])) == ["a", "drawn_segmentation"]


def test_the_weights_are_small_enough_to_come_with_the_library():
    assert SHIPPED.stat().st_size < 10e6
