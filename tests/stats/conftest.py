"""R's figures for tables that ``tests/data/r`` simulates, and for data sets of R where these are at hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.stats import sensitivity

FOLDERS = {
    "simulated": Path(__file__).resolve().parents[1] / "data" / "r",
    "data_sets_of_r": Path(__file__).resolve().parents[2] / "../shared/oracles",
}
DATA_SETS = {
    "roc.csv": "asah.csv",
    "roc.json": "asah_roc.json",
    "selection.csv": "birthwt.csv",
    "selection.json": "birthwt_forward.json",
    "validate.json": "birthwt_validate.json",
}


def cohort(n=240, seed=0, *, gaps=True):
    """Six bedside variables and a DL score, a tenth of three missing, and an outcome on which all but two act."""
    rng = np.random.default_rng(seed)
    x = pd.DataFrame({"gcs": rng.integers(3, 16, n).astype(float), "onset_h": rng.lognormal(1.2, 0.8, n)})
    x["anticoagulant"] = (rng.random(n) < 0.1).astype(float)
    places = ["deep", "lobar", "stem"]
    x["place"] = pd.Categorical(rng.choice(places, n, p=[0.6, 0.3, 0.1]), places)
    x[["age", "sbp", "dl_score"]] = rng.normal(size=(n, 3)) * [10, 25, 1] + [65, 165, 0]
    eta = -0.25 * (x["gcs"] - 9) - 0.1 * (x["onset_h"] - 4) + 1.2 * x["anticoagulant"] + 0.8 * x["dl_score"] - 1.2
    y = (rng.random(n) < expit(eta + (x["place"] == "stem"))).astype(int)
    for name in ("gcs", "onset_h", "place") if gaps else ():
        x.loc[rng.random(n) < 0.1, name] = np.nan
    return x, y


def of_r(name, data="simulated"):
    """A table (``roc.csv``; the outcome is ``y``) or R's figures for it (``roc.json``)."""
    path = FOLDERS[data] / (name if data == "simulated" else DATA_SETS.get(name, name))
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    return pd.read_csv(path, dtype={"race": "category", "location": "category"}).rename(columns={"low": "y"})


@pytest.fixture(scope="module", params=FOLDERS)
def reference(request):
    """What `of_r` reads, for each of the two."""
    if not FOLDERS[request.param].is_dir():
        pytest.skip("the data sets of R are not beside the project")
    return lambda name: of_r(name, request.param)


@pytest.fixture
def few_strengths(monkeypatch):
    """Penalties are searched among five strengths: what is tested does not depend on how fine the search is."""
    monkeypatch.setattr(sensitivity, "STRENGTHS", np.logspace(-3, 1.5, 5))
