"""What is drawn is seen: the markers measured on a scan agree with the signs that made it."""

import numpy as np
import pytest

from hepred_lib.imaging.markers import Markers, measure_markers
from hepred_lib.simulation.render import render_scan

# Signs drawn together, what must then be measured of the four, and what must not.
DRAWN = {
    (): (set(), {"blend", "black_hole", "any_hypodensity", "irregular"}),
    ("blend", "irregular"): ({"blend", "irregular"}, set()),
    ("black_hole",): ({"black_hole", "any_hypodensity"}, {"blend", "irregular"}),
    ("hypodensity", "irregular"): ({"any_hypodensity", "irregular"}, {"blend", "black_hole"}),
}


def _markers(signs: tuple[str, ...], seed: int) -> Markers:
    latents = {"blood_free": 0, "age": 60, "sex": "M", "location": "basal_ganglia", "ivh": 0}
    latents |= {"true_baseline_ml": 22.0, "density": -0.3, "shape": -0.3}
    scan = render_scan(latents, frozenset(signs), site="A", matrix=128, rng=np.random.default_rng(seed))
    return measure_markers(scan.hu, scan.mask, np.sqrt((scan.affine[:3, :3] ** 2).sum(axis=0)))


@pytest.fixture(scope="module")
def measured():
    return {signs: _markers(signs, seed=1) for signs in DRAWN}


@pytest.mark.parametrize("signs", DRAWN)
def test_a_sign_is_seen_where_it_was_drawn_and_only_there(measured, signs):
    present, absent = DRAWN[signs]
    assert {name for name in present if getattr(measured[signs], name)} == present
    assert {name for name in absent if getattr(measured[signs], name)} == set()


def test_what_is_graded_puts_every_drawn_sign_first(measured):
    for name, signs, others in (
        ("blend_hu", ("blend", "irregular"), [(), ("black_hole",), ("hypodensity", "irregular")]),
        ("black_hole_hu", ("black_hole",), [(), ("hypodensity", "irregular")]),
    ):
        assert getattr(measured[signs], name) > max(getattr(measured[other], name) for other in others) + 4, name
