"""What every test begins with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage


@pytest.fixture(autouse=True)
def no_instance_of_another_test() -> Iterator[None]:
    """Dagster keeps the storage of the last instance that was made, also when that instance is gone."""
    with set_defs_state_storage(None):
        yield
