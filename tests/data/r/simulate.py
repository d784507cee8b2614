"""Simulate the tables of this folder, of which ``make.R`` makes R's figures: python simulate.py && Rscript make.R ."""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent


def logistic(z):
    return 1 / (1 + np.exp(-z))


rng = np.random.default_rng(20260101)

# Three scores of unequal worth, one of them with many ties, of patients at two sites.
n = 130
y = (rng.random(n) < 0.3).astype(int)
roc = pd.DataFrame({"y": y, "site": rng.choice(["A", "B"], n)})
roc["grade"] = np.clip(np.round(2.2 + 0.9 * y + rng.normal(size=n)), 1, 5).astype(int)
roc["density"] = (0.1 + 0.04 * y + 0.05 * rng.gamma(2, 1, n)).round(3)
roc["volume"] = (np.exp(2.5 + 0.4 * y + 0.15 * roc["grade"] + rng.normal(size=n))).round(1)
roc.to_csv(HERE / "roc.csv", index=False)

# Eight candidates, of which one is a factor and three matter little or not at all.
n = 240
table = pd.DataFrame({"age": rng.normal(66, 12, n).round(), "gcs": rng.integers(5, 16, n)})
table["sbp"] = rng.normal(170, 26, n).round()
table["onset_h"] = np.clip(rng.lognormal(1, 0.7, n), 0.5, 24).round(1)
table["location"] = rng.choice(["deep", "infratentorial", "lobar"], n, p=[0.55, 0.15, 0.3])
for name, prevalence in (("anticoagulant", 0.15), ("ivh", 0.35), ("diabetes", 0.2)):
    table[name] = (rng.random(n) < prevalence).astype(int)
eta = -0.16 * (table["gcs"] - 11) - 0.12 * (table["onset_h"] - 3) + 1.1 * table["anticoagulant"] + 0.35 * table["ivh"]
eta += 0.9 * (table["location"] == "lobar") + 0.012 * (table["age"] - 66) - 1.4
table.insert(0, "y", (rng.random(n) < logistic(eta)).astype(int))
table.to_csv(HERE / "selection.csv", index=False)

# Predictions that are too extreme and, on the whole, too high.
lp = rng.normal(-1.2, 1.1, 300)
y = (rng.random(300) < logistic(lp)).astype(int)
pd.DataFrame({"y": y, "p": logistic(0.35 + 1.5 * lp)}).to_csv(HERE / "calibration.csv", index=False)

# A column that separates the outcome perfectly.
x1 = np.concatenate([-rng.gamma(2, 0.8, 7) - 0.2, rng.gamma(2, 0.8, 6) + 0.2]).round(2)
separated = pd.DataFrame({"x1": x1, "x2": rng.normal(size=13).round(2), "y": np.repeat([0, 1], [7, 6])})
separated.to_csv(HERE / "separated.csv", index=False)
