import json
from pathlib import Path

import numpy as np
import pytest

from hepred_lib.stats.operating_point import combination_interval, wilson_interval

R = Path(__file__).resolve().parents[1] / "data" / "r"


def test_wilson_equals_prop_test():
    expected = json.loads((R / "counts.json").read_text())["wilson"]
    assert np.array(wilson_interval([17], 21)).ravel() == pytest.approx(expected, abs=1e-12)


def test_wilsons_interval_by_hand():
    # 5 of 10: centre 1/2, reach z / sqrt(n + z^2) / 2.
    low, high = wilson_interval([5], 10)
    z = 1.959963984540054
    assert (low[0], high[0]) == pytest.approx((0.5 - z / np.sqrt(10 + z**2) / 2, 0.5 + z / np.sqrt(10 + z**2) / 2))


def test_wilsons_limits_solve_the_score_equation():
    low, high = wilson_interval([3], 40)
    for limit in (low[0], high[0]):
        assert abs(3 / 40 - limit) / np.sqrt(limit * (1 - limit) / 40) == pytest.approx(1.959963984540054)


def test_nobody_and_everybody_reach_the_ends():
    low, high = wilson_interval([0, 9], 9)
    assert (low[0], high[1]) == (0.0, 1.0)
    assert 0 < low[1] < high[1]


@pytest.mark.parametrize(("counts", "n"), [([-1], 5), ([6], 5), ([0], 0), ([np.nan], 5)])
def test_counts_that_are_none_are_refused(counts, n):
    with pytest.raises(ValueError, match="must"):
        wilson_interval(counts, n)


def test_one_cell_is_wilsons_interval_times_its_coefficient():
    estimate, low, high = combination_interval([[7]], [[-2.0]], 30)
    below, above = wilson_interval([7], 30)
    assert (estimate[0], low[0], high[0]) == pytest.approx((-14 / 30, -2 * above[0], -2 * below[0]))


def test_two_cells_that_hold_everybody_are_one_proportion():
    _, low, high = combination_interval([[8], [2]], [[1.0], [-1.0]], 10)
    below, above = wilson_interval([8], 10)
    assert (low[0], high[0]) == pytest.approx((2 * below[0] - 1, 2 * above[0] - 1))


def test_in_large_samples_it_is_the_multinomials_standard_error():
    q, c, n = np.array([0.15, 0.2]), np.array([1.0, -0.25]), 1_000_000
    _, low, high = combination_interval((q * n)[:, None], c[:, None], n)
    variance = (np.sum(c**2 * q) - np.sum(c * q) ** 2) / n
    assert (high - low)[0] == pytest.approx(2 * 1.959963984540054 * np.sqrt(variance), rel=1e-3)


def test_settings_do_not_touch_each_other():
    together = combination_interval([[3, 8], [2, 1]], [[1, 1], [-1, -0.5]], 20)
    alone = combination_interval([[8], [1]], [[1], [-0.5]], 20)
    assert [part[1] for part in together] == pytest.approx([part[0] for part in alone])


@pytest.mark.parametrize(
    ("counts", "coefficients", "message"),
    [([[6], [6]], [[1], [1]], "exclusive"), ([[1]], [[1, 2]], "one for each count"), ([[1]], [[np.nan]], "finite")],
)
def test_cells_that_do_not_fit_are_refused(counts, coefficients, message):
    with pytest.raises(ValueError, match=message):
        combination_interval(counts, coefficients, 10)
