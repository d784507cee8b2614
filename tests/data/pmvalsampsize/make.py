"""The sizes that the authors' own program gives (pmvalsampsize 0.2.1, GPL, not needed by the project): sizes.csv.

pip install pmvalsampsize && python tests/data/pmvalsampsize/make.py > tests/data/pmvalsampsize/sizes.csv

The predictor's log odds are normal (`mean`, `sd`); sensitivity and specificity at the threshold are the program's own,
from one million simulated patients.
"""

import csv
import sys

SETTINGS = (
    (0.2, 0.8, -1.6, 1.1, None),
    (0.2, 0.7, -1.5, 0.8, 0.2),
    (0.3, 0.75, -1.0, 1.0, 0.3),
    (0.1, 0.85, -2.9, 1.5, 0.1),
    (0.43, 0.8, -0.3, 1.2, 0.4),
    (0.25, 0.65, -1.2, 0.5, None),
    (0.5, 0.9, 0.0, 1.8, 0.5),
    (0.05, 0.78, -3.3, 1.0, 0.1),
    (0.35, 0.72, -0.7, 0.8, 0.35),
    (0.15, 0.81, -2.1, 1.2, 0.15),
)
COLUMNS = (
    *("prevalence", "auc", "mean", "sd", "sensitivity", "specificity", "threshold"),
    *("n_observed_expected", "n_slope", "n_auc", "n_net_benefit", "n"),
)


if __name__ == "__main__":
    from pmvalsampsize.pmvalsampsize import pmvalsampsize

    rows = csv.DictWriter(sys.stdout, COLUMNS)
    rows.writeheader()
    for prevalence, auc, mean, sd, threshold in SETTINGS:
        how = {"prevalence": prevalence, "cstatistic": auc, "lpnormal": (mean, sd), "noprint": True}
        found = pmvalsampsize(type="b", **how, **({"threshold": threshold} if threshold else {}))
        sizes = [line[1] for line in found["results_table"] if isinstance(line, list)]
        row = dict(zip(COLUMNS[7:10], sizes, strict=False))
        row |= {"prevalence": prevalence, "auc": auc, "mean": mean, "sd": sd, "n": found["sample_size"]}
        if threshold:
            row |= {name: found[name] for name in ("sensitivity", "specificity", "threshold")}
            row["n_net_benefit"] = sizes[3]
        rows.writerow(row)
