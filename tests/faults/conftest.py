"""The finished tables-only study, for faults that need no network."""

import pytest

from tests.faults.harness import copy_of, results


@pytest.fixture(scope="session")
def clean(tables_study) -> dict[str, bytes]:
    """Its results."""
    return results(tables_study.run)


@pytest.fixture
def study(tables_study, tmp_path):
    """A copy of the finished study, to be harmed."""
    return copy_of(tables_study, tmp_path / "root")
