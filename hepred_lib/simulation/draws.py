"""One stream of uniform numbers a patient, so that patient k never depends on how many others there are."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

SITE_KEYS = {"A": 0, "B": 1}
STREAM_KEYS = {"hemorrhage": 0, "blood_free": 1, "hemorrhage_scan": 2, "blood_free_scan": 3}
N_DRAWS = 96


def patient_generator(seed: int, site: str, *, stream: str, number: int) -> np.random.Generator:
    """The generator of one patient: a spawned child of the seed, named by site, stream and number.

    Parameters
    ----------
    seed : int
        Of the cohort, >= 0.
    site : str
        A key of `SITE_KEYS`.
    stream : str
        A key of `STREAM_KEYS`: tables and scans draw from separate streams, so that a change in one moves nothing in
        the other.
    number : int
        The patient's number, from 1.
    """
    key = (SITE_KEYS[site], STREAM_KEYS[stream], number)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


class Draws:
    """Columns of independent uniform numbers, one row a patient, handed out in order.

    Parameters
    ----------
    uniforms : ndarray of float, shape (n_patients, n_draws)
        In the open interval (0, 1).
    """

    def __init__(self, uniforms: NDArray[np.float64]) -> None:
        self._columns = iter(uniforms.T)

    @classmethod
    def of_patients(cls, n_patients: int, *, seed: int, site: str, stream: str) -> "Draws":
        """The draws of patients 1 to `n_patients`."""
        rows = np.empty((n_patients, N_DRAWS))
        for row, number in zip(rows, range(1, n_patients + 1), strict=True):
            patient_generator(seed, site, stream=stream, number=number).random(out=row)
        # 0 itself, one draw in 2^53, would become minus infinity on the normal scale.
        return cls(np.clip(rows, 1e-16, 1 - 1e-16))

    def uniform(self) -> NDArray[np.float64]:
        """The next column, uniform on (0, 1)."""
        return next(self._columns)

    def normal(self) -> NDArray[np.float64]:
        """The next column, standard normal."""
        return ndtri(next(self._columns))

    def event(self, probability: NDArray[np.float64] | float) -> NDArray[np.int64]:
        """The next column, 1 with the given probability and 0 otherwise."""
        return (next(self._columns) < probability).astype(np.int64)
