"""Made-up data for every figure of the catalogue, as small as its documentation allows."""

import numpy as np
import pandas as pd
import pytest

from hepred_lib.figures.catalogue import FIGURES, draw

MODELS = ("image", "clinical", "integrated")


NONE = {"low": np.nan, "high": np.nan}


def _of(model, label, **columns):
    return pd.DataFrame({"model": model, "label": label, "n": 60, "events": 12} | columns)


def _around(line, down, up):
    return {"low": np.clip(line - down, 0, 1), "high": np.clip(line + up, 0, 1)}


def roc():
    grid, tables = np.linspace(0, 1, 21), []
    for model, power in zip(MODELS, (0.4, 0.5, 0.25), strict=True):
        line, label = grid**power, f"{model.capitalize()}: AUC {1 / (1 + power):.2f} (0.61–0.91)"
        shared = {"false_positive_rate": grid, "operating_fpr": grid[5], "operating_sensitivity": line[5]}
        tables.append(_of(model, label, sensitivity=line, **NONE, **shared))
        tables.append(_of(model, label, sensitivity=np.nan, **_around(line, 0.12, 0.1), **shared))
    return pd.concat(tables, ignore_index=True)


def calibration(patients=60):
    rng, grid, tables = np.random.default_rng(1), np.linspace(0.03, 0.75, 15), []
    for model in MODELS:
        label = f"{model.capitalize()}\nslope 0.92 (0.51–1.33)\nin the large −0.10 (−0.70–0.50)\nICI 0.041"
        tables.append(_of(model, label, kind="curve", p=grid, observed=grid**1.2, **_around(grid**1.2, 0.15, 0.2)))
        p = rng.beta(1.2, 4, patients)
        tables.append(_of(model, label, kind="patient", p=p, y=1.0 * (rng.uniform(size=patients) < p)))
    return pd.concat(tables, ignore_index=True)


def decision_curve():
    grid, tables = np.linspace(0.01, 0.6, 40), []
    for model, top in zip(MODELS, (0.17, 0.16, 0.19), strict=True):
        benefit = top * (1 - grid / 0.6) ** 1.5
        band = {"low": benefit - 0.04, "high": benefit + 0.04}
        tables.append(_of(model, model.capitalize(), threshold=grid, net_benefit=benefit, **band))
    apart = {"net_benefit": 0.02, "low": -0.01, "high": 0.05}
    tables.append(_of("difference", "integrated − clinical", threshold=grid, **apart))
    tables.append(_of("treat_all", "treat all", threshold=grid, net_benefit=0.2 - 0.8 * grid / (1 - grid)))
    tables.append(_of("treat_none", "treat none", threshold=grid, net_benefit=0.0))
    return pd.concat(tables, ignore_index=True)


def oracle():
    figures = {"auc": [0.83], "low": 0.72, "high": 0.91, "oracle": 0.86, "simulated": True}
    tables = [_of(model, f"{model.capitalize()}: 0.83 (0.72–0.91)", **figures) for model in MODELS]
    return pd.concat(tables, ignore_index=True)


def flow():
    rows = [
        ("assessed", "Patients in the manifest", 270, np.nan),
        ("blood_free", "Scans without hemorrhage: they serve the detection of blood alone", 24, np.nan),
        ("without_outcome", "Hemorrhage without outcome: serve segmentation and detection alone", 5, np.nan),
        ("excluded", "Excluded", 6, np.nan),
        ("reason", "follow-up later than 72 h", 4, np.nan),
        ("reason", "baseline scan could not be read (header without orientation)", 2, np.nan),
        ("included", "Included, with outcome", 240, 48),
        ("development", "Development set, 3 cross-fitting folds", 180, 36),
        ("test", "Test set, untouched until the end", 60, 12),
    ]
    return pd.DataFrame(rows, columns=["step", "text", "n", "events"])


def cohort(patients=40):
    rng = np.random.default_rng(2)
    variables = {
        "Age (years)": (65, 12), "GCS": (12, 2), "NIHSS": (14, 6), "Systolic pressure (mmHg)": (165, 25),
        "Onset to CT (h)": (4, 2), "Baseline volume (mL)": (22, 9), "Glucose (mmol/L)": (7, 2),
    }  # fmt: skip
    tables = []
    for name, (mean, sd) in variables.items():
        for he, n in ((0, 3 * patients // 4), (1, patients // 4)):
            share = np.arange(1, n + 1) / n
            value = np.sort(rng.normal(mean + 0.5 * sd * he, sd, n))
            curve = {"variable": name, "he": he, "value": value, "proportion": share, "n": n}
            tables.append(pd.DataFrame(curve | _around(share, 0.1, 0.1)))
    return pd.concat(tables, ignore_index=True)


def quality(scans=40):
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"thickness_mm": rng.choice([2.5, 5.0, 5.0, 5.0], scans), "noise_hu": rng.normal(4, 1, scans)})
    table["brain_ml"], table["n_slices"] = rng.normal(1300, 120, scans), rng.integers(24, 34, scans)
    return table.assign(outlier=np.arange(scans) < 2)


def learning_curves(folds=3, epochs=6):
    fold, epoch = (grid.ravel() for grid in np.meshgrid(np.arange(folds), np.arange(1, epochs + 1), indexing="ij"))
    loss = 1 / epoch + 0.05 * fold
    parts = {"loss_segmentation": loss / 2, "loss_presence": loss / 4, "loss_descriptors": loss / 4}
    return pd.DataFrame({"fold": fold, "epoch": epoch, "loss": loss} | parts)


def bland_altman(patients=40):
    rng = np.random.default_rng(4)
    reference = rng.lognormal(2.8, 0.7, patients)
    predicted = reference - 0.8 + rng.normal(0, 1 + 0.05 * reference)
    limits = {"bias": -0.8, "low": -5.1, "high": 3.6}
    return pd.DataFrame({"reference_ml": reference, "predicted_ml": predicted} | limits)


def dl_score(patients=80):
    rng, he = np.random.default_rng(5), np.tile([0, 0, 0, 1], patients // 4)
    split = np.where(np.arange(patients) < 0.75 * patients, "development", "test")
    p = np.where(split == "test", 0.012, 0.0001)
    return pd.DataFrame({"he": he, "dl_score": rng.normal(1.1 * he, 1), "split": split, "p": p})


def odds_ratios_clinical():
    terms = [
        ("clinical", "gcs", "GCS, per point", 0.86, 0.78, 0.95, 0.004),
        ("clinical", "onset_to_ct_h", "Onset to CT, per hour", 0.82, 0.71, 0.94, 0.0003),
        ("clinical", "anticoagulant", "Anticoagulant", 2.61, 1.21, 5.62, 0.013),
        ("integrated", "gcs", "GCS, per point", 0.9, 0.81, 1.0, 0.049),
        ("integrated", "dl_score", "DL score, per SD", 2.31, 1.72, 3.10, 1e-7),
        ("integrated", "inr", "INR, per unit", 3.4, 0.6, 120.0, 0.2),
    ]
    return pd.DataFrame(terms, columns=["model", "name", "label", "odds_ratio", "low", "high", "p"])


def inclusion_frequency():
    rows = [
        ("Onset to CT", 0.96, True, "predictor"), ("GCS", 0.81, True, "predictor"), ("NIHSS", 0.46, False, "proxy"),
        ("Hemoglobin", 0.12, False, "unrelated"), ("Creatinine", 0.08, False, "unrelated"),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["label", "frequency", "selected", "kind"])
    return table.assign(low=table["frequency"] - 0.05, high=table["frequency"] + 0.03, n_resamples=100)


def instability_clinical():
    p = np.linspace(0.05, 0.7, 40)
    patients = {"p": p, "low": 0.5 * p, "high": np.minimum(1.6 * p, 1), "changed": np.exp(-50 * (p - 0.3) ** 2)}
    rows = pd.DataFrame(patients).assign(kind="patient", threshold=0.3)
    grid = np.linspace(0, 1, 21)
    curves = [
        pd.DataFrame({"kind": "curve", "curve": k, "p": grid, "observed": grid ** (1 + k / 10)}) for k in range(5)
    ]
    return pd.concat([rows, *curves], ignore_index=True).assign(mape=0.046)


def missing():
    rows = [("Glucose", 0.31, 0.28, 0.4), ("NIHSS", 0.05, 0.04, 0.08), ("Age", 0.0, 0.0, 0.0)]
    groups = (("all", 107), ("no HE", 86), ("HE", 21))
    cells = [(name, group, n, s) for name, *share in rows for (group, n), s in zip(groups, share, strict=True)]
    return pd.DataFrame(cells, columns=["variable", "group", "n", "share"])


def correlation():
    names = ("Age", "GCS", "NIHSS", "Site A")
    values = {(1, 0): -0.05, (2, 0): 0.1, (2, 1): -0.72, (3, 0): np.nan, (3, 1): 0.2, (3, 2): 0.0}
    cells = [(i, j, names[i], names[j], value) for (i, j), value in values.items()]
    return pd.DataFrame(cells, columns=["row", "column", "variable", "other", "correlation"])


def nomogram():
    axes = {
        ("gcs", "GCS"): ("number", [3, 6, 9, 12, 15], "", [60, 45, 30, 15, 0]),
        ("anticoagulant", "Anticoagulant"): ("number", [0, 1], ["no", "yes"], [0, 4]),
        ("location", "Location"): ("level", np.nan, ["lobar", "basal ganglia", "thalamus"], [0, 3, 12]),
        ("dl_score", "DL score (SD)"): ("number", [-2, 0, 2], "", [0, 50, 100]),
        ("total_points", "Total points"): ("total", np.arange(0, 180, 20), "", np.arange(0, 180, 20)),
        ("probability", "Probability of HE"): ("probability", [0.01, 0.02, 0.1, 0.5, 0.9], "", [0, 8, 50, 100, 150]),
    }
    parts = [
        pd.DataFrame({"value": value, "text": text, "points": points}).assign(axis=axis, label=label, kind=kind)
        for (axis, label), (kind, value, text, points) in axes.items()
    ]
    return pd.concat(parts, ignore_index=True).assign(tick=True)


def subgroups():
    nothing = np.nan
    rows = [
        ("", "All test patients", 107, 21, 0.83, 0.72, 0.90, 0.11, -0.42, 0.64, nothing, nothing),
        ("Sex", "female", 47, 11, 0.79, 0.62, 0.89, 0.3, -0.6, 1.2, 0.31, 0.0004),
        ("Sex", "male", 60, 10, 0.86, 0.74, 0.93, -0.8, -4.1, 0.4, 0.31, 0.0004),
        ("Age", "under 70", 70, 16, 0.84, 0.72, 0.91, 0.1, -0.5, 0.7, nothing, nothing),
        ("Age", "70 or older", 37, 5, *[nothing] * 6, nothing, nothing),
        ("Site", "missing", 3, 1, *[nothing] * 6, nothing, nothing),
    ]
    figures = [f"{name}{end}" for name in ("auc", "in_the_large") for end in ("", "_low", "_high")]
    columns = ["split", "group", "n", "events", *figures, "p_auc", "p_in_the_large"]
    return pd.DataFrame(rows, columns=columns).assign(model="clinical")


def reclassification():
    names = ["below 10 %", "10 to 30 %", "30 % or more"]
    moves = {1: [[2, 1, 0], [1, 5, 4], [0, 1, 7]], 0: [[30, 5, 1], [14, 20, 3], [0, 6, 7]]}
    cells = [
        {"outcome": outcome, "old": i, "new": j, "patients": count, "share": count / np.sum(grid)}
        for outcome, grid in moves.items()
        for (i, j), count in np.ndenumerate(np.array(grid))
    ]
    table = pd.DataFrame(cells)
    words = {f"{side}_label": table[side].map(names.__getitem__) for side in ("old", "new")}
    indexes = {"nri": 0.27, "nri_low": 0.01, "nri_high": 0.52, "nri_events": 0.14, "nri_non_events": 0.13}
    indexes |= {"idi": 0.06, "idi_low": -0.01, "idi_high": 0.13}
    return table.assign(old_model="clinical", new_model="integrated", **words, **indexes)


def _ct(count, size):
    y, x = np.mgrid[:size, :size] / (size - 1) * 2 - 1
    radius = np.hypot(x / 0.75, y / 0.92)
    brain = np.repeat((radius < 0.9)[None], count, axis=0)
    noise = np.random.default_rng(6).normal(0, 3, (count, size, size))
    hu = np.select([radius < 0.9, radius < 1], [32, 600], -1000) + noise
    clot = np.stack([np.hypot(x - 0.3, y - 0.1) < 0.1 + 0.02 * i for i in range(count)])
    shifted = np.stack([np.hypot(x - 0.33, y - 0.07) < 0.11 + 0.02 * i for i in range(count)])
    hu[clot] += 32
    scan = {"hu": hu, "pixel_mm": np.array(180 / size), "window": np.array([40.0, 80.0])}
    return scan, clot, shifted, brain


def montage(count=7, size=32):
    scan, clot, _, brain = _ct(count, size)
    return scan | {"mask": clot, "brain": brain, "titles": np.array([f"z = {5 * i} mm" for i in range(count)])}


def outlines(size=32):
    scan, clot, shifted, _ = _ct(3, size)
    titles = np.array(["best: HE-0003, Dice 0.93", "median: HE-0042, Dice 0.84", "worst: HE-0117, Dice 0.31"])
    return scan | {"reference": clot, "predicted": shifted, "titles": titles}


def overview(size=32):
    scan, _, shifted, _ = _ct(5, size)
    lines = [
        "Hematoma 21.4 mL, detected.",
        "DL score 0.61 SD (spread between networks 0.22 SD).",
        "Probability of expansion: image 0.31, clinical 0.27, integrated 0.35.",
        "Warning: the platelet count was missing and was imputed from the other variables; the probability is an "
        "average over imputed values.",
    ]
    return scan | {"mask": shifted, "titles": np.array([f"z = {5 * i} mm" for i in range(5)]), "lines": np.array(lines)}


def truth(points=21):
    rng, grid = np.random.default_rng(7), np.linspace(0, 1, points)
    rows = [
        ("label", "continues to bleed", np.geomspace(0.5, 140, points), 0.8 + 0.1 * grid, NONE),
        ("label", "does not", np.geomspace(0.5, 140, points), 0.2 * grid, NONE),
        ("parts", "no HE", rng.normal(size=points), rng.normal(size=points), NONE),
        ("parts", "HE", 1 + rng.normal(size=points), 1 + rng.normal(size=points), NONE),
        ("roc", "Integrated: AUC 0.88", grid, grid**0.25, NONE),
        ("calibration", "Integrated", grid, grid, _around(grid, 0.1, 0.1)),
    ]
    parts = [{"panel": panel, "group": group, "x": x, "y": y} | band for panel, group, x, y, band in rows]
    return pd.concat(map(pd.DataFrame, parts), ignore_index=True)


def activation(size=32):
    scan, clot, shifted, _ = _ct(3, size)
    weights = np.full((3, 9), np.nan)
    weights[:, :7] = np.random.default_rng(8).dirichlet(np.ones(7), 3)
    titles, shown = np.array(["true positive", "false positive", "false negative"]), np.array([2, 0, 6])
    extra = {"predicted": shifted, "activation": clot * 0.8, "shown": shown, "share": weights}
    return scan | extra | {"titles": titles}


def transport():
    rows = [
        ("clinical", "study", 60, 12, 0.21, 0.2, 0.11, 0.32, 0.73, 0.48, 0.88),
        ("clinical", "here", 40, 16, 0.22, 0.4, 0.25, 0.57, 0.70, 0.51, 0.84),
        ("clinical", "updated", 40, 16, 0.39, 0.4, 0.25, 0.57, 0.66, 0.48, 0.81),
        ("integrated", "here", 40, 16, 0.2, 0.4, 0.25, 0.57, 0.87, np.nan, np.nan),
    ]
    columns = ["model", "place", "n", "events", "predicted", "observed", "observed_low", "observed_high"]
    return pd.DataFrame(rows, columns=[*columns, "auc", "auc_low", "auc_high"])


def power():
    events = np.array([21, 50, 200])
    shares = {"image - clinical": np.array([0.1, 0.2, 0.5]), "image - integrated": events / 250}
    rows = [
        {"pair": pair, "test_events": events, "power": p, "low": p - 0.02, "high": p + 0.02}
        for pair, p in shares.items()
    ]
    return pd.concat(map(pd.DataFrame, rows), ignore_index=True).assign(n_simulations=2000)


def pooled():
    """One model at two sites and over both, where the summary has an interval and no prediction."""
    rows = {
        **{"site": ["A", "B", "All sites"], "n_seeds": [2, 1, 3], "n_sites": [np.nan, np.nan, 2.0]},
        **{"estimate": [0.72, 0.64, 0.69], "low": [0.6, 0.5, 0.3], "high": [0.82, 0.77, 0.92]},
        **{"seed_low": [0.7, 0.64, np.nan], "seed_high": [0.74, 0.64, np.nan]},
    }
    same = {"model": "clinical", "quantity": "AUC", "reference": 0.5}
    return pd.DataFrame(rows).assign(prediction_low=np.nan, prediction_high=np.nan, **same)


ALIKE = {
    "missing_by_set": "missing",
    "odds_ratios_integrated": "odds_ratios_clinical",
    "instability_integrated": "instability_clinical",
    "internal_external": "subgroups",
}
BUILDERS = {name: globals()[ALIKE.get(name, name)] for name in FIGURES}


@pytest.fixture(scope="session")
def examples():
    """The data of every figure, by its name in the catalogue."""
    return {name: build() for name, build in BUILDERS.items()}


@pytest.fixture(scope="session")
def drawn(examples):
    """Every figure of the catalogue, drawn once: to be looked at, not changed."""
    return {name: draw(name, data) for name, data in examples.items()}
