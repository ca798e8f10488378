"""What every test begins with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dagster._core.storage.defs_state.base import DefsStateStorage, set_defs_state_storage


@pytest.fixture(autouse=True)
def no_instance_of_another_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dagster keeps the storage of the last instance that was made, also when that instance is gone.

    And when the collector takes an instance that nobody closed, perhaps one of an earlier test in the midst of this one, it
    brings back the storage of the one before.
    """
    current = DefsStateStorage.get

    def of_a_living_instance() -> DefsStateStorage | None:
        storage = current()
        return storage if storage is not None and storage.has_instance and storage._instance_weakref() is not None else None

    monkeypatch.setattr(DefsStateStorage, "get", of_a_living_instance)
    with set_defs_state_storage(None):
        yield
