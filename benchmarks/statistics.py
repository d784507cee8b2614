"""Our statistics beside the loops that people write with scikit-learn and statsmodels: same data, one run, as a ratio.

make bench
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.special import expit
from scipy.stats import chi2
from sklearn.metrics import roc_auc_score

from hepred_lib.stats.discrimination import auc_interval
from hepred_lib.stats.selection import inclusion_frequency

N_PAPER, EVENTS = 107, 21
N_DEVELOPMENT, CANDIDATES = 465, 20
LOOPED = 10


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def delong_against_bootstrap(rng: np.random.Generator) -> None:
    """An AUC's interval: DeLong's formula against 2,000 resamples around scikit-learn."""
    y = np.r_[np.ones(EVENTS, int), np.zeros(N_PAPER - EVENTS, int)]
    score = rng.normal(1.2 * y)
    draws = rng.integers(0, N_PAPER, size=(2000, N_PAPER))
    looped = seconds(lambda: [roc_auc_score(y[rows], score[rows]) for rows in draws if 0 < y[rows].sum() < N_PAPER])
    ours = seconds(lambda: auc_interval(y, score, method="logit"))
    print(f"AUC interval at n = {N_PAPER}: scikit-learn bootstrap {looped:.2f} s, DeLong {ours * 1e3:.1f} ms")
    y, score = np.tile(y, 935), rng.normal(size=935 * N_PAPER)
    print(f"DeLong at n = {len(y)}: {seconds(lambda: auc_interval(y, score)):.3f} s")


def selection_against_statsmodels(rng: np.random.Generator) -> None:
    """Bootstrap forward selection: batched Newton against a statsmodels loop, per resample."""
    x = pd.DataFrame(rng.normal(size=(N_DEVELOPMENT, CANDIDATES)), columns=[f"x{k}" for k in range(CANDIDATES)])
    y = (rng.random(N_DEVELOPMENT) < expit(-1.6 + x.iloc[:, :5] @ np.full(5, 0.5))).astype(int).to_numpy()
    rows = [rng.integers(0, N_DEVELOPMENT, N_DEVELOPMENT) for _ in range(LOOPED)]
    looped = seconds(lambda: [statsmodels_forward(x.iloc[drawn], y[drawn]) for drawn in rows]) / LOOPED
    n_resamples = 1000
    ours = seconds(lambda: inclusion_frequency(x, y, n_resamples=n_resamples, rng=rng)) / n_resamples
    print(
        f"forward selection, {CANDIDATES} candidates, n = {N_DEVELOPMENT}: statsmodels {looped * 1e3:.0f} ms a "
        f"resample, ours {ours * 1e3:.1f} ms: {looped / ours:.0f} times as fast"
    )


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


def _log_likelihood(x: pd.DataFrame, y: np.ndarray) -> float:
    return sm.Logit(y, sm.add_constant(x.to_numpy())).fit(disp=0).llf


if __name__ == "__main__":
    generator = np.random.default_rng(1)
    delong_against_bootstrap(generator)
    selection_against_statsmodels(generator)
