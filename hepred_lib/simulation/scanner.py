"""What the CT scanner does to a head: slices, sharpness, noise, beam hardening, whole numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from hepred_lib.simulation.shapes import Array, Pose

AIR_HU = -1000.0
RESTLESS_SHARE = 0.06
# The vault's cortical bone is between the two; so much petrous bone in a slice hardens its beams in the usual way.
CORTICAL_FLOOR_HU, PETROUS_FLOOR_HU, BURDEN_MM2 = 800.0, 1300.0, 250.0


@dataclass(frozen=True)
class Protocol:
    """How one scan is acquired.

    Attributes
    ----------
    matrix, pixel_mm : int, float
        In-plane grid.
    slice_mm, n_slices, n_thin : float, int, int
        Slice thickness and spacing, their number, and how many thin planes each averages.
    bottom_mm : float
        Scanner z of the lower face of the lowest slice.
    blur_mm : float
        Standard deviation of the in-plane point spread.
    noise_hu, noise_blur_mm : float
        Standard deviation of the noise in brain and of the kernel that correlates it.
    offset_hu : float
        Calibration error.
    streaks : float
        Strength of streaks between dense bones, 1 the usual; above 2, a restless patient's, in all directions.
    """

    matrix: int
    pixel_mm: float
    slice_mm: float
    n_slices: int
    n_thin: int
    bottom_mm: float
    blur_mm: float
    noise_hu: float
    noise_blur_mm: float
    offset_hu: float
    streaks: float = 1.0

    @property
    def axis_mm(self) -> NDArray[np.float64]:
        """Scanner coordinates of the pixel centres, the same for rows and columns."""
        return (np.arange(self.matrix) - (self.matrix - 1) / 2) * self.pixel_mm

    @property
    def heights_mm(self) -> NDArray[np.float64]:
        """Scanner z of the thin planes, from below."""
        return self.bottom_mm + (np.arange(self.n_slices * self.n_thin) + 0.5) * self.slice_mm / self.n_thin

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel indices to mm, RAS+."""
        matrix = np.diag([self.pixel_mm, self.pixel_mm, self.slice_mm, 1.0])
        matrix[:3, 3] = self.axis_mm[0], self.axis_mm[0], self.bottom_mm + self.slice_mm / 2
        return matrix

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel."""
        return self.pixel_mm**2 * self.slice_mm / 1000


def sample_protocol(rng: np.random.Generator, *, site: str, matrix: int) -> Protocol:
    """The protocol of one scan at a site: A scans 5 mm slices on one machine, B 2.5 to 7 mm on several."""
    thickness = 5.0 if site == "A" else float(rng.choice([2.5, 3.0, 4.0, 5.0, 6.0, 7.0]))
    bottom = round(float(rng.uniform(60, 88)), 1)
    coverage = bottom + rng.uniform(76, 84)
    return Protocol(
        matrix=matrix,
        pixel_mm=round(float(rng.uniform(225, 260)) / matrix, 4),
        slice_mm=thickness,
        n_slices=round(coverage / thickness),
        n_thin=max(1, round(thickness / 1.7)),
        bottom_mm=-bottom,
        blur_mm=float(rng.uniform(0.55, 0.75) if site == "A" else rng.uniform(0.45, 0.95)),
        noise_hu=float(np.clip(rng.normal(3.1, 0.5), 2.4, 6) if site == "A" else rng.uniform(3, 6)),
        noise_blur_mm=float(rng.uniform(0.6, 0.8) if site == "A" else rng.uniform(0.5, 1.0)),
        offset_hu=float(rng.normal(0, 1.0) if site == "A" else rng.normal(2.0, 2.0)),
        streaks=float(np.exp(rng.normal(0, 0.45)) * (3 if rng.random() < RESTLESS_SHARE else 1)),
    )


def sample_pose(rng: np.random.Generator) -> Pose:
    """Tilt, rotation and off-centre of a head on the table."""
    nod, turn, lean = np.deg2rad(rng.normal([9, 0, 0], [6, 4, 9]))
    shift = np.array([rng.normal(0, 5), rng.normal(4, 7), rng.normal(0, 3)])
    return Pose(_rotation(0, nod) @ _rotation(1, lean) @ _rotation(2, turn), shift)


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    i, j = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[[i, j], [i, j]] = cos
    matrix[i, j], matrix[j, i] = -sin, sin
    return matrix


def head_rest(protocol: Protocol, rng: np.random.Generator, *, back_mm: float) -> Array:
    """HU of the empty scanner, shape (n, n): air, and the thin arc behind a head that ends at `back_mm`."""
    row, column = protocol.axis_mm[:, None], protocol.axis_mm[None, :]
    radius, thickness, top = rng.uniform(115, 160), rng.uniform(1.5, 6), back_mm - rng.uniform(4, 15)
    level = thickness / 2 - np.abs(np.hypot(row, column - (top + radius)) - radius)
    share = np.clip(level / protocol.pixel_mm + 0.5, 0, 1) * (column < top + 0.8 * radius)
    return (AIR_HU + share * (AIR_HU * -1 + rng.uniform(0, 250))).astype(np.float32)


def acquire(slices: Array, protocol: Protocol, rng: np.random.Generator) -> NDArray[np.int16]:
    """Beam hardening, blur, noise and rounding of averaged slices; air stays constant.

    Parameters
    ----------
    slices : ndarray of float32, shape (n_slices, n, n)
        HU; streaks are added in place.
    protocol : Protocol
    rng : Generator

    Returns
    -------
    ndarray of int16, shape (n, n, n_slices)
    """
    n = protocol.matrix
    frequency = np.hypot(fft.fftfreq(n)[:, None], fft.rfftfreq(n)) / protocol.pixel_mm
    transfer = np.exp(-2 * (np.pi * protocol.blur_mm * frequency) ** 2).astype(np.float32)
    amplitude = _noise_amplitude(frequency, protocol)
    scan = np.empty((n, n, protocol.n_slices), dtype=np.int16)
    for k, plane in enumerate(slices):
        air = plane < AIR_HU + 1
        _add_streaks(plane, protocol, rng)
        white = fft.rfft2(rng.standard_normal((n, n), dtype=np.float32))
        image = fft.irfft2(fft.rfft2(plane) * transfer + white * amplitude, s=(n, n))
        image += np.float32(protocol.offset_hu)
        image[air] = AIR_HU
        scan[:, :, k] = np.clip(np.rint(image), -1024, 3071)
    return scan


def _add_streaks(plane: Array, protocol: Protocol, rng: np.random.Generator) -> None:
    """Dark and bright bands between dense bones, strongest from ear to ear through the pons."""
    restless = protocol.streaks > 2
    dense = np.argwhere(plane[::2, ::2] > (CORTICAL_FLOOR_HU if restless else PETROUS_FLOOR_HU)) * 2
    petrous_mm2 = np.count_nonzero(plane > PETROUS_FLOOR_HU) * protocol.pixel_mm**2
    burden = max(min(petrous_mm2 / BURDEN_MM2, 1.5), 0.5 * restless)
    if burden < 0.1 or len(dense) == 0:
        return
    axis = protocol.axis_mm.astype(np.float32)
    tissue = (plane > -30) & (plane < 100)
    for _ in range(12 if restless else 7):
        through = protocol.axis_mm[dense[rng.integers(len(dense))]]
        angle, width = rng.normal(0, 1.2 if restless else 0.35), rng.uniform(1.0, 4.0)
        offset = np.float32(np.cos(angle)) * (axis[None, :] - np.float32(through[1]))
        offset = offset - np.float32(np.sin(angle)) * (axis[:, None] - np.float32(through[0]))
        height = np.float32(burden * protocol.streaks * rng.normal(-1.0, 2.2))
        plane += tissue * height * np.exp(offset * offset * np.float32(-0.5 / width**2))


def _noise_amplitude(frequency: NDArray, protocol: Protocol) -> Array:
    """Square root of the noise power: the ramp of filtered back projection under the kernel's roll-off."""
    shape = np.sqrt(frequency + 0.06) * np.exp(-2 * (np.pi * protocol.noise_blur_mm * frequency) ** 2)
    shape[0, 0] = 0
    weight = np.full(frequency.shape[1], 2.0)
    weight[[0, -1]] = 1
    power = (shape**2 * weight).sum() / protocol.matrix**2
    return (protocol.noise_hu / np.sqrt(power) * shape).astype(np.float32)
