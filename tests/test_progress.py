"""Several items at a time: results in order, errors at once, nothing begun after them."""

import time

import pytest

from hepred_lib.errors import ScanError
from hepred_lib.progress import worked


def test_results_are_in_the_order_of_the_items_whatever_takes_longest():
    def late(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    assert list(worked(late, [0.2, 0.0, 0.1], workers=3)) == [0.2, 0.0, 0.1]


def test_an_error_is_raised_and_what_has_not_begun_never_begins():
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise ScanError("baseline_ct must show a head, got none (patient P1).")
        time.sleep(0.05)
        return number

    with pytest.raises(ScanError, match="patient P1"):
        list(worked(work, range(100), workers=2))
    assert len(begun) < 20
