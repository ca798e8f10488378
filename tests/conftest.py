"""What every test begins with, and in which order they run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from dagster._core.storage.defs_state.base import DefsStateStorage, set_defs_state_storage

# Whole lives, of minutes, and Terraform, which both mostly wait; then what takes no time; then processes, servers and the rest.
ORDER = ("/e2e/test_aws.py", "/e2e/test_nessie_rehearsal.py", "/terraform/", "/unit/", "/e2e/", "/integration/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: the first has the tests that mostly wait."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, on the first worker. Begun last, all other workers would wait for it."""
    items.sort(key=lambda item: next((place for place, part in enumerate(ORDER) if part in item.path.as_posix()), len(ORDER)))


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
