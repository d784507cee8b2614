"""A whole simulated cohort: manifest, truth, scans.

Everything about patient k follows from the seed, the site and k alone: neither the size of the cohort nor the number of
processes changes it. The clinical effects are about twice the published size (see `growth`), and nothing that is
measured on such a cohort speaks of clinical performance.
"""

import multiprocessing
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.imaging.scans import write_nifti
from hepred_lib.progress import progress
from hepred_lib.simulation import growth
from hepred_lib.simulation.draws import SITE_KEYS, Draws, patient_generator
from hepred_lib.simulation.patients import (
    CASE_MIX,
    LOCATIONS,
    delete_values,
    gcs_mean,
    simulate_clinical,
    simulate_consciousness,
    simulate_hemorrhage,
)
from hepred_lib.simulation.render import SimulatedScan, render_scan
from hepred_lib.simulation.signs import SIGNS, simulate_signs
from hepred_lib.study.definition import StudyError
from hepred_lib.study.files import file_sha256, read_json, write_json, write_table
from hepred_lib.study.identity import simulation_code

BLOOD_FREE_SHARE = 0.1
ID_LETTERS = {"hemorrhage": "", "blood_free": "F"}
SETTINGS, CHECKSUMS = "scans/settings.json", "scans/checksums.json"
SCAN_COLUMNS = ("baseline_ct", "baseline_mask", "baseline_ivh_mask")
PREDICTORS = ("onset_to_ct_h", "anticoagulant", "antiplatelet", "sex", "gcs", "fibrinogen_g_l", "sbp_mmhg")
PROXIES = (
    *("age", "hypertension", "dbp_mmhg", "nihss", "glucose_mmol_l", "inr", "hemoglobin_g_dl"),
    *("smoking", "alcohol", "prior_stroke", "location", "baseline_volume_ml"),
)
NULLS = (
    *("diabetes", "prior_ich", "platelets_10e9_l", "creatinine_umol_l", "wbc_10e9_l", "heart_rate_bpm"),
    *("temperature_c", "sodium_mmol_l", "potassium_mmol_l", "ldl_mmol_l", "ct_to_followup_h"),
)
ORACLE = ("p_image", "p_clinical", "p_integrated")
LATENTS = (
    *("true_baseline_ml", "true_followup_ml", "active", "location", "ivh", "z_volume", "density", "shape"),
    *("logit_clinical", "logit_image"),
)


def cohort_tables(n_patients: int, seed: int, site: str = "A") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Manifest and truth of `n_patients` hemorrhages and a tenth as many blood-free patients, without scans.

    Parameters
    ----------
    n_patients : int
        Hemorrhages, >= 1.
    seed : int
        >= 0.
    site : str
        "A" or "B".

    Returns
    -------
    manifest, truth : DataFrame
        One row a patient; a missing value is empty in the manifest, and the oracle of a blood-free patient is NaN.

    Raises
    ------
    StudyError
        If the number or the seed is negative, or the site is unknown.
    """
    _check(n_patients, seed, site)
    parts = [_hemorrhages(n_patients, seed, site), _blood_free((n_patients + 5) // 10, seed, site)]
    manifest, truth = (pd.concat([part[k] for part in parts], ignore_index=True) for k in (0, 1))
    whole = {c: "Int64" for c in ("he", "ivh")}, {c: "Int64" for c in ("active", "ivh", *SIGNS)}
    return manifest.reindex(columns=_manifest_columns(manifest)).astype(whole[0]), truth.astype(whole[1])


def _check(n_patients: int, seed: int, site: str) -> None:
    if n_patients < 1:
        raise StudyError(f"n_patients must be >= 1, got {n_patients}.")
    if seed < 0:
        raise StudyError(f"seed must be >= 0, got {seed}.")
    if site not in SITE_KEYS:
        raise StudyError(f"site must be one of {', '.join(SITE_KEYS)}, got {site!r}.")


def _hemorrhages(n: int, seed: int, site: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    mix = CASE_MIX[site]
    draws = Draws.of_patients(n, seed=seed, site=site, stream="hemorrhage")
    clinical = simulate_clinical(draws, mix)
    blood = simulate_hemorrhage(draws, mix, clinical["onset_to_ct_h"])
    seat = blood["location"].map(LOCATIONS.index).to_numpy()
    coma = simulate_consciousness(draws, gcs_mean(blood["z_volume"], blood["ivh"], seat), clinical["diabetes"])
    table = pd.concat([clinical, coma, blood, simulate_signs(draws, blood)], axis=1)
    table = pd.concat([_identity(n, site, "hemorrhage"), table, growth.simulate_growth(draws, table, mix)], axis=1)
    table["logit_clinical"], table["logit_image"] = growth.clinical_logit(table, mix), growth.image_logit(table)
    oracle = growth.build_oracle(mix).probabilities(table)
    truth = pd.concat([table[["patient_id"]], oracle, table[["site", *LATENTS, *SIGNS]]], axis=1)
    return delete_values(table, draws), truth.assign(blood_free=0)


def _blood_free(n: int, seed: int, site: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    mix = CASE_MIX[site]
    draws = Draws.of_patients(n, seed=seed, site=site, stream="blood_free")
    clinical = simulate_clinical(draws, mix).drop(columns="ct_to_followup_h")
    coma = simulate_consciousness(draws, np.full(n, 15.0), clinical["diabetes"])
    table = pd.concat([_identity(n, site, "blood_free"), clinical, coma], axis=1).assign(ivh=0)
    return delete_values(table, draws), table[["patient_id", "site"]].assign(blood_free=1)


def _identity(n: int, site: str, stream: str) -> pd.DataFrame:
    letter = ID_LETTERS[stream]
    return pd.DataFrame({"patient_id": [f"SIM-{site}-{letter}{k:05d}" for k in range(1, n + 1)], "site": site})


def _manifest_columns(table: pd.DataFrame) -> list[str]:
    """The manifest's own columns in their order, then the extra ones; the latent ones stay behind."""
    hidden = {*LATENTS, *SIGNS} - set(COLUMNS)
    return [*COLUMNS, *(name for name in table.columns if name not in COLUMNS and name not in hidden)]


def simulate_cohort(
    out: Path,
    *,
    n_patients: int,
    seed: int,
    site: str = "A",
    matrix: int = 256,
    with_scans: bool = True,
    n_processes: int | None = None,
) -> None:
    """Write a cohort: `manifest.csv`, `truth.csv`, `truth.json` and, under `scans/`, the head CTs with their masks.

    Scans come first, the tables last; scans that are already complete are kept, so that a killed simulation resumes.
    What was deleted is made again; a scan or mask that is not what the simulation wrote is refused, never replaced or
    left out: someone may have corrected it. Another version of the simulation makes all scans again.

    Parameters
    ----------
    out : Path
        Folder, made when absent.
    n_patients, seed, site
        As for `cohort_tables`.
    matrix : int
        In-plane pixels of the scans, 64 to 1024.
    with_scans : bool
        False makes the tables alone.
    n_processes : int, optional
        Default: one a core.

    Raises
    ------
    StudyError
        If an argument is out of range, or the folder holds scans of other settings or scans that were changed.
    """
    out = Path(out)
    if not 64 <= matrix <= 1024:
        raise StudyError(f"matrix must be within 64 to 1024, got {matrix}.")
    manifest, truth = cohort_tables(n_patients, seed, site)
    settings = {"seed": seed, "site": site, "matrix": matrix if with_scans else None}
    out.mkdir(parents=True, exist_ok=True)
    if with_scans:
        listed = _earlier_scans(out, settings)
        _write_scans(
            out, manifest, truth, settings=settings, listed=listed, n_processes=n_processes or os.cpu_count() or 1
        )
        manifest = manifest.assign(**_scan_paths(out, manifest))
        names = {path for column in SCAN_COLUMNS for path in manifest[column] if path} | set(listed)
        sums = {name: file_sha256(out / name) for name in sorted(names) if (out / name).exists()}
        write_json(out / CHECKSUMS, sums)
    note = {"settings": settings | {"n_patients": n_patients}, **_truth_record()}
    write_json(out / "truth.json", note)
    write_table(out / "truth.csv", truth)
    write_table(out / "manifest.csv", manifest)


def _truth_record() -> dict[str, Any]:
    return {
        "predictors": {"clinical": list(PREDICTORS), "image": ["true_baseline_ml", "density", "shape", "ivh"]},
        "proxies": list(PROXIES),
        "nulls": list(NULLS),
        "coefficients": {"intercept": growth.INTERCEPT, "clinical": growth.CLINICAL, "image": growth.IMAGE},
        "note": "Simulated. Clinical effects are about twice the published size.",
    }


def _earlier_scans(out: Path, settings: dict[str, Any]) -> set[str]:
    """Names of the scans and masks that an earlier simulation of the same cohort wrote.

    Scans of another seed, site or matrix under the same names would pass for this cohort's.
    """
    record, code = out / SETTINGS, simulation_code()
    before = read_json(record) if record.exists() else settings
    made_by = before.pop("code", code)
    if before != settings:
        raise StudyError(f"OUT must be empty or hold scans of the same settings {settings}, got {before} ({out}).")
    checksums = read_json(out / CHECKSUMS) if (out / CHECKSUMS).exists() else {}
    there = [name for name in checksums if (out / name).exists()]
    changed = [name for name in there if file_sha256(out / name) != checksums[name]]
    if changed:
        others = f" and {len(changed) - 1} more files" if len(changed) > 1 else ""
        raise StudyError(
            f"OUT must hold scans as they were simulated, got {out / changed[0]}{others} with other content. "
            "Delete what is to be made again, or simulate into another folder."
        )
    if made_by != code:
        for path in (out / "scans").glob("SIM-*.nii.gz"):
            path.unlink()
    record.parent.mkdir(exist_ok=True)
    write_json(record, settings | {"code": code})
    return set(checksums)


def _write_scans(
    out: Path, manifest: pd.DataFrame, truth: pd.DataFrame, *, settings: dict, listed: set[str], n_processes: int
) -> None:
    rows = truth.join(manifest[["age", "sex"]]).to_dict("records")
    jobs = [row for row in rows if not _is_complete(out, row["patient_id"], listed)]
    work = partial(_write_scan, out, settings)
    if n_processes == 1 or len(jobs) < 2:
        with threadpool_limits(1):
            for row in progress(jobs, desc="scans", unit="scan"):
                work(row)
        return
    with multiprocessing.get_context().Pool(
        min(n_processes, len(jobs)), initializer=threadpool_limits, initargs=(1,)
    ) as pool:
        for _ in progress(pool.imap_unordered(work, jobs), total=len(jobs), desc="scans", unit="scan"):
            pass


def _is_complete(out: Path, patient_id: str, listed: set[str]) -> bool:
    """Whether a patient has the scan, its mask, and whatever else an earlier simulation wrote."""
    names = {column: _path(patient_id, column) for column in SCAN_COLUMNS}
    needed = [name for column, name in names.items() if column != "baseline_ivh_mask" or name in listed]
    return all((out / name).exists() for name in needed)


def _write_scan(out: Path, settings: dict[str, Any], row: dict[str, Any]) -> None:
    """Masks first: a scan that exists is complete."""
    name, scan = row["patient_id"], simulate_scan(row, **settings)
    write_nifti(out / _path(name, "baseline_mask"), scan.mask.view(np.uint8), scan.affine, dtype=np.uint8)
    if scan.ivh_mask.any():
        write_nifti(out / _path(name, "baseline_ivh_mask"), scan.ivh_mask.view(np.uint8), scan.affine, dtype=np.uint8)
    write_nifti(out / _path(name, "baseline_ct"), scan.hu, scan.affine, dtype=np.int16)


def simulate_scan(row: dict[str, Any], *, seed: int, site: str, matrix: int) -> SimulatedScan:
    """The baseline scan of one patient: a row of the truth with `age` and `sex` of the manifest."""
    stream = "blood_free_scan" if row["blood_free"] else "hemorrhage_scan"
    rng = patient_generator(seed, site, stream=stream, number=int(row["patient_id"][-5:]))
    signs = frozenset(sign for sign in SIGNS if not row["blood_free"] and row[sign])
    return render_scan(row, signs, site=site, matrix=matrix, rng=rng)


def _path(patient_id: str, column: str) -> str:
    return f"scans/{patient_id}_{column}.nii.gz"


def _scan_paths(out: Path, manifest: pd.DataFrame) -> dict[str, list[str]]:
    names = manifest["patient_id"]
    return {c: [p if (out / p).exists() else "" for p in (_path(n, c) for n in names)] for c in SCAN_COLUMNS}
