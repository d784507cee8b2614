"""What is drawn is seen: the markers measured on a scan agree with the signs that made it."""

import numpy as np
import pytest

from hepred_lib.markers import measure_markers
from hepred_lib.simulation.render import render_scan

SEEN_AS = {"blend": "blend", "black_hole": "black_hole", "hypodensity": "any_hypodensity", "irregular": "irregular"}


def _markers(*signs, seed):
    latents = {"blood_free": 0, "age": 60, "sex": "M", "location": "basal_ganglia", "ivh": 0}
    latents |= {"true_baseline_ml": 22.0, "density": -0.3, "shape": -0.3}
    scan = render_scan(latents, frozenset(signs), site="A", matrix=128, rng=np.random.default_rng(seed))
    return measure_markers(scan.hu, scan.mask, np.sqrt((scan.affine[:3, :3] ** 2).sum(axis=0)))


@pytest.fixture(scope="module")
def plain():
    return [_markers(seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize("sign", SEEN_AS)
def test_a_sign_is_seen_where_it_was_drawn_and_only_there(sign, plain):
    drawn = [getattr(_markers(sign, seed=seed), SEEN_AS[sign]) for seed in (1, 2)]
    assert drawn == [1, 1]
    assert [getattr(markers, SEEN_AS[sign]) for markers in plain] == [0, 0]


def test_a_hypodensity_is_no_black_hole_and_an_enclosed_part_no_blend(plain):
    hypodensity, hole = (_markers(sign, seed=3) for sign in ("hypodensity", "black_hole"))
    assert (hypodensity.black_hole, hypodensity.blend, hole.blend) == (0, 0, 0)
    assert hole.black_hole_hu > hypodensity.black_hole_hu + 8 > max(m.black_hole_hu for m in plain) + 14
