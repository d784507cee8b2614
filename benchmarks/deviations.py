"""Largest absolute deviation of our figures from reference outputs of R (pROC, rms, MASS, brglm2).

The folder holds asah, birthwt, calibration, counts and separated as R wrote them.

.venv/bin/python benchmarks/deviations.py FOLDER [--resamples 1000]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from tables import markdown

from hepred_lib.stats.calibration import calibrate, spiegelhalter_test
from hepred_lib.stats.development import DevelopmentSettings, develop
from hepred_lib.stats.discrimination import (
    auc,
    auc_interval,
    compare_auc,
    delong_covariance,
    likelihood_ratio_p,
    mcnemar_exact,
)
from hepred_lib.stats.logistic import fit_logistic
from hepred_lib.stats.operating_point import confusion, exact_interval, youden_threshold
from hepred_lib.stats.selection import forward_select

Pairs = Iterator[tuple[str, str, list, list]]


def asah(folder: Path) -> Pairs:
    """AUC, DeLong and Youden: file, figure, ours, R's."""
    table, expected = pd.read_csv(folder / "asah.csv"), read(folder, "asah_roc")
    names = list(expected["auc"])
    found = {name: auc_interval(table["y"], table[name]) for name in names}
    for ours, theirs in (("auc", "auc"), ("low", "low"), ("high", "high")):
        r = [expected["auc"][name][theirs] for name in names]
        yield "asah_roc", f"AUC: {ours}", [getattr(found[name], ours) for name in names], r
    r = [expected["auc"][name]["variance"] for name in names]
    yield "asah_roc", "DeLong variance", [found[name].standard_error ** 2 for name in names], r
    pairs = {pair: compare_auc(table["y"], *(table[name] for name in pair.split("-"))) for pair in expected["delong"]}
    for field in ("z", "p", "low", "high"):
        r = [expected["delong"][pair][field] for pair in pairs]
        yield "asah_roc", f"paired DeLong: {field}", [getattr(one, field) for one in pairs.values()], r
    _, covariance = delong_covariance(table["y"], {name: table[name] for name in names})
    ours = [covariance[names.index(pair.split("-")[0]), names.index(pair.split("-")[1])] for pair in pairs]
    yield "asah_roc", "DeLong covariance", ours, [expected["delong"][pair]["covariance"] for pair in pairs]
    threshold = youden_threshold(table["y"], table["s100b"])
    at = confusion(table["y"], table["s100b"], threshold)
    ours = [threshold, at.specificity, at.sensitivity]
    yield "asah_roc", "Youden's point", ours, list(expected["youden_s100b"].values())


def birthwt(folder: Path) -> Pairs:
    """Forward selection."""
    table, expected = pd.read_csv(folder / "birthwt.csv", dtype={"race": "category"}), read(folder, "birthwt_forward")
    for criterion, r in expected.items():
        found = forward_select(table.drop(columns="low"), table["low"], criterion=criterion)
        same = list(found.path) == [step["variable"] for step in r["path"]]
        yield "birthwt_forward", f"{criterion}: path {'identical' if same else 'DIFFERENT'}", [float(same)], [1.0]
        yield (
            "birthwt_forward",
            f"{criterion}: coefficients",
            found.model.coefficients,
            list(r["coefficients"].values()),
        )
        errors = list(r["standard_errors"].values())
        yield "birthwt_forward", f"{criterion}: standard errors", found.model.standard_errors, errors
        ours = [found.model.log_likelihood, found.model.aic, found.model.bic]
        yield (
            "birthwt_forward",
            f"{criterion}: log-likelihood, AIC, BIC",
            ours,
            [r[k] for k in ("log_likelihood", "aic", "bic")],
        )
        if criterion == "lr":
            yield "birthwt_forward", "lr: p along the path", found.steps["p"], [step["p"] for step in r["path"]]


def calibration(folder: Path) -> Pairs:
    """Slope, intercept and the figures of val.prob."""
    table, r = pd.read_csv(folder / "calibration.csv"), read(folder, "calibration")
    found, prob = calibrate(table["y"], table["p"]), r["val_prob"]
    for name in ("slope", "intercept", "in_the_large", "ici", "e50", "e90", "emax"):
        yield "calibration", name, [getattr(found, name)], [r[name]]
    yield "calibration", "slope, Wald interval", [found.slope_low, found.slope_high], r["slope_wald"]
    yield "calibration", "val.prob: Brier", [found.brier], [prob["Brier"]]
    yield "calibration", "val.prob: C", [auc(table["y"], table["p"])], [prob["C (ROC)"]]
    z = spiegelhalter_test(table["y"], table["p"])
    yield "calibration", "val.prob: Spiegelhalter's z, p", [z.z, z.p], [prob["S:z"], prob["S:p"]]


def counts(folder: Path) -> Pairs:
    """Exact intervals and tests."""
    r = read(folder, "counts")
    sizes = {"sensitivity": (17, 21), "specificity": (55, 86), "accuracy": (72, 107), "zero": (0, 21), "all": (21, 21)}
    ours, theirs = [exact_interval(*size) for size in sizes.values()], [r[name] for name in sizes]
    yield "counts", "exact intervals", np.ravel(ours), np.ravel(theirs)
    p = mcnemar_exact(np.arange(86) < 55, np.arange(86) < 71)
    yield "counts", "exact McNemar", [p], [r["mcnemar_exact_55_71"]]
    yield "counts", "likelihood-ratio p", [likelihood_ratio_p(-44.9, -40.1)], [r["lr_test"]]


def separated(folder: Path) -> Pairs:
    """Firth's estimate."""
    table, r = pd.read_csv(folder / "separated.csv"), read(folder, "separated_firth")
    found = fit_logistic(table[["x1", "x2"]], table["y"], separation="firth")
    yield "separated_firth", "coefficients", found.coefficients, list(r["coefficients"].values())
    yield "separated_firth", "standard errors", found.standard_errors, list(r["standard_errors"].values())


def validate(folder: Path, n_resamples: int) -> Pairs:
    """Optimism by the bootstrap: another random stream, so agreement within Monte Carlo error."""
    table, r = pd.read_csv(folder / "birthwt.csv", dtype={"race": "category"}), read(folder, "birthwt_validate")
    names = ("age", "lwt", "race", "smoke", "ptd", "ht", "ui")
    settings = DevelopmentSettings(names, forced=names, n_imputations=1, n_resamples=n_resamples, seed=1)
    found = develop(table[list(names)], table["low"], settings).optimism
    yield "birthwt_validate", "AUC, apparent", [found["auc_apparent"]], [(r["dxy"]["index.orig"] + 1) / 2]
    yield "birthwt_validate", "AUC, corrected", [found["auc_corrected"]], [(r["dxy"]["index.corrected"] + 1) / 2]
    yield "birthwt_validate", "slope, corrected", [found["slope_corrected"]], [r["slope"]["index.corrected"]]
    yield "birthwt_validate", "Brier, corrected", [found["brier_corrected"]], [r["brier"]["index.corrected"]]


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    parts = [part(arguments.folder) for part in (asah, birthwt, calibration, counts, separated)]
    rows = [one for part in [*parts, validate(arguments.folder, arguments.resamples)] for one in part]
    largest = [f"{np.max(np.abs(np.asarray(ours, float) - np.asarray(r, float))):.1e}" for _, _, ours, r in rows]
    table = pd.DataFrame({"file": [r[0] for r in rows], "figure": [r[1] for r in rows], "largest deviation": largest})
    print(markdown(table))


if __name__ == "__main__":
    main()
