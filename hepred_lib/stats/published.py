"""What published figures imply when the patients are not at hand: rounded percentages, AUCs, group sizes.

The figures of the publication that this project studies stand here, once: Neuroradiology 2024, doi
10.1007/s00234-024-03298-y, abstract.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, product

import numpy as np
import pandas as pd
from scipy.stats import norm

from hepred_lib.stats import checks
from hepred_lib.stats.discrimination import AucInterval
from hepred_lib.stats.operating_point import confusion_from_counts

PATIENTS = 572  # development and test together
# Accuracy, sensitivity and specificity in per cent, and the AUC, each in the test patients and without interval.
PERCENTAGES = {"image": (67.3, 81.0, 64.0), "clinical": (74.8, 81.0, 73.3), "integrated": (81.3, 76.2, 82.6)}
AUCS = {"image": 0.76, "clinical": 0.81, "integrated": 0.83}
COMPARED = ("accuracy", "sensitivity", "specificity")


def published_performance() -> pd.DataFrame:
    """The published figures with the intervals that they imply, by the smallest test set that fits them.

    Returns
    -------
    DataFrame
        `model, figure, value, low, high, n, events`: accuracy, sensitivity and specificity in [0, 1] as printed, with
        exact (Clopper-Pearson) limits from the counts; `auc` with Hanley and McNeil's.

    References
    ----------
    Neuroradiology 2024, doi 10.1007/s00234-024-03298-y.

    Examples
    --------
    >>> published_performance().query("model == 'integrated' and figure == 'sensitivity'")["n"].tolist()
    [107]
    """
    smallest = consistent_test_sets(PERCENTAGES)[: len(PERCENTAGES)].set_index("model")
    rows = []
    for model, percentages in PERCENTAGES.items():
        events, others = (int(smallest.loc[model, name]) for name in ("n_positive", "n_negative"))
        counts = confusion_from_counts(**smallest.loc[model, ["tp", "fp", "fn", "tn"]].astype(int).to_dict())
        area = hanley_mcneil_interval(AUCS[model], events, others)
        found = {
            name: (printed / 100, getattr(counts, f"{name}_low"), getattr(counts, f"{name}_high"))
            for name, printed in zip(COMPARED, percentages, strict=True)
        } | {"auc": (area.auc, area.low, area.high)}
        rows += [(model, name, *figures, events + others, events) for name, figures in found.items()]
    return pd.DataFrame(rows, columns=["model", "figure", "value", "low", "high", "n", "events"])


def consistent_test_sets(published: Mapping[str, Sequence[float]], n_max: int = PATIENTS) -> pd.DataFrame:
    """Every test set whose counts give published percentages, which were rounded to one decimal.

    Parameters
    ----------
    published : mapping of str to (accuracy, sensitivity, specificity)
        For each model, in percent, all measured on one test set.
    n_max : int
        Largest number of patients to consider.

    Returns
    -------
    DataFrame
        `n_positive, n_negative, model, tp, fp, fn, tn`: one row per model and solution, by size.

    Raises
    ------
    ValueError
        If there is no model, or one without three percentages in [0, 100].

    Examples
    --------
    >>> consistent_test_sets({"one": (66.7, 100.0, 50.0)}, n_max=3).values.tolist()
    [[1, 2, 'one', 1, 1, 0, 1]]
    """
    if not published:
        raise ValueError("published must name at least one model, got none.")
    for model, figures in published.items():
        if len(figures) != 3 or not all(0 <= figure <= 100 for figure in figures):
            raise ValueError(f"published must give three percentages a model, got {figures} for {model}.")
    _, *rates = zip(*published.values(), strict=True)  # sensitivities, specificities
    positives, negatives = (
        {n: counts for n in range(1, n_max) if all(counts := [_rounding_to(one, n) for one in percentages])}
        for percentages in rates
    )
    rows: list[tuple] = []
    for (m, tps), (n, tns) in product(positives.items(), negatives.items()):
        if m + n <= n_max:
            right = [_rounding_to(accuracy, m + n) for accuracy, *_ in published.values()]
            found = [
                [(m, n, model, tp, n - tn, m - tp, tn) for tp, tn in product(*counts) if tp + tn in totals]
                for model, totals, *counts in zip(published, right, tps, tns, strict=True)
            ]
            rows += chain(*found) if all(found) else ()
    table = pd.DataFrame(rows, columns=["n_positive", "n_negative", "model", "tp", "fp", "fn", "tn"])
    return table.sort_values(["n_positive", "n_negative"], kind="stable", ignore_index=True)


def hanley_mcneil_interval(auc: float, n_positive: int, n_negative: int) -> AucInterval:
    """95 % interval of a *published* AUC, of which only the value and the two group sizes are known.

    Parameters
    ----------
    auc : float
        Between 0 and 1.
    n_positive, n_negative : int
        Patients with and without the outcome.

    Returns
    -------
    AucInterval
        Wald, clipped to [0, 1].

    Raises
    ------
    ValueError
        If the AUC is outside (0, 1), or a group is empty.

    References
    ----------
    Hanley JA, McNeil BJ. Radiology 1982;143:29-36.
    """
    checks.between(auc, "auc", 0, 1)
    m, n = checks.at_least(n_positive, "n_positive", 1), checks.at_least(n_negative, "n_negative", 1)
    two_positives = auc / (2 - auc) - auc**2
    two_negatives = 2 * auc**2 / (1 + auc) - auc**2
    variance = (auc * (1 - auc) + (m - 1) * two_positives + (n - 1) * two_negatives) / (m * n)
    reach = checks.normal_quantile(0.95) * np.sqrt(variance)
    return AucInterval(float(auc), max(float(auc - reach), 0.0), min(float(auc + reach), 1.0), float(np.sqrt(variance)))


def difference_p(a: AucInterval, b: AucInterval, correlation: float) -> float:
    """Two-sided p of the difference between two *published* AUCs, at an assumed correlation of their estimates.

    Parameters
    ----------
    a, b : AucInterval
        With standard errors, for instance from `hanley_mcneil_interval`.
    correlation : float
        Between the two estimates over samples of patients, in (-1, 1).

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the correlation is outside (-1, 1).

    References
    ----------
    Hanley JA, McNeil BJ. Radiology 1983;148:839-843.
    """
    checks.between(correlation, "correlation", -1, 1)
    covariance = correlation * a.standard_error * b.standard_error
    standard_error = np.sqrt(a.standard_error**2 + b.standard_error**2 - 2 * covariance)
    return float(2 * norm.sf(abs(a.auc - b.auc) / standard_error))


def critical_correlation(a: AucInterval, b: AucInterval) -> float:
    """Correlation of two published AUC estimates above which their difference would be significant at the 5 % level.

    Parameters
    ----------
    a, b : AucInterval
        With standard errors.

    Returns
    -------
    float
        Below -1 means always significant, above 1 never.
    """
    needed = (a.auc - b.auc) / norm.ppf(0.975)
    variance = a.standard_error**2 + b.standard_error**2 - needed**2
    return float(variance / (2 * a.standard_error * b.standard_error))


def _rounding_to(percentage: float, n: int) -> list[int]:
    """Counts out of n that are printed as this percentage."""
    # Half a unit of the last decimal either way: papers round halves up, down or to even.
    return [k for k in range(n + 1) if abs(100 * k / n - percentage) <= 0.05 + 1e-9]
