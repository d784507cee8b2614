"""Forward selection where the truth is known: what it finds, what it takes by mistake, and what shrinkage repairs.

Simulated tables of the published study's development size; every candidate is a bedside or laboratory value.

.venv/bin/python benchmarks/selection.py [--cohorts 20] [--resamples 50]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from tables import markdown, mean_with_error

from hepred_lib.cohort.predictors import predictor_frame
from ich_phantom.cohort import NULLS, PREDICTORS, PROXIES, cohort_tables
from hepred_lib.stats.calibration import calibrate
from hepred_lib.stats.development import DevelopedModel, DevelopmentSettings, develop
from hepred_lib.stats.discrimination import auc

N_DEVELOPMENT, N_FRESH, FRESH_SEED = 465, 5000, 90_000
CRITERIA = ("lr", "aic", "bic")
NOT_AT_THE_BEDSIDE = {"location", "baseline_volume_ml", "ct_to_followup_h"}
GROUPS = {"true": PREDICTORS, "proxy": PROXIES, "null": NULLS}
KIND = {name: kind for kind, names in GROUPS.items() for name in names if name not in NOT_AT_THE_BEDSIDE}


def patients(n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Candidates and outcome of the hemorrhages of a simulated cohort; rows without an outcome are dropped."""
    table, _ = cohort_tables(n, seed)
    table = table[table["he"].notna()].reset_index(drop=True)
    return predictor_frame(table, KIND).rename(columns={"male": "sex"}), table["he"].astype(int)


def models(n_cohorts: int, n_resamples: int) -> Iterator[tuple[str, DevelopedModel]]:
    """Each cohort developed by each criterion."""
    for seed in range(1, n_cohorts + 1):
        x, y = patients(N_DEVELOPMENT, seed)
        for criterion in CRITERIA:
            settings = DevelopmentSettings(tuple(KIND), criterion=criterion, n_resamples=n_resamples, seed=seed)
            yield criterion, develop(x, y, settings)


def judge(model: DevelopedModel, fresh: tuple[pd.DataFrame, pd.Series]) -> dict[str, float]:
    """AUC and calibration slopes on patients who had no part in the development; NaN for an intercept alone."""
    x, y = fresh
    # A probability of exactly 0 or 1 has no logit; none is that extreme here, but rounding may make it so.
    shrunk, unshrunk = (np.clip(model.predict(x, shrunk=flag), 1e-12, 1 - 1e-12) for flag in (True, False))
    found = {"auc": auc(y, unshrunk), "unshrunk": np.nan, "shrunk": np.nan}
    if model.names:
        found |= {"unshrunk": calibrate(y, unshrunk).slope, "shrunk": calibrate(y, shrunk).slope}
    return found | {"shrinkage": model.shrinkage, "in_the_large": calibrate(y, shrunk).in_the_large}


def selection_table(chosen: pd.DataFrame, frequency: pd.DataFrame) -> pd.DataFrame:
    """Share of the cohorts that chose each candidate, and its mean inclusion frequency, by criterion."""
    table = pd.DataFrame({"candidate": list(KIND), "kind": list(KIND.values())})
    for criterion in CRITERIA:
        found = chosen.loc[criterion].mean(axis=0)
        shares = frequency.loc[criterion].mean(axis=0)
        table[f"{criterion}: chosen"] = [f"{found[name]:.0%}" for name in table["candidate"]]
        table[f"{criterion}: inclusion"] = [f"{shares[name]:.0%}" for name in table["candidate"]]
    return table


def group_table(chosen: pd.DataFrame) -> pd.DataFrame:
    """Mean number of candidates of each kind in a model, of those on offer."""
    rows = []
    for kind in GROUPS:
        names = [name for name in KIND if KIND[name] == kind]
        cells = {c: mean_with_error(chosen.loc[c][names].sum(axis=1), digits=1) for c in CRITERIA}
        rows.append({"kind": kind, "on offer": len(names)} | cells)
    return pd.DataFrame(rows)


def slope_table(judged: pd.DataFrame) -> pd.DataFrame:
    """Means over the cohorts with their Monte Carlo standard errors."""
    columns = {
        "auc": "AUC",
        "unshrunk": "slope, unshrunk",
        "shrunk": "slope, shrunk",
        "shrinkage": "shrinkage factor",
        "in_the_large": "in the large, shrunk",
    }
    rows = []
    for criterion in CRITERIA:
        part = judged.loc[[criterion]]
        rows.append({"criterion": criterion} | {words: mean_with_error(part[name]) for name, words in columns.items()})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=20)
    parser.add_argument("--resamples", type=int, default=50)
    arguments = parser.parse_args()
    fresh = patients(N_FRESH, FRESH_SEED)
    keys, chosen, frequency, judged = [], [], [], []
    for criterion, model in models(arguments.cohorts, arguments.resamples):
        keys.append(criterion)
        chosen.append({name: name in model.path for name in KIND})
        frequency.append(model.inclusion_frequency)
        judged.append(judge(model, fresh))
    chosen, frequency, judged = (pd.DataFrame(list(part), index=keys) for part in (chosen, frequency, judged))
    print(
        f"{arguments.cohorts} simulated cohorts of {N_DEVELOPMENT}, {arguments.resamples} resamples, "
        f"{len(fresh[1])} fresh patients ({fresh[1].mean():.1%} HE)\n"
    )
    for table in (group_table(chosen), selection_table(chosen, frequency), slope_table(judged)):
        print(markdown(table), end="\n\n")


if __name__ == "__main__":
    main()
