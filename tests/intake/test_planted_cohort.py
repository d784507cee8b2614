"""Faults planted in a clean cohort, one at a time: each is found where it was planted, named, and has a remedy."""

import gzip

import numpy as np
import pandas as pd
import pytest

from hepred_lib.cohort.expansion import expansion_label
from hepred_lib.imaging.scans import write_nifti
from hepred_lib.intake.check import check_manifest

PATIENTS, WITH_IMAGES = 60, 3
SIZE, MM = (72, 72, 30), (2.8, 2.8, 5.0)
AFFINE = np.diag([*MM, 1.0])
AFFINE[:3, 3] = [-(n - 1) / 2 * mm for n, mm in zip(SIZE, MM, strict=True)]
PLACES = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(SIZE, MM, strict=True)], indexing="ij")


def ellipsoid(centre: tuple[float, ...], axes: tuple[float, ...]) -> np.ndarray:
    return sum(((place - c) / a) ** 2 for place, c, a in zip(PLACES, centre, axes, strict=True)) < 1


def head(seed: int, radius_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """HU and the mask of one hematoma: scalp, skull, brain, ventricles, and noise of its own."""
    hu = np.full(SIZE, -1000.0)
    for axes, value in (((80, 92, 72), 40), ((76, 88, 68), 1000), ((70, 82, 62), 34)):
        hu[ellipsoid((0, 0, 0), axes)] = value
    hu[ellipsoid((0, 5, 8), (7, 25, 12))] = 8
    mask = ellipsoid((34, 5, 4), (radius_mm, radius_mm, radius_mm))
    hu[mask] = 66
    noise = np.random.default_rng(seed).normal(0, 3, SIZE)
    return np.rint(hu + np.where(hu > -900, noise, 0)), mask


def volume_ml(mask: np.ndarray) -> float:
    return float(mask.sum() * np.prod(MM) / 1000)


def clean_table() -> pd.DataFrame:
    """Sixty patients of whom a third expands, with measurements that say little about it."""
    rng = np.random.default_rng(5)
    before = np.round(rng.gamma(2.0, 9.0, PATIENTS) + 2, 2)
    expands = np.arange(PATIENTS) % 3 == 0
    after = np.round(before * np.where(expands, rng.uniform(1.5, 2.0, PATIENTS), rng.uniform(0.95, 1.1, PATIENTS)), 2)
    table = pd.DataFrame(
        {
            "patient_id": [f"P-{k:03d}" for k in range(1, PATIENTS + 1)],
            "split": np.where(np.arange(PATIENTS) % 4 == 3, "test", "development"),
            "baseline_volume_ml": before,
            "followup_volume_ml": after,
            "onset_to_ct_h": np.round(rng.uniform(0.5, 12, PATIENTS), 1),
            "ct_to_followup_h": np.round(rng.uniform(18, 30, PATIENTS), 1),
            "he": expansion_label(before, after),
            "age": rng.integers(40, 90, PATIENTS),
            "sex": rng.choice(["F", "M"], PATIENTS),
            "gcs": rng.integers(6, 16, PATIENTS),
            "sbp_mmhg": rng.integers(130, 220, PATIENTS),
            "dbp_mmhg": rng.integers(70, 110, PATIENTS),
            "glucose_mmol_l": np.round(rng.uniform(4.5, 11, PATIENTS), 1),
            "inr": np.round(rng.uniform(0.9, 1.3, PATIENTS), 2),
            "hypertension": rng.integers(0, 2, PATIENTS),
        }
    )
    return table.astype(object)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The files of three patients, both moments, made once."""
    folder = tmp_path_factory.mktemp("images")
    volumes = {}
    for k in range(WITH_IMAGES):
        for moment, radius in (("baseline", 14 + 2 * k), ("followup", 18 + 2 * k)):
            hu, mask = head(10 * k + (moment == "followup"), radius)
            write_nifti(folder / f"{k}_{moment}_ct.nii.gz", hu, AFFINE, dtype=np.int16)
            write_nifti(folder / f"{k}_{moment}_mask.nii.gz", mask, AFFINE, dtype=np.uint8)
            volumes[k, moment] = round(volume_ml(mask), 2)
    return folder, volumes


class Cohort:
    """A clean cohort on disk whose rows and files a test may spoil."""

    def __init__(self, folder, images):
        source, volumes = images
        self.folder, self.table = folder, clean_table()
        for path in source.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        for name in [f"{moment}_{kind}" for moment in ("baseline", "followup") for kind in ("ct", "mask")]:
            self.table[name] = [f"{k}_{name}.nii.gz" if k < WITH_IMAGES else "" for k in range(PATIENTS)]
        for (k, moment), volume in volumes.items():
            self.table.loc[k, f"{moment}_volume_ml"] = volume
        rows = self.table.iloc[:WITH_IMAGES]
        self.table.loc[rows.index, "he"] = expansion_label(
            rows["baseline_volume_ml"].astype(float), rows["followup_volume_ml"].astype(float)
        )

    def problems(self, **options):
        self.table.to_csv(self.folder / "manifest.csv", index=False)
        return check_manifest(self.folder / "manifest.csv", **options).problems

    def the(self, column, words, severity="refuse"):
        """The one problem of a column whose sentence holds these words; it must say what to do."""
        said = [p for p in self.problems() if p.column == column and words in str(p)]
        assert len(said) == 1, [str(p) for p in self.problems()]
        assert said[0].severity == severity
        assert said[0].remedy
        return said[0]

    def swap(self, first, second, k=1):
        self.table.loc[k, [first, second]] = self.table.loc[k, [second, first]].to_list()


@pytest.fixture
def cohort(tmp_path, images):
    return Cohort(tmp_path, images)


@pytest.fixture
def tables(cohort):
    """The cohort without its images: what is wrong in a table is found without reading them."""
    for name in [f"{moment}_{kind}" for moment in ("baseline", "followup") for kind in ("ct", "mask")]:
        cohort.table[name] = ""
    return cohort


def test_the_clean_cohort_raises_nothing(cohort):
    assert [str(problem) for problem in cohort.problems()] == []


def test_two_processes_find_the_same_in_the_same_order(cohort, monkeypatch):
    monkeypatch.setattr("hepred_lib.intake.check.LEAST_FOR_PROCESSES", 1)
    (cohort.folder / "0_followup_ct.nii.gz").write_bytes(b"no scan")
    cohort.table.loc[2, "followup_ct"] = cohort.table.loc[1, "followup_ct"]
    cohort.table.loc[5, "age"] = 300
    alone, together = cohort.problems(), cohort.problems(cores=2)
    assert alone == together
    assert [problem.line for problem in alone] == sorted(problem.line for problem in alone)
    assert len(alone) >= 3


def test_one_patient_in_both_splits_is_found(tables):
    tables.table.loc[50, ["patient_id", "split"]] = tables.table.loc[3, "patient_id"], "development"
    assert "development" in tables.the("split", "be one").value


@pytest.mark.parametrize("spelt", ["p-004", "P004", "P_4"])
def test_one_identifier_spelt_in_two_ways_is_found(tables, spelt):
    tables.table.loc[50, "patient_id"] = spelt
    assert tables.the("patient_id", "leading zeros").patient_id == spelt


def test_a_row_entered_twice_under_two_names_is_found(tables):
    facts = [name for name in tables.table if name not in ("patient_id", "split")]
    tables.table.loc[43, facts] = tables.table.loc[22, facts]
    problem = tables.the("the row", "P-023 on line 24")
    assert problem.patient_id == "P-044"
    assert "one in development and one in test" in problem.value


def test_rows_that_agree_in_a_few_coarse_values_are_no_duplicates(tables):
    tables.table = tables.table[["patient_id", "he", "age", "sex", "gcs"]]
    tables.table.loc[43, ["age", "sex", "gcs"]] = tables.table.loc[22, ["age", "sex", "gcs"]]
    assert tables.problems() == []


def test_the_same_scan_compressed_again_under_another_name_is_found(cohort):
    data = gzip.decompress((cohort.folder / "0_baseline_ct.nii.gz").read_bytes())
    (cohort.folder / "2_baseline_ct.nii.gz").write_bytes(gzip.compress(data, 9))
    assert cohort.the("baseline_ct", "another image than baseline_ct of patient P-001").patient_id == "P-003"


def test_the_same_scan_with_another_header_and_type_is_found(cohort):
    import nibabel as nib

    image = nib.load(cohort.folder / "0_baseline_ct.nii.gz")
    affine = AFFINE.copy()
    affine[:3, 3] += 7.0
    renamed = nib.Nifti1Image(np.asarray(image.dataobj, dtype=np.float32), affine)
    renamed.header["descrip"] = b"another"
    nib.save(renamed, cohort.folder / "2_baseline_ct.nii")
    cohort.table.loc[2, ["baseline_ct", "baseline_mask"]] = "2_baseline_ct.nii", ""
    assert cohort.the("baseline_ct", "the same voxels in").patient_id == "P-003"


def test_a_mirrored_copy_of_a_scan_is_found(cohort):
    hu, mask = head(0, 14)
    write_nifti(cohort.folder / "2_baseline_ct.nii.gz", hu[::-1], AFFINE, dtype=np.int16)
    write_nifti(cohort.folder / "2_baseline_mask.nii.gz", mask[::-1], AFFINE, dtype=np.uint8)
    cohort.table.loc[2, "baseline_volume_ml"] = volume_ml(mask)
    assert "mirrored" in cohort.the("baseline_ct", "another image").value


def test_a_follow_up_that_is_the_first_scan_is_found(cohort):
    cohort.table.loc[1, "followup_ct"] = cohort.table.loc[1, "baseline_ct"]
    assert cohort.the("followup_ct", "another image than baseline_ct of patient P-002").line == 3


def test_one_mask_for_two_patients_is_found(cohort):
    cohort.table.loc[2, "baseline_mask"] = cohort.table.loc[1, "baseline_mask"]
    assert cohort.the("baseline_mask", "name another file").patient_id == "P-003"


def test_a_mask_that_was_copied_to_the_follow_up_is_found(cohort):
    mask = (cohort.folder / "1_baseline_mask.nii.gz").read_bytes()
    (cohort.folder / "1_followup_mask.nii.gz").write_bytes(mask)
    cohort.table.loc[1, ["followup_volume_ml", "he"]] = ""
    assert cohort.the("followup_mask", "another outline", "warn").patient_id == "P-002"


def test_two_exchanged_volumes_are_one_problem(cohort):
    cohort.swap("baseline_volume_ml", "followup_volume_ml")
    cohort.table.loc[1, "he"] = ""
    assert "each that of the other mask" in cohort.the("baseline_volume_ml", "fit baseline_mask").value


def test_exchanged_scans_are_told_by_their_names(cohort):
    for kind in ("ct", "mask"):
        cohort.swap(f"baseline_{kind}", f"followup_{kind}")
    cohort.swap("baseline_volume_ml", "followup_volume_ml")
    cohort.table.loc[1, "he"] = ""
    assert cohort.the("baseline_ct", "name a file of the first scan", "warn").line == 3


def test_a_hematoma_that_shrinks_within_a_day_is_doubted(tables):
    tables.table.loc[30, ["baseline_volume_ml", "followup_volume_ml", "he"]] = 40.0, 12.0, 0
    assert tables.the("followup_volume_ml", "two thirds", "warn").patient_id == "P-031"


def test_volume_columns_exchanged_in_the_header_are_found(tables):
    table = tables.table.drop(columns="he")
    before, after = "baseline_volume_ml", "followup_volume_ml"
    table[after] = table[before] * 1.1
    tables.table = table.rename(columns={before: after, after: before})
    assert tables.the(after, "in most patients").remedy.startswith("The two columns")


def test_masks_exchanged_between_two_grids_are_found(cohort):
    hu, mask = head(99, 18)
    write_nifti(cohort.folder / "1_followup_ct.nii.gz", hu[:, :, 1:], AFFINE, dtype=np.int16)
    write_nifti(cohort.folder / "1_followup_mask.nii.gz", mask[:, :, 1:], AFFINE, dtype=np.uint8)
    cohort.swap("baseline_mask", "followup_mask")
    assert "Exchange" in cohort.the("baseline_mask", "that of followup_ct").remedy


def test_a_volume_that_is_not_the_masks_is_found(cohort):
    cohort.table.loc[1, ["followup_volume_ml", "he"]] = 80.0, 1
    assert "of followup_mask" in cohort.the("followup_volume_ml", "within 25%").rule


def test_two_scans_of_one_moment_are_no_pair(tables):
    tables.table.loc[9, "ct_to_followup_h"] = 0
    assert tables.the("ct_to_followup_h", "be above 0").patient_id == "P-010"


def test_a_negative_time_to_follow_up_is_found(tables):
    tables.table.loc[9, "ct_to_followup_h"] = -20
    assert [p.patient_id for p in tables.problems() if p.column == "ct_to_followup_h"] == ["P-010"]


def test_exchanged_blood_pressures_are_found(tables):
    tables.table.loc[9, ["sbp_mmhg", "dbp_mmhg"]] = 90, 160
    assert tables.the("dbp_mmhg", "above the systolic").patient_id == "P-010"


def test_ventricular_blood_inside_the_other_mask_is_found(cohort):
    cohort.table["baseline_ivh_mask"] = ""
    (cohort.folder / "ivh.nii.gz").write_bytes((cohort.folder / "1_baseline_mask.nii.gz").read_bytes())
    cohort.table.loc[1, "baseline_ivh_mask"] = "ivh.nii.gz"
    assert cohort.the("baseline_ivh_mask", "not overlap baseline_mask").patient_id == "P-002"


def test_a_reading_that_denies_the_ventricular_mask_is_doubted(cohort):
    hu, _ = head(10, 16)
    blood = ellipsoid((0, 5, 8), (6, 18, 10))
    hu[blood] = np.rint(np.random.default_rng(1).normal(66, 3, blood.sum()))
    write_nifti(cohort.folder / "1_baseline_ct.nii.gz", hu, AFFINE, dtype=np.int16)
    write_nifti(cohort.folder / "ivh.nii.gz", blood, AFFINE, dtype=np.uint8)
    cohort.table["baseline_ivh_mask"], cohort.table["ivh"] = "", ""
    cohort.table.loc[1, ["baseline_ivh_mask", "ivh"]] = "ivh.nii.gz", "0"
    assert cohort.the("ivh", "baseline_ivh_mask", "warn").patient_id == "P-002"


def test_a_printed_outcome_that_the_volumes_contradict_is_found(tables):
    tables.table.loc[20, "he"] = 1 - tables.table.loc[20, "he"]
    assert tables.the("he", "by the printed volumes").patient_id == "P-021"


def test_a_constant_predictor_is_doubted(tables):
    tables.table["hypertension"] = 1
    assert "in all 60 patients" in tables.the("hypertension", "vary", "warn").value


def test_a_predictor_that_equals_the_outcome_is_refused(tables):
    tables.table["diabetes"] = tables.table["he"]
    assert "AUC of 1.000" in tables.the("diabetes", "give the outcome away").value


def test_a_predictor_that_nearly_separates_the_outcomes_is_refused(tables):
    noise = np.random.default_rng(2).uniform(0, 1.02, PATIENTS)
    tables.table["nihss"] = np.round(10 * (tables.table["he"].astype(float) + noise)).astype(int)
    assert "AUC of" in tables.the("nihss", "give the outcome away").value


def test_a_foreign_column_that_repeats_the_outcome_in_words_is_doubted(tables):
    tables.table["course"] = np.where(tables.table["he"] == 1, "grown", "stable")
    assert tables.the("course", "give the outcome away", "warn").remedy


@pytest.mark.parametrize("name", ["absolute", "relative", "second"])
def test_a_foreign_column_that_follows_the_growth_is_doubted(tables, name):
    before, after = (tables.table[f"{m}_volume_ml"].astype(float) for m in ("baseline", "followup"))
    told = {"absolute": np.cbrt(after - before), "relative": 100 * after / before, "second": after * 1000}
    tables.table["extra"] = told[name]
    assert tables.the("extra", "give the outcome away", "warn").remedy


def test_a_column_filled_in_only_after_expansion_is_found(tables):
    values = np.random.default_rng(3).integers(5, 20, PATIENTS)
    tables.table["nihss"] = np.where(tables.table["he"] == 1, values, "")
    assert "filled in almost only" in tables.the("nihss", "give the outcome away").value


def test_a_site_at_which_everybody_expands_is_doubted(tables):
    tables.table["site"] = np.where(tables.table["he"] == 1, "north", "south")
    assert "learn the site" in tables.the("site", "give the outcome away", "warn").remedy


def test_a_test_set_without_an_event_is_doubted(tables):
    tables.table["split"] = np.where(tables.table["he"] == 1, "development", "development")
    tables.table.loc[tables.table.index[tables.table["he"] == 0][:15], "split"] = "test"
    assert "0 with expansion among 15" in tables.the("split", "into the test set", "warn").value


def without_skull(hu, mask):
    return np.where(ellipsoid((0, 0, 0), (69, 81, 61)), hu, -1000.0), mask, AFFINE


def windowed(hu, mask):
    return np.clip(hu, 0, 80) * 3, mask, AFFINE


def without_intercept(hu, mask):
    return hu + 1024, mask, AFFINE


def without_slice_distance(hu, mask):
    return hu, mask, AFFINE @ np.diag([1, 1, 0.2, 1])


def in_centimetres(hu, mask):
    return hu, mask, AFFINE @ np.diag([0.1, 0.1, 0.1, 1])


def of_one_value(hu, mask):
    return np.full_like(hu, 30.0), mask, AFFINE


SCANS = [without_skull, windowed, without_intercept, without_slice_distance, in_centimetres, of_one_value]


@pytest.mark.parametrize("spoilt", SCANS, ids=lambda spoilt: spoilt.__name__)
def test_a_scan_that_is_not_what_it_seems_is_refused(cohort, spoilt):
    hu, mask, affine = spoilt(*head(10, 16))
    write_nifti(cohort.folder / "1_baseline_ct.nii.gz", hu, affine, dtype=np.int16)
    write_nifti(cohort.folder / "1_baseline_mask.nii.gz", mask, affine, dtype=np.uint8)
    cohort.table.loc[1, ["baseline_volume_ml", "he"]] = ""
    problem = cohort.the("baseline_ct", "baseline_ct must")
    assert (problem.patient_id, problem.line) == ("P-002", 3)


def test_a_head_that_is_cut_at_the_vertex_is_doubted(cohort):
    hu, mask = head(10, 16)
    write_nifti(cohort.folder / "1_baseline_ct.nii.gz", hu[:, :, :20], AFFINE, dtype=np.int16)
    write_nifti(cohort.folder / "1_baseline_mask.nii.gz", mask[:, :, :20], AFFINE, dtype=np.uint8)
    assert "last slice" in cohort.the("baseline_ct", "up to the vertex", "warn").value


def test_a_broken_quaternion_beside_a_good_affine_is_doubted_only(cohort):
    path = cohort.folder / "1_baseline_ct.nii.gz"
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[256:268] = np.array([3.0, 3.0, 3.0], np.float32).tobytes()  # quatern_b, c, d
    path.write_bytes(gzip.compress(bytes(data), 1))
    assert cohort.the("baseline_ct", "undamaged header", "warn").patient_id == "P-002"


MASKS = {
    "mirrored": (lambda mask: mask[::-1], "mirrored"),
    "in_air": (lambda mask: np.roll(mask, 32, axis=0), "head"),
    "of_brain": (lambda mask: ellipsoid((-30, 30, 10), (12, 12, 12)), "blood"),
    "inverted": (lambda mask: ~mask, "inverted"),
    "of_everything": (lambda mask: np.ones_like(mask), "every voxel"),
    "of_255": (lambda mask: 255 * mask.astype(int), "255"),
    "with_a_second_label": (lambda mask: mask * (1 + (PLACES[2] > 4)), "2"),
    "cropped": (lambda mask: mask[1:], "grid"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_that_is_not_the_scans_hematoma_is_refused(cohort, kind):
    spoil, words = MASKS[kind]
    write_nifti(cohort.folder / "1_baseline_mask.nii.gz", spoil(head(10, 16)[1]), AFFINE, dtype=np.uint8)
    cohort.table.loc[1, ["baseline_volume_ml", "he"]] = ""
    said = [str(p) for p in cohort.problems() if p.column == "baseline_mask" and p.severity == "refuse" and p.remedy]
    assert any(words in sentence and "patient P-002" in sentence for sentence in said), said


FILES = {
    "empty": b"",
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "truncated": gzip.compress(b"n" * 100)[:20],
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_scan_is_refused(cohort, kind):
    (cohort.folder / "1_baseline_ct.nii.gz").write_bytes(FILES[kind])
    assert cohort.the("baseline_ct", "1_baseline_ct.nii.gz").patient_id == "P-002"


CELLS = [
    ("age", 640, "age must"),
    ("age", "64 y", "age must"),
    ("sex", "male", "sex must"),
    ("gcs", 2, "gcs must"),
    ("gcs", 14.5, "gcs must"),
    ("sbp_mmhg", 1700, "sbp_mmhg must"),
    ("onset_to_ct_h", -1, "onset_to_ct_h must"),
    ("onset_to_ct_h", 999, "onset_to_ct_h must"),
    ("ct_to_followup_h", 1440, "ct_to_followup_h must"),
    ("baseline_volume_ml", 12000, "baseline_volume_ml must"),
    ("followup_volume_ml", -9, "followup_volume_ml must"),
    ("glucose_mmol_l", 126, "glucose_mmol_l must"),
    ("hypertension", 2, "hypertension must"),
    ("inr", "NA", "inr must"),
    ("split", "validation", "split must"),
    ("split", "", "split must"),
    ("patient_id", "Doe, Jane", "patient_id must"),
    ("patient_id", "", "patient_id must"),
    ("baseline_ct", "lost.nii.gz", "baseline_ct must"),
]


@pytest.mark.parametrize(("column", "value", "words"), CELLS, ids=[f"{column}={value}" for column, value, _ in CELLS])
def test_a_wrong_cell_is_refused_with_its_line(tables, column, value, words):
    tables.table[column] = tables.table[column].astype(object)
    tables.table.loc[33, column] = value
    said = tables.the(column, words)
    assert said.line == 35


def test_an_unreadable_scan_hides_no_other_patients_fault(cohort):
    (cohort.folder / "0_baseline_ct.nii.gz").write_bytes(b"<html>not found</html>")
    cohort.table.loc[44, "age"] = 300
    assert [p.line for p in cohort.problems() if p.column in ("baseline_ct", "age")] == [2, 46]
