"""A rendered head has the densities of a head, in the right places."""

from dataclasses import replace

import numpy as np
import pytest

from hepred_lib.simulation.dura import paint_dura, sample_dura
from hepred_lib.simulation.face import paint_face
from hepred_lib.simulation.lesions import Lesion, sample_calcifications, sample_lesions
from hepred_lib.simulation.render import head_box, render_scan
from hepred_lib.simulation.scanner import Protocol, acquire, sample_pose, sample_protocol
from hepred_lib.simulation.shapes import Plane, Pose, SmoothField, paint_ellipsoid
from hepred_lib.simulation.skull import base_height, sample_skull, walls_of


@pytest.fixture(scope="module")
def healthy():
    latents = {"blood_free": 1, "age": 60, "sex": "M"}
    return render_scan(latents, frozenset(), site="A", matrix=128, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def bled():
    latents = {"blood_free": 0, "age": 60, "sex": "F", "location": "basal_ganglia"}
    latents |= {"true_baseline_ml": 25.0, "density": 0.0, "shape": 0.0, "ivh": 1}
    return render_scan(latents, frozenset(), site="A", matrix=128, rng=np.random.default_rng(3))


def test_air_is_constant_bone_is_dense_and_brain_lies_between(healthy):
    corner = healthy.hu[:5, :5]
    assert (corner == -1000).all()
    assert (healthy.hu > 700).mean() > 0.02
    middle = healthy.hu[44:84, 44:84, 14:24]
    brain = middle[(middle > 0) & (middle < 60)]
    assert 20 < np.median(brain) < 36


def test_a_head_without_blood_has_empty_masks(healthy):
    assert not healthy.mask.any()
    assert not healthy.ivh_mask.any()


def test_a_head_is_nearly_symmetric_and_a_hemorrhage_is_not(healthy, bled):
    side = np.nonzero(bled.mask)[0].mean() < 64
    assert side == (np.nonzero(bled.mask)[0] < 64).mean().round()
    columns = (healthy.hu > 300).any(axis=2).sum(axis=1)
    assert columns[:64].sum() == pytest.approx(columns[64:].sum(), rel=0.25)


def test_blood_is_brighter_than_the_brain_around_it(bled):
    assert 52 < bled.hu[bled.mask].mean() < 68
    assert 40 < bled.hu[bled.ivh_mask].mean() < 65
    assert bled.mask.sum() * abs(np.linalg.det(bled.affine)) / 1000 == pytest.approx(25, rel=0.01)


def test_the_same_generator_gives_the_same_scan(healthy):
    latents = {"blood_free": 1, "age": 60, "sex": "M"}
    again = render_scan(latents, frozenset(), site="A", matrix=128, rng=np.random.default_rng(3))
    assert (again.hu == healthy.hu).all()
    assert (again.affine == healthy.affine).all()


def _protocol(**changes):
    settings = {"matrix": 128, "pixel_mm": 1.8, "slice_mm": 5.0, "n_slices": 2, "n_thin": 1, "bottom_mm": 0.0}
    settings |= {"blur_mm": 0.6, "noise_hu": 4.0, "noise_blur_mm": 0.7, "offset_hu": 2.0}
    return Protocol(**settings | changes)


def test_noise_has_the_stated_standard_deviation_and_offset():
    flat = np.full((2, 128, 128), 30.0, dtype=np.float32)
    scan = acquire(flat, _protocol(), np.random.default_rng(0))
    assert scan.std() == pytest.approx(4.0, rel=0.03)
    assert scan.mean() == pytest.approx(32.0, abs=0.1)


def test_neighbouring_pixels_share_noise_and_slices_do_not():
    flat = np.full((2, 128, 128), 30.0, dtype=np.float32)
    scan = acquire(flat, _protocol(pixel_mm=0.9), np.random.default_rng(0)).astype(float)
    assert np.corrcoef(scan[1:, :, 0].ravel(), scan[:-1, :, 0].ravel())[0, 1] > 0.2
    assert abs(np.corrcoef(scan[:, :, 0].ravel(), scan[:, :, 1].ravel())[0, 1]) < 0.03


def test_site_a_scans_five_millimetres_and_site_b_anything():
    thickness = {
        site: {sample_protocol(np.random.default_rng(k), site=site, matrix=256).slice_mm for k in range(40)}
        for site in "AB"
    }
    assert thickness["A"] == {5.0}
    assert min(thickness["B"]) == 2.5
    assert max(thickness["B"]) == 7.0


def test_a_pose_is_a_rotation_that_can_be_undone():
    pose = sample_pose(np.random.default_rng(1))
    point = np.array([10.0, -20.0, 5.0])
    back = pose.rotation @ (pose.to_scanner(point) - pose.shift)
    assert np.linalg.det(pose.rotation) == pytest.approx(1)
    assert back == pytest.approx(point)


def test_a_smooth_field_has_unit_variance_and_no_jumps():
    axis = np.arange(-100, 100, 1.0)
    field = SmoothField(np.random.default_rng(2), (axis, axis, axis), wavelength_mm=25)
    plane = field.at(12.3)
    assert plane.shape == (200, 200)
    assert 0.6 < plane.std() < 1.2
    assert np.abs(np.diff(plane, axis=0)).max() < 0.6


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


def test_a_lesion_is_painted_where_it_lies_and_nowhere_else():
    plane = _plane(4.0)
    Lesion((10, 20, 4), (4, 4, 4), 200.0, 1.0).paint(plane)
    assert plane.hu[120, 130] == 200
    assert plane.hu[100, 130] == -1000
    before = plane.hu.copy()
    Lesion((10, 20, 40), (4, 4, 4), 200.0, 1.0).paint(plane)
    assert (plane.hu == before).all()


def test_streaks_grow_with_their_factor_and_need_bone():
    def spread(streaks, bone_hu):
        slices = np.full((2, 128, 128), 30.0, dtype=np.float32)
        slices[:, 40:88, 20:30] = bone_hu
        scan = acquire(slices, _protocol(noise_hu=0.01, streaks=streaks), np.random.default_rng(0))
        return scan[:, 60:, :].std()

    assert spread(4.0, 1500.0) > spread(0.5, 1500.0)
    assert spread(4.0, 200.0) < 0.5


def test_the_petrous_bones_streak_an_ordinary_slice_and_the_vault_does_not():
    spread = {}
    for bone_hu in (1250.0, 1700.0):
        slices = np.full((2, 128, 128), 30.0, dtype=np.float32)
        slices[:, 40:50, 60:64] = slices[:, 78:88, 60:64] = bone_hu
        scan = acquire(slices, _protocol(noise_hu=0.01, streaks=1.0), np.random.default_rng(0))
        spread[bone_hu] = scan[54:74].std()
    assert spread[1250.0] < 0.5
    assert 1 < spread[1700.0] < 12


def test_the_lowest_slices_show_the_canal_and_the_highest_only_air_or_vault(healthy):
    inside = ((healthy.hu > 0) & (healthy.hu < 48)).sum(axis=(0, 1))
    assert inside[0] < 0.7 * inside.max()
    assert inside[-1] < 0.2 * inside.max()


def test_a_part_of_a_smooth_field_is_a_part_of_its_plane():
    axis = np.arange(-50, 50, 1.0)
    field = SmoothField(_rng(), (axis, axis, axis), wavelength_mm=25)
    part = slice(10, 30), slice(5, 80)
    assert field.at(3.0, part) == pytest.approx(field.at(3.0)[part], abs=1e-6)


def test_the_box_of_an_upright_head_narrows_upwards_and_is_everything_low_down():
    skull, axis = replace(sample_skull(_rng(), male=True), inner_mm=(67.0, 79.0, 71.0)), np.arange(-120, 120, 1.0)
    pose = Pose(np.eye(3), np.zeros(3))
    low, middle, top = (head_box(pose, skull, (axis, axis), z) for z in (0.0, 40.0, 90.0))
    assert low == (slice(None), slice(None))
    assert middle[0].stop - middle[0].start == pytest.approx(2 * 93 * np.sqrt(1 - (40 / 97) ** 2), abs=1)
    assert top[0].stop - top[0].start < 0.5 * (middle[0].stop - middle[0].start)
