"""Test patients that several tests of this folder judge, and a finished study in small that several report on."""

import shutil

import numpy as np
import pandas as pd
import pytest

from hepred_lib.study.report import write_report
from tests.study.small_run import write_run


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The study; tests change copies of it."""
    return write_run(tmp_path_factory.mktemp("made") / "small")


@pytest.fixture(scope="session")
def made_report(made, tmp_path_factory):
    """The study with its report."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("reported") / "small")
    write_report(folder)
    return folder


@pytest.fixture
def run(made, tmp_path):
    """The folder of a finished simulated study."""
    return shutil.copytree(made, tmp_path / "small")


@pytest.fixture
def reported(made_report, tmp_path):
    """The folder of a finished simulated study with its report."""
    return shutil.copytree(made_report, tmp_path / "small")


@pytest.fixture
def rows() -> pd.DataFrame:
    """Forty test patients, ten with expansion; the integrated model is the best of three."""
    rng = np.random.default_rng(0)
    he = np.repeat([1, 0], [10, 30])
    rows = pd.DataFrame({"patient_id": [f"T{i}" for i in range(40)], "he": he})
    for name, strength in (("image", 0.5), ("clinical", 1.0), ("integrated", 1.4)):
        rows[f"p_{name}"] = 1 / (1 + np.exp(1.1 - strength * he - rng.normal(0, 0.7, 40)))
    return rows
