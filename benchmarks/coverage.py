"""Do 95 % intervals hold the truth 95 times in 100, and does an image score that adds nothing look like it adds?

Simulated scores of known AUC, slope and net benefit, at the size of the paper's test set and at 500 patients; then a
score that a model with many features memorised, tested over a clinical model in-sample and out-of-fold; then what the
closed test of updating chooses where the true change is known.

.venv/bin/python benchmarks/coverage.py [--simulations 2000] [--resamples 500] [--tables 1000]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from measuring import markdown, share_with_error
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import chi2, norm

from hepred_lib.stats.bootstrap import percentile_interval
from hepred_lib.stats.calibration import calibrate, closed_test
from hepred_lib.stats.decision import decision_curve, net_benefit_difference
from hepred_lib.stats.discrimination import auc_interval, binormal_separation, bootstrap_auc_interval, compare_auc
from hepred_lib.stats.logistic import batched_irls
from hepred_lib.stats.operating_point import RATES, confusion
from hepred_lib.stats.permutation import CrossFittedReadout, permutation_test
from ich_phantom.cohort import cohort_tables

SIZES = ((107, 21), (500, 100))
AUCS, CORRELATION, STRETCH = (0.83, 0.76), 0.5, 1.25
THRESHOLDS = (0.1, 0.2, 0.4)
OPERATING_POINT = 0.2
N_DEVELOPMENT, PREVALENCE, FEATURES, FOLDS, RIDGE = 465, 0.2, 200, 5, 20.0
PERMUTATIONS = 99


def scores(n_events: int, n_others: int, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    """Outcome and two binormal scores of known AUC, correlated within each class."""
    y = np.r_[np.ones(n_events, int), np.zeros(n_others, int)]
    a = rng.standard_normal(y.size)
    b = CORRELATION * a + np.sqrt(1 - CORRELATION**2) * rng.standard_normal(y.size)
    return y, a + y * binormal_separation(AUCS[0]), b + y * binormal_separation(AUCS[1])


def risks(score: NDArray, auc: float, prevalence: float) -> NDArray:
    """Probability of the outcome given a binormal score: Bayes' rule."""
    d = binormal_separation(auc)
    return expit(logit(prevalence) + d * score - d**2 / 2)


def true_net_benefit(auc: float, prevalence: float, thresholds: NDArray) -> NDArray:
    """Of treating where the true risk is at least the threshold, in the population."""
    d = binormal_separation(auc)
    cut = (logit(thresholds) - logit(prevalence) + d**2 / 2) / d
    return prevalence * norm.sf(cut - d) - (1 - prevalence) * norm.sf(cut) * thresholds / (1 - thresholds)


def true_rates(auc: float, prevalence: float, threshold: float) -> dict[str, float]:
    """Accuracy, sensitivity, specificity and predictive values in the population."""
    d = binormal_separation(auc)
    cut = (logit(threshold) - logit(prevalence) + d**2 / 2) / d
    sensitivity, specificity = norm.sf(cut - d), norm.cdf(cut)
    tp, tn = prevalence * sensitivity, (1 - prevalence) * specificity
    called = tp + (1 - prevalence) * (1 - specificity)
    return dict(zip(RATES, (tp + tn, sensitivity, specificity, tp / called, tn / (1 - called)), strict=True))


def exact_intervals(y: NDArray, p: NDArray, prevalence: float) -> Iterator[tuple[str, float, tuple]]:
    """Clopper-Pearson at one threshold: name, truth and interval of each rate."""
    found = confusion(y, p, OPERATING_POINT)
    for name, truth in true_rates(AUCS[0], prevalence, OPERATING_POINT).items():
        limits = getattr(found, f"{name}_low"), getattr(found, f"{name}_high")
        yield f"{name} at {OPERATING_POINT}, exact", truth, limits


def intervals(
    n: int, events: int, rng: np.random.Generator, *, n_resamples: int, resampler: np.random.Generator
) -> Iterator[tuple[str, float, tuple]]:
    """One simulated test set: name, truth and interval of each figure. Patients are sampled, not classes."""
    drawn = max(2, min(n - 2, rng.binomial(n, events / n)))
    y, a, b = scores(drawn, n - drawn, rng)
    for method in ("wald", "logit"):
        found = auc_interval(y, a, method=method)
        yield f"AUC, {method}", AUCS[0], (found.low, found.high)
    if n_resamples:
        found = bootstrap_auc_interval(y, a, n_resamples=n_resamples, rng=resampler)
        yield "AUC, stratified bootstrap", AUCS[0], (found.low, found.high)
    paired = compare_auc(y, a, b)
    yield "AUC difference, paired DeLong", AUCS[0] - AUCS[1], (paired.low, paired.high)
    p, q = risks(a, AUCS[0], events / n), risks(b, AUCS[1], events / n)
    stretched = expit(STRETCH * logit(p))  # too extreme: the true slope is 1 / STRETCH
    fit = calibrate(y, stretched)
    yield "calibration slope", 1 / STRETCH, (fit.slope_low, fit.slope_high)
    yield from exact_intervals(y, p, events / n)
    yield from net_benefit_intervals(y, (p, q), events / n, n_resamples=n_resamples, rng=resampler)


def net_benefit_intervals(
    y: NDArray, risk: tuple[NDArray, NDArray], prevalence: float, *, n_resamples: int, rng: np.random.Generator
) -> Iterator[tuple[str, float, tuple]]:
    """Net benefit of the first model and its gain over the second."""
    thresholds = np.array(THRESHOLDS)
    truth = [true_net_benefit(auc, prevalence, thresholds) for auc in AUCS]
    curve = decision_curve(y, {"a": risk[0]}, thresholds).query("model == 'a'")
    gain = net_benefit_difference(y, *risk, thresholds)
    bands = {"wilson": [table[["low", "high"]].to_numpy().T for table in (curve, gain)]}
    if n_resamples:
        first, second = (p[:, None] >= thresholds for p in risk)
        worth = np.where(y[:, None] == 1, 1.0, -thresholds / (1 - thresholds))
        gains = first * worth, (first.astype(float) - second) * worth
        bands["bootstrap"] = [bootstrap_limits(each, n_resamples, rng) for each in gains]
    for band, (of_first, of_gain) in bands.items():
        for k, threshold in enumerate(THRESHOLDS):
            yield f"net benefit at {threshold}, {band}", truth[0][k], (of_first[0][k], of_first[1][k])
            limits = of_gain[0][k], of_gain[1][k]
            yield f"net-benefit difference at {threshold}, {band}", truth[0][k] - truth[1][k], limits


def bootstrap_limits(gain: NDArray, n_resamples: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Percentile limits, shape (t,), of the mean of what each patient gains, shape (n, t), over resamples."""
    n = len(gain)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples) / n
    return percentile_interval(weights @ gain)


def coverage(n_simulations: int, n_resamples: int, seed: int) -> pd.DataFrame:
    """Share of the intervals that hold the truth, the misses on either side, and the mean width."""
    rows: dict[str, dict[str, str]] = {}
    for n, events in SIZES:
        # Resamples have a stream of their own: the simulated patients are the same with and without them.
        rng, resampler = np.random.default_rng([seed, n]), np.random.default_rng([seed, n, 1])
        how, found = {"n_resamples": n_resamples, "resampler": resampler}, []
        for _ in range(n_simulations):
            found += [(name, truth, *limits) for name, truth, limits in intervals(n, events, rng, **how)]
        table = pd.DataFrame(found, columns=["interval", "truth", "low", "high"]).dropna()
        table["below"], table["above"] = table["high"] < table["truth"], table["low"] > table["truth"]
        for name, part in table.groupby("interval", sort=False):
            held = 1 - part["below"].mean() - part["above"].mean()
            missed = " / ".join(f"{100 * part[side].mean():.1f}" for side in ("below", "above"))
            cell = f"{share_with_error(held, len(part))} ({missed})"
            rows.setdefault(name, {"interval": name})[f"{n} patients, {events} events"] = cell
    return pd.DataFrame(list(rows.values()))


def memorised_scores(y: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray, CrossFittedReadout]:
    """A score from pure noise by ridge logistic regression: in-sample, out-of-fold, and how it was made."""
    image = rng.standard_normal((y.size, FEATURES))
    fold = rng.permutation(np.arange(y.size) % FOLDS)
    inside, outside = np.zeros(y.size), np.zeros(y.size)
    for k in range(FOLDS):
        held_out = fold == k
        raw = image @ ridge(image[~held_out], y[~held_out])
        raw = (raw - raw[held_out].mean()) / raw[held_out].std()
        outside[held_out] = raw[held_out]
        inside[~held_out] += raw[~held_out] / (FOLDS - 1)
    readout = CrossFittedReadout(np.tile(image, (FOLDS, 1, 1)), np.full(FOLDS, RIDGE), fold)
    return inside, outside, readout


def ridge(x: NDArray, y: NDArray) -> NDArray:
    """Slopes of a ridge logistic regression by Newton's method."""
    design, beta = np.column_stack([np.ones(len(x)), x]), np.zeros(x.shape[1] + 1)
    penalty = RIDGE * np.eye(beta.size)
    penalty[0, 0] = 0.0
    for _ in range(8):
        p = expit(design @ beta)
        beta += np.linalg.solve((design.T * (p * (1 - p))) @ design + penalty, design.T @ (y - p) - penalty @ beta)
    return beta[1:]


def likelihood_ratio(clinical: NDArray, score: NDArray, y: NDArray) -> float:
    """Likelihood-ratio statistic of a score over the clinical variables."""
    rows = np.vstack([np.ones(y.size), clinical.T, (score - score.mean()) / score.std()])
    both = np.stack([rows, np.vstack([rows[:-1], np.zeros(y.size)])])
    reached = batched_irls(both, y, np.ones((2, y.size))).log_likelihood
    return float(2 * (reached[0] - reached[1]))


def false_alarms(n_tables: int, seed: int) -> pd.DataFrame:
    """How often a score from noise is significant at 5 % over three clinical variables."""
    rng, shuffler = np.random.default_rng([seed, 99]), np.random.default_rng([seed, 99, 1])
    statistics, permuted = [], []
    for _ in range(n_tables):
        clinical = rng.standard_normal((N_DEVELOPMENT, 3))
        y = (rng.random(N_DEVELOPMENT) < expit(logit(PREVALENCE) + clinical @ [0.7, 0.4, 0.0])).astype(int)
        inside, outside, readout = memorised_scores(y, rng)
        held = readout.fold == 0
        crossed = likelihood_ratio(clinical, outside, y)
        row = {"in-sample": likelihood_ratio(clinical, inside, y), "out-of-fold": crossed}
        row |= {"out-of-fold, statistic halved": crossed / 2}
        row |= {"one held-out fold alone": likelihood_ratio(clinical[held], outside[held], y[held])}
        designs = np.vstack([np.ones(y.size), clinical.T])[None]
        permuted.append(permutation_test(designs, y, readout, n_permutations=PERMUTATIONS, rng=shuffler).p)
        statistics.append(row)
    p = pd.DataFrame(chi2.sf(pd.DataFrame(statistics), 1), columns=list(statistics[0]))
    p["out-of-fold, permutations"] = permuted
    return pd.DataFrame(
        [{"score": k, "significant at 5 %": share_with_error(np.mean(p[k] <= 0.05), n_tables)} for k in p]
    )


CHANGES = {"frozen": (0.0, 1.0), "intercept": (0.8, 1.0), "intercept and slope": (0.8, 0.6)}


def chosen_updates(n_cohorts: int, sizes: tuple[int, ...]) -> pd.DataFrame:
    """How often the closed test chooses what separates a model from a simulated hospital's own truth.

    Log odds of the simulation's truth = intercept + slope x those of the model, in patients of site B.
    """
    rows = []
    for size in sizes:
        cohorts = [cohort_tables(size, seed, "B") for seed in range(1001, 1001 + n_cohorts)]
        for true, (intercept, slope) in CHANGES.items():
            chosen = []
            for manifest, truth in cohorts:
                known = truth["p_integrated"].notna().to_numpy() & manifest["he"].notna().to_numpy()
                model = (logit(truth.loc[known, "p_integrated"].to_numpy()) - intercept) / slope
                chosen.append(closed_test(manifest.loc[known, "he"].to_numpy(dtype=int), expit(model)).method)
            shares = {f"chosen: {method}": f"{100 * chosen.count(method) / n_cohorts:.0f} %" for method in CHANGES}
            rows.append({"patients": size, "true": true, "intercept": intercept, "slope": slope} | shares)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=500, help="of each bootstrap; 0: none")
    parser.add_argument("--cohorts", type=int, default=50, help="of site B, to be updated to")
    parser.add_argument("--tables", type=int, default=1000, help="of the score that adds nothing")
    arguments = parser.parse_args()
    print(f"Coverage, {arguments.simulations} simulated test sets (in brackets: interval too low / too high, %)\n")
    print(markdown(coverage(arguments.simulations, arguments.resamples, seed=1)), end="\n\n")
    print(
        f"Likelihood-ratio test of a score from {FEATURES} noise features, {arguments.tables} tables of "
        f"{N_DEVELOPMENT} patients\n"
    )
    print(markdown(false_alarms(arguments.tables, seed=1)), end="\n\n")
    print(f"What the closed test of updating chooses, {arguments.cohorts} simulated cohorts of site B\n")
    print(markdown(chosen_updates(arguments.cohorts, (200, 500))))


if __name__ == "__main__":
    main()
