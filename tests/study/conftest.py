"""Test patients that several tests of this folder judge."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def rows() -> pd.DataFrame:
    """Forty test patients, ten with expansion; the integrated model is the best of three."""
    rng = np.random.default_rng(0)
    he = np.repeat([1, 0], [10, 30])
    rows = pd.DataFrame({"patient_id": [f"T{i}" for i in range(40)], "he": he})
    for name, strength in (("image", 0.5), ("clinical", 1.0), ("integrated", 1.4)):
        rows[f"p_{name}"] = 1 / (1 + np.exp(1.1 - strength * he - rng.normal(0, 0.7, 40)))
    return rows
