"""One patient's scan: head, hemorrhage, scanner, in this order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepred_lib.simulation.anatomy import Brain, paint_brain, sample_brain
from hepred_lib.simulation.hematoma import Hematoma, bleed, box_around, displacement, mask_of, sample_hematoma
from hepred_lib.simulation.scanner import AIR_HU, Protocol, acquire, sample_pose, sample_protocol
from hepred_lib.simulation.shapes import Array, Plane, Pose, SmoothField
from hepred_lib.simulation.skull import Skull, cavity_level, paint_head, paint_table, sample_skull


@dataclass(frozen=True)
class SimulatedScan:
    """HU and masks on one grid, axes (x, y, z); the masks are None where there is no such blood."""

    hu: NDArray[np.int16]
    mask: NDArray[np.bool_]
    ivh_mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


def render_scan(latents: dict, signs: frozenset[str], *, site: str, matrix: int, rng: np.random.Generator) -> SimulatedScan:
    """The baseline scan of one patient.

    Parameters
    ----------
    latents : dict
        `age`, `sex`, and for a hemorrhage `location`, `true_baseline_ml`, `density`, `shape`, `ivh`.
    signs : frozenset of str
        Signs to draw.
    site : str
    matrix : int
        In-plane pixels.
    rng : Generator
        The patient's own.
    """
    protocol = sample_protocol(rng, site=site, matrix=matrix)
    pose = sample_pose(rng)
    skull = sample_skull(rng, male=latents["sex"] == "M")
    brain = sample_brain(rng, age=latents["age"])
    hematoma = None if latents["blood_free"] else sample_hematoma(rng, latents, signs)
    thin, cavity, ventricle = _render_head(protocol, pose, skull, brain, hematoma, rng)
    mask = np.zeros((protocol.n_slices, matrix, matrix), dtype=bool)
    ivh = mask.copy()
    if hematoma is not None:
        _add_blood(thin, mask, hematoma, protocol, pose, np.minimum(cavity - 1.5, -ventricle - 0.5), rng)
    slices = thin.reshape(-1, protocol.n_thin, matrix, matrix).mean(axis=1)
    return SimulatedScan(acquire(slices, protocol, rng), mask.transpose(1, 2, 0), ivh.transpose(1, 2, 0), protocol.affine)


def _render_head(protocol: Protocol, pose: Pose, skull: Skull, brain: Brain, hematoma: Hematoma | None, rng: np.random.Generator):
    axis, heights = protocol.axis_mm, protocol.heights_mm
    warp = [SmoothField(rng, heights_mm=heights, axis_mm=axis, wavelength_mm=70) for _ in range(3)]
    folds = SmoothField(rng, heights_mm=heights, axis_mm=axis, wavelength_mm=18)
    shape = (heights.size, axis.size, axis.size)
    thin, cavity, ventricle = (np.empty(shape, dtype=np.float32) for _ in range(3))
    table = dict(radius_mm=rng.uniform(110, 160), top_mm=-rng.uniform(104, 112), thickness_mm=rng.uniform(2, 6))
    grain = np.zeros((axis.size // 2, axis.size // 2), dtype=np.float32)
    for k, height in enumerate(heights):
        place = _head_coordinates(pose, axis, height)
        place = [c + np.float32(2.0) * field.at(height) for c, field in zip(place, warp, strict=True)]
        plane = Plane(*place, hu=np.full(shape[1:], AIR_HU, dtype=np.float32), axis_mm=axis, height_mm=height, edge_mm=1.1, pose=pose, reach_mm=8)
        grain = 0.6 * grain + 0.8 * rng.standard_normal(grain.shape, dtype=np.float32)
        texture = np.repeat(np.repeat(grain, 2, axis=0), 2, axis=1)
        level = cavity_level(plane, skull)
        paint_head(plane, skull, level, texture=texture)
        if hematoma is not None:
            fade = np.clip(level * np.float32(1 / 18), 0, 1)
            moved = displacement(hematoma, plane.x, plane.y, plane.z)
            plane.x, plane.y, plane.z = (c + fade * m for c, m in zip((plane.x, plane.y, plane.z), moved, strict=True))
            plane.reach_mm = 8 + hematoma.radius_mm
        paint_brain(plane, skull, brain, cavity=level, folds=folds.at(height), texture=texture)
        paint_table(plane, **table)
        thin[k], cavity[k], ventricle[k] = plane.hu, level, plane.levels["ventricle"]
    return thin, cavity, ventricle


def _head_coordinates(pose: Pose, axis: NDArray, height: float) -> list[Array]:
    rotation = pose.rotation
    x, y, z = axis - pose.shift[0], axis - pose.shift[1], height - pose.shift[2]
    return [(r[0] * x[:, None] + r[1] * y[None, :] + r[2] * z).astype(np.float32) for r in rotation]


def _add_blood(thin: Array, mask: NDArray, hematoma: Hematoma, protocol: Protocol, pose: Pose, allowed: Array, rng: np.random.Generator) -> None:
    planes, rows, columns = box_around(hematoma, pose, protocol.axis_mm, protocol.heights_mm)
    n = protocol.n_thin
    planes = slice(planes.start // n * n, -(-planes.stop // n) * n)
    box = planes, rows, columns
    head = [np.stack(c) for c in zip(*(_head_coordinates(pose, protocol.axis_mm, h) for h in protocol.heights_mm[planes]), strict=True)]
    head = tuple(c[:, rows, columns] for c in head)
    voxel = (protocol.slice_mm / n, protocol.pixel_mm, protocol.pixel_mm)
    share, hu, edema = bleed(hematoma, head=head, allowed=allowed[box], n_thin=n, rng=rng, voxel_mm=voxel)
    part = thin[box]
    part += edema * np.where(part > 15, np.float32(hematoma.edema_hu), 0)
    part += share * (hu - part)
    mask[planes.start // n : planes.stop // n, rows, columns] = mask_of(share, n)
