"""The slice store: what goes in comes out, in torch's order, with labels by the 20 mm2 rule."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hepred_lib.errors import ScanError, StudyError
from hepred_lib.imaging.preprocessing import BrainSlices, SliceGrid, prepare
from hepred_lib.imaging.scans import read_scan, write_nifti
from hepred_lib.imaging.slices import (
    BLOOD,
    BRAIN,
    HU,
    HU_OFFSET,
    IVH,
    at_own_pixels,
    blood_area_mm2,
    encode,
    from_torch,
    open_patient,
    quality_flags,
    shown_hu,
    slice_labels,
    store_patient,
    stored_grid,
)


def planes_with(blood_pixels: list[int], ivh_pixels: list[int]) -> np.ndarray:
    planes = np.zeros((len(blood_pixels), 4, 16, 16), dtype=np.uint8)
    for index, (blood, ivh) in enumerate(zip(blood_pixels, ivh_pixels, strict=True)):
        planes[index, BLOOD].flat[:blood] = 255
        planes[index, IVH].flat[:ivh] = 255
    return planes


def test_labels_by_hand_positive_from_20_mm2_and_left_out_between():
    labels = slice_labels(planes_with([5, 4, 0, 0], [0, 0, 0, 3]), pixel_mm=2.0)
    np.testing.assert_array_equal(labels, [1.0, np.nan, 0.0, np.nan])
    assert blood_area_mm2(planes_with([2], [0]) // 5, 2.0)[0] == pytest.approx(4.0 * 2 / 5), "shares of pixels count"


def test_rows_are_y_and_columns_are_x():
    grid = SliceGrid((8, 8, 3), (1.0, 1.0, 5.0), (0.0, 0.0), 8.0, 8, 1)
    hu = np.zeros((8, 8, 3), dtype=np.float32)
    hu[5, 2, 1] = 60.0
    planes = encode(BrainSlices(hu, hu > 0, grid, {}))
    assert planes[1, HU, 2, 5] == 60 + HU_OFFSET
    assert planes[1, BRAIN, 2, 5] == 255
    np.testing.assert_array_equal(from_torch(planes[:, HU].astype(float)) - HU_OFFSET, hu)


def test_a_printed_slice_has_the_scans_own_voxels():
    rng = np.random.default_rng(0)
    hu = rng.integers(0, 80, (40, 40, 4)).astype(np.float32)
    grid = SliceGrid(hu.shape, (0.5, 0.5, 2.5), (4.2, 1.9), 12.0, 6, 2)
    slices = BrainSlices(grid.to_slices(hu), np.ones((6, 6, 2), dtype=bool), grid, {})
    found = at_own_pixels(hu, slices, 1, masks={"outline": hu > 40}, maps={"map": np.full((6, 6), 0.7)})
    # 4.2 mm lie nearest to the edge of voxel 8, 1.9 mm to that of voxel 4; the field has 24 voxels
    own = hu[8:32, 4:28, 2:].mean(axis=2).T
    np.testing.assert_allclose(found["hu"][2:-2, 2:-2], np.rint(own)[2:-2, 2:-2], atol=1)
    np.testing.assert_array_equal(found["outline"], (hu > 40)[8:32, 4:28, 2:].mean(axis=2).T >= 0.5)
    assert found["map"][12, 12] == pytest.approx(0.7)
    assert (found["pixel_mm"], found["slice"], found["n_slices"]) == (0.5, 1, 2)
    coarser = SliceGrid((40, 40, 4), (1.0, 1.0, 5.0), (4.2, 1.9), 12.0, 24, 1)
    assert coarser.at_own_pixels() is coarser, "a scan that is coarser than the slices is printed as they are"


def test_a_stored_patient_keeps_the_masks_volume(tmp_path, cohort_folder, phantom):
    row = {"patient_id": "HE-1", "baseline_ct": cohort_folder / "HE-1_ct.nii.gz"}
    row["baseline_mask"] = cohort_folder / "HE-1_mask.nii.gz"
    record = store_patient(tmp_path / "slices", row, matrix=64, field_mm=200.0)
    assert record["mask_ml"] == pytest.approx(phantom[1].sum() * 0.125, rel=1e-2)
    assert (record["blend_sign"], record["any_hypodensity"], record["sd_hu"]) == (0, 0, pytest.approx(0, abs=1e-9))
    assert open_patient(tmp_path / "slices", "HE-1").shape == (16, 4, 64, 64)


def test_the_grid_of_a_stored_patient_comes_back_from_its_record(tmp_path, cohort_folder):
    row = {"patient_id": "HE-1", "baseline_ct": cohort_folder / "HE-1_ct.nii.gz", "baseline_mask": None}
    quality = pd.DataFrame([store_patient(tmp_path, row, matrix=32)]).set_index("patient_id")
    scan = read_scan(cohort_folder / "HE-1_ct.nii.gz")
    assert stored_grid(quality, "HE-1") == prepare(scan.hu, scan.spacing_mm, matrix=32).grid
    assert quality.loc["HE-1", "has_mask"] == 0
    assert quality.loc["HE-1", ["blend_sign", "any_hypodensity", "sd_hu"]].isna().all()


def test_a_mask_on_another_grid_is_refused_with_the_patient_named(tmp_path, cohort_folder, phantom):
    _, mask, affine = phantom
    write_nifti(tmp_path / "other.nii.gz", mask[:-1], affine, dtype=np.uint8)
    row = {"patient_id": "HE-1", "baseline_ct": cohort_folder / "HE-1_ct.nii.gz"}
    with pytest.raises(ScanError, match=r"patient HE-1"):
        store_patient(tmp_path, row | {"baseline_mask": tmp_path / "other.nii.gz"})


def test_flags_name_what_a_reader_should_look_at():
    quality = {"brain_ml": 400.0, "thickness_mm": 8.0, "n_slices": 9, "noise_hu": 7.0, "hu_max": 100.0}
    brain = np.ones((4, 4, 9), dtype=bool)
    hu = np.where(np.arange(9) == 4, -1000.0, np.full(brain.shape, 33.0))  # a blank slice
    flags = quality_flags(BrainSlices(hu, brain, None, quality | {"brain_hu": 57.0}))
    assert flags == "brain_volume thick_slices few_slices noisy clipped_hu brain_hu out_of_order base_cut vertex_cut"


def test_a_figure_shows_a_skull_around_the_brain_and_no_eye():
    hu, brain = np.full((2, 40, 40), 30.0), np.zeros((2, 40, 40), dtype=bool)
    brain[0, 5:20, 10:30] = True
    shown = shown_hu(hu, brain, pixel_mm=2.0)
    assert (shown[0, 5:27, 12:28] == 30.0).all()
    assert (shown[0, 27:] == -1000.0).all()
    assert (shown[1] == -1000.0).all()


@pytest.mark.parametrize(
    "harm",
    [Path.unlink, lambda path: os.truncate(path, 150), lambda path: path.write_bytes(b"no array"), Path.exists],
    ids=["missing", "truncated", "text", "of floats"],
)
def test_a_damaged_file_of_the_store_is_named_with_the_remedy(tmp_path, harm):
    path = tmp_path / "HE-1.npy"
    np.save(path, np.zeros((2, 4, 8, 8)))
    harm(path)
    with pytest.raises(StudyError, match=r"cannot use .*HE-1\.npy: .* Run the study again"):
        open_patient(tmp_path, "HE-1")
