"""A whole simulated cohort: manifest, truth and scans; and the figure data that explain its oracle.

Everything about patient k follows from the seed, the site and k alone: neither the size of the cohort nor the number of
processes changes it. The clinical effects are about twice the published size (see `growth`): nothing measured on such a
cohort is evidence of clinical performance.

Vocabulary
----------
*Manifest*: the table that a study reads, one row per patient, with the paths of scans and masks. *Truth*: what a study
must not read, one row per patient: the latent variables, the signs and the *oracle*, the probability of expansion given
the image, the bedside variables, or both. *Predictors* act on the outcome, *proxies* are associated with it through a
predictor or the volume only, *nulls* are independent of it.
"""

import json
import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from scipy.stats import beta
from sklearn.metrics import roc_auc_score, roc_curve
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hepred_lib.cohort.rules import COLUMNS
from hepred_lib.disk import file_sha256, write_changed
from hepred_lib.imaging.scans import write_nifti
from ich_phantom import PhantomError, code_digest, growth
from ich_phantom import patients as bedside
from ich_phantom.patients import CASE_MIX, SIGNS, SITE_KEYS, Draws, patient_generator, simulate_clinical
from ich_phantom.render import SimulatedScan, render_scan

ID_LETTERS = {"hemorrhage": "", "blood_free": "F"}
SETTINGS, CHECKSUMS = "scans/settings.json", "scans/checksums.json"
BAR = {"desc": "scans", "unit": "scan", "mininterval": 1.0, "disable": None}  # None: shown on a terminal only
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
# What `truth.json` says of how the outcome was generated.
GENERATED_BY = {
    "predictors": {"clinical": PREDICTORS, "image": ("true_baseline_ml", "density", "shape", "ivh")},
    "proxies": PROXIES,
    "nulls": NULLS,
    "coefficients": {"intercept": growth.INTERCEPT, "clinical": growth.CLINICAL, "image": growth.IMAGE},
    "note": "Simulated. Clinical effects are about twice the published size.",
}
POINTS_PER_OUTCOME, CURVE_POINTS, BINS = 350, 101, 10  # of the figure of the truth


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
        One row per patient; a missing value is empty in the manifest, and the oracle of a blood-free patient is NaN.

    Raises
    ------
    PhantomError
        If the number or the seed is negative, or the site is unknown.
    """
    if n_patients < 1:
        raise PhantomError(f"n_patients must be >= 1, got {n_patients}.")
    if seed < 0:
        raise PhantomError(f"seed must be >= 0, got {seed}.")
    if site not in SITE_KEYS:
        raise PhantomError(f"site must be one of {', '.join(SITE_KEYS)}, got {site!r}.")
    parts = [_hemorrhages(n_patients, seed, site), _blood_free((n_patients + 5) // 10, seed, site)]
    manifest, truth = (pd.concat([part[k] for part in parts], ignore_index=True) for k in (0, 1))
    whole = {c: "Int64" for c in ("he", "ivh")}, {c: "Int64" for c in ("active", "ivh", *SIGNS)}
    return manifest.reindex(columns=_manifest_columns(manifest)).astype(whole[0]), truth.astype(whole[1])


def _hemorrhages(n: int, seed: int, site: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    mix = CASE_MIX[site]
    draws = Draws.of_patients(n, seed=seed, site=site, stream="hemorrhage")
    clinical = simulate_clinical(draws, mix)
    blood = bedside.simulate_hemorrhage(draws, mix, clinical["onset_to_ct_h"])
    seat = blood["location"].map(bedside.LOCATIONS.index).to_numpy()
    gcs_mean = bedside.gcs_mean(blood["z_volume"], blood["ivh"], seat)
    coma = bedside.simulate_consciousness(draws, gcs_mean, clinical["diabetes"])
    table = pd.concat([clinical, coma, blood, bedside.simulate_signs(draws, blood)], axis=1)
    table = pd.concat([_identity(n, site, "hemorrhage"), table, growth.simulate_growth(draws, table, mix)], axis=1)
    table["logit_clinical"], table["logit_image"] = growth.clinical_logit(table, mix), growth.image_logit(table)
    oracle = growth.build_oracle(mix).probabilities(table)
    truth = pd.concat([table[["patient_id"]], oracle, table[["site", *LATENTS, *SIGNS]]], axis=1)
    return bedside.delete_values(table, draws), truth.assign(blood_free=0)


def _blood_free(n: int, seed: int, site: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    mix = CASE_MIX[site]
    draws = Draws.of_patients(n, seed=seed, site=site, stream="blood_free")
    clinical = simulate_clinical(draws, mix).drop(columns="ct_to_followup_h")
    coma = bedside.simulate_consciousness(draws, np.full(n, 15.0), clinical["diabetes"])
    table = pd.concat([_identity(n, site, "blood_free"), clinical, coma], axis=1).assign(ivh=0)
    return bedside.delete_values(table, draws), table[["patient_id", "site"]].assign(blood_free=1)


def _identity(n: int, site: str, stream: str) -> pd.DataFrame:
    letter = ID_LETTERS[stream]
    return pd.DataFrame({"patient_id": [f"SIM-{site}-{letter}{k:05d}" for k in range(1, n + 1)], "site": site})


def _manifest_columns(table: pd.DataFrame) -> list[str]:
    """The manifest's own columns in their order, then the extra ones; latent variables are left out."""
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
        False writes the tables only.
    n_processes : int, optional
        Default: one per core.

    Raises
    ------
    PhantomError
        If an argument is out of range, or the folder holds scans of other settings or scans that were changed.
    """
    out = Path(out)
    if not 64 <= matrix <= 1024:
        raise PhantomError(f"matrix must be within 64 to 1024, got {matrix}.")
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
        _write_json(out / CHECKSUMS, sums)
    _write_json(out / "truth.json", {"settings": settings | {"n_patients": n_patients}, **GENERATED_BY})
    for name, table in {"truth": truth, "manifest": manifest}.items():
        write_changed(out / f"{name}.csv", table.to_csv(index=False, lineterminator="\n").encode())


def _earlier_scans(out: Path, settings: dict[str, Any]) -> set[str]:
    """Names of the scans and masks that an earlier simulation of the same cohort wrote.

    Scans of another seed, site or matrix under the same names would pass for this cohort's.
    """
    record, code = out / SETTINGS, code_digest()
    before = _read_json(record) if record.exists() else settings
    made_by = before.pop("code", code)
    if before != settings:
        raise PhantomError(f"OUT must be empty or hold scans of the same settings {settings}, got {before} ({out}).")
    checksums = _read_json(out / CHECKSUMS) if (out / CHECKSUMS).exists() else {}
    there = [name for name in checksums if (out / name).exists()]
    changed = [name for name in there if file_sha256(out / name) != checksums[name]]
    if changed:
        others = f" and {len(changed) - 1} more files" if len(changed) > 1 else ""
        raise PhantomError(
            f"OUT must hold scans as they were simulated, got {out / changed[0]}{others} with other content. "
            "Delete what is to be made again, or simulate into another folder."
        )
    if made_by != code:
        for path in (out / "scans").glob("SIM-*.nii.gz"):
            path.unlink()
    record.parent.mkdir(exist_ok=True)
    _write_json(record, settings | {"code": code})
    return set(checksums)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise ValueError("not a regular file")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except (ValueError, RecursionError) as error:
        raise PhantomError(f"cannot use {path}: {error}. Simulate into another folder.") from error
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_changed(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _write_scans(
    out: Path, manifest: pd.DataFrame, truth: pd.DataFrame, *, settings: dict, listed: set[str], n_processes: int
) -> None:
    rows = truth.join(manifest[["age", "sex"]]).to_dict("records")
    jobs = [row for row in rows if not _is_complete(out, row["patient_id"], listed)]
    work = partial(_write_scan, out, settings)
    if n_processes == 1 or len(jobs) < 2:
        with threadpool_limits(1):
            for row in tqdm(jobs, **BAR):
                work(row)
        return
    with multiprocessing.get_context().Pool(min(n_processes, len(jobs)), initializer=_begin_worker) as pool:
        for _ in tqdm(pool.imap_unordered(work, jobs), total=len(jobs), **BAR):
            pass


def _begin_worker() -> None:
    """One thread, and no signal handler of the caller: at the end the pool ends its workers by SIGTERM.

    A worker that answered it as the command does, by an exception, could wait for a lock for ever.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threadpool_limits(1)


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


def portray_truth(n_patients: int = 20_000, *, seed: int, site: str = "A") -> pd.DataFrame:
    """Four panels that explain the oracle.

    Parameters
    ----------
    n_patients : int
        Hemorrhages to draw, without scans.
    seed : int
    site : str
        "A" or "B".

    Returns
    -------
    DataFrame
        Columns ``panel, group, x, y, low, high``. Panel ``label``: P(HE) by true volume in mL of the hemorrhages that
        bleed on and of the others; ``parts``: clinical against image logit by outcome; ``roc``: false-positive rate
        and sensitivity of each oracle, the group naming its AUC; ``calibration``: observed share of HE with its exact
        95 % interval by tenth of each oracle's probability.
    """
    manifest, truth = (table.iloc[:n_patients] for table in cohort_tables(n_patients, seed, site))
    he = manifest["he"].to_numpy(dtype=int)
    panels = [_label_panel(), _parts_panel(he, truth)]
    for name in ORACLE:
        p = truth[name].to_numpy()
        panels += [_roc_panel(he, p, name), _calibration_panel(he, p, name)]
    return pd.concat(panels, ignore_index=True)


def within_class_correlation(he: ArrayLike, truth: pd.DataFrame) -> float:
    """Correlation of the oracle's image and clinical logits among patients of one outcome, pooled over the two.

    Parameters
    ----------
    he : array_like of 0 and 1, shape (n,)
    truth : DataFrame
        With columns ``p_image, p_clinical``, in the same order.
    """
    logits = logit(truth[["p_image", "p_clinical"]]).reset_index(drop=True)
    within = logits - logits.groupby(np.asarray(he, dtype=int)).transform("mean")
    return float(within["p_image"].corr(within["p_clinical"]))


def _label_panel() -> pd.DataFrame:
    volume = np.geomspace(bedside.LEAST_VOLUME_ML, bedside.VOLUME_LIMIT_ML.max(), CURVE_POINTS)
    curves = {"continues to bleed": True, "does not": False}
    return pd.concat([_rows("label", g, volume, growth.label_probability(volume, active=a)) for g, a in curves.items()])


def _parts_panel(he: NDArray[np.int64], truth: pd.DataFrame) -> pd.DataFrame:
    shown = [truth[he == outcome].iloc[:POINTS_PER_OUTCOME] for outcome in (0, 1)]
    names = ("no HE", "HE")
    return pd.concat(
        [_rows("parts", g, t["logit_image"], t["logit_clinical"]) for g, t in zip(names, shown, strict=True)]
    )


def _roc_panel(he: NDArray[np.int64], p: NDArray[np.float64], name: str) -> pd.DataFrame:
    false_positive, true_positive, _ = roc_curve(he, p, drop_intermediate=False)
    rate = np.linspace(0, 1, CURVE_POINTS)
    group = f"{_part(name)}: AUC {roc_auc_score(he, p):.2f}"
    return _rows("roc", group, rate, np.interp(rate, false_positive, true_positive))


def _calibration_panel(he: NDArray[np.int64], p: NDArray[np.float64], name: str) -> pd.DataFrame:
    tenth = pd.qcut(p, BINS, labels=False)
    groups = pd.DataFrame({"p": p, "he": he}).groupby(tenth)
    k, n, tail = groups["he"].sum().to_numpy(), groups.size().to_numpy(), (1 - 0.95) / 2
    low = np.where(k > 0, beta.ppf(tail, k, n - k + 1), 0.0)  # Clopper and Pearson's interval
    high = np.where(k < n, beta.ppf(1 - tail, k + 1, n - k), 1.0)
    return _rows("calibration", _part(name), groups["p"].mean(), k / n, low=low, high=high)


def _part(name: str) -> str:
    return name.removeprefix("p_").capitalize()


def _rows(panel: str, group: str, x: object, y: object, *, low: object = np.nan, high: object = np.nan) -> pd.DataFrame:
    return pd.DataFrame({"panel": panel, "group": group, "x": np.asarray(x), "y": np.asarray(y)}).assign(
        low=low, high=high
    )
