"""The head: what is painted on planes, and the densities of skull, face and brain in their places."""

from dataclasses import replace

import numpy as np
import pytest

from ich_phantom.brain import paint_dura, sample_calcifications, sample_dura, sample_lesions
from ich_phantom.render import sample_pose
from ich_phantom.shapes import Plane, Pose, SmoothField, paint_ellipsoid
from ich_phantom.skull import base_height, head_box, paint_face, sample_skull, walls_of


def test_a_pose_is_a_rotation():
    rotation = sample_pose(np.random.default_rng(1)).rotation
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert rotation @ rotation.T == pytest.approx(np.eye(3))


def test_a_smooth_field_has_unit_variance_and_no_jumps():
    axis = np.arange(-100, 100, 1.0)
    field = SmoothField(np.random.default_rng(2), (axis, axis, axis), wavelength_mm=25)
    plane = field.at(12.3)
    assert plane.shape == (200, 200)
    assert 0.6 < plane.std() < 1.2
    assert np.abs(np.diff(plane, axis=0)).max() < 0.6
    part = slice(10, 30), slice(5, 80)
    assert field.at(12.3, part) == pytest.approx(plane[part], abs=1e-6)


def _rng(seed=0):
    return np.random.default_rng(seed)


def _plane(height_mm, half_mm=110):
    axis = np.arange(-half_mm, half_mm + 1.0)
    grid = np.meshgrid(axis, axis, indexing="ij")
    x, y = (np.asarray(part, dtype=np.float32) for part in grid)
    pose = Pose(np.eye(3), np.zeros(3))
    air = np.full_like(x, -1000)
    return Plane(x, y, np.full_like(x, height_mm), air, axis, axis, height_mm, edge_mm=1.0, pose=pose, reach_mm=0.0)


def test_painting_a_cut_paints_the_whole_plane():
    plane = _plane(0.0)
    part = plane.cut((slice(100, 121), slice(90, 131)))
    paint_ellipsoid(part, (0, 0, 0), (5.3, 5.3, 5.3), 60.0)
    assert plane.hu[110, 110] == 60
    assert (plane.hu > -470).sum() == pytest.approx(np.pi * 5.3**2, rel=0.1)


def test_a_window_covers_its_shape_and_is_none_beyond_it():
    plane = _plane(10.0)
    rows, columns = plane.window((20, -30, 0), 12)
    assert (rows.start, rows.stop) == (110 + 20 - 13, 110 + 20 + 13)
    assert (columns.start, columns.stop) == (110 - 30 - 13, 110 - 30 + 13)
    assert plane.window((20, -30, 0), 8) is None


def test_a_skull_base_without_slant_is_symmetric_and_its_bowl_rises_from_the_foramen():
    x, y = np.array([-40.0, 40.0, 0.0, 0.0]), np.array([-55.0, -55.0, -50.0, -75.0])
    heights = base_height(x, y, replace(sample_skull(_rng(), male=True), slant_mm=0.0))
    assert heights[0] == pytest.approx(heights[1])
    assert heights[2] < heights[3]


def test_the_cavity_narrows_to_a_canal_below_the_foramen_magnum():
    skull = replace(sample_skull(_rng(), male=True), relief_mm=0.0)
    area = {}
    for height in (-30.0, -60.0, -85.0):
        plane = _plane(height)
        area[height] = (walls_of(plane, skull, folds=np.zeros_like(plane.x)).cavity > 0).sum()
    assert area[-30.0] > 3 * area[-60.0] > 0
    assert area[-85.0] == pytest.approx(np.pi * 13.4**2, rel=0.1)


def test_relief_moves_the_inner_table_by_a_third_of_itself():
    skull = replace(sample_skull(_rng(), male=True), relief_mm=1.5)
    plane = _plane(40.0)
    flat, rough = (walls_of(plane, skull, folds=np.full_like(plane.x, k)).cavity for k in (0, 1))
    assert flat - rough == pytest.approx(0.495, abs=1e-4)


def test_muscle_in_the_neck_has_the_density_of_blood():
    plane = _plane(-90.0)
    paint_face(plane, grain=np.zeros_like(plane.x), folds=np.zeros_like(plane.x), sinus=1.0, muscle_hu=58.0)
    assert plane.hu[110 + 22, 110 - 56] == pytest.approx(58)
    assert plane.hu[110 - 22, 110 - 56] == pytest.approx(58)


def test_sinuses_are_brighter_than_arteries_and_drain_as_much_together_in_every_head():
    duras = [sample_dura(_rng(k)) for k in range(50)]
    assert all(dura.sinus_hu > dura.artery_hu for dura in duras)
    assert [sum(dura.drainage) for dura in duras] == pytest.approx([2.0] * 50)
    assert 45 < np.mean([dura.sinus_hu for dura in duras]) < 57


def test_a_transverse_sinus_is_painted_along_the_tentorium():
    plane = _plane(-13.0)
    dura = replace(sample_dura(_rng()), sinus_hu=58.0, drainage=(0.5, 1.5))
    paint_dura(plane, dura, cavity=np.full_like(plane.x, 30), torcula_mm=-85.0)
    right, left = ((plane.hu[half] > 57).sum() for half in (slice(130, None), slice(None, 91)))
    assert right > 2 * left


def test_calcium_is_commoner_and_infarcts_more_numerous_in_old_heads():
    old, young = ([sample_calcifications(_rng(k), atrophy=a, mimic=False) for k in range(200)] for a in (1.0, 0.0))
    assert np.mean([len(found) for found in old]) > 2 * np.mean([len(found) for found in young])
    assert all(40 < lesion.hu < 800 for found in old for lesion in found)
    scars = [np.mean([len(sample_lesions(_rng(k), atrophy=a, mimic=False)) for k in range(200)]) for a in (0.0, 1.0)]
    assert scars[0] < 0.5 < scars[1]


def test_the_box_of_an_upright_head_narrows_upwards_and_is_everything_low_down():
    skull, axis = replace(sample_skull(_rng(), male=True), inner_mm=(67.0, 79.0, 71.0)), np.arange(-120, 120, 1.0)
    pose = Pose(np.eye(3), np.zeros(3))
    low, middle, top = (head_box(pose, skull, (axis, axis), z) for z in (0.0, 40.0, 90.0))
    assert low == (slice(None), slice(None))
    assert middle[0].stop - middle[0].start == pytest.approx(2 * 93 * np.sqrt(1 - (40 / 97) ** 2), abs=1)
    assert top[0].stop - top[0].start < 0.5 * (middle[0].stop - middle[0].start)
