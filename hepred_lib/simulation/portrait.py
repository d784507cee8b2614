"""The law behind a simulated cohort, as a figure's data: what makes the labels, and how well they could be foreseen.

Drawn from a large cohort of tables, so that the picture shows the law and not the luck of one study.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from hepred_lib.simulation import patients as bedside
from hepred_lib.simulation.cohort import ORACLE, cohort_tables
from hepred_lib.simulation.growth import label_probability
from hepred_lib.stats.discrimination import auc, roc_points
from hepred_lib.stats.operating_point import exact_interval

POINTS_PER_OUTCOME, CURVE_POINTS, BINS = 350, 101, 10


def portray_truth(n_patients: int = 20_000, *, seed: int, site: str = "A") -> pd.DataFrame:
    """Four panels that explain the oracle.

    Parameters
    ----------
    n_patients : int
        Hemorrhages to draw, without scans.
    seed : int
    site : str
        "A" or "B".

    Returns
    -------
    DataFrame
        Columns ``panel, group, x, y, low, high``. Panel ``label``: P(HE) by true volume in mL of the hemorrhages that
        bleed on and of the others; ``parts``: clinical against image logit by outcome; ``roc``: false-positive rate
        and sensitivity of each oracle, the group naming its AUC; ``calibration``: observed share of HE with its exact
        95 % interval by tenth of each oracle's probability.
    """
    manifest, truth = (table.iloc[:n_patients] for table in cohort_tables(n_patients, seed, site))
    he = manifest["he"].to_numpy(dtype=int)
    panels = [_label_panel(), _parts_panel(he, truth)]
    for name in ORACLE:
        p = truth[name].to_numpy()
        panels += [_roc_panel(he, p, name), _calibration_panel(he, p, name)]
    return pd.concat(panels, ignore_index=True)


def within_class_correlation(he: ArrayLike, truth: pd.DataFrame) -> float:
    """Correlation of the oracle's image and clinical logits among patients of one outcome, pooled over the two.

    Parameters
    ----------
    he : array_like of 0 and 1, shape (n,)
    truth : DataFrame
        With columns ``p_image, p_clinical``, in the same order.
    """
    logits = logit(truth[["p_image", "p_clinical"]]).reset_index(drop=True)
    within = logits - logits.groupby(np.asarray(he, dtype=int)).transform("mean")
    return float(within["p_image"].corr(within["p_clinical"]))


def _label_panel() -> pd.DataFrame:
    volume = np.geomspace(bedside.LEAST_VOLUME_ML, bedside.VOLUME_LIMIT_ML.max(), CURVE_POINTS)
    curves = {"bleeds on": True, "does not": False}
    return pd.concat([_rows("label", g, volume, label_probability(volume, active=a)) for g, a in curves.items()])


def _parts_panel(he: NDArray[np.int64], truth: pd.DataFrame) -> pd.DataFrame:
    shown = [truth[he == outcome].iloc[:POINTS_PER_OUTCOME] for outcome in (0, 1)]
    names = ("no HE", "HE")
    return pd.concat(
        [_rows("parts", g, t["logit_image"], t["logit_clinical"]) for g, t in zip(names, shown, strict=True)]
    )


def _roc_panel(he: NDArray[np.int64], p: NDArray[np.float64], name: str) -> pd.DataFrame:
    points, rate = roc_points(he, p), np.linspace(0, 1, CURVE_POINTS)
    sensitivity = np.interp(rate, points.false_positive_rate, points.true_positive_rate)
    return _rows("roc", f"{_part(name)}: AUC {auc(he, p):.2f}", rate, sensitivity)


def _calibration_panel(he: NDArray[np.int64], p: NDArray[np.float64], name: str) -> pd.DataFrame:
    tenth = pd.qcut(p, BINS, labels=False)
    groups = (
        pd.DataFrame({"p": p, "he": he}).groupby(tenth).agg(p=("p", "mean"), events=("he", "sum"), n=("he", "size"))
    )
    low, high = np.array([exact_interval(int(k), int(n)) for k, n in zip(groups["events"], groups["n"], strict=True)]).T
    return _rows("calibration", _part(name), groups["p"], groups["events"] / groups["n"], low=low, high=high)


def _part(name: str) -> str:
    return name.removeprefix("p_").capitalize()


def _rows(panel: str, group: str, x: object, y: object, *, low: object = np.nan, high: object = np.nan) -> pd.DataFrame:
    return pd.DataFrame({"panel": panel, "group": group, "x": np.asarray(x), "y": np.asarray(y)}).assign(
        low=low, high=high
    )
