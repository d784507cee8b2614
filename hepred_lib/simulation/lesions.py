"""What lies in a brain besides brain: old infarcts, calcifications of any size, a thrombosed vessel.

None of it is hemorrhage, though much of it is as bright: a calcification smaller than a slice is thick is averaged down
to the density of blood.
"""

from dataclasses import dataclass

import numpy as np

from hepred_lib.simulation.shapes import Plane, paint_ellipsoid

# Where calcium is found: middle on the right (mm), radii (mm), whether on both sides, share at 35 and at 85 years.
CALCIFIED = {
    "pineal": ((0, -31, 4), (2.2, 3.0, 2.5), False, (0.55, 0.75)),
    "habenula": ((2, -26, 5), (1.0, 1.5, 1.2), False, (0.10, 0.20)),
    "plexus": ((22, -40, 10), (2.4, 4.0, 3.2), True, (0.25, 0.75)),
    "fourth ventricle": ((7, -46, -36), (1.5, 1.5, 1.5), True, (0.03, 0.10)),
    "pallidum": ((19, 3, 0), (2.6, 5.0, 3.5), True, (0.04, 0.20)),
    "dentate": ((14, -50, -36), (3.0, 5.0, 3.0), True, (0.01, 0.05)),
    "falx": ((0, 38, 44), (1.4, 9.0, 6.0), False, (0.08, 0.25)),
    "posterior falx": ((0, -48, 46), (1.2, 8.0, 6.0), False, (0.04, 0.12)),
    "tentorium": ((17, -36, 4), (1.2, 6.0, 1.5), True, (0.04, 0.15)),
    "petroclinoid": ((14, -6, -22), (1.2, 5.0, 1.2), True, (0.06, 0.25)),
    "siphon": ((11, 6, -25), (1.6, 3.0, 1.5), True, (0.05, 0.75)),
    "vertebral": ((8, -26, -64), (1.3, 1.5, 3.0), True, (0.03, 0.35)),
}


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid in head coordinates, darker or brighter than what it lies in."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    hu: float
    softness: float

    def paint(self, plane: Plane) -> None:
        """Paint it if it meets the plane."""
        paint_ellipsoid(plane, self.centre_mm, self.radii_mm, self.hu, softness=self.softness)


def sample_lesions(rng: np.random.Generator, *, atrophy: float, mimic: bool) -> tuple[Lesion, ...]:
    """Old infarcts; a `mimic` may also hold a large one, a bright spot, or a dense middle cerebral artery."""
    lesions = [_infarct(rng, rng.uniform(2, 5)) for _ in range(rng.poisson(0.2 + 0.7 * atrophy))]
    if mimic and rng.random() < 0.6:
        lesions.append(_infarct(rng, rng.uniform(7, 20)))
    if mimic and rng.random() < 0.5:
        lesions.append(_spot(rng, hu=rng.uniform(90, 300), radius=rng.uniform(1.5, 5)))
    if rng.random() < (0.5 if mimic else 0.04):
        side = rng.choice([-1.0, 1.0])
        lesions.append(Lesion((side * 19, 12, -17), (11, 1.8, 1.8), float(rng.uniform(55, 75)), 1.0))
    return tuple(lesions)


def sample_calcifications(rng: np.random.Generator, *, atrophy: float, mimic: bool) -> tuple[Lesion, ...]:
    """Calcium at its usual places, each its own size and density, and a spot or two anywhere.

    Parameters
    ----------
    rng : Generator
    atrophy : float
        0 young, 1 old.
    mimic : bool
        Three times as many in the basal ganglia.
    """
    found = []
    for name, (middle, radii, paired, (young, old)) in CALCIFIED.items():
        share = (young + (old - young) * min(atrophy, 1.0)) * (3 if mimic and name == "pallidum" else 1)
        if rng.random() < share:
            found += _calcium(rng, middle, radii, sides=_sides(rng) if paired else (1.0,))
    found += [_spot(rng, hu=rng.uniform(55, 250), radius=rng.uniform(1, 3)) for _ in range(rng.poisson(0.2))]
    return tuple(found)


def _sides(rng: np.random.Generator) -> tuple[float, ...]:
    """Both, or in a fourth of the heads one."""
    return (-1.0, 1.0) if rng.random() < 0.75 else (float(rng.choice([-1.0, 1.0])),)


def _calcium(rng: np.random.Generator, middle: tuple, radii: tuple, *, sides: tuple[float, ...]) -> list[Lesion]:
    """One deposit a side: like in place, size and density, but not the same."""
    size, density = np.exp(rng.normal(-0.1, 0.3)), rng.uniform(np.log(55), np.log(400))
    deposits = []
    for side in sides:
        x, y, z = np.asarray(middle) + rng.normal(0, [0.3 if middle[0] == 0 else 1.0, 2.0, 1.5])
        own = size * np.exp(rng.normal(0, 0.2, 3)) * radii
        hu = float(np.exp(density + rng.normal(0, 0.2)))
        deposits.append(Lesion((side * x, y, z), tuple(own.tolist()), hu, float(rng.uniform(1, 2.5))))
    return deposits


def _infarct(rng: np.random.Generator, radius: float) -> Lesion:
    side = rng.choice([-1.0, 1.0])
    seat = (side * rng.uniform(12, 45), rng.uniform(-55, 40), rng.uniform(-5, 40))
    radii = tuple(radius * np.exp(rng.normal(0, 0.25, 3)))
    return Lesion(seat, radii, float(rng.uniform(6, 18)), float(rng.uniform(2, 5)))


def _spot(rng: np.random.Generator, *, hu: float, radius: float) -> Lesion:
    side = rng.choice([-1.0, 1.0])
    seat = (side * rng.uniform(0, 40), rng.uniform(-60, 45), rng.uniform(-10, 45))
    return Lesion(seat, tuple(radius * np.exp(rng.normal(0, 0.2, 3))), float(hu), 1.5)
