"""Faults planted in a clean cohort, one at a time: each is found where it was planted, named, and has a remedy."""

import gzip

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from hepred_lib.cohort.expansion import expansion_label
from hepred_lib.imaging.scans import write_nifti
from hepred_lib.intake.check import check_manifest
from tests.cohort.test_planted_tables import clean_table
from tests.imaging.test_planted_images import AFFINE, SHAPE, ellipsoid

PATIENTS, WITH_IMAGES = 60, 3
MM = tuple(np.diag(AFFINE)[:3])


def head(seed: int, radius_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """HU and the mask of one hematoma: scalp, skull, brain, ventricles, and noise of its own."""
    hu = np.full(SHAPE, -1000.0)
    for axes, value in (((80, 92, 72), 40), ((76, 88, 68), 1000), ((70, 82, 62), 34)):
        hu[ellipsoid((0, 0, 0), axes)] = value
    hu[ellipsoid((0, 5, 8), (7, 25, 12))] = 8
    mask = ellipsoid((34, 5, 4), (radius_mm, radius_mm, radius_mm))
    hu[mask] = 66
    noise = np.random.default_rng(seed).normal(0, 3, SHAPE)
    return np.rint(hu + np.where(hu > -900, noise, 0)), mask


def volume_ml(mask: np.ndarray) -> float:
    return float(mask.sum() * np.prod(MM) / 1000)


def clean_cohort() -> pd.DataFrame:
    """Sixty patients of whom some expand, with measurements that say little about it."""
    table = clean_table(PATIENTS)
    for name in table.columns.drop(["patient_id", "site", "location", "sex"]):
        table[name] = table[name].astype(float)
    table["patient_id"] = [f"P-{k:03d}" for k in range(1, PATIENTS + 1)]
    table["split"] = np.where(np.arange(PATIENTS) % 4 == 3, "test", "development")
    table["he"] = expansion_label(table["baseline_volume_ml"], table["followup_volume_ml"])
    table["dbp_mmhg"] = np.random.default_rng(5).integers(70, 110, PATIENTS)
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
        self.folder, self.table = folder, clean_cohort()
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

    def the(self, column, words):
        """The one problem of a column whose sentence holds these words; it must say what to do."""
        severity, words = ("warn", words[5:]) if words.startswith("warn ") else ("refuse", words)
        said = [p for p in self.problems() if p.column == column and words in str(p)]
        assert [p.severity for p in said] == [severity], [str(p) for p in self.problems()]
        assert said[0].remedy
        return said[0]

    def image(self, name, voxels, affine=AFFINE):
        kind = np.uint8 if "mask" in name else np.int16
        write_nifti(self.folder / f"1_{name}.nii.gz", voxels, affine, dtype=kind)

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


def put(k, **values):
    return lambda t: [t.__setitem__(name, t.get(name, "").mask(t.index == k, v)) for name, v in values.items()]


def column(name, of):
    """A column as a function of the table, of who expands and of random numbers."""
    return lambda t: t.__setitem__(name, of(t, t["he"].astype(int), np.random.default_rng(3)))


def entered_twice(t):
    facts = [name for name in t if name not in ("patient_id", "split")]
    t.loc[43, facts] = t.loc[22, facts]


def exchanged_volumes(t):
    t["baseline_volume_ml"], t["he"] = t["baseline_volume_ml"] * 1.1, ""
    t["followup_volume_ml"] = t["baseline_volume_ml"] / 1.1


def without_event(t):
    t["split"] = "development"
    t.loc[t.index[t["he"] == 0][:15], "split"] = "test"


def growth(t):
    return (t["followup_volume_ml"] - t["baseline_volume_ml"]).astype(float)


SHRUNK = put(30, baseline_volume_ml=40.0, followup_volume_ml=12.0, he=0)
FAULTS = [
    (put(50, patient_id="p-004"), "patient_id", "p-004 beside P-004 on line 5"),
    (put(50, patient_id="P_4"), "patient_id", "leading zeros"),
    (entered_twice, "the row", "P-023 on line 24, one in development and one in test (patient P-044"),
    (SHRUNK, "followup_volume_ml", "warn the baseline volume of 40 mL within 72 h, got 12 (patient P-031"),
    (exchanged_volumes, "followup_volume_ml", "in most patients"),
    (put(9, ct_to_followup_h=0), "ct_to_followup_h", "be above 0, got 0 (patient P-010"),
    (put(9, sbp_mmhg=90, dbp_mmhg=160), "dbp_mmhg", "be below the systolic pressure of 90"),
    (put(9, sbp_mmhg=90, dbp_mmhg=90), "dbp_mmhg", "be below the systolic pressure of 90"),
    (put(20, baseline_volume_ml=20.0, followup_volume_ml=21.0, he=1), "he", "must be 0 by the printed volumes"),
    (column("hypertension", lambda t, he, rng: 1), "hypertension", "warn vary between patients"),
    (column("diabetes", lambda t, he, rng: he), "diabetes", "give the outcome away, got an AUC of 1.000"),
    (column("gcs", lambda t, he, rng: np.rint(6 * (he + rng.uniform(0.5, 1.5, PATIENTS)))), "gcs", "got an AUC of"),
    (column("course", lambda t, he, rng: np.where(he == 1, "grown", "stable")), "course", "warn the outcome away"),
    (column("extra", lambda t, he, rng: np.cbrt(growth(t))), "extra", "warn the outcome away"),
    (column("extra", lambda t, he, rng: growth(t) / t["baseline_volume_ml"]), "extra", "warn the outcome away"),
    (column("extra", lambda t, he, rng: t["followup_volume_ml"] * 1000), "extra", "warn the outcome away"),
    (column("nihss", lambda t, he, rng: np.where(he == 1, rng.integers(5, 20, PATIENTS), "")), "nihss", "filled in"),
    (column("site", lambda t, he, rng: np.where(he == 1, "north", "south")), "site", "warn learn the site"),
    (without_event, "split", "warn into the test set, got 0 with expansion among 15"),
]


@pytest.mark.parametrize(("edit", "column", "words"), FAULTS)
def test_a_fault_of_the_table_is_found_where_it_was_planted(tables, edit, column, words):
    edit(tables.table)
    tables.the(column, words)


def test_rows_that_agree_in_a_few_coarse_values_are_no_duplicates(tables):
    tables.table = tables.table[["patient_id", "he", "age", "sex", "gcs"]]
    tables.table.loc[43, ["age", "sex", "gcs"]] = tables.table.loc[22, ["age", "sex", "gcs"]]
    assert tables.problems() == []


def another_header(cohort):
    image = nib.load(cohort.folder / "0_baseline_ct.nii.gz")
    renamed = nib.Nifti1Image(np.asarray(image.dataobj, dtype=np.float32), AFFINE + 7.0 * np.eye(4, k=3))
    renamed.header["descrip"] = b"another"
    nib.save(renamed, cohort.folder / "1_baseline_ct.nii")
    cohort.table.loc[1, ["baseline_ct", "baseline_mask"]] = "1_baseline_ct.nii", ""


def mirrored_copy(cohort):
    hu, mask = head(0, 14)
    cohort.image("baseline_ct", hu[::-1])
    cohort.image("baseline_mask", mask[::-1])
    cohort.table.loc[1, ["baseline_volume_ml", "he"]] = volume_ml(mask), ""


def first_scan_again(cohort):
    cohort.table.loc[1, "followup_ct"] = cohort.table.loc[1, "baseline_ct"]


def mask_of_another(cohort):
    cohort.table.loc[1, "baseline_mask"] = cohort.table.loc[0, "baseline_mask"]


def copied_mask(cohort):
    mask = (cohort.folder / "1_baseline_mask.nii.gz").read_bytes()
    (cohort.folder / "1_followup_mask.nii.gz").write_bytes(mask)
    cohort.table.loc[1, ["followup_volume_ml", "he"]] = ""


def swapped_volumes(cohort):
    cohort.swap("baseline_volume_ml", "followup_volume_ml")
    cohort.table.loc[1, "he"] = ""


def swapped_scans(cohort):
    for kind in ("ct", "mask"):
        cohort.swap(f"baseline_{kind}", f"followup_{kind}")
    swapped_volumes(cohort)


def swapped_masks(cohort):
    hu, mask = head(99, 18)
    cohort.image("followup_ct", hu[:, :, 1:])
    cohort.image("followup_mask", mask[:, :, 1:])
    cohort.swap("baseline_mask", "followup_mask")


def counted_twice(cohort):
    cohort.table["baseline_ivh_mask"] = ""
    (cohort.folder / "ivh.nii.gz").write_bytes((cohort.folder / "1_baseline_mask.nii.gz").read_bytes())
    cohort.table.loc[1, "baseline_ivh_mask"] = "ivh.nii.gz"


def denied_blood(cohort):
    hu, _ = head(10, 16)
    blood = ellipsoid((0, 5, 8), (6, 18, 10))
    hu[blood] = np.rint(np.random.default_rng(1).normal(66, 3, blood.sum()))
    cohort.image("baseline_ct", hu)
    write_nifti(cohort.folder / "ivh.nii.gz", blood, AFFINE, dtype=np.uint8)
    cohort.table["baseline_ivh_mask"], cohort.table["ivh"] = "", ""
    cohort.table.loc[1, ["baseline_ivh_mask", "ivh"]] = "ivh.nii.gz", "0"


def cut_vertex(cohort):
    hu, mask = head(10, 16)
    cohort.image("baseline_ct", hu[:, :, :20])
    cohort.image("baseline_mask", mask[:, :, :20])


def broken_quaternion(cohort):
    path = cohort.folder / "1_baseline_ct.nii.gz"
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[256:268] = np.array([3.0, 3.0, 3.0], np.float32).tobytes()  # quatern_b, c, d
    path.write_bytes(gzip.compress(bytes(data), 1))


def no_scan(cohort):
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (cohort.folder / "1_baseline_ct.nii.gz").write_bytes(text)


IMAGES = [
    (another_header, "baseline_ct", "another image than baseline_ct of patient P-001, got the same voxels in"),
    (mirrored_copy, "baseline_ct", "the same voxels (mirrored or turned)"),
    (first_scan_again, "followup_ct", "another image than baseline_ct of patient P-002"),
    (mask_of_another, "baseline_mask", "name another file than baseline_mask on line 2"),
    (copied_mask, "followup_mask", "warn another outline"),
    (swapped_volumes, "baseline_volume_ml", "each that of the other mask"),
    (swapped_scans, "baseline_ct", "warn name a file of the first scan"),
    (swapped_masks, "baseline_mask", "Exchange baseline_mask and followup_mask"),
    (counted_twice, "baseline_ivh_mask", "not overlap baseline_mask"),
    (denied_blood, "ivh", "warn baseline_ivh_mask"),
    (cut_vertex, "baseline_ct", "warn up to the vertex, got brain in the last slice"),
    (broken_quaternion, "baseline_ct", "warn undamaged header"),
    (no_scan, "baseline_ct", "a Git LFS pointer"),
    (lambda c: c.image("baseline_ct", np.clip(head(10, 16)[0], 0, 80) * 3), "baseline_ct", "in Hounsfield units"),
    (lambda c: c.image("baseline_mask", head(10, 16)[1][::-1]), "baseline_mask", "mirrored"),
]


@pytest.mark.parametrize(("spoil", "column", "words"), IMAGES)
def test_a_fault_of_the_images_is_found_where_it_was_planted(cohort, spoil, column, words):
    spoil(cohort)
    problem = cohort.the(column, words)
    assert (problem.patient_id, problem.line) == ("P-002", 3)
