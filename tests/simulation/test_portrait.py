"""The figure of the law shows the law."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hepred_lib.simulation.growth import label_probability
from hepred_lib.simulation.portrait import portray_truth, within_class_correlation


@pytest.fixture(scope="module")
def law():
    return portray_truth(6000, seed=3)


def test_the_four_panels_are_there_and_complete(law):
    assert set(law["panel"]) == {"label", "parts", "roc", "calibration"}
    assert law[["x", "y"]].notna().all(axis=None)


def test_the_label_curves_are_the_label_probabilities(law):
    curve = law[(law["panel"] == "label") & (law["group"] == "bleeds on")]
    assert curve["y"].to_numpy() == pytest.approx(label_probability(curve["x"], active=True))


def test_the_oracles_intervals_hold_their_probabilities_nine_times_in_ten(law):
    points = law[law["panel"] == "calibration"]
    assert len(points) == 30
    assert ((points["low"] <= points["x"]) & (points["x"] <= points["high"])).mean() >= 0.9


def test_the_integrated_oracle_lies_above_its_parts(law):
    area = {
        group.split(":")[0]: np.trapezoid(rows["y"], rows["x"])
        for group, rows in law[law["panel"] == "roc"].groupby("group")
    }
    assert area["Integrated"] > max(area["Image"], area["Clinical"])


def test_the_same_seed_shows_the_same_law(law):
    pd.testing.assert_frame_equal(portray_truth(6000, seed=3), law)


def test_the_correlation_within_classes_does_not_see_the_difference_between_them():
    rng, he = np.random.default_rng(1), np.repeat([0, 1], 4000)
    logits = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], 8000) + 3.0 * he[:, None]
    truth = pd.DataFrame(expit(logits), columns=["p_image", "p_clinical"])
    assert within_class_correlation(he, truth) == pytest.approx(0.3, abs=0.03)
