"""DuckDB, as merges, features and lint use it: private to the process, in UTC, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb


@contextmanager
def connect(memory: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty in-memory database. What does not fit into ``memory`` bytes waits in a folder of its own on local disk."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-duckdb-") as folder:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory // 1024}KiB",
            "temp_directory": folder,
            "preserve_insertion_order": False,  # else results are held to be put in order
            "autoinstall_known_extensions": False,  # nothing is downloaded
        }
        with duckdb.connect(config=config) as connection:
            connection.execute("set TimeZone = 'UTC'")
            yield connection


def quoted(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
