"""Our statistics beside the loops that people write with scikit-learn and statsmodels: same data, one run, as a ratio.

make bench
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import statsmodels.api as sm
from measuring import best_of, markdown
from scipy.special import expit
from scipy.stats import chi2
from sklearn.metrics import roc_auc_score

from hepred_lib.stats.discrimination import auc_interval, bootstrap_auc_difference, compare_auc
from hepred_lib.stats.selection import inclusion_frequency

N_PAPER, EVENTS, RESAMPLES = 107, 21, 2000
N_DEVELOPMENT, CANDIDATES, SELECTIONS, LOOPED = 465, 20, 1000, 10


def bootstrap_against_sklearn(rng: np.random.Generator) -> dict[str, str]:
    """Bootstrap of an AUC difference: counts of patients, all resamples together, against a loop."""
    y = np.r_[np.ones(EVENTS, int), np.zeros(N_PAPER - EVENTS, int)]
    a = rng.normal(1.2 * y)
    b = 0.5 * a + rng.normal(size=N_PAPER)

    def loop() -> list[float]:
        events, others = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
        found = []
        for _ in range(RESAMPLES):
            rows = np.r_[rng.choice(events, events.size), rng.choice(others, others.size)]
            found.append(roc_auc_score(y[rows], a[rows]) - roc_auc_score(y[rows], b[rows]))
        return found

    ours = best_of(lambda: bootstrap_auc_difference(y, a, b, n_resamples=RESAMPLES, rng=rng), repeats=5)
    return row(f"{RESAMPLES} bootstrap AUC differences, n = {N_PAPER}", best_of(loop), ours, "scikit-learn loop")


def selection_against_statsmodels(rng: np.random.Generator) -> dict[str, str]:
    """Bootstrap forward selection: batched Newton against a statsmodels loop."""
    x = pd.DataFrame(rng.normal(size=(N_DEVELOPMENT, CANDIDATES)), columns=[f"x{k}" for k in range(CANDIDATES)])
    y = (rng.random(N_DEVELOPMENT) < expit(-1.6 + x.iloc[:, :5] @ np.full(5, 0.5))).astype(int).to_numpy()
    rows = [rng.integers(0, N_DEVELOPMENT, N_DEVELOPMENT) for _ in range(LOOPED)]
    looped = best_of(lambda: [statsmodels_forward(x.iloc[drawn], y[drawn]) for drawn in rows]) * SELECTIONS / LOOPED
    ours = best_of(lambda: inclusion_frequency(x, y, n_resamples=SELECTIONS, rng=rng))
    what = f"{SELECTIONS} bootstrap forward selections, {CANDIDATES} candidates, n = {N_DEVELOPMENT}"
    return row(what, looped, ours, f"statsmodels loop (timed on {LOOPED})")


def delong_by_size(rng: np.random.Generator) -> pd.DataFrame:
    """Time of DeLong's interval and paired test; n log n means a last column that hardly grows."""
    rows = []
    for n in (10_000, 100_000, 1_000_000):
        y = (rng.random(n) < 0.2).astype(int)
        a, b = rng.normal(y), rng.normal(y)
        alone = best_of(lambda y=y, a=a: auc_interval(y, a), repeats=3)
        paired = best_of(lambda y=y, a=a, b=b: compare_auc(y, a, b), repeats=3)
        cost = f"{alone / (n * np.log2(n)) * 1e9:.2f}"
        cells = {"patients": f"{n:,}", "interval, s": f"{alone:.4f}", "paired test, s": f"{paired:.4f}"}
        rows.append(cells | {"interval, ns per n log2 n": cost})
    return pd.DataFrame(rows)


def statsmodels_forward(x: pd.DataFrame, y: np.ndarray) -> list[str]:
    """Forward selection by likelihood ratio as a loop over statsmodels fits."""
    path, best = [], sm.Logit(y, np.ones((len(y), 1))).fit(disp=0).llf
    while len(path) < x.shape[1]:
        fits = {name: _log_likelihood(x[[*path, name]], y) for name in x.columns if name not in path}
        name = max(fits, key=fits.get)
        if chi2.sf(2 * (fits[name] - best), 1) >= 0.05:
            return path
        path, best = [*path, name], fits[name]
    return path


def row(what: str, peer: float, ours: float, name: str) -> dict[str, str]:
    return {
        "task": what,
        "peer": name,
        "peer, s": f"{peer:.2f}",
        "ours, s": f"{ours:.4f}",
        "ratio": f"{peer / ours:.0f}",
    }


def _log_likelihood(x: pd.DataFrame, y: np.ndarray) -> float:
    return sm.Logit(y, sm.add_constant(x.to_numpy())).fit(disp=0).llf


if __name__ == "__main__":
    generator = np.random.default_rng(1)
    print(markdown(pd.DataFrame([bootstrap_against_sklearn(generator), selection_against_statsmodels(generator)])))
    print(f"\n{markdown(delong_by_size(generator))}")
