"""The sizes that the authors' own program gives (pmsampsize 0.1.0, GPL, not needed by the project): sizes.csv.

pip install pmsampsize && python tests/data/pmsampsize/make.py > tests/data/pmsampsize/sizes.csv

It asks for Python 3.12. `r2` is the program's own for the AUC, from one million simulated patients, to four decimals.
"""

import csv
import sys

# Parameters, prevalence, AUC, shrinkage factor.
SETTINGS = (
    (10, 0.2, 0.8, 0.9),
    (20, 0.2, 0.7, 0.9),
    (24, 0.174, 0.85, 0.9),
    (5, 0.5, 0.65, 0.9),
    (30, 0.05, 0.78, 0.9),
    (12, 0.29, 0.81, 0.85),
    (1, 0.35, 0.9, 0.9),
    (40, 0.1, 0.75, 0.95),
    (8, 0.43, 0.72, 0.9),
    (15, 0.3, 0.95, 0.9),
)
COLUMNS = (
    *("parameters", "prevalence", "auc", "shrinkage", "r2"),
    *("n_shrinkage", "n_optimism", "n_overall_risk", "n"),
)


if __name__ == "__main__":
    from pmsampsize.pmsampsize import pmsampsize

    rows = csv.writer(sys.stdout)
    rows.writerow(COLUMNS)
    for parameters, prevalence, auc, shrinkage in SETTINGS:
        how = {"parameters": parameters, "prevalence": prevalence, "shrinkage": shrinkage, "noprint": True}
        found = pmsampsize(type="b", cstatistic=auc, **how)
        sizes = [line[1] for line in found["results_table"] if isinstance(line, list)]
        rows.writerow((parameters, prevalence, auc, shrinkage, found["rsquared"], *sizes))
